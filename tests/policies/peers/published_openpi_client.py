"""The published package openpi-client against a server: one observation a line of standard input, an npz file's path.

    published_openpi_client.py PORT [API_KEY]

A line ``connect`` opens a new connection. Each answer is a line of JSON: the reply, arrays as lists, or the error.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy


def plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def connect() -> WebsocketClientPolicy:
    return WebsocketClientPolicy("127.0.0.1", int(sys.argv[1]), api_key=sys.argv[2] if len(sys.argv) > 2 else None)


try:
    client = connect()
    print(json.dumps(plain(client.get_server_metadata())), flush=True)
    for line in sys.stdin:
        try:
            if line.strip() == "connect":
                client = connect()
                print(json.dumps(plain(client.get_server_metadata())), flush=True)
                continue
            with np.load(line.strip()) as file:
                observation = {key.replace("|", "/"): file[key] for key in file.files}
            if "prompt" in observation:
                observation["prompt"] = str(observation["prompt"])
            print(json.dumps(plain(client.infer(observation))), flush=True)
        except Exception as error:  # noqa: BLE001  (what the package raises is what is shown)
            print(json.dumps({"raised": f"{type(error).__name__}: {error}"}), flush=True)
except Exception as error:  # noqa: BLE001
    print(json.dumps({"raised": f"{type(error).__name__}: {error}"}), flush=True)

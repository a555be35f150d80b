"""A GR00T client, from the facts of its protocol: asks a server what it is told on standard input, line by line.

A line is JSON: endpoint, perhaps data, api_token; or raw, bytes as hex. Arrays are ``{"zeros": shape, "dtype": d,
"value": v}`` or ``{"file": npz, "key": k}``. The answer is a line of JSON, arrays as lists.
"""

from __future__ import annotations

import io
import json
import sys

import msgpack
import numpy as np
import zmq
from arrays import as_npy


def array(value: dict) -> object:
    if "zeros" in value:
        return np.full(value["zeros"], value.get("value", 0), value["dtype"])
    if "file" in value:
        with np.load(value["file"]) as file:
            return file[value["key"]]
    return value


def from_wire(value: dict) -> object:
    if "__ndarray_class__" in value:
        found = np.load(io.BytesIO(value["as_npy"]), allow_pickle=False)
        return {"array": found.tolist(), "dtype": str(found.dtype), "shape": found.shape}
    return value["as_json"] if "__ModalityConfig_class__" in value else value


socket = zmq.Context().socket(zmq.REQ)
socket.setsockopt(zmq.RCVTIMEO, 20000)
socket.setsockopt(zmq.LINGER, 0)
socket.connect(f"tcp://127.0.0.1:{sys.argv[1]}")
for line in sys.stdin:
    asked = json.loads(line, object_hook=array)
    if "raw" in asked:
        socket.send(bytes.fromhex(asked["raw"]))
    else:
        request = {key: asked[key] for key in ("endpoint", "data", "api_token") if key in asked}
        socket.send(msgpack.packb(request, default=as_npy))
    print(json.dumps(msgpack.unpackb(socket.recv(), object_hook=from_wire)), flush=True)

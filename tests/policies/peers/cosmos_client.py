"""A Cosmos Policy client, from the facts of its protocol: posts npz files named on standard input, prints the answers.

cosmos_client.py PORT
"""

from __future__ import annotations

import base64
import http.client
import json
import sys

import numpy as np
from arrays import as_base64


def from_wire(value: dict) -> object:
    if "__numpy__" in value:
        return np.frombuffer(base64.b64decode(value["__numpy__"]), value["dtype"]).reshape(value["shape"]).tolist()
    return value


for line in sys.stdin:
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=20)
    if line.strip().endswith(".npz"):
        with np.load(line.strip()) as file:
            request = {key: file[key] if file[key].shape else str(file[key]) for key in file.files}
        body = json.dumps(request, default=as_base64)
    else:
        body = line.strip()
    connection.request("POST", "/act", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read(), object_hook=from_wire)
    print(json.dumps({"status": response.status, "answer": answer}), flush=True)

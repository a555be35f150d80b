"""A Cosmos Policy server as NVIDIA's behaves, from the facts of its protocol."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import common
import numpy as np
from arrays import as_base64

args = common.arguments(__doc__)
behaviour = common.Behaviour(args)


def from_wire(value: dict) -> object:
    if "__numpy__" in value:
        return np.frombuffer(base64.b64decode(value["__numpy__"]), np.dtype(value["dtype"])).reshape(value["shape"])
    return value


def act(body: bytes) -> str:
    request = json.loads(body, object_hook=from_wire)
    for key in ("primary_image", "left_wrist_image"):
        assert request[key].dtype == np.uint8 and request[key].shape == (256, 256, 3), request[key].shape
    assert request["proprio"].shape == (9,), request["proprio"].shape
    common.save(args.record, {**request, "task_description": np.array(request["task_description"])})
    fault = behaviour.next_fault()
    if fault == "error":
        raise RuntimeError("CUDA out of memory")
    if fault == "garbage":
        return "{no json"
    actions = list(common.chunk(1, args.horizon, fault, gripper=-0.5)[0])
    answer = {"actions": actions, "future_image_predictions": {}, "value_prediction": 0.5}
    return json.dumps(answer, default=as_base64)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        if args.token and self.headers.get("Authorization") != f"Bearer {args.token}":
            self.say(401, "{}")
            return
        try:
            answer = act(self.rfile.read(int(self.headers["Content-Length"])))
        except Exception as error:  # noqa: BLE001  (as NVIDIA's does)
            print(error, flush=True)
            answer = '"error"'
        self.say(200 if self.path == "/act" else 404, answer)

    def do_GET(self) -> None:
        self.say(404, '{"detail": "Not Found"}')

    def say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
common.listening(server.server_address[1])
server.serve_forever()

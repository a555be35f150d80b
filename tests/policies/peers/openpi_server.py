"""An openpi server as Physical Intelligence's behaves, from the facts of its protocol."""

from __future__ import annotations

import functools
import http
import traceback

import common
import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

args = common.arguments(__doc__)
behaviour = common.Behaviour(args)


def to_wire(value: object) -> object:
    if isinstance(value, np.ndarray):
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    raise TypeError(type(value))


def from_wire(value: dict) -> object:
    if b"__ndarray__" in value:
        return np.ndarray(buffer=value[b"data"], dtype=np.dtype(value[b"dtype"]), shape=value[b"shape"])
    return value


pack = functools.partial(msgpack.packb, default=to_wire)


def infer(request: dict) -> bytes:
    for key in ("observation/image", "observation/wrist_image"):
        assert request[key].dtype == np.uint8 and request[key].shape == (224, 224, 3), request[key].shape
    assert request["observation/state"].shape == (8,), request["observation/state"].shape
    prompt = request["prompt"]
    assert isinstance(prompt, str)
    common.save(args.record, {**request, "prompt": np.array(prompt)})
    fault = behaviour.next_fault()
    if fault == "error":
        raise RuntimeError("CUDA out of memory")
    if fault == "garbage":
        return b"\xc1 no msgpack"
    actions = common.chunk(1, args.horizon, fault, gripper=-0.5)[0]
    return pack({"actions": actions, "state": request["observation/state"], "server_timing": {"infer_ms": 1.5}})


def converse(connection) -> None:
    connection.send(pack({"reset_pose": [0.0]}))
    while True:
        try:
            connection.send(infer(msgpack.unpackb(connection.recv(), object_hook=from_wire)))
        except ConnectionClosed:
            return
        except Exception:  # noqa: BLE001  (as openpi does)
            connection.send(traceback.format_exc())
            connection.close(1011, "Internal server error. Traceback included in previous frame.")
            return


def admit(connection, request):
    if request.path == "/healthz":
        return connection.respond(http.HTTPStatus.OK, "OK\n")
    if args.token and request.headers.get("Authorization") != f"Api-Key {args.token}":
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "no\n")
    return None


with serve(converse, "127.0.0.1", args.port, compression=None, max_size=None, process_request=admit) as server:
    common.listening(server.socket.getsockname()[1])
    server.serve_forever()

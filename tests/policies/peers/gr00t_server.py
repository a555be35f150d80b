"""A GR00T N1.6 server as NVIDIA's behaves, from the facts of its protocol."""

from __future__ import annotations

import io

import common
import msgpack
import numpy as np
import zmq
from arrays import as_npy


def from_wire(value: dict) -> object:
    if "__ndarray_class__" in value:
        return np.load(io.BytesIO(value["as_npy"]), allow_pickle=False)
    return value


def modality(keys: str, indices: list[int]) -> dict:
    names = ("sin_cos_embedding_keys", "mean_std_embedding_keys", "action_configs")
    said = {"delta_indices": indices, "modality_keys": keys.split(","), **dict.fromkeys(names)}
    return {"__ModalityConfig_class__": True, "as_json": said}


LANGUAGE = "annotation.human.action.task_description"
args = common.arguments(__doc__)
behaviour = common.Behaviour(args)
socket = zmq.Context().socket(zmq.REP)
socket.bind(f"tcp://127.0.0.1:{args.port or '*'}")
common.listening(int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]))


def check(observation: dict) -> int:
    """As strict as NVIDIA's: types, shapes, keys; returns the batch."""
    if args.flat:
        video = {key: observation[f"video.{key}"] for key in args.cameras.split(",")}
        state = {key: observation[f"state.{key}"] for key in args.state.split(",")}
        prompts = [[prompt] for prompt in observation[LANGUAGE]]
    else:
        video, state, prompts = observation["video"], observation["state"], observation["language"][LANGUAGE]
    batch = len(prompts)
    for key in args.cameras.split(","):
        image = video[key]
        assert image.dtype == np.uint8 and image.shape == (batch, 1, 256, 256, 3), (key, image.dtype, image.shape)
    for key in args.state.split(","):
        size = 2 if key == "gripper" else 1
        assert state[key].dtype == np.float32 and state[key].shape == (batch, 1, size), (key, state[key].shape)
    assert all(isinstance(prompt, str) for (prompt,) in prompts)
    common.save(args.record, {**video, **state, "prompts": np.array([prompt for (prompt,) in prompts])})
    return batch


def act(data: dict) -> object:
    batch = check(data["observation"])
    fault = behaviour.next_fault()
    if fault == "error":
        raise RuntimeError("CUDA out of memory")
    if fault == "garbage":
        return None
    actions = common.chunk(batch, args.horizon, fault, gripper=0.75)
    prefix = "action." if args.flat else ""
    named = {f"{prefix}{key}": actions[..., i : i + 1] for i, key in enumerate(args.actions.split(","))
             if i < actions.shape[-1]}  # fmt: skip
    return [named, {}]


def handle(request: dict) -> object:
    if args.token and request.get("api_token") != args.token:
        return {"error": "Unauthorized: Invalid API token"}
    endpoint = request["endpoint"]
    if endpoint == "ping":
        return {"status": "ok", "message": "Server is running"}
    if endpoint == "get_modality_config":
        return {
            "video": modality(args.cameras, [int(index) for index in args.history.split(",")]),
            "state": modality(args.state, [0]),
            "action": modality(args.actions, list(range(args.horizon))),
            "language": modality(LANGUAGE, [0]),
        }
    if endpoint == "reset":
        assert set(request["data"]) == {"options"}
        return {}
    if endpoint == "get_action":
        return act(request["data"])
    raise ValueError(f"Unknown endpoint: {endpoint}")


while True:
    frame = socket.recv()
    try:
        answer = handle(msgpack.unpackb(frame, object_hook=from_wire))
        socket.send(b"\xc1 no msgpack" if answer is None else msgpack.packb(answer, default=as_npy))
    except Exception as error:  # noqa: BLE001  (NVIDIA's server answers every failure so)
        socket.send(msgpack.packb({"error": str(error) or type(error).__name__}))

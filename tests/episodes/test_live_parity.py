"""Bags and the live graph speak the same language: same types, same decoded values."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.episodes.example import random_episode, small_embodiment
from world2act_core.episodes import compose, fields, messages

ROOT = Path(__file__).parents[2]
EMBODIMENT = small_embodiment(rotation_deg=90)
EPISODE = random_episode(EMBODIMENT)
STAMP = 3 * fields.NS + 5


def test_every_interface_file_is_known_to_the_core() -> None:
    files = (ROOT / "ros_ws/src/world2act_interfaces/msg").glob("*.msg")
    expected = {f"world2act_interfaces/msg/{file.stem}" for file in files}
    assert messages.EPISODE_EVENT in expected
    assert expected <= set(messages.typestore().types)


def test_constants_agree_with_the_interface_files() -> None:
    types: dict[str, Any] = dict(messages.typestore().types)
    event, command = types[messages.EPISODE_EVENT], types[messages.ARM_COMMAND]
    assert (event.START, event.END) == (compose.START, compose.END)
    assert (command.TRACK, command.HOLD) == (fields.TRACK, fields.HOLD)
    ended = compose.episode_event(compose.END, 0, episode_id="", task="", embodiment="", success=True)
    assert ended.outcome == event.OUTCOME_SUCCESS


@pytest.mark.ros
def test_type_hashes_equal_colcons() -> None:
    built = list((ROOT / "ros_ws/install/world2act_interfaces/share/world2act_interfaces/msg").glob("*.json"))
    if not built:
        pytest.skip("ros_ws is not built")
    for file in built:
        hashes = {entry["type_name"]: entry["hash_string"] for entry in json.loads(file.read_text())["type_hashes"]}
        name = f"world2act_interfaces/msg/{file.stem}"
        assert messages.type_hash(name) == hashes[name]


def composed(make: compose.Make) -> list[Any]:
    state = {name: rows[0] for name, rows in EPISODE.state.items()}
    camera = EMBODIMENT.cameras["wrist"]
    assert EPISODE.actions is not None
    about = {"episode_id": "e1", "task": "put it there", "embodiment": EMBODIMENT.name}
    return [
        *(message for _, message in compose.state_messages(EMBODIMENT, state, STAMP, make)),
        compose.image_message(EPISODE.images["wrist"][0], camera, STAMP, make),
        compose.track_command(EPISODE.actions[0], STAMP, chunk=3, step=1, make=make),
        compose.hold_command("no chunk yet", STAMP, make),
        compose.skill_prompt("e1", "put it there", "pick it", 0, 2, STAMP, make),
        compose.episode_event(compose.END, STAMP, success=False, skills=EPISODE.skills, make=make, **about),
    ]


def test_surplus_bytes_behind_a_message_are_harmless() -> None:
    """Regression: rclpy's serialize_message appends eight to a JointState whose velocity and effort are empty."""
    _, message = compose.state_messages(EMBODIMENT, {name: rows[0] for name, rows in EPISODE.state.items()}, STAMP)[0]
    raw = messages.serialise(message)
    assert messages.serialise(messages.deserialise(raw + b"\x00\x00d\x04@\x01\x00\x00", messages.JOINT_STATE)) == raw


@pytest.mark.parametrize("raw", [b"", b"\x00\x01", b"\x00\x01\x00\x00", b"\xff" * 200, bytes(200)])
def test_bytes_that_are_no_message_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a sensor_msgs/msg/JointState"):
        messages.deserialise(raw, messages.JOINT_STATE)


@pytest.mark.ros
def test_rclpy_and_bags_understand_each_others_messages() -> None:
    serialization = pytest.importorskip("rclpy.serialization")
    pytest.importorskip("world2act_interfaces.msg")

    def message_class(type_name: str) -> type:
        package, _, name = type_name.split("/")
        return getattr(importlib.import_module(f"{package}.msg"), name)

    for live, bag in zip(composed(compose.rclpy_make(message_class)), composed(messages.make), strict=True):
        live_raw, bag_raw = serialization.serialize_message(live), messages.serialise(bag)
        back = messages.deserialise(live_raw, bag.__msgtype__)
        # Padding between fields is not initialised by Fast CDR, so bytes are compared behind one decoding.
        assert messages.serialise(back) == bag_raw, type(live)
        assert serialization.deserialize_message(bag_raw, type(live)) == live
        if re.search("Image", bag.__msgtype__):
            camera = EMBODIMENT.cameras["wrist"]
            for message in (live, bag, back):
                assert np.array_equal(fields.decode_image(message, camera), EPISODE.images["wrist"][0])
        if re.search("JointState", bag.__msgtype__):
            stream = EMBODIMENT.state["gripper_positions"]
            for message in (live, bag, back):
                assert np.array_equal(fields.state_value(message, stream), EPISODE.state["gripper_positions"][0])

"""Messages are decoded by what they say, never by habit."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import compose, fields, messages
from world2act_core.errors import ContractError

PANDA = load_embodiment("libero_panda")
CAMERA = replace(PANDA.cameras["agentview"], width=3, height=2)
RGB = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)


def image(encoding: str, pixels: Any, padding: int = 0, **changes: Any) -> SimpleNamespace:
    """An Image with ``padding`` bytes of rubbish behind each row, as some drivers send it."""
    rows = pixels.reshape(len(pixels), -1)
    padded = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    message = {
        "height": rows.shape[0],
        "width": pixels.shape[1],
        "encoding": encoding,
        "is_bigendian": 0,
        "step": padded.shape[1],
        "data": padded.tobytes(),
    }
    return SimpleNamespace(**{**message, **changes})


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("rgb8", RGB, RGB),
        ("bgr8", RGB[..., ::-1], RGB),
        ("rgba8", np.dstack([RGB, np.full((2, 3), 7, np.uint8)]), RGB),
        ("bgra8", np.dstack([RGB[..., ::-1], np.full((2, 3), 7, np.uint8)]), RGB),
        ("mono8", RGB[..., 0], np.repeat(RGB[..., :1], 3, axis=-1)),
    ],
)
def test_every_encoding_becomes_rgb_whatever_the_row_padding(
    encoding: str, pixels: Any, expected: Any, padding: int
) -> None:
    decoded = fields.decode_image(image(encoding, pixels, padding), CAMERA)
    assert decoded.dtype == np.uint8 and decoded.flags.c_contiguous
    assert np.array_equal(decoded, expected)


def test_endianness_changes_nothing_for_single_bytes() -> None:
    assert np.array_equal(fields.decode_image(image("rgb8", RGB, is_bigendian=1), CAMERA), RGB)


def test_rotation_is_counter_clockwise() -> None:
    decoded = fields.decode_image(image("rgb8", RGB), replace(CAMERA, rotation_deg=90))
    assert decoded.shape == (3, 2, 3)
    assert np.array_equal(decoded[-1, 0], RGB[0, 0])  # the upper left pixel goes to the lower left


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"encoding": "yuv422"}, "unknown encoding"),
        ({"width": 4}, "4x2.*embodiment says 3x2"),
        ({"step": 8}, "18 bytes of data do not fit"),
        ({"data": b"123"}, "3 bytes of data do not fit"),
    ],
)
def test_an_image_that_contradicts_itself_is_refused_with_its_topic(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ContractError, match=f"agentview/image_raw.*{why}"):
        fields.decode_image(SimpleNamespace(**{**vars(image("rgb8", RGB)), **changes}), CAMERA)


def test_joints_are_picked_by_name() -> None:
    """Regression seen elsewhere: another driver orders joints alphabetically and the arm takes the wrong one."""
    message = SimpleNamespace(name=["finger", "b", "a"], position=[3.0, 2.0, 1.0])
    assert fields.joint_values(message, ["a", "b"]).tolist() == [1.0, 2.0]


def test_a_missing_joint_is_named() -> None:
    with pytest.raises(ContractError, match="joint b is not in the joint state, which has a, c"):
        fields.joint_values(SimpleNamespace(name=["a", "c"], position=[1.0, 2.0]), ["a", "b"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_joint_that_is_not_finite_is_named(bad: float) -> None:
    with pytest.raises(ContractError, match=f"joint b is {bad}"):
        fields.joint_values(SimpleNamespace(name=["a", "b"], position=[1.0, bad]), ["a", "b"])


def test_fewer_positions_than_names_are_refused() -> None:
    with pytest.raises(ContractError, match="names 2 joints but has 1"):
        fields.joint_values(SimpleNamespace(name=["a", "b"], position=[1.0]), ["a"])


def test_a_pose_in_another_frame_is_refused() -> None:
    state = {name: np.ones(stream.size, np.float32) for name, stream in PANDA.state.items()}
    pose = dict(compose.state_messages(PANDA, state, 0))["eef_pose"]
    assert fields.pose_field(pose, "orientation", "world").tolist() == [1, 1, 1, 1]
    with pytest.raises(ContractError, match="frame 'world', the embodiment says 'base'"):
        fields.pose_field(pose, "position", "base")


def test_a_hold_is_no_action() -> None:
    with pytest.raises(ContractError, match="carries no action"):
        fields.command_values(compose.hold_command("no chunk yet", 0), PANDA.action)


def test_a_command_of_another_length_is_refused() -> None:
    with pytest.raises(ContractError, match=r"arm_command at stamp 2.000 s: 3 values.*has 7"):
        fields.command_values(compose.track_command(np.zeros(3), 2 * fields.NS), PANDA.action)


def test_a_command_that_is_not_finite_names_the_dimension() -> None:
    action = np.array([0, 0, np.nan, 0, 0, 0, 0])
    with pytest.raises(ContractError, match="action z is nan"):
        fields.command_values(compose.track_command(action, 0), PANDA.action)


@given(st.integers(0, 2**31 * fields.NS - 1))
def test_stamps_are_exact_to_the_nanosecond(ns: int) -> None:
    sec, nanosec = fields.split_ns(ns)
    assert fields.stamp_ns(SimpleNamespace(sec=sec, nanosec=nanosec)) == ns
    seconds = fields.stamp_s(SimpleNamespace(sec=sec, nanosec=nanosec))
    assert fields.ns_to_seconds(fields.seconds_to_ns(seconds)) == seconds
    if ns < 2**22 * fields.NS:  # 48 days: a float of seconds still tells neighbouring nanoseconds apart
        assert fields.seconds_to_ns(seconds) == ns


def test_the_stamp_is_found_without_decoding() -> None:
    raw = messages.serialise(compose.hold_command("", 5 * fields.NS + 7))
    assert fields.header_stamp_ns(raw) == 5 * fields.NS + 7

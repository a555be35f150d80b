"""Our clients against independent servers in other processes: what is sent, what is understood, every fault."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from tests.policies.peering import (
    PANDA,
    PROTOCOLS,
    SIZE,
    Peer,
    address,
    an_observation,
    axis_angle,
    known_chunk,
    peer,
    turned,
)
from tests.policies.served import serving
from world2act_core.errors import ContractError, PolicyServerError, World2ActError
from world2act_core.policies.address import open_policy

TOKEN = "open-sesame-open-sesame"
FAULTS = {  # what a client says, whatever the protocol
    "slow": "did not answer in time",
    "die": "did not answer in time|closed the connection|broke the connection|cannot be connected",
    "nan": "not finite",
    "shape": "there is no action|expected \\(\\.\\.\\., 7\\)",
    "horizon": "expected 1 chunk\\(s\\) of 16 steps|others have",
    "error": "CUDA out of memory|'error'",
    "garbage": "no GR00T message|no openpi message|no JSON",
}


def recorded(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {key.replace("|", "/"): file[key] for key in file.files}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_good_server_is_asked_as_it_expects_and_understood(protocol: str, tmp_path: Path) -> None:
    seen = an_observation(SIZE[protocol])
    with peer(protocol, "--record", str(tmp_path / "request.npz")) as server:
        policy = open_policy(address(protocol, server.port), PANDA)
        policy.reset()
        chunk = policy.act(seen, "put the bowl on the plate")
        policy.close()
    assert (policy.horizon, policy.cameras) == (16, ("agentview", "wrist"))
    np.testing.assert_allclose(chunk.actions, known_chunk(0, 16), atol=1e-7)
    assert chunk.actions.dtype == np.float32 and (chunk.stamp, chunk.skill) == (1.5, "put the bowl on the plate")
    assert chunk.timing["round_trip"] > 0
    request, state = recorded(tmp_path / "request.npz"), seen.state
    turn = axis_angle(state["eef_orientation"])
    if protocol == "gr00t":
        images = {"image": request["image"][0, 0], "wrist_image": request["wrist_image"][0, 0]}
        sent = np.concatenate([request[k][0, 0] for k in ("x", "y", "z", "roll", "pitch", "yaw", "gripper")])
        expected = np.concatenate([state["eef_position"], turn, state["gripper_positions"]])
    elif protocol == "openpi":
        images = {"image": request["observation/image"], "wrist_image": request["observation/wrist_image"]}
        sent = request["observation/state"]
        expected = np.concatenate([state["eef_position"], turn, state["gripper_positions"]])
    else:  # flipped upside down only: upright
        images = {"image": turned(request["primary_image"]), "wrist_image": turned(request["left_wrist_image"])}
        sent = request["proprio"]
        expected = np.concatenate([state["gripper_positions"], state["eef_position"], state["eef_orientation"]])
    np.testing.assert_array_equal(images["image"], turned(seen.images["agentview"]))
    np.testing.assert_array_equal(images["wrist_image"], turned(seen.images["wrist"]))
    np.testing.assert_allclose(sent, expected, atol=1e-6)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_in_time_and_the_next_request_may_succeed(
    protocol: str, fault: str, tmp_path: Path
) -> None:
    """The first answer, at connection, is good; the second is not. Then the server is itself again.

    The slow answer does not come before the client has given up: a client that waits for it waits forever.
    """
    seen = an_observation(SIZE[protocol])
    with peer(protocol, "--fault", fault, "--until", str(tmp_path / "go")) as server:
        policy = open_policy(address(protocol, server.port, timeout_ms=1000), PANDA)
        with pytest.raises(World2ActError, match=FAULTS[fault]) as refused:
            policy.act(seen, "x")
        (tmp_path / "go").touch()
        assert f"{protocol}://127.0.0.1:{server.port}" in str(refused.value) and "\n" not in str(refused.value)
        again = server
        if fault == "die":
            server.process.wait(10)
            again = Peer(f"{protocol}_server.py", "--port", str(server.port))
        try:
            np.testing.assert_allclose(patiently(policy, seen), known_chunk(0, 16), atol=1e-7)
        finally:
            policy.close()
            if again is not server:
                again.end()


def patiently(policy, seen, seconds: float = 60.0) -> np.ndarray:
    """The first chunk that comes, asked for as the policy node does: again after a fault."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return policy.act(seen, "x").actions
        except PolicyServerError:
            assert time.monotonic() < deadline, "the policy did not come back"
            time.sleep(0.05)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_was_restarted_between_two_requests_is_used_again(protocol: str) -> None:
    seen = an_observation(SIZE[protocol])
    with peer(protocol) as first:
        policy = open_policy(address(protocol, first.port), PANDA)
        policy.act(seen, "x")
    with peer(protocol, "--port", str(first.port)):
        policy.reset()
        np.testing.assert_allclose(policy.act(seen, "x").actions, known_chunk(0, 16), atol=1e-7)
    policy.close()


@pytest.mark.parametrize("protocol", ("gr00t", "openpi"))
def test_a_server_that_comes_back_with_another_horizon_is_not_believed(protocol: str) -> None:
    seen = an_observation(SIZE[protocol])
    with peer(protocol) as first:
        policy = open_policy(address(protocol, first.port), PANDA)
    with peer(protocol, "--port", str(first.port), "--horizon", "8"), pytest.raises(ContractError, match="16|another"):
        policy.act(seen, "x")
    policy.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", ["nan", "shape", "error", "garbage", "slow"])
def test_a_server_that_begins_with_a_fault_is_refused_before_anything_moves(protocol: str, fault: str) -> None:
    with peer(protocol, "--fault", fault, "--good", "0") as server:
        given = address(protocol, server.port, timeout_ms=500, connect_timeout_ms=800)
        with pytest.raises(World2ActError, match=FAULTS[fault]):
            open_policy(given, PANDA)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_that_looks_less_far_ahead_than_the_arm_executes_is_refused(protocol: str) -> None:
    with (
        peer(protocol, "--horizon", "3") as server,
        pytest.raises(ContractError, match="3 steps|\\(1, 3, 7\\)"),
    ):
        open_policy(address(protocol, server.port), PANDA)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nobody_there(protocol: str) -> None:
    with peer(protocol) as gone:
        port = gone.port
    with pytest.raises(PolicyServerError, match=f"{protocol}://127.0.0.1:{port} (did not answer|cannot be connected)"):
        open_policy(address(protocol, port, connect_timeout_ms=500), PANDA)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_token_opens_and_is_never_said(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEER_TOKEN", TOKEN)
    monkeypatch.setenv("WRONG_TOKEN", "wrong-wrong-wrong-wrong")
    with peer(protocol, "--token", TOKEN) as server:
        policy = open_policy(address(protocol, server.port, token_env="PEER_TOKEN"), PANDA)
        policy.act(an_observation(SIZE[protocol]), "x")
        policy.close()
        assert TOKEN not in f"{policy.metadata} {vars(policy)}"
        for options in ({}, {"token_env": "WRONG_TOKEN"}):
            with pytest.raises(PolicyServerError, match="Unauthorized|401") as refused:
                open_policy(address(protocol, server.port, **options), PANDA)
            assert "wrong-wrong" not in str(refused.value)
    with pytest.raises(World2ActError, match="variable NOT_THERE is empty"):
        open_policy(address(protocol, 1, token_env="NOT_THERE"), PANDA)


def test_gr00t_flat_observations(tmp_path: Path) -> None:
    with peer("gr00t", "--flat") as server:
        with pytest.raises(PolicyServerError, match=r"\?format=flat"):
            open_policy(address("gr00t", server.port), PANDA)
        policy = open_policy(address("gr00t", server.port, format="flat"), PANDA)
        np.testing.assert_allclose(policy.act(an_observation(256), "x").actions, known_chunk(0, 16), atol=1e-7)
        policy.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_several_observations_at_a_time(protocol: str) -> None:
    seen = [an_observation(SIZE[protocol], seed) for seed in range(3)]
    with peer(protocol) as server:
        policy = open_policy(address(protocol, server.port), PANDA)
        chunks = policy.act_batch(seen, ["a", "b", "c"])
        policy.close()
    assert [(chunk.stamp, chunk.skill) for chunk in chunks] == [(1.5, "a"), (2.5, "b"), (3.5, "c")]
    for row, chunk in enumerate(chunks):  # only GR00T has batches: the others answer one by one
        np.testing.assert_allclose(chunk.actions, known_chunk(row if protocol == "gr00t" else 0, 16), atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--cameras", "image,side_image"), "other cameras: it has image, side_image.*not side_image"),
        (("--state", "x,y,z,left_arm"), "other state keys: .*not left_arm"),
        (("--actions", "x,y,z,roll,pitch,yaw,pad,gripper"), "other actions: .*not pad"),
        (("--actions", "x,y,z,roll,pitch,yaw"), "gives no action 'gripper'"),
        (("--history=-5,0",), r"wants video of the steps \[-5, 0\]"),
    ],
)
def test_gr00t_for_another_robot_is_one_sentence(arguments: tuple[str, ...], said: str) -> None:
    with peer("gr00t", *arguments) as server, pytest.raises(ContractError, match=said):
        open_policy(address("gr00t", server.port), PANDA)


def test_a_camera_that_is_not_shown_is_named() -> None:
    seen = an_observation(256)
    with peer("gr00t") as server:
        policy = open_policy(address("gr00t", server.port), PANDA)
        with pytest.raises(ContractError, match="no image of wrist"):
            policy.act(type(seen)(0.0, {"agentview": seen.images["agentview"]}, seen.state), "x")
        policy.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gr00t://user:secret@host:1", "cannot be read"),
        ("gr00t://", "cannot be read"),
        ("gr00t://host:99999999", "cannot be read"),
        ("gr00t://host:1?token=abc", "no option 'token'"),
        ("openpi://host:1?timeout_ms=soon", "timeout_ms='soon'"),
        ("gr00t://host:1?format=round", "format='round' must be one of nested, flat"),
    ],
)
def test_addresses_that_cannot_be_used(given: str, said: str) -> None:
    with pytest.raises(World2ActError, match=said) as refused:
        open_policy(given, PANDA)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "frames",
    [{"side": [5, 5]}, *({"observation/image": size} for size in ([0, 5], [5, 5000], [5], "ab", [5.0, 5], None))],
)
def test_a_server_that_wants_impossible_images_is_one_sentence(frames: dict[str, object]) -> None:
    with peer("openpi") as server:
        policy = open_policy(address("openpi", server.port), PANDA)
        with pytest.raises(PolicyServerError, match="wants an image '.*' of size .*, which there is not"):
            policy.heed({"frames": frames})  # type: ignore[attr-defined]
        assert policy.metadata["images"] == {camera: [256, 256] for camera in PANDA.cameras}
        policy.close()


@pytest.mark.parametrize(
    ("protocol", "remembers"),
    [("gr00t", False), ("gr00t", True), ("openpi", False), ("openpi", True), ("cosmos", False)],
)
def test_a_server_of_ours_that_comes_back_with_another_policy_is_refused_however_often(
    protocol: str, remembers: bool
) -> None:
    """Some connections outlive the server that they were made to."""
    seen, more = an_observation(SIZE[protocol]), ",stateful" * remembers
    with serving("--policy", f"telling:eef_position,as-one{more}", "--protocol", protocol) as (_, port):
        policy = open_policy(address(protocol, port), PANDA)
        policy.act(seen, "x")
        assert policy.stateful == remembers
    with serving("--policy", f"telling:eef_position,as-one{more}", "--protocol", protocol, port=port):
        policy.reset()
        policy.act(seen, "x")
    with serving("--policy", f"telling:eef_position,as-two{more}", "--protocol", protocol, port=port):
        for _ in range(2):
            policy.reset()
            with pytest.raises(ContractError, match="came back with another policy than before"):
                policy.act(seen, "x")
    policy.close()

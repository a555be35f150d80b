"""``world2act serve`` against independent clients in other processes, and against our own."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from tests.policies.peering import PANDA, PROTOCOLS, SIZE, address, an_observation, axis_angle, turned
from tests.policies.served import Client, TellingPolicy, serving
from world2act_core.cli import main
from world2act_core.errors import ContractError, PolicyServerError
from world2act_core.policies.address import open_policy
from world2act_core.policies.cosmos import wire as cosmos_wire
from world2act_core.policies.gr00t import wire as gr00t_wire
from world2act_core.policies.openpi import wire as openpi_wire
from world2act_core.types import Observation

STREAMS = "joint_positions,gripper_positions,eef_position"
STANDARD = "gripper_positions,eef_position"
USUAL = PANDA.cameras["agentview"].width
"""What a policy of ours is shown in process, and what our servers ask our clients for."""
TOKEN = "open-sesame-open-sesame"


def in_process(streams: str, seen: Observation, prompt: str) -> np.ndarray:
    return TellingPolicy(streams, PANDA).act(seen, prompt).actions


def saved(path: Path, **arrays: object) -> str:
    named: dict[str, Any] = {key.replace("/", "|"): np.asarray(value) for key, value in arrays.items()}
    np.savez(path, **named)
    return str(path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("streams", [STREAMS, STANDARD])
def test_a_policy_behind_our_server_acts_as_in_process(protocol: str, streams: str) -> None:
    """Images are mirrored and back, the gripper is converted and back; joints travel although the protocol has none."""
    seen = [an_observation(USUAL, seed) for seed in range(3)]
    prompts = ["open", "close", "open"]
    with serving("--policy", f"telling:{streams}", "--protocol", protocol) as (_, port):
        policy = open_policy(address(protocol, port), PANDA)
        policy.reset()
        chunks = [policy.act(seen[0], "close"), *policy.act_batch(seen, prompts)]
        policy.close()
    assert policy.horizon == 8 and ("joint_positions" in (policy.streams or ())) == ("joint" in streams)
    for chunk, observation, prompt in zip(chunks, [seen[0], *seen], ["close", *prompts], strict=True):
        np.testing.assert_allclose(chunk.actions, in_process(streams, observation, prompt), atol=2e-7, rtol=0)
    if protocol != "cosmos":
        assert 0 < chunks[0].timing["server"] <= chunks[0].timing["round_trip"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_our_clients_send_frames_in_the_size_that_the_policy_sees(protocol: str) -> None:
    """Not in the protocol's: fitted into that and back, images would be others than in process."""
    with serving("--policy", f"telling:{STREAMS}", "--protocol", protocol) as (_, port):
        policy = open_policy(address(protocol, port), PANDA)
        policy.close()
    assert policy.metadata["images"] == {camera: [USUAL, USUAL] for camera in PANDA.cameras}


@pytest.mark.parametrize("protocol", ["gr00t", "openpi"])
def test_a_client_knows_whether_the_policy_remembers(protocol: str) -> None:
    for words, remembers in ((STANDARD, False), (f"{STANDARD},stateful", True)):
        with serving("--policy", f"telling:{words}", "--protocol", protocol) as (_, port):
            policy = open_policy(address(protocol, port), PANDA)
            policy.close()
        assert policy.stateful is remembers


def test_the_compact_policy_served_as_a_stranger_would(tmp_path: Path) -> None:
    """It reads joint positions, which GR00T's protocol does not have: they are asked for and sent."""
    import torch

    from world2act_core.policies.compact import CompactConfig, new_network, save_compact

    torch.manual_seed(0)
    config = CompactConfig(width=8, features=16, image_size=32)
    save_compact(tmp_path / "policy.pt", new_network(config, PANDA), config, PANDA)
    given = f"compact:{tmp_path / 'policy.pt'}"
    seen = [an_observation(USUAL, seed) for seed in range(2)]
    with serving("--policy", given, "--protocol", "gr00t") as (_, port):
        policy = open_policy(address("gr00t", port), PANDA)
        chunks = policy.act_batch(seen, ["push", "push"])
        policy.close()
    assert policy.horizon == PANDA.chunk_length and "joint_positions" in (policy.streams or ())
    here = open_policy(given, PANDA)
    for chunk, observation in zip(chunks, seen, strict=True):
        expected = here.act(observation, "push").actions
        assert np.ptp(expected) > 0
        np.testing.assert_allclose(chunk.actions, expected, atol=2e-7, rtol=0)


def gr00t_observation(seen: Observation, folder: Path) -> dict[str, object]:
    """As NVIDIA's LIBERO evaluation makes it, in the words of the client peer."""
    turn = axis_angle(seen.state["eef_orientation"])
    arrays = {
        "image": turned(seen.images["agentview"])[None, None],
        "wrist_image": turned(seen.images["wrist"])[None, None],
        "gripper": seen.state["gripper_positions"][None, None],
    }
    for name, value in zip(("x", "y", "z"), seen.state["eef_position"], strict=True):
        arrays[name] = np.full((1, 1, 1), value, np.float32)
    for name, value in zip(("roll", "pitch", "yaw"), turn, strict=True):
        arrays[name] = np.full((1, 1, 1), value, np.float32)
    file = saved(folder / "observation.npz", **arrays)
    video = ("image", "wrist_image")
    return {
        "video": {key: {"file": file, "key": key} for key in video},
        "state": {key: {"file": file, "key": key} for key in arrays if key not in video},
        "language": {"annotation.human.action.task_description": [["close"]]},
    }


def test_a_gr00t_client_gets_libero_actions_with_its_own_gripper(tmp_path: Path) -> None:
    seen = an_observation(256)
    expected = in_process(STANDARD, seen, "close")
    nested = gr00t_observation(seen, tmp_path)
    flat = {f"video.{key}": value for key, value in nested["video"].items()}  # type: ignore[attr-defined]
    flat |= {f"state.{key}": value for key, value in nested["state"].items()}  # type: ignore[attr-defined]
    flat["annotation.human.action.task_description"] = ["close"]
    with (
        serving("--policy", f"telling:{STANDARD}", "--protocol", "gr00t") as (process, port),
        Client("gr00t_client.py", port) as client,
    ):
        assert client.ask({"endpoint": "ping"})["status"] == "ok"
        said = client.ask({"endpoint": "get_modality_config"})
        assert said["video"]["modality_keys"] == ["image", "wrist_image"] and said["video"]["delta_indices"] == [0]
        assert said["state"]["modality_keys"] == ["x", "y", "z", "gripper"], "what the policy reads, and no more"
        assert said["action"]["delta_indices"] == list(range(8))
        assert said["language"]["modality_keys"] == ["annotation.human.action.task_description"]
        assert client.ask({"endpoint": "reset", "data": {"options": None}}) == {}
        for observation, prefix in ((nested, ""), (flat, "action.")):
            data = {"observation": observation, "options": None}
            actions, _ = client.ask({"endpoint": "get_action", "data": data})
            assert {value["dtype"] for value in actions.values()} == {"float32"}
            assert actions[f"{prefix}gripper"]["shape"] == [1, 8, 1]
            keys = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
            got = np.concatenate([actions[f"{prefix}{key}"]["array"] for key in keys], axis=-1)[0]
            np.testing.assert_allclose(got[:, :6], expected[:, :6], atol=1e-6)
            np.testing.assert_allclose(got[:, 6], (1 - expected[:, 6]) / 2, atol=1e-6)  # 1 is open, not -1
        assert client.ask({"endpoint": "kill"}) is None
        assert process.wait(20) == 0


def test_a_gr00t_server_answers_nonsense_with_an_error_and_lives_on(tmp_path: Path) -> None:
    good = gr00t_observation(an_observation(256), tmp_path)
    zeros = {"dtype": "float32", "zeros": [1, 1, 2]}

    def wrong(part: str, **changes: object) -> dict[str, object]:
        return {**good, part: {**good[part], **changes}}  # type: ignore[dict-item]

    cases = [
        (wrong("state", x=zeros), r"state x is float32 \(2,\)"),
        (wrong("state", x={**zeros, "zeros": [1, 3, 1]}), "expected 3 dimensions, the second of size 1"),
        (wrong("state", x={**zeros, "zeros": [2, 1, 1]}), "expected 1 of them"),
        (wrong("state", x={**zeros, "zeros": [1, 1, 1], "value": float("nan")}), "state x is not finite"),
        (wrong("video", image={"zeros": [1, 1, 256, 256, 4], "dtype": "uint8"}), "expected uint8"),
        (wrong("video", image={"zeros": [1, 1, 256, 256, 3], "dtype": "float32"}), "expected uint8"),
        ({**good, "video": {}}, "no image image"),
        (wrong("language", **{"annotation.human.action.task_description": ["close"]}), "list of lists of one text"),
        (wrong("language", **{"annotation.human.action.task_description": [["fail"]]}), "cannot think of anything"),
        (wrong("language", **{"annotation.human.action.task_description": [["crash"]]}), "ZeroDivisionError"),
        (None, "data.observation"),
    ]
    with (
        serving("--policy", f"telling:{STANDARD}", "--protocol", "gr00t") as (_, port),
        Client("gr00t_client.py", port) as client,
    ):
        for observation, said in cases:
            answer = client.ask({"endpoint": "get_action", "data": {"observation": observation}})
            assert isinstance(answer, dict) and list(answer) == ["error"], said
            assert re.search(said, answer["error"]), answer
        assert "unknown endpoint" in client.ask({"endpoint": "get_rich"})["error"]
        assert "no GR00T message" in client.ask({"raw": "c1ff"})["error"]
        assert "must be a map" in client.ask({"raw": "93010203"})["error"]
        actions, _ = client.ask({"endpoint": "get_action", "data": {"observation": good}})
        assert np.isfinite(actions["x"]["array"]).all()


class Trap:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._path),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """numpy's format can hold pickles: an array of objects, which runs code when it is read without care."""
    file = io.BytesIO()
    np.save(file, np.array([Trap(tmp_path / "sprung")], object), allow_pickle=True)
    trap = {"__ndarray_class__": True, "as_npy": file.getvalue()}
    frame: bytes = msgpack.packb({"endpoint": "get_action", "data": {"observation": {"video": {"image": trap}}}})
    with (
        serving("--policy", f"telling:{STANDARD}", "--protocol", "gr00t") as (_, port),
        Client("gr00t_client.py", port) as client,
    ):
        assert "no GR00T message" in client.ask({"raw": frame.hex()})["error"]
    assert not (tmp_path / "sprung").exists()
    file.seek(0)
    np.load(file, allow_pickle=True)
    assert (tmp_path / "sprung").exists(), "the trap works"


def test_an_array_is_as_large_as_its_bytes() -> None:
    """A head that promises terabytes must not make anybody reserve them."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": (10**13,), "fortran_order": False, "descr": "|u1"})
    huge = msgpack.packb({"__ndarray_class__": True, "as_npy": file.getvalue() + b"few"})
    with pytest.raises(PolicyServerError, match="no GR00T message"):
        gr00t_wire.unpack(huge)
    array = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    file = io.BytesIO()
    np.save(file, array)
    read = gr00t_wire.unpack(msgpack.packb({"__ndarray_class__": True, "as_npy": file.getvalue()}))
    np.testing.assert_array_equal(read, array)
    for data, kind, shape in ((b"few", "|u1", [10**13]), (b"few", "|O", [3]), (b"12345678", "<f8", [-1, -1])):
        openpi = {b"__ndarray__": True, b"data": data, b"dtype": kind, b"shape": shape}
        with pytest.raises(PolicyServerError, match="no openpi message"):
            openpi_wire.unpack(msgpack.packb(openpi))
        cosmos = {"__numpy__": base64.b64encode(data).decode(), "dtype": kind, "shape": shape}
        with pytest.raises(PolicyServerError, match="no JSON"):
            cosmos_wire.unpack(json.dumps(cosmos).encode())


def test_each_protocol_asks_for_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_TOKEN", TOKEN)
    for protocol in PROTOCOLS:
        with serving("--policy", f"telling:{STANDARD}", "--protocol", protocol, "--token-env", "SERVE_TOKEN") as (
            _,
            port,
        ):
            with pytest.raises(PolicyServerError, match="Unauthorized|401|refuses us"):
                open_policy(address(protocol, port), PANDA)
            policy = open_policy(address(protocol, port, token_env="SERVE_TOKEN"), PANDA)
            policy.act(an_observation(SIZE[protocol]), "open")
            policy.close()


def test_the_published_openpi_client_gets_its_actions(tmp_path: Path) -> None:
    if importlib.util.find_spec("openpi_client") is None:
        pytest.skip("openpi-client is not installed: pip install --no-deps openpi-client")
    seen = an_observation(224)
    state = np.concatenate(
        [seen.state["eef_position"], axis_angle(seen.state["eef_orientation"]), seen.state["gripper_positions"]]
    )
    request = {
        "observation/image": np.ascontiguousarray(turned(seen.images["agentview"])),
        "observation/wrist_image": np.ascontiguousarray(turned(seen.images["wrist"])),
        "observation/state": state,  # float64, as the published example sends it
        "prompt": "close",
    }
    good = saved(tmp_path / "good.npz", **request)
    bad = saved(tmp_path / "bad.npz", **{**request, "observation/state": state[:7]})
    with (
        serving("--policy", f"telling:{STANDARD}", "--protocol", "openpi") as (_, port),
        Client("published_openpi_client.py", port) as client,
    ):
        assert client.hear()["action_horizon"] == 8
        answer = client.ask(good)
        np.testing.assert_allclose(answer["actions"], in_process(STANDARD, seen, "close"), atol=1e-6)
        assert answer["server_timing"]["infer_ms"] > 0
        refused = client.ask(bad)["raised"]
        assert refused.startswith("RuntimeError: Error in inference server") and "expected float32 (8,)" in refused
        assert "ConnectionClosed" in client.ask(good)["raised"], "the protocol ends the connection after an error"
        assert client.ask("connect")["action_horizon"] == 8
        np.testing.assert_allclose(client.ask(good)["actions"], answer["actions"], atol=0)


def test_the_published_openpi_client_with_and_without_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("openpi_client") is None:
        pytest.skip("openpi-client is not installed: pip install --no-deps openpi-client")
    monkeypatch.setenv("SERVE_TOKEN", TOKEN)
    with serving("--policy", f"telling:{STANDARD}", "--protocol", "openpi", "--token-env", "SERVE_TOKEN") as (_, port):
        with Client("published_openpi_client.py", port, TOKEN) as client:
            assert client.hear()["action_dim"] == 7
        with Client("published_openpi_client.py", port) as client:
            assert "401" in client.hear()["raised"]


def test_openpi_says_that_it_is_well_and_closes_after_an_error() -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with serving("--policy", f"telling:{STANDARD}", "--protocol", "openpi") as (_, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as response:
            assert response.read().strip() == b"OK"
        with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None) as connection:
            assert isinstance(connection.recv(10), bytes)
            connection.send(b"\xc1")
            text = connection.recv(10)
            assert isinstance(text, str) and "no openpi message" in text
            with pytest.raises(ConnectionClosed):
                connection.recv(10)
        policy = open_policy(address("openpi", port), PANDA)
        policy.act(an_observation(224), "open")
        with pytest.raises(PolicyServerError, match="cannot think of anything"):
            policy.act(an_observation(224), "fail")
        policy.act(an_observation(224), "open")
        policy.close()


def test_a_cosmos_client_gets_its_actions_and_error_for_nonsense(tmp_path: Path) -> None:
    seen = an_observation(256)
    request = {
        "primary_image": seen.images["agentview"],
        "left_wrist_image": seen.images["wrist"],
        "proprio": np.concatenate([seen.state[n] for n in ("gripper_positions", "eef_position", "eef_orientation")]),
        "task_description": "close",
    }
    good = saved(tmp_path / "good.npz", **request)
    bad = saved(tmp_path / "bad.npz", **{**request, "proprio": np.zeros(3, np.float32)})
    with (
        serving("--policy", f"telling:{STANDARD}", "--protocol", "cosmos") as (_, port),
        Client("cosmos_client.py", port) as client,
    ):
        for _ in range(2):
            said = client.ask(good)
            assert said["status"] == 200
            np.testing.assert_allclose(said["answer"]["actions"], in_process(STANDARD, seen, "close"), atol=1e-6)
            for nonsense in (bad, "{no json", "[1, 2]", '{"primary_image": {"__numpy__": "AA==", "dtype": "O"}}'):
                assert client.ask(nonsense) == {"status": 200, "answer": "error"}
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/docs", timeout=10)


def test_a_policy_that_remembers_begins_anew_with_each_episode() -> None:
    """gr00t has a reset; where openpi has none, a new connection is one. Cosmos has neither, and refuses."""
    seen = {"gr00t": an_observation(256), "openpi": an_observation(224)}
    for protocol, observation in seen.items():
        with serving("--policy", f"telling:stateful,{STANDARD}", "--protocol", protocol) as (_, port):
            policy = open_policy(address(protocol, port), PANDA)
            counts = []
            for _ in range(2):
                policy.reset()
                counts += [round(100 * float(policy.act(observation, "open").actions[0, 5])) for _ in range(2)]
            assert counts == [1, 2, 1, 2]
            policy.close()
    assert main(["serve", "--policy", "replay:/nowhere", "--protocol", "cosmos"]) == 2


def test_what_serve_refuses(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from world2act_core.policies import address as addresses

    addresses.register_policy_scheme("telling", "tests.policies.served:open_telling")
    monkeypatch.setenv("EMPTY", "")
    telling = ["serve", "--protocol", "cosmos", "--policy", "telling:stateful"]
    for arguments, said in (
        ([*telling, "--host", "0.0.0.0"], "can be reached from other machines"),
        ([*telling, "--port", "99999"], "--port 99999 is no port: name one from 1 to 65535, or 0 for a free one"),
        ([*telling, "--port", "-1"], "--port -1 is no port"),
        ([*telling, "--token-env", "EMPTY"], "variable EMPTY is empty"),
        ([*telling, "--port", "0"], "has no reset"),
        (
            [*telling, "--embodiment", "ur5e"],
            "no cosmos mapping for ur5e: write one (docs/policies.md) and name it with --mapping",
        ),
    ):
        assert main(arguments) == 2
        assert said in capsys.readouterr().err


def test_a_policy_that_remembers_takes_one_observation_at_a_time() -> None:
    seen = an_observation(32)
    with pytest.raises(ContractError, match="cannot act in 2 at a time"):
        TellingPolicy("stateful", PANDA).act_batch([seen, seen], ["a", "b"])

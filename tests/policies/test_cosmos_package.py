"""Cosmos Policy in process, with a stand-in for NVIDIA's package in a process of its own."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from tests.policies.peering import PANDA, PEERS, address, an_observation
from tests.policies.served import ROOT, serving
from world2act_core.embodiment import load_embodiment
from world2act_core.errors import ContractError, MissingExtraError, PolicyServerError, RunError
from world2act_core.policies.address import open_policy
from world2act_core.policies.cosmos.package import in_world, read_embeddings
from world2act_core.policies.protocol import Policy
from world2act_core.types import Array, Observation

PACKAGE = {"PYTHONPATH": f"{ROOT}{os.pathsep}{PEERS / 'cosmos_policy_package'}"}
BOWL = "put the bowl on the plate"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder as the published ones are laid out; of two names, which alone would be one on Hugging Face."""
    folder = tmp_path / "exports" / "cosmos"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "weights.json").write_text(json.dumps({"gain": 0.5}))
    stats = {"actions_min": [-1.0] * 6 + [-0.8], "actions_max": [1.0] * 6 + [0.8]}
    stats |= {"proprio_min": [-1.0] * 9, "proprio_max": [1.0] * 9}
    (folder / "libero_dataset_statistics.json").write_text(json.dumps(stats))
    known = {BOWL: torch.full((1, 8, 4), 0.5, dtype=torch.bfloat16), "close it": torch.full((1, 8, 4), -0.5)}
    (folder / "libero_t5_embeddings.pkl").write_bytes(pickle.dumps(known))
    return folder


def observation() -> Observation:
    """Shades that survive JPEG, shrinking and cropping: bright at the top left of one camera, of the other dark."""
    seen = an_observation(256)
    images = {camera: np.full((256, 256, 3), 128, np.uint8) for camera in PANDA.cameras}
    images["agentview"][:128, :128] = 230
    images["wrist"][:128, :128] = 20
    return Observation(seen.stamp, images, seen.state)


@contextlib.contextmanager
def served(checkpoint: Path, protocol: str, **environment: str) -> Iterator[Policy]:
    given = f"cosmos-policy:{checkpoint.relative_to(checkpoint.parents[1])}?seed=7"
    with serving(
        "--policy", given, "--protocol", protocol, environment={**PACKAGE, **environment}, folder=checkpoint.parents[1]
    ) as (_, port):
        policy = open_policy(address(protocol, port), PANDA)
        try:
            yield policy
        finally:
            policy.close()


def told(seen: Observation) -> Array:
    """What the stand-in's first six numbers mean, worked out from the published evaluation's own order of proprio."""
    proprio = np.concatenate([seen.state[n] for n in ("gripper_positions", "eef_position", "eef_orientation")])
    shades = [230 / 127.5 - 1, 20 / 127.5 - 1]
    return np.array([*(0.5 * np.array([*shades, proprio[0], proprio[4], proprio[8]])), 0.007 + 0.0005])


@pytest.mark.parametrize("protocol", ["gr00t", "openpi"])
def test_a_checkpoint_is_served_to_whoever_speaks_gr00t_or_openpi(checkpoint: Path, protocol: str) -> None:
    seen = observation()
    with served(checkpoint, protocol) as policy:
        assert policy.horizon == 16 and policy.cameras == ("agentview", "wrist")
        chunk = policy.act(seen, BOWL).actions
        closing = policy.act(seen, "close it").actions
        with pytest.raises(PolicyServerError, match="hold no instruction 'dance', but 2 others such as 'put the bowl"):
            policy.act(seen, "dance")
        again = policy.act(seen, BOWL).actions
    assert chunk.shape == (16, 7)
    np.testing.assert_allclose(chunk[0, :2], told(seen)[:2], atol=0.02)
    np.testing.assert_allclose(chunk[0, 2:6], told(seen)[2:], atol=1e-6)
    np.testing.assert_allclose(chunk[:, 5] - chunk[0, 5], np.arange(16) / 100, atol=1e-6)
    np.testing.assert_allclose((chunk[:, 6], closing[:, 6]), ([0.4] * 16, [-0.4] * 16), atol=1e-6)
    np.testing.assert_array_equal(chunk, again)


def test_robocasas_poses_are_turned_into_the_worlds_and_its_base_stands_still(checkpoint: Path) -> None:
    """As RoboCasa's evaluation says: 32 steps, three cameras, robot0_eef_pos and _quat, [0, 0, 0, 0, -1] appended."""
    (checkpoint / "libero_dataset_statistics.json").rename(checkpoint / "robocasa_dataset_statistics.json")
    omron = load_embodiment("panda_omron")
    base, hand = Rotation.from_rotvec([0, 0, 0.6]), Rotation.from_rotvec([0.5, 0.2, -0.1])
    state = {name: np.zeros(stream.size, np.float32) for name, stream in omron.state.items()}
    state["gripper_positions"] = np.array([0.04, -0.04], np.float32)
    for name, place, turn in (("base", [0.3, -0.2, 0.1], base), ("eef", [0.4, 0.1, 0.3], hand)):
        state[f"{name}_position"] = np.array(place, np.float32)
        state[f"{name}_orientation"] = turn.as_quat().astype(np.float32)
    images = {camera: np.full((256, 256, 3), 128, np.uint8) for camera in omron.cameras}
    arguments = ("--embodiment", "panda_omron", "--policy", f"cosmos-policy:{checkpoint}", "--protocol", "gr00t")
    with serving(*arguments, environment=PACKAGE) as (_, port):
        policy = open_policy(address("gr00t", port), omron)
        chunk = policy.act(Observation(0.0, images, state), BOWL).actions
        policy.close()
    assert chunk.shape == (32, 12) and set(policy.cameras) == set(omron.cameras)
    assert policy.metadata["images"] == {camera: [224, 224] for camera in omron.cameras}
    np.testing.assert_allclose(chunk[:, 7:], [[0, 0, 0, 0, -1]] * 32)
    height = np.array([0.3, -0.2, 0.1]) + base.apply([0.4, 0.1, 0.3])
    w = (base * hand).as_quat()[3]
    np.testing.assert_allclose(chunk[0, 2:5], 0.5 * np.array([0.04, height[2], w]), atol=1e-6)


@pytest.mark.parametrize("turn", [0.2, -2.9, 5.0])
def test_a_pose_in_the_world_is_the_bases_times_the_hands(turn: float) -> None:
    rng = np.random.default_rng(0)
    base, hand = Rotation.from_rotvec([0.1, 0.2, turn]), Rotation.random(random_state=1)
    place, reach = rng.normal(size=(2, 3))
    found = in_world(np.array([0.1, 0.2, *reach, *hand.as_quat()]), np.array([*place, *base.as_quat()]))
    np.testing.assert_allclose(found[:5], [0.1, 0.2, *(place + base.apply(reach))], atol=1e-6)
    assert abs(found[5:] @ (base * hand).as_quat()) == pytest.approx(1, abs=1e-6)


def refused(given: str, folder: Path, **environment: str) -> str:
    """What the command says of a policy that cannot be served."""
    command = [
        sys.executable,
        "-m",
        "world2act_core.cli",
        "serve",
        "--policy",
        given,
        "--protocol",
        "gr00t",
        "--port",
        "0",
    ]
    everything = {**os.environ, **PACKAGE, **environment}
    done = subprocess.run(command, cwd=folder, env=everything, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("gpu", "package cannot act: AssertionError: Torch not compiled with CUDA enabled"),
        ("nan", "action actions is not finite"),
        ("short", r"answered actions of shape (15, 7), not 16 steps"),
    ],
)
def test_a_package_that_fails_is_found_out_before_anything_moves(checkpoint: Path, fault: str, says: str) -> None:
    assert says in refused(f"cosmos-policy:{checkpoint}", checkpoint.parent, STAND_IN_FAULT=fault)


def test_a_folder_that_the_package_takes_for_another_robot_is_one_sentence(checkpoint: Path) -> None:
    renamed = checkpoint.rename(checkpoint.parent / "not_aloha")
    assert "call the folder something else" in refused("cosmos-policy:not_aloha", renamed.parent)


def test_a_checkpoint_of_another_training_cannot_be_loaded(checkpoint: Path) -> None:
    assert "cannot load" in refused(f"cosmos-policy:{checkpoint}?config=mine", checkpoint.parent)


def test_two_files_of_statistics_are_one_too_many(checkpoint: Path) -> None:
    (checkpoint / "other_dataset_statistics.json").write_text("{}")
    said = refused(f"cosmos-policy:{checkpoint}", checkpoint.parent)
    assert "has 2 *_dataset_statistics.json: name one, ?stats=FILE" in said


def test_embeddings_that_would_run_code_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mean.pkl"
    file.write_bytes(b"cbuiltins\nexec\n(S'open(%r, \"w\")'\ntR." % str(tmp_path / "ran").encode())
    with pytest.raises(RunError, match=r"it asks for builtins\.exec, which no tensor needs"):
        read_embeddings(file)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("content", "says"), [(b"", "no text embeddings"), (pickle.dumps([1]), "which are a map")])
def test_a_file_that_holds_no_embeddings_is_one_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(RunError, match=says):
        read_embeddings(tmp_path / "x.pkl")


@pytest.mark.skipif(importlib.util.find_spec("cosmos_policy") is not None, reason="the package is installed here")
def test_without_the_package_one_sentence_says_how_to_get_it(checkpoint: Path) -> None:
    with pytest.raises(MissingExtraError, match="needs an environment of its own .github.com/NVlabs/cosmos-policy"):
        open_policy(f"cosmos-policy:{checkpoint}", PANDA)


def test_what_is_no_checkpoint_is_refused(checkpoint: Path) -> None:
    with pytest.raises(RunError, match="fetch the checkpoint first, hf download"):
        open_policy("cosmos-policy:nvidia/Cosmos-Policy-LIBERO-Predict2-2B", PANDA)
    with pytest.raises(RunError, match="expected cosmos-policy:PATH, perhaps with"):
        open_policy(f"cosmos-policy:{checkpoint}?colour=red", PANDA)
    with pytest.raises(RunError, match="steps='none' must be a whole number"):
        open_policy(f"cosmos-policy:{checkpoint}?steps=none", PANDA)
    with pytest.raises(ContractError, match="not for ur5e"):
        open_policy(f"cosmos-policy:{checkpoint}", load_embodiment("ur5e"))

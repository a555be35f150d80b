"""Small HDF5 files as LIBERO and RoboCasa write them, with random numbers in true shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from world2act_core.types import Array

LIBERO_TASK = "put the bowl on the plate"
ROBOCASA_TASK = "Close the drawer."
SIZE = 8  # pixels


@dataclass
class Example:
    """A demonstration to be written, or spoilt first: datasets and attributes of ``demo_N``."""

    datasets: dict[str, Array]
    attributes: dict[str, Any] = field(default_factory=dict)

    def without(self, *keys: str) -> Example:
        return Example({key: value for key, value in self.datasets.items() if key not in keys}, self.attributes)

    def replaced(self, key: str, value: Array) -> Example:
        return Example({**self.datasets, key: value}, self.attributes)

    def spoilt(self, key: str, row: int, value: float) -> Example:
        """With one number changed."""
        rows = self.datasets[key].copy()
        rows[row, -1] = value
        return self.replaced(key, rows)


def libero_example(rows: int = 6, seed: int = 0, after_action: bool = True, size: int = SIZE) -> Example:
    """As LIBERO's create_dataset.py writes it; without ``after_action`` as OpenVLA's regenerate_libero_dataset.py."""
    rng = np.random.default_rng(seed)
    arm = np.cumsum(rng.normal(0, 0.02, (rows + 1, 7)), axis=0)  # before each action, and after the last one
    states = rng.normal(size=(rows, 40))
    states[:, 1:8] = arm[:-1]
    rewards = np.zeros(rows, np.uint8)
    rewards[-1] = 1
    position, turn = rng.normal(size=(rows, 3)), rng.uniform(-1, 1, (rows, 3))
    return Example(
        {
            "actions": rng.uniform(-1, 1, (rows, 7)),
            "states": states,
            "robot_states": rng.normal(size=(rows, 9)),
            "rewards": rewards,
            "dones": rewards,
            "obs/joint_states": arm[1:] if after_action else arm[:-1],
            "obs/gripper_states": rng.uniform(-0.04, 0.04, (rows, 2)),
            "obs/ee_pos": position,
            "obs/ee_ori": turn,
            "obs/ee_states": np.hstack([position, turn]),
            "obs/agentview_rgb": rng.integers(0, 256, (rows, size, size, 3), np.uint8),
            "obs/eye_in_hand_rgb": rng.integers(0, 256, (rows, size, size, 3), np.uint8),
        },
        {"num_samples": rows, "model_file": "<mujoco/>", "init_state": states[0]},
    )


def robocasa_example(rows: int = 6, seed: int = 0, size: int = SIZE) -> Example:
    """As RoboCasa's dataset_states_to_obs.py writes it."""
    rng = np.random.default_rng(seed)
    quaternions = rng.normal(size=(3, rows, 4))
    base, hand, seen = quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)
    rewards = np.zeros(rows)
    rewards[-1] = 1
    pictures = {
        f"obs/robot0_{camera}_image": rng.integers(0, 256, (rows, size, size, 3), np.uint8)
        for camera in ("agentview_left", "agentview_right", "eye_in_hand")
    }
    return Example(
        {
            "actions": rng.uniform(-1, 1, (rows, 12)),
            "states": rng.normal(size=(rows, 166)),
            "rewards": rewards,
            "dones": rewards.astype(np.int64),
            "obs/robot0_joint_pos": rng.normal(size=(rows, 7)),
            "obs/robot0_joint_vel": rng.normal(size=(rows, 7)),
            "obs/robot0_gripper_qpos": rng.uniform(-0.04, 0.04, (rows, 2)),
            "obs/robot0_base_pos": rng.normal(size=(rows, 3)),
            "obs/robot0_base_quat": base,
            "obs/robot0_eef_pos": rng.normal(size=(rows, 3)),
            "obs/robot0_eef_quat": hand,
            "obs/robot0_base_to_eef_pos": rng.normal(size=(rows, 3)),
            "obs/robot0_base_to_eef_quat": seen,
            **pictures,
        },
        {"num_samples": rows, "model_file": "<mujoco/>", "ep_meta": json.dumps({"lang": ROBOCASA_TASK})},
    )


def libero_attributes(task: Any = LIBERO_TASK, rate: float = 20) -> dict[str, Any]:
    """Attributes of the group ``data`` of a LIBERO file."""
    return {
        "problem_info": json.dumps({"problem_name": "x", "language_instruction": task}),
        "env_args": json.dumps({"type": 1, "env_name": "Libero", "env_kwargs": {"control_freq": rate}}),
        "macros_image_convention": "opengl",
        "bddl_file_name": "bddl_files/libero_goal/put_the_bowl_on_the_plate.bddl",
    }


def robocasa_attributes(rate: float = 20) -> dict[str, Any]:
    """Attributes of the group ``data`` of a RoboCasa file."""
    kwargs = {"control_freq": rate, "robots": "PandaOmron"}
    return {"total": 0, "env_args": json.dumps({"env_name": "CloseDrawer", "type": 1, "env_kwargs": kwargs})}


def write_hdf5(path: Path, examples: Mapping[str, Example], attributes: Mapping[str, Any], **storage: Any) -> Path:
    """A file of these demonstrations; ``storage`` as for ``h5py``'s ``create_dataset``, e.g. ``compression``."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs.update(attributes)
        for name, example in examples.items():
            add(data, name, example, **storage)
    return path


def add(data: h5py.Group, name: str, example: Example, **storage: Any) -> None:
    group = data.create_group(name)
    group.attrs.update(example.attributes)
    for key, values in example.datasets.items():
        group.create_dataset(key, data=values, **storage)


def libero_file(path: Path, *examples: Example, **storage: Any) -> Path:
    return write_hdf5(
        path, {f"demo_{n}": example for n, example in enumerate(examples)}, libero_attributes(), **storage
    )


def robocasa_file(path: Path, *examples: Example) -> Path:
    named = {f"demo_{n}": example for n, example in enumerate(examples)}
    return write_hdf5(path, named, robocasa_attributes(), compression="gzip")

"""Which dataset of a robomimic-like HDF5 file is which stream of an embodiment. A further layout is a further `Layout`.

What the entries say was read in the programs that write such files; their paths stand beside it. What was also measured
in LIBERO's simulator: that its observations are those *after* the action of their row, where the arm lies in
``states``, and that its images are upside down (tests/episodes/test_robomimic.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.errors import ContractError
from world2act_core.rotations import quaternion_from_axis_angle
from world2act_core.types import Array

Attributes = Mapping[str, Any]


def reordered(actions: Array, order: Sequence[str], wanted: Sequence[str]) -> Array:
    """Actions ``(..., A)`` whose dimensions are named ``order``, in the order ``wanted``."""
    return np.take(actions, [order.index(name) for name in wanted], axis=-1)


@dataclass(frozen=True)
class Field:
    """A dataset ``(N, width)`` under ``obs`` that holds a state stream, perhaps in other numbers."""

    key: str
    width: int
    convert: Callable[[Array], Array] | None = None


@dataclass(frozen=True)
class Layout:
    """One way to fill ``data/demo_N``.

    Attributes:
        name: for messages.
        contract: shipped embodiment whose streams, frames and action scales these files have.
        signature: dataset under ``obs`` by which the layout is recognised.
        state: stream of the contract → dataset under ``obs``.
        cameras: camera of the contract → dataset ``(N, H, W, 3)`` under ``obs``.
        actions: names of the columns of ``actions``.
        upside_down: images have their last row first, unless the file says otherwise.
        after_action: row ``i`` of ``obs`` was observed after ``actions[i]``, not before it, unless the file shows
            otherwise (see ``arm_in_states``).
        arm_in_states: columns of ``states``, MuJoCo's state before each action, that hold the arm's joints; None if
            they are not always the same.
        title: ``(file, attributes of data)`` → what distinguishes the file's episodes from those of other files.
        instruction: ``(file, attributes of data, attributes of the demonstration)`` → the task in words, "" if nothing
            says it.
        source: `types.Episode.source` of what lies in such files.
    """

    name: str
    contract: str
    signature: str
    state: Mapping[str, Field]
    cameras: Mapping[str, str]
    actions: tuple[str, ...]
    upside_down: bool
    after_action: bool
    arm_in_states: slice | None
    title: Callable[[Path, Attributes], str]
    instruction: Callable[[Path, Attributes, Attributes], str]
    source: str


def json_attribute(attributes: Attributes, name: str) -> dict[str, Any]:
    """An attribute that holds a JSON object; empty if it is not there.

    Raises:
        ContractError: it is there but cannot be read.
    """
    text = attributes.get(name, "{}")
    try:
        value = json.loads(text)
    except (TypeError, ValueError) as error:
        raise ContractError(f"its attribute {name} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ContractError(f"its attribute {name} is JSON, but not an object")
    return value


def _libero_title(file: Path, data: Attributes) -> str:
    return file.stem  # the task, and LIBERO's tasks all have their own


def _libero_instruction(file: Path, data: Attributes, demonstration: Attributes) -> str:
    """Said by ``problem_info``; files that were rendered anew have lost it and LIBERO's own rule for names is left."""
    stem = file.stem
    said = json_attribute(data, "problem_info").get("language_instruction", "")
    words = said if isinstance(said, str) else " ".join(map(str, said))  # LIBERO's parser has given both
    if not words and stem.endswith("_demo"):
        scene = re.match(r"[A-Z][A-Z_]*_SCENE\d+_", stem)
        words = stem[scene.end() if scene else 0 : -len("_demo")].replace("_", " ")
    return words.strip().strip('"')


def _robocasa_title(file: Path, data: Attributes) -> str:
    """Task, date of the recording and stem: RoboCasa calls the files of all tasks alike."""
    task = str(json_attribute(data, "env_args").get("env_name", ""))
    return "/".join(part for part in (task, file.absolute().parent.name, file.stem) if part)


def _robocasa_instruction(file: Path, data: Attributes, demonstration: Attributes) -> str:
    return str(json_attribute(demonstration, "ep_meta").get("lang", "")).strip()


_ARM_AND_GRIPPER = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")

ROBOCASA_HDF5_ACTIONS = (*_ARM_AND_GRIPPER, "base_forward", "base_side", "base_yaw", "torso", "base_mode")
"""Order in HDF5 files and of ``env.step``: ``ACTION_KEY_ORDERING_HDF5`` in robocasa/utils/lerobot_utils.py."""

ROBOCASA_LEROBOT_ACTIONS = ("base_forward", "base_side", "base_yaw", "torso", "base_mode", *_ARM_AND_GRIPPER)
"""Order in RoboCasa's LeRobot data sets: models/assets/groot_dataset_assets/PandaOmron_modality.json."""

# Written by LIBERO's scripts/create_dataset.py. It plays the actions back and stores with each what the simulator
# returned for it, the observation after it (LIBERO issue 54), as OpenGL renders it, upside down (LIBERO issue 11).
# ee_pos is the grip site and ee_ori the body right_hand, as in our simulator (robosuite 1.4, robots/single_arm.py).
# OpenVLA's experiments/robot/libero/regenerate_libero_dataset.py writes the same datasets, but stores what was
# observed before the action, and no attributes.
LIBERO = Layout(
    name="LIBERO",
    contract="libero_panda",
    signature="ee_ori",
    state={
        "joint_positions": Field("joint_states", 7),
        "gripper_positions": Field("gripper_states", 2),
        "eef_position": Field("ee_pos", 3),
        "eef_orientation": Field("ee_ori", 3, quaternion_from_axis_angle),
    },
    cameras={"agentview": "agentview_rgb", "wrist": "eye_in_hand_rgb"},
    actions=_ARM_AND_GRIPPER,
    upside_down=True,
    after_action=True,
    arm_in_states=slice(1, 8),  # time, then the positions, of which the robot's come first
    title=_libero_title,
    instruction=_libero_instruction,
    source="teleoperator",
)

# Written by robocasa/scripts/dataset_scripts/dataset_states_to_obs.py, which sets the simulator to each state and
# stores what is observed before the action; its environment wrapper (utils/robomimic/robomimic_env_wrapper.py) turns
# images upright. Whether a person or MimicGen acted, the files do not say.
ROBOCASA = Layout(
    name="RoboCasa",
    contract="panda_omron",
    signature="robot0_base_pos",
    state={
        "joint_positions": Field("robot0_joint_pos", 7),
        "gripper_positions": Field("robot0_gripper_qpos", 2),
        "base_position": Field("robot0_base_pos", 3),
        "base_orientation": Field("robot0_base_quat", 4),
        "eef_position": Field("robot0_base_to_eef_pos", 3),
        "eef_orientation": Field("robot0_base_to_eef_quat", 4),
    },
    cameras={
        "agentview_left": "robot0_agentview_left_image",
        "agentview_right": "robot0_agentview_right_image",
        "wrist": "robot0_eye_in_hand_image",
    },
    actions=ROBOCASA_HDF5_ACTIONS,
    upside_down=False,
    after_action=False,
    arm_in_states=None,
    title=_robocasa_title,
    instruction=_robocasa_instruction,
    source="demonstrator",
)

LAYOUTS = (LIBERO, ROBOCASA)

"""What only scripts may know of a kitchen: where the drawer is, how far it is open, where the robot is to drive.

Plain arrays under plain names, so that they travel from RoboCasa's process to the script's like an observation does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from world2act_core.types import Array

Truth = Mapping[str, Array]
"""Name → float64 array, frame world. Of tasks with a drawer:

- ``front_position`` ``(3,)`` m, middle of the drawer's front; ``front_outward`` ``(3,)``, level unit vector in which it
  opens; ``front_size`` ``(3,)`` m, width, thickness, height.
- ``opened`` ``(1,)``: 0 shut, 1 wholly open, as RoboCasa's success check has it.

Of a drive:

- ``target_position`` ``(3,)`` m and ``target_yaw`` ``(1,)`` rad: where RoboCasa wants the base.
"""


def truth_of(env: Any) -> Truth:
    """The truth about a RoboCasa environment as its simulation stands."""
    found: dict[str, Array] = {}
    if hasattr(env, "drawer"):
        found.update(_drawer(env))
    if hasattr(env, "target_fixture"):
        found.update(target_position=env.target_pos, target_yaw=np.array([env.target_ori[2]]))
    return {name: np.array(value, np.float64) for name, value in found.items()}


def _drawer(env: Any) -> dict[str, Array]:
    sim, drawer = env.sim, env.drawer
    panel = sim.model.geom_name2id(f"{drawer.name}_door_reg_main")
    outward = -sim.data.get_body_xmat(drawer.root_body)[:, 1]  # drawers slide along their y
    return {
        "front_position": sim.data.geom_xpos[panel],
        "front_outward": np.array([outward[0], outward[1], 0.0]) / np.linalg.norm(outward[:2]),
        "front_size": 2 * sim.model.geom_size[panel],
        "opened": np.array([max(drawer.get_door_state(env).values())]),
    }

"""What only scripts and yardsticks may read of a simulated scene: true poses, joints and contacts. No policy may.

Names are MuJoCo's: bodies such as ``akita_black_bowl_1_main``, joints such as ``wooden_cabinet_1_top_level``.
"""

from __future__ import annotations

import numpy as np

from world2act_core.errors import World2ActError
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.types import Array

HAND = "hand"
LEFT, RIGHT = "left finger", "right finger"
_SLIDE, _HINGE = 2, 3  # MuJoCo's mjtJoint
_FINGERS = {"gripper0_leftfinger": LEFT, "gripper0_rightfinger": RIGHT}
"""Body that carries a finger's geoms, also the tip's → the finger."""


class Scene:
    """The truth about a LIBERO scene.

    Args:
        simulator: whose scene; it must stay open.
    """

    def __init__(self, simulator: LiberoSimulator) -> None:
        self.simulator = simulator
        self._model, self._data = simulator.mujoco
        self._part_of_robot = self._robot_geoms()

    def position(self, body: str) -> Array:
        """Of a body, ``(3,)`` float64 metres, frame world. A movable object may be given without ``_main``."""
        return np.array(self._data.body(self._body(body)).xpos)

    def rotation(self, body: str) -> Array:
        """Of a body, ``(3, 3)`` float64, columns are its axes in frame world."""
        return np.array(self._data.body(self._body(body)).xmat).reshape(3, 3)

    def site(self, site: str) -> Array:
        """Position of a site, ``(3,)`` float64 metres, frame world."""
        return np.array(self._data.site(site).xpos)

    def joint(self, joint: str) -> float:
        """Of a hinge in radians or of a slide in metres."""
        return float(self._data.joint(joint).qpos[0])

    def jointed_parts(self) -> dict[str, tuple[str, bool]]:
        """Body of every drawer, door and knob → its joint, and whether that is a hinge (radians; else a slide)."""
        parts = {}
        for number in range(self._model.njnt):
            joint = self._model.joint(number)
            hinge = int(joint.type[0]) == _HINGE
            body = int(joint.bodyid[0])
            if (hinge or int(joint.type[0]) == _SLIDE) and not self._is_robot(body):
                parts[self._model.body(body).name] = (joint.name, hinge)
        return parts

    def touched(self) -> dict[str, set[str]]:
        """Body that the robot touches now → parts that touch it: ``left finger``, ``right finger``, ``hand``.

        A body is named by the root of its tree below the world (``akita_black_bowl_1_main``,
        ``wooden_cabinet_1_main``), and also by itself where it is another one (``wooden_cabinet_1_cabinet_top``). A
        touch is what the solver counts as one: the microwave's door pushes back from a distance of 1 mm, its margin.
        """
        found: dict[str, set[str]] = {}
        for contact in self._data.contact[: self._data.ncon]:
            for ours, theirs in (contact.geom, contact.geom[::-1]):
                part = self._part_of_robot.get(int(ours))
                if part is None or int(theirs) in self._part_of_robot or contact.efc_address < 0:
                    continue
                body = int(self._model.geom_bodyid[theirs])
                for number in {body, int(self._model.body_rootid[body])}:
                    found.setdefault(self._model.body(number).name, set()).add(part)
        return found

    def _body(self, name: str) -> str:
        return f"{name}_main" if name in self.simulator.objects else name

    def _robot_geoms(self) -> dict[int, str]:
        """Geom → which part of the robot it is; geoms of others are missing."""
        parts = {}
        for geom in range(self._model.ngeom):
            body = int(self._model.geom_bodyid[geom])
            if self._is_robot(body):
                lineage = self._lineage(body)
                side = [part for finger, part in _FINGERS.items() if finger in lineage]
                parts[geom] = side[0] if side else HAND
        if not {LEFT, RIGHT} <= set(parts.values()):
            raise World2ActError(f"this scene has no gripper with the bodies {' and '.join(_FINGERS)}")
        return parts

    def _is_robot(self, body: int) -> bool:
        return any(name.startswith(("robot0_", "gripper0_")) for name in self._lineage(body))

    def _lineage(self, body: int) -> list[str]:
        """Names of a body and of those that carry it, up to the world."""
        names = []
        while body:
            names.append(self._model.body(body).name)
            body = int(self._model.body_parentid[body])
        return names

"""Forward kinematics from a URDF or an MJCF, by MuJoCo, which reads both."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.calibration.board import CalibrationError
from world2act_core.errors import MissingExtraError
from world2act_core.types import Array

# Fixed links are kept (a flange is one), shapes are left out (their files lie in ROS packages), and links without a
# mass get one: only lengths and axes matter here.
_COMPILER = {"fusestatic": "false", "discardvisual": "true", "boundmass": "1e-3", "boundinertia": "1e-6"}
_SHAPES = ("geom", "asset", "sensor", "actuator", "tendon", "equality", "contact", "skin", "deformable", "keyframe")


class ForwardKinematics:
    """Where a link is when the joints are somewhere.

    Args:
        file: URDF (with xacro already expanded) or MJCF.
        tip: link, body or site whose pose is wanted.
        base: link, body or site in whose frame; "" the model's root.

    Raises:
        CalibrationError: no such file, not a model, or no such link; names those there are.
        MissingExtraError: mujoco is not installed.
    """

    def __init__(self, file: str | Path, tip: str, base: str = "") -> None:
        try:
            import mujoco
        except ImportError as error:
            raise MissingExtraError("kinematics need the extra: pip install 'world2act[calibration]'") from error
        self._mujoco, self.file = mujoco, str(file)
        self._model = _load(mujoco, Path(file))
        self._data = mujoco.MjData(self._model)
        self._tip = self._frame(tip)
        self._base = self._frame(base) if base else None
        hinge, slide = int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE)
        self._address = {
            self._model.joint(k).name: int(self._model.jnt_qposadr[k])
            for k in range(self._model.njnt)
            if self._model.jnt_type[k] in (hinge, slide)
        }

    @property
    def joints(self) -> list[str]:
        """Names of the joints that have one number."""
        return list(self._address)

    def _frame(self, name: str) -> tuple[str, int]:
        mujoco, model = self._mujoco, self._model
        kinds = {"site": mujoco.mjtObj.mjOBJ_SITE, "body": mujoco.mjtObj.mjOBJ_BODY}
        for kind, number in kinds.items():
            found = mujoco.mj_name2id(model, number, name)
            if found >= 0:
                return kind, found
        names = [model.body(k).name for k in range(1, model.nbody)] + [model.site(k).name for k in range(model.nsite)]
        raise CalibrationError(f"{self.file} has no link {name!r}; it has {', '.join(filter(None, names))}")

    def pose(self, joints: Mapping[str, float]) -> Array:
        """Pose ``(4, 4)`` of the tip in the base's frame; joints that are not given are 0.

        Args:
            joints: name → rad or m. A name may be longer than the model's: ``fr3_joint1`` is ``joint1``.

        Raises:
            CalibrationError: none of the names is a joint of the model.
        """
        self._data.qpos[:] = self._model.qpos0
        known = 0
        for name, value in joints.items():
            address = self._address.get(name, self._address.get(self._ending(name)))
            if address is not None:
                self._data.qpos[address], known = value, known + 1
        if not known:
            raise CalibrationError(
                f"{self.file} knows none of the joints {', '.join(joints)}; it has {', '.join(self.joints)}"
            )
        self._mujoco.mj_kinematics(self._model, self._data)
        tip = self._world(self._tip)
        if self._base is None:
            return tip
        return np.asarray(np.linalg.inv(self._world(self._base)) @ tip)

    def _ending(self, name: str) -> str:
        found = [joint for joint in self._address if joint and name.endswith(joint)]
        return found[0] if len(found) == 1 else ""

    def _world(self, frame: tuple[str, int]) -> Array:
        kind, number = frame
        data = self._data
        rotation, place = (data.site_xmat, data.site_xpos) if kind == "site" else (data.xmat, data.xpos)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation[number].reshape(3, 3), place[number]
        return pose


def _load(mujoco: Any, file: Path) -> Any:
    if not file.is_file():
        raise CalibrationError(f"there is no robot model {file}: give a URDF or an MJCF")
    try:
        root = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise CalibrationError(f"{file} is not XML: {error}") from error
    if root.tag not in ("robot", "mujoco"):
        raise CalibrationError(f"{file} is neither a URDF nor an MJCF: its first element is <{root.tag}>")
    text = ElementTree.tostring(root, encoding="unicode")
    if "http://www.ros.org/wiki/xacro" in text or "{http://wiki.ros.org/xacro}" in text or "xacro:" in text:
        raise CalibrationError(f"{file} is a xacro: expand it first, xacro {file.name} > robot.urdf")
    try:
        if root.tag == "mujoco":
            return _load_mjcf(mujoco, root, file)
        return mujoco.MjModel.from_xml_string(_bare_urdf(root))
    except ValueError as error:  # what MuJoCo raises
        raise CalibrationError(f"{file}: MuJoCo cannot read it: {' '.join(str(error).split())}") from error


def _load_mjcf(mujoco: Any, root: Any, file: Path) -> Any:
    """Without its shapes, whose meshes take seconds to load; with them where that leaves no model."""
    if root.find(".//include") is None:
        for parent in list(root.iter()):
            for child in list(parent):
                if child.tag in _SHAPES:
                    parent.remove(child)
        ElementTree.SubElement(root, "compiler", boundmass="1e-3", boundinertia="1e-6")
        try:
            return mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))
        except ValueError:
            pass  # it needs what was left out; if it is wrong by itself, that is said now
    return mujoco.MjModel.from_xml_path(str(file))


def _bare_urdf(root: Any) -> str:
    """The links and joints of a URDF, and what MuJoCo needs to take them as they are."""
    bare = ElementTree.Element("robot", name=root.get("name", "robot"))
    settings = ElementTree.SubElement(bare, "mujoco")
    ElementTree.SubElement(settings, "compiler", _COMPILER)
    for child in root:
        if child.tag == "link":
            ElementTree.SubElement(bare, "link", name=child.get("name", ""))
        elif child.tag == "joint":
            bare.append(child)
    return ElementTree.tostring(bare, encoding="unicode")

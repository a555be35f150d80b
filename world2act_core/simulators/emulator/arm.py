"""The mechanics behind the emulated controllers: robosuite's Panda or UR5e in MuJoCo, driven to a setpoint."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.simulators.rendering import FAST, OffscreenRenderer, choose_backend
from world2act_core.types import Array

PHYSICS_S = 0.002
STIFFNESS, DAMPING = 1600.0, 80.0  # 1/s^2, 1/s: critically damped, about 25 ms behind a moving setpoint
GRIPPER_S = 0.5  # from open to closed
SCENE_CAMERA = "scene"


@dataclass(frozen=True)
class _Model:
    """Files of robosuite, and where the arm begins (rad)."""

    arm: str
    gripper: str
    home: tuple[float, ...]
    opposed: tuple[float, ...]  # the gripper's actuators as multiples of its commanded position
    linkage: tuple[float, ...]  # the gripper's joints likewise, its springs at rest


_PANDA_READY = tuple(np.pi / 4 * np.array([0, -1, 0, -3, 0, 2, 1]))  # the maker's ready pose
_UR_READY = tuple(np.pi / 2 * np.array([0, -1, 1, -1, -1, 0]))
_MODELS = {  # by number of joints
    7: _Model("panda", "panda_gripper", _PANDA_READY, opposed=(1.0, -1.0), linkage=(1.0, -1.0)),
    6: _Model("ur5e", "robotiq_gripper_85", _UR_READY, opposed=(1.0, 1.0), linkage=2 * (1.0, 2 / 3, 1.0)),
}


class EmulatedArm:
    """An arm on a floor, held by its drives. Touching nothing: contacts are off.

    Args:
        embodiment: names the joints; their number says which model it is.
        visible: with everything that a camera would see.

    Raises:
        MissingExtraError: robosuite or mujoco is not installed.
    """

    def __init__(self, embodiment: Embodiment, visible: bool = False) -> None:
        try:
            import mujoco
        except ImportError as error:
            raise MissingExtraError("the emulated arm needs the extra: pip install 'world2act[libero]'") from error
        size = embodiment.state["joint_positions"].size
        if size not in _MODELS:
            raise World2ActError(f"there is no model of a {embodiment.name} with {size} joints, only with 6 or 7")
        self._mujoco, self._embodiment, self._recipe = mujoco, embodiment, _MODELS[size]
        self.model = mujoco.MjModel.from_xml_string(_scene(self._recipe, visible))
        self.model.opt.timestep = PHYSICS_S
        self.model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT)
        self.data = mujoco.MjData(self.model)
        self._other = mujoco.MjData(self.model)  # for the Jacobian elsewhere than where the arm is
        self._arm = np.array([self._find(joint) for joint in embodiment.state["joint_positions"].joints])
        self._site = self.model.site("grip_site").id
        self._drives = self.model.actuator_ctrlrange[self._arm].T
        self._fingers = slice(size, None)  # joints and drives of the gripper come after the arm's
        self._mass = np.zeros((self.model.nv, self.model.nv))
        gripper = embodiment.output.gripper
        ends = (gripper.open, gripper.close) if gripper else (0.0, 0.0)
        self._gripper_range = min(ends), max(ends)
        self._gripper_step = abs(ends[1] - ends[0]) / GRIPPER_S * PHYSICS_S
        self.set_gripper(ends[0])
        self.place(np.array(self._recipe.home), ends[0])

    def _find(self, joint: str) -> int:
        """The model's joint that the contract's name ends with: ``fr3_joint1`` is ``joint1``."""
        for index in range(self._embodiment.state["joint_positions"].size):
            if joint.endswith(self.model.joint(index).name):
                return index
        raise World2ActError(f"the model of a {self._recipe.arm} has no joint {joint!r} of {self._embodiment.name}")

    @property
    def positions(self) -> Array:
        """Joints ``(J,)`` rad, in the contract's order."""
        found: Array = self.data.qpos[self._arm].copy()
        return found

    @property
    def velocities(self) -> Array:
        """Joints ``(J,)`` rad/s."""
        found: Array = self.data.qvel[self._arm].copy()
        return found

    def place(self, joints: Array, gripper: float) -> None:
        """Be there at once: ``joints`` ``(J,)`` rad, and the gripper at its commanded position."""
        self.data.qpos[self._arm] = joints
        self._show_gripper(gripper)
        self._mujoco.mj_forward(self.model, self.data)

    def set_gripper(self, position: float) -> None:
        """Command the gripper's joint, m or rad; its own drive goes there, as far as its fingers can."""
        low, high = self._gripper_range
        self._gripper_told = min(max(position, low), high)

    def _show_gripper(self, position: float) -> None:
        """The fingers are where their drive is: there is nothing between them, and a linkage that is driven by forces
        in steps of 2 ms trembles for ever."""
        self._gripper = position
        self.data.qpos[self._fingers] = np.asarray(self._recipe.linkage) * position
        self.data.qvel[self._fingers] = 0.0
        self.data.ctrl[self._fingers] = np.asarray(self._recipe.opposed) * position

    def step(self, positions: Array, velocities: Array) -> None:
        """One physics step of ``PHYSICS_S`` with the drives at a setpoint, ``(J,)`` rad and rad/s."""
        data, arm = self.data, self._arm
        self._mujoco.mj_step1(self.model, data)
        self._mujoco.mj_fullM(self.model, data, self._mass)
        acceleration = STIFFNESS * (positions - data.qpos[arm]) + DAMPING * (velocities - data.qvel[arm])
        torque = self._mass[np.ix_(arm, arm)] @ acceleration + data.qfrc_bias[arm] - data.qfrc_passive[arm]
        data.ctrl[arm] = np.clip(torque, *self._drives)
        self._mujoco.mj_step2(self.model, data)
        left = self._gripper_told - self._gripper
        self._show_gripper(self._gripper + min(max(left, -self._gripper_step), self._gripper_step))

    def jacobian(self, positions: Array) -> Array:
        """Of the end effector at ``positions``, ``(6, J)``, linear above angular, in the arm's base frame."""
        self._other.qpos[self._arm] = positions
        self._mujoco.mj_kinematics(self.model, self._other)
        self._mujoco.mj_comPos(self.model, self._other)
        linear, angular = np.zeros((2, 3, self.model.nv))
        self._mujoco.mj_jacSite(self.model, self._other, linear, angular, self._site)
        found: Array = np.vstack([linear, angular])[:, self._arm]
        return found

    def state(self) -> dict[str, Array]:
        """Every stream of the contract that this arm has, ``(D,)`` float32."""
        quaternion = np.zeros(4)
        self._mujoco.mju_mat2Quat(quaternion, self.data.site_xmat[self._site])
        found = {
            "joint_positions": self.positions,
            "gripper_positions": self._gripper_positions(),
            "eef_position": self.data.site_xpos[self._site],
            "eef_orientation": quaternion[[1, 2, 3, 0]],
        }
        missing = set(self._embodiment.state) - set(found)
        if missing:
            raise World2ActError(f"the emulated arm has no state stream {min(missing)}, which the contract names")
        return {name: np.asarray(found[name], np.float32) for name in self._embodiment.state}

    def _gripper_positions(self) -> Array:
        """As the gripper's driver reports them: both fingers of a Franka Hand opening upwards, one Robotiq knuckle."""
        count = self._embodiment.state["gripper_positions"].size
        return np.abs(self.data.qpos[self._fingers][:count])


class EmulatedScene:
    """What cameras see of an emulated arm. Rendering takes long and holds Python: use it in a process of its own.

    The camera with ``wrist`` in its name sits on the hand, every other one looks at the scene from the front.
    """

    def __init__(self, embodiment: Embodiment) -> None:
        choose_backend()
        self._arm = EmulatedArm(embodiment, visible=True)
        self._renderer = OffscreenRenderer(self._arm.model, self._arm.data, FAST)
        self._embodiment = embodiment

    def frame(self, camera: str, joints: Array, gripper: float) -> Array:
        """An upright image, ``(H, W, 3)`` uint8 RGB, with the arm at ``joints`` ``(J,)`` rad and the gripper at its."""
        self._arm.place(joints, gripper)
        height, width = self._embodiment.cameras[camera].upright_size
        return self._renderer.render("eye_in_hand" if "wrist" in camera else SCENE_CAMERA, width, height)

    def close(self) -> None:
        self._renderer.close()


def _scene(recipe: _Model, visible: bool) -> str:
    """One MuJoCo model from robosuite's files of an arm and a gripper, with a floor, a light and a camera.

    Geometry is left out where nobody looks: bodies have their inertia in the files, and meshes take seconds to load.
    """
    package = find_spec("robosuite")
    if package is None or not package.submodule_search_locations:
        raise MissingExtraError("the emulated arm needs the extra: pip install 'world2act[libero]'")
    assets = Path(package.submodule_search_locations[0]) / "models" / "assets"
    root = _part(assets / "robots" / recipe.arm / "robot.xml", visible)
    gripper = _part(assets / "grippers" / f"{recipe.gripper}.xml", visible)
    hand = root.find(".//body[@name='right_hand']")
    assert hand is not None
    for child in gripper:
        if child.tag == "worldbody":
            hand.extend(child)
        elif (same := root.find(child.tag)) is not None:
            same.extend(child)
        else:
            root.append(child)
    ElementTree.SubElement(root, "compiler", angle="radian", autolimits="false")
    world = root.find("worldbody")
    assert world is not None
    ElementTree.SubElement(world, "light", pos="1 1 3", dir="-0.3 -0.3 -1", diffuse="0.8 0.8 0.8")
    ElementTree.SubElement(world, "geom", type="plane", size="2 2 0.1", group="1", rgba="0.55 0.6 0.55 1")
    view = {"pos": "1.5 0 0.9", "xyaxes": "0 1 0 -0.45 0 0.9", "name": SCENE_CAMERA}
    ElementTree.SubElement(world, "camera", view)
    return ElementTree.tostring(root, encoding="unicode")


def _part(file: Path, visible: bool) -> Any:
    root = ElementTree.parse(file).getroot()
    for section in root.findall("sensor"):
        root.remove(section)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == "geom" and not (visible and child.get("group") == "1"):
                parent.remove(child)
    for site in root.iter("site"):  # robosuite's marks, which no camera of a robot would see
        site.set("group", "4")
    _trim_assets(root, file.parent)
    return root


def _trim_assets(root: Any, folder: Path) -> None:
    """Only what the remaining geometry uses, each name once, files with their whole path."""
    used = {geom.get(kind) for geom in root.iter("geom") for kind in ("mesh", "material")}
    seen: set[tuple[str, str]] = set()
    for assets in root.findall("asset"):
        for asset in list(assets):
            key = (asset.tag, asset.get("name", ""))
            asset.attrib.pop("texture", None)
            if asset.tag not in ("mesh", "material") or key[1] not in used or key in seen:
                assets.remove(asset)
            elif asset.get("file"):
                asset.set("file", str(folder / asset.get("file")))
            seen.add(key)

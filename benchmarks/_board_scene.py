"""A flat picture in MuJoCo before a camera with a lens: what a calibration is tested on, because its truth is known.

MuJoCo renders a pinhole camera. The lens is applied afterwards: every pixel of the distorted image is looked up where
its ray meets the pinhole image, which is rendered twice as fine and averaged, and then gets the sensor's noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from world2act_core.simulators.rendering import FAST, choose_backend
from world2act_core.types import Array

FINENESS = 2  # rendered pixels a pixel, and samples a pixel along each side
OPTICAL = np.diag([1.0, -1.0, -1.0])  # MuJoCo's cameras look along -z with y up

_SCENE = """
<mujoco>
  <visual>
    <headlight ambient="0.6 0.6 0.6" diffuse="0.3 0.3 0.3" specular="0 0 0"/>
    <map znear="0.01" zfar="20"/>
  </visual>
  <asset>
    <texture name="board" type="2d" file="board.png"/>
    <material name="board" texture="board" texrepeat="1 1" specular="0" shininess="0"/>
  </asset>
  <worldbody>
    <body name="board" mocap="true">
      <geom type="plane" size="{x} {y} 0.01" material="board"/>
      <geom type="box" pos="0 0 -0.004" size="{x} {y} 0.002" rgba="0.3 0.3 0.32 1"/>
    </body>
    <geom type="plane" pos="0 0 -1" size="6 6 0.1" rgba="0.45 0.5 0.45 1"/>
    <camera name="eye" pos="0 0 1"/>
  </worldbody>
</mujoco>
"""


@dataclass(frozen=True)
class Lens:
    """A camera as OpenCV models it.

    Attributes:
        size: width and height, pixels.
        matrix: ``(3, 3)``.
        distortion: ``(5,)`` k1 k2 p1 p2 k3.
    """

    size: tuple[int, int]
    matrix: Array
    distortion: Array


class BoardScene:
    """One board and one camera.

    Args:
        picture: ``(H, W)`` uint8, row 0 at the top; what is printed on the board.
        size_m: width and height of the picture.
        lens: of the camera.
        noise: standard deviation of the sensor's noise, of 255.
        seed: of the noise.
    """

    def __init__(
        self, picture: Array, size_m: tuple[float, float], lens: Lens, noise: float = 2.0, seed: int = 0
    ) -> None:
        choose_backend()
        import cv2
        import mujoco

        self._cv2, self._mujoco, self.lens, self._noise = cv2, mujoco, lens, noise
        self._rng = np.random.default_rng(seed)
        self._size_m = size_m
        written = cv2.imencode(".png", picture)[1].tobytes()
        text = _SCENE.format(x=size_m[0] / 2, y=size_m[1] / 2)
        self._model = mujoco.MjModel.from_xml_string(text, {"board.png": written})
        self._data = mujoco.MjData(self._model)
        self._source, self._focal = self._pinhole()
        self._maps = self._lookup()
        visual = self._model.vis
        visual.global_.offwidth, visual.global_.offheight = self._source
        visual.quality.offsamples, visual.quality.shadowsize = FAST.multisamples, FAST.shadow_map
        self._model.cam_fovy[0] = 2 * np.degrees(np.arctan(self._source[1] / 2 / self._focal))
        self._renderer = mujoco.Renderer(self._model, height=self._source[1], width=self._source[0])

    def _pinhole(self) -> tuple[tuple[int, int], float]:
        """Size and focal length, pixels, of the pinhole image that holds every ray of the lens."""
        rays = np.abs(self._rays(_grid(self.lens.size, 1)))
        focal = FINENESS * float(self.lens.matrix[0, 0])
        width, height = (2 * int(np.ceil(focal * reach)) + 8 for reach in rays.max(axis=0))
        return (width, height), focal

    def _rays(self, pixels: Array) -> Array:
        cv2 = self._cv2
        until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 25, 1e-10)
        lens = self.lens
        found = cv2.undistortPointsIter(pixels.reshape(-1, 1, 2), lens.matrix, lens.distortion, None, None, until)
        return np.asarray(found, np.float64).reshape(-1, 2)

    def _lookup(self) -> tuple[Array, Array]:
        width, height = self.lens.size
        rays = self._rays(_grid(self.lens.size, FINENESS)).reshape(height * FINENESS, width * FINENESS, 2)
        places = rays * self._focal + np.array(self._source) / 2 - 0.5  # pixel centres at whole numbers
        return places[..., 0].astype(np.float32), places[..., 1].astype(np.float32)

    def image(self, board_in_camera: Array) -> Array:
        """What the camera sees, ``(H, W, 3)`` uint8 RGB.

        Args:
            board_in_camera: ``(4, 4)`` pose of the picture's frame (origin at its upper left corner, x to the right,
                y down) in the camera's optical frame, m.
        """
        width, height = self._size_m
        middle = board_in_camera[:3, 3] + board_in_camera[:3, :3] @ np.array([width / 2, height / 2, 0.0])
        turned = OPTICAL @ board_in_camera[:3, :3] @ OPTICAL  # the plane's normal looks out of the picture
        quaternion = np.zeros(4)
        self._mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(turned).ravel())
        self._data.mocap_pos[0] = OPTICAL @ middle + np.array([0.0, 0.0, 1.0])
        self._data.mocap_quat[0] = quaternion
        self._mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, camera="eye")
        for flag in ("SHADOW", "REFLECTION", "SKYBOX", "HAZE"):
            self._renderer.scene.flags[getattr(self._mujoco.mjtRndFlag, f"mjRND_{flag}")] = 0
        return self._through_lens(self._renderer.render())

    def _through_lens(self, ideal: Array) -> Array:
        cv2 = self._cv2
        fine = cv2.remap(ideal, *self._maps, cv2.INTER_LINEAR)
        image = cv2.resize(fine, self.lens.size, interpolation=cv2.INTER_AREA).astype(np.float64)
        image += self._rng.normal(0.0, self._noise, image.shape)
        return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)

    def close(self) -> None:
        self._renderer.close()


def _grid(size: tuple[int, int], fineness: int) -> Array:
    """Places ``(H * W, 2)`` of samples, pixels, row by row."""
    x = (np.arange(size[0] * fineness) + 0.5) / fineness - 0.5
    y = (np.arange(size[1] * fineness) + 0.5) / fineness - 0.5
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def looking_at(eye: Array, target: Array, roll_rad: float = 0.0) -> Array:
    """Pose ``(4, 4)`` of an optical frame at ``eye`` whose z axis meets ``target``, turned about it by ``roll_rad``."""
    z = np.asarray(target, np.float64) - eye
    z /= np.linalg.norm(z)
    x = np.cross(z, [0.0, 0.0, 1.0] if abs(z[2]) < 0.9 else [0.0, 1.0, 0.0])
    x /= np.linalg.norm(x)
    turn = np.array([[np.cos(roll_rad), -np.sin(roll_rad), 0], [np.sin(roll_rad), np.cos(roll_rad), 0], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3] = np.column_stack([x, np.cross(z, x), z]) @ turn
    pose[:3, 3] = eye
    return pose


def projected(lens: Lens, board_in_camera: Array, points: Array) -> Array:
    """Where points ``(N, 3)`` of the board truly lie in the image, ``(N, 2)`` pixels."""
    import cv2

    rotation: Any = cv2.Rodrigues(np.asarray(board_in_camera[:3, :3], np.float64))[0]
    found = cv2.projectPoints(points, rotation, board_in_camera[:3, 3], lens.matrix, lens.distortion)[0]
    return np.asarray(found, np.float64).reshape(-1, 2)

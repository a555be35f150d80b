"""A calibrated camera, and the one place that knows OpenCV's lens models by ROS's names."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from world2act_core.types import Array

MODELS = {  # ROS's name → coefficients in OpenCV's order, and OpenCV's flags
    "plumb_bob": (("k1", "k2", "p1", "p2", "k3"), 0),
    "rational_polynomial": (("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"), cv2.CALIB_RATIONAL_MODEL),
}
LENS = ("fx", "fy", "cx", "cy")


@dataclass(frozen=True)
class CameraModel:
    """Where a ray meets the image.

    Attributes:
        size: width and height, pixels.
        matrix: ``(3, 3)``; the centre of the upper left pixel is (0, 0).
        model: ``plumb_bob`` or ``rational_polynomial``.
        distortion: ``(5,)`` or ``(8,)``, in the order of MODELS.
    """

    size: tuple[int, int]
    matrix: Array
    model: str
    distortion: Array

    @property
    def parameters(self) -> dict[str, float]:
        """Every number of it by name."""
        k = self.matrix
        values = (k[0, 0], k[1, 1], k[0, 2], k[1, 2], *self.distortion)
        return dict(zip((*LENS, *MODELS[self.model][0]), map(float, values), strict=True))

    def project(self, pose: Array, points: Array) -> Array:
        """Pixels ``(N, 2)`` of points ``(N, 3)`` m given in a frame whose ``pose`` ``(4, 4)`` is in the camera's."""
        return self.project_seen(points @ pose[:3, :3].T + pose[:3, 3])

    def project_seen(self, points: Array) -> Array:
        """Pixels ``(N, 2)`` of points ``(N, 3)`` m in the camera's frame."""
        there = np.zeros(3)
        return np.asarray(cv2.projectPoints(points, there, there, self.matrix, self.distortion)[0]).reshape(-1, 2)

    def rays(self, pixels: Array) -> Array:
        """Directions ``(N, 2)`` (x/z, y/z) that are seen at pixels ``(N, 2)``."""
        until = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
        given = np.asarray(pixels, np.float64).reshape(-1, 1, 2)
        found = cv2.undistortPointsIter(given, self.matrix, self.distortion, np.eye(3), np.eye(3), until)
        return np.asarray(found, np.float64).reshape(-1, 2)

    def board_pose(self, points: Array, pixels: Array) -> Array:
        """Pose ``(4, 4)`` of a board in the camera's frame from its corners, by the smallest reprojection error."""
        found, rotation, translation = cv2.solvePnP(
            points, pixels, self.matrix, self.distortion, flags=cv2.SOLVEPNP_IPPE
        )
        guess = (rotation, translation) if found else (np.zeros((3, 1)), np.array([[0.0], [0.0], [0.5]]))
        rotation, translation = cv2.solvePnPRefineLM(points, pixels, self.matrix, self.distortion, *guess)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(rotation)[0], np.ravel(translation)
        return pose


def rms(errors: Array) -> float:
    """Root of the mean squared length of errors ``(N, 2)``, px."""
    return float(np.sqrt((np.asarray(errors) ** 2).sum(axis=-1).mean())) if len(errors) else float("nan")

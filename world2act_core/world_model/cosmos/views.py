"""All views of a robot in one frame: a 2x2 grid, as World2Act tiles them for Cosmos (section 4).

The embodiment says which camera goes where (``tile``). Each cell is half the frame high and half the frame wide. A view
keeps its proportions: it is scaled until it fits its cell and centred there, with black beside or above and below it,
because a stretched view would move in other proportions than those the world model has seen. Cells without a camera
stay black.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from world2act_core.embodiment import Camera, Embodiment
from world2act_core.errors import ContractError
from world2act_core.types import Array

HEIGHT, WIDTH = 480, 832
"""Of a frame, as Cosmos-Predict2's 480p models and World2Act have it; a cell is 240 x 416."""


@dataclass(frozen=True)
class Tiling:
    """Where each camera's view lies in a frame.

    Attributes:
        height, width: of the frame in pixels, even.
        cameras: whose views are tiled.
    """

    height: int
    width: int
    cameras: tuple[Camera, ...]

    def tile(self, images: Mapping[str, Array]) -> Array:
        """Views → frames.

        Args:
            images: camera name → uint8 ``(..., H, W, 3)``, upright, of any size in the camera's proportions: an
                observation's ``(H, W, 3)`` or an episode's ``(K, H, W, 3)``. The view of a camera that is not there
                stays black.

        Returns:
            uint8 ``(..., height, width, 3)``.

        Raises:
            ContractError: no image, one of an unknown camera, or one with other proportions than its camera's.
        """
        if not images:
            raise ContractError(f"no view to tile: give images of {', '.join(camera.name for camera in self.cameras)}")
        known = {camera.name: camera for camera in self.cameras}
        leading = next(iter(images.values())).shape[:-3]
        frames = np.zeros((*leading, self.height, self.width, 3), np.uint8)
        for name, views in images.items():
            if name not in known:
                raise ContractError(f"camera {name!r} has no tile: the embodiment's cameras are {', '.join(known)}")
            _check_proportions(known[name], views)
            rows, columns = self.place(known[name])
            flat = frames.reshape(-1, self.height, self.width, 3)
            for frame, view in zip(flat, views.reshape(-1, *views.shape[-3:]), strict=True):
                frame[rows, columns] = _resized(view, rows.stop - rows.start, columns.stop - columns.start)
        return frames

    def cut(self, frames: Array) -> dict[str, Array]:
        """Frames uint8 ``(..., height, width, 3)`` → camera name → its view ``(..., h, w, 3)`` without the black."""
        places = {camera.name: self.place(camera) for camera in self.cameras}
        return {name: frames[..., rows, columns, :] for name, (rows, columns) in places.items()}

    def place(self, camera: Camera) -> tuple[slice, slice]:
        """Rows and columns of a frame in which a camera's view lies."""
        cell_height, cell_width = self.height // 2, self.width // 2
        rows, columns = camera.upright_size
        scale = min(cell_height / rows, cell_width / columns)
        height, width = round(rows * scale), round(columns * scale)
        top = camera.tile[0] * cell_height + (cell_height - height) // 2
        left = camera.tile[1] * cell_width + (cell_width - width) // 2
        return slice(top, top + height), slice(left, left + width)


def tiling_of(embodiment: Embodiment, height: int = HEIGHT, width: int = WIDTH) -> Tiling:
    """How the views of a robot are tiled in frames of a size.

    Raises:
        ValueError: the frame cannot be halved.
    """
    if height % 2 or width % 2:
        raise ValueError(f"a frame of {height}x{width} cannot be halved into cells")
    return Tiling(height, width, tuple(embodiment.cameras.values()))


def _check_proportions(camera: Camera, views: Array) -> None:
    rows, columns = camera.upright_size
    height, width = views.shape[-3:-1]
    if height * columns != width * rows:
        raise ContractError(
            f"images of camera {camera.name} are {height}x{width}, which is not in the proportions of "
            f"{rows}x{columns}, the upright size that the embodiment states"
        )


def _resized(view: Array, height: int, width: int) -> Array:
    """Averages where the view becomes smaller, interpolates where it becomes larger."""
    smaller = height < view.shape[0]
    return cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)

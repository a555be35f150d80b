"""A cell with known truth, and a few rendered images of it that many tests look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="mujoco is not installed: pip install 'world2act[calibration]'")
pytest.importorskip("robosuite", reason="robosuite is not installed: pip install 'world2act[libero]'")

from benchmarks._board_scene import looking_at
from benchmarks._calibration_cell import Cell
from world2act_core.calibration.poses import inverse
from world2act_core.types import Array


@pytest.fixture(scope="session")
def cell() -> Iterator[Cell]:
    made = Cell()
    yield made
    made.close()


@pytest.fixture(scope="session")
def pose(cell: Cell) -> Array:
    """Where the board of ``picture`` is in the camera's frame."""
    return inverse(looking_at(cell.middle + [0.1, -0.08, -0.4], cell.middle, 0.2))


@pytest.fixture(scope="session")
def picture(cell: Cell, pose: Array) -> Array:
    """A sharp image of the whole board, ``(480, 640, 3)``."""
    return cell.image(pose)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)

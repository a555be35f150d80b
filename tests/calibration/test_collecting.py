"""Collecting views: coverage, the next pose, and what is not worth keeping."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks._board_scene import looking_at
from benchmarks._calibration_cell import Cell
from world2act_core.calibration.collecting import MOST_OF_A_KIND, Collector
from world2act_core.calibration.coverage import Coverage
from world2act_core.calibration.detection import Rejected, View
from world2act_core.calibration.intrinsics import calibrate_intrinsics
from world2act_core.calibration.poses import inverse
from world2act_core.types import Array


def view(cell: Cell, eye: tuple[float, float, float], aim: tuple[float, float] = (0.0, 0.0)) -> View:
    """The board seen from beside its middle (m), the camera aiming beside its middle."""
    camera = looking_at(cell.middle + np.array(eye), cell.middle + [*aim, 0.0])
    return cell.corners(inverse(camera), np.random.default_rng(0), 0.0)


@pytest.mark.parametrize(("height", "distance"), [(0.4, "near"), (0.9, "far")])
def test_a_board_that_faces_the_camera_is_flat(cell: Cell, height: float, distance: str) -> None:
    seen = view(cell, (0.0, 0.0, -height))
    assert Coverage(cell.board).kind(seen) == ("middle", "flat", distance)


def nearer_edge(seen: View) -> str:
    """The edge of the board that is nearer to the camera, by the lengths of its opposite edges in the image."""
    middle = seen.pixels.mean(axis=0)
    spread = seen.pixels - middle
    sides = {
        "left": spread[spread[:, 0] < -0.25 * np.ptp(spread[:, 0])],
        "right": spread[spread[:, 0] > 0.25 * np.ptp(spread[:, 0])],
        "up": spread[spread[:, 1] < -0.25 * np.ptp(spread[:, 1])],
        "down": spread[spread[:, 1] > 0.25 * np.ptp(spread[:, 1])],
    }
    along = {name: float(np.ptp(side[:, 1 if name in ("left", "right") else 0])) for name, side in sides.items()}
    horizontal, vertical = along["right"] / along["left"], along["down"] / along["up"]
    if abs(np.log(horizontal)) > abs(np.log(vertical)):
        return "right" if horizontal > 1 else "left"
    return "down" if vertical > 1 else "up"


@pytest.mark.parametrize("eye", [(0.3, 0.0, -0.5), (-0.3, 0.0, -0.5), (0.0, 0.3, -0.5), (0.0, -0.3, -0.5)])
def test_the_tilt_names_the_edge_that_is_nearer(cell: Cell, eye: tuple[float, float, float]) -> None:
    seen = view(cell, eye)
    assert Coverage(cell.board).kind(seen)[1] == nearer_edge(seen)


def test_a_board_in_a_corner_of_the_image_is_said_to_be_there(cell: Cell) -> None:
    seen = view(cell, (0.0, 0.0, -0.9), (0.25, 0.18))
    middle = seen.pixels.mean(axis=0) / seen.size
    expected = ("upper" if middle[1] < 0.5 else "lower") + (" left" if middle[0] < 0.5 else " right")
    assert Coverage(cell.board).kind(seen)[0] == expected


def test_what_was_shown_already_is_not_asked_for_again(cell: Cell) -> None:
    coverage = Coverage(cell.board)
    for _ in range(4):
        coverage.add(view(cell, (0.0, 0.0, -0.5)))
    asked = coverage.next_pose()
    assert "middle" not in asked and "facing the camera" not in asked
    assert coverage.missing()["tilt"] == ["left", "right", "up", "down"]
    assert "#" in coverage.as_text() and "." in coverage.as_text()


def test_a_collection_ends_when_it_determines_the_camera(cell: Cell, rng: np.random.Generator) -> None:
    collector = Collector(cell.board)
    poses = cell.views_of_board(400, 5)
    for k, pose in enumerate(poses):
        collector.take(cell.corners(pose, rng, 0.2, f"{k}"))
        if collector.enough:
            break
    assert collector.enough and 15 <= len(collector.views) <= 80
    result = calibrate_intrinsics(collector.views)
    assert result.deviations["fx"] < 0.005 * result.camera.matrix[0, 0]


def test_repetitions_and_useless_images_are_not_kept(cell: Cell, rng: np.random.Generator) -> None:
    collector = Collector(cell.board)
    pose = cell.views_of_board(1, 0)[0]
    assert collector.take(cell.corners(pose, rng, 0.2)).kept
    again = collector.take(cell.corners(pose, rng, 0.2))
    assert not again.kept and "nearly the same" in again.said and again.advice
    assert collector.take(Rejected("x", "blurred")).said == "blurred"
    assert len(collector.views) == 1 and len(collector.rejected) == 1


def test_images_of_the_same_kind_fill_up(cell: Cell, rng: np.random.Generator) -> None:
    collector = Collector(cell.board)
    said = ""
    for k in range(MOST_OF_A_KIND + 1):
        said = collector.take(view(cell, (0.01 * k - 0.04, 0.012 * k - 0.05, -0.45 - 0.01 * k))).said
    assert len(collector.views) <= MOST_OF_A_KIND and ("of this kind" in said or "nearly the same" in said)


def test_rendered_images_are_offered_one_by_one(cell: Cell, picture: Array) -> None:
    collector = Collector(cell.board)
    offered = list(collector.collect([("a", 1.0, picture), ("b", 2.0, np.zeros_like(picture))]))
    assert [entry.kept for entry in offered] == [True, False] and collector.views[0].stamp_s == 1.0

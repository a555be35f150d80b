"""Where the hand goes to take hold of something, and how it is turned."""

from __future__ import annotations

import numpy as np
import pytest

from world2act_core.simulators.demonstrators.grips import Around, Box, Rim, _holds, _room, bounding_box
from world2act_core.simulators.demonstrators.script import FINGERS_DOWN, fingers_down, rotation_between
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.privileged import Scene
from world2act_core.simulators.starts import Start
from world2act_core.types import Array

LONG_BOX = np.array([0.04, 0.02, 0.01])


def turned(degrees: float) -> Array:
    """Axes of a thing turned about the vertical."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def lying(axes: Array) -> Array:
    """The same thing with its first axis up."""
    return axes @ np.array([[0.0, 0, -1], [0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize(("degrees", "yaw"), [(0, 0), (30, 30), (80, 80), (100, -80), (180, 0), (-45, -45)])
def test_fingers_close_across_the_narrow_side_with_the_least_turn(degrees: float, yaw: float) -> None:
    holds = list(_holds(Box(np.zeros(3), LONG_BOX, turned(degrees))))
    assert [np.degrees(found) for _, found in holds] == pytest.approx([yaw] * len(holds), abs=1e-6)


def test_what_has_fallen_over_is_grasped_as_it_lies() -> None:
    can = np.array([0.03, 0.03, 0.04])
    [yaw] = {round(float(np.degrees(found))) for _, found in _holds(Box(np.zeros(3), can, lying(turned(20))))}
    assert yaw == 20


def test_a_longish_thing_may_be_taken_nearer_to_its_ends_but_a_round_one_only_in_the_middle() -> None:
    places = np.array([position[:2] for position, _ in _holds(Box(np.zeros(3), LONG_BOX, turned(0)))])
    assert np.ptp(places, axis=0) == pytest.approx([0.04, 0.0])
    places = np.array([position[:2] for position, _ in _holds(Box(np.zeros(3), np.full(3, 0.03), turned(0)))])
    assert np.ptp(places, axis=0) == pytest.approx([0.0, 0.0])


@pytest.mark.parametrize(("height", "top"), [(0.01, 0.02), (0.1, 0.2)])
def test_neither_palm_nor_fingertips_touch_before_the_grasp(height: float, top: float) -> None:
    [position, *_] = (
        found for found, _ in _holds(Box(np.array([0, 0, height]), np.array([0.03, 0.03, height]), np.eye(3)))
    )
    assert top - 0.022 - 1e-9 <= position[2] and position[2] >= 0.013


def test_room_counts_what_is_high_enough_to_be_in_the_way_of_the_wide_hand() -> None:
    hand = np.array([0.0, 0.0, 0.05])
    bottle = Box(np.array([0.0, 0.1, 0.07]), np.array([0.02, 0.02, 0.07]), np.eye(3))
    book = Box(np.array([0.0, 0.1, 0.01]), np.array([0.02, 0.02, 0.01]), np.eye(3))
    assert _room(hand, 0.0, [bottle]) < 0 < _room(hand, np.pi / 2, [bottle])
    assert _room(hand, 0.0, [book]) == np.inf


@pytest.mark.libero
def test_a_box_beside_a_bottle_is_taken_where_there_is_more_room(simulator: LiberoSimulator) -> None:
    simulator.reset(Start("libero_goal", 8, 0))
    scene = Scene(simulator)
    box = bounding_box(scene, "cream_cheese_1")
    assert sorted(2 * box.half) == pytest.approx([0.018, 0.042, 0.082], abs=0.002)
    position, facing = Around().pose(scene, "cream_cheese_1")
    assert np.linalg.norm(rotation_between(facing, FINGERS_DOWN)) < 0.1
    assert position == pytest.approx([*box.centre[:2], box.bottom + 0.014], abs=0.001)


@pytest.mark.libero
@pytest.mark.parametrize(("bearing", "side"), [(0.0, [0, 1]), (np.pi / 2, [-1, 0]), (np.pi, [0, -1])])
def test_a_rim_stands_between_the_fingers_on_the_side_asked_for(
    simulator: LiberoSimulator, bearing: float, side: list[float]
) -> None:
    simulator.reset(Start("libero_goal", 8, 0))
    scene = Scene(simulator)
    position, facing = Rim(0.05, 0.03, bearing).pose(scene, "akita_black_bowl_1")
    assert position - scene.position("akita_black_bowl_1") == pytest.approx([*np.multiply(side, 0.05), 0.03])
    across = fingers_down(bearing)
    turn = np.linalg.norm(rotation_between(facing, across))
    assert min(turn, np.pi - turn) == pytest.approx(0, abs=1e-6)  # the fingers are alike

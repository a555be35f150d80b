"""The emulated JointTrajectoryController: what ros2_controllers documents, checked on numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from world2act_core.simulators.emulator.trajectory import Setpoint, TrajectoryController, Waypoint

JOINTS = ("a", "b", "c")
REST = Setpoint(np.array([0.1, 0.2, 0.3]), np.zeros(3))


def controller() -> TrajectoryController:
    return TrajectoryController(JOINTS, REST.positions)


def to(*positions: float, at: float, velocities: list[float] | None = None) -> Waypoint:
    return Waypoint(np.array(positions), at, None if velocities is None else np.array(velocities))


def test_it_holds_where_it_is_until_a_trajectory_comes() -> None:
    np.testing.assert_array_equal(controller().sample(100.0).positions, REST.positions)


def test_positions_are_joined_by_lines_from_the_measured_state_and_the_last_is_held() -> None:
    made = controller()
    assert made.accept(JOINTS, [to(1.1, 0.2, 0.3, at=1.0), to(1.1, 2.2, 0.3, at=3.0)], 0.0, 10.0, REST) == ""
    for now, expected in ((10.5, [0.6, 0.2, 0.3]), (11.0, [1.1, 0.2, 0.3]), (12.0, [1.1, 1.2, 0.3])):
        np.testing.assert_allclose(made.sample(now).positions, expected)
        assert not made.at_end(now)
    for now in (13.0, 1e6):
        np.testing.assert_allclose(made.sample(now).positions, [1.1, 2.2, 0.3])
        assert made.at_end(now) and not made.sample(now).velocities.any()


@given(st.permutations(range(3)))
def test_the_order_of_the_names_does_not_matter(order: list[int]) -> None:
    made, goal = controller(), np.array([1.0, 2.0, 3.0])
    assert made.accept([JOINTS[i] for i in order], [Waypoint(goal[order], 1.0)], 0.0, 0.0, REST) == ""
    np.testing.assert_array_equal(made.sample(2.0).positions, goal)


def test_a_new_trajectory_replaces_the_old_one_from_where_the_arm_is() -> None:
    made = controller()
    made.accept(JOINTS, [to(1.1, 1.2, 1.3, at=1.0)], 0.0, 0.0, REST)
    half = Setpoint(np.array([0.6, 0.7, 0.8]), np.ones(3))
    assert made.accept(JOINTS, [to(0.6, 0.7, 0.0, at=1.0)], 0.0, 0.5, half) == ""
    np.testing.assert_allclose(made.sample(0.5).positions, half.positions)
    np.testing.assert_allclose(made.sample(1.0).positions, [0.6, 0.7, 0.4])
    np.testing.assert_allclose(made.sample(9.0).positions, [0.6, 0.7, 0.0])


def test_velocities_make_the_curve_cubic() -> None:
    made = controller()
    made.accept(JOINTS, [to(1.1, 0.2, 0.3, at=2.0, velocities=[0, 0, 0])], 0.0, 0.0, REST)
    quarter = made.sample(0.5)
    np.testing.assert_allclose(quarter.positions[0], 0.1 + 3 * 0.25**2 - 2 * 0.25**3)
    step = 1e-6
    slope = (made.sample(0.5 + step).positions - made.sample(0.5 - step).positions) / (2 * step)
    np.testing.assert_allclose(quarter.velocities, slope, atol=1e-6)


def test_points_in_the_past_are_passed_over() -> None:
    made = controller()
    points = [to(5, 5, 5, at=0.2), to(1.1, 0.2, 0.3, at=2.0)]
    assert made.accept(JOINTS, points, 99.0, 100.0, REST) == ""
    np.testing.assert_allclose(made.sample(100.5).positions, [0.6, 0.2, 0.3])


def test_a_start_in_the_future_is_waited_for() -> None:
    made = controller()
    assert made.accept(JOINTS, [to(1.1, 0.2, 0.3, at=0.0), to(2.1, 0.2, 0.3, at=1.0)], 101.0, 100.0, REST) == ""
    np.testing.assert_allclose(made.sample(101.5).positions, [1.6, 0.2, 0.3])


GOOD = to(1.0, 1.0, 1.0, at=0.5)
REFUSALS = {
    "an unknown joint": ((("a", "b", "elbow"), [GOOD], 0.0), "'elbow' is not one of the controller's joints a, b, c"),
    "a missing joint": ((("a", "b"), [to(1, 1, at=0.5)], 0.0), "names 2 joints, the controller has 3"),
    "a joint twice": ((("a", "b", "b"), [GOOD], 0.0), "names 2 joints, the controller has 3"),
    "no points": ((JOINTS, [], 0.0), "no points"),
    "a wrong length": ((JOINTS, [to(1, 1, at=0.5)], 0.0), "point 0 has 2 values for 3 joints"),
    "times that go back": ((JOINTS, [GOOD, to(2, 2, 2, at=0.4)], 0.0), "of point 1 is not later"),
    "NaN": ((JOINTS, [to(1, np.nan, 1, at=0.5)], 0.0), "point 0 holds a value that is not finite"),
    "an end in the past": ((JOINTS, [GOOD], 98.0), "ended 1.50 s in the past"),
    "an end in motion": ((JOINTS, [to(1, 1, 1, at=0.5, velocities=[0, 0, 1])], 0.0), "last velocity is not zero"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_it_refuses_with_a_reason_and_goes_on_as_before(what: str) -> None:
    (names, points, stamp), says = REFUSALS[what]
    made = controller()
    made.accept(JOINTS, [to(1.1, 0.2, 0.3, at=1.0)], 0.0, 99.5, REST)
    assert says in made.accept(names, points, stamp, 100.0, REST)
    np.testing.assert_allclose(made.sample(100.0).positions, [0.6, 0.2, 0.3])

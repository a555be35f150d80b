"""The emulated MoveIt Servo on a planar arm whose Jacobian is known on paper."""

from __future__ import annotations

import numpy as np
import pytest

from world2act_core.embodiment import JointLimits
from world2act_core.simulators.emulator.servo import TwistServo

SIX = np.ones(6)
LIMITS = JointLimits(-2 * SIX, 2 * SIX, 1.5 * SIX, 10 * SIX)


def a_gantry(positions: np.ndarray) -> np.ndarray:
    """Six joints that are the six directions: never singular."""
    return np.eye(6)


def run(servo: TwistServo, seconds: float, start: float, position: np.ndarray) -> tuple[float, np.ndarray]:
    """Step for a while with nothing new; the joints are where servo puts them."""
    for _ in range(round(seconds / 0.01)):
        start += 0.01
        moved = servo.step(start, position)
        position = position if moved is None else moved
    return start, position


def test_a_twist_moves_at_its_speed_and_halts_when_no_further_comes() -> None:
    servo = TwistServo("base", LIMITS, a_gantry)
    assert servo.accept("base", np.array([0.3, 0, 0, 0, 0, 0]), 0.0) == ""
    now, position = run(servo, 0.09, 0.0, np.zeros(6))
    assert not servo.halted and 0.02 < position[0] < 0.3 * 0.09
    now, position = run(servo, 0.1, now, position)
    assert servo.halted and servo.step(now, position) is None, "0.1 s after the last twist nothing is sent any more"
    assert position[0] == pytest.approx(0.03, abs=0.004) and "no twist for 0.1 s" in servo.status


def test_a_stream_of_twists_goes_on() -> None:
    servo, now, position = TwistServo("base", LIMITS, a_gantry), 0.0, np.zeros(6)
    for _ in range(20):
        servo.accept("base", np.array([0, 0.2, 0, 0, 0.5, 0]), now)
        now, position = run(servo, 0.05, now, position)
    np.testing.assert_allclose(position, [0, 0.2, 0, 0, 0.5, 0], atol=0.005)


def test_a_zero_twist_stops_at_once() -> None:
    servo, position = TwistServo("base", LIMITS, a_gantry), np.zeros(6)
    servo.accept("base", np.array([0.3, 0, 0, 0, 0, 0]), 0.0)
    now, position = run(servo, 0.05, 0.0, position)
    servo.accept("base", np.zeros(6), now)
    _, stopped = run(servo, 0.5, now, position)
    assert abs(stopped[0] - position[0]) < 0.002


def test_an_old_twist_moves_nothing() -> None:
    servo = TwistServo("base", LIMITS, a_gantry)
    servo.accept("base", np.array([0.3, 0, 0, 0, 0, 0]), -0.2)
    assert servo.step(0.0, np.zeros(6)) is None


@pytest.mark.parametrize(
    ("frame", "twist", "says"),
    [("world", np.ones(6), "in frame 'world', expected 'base'"), ("base", np.full(6, np.nan), "not finite")],
)
def test_a_twist_it_cannot_take_is_refused(frame: str, twist: np.ndarray, says: str) -> None:
    servo = TwistServo("base", LIMITS, a_gantry)
    assert says in servo.accept(frame, twist, 0.0)
    assert servo.step(0.01, np.zeros(6)) is None


def test_speeds_are_scaled_down_to_the_limits() -> None:
    servo, now, position = TwistServo("base", LIMITS, a_gantry), 0.0, np.zeros(6)
    for _ in range(10):
        servo.accept("base", np.array([3.0, 4.0, 0, 0, 0, 9.0]), now)
        before = position
        now, position = run(servo, 0.01, now, position)
    speed = (position - before) / 0.01
    np.testing.assert_allclose(speed[:2] / np.linalg.norm(speed[:2]), [0.6, 0.8], atol=1e-6)
    assert speed.max() == pytest.approx(1.5, rel=1e-3), "the joint's own limit scales the whole motion"


def test_it_halts_before_a_joint_limit_but_moves_away_from_it() -> None:
    servo, now, position = TwistServo("base", LIMITS, a_gantry), 0.0, np.full(6, 1.8)
    for _ in range(40):
        servo.accept("base", np.array([0.5, 0, 0, 0, 0, 0]), now)
        now, position = run(servo, 0.05, now, position)
    assert 1.85 < position[0] < 1.91 and "joint 1 is close to its limit" in servo.status
    servo.accept("base", np.array([-0.5, 0, 0, 0, 0, 0]), now)
    _, away = run(servo, 0.05, now, position)
    assert away[0] < position[0]


def test_it_slows_down_towards_a_singularity_and_not_away_from_it() -> None:
    def narrowing(positions: np.ndarray) -> np.ndarray:
        return np.diag([max(1e-3, 1 - positions[0]), 1, 1, 1, 1, 1])

    speeds = {}
    for direction in (1.0, -1.0):
        servo = TwistServo("base", LIMITS, narrowing)
        servo.accept("base", np.array([0.001 * direction, 0, 0, 0, 0, 0]), 0.0)
        start = np.array([0.96, 0, 0, 0, 0, 0])  # condition number 25, between the two thresholds
        speeds[direction] = abs(run(servo, 0.05, 0.0, start)[1][0] - 0.96)
    assert speeds[1.0] < 0.6 * speeds[-1.0]

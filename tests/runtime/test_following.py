"""``limits.follow``: joint targets are followed no faster than the joints may move, and a leap is still refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.embodiment.contracts import changed, written
from tests.runtime.test_safety_filter import HERE, STEP, UR5E, Bench, reason, values
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import ContractError
from world2act_core.runtime.chunks import Hold
from world2act_core.types import Array

LIMITS = UR5E.limits.joints


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Embodiment:
    """A UR5e without a lead-in, whose targets are followed."""
    content: dict[str, Any] = changed(("limits", "ramp_s"), 1e-3, "ur5e")
    content["limits"]["follow"] = True
    return load_embodiment(written(content, tmp_path_factory.mktemp("follow")))


def arm(robot: Embodiment) -> Bench:
    bench = Bench(robot)
    bench.shown = {"joint_positions": HERE}
    return bench


def led(bench: Bench, targets: Array) -> Array:
    """What leaves for targets ``(T, 6)``; the arm does as it is told."""
    places = []
    for target in targets:
        answer = values(bench.step(*target.astype(np.float32), 0.25))
        assert answer[6] == 0.25, "the gripper is nobody's joint"
        bench.shown["joint_positions"] = answer[:6]
        places.append(answer[:6].astype(float))
    return np.array(places)


def test_a_target_is_reached_as_fast_as_allowed_and_not_overshot(robot: Embodiment) -> None:
    offset = np.array([0.3, -0.3, 0.1, 0.0, 0.02, 0.3])
    places = led(arm(robot), np.tile(HERE + offset, (14, 1)))
    there = (places - HERE) * np.sign(offset)
    spare = LIMITS.acceleration * STEP**2 / 8  # 1.6 mrad: what steps leave of braking in continuous time
    assert (there <= np.abs(offset) + spare).all()
    np.testing.assert_allclose(places[-1], HERE + offset, atol=1e-3)
    speeds = np.diff(np.vstack([HERE, places]), axis=0) / STEP
    assert np.abs(np.diff(speeds[:, 0]) / STEP).max() == pytest.approx(LIMITS.acceleration[0], rel=0.01)


def test_a_target_that_moves_is_caught_up_with_and_then_followed_exactly(robot: Embodiment) -> None:
    targets = HERE + 0.1 + 0.04 * np.arange(40)[:, None] * np.array([1, 0, 0, 0, 0, -1])  # 0.8 rad/s
    places = led(arm(robot), targets)
    np.testing.assert_allclose(places[20:], targets[20:], atol=2e-3)


def test_what_is_within_the_limits_leaves_as_it_came(robot: Embodiment) -> None:
    targets = HERE + 0.2 * (1 - np.cos(np.arange(60) * STEP * 2))[:, None] * np.ones(6)  # at most 0.8 rad/s^2
    np.testing.assert_allclose(led(arm(robot), targets), targets, atol=1e-5)


def test_a_leap_is_refused_and_nothing_of_it_leaves(robot: Embodiment) -> None:
    bench = arm(robot)
    places = led(bench, np.tile(HERE + 0.01, (3, 1)))
    leap = HERE + np.array([0, 0, 0.7, 0, 0, 0])
    assert "elbow_joint would leap 0.690 rad from where it is led" in reason(bench.step(*leap.astype(np.float32), 0))
    np.testing.assert_allclose(led(bench, places[-1:]), places[-1:], atol=1e-5)


def test_after_a_hold_it_goes_on_from_where_the_arm_is_measured_at_rest(robot: Embodiment) -> None:
    bench = arm(robot)
    led(bench, np.tile(HERE + 0.3, (5, 1)))
    bench.filter.held()
    bench.shown["joint_positions"] = HERE
    first = led(bench, HERE[None] + 0.3)
    np.testing.assert_allclose(first[0], HERE + LIMITS.acceleration * STEP**2, atol=1e-5)


def test_a_lead_in_is_followed_too(tmp_path: Path) -> None:
    led_in = load_embodiment(written(changed(("limits", "follow"), True, "ur5e"), tmp_path))
    places = led(arm(led_in), np.tile(HERE + 0.3, (25, 1)))
    assert places[0, 0] - HERE[0] < 0.01
    np.testing.assert_allclose(places[-1], HERE + 0.3, atol=1e-3)


def test_a_range_is_refused_as_ever(robot: Embodiment) -> None:
    bench = arm(robot)
    bench.shown["joint_positions"] = [0, 0, 3.1, 0, 0, 0]
    assert "elbow_joint = 3.3 lies outside" in reason(bench.step(0, 0, 3.3, 0, 0, 0, 0))


def test_only_places_of_joints_can_be_followed(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="follow.*joint_positions, and this robot's are eef_delta"):
        load_embodiment(written(changed(("limits", "follow"), True), tmp_path))


def test_contracts_that_do_not_follow_keep_their_identity(robot: Embodiment, tmp_path: Path) -> None:
    unsaid = load_embodiment(written(changed(("limits", "follow"), False, "ur5e"), tmp_path))
    said = load_embodiment(written(changed(("limits", "follow"), True, "ur5e"), tmp_path))
    assert "follow" not in repr(unsaid.limits) and unsaid.sha256 != said.sha256


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6)), max_size=40))
def test_whatever_is_asked_nothing_beyond_the_limits_leaves(
    robot: Embodiment, asked: list[tuple[bool, list[float]]]
) -> None:
    bench, last, speed = arm(robot), HERE.astype(float), np.zeros(6)
    for hold, numbers in asked:
        if hold:
            bench.filter.held()
            bench.now, speed = bench.now + STEP, np.zeros(6)
            continue
        answer = bench.step(*(last + 0.5 * np.array(numbers)).astype(np.float32), 0)
        if isinstance(answer, Hold):
            assert "outside" in answer.reason
            speed = np.zeros(6)
            continue
        target = answer.values[:6].astype(float)
        moved = (target - last) / STEP
        assert (target >= LIMITS.lower - 1e-5).all() and (target <= LIMITS.upper + 1e-5).all()
        assert (np.abs(moved) <= LIMITS.velocity + 1e-3).all()
        assert (np.abs(moved - speed) / STEP <= LIMITS.acceleration + 1e-2).all()
        last, speed = target, moved
        bench.shown["joint_positions"] = last

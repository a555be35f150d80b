"""``limits.follow``: joint targets are followed no faster than the joints may move, and a leap is still refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.embodiment.contracts import changed, written
from tests.runtime.test_safety_filter import HERE, STEP, UR5E, Bench, reason, values, within_the_limits
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import ContractError
from world2act_core.runtime.chunks import Hold
from world2act_core.runtime.safety.following import BEYOND, LEAP_S
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
    assert (there <= np.abs(offset) + 1e-5).all() and (np.diff(there, axis=0) >= -1e-5).all()
    np.testing.assert_allclose(places[-1], HERE + offset, atol=1e-3)
    speeds = np.diff(np.vstack([HERE, places]), axis=0) / STEP
    assert np.abs(np.diff(speeds[:, 0]) / STEP).max() == pytest.approx(LIMITS.acceleration[0], rel=0.01)


def test_a_target_that_moves_is_caught_up_with_and_then_followed(robot: Embodiment) -> None:
    targets = HERE + 0.1 + 0.03 * np.arange(40)[:, None] * np.array([1, 0, 0, 0, 0, -1])  # 0.6 rad/s
    places = led(arm(robot), targets)
    np.testing.assert_allclose(places[20:], targets[20:], atol=2e-3)


def test_a_target_that_stops_or_is_led_to_from_rest_is_overshot_by_so_much_at_most(tmp_path: Path) -> None:
    """Also where a lead-in is asked for (the shipped contract), from a standing start to targets far and near."""
    for distance in (0.05, 0.3, 0.4, 0.5, 0.6):
        places = led(arm(UR5E), np.tile(HERE + distance, (40, 1)))
        assert (places - HERE).max() < distance + 1e-5
        np.testing.assert_allclose(places[-1], HERE + distance, atol=1e-3)
    moving = HERE + np.minimum(0.1 * np.arange(60), 2.0)[:, None] * np.ones(6)  # 2 rad/s, then it stops
    refused, bench, most = 0, arm(UR5E), 0.0
    for target in moving:
        answer = bench.step(*target.astype(np.float32), 0.0)
        refused += isinstance(answer, Hold)
        if not isinstance(answer, Hold):
            bench.shown["joint_positions"] = answer.values[:6]
            most = max(most, float((answer.values[:6] - HERE).max()))
    assert most < 2.0 + BEYOND + 1e-5


def test_what_is_within_the_limits_leaves_as_it_came(robot: Embodiment) -> None:
    targets = HERE + 0.1 * (1 - np.cos(np.arange(60) * STEP * 2))[:, None] * np.ones(6)  # at most 0.2 rad/s
    np.testing.assert_allclose(led(arm(robot), targets), targets, atol=1e-5)


def test_a_leap_from_where_it_is_led_or_measured_is_refused_and_nothing_of_it_leaves(robot: Embodiment) -> None:
    bench = arm(robot)
    places = led(bench, np.tile(HERE + 0.01, (3, 1)))
    leap = HERE + np.array([0, 0, 0.7, 0, 0, 0])
    assert "elbow_joint would leap 0.690 rad (at most 0.628)" in reason(bench.step(*leap.astype(np.float32), 0))
    np.testing.assert_allclose(led(bench, places[-1:]), places[-1:], atol=1e-5)
    away = places[-1] - [0, 0, 0, 0, 0, 0.65]
    bench.shown["joint_positions"] = away
    assert "wrist_3_joint would leap 0.650 rad" in reason(bench.step(*places[-1].astype(np.float32), 0))


def test_a_leap_is_one_however_the_lead_in_and_however_long_a_chunk(tmp_path: Path) -> None:
    content = changed(("chunk_length",), 20, "ur5e")
    for robot in (UR5E, load_embodiment(written(content, tmp_path))):
        assert "would leap 1.000 rad" in reason(arm(robot).step(*(HERE + 1.0).astype(np.float32), 0))


def test_an_arm_that_does_not_come_along_is_led_no_further_than_a_leap(robot: Embodiment) -> None:
    bench, last = arm(robot), HERE
    for target in HERE + 0.02 * np.arange(60)[:, None] * np.ones(6):
        answer = bench.step(*target.astype(np.float32), 0)
        last = answer.values[:6] if not isinstance(answer, Hold) else last
    assert np.abs(last - HERE).max() < LEAP_S * LIMITS.velocity[0] + BEYOND


def test_after_a_hold_it_goes_on_from_where_the_arm_is_measured_at_rest(robot: Embodiment) -> None:
    bench = arm(robot)
    led(bench, np.tile(HERE + 0.3, (5, 1)))
    bench.filter.held()
    bench.shown["joint_positions"] = HERE
    first = led(bench, HERE[None] + 0.3)
    np.testing.assert_allclose(first[0], HERE + LIMITS.acceleration * STEP**2, atol=1e-5)


def narrow(folder: Path, where: str) -> Embodiment:
    """A UR5e that follows, whose first joint may go to 0.3 rad by its limits or by its actions."""
    content: dict[str, Any] = changed(("limits", "ramp_s"), 1e-3, "ur5e")
    if where == "limits":
        content["limits"]["joint_positions"]["upper"][0] = 0.3
    else:
        content["action"]["high"][0] = 0.3
    return load_embodiment(written(content, folder))


@pytest.mark.parametrize("where", ["limits", "action"])
def test_the_end_of_a_range_is_reached_and_never_passed(where: str, tmp_path: Path) -> None:
    """Also at speed, and by a target that comes to rest at the very end of it."""
    robot = narrow(tmp_path, where)
    targets = np.tile(HERE, (40, 1))
    targets[:, 0] = np.minimum(HERE[0] + 0.08 * np.arange(40), 0.3)
    places = led(arm(robot), targets)
    assert places[:, 0].max() <= 0.3 + 1e-6
    assert places[-1, 0] == pytest.approx(0.3, abs=1e-3)


def test_a_target_outside_the_joints_range_is_refused_at_once(tmp_path: Path) -> None:
    bench = arm(narrow(tmp_path, "limits"))
    beyond = HERE + [0.25, 0, 0, 0, 0, 0]
    assert "shoulder_pan_joint would go to 0.350 rad, outside" in reason(bench.step(*beyond.astype(np.float32), 0))


def test_only_places_of_joints_can_be_followed(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="follow.*joint_positions, and this robot's are eef_delta"):
        load_embodiment(written(changed(("limits", "follow"), True), tmp_path))


def test_contracts_that_do_not_follow_keep_their_identity(tmp_path: Path) -> None:
    """Of libero_panda as it was before there was ``follow``: manifests of runs hold it."""
    assert load_embodiment("libero_panda").sha256.startswith("1759be248c9a9779")
    unsaid = load_embodiment(written(changed(("limits", "follow"), False, "ur5e"), tmp_path))
    assert unsaid.sha256 != load_embodiment(written(changed(("limits", "follow"), True, "ur5e"), tmp_path)).sha256


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6)), max_size=40))
def test_whatever_is_asked_nothing_beyond_the_limits_leaves(
    robot: Embodiment, asked: list[tuple[bool, list[float]]]
) -> None:
    for one in (robot, UR5E):  # without and with a lead-in
        within_limits(arm(one), asked)


def within_limits(bench: Bench, asked: list[tuple[bool, list[float]]]) -> None:
    last, speed = HERE.astype(float), np.zeros(6)
    for hold, numbers in asked:
        if hold:
            bench.filter.held()
            bench.now, speed = bench.now + STEP, np.zeros(6)
            continue
        answer = bench.step(*(last + 0.5 * np.array(numbers)).astype(np.float32), 0)
        if isinstance(answer, Hold):
            assert "outside" in answer.reason, "half a radian is no leap"
            speed = np.zeros(6)
            continue
        last, speed = within_the_limits(answer, last, speed)
        bench.shown["joint_positions"] = last

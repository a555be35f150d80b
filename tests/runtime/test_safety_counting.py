"""What the safety filter says to streams of commands that were made by hand, counted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.runtime.arms import pose
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.evaluation.conduct import SafetyCounters, add_up
from world2act_core.runtime.safety.counting import KINDS, OTHER, commanded_jerk, count_safety, limit_kind
from world2act_core.types import Array, Episode

PANDA, UR5E = load_embodiment("libero_panda"), load_embodiment("ur5e")
HERE = np.array([0.1, -1.2, 0.3, -1.0, 0.5, 0.2], np.float32)  # rad, somewhere within the UR5e's limits


def episode(robot: Embodiment, commands: Array, **shown: Any) -> Episode:
    """An arm that is measured at one place throughout while ``commands`` are given."""
    steps = len(commands)
    state = {name: np.repeat(value[None], steps + 1, 0).astype(np.float32) for name, value in pose(robot).items()}
    state |= {name: np.asarray(rows, np.float32) for name, rows in shown.items()}
    return Episode(
        episode_id="made",
        task="",
        embodiment=robot.name,
        stamps=np.arange(steps + 1) * robot.step_s,
        state=state,
        actions=robot.clamp(commands),
        frame_steps=np.empty(0, np.int64),
        images={},
    )


def panda(steps: int = 8) -> Array:
    return np.zeros((steps, 7), np.float32)


def counted(robot: Embodiment, commands: Array, **shown: Any) -> SafetyCounters:
    counters = count_safety(episode(robot, commands, **shown), robot, commands)
    assert counters is not None
    return counters


def test_an_arm_that_rests_hits_nothing_and_does_not_jerk() -> None:
    assert counted(PANDA, panda()) == SafetyCounters(8, {}, 0, 0.0, 0.0, "m/s^3")


def test_a_refused_command_is_one_hit_and_takes_the_rest_of_its_chunk_with_it() -> None:
    commands = panda(12)
    commands[5, 0] = 1.5  # beyond the range, second step of the second chunk
    assert (counted(PANDA, commands).hits, counted(PANDA, commands).holds) == ({"action range": 1}, 3)
    commands[6:8, 0] = 1.5  # would have been held anyway
    commands[8, 0] = 1.5
    assert (counted(PANDA, commands).hits, counted(PANDA, commands).holds) == ({"action range": 2}, 7)


def test_what_a_simulator_limited_is_no_hit_of_the_episode_itself() -> None:
    commands = panda()
    commands[0, 2] = -7.0
    counters = count_safety(episode(PANDA, commands), PANDA)
    assert counters is not None and counters.hits == {}
    assert counted(PANDA, commands).hits == {"action range": 1}


def test_each_kind_of_limit_is_told_apart() -> None:
    outward = panda(4)
    outward[:, 0] = 1.0
    edge = np.tile([0.59, 0.0, 1.0], (5, 1))  # the box ends at 0.6 m
    assert counted(PANDA, outward, eef_position=edge).hits == {"workspace": 1}
    joints = np.tile((PANDA.limits.joints.lower + PANDA.limits.joints.upper) / 2, (5, 1))
    joints[1:, 3] = -4.0
    assert counted(PANDA, panda(4), joint_positions=joints).hits == {"joint range": 1}


@pytest.mark.parametrize(
    ("steps", "kind", "followed"),
    [
        ([0.0, 0.3, 0.3, 0.3], "joint velocity", {"joint leap": 1}),  # 6 rad/s: it falls ever further behind
        ([0.0, 0.02, -0.02, 0.02], "joint acceleration", {}),
    ],
)
def test_joint_commands_are_judged_by_the_joints_limits(
    steps: list[float], kind: str, followed: dict[str, int]
) -> None:
    robot = replace(UR5E, limits=replace(UR5E.limits, follow=False))
    length = UR5E.chunk_length
    given = np.zeros((length, UR5E.action.size), np.float32)
    given[:, :6] = HERE
    offsets = np.cumsum(np.resize(steps, length))
    given[:, 0] += offsets.astype(np.float32)
    ramped = math.ceil(UR5E.limits.ramp_s / UR5E.step_s)
    lead = np.repeat(given[:1], length * math.ceil(ramped / length), 0)  # the lead-in from rest is over before
    stream = np.concatenate([lead, given])
    shown = {"joint_positions": np.repeat(HERE[None], len(stream) + 1, 0)}
    counters = counted(robot, stream, **shown)
    assert list(counters.hits) == [kind] and counters.jerk_unit == "rad/s^3"
    assert counted(UR5E, stream, **shown).hits == followed


def test_a_leap_is_counted_where_targets_are_followed() -> None:
    given = np.zeros((UR5E.chunk_length, UR5E.action.size), np.float32)
    given[:, :6] = HERE
    given[3, 0] += 2.0  # a lead-in makes it half of that here
    assert counted(UR5E, given, joint_positions=np.repeat(HERE[None], len(given) + 1, 0)).hits == {"joint leap": 1}


def test_every_reason_of_the_filter_has_a_kind() -> None:
    """The reasons as ``filter.py`` and ``motion.py`` write them; one that reads otherwise would count as other."""
    reasons = {
        "workspace": "the end effector would go to x = 0.700 m, outside -1.000..0.600",
        "end-effector speed": "the end effector would move at 2.00 m/s (at most 1.75)",
        "end-effector acceleration": "the end effector would accelerate at 9.1 m/s^2 (at most 5.0)",
        "end-effector turning": "the end effector would turn at 4.00 rad/s (at most 2.50)",
        "orientation": "the commanded orientation is no unit quaternion (its length is 0.000)",
        "joint range": "elbow_joint would go to 4.000 rad, outside -3.141..3.141",
        "joint leap": "elbow_joint would leap 0.690 rad from where it is led",
        "joint velocity": "elbow_joint would move at 4.00 rad/s (at most 3.14)",
        "joint acceleration": "elbow_joint would accelerate at 40.0 rad/s^2 (at most 15.0)",
        "action range": "x = 1.5 lies outside -1..1",
    }
    assert list(reasons) == [kind for kind, _ in KINDS]
    for kind, reason in reasons.items():
        assert limit_kind(f"chunk 1, step 0: {reason}") == kind
    assert limit_kind("the end effector is at z = -0.300 m, outside -0.100..2.100") == "workspace"
    assert limit_kind("the end effector moves at 2.00 m/s (at most 1.75)") == "end-effector speed"
    assert limit_kind("panda_joint4 is measured at -4.000 rad, outside -3.122..-0.020") == "joint range"
    assert limit_kind("6 values, the embodiment's action has 7") == "action range"
    assert limit_kind("the dead-man is not pressed") == OTHER


def test_the_jerk_is_the_third_difference_of_the_commanded_place() -> None:
    commands = panda(4)
    commands[:, 0] = [0.1, 0.1, 0.1, -0.1]  # 5 mm a step, 0.1 m/s at 20 Hz, from rest, then back
    jerk, unit = commanded_jerk(commands, episode(PANDA, commands), PANDA)
    assert unit == "m/s^3"
    np.testing.assert_allclose(jerk, [40.0, 40.0, 0.0, 80.0], rtol=1e-6)
    counters = counted(PANDA, commands)
    assert counters.jerk_max == pytest.approx(80.0)
    assert counters.jerk_rms == pytest.approx(math.sqrt((40**2 + 40**2 + 80**2) / 4))


def test_places_jerk_as_the_steps_between_them_do() -> None:
    steps, length = np.array([0.0, 0.01, 0.02, 0.0]), 4
    given = np.zeros((length, UR5E.action.size), np.float32)
    given[:, :6] = HERE
    given[:, 0] += np.cumsum(steps).astype(np.float32)
    shown = {"joint_positions": np.repeat(HERE[None], length + 1, 0)}
    jerk, _ = commanded_jerk(given, episode(UR5E, given, **shown), UR5E)
    np.testing.assert_allclose(jerk, np.array([0.0, 0.01, 0.0, 0.03]) / UR5E.step_s**3, rtol=1e-3, atol=1.0)


def test_several_trials_add_up_to_one_long_stream() -> None:
    one = SafetyCounters(100, {"workspace": 1}, 3, 50.0, 2.0, "m/s^3")
    two = SafetyCounters(300, {"workspace": 1, "action range": 2}, 9, 40.0, 4.0, "m/s^3")
    both = add_up([one, two])
    assert both is not None
    assert (both.steps, both.hits, both.holds) == (400, {"action range": 2, "workspace": 2}, 12)
    assert (both.jerk_max, both.jerk_rms) == (50.0, pytest.approx(math.sqrt((100 * 4 + 300 * 16) / 400)))
    assert both.all_hits == 4 and add_up([]) is None

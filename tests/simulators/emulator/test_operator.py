"""The scripted operator: what it tells the emulated arm is what a demonstration must be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.simulators.emulator.test_filtered import drive
from world2act_core.calibration.gripper_width import calibrate_gripper
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.runtime.chunks import Track
from world2act_core.runtime.outputs import OutputConverter
from world2act_core.runtime.safety import Measured
from world2act_core.simulators.emulator import Emulator
from world2act_core.simulators.emulator.operator import DOWN_M, HELD, ScriptedOperator

pytest.importorskip("mujoco", reason="the emulated arm needs MuJoCo and robosuite's models (extra: libero)")

ROBOTS = [load_embodiment("franka_fr3"), load_embodiment("ur5e")]


def shown(robot: Embodiment, seed: int = 0) -> np.ndarray:
    operator = ScriptedOperator(robot, seed)
    return operator.episode(operator.home, Emulator(robot, 0.0).arm.positions)


@pytest.mark.parametrize("robot", ROBOTS, ids=["twist", "joint_trajectory"])
def test_the_arm_follows_within_its_limits_down_to_a_thing_and_up_again(robot: Embodiment) -> None:
    actions = shown(robot)
    home = ScriptedOperator(robot).home
    for part in (actions, actions[: len(actions) // 2]):
        emulator, left = drive(robot, part, filtered=True)
        assert left == len(part), "the safety filter, which no device has, would have let every command pass"
        assert emulator.violations.total == 0, emulator.violations.last
    emulator, _ = drive(robot, actions, filtered=False)
    end = emulator.arm.state()["eef_position"]
    assert abs(end[2] - home[2]) < DOWN_M / 3 and 0.05 < end[1] - home[1] < 0.16, "above where it was put down"


@pytest.mark.parametrize("robot", ROBOTS, ids=["twist", "joint_trajectory"])
def test_the_gripper_closes_as_around_a_thing_while_it_is_carried(robot: Embodiment) -> None:
    told = shown(robot)[:, robot.gripper.index]
    closed = (told - robot.gripper.open) / (robot.gripper.close - robot.gripper.open)
    assert closed[0] == closed[-1] == 0.0
    changes = np.flatnonzero(np.diff(closed))
    assert len(changes) == 2 and closed[changes[0] + 1] == pytest.approx(HELD)
    assert np.diff(changes)[0] * robot.step_s > 1.0


@pytest.mark.parametrize("robot", ROBOTS, ids=["twist", "joint_trajectory"])
def test_the_exercise_calibrates_the_gripper(robot: Embodiment) -> None:
    operator = ScriptedOperator(robot)
    emulator, stamps, rows = Emulator(robot, 0.0), [], []
    actions = operator.exercise(operator.home, emulator.arm.positions)
    converter = OutputConverter(robot, Measured(robot))
    for step, values in enumerate(actions):
        told = converter.convert(Track(1, step, values, 0.0))[1].gripper
        assert told is not None
        emulator.on_gripper(told)
        emulator.advance((step + 1) * robot.step_s)
        stamps.append((step + 1) * robot.step_s)
        rows.append(emulator.arm.state()["gripper_positions"])
    positions = np.array(rows)
    if robot.state["gripper_positions"].units == "m":
        widths = np.abs(positions).sum(axis=1)
    else:
        widths = 0.085 - 0.085 / 0.7929 * positions[:, 0]
    found = calibrate_gripper(np.array(stamps), widths)
    assert found.openings >= 2
    assert found.fully_open_m == pytest.approx(robot.gripper.fully_open_width_m, abs=0.004)
    assert found.closed_m < 0.004


def test_episodes_differ_and_a_seed_repeats_them() -> None:
    robot = ROBOTS[1]
    np.testing.assert_array_equal(shown(robot), shown(robot))
    assert shown(robot).shape != shown(robot, seed=1).shape or not np.allclose(shown(robot), shown(robot, seed=1))


def test_actions_that_it_cannot_make_are_refused() -> None:
    robot = ROBOTS[1]
    other = replace(robot, action=replace(robot.action, kind="joint_delta"))
    with pytest.raises(World2ActError, match="acts by eef_delta or joint_positions, but ur5e takes joint_delta"):
        ScriptedOperator(other)

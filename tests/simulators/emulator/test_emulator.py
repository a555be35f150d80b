"""The emulated arm as a whole, without ROS: it goes where it is told, and holds when nobody tells it anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.simulators.emulator import Emulator
from world2act_core.simulators.emulator.trajectory import Waypoint

pytest.importorskip("mujoco", reason="the emulated arm needs MuJoCo and robosuite's models (extra: libero)")

FR3, UR5E = load_embodiment("franka_fr3"), load_embodiment("ur5e")
FR3_JOINTS = replace(
    FR3,
    action=replace(FR3.action, kind="joint_positions"),
    output=replace(FR3.output, kind="joint_trajectory", time_from_start_s=0.1),
)


@pytest.mark.parametrize("embodiment", [UR5E, FR3_JOINTS], ids=["ur5e", "fr3"])
def test_it_follows_a_trajectory_and_then_holds_against_gravity(embodiment: Embodiment) -> None:
    emulator, joints = Emulator(embodiment, 0.0), embodiment.state["joint_positions"].joints
    goal = emulator.arm.positions + np.linspace(-0.2, 0.2, len(joints))
    assert emulator.holding(0.0)
    assert emulator.on_trajectory(joints[::-1], [Waypoint(goal[::-1], 0.6)], 0.0, 0.0) == ""
    emulator.advance(0.25)
    assert not emulator.holding(0.25) and emulator.describe(0.25) == "following a trajectory"
    for tick in range(26, 200):
        emulator.advance(tick / 100)
    np.testing.assert_allclose(emulator.arm.positions, goal, atol=0.005)
    assert emulator.holding(2.0) and "no command for 2.0 s" in emulator.describe(2.0)
    assert emulator.violations.total == 0


def test_a_twist_moves_the_end_effector_in_the_base_frame_and_ends_with_the_stream() -> None:
    emulator, now = Emulator(FR3, 0.0), 0.0
    start = emulator.arm.state()["eef_position"]
    for _ in range(20):
        assert emulator.on_twist("fr3_link0", np.array([0.1, -0.05, 0.08, 0, 0, 0]), now, now) == ""
        now += 0.05
        emulator.advance(now)
    at_end = emulator.arm.state()["eef_position"]
    np.testing.assert_allclose(at_end - start, [0.1, -0.05, 0.08], atol=0.01)
    for _ in range(20):
        now += 0.05
        emulator.advance(now)
    held = emulator.arm.state()["eef_position"]
    assert np.linalg.norm(held - at_end) < 0.02 and emulator.holding(now)
    emulator.advance(now + 0.2)
    np.testing.assert_allclose(emulator.arm.state()["eef_position"], held, atol=1e-3)


@pytest.mark.parametrize("embodiment", [FR3, UR5E], ids=["fr3", "ur5e"])
def test_the_gripper_opens_and_closes(embodiment: Embodiment) -> None:
    emulator, output = Emulator(embodiment, 0.0), embodiment.output.gripper
    assert output is not None
    reached = {}
    for index, target in enumerate((output.close, output.open)):
        emulator.on_gripper(target)
        for tick in range(200):
            emulator.advance(2 * index + tick / 100)
        reached[target] = float(emulator.arm.state()["gripper_positions"][0])
    assert reached == pytest.approx({t: t for t in reached}, abs=0.01 * abs(output.open - output.close))


VIOLATIONS = {  # what is sent, relative to where the arm is → what is counted
    "beyond a joint's range": (5.0, 9.0, "joint_limit"),
    "too fast": (0.5, 0.1, "velocity"),
    "a leap": (1.0, 0.0, "jump"),
}


@pytest.mark.parametrize("what", VIOLATIONS)
def test_a_command_that_should_never_have_left_is_counted(what: str) -> None:
    by, within, kind = VIOLATIONS[what]
    emulator, joints = Emulator(UR5E, 0.0), UR5E.state["joint_positions"].joints
    goal = emulator.arm.positions
    goal[2] += by
    assert emulator.on_trajectory(joints, [Waypoint(goal, within)], 0.0, 0.0) == ""
    assert {k: n for k, n in emulator.violations.counts.items() if n} == {kind: 1}
    assert emulator.violations.last.startswith("elbow_joint was sent")


def test_refusals_are_counted_with_their_reason() -> None:
    emulator = Emulator(UR5E, 0.0)
    names = ("shoulder", *UR5E.state["joint_positions"].joints[1:])
    assert "'shoulder' is not one of" in emulator.on_trajectory(names, [Waypoint(np.zeros(6), 0.5)], 0.0, 0.0)
    assert "takes joint trajectories, no twists" in emulator.on_twist("base", np.zeros(6), 0.0, 0.0)
    assert "not finite" in emulator.on_gripper(float("nan"))
    assert (emulator.violations.counts["refused"], emulator.violations.counts["not_finite"]) == (2, 1)
    assert emulator.describe(9.0) == "holding: no command has come yet", "a refused message is no command"


def test_a_gap_in_the_clock_is_skipped_and_said() -> None:
    emulator = Emulator(UR5E, 0.0)
    emulator.advance(10.0)
    assert emulator.skipped_s == pytest.approx(9.75)


def test_an_output_that_it_does_not_take_is_one_sentence() -> None:
    with pytest.raises(World2ActError, match="joint_trajectory and twist, but libero_panda sends arm_command"):
        Emulator(load_embodiment("libero_panda"), 0.0)

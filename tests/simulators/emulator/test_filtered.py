"""Safety filter and emulated arm together: whatever a policy asks, no command arrives that should never have left."""

from __future__ import annotations

import numpy as np
import pytest

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import compose
from world2act_core.runtime.chunks import Hold, Track
from world2act_core.runtime.outputs import JointPoint, OutputConverter, Twist
from world2act_core.runtime.safety import SafetyFilter
from world2act_core.simulators.emulator import Emulator
from world2act_core.simulators.emulator.trajectory import Waypoint
from world2act_core.types import Array

pytest.importorskip("mujoco", reason="the emulated arm needs MuJoCo and robosuite's models (extra: libero)")

FR3, UR5E = load_embodiment("franka_fr3"), load_embodiment("ur5e")


def drive(robot: Embodiment, actions: Array, filtered: bool) -> tuple[Emulator, int]:
    """Send ``actions`` ``(T, A)`` at the control rate; returns the emulator and how many of them left."""
    emulator, safety, now, left = Emulator(robot, 0.0), SafetyFilter(robot), 0.0, 0
    converter = OutputConverter(robot, safety.measured)
    for step, action in enumerate(actions):
        for topic, message in compose.state_messages(robot, emulator.arm.state(), round(now * 1e9)):
            safety.measured.add(topic, message, now)
        track = Track(1, step, action.astype(np.float32), now)
        command, outgoing = converter.convert(safety.check(track, now, now) if filtered else track)
        left += not isinstance(command, Hold)
        if isinstance(outgoing.arm, JointPoint):
            point = Waypoint(outgoing.arm.positions, outgoing.arm.time_from_start_s)
            emulator.on_trajectory(outgoing.arm.joints, [point], now, now)
        elif isinstance(outgoing.arm, Twist):
            twist = np.concatenate([outgoing.arm.linear, outgoing.arm.angular])
            emulator.on_twist(outgoing.arm.frame_id, twist, now, now)
        now += robot.step_s
        emulator.advance(now)
    return emulator, left


def wild(robot: Embodiment) -> Array:
    """Small motions of 5 steps with leaps between them, ``(60, A)``; the gripper opens and closes."""
    rng = np.random.default_rng(0)
    if robot.action.kind == "eef_delta":
        calm, leap = np.full(6, 0.2), np.ones(6)
        arm = np.stack([rng.choice([-1, 1], 6) * (leap if step % 6 == 5 else calm) for step in range(60)])
    else:
        start = Emulator(robot, 0.0).arm.positions
        arm = start + np.cumsum(np.full((60, len(start)), 0.002), axis=0)
        arm[5::6] += rng.choice([-1, 1], (10, len(start))) * 1.5
    return np.hstack([arm, rng.uniform(-1, 1, (60, 1))])


@pytest.mark.parametrize("robot", [FR3, UR5E], ids=["twist", "joint_trajectory"])
def test_the_filter_keeps_from_the_arm_what_the_emulator_counts(robot: Embodiment) -> None:
    actions = wild(robot)
    unfiltered, _ = drive(robot, actions, filtered=False)
    emulator, left = drive(robot, actions, filtered=True)
    assert unfiltered.violations.total >= 5, "without the filter the leaps arrive"
    assert emulator.violations.total == 0, emulator.violations.last
    assert 20 <= left < 60, "what is allowed leaves, the leaps do not"

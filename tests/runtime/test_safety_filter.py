"""The last word on a command: it leaves as it is, or the arm holds and says why."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.embodiment.contracts import changed, written
from tests.runtime.arms import pose, show
from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import compose
from world2act_core.errors import ContractError
from world2act_core.runtime.chunks import Command, Hold, Track
from world2act_core.runtime.safety import SafetyFilter

PANDA, FR3, UR5E = (load_embodiment(name) for name in ("libero_panda", "franka_fr3", "ur5e"))
STEP = 0.05
HERE = np.array([0.1, -1.2, 0.3, -1.0, 0.5, 0.2], np.float32)  # rad, somewhere within the UR5e's limits


class Bench:
    """A filter, an arm that is shown to it, and a clock that both share."""

    def __init__(self, robot: Embodiment, **options: Any) -> None:
        self.robot, self.filter, self.now = robot, SafetyFilter(robot, **options), 0.0
        self.shown: dict[str, Any] = {}

    def step(self, *values: float, stamp: float | None = None, late: float = 0.0) -> Command:
        self.now += STEP
        show(self.filter.measured, self.now - late, self.now - late, self.robot, **self.shown)
        track = Track(1, 0, np.array(values, np.float32), self.now if stamp is None else stamp)
        return self.filter.check(track, self.now, self.now)


def reason(answer: Command) -> str:
    assert isinstance(answer, Hold), f"{answer} left"
    return answer.reason


def values(answer: Command) -> np.ndarray:
    assert isinstance(answer, Track), answer
    return answer.values


def ur(**options: Any) -> Bench:
    bench = Bench(UR5E, **options)
    bench.shown = {"joint_positions": HERE}
    return bench


def within_the_limits(answer: Command, last: np.ndarray, speed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place and speed of a UR5e's joints after a command that left, from those after the one before."""
    joints, target = UR5E.limits.joints, values(answer)[:6].astype(float)
    moved = (target - last) / STEP
    assert (target >= joints.lower - 1e-5).all() and (target <= joints.upper + 1e-5).all()
    assert (np.abs(moved) <= joints.velocity + 1e-3).all()
    assert (np.abs(moved - speed) / STEP <= joints.acceleration + 1e-2).all()
    return target, moved


def unramped(name: str, folder: Path) -> Embodiment:
    """Neither led in nor followed: every limit refuses."""
    content = changed(("limits", "ramp_s"), 1e-3, name)
    content["limits"].pop("follow", None)
    return load_embodiment(written(content, folder))


def test_what_is_allowed_leaves_as_it_came() -> None:
    track = Track(3, 2, np.array([0.5, -0.5, 1, 0, 0, 0.3, -1], np.float32), 0.0)
    bench = Bench(PANDA)
    show(bench.filter.measured, 0.0, 0.0)
    assert bench.filter.check(track, 0.0, 0.0) is track


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ([math.nan, 0, 0, 0, 0, 0, 0], "x = nan lies outside -1..1"),
        ([0, 0, 0, 0, 0, math.inf, 0], "yaw = inf lies outside"),
        ([0, 0, 0, 0, 0, 0, 1.01], "gripper = 1.01 lies outside"),
        ([0, 0, 0], "3 values, the embodiment's action has 7"),
        ([0] * 8, "8 values, the embodiment's action has 7"),
    ],
)
def test_values_that_mean_nothing(action: list[float], says: str) -> None:
    assert f"chunk 1, step 0: {says}" in reason(Bench(PANDA).step(*action))


def test_the_age_of_what_a_command_answers() -> None:
    bench = Bench(PANDA, chunk_timeout_s=1.0)
    bench.now = 10.0
    assert "an observation that is 1.55 s old (at most 1 s)" in reason(bench.step(*[0] * 7, stamp=8.5))
    assert "stamped 0.90 s in the future" in reason(bench.step(*[0] * 7, stamp=11.0))


def test_an_arm_whose_state_is_unknown_old_or_from_the_future_holds() -> None:
    bench = Bench(PANDA, state_timeout_s=0.5)
    track = Track(1, 0, np.zeros(7, np.float32), 0.0)
    assert "joint_positions on joint_states: nothing has been received" in reason(bench.filter.check(track, 0.0, 0.0))
    show(bench.filter.measured, 0.0, 0.0, topics=["joint_states"])
    assert "eef_position on eef_pose: nothing has been received" in reason(bench.filter.check(track, 0.0, 0.0))
    show(bench.filter.measured, 0.0, 0.0)
    assert "nothing received for 0.6 s" in reason(bench.filter.check(track, 0.0, 0.6))
    assert "newest stamp is 0.6 s old" in reason(bench.filter.check(track, 0.6, 0.0))
    assert "stamped 0.50 s in the future" in reason(bench.filter.check(track, -0.5, 0.0))


def test_a_state_that_contradicts_the_contract_is_the_reason() -> None:
    bench = Bench(PANDA)
    messages = dict(compose.state_messages(PANDA, pose(PANDA), 0))
    messages["eef_pose"].header.frame_id = "camera"
    with pytest.raises(ContractError):
        bench.filter.measured.add("eef_pose", messages["eef_pose"], 0.0)
    bench.filter.measured.add("joint_states", messages["joint_states"], 0.0)
    assert "in frame 'camera', the embodiment says 'world'" in bench.filter.fault(0.0, 0.0)


def test_a_joint_state_with_a_wrong_name_is_the_reason() -> None:
    bench = Bench(FR3)
    show(bench.filter.measured, 0.0, 0.0, FR3)
    message = dict(compose.state_messages(FR3, pose(FR3), 0))["joint_states"]
    message.name[2] = "elbow"
    with pytest.raises(ContractError):
        bench.filter.measured.add("joint_states", message, 0.0)
    assert "joint fr3_joint3 is not in the joint state" in bench.filter.fault(0.0, 0.0)


def test_an_orientation_of_zeros_is_none() -> None:
    """A step added to it would have left as a pose of NaN."""
    bench = Bench(PANDA)
    show(bench.filter.measured, 0.0, 0.0)
    with pytest.raises(ContractError):
        show(bench.filter.measured, 0.0, 0.0, eef_orientation=[0.0, 0.0, 0.0, 0.0])
    assert "the quaternion's length is 0, not 1" in bench.filter.fault(0.0, 0.0)
    show(bench.filter.measured, 0.0, 0.0)
    assert bench.filter.fault(0.0, 0.0) == ""


def test_steps_of_the_hand_are_judged_from_where_it_is_measured() -> None:
    bench = Bench(PANDA)
    bench.shown = {"eef_position": [0.0, 0.0, -0.08]}
    assert "would go to z = -0.130 m, outside -0.100..2.100" in reason(bench.step(0, 0, -1, 0, 0, 0, 0))
    assert isinstance(bench.step(0, 0, 1, 0, 0, 0, 0), Track)


def test_a_hand_that_is_too_fast_turns_too_fast_or_accelerates_too_hard(tmp_path: Path) -> None:
    bench = Bench(unramped("franka_fr3", tmp_path))
    assert "would move at 0.69 m/s (at most 0.50)" in reason(bench.step(1, 1, 1, 0, 0, 0, 0))
    assert "would turn at 3.46 rad/s (at most 2.50)" in reason(bench.step(0, 0, 0, 1, 1, 1, 0))
    assert "would accelerate at 9.5 m/s^2 (at most 9.0)" in reason(bench.step(1, 0.65, 0, 0, 0, 0, 0)), "from rest"
    assert isinstance(bench.step(0.5, 0, 0, 0, 0, 0, 0), Track)
    assert isinstance(bench.step(1, 0.65, 0, 0, 0, 0, 0), Track), "in motion"


def test_joints_that_are_measured_beyond_their_range_stop_a_hand() -> None:
    """Degrees for radians, another joint's value: whatever it is, the arm is not where the contract thinks."""
    bench = Bench(PANDA)
    bench.shown = {"joint_positions": [0, 0, 0, 20.0, 0, 1, 0]}
    assert "panda_joint4 is measured at 20.000 rad" in reason(bench.step(*[0] * 7))


def test_joint_targets_are_judged_by_place_speed_and_acceleration(tmp_path: Path) -> None:
    bench = Bench(unramped("ur5e", tmp_path))
    bench.shown = {"joint_positions": HERE}
    far = HERE + [0, 0, 0.2, 0, 0, 0]
    assert "elbow_joint would move at 4.00 rad/s (at most 3.14)" in reason(bench.step(*far, 1))
    jerky = HERE + [0.05, 0, 0, 0, 0, 0]
    assert "shoulder_pan_joint would accelerate at 20.0 rad/s^2 (at most 5.0)" in reason(bench.step(*jerky, 1))
    bench.shown = {"joint_positions": [0, 0, 3.14, 0, 0, 0]}
    assert "elbow_joint = 3.15 lies outside" in reason(bench.step(0, 0, 3.15, 0, 0, 0, 1))


def test_a_joint_arm_whose_hand_is_measured_outside_or_too_fast_holds() -> None:
    bench = ur()
    bench.shown["eef_position"] = [0, 0, 1.5]
    assert "the end effector is at z = 1.500 m" in reason(bench.step(*HERE, 1))
    bench.shown["eef_position"] = [0, 0, 0.5]
    bench.filter.measured.forget()
    bench.step(*HERE, 1)
    bench.shown["eef_position"] = [0.1, 0, 0.5]
    assert "the end effector moves at 2.00 m/s (at most 0.50)" in reason(bench.step(*HERE, 1))


def test_the_first_command_is_led_in_from_the_measured_pose() -> None:
    """Regression of the field: a first command far from the measured pose was a jump."""
    bench = ur()
    target = HERE + np.float32(0.2)
    led = np.array([values(bench.step(*target, -1))[:6] for _ in range(12)])
    assert np.abs(led[0] - HERE).max() < 0.01 and np.abs(led[-1] - target).max() < 1e-6
    steps = np.diff(np.vstack([HERE, led]), axis=0)
    assert (steps > -1e-6).all() and np.abs(np.diff(steps, axis=0)).max() / STEP**2 <= 5.0 + 1e-3
    assert not bench.filter.ramping


def test_the_gripper_is_not_led_in() -> None:
    assert values(ur().step(*HERE, -1))[6] == -1


def test_an_absolute_target_is_led_in_again_after_every_hold_and_a_step_after_a_long_one() -> None:
    bench = ur()
    for _ in range(12):
        bench.step(*(HERE + np.float32(0.2)), 1)
    bench.filter.held()
    assert np.abs(values(bench.step(*(HERE + np.float32(0.2)), 1))[:6] - HERE).max() < 0.01
    hand = Bench(FR3)
    for _ in range(12):
        hand.step(0.5, 0, 0, 0, 0, 0, 0)
    hand.filter.held()
    assert values(hand.step(0.5, 0, 0, 0, 0, 0, 0))[0] == 0.5
    hand.now += 2.0
    hand.filter.held()
    assert values(hand.step(0.5, 0, 0, 0, 0, 0, 0))[0] < 0.02


def test_in_open_loop_every_chunk_of_absolute_targets_ends_where_it_says() -> None:
    """A lead-in longer than a chunk, begun anew with every chunk, would never arrive."""
    bench, target = ur(), HERE.copy()
    for _ in range(6):
        target = target + np.float32(0.02)
        for _ in range(UR5E.chunk_length):
            left = values(bench.step(*target, 1))[:6]
            bench.shown["joint_positions"] = left
        assert isinstance(bench.filter.check(Hold("between two chunks"), bench.now, bench.now), Hold)
    np.testing.assert_allclose(left, target, atol=1e-6)


def test_a_place_and_an_orientation_are_led_in_and_judged(tmp_path: Path) -> None:
    content = changed(("action", "kind"), "eef_pose", "franka_fr3")
    names = ["x", "y", "z", "qx", "qy", "qz", "qw", "gripper"]
    content["action"].update(
        names=names,
        units=["m"] * 3 + ["quaternion_xyzw"] * 4 + ["normalised"],
        scale=[1] * 8,
        low=[-1] * 8,
        high=[1] * 8,
    )
    content["output"]["kind"] = "pose"
    bench = Bench(load_embodiment(written(content, tmp_path)))
    bench.shown = {"eef_position": [0.5, 0, 0.4]}
    turned = [0, 0, math.sin(0.1), math.cos(0.1)]  # 0.2 rad about z
    led = np.array([values(bench.step(0.55, 0, 0.4, *turned, 1)) for _ in range(11)])
    angles = 2 * np.arctan2(led[:, 5], led[:, 6])
    assert 0 < led[0, 0] - 0.5 < 0.01 and 0 < angles[0] < 0.01
    np.testing.assert_allclose(np.linalg.norm(led[:, 3:7], axis=1), 1, atol=1e-6)
    np.testing.assert_allclose([led[-1, 0], angles[-1]], [0.55, 0.2], atol=1e-5)
    assert "would turn at 8.00 rad/s" in reason(bench.step(0.55, 0, 0.4, 0, 0, math.sin(0.3), math.cos(0.3), 1))
    assert "no unit quaternion (its length is 0.500)" in reason(bench.step(0.55, 0, 0.4, 0, 0, 0, 0.5, 1))


def test_a_latched_stop_outlives_everything_but_a_reset() -> None:
    bench = Bench(PANDA)
    bench.filter.stop("topic stop")
    bench.filter.stop("service ~/stop")
    bench.filter.begin()
    assert reason(bench.step(*[0] * 7)) == "stopped by topic stop; call ~/reset to go on"
    bench.filter.reset()
    assert isinstance(bench.step(*[0] * 7), Track)


def test_the_dead_man_must_be_pressed_and_pressed_anew() -> None:
    bench = Bench(PANDA, dead_man_s=0.2)
    assert reason(bench.step(*[0] * 7)) == "the dead-man is not pressed"
    bench.filter.press(True, bench.now)
    assert isinstance(bench.step(*[0] * 7), Track)
    bench.now += 0.2
    assert "last pressed 0.3 s ago (at most 0.2 s)" in reason(bench.step(*[0] * 7))
    bench.filter.press(False, bench.now)
    assert reason(bench.step(*[0] * 7)) == "the dead-man is not pressed"


def test_a_parameter_cannot_relax_the_contracts_dead_man(tmp_path: Path) -> None:
    robot = load_embodiment(written(changed(("limits", "dead_man_s"), 0.2), tmp_path))
    for options in ({}, {"dead_man_s": 5.0}):
        bench = Bench(robot, **options)
        bench.filter.press(True, 0.0)
        bench.now = 0.2
        assert "at most 0.2 s" in reason(bench.step(*[0] * 7))


@pytest.mark.parametrize(
    ("robot", "missing", "says"),
    [("libero_panda", "state.eef_position", "state has no eef_position"), ("ur5e", "names", "no 'shoulder_pan_joint'")],
)
def test_a_contract_that_says_too_little_is_refused(robot: str, missing: str, says: str, tmp_path: Path) -> None:
    content = yaml.safe_load(written(changed(("name",), robot, robot), tmp_path).read_text())
    if missing == "names":
        content["action"]["names"][0] = "joint 1"
        del content["output"]  # which would ask for the names of the arm's joints, too
    else:
        del content["state"]["eef_position"]
    with pytest.raises(ContractError, match=says):
        SafetyFilter(load_embodiment(written(content, tmp_path)))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["move", "jump", "hold", "wild"]),
            st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6),
        ),
        max_size=30,
    )
)
def test_whatever_is_asked_nothing_beyond_the_limits_leaves(asked: list[tuple[str, list[float]]]) -> None:
    """The arm follows what leaves; every place, speed and acceleration between commands stays within the contract."""
    bench = ur()
    last, speed = HERE.astype(float), np.zeros(6)
    for kind, numbers in asked:
        offset = np.array(numbers)
        if kind == "hold":
            bench.filter.held()
            bench.now += STEP
            speed[:] = 0
            continue
        size = {"move": 0.02, "jump": 0.5, "wild": 1e30}[kind]
        answer = bench.step(*(last + size * offset).astype(np.float32), 0)
        if isinstance(answer, Hold):
            speed[:] = 0
            continue
        last, speed = within_the_limits(answer, last, speed)
        bench.shown["joint_positions"] = last

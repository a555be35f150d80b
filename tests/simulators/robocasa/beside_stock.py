"""Run by RoboCasa's interpreter: our control steps, observations and kitchens beside robosuite's and RoboCasa's own."""

from __future__ import annotations

from typing import Any

import numpy as np

from world2act_core.simulators.robocasa.package import kitchens_there, load_suite, make_environment, use_objects
from world2act_core.simulators.robocasa.simulator import RoboCasaSimulator
from world2act_core.simulators.robocasa.suites import kitchens
from world2act_core.simulators.starts import Start

SUITE, TASK, SEED, STEPS = "robocasa_atomic", 13, 2, 12
STREAMS = {
    "joint_positions": "robot0_joint_pos",
    "gripper_positions": "robot0_gripper_qpos",
    "base_position": "robot0_base_pos",
    "base_orientation": "robot0_base_quat",
    "eef_position": "robot0_base_to_eef_pos",
    "eef_orientation": "robot0_base_to_eef_quat",
}
"""Of the contract → of robosuite."""


def steps_are_alike() -> None:
    ours = RoboCasaSimulator(SUITE, TASK)
    ours.reset(Start(SUITE, TASK, SEED))
    named, tasks = load_suite(SUITE)
    stock = make_environment(named, tasks[TASK])
    use_objects(None)
    stock.rng = np.random.default_rng(SEED)
    stock.reset()
    for action in np.random.default_rng(1).uniform(-1, 1, (STEPS, 12)):
        solved = ours.step(action)
        stock.step(action.copy())
        data = stock.sim.data
        np.testing.assert_array_equal(ours.state(), np.concatenate([[data.time], data.qpos, data.qvel]))
        assert solved == stock._check_success()
    stock.sim.forward()
    theirs, seen = stock._get_observations(force_update=True), ours.observe().state
    assert set(seen) == set(STREAMS)
    for name, value in seen.items():
        close_to_either_sign(value, theirs[STREAMS[name]])


def close_to_either_sign(value: Any, expected: Any) -> None:
    """A quaternion and its negative are the same rotation."""
    sign = np.sign(value @ expected) if len(value) == 4 else 1
    np.testing.assert_allclose(value, sign * expected, atol=2e-6)


def kitchens_are_robocasas() -> int:
    """CoffeeServeMug is at home in every kitchen."""
    names = ("robocasa_atomic", "robocasa_atomic__all", "robocasa_atomic__pretrain", "robocasa_atomic__target")
    from robocasa.utils.env_utils import create_env

    for name in names:
        split = load_suite(name)[0].split
        env = create_env("CoffeeServeMug", split=split)
        assert sorted(env.layout_and_style_ids) == sorted(kitchens(split)), name
        assert set(kitchens_there(kitchens(split))) <= set(kitchens(split))
    return len(names)


if __name__ == "__main__":
    count = kitchens_are_robocasas()
    steps_are_alike()
    print(f"alike: {STEPS} steps, {len(STREAMS)} streams, kitchens of {count} suites")

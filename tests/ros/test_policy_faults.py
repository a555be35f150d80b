"""A policy process that is killed, hangs, is slow, starts again or answers nonsense: the arm holds, then goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ros import faulty_policy
from tests.ros.stage import EXECUTED, Stage
from tests.ros.support import Probe, running, single
from world2act.transport import PROFILES
from world2act_core.embodiment import Embodiment
from world2act_core.episodes.fields import stamp_s
from world2act_core.runtime.prefixes import ros_environment
from world2act_interfaces.msg import ArmCommand


@pytest.fixture(scope="module")
def played(domain: int, panda: Embodiment) -> Iterator[Stage]:
    """The command process alone; every test brings its own policy."""
    graph = single("command", clock="wall", use_sim_time=True, state_timeout_s=2.0)
    with running(graph, domain) as (processes, output):
        probe = Probe(domain)
        yield Stage(probe, panda, nodes=())
        assert processes.running[0].process.poll() is None and "Traceback" not in output.getvalue()
        probe.close()


@pytest.fixture
def stage(played: Stage) -> Iterator[Stage]:
    yield played
    played.end()


@contextmanager
def a_policy(domain: int, address: str, max_age_s: float = 3.0) -> Iterator[subprocess.Popen[bytes]]:
    """A policy process that this test may treat as it likes."""
    given = {"policy": address, "clock": "wall", "use_sim_time": "true", "max_age_s": max_age_s}
    arguments = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
    command = [sys.executable, faulty_policy.__file__, "--ros-args", *arguments]
    # Without shared memory: in that of a killed reader Fast DDS may block its writers, and one of them is this test.
    environment = {**ros_environment(), "ROS_DOMAIN_ID": str(domain), "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}
    for name in PROFILES:
        environment.pop(name, None)
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_killed_and_started_again_it_goes_on_in_the_same_episode(stage: Stage, domain: int, long_bag: Path) -> None:
    episode = stage.begin()
    with a_policy(domain, f"replay:{long_bag}") as policy:
        stage.wait_tracked()
        policy.kill()
        stage.wait_hold(EXECUTED)
        stage.still(0.5)
    with a_policy(domain, f"replay:{long_bag}"):
        stage.wait_tracked(2)
    assert stage.chunks[-1].episode_id == episode


def test_while_it_hangs_the_arm_holds_and_nothing_old_is_executed_afterwards(
    stage: Stage, domain: int, long_bag: Path
) -> None:
    stage.begin()
    with a_policy(domain, f"replay:{long_bag}", max_age_s=1.0) as policy:
        stage.wait_tracked()
        os.kill(policy.pid, signal.SIGSTOP)
        stage.wait_hold(EXECUTED)
        stage.still(3.0)
        woken = stage.now
        os.kill(policy.pid, signal.SIGCONT)
        moved = [c for c in stage.wait_tracked(2) if c.mode == ArmCommand.TRACK]

        def answered() -> dict[int, float]:
            return {chunk.sequence: stamp_s(chunk.header.stamp) for chunk in stage.chunks}

        stage.probe.wait(lambda: {c.chunk for c in moved} <= set(answered()), 30, "their chunks are heard too")
        assert all(answered()[c.chunk] > woken - 1.5 for c in moved), "an observation from before it hung"


def test_slow_by_800_ms_no_step_is_skipped_that_had_not_left_and_the_arm_holds_between(
    stage: Stage, domain: int, long_bag: Path
) -> None:
    """Regression of the field: 21 of 30 actions were skipped because the inference was slow."""
    stage.begin()
    with a_policy(domain, f"slow:{long_bag}"):
        stage.wait_tracked()
        commands = stage.wait_tracked(3)
    stage.probe.wait(lambda: stage.chunks and stage.chunks[-1].sequence >= commands[-1].chunk, 30, "their chunks")
    answered = {chunk.sequence: stamp_s(chunk.header.stamp) for chunk in stage.chunks}
    moved = [(stamp_s(c.header.stamp), c.chunk, c.step) for c in commands if c.mode == ArmCommand.TRACK]
    steps = {number: [step for _, chunk, step in moved if chunk == number] for _, number, _ in moved}
    for number, executed in list(steps.items())[1:]:  # the first may have been joined in its middle
        assert executed == list(range(executed[0], executed[0] + len(executed))), steps
        # It may be asked again before its last answer has arrived (by /clock, which stands still in the node while it
        # infers; or on a busy machine): then steps have left meanwhile.
        left = [
            at for at, chunk, _ in moved if chunk < number and at >= answered[number] - 0.25 * stage.embodiment.step_s
        ]
        assert executed[0] <= len(left), f"chunk {number} skips {executed[0]} steps, but {len(left)} had left"
    assert len(steps) >= 3, steps
    assert any(EXECUTED in command.reason for command in commands)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("nan", "holds nan at step 0, x"),
        ("short", "has shape (3, 7)"),
    ],
)
def test_of_nonsense_nothing_leaves_and_the_next_answer_is_executed(
    stage: Stage, domain: int, long_bag: Path, fault: str, says: str
) -> None:
    stage.begin()
    with a_policy(domain, f"{fault}:{long_bag}"):
        stage.wait_tracked()
        stage.wait_hold(says)
        moved = stage.wait_tracked(2)
    assert {c.chunk % 2 for c in moved if c.mode == ArmCommand.TRACK} == {1}, "every second answer is nonsense"


def test_an_error_of_its_code_costs_a_chunk_and_not_the_process(stage: Stage, domain: int, long_bag: Path) -> None:
    stage.begin()
    with a_policy(domain, f"raises:{long_bag}") as policy:
        stage.wait_tracked()
        stage.wait_said("policy", "RuntimeError: the policy's own code is broken")
        stage.wait_tracked(2)
        assert policy.poll() is None

"""Which command leaves when: in lockstep one TRACK a state, by the wall clock one command a period."""

from __future__ import annotations

import numpy as np

from world2act_core.embodiment import load_embodiment
from world2act_core.runtime.chunks import Hold, Track
from world2act_core.runtime.commander import Answer, Arrival, LockstepCommander, WallCommander
from world2act_core.types import ActionChunk

PANDA = load_embodiment("libero_panda")
STEP = PANDA.step_s


def arrival(stamp: float, sequence: int = 1, episode: str = "e1", value: float = 0.1) -> Arrival:
    actions = np.full((4, 7), value, np.float32)
    return Arrival(ActionChunk(actions, stamp), sequence, episode, PANDA.name)


def tracked(answer: Answer | None) -> tuple[float, int, int]:
    assert answer is not None and isinstance(answer.command, Track)
    return answer.stamp, answer.command.chunk, answer.command.step


def test_each_state_gets_exactly_one_track() -> None:
    commander = LockstepCommander(PANDA)
    commander.on_prompt("e1", "skill", 0.0)
    commander.on_state(0.0, 0.0)
    assert commander.poll(0.0) is None
    commander.on_chunk(arrival(0.0))
    assert tracked(commander.poll(0.0)) == (0.0, 1, 0)
    assert commander.poll(0.0) is None
    commander.on_state(STEP, 0.1)
    assert tracked(commander.poll(0.1)) == (STEP, 1, 1)


def test_prompt_state_and_chunk_may_come_in_any_order() -> None:
    commander = LockstepCommander(PANDA)
    commander.on_chunk(arrival(0.0))
    assert commander.poll(0.0) is None
    commander.on_state(0.0, 0.0)
    assert commander.poll(0.0) is None
    commander.on_prompt("e1", "skill", 0.0)
    assert tracked(commander.poll(0.0)) == (0.0, 1, 0)


def test_a_chunk_that_overtakes_its_state_waits_for_it() -> None:
    commander = LockstepCommander(PANDA)
    commander.on_prompt("e1", "skill", 0.0)
    commander.on_state(0.0, 0.0)
    commander.on_chunk(arrival(0.0))
    for step in range(4):
        commander.on_state(step * STEP, 0.0)
        tracked(commander.poll(0.0))
    commander.on_chunk(arrival(4 * STEP, sequence=2))
    assert commander.poll(0.0) is None
    commander.on_state(4 * STEP, 0.0)
    assert tracked(commander.poll(0.0)) == (4 * STEP, 2, 0)


def test_a_repeated_state_gets_the_same_answer_again() -> None:
    """The simulator repeats itself when the answer was lost; the arm must not get the next action instead."""
    commander = LockstepCommander(PANDA)
    commander.on_prompt("e1", "skill", 0.0)
    commander.on_state(0.0, 0.0)
    commander.on_chunk(arrival(0.0))
    first = commander.poll(0.0)
    commander.on_state(0.0, 1.0)
    assert commander.poll(1.0) is first
    assert commander.poll(1.0) is None


def test_without_a_chunk_it_holds_after_the_patience_and_says_why() -> None:
    commander = LockstepCommander(PANDA, hold_after_s=1.0)
    commander.on_prompt("e1", "skill", 0.0)
    commander.on_state(0.0, 10.0)
    assert commander.poll(10.9) is None
    held = commander.poll(11.0)
    assert held is not None and held.command == Hold("waiting for the first action chunk of episode e1")
    assert commander.poll(11.5) is None, "one HOLD per patience, not one per poll"
    assert commander.poll(12.0) is not None


def test_a_refused_chunk_is_said_at_once() -> None:
    commander = LockstepCommander(PANDA)
    commander.on_prompt("e1", "skill", 0.0)
    commander.on_state(0.0, 0.0)
    commander.on_chunk(arrival(0.0, value=np.nan))
    held = commander.poll(0.0)
    assert held is not None and isinstance(held.command, Hold) and "holds nan" in held.command.reason


def test_a_state_left_over_from_the_last_episode_is_not_answered() -> None:
    """Simulated time begins anew at 0: the last state of episode 1 must not eat the first action of episode 2."""
    commander = LockstepCommander(PANDA)
    commander.on_prompt("e1", "skill", 0.0)
    commander.on_prompt("e1", "", 0.0)
    commander.on_state(3.2, 0.0)
    commander.on_prompt("e2", "skill", 0.0)
    commander.on_chunk(arrival(3.2, episode="e2"))
    assert commander.poll(0.0) is None
    commander.on_state(0.0, 0.0)
    commander.on_chunk(arrival(0.0, sequence=2, episode="e2"))
    assert tracked(commander.poll(0.0)) == (0.0, 2, 0)


def test_an_empty_prompt_stops_at_once() -> None:
    commander = LockstepCommander(PANDA)
    commander.on_prompt("e1", "skill", 0.0)
    commander.on_state(0.0, 0.0)
    commander.on_chunk(arrival(0.0))
    tracked(commander.poll(0.0))
    commander.on_prompt("e1", "", 0.0)
    commander.on_state(STEP, 0.0)
    assert commander.poll(5.0) is None


def test_a_further_skill_of_the_same_episode_keeps_the_chunk() -> None:
    commander = LockstepCommander(PANDA)
    commander.on_prompt("e1", "reach", 0.0)
    commander.on_state(0.0, 0.0)
    commander.on_chunk(arrival(0.0))
    tracked(commander.poll(0.0))
    commander.on_prompt("e1", "grasp", STEP)
    commander.on_state(STEP, 0.0)
    assert tracked(commander.poll(0.0)) == (STEP, 1, 1)


def test_wall_clock_commands_every_period() -> None:
    commander = WallCommander(PANDA)
    commander.on_state(99.9, 0.0)
    commander.on_prompt("e1", "skill", 100.0)
    commander.on_chunk(arrival(100.0))
    answers = [commander.tick(100.05 + step * STEP, 0.05) for step in range(5)]
    assert [tracked(answer)[2] for answer in answers[:4]] == [0, 1, 2, 3]
    assert isinstance(answers[4].command, Hold)


def test_wall_clock_holds_without_a_measured_state_and_does_not_resume_the_old_chunk() -> None:
    commander = WallCommander(PANDA, state_timeout_s=0.5)
    assert commander.tick(0.0, 0.0).command == Hold("the arm's state has never been received")
    commander.on_state(100.0, 0.0)
    commander.on_prompt("e1", "skill", 100.0)
    commander.on_chunk(arrival(100.0))
    tracked(commander.tick(100.05, 0.1))
    stale = commander.tick(100.8, 0.8)
    assert stale.command == Hold("the arm's state was last received 0.8 s ago")
    commander.on_state(100.9, 0.9)
    assert isinstance(commander.tick(100.9, 0.9).command, Hold)

"""Which command leaves when: in lockstep one TRACK a state, by the wall clock one command a period."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.runtime.arms import show
from world2act_core.embodiment import load_embodiment
from world2act_core.runtime.chunks import Hold, Track
from world2act_core.runtime.commander import AFTER_RESET, Answer, Arrival, LockstepCommander, WallCommander
from world2act_core.runtime.safety import SafetyFilter
from world2act_core.types import ActionChunk

PANDA = load_embodiment("libero_panda")
STEP = PANDA.step_s


def lockstep(**options: Any) -> LockstepCommander:
    return LockstepCommander(PANDA, SafetyFilter(PANDA, state_timeout_s=math.inf), **options)


def wall(**options: Any) -> WallCommander:
    return WallCommander(PANDA, SafetyFilter(PANDA, **options))


def arrival(stamp: float, sequence: int = 1, episode: str = "e1", value: float = 0.1) -> Arrival:
    actions = np.full((4, 7), value, np.float32)
    return Arrival(ActionChunk(actions, stamp), sequence, episode, PANDA.name)


def tracked(answer: Answer | None) -> tuple[float, int, int]:
    assert answer is not None and isinstance(answer.command, Track)
    return answer.stamp, answer.command.chunk, answer.command.step


def test_each_state_gets_exactly_one_track() -> None:
    commander = lockstep()
    commander.on_prompt("e1", "skill", 0.0)
    show(commander, 0.0, 0.0)
    assert commander.poll(0.0) is None
    commander.on_chunk(arrival(0.0))
    assert tracked(commander.poll(0.0)) == (0.0, 1, 0)
    assert commander.poll(0.0) is None
    show(commander, STEP, 0.1)
    assert tracked(commander.poll(0.1)) == (STEP, 1, 1)


def test_prompt_state_and_chunk_may_come_in_any_order() -> None:
    commander = lockstep()
    commander.on_chunk(arrival(0.0))
    assert commander.poll(0.0) is None
    show(commander, 0.0, 0.0)
    assert commander.poll(0.0) is None
    commander.on_prompt("e1", "skill", 0.0)
    assert tracked(commander.poll(0.0)) == (0.0, 1, 0)


def test_a_chunk_that_overtakes_its_state_waits_for_it() -> None:
    commander = lockstep()
    commander.on_prompt("e1", "skill", 0.0)
    show(commander, 0.0, 0.0)
    commander.on_chunk(arrival(0.0))
    for step in range(4):
        show(commander, step * STEP, 0.0)
        tracked(commander.poll(0.0))
    commander.on_chunk(arrival(4 * STEP, sequence=2))
    assert commander.poll(0.0) is None
    show(commander, 4 * STEP, 0.0)
    assert tracked(commander.poll(0.0)) == (4 * STEP, 2, 0)


def test_a_repeated_state_gets_the_same_answer_again() -> None:
    """The simulator repeats itself when the answer was lost; the arm must not get the next action instead."""
    commander = lockstep()
    commander.on_prompt("e1", "skill", 0.0)
    show(commander, 0.0, 0.0)
    commander.on_chunk(arrival(0.0))
    first = commander.poll(0.0)
    show(commander, 0.0, 1.0)
    assert commander.poll(1.0) is first
    assert commander.poll(1.0) is None


def test_without_a_chunk_it_holds_after_the_patience_and_says_why() -> None:
    commander = lockstep(hold_after_s=1.0)
    commander.on_prompt("e1", "skill", 0.0)
    show(commander, 0.0, 10.0)
    assert commander.poll(10.9) is None
    held = commander.poll(11.0)
    assert held is not None and held.command == Hold("waiting for the first action chunk of episode e1")
    assert commander.poll(11.5) is None, "one HOLD per patience, not one per poll"
    assert commander.poll(12.0) is not None


def test_a_refused_chunk_is_said_at_once() -> None:
    commander = lockstep()
    commander.on_prompt("e1", "skill", 0.0)
    show(commander, 0.0, 0.0)
    commander.on_chunk(arrival(0.0, value=np.nan))
    held = commander.poll(0.0)
    assert held is not None and isinstance(held.command, Hold) and "holds nan" in held.command.reason


def test_a_state_left_over_from_the_last_episode_is_not_answered() -> None:
    """Simulated time begins anew at 0: the last state of episode 1 must not eat the first action of episode 2."""
    commander = lockstep()
    commander.on_prompt("e1", "skill", 0.0)
    commander.on_prompt("e1", "", 0.0)
    show(commander, 3.2, 0.0)
    commander.on_prompt("e2", "skill", 0.0)
    commander.on_chunk(arrival(3.2, episode="e2"))
    assert commander.poll(0.0) is None
    show(commander, 0.0, 0.0)
    commander.on_chunk(arrival(0.0, sequence=2, episode="e2"))
    assert tracked(commander.poll(0.0)) == (0.0, 2, 0)


def test_an_empty_prompt_stops_at_once() -> None:
    commander = lockstep()
    commander.on_prompt("e1", "skill", 0.0)
    show(commander, 0.0, 0.0)
    commander.on_chunk(arrival(0.0))
    tracked(commander.poll(0.0))
    commander.on_prompt("e1", "", 0.0)
    show(commander, STEP, 0.0)
    assert commander.poll(5.0) is None


def test_a_further_skill_of_the_same_episode_keeps_the_chunk() -> None:
    commander = lockstep()
    commander.on_prompt("e1", "reach", 0.0)
    show(commander, 0.0, 0.0)
    commander.on_chunk(arrival(0.0))
    tracked(commander.poll(0.0))
    commander.on_prompt("e1", "grasp", STEP)
    show(commander, STEP, 0.0)
    assert tracked(commander.poll(0.0)) == (STEP, 1, 1)


def test_wall_clock_commands_every_period() -> None:
    commander = wall()
    show(commander, 99.9, 0.0)
    commander.on_prompt("e1", "skill", 100.0)
    commander.on_chunk(arrival(100.0))
    answers = [commander.tick(100.05 + step * STEP, 0.05) for step in range(5)]
    assert [tracked(answer)[2] for answer in answers[:4]] == [0, 1, 2, 3]
    assert isinstance(answers[4].command, Hold)


def test_wall_clock_holds_without_a_measured_state_and_does_not_resume_the_old_chunk() -> None:
    commander = wall(state_timeout_s=0.5)
    assert commander.tick(0.0, 0.0).command == Hold("joint_positions on joint_states: nothing has been received")
    show(commander, 100.0, 0.0)
    commander.on_prompt("e1", "skill", 100.0)
    commander.on_chunk(arrival(100.0))
    tracked(commander.tick(100.05, 0.1))
    stale = commander.tick(100.8, 0.8)
    assert stale.command == Hold("joint_positions on joint_states: nothing received for 0.8 s")
    show(commander, 100.9, 0.9)
    after = commander.tick(100.9, 0.9).command
    assert isinstance(after, Hold) and after.reason.startswith("waiting for a chunk that answers an observation from")


def test_a_state_is_complete_when_every_topic_has_come_with_its_stamp() -> None:
    commander = lockstep()
    commander.on_prompt("e1", "skill", 0.0)
    commander.on_chunk(arrival(0.0))
    show(commander, 0.0, 0.0, topics=["joint_states"])
    assert commander.poll(0.0) is None, "where the hand is, is not known yet"
    show(commander, 0.0, 0.0, topics=["eef_pose"])
    assert tracked(commander.poll(0.0)) == (0.0, 1, 0)


def test_a_refused_command_counts_as_not_executed_and_ends_its_chunk() -> None:
    commander = wall()
    show(commander, 100.0, 0.0)
    commander.on_prompt("e1", "skill", 100.0)
    leaving = arrival(100.0)
    leaving.chunk.actions[1, :3] = [0.0, 0.0, -1.0]
    commander.on_chunk(leaving)
    tracked(commander.tick(100.05, 0.05))
    show(commander, 100.1, 0.1, eef_position=[0.0, 0.0, -0.08])
    held = commander.tick(100.1, 0.1).command
    assert isinstance(held, Hold) and "chunk 1, step 1: the end effector would go to z = -0.130 m" in held.reason
    show(commander, 100.15, 0.15)
    assert commander.tick(100.15, 0.15).command == held, "the rest of that chunk is not executed"
    commander.on_chunk(arrival(100.11, sequence=2))
    assert tracked(commander.tick(100.2, 0.2))[1:] == (2, 0), "the refused step must not be skipped as if executed"


def test_reset_never_replays_by_the_wall_clock() -> None:
    commander = wall()
    safety = commander._safety
    show(commander, 100.0, 0.0)
    commander.on_prompt("e1", "skill", 100.0)
    commander.on_chunk(arrival(100.0))
    tracked(commander.tick(100.05, 0.05))
    safety.stop("topic stop")
    commander.on_chunk(arrival(100.08, sequence=2))
    assert commander.tick(100.1, 0.1).command == Hold("stopped by topic stop; call ~/reset to go on")
    commander.reset(100.15)
    assert commander.tick(100.15, 0.15).command == Hold(AFTER_RESET)
    commander.on_chunk(arrival(100.14, sequence=3))
    late = commander.tick(100.2, 0.2).command
    assert isinstance(late, Hold) and "from before the last hold, stop or reset" in late.reason
    commander.on_chunk(arrival(100.16, sequence=4))
    assert tracked(commander.tick(100.25, 0.25))[1:] == (4, 0)


def test_an_episode_prompted_while_stopped_still_waits_for_news_after_the_reset() -> None:
    commander = wall()
    show(commander, 100.0, 0.0)
    commander._safety.stop("topic stop")
    commander.reset(100.2)
    commander.on_prompt("e2", "skill", 100.1)
    commander.on_chunk(arrival(100.11, episode="e2"))
    held = commander.tick(100.25, 0.25).command
    assert isinstance(held, Hold) and "before the episode began" in held.reason


def test_what_was_observed_just_before_the_node_became_active_is_not_executed() -> None:
    commander = WallCommander(PANDA, SafetyFilter(PANDA), since=100.0)
    show(commander, 100.0, 0.0)
    commander.on_prompt("e1", "skill", 90.0)
    commander.on_chunk(arrival(99.995))
    held = commander.tick(100.02, 0.02).command
    assert isinstance(held, Hold) and "from before the last hold, stop or reset" in held.reason


def test_in_lockstep_a_reset_waits_for_the_next_episode() -> None:
    commander = lockstep(hold_after_s=0.5)
    commander.on_prompt("e1", "skill", 0.0)
    show(commander, 0.0, 0.0)
    commander.on_chunk(arrival(0.0))
    commander._safety.stop("service ~/stop")
    held = commander.poll(1.0)
    assert held is not None and held.command == Hold("stopped by service ~/stop; call ~/reset to go on")
    commander.reset(0.0)
    commander.on_chunk(arrival(0.0))
    held = commander.poll(2.0)
    assert held is not None and isinstance(held.command, Hold), "time stood still: that chunk is from before the reset"
    commander.on_prompt("e2", "skill", 0.0)
    show(commander, 0.0, 3.0)
    commander.on_chunk(arrival(0.0, sequence=1, episode="e2"))
    assert tracked(commander.poll(3.0)) == (0.0, 1, 0)


def test_a_clock_that_was_set_back_an_hour_delays_nothing_by_an_hour() -> None:
    """Neither the running episode nor the activation before it may wait for the time at which they began."""
    commander = WallCommander(PANDA, SafetyFilter(PANDA), since=3700.0)
    show(commander, 3700.01, 0.0)
    commander.on_prompt("e1", "skill", 3700.01)
    commander.on_chunk(arrival(3700.01))
    assert tracked(commander.tick(3700.02, 0.02))[1:] == (1, 0)
    show(commander, 100.0, 0.05)
    held = commander.tick(100.0, 0.05).command
    assert isinstance(held, Hold) and held.reason.startswith("the clock went back by 3600.02 s"), "and not step 1"
    commander.on_chunk(arrival(3700.06, sequence=2))
    held = commander.tick(100.05, 0.1).command
    assert isinstance(held, Hold) and "in the future" in held.reason
    commander.on_chunk(arrival(100.06, sequence=3))
    assert tracked(commander.tick(100.1, 0.15))[1:] == (3, 0)
    commander.on_prompt("", "", 100.1)
    commander.on_prompt("e2", "skill", 100.11)
    commander.on_chunk(Arrival(arrival(100.12).chunk, 1, "e2", PANDA.name))
    assert tracked(commander.tick(100.15, 0.2))[1:] == (1, 0)


def test_a_clock_that_jumped_ahead_and_came_back_does_not_bar_chunks_for_ever() -> None:
    commander = wall()
    show(commander, 100.0, 0.0)
    commander.on_prompt("e1", "skill", 100.0)
    jumped = commander.tick(3700.0, 0.05).command
    assert isinstance(jumped, Hold) and "newest stamp is 3600.0 s old" in jumped.reason
    commander.on_chunk(arrival(100.05))
    assert isinstance(commander.tick(100.1, 0.1).command, Hold)
    commander.on_chunk(arrival(100.12, sequence=2))
    assert tracked(commander.tick(100.15, 0.15))[1:] == (2, 0)

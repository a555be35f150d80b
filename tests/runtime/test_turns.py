"""When the policy is asked next."""

from __future__ import annotations

import math

import pytest

from world2act_core.embodiment import load_embodiment
from world2act_core.errors import ContractError
from world2act_core.runtime.turns import ChunkTurns

PANDA = load_embodiment("libero_panda")
STEP = PANDA.step_s


def test_lockstep_wants_the_observation_one_chunk_later() -> None:
    turns = ChunkTurns(PANDA, lockstep=True)
    turns.start(0.0)
    turns.sent(1, 0.0, 0.0)
    assert turns.due == 4 * STEP


def test_a_process_that_saw_an_episode_insists_on_the_start_of_the_next() -> None:
    turns = ChunkTurns(PANDA, lockstep=True)
    turns.start(0.0)
    assert turns.wanted and turns.due is None, "a fresh process may have been restarted in the middle"
    turns.stop()
    turns.start(0.0)
    assert turns.due == 0.0


def test_wall_clock_waits_for_the_last_action_of_its_chunk() -> None:
    turns = ChunkTurns(PANDA, lockstep=False)
    turns.start(10.0)
    assert turns.due == 10.0
    turns.sent(1, 10.0, 10.1)
    assert not turns.wanted
    turns.track_seen(1, 2, 10.3)
    assert not turns.wanted
    turns.track_seen(1, 3, 10.35)
    assert turns.due == 10.35 + STEP


def test_a_hold_well_after_a_chunk_means_that_it_was_not_taken() -> None:
    turns = ChunkTurns(PANDA, lockstep=False)
    turns.start(10.0)
    turns.sent(1, 10.0, 10.1)
    turns.hold_seen(10.12)
    assert not turns.wanted, "that hold left before the chunk arrived"
    turns.hold_seen(10.3)
    assert turns.due == 10.3


def test_nothing_is_wanted_after_a_stop() -> None:
    turns = ChunkTurns(PANDA, lockstep=False)
    turns.start(10.0)
    turns.stop()
    turns.hold_seen(20.0)
    assert turns.due == math.inf


def test_an_ensemble_is_asked_again_at_once_for_a_newer_observation() -> None:
    turns = ChunkTurns(PANDA, lockstep=False, mode="ensemble")
    turns.start(10.0)
    turns.sent(1, 10.0, 10.12)
    assert turns.wanted and turns.due == 10.0 + STEP


def test_real_time_is_asked_so_early_that_the_answer_is_there_when_m_steps_left() -> None:
    turns = ChunkTurns(PANDA, lockstep=False, mode="real_time")
    turns.start(10.0)
    turns.sent(1, 10.0, 10.08)  # two steps of delay
    assert not turns.wanted
    turns.track_seen(1, 0, 10.1)
    assert not turns.wanted
    turns.track_seen(1, 1, 10.15)
    assert turns.due == 10.15, "steps 2 and 3 leave while it is computed"


def test_real_time_remembers_the_slowest_of_the_last_answers() -> None:
    turns = ChunkTurns(PANDA, lockstep=False, mode="real_time")
    turns.start(10.0)
    turns.sent(1, 10.0, 10.14)  # three steps
    for number in range(2, 7):
        assert not turns.wanted
        turns.track_seen(number - 1, 0, 10.0 + number)
        assert turns.wanted, "the slow answer is not forgotten yet"
        turns.sent(number, 10.0 + number, 10.04 + number)
    turns.track_seen(6, 1, 17.0)
    assert not turns.wanted, "the last five took one step each"


def test_only_open_loop_waits_for_an_arm_in_lockstep() -> None:
    with pytest.raises(ContractError, match="needs clock:=wall"):
        ChunkTurns(PANDA, lockstep=True, mode="ensemble")


def test_a_clock_that_was_set_back_does_not_put_the_next_question_off() -> None:
    turns = ChunkTurns(PANDA, lockstep=False)
    turns.start(3700.0)
    turns.clock(3700.0)
    assert turns.due == 3700.0, "a clock that goes on changes nothing"
    turns.clock(100.0)
    assert turns.due == 100.0
    turns.sent(1, 3700.0, 3700.1)
    turns.clock(100.0)
    turns.hold_seen(100.0 + 3 * STEP)
    assert turns.due == 100.0 + 3 * STEP, "the arm holds: think again, though the chunk was sent in the future"

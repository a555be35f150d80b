"""Chunks are executed open loop, refused whole, and never replaced by zeros."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from world2act_core.embodiment import load_embodiment
from world2act_core.runtime.chunks import ChunkScheduler, Hold, Track
from world2act_core.types import ActionChunk

PANDA = load_embodiment("libero_panda")
STEP = PANDA.step_s


def a_chunk(stamp: float = 0.0, value: float = 0.1) -> ActionChunk:
    return ActionChunk(np.full((PANDA.chunk_length, PANDA.action.size), value, np.float32), stamp)


def started(stamp: float = 0.0) -> ChunkScheduler:
    scheduler = ChunkScheduler(PANDA)
    scheduler.start("e1", stamp)
    return scheduler


def accept(
    scheduler: ChunkScheduler, chunk: ActionChunk, sequence: int = 1, episode: str = "e1", now: float = 0
) -> str:
    return scheduler.accept(chunk, sequence, episode, PANDA.name, now)


def test_steps_leave_in_order_and_then_it_holds() -> None:
    scheduler = started()
    chunk = a_chunk()
    chunk.actions[:, 0] = [0.1, 0.2, 0.3, 0.4]
    assert accept(scheduler, chunk) == ""
    commands = [scheduler.next(step * STEP) for step in range(5)]
    tracks = [command for command in commands if isinstance(command, Track)]
    assert [track.step for track in tracks] == [0, 1, 2, 3]
    np.testing.assert_array_equal([track.values for track in tracks], chunk.actions)
    assert isinstance(commands[4], Hold) and "chunk 1 is executed" in commands[4].reason


def test_hold_before_anything_came_says_why_and_has_no_values() -> None:
    """Regression of the field: a hold before the first command published zeros, a slam to the zero pose."""
    assert started().next(0.0) == Hold("waiting for the first action chunk of episode e1")
    assert ChunkScheduler(PANDA).next(0.0) == Hold("no episode is running")
    assert "values" not in {f.name for f in dataclasses.fields(Hold)}


def test_stop_drops_the_rest_so_that_resuming_sends_nothing_old() -> None:
    scheduler = started()
    accept(scheduler, a_chunk())
    scheduler.next(0.0)
    scheduler.stop("operator")
    assert scheduler.next(STEP) == Hold("operator")
    scheduler.start("e2", 1.0)
    assert isinstance(scheduler.next(1.0), Hold)


@pytest.mark.parametrize(
    ("chunk", "says"),
    [
        (
            ActionChunk(np.full((4, 7), np.nan, np.float32), 0.0),
            "chunk 1 was dropped: action chunk holds nan at step 0, x",
        ),
        (ActionChunk(np.zeros((3, 7), np.float32), 0.0), "shape (3, 7)"),
        (ActionChunk(np.zeros((4, 6), np.float32), 0.0), "shape (4, 6)"),
        (a_chunk(value=1.5), "x = 1.5 at step 0 lies outside -1..1"),
    ],
)
def test_a_bad_chunk_is_dropped_whole_and_the_hold_says_why(chunk: ActionChunk, says: str) -> None:
    scheduler = started()
    assert says in accept(scheduler, chunk)
    held = scheduler.next(0.0)
    assert isinstance(held, Hold) and says in held.reason


def test_one_nan_in_the_last_step_drops_the_first_steps_too() -> None:
    scheduler = started()
    chunk = a_chunk()
    chunk.actions[3, 6] = np.inf
    accept(scheduler, chunk)
    assert isinstance(scheduler.next(0.0), Hold)


def test_a_bad_chunk_leaves_the_good_one_before_it_running() -> None:
    scheduler = started()
    accept(scheduler, a_chunk())
    scheduler.next(0.0)
    accept(scheduler, a_chunk(stamp=STEP, value=9.0), sequence=2, now=STEP)
    left = [scheduler.next(STEP) for _ in range(3)]
    assert [command.step for command in left if isinstance(command, Track)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("episode", "stamp", "now", "says"),
    [
        ("e0", 5.0, 5.0, "is for episode e0, but e1 is running"),
        ("e1", 4.0, 5.0, "from before the episode began"),
        ("e1", 5.0, 8.0, "3.00 s old"),
        ("e1", 6.0, 5.0, "1.00 s in the future"),
    ],
)
def test_a_chunk_of_another_time_is_refused(episode: str, stamp: float, now: float, says: str) -> None:
    assert says in accept(started(5.0), a_chunk(stamp), episode=episode, now=now)


def test_a_chunk_for_another_robot_is_refused() -> None:
    assert "is for a ur5e" in started().accept(a_chunk(), 1, "e1", "ur5e", 0.0)


def test_a_chunk_without_an_episode_is_refused() -> None:
    assert "no episode is running" in accept(ChunkScheduler(PANDA), a_chunk())


def test_the_same_chunk_again_does_not_start_over() -> None:
    scheduler = started()
    accept(scheduler, a_chunk())
    scheduler.next(0.0)
    assert accept(scheduler, a_chunk()) == ""
    command = scheduler.next(STEP)
    assert isinstance(command, Track) and command.step == 1


def test_an_older_observation_cannot_replace_a_newer_one() -> None:
    scheduler = started()
    accept(scheduler, a_chunk(1.0), sequence=5, now=1.0)
    assert "not newer" in accept(scheduler, a_chunk(0.8), sequence=6, now=1.0)


def test_a_restarted_policy_that_counts_from_one_again_is_taken() -> None:
    scheduler = started()
    accept(scheduler, a_chunk(0.0), sequence=7)
    assert accept(scheduler, a_chunk(0.2), sequence=1, now=0.2) == ""


def test_slow_inference_skips_only_what_was_executed() -> None:
    """Regression of the field: 21 of 30 actions were skipped by elapsed time though the arm had not moved."""
    scheduler = started()
    accept(scheduler, a_chunk(0.0), now=0.0)
    for step in range(4):
        scheduler.next(step * STEP)
    # Observed after step 1 left; only steps 2 and 3 were executed since. Then 0.9 s of thinking while holding.
    accept(scheduler, a_chunk(2 * STEP), sequence=2, now=1.0)
    command = scheduler.next(1.0)
    assert isinstance(command, Track) and (command.chunk, command.step) == (2, 2)


def test_an_idle_arm_skips_nothing_however_late_the_chunk() -> None:
    scheduler = started()
    accept(scheduler, a_chunk(0.0), now=1.9)
    command = scheduler.next(1.9)
    assert isinstance(command, Track) and command.step == 0


def test_after_drop_only_a_newer_observation_counts() -> None:
    scheduler = started()
    accept(scheduler, a_chunk(0.0))
    scheduler.drop("no state")
    assert scheduler.next(STEP) == Hold("no state")
    accept(scheduler, a_chunk(0.0), sequence=1)
    assert isinstance(scheduler.next(STEP), Hold)
    assert accept(scheduler, a_chunk(0.2), sequence=2, now=0.2) == ""


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("chunk"), st.integers(0, 12), st.sampled_from([0.0, 0.5, 2.0, float("nan")])),
            st.tuples(st.just("next"), st.just(0), st.just(0.0)),
            st.tuples(st.sampled_from(["stop", "start", "drop"]), st.just(0), st.just(0.0)),
        ),
        max_size=40,
    )
)
def test_whatever_happens_it_tracks_only_accepted_finite_values(events: list[tuple[str, int, float]]) -> None:
    """Never zeros for want of something better: every tracked value was in an accepted chunk of the running episode."""
    scheduler = ChunkScheduler(PANDA, max_age_s=100)
    accepted: dict[int, ActionChunk] = {}
    now, episode = 0.0, 0
    for kind, back, value in events:
        now += STEP
        if kind == "chunk":
            sequence = len(accepted) + 1
            chunk = a_chunk(max(0.0, now - back * STEP), value)
            if not scheduler.accept(chunk, sequence, f"e{episode}", PANDA.name, now):
                accepted[sequence] = chunk
        elif kind == "next":
            command = scheduler.next(now)
            if isinstance(command, Track):
                np.testing.assert_array_equal(command.values, accepted[command.chunk].actions[command.step])
                assert np.isfinite(command.values).all() and np.abs(command.values).max() <= 1
        elif kind == "stop":
            scheduler.stop("stopped")
            accepted.clear()
        elif kind == "start":
            episode += 1
            scheduler.start(f"e{episode}", now)
            accepted.clear()
        else:
            scheduler.drop("dropped")

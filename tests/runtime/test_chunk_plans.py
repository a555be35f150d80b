"""Temporal ensembling and real-time chunking: nothing is replayed, skipped unexecuted, or jumps at a boundary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.embodiment.contracts import changed, written
from world2act_core.embodiment import load_embodiment
from world2act_core.errors import ContractError
from world2act_core.runtime.chunks import ENSEMBLE, MODES, OPEN_LOOP, REAL_TIME, ChunkScheduler, Hold, Track
from world2act_core.runtime.chunks.plans import soft_mask
from world2act_core.types import ActionChunk, Array

PANDA = load_embodiment("libero_panda")
STEP = PANDA.step_s


def started(mode: str) -> ChunkScheduler:
    scheduler = ChunkScheduler(PANDA, max_age_s=100, mode=mode)
    scheduler.start("e1", 0.0)
    return scheduler


def give(scheduler: ChunkScheduler, stamp: float, x: Array | list[float], sequence: int, now: float) -> str:
    """A chunk whose first dimension is ``x``; the others are 0."""
    actions = np.zeros((len(x), PANDA.action.size), np.float32)
    actions[:, 0] = x
    return scheduler.accept(ActionChunk(actions, stamp), sequence, "e1", PANDA.name, now)


def x(scheduler: ChunkScheduler, now: float) -> float:
    command = scheduler.next(now)
    assert isinstance(command, Track), command
    return float(command.values[0])


def test_open_loop_executes_m_steps_of_a_longer_chunk() -> None:
    scheduler = started(OPEN_LOOP)
    give(scheduler, 0.0, np.full(16, 0.5), 1, 0.0)
    commands = [scheduler.next(step * STEP) for step in range(5)]
    assert [isinstance(command, Track) for command in commands] == [True] * 4 + [False]


def test_an_ensemble_weighs_as_in_act() -> None:
    """exp(-m i), i = 0 for the oldest prediction, m = 0.01 (Zhao et al. 2023, algorithm 2)."""
    scheduler = started(ENSEMBLE)
    give(scheduler, 0.0, [0.1, 0.2, 0.3, 0.4], 1, 0.0)
    assert x(scheduler, 0.0) == pytest.approx(0.1)
    give(scheduler, STEP, [0.8, 0.8, 0.8, 0.8], 2, STEP)
    old, new = 1.0, np.exp(-0.01)
    assert x(scheduler, STEP) == pytest.approx((old * 0.2 + new * 0.8) / (old + new))
    assert x(scheduler, 2 * STEP) == pytest.approx((old * 0.3 + new * 0.8) / (old + new))
    x(scheduler, 3 * STEP)
    assert x(scheduler, 4 * STEP) == pytest.approx(0.8), "the oldest has nothing to say any more"
    assert isinstance(scheduler.next(5 * STEP), Hold)


def test_real_time_goes_on_with_the_old_chunk_until_the_new_one_is_there() -> None:
    scheduler = started(REAL_TIME)
    give(scheduler, 0.0, np.full(8, 0.2), 1, 0.0)
    assert [x(scheduler, step * STEP) for step in range(6)] == pytest.approx([0.2] * 6), "beyond M without a hold"
    # Observed when step 4 was about to leave: steps 4 and 5 were executed while it was computed.
    give(scheduler, 4 * STEP, np.linspace(0.1, 0.8, 8), 2, 6 * STEP)
    command = scheduler.next(6 * STEP)
    assert isinstance(command, Track) and (command.chunk, command.step) == (2, 2)


def test_the_blend_falls_from_the_old_plan_to_the_new_one() -> None:
    weights = soft_mask(6)
    assert 0.5 < weights[0] < 1 and 0 < weights[-1] < 0.2 and (np.diff(weights) < 0).all()
    scheduler = started(REAL_TIME)
    give(scheduler, 0.0, np.full(8, 0.0), 1, 0.0)
    scheduler.next(0.0)
    give(scheduler, STEP, np.full(8, 0.7), 2, STEP)
    blended = np.array([x(scheduler, step * STEP) for step in range(1, 9)])
    np.testing.assert_allclose(blended, [*(0.7 * (1 - soft_mask(7))), 0.7], atol=1e-6)


def test_a_plan_that_is_replaced_while_it_blends_hands_over_a_part_each_time() -> None:
    scheduler = started(REAL_TIME)
    give(scheduler, 0.0, np.full(8, -0.5), 1, 0.0)
    sent = [x(scheduler, 0.0)]
    for number in range(1, 12):
        give(scheduler, number * STEP, np.full(8, 0.5), number + 1, number * STEP)
        sent.append(x(scheduler, number * STEP))
    ahead = 0.5 - np.array(sent)
    assert ahead[1] == pytest.approx(soft_mask(7)[0], abs=1e-6)
    assert (np.diff(ahead) <= 0).all() and np.diff(ahead).min() > -0.4, "of a difference of 1"


def test_with_nothing_left_of_the_old_chunk_there_is_nothing_to_blend() -> None:
    """A horizon of exactly M, asked too late: the new chunk stands as it is, after a hold."""
    scheduler = started(REAL_TIME)
    give(scheduler, 0.0, np.full(4, 0.0), 1, 0.0)
    assert [isinstance(scheduler.next(step * STEP), Track) for step in range(5)] == [True] * 4 + [False]
    give(scheduler, 4 * STEP, np.full(4, 0.9), 2, 5 * STEP)
    assert x(scheduler, 5 * STEP) == pytest.approx(0.9)


def test_modes_that_average_refuse_quaternions_and_unknown_names(tmp_path: Path) -> None:
    content = changed(("action", "units"), ["quaternion_xyzw"] * 7)
    robot = load_embodiment(written(content, tmp_path))
    for mode in (ENSEMBLE, REAL_TIME):
        with pytest.raises(ContractError, match="quaternions"):
            ChunkScheduler(robot, mode=mode)
    with pytest.raises(ContractError, match="there are open_loop, ensemble, real_time"):
        ChunkScheduler(PANDA, mode="closed_loop")


events = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.just(0), st.just(0)),
        st.tuples(st.just("chunk"), st.integers(0, 9), st.integers(4, 12)),
        st.tuples(st.sampled_from(["drop", "reject"]), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(MODES), events)
def test_order_no_replay_and_no_skip_beyond_what_was_executed(mode: str, happened: list[tuple[str, int, int]]) -> None:
    scheduler, now, sequence = started(mode), 1.0, 0
    executed: list[float] = []
    stamps: dict[int, float] = {}
    last, fresh = (0, -1), 0
    for kind, back, horizon in happened:
        if kind == "chunk":
            sequence += 1
            stamps[sequence] = now - back * STEP
            if not give(scheduler, stamps[sequence], np.zeros(horizon), sequence, now):
                fresh = sequence
            continue
        now += STEP
        if kind == "drop":
            scheduler.drop("dropped", after=now)
            fresh = 0
            continue
        command = scheduler.next(now)
        if kind == "reject":
            scheduler.reject("rejected", now)
            fresh = 0
            continue
        if not isinstance(command, Track):
            continue
        assert (command.chunk, command.step) > last, "replayed, or out of order"
        assert stamps[command.chunk] == command.stamp
        if command.chunk == fresh and command.chunk != last[0]:
            done = sum(stamp >= command.stamp - 0.25 * STEP for stamp in executed)
            assert command.step == done, "skipped what was never executed, or did not skip what was"
        last = (command.chunk, command.step)
        executed.append(now)


@settings(max_examples=200, deadline=None)
@given(
    delay=st.integers(0, 3),
    between=st.integers(1, 4),
    starts=st.lists(st.floats(-0.5, 0.5, width=32), min_size=2, max_size=2),
    slope=st.floats(-0.03, 0.03),
)
def test_real_time_chunks_join_without_a_jump(delay: int, between: int, starts: list[float], slope: float) -> None:
    """What the blend promises: one step changes by the plans' own steps and by the part of their difference that the
    soft mask hands over in that step, never by all of it."""
    scheduler, horizon, now = started(REAL_TIME), 12, 1.0
    left = horizon - delay - between - delay  # of the old chunk when the new one arrives
    handed_over = np.abs(np.diff(np.concatenate([[1.0], soft_mask(left), [0.0]]))).max()
    difference = max(abs(a - b) for a in starts for b in starts) + 2 * horizon * abs(slope)
    sent: list[float] = []

    def tick() -> None:
        nonlocal now
        sent.append(x(scheduler, now))
        now += STEP

    for number, start in enumerate(starts):
        observed = now
        for _ in range(delay if number else 0):
            tick()
        give(scheduler, observed, start + slope * np.arange(horizon), number + 1, now)
        for _ in range(between + (0 if number else delay)):
            tick()
    assert np.abs(np.diff(sent)).max(initial=0) <= abs(slope) + handed_over * difference + 1e-5
    assert handed_over < 1

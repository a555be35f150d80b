"""Grasps and releases of any object, and what holds for every recording."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.skills.contact_examples import CONTACT, GRASP, RELEASE, See, either, kinds, segment, steps
from tests.skills.streams_examples import EMPTY, OPEN, Tape, pick_and_place, trembling, without_commands
from world2act_core.errors import ContractError


@either
@pytest.mark.parametrize("onto", [0.0035, 0.03, 0.066])
def test_a_rim_a_box_and_a_soup_can_are_held_from_where_the_fingers_stop_until_they_start(
    onto: float, seen: See
) -> None:
    tape = Tape()
    grasp, release = pick_and_place(tape, onto)
    found = segment(seen(tape.streams()))
    assert kinds(found) == [GRASP, RELEASE]
    assert np.abs(np.subtract(steps(found), (grasp, release))).max() <= 1


@either
@pytest.mark.parametrize("step_s", [0.1, 0.02, 0.01])
def test_the_control_rate_does_not_matter(step_s: float, seen: See) -> None:
    tape = Tape(step_s=step_s)
    grasp, release = pick_and_place(tape)
    found = segment(seen(tape.streams()))
    assert kinds(found) == [GRASP, RELEASE]
    assert np.abs(np.subtract(steps(found), (grasp, release))).max() * step_s <= 0.1


@either
@pytest.mark.parametrize("seed", range(5))
def test_trembling_fingers_and_wrong_samples_change_nothing(seed: int, seen: See) -> None:
    tape = Tape()
    grasp, release = pick_and_place(tape)
    found = segment(seen(trembling(tape.streams(), seed)))
    assert kinds(found) == [GRASP, RELEASE]
    assert np.abs(np.subtract(steps(found), (grasp, release))).max() <= 2


@either
def test_a_gripper_that_reports_every_other_step_does_not_stop_in_between(seen: See) -> None:
    tape = Tape()
    grasp, release = pick_and_place(tape)
    streams = tape.streams()
    stale = streams.width[np.arange(len(streams.width)) // 2 * 2]
    found = segment(seen(replace(streams, width=stale)))
    assert np.abs(np.subtract(steps(found), (grasp, release))).max() <= 2


@either
@pytest.mark.parametrize("width", [0.0, 0.04])
def test_a_gripper_that_starts_closed_has_grasped_nothing(width: float, seen: See) -> None:
    tape = Tape(width)
    tape.open()
    grasp, release = pick_and_place(tape)
    assert steps(segment(seen(tape.streams()))) == pytest.approx([grasp, release], abs=1)


@either
def test_a_gripper_that_starts_half_closed_may_close_at_once(seen: See) -> None:
    tape = Tape(0.04)
    grasp, release = pick_and_place(tape, onto=0.01)
    assert steps(segment(seen(tape.streams()))) == pytest.approx([grasp, release], abs=1)


@either
def test_a_pause_on_the_way_is_no_event(seen: See) -> None:
    tape = Tape()
    tape.move(0, 0, -0.1)
    tape.wait(30)
    tape.move(0, 0, -0.1)
    tape.close(0.03)
    tape.move(0, 0, 0.15)
    tape.wait(40)
    tape.move(0, 0.2, -0.15)
    tape.open()
    tape.wait(40)
    tape.move(0, 0, 0.2)
    assert kinds(segment(seen(tape.streams()))) == [GRASP, RELEASE]


@either
@pytest.mark.parametrize("missed", [0.03, EMPTY])
def test_a_grasp_that_is_repeated_on_the_spot_counts_once(missed: float, seen: See) -> None:
    tape = Tape()
    tape.move(0, 0, -0.2)
    tape.close(missed)
    tape.move(0, 0.01, 0, speed=0.02)
    tape.open()
    tape.move(0, 0.02, 0.01)
    tape.move(0, 0, -0.01)
    grasp = tape.close(0.03)
    tape.move(0, 0.2, 0.1)
    release = tape.open()
    found = segment(seen(tape.streams()))
    assert steps(found) == pytest.approx([grasp, release], abs=1)
    assert found.notes == {"regrasp": 1}


@either
def test_an_object_dropped_on_the_way_and_fetched_again_is_one_cycle(seen: See) -> None:
    tape = Tape()
    tape.move(0, 0, -0.2)
    tape.close(0.03)
    tape.move(0, 0, 0.15)
    tape.move(0, 0.1, 0)
    tape.open()
    tape.wait(10)
    tape.move(0.03, 0.03, -0.15)
    grasp = tape.close(0.03)
    tape.move(0, 0.2, 0.1)
    release = tape.open()
    tape.move(0, 0, 0.1)
    found = segment(seen(tape.streams()))
    assert steps(found) == pytest.approx([grasp, release], abs=1)
    assert found.notes == {"drop": 1}


@either
def test_an_object_that_slips_out_and_is_fetched_again_is_one_cycle(seen: See) -> None:
    tape = Tape()
    tape.move(0, 0, -0.2)
    tape.close(0.03)
    tape.wait(20)
    tape.move(0, 0.1, 0.1)
    tape.slip()
    tape.move(0, 0.03, 0)
    tape.open()
    tape.move(0, 0, -0.1)
    grasp = tape.close(0.07)  # the other way round
    tape.move(0, 0.2, 0.1)
    release = tape.open()
    found = segment(seen(tape.streams()))
    assert steps(found) == pytest.approx([grasp, release], abs=1)
    assert found.notes == {"slip": 1}


@either
def test_an_object_that_slips_out_for_good_is_released_where_it_slips(seen: See) -> None:
    tape = Tape()
    tape.move(0, 0, -0.2)
    grasp = tape.close(0.03)
    tape.wait(20)
    tape.move(0, 0.2, 0.1)
    lost = tape.slip()
    tape.move(0, 0.2, 0.1)
    assert steps(segment(seen(tape.streams()))) == pytest.approx([grasp, lost], abs=1)


@either
def test_two_objects_are_two_cycles_even_if_equally_wide(seen: See) -> None:
    tape = Tape()
    first = pick_and_place(tape)
    tape.move(0.1, -0.4, 0)
    second = pick_and_place(tape)
    found = segment(seen(tape.streams()))
    assert steps(found) == pytest.approx([*first, *second], abs=1)
    assert found.notes == {}


@either
def test_a_recording_that_ends_in_the_grip_ends_with_a_cut_release(seen: See) -> None:
    tape = Tape()
    tape.move(0, 0, -0.2)
    tape.close(0.03)
    last = tape.move(0, 0.2, 0.1)
    release = segment(seen(tape.streams())).events[-1]
    assert (release.kind, release.step, release.cut) == (RELEASE, last, True)


@either
def test_a_hand_that_corrects_its_aim_above_an_object_touches_nothing(seen: See) -> None:
    tape = Tape()
    tape.move(0.1, 0, -0.17)
    tape.move(0, 0.04, 0.08)
    tape.move(0, 0, -0.11)
    grasp = tape.close(0.03)
    tape.move(0, 0.2, 0.1)
    release = tape.open()
    assert steps(segment(seen(tape.streams()))) == pytest.approx([grasp, release], abs=1)


@either
def test_a_recording_that_ends_with_the_grasp_has_it(seen: See) -> None:
    tape = Tape()
    tape.move(0, 0, -0.2)
    grasp = tape.close(0.03)
    assert steps(segment(seen(tape.streams()))) == pytest.approx([grasp, tape.step], abs=1)


@either
def test_a_knob_turned_in_the_grip_is_a_cycle(seen: See) -> None:
    tape = Tape()
    tape.move(0.2, 0, -0.2)
    grasp = tape.close(0.02)
    tape.turn(1.2)
    release = tape.open()
    tape.move(0, 0, 0.1)
    assert steps(segment(seen(tape.streams()))) == pytest.approx([grasp, release], abs=1)


def test_fingers_levered_apart_by_what_is_set_down_have_not_let_go() -> None:
    tape = Tape()
    tape.move(0, 0, -0.2)
    grasp = tape.close(0.0035)
    tape.move(0, 0.2, 0.1)
    tape.squeeze(0.03)
    tape.squeeze(0.0035)
    tape.move(0, 0.1, 0)
    release = tape.open()
    assert steps(segment(tape.streams())) == pytest.approx([grasp, release], abs=1)


def test_a_hand_that_stands_still_does_nothing() -> None:
    tape = Tape()
    tape.wait(50)
    assert segment(tape.streams()).events == ()


def test_a_hand_that_is_carried_about_by_its_base_does_nothing() -> None:
    """As a drive of RoboCasa: the hand travels metres in the room and keeps still on its robot."""
    tape = Tape()
    tape.move(2.0, 0.5, 0)
    driven = tape.streams()
    still = replace(driven, reach=np.full_like(driven.position, 0.2))
    assert kinds(segment(driven)) == [CONTACT]
    assert segment(still).events == ()
    assert kinds(segment(replace(driven, reach=driven.position))) == [CONTACT]


@pytest.mark.parametrize("count", [0, 1])
@either
def test_recordings_of_no_step_and_of_one_have_no_events(count: int, seen: See) -> None:
    tape = Tape()
    tape.wait(count)
    assert segment(seen(tape.streams())).events == ()


@pytest.mark.parametrize("name", ["width", "position", "orientation"])
def test_a_number_that_is_not_finite_is_refused_with_stream_and_step(name: str) -> None:
    tape = Tape()
    pick_and_place(tape)
    streams = tape.streams()
    broken = getattr(streams, name).copy()
    broken[7] = np.nan
    with pytest.raises(ContractError, match=rf"{name} .*step 7"):
        segment(replace(streams, **{name: broken}))


ACTIONS = st.one_of(
    st.tuples(st.just("move"), *[st.floats(-0.2, 0.2)] * 3),
    st.tuples(st.just("close"), st.floats(0.0, OPEN)),
    st.tuples(st.just("open"), st.floats(0.0, OPEN)),
    st.tuples(st.just("squeeze"), st.floats(0.0, OPEN)),
    st.tuples(st.just("turn"), st.floats(-1, 1)),
    st.tuples(st.just("wait"), st.integers(0, 30)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACTIONS, max_size=20), st.sampled_from([0.0, 0.04, OPEN]), st.booleans(), st.integers(0, 99))
def test_whatever_a_hand_does_events_are_ordered_and_alternate_within_the_recording(
    actions: list[tuple[str, float]], width: float, told: bool, seed: int
) -> None:
    tape = Tape(width)
    for name, *arguments in actions:
        getattr(tape, name)(*arguments)
    streams = trembling(tape.streams(), seed) if seed % 2 else tape.streams()
    found = segment(streams if told else without_commands(streams)).events
    assert [event.step for event in found] == sorted(event.step for event in found)
    assert all(0 <= event.begin <= event.step <= streams.steps for event in found)
    holding = [event.kind for event in found if event.kind is not CONTACT]
    assert holding == [GRASP, RELEASE] * (len(holding) // 2)
    held = False
    for event in found:
        assert not (held and event.kind is CONTACT)
        held = event.kind is GRASP or (held and event.kind is not RELEASE)

"""The paper's rule, made robust."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.skills.streams_examples import EMPTY, OPEN, Tape, pick_and_place, trembling
from world2act_core.errors import ContractError
from world2act_core.skills.gripper import GripperSegmenter
from world2act_core.skills.types import EventKind, Segmentation, Streams

GRASP, RELEASE = EventKind.GRASP, EventKind.RELEASE


def segment(streams: Streams) -> Segmentation:
    return GripperSegmenter().segment(streams)


def kinds(segmentation: Segmentation) -> list[EventKind]:
    return [event.kind for event in segmentation.events]


def test_contact_is_from_delta_reaching_five_centimetres_to_delta_falling_below() -> None:
    tape = Tape()
    pick_and_place(tape, onto=0.01)
    streams = tape.streams()
    in_contact = np.flatnonzero(OPEN - streams.width >= 0.05)
    grasp, release = segment(streams).events
    assert (grasp.kind, grasp.step) == (GRASP, in_contact[0])
    assert (release.kind, release.step) == (RELEASE, in_contact[-1] + 1)
    assert streams.width[grasp.begin] == OPEN


def test_delta_is_what_it_is_set_to() -> None:
    tape = Tape()
    pick_and_place(tape, onto=0.066)
    assert segment(tape.streams()).events == ()
    assert kinds(GripperSegmenter(delta_m=0.01).segment(tape.streams())) == [GRASP, RELEASE]


@pytest.mark.parametrize("seed", range(5))
def test_chatter_makes_no_events(seed: int) -> None:
    tape = Tape()
    pick_and_place(tape, onto=0.03)  # delta is exactly Delta: the noise crosses it all the time
    found = segment(trembling(tape.streams(), seed))
    assert kinds(found) == [GRASP, RELEASE]


def test_contacts_and_gaps_of_a_tenth_of_a_second_are_chatter_and_noted() -> None:
    tape = Tape()
    grasp, release = pick_and_place(tape, onto=0.01)
    streams = tape.streams()
    width = streams.width.copy()
    width[grasp + 20 : grasp + 22] = OPEN  # while carrying
    width[release + 12 : release + 14] = 0.01  # after letting go
    found = segment(replace(streams, width=width))
    assert [event.step for event in found.events] == [event.step for event in segment(streams).events]
    assert found.notes == {"chatter": 2}


def test_a_hand_is_free_again_only_when_delta_is_well_below_what_makes_a_contact() -> None:
    tape = Tape()
    tape.close(0.01)
    first = tape.step
    tape.move(0, 0.1, 0)
    tape.squeeze(0.045)
    tape.wait(10)
    tape.squeeze(0.01)
    tape.move(0, 0.1, 0)
    tape.open()
    grasp, _ = segment(tape.streams()).events
    assert grasp.step < first


@pytest.mark.parametrize("width", [0.0, 0.04])
def test_a_gripper_that_starts_closed_has_grasped_nothing(width: float) -> None:
    tape = Tape(width)
    tape.move(0, 0.1, 0)
    tape.open()
    opened = tape.step
    pick_and_place(tape, onto=0.01)
    found = segment(tape.streams())
    assert kinds(found) == [GRASP, RELEASE]
    assert found.events[0].step > opened


def test_a_gripper_that_stays_closed_has_done_nothing() -> None:
    tape = Tape(0.0)
    tape.move(0, 0.3, 0)
    assert segment(tape.streams()).events == ()


def test_a_grasp_that_is_repeated_on_the_spot_counts_once() -> None:
    tape = Tape()
    tape.close(0.01)
    tape.open()
    tape.wait(10)
    missed = tape.step
    tape.close(0.01)
    tape.move(0, 0.2, 0.1)
    tape.open()
    found = segment(tape.streams())
    assert (kinds(found), found.notes) == ([GRASP, RELEASE], {"regrasp": 1})
    assert found.events[0].step > missed


def test_an_object_dropped_and_fetched_again_is_one_cycle() -> None:
    tape = Tape()
    tape.close(0.01)
    tape.move(0, 0.1, 0.1)
    tape.open()
    tape.move(0, 0, -0.1)
    dropped = tape.step
    tape.close(0.01)
    tape.move(0, 0.2, 0.1)
    tape.open()
    found = segment(tape.streams())
    assert (kinds(found), found.notes) == ([GRASP, RELEASE], {"drop": 1})
    assert found.events[0].step > dropped


def test_two_objects_are_two_cycles() -> None:
    tape = Tape()
    pick_and_place(tape, onto=0.01)
    tape.move(0.1, -0.4, 0)
    pick_and_place(tape, onto=0.01)
    assert kinds(segment(tape.streams())) == [GRASP, RELEASE] * 2


def test_a_recording_that_ends_in_contact_ends_with_a_cut_release() -> None:
    tape = Tape()
    tape.close(0.01)
    last = tape.move(0, 0.2, 0)
    release = segment(tape.streams()).events[-1]
    assert (release.kind, release.step, release.cut) == (RELEASE, last, True)


def test_a_fist_passes_for_a_grasp_which_is_what_the_other_segmenter_is_for() -> None:
    tape = Tape()
    tape.close(EMPTY)
    tape.move(0, 0.2, 0)
    tape.open()
    assert kinds(segment(tape.streams())) == [GRASP, RELEASE]


@pytest.mark.parametrize("steps", [0, 1])
def test_recordings_of_no_step_and_of_one_have_no_events(steps: int) -> None:
    tape = Tape()
    tape.wait(steps)
    assert segment(tape.streams()).events == ()


def test_a_width_that_is_not_finite_is_refused_with_its_step() -> None:
    tape = Tape()
    pick_and_place(tape)
    streams = tape.streams()
    width = streams.width.copy()
    width[7] = np.nan
    with pytest.raises(ContractError, match="width is nan at step 7"):
        segment(replace(streams, width=width))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats(0, OPEN), min_size=1, max_size=60), st.integers(1, 8), st.integers(0, 99))
def test_whatever_the_fingers_do_events_are_ordered_and_alternate_within_the_recording(
    levels: list[float], each: int, seed: int
) -> None:
    width = np.repeat(levels, each)
    position = np.random.default_rng(seed).uniform(0, 0.3, (len(width), 3))
    orientation = np.tile([1.0, 0, 0, 0], (len(width), 1))
    found = segment(Streams(width, OPEN, position, orientation, 0.05)).events
    assert [event.kind for event in found] == [GRASP, RELEASE] * (len(found) // 2)
    assert [event.step for event in found] == sorted(event.step for event in found)
    assert all(0 <= event.begin <= event.step < len(width) for event in found)

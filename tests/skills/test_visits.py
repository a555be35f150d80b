"""Skills that hold nothing: pushing, turning, shutting, with the open hand or with the fist."""

from __future__ import annotations

import pytest

from tests.skills.contact_examples import CONTACT, GRASP, RELEASE, See, either, kinds, segment, steps
from tests.skills.streams_examples import EMPTY, OPEN, Tape, pick_and_place


def push_plate(tape: Tape) -> int:
    """Down onto the plate, along, up: the step at which the hand leaves it."""
    tape.move(0, 0, -0.2)
    tape.move(0, 0.2, 0, speed=0.08)
    left = tape.step
    tape.move(0, 0, 0.15)
    return left


@either
def test_a_plate_pushed_with_the_open_hand_is_a_contact_that_ends_when_the_hand_leaves(seen: See) -> None:
    tape = Tape()
    left = push_plate(tape)
    (contact,) = segment(seen(tape.streams())).events
    assert (contact.kind, contact.cut) == (CONTACT, False)
    assert contact.step == pytest.approx(left, abs=2)
    assert 0 < contact.begin < left


@either
def test_a_hand_that_goes_to_and_fro_above_what_it_has_left_does_not_touch_it(seen: See) -> None:
    tape = Tape()
    left = push_plate(tape)
    tape.move(0, 0.1, 0)
    tape.move(0, -0.1, 0)
    (contact,) = segment(seen(tape.streams())).events
    assert contact.step == pytest.approx(left, abs=2)


@either
def test_a_fist_that_pushes_holds_nothing(seen: See) -> None:
    tape = Tape()
    tape.close(EMPTY)
    tape.move(0.1, 0, 0)
    left = push_plate(tape)
    tape.open()
    found = segment(seen(tape.streams()))
    assert (kinds(found), found.notes) == ([CONTACT], {"empty": 1})
    assert found.events[0].step == pytest.approx(left, abs=2)


def test_fingers_pushed_apart_or_together_from_outside_grasp_and_release_nothing() -> None:
    for width, squeezed in ((OPEN, 0.073), (EMPTY, 0.015)):
        tape = Tape()
        if width == EMPTY:
            tape.close(EMPTY)
        tape.move(0.1, 0, 0)
        tape.move(0, 0, -0.2)
        tape.squeeze(squeezed)
        tape.move(0, 0.2, 0, speed=0.08)
        tape.squeeze(width)
        tape.move(0, 0, 0.15)
        assert kinds(segment(tape.streams())) == [CONTACT]


@either
@pytest.mark.parametrize("swing_below", [False, True])
def test_a_drawer_pushed_shut_ends_where_the_hand_backs_off(swing_below: bool, seen: See) -> None:
    tape = Tape()
    if swing_below:
        tape.move(0, 0, -0.1)
        tape.move(0, 0.15, 0)  # to the front of the drawer
    else:
        tape.move(0, 0.15, 0)
        tape.move(0, 0, -0.1)
    left = tape.move(0, -0.18, 0, speed=0.1)
    tape.move(0, 0.1, 0.02)
    (contact,) = segment(seen(tape.streams())).events
    assert contact.step == pytest.approx(left, abs=2)


@either
def test_a_knob_turned_on_the_spot_is_a_contact(seen: See) -> None:
    tape = Tape()
    tape.move(0.2, 0, -0.2)
    left = tape.turn(1.2)
    tape.move(0, 0, 0.1)
    (contact,) = segment(seen(tape.streams())).events
    assert contact.step == pytest.approx(left, abs=2)


@either
def test_a_second_push_at_the_same_thing_belongs_to_the_first(seen: See) -> None:
    tape = Tape()
    push_plate(tape)
    left = push_plate(tape)
    (contact,) = segment(seen(tape.streams())).events
    assert contact.step == pytest.approx(left, abs=2)


@either
def test_a_stove_turned_on_before_and_a_drawer_shut_after_carrying_are_contacts(seen: See) -> None:
    tape = Tape()
    tape.move(-0.3, 0, 0)
    stove = push_plate(tape)
    tape.move(0.3, -0.3, 0.05)
    grasp, release = pick_and_place(tape)
    tape.move(0.1, 0, 0)
    tape.move(0, 0, -0.15)
    drawer = tape.move(0, -0.15, 0, speed=0.1)
    tape.move(0, 0.1, 0)
    found = segment(seen(tape.streams()))
    assert kinds(found) == [CONTACT, GRASP, RELEASE, CONTACT]
    assert steps(found) == pytest.approx([stove, grasp, release, drawer], abs=2)


@either
def test_a_drawer_still_being_shut_when_the_recording_ends_is_a_cut_contact(seen: See) -> None:
    tape = Tape()
    pick_and_place(tape)
    tape.move(0.1, 0, 0)
    tape.move(0, 0, -0.15)
    last = tape.move(0, -0.15, 0, speed=0.1)
    contact = segment(seen(tape.streams())).events[-1]
    assert (contact.kind, contact.step, contact.cut) == (CONTACT, last, True)


@either
def test_a_drawer_that_takes_two_pushes_of_which_the_last_is_cut_is_one_contact(seen: See) -> None:
    tape = Tape()
    pick_and_place(tape)
    tape.move(0.1, 0, 0)
    tape.move(0, 0, -0.15)
    tape.move(0, -0.08, 0, speed=0.1)
    tape.move(0, 0, 0.1)
    tape.move(0, 0, -0.1)
    last = tape.move(0, -0.08, 0, speed=0.1)
    contacts = segment(seen(tape.streams())).events[2:]
    assert [(event.kind, event.step, event.cut) for event in contacts] == [(CONTACT, last, True)]


@either
def test_something_was_done_where_nothing_was_held_and_the_hand_moved(seen: See) -> None:
    tape = Tape()
    last = tape.move(0.1, 0, -0.2)
    (contact,) = segment(seen(tape.streams())).events
    assert (contact.kind, contact.step, contact.cut) == (CONTACT, last, True)

"""What really happened in a demonstration, from contacts: the yardstick of segmentation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from world2act_core.simulators.privileged import HAND, LEFT, RIGHT
from world2act_core.skills.truth import Sighting, Witness, true_events
from world2act_core.skills.types import Event, EventKind

BOWL, DRAWER = "bowl_main", "cabinet_top"


class Nobody:
    """Stands in for an actor: these tests write the sightings themselves."""


def watched(sightings: list[Sighting], turning: frozenset[str] = frozenset()) -> Witness:
    witness = Witness(Nobody())  # type: ignore[arg-type]
    witness.sightings, witness.turning = sightings, set(turning)
    return witness


def still(steps: int, width: float = 0.08) -> list[Sighting]:
    places = {BOWL: np.zeros(3), DRAWER: np.zeros(1)}
    return [Sighting({}, dict(places), width, np.zeros(3)) for _ in range(steps)]


def carry(sightings: list[Sighting], begin: int, end: int, metres: float = 0.2) -> None:
    """Fingers close in the ten steps before ``begin``, hold the bowl until ``end`` and move it."""
    for step in range(begin - 10, len(sightings)):
        width = 0.08 - 0.007 * min(10, step - begin + 10) if step < end else 0.08
        held = begin <= step < end
        along = np.clip((step - begin) / (end - begin), 0, 1) * metres
        before = sightings[begin].places[BOWL][0] if step > begin else 0.0
        sightings[step] = replace(
            sightings[step],
            width=width,
            touched={BOWL: {LEFT, RIGHT}} if held else {},
            places={**sightings[step].places, BOWL: np.array([before + along, 0, 0]) if step >= begin else np.zeros(3)},
        )


def test_a_carried_object_is_a_grasp_and_a_release() -> None:
    sightings = still(60)
    carry(sightings, 20, 50)
    assert true_events(watched(sightings)) == [
        Event(EventKind.GRASP, 20, 10),
        Event(EventKind.RELEASE, 50, 50),
    ]


def test_the_flicker_of_a_settling_grip_ends_no_hold() -> None:
    sightings = still(60)
    carry(sightings, 20, 50)
    for step in (24, 25, 26):
        sightings[step] = replace(sightings[step], touched={})
    assert [event.step for event in true_events(watched(sightings))] == [20, 50]


def test_a_hold_that_carried_nothing_is_none() -> None:
    sightings = still(80)
    carry(sightings, 45, 75)
    for step in range(15, 20):
        sightings[step] = replace(sightings[step], touched={BOWL: {LEFT, RIGHT}})
    assert [event.step for event in true_events(watched(sightings))] == [45, 75]


def test_a_drawer_pushed_with_the_fist_is_a_contact() -> None:
    sightings = still(40, width=0.0)
    for step in range(10, 40):
        moved = np.array([-0.005 * min(step - 10, 20)])
        touched: dict[str, set[str]] = {DRAWER: {LEFT, RIGHT}} if step < 32 else {}
        sightings[step] = replace(sightings[step], touched=touched, places={BOWL: np.zeros(3), DRAWER: moved})
    assert true_events(watched(sightings)) == [Event(EventKind.CONTACT, 32, 10)]


def test_what_is_brushed_in_passing_is_no_event() -> None:
    sightings = still(30)
    for step in range(10, 14):
        nudged = {BOWL: np.array([0.002 * (step - 9), 0, 0]), DRAWER: np.zeros(1)}
        sightings[step] = replace(sightings[step], touched={BOWL: {HAND}}, places=nudged)
    assert true_events(watched(sightings)) == []


def test_a_hold_that_the_recording_cuts_off_says_so() -> None:
    sightings = still(40)
    carry(sightings, 20, 60)
    assert true_events(watched(sightings))[-1] == Event(EventKind.RELEASE, 39, 39, cut=True)

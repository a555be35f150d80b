"""When things really happened in a demonstration: read from contacts and object states, not from the robot's streams.

A yardstick for skill segmentation. For every movable object and every jointed part (drawer, knob, door) that the robot
has moved, the truth is

- *held*, if both fingers touched it after closing on it: a grasp at the first step of the last hold in which it was
  carried, a release at the first step behind that hold;
- *moved by contact* otherwise: a contact that ends at the first step at which the robot no longer touches it.

So a missed grasp, a grasp that is opened again and an object that was dropped and fetched belong to the cycle in which
the object got where it should: one object, one skill.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.privileged import LEFT, RIGHT, Scene
from world2act_core.simulators.protocol import Simulator
from world2act_core.simulators.rollout import Actor, Moment
from world2act_core.skills.types import Event, EventKind
from world2act_core.types import Array, Skill

CARRIED_M, PUSHED_M, TURNED_RAD = 0.03, 0.03, 0.2
"""Less than this is no deed: an object brushed in passing, a hold that was opened again at once."""
FLICKER_STEPS = 5
"""Contacts of a rigid-body solver flicker while a grip settles; a shorter gap does not end a touch."""
CLOSING_STEPS, CLOSING_M = 10, 0.005
"""Fingers that narrowed by so much in so many steps before both touched have closed on the thing."""


@dataclass(frozen=True)
class Sighting:
    """One control step: who touches what, and where everything is.

    Attributes:
        touched: part → the robot's parts that touch it, see ``Scene.touched``.
        places: part → position ``(3,)`` in metres, or joint value ``(1,)`` in metres or radians.
        width: metres between the fingers.
        hand: ``(3,)`` metres, the end effector.
    """

    touched: dict[str, set[str]]
    places: dict[str, Array]
    width: float
    hand: Array


class Witness:
    """Another actor, watched: after the episode ``sightings`` holds one `Sighting` a control step."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.sightings: list[Sighting] = []

    def reset(self, simulator: Simulator) -> None:
        assert isinstance(simulator, LiberoSimulator)
        self.actor.reset(simulator)
        self._scene, self._joints = Scene(simulator), Scene(simulator).jointed_parts()
        self._objects = simulator.objects
        self.turning = {part for part, (_, hinge) in self._joints.items() if hinge}
        self.sightings = []

    def act(self, moment: Moment) -> Array:
        self.look(moment)
        return self.actor.act(moment)

    def look(self, moment: Moment) -> None:
        """Record this step; call it once more after the last one to see how the episode ended."""
        state = moment.observe().state
        places: dict[str, Array] = {f"{name}_main": self._scene.position(name) for name in self._objects}
        places |= {part: np.array([self._scene.joint(joint)]) for part, (joint, _) in self._joints.items()}
        width = float(np.abs(state["gripper_positions"]).sum())
        self.sightings.append(
            Sighting(self._scene.touched(), places, width, np.asarray(state["eef_position"], np.float64))
        )

    def skills(self, steps: int) -> tuple[Skill, ...]:
        return self.actor.skills(steps)


def true_events(witness: Witness) -> list[Event]:
    """The events of a watched episode in the order in which they are complete."""
    sightings = witness.sightings
    events = [event for part in sightings[0].places for event in _events_of(part, witness)]
    return sorted(events, key=lambda event: event.step)


def _events_of(part: str, witness: Witness) -> Iterator[Event]:
    sightings, last = witness.sightings, len(witness.sightings) - 1
    places = np.stack([sighting.places[part] for sighting in sightings])
    least = TURNED_RAD if part in witness.turning else PUSHED_M if places.shape[1] == 1 else CARRIED_M
    touch = [(a, b) for a, b in _runs([part in s.touched for s in sightings]) if _moved(places, a, b) > least / 10]
    if not touch or _moved(places, touch[0][0], touch[-1][1]) <= least:
        return
    pinched = _runs([{LEFT, RIGHT} <= s.touched.get(part, set()) for s in sightings])
    holds = [(a, b) for a, b in pinched if _closed_on(sightings, a) and _moved(places, a, b) > least]
    if holds:
        begin, end = holds[-1]
        yield Event(EventKind.GRASP, begin, _first_closing(sightings, begin))
        yield Event(EventKind.RELEASE, min(end, last), min(end, last), cut=end > last)
    else:
        end = touch[-1][1]
        yield Event(EventKind.CONTACT, min(end, last), touch[0][0], cut=end > last)


def _moved(places: Array, begin: int, end: int) -> float:
    """How far a part got from where it was at ``begin`` during ``[begin, end]``."""
    window = places[begin : end + 1]
    return float(np.linalg.norm(window - window[0], axis=1).max())


def _closed_on(sightings: list[Sighting], step: int) -> bool:
    before = [sighting.width for sighting in sightings[max(0, step - CLOSING_STEPS) : step + 1]]
    return max(before) - before[-1] > CLOSING_M


def _first_closing(sightings: list[Sighting], step: int) -> int:
    """Where the fingers began the closing that ends at ``step``."""
    while step and sightings[step - 1].width > sightings[step].width + 1e-4:
        step -= 1
    return step


def _runs(flags: list[bool]) -> list[tuple[int, int]]:
    """Intervals ``[begin, end)`` in which the flag is set, joined over gaps of a flicker."""
    runs: list[tuple[int, int]] = []
    for step in np.flatnonzero(flags):
        if runs and step - runs[-1][1] <= FLICKER_STEPS:
            runs[-1] = (runs[-1][0], int(step) + 1)
        else:
            runs.append((int(step), int(step) + 1))
    return runs

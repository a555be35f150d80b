"""Deeds that go wrong are tried again: on a thing that moves by as much as its script says."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tests.simulators.test_script import Puppet
from world2act_core.simulators.demonstrators.deeds import (
    ATTEMPTS,
    SLIPPED_STEPS,
    SLIPS_AT,
    STUCK_STEPS,
    Deed,
    across,
    leaning,
)
from world2act_core.simulators.demonstrators.script import NONE, Mishaps, Script, fingers_down, rotation_between
from world2act_core.simulators.privileged import Scene
from world2act_core.types import Array

STEP = 1 / 16


class Shove(Deed):
    """Each step does a sixteenth of it, up to ``stuck_at``; ``slips_at`` is where the hand loses touch, once."""

    prompt, part = "shove it", "thing"

    def __init__(self, stuck_at: float = 2.0, slips_at: float = 2.0) -> None:
        self._stuck_at, self._slips_at = stuck_at, slips_at
        self.share = 0.0
        self.steps: list[int] = []
        self.shares: list[float] = []
        self._touching = False
        self.scene = cast(Scene, SimpleNamespace(touched=lambda: {"thing"} if self._touching else set()))

    def done(self, scene: Scene) -> float:
        return self.share

    def reach(self, script: Script) -> Iterator[Array]:
        self.steps.append(0)
        self.shares.append(self.share)
        yield np.zeros(7)

    def exert(self, script: Script) -> Array:
        self.steps[-1] += 1
        self._touching = not (self.share >= self._slips_at and len(self.steps) == 1)
        self.share += STEP * (self._touching and self.share < self._stuck_at)
        return np.zeros(7)

    def leave(self, script: Script) -> Array:
        self._touching = False
        return np.zeros(7)


def carry_out(deed: Shove, mishaps: Mishaps = NONE) -> None:
    puppet = Puppet(mishaps)
    puppet.scene = deed.scene
    puppet.carry_out(deed.carry_out(puppet))


def test_a_deed_that_goes_well_is_done_once() -> None:
    deed = Shove()
    carry_out(deed)
    assert len(deed.steps) == 1
    assert deed.done(deed.scene) >= 1


def test_a_deed_that_gets_stuck_is_given_up_after_some_attempts() -> None:
    deed = Shove(stuck_at=0.5)
    carry_out(deed)
    assert len(deed.steps) == ATTEMPTS
    assert deed.steps[1:] == [STUCK_STEPS + 1] * (ATTEMPTS - 1)


def test_a_hand_that_has_slipped_off_is_noticed_and_begins_again() -> None:
    deed = Shove(slips_at=0.5)
    carry_out(deed)
    first, second = deed.steps
    assert first == 8 + 1 + SLIPPED_STEPS  # a touch is seen one step later
    assert second == 8


@pytest.mark.parametrize("seed", range(5))
def test_a_slip_by_mishap_leaves_the_deed_half_done_once(seed: int) -> None:
    deed = Shove()
    carry_out(deed, Mishaps(seed, regrasp=1))
    assert len(deed.steps) == 2
    assert SLIPS_AT[0] <= deed.shares[1] <= SLIPS_AT[1] + STEP
    assert deed.done(deed.scene) >= 1


@pytest.mark.parametrize("angle", np.radians([0, 40, 80, 90, 130, 250, 300]))
def test_fingers_open_across_a_direction_and_as_well_against_it(angle: float) -> None:
    direction = np.array([np.cos(angle), np.sin(angle), 0.0])
    yaw = across(direction)
    assert np.isclose(yaw, across(-direction))
    opening = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
    assert abs(opening @ direction) < 1e-9


def test_of_two_quarter_turns_rounding_does_not_choose() -> None:
    yaws: list[Any] = [across(np.array([tiny, sign, 0.0])) for tiny in (-1e-12, 0.0, 1e-12) for sign in (-1, 1)]
    assert np.allclose(yaws, np.pi / 2)


@pytest.mark.parametrize("yaw", [0.0, 1.2])
@pytest.mark.parametrize("angle", [0.0, 0.5, np.pi / 2])
def test_a_leaning_hand_is_tipped_towards_the_direction(yaw: float, angle: float) -> None:
    towards_y = leaning(yaw, np.array([0.0, 1.0, 0.0]), angle)
    # Fingers that point down and turn towards y turn about x.
    assert np.allclose(rotation_between(fingers_down(yaw), towards_y), [angle, 0, 0])

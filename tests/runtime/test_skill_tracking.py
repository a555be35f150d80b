"""Skills advance when their events are seen, not before, not back, or when their time is up."""

from __future__ import annotations

import numpy as np
import pytest

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.errors import World2ActError
from world2act_core.runtime.skill_tracking import SkillTracker, plan_skills
from world2act_core.types import Array

SOUP = "pick up the alphabet soup and place it in the basket"
PROMPTS = ["pick up the alphabet soup", "place the alphabet soup in the basket"]
OPEN, HELD, EMPTY = 0.078, 0.03, 0.001


@pytest.fixture(scope="module")
def panda() -> Embodiment:
    return load_embodiment("libero_panda")


class Hand:
    """A hand that goes down, moves its fingers and goes on; every call is some control steps."""

    def __init__(self, embodiment: Embodiment, tracker: SkillTracker) -> None:
        self._embodiment, self.tracker = embodiment, tracker
        self._width, self._height = OPEN, 0.3
        self.began: list[int] = []

    def go(self, steps: int, width: float, closing: bool, rise: float, holds: bool = False) -> None:
        for _ in range(steps):
            self._width += np.clip(width - self._width, -0.01, 0.01)
            self._height += rise
            gripper = self._embodiment.gripper
            action = np.zeros(self._embodiment.action.size, np.float32)
            action[gripper.index] = gripper.close if closing else gripper.open
            if self.tracker.step(self._state(), None if holds else action):
                self.began.append(self.tracker.steps)

    def _state(self) -> dict[str, Array]:
        state = {name: np.zeros(stream.size, np.float32) for name, stream in self._embodiment.state.items()}
        state["gripper_positions"] = np.array([self._width / 2, -self._width / 2], np.float32)
        state["eef_position"] = np.array([0.1, 0.1, self._height], np.float32)
        state["eef_orientation"] = np.array([0, 0, 0, 1], np.float32)
        return state


def a_hand(panda: Embodiment, limit_s: float = 0.0) -> Hand:
    hand = Hand(panda, SkillTracker(plan_skills(SOUP), panda, limit_s))
    hand.go(20, OPEN, closing=False, rise=-0.01)
    return hand


def test_a_grasp_begins_the_next_skill(panda: Embodiment) -> None:
    hand = a_hand(panda)
    assert [step.prompt for step in hand.tracker.plan] == PROMPTS and hand.tracker.index == 0
    hand.go(40, HELD, closing=True, rise=0.005)
    assert hand.tracker.index == 1 and hand.tracker.why == "its events were seen"
    (began,) = hand.began
    assert 25 <= began <= 36 and began % panda.chunk_length == 0, "the grasp itself was at step 25"
    hand.go(20, OPEN, closing=False, rise=0.005)
    assert [(s.prompt, s.start) for s in hand.tracker.skills()] == [(PROMPTS[0], 0), (PROMPTS[1], began)]


def test_fingers_that_close_on_nothing_do_not(panda: Embodiment) -> None:
    hand = a_hand(panda)
    hand.go(12, EMPTY, closing=True, rise=0.0)
    hand.go(12, OPEN, closing=False, rise=0.0)
    assert hand.tracker.index == 0


def test_a_pause_is_no_event(panda: Embodiment) -> None:
    hand = a_hand(panda)
    hand.go(40, OPEN, closing=False, rise=0.0, holds=True)
    assert hand.tracker.index == 0
    hand.go(40, HELD, closing=True, rise=0.005)
    assert hand.tracker.index == 1


def test_a_skill_whose_time_is_up_makes_way(panda: Embodiment) -> None:
    hand = a_hand(panda, limit_s=2.0)
    hand.go(30, OPEN, closing=False, rise=0.0)
    assert hand.began == [40] and hand.tracker.why == "its time was up"
    hand.go(60, OPEN, closing=False, rise=0.0)
    assert hand.tracker.index == 1, "the last skill lasts as long as the task"


def test_an_instruction_that_is_not_understood_is_refused() -> None:
    with pytest.raises(World2ActError, match="cannot be split into skills: .*skills:=whole"):
        plan_skills("do not")

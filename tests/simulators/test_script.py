"""What every scripted demonstrator is made of, on an arm that simply does as it is told."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from world2act_core.embodiment import load_embodiment
from world2act_core.simulators.demonstrators.script import NONE, PATIENCE, Mishaps, Script, fingers_down, up
from world2act_core.types import Array, Skill

OPEN = -1.0


class Puppet(Script):
    """A script whose arm moves by a third of what each action asks for, up to ``reach`` metres a step."""

    def __init__(self, mishaps: Mishaps = NONE, reach: float = 1.0) -> None:
        super().__init__(mishaps)
        embodiment = load_embodiment("libero_panda")
        self.gripper, self.scale = embodiment.gripper, embodiment.action.scale
        self.eef, self.orientation = np.zeros(3), fingers_down(0.0)
        self.rng = np.random.default_rng(mishaps.seed)
        self._done, self._now, self._step = [], None, 0
        self._reach = reach

    def carry_out(self, actions: Iterator[Array], most: int = 500) -> list[Array]:
        """Positions after every step until the actions end; the step counter is the one that ``act`` would set."""
        places = []
        for action in actions:
            self.eef = self.eef + np.clip(action[:3] * self.scale[:3] / 3, -self._reach, self._reach)
            places.append(self.eef)
            self._step += 1
            if len(places) == most:
                break
        return places

    def wait(self, steps: int) -> Iterator[Array]:
        yield from self.stay(OPEN, steps)


def test_a_move_ends_within_its_tolerance() -> None:
    puppet = Puppet()
    puppet.carry_out(puppet.move(up(0.2), OPEN, within=0.005))
    assert 0.195 <= puppet.eef[2] < 0.2


def test_a_move_follows_a_target_that_moves() -> None:
    puppet = Puppet()
    puppet.carry_out(puppet.move(lambda: up(0.1 + 0.002 * min(puppet._step, 20)), OPEN, within=0.005))
    assert puppet.eef[2] > 0.12


def test_a_move_ends_when_the_arm_gets_no_nearer() -> None:
    puppet = Puppet(reach=0.0)
    assert len(puppet.carry_out(puppet.move(up(0.2), OPEN))) == PATIENCE + 1


def test_a_single_step_of_standing_still_does_not_end_a_move() -> None:
    puppet = Puppet()
    places = puppet.carry_out(puppet.move(up(0.2), OPEN), most=3)
    puppet.eef = places[0]  # pushed back
    move = puppet.move(up(0.2), OPEN, within=0.005)
    next(move)  # this action had no effect
    puppet.carry_out(move)
    assert puppet.eef[2] > 0.195


def test_a_move_waits_for_the_hand_to_turn() -> None:
    puppet = Puppet()
    move = puppet.move(puppet.eef, OPEN, facing=fingers_down(1.0))
    action = next(move)
    assert action[5] == pytest.approx(1.0) and not action[:3].any()
    puppet.orientation = fingers_down(0.9)
    assert list(move) == []


def test_half_speed_is_half_the_action() -> None:
    assert Puppet().towards(up(1.0), OPEN, speed=0.5)[2] == 0.5


def test_pauses_keep_the_hand_as_it_is_and_lose_no_action() -> None:
    puppet = Puppet(Mishaps(pauses=50, pause_steps=(3, 3)))
    puppet.orientation = fingers_down(1.0)
    planned = [np.full(7, 0.1 * (number + 1)) for number in range(9)]
    script = puppet._with_pauses(iter(planned))
    done = [next(script) for _ in range(60)]
    kept = [action for action in done if action[0]]
    assert np.array_equal(kept, planned)
    assert not any(action[:6].any() for action in done if not action[0])
    assert np.array_equal(done[-1], [0, 0, 0, 0, 0, 0, OPEN])


def test_skills_join_without_a_gap() -> None:
    puppet = Puppet()
    puppet.carry_out(puppet.skill("pick", puppet.wait(5)))
    puppet.carry_out(puppet.wait(2))
    puppet.carry_out(puppet.skill("place", puppet.wait(7)))
    puppet.carry_out(puppet.wait(3))
    assert puppet.skills(17) == (Skill("pick", 0, 5), Skill("place", 5, 17))


def test_an_episode_that_ends_early_cuts_its_skills() -> None:
    puppet = Puppet()
    puppet.carry_out(puppet.skill("pick", puppet.wait(5)))
    puppet.carry_out(puppet.skill("place", puppet.wait(7)), most=4)
    assert puppet.skills(9) == (Skill("pick", 0, 5), Skill("place", 5, 9))
    assert puppet.skills(4) == (Skill("pick", 0, 4),)


def test_a_skill_done_anew_ends_anew() -> None:
    puppet = Puppet()

    def place() -> Iterator[Array]:
        yield from puppet.wait(4)
        puppet.redo("pick")
        yield from puppet.wait(3)

    puppet.carry_out(puppet.skill("pick", puppet.wait(5)))
    puppet.carry_out(puppet.skill("place", place()))
    assert puppet.skills(12) == (Skill("pick", 0, 9), Skill("place", 9, 12))


def test_another_skill_than_the_last_is_not_done_anew() -> None:
    puppet = Puppet()
    puppet.carry_out(puppet.skill("put the soup", puppet.wait(5)))
    puppet.carry_out(puppet.skill("put the sauce", puppet.wait(4)))
    puppet.redo("put the sauce")
    assert puppet.skills(9) == (Skill("put the soup", 0, 5), Skill("put the sauce", 5, 9))

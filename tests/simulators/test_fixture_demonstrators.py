"""Drawers, the stove's knob and the plate, in the scene of libero_goal, which has them all.

benchmarks/demonstrators.py measures how often the tasks succeed over all starts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.simulators.test_demonstrator import demonstrate_elsewhere
from world2act_core.simulators.demonstrators.chores import Chore, Chores
from world2act_core.simulators.demonstrators.drawers import CloseDrawer, Drawer, OpenDrawer
from world2act_core.simulators.demonstrators.fixtures import FIXTURES
from world2act_core.simulators.demonstrators.pick_and_place import Delivery
from world2act_core.simulators.demonstrators.script import NONE, Mishaps
from world2act_core.simulators.demonstrators.stove import TurnKnob
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.privileged import Scene
from world2act_core.simulators.rollout import Moment, rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerPool
from world2act_core.skills.truth import Witness, true_events
from world2act_core.skills.types import Event, EventKind
from world2act_core.types import Array, Episode

pytestmark = pytest.mark.libero

TOP = Drawer("wooden_cabinet_1", "top")
OPEN, SHUT = OpenDrawer("open the top drawer", TOP), CloseDrawer("close the top drawer", TOP)
ON = TurnKnob("turn on the stove", "flat_stove_1")
[PUSH] = FIXTURES["libero_goal", 5]


def carry_out(
    simulator: LiberoSimulator, chores: Sequence[Chore], steps: int, mishaps: Mishaps = NONE
) -> tuple[Episode, list[Event]]:
    """In a scene whose own goal is another one, so that the episode has all its steps; and what really happened."""
    witness = Witness(Chores("libero_goal", 8, chores, mishaps))
    episode = rollout(
        simulator, witness, Start("libero_goal", 8, 3),
        episode_id="e", source="demonstrator", record_images=False, max_steps=steps,
    )  # fmt: skip
    witness.look(Moment(simulator, episode.steps))
    return episode, true_events(witness)


def closed(episode: Episode) -> Array:
    """Control steps at which the gripper is told to close."""
    assert episode.actions is not None
    return np.flatnonzero(episode.actions[:, 6] > 0)


def test_a_drawer_is_pulled_open_by_its_handle(simulator: LiberoSimulator) -> None:
    episode, [grasp, release] = carry_out(simulator, [OPEN], steps=120)
    assert TOP.pulled_out(Scene(simulator)) > 0.14
    assert (grasp.kind, release.kind) == (EventKind.GRASP, EventKind.RELEASE)
    assert closed(episode)[0] < grasp.step < release.step <= closed(episode)[-1] + 4


def test_a_drawer_is_pushed_shut_with_a_fist(simulator: LiberoSimulator) -> None:
    episode, _ = carry_out(simulator, [OPEN, SHUT], steps=200)
    assert TOP.pulled_out(Scene(simulator)) < 0
    opening, shutting = episode.skills
    assert (opening.prompt, shutting.prompt) == ("open the top drawer", "close the top drawer")
    assert np.count_nonzero(closed(episode) > opening.end) > 60


def test_the_knob_is_turned_with_a_fist(simulator: LiberoSimulator) -> None:
    episode, [contact] = carry_out(simulator, [ON], steps=100)
    assert Scene(simulator).joint("flat_stove_1_button") > 0.5
    assert contact.kind is EventKind.CONTACT
    assert {*range(contact.begin, contact.step)} <= {*closed(episode)}


def test_the_plate_is_pushed_with_the_gripper_open_all_the_time(simulator: LiberoSimulator) -> None:
    episode, [contact] = carry_out(simulator, [PUSH], steps=200)
    scene = Scene(simulator)
    off = scene.site("main_table_stove_front_region") - scene.position("plate_1")
    assert np.abs(off[:2]).max() < 0.04
    assert contact.kind is EventKind.CONTACT
    assert not len(closed(episode))


def test_a_skill_ends_with_its_contact_and_the_hand_withdraws(simulator: LiberoSimulator) -> None:
    episode, [contact] = carry_out(simulator, [ON, OPEN], steps=100)  # the last skill reaches to the episode's end
    end, hand = episode.skills[0].end, episode.state["eef_position"]
    assert abs(end - contact.step) <= 3
    assert np.linalg.norm(hand[end:] - hand[end], axis=1).max() > 0.05


def test_a_hand_that_slips_off_tries_again(simulator: LiberoSimulator) -> None:
    clean, clean_events = carry_out(simulator, [OPEN], steps=120)
    slipped, events = carry_out(simulator, [OPEN], steps=220, mishaps=Mishaps(seed=2, regrasp=1))
    assert TOP.pulled_out(Scene(simulator)) > 0.14
    assert [event.kind for event in events] == [EventKind.GRASP, EventKind.RELEASE]
    assert events[-1].step > clean_events[-1].step + 20
    assert len(np.flatnonzero(np.diff(closed(slipped)) > 1)) == 1 + len(np.flatnonzero(np.diff(closed(clean)) > 1))


@pytest.mark.slow
@pytest.mark.parametrize(("suite", "task"), sorted(FIXTURES))
def test_every_task_is_solved_skill_by_skill_from_an_official_start(suite: str, task: int) -> None:
    pytest.importorskip("libero")
    with WorkerPool(1) as pool:
        [finished] = pool.run(demonstrate_elsewhere, [Start(suite, task, 21)])
    episode = finished.result
    assert episode.success
    chores = FIXTURES[suite, task]
    prompts = [chore.prompts[0] if isinstance(chore, Delivery) else chore.prompt for chore in chores]
    assert [skill.prompt for skill in episode.skills] == prompts
    assert episode.skills[0].start == 0 and episode.skills[-1].end == episode.steps

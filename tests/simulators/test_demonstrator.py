"""The scripted demonstrator; benchmarks/demonstrator.py measures its success rate over all starts."""

from __future__ import annotations

import numpy as np
import pytest

from world2act_core.errors import World2ActError
from world2act_core.simulators.demonstrator import BowlOnPlateDemonstrator
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.rollout import NoisyActor, rollout
from world2act_core.simulators.starts import Start
from world2act_core.types import Episode, Skill

pytestmark = pytest.mark.libero


def demonstrate(simulator: LiberoSimulator, start: Start, noise: float = 0.0) -> Episode:
    demonstrator = BowlOnPlateDemonstrator()
    actor = NoisyActor(demonstrator, seed=start.index, scale=noise) if noise else demonstrator
    return rollout(simulator, actor, start, episode_id=start.id, source="demonstrator", record_images=False)


@pytest.mark.parametrize("jitter_cm", [0.0, 3.0])
@pytest.mark.parametrize("index", [0, 17])
def test_it_puts_the_bowl_on_the_plate(simulator: LiberoSimulator, index: int, jitter_cm: float) -> None:
    episode = demonstrate(simulator, Start("libero_goal", 8, index, jitter_cm, index))
    assert episode.success
    assert 60 <= episode.steps <= 140
    assert episode.skills == (Skill("put the bowl on the plate", 0, episode.steps),)


def test_it_lets_the_bowl_go(simulator: LiberoSimulator) -> None:
    episode = demonstrate(simulator, Start("libero_goal", 8, 2))
    assert episode.actions is not None
    assert episode.actions[-1, 6] == simulator.embodiment.gripper.open


def test_its_recorded_actions_repeat_the_episode_to_the_bit(simulator: LiberoSimulator) -> None:
    start = Start("libero_goal", 8, 5, 3.0, 9)
    episode = demonstrate(simulator, start)
    end = simulator.state()
    simulator.reset(start)
    assert episode.actions is not None
    solved = [simulator.step(action) for action in episode.actions]
    assert any(solved) and np.array_equal(simulator.state(), end)


def test_it_copes_with_execution_noise(simulator: LiberoSimulator) -> None:
    clean, noisy = (demonstrate(simulator, Start("libero_goal", 8, 1), noise) for noise in (0.0, 0.1))
    assert noisy.success
    assert not np.array_equal(noisy.state["eef_position"][20], clean.state["eef_position"][20])


def test_it_refuses_another_task(simulator: LiberoSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "task_index", 3)
    with pytest.raises(World2ActError, match="only libero_goal/8"):
        BowlOnPlateDemonstrator().reset(simulator)

"""Scripted demonstrators; benchmarks/demonstrators.py measures their success rates over all starts."""

from __future__ import annotations

import re

import numpy as np
import pytest

from world2act_core.errors import World2ActError
from world2act_core.simulators.demonstrators.deliveries import DELIVERIES
from world2act_core.simulators.demonstrators.library import DEMONSTRATORS, demonstrator
from world2act_core.simulators.libero import LiberoSimulator
from world2act_core.simulators.libero_package import load_task
from world2act_core.simulators.rollout import NoisyActor, rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerContext, WorkerPool
from world2act_core.types import Episode, Skill

pytestmark = pytest.mark.libero


def demonstrate(simulator: LiberoSimulator, start: Start, noise: float = 0.0, extra_chunks: int = 0) -> Episode:
    script = demonstrator(start.suite, start.task)
    actor = NoisyActor(script, seed=start.index, scale=noise) if noise else script
    return rollout(
        simulator, actor, start,
        episode_id=start.id, source="demonstrator", record_images=False, extra_chunks=extra_chunks,
    )  # fmt: skip


def demonstrate_elsewhere(start: Start, context: WorkerContext) -> Episode:
    """In a worker, because this process has its simulator already."""
    simulator = context.simulator(start.suite, start.task)
    assert isinstance(simulator, LiberoSimulator)
    return demonstrate(simulator, start, extra_chunks=4)


@pytest.mark.parametrize("jitter_cm", [0.0, 3.0])
@pytest.mark.parametrize("index", [0, 17])
def test_it_puts_the_bowl_on_the_plate(simulator: LiberoSimulator, index: int, jitter_cm: float) -> None:
    episode = demonstrate(simulator, Start("libero_goal", 8, index, jitter_cm, index))
    assert episode.success
    assert 60 <= episode.steps <= 140
    assert episode.skills == (Skill("put the bowl on the plate", 0, episode.steps),)


def test_it_lets_the_bowl_go_and_withdraws(simulator: LiberoSimulator) -> None:
    episode = demonstrate(simulator, Start("libero_goal", 8, 2), extra_chunks=6)
    assert episode.actions is not None
    assert episode.actions[-1, 6] == simulator.embodiment.gripper.open
    assert np.abs(episode.state["gripper_positions"][-1]).sum() > 0.07
    assert episode.state["eef_position"][-1, 2] > episode.state["eef_position"][-16, 2] + 0.02


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
        demonstrator("libero_goal", 8).reset(simulator)


def test_a_task_without_a_script_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(World2ActError, match=r"libero_90/3 has no .* libero_goal/8"):
        demonstrator("libero_90", 3)


def test_every_script_knows_the_task_it_is_listed_under() -> None:
    for suite, task in DEMONSTRATORS:
        script = demonstrator(suite, task)
        assert (script.suite, script.task) == (suite, task)


@pytest.mark.parametrize("key", sorted(DELIVERIES))
def test_skills_are_named_in_the_words_of_the_instruction(key: tuple[str, int]) -> None:
    pytest.importorskip("libero")
    instruction = load_task(*key).instruction
    for prompts in (delivery.prompts for delivery in DELIVERIES[key]):
        if len(prompts) == 2:
            assert instruction.startswith(f"{prompts[0]} and place it ")
            assert prompts[1].endswith(instruction.split(" and place it ")[1])
        else:
            words = re.findall(r"\w+", prompts[0])
            assert set(words) <= set(re.findall(r"\w+", instruction)), prompts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suite", "task", "prompts"),
    [
        (
            "libero_spatial",
            4,
            ["pick up the black bowl in the top drawer of the wooden cabinet", "place the black bowl on the plate"],
        ),
        ("libero_object", 0, ["pick up the alphabet soup", "place the alphabet soup in the basket"]),
        ("libero_10", 7, ["put the alphabet soup in the basket", "put the cream cheese box in the basket"]),
    ],
)
def test_rims_cans_and_boxes_reach_their_places_skill_by_skill(suite: str, task: int, prompts: list[str]) -> None:
    pytest.importorskip("libero")
    with WorkerPool(1) as pool:
        [finished] = pool.run(demonstrate_elsewhere, [Start(suite, task, 30)])
    episode = finished.result
    assert episode.success
    assert [skill.prompt for skill in episode.skills] == prompts
    first, second = episode.skills
    assert (first.start, first.end, second.end) == (0, second.start, episode.steps)
    width = np.abs(episode.state["gripper_positions"]).sum(axis=1)
    held = width[first.end] < 0.07
    assert held == prompts[0].startswith("pick up")
    assert width[-1] > 0.07

"""Bags appear whole or not at all, and only missing ones are recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.learning.scenes import EMBODIMENT, SIZE, STREAMS, square_episode
from tests.recipes.jobs import die_while_writing_once, write_square
from tests.simulators.test_rollout import CountingSimulator
from world2act_core.episodes import read_bag
from world2act_core.episodes.writer import write_whole_bag
from world2act_core.recipes.recording import Attempt, attempt, collection_table, read_collection, record
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import Finished, WorkerContext, WorkerPool
from world2act_core.types import Skill


class ToyPool(WorkerPool):
    """Does attempts in this process and on the toy world, the last one first; remembers which."""

    def __init__(self) -> None:
        super().__init__(1)
        self.done: list[str] = []

    def run(
        self, function: Callable[..., Any], jobs: Iterable[Any], *, description: str | None = None
    ) -> Iterator[Finished[Any, Any]]:
        for job in reversed(list(jobs)):
            self.done.append(Path(job.bag).name)
            yield Finished(job, write_square(job), 1)


def attempts(bags: Path, count: int = 4) -> list[Attempt]:
    return [Attempt(Start("toy", 0, i), "demonstrator", bag=str(bags / f"square-{i:04d}")) for i in range(count)]


@pytest.fixture
def bags(tmp_path: Path) -> Path:
    return tmp_path / "stage" / "bags"


def test_only_missing_bags_are_recorded(bags):
    first, second = ToyPool(), ToyPool()
    record(first, attempts(bags, 2), "toy")
    record(second, attempts(bags, 4), "toy")
    assert sorted(first.done) == ["square-0000", "square-0001"]
    assert sorted(second.done) == ["square-0002", "square-0003"]


def test_a_killed_recording_leaves_no_bag_under_its_name_and_the_next_clears_up(bags):
    jobs = attempts(bags, 1)
    bags.mkdir(parents=True)
    with WorkerPool(1) as pool:
        finished = list(pool.run(die_while_writing_once, jobs))
    assert [entry.attempts for entry in finished] == [2]
    left = [path.name for path in bags.iterdir() if path.name.startswith(".")]
    assert len(left) == 1, "the first worker left nothing, so nothing would be tested"
    assert [episode.episode_id for episode in read_collection(bags, EMBODIMENT, ("agentview",))] == ["square-0000"]

    pool_of_next = ToyPool()
    record(pool_of_next, attempts(bags, 2), "toy")
    assert pool_of_next.done == ["square-0001"]
    assert sorted(path.name for path in bags.iterdir()) == ["square-0000", "square-0001"]


def test_a_half_written_bag_does_not_count_as_recorded(bags):
    half = bags / ".square-0000.4711"
    half.mkdir(parents=True)
    (half / "half.mcap").write_bytes(b"\x89MCAP0\r\n")
    assert list(read_collection(bags, EMBODIMENT, ("agentview",))) == []
    pool = ToyPool()
    record(pool, attempts(bags, 1), "toy")
    assert pool.done == ["square-0000"]
    assert not half.exists()


def test_a_collection_is_read_in_the_order_of_names_however_it_was_recorded(bags):
    pool = ToyPool()
    record(pool, attempts(bags), "toy")
    assert pool.done == [f"square-{i:04d}" for i in (3, 2, 1, 0)]
    starts = [episode.start_id for episode in read_collection(bags, EMBODIMENT, ("agentview",))]
    assert starts == [f"toy/0/i{i}" for i in range(4)]


def test_a_collection_becomes_one_table_with_or_without_actions(bags):
    record(ToyPool(), attempts(bags, 2), "toy")
    labelled = collection_table([bags], EMBODIMENT, ("agentview",), STREAMS, SIZE)
    free = collection_table([bags, bags], EMBODIMENT, ("agentview",), STREAMS, SIZE, with_actions=False)
    assert labelled.labelled.all()
    assert not free.labelled.any() and not free.actions.any()
    assert len(free) == 2 * len(labelled)
    assert np.array_equal(labelled.frames, free.frames[: len(labelled.frames)])
    actions = square_episode(0).actions
    assert actions is not None and np.array_equal(labelled.actions[0], actions[:4])


def test_a_collection_can_be_read_as_if_no_skill_had_been_marked(tmp_path):
    """Rollouts of a policy have none marked: what is learned from demonstrations must know the task's words too."""
    (tmp_path / "bags").mkdir()
    skills = (Skill("reach", 0, 12), Skill("push", 12, 24))
    camera = EMBODIMENT.cameras["agentview"]
    image = np.zeros((7, camera.height, camera.width, 3), np.uint8)
    episode = replace(square_episode(0), skills=skills, images={"agentview": image})
    write_whole_bag(episode, tmp_path / "bags" / "one", EMBODIMENT)
    clips, whole = (
        collection_table([tmp_path / "bags"], EMBODIMENT, ("agentview",), STREAMS, SIZE, whole_tasks=whole)
        for whole in (False, True)
    )
    assert clips.prompts == ("reach",) * 3 + ("push",) * 3 and clips.clock.tolist() == [0, 1, 2, 0, 1, 2]
    assert whole.prompts == ("push right",) * 6 and whole.clock.tolist() == [0, 1, 2, 3, 4, 5]


def test_a_bag_holds_the_episode_of_its_start(bags):
    record(ToyPool(), attempts(bags, 2), "toy")
    episodes = read_bag(bags / "square-0001", EMBODIMENT).episodes
    assert [(episode.episode_id, episode.start_id) for episode in episodes] == [("square-0001", "toy/0/i1")]


def test_an_attempt_by_address_executes_that_policy_whatever_else_is_named(bags, monkeypatch):
    record(ToyPool(), attempts(bags, 2), "toy")
    simulator = CountingSimulator(horizon=24)
    context = WorkerContext(0)
    monkeypatch.setattr(context, "simulator", lambda suite, task: simulator)
    start = Start("libero_goal", 8, 0)
    for index in (0, 1):
        job = Attempt(start, "replayed", base="nowhere.pt", policy=f"replay:{bags / f'square-{index:04d}'}")
        outcome = attempt(job, context)
        assert (outcome.source, outcome.start_id, outcome.steps) == ("replayed", start.id, 24)
        recorded = square_episode(index).actions
        assert recorded is not None and np.array_equal(simulator.executed, recorded)

"""The compact world model: error by horizon, drift over two-skill tasks, two prompts from one frame.

Run: python -m benchmarks.world_model [--seeds 0 1 2]. It records clean demonstrations, splits them with ``world2act
skills build``'s library call, trains for each seed one model on skill clips and one on whole tasks (the paper's
Skill-WM and Base-WM), and measures both on episodes from other starts. No action is read anywhere. What was recorded
and trained is kept in the folder: a run that was killed goes on when it is started again.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks._machine import machine
from benchmarks._world_model_report import Measured, Tables, measure, plot, print_all, print_seed, twins
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import read_bag
from world2act_core.episodes.chunks import ChunkTable, chunk_table
from world2act_core.episodes.writer import write_whole_bag
from world2act_core.networks import codec
from world2act_core.runs import Run, Stage
from world2act_core.simulators.demonstrators.deliveries import DELIVERIES
from world2act_core.simulators.demonstrators.library import demonstrator
from world2act_core.simulators.demonstrators.pick_and_place import PickAndPlace
from world2act_core.simulators.rollout import NoisyActor, rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerContext, WorkerPool
from world2act_core.skills.build import DATASET, BuildSettings, build_skills
from world2act_core.types import Episode
from world2act_core.world_model import compact
from world2act_core.world_model.compact import (
    CompactWorldModel,
    CompactWorldModelConfig,
    load_world_model,
    save_world_model,
    train_world_model,
)

TASKS = (("libero_goal", 8), ("libero_goal", 1), ("libero_10", 0))
TWO_SKILLS = "put both"  # how the instructions of libero_10/0 begins
OTHER = ("libero_goal", 1)
"""Whose demonstrator also acts in the scene and from the starts of libero_goal/8: another future of the same frame."""
CAMERAS, STREAMS, SIZE = ("agentview", "wrist"), ("gripper_positions", "eef_position"), 64
JITTER_CM, NOISE = 2.0, 0.1
HELD_OUT = 10
"""Episodes a task, the last ones: they begin from other official states than those that are trained on."""
WEIGHTS = "world_model.pt"


@dataclass(frozen=True)
class Video:
    """One demonstration to record; ``other`` lets the other task's demonstrator act in this scene."""

    start: Start
    bag: str
    other: bool = False


def record(job: Video, context: WorkerContext) -> bool:
    start, simulator = job.start, context.simulator(job.start.suite, job.start.task)
    script = (
        PickAndPlace(start.suite, start.task, DELIVERIES[OTHER]) if job.other else demonstrator(start.suite, start.task)
    )
    moves = np.array([name in ("x", "y", "z") for name in simulator.embodiment.action.names], np.float64)
    steps = 112 if job.other else None  # the scene's own goal is never reached: about as long as the task takes
    episode = rollout(
        simulator,
        NoisyActor(script, start.seed, NOISE * moves),
        start,
        episode_id=Path(job.bag).name,
        source="demonstrator",
        cameras=CAMERAS,
        extra_chunks=3,
        max_steps=steps,
    )
    if job.other:
        prompt = DELIVERIES[OTHER][0].prompts[0]
        episode = replace(episode, task=prompt, success=None)
    elif not episode.success:
        return False
    write_whole_bag(episode, Path(job.bag), simulator.embodiment)
    return True


def videos(folder: Path, count: int, seed: int) -> list[Video]:
    """Demonstrations of every task, and the other future of the held-out starts of the first."""
    jobs = []
    for suite, task in TASKS:
        for index in range(count):
            start = Start(suite, task, index % 50, JITTER_CM, seed + index)
            jobs.append(Video(start, str(folder / "bags" / f"{suite}-{task}-{index:03d}")))
    jobs += [
        Video(job.start, job.bag.replace("bags/", "bags/other-"), other=True) for job in jobs[count - HELD_OUT : count]
    ]
    return jobs


def tables(folder: Path, count: int, *, whole: bool) -> Tables:
    """``whole`` forgets the skills."""
    embodiment = load_embodiment("libero_panda")
    groups: tuple[list[Episode], list[Episode], list[Episode]] = ([], [], [])
    for bag in sorted((folder / "skills" / DATASET).iterdir()):
        for episode in read_bag(bag, embodiment, CAMERAS, with_actions=False).episodes:
            if episode.episode_id.startswith("other-"):
                group = 2
            else:
                group = int(int(episode.episode_id[-3:]) >= count - HELD_OUT)
            groups[group].append(replace(episode, skills=()) if whole else episode)
    return Tables(*(chunk_table(group, embodiment, CAMERAS, STREAMS, SIZE) for group in groups))


def train(run: Run, name: str, table: ChunkTable, steps: int, seed: int) -> CompactWorldModel:
    """Trained once for these videos, steps and seed; goes on from its last checkpoint."""
    config = CompactWorldModelConfig(image_size=SIZE, views=len(CAMERAS), steps=steps)
    videos = hashlib.sha256(table.frames.tobytes() + repr(table.prompts).encode()).hexdigest()

    def work(stage: Stage) -> None:
        model, _ = train_world_model(table, config, seed, stage.scratch / "checkpoint.pt", stage.name)
        save_world_model(stage.path(WEIGHTS), model)

    settings = {"model": asdict(config), "seed": seed, "videos": videos}
    stage = run.stage(f"{name}-seed{seed}-{steps}", work, config=settings, code=(codec, compact))
    print(f"{name}, seed {seed}: {len(table)} chunks, {steps} steps in {stage.seconds:.0f} s "
          f"on {torch.get_num_threads()} threads")  # fmt: skip
    return load_world_model(stage.path(WEIGHTS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/world-model-benchmark"))
    parser.add_argument("--videos", type=int, default=34 + HELD_OUT, help=f"a task, of which {HELD_OUT} are held out")
    parser.add_argument("--steps", type=int, default=900, help="of training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of training, of both models")
    parser.add_argument("--first-start", type=int, default=6000, help="seed of the first displacement")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of training")
    parser.add_argument("--workers", type=int, default=2, help="simulators that record at a time")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    (options.folder / "bags").mkdir(parents=True, exist_ok=True)
    jobs = [job for job in videos(options.folder, options.videos, options.first_start) if not Path(job.bag).exists()]
    with WorkerPool(options.workers) as pool:
        for _ in pool.run(record, jobs, description="videos"):
            pass
    summary = build_skills([options.folder / "bags"], options.folder / "skills", BuildSettings(form="bags"))
    print(machine())
    print(f"{summary.kept} of {summary.episodes} videos of {len(TASKS)} tasks split into {summary.clips} skill clips")
    skilled, whole = (tables(options.folder, options.videos, whole=whole) for whole in (False, True))
    both = len(twins(skilled.held_out, skilled.other))
    print(f"held out: {len(skilled.held_out.episode_ids)} episodes, {both} starts with another future")
    run = Run(options.folder / "models", announce=lambda line: print(line, file=sys.stderr))
    models = {
        seed: tuple(train(run, name, part.train, options.steps, seed)
                    for name, part in (("Skill-WM", skilled), ("Base-WM", whole)))
        for seed in options.seeds
    }  # fmt: skip
    found: dict[int, Measured] = {}
    for seed, (skill_wm, base_wm) in models.items():
        found[seed] = measure(skilled, whole, skill_wm, base_wm, TWO_SKILLS)
        print_seed(seed, found[seed])
    print_all(found)
    plot(options.folder / "drift.png", list(found.values()))
    print(f"plot: {options.folder / 'drift.png'}")


if __name__ == "__main__":
    main()

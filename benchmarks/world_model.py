"""The compact world model: error by horizon, drift over two-skill tasks, two prompts from one frame.

Run: python -m benchmarks.world_model. It records clean demonstrations (kept in the folder), splits them with
``world2act skills build``'s library call, trains one model on skill clips and one on whole tasks (the paper's Skill-WM
and Base-WM), and measures both on episodes from other starts. No action is read anywhere.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np
import torch

from benchmarks._machine import machine
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import read_bag
from world2act_core.episodes.chunks import ChunkTable, chunk_table
from world2act_core.episodes.writer import write_whole_bag
from world2act_core.simulators.demonstrators.deliveries import DELIVERIES
from world2act_core.simulators.demonstrators.library import demonstrator
from world2act_core.simulators.demonstrators.pick_and_place import PickAndPlace
from world2act_core.simulators.rollout import NoisyActor, rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerContext, WorkerPool
from world2act_core.skills.build import DATASET, BuildSettings, build_skills
from world2act_core.types import Episode
from world2act_core.world_model.compact import CompactWorldModel, CompactWorldModelConfig, train_world_model
from world2act_core.world_model.composition import Planned
from world2act_core.world_model.measure import ErrorCurve, horizon_errors, imagined_and_real, task_drift

TASKS = (("libero_goal", 8), ("libero_goal", 1), ("libero_10", 0))
TWO_SKILLS = "put both"  # how the instructions of libero_10/0 begins
OTHER = ("libero_goal", 1)
"""Whose demonstrator also acts in the scene and from the starts of libero_goal/8: another future of the same frame."""
CAMERAS, STREAMS, SIZE = ("agentview", "wrist"), ("gripper_positions", "eef_position"), 64
JITTER_CM, NOISE, HELD_OUT = 2.0, 0.1, 0.15
AHEAD = 8


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
    first_held_out = count - round(HELD_OUT * count)
    jobs += [
        Video(job.start, job.bag.replace("bags/", "bags/other-"), other=True) for job in jobs[first_held_out:count]
    ]
    return jobs


def tables(folder: Path, count: int, *, whole: bool) -> tuple[ChunkTable, ChunkTable, ChunkTable]:
    """Training, held-out and other-future chunks; ``whole`` forgets the skills."""
    embodiment = load_embodiment("libero_panda")
    groups: tuple[list[Episode], list[Episode], list[Episode]] = ([], [], [])
    for bag in sorted((folder / "skills" / DATASET).iterdir()):
        for episode in read_bag(bag, embodiment, CAMERAS, with_actions=False).episodes:
            if episode.episode_id.startswith("other-"):
                group = 2
            else:
                group = int(int(episode.episode_id[-3:]) >= count - round(HELD_OUT * count))
            groups[group].append(replace(episode, skills=()) if whole else episode)
    train, held_out, other = (chunk_table(group, embodiment, CAMERAS, STREAMS, SIZE) for group in groups)
    return train, held_out, other


def two_futures(model: CompactWorldModel, table: ChunkTable, other: ChunkTable) -> tuple[int, int, np.ndarray]:
    """How often, of all frames from which both happened, each prompt's future is nearer its own truth than the other's.

    Returns:
        hits, cases, and ``(2, AHEAD)`` mean errors to the own and to the other truth.
    """
    own_rows = {table.episode_ids[table.episode[row]]: row for row in np.flatnonzero(table.clock == 0)[::-1]}
    hits, cases, errors = 0, 0, np.zeros((2, AHEAD * 2))
    for row in np.flatnonzero(other.clock == 0):
        twin = own_rows.get(other.episode_ids[other.episode[row]].removeprefix("other-"))
        if twin is None:
            continue
        plans = [Planned(table.prompts[twin], AHEAD * 2), Planned(other.prompts[row], AHEAD * 2)]
        ((first, first_real),) = imagined_and_real(model, table, [(int(twin), plans[:1])])
        ((second, second_real),) = imagined_and_real(model, other, [(int(row), plans[1:])])
        for imagined, own, foreign in ((first, first_real, second_real), (second, second_real, first_real)):
            to_own, to_foreign = (((imagined - real) ** 2).mean((0, 2, 3))[1:].numpy() for real in (own, foreign))
            errors += np.stack([to_own, to_foreign])
            hits, cases = hits + int(to_own.mean() < to_foreign.mean()), cases + 1
    return hits, cases, errors / cases


def select(table: ChunkTable, beginning: str, tasks: dict[str, str]) -> ChunkTable:
    """The episodes whose instruction begins so, renumbered."""
    wanted = [e for e, name in enumerate(table.episode_ids) if tasks[name].startswith(beginning)]
    part = table.select(np.flatnonzero(np.isin(table.episode, wanted)))
    number = {episode: index for index, episode in enumerate(wanted)}
    return replace(
        part,
        episode=np.array([number[episode] for episode in part.episode]),
        episode_ids=tuple(table.episode_ids[e] for e in wanted),
        start_ids=tuple(table.start_ids[e] for e in wanted),
    )


def plot(path: Path, curves: dict[str, ErrorCurve]) -> None:
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    least = max(3, max(int(curve.count[0]) for curve in curves.values()) // 2)
    for label, curve in curves.items():
        shown = int((curve.count >= least).sum())
        axes.plot(np.arange(1, shown + 1) * 0.2, curve.model[:shown], label=label)
    copy = next(iter(curves.values()))
    shown = int((copy.count >= least).sum())
    axes.plot(np.arange(1, shown + 1) * 0.2, copy.copy[:shown], "--", color="grey", label="copying the first frame")
    axes.set(xlabel="seconds imagined, from the first frame", ylabel="latent error (mean square)", ylim=(0, None))
    axes.set_title("Two-skill tasks, held-out starts", fontsize=10)
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)


def train(table: ChunkTable, options: argparse.Namespace, name: str) -> CompactWorldModel:
    config = CompactWorldModelConfig(image_size=SIZE, views=len(CAMERAS), steps=options.steps)
    checkpoint = options.folder / f"{name}-{options.steps}.pt"
    began = time.monotonic()
    model, _ = train_world_model(table, config, 0, checkpoint, name)
    print(f"{name}: {len(table)} chunks, {options.steps} steps in {time.monotonic() - began:.0f} s "
          f"on {torch.get_num_threads()} threads (a resumed one is shorter)")  # fmt: skip
    return model.eval()


def percent(values: Sequence[float] | np.ndarray) -> str:
    return " ".join(f"{100 * value:5.0f}" for value in values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/world-model-benchmark"))
    parser.add_argument("--videos", type=int, default=40, help="a task")
    parser.add_argument("--steps", type=int, default=900, help="of training")
    parser.add_argument("--seed", type=int, default=6000, help="of the first displacement")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    (options.folder / "bags").mkdir(parents=True, exist_ok=True)
    jobs = [job for job in videos(options.folder, options.videos, options.seed) if not Path(job.bag).exists()]
    with WorkerPool(options.threads) as pool:
        for _ in pool.run(record, jobs, description="videos"):
            pass
    summary = build_skills([options.folder / "bags"], options.folder / "skills", BuildSettings(form="bags"))
    print(machine())
    print(f"{summary.kept} of {summary.episodes} videos of {len(TASKS)} tasks split into {summary.clips} skill clips")
    skill_tables, whole_tables = (tables(options.folder, options.videos, whole=whole) for whole in (False, True))
    skill_model = train(skill_tables[0], options, "Skill-WM")
    whole_model = train(whole_tables[0], options, "Base-WM")
    report(options, skill_tables, whole_tables, skill_model, whole_model)


def report(
    options: argparse.Namespace,
    skill_tables: tuple[ChunkTable, ChunkTable, ChunkTable],
    whole_tables: tuple[ChunkTable, ChunkTable, ChunkTable],
    skill_model: CompactWorldModel,
    whole_model: CompactWorldModel,
) -> None:
    _, held_out, other = skill_tables
    ahead = horizon_errors(skill_model, held_out, AHEAD)
    print(
        f"\nheld-out episodes, {int(ahead.count[0])} frames, chunks ahead       "
        + " ".join(f"{k:5}" for k in range(1, 9))
    )
    print(f"error below copying the first frame, %                 {percent(ahead.gain)}")
    instructions = {
        name: whole_tables[1].prompts[int(np.flatnonzero(whole_tables[1].episode == e)[0])]
        for e, name in enumerate(whole_tables[1].episode_ids)
    }
    pairs = select(held_out, TWO_SKILLS, instructions)
    told = [instructions[name] for name in pairs.episode_ids]
    whole_pairs = select(whole_tables[1], TWO_SKILLS, instructions)
    curves = {
        "Skill-WM, skill by skill": task_drift(skill_model, pairs),
        "Skill-WM, whole task at once": task_drift(skill_model, pairs, told),
        "Base-WM, whole task at once": task_drift(whole_model, whole_pairs),
    }
    print(f"\ntwo-skill tasks: {len(told)} held-out episodes, from the first frame to the end, mean latent error")
    print(f"{'':32}{'all':>8}{'first half':>12}{'second half':>13}")
    for label, curve in curves.items():
        weights, half = curve.count, len(curve.model) // 2
        parts = [np.average(curve.model[s], weights=weights[s]) for s in (slice(None), slice(half), slice(half, None))]
        print(f"{label:32}{parts[0]:8.3f}{parts[1]:12.3f}{parts[2]:13.3f}")
    still = next(iter(curves.values()))
    print(f"{'copying the first frame':32}{np.average(still.copy, weights=still.count):8.3f}")
    plot(options.folder / "drift.png", curves)
    hits, cases, errors = two_futures(skill_model, held_out, other)
    print(f"\ntwo prompts from one frame: {hits} of {cases} futures are nearer their own truth; "
          f"error to own {errors[0].mean():.3f}, to the other's {errors[1].mean():.3f}")  # fmt: skip
    print(f"plot: {options.folder / 'drift.png'}")


if __name__ == "__main__":
    main()

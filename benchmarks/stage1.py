"""Stage 1: chunks aligned a second, ours against a straightforward loop in the shape of the public code.

Run: ``python -m benchmarks.stage1 [--threads 1] [--turns 5]``. Both train on the same synthetic clips, which lie in
files (their values do not matter to speed): random latents in the shape of the compact world model, then in that of
Cosmos-Predict2 at 480 x 832 pixels. A clip is one skill of one episode; clips are of one length, or of 19 to 40 chunks,
28 on average, about as the skill clips of the world model benchmark are.

*The loop* (``_published_loop.py``): 16 clips a step, each read from its own file; a Conv1d action VAE (KL 1e-4); for
every video anchor 16 negatives, 75 % of them other demonstrations of its skill, each one's actions read from its own
file (its latents are not: only videos are anchors); temperature 0.07; AdamW 1e-4, weight decay 1e-2, betas (0.9, 0.95),
gradients clipped to 1. Its losses are those of Stage 1 in one direction. It runs in a process of its own: what ours
asks of the allocator holds for a whole process.

*Ours*: ``train_alignment`` as it stands, with its checkpoint and progress bar: 8 chunks of each of 16 clips a step, the
contrast in both directions. The files were read once beforehand. An adapter that reads flow sees every chunk once,
before its first step; a row counts that in, with as many steps as the recipe has, the next is the steps by themselves.

A training sample is a chunk of video that is aligned with its own actions; padding does not count. The loop and ours
take turns, so that another load of the machine meets both alike; the figures are medians over the turns, and the ratio
is that of CPU time (the median of the turns' ratios), which another load hardly touches.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import torch

from benchmarks._machine import machine
from benchmarks._published_loop import Clip, PublishedLoop
from world2act_core.alignment.train import Stage1Config, train_alignment
from world2act_core.episodes.chunks import ChunkTable
from world2act_core.networks.codec import PatchCodec
from world2act_core.world_model.chunk_latents import InMemoryLatents

M, A = 4, 7
RECIPE_STEPS = 2500
WITH_SEEING = "ours, flow (the recipe's), with what is seen once"
SEEING, STEPS_ALONE = "seeing", "ours, flow (the recipe's), the steps"
LOOP = "straightforward loop"
SKILLS = 8
BATCH = 16

Rates = tuple[float, float]
"""Chunks a second, and a second of CPU time."""


@dataclass(frozen=True)
class Case:
    """Clips of ``shortest`` to ``longest`` chunks, and how many steps a turn takes of the loop and of ours."""

    name: str
    shape: tuple[int, int, int]
    clips: int
    shortest: int
    longest: int
    loop_steps: int
    our_steps: int


CASES = (
    Case("compact world model, clips of 24 chunks", (16, 8, 16), 256, 24, 24, loop_steps=30, our_steps=250),
    Case("compact world model, clips of 19 to 40 chunks", (16, 8, 16), 256, 19, 40, loop_steps=30, our_steps=250),
    Case("Cosmos-Predict2, clips of 24 chunks", (16, 60, 104), 32, 24, 24, loop_steps=1, our_steps=3),
)


def write_clips(case: Case, folder: Path) -> list[Clip]:
    """Every clip as two files: latents ``(T + 1, C, h, w)`` at the ends of its chunks, actions ``(T M, A)``."""
    rng = np.random.default_rng(0)
    clips = []
    for number in range(case.clips):
        chunks = case.shortest + round((case.longest - case.shortest) * rng.random() ** 1.3)  # many short, few long
        clip = Clip(folder / f"{number}.latents.npy", folder / f"{number}.actions.npy", number % SKILLS)
        np.save(clip.latents, rng.standard_normal((chunks + 1, *case.shape), dtype=np.float32))
        np.save(clip.actions, rng.uniform(-1, 1, (chunks * M, A)).astype(np.float32))
        clips.append(clip)
    return clips


def read_all(clips: list[Clip]) -> tuple[ChunkTable, InMemoryLatents]:
    """The same clips as Stage 1 reads them: a chunk table, and the latents around its chunks."""
    latents = torch.from_numpy(np.concatenate([np.load(clip.latents) for clip in clips]))
    actions = [np.load(clip.actions).reshape(-1, M, A) for clip in clips]
    episode = np.repeat(np.arange(len(clips)), [len(part) for part in actions])
    chunk = np.concatenate([np.arange(len(part)) for part in actions])
    before = np.arange(len(episode)) + episode  # a clip has one latent more than chunks
    names = tuple(str(number) for number in range(len(clips)))
    table = ChunkTable(
        frames=np.zeros((len(latents), 1, 1, 3), np.uint8),  # Stage 1 sees latents only
        before=before,
        after=before + 1,
        previous=np.where(chunk > 0, before - 1, before),
        proprio=np.zeros((len(episode), 1), np.float32),
        actions=np.concatenate(actions),
        labelled=np.ones(len(episode), bool),
        step=M * chunk,
        clock=chunk,
        episode=episode,
        prompts=tuple(f"skill {clips[number].skill}" for number in episode),
        episode_ids=names,
        start_ids=names,
    )
    return table, InMemoryLatents(latents, table.before, table.after)


def fitted_codec(shape: tuple[int, int, int]) -> PatchCodec | None:
    """The compact world model's, if the latents are like its own; what it decodes is noise."""
    codec = PatchCodec(64, 2, 8, 16)
    if shape != codec.latent_shape:
        return None
    codec.fit(torch.randint(0, 256, (64, 64, 128, 3), dtype=torch.uint8))
    return codec


def _difference(all_of_it: float, one_step: float) -> float:
    """Chunks a second of the steps but the first, from the rates of all steps and of one; each has seen all chunks."""
    chunks = BATCH * Stage1Config().length
    return (RECIPE_STEPS - 1) * chunks / (RECIPE_STEPS * chunks / all_of_it - chunks / one_step)


def serve_loop(asked: Connection, clips: list[Clip], threads: int) -> None:
    """The straightforward loop, in another process: answers a number of steps with their rates, until it is told 0."""
    torch.set_num_threads(threads)
    loop = PublishedLoop(clips, BATCH, M)
    loop.step()  # reads what is not in the page cache yet
    while steps := asked.recv():
        asked.send(rates(lambda: sum(loop.step() for _ in range(steps))))


def rates(work: Callable[[], int]) -> Rates:
    """Chunks a second, and a second of CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    chunks = work()
    return chunks / (time.perf_counter() - wall), chunks / (time.process_time() - cpu)


def compare(case: Case, turns: int, folder: Path) -> None:
    """Print the rows of one case."""
    clips = write_clips(case, folder)
    table, latents = read_all(clips)
    codec = fitted_codec(case.shape)
    asked, answers = multiprocessing.Pipe()
    fresh = multiprocessing.get_context("spawn")
    process = fresh.Process(target=serve_loop, args=(answers, clips, torch.get_num_threads()), daemon=True)
    process.start()
    answers.close()  # so that a loop that has died is noticed, not waited for

    def loop() -> Rates:
        asked.send(case.loop_steps)
        found: Rates = asked.recv()
        return found

    def ours(pooling: str, steps: int = case.our_steps) -> int:
        config = Stage1Config(steps=steps, batch=BATCH, pooling=pooling)
        checkpoint = folder / "checkpoint.pt"
        checkpoint.unlink(missing_ok=True)
        train_alignment(table, latents, config, 0, checkpoint, label=case.name, codec=codec)
        return steps * BATCH * config.length

    works: dict[str, Callable[[], int]] = {
        "ours, every patch": lambda: ours("patches"),
        "ours, the paper's video adapter": lambda: ours("average"),
    }
    if codec is not None:
        works[WITH_SEEING] = lambda: ours("flow", RECIPE_STEPS)
        works[SEEING] = lambda: ours("flow", 1)
    found = [{LOOP: loop()} | {name: rates(work) for name, work in works.items()} for _ in range(turns)]
    asked.send(0)
    process.join()
    print(f"\n{case.name + ', latents ' + str(case.shape):66}{'chunks/s':>10}{'/s of CPU':>11}{'ratio':>7}")
    if codec is not None:
        for turn in found:
            whole, seeing = turn[WITH_SEEING], turn.pop(SEEING)
            turn[STEPS_ALONE] = _difference(whole[0], seeing[0]), _difference(whole[1], seeing[1])
    for name in found[0]:
        wall, cpu = (statistics.median(turn[name][column] for turn in found) for column in (0, 1))
        ratio = statistics.median(turn[name][1] / turn[LOOP][1] for turn in found)
        print(f"  {name:64}{wall:10.0f}{cpu:11.0f}{ratio:7.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(machine())
    print(f"{options.threads} thread(s), {options.turns} turns, {BATCH} clips a step")
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            compare(case, options.turns, Path(folder))


if __name__ == "__main__":
    main()

"""What ``benchmarks.world_model`` measures of the models of one training seed, and how it prints that of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import numpy as np

from world2act_core.episodes.chunks import ChunkTable
from world2act_core.types import Array
from world2act_core.world_model.compact import CompactWorldModel
from world2act_core.world_model.measure import ErrorCurve, followers, imagined_and_real, plan_from, task_drift
from world2act_core.world_model.scores import Scores, score

CHUNK_S = 0.2
PICTURES_AT = (1, 4, 8)
PROMPT_CHUNKS = 16
"""How far the two futures of one frame are imagined for the test of the prompt."""
WINDOWS = ((1, 8), (9, 16), (17, 24), (25, 32))
"""Chunks ahead; the two futures begin alike, so the test is also printed by how far ahead it looks."""


@dataclass(frozen=True)
class Tables:
    """Chunks of the videos: to train on, held out, and other futures of held-out starts; skills marked or not."""

    train: ChunkTable
    held_out: ChunkTable
    other: ChunkTable


@dataclass(frozen=True)
class Futures:
    """Both futures of each frame, under their prompts.

    Attributes:
        own, foreign: one array ``(chunks,)`` a case of squared errors to the truth under the own and the other prompt.
        apart: the same between the two truths.
    """

    own: list[Array]
    foreign: list[Array]
    apart: list[Array]

    def nearer(self, first: int, last: int) -> tuple[int, int]:
        """Of how many cases that reach chunk ``first`` the own truth is nearer over chunks ``first`` to ``last``."""
        part = slice(first - 1, last)
        pairs = [(own[part].mean(), foreign[part].mean())
                 for own, foreign in zip(self.own, self.foreign, strict=True) if len(own) >= first]  # fmt: skip
        return sum(int(own < foreign) for own, foreign in pairs), len(pairs)

    def mean(self, which: str, first: int, last: int) -> float:
        errors: list[Array] = getattr(self, which)
        return float(np.mean([each[first - 1 : last].mean() for each in errors if len(each) >= first]))


@dataclass(frozen=True)
class Measured:
    """All figures of one training seed."""

    scores: Scores
    drift: dict[str, ErrorCurve]
    futures: Futures


def measure(skilled: Tables, whole: Tables, skill_wm: CompactWorldModel, base_wm: CompactWorldModel,
            two_skills: str) -> Measured:  # fmt: skip
    """``two_skills`` is how the instructions of two-skill tasks begin."""
    instructions = {name: whole.held_out.prompts[int(np.flatnonzero(whole.held_out.episode == number)[0])]
                    for number, name in enumerate(whole.held_out.episode_ids)}  # fmt: skip
    pairs, whole_pairs = (select(each.held_out, two_skills, instructions) for each in (skilled, whole))
    told = [instructions[name] for name in pairs.episode_ids]
    drift = {
        "Skill-WM, skill by skill": task_drift(skill_wm, pairs),
        "Skill-WM, whole task at once": task_drift(skill_wm, pairs, told),
        "Base-WM, whole task at once": task_drift(base_wm, whole_pairs),
    }
    return Measured(score(skill_wm, skilled.held_out), drift, two_futures(skill_wm, skilled.held_out, skilled.other))


def select(table: ChunkTable, beginning: str, instructions: dict[str, str]) -> ChunkTable:
    """The episodes whose instruction begins so, renumbered."""
    wanted = [number for number, name in enumerate(table.episode_ids) if instructions[name].startswith(beginning)]
    part = table.select(np.flatnonzero(np.isin(table.episode, wanted)))
    number = {episode: index for index, episode in enumerate(wanted)}
    return replace(
        part,
        episode=np.array([number[episode] for episode in part.episode]),
        episode_ids=tuple(table.episode_ids[each] for each in wanted),
        start_ids=tuple(table.start_ids[each] for each in wanted),
    )


def twins(table: ChunkTable, other: ChunkTable) -> list[tuple[int, int]]:
    """First rows, in either table, of the two videos of each start; what their first frames show is the same."""
    first, other_first = ({name: int(np.flatnonzero(part.episode == number)[0])
                           for number, name in enumerate(part.episode_ids) if (part.episode == number).any()}
                          for part in (table, other))  # fmt: skip
    found = [(first[name.removeprefix("other-")], row) for name, row in other_first.items()
             if name.removeprefix("other-") in first]  # fmt: skip
    for row, other_row in found:
        if not np.array_equal(table.frames[table.before[row]], other.frames[other.before[other_row]]):
            raise ValueError(f"two videos of {table.episode_ids[table.episode[row]]} begin differently")
    return found


def two_futures(model: CompactWorldModel, table: ChunkTable, other: ChunkTable) -> Futures:
    """Both tasks from each start from which both were recorded, as long as the shorter video."""
    futures = Futures([], [], [])
    for row, other_row in twins(table, other):
        length = min(len(followers(part, each, len(part))) for part, each in ((table, row), (other, other_row)))
        (first, first_real), (second, second_real) = (
            next(imagined_and_real(model, part, [(each, plan_from(part, each, length))]))
            for part, each in ((table, row), (other, other_row))
        )
        for imagined, own, foreign in ((first, first_real, second_real), (second, second_real, first_real)):
            for kept, left, right in (
                (futures.own, imagined, own),
                (futures.foreign, imagined, foreign),
                (futures.apart, own, foreign),
            ):
                kept.append((left - right).square().mean((0, 2, 3))[1:].numpy())
    return futures


def print_seed(seed: int, found: Measured) -> None:
    scores = found.scores
    print(f"\nseed {seed}: {scores.episodes} held-out episodes, {int(scores.latent.count[0])} frames")
    print(f"{'chunks ahead':42}" + " ".join(f"{k:5}" for k in range(1, scores.horizon + 1)))
    print(f"{'error below copying the first frame, %':42}{percent(scores.latent.gain)}")
    for name, pictures, form in (("PSNR, dB", scores.psnr, "6.1f"), ("SSIM", scores.ssim, "6.3f")):
        for k in PICTURES_AT:
            values = (pictures.imagined[k - 1], pictures.copied[k - 1], pictures.coded[k - 1])
            said = " / ".join(f"{value:{form}}" for value in values)
            print(f"{f'{name}, {k} ahead: imagined/copied/codec':42}{said}")
    print(f"\n{'two-skill tasks, mean latent error':36}{'all':>8}{'first half':>12}{'second half':>13}")
    for label, curve in found.drift.items():
        everywhere, early, late = halves(curve)
        print(f"{label:36}{everywhere:8.3f}{early:12.3f}{late:13.3f}")
    everywhere, early, late = halves(copying(found), "copy")
    print(f"{'copying the first frame':36}{everywhere:8.3f}{early:12.3f}{late:13.3f}")
    print(f"\n{'two prompts, chunks ahead':28}{'nearer own truth':>18}{'error to own':>14}{'to other':>10}"
          f"{'truths apart':>14}")  # fmt: skip
    futures, longest = found.futures, max(map(len, found.futures.own))
    for first, last in ((1, PROMPT_CHUNKS), *WINDOWS, (1, longest)):
        hits, cases = futures.nearer(first, last)
        if cases:
            own, foreign, apart = (futures.mean(which, first, last) for which in ("own", "foreign", "apart"))
            label = f"{first} to {last}" if last < longest else f"{first} to the end"
            print(f"{label:28}{f'{hits} of {cases}':>18}{own:14.3f}{foreign:10.3f}{apart:14.3f}")


def print_all(found: dict[int, Measured]) -> None:
    """Mean and range over the training seeds of the headline rows."""
    all_of, seeds = list(found.values()), ", ".join(map(str, found))
    print(f"\ntraining seeds {seeds}: mean (lowest to highest)")
    gains = np.stack([each.scores.latent.gain for each in all_of])
    print(f"{'chunks ahead':42}" + " ".join(f"{k:5}" for k in range(1, gains.shape[1] + 1)))
    for label, values in (("mean", gains.mean(0)), ("lowest", gains.min(0)), ("highest", gains.max(0))):
        print(f"{f'error below copying, %, {label}':42}{percent(values)}")
    print(f"{'':42}{'all':24}{'first half':24}second half")
    for label in all_of[0].drift:
        columns = np.array([halves(each.drift[label]) for each in all_of]).T
        print(f"{f'drift, {label}':42}" + "  ".join(map(spread, columns)))
    composed, at_once = (
        [halves(each.drift[label])[0] for each in all_of]
        for label in ("Skill-WM, skill by skill", "Skill-WM, whole task at once")
    )
    below = [1 - one / other for one, other in zip(composed, at_once, strict=True)]
    print(f"{'Skill-WM, skill by skill below at once, %':42}{spread([100 * value for value in below], '.0f')}")
    for said, last in ((f"to {PROMPT_CHUNKS} chunks", PROMPT_CHUNKS), ("to the end", 10_000)):
        pairs = [each.futures.nearer(1, last) for each in all_of]
        print(f"{f'futures nearer own truth, {said}':42}{sum(hits for hits, _ in pairs)} of "
              f"{sum(cases for _, cases in pairs)} ({', '.join(str(hits) for hits, _ in pairs)})")  # fmt: skip


def plot(path: Path, found: Sequence[Measured]) -> None:
    """Error over time; the band spans the training seeds."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    labels = list(found[0].drift)
    count = copying(found[0]).count
    shown = int((count >= max(3, int(count[0]) // 2)).sum())  # the same videos for every curve and seed
    seconds = np.arange(1, shown + 1) * CHUNK_S
    for label in labels:
        curves = np.stack([each.drift[label].model[:shown] for each in found])
        (line,) = axes.plot(seconds, curves.mean(0), label=label)
        axes.fill_between(seconds, curves.min(0), curves.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    still = np.stack([copying(each).copy[:shown] for each in found]).mean(0)
    axes.plot(seconds, still, "--", color="grey", label="copying the first frame")
    axes.set(xlabel="seconds imagined, from the first frame", ylabel="latent error (mean square)", ylim=(0, None))
    axes.set_title(f"Two-skill tasks, held-out starts, {len(found)} training seeds", fontsize=10)
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)


def copying(found: Measured) -> ErrorCurve:
    """Any curve of the two-skill tasks: each has that of copying beside it."""
    return next(iter(found.drift.values()))


def halves(curve: ErrorCurve, which: str = "model") -> tuple[float, float, float]:
    """Mean error over all chunks, over those of the first half of the longest episode, and over those of the second."""
    errors, half = getattr(curve, which), len(curve.count) // 2

    def over(part: slice) -> float:
        return float(np.average(errors[part], weights=curve.count[part]))

    return over(slice(None)), over(slice(half)), over(slice(half, None))


def percent(values: Sequence[float] | Array) -> str:
    return " ".join(f"{100 * value:5.0f}" for value in values)


def spread(values: Sequence[float] | Array, form: str = ".3f") -> str:
    return f"{np.mean(values):{form}} ({min(values):{form}} to {max(values):{form}})"

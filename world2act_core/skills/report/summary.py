"""The figures of a skill dataset, counted from its journal.

The synchronisation rate is about episodes whose events could be held against their instruction. Episodes that could not
be read, and recordings that say themselves that the attempt failed, are set apart: they are listed, but belong neither
above nor below the fraction line.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from world2act_core.pages.rates import Interval, wilson_interval
from world2act_core.skills.journal import FAILED, UNREADABLE, Record
from world2act_core.skills.synchronise import is_prehensile
from world2act_core.skills.types import Usage

PAPER_RATES = {"RoboCasa": 0.962, "LIBERO": 0.869}
"""Synchronisation rates that World2Act (arXiv 2603.10422, section 3.1) reports, for reference."""
PAPER_CONCENTRATION = {"RoboCasa": 0.17, "LIBERO": 0.72}
"""How much the density near the median length rises from episodes to clips by the same section. Its measure is not
published in detail; ours is the relative change of ``Lengths.near_median``."""
NEAR = 0.2
"""A length is near the median if it differs from it by no more than this share of it."""


@dataclass(frozen=True)
class Rate:
    """How many of the episodes that could be judged gave clips."""

    kept: int
    judged: int

    @property
    def share(self) -> float | None:
        """None if there was nothing to judge."""
        return self.kept / self.judged if self.judged else None

    @property
    def interval(self) -> Interval | None:
        """95 % Wilson interval; None if there was nothing to judge."""
        return wilson_interval(self.kept, self.judged) if self.judged else None


@dataclass(frozen=True)
class Lengths:
    """Lengths in seconds, in the order of the journal."""

    seconds: tuple[float, ...]

    @cached_property
    def quartiles(self) -> tuple[float, float, float] | None:
        """First quartile, median, third quartile, in seconds; None if there are no lengths."""
        if not self.seconds:
            return None
        low, middle, high = np.quantile(self.seconds, (0.25, 0.5, 0.75))
        return float(low), float(middle), float(high)

    @cached_property
    def near_median(self) -> float | None:
        """Share of the lengths within 20 % of their median; None if there are none."""
        if self.quartiles is None:
            return None
        median = self.quartiles[1]
        # Lengths are whole control steps: one that lies on the border belongs to it, whatever its last bit says.
        return float(np.mean(np.abs(np.asarray(self.seconds) - median) <= NEAR * median + 1e-9))


@dataclass(frozen=True)
class TaskFigures:
    """Episodes of one instruction; ``apart`` of them could not be judged."""

    task: str
    rate: Rate
    apart: int


@dataclass(frozen=True)
class SkillFigures:
    """Clips of one skill prompt."""

    prompt: str
    lengths: Lengths


@dataclass(frozen=True)
class NoteFigures:
    """What segmentation overruled (``regrasp``, ``drop`` ...): how often, and in how many episodes."""

    name: str
    count: int
    episodes: int


@dataclass(frozen=True)
class Summary:
    """The figures of a dataset.

    Attributes:
        episodes: all that were looked at.
        overall: synchronisation rate.
        prehensile, non_prehensile: the same of instructions all of whose steps take, carry or let go, and of the
            others. Episodes whose instruction could not be decomposed are in neither.
        tasks: by instruction, lowest rate first.
        discards: phrase and number of judged episodes that gave no clips, most frequent first.
        apart: the same of episodes that could not be judged.
        notes: what segmentation overruled in the judged episodes.
        skills: by prompt, most clips first.
        before, after: lengths of the whole episodes that were kept, and of their clips.
        usage: what the decomposition cost in all.
    """

    episodes: int
    overall: Rate
    prehensile: Rate
    non_prehensile: Rate
    tasks: tuple[TaskFigures, ...]
    discards: tuple[tuple[str, int], ...]
    apart: tuple[tuple[str, int], ...]
    notes: tuple[NoteFigures, ...]
    skills: tuple[SkillFigures, ...]
    before: Lengths
    after: Lengths
    usage: Usage

    @property
    def kept(self) -> int:
        """Episodes that gave clips."""
        return self.overall.kept

    @property
    def clips(self) -> int:
        return len(self.after.seconds)

    @property
    def concentration(self) -> float | None:
        """Relative change of the share of lengths near the median, from episodes to clips: 0.5 is half as much again.

        None where it is not defined.
        """
        before, after = self.before.near_median, self.after.near_median
        return after / before - 1 if before and after is not None else None


def summarise(records: Iterable[Record]) -> Summary:
    """Count a journal."""
    found = list(records)
    judged = [record for record in found if could_be_judged(record)]
    kept = [record for record in judged if record.kept]
    planned = [(record, is_prehensile(record.plan)) for record in judged if record.plan]
    return Summary(
        episodes=len(found),
        overall=_rate(judged),
        prehensile=_rate([record for record, prehensile in planned if prehensile]),
        non_prehensile=_rate([record for record, prehensile in planned if not prehensile]),
        tasks=_tasks(found),
        discards=_by_phrase(record for record in judged if not record.kept),
        apart=_by_phrase(record for record in found if not could_be_judged(record)),
        notes=_notes(judged),
        skills=_skills(kept),
        before=Lengths(tuple(record.steps * record.step_s for record in kept)),
        after=Lengths(tuple((s.end - s.start) * record.step_s for record in kept for s in record.skills)),
        usage=sum((record.usage for record in found), Usage()),
    )


def could_be_judged(record: Record) -> bool:
    """Whether the episode counts in the synchronisation rate."""
    return record.discard not in (UNREADABLE, FAILED)


def _rate(judged: Sequence[Record]) -> Rate:
    return Rate(sum(record.kept for record in judged), len(judged))


def _by_phrase(records: Iterable[Record]) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(record.discard for record in records).most_common())


def _tasks(records: Iterable[Record]) -> tuple[TaskFigures, ...]:
    of_task: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.task:  # of a file that could not be read, not even the instruction is known
            of_task[record.task].append(record)
    tasks = []
    for task, all_of_it in of_task.items():
        judged = [record for record in all_of_it if could_be_judged(record)]
        tasks.append(TaskFigures(task, _rate(judged), len(all_of_it) - len(judged)))

    def worst_first(figures: TaskFigures) -> tuple[float, int]:
        share = figures.rate.share
        return (2.0 if share is None else share, -figures.rate.judged)

    return tuple(sorted(tasks, key=worst_first))


def _notes(records: Iterable[Record]) -> tuple[NoteFigures, ...]:
    counts: Counter[str] = Counter()
    episodes: Counter[str] = Counter()
    for record in records:
        for name, count in record.notes:
            if count:
                counts[name] += count
                episodes[name] += 1
    return tuple(NoteFigures(name, count, episodes[name]) for name, count in counts.most_common())


def _skills(kept: Iterable[Record]) -> tuple[SkillFigures, ...]:
    seconds: dict[str, list[float]] = defaultdict(list)
    for record in kept:
        for skill in record.skills:
            seconds[skill.prompt].append((skill.end - skill.start) * record.step_s)
    found = [SkillFigures(prompt, Lengths(tuple(lengths))) for prompt, lengths in seconds.items()]
    return tuple(sorted(found, key=lambda figures: -len(figures.lengths.seconds)))

"""Synchronisation rate and boundary errors on perturbed demonstrations. Run: python -m benchmarks.skills

Every task's demonstrator is recorded with pauses, repeated grasps, dropped objects, execution noise and displaced
objects; ``world2act skills build``'s library call splits the bags; the clips are compared with what the simulator's
contacts and object states say. Recordings are kept in the folder, so that a killed run goes on and a second one only
builds and compares.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks._machine import machine
from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import read_bag
from world2act_core.episodes.writer import write_whole_bag
from world2act_core.evaluation.statistics import wilson_interval
from world2act_core.runs.stage import write_json
from world2act_core.simulators.demonstrators.library import DEMONSTRATORS, demonstrator
from world2act_core.simulators.demonstrators.script import Mishaps
from world2act_core.simulators.rollout import Moment, NoisyActor, rollout
from world2act_core.simulators.starts import Start
from world2act_core.simulators.workers import WorkerContext, WorkerPool
from world2act_core.skills.build import BuildSettings, build_skills
from world2act_core.skills.contact import ContactSegmenter
from world2act_core.skills.grammar import GrammarDecomposer
from world2act_core.skills.gripper import GripperSegmenter
from world2act_core.skills.journal import Record, read_journal
from world2act_core.skills.streams import streams_of
from world2act_core.skills.synchronise import assign, is_prehensile, synchronise_skills
from world2act_core.skills.truth import Witness, true_events
from world2act_core.skills.types import Event, EventKind, Segmenter, Step

JITTER_CM, NOISE = 2.0, 0.05
MISHAPS = Mishaps(pauses=1.5, regrasp=0.3, drop=0.2)
WITHDRAWAL_CHUNKS = 4
PAPER = "paper (World2Act, section 3.1): 96.2 % RoboCasa, 86.9 % LIBERO"


@dataclass(frozen=True)
class Recording:
    """One perturbed demonstration to record: where it begins and where its bag and its truth go."""

    start: Start
    folder: str

    @property
    def bag(self) -> Path:
        return Path(self.folder) / "bags" / self.name

    @property
    def truth(self) -> Path:
        return Path(self.folder) / "truth" / f"{self.name}.json"

    @property
    def name(self) -> str:
        return f"{self.start.suite}-{self.start.task}-{self.start.index:02d}-{self.start.seed}"


def record(job: Recording, context: WorkerContext) -> bool:
    """Record a demonstration and what really happened in it; the bag only if the task was solved."""
    start = job.start
    simulator = context.simulator(start.suite, start.task)
    script = demonstrator(start.suite, start.task, replace(MISHAPS, seed=start.seed))
    moves = np.array([name in ("x", "y", "z") for name in simulator.embodiment.action.names], np.float64)
    witness = Witness(NoisyActor(script, start.seed, NOISE * moves))
    episode = rollout(
        simulator, witness, start, episode_id=job.name, source="demonstrator", extra_chunks=WITHDRAWAL_CHUNKS
    )
    witness.look(Moment(simulator, episode.steps))
    events = [asdict(event) for event in true_events(witness)]
    if episode.success:
        write_whole_bag(episode, job.bag, simulator.embodiment)
    write_json(job.truth, {"success": episode.success, "events": events})
    return bool(episode.success)


@dataclass
class Comparison:
    """Clips against the truth.

    Attributes:
        seen: episodes. synchronised: those that gave clips. wrong: clips although the truth has other events.
        errors: control steps by which each event was missed, signed.
    """

    seen: int = 0
    synchronised: int = 0
    wrong: int = 0
    errors: tuple[int, ...] = ()

    def take(self, plan: Sequence[Step], events: Sequence[Event], kept: bool, truth: Sequence[Event]) -> None:
        self.seen += 1
        if not kept:
            return
        self.synchronised += 1
        ends, true_ends = _ends(plan, events), _ends(plan, truth)
        if ends is None or true_ends is None:
            self.wrong += 1
            return
        self.errors += tuple(found - true for found, true in zip(ends, true_ends, strict=True))

    def row(self, label: str) -> str:
        if not self.seen:
            return f"{label:46}    0"
        low, high = wilson_interval(self.synchronised, self.seen)
        off = np.abs(self.errors) if self.errors else np.array([np.nan])
        return (
            f"{label:46}{self.synchronised:5} of {self.seen:<4}{100 * self.synchronised / self.seen:6.1f} %"
            f"  ({100 * low:.1f} to {100 * high:.1f}){self.wrong:7}"
            f"{np.median(off):8.1f}{np.percentile(off, 90):7.1f}{off.max():6.0f}"
        )


HEAD = f"{'':46}{'synchronised':>12}{'95 % interval':>25}{'wrong':>9}{'median':>8}{'p90':>7}{'max':>6}"


def _ends(plan: Sequence[Step], events: Sequence[Event]) -> list[int] | None:
    """Where each step of the plan ends, by its last event; None if the events do not fit the plan."""
    counts = assign(plan, events)
    if counts is None:
        return None
    return [events[taken - 1].step for taken in np.cumsum(counts)]


def read_truth(path: Path) -> list[Event]:
    return [Event(EventKind(raw.pop("kind")), **raw) for raw in json.loads(path.read_text())["events"]]


def compare_build(records: Iterable[Record], folder: Path) -> dict[str, Comparison]:
    """Label (group or instruction) → comparison, for what a build journalled."""
    tables = {"prehensile": Comparison(), "non-prehensile": Comparison()}
    for each in records:
        truth = read_truth(folder / "truth" / f"{each.episode_id}.json")
        group = "prehensile" if is_prehensile(each.plan) else "non-prehensile"
        for label in (group, each.task):
            tables.setdefault(label, Comparison()).take(each.plan, each.events, each.kept, truth)
    return tables


def compare_segmenter(segmenter: Segmenter, folder: Path) -> dict[str, Comparison]:
    """The same for another segmenter, without writing a dataset."""
    embodiment, grammar = load_embodiment("libero_panda"), GrammarDecomposer()
    tables = {"prehensile": Comparison(), "non-prehensile": Comparison()}
    for bag in sorted((folder / "bags").iterdir()):
        for episode in read_bag(bag, embodiment, cameras=()).episodes:
            found = segmenter.segment(streams_of(episode, embodiment))
            plan = grammar.decompose(episode.task, [event.kind for event in found.events])
            kept = bool(synchronise_skills(found, plan, episode.steps, embodiment.step_s).skills)
            group = "prehensile" if is_prehensile(plan.steps) else "non-prehensile"
            truth = read_truth(folder / "truth" / f"{episode.episode_id}.json")
            tables[group].take(plan.steps, found.events, kept, truth)
    return tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/skills-benchmark"))
    parser.add_argument("--episodes", type=int, default=20, help="a task")
    parser.add_argument("--seed", type=int, default=5000, help="of the first displacement; another one: fresh episodes")
    parser.add_argument("--tasks", nargs="*", help="such as libero_goal/5; all demonstrators without")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    tasks = [task for task in DEMONSTRATORS if not options.tasks or f"{task[0]}/{task[1]}" in options.tasks]
    jobs = [
        Recording(Start(suite, task, index % 50, JITTER_CM, options.seed + index), str(options.folder))
        for suite, task in tasks
        for index in range(options.episodes)
    ]
    for name in ("bags", "truth"):
        (options.folder / name).mkdir(parents=True, exist_ok=True)
    missing = [job for job in jobs if not job.truth.exists()]
    with WorkerPool(options.workers) as pool:
        for _ in pool.run(record, missing, description="demonstrations"):
            pass
    solved = [job for job in jobs if json.loads(job.truth.read_text())["success"]]
    shutil.rmtree(options.folder / "dataset", ignore_errors=True)
    began = time.monotonic()
    summary = build_skills(
        [job.bag for job in solved], options.folder / "dataset", BuildSettings(form="bags"), progress=True
    )
    seconds = time.monotonic() - began
    print(machine())
    print(
        f"{len(jobs)} demonstrations of {len(tasks)} tasks: {JITTER_CM:g} cm jitter, noise {NOISE:g}, {MISHAPS}; "
        f"{len(solved)} solved the task and are judged; built in {seconds:.0f} s"
    )
    print(f"errors in control steps of 50 ms, against contacts and object states; {PAPER}\n\n{HEAD}")
    records = read_journal(options.folder / "dataset")
    tables = compare_build(records, options.folder)
    for label in ("prehensile", "non-prehensile"):
        print(tables.pop(label).row(label))
    print()
    for label in sorted(tables):
        print(tables[label].row(label[:45]))
    print(f"\nthe paper's rule ({GripperSegmenter.name}) on the same episodes, beside ours ({ContactSegmenter.name})")
    for label, table in compare_segmenter(GripperSegmenter(), options.folder).items():
        print(table.row(label))
    print(f"\ndiscarded: {dict(summary.discards) or 'none'}")


if __name__ == "__main__":
    main()

"""Building a skill dataset: episodes in, atomic skill clips out, with a journal of what became of each episode.

One episode is in memory at a time. A build that was killed goes on where it was; what had been read and written is
not done again, and what was lost with an unfinished file is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from world2act_core.embodiment import Embodiment, load_embodiment
from world2act_core.episodes import BagReport
from world2act_core.episodes.lerobot.video import DEFAULT_CODEC
from world2act_core.episodes.sources import find_sources, iterate_source
from world2act_core.errors import ContractError, RunError, World2ActError
from world2act_core.runs.stage import make_folder, write_json
from world2act_core.skills.contact import ContactSegmenter
from world2act_core.skills.grammar import GrammarDecomposer
from world2act_core.skills.journal import (
    FAILED,
    JOURNAL,
    UNREADABLE,
    Record,
    append_record,
    read_journal,
    rewrite_journal,
)
from world2act_core.skills.report import Summary, summarise, write_report
from world2act_core.skills.sinks import Sink, open_sink
from world2act_core.skills.streams import streams_of
from world2act_core.skills.synchronise import TAIL_S, synchronise_skills
from world2act_core.skills.thumbnails import clip_thumbnails, wants_thumbnails
from world2act_core.skills.types import Decomposer, MeasuredGripper, Segmenter
from world2act_core.types import Episode

SETTINGS, FINISHED, DATASET = "build.json", "finished.json", "dataset"


@dataclass(frozen=True)
class BuildSettings:
    """What a dataset is made of; a killed build can only go on with the same.

    Attributes:
        embodiment: name or file of the contract that all sources follow.
        form: ``lerobot`` or ``bags``.
        codec: of the videos, with ``lerobot``.
        cameras: which to keep; None keeps those that an episode has.
        frame_every: take frames only at steps that are multiples of this.
        failures: keep episodes that are marked as failed attempts.
        tail_s: seconds behind the last event that still belong to the last clip.
        gripper: as measured; None takes the contract's width, which needs fingers in metres.
    """

    embodiment: str = "libero_panda"
    form: str = "lerobot"
    codec: str = DEFAULT_CODEC
    cameras: tuple[str, ...] | None = None
    frame_every: int = 1
    failures: bool = False
    tail_s: float = TAIL_S
    gripper: MeasuredGripper | None = None


def build_skills(
    inputs: Sequence[str | Path],
    folder: str | Path,
    settings: BuildSettings = BuildSettings(),
    *,
    segmenter: Segmenter | None = None,
    decomposer: Decomposer | None = None,
    progress: bool = False,
) -> Summary:
    """Make a skill dataset of bags, LIBERO or RoboCasa HDF5 files and LeRobot v3 datasets.

    Args:
        inputs: files and folders, or folders that hold many of them.
        folder: of the dataset; one that a killed build of the same settings left is continued.
        segmenter: finds events; None takes `ContactSegmenter`.
        decomposer: splits instructions; None takes the grammar, which needs no model.
        progress: show a progress bar.

    Returns:
        The figures of the report, which is written to ``folder/report.html``.

    Raises:
        World2ActError: an input does not exist or cannot be opened as anything, or a setting means nothing; nothing was
            changed.
        RunError: the folder holds something else, or a build with other settings; or no episode could be read, of which
            nothing is left.
    """
    builder = _Builder(
        Path(folder), settings, segmenter or ContactSegmenter(), decomposer or GrammarDecomposer(), find_sources(inputs)
    )
    try:
        with builder.sink:
            builder.resume()
            with _bar(builder, progress) as bar:
                for record in builder.run():
                    if bar is not None:
                        bar.update()
                        bar.set_postfix_str(
                            f"{builder.kept} of {len(builder.records)} kept; {Path(record.source).name}"
                        )
            builder.refuse_nothing()
    except World2ActError:
        builder.give_back()
        raise
    write_report(builder.folder)
    return summarise(builder.records)


class _Builder:
    def __init__(
        self, folder: Path, settings: BuildSettings, segmenter: Segmenter, decomposer: Decomposer, sources: list[Path]
    ) -> None:
        if settings.frame_every < 1:
            raise World2ActError(
                f"frames at every {settings.frame_every}-th step are none: --frame-every takes 1 or more"
            )
        self.folder, self.settings, self.segmenter, self.decomposer = folder, settings, segmenter, decomposer
        self.sources = sources
        self.embodiment: Embodiment = load_embodiment(settings.embodiment)
        self.sink: Sink = open_sink(settings.form, folder / DATASET, self.embodiment, settings.codec)
        self._claim_folder()
        self.records: list[Record] = []
        self._resumed = False
        self._finished: set[str] = set()
        self._owner: dict[str, str] = {}  # episode that was kept → its source

    @property
    def kept(self) -> int:
        return len(self._owner)

    def resume(self) -> None:
        """Take over what an earlier build left; forget episodes that went down with an unfinished file."""
        found = read_journal(self.folder)
        for record in found:
            if not record.kept or self.sink.holds(record.episode_id):
                self._take(record)
        lost = {record.source for record in found} if len(found) != len(self.records) else set()
        rewrite_journal(self.folder, self.records)
        path = self.folder / FINISHED
        self._finished = (set(json.loads(path.read_text())) if path.exists() else set()) - lost
        self._resumed = True

    def run(self) -> Iterator[Record]:
        """Every episode that was not looked at before, as it is recorded."""
        for source in self.sources:
            if str(source) not in self._finished:
                for record in self._source(source):
                    self._take(record)
                    append_record(self.folder, record)
                    yield record
                self._finished.add(str(source))
                write_json(self.folder / FINISHED, sorted(self._finished))

    def refuse_nothing(self) -> None:
        """An empty data set is no answer: most often the contract or the cameras were not those of the recording.

        Raises:
            RunError: no episode could be read.
        """
        if any(record.steps for record in self.records):
            return
        asked = f"as {self.embodiment.name}" + "".join(f" with camera {name}" for name in self.settings.cameras or ())
        why = self.records[0].reason if self.records else "the inputs hold none"
        raise RunError(f"no episode could be read {asked}, so nothing was built: {why}")

    def give_back(self) -> None:
        """Leave no claim on the folder if no episode is told of in it: the next command may have other settings."""
        if not self._resumed or any(record.steps for record in self.records):
            return
        for name in (SETTINGS, FINISHED, JOURNAL):
            (self.folder / name).unlink(missing_ok=True)
        shutil.rmtree(self.folder / DATASET, ignore_errors=True)
        with suppress(OSError):  # something else is in it
            self.folder.rmdir()

    def _take(self, record: Record) -> None:
        self.records.append(record)
        if record.kept:
            self._owner[record.episode_id] = record.source

    def _source(self, source: Path) -> Iterator[Record]:
        done = {(record.source, record.episode_id) for record in self.records}
        report, settings = BagReport(), self.settings
        episodes = iterate_source(
            source, self.embodiment, cameras=settings.cameras, frame_every=settings.frame_every, report=report
        )
        unreadable = Record(str(source), "", "", 0, self.embodiment.step_s, discard=UNREADABLE)
        while True:
            try:
                episode = next(episodes)
            except StopIteration:
                break
            except World2ActError as error:  # of the reader only: an endpoint that is down must stop the build
                yield replace(unreadable, reason=str(error))
                break
            if (str(source), episode.episode_id) not in done:
                yield self._episode(source, episode)
        if report.damage is not None:
            yield replace(unreadable, reason=str(report.damage))
        for refused in report.refused:
            if (str(source), refused.episode_id) not in done:
                yield replace(unreadable, episode_id=refused.episode_id, reason=refused.reason)

    def _episode(self, source: Path, episode: Episode) -> Record:
        """Decide about one episode and write it if it gives clips."""
        record = Record(str(source), episode.episode_id, episode.task, episode.steps, self.embodiment.step_s)
        owner = self._owner.get(episode.episode_id)
        if owner is not None:
            return replace(record, discard=UNREADABLE, reason=f"{owner} holds an episode of the same id")
        if episode.success is False and not self.settings.failures:
            return replace(record, discard=FAILED, reason="the recording says that the attempt failed")
        try:
            record, episode = self._split(record, episode)
            if record.kept and not self.sink.holds(episode.episode_id):
                self.sink.write(episode)
        except ContractError as error:
            return replace(record, skills=(), discard=UNREADABLE, reason=str(error))
        if wants_thumbnails(record, self.records):
            record = replace(record, thumbnails=clip_thumbnails(episode, record.skills, self.folder))
        return record

    def _split(self, record: Record, episode: Episode) -> tuple[Record, Episode]:
        """Segmentation, decomposition, synchronisation."""
        segmentation = self.segmenter.segment(streams_of(episode, self.embodiment, self.settings.gripper))
        plan = self.decomposer.decompose(episode.task, [event.kind for event in segmentation.events])
        joined = synchronise_skills(
            segmentation, plan, episode.steps, self.embodiment.step_s, tail_s=self.settings.tail_s
        )
        record = replace(
            record,
            events=segmentation.events,
            notes=tuple(sorted(segmentation.notes.items())),
            plan=plan.steps,
            usage=plan.usage,
            skills=joined.skills,
            discard=joined.discard.value if joined.discard else "",
            reason=joined.reason,
        )
        return record, replace(episode, skills=joined.skills)

    def _claim_folder(self) -> None:
        """Make the folder ours, or refuse one that is something else."""
        wanted = {
            **json.loads(json.dumps(asdict(self.settings))),
            "segmenter": self.segmenter.name,
            "decomposer": self.decomposer.name,
        }
        path = self.folder / SETTINGS
        if path.exists():
            _check_same(path, json.loads(path.read_text()), wanted)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise RunError(f"{self.folder} is not empty and not a skill dataset: give a new folder")
        make_folder(self.folder)
        write_json(path, wanted)


def _check_same(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key in sorted({*found, *wanted}):
        if found.get(key) != wanted.get(key):
            raise RunError(
                f"{path} was begun with {key} {found.get(key)!r}, not {wanted.get(key)!r}: "
                "continue it with the same settings or give a new folder"
            )


def _bar(builder: _Builder, shown: bool) -> AbstractContextManager[Any]:
    if not shown:
        return nullcontext()
    from tqdm import tqdm

    return tqdm(desc="episodes", unit=" episodes", initial=len(builder.records), mininterval=0.5)

"""Joining the robot's events and the instruction's steps to skill clips (World2Act, section 3.1, "synchronisation").

Every step takes the events that its kind needs (``types.TAKES``), in order, and none may be left over. An episode whose
events and steps disagree is discarded with the reason: a wrong label is worse than a lost demonstration. Where the
steps came with their own number of events (a language model that was shown them), exactly these are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from world2act_core.skills.types import TAKES, Decomposition, Event, EventKind, Segmentation, Step, StepKind
from world2act_core.types import Skill

TAIL_S = 1.0
"""Seconds behind the last event that still belong to the last clip: a world model has to see the hand withdraw."""


class Discard(str, Enum):
    """Why an episode gives no clips."""

    INSTRUCTION = "instruction not understood"
    TOO_FEW_EVENTS = "fewer events than steps"
    TOO_MANY_EVENTS = "more events than steps"
    KINDS = "events of other kinds than the steps take"
    NO_EVENT = "a step that leaves no event lies between others"


@dataclass(frozen=True)
class Synchronised:
    """Clips of one episode, or the reason why there are none.

    Attributes:
        skills: they follow each other without a gap from step 0 on; empty if the episode was discarded.
        discard: None if there are clips.
        reason: one sentence for a person; "" if there are clips.
    """

    skills: tuple[Skill, ...]
    discard: Discard | None = None
    reason: str = ""


def synchronise_skills(
    segmentation: Segmentation, decomposition: Decomposition, steps: int, step_s: float, *, tail_s: float = TAIL_S
) -> Synchronised:
    """The atomic skill clips of one episode.

    A clip ends with the last event that its step takes; the next one begins there.

    Args:
        segmentation, decomposition: the two streams.
        steps: T, control steps of the episode.
        step_s: seconds a control step.
        tail_s: how much behind the last event still belongs to the last clip.
    """
    plan, events = decomposition.steps, segmentation.events
    if not plan:
        return Synchronised((), Discard.INSTRUCTION, decomposition.rejected or "the instruction has no steps")
    for step in plan[:-1]:
        if step.kind is StepKind.MOVE:
            return Synchronised((), Discard.NO_EVENT, f"nothing in the streams shows where {step.prompt!r} ends")
    counts = assign(plan, events)
    if counts is None:
        return _disagreement(plan, events)
    return Synchronised(_clips(plan, counts, events, steps, round(tail_s / step_s)))


def assign(plan: Sequence[Step], events: Sequence[Event]) -> list[int] | None:
    """How many events each step takes, in order; None if they do not fit together.

    One pass is enough: among the alternatives of a step's kind no one is the beginning of another.
    """
    counts, taken = [], 0
    for step in plan:
        ahead = [event.kind for event in events[taken:]]
        fitting = [kinds for kinds in TAKES[step.kind] if tuple(ahead[: len(kinds)]) == kinds]
        if not fitting or step.events not in (None, len(fitting[0])):
            return None
        counts.append(len(fitting[0]))
        taken += counts[-1]
    # A cut release is no deed: "pick up the mug" ends with the mug in the hand, whenever the recording ends.
    left = events[taken:]
    return counts if all(event.cut and event.kind is EventKind.RELEASE for event in left) else None


def is_prehensile(plan: Sequence[Step]) -> bool:
    """Whether every step is one of taking, carrying and letting go."""
    return all(step.kind in (StepKind.PICK, StepKind.PLACE, StepKind.PUT) for step in plan)


def _clips(
    plan: Sequence[Step], counts: Sequence[int], events: Sequence[Event], last: int, tail: int
) -> tuple[Skill, ...]:
    clips: list[Skill] = []
    start = taken = 0
    for step, count in zip(plan, counts, strict=True):
        taken += count
        end = events[taken - 1].step if count else last
        clips.append(Skill(step.prompt, start, end))
        start = end
    final = clips[-1]
    return (*clips[:-1], Skill(final.prompt, final.start, min(last, final.end + tail)))


def _disagreement(plan: Sequence[Step], events: Sequence[Event]) -> Synchronised:
    seen = ", ".join(event.kind.value for event in events) or "none"
    planned = ", ".join(f"{step.kind.value} {step.prompt!r}" for step in plan)
    least = sum(min(len(kinds) for kinds in TAKES[step.kind]) for step in plan)
    most = sum(max(len(kinds) for kinds in TAKES[step.kind]) for step in plan)
    discard = Discard.KINDS
    if not least <= len(events) <= most:
        discard = Discard.TOO_FEW_EVENTS if len(events) < least else Discard.TOO_MANY_EVENTS
    return Synchronised((), discard, f"{discard.value}: seen {seen}; steps: {planned}")

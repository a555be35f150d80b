"""What the two streams of skill decomposition speak in: events of the robot, steps of the instruction.

*Events* are seen in the logged streams (World2Act, section 3.1, "visual stream"): the gripper takes hold, lets go, or,
beyond the paper, the arm has finished touching something without holding it. *Steps* are read in the instruction
("language stream"). Each kind of step says which events it takes to carry out; that is how the two are joined, and how
they are seen to disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from world2act_core.types import Array


@dataclass(frozen=True)
class MeasuredGripper:
    """What ``world2act calibrate gripper`` measured, instead of what contract and paper say.

    Attributes:
        fully_open_m: w_0.
        delta_m: Delta of the paper's rule.
        scale, offset_m: width = offset + scale * position, for a driver that does not report metres.
    """

    fully_open_m: float
    delta_m: float
    scale: float = 1.0
    offset_m: float = 0.0


class EventKind(str, Enum):
    """What happened to the robot's hand."""

    GRASP = "grasp"
    """The gripper has closed around something and holds it."""
    RELEASE = "release"
    """What was held is let go."""
    CONTACT = "contact"
    """Something was moved without being held (pushed, turned, shut), and the hand has left it."""


@dataclass(frozen=True)
class Event:
    """One event of an episode.

    Attributes:
        kind: what happened.
        step: control step at which it is complete: held, let go, left. A clip that ends with it ends here.
        begin: control step at which it started: fingers begin to close or to open, contact is made.
        cut: the recording ended before the event was seen to end; ``step`` is then the last step.
    """

    kind: EventKind
    step: int
    begin: int
    cut: bool = False


@dataclass(frozen=True)
class Segmentation:
    """The events of one episode in the order of their ``step``.

    Attributes:
        events: grasps and releases alternate, beginning with a grasp; contacts lie anywhere between cycles.
        notes: what was overruled, by name and count: ``regrasp``, ``drop``, ``chatter``, ``empty`` ...
    """

    events: tuple[Event, ...]
    notes: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Streams:
    """What segmentation reads of an episode: states of ``T + 1`` control steps, no images.

    Attributes:
        width: ``(T + 1,)`` metres between the fingers (w_t of the paper).
        fully_open: metres, calibrated (w_0 of the paper).
        position: ``(T + 1, 3)`` metres, of the end effector.
        orientation: ``(T + 1, 4)`` quaternion xyzw, of the end effector.
        step_s: seconds a control step.
        commands: ``(T, A)`` actions in the embodiment's layout, None for an action-free video.
        gripper_command: ``(T,)`` 1 where the gripper is told to close and 0 where to open; None with ``commands``.
        reach: ``(T + 1, 3)`` metres, the end effector as its own base sees it; None where the base cannot move.
    """

    width: Array
    fully_open: float
    position: Array
    orientation: Array
    step_s: float
    commands: Array | None = None
    gripper_command: Array | None = None
    reach: Array | None = None

    @property
    def steps(self) -> int:
        """T, the number of control steps."""
        return len(self.width) - 1


class Segmenter(Protocol):
    """Finds the events of an episode."""

    name: str

    def segment(self, streams: Streams) -> Segmentation:
        """The events, from states alone or with the help of commands."""


class StepKind(str, Enum):
    """What a step of an instruction does, and so which events it takes."""

    PICK = "pick"
    """Take hold of something and keep it."""
    PLACE = "place"
    """Put down what is held."""
    PUT = "put"
    """A whole cycle: take hold of something, carry it, let go."""
    MANIPULATE = "manipulate"
    """Open, close, push, turn, press: may be done with or without holding."""
    MOVE = "move"
    """Move the arm or the base without touching anything (navigate)."""


TAKES: dict[StepKind, tuple[tuple[EventKind, ...], ...]] = {
    StepKind.PICK: ((EventKind.GRASP,),),
    StepKind.PLACE: ((EventKind.RELEASE,),),
    StepKind.PUT: ((EventKind.GRASP, EventKind.RELEASE),),
    StepKind.MANIPULATE: ((EventKind.CONTACT,), (EventKind.GRASP, EventKind.RELEASE)),
    StepKind.MOVE: ((),),
}
"""Which events, in order, each kind of step takes: alternatives."""


@dataclass(frozen=True)
class Step:
    """One atomic skill in words.

    Attributes:
        prompt: e.g. ``place the bowl on the plate``: imperative, lower case, no final stop.
        kind: what it does.
        events: how many events of the episode it takes, if whoever decomposed was shown them; None lets the
            synchronisation find out from ``kind``.
    """

    prompt: str
    kind: StepKind
    events: int | None = None


@dataclass(frozen=True)
class Usage:
    """What a decomposition cost. Zero for the grammar and for an answer from the cache."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0  # in the currency of the prices that were configured

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost + other.cost,
        )


@dataclass(frozen=True)
class Decomposition:
    """An instruction as ordered steps, or the reason why there are none.

    Attributes:
        steps: in the order in which they are carried out; empty if it was rejected.
        rejected: why the instruction or a model's answer cannot be used, one sentence; "" if it can.
        usage: what it cost.
    """

    steps: tuple[Step, ...]
    rejected: str = ""
    usage: Usage = Usage()


class Decomposer(Protocol):
    """Splits an instruction into atomic skills."""

    name: str

    def decompose(self, instruction: str, events: Sequence[EventKind]) -> Decomposition:
        """The steps of an instruction whose episode showed these events.

        The events are given by kind and number, never by frame: so a model cannot invent a frame, and episodes that
        went alike share one answer. Some decomposers do not look at them (the grammar).
        """

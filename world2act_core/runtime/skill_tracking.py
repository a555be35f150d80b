"""Which skill of a plan is under way: the rules that split logged episodes, asked again while the robot moves.

A skill is over when the events that its kind takes have been seen (``skills.types.TAKES``), by the segmenter that made
the skill data sets, or when its time is up. The segmenter looks at the whole task so far, so it may think better of an
event; the plan only goes forward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.errors import World2ActError
from world2act_core.skills.contact import ContactSegmenter
from world2act_core.skills.grammar import GrammarDecomposer
from world2act_core.skills.streams import streams_of
from world2act_core.skills.types import TAKES, Event, EventKind, MeasuredGripper, Segmenter, Step, StepKind
from world2act_core.types import Array, Episode, Skill

CONFIRM_S = 0.3
"""An event must be so old: fingers that only slow down look as if they had stopped."""


def plan_skills(instruction: str) -> tuple[Step, ...]:
    """The skills of an instruction, by the grammar.

    Raises:
        World2ActError: it is not understood; says why.
    """
    found = GrammarDecomposer().decompose(instruction, ())
    if not found.steps:
        raise World2ActError(
            f"{instruction!r} cannot be split into skills: {found.rejected}; say it in other words, or skills:=whole"
        )
    return found.steps


class SkillTracker:
    """Follows one task.

    Args:
        plan: its skills in order.
        embodiment: gives the control step and names the streams.
        limit_s: the next skill begins when one has taken so long; 0: never. Seconds of control steps.
        segmenter: finds events.
        gripper: as measured; fingers that are not in metres need it.
    """

    def __init__(
        self,
        plan: Sequence[Step],
        embodiment: Embodiment,
        limit_s: float = 0.0,
        segmenter: Segmenter | None = None,
        gripper: MeasuredGripper | None = None,
    ) -> None:
        self.plan, self._embodiment, self._gripper = tuple(plan), embodiment, gripper
        self._limit = round(limit_s / embodiment.step_s) if limit_s else 0
        self._confirm = round(CONFIRM_S / embodiment.step_s)
        self._segmenter = segmenter or ContactSegmenter()
        self._rows: list[Mapping[str, Array]] = []
        self._closing: list[bool] = []
        self.index = 0
        self.why = ""
        self.starts = [0]

    @property
    def steps(self) -> int:
        """Control steps so far."""
        return len(self._closing)

    def skills(self) -> tuple[Skill, ...]:
        """The skills so far, in order."""
        ends = [*self.starts[1:], self.steps]
        prompts = [step.prompt for step in self.plan]
        return tuple(Skill(p, start, end) for p, start, end in zip(prompts, self.starts, ends, strict=False))

    def step(self, state: Mapping[str, Array], action: Array | None) -> bool:
        """A control step: the state ``{stream: (D,)}`` before it and its action ``(A,)``, None while the arm holds.

        Returns:
            Whether another skill begins now; ``index`` says which and ``why`` says what ended the one before.
        """
        gripper = self._embodiment.gripper
        if action is None:
            closing = self._closing[-1] if self._closing else False
        else:
            told = float(action[gripper.index])
            closing = abs(told - gripper.close) < abs(told - gripper.open)
        self._rows.append(state)
        self._closing.append(closing)
        if self.index + 1 == len(self.plan) or self.steps % self._embodiment.chunk_length:
            return False
        reached, why = self._reached(), "its events were seen"
        if reached <= self.index and self._limit and self.steps - self.starts[-1] >= self._limit:
            reached, why = self.index + 1, "its time was up"
        reached = min(reached, len(self.plan) - 1)
        if reached <= self.index:
            return False
        self.starts += [self.steps] * (reached - self.index)
        self.index, self.why = reached, why
        return True

    def _reached(self) -> int:
        """How many skills of the plan the events so far have carried out."""
        events = [event for event in self._events() if not event.cut and event.step <= self.steps - self._confirm]
        done = taken = 0
        for step in self.plan:
            count = _taken_by(step.kind, events[taken:])
            if not count:
                break
            done, taken = done + 1, taken + count
        return done

    def _events(self) -> tuple[Event, ...]:
        rows = [*self._rows, self._rows[-1]]
        names = self._rows[0]
        episode = Episode(
            episode_id="live",
            task="",
            embodiment=self._embodiment.name,
            stamps=np.arange(len(rows)) * self._embodiment.step_s,
            state={name: np.array([row[name] for row in rows]) for name in names},
            actions=None,
            frame_steps=np.zeros(0, np.int64),
            images={},
        )
        streams = streams_of(episode, self._embodiment, self._gripper)
        streams = replace(streams, gripper_command=np.array(self._closing, np.float64))
        return self._segmenter.segment(streams).events


def _taken_by(kind: StepKind, events: Sequence[Event]) -> int:
    """How many of the events a step of this kind takes, 0 if it is not over.

    A hand that touches something on its way to a grasp has not done anything yet.
    """
    if kind is StepKind.MOVE:
        return 0
    for kinds in TAKES[kind]:
        wanted = list(kinds)
        for number, event in enumerate(events):
            if event.kind is wanted[0]:
                wanted.pop(0)
            elif event.kind is not EventKind.CONTACT:
                break
            if not wanted:
                return number + 1
    return 0

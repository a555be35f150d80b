"""Events by the paper's rule, from the gripper alone (World2Act, section 3.1, "visual stream").

``delta_t = w_0 - w_t`` is how far the fingers are from fully open: near 0 the hand is free, from Delta on it is in
contact, and one cycle from free to free is one grasp and one release. Hysteresis and shortest durations keep trembling
fingers from making events; holds that failed are joined to those that did not (``cycles``). What the rule cannot see is
an object so wide that delta stays below Delta (a soup can in a Panda's hand), whether closed fingers hold anything (it
takes a fist for a grasp), and whatever is done without closing the hand: see ``contact``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from world2act_core.skills.cycles import CycleSettings, Hold, group_holds
from world2act_core.skills.fingers import steps_in
from world2act_core.skills.streams import check_streams
from world2act_core.skills.types import Segmentation, Streams

DELTA_M = 0.05
"""The paper's Delta."""


@dataclass(frozen=True)
class GripperSettings:
    """What makes the rule robust.

    Attributes:
        free: of Delta; below this the hand is free again. Far enough from 1 that a trembling object is not let go,
            and from 0 that a gripper which opens just wide enough is seen to.
        brief_s: a contact or a gap that is shorter is chatter: a gripper takes longer to move.
    """

    free: float = 0.5
    brief_s: float = 0.2
    cycles: CycleSettings = field(default_factory=CycleSettings)


class GripperSegmenter:
    """Grasps where delta reaches Delta, releases where it falls below.

    Args:
        delta_m: Delta, metres.
        settings: robustness.
    """

    name = "gripper"

    def __init__(self, delta_m: float = DELTA_M, settings: GripperSettings = GripperSettings()) -> None:
        self.delta_m, self.settings = delta_m, settings

    def segment(self, streams: Streams) -> Segmentation:
        """Grasps and releases; commands are not looked at.

        Raises:
            ContractError: a stream holds a number that is not finite.
        """
        check_streams(streams)
        delta = (streams.fully_open - streams.width).tolist()
        contacts, chatter = _without_brief(
            list(self._contacts(delta)), steps_in(self.settings.brief_s, streams.step_s), streams.steps
        )
        holds = [
            Hold(
                begin=_beginning(delta, grasp),
                grasp=grasp,
                opening=end,
                release=end,
                width=float(np.median(streams.width[grasp : end + 1])),
                cut=delta[end] >= self.delta_m,
            )
            for grasp, end in contacts
        ]
        cycles, notes = group_holds(holds, streams, self.settings.cycles)
        notes += Counter(chatter=chatter)
        return Segmentation(tuple(event for cycle in cycles for event in cycle.events), dict(notes))

    def _contacts(self, delta: Sequence[float]) -> Iterator[tuple[int, int]]:
        """(first step in contact, first step out of contact or the last one of the recording)."""
        free = delta[0] < self.delta_m  # a hand that starts closed has grasped nothing
        contact: tuple[int, int] | None = None
        for step, now in enumerate(delta):
            if free and now >= self.delta_m:
                contact = (contact[0] if contact else step, step)
            elif now <= self.settings.free * self.delta_m:
                if contact:
                    yield contact[0], contact[1] + 1
                free, contact = True, None
        if contact:
            yield contact[0], len(delta) - 1


def _beginning(delta: Sequence[float], grasp: int) -> int:
    """Where the closing began that led to a grasp."""
    step = grasp
    while step and delta[step - 1] < delta[step]:
        step -= 1
    return step


def _without_brief(contacts: Sequence[tuple[int, int]], brief: int, last: int) -> tuple[list[tuple[int, int]], int]:
    """Contacts joined over short gaps, then without short ones; and how often that was needed."""
    joined: list[tuple[int, int]] = []
    for begin, end in contacts:
        if joined and begin - joined[-1][1] < brief:
            begin = joined.pop()[0]
        joined.append((begin, end))
    kept = [(begin, end) for begin, end in joined if end - begin >= brief or end == last]
    return kept, len(contacts) - len(kept)

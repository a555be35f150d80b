"""Which node is brought up or down when, and how the graph is: the supervisor's decisions, without ROS.

Up: every node is configured as soon as it is there, all at once, because that takes long (a model, a simulator) and
depends on nobody; then they are activated one after the other in the order given. Down: the other way round, one after
the other. Times are monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

UNCONFIGURED, INACTIVE, ACTIVE, FINALIZED = "unconfigured", "inactive", "active", "finalized"
CONFIGURE, ACTIVATE, DEACTIVATE, CLEANUP = "configure", "activate", "deactivate", "cleanup"
_FROM_TO = {CONFIGURE: (UNCONFIGURED, INACTIVE), ACTIVATE: (INACTIVE, ACTIVE), DEACTIVATE: (ACTIVE, INACTIVE),
            CLEANUP: (INACTIVE, UNCONFIGURED)}  # fmt: skip
_UP = {UNCONFIGURED: CONFIGURE, INACTIVE: ACTIVATE}
_DOWN = {ACTIVE: DEACTIVATE, INACTIVE: CLEANUP}
_BUSY = {CONFIGURE: "being configured", ACTIVATE: "being activated", DEACTIVATE: "being deactivated",
         CLEANUP: "being cleaned up"}  # fmt: skip
_PARTICIPLES = {CONFIGURE: "configured", ACTIVATE: "activated"}
LEVELS = OK, WARN, ERROR = 0, 1, 2

LOST_S = 1.0  # a request is lost if the node says so much later that nothing has changed
REASON_WITHIN_S = 2.5  # its diagnostics tell why a node refused; they come every second


class Phase(Enum):
    """What the supervisor is doing; the value is shown to people."""

    DOWN = "down"
    RISING = "coming up"
    UP = "up"
    FALLING = "going down"


class Request(NamedTuple):
    """A lifecycle transition to ask a node for."""

    node: str
    transition: str


class Health(NamedTuple):
    """The graph in one sentence, and every node in a few words; ``level`` is that of a DiagnosticStatus.

    ``own`` tells what the supervisor found out by itself from what a node says, and has logged, of itself.
    """

    level: int
    sentence: str
    nodes: dict[str, str]
    own: bool


class _Verdict(NamedTuple):
    level: int
    words: str
    own: bool = True


@dataclass
class _Member:
    """One node as it was last seen."""

    name: str
    state: str = ""
    asked_at: float = -math.inf  # when the question was asked that `state` answers
    heard_at: float = -math.inf  # the last sign of life
    level: int = OK
    said: str = ""
    said_at: float = -math.inf
    pending: str = ""
    pending_at: float = 0.0
    refused_at: float | None = None
    failure: str = ""
    was_up: bool = False
    left_over: bool = False  # it was on its way up when all were taken down
    times_back: int = 0


class Supervision:
    """The nodes of one graph.

    Args:
        names: in the order in which they are activated.
        appear_s: a node that is not there for so long fails the bring-up.
        transition_s: so does one that needs longer for a transition.
        silent_s: a node that neither answers nor says anything for so long hangs or has ended.
    """

    def __init__(
        self, names: Sequence[str], appear_s: float = 60.0, transition_s: float = 300.0, silent_s: float = 5.0
    ) -> None:
        self._members = {name: _Member(name) for name in names}
        self._appear_s, self._transition_s, self._silent_s = appear_s, transition_s, silent_s
        self.phase, self.failure, self._since = Phase.DOWN, "", 0.0

    # --- wishes ----------------------------------------------------------------------------------------------------
    def bring_up(self, now: float) -> None:
        """Begin to bring every node up; what failed before is tried again."""
        self.phase, self.failure, self._since = Phase.RISING, "", now
        for member in self._members.values():
            member.pending, member.refused_at, member.failure = "", None, ""
            member.was_up = member.left_over = False

    def shut_down(self, now: float, because: str = "") -> None:
        """Begin to take every node down; ``because`` stays as the failure that led to it."""
        self.phase, self.failure, self._since = Phase.FALLING, because, now
        for member in self._members.values():
            member.left_over = member.pending in (CONFIGURE, ACTIVATE)
            member.pending, member.refused_at, member.was_up = "", None, False

    @property
    def settled(self) -> bool:
        """Nothing is under way."""
        return self.phase in (Phase.UP, Phase.DOWN)

    # --- what is seen ----------------------------------------------------------------------------------------------
    def saw_state(self, name: str, state: str, asked: float, now: float) -> None:
        """A node answered at ``now`` in which lifecycle state it is; it was asked at ``asked``."""
        member = self._members[name]
        if self._silent(member, now) or state == ACTIVE:
            member.failure = ""  # another process, or somebody else's doing
        member.heard_at = now
        if asked > member.asked_at:  # else an answer to a request has told more meanwhile
            member.state, member.asked_at = state, asked

    def said(self, name: str, level: int, message: str, now: float) -> None:
        """A node's diagnostics; of nodes that are not supervised nothing is kept."""
        member = self._members.get(name)
        if member is not None:
            member.level, member.said, member.said_at, member.heard_at = level, message, now, now

    def answered(self, name: str, transition: str, success: bool, now: float) -> None:
        """A node answered a request. A refusal may be that of a request sent twice: its state tells."""
        member = self._members[name]
        member.heard_at = now
        if member.left_over and not member.pending and success:
            member.state, member.asked_at = _FROM_TO[transition][1], now  # it got there after all
        if member.pending != transition:
            return
        if success:
            member.state, member.asked_at, member.pending, member.refused_at = _FROM_TO[transition][1], now, "", None
        else:
            member.refused_at = now

    # --- decisions -------------------------------------------------------------------------------------------------
    def due(self, now: float) -> list[Request]:
        """The requests to send now; what is returned counts as sent."""
        for member in self._members.values():
            self._settle(member, now)
        if self.phase is Phase.RISING:
            return list(self._rising(now))
        if self.phase is Phase.FALLING:
            return list(self._falling(now))
        return list(self._watching(now) if self.phase is Phase.UP else self._tidying(now))

    def _settle(self, member: _Member, now: float) -> None:
        """Find out what became of a pending request."""
        if not member.pending:
            return
        unchanged = member.state == _FROM_TO[member.pending][0]
        fresh = member.asked_at > (member.refused_at if member.refused_at is not None else member.pending_at + LOST_S)
        if fresh and not unchanged and not member.state.endswith("ing"):  # configuring, activating ...
            member.pending, member.refused_at = "", None
        elif member.refused_at is not None:
            told = member.level == ERROR and member.said_at >= member.pending_at
            if fresh and (told or now - member.refused_at > REASON_WITHIN_S):
                self._failed(member, member.said if told else "it does not say why")
        elif fresh and unchanged:
            member.pending = ""  # the request was lost: it is sent again
        elif now - member.pending_at > self._transition_s:
            self._failed(member, f"it has been {_BUSY[member.pending]} for {self._transition_s:g} s")

    def _failed(self, member: _Member, why: str) -> None:
        transition, member.pending, member.refused_at = member.pending, "", None
        if transition in _PARTICIPLES:
            member.failure = f"node {member.name} cannot be {_PARTICIPLES[transition]}: {why}"
        else:
            member.failure = f"node {member.name} could not be taken down: {why}"

    def _ask(self, member: _Member, transition: str, now: float) -> Request:
        member.pending, member.pending_at, member.refused_at = transition, now, None
        return Request(member.name, transition)

    def _rising(self, now: float) -> Iterator[Request]:
        failure = next((m.failure for m in self._members.values() if m.failure), "") or self._absent(now)
        if failure:
            self.shut_down(now, failure)
            yield from self._falling(now)
            return
        earlier_active = True
        for member in self._members.values():
            transition = _UP.get(member.state, "")
            if not member.pending and (transition == CONFIGURE or (transition == ACTIVATE and earlier_active)):
                yield self._ask(member, transition, now)
            active = member.state == ACTIVE
            member.was_up |= active
            earlier_active &= active
        if earlier_active:
            self.phase = Phase.UP

    def _absent(self, now: float) -> str:
        for member in self._members.values():
            if member.state == FINALIZED:
                return f"node {member.name} was shut down for good: start its process anew"
            if not member.state and now - self._since > self._appear_s:
                return (
                    f"node {member.name} did not appear within {self._appear_s:g} s: "
                    "its process ended or was not started; its own output says why"
                )
        return ""

    def _falling(self, now: float) -> Iterator[Request]:
        later_down = True
        for member in reversed(self._members.values()):
            gone = self._silent(member, now) or member.state in ("", UNCONFIGURED, FINALIZED)
            given_up = gone or (bool(member.failure) and member.state != ACTIVE)
            transition = _DOWN.get(member.state, "")
            on_its_way = member.left_over and member.asked_at <= self._since  # what it was asked before may yet happen
            if not given_up and not member.pending and not on_its_way and transition and later_down:
                yield self._ask(member, transition, now)
            later_down &= given_up
        if later_down:
            self.phase = Phase.DOWN

    def _tidying(self, now: float) -> Iterator[Request]:
        """All is down, but for a node that was too busy to hear of it."""
        for member in self._members.values():
            if member.left_over and not member.pending and member.state in _DOWN:
                yield self._ask(member, _DOWN[member.state], now)

    def _watching(self, now: float) -> Iterator[Request]:
        """A process that came back has forgotten everything: it is brought up; one that somebody paused is not."""
        for member in self._members.values():
            if member.state == UNCONFIGURED and member.was_up:
                member.was_up, member.failure = False, ""
                member.times_back += 1
            if member.state == ACTIVE:
                member.was_up = True
            elif not member.was_up and not member.pending and not member.failure and member.state in _UP:
                yield self._ask(member, _UP[member.state], now)

    # --- health ----------------------------------------------------------------------------------------------------
    def _silent(self, member: _Member, now: float) -> bool:
        return not member.pending and now - member.heard_at > self._silent_s  # whoever configures cannot answer

    def health(self, now: float) -> Health:
        """How the graph is: the worst of its nodes in one sentence."""
        judged = {name: self._judge(member, now) for name, member in self._members.items()}
        nodes = {name: verdict.words for name, verdict in judged.items()}
        if self.phase is not Phase.UP:
            if self.failure:
                down = "; the other nodes were taken down" if self.settled else "; taking the other nodes down"
                return Health(ERROR, self.failure + (down if len(nodes) > 1 else ""), nodes, own=True)
            ready = sum(member.state == ACTIVE for member in self._members.values())
            return Health(OK, f"{self.phase.value}: {ready} of {len(nodes)} nodes active", nodes, own=True)
        name, worst = max(judged.items(), key=lambda entry: entry[1].level)
        sentence = f"{name}: {worst.words}" if worst.level else f"{_nodes(len(nodes))} active"
        return Health(worst.level, sentence, nodes, worst.own)

    def _judge(self, member: _Member, now: float) -> _Verdict:
        back = f" (came back {_times(member.times_back)})" if member.times_back else ""
        if member.failure:
            return _Verdict(ERROR, member.failure)
        if self._silent(member, now):
            if not member.state and member.heard_at == -math.inf:
                return _Verdict(WARN, "has not appeared yet")
            return _Verdict(ERROR, f"silent for {now - member.heard_at:.0f} s: it hangs or has ended{back}")
        doing = _BUSY.get(member.pending) or member.state or "has not said its state yet"
        if self.phase is Phase.UP and member.state != ACTIVE:
            return _Verdict(WARN, f"{doing}{back}" + (": somebody else paused it" if member.was_up else ""))
        return _Verdict(member.level, f"{doing}{back}: {member.said}" if member.said else f"{doing}{back}", own=False)


def _nodes(count: int) -> str:
    return f"all {count} nodes are" if count > 1 else "the only node is"


def _times(count: int) -> str:
    return f"{count} times" if count > 1 else "once"

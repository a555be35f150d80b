"""What a running graph looks like from outside, as text: the terminal view without the terminal and without ROS.

Times are this machine's monotonic clock in seconds, but for stamps: nanoseconds of the clocks that made them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from world2act_core.episodes.stamps import ChunkStamps, two_clocks

WINDOW_S = 3.0  # over which rates and ages are taken
LAST_HOLDS = 5
LEVELS = ("ok", "WARN", "ERROR", "STALE")  # DiagnosticStatus.level


@dataclass
class Stream:
    """Arrivals on one topic in the last ``WINDOW_S``."""

    since: float
    _arrivals: deque[tuple[float, float | None]] = field(default_factory=deque)
    last: float | None = None

    def arrived(self, monotonic: float, now: int, stamp: int) -> None:
        """A message stamped ``stamp`` came at ``now`` of the system's clock."""
        age = None if two_clocks(stamp, now) else (now - stamp) / 1e6
        self._arrivals.append((monotonic, age))
        self.last = monotonic
        while self._arrivals[0][0] < monotonic - WINDOW_S:
            self._arrivals.popleft()

    def rate(self, monotonic: float) -> float:
        """Messages a second."""
        recent = sum(1 for when, _ in self._arrivals if when >= monotonic - WINDOW_S)
        return recent / max(1e-3, min(WINDOW_S, monotonic - self.since))

    def age_ms(self) -> float | None:
        """Median age at arrival; None where stamps are simulated time or nothing has come."""
        ages = [age for _, age in self._arrivals if age is not None]
        return median(ages) if ages else None


@dataclass
class NodeHealth:
    """One node: its lifecycle state ("" until it has said), and what its diagnostics say."""

    state: str = ""
    level: int = 0
    message: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Hold:
    """A reason for which the arm holds or held, and when it last said so."""

    reason: str
    last: float


class GraphStatus:
    """Gathers what the topics say; ``render`` shows it.

    Args:
        where: what is looked at, for the heading: namespace and ROS domain.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self.nodes: dict[str, NodeHealth] = {}
        self.streams: dict[str, Stream] = {}
        self.skill = ""
        self.command_state, self.command_reason = "", ""
        self.holds: deque[Hold] = deque(maxlen=LAST_HOLDS)
        self._kind = ""
        self._chunk: tuple[int, ChunkStamps] | None = None
        self._to_command_ms: float | None = None
        self._commanded = 0

    def on_prompt(self, task: str, skill: str, index: int, count: int) -> None:
        """The skill prompt; an empty skill means that none is running."""
        of = f" ({index + 1} of {count})" if count > 1 else ""
        self.skill = f"{skill!r}{of}" + (f" of task {task!r}" if task != skill else "") if skill else ""

    def on_chunk(self, sequence: int, stamps: ChunkStamps) -> None:
        self._chunk, self._commanded, self._to_command_ms = (sequence, stamps), 0, None

    def on_track(self, chunk: int, left: int) -> None:
        """A command left at ``left`` nanoseconds; the first that names the last chunk says how long all took."""
        if self._chunk is None or chunk != self._chunk[0] or self._commanded == chunk:
            return
        self._commanded, stamps = chunk, self._chunk[1]
        oldest = min((acquired for acquired, _ in stamps.images.values()), default=stamps.observation)
        if not two_clocks(stamps.observation, stamps.published):
            self._to_command_ms = (left - oldest) / 1e6

    def on_hold(self, reason: str, kind: str, monotonic: float) -> None:
        """``kind`` is the reason without its growing numbers: the same again only brings the last one up to date."""
        if self.holds and self._kind == kind:
            self.holds[-1].reason, self.holds[-1].last = reason, monotonic
        else:
            self.holds.append(Hold(reason, monotonic))
        self._kind = kind

    # --- text ------------------------------------------------------------------------------------------------------
    def render(self, monotonic: float) -> str:
        """Everything, in lines that fit a terminal; no trailing newline."""
        return "\n".join(
            [
                self.where,
                *self._node_lines(),
                "",
                f"skill    {self.skill or 'none is running'}{self._progress()}",
                f"arm      {self._arm()}",
                f"chunk    {self._chunk_line()}",
                *self._hold_lines(monotonic),
                "",
                *self._stream_lines(monotonic),
            ]
        )

    def _node_lines(self) -> list[str]:
        width = max(map(len, self.nodes), default=0)
        lines = []
        for name, node in sorted(self.nodes.items()):
            values = ", ".join(f"{key} {value}" for key, value in node.values.items())
            said = f"{LEVELS[min(node.level, 3)]}: {node.message}" if node.message else "has said nothing yet"
            state = node.state or "no answer"
            lines.append(f"  {name:{width}}  {state:12}  {said}{f' ({values})' if values else ''}")
        return lines

    def _progress(self) -> str:
        shares = [node.values["progress"] for node in self.nodes.values() if "progress" in node.values]
        return f", {float(shares[0]):.0%} of its time" if shares and self.skill else ""

    def _arm(self) -> str:
        if self.command_state == "stopped":
            return f"STOP IS LATCHED: {self.command_reason}"
        if not self.command_state:
            return "the command node has said nothing yet"
        # A node that was deactivated no longer says whether a stop is latched.
        free = "; no stop is latched" if self.command_state in ("tracking", "holding") else ""
        return f"{self.command_state}: {self.command_reason}{free}"

    def _chunk_line(self) -> str:
        if self._chunk is None:
            return "none has come"
        sequence, stamps = self._chunk
        parts = [f"inference {(stamps.inference_end - stamps.inference_start) / 1e6:.1f} ms"]
        if not two_clocks(stamps.observation, stamps.inference_start):
            ages = [f"{n} {(stamps.inference_start - taken) / 1e6:.1f}" for n, (taken, _) in stamps.images.items()]
            parts.insert(0, f"image age at the policy {', '.join(ages)} ms")
        if self._to_command_ms is not None:
            parts.append(f"photon to first command {self._to_command_ms:.1f} ms")
        return f"{sequence}: " + ", ".join(parts)

    def _hold_lines(self, monotonic: float) -> list[str]:
        if not self.holds:
            return ["holds    none seen"]
        heads = ["holds", *[""] * (len(self.holds) - 1)]
        recent = reversed(self.holds)
        return [f"{head:8} {monotonic - h.last:6.1f} s ago: {h.reason}" for head, h in zip(heads, recent, strict=True)]

    def _stream_lines(self, monotonic: float) -> list[str]:
        width = max(map(len, self.streams), default=5)
        lines = [f"  {'topic':{width}}  {'Hz':>6}  {'age ms':>7}  last"]
        for topic, stream in sorted(self.streams.items()):
            age = stream.age_ms()
            shown = "-" if age is None else f"{age:.1f}"
            last = "nothing has come" if stream.last is None else f"{monotonic - stream.last:.1f} s ago"
            lines.append(f"  {topic:{width}}  {stream.rate(monotonic):6.1f}  {shown:>7}  {last}")
        return lines

"""The safety filter over an episode that is past: what it would have refused, and how smooth the commands were.

In a simulator a policy acts without the filter, so that its trials say what the policy does. Counted here is what the
filter of the command process would have said to the same commands at the same measured states, in lockstep: every
command of a chunk until one is refused; the rest of that chunk is held, and the next chunk is judged anew.
"""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError
from world2act_core.evaluation.conduct import SafetyCounters
from world2act_core.runtime.chunks import Hold, Track
from world2act_core.runtime.safety.filter import SafetyFilter
from world2act_core.runtime.safety.measured import NEEDED
from world2act_core.types import Array, Episode

KINDS: tuple[tuple[str, str], ...] = (
    ("workspace", r"the end effector (would go to|is at) "),
    ("end-effector speed", r"the end effector (would move|moves) at "),
    ("end-effector acceleration", r"the end effector would accelerate at "),
    ("end-effector turning", r"the end effector would turn at "),
    ("orientation", r"the commanded orientation is no unit quaternion"),
    ("joint range", r" (would go to|is measured at) \S+ rad, outside "),
    ("joint leap", r" would leap "),
    ("joint velocity", r" would move at \S+ rad/s "),
    ("joint acceleration", r" would accelerate at \S+ rad/s\^2 "),
    ("action range", r" lies outside |values, the embodiment's action has "),
)
"""Kind of limit → how the filter's reason for it reads."""
OTHER = "other"


def limit_kind(reason: str) -> str:
    """Which limit a hold's reason speaks of, one of ``KINDS``; ``other`` for what is no limit."""
    return next((kind for kind, pattern in KINDS if re.search(pattern, reason)), OTHER)


def count_safety(episode: Episode, embodiment: Embodiment, commands: Array | None = None) -> SafetyCounters | None:
    """The counters of one episode; None if the contract says too little to judge its commands.

    Args:
        commands: ``(T, A)`` as the policy gave them; None takes the episode's actions, which a simulator has limited to
            the contract's range.
    """
    given = episode.actions if commands is None else commands
    if given is None:
        return None
    try:
        safety = SafetyFilter(embodiment, state_timeout_s=math.inf, chunk_timeout_s=math.inf)
    except ContractError:
        return None
    hits: Counter[str] = Counter()
    holds, refused = 0, -1
    streams = [name for name in NEEDED if name in embodiment.state and name in episode.state]
    safety.begin()
    for step, command in enumerate(given):
        stamp, (chunk, within) = float(episode.stamps[step]), divmod(step, embodiment.chunk_length)
        for name in streams:
            safety.measured.set(name, episode.state[name][step].tolist(), stamp, stamp)
        if chunk == refused:
            holds += 1
            continue
        safety.press(True, stamp)  # whoever stands beside the arm holds the dead-man
        answer = safety.check(Track(chunk + 1, within, command, stamp), None, stamp)
        if isinstance(answer, Hold):
            hits[limit_kind(answer.reason)] += 1
            holds, refused = holds + 1, chunk
    jerk, unit = commanded_jerk(given, episode, embodiment)
    rms = math.sqrt(float(np.mean(jerk**2))) if len(jerk) else 0.0
    return SafetyCounters(len(given), dict(sorted(hits.items())), holds, float(jerk.max(initial=0.0)), rms, unit)


def commanded_jerk(commands: Array, episode: Episode, embodiment: Embodiment) -> tuple[Array, str]:
    """Size of the third derivative of the commanded place at every step, ``(T,)`` float64, and its unit.

    The place is the end effector's (``m/s^3``) or, where actions command joints, that of all joints as one vector
    (``rad/s^3``). Derivatives are backward differences at the control rate; before the first command the arm rests
    where it was measured.
    """
    layout = embodiment.action
    joints = layout.kind.startswith("joint")
    names = embodiment.state["joint_positions"].joints if joints else ("x", "y", "z")
    dims = [layout.names.index(name) for name in names]
    values = commands[:, dims].astype(np.float64) * layout.scale[dims]
    if layout.is_delta:
        velocity = values / embodiment.step_s
    else:
        rest = episode.state["joint_positions" if joints else "eef_position"][:1].astype(np.float64)
        velocity = np.diff(values, axis=0, prepend=rest) / embodiment.step_s
    still = np.zeros((2, len(dims)))
    jerk = np.diff(np.concatenate([still, velocity]), n=2, axis=0) / embodiment.step_s**2
    size: Array = np.linalg.norm(jerk, axis=1)
    return size, "rad/s^3" if joints else "m/s^3"

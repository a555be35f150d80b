"""Streams of stamped samples → control steps, with a bounded skew. One rule for bags and for the live graph.

State ``t`` of an episode has stamp ``s_t``; the action applied at step ``t`` is the command with ``s_t <= stamp <
s_{t+1}``. Whatever has no sample within ``embodiment.max_skew_s`` of a step is refused with a sentence that names
stream, stamp and skew: nothing is filled in, repeated or interpolated.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.episodes.fields import NS, ns_to_seconds, seconds_to_ns
from world2act_core.errors import ContractError
from world2act_core.types import Array, Observation


@dataclass
class Samples:
    """One stream in order of its stamps: ``values[i]`` was measured at ``stamps[i]`` nanoseconds."""

    name: str
    topic: str
    stamps: list[int] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, stamp: int, value: Any) -> None:
        """Append a sample; a second sample with the same stamp (two publishers) is dropped.

        Raises:
            ContractError: the stamp lies before the last one.
        """
        if self.stamps and stamp <= self.stamps[-1]:
            if stamp == self.stamps[-1]:
                return
            raise ContractError(
                f"{self.label}: stamps go back from {_s(self.stamps[-1])} to {_s(stamp)}, so its clock jumped"
            )
        self.stamps.append(stamp)
        self.values.append(value)

    def clear(self) -> None:
        self.stamps.clear()
        self.values.clear()

    def nearest(self, stamp: int) -> int | None:
        """Index of the sample nearest in stamp (the earlier of two equally near), None without samples."""
        if not self.stamps:
            return None
        right = bisect_left(self.stamps, stamp)
        around = [i for i in (right - 1, right) if 0 <= i < len(self.stamps)]
        return min(around, key=lambda i: abs(self.stamps[i] - stamp))

    @property
    def label(self) -> str:
        return f"{self.name} on {self.topic}"


@dataclass(frozen=True)
class Aligned:
    """Streams on control steps; fields as in `types.Episode`, stamps ``(T + 1,)`` int64 nanoseconds."""

    stamps: Array
    state: dict[str, Array]
    actions: Array | None
    frame_steps: Array
    images: dict[str, Array]


@dataclass(frozen=True)
class NotSynchronised:
    """Why no observation can be assembled now."""

    reason: str


def synchronise(
    embodiment: Embodiment,
    states: Mapping[str, Samples],
    commands: Samples | None,
    images: Mapping[str, Samples],
    holds: Sequence[int] = (),
    frame_every: int = 1,
) -> Aligned:
    """Align the streams of one episode to its control steps.

    Commands that track define the steps: step ``t`` is the newest state at command ``t``. While the arm was told to
    hold there are no steps, only a longer time between two; a pause that no hold explains is refused. Without commands
    the steps are the states themselves, thinned to the control rate where they come faster.

    Args:
        states: stream name → rows ``(D,)``, every stream of the embodiment.
        commands: actions ``(A,)``, or None for an action-free video.
        images: camera name → ``(H, W, 3)``, or functions that return them, of the cameras that are wanted.
        holds: stamps of the commands that hold, nanoseconds.
        frame_every: take frames only at steps that are multiples of this.

    Raises:
        ContractError: a stream is missing, or a step has no sample within the skew.
    """
    for samples in (*states.values(), *images.values()):
        if not samples.stamps:
            raise ContractError(f"{samples.label}: no message, though {embodiment.name} says it is published")
    reference = states["joint_positions"]
    if commands is None:
        stamps = _steps_of_states(embodiment, reference)
    else:
        stamps = _steps_of_commands(embodiment, reference, commands, holds)
    rows = {name: _rows(embodiment, samples, stamps) for name, samples in states.items()}
    frame_steps, frames = _frames(embodiment, images, stamps, frame_every)
    actions = None if commands is None else np.stack(commands.values[: len(stamps) - 1]).astype(np.float32)
    return Aligned(stamps, rows, actions, frame_steps, frames)


def latest_synchronised(
    embodiment: Embodiment,
    states: Mapping[str, Samples],
    images: Mapping[str, Samples],
    after: float | None = None,
) -> Observation | NotSynchronised:
    """The newest observation for which every stream has arrived, by the rule that bags are read with.

    Args:
        states: stream name → recent rows ``(D,)``, every stream of the embodiment.
        images: camera name → recent ``(H, W, 3)``; may be empty for a policy without cameras.
        after: only an observation stamped later than this (seconds), e.g. that of the last one used.
    """
    streams = (*states.values(), *images.values())
    for samples in streams:
        if not samples.stamps:
            return NotSynchronised(f"{samples.label}: nothing received yet")
    # The newest instant that all cameras (or, without cameras, all states) have reached.
    newest = min(samples.stamps[-1] for samples in (images or states).values())
    reference = states["joint_positions"]
    stamp = reference.stamps[_found(reference.nearest(newest))]
    if after is not None and stamp <= seconds_to_ns(after):
        return NotSynchronised(f"nothing newer than stamp {after:.3f} s has arrived on every stream")
    chosen: dict[str, Any] = {}
    for samples in streams:
        index = _found(samples.nearest(stamp))
        skew = abs(samples.stamps[index] - stamp)
        if skew > seconds_to_ns(embodiment.max_skew_s):
            return NotSynchronised(_too_far(embodiment, samples, stamp, skew))
        chosen[samples.name] = samples.values[index]
    return Observation(
        stamp=ns_to_seconds(stamp),
        images={name: chosen[name] for name in images},
        state={name: chosen[name] for name in states},
    )


def _steps_of_commands(embodiment: Embodiment, reference: Samples, commands: Samples, holds: Sequence[int]) -> Array:
    """Stamps ``(T + 1,)``: the state each command answered, and the one reached a step after the last command."""
    if not commands.stamps:
        raise ContractError(f"{commands.label}: no command that tracks")
    state_stamps, command_stamps = np.array(reference.stamps), np.array(commands.stamps)
    skew, step = seconds_to_ns(embodiment.max_skew_s), seconds_to_ns(embodiment.step_s)
    index = np.searchsorted(state_stamps, command_stamps, side="right") - 1
    late = np.where(index < 0, np.iinfo(np.int64).max, command_stamps - state_stamps[index])
    for t in np.flatnonzero(late > skew):
        raise ContractError(
            f"{reference.label}: no sample in the {embodiment.max_skew_s:g} s before the command at stamp "
            f"{_s(command_stamps[t])}, step {t}"
        )
    for t in np.flatnonzero(np.diff(index) == 0):
        raise ContractError(
            f"{commands.label}: commands at stamps {_s(command_stamps[t])} and {_s(command_stamps[t + 1])} "
            f"answer the same state at stamp {_s(state_stamps[index[t]])}"
        )
    stamps = state_stamps[index]
    last = reference.nearest(int(stamps[-1]) + step)
    if last is not None and last > index[-1] and abs(state_stamps[last] - stamps[-1] - step) <= skew:
        stamps = np.append(stamps, state_stamps[last])
    # Otherwise the episode ended before the last command had its control step: that action has no outcome and the
    # state it was sent in is the last one.
    told = np.union1d(command_stamps, np.array([s for s in holds if s <= command_stamps[-1]], np.int64))
    _check_pace(embodiment, told[told >= command_stamps[0]], f"{commands.label}: a command was lost", at_least=False)
    _check_pace(embodiment, stamps, f"{commands.label}: commands came too fast", at_most=False)
    return stamps


def _steps_of_states(embodiment: Embodiment, reference: Samples) -> Array:
    """Stamps ``(T + 1,)`` of the states, thinned to the control rate where they come faster."""
    stamps = np.array(reference.stamps)
    skew, step = seconds_to_ns(embodiment.max_skew_s), seconds_to_ns(embodiment.step_s)
    if len(stamps) > 2 and np.median(np.diff(stamps)) < step - skew:
        count = (int(stamps[-1] - stamps[0]) + skew) // step
        grid = int(stamps[0]) + step * np.arange(count + 1)
        stamps = stamps[_matches(embodiment, reference, grid)]
    _check_pace(embodiment, stamps, f"{reference.label}: a state was lost")
    return stamps


def _check_pace(embodiment: Embodiment, stamps: Array, why: str, at_least: bool = True, at_most: bool = True) -> None:
    """Refuse neighbours that are not one control step apart, give or take the skew."""
    apart = np.diff(stamps) - seconds_to_ns(embodiment.step_s)
    limit = seconds_to_ns(embodiment.max_skew_s)
    for t in np.flatnonzero((at_least & (apart < -limit)) | (at_most & (apart > limit))):
        raise ContractError(
            f"{why}: the one at stamp {_s(stamps[t + 1])} comes {_s(stamps[t + 1] - stamps[t])} after the one before, "
            f"{embodiment.name} says {embodiment.step_s:g} s with a skew of at most {embodiment.max_skew_s:g} s"
        )


def _rows(embodiment: Embodiment, samples: Samples, stamps: Array) -> Array:
    """``(T + 1, D)`` float32."""
    return np.stack([samples.values[i] for i in _matches(embodiment, samples, stamps)]).astype(np.float32)


def _matches(embodiment: Embodiment, samples: Samples, stamps: Array) -> list[int]:
    """For each stamp the index of the nearest sample, or ContractError if one lies too far away."""
    chosen = []
    for stamp in map(int, stamps):
        index = _found(samples.nearest(stamp))
        skew = abs(samples.stamps[index] - stamp)
        if skew > seconds_to_ns(embodiment.max_skew_s):
            raise ContractError(_too_far(embodiment, samples, stamp, skew))
        chosen.append(index)
    return chosen


def _frames(
    embodiment: Embodiment, images: Mapping[str, Samples], stamps: Array, every: int
) -> tuple[Array, dict[str, Array]]:
    """Steps at which every camera has an image within the skew, ``(K,)``, and those images ``(K, H, W, 3)``."""
    limit = seconds_to_ns(embodiment.max_skew_s)
    matched = {name: _image_of_step(samples, stamps, limit) for name, samples in images.items()}
    steps = sorted(set.intersection(*(set(found) for found in matched.values()))) if matched else []
    steps = [step for step in steps if step % every == 0]
    if images and not steps:
        samples = images[min(matched, key=lambda name: len(matched[name]))]
        step, index, skew = min(_nearest_steps(samples, stamps), key=lambda found: found[2])
        raise ContractError(
            f"{samples.label}: no control step has an image of every camera; nearest here is the image at stamp "
            f"{_s(samples.stamps[index])}, {_s(skew)} from step {step} (at most {embodiment.max_skew_s:g} s)"
        )
    frames = {name: _stacked([images[name].values[found[t]] for t in steps]) for name, found in matched.items()}
    return np.array(steps, np.int64), frames


def _stacked(images: Sequence[Array | Callable[[], Array]]) -> Array:
    """``(K, H, W, 3)``; images that are still to be decoded are decoded one by one, to hold each only once."""
    first = images[0]() if callable(images[0]) else images[0]
    stacked = np.empty((len(images), *first.shape), np.uint8)
    stacked[0] = first
    for k, image in enumerate(images[1:], 1):
        stacked[k] = image() if callable(image) else image
    return stacked


def _image_of_step(samples: Samples, stamps: Array, limit: int) -> dict[int, int]:
    """Step → index of its nearest image, for steps that have one within ``limit`` nanoseconds."""
    best: dict[int, tuple[int, int]] = {}
    for step, index, skew in _nearest_steps(samples, stamps):
        if skew <= limit and (step not in best or skew < best[step][0]):
            best[step] = (skew, index)
    return {step: index for step, (_, index) in best.items()}


def _nearest_steps(samples: Samples, stamps: Sequence[int] | Array) -> list[tuple[int, int, int]]:
    """``(step, index of the image, skew in nanoseconds)`` for every image."""
    steps = Samples("step", "", [int(stamp) for stamp in stamps])
    nearest = [(_found(steps.nearest(stamp)), index, stamp) for index, stamp in enumerate(samples.stamps)]
    return [(step, index, abs(steps.stamps[step] - stamp)) for step, index, stamp in nearest]


def _too_far(embodiment: Embodiment, samples: Samples, stamp: int, skew: int) -> str:
    return (
        f"{samples.label}: the sample nearest to stamp {_s(stamp)} is {_s(skew)} away, "
        f"{embodiment.name} allows {embodiment.max_skew_s:g} s"
    )


def _found(index: int | None) -> int:
    assert index is not None, "streams were checked not to be empty"
    return index


def _s(ns: Any) -> str:
    return f"{int(ns) / NS:.3f} s"

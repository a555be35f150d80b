"""One attempt at a task in a simulator, recorded as an Episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError
from world2act_core.policies.protocol import Policy
from world2act_core.simulators.protocol import PLACEHOLDER, Simulator
from world2act_core.simulators.starts import Start
from world2act_core.types import ActionChunk, Array, Episode, Observation, Skill


class Moment:
    """One control step, as actor and recorder both see it: a frame that one has looked at is not rendered again.

    Attributes:
        step: control steps since the start.
    """

    def __init__(self, simulator: Simulator, step: int) -> None:
        self.step = step
        self._simulator = simulator
        self._seen: Observation | None = None

    def observe(self, cameras: Sequence[str] = ()) -> Observation:
        """The simulator's observation, with images of at least the named cameras."""
        images = {} if self._seen is None else dict(self._seen.images)
        missing = [camera for camera in cameras if camera not in images]
        if self._seen is None or missing:
            seen = self._simulator.observe(missing)
            self._seen = Observation(seen.stamp, {**images, **seen.images}, seen.state)
        return self._seen


class Actor(Protocol):
    """Whoever moves the arm: asked for one action in every control step."""

    def reset(self, simulator: Simulator) -> None:
        """A new episode begins in the simulator as it stands."""

    def act(self, moment: Moment) -> Array:
        """The action ``(A,)`` of this control step, in the embodiment's layout."""

    def skills(self, steps: int) -> tuple[Skill, ...]:
        """The atomic skills carried out in an episode of so many steps; empty if the actor cannot know."""


def executed_steps(policy: Policy, embodiment: Embodiment, replan: int = 0) -> int:
    """Steps of each chunk that are executed before the policy is asked again.

    Args:
        replan: as many; 0: the embodiment's ``M``.

    Raises:
        ContractError: the policy does not look so far ahead, or counts on its chunks being executed whole.
    """
    steps, horizon = replan or embodiment.chunk_length, policy.horizon
    if not 1 <= steps <= horizon:
        why = ", and a residual corrects the contract's M and no more" if horizon == embodiment.chunk_length else ""
        raise ContractError(
            f"the policy gives chunks of {horizon} steps{why}: it can be asked again every 1 to {horizon}, not {steps}"
        )
    if policy.stateful and steps != horizon:
        raise ContractError(
            f"the policy remembers its episode and goes on where its last chunk of {horizon} steps ends: it can be "
            f"asked again every {horizon} steps, not {steps}"
        )
    return steps


class PolicyActor:
    """Executes a policy's chunks open loop and looks at the scene only between them.

    Args:
        policy: any policy.
        prompt: the skill prompt; None takes the simulator's instruction.
        replan: see `executed_steps`.
    """

    def __init__(self, policy: Policy, prompt: str | None = None, replan: int = 0) -> None:
        self.policy = policy
        self._given_prompt, self._replan = prompt, replan
        self._chunk: ActionChunk | None = None

    def reset(self, simulator: Simulator) -> None:
        self.policy.reset()
        self._embodiment = simulator.embodiment
        self._steps = executed_steps(self.policy, simulator.embodiment, self._replan)
        self._prompt = simulator.task if self._given_prompt is None else self._given_prompt
        self._chunk = None

    def act(self, moment: Moment) -> Array:
        within = moment.step % self._steps
        if within == 0 or self._chunk is None:
            self._chunk = self.policy.act(moment.observe(self.policy.cameras), self._prompt)
            # A policy may look further ahead than is executed of its chunk.
            self._embodiment.check_chunk(self._chunk, longest=self.policy.horizon)
        action: Array = self._chunk.actions[within]
        return action

    def skills(self, steps: int) -> tuple[Skill, ...]:
        return ()


class Noise:
    """Temporally correlated noise on the actions of an episode, see `NoisyActor`."""

    def __init__(self, seed: int, scale: float | Array, correlation: float = 0.9) -> None:
        if not 0 <= correlation < 1:
            raise ValueError(f"correlation {correlation} must lie in [0, 1)")
        self._seed, self._scale, self._correlation = seed, np.asarray(scale, np.float64), correlation

    def reset(self, embodiment: Embodiment) -> None:
        """A new episode, the actions being ``embodiment``'s."""
        self._gripper = embodiment.gripper.index
        self._rng = np.random.default_rng((self._seed, 1))  # a start's displacements are drawn from its bare seed
        self._now = self._scale * self._rng.standard_normal(embodiment.action.size)

    def on(self, action: Array) -> Array:
        """The action ``(A,)`` of the next control step, with noise on all but the gripper."""
        noisy = action + self._now
        noisy[self._gripper] = action[self._gripper]
        fresh = self._scale * self._rng.standard_normal(action.shape)
        self._now = self._correlation * self._now + np.sqrt(1 - self._correlation**2) * fresh
        return noisy


class NoisyActor:
    """Another actor under temporally correlated exploration noise (first-order autoregressive, the gripper spared).

    The noise is the same after every reset: give each episode its own seed.

    Args:
        actor: who acts.
        seed: of the noise; may be the start's, whose displacements are drawn independently of it.
        scale: standard deviation in action units, a number or one a dimension ``(A,)``.
        correlation: of one step's noise with the last one's, in 0..1; 0 is white.
    """

    def __init__(self, actor: Actor, seed: int, scale: float | Array = 0.3, correlation: float = 0.9) -> None:
        self.actor, self._noise = actor, Noise(seed, scale, correlation)

    def reset(self, simulator: Simulator) -> None:
        self.actor.reset(simulator)
        self._noise.reset(simulator.embodiment)

    def act(self, moment: Moment) -> Array:
        return self._noise.on(np.asarray(self.actor.act(moment), np.float64))

    def skills(self, steps: int) -> tuple[Skill, ...]:
        return self.actor.skills(steps)


def rollout(
    simulator: Simulator,
    actor: Actor,
    start: Start,
    *,
    episode_id: str,
    source: str,
    cameras: Sequence[str] = ("agentview",),
    record_images: bool = True,
    frame_every: int | None = None,
    extra_chunks: int = 0,
    max_steps: int | None = None,
) -> Episode:
    """Let an actor try the task once, from a start until success or the horizon.

    Every control step's state and action is recorded, a frame of every camera at each chunk boundary, the last step's
    included. The chunk in which the task is solved is finished, so the number of steps is a multiple of the chunk
    length; a solved task stays solved.

    Args:
        episode_id, source: written into the episode; the source with a word more where stand-ins were simulated.
        cameras: whose frames are recorded.
        record_images: False records none and renders only what the actor asks for.
        frame_every: steps from one recorded frame to the next; None: a chunk's.
        extra_chunks: chunks still carried out after the one that solved the task, to show how the gripper withdraws.
        max_steps: end after so many control steps at the latest; None leaves it to the simulator's horizon.

    Raises:
        ContractError: the actor gave an action of another shape or one that is not finite.
    """
    chunk_length = simulator.embodiment.chunk_length
    simulator.reset(start)
    actor.reset(simulator)
    recorder = _Recorder(tuple(cameras) if record_images else (), frame_every or chunk_length)
    moment, success = Moment(simulator, 0), False
    horizon = simulator.horizon if max_steps is None else min(max_steps, simulator.horizon)
    while extra_chunks >= 0 and moment.step + chunk_length <= horizon:
        for _ in range(chunk_length):
            recorder.look(moment)
            action = _checked(actor.act(moment), simulator, start)
            recorder.actions.append(action)
            success = simulator.step(action) or success
            moment = Moment(simulator, moment.step + 1)
        extra_chunks -= success
    recorder.look(moment)
    return Episode(
        episode_id=episode_id,
        task=simulator.task,
        embodiment=simulator.embodiment.name,
        stamps=np.array(recorder.stamps),
        state={name: np.stack(values) for name, values in recorder.state.items()},
        actions=np.array(recorder.actions, np.float32).reshape(-1, simulator.embodiment.action.size),
        frame_steps=np.array(recorder.frame_steps, np.int64),
        images={camera: np.stack(frames) for camera, frames in recorder.frames.items()},
        success=success,
        start_id=start.id,
        source=labelled(source, simulator),
        skills=actor.skills(moment.step),
    )


def labelled(source: str, simulator: Simulator) -> str:
    """Who acted, and whether in a scene of stand-ins: no bag of one should pass for the benchmark's."""
    assets = getattr(simulator, "facts", {}).get("assets")
    return f"{source}, {PLACEHOLDER} assets" if assets == PLACEHOLDER else source


class _Recorder:
    def __init__(self, cameras: tuple[str, ...], frame_every: int) -> None:
        self.stamps: list[float] = []
        self.state: dict[str, list[Array]] = {}
        self.actions: list[Array] = []
        self.frame_steps: list[int] = []
        self.frames: dict[str, list[Array]] = {camera: [] for camera in cameras}
        self._frame_every = frame_every

    def look(self, moment: Moment) -> None:
        framed = bool(self.frames) and moment.step % self._frame_every == 0
        seen = moment.observe(tuple(self.frames) if framed else ())
        self.stamps.append(seen.stamp)
        for name, value in seen.state.items():
            self.state.setdefault(name, []).append(value)
        if framed:
            self.frame_steps.append(moment.step)
            for camera, frames in self.frames.items():
                frames.append(seen.images[camera])


def _checked(action: Array, simulator: Simulator, start: Start) -> Array:
    """The action within the embodiment's range, float32: what is executed is what is recorded."""
    size = simulator.embodiment.action.size
    if np.shape(action) != (size,) or not np.isfinite(action).all():
        raise ContractError(f"the actor's action from start {start.id} must be {size} finite numbers, not {action}")
    return simulator.embodiment.clamp(action)

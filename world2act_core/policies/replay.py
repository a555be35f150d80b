"""Recorded actions as a policy: brings a robot or a graph up without a model, and repeats an episode exactly."""

from __future__ import annotations

from world2act_core.embodiment import Embodiment
from world2act_core.errors import World2ActError
from world2act_core.policies.protocol import Policy
from world2act_core.types import ActionChunk, Array, Episode, Observation


class ReplayPolicy(Policy):
    """Gives an episode's actions in order, one chunk a call, whatever it is shown.

    It asks for the cameras that were recorded, so that bringing a robot up with it exercises what a model will need.

    Args:
        episode: with actions ``(T, A)``; steps after the last whole chunk are left out.
        embodiment: gives ``M``.
    """

    stateful = True
    streams = ()

    def __init__(self, episode: Episode, embodiment: Embodiment) -> None:
        if episode.actions is None:
            raise World2ActError(f"episode {episode.episode_id} is an action-free video; replay needs actions")
        self.cameras: tuple[str, ...] = tuple(episode.images)
        self._episode_id, self.horizon = episode.episode_id, embodiment.chunk_length
        self._actions: Array = embodiment.clamp(episode.actions)
        self._next = 0

    def reset(self) -> None:
        """Begin at the first action again."""
        self._next = 0

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        """The next ``(M, A)`` recorded actions.

        Raises:
            World2ActError: the recording is over.
        """
        actions = self._actions[self._next : self._next + self.horizon]
        if len(actions) < self.horizon:
            raise World2ActError(f"the recording {self._episode_id} is over after {self._next} steps")
        self._next += self.horizon
        return ActionChunk(actions=actions, stamp=observation.stamp, skill=prompt)


def open_replay_policy(reference: str, embodiment: Embodiment) -> Policy:
    """``BAG`` (its first episode) or ``BAG#EPISODE`` (by identity, or by number from 0) → policy.

    Raises:
        World2ActError: no such bag or episode.
    """
    from world2act_core.episodes.reader import BagReport, iterate_episodes

    bag, _, wanted = reference.partition("#")
    known = []
    for index, episode in enumerate(iterate_episodes(bag, embodiment, report=BagReport())):
        if wanted in ("", episode.episode_id, str(index)):
            return ReplayPolicy(episode, embodiment)
        known.append(episode.episode_id)
    raise World2ActError(f"{bag} has no episode {wanted or '0'!r}; it has {', '.join(known) or 'none'}")

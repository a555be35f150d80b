"""A watched policy acts as the policy does, and what it answered and took is known afterwards."""

from __future__ import annotations

import numpy as np

from world2act_core.policies.protocol import Policy
from world2act_core.policies.watched import WatchedPolicy
from world2act_core.types import ActionChunk, Observation

SEEN = Observation(0.0, {}, {})


class LooksAhead(Policy):
    """Six steps of which four are executed; beyond the range, as policies may be."""

    cameras, horizon, streams, stateful = ("agentview",), 6, ("eef_position",), True
    resets = 0

    def reset(self) -> None:
        self.resets += 1

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        return ActionChunk(np.full((6, 7), 1.5, np.float32), observation.stamp, prompt)


def test_it_is_the_policy_to_whoever_asks() -> None:
    policy = LooksAhead()
    watched = WatchedPolicy(policy)
    assert (watched.cameras, watched.horizon, watched.streams) == (policy.cameras, policy.horizon, policy.streams)
    assert watched.stateful
    watched.reset()
    assert policy.resets == 1
    assert watched.act(SEEN, "push").skill == "push"


def test_what_was_executed_is_known_as_the_policy_gave_it() -> None:
    watched = WatchedPolicy(LooksAhead())
    for _ in range(3):
        watched.act(SEEN, "")
    assert len(watched.seconds) == 3 and min(watched.seconds) > 0
    commands = watched.commands(12, 4)
    assert commands is not None and commands.shape == (12, 7) and commands.max() == 1.5
    assert watched.commands(16, 4) is None, "an episode of other commands"
    watched.reset()
    assert watched.seconds == [] and watched.commands(12, 4) is None

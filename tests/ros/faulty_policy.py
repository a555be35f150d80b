"""The policy node with a policy that fails: addresses ``slow:BAG``, ``nan:BAG``, ``short:BAG``, ``raises:BAG``.

Run as a process in place of the node's own executable, for ``test_policy_faults``. Every second answer is a fault
(``slow``: every one).
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from world2act.policy import main
from world2act_core.embodiment import Embodiment
from world2act_core.policies.address import Opener, register_policy_scheme
from world2act_core.policies.protocol import Policy
from world2act_core.policies.replay import open_replay_policy
from world2act_core.types import ActionChunk, Observation

SLOW_S = 0.8


class FaultyPolicy(Policy):
    """A replay whose answers are spoilt."""

    def __init__(self, inner: Policy, fault: str) -> None:
        self._inner, self._fault, self._asked = inner, fault, 0
        self.cameras, self.horizon = inner.cameras, inner.horizon

    def reset(self) -> None:
        self._inner.reset()
        self._asked = 0

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        chunk = self._inner.act(observation, prompt)
        self._asked += 1
        if self._fault == "slow":
            time.sleep(SLOW_S)
        elif self._asked % 2 == 0:
            if self._fault == "raises":
                raise RuntimeError("the policy's own code is broken")
            spoilt = {"nan": np.full_like(chunk.actions, np.nan), "short": chunk.actions[:-1]}
            return replace(chunk, actions=spoilt[self._fault])
        return chunk


def _opener(fault: str) -> Opener:
    def opened(reference: str, embodiment: Embodiment) -> Policy:
        return FaultyPolicy(open_replay_policy(reference, embodiment), fault)

    return opened


open_slow, open_nan, open_short, open_raises = map(_opener, ("slow", "nan", "short", "raises"))

if __name__ == "__main__":
    for name in ("slow", "nan", "short", "raises"):
        register_policy_scheme(name, f"tests.ros.faulty_policy:open_{name}")
    main()

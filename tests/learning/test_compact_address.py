"""The compact policy behind an address acts as the one that was saved."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.learning.scenes import EMBODIMENT, SIZE, STREAMS, square_episode
from world2act_core.errors import RunError
from world2act_core.policies.address import open_policy
from world2act_core.policies.compact import CompactConfig, CompactPolicy, new_network, save_compact
from world2act_core.types import Observation


def test_a_saved_policy_opens_by_its_address_and_acts_alike(tmp_path):
    torch.manual_seed(0)
    config = CompactConfig(cameras=("agentview",), streams=STREAMS, image_size=SIZE, width=8, features=16)
    network = new_network(config, EMBODIMENT)
    save_compact(tmp_path / "policy.pt", network, config, EMBODIMENT)
    episode = square_episode(3)
    images = {"agentview": episode.images["agentview"][0]}
    seen = Observation(0.0, images, {name: values[0] for name, values in episode.state.items()})
    opened = open_policy(f"compact:{tmp_path / 'policy.pt'}", EMBODIMENT)
    expected = CompactPolicy(network, config, EMBODIMENT).act(seen, "push").actions
    assert opened.cameras == ("agentview",)
    assert np.array_equal(opened.act(seen, "push").actions, expected) and np.ptp(expected) > 0


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RunError, match=r"no compact policy .*policy\.pt"):
        open_policy(f"compact:{tmp_path / 'policy.pt'}", EMBODIMENT)

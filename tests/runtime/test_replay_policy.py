"""Policies by address, and the one that needs no model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from world2act_core.embodiment import load_embodiment
from world2act_core.episodes import BagWriter
from world2act_core.errors import World2ActError
from world2act_core.policies.address import open_policy
from world2act_core.policies.replay import ReplayPolicy
from world2act_core.types import Episode, Observation

PANDA = load_embodiment("libero_panda")
NOTHING = Observation(0.4, {}, {})


def an_episode(steps: int = 10, name: str = "e") -> Episode:
    rng = np.random.default_rng(len(name))
    return Episode(
        episode_id=name,
        task="task",
        embodiment=PANDA.name,
        stamps=np.arange(steps + 1) * PANDA.step_s,
        state={n: np.zeros((steps + 1, s.size), np.float32) for n, s in PANDA.state.items()},
        actions=rng.uniform(-1, 1, (steps, 7)).astype(np.float32),
        frame_steps=np.array([0], np.int64),
        images={"wrist": np.zeros((1, 128, 128, 3), np.uint8)},
    )


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "bag"
    with BagWriter(path, PANDA) as writer:
        writer.write_episode(an_episode(8, "first"))
        writer.write_episode(an_episode(8, "second-one"))
    return path


def test_actions_come_back_in_order_and_end_with_a_sentence() -> None:
    episode = an_episode(10)
    assert episode.actions is not None
    policy = ReplayPolicy(episode, PANDA)
    chunks = [policy.act(NOTHING, "p") for _ in range(2)]
    np.testing.assert_array_equal(np.concatenate([chunk.actions for chunk in chunks]), episode.actions[:8])
    assert chunks[0].stamp == 0.4 and chunks[0].skill == "p"
    with pytest.raises(World2ActError, match="is over after 8 steps"):
        policy.act(NOTHING, "p")
    policy.reset()
    np.testing.assert_array_equal(policy.act(NOTHING, "p").actions, episode.actions[:4])


def test_it_asks_for_the_cameras_that_were_recorded() -> None:
    assert ReplayPolicy(an_episode(), PANDA).cameras == ("wrist",)


def test_an_action_free_video_cannot_be_replayed() -> None:
    with pytest.raises(World2ActError, match="action-free"):
        ReplayPolicy(replace(an_episode(), actions=None), PANDA)


@pytest.mark.parametrize(("reference", "name"), [("", "first"), ("#1", "second-one"), ("#second-one", "second-one")])
def test_an_episode_of_a_bag_by_number_or_identity(bag: Path, reference: str, name: str) -> None:
    policy = open_policy(f"replay:{bag}{reference}", PANDA)
    expected = an_episode(8, name).actions
    assert expected is not None
    np.testing.assert_array_equal(policy.act(NOTHING, "").actions, expected[:4])


def test_an_unknown_episode_lists_what_there_is(bag: Path) -> None:
    with pytest.raises(World2ActError, match="no episode '7'; it has first, second-one"):
        open_policy(f"replay:{bag}#7", PANDA)


@pytest.mark.parametrize("address", ["gr00t", "https://example.org", ""])
def test_an_unknown_scheme_lists_the_known_ones(address: str) -> None:
    with pytest.raises(World2ActError, match="known are compact:, .*gr00t:, .*onnx:, .*replay:, run:"):
        open_policy(address, PANDA)

"""Rollouts, against a simulator that only counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from world2act_core.embodiment import load_embodiment
from world2act_core.errors import ContractError
from world2act_core.policies.protocol import Policy
from world2act_core.simulators.rollout import Moment, NoisyActor, PolicyActor, rollout
from world2act_core.simulators.starts import Start
from world2act_core.types import ActionChunk, Array, Episode, Observation, Skill

START = Start("libero_goal", 8, 0)


class CountingSimulator:
    """Solved after ``solved_at`` steps, for that one step only; images say at which step they were rendered."""

    suite, task_index, task = "libero_goal", 8, "count to ten"

    def __init__(self, solved_at: int = 10**6, horizon: int = 20) -> None:
        self.embodiment = load_embodiment("libero_panda")
        self.horizon, self.solved_at = horizon, solved_at
        self.rendered: list[tuple[int, str]] = []
        self.executed: list[Array] = []
        self.steps = 0

    def reset(self, start: Start) -> None:
        self.steps = 0
        self.executed.clear()

    def observe(self, cameras: Sequence[str] = ()) -> Observation:
        self.rendered += [(self.steps, camera) for camera in cameras]
        images = {camera: np.full((2, 2, 3), self.steps, np.uint8) for camera in cameras}
        return Observation(self.steps / 20, images, {"joint_positions": np.full(7, self.steps, np.float32)})

    def step(self, action: Array) -> bool:
        self.executed.append(action)
        self.steps += 1
        return self.steps == self.solved_at

    def close(self) -> None:
        pass


class Constant:
    """An actor that never looks."""

    def __init__(self, value: float = 0.0, size: int = 7) -> None:
        self.action = np.full(size, value)

    def reset(self, simulator: Any) -> None:
        pass

    def act(self, moment: Moment) -> Array:
        return self.action

    def skills(self, steps: int) -> tuple[Skill, ...]:
        return (Skill("wait", 0, steps),)


class CountingPolicy(Policy):
    """Chunks whose numbers say which observation and which step within the chunk they belong to."""

    def __init__(self, cameras: tuple[str, ...] = ("agentview",), horizon: int = 4) -> None:
        self.cameras, self.horizon = cameras, horizon
        self.seen: list[Observation] = []
        self.prompts: list[str] = []

    def reset(self) -> None:
        self.seen.clear()

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        self.seen.append(observation)
        self.prompts.append(prompt)
        actions = np.zeros((self.horizon, 7), np.float32)
        actions[:, 0] = observation.stamp / 10
        actions[:, 1] = np.arange(self.horizon) / 10
        return ActionChunk(actions, observation.stamp, prompt)


def roll(simulator: CountingSimulator, actor: Any, **options: Any) -> Episode:
    return rollout(simulator, actor, START, episode_id="e", source="test", **options)


def test_success_finishes_the_running_chunk_and_is_kept() -> None:
    episode = roll(CountingSimulator(solved_at=6), Constant())
    assert (episode.steps, episode.success) == (8, True)


def test_success_in_the_last_step_of_a_chunk_adds_none() -> None:
    assert roll(CountingSimulator(solved_at=8), Constant()).steps == 8


def test_extra_chunks_follow_the_one_that_solved_the_task() -> None:
    assert roll(CountingSimulator(solved_at=6), Constant(), extra_chunks=2).steps == 16
    assert roll(CountingSimulator(solved_at=18), Constant(), extra_chunks=2).steps == 20


def test_an_unsolved_episode_ends_at_the_horizon() -> None:
    episode = roll(CountingSimulator(horizon=20), Constant())
    assert (episode.steps, episode.success) == (20, False)


@pytest.mark.parametrize(("max_steps", "steps"), [(8, 8), (11, 8), (400, 20), (3, 0)])
def test_a_caller_may_end_it_earlier(max_steps: int, steps: int) -> None:
    episode = roll(CountingSimulator(horizon=20), Constant(), max_steps=max_steps)
    assert (episode.steps, episode.success) == (steps, False)
    assert episode.actions is not None and episode.actions.shape == (steps, 7)


def test_a_horizon_between_chunks_is_not_overrun() -> None:
    assert roll(CountingSimulator(horizon=22), Constant()).steps == 20


def test_state_is_recorded_every_step_and_frames_at_chunk_boundaries_with_the_last() -> None:
    episode = roll(CountingSimulator(solved_at=7), Constant(), cameras=("agentview", "wrist"))
    assert episode.state["joint_positions"][:, 0].tolist() == list(range(9))
    assert episode.stamps.tolist() == [step / 20 for step in range(9)]
    assert episode.frame_steps.tolist() == [0, 4, 8]
    assert set(episode.images) == {"agentview", "wrist"}
    assert episode.images["wrist"][:, 0, 0, 0].tolist() == [0, 4, 8]
    assert list(episode.chunk_starts(4)) == [0, 4]


def test_the_episode_says_where_it_comes_from() -> None:
    episode = roll(CountingSimulator(solved_at=7), Constant())
    assert (episode.episode_id, episode.source, episode.start_id) == ("e", "test", "libero_goal/8/i0")
    assert (episode.task, episode.embodiment) == ("count to ten", "libero_panda")
    assert episode.skills == (Skill("wait", 0, 8),)


def test_a_policy_looks_once_a_chunk_and_its_chunks_run_open_loop() -> None:
    policy, simulator = CountingPolicy(), CountingSimulator(horizon=8)
    episode = roll(simulator, PolicyActor(policy, "grasp"))
    assert [seen.stamp for seen in policy.seen] == [0.0, 0.2]
    assert policy.prompts == ["grasp", "grasp"]
    assert episode.actions is not None
    assert episode.actions[:, 0] == pytest.approx([0] * 4 + [0.02] * 4)
    assert episode.actions[:, 1] == pytest.approx([0, 0.1, 0.2, 0.3] * 2)


def test_a_policy_that_looks_far_ahead_is_asked_again_when_it_is_told_to() -> None:
    policy, simulator = CountingPolicy(horizon=16), CountingSimulator(horizon=16)
    episode = roll(simulator, PolicyActor(policy, replan=5), frame_every=5)
    assert [seen.stamp for seen in policy.seen] == pytest.approx([0.0, 0.25, 0.5, 0.75])
    assert episode.actions is not None and episode.steps == 16
    assert episode.actions[:, 1] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4] * 3 + [0])
    assert list(episode.frame_steps) == [0, 5, 10, 15]
    assert len(simulator.rendered) == 4, "what the policy has seen is recorded and not rendered again"


@pytest.mark.parametrize(("horizon", "replan"), [(4, 5), (4, 16), (16, 17), (16, -1)])
def test_no_more_of_a_chunk_is_executed_than_there_is(horizon: int, replan: int) -> None:
    actor = PolicyActor(CountingPolicy(horizon=horizon), replan=replan)
    residual = "a residual corrects the contract's M and no more" if horizon == 4 else "chunks of 16 steps: "
    with pytest.raises(ContractError, match=f"{residual}.*can be asked again every 1 to {horizon}, not {replan}"):
        roll(CountingSimulator(horizon=8), actor)


def test_a_policy_that_goes_on_where_its_chunk_ended_is_not_asked_earlier() -> None:
    policy = CountingPolicy(horizon=8)
    policy.stateful = True
    with pytest.raises(ContractError, match="goes on where its last chunk of 8 steps ends"):
        roll(CountingSimulator(horizon=8), PolicyActor(policy, replan=4))
    roll(CountingSimulator(horizon=8), PolicyActor(policy, replan=8))
    assert len(policy.seen) == 1


def test_without_a_prompt_a_policy_gets_the_instruction() -> None:
    policy = CountingPolicy()
    roll(CountingSimulator(horizon=4), PolicyActor(policy))
    assert policy.prompts == ["count to ten"]


def test_no_frame_is_rendered_twice() -> None:
    simulator = CountingSimulator(horizon=8)
    roll(simulator, PolicyActor(CountingPolicy(("agentview", "wrist"))), cameras=("agentview",))
    assert len(simulator.rendered) == len(set(simulator.rendered)) == 2 * 2 + 1


def test_without_recording_only_the_policys_frames_are_rendered() -> None:
    simulator = CountingSimulator(horizon=8)
    episode = roll(simulator, PolicyActor(CountingPolicy(("wrist",))), record_images=False)
    assert simulator.rendered == [(0, "wrist"), (4, "wrist")]
    assert (dict(episode.images), len(episode.frame_steps)) == ({}, 0)


def test_without_recording_a_blind_actor_renders_nothing() -> None:
    simulator = CountingSimulator(horizon=8)
    roll(simulator, Constant(), record_images=False)
    assert simulator.rendered == []


def test_what_is_executed_is_what_is_recorded_within_the_range() -> None:
    simulator = CountingSimulator(horizon=8)
    episode = roll(simulator, NoisyActor(Constant(0.9), seed=3, scale=0.5))
    assert episode.actions is not None and np.array_equal(episode.actions, np.stack(simulator.executed))
    assert episode.actions.dtype == np.float32 and episode.actions.max() == 1.0


@pytest.mark.parametrize("actor", [Constant(np.nan), Constant(0.0, size=6)])
def test_a_malformed_action_is_refused(actor: Constant) -> None:
    with pytest.raises(ContractError, match="libero_goal/8/i0 must be 7 finite numbers"):
        roll(CountingSimulator(), actor)


def noise(seed: int, **options: Any) -> Array:
    episode = roll(CountingSimulator(horizon=2000), NoisyActor(Constant(), seed, **options), record_images=False)
    assert episode.actions is not None
    return episode.actions


def test_noise_is_a_function_of_its_seed() -> None:
    assert np.array_equal(noise(1), noise(1))
    assert not np.array_equal(noise(1), noise(2))


def test_noise_starts_again_with_every_episode() -> None:
    actor = NoisyActor(Constant(), seed=1)
    first, second = (roll(CountingSimulator(horizon=8), actor).actions for _ in range(2))
    assert first is not None and second is not None and np.array_equal(first, second)


def test_noise_has_its_scale_and_correlation_and_spares_the_gripper() -> None:
    values = noise(5, scale=0.1, correlation=0.8).astype(np.float64)
    assert not values[:, 6].any()
    arm = values[:, :6]
    assert arm.std() == pytest.approx(0.1, rel=0.1)
    assert (arm[1:] * arm[:-1]).mean() / arm.var() == pytest.approx(0.8, abs=0.05)

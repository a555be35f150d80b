"""The base fine-tuned by the objective of Stage 2, in the toy world of a square that actions push."""

from __future__ import annotations

import copy
from unittest import mock

import numpy as np
import pytest
import torch

from tests.learning.scenes import EMBODIMENT, SIZE, STREAMS, square_episode, square_table
from world2act_core.alignment.train import Stage1Config, train_alignment, video_latents
from world2act_core.baselines.finetuning import FinetuningConfig, adapted, finetune
from world2act_core.errors import World2ActError
from world2act_core.networks.codec import PatchCodec
from world2act_core.policies.address import open_policy
from world2act_core.policies.compact import CompactConfig, save_compact, train_compact
from world2act_core.residual.train import Objective, PostTrainingSet, Stage2Config
from world2act_core.runs import training
from world2act_core.types import Observation
from world2act_core.world_model.chunk_latents import InMemoryLatents

CONFIG = CompactConfig(cameras=("agentview",), streams=STREAMS, image_size=SIZE, features=16, steps=20, batch=16)
RANGE = (-torch.ones(7), torch.ones(7))
USED = (torch.arange(7) < 2).float()


@pytest.fixture(scope="module")
def table():
    return square_table(16, ("push right", "push down"))


@pytest.fixture(scope="module")
def base(table, tmp_path_factory):
    """Hardly trained, so that there is something to gain."""
    torch.set_num_threads(1)
    return train_compact(table, EMBODIMENT, CONFIG, 0, tmp_path_factory.mktemp("base") / "checkpoint.pt")[0].eval()


@pytest.fixture(scope="module")
def objective(table, base, tmp_path_factory):
    frames = torch.from_numpy(table.frames)
    codec = PatchCodec(SIZE)
    codec.fit(frames)
    latents = InMemoryLatents(codec.encode(frames), table.before, table.after)
    checkpoint = tmp_path_factory.mktemp("stage1") / "checkpoint.pt"
    alignment, _ = train_alignment(table, latents, Stage1Config(steps=100, batch=8, length=6), 0, checkpoint)
    before, proprio = frames[table.before], torch.from_numpy(table.proprio)
    with torch.no_grad():
        acted = base(before, proprio)
    target = video_latents(alignment, latents, np.arange(len(table)))
    data = PostTrainingSet(before, proprio, acted, target, torch.from_numpy(table.episode))
    return Objective(alignment, data, RANGE, USED, Stage2Config(steps=60, batch=32))


def error(network, objective) -> float:
    """Of what the network does, against what the imagination asks for."""
    with torch.no_grad():
        off = network(objective.data.frames, objective.data.proprio) - objective.wanted
    return float((objective.used * off.square()).mean())


@pytest.mark.parametrize("method", ["lora", "full"])
def test_fine_tuning_meets_the_objective_and_leaves_the_base_as_it_was(method, base, objective, tmp_path):
    before = copy.deepcopy(base.state_dict())
    config = FinetuningConfig(method, rank=8, learning_rate=3e-3)
    network, history = finetune(base, objective, config, 0, tmp_path / "checkpoint.pt")
    assert history[-1]["loss"] < history[0]["loss"]
    assert error(network, objective) < 0.8 * error(base, objective)
    assert all(torch.equal(base.state_dict()[name], value) for name, value in before.items())


def test_fine_tuning_begins_at_the_base(base, objective):
    data = objective.data
    for method in ("lora", "full"):
        network = adapted(base, FinetuningConfig(method)).eval()
        assert torch.equal(network(data.frames, data.proprio), base(data.frames, data.proprio)), method


def test_lora_changes_its_adapters_and_nothing_else(base, objective, tmp_path):
    finetune(base, objective, FinetuningConfig(rank=4, learning_rate=3e-3), 0, tmp_path / "checkpoint.pt")
    torch.manual_seed(0)
    begun = adapted(base, FinetuningConfig(rank=4)).state_dict()
    ended = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["module"]
    changed = {name for name in begun if not torch.equal(begun[name], ended[name])}
    assert begun.keys() == ended.keys() and changed == {name for name in begun if ".lora_" in name}
    layers = [name for name, module in base.named_modules() if isinstance(module, torch.nn.Linear)]
    assert len(changed) == 2 * len(layers)
    assert all(4 in ended[name].shape for name in changed)


def test_merged_adapters_change_linear_layers_only(base, objective, tmp_path):
    network, _ = finetune(base, objective, FinetuningConfig(rank=4, learning_rate=3e-3), 0, tmp_path / "checkpoint.pt")
    one, other = base.state_dict(), network.state_dict()
    assert one.keys() == other.keys()
    linear = {f"{name}.weight" for name, module in base.named_modules() if isinstance(module, torch.nn.Linear)}
    assert {name for name in one if not torch.equal(one[name], other[name])} == linear


@pytest.mark.parametrize("method", ["lora", "full"])
def test_fine_tuning_that_was_stopped_goes_on_bit_for_bit(method, base, objective, tmp_path):
    config, short = FinetuningConfig(method, rank=4), 10
    with mock.patch.object(training, "CHECKPOINT_EVERY", short):
        whole, history = finetune(base, objective, config, 0, tmp_path / "whole.pt")
        with _stopped_at(short + 3), pytest.raises(KeyboardInterrupt):
            finetune(base, objective, config, 0, tmp_path / "stopped.pt")
        assert torch.load(tmp_path / "stopped.pt", weights_only=True)["step"] == short
        resumed, again = finetune(base, objective, config, 0, tmp_path / "stopped.pt")
    assert again == history
    assert all(torch.equal(resumed.state_dict()[name], value) for name, value in whole.state_dict().items())


def _stopped_at(last: int):
    def generator(seed: int, step: int) -> np.random.Generator:
        if step == last:
            raise KeyboardInterrupt
        return np.random.default_rng((seed, step))

    return mock.patch.object(training, "step_generator", generator)


def test_a_fine_tuned_base_opens_as_a_compact_policy(base, objective, tmp_path):
    network, _ = finetune(base, objective, FinetuningConfig(), 0, tmp_path / "checkpoint.pt")
    save_compact(tmp_path / "policy.pt", network, CONFIG, EMBODIMENT)
    policy = open_policy(f"compact:{tmp_path / 'policy.pt'}", EMBODIMENT)
    episode = square_episode(3)
    state = {name: values[0] for name, values in episode.state.items()}
    chunk = policy.act(Observation(0.0, {"agentview": episode.images["agentview"][0]}, state), "push right")
    EMBODIMENT.check_chunk(chunk)
    row = next(i for i, number in enumerate(objective.data.episode) if number == 3)
    acted = network(objective.data.frames[row : row + 1], objective.data.proprio[row : row + 1])[0]
    assert chunk.actions == pytest.approx(EMBODIMENT.clamp(acted.numpy()), abs=1e-5)


@pytest.mark.parametrize(
    ("values", "says"), [({"method": "half"}, "expected one of lora, full"), ({"rank": 0}, "expected at least 1")]
)
def test_a_setting_that_cannot_be_is_refused_at_once(values, says):
    with pytest.raises(World2ActError, match=says):
        FinetuningConfig(**values)

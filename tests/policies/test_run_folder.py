"""The files that a gate vouches for are all that a run's policies are made of."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from tests.learning.scenes import EMBODIMENT, SIZE, STREAMS, square_episode, square_table
from tests.recipes.gate_runs import make_run
from world2act_core.alignment.adapters import AdapterConfig, Alignment
from world2act_core.errors import RunError
from world2act_core.networks.codec import PatchCodec
from world2act_core.policies.address import open_policy
from world2act_core.policies.compact import CompactConfig, new_network, save_compact
from world2act_core.policies.run_folder import policy_files
from world2act_core.residual.files import save_residual
from world2act_core.residual.network import Residual, ResidualConfig
from world2act_core.runs import Run, file_digest
from world2act_core.types import Observation

CONFIG = CompactConfig(encoder="patches", cameras=("agentview",), streams=STREAMS, image_size=SIZE)
RESIDUAL = ResidualConfig(encoder="patches")


def save_base(path):
    network = new_network(CONFIG, EMBODIMENT)
    table = square_table(4)
    network.fit_inputs(torch.from_numpy(table.frames), torch.from_numpy(table.proprio))
    save_compact(path, network, CONFIG, EMBODIMENT)


@pytest.mark.parametrize("part", ["", "#base", "#post-trained"])
def test_an_address_of_a_folder_that_is_no_run_says_what_makes_one(tmp_path, part):
    with pytest.raises(
        RunError, match=f"^{tmp_path} is no run, .*'world2act demo --run FOLDER' or 'world2act post-tra"
    ):
        open_policy(f"run:{tmp_path}{part}", EMBODIMENT)


def test_a_run_whose_first_stage_was_killed_is_a_run(tmp_path):
    def killed(stage):
        raise KeyboardInterrupt

    with Run(tmp_path, lambda line: None) as run, pytest.raises(KeyboardInterrupt):
        run.stage("base", killed)
    with pytest.raises(RunError, match="base has no manifest.json: the stage was not finished"):
        open_policy(f"run:{tmp_path}", EMBODIMENT)


def test_the_files_of_a_runs_policies_are_enough_to_act_as_they_do(tmp_path):
    torch.manual_seed(0)

    def save(path):
        codec = PatchCodec(SIZE)
        codec.fit(torch.from_numpy(square_table(4).frames))
        alignment = Alignment(AdapterConfig(codec.latent_shape))
        residual = Residual(RESIDUAL, alignment, 5, torch.ones(7, dtype=torch.bool), codec)
        for parameter in residual.head[-1].parameters():
            torch.nn.init.normal_(parameter)
        base = file_digest(policy_files(tmp_path / "run")["base"])
        save_residual(path, residual, RESIDUAL, alignment, base, CONFIG, EMBODIMENT)

    run = make_run(tmp_path / "run", save_base, save)
    bare = tmp_path / "bare"
    for file in policy_files(run).values():
        target = bare / file.relative_to(run)
        target.parent.mkdir(parents=True)
        shutil.copyfile(file, target)
        shutil.copyfile(file.with_name("manifest.json"), target.with_name("manifest.json"))
    episode = square_episode(3)
    seen = Observation(0.0, {"agentview": episode.images["agentview"][2]}, {n: v[0] for n, v in episode.state.items()})
    acted = []
    for part in ("#base", ""):
        whole, copied = (open_policy(f"run:{folder}{part}", EMBODIMENT).act(seen, "").actions for folder in (run, bare))
        assert np.array_equal(whole, copied)
        acted.append(whole)
    assert not np.array_equal(acted[0], acted[1])
    assert np.array_equal(open_policy(f"compact:{run}", EMBODIMENT).act(seen, "").actions, acted[0])

"""Exported graphs act as torch does on what was recorded, and are refused where they would not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.learning.scenes import SIZE, square_episode
from tests.recipes.gate_runs import make_run
from tests.residual.made import BASE, EMBODIMENT, OVERRULING, PATCHES, make_residual, observation
from world2act_core.alignment.adapters import AdapterConfig, Alignment
from world2act_core.cli import main
from world2act_core.episodes.writer import write_whole_bag
from world2act_core.errors import RunError, World2ActError
from world2act_core.evaluation.gate import Gate
from world2act_core.evaluation.signature import KEY_VARIABLE, write_gate
from world2act_core.evaluation.trials import Trial, pair_trials
from world2act_core.networks.blocks import Standardise
from world2act_core.networks.codec import PatchCodec
from world2act_core.policies.address import open_policy
from world2act_core.policies.run_folder import policy_files
from world2act_core.residual.engine import read_export
from world2act_core.residual.export import export_run, wanted_video, write_graph
from world2act_core.residual.files import write_skills
from world2act_core.residual.network import ResidualConfig
from world2act_core.residual.providers import PROVIDERS, choose
from world2act_core.runs import file_digest
from world2act_core.runtime.graphs.common import demand_gate

CPU, CUDA, TENSORRT = PROVIDERS["cpu"], PROVIDERS["cuda"], PROVIDERS["tensorrt"]


def record(bag: Path, index: int) -> None:
    toy, camera = square_episode(index), EMBODIMENT.cameras["agentview"]
    images = toy.images["agentview"].repeat(camera.height // SIZE, 1).repeat(camera.width // SIZE, 2)
    write_whole_bag(replace(toy, images={"agentview": np.ascontiguousarray(images)}), bag, EMBODIMENT)


def a_run(folder: Path, config: ResidualConfig = PATCHES, skills: tuple[str, ...] = (), **how: Any) -> Path:
    made = folder / "made"
    made.mkdir()
    make_residual(made, "any.pt", config=config, **how)
    for number, skill in enumerate(skills):
        make_residual(made, f"{skill}.pt", number, skill, config)

    def post_train(path: Path) -> None:
        shutil.copyfile(made / "any.pt", path)
        if skills:
            copies = {skill: shutil.copyfile(made / f"{skill}.pt", path.with_name(f"{skill}.pt")) for skill in skills}
            write_skills(path.with_name("residuals.json"), copies)

    run = make_run(folder / "run", lambda path: shutil.copyfile(made / BASE, path), post_train)
    (run / "evaluation" / "bags").mkdir(parents=True)
    for index in range(3):
        record(run / "evaluation" / "bags" / f"toy-{index}", index)
    return run


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    run = a_run(folder)
    return run, export_run(run, folder / "export", EMBODIMENT)


def test_the_exported_policy_acts_as_torch_does(exported):
    run, done = exported
    torch_policy, graphs = open_policy(f"run:{run}", EMBODIMENT), open_policy(f"onnx:{done.folder}", EMBODIMENT)
    base = open_policy(f"run:{run}#base", EMBODIMENT)
    assert done.observations > 10 and max(done.differences.values()) < 1e-5
    assert set(done.differences) == {"base.onnx", "residual.onnx"}
    for index in range(4):
        seen = observation(index, index)
        expected = torch_policy.act(seen, "push").actions
        assert np.abs(graphs.act(seen, "push").actions - expected).max() < 1e-5
        assert np.abs(base.act(seen, "push").actions - expected).max() > 0.01
    assert graphs.cameras == ("agentview",)


def test_a_residual_that_goes_by_displacements_does_so_when_exported(tmp_path, exported):
    run = a_run(tmp_path, units=(0.5, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0))
    done = export_run(run, tmp_path / "export", EMBODIMENT)
    torch_policy, graphs = open_policy(f"run:{run}", EMBODIMENT), open_policy(f"onnx:{done.folder}", EMBODIMENT)
    otherwise = open_policy(f"run:{exported[0]}", EMBODIMENT)
    for index in range(4):
        seen = observation(index, index)
        expected = torch_policy.act(seen, "push").actions
        assert np.abs(graphs.act(seen, "push").actions - expected).max() < 1e-5
        assert np.abs(otherwise.act(seen, "push").actions - expected).max() > 0.01, "the same weights, in other units"


def test_an_exported_base_that_is_overruled_is_not_asked_either(tmp_path):
    run = a_run(tmp_path, OVERRULING, used=(True,) * 7)
    done = export_run(run, tmp_path / "export", EMBODIMENT)
    torch_policy, graphs = (open_policy(name, EMBODIMENT) for name in (f"run:{run}", f"onnx:{done.folder}"))
    for policy in (torch_policy, graphs):
        policy.base = None  # type: ignore[attr-defined]
    seen = observation()
    assert np.abs(graphs.act(seen, "push").actions - torch_policy.act(seen, "push").actions).max() < 1e-5


def test_strength_0_is_the_exported_base_bit_for_bit(exported):
    graphs: Any = open_policy(f"onnx:{exported[1].folder}", EMBODIMENT)
    graphs.strength = 0.0
    assert np.array_equal(graphs.act(observation(), "").actions, graphs.base.act(observation(), "").actions)


def test_an_exported_policy_acts_without_torch(exported):
    code = f"""
import sys
from world2act_core.embodiment import load_embodiment
from world2act_core.policies.address import open_policy
from world2act_core.types import Observation
import numpy as np
robot = load_embodiment("libero_panda")
policy = open_policy("onnx:{exported[1].folder}#cpu", robot)
state = {{name: np.zeros(stream.size, np.float32) for name, stream in robot.state.items()}}
robot.check_chunk(policy.act(Observation(0.0, {{"agentview": np.zeros((128, 128, 3), np.uint8)}}, state), "push"))
assert "torch" not in sys.modules, "torch was loaded"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("pooling", ["flow", "patches"])
def test_the_adapters_of_stage_1_read_as_in_torch(tmp_path, pooling):
    torch.manual_seed(0)
    codec = PatchCodec(SIZE)
    alignment = Alignment(AdapterConfig(codec.latent_shape, pooling=pooling, codec=codec.shape)).eval()
    for layer in alignment.video.net:
        if isinstance(layer, Standardise):
            layer.fit(3 * torch.randn(50, layer.mean.numel()) + 1)
    wanted = wanted_video(alignment, 5)
    assert write_graph(wanted, tmp_path) < 1e-5
    assert (wanted.file, list(wanted.inputs)) == (
        "video_adapter.onnx", ["flow"] if pooling == "flow" else ["before", "after"],
    )  # fmt: skip
    assert float(wanted.expected.std(0).mean()) > 1e-3, "what is read makes a difference"


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        ResidualConfig(encoder="convolutions"),
        ResidualConfig(encoder="paper"),
        ResidualConfig(encoder="patches", trunk="flat"),
        ResidualConfig(encoder="patches", trunk="flat", correction="instead"),
        ResidualConfig(encoder="patches", trunk="flat", correction="instead", hide_base=1.0),
        ResidualConfig(encoder="patches", correction="instead", bound=0.1),
    ],
    ids=lambda config: f"{config.encoder}, {config.trunk}, {config.correction}, {config.hide_base:g}",
)
def test_other_shapes_export_too(tmp_path, config):
    done = export_run(a_run(tmp_path, config), tmp_path / "export", EMBODIMENT)
    assert max(done.differences.values()) < 1e-5


@pytest.mark.slow
def test_residuals_by_skill_are_exported_each(tmp_path):
    run = a_run(tmp_path, skills=("push right", "push down"))
    done = export_run(run, tmp_path / "export", EMBODIMENT)
    assert set(done.differences) == {"base.onnx", "residual-0.onnx", "residual-1.onnx"}
    torch_policy: Any = open_policy(f"run:{run}", EMBODIMENT)
    graphs: Any = open_policy(f"onnx:{done.folder}", EMBODIMENT)
    acted = {}
    for skill in ("push right", "push down", "something else"):
        acted[skill] = graphs.act(observation(), skill).actions
        assert np.abs(acted[skill] - torch_policy.act(observation(), skill).actions).max() < 1e-5
    assert not np.allclose(acted["push right"], acted["push down"], atol=1e-3)
    assert "something else" in graphs.alone


def test_the_manifest_says_what_it_is_made_of(exported):
    run, done = exported
    raw = json.loads((done.folder / "manifest.json").read_text())
    assert raw["embodiment"] == "libero_panda" and raw["opset"] == 20
    assert set(raw["versions"]) >= {"torch", "onnx", "onnxscript", "onnxruntime"}
    assert set(raw["files"]) == {"base.onnx", "residual.onnx"}
    assert read_export(done.folder).made_of.keys() == policy_files(run).keys()
    assert raw["compared"]["observations"] == done.observations


def test_a_graph_that_differs_by_more_is_not_written(exported, tmp_path):
    with pytest.raises(RunError, match=r"differs from torch by \d\.\de-\d+ on \d+ recorded observations, more than"):
        export_run(exported[0], tmp_path / "export", EMBODIMENT, tolerance=1e-12)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_without_recordings_needs_some(tmp_path):
    run = a_run(tmp_path)
    shutil.move(run / "evaluation" / "bags", tmp_path / "elsewhere")
    with pytest.raises(RunError, match="holds no recorded observations .* --observations"):
        export_run(run, tmp_path / "export", EMBODIMENT)
    assert export_run(run, tmp_path / "export", EMBODIMENT, [tmp_path / "elsewhere"]).observations > 10


def test_a_folder_that_is_no_export_is_not_replaced(exported, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds no export"):
        export_run(exported[0], tmp_path, EMBODIMENT)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_file_in_the_way_of_an_export_is_said_and_stays(exported, tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RunError, match=f"^{tmp_path}/file cannot be a folder, there is a file in its way"):
            export_run(exported[0], out, EMBODIMENT)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_damaged_export_is_one_sentence(exported, tmp_path):
    damaged = shutil.copytree(exported[1].folder, tmp_path / "export")
    with (damaged / "residual.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(RunError, match=r"residual\.onnx has changed since it was exported"):
        open_policy(f"onnx:{damaged}", EMBODIMENT)
    (damaged / "residual.onnx").unlink()
    with pytest.raises(RunError, match=r"residual\.onnx is missing"):
        open_policy(f"onnx:{damaged}", EMBODIMENT)
    with pytest.raises(RunError, match="holds no export"):
        open_policy(f"onnx:{tmp_path}", EMBODIMENT)


def test_an_export_acts_for_its_own_robot_only(exported):
    with pytest.raises(RunError, match="M = 4 control steps, but libero_panda now says 8"):
        open_policy(f"onnx:{exported[1].folder}", replace(EMBODIMENT, chunk_length=8))


def test_another_base_can_be_named_only_if_it_is_the_same(exported, tmp_path):
    run, done = exported
    base = policy_files(run)["base"]
    graphs, named = (open_policy(f"onnx:{done.folder}{more}", EMBODIMENT) for more in ("", f",{base}"))
    assert np.allclose(graphs.act(observation(), "").actions, named.act(observation(), "").actions, atol=1e-5)
    (tmp_path / "other.pt").write_bytes(base.read_bytes() + b"x")
    with pytest.raises(RunError, match="trained on another base policy"):
        open_policy(f"onnx:{done.folder},{tmp_path / 'other.pt'}", EMBODIMENT)


def test_providers_are_chosen_by_what_is_there():
    assert choose([CPU]) == [CPU]
    assert choose(["AzureExecutionProvider", CPU, CUDA]) == [CUDA, CPU]
    assert choose([CPU, TENSORRT, CUDA]) == [TENSORRT, CUDA, CPU]
    assert choose([CPU, TENSORRT, CUDA], "cuda") == [CUDA, CPU]
    assert choose([CPU, CUDA], "cpu") == [CPU]


def test_a_provider_that_is_not_there_is_one_sentence(exported):
    with pytest.raises(World2ActError, match=r"^this ONNX Runtime has no provider tensorrt \(it has cpu\): install"):
        choose([CPU], "tensorrt")
    with pytest.raises(World2ActError, match="there is no provider 'tpu': expected one of tensorrt, cuda, cpu"):
        open_policy(f"onnx:{exported[1].folder}#tpu", EMBODIMENT)


@pytest.mark.slow
def test_the_command_prints_what_it_compared(exported, tmp_path, capsys):
    assert main(["export", str(exported[0]), "--out", str(tmp_path / "export")]) == 0
    out = capsys.readouterr().out
    assert "residual.onnx" in out and "all within 0.0001; open it by the address onnx:" in out
    assert main(["export", str(exported[0]), "--out", str(tmp_path / "export"), "--tolerance", "1e-12"]) == 2
    assert "nothing was written" in capsys.readouterr().err
    assert read_export(tmp_path / "export").cards.keys() == {""}


def passed_gate(folder: Path, made_of: dict[str, str], embodiment: str) -> None:
    outcomes = {"base": "000000", "post-trained": "111111"}
    base, post = ([Trial(f"s{i}", p, o == "1", 60, 1.5) for i, o in enumerate(all_)] for p, all_ in outcomes.items())
    now = datetime.now(timezone.utc)
    used = {"demonstrations": 35}
    told = Gate(pair_trials(base, post), 60, 0.0, 0.05, "libero_goal/8", embodiment, made_of, now, used_starts=used)
    write_gate(folder, told)


def test_an_arm_asks_an_export_for_the_gate_of_its_run(exported, tmp_path, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    export = shutil.copytree(exported[1].folder, tmp_path / "export")
    values = {"policy": f"onnx:{export}#cpu", "run": "", "require_gate": "auto"}
    demand_gate(values, "libero_panda", on_arm=False)
    with pytest.raises(World2ActError, match=r"has no gate\.json.* gate the run, then export it again"):
        demand_gate(values, "libero_panda", on_arm=True)
    made_of = read_export(export).made_of
    passed_gate(export, {**made_of, "residual": "0" * 64}, "libero_panda")
    with pytest.raises(World2ActError, match="was passed with another residual policy than was exported"):
        demand_gate(values, "libero_panda", on_arm=True)
    passed_gate(export, made_of, "libero_panda")
    demand_gate(values, "libero_panda", on_arm=True)
    with pytest.raises(World2ActError, match="was passed on libero_panda, not on franka_fr3"):
        demand_gate(values, "franka_fr3", on_arm=True)


def test_an_export_carries_the_gate_of_its_run(tmp_path, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    run = a_run(tmp_path)
    passed_gate(run, {name: file_digest(file) for name, file in policy_files(run).items()}, "libero_panda")
    done = export_run(run, tmp_path / "export", EMBODIMENT)
    demand_gate({"policy": f"onnx:{done.folder}", "run": "", "require_gate": "true"}, "libero_panda", on_arm=False)

"""``world2act wm cache`` and ``finetune``: from logged episodes to fine-tuned weights."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from tests.world_model.cosmos_scene import Lenient
from tests.world_model.finetune_scene import EMBODIMENT, HEIGHT, QUICK, WIDTH, episodes
from tests.world_model.tiny_cosmos import save_tiny_cosmos
from world2act_core.cli import main
from world2act_core.episodes.lerobot import LeRobotWriter
from world2act_core.errors import World2ActError
from world2act_core.world_model.cosmos.finetune import train
from world2act_core.world_model.cosmos.finetune.settings import FinetuneSettings, read_settings
from world2act_core.world_model.cosmos.guardrail import Guardrail

ROOT = Path(__file__).resolve().parents[2]


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def as_yaml(settings: FinetuneSettings) -> str:
    values = {f.name: getattr(settings, f.name) for f in fields(settings)}
    return "\n".join(f"{key}: {list(value) if isinstance(value, tuple) else value}" for key, value in values.items())


def test_a_recipe_says_every_setting(tmp_path: Path) -> None:
    assert read_settings(recipe(tmp_path, as_yaml(QUICK))) == QUICK


def test_what_a_recipe_does_not_name_is_as_by_default(tmp_path: Path) -> None:
    settings = read_settings(recipe(tmp_path, "steps: 7\ngradient_checkpointing: false"))
    assert settings == replace(FinetuneSettings(), steps=7, gradient_checkpointing=False)


@pytest.mark.parametrize("name", ["lora", "full"])
def test_the_shipped_recipes_are_as_they_are_named(name: str) -> None:
    assert read_settings(ROOT / "recipes" / "cosmos" / f"{name}.yaml").method == name


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("step: 7", r"recipe.yaml: step = 7 is not known; known are method, steps, batch"),
        ("steps: many", r"recipe.yaml: steps = 'many' must be a whole number"),
        ("gradient_checkpointing: 1", r"recipe.yaml: gradient_checkpointing = 1 must be true or false"),
        ("lora_targets: to_q", r"recipe.yaml: lora_targets = 'to_q' must be a list of texts"),
        ("method: adapter", r"method = 'adapter' must be one of lora, full"),
    ],
)
def test_a_recipe_that_cannot_be_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(World2ActError, match=sentence):
        read_settings(recipe(tmp_path, text))
    with pytest.raises(World2ActError, match="there is no recipe"):
        read_settings(tmp_path / "none.yaml")


def test_from_episodes_to_an_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    monkeypatch.setattr(train, "nvidia_guardrail", lambda: Guardrail(Lenient()))  # the weights are random
    weights, skills = save_tiny_cosmos(tmp_path / "weights"), tmp_path / "skills"
    with LeRobotWriter(skills, EMBODIMENT, codec="lossless") as writer:
        for each in episodes(4):
            images = {name: view.repeat(8, axis=1).repeat(8, axis=2) for name, view in each.images.items()}
            writer.write_episode(replace(each, images=images))
    cache, run = tmp_path / "cache", tmp_path / "run"
    size = ["--size", str(HEIGHT), str(WIDTH), "--weights", str(weights)]
    assert main(["wm", "cache", str(skills), "--out", str(cache), *size]) == 0
    assert "8 clips encoded, 0 were there, 3 prompts" in capsys.readouterr().out
    command = ["wm", "finetune", str(cache), "--run", str(run), "--weights", str(weights)]
    assert main([*command, "--recipe", str(recipe(tmp_path, as_yaml(replace(QUICK, steps=2))))]) == 0
    assert "held-out loss 1." in capsys.readouterr().out
    assert (run / "lora" / "pytorch_lora_weights.safetensors").is_file()


def test_missing_weights_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["wm", "cache", str(tmp_path), "--out", str(tmp_path / "cache")]
    assert main([*command, "--weights", str(tmp_path / "no-weights")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("world2act wm: there is no folder") and len(said.splitlines()) == 1


def test_an_unfinished_cache_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wm", "finetune", str(tmp_path), "--run", str(tmp_path / "run")]) == 2
    assert "has no index.json: build the cache with 'world2act wm cache'" in capsys.readouterr().err

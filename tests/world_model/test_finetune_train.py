"""Fine-tuning tiny weights through the code that fine-tunes the real ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from diffusers import CosmosTransformer3DModel
from safetensors.torch import load_file

from tests.world_model.cosmos_scene import Lenient
from tests.world_model.finetune_scene import HEIGHT, QUICK, WIDTH, make_scene, plain_pipeline
from tests.world_model.tiny_cosmos import save_tiny_cosmos
from world2act_core.errors import MissingExtraError, RunError, World2ActError
from world2act_core.world_model.cosmos.finetune import train as train_module
from world2act_core.world_model.cosmos.finetune.settings import FinetuneSettings
from world2act_core.world_model.cosmos.finetune.train import read_log, schedule
from world2act_core.world_model.cosmos.finetune.validation import GUIDANCE, denoise, noise_levels
from world2act_core.world_model.cosmos.finetune.weights import averaged, load_finetuned, make_trainable, trained
from world2act_core.world_model.cosmos.parts import load_part, load_parts

METHODS = ("lora", "full")


def finetune(run: Path, cache: Path, weights: Path, settings: FinetuneSettings) -> Path:
    """Random weights need no guardrail."""
    return train_module.finetune(run, cache, weights, settings, safety_checker=Lenient())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tiny weights and a cache."""
    return make_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="module")
def runs(scene: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each method."""
    weights, cache = scene
    folder = tmp_path_factory.mktemp("runs")
    return {method: finetune(folder / method, cache, weights, replace(QUICK, method=method)) for method in METHODS}


@pytest.fixture(autouse=True)
def forget_accelerate() -> Iterator[None]:
    """Accelerate keeps the precision of the first run of a process; every test is a run of its own."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


def tiny_transformer(weights: Path) -> Any:
    return load_part(weights, "transformer", dtype=torch.float32, device="cpu")


def an_answer(transformer: Any) -> torch.Tensor:
    """What a transformer says about one fixed input."""
    rng = torch.Generator().manual_seed(0)
    latents, text = torch.randn(1, 16, 3, 4, 6, generator=rng), torch.randn(1, 7, 32, generator=rng)
    masks = {"condition_mask": torch.zeros(1, 1, 3, 4, 6), "padding_mask": torch.zeros(1, 1, 32, 48)}
    with torch.no_grad():
        return transformer(latents, torch.full((1, 1, 3, 1, 1), 0.5), text, fps=20, **masks, return_dict=False)[0]


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_on_held_out_clips_falls(runs: dict[str, Path], method: str) -> None:
    losses = [record["held_out_loss"] for record in read_log(runs[method]) if "held_out_loss" in record]
    assert len(losses) == 3  # before the first step, halfway, at the end
    assert losses[-1] < losses[1] < losses[0]


@pytest.mark.parametrize("method", METHODS)
def test_every_step_is_logged_once(runs: dict[str, Path], method: str) -> None:
    steps = [record["step"] for record in read_log(runs[method]) if "step" in record]
    looks = [record["after_steps"] for record in read_log(runs[method]) if "after_steps" in record]
    assert (steps, looks) == (list(range(QUICK.steps)), [0, 3, 6])


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_read_into_the_parts_that_imagine(
    scene: tuple[Path, Path], runs: dict[str, Path], method: str
) -> None:
    parts = load_parts(scene[0], dtype=torch.float32, device="cpu")
    before = an_answer(parts.transformer)
    after = an_answer(load_finetuned(parts, runs[method]).transformer)
    assert not torch.allclose(before, after, atol=1e-3)


def test_diffusers_reads_what_a_run_wrote(scene: tuple[Path, Path], runs: dict[str, Path]) -> None:
    whole = CosmosTransformer3DModel.from_pretrained(runs["full"], subfolder="transformer")
    parts = load_parts(scene[0], dtype=torch.float32, device="cpu")
    assert torch.equal(an_answer(whole), an_answer(load_finetuned(parts, runs["full"]).transformer))
    adapted = tiny_transformer(scene[0])
    adapted.load_lora_adapter(runs["lora"] / "lora", prefix=None, use_safetensors=True)
    parts = load_parts(scene[0], dtype=torch.float32, device="cpu")
    assert torch.equal(an_answer(adapted), an_answer(load_finetuned(parts, runs["lora"]).transformer))


def test_an_adapter_keeps_its_scale(scene: tuple[Path, Path], tmp_path: Path) -> None:
    weights, cache = scene
    settings = replace(QUICK, steps=1, lora_alpha=32, ema_decay=0.0, validate_every=100)
    finetune(tmp_path, cache, weights, settings)
    adapted = load_finetuned(load_parts(weights, dtype=torch.float32, device="cpu"), tmp_path).transformer
    (adapter,) = adapted.peft_config.values()
    assert (adapter.r, adapter.lora_alpha) == (settings.lora_rank, 32)


def test_an_adapter_is_small_and_on_the_attention_projections(runs: dict[str, Path]) -> None:
    adapter = load_file(runs["lora"] / "lora" / "pytorch_lora_weights.safetensors")
    ends = {name.split("attn")[1][2:].rsplit(".lora_", 1)[0] for name in adapter}
    assert ends == {"to_q", "to_k", "to_v", "to_out.0"}
    assert len(adapter) == 2 * 2 * 4 * 2  # blocks, attentions, projections, A and B


def test_an_adapter_leaves_the_base_as_it_is(scene: tuple[Path, Path]) -> None:
    transformer = tiny_transformer(scene[0])
    make_trainable(transformer, replace(QUICK, method="lora"))
    assert all(".lora_" in name for name in trained(transformer))
    assert torch.equal(an_answer(transformer), an_answer(tiny_transformer(scene[0])))  # it starts as nothing


def test_a_target_that_the_network_does_not_have_is_named(scene: tuple[Path, Path]) -> None:
    with pytest.raises(World2ActError, match="lora_targets: no module of the transformer ends with 'to_z'"):
        make_trainable(tiny_transformer(scene[0]), replace(QUICK, lora_targets=("to_q", "to_z")))


@pytest.mark.parametrize("method", METHODS)
def test_gradient_checkpointing_and_accumulation_change_nothing(
    scene: tuple[Path, Path], tmp_path: Path, method: str
) -> None:
    weights, cache = scene
    settings = replace(QUICK, method=method, steps=2, batch=4, micro_batch=2, validate_every=100, ema_decay=0.0)
    finetune(tmp_path / "checkpointing", cache, weights, settings)
    finetune(tmp_path / "plain", cache, weights, replace(settings, gradient_checkpointing=False))
    one, other = (weights_of(tmp_path / name) for name in ("checkpointing", "plain"))
    for name in one:
        torch.testing.assert_close(one[name], other[name])


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    (path,) = [path for path in run.rglob("*.safetensors") if "checkpoints" not in path.parts]
    return load_file(path)


def test_what_is_kept_is_the_average_of_the_weights(scene: tuple[Path, Path], tmp_path: Path) -> None:
    weights, cache = scene
    settings = replace(QUICK, steps=3, validate_every=100)
    finetune(tmp_path / "average", cache, weights, settings)
    finetune(tmp_path / "last", cache, weights, replace(settings, ema_decay=0.0))
    average, last = weights_of(tmp_path / "average"), weights_of(tmp_path / "last")
    assert any(not torch.equal(average[name], last[name]) for name in average)


def test_the_weights_are_their_average_only_within() -> None:
    from diffusers.training_utils import EMAModel

    network = torch.nn.Linear(3, 1, bias=False)
    torch.nn.init.zeros_(network.weight)
    average = EMAModel(network.parameters(), decay=0.9)
    torch.nn.init.ones_(network.weight)
    with averaged(average, network):
        assert torch.equal(network.weight, torch.zeros(1, 3))
    assert torch.equal(network.weight, torch.ones(1, 3))


def test_mixed_precision_trains_an_adapter_in_float32_over_a_base_in_bfloat16(
    scene: tuple[Path, Path], tmp_path: Path
) -> None:
    weights, cache = scene
    finetune(tmp_path, cache, weights, replace(QUICK, precision="bf16"))
    losses = [record["held_out_loss"] for record in read_log(tmp_path) if "held_out_loss" in record]
    assert losses[-1] < losses[1] < losses[0]
    assert {tensor.dtype for tensor in weights_of(tmp_path).values()} == {torch.float32}


def test_a_held_out_clip_is_decoded_to_a_video_and_a_picture(runs: dict[str, Path]) -> None:
    names = sorted(path.name for path in (runs["lora"] / "validation").iterdir())
    assert names == [f"step-{step:06d}.{ending}" for step in (0, 3, 6) for ending in ("mp4", "png")]
    with av.open(str(runs["lora"] / "validation" / "step-000006.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert frames[0].shape == (2 * HEIGHT, WIDTH, 3)  # the real clip above the imagined one
    assert len(frames) % 4 == 1
    above, below = frames[0][:HEIGHT].astype(int), frames[0][HEIGHT:].astype(int)
    assert np.abs(above - below).mean() < 2  # both begin with the frame that was given


def test_what_the_guardrail_refuses_is_not_shown_and_training_goes_on(scene: tuple[Path, Path], tmp_path: Path) -> None:
    class Refusing(Lenient):
        def check_video_safety(self, frames: Any) -> None:
            super().check_video_safety(frames)

    checker = Refusing()
    train_module.finetune(tmp_path, scene[1], scene[0], replace(QUICK, steps=1), safety_checker=checker)
    assert len(checker.videos) == 2  # before and after the step
    assert not (tmp_path / "validation").exists() and (tmp_path / "manifest.json").exists()


def test_without_a_checker_it_is_nvidias_guardrail(
    scene: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("world2act_core.world_model.cosmos.guardrail.PACKAGE", "no_such_package")
    with pytest.raises(MissingExtraError, match="Cosmos runs with NVIDIA's guardrail"):
        train_module.finetune(tmp_path, scene[1], scene[0], QUICK)


def test_without_peft_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None if package == "peft" else package)
    with pytest.raises(MissingExtraError, match=r"fine-tuning Cosmos needs peft: .* pip install 'world2act\[cosmos\]'"):
        train_module.make_accelerator(QUICK)


def test_the_manifest_says_what_was_trained_on_what(scene: tuple[Path, Path], runs: dict[str, Path]) -> None:
    manifest = json.loads((runs["lora"] / "manifest.json").read_text())
    assert manifest["weights"] == str(scene[0])
    assert manifest["learning_rate"] == QUICK.learning_rate
    assert manifest["clips_trained_on"] == 6
    assert manifest["metrics"]["held_out_loss"] == read_log(runs["lora"])[-1]["held_out_loss"]
    assert list(manifest["outputs"]) == ["lora/pytorch_lora_weights.safetensors"]
    assert {"torch", "diffusers", "peft", "accelerate"} <= set(manifest["versions"])
    assert "NVIDIA Open Model License" in manifest["licence"]
    assert not (runs["lora"] / "checkpoints").exists()


def test_a_finished_run_is_not_done_again(
    scene: tuple[Path, Path], runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "load_part", None)  # nothing is even read
    assert finetune(runs["lora"], scene[1], scene[0], replace(QUICK, method="lora")) == runs["lora"]


def test_a_run_is_not_mixed_with_other_settings(scene: tuple[Path, Path], runs: dict[str, Path]) -> None:
    with pytest.raises(RunError, match=r"was started with learning_rate = 0.01, not 0.02: name another folder"):
        finetune(runs["lora"], scene[1], scene[0], replace(QUICK, learning_rate=0.02))


def test_a_run_is_not_continued_on_other_weights(scene: tuple[Path, Path], tmp_path: Path) -> None:
    weights, cache = tmp_path / "weights", scene[1]
    save_tiny_cosmos(weights)
    finetune(tmp_path / "run", cache, weights, replace(QUICK, steps=1, validate_every=100))
    (tmp_path / "run" / "manifest.json").unlink()  # as if it were not finished
    save_tiny_cosmos(weights, seed=1)
    with pytest.raises(RunError, match="was started with base = "):
        finetune(tmp_path / "run", cache, weights, replace(QUICK, steps=1, validate_every=100))


def test_a_batch_that_cannot_be_shared_is_refused(scene: tuple[Path, Path]) -> None:
    class Accelerator:
        distributed_type, num_processes = "MULTI_GPU", 4

        def __init__(self, **_: Any) -> None: ...

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("accelerate.Accelerator", Accelerator)
        with pytest.raises(World2ActError, match="batch = 2 cannot be shared by 4 processes of 1 clips each"):
            train_module.make_accelerator(QUICK)


def test_training_that_diverges_says_so_and_keeps_the_checkpoint(scene: tuple[Path, Path], tmp_path: Path) -> None:
    weights, cache = scene
    wild = replace(QUICK, method="full", learning_rate=1e30, warmup=1, checkpoint_every=1, validate_every=100)
    with pytest.raises(World2ActError, match="training diverged at step 1 .* smaller learning_rate"):
        finetune(tmp_path, cache, weights, wild)
    assert (tmp_path / "checkpoints" / "step-00000001").is_dir()


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    settings = replace(QUICK, steps=100, warmup=10)
    rates = [schedule(step, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] == pytest.approx(0.91)
    assert all(later < before for before, later in pairwise(rates[9:])) and rates[-1] == pytest.approx(0.01)


def test_a_clip_is_imagined_as_the_pipeline_imagines_it(scene: tuple[Path, Path]) -> None:
    parts = load_parts(scene[0], dtype=torch.float32, device="cpu")
    pipeline = plain_pipeline(parts)
    noise = torch.randn(1, 16, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    given: list[torch.Tensor] = []
    hook = parts.transformer.register_forward_pre_hook(
        lambda _, __, inputs: given.append(inputs["hidden_states"][:, :, :1]), with_kwargs=True
    )
    theirs = pipeline(
        image=[np.zeros((32, 48, 3), np.float32)],
        prompt="put the bowl on the plate",
        negative_prompt="",
        height=32,
        width=48,
        num_frames=9,
        num_inference_steps=4,
        guidance_scale=GUIDANCE,
        fps=20,
        latents=noise,
        output_type="latent",
    ).frames
    hook.remove()
    text = pipeline.encode_prompt("put the bowl on the plate", "")
    ours = denoise(
        parts.transformer, given[0], noise, text, noise_levels(parts.scheduler, 4), fps=20, dtype=torch.float32
    )
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        ({"method": "adapter"}, "method = 'adapter' must be one of lora, full"),
        ({"precision": "fp16"}, "precision = 'fp16' must be one of bf16, fp32"),
        ({"steps": 0}, "steps = 0 must be at least 1"),
        ({"ema_decay": 1.0}, "ema_decay = 1.0 must be at least 0 and below 1"),
        ({"batch": 3, "micro_batch": 2}, "batch = 3 must be a multiple of micro_batch = 2"),
        ({"sampling_steps": 1}, "sampling_steps = 1 must be at least 2"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(World2ActError, match=sentence):
        FinetuneSettings(**wrong)

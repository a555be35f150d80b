"""Reading the parts of Cosmos: what is missing is named together with what mends it."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.world_model.tiny_cosmos import save_tiny_cosmos
from world2act_core.errors import MissingExtraError, World2ActError
from world2act_core.world_model.cosmos.parts import PARTS, CosmosParts, load_parts

NVIDIA = "nvidia/Cosmos-Predict2-2B-Video2World"


def load(name: str | Path, dtype: torch.dtype = torch.float32) -> CosmosParts:
    return load_parts(name, dtype=dtype, device="cpu")


def networks(parts: CosmosParts) -> list[torch.nn.Module]:
    return [parts.text_encoder, parts.transformer, parts.vae]


def test_parts_are_read_from_a_folder_as_they_were_written(tmp_path: Path) -> None:
    one, same, other = (
        load(save_tiny_cosmos(tmp_path / name, seed)) for name, seed in (("one", 3), ("same", 3), ("other", 4))
    )
    for ours, same_seed, other_seed in zip(networks(one), networks(same), networks(other), strict=True):
        mine, yours, theirs = (list(part.parameters()) for part in (ours, same_seed, other_seed))
        assert all(torch.equal(a, b) for a, b in zip(mine, yours, strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
        assert not ours.training


def test_weights_can_be_bfloat16(tmp_path: Path) -> None:
    parts = load(save_tiny_cosmos(tmp_path), torch.bfloat16)
    assert {weight.dtype for part in networks(parts) for weight in part.parameters()} == {torch.bfloat16}


def test_weights_that_are_not_here_are_answered_with_the_command_that_fetches_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(World2ActError) as refusal:
        load(NVIDIA)
    said = str(refusal.value)
    assert f"hf download {NVIDIA}" in said
    assert "NVIDIA Open Model License" in said and f"https://huggingface.co/{NVIDIA}" in said
    assert "\n" not in said


def test_what_is_neither_folder_nor_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(World2ActError, match="there is no folder .*nowhere"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_missing_is_named(tmp_path: Path, part: str) -> None:
    shutil.rmtree(save_tiny_cosmos(tmp_path) / part)
    with pytest.raises(World2ActError, match=f"no folder '{part}'.*complete the folder"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("part", "file"),
    [
        ("transformer", "diffusion_pytorch_model.safetensors"),
        ("vae", "config.json"),
        ("text_encoder", "model.safetensors"),
        ("scheduler", "scheduler_config.json"),
        ("tokenizer", "tokenizer.json"),
    ],
)
@pytest.mark.parametrize("damage", ["removed", "cut off"])
def test_a_part_that_cannot_be_read_is_named(tmp_path: Path, part: str, file: str, damage: str) -> None:
    damaged = save_tiny_cosmos(tmp_path) / part / file
    content = damaged.read_bytes()
    damaged.unlink()
    if damage == "cut off":
        damaged.write_bytes(content[: len(content) // 2])
    with pytest.raises(World2ActError, match=f"the {part} of .* cannot be read") as refusal:
        load(tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "accelerate" else find(name))
    with pytest.raises(MissingExtraError, match=r"accelerate.*world2act\[cosmos\]"):
        load(tmp_path)


def test_the_padding_mask_is_resized_to_the_nearest_pixel_without_torchvision(tmp_path: Path) -> None:
    """diffusers calls torchvision there, and fails in the first step of denoising where it is not installed."""
    transformer = load(save_tiny_cosmos(tmp_path)).transformer
    latents, text = torch.randn(1, 16, 2, 4, 6), torch.randn(1, 3, 32)
    mask = torch.zeros(1, 1, 32, 48)
    mask[..., 24:] = 1

    def denoised(padding: torch.Tensor) -> torch.Tensor:
        time = torch.full((1, 1, 2, 1, 1), 0.5)
        condition = torch.zeros(1, 1, 2, 4, 6)
        return transformer(latents, time, text, condition_mask=condition, padding_mask=padding, fps=16).sample

    assert transformer.config.concat_padding_mask
    torch.testing.assert_close(denoised(mask), denoised(F.max_pool2d(mask, 8)))
    assert not torch.allclose(denoised(mask), denoised(torch.zeros_like(mask)))

"""Cosmos-Predict2 with a few thousand random weights, written as diffusers reads the real one."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, CosmosTransformer3DModel, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.cosmos.pipeline_cosmos2_video2world import DEFAULT_NEGATIVE_PROMPT
from transformers import T5Config, T5EncoderModel, T5Tokenizer

from world2act_core.world_model.cosmos.parts import CosmosParts, load_parts

PROMPT_WORDS = "pick place put push open close turn the a bowl plate drawer stove cup on in it and"


def save_tiny_cosmos(folder: Path, seed: int = 0) -> Path:
    """Write tiny parts into ``folder``: the same weights for the same seed.

    As in NVIDIA's 2B: 16 latent channels, time by 4, space by 8, the condition mask and the padding mask as further
    channels, no learned positions. Heights and widths that divide by 16 work, from 16 up.
    """
    torch.manual_seed(seed)
    tokenizer = _tokenizer()
    encoder = T5EncoderModel(
        T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=32, num_layers=2, num_heads=4)
    )
    transformer = CosmosTransformer3DModel(
        in_channels=17,
        out_channels=16,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=2,
        mlp_ratio=2.0,
        text_embed_dim=32,
        adaln_lora_dim=4,
        max_size=(32, 32, 32),
        patch_size=(1, 2, 2),
        rope_scale=(1.0, 3.0, 3.0),
        concat_padding_mask=True,
        extra_pos_embed_type=None,
    )
    vae = AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)
    scheduler = FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True)
    parts = CosmosParts(tokenizer, encoder, transformer, vae, scheduler)
    for name, part in vars(parts).items():
        part.save_pretrained(folder / name)
    return folder


def tiny_parts(folder: Path, seed: int = 0) -> CosmosParts:
    """Parts that were written and read back, in float32 on the CPU."""
    return load_parts(save_tiny_cosmos(folder, seed), dtype=torch.float32, device="cpu")


def _tokenizer() -> T5Tokenizer:
    """Words and, for what is not among them, letters."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = sorted({*PROMPT_WORDS.split(), *DEFAULT_NEGATIVE_PROMPT.split()})
    pieces = ["<pad>", "</s>", "<unk>", "▁", *letters, *(f"▁{word}" for word in words)]
    return T5Tokenizer(vocab=[(piece, -float(len(piece) == 1)) for piece in pieces], extra_ids=0)

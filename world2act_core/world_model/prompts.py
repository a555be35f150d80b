"""Skill prompts → vectors without a language model: seeded random word vectors, summed.

Equal words give equal vectors on every machine, different words nearly orthogonal ones. It is all that a world model
of a handful of skills needs; the Cosmos world model brings its own text encoder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import torch

PROMPT_SIZE = 32


def word_vector(word: str) -> np.ndarray:
    """``(PROMPT_SIZE,)`` unit vector of a word."""
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(PROMPT_SIZE)
    return vector / np.linalg.norm(vector)


def embed_prompts(prompts: Sequence[str]) -> torch.Tensor:
    """``(B, PROMPT_SIZE)`` float32 of ``B`` prompts."""
    known = {prompt: _embed(prompt) for prompt in set(prompts)}
    return torch.from_numpy(np.stack([known[prompt] for prompt in prompts]))


def _embed(prompt: str) -> np.ndarray:
    words = re.findall(r"[a-z0-9]+", prompt.lower())
    total = np.sum([word_vector(word) for word in words], axis=0) if words else np.zeros(PROMPT_SIZE)
    return (total / max(1.0, float(np.linalg.norm(total)))).astype(np.float32)

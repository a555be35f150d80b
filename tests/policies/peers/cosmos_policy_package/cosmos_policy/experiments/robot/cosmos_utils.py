"""``get_model``, ``load_dataset_stats`` and ``get_action`` by their signatures; the model tells what it saw."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

ACTION_DIM = 14 if "aloha" in " ".join(sys.argv).lower() and "libero" not in " ".join(sys.argv).lower() else 7
t5_text_embeddings_cache: dict[str, Any] = {}


def get_model(cfg: Any) -> tuple[Any, Any]:
    if not cfg.ckpt_path.startswith("/") and len(cfg.ckpt_path.split("/")) == 2:
        raise OSError(f"{cfg.ckpt_path} would be downloaded")
    if importlib.util.find_spec(cfg.config_file.replace("/", ".").replace(".py", "")) is None:
        raise ValueError(f"config module {cfg.config_file} not found")
    if cfg.config not in (
        "cosmos_predict2_2b_480p_libero__inference_only",
        "cosmos_predict2_2b_480p_robocasa_50_demos_per_task__inference",
    ):
        raise KeyError(cfg.config)
    gain = json.loads((Path(cfg.ckpt_path) / "weights.json").read_text())["gain"]
    return SimpleNamespace(gain=gain), SimpleNamespace()


def load_dataset_stats(dataset_stats_path: str) -> dict[str, np.ndarray]:
    if not dataset_stats_path.startswith("/") and len(dataset_stats_path.split("/")) >= 3:
        raise OSError(f"{dataset_stats_path} would be downloaded")
    return {name: np.array(value) for name, value in json.loads(Path(dataset_stats_path).read_text()).items()}


def get_action(
    cfg: Any,
    model: Any,
    dataset_stats: dict[str, np.ndarray],
    obs: dict[str, Any],
    task_label_or_embedding: Any,
    seed: int = 1,
    randomize_seed: bool = False,
    num_denoising_steps_action: int = 5,
    generate_future_state_and_value_in_parallel: bool = True,
    worker_id: int = 0,
    batch_size: int = 1,
) -> dict[str, Any]:
    """Actions by key ``actions``, a list of vectors: image means, proprioception, seed and instruction."""
    fault = os.environ.get("STAND_IN_FAULT", "")
    if fault == "gpu":
        raise AssertionError("Torch not compiled with CUDA enabled")
    images = {
        "libero": ("wrist_image", "primary_image"),
        "robocasa": ("wrist_image", "primary_image", "secondary_image"),
    }
    seen = {name: _prepared(obs[name], cfg) for name in images[cfg.suite]}
    assert len(seen) == cfg.num_wrist_images + cfg.num_third_person_images and set(obs) == {*seen, "proprio"}
    assert obs["proprio"].shape == dataset_stats["proprio_min"].shape, obs["proprio"].shape
    low, high = dataset_stats["proprio_min"], dataset_stats["proprio_max"]
    proprio = 2 * (obs["proprio"] - low) / (high - low) - 1
    instruction = float(t5_text_embeddings_cache[task_label_or_embedding].float().mean())
    values = [_corner(seen["primary_image"]), _corner(seen["wrist_image"]), proprio[0], proprio[4], proprio[8]]
    chunk = np.zeros((cfg.chunk_size, ACTION_DIM), np.float32)
    chunk[:, :5] = np.array(values) * model.gain
    chunk[:, 5] = np.arange(cfg.chunk_size) / 100 + seed / 1000 + num_denoising_steps_action / 10000
    chunk[:, 6] = instruction
    low, high = dataset_stats["actions_min"], dataset_stats["actions_max"]
    actions = (0.5 * (chunk + 1) * (high - low) + low).astype(np.float32)
    if fault == "nan":
        actions[3, 2] = np.nan
    if fault == "short":
        actions = actions[:-1]
    answer: dict[str, Any] = {"actions": list(actions), "data_batch": {}}
    if generate_future_state_and_value_in_parallel:
        answer |= {"future_image_predictions": {}, "value_prediction": 0.5}
    return answer


def _prepared(image: Any, cfg: Any) -> np.ndarray:
    assert isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    if cfg.use_jpeg_compression:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=95)
        image = np.asarray(Image.open(buffer))
    small = Image.fromarray(image).resize((224, 224))
    if cfg.trained_with_image_aug:
        edge = (224 - int(224 * 0.9**0.5)) // 2
        small = small.crop((edge, edge, 224 - edge, 224 - edge)).resize((224, 224))
    return np.asarray(small)


def _corner(image: np.ndarray) -> float:
    """The mean of the quarter at the top left, from -1 to 1."""
    return float(image[:112, :112].mean()) / 127.5 - 1

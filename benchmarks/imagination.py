"""Latents a second and peak memory of imagining. Run: python -m benchmarks.imagination [--device cuda]

The compact world model with random weights (figures do not depend on them): clips of 23 chunks, imagined, or read from
the latent store in which they were kept.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks._machine import machine
from world2act_core.world_model.compact import CompactWorldModel, CompactWorldModelConfig
from world2act_core.world_model.composition import Planned, imagine_skills
from world2act_core.world_model.store import LatentStore, LatentWriter

CHUNKS = 23
SIZE, VIEWS = 64, 2


def rate(work: Callable[[], int], seconds: float) -> float:
    """Latents a second, over at least so many seconds after one warm-up."""
    work()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        done += work()
    return done / (time.perf_counter() - began)


def peak_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    model = CompactWorldModel(CompactWorldModelConfig(image_size=SIZE, views=VIEWS)).eval().to(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {options.threads} threads"
    print(machine())
    print(f"{name}; compact world model, latents {model.latent_shape}, clips of {CHUNKS} chunks in two skills")
    print(f"{'':36}{'latents/s':>12}{'clips/s':>10}{'peak MB':>10}")
    plan = [Planned("pick up the bowl", CHUNKS // 2), Planned("place the bowl on the plate", CHUNKS - CHUNKS // 2)]
    for batch in options.batches:
        context = torch.randint(0, 256, (batch, 2, SIZE, VIEWS * SIZE, 3), dtype=torch.uint8, device=device)

        def imagine(context: torch.Tensor = context, batch: int = batch) -> int:
            latents, _ = imagine_skills(model, context, [plan] * batch)
            return int(latents.shape[0] * latents.shape[2])

        found = rate(imagine, options.seconds)
        label = f"imagined, batch {batch}"
        print(f"{label:36}{found:12.0f}{found / (CHUNKS + 1):10.1f}{peak_mb(device):10.0f}")
    with tempfile.TemporaryDirectory() as folder:
        _read_back(model, Path(folder), plan, device, options.seconds)


def _read_back(
    model: CompactWorldModel, folder: Path, plan: list[Planned], device: torch.device, seconds: float
) -> None:
    context = torch.randint(0, 256, (16, 2, SIZE, VIEWS * SIZE, 3), dtype=torch.uint8, device=device)
    latents, _ = imagine_skills(model, context, [plan] * 16)
    with LatentWriter(folder / "store", {"model": "benchmark"}) as writer:
        for index in range(256):
            writer.add(str(index), latents[index % 16].cpu(), {})
    store = LatentStore(folder / "store")

    def read() -> int:
        clips = torch.stack([store[key].latents for key in store]).to(device)
        return int(clips.shape[0] * clips.shape[2])

    found = rate(read, seconds)
    label = "read from the store, 256 clips"
    print(f"{label:36}{found:12.0f}{found / (CHUNKS + 1):10.1f}{peak_mb(device):10.0f}")


if __name__ == "__main__":
    main()

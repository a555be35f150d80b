"""What the residual costs a chunk on one CPU core: exported graphs in ONNX Runtime against eager torch.

Run: ``python -m benchmarks.engine [--chunks 3000] [--core 0] [--ordinary]``. A row is all that ``PostTrainedPolicy``
does behind its base for one observation: the residual with its own B_a and D_a, from byte images and float arrays in
numpy to clamped actions in numpy. ``+ B_v`` adds Stage 1's video adapter, as a monitor of the alignment would call it:
the recipe's, which is given the flow between two pictures (OpenCV's search for it is not in this), or one of latents.
Weights are random; speed does not depend on them. The largest difference from torch stands beside each row.

Both take turns, block by block, on one core, pinned, with one thread. So that another program's time slices are not
measured, the process asks for real-time priority (SCHED_FIFO, as a robot's would); ``--ordinary`` does without.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks._machine import machine, version
from world2act_core.alignment.adapters import AdapterConfig, Alignment
from world2act_core.embodiment import load_embodiment
from world2act_core.networks.codec import PatchCodec
from world2act_core.recipes.settings import Recipe
from world2act_core.residual.engine import Graph, GraphResidual
from world2act_core.residual.export import Wanted, wanted_video, write_graph
from world2act_core.residual.lean import LeanResidual, core_of
from world2act_core.residual.network import Residual, ResidualConfig
from world2act_core.types import Array

ROBOT = load_embodiment("libero_panda")
SIZE, VIEWS, PROPRIO = 64, 2, 12
DEMO, TOKENS = Recipe().residual, ResidualConfig(encoder="patches", features=Recipe().residual.features)
P50_MS, P99_MS, FASTER = 0.15, 0.5, 3.0
BLOCK = 50
Work = Callable[[], object]


def residual_of(config: ResidualConfig, pooling: str) -> tuple[Residual, Alignment]:
    torch.manual_seed(0)
    codec = PatchCodec(SIZE, VIEWS)
    codec.fit(torch.randint(0, 256, (64, SIZE, VIEWS * SIZE, 3), dtype=torch.uint8))
    alignment = Alignment(AdapterConfig(codec.latent_shape, pooling=pooling, codec=codec.shape)).eval()
    used = torch.tensor([True] * 3 + [False] * 3 + [True])
    residual = Residual(config, alignment, PROPRIO, used, codec).eval()
    for parameter in residual.head[-1].parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return residual, alignment


def images_row(config: ResidualConfig, folder: Path, pooling: str = "") -> tuple[Work, Work, float, int]:
    """ONNX Runtime's work for one chunk, eager torch's, their largest difference, how many parameters are trained.

    With ``pooling`` a B_v of that kind as well.
    """
    residual, alignment = residual_of(config, pooling or "flow")
    rng = np.random.default_rng(0)
    base = rng.uniform(-1, 1, (1, ROBOT.chunk_length, ROBOT.action.size)).astype(np.float32)
    proprio = rng.standard_normal((1, PROPRIO)).astype(np.float32)
    frames = rng.integers(0, 256, (1, SIZE, VIEWS * SIZE, 3), dtype=np.uint8)
    inputs = {"base": torch.from_numpy(base), "proprio": torch.from_numpy(proprio), "frames": torch.from_numpy(frames)}
    expected = torch.from_numpy(residual.correct(base, proprio, frames))
    difference = write_graph(Wanted("residual.onnx", LeanResidual(residual), inputs, expected), folder)
    graph = GraphResidual(folder / "residual.onnx", "cpu")
    wanted = wanted_video(alignment, 1)
    difference = max(difference, write_graph(wanted, folder))
    video = Graph(folder / wanted.file, "cpu")
    read = {name: value.numpy() for name, value in wanted.inputs.items()}

    def exported() -> Array:
        if pooling:
            video(**read)
        return ROBOT.clamp(base + np.float32(1) * graph.correct(base, proprio, frames))

    @torch.inference_mode()
    def eager() -> Array:
        if pooling:
            alignment.video.read(*map(torch.from_numpy, read.values())).numpy()
        return ROBOT.clamp(base + np.float32(1) * residual.correct(base, proprio, frames))

    return exported, eager, difference, _trained(residual)


def features_row(folder: Path) -> tuple[Work, Work, float, int]:
    """The residual behind its eyes, as where the base's own features of the images are at hand."""
    residual, _ = residual_of(TOKENS, "flow")
    features = torch.randn(1, residual.eyes.size)
    base, proprio = torch.randn(1, ROBOT.chunk_length, ROBOT.action.size), torch.randn(1, PROPRIO)
    core = core_of(LeanResidual(residual)).eval()
    residual.eyes = torch.nn.Identity()  # type: ignore[assignment]
    with torch.no_grad():
        expected = residual(base, proprio, features)
    inputs = {"base": base, "proprio": proprio, "frames": features}
    difference = write_graph(Wanted("features.onnx", core, inputs, expected), folder)
    graph = Graph(folder / "features.onnx", "cpu")
    arrays = {name: value.numpy() for name, value in inputs.items()}

    @torch.inference_mode()
    def eager() -> Array:
        given = (torch.from_numpy(arrays[name]) for name in ("base", "proprio", "frames"))
        return ROBOT.clamp(arrays["base"] + np.float32(1) * residual(*given).numpy())

    return lambda: ROBOT.clamp(arrays["base"] + np.float32(1) * graph(**arrays)), eager, difference, _trained(residual)


def _trained(residual: Residual) -> int:
    return sum(parameter.numel() for parameter in residual.parameters() if parameter.requires_grad)


def milliseconds(works: tuple[Work, Work], chunks: int) -> tuple[Array, Array]:
    """Of every call, in turns of blocks, after a warm-up."""
    taken: tuple[list[float], list[float]] = ([], [])
    for block in range(-2, chunks // BLOCK):
        for work, times in zip(works, taken, strict=True):
            for _ in range(BLOCK):
                began = time.perf_counter()
                work()
                ended = time.perf_counter()
                if block >= 0:
                    times.append(1e3 * (ended - began))
    return np.array(taken[0]), np.array(taken[1])


def priority(core: int, ordinary: bool) -> str:
    """Pin the process; returns what was granted, in words."""
    os.sched_setaffinity(0, {core})
    if ordinary:
        return "ordinary priority: other programs' time slices are in p99"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return "ordinary priority, real-time was refused: other programs' time slices are in p99"
    return "real-time priority"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=3000, help="a row and side")
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--ordinary", action="store_true", help="no real-time priority")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    print(f"onnx {version('onnx')}, onnxscript {version('onnxscript')}, onnxruntime {version('onnxruntime')}")
    rows: dict[str, Callable[[Path], tuple[Work, Work, float, int]]] = {
        "demo: patches, 2 cameras of 64x64": lambda folder: images_row(DEMO, folder),
        "demo + B_v": lambda folder: images_row(DEMO, folder, "flow"),
        "patches, tokens": lambda folder: images_row(TOKENS, folder),
        "patches, tokens + B_v of latents": lambda folder: images_row(TOKENS, folder, "patches"),
        "convolutions, tokens": lambda folder: images_row(ResidualConfig(), folder),
        "paper's image head, tokens": lambda folder: images_row(ResidualConfig(encoder="paper"), folder),
        "compact, on features of the base": features_row,
    }
    made = {}
    with tempfile.TemporaryDirectory() as folder:  # exported before the priority: that takes seconds
        for name, make in rows.items():
            made[name] = make(Path(folder))
        print(f"one core ({options.core}), one thread, {priority(options.core, options.ordinary)}")
        print(
            f"\n{'ms a chunk':36}{'trained':>9}{'p50':>8}{'p99':>8}{'eager p50':>11}{'p99':>8}{'faster':>8}  differs by"
        )
        for name, (exported, eager, difference, trained) in made.items():
            ours, torchs = milliseconds((exported, eager), options.chunks)
            (p50, p99), (slow50, slow99) = (np.percentile(times, (50, 99)) for times in (ours, torchs))
            print(
                f"{name:36}{trained / 1e3:8.0f}k{p50:8.3f}{p99:8.3f}{slow50:11.3f}{slow99:8.3f}{slow50 / p50:7.1f}x"
                f"  {difference:.0e}  {judged(p50, p99, slow50 / p50)}", flush=True,
            )  # fmt: skip
    print(f"\nbars: p50 <= {P50_MS} ms, p99 <= {P99_MS} ms, at least {FASTER:g}x faster than eager torch")


def judged(p50: float, p99: float, faster: float) -> str:
    missed = [f"{name} by {100 * (found / bar - 1):.0f} %" for name, found, bar in
              (("p50", p50, P50_MS), ("p99", p99, P99_MS)) if found > bar]  # fmt: skip
    missed += [f"only {faster:.1f}x faster"] if faster < FASTER else []
    return f"missed: {', '.join(missed)}" if missed else "all bars met"


if __name__ == "__main__":
    main()

"""A run's post-trained policy as ONNX graphs, compared with torch on recorded observations before they count."""

from __future__ import annotations

import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from world2act_core.alignment.adapters import Alignment, load_alignment
from world2act_core.embodiment import Embodiment
from world2act_core.episodes import BagReport
from world2act_core.episodes.chunks import ChunkTable, chunk_table
from world2act_core.episodes.sources import find_sources, iterate_source
from world2act_core.errors import MissingExtraError, RunError
from world2act_core.policies.compact import CompactPolicy, load_compact
from world2act_core.policies.run_folder import existing_run, policy_files
from world2act_core.policies.seen import SeenInputs
from world2act_core.residual.bases import BaseAddress, as_json, read_base_address
from world2act_core.residual.card import ResidualCard
from world2act_core.residual.engine import SCHEMA, Graph, read_export
from world2act_core.residual.files import load_residual, read_skills
from world2act_core.residual.lean import LeanBase, LeanResidual, lean_video
from world2act_core.residual.network import Residual
from world2act_core.runs import file_digest
from world2act_core.runs.stage import MANIFEST, make_folder, read_stage, versions, write_json
from world2act_core.types import Array

OPSET = 20  # the first with Gelu as one operation; TensorRT 10 reads it
TOLERANCE = 1e-4
"""Largest difference from torch, in action units: on LIBERO's Panda 5 micrometres."""
OBSERVATIONS = 64
"""How many recorded observations are compared, spread over all that were given."""


@dataclass
class Exported:
    """What an export wrote.

    Attributes:
        differences: graph → largest difference from torch on the recorded observations.
        observations: how many these were.
    """

    folder: Path
    observations: int
    differences: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """A graph to be exported: the module that is, by which inputs it is called, and what it must equal."""

    file: str
    module: nn.Module
    inputs: dict[str, torch.Tensor]
    expected: torch.Tensor


def export_run(
    run: Path,
    out: Path,
    embodiment: Embodiment,
    observations: Sequence[Path] = (),
    tolerance: float = TOLERANCE,
) -> Exported:
    """Export base, residuals and adapters of a run; ``onnx:OUT`` opens them. Nothing is written unless all agree.

    Args:
        observations: bags or data sets that were recorded; none takes the run's own.
        tolerance: largest difference from torch that is let pass.

    Raises:
        MissingExtraError: ONNX is not installed.
        RunError: the run is not finished, nothing was recorded, a graph differs from torch by more, or ``out`` is
            something else than an earlier export.
    """
    files = policy_files(existing_run(run))
    for file in files.values():
        read_stage(file.parent)
    make_folder(out if out.exists() else out.parent)
    if out.exists():
        read_export(out)  # only an earlier export is ever replaced
    elsewhere = read_base_address(files["base"]) if files["base"].suffix == ".json" else None
    base = load_compact(files["base"], embodiment) if elsewhere is None else None
    identity = file_digest(files["base"]) if elsewhere is None else elsewhere.identity
    residuals = load_all(files["residual"], identity, embodiment)
    alignment = _alignment(run, next(iter(residuals.values()))[1])
    table = recorded(run, observations, next(iter(residuals.values()))[1].inputs, embodiment)
    new = out.with_name(f".{out.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        exported = Exported(out, len(table))
        names = {skill: f"residual{f'-{number}' if skill else ''}.onnx" for number, skill in enumerate(residuals)}
        for wanted in wanted_graphs(
            base, embodiment, {names[s]: r for s, (r, _) in residuals.items()}, alignment, table
        ):
            difference = write_graph(wanted, new)
            if not difference <= tolerance:
                raise RunError(
                    f"{wanted.file} differs from torch by {difference:.1e} on {len(table)} recorded observations, more "
                    f"than {tolerance:g}: nothing was written"
                )
            exported.differences[wanted.file] = difference
        cards = {skill: {"file": names[skill], "card": card.to_json()} for skill, (_, card) in residuals.items()}
        made_of = {name: file_digest(file) for name, file in files.items()}
        _seal(new, run, cards, made_of, embodiment, exported, tolerance, elsewhere)
        _replace(out, new)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return exported


def load_all(file: Path, base: str, embodiment: Embodiment) -> dict[str, tuple[Residual, ResidualCard]]:
    """Every residual of a run by skill, "" for any."""
    files = read_skills(file) if file.suffix == ".json" else {"": file}
    return {skill: load_residual(one, base, embodiment) for skill, one in files.items()}


def _alignment(run: Path, card: ResidualCard) -> Alignment | None:
    """The adapters of Stage 1, where the run has them; the residual's graph has its own B_a and D_a."""
    file = run / "stage1" / "alignment.pt"
    if not file.is_file():
        return None
    alignment = load_alignment(file)
    if alignment.config.size != card.latent_size:
        raise RunError(f"{file} has D = {alignment.config.size}, but the residual D = {card.latent_size}: run Stage 2")
    return alignment


def recorded(run: Path, given: Sequence[Path], inputs: SeenInputs, embodiment: Embodiment) -> ChunkTable:
    """``OBSERVATIONS`` chunks spread over what was recorded.

    Raises:
        RunError: nothing was.
    """
    places = given or [path for path in (run / "evaluation" / "bags", run / "demonstrations" / "bags") if path.is_dir()]
    sources = find_sources(places) if places else []
    m = embodiment.chunk_length
    episodes = [
        episode
        for source in sources
        for episode in iterate_source(source, embodiment, inputs.cameras, frame_every=m, report=BagReport())
        if episode.images and any(True for _ in episode.chunk_starts(m))
    ]
    if not episodes:
        raise RunError(
            f"{run} holds no recorded observations to compare with torch on: name some, --observations BAG ..."
        )
    table = chunk_table(episodes, embodiment, inputs.cameras, inputs.streams, inputs.image_size)
    return table.select(np.unique(np.linspace(0, len(table) - 1, OBSERVATIONS).astype(int)))


@torch.no_grad()
def wanted_graphs(
    base: CompactPolicy | None,
    embodiment: Embodiment,
    residuals: Mapping[str, Residual],
    alignment: Alignment | None,
    table: ChunkTable,
) -> Iterator[Wanted]:
    """The graphs of a policy, each with what torch gives on the recorded observations; where the base is no file of
    ours, beside chunks at random: what is compared is arithmetic."""
    frames, proprio = torch.from_numpy(table.frames[table.before]), torch.from_numpy(table.proprio)
    if base is not None:
        chunk = base.network(frames, proprio)
        yield Wanted("base.onnx", LeanBase(base.network), {"frames": frames, "proprio": proprio}, chunk)
    else:
        shape = (len(table), embodiment.chunk_length, embodiment.action.size)
        chunk = torch.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32))
    chunk = torch.from_numpy(embodiment.clamp(chunk.numpy()))
    for name, residual in residuals.items():
        inputs = {"base": chunk, "proprio": proprio, "frames": frames}
        yield Wanted(name, LeanResidual(residual), inputs, residual(chunk, proprio, residual.see(frames)))
    if alignment is not None:
        z = alignment.action(chunk)
        yield Wanted("action_adapter.onnx", alignment.action, {"actions": chunk}, z)
        yield Wanted("action_decoder.onnx", alignment.decoder, {"latent": z}, alignment.decoder(z))
        yield wanted_video(alignment, len(table))


@torch.no_grad()
def wanted_video(alignment: Alignment, count: int) -> Wanted:
    """B_v from what it reads: two latents, or flow, whose search is OpenCV's and in no graph. Any will do: what is
    compared is arithmetic."""
    video, shape = alignment.reader_of_imagined, tuple(alignment.config.latent_shape)
    random = torch.Generator().manual_seed(0)
    if video.motion is not None:
        read = {"flow": torch.randn(count, video.motion.values, generator=random)}
    else:
        read = {name: torch.randn(count, *shape, generator=random) for name in ("before", "after")}
    return Wanted("video_adapter.onnx", lean_video(video), read, video.read(*read.values()))


def write_graph(wanted: Wanted, folder: Path) -> float:
    """Export a module with a free batch dimension; returns its largest difference from torch in ONNX Runtime on a CPU,
    all observations at once and one by one.

    Raises:
        MissingExtraError: ONNX is not installed.
    """
    module = wanted.module.eval()
    two = {name: value[:1].repeat(2, *[1] * (value.ndim - 1)) for name, value in wanted.inputs.items()}
    batch = torch.export.Dim("batch")  # example inputs of batch 1 would freeze it
    try:
        with _silence():
            program = torch.onnx.export(
                module, tuple(two.values()), dynamo=True, opset_version=OPSET, input_names=list(two),
                output_names=["output"], dynamic_shapes=tuple({0: batch} for _ in two), verbose=False,
            )  # fmt: skip
    except ImportError:
        raise MissingExtraError("export needs ONNX: pip install 'world2act[cpu]' or 'world2act[gpu]'") from None
    assert program is not None
    program.save(str(folder / wanted.file))
    graph = Graph(folder / wanted.file, "cpu")
    arrays = {name: value.numpy() for name, value in wanted.inputs.items()}
    expected = wanted.expected.numpy()
    single = [graph(**{name: value[i : i + 1] for name, value in arrays.items()}) for i in range(len(expected))]
    return max(_distance(graph(**arrays), expected), _distance(np.concatenate(single), expected))


def _distance(found: Array, expected: Array) -> float:
    if found.shape != expected.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(found - expected).max())


@contextmanager
def _silence() -> Iterator[None]:
    """The exporter talks about torchvision, which is not used, and about its own deprecations."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


def _seal(
    folder: Path,
    run: Path,
    residuals: Mapping[str, Any],
    made_of: Mapping[str, str],
    embodiment: Embodiment,
    exported: Exported,
    tolerance: float,
    elsewhere: BaseAddress | None,
) -> None:
    """The manifest, and the verdict of the run's gate, which is bound to the files that were exported."""
    used = {name: metadata.version(name) for name in ("onnx", "onnxscript")}
    runtime = Graph(folder / next(iter(residuals.values()))["file"], "cpu")
    files = {path.name: file_digest(path) for path in sorted(folder.iterdir())}
    manifest = {
        "schema": SCHEMA,
        "embodiment": embodiment.name,
        "base": "base.onnx" if elsewhere is None else None,
        "elsewhere": elsewhere and as_json(elsewhere),
        "residuals": dict(residuals),
        "files": files,
        "made_of": dict(made_of),
        "opset": OPSET,
        "versions": {**versions(), **used, "onnxruntime": runtime_version()},
        "compared": {
            "observations": exported.observations,
            "provider": runtime.provider,
            "tolerance": tolerance,
            "largest_difference": exported.differences,
        },
    }
    write_json(folder / MANIFEST, manifest)
    gate = run / "gate.json"
    if gate.is_file():
        shutil.copyfile(gate, folder / gate.name)


def runtime_version() -> str:
    from world2act_core.residual.providers import import_onnxruntime

    return str(import_onnxruntime().__version__)


def _replace(out: Path, new: Path) -> None:
    """Put the new export in the place of an old one."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    os.replace(new, out)
    shutil.rmtree(old, ignore_errors=True)

"""What runs on the robot: exported graphs behind the policy protocol, through ONNX Runtime. No torch is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from world2act_core.embodiment import Embodiment
from world2act_core.errors import RunError
from world2act_core.policies.protocol import Policy
from world2act_core.policies.seen import SeenInputs, seen_arrays
from world2act_core.residual.bases import BaseAddress, base_address, open_base, open_named
from world2act_core.residual.card import ResidualCard
from world2act_core.residual.policy import PostTrainedPolicy
from world2act_core.residual.providers import open_session
from world2act_core.runs.stage import MANIFEST, file_digest
from world2act_core.types import ActionChunk, Array, Observation

SCHEMA = "world2act.export/1"


class Graph:
    """One exported graph.

    Attributes:
        provider: ONNX Runtime's name of what runs it.
    """

    def __init__(self, file: Path, provider: str = "") -> None:
        self._session = open_session(file, provider)
        self._run = self._session.run
        self.provider: str = self._session.get_providers()[0]

    def __call__(self, **inputs: Array) -> Array:
        output: Array = self._run(None, inputs)[0]
        return output


class GraphResidual(Graph):
    """An exported residual; see ``residual.policy.Corrects``."""

    def __init__(
        self, file: Path, provider: str = "", units: tuple[float, ...] = (), *, overrules: bool = False
    ) -> None:
        super().__init__(file, provider)
        self.units, self.overrules = units, overrules

    def correct(self, base: Array, proprio: Array, frames: Array) -> Array:
        return self(base=base, proprio=proprio, frames=frames)


class GraphBase(Policy):
    """An exported compact base behind the policy protocol."""

    def __init__(self, graph: Graph, inputs: SeenInputs, embodiment: Embodiment, identity: str) -> None:
        self.graph, self.config, self.embodiment, self.identity = graph, inputs, embodiment, identity
        self.cameras, self.streams, self.horizon = inputs.cameras, inputs.streams, embodiment.chunk_length

    def reset(self) -> None:
        """Nothing to forget: the policy has no memory."""

    def act(self, observation: Observation, prompt: str) -> ActionChunk:
        frames, proprio = seen_arrays(observation, self.config, self.embodiment)
        actions = self.graph(frames=frames, proprio=proprio)[0]
        return ActionChunk(self.embodiment.clamp(actions), observation.stamp, prompt)


@dataclass(frozen=True)
class Export:
    """An exported policy on disk.

    Attributes:
        cards: skill ("" for any) → what its residual was trained for.
        residuals: skill → graph.
        base: graph of the base; None where the base is no file of ours, but ``elsewhere``.
        made_of: digests of the base and the residual that were exported.
    """

    folder: Path
    cards: dict[str, ResidualCard]
    residuals: dict[str, Path]
    base: Path | None
    made_of: dict[str, str]
    elsewhere: BaseAddress | None = None


def read_export(folder: Path) -> Export:
    """What ``world2act export`` wrote, every file checked against the manifest.

    Raises:
        RunError: no export, of another schema, or a file is missing or has changed since.
    """
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(f"{folder} holds no export: make one with 'world2act export RUN --out {folder}'") from None
    except ValueError as problem:
        raise RunError(f"{path} is not JSON ({problem}): export again") from None
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise RunError(f"{path} is not the manifest of an export ({SCHEMA}): name the folder that export wrote")
    try:
        return _parse(folder, raw)
    except (KeyError, TypeError, AttributeError) as problem:
        raise RunError(f"{path} is incomplete (at {problem}): export again") from None


def _parse(folder: Path, raw: dict[str, Any]) -> Export:
    for name, digest in raw["files"].items():
        file = folder / name
        if not file.is_file():
            raise RunError(f"{file} is missing although {folder / MANIFEST} lists it: export again")
        if file_digest(file) != digest:
            raise RunError(f"{file} has changed since it was exported: export again")
    cards = {skill: ResidualCard.from_json(one["card"], folder) for skill, one in raw["residuals"].items()}
    residuals = {skill: folder / one["file"] for skill, one in raw["residuals"].items()}
    base, elsewhere = raw["base"], raw.get("elsewhere")
    return Export(
        folder,
        cards,
        residuals,
        folder / base if base else None,
        dict(raw["made_of"]),
        base_address(elsewhere, folder / MANIFEST) if elsewhere else None,
    )


def open_export(export: Export, embodiment: Embodiment, base: str = "", provider: str = "") -> PostTrainedPolicy:
    """Exported graphs as a policy.

    Args:
        base: address of the base; "" takes the exported one, or the one that the run was trained on, where that is.
        provider: ``tensorrt``, ``cuda`` or ``cpu``; "" takes the fastest there is.

    Raises:
        RunError: there is no base, or the residual was trained for something else.
    """
    card = next(iter(export.cards.values()))
    if not base and export.base is None and export.elsewhere is None:
        raise RunError(f"{export.folder} holds no base: name one, onnx:{export.folder},ADDRESS")
    known = open_base(base, embodiment) if base else None
    if known is None and export.elsewhere is not None:
        known = open_named(export.elsewhere, embodiment)
    try:
        for one in export.cards.values():
            one.check(known.identity if known else export.made_of["base"], embodiment, export.folder)
    except RunError:
        if known is not None:
            known.close()
        raise
    policy: Policy
    if known is None:
        assert export.base is not None
        policy = GraphBase(Graph(export.base, provider), card.inputs, embodiment, card.base)
    else:
        policy = known.open()
    residuals = {
        skill: GraphResidual(export.residuals[skill], provider, one.units, overrules=one.overrules)
        for skill, one in export.cards.items()
    }
    only = residuals[""] if set(residuals) == {""} else residuals
    return PostTrainedPolicy(policy, only, embodiment, inputs=card.inputs)


def export_folder(reference: str) -> str:
    """The folder that an address ``onnx:...`` names."""
    return reference.partition(",")[0].partition("#")[0]


def open_engine(reference: str, embodiment: Embodiment) -> PostTrainedPolicy:
    """``FOLDER``, ``FOLDER#PROVIDER`` or ``FOLDER,BASE`` (file or address) → policy.

    Raises:
        World2ActError: see ``read_export``, ``open_export`` and ``providers.choose``.
    """
    named, _, base = reference.partition(",")
    _, _, provider = named.partition("#")
    return open_export(read_export(Path(export_folder(reference))), embodiment, base, provider)

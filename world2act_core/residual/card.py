"""What a residual was trained for. It acts on nothing else: every difference is one sentence before anything moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from world2act_core.embodiment import Embodiment
from world2act_core.errors import RunError
from world2act_core.policies.identity import shortened
from world2act_core.policies.seen import SeenInputs
from world2act_core.types import Array


@dataclass(frozen=True)
class ResidualCard:
    """Travels with a residual: in its file, and in the manifest of an export.

    Attributes:
        base: identity of the frozen base: SHA-256 of its file, or what a base without a file states as ``identity``.
        embodiment: name of the contract.
        chunk_length, actions, latent_size: M, A and D.
        inputs: what the residual sees.
        normalisation: what the numbers mean that go in and come out, by the contract (see ``normalisation_of``).
        skill: prompt that the residual was trained for; "" for any.
        units: of the displacements that it goes by (see ``embodiment.displacement``); empty for actions as they are.
        overrules: whether it says the whole action, so that the base need not be asked.
    """

    base: str
    embodiment: str
    chunk_length: int
    actions: int
    latent_size: int
    inputs: SeenInputs
    normalisation: Mapping[str, Any] = field(default_factory=dict)
    skill: str = ""
    units: tuple[float, ...] = ()
    overrules: bool = False

    def to_json(self) -> dict[str, Any]:
        content = asdict(self)
        content["inputs"] = {name: list(v) if isinstance(v, tuple) else v for name, v in content["inputs"].items()}
        content["units"] = list(self.units)
        return content

    @staticmethod
    def from_json(raw: Mapping[str, Any], where: Path) -> ResidualCard:
        """The inverse of ``to_json``.

        Raises:
            RunError: something is missing.
        """
        try:
            inputs = raw["inputs"]
            seen = SeenInputs(tuple(inputs["cameras"]), tuple(inputs["streams"]), int(inputs["image_size"]))
            units = tuple(float(unit) for unit in raw.get("units", ()))
            if len(units) not in (0, raw["actions"]):
                raise KeyError("units")
            return ResidualCard(**{**raw, "inputs": seen, "units": units})
        except (KeyError, TypeError) as error:
            raise RunError(f"{where} does not say what its residual was trained for ({error}): make it anew") from None

    def check(self, base: str, embodiment: Embodiment, where: Path, *, latent_size: int | None = None) -> None:
        """Refuse to act on anything but what the residual was trained for.

        Args:
            base: identity of the base that is there.
            latent_size: D of the adapters that are there; None does not ask.

        Raises:
            RunError: base, embodiment, M, D or a normalisation differs; says which, in one sentence.
        """
        if base != self.base:
            raise RunError(
                f"{where} was trained on another base policy ({_short(self.base)}) than the one here ({_short(base)}): "
                f"run Stage 2 on this base"
            )
        if embodiment.name != self.embodiment:
            raise RunError(f"{where} was trained for embodiment {self.embodiment}, not for {embodiment.name}")
        if embodiment.chunk_length != self.chunk_length:
            raise RunError(
                f"{where} was trained on chunks of M = {self.chunk_length} control steps, but {embodiment.name} now "
                f"says {embodiment.chunk_length}: put chunk_length back, or train again"
            )
        if latent_size is not None and latent_size != self.latent_size:
            raise RunError(
                f"{where} was trained in a latent space of D = {self.latent_size}, but its adapters have "
                f"D = {latent_size}: they are of another Stage 1"
            )
        here = normalisation_of(embodiment, self.inputs.streams)
        for name in sorted({*here, *self.normalisation}):
            then, now = self.normalisation.get(name), here.get(name)
            if then != now:
                raise RunError(
                    f"{where} was trained with {name} = {then}, but {embodiment.name} now says {now}: the same number "
                    f"would mean something else, so put it back or train again"
                )


def normalisation_of(embodiment: Embodiment, streams: tuple[str, ...]) -> dict[str, Any]:
    """What a contract says of the numbers that a residual reads and writes: JSON values by the contract's names."""
    action = embodiment.action
    said: dict[str, Any] = {
        "action.kind": action.kind,
        "action.names": list(action.names),
        "action.units": list(action.units),
        "action.scale": _plain(action.scale),
        "action.low": _plain(action.low),
        "action.high": _plain(action.high),
    }
    for name in streams:
        stream = embodiment.state.get(name)
        said[f"state.{name}"] = None if stream is None else [stream.size, stream.units]
    return said


def _plain(values: Array) -> list[float]:
    """float32 as the contract writes it: 0.05, not 0.05000000074505806."""
    return [float(str(value)) for value in values]


def _short(identity: str) -> str:
    return shortened(identity) if identity else "which states no identity"

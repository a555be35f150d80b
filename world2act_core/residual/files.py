"""Residuals on disk: one file, or one a skill, each with the card of what it was trained for."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from world2act_core.alignment.adapters import AdapterConfig, Alignment
from world2act_core.embodiment import Embodiment
from world2act_core.errors import RunError
from world2act_core.networks.codec import PatchCodec
from world2act_core.policies.seen import Inputs, SeenInputs
from world2act_core.residual.bases import open_base
from world2act_core.residual.card import ResidualCard, normalisation_of
from world2act_core.residual.network import Residual, ResidualConfig
from world2act_core.residual.policy import PostTrainedPolicy
from world2act_core.runs import file_digest
from world2act_core.runs.stage import write_json

SKILLS_SCHEMA = "world2act.residuals/1"


def save_residual(
    path: Path,
    residual: Residual,
    config: ResidualConfig,
    alignment: Alignment,
    base: str,
    inputs: Inputs,
    embodiment: Embodiment,
    skill: str = "",
) -> None:
    """Store a residual with the identity of the base it was trained on, what it sees, and what its numbers mean."""
    card = ResidualCard(
        base=base,
        embodiment=embodiment.name,
        chunk_length=alignment.config.chunk_length,
        actions=alignment.config.actions,
        latent_size=alignment.config.size,
        inputs=SeenInputs(inputs.cameras, inputs.streams, inputs.image_size),
        normalisation=normalisation_of(embodiment, inputs.streams),
        skill=skill,
        units=residual.units,
        overrules=residual.overrules,
    )
    content = {
        "config": asdict(config),
        "adapter": {**asdict(alignment.config), "latent_shape": list(alignment.config.latent_shape)},
        "proprio": residual.standardise.mean.shape[0],
        "codec": residual.codec_shape,
        "card": card.to_json(),
        "weights": residual.state_dict(),
    }
    torch.save(content, path)


def load_residual(path: Path, base: str, embodiment: Embodiment) -> tuple[Residual, ResidualCard]:
    """The residual from its file, ready to act, and its card.

    Args:
        base: identity of the base that it is to act on.

    Raises:
        RunError: the file is none, or the residual was trained for something else; see ``ResidualCard.check``.
    """
    saved = _read(path)
    card = ResidualCard.from_json(saved["card"], path)
    card.check(base, embodiment, path, latent_size=saved["adapter"]["size"])
    alignment = Alignment(AdapterConfig(**saved["adapter"]))
    used = saved["weights"]["used"] > 0
    codec = PatchCodec(**saved["codec"])
    residual = Residual(ResidualConfig(**saved["config"]), alignment, saved["proprio"], used, codec)
    residual.load_state_dict(saved["weights"])
    return residual.eval(), card


def _read(path: Path) -> dict[str, Any]:
    try:
        saved = torch.load(path, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as problem:
        raise RunError(f"{path} is no residual: name the residual.pt that Stage 2 wrote") from problem
    if not isinstance(saved, dict) or "weights" not in saved or "adapter" not in saved:
        raise RunError(f"{path} is no residual: name the residual.pt that Stage 2 wrote")
    if "card" not in saved:
        raise RunError(f"{path} does not say what it was trained for, as older ones: run Stage 2 again")
    content: dict[str, Any] = saved
    return content


def write_skills(path: Path, residuals: Mapping[str, Path]) -> None:
    """Name a residual for each skill prompt, by files in the folder of ``path`` (``residuals.json``) or below."""
    entries = {
        skill: {"file": str(file.relative_to(path.parent)), "sha256": file_digest(file)}
        for skill, file in residuals.items()
    }
    write_json(path, {"schema": SKILLS_SCHEMA, "skills": entries})


def read_skills(path: Path) -> dict[str, Path]:
    """Skill prompt → file of its residual.

    Raises:
        RunError: the mapping is none, is empty, or a file is missing or has changed since it was named.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        entries = raw["skills"] if raw["schema"] == SKILLS_SCHEMA else {}
        named = {str(skill): (path.parent / entry["file"], str(entry["sha256"])) for skill, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise RunError(f"{path} does not name residuals by skill ({problem}): expected {SKILLS_SCHEMA}") from None
    if not named:
        raise RunError(f"{path} names no residual: expected {SKILLS_SCHEMA} with at least one skill")
    for skill, (file, digest) in named.items():
        if not file.is_file():
            raise RunError(f"{path} names {file} for {skill!r}, which does not exist")
        if file_digest(file) != digest:
            raise RunError(f"{file} has changed since {path} named it for {skill!r}: write the mapping again")
    return {skill: file for skill, (file, _) in named.items()}


def load_post_trained(base: str, residual: Path, embodiment: Embodiment, strength: float = 1.0) -> PostTrainedPolicy:
    """Base and residual as one policy.

    Args:
        base: file of a compact base, or the address of any policy.
        residual: file of a residual; or ``residuals.json``, which names one for each skill.

    Raises:
        RunError: one of the files is missing, or a residual was trained for something else.
    """
    files = read_skills(residual) if residual.suffix == ".json" else {"": residual}
    opened = open_base(base, embodiment)
    try:
        loaded = {skill: load_residual(file, opened.identity, embodiment) for skill, file in files.items()}
        inputs = {card.inputs for _, card in loaded.values()}
        if len(inputs) > 1:
            raise RunError(f"{residual} names residuals that look at different cameras, streams or image sizes")
    except RunError:
        opened.close()
        raise
    networks = {skill: network for skill, (network, _) in loaded.items()}
    one = networks.get("") if set(networks) == {""} else None
    policy = opened.open()
    return PostTrainedPolicy(policy, one or networks, embodiment, strength, inputs=inputs.pop())


def open_post_trained(reference: str, embodiment: Embodiment) -> PostTrainedPolicy:
    """``BASE,RESIDUAL`` → policy: file or address of the base, file of the residual or of a mapping by skill.

    Raises:
        RunError: one of the files is missing, or the residual belongs to another base.
    """
    base, _, residual = reference.rpartition(",")
    if not base or not Path(residual).is_file():
        raise RunError(f"{reference!r} names no file {residual!r} of a residual: expected BASE,RESIDUAL")
    torch.set_num_threads(1)  # as in the evaluation's workers: sums in another order would be other actions
    return load_post_trained(base, Path(residual), embodiment)

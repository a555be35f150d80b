"""The frozen base that a residual acts on: a compact policy's file, or a policy behind an address."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from world2act_core.embodiment import Embodiment
from world2act_core.errors import RunError
from world2act_core.policies.address import open_policy
from world2act_core.policies.identity import policy_digest
from world2act_core.policies.protocol import Policy
from world2act_core.policies.run_folder import policy_files
from world2act_core.runs.stage import file_digest, write_json

SCHEMA = "world2act.base/1"


@dataclass(frozen=True)
class Base:
    """A base that is known but may not be loaded yet, so that a residual of another one costs nothing.

    Attributes:
        identity: SHA-256 of its file, or what the policy states as ``identity``, or the hash of the files that its
            address names.
    """

    identity: str
    open: Callable[[], Policy]


@dataclass(frozen=True)
class BaseAddress:
    """A base that a run does not hold but names.

    Attributes:
        address: as policies are opened by; never a secret.
        identity: of the policy that was there when the residual was trained.
        cameras: whose images it needs.
    """

    address: str
    identity: str
    cameras: tuple[str, ...]


def open_base(base: str, embodiment: Embodiment) -> Base:
    """The base behind the file of a compact policy, or behind the address of any policy.

    Raises:
        RunError: there is no such file, or nothing tells which policy it is.
    """
    file = compact_file(base)
    if file is not None:
        return Base(file_digest(file), lambda: _compact(file, embodiment))
    if ":" not in base:
        raise RunError(f"{base!r} names no file {base!r}: expected that of a compact policy, or a policy's address")
    named = _of_a_run(base)
    if named is not None:
        return open_named(named, embodiment)
    policy = open_policy(base, embodiment)
    identity = str(getattr(policy, "identity", "")) or policy_digest(base)
    if not identity:
        policy.close()
        raise RunError(
            f"{base} does not say which policy it is, so no residual could be checked to belong to it: say so in its "
            f"address, ?identity=NAME of the checkpoint that the server was started with, or name a folder of weights"
        )
    return Base(identity, lambda: policy)


def compact_file(base: str) -> Path | None:
    """The file of a compact policy that a text names: by itself, as ``compact:``, or as the base of a run."""
    scheme, _, reference = base.partition(":")
    folder = Path(reference.removesuffix("#base"))
    if Path(base).is_file():
        return Path(base)
    if scheme == "compact" and Path(reference).is_file():
        return Path(reference)
    if (scheme == "compact" or (scheme == "run" and reference.endswith("#base"))) and folder.is_dir():
        file = policy_files(folder)["base"]
        return file if file.suffix == ".pt" and file.is_file() else None
    return None


def _of_a_run(base: str) -> BaseAddress | None:
    scheme, _, reference = base.partition(":")
    file = policy_files(Path(reference.removesuffix("#base")))["base"]
    named = scheme == "run" and reference.endswith("#base") and file.suffix == ".json"
    return read_base_address(file) if named else None


def open_named(named: BaseAddress, embodiment: Embodiment) -> Base:
    """The base that a run names.

    Raises:
        RunError: another policy is there now.
    """
    base = open_base(named.address, embodiment)
    if base.identity != named.identity:
        raise RunError(
            f"{named.address} is another policy now ({base.identity[:12]}) than the one that the residual was trained "
            f"on ({named.identity[:12]}): start that one again, or post-train on this one"
        )
    return base


def write_base_address(path: Path, named: BaseAddress) -> None:
    write_json(path, as_json(named))


def as_json(named: BaseAddress) -> dict[str, object]:
    return {"schema": SCHEMA, **asdict(named), "cameras": list(named.cameras)}


def read_base_address(path: Path) -> BaseAddress:
    """The inverse of ``write_base_address``.

    Raises:
        RunError: the file is none, or incomplete.
    """
    try:
        return base_address(json.loads(path.read_text(encoding="utf-8")), path)
    except ValueError as problem:
        raise RunError(f"{path} does not name a base ({problem}): post-train again") from None


def base_address(raw: Any, where: Path) -> BaseAddress:
    """The inverse of ``as_json``.

    Raises:
        RunError: it is none, or incomplete.
    """
    try:
        if raw["schema"] != SCHEMA:
            raise RunError(f"{where} has schema {raw['schema']!r}, expected {SCHEMA!r}: post-train again")
        return BaseAddress(str(raw["address"]), str(raw["identity"]), tuple(map(str, raw["cameras"])))
    except (KeyError, TypeError) as problem:
        raise RunError(f"{where} does not name a base ({problem}): post-train again") from None


def _compact(file: Path, embodiment: Embodiment) -> Policy:
    from world2act_core.policies.compact import load_compact  # brings torch

    return load_compact(file, embodiment)

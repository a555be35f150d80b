"""The frozen base that a residual acts on: a compact policy's file, or a policy behind an address."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from world2act_core.embodiment import Embodiment
from world2act_core.errors import ContractError, RunError
from world2act_core.policies.address import open_policy
from world2act_core.policies.identity import policy_digest, shortened
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
        mapping: SHA-256 of how its images, states and actions are translated; "" where they are the contract's.
    """

    identity: str
    open: Callable[[], Policy]
    mapping: str = ""
    opened: Policy | None = None

    def close(self) -> None:
        """Free what an address had to open to know it."""
        if self.opened is not None:
            self.opened.close()


@dataclass(frozen=True)
class BaseAddress:
    """A base that a run does not hold but names.

    Attributes:
        address: as policies are opened by, from whatever folder; never a secret.
        identity, mapping: of the policy that was there when the residual was trained, see ``Base``.
        cameras: whose images it needs.
    """

    address: str
    identity: str
    cameras: tuple[str, ...]
    mapping: str = ""


def open_base(base: str, embodiment: Embodiment) -> Base:
    """The base behind the file of a compact policy, or behind the address of any policy.

    Raises:
        RunError: there is no such file.
        ContractError: nothing tells which policy it is.
    """
    file = compact_file(base)
    if file is not None:
        return Base(file_digest(file), lambda: _compact(file, embodiment))
    if ":" not in base:
        raise RunError(f"{base!r} names no file {base!r}: expected that of a compact policy, or a policy's address")
    named = base_of_run(base)
    if named is not None:
        return open_named(named, embodiment)
    policy = open_policy(base, embodiment)
    identity = str(getattr(policy, "identity", "")) or policy_digest(base)
    if not identity:
        policy.close()
        raise ContractError(
            f"{base} does not say which policy it is, so no residual could be checked to belong to it: say so in its "
            f"address, ?identity=NAME of the checkpoint that is served there, or name a folder of weights"
        )
    mapping = getattr(policy, "mapping", None)
    return Base(identity, lambda: policy, "" if mapping is None else mapping.digest, policy)


def compact_file(base: str) -> Path | None:
    """The file of a compact policy that a text names: by itself, as ``compact:``, or as the base of a run."""
    scheme, _, reference = base.partition(":")
    if Path(base).is_file():
        return Path(base)
    if scheme == "compact" and Path(reference).is_file():
        return Path(reference)
    folder = Path(reference) if scheme == "compact" else _run_of_base(base)
    if folder is None or not folder.is_dir():
        return None
    file = policy_files(folder)["base"]
    return file if file.suffix == ".pt" and file.is_file() else None


def base_of_run(base: str) -> BaseAddress | None:
    """What ``run:FOLDER#base`` names, where that base is no file of ours."""
    folder = _run_of_base(base)
    file = policy_files(folder)["base"] if folder is not None else Path()
    return read_base_address(file) if file.suffix == ".json" else None


def _run_of_base(base: str) -> Path | None:
    named = re.fullmatch("run:(.+)#base", base)
    return Path(named.group(1)) if named else None


def open_named(named: BaseAddress, embodiment: Embodiment) -> Base:
    """The base that a run names.

    Raises:
        RunError: another policy is there now, or it is spoken to by another mapping.
    """
    base = open_base(named.address, embodiment)
    if base.identity == named.identity and base.mapping == named.mapping:
        return base
    base.close()
    if base.identity != named.identity:
        raise RunError(
            f"{named.address} is another policy now ({shortened(base.identity)}) than the one that the residual was "
            f"trained on ({shortened(named.identity)}): start that one again, or post-train on this one"
        )
    raise RunError(
        f"the mapping of {named.address} has changed since the residual was trained, so the same numbers mean "
        f"something else: put it back, or post-train again"
    )


def absolute(address: str) -> str:
    """The address with every path that there is made absolute, its mapping's too, so that it means the same from any
    folder."""
    scheme, _, reference = address.partition(":")
    path, mark, rest = (re.split("([#?])", reference, maxsplit=1) + ["", ""])[:3]
    parts = [str(Path(part).resolve()) if part and Path(part).exists() else part for part in path.split(",")]
    if mark == "?":
        rest = re.sub("(?:^|(?<=&))mapping=([^&]+)", lambda found: f"mapping={Path(found.group(1)).resolve()}", rest)
    return f"{scheme}:{','.join(parts)}{mark}{rest}"


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
        said = {name: str(raw[name]) for name in ("address", "identity", "mapping")}
        return BaseAddress(**said, cameras=tuple(map(str, raw["cameras"])))
    except (KeyError, TypeError) as problem:
        raise RunError(f"{where} does not name a base ({problem}): post-train again") from None


def _compact(file: Path, embodiment: Embodiment) -> Policy:
    from world2act_core.policies.compact import load_compact  # brings torch

    return load_compact(file, embodiment)

"""The frozen base that a residual acts on: a file of ours, or a policy that somebody serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from world2act_core.embodiment import Embodiment
from world2act_core.errors import RunError
from world2act_core.policies.address import open_policy
from world2act_core.policies.protocol import Policy
from world2act_core.runs.stage import file_digest


@dataclass(frozen=True)
class Base:
    """A base that is known but may not be loaded yet, so that a residual of another one costs nothing.

    Attributes:
        identity: SHA-256 of its file, or what the policy states as ``identity``.
    """

    identity: str
    open: Callable[[], Policy]


def open_base(base: str, embodiment: Embodiment) -> Base:
    """The base behind the file of a compact policy, or behind the address of any policy.

    Raises:
        RunError: there is no such file, or the policy does not say which one it is.
    """
    file = Path(base)
    if file.is_file():
        return Base(file_digest(file), lambda: _compact(file, embodiment))
    if ":" not in base:
        raise RunError(f"{base!r} names no file {base!r}: expected that of a compact policy, or a policy's address")
    if base.startswith("compact:"):
        return open_base(base.partition(":")[2], embodiment)
    policy = open_policy(base, embodiment)
    identity = str(getattr(policy, "identity", ""))
    if not identity:
        raise RunError(f"{base} does not say which policy it is, so no residual can be checked to belong to it")
    return Base(identity, lambda: policy)


def _compact(file: Path, embodiment: Embodiment) -> Policy:
    from world2act_core.policies.compact import load_compact  # brings torch

    return load_compact(file, embodiment)

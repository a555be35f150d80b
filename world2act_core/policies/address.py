"""Policies by address: ``scheme:reference``. One text that launch files, commands and nodes pass on."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from world2act_core.embodiment import Embodiment
from world2act_core.errors import MissingExtraError, RunError, World2ActError
from world2act_core.policies.protocol import Policy

Opener = Callable[[str, Embodiment], Policy]

# Scheme → where its opener lives. Imported when asked for, so that a robot loads only what its policy needs.
_SCHEMES: dict[str, str] = {
    "compact": "world2act_core.policies.compact:open_compact_policy",
    "cosmos": "world2act_core.policies.cosmos.client:open_cosmos",
    "cosmos-policy": "world2act_core.policies.cosmos.package:open_cosmos_package",
    "gr00t": "world2act_core.policies.gr00t.client:open_gr00t",
    "imagination": "world2act_core.baselines.imagination:open_imagination",
    "lerobot": "world2act_core.policies.lerobot:open_lerobot",
    "onnx": "world2act_core.residual.engine:open_engine",
    "openpi": "world2act_core.policies.openpi.client:open_openpi",
    "post-trained": "world2act_core.residual.files:open_post_trained",
    "replay": "world2act_core.policies.replay:open_replay_policy",
    "run": "world2act_core.policies.run_folder:open_run_policy",
}


# Package that a policy may need → extra that brings it.
_EXTRAS = {"zmq": "policies", "msgpack": "policies", "websockets": "policies"}


def register_policy_scheme(scheme: str, opener: str) -> None:
    """Add a scheme; ``opener`` is ``module:function`` taking ``(reference, embodiment)``."""
    _SCHEMES[scheme] = opener


def open_policy(address: str, embodiment: Embodiment) -> Policy:
    """Open the policy behind an address.

    Args:
        address: for example ``replay:BAG#EPISODE``, ``run:FOLDER#base`` or ``gr00t://host:5555?timeout_ms=2000``.
        embodiment: the arm that it will act for.

    Raises:
        World2ActError: unknown scheme, or the policy cannot be opened; the message says why.
    """
    scheme, separator, reference = address.partition(":")
    if not separator or scheme not in _SCHEMES:
        raise World2ActError(
            f"policy {address!r} has no known scheme; known are {', '.join(f'{s}:' for s in _SCHEMES)}"
        )
    module, _, function = _SCHEMES[scheme].partition(":")
    opener: Opener = getattr(import_part(module), function)
    return opener(reference, embodiment)


def import_part(module: str) -> ModuleType:
    """A module of ours that needs an extra, or in somebody else's environment more than that has.

    Raises:
        MissingExtraError: what it needs is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        name = (missing.name or "").partition(".")[0]
        if name in ("", __package__.partition(".")[0]):
            raise
        wanted = f"world2act[{_EXTRAS[name]}]" if name in _EXTRAS else name
        raise MissingExtraError(f"{name} is not installed: pip install '{wanted}'") from missing


def path_with_options(scheme: str, reference: str, known: Sequence[str]) -> tuple[str, dict[str, str]]:
    """``PATH?name=value&...`` → the path, and the options that were given.

    Raises:
        RunError: there is no path, or an option that the scheme does not know.
    """
    path, _, query = reference.partition("?")
    options = dict(entry.partition("=")[::2] for entry in query.split("&") if entry)
    if not path or options.keys() - set(known):
        example = "&".join(f"{name}=..." for name in known)
        raise RunError(f"{scheme}:{reference}: expected {scheme}:PATH, perhaps with ?{example}")
    return path, options


def listed_files(reference: str, *wanted: str) -> list[Path]:
    """The files of an address that names several, separated by commas.

    Args:
        wanted: what each of them is.

    Raises:
        RunError: they are not so many, or one is not there.
    """
    files = [Path(name) for name in reference.split(",")]
    if len(files) != len(wanted):
        raise RunError(f"{reference!r} names {len(files)} file(s): expected {','.join(wanted)}")
    for file, what in zip(files, wanted, strict=True):
        if not file.is_file():
            raise RunError(f"{reference!r}: there is no file {str(file)!r}, the {what}")
    return files

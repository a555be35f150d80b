"""Frozen dataclasses whose values a YAML file overrides; what they do not know is refused with file and key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from world2act_core.embodiment.checked import OneValueAKey
from world2act_core.errors import World2ActError

Settings = TypeVar("Settings")


def read_yaml(path: Path, kind: str) -> Any:
    """What a YAML file holds, an empty mapping for an empty file.

    Raises:
        World2ActError: no such file (the message calls it a ``kind``), it is not YAML, or it has a key twice.
    """
    if not path.is_file():
        raise World2ActError(f"there is no {kind} {path}")
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), OneValueAKey)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise World2ActError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from None
    return {} if raw is None else raw


def override(settings: Settings, raw: Any, where: str) -> Settings:
    """The settings (a frozen dataclass) with the values of a mapping put over them, nested dataclasses included.

    The current value says of what kind a new one must be; the first entry of a tuple says so for all entries, and
    where that is a dataclass every new entry is put over it.

    Raises:
        World2ActError: a key is not known, or a value is of another kind; ``where`` and the key stand in the message.
    """
    if not isinstance(raw, Mapping):
        raise World2ActError(f"{where} = {raw!r} must be a mapping")
    known = {f.name for f in fields(settings)}  # type: ignore[arg-type]
    changed: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in known:
            raise World2ActError(f"{where}: {key} is not known here; known are {', '.join(sorted(known))}")
        changed[key] = _overridden(getattr(settings, key), value, where, key)
    return replace(settings, **changed)  # type: ignore[type-var]


def _overridden(current: Any, value: Any, where: str, key: str) -> Any:
    if is_dataclass(current):
        return override(current, value, f"{where}: {key}")
    if isinstance(current, tuple) and is_dataclass(current[0]) and isinstance(value, list):
        return tuple(override(current[0], entry, f"{where}: {key} {n}") for n, entry in enumerate(value, start=1))
    if not _is_like(value, current):
        raise World2ActError(f"{where}: {key} = {value!r} must be of the kind of {current!r}")
    return tuple(value) if isinstance(current, tuple) else type(current)(value)


def _is_like(value: Any, current: Any) -> bool:
    """Whether a value from YAML can stand in place of one: a list for a tuple, an integer for a float too."""
    if isinstance(current, tuple):
        return isinstance(value, list) and all(_is_like(entry, current[0]) for entry in value)
    return type(value) is type(current) or (type(current) is float and type(value) is int)


def as_json(settings: Any) -> dict[str, Any]:
    """Settings as JSON values, for manifests."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(settings).items()}

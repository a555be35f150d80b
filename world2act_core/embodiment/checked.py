"""Reading a YAML mapping so that every complaint is one sentence naming file, key and value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import yaml

from world2act_core.errors import ContractError
from world2act_core.types import Array

_MISSING = object()


class OneValueAKey(yaml.SafeLoader):
    """YAML's loader, but a key given twice is an error: the second would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key_node.value!r} twice", problem_mark=key_node.start_mark)
            seen.add(str(key_node.value))
        return super().construct_mapping(node, deep)


def read_checked(path: Path, *, may_be_empty: bool = False) -> Checked:
    """The mapping in a YAML file; with ``may_be_empty`` one without an entry where the file says nothing.

    Raises:
        ContractError: not text, not YAML, a key twice, or not a mapping.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), OneValueAKey)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ContractError(f"{path.name}: not valid YAML: {' '.join(str(error).split())}") from error
    return Checked({} if raw is None and may_be_empty else raw, path.name)


class Checked:
    """A mapping of a file that remembers where it is and which keys were read."""

    def __init__(self, raw: Any, file: str, path: str = "") -> None:
        self.file, self.path = file, path
        self._read: set[str] = set()
        if not isinstance(raw, dict):
            raise ContractError(f"{file}: {path or 'the file'} = {raw!r} must be a mapping")
        for key in raw:
            if not isinstance(key, str):  # YAML reads a bare `no`, `on` or `1` as something else than text
                raise ContractError(f"{file}: {path or 'the file'} has the key {key!r}, which is not a text: quote it")
        self._raw = raw

    def __contains__(self, key: str) -> bool:
        return key in self._raw

    @property
    def keys(self) -> list[str]:
        return list(self._raw)

    def items(self) -> Iterator[tuple[str, Checked]]:
        return ((key, self.section(key)) for key in self._raw)

    def refuse(self, key: str, why: str) -> NoReturn:
        """Raise the one sentence: file, key, value, what is wrong with it."""
        value = self._raw.get(key, _MISSING) if key else _MISSING
        where = ".".join(part for part in (self.path, key) if part)
        said = "" if value is _MISSING else f" = {value!r}"
        raise ContractError(f"{self.file}: {where}{said} {why}")

    def no_other_keys(self) -> None:
        for key in self._raw:
            if key not in self._read:
                self.refuse(key, f"is not a key of this contract; known here: {', '.join(sorted(self._read))}")

    def _get(self, key: str) -> Any:
        self._read.add(key)
        if key not in self._raw:
            self.refuse(key, "is missing")
        return self._raw[key]

    def value(self, key: str) -> Any:
        return self._get(key)

    def section(self, key: str) -> Checked:
        return Checked(self._get(key), self.file, ".".join(part for part in (self.path, key) if part))

    def text(self, key: str, one_of: tuple[str, ...] = ()) -> str:
        value = self._get(key)
        if not isinstance(value, str) or not value:
            self.refuse(key, "must be a text")
        if one_of and value not in one_of:
            self.refuse(key, f"must be one of {', '.join(one_of)}")
        return value

    def texts(self, key: str, one_of: tuple[str, ...] = (), length: int | None = None) -> list[str]:
        value = self._get(key)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            self.refuse(key, "must be a list of texts")
        if length is not None and len(value) != length:
            self.refuse(key, f"must have {length} entries")
        if one_of and not set(value) <= set(one_of):
            self.refuse(key, f"may hold only {', '.join(one_of)}")
        return value

    def flag(self, key: str) -> bool:
        value = self._get(key)
        if not isinstance(value, bool):
            self.refuse(key, "must be true or false")
        return value

    def number(self, key: str, above: float | None = None, at_most: float | None = None) -> float:
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
            self.refuse(key, "must be a finite number")
        if above is not None and value <= above:
            self.refuse(key, f"must be above {above:g}")
        if at_most is not None and value > at_most:
            self.refuse(key, f"must be at most {at_most:g}")
        return float(value)

    def integer(self, key: str, above: int | None = None, one_of: tuple[int, ...] = ()) -> int:
        value = self._get(key)
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(key, "must be a whole number")
        if above is not None and value <= above:
            self.refuse(key, f"must be above {above}")
        if one_of and value not in one_of:
            self.refuse(key, f"must be one of {', '.join(map(str, one_of))}")
        return value

    def vector(self, key: str, size: int, above: float | None = None) -> Array:
        value = self._get(key)
        numbers = isinstance(value, list) and all(
            isinstance(item, (int, float)) and not isinstance(item, bool) and np.isfinite(item) for item in value
        )
        if not numbers:
            self.refuse(key, "must be a list of finite numbers")
        if len(value) != size:
            self.refuse(key, f"must have {size} entries")
        if above is not None and min(value) <= above:
            self.refuse(key, f"must be above {above:g} everywhere")
        return np.asarray(value, np.float32)

    def ordered(self, low_key: str, low: Array, high_key: str, high: Array) -> None:
        """Refuse limits that are the wrong way round."""
        for index in np.flatnonzero(low >= high):
            self.refuse(low_key, f"is not below {high_key} = {self._raw[high_key]!r} at index {index}")

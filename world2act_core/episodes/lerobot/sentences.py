"""``tasks.parquet`` and ``subtasks.parquet``: sentences and their indices."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from world2act_core.episodes.lerobot.layout import replace_file
from world2act_core.episodes.lerobot.tables import UNREADABLE
from world2act_core.errors import World2ActError


class Sentences:
    """Sentences in the order in which they first occurred.

    Args:
        path: of the parquet file; read if it exists.
        column: ``task`` or ``subtask``.
    """

    def __init__(self, path: Path, column: str) -> None:
        self.path, self._column = path, column
        self.index: dict[str, int] = {}
        if path.exists():
            self.index = {text: number for number, text in enumerate(read_sentences(path, column))}
        self._stored = len(self.index)

    def __len__(self) -> int:
        return len(self.index)

    def add(self, sentence: str) -> int:
        """Index of a sentence, a new one if it is new."""
        return self.index.setdefault(sentence, len(self.index))

    def save(self) -> None:
        """Write the file if something was added."""
        if len(self.index) > self._stored or not self.path.exists():
            table = _with_pandas_index(
                pa.table({f"{self._column}_index": list(self.index.values()), self._column: list(self.index)}),
                self._column,
            )
            replace_file(self.path, lambda target: pq.write_table(table, target, write_page_checksum=True))
            self._stored = len(self.index)


def read_sentences(path: Path, column: str) -> list[str]:
    """Sentences by index.

    Raises:
        World2ActError: the file is missing or damaged, or has other columns.
    """
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        # pandas keeps an index without a name in a column of its own naming.
        texts = next((name for name in (column, "__index_level_0__") if name in table.column_names), None)
        if texts is None or f"{column}_index" not in table.column_names:
            raise World2ActError(f"{path} has columns {table.column_names}, expected {column} and {column}_index")
        pairs = sorted(zip(table[f"{column}_index"].to_pylist(), table[texts].to_pylist(), strict=True))
    except UNREADABLE as error:
        raise World2ActError(f"{path} cannot be read: {error}") from error
    if [number for number, _ in pairs] != list(range(len(pairs))):
        raise World2ActError(f"{path}: {column}_index does not count from 0 without a gap")
    return [text for _, text in pairs]


def _with_pandas_index(table: pa.Table, column: str) -> pa.Table:
    """LeRobot reads sentences as the index of a pandas frame, which parquet keeps as a note to pandas."""
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, kind, numpy in ((f"{column}_index", "int64", "int64"), (column, "unicode", "object"))
    ]
    note = {"index_columns": [column], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
    return table.replace_schema_metadata({"pandas": json.dumps(note)})

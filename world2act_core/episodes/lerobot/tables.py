"""Rows of data files: those of one episode, whatever else the file holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from world2act_core.errors import World2ActError
from world2act_core.types import Array

UNREADABLE = (OSError, ValueError, pa.ArrowException)
"""What pyarrow raises on damaged files; a column's name that is no UTF-8 is a ValueError."""


def matrix(column: pa.ChunkedArray) -> Array:
    """A column of numbers or of equally long lists as ``(N, D)``; a plain number counts as D = 1.

    Raises:
        World2ActError: it holds nulls, or lists of different lengths.
    """
    flat = column
    while pa.types.is_list(flat.type) or pa.types.is_fixed_size_list(flat.type) or pa.types.is_large_list(flat.type):
        flat = pc.list_flatten(flat)
    if column.null_count or flat.null_count or not len(column) or len(flat) % len(column):
        raise World2ActError("it has rows without a value, or of different lengths")
    if flat is not column and len(pc.unique(pc.list_value_length(column))) != 1:
        raise World2ActError("its rows have different lengths")
    return np.asarray(flat.to_numpy()).reshape(len(column), -1)


class DataFile:
    """One parquet file of rows. The row group read last is kept: others' files may hold many episodes in one.

    Raises:
        World2ActError: the file is missing or damaged; names it.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self._columns = path, list(columns)
        try:
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
            missing = [name for name in self._columns if name not in self._file.schema_arrow.names]
            if missing:
                raise World2ActError(f"{path} has no column {missing[0]}, though info.json says so")
            self._spans = _episode_spans(self._file.metadata)
        except UNREADABLE as error:
            raise World2ActError(f"{path} cannot be read: {error}") from error
        self._group = -1
        self._table: pa.Table = pa.table({})

    def rows(self, episode_index: int) -> pa.Table:
        """The rows of an episode, in order; an empty table if it has none here."""
        groups = [group for group, (first, last) in enumerate(self._spans) if first <= episode_index <= last]
        parts = [self._rows_of(group, episode_index) for group in groups]
        return pa.concat_tables(parts) if parts else pa.table({name: [] for name in self._columns})

    def _rows_of(self, group: int, episode_index: int) -> pa.Table:
        if group != self._group:
            try:
                self._table = self._file.read_row_group(group, columns=self._columns)
            except UNREADABLE as error:
                raise World2ActError(f"{self.path}: row group {group} cannot be read: {error}") from error
            self._group = group
        return self._table.filter(pc.equal(self._table["episode_index"], episode_index))


def _episode_spans(metadata: pq.FileMetaData) -> list[tuple[float, float]]:
    """First and last episode that each row group may hold, by the statistics that parquet keeps of a column."""
    leaf = [metadata.schema.column(number).path for number in range(metadata.num_columns)].index("episode_index")
    spans = []
    for group in range(metadata.num_row_groups):
        kept = metadata.row_group(group).column(leaf).statistics
        known = kept is not None and kept.has_min_max
        spans.append((kept.min, kept.max) if known else (-np.inf, np.inf))
    return spans

"""Parquet files whose rows are in the order of their ids, read by ranges of these: of a large table, some rows are in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

LOWEST, HIGHEST = -(2**63), 2**63 - 1


class Group(NamedTuple):
    """A stretch of rows: the lowest and the highest id, and how many there are."""

    low: int
    high: int
    rows: int


class Sorted:
    """Rows in the order of their ids, on disk or in memory.

    Parameters
    ----------
    rows
        A Parquet file with statistics of its key, or a table.
    key
        The column of ids, whole numbers.
    """

    def __init__(self, rows: pq.ParquetFile | pa.Table, key: str) -> None:
        self._rows = rows
        self._key = key
        self._held: tuple[int, pa.Table] | None = None
        self._only: tuple[str, pa.Array] | None = None
        self.schema: pa.Schema = rows.schema if isinstance(rows, pa.Table) else rows.schema_arrow
        self.groups = list(self._grouped())

    @property
    def span(self) -> tuple[int, int]:
        """The lowest and the highest id; the other way round where there are no rows."""
        return min((group.low for group in self.groups), default=HIGHEST), max((group.high for group in self.groups), default=LOWEST)

    def only(self, column: str, values: pa.Array) -> Sorted:
        """These rows, without those that have something else in a column."""
        some = Sorted(self._rows, self._key)
        some._only = column, values
        return some

    def _grouped(self) -> Iterator[Group]:
        if isinstance(self._rows, pa.Table):
            if self._rows.num_rows:
                ids = self._rows[self._key]
                yield Group(ids[0].as_py(), ids[-1].as_py(), self._rows.num_rows)
            return
        for number in range(self._rows.num_row_groups):
            told = self._rows.metadata.row_group(number)
            if told.num_rows:
                columns = (told.column(place) for place in range(told.num_columns))
                statistics = next(column.statistics for column in columns if column.path_in_schema == self._key)
                yield Group(statistics.min, statistics.max, told.num_rows)

    def between(self, low: int, high: int) -> pa.Table:
        """The rows whose ids are from `low` to `high`."""
        found = []
        for number, group in enumerate(self.groups):
            if group.low <= high and group.high >= low:
                rows = self._group(number)
                ids = rows[self._key]
                inside = low <= group.low and group.high <= high
                if group.high <= high:
                    self._held = None
                found.append(rows if inside else rows.filter(pc.and_(pc.greater_equal(ids, low), pc.less_equal(ids, high))))
        return pa.concat_tables(found) if found else self.schema.empty_table()

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of all rows; one that it lacks is left out."""
        columns = [name for name in columns if name in self.schema.names]
        held = columns if self._only is None else [*dict.fromkeys([*columns, self._only[0]])]
        rows = self._rows.select(held) if isinstance(self._rows, pa.Table) else self._rows.read(held, use_threads=False)
        return self._chosen(rows).select(columns)

    def _group(self, number: int) -> pa.Table:
        if isinstance(self._rows, pa.Table):
            return self._chosen(self._rows)
        # Ranges are taken in their order: the group where one ends is the one where the next begins.
        if self._held is None or self._held[0] != number:
            # In this thread: memory that others take is given back late.
            self._held = number, self._chosen(self._rows.read_row_group(number, use_threads=False))
        return self._held[1]

    def _chosen(self, rows: pa.Table) -> pa.Table:
        return rows if self._only is None else rows.filter(pc.is_in(rows[self._only[0]], value_set=self._only[1]))


def cuts(stores: Sequence[Sorted], rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of ids that hold about so many rows each, and all ids together."""
    low, held = LOWEST, 0
    for group in sorted(group for store in stores for group in store.groups):
        if held >= rows and group.low > low:
            yield low, group.low - 1
            low, held = group.low, 0
        held += group.rows
    yield low, HIGHEST

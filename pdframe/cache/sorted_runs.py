"""Read rows that are sorted by id, one range of ids at a time.

A table that does not fit into memory is merged range by range: rows come in groups (row groups of a
Parquet file, batches of an Arrow file), and only the groups that a range touches are in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pdframe._files import unknown_form
from pdframe.errors import CacheError

__all__ = [
    "HIGHEST",
    "LOWEST",
    "Group",
    "InArrow",
    "InMemory",
    "InParquet",
    "RunSource",
    "SortedRun",
    "split_key_ranges",
]

LOWEST, HIGHEST = -(2**63), 2**63 - 1
# In this thread: memory that other threads take is given back late.
_ONE_THREAD = {"use_threads": False}


class Group(NamedTuple):
    """Neighbouring rows: their lowest and highest id, and their number."""

    low: int
    high: int
    rows: int


# A group that no range touches.
NO_ROWS = Group(HIGHEST, LOWEST, 0)


def _group(ids: pa.Array | pa.ChunkedArray) -> Group:
    return Group(ids[0].as_py(), ids[-1].as_py(), len(ids)) if len(ids) else NO_ROWS


class RunSource(Protocol):
    """Sorted rows in groups."""

    @property
    def schema(self) -> pa.Schema:
        """Columns of the rows."""

    def groups(self, key: str) -> Iterator[Group]:
        """Yield all groups, also those without rows; `key` is the column of ids."""

    def group(self, number: int) -> pa.Table:
        """Return the rows of one group."""

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of all rows."""


class InMemory:
    """A table in groups of `group_rows` rows; None: one group."""

    def __init__(self, rows: pa.Table, group_rows: int | None = None) -> None:
        self._rows = rows
        self._group_rows = group_rows or max(1, rows.num_rows)
        self.schema: pa.Schema = rows.schema

    def groups(self, key: str) -> Iterator[Group]:
        """Yield the groups."""
        for number in range(max(1, -(-self._rows.num_rows // self._group_rows))):
            yield _group(self.group(number)[key])

    def group(self, number: int) -> pa.Table:
        """Return the rows of one group."""
        return self._rows.slice(number * self._group_rows, self._group_rows)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of all rows."""
        return self._rows.select(columns)


class InParquet:
    """A Parquet file with statistics of its key: its row groups.

    It is open only while it is read: a table can have more parts than a process can open files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with pq.ParquetFile(path) as file:
            self._metadata = file.metadata
            self.schema: pa.Schema = file.schema_arrow

    @contextlib.contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(self._path, metadata=self._metadata) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise CacheError(
                    f"The cached file {self._path} cannot be read: {error.strerror}."
                ) from error
            raise unknown_form(self._path, error) from error

    def groups(self, key: str) -> Iterator[Group]:
        """Yield the row groups, from the statistics of the file."""
        for number in range(self._metadata.num_row_groups):
            reported = self._metadata.row_group(number)
            columns = (reported.column(place) for place in range(reported.num_columns))
            statistics = next(
                column.statistics for column in columns if column.path_in_schema == key
            )
            yield (
                Group(statistics.min, statistics.max, reported.num_rows)
                if reported.num_rows
                else NO_ROWS
            )

    def group(self, number: int) -> pa.Table:
        """Return the rows of a row group."""
        with self._opened() as file:
            return file.read_row_group(number, **_ONE_THREAD)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of all row groups."""
        with self._opened() as file:
            return file.read(columns, **_ONE_THREAD)

    def read_some(self, columns: Sequence[str]) -> pa.Table:
        """Return those of some columns that the file has."""
        return self.read([name for name in columns if name in self.schema.names])


class InArrow:
    """An Arrow file: its batches.

    Its metadata is smaller than that of Parquet, which matters with many files of many columns, and
    it reads faster.
    """

    def __init__(self, path: Path) -> None:
        self._file = pa.OSFile(str(path))
        self._batches = self._open()
        self.schema: pa.Schema = self._batches.schema

    def _open(self, columns: Sequence[str] | None = None) -> pa.ipc.RecordBatchFileReader:
        fields = (
            None if columns is None else [self.schema.get_field_index(name) for name in columns]
        )
        return pa.ipc.open_file(
            self._file, options=pa.ipc.IpcReadOptions(included_fields=fields, **_ONE_THREAD)
        )

    def groups(self, key: str) -> Iterator[Group]:
        """Yield the batches."""
        keys = self._open([key])
        for number in range(keys.num_record_batches):
            yield _group(keys.get_batch(number)[key])

    def group(self, number: int) -> pa.Table:
        """Return the rows of a batch."""
        return pa.Table.from_batches([self._batches.get_batch(number)])

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of all batches."""
        return self._open(columns).read_all().select(columns)


class SortedRun:
    """Rows that are sorted by id, on disk or in memory. Ranges must be read in ascending order.

    Parameters
    ----------
    rows
        The rows in groups.
    key
        The column of ids, whole numbers.
    """

    def __init__(self, rows: RunSource, key: str) -> None:
        self._rows = rows
        self._key = key
        self._kept: tuple[int, pa.Table] | None = None
        self._only: tuple[str, pa.Array] | None = None
        self.schema = rows.schema
        self.groups = list(rows.groups(key))

    @property
    def span(self) -> tuple[int, int]:
        """The lowest and the highest id; reversed where there are no rows."""
        return min((group.low for group in self.groups), default=HIGHEST), max(
            (group.high for group in self.groups), default=LOWEST
        )

    def only(self, column: str, values: pa.Array) -> SortedRun:
        """Return the run without the rows that have another value in a column."""
        some = SortedRun(self._rows, self._key)
        some._only = column, values
        return some

    def between(self, low: int, high: int) -> pa.Table:
        """Return the rows whose ids are from `low` to `high`."""
        result = []
        for number, group in enumerate(self.groups):
            if group.low <= high and group.high >= low:
                rows = self._group(number)
                ids = rows[self._key]
                inside = low <= group.low and group.high <= high
                if group.high <= high:
                    self._kept = None
                result.append(
                    rows
                    if inside
                    else rows.filter(pc.and_(pc.greater_equal(ids, low), pc.less_equal(ids, high)))
                )
        return pa.concat_tables(result) if result else self.schema.empty_table()

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Return some columns of all rows; a column that is missing is left out."""
        columns = [name for name in columns if name in self.schema.names]
        kept = columns if self._only is None else [*dict.fromkeys([*columns, self._only[0]])]
        return self._chosen(self._rows.read(kept)).select(columns)

    def _group(self, number: int) -> pa.Table:
        # Ranges ascend: the group in which one ends is the group in which the next begins.
        if self._kept is None or self._kept[0] != number:
            self._kept = number, self._chosen(self._rows.group(number))
        return self._kept[1]

    def _chosen(self, rows: pa.Table) -> pa.Table:
        return (
            rows
            if self._only is None
            else rows.filter(pc.is_in(rows[self._only[0]], value_set=self._only[1]))
        )


def split_key_ranges(runs: Sequence[SortedRun], rows: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of about `rows` rows that cover all ids, in ascending order."""
    low, count = LOWEST, 0
    for group in sorted(group for run in runs for group in run.groups if group.rows):
        if count >= rows and group.low > low:
            yield low, group.low - 1
            low, count = group.low, 0
        count += group.rows
    yield low, HIGHEST

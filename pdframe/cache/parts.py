"""The files of a cached table: its manifest, and its Parquet parts.

A manifest says which part files are the table, how fresh it is, and what it cost. It is a small
JSON file with a checksum of its content, replaced in one step after its parts are on disk, so a
table is always the old one or the new one. A part that no manifest names does not count.

`Stored` verifies the parts of a table and decodes columns on demand. `SortedRun` reads rows that
are sorted by id one range of ids at a time: a table that does not fit into memory is merged range
by range. Rows come in groups (row groups of a Parquet file, batches of an Arrow file), and only the
groups that a range touches are in memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pdframe._files import WRITTEN_BY, Part, refuse_broken_link, seal, unknown_form, unseal
from pdframe.errors import CacheError, DamagedError

__all__ = [
    "FORMAT",
    "HIGHEST",
    "LOWEST",
    "Group",
    "InArrow",
    "InMemory",
    "InParquet",
    "Manifest",
    "RunSource",
    "SortedRun",
    "Stored",
    "damaged",
    "from_json",
    "newest_rows",
    "open_part",
    "read_error",
    "release_memory",
    "split_key_ranges",
    "to_json",
    "use_system_memory",
]

# Arrow takes some memory from the pool that it began with, whichever is chosen later.
_FIRST_POOL = pa.default_memory_pool()
COLUMNS_READ_AHEAD = 4
# Files of fewer rows each are not asked which columns have no value.
MIN_ROWS_OF_A_FILE = 1_000
# A table of that many rows gives memory back between two reads.
RELEASE_BETWEEN_READS_ROWS = 50_000
# With more small parts than this, all columns are read at once.
MANY_SMALL_PARTS = 100
ROWS_READ_TOGETHER = 50_000
# These errors mean that the file is not what was written; any other may be one of this machine.
_DAMAGE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ELOOP})


def use_system_memory() -> None:
    """Let Arrow take its memory from glibc, where that is the C library, unless the environment
    names an allocator.

    Arrow's own allocator keeps much of what was freed: with it, a first load of 100,000 deals took
    40 MB more at its peak. Buffers that exist stay where they are.
    """
    is_glibc = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {})
    if is_glibc and "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
        pa.set_memory_pool(pa.system_memory_pool())


def release_memory() -> None:
    """Return memory that a large table used: Arrow and glibc keep it for later otherwise."""
    for pool in (pa.default_memory_pool(), _FIRST_POOL):
        pool.release_unused()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def open_part(path: Path, part: Part, table: str, cache_dir: Path) -> pq.ParquetFile:
    """Read a part into memory, verify its size and checksum, and open it.

    Raises
    ------
    DamagedError
        The file is missing or is not what was written.
    NewerCacheError
        The file is what was written, and pyarrow cannot read it.
    CacheError
        This machine does not let the file be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise read_error(path, error, table, cache_dir) from error
    if len(raw) != part.bytes:
        raise damaged(path, f"it has {len(raw):,} bytes, and {part.bytes:,} were written", table)
    if zlib.crc32(raw) != part.crc32:
        raise damaged(path, "its bytes are not those that were written", table)
    try:
        return pq.ParquetFile(pa.BufferReader(raw))
    except (pa.ArrowException, OSError) as error:
        raise unknown_form(path, error) from error


def read_error(path: Path, error: Exception, table: str, cache_dir: Path) -> CacheError:
    """Return the error to raise for a file that cannot be read.

    A file that is missing, is no file, or is lost to the disk is damaged. A file that this machine
    does not let be read may be intact.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOENT, errno.ELOOP):
        refuse_broken_link(path, cache_dir)
    if number is None or number in _DAMAGE:
        why = getattr(error, "strerror", None) or "it is not the Parquet file that was written"
        return damaged(path, why, table)
    return CacheError(
        f"The cached file {path} cannot be read: {os.strerror(number)}. Make it readable, or choose"
        " another cache_dir."
    )


def damaged(path: Path, why: str, table: str) -> DamagedError:
    """Return the error for a file that is not what was written."""
    return DamagedError(
        f"The cached file {path} cannot be trusted: {why}. The CRM is untouched and no other table"
        f" is affected. Load the table again: account.sync({table!r}, full=True), or its loader"
        " without refresh=False.",
        table=table,
    )


class Stored:
    """A cached table whose files are verified. Columns that no reader takes stay compressed.

    Parameters
    ----------
    table
        Its name.
    parts
        Its part files, in order. All have the same columns, or the later ones more. Columns that
        differ in type between parts can only be read by `parts`.
    small
        Runs of small neighbours, as places in `parts`: each is read as if it were one part.
    """

    def __init__(
        self,
        table: str,
        parts: Sequence[tuple[Path, pq.ParquetFile]],
        small: Sequence[range] = (),
    ) -> None:
        self._table = table
        self._schemas = [file.schema_arrow for _, file in parts]
        self._folder = parts[0][0].parent if parts else Path(table)
        # The parts of each run of small ones that have the same columns and few rows, together.
        self._groups: list[list[tuple[Path, pq.ParquetFile]]] = []
        run_of, rows = {place: number for number, run in enumerate(small) for place in run}, 0
        for place, part in enumerate(parts):
            rows += part[1].metadata.num_rows
            is_neighbour = place and place in run_of and run_of[place] == run_of.get(place - 1)
            if (
                is_neighbour
                and rows <= ROWS_READ_TOGETHER
                and self._schemas[place].equals(self._schemas[place - 1], check_metadata=True)
            ):
                self._groups[-1].append(part)
            else:
                self._groups.append([part])
                rows = part[1].metadata.num_rows
        self._has_many_small = sum(map(len, small)) > MANY_SMALL_PARTS
        self.num_rows = sum(file.metadata.num_rows for _, file in parts)
        # What was read last, and the place of the column that a reader in order takes next.
        self._block, self._next = pa.table({}), -1

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        schemas = [*dict.fromkeys(self._schemas)]
        try:
            return schemas[0] if len(schemas) == 1 else pa.unify_schemas(schemas)
        except pa.ArrowException as error:
            raise unknown_form(self._folder, error) from error

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        """Return a column. A reader that takes columns in order gets the next ones read ahead."""
        names = self.schema.names
        place = names.index(name)
        follows, self._next = place == self._next, place + 1
        if follows and name in self._without_values:
            return pa.chunked_array([pa.nulls(self.num_rows, self.schema.field(name).type)])
        if name not in self._block.column_names:
            wanted = [name]
            if follows:
                ahead = [one for one in names[place:] if one not in self._without_values]
                # Opening the pages of a column in many small parts costs more than reading them.
                wanted = ahead if self._has_many_small else ahead[:COLUMNS_READ_AHEAD]
            if self.num_rows >= RELEASE_BETWEEN_READS_ROWS:
                _FIRST_POOL.release_unused()
            self._block = self.read(wanted)
        return self._block[name]

    @cached_property
    def _without_values(self) -> frozenset[str]:
        """Columns of which every file says that all cells are null: they need not be read."""
        if self.num_rows < MIN_ROWS_OF_A_FILE * sum(map(len, self._groups)):
            # Asking small files costs more than reading them.
            return frozenset()
        unread = set(self.schema.names)
        for _, file in chain.from_iterable(self._groups):
            metadata, names = file.metadata, file.schema_arrow.names
            paths = [metadata.schema.column(place).path for place in range(metadata.num_columns)]
            # Of lists and objects nulls are not counted as cells; their paths are not their names.
            places = (
                {path: place for place, path in enumerate(paths)}
                if len(set(paths)) == len(paths)
                else {}
            )
            groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
            for name in unread.intersection(names):
                columns = [group.column(places[name]) for group in groups if name in places]
                known = [column.statistics for column in columns if column.statistics is not None]
                null = [one for one in known if one.has_null_count and not one.num_values]
                if len(null) < len(groups):
                    unread.discard(name)
        return frozenset(unread)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return columns (None: all) as a table, in the order of the schema."""
        try:
            rows = list(self.parts(columns))
            return pa.concat_tables(rows, promote_options="default")
        except pa.ArrowException as error:
            raise unknown_form(self._folder, error) from error

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield columns part by part, small neighbours together; None: all that a part has.

        In this thread: others would read little faster, and memory that they take is given back
        late.
        """
        wanted = None if columns is None else list(columns)
        for group in self._groups:
            rows = []
            for path, file in group:
                try:
                    rows.append(file.read(wanted, **_ONE_THREAD))
                except (pa.ArrowException, OSError) as error:
                    raise unknown_form(path, error) from error
            yield rows[0] if len(rows) == 1 else pa.concat_tables(rows).combine_chunks()


FORMAT = 2


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the cache holds of one table.

    Times are aware and in UTC. `synced_at` is this machine's clock at the last sync of the table,
    `full_at` the same at the last full load, `server_time` the server's clock at the last sync (of
    a load that was resumed: at its first page). `server_clock` is the newest `Date` of an answer,
    and this machine's clock at that answer.
    `state` is what the next sync must know: for each list that the API can filter by change, the
    watermark, which is the newest `update_time` up to which the list is complete. `tokens` is what
    the last sync cost.
    """

    table: str
    parts: tuple[Part, ...]
    rows: int
    synced_at: datetime
    full_at: datetime
    server_time: datetime | None = None
    state: Mapping[str, str] = field(default_factory=dict)
    tokens: int = 0
    next_part: int = 1
    server_clock: tuple[datetime, datetime] | None = None

    @property
    def bytes(self) -> int:
        """Size of the table's Parquet files."""
        return sum(part.bytes for part in self.parts)


def to_json(manifest: Manifest) -> bytes:
    """Return the manifest as JSON with a checksum."""
    server_time = manifest.server_time
    parts = [
        {"file": part.file, "rows": part.rows, "bytes": part.bytes, "crc32": part.crc32}
        for part in manifest.parts
    ]
    return seal(
        {
            "format": FORMAT,
            # The package imports this module, so this module cannot import the package.
            WRITTEN_BY: sys.modules["pdframe"].__version__,
            "table": manifest.table,
            "rows": manifest.rows,
            "synced_at": manifest.synced_at.isoformat(),
            "full_at": manifest.full_at.isoformat(),
            "server_time": server_time.isoformat() if server_time else None,
            "server_clock": [time.isoformat() for time in manifest.server_clock or ()],
            "state": dict(manifest.state),
            "tokens": manifest.tokens,
            "next_part": manifest.next_part,
            "parts": parts,
        }
    )


def from_json(content: bytes, table: str) -> Manifest:
    """Read a manifest of `table`; raise `ValueError` where it is not what pdframe wrote."""
    raw = unseal(content)
    try:
        if raw["format"] != FORMAT or raw["table"] != table:
            raise ValueError("another format or table")
        parts = tuple(
            Part(str(part["file"]), int(part["rows"]), int(part["bytes"]), int(part["crc32"]))
            for part in raw["parts"]
        )
        if not parts or any(Path(part.file).name != part.file for part in parts):
            raise ValueError("parts outside the table's folder")
        server_time = raw["server_time"]
        # Earlier versions did not write it.
        clock = [datetime.fromisoformat(time) for time in raw.get("server_clock", ())]
        return Manifest(
            table=table,
            parts=parts,
            rows=int(raw["rows"]),
            synced_at=datetime.fromisoformat(raw["synced_at"]),
            full_at=datetime.fromisoformat(raw["full_at"]),
            server_time=datetime.fromisoformat(server_time) if server_time else None,
            state={str(name): str(value) for name, value in raw["state"].items()},
            tokens=int(raw["tokens"]),
            next_part=int(raw["next_part"]),
            server_clock=(clock[0], clock[1]) if len(clock) == 2 else None,
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError("a value is missing or has another type") from error


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

    def read(self, columns: Sequence[str] | None = None, group: int | None = None) -> pa.Table:
        """Return some columns (None: all) of one group (None: of all rows); a column that is
        missing is left out.
        """


class InMemory:
    """A table in groups of `group_rows` rows; None: one group."""

    def __init__(self, rows: pa.Table, group_rows: int | None = None) -> None:
        self._rows = rows
        self._group_rows = group_rows or max(1, rows.num_rows)
        self.schema: pa.Schema = rows.schema

    def groups(self, key: str) -> Iterator[Group]:
        """Yield the groups."""
        for number in range(max(1, -(-self._rows.num_rows // self._group_rows))):
            yield _group(self.read([key], number)[key])

    def read(self, columns: Sequence[str] | None = None, group: int | None = None) -> pa.Table:
        """Return rows."""
        size = self._group_rows
        rows = self._rows if group is None else self._rows.slice(group * size, size)
        names = self.schema.names
        return rows.select(names if columns is None else [one for one in columns if one in names])


class InParquet:
    """A Parquet file with statistics of its key: its row groups.

    It is open only while it is read: a table can have more parts than a process can open files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with pq.ParquetFile(path) as file:
            self._metadata = file.metadata
            self.schema: pa.Schema = file.schema_arrow

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

    def read(self, columns: Sequence[str] | None = None, group: int | None = None) -> pa.Table:
        """Return rows."""
        names = self.schema.names
        chosen = names if columns is None else [name for name in columns if name in names]
        try:
            with pq.ParquetFile(self._path, metadata=self._metadata) as file:
                if group is None:
                    return file.read(chosen, **_ONE_THREAD)
                return file.read_row_group(group, chosen, **_ONE_THREAD)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise CacheError(
                    f"The cached file {self._path} cannot be read: {error.strerror}."
                ) from error
            raise unknown_form(self._path, error) from error


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

    def read(self, columns: Sequence[str] | None = None, group: int | None = None) -> pa.Table:
        """Return rows."""
        names = self.schema.names
        chosen = names if columns is None else [name for name in columns if name in names]
        if group is None:
            return self._open(chosen).read_all().select(chosen)
        return pa.Table.from_batches([self._batches.get_batch(group)]).select(chosen)


class _Filtered:
    """Rows of another source without those that have another value in a column."""

    def __init__(self, rows: RunSource, column: str, values: pa.Array) -> None:
        self._rows, self._column, self._values = rows, column, values
        self.schema: pa.Schema = rows.schema

    def groups(self, key: str) -> Iterator[Group]:
        """Yield the groups as they are without the filter."""
        return self._rows.groups(key)

    def read(self, columns: Sequence[str] | None = None, group: int | None = None) -> pa.Table:
        """Return rows."""
        names = self.schema.names
        chosen = names if columns is None else [name for name in columns if name in names]
        rows = self._rows.read([*dict.fromkeys([*chosen, self._column])], group)
        return rows.filter(pc.is_in(rows[self._column], value_set=self._values)).select(chosen)


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
        self.rows = rows
        self._key = key
        self._kept: tuple[int, pa.Table] | None = None
        self.schema = rows.schema
        self.groups = list(rows.groups(key))
        # The lowest and the highest id; reversed where there are no rows.
        self.span = (
            min((group.low for group in self.groups), default=HIGHEST),
            max((group.high for group in self.groups), default=LOWEST),
        )

    def only(self, column: str, values: pa.Array) -> SortedRun:
        """Return the run without the rows that have another value in a column."""
        return SortedRun(_Filtered(self.rows, column, values), self._key)

    def between(self, low: int, high: int) -> pa.Table:
        """Return the rows whose ids are from `low` to `high`."""
        result = []
        for number, group in enumerate(self.groups):
            if group.low <= high and group.high >= low:
                # Ranges ascend: the group in which one ends is the group in which the next begins.
                if self._kept is None or self._kept[0] != number:
                    self._kept = number, self.rows.read(group=number)
                rows = self._kept[1]
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


def split_key_ranges(runs: Sequence[SortedRun], rows: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of about `rows` rows that cover all ids, in ascending order."""
    low, count = LOWEST, 0
    for group in sorted(group for run in runs for group in run.groups if group.rows):
        if count >= rows and group.low > low:
            yield low, group.low - 1
            low, count = group.low, 0
        count += group.rows
    yield low, HIGHEST


def newest_rows(rows: pa.Table, key: str) -> pa.Table:
    """Return one row a key, the last one: by key where keys are whole numbers, else in the order of
    the rows.
    """
    if not pa.types.is_integer(rows.schema.field(key).type):
        repeated = pd.Index(rows[key].to_pandas()).duplicated(keep="last")
        return rows.filter(pa.array(~repeated)) if repeated.any() else rows
    ids = rows[key].to_numpy()
    if len(ids) < 2 or bool(np.all(ids[1:] > ids[:-1])):
        return rows
    # One copy: there may be many rows.
    by_key = np.argsort(ids, kind="stable")
    ids = ids[by_key]
    return rows.take(by_key[np.append(ids[1:] != ids[:-1], True)])

"""Read the Parquet parts of a table: verify each file, then decode columns on demand."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pdframe._files import Part, refuse_broken_link, unknown_form
from pdframe.errors import CacheError, DamagedError

__all__ = ["Stored", "damaged", "open_part", "read_columns", "read_error"]

COLUMNS_READ_AHEAD = 8
# A table of that many rows gives memory back between two reads.
RELEASE_ROWS = 50_000
# With more small parts than this, all columns are read at once.
MANY_SMALL_PARTS = 100
ROWS_READ_TOGETHER = 50_000
# These errors mean that the file is not what was written; any other may be one of this machine.
_DAMAGE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ELOOP})


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


def read_columns(
    path: Path,
    file: pq.ParquetFile,
    columns: list[str] | None = None,
) -> pa.Table:
    """Read columns (None: all) of a verified part."""
    # In this thread: memory that other threads take is given back late.
    try:
        return file.read(columns, use_threads=False)
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
        self._groups = _grouped(parts, self._schemas, small)
        self._has_many_small = sum(map(len, small)) > MANY_SMALL_PARTS
        self.num_rows = sum(file.metadata.num_rows for _, file in parts)
        self._block = pa.table({})

    @cached_property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        schemas = [*dict.fromkeys(self._schemas)]
        try:
            return schemas[0] if len(schemas) == 1 else pa.unify_schemas(schemas)
        except pa.ArrowException as error:
            raise unknown_form(self._folder, error) from error

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {name: place for place, name in enumerate(self.schema.names)}

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        """Return a column. A reader that takes columns in order gets the next ones read ahead."""
        block = self._block.column_names
        if name not in block:
            place = self._places[name]
            # Opening the pages of a column in many small parts costs more than reading them.
            ahead = len(self._places) if self._has_many_small else COLUMNS_READ_AHEAD
            count = ahead if block and self._places[block[-1]] + 1 == place else 1
            if self.num_rows >= RELEASE_ROWS:
                pa.default_memory_pool().release_unused()
            self._block = self.read(self.schema.names[place : place + count])
        return self._block[name]

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return columns (None: all) as a table, in the order of the schema."""
        try:
            return pa.concat_tables(list(self.parts(columns)), promote_options="default")
        except pa.ArrowException as error:
            raise unknown_form(self._folder, error) from error

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield columns part by part, small neighbours together; None: all that a part has."""
        wanted = None if columns is None else list(columns)
        for group in self._groups:
            rows = [read_columns(path, file, wanted) for path, file in group]
            yield rows[0] if len(rows) == 1 else pa.concat_tables(rows).combine_chunks()


def _grouped(
    parts: Sequence[tuple[Path, pq.ParquetFile]],
    schemas: Sequence[pa.Schema],
    small: Sequence[range],
) -> list[list[tuple[Path, pq.ParquetFile]]]:
    """Group the parts of each run of small ones that have the same columns and few rows."""
    run_of = {place: number for number, run in enumerate(small) for place in run}
    groups: list[list[tuple[Path, pq.ParquetFile]]] = []
    rows = 0
    for place, part in enumerate(parts):
        rows += part[1].metadata.num_rows
        is_neighbour = place and place in run_of and run_of[place] == run_of.get(place - 1)
        if (
            is_neighbour
            and rows <= ROWS_READ_TOGETHER
            and schemas[place].equals(schemas[place - 1], check_metadata=True)
        ):
            groups[-1].append(part)
        else:
            groups.append([part])
            rows = part[1].metadata.num_rows
    return groups

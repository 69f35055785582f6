"""The Parquet cache of an account: one folder a table, with part files and a manifest.

Writing has two steps: `write_parts` puts Parquet files on disk, `publish` replaces the manifest
that names them and deletes the files that it no longer names. The manifest is replaced in one step:
a process that is killed leaves the old table or the new one, never half of one. Reading needs no
lock: a reader that misses a file reads the newer manifest and tries again. Writing needs the lock
of the account's folder, which the caller holds.

Each sync adds small parts to some tables: each snapshot of deals adds one to the snapshot log.
Opening a part costs about a millisecond, whatever is in it, so thousands of them cost seconds. The
rule to combine them is the one of log-structured stores. A part is small up to `small_part_rows`
rows and `small_part_bytes` bytes. Its level is the number of digits of its rows: 1 to 9 rows, 10 to
99, and so on. `parts_per_level` neighbours of one level become one part of a higher level; smaller
ones that lie between them join it. So a row is written again at most once a level, which is four
times, and a table has at most some 40 small parts beside its large ones. Only neighbours are
combined: the order of the rows stays the same.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pdframe._files import (
    TEMPORARY,
    LockHandle,
    Part,
    PartWriter,
    locked_file,
    make_private,
    refuse_broken_link,
    refuse_newer,
    sweep_temporary,
    write_atomic,
)
from pdframe.cache.options import DEFAULT_CACHE_OPTIONS, CacheOptions
from pdframe.cache.parts import (
    FORMAT,
    InParquet,
    Manifest,
    SortedRun,
    Stored,
    damaged,
    from_json,
    open_part,
    read_error,
    to_json,
    use_system_memory,
)
from pdframe.errors import CacheError, DamagedError, NewerCacheError, NotCachedError

__all__ = ["KEPT", "MANIFEST", "Manifest", "Store", "Stored", "compacted", "small_runs"]

KEPT = "What was cached before is kept."
ROWS_PER_PART = 200_000
MAX_READ_RETRIES = 20  # another process may keep replacing the table
MANIFEST = "manifest.json"
# An empty file in the folder of a table that was deleted because it was damaged.
DISCARDED = "discarded"
COPY = ".aside-"  # in the name of a quarantined copy
_FIRST = "part-000001.parquet"


class Store:
    """The cache of one account.

    Parameters
    ----------
    cache_dir
        The cache folder, which holds a folder for each account.
    key
        Name of the account's folder.
    options
        Sizes of the files.
    """

    def __init__(
        self, cache_dir: Path, key: str, options: CacheOptions = DEFAULT_CACHE_OPTIONS
    ) -> None:
        self.cache_dir = cache_dir
        self.options = options
        self.root = cache_dir / key

    def open(self) -> None:
        """Create the folders for this user alone, and delete what killed processes left.

        A cache that is readable and not writable stays unchanged.

        Raises
        ------
        NewerCacheError
            A newer version of pdframe wrote the cache. Nothing is changed then.
        CacheError
            The folders cannot be created, or are links whose target is missing.
        """
        use_system_memory()
        refuse_broken_link(self.root, self.cache_dir)
        self.readable_manifests()
        if self.is_read_only:
            return
        try:
            make_private(self.cache_dir)
            make_private(self.root)
            ignore = self.cache_dir / ".gitignore"
            if not ignore.exists():
                write_atomic(ignore, b"# Snapshots of a CRM are personal data.\n*\n")
            sweep_temporary(self.cache_dir.glob(f".*{TEMPORARY}"))
            sweep_temporary(self.root.rglob(f".*{TEMPORARY}"))
        except OSError as error:
            raise CacheError(
                f"The cache folder {self.root} cannot be created: {error.strerror}. Give another"
                " one with cache_dir=... or PDFRAME_CACHE_DIR."
            ) from error

    @property
    def is_read_only(self) -> bool:
        """Whether the account's folder exists and is not writable."""
        return os.path.isdir(self.root) and not os.access(self.root, os.W_OK | os.X_OK)

    @contextlib.contextmanager
    def lock(self) -> Iterator[LockHandle]:
        """Keep all other processes and threads from writing to this cache; wait while one does."""
        with contextlib.ExitStack() as locks:
            try:
                handle = locks.enter_context(locked_file(self.root / ".lock"))
            except OSError as error:
                raise CacheError(
                    f"The cache folder {self.root} cannot be locked: {error.strerror}. No request"
                    " was sent. Make it writable, give another one with cache_dir=..., or read what"
                    " is cached with refresh=False."
                ) from error
            yield handle

    # Manifests

    def tables(self) -> list[str]:
        """Return the names of the folders that hold a table, without quarantined copies."""
        try:
            names = sorted(path.name for path in self.root.iterdir() if COPY not in path.name)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CacheError(
                f"The cache folder {self.root} cannot be read: {error.strerror}. Make it readable,"
                " or give another one with cache_dir=... or PDFRAME_CACHE_DIR."
            ) from error
        return [name for name in names if os.path.lexists(self.root / name / MANIFEST)]

    def readable_manifests(self) -> list[Manifest]:
        """Return the manifests that can be read.

        Whoever reads a table reports what else is wrong with it.

        Raises
        ------
        NewerCacheError
            A newer version of pdframe wrote one of them.
        """
        manifests = []
        for table in self.tables():
            try:
                manifest = self.manifest(table)
            except NewerCacheError:
                raise
            except CacheError:
                continue
            manifests += [manifest] if manifest is not None else []
        return manifests

    def manifest(self, table: str) -> Manifest | None:
        """Return the manifest of `table`, None where nothing is cached.

        Raises
        ------
        DamagedError
            The manifest is not what was written.
        """
        path = self.root / table / MANIFEST
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            refuse_broken_link(path, self.cache_dir)
            return None
        except OSError as error:
            raise read_error(path, error, table, self.cache_dir) from error
        try:
            return from_json(content, table)
        except ValueError as error:
            refuse_newer(path, content, FORMAT)
            raise damaged(path, "it is not the manifest that was written", table) from error

    def has_copies(self) -> bool:
        """Return whether the cache has quarantined copies of tables."""
        return any(COPY in path.name for path in self.root.iterdir())

    def usable_manifest(self, table: str) -> Manifest | None:
        """Return the manifest of `table`; None where nothing is cached, or where it is damaged."""
        try:
            return self.manifest(table)
        except DamagedError:
            return None

    def stray_parts(self, table: str) -> list[Path]:
        """Return the part files of a table that has no manifest."""
        folder = self.root / table
        return [] if (folder / MANIFEST).exists() else sorted(folder.glob("part-*.parquet"))

    def check_not_lost(self, table: str) -> None:
        """Raise `DamagedError` where parts exist and the manifest that names them is missing.

        Call it for a table that cannot be collected again. The first part alone does not count: a
        process that was killed while it created the table leaves that.
        """
        if any(part.name > _FIRST for part in self.stray_parts(table)):
            raise damaged(self.root / table / MANIFEST, "its manifest is missing", table)

    # Reading

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the cached table as Arrow, with hashes and ids.

        Raises
        ------
        NotCachedError
            Nothing is cached of the table.
        DamagedError
            A file is missing, cut short or changed. The message says how to reload the table.
        CacheError
            This machine does not let a file be read.
        """
        return self.open_table(table).read(columns)

    def open_table(self, table: str) -> Stored:
        """Verify the cached table and return it; columns are read on demand. Raises as `read`."""
        manifest = self.manifest(table)
        if manifest is None:
            raise NotCachedError(
                f"Nothing is cached of {table!r}. Call the loader without refresh=False, or"
                f" account.sync({table!r})."
            )
        for _ in range(MAX_READ_RETRIES):
            try:
                return self._open_parts(manifest, manifest.parts)
            except DamagedError:
                # Another process may have replaced the table after this one read its manifest.
                newer = self.manifest(table)
                if newer is None or newer.parts == manifest.parts:
                    raise
                manifest = newer
        return self._open_parts(manifest, manifest.parts)

    def schema(self, table: str) -> pa.Schema:
        """Return the columns of the cached table without verifying its files.

        The schema is empty where nothing is cached, or a file cannot be read.
        """
        parts: tuple[Part, ...] = ()
        with contextlib.suppress(CacheError):
            while (manifest := self.manifest(table)) is not None and manifest.parts != parts:
                parts = manifest.parts
                # Where another process replaced the table, there is a newer manifest.
                with contextlib.suppress(OSError, pa.ArrowException):
                    files = [self.root / table / part.file for part in parts]
                    return pa.unify_schemas([pq.read_schema(file) for file in files])
        return pa.schema([])

    def sorted_parts(self, manifest: Manifest, key: str) -> list[tuple[Part, SortedRun]]:
        """Return the parts of a table that is sorted by `key`, to read by ranges of that key.

        The parts are not verified again.
        """
        runs = []
        for part in manifest.parts:
            path = self.root / manifest.table / part.file
            try:
                runs.append((part, SortedRun(InParquet(path), key)))
            except (pa.ArrowException, OSError) as error:
                raise read_error(path, error, manifest.table, self.cache_dir) from error
        return runs

    def read_parts(self, manifest: Manifest, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield some columns of a table part by part, without verifying the files again.

        A part leaves out the columns that it lacks.
        """
        for part in manifest.parts if columns else ():
            yield InParquet(self.root / manifest.table / part.file).read(columns)

    def is_damaged(self, table: str) -> bool:
        """Return whether a file of the cached table is not what was written."""
        try:
            self.check_not_lost(table)
            self.open_table(table)
        except NotCachedError:
            return False
        except DamagedError:
            return True
        return False

    def _open_parts(self, manifest: Manifest, parts: Sequence[Part]) -> Stored:
        paths = [self.root / manifest.table / part.file for part in parts]
        opened = [
            (path, open_part(path, part, manifest.table, self.cache_dir))
            for path, part in zip(paths, parts, strict=True)
        ]
        return Stored(manifest.table, opened, small_runs(parts, self.options))

    # Writing

    def write_parts(
        self,
        manifest: Manifest,
        tables: Iterable[pa.Table | Part],
        *,
        max_part_bytes: int | None = None,
    ) -> Manifest:
        """Write rows as part files of a table. They do not count before `publish`.

        Parameters
        ----------
        manifest
            The manifest that is to name the parts.
        tables
            Rows, or parts that are on disk already and stay unchanged.
        max_part_bytes
            Most bytes of rows in memory that go into one part; None: the option `part_bytes`.

        Returns
        -------
        Manifest
            The manifest with its parts and its number of rows.
        """
        folder, number = self.root / manifest.table, manifest.next_part
        max_part_bytes = max_part_bytes or self.options.part_bytes
        written_bytes = 0
        parts: list[Part] = []
        with (
            reported_write_errors(repr(manifest.table), folder, KEPT),
            contextlib.ExitStack() as files,
        ):
            make_private(folder)
            writer: PartWriter | None = None
            for table in tables:
                pieces: list[pa.Table | Part] = [table]
                if not isinstance(table, Part):
                    starts = range(0, max(table.num_rows, 1), ROWS_PER_PART)
                    pieces = [table.slice(start, ROWS_PER_PART) for start in starts]
                for piece in pieces:
                    size = 0 if isinstance(piece, Part) else piece.nbytes
                    if writer is not None and (
                        isinstance(piece, Part)
                        or written_bytes + size > max_part_bytes
                        or not _takes(writer, piece)
                    ):
                        files.close()
                        parts.append(writer.part)
                        writer = None
                    if isinstance(piece, Part):
                        parts.append(piece)
                        continue
                    if writer is None:
                        name = f"part-{number:06d}.parquet"
                        writer = files.enter_context(PartWriter(folder, name, piece.schema))
                        number, written_bytes = number + 1, 0
                    writer.add(piece)
                    written_bytes += size
            if writer is not None:
                files.close()
                parts.append(writer.part)
        if len(parts) > 1:
            parts = [part for part in parts if part.rows] or parts[:1]
        rows = sum(part.rows for part in parts)
        return replace(manifest, parts=tuple(parts), rows=rows, next_part=number)

    def publish(self, manifest: Manifest) -> Manifest:
        """Publish a manifest atomically, then delete part files that it does not reference."""
        folder = self.root / manifest.table
        with reported_write_errors(repr(manifest.table), folder, KEPT):
            write_atomic(folder / MANIFEST, to_json(manifest))
        named = {part.file for part in manifest.parts}
        for path in (*folder.glob("part-*.parquet"), *folder.glob(DISCARDED)):
            if path.name not in named:
                with contextlib.suppress(OSError):
                    path.unlink()
        return manifest

    def replace(self, manifest: Manifest, table: pa.Table) -> Manifest:
        """Replace the cached table by `table`; return the manifest as it is published."""
        return self.publish(self.write_parts(manifest, [table]))

    def begun(self, table: str, empty: pa.Table, now: datetime) -> Manifest:
        """Return the manifest of a table; where it is missing, publish the table without rows.

        A table that cannot be collected again has a manifest before it has rows: parts without one
        are damage.
        """
        manifest = self.manifest(table)
        if manifest is None:
            manifest = self.publish(self.write_parts(Manifest(table, (), 0, now, now), [empty]))
        return manifest

    def append(self, manifest: Manifest, table: pa.Table, *, synced_at: datetime) -> Manifest:
        """Add rows after those that are cached, in a part of their own.

        Where that makes too many small parts, they are compacted.
        """
        later = replace(manifest, synced_at=synced_at)
        return self.compact(self.publish(self.write_parts(later, [*manifest.parts, table])))

    def compact(self, manifest: Manifest) -> Manifest:
        """Combine the small parts of a table where there are too many; rows keep their order.

        Returns
        -------
        Manifest
            The manifest that is published now.
        """
        if not small_runs(manifest.parts, self.options):
            return manifest

        def read(part: Part) -> pa.Table:
            return self._open_parts(manifest, [part]).read()

        parts = compacted(manifest.parts, read, self.options)
        written = self.write_parts(manifest, parts, max_part_bytes=self.options.compacted_bytes)
        return manifest if written.parts == manifest.parts else self.publish(written)

    def prepare(self) -> None:
        """Compact all tables that have too many small parts, before a sync sends a request.

        A table with a part that cannot be read is left to the work on that table.

        Raises
        ------
        NewerCacheError
            A newer version of pdframe wrote a table. Nothing is changed then.
        CacheError
            The compacted parts cannot be written.
        """
        for manifest in self.readable_manifests():
            runs = small_runs(manifest.parts, self.options)
            try:
                self._open_parts(manifest, [manifest.parts[place] for run in runs for place in run])
            except NewerCacheError:
                raise
            except CacheError:
                continue
            self.compact(manifest)


def _takes(writer: PartWriter, more: pa.Table) -> bool:
    """Return whether more rows fit into a part: there are not too many, and their columns agree."""
    same: bool = writer.schema.equals(more.schema, check_metadata=True)
    return same and writer.rows + more.num_rows <= ROWS_PER_PART


@contextlib.contextmanager
def reported_write_errors(what: str, folder: Path, kept: str = "") -> Iterator[None]:
    """Raise `CacheError` where `what` cannot be written to a folder; `kept` says what is there."""
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"{what} could not be written to {folder}: {error.strerror}. Free some disk space, or"
            " choose another cache_dir.",
            kept=kept,
        ) from error


def small_runs(parts: Sequence[Part], options: CacheOptions) -> list[range]:
    """Return the runs of neighbours to combine, as places in `parts`; they do not overlap."""
    # None: not small.
    levels = [
        len(str(part.rows))
        if part.rows <= options.small_part_rows and part.bytes <= options.small_part_bytes
        else None
        for part in parts
    ]
    chosen: list[range] = []
    for highest in sorted({level for level in levels if level is not None}, reverse=True):
        start = 0
        for place, level in enumerate([*levels, None]):
            if level is not None and level <= highest:
                continue
            # The longest run of small parts of at most this level.
            run, start = range(start, place), place + 1
            is_full = sum(levels[one] == highest for one in run) >= options.parts_per_level
            if is_full and not any(run[0] in other for other in chosen):
                chosen.append(run)
    return sorted(chosen, key=lambda run: run[0])


def compacted(
    parts: Sequence[Part], read: Callable[[Part], pa.Table], options: CacheOptions
) -> Iterator[Part | pa.Table]:
    """Yield the parts that stay, and the rows of those that are combined, in order.

    Parameters
    ----------
    parts
        The parts of the table, in order.
    read
        Reads the rows of one.
    options
        Which parts are small, and how large one may become.
    """
    runs = enumerate(small_runs(parts, options))
    run_of = {place: number for number, run in runs for place in run}
    group = _Group(options.compacted_bytes)
    for place, part in enumerate(parts):
        if place not in run_of:
            yield from group.take()
            yield part
            continue
        rows = read(part)
        if not group.fits(rows, run_of[place]):
            yield from group.take()
        group.add(part, rows, run_of[place])
    yield from group.take()


class _Group:
    """Neighbours that become one part of at most `max_bytes` bytes."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._clear()

    def _clear(self) -> None:
        self._parts: list[Part] = []
        self._tables: list[pa.Table] = []
        self._fields: dict[str, pa.Field] = {}
        self._bytes = 0
        self._run = -1

    def fits(self, rows: pa.Table, run: int) -> bool:
        """Return whether rows can join: same run, room left, and no column of another type."""
        if not self._parts:
            return True
        if run != self._run or self._bytes + rows.nbytes > self._max_bytes:
            return False
        return self._has_schema(rows) or all(
            self._fields.get(field.name, field).equals(field, check_metadata=True)
            for field in rows.schema
        )

    def add(self, part: Part, rows: pa.Table, run: int) -> None:
        """Add the rows of a part."""
        if not self._has_schema(rows):
            self._fields |= {field.name: field for field in rows.schema}
        self._parts.append(part)
        self._tables.append(rows)
        self._bytes += rows.nbytes
        self._run = run

    def take(self) -> Iterator[Part | pa.Table]:
        """Yield the rows of the group as one table, or its only part; clear the group."""
        if len(self._parts) == 1:
            yield self._parts[0]
        elif self._parts:
            yield pa.concat_tables(self._tables, promote_options="default").combine_chunks()
        self._clear()

    def _has_schema(self, rows: pa.Table) -> bool:
        """Return whether the last rows have the same columns."""
        last = self._tables[-1:]
        return bool(last) and last[0].schema.equals(rows.schema, check_metadata=True)

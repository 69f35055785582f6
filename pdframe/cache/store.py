"""The Parquet cache: parts and a JSON manifest a table, replaced atomically, private to the
user.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pdframe._files import (
    SEAL,
    TEMPORARY,
    WRITTEN_BY,
    Part,
    PartWriter,
    make_private,
    parse,
    refuse_broken_link,
    refuse_newer,
    seal,
    sweep_temporary,
    unknown_form,
    unseal,
    write_atomic,
    write_part,
)
from pdframe._lock import LockHandle, locked
from pdframe.cache.compaction import compacted, small_runs
from pdframe.cache.options import DEFAULT_CACHE_OPTIONS, CacheOptions
from pdframe.cache.sorted_runs import InParquet, SortedRun
from pdframe.errors import CacheError, DamagedError, NewerCacheError, NotCachedError

FORMAT = 2
# Manifests of this format had no checksum; a kept history that one tells of cannot be collected
# again.
UNSEALED = 1
KEPT = "What was cached before is kept."
ROWS_PER_PART = 200_000
COLUMNS_AT_ONCE = 8
# Of a table of as many rows, memory that Arrow does not need is given back between two reads.
RELEASE_ROWS = 50_000
# From this many small parts on, all columns are read at once.
MANY_SMALL = 100
ROWS_READ_TOGETHER = 50_000
MANIFEST = "manifest.json"
_FIRST = "part-000001.parquet"
UNFINISHED = "unfinished.json"
PENDING = "pending"
CHANGES = "changes"
# So often a table may be replaced while it is read.
READS = 20
# What says that a file is not there as it was written; any other error may be one of this machine.
_LOST = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ELOOP})


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the cache holds of one table.

    Times are aware and in UTC. `synced_at` is this machine's clock when the table was last brought
    up to date, `full_at` the same for the last full reload, `server_time` the server's clock at the
    last sync. `state` is what the next sync must know: for each list of the API that tells changes,
    the newest `update_time` up to which it is known to be complete. `tokens` is what the last sync
    cost.
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

    @property
    def bytes(self) -> int:
        """Size of the table's Parquet files."""
        return sum(part.bytes for part in self.parts)


def default_cache_dir(start: Path | None = None) -> Path:
    """`cache/` of the nearest parent folder that has one, else `./cache`; asked once, when an
    account is made.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if os.path.isdir(folder / "cache"):
            return folder / "cache"
    return here / "cache"


def check_writable(cache_dir: Path) -> None:
    """Raise `CacheError` now rather than after tokens were spent, where `cache_dir` cannot hold a
    cache.
    """
    refuse_broken_link(cache_dir, cache_dir)
    folder = cache_dir
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise CacheError(
            f"The cache folder {cache_dir} cannot be written: {folder} is {'not writable' if folder.is_dir() else 'not a folder'}. "
            "Nothing was asked of the API. Give another one with cache_dir=... or PDFRAME_CACHE_DIR."
        )


def check_usable(cache_dir: Path) -> None:
    """Raise `CacheError` where `cache_dir` can neither be written nor holds anything to read."""
    if (
        os.access(cache_dir, os.R_OK | os.X_OK)
        and os.path.isdir(cache_dir)
        and any(cache_dir.iterdir())
    ):
        return
    check_writable(cache_dir)


def readable_key(*parts: str) -> str:
    """Join `parts` into a folder name that a person can read and every file system takes.

    Where characters had to be replaced, a short digest of the original keeps two names apart.
    """
    raw = "-".join(parts)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", raw).strip("._-")[:80] or "account"
    return (
        plain
        if plain == raw
        else f"{plain}-{hashlib.sha256(raw.encode('utf-8', 'replace')).hexdigest()[:8]}"
    )


class Store:
    """The cache of one account: a folder a table, each with Parquet parts and the manifest that
    names them.

    A manifest is replaced in one step after its parts are safely on disk, so whoever reads sees the
    old table or the new one.
    """

    def __init__(
        self, cache_dir: Path, key: str, options: CacheOptions = DEFAULT_CACHE_OPTIONS
    ) -> None:
        self.cache_dir = cache_dir
        self.options = options
        self.root = cache_dir / key

    def open(self) -> None:
        """Make the folders, readable by this user alone, keep them out of version control, and
        sweep what killed processes left.

        A cache that can be read and not written stays as it is.

        Raises
        ------
        NewerCacheError
            A newer version of pdframe wrote it; then nothing is changed.
        CacheError
            The folders cannot be made, or are links that lead nowhere.
        """
        refuse_broken_link(self.root, self.cache_dir)
        self.refuse_newer()
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
                f"The cache folder {self.root} cannot be made: {error.strerror}. Give another one with cache_dir=... or PDFRAME_CACHE_DIR."
            ) from error

    @property
    def is_read_only(self) -> bool:
        """Whether the account's folder is there and cannot be written."""
        return os.path.isdir(self.root) and not os.access(self.root, os.W_OK | os.X_OK)

    def tables(self) -> list[str]:
        """The names of the folders that hold a table; copies that were moved aside are none."""
        try:
            result = sorted(path.name for path in self.root.iterdir() if ".aside-" not in path.name)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CacheError(
                f"The cache folder {self.root} cannot be read: {error.strerror}. Let it be read, or give another one with cache_dir=... "
                "or PDFRAME_CACHE_DIR."
            ) from error
        return [name for name in result if os.path.lexists(self.root / name / MANIFEST)]

    def refuse_newer(self) -> list[Manifest]:
        """The manifests that can be read; `NewerCacheError` where a newer version of pdframe wrote
        any of them.

        Whatever else is wrong with a table, its reader says.
        """
        result = []
        for table in self.tables():
            try:
                manifest = self.manifest(table)
            except NewerCacheError:
                raise
            except CacheError:
                continue
            result += [manifest] if manifest is not None else []
        return result

    def manifest(self, table: str) -> Manifest | None:
        """What is cached of `table`; None where nothing is. A manifest that cannot be trusted is a
        `DamagedError`.
        """
        path = self.root / table / MANIFEST
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            refuse_broken_link(path, self.cache_dir)
            return None
        except OSError as error:
            raise self._unread(path, error, table) from error
        try:
            return _manifest_from(_opened(raw), table)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            refuse_newer(path, raw, FORMAT)
            raise _damaged(path, "it is not the manifest that was written", table) from error

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The cached table, hashes and ids inside, as Arrow.

        Raises
        ------
        NotCachedError
            Nothing is cached of it.
        DamagedError
            A file is missing, cut short or changed; the message says how to load the table again.
        CacheError
            This machine does not let a file be read.
        """
        return self.open_table(table).read(columns)

    def open_table(self, table: str) -> Stored:
        """The cached table, its columns read when they are taken; errors as `read`."""
        manifest = self.manifest(table)
        if manifest is None:
            raise NotCachedError(
                f"Nothing is cached of {table!r}. Call the loader without refresh=False, or account.sync({table!r})."
            )
        for _ in range(READS):
            try:
                return self._open_parts(manifest)
            except DamagedError:
                # Another process may have replaced the table between its manifest and its parts.
                newer = self.manifest(table)
                if newer is None or newer.parts == manifest.parts:
                    raise
                manifest = newer
        return self._open_parts(manifest)

    def schema(self, table: str) -> pa.Schema:
        """Columns of the cached table, files not verified; none where nothing is cached, or a file
        cannot be read.
        """
        parts: tuple[Part, ...] = ()
        with contextlib.suppress(CacheError):
            while (manifest := self.manifest(table)) is not None and manifest.parts != parts:
                parts = manifest.parts
                # Another process may replace the table between its manifest and its parts: then
                # there is a newer manifest.
                with contextlib.suppress(OSError, pa.ArrowException):
                    return pa.unify_schemas(
                        [pq.read_schema(self.root / table / part.file) for part in parts]
                    )
        return pa.schema([])

    def _open_parts(self, manifest: Manifest) -> Stored:
        opened = [self._open_part(manifest.table, part) for part in manifest.parts]
        return Stored(manifest.table, opened, small_runs(manifest.parts, self.options))

    def _open_part(self, table: str, part: Part) -> tuple[Path, pq.ParquetFile]:
        path = self.root / table / part.file
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise self._unread(path, error, table) from error
        if len(raw) != part.bytes:
            raise _damaged(
                path, f"it has {len(raw):,} bytes, and {part.bytes:,} were written", table
            )
        if zlib.crc32(raw) != part.crc32:
            raise _damaged(path, "its bytes are not those that were written", table)
        try:
            return path, pq.ParquetFile(pa.BufferReader(raw))
        except (pa.ArrowException, OSError) as error:
            raise unknown_form(path, error) from error

    def replace(self, manifest: Manifest, table: pa.Table) -> Manifest:
        """Put `table` in the place of what is cached, in one step, and return the manifest as
        written (rows, parts and bytes set).
        """
        return self.name(self.write(manifest, [table]))

    def write(
        self, manifest: Manifest, tables: Iterable[pa.Table | Part], *, at_most: int | None = None
    ) -> Manifest:
        """Write the parts of a table beside what is cached of it; those that are there already are
        given as they are.

        Parameters
        ----------
        manifest
            What it is to be named by.
        tables
            Its rows.
        at_most
            How many bytes of rows go into one part; None: the option `part_bytes`.

        Returns
        -------
        Manifest
            With rows and parts set. Nobody reads these before it is given to `name`.
        """
        folder, number = self.root / manifest.table, manifest.next_part
        parts: list[Part] = []
        with _making_room(manifest.table, folder), contextlib.ExitStack() as kept:
            make_private(folder)
            writer: PartWriter | None = None
            for table in tables:
                pieces = [table] if isinstance(table, Part) else _pieces(table)
                for piece in pieces:
                    if writer is not None and (
                        isinstance(piece, Part)
                        or _is_full(writer, piece, at_most or self.options.part_bytes)
                    ):
                        kept.close()
                        parts.append(writer.part)
                        writer = None
                    if isinstance(piece, Part):
                        parts.append(piece)
                        continue
                    if writer is None:
                        writer = kept.enter_context(
                            PartWriter(folder, f"part-{number:06d}.parquet", piece.schema)
                        )
                        number += 1
                    writer.add(piece)
            if writer is not None:
                kept.close()
                parts.append(writer.part)
        if len(parts) > 1:
            parts = [part for part in parts if part.rows] or parts[:1]
        return replace(
            manifest, parts=tuple(parts), rows=sum(part.rows for part in parts), next_part=number
        )

    def name(self, manifest: Manifest) -> Manifest:
        """Put the parts of a manifest in the place of what is cached, in one step, and sweep all
        others.
        """
        folder = self.root / manifest.table
        with _making_room(manifest.table, folder):
            self._write_manifest(manifest)
        self._sweep(folder, {part.file for part in manifest.parts})
        return manifest

    def sorted_parts(self, manifest: Manifest, key: str) -> list[tuple[Part, SortedRun]]:
        """The parts of a table that is stored in the order of its ids, to read by ranges of these;
        they are not verified again.
        """
        result = []
        for part in manifest.parts:
            path = self.root / manifest.table / part.file
            try:
                result.append((part, SortedRun(InParquet(path), key)))
            except (pa.ArrowException, OSError) as error:
                raise self._unread(path, error, manifest.table) from error
        return result

    def read_parts(self, manifest: Manifest, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Some columns of a table, part by part; a part leaves out those that it lacks. Parts are
        not verified again.
        """
        for part in manifest.parts if columns else ():
            yield InParquet(self.root / manifest.table / part.file).read_some(columns)

    def append(self, manifest: Manifest, table: pa.Table, *, synced_at: datetime) -> Manifest:
        """Add `table` after what is cached as a part of its own, in one step; a crash leaves what
        was there.

        Where that makes too many small parts, they are put together.
        """
        folder = self.root / manifest.table
        try:
            part = write_part(folder, f"part-{manifest.next_part:06d}.parquet", table)
            written = replace(
                manifest,
                parts=(*manifest.parts, part),
                rows=manifest.rows + table.num_rows,
                synced_at=synced_at,
                next_part=manifest.next_part + 1,
            )
            self._write_manifest(written)
        except OSError as error:
            raise CacheError(
                f"{manifest.table!r} could not be added to in {folder}: {error.strerror}. Make room, or choose another cache_dir.",
                kept=KEPT,
            ) from error
        return self.compact(written)

    def compact(self, manifest: Manifest) -> Manifest:
        """Put the small parts of a table together where they are too many; the rows and their order
        stay. The caller holds the lock.

        The new parts are on disk before the manifest names them, and the old ones go after that: a
        process that is killed leaves the old parts or the new ones. A reader in another process
        that still has the old manifest reads the new one when it misses a part.

        Returns
        -------
        Manifest
            As it is cached now.
        """
        if not small_runs(manifest.parts, self.options):
            return manifest
        parts = compacted(
            manifest.parts,
            lambda part: _read(*self._open_part(manifest.table, part)),
            self.options,
        )
        written = self.write(manifest, parts, at_most=self.options.compacted_bytes)
        return manifest if written.parts == manifest.parts else self.name(written)

    def prepare(self) -> None:
        """Make the cache ready for a sync, before anything is asked: many small parts are put
        together. The caller holds the lock.

        Raises
        ------
        NewerCacheError
            A newer version of pdframe wrote a table; nothing is changed then.
        CacheError
            What is put together could not be written.
        """
        for manifest in self.refuse_newer():
            # A damaged part is found, and dealt with, by the work on its table.
            with contextlib.suppress(DamagedError):
                self.compact(manifest)

    def _unread(self, path: Path, error: Exception, table: str) -> CacheError:
        """What to raise for a file that cannot be read.

        One that is not there, no file, or lost to the disk is damage; one that this machine does
        not let be read may be whole.
        """
        reported = error.errno if isinstance(error, OSError) else None
        if reported in (errno.ENOENT, errno.ELOOP):
            refuse_broken_link(path, self.cache_dir)
        if reported is None or reported in _LOST:
            return _damaged(
                path,
                getattr(error, "strerror", None) or "it is not the Parquet file that was written",
                table,
            )
        return CacheError(
            f"The cached file {path} cannot be read: {os.strerror(reported)}. Let it be read, or choose another cache_dir."
        )

    def touch(self, manifest: Manifest) -> Manifest:
        """Write a manifest whose parts are as they were: nothing changed but the times."""
        try:
            self._write_manifest(manifest)
        except OSError as error:
            raise CacheError(
                f"The manifest of {manifest.table!r} could not be written: {error.strerror}.",
                kept=KEPT,
            ) from error
        return manifest

    def check_manifest(self, table: str) -> None:
        """`DamagedError` where parts of a table are there, and no manifest that would tell which of
        them count.

        For a table that cannot be loaded again as it was. The first part alone is what a process
        leaves that was killed at the beginning.
        """
        if any(part.name > _FIRST for part in self.stray(table)):
            raise _damaged(self.root / table / MANIFEST, "its manifest is gone", table)

    def stray(self, table: str) -> list[Path]:
        """The parts of a table whose manifest is gone."""
        folder = self.root / table
        return [] if (folder / MANIFEST).exists() else sorted(folder.glob("part-*.parquet"))

    def is_damaged(self, table: str) -> bool:
        """Whether a file of what is cached of `table` is not as it was written."""
        try:
            self.check_manifest(table)
            self.open_table(table)
        except NotCachedError:
            return False
        except DamagedError:
            return True
        return False

    @contextlib.contextmanager
    def lock(self) -> Iterator[LockHandle]:
        """Keep every other process and thread from writing to this account's cache; wait where one
        does. Reading needs no lock.

        It is held until who took it, and the threads that share it, are all done.
        """
        with locked(self.root) as kept:
            yield kept

    def unfinished_since(self) -> datetime | None:
        """When the sync began that did not come to its end; None where the last one did."""
        try:
            return datetime.fromisoformat(unseal((self.root / UNFINISHED).read_bytes())["began"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, at: datetime) -> None:
        """Note that a sync is under way."""
        try:
            write_atomic(self.root / UNFINISHED, seal({"began": at.isoformat()}))
        except OSError as error:
            raise CacheError(
                f"The cache folder {self.root} cannot be written: {error.strerror}. Nothing was asked of the API."
            ) from error

    def finish(self) -> None:
        """Note that the sync came to its end."""
        with contextlib.suppress(OSError):
            (self.root / UNFINISHED).unlink(missing_ok=True)

    def _write_manifest(self, manifest: Manifest) -> None:
        write_atomic(self.root / manifest.table / MANIFEST, seal(_manifest_to(manifest)))

    @staticmethod
    def _sweep(folder: Path, keep: set[str]) -> None:
        for path in folder.glob("part-*.parquet"):
            if path.name not in keep:
                with contextlib.suppress(OSError):
                    path.unlink()


class Stored:
    """A cached table, verified, of which columns are read when they are taken: what nobody asks for
    stays compressed.

    Parameters
    ----------
    table
        Its name.
    parts
        Its files, in order; all have the same columns, or the later ones more. Where columns differ
        in type, they can only be read by `parts`.
    small
        Stretches of small parts, as places in `parts`: each is read as if it were one part.
    """

    def __init__(
        self, table: str, parts: Sequence[tuple[Path, pq.ParquetFile]], small: Sequence[range] = ()
    ) -> None:
        self._table = table
        self._schemas = [file.schema_arrow for _, file in parts]
        self._folder = parts[0][0].parent if parts else Path(table)
        self._groups = _grouped(parts, self._schemas, small)
        self._many_small = sum(map(len, small)) > MANY_SMALL
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
        """A column. Who takes the one that follows the last is likely to go on: then some are read
        at once.
        """
        kept = self._block.column_names
        if name not in kept:
            place = self._places[name]
            # Of many small parts, opening the pages of a column costs more than what is in them.
            at_once = len(self._places) if self._many_small else COLUMNS_AT_ONCE
            many = at_once if kept and self._places[kept[-1]] + 1 == place else 1
            if self.num_rows >= RELEASE_ROWS:
                pa.default_memory_pool().release_unused()
            self._block = self.read(self.schema.names[place : place + many])
        return self._block[name]

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Columns as a table, in the order of the schema; None: all."""
        try:
            return pa.concat_tables(list(self.parts(columns)), promote_options="default")
        except pa.ArrowException as error:
            raise unknown_form(self._folder, error) from error

    def parts(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Columns as a table, part by part, small neighbours together; None: all that a part
        has.
        """
        wanted = None if columns is None else list(columns)
        for group in self._groups:
            rows = [_read(path, file, wanted) for path, file in group]
            yield rows[0] if len(rows) == 1 else pa.concat_tables(rows).combine_chunks()


def _grouped(
    parts: Sequence[tuple[Path, pq.ParquetFile]],
    schemas: Sequence[pa.Schema],
    small: Sequence[range],
) -> list[list[tuple[Path, pq.ParquetFile]]]:
    """The parts, those of a stretch of small ones together as long as their columns are the same
    and their rows not too many.
    """
    run_of = {place: number for number, run in enumerate(small) for place in run}
    groups: list[list[tuple[Path, pq.ParquetFile]]] = []
    rows = 0
    for place, part in enumerate(parts):
        rows += part[1].metadata.num_rows
        joins = (
            place
            and place in run_of
            and run_of[place] == run_of.get(place - 1)
            and rows <= ROWS_READ_TOGETHER
        )
        if joins and schemas[place].equals(schemas[place - 1], check_metadata=True):
            groups[-1].append(part)
        else:
            groups.append([part])
            rows = part[1].metadata.num_rows
    return groups


def _read(path: Path, file: pq.ParquetFile, columns: list[str] | None = None) -> pa.Table:
    """Columns of a part that was verified."""
    # In this thread: memory that other threads take is given back late.
    try:
        return file.read(columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise unknown_form(path, error) from error


def _pieces(table: pa.Table) -> list[pa.Table]:
    return [
        table.slice(start, ROWS_PER_PART)
        for start in range(0, max(table.num_rows, 1), ROWS_PER_PART)
    ]


def _is_full(writer: PartWriter, more: pa.Table, at_most: int) -> bool:
    """Whether more rows belong into a part of their own."""
    return (
        writer.rows + more.num_rows > ROWS_PER_PART
        or writer.bytes + more.nbytes > at_most
        or not writer.schema.equals(more.schema, check_metadata=True)
    )


@contextlib.contextmanager
def _making_room(table: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"{table!r} could not be written to {folder}: {error.strerror}. Make room, or choose another cache_dir.",
            kept=KEPT,
        ) from error


def _damaged(path: Path, why: str, table: str) -> DamagedError:
    return DamagedError(
        f"The cached file {path} cannot be trusted: {why}. The CRM is untouched and no other table is concerned. "
        f"Load the table again: account.sync({table!r}, full=True), or its loader without refresh=False.",
        table=table,
    )


def _opened(raw: bytes) -> Any:
    """The content of a manifest."""
    try:
        return unseal(raw)
    except ValueError:
        content = parse(raw)
        if content["format"] != UNSEALED or SEAL in content:
            raise
        return content


def _manifest_to(manifest: Manifest) -> dict[str, Any]:
    return {
        "format": FORMAT,
        # The package imports this module, so this module cannot import the package.
        WRITTEN_BY: sys.modules["pdframe"].__version__,
        "table": manifest.table,
        "rows": manifest.rows,
        "synced_at": manifest.synced_at.isoformat(),
        "full_at": manifest.full_at.isoformat(),
        "server_time": manifest.server_time.isoformat() if manifest.server_time else None,
        "state": dict(manifest.state),
        "tokens": manifest.tokens,
        "next_part": manifest.next_part,
        "parts": [
            {"file": p.file, "rows": p.rows, "bytes": p.bytes, "crc32": p.crc32}
            for p in manifest.parts
        ],
    }


def _manifest_from(raw: Any, table: str) -> Manifest:
    if raw["format"] not in (FORMAT, UNSEALED) or raw["table"] != table:
        raise ValueError("another format or table")
    parts = tuple(
        Part(file=str(p["file"]), rows=int(p["rows"]), bytes=int(p["bytes"]), crc32=int(p["crc32"]))
        for p in raw["parts"]
    )
    if not parts or any(Path(p.file).name != p.file for p in parts):
        raise ValueError("parts outside the table's folder")
    return Manifest(
        table=table,
        parts=parts,
        rows=int(raw["rows"]),
        synced_at=datetime.fromisoformat(raw["synced_at"]),
        full_at=datetime.fromisoformat(raw["full_at"]),
        server_time=datetime.fromisoformat(raw["server_time"]) if raw["server_time"] else None,
        state={str(k): str(v) for k, v in raw["state"].items()},
        tokens=int(raw["tokens"]),
        next_part=int(raw["next_part"]),
    )

"""Write private files atomically, JSON with a checksum, and locks. No other module writes a cached
file.

A file appears under its name only once it is complete. Where it must survive a power failure, it is
on disk before the call returns. Pages of a checkpoint alone are written in place, which costs less:
they count only once a line about them is written.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from pdframe.errors import CacheError, NewerCacheError

__all__ = [
    "POLL_SECONDS",
    "SEAL",
    "TEMPORARY",
    "UPDATE",
    "WRITTEN_BY",
    "LockHandle",
    "Part",
    "PartWriter",
    "locked_file",
    "make_private",
    "private_file",
    "refuse_broken_link",
    "refuse_newer",
    "seal",
    "sweep_temporary",
    "sync_folder",
    "unknown_form",
    "unseal",
    "write_atomic",
    "write_batches",
    "write_in_place",
    "write_plain",
]

TEMPORARY = ".tmp"
# A temporary file of this age was left by a process that was killed.
LEFTOVER_AGE = timedelta(hours=1)
# What Arrow writes in pieces of a few bytes goes to the file in pieces of this size.
WRITE_BUFFER_BYTES = 256 * 1024
SEAL = "crc32"
WRITTEN_BY = "written_by"
_VERSION = re.compile(r"[0-9A-Za-z.+!-]{1,40}", re.ASCII)
UPDATE = (
    "Nothing in the cache was changed. Update pdframe (pip install --upgrade pdframe), or give"
    " another cache_dir."
)


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file of a table, with its size and checksum."""

    file: str
    rows: int
    bytes: int
    crc32: int


def seal(content: Mapping[str, Any], *, indent: int | None = 1) -> bytes:
    """Return an object as JSON with a checksum of its content, which `unseal` verifies.

    Without `indent` this is several times as fast.
    """
    return json.dumps({**content, SEAL: _checksum(content)}, indent=indent).encode()


def unseal(raw: bytes) -> dict[str, Any]:
    """Return the object that was sealed; `ValueError` where it is not what was written."""
    try:
        content = json.loads(raw)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if (
        not isinstance(content, dict)
        or SEAL not in content
        or content.pop(SEAL) != _checksum(content)
    ):
        raise ValueError("not what was written")
    return content


def refuse_newer(path: Path, raw: bytes, latest: int) -> None:
    """Raise `NewerCacheError` where a newer version of pdframe wrote a JSON file.

    Call it before a file counts as damaged.

    Every JSON file of the cache can hold two keys, in this version and in every later one:
    `format`, a whole number that grows when an older version must not read the file (missing: 1),
    and `written_by`, the version of pdframe.

    Parameters
    ----------
    path, raw
        The file, and its content.
    latest
        The newest format that this version knows.
    """
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError):
        return
    number = content.get("format") if isinstance(content, dict) else None
    if type(number) is not int or number <= latest or len(content) == 1:
        return  # a number alone is not what any version wrote
    # Where the checksum proves that only this number was changed, the file is damaged.
    reported = content.pop(SEAL, None)
    rest = {name: value for name, value in content.items() if name != "format"}
    if reported is not None and reported in (
        _checksum(rest),
        *(_checksum({**rest, "format": known}) for known in range(1, latest + 1)),
    ):
        return
    version = content.get(WRITTEN_BY)
    version = version if isinstance(version, str) and _VERSION.fullmatch(version) else None
    raise NewerCacheError(
        f"{'pdframe ' + version if version else 'A newer version of pdframe'} wrote the cached file"
        f" {path}, in format {number}; this version reads formats up to {latest}. {UPDATE}",
        written_by=version,
    )


def unknown_form(path: Path, error: Exception) -> NewerCacheError:
    """Return the error for a part that is what was written, and that pyarrow cannot read."""
    why = str(error).partition("\n")[0][:200].rstrip(". ")
    return NewerCacheError(
        f"The cached file {path} is as it was written, and pyarrow {pa.__version__} cannot read it:"
        f" {why}. A newer version of pdframe or pyarrow wrote it. {UPDATE}"
    )


def refuse_broken_link(path: Path, cache_dir: Path) -> None:
    """Raise `CacheError` where a cached file is missing because a link in its path is broken."""
    for place in (*reversed(path.parents), path):
        if (
            (place == cache_dir or cache_dir in place.parents)
            and os.path.islink(place)
            and not os.path.exists(place)
        ):
            name = place.relative_to(cache_dir) if place != cache_dir else Path(place.name)
            raise CacheError(
                f"{str(name)!r} in the cache folder {cache_dir} is a link to"
                f" {os.readlink(place)!r}, which"
                f" {'leads in a circle' if _is_circle(place) else 'is not there'}. Nothing was"
                " changed. Bring the target back, such as by mounting its disk, or delete the"
                " link: then what the API still has is loaded again."
            )


def _is_circle(link: Path) -> bool:
    try:
        os.stat(link)
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _checksum(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def sweep_temporary(paths: Iterable[Path]) -> None:
    """Delete temporary files that killed processes left."""
    for path in paths:
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFTOVER_AGE.total_seconds():
                path.unlink()


def make_private(folder: Path) -> None:
    """Create a folder, and missing folders above it, for this user alone.

    A folder that exists stays unchanged.
    """
    if folder.is_dir():
        return
    # `mkdir(parents=True)` would create those above with the mode of any folder.
    make_private(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700)
    sync_folder(folder.parent)


@contextlib.contextmanager
def private_file(folder: Path, name: str, *, durable: bool) -> Iterator[IO[bytes]]:
    """Open a new file, mode 0600, that gets its name only when it is complete."""
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=TEMPORARY, dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).replace(folder / name)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    if durable:
        sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flush a folder: what was created, renamed or deleted in it survives a power failure."""
    # Windows cannot open a folder, and need not.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_atomic(path: Path, content: bytes | memoryview, *, durable: bool = True) -> None:
    """Write a private file atomically; where `durable`, return only once it is on disk."""
    with private_file(path.parent, path.name, durable=durable) as file:
        file.write(content)


def write_in_place(path: Path, content: bytes | memoryview, *, append: bool = False) -> None:
    """Write a private file under its own name, or add to its end where `append`.

    A process that is killed can leave a part of the content.
    """
    how = os.O_APPEND if append else os.O_TRUNC
    flags = os.O_WRONLY | os.O_CREAT | how | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(content)


def write_plain(path: Path, table: pa.Table) -> tuple[int, int]:
    """Write rows that are read at most once, in place, the fastest way; return the checksum and the
    size of the file.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    raw = memoryview(sink.getvalue())
    write_in_place(path, raw)
    return zlib.crc32(raw), len(raw)


def write_batches(path: Path, table: pa.Table, rows: int) -> int:
    """Write a table to an Arrow file in batches of `rows` rows; return the checksum of the file.

    The file is written atomically, but need not survive a power failure.
    """
    # In this thread: memory that other threads take is given back late.
    how = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with private_file(path.parent, path.name, durable=False) as file:
        counting = _Counting(file)
        with (
            pa.BufferedOutputStream(pa.PythonFile(counting, "w"), WRITE_BUFFER_BYTES) as sink,
            pa.ipc.new_file(sink, table.schema, options=how) as batches,
        ):
            # Batches end where chunks do.
            batches.write_table(table.combine_chunks(), rows)
    return counting.crc32


class PartWriter(contextlib.ExitStack):
    """Write a Parquet file table by table, atomically; it is closed at the end of the context."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema) -> None:
        super().__init__()
        self.rows = 0
        self.schema = schema
        self._path = folder / name
        self._file = _Counting(self.enter_context(private_file(folder, name, durable=True)))
        file = pa.PythonFile(self._file, "w")
        # Lists keep their type only where their items keep Arrow's name.
        writer = pq.ParquetWriter(
            self.enter_context(pa.BufferedOutputStream(file, WRITE_BUFFER_BYTES)),
            schema,
            compression="zstd",
            # Numbers and times repeat too little for a dictionary.
            use_dictionary=[field.name for field in schema if pa.types.is_string(field.type)],
            use_compliant_nested_type=False,
        )
        self._writer = self.enter_context(writer)

    @property
    def part(self) -> Part:
        """The part, once the file is written."""
        return Part(
            file=self._path.name, rows=self.rows, bytes=self._file.size, crc32=self._file.crc32
        )

    def add(self, table: pa.Table) -> None:
        """Add rows, as one group."""
        self._writer.write_table(table)
        self.rows += table.num_rows


@dataclass
class _Counting:
    """A file that is written in order, and counts its size and checksum."""

    file: IO[bytes]
    size: int = 0
    crc32: int = 0
    closed: ClassVar[bool] = False

    def write(self, content: Any) -> int:
        self.file.write(content)
        self.crc32 = zlib.crc32(content, self.crc32)
        self.size += len(content)
        return len(content)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        """Do nothing: the file is closed where it was opened."""

    @staticmethod
    def writable() -> bool:
        return True

    @staticmethod
    def readable() -> bool:
        return False

    @staticmethod
    def seekable() -> bool:
        return False


YEAR_SECONDS = 365 * 86_400.0
POLL_SECONDS = 0.05


@dataclass(slots=True)
class LockHandle:
    """A lock of one thread and of its workers: it is released when the last of them is done.

    Parameters
    ----------
    unlock
        Releases the lock.
    """

    unlock: Callable[[], None]
    holders: int = 1
    _counter_lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock in this thread as well; `CacheError` where it is released already."""
        with self._counter_lock:
            if not self.holders:
                raise CacheError(
                    "The sync was stopped before this work began. No request was sent."
                )
            self.holders += 1
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Give up this thread's hold."""
        with self._counter_lock:
            self.holders -= 1
            is_last = not self.holders
        if is_last:
            self.unlock()


@contextlib.contextmanager
def locked_file(path: Path, *, poll_seconds: float = POLL_SECONDS) -> Iterator[LockHandle]:
    """Keep every other process and thread out that locks this file; poll while one holds it.

    A forked process holds no lock of its parent: filelock closes the files there.

    Raises
    ------
    OSError
        The file cannot be locked: its folder is missing or not writable.
    """
    # Not at the top: it takes a while, and a session that only reads its cache never locks.
    from filelock import FileLock

    # filelock would create a missing folder that other users can read.
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    lock = FileLock(path, mode=0o600, thread_local=False)
    # A timeout, however long: without one, filelock takes waiting for own threads for a deadlock.
    lock.acquire(timeout=YEAR_SECONDS, poll_interval=poll_seconds)
    handle = LockHandle(lock.release)
    try:
        yield handle
    finally:
        handle.release()

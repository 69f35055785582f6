"""Where a set of files is written: a folder of this machine, or any file system that pyarrow or
fsspec reaches.

Both have the few operations that `sets` needs. Names are relative, with `/`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, ClassVar, Protocol
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from pdframe._files import (
    locked_file,
    make_private,
    private_file,
    sweep_temporary,
    sync_folder,
    write_atomic,
)
from pdframe._terminal import printable
from pdframe.bi._file_names import refuse_file_name
from pdframe.errors import ArgumentError

STAGING = ".pdframe-"
_SCRATCH = f"{STAGING}export-"
# Other folders with such a beginning are somebody's own.
_STAGING_NAME = re.compile(r"\.pdframe-(?:[0-9a-f]{8}|export-[0-9a-z_]{8})")
LOCK = ".pdframe.lock"
"""Of a folder of this machine, a lock; elsewhere the claim of the export that began last."""
_SHORT = 60  # signs
_PRESENT = (pafs.FileType.File, pafs.FileType.Directory)
_OBJECT_STORES = frozenset({"s3", "gcs", "abfs"})
_IGNORE = b"# Exports of a CRM are personal data.\n*\n"


class OvertakenError(OSError):
    """Another export began to write into the same place, or has ended its work there."""


class Target(Protocol):
    """A place for files. A file appears under its name only when it is complete."""

    is_near: ClassVar[bool]
    """Whether reading all files costs little."""

    @property
    def where(self) -> str:
        """The place as messages show it, without credentials."""

    def path(self, name: str) -> str:
        """Return the address of a file, without credentials."""

    def check(self) -> None:
        """Refuse a place that can hold no files."""

    def prepare(self) -> None:
        """Make the place, if it is missing."""

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other exports out, where the place can; take back the claim at the end."""

    def claim(self, since: str) -> None:
        """Make this the export that writes here: those that began before it stop."""

    def check_claim(self) -> None:
        """Raise `OvertakenError` where another export began after this one."""

    def claimed_since(self) -> str | None:
        """Return when an export claimed the place, if so lately that it may be running."""

    def create(self, name: str) -> contextlib.AbstractContextManager[IO[bytes]]:
        """Open a new file that gets its name at the end of the block."""

    def scratch(self) -> contextlib.AbstractContextManager[Path]:
        """Make a private folder of this machine for the time of the block."""

    def adopt(self, path: Path, name: str) -> None:
        """Move a file from a scratch folder into the place."""

    def move(self, source: str, to: str) -> None:
        """Rename a file, over another one if that is there."""

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""

    def delete_tree(self, name: str) -> None:
        """Delete a folder with its files, if it is there."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None: it is not there."""

    def open(self, name: str) -> pa.NativeFile | None:
        """Open a file to be read; None: it is not there."""

    def exists(self, name: str) -> bool:
        """Whether something has this name."""

    def is_file(self, name: str) -> bool:
        """Whether a file has this name."""

    def entries(self, name: str) -> list[str] | None:
        """Return the names in a folder; None: it is not there, or a file."""

    def settle(self) -> None:
        """Make renames and deletions survive a power failure."""

    def stagings(self) -> list[str]:
        """Return the names of the staging folders of exports that are running or were killed."""


class LocalFolder:
    """A folder of this machine. What is made is private."""

    is_near: ClassVar[bool] = True

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def where(self) -> str:
        """The folder."""
        return str(self._path)

    def path(self, name: str) -> str:
        """Return the path of a file."""
        return str(self._path / name)

    def check(self) -> None:
        """Refuse a folder that cannot be made or written, and a new one with the name of a file."""
        refuse_file_name(self._path.name, self._path.exists)
        above = self._path
        while not above.exists() and above != above.parent:
            above = above.parent
        if not above.is_dir():
            raise ArgumentError(
                f"An export needs a folder, and {above} is a file. Pass the path of a folder,"
                " new or not."
            )
        if not os.access(above, os.W_OK | os.X_OK):
            raise ArgumentError(
                f"{above} is not writable. Choose another folder, or change its permissions."
            )

    def prepare(self) -> None:
        """Make the folder, private and ignored by git, if it is missing."""
        sweep_temporary(self._path.glob(".gitignore.*.tmp"))
        if not self._path.exists():
            make_private(self._path)
            write_atomic(self._path / ".gitignore", _IGNORE)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Wait for other exports into this folder."""
        path = self._path / LOCK
        with locked_file(path):
            try:
                yield
            finally:
                # While it is locked: an export that waits for a removed file opens a new one, which
                # is why pyproject.toml wants a filelock that does.
                with contextlib.suppress(OSError):
                    path.unlink()

    def claim(self, since: str) -> None:
        """Do nothing: the lock keeps others out."""

    def check_claim(self) -> None:
        """Do nothing: the lock keeps others out."""

    def claimed_since(self) -> None:
        """Return None: who holds the lock is alone."""

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Open a new private file, which is on disk at the end of the block."""
        path = self._path / name
        make_private(path.parent)
        with private_file(path.parent, path.name, durable=True) as file:
            yield file

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make a private folder in this one: what is killed is deleted by the next export."""
        with tempfile.TemporaryDirectory(
            prefix=_SCRATCH, dir=self._path, ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)

    def adopt(self, path: Path, name: str) -> None:
        """Move a file into the folder, private and on disk."""
        path.chmod(0o600)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        target = self._path / name
        make_private(target.parent)
        path.replace(target)

    def move(self, source: str, to: str) -> None:
        """Rename a file."""
        target = self._path / to
        make_private(target.parent)
        (self._path / source).replace(target)

    def delete(self, name: str) -> None:
        """Delete a file, and its folder where that is empty then."""
        path = self._path / name
        path.unlink(missing_ok=True)
        if path.parent != self._path:
            with contextlib.suppress(OSError):
                path.parent.rmdir()

    def delete_tree(self, name: str) -> None:
        """Delete a folder with its files."""
        shutil.rmtree(self._path / name, ignore_errors=True)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None: it is not there."""
        try:
            return (self._path / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def open(self, name: str) -> pa.NativeFile | None:
        """Open a file to be read; None: it is not there."""
        path = self._path / name
        return pa.OSFile(str(path)) if path.is_file() else None

    def exists(self, name: str) -> bool:
        """Whether something has this name, a broken link too."""
        return os.path.lexists(self._path / name)

    def is_file(self, name: str) -> bool:
        """Whether a file has this name."""
        return (self._path / name).is_file()

    def entries(self, name: str) -> list[str] | None:
        """Return the names in a folder; None: it is not there, or a file."""
        path = self._path / name
        is_folder = path.is_dir() and not path.is_symlink()
        return sorted(entry.name for entry in path.iterdir()) if is_folder else None

    def settle(self) -> None:
        """Flush the folder."""
        sync_folder(self._path)

    def stagings(self) -> list[str]:
        """Return the names of staging folders."""
        return sorted(
            path.name
            for path in self._path.glob(f"{STAGING}*")
            if _STAGING_NAME.fullmatch(path.name) and path.is_dir()
        )


class RemoteFolder:
    """A folder of a file system of pyarrow, which has no lock: the export that began last writes.

    An export claims the place before it writes: a small file names it. It then deletes what others
    staged, and reads the claim before each file that it puts in place or deletes. One that finds
    another claim stops: what it staged is gone, so it cannot put it in place either. Neither clocks
    nor a condition that some stores do not know are needed, and what a killed export leaves keeps
    no one out. One request that was on its way for the whole of the other export may still arrive
    after it: `export_check` says so.
    """

    is_near: ClassVar[bool] = False

    def __init__(self, system: Any, base: str, where: str) -> None:
        self._system = system
        self._claim: bytes | None = None
        inner = system
        while isinstance(inner, pafs.SubTreeFileSystem):
            inner = inner.base_fs
        # A folder of an object store is a prefix: nothing has to be made.
        self._has_folders = inner.type_name not in _OBJECT_STORES
        handler = getattr(inner, "handler", None)
        # It may remember listings: what others write does not show in them.
        self._remembers = handler.fs if isinstance(handler, pafs.FSSpecHandler) else None
        self._forget()
        self._base = base.strip("/")
        self._where = where if where.endswith("://") else where.rstrip("/")

    @property
    def where(self) -> str:
        """The address, without credentials."""
        return self._where

    def path(self, name: str) -> str:
        """Return the address of a file, without credentials."""
        return f"{self._where}{name}" if self._where.endswith("/") else f"{self._where}/{name}"

    def _at(self, name: str) -> str:
        return f"{self._base}/{name}" if self._base else name

    def check(self) -> None:
        """Refuse a new folder with the name of a file; whether the place takes files, the first one
        shows.
        """
        refuse_file_name(self._where.rpartition("/")[2], self._is_there)

    def _is_there(self) -> bool:
        try:
            return self._system.get_file_info(self._base).type in _PRESENT
        except OSError:
            return True  # as far as known: the first file shows what is wrong

    def prepare(self) -> None:
        """Do nothing: folders are made with their files."""

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Take back the claim at the end."""
        try:
            yield
        except OSError:
            # It may have missed what the other export deleted.
            self.check_claim()
            raise
        finally:
            # A claim that stays keeps no one out.
            with contextlib.suppress(Exception):
                if self._claim is not None and self._present_claim() == self._claim:
                    self._system.delete_file(self._at(LOCK))
            self._claim = None

    def claim(self, since: str) -> None:
        """Write a claim over that of any other export."""
        claim = {
            "export": secrets.token_hex(16),
            "host": socket.gethostname(),
            "since": since,
        }
        self._claim = json.dumps(claim).encode()
        with self.create(LOCK) as file:
            file.write(self._claim)
        self._forget()

    def check_claim(self) -> None:
        """Raise `OvertakenError` where the claim is not that of this export."""
        if self._claim is None:
            return
        present = self._present_claim()
        if present != self._claim:
            raise OvertakenError(_claimed_by(present))

    def claimed_since(self) -> str | None:
        """Return the time of a claim of the last day: clocks differ less, and exports end."""
        with contextlib.suppress(ValueError, KeyError, TypeError):
            since: str = json.loads(self._present_claim() or b"")["since"]
            age = abs(datetime.now(UTC) - datetime.fromisoformat(since))
            return since if age < timedelta(days=1) else None
        return None

    def _present_claim(self) -> bytes | None:
        self._forget()
        try:
            with self._system.open_input_stream(self._at(LOCK)) as file:
                content: bytes = file.read()
        except FileNotFoundError:
            return None
        return content

    def _forget(self) -> None:
        if self._remembers is not None:
            self._remembers.invalidate_cache()

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[IO[bytes]]:
        """Open a new file; one that was not written to its end is deleted."""
        path = self._at(name)
        self._make_parent(path)
        stream = self._system.open_output_stream(path)
        try:
            yield stream
        except BaseException:
            with contextlib.suppress(Exception):
                stream.close()
                self._system.delete_file(path)
            raise
        stream.close()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make a private folder of this machine."""
        with tempfile.TemporaryDirectory(prefix=_SCRATCH) as folder:
            yield Path(folder)

    def adopt(self, path: Path, name: str) -> None:
        """Upload a file of this machine, and delete it here."""
        with path.open("rb") as source, self.create(name) as target:
            shutil.copyfileobj(source, target, 1024 * 1024)
        path.unlink()

    def move(self, source: str, to: str) -> None:
        """Copy a file over another one, then delete the copied one."""
        self._make_parent(self._at(to))
        self.check_claim()
        try:
            self._system.copy_file(self._at(source), self._at(to))
            self._system.delete_file(self._at(source))
        except OSError:
            self.check_claim()
            # The export that this one overtook, or completes, may have moved it in that moment.
            if self.is_file(source):
                raise

    def delete(self, name: str) -> None:
        """Delete a file, if it is there, and its folder where that is empty then."""
        is_there = self.is_file(name)
        # Last: what is there now may be of another export.
        self.check_claim()
        if not is_there:
            return
        with contextlib.suppress(FileNotFoundError):
            self._system.delete_file(self._at(name))
        folder = name.rpartition("/")[0]
        # An object store may keep a marker of the folder: a file will have its name.
        if folder and not self._system.get_file_info(pafs.FileSelector(self._at(folder), True)):
            self.delete_tree(folder)

    def delete_tree(self, name: str) -> None:
        """Delete a folder with its files, if it is there."""
        if self._kind(name) == pafs.FileType.Directory:
            with contextlib.suppress(FileNotFoundError):
                self._system.delete_dir(self._at(name))

    def read(self, name: str) -> bytes | None:
        """Return the content of a file; None: it is not there."""
        file = self.open(name)
        if file is None:
            return None
        with file:
            content: bytes = file.read()
            return content

    def open(self, name: str) -> pa.NativeFile | None:
        """Open a file to be read; None: it is not there."""
        if self.is_file(name):
            with contextlib.suppress(FileNotFoundError):
                return self._system.open_input_file(self._at(name))
        return None

    def exists(self, name: str) -> bool:
        """Whether something has this name."""
        return self._kind(name) in _PRESENT

    def is_file(self, name: str) -> bool:
        """Whether a file has this name."""
        return bool(self._kind(name) == pafs.FileType.File)

    def entries(self, name: str) -> list[str] | None:
        """Return the names in a folder; None: it is not there, or a file."""
        if self._kind(name) != pafs.FileType.Directory:
            return None
        listed = self._system.get_file_info(pafs.FileSelector(self._at(name), True))
        return sorted(info.base_name for info in listed)

    def settle(self) -> None:
        """Do nothing: the store does it."""

    def stagings(self) -> list[str]:
        """Return the names of staging folders."""
        listed = self._system.get_file_info(pafs.FileSelector(self._base or "", True))
        return sorted(
            info.base_name
            for info in listed
            if _STAGING_NAME.fullmatch(info.base_name) and info.type == pafs.FileType.Directory
        )

    def _kind(self, name: str) -> Any:
        return self._system.get_file_info(self._at(name)).type

    def _make_parent(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        if parent and self._has_folders:
            self._system.create_dir(parent, recursive=True)


def _claimed_by(claim: bytes | None) -> str:
    """Return who has a claim, for a message; empty: it is over."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        known = json.loads(claim or b"")
        return printable(f"on {known['host']} since {known['since']}")[:120]
    return ""


def target_of(path: object) -> LocalFolder | RemoteFolder:
    """Return the target of a path, URL or pyarrow file system.

    Raises
    ------
    ArgumentError
        It is none of these, or nothing installed reads such a URL.
    """
    if isinstance(path, pafs.FileSystem):
        return _target_of_system(path)
    if not isinstance(path, str | os.PathLike):
        # A frame would be many lines.
        shown = repr(path) if len(repr(path)) < _SHORT else type(path).__name__
        raise ArgumentError(
            f"path must be a folder, such as 'bi', not {shown}. It may be the URL of one."
        )
    text = os.fspath(path)
    if not text.strip():
        raise ArgumentError("path is empty. Pass a folder, such as 'bi', or the URL of one.")
    if "://" not in text:
        return LocalFolder(Path(text).expanduser().absolute())
    if text.startswith("file://"):
        return LocalFolder(Path(pafs.FileSystem.from_uri(text)[1]))
    shown = _without_credentials(text)
    try:
        system, base = pafs.FileSystem.from_uri(text)
    except (pa.ArrowException, OSError, ValueError):
        # What is no URL for pyarrow may have a password with / ? # [ or @ in it.
        shown = _after_credentials(text)
        system, base = _by_fsspec(text, shown)
    if isinstance(system, pafs.LocalFileSystem):
        return LocalFolder(Path(base).absolute())
    return RemoteFolder(system, base, shown)


def _target_of_system(system: pafs.FileSystem) -> LocalFolder | RemoteFolder:
    inner: Any = system
    bases: list[str] = []
    while isinstance(inner, pafs.SubTreeFileSystem):
        bases.insert(0, inner.base_path)
        inner = inner.base_fs
    if not isinstance(inner, pafs.LocalFileSystem):
        base = "/".join(base.strip("/") for base in bases)
        return RemoteFolder(system, "", f"{inner.type_name}://{base}")
    if not bases:
        raise ArgumentError(
            "path is the file system of this machine, without a folder. Pass the folder, such as"
            " 'bi'."
        )
    # A folder of this machine has private files and a lock, however it is named.
    return LocalFolder(Path(bases[0], *(base.strip("/") for base in bases[1:])).absolute())


def _by_fsspec(url: str, shown: str) -> tuple[Any, str]:
    try:
        fsspec = importlib.import_module("fsspec.core")
        system, base = fsspec.url_to_fs(url)
    except (ImportError, ValueError):
        # `from None`: the original message quotes the URL, which may hold credentials.
        raise ArgumentError(
            f"Nothing installed writes to {shown}. pyarrow knows s3://, gs://, abfs:// and"
            " hdfs://; for others install fsspec and its package for the scheme."
        ) from None
    if "file" in ((system.protocol,) if isinstance(system.protocol, str) else system.protocol):
        return pafs.LocalFileSystem(), base
    return pafs.PyFileSystem(pafs.FSSpecHandler(system)), base


def _without_credentials(url: str) -> str:
    """Return scheme, host and path of a URL: user, password and query may hold credentials."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return _after_credentials(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def _after_credentials(url: str) -> str:
    """Return scheme, host and path of what may be no valid URL: nothing of a user and password,
    whatever signs they have.
    """
    scheme, _, rest = url.partition("://")
    before, at, _ = rest.partition("@")
    # A user alone has no colon; an @ after a slash, without one, is of the path.
    if at and (":" in before or "/" not in before):
        rest = rest.rpartition("@")[2]
    return f"{scheme}://{re.split('[?#]', rest, maxsplit=1)[0]}"


__all__ = [
    "LOCK",
    "STAGING",
    "LocalFolder",
    "OvertakenError",
    "RemoteFolder",
    "Target",
    "target_of",
]

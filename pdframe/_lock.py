"""Lock a folder or a file between processes and threads."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from pdframe.errors import CacheError

__all__ = ["POLL_SECONDS", "LockHandle", "locked", "locked_file"]

YEAR_SECONDS = 365 * 86_400.0
POLL_SECONDS = 0.05


class LockHandle:
    """A lock of one thread and of its workers: it is released when the last of them is done.

    Parameters
    ----------
    release
        Releases the lock.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release
        self._holders = 1
        self._counter_lock = threading.Lock()

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock in this thread as well; `CacheError` where it is released already."""
        with self._counter_lock:
            if not self._holders:
                raise CacheError(
                    "The sync was stopped before this work began. No request was sent."
                )
            self._holders += 1
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Give up this thread's hold."""
        with self._counter_lock:
            self._holders -= 1
            is_last = not self._holders
        if is_last:
            self._release()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[LockHandle]:
    """Keep every other process and thread out that locks the folder; wait while one holds it."""
    try:
        release = _acquire(folder / ".lock", POLL_SECONDS)
    except OSError as error:
        raise CacheError(
            f"The cache folder {folder} cannot be locked: {error.strerror}. No request was sent."
            " Make it writable, give another one with cache_dir=..., or read what is cached with"
            " refresh=False."
        ) from error
    handle = LockHandle(release)
    try:
        yield handle
    finally:
        handle.release()


@contextlib.contextmanager
def locked_file(path: Path, *, poll_seconds: float = POLL_SECONDS) -> Iterator[None]:
    """Keep every other process and thread out that locks this file; poll while one holds it.

    Raises
    ------
    OSError
        The file cannot be locked: its folder is missing or not writable.
    """
    release = _acquire(path, poll_seconds)
    try:
        yield
    finally:
        release()


def _acquire(path: Path, poll_seconds: float) -> Callable[[], None]:
    """Lock a file, and return how to release it.

    A forked process holds no lock of its parent: filelock closes the files there.
    """
    # Not at the top: it takes a while, and a session that only reads its cache never locks.
    from filelock import FileLock

    # filelock would create a missing folder that other users can read.
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    lock = FileLock(path, mode=0o600, thread_local=False)
    # A timeout, however long: without one, filelock takes waiting for own threads for a deadlock.
    lock.acquire(timeout=YEAR_SECONDS, poll_interval=poll_seconds)
    return lock.release

"""Locks between processes and threads, on a file or on a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from pdframe.errors import CacheError

A_YEAR = 365 * 86_400.0
POLL_SECONDS = 0.05


class LockHandle:
    """A lock that is held for one thread, and for those that it hands out work to, until the last
    of them is done.

    Parameters
    ----------
    release
        How it is let go.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release
        self._holding = 1
        self._counting = threading.Lock()

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Hold it in this thread as well; `CacheError` where it is let go already."""
        with self._counting:
            if not self._holding:
                raise CacheError(
                    "The work was given up before it began. Nothing was asked of the API."
                )
            self._holding += 1
        try:
            yield
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Be done with it."""
        with self._counting:
            self._holding -= 1
            last = not self._holding
        if last:
            self._release()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[LockHandle]:
    """Keep every other process and thread out that locks the folder; wait where one has."""
    try:
        release = _acquire(folder / ".lock", POLL_SECONDS)
    except OSError as error:
        raise CacheError(
            f"The cache folder {folder} cannot be locked: {error.strerror}. Nothing was asked of"
            " the API. Make it writable, give another one with cache_dir=..., or read what is"
            " cached with refresh=False."
        ) from error
    kept = LockHandle(release)
    try:
        yield kept
    finally:
        kept.let_go()


@contextlib.contextmanager
def locked_file(path: Path, *, poll_seconds: float = POLL_SECONDS) -> Iterator[None]:
    """Keep every other process and thread out that locks this file; wait where one has, and try
    again after `poll_seconds`.

    Raises
    ------
    OSError
        The file cannot be locked: its folder is gone or cannot be written.
    """
    release = _acquire(path, poll_seconds)
    try:
        yield
    finally:
        release()


def _acquire(path: Path, poll_seconds: float) -> Callable[[], None]:
    """Lock a file, and return how to release it. A forked process holds no lock of its parent:
    filelock closes the files there.
    """
    # Not at the top: it takes a while, and a session that only reads its cache never locks.
    from filelock import FileLock

    # filelock would make a folder that is missing, in the mode of any folder.
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
    lock = FileLock(path, mode=0o600, thread_local=False)
    # With an end, however far: without one, waiting for threads that this one handed out is taken
    # for a deadlock.
    lock.acquire(timeout=A_YEAR, poll_interval=poll_seconds)
    return lock.release

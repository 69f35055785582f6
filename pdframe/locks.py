"""A lock on a folder, for one thread and those that it hands out work to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from pdframe.errors import CacheError

A_YEAR = 365 * 86_400.0


class Held:
    """A lock that is held for one thread, and for those that it hands out work to, until the last of them is done.

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
                raise CacheError("The work was given up before it began. Nothing was asked of the API.")
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
def locked(folder: Path) -> Iterator[Held]:
    """Keep every other process and thread out that locks the folder; wait where one has."""
    # Not at the top: it takes a while, and a session that only reads its cache never locks.
    from filelock import FileLock

    try:
        lock = FileLock(folder / ".lock", mode=0o600, thread_local=False)
        # With an end, however far: without one, waiting for threads that this one handed out is taken for a deadlock.
        lock.acquire(timeout=A_YEAR)
    except OSError as error:
        raise CacheError(f"The cache folder {folder} cannot be locked: {error.strerror}.") from error
    held = Held(lock.release)
    try:
        yield held
    finally:
        held.let_go()

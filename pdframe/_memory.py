"""Memory: return what is unused to the system, and pause the garbage collector while JSON is
decoded. JSON has no cycles, and the search for them takes a sixth of the time.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
import threading
from collections.abc import Iterator

import pyarrow as pa

from pdframe._forks import call_after_fork

__all__ = ["release_memory", "uncollected"]


def release_memory() -> None:
    """Return memory that a large table used: Arrow's pool and glibc keep it for later otherwise."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


_lock = threading.Lock()
_reading = 0
_was_on = False


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Pause the garbage collector until the last thread leaves this context; then restore it."""
    global _reading, _was_on
    with _lock:
        if not _reading:
            _was_on = gc.isenabled()
            gc.disable()
        _reading += 1
    try:
        yield
    finally:
        with _lock:
            _reading -= 1
            if not _reading and _was_on:
                gc.enable()


def _after_fork() -> None:
    """Restore the garbage collector in a forked process, which has none of the threads that paused
    it.
    """
    global _lock, _reading
    _lock = threading.Lock()
    if _reading and _was_on:
        gc.enable()
    _reading = 0


call_after_fork(_after_fork)

"""Reading JSON without the garbage collector: what is read holds no cycles, and looking for some
takes a sixth of the time.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

from pdframe._forks import call_after_fork

_lock = threading.Lock()
_reading = 0
_was_on = False


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from running until the last thread that is in here has left; then
    it is as it was.
    """
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
    """The threads that were in here are not in the child: the garbage collector runs there as
    before.
    """
    global _lock, _reading
    _lock = threading.Lock()
    if _reading and _was_on:
        gc.enable()
    _reading = 0


call_after_fork(_after_fork)

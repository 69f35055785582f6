"""Issue every `DataWarning` of pdframe: at the user's line, and after the work where that matters.

A warning names the line of the user's code that led to it, not a line of pdframe. A worker thread
has no such line: it collects its warnings, and the thread that waits for it issues them.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence

from pdframe.errors import DataWarning

__all__ = ["collect_warnings", "deferred_warnings", "is_collecting", "warn"]

# The packages whose frames lie between the user's line and a warning.
_INTERNAL = frozenset({"pdframe", "contextlib"})
_collecting = threading.local()


def warn(message: str, notes: Sequence[str] = ()) -> None:
    """Issue a `DataWarning` at the user's line, or collect it where this thread collects; `notes`
    are what it sums up.
    """
    collected = getattr(_collecting, "messages", None)
    if collected is not None:
        collected.append(message)
        return
    frame, level = sys._getframe(1), 2
    while (
        frame.f_back is not None
        and str(frame.f_globals.get("__name__")).partition(".")[0] in _INTERNAL
    ):
        frame, level = frame.f_back, level + 1
    warning = DataWarning(message)
    warning.notes = tuple(notes)
    warnings.warn(warning, stacklevel=level)


def is_collecting() -> bool:
    """Whether this thread collects its warnings."""
    return getattr(_collecting, "messages", None) is not None


@contextlib.contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Collect the messages of this thread's warnings instead of issuing them."""
    outer = getattr(_collecting, "messages", None)
    messages: list[str] = []
    _collecting.messages = messages
    try:
        yield messages
    finally:
        _collecting.messages = outer


@contextlib.contextmanager
def deferred_warnings() -> Iterator[None]:
    """Issue the warnings of the block at its end: where warnings are errors, its work is done."""
    messages: list[str] = []
    try:
        with collect_warnings() as messages:
            yield
    finally:
        for message in messages:
            warn(message)

"""Issue every `DataWarning` of pdframe: at the user's line, and after the work where that matters.

A warning names the line of the user's code that led to it, not a line of pdframe. A worker thread
has no such line: it collects its warnings, and the thread that waits for it issues them. What is
noticed in the data is a `Fact`: a loader collects the messages of a call, and
`cache.messages` decides which of them the user has not read yet.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pdframe.errors import DataWarning

__all__ = [
    "MISFIT",
    "OUTSIDE",
    "ROW",
    "UNDEFINED",
    "Fact",
    "Notice",
    "collect_warnings",
    "deferred_warnings",
    "is_collecting",
    "warn",
    "warn_beside",
]

# The kinds of facts.
MISFIT, UNDEFINED = "does not fit its type", "option not defined"
OUTSIDE, ROW = "outside its vocabulary", "row left out"

# The packages whose frames lie between the user's line and a warning.
_INTERNAL = frozenset({"pdframe", "contextlib"})
_collecting = threading.local()


@dataclass(frozen=True, slots=True)
class Fact:
    """What is wrong with the values of one column of a table.

    Attributes
    ----------
    table, column
        Where; the column as frames name it, empty where whole rows are concerned.
    kind
        What: `MISFIT`, `UNDEFINED`, `OUTSIDE` or `ROW`.
    count
        How many cells or rows.
    example
        One of the values.
    code
        The name of the column in the cache.
    """

    table: str
    column: str
    kind: str
    count: int
    example: str
    code: str = ""


class Notice(str):
    """The message of a warning, with the fact that it tells; `once`: an account says it once."""

    fact: Fact | None = None
    once: bool = False


def warn(
    message: str, notes: Sequence[str] = (), *, fact: Fact | None = None, once: bool = False
) -> None:
    """Issue a `DataWarning` at the user's line, or collect it where this thread collects.

    Parameters
    ----------
    message
        What is said.
    notes
        What it sums up.
    fact
        The fact in the data that it tells.
    once
        Whether an account says it once, as it says a fact: it stays true.
    """
    collected = getattr(_collecting, "messages", None)
    if collected is not None:
        notice = Notice(message)
        known = message if isinstance(message, Notice) else notice
        notice.fact = fact or known.fact
        notice.once = once or known.once or notice.fact is not None
        collected.append(notice)
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
    """Collect the messages of this thread's warnings, each a `Notice`, instead of issuing them."""
    outer = getattr(_collecting, "messages", None)
    messages: list[str] = []
    _collecting.messages = messages
    try:
        yield messages
    finally:
        _collecting.messages = outer


@contextlib.contextmanager
def deferred_warnings() -> Iterator[None]:
    """Issue the warnings of the block at its end: where warnings are errors, its work is done. An
    error that ends the block is never replaced by one of its warnings.
    """
    messages: list[str] = []
    try:
        with collect_warnings() as messages:
            yield
    except BaseException as error:
        for message in messages:
            warn_beside(error, message)
        raise
    for message in messages:
        warn(message)


def warn_beside(error: BaseException, message: str, notes: Sequence[str] = ()) -> None:
    """Warn of what work noticed before `error` ended it; where warnings are errors, add it to that
    error as a note.
    """
    try:
        warn(message, notes)
    except DataWarning as warning:
        error.add_note(f"DataWarning: {warning}")

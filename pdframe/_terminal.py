"""Print frames and CRM text to a terminal: columns that fit, no control characters."""

from __future__ import annotations

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence

import pandas as pd

_CELL = 28
_NARROWEST = 12
_GAPS = ("  ", " ")


def terminal_width() -> int | None:
    """Return the columns of the terminal; None if the output is not a terminal."""
    return max(80, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None


def table_text(
    frame: pd.DataFrame,
    *,
    widest: int = _CELL,
    width: int | None = None,
    complete: Sequence[str] = (),
) -> str:
    """Format a frame as lines of text: numbers to the right, everything else to the left.

    Parameters
    ----------
    frame
        The frame.
    widest
        Maximum characters of a cell.
    width
        Columns of the terminal: text is truncated further until a line fits, but stays readable;
        None: no limit.
    complete
        Columns that are never truncated.
    """
    columns: list[list[str]] = []
    sizes: list[int] = []
    right: list[bool] = []
    soft: list[int] = []
    for place, name in enumerate(frame.columns):
        values = frame.iloc[:, place]
        limit = 10_000 if name in complete else widest
        cells = [
            _cut(printable(str(name)), limit),
            *(_cut(_text(value), limit) for value in values.astype("object")),
        ]
        columns.append(cells)
        sizes.append(max(map(_size, cells)))
        right.append(
            pd.api.types.is_numeric_dtype(values.dtype)
            and not pd.api.types.is_bool_dtype(values.dtype)
        )
        if not (
            right[-1] or name in complete or pd.api.types.is_datetime64_any_dtype(values.dtype)
        ):
            soft.append(place)
    gap = next(
        (
            gap
            for gap in _GAPS
            if width is None or sum(sizes) + len(gap) * (len(sizes) - 1) <= width
        ),
        _GAPS[-1],
    )
    if width is not None:
        while sum(sizes) + len(gap) * (len(sizes) - 1) > width and soft:
            most = max(soft, key=sizes.__getitem__)
            if sizes[most] <= _NARROWEST:
                break
            sizes[most] -= 1
    lines = []
    for row in zip(*columns, strict=True):
        padded = [
            _pad(_cut(cell, size), size, to_right)
            for cell, size, to_right in zip(row, sizes, right, strict=True)
        ]
        lines.append(gap.join(padded).rstrip())
    return "\n".join(lines)


def sentences(text: str) -> str:
    """Wrap prose to the terminal; one line if the output is not a terminal."""
    width = terminal_width()
    return (
        printable(text)
        if width is None
        else textwrap.fill(printable(text), width, break_long_words=False, break_on_hyphens=False)
    )


def printable(text: str) -> str:
    """Replace characters that control a terminal: control characters, changes of direction, line
    ends.
    """
    return "".join(mark if mark.isprintable() else " " for mark in text)


def _text(value: object) -> str:
    if hasattr(value, "__iter__") and not isinstance(value, str):
        value = ", ".join(map(str, value))
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return ""
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d %H:%M")
    return f"{value:.2f}" if isinstance(value, float) else printable(str(value))


def _size(text: str) -> int:
    """Count the columns of a text: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.category(mark) in ("Mn", "Me")
        else 2
        if unicodedata.east_asian_width(mark) in "WF"
        else 1
        for mark in text
    )


def _cut(text: str, size: int) -> str:
    if _size(text) <= size:
        return text
    while text and _size(text) > size - 1:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _pad(text: str, size: int, to_right: bool) -> str:
    blank = " " * (size - _size(text))
    return blank + text if to_right else text + blank


__all__ = [
    "printable",
    "sentences",
    "table_text",
    "terminal_width",
]

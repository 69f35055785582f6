"""The result of a command: its frame as a table of text, or as the rows of a JSON object."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from pdframe._command_line import DONE, described_error, time_text
from pdframe._terminal import sentences, table_text, terminal_width

UNKNOWN_COST = ", and what is still unknown"
"""After the sum of an estimate that lacks costs."""


@dataclass(frozen=True)
class Result:
    """What a command did.

    Attributes
    ----------
    rows
        Its rows, for JSON.
    show
        Prints the same for people.
    totals
        What sums the rows up.
    code
        The exit code.
    error
        Why not all was done, as JSON shows it; None: all was.
    """

    rows: pd.DataFrame
    show: Callable[[], None]
    totals: Mapping[str, Any] = field(default_factory=dict)
    code: int = DONE
    error: Mapping[str, Any] | None = None


def json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as JSON holds them: no value is null, times are ISO 8601,
    durations seconds.
    """
    columns = [
        [json_value(value) for value in frame.iloc[:, place].astype("object")]
        for place in range(frame.shape[1])
    ]
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def json_value(value: Any) -> Any:
    """Return a cell, or a total, as JSON holds it."""
    if isinstance(value, Mapping):
        return {str(name): json_value(part) for name, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [json_value(part) for part in value]
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, np.generic):
        return json_value(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, date | time):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else str(value)


def unavailable(rows: pd.DataFrame) -> dict[str, Any] | None:
    """Return the tables that are unavailable, and why, as the error of a command; None: none is."""
    if rows.empty:
        return None
    notes = [f"{table}: {note}" for table, note in zip(rows["table"], rows["note"], strict=True)]
    return described_error("AccessError", "\n".join(notes))


def show_table(frame: pd.DataFrame, **how: int) -> None:
    """Print a frame."""
    # Hashes are complete, because readers copy them.
    print(table_text(frame, width=terminal_width(), complete=["table", "code"], **how))


def show_notes(rows: pd.DataFrame) -> None:
    """Print a line a note, with the tables it belongs to."""
    notes = rows[rows["note"].fillna("") != ""]
    if len(notes):
        print()
    for note, tables in notes.groupby("note", sort=False)["table"]:
        print(sentences(f"{', '.join(tables)}: {note}"))


__all__ = [
    "UNKNOWN_COST",
    "Result",
    "json_rows",
    "json_value",
    "show_notes",
    "show_table",
    "unavailable",
]

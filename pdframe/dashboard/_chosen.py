"""The frames of the deals that a reader chose, and the code that chooses them in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd

from pdframe.dashboard._data import Data
from pdframe.dashboard.state import State, condition, filtered

__all__ = [
    "Chosen",
    "Notes",
    "arguments",
    "as_text",
    "in_currency",
    "like",
    "rows_of",
    "script",
]

_LOADS: Mapping[str, str] = MappingProxyType(
    {
        "visits": "account.stage_visits()",
        "history": "account.deal_history()",
        "products": "account.deal_products()",
        "stages": "account.stages()",
        "pipelines": "account.pipelines()",
        "users": "account.users()",
    }
)


class Chosen:
    """The frames of an account, cut to the deals that a reader chose.

    Parameters
    ----------
    data
        The frames.
    state
        What the reader chose.
    """

    def __init__(self, data: Data, state: State) -> None:
        self._data, self._state = data, state
        self.deals = filtered(data.deals, state)

    @property
    def is_all(self) -> bool:
        """Whether nothing is filtered."""
        return not self._state.chosen

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of a frame that belong to these deals."""
        if self.is_all:
            return frame
        return like(frame[frame["deal_id"].isin(self.deals["id"])], frame)

    def code(self, *names: str) -> list[str]:
        """Return the lines that load these deals and the frames of these names."""
        lines = ["deals = account.deals(deleted=True)"]
        for column, value in self._state.chosen:
            lines.append(f"deals = deals[{condition(self._data.deals, column, value)}]")
        for name in names:
            lines.append(f"{name} = {_LOADS[name]}")
            if not self.is_all and name in ("visits", "history", "products"):
                lines.append(f'{name} = {name}[{name}["deal_id"].isin(deals["id"])]')
        return lines


class Notes:
    """What metrics noted, each note once."""

    def __init__(self, notes: Any = ()) -> None:
        self._notes = dict.fromkeys(notes)

    @property
    def every(self) -> tuple[str, ...]:
        """The notes, in the order in which they were added."""
        return tuple(self._notes)

    def add(self, *notes: str) -> None:
        """Add notes that are not there yet."""
        self._notes.update(dict.fromkeys(notes))

    def of(self, metric: Callable[..., pd.DataFrame], *frames: Any, **how: Any) -> pd.DataFrame:
        """Call a metric and keep its notes."""
        result = metric(*frames, **how)
        self.add(*result.attrs.get("notes", ()))
        return result


def in_currency(frame: pd.DataFrame, currency: str | None) -> pd.DataFrame:
    """Return the rows of one currency."""
    return rows_of(frame, "currency", currency)


def rows_of(frame: pd.DataFrame, column: str, value: Any) -> pd.DataFrame:
    """Return the rows with one value in a column."""
    return like(frame[frame[column].eq(value).fillna(False).astype(bool)], frame)


def like(rows: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Return some rows of a frame, numbered, with its `attrs`."""
    rows = rows.reset_index(drop=True)
    rows.attrs = dict(frame.attrs)
    return rows


def script(*lines: str) -> str:
    """Return lines as a script that has the account as `account`."""
    return "\n".join(["from pdframe import metrics", "", *lines, ""])


def as_text(time: pd.Timestamp) -> str:
    """Return a time as text that metrics read as the same time."""
    return f"'{time}'"


def arguments(data: Data, **texts: str) -> str:
    """Return keyword arguments as the text of a dictionary, the rates of amounts among them."""
    if data.rates is not None:
        # A frame of rates has no short text: the reader who gave it has it under a name.
        is_short = isinstance(data.rates, Mapping)
        texts["rates"] = repr(dict(data.rates)) if is_short else "rates"
    return "{" + ", ".join(f"{name!r}: {text}" for name, text in texts.items()) + "}"

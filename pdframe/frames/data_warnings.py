"""Count the values and rows of the API that do not fit their type, with one example a column."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pdframe._warnings import warn

_EXAMPLE = reprlib.Repr()
_EXAMPLE.maxstring = _EXAMPLE.maxother = _EXAMPLE.maxlong = 60
_EXAMPLE.maxlevel = 2
_EXAMPLE.maxdict = _EXAMPLE.maxlist = 3


def shorten(value: object) -> str:
    """Return one printable line, at most 120 characters, that shows a value."""
    try:
        return _EXAMPLE.repr(value)[:120]
    except (ValueError, RecursionError):  # integers past Python's limit of digits
        return f"{type(value).__name__} too long to print"


@dataclass
class Problems:
    """Values and rows of one table that did not fit.

    Parameters
    ----------
    cells
        For each storage column, how many of its cells are null for that reason, and one example.
    rows
        How many rows were left out: they are no objects, or lack the table's key.
    row_example
        One of these rows.
    """

    cells: dict[str, tuple[int, str]] = field(default_factory=dict)
    rows: int = 0
    row_example: str = ""

    def __bool__(self) -> bool:
        return bool(self.cells or self.rows)

    @classmethod
    def from_plain(cls, raw: Mapping[str, Any]) -> Problems:
        """Read problems from what `dataclasses.asdict` made of them; `KeyError`, `TypeError` or
        `ValueError` where `raw` is something else.
        """
        cells = {
            str(column): (int(count), str(example))
            for column, (count, example) in raw["cells"].items()
        }
        return cls(cells, int(raw["rows"]), str(raw["row_example"]))

    def add_cell(self, column: str, value: object) -> None:
        """Count one value that does not fit its column."""
        count, example = self.cells.get(column) or (0, shorten(value))
        self.cells[column] = (count + 1, example)

    def add_row(self, row: object) -> None:
        """Count one row that is left out."""
        self.row_example = self.row_example or shorten(row)
        self.rows += 1

    def merge(self, other: Problems) -> None:
        """Add the problems of another part."""
        for column, (count, example) in other.cells.items():
            before, first = self.cells.get(column, (0, example))
            self.cells[column] = (before + count, first)
        self.rows += other.rows
        self.row_example = self.row_example or other.row_example

    def messages(self, names: Mapping[str, str] | None = None) -> list[str]:
        """Describe each problem in a sentence; `names` maps storage columns to labels."""
        messages = [
            f"column {shorten((names or {}).get(column, column))}: {count}"
            f" {'value does' if count == 1 else 'values do'} not fit the declared type and"
            f" {'is' if count == 1 else 'are'} null, for example {example}."
            for column, (count, example) in self.cells.items()
        ]
        if self.rows:
            what = (
                "row has no id or is no object and is"
                if self.rows == 1
                else "rows have no id or are no objects and are"
            )
            messages.append(f"{self.rows} {what} left out, for example {self.row_example}.")
        return messages

    def warn(self, table: str, names: Mapping[str, str] | None = None) -> None:
        """Issue one `DataWarning` for each column, and one for the rows."""
        for message in self.messages(names):
            warn(f"{table}, {message}")

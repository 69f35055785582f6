"""What could not be kept as it came, counted, with one example a column."""

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
    """One printable line, at most 120 characters, that shows a value."""
    try:
        return _EXAMPLE.repr(value)[:120]
    except (ValueError, RecursionError):  # integers past Python's limit of digits
        return f"{type(value).__name__} too long to print"


@dataclass
class Problems:
    """Values that did not fit, of one table.

    Parameters
    ----------
    cells
        Storage column to how many of its cells are null for that reason, and one example.
    rows
        How many rows could not be kept at all: no object, or without the table's key.
    row_example
        One of them.
    """

    cells: dict[str, tuple[int, str]] = field(default_factory=dict)
    rows: int = 0
    row_example: str = ""

    def __bool__(self) -> bool:
        return bool(self.cells or self.rows)

    @classmethod
    def from_plain(cls, raw: Mapping[str, Any]) -> Problems:
        """Read back what `dataclasses.asdict` made of some; `KeyError`, `TypeError` or `ValueError`
        where it is something else.
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
        """Count one row that cannot be kept."""
        self.row_example = self.row_example or shorten(row)
        self.rows += 1

    def merge(self, other: Problems) -> None:
        """Add another part's problems to these."""
        for column, (count, example) in other.cells.items():
            before, first = self.cells.get(column, (0, example))
            self.cells[column] = (before + count, first)
        self.rows += other.rows
        self.row_example = self.row_example or other.row_example

    def messages(self, names: Mapping[str, str] | None = None) -> list[str]:
        """Tell each problem in a sentence; `names` maps storage columns to labels."""
        reported = [
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
            reported.append(f"{self.rows} {what} left out, for example {self.row_example}.")
        return reported

    def warn(self, table: str, names: Mapping[str, str] | None = None) -> None:
        """Issue one `DataWarning` per column concerned."""
        for message in self.messages(names):
            warn(f"{table}, {message}")

"""The cells of cached frames beside those of true rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from tests.helpers import true_cells


class Shown:
    """A frame's rows as plain values, and true rows as that frame would show them.

    Parameters
    ----------
    frame
        As a loader gives it with `labels=False`.
    table
        Its table.
    codes
        Custom fields to compare. Columns of any other field are left out: fields that came or went
        while the frame was made.
    """

    def __init__(self, frame: pd.DataFrame, table: str, codes: frozenset[str]) -> None:
        self.table = table
        self._columns: dict[str, tuple[str, str] | None] = {}
        for column in frame.columns:
            # A hash has forty digits; what follows it names a part.
            code = (
                column[:40]
                if len(column) >= 40 and all(digit in "0123456789abcdef" for digit in column[:40])
                else None
            )
            if code is None or code in codes:
                self._columns[column] = None if code is None else (code, column[41:] or "value")
        self._dtypes = {column: frame[column].dtype for column in self._columns}
        cells = {
            column: [self._plain(column, value) for value in frame[column]]
            for column in self._columns
        }
        self.rows: dict[Any, dict[str, Any]] = {}
        for number, values in zip(frame["id"], zip(*cells.values(), strict=True), strict=True):
            assert number not in self.rows, (table, number, "is there twice")
            self.rows[int(number)] = dict(zip(cells, values, strict=True))

    def _plain(self, column: str, value: Any) -> Any:
        return self._seconds(column, true_cells.cell(value))

    def _seconds(self, column: str, value: Any) -> Any:
        # An event knows its second; the milliseconds are the wire's.
        exact = (
            self.table not in true_cells.MILLISECONDS
            or not column.endswith("_time")
            or value is None
        )
        return value if exact else value.replace(microsecond=0)

    def true(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A true row as the frame shows it."""
        result = {}
        for column, custom in self._columns.items():
            wire = (
                true_cells.custom_value(dict(row), *custom)
                if custom
                else true_cells.wire_value(dict(row), column, self.table)
            )
            result[column] = self._seconds(column, true_cells.expected(wire, self._dtypes[column]))
        return result

    def differences(self, number: int, row: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Columns in which the frame's row is not the true one: what is shown and what is true."""
        shown, true = self.rows[number], self.true(row)
        return {
            column: (shown[column], true[column])
            for column in shown
            if shown[column] != true[column]
        }

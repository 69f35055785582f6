"""Opaque keyset cursors: the last row's sort value and id, as base64 JSON."""

import base64
import binascii
import json
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pdframe.sandbox.server.answers import bad_request

Row = dict[str, Any]


class Entry(NamedTuple):
    """A row's place in a sorted list: empty values first, ties by id."""

    filled: bool
    value: Any
    id: Any


class Cursors:
    """Makes and reads cursors; ``lifetime`` in seconds of real time, None for ever."""

    def __init__(self, lifetime: float | None) -> None:
        self.lifetime = lifetime
        self._generation = 0

    def expire(self) -> None:
        """Refuse every cursor given out so far."""
        self._generation += 1

    def make(self, place: str, field: str, direction: str, value: Any, row_id: Any) -> str:
        """Write the cursor behind a row; ``place`` is the list that it belongs to."""
        mark = {
            "field": field,
            "fieldValue": value,
            "sortDirection": direction,
            "id": row_id,
            "of": place,
            "at": round(time.time(), 3),
            "no": self._generation,
        }
        return (
            base64.urlsafe_b64encode(json.dumps(mark, separators=(",", ":")).encode())
            .decode()
            .rstrip("=")
        )

    def read(self, cursor: str, place: str, field: str, direction: str) -> tuple[Any, Any]:
        """Read a cursor back to sort value and id; refuses garbage, other lists' and other
        sortings' cursors, and expired ones.
        """
        refusal = bad_request("cursor is not valid")
        try:
            mark = json.loads(
                base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            )
        except (ValueError, binascii.Error, RecursionError):
            raise refusal from None
        if not isinstance(mark, dict) or (
            mark.get("of"),
            mark.get("field"),
            mark.get("sortDirection"),
        ) != (place, field, direction):
            raise refusal
        stamp = mark.get("at")
        if mark.get("no") != self._generation or not isinstance(stamp, int | float):
            raise refusal
        if self.lifetime is not None and time.time() - stamp > self.lifetime:
            raise refusal
        return mark.get("fieldValue"), mark.get("id")


def step(
    entries: Sequence[Entry],
    rows: dict[Any, Row],
    fits: Callable[[Row], bool],
    *,
    after: tuple[Any, Any] | None,
    descending: bool,
    limit: int,
) -> tuple[list[Row], Entry | None]:
    """Take one page of a sorted list, and the entry to go on from, None at the end."""
    try:
        if descending:
            start = (
                len(entries)
                if after is None
                else bisect_left(entries, Entry(after[0] is not None, *after))
            )
            indices = range(start - 1, -1, -1)
        else:
            start = (
                0 if after is None else bisect_right(entries, Entry(after[0] is not None, *after))
            )
            indices = range(start, len(entries))
    except TypeError:
        raise bad_request("cursor is not valid") from None
    page: list[Row] = []
    last: Entry | None = None
    for index in indices:
        entry = entries[index]
        row = rows[entry.id]
        if fits(row):
            if len(page) == limit:
                return page, last
            page.append(row)
            last = entry
    return page, None

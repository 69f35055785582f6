"""Walks a list from page to page by its cursor, and never takes a broken walk for a whole one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from pdframe.api.client import Client, Page
from pdframe.api.responses import Decode
from pdframe.errors import ArgumentError, ResponseError

__all__ = ["another_list", "walk"]

# Pages without rows may occur where rows are filtered out; a list of nothing but these has no end.
MOST_EMPTY_PAGES = 100
MOST_PAGES = 1_000_000
# Pages that hold nothing but rows that an earlier page held: a server that gives more of them gives
# the same rows for ever.
MAX_REPEATED_PAGES = 5
# The most rows that the API gives at once; a request costs the same whatever it asks for.
PAGE = 500
_NULL = type(None)


def walk(
    client: Client,
    path: str,
    params: Mapping[str, Any] | None,
    *,
    cost: int,
    api: str = "v2",
    limit: int | None = PAGE,
    start: str | None = None,
    decode: Decode | None = None,
) -> Iterator[Page]:
    """Yield the pages of a list, each asked for with all filters.

    Parameters
    ----------
    client
        Whom to ask.
    path
        Of the list, such as "/deals".
    params
        The filters, without `limit` and `cursor`.
    cost
        Tokens a page.
    api
        "v2" or "v1".
    limit
        Rows a page; the cost is the same for one and for 500; None: the API takes none, as where a
        list comes as a whole.
    start
        The cursor to go on from, as an earlier page's `next_cursor` gave it; None begins.
    decode
        Reader of the pages, as `Client.get` takes it.

    Yields
    ------
    Page
        In the server's order; the page without a `next_cursor` is the last.

    Raises
    ------
    ResponseError
        Where a cursor comes back a second time, the pages find no end, some bring nothing but rows
        that came before, or one holds no list of rows: what was yielded is no whole list.
    PdframeError
        What `Client.get` raises.
    """
    filters = dict(params or {})
    if filters.keys() & {"limit", "cursor"}:
        raise ArgumentError(
            "A walk sets limit and cursor itself: give limit= and start= instead of parameters."
        )
    cursor, seen, empty = start, {start}, 0
    rows_seen, repeated = _RowsSeen(), 0
    for _ in range(MOST_PAGES):
        page = client.get_json(
            path, filters | {"limit": limit, "cursor": cursor}, cost=cost, api=api, decode=decode
        )
        # Pages without rows and pages without new ones may alternate: only new rows end either
        # count.
        if rows_seen.add(page.rows):
            empty = repeated = 0
        elif page.rows:
            repeated += 1
        else:
            empty += 1
        cursor = page.next_cursor
        if cursor is not None and cursor in seen:
            raise ResponseError(
                f"{page.path} gave the same cursor twice: the list would never end. It is not"
                " whole; load it again.",
                status=200,
            )
        if cursor is not None and empty > MOST_EMPTY_PAGES:
            raise ResponseError(
                f"{page.path} gave {empty} pages without rows in a row. The list is not whole; load"
                " it again.",
                status=200,
            )
        if cursor is not None and repeated >= MAX_REPEATED_PAGES:
            raise ResponseError(
                f"{page.path} gave {repeated} pages of rows that earlier pages held, each with a"
                " new cursor: the list would never end. It is not whole; load it again.",
                status=200,
            )
        yield page
        if cursor is None:
            return
        seen.add(cursor)
    raise ResponseError(f"{path} has more than {MOST_PAGES:,} pages. The list is not whole.")


def another_list(path: str, rows: Sequence[object], lacking: str) -> ResponseError:
    """Return the error for a page that belongs to another list: `lacking` says what none of its
    rows has.
    """
    which = f"{len(rows):,} rows of which none has" if len(rows) > 1 else "a row that lacks"
    return ResponseError(
        f"{path} was answered with {which} {lacking}: this is the answer of another list. Nothing"
        " of it is used; load it again.",
        status=200,
    )


class _RowsSeen:
    """The rows that a walk has met, in eight bytes each: sorted arrays, of which each is at least
    as long as all that follow it.
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray[Any, np.dtype[np.int64]]] = []

    def add(self, rows: Sequence[Any]) -> bool:
        """Add the rows of a page; tell whether one of them is new."""
        marks = np.unique(np.fromiter(_marks_of(rows), np.int64, len(rows)))
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, marks), len(run) - 1)
            marks = marks[run[places] != marks]
        if not len(marks):
            return False
        while self._runs and len(self._runs[-1]) < 2 * len(marks):
            marks = np.concatenate([self._runs.pop(), marks])
            marks.sort()
        self._runs.append(marks)
        return True


def _marks_of(rows: Sequence[Any]) -> Iterable[int]:
    """Return what tells the rows of a page apart: id and time of the last change, or the whole row
    where one has no id.
    """
    ids, times = _values(rows, "id"), _values(rows, "update_time")
    if {int, str}.issuperset(map(type, ids)) and {str, _NULL}.issuperset(map(type, times)):
        return map(hash, zip(ids, times, strict=True))
    return map(_mark_of, rows)


def _values(rows: Sequence[Any], key: str) -> list[Any]:
    """Return the values of a key, None in a row without it; rows are dicts, or all of one type with
    slots.
    """
    first = rows[0] if rows else {}
    if not isinstance(first, msgspec.Struct):
        return [row.get(key) for row in rows]
    slots = dict(zip(first.__struct_encode_fields__, first.__struct_fields__, strict=True))
    return list(map(attrgetter(slots[key]), rows)) if key in slots else [None] * len(rows)


def _mark_of(row: object) -> int:
    try:
        return hash(msgspec.json.encode(row))
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
        return id(row)  # what cannot be compared counts as new

"""Read a list page by page with its cursor.

A list that cannot be read to its end is an error, never a shorter list: a cursor that comes back,
pages without rows or without new rows, and too many pages all raise `ResponseError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from pdframe.api.client import Client, Page
from pdframe.api.responses import Decode
from pdframe.errors import ArgumentError, ResponseError

__all__ = ["another_list", "paginate"]

# Pages without rows may occur where rows are filtered out; a list of nothing but these has no end.
MAX_EMPTY_PAGES = 100
MAX_PAGES = 1_000_000
# Pages of nothing but rows of earlier pages: a server that sends more of them sends the same rows
# for ever.
MAX_REPEATED_PAGES = 5
# The most rows of one page; a request costs the same for fewer.
PAGE_ROWS = 500
_NULL = type(None)


def paginate(
    client: Client,
    path: str,
    params: Mapping[str, Any] | None,
    *,
    cost: int,
    api: str = "v2",
    limit: int | None = PAGE_ROWS,
    start: str | None = None,
    decode: Decode | None = None,
) -> Iterator[Page]:
    """Yield the pages of a list, each requested with all filters.

    Parameters
    ----------
    client
        Sends the requests.
    path
        Of the list, such as "/deals".
    params
        The filters, without `limit` and `cursor`.
    cost
        Tokens a page.
    api
        "v2" or "v1".
    limit
        Rows a page; None: the list takes no limit, since the API sends it as one page.
    start
        The cursor to resume from, an earlier page's `next_cursor`; None starts with the first page.
    decode
        Decoder of the pages, as in `Client.get`.

    Yields
    ------
    Page
        In the server's order; the page without a `next_cursor` is the last.

    Raises
    ------
    ResponseError
        A cursor came back, the pages have no end, some hold nothing but rows of earlier pages, or
        one holds no list of rows: the pages so far are not the complete list.
    PdframeError
        What `Client.get` raises.
    """
    filters = dict(params or {})
    if filters.keys() & {"limit", "cursor"}:
        raise ArgumentError(
            "paginate sets limit and cursor itself: give limit= and start= instead of parameters."
        )
    cursor, cursors, rows_seen = start, {start}, _RowsSeen()
    empty = repeated = 0
    for _ in range(MAX_PAGES):
        page = client.get_json(
            path, filters | {"limit": limit, "cursor": cursor}, cost=cost, api=api, decode=decode
        )
        rows, cursor = page.rows, page.next_cursor
        if cursor is None:
            yield page
            return
        # Pages without rows and pages without new ones may alternate: only new rows end either
        # count.
        if rows_seen.add(rows):
            empty = repeated = 0
        elif rows:
            repeated += 1
        else:
            empty += 1
        if cursor in cursors:
            raise ResponseError(
                f"{page.path} gave the same cursor twice: the list would never end. It is not"
                " complete; load it again.",
                status=200,
            )
        if empty > MAX_EMPTY_PAGES:
            raise ResponseError(
                f"{page.path} gave {empty} pages without rows in a row. The list is not"
                " complete; load it again.",
                status=200,
            )
        if repeated >= MAX_REPEATED_PAGES:
            raise ResponseError(
                f"{page.path} gave {repeated} pages that repeat rows of earlier pages, each with a"
                " new cursor: the list would never end. It is not complete; load it again.",
                status=200,
            )
        yield page
        cursors.add(cursor)
    raise ResponseError(f"{path} has more than {MAX_PAGES:,} pages. The list is not complete.")


def another_list(path: str, rows: Sequence[object], lacking: str) -> ResponseError:
    """Return the error for a page of another list: none of its rows has what `lacking` names."""
    which = f"{len(rows):,} rows of which none has" if len(rows) > 1 else "a row that lacks"
    return ResponseError(
        f"{path} was answered with {which} {lacking}: this is the answer of another list. None of"
        " it is used; load it again.",
        status=200,
    )


@dataclass(slots=True)
class _RowsSeen:
    """The rows of all pages so far, as a hash of eight bytes each.

    The hashes are in sorted arrays, each at least twice as long as the next one, so adding a page
    sorts few of them again.
    """

    runs: list[np.ndarray[Any, np.dtype[np.int64]]] = field(default_factory=list)

    def add(self, rows: Sequence[Any]) -> bool:
        """Add the rows of a page, and tell whether one of them is new. Rows are dicts, or all of
        one struct.

        The hash of a row is that of its id and the time of its last change, or of all of it where
        one has no id.
        """
        if rows and isinstance(rows[0], msgspec.Struct):
            kind = type(rows[0])
            slots = dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
            ids, times = (
                list(map(attrgetter(slots[key]), rows)) if key in slots else [None] * len(rows)
                for key in ("id", "update_time")
            )
        else:
            ids, times = ([row.get(key) for row in rows] for key in ("id", "update_time"))
        each: Iterable[int] = map(_hash_of, rows)
        if {int, str}.issuperset(map(type, ids)) and {str, _NULL}.issuperset(map(type, times)):
            each = map(hash, zip(ids, times, strict=True))
        hashes = np.sort(np.fromiter(each, np.int64, len(rows)))
        for run in self.runs:
            places = np.minimum(np.searchsorted(run, hashes), len(run) - 1)
            hashes = hashes[run[places] != hashes]
        if not len(hashes):
            return False
        while self.runs and len(self.runs[-1]) < 2 * len(hashes):
            hashes = np.concatenate([self.runs.pop(), hashes])
            hashes.sort()
        self.runs.append(hashes)
        return True


def _hash_of(row: object) -> int:
    try:
        return hash(msgspec.json.encode(row))
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
        return id(row)  # what cannot be compared counts as new

"""Walks a list from page to page by its cursor, and never takes a broken walk for a whole one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pdframe.api.client import Client, Page
from pdframe.api.replies import Decode
from pdframe.errors import ArgumentError, ResponseError

__all__ = ["walk"]

# Pages without rows may occur where rows are filtered out; a list of nothing but these has no end.
MOST_EMPTY_PAGES = 100
MOST_PAGES = 1_000_000
# The most rows that the API gives at once; a request costs the same whatever it asks for.
PAGE = 500


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
        Rows a page; the cost is the same for one and for 500; None: the API takes none, as where a list comes as a whole.
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
        Where a cursor comes back a second time, the pages find no end, or one holds no rows: what was yielded is no whole list.
    PdframeError
        What `Client.get` raises.
    """
    filters = dict(params or {})
    if filters.keys() & {"limit", "cursor"}:
        raise ArgumentError("A walk sets limit and cursor itself: give limit= and start= instead of parameters.")
    cursor, seen, empty = start, {start}, 0
    for _ in range(MOST_PAGES):
        page = client.get_json(path, filters | {"limit": limit, "cursor": cursor}, cost=cost, api=api, decode=decode)
        empty = 0 if page.rows else empty + 1
        cursor = page.next_cursor
        if cursor is not None and cursor in seen:
            raise ResponseError(
                f"{page.path} gave the same cursor twice: the list would never end. It is not whole; load it again.", status=200
            )
        if cursor is not None and empty > MOST_EMPTY_PAGES:
            raise ResponseError(f"{page.path} gave {empty} pages without rows in a row. The list is not whole; load it again.", status=200)
        yield page
        if cursor is None:
            return
        seen.add(cursor)
    raise ResponseError(f"{path} has more than {MOST_PAGES:,} pages. The list is not whole.")

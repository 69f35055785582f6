"""A usable answer of the API, and the page of rows in it."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from pdframe.errors import ResponseError

__all__ = ["Answer", "Page", "next_cursor"]

# As it stands in a query. A cursor of Pipedrive has some hundred characters.
MAX_CURSOR_CHARACTERS = 16_384


@dataclass(frozen=True, slots=True)
class Answer:
    """A usable answer.

    `payload` is the decoded body, `tokens` what the request cost, `server_time` the answer's Date
    (None where it has none). `seconds` passed from sending the request to the end of the answer.
    """

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    server_time: datetime | None
    tokens: int
    payload: dict[str, Any] = field(repr=False)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Page:
    """The data of an answer.

    `next_cursor` is None on the last page; `size` is the body's bytes, `path` the path's template.
    """

    data: Any = field(repr=False)
    next_cursor: str | None = field(repr=False)
    server_time: datetime | None
    size: int
    tokens: int
    path: str
    seconds: float = 0.0

    @property
    def rows(self) -> list[Any]:
        """The data as rows, or the `items` of a search; no rows where it is null. Each row is what
        the decoder made, or a dict.

        Raises
        ------
        ResponseError
            The data is no list of objects.
        """
        data = self.data
        if isinstance(data, dict) and isinstance(data.get("items"), list):
            data = data["items"]
        rows = [] if data is None else data
        if not isinstance(rows, list) or not all(
            issubclass(kind, (dict, msgspec.Struct)) for kind in set(map(type, rows))
        ):
            raise ResponseError(
                f"{self.path} was answered without a list of rows. None of it is used.",
                status=200,
            )
        return rows


def next_cursor(payload: Mapping[str, Any], where: str) -> str | None:
    """Return the cursor of the next page, None after the last one; refuse an answer that leaves
    open which of the two it is.
    """
    more = payload.get("additional_data") or {}
    if not isinstance(more, dict):
        raise ResponseError(
            f"{where} was answered with additional_data that is no object. None of it is used.",
            status=200,
        )
    cursor = more.get("next_cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise ResponseError(
            f"{where} was answered with a cursor that is no text. None of it is used.",
            status=200,
        )
    if cursor and len(urllib.parse.quote_plus(cursor, errors="replace")) > MAX_CURSOR_CHARACTERS:
        raise ResponseError(
            f"{where} was answered with a cursor of {len(cursor):,} characters, which no request"
            " can carry. None of it is used; load it again.",
            status=200,
        )
    older = more.get("pagination")  # v1 announced further pages like this before it had cursors
    if not cursor and any(
        listed.get("more_items_in_collection") is True
        for listed in (more, older)
        if isinstance(listed, dict)
    ):
        raise ResponseError(
            f"{where} has more rows than it gave, and gave no cursor for them. None of it is used.",
            status=200,
        )
    return cursor or None

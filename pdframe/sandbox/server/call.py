"""One validated request on its way to an operation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pdframe.sandbox.server.answers import bad_request, not_found
from pdframe.sandbox.server.paging import Cursors, Row
from pdframe.sandbox.server.params import path_id
from pdframe.sandbox.server.present import Presenter
from pdframe.sandbox.server.settings import Settings
from pdframe.sandbox.server.views import Views

if TYPE_CHECKING:
    from pdframe.sandbox.company import Company

DEFAULT_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Call:
    """What an operation works with; ``place`` is its path template, ``args`` the parts of the path,
    ``params`` the parsed query.
    """

    company: "Company"
    views: Views
    cursors: Cursors
    present: Presenter
    settings: Settings
    place: str
    args: Mapping[str, str]
    params: Mapping[str, Any]

    @property
    def limit(self) -> int:
        """Rows on the page asked for."""
        limit: int = self.params.get("limit", DEFAULT_LIMIT)
        return limit

    def row(self, table: str) -> Row:
        """The row that the path's ``{id}`` names; 404 where the token's user sees none."""
        result = self.views.find(table, path_id(self.args["id"]))
        if result is None:
            raise not_found()
        return result


Handler = Callable[[Call], dict[str, Any]]


def ok(data: Any) -> dict[str, Any]:
    """The envelope of an answer without pages."""
    return {"success": True, "data": data}


def page(data: Any, cursor: str | None) -> dict[str, Any]:
    """The envelope of one page."""
    return {"success": True, "data": data, "additional_data": {"next_cursor": cursor}}


def slice_page(call: Call, rows: list[Any], key: str | None = None) -> tuple[list[Any], str | None]:
    """Page a short list in its own order: on from the row whose ``key`` the cursor names, from its
    position where that row is gone.
    """
    place = f"{call.place}:{call.args.get('id', '')}"
    start, last = _position(call, place, "asc")
    if key is not None and last is not None:
        start = next((i + 1 for i, row in enumerate(rows) if row[key] == last), start)
    start = start or 0
    end = start + call.limit
    if end >= len(rows):
        return rows[start:end], None
    return rows[start:end], call.cursors.make(
        place, "position", "asc", end, rows[end - 1][key] if key else None
    )


def newest_first(call: Call, rows: list[Any]) -> tuple[list[Any], str | None]:
    """Page a log backwards; positions count from the oldest, so that new entries shift nothing."""
    place = f"{call.place}:{call.args.get('id', '')}"
    given, _ = _position(call, place, "desc")
    end = len(rows) if given is None else given
    start = max(0, end - call.limit)
    return rows[start:end][::-1], call.cursors.make(
        place, "position", "desc", start, None
    ) if start else None


def _position(call: Call, place: str, direction: str) -> tuple[int | None, Any]:
    """The position that a cursor holds, and the key of the row before it; None for both on a first
    page.
    """
    cursor = call.params.get("cursor")
    if cursor is None:
        return None, None
    value, last = call.cursors.read(cursor, place, "position", direction)
    if not isinstance(value, int) or value < 0:
        raise bad_request("cursor is not valid")
    return value, last

"""The lists and single reads of v2."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from pdframe.sandbox.server.answers import bad_request, not_found
from pdframe.sandbox.server.call import Call, Handler, newest_first, ok, page, slice_page
from pdframe.sandbox.server.paging import Entry, Row, step
from pdframe.sandbox.server.views import place

DELETED_FOR = 30 * 86_400
Test = Callable[[Row], bool]

_EQUAL = (
    "owner_id",
    "person_id",
    "org_id",
    "pipeline_id",
    "stage_id",
    "deal_id",
    "lead_id",
    "done",
    "phase_id",
    "is_done",
    "is_milestone",
    "project_id",
    "parent_task_id",
)
_MEMBER = {
    "deal_id": "deal_ids",
    "person_id": "person_ids",
    "org_id": "org_ids",
    "assignee_id": "assignee_ids",
}


def listing(table: str, *, archived: bool | None = None) -> Handler:
    """The operation that lists a table."""
    return partial(_list, table=table, archived=archived)


def single(table: str) -> Handler:
    """The operation that reads one row by its id."""

    def read(call: Call) -> dict[str, Any]:
        return ok(call.present.rows(table, [call.row(table)], call.params)[0])

    return read


def _list(call: Call, *, table: str, archived: bool | None) -> dict[str, Any]:
    params = call.params
    if "filter_id" in params:
        raise bad_request(f"there is no filter {params['filter_id']}")
    field = params.get("sort_by", "id")
    statuses = params.get("status", ())
    tests = _tests(call, table)
    deleted = "deleted" in statuses
    if statuses:
        tests.append(partial(_status_fits, call, table, statuses))
    rows = call.views.rows(table)
    if "ids" in params:
        picked = [rows[i] for i in params["ids"] if i in rows]
        entries = sorted(
            place(row, field) for row in picked if call.views.listed(table, row, archived, deleted)
        )
    else:
        entries = call.views.sorted(table, field, archived=archived, deleted=deleted)
    return _page(call, table, entries, rows, tests)


def _page(
    call: Call, table: str, entries: list[Entry], rows: dict[Any, Row], tests: Iterable[Test]
) -> dict[str, Any]:
    field = call.params.get("sort_by", "id")
    direction = call.params.get("sort_direction", "asc")
    cursor = call.params.get("cursor")
    after = None if cursor is None else call.cursors.read(cursor, call.place, field, direction)
    checks = list(tests)

    def fits(row: Row) -> bool:
        return all(check(row) for check in checks) if checks else True

    result, last = step(
        entries, rows, fits, after=after, descending=direction == "desc", limit=call.limit
    )
    mark = (
        None
        if last is None
        else call.cursors.make(call.place, field, direction, last.value, last.id)
    )
    return page(call.present.rows(table, result, call.params), mark)


def _tests(call: Call, table: str) -> list[Test]:
    """One test a filter given."""
    params = call.params
    tests: list[Test] = []
    for name in _EQUAL:
        if name not in params:
            continue
        if table == "projects" and name in _MEMBER:
            tests.append(partial(_holds, _MEMBER[name], params[name]))
        elif table == "persons" and name == "deal_id":
            deal = call.views.find("deals", params[name])
            tests.append(partial(_equals, "id", deal["person_id"] if deal else None))
        else:
            tests.append(partial(_equals, name, params[name]))
    if "assignee_id" in params:
        tests.append(partial(_holds, "assignee_ids", params["assignee_id"]))
    if "updated_since" in params:
        since: str = params["updated_since"]
        tests.append(lambda row: row["update_time"] is not None and row["update_time"] >= since)
    if "updated_until" in params:
        until: str = params["updated_until"]
        tests.append(lambda row: row["update_time"] is not None and row["update_time"] < until)
    return tests


def _equals(column: str, value: Any, row: Row) -> bool:
    return bool(row.get(column) == value)


def _holds(column: str, value: Any, row: Row) -> bool:
    return value in (row.get(column) or ())


def _status_fits(call: Call, table: str, statuses: tuple[str, ...], row: Row) -> bool:
    """Whether a row has one of the statuses; deleted ones are listed for 30 days of the company's
    clock.
    """
    if not call.views.removed(table, row):
        return row["status"] in statuses
    at = call.company.deleted_at.get((table, row["id"]))
    return "deleted" in statuses and at is not None and call.company.now - at <= DELETED_FOR


def parts(table: str) -> Handler:
    """The operation that lists the parts of up to 100 deals; installments page too, though their
    schema declares no ``additional_data``.
    """

    def read(call: Call) -> dict[str, Any]:
        return _parts(call, table, call.params["deal_ids"])

    return read


def deal_products(call: Call) -> dict[str, Any]:
    """``/deals/{id}/products``: the line items of one deal."""
    return _parts(call, "deal_products", [call.row("deals")["id"]])


def _parts(call: Call, table: str, deal_ids: Iterable[int]) -> dict[str, Any]:
    """Parts of the deals that the token's user sees, archived ones included."""
    groups = call.views.group(table, "deal_id")
    rows = {
        row["id"]: row
        for i in deal_ids
        if i in groups and call.views.find("deals", i)
        for row in groups[i]
    }
    field = call.params.get("sort_by", "id")
    return _page(call, table, sorted(place(row, field) for row in rows.values()), rows, ())


def discounts(call: Call) -> dict[str, Any]:
    """``/deals/{id}/discounts``: whole, without pages."""
    rows = call.views.group("discounts", "deal_id").get(call.row("deals")["id"], [])
    return ok(call.present.rows("discounts", rows))


def variations(call: Call) -> dict[str, Any]:
    """``/products/{id}/variations``."""
    rows = call.views.group("product_variations", "product_id").get(call.row("products")["id"], [])
    result, mark = slice_page(call, rows, "id")
    return page(call.present.rows("product_variations", result), mark)


def boards(call: Call) -> dict[str, Any]:
    """``/boards``: whole, in their order."""
    return _full(call, "boards", list(call.views.rows("boards").values()))


def phases(call: Call) -> dict[str, Any]:
    """``/phases``: those of one board, whole, in their order."""
    board = call.views.find("boards", call.params["board_id"])
    if board is None:
        raise not_found()
    return _full(call, "phases", call.views.group("phases", "board_id").get(board["id"], []))


def _full(call: Call, table: str, rows: list[Row]) -> dict[str, Any]:
    rows = sorted(
        (row for row in rows if call.views.find(table, row["id"])),
        key=lambda row: (row["order_nr"], row["id"]),
    )
    return {**ok(call.present.rows(table, rows)), "additional_data": None}


def followers(entity: str, table: str) -> Handler:
    """The operation that lists who follows a row."""

    def read(call: Call) -> dict[str, Any]:
        return page(
            *slice_page(call, call.company.followers(entity, call.row(table)["id"]), "user_id")
        )

    return read


def follower_changes(entity: str, table: str) -> Handler:
    """The operation that lists who began and ceased to follow a row, oldest first."""

    def read(call: Call) -> dict[str, Any]:
        return page(*slice_page(call, call.company.follower_changes(entity, call.row(table)["id"])))

    return read


def project_changes(call: Call) -> dict[str, Any]:
    """``/projects/{id}/changelog``, newest first."""
    return page(*newest_first(call, call.company.project_changelog(call.row("projects")["id"])))


def permitted_users(call: Call) -> dict[str, Any]:
    """``/projects/{id}/permittedUsers``: every active user, as projects are open to all here."""
    call.row("projects")
    return ok([user["id"] for user in call.views.rows("users").values() if user["active_flag"]])


def field_list(entity: str) -> Handler:
    """The operation that lists an entity's field definitions in metadata order."""

    def read(call: Call) -> dict[str, Any]:
        result, mark = slice_page(call, call.company.fields[entity], "field_code")
        return page(_definitions(call, entity, result), mark)

    return read


def field_single(entity: str) -> Handler:
    """The operation that reads one field definition by its code."""

    def read(call: Call) -> dict[str, Any]:
        result = [
            field
            for field in call.company.fields[entity]
            if field["field_code"] == call.args["field_code"]
        ]
        if not result:
            raise not_found()
        return ok(_definitions(call, entity, result[:1])[0])

    return read


def _definitions(call: Call, entity: str, fields: Iterable[Row]) -> list[Row]:
    """Field definitions without the namespaces that were not asked for; projects' cannot be asked
    for, and always come.
    """
    dropped = (
        set() if entity == "project" else {"ui_visibility", "important_fields", "required_fields"}
    )
    dropped -= set(call.params.get("include_fields", ()))
    return [{key: value for key, value in field.items() if key not in dropped} for field in fields]


def nothing_there(table: str | None) -> Handler:
    """An operation whose things the company does not have: pictures, images, conversions."""

    def read(call: Call) -> dict[str, Any]:
        if table is not None:
            call.row(table)
        raise not_found()

    return read

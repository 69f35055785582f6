"""The reads that exist only in v1."""

from datetime import UTC, datetime
from typing import Any

from pdframe.sandbox.server.call import Call, newest_first, ok, page
from pdframe.sandbox.server.paging import Row

_CURRENCIES = (("EUR", "Euro", "€"), ("USD", "US Dollar", "$"), ("GBP", "British Pound", "£"))
_LEAD_LABELS = (("Hot", "red"), ("Warm", "yellow"), ("Cold", "blue"))
_ICONS = ("call", "meeting", "task", "deadline", "email", "lunch")


def listed(rows: list[Any]) -> list[Any] | None:
    """A v1 list as sent: null where it is empty."""
    return rows or None


def users(call: Call) -> dict[str, Any]:
    """``/users``: all of them, the deactivated too."""
    return ok(listed([_user(call, row) for row in call.views.rows("users").values()]))


def me(call: Call) -> dict[str, Any]:
    """``/users/me``: the token's user and the company."""
    company = call.company
    user = _user(call, call.views.rows("users")[company.me])
    return ok({**user, **company.info, "language": {"language_code": "en", "country_code": "US"}})


def _user(call: Call, row: Row) -> Row:
    return {**row, "is_you": row["id"] == call.company.me}


def deal_changelog(call: Call) -> dict[str, Any]:
    """``/deals/{id}/changelog``, newest first."""
    rows, mark = newest_first(call, call.company.deal_changelog(call.row("deals")["id"]))
    return page(listed(rows), mark)


def deal_flow(call: Call) -> dict[str, Any]:
    """``/deals/{id}/flow``: changes and activities, newest first."""
    deal_id = call.row("deals")["id"]
    wanted = call.params.get("items", "").split(",")
    updates: list[Row] = []
    for number, change in enumerate(call.company.deal_changelog(deal_id), 1):
        custom = len(change["field_key"]) == 40
        if _requested(wanted, "change", "dealChange") and (
            not custom or call.params.get("all_changes") == "1"
        ):
            data = {
                "id": deal_id * 10_000 + number,
                "item_id": deal_id,
                "user_id": change["actor_user_id"],
                "log_time": change["time"],
            }
            data |= {
                key: value for key, value in change.items() if key not in ("actor_user_id", "time")
            }
            updates.append({"object": "dealChange", "timestamp": change["time"], "data": data})
    for row in (
        call.views.group("activities", "deal_id").get(deal_id, [])
        if _requested(wanted, "activity")
        else ()
    ):
        activity = call.present.rows("activities", [row])[0]
        updates.append(
            {
                "object": "activity",
                "timestamp": row["add_time"][:19].replace("T", " "),
                "data": activity,
            }
        )
    updates.sort(key=lambda update: update["timestamp"], reverse=True)
    start, limit = call.params.get("start", 0), call.limit
    tail = {
        "start": start,
        "limit": limit,
        "more_items_in_collection": start + limit < len(updates),
    }
    return {
        "success": True,
        "data": listed(updates[start : start + limit]),
        "additional_data": tail,
        "related_objects": {},
    }


def _requested(wanted: list[str], *kinds: str) -> bool:
    return wanted == [""] or any(kind in wanted for kind in kinds)


def currencies(call: Call) -> dict[str, Any]:
    """``/currencies``: those the company sells in."""
    term = call.params.get("term", "").lower()
    rows = [
        {
            "id": i,
            "code": code,
            "name": name,
            "decimal_points": 2,
            "symbol": symbol,
            "active_flag": True,
            "is_custom_flag": False,
        }
        for i, (code, name, symbol) in enumerate(_CURRENCIES, 1)
        if term in code.lower() or term in name.lower()
    ]
    return ok(listed(rows))


def activity_types(call: Call) -> dict[str, Any]:
    """``/activityTypes``: the kinds that the company's activities have."""
    types = sorted(
        {row["type"] for row in call.views.rows("activities").values() if row["type"]}
        | {"call", "meeting"}
    )
    rows = [
        {
            "id": i,
            "order_nr": i,
            "name": key.replace("_", " ").capitalize(),
            "key_string": key,
            "icon_key": key if key in _ICONS else "task",
            "active_flag": True,
            "color": None,
            "is_custom_flag": key not in _ICONS,
            "add_time": _founded(call),
            "update_time": None,
        }
        for i, key in enumerate(types, 1)
    ]
    return ok(rows)


def lead_labels(call: Call) -> dict[str, Any]:
    """``/leadLabels``."""
    time = (
        datetime.fromisoformat(_founded(call))
        .replace(tzinfo=UTC)
        .strftime("%Y-%m-%dT%H:%M:%S.000Z")
    )
    return ok(
        [
            {
                "id": f"f08b42a{i}-4e75-11ea-9643-03698ef1cfd6",
                "name": name,
                "color": color,
                "add_time": time,
                "update_time": time,
            }
            for i, (name, color) in enumerate(_LEAD_LABELS)
        ]
    )


def _founded(call: Call) -> str:
    """When the company's first user came, as v1 writes it."""
    return min(str(user["created"]) for user in call.views.rows("users").values())


def leads(call: Call) -> dict[str, Any]:
    """``/leads`` and ``/leads/archived``: this company has none, which v1 says with null."""
    tail = {
        "start": call.params.get("start", 0),
        "limit": call.limit,
        "more_items_in_collection": False,
    }
    return {"success": True, "data": None, "additional_data": {"pagination": tail}}

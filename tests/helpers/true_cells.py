"""What every cell of every table must be, folded from the company's events: neither the loader nor
the server's answers are read here.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd

Row = dict[str, Any]
State = dict[str, dict[Any, Row]]

MILLISECONDS = {"projects", "tasks", "boards", "phases", "project_templates"}
TOUCHED = {"users": "modified", "discounts": "updated_at"}
FIELD_LISTS = {
    f"{entity}_fields"
    for entity in ("deal", "person", "organization", "product", "activity", "project")
}
# Objects whose parts are columns of their own: `location` itself is the text, `location_country`
# and so on its parts.
FLATTENED = {"activities": "location", "persons": "postal_address", "organizations": "address"}


def fold(events: Iterable[Any]) -> State:
    """The state that the events lead to: every row that was not taken away, flags and all."""
    state: State = defaultdict(dict)
    for event in events:
        take(state, event)
    return state


def take(state: State, event: Any) -> None:
    """Let one event change the state."""
    rows = state[event.table]
    if event.table.endswith("_followers"):
        followers = rows.setdefault(event.id, {"users": set()})["users"]
        (followers.add if event.action == "create" else followers.discard)(event.changes["user_id"])
        return
    if event.action == "remove":
        del rows[event.id]
        return
    row = rows.setdefault(event.id, {"custom_fields": {}})
    changes = dict(event.changes)
    if changes.get("won_time"):
        row.setdefault("first_won_time", changes["won_time"])
    for code, value in (changes.pop("custom_fields", None) or {}).items():
        row["custom_fields"].pop(code, None)
        if value is not None:
            row["custom_fields"][code] = value
    row.update(changes)
    if event.action in ("hide", "show"):
        row["hidden"] = event.action == "hide"
    if event.touches:
        row[TOUCHED.get(event.table, "update_time")] = stamp(event.table, event.time)


def stamp(table: str, epoch: int) -> str:
    text = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    if table == "users":
        return text.replace("T", " ")
    return text + (".000Z" if table in MILLISECONDS else "Z")


def visible(state: State, table: str) -> list[Row]:
    """The rows that a frame of the table must hold, in the order of their ids."""
    rows = [row for row in state[table].values() if not row.get("hidden")]
    if table in (
        "deals",
        "persons",
        "organizations",
        "activities",
        "products",
        "stages",
        "pipelines",
    ):
        rows = [row for row in rows if not row["is_deleted"]]
    if table == "projects":
        rows = [row for row in rows if row["status"] != "deleted"]
    if table in ("deal_products", "installments"):
        alive = {row["id"] for row in visible(state, "deals")}
        rows = [row for row in rows if row["deal_id"] in alive]
    return sorted(rows, key=lambda row: row["id"])


def counted(state: State, count_disabled: bool) -> dict[int, Row]:
    """Columns of deals that the API gives on request and that other tables account for."""
    lines = Counter(
        row["deal_id"]
        for row in state["deal_products"].values()
        if count_disabled or row["is_enabled"]
    )
    done, undone = Counter[int](), Counter[int]()
    for row in state["activities"].values():
        if not row["is_deleted"]:
            (done if row["done"] else undone)[row["deal_id"]] += 1
    return {
        deal: {
            "products_count": lines[deal],
            "activities_count": done[deal] + undone[deal],
            "done_activities_count": done[deal],
            "undone_activities_count": undone[deal],
            "followers_count": len(state["deal_followers"].get(deal, {"users": ()})["users"]),
            "first_won_time": row.get("first_won_time"),
        }
        for deal, row in state["deals"].items()
    }


def wire_value(row: Row, column: str, table: str) -> object:
    """The value of a standard column in a folded row; KeyError where the row has no such column."""
    flat = FLATTENED.get(table)
    if flat and (column == flat or column.startswith(f"{flat}_")):
        part = "value" if column == flat else column.removeprefix(f"{flat}_")
        return (row[flat] or {}).get(part)
    if column in ("primary_email", "primary_phone"):
        return next(
            (
                entry["value"]
                for entry in row[f"{column.removeprefix('primary_')}s"]
                if entry["primary"]
            ),
            None,
        )
    return row[column]


def custom_value(row: Row, code: str, part: str) -> object:
    """A part of a custom value; the main part's name is "value"."""
    value = row["custom_fields"].get(code)
    if isinstance(value, dict):
        return value.get(part)
    return value if part == "value" else None


def cell(value: Any) -> object:
    """A frame's cell as a plain value: None for every kind of null, lists for lists."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [cell(part) for part in value]
    if isinstance(value, dict):
        return {key: cell(part) for key, part in value.items()}
    if (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, float) and math.isnan(value))
    ):
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    if isinstance(value, pd.Timedelta):
        return value.to_pytimedelta()
    return value


def expected(value: Any, dtype: object) -> object:
    """The wire's value as the contract says a frame shows it in a column of that dtype."""
    if value is None:
        return None
    kind = str(dtype)
    if kind == "datetime64[us, UTC]":
        return datetime.fromisoformat(value.replace("Z", "+00:00").replace(" ", "T")).replace(
            tzinfo=UTC
        )
    if kind == "datetime64[us]":
        day = date.fromisoformat(value)
        return datetime(day.year, day.month, day.day)
    if kind == "timedelta64[us]":
        hours, minutes, *seconds = (int(part) for part in value.split(":"))
        return timedelta(hours=hours, minutes=minutes, seconds=seconds[0] if seconds else 0)
    return float(value) if kind == "float64" else value


def options_of(field: Mapping[str, Any]) -> dict[str, str]:
    """Option id (as text) -> label; options that share a label differ by their ids."""
    options = field.get("options") or []
    labels = [option["label"] for option in options]
    return {
        str(o["id"]): f"{o['label']} ({o['id']})" if labels.count(o["label"]) > 1 else o["label"]
        for o in options
    }


def labelled(value: object, options: Mapping[str, str]) -> object:
    """An option id, or a list of them, as labels."""
    if isinstance(value, list):
        return [labelled(part, options) for part in value]
    return None if value is None else options.get(str(value), f"#{value}")


def from_json(value: object) -> object:
    return None if value is None else json.loads(str(value))


ENTITIES = {
    "deal_id": "deal",
    "person_id": "person",
    "org_id": "organization",
    "product_id": "product",
    "followed_user_id": "user",
}


def by_record(company: Any, table: str, parent: str, records: Iterable[int]) -> list[Row]:
    """The rows of a table that hang on these records, in the order of a frame, as the company's
    events tell them.
    """
    if table in ("discounts", "product_variations"):
        kept = fold(company.events)[table].values()
        wanted = set(records)
        return sorted(
            (row for row in kept if row[parent] in wanted and not row.get("hidden")),
            key=lambda row: row["id"],
        )
    if table == "deal_changes":
        return [
            {**row, "deal_id": deal} for deal in records for row in company.deal_changelog(deal)
        ]
    if table == "project_changes":
        return [row for project in records for row in project_changes(company.events, project)]
    rows = []
    for record in records:
        log = [
            e
            for e in company.events
            if e.table == f"{ENTITIES[parent]}_followers" and e.id == record
        ]
        if table.endswith("_changes"):
            rows += [follower_change(e, parent) for e in log]
        else:
            since: dict[int, str] = {}
            for e in log:
                since.pop(e.changes["user_id"], None)
                if e.action == "create":
                    since[e.changes["user_id"]] = stamp(table, e.time)
            rows += [
                {parent: record, "user_id": user, "add_time": time} for user, time in since.items()
            ]
    return rows


def follower_change(event: Any, parent: str) -> Row:
    return {
        parent: event.id,
        "time": stamp("", event.time),
        "action": "added" if event.action == "create" else "removed",
        "follower_user_id": event.changes["user_id"],
        "actor_user_id": event.actor,
    }


def project_changes(events: Iterable[Any], project: int) -> list[Row]:
    """One row a field that an event of the project changed, values that are no text as JSON."""
    state: Row = {}
    rows = []
    for event in events:
        if event.table != "projects" or event.id != project or event.action in ("hide", "show"):
            continue
        changes = {**event.changes, **(event.changes.get("custom_fields") or {})}
        changes.pop("custom_fields", None)
        for key, new in changes.items() if event.action != "create" else ():
            if key != "status_change_time":
                agent = BROWSER if event.source == "app" else None
                rows.append(
                    {
                        "project_id": project,
                        "time": stamp("", event.time),
                        "field_key": key,
                        "old_value": as_text(state.get(key)),
                        "new_value": as_text(new),
                        "actor_user_id": event.actor,
                        "change_source": event.source,
                        "change_source_user_agent": agent,
                    }
                )
        state |= changes
    return rows


BROWSER = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/121.0.0.0 Safari/537.36"
)


def as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

"""An account in which every column of every table holds every nasty value once, each in a row of its own, over real HTTP."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from frames_material import KINDS, field
from scripted import Reply, Scripted, Seen

from pdframe.schema import TABLES, Table

TZ = "Mars/Olympus"
NASTY: list[Any] = [
    None, "", " ", "text", -1, 0, 0.5, -5.5, 1e308, "@1e400@", "@-1e400@", 2**53 + 1, 2**63, 10**400, True, False, [], [[1], "a"], {},
    {"value": {"id": []}}, "9999-12-31", "9999-12-31T23:59:59Z", "0001-01-01", "0001-01-01T00:00:00Z", "2026-02-30", "NaN", "inf", "\x00",
    "\ud800", "<script>alert(1)</script>", "=cmd|'/C calc'!A0", "🤷" * 40,
]  # fmt: skip
"""JSON values; those between @ are numbers that only a server can write."""

STATUSES = ("open", "won", "lost")
GOOD = 13
"""Rows of each table with nothing wrong."""
INSTALLED = 13
"""The deal that is paid in installments: its lines are one-time."""
HASHES = {kind: f"{number:040x}" for number, kind in enumerate(KINDS, start=1)}


def _set(row: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The row with one cell replaced."""
    first, _, rest = path.partition(".")
    inner = row.get(first)
    return {**row, first: _set(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}


def _good(table: Table, number: int) -> dict[str, Any]:
    """A row as a well-behaved account has it."""
    day = 1 + number % 28
    once = number % 4 == 0 or number == INSTALLED
    month = 1 + number % 5
    row: dict[str, Any] = {"id": number, "name": f"{table.name} {number}", "is_deleted": False, "user_id": number, "actor_user_id": 1}
    row |= {"time": f"2025-{month:02}-{day:02}T08:00:00Z", "board_id": 1, "project_id": 1}
    row |= {"add_time": f"2025-{month:02}-{day:02}T08:00:00Z", "update_time": f"2025-{month + 6:02}-{day:02}T08:00:00Z"}
    if table.name == "deals":
        status = STATUSES[number % 3]
        end = f"2025-{month + 5:02}-{day:02}"
        row |= {
            "title": f"Deal {number}", "status": status, "owner_id": 1 + number % 3, "org_id": 1 + number % 7, "person_id": 1, "value": 100,
            "currency": "EUR", "stage_id": 1 + number % 3, "pipeline_id": 1, "is_archived": False, "custom_fields": {}, "products_count": 1,
            "stage_change_time": f"2025-{month + 1:02}-{day:02}T08:00:00Z", "expected_close_date": "2026-08-01", "label_ids": [],
        }  # fmt: skip
        if status != "open":
            row |= {f"{status}_time": f"{end}T08:00:00Z", f"local_{status}_date": end, "close_time": f"{end}T08:00:00Z"}
    elif table.name == "deal_products":
        deal = number if number <= GOOD else 1 + 3 * (number % 4)
        row |= {
            "deal_id": deal, "product_id": 1, "quantity": 1, "item_price": 100, "sum": 100, "currency": "EUR", "discount": 0, "tax": 0,
            "discount_type": "percentage", "tax_method": "none", "is_enabled": True, "billing_frequency": "one-time" if once else "monthly",
            "billing_frequency_cycles": 14 if number % 4 == 1 else None, "billing_start_date": "2025-07-01",
        }  # fmt: skip
    elif table.name == "installments":
        row |= {"deal_id": INSTALLED, "billing_date": "2026-01-01", "amount": 10, "description": "part"}
    elif table.name == "discounts":
        row |= {"deal_id": 1, "type": "percentage", "amount": 5, "created_at": "2025-07-01T00:00:00Z", "updated_at": "2025-07-01T00:00:00Z"}
    elif table.name == "stages":
        row |= {"order_nr": number, "pipeline_id": 1, "deal_probability": 50, "is_deal_rot_enabled": True, "days_to_rotten": 30}
    elif table.name == "pipelines":
        row |= {"order_nr": number, "is_deal_probability_enabled": True}
    elif table.name == "deal_changes":
        row = {"field_key": "stage_id", "old_value": "1", "new_value": "2", "time": f"2025-08-{day:02} 08:00:00", "actor_user_id": 1}
    return row


def rows_of(table: Table) -> list[dict[str, Any]]:
    """The good rows of a table, then one for each column and nasty value, then one for each kind of custom field and value."""
    rows = [_good(table, number) for number in range(1, GOOD + 1)]
    paths = [column.path for column in table.columns if column.path not in ("id", "deal_id") or table.name not in ("deals",)]
    # Every board is asked for its phases.
    cells = [(path, value) for path in paths for value in (NASTY[::6] if table.name == "boards" else NASTY)]
    if table.entity:
        cells += [(f"custom_fields.{code}", value) for code in HASHES.values() for value in NASTY]
    rows += [_set(_good(table, 1_000 + number), path, value) for number, (path, value) in enumerate(cells)]
    return rows


def fields() -> list[dict[str, Any]]:
    """A custom field of each kind."""
    options = [{"id": 1, "label": "a"}, {"id": 2, "label": "b"}]
    return [field(code, f"Custom {kind}", kind, options=options if kind in ("enum", "set") else None) for kind, code in HASHES.items()]


class HostileAccount:
    """Answers the requests for every table."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self._paths = {source.path: table for table in TABLES.values() for source in table.sources}

    def __call__(self, seen: Seen) -> Reply:
        path = seen.path.removeprefix("/api/v2").removeprefix("/api/v1").removeprefix("/v1")
        if path == "/users/me":
            return self._page({"id": 1, "name": "Me", "company_id": 7, "company_domain": "co", "timezone_name": TZ})
        parts = path.split("/")
        record = next((part for part in parts if part.isdigit()), None)
        table = self._paths.get(path if record is None else path.replace(f"/{record}/", "/{id}/", 1))
        if table is None:
            return Reply(404, b'{"success": false, "error": "unknown"}', {"content-type": "application/json"})
        if "archived" in path or seen.params.get("status") == "deleted":
            return self._page([])
        rows = fields() if path.endswith("Fields") else self._rows(table)
        if record is not None and record != "1":
            rows = rows[:2]
        for name in ("deal_ids", "board_id"):
            if name in seen.params:
                wanted = set(seen.params[name].split(","))
                if name == "deal_ids":
                    own = [row for row in rows if str(row.get("deal_id")) in wanted]
                    # Rows whose deal is nasty come with those of one deal.
                    rows = own + ([row for row in rows if not str(row.get("deal_id")).isdigit()] if str(INSTALLED) in wanted else [])
        start, most = int(seen.params.get("cursor", "0")), int(seen.params.get("limit", len(rows) or 1))
        following = start + most
        return self._page(rows[start:following], str(following) if following < len(rows) else None)

    def _rows(self, table: Table) -> list[dict[str, Any]]:
        if table.name not in self.tables:
            self.tables[table.name] = rows_of(table)
        return self.tables[table.name]

    @staticmethod
    def _page(rows: Any, cursor: str | None = None) -> Reply:
        text = json.dumps({"success": True, "data": rows, "additional_data": {"next_cursor": cursor}})
        body = text.replace('"@', "").replace('@"', "").encode()
        return Reply(200, body, {"content-type": "application/json", "date": "Tue, 30 Jun 2026 12:00:00 GMT"})


@contextlib.contextmanager
def running() -> Iterator[Scripted]:
    """A server of the hostile account."""
    with Scripted.running() as server:
        server.last = HostileAccount()
        yield server

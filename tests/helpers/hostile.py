"""A hostile account over real HTTP: clean rows, and beside them rows with nasty cells.

Clean rows and nasty ones share no owner, customer, currency, stage or pipeline. So whatever a
metric says of the clean ones must be the same with and without the nasty ones.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from typing import Any

import pandas as pd

from pdframe.schema import TABLES, Table
from tests.helpers.frames_material import KINDS, field
from tests.helpers.scripted_server import Reply, Scripted, Seen

TZ = "Mars/Olympus"
NASTY: list[Any] = [
    None, "", " ", "text", -1, 0, 0.5, -5.5, -100, -250, 400, 1e308, -1e308, "@1e400@", "@-1e400@",
    2**53 + 1, 2**63 - 1, -(2**63),
    10**400, True, False, [], [[1], "a"], {}, {"value": {"id": []}}, "9999-12-31",
    "9999-12-31T23:59:59Z", "9999-12-30T13:30:00Z",
    "0001-01-01", "0001-01-01T00:00:00Z", "1677-09-21T00:00:00Z", "2262-04-12T00:00:00Z",
    "2026-02-30", "NaN", "inf", "1e308", "\x00",
    "\ud800", "\u202eתירבע", "<script>alert(1)</script>", "=cmd|'/C calc'!A0", "$\\frac{$ 100%",
    "🤷" * 40, "XXX",
]  # fmt: skip
"""JSON values; those between @ are numbers that only a server can write."""

STATUSES = ("open", "won", "lost")
CLEAN = range(1, 14)
"""Ids of the clean rows of each table."""
APART = range(101, 114)
"""Ids of well-formed rows that nasty ones belong to: won deals to lines, stages to deals."""
INSTALLED = (13, 112)
"""The deals that are paid in installments: their lines are one-time."""
PIPELINE = {False: 1, True: 90}
CURRENCY = {False: "EUR", True: "SEK"}
PARENTS = {False: (4, 7), True: (103,)}
"""Records that tables with a parent are loaded for."""
HASHES = {kind: f"{number:040x}" for number, kind in enumerate(KINDS, start=1)}

_OF_CLEAN = {
    "deal_id": CLEAN,
    "customer": [f"organization {number}" for number in range(1, 8)],
    "currency": ["EUR"],
    "stage_id": CLEAN,
    "pipeline_id": [1],
    "owner_id": [1, 2, 3],
}
_PARENTS = ("deal_id", "person_id", "org_id", "product_id", "project_id", "followed_user_id")


def clean_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a result that are about clean rows alone, by the keys that it has."""
    by = {"id": CLEAN} if "id" in frame.columns else _OF_CLEAN
    kept = pd.Series(True, index=frame.index)
    for name, values in by.items():
        if name in frame.columns:
            kept &= frame[name].astype(str).isin([str(value) for value in values])
    return frame[kept].reset_index(drop=True)


def clean_rows_of(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the clean rows of a loader's frame."""
    if table.parent is not None:
        frame = frame[frame[table.parent.id].isin(PARENTS[False])]
    if "id" in frame.columns:
        frame = frame[frame["id"].astype(str).isin([str(number) for number in CLEAN])]
    return frame.reset_index(drop=True)


def _set(row: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Return the row with one cell replaced."""
    first, _, rest = path.partition(".")
    inner = row.get(first)
    return {
        **row,
        first: _set(inner if isinstance(inner, dict) else {}, rest, value) if rest else value,
    }


def _row(table: Table, number: int, *, apart: bool) -> dict[str, Any]:
    """Return a row as a well-behaved account has it."""
    day, month = 1 + number % 28, 1 + number % 5
    once = number % 4 == 0 or number in INSTALLED
    base, pipeline, currency = 100 * apart, PIPELINE[apart], CURRENCY[apart]
    # Another hour: clean rows and nasty ones look like one import otherwise.
    added = f"2025-{month:02}-{day:02}T{8 + apart:02}:00:00Z"
    row: dict[str, Any] = {
        "id": number, "name": f"{table.name} {number}", "is_deleted": False, "user_id": number,
        "actor_user_id": 1, "time": added,
        "board_id": pipeline, "project_id": 1, "add_time": added,
        "update_time": f"2025-{month + 6:02}-{day:02}T08:00:00Z",
    }  # fmt: skip
    if table.name == "deals":
        status = STATUSES[number % 3]
        end = f"2025-{month + 5:02}-{day:02}"
        row |= {
            "title": f"Deal {number}", "status": status, "owner_id": base + 1 + number % 3,
            "org_id": base + 1 + number % 7,
            "person_id": 1, "value": 100, "currency": currency, "stage_id": base + 1 + number % 3,
            "pipeline_id": pipeline,
            "is_archived": False, "custom_fields": {}, "products_count": 1, "label_ids": [],
            "expected_close_date": "2026-08-01",
            "stage_change_time": f"2025-{month + 1:02}-{day:02}T08:00:00Z",
        }  # fmt: skip
        if status != "open":
            row |= {
                f"{status}_time": f"{end}T08:00:00Z",
                f"local_{status}_date": end,
                "close_time": f"{end}T08:00:00Z",
            }
        if status == "lost":
            row["lost_reason"] = "Price"
    elif table.name == "activities":
        done = number % 2 == 0
        row |= {
            "subject": f"Call {number}", "type": "call", "owner_id": base + 1 + number % 3,
            "deal_id": number, "due_date": f"2025-{month + 1:02}-{day:02}",
            "due_time": "10:30:00" if number % 5 else None, "done": done,
            "marked_as_done_time": f"2025-{month + 2:02}-{day:02}T08:00:00Z" if done else None,
        }  # fmt: skip
    elif table.name == "deal_products":
        deal = number if number in (*CLEAN, INSTALLED[True]) else 103 + 3 * (number % 3)
        row |= {
            "deal_id": deal, "product_id": 1, "quantity": 1, "item_price": 100, "sum": 100,
            "currency": currency, "discount": 0, "tax": 0,
            "discount_type": "percentage", "tax_method": "none", "is_enabled": True,
            "billing_frequency": "one-time" if once else "monthly",
            "billing_frequency_cycles": 14 if number % 4 == 1 else None,
            "billing_start_date": "2025-07-01",
        }  # fmt: skip
    elif table.name == "installments":
        row |= {
            "deal_id": INSTALLED[apart],
            "billing_date": "2026-01-01",
            "amount": 10,
            "description": "part",
        }
    elif table.name == "discounts":
        stamp = "2025-07-01T00:00:00Z"
        row |= {
            "deal_id": 1,
            "type": "percentage",
            "amount": 5,
            "created_at": stamp,
            "updated_at": stamp,
        }
    elif table.name == "stages":
        row |= {
            "order_nr": number,
            "pipeline_id": pipeline,
            "deal_probability": 50,
            "is_deal_rot_enabled": True,
            "days_to_rotten": 30,
        }
    elif table.name == "pipelines":
        row |= {"order_nr": number, "is_deal_probability_enabled": True}
    elif table.name == "deal_changes":
        row = {
            "field_key": "stage_id",
            "old_value": f"{base + 1}",
            "new_value": f"{base + 2}",
            "actor_user_id": 1,
        }
        row["time"] = f"2025-08-{day:02} 08:00:00"
    return row


def _paths(table: Table) -> list[str]:
    """The cells of a row that may be nasty."""
    paths = [
        column.path for column in table.columns if (column.path, table.name) != ("deal_id", "deals")
    ]
    return paths + (
        [f"custom_fields.{code}" for code in HASHES.values()] if table.field_list else []
    )


def clean_of(table: Table) -> list[dict[str, Any]]:
    return [_row(table, number, apart=False) for number in CLEAN]


def nasty_of(table: Table, seed: int | None, every: int) -> list[dict[str, Any]]:
    """Return well-formed rows apart, then nasty ones.

    Without a seed, a row for each cell and every so many-th nasty value, other ones in each
    column; with a seed, 300 rows, of each a few cells.
    """
    well = [_row(table, number, apart=True) for number in APART]
    if table.name == "pipelines":
        well.append(_row(table, PIPELINE[True], apart=True))
    if table.name == "stages":
        well = [row | {"id": number} for row, number in zip(well, APART, strict=True)]
    # Every board is asked for its phases.
    sparse = 6 if table.name == "boards" else every
    paths = _paths(table)
    if seed is None:
        picked = [
            [(path, value)]
            for place, path in enumerate(paths)
            for value in NASTY[place % sparse :: sparse]
        ]
        huge = next((path for path in ("title", "name", "subject") if path in paths), None)
        picked += [[(huge, "M" * 1_000_000)]] if huge and table.name in ("deals", "stages") else []
    else:
        draw = random.Random(f"{seed} {table.name}")
        if table.name == "phases":
            # They are asked for by board, and an answer of which no row has an id is refused.
            paths.remove("id")
        size = 60 if table.name == "boards" else 300
        picked = [
            [
                (path, draw.choice(NASTY))
                for path in draw.sample(paths, min(len(paths), draw.choice((1, 1, 2, 4))))
            ]
            for _ in range(size)
        ]
    rows = [_row(table, 1_000 + number, apart=True) for number in range(len(picked))]
    for place, cells in enumerate(picked):
        for path, value in cells:
            rows[place] = _set(rows[place], path, value)
    # Some ids come twice.
    return [*well, *rows, *rows[::97]]


def fields() -> list[dict[str, Any]]:
    """A custom field of each kind."""
    options = [{"id": 1, "label": "a"}, {"id": 2, "label": "b"}]
    return [
        field(code, f"Custom {kind}", kind, options=options if kind in ("enum", "set") else None)
        for kind, code in HASHES.items()
    ]


class HostileAccount:
    """Answers the requests for every table.

    Parameters
    ----------
    nasty
        Whether there are nasty rows beside the clean ones.
    seed, every
        As in `nasty_of`.
    """

    def __init__(self, *, nasty: bool, seed: int | None = None, every: int = 1) -> None:
        self.nasty, self.seed, self.every = nasty, seed, every
        self._tables: dict[tuple[str, bool], list[Any]] = {}
        self._paths = {source.path: table for table in TABLES.values() for source in table.sources}

    def __call__(self, seen: Seen) -> Reply:
        path = seen.path.removeprefix("/api/v2").removeprefix("/api/v1").removeprefix("/v1")
        if path == "/users/me":
            return self._page(
                {
                    "id": 1,
                    "name": "Me",
                    "company_id": 7,
                    "company_domain": "co",
                    "timezone_name": TZ,
                }
            )
        if path.startswith("/itemSearch"):
            result = [
                {"result_score": value, "item": {"id": value, "type": "deal", "title": value}}
                for value in NASTY
            ]
            return self._page({"items": result} if path == "/itemSearch" else NASTY)
        record = next((part for part in path.split("/") if part.isdigit()), None)
        table = self._paths.get(
            path if record is None else path.replace(f"/{record}/", "/{id}/", 1)
        )
        if table is None:
            return Reply(
                404, b'{"success": false, "error": "unknown"}', {"content-type": "application/json"}
            )
        if "archived" in path or seen.params.get("status") == "deleted":
            return self._page([])
        rows = fields() if path.endswith("Fields") else self._rows(table, record, seen.params)
        start, most = (
            int(seen.params.get("cursor", "0")),
            int(seen.params.get("limit", len(rows) or 1)),
        )
        following = start + most
        return self._page(rows[start:following], str(following) if following < len(rows) else None)

    def _rows(self, table: Table, record: str | None, params: dict[str, str]) -> list[Any]:
        clean, nasty = self._of(table, False), self._of(table, True) if self.nasty else []
        if record is not None:
            return nasty if record in map(str, PARENTS[True]) else clean[:2]
        for name, holder in (("deal_ids", INSTALLED[True]), ("board_id", PIPELINE[True])):
            if name in params:
                wanted, key = params[name].split(","), name.removesuffix("s")
                result = [row for row in clean + nasty if str(row.get(key)) in wanted]
                # Rows whose deal or board is nasty come with those of one.
                lost = [row for row in nasty if not str(row.get(key)).isdigit()]
                return result + (lost if str(holder) in wanted else [])
        return clean + nasty

    def _of(self, table: Table, nasty: bool) -> list[Any]:
        if (table.name, nasty) not in self._tables:
            self._tables[table.name, nasty] = (
                nasty_of(table, self.seed, self.every) if nasty else clean_of(table)
            )
        return self._tables[table.name, nasty]

    @staticmethod
    def _page(rows: Any, cursor: str | None = None) -> Reply:
        text = json.dumps(
            {"success": True, "data": rows, "additional_data": {"next_cursor": cursor}}
        )
        body = text.replace('"@', "").replace('@"', "").encode()
        return Reply(
            200, body, {"content-type": "application/json", "date": "Tue, 30 Jun 2026 12:00:00 GMT"}
        )


@contextlib.contextmanager
def running(*, nasty: bool = True, seed: int | None = None, every: int = 1) -> Iterator[Scripted]:
    """Run a server of the account."""
    with Scripted.running() as server:
        server.last = HostileAccount(nasty=nasty, seed=seed, every=every)
        yield server

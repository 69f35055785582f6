"""Small frames of deals, visits, stages and line items with the loaders' dtypes, written row by
row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

TIME, DAY = "datetime64[us, UTC]", "datetime64[us]"
STATUS = pd.CategoricalDtype(["open", "won", "lost", "deleted"])
END = pd.CategoricalDtype(
    ["advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open"]
)
SOURCE = pd.CategoricalDtype(["changelog", "snapshots", "current"])
KIND = pd.CategoricalDtype(["percentage", "amount"])
TAX = pd.CategoricalDtype(["exclusive", "inclusive", "none"])
FREQUENCY = pd.CategoricalDtype(
    ["one-time", "weekly", "monthly", "quarterly", "semi-annually", "annually"]
)
DEALS = {
    "id": "Int64", "title": "str", "owner_id": "Int64", "pipeline_id": "Int64", "stage_id": "Int64",
    "value": "float64", "currency": "str", "probability": "float64",
    "add_time": TIME, "update_time": TIME, "is_deleted": "boolean", "status": STATUS,
    "won_time": TIME, "lost_time": TIME,
    "local_won_date": DAY, "local_lost_date": DAY, "expected_close_date": DAY,
}  # fmt: skip
VISITS = {
    "deal_id": "Int64", "pipeline_id": "Int64", "stage_id": "Int64", "visit": "Int64",
    "entered_at": TIME, "left_at": TIME,
    "end": END, "source": SOURCE, "entered_after": TIME, "left_after": TIME, "seen_at": TIME,
}  # fmt: skip
STAGES = {
    "id": "Int64", "order_nr": "Int64", "name": "str", "is_deleted": "boolean",
    "deal_probability": "float64", "pipeline_id": "Int64",
    "is_deal_rot_enabled": "boolean", "days_to_rotten": "Int64", "add_time": TIME,
    "update_time": TIME,
}  # fmt: skip
LINES = {
    "id": "Int64", "sum": "float64", "tax": "float64", "deal_id": "Int64", "add_time": TIME,
    "update_time": TIME, "currency": "str",
    "discount": "float64", "discount_type": KIND, "quantity": "float64", "item_price": "float64",
    "tax_method": TAX,
    "is_enabled": "boolean", "billing_frequency": FREQUENCY, "billing_frequency_cycles": "Int64",
}  # fmt: skip
ACTIVITIES = {
    "id": "Int64", "subject": "str", "type": "str", "owner_id": "Int64", "is_deleted": "boolean",
    "add_time": TIME, "deal_id": "Int64", "due_date": DAY, "due_time": "str", "done": "boolean",
    "marked_as_done_time": TIME,
}  # fmt: skip
DISCOUNTS = {
    "deal_id": "Int64",
    "id": "str",
    "type": KIND,
    "amount": "float64",
    "created_at": TIME,
    "updated_at": TIME,
}

Rows = Iterable[Mapping[str, Any]]


def frame(dtypes: Mapping[str, Any], rows: Rows, **usual: Any) -> pd.DataFrame:
    """A frame of these dtypes; what a row does not name is `usual`, else null."""
    kept = [{**usual, **row} for row in rows]
    columns = {}
    for name, dtype in dtypes.items():
        values = [row.get(name) for row in kept]
        if isinstance(dtype, str) and dtype in (TIME, DAY):
            columns[name] = pd.Series(
                [_time(value, dtype == TIME) for value in values], dtype=dtype
            )
        else:
            columns[name] = pd.Series(values, dtype=object).astype(dtype)
    extra = {
        name: pd.Series([row.get(name) for row in kept])
        for name in dict.fromkeys(n for row in kept for n in row)
        if name not in dtypes
    }
    return pd.DataFrame({**columns, **extra})


def _time(value: Any, utc: bool) -> Any:
    moment = pd.Timestamp(value)
    return (
        moment.tz_localize("UTC")
        if utc and not pd.isna(moment) and moment.tzinfo is None
        else moment
    )


def deals(rows: Rows) -> pd.DataFrame:
    usual = {
        "title": "Deal", "owner_id": 1, "pipeline_id": 1, "stage_id": 1, "value": 100.0,
        "currency": "EUR", "add_time": "2026-01-01",
        "is_deleted": False, "status": "open",
    }  # fmt: skip
    return frame(DEALS, ({"id": i + 1, **row} for i, row in enumerate(rows)), **usual)


def activities(rows: Rows) -> pd.DataFrame:
    """Calls of owner 1, added on the first of January 2026; ids count from 1."""
    usual = {
        "subject": "Call", "type": "call", "owner_id": 1, "is_deleted": False,
        "add_time": "2026-01-01", "done": False,
    }  # fmt: skip
    return frame(ACTIVITIES, ({"id": i + 1, **row} for i, row in enumerate(rows)), **usual)


def visits(rows: Rows) -> pd.DataFrame:
    kept = [
        {
            "end": "open" if row.get("left_at") is None else "advanced",
            "seen_at": row["entered_at"],
            **row,
        }
        for row in rows
    ]
    return frame(VISITS, kept, pipeline_id=1, stage_id=1, visit=1, source="changelog")


def stages(rows: Rows) -> pd.DataFrame:
    usual = {
        "is_deleted": False,
        "deal_probability": 50,
        "pipeline_id": 1,
        "is_deal_rot_enabled": False,
    }
    return frame(
        STAGES,
        (
            {"id": i + 1, "order_nr": i + 1, "name": f"Stage {i + 1}", **row}
            for i, row in enumerate(rows)
        ),
        **usual,
    )


def lines(rows: Rows) -> pd.DataFrame:
    usual = {
        "tax": 0.0, "currency": "EUR", "discount": 0.0, "discount_type": "percentage",
        "quantity": 1.0, "tax_method": "none",
        "is_enabled": True, "billing_frequency": "one-time", "add_time": "2026-01-01",
    }  # fmt: skip
    return frame(LINES, ({"id": i + 1, **row} for i, row in enumerate(rows)), **usual)


def discounts(rows: Rows) -> pd.DataFrame:
    return frame(
        DISCOUNTS, rows, type="percentage", created_at="2026-01-01", updated_at="2026-01-01"
    )


HISTORY = {
    "deal_id": "Int64", "column": "str", "before": "str", "after": "str", "time": TIME,
    "time_after": TIME, "source": pd.CategoricalDtype(["changelog", "snapshots", "first look"]),
    "seen_at": TIME,
}  # fmt: skip


def history(rows: Rows) -> pd.DataFrame:
    """Changes of deals, as changelogs show them unless a row has another `source`."""
    kept = [{"seen_at": row["time"], **row} for row in rows]
    return frame(HISTORY, kept, source="changelog", deal_id=1)

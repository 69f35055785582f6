"""Small frames of line items and won deals with the loaders' dtypes, written row by row, for tests
of recurring revenue.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from pdframe.metrics import mrr_lines
from tests.helpers import small_frames

LINES = {
    **{name: dtype for name, dtype in small_frames.LINES.items() if name != "sum"},
    "product_id": "Int64",
    "billing_start_date": small_frames.DAY,
    "name": "str",
}
DEALS = {
    **{name: dtype for name, dtype in small_frames.DEALS.items() if name != "value"},
    "org_id": "Int64",
    "person_id": "Int64",
    "is_archived": "boolean",
    "mrr": "float64",
    "arr": "float64",
}
INSTALLMENTS = {
    "id": "Int64",
    "amount": "float64",
    "billing_date": small_frames.DAY,
    "description": "str",
    "deal_id": "Int64",
}

Rows = Iterable[Mapping[str, Any]]

NO_CANCELLATIONS = pd.DataFrame({"deal_id": [], "date": []})
"""Nobody cancels; without it `mrr_lines` warns of lines that have no end."""


def deals(rows: Rows) -> pd.DataFrame:
    """Won deals; ids count from 1, and so do organizations unless a row says another."""
    usual = {
        "title": "Deal", "owner_id": 1, "pipeline_id": 1, "stage_id": 1, "currency": "EUR",
        "add_time": "2025-01-01", "is_deleted": False,
        "is_archived": False, "status": "won", "won_time": "2026-01-01 12:00",
    }  # fmt: skip
    kept = [{"id": i + 1, "org_id": i + 1, **row} for i, row in enumerate(rows)]
    for row in kept:
        row.setdefault(
            "local_won_date",
            (
                pd.Timestamp(row.get("won_time", "2026-01-01")).normalize()
                if row.get("won_time", 1)
                else None
            ),
        )
    return small_frames.frame(DEALS, kept, **usual)


def lines(rows: Rows) -> pd.DataFrame:
    """Line items: one a row at 100 a month without end, of deal 1, unless a row says otherwise."""
    usual = {
        "deal_id": 1, "product_id": 1, "tax": 0.0, "currency": "EUR", "discount": 0.0,
        "discount_type": "percentage", "quantity": 1.0,
        "item_price": 100.0, "tax_method": "none", "is_enabled": True,
        "billing_frequency": "monthly", "add_time": "2025-01-01",
        "name": "Seat",
    }  # fmt: skip
    return small_frames.frame(LINES, ({"id": i + 1, **row} for i, row in enumerate(rows)), **usual)


def installments(rows: Rows) -> pd.DataFrame:
    return small_frames.frame(
        INSTALLMENTS,
        ({"id": i + 1, **row} for i, row in enumerate(rows)),
        deal_id=1,
        amount=100.0,
        description="Part",
    )


def ledger(*rows: Mapping[str, Any], deal: Rows | None = None, **arguments: Any) -> pd.DataFrame:
    """`mrr_lines` of such lines; `customer` in a row is an organization, `start` its billing start
    date: a deal a customer.

    Without `cancellations` there are none.
    """
    customers = sorted({row.get("customer", 1) for row in rows})
    kept = [
        {
            "deal_id": row.get("customer", 1),
            "billing_start_date": row.get("start"),
            **{k: v for k, v in row.items() if k not in ("customer", "start")},
        }
        for row in rows
    ]
    made = deals([{"id": key, "org_id": key} for key in customers]) if deal is None else deals(deal)
    return mrr_lines(lines(kept), made, **{"cancellations": NO_CANCELLATIONS, **arguments})


def day(text: str | None) -> Any:
    return pd.NaT if text is None else pd.Timestamp(text)


def days(column: pd.Series) -> list[str | None]:
    """Days as text, null as None."""
    return [None if pd.isna(value) else str(value)[:10] for value in column]

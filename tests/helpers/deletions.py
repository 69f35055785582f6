"""A company whose deals are deleted, and what a frame says of these."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from pdframe import sandbox
from pdframe.sync import DEFAULT_OPTIONS, SyncOptions

DAY = 86_400


def company(
    cache_dir: Path | None = None, options: SyncOptions = DEFAULT_OPTIONS, **switches: bool
) -> sandbox.SandboxAccount:
    """A company of 60 deals; every call refreshes."""
    how = sandbox.Switches(**switches)
    return sandbox.connect(
        seed=3,
        deals=60,
        cache_dir=cache_dir,
        company="hostile",
        switches=how,
        burst=100_000,
        progress=False,
        max_age=0,
        options=options,
    )


def time(seconds: float) -> pd.Timestamp:
    return pd.Timestamp(seconds, unit="s", tz="UTC")


def open_deals(account: sandbox.SandboxAccount, count: int) -> list[int]:
    """Open deals with line items, that no other test data speaks of."""
    model = account.company_model
    there = [
        row
        for row in model.tables["deals"].values()
        if ("deals", row["id"]) not in model.deleted_at
    ]
    result = [row["id"] for row in there if row["status"] == "open" and not row["is_archived"]]
    for deal in result[:count]:
        if not model.lines_of(deal):
            product = next(iter(model.tables["products"]))
            model.add_line(deal, product, item_price=100.0, quantity=1)
    return result[:count]


def deleted_of(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["status"] == "deleted"].set_index("id")

"""Recurring revenue of a large account, beside DuckDB computing the same tables from the same
Parquet.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pdframe.metrics import mrr_lines, mrr_movements, mrr_schedule, retention
from tests.bench.table import compared, peak, report, seconds
from tests.helpers import revenue_sql

LINES = 1_000_000
DEALS = 250_000
CUSTOMERS = 50_000
WINDOW: dict[str, Any] = {"since": "2021-01-01", "until": "2026-01-01"}
NO_CANCELLATIONS: dict[str, Any] = {"cancellations": pd.DataFrame({"deal_id": [], "date": []})}
FREQUENCIES = ["one-time", "weekly", "monthly", "quarterly", "semi-annually", "annually"]


def material(folder: Path) -> None:
    """A million line items of 250,000 won deals of 50,000 customers in three currencies, begun over
    sixty months.
    """
    random = np.random.default_rng(1)
    org = random.integers(1, CUSTOMERS + 1, DEALS)
    org[:CUSTOMERS] = np.arange(1, CUSTOMERS + 1)
    won = np.datetime64("2021-01-01", "D") + random.integers(0, 60 * 30, DEALS)
    currency = np.array(["EUR", "USD", "GBP"])[org % 3]
    deals = pd.DataFrame(
        {
            "id": pd.array(np.arange(1, DEALS + 1), "Int64"),
            "status": "won",
            "is_deleted": pd.array(np.zeros(DEALS, bool), "boolean"),
            "org_id": pd.array(org, "Int64"),
            "person_id": pd.array([None] * DEALS, "Int64"),
            "owner_id": pd.array(org % 20, "Int64"),
            "won_time": pd.Series(won.astype("datetime64[us]")).dt.tz_localize("UTC"),
            "local_won_date": won.astype("datetime64[us]"),
            "currency": currency,
        }
    )
    deals.to_parquet(folder / "deals.parquet")
    deal = np.sort(random.integers(0, DEALS, LINES))
    frequency = random.choice(6, LINES, p=[0.05, 0.05, 0.5, 0.15, 0.05, 0.2])
    cycles = np.where(frequency == 1, random.integers(4, 105, LINES), random.integers(1, 13, LINES))
    dated = random.random(LINES) < 0.5
    lines = pd.DataFrame(
        {
            "id": pd.array(np.arange(1, LINES + 1), "Int64"),
            "deal_id": pd.array(deal + 1, "Int64"),
            "product_id": pd.array(random.integers(1, 41, LINES), "Int64"),
            "currency": currency[deal],
            "quantity": random.integers(1, 50, LINES).astype(float),
            "item_price": random.integers(100, 90_000, LINES) / 100,
            "discount": np.where(random.random(LINES) < 0.2, 10.0, 0.0),
            "discount_type": pd.Categorical.from_codes(
                np.zeros(LINES, np.int8), ["percentage", "amount"]
            ),
            "tax": 22.0,
            "tax_method": pd.Categorical.from_codes(
                random.integers(0, 3, LINES), ["exclusive", "inclusive", "none"]
            ),
            "is_enabled": pd.array(random.random(LINES) > 0.03, "boolean"),
            "billing_frequency": pd.Categorical.from_codes(frequency, FREQUENCIES),
            "billing_frequency_cycles": pd.array(cycles, "Int64"),
            "billing_start_date": (
                np.where(
                    dated, won[deal] + random.integers(0, 40, LINES), np.datetime64("NaT")
                ).astype("datetime64[us]")
            ),
        }
    )
    open_ended = (frequency > 1) & (random.random(LINES) < 0.3)
    lines.loc[open_ended | (frequency == 0), "billing_frequency_cycles"] = pd.NA
    lines.to_parquet(folder / "lines.parquet")


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.read_parquet(folder / "lines.parquet"), pd.read_parquet(folder / "deals.parquet")


def here(folder: Path, metric: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    return metric(mrr_lines(*read(folder), **NO_CANCELLATIONS), **WINDOW)


def in_sql(folder: Path, what: str) -> pd.DataFrame:
    with revenue_sql.Base(folder / "lines.parquet", folder / "deals.parquet", **WINDOW) as base:
        return getattr(base, what)()


def revenue() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        material(folder)
        deal_products, deals = read(folder)
        lines = mrr_lines(deal_products, deals, **NO_CANCELLATIONS)
        made = statistics.median(
            seconds(partial(mrr_lines, deal_products, deals, **NO_CANCELLATIONS)) for _ in range(3)
        )
        report(
            f"seconds: mrr_lines, {LINES:,} lines of {CUSTOMERS:,} customers",
            f"{made:.2f} s",
            "",
            None,
        )
        for metric, what in (
            (mrr_schedule, "schedule"),
            (mrr_movements, "movements"),
            (retention, "retention"),
        ):
            alone = statistics.median(seconds(partial(metric, lines, **WINDOW)) for _ in range(3))
            report(f"seconds: {metric.__name__}, 60 months", f"{alone:.2f} s", "", None)
            both, sql, ratio = compared(
                partial(here, folder, metric), partial(in_sql, folder, what), 3
            )
            report(
                "  with reading the Parquet and mrr_lines / DuckDB",
                f"{both:.2f} s",
                f"{sql:.2f} s",
                ratio,
            )
        work = "[metric(lines, **WINDOW) for metric in (mrr_schedule, mrr_movements, retention)]"
        gigabytes = peak(
            "from tests.bench.revenue import *; lines = mrr_lines(*read(Path(sys.argv[1])),"
            f" **NO_CANCELLATIONS); {work}",
            folder,
        )
        report(
            "  peak memory of all four; largest difference from DuckDB",
            f"{gigabytes:.2f} GB",
            f"{apart(lines, folder):.1e}",
            None,
        )


def apart(lines: pd.DataFrame, folder: Path) -> float:
    """The largest difference from DuckDB's three tables, in currency units or shares."""
    result = []
    for metric, what in (
        (mrr_schedule, "schedule"),
        (mrr_movements, "movements"),
        (retention, "retention"),
    ):
        theirs = in_sql(folder, what)
        theirs["month"] = theirs["month"].astype("datetime64[us]")
        both = theirs.merge(
            metric(lines, **WINDOW), on=["month", "currency"], suffixes=("_sql", ""), validate="1:1"
        )
        assert len(both) == len(theirs)
        for column in theirs.columns[2:]:
            unit = 1 if what == "retention" or column == "customers" else 1e6
            result.append(
                np.abs(
                    both[f"{column}_sql"].astype(float) / unit - both[column].astype(float)
                ).max()
            )
    return float(max(result))


if __name__ == "__main__":
    revenue()

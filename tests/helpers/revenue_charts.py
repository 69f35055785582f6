"""Frames of the revenue metrics, written by hand for charts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

SCHEDULE = ["month", "currency", "mrr", "arr", "customers"]
MOVES = ["new", "reactivation", "expansion", "contraction", "churn", "fx"]
MOVEMENTS = ["month", "currency", "start", *MOVES, "end", "expired"]
COHORTS = ["cohort", "currency", "age", "customers", "mrr", "nrr", "month"]
BILLS = ["date", "deal_id", "customer", "kind", "amount", "currency", "id"]

TIMES = ("month", "cohort", "date")
FULL = ("customers", "age", "deal_id", "id")
WORDS = ("currency", "customer", "kind")


def revenue_frame(
    columns: Sequence[str], *rows: Sequence[Any], by: str | None = None
) -> pd.DataFrame:
    """A metric's frame; with `by`, the first value of each row is the group's."""
    names = [*([by] if by else []), *columns]
    made = pd.DataFrame([list(row) for row in rows], columns=names)
    dtypes = {
        name: (
            "datetime64[us]"
            if name in TIMES
            else "Int64"
            if name in FULL
            else "str"
            if name in WORDS
            else "float64"
        )
        for name in columns
    }
    return made.astype(dtypes)


def month(number: int, start: str = "2026-01-01") -> pd.Timestamp:
    return pd.Timestamp(start) + pd.DateOffset(months=number)


def schedule(*series: tuple[Any, Sequence[float]], currency: str | None = "EUR") -> pd.DataFrame:
    """MRR of groups, month by month from January 2026; one group called None without `by`."""
    by = None if len(series) == 1 and series[0][0] is None else "Region"
    rows = [
        [*([group] if by else []), month(at), currency, value, 12 * value, 3 + at]
        for group, values in series
        for at, value in enumerate(values)
    ]
    return revenue_frame(SCHEDULE, *rows, by=by)


def movements(
    start: float, *months: Sequence[float], currency: str | None = "EUR", expired: float = 0.0
) -> pd.DataFrame:
    """Months that follow each other, each with its six movements, from January 2026."""
    rows, level = [], start
    for at, moves in enumerate(months):
        rows.append([month(at), currency, level, *moves, level + sum(moves), expired])
        level += sum(moves)
    return revenue_frame(MOVEMENTS, *rows)


def cohorts(*table: Sequence[float | None], customers: int = 10) -> pd.DataFrame:
    """Net retention by cohort and age, from cohort January 2026; None: immature."""
    ages = max(map(len, table), default=0)
    rows = [
        [
            month(at), "EUR", age, None if value is None else round(customers * min(value, 1)),
            None if value is None else 100 * value,
            np.nan if value is None else value, month(at + age),
        ]
        for at, row in enumerate(table)
        for age, value in enumerate([*row, *[None] * (ages - len(row))])
    ]  # fmt: skip
    return revenue_frame(COHORTS, *rows)


def bills(*rows: tuple[str, str | None, float], currency: str | None = "EUR") -> pd.DataFrame:
    """Bills of day, kind and amount."""
    result = [
        [pd.Timestamp(day), 1, "deal 1", kind, amount, currency, at]
        for at, (day, kind, amount) in enumerate(rows)
    ]
    return revenue_frame(BILLS, *result)

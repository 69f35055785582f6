"""How right the forecasts were that the account issued."""

from __future__ import annotations

from types import MappingProxyType

import pandas as pd

from pdframe.dashboard._chosen import like
from pdframe.dashboard._parts import Figure, Table, amount, table

__all__ = [
    "OUTCOMES",
    "RANGE",
    "last_forecasts",
    "of_all_deals",
    "outside_of_range",
    "record_figure",
    "record_table",
]

_NONE = "no month of an issued forecast is over; reports and account.forecast() keep theirs"
_LATE = "of the months that are over, none was forecast before it began"
_METHOD = "hazard"
"""The method of the views' forecasts."""
OUTCOMES = MappingProxyType(
    {
        "p10": ("P10", amount),
        "p50": ("Middle (P50)", amount),
        "p90": ("P90", amount),
        "mean": ("Expected (mean)", amount),
    }
)
"""Columns of a forecast, as tables write them; charts have the same words."""
RANGE = "8 of 10 outcomes are from P10 to P90"


def of_all_deals(record: pd.DataFrame) -> pd.Series[bool]:
    """Whether each row is of a forecast as the views show it: by month, of all deals, by hazard."""
    keep = record["by"].isna() | record["by"].eq("currency").fillna(False)
    for column, value in (("freq", "M"), ("method", _METHOD)):
        keep &= record[column].astype("str").eq(value).fillna(False)
    return keep.astype(bool)


def last_forecasts(record: pd.DataFrame | None, currency: str | None) -> pd.DataFrame | None:
    """Return one row a month that is over: the last forecast that was issued before it began, else
    the first one after.

    Parameters
    ----------
    record
        As of `account.track_record`; None: none was issued.
    currency
        Of the forecasts; those of all deals count, not those of groups.
    """
    if record is None:
        return None
    is_own = record["currency"].astype("str").eq(str(currency)).fillna(False).astype(bool)
    rows = record[of_all_deals(record) & is_own & record["actual"].notna()]
    if rows.empty:
        return None
    days = (_issued(rows, record) - rows["period"]).dt.total_seconds()
    # Those before, the last one first, and then those after.
    order = days.where(days > 0, -1e12 - days)
    rows = rows.assign(order=order).sort_values(["period", "order"], kind="stable")
    return like(rows.drop_duplicates("period").drop(columns="order"), record)


def _issued(rows: pd.DataFrame, record: pd.DataFrame) -> pd.Series[pd.Timestamp]:
    """Return when the forecasts were issued, in the company's timezone."""
    local: pd.Series[pd.Timestamp] = rows["as_of"].dt.tz_convert(record.attrs.get("tz", "UTC"))
    return local.dt.tz_localize(None)


def outside_of_range(rows: pd.DataFrame, what: str) -> tuple[str, ...]:
    """Return notes on the means that are shown outside their own range.

    Parameters
    ----------
    rows
        Periods, with p10, p90 and mean.
    what
        What the mean is, to begin a sentence.
    """
    shown = rows[["p10", "mean", "p90"]].astype("float64").round()
    months = rows["period"].dt.strftime("%Y-%m")
    sides = (
        (shown["mean"] > shown["p90"], "above P90", "with a small chance lifts"),
        (shown["mean"] < shown["p10"], "below P10", "with a small risk of loss lowers"),
    )
    return tuple(
        f"{what} is {side} in {', '.join(sorted(months[outside]))}: it is a mean, which a large"
        f" deal {why}."
        for outside, side, why in sides
        if outside.any()
    )


def record_figure(rows: pd.DataFrame | None, currency: str | None) -> Figure:
    """Return how often the actual was within the range of 8 in 10; a forecast that was issued after
    the first day of its month knew a part of it, and does not count.
    """
    label = f"Record of the forecast, {currency}"
    if rows is None:
        return Figure(label, "none yet", note=_NONE)
    rows = rows[_issued(rows, rows).dt.normalize() <= rows["period"]]
    if rows.empty:
        return Figure(label, "none yet", note=_LATE)
    right = int(rows["covered"].sum())
    return Figure(
        label,
        f"{right:,} of {len(rows):,}",
        note="months were within the range that was forecast; 8 of 10 should be",
    )


def record_table(rows: pd.DataFrame, currency: str | None) -> Table:
    """Return what was forecast of the newest months that are over, and what happened."""
    newest = rows.iloc[::-1].reset_index(drop=True)
    within = newest["covered"].astype("boolean").map({True: "yes", False: "no"})
    return table(
        f"What was forecast of months that are over, {currency}",
        newest.assign(
            month=newest["period"].dt.strftime("%Y-%m"),
            issued=newest["as_of"].dt.strftime("%Y-%m-%d"),
            within=within,
        ),
        {
            "month": "Month",
            "issued": "Issued",
            **OUTCOMES,
            "actual": ("Actual", amount),
            "within": "Within the range",
        },
        most=6,
    )

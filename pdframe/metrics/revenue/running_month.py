"""The MRR on a day, and the note on a month that was not over on it: its row is of another day."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pdframe._moments import named_period
from pdframe._plain import plain_frame
from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import local_days, moment
from pdframe.metrics._columns import Flags, instants
from pdframe.metrics.currency import Rates
from pdframe.metrics.revenue.periods import NULL, as_dates, as_months, days_of, first_day
from pdframe.metrics.revenue.prices import exact_amounts, in_units
from pdframe.metrics.revenue.versions import known_on

LAST_CHANGE = "last_change"
"""Attribute of the frame of `mrr_lines`: the day of the last change of a deal, as text."""


def last_change(deals: pd.DataFrame, tz: str) -> str | None:
    """Return the day of the last change of a deal in `tz`, such as 2026-07-12: up to it, at least,
    the deals are known. None: there are no times of changes.
    """
    if "update_time" not in deals.columns:
        return None
    try:
        days = local_days(instants(plain_frame(deals[["update_time"]]), "update_time", tz), tz)
    except ArgumentError:
        # No metric needs this column.
        return None
    known = days[days != NULL]
    return str(known.max().view("datetime64[us]"))[:10] if len(known) else None


def counted_by(lines: pd.DataFrame, day: int) -> Flags:
    """Return which lines count on a day (days since 1970) or counted before it: those that began by
    then, of deals won by then.
    """
    start, end = days_of(lines, "start"), days_of(lines, "end")
    counts = lines["problem"].isna().to_numpy() & (exact_amounts(lines, "mrr") != 0)
    counts &= (start != NULL) & (start <= day) & ((end == NULL) | (end > start))
    if "won_date" in lines.columns:
        counts &= days_of(lines, "won_date") <= day
    return np.asarray(counts, dtype=np.bool_)


def active_on(lines: pd.DataFrame, day: int) -> Flags:
    """Return which lines are active on a day (days since 1970): from their start up to their
    end.
    """
    end = days_of(lines, "end")
    return np.asarray(counted_by(lines, day) & ((end == NULL) | (end > day)), dtype=np.bool_)


def note_running_month(
    lines: pd.DataFrame, schedule: pd.DataFrame, until: Any, rates: Rates | None
) -> None:
    """Warn where the last months of a schedule include one that was not over, and its MRR was
    another on that day.

    Parameters
    ----------
    lines, until, rates
        As the schedule was made of them. The day is that of `until` where it lies inside a month,
        else that of the last change of a deal (`lines.attrs["last_change"]`).
    schedule
        month, currency, mrr.
    """
    day = _day(lines.attrs.get(LAST_CHANGE), until)
    if day is None or not len(schedule):
        return
    month = day.astype("datetime64[M]")
    number, at = int(month.astype(np.int64)), int(day.astype(np.int64))
    if at == int(first_day(np.array([number + 1]))[0]) - 1:
        return
    rows = schedule[schedule["month"] == as_months(np.array([number])).iloc[0]]
    if not len(rows):
        return
    row = rows.groupby("currency", dropna=False, sort=True)["mrr"].sum()
    try:
        now = _mrr_on(lines, at, rates, row.index)
    except ArgumentError:
        # The month's last day has a rate, this one has none.
        return
    differs = ~np.isclose(now, row.to_numpy(np.float64), rtol=1e-9, atol=0.005)
    if not differs.any():
        return
    on_day, in_row = (
        " and ".join(
            f"{amount:,.2f} {'' if pd.isna(name) else name}".rstrip()
            for name, amount in zip(row.index[differs], amounts[differs], strict=True)
        )
        for amounts in (now, row.to_numpy(np.float64))
    )
    warn(
        f"{month} was not over on {day}: MRR is {on_day} on that day, and {in_row} in its row,"
        " which is of the day that the policy samples, by default the month's last, with all that"
        f" is known to start or end by then. metrics.top_customers(lines, as_of='{day}') gives the"
        " MRR of that day by customer."
    )


def _day(last_change: Any, until: Any) -> np.datetime64 | None:
    """Return the day that a reader may take for that of the last row."""
    if named_period(until, "until") is None:
        end = moment(until, "UTC", "until")
        if end.tz_localize(None) != pd.Timestamp(year=end.year, month=end.month, day=1):
            return np.datetime64(end.date(), "D")
    try:
        return None if last_change is None else np.datetime64(str(last_change), "D")
    except ValueError:
        return None


def _mrr_on(lines: pd.DataFrame, day: int, rates: Rates | None, currencies: pd.Index[Any]) -> Any:
    """Return the MRR on a day in each of these currencies; with `rates` in the common one."""
    lines = known_on(plain_frame(lines), day)
    kept = lines[active_on(lines, day)].reset_index(drop=True)
    amount, names = exact_amounts(kept, "mrr"), kept["currency"].astype("str")
    if rates is not None:
        days = as_dates(np.full(len(kept), day))
        rate = rates.at(names, pd.Series(days.array), np.ones(len(kept), np.bool_))
        return in_units(np.array([np.rint(amount * rate).astype(np.int64).sum()]))
    sums = pd.Series(amount).groupby(names.to_numpy()).sum()
    return in_units(sums.reindex(currencies, fill_value=0).to_numpy(np.int64))


__all__ = ["LAST_CHANGE", "active_on", "counted_by", "last_change", "note_running_month"]

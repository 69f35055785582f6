"""Committed MRR: live MRR, plus won MRR that has not started, less MRR with a known end."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import keyed, moment, require_columns, zone_of
from pdframe.metrics._columns import Flags, Ints, warn_of_uncountable
from pdframe.metrics._notes import noted
from pdframe.metrics.revenue._line_warnings import named
from pdframe.metrics.revenue.ledger import NEEDED
from pdframe.metrics.revenue.months import Moment
from pdframe.metrics.revenue.periods import (
    MOST_MONTHS,
    NULL,
    as_dates,
    as_months,
    days_of,
    month_after,
    months_of,
)
from pdframe.metrics.revenue.prices import exact_amounts, in_units
from pdframe.metrics.revenue.versions import known_on

MONTHS_AHEAD = 36
"""Months that are shown where `until` is not given, the month of `as_of` among them."""


@noted
def committed_mrr(
    lines: pd.DataFrame,
    *,
    as_of: Moment,
    until: Moment | None = None,
    tz: str | None = None,
) -> pd.DataFrame:
    """CMRR as of a day, month by month: one row a month and currency.

    Parameters
    ----------
    lines
        As `mrr_lines` gives them. Those won after `as_of` (`won_date`, where the column is there)
        are not known yet, nor are those with a problem. Of versions (`history=`) those known at
        `as_of` count, with what they agreed on.
    as_of
        The day, inclusive. A time is taken for its day in `tz`.
    until
        Where the months end, exclusive: of a day, the months that begin before it are shown; a
        year, quarter, month ("2027-Q2") or `pd.Period` is taken to its end. None: the last month in
        which a line starts or ends, and no more than 36 months in all.
    tz
        Timezone of a time in `as_of`; None: `lines.attrs["tz"]`, which `mrr_lines` sets, else UTC.

    Returns
    -------
    DataFrame
        By month and currency, every month from that of `as_of` for every currency that ever had
        MRR. month, currency, live (at the beginning; in the first month, on the day `as_of`
        itself), starting (of lines that start in the month, after `as_of`), ending (of lines that
        end in it, negative), committed (live + starting + ending, at the month's end).

    Raises
    ------
    ArgumentError
        A column is missing, `as_of` or `until` is no time, or `until` leaves no month.

    Warns
    -----
    DataWarning
        `until` is not given, and lines start after the 36 months: their count, ids and first start.
        Ends after them are not named, as they change none of the months shown.

    Notes
    -----
    Agreed terms and cancellations end a line, whatever the grace of the policy: a renewal that is
    not won is not committed.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> committed = metrics.committed_mrr(lines, as_of="2026-06-30", until="2026-09-30")
    >>> committed[committed["currency"] == "EUR"]
           month currency          live  starting       ending     committed
    0 2026-06-01      EUR  33966.877105       0.0     0.000000  33966.877105
    3 2026-07-01      EUR  33966.877105       0.0     0.000000  33966.877105
    6 2026-08-01      EUR  33966.877105       0.0 -6890.173333  27076.703772
    9 2026-09-01      EUR  27076.703772       0.0 -5532.176333  21544.527439
    """
    tz = zone_of(tz, lines)
    lines = require_columns(lines, "lines", NEEDED)
    warn_of_uncountable(lines, "lines", moments=["start"], numbers=["mrr"])
    day = moment(as_of, tz, "as_of", end_of_day=True).tz_convert(tz).tz_localize(None)
    today = np.array([np.datetime64(day.date())]).astype("datetime64[D]").astype(np.int64)
    lines = known_on(lines, int(today[0]))
    start, end, amount = days_of(lines, "start"), days_of(lines, "end"), exact_amounts(lines, "mrr")
    known = lines["problem"].isna().to_numpy() & (amount != 0) & (start != NULL)
    if "won_date" in lines.columns:
        known &= days_of(lines, "won_date") <= today[0]
    kept, start, end, amount = lines[known], start[known], end[known], amount[known]
    currency, names = pd.factorize(kept["currency"].astype("str"), sort=True)
    live = (start <= today) & ((end == NULL) | (end > today))
    # What ends on the day it starts never runs.
    starts = (start > today) & ((end == NULL) | (end > start))
    ends = (live | starts) & (end != NULL)
    first = int(months_of(today)[0])
    last = max(int(months_of(days).max(initial=first)) for days in (start[starts], end[ends]))
    if until is None:
        width = min(last - first + 1, MONTHS_AHEAD)
        _warn_of_later(kept, np.where(starts, start, NULL), first + width)
    else:
        width = month_after(until, "until") - first
        if width < 1:
            raise ArgumentError(f"until={until!r} is not after the month of as_of={as_of!r}.")
        if width > MOST_MONTHS:
            raise ArgumentError(f"The window has {width:,} months; the limit is {MOST_MONTHS:,}.")

    def total(rows: Flags, days: Ints) -> Ints:
        result = np.zeros((len(names), width), np.int64)
        month = months_of(days[rows]) - first
        inside = month < width
        np.add.at(result, (currency[rows][inside], month[inside]), amount[rows][inside])
        return result

    starting, ending = total(starts, start), -total(ends, end)
    at_first = total(live, np.full(len(start), today[0]))[:, :1]
    committed = at_first + np.cumsum(starting + ending, axis=1)
    result = pd.DataFrame(
        {"month": as_months(np.repeat(np.arange(first, first + width, dtype=np.int64), len(names)))}
    )
    result["currency"] = pd.Series(np.tile(np.asarray(names, dtype=object), width), dtype="str")
    for name, parts in (
        ("live", committed - starting - ending),
        ("starting", starting),
        ("ending", ending),
        ("committed", committed),
    ):
        result[name] = in_units(parts.T.reshape(-1))
    return keyed(result, ["month", "currency"], tz)


def _warn_of_later(lines: pd.DataFrame, start: Ints, limit: int) -> None:
    """Warn of lines that start in the month `limit` or later: no month that is shown holds them.

    `start` is `NULL` where a line does not count.
    """
    at = np.flatnonzero((start != NULL) & (months_of(start) >= limit))
    if not len(at):
        return
    shown, day = as_months(np.array([limit - 1])), as_dates(start[at].min(keepdims=True))
    ids = f"; line ids: {named(lines['id'].iloc[at])}" if "id" in lines.columns else ""
    warn(
        f"committed_mrr shows {MONTHS_AHEAD} months where until= is not given, up to"
        f" {str(shown.iloc[0])[:7]}. {len(at):,} line{'s start' if len(at) > 1 else ' starts'}"
        f" after that and {'are' if len(at) > 1 else 'is'} in none of them (the first on"
        f" {str(day.iloc[0])[:10]}{ids}). Pass until=, such as '2031', for more months; correct"
        " mistyped dates in Pipedrive."
    )


__all__ = ["committed_mrr"]

"""Committed MRR: what is live, plus what is won and has not started, less what is known to end."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdframe.metrics.columns import Flags, Ints, say_uncountable
from pdframe.metrics.inputs import keyed, moment, need, zone_of
from pdframe.metrics.revenue.ledger import NEEDED
from pdframe.metrics.revenue.months import Moment
from pdframe.metrics.revenue.periods import MOST_MONTHS, NULL, as_months, days_of, months_of
from pdframe.metrics.revenue.prices import held_exactly, in_units


def committed_mrr(lines: pd.DataFrame, *, as_of: Moment, tz: str | None = None) -> pd.DataFrame:
    """CMRR as of a day, month by month as far as anything is known to change: one row a month and currency.

    Parameters
    ----------
    lines
        As `mrr_lines` gives them. Those won after `as_of` (`won_date`, where the column is there) are not known yet, nor are those with a
        problem.
    as_of
        The day, inclusive. A time is taken for its day in `tz`.
    tz
        Timezone of a time in `as_of`; None: `lines.attrs["tz"]`, which `mrr_lines` sets, else UTC.

    Returns
    -------
    DataFrame
        By month and currency, from the month of `as_of` to the last in which a line starts or ends, every month for every currency that
        ever had MRR. month, currency, live (at the beginning; in the first month, on the day `as_of` itself), starting (of lines that
        start in the month, after `as_of`), ending (of lines that end in it, negative), committed (live + starting + ending, at the month's
        end).

    Raises
    ------
    ArgumentError
        A column is missing, or `as_of` is no time.

    Notes
    -----
    Terms and cancellations as agreed end a line, whatever grace the policy bridges them with: a renewal that is not won is not committed.
    """
    tz = zone_of(tz, lines)
    lines = need(lines, "lines", NEEDED)
    say_uncountable(lines, "lines", moments=["start"], numbers=["mrr"])
    day = moment(as_of, tz, "as_of").tz_convert(tz).tz_localize(None)
    today = np.array([np.datetime64(day.date())]).astype("datetime64[D]").astype(np.int64)
    start, end, amount = days_of(lines, "start"), days_of(lines, "end"), held_exactly(lines, "mrr")
    known = lines["problem"].isna().to_numpy() & (amount != 0) & (start != NULL)
    if "won_date" in lines.columns:
        known &= days_of(lines, "won_date") <= today[0]
    held, start, end, amount = lines[known], start[known], end[known], amount[known]
    currency, names = pd.factorize(held["currency"].astype("str"), sort=True)
    live = (start <= today) & ((end == NULL) | (end > today))
    # What ends on the day it starts never runs.
    starts = (start > today) & ((end == NULL) | (end > start))
    ends = (live | starts) & (end != NULL)
    first = int(months_of(today)[0])
    last = max(int(months_of(days).max(initial=first)) for days in (start[starts], end[ends]))
    width = min(last - first + 1, MOST_MONTHS)

    def total(rows: Flags, days: Ints) -> Ints:
        result = np.zeros((len(names), width), np.int64)
        month = months_of(days[rows]) - first
        inside = month < width
        np.add.at(result, (currency[rows][inside], month[inside]), amount[rows][inside])
        return result

    starting, ending = total(starts, start), -total(ends, end)
    at_first = total(live, np.full(len(start), today[0]))[:, :1]
    committed = at_first + np.cumsum(starting + ending, axis=1)
    result = pd.DataFrame({"month": as_months(np.repeat(np.arange(first, first + width, dtype=np.int64), len(names)))})
    result["currency"] = pd.Series(np.tile(np.asarray(names, dtype=object), width), dtype="str")
    for name, parts in (
        ("live", committed - starting - ending),
        ("starting", starting),
        ("ending", ending),
        ("committed", committed),
    ):
        result[name] = in_units(parts.T.reshape(-1))
    return keyed(result, ["month", "currency"], tz)


__all__ = ["committed_mrr"]

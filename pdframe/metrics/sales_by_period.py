"""What was created, won and lost in each week, month, quarter or year, and what was open at its
end.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import (
    grouped,
    keyed,
    keys,
    local_date,
    moment,
    require_columns,
    to_micros,
    window,
    zone_of,
)
from pdframe.metrics._closings import (
    between,
    warn_of_early_ends,
    warn_of_left_out,
    warn_of_undated,
)
from pdframe.metrics._columns import (
    Flags,
    Floats,
    Ints,
    as_times,
    finite,
    ids,
    mean_of,
    one_row_each,
    plain_times,
    ratio,
    warn_of_uncountable,
)
from pdframe.metrics._notes import noted
from pdframe.metrics._period_grid import PeriodGrid, by_period, period_grid
from pdframe.metrics._states import (
    DELETED,
    LOST,
    UNKNOWN,
    WON,
    Deleted,
    States,
    check_deleted,
    states,
)
from pdframe.metrics.currency import Rates, RateTable
from pdframe.metrics.forecasting._amounts import LARGEST, exact_units, in_units, sums
from pdframe.metrics.forecasting._labels import labels

Moment: TypeAlias = str | date | pd.Timestamp | pd.Period

COLUMNS = (
    "period",
    "currency",
    "created",
    "created_value",
    "won",
    "won_value",
    "lost",
    "lost_value",
    "win_rate",
    "average_won_value",
    "average_days",
    "open_at_end",
    "open_value_at_end",
)
EVENT = pd.CategoricalDtype(["created", "won", "lost", "open at end"])
_CREATED, _WON, _LOST, _OPEN = range(4)
_TAKEN = (*COLUMNS, "deal_id", "event", "value", "days")


@noted
def sales_by_period(
    deals: pd.DataFrame,
    *,
    since: Moment | None,
    until: Moment | None,
    freq: str = "M",
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
    as_of: Moment | None = None,
    deleted: Deleted = "drop",
    fiscal_start: int = 1,
    tz: str | None = None,
) -> pd.DataFrame:
    """Count and sum up the deals created, won and lost in each period, and those open at its end.

    With `by="owner"` it is a leaderboard: `.sort_values("won_value", ascending=False)`.

    Parameters
    ----------
    deals
        One row per deal, from `account.deals()`, with id, status, add_time, won_time, lost_time,
        value, currency; local_won_date, local_lost_date, is_deleted, deleted_time and update_time
        are used where present.
    since, until
        The window, since inclusive, until exclusive; None: from the first event, or to the last.
        Naive times and bare dates are in `tz`. A year, quarter, month ("2026-Q2") or `pd.Period` as
        `until` is taken to its end.
    freq
        Length of the periods: "W" (from Monday), "M", "Q" or "Y".
    by
        Column or columns of `deals` to group by, unchanged; null is a group. "owner" is
        `owner_name` where `deals` has that alone.
    rates
        None: each currency has its rows. A mapping currency -> value of one unit in the common
        currency, or a frame (currency, date, rate), whose last rate on or before a day counts: the
        day on which a deal was created, won or lost, and for open deals the last day of the period.
    as_of
        What happened after it is unknown, and periods that begin after it have no row; a bare date
        is the end of that day. None: all that `deals` shows, so that periods to come show what is
        open now.
    deleted
        "drop" (default): a deal that was deleted after it was won or lost counts nowhere from its
        deletion on. "keep": it counts, where `deals` has it (`account.deals(deleted=True)`; else a
        warning says so).
    fiscal_start
        Month in which the fiscal year begins, for quarters and years.
    tz
        Timezone of the window, of the periods and of the days on which deals close; None:
        `deals.attrs["tz"]`, which the loaders set, else UTC.

    Returns
    -------
    DataFrame
        One row per period of the window and currency (and group), for every currency and group that
        occurs in it. The columns of `by`, then:

        - period: its first day
        - currency: of the amounts; with `rates` the one whose rate is always 1, null where unknown
        - created, created_value: deals that were created in the period, at today's value
        - won, won_value, lost, lost_value: deals that were won or lost in it
        - win_rate: won / (won + lost), a share of 1; null where nothing was closed
        - average_won_value: of the deals won that have a value; null where there is none
        - average_days: from `add_time` to the win, of the deals won; null where there is none
        - open_at_end, open_value_at_end: deals open at the end of the period (of the window, or at
          `as_of`, where that is earlier), at today's value

        Null values count 0 in sums.

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, an id occurs twice, an argument is not a time
        or a length, a currency has no rate, or amounts are too large to be added up exactly.

    Warns
    -----
    DataWarning
        Once, of all that follows, with the complete text in `attrs["notes"]`: deals closed without
        a date, deals without a time of creation, deals without a value or a currency, deals won
        before they were created.

    Notes
    -----
    Deals close as in `win_rate`: on `local_won_date` (`local_lost_date`) where that is
    there, else on the day of `won_time` (`lost_time`) in `tz`. What was open then follows from the
    times of creation and closing, at the value of today: a deal that was lost, reopened and lost
    again was open until its last closing, for `deals` shows no other. A deal that was open when it
    was deleted counts as created, and as open until its deletion, where `deals` has it.

    `drill_through` leads from a row to its deals in `sales_by_period_deals`.

    Examples
    --------
    >>> deals = account.deals()
    >>> months = metrics.sales_by_period(deals, since="2026-04-01", until="2026-07-01")
    >>> euro = months[months["currency"] == "EUR"]
    >>> euro[["period", "created", "won", "won_value", "lost", "open_at_end"]]
          period  created  won  won_value  lost  open_at_end
    0 2026-04-01        5    3    3317.84     7           35
    3 2026-05-01        7    3   10236.85     2           37
    6 2026-06-01        7    1       0.00     3           40
    """
    names, converted = _names(by, deals, rates)
    events = _events(
        deals,
        names,
        since=since,
        until=until,
        freq=freq,
        rates=rates,
        as_of=as_of,
        deleted=deleted,
        fiscal_start=fiscal_start,
        tz=tz,
    )
    result = _summed(events, names, converted)
    result.attrs["freq"] = freq
    return result


@noted
def sales_by_period_deals(
    deals: pd.DataFrame,
    *,
    since: Moment | None,
    until: Moment | None,
    freq: str = "M",
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
    as_of: Moment | None = None,
    deleted: Deleted = "drop",
    fiscal_start: int = 1,
    tz: str | None = None,
) -> pd.DataFrame:
    """List the deals that `sales_by_period` counts: one row per deal, period and event.

    A deal that was created in a period, and is open at its end, has two rows there.

    Parameters
    ----------
    deals, since, until, freq, by, rates, as_of, deleted, fiscal_start, tz
        As in `sales_by_period`.

    Returns
    -------
    DataFrame
        By period, event and deal_id: deal_id; title, owner_name where `deals` has them; the other
        columns of `by`; period, event (created, won, lost, open at end), currency, value (null:
        none; with `rates` in the common currency, at the rate of the event's day), days (from
        creation to the win or loss; null for other events, and for a closing before the creation).

    Raises
    ------
    ArgumentError
        As in `sales_by_period`.

    Examples
    --------
    >>> june = {"since": "2026-06-01", "until": "2026-07-01"}
    >>> rows = metrics.sales_by_period_deals(account.deals(), **june)
    >>> rows["event"].value_counts().sort_index().to_dict()
    {'created': 11, 'won': 5, 'lost': 5, 'open at end': 60}
    """
    names, _ = _names(by, deals, rates)
    events = _events(
        deals,
        names,
        since=since,
        until=until,
        freq=freq,
        rates=rates,
        as_of=as_of,
        deleted=deleted,
        fiscal_start=fiscal_start,
        tz=tz,
    )
    result = _listed(events, names)
    return result


class _Events(NamedTuple):
    """One row per event: the place of its deal and of its period, what it is, its value, and the
    days from the creation to it.
    """

    deals: pd.DataFrame
    grid: PeriodGrid
    deal: Ints
    period: Ints
    kind: Ints
    currency: pd.Series[Any]
    value: Floats
    days: Floats
    target: str | None


def _names(by: Any, deals: object, rates: RateTable | None) -> tuple[list[str], bool]:
    """Return the columns to group by, without the currency, and whether amounts are converted."""
    own = [name for name in _TAKEN if name != "currency"]
    names = keys(by, own, deals)
    if rates is not None and "currency" in names:
        raise ArgumentError(
            "by='currency' keeps currencies apart and `rates` adds them up: give one of the two."
        )
    return [name for name in names if name != "currency"], rates is not None


def _events(
    deals: pd.DataFrame,
    names: list[str],
    *,
    since: Any,
    until: Any,
    freq: str,
    rates: RateTable | None,
    as_of: Any,
    deleted: Deleted,
    fiscal_start: int,
    tz: str | None,
) -> _Events:
    tz = zone_of(tz, deals)
    deals = require_columns(
        deals, "deals", ["id", "status", "value", "currency"], names
    ).reset_index(drop=True)
    warn_of_uncountable(deals, "deals", numbers=["value"], below=LARGEST)
    one_row_each(deals, "deals")
    check_deleted(deleted, deals)
    now = None if as_of is None else moment(as_of, tz, "as_of", end_of_day=True)
    start, end = window(since, until, tz)
    if now is not None:
        if start is not None and start > now:
            raise ArgumentError(f"since={since!r} is after as_of={as_of!r}.")
        after = now + pd.Timedelta(1, "us")
        end = after if end is None or after < end else end
    known = states(deals, tz, now, deleted=deleted)
    warn_of_undated(known)
    there = known.state != UNKNOWN
    warn_of_left_out(
        int((there & known.created.isna().to_numpy()).sum()), "have no time of creation"
    )
    created = there & between(known.created, start, end)
    closed = np.isin(known.state, (WON, LOST)) & between(known.counted, start, end)
    grid = period_grid(
        freq, fiscal_start, start, end, tz, known.created[created], known.counted[closed]
    )
    ends = np.minimum(grid.ends(), np.iinfo(np.int64).max if end is None else to_micros(end))
    first, stop = _open_between(known, ends)
    rows = [np.flatnonzero(which) for which in (created, closed)]
    width = stop - first
    rows.append(np.repeat(np.arange(len(deals)), width))
    deal = np.concatenate(rows)
    at_end = np.arange(len(rows[2])) - np.repeat(np.cumsum(width) - width, width) + first[rows[2]]
    period = np.concatenate(
        [
            grid.places(known.created)[rows[0]],
            grid.places(known.counted)[rows[1]],
            at_end,
        ]
    )
    kind = np.repeat([_CREATED, _WON, _OPEN], [len(part) for part in rows])
    kind[(kind == _WON) & (known.state[deal] == LOST)] = _LOST
    of_closing = (kind == _WON) | (kind == _LOST)
    taken = known.days_taken(tz)
    _warn_of_early_wins(deals, known, closed, tz)
    value = finite(deals, "value", below=LARGEST)[deal]
    currency = deals["currency"].astype("str").take(deal).reset_index(drop=True)
    target = None
    bare = np.unique(deal[np.isnan(value)])
    if len(bare):
        warn(f"{len(bare):,} deals have no value: they count 0.")
    if rates is not None:
        moments = np.where(
            kind == _OPEN,
            np.append(ends, 0)[np.where(kind == _OPEN, period, -1)] - 1,
            np.where(
                of_closing, plain_times(known.counted)[deal], plain_times(known.created)[deal]
            ),
        )
        table = Rates(rates)
        value, target = _converted(value, currency, table, moments, tz, deal), table.target
        currency = pd.Series([target] * len(currency), dtype="str")
    return _Events(
        deals,
        grid,
        deal,
        period,
        kind,
        currency,
        value,
        np.where(of_closing, taken[deal], np.nan),
        target,
    )


def _open_between(known: States, ends: Ints) -> tuple[Ints, Ints]:
    """Return the first period at whose end each deal is open, and the first later one at whose end
    it is not; both are equal where it never is.
    """
    created, closed = plain_times(known.created), plain_times(known.counted)
    never = (
        (known.state == UNKNOWN)
        | known.created.isna().to_numpy()
        | known.undated(WON, LOST, DELETED)
    )
    first = np.searchsorted(ends, created, side="right")
    # Open deals have no closing: they are open at all later ends.
    is_open = known.counted.isna().to_numpy()
    stop = np.where(is_open, len(ends), np.searchsorted(ends, closed, side="right"))
    return first, np.where(never, first, np.maximum(first, stop))


def _warn_of_early_wins(deals: pd.DataFrame, known: States, closed: Flags, tz: str) -> None:
    early = closed & (known.state == WON) & known.ended_before_created(tz)
    warn_of_early_ends(deals[early], "won", "average_days")


def _converted(
    value: Floats,
    currency: pd.Series[Any],
    rates: Rates,
    moments: Ints,
    tz: str,
    deal: Ints,
) -> Floats:
    """Return values in the common currency, each at the rate of its day."""
    valued = ~np.isnan(value)
    bare = np.unique(deal[valued & currency.isna().to_numpy()])
    if len(bare):
        warn(f"{len(bare):,} deals have a value and no currency: they count 0. Fill in `currency`.")
    days = local_date(as_times(moments, currency.index), tz)
    with np.errstate(over="ignore"):
        value = value * rates.at(currency, days, valued)
    rates.warn_of_stale()
    return value


def _summed(events: _Events, names: list[str], converted: bool) -> pd.DataFrame:
    keys = events.deals[names].take(events.deal).reset_index(drop=True)
    if not converted:
        keys["currency"] = events.currency
    codes, groups = grouped(keys, [*keys.columns])
    result, width = by_period(groups, events.grid)
    if converted:
        result["currency"] = pd.Series([events.target] * len(result), dtype="str")
    count, where = len(result), codes * width + events.period

    def number(which: Flags) -> Ints:
        return np.bincount(where[which], minlength=count)

    def total(which: Flags, values: Floats) -> Floats:
        return in_units(sums(exact_units(values[which]), where[which], count))

    of = {kind: events.kind == kind for kind in (_CREATED, _WON, _LOST, _OPEN)}
    numbers = {kind: number(which) for kind, which in of.items()}
    totals = {kind: total(which, events.value) for kind, which in of.items()}
    for kind, name in ((_CREATED, "created"), (_WON, "won"), (_LOST, "lost")):
        result[name] = pd.array(numbers[kind], dtype="Int64")
        result[f"{name}_value"] = totals[kind]
    result["win_rate"] = ratio(numbers[_WON], numbers[_WON] + numbers[_LOST])
    valued = of[_WON] & ~np.isnan(events.value)
    result["average_won_value"] = ratio(totals[_WON], number(valued))
    result["average_days"] = mean_of(events.days[of[_WON]], where[of[_WON]], count)
    result["open_at_end"] = pd.array(numbers[_OPEN], dtype="Int64")
    result["open_value_at_end"] = totals[_OPEN]
    order = [*names, *COLUMNS]
    # Periods before currencies, as in every frame of money by month.
    rank = grouped(groups[names], names)[0] if names else np.zeros(len(groups), np.int64)
    place = np.lexsort(
        (
            np.repeat(np.arange(len(groups)), width),
            np.tile(np.arange(width), len(groups)),
            np.repeat(rank, width),
        )
    )
    kept = ["period", *([] if converted else ["currency"]), *names]
    return keyed(result[order].take(place).reset_index(drop=True), kept, events.grid.tz)


def _listed(events: _Events, names: list[str]) -> pd.DataFrame:
    number = ids(events.deals, "id").take(events.deal).reset_index(drop=True)
    result = labels(events.deals, pd.DataFrame({"deal_id": number}), names)
    result["period"] = events.grid.dates(events.period).array
    result["event"] = pd.Categorical.from_codes(events.kind, dtype=EVENT)
    result["currency"], result["value"] = events.currency, events.value
    result["days"] = events.days
    place = np.lexsort((number.to_numpy(np.int64), events.kind, events.period))
    return keyed(
        result.take(place).reset_index(drop=True), ["deal_id", "period", "event"], events.grid.tz
    )


__all__ = ["sales_by_period", "sales_by_period_deals"]

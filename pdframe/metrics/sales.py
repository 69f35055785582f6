"""How many deals are won, and how fast they earn money: win rate and sales velocity."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import (
    grouped,
    in_zone,
    keyed,
    keys,
    local_date,
    moment,
    require_columns,
    span,
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
    TOO_LARGE,
    Flags,
    Floats,
    Ints,
    days_between,
    finite,
    mean_of,
    one_row_each,
    ratio,
    warn_of_uncountable,
)
from pdframe.metrics._notes import noted
from pdframe.metrics._period_grid import PeriodGrid, by_period, period_grid
from pdframe.metrics._states import (
    DELETED,
    LOST,
    OPEN,
    UNKNOWN,
    WON,
    Deleted,
    States,
    check_deleted,
    states,
)
from pdframe.metrics._survival import aalen_johansen, wilson
from pdframe.metrics.currency import Rates, RateTable, one_currency

Moment: TypeAlias = str | date | pd.Timestamp | pd.Period

CLOSED = ("n", "won", "lost", "win_rate", "low", "high")
CREATED = ("n", "won", "lost", "deleted", "open", "win_rate", "low", "high", "horizon_days")
VELOCITY = ("opportunities", "won", "lost", "win_rate", "mean_value", "mean_days", "velocity")


@noted
def win_rate(
    deals: pd.DataFrame,
    *,
    since: Moment | None,
    until: Moment | None,
    by: str | list[str] | None = None,
    freq: str | None = None,
    basis: Literal["closed", "created"] = "closed",
    as_of: Moment | None = None,
    horizon: str | pd.Timedelta | None = None,
    deleted: Deleted = "drop",
    fiscal_start: int = 1,
    tz: str | None = None,
) -> pd.DataFrame:
    """Estimate the share of deals that are won: of those closed in a window, or of those created in
    it.

    Parameters
    ----------
    deals
        One row per deal, with id, status, add_time, won_time, lost_time; local_won_date,
        local_lost_date, is_deleted, deleted_time and update_time are used where present.
    since, until
        The window, since inclusive, until exclusive; None: no bound. Naive times and bare dates are
        in `tz`. A year, quarter, month ("2026-Q2") or `pd.Period` as `until` is taken to its end.
    by
        Column or columns of `deals` to group by, unchanged; null is a group. "owner" is
        `owner_name` where `deals` has that alone.
    freq
        None: the whole window. "W" (weeks, from Monday), "M", "Q" or "Y": one row a period in which
        deals closed (with "created": in which they were created).
    basis
        "closed" (default): won / (won + lost) of the deals closed in the window, as dashboards show
        it. It leaves out open deals: where losses are faster than wins, a young pipeline shows too
        few wins. "created": the probability that a deal created in the window is won within
        `horizon`, open deals counted as not yet known.
    as_of
        What happened after it is unknown; a bare date is the end of that day. Required for
        "created"; with "closed", None means all that `deals` has.
    horizon
        With "created": how long after its creation a deal may be won, such as "90D". None: for each
        group the longest time at which at least 10 deals (a tenth, below 100 deals) are still under
        observation.
    deleted
        "drop" (default): a deal that was deleted after it was won or lost counts until the time of
        its deletion, and nowhere from then on: won in March and deleted in June, it is a win at
        `as_of` April and no deal at `as_of` July, nor without `as_of`. "keep": it still counts,
        where `deals` has it (`account.deals(deleted=True)`; else a warning says so).
    fiscal_start
        Month in which the fiscal year begins, for quarters and years.
    tz
        Timezone of the window and of the days on which deals close; None: `deals.attrs["tz"]`,
        which the loaders set, else UTC.

    Returns
    -------
    DataFrame
        One row per group that occurs; without `by` exactly one. With `freq` each of them has one
        row per period of the window, also where nothing was closed. Columns of `by` first, with
        `freq` then period (its first day), then for "closed": n, won, lost, win_rate, low, high.
        For "created": n, won, lost, deleted, open (as of `as_of`, whatever the horizon; n is their
        sum), win_rate, low, high, horizon_days. Rates are shares of 1; low and high are 95 %
        limits; null where there is no deal, or the horizon is past the follow-up.

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, an id occurs twice, an argument is not a time
        or contradicts another.

    Notes
    -----
    A deal's status decides: one that was won and reopened is open. What `deals` no longer has is
    unknown: a deal that was closed at `as_of` and reopened since counts as open, and as not yet
    closed where it was closed again. `as_of` with history gives deals as they were known then. A
    win or loss that was undone before `as_of` is not an event. A deal closes on `local_won_date`
    (`local_lost_date`) where that is there, else on the day of `won_time` (`lost_time`) in `tz`. A
    deal that was open when it was deleted is left out of "closed"; in "created" its deletion
    competes with winning, as losing does, at `deleted_time`, else at its last update. Left out and
    counted by a warning: closed deals without a date; with "created" also deals without `add_time`,
    and those that ended before they were created (an import), for which no time from creation to
    win exists.

    From a row with a period, `drill_through` leads to its deals in `sales_by_period_deals`.

    "closed": E. B. Wilson's interval (JASA 22, 1927). "created": Aalen-Johansen, log-log limits.

    Examples
    --------
    >>> deals = account.deals()
    >>> metrics.win_rate(deals, since="2026-01-01", until="2026-07-01").round(3)
        n  won  lost  win_rate    low   high
    0  48   23    25     0.479  0.345  0.617
    >>> by_quarter = metrics.win_rate(deals, since="2026-01-01", until="2026-07-01", freq="Q")
    >>> by_quarter[["period", "n", "won", "lost"]]
          period   n  won  lost
    0 2026-01-01  20   10    10
    1 2026-04-01  28   13    15
    """
    if basis not in ("closed", "created"):
        raise ArgumentError(f"`basis` is 'closed' or 'created', not {basis!r}.")
    own = CLOSED if basis == "closed" else CREATED
    names = keys(by, own if freq is None else ("period", *own), deals)
    tz = zone_of(tz, deals)
    deals = require_columns(deals, "deals", ["id", "status"], names).reset_index(drop=True)
    one_row_each(deals, "deals")
    check_deleted(deleted, deals)
    now = None if as_of is None else moment(as_of, tz, "as_of", end_of_day=True)
    start, end = window(since, until, tz)
    if basis == "closed":
        if horizon is not None:
            raise ArgumentError(
                "`horizon` belongs to basis='created': a closed deal has been decided. Leave it"
                " out."
            )
        known = states(deals, tz, now, deleted=deleted)
        warn_of_undated(known)
        kept = np.isin(known.state, (WON, LOST)) & between(known.counted, start, end)
        grid = _grid(freq, fiscal_start, start, end, tz, known.counted[kept])
        return in_zone(_closed_rate(deals, known, names, kept, grid), tz)
    if now is None:
        raise ArgumentError(
            "basis='created' needs `as_of`: the time up to which open deals were observed."
        )
    known = states(deals, tz, now, deleted=deleted)
    limit = None if horizon is None else span(horizon, "horizon")
    within = (known.state != UNKNOWN) & between(known.created, start, end)
    grid = _grid(freq, fiscal_start, start, end, tz, known.created[within])
    return in_zone(_created_rate(deals, known, names, within, now, limit, tz, grid), tz)


@noted
def sales_velocity(
    deals: pd.DataFrame,
    *,
    since: Moment | None,
    until: Moment | None,
    by: str | list[str] | None = None,
    freq: str | None = None,
    rates: RateTable | None = None,
    deleted: Deleted = "drop",
    fiscal_start: int = 1,
    tz: str | None = None,
) -> pd.DataFrame:
    """Compute the money that the pipeline earns per day: opportunities x win rate x mean value of a
    win / mean days to win.

    Parameters
    ----------
    deals
        One row per deal, with id, status, add_time, won_time, lost_time, value, currency;
        local_won_date, local_lost_date, is_deleted, deleted_time and update_time are used where
        present.
    since, until
        The window, since inclusive, until exclusive; None: no bound. Naive times and bare dates are
        in `tz`. A year, quarter, month ("2026-Q2") or `pd.Period` as `until` is taken to its end.
    by
        Column or columns of `deals` to group by, unchanged; null is a group. "owner" is
        `owner_name` where `deals` has that alone. "currency" keeps currencies apart.
    freq
        None: the whole window. "W" (weeks, from Monday), "M", "Q" or "Y": one row a period, with
        the deals that were created in it and those that were closed in it.
    rates
        A mapping currency -> value of one unit in the common currency, or a frame (currency, date,
        rate): the last rate on or before the day on which the deal was won counts.
    deleted
        "drop" (default): deleted deals count nowhere. "keep": those that were deleted after they
        were won or lost count, where `deals` has them (`account.deals(deleted=True)`; else a
        warning says so).
    fiscal_start
        Month in which the fiscal year begins, for quarters and years.
    tz
        Timezone of the window and of the days on which deals close; None: `deals.attrs["tz"]`,
        which the loaders set, else UTC.

    Returns
    -------
    DataFrame
        One row per group that occurs; without `by` exactly one. With `freq` each of them has one
        row per period of the window. Columns of `by` first, with `freq` then period (its first
        day), then opportunities (deals created in the window), won and lost (deals closed in it),
        win_rate (won / (won + lost)), currency (of mean_value and velocity; with `rates` the one
        whose rate is always 1; null where unknown; not repeated where it is in `by`), mean_value
        (of the deals won in the window that have a value), mean_days (from `add_time` to `won_time`
        of those won in it, never below 0), velocity (currency units per day). Null where a part is
        unknown: nothing closed, nothing won, no days.

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, an id occurs twice, an argument is not a time,
        or `rates` lacks a currency.
    MixedCurrencyError
        A mean would add up values of several currencies without `rates`; the message lists them.

    Notes
    -----
    The four parts are of one window but not of the same deals: this is the usual formula of sales
    teams, not a forecast. Deals close as in `win_rate`. Deals that were won before they were
    created (an import, a closing dated by hand) are left out of mean_days, and a warning counts
    them.

    Examples
    --------
    >>> half_year = {"since": "2026-01-01", "until": "2026-07-01"}
    >>> velocity = metrics.sales_velocity(account.deals(), **half_year, by="currency")
    >>> velocity.round(2).iloc[0]
    currency             EUR
    opportunities         43
    won                   14
    lost                  20
    win_rate            0.41
    mean_value       3793.75
    mean_days          115.0
    velocity          584.09
    Name: 0, dtype: object
    """
    names = keys(by, VELOCITY if freq is None else ("period", *VELOCITY), deals)
    tz = zone_of(tz, deals)
    deals = require_columns(
        deals, "deals", ["id", "status", "value", "currency"], names
    ).reset_index(drop=True)
    warn_of_uncountable(deals, "deals", numbers=["value"], below=TOO_LARGE)
    one_row_each(deals, "deals")
    check_deleted(deleted, deals)
    start, end = window(since, until, tz)
    if rates is not None and "currency" in names:
        raise ArgumentError(
            "by='currency' keeps currencies apart and `rates` adds them up: give one of the two."
        )
    known = states(deals, tz, deleted=deleted)
    warn_of_undated(known)
    alive = ~np.isin(known.state, (DELETED, UNKNOWN))
    opened = alive & between(known.created, start, end)
    closed = np.isin(known.state, (WON, LOST)) & between(known.counted, start, end)
    kept = opened | closed
    events = known.created[opened], known.counted[closed]
    grid = _grid(freq, fiscal_start, start, end, tz, *events)
    codes, result = grouped(deals[kept], names)
    result, width = by_period(result, grid)
    groups = len(result)
    won, lost = closed & (known.state == WON), closed & (known.state == LOST)
    group = np.zeros(len(deals), np.int64)
    group[kept] = codes * width
    created_in, closed_in = (
        group if grid is None else group + grid.places(times)
        for times in (known.created, known.counted)
    )

    def count(which: Flags, where: Ints = closed_in) -> Ints:
        return np.bincount(where[which], minlength=groups)

    def mean(numbers: Floats, which: Flags) -> Floats:
        return mean_of(numbers[which], closed_in[which], groups)

    value, currency = finite(deals, "value", below=TOO_LARGE), deals["currency"]
    valued = won & ~np.isnan(value)
    if rates is None:
        shown = one_currency(currency[valued], closed_in[valued], groups)
    else:
        table = Rates(rates)
        bare = int((valued & currency.isna().to_numpy()).sum())
        if bare:
            warn(
                f"{bare} deals won in the window have a value and no currency: they are left out of"
                " mean_value. Fill in `currency`."
            )
        value = value * table.at(currency, local_date(known.counted, tz), valued)
        table.warn_of_stale()
        shown = pd.Series([table.target] * groups, dtype="str").where(count(valued) > 0)
    taken, won_rate = known.days_taken(tz), ratio(count(won), count(won) + count(lost))
    warn_of_early_ends(deals[won & known.ended_before_created(tz)], "won", "mean_days")
    mean_value, mean_days = mean(value, won), mean(taken, won)
    opportunities = count(opened, created_in)
    result["opportunities"], result["won"], result["lost"] = (
        pd.array(c, dtype="Int64") for c in (opportunities, count(won), count(lost))
    )
    result["win_rate"] = won_rate
    if "currency" not in names:
        result["currency"] = shown
    result["mean_value"], result["mean_days"] = mean_value, mean_days
    result["velocity"] = ratio(opportunities * won_rate * mean_value, mean_days)
    return keyed(result, _keys(names, grid), tz)


def _grid(
    freq: str | None,
    fiscal_start: int,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    tz: str,
    *events: pd.Series[Any],
) -> PeriodGrid | None:
    """Return the periods of the window, None where it is not divided."""
    if freq is None:
        return None
    return period_grid(freq, fiscal_start, start, end, tz, *events)


def _keys(names: list[str], grid: PeriodGrid | None) -> list[str]:
    return names if grid is None else [*names, "period"]


def _closed_rate(
    deals: pd.DataFrame, known: States, names: list[str], kept: Flags, grid: PeriodGrid | None
) -> pd.DataFrame:
    codes, result = grouped(deals[kept], names)
    result, width = by_period(result, grid)
    if grid is not None:
        codes = codes * width + grid.places(known.counted[kept])
    n = np.bincount(codes, minlength=len(result))
    won = np.bincount(codes[known.state[kept] == WON], minlength=len(result))
    result["n"], result["won"], result["lost"] = (
        pd.array(c, dtype="Int64") for c in (n, won, n - won)
    )
    result["win_rate"] = ratio(won, n)
    result["low"], result["high"] = wilson(won, n)
    return keyed(result, _keys(names, grid))


def _created_rate(
    deals: pd.DataFrame,
    known: States,
    names: list[str],
    within: Flags,
    now: pd.Timestamp,
    horizon: float | None,
    tz: str,
    grid: PeriodGrid | None,
) -> pd.DataFrame:
    undated = known.undated(WON, LOST, DELETED) | (
        (known.state != UNKNOWN) & known.created.isna().to_numpy()
    )
    warn_of_left_out(
        int((undated & (within | known.created.isna().to_numpy())).sum()),
        "have no time of creation, or ended without a date",
    )
    before = known.ended_before_created(tz) & ~undated
    warn_of_early_ends(deals[within & before], "closed or deleted", "the rate")
    kept = within & ~undated & ~before
    state = known.state[kept]
    codes, result = grouped(deals[kept], names)
    result, width = by_period(result, grid)
    if grid is not None:
        codes = codes * width + grid.places(known.created[kept])
    groups = len(result)
    ended = known.ended.notna().to_numpy()
    duration = np.where(ended, known.days_taken(tz), days_between(known.created, now))[kept]
    # The codes of states are those of causes: open is censored, won is of interest, lost and
    # deleted compete.
    curves = aalen_johansen(duration, state, codes, groups)
    n = np.bincount(codes, minlength=groups)
    horizons = (
        curves.horizon(np.where(n >= 100, 10, np.ceil(n / 10)))
        if horizon is None
        else np.full(groups, horizon)
    )
    past = (n > 0) & ~curves.identified(horizons)
    if past.any():
        warn(
            f"The horizon of {horizon:g} days is past the follow-up in {past.sum()} of {groups}"
            " groups: win_rate is null there. The longest that all groups identify is"
            f" {curves.last[past].min():.6g} days."
        )
    result["n"] = pd.array(n, dtype="Int64")
    for name, code in (("won", WON), ("lost", LOST), ("deleted", DELETED), ("open", OPEN)):
        result[name] = pd.array(np.bincount(codes[state == code], minlength=groups), dtype="Int64")
    result["win_rate"], result["low"], result["high"] = curves.at(horizons)
    result["horizon_days"] = horizons
    return keyed(result, _keys(names, grid))

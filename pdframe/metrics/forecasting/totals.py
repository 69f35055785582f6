"""What the coming periods will bring: `forecast`, and the draws that its ranges come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pdframe._warnings import collect_warnings
from pdframe.metrics._arguments import grouped
from pdframe.metrics._notes import note
from pdframe.metrics._survival import Flags, Ints
from pdframe.metrics.currency import RateTable
from pdframe.metrics.forecasting.common_sd import CUTOFFS
from pdframe.metrics.forecasting.learned import Learned
from pdframe.metrics.forecasting.setup import (
    QUANTILES,
    Moment,
    Setup,
    described,
    drawn_totals,
    expectation,
    group_names,
    key_columns,
    notes_of_data,
    quantiles,
    set_up,
)

COLUMNS = (
    "period",
    "won_already",
    "from_open",
    "from_new",
    "mean",
    "p10",
    "p50",
    "p90",
    "common_sd",
    "deals_open",
    "deals_new",
)
DRAWS = ("period", "draw", "won_already", "from_open", "from_new", "total")
STEPS = CUTOFFS
"""How many earlier months a forecast is compared with, to know how far it may be off."""
WIDE = 5
"""P90 / P10 from which on a warning says that the range is wide."""
WHALE = 0.5
"""Share of what is expected from which on a warning names the deal."""


def forecast(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    as_of: Moment,
    until: Moment,
    freq: str = "M",
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
    draws: int = 10_000,
    seed: int = 0,
    method: str = "hazard",
    history: pd.DataFrame | None = None,
    activities: pd.DataFrame | None = None,
    deal_products: pd.DataFrame | None = None,
    common_sd: float | None = None,
    fiscal_start: int = 1,
    tz: str | None = None,
) -> pd.DataFrame:
    """Forecast the revenue won in each coming period: the expectation, and the range that it falls
    into in eight of ten cases.

    Parameters
    ----------
    deals
        One row per deal, from `account.deals(archived=True, deleted=True)`.
    visits, stages
        From `account.stage_visits()` and `account.stages()`.
    as_of
        What happened after it is unknown. A bare date is the end of that day.
    until
        The end, exclusive: a day or time is its first instant; a year, quarter, month ("2026-Q3")
        or `pd.Period` is taken to its end.
    freq
        "W" (from Monday), "M", "Q" or "Y". The period that `as_of` lies in is partly over: its
        wins so far are `won_already`.
    by
        Column or columns of `deals` to group by, unchanged; null is a group. "owner" is
        `owner_name` where that is there. "currency" keeps currencies apart.
    rates
        A mapping currency -> value of one unit in the common currency, or a frame (currency, date,
        rate): the last rate on or before the day of `as_of` converts every value.
    draws
        How many possible courses of the periods the range is taken from.
    seed
        All random numbers follow from it: the same one gives the same result.
    method
        Name of the method that gives the probabilities of open deals.
    history, activities, deal_products
        From `account.deal_history()`, `account.activities()`, `account.deal_products()`; None: not
        used. `forecast_deals` says what is read of them; new deals are forecast without them.
    common_sd
        How much good and bad times move all deals together: the standard deviation of the logarithm
        of a factor on the hazards of winning. None: estimated from the account's own past. 0: deals
        are independent, and ranges are far too narrow.
    fiscal_start
        The month in which the fiscal year begins.
    tz
        Timezone of periods and of naive times; None: the frames' `attrs["tz"]`, which the loaders
        set, else UTC.

    Returns
    -------
    DataFrame
        One row per group and period, none for periods that are over:

        - the columns of `by`
        - period: its first day
        - currency: of the amounts; not repeated where it is in `by`
        - won_already: wins inside the period up to `as_of`
        - from_open: expected revenue from deals that are open
        - from_new: from deals that do not exist yet
        - mean: their sum, the exact expectation of the total
        - p10, p50, p90: the total is at or under these in one, five, nine of ten draws
        - common_sd: the standard deviation that was used
        - deals_open: open deals at `as_of`
        - deals_new: expected number of deals that will be created in the period

    Raises
    ------
    InsufficientDataError
        Too few deals were closed or won, or `until` is past the follow-up.
    MixedCurrencyError
        Values of several currencies would be added up without `rates`.
    ArgumentError
        A column is missing or holds something else, or an argument is not what it must be.

    Warns
    -----
    DataWarning
        Once, with the complete text in `attrs["notes"]`: open deals without a value, and with
        `rates` deals that have a value and no currency, which count 0; a changed win rate, over a
        time as long as until `until`, as in `forecast_deals`; one deal that is more than half of
        what is expected in its currency; P90 above 5 times P10, of all groups together; a past too
        short to estimate `common_sd`, which is .2 then; nothing changed in the 30 days before
        `as_of`; old rates.

    Notes
    -----
    Every open deal has one exponential random number per draw, which belongs to the seed and the
    deal's id; the deal is won in the period in which its cumulative hazard passes the number. The
    factor that deals share has mean 1, and hazards are adjusted so that its expectation changes no
    probability. So periods and groups of a draw add up, to the last bit. A deal is worth its value
    now, or that of a past win whose value changed from a like one, in the share in which that
    happened. New deals arrive at the level, growth and season of the months before, and are won
    with the age and value of past wins. Where wins of the latest months, or of a month of the
    quarter or of the year, depart from what was expected by more than chance, those to come do.

    Examples
    --------
    >>> deals = account.deals(archived=True, deleted=True)
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}
    >>> coming = {"as_of": "2026-06-30", "until": "2026-Q3", "rates": rates}
    >>> table = metrics.forecast(deals, visits, stages, **coming)
    >>> list(table["period"].dt.month)
    [7, 8, 9]
    """
    return forecast_from(
        Learned.at(
            deals,
            visits,
            stages,
            as_of=as_of,
            history=history,
            activities=activities,
            deal_products=deal_products,
            method=method,
            seed=seed,
            tz=tz,
        ),
        deals,
        until=until,
        freq=freq,
        by=by,
        rates=rates,
        draws=draws,
        spread=common_sd,
        fiscal_start=fiscal_start,
    )


def forecast_draws(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    as_of: Moment,
    until: Moment,
    freq: str = "M",
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
    draws: int = 10_000,
    seed: int = 0,
    method: str = "hazard",
    history: pd.DataFrame | None = None,
    activities: pd.DataFrame | None = None,
    deal_products: pd.DataFrame | None = None,
    common_sd: float | None = None,
    fiscal_start: int = 1,
    tz: str | None = None,
) -> pd.DataFrame:
    """List the draws that `forecast` takes its range from: one row per group, period and draw.

    The rows of one draw are one possible course of all periods and groups: a quarter is the sum of
    its months, a team the sum of its members, in every draw.

    Parameters
    ----------
    deals, visits, stages, as_of, until, freq, by, rates, draws, seed, method, history
        As in `forecast`.
    activities, deal_products, common_sd, fiscal_start, tz
        As in `forecast`.

    Returns
    -------
    DataFrame
        By group, period and draw: the columns of `by`; period; currency; draw (from 0); won_already
        (the same in all draws), from_open, from_new, total (their sum).

    Raises
    ------
    InsufficientDataError, MixedCurrencyError, ArgumentError
        As in `forecast`.

    Examples
    --------
    >>> deals = account.deals(archived=True, deleted=True)
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> coming = {"as_of": "2026-06-30", "until": "2026-09", "rates": {"USD": 0.9, "GBP": 1.15}}
    >>> coming["rates"]["EUR"] = 1
    >>> rows = metrics.forecast_draws(deals, visits, stages, **coming, draws=1000)
    >>> len(rows)
    3000
    """
    return draws_from(
        Learned.at(
            deals,
            visits,
            stages,
            as_of=as_of,
            history=history,
            activities=activities,
            deal_products=deal_products,
            method=method,
            seed=seed,
            tz=tz,
        ),
        deals,
        until=until,
        freq=freq,
        by=by,
        rates=rates,
        draws=draws,
        spread=common_sd,
        fiscal_start=fiscal_start,
    )


def forecast_from(
    learned: Learned,
    deals: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    draws: int = 10_000,
    **choice: Any,
) -> pd.DataFrame:
    """Return the frame of `forecast`, from what was learned; `choice` is that of `set_up`."""
    return _forecast(learned, deals, by, draws, choice)[0]


def draws_from(
    learned: Learned,
    deals: pd.DataFrame,
    *,
    by: str | Sequence[str] | None = None,
    draws: int = 10_000,
    **choice: Any,
) -> pd.DataFrame:
    """Return the frame of `forecast_draws`, from what was learned; `choice` is that of `set_up`."""
    with collect_warnings() as notes:
        notes += learned.notes
        setup = set_up(learned, deals, names=group_names(by, deals, DRAWS), **choice)
        opened, new = drawn_totals(setup, draws, learned.seed)
        result = _draw_rows(setup, opened, new)
        notes += notes_of_data(setup)
    return note(result, notes, "forecast_draws")


def forecast_with_draws(
    learned: Learned,
    deals: pd.DataFrame,
    *,
    by: str | Sequence[str] | None,
    draws: int,
    **choice: Any,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the frames of `forecast` and of `forecast_draws`; `choice` is that of `set_up`, whose
    `step` is called about `STEPS` times, unless `spread` is given.
    """
    group_names(by, deals, DRAWS)
    result, setup, totals = _forecast(learned, deals, by, draws, choice)
    return result, _draw_rows(setup, *totals)


def _forecast(
    learned: Learned,
    deals: pd.DataFrame,
    by: str | Sequence[str] | None,
    draws: int,
    choice: dict[str, Any],
) -> tuple[pd.DataFrame, Setup, tuple[Ints, Ints]]:
    """Return the frame of `forecast`, and what it was made of."""
    with collect_warnings() as notes:
        notes += learned.notes
        setup = set_up(learned, deals, names=group_names(by, deals, COLUMNS), **choice)
        totals = drawn_totals(setup, draws, learned.seed)
        result = _table(setup, totals)
        notes += _remarks(setup, totals, learned, choice.get("spread"))
    return note(result, notes, "forecast"), setup, totals


def _table(setup: Setup, totals: tuple[Ints, Ints]) -> pd.DataFrame:
    """Return the frame of `forecast`."""
    expected, revenue = expectation(setup), setup.revenue
    ranges = quantiles(totals[0] + totals[1] + expected.won_already[:, :, None])
    groups, periods = expected.mean.shape
    result = key_columns(setup, 1)
    for name in ("won_already", "from_open", "from_new", "mean"):
        result[name] = getattr(expected, name).ravel() / revenue.units
    for place, percent in enumerate(QUANTILES):
        result[f"p{percent}"] = ranges[..., place].ravel() / revenue.units
    result["common_sd"] = np.full(groups * periods, setup.spread.value)
    opened = np.bincount(setup.open_group, minlength=groups)
    result["deals_open"] = pd.array(np.repeat(opened, periods), dtype="Int64")
    result["deals_new"] = setup.deals_new.ravel()
    return described(result, setup)


def _remarks(
    setup: Setup, totals: tuple[Ints, Ints], learned: Learned, common_sd: float | None
) -> list[str]:
    """Return what the reader of a forecast must know of it; `common_sd` as it was given."""
    # To the last instant, as `forecast_deals` counts: so both judge the same, once.
    to_until = setup.revenue.cells.horizons[-1:] - 1
    return [
        *notes_of_data(setup),
        *learned.drift_notes(to_until, common_sd),
        *_of_range(setup, totals),
        *_of_whale(setup, totals, learned.seed),
    ]


def _of_range(setup: Setup, totals: tuple[Ints, Ints]) -> list[str]:
    """Return a note where the range of all groups together is wide, if it is: that of a single
    small group nearly always is.
    """
    every = sum(totals) + expectation(setup).won_already[:, :, None]
    code, currencies = _currencies(setup)
    together = np.zeros((len(currencies), *every.shape[1:]), np.int64)
    np.add.at(together, code, every)
    low, _, high = np.moveaxis(quantiles(together), -1, 0)
    wide = np.argwhere((high > WIDE * low) & (high > 0))
    if not len(wide):
        return []
    group, period = wide[0]
    units, unit = setup.revenue.units, currencies[group]
    first = np.datetime64(int(setup.revenue.cells.first[period]), "D")
    of_all = " of all groups together" if len(setup.groups) > len(currencies) else ""
    return [
        f"The range{of_all} is wide in {len(wide):,} of {low.size:,} periods: P90 is more than"
        f" {WIDE} times P10, first in the one from {first} ({low[group, period] / units:,.0f} to"
        f" {high[group, period] / units:,.0f}{unit})."
    ]


def _currencies(setup: Setup) -> tuple[Ints, list[str]]:
    """Return the currency of each group, as a number, and what follows an amount in each of them:
    amounts of several are not added up.
    """
    if "currency" not in setup.names:
        names, code = [setup.currency], np.zeros(len(setup.groups), np.int64)
    else:
        code, rows = grouped(setup.groups, ["currency"])
        names = rows["currency"].tolist()
    return code, ["" if pd.isna(name) else f" {name}" for name in names]


def _of_whale(setup: Setup, totals: tuple[Ints, Ints], seed: int) -> list[str]:
    """Return a note for each currency in which one deal is more than half of what is expected."""
    code, currencies = _currencies(setup)
    notes = [
        _of_whale_in(setup, totals, seed, code == number, unit)
        for number, unit in enumerate(currencies)
    ]
    return [text for text in notes if text is not None]


def _of_whale_in(
    setup: Setup, totals: tuple[Ints, Ints], seed: int, group: Flags, unit: str
) -> str | None:
    """Return a note on the deal that is more than half of what is expected of these groups, which
    are of one currency; None where there is none.
    """
    revenue, units = setup.revenue, setup.revenue.units
    rows = np.flatnonzero(group[setup.open_group])
    each = revenue.from_open()[rows].sum(axis=1)
    expected = int(expectation(setup).mean[group].sum())
    if not len(each) or expected <= 0 or each.max() <= WHALE * expected:
        return None
    own, place = int(each.max()), rows[[each.argmax()]]
    alone = replace(
        revenue,
        open_deal=revenue.open_deal[place],
        chance=revenue.chance[place],
        worth=revenue.worth.take(place),
        new=revenue.new.none(),
    )
    won = revenue.won[group[setup.won_group]].sum()
    every = sum(part[group].sum(axis=(0, 1)) for part in totals) + int(won)
    drawn = alone.drawn(every.shape[-1], seed, setup.spread.value)[0].sum(axis=(0, 1))
    names = ", ".join(f"P{percent} {{:,.0f}}" for percent in QUANTILES)
    with_it, without = (names.format(*(quantiles(part) / units)) for part in (every, every - drawn))
    of = f" of the amounts in{unit}" if "currency" in setup.names and unit else ""
    return (
        f"Deal {revenue.open_deal[place[0]]} is {own / expected:.0%} of what is expected until"
        f" the end{of}. With it: mean {expected / units:,.0f}, {with_it}. Without it: mean"
        f" {(expected - own) / units:,.0f}, {without}."
    )


def _draw_rows(setup: Setup, opened: Ints, new: Ints) -> pd.DataFrame:
    units, draws = setup.revenue.units, opened.shape[-1]
    won = np.zeros(opened.shape[:2], np.int64)
    np.add.at(won[:, 0], setup.won_group, setup.revenue.won)
    result = key_columns(setup, draws)
    result["draw"] = pd.array(
        np.tile(np.arange(draws), opened.shape[0] * opened.shape[1]), dtype="Int64"
    )
    result["won_already"] = np.repeat(won.ravel(), draws) / units
    result["from_open"] = opened.ravel() / units
    result["from_new"] = new.ravel() / units
    result["total"] = (opened + new + won[:, :, None]).ravel() / units
    return described(result, setup)


__all__ = [
    "STEPS",
    "draws_from",
    "forecast",
    "forecast_draws",
    "forecast_from",
    "forecast_with_draws",
]

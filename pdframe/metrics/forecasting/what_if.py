"""What a forecast would be if deals fell away, slipped or changed in value, or the win rate did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from pdframe._warnings import collect_warnings
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import to_micros
from pdframe.metrics._notes import note
from pdframe.metrics._periods import beginning
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.currency import RateTable
from pdframe.metrics.forecasting import setup as computing
from pdframe.metrics.forecasting.learned import Learned
from pdframe.metrics.forecasting.revenue import Revenue
from pdframe.metrics.forecasting.setup import Moment, Setup

Ids: TypeAlias = int | Iterable[int]

_COMPARED = ("mean", *(f"p{percent}" for percent in computing.QUANTILES))
COLUMNS = (
    "period",
    *_COMPARED,
    *(f"{name}_before" for name in _COMPARED),
    *("difference", *(f"difference_{name}" for name in _COMPARED[1:])),
)


def what_if(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    as_of: Moment,
    until: Moment,
    drop: Ids = (),
    move: Mapping[int, Moment] | None = None,
    reprice: Mapping[int, float] | None = None,
    rate: float | Mapping[int, float] = 1.0,
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
    """Compare a forecast with one in which some open deals are different.

    Both take the same random numbers: a deal that is dropped changes each draw by what it
    contributed to it, and nothing else.

    Parameters
    ----------
    deals, visits, stages, as_of, until, freq, by, rates, draws, seed, method, history
        As in `forecast`.
    activities, deal_products, common_sd, fiscal_start, tz
        As in `forecast`.
    drop
        Ids of open deals that will not be won.
    move
        By id, the day, month or quarter before whose beginning the deal is not won: what would be
        won earlier is won in the period of that day.
    reprice
        By id, the value of the deal, in its own currency.
    rate
        Factor on the hazard of winning, of all open and new deals, or by id of an open deal. P(won)
        becomes 1 - (1 - P)^rate.

    Returns
    -------
    DataFrame
        One row per group and period, as in `forecast`:

        - the columns of `by`, period, currency
        - mean, p10, p50, p90: with the changes
        - mean_before, p10_before, p50_before, p90_before: without; as `forecast` gives them
        - difference: mean - mean_before
        - difference_p10, difference_p50, difference_p90: of the differences of the draws

    Raises
    ------
    ArgumentError
        A deal is not open at `as_of`, a rate is negative, a value is no number; and as in
        `forecast`.
    InsufficientDataError, MixedCurrencyError
        As in `forecast`.

    Examples
    --------
    >>> deals = account.deals(archived=True, deleted=True)
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> coming = {"as_of": "2026-06-30", "until": "2026-Q3", "freq": "Q"}
    >>> coming["rates"] = {"EUR": 1, "USD": 0.9, "GBP": 1.15}
    >>> table = metrics.what_if(deals, visits, stages, **coming, rate=0)
    >>> print(table["p90"].iloc[0])
    0.0
    """
    with collect_warnings() as notes:
        names = computing.group_names(by, deals, COLUMNS)
        learned = Learned.at(
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
        )
        notes += learned.notes
        setup = computing.set_up(
            learned,
            deals,
            until=until,
            freq=freq,
            names=names,
            rates=rates,
            spread=common_sd,
            fiscal_start=fiscal_start,
        )
        changed = setup._replace(
            revenue=_changed(
                setup, drop, {} if move is None else move, {} if reprice is None else reprice, rate
            )
        )
        result = _compared(setup, changed, draws, seed)
        notes += computing.notes_of_data(setup)
    return note(result, notes, "what_if")


def _changed(
    setup: Setup,
    drop: Any,
    move: Mapping[int, Any],
    reprice: Mapping[int, Any],
    rate: Any,
) -> Revenue:
    """Return the revenue with the changes."""
    for name, by_id in (("move", move), ("reprice", reprice)):
        if not isinstance(by_id, Mapping):
            raise ArgumentError(
                f"{name}={by_id!r} must be a mapping from the id of a deal, such as {{42: ...}}."
            )
    if isinstance(drop, str | pd.DataFrame) or not isinstance(drop, int | np.integer | Iterable):
        raise ArgumentError("drop must be the id of an open deal, or a list of ids.")
    revenue = setup.revenue
    chance, cells = revenue.chance.copy(), revenue.cells
    for deal, number in rate.items() if isinstance(rate, Mapping) else ():
        place = _place(revenue, deal, "rate")
        chance[place] = _scaled(chance[place], _factor(number))
    everywhere = 1.0 if isinstance(rate, Mapping) else _factor(rate)
    if everywhere != 1.0:
        chance = _scaled(chance, everywhere)
    for deal, day in move.items():
        at = to_micros(beginning(day, setup.known.tz, "move"))
        chance[_place(revenue, deal, "move"), cells.end <= at] = 0.0
    for deal in [drop] if isinstance(drop, int | np.integer) else drop:
        chance[_place(revenue, deal, "drop")] = 0.0
    return replace(
        revenue,
        chance=chance,
        worth=setup.worth_of(_values(setup, reprice)) if reprice else revenue.worth,
        rate=everywhere,
    )


def _values(setup: Setup, reprice: Mapping[int, Any]) -> Floats:
    """Return the values of all open deals in their own currencies, some of them replaced."""
    value = setup.open_deals.value.copy()
    for deal, number in reprice.items():
        if (
            isinstance(number, bool)
            or not isinstance(number, int | float | np.number)
            or not np.isfinite(float(number))
        ):
            raise ArgumentError(f"reprice: the value of deal {deal} is {number!r}, not a number.")
        value[_place(setup.revenue, deal, "reprice")] = float(number)
    return value


def _place(revenue: Revenue, deal: Any, name: str) -> int:
    """Return the place of an open deal."""
    place = (
        int(np.searchsorted(revenue.open_deal, deal))
        if isinstance(deal, int | np.integer)
        else len(revenue.open_deal)
    )
    if place >= len(revenue.open_deal) or revenue.open_deal[place] != deal:
        raise ArgumentError(f"{name}: {deal!r} is not the id of a deal that is open at as_of.")
    return place


def _factor(rate: Any) -> float:
    number = isinstance(rate, int | float | np.number) and not isinstance(rate, bool)
    if not number or not 0 <= float(rate) < np.inf:
        raise ArgumentError(f"rate={rate!r} must be a number, 0 or more.")
    return float(rate)


def _scaled(chance: Floats, rate: float) -> Floats:
    """Return probabilities after their hazard is scaled."""
    if rate == 0:
        return np.zeros_like(chance)
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(rate * np.log1p(-chance)), np.float64)


def _compared(setup: Setup, changed: Setup, draws: int, seed: int) -> pd.DataFrame:
    before, after = (computing.expectation(each) for each in (setup, changed))
    won = before.won_already[:, :, None]
    total_before, total_after = (
        sum(computing.drawn_totals(each, draws, seed)) + won for each in (setup, changed)
    )
    units = setup.revenue.units
    result = computing.key_columns(setup, 1)
    for suffix, mean, total in (
        ("", after.mean, total_after),
        ("_before", before.mean, total_before),
    ):
        result[f"mean{suffix}"] = mean.ravel() / units
        _add_quantiles(result, total, units, "{}" + suffix)
    result["difference"] = (after.mean - before.mean).ravel() / units
    _add_quantiles(result, total_after - total_before, units, "difference_{}")
    return computing.described(result, setup)


def _add_quantiles(result: pd.DataFrame, totals: Ints, units: int, name: str) -> None:
    ranges = computing.quantiles(totals)
    for place, percent in enumerate(computing.QUANTILES):
        result[name.format(f"p{percent}")] = ranges[..., place].ravel() / units


__all__ = ["what_if"]

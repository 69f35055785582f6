"""How right forecasts would have been at past times, made with what was known then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from pdframe._warnings import collect_warnings
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import (
    DAY,
    NULL,
    keyed,
    local_days,
)
from pdframe.metrics._columns import NO_ID, as_times
from pdframe.metrics._notes import note
from pdframe.metrics._periods import Frequency
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.currency import RateTable
from pdframe.metrics.forecasting._checks import draw_count
from pdframe.metrics.forecasting.calibration import bins_of
from pdframe.metrics.forecasting.cells import Cells
from pdframe.metrics.forecasting.common_sd import PastTotals, Then
from pdframe.metrics.forecasting.known import Known
from pdframe.metrics.forecasting.methods import METHODS
from pdframe.metrics.forecasting.money import Money
from pdframe.metrics.forecasting.replay import Replay, Scene
from pdframe.metrics.forecasting.revenue import Revenue, revenue_of
from pdframe.metrics.forecasting.scores import brier, crps, log_loss, pinball, surprise
from pdframe.metrics.forecasting.season import season_totals
from pdframe.metrics.forecasting.setup import month_totals, months_after
from pdframe.metrics.forecasting.winning_values import WinningValues

Moment: TypeAlias = str | date | pd.Timestamp | pd.Period
Horizon: TypeAlias = str | pd.Timedelta

SEASON = "season"
"""The baseline of totals alone."""

OUTCOMES = ("open", "won", "lost")
"""In the order of their numbers."""

COLUMNS: dict[str, Any] = {
    "cutoff": "time",
    "method": "str",
    "horizon": "timedelta64[us]",
    "month": "Int64",
    "period": "datetime64[us]",
    "currency": "str",
    "n": "Int64",
    "wins": "Int64",
    **dict.fromkeys(("expected", "brier", "log_loss", "skill"), "float64"),
    **dict.fromkeys(("actual", "mean", "p10", "p50", "p90"), "float64"),
    **dict.fromkeys(("pinball_10", "pinball_50", "pinball_90", "crps"), "float64"),
    "covered": "boolean",
    **dict.fromkeys(("width", "common_sd", "z"), "float64"),
}
"""Columns of `backtest` and their dtypes."""


def backtest_deals(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    cutoffs: Moment | Sequence[Moment],
    horizons: Horizon | Sequence[Horizon],
    methods: str | Sequence[str] = "hazard",
    as_of: Moment | None = None,
    history: pd.DataFrame | None = None,
    activities: pd.DataFrame | None = None,
    deal_products: pd.DataFrame | None = None,
    seed: int = 0,
    tz: str | None = None,
) -> pd.DataFrame:
    """Forecast every deal that was open at past times, from what was known then, beside what
    happened.

    Parameters
    ----------
    deals, visits, stages, history, activities, deal_products, seed, tz
        As in `metrics.forecast_deals`.
    cutoffs
        The past times; a bare date means the end of that day.
    horizons
        Lengths of time, such as "90D".
    methods
        Names of methods; "constant", "stage climatology" and "weighted" are always added.
    as_of
        When the frames were loaded: outcomes are known until then. None: the newest creation,
        update, visit or snapshot in the frames, which may be a little earlier.

    Returns
    -------
    DataFrame
        One row per cutoff, method, horizon and deal that was open at the cutoff:

        - cutoff (UTC), method, horizon (timedelta64[us])
        - deal_id; pipeline_id, stage_id, value, currency: as known at the cutoff
        - bin: of p_won, 1 to 10, as in `calibration`
        - p_won, p_lost: as forecast; null where the method could not tell, such as a horizon longer
          than its past
        - won: whether it was won within the horizon; null where the horizon is not over at `as_of`
        - outcome (open, won, lost), closed_at: its first closing after the cutoff, whenever that
          was; lost also where it was deleted

    Raises
    ------
    ArgumentError
        As `metrics.forecast_deals`; a cutoff is not before `as_of`, or there is no such method.
    InsufficientDataError
        At no cutoff enough deals had closed.

    Warns
    -----
    DataWarning
        Once, with the complete text in `attrs["notes"]`: cutoffs that are left out, since too few
        deals had closed.

    Notes
    -----
    Deals that were deleted more than 30 days before the first sync are in no frame, so that they
    are missing at each cutoff: the past looks a little better than it was. `metrics.forecast_deals`
    says how other deleted deals count.

    Examples
    --------
    >>> frames = account.deals(archived=True), account.stage_visits(), account.stages()
    >>> past = {"cutoffs": "2026-03-31", "horizons": "90D", "as_of": "2026-06-30"}
    >>> record = metrics.backtest_deals(*frames, **past, methods="constant")
    >>> constant = record[record["method"] == "constant"]
    >>> print(len(constant), "open deals,", constant["won"].sum(), "won within 90 days")
    56 open deals, 10 won within 90 days
    """
    with collect_warnings() as notes:
        replay = Replay.of(
            deals, visits, stages, cutoffs, horizons, methods, as_of, history, activities,
            deal_products, seed, tz,
        )  # fmt: skip
        rows = pd.concat(
            [_deal_rows(scene, replay) for scene in replay.scenes()], ignore_index=True
        )
    keys = ["cutoff", "method", "horizon", "deal_id"]
    return note(keyed(rows, keys, replay.known.tz), [*replay.notes, *notes], "backtest_deals")


def backtest(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    cutoffs: Moment | Sequence[Moment],
    horizons: Horizon | Sequence[Horizon],
    methods: str | Sequence[str] = "hazard",
    until_months: int = 3,
    as_of: Moment | None = None,
    history: pd.DataFrame | None = None,
    activities: pd.DataFrame | None = None,
    deal_products: pd.DataFrame | None = None,
    rates: RateTable | None = None,
    draws: int = 10_000,
    seed: int = 0,
    tz: str | None = None,
) -> pd.DataFrame:
    """Score forecasts made at past times, from what was known then: of deals by horizon, of monthly
    revenue by months ahead.

    Parameters
    ----------
    deals, visits, stages, cutoffs, horizons, methods, as_of, history, activities, deal_products
        As in `backtest_deals`.
    until_months
        How many months of revenue are forecast at each cutoff, from the first that is not over; it
        may be so in part. 0: none, so that currencies do not matter.
    rates, draws, seed, tz
        As in `metrics.forecast`. The rates of the day of the cutoff convert both forecast and
        actual revenue.

    Returns
    -------
    DataFrame
        One row per cutoff, method and horizon, then per cutoff, method and month ahead. Columns of
        the other kind of row are null:

        - cutoff (UTC), method
        - horizon; month (1 is the first that is not over at the cutoff: after a cutoff at the end
          of a month, the next one), period (its first day), currency
        - n: deals open at the cutoff
        - wins, expected: won within the horizon; the sum of the probabilities
        - brier: mean squared error of the probabilities; log_loss: mean of -log of the probability
          of what happened; skill: 1 - brier / brier of "constant", 0 for a method that knows no
          more, 1 at best
        - actual: revenue won in the month, as it stands at `as_of`
        - mean, p10, p50, p90: the forecast
        - pinball_10, pinball_50, pinball_90: losses of these quantiles; crps: that of all quantiles
          together, the absolute error for a forecast without a range
        - covered: whether actual lies from p10 to p90, as it should in eight of ten months; width:
          p90 - p10
        - common_sd: the spread of the common factor that was used
        - z: by how many standard deviations wins exceed expected, were deals independent

        Scores are null where the horizon or month is not over at `as_of`, or where the method could
        not tell. "weighted" has no range; "season" (the level of the last year times the season)
        forecasts totals alone.

    Raises
    ------
    ArgumentError, InsufficientDataError
        As `backtest_deals`.
    MixedCurrencyError
        Values of several currencies would be added up without `rates`.

    Warns
    -----
    DataWarning
        As `backtest_deals`, and of old rates.

    Notes
    -----
    A backtest says how a method would have done; what it was tuned on, it has seen. What was issued
    and kept is scored by `account.track_record()`. `metrics.compare` says which differences are
    more than noise.

    Examples
    --------
    >>> frames = account.deals(archived=True), account.stage_visits(), account.stages()
    >>> past = {"cutoffs": ["2025-12-31", "2026-03-31"], "horizons": "90D", "as_of": "2026-06-30"}
    >>> record = metrics.backtest(*frames, **past, methods="constant", until_months=0)
    >>> record.loc[record["method"] == "constant", ["n", "wins", "expected", "brier"]].round(2)
        n  wins  expected  brier
    0  45     9      7.44   0.16
    3  56    10      8.85   0.15
    """
    if isinstance(until_months, bool) or not isinstance(until_months, int) or until_months < 0:
        raise ArgumentError(f"until_months={until_months!r} must be a number of months, or 0.")
    draws = draw_count(draws)
    by_horizon, by_month = [], []
    with collect_warnings() as notes:
        replay = Replay.of(
            deals, visits, stages, cutoffs, horizons, methods, as_of, history, activities,
            deal_products, seed, tz,
        )  # fmt: skip
        then: dict[int, Then] = {}
        pasts = {name: PastTotals(METHODS[name], seed, then) for name in replay.methods}
        for scene in replay.scenes():
            for name, past in pasts.items():
                past.learn(scene.at, scene.fitted[name])
            by_horizon += _horizon_rows(scene, replay)
            if until_months:
                by_month += _month_rows(scene, replay, until_months, draws, rates, pasts)
    keys = ["cutoff", "method", "horizon", "month"]
    table = keyed(_frame(by_horizon + by_month), keys, replay.known.tz)
    return note(table, [*replay.notes, *notes], "backtest")


def _deal_rows(scene: Scene, replay: Replay) -> pd.DataFrame:
    """Return the rows of one cutoff: methods, then horizons, then deals."""
    deals, n = scene.deals, len(scene.deals)
    blocks = len(replay.methods) * len(replay.horizons)
    order = np.argsort(deals.deal, kind="stable")

    def per_deal(values: Any) -> Any:
        return np.tile(values[order], blocks)

    def per_block(part: int) -> Floats:
        return np.concatenate(
            [scene.forecasts[name][part][order].T.ravel() for name in replay.methods]
        )

    known = np.repeat(replay.over(scene), n)
    won = np.concatenate([scene.won_within(int(h))[order] for h in replay.horizons])
    number, closed = scene.outcomes.kind, scene.outcomes.time
    horizon = np.tile(np.repeat(replay.horizons, n), len(replay.methods))
    p_won = per_block(0)
    bins = bins_of(p_won)
    return pd.DataFrame(
        {
            "cutoff": as_times(np.full(n * blocks, scene.at), pd.RangeIndex(n * blocks)),
            "method": pd.Series(
                np.repeat(np.array(replay.methods, object), n * len(replay.horizons)), dtype="str"
            ),
            "horizon": horizon.view("timedelta64[us]"),
            "deal_id": pd.array(per_deal(deals.deal), "Int64"),
            "pipeline_id": _ids(per_deal(deals.pipeline)),
            "stage_id": _ids(per_deal(deals.stage)),
            "value": per_deal(deals.value),
            "currency": pd.Series(per_deal(deals.currency), dtype="str"),
            "bin": pd.Series(pd.array(bins, "Int64")).mask(bins == 0),
            "p_won": p_won,
            "p_lost": per_block(1),
            "won": pd.Series(
                pd.arrays.BooleanArray(
                    np.tile(won, len(replay.methods)), np.tile(~known, len(replay.methods))
                )
            ),
            "outcome": pd.Categorical.from_codes(
                per_deal(number).astype(np.int8), pd.Index(OUTCOMES)
            ),
            "closed_at": as_times(
                per_deal(np.where(number == 0, NULL, closed)), pd.RangeIndex(n * blocks)
            ),
        }
    )


def _ids(values: Ints) -> pd.Series[Any]:
    return pd.Series(pd.array(values, "Int64")).mask(values == NO_ID)


def _horizon_rows(scene: Scene, replay: Replay) -> list[dict[str, Any]]:
    """Return one row per method and horizon of a cutoff."""
    rows = []
    n = len(scene.deals)
    over = replay.over(scene)
    for name in replay.methods:
        for place, horizon in enumerate(replay.horizons.tolist()):
            known = bool(over[place]) and n > 0
            won = scene.won_within(horizon)
            p, reference = (scene.forecasts[m].won[:, place] for m in (name, "constant"))
            loss = float(brier(won, p).mean()) if known else np.nan
            plain = float(brier(won, reference).mean()) if known else np.nan
            rows.append(
                {
                    "cutoff": scene.at,
                    "method": name,
                    "horizon": horizon,
                    "n": n,
                    "wins": int(won.sum()) if over[place] else None,
                    "expected": float(p.sum()),
                    "brier": loss,
                    "log_loss": float(log_loss(won, p).mean()) if known else np.nan,
                    "skill": 1 - loss / plain if plain else np.nan,
                    "z": surprise(won, p) if known else np.nan,
                }
            )
    return rows


def _month_rows(
    scene: Scene,
    replay: Replay,
    months: int,
    draws: int,
    rates: RateTable | None,
    pasts: dict[str, PastTotals],
) -> list[dict[str, Any]]:
    """Return one row per method and month ahead of a cutoff."""
    known = scene.known
    day = local_days(np.array([scene.at]), known.tz)
    money = Money(rates, pd.Timestamp(int(day[0]), unit="us").as_unit("us"))
    cells = months_after(known, months)
    actual = _actual(replay.known, cells, money)
    over = cells.end <= replay.known.as_of + 1
    # Whichever method: only the probabilities of the open deals differ.
    values = WinningValues.fit(known, money)
    revenue = revenue_of(known, scene.fitted[replay.methods[-1]], cells, money, values)
    rows = []
    for name in (*replay.methods, SEASON):
        mean, drawn, common = _totals(name, scene, revenue, money, draws, pasts)
        for place in range(len(cells)):
            total = float(actual[place]) if over[place] else np.nan
            row = {
                "cutoff": scene.at,
                "method": name,
                "month": place + 1,
                "period": int(cells.day[place]) * DAY,
                "currency": money.currency,
                "n": len(scene.deals),
                "actual": total,
                "mean": float(mean[place]),
                "common_sd": common,
            }
            if drawn is not None:
                row |= _range(total, drawn[place])
            elif over[place]:
                row["crps"] = abs(total - float(mean[place]))
            rows.append(row)
    money.warn_of_stale()
    return rows


def _totals(
    name: str,
    scene: Scene,
    revenue: Revenue,
    money: Money,
    draws: int,
    pasts: dict[str, PastTotals],
) -> tuple[Floats, Floats | None, float]:
    """Return the expectation of each month, its draws, and the common factor's spread; `revenue` is
    that of any method.
    """
    cells = revenue.cells
    if name == SEASON:
        season = season_totals(scene.known, cells, money, pasts["constant"].seed, draws)
        if season is None:
            return np.full(len(cells), np.nan), None, np.nan
        return season.mean, season.draws, np.nan
    if name == "weighted":
        # What Pipedrive shows is a number without a range.
        value, _ = money.counted(scene.deals.value, scene.deals.currency)
        p = scene.fitted[name].predict(scene.deals, cells.horizons).won
        due = np.diff(p, axis=1, prepend=0.0)
        mean = np.einsum("i,ij->j", value, due)
        wins = scene.known.wins
        inside = wins.day >= cells.day[0]
        mean[0] += money.counted(wins.value[inside], wins.currency[inside])[0].sum()
        return mean, None, np.nan
    own = revenue.by(scene.fitted[name], scene.known)
    totals = month_totals(scene.known, own, pasts[name], draws)
    return totals.mean, totals.draws, totals.spread.value


def _range(actual: float, drawn: Floats) -> dict[str, Any]:
    """Return quantiles of the draws, and their scores where the month is over."""
    low, middle, high = np.quantile(drawn, [0.1, 0.5, 0.9], method="inverted_cdf").tolist()
    known = not np.isnan(actual)
    row: dict[str, Any] = {"p10": low, "p50": middle, "p90": high, "width": high - low}
    for level, quantile in ((0.1, low), (0.5, middle), (0.9, high)):
        row[f"pinball_{round(100 * level)}"] = float(pinball(actual, quantile, level))
    row["crps"] = crps(actual, drawn) if known else np.nan
    row["covered"] = low <= actual <= high if known else None
    return row


def _actual(known: Known, cells: Cells, money: Money) -> Floats:
    """Return the revenue won in each month, of the wins that stand today, at the rates of the
    cutoff.
    """
    wins = known.wins
    numbers = Frequency("M").numbers(wins.day) - Frequency("M").numbers(cells.day[:1])
    inside = (numbers >= 0) & (numbers < len(cells))
    value, _ = money.counted(wins.value[inside], wins.currency[inside])
    total = np.bincount(numbers[inside], value, len(cells))
    return total.astype(np.float64)


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    blank = pd.RangeIndex(len(frame))
    for name, kind in COLUMNS.items():
        column = frame[name]
        if kind == "time":
            frame[name] = as_times(column.to_numpy(np.int64), blank)
        elif kind in ("timedelta64[us]", "datetime64[us]"):
            numbers = column.astype("Int64").to_numpy(np.int64, na_value=NULL)
            frame[name] = pd.Series(numbers.view(kind))
        else:
            frame[name] = column.astype(kind)
    return frame


__all__ = ["backtest", "backtest_deals"]

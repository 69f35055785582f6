"""How right the ranges of monthly revenue are: coverage, CRPS beside that of exponential smoothing
(statsmodels' ETS(A,N,N), its simulated distribution), bias; and how often a changed win rate is
noticed.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from pdframe import metrics
from tests.bench.forecast_worlds import kept, market_of

CUTOFFS = ("2025-08-31", "2025-10-31", "2025-12-31", "2026-01-31", "2026-02-28")
MONTHS = 3
RATES = {"EUR": 1.0, "USD": 0.9, "GBP": 1.15, "SEK": 0.09}
ALARM = 2.6
REPETITIONS = 2_000


def won_days(deals: pd.DataFrame, zone: str) -> pd.Series:
    """Return the day of the account's time zone at which each deal was won."""
    local = deals["won_time"].dt.tz_convert(zone).dt.tz_localize(None)
    return deals["local_won_date"].fillna(local.dt.normalize())


def month_totals(world: Any, rates: dict[str, float]) -> pd.Series:
    """Return the revenue won in each month, from the frame of deals alone."""
    won = world.deals[(world.deals["status"] == "won") & ~world.deals["is_deleted"].fillna(False)]
    days = won_days(won, str(world.deals.attrs.get("tz", "UTC")))
    worth = won["value"].fillna(0.0) * won["currency"].map(rates).astype(float)
    months = days.dt.to_period("M")
    every = pd.period_range(months.min(), world.as_of.tz_localize(None), freq="M")
    return worth.groupby(months).sum().reindex(every, fill_value=0.0)


def crps_of(actual: float, draws: np.ndarray) -> float:
    """The score by its definition, over all pairs in sorted order."""
    ordered = np.sort(draws)
    n = len(ordered)
    spread = (ordered * (2 * np.arange(1, n + 1) - n - 1)).sum() * 2 / n**2
    return float(np.abs(ordered - actual).mean() - spread / 2)


def smoothed(history: pd.Series, months: int, seed: int) -> np.ndarray:
    """Draw the coming months by exponential smoothing: months x draws."""
    model = ETSModel(history.to_numpy(float), error="add", trend=None, seasonal=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = model.fit(disp=False)
    drawn = fitted.simulate(
        months, anchor="end", repetitions=REPETITIONS, rng=np.random.default_rng(seed)
    )
    return np.asarray(drawn, float).reshape(months, REPETITIONS)


def of_totals(part: str, seed: int, world: Any, cutoffs: Sequence[str]) -> pd.DataFrame:
    """Return one row per method, cutoff and month ahead, and per horizon of the deals."""
    rates = {name: RATES.get(name, 1.0) for name in world.deals["currency"].dropna().unique()}
    table = metrics.backtest(
        *world.frames, cutoffs=list(cutoffs), horizons="90D", methods="hazard",
        until_months=MONTHS, as_of=world.as_of, history=world.history, rates=rates,
    )  # fmt: skip
    won = month_totals(world, rates)
    months = table["month"].notna()
    table["differs"] = 0
    at = table.loc[months, "period"].dt.to_period("M")
    apart = (table.loc[months, "actual"] - won.reindex(at).to_numpy()).abs()
    table.loc[months, "differs"] = (apart > 1e-6 * (1 + won.reindex(at).to_numpy())).astype(int)
    extra = []
    for text in cutoffs:
        first = (pd.Timestamp(text) + pd.Timedelta(days=1)).to_period("M")
        drawn = smoothed(won[won.index < first].iloc[1:], MONTHS, seed)
        for place in range(MONTHS):
            if (first + place).end_time > world.as_of.tz_localize(None):
                continue
            actual = float(won[first + place])
            low, high = np.quantile(drawn[place], [0.1, 0.9])
            extra.append(
                {
                    "method": "ETS(A,N,N)",
                    "month": place + 1,
                    "period": (first + place).start_time,
                    "actual": actual,
                    "mean": drawn[place].mean(),
                    "p10": low,
                    "p90": high,
                    "crps": crps_of(actual, drawn[place]),
                    "covered": low <= actual <= high,
                }
            )
    table = pd.concat([table, pd.DataFrame(extra)], ignore_index=True)
    return table.assign(part=part, seed=seed)


def measure_seed(
    seed: int, folder: Path, shocks: Sequence[float], broken: bool
) -> tuple[pd.DataFrame, float]:
    """Return the rows of one company under each shock, and after a break; and the CPU seconds."""
    results = []
    spent = 0.0
    for shock in shocks:
        world = kept(folder, seed, market=market_of(shock))
        begin = time.process_time()
        results.append(of_totals(f"shock {shock:g}", seed, world, CUTOFFS))
        spent += time.process_time() - begin
    if broken:
        world = kept(folder, seed, market=market_of(break_days=90))
        begin = time.process_time()
        table = metrics.backtest(
            *world.frames, cutoffs=world.as_of - pd.Timedelta(days=90), horizons="90D",
            methods="hazard", until_months=0, as_of=world.as_of, history=world.history,
        )  # fmt: skip
        results.append(table.assign(part="break", seed=seed))
        spent += time.process_time() - begin
    return pd.concat(results, ignore_index=True), spent


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Pool the month totals: one row per part and method."""
    months = rows[rows["month"].notna() & rows["actual"].notna()]
    months = months.assign(covered=months["covered"].astype("Float64"))
    by = ["part", "method"]
    groups = months.groupby(by)
    pooled = groups[["actual", "mean", "crps", "differs"]].sum()
    pooled["totals"] = groups.size()
    pooled["bias"] = pooled["mean"] / pooled["actual"] - 1
    pooled["covered"] = groups["covered"].mean()
    # Months of one company depend on each other.
    of_company = months.groupby([*by, "seed"])["covered"].mean().groupby(by)
    pooled["covered_error"] = of_company.std() / of_company.size() ** 0.5
    for ahead in range(1, MONTHS + 1):
        own = months[months["month"] == ahead].groupby(by)["covered"].mean()
        pooled[f"covered_{ahead}"] = own.reindex(pooled.index)
    reference = pooled["crps"].xs("ETS(A,N,N)", level="method")
    pooled["crps_over_ets"] = (
        pooled["crps"] / reference.reindex(pooled.index.get_level_values("part")).to_numpy()
    )
    pooled["crps"] /= pooled["totals"]
    pooled["common_sd"] = groups["common_sd"].mean()
    return pooled.drop(columns=["actual", "mean"]).reset_index()


def alarms(rows: pd.DataFrame) -> pd.DataFrame:
    """Count how often wins within 90 days were too surprising, by part."""
    deals = rows[rows["horizon"].notna() & (rows["method"] == "hazard") & rows["z"].notna()]
    return (
        deals.assign(alarm=deals["z"].abs() > ALARM, low=deals["z"] < -ALARM)
        .groupby("part")
        .agg(
            cutoffs=("z", "size"),
            expected=("expected", "mean"),
            least_expected=("expected", "min"),
            alarms=("alarm", "sum"),
            too_few_wins=("low", "sum"),
            mean_z=("z", "mean"),
        )
        .reset_index()
    )


__all__ = ["alarms", "measure_seed", "table", "won_days"]

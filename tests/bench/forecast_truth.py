"""How much of the bias of revenue is the luck of outcomes: beside what was won stands what the true
probabilities of the synthetic company made of the same deals, at the values that they came to have.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import pdframe
from tests.bench.forecast_totals import CUTOFFS, MONTHS, RATES, won_days
from tests.bench.forecast_worlds import DEALS, LIMITS, kept, market_of

FUTURES = 100
"""Simulated futures of each deal."""


def measure_seed(
    seed: int, folder: Path, shocks: Sequence[float], futures: int = FUTURES
) -> tuple[pd.DataFrame, float]:
    """Return one row a shock and cutoff: what was won in the months after it, by deals that were
    open then and by later ones, and what was truly to be expected of them; and the CPU seconds.

    A later deal counts with what was to be expected when it was created: how many come, and what
    they are worth, is not averaged out. A deal counts with its last value. Left out are deals that
    were deleted later, and of what was expected also those that were closed at the cutoff and won
    after it.
    """
    results = []
    begin = time.process_time()
    for shock in shocks:
        market = market_of(shock)
        frame = kept(folder, seed, market=market).deals
        deals = frame[~frame["is_deleted"].fillna(False)].set_index("id")
        zone = str(frame.attrs.get("tz", "UTC"))
        day = won_days(deals, zone)
        rates = deals["currency"].map(RATES).fillna(1.0).astype(float)
        worth = deals["value"].fillna(0.0) * rates
        given = {} if market is None else {"market": market}
        with pdframe.sandbox.connect(
            seed=seed, deals=DEALS, company="hostile", **given, **LIMITS
        ) as account:
            chances = account.company_model.truth.win_probabilities
        for text in CUTOFFS:
            start = pd.Timestamp(text) + pd.Timedelta(days=1)
            end = start + pd.offsets.MonthBegin(MONTHS)
            since, until = (int(at.tz_localize(zone).timestamp()) for at in (start, end))
            won = deals["status"].eq("won") & (day >= start) & (day < end)
            opened = pd.Series(
                {
                    row.deal_id: row.won
                    for row in chances(since, [(until - since) / 86_400], futures=futures)
                    if row.deal_id in deals.index
                },
                dtype=float,
            )
            created = (deals["add_time"] - pd.Timestamp(0, tz="UTC")).dt.total_seconds() + 120
            later = {}
            for deal, at in created[(created >= since) & (created < until)].items():
                for row in chances(int(at), [(until - at) / 86_400], [deal], futures=futures):
                    later[deal] = row.won
            new = pd.Series(later, dtype=float)
            results.append(
                {
                    "part": f"shock {shock:g}",
                    "seed": seed,
                    "cutoff": text,
                    "actual": worth[won].sum(),
                    "true_open": (opened * worth.reindex(opened.index)).sum(),
                    "actual_open": worth[won & won.index.isin(opened.index)].sum(),
                    "true_new": (new * worth.reindex(new.index)).sum(),
                    "wins": int(won.sum()),
                    "true_wins": opened.sum() + new.sum(),
                }
            )
    return pd.DataFrame(results), time.process_time() - begin


def table(rows: pd.DataFrame, totals: pd.DataFrame | None) -> pd.DataFrame:
    """Pool the companies: the bias that the truth has, by the luck of what happened, and how far
    the forecast is from the truth, with its standard error by company.

    `totals` are rows of `forecast_totals` of the same companies and cutoffs, or None.
    """
    rows = rows.assign(true=rows["true_open"] + rows["true_new"])
    result = []
    for part, own in rows.groupby("part"):
        sums = own.groupby("seed")[["true", "actual"]].sum()
        line = {
            "part": part,
            "companies": own["seed"].nunique(),
            "bias_of_truth": (ratio := own["true"].sum() / own["actual"].sum()) - 1,
            "bias_of_truth_error": _error(sums["true"], sums["actual"], ratio),
            "bias_of_wins": own["true_wins"].sum() / own["wins"].sum() - 1,
        }
        if totals is not None:
            chosen = (totals["part"] == part) & (totals["method"] == "hazard")
            mean = totals[chosen & totals["actual"].notna()].groupby("seed")["mean"].sum()
            true = sums["true"].reindex(mean.index)
            ratio = mean.sum() / true.sum()
            line["bias"] = mean.sum() / own["actual"].sum() - 1
            line["over_truth"] = ratio - 1
            line["over_truth_error"] = _error(mean, true, ratio)
        result.append(line)
    return pd.DataFrame(result)


def _error(above: pd.Series, below: pd.Series, ratio: float) -> float:
    """Return the standard error of the ratio of two sums over companies."""
    residual = above - ratio * below
    return float(residual.std() * len(below) ** 0.5 / below.sum())


__all__ = ["measure_seed", "table"]

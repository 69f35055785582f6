"""Which method of a backtest is better, and whether the difference is more than noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import grouped, keyed, require_columns
from pdframe.metrics._columns import Floats, amounts, ratio
from pdframe.metrics.forecasting._checks import check_seed

RESAMPLES = 2_000
LEAST_CUTOFFS = 6
"""With fewer, a difference is called noise: an interval of so few is not to be trusted."""

_NEEDED = ("cutoff", "method", "horizon", "month", "currency", "n", "brier", "crps")
_VERDICTS = ("better", "worse", "noise")


def compare(backtest: pd.DataFrame, *, against: str = "constant", seed: int = 0) -> pd.DataFrame:
    """Compare each method of a backtest with one of them, on the same cutoffs.

    Parameters
    ----------
    backtest
        The result of `metrics.backtest`.
    against
        The method to compare with.
    seed
        Of the resampling; the same seed gives the same limits.

    Returns
    -------
    DataFrame
        One row per other method and horizon, and per other method, month ahead and currency:

        - method, against, horizon, month, currency: as in `backtest`
        - score: "brier" for horizons, "crps" for totals
        - cutoffs: those at which both have the score
        - value, reference: the mean scores of the method and of `against`, over deals for brier,
          over cutoffs for crps
        - difference: value - reference; below 0 the method is better
        - low, high: 95 % limits of the difference, by resampling cutoffs; null with one cutoff
        - verdict: "better", "worse", or "noise" where the limits span 0 or there are fewer than 6
          cutoffs

    Raises
    ------
    ArgumentError
        A column is missing, no row has the method `against`, a method has two different scores of
        the same at one cutoff (equal rows count once), or the seed is not a whole number.

    Notes
    -----
    Cutoffs are resampled whole, since the deals of one cutoff share their luck (a bootstrap of
    clusters, percentile limits). Where horizons reach past the next cutoff, neighbours share
    deals, and the limits are too narrow: take cutoffs a horizon apart to be strict.

    Examples
    --------
    >>> frames = account.deals(archived=True), account.stage_visits(), account.stages()
    >>> past = {"cutoffs": ["2025-12-31", "2026-03-31"], "horizons": "90D", "as_of": "2026-06-30"}
    >>> record = metrics.backtest(*frames, **past, methods="constant", until_months=0)
    >>> metrics.compare(record)[["method", "cutoffs", "verdict"]]
                  method  cutoffs verdict
    0  stage climatology        2   noise
    1           weighted        2   noise
    """
    check_seed(seed)
    frame = require_columns(backtest, "backtest", _NEEDED)
    methods = frame["method"].astype("str")
    if against not in set(methods):
        raise ArgumentError(
            f"against={against!r}: backtest has the methods"
            f" {', '.join(map(repr, sorted(set(methods))))}."
        )
    rows: list[dict[str, Any]] = []
    groups = ["horizon", "month", "currency"]
    codes, result = grouped(frame, groups)
    for group in range(len(result)):
        own = frame[codes == group]
        score = "crps" if own["horizon"].isna().iloc[0] else "brier"
        table = own.assign(score=amounts(own, score), weight=amounts(own, "n"))
        table = _once(table[["method", "cutoff", "score", "weight"]])
        if against not in table.index.get_level_values("method"):
            continue
        reference = table.loc[against]
        for method in own["method"].unique():
            if method == against or method not in table.index.get_level_values("method"):
                continue
            both = table.loc[method].merge(
                reference, left_index=True, right_index=True, suffixes=("", "_of_reference")
            )
            both = both.sort_index()
            weight = both["weight"].to_numpy(np.float64)
            rows.append(
                {
                    "group": group,
                    "method": method,
                    "against": against,
                    "score": score,
                    **_difference(
                        both["score"].to_numpy(np.float64),
                        both["score_of_reference"].to_numpy(np.float64),
                        weight if score == "brier" else np.ones(len(both)),
                        seed,
                    ),
                }
            )
    columns = ["group", "method", "against", "score", "cutoffs", "value", "reference"]
    columns += ["difference", "low", "high", "verdict"]
    table = pd.DataFrame(rows, columns=columns)
    keyed_rows = result.take(table["group"].to_numpy(np.int64)).reset_index(drop=True)
    table = pd.concat([table[["method", "against"]], keyed_rows, table[columns[3:]]], axis=1)
    table["cutoffs"] = table["cutoffs"].astype("Int64")
    for name in ("method", "against", "score"):
        table[name] = table[name].astype("str")
    for name in ("value", "reference", "difference", "low", "high"):
        table[name] = table[name].astype(np.float64)
    table["verdict"] = pd.Categorical(table["verdict"], _VERDICTS)
    return keyed(table, ["method", *groups])


def _once(table: pd.DataFrame) -> pd.DataFrame:
    """Return the scores by method and cutoff, each once, without nulls.

    Raises
    ------
    ArgumentError
        A method has two scores at one cutoff.
    """
    # As where the rows of two backtests that share cutoffs are put together.
    table = table[table["score"].notna()].drop_duplicates()
    twice = table[table.duplicated(["method", "cutoff"])]
    if len(twice):
        first = twice.iloc[0]
        raise ArgumentError(
            f"backtest has two different scores of {str(first['method'])!r} at the cutoff"
            f" {first['cutoff']}. Pass the rows of one backtest."
        )
    return table.set_index(["method", "cutoff"])


def _difference(own: Floats, other: Floats, weight: Floats, seed: int) -> dict[str, Any]:
    """Return the means, their difference and its limits; one element per cutoff."""
    n, total = len(own), float(weight.sum())
    if not total:
        nothing = np.nan
        return {
            "cutoffs": n, "value": nothing, "reference": nothing, "difference": nothing,
            "low": nothing, "high": nothing, "verdict": "noise",
        }  # fmt: skip
    gain = (own - other) * weight
    difference = float(gain.sum() / total)
    low = high = np.nan
    if n > 1:
        key = np.array([seed % 2**64, n], np.uint64)
        random = np.random.Generator(np.random.Philox(key=key))
        drawn = random.integers(0, n, (RESAMPLES, n))
        means = ratio(gain[drawn].sum(axis=1), weight[drawn].sum(axis=1))
        low, high = (float(limit) for limit in np.nanquantile(means, [0.025, 0.975]))
    clear = n >= LEAST_CUTOFFS and (low > 0 or high < 0)
    return {
        "cutoffs": n,
        "value": float((own * weight).sum() / total),
        "reference": float((other * weight).sum() / total),
        "difference": difference,
        "low": low,
        "high": high,
        "verdict": ("better" if difference < 0 else "worse") if clear else "noise",
    }


__all__ = ["compare"]

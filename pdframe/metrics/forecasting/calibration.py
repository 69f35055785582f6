"""How often deals were won that were given a probability: said 30 %, happened 27 %."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import grouped, keyed, keys, require_columns
from pdframe.metrics._columns import Flags, Floats, Ints, amounts, equals, ratio
from pdframe.metrics._survival import wilson

BINS = 10
"""Bins of equal width between probabilities 0 and 1."""

_COLUMNS = ("bin", "p_from", "p_until", "n", "wins", "p_mean", "share", "low", "high")


def bins_of(p: Floats) -> Ints:
    """Return the number of the bin of each probability: 1 from 0, 10 up to 1 included; 0 where it
    is NaN.
    """
    number = np.minimum(np.floor(np.nan_to_num(p) * BINS).astype(np.int64), BINS - 1) + 1
    return np.where(np.isnan(p), 0, number)


def calibration(backtest_deals: pd.DataFrame, *, by: str | list[str] | None = None) -> pd.DataFrame:
    """Compare the probabilities of a backtest with the shares that were won, in ten bins.

    Parameters
    ----------
    backtest_deals
        The result of `metrics.backtest_deals`, or some of its rows.
    by
        Columns of it to group by, in addition to method and horizon.

    Returns
    -------
    DataFrame
        One row per method, horizon, group of `by` and bin that occurs:

        - method, horizon; the columns of `by`; bin (1 to 10)
        - p_from, p_until: the bounds of the bin; p_until belongs to the next one, except 1
        - n: forecasts whose outcome is known
        - wins: those that were won
        - p_mean: the mean of their probabilities
        - share: wins / n, to compare with p_mean; low, high: its 95 % limits, which are too narrow
          where the deals share their luck, or occur at several cutoffs

    Raises
    ------
    ArgumentError
        A column is missing.

    Notes
    -----
    Intervals: E. B. Wilson (JASA 22, 1927). A forecast that is well calibrated may still be
    useless: the constant is. `metrics.backtest` says how much a method knows.

    Examples
    --------
    >>> frames = account.deals(archived=True), account.stage_visits(), account.stages()
    >>> past = {"cutoffs": ["2025-12-31", "2026-03-31"], "horizons": "90D", "as_of": "2026-06-30"}
    >>> record = metrics.backtest_deals(*frames, **past, methods="constant")
    >>> table = metrics.calibration(record[record["method"] == "constant"])
    >>> table[["bin", "n", "wins", "p_mean", "share", "low", "high"]].round(2)
       bin    n  wins  p_mean  share   low  high
    0    2  101    19    0.16   0.19  0.12  0.28
    """
    names = ["method", "horizon", *keys(by, ("method", "horizon", *_COLUMNS), backtest_deals)]
    frame = require_columns(
        backtest_deals, "backtest_deals", ["method", "horizon", "p_won", "won"], names
    )
    p = amounts(frame, "p_won")
    if bool((~np.isnan(p) & ((p < 0) | (p > 1))).any()):
        raise ArgumentError("p_won of backtest_deals holds numbers outside 0 and 1.")
    counted: Flags = frame["won"].notna().to_numpy() & ~np.isnan(p)
    frame, p = frame[counted].reset_index(drop=True), p[counted]
    won = equals(frame, "won", True)
    frame = frame.assign(bin=pd.array(bins_of(p), dtype="Int64"))
    codes, result = grouped(frame, [*names, "bin"])
    n, wins = (
        np.bincount(codes, minlength=len(result)),
        np.bincount(codes[won], minlength=len(result)),
    )
    number = result["bin"].to_numpy(np.int64)
    result["p_from"], result["p_until"] = (number - 1) / BINS, number / BINS
    result["n"], result["wins"] = (pd.array(count, dtype="Int64") for count in (n, wins))
    result["p_mean"] = ratio(np.bincount(codes, p, len(result)), n)
    result["share"] = ratio(wins, n)
    result["low"], result["high"] = wilson(wins, n)
    return keyed(result, [*names, "bin"])


__all__ = ["calibration"]

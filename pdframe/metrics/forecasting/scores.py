"""Proper scores of forecasts: of probabilities, of quantiles, and of draws.

Each returns one loss per forecast, 0 at best; a mean of losses compares methods on the same cases.
A forecast that is honest has the lowest expected loss, so that no score can be gained by shading.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pdframe.metrics._survival import Flags, Floats

SMALLEST = 1e-6
"""Probabilities are taken this far from 0 and 1 in the log loss, which is infinite there."""


def brier(won: ArrayLike, p: ArrayLike) -> Floats:
    """Return (p - outcome)^2 of each probability (G. W. Brier, Monthly Weather Review 78, 1950)."""
    result: Floats = (np.asarray(p, np.float64) - np.asarray(won, np.float64)) ** 2
    return result


def log_loss(won: ArrayLike, p: ArrayLike) -> Floats:
    """Return minus the logarithm of the probability that was given to what happened."""
    chance = np.clip(np.asarray(p, np.float64), SMALLEST, 1 - SMALLEST)
    return np.where(np.asarray(won, np.bool_), -np.log(chance), -np.log1p(-chance))


def pinball(actual: ArrayLike, forecast: ArrayLike, level: float) -> Floats:
    """Return the loss of each quantile: `level` for each unit by which it is too low, 1 - `level`
    for each by which it is too high.
    """
    error = np.asarray(actual, np.float64) - np.asarray(forecast, np.float64)
    return np.maximum(level * error, (level - 1) * error)


def crps(actual: float, draws: ArrayLike) -> float:
    """Return the continuous ranked probability score of equally likely draws, in their unit.

    It is E|X - actual| - E|X - X'| / 2 over the draws X, X': the absolute error where there is one
    draw (T. Gneiting, A. E. Raftery, JASA 102, 2007). NaN without draws.
    """
    ordered = np.sort(np.asarray(draws, np.float64))
    n = len(ordered)
    if n == 0:
        return float("nan")
    # Of the sorted draws, number i is the larger one of i pairs and the smaller one of n - 1 - i.
    # Differences from the actual keep the digits of small spreads around a large total.
    error = ordered - actual
    rank = 2 * np.arange(n, dtype=np.float64) - (n - 1)
    return float(np.abs(error).sum() / n - (rank * error).sum() / n**2)


def surprise(won: Flags, p: Floats) -> float:
    """Return z: by how many standard deviations the wins exceed the sum of independent
    probabilities. NaN where no probability leaves room for surprise.
    """
    variance = float((p * (1 - p)).sum())
    return float((won.sum() - p.sum()) / np.sqrt(variance)) if variance > 0 else float("nan")


__all__ = ["brier", "crps", "log_loss", "pinball", "surprise"]

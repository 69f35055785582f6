"""Forecasts with probabilities by hand: revenue of stated deals, and a method of stated
probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pdframe.metrics._periods import Frequency
from pdframe.metrics.forecasting._interface import DAY, OpenDeals, Probabilities
from pdframe.metrics.forecasting.arrivals import NewWins
from pdframe.metrics.forecasting.cells import Cells, cells_between
from pdframe.metrics.forecasting.revenue import Revenue
from pdframe.metrics.forecasting.winning_values import Prospects

UNITS = 1_000_000
BEGIN = int(pd.Timestamp("2026-07-01").timestamp()) * 1_000_000


def months(count: int, freq: str = "M") -> Cells:
    """Months from July 2026 on, in periods of a frequency."""
    until = pd.Timestamp("2026-07-01", tz="UTC") + pd.DateOffset(months=count)
    return cells_between(BEGIN - 1, until, Frequency(freq), "UTC")


def no_new(cells: Cells) -> NewWins:
    """No new deal is ever won."""
    arrival, win = np.triu_indices(len(cells))
    none = np.zeros(0, np.int64)
    created = np.zeros(len(cells))
    return NewWins(created, 0.0, none, none, np.zeros((0, len(win))), arrival, win, cells.day)


def like(
    cells: Cells, created: Sequence[float], weights: Sequence[float], values: Sequence[float]
) -> NewWins:
    """New deals of which a share is won like each of some past wins, within the month or in the
    next one, half and half.
    """
    arrival, win = np.triu_indices(len(cells))
    step = np.where(win - arrival <= 1, 0.5, 0.0)
    expected = np.asarray(weights)[:, None] * np.asarray(created)[arrival] * step
    deal = np.arange(len(weights)) + 1
    value = np.rint(np.asarray(values) * UNITS).astype(np.int64)
    return NewWins(
        np.asarray(created, np.float64), 0.2, deal, value, expected, arrival, win, cells.day
    )


def revenue(
    chance: Any,
    value: Sequence[float],
    *,
    deal: Sequence[int] | None = None,
    cells: Cells | None = None,
    changes: float = 0.0,
    pool: Sequence[float] = (0.0,),
    new: NewWins | None = None,
    won: Sequence[float] = (),
) -> Revenue:
    """Revenue of open deals with these probabilities to be won by the end of each month."""
    by_cell = np.asarray(chance, np.float64).reshape(len(value), -1)
    cells = months(by_cell.shape[1]) if cells is None else cells
    count = len(value)
    worth = Prospects(
        np.rint(np.asarray(value) * UNITS).astype(np.int64),
        np.full(count, changes),
        np.zeros(count, np.int64),
        np.full(count, len(pool), np.int64),
        np.rint(np.asarray(pool) * UNITS).astype(np.int64),
    )
    ids = np.arange(1, count + 1) if deal is None else np.asarray(deal, np.int64)
    return Revenue(
        cells,
        ids,
        by_cell,
        worth,
        no_new(cells) if new is None else new,
        np.arange(len(won)) + 500,
        np.rint(np.asarray(won, np.float64) * UNITS).astype(np.int64),
        UNITS,
    )


class ByHand:
    """A method with a stated P(won) of each deal, the same within any horizon.

    Parameters
    ----------
    chance
        By id; 0 for every other deal.
    after
        Days after which a deal can be won, by id; before, P(won) is 0.
    """

    name = "by hand"

    def __init__(
        self, chance: Mapping[int, float], after: Mapping[int, float] | None = None
    ) -> None:
        self.chance, self.after = dict(chance), dict(after or {})

    def fit(self, known: Any, seed: int) -> ByHand:
        """Learn nothing."""
        return self

    def predict(self, deals: OpenDeals, horizons: Any) -> Probabilities:
        """Return the stated probabilities."""
        won = np.zeros((len(deals), len(horizons)))
        for row, deal in enumerate(deals.deal.tolist()):
            late = np.asarray(horizons) > self.after.get(deal, 0) * DAY
            won[row] = np.where(late, self.chance.get(deal, 0.0), 0.0)
        return Probabilities(won, np.zeros_like(won))


__all__ = ["BEGIN", "UNITS", "ByHand", "like", "months", "no_new", "revenue"]

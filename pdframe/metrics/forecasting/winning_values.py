"""The value that an open deal has when it is won: the one it has now, with the share of past wins
that kept theirs, else that of a past win whose value changed and had been about as large.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._interface import DAY
from pdframe.metrics.forecasting.money import Money, rounded

if TYPE_CHECKING:
    from pdframe.metrics.forecasting.known import Known

EARLIER = 26
"""Earlier times at which the values of deals that were then won are compared."""
STEP = 28 * DAY
WITHIN = 91 * DAY
"""Wins are compared with values of this time before them: the later, the fewer will change."""
LIKE = 1.5
"""Values within this factor are alike."""
ENOUGH = 5
"""Like wins that count half; without any, no value changes."""


@dataclass(frozen=True, slots=True, eq=False)
class Prospects:
    """What each open deal is worth when won: whole units.

    Parameters
    ----------
    value
        Its value now.
    changes
        The probability that the value changes before it is won.
    low, high
        The places in `pool` of the values to which it may change; equally likely.
    pool
        Values at winning.
    """

    value: Ints
    changes: Floats
    low: Ints
    high: Ints
    pool: Ints

    def __len__(self) -> int:
        return len(self.value)

    def take(self, rows: Ints) -> Prospects:
        """Return the elements at these places."""
        return Prospects(
            self.value[rows], self.changes[rows], self.low[rows], self.high[rows], self.pool
        )

    @property
    def mean(self) -> Floats:
        """The expected value of each deal at winning, in units."""
        total = np.append(0.0, np.cumsum(self.pool, dtype=np.float64))
        count = np.maximum(self.high - self.low, 1)
        changed = (total[self.high] - total[self.low]) / count
        return np.asarray((1 - self.changes) * self.value + self.changes * changed, np.float64)

    def changed(self, deal: int, uniform: Floats) -> tuple[Ints, Ints]:
        """Return at which of some uniform numbers the value of a deal (its place) changes before it
        is won, and the values at winning there.
        """
        low, width = int(self.low[deal]), int(self.high[deal] - self.low[deal])
        share = float(self.changes[deal])
        rows = np.flatnonzero(uniform < share)
        place = np.minimum((uniform[rows] / share * width).astype(np.int64), width - 1)
        return rows, self.pool[low + place]


@dataclass(frozen=True, slots=True, eq=False)
class WinningValues:
    """Pairs of the value of a deal while it was open and at its win.

    Parameters
    ----------
    kind
        Number of the currency; pairs are ordered by it, then by `opened` and `won`.
    opened, won
        The two values where they differ.
    unchanged, unchanged_zero
        The share of pairs that are equal, of deals with a value and of those with 0.
    """

    kind: Ints
    opened: Floats
    won: Floats
    unchanged: float
    unchanged_zero: float

    @classmethod
    def fit(cls, known: Known, money: Money) -> WinningValues:
        """Compare the values of past wins at earlier times with those at winning.

        A deal counts once for every time at which it was open and soon won, as the deals that are
        open now and will soon be won were met at one.
        """
        wins = known.wins
        times = known.as_of - STEP * np.arange(EARLIER, 0, -1)
        earlier = known.open_at(times)
        order = np.argsort(wins.deal, kind="stable")
        place = np.searchsorted(wins.deal[order], earlier.deal)
        place = order[np.minimum(place, len(order) - 1)] if len(order) else place
        pairs = np.zeros(len(earlier), np.bool_)
        if len(order):
            pairs = (wins.deal[place] == earlier.deal) & (wins.time[place] > earlier.at)
            pairs &= wins.time[place] <= earlier.at + WITHIN
            pairs &= ~np.isnan(earlier.value) & ~np.isnan(wins.value[place])
        place, earlier = place[pairs], earlier.take(pairs)
        opened, kind = money.counted(earlier.value, earlier.currency)
        won, kind_won = money.counted(wins.value[place], wins.currency[place])
        same = kind == kind_won
        opened, won, kind = opened[same], won[same], kind[same]
        equal, zero = opened == won, opened == 0
        shares = [
            (float((equal & which).sum()) + 1) / (float(which.sum()) + 1) for which in (~zero, zero)
        ]
        kind, opened, won = kind[~equal], opened[~equal], won[~equal]
        order = np.lexsort((won, opened, kind))
        return cls(kind[order], opened[order], won[order], shares[0], shares[1])

    def of(self, value: Floats, kind: Ints, units: int) -> Prospects:
        """Return what open deals of these values and currencies are worth when won."""
        bounds = np.sort([value / LIKE, value * LIKE], axis=0)
        low, high = (
            self._place(kind, bound, side)
            for bound, side in zip(bounds, ("left", "right"), strict=True)
        )
        like = high - low
        share = np.where(value == 0, self.unchanged_zero, self.unchanged)
        changes = (1 - share) * like / (like + ENOUGH)
        return Prospects(rounded(value, units), changes, low, high, rounded(self.won, units))

    def _place(self, kind: Ints, value: Floats, side: str) -> Ints:
        """Return where each value belongs among the pairs of its currency."""
        result = np.zeros(len(value), np.int64)
        for each in np.unique(kind):
            first, last = np.searchsorted(self.kind, [each, each + 1])
            rows = kind == each
            right = side == "right"
            inside = np.searchsorted(
                self.opened[first:last], value[rows], side="right" if right else "left"
            )
            result[rows] = first + inside
        return result


__all__ = ["Prospects", "WinningValues"]

"""The rows of a forecast: open deals at a time, their outcomes, and the probabilities of winning
and losing within horizons.

Times are microseconds since 1970 UTC, days are days since 1970, horizons are microseconds from the
time at which a deal was observed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pdframe.metrics._survival import Floats, Ints

OPEN, WON, LOST = range(3)
"""Outcomes: not closed as far as known; won; lost, deleted or moved out of all pipelines."""

DAY = 86_400_000_000
"""Microseconds."""


class Activity(NamedTuple):
    """The activities of open deals, as known at a time.

    `since_done` is the time since the last one was done, `recent` the number done in the last 28
    days, `waiting` the time since the oldest one that is not done was added; `NULL` where there is
    none. Times are microseconds.
    """

    since_done: Ints
    recent: Ints
    waiting: Ints


class LineItems(NamedTuple):
    """The line items of open deals, as known at a time: how many, and the product of the first;
    `NO_ID` where there is none.
    """

    number: Ints
    product: Ints


@dataclass(frozen=True, slots=True, eq=False)
class OpenDeals:
    """Deals that were open at a time, one element per deal and time, with nothing in it that was
    learned after that time.

    Parameters
    ----------
    deal
        Id.
    at
        The time at which the deal was open.
    pipeline, stage
        Ids; `NO_ID` where unknown.
    entered
        When it entered that stage; the upper bound where only bounds are known.
    added
        When it was created.
    value
        In its own currency; NaN where unknown then.
    currency
        Text; None where unknown.
    owner
        Id; `NO_ID` where unknown then.
    expected_close
        Day; `NULL` where there was none or it is unknown.
    moves_back
        How often it had moved to an earlier stage.
    activity, line_items
        Of the deals then; None where their rows are not given.
    probability
        The deal's own, in percent, as set in Pipedrive; NaN where none is known then; None where
        that is not read.
    """

    deal: Ints
    at: Ints
    pipeline: Ints
    stage: Ints
    entered: Ints
    added: Ints
    value: Floats
    currency: NDArray[np.object_]
    owner: Ints
    expected_close: Ints
    moves_back: Ints
    activity: Activity | None = None
    line_items: LineItems | None = None
    probability: Floats | None = None

    def __len__(self) -> int:
        return len(self.deal)

    def take(self, rows: Any) -> OpenDeals:
        """Return the elements at these places, or where a mask is true."""
        activity, items = self.activity, self.line_items
        columns: dict[str, Any] = {n: getattr(self, n)[rows] for n in self.__slots__[:-3]}
        return OpenDeals(
            **columns,
            activity=None if activity is None else Activity(*(each[rows] for each in activity)),
            line_items=None if items is None else LineItems(*(each[rows] for each in items)),
            probability=None if self.probability is None else self.probability[rows],
        )


class Outcomes(NamedTuple):
    """How each of a set of open deals ended first, as known at one time.

    `kind` is `OPEN`, `WON` or `LOST`; `time` is when, and the end of what is known where it is
    open.
    """

    kind: Ints
    time: Ints


class Probabilities(NamedTuple):
    """P(won) and P(lost) of each deal (rows) within each horizon (columns), float64.

    Neither falls as the horizon grows; their sum is at most 1, the rest is P(open).
    """

    won: Floats
    lost: Floats

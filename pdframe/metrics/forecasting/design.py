"""The features of an open deal in an interval of the future, each as the number of a level.

Days and months are those of the company's timezone. A feature is what was known of the deal when it
was observed; the intervals that follow differ by their number, and by where they lie against the
expected close and in the calendar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pdframe.metrics._arguments import NULL, local_days
from pdframe.metrics._columns import NO_ID, midnights, places
from pdframe.metrics._survival import Flags, Floats, Ints
from pdframe.metrics.forecasting._interface import DAY, OpenDeals

_LEAST_ROWS = 20
"""Rows that a stage, an owner or a currency needs for a level of its own."""

_MOST_LEVELS = 40
"""Most levels of a feature; rarer ones share level 0."""

_LEAST_KNOWN = 0.2
"""Share of rows in which a value must be known to serve as a feature."""

_AGES = np.array([0.25, 0.5, 1, 2, 3, 5, 8, 13, 20, 30, 45])
"""Bounds of ages, in steps between landmarks."""

_COARSE_AGES = np.array([1.0, 3.0, 8.0])
_VALUE_CUTS = (0.2, 0.4, 0.6, 0.8, 0.9, 0.96)
"""Shares of the values of a currency under the bounds of its levels."""

_SIZES = np.array([2, 5, 7])
"""First levels of small, of larger and of the largest values (a tenth)."""

_CLOSE = np.array([-90, -30, -14, 0, 14, 30, 60]) * DAY
"""Bounds of the time from the middle of an interval to the end of the expected close."""

_SINCE_DONE = np.array([0.25, 0.5, 1, 2, 4, 8])
"""Bounds of the time since the last done activity, in steps between landmarks."""

_LATELY = np.array([1.0])
_RECENT = np.array([1, 2, 3, 5])
_WAITING = np.array([0.5, 1, 3])
_LINE_ITEMS = np.array([1, 2, 4])

_STAGE, _VALUE = 0, 5
"""Places of these features."""

_SEASON_DAYS = 731
"""Days of landmarks from which on months have levels."""


class Feature(NamedTuple):
    """A feature: its name, its number of levels, the standard deviation that its effects are
    expected to have, and the term that it is a part of where a forecast is explained. Of an ordered
    one, the steps between neighbours are expected to change by that much.
    """

    name: str
    levels: int
    scale: float
    term: str
    is_ordered: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Levels of a feature with known members: ids, ascending; level 0 is every other."""

    ids: Ints

    @classmethod
    def of(cls, values: Ints) -> Levels:
        """Return the levels of values that are frequent enough."""
        ids, counts = np.unique(values[values != NO_ID], return_counts=True)
        often = np.flatnonzero(counts >= _LEAST_ROWS)
        if len(often) > _MOST_LEVELS:
            often = np.sort(often[np.argsort(-counts[often], kind="stable")[:_MOST_LEVELS]])
        return cls(ids[often])

    def __len__(self) -> int:
        return len(self.ids) + 1

    def codes(self, values: Ints) -> Ints:
        """Return the level of each value."""
        return places(self.ids, values) + 1 if len(self.ids) else np.zeros(len(values), np.int64)


class Observed(NamedTuple):
    """Deals, and what is the same in all of their intervals.

    Parameters
    ----------
    deals, fixed
        The deals, and the level of each of their fixed features.
    time
        The number of the time at which each deal was observed.
    clock, month
        What the company's clock shows in the middle of each interval (columns) after these times
        (rows): microseconds, as if it were UTC's, and the month, from 0.
    """

    deals: OpenDeals
    fixed: list[Ints]
    time: Ints
    clock: Ints
    month: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """How deals become levels, learned from the training sample."""

    step: int
    ends: Ints
    stages: Levels
    pipelines: Levels
    owners: Levels
    currencies: tuple[str, ...]
    value_bounds: Floats
    has_close: bool
    has_months: bool
    has_activity: bool
    products: Levels | None
    tz: str

    @classmethod
    def of(cls, deals: OpenDeals, step: int, ends: Ints, tz: str) -> Design:
        """Learn levels and bounds from deals open at landmarks; `tz` is the company's timezone."""
        known_owner = deals.owner != NO_ID
        owner = deals.owner if _mostly(known_owner) else np.full(len(deals), NO_ID)
        currencies, bounds = _value_bounds(deals)
        span = int(deals.at.max() - deals.at.min()) if len(deals) else 0
        return cls(
            step,
            ends,
            Levels.of(deals.stage),
            Levels.of(deals.pipeline),
            Levels.of(owner),
            currencies,
            bounds,
            _mostly(deals.expected_close != NULL),
            span >= _SEASON_DAYS * DAY,
            deals.activity is not None,
            None if deals.line_items is None else Levels.of(deals.line_items.product),
            tz,
        )

    @property
    def features(self) -> tuple[Feature, ...]:
        """The features in the order of `fixed` and `varying`."""
        stages, ages = len(self.stages), len(_AGES) + 1
        spans, sizes = len(_spans(self.ends)), len(_SIZES) + 1
        return (
            Feature("stage", stages, 1.5, "stage"),
            Feature("pipeline", len(self.pipelines), 1.0, "stage"),
            Feature("age in stage", ages, 0.5, "time in stage", True),
            Feature("stage and age in it", stages * (len(_COARSE_AGES) + 1), 0.4, "time in stage"),
            Feature("age of the deal", ages, 0.4, "age of the deal", True),
            Feature("value", self.value_bounds.shape[1] + 2, 0.3, "value", True),
            Feature("value and age in stage", sizes * (len(_COARSE_AGES) + 1), 0.4, "value"),
            Feature("owner", len(self.owners), 0.3, "owner"),
            Feature("moves back", 3, 0.4, "moves back"),
            *self._dated_features(),
            Feature("interval", len(self.ends), 0.5, "", True),
            Feature("stage and interval", stages * spans, 0.5, "stage"),
            Feature("value and interval", sizes * spans, 0.4, "value"),
            Feature("expected close", len(_CLOSE) + 2, 0.6, "expected close"),
            Feature("month of the quarter", 4, 0.2, "season"),
            Feature("month", 13, 0.15, "season"),
            *((Feature("activity and interval", 3 * spans, 0.4, "activity"),) * self.has_activity),
        )

    def _dated_features(self) -> Iterator[Feature]:
        """Yield the features of activities and of line items, where these are given."""
        if self.has_activity:
            yield Feature("last activity", len(_SINCE_DONE) + 2, 0.4, "activity")
            yield Feature("recent activities", len(_RECENT) + 1, 0.3, "activity", True)
            yield Feature("planned activity", len(_WAITING) + 2, 0.3, "activity")
        if self.products is not None:
            yield Feature("line items", len(_LINE_ITEMS) + 1, 0.3, "line items", True)
            yield Feature("product", len(self.products), 0.2, "product")

    def fixed(self, deals: OpenDeals) -> list[Ints]:
        """Return the level of each fixed feature, an array each."""
        stage = self.stages.codes(deals.stage)
        in_stage = (deals.at - deals.entered) / self.step
        coarse = np.searchsorted(_COARSE_AGES, in_stage, side="right")
        value = self._value(deals)
        return [
            stage,
            self.pipelines.codes(deals.pipeline),
            np.searchsorted(_AGES, in_stage, side="right"),
            stage * (len(_COARSE_AGES) + 1) + coarse,
            np.searchsorted(_AGES, (deals.at - deals.added) / self.step, side="right"),
            value,
            self._size(value) * (len(_COARSE_AGES) + 1) + coarse,
            self.owners.codes(deals.owner),
            np.minimum(deals.moves_back, 2),
            *self._dated(deals),
        ]

    def _dated(self, deals: OpenDeals) -> Iterator[Ints]:
        """Yield the levels of activities and of line items, where these are given."""
        activity, items = deals.activity, deals.line_items
        if self.has_activity and activity is not None:
            yield self._waited(activity.since_done, _SINCE_DONE)
            yield np.searchsorted(_RECENT, activity.recent, side="right")
            yield self._waited(activity.waiting, _WAITING)
        if self.products is not None and items is not None:
            yield np.searchsorted(_LINE_ITEMS, items.number, side="right")
            yield self.products.codes(items.product)

    def _waited(self, time: Ints, bounds: Floats) -> Ints:
        """Return 0 for none, else 1 and the number of bounds that a length of time has reached."""
        none = time == NULL
        steps = np.where(none, 0, time) / self.step
        return np.where(none, 0, 1 + np.searchsorted(bounds, steps, side="right"))

    def observed(self, deals: OpenDeals) -> Observed:
        """Return deals with what is the same in all of their intervals."""
        times, time = np.unique(deals.at, return_inverse=True)
        middle = times[:, None] + (np.append(0, self.ends[:-1]) + self.ends) // 2
        day = local_days(middle.ravel(), self.tz)
        clock = (day + middle.ravel() - midnights(day, self.tz)).reshape(middle.shape)
        month = clock.view("datetime64[us]").astype("datetime64[M]").astype(np.int64) % 12
        return Observed(deals, self.fixed(deals), time, clock, month)

    def varying(self, observed: Observed, row: Ints, interval: Ints) -> list[Ints]:
        """Return the level of each feature that differs by interval: for rows of deals and
        intervals.
        """
        deals, fixed = observed.deals, observed.fixed
        spans = _spans(self.ends)
        span = np.searchsorted(spans, interval, side="right") - 1
        begin = np.append(0, self.ends[:-1])[interval]
        close = np.zeros(len(row), np.int64)
        if self.has_close:
            expected = deals.expected_close[row]
            known = expected != NULL
            until = np.where(known, expected + 1, 0) * DAY
            until = until - observed.clock[observed.time[row], interval]
            close = np.where(known, np.searchsorted(_CLOSE, until, side="right") + 1, 0)
        month = observed.month[observed.time[row], interval]
        # A longer interval lies in several months.
        short = self.ends[interval] - begin <= self.step
        result = [
            interval,
            fixed[_STAGE][row] * len(spans) + span,
            self._size(fixed[_VALUE])[row] * len(spans) + span,
            close,
            np.where(short, month % 3 + 1, 0),
            np.where(short & self.has_months, month + 1, 0),
        ]
        if self.has_activity and deals.activity is not None:
            # What was done lately says less of later intervals.
            size = self._waited(deals.activity.since_done, _LATELY)
            result.append(size[row] * len(spans) + span)
        return result

    @staticmethod
    def _size(value: Ints) -> Ints:
        """Return 0 for no value, else 1 and the rank of a group of levels of values."""
        return np.searchsorted(_SIZES, value, side="right")

    @property
    def value_sizes(self) -> int:
        """How many sizes `value_size` tells apart."""
        return 2 + (len(_VALUE_CUTS) + 2) // 2

    def value_size(self, deals: OpenDeals) -> Ints:
        """Return 0 for an unknown value or currency, 1 for none or a credit, else 2 and the rank of
        a pair of levels among those of its currency.
        """
        value = self._value(deals)
        return np.where(value < 2, value, 1 + value // 2)

    def _value(self, deals: OpenDeals) -> Ints:
        """Return 0 for an unknown value or currency, 1 for none or a credit, else 2 and the rank
        among those of its currency.
        """
        result = np.where(deals.value <= 0, 1, 0)
        for number, currency in enumerate(self.currencies):
            own = (deals.currency == currency) & (deals.value > 0)
            bounds = self.value_bounds[number]
            result[own] = 2 + np.searchsorted(bounds[1:], deals.value[own], side="right")
        return result


def _mostly(known: Flags) -> bool:
    return bool(len(known)) and int(known.sum()) >= _LEAST_KNOWN * len(known)


def _spans(ends: Ints) -> Ints:
    """Return the first interval of each group of intervals of which stages differ: four or less."""
    first = np.array([0, 2, 4, 7], np.int64)
    return first[first < len(ends)]


def _value_bounds(deals: OpenDeals) -> tuple[tuple[str, ...], Floats]:
    """Return the currencies with enough values, and the bounds of the levels of each: the first is
    0.
    """
    positive = deals.value > 0
    rows = np.flatnonzero(positive)
    if not _mostly(~np.isnan(deals.value)) or not len(rows):
        return (), np.zeros((0, len(_VALUE_CUTS) + 1))
    words = deals.currency[rows]
    known = np.array([word is not None for word in words], bool)
    names, place = np.unique(words[known].astype("U"), return_inverse=True)
    rows = rows[known]
    counts = np.bincount(place, minlength=len(names))
    kept, bounds = [], []
    for number in np.flatnonzero(counts >= 5 * _LEAST_ROWS):
        values = np.sort(deals.value[rows[place == number]])
        cuts = values[[int(len(values) * cut) for cut in _VALUE_CUTS]]
        kept.append(str(names[number]))
        bounds.append(np.append(0.0, cuts))
    return tuple(kept), np.array(bounds, np.float64).reshape(len(kept), len(_VALUE_CUTS) + 1)


__all__ = ["Design", "Feature", "Levels"]

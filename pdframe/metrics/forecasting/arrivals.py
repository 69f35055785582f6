"""Deals that do not exist yet: how many will be created, when they will be won, and their value
then.

Wins of new deals within a few months are the quick ones, which are smaller. Age and value at
winning are therefore one draw: a past win stands for both. The probability of a win at that age
comes from all deals created, won or not (Aalen-Johansen), so that deals that are still open count
as what they are: not yet known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pdframe.metrics._arguments import local_days
from pdframe.metrics._columns import places
from pdframe.metrics._periods import Frequency
from pdframe.metrics._survival import Flags, Floats, Ints, aalen_johansen
from pdframe.metrics.forecasting._interface import DAY, LOST, WON, OpenDeals
from pdframe.metrics.forecasting.cells import Cells, month_edges, overlap
from pdframe.metrics.forecasting.departures import MONTHS, Departures, month_of
from pdframe.metrics.forecasting.draws import ARRIVALS, WINS, generator, recentred
from pdframe.metrics.forecasting.money import Money, rounded

if TYPE_CHECKING:
    from pdframe.metrics.forecasting.known import Known

MEMORY = 0.85
"""Weight of a month's count relative to that of the month after it."""
DAMPING = 0.85
"""Share of the growth of one month that the next one has."""
MOST_GROWTH = 0.1
SEASON_YEARS = 2
STEADY = 20
"""New deals that the trend counts as against those of the latest months."""
PRIOR_LEVEL, PRIOR_GROWTH, PRIOR_BEND, PRIOR_SEASON = 10.0, 0.4, 0.15, 0.2
"""Standard deviations that effects on the logarithm are expected to have: of the level, of a year's
growth, of its change from one year to the next, of a month of the year.
"""
MONTH = 30.4375 * DAY
RECENT = 730 * DAY
"""Deals created in this time show how new deals are won, where it has enough wins."""
ENOUGH_WINS = 50
OWN_WINS = 10
"""Wins from which on a pipeline has an estimate of its own."""
LATE_ENTRY = 31 * DAY
"""A deal that was won before it was created, by no more than this, was entered when it was won."""
_MONTHS = Frequency("M")
BULK = 20
"""Deals created in one instant from which on they are an import, not new business."""


@dataclass(frozen=True, slots=True, eq=False)
class Rate:
    """Expected number of new deals.

    Parameters
    ----------
    expected
        Of each pool (rows) in each cell (columns).
    spread
        Variance of the factor by which the number of a cell varies beyond a Poisson number.
    """

    expected: Floats
    spread: float


@dataclass(frozen=True, slots=True, eq=False)
class NewWins:
    """The wins of deals that are created after `as_of`.

    Parameters
    ----------
    created
        Expected number of new deals in each cell.
    spread
        As in `Rate`.
    deal
        Id of the past win that stands for age and value; ascending.
    value
        Its value, in units.
    expected
        Expected number of wins like it: past wins x pairs of cells.
    arrival, win
        The two cells of each pair: where the deal is created, and where it is won.
    day
        First day of each cell.
    """

    created: Floats
    spread: float
    deal: Ints
    value: Ints
    expected: Floats
    arrival: Ints
    win: Ints
    day: Ints

    def none(self) -> NewWins:
        """Return the same without any new deal."""
        return replace(
            self,
            created=np.zeros_like(self.created),
            deal=self.deal[:0],
            value=self.value[:0],
            expected=self.expected[:0],
        )

    @property
    def by_cell(self) -> Floats:
        """Expected wins like each past win (rows) in each cell (columns)."""
        result = np.zeros((len(self.deal), len(self.created)))
        for pair, cell in enumerate(self.win):
            result[:, cell] += self.expected[:, pair]
        return result

    def chances(self) -> Floats:
        """Return the probability of a deal created in a cell (rows) to be won by the end of each
        cell (columns).
        """
        count = len(self.created)
        result = np.zeros((count, count))
        result[self.arrival, self.win] = self.expected.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            result = np.where(
                self.created[:, None] > 0, np.cumsum(result, axis=1) / self.created[:, None], 0.0
            )
        return np.minimum(result, 1.0)

    def drawn(self, seed: int, factors: Floats, common_sd: float) -> list[tuple[int, Ints, Ints]]:
        """Return the drawn wins of each pair of cells: the cell of the win, the draw and the past
        win that each one is like.
        """
        draws = len(factors)
        hazards = recentred(self.chances(), common_sd)
        result = []
        for pair, (arrival, win) in enumerate(
            zip(self.arrival.tolist(), self.win.tolist(), strict=True)
        ):
            if not self.created[arrival] or not self.expected[:, pair].any():
                continue
            first = int(self.day[arrival])
            before = hazards[arrival, win - 1] if win > arrival else 0.0
            left = np.exp(-factors * before) - np.exp(-factors * hazards[arrival, win])
            number = np.full(draws, self.created[arrival])
            if self.spread > 0:
                shape = 1 / self.spread
                number *= generator(seed, ARRIVALS, 0, first).gamma(shape, self.spread, draws)
            random = generator(seed, WINS, 0, first, int(self.day[win]))
            counts = random.poisson(number * np.maximum(left, 0.0))
            limits = np.cumsum(self.expected[:, pair])
            uniform = random.random(int(counts.sum())) * limits[-1]
            like = np.searchsorted(limits, uniform, side="right")
            like = np.minimum(like, len(limits) - 1)
            result.append((win, np.repeat(np.arange(draws), counts), like))
        return result


def new_wins(known: Known, cells: Cells, money: Money, units: int) -> NewWins:
    """Estimate the wins of deals that are created in these cells, from what is known before
    them.
    """
    sample = _Sample.of(known, int(cells.end[-1]) - cells.begin)
    rate = new_deals(sample.added, sample.pool, sample.pools, known.as_of, cells, known.tz)
    won = np.flatnonzero(sample.followed & (sample.cause == 1))
    age, pool = sample.age[won], sample.pool[won]
    arrival, win = np.triu_indices(len(cells))
    start, end = cells.start, cells.end
    inside = overlap(
        start[arrival], end[arrival], start[win] - age[:, None], end[win] - age[:, None]
    )
    expected = sample.weights(won)[:, None] * rate.expected[pool][:, arrival] * inside
    expected *= _factors(sample, known, cells)[win]
    # However large the factor, a deal is won once.
    created = rate.expected.sum(axis=0)
    won_of = np.bincount(arrival, expected.sum(axis=0))
    most = np.divide(created, won_of, out=np.ones_like(created), where=won_of > created)
    expected *= most[arrival]
    kept = expected.any(axis=1)
    value, _ = money.counted(sample.value[won][kept], sample.currency[won][kept])
    return NewWins(
        created,
        rate.spread,
        sample.deal[won][kept],
        rounded(value, units),
        expected[kept],
        arrival,
        win,
        cells.day,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Sample:
    """Deals as they were created, imports left out, and what became of them, by id.

    Parameters
    ----------
    deal, added, age
        Id; when created; how long after that it ended, or how long it is observed.
    pool, pools
        Deals of one pool are alike: their pipeline, or all pipelines with few wins.
    cause
        1: won; 2: ended otherwise; 0: open.
    followed
        Whether it counts for what becomes of deals, not only for how many are created.
    value, currency
        At winning.
    """

    deal: Ints
    added: Ints
    age: Ints
    pool: Ints
    pools: int
    cause: Ints
    followed: Flags
    value: Floats
    currency: NDArray[np.object_]

    @classmethod
    def of(cls, known: Known, reach: int) -> _Sample:
        created, wins = known.created, known.wins
        rows = np.argsort(created.deal, kind="stable")
        rows = rows[~_bulk(created.added[rows])]
        deal, added, pipeline = (
            values[rows] for values in (created.deal, created.added, created.pipeline)
        )
        place = places(deal, wins.deal)
        there = place >= 0
        place = place[there]
        end, cause = _endings(known, deal, added)
        end[place], cause[place] = wins.time[there], 1
        value = np.full(len(deal), np.nan)
        currency = np.full(len(deal), None, object)
        value[place], currency[place] = wins.value[there], wins.currency[there]
        followed = end >= added - LATE_ENTRY
        recent = followed & (added >= known.as_of - max(RECENT, 2 * reach))
        if int((recent & (cause == 1)).sum()) >= ENOUGH_WINS:
            followed = recent
        pool, pools = _pools(pipeline, followed & (cause == 1))
        age = np.maximum(end - added, 0)
        return cls(deal, added, age, pool, pools, cause, followed, value, currency)

    def weights(self, won: Ints) -> Floats:
        """Return the probability of a new deal to be won like each of these past wins."""
        rows = np.flatnonzero(self.followed)
        days = self.age / DAY
        curves = aalen_johansen(days[rows], self.cause[rows], self.pool[rows], self.pools)
        result = np.zeros(len(won))
        for pool in range(self.pools):
            own = self.pool[won] == pool
            start, end = curves.start[pool : pool + 2]
            step = np.diff(curves.estimate[start:end], prepend=0.0)
            place = np.searchsorted(curves.time[start:end], days[won][own])
            result[own] = step[place] / curves.events[start:end][place]
        return result


def _factors(sample: _Sample, known: Known, cells: Cells) -> Floats:
    """Return the factor on the wins in each cell that those of past months suggest: how they
    departed from what the same deals would have brought had nothing changed in time.
    """
    edges = np.append(month_edges(known.as_of, known.tz, 1 - MONTHS, 0), known.as_of + 1)
    rows = np.flatnonzero(sample.followed)
    # From the youngest, so that each search finds its ages in order.
    rows = rows[np.argsort(-sample.added[rows], kind="stable")]
    added, age, pool, cause = (
        values[rows] for values in (sample.added, sample.age, sample.pool, sample.cause)
    )
    curves = aalen_johansen(age / DAY, cause, pool, sample.pools)
    won_by = np.zeros(len(edges))
    for number in range(sample.pools):
        start, end = curves.start[number : number + 2]
        share = np.append(0.0, curves.estimate[start:end])
        own = added[pool == number]
        for place, edge in enumerate(edges.tolist()):
            ages = (edge - 1 - own) / DAY
            won_by[place] += share[np.searchsorted(curves.time[start:end], ages, "right")].sum()
    at = np.searchsorted(edges, (added + age)[cause == 1], side="right") - 1
    inside = (at >= 0) & (at < len(edges) - 1)
    actual = np.bincount(at[inside], minlength=len(edges) - 1).astype(np.float64)
    learned = Departures.of(actual, np.diff(won_by), month_of(known.as_of, known.tz))
    return learned.between(np.append(cells.begin, cells.end), known.tz)


def _endings(known: Known, deal: Ints, added: Ints) -> tuple[Ints, Ints]:
    """Return when each deal ended without a win, `as_of` where it is open, and 2 or 0."""
    nothing = np.zeros(len(deal), np.int64)
    none = np.full(len(deal), None, object)
    as_created = OpenDeals(
        deal,
        added,
        nothing,
        nothing,
        added,
        added,
        np.full(len(deal), np.nan),
        none,
        nothing,
        nothing,
        nothing,
    )
    outcome = known.outcomes(as_created)
    open_now = np.isin(deal, known.open_at(np.array([known.as_of])).deal)
    # A win that does not stand was undone: the deal was lost or deleted since, at a time that its
    # first closing bounds.
    ended = (outcome.kind == LOST) | (outcome.kind == WON)
    ended &= ~open_now
    return np.where(ended, outcome.time, known.as_of), np.where(ended, 2, 0)


def _bulk(added: Ints) -> Flags:
    """Return which deals were created in the same second as many others."""
    second = added // 1_000_000
    _, inverse, count = np.unique(second, return_inverse=True, return_counts=True)
    return np.asarray(count[inverse] >= BULK, np.bool_)


def _pools(pipeline: Ints, won: Flags) -> tuple[Ints, int]:
    """Return the pool of each deal: its pipeline, or the one of all pipelines with few wins."""
    ids, own = np.unique(pipeline, return_inverse=True)
    wins = np.bincount(own[won], minlength=len(ids))
    large = wins >= OWN_WINS
    number = np.where(large, np.cumsum(large) - 1, int(large.sum()))
    return number[own].astype(np.int64), max(int(large.sum()) + bool((~large).any()), 1)


def new_deals(
    added: Ints, pool: Ints, pools: int, as_of: int, cells: Cells, tz: str = "UTC"
) -> Rate:
    """Estimate the number of new deals from the months before: their trend and season, the level
    corrected by the latest months, and growth that fades.
    """
    months = _past_months(as_of, tz)
    begin = added.min() if len(added) else as_of
    # The month in which the first deal was created is partly empty, unless it is all there is.
    months = months[min(int(np.searchsorted(months, begin)), len(months) - 2) :]
    days = np.diff(months) / DAY
    counts = np.zeros((pools, len(days)))
    where = np.searchsorted(months, added, side="right") - 1
    inside = (where >= 0) & (where < len(days))
    np.add.at(counts, (pool[inside], where[inside]), 1)
    total, age = counts.sum(axis=0), (months[-1] - (months[:-1] + months[1:]) / 2) / MONTH
    trend = _Trend.of(total, days, age, _calendar(months[:-1], tz))
    weight = MEMORY**age
    recent, fitted = float((total * weight).sum()), float((trend.mean * weight).sum())
    prior = STEADY * trend.dispersion
    level = trend.level * (recent + prior) / (fitted + prior)
    share = (counts * weight).sum(axis=1) / recent if recent else np.zeros(pools)
    ahead = _ahead(cells, trend.growth, trend.season[_calendar((cells.start + cells.end) // 2, tz)])
    return Rate((share * level)[:, None] * ahead, _spread(total, trend.mean))


def _ahead(cells: Cells, growth: float, season: Floats) -> Floats:
    """Return the days of each cell, weighted with growth and its season."""
    result = np.zeros(len(cells))
    for cell, (start, end) in enumerate(zip(cells.start, cells.end, strict=True)):
        middle = (int(start) + int(end)) // 2
        ahead = (middle - cells.begin) / MONTH
        grown = growth * DAMPING * (1 - DAMPING**ahead) / (1 - DAMPING)
        result[cell] = (end - start) / DAY * np.exp(grown) * season[cell]
    return result


def _past_months(as_of: int, tz: str) -> Ints:
    """Return the first instants of the months up to `as_of`, and the instant after it."""
    edges = month_edges(as_of, tz, -MONTHS, 0)
    # A month that has just begun is no evidence: its days join the month before.
    if as_of + 1 - edges[-1] < 7 * DAY:
        edges = edges[:-1]
    return np.append(edges, as_of + 1)


def _calendar(times: Ints, tz: str) -> Ints:
    """Return the month of the year of each time, from 0."""
    return _MONTHS.numbers(local_days(times, tz) // DAY) % 12


@dataclass(frozen=True, slots=True, eq=False)
class _Trend:
    """The number of new deals over the past months.

    Parameters
    ----------
    mean
        Fitted number of each month.
    level
        New deals a day at the end, in a month without a season.
    growth
        Growth of its logarithm per month at the end.
    season
        Factor of each month of the year.
    dispersion
        How many times its mean the variance of a count is around the fit, at least 1.
    """

    mean: Floats
    level: float
    growth: float
    season: Floats
    dispersion: float

    @classmethod
    def of(cls, counts: Floats, days: Floats, age: Floats, calendar: Ints) -> _Trend:
        """Fit a line that may bend to the logarithm of the daily number, and from two years on
        seasons; all but the level are shrunk to none as far as chance explains them.
        """
        years = age / 12
        columns = [np.ones(len(age)), -years, years**2]
        spreads = [PRIOR_LEVEL, PRIOR_GROWTH, PRIOR_BEND]
        if len(counts) >= 12 * SEASON_YEARS:
            columns += [(calendar == month).astype(np.float64) for month in range(12)]
            spreads += [PRIOR_SEASON] * 12
        table, prior = np.array(columns), np.diag(1 / np.array(spreads) ** 2)
        centre = np.log(max(counts.sum(), 0.5) / days.sum())
        dispersion, effects = 1.0, np.zeros(len(table))
        mean = days * np.exp(centre)
        # Newton's steps of a Poisson regression.
        for _ in range(8):
            linear = np.log(mean / days) - centre
            target, weight = linear + (counts - mean) / mean, mean / dispersion
            left = np.einsum("ai,bi,i->ab", table, table, weight) + prior
            effects = np.linalg.solve(left, np.einsum("ai,i,i->a", table, weight, target))
            mean = days * np.exp(centre + np.clip(np.einsum("a,ai->i", effects, table), -9, 9))
            free = max(len(counts) - 2, 1)
            dispersion = max(1.0, float(((counts - mean) ** 2 / mean).sum()) / free)
        season = np.exp(effects[3:]) if len(effects) > 3 else np.ones(12)
        growth = float(np.clip(effects[1] / 12, -MOST_GROWTH, MOST_GROWTH))
        return cls(mean, float(np.exp(centre + effects[0])), growth, season, dispersion)


def _spread(counts: Floats, mean: Floats) -> float:
    """Return the variance of the counts beyond Poisson's, relative to the squared mean; months
    without evidence count as none.
    """
    square = float((mean**2).sum())
    if square == 0:
        return 0.0
    excess = float(((counts - mean) ** 2 - mean).sum()) / square
    return max(0.0, excess) * len(counts) / (len(counts) + 6)


__all__ = ["NewWins", "Rate", "new_deals", "new_wins"]

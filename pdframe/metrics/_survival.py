"""Survival estimates of many groups at once: Kaplan-Meier, Aalen-Johansen, their 95 % intervals,
and Wilson's interval.

Everything is numpy, vectorised over groups: no loop over rows, and none over short groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

Z95 = NormalDist().inv_cdf(0.975)

# Estimates are products of many floats: 0.5000000000000001 is one half. Two steps of a curve of n
# rows lie at least 1/n apart.
_SAME = 1e-9
# Estimates this close to 0 or 1 are 0 or 1.
_EDGE = 1e-13

# Groups of more rows are added up one after the other, shorter ones side by side.
_LONG = 64


@dataclass(frozen=True, slots=True)
class Curves:
    """Step functions of all groups: one row per group and distinct time at which a subject left or
    was censored.

    The rows of group g are `start[g]:start[g + 1]`, by time. Estimates hold from their time on
    (right-continuous).

    Parameters
    ----------
    start
        Where each group's rows begin, and the end: one more than the number of groups.
    group
        The group of each row.
    time
        Days.
    at_risk
        Under observation just before `time`: those with entry < time <= duration.
    events
        Events (Aalen-Johansen: of the cause of interest) at `time`.
    estimate
        Kaplan-Meier: the probability to last longer than `time`. Aalen-Johansen: that of the event
        up to `time`.
    std_error
        Its standard error; NaN where the variance is undefined.
    low, high
        95 %, log-log; NaN where the variance or the transform is undefined (an estimate of 0 or 1).
    remaining
        Kaplan-Meier estimate of all causes together. Where it is 0, the curve is known for all
        times.
    initial
        The estimate before the first time: 1 or 0.
    """

    start: Ints
    group: Ints
    time: Floats
    at_risk: Ints
    events: Ints
    estimate: Floats
    std_error: Floats
    low: Floats
    high: Floats
    remaining: Floats
    initial: float

    @property
    def last(self) -> Floats:
        """The end of each group's follow-up, NaN for groups without rows."""
        return self._at_row(self.time, self.start[1:] - 1, self.start[1:] > self.start[:-1])

    def at(self, horizons: ArrayLike) -> tuple[Floats, Floats, Floats]:
        """Return estimate and interval of each group at its horizon (one for all, or one per
        group).

        Before the first time the estimate is `initial` with a null interval. Past the end of the
        follow-up it is null, unless none remains there.
        """
        horizon = self._each(horizons)
        seen = self._count(self.time <= horizon[self.group])
        has = self.start[1:] > self.start[:-1]
        row, known = self.start[:-1] + seen - 1, has & self.identified(horizon)
        inside = known & (seen > 0)
        estimate = np.where(
            known & (seen == 0), self.initial, self._at_row(self.estimate, row, inside)
        )
        return estimate, self._at_row(self.low, row, inside), self._at_row(self.high, row, inside)

    def identified(self, horizons: ArrayLike) -> Flags:
        """Return whether each group's follow-up reaches its horizon, or none remains at its end."""
        ended = (
            self._at_row(self.remaining, self.start[1:] - 1, self.start[1:] > self.start[:-1]) == 0
        )
        horizon = self._each(horizons)
        return np.asarray(~np.isnan(horizon) & ((horizon <= self.last) | ended), np.bool_)

    def quantile(self, p: float) -> tuple[Floats, Floats, Floats]:
        """Return the time by which a share `p` of each group has left, with its interval;
        Kaplan-Meier alone.

        The first time at which the curve is at or under 1 - p; NaN where it is never. Limits: the
        first times at which the lower and the upper limit of the curve are (R. Brookmeyer, J.
        Crowley, Biometrics 38, 1982, on the log-log band); NaN where they are never.
        """
        level = 1 - p + _SAME
        return (
            self._first(self.estimate <= level),
            self._first(self.low <= level),
            self._first(self.high <= level),
        )

    def restricted_mean(self, horizons: ArrayLike) -> Floats:
        """Return the mean of min(time, horizon) of each group: the area under its Kaplan-Meier
        curve; NaN where the horizon is not `identified`.
        """
        horizon = self._each(horizons)
        known = self.identified(horizon)
        limit = np.where(known, horizon, 0.0)
        limits, last = limit[self.group], np.zeros(len(self.time), bool)
        last[self.start[1:][self.start[1:] > self.start[:-1]] - 1] = True
        until = np.append(self.time[1:], 0.0)
        until[last] = np.inf
        width = np.minimum(until, limits) - np.minimum(self.time, limits)
        area = np.bincount(self.group, self.estimate * width, len(horizon))
        first = self._at_row(self.time, self.start[:-1], self.start[1:] > self.start[:-1])
        return np.where(known, area + np.minimum(first, limit), np.nan)

    def horizon(self, least_at_risk: ArrayLike) -> Floats:
        """Return the longest time of each group at which at least that many are still at risk; NaN
        where there is none.
        """
        least = self._each(least_at_risk)
        rows = np.flatnonzero(self.at_risk >= least[self.group])
        last = np.searchsorted(rows, self.start[1:]) - 1
        some = (
            (last >= 0) & (rows[last] >= self.start[:-1])
            if len(rows)
            else np.zeros(len(least), bool)
        )
        return self._at_row(self.time, rows[last] if len(rows) else last, some)

    def _each(self, values: ArrayLike) -> Floats:
        return np.broadcast_to(np.asarray(values, np.float64), (len(self.start) - 1,))

    def _count(self, mask: Flags) -> Ints:
        total = np.concatenate(([0], np.cumsum(mask)))
        return np.asarray(total[self.start[1:]] - total[self.start[:-1]], np.int64)

    def _first(self, mask: Flags) -> Floats:
        rows = np.flatnonzero(mask)
        if not len(rows):
            return np.full(len(self.start) - 1, np.nan)
        first = np.searchsorted(rows, self.start[:-1])
        row = rows[np.minimum(first, len(rows) - 1)]
        return self._at_row(self.time, row, (first < len(rows)) & (row < self.start[1:]))

    def _at_row(self, values: Floats, row: Ints, where: Flags) -> Floats:
        result = np.full(len(self.start) - 1, np.nan)
        result[where] = values[row[where]]
        return result


def kaplan_meier(
    duration: ArrayLike,
    event: ArrayLike,
    group: ArrayLike,
    groups: int,
    *,
    entry: ArrayLike | None = None,
) -> Curves:
    """Estimate Kaplan-Meier survival with Greenwood's variance and log-log 95 % intervals, for
    every group.

    Parameters
    ----------
    duration
        Days until the event or until censoring, 0 or more.
    event
        Whether it is the event.
    group
        Number of each row's group, from 0 to `groups` - 1.
    groups
        Number of groups; one without rows has an empty curve.
    entry
        Days from which on a row was under observation (delayed entry): at risk at entry < t <=
        duration. 0, less, or NaN: from the start, 0 days included. A row whose entry is not before
        its duration was never at risk and counts nowhere.

    Returns
    -------
    Curves
        The probability to last longer than each time.

    Notes
    -----
    S(t) is the product of 1 - d/n over the times of events up to t (E. L. Kaplan, P. Meier, JASA
    53, 1958); its variance is S^2 times the sum of d / (n (n - d)) (Greenwood 1926), undefined once
    S is 0. Interval: S to the power of exp(+-1.96 se / (S |log S|)).
    """
    steps = _steps(duration, np.asarray(event, np.bool_), group, groups, entry)
    survival = _survival(steps, steps.events)[1]
    std_error = survival * np.sqrt(steps.running(_greenwood(steps.events, steps.at_risk)))
    low, high = _log_log(survival, std_error)
    std_error[survival == 0] = np.nan
    return Curves(
        steps.start,
        steps.group,
        steps.time,
        steps.at_risk,
        steps.events,
        survival,
        std_error,
        low,
        high,
        survival,
        1.0,
    )


def aalen_johansen(
    duration: ArrayLike,
    cause: ArrayLike,
    group: ArrayLike,
    groups: int,
    *,
    entry: ArrayLike | None = None,
) -> Curves:
    """Estimate the cumulative incidence of cause 1 in the presence of other causes, with log-log 95
    % intervals, for every group.

    Parameters
    ----------
    duration, group, groups, entry
        As in `kaplan_meier`.
    cause
        0: censored, 1: the event of interest, 2 and more: competing events.

    Returns
    -------
    Curves
        The probability that cause 1 happened up to each time; `events` are those of cause 1.

    Notes
    -----
    F(t) is the sum of S(u-) d1(u)/n(u) over u up to t, with S the Kaplan-Meier estimate of all
    causes together (O. Aalen, S. Johansen, Scand. J. Stat. 5, 1978). Variance by the delta method
    (G. E. Dinse, M. G. Larson, Biometrika 73, 1986; E. Marubini, M. G. Valsecchi 1995): the sum
    over u up to t of (F(t) - F(u))^2 d/(n (n - d)) + S(u-)^2 (n - d1) d1/n^3 - 2 (F(t) - F(u))
    S(u-) d1/n^2. Where all at risk leave at once (d = n) its first part is 0, since the curve is
    flat from there: without censoring the variance is the binomial one, to the end. Interval:
    log(-log) of 1 - F, so that without competing events it is that of Kaplan-Meier but for the
    variance at the end.
    """
    causes = np.asarray(cause)
    steps = _steps(duration, causes != 0, group, groups, entry, causes == 1)
    before, remaining = _survival(steps, steps.all_events)
    at_risk, events = steps.at_risk.astype(np.float64), steps.events.astype(np.float64)
    share = before * events / at_risk
    incidence = np.where(
        steps.counted(steps.events) > 0, np.clip(steps.running(share), 0.0, 1.0), 0.0
    )
    hazard = _greenwood(steps.all_events, steps.at_risk)
    variance = incidence**2 * steps.running(hazard)
    variance -= 2 * incidence * steps.running(incidence * hazard)
    variance += steps.running(incidence**2 * hazard)
    variance += steps.running(share * before * (at_risk - events) / at_risk**2)
    share /= at_risk
    variance -= 2 * incidence * steps.running(share)
    variance += 2 * steps.running(incidence * share)
    std_error = np.sqrt(np.maximum(variance, 0.0))
    lower, upper = _log_log(1 - incidence, std_error)
    return Curves(
        steps.start,
        steps.group,
        steps.time,
        steps.at_risk,
        steps.events,
        incidence,
        std_error,
        1 - upper,
        1 - lower,
        remaining,
        0.0,
    )


def wilson(successes: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """Return Wilson's 95 % interval of a proportion (E. B. Wilson, JASA 22, 1927); NaN where `n` is
    0.
    """
    k, size = np.asarray(successes, np.float64), np.asarray(n, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = (k + Z95**2 / 2) / (size + Z95**2)
        half = Z95 / (size + Z95**2) * np.sqrt(k * (size - k) / size + Z95**2 / 4)
    # At 0 and n the limits are 0 and 1; rounding must not exceed them.
    low = np.where(k == 0, 0.0, centre - half)
    high = np.where(k == size, 1.0, centre + half)
    return np.where(size > 0, low, np.nan), np.where(size > 0, high, np.nan)


@dataclass(frozen=True, slots=True)
class _Steps:
    """Counts at the distinct times of every group."""

    start: Ints
    group: Ints
    time: Floats
    at_risk: Ints
    all_events: Ints
    events: Ints

    def running(self, values: Floats) -> Floats:
        """Return cumulative sums that restart in every group, bit by bit those of the group
        alone: an account that is split by group gives the same curves.
        """
        total = values.copy()
        size = np.diff(self.start)
        long, short = (self.start[:-1][which] for which in (size > _LONG, size <= _LONG))
        for first, rows in zip(long.tolist(), size[size > _LONG].tolist(), strict=True):
            np.cumsum(values[first : first + rows], out=total[first : first + rows])
        size = size[size <= _LONG]
        for step in range(1, int(size.max(initial=0))):
            row = short[size > step] + step
            total[row] += total[row - 1]
        return total

    def counted(self, values: Ints) -> Ints:
        """Return cumulative counts that restart in every group."""
        total = np.cumsum(values)
        before = np.concatenate(([0], total))[self.start[:-1]]
        return np.asarray(total - before[self.group], np.int64)


def _steps(
    duration: ArrayLike,
    event: Flags,
    group: ArrayLike,
    groups: int,
    entry: ArrayLike | None,
    of_interest: Flags | None = None,
) -> _Steps:
    days, codes = np.asarray(duration, np.float64), np.asarray(group, np.int64)
    wanted = event if of_interest is None else of_interest
    late = np.zeros(0)
    late_codes = np.zeros(0, np.int64)
    if entry is not None:
        begin = np.asarray(entry, np.float64)
        delayed = begin > 0
        if delayed.any():
            seen = ~(delayed & (begin >= days))
            late, late_codes = begin[delayed & seen], codes[delayed & seen]
            days, codes, event, wanted = days[seen], codes[seen], event[seen], wanted[seen]
    order = _by_group_and_time(days, codes)
    days, codes = days[order], codes[order]
    new = np.ones(len(days), np.bool_)
    new[1:] = (days[1:] != days[:-1]) | (codes[1:] != codes[:-1])
    rows = np.flatnonzero(new)
    time, of = days[rows], codes[rows]
    start = np.searchsorted(of, np.arange(groups + 1))
    size = np.bincount(codes, minlength=groups)
    # At risk from the start: those of the group that have not left before this time.
    at_risk = np.cumsum(size)[of] - rows
    if len(late):
        at_risk -= _not_yet(late, late_codes, time, of)
    all_events = _sums(event[order], rows)
    events = all_events if of_interest is None else _sums(wanted[order], rows)
    return _Steps(start, of, time, at_risk, all_events, events)


def _not_yet(entry: Floats, entry_group: Ints, time: Floats, group: Ints) -> Ints:
    """Return how many of each time's group enter at or after that time."""
    order = _by_group_and_time(entry, entry_group)
    # Merged by group and time, a time before the entries that equal it: each time follows the
    # entries before it.
    merged = np.lexsort(
        (
            np.repeat([0, 1], [len(time), len(entry)]),
            np.concatenate((time, entry)),
            np.concatenate((group, entry_group)),
        )
    )
    is_time = merged < len(time)
    before = np.cumsum(~is_time)[is_time]
    until = np.searchsorted(entry_group[order], group, side="right")
    return np.asarray(until - before, np.int64)


def _by_group_and_time(time: Floats, group: Ints) -> Ints:
    order = np.argsort(time)
    return np.asarray(order[np.argsort(group[order], kind="stable")], np.int64)


def _sums(flags: Flags, rows: Ints) -> Ints:
    """Count the flags from each row to the next."""
    return np.add.reduceat(flags, rows, dtype=np.int64) if len(rows) else np.zeros(0, np.int64)


def _survival(steps: _Steps, events: Ints) -> tuple[Floats, Floats]:
    """Return Kaplan-Meier estimates just before and at each time."""
    empties = events == steps.at_risk
    kept = np.log1p(-np.where(empties, 0.0, events / steps.at_risk))
    log = steps.running(kept)
    emptied = steps.counted(empties.astype(np.int64))
    some = steps.counted(events)
    # Without an event it is exactly 1, not a rounded 1.
    after = np.where(some > 0, np.where(emptied > 0, 0.0, np.exp(log)), 1.0)
    before = np.where(
        some - events > 0, np.where(emptied - empties > 0, 0.0, np.exp(log - kept)), 1.0
    )
    return before, after


def _greenwood(events: Ints, at_risk: Ints) -> Floats:
    """Return the terms d / (n (n - d)) of Greenwood's sum; 0 where all leave at once."""
    visit = at_risk - events
    return np.where(visit > 0, events / (at_risk * np.maximum(visit, 1).astype(np.float64)), 0.0)


def _log_log(survival: Floats, std_error: Floats) -> tuple[Floats, Floats]:
    """Return 95 % limits of a survival probability on the scale log(-log); NaN at 0 and 1."""
    inside = (survival > _EDGE) & (survival < 1 - _EDGE)
    safe = np.where(inside, survival, 0.5)
    log = np.log(safe)
    spread = np.exp(Z95 * std_error / (safe * -log))
    return np.where(inside, np.exp(log * spread), np.nan), np.where(
        inside, np.exp(log / spread), np.nan
    )


__all__ = ["Curves", "aalen_johansen", "kaplan_meier", "wilson"]

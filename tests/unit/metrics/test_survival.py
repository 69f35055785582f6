"""Estimates held against published figures, statsmodels, and exact sums of fractions written out
here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from statsmodels.duration.survfunc import CumIncidenceRight, SurvfuncRight

from pdframe.metrics._survival import Curves, aalen_johansen, kaplan_meier, wilson

Z = 1.959963984540054
SETS = 1_000


class Sample(NamedTuple):
    """Rows of one group: integer times, the cause of the end (0: censored), and entries."""

    time: list[int]
    cause: list[int]
    entry: list[int]


def samples() -> Iterator[Sample]:
    """Random data with ties, among it single rows, no events, all events, one cause alone, rows
    never at risk, and gaps in follow-up.
    """
    random = np.random.default_rng(20260630)
    for number in range(SETS):
        n = 1 if number % 20 == 0 else int(random.integers(1, 40))
        causes = {0: 1, 1: 2, 2: 3}.get(number % 10, 4)
        cause = (
            random.integers(1 if number % 10 == 3 else 0, causes if causes > 1 else 2, n)
            if number % 10
            else np.zeros(n, int)
        )
        time = random.integers(0 if number % 7 == 0 else 1, random.integers(2, 25), n)
        entry = np.where(random.random(n) < 0.5, 0, random.integers(0, 20, n))
        yield Sample(time.tolist(), cause.tolist(), entry.tolist())


@pytest.fixture(scope="module")
def sets() -> list[Sample]:
    return list(samples())


def flat(sets: list[Sample]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All groups in one, in an order that mixes them."""
    rows = [(t, c, g, e) for g, one in enumerate(sets) for t, c, e in zip(*one, strict=True)]
    mixed = np.array(rows)[np.random.default_rng(1).permutation(len(rows))]
    return mixed[:, 0].astype(float), mixed[:, 1], mixed[:, 2], mixed[:, 3].astype(float)


def part(curves: Curves, group: int, name: str) -> np.ndarray:
    return getattr(curves, name)[curves.start[group] : curves.start[group + 1]]


class Step(NamedTuple):
    time: int
    at_risk: int
    events: int
    estimate: Fraction
    variance: Fraction | None
    remaining: Fraction


def exact_survival(sample: Sample) -> list[Step]:
    """Kaplan-Meier with Greenwood's variance, in fractions; at risk at t are those with entry < t
    <= time, or entry 0.
    """
    rows = [row for row in zip(*sample, strict=True) if row[2] == 0 or row[2] < row[0]]
    steps, survival, greenwood = [], Fraction(1), Fraction(0)
    for t in sorted({time for time, _, _ in rows}):
        n = sum(time >= t and (entry < t or entry == 0) for time, _, entry in rows)
        d = sum(time == t and cause > 0 for time, cause, _ in rows)
        survival *= 1 - Fraction(d, n)
        if n > d:
            greenwood += Fraction(d, n * (n - d))
        steps.append(
            Step(t, n, d, survival, survival**2 * greenwood if survival else None, survival)
        )
    return steps


def exact_incidence(sample: Sample) -> list[Step]:
    """Aalen-Johansen of cause 1 with the delta method's variance, in fractions, each sum as it
    stands in the books.
    """
    rows = [row for row in zip(*sample, strict=True) if row[2] == 0 or row[2] < row[0]]
    survival, incidence, steps = Fraction(1), Fraction(0), []
    past: list[tuple[int, int, int, Fraction, Fraction]] = []
    for t in sorted({time for time, _, _ in rows}):
        n = sum(time >= t and (entry < t or entry == 0) for time, _, entry in rows)
        d = sum(time == t and cause > 0 for time, cause, _ in rows)
        first = sum(time == t and cause == 1 for time, cause, _ in rows)
        incidence += survival * Fraction(first, n)
        past.append((n, d, first, survival, incidence))
        variance = Fraction(0)
        for m, deleted, own, before, then in past:
            if m > deleted:
                variance += (incidence - then) ** 2 * Fraction(deleted, m * (m - deleted))
            variance += before**2 * Fraction((m - own) * own, m**3) - 2 * (
                incidence - then
            ) * before * Fraction(own, m**2)
        survival *= 1 - Fraction(d, n)
        steps.append(Step(t, n, first, incidence, variance, survival))
    return steps


def limits(estimate: float, std_error: float) -> tuple[float, float]:
    """Log-log limits of a survival probability, as the books write them."""
    spread = Z * std_error / (estimate * math.log(estimate))
    bounds = estimate ** math.exp(spread), estimate ** math.exp(-spread)
    return min(bounds), max(bounds)


def covered(curves: Curves, group: int, steps: list[Step], *, incidence: bool) -> None:
    """A group's curve is the exact one to 1e-9, limits and nulls included."""
    assert part(curves, group, "time").tolist() == [step.time for step in steps]
    assert part(curves, group, "at_risk").tolist() == [step.at_risk for step in steps]
    assert part(curves, group, "events").tolist() == [step.events for step in steps]
    np.testing.assert_allclose(
        part(curves, group, "estimate"), [float(step.estimate) for step in steps], rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(
        part(curves, group, "remaining"),
        [float(step.remaining) for step in steps],
        rtol=0,
        atol=1e-9,
    )
    errors = [math.nan if step.variance is None else math.sqrt(step.variance) for step in steps]
    # Where the true error is 0, rounding leaves the root of 1e-17.
    np.testing.assert_allclose(
        np.square(part(curves, group, "std_error")), np.square(errors), rtol=0, atol=1e-12
    )
    some = np.array([error > 1e-3 for error in errors], bool)
    np.testing.assert_allclose(
        part(curves, group, "std_error")[some], np.array(errors)[some], rtol=0, atol=1e-9
    )
    for step, error, low, high in zip(
        steps, errors, part(curves, group, "low"), part(curves, group, "high"), strict=True
    ):
        if step.estimate in (0, 1):
            assert math.isnan(low)
            assert math.isnan(high)
        elif incidence:
            lower, upper = limits(1 - float(step.estimate), error)
            assert (low, high) == pytest.approx((1 - upper, 1 - lower), abs=1e-8)
        else:
            assert (low, high) == pytest.approx(limits(float(step.estimate), error), abs=1e-9)


def test_gehans_6_mp() -> None:
    remission = [6, 6, 6, 7, 10, 13, 16, 22, 23, 6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    curves = kaplan_meier(remission, [True] * 9 + [False] * 12, [0] * 21, 1)
    fell = curves.events > 0
    assert curves.time[fell].tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert curves.estimate[fell].round(4).tolist() == [
        0.8571,
        0.8067,
        0.7529,
        0.6902,
        0.6275,
        0.5378,
        0.4482,
    ]
    assert curves.at_risk[fell].tolist() == [21, 17, 15, 12, 11, 7, 6]
    median, low, high = curves.quantile(0.5)
    assert (median.tolist(), low.tolist()) == ([23.0], [13.0])
    assert np.isnan(high).all()
    # S(6) with its log-log interval, as Kalbfleisch and Prentice, and R's
    # survfit(conf.type="log-log"), print it.
    estimate, low, high = curves.at(6)
    assert (estimate[0], low[0], high[0]) == pytest.approx((0.857, 0.620, 0.952), abs=5e-4)


def test_published_cumulative_incidence() -> None:
    times, causes = [1, 5, 3, 6, 1, 3, 2, 5, 2, 3, 6], np.array([0, 1, 1, 1, 2, 1, 0, 1, 0, 2, 2])
    first = aalen_johansen(times, causes, [0] * 11, 1)
    assert [round(first.at(day)[0][0], 5) for day in (3, 5, 6)] == [0.25974, 0.51948, 0.64935]
    second = aalen_johansen(times, np.array([0, 2, 1])[causes], [0] * 11, 1)
    assert round(second.at(6)[0][0], 5) == 0.35065


def test_the_data_sets_are_of_every_kind(sets: list[Sample]) -> None:
    """So that the comparisons below compare something."""
    assert len(sets) == 1_000
    kinds = {
        "single rows": sum(len(one.time) == 1 for one in sets),
        "no events": sum(not any(one.cause) for one in sets),
        "all events": sum(all(one.cause) for one in sets),
        "all of one cause": sum(set(one.cause) == {1} for one in sets),
        "cause 1 never": sum(any(one.cause) and 1 not in one.cause for one in sets),
        "three causes": sum({1, 2, 3} <= set(one.cause) for one in sets),
        "ties of events": sum(
            len(set(at)) < len(at)
            for one in sets
            if (at := [t for t, c in zip(one.time, one.cause, strict=True) if c])
        ),
        "events tied with censoring": sum(
            bool(
                {t for t, c in zip(one.time, one.cause, strict=True) if c}
                & {t for t, c in zip(one.time, one.cause, strict=True) if not c}
            )
            for one in sets
        ),
        "delayed entries at risk": sum(
            any(0 < e < t for t, e in zip(one.time, one.entry, strict=True)) for one in sets
        ),
        "never at risk": sum(
            any(0 < t <= e for t, e in zip(one.time, one.entry, strict=True)) for one in sets
        ),
        "everybody gone, then others": sum(
            any(step.estimate == 0 for step in exact_survival(one)[:-1]) for one in sets
        ),
        "undefined variance": sum(
            any(step.variance is None for step in exact_survival(one)) for one in sets
        ),
        "stays of no length": sum(0 in one.time for one in sets),
    }
    assert min(kinds.values()) >= 10, kinds


def test_kaplan_meier_is_statsmodels(sets: list[Sample]) -> None:
    time, cause, group, _ = flat(sets)
    curves = kaplan_meier(time, cause > 0, group, SETS)
    for number, sample in enumerate(sets):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = SurvfuncRight(sample.time, np.array(sample.cause) > 0)
        fell = part(curves, number, "events") > 0
        assert part(curves, number, "time")[fell].tolist() == theirs.surv_times.tolist()
        assert part(curves, number, "at_risk")[fell].tolist() == theirs.n_risk.tolist()
        np.testing.assert_allclose(
            part(curves, number, "estimate")[fell], theirs.surv_prob, rtol=0, atol=1e-9
        )
        np.testing.assert_allclose(
            part(curves, number, "std_error")[fell], theirs.surv_prob_se, rtol=0, atol=1e-9
        )


def test_aalen_johansen_is_statsmodels(sets: list[Sample]) -> None:
    time, cause, group, _ = flat(sets)
    curves = aalen_johansen(time, cause, group, SETS)
    compared = 0
    for number, sample in enumerate(sets):
        if not any(sample.cause):
            assert part(curves, number, "estimate").tolist() == [0.0] * len(set(sample.time))
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = CumIncidenceRight(sample.time, np.array(sample.cause))
        np.testing.assert_allclose(
            part(curves, number, "estimate"), theirs.cinc[0], rtol=0, atol=1e-9
        )
        # Theirs has no error where all that are left leave at once.
        has = ~np.isnan(theirs.cinc_se[0])
        np.testing.assert_allclose(
            part(curves, number, "std_error")[has], theirs.cinc_se[0][has], rtol=0, atol=1e-9
        )
        compared += int(has.sum())
    assert compared > 5_000


@pytest.mark.parametrize("delayed", [False, True])
def test_kaplan_meier_is_exact(sets: list[Sample], delayed: bool) -> None:
    time, cause, group, entry = flat(sets)
    curves = kaplan_meier(time, cause > 0, group, SETS, entry=entry if delayed else None)
    for number, sample in enumerate(sets):
        covered(
            curves,
            number,
            exact_survival(sample if delayed else sample._replace(entry=[0] * len(sample.time))),
            incidence=False,
        )


@pytest.mark.parametrize("delayed", [False, True])
def test_aalen_johansen_is_exact(sets: list[Sample], delayed: bool) -> None:
    time, cause, group, entry = flat(sets)
    curves = aalen_johansen(time, cause, group, SETS, entry=entry if delayed else None)
    for number, sample in enumerate(sets):
        covered(
            curves,
            number,
            exact_incidence(sample if delayed else sample._replace(entry=[0] * len(sample.time))),
            incidence=True,
        )


def test_incidence_without_censoring_is_a_share_with_its_binomial_error() -> None:
    curves = aalen_johansen([3, 1, 4, 1, 5, 9, 2, 6], [1, 2, 1, 1, 2, 2, 1, 3], [0] * 8, 1)
    assert curves.estimate[-1] == pytest.approx(4 / 8)
    assert curves.std_error[-1] == pytest.approx(math.sqrt(1 / 4 / 8))


def test_incidence_of_a_single_cause_has_the_interval_of_kaplan_meier() -> None:
    times, ended = [2, 3, 3, 5, 8, 9, 9, 12], [1, 1, 0, 1, 0, 1, 1, 0]
    survival, incidence = (
        kaplan_meier(times, ended, [0] * 8, 1),
        aalen_johansen(times, ended, [0] * 8, 1),
    )
    np.testing.assert_allclose(incidence.estimate, 1 - survival.estimate)
    np.testing.assert_allclose(incidence.low, 1 - survival.high)
    np.testing.assert_allclose(incidence.high, 1 - survival.low)


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
def test_quantiles_are_first_times_at_or_under(sets: list[Sample], p: float) -> None:
    time, cause, group, entry = flat(sets)
    curves = kaplan_meier(time, cause > 0, group, SETS, entry=entry)
    level = 1 - Fraction(str(p))
    result = np.array(curves.quantile(p)).T
    for number, sample in enumerate(sets):
        steps = exact_survival(sample)
        expected = [next((step.time for step in steps if step.estimate <= level), math.nan)]
        for side in (0, 1):
            bounds = (
                (step.time, limits(float(step.estimate), math.sqrt(step.variance or 0))[side])
                for step in steps
                if 0 < step.estimate < 1
            )
            expected.append(
                next((time for time, bound in bounds if bound <= level + 1e-9), math.nan)
            )
        np.testing.assert_array_equal(result[number], expected)


def test_a_half_that_is_reached_exactly_is_the_median() -> None:
    for n in range(2, 400, 2):
        median, _, _ = kaplan_meier(np.arange(1, n + 1), np.ones(n), np.zeros(n), 1).quantile(0.5)
        assert median[0] == n / 2


@pytest.mark.parametrize("horizon", [0.5, 3.0, 8.0, 40.0, None])
def test_restricted_mean_is_the_area(sets: list[Sample], horizon: float | None) -> None:
    time, cause, group, entry = flat(sets)
    curves = kaplan_meier(time, cause > 0, group, SETS, entry=entry)
    result = curves.restricted_mean(curves.last if horizon is None else horizon)
    for number, sample in enumerate(sets):
        steps = exact_survival(sample)
        if not steps or (
            horizon is not None and horizon > steps[-1].time and steps[-1].estimate > 0
        ):
            assert math.isnan(result[number])
            continue
        end = Fraction(steps[-1].time) if horizon is None else Fraction(horizon)
        area, level, begun = Fraction(0), Fraction(1), Fraction(0)
        for step in [*steps, Step(10**9, 0, 0, Fraction(0), None, Fraction(0))]:
            until = min(Fraction(step.time), end)
            area += level * (until - begun)
            level, begun = step.estimate, until
        assert result[number] == pytest.approx(float(area), abs=1e-9)


def test_the_mean_of_visits_that_are_all_over_is_the_mean() -> None:
    assert kaplan_meier([1, 2, 2, 7], [1] * 4, [0] * 4, 1).restricted_mean(100).tolist() == [3.0]


def test_values_hold_from_their_time_on_and_end_with_the_follow_up() -> None:
    survival = kaplan_meier([2, 4, 6, 5, 0, 3], [1, 0, 1, 1, 0, 0], [0, 0, 0, 2, 3, 4], 6)
    # Group 1 and 5 have no rows; group 2 ended whole; groups 3 and 4 were lost from sight.
    rows = {
        0: [[1.0, 1.0, 1.0, 1.0, 1.0, None], [None] * 6],
        2: [[2 / 3, None, 1.0, None, 1.0, None], [0.0541, None, None, None, None, None]],
        5: [[2 / 3, None, 0.0, None, None, None], [0.0541, None, None, None, None, None]],
        6: [[0.0, None, 0.0, None, None, None], [None] * 6],
        9: [[0.0, None, 0.0, None, None, None], [None] * 6],
    }
    for horizon, (estimate, low) in rows.items():
        result, lower, upper = survival.at(horizon)
        np.testing.assert_allclose(
            result,
            np.array([1.0, np.nan, 1.0, 1.0, 1.0, np.nan])
            if horizon == 0
            else np.array(estimate, float),
        )
        np.testing.assert_allclose(lower, np.array(low, float), atol=5e-5)
        assert np.isnan(upper).tolist() == np.isnan(lower).tolist()
    assert survival.identified([6, 6, 99, 1, 3, 0]).tolist() == [
        True,
        False,
        True,
        False,
        True,
        False,
    ]
    incidence = aalen_johansen([2, 4], [1, 2], [0, 0], 1)
    assert [incidence.at(horizon)[0][0] for horizon in (1, 2, 3, 4, 5)] == [0.0, 0.5, 0.5, 0.5, 0.5]


def test_the_longest_time_at_which_enough_are_at_risk(sets: list[Sample]) -> None:
    time, cause, group, entry = flat(sets)
    curves = kaplan_meier(time, cause > 0, group, SETS, entry=entry)
    least = np.random.default_rng(3).integers(1, 12, SETS)
    expected = [
        max((step.time for step in exact_survival(sample) if step.at_risk >= n), default=math.nan)
        for sample, n in zip(sets, least, strict=True)
    ]
    np.testing.assert_array_equal(curves.horizon(least), expected)


def test_no_rows() -> None:
    for curves in (
        kaplan_meier([], [], [], 2),
        aalen_johansen([], [], [], 2),
        kaplan_meier([3], [1], [0], 2, entry=[3]),
    ):
        assert len(curves.time) == 0
        for result in (
            *curves.at(1),
            *curves.quantile(0.5),
            curves.restricted_mean(1),
            curves.horizon(1),
            curves.last,
        ):
            assert np.isnan(result).tolist() == [True, True]


def test_many_groups_are_as_exact_as_one() -> None:
    random = np.random.default_rng(5)
    days = random.exponential(1e-3, 5)
    ended = np.array([1, 0, 1, 1, 0])
    alone = kaplan_meier(days, ended, np.zeros(5), 1)
    groups = 200_000
    many = kaplan_meier(
        np.tile(days, groups), np.tile(ended, groups), np.repeat(np.arange(groups), 5), groups
    )
    for name in ("estimate", "std_error", "low", "high"):
        np.testing.assert_allclose(
            getattr(many, name), np.tile(getattr(alone, name), groups), rtol=0, atol=1e-12
        )


def test_wilson() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3; the fifth by symmetry.
    low, high = wilson([81, 15, 0, 1, 29, 0], [263, 148, 20, 29, 29, 0])
    assert low.round(4).tolist()[:5] == [0.2553, 0.0624, 0.0, 0.0061, 0.8830]
    assert high.round(4).tolist()[:5] == [0.3662, 0.1605, 0.1611, 0.1718, 1.0]
    assert np.isnan([low[5], high[5]]).all()
    n = np.arange(1, 1_000)
    assert not wilson(np.zeros(len(n)), n)[0].any()
    assert (wilson(n, n)[1] == 1).all()


@pytest.mark.parametrize(("sets", "least", "most"), [(200, 0.90, 0.995), (2_000, 0.935, 0.965)])
def test_intervals_cover(sets: int, least: float, most: float) -> None:
    """Exponential stays, a part censored, a part entered late: how often 95 % intervals hold the
    truth, in small data sets.
    """
    n, mean = 60, 20.0
    random = np.random.default_rng(11)
    lasted, censored = random.exponential(mean, (sets, n)), random.uniform(0, 80, (sets, n))
    entry = np.where(random.random((sets, n)) < 0.3, random.uniform(0, 15, (sets, n)), 0.0)
    duration, over = np.minimum(lasted, censored).ravel(), (lasted <= censored).ravel()
    curves = kaplan_meier(duration, over, np.repeat(np.arange(sets), n), sets, entry=entry.ravel())
    median = mean * math.log(2)
    _, low, high = curves.quantile(0.5)
    covered = {"median": np.mean((low <= median) & ~(high < median))}
    for day in (5.0, 15.0, 30.0):
        _, low, high = curves.at(day)
        known = ~np.isnan(low)
        assert known.mean() > 0.9
        covered[f"S({day:g})"] = np.mean(
            (low <= math.exp(-day / mean))[known] & (high >= math.exp(-day / mean))[known]
        )
    naive = np.median(duration[over])
    print(f"coverage {covered}; median of the stays that are over {naive:.1f}, true {median:.1f}")
    # Three standard errors of that many draws around 95 %.
    assert all(least <= share <= most for share in covered.values())
    assert naive < 0.8 * median

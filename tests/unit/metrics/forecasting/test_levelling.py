"""Forecasts of the training sample add up: by interval, by size and age of the deals, and by how
likely they were to be closed before.
"""

from __future__ import annotations

import numpy as np
import pytest

from pdframe.metrics._columns import NO_ID
from pdframe.metrics.forecasting._interface import DAY, LOST, OPEN, WON, OpenDeals, Probabilities
from pdframe.metrics.forecasting.design import Design
from pdframe.metrics.forecasting.landmarks import Landmarks
from pdframe.metrics.forecasting.levelling import Factors, Groups, Levelling


def grouped(size: list[int], age: list[int], overdue: list[list[int]] | None = None) -> Groups:
    classes = np.zeros((len(size), 12), np.int64) if overdue is None else np.array(overdue)
    return Groups(np.array(size), np.array(age), classes)


def test_factors_of_many_closings_are_ratios_and_of_few_near_1():
    # One age, one interval; 100 expected of either size, a third and five thirds of which came.
    expected = np.full((2, 1, 1, 1), 100.0)
    actual = np.array([50.0, 150.0]).reshape(expected.shape)
    own = grouped([0, 1], [0, 0], [[0], [0]])
    many = Factors.of(expected * 1e6, actual * 1e6)
    assert many.at(own, np.array([0])) == pytest.approx(np.array([[0.5, 1.5]]), abs=1e-4)
    few = Factors.of(expected / 100, actual / 100)
    # (.5 + 10) / (1 + 10) and (1.5 + 10) / (1 + 10).
    assert few.at(own, np.array([0])) == pytest.approx(np.array([[10.5 / 11, 11.5 / 11]]), abs=1e-3)


def test_the_factor_of_a_deal_is_that_of_its_interval_and_groups():
    factors = Factors(
        np.array([2.0, 3.0]),
        np.array([[1.0, 1.0], [5.0, 7.0]]),
        np.array([1.0, 11.0]),
        np.array([1.0, 13.0]),
    )
    own = grouped([0, 1, 1], [1, 0, 1], [[0, 0, 0], [0, 0, 1], [1, 0, 0]])
    result = factors.at(own, np.array([0, 1, 1]))
    assert result.tolist() == [[22, 10, 1430], [33, 21, 231], [33, 273, 231]]


def test_sizes_differ_early_and_late_and_intervals_keep_their_sums():
    # Of large deals a tenth of the expected wins come early, and three times them late.
    expected = np.full((2, 1, 1, 12), 1e5)
    actual = expected.copy()
    actual[1, 0, 0, :4], actual[1, 0, 0, 8:] = 1e4, 3e5
    factors = Factors.of(expected, actual)
    result = factors.at(grouped([0, 1], [0, 0]), np.arange(12)).T * 1e5
    assert result.sum(axis=0) == pytest.approx(actual.sum(axis=(0, 1, 2)), rel=0.01)
    assert result[1] == pytest.approx(actual[1, 0, 0], rel=0.01)


def test_large_and_old_deals_are_expected_to_close_as_they_did():
    rng = np.random.default_rng(4)
    count = 100_000
    value, age = np.exp(rng.normal(8, 1.5, count)), rng.integers(0, 800, count)
    large, old = value > np.quantile(value, 0.96), age >= 20 * 28
    chance = 0.1 * np.where(large, 0.5, 1.0) * np.where(old, 0.2, 1.0)
    closed = rng.random(count)
    kind = np.where(closed < chance, WON, np.where(closed > 0.95, LOST, OPEN))
    at = np.full(count, 1_000 * DAY)
    none = np.full(count, NO_ID)
    deals = OpenDeals(
        np.arange(count), at, none, none, at - age * DAY, at - age * DAY, value,
        np.full(count, "EUR", object), none, none, np.zeros(count, np.int64),
    )  # fmt: skip
    lasted = np.where(kind == OPEN, 14, 7) * DAY
    sample = Landmarks(deals, kind, lasted, np.full(count, 14 * DAY), 28 * DAY)
    design = Design.of(deals, sample.step, sample.ends, "UTC")
    # The same for every deal: right on the mean, and wrong for large and for old ones.
    flat = Probabilities(*(np.full((count, 1), np.mean(kind == end)) for end in (WON, LOST)))
    before = flat.won[:, 0]
    after = Levelling.of(flat, sample, design).levelled(flat, deals, design)
    for some in (large, old, ~large & ~old):
        won, lost = (kind[some] == WON).sum(), (kind[some] == LOST).sum()
        assert after.won[some, 0].sum() == pytest.approx(won, rel=0.1)
        assert after.lost[some, 0].sum() == pytest.approx(lost, rel=0.1)
    assert before[large].sum() > 1.5 * (kind[large] == WON).sum()
    assert before[old].sum() > 3 * (kind[old] == WON).sum()


def test_deals_without_value_or_currency_are_sizes_of_their_own():
    count = 200
    value = np.append(np.geomspace(1, 1e6, count), [0.0, np.nan, 5.0])
    none, at = np.full(count + 3, NO_ID), np.full(count + 3, 100 * DAY)
    currency = np.array(["EUR"] * (count + 2) + [None], object)
    deals = OpenDeals(
        np.arange(count + 3), at, none, none, at, at, value, currency, none, none, none
    )
    design = Design.of(deals, 28 * DAY, np.array([14 * DAY]), "UTC")
    chance = np.full((count + 3, 3), [0.0, 0.1, 0.4])
    size, age, overdue = Groups.of(Probabilities(chance, chance), deals, design)
    assert size[count:].tolist() == [1, 0, 0]
    # Fifths in pairs, the fifth one from .8 to .96, and what is larger.
    assert np.bincount(size[:count]).tolist() == [0, 0, 80, 80, 32, 8]
    assert design.value_sizes == 6
    assert set(age.tolist()) == {0}
    # Closed by the beginning of each interval with 0, .0 and .2.
    assert set(map(tuple, overdue.tolist())) == {(0, 0, 1)}


def test_deals_that_outlived_their_chances_are_expected_to_close_less():
    # A tenth of the quick deals never close, which nothing shows before; the others are won with .6
    # in each interval. The slow ones are won with .1, all alike.
    count, width = 100_000, 14 * DAY
    ends = np.arange(1, 5) * width
    rng = np.random.default_rng(8)
    slow = np.arange(count) % 2 == 1
    closed = rng.geometric(np.where(slow, 0.1, 0.6))
    closed[~slow & (rng.random(count) < 0.1)] = 99
    none, at = np.full(count, NO_ID), np.full(count, 1_000 * DAY)
    deals = OpenDeals(
        np.arange(count), at, none, none, at, at, np.full(count, 100.0),
        np.full(count, "EUR", object), none, none, np.zeros(count, np.int64),
    )  # fmt: skip
    kind, lasted = np.where(closed <= 4, WON, OPEN), np.minimum(closed, 4) * width
    sample = Landmarks(deals, kind, lasted, np.full(count, ends[-1]), 28 * DAY)
    assert sample.ends.tolist() == ends.tolist()
    design = Design.of(deals, sample.step, sample.ends, "UTC")
    # A model knows the first interval of each kind, and that its hazard stays as it is.
    once = np.where(slow, 0.1, 0.9 * 0.6)[:, None]
    model = Probabilities(1 - (1 - once) ** np.arange(1, 5), np.zeros((count, 4)))
    after = Levelling.of(model, sample, design).levelled(model, deals, design)
    for some, true in ((~slow, 0.9 * (1 - 0.4**4)), (slow, 1 - 0.9**4)):
        assert np.mean(kind[some] == WON) == pytest.approx(true, abs=0.005)
        before, now = (abs(both.won[some, -1].mean() - true) for both in (model, after))
        assert now < max(before * 2 / 3, 0.02)

"""Scores of forecasts, held against figures by hand and against definitions in plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdframe.metrics.forecasting.scores import brier, crps, log_loss, pinball, surprise

AMOUNTS = st.floats(-1e6, 1e6, allow_nan=False)


def test_brier_by_hand() -> None:
    # (.1^2 + .1^2 + .2^2 + .3^2) / 4
    assert brier([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3]).mean() == pytest.approx(0.0375)


def test_pinball_by_hand() -> None:
    # Too low by 1 of three, at level .1.
    assert pinball([1, 2, 3], [0, 2, 3], 0.1).mean() == pytest.approx(0.1 / 3)
    # Too high by 1: .9 of it.
    assert pinball([1, 2, 3], [2, 2, 3], 0.1).mean() == pytest.approx(0.9 / 3)


def test_log_loss_by_hand() -> None:
    losses = log_loss([1, 0, 1], [0.5, 0.2, 0.0])
    assert losses[:2] == pytest.approx([math.log(2), -math.log(0.8)])
    assert np.isfinite(losses[2])
    assert losses[2] > 13


def test_crps_by_hand() -> None:
    assert crps(3.0, [1.0]) == 2.0
    # Mean distance 1, minus half the mean distance of two draws: (0 + 2 + 2 + 0) / 4 / 2.
    assert crps(1.0, [0.0, 2.0]) == pytest.approx(1 - 0.5)
    assert math.isnan(crps(1.0, []))


@given(AMOUNTS, st.lists(AMOUNTS, min_size=1, max_size=12))
def test_crps_is_its_definition_in_plain_loops(actual: float, draws: list[float]) -> None:
    distance = sum(abs(x - actual) for x in draws) / len(draws)
    spread = sum(abs(x - y) for x, y in itertools.product(draws, draws)) / len(draws) ** 2
    assert crps(actual, draws) == pytest.approx(distance - spread / 2, abs=1e-6)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_an_honest_probability_has_the_lowest_expected_loss(truth: float, other: float) -> None:
    for score in (brier, log_loss):
        honest, shaded = (
            truth * score([1], [p])[0] + (1 - truth) * score([0], [p])[0] for p in (truth, other)
        )
        assert honest <= shaded + 1e-12


def test_an_honest_quantile_has_the_lowest_expected_loss() -> None:
    # Of the numbers 1 to 100 the tenth has a tenth of them at or under it.
    actual = np.arange(1.0, 101.0)
    losses = [pinball(actual, np.full(100, q), 0.1).mean() for q in range(101)]
    assert int(np.argmin(losses)) in (10, 11)


def test_surprise_by_hand() -> None:
    # 8 wins where 5 were expected, with a variance of 10 x .25.
    won = np.array([True] * 8 + [False] * 2)
    assert surprise(won, np.full(10, 0.5)) == pytest.approx(3 / math.sqrt(2.5))
    assert math.isnan(surprise(won, won.astype(float)))

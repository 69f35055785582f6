"""The two models against exact sums, other libraries and matrices."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.optimize import minimize

from pdframe.metrics._columns import NO_ID
from pdframe.metrics.forecasting._interface import DAY, LOST, OPEN, WON, OpenDeals, Probabilities
from pdframe.metrics.forecasting._logistic import _Rows, fit_logistic, linear, solve
from pdframe.metrics.forecasting.aalen_johansen import Chain
from pdframe.metrics.forecasting.aalen_johansen import _shrunk as shrunk
from pdframe.metrics.forecasting.blend import blended, interpolated, rising
from pdframe.metrics.forecasting.hazard import chained
from pdframe.metrics.forecasting.landmarks import Landmarks, keyed_uniform
from pdframe.metrics.forecasting.recalibration import Recalibration, recalibration, scaled


def test_two_deals_of_known_hazards_by_exact_sums():
    # Intervals of 30 days. The first deal: won .1, .2, .3; lost, where not won, .5 each time.
    won = np.array([[0.1, 0.2, 0.3], [0.5, 0.0, 1.0]])
    lost = np.array([[0.5, 0.5, 0.5], [0.0, 0.5, 0.0]])
    horizons = np.array([30, 60, 90]) * DAY
    result = chained(won, lost, horizons, horizons)
    # Alive after each interval: .9 x .5 = .45; .45 x .8 x .5 = .18.
    assert result.won[0] == pytest.approx([0.1, 0.1 + 0.45 * 0.2, 0.1 + 0.45 * 0.2 + 0.18 * 0.3])
    assert result.lost[0] == pytest.approx(
        [0.45, 0.45 + 0.45 * 0.4, 0.45 + 0.45 * 0.4 + 0.18 * 0.35]
    )
    # The second one: won .5; then lost half of the rest; then all that remain are won.
    assert result.won[1] == pytest.approx([0.5, 0.5, 0.75])
    assert result.lost[1] == pytest.approx([0.0, 0.25, 0.25])


def test_half_an_interval_has_half_of_its_cumulative_hazard():
    won, lost = np.array([[0.36]]), np.array([[0.0]])
    result = chained(won, lost, np.array([30 * DAY]), np.array([15, 30, 60]) * DAY)
    # .64 remain after 30 days, so .8 after 15, and .64 squared after 60.
    assert result.won[0] == pytest.approx([0.2, 0.36, 1 - 0.64**2])


def test_a_horizon_among_others_is_that_of_all_its_intervals_to_the_last_bit():
    rng = np.random.default_rng(11)
    won, lost = rng.random((2, 50, 4)) * 0.9
    lost[:5, 1], won[:5, 1], won[5, 2] = 0.0, 0.0, 1.0
    ends = np.array([10, 20, 45, 80]) * DAY
    horizons = np.array([45, 3, 80, 10, 20, 33, 79, 200, 0]) * DAY
    result = chained(won, lost, ends, horizons)
    rest = (1 - won) * lost
    left = -np.log1p(-np.minimum(won + rest, 1 - 1e-12))
    share = np.divide(won, won + rest, out=np.zeros_like(won), where=won + rest > 0)
    for place, horizon in enumerate(horizons.tolist()):
        alive, wins, losses = np.ones(50), np.zeros(50), np.zeros(50)
        for k, (begin, end) in enumerate(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)):
            passed = max((horizon - begin) / (end - begin), 0.0)
            passed = passed if k == 3 else min(passed, 1.0)
            closed = alive * -np.expm1(-passed * left[:, k])
            wins, losses = wins + closed * share[:, k], losses + closed * (1 - share[:, k])
            alive = alive * np.exp(-passed * left[:, k])
        assert result.won[:, place].tobytes() == wins.tobytes()
        assert result.lost[:, place].tobytes() == losses.tobytes()


def test_a_chain_is_the_power_of_its_matrix():
    # One stage with two ages in it would do; two stages and a move between them are more.
    rng = np.random.default_rng(5)
    first = [0, 1, 2, 4, 8, 16, 32, 64, 128]
    groups = len(first)
    rates = rng.dirichlet(np.ones(6), size=(3, groups))
    chain = Chain(DAY, np.array([11, 12]), rates[:, :, 0], rates[:, :, 1], rates[:, :, 2:5])
    ages = 129
    group = np.searchsorted(first, np.arange(ages), side="right") - 1
    size = 3 * ages + 2
    matrix = np.zeros((size, size))
    matrix[-2, -2] = matrix[-1, -1] = 1.0
    for stage in range(3):
        for age in range(ages):
            row = stage * ages + age
            one = rates[stage, group[age]]
            matrix[row, -2:] = one[:2]
            for target in range(3):
                matrix[row, target * ages] += one[2 + target]
            matrix[row, stage * ages + min(age + 1, ages - 1)] += one[5]
    deals = _deals(stage=[11, 12, 99], age_days=[0, 5, 140])
    result = chain.predict(deals, np.array([1, 3, 10]) * DAY)
    for place, steps in enumerate((1, 3, 10)):
        power = np.linalg.matrix_power(matrix, steps)
        for deal, (stage, age) in enumerate(((0, 0), (1, 5), (2, 128))):
            assert result.won[deal, place] == pytest.approx(power[stage * ages + age, -2])
            assert result.lost[deal, place] == pytest.approx(power[stage * ages + age, -1])


def test_old_deals_of_every_stage_share_what_age_says():
    """Two stages, two ages; nothing happened to old deals in 900 steps of the second stage."""
    events = np.zeros((2, 2, 4))
    # Moves to each stage, wins and losses.
    events[0, 0], events[0, 1] = [0, 60, 30, 30], [0, 1, 1, 1]
    events[1, 0] = [0, 0, 80, 80]
    exposure = np.array([[1_000.0, 1_000.0], [1_000.0, 900.0]])
    rates = shrunk(events, exposure)
    # Where much is known the rates are those that were counted.
    assert rates[0, 0] == pytest.approx([0.0, 0.06, 0.03, 0.03], rel=0.02)
    # Of old deals in the second stage a win was expected as rarely as old ones of the first say:
    # 1 of 15.5 and 40 that their stages' rates expect, so well under a half in 900 steps.
    assert 0 < rates[1, 1, 2] * 900 < 0.4
    assert rates[1, 1, 2] < rates[1, 0, 2] / 100
    # A stage that was never seen is like all of them.
    some = shrunk(
        np.append(events, np.zeros((1, 2, 4)), axis=0)[:, :, [0, 1, 0, 2, 3]] * [1, 1, 0, 1, 1],
        np.append(exposure, [[0.0, 0.0]], axis=0),
    )
    assert some[2, 1, 3] < some[2, 0, 3] / 10


def test_a_trend_goes_on_where_few_rows_are():
    """Odds fall by half from level to level; the last levels have rows and hardly an event."""
    rng = np.random.default_rng(6)
    code = np.repeat(np.arange(10), [3_000] * 5 + [150] * 5)
    true = -1 - 0.7 * code
    event = rng.random(len(code)) < 1 / (1 + np.exp(-true))
    ordered = fit_logistic([code], [10], [0.5], [True], event, 1.0)
    free = fit_logistic([code], [10], [0.5], [False], event, 1.0)
    last = ordered[0] + ordered[-1], free[0] + free[-1]
    assert last[0] == pytest.approx(true[-1], abs=1.2)
    assert last[1] > true[-1] + 2


def _deals(stage: list[int], age_days: list[int]) -> OpenDeals:
    count = len(stage)
    none, at = np.full(count, NO_ID), np.full(count, 100 * DAY)
    entered = at - np.array(age_days) * DAY
    return OpenDeals(
        np.arange(count), at, none, np.array(stage), entered, entered, np.full(count, np.nan),
        np.full(count, None, object), none, none, np.zeros(count, np.int64),
    )  # fmt: skip


def test_the_regression_is_that_of_another_library():
    rng = np.random.default_rng(1)
    n, levels = 4_000, [3, 4]
    codes = [rng.integers(0, count, n) for count in levels]
    eta = -1 + np.array([0, 1, -1])[codes[0]] + np.array([0.5, 0, 0, -2])[codes[1]]
    event = rng.random(n) < 1 / (1 + np.exp(-eta))
    own = fit_logistic(codes, levels, [1e3, 1e3], [False, False], event, 1e-9)
    columns = [codes[0][:, None] == [1, 2], codes[1][:, None] == [1, 2, 3]]
    design = sm.add_constant(np.column_stack(columns).astype(float))
    other = sm.Logit(event.astype(float), design).fit(disp=False)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-linear(own, codes, levels))), other.predict(design), atol=1e-4
    )


def test_sums_by_case_change_nothing():
    rng = np.random.default_rng(2)
    by_case = [rng.integers(0, 3, 200), rng.integers(0, 2, 200)]
    case = np.sort(rng.integers(0, 200, 1_500))
    codes = [*(code[case] for code in by_case), rng.integers(0, 4, 1_500)]
    event = rng.random(1_500) < 0.1 + 0.2 * codes[0] / 2
    how = ([3, 2, 4], [1.0, 1.0, 0.5], [False, False, True], event, 2.0)
    np.testing.assert_allclose(
        fit_logistic(codes, *how, (case, by_case)), fit_logistic(codes, *how), atol=1e-9
    )


@pytest.mark.parametrize("levels", [[3, 2, 4, 5], [16, 15, 4, 2], [300, 3, 2, 270]])
def test_sums_by_pairs_are_those_of_the_rows_in_their_order_to_the_last_bit(levels: list[int]):
    rng = np.random.default_rng(12)
    case = np.sort(rng.integers(0, 60, 400))
    by_case = [rng.integers(0, count, 60) for count in levels[:2]]
    codes = [*(code[case] for code in by_case), *(rng.integers(0, n, 400) for n in levels[2:])]
    weight, residual = rng.random(400), rng.standard_normal(400)
    rows = _Rows.of(codes, levels, (case, by_case))
    start = [1, *(1 + np.cumsum(levels)).tolist()]
    hessian, gradient = np.zeros((start[-1], start[-1])), np.zeros(start[-1])
    hessian[0, 0], gradient[0] = weight.sum(), residual.sum()
    of_case = np.zeros(60)
    for row in range(400):
        of_case[case[row]] += weight[row]
        places = [first + code[row] for first, code in zip(start, codes, strict=False)]
        for i, one in enumerate(places):
            gradient[one] += residual[row]
            hessian[one, one] += weight[row]
            for other in places[:i] if i > 1 else ():
                hessian[one, other] += weight[row]
    for number, total in enumerate(of_case):
        hessian[start[1] + by_case[1][number], 1 + by_case[0][number]] += total
    hessian[0, 1:] = np.diag(hessian)[1:]
    lower = np.tril(hessian, -1)
    lower[1:, 0] = hessian[0, 1:]
    hessian = lower + lower.T + np.diag(np.diag(hessian))
    own = rows.sums(weight, residual)
    assert own[0].tobytes() == hessian.tobytes()
    assert own[1].tobytes() == gradient.tobytes()
    effects = rng.standard_normal(start[-1])
    assert rows.linear(effects).tobytes() == linear(effects, codes, levels).tobytes()


def test_elimination_is_gauss_s_row_by_row_to_the_last_bit():
    rng = np.random.default_rng(13)
    root = rng.standard_normal((25, 25))
    matrix = np.einsum("ik,jk->ij", root, root) + np.eye(25)
    # A level without a row.
    matrix[7], matrix[:, 7], matrix[7, 7] = 0.0, 0.0, 4.0
    right = rng.standard_normal(25)
    own = solve(matrix, right)
    left, rest = matrix.tolist(), right.tolist()
    for k in range(25):
        for i in range(k + 1, 25):
            factor = left[i][k] / left[k][k]
            rest[i] -= factor * rest[k]
            for j in range(k + 1, 25):
                left[i][j] -= factor * left[k][j]
    result = np.array(rest)
    for k in reversed(range(25)):
        beyond = (np.array(left[k][k + 1 :]) * result[k + 1 :]).sum()
        result[k] = (result[k] - beyond) / left[k][k]
    assert own.tobytes() == result.tobytes()
    np.testing.assert_allclose(matrix @ own, right, atol=1e-9)


def test_intervals_after_a_landmark_count_where_they_are_over():
    # Steps of 10 days: intervals end after 5, 10, 15, 20, 30, 40 days.
    count = 4
    sample = Landmarks(
        _deals([1] * count, [0] * count),
        np.array([OPEN, WON, LOST, WON]),
        np.array([40, 12, 33, 5]) * DAY,
        np.array([40, 40, 35, 40]) * DAY,
        10 * DAY,
    )
    assert (sample.ends // DAY).tolist() == [5, 10, 15, 20, 30, 40]
    row, interval, kind = sample.periods()
    assert [interval[row == number].tolist() for number in range(count)] == [
        [0, 1, 2, 3, 4, 5],
        # Won in the third interval.
        [0, 1, 2],
        # Lost in the sixth, which was not over for a deal that is still open.
        [0, 1, 2, 3, 4],
        # Won at the very end of the first.
        [0],
    ]
    assert [kind[row == number].tolist()[-1] for number in range(count)] == [OPEN, WON, OPEN, WON]


def test_a_ridge_holds_back_what_few_rows_say_and_order_keeps_a_trend():
    codes = [np.array([0] * 50 + [1] * 50 + [2] * 2)]
    event = np.array([False] * 25 + [True] * 25 + [False] * 10 + [True] * 40 + [True] * 2)
    free = fit_logistic(codes, [3], [1.0], [False], event, 1.0)
    ordered = fit_logistic(codes, [3], [0.3], [True], event, 1.0)
    chance = 1 / (1 + np.exp(-(free[0] + free[1:])))
    assert 0.5 < chance[0] < 0.6
    assert 0.75 < chance[1] < 0.8
    assert chance[2] < 0.95
    # The third level has two rows: its step is that of the other two, held back a little.
    steps = np.diff(ordered[1:])
    assert 0 < steps[1] < steps[0] < 1.5 * steps[1]


def test_the_coefficients_of_an_ordered_feature_are_those_of_a_penalised_spline():
    rng = np.random.default_rng(9)
    code = rng.integers(0, 5, 300)
    event = rng.random(300) < 1 / (1 + np.exp(1 + 0.4 * code))
    own = fit_logistic([code], [5], [0.5], [True], event, 2.0)

    def loss(effects: NDArray[np.float64]) -> float:
        eta, x = effects[0] + effects[1:][code], effects[1:]
        fit = np.log1p(np.exp(-np.where(event, eta, -eta))).sum()
        bends = sum((x[k] - 2 * x[k + 1] + x[k + 2]) ** 2 for k in range(3))
        slopes = sum((x[k + 1] - x[k]) ** 2 for k in range(4))
        return float(fit + 2 / 0.5**2 * (bends + slopes / 10 + (x**2).sum() / 25) / 2)

    best = minimize(loss, np.zeros(6))
    # It stops where another round is hardly worth it.
    assert loss(own) - best.fun < 0.05
    np.testing.assert_allclose(own[0] + own[1:], best.x[0] + best.x[1:], atol=0.05)


@pytest.mark.parametrize("size", [1, 2, 30])
def test_a_system_is_solved(size: int):
    rng = np.random.default_rng(size)
    root = rng.normal(size=(size, size))
    matrix = root @ root.T + np.eye(size)
    right = rng.normal(size=size)
    np.testing.assert_allclose(solve(matrix, right), np.linalg.solve(matrix, right))


def test_the_blend_is_the_mean_of_logarithms_renormalised():
    first = Probabilities(np.array([[0.2]]), np.array([[0.3]]))
    second = Probabilities(np.array([[0.4]]), np.array([[0.5]]))
    parts = [0.2 ** (2 / 3) * 0.4 ** (1 / 3), 0.3 ** (2 / 3) * 0.5 ** (1 / 3)]
    parts.append(0.5 ** (2 / 3) * 0.1 ** (1 / 3))
    result = blended(first, second)
    assert result.won[0, 0] == pytest.approx(parts[0] / sum(parts))
    assert result.lost[0, 0] == pytest.approx(parts[1] / sum(parts))


def test_probabilities_never_fall_and_never_exceed_1():
    both = Probabilities(np.array([[0.5, 0.4, 0.9]]), np.array([[0.2, 0.4, 0.3]]))
    result = rising(both)
    assert result.won[0] == pytest.approx([0.5, 0.5, 0.6])
    assert result.lost[0] == pytest.approx([0.2, 0.4, 0.4])


def test_a_horizon_between_two_has_its_share_of_the_cumulative_hazard():
    both = Probabilities(np.array([[0.27, 0.45]]), np.array([[0.09, 0.15]]))
    grid = np.array([30, 60]) * DAY
    result = interpolated(both, grid, np.array([15, 30, 45]) * DAY)
    # .64 remain after 30 days: .8 after 15; of .36 that close then three quarters are won.
    assert result.won[0, :2] == pytest.approx([0.2 * 0.75, 0.27])
    left = np.sqrt(0.64 * 0.40)
    assert 1 - result.won[0, 2] - result.lost[0, 2] == pytest.approx(left)


def test_a_correction_of_none_changes_nothing_and_a_factor_scales_the_hazard():
    both = Probabilities(np.array([[0.1, 0.19]]), np.array([[0.0, 0.0]]))
    same = scaled(both, np.ones(2), np.ones(2))
    np.testing.assert_allclose(same.won, both.won)
    twice = scaled(both, np.full(2, 2.0), np.ones(2))
    assert twice.won[0] == pytest.approx([1 - 0.9**2, 1 - 0.9**4])


def test_earlier_forecasts_correct_a_little_in_their_direction():
    ends = np.array([30, 60]) * DAY
    none = recalibration([])
    assert (none.level, none.trend) == (0.0, 0.0) == (Recalibration().level, Recalibration().trend)
    few = recalibration([(ends, np.array([4.0, 4.0]), np.array([2.0, 2.0]))])
    many = recalibration([(ends, np.array([4e6, 4e6]), np.array([2e6, 2e6]))])
    assert -0.1 < few.level < 0
    assert many.factors(ends) == pytest.approx([0.5, 0.5], abs=0.01)


def test_numbers_depend_on_seed_and_keys_alone_and_are_even():
    keys = np.arange(10_000, dtype=np.int64)
    numbers = keyed_uniform(3, keys, keys % 7)
    order = np.random.default_rng(0).permutation(len(keys))
    np.testing.assert_array_equal(keyed_uniform(3, keys[order], keys[order] % 7), numbers[order])
    assert not np.array_equal(keyed_uniform(4, keys, keys % 7), numbers)
    counts = np.histogram(numbers, bins=10, range=(0, 1))[0]
    assert counts.min() > 900
    assert counts.max() < 1_100

"""Draws of revenue against exact distributions, and the sums that must close."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad

from pdframe.metrics.forecasting.common_sd import chance_wins
from pdframe.metrics.forecasting.draws import (
    TIMES,
    VALUES,
    Streams,
    common_factors,
    generator,
    recentred,
)
from pdframe.metrics.forecasting.revenue import Revenue
from pdframe.metrics.forecasting.setup import quantiles
from tests.helpers.forecast_totals import UNITS, like, months, revenue

DRAWS = 20_000
Exact = tuple[NDArray[np.float64], NDArray[np.float64]]


def total(of: Revenue, draws: int = DRAWS, seed: int = 0, sd: float = 0.0) -> NDArray[np.int64]:
    opened, new = of.drawn(draws, seed, sd)
    return opened[0] + new[0]


def test_three_deals_as_the_definition_says() -> None:
    deals = revenue([0.8, 0.5, 0.3], [100, 200, 150])
    drawn = total(deals)[0] / UNITS
    assert deals.from_open().sum() == 225 * UNITS
    assert quantiles(total(deals)).tolist() == [[100 * UNITS, 250 * UNITS, 450 * UNITS]]
    assert drawn.mean() == pytest.approx(225, abs=3 * 127.77 / DRAWS**0.5)
    assert drawn.std() == pytest.approx(127.77, rel=0.02)


def test_a_stream_gives_each_key_the_numbers_of_a_generator_of_its_own() -> None:
    streams = Streams(-3, VALUES)
    for key in (1, 2**63 + 5, -7, 0, 1):
        own, new = streams.of(key), generator(-3, VALUES, key)
        assert own.random(3, np.float32).tobytes() == new.random(3, np.float32).tobytes()
        assert own.standard_exponential(50).tobytes() == new.standard_exponential(50).tobytes()
        # Half of a word is left over, and none of it belongs to the next key.
        own.random(1, np.float32)


@pytest.mark.parametrize("places", [[], [0], [1], [6], [0, 1, 4, 5, 8], list(range(1_001))])
def test_some_uniform_numbers_are_those_of_all_to_the_last_bit(
    places: list[int],
) -> None:
    streams = Streams(5, VALUES)
    for key in (3, -8, 3):
        some = streams.uniform(key, np.array(places, np.int64))
        every = generator(5, VALUES, key).random(1_001, np.float32).astype(np.float64)
        assert some.tobytes() == every[places].tobytes()


@pytest.mark.parametrize("sd", [0.05, 0.6])
def test_a_chance_is_recentred_alike_alone_and_among_many_to_the_last_bit(sd: float) -> None:
    chance = np.random.default_rng(4).random((300, 3))
    together = recentred(chance, sd)
    for row in (0, 85, 86, 171, 299):
        assert recentred(chance[row], sd).tobytes() == together[row].tobytes()
        assert recentred(chance[row, :1], sd).tobytes() == together[row, :1].tobytes()


def test_totals_are_those_of_each_deal_s_own_numbers_to_the_last_bit() -> None:
    """The same draws deal by deal and draw by draw, as the definition has them."""
    chance = np.cumsum(np.random.default_rng(6).uniform(0, 0.25, (12, 3)), axis=1)
    chance[3], chance[4, 1:] = 0.0, chance[4, 0]
    value = [0.0, 50.0, -3.0, *range(10, 100, 10)]
    of = revenue(chance, value, deal=list(range(5, 65, 5)), changes=0.4, pool=[7.0, -2.0, 900.0])
    factor, hazard = common_factors(9, 200, 0.5), recentred(chance, 0.5)
    expected = np.zeros((3, 200), np.int64)
    for place, deal in enumerate(range(5, 65, 5)):
        time = generator(9, TIMES, deal).standard_exponential(200) * (1 / factor)
        uniform = generator(9, VALUES, deal).random(200, np.float32).astype(np.float64)
        for draw in range(200):
            month = int((hazard[place] <= time[draw]).sum())
            if month < 3:
                changed = uniform[draw] < 0.4
                worth = [7, -2, 900][int(uniform[draw] / 0.4 * 3)] if changed else value[place]
                expected[month, draw] += int(worth) * UNITS
    opened, new = of.drawn(200, 9, 0.5)
    assert opened[0].tobytes() == expected.tobytes()
    assert not new.any()


def every_outcome(chance: NDArray[np.float64], value: NDArray[np.float64]) -> Exact:
    """The distribution of a sum of few deals: all outcomes, one by one."""
    sums, weight = np.zeros(1), np.ones(1)
    for p, v in zip(chance, value, strict=True):
        sums = np.concatenate((sums, sums + v))
        weight = np.concatenate((weight * (1 - p), weight * p))
    return sums, weight


def by_counts(chance: NDArray[np.float64], value: NDArray[np.float64]) -> Exact:
    """The distribution of a sum of deals of few sizes: of each size the number won."""
    sums, weight = np.zeros(1), np.ones(1)
    for size in np.unique(value):
        counts = np.ones(1)
        for p in chance[value == size]:
            counts = np.convolve(counts, [1 - p, p])
        sums = (sums[:, None] + size * np.arange(len(counts))).ravel()
        weight = (weight[:, None] * counts).ravel()
        kept = weight > 1e-14
        sums, weight = sums[kept], weight[kept]
    return sums, weight


@pytest.mark.parametrize("count", [3, 20, 200])
@pytest.mark.parametrize("seed", [0, 1])
def test_quantiles_agree_with_the_exact_convolution(count: int, seed: int) -> None:
    random = np.random.default_rng(count + seed)
    chance = random.uniform(0.02, 0.9, count)
    if count <= 20:
        value = np.rint(10 ** random.uniform(0, 7, count))
        value[:2] = 1, 10_000_000
        sums, weight = every_outcome(chance, value)
    else:
        value = random.choice([1.0, 700.0, 40_000.0, 10_000_000.0], count)
        sums, weight = by_counts(chance, value)
    assert weight.sum() == pytest.approx(1)
    drawn = quantiles(total(revenue(chance, value.tolist()), seed=seed))[0] / UNITS
    for p, quantile in zip((0.1, 0.5, 0.9), drawn, strict=True):
        error = 3 * (p * (1 - p) / DRAWS) ** 0.5
        assert weight[sums <= quantile].sum() >= p - error
        assert weight[sums < quantile].sum() <= p + error
    mean = (sums * weight).sum()
    sd = (((sums - mean) ** 2) * weight).sum() ** 0.5
    simulated = total(revenue(chance, value.tolist()), seed=seed)[0] / UNITS
    assert simulated.mean() == pytest.approx(mean, abs=3 * sd / DRAWS**0.5)


@pytest.mark.parametrize("sd", [0.05, 0.3, 0.8, 1.2])
def test_the_common_factor_changes_no_probability(sd: float) -> None:
    chance = np.array([1e-9, 0.001, 0.2, 0.5, 0.97])
    for p, hazard in zip(chance, recentred(chance, sd), strict=True):

        def won(z: float, hazard: float = hazard) -> float:
            factor = np.exp(sd * z - sd**2 / 2)
            return float(-np.expm1(-hazard * factor) * np.exp(-(z**2) / 2) / (2 * np.pi) ** 0.5)

        assert quad(won, -9, 9, epsabs=1e-14, limit=200)[0] == pytest.approx(p, rel=1e-7)
    assert recentred(np.array([0.0, 1.0]), sd).tolist() == [0.0, np.inf]
    factors = common_factors(3, 100_000, sd)
    assert factors.mean() == pytest.approx(1, abs=4 * factors.std() / 100_000**0.5)
    assert np.log(factors).std() == pytest.approx(sd, rel=0.02)


@pytest.mark.parametrize("sd", [0.0, 0.3, 0.8])
def test_the_mean_of_draws_is_the_expectation(sd: float) -> None:
    cells = months(3)
    chance = np.cumsum(np.random.default_rng(0).uniform(0, 0.2, (60, 3)), axis=1)
    new = like(cells, [30.0, 40.0, 20.0], [0.1, 0.05], [500.0, 9_000.0])
    of = revenue(
        chance, list(range(0, 6_000, 100)), changes=0.3, pool=[10.0, 4_000.0, 20_000.0], new=new
    )
    opened, created = of.drawn(DRAWS, 5, sd)
    for exact, drawn in (
        (of.from_open().sum(axis=0), opened[0]),
        (of.from_new().sum(axis=0), created[0]),
    ):
        error = drawn.std(axis=1) / DRAWS**0.5
        assert (np.abs(drawn.mean(axis=1) - exact) <= 3 * error).all()
    wins = chance_wins(chance, new, 5, 4_000)
    number = np.diff(chance, axis=1, prepend=0.0).sum(axis=0) + new.by_cell.sum(axis=0)
    assert (np.abs(wins.mean(axis=1) - number) <= 3 * wins.std(axis=1) / 4_000**0.5).all()
    assert (wins == np.rint(wins)).all()


def test_a_common_factor_widens_the_range_and_moves_all_months_together() -> None:
    chance = np.tile([0.1, 0.2], (300, 1))
    of = revenue(chance, [10.0] * 300)
    apart, together = total(of, sd=0.0), total(of, sd=0.5)
    assert together.sum(axis=0).std() > 2 * apart.sum(axis=0).std()
    assert np.corrcoef(apart)[0, 1] < 0.05
    assert np.corrcoef(together)[0, 1] > 0.5


def test_a_quarter_is_the_sum_of_its_months_and_a_team_of_its_members() -> None:
    chance = np.cumsum(np.random.default_rng(1).uniform(0, 0.15, (40, 6)), axis=1)
    value = np.random.default_rng(2).uniform(1, 1e7, 40).tolist()
    parts = {}
    for freq in ("M", "Q"):
        cells = months(6, freq)
        new = like(cells, [9.0] * 6, [0.2, 0.3], [123.456789, 1e6])
        of = revenue(chance, value, cells=cells, new=new, changes=0.2, pool=[3.3, 1e5])
        parts[freq] = (
            of,
            of.drawn(500, 7, 0.3),
            of.drawn(500, 7, 0.3, np.arange(40) % 3, np.array([2, 0]), 3),
        )
    by_month, by_quarter = parts["M"], parts["Q"]
    for months_drawn, quarters in zip(by_month[1], by_quarter[1], strict=True):
        assert (months_drawn.reshape(1, 2, 3, 500).sum(axis=2) == quarters).all()
    for each in (by_month, by_quarter):
        for of_all, of_groups in zip(each[1], each[2], strict=True):
            assert of_all.any()
            assert (of_groups.sum(axis=0) == of_all[0]).all()


@pytest.mark.parametrize("groups", ["within", "across", "halves", "all"])
def test_draws_of_groups_are_the_same_after_those_of_others(groups: str) -> None:
    chance = np.cumsum(np.random.default_rng(1).uniform(0, 0.15, (40, 6)), axis=1)
    value = np.random.default_rng(2).uniform(1, 1e7, 40).tolist()
    cells, number = months(6), np.arange(40)
    new = like(cells, [9.0] * 6, [0.2, 0.3], [123.456789, 1e6])
    of = revenue(chance, value, cells=cells, new=new, changes=0.2, pool=[3.3, 1e5])
    every = {
        # The last one has no deal, and the one before it only new ones.
        "within": (number % 2 + 2 * (number % 5 == 0), np.array([4, 2]), 6),
        "across": (number % 3, np.array([2, 0]), 3),
        "halves": (number % 2, np.array([1, 0]), 2),
        "all": (np.zeros(40, np.int64), np.zeros(2, np.int64), 1),
    }

    def totals(of: Revenue) -> list[bytes]:
        return [each.tobytes() for each in of.drawn(500, 7, 0.3, *every[groups])]

    # A copy has drawn nothing yet.
    alone = totals(replace(of))
    for before in every.values():
        again = replace(of)
        again.drawn(500, 7, 0.3, *before)
        assert totals(again) == alone
        assert totals(again) == alone


def test_groups_that_refine_or_join_others_are_not_drawn_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = revenue([0.3] * 40, [100.0] * 40)
    keys: list[int] = []
    real = Streams.of

    def note(self: Streams, key: int) -> np.random.Generator:
        keys.append(key)
        return real(self, key)

    monkeypatch.setattr(Streams, "of", note)
    small = (np.arange(40) < 5).astype(np.int64)
    of.drawn(500, 7, 0.3)
    assert len({*keys}) == 40
    keys.clear()
    of.drawn(500, 7, 0.3, small, None, 2)
    assert {*keys} == {*of.open_deal[:5].tolist()}
    # What joins groups that were drawn is their sum.
    joined = revenue([0.3] * 40, [100.0] * 40)
    joined.drawn(500, 7, 0.3, np.arange(40) % 8, None, 8)
    keys.clear()
    joined.drawn(500, 7, 0.3)
    joined.drawn(500, 7, 0.3, np.arange(40) % 2, None, 2)
    assert keys == []
    # Another seed takes the place of what was kept.
    of.drawn(500, 8, 0.3)
    keys.clear()
    of.drawn(500, 7, 0.3, small, None, 2)
    assert len({*keys}) == 40


def test_a_deal_draws_the_same_in_any_company() -> None:
    """Its numbers belong to its id: others, their order and their number do not matter."""
    all_three = revenue([0.3, 0.6, 0.2], [100, 70, 30], deal=[4, 9, 11])
    without = revenue([0.3, 0.2], [100, 30], deal=[4, 11])
    alone = revenue([0.6], [70], deal=[9])
    assert (total(all_three) - total(without) == total(alone)).all()
    first = total(all_three, draws=1_000)
    assert (first == total(all_three, draws=DRAWS)[:, :1_000]).all()
    assert (total(all_three, seed=1) != total(all_three)).any()


def test_a_certain_deal_is_won_in_every_draw_and_an_impossible_one_in_none() -> None:
    for sd in (0.0, 0.4):
        of = revenue([[0.0, 1.0], [0.0, 0.0]], [70, 30])
        assert (total(of, sd=sd) == np.array([[0], [70 * UNITS]])).all()


def test_values_that_change_and_credits() -> None:
    of = revenue([1.0], [100.0], changes=0.25, pool=[-40.0, 60.0])
    drawn = total(of)[0] / UNITS
    assert set(np.unique(drawn)) == {-40.0, 60.0, 100.0}
    assert of.from_open()[0, 0] == (0.75 * 100 + 0.25 * 10) * UNITS
    for value, share in ((100.0, 0.75), (-40.0, 0.125), (60.0, 0.125)):
        error = 3 * (share * (1 - share) / DRAWS) ** 0.5
        assert (drawn == value).mean() == pytest.approx(share, abs=error)


def test_a_rate_scales_the_hazard_of_new_deals() -> None:
    cells = months(2)
    new = like(cells, [10.0, 0.0], [0.4], [100.0])
    of = revenue(np.zeros((1, 2)), [1.0], new=new)
    # Ten deals: .2 won in the month, .4 by the end of the next.
    assert of.from_new().sum(axis=0).tolist() == [200 * UNITS, 200 * UNITS]
    double = replace(of, rate=2.0).from_new().sum(axis=0) / UNITS
    assert double.tolist() == pytest.approx([1000 * 0.36, 1000 * (0.64 - 0.36)])


@pytest.mark.parametrize("draws", [1, 9, 10, 11, 1_000])
def test_quantiles_are_drawn_totals(draws: int) -> None:
    values = np.random.default_rng(draws).integers(0, 1_000, draws)
    ordered = sorted(values.tolist())
    for p, quantile in zip((10, 50, 90), quantiles(values).tolist(), strict=True):
        least = next(v for v, n in zip(ordered, itertools.count(1)) if 100 * n >= p * draws)
        assert quantile == least

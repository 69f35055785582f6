"""The market makes the business harder to forecast, and off it changes no byte."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import date
from math import log
from random import Random
from statistics import fmean, pstdev

import pytest

from pdframe.sandbox.company import Company, Market
from pdframe.sandbox.company.catalog import PIPELINES
from pdframe.sandbox.company.process import Process, exit_hazard, length_at, poisson

# Of companies of the commit before the market: seed, deals, days that passed after the history.
# A new digest means that the companies of today's users change.
BEFORE_THE_MARKET = {
    (7, 300, 30): "33065dd619d6d1a10f0d77aa5967af6cd5126c90df3c6bad6af6828ebfc2d02a",
    (1, 120, 0): "7db909f00c160ac1d709487ff74398a1326f433865f205b85c22365120d5e639",
    (11, 40, 90): "69f5166a7af65c0c2acc771361e1d82e36ae1f10218d93d6ecb13ea9fb05d66e",
    (3, 0, 30): "7ff77b6554ed2ac38d3b006c0a24d6b4bc0028b394d41331aae364098c76ddb7",
}


def digest(company: Company) -> str:
    total = hashlib.sha256()
    for event in company.events:
        total.update(repr(tuple(event)).encode())
    for part in (company.tables, company.fields, company.now):
        total.update(repr(part).encode())
    return total.hexdigest()


def closings(company: Company, status: str) -> Counter[str]:
    """Count the writes that closed a deal, by month."""
    times = [
        event.changes[f"{status}_time"]
        for event in company.events
        if event.table == "deals" and event.changes.get("status") == status
    ]
    return Counter(time[:7] for time in times)


def arrivals(company: Company) -> Counter[str]:
    return Counter(row["add_time"][:7] for row in company.tables["deals"].values())


@pytest.mark.parametrize(("seed", "deals", "days"), BEFORE_THE_MARKET)
def test_without_a_market_a_company_is_what_it_was_before_there_were_any(
    seed: int, deals: int, days: int
) -> None:
    company = Company(seed=seed, deals=deals, market=Market())
    company.advance(days=days)
    assert digest(company) == BEFORE_THE_MARKET[seed, deals, days]
    assert company.info["company_domain"] == f"sandbox-seed{seed}-{deals}"


def test_a_market_gives_the_same_company_each_time_under_a_domain_of_its_own() -> None:
    market = Market(shock_sd=0.8, poisson_arrivals=True, break_at=date(2025, 1, 1))
    first, second = (Company(seed=2, deals=60, market=market) for _ in range(2))
    first.advance(20)
    second.advance(20)
    assert digest(first) == digest(second)
    domains = {
        Company(seed=2, deals=5, market=each).info["company_domain"]
        for each in (None, market, Market(shock_sd=0.3))
    }
    assert len(domains) == 3


@pytest.mark.parametrize(
    "wrong", [{"shock_sd": -0.1}, {"shock_sd": 3}, {"break_factor": 1.5}, {"break_factor": -1}]
)
def test_a_setting_out_of_its_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Market(**wrong)  # type: ignore[arg-type]


def test_the_shock_of_a_month_has_mean_1_and_the_given_spread_of_its_log() -> None:
    process = Process(Market(shock_sd=0.8), "any")
    shocks = [process.shock(month) for month in range(20_000)]
    assert fmean(shocks) == pytest.approx(1, abs=0.03)
    assert pstdev(map(log, shocks)) == pytest.approx(0.8, abs=0.015)
    assert shocks[:50] == [Process(Market(shock_sd=0.8), "any").shock(m) for m in range(50)]


def test_a_race_without_a_shock_lasts_and_ends_like_a_visit_without_a_race() -> None:
    """Winning and every other end share the hazard of the lognormal length in constant parts."""
    process = Process(Market(shock_sd=0.5), "any")
    process.shock = lambda month: 1.0  # type: ignore[method-assign]
    pipeline, start, random = PIPELINES[0], 1_750_000_000, Random(1)
    index = len(pipeline.stages) - 1
    log_median, spread = process.length(pipeline, index, 1010, 1)
    races = [process.race(pipeline, index, 1010, 1, start, start, random) for _ in range(20_000)]
    won = [due for due, won in races if won]
    share = process.win(pipeline, index, 1010, 1)
    assert len(won) / len(races) == pytest.approx(share, abs=0.012)
    days = sorted((due - start) / 86_400 for due, _ in races)
    for quantile, z in ((0.25, -0.6745), (0.5, 0.0), (0.75, 0.6745), (0.9, 1.2816)):
        expected = 2.718281828459045 ** (log_median + spread * z)
        assert days[int(quantile * len(days))] == pytest.approx(expected, rel=0.06)


def test_hazard_and_length_are_inverse() -> None:
    for days in (1.0, 3.0, 30.0, 400.0, 5_000.0):
        assert length_at(exit_hazard(days, 3.2, 0.8), 3.2, 0.8) == pytest.approx(days, rel=1e-6)
    assert exit_hazard(0, 3.2, 0.8) == 0


def test_a_shock_moves_the_wins_of_all_deals_of_a_month() -> None:
    """The wins of 24 months scatter around their mean over companies by the shock, beyond what a
    count scatters by itself.
    """
    counts = {
        sd: [
            closings(Company(seed=seed, deals=1_000, market=Market(shock_sd=sd)), "won")
            for seed in range(1, 5)
        ]
        for sd in (0.0, 0.8)
    }
    months = sorted(counts[0.0][0])[-25:-1]
    usual = {month: fmean(each[month] for each in counts[0.0]) for month in months}
    scatter = {
        sd: fmean(
            ((won[m] - usual[m]) ** 2 - usual[m]) / usual[m] ** 2 for won in some for m in months
        )
        for sd, some in counts.items()
    }
    assert abs(scatter[0.0]) < 0.06
    assert 0.15 < scatter[0.8] < 1.2


def test_poisson_arrivals_scatter_like_a_count_and_bring_the_same_number_of_deals() -> None:
    companies = [
        arrivals(Company(seed=seed, deals=300, market=Market(poisson_arrivals=on)))
        for on in (False, True)
        for seed in range(1, 6)
    ]
    usual = {month: fmean(each[month] for each in companies[:5]) for month in companies[0]}
    even, scattered = (
        fmean((each[m] - usual[m]) ** 2 / usual[m] for each in some for m in usual)
        for some in (companies[:5], companies[5:])
    )
    assert even < 0.1
    assert 0.7 < scattered < 1.4
    assert {sum(each.values()) for each in companies} == {300}


def test_after_the_history_a_day_brings_a_poisson_number_of_deals() -> None:
    random = Random(3)
    counts = [poisson(2.5, random) for _ in range(20_000)]
    assert fmean(counts) == pytest.approx(2.5, abs=0.05)
    assert pstdev(counts) ** 2 == pytest.approx(2.5, abs=0.1)
    assert poisson(0.0, random) == 0
    company = Company(seed=1, deals=200, market=Market(poisson_arrivals=True))
    company.advance(60)
    assert 5 < len(company.tables["deals"]) - 200 < 60


def test_after_a_break_half_of_the_wins_are_losses() -> None:
    breaks = Market(break_at=date(2026, 1, 1))
    won = lost = won_before = lost_before = 0
    for seed in (1, 2):
        usual, broken = (Company(seed=seed, deals=1_000, market=m) for m in (None, breaks))
        for month, count in closings(broken, "won").items():
            if month < "2026":
                assert closings(usual, "won")[month] == count
        won += sum(n for m, n in closings(broken, "won").items() if m >= "2026")
        lost += sum(n for m, n in closings(broken, "lost").items() if m >= "2026")
        won_before += sum(n for m, n in closings(usual, "won").items() if m >= "2026")
        lost_before += sum(n for m, n in closings(usual, "lost").items() if m >= "2026")
    assert won / won_before == pytest.approx(0.5, abs=0.1)
    assert won + lost == pytest.approx(won_before + lost_before, rel=0.1)


def test_one_setting_does_not_change_the_random_numbers_of_another() -> None:
    """With Poisson arrivals too, the shocks are the same; with a shock too, the arrivals."""
    both = Market(shock_sd=0.8, poisson_arrivals=True)
    shock, arrive = Market(shock_sd=0.8), Market(poisson_arrivals=True)
    assert [Process(both, "any").shock(m) for m in range(9)] == [
        Process(shock, "any").shock(m) for m in range(9)
    ]
    times = [
        [row["add_time"][:10] for row in Company(5, 50, market=m).tables["deals"].values()]
        for m in (arrive, both)
    ]
    assert times[0][:20] == times[1][:20]

"""The market makes the business harder to forecast, and off it changes no byte."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, date, datetime
from math import exp, log
from random import Random
from statistics import correlation, fmean, median, pstdev
from typing import Any

import pytest

from pdframe.sandbox.company import Company, Event, Market
from pdframe.sandbox.company.catalog import PIPELINES
from pdframe.sandbox.company.process import Conditions, Process, exit_hazard, length_at, poisson

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
    "wrong",
    [
        {"shock_sd": -0.1},
        {"rep_shock_sd": 3},
        {"quarter_end_rush": 0.5},
        {"close_date_sd": -1},
        {"capacity": 0},
        {"losses_by_age": 3},
        {"break_factor": 1.5},
        {"rep_leaves": ((date(2025, 1, 1), 1003),)},
        {"bulk_import": (date(2025, 1, 1), 0)},
    ],
)
def test_a_setting_out_of_its_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Market(**wrong)


def test_the_shock_of_a_month_has_mean_1_and_the_given_spread_of_its_log() -> None:
    process = Process(Market(shock_sd=0.8), "any")
    shocks = [process.shock(month, 1010) for month in range(20_000)]
    assert fmean(shocks) == pytest.approx(1, abs=0.03)
    assert pstdev(map(log, shocks)) == pytest.approx(0.8, abs=0.015)
    assert shocks[:50] == [Process(Market(shock_sd=0.8), "any").shock(m, 1010) for m in range(50)]


def conditions(rank: int, owner: int = 1010, born: int = 0) -> Conditions:
    """A deal of a mid-market customer in New business."""
    return Conditions(PIPELINES[0], rank, owner, 1, born)


def test_a_race_without_a_shock_lasts_and_ends_like_a_visit_without_a_race() -> None:
    """Winning and every other end share the hazard of the lognormal length in constant parts."""
    process = Process(Market(shock_sd=0.5), "any")
    process.shock = lambda month, owner: 1.0  # type: ignore[method-assign]
    deal, start, random = conditions(4), 1_750_000_000, Random(1)
    log_median, spread = process.length(deal, 1.0)
    races = [process.race(deal, start, start, 1.0, random) for _ in range(20_000)]
    share = process.win(deal, start)
    assert fmean(won for _, won in races) == pytest.approx(share, abs=0.012)
    days = sorted((due - start) / 86_400 for due, _ in races)
    for quantile, z in ((0.25, -0.6745), (0.5, 0.0), (0.75, 0.6745), (0.9, 1.2816)):
        expected = exp(log_median + spread * z)
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
    assert [Process(both, "any").shock(m, 1010) for m in range(9)] == [
        Process(shock, "any").shock(m, 1010) for m in range(9)
    ]
    times = [
        [row["add_time"][:10] for row in Company(5, 50, market=m).tables["deals"].values()]
        for m in (arrive, both)
    ]
    assert times[0][:20] == times[1][:20]


def test_a_rep_has_good_and_bad_months_of_their_own() -> None:
    process = Process(Market(rep_shock_sd=0.6), "any")
    one, other = ([log(process.shock(m, rep)) for m in range(4_000)] for rep in (1010, 1031))
    assert pstdev(one) == pytest.approx(0.6, abs=0.03)
    assert abs(correlation(one, other)) < 0.06
    shared = Process(Market(shock_sd=0.6), "any")
    assert shared.shock(5, 1010) == shared.shock(5, 1031)


def test_a_rush_moves_wins_to_the_end_of_the_quarter_and_makes_no_more_of_them() -> None:
    def share_at_the_end(market: Market) -> tuple[float, int]:
        days: Counter[bool] = Counter()
        for seed in (1, 2):
            for event in Company(seed=seed, deals=800, market=market).events:
                if event.table == "deals" and event.changes.get("status") == "won":
                    day = date.fromisoformat(event.changes["won_time"][:10])
                    next_month = date(day.year + day.month // 12, day.month % 12 + 1, 1)
                    days[day.month % 3 == 0 and (next_month - day).days <= 14] += 1
        return days[True] / days.total(), days.total()

    usual, wins = share_at_the_end(Market())
    rushed, rushed_wins = share_at_the_end(Market(quarter_end_rush=4))
    assert usual == pytest.approx(14 / 91.3, abs=0.04)
    assert 0.3 < rushed < 0.5
    assert rushed_wins == pytest.approx(wins, rel=0.15)


def test_losses_know_the_age_of_a_deal() -> None:
    """The expected values are (.13 / 1.35) ((age + 30) / 90) for Proposal and Jonas Weber."""
    process = Process(Market(losses_by_age=1), "any")
    day = 86_400
    for age, expected in ((0, 0.0321), (60, 0.0963), (150, 0.1926), (10_000, 0.9)):
        assert process.loss(conditions(3), age * day) == pytest.approx(expected, abs=1e-4)
    usual, aged = (
        median(
            stamped(row["lost_time"]) - stamped(row["add_time"])
            for seed in (1, 2)
            for row in Company(seed=seed, deals=400, market=market).tables["deals"].values()
            if row["status"] == "lost"
        )
        for market in (Market(), Market(losses_by_age=1.5))
    )
    assert aged > 1.3 * usual


def day_of(time: int) -> date:
    return datetime.fromtimestamp(time, UTC).date()


def stamped(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() / 86_400


def histories(company: Company) -> list[list[Event]]:
    """Return the events of each deal."""
    result: dict[object, list[Event]] = {}
    for event in company.events:
        if event.table == "deals":
            result.setdefault(event.id, []).append(event)
    return [*result.values()]


def expected_closes(company: Company) -> list[tuple[float, float]]:
    """Return the days left until each expected close that is set in a last stage of a deal that is
    won afterwards, and until that win.
    """
    result = []
    for events in histories(company):
        stage, left = 0, None
        for event in events:
            stage = event.changes.get("stage_id", stage)
            expected = event.changes.get("expected_close_date")
            if expected is not None and stage in (8, 9, 5):
                left = event.time / 86_400, stamped(expected + "T12:00:00Z")
            if event.changes.get("status") == "won" and left is not None:
                result.append((left[1] - left[0], event.time / 86_400 - left[0]))
                left = None
    return result


def test_informative_expected_closes_tell_when_a_deal_closes() -> None:
    blind, known = (
        [
            (log(max(left, 1)), log(max(true, 1)))
            for seed in (1, 2)
            for left, true in expected_closes(Company(seed=seed, deals=600, market=market))
        ]
        for market in (
            Market(),
            Market(informative_close_dates=True, close_date_sd=0.3),
        )
    )
    assert correlation(*zip(*known, strict=True)) > 0.8
    assert len(known) > 40
    assert len(blind) < 10 or correlation(*zip(*blind, strict=True)) < 0.5


def test_expected_closes_that_have_passed_slip() -> None:
    def passed(market: Market) -> float:
        """The share of days at which the date of an open deal that was later won had passed."""
        late = days = 0.0
        for events in histories(Company(seed=1, deals=600, market=market)):
            if not any(event.changes.get("status") == "won" for event in events):
                continue
            expected, since, status = None, 0.0, ""
            for event in events:
                now = event.time / 86_400
                if status == "open" and expected is not None:
                    days += now - since
                    late += max(now - max(since, stamped(expected + "T12:00:00Z")), 0.0)
                expected = event.changes.get("expected_close_date", expected)
                status, since = event.changes.get("status", status), now
        return late / days

    assert passed(Market(slipping_close_dates=True)) < 0.6 * passed(Market())


def test_a_rep_with_more_deals_than_they_can_work_on_is_slower() -> None:
    process = Process(Market(capacity=10), "any")
    assert [process.slower(1010, load) for load in (1, 10, 15, 40)] == [1, 1, 1.5, 4]
    usual, slow = (
        median(
            visit.left_at - visit.entered_at
            for seed in (1, 2)
            for visit in Company(seed=seed, deals=600, market=market).truth.stage_visits()
            if visit.end == "advanced" and visit.left_at is not None
        )
        for market in (Market(), Market(capacity=4))
    )
    assert slow > 1.15 * usual


def test_a_rep_leaves_on_the_day_and_a_colleague_gets_most_of_the_open_deals() -> None:
    company = Company(seed=1, deals=600, market=Market(rep_leaves=((date(2026, 3, 2), 1010),)))
    [left] = [e for e in company.events if e.table == "users" and e.id == 1010][-1:]
    assert left.changes["active_flag"] is False
    assert day_of(left.time) == date(2026, 3, 2)
    owners = {
        event.changes["owner_id"]
        for event in company.events
        if event.table == "deals" and event.action == "update" and event.bulk
        if left.time <= event.time < left.time + 60
    }
    assert len(owners) == 1
    late = [
        row
        for row in company.tables["deals"].values()
        if row["owner_id"] == 1010 and row["add_time"] > "2026-03-03"
    ]
    assert late == []


def test_an_import_adds_its_deals_in_one_second() -> None:
    company = Company(seed=1, deals=100, market=Market(bulk_import=(date(2026, 3, 2), 40)))
    times = Counter(row["add_time"] for row in company.tables["deals"].values())
    [(second, count), (_, other)] = times.most_common(2)
    assert (second[:10], count) == ("2026-03-02", 40)
    assert other < 5
    assert len(company.tables["deals"]) == 140
    first = [
        event.changes["stage_id"]
        for event in company.events
        if event.table == "deals" and event.action == "create"
        if event.changes["add_time"] == second
    ]
    assert len(set(first)) >= 4


def test_a_bulk_closing_loses_the_dead_deals_in_one_second() -> None:
    company = Company(seed=1, deals=600, market=Market(bulk_close=date(2026, 3, 2)))
    lost = Counter(
        event.time
        for event in company.events
        if event.table == "deals" and event.changes.get("status") == "lost"
    )
    [(second, count)] = lost.most_common(1)
    assert count > 20
    assert day_of(second) == date(2026, 3, 2)
    for visit in company.truth.stage_visits():
        if visit.left_at == second and visit.end == "lost":
            assert second - visit.entered_at >= 120 * 86_400
        elif visit.entered_at < second - 121 * 86_400:
            assert visit.left_at is not None
            assert visit.left_at < second or visit.entered_at > second


def test_with_every_setting_life_goes_on_and_is_the_same_each_time() -> None:
    market = Market(
        shock_sd=0.5,
        rep_shock_sd=0.3,
        quarter_end_rush=3,
        poisson_arrivals=True,
        informative_close_dates=True,
        slipping_close_dates=True,
        capacity=6,
        losses_by_age=0.5,
        break_at=date(2025, 9, 1),
        rep_leaves=((date(2025, 6, 2), 1014), (date(2026, 7, 8), 1031)),
        bulk_import=(date(2026, 7, 6), 30),
        bulk_close=date(2026, 7, 7),
    )
    first, second = (Company(seed=6, deals=150, market=market) for _ in range(2))
    for company in (first, second):
        company.advance(30)
    assert digest(first) == digest(second)
    assert not first.tables["users"][1031]["active_flag"]
    assert sum(row["add_time"][:10] == "2026-07-06" for row in first.tables["deals"].values()) >= 30
    assert len(first.truth.win_probabilities(first.now - 86_400 * 60, [30.0], futures=5)) > 10


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"shock_sd": "x"}, "shock_sd must be between 0 and 2, not 'x'"),
        ({"shock_sd": None}, "shock_sd must be between"),
        ({"capacity": 1.5}, "capacity must be between"),
        ({"break_at": "2026-01-01"}, "break_at must be a datetime.date or None"),
        ({"bulk_close": 5}, "bulk_close must be a datetime.date or None"),
        ({"rep_leaves": (date(2026, 1, 1), 1010)}, "rep_leaves must be pairs"),
        ({"bulk_import": (date(2026, 1, 1),)}, "bulk_import must be a date and a number"),
        ({"bulk_import": (date(2026, 1, 1), 10**9)}, "at most 1,000,000"),
    ],
)
def test_a_setting_of_another_type_is_named(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Market(**setting)

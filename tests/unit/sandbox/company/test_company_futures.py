"""The truth's probabilities of deals are what happens: of deals with probability p, a share p of
them is won.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from math import sqrt
from statistics import fmean, stdev

import pytest
from scipy.stats import lognorm

from pdframe.sandbox.company import Company, Market, WinProbability

DAY = 86_400
HORIZONS = (14.0, 30.0, 90.0)


def first_closings(company: Company, after: int) -> dict[object, tuple[int, str]]:
    """Return the first closing of each deal after a time."""
    result: dict[object, tuple[int, str]] = {}
    for event in company.events:
        status = event.changes.get("status")
        if event.table == "deals" and event.time > after and status in ("won", "lost"):
            result.setdefault(event.id, (event.time, status))
    return result


def z_scores(
    market: Market, seeds: Sequence[int], futures: int, days_ago: int = 90
) -> dict[str, float]:
    """Return by horizon how far wins and losses are from the sum of their probabilities, in its
    standard deviations; the same for deals by their probability of a win.
    """
    sums: dict[str, list[float]] = {}

    def add(name: str, happened: bool, p: float) -> None:
        total = sums.setdefault(name, [0.0, 0.0])
        total[0] += happened - p
        # The probability itself is a share of so many futures.
        total[1] += p * (1 - p) * (1 + 1 / futures)

    for seed in seeds:
        company = Company(seed=seed, deals=400, market=market)
        as_of = company.now - days_ago * DAY
        closings = first_closings(company, as_of)
        for row in company.truth.win_probabilities(as_of, HORIZONS, futures=futures):
            time, status = closings.get(row.deal_id, (as_of + 10**9, ""))
            inside = time <= as_of + row.horizon * DAY
            add(f"won {row.horizon}", inside and status == "won", row.won)
            add(f"lost {row.horizon}", inside and status == "lost", row.lost)
            add(f"won at {min(int(row.won * 4), 3)}", inside and status == "won", row.won)
    return {name: off / sqrt(variance) for name, (off, variance) in sums.items() if variance > 1}


@pytest.mark.parametrize(
    "market",
    [
        Market(),
        pytest.param(Market(quarter_end_rush=4, losses_by_age=1), marks=pytest.mark.slow),
        pytest.param(
            Market(break_at=date(2026, 5, 15), bulk_close=date(2026, 5, 10)),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            Market(
                rep_leaves=(
                    (date(2026, 5, 1), 1010),
                    (date(2026, 5, 20), 1031),
                    (date(2026, 6, 1), 1044),
                )
            ),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["usual", "rush and age", "break and bulk closing", "reps leave"],
)
def test_deals_are_won_and_lost_as_often_as_the_truth_says(market: Market) -> None:
    scores = z_scores(market, range(1, 11), futures=60)
    assert len(scores) >= 8
    # Deals are independent here, but the horizons are not, nor are the bins: some twelve scores.
    assert max(map(abs, scores.values())) < 3.5, scores


@pytest.mark.slow
def test_with_a_shock_the_probabilities_are_right_over_many_companies() -> None:
    """The deals of a company share its shocks, so that a sum scatters more than a binomial one:
    the sum of each company counts as one observation.
    """
    differences = []
    for seed in range(1, 17):
        company = Company(seed=seed, deals=200, market=Market(shock_sd=0.6, rep_shock_sd=0.3))
        as_of = company.now - 90 * DAY
        closings = first_closings(company, as_of)
        rows = company.truth.win_probabilities(as_of, [90.0], futures=50)
        won = 0
        for row in rows:
            time, status = closings.get(row.deal_id, (company.now, ""))
            won += status == "won" and time <= as_of + 90 * DAY
        differences.append(won - sum(row.won for row in rows))
    assert abs(fmean(differences)) < 3.5 * stdev(differences) / sqrt(len(differences))


def segments(company: Company) -> dict[int, int]:
    """Return the segment of each organization whose field says it: small, mid-market, large."""
    [field] = [f for f in company.fields["organization"] if f["field_name"] == "Segment"]
    numbers = {option["id"]: number for number, option in enumerate(field["options"])}
    return {
        row["id"]: numbers[row["custom_fields"][field["field_code"]]]
        for row in company.tables["organizations"].values()
        if row["custom_fields"].get(field["field_code"]) in numbers
    }


def test_in_the_last_stage_the_probability_is_that_of_the_remaining_time() -> None:
    """Within four weeks a deal in Negotiation is won if its visit ends by then, which has a
    lognormal length, and is not lost, moved back or sent to Services; a deletion costs a little,
    and after a move back a few still make it.
    """
    skill = {1010: 1.35, 1031: 1.5, 1040: 1.1, 1044: 1.25, 1014: 1.2, 1021: 1.05}
    pace = {1010: 1.15, 1031: 1.3, 1040: 0.95, 1044: 1.05, 1014: 1.0, 1021: 1.2}
    checked = 0
    for seed in (1, 2, 3):
        company = Company(seed=seed, deals=600)
        as_of, known = company.now - 90 * DAY, segments(company)
        expected = {}
        for visit in company.truth.stage_visits():
            row = company.tables["deals"][visit.deal_id]
            if (
                visit.stage_id == 9
                and row["owner_id"] in skill
                and row["org_id"] in known
                and as_of - 200 * DAY < visit.entered_at < as_of
                and (visit.left_at is None or visit.left_at > as_of)
            ):
                owner, segment = row["owner_id"], known[row["org_id"]]
                center = 20 * 1.6 * (0.75, 1.1, 1.7)[segment] / pace[owner]
                length = lognorm((0.7, 0.8, 0.95)[segment], scale=center)
                # In four weeks the working clock runs four weeks; until then it is off by a little.
                lasted = (as_of - visit.entered_at) / DAY
                alive = length.sf(lasted)
                pursued = 0.928 * alive / (0.928 * alive + 0.072)
                ended = (length.cdf(lasted + 28) - length.cdf(lasted)) / alive
                loss = 0.2 / skill[owner] * (0.9, 1.0, 1.25)[segment]
                expected[visit.deal_id] = pursued * ended * (1 - loss - 0.06)
        rows = company.truth.win_probabilities(as_of, [28.0], [*expected], futures=2_000)
        for row in rows:
            assert row.won == pytest.approx(expected[row.deal_id], abs=0.05)
            checked += 1
    assert checked >= 10


def test_probabilities_grow_with_the_horizon_and_say_their_error() -> None:
    company = Company(seed=2, deals=150)
    as_of = company.now - 30 * DAY
    rows = company.truth.win_probabilities(as_of, HORIZONS, futures=80)
    by_deal: dict[int, list[WinProbability]] = {}
    for row in rows:
        by_deal.setdefault(row.deal_id, []).append(row)
        assert 0 <= row.won <= row.won + row.lost <= 1
        assert 0 < row.error <= 0.5 / sqrt(80)
    states = {deal: company.truth.deal_states(deal) for deal in company.tables["deals"]}
    open_then = [
        deal
        for deal, known in states.items()
        if [s.status for s in known if s.time <= as_of][-1:] == ["open"]
    ]
    assert [*by_deal] == open_then
    for deal in by_deal.values():
        assert [row.horizon for row in deal] == [*HORIZONS]
        assert [row.won for row in deal] == sorted(row.won for row in deal)
    some = open_then[3:5]
    assert company.truth.win_probabilities(as_of, HORIZONS, some, futures=80) == [
        row for row in rows if row.deal_id in some
    ]


def test_what_happens_later_changes_no_probability() -> None:
    company = Company(seed=3, deals=80, market=Market(shock_sd=0.5, capacity=5))
    as_of = company.now
    before = company.truth.win_probabilities(as_of, [30.0], futures=40)
    company.advance(40)
    assert company.truth.win_probabilities(as_of, [30.0], futures=40) == before


def test_a_deal_of_a_rep_who_left_is_never_won() -> None:
    left = (1010, 1014, 1031, 1044)
    leaves = tuple((date(2026, 6, 22), user) for user in left)
    company = Company(seed=1, deals=600, market=Market(rep_leaves=leaves))
    owners = {row["id"]: row["owner_id"] for row in company.tables["deals"].values()}
    mine = [
        [
            row.won
            for row in company.truth.win_probabilities(as_of, [90.0], futures=20)
            if owners[row.deal_id] in left
        ]
        for as_of in (company.now - 20 * DAY, company.now)
    ]
    assert max(mine[0]) > 0  # most of the deals would have gone to a colleague
    assert mine[1]
    assert max(mine[1]) == 0


def test_wrong_arguments_are_refused() -> None:
    company = Company(seed=1, deals=5)
    probabilities = company.truth.win_probabilities
    for horizons, futures in (([], 10), ([0.0], 10), ([30.0], 0)):
        with pytest.raises(ValueError, match="horizons"):
            probabilities(company.now, horizons, futures=futures)
    with pytest.raises(ValueError, match="clock"):
        probabilities(company.now + 1, [30.0])

"""The baselines of a pipeline of ten deals, counted by hand.

Landmarks lie every 28 days before day 112: days 28, 56 and 84.

| landmark | open | won within 28 days | lost within 28 days |
|---|---|---|---|
| 28 | 1, 2, 3, 4, 5, 6 | 1, 3 | 2 |
| 56 | 4, 5, 6, 7, 8 | 5, 8 | 7 |
| 84 | 4, 6, 9 | 9 | 6 |
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pdframe.errors import InsufficientDataError
from pdframe.metrics.forecasting._checks import refuse_young
from pdframe.metrics.forecasting._interface import DAY, OpenDeals
from pdframe.metrics.forecasting.baselines import STRENGTH, Constant, StageClimatology, Weighted
from pdframe.metrics.forecasting.known import Known
from tests.helpers import small_frames, visit_frames
from tests.helpers.visit_frames import ID_OF, day

# Deal, stage, day created, day closed, how.
TEN = (
    (1, "A", 0, 40, "won"),
    (2, "A", 0, 30, "lost"),
    (3, "B", 0, 50, "won"),
    (4, "A", 0, None, "open"),
    (5, "B", 10, 60, "won"),
    (6, "B", 20, 100, "lost"),
    (7, "A", 30, 70, "lost"),
    (8, "B", 40, 80, "won"),
    (9, "A", 60, 100, "won"),
    (10, "B", 90, None, "open"),
)
HOUR = DAY // 24
HORIZONS = np.array([28, 56, 84]) * DAY
# Of 14, 11 and 6 deals at landmarks whose 28, 56 and 84 days are over.
WON, LOST = [5 / 14, 5 / 11, 3 / 6], [3 / 14, 3 / 11, 2 / 6]


def known(as_of: float = 112) -> Known:
    deals = small_frames.deals(
        {
            "id": deal,
            "stage_id": ID_OF[stage],
            "add_time": day(created),
            "update_time": day(created if closed is None else closed),
            "status": end,
            "won_time": day(closed) if end == "won" else None,
            "lost_time": day(closed) if end == "lost" else None,
        }
        for deal, stage, created, closed, end in TEN
    )
    stages = visit_frames.stages()
    stages["deal_probability"] = [90.0, 80.0, 20.0, 10.0, 50.0]  # E, C, A, D, B
    return Known.at(deals, visit_frames.known_visits(*TEN), stages, day(as_of))


def open_deals(*stages: str, due: int | None = None) -> OpenDeals:
    """Deals open on day 112, in these stages."""
    n = len(stages)
    first = int(day(0).value // 1_000)
    at = np.full(n, first + 112 * DAY)
    close = np.full(n, np.iinfo(np.int64).min if due is None else at[0] // DAY + due)
    return OpenDeals(
        np.arange(n) + 100, at, np.ones(n, np.int64), np.array([ID_OF[s] for s in stages]),
        at - DAY, at - DAY, np.ones(n), np.full(n, "EUR", object), np.ones(n, np.int64), close,
        np.zeros(n, np.int64),
    )  # fmt: skip


def test_the_constant_is_the_share_of_past_landmarks() -> None:
    forecast = Constant().fit(known(), 0).predict(open_deals("A", "B"), HORIZONS)
    for row in range(2):
        assert forecast.won[row] == pytest.approx(WON)
        assert forecast.lost[row] == pytest.approx(LOST)


def test_a_stage_has_its_own_share_shrunk_to_that_of_all() -> None:
    forecast = StageClimatology().fit(known(), 0).predict(open_deals("A", "B", "C"), HORIZONS)
    # Within 28 days: in A 2 of 7 were won (1, 9) and 2 lost (2, 7); in B 3 of 7 (3, 5, 8) and
    # 1 (6); C has no past.
    assert STRENGTH == 20
    assert forecast.won[:, 0] == pytest.approx(
        [(2 + 20 * 5 / 14) / 27, (3 + 20 * 5 / 14) / 27, 5 / 14]
    )
    assert forecast.lost[:, 0] == pytest.approx(
        [(2 + 20 * 3 / 14) / 27, (1 + 20 * 3 / 14) / 27, 3 / 14]
    )
    # Within 84 days, of the landmark on day 28: in A deal 1 of 1, 2, 4; in B 3 and 5 of 3, 5, 6.
    assert forecast.won[:, 2] == pytest.approx([(1 + 10) / 23, (2 + 10) / 23, 0.5])


def test_weighted_counts_the_stage_where_the_close_is_due() -> None:
    fitted = Weighted().fit(known(), 0)
    assert fitted.predict(open_deals("A", "B", due=40), HORIZONS).won.tolist() == [
        [0.0, 0.2, 0.2],
        [0.0, 0.5, 0.5],
    ]
    for due in (None, -1):
        assert not fitted.predict(open_deals("A", "B", due=due), HORIZONS).won.any()


def test_weighted_takes_the_probability_of_the_deal_where_it_has_one() -> None:
    fitted = Weighted().fit(known(), 0)
    deals = open_deals("A", "B", "B", "B", "A", due=10)
    own = replace(deals, probability=np.array([75.0, np.nan, 0.0, 100.0, 101.0]))
    won = fitted.predict(own, HORIZONS[:1]).won[:, 0]
    assert won.tolist() == [0.75, 0.5, 0.0, 1.0, 0.2]
    assert fitted.predict(own.take([3, 0]), HORIZONS[:1]).won[:, 0].tolist() == [1.0, 0.75]


def test_weighted_counts_days_in_the_zone_of_the_company() -> None:
    there = known()
    deals = open_deals("B", due=0)
    # Day 112 begins in UTC; in Tallinn it is two hours old, in New York the day before lasts.
    assert Weighted().fit(there, 0).predict(deals, HORIZONS[:1]).won[0, 0] == 0.5
    there.tz = "America/New_York"
    short = np.array([4 * HOUR])
    assert Weighted().fit(there, 0).predict(deals, short).won[0, 0] == 0.0
    assert Weighted().fit(there, 0).predict(deals, short + 2 * HOUR).won[0, 0] == 0.5
    there.tz = "Asia/Tokyo"
    assert Weighted().fit(there, 0).predict(deals, 15 * np.array([HOUR])).won[0, 0] == 0.5
    past = replace(deals, at=deals.at + 15 * HOUR)
    assert Weighted().fit(there, 0).predict(past, short).won[0, 0] == 0.0


@pytest.mark.parametrize("method", [Constant(), StageClimatology()])
def test_a_horizon_longer_than_the_past_has_the_share_of_the_longest(
    method: Constant | StageClimatology,
) -> None:
    forecast = method.fit(known(), 0).predict(open_deals("A"), np.array([84, 400]) * DAY)
    assert forecast.won[0, 0] == forecast.won[0, 1] > 0
    assert forecast.lost[0, 0] == forecast.lost[0, 1] > 0


def test_nothing_after_the_time_counts() -> None:
    # On day 84 only the landmarks 28 and 56 lie in the past; deal 9 is open.
    forecast = Constant().fit(known(84), 0).predict(open_deals("A"), HORIZONS[:2])
    assert forecast.won[0] == pytest.approx([4 / 11, 3 / 6])


def test_probabilities_never_fall_where_shares_would() -> None:
    # One deal, won within 28 days of the newest landmark; nothing closed before.
    rows = [(1, "A", 0, None, "open"), (2, "A", 50, 60, "won")]
    deals = small_frames.deals(
        [
            {"id": 1, "add_time": day(0)},
            {"id": 2, "add_time": day(50), "status": "won", "won_time": day(60)},
        ]
    )
    now = Known.at(deals, visit_frames.known_visits(*rows), visit_frames.stages(), day(84))
    won = Constant().fit(now, 0).predict(open_deals("A"), HORIZONS[:2]).won
    assert won[0].tolist() == [1 / 3, 1 / 3]  # the plain share within 56 days is 0 of 1


def test_ten_deals_are_too_few_to_forecast_from() -> None:
    with pytest.raises(InsufficientDataError, match=r"10 .*won"):
        refuse_young(known())


@pytest.mark.parametrize(("early", "late"), [("won", "lost"), ("lost", "won")])
def test_probabilities_of_both_ends_are_at_most_1(early: str, late: str) -> None:
    # Within 28 days: of four deals at the landmarks 28 and 56, two ended early and one late. Within
    # 56 days: the one deal of landmark 28 ended late.
    rows = [(1, "A", 0, 80, late), (2, "A", 50, 60, early), (3, "A", 50, 60, early)]
    deals = small_frames.deals(
        {
            "id": deal,
            "add_time": day(created),
            "update_time": day(closed),
            "status": end,
            f"{end}_time": day(closed),
        }
        for deal, _, created, closed, end in rows
    )
    now = Known.at(deals, visit_frames.known_visits(*rows), visit_frames.stages(), day(84))
    forecast = Constant().fit(now, 0).predict(open_deals("A"), HORIZONS[:2])
    parts = {"won": forecast.won[0], "lost": forecast.lost[0]}
    assert parts[early].tolist() == [0.5, 0.5]
    assert parts[late].tolist() == [0.25, 0.5]

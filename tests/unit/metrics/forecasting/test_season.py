"""The seasonal baseline of totals, by hand: revenue of one deal a month."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from pdframe.metrics.forecasting.backtest import months_after
from pdframe.metrics.forecasting.known import Known
from pdframe.metrics.forecasting.money import Money
from pdframe.metrics.forecasting.season import season_totals
from tests.helpers import small_frames


def known(months: int, value: Callable[[pd.Period], float], as_of: str) -> Known:
    """An account that wins one deal on the 10th of each month up to that of `as_of`."""
    every = pd.period_range(end=pd.Timestamp(as_of), periods=months, freq="M")
    won = [month.start_time + pd.Timedelta(days=9) for month in every]
    deals = small_frames.deals(
        {
            "id": number,
            "add_time": day - pd.Timedelta(days=3),
            "update_time": day,
            "status": "won",
            "won_time": day,
            "value": value(month),
        }
        for number, (month, day) in enumerate(zip(every, won, strict=True), start=1)
        if day <= pd.Timestamp(as_of)
    )
    stages = small_frames.stages([{}])
    visits = small_frames.visits([])
    return Known.at(deals, visits, stages, as_of, tz="UTC")


def totals(account: Known, months: int = 3) -> tuple[np.ndarray, np.ndarray] | None:
    money = Money(None, pd.Timestamp("2026-01-01"))
    return season_totals(account, months_after(account, months), money, 0, 400)


def test_constant_revenue_is_forecast_to_remain_constant() -> None:
    result = totals(known(20, lambda month: 100.0, "2025-12-31"))
    assert result is not None
    mean, draws = result
    assert mean == pytest.approx([100, 100, 100])
    assert draws == pytest.approx(np.full((3, 400), 100.0))


def test_the_season_is_shrunk_to_none() -> None:
    # Two complete years, 240 in each March and 100 in each other month: 1,340 a year. The share of
    # March is 240 / (1,340 / 12) in both years, and counts with the weight of two years of 1.
    result = totals(known(25, lambda month: 240.0 if month.month == 3 else 100.0, "2025-12-31"))
    assert result is not None
    mean = result[0]
    march, other = (2 * share / (1_340 / 12) + 2 for share in (240.0, 100.0))
    assert mean[2] / mean[0] == pytest.approx(march / other)
    assert mean[0] == pytest.approx(mean[1])


def test_errors_of_the_past_are_the_range() -> None:
    account = known(30, lambda month: 50.0 if month.month % 2 else 150.0, "2025-11-30")
    result = totals(account)
    assert result is not None
    # Half of the season is believed: seasons .75 and 1.25, level (50 / .75 + 150 / 1.25) / 2 =
    # 93.33. So an even month was forecast as 116.67 and was 150, an odd one as 70 and was 50; the
    # coming December is 116.67 x 5 / 7 or x 9 / 7.
    low, high = np.quantile(result[1][0], [0.1, 0.85])
    assert low == pytest.approx(116.67 * 5 / 7, rel=0.01)
    assert high == pytest.approx(116.67 * 9 / 7, rel=0.01)


def test_a_month_that_is_partly_over_adds_what_is_won() -> None:
    result = totals(known(20, lambda month: 100.0, "2025-12-16"))
    assert result is not None
    # 100 on the 10th; then what is left of the month: from the end of the 16th, 15 of 31 days.
    assert result[0] == pytest.approx([100 + 100 * 15 / 31, 100, 100])


def test_months_are_those_of_the_company() -> None:
    zone = "America/New_York"
    # Each won at 23:30 on the last day of a month, an hour after it was created: in UTC both are in
    # the next month. The first of 13 months is no complete one; the twelve others just suffice.
    every = pd.period_range("2024-11", "2025-11", freq="M")
    won = [(month + 1).start_time - pd.Timedelta(minutes=30) for month in every]
    utc = [day.tz_localize(zone).tz_convert("UTC").tz_localize(None) for day in won]
    deals = small_frames.deals(
        {
            "id": number,
            "add_time": time - pd.Timedelta(hours=1),
            "update_time": time,
            "status": "won",
            "won_time": time,
            "value": 100.0,
        }
        for number, time in enumerate(utc, start=1)
    )
    frames = deals, small_frames.visits([]), small_frames.stages([{}])
    result = totals(Known.at(*frames, "2025-12-16", tz=zone))
    assert result is not None
    assert result[0] == pytest.approx([100 * 15 / 31, 100, 100])


def test_too_short_a_past_has_no_forecast() -> None:
    assert totals(known(8, lambda month: 100.0, "2025-12-31")) is None

"""Times that people count from now."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest

from pdframe._relative_times import absolute
from pdframe.errors import ArgumentError

# A Thursday: 1 January there, and still 2025 in UTC.
NOW = pd.Timestamp("2025-12-31 22:30", tz="UTC")
TZ = "Europe/Tallinn"


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("today", date(2026, 1, 1)),
        ("Yesterday", date(2025, 12, 31)),
        ("last Monday", date(2025, 12, 29)),
        ("monday", date(2025, 12, 29)),
        ("last  Thursday", date(2025, 12, 25)),
        ("last_friday", date(2025, 12, 26)),
        ("last Wednesday", date(2025, 12, 31)),
        ("7 days ago", date(2025, 12, 25)),
        ("a week ago", date(2025, 12, 25)),
        ("last 7 days", date(2025, 12, 25)),
        ("the past 2 weeks", date(2025, 12, 18)),
        ("1 month ago", date(2025, 12, 1)),
        ("2 quarters ago", date(2025, 7, 1)),
        ("one year ago", date(2025, 1, 1)),
        ("2026 days ago", date(2020, 6, 15)),
        ("7d", date(2025, 12, 25)),
        ("7 days", date(2025, 12, 25)),
        ("7D ago", date(2025, 12, 25)),
        ("2w", date(2025, 12, 18)),
        ("two weeks ago", date(2025, 12, 18)),
        ("2 wks back", date(2025, 12, 18)),
        ("3mo", date(2025, 10, 1)),
        ("2 qtrs", date(2025, 7, 1)),
        ("1y", date(2025, 1, 1)),
        ("last day", date(2025, 12, 31)),
        ("past week", date(2025, 12, 25)),
        ("past month", date(2025, 12, 1)),
        ("24h", pd.Timestamp("2025-12-30 22:30", tz="UTC")),
        ("last hour", pd.Timestamp("2025-12-31 21:30", tz="UTC")),
        ("the past hour", pd.Timestamp("2025-12-31 21:30", tz="UTC")),
        ("90 min", pd.Timestamp("2025-12-31 21:00", tz="UTC")),
        ("tomorrow", date(2026, 1, 2)),
        ("in 30 days", date(2026, 1, 31)),
        ("the next 30 days", date(2026, 1, 31)),
        ("3 months from now", date(2026, 4, 1)),
        ("in two hours", pd.Timestamp("2026-01-01 00:30", tz="UTC")),
        ("next week", pd.Period("2026-01-05", "W-SUN")),
        ("next quarter", pd.Period("2026Q2", "Q")),
        ("end of the month", pd.Period("2026-01", "M")),
        ("end of year", pd.Period("2026", "Y")),
        ("ytd", date(2026, 1, 1)),
        ("WTD", date(2025, 12, 29)),
        ("3 hours ago", pd.Timestamp("2025-12-31 19:30", tz="UTC")),
        ("an hour ago", pd.Timestamp("2025-12-31 21:30", tz="UTC")),
        ("last 90 minutes", pd.Timestamp("2025-12-31 21:00", tz="UTC")),
        ("now", NOW),
        (timedelta(days=2), pd.Timestamp("2025-12-29 22:30", tz="UTC")),
        ("this week", pd.Period("2025-12-29", "W-SUN")),
        ("last week", pd.Period("2025-12-22", "W-SUN")),
        ("this month", pd.Period("2026-01", "M")),
        ("last quarter", pd.Period("2025Q4", "Q")),
        ("last year", pd.Period("2025", "Y")),
    ],
)
def test_a_time_counted_from_now(when: Any, expected: Any) -> None:
    assert absolute(when, NOW, TZ, "since") == expected


@pytest.mark.parametrize(
    "when",
    [
        "2026-06-30",
        "2026",
        "2026-Q2",
        " 2026-06",
        date(2026, 6, 30),
        pd.Period("2026-06"),
        17,
        None,
    ],
)
def test_any_other_time_is_returned_as_it_is(when: Any) -> None:
    assert absolute(when, NOW, TZ, "since") is when


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("last Mondy", "since='last Mondy' is not a time. Did you mean 'last Monday'?"),
        ("ystrday", "Did you mean 'yesterday'?"),
        ("next weekend", "Write '2026-06-30'"),
        ("7 dys ago", "Did you mean '7 days ago'?"),
        ("3 weks", "Did you mean '3 weeks ago'?"),
        ("7m", "Did you mean '7 months ago' or '7 minutes ago'?"),
        ("Q2", "Did you mean '2026-Q2'?"),
        ("q 4", "Did you mean '2026-Q4'?"),
        ("Q1 2025", "Did you mean '2025-Q1'?"),
        ("Q5", "since='Q5' is not a time. Write"),
        ("last our", "Did you mean 'last hour'?"),
        ("next", "is not a time"),
        ("in week", "is not a time"),
        ("week", "is not a time"),
        ("last 7 days ago", "is not a time"),
        ("999999y", "is before the first year"),
        ("in 999999 years", "is after the last year"),
        ("soon", "or one of 'today', 'yesterday', 'last Monday'"),
        ("", "is not a time"),
        ("999999 years ago", "is before the first year"),
        ("7 hours ago ago", "is not a time"),
    ],
)
def test_a_text_that_is_no_time_gets_the_nearest_one(when: str, message: str) -> None:
    with pytest.raises(ArgumentError) as refused:
        absolute(when, NOW, TZ, "since")
    assert message in str(refused.value)


def test_a_day_of_the_clock_change_is_that_day() -> None:
    now = pd.Timestamp("2026-03-29 21:30", tz="UTC")  # 30 March there
    assert absolute("yesterday", now, TZ, "since") == date(2026, 3, 29)
    assert absolute("24 hours ago", now, TZ, "since") == now - timedelta(hours=24)

"""Times in words: counted from the day on which an account gave the frames."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pdframe import metrics
from pdframe.errors import ArgumentError

TODAY = "2026-06-30"


def deals(today: str | None = TODAY) -> pd.DataFrame:
    """One deal won on each day from 1 May to 30 June 2026."""
    days = pd.date_range("2026-05-01", "2026-06-30", tz="UTC").as_unit("us")
    frame = pd.DataFrame(
        {
            "id": range(1, len(days) + 1),
            "status": "won",
            "value": 1.0,
            "currency": "EUR",
            "add_time": days - pd.Timedelta("10D"),
            "won_time": days + pd.Timedelta("9h"),
            "lost_time": pd.Series(pd.NaT, range(len(days)), dtype="datetime64[us, UTC]"),
            "close_time": days + pd.Timedelta("9h"),
        }
    )
    if today is not None:
        frame.attrs = {"tz": "UTC", "today": today}
    return frame


def won(since: Any, until: Any, frame: pd.DataFrame | None = None) -> int:
    table = metrics.win_rate(deals() if frame is None else frame, since=since, until=until)
    return int(table["won"].sum())


@pytest.mark.parametrize(
    ("since", "until", "days"),
    [
        ("2026-06-01", "today", 29),  # a day is its first instant
        ("2026-06-01", "now", 30),
        ("7d", "today", 7),
        ("7 days ago", "now", 8),
        ("last month", "last month", 31),
        ("this month", "this month", 30),
        ("last Monday", "today", 1),
        ("qtd", "now", 61),
        (None, "yesterday", 59),
        ("2 weeks ago", "1 week ago", 7),
    ],
)
def test_words_count_from_the_day_of_the_frame(since: Any, until: Any, days: int) -> None:
    assert won(since, until) == days


@pytest.mark.filterwarnings("ignore:as_of.*no history:pdframe.errors.DataWarning")
def test_the_latest_day_of_several_frames_counts() -> None:
    older = deals("2026-06-20")
    older.attrs["tz"] = "UTC"
    visits = pd.DataFrame(
        {
            "deal_id": [1, 2],
            "pipeline_id": 1,
            "stage_id": 1,
            "visit": 1,
            "entered_at": pd.Timestamp("2026-05-01", tz="UTC"),
            "left_at": pd.Timestamp("2026-05-11", tz="UTC"),
            "end": "won",
            "source": "changelog",
            "entered_after": pd.NaT,
            "left_after": pd.NaT,
            "seen_at": pd.Timestamp("2026-05-01", tz="UTC"),
        }
    )
    visits.attrs["today"] = "2026-06-28"
    result, known_visits = metrics.as_of(older, visits, "today")
    expected, _ = metrics.as_of(older, visits, "2026-06-28")
    pd.testing.assert_frame_equal(result, expected)
    assert result.attrs["today"] == known_visits.attrs["today"] == "2026-06-28"


def test_a_result_passes_the_day_on() -> None:
    table = metrics.sales_by_period(deals(), since="this month", until="today")
    assert table["won"].tolist() == [29]
    assert table.attrs["today"] == TODAY
    assert "today" not in metrics.sales_by_period(deals(None), since="2026-06", until=None).attrs


@pytest.mark.parametrize(
    ("until", "message"),
    [
        ("todya", r"until='todya' is not a time\. Did you mean 'today'\?"),
        ("3 hours ago", "a metric counts from the day of its frames, 2026-06-30"),
        ("last hour", "a day such as 'yesterday'"),
    ],
)
def test_words_that_name_no_day_are_answered(until: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        won("2026-06-01", until)


@pytest.mark.parametrize("today", [None, "soon", ""])
def test_frames_without_a_day_are_refused_with_the_reason(today: str | None) -> None:
    with pytest.raises(ArgumentError, match=r"attrs\['today'\], which frames of an account have"):
        won("7d", "2026-07-01", deals(today))


def test_times_that_are_dates_do_not_change() -> None:
    assert won("2026-06", "2026-06") == 30
    assert won(pd.Period("2026-06"), pd.Timestamp("2026-06-15", tz="UTC")) == 14

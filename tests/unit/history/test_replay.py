"""Which moment `as_of` takes a text, a date or a time for."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from pdframe.errors import ArgumentError
from pdframe.history.replay import _moment


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# What the clocks do there, by the IANA database: Berlin goes forward at 01:00 UTC on 29 March and
# back at 01:00 UTC on 25 October; Cairo back from 24:00 to 23:00 on 29 October (21:00 UTC), so that
# day's last hour comes twice; Cairo forward from 00:00 to 01:00 on 24 April (22:00 UTC), so that
# day has no midnight; Havana back from 01:00 to 00:00 on 1 November (05:00 UTC).
@pytest.mark.parametrize(
    ("when", "tz", "meant"),
    [
        ("2026-06-30 12:00", "Europe/Berlin", "2026-06-30 10:00"),
        ("2026-06-30T12", "Europe/Berlin", "2026-06-30 10:00"),
        ("2026-06-30 12:00+05:00", "Europe/Berlin", "2026-06-30 07:00"),
        (datetime(2026, 6, 30), "Europe/Berlin", "2026-06-29 22:00"),
        (pd.Timestamp("2026-06-30"), "Europe/Berlin", "2026-06-29 22:00"),
        (pd.Timestamp("2026-06-30 12:00:00.000000999"), "UTC", "2026-06-30 12:00"),
        ("2026-03-29 02:30", "Europe/Berlin", "2026-03-29 01:30"),
        ("2026-10-25 02:30", "Europe/Berlin", "2026-10-25 00:30"),
        ("2026-10-29 23:30", "Africa/Cairo", "2026-10-29 20:30"),
    ],
)
def test_a_time_is_taken_in_the_account_s_timezone(when: object, tz: str, meant: str) -> None:
    assert _moment(when, tz) == utc(meant)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("day", "tz", "next_day_begins"),
    [
        ("2026-06-30", "Europe/Berlin", "2026-06-30 22:00"),
        ("2026-10-29", "Africa/Cairo", "2026-10-29 22:00"),
        ("2026-04-23", "Africa/Cairo", "2026-04-23 22:00"),
        ("2026-10-31", "America/Havana", "2026-11-01 04:00"),
        ("2026-11-01", "America/Havana", "2026-11-02 05:00"),
    ],
)
def test_a_bare_date_ends_when_the_next_day_begins(day: str, tz: str, next_day_begins: str) -> None:
    for form in (day, f" {day} ", date.fromisoformat(day), np.datetime64(day)):
        last = utc(next_day_begins) - timedelta(microseconds=1)
        assert _moment(form, tz) == last  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("period", "next_begins"),
    [
        ("2026-06", "2026-06-30 22:00"),
        ("2026-Q2", "2026-06-30 22:00"),
        (pd.Period("2026Q2"), "2026-06-30 22:00"),
        ("2026", "2026-12-31 23:00"),
    ],
)
def test_a_period_ends_when_the_next_one_begins(period: object, next_begins: str) -> None:
    last = utc(next_begins) - timedelta(microseconds=1)
    assert _moment(period, "Europe/Berlin") == last  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "when",
    [
        "12:00",
        "now",
        "today",
        "30 June 2026",
        "06/30/2026",
        "2026-02-30",
        "2026-06-30 noon",
        "9999-12-31",
        5,
        1.5,
        True,
        [1],
    ],
)
def test_what_says_no_moment_is_refused(when: object) -> None:
    with pytest.raises(ArgumentError, match="such as '2026-06-30'"):
        _moment(when, "Europe/Berlin")  # type: ignore[arg-type]


@pytest.mark.parametrize("when", [date.max, "0001-01-01 00:00"])
def test_a_time_that_no_calendar_holds_is_refused(when: object) -> None:
    with pytest.raises(ArgumentError, match="such as '2026-06-30'"):
        _moment(when, "Asia/Tokyo")  # type: ignore[arg-type]

"""Days and midnights of a timezone, against zoneinfo's own clock, one time after another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pdframe.metrics._arguments import DAY, NULL, local_days
from pdframe.metrics._columns import midnights

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "Asia/Kathmandu")


def micros(text: str) -> int:
    return int(np.datetime64(text, "us").astype(np.int64))


def day_of(instant: int, tz: str) -> int:
    local = (EPOCH + timedelta(microseconds=instant)).astimezone(ZoneInfo(tz))
    return (local.date() - EPOCH.date()).days * DAY


def first_instant_of(day: int, tz: str) -> int:
    """The earliest instant of a day, by bisection: clocks never go back over a midnight twice."""
    low, high = day - 2 * DAY, day + 2 * DAY
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if day_of(middle, tz) >= day else (middle, high)
    return high


@pytest.mark.parametrize("tz", ZONES)
def test_the_day_of_a_time_is_that_of_the_clock_there(tz: str) -> None:
    random = np.random.default_rng(1)
    times = random.integers(micros("1985-01-01"), micros("2036-01-01"), 400)
    around = [micros("2026-03-29T00:59"), micros("2018-11-04T02:59:59"), micros("1969-12-31T23:59")]
    every = np.concatenate((times, around, [-1, 0, 1]))
    assert local_days(every, tz).tolist() == [day_of(int(each), tz) for each in every]


@pytest.mark.parametrize("tz", ZONES)
def test_a_day_begins_at_its_first_instant_there(tz: str) -> None:
    random = np.random.default_rng(2)
    days = random.integers(micros("1985-01-01") // DAY, micros("2036-01-01") // DAY, 60) * DAY
    # In Brazil clocks went from 0:00 to 1:00; in Germany they go back at 3:00.
    odd = [micros("2018-11-04"), micros("2018-02-18"), micros("2026-10-25")]
    every = np.append(days, odd)
    assert midnights(every, tz).tolist() == [first_instant_of(int(day), tz) for day in every]


@pytest.mark.parametrize("tz", ZONES)
def test_null_is_null_and_the_edge_of_time_is_a_day_in_utc(tz: str) -> None:
    edge = micros("9999-12-31T12:00")
    assert local_days(np.array([NULL, edge]), tz).tolist() == [NULL, edge // DAY * DAY]
    if tz != "UTC":
        assert midnights(np.array([NULL, edge // DAY * DAY]), tz).tolist() == [NULL, NULL]
    assert len(local_days(np.zeros(0, np.int64), tz)) == len(midnights(np.zeros(0, np.int64), tz))

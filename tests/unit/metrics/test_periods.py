"""Periods of weeks, months, quarters and years, and times that are named by a period."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import NULL
from pdframe.metrics._periods import (
    beginning,
    days_since_1970,
    ending,
    frequency,
    known_by,
    period_window,
)


def first_day(day: str, freq: str, fiscal_start: int = 1) -> str:
    lengths = frequency(freq, fiscal_start)
    days = np.array([day], "datetime64[D]").astype(np.int64)
    return f"{lengths.dates(lengths.numbers(days)).iloc[0]:%Y-%m-%d}"


@pytest.mark.parametrize(
    ("day", "freq", "fiscal_start", "expected"),
    [
        ("2026-06-30", "W", 1, "2026-06-29"),
        ("2026-06-29", "W", 1, "2026-06-29"),
        ("2026-06-28", "W", 1, "2026-06-22"),
        ("1970-01-01", "W", 1, "1969-12-29"),
        ("1969-12-28", "W", 1, "1969-12-22"),
        ("2026-06-30", "M", 1, "2026-06-01"),
        ("2026-06-30", "M", 4, "2026-06-01"),
        ("2026-06-30", "Q", 1, "2026-04-01"),
        ("2026-06-30", "Q", 2, "2026-05-01"),
        ("2026-04-30", "Q", 2, "2026-02-01"),
        ("2026-06-30", "Q", 3, "2026-06-01"),
        ("2026-06-30", "Y", 1, "2026-01-01"),
        ("2026-06-30", "Y", 7, "2025-07-01"),
        ("2026-07-01", "Y", 7, "2026-07-01"),
        ("1969-03-01", "Y", 2, "1969-02-01"),
        ("2099-12-31", "M", 1, "2099-12-01"),
    ],
)
def test_a_day_lies_in_the_period_that_begins_on(
    day: str, freq: str, fiscal_start: int, expected: str
) -> None:
    assert first_day(day, freq, fiscal_start) == expected


def test_a_null_day_has_a_null_period() -> None:
    none = days_since_1970(np.array([NULL], np.int64))
    assert none[0] == NULL
    for freq in "WMQY":
        assert frequency(freq).dates(frequency(freq).numbers(none)).isna().all()


@pytest.mark.parametrize("freq", ["D", "month", "", None, 3, "m"])
def test_other_lengths_are_refused(freq: object) -> None:
    with pytest.raises(ArgumentError, match=r"freq must be one of 'W', 'M', 'Q', 'Y'"):
        frequency(freq)


@pytest.mark.parametrize("month", [0, 13, 1.5, True, "April", None])
def test_a_fiscal_year_begins_in_a_month(month: object) -> None:
    with pytest.raises(ArgumentError, match="fiscal_start"):
        frequency("Q", month)


@pytest.mark.parametrize(
    ("value", "first", "after"),
    [
        ("2026", "2026-01-01", "2027-01-01"),
        ("2026-Q2", "2026-04-01", "2026-07-01"),
        ("2026q4", "2026-10-01", "2027-01-01"),
        ("2026-12", "2026-12-01", "2027-01-01"),
        (pd.Period("2026-06"), "2026-06-01", "2026-07-01"),
        (pd.Period("2026Q1"), "2026-01-01", "2026-04-01"),
        (pd.Period("2026-06-30", "D"), "2026-06-30", "2026-07-01"),
        (pd.Period("2026-07-01", "W"), "2026-06-29", "2026-07-06"),
        (pd.Period("2026-06-30 05:00", "h"), "2026-06-30 05:00", "2026-06-30 06:00"),
    ],
)
def test_a_named_period_begins_at_its_start_and_ends_at_its_end(
    value: Any, first: str, after: str
) -> None:
    tz = "Europe/Berlin"
    assert beginning(value, tz, "since") == pd.Timestamp(first, tz=tz)
    assert ending(value, tz, "until") == pd.Timestamp(after, tz=tz)
    assert known_by(value, tz, "as_of") == pd.Timestamp(after, tz=tz) - pd.Timedelta(1, "us")


def test_a_day_or_a_time_is_an_instant() -> None:
    day = pd.Timestamp("2026-06-30", tz="UTC")
    assert beginning("2026-06-30", "UTC", "since") == ending("2026-06-30", "UTC", "until") == day
    assert known_by("2026-06-30", "UTC", "as_of") == pd.Timestamp("2026-06-30 23:59:59.999999Z")
    assert known_by("2026-06-30 12:00", "UTC", "as_of") == pd.Timestamp("2026-06-30 12:00Z")


def test_a_window_contains_an_instant() -> None:
    since, until = period_window("2026-Q1", "2026-03", "UTC")
    assert (f"{since:%Y-%m-%d}", f"{until:%Y-%m-%d}") == ("2026-01-01", "2026-04-01")
    with pytest.raises(ArgumentError, match="not before"):
        period_window("2026-05-01", "2026-05-01", "UTC")


@pytest.mark.parametrize("value", ["2026-13", "0000", "2026-Q5", "now", 2026, None])
def test_what_names_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ArgumentError, match="since"):
        beginning(value, "UTC", "since")

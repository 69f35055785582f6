"""The days that a period names, and those it is compared with."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pdframe.dashboard._parts import amount, change
from pdframe.dashboard.state import State, check_period, filtered, period_of
from pdframe.errors import ArgumentError

NOW = pd.Timestamp("2026-06-30 22:30", tz="UTC")
"""In Tallinn it is 1 July."""
TALLINN = "Europe/Tallinn"


@pytest.mark.parametrize(
    ("period", "days", "before"),
    [
        ("2026-05", "2026-05-01 to 2026-05-31", "2026-04-01 to 2026-04-30"),
        ("2026-Q1", "2026-01-01 to 2026-03-31", "2025-10-01 to 2025-12-31"),
        ("2025", "2025-01-01 to 2025-12-31", "2024-01-01 to 2024-12-31"),
        ("last month", "2026-06-01 to 2026-06-30", "2026-05-01 to 2026-05-31"),
        # A running period: one day of it, against one day.
        ("2026-Q3", "2026-07-01 to 2026-07-01", "2026-04-01 to 2026-04-01"),
        (pd.Period("2026-02", "M"), "2026-02-01 to 2026-02-28", "2026-01-01 to 2026-01-31"),
        (("2026-03-10", "2026-03-15"), "2026-03-10 to 2026-03-14", "2026-03-05 to 2026-03-09"),
        (None, "2026-04-03 to 2026-07-01", "2026-01-03 to 2026-04-02"),
        ("last 30 days", "2026-06-02 to 2026-07-01", "2026-05-03 to 2026-06-01"),
        ("Last 1 days", "2026-07-01 to 2026-07-01", "2026-06-30 to 2026-06-30"),
        ("7d", "2026-06-25 to 2026-07-01", "2026-06-18 to 2026-06-24"),
        ("yesterday", "2026-06-30 to 2026-06-30", "2026-06-29 to 2026-06-29"),
        ("2026-06-15", "2026-06-15 to 2026-06-15", "2026-06-14 to 2026-06-14"),
        ("last Monday", "2026-06-29 to 2026-07-01", "2026-06-26 to 2026-06-28"),
        # As many days of the year before.
        ("YTD", "2026-01-01 to 2026-07-01", "2025-01-01 to 2025-07-01"),
        ("last 6 months", "2026-01-01 to 2026-07-01", "2025-07-03 to 2025-12-31"),
    ],
)
def test_a_period_has_full_days_and_one_before(period: Any, days: str, before: str) -> None:
    named = period_of(period, NOW, TALLINN)

    assert (named.text, named.before_text) == (days, before)


@pytest.mark.parametrize(
    ("period", "today", "days", "before"),
    [
        ("last 30 days", "2026-06-30", "2026-06-01 to 2026-06-30", "2026-05-02 to 2026-05-31"),
        ("2026-06", "2026-06-30", "2026-06-01 to 2026-06-30", "2026-05-01 to 2026-05-31"),
        ("28d", "2026-02-28", "2026-02-01 to 2026-02-28", "2026-01-04 to 2026-01-31"),
        (None, "2026-03-31", "2026-01-01 to 2026-03-31", "2025-10-03 to 2025-12-31"),
        ("qtd", "2026-03-31", "2026-01-01 to 2026-03-31", "2025-10-01 to 2025-12-31"),
    ],
)
def test_days_that_are_a_calendar_month_are_compared_with_as_many_days(
    period: Any, today: str, days: str, before: str
) -> None:
    named = period_of(period, pd.Timestamp(today, tz=TALLINN) + pd.Timedelta("9h"), TALLINN)

    assert (named.text, named.before_text) == (days, before)


@pytest.mark.parametrize(
    ("period", "said"),
    [
        ("2026-08", "in the future"),
        ("2026-13", "not a period"),
        ("last Mondy", "Did you mean 'last monday'"),
        ("2026-07-05", "in the future"),
        ("in 30 days", "in the future"),
        (("2026-05-01", "2026-05-01"), "is empty"),
        ("last 0 days", "is empty"),
    ],
)
def test_what_is_no_period_is_refused(period: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=f"(?i){said}"):
        period_of(period, NOW, TALLINN)


def test_what_is_no_period_is_known_without_a_clock() -> None:
    for named in (
        None,
        "2026",
        "2199-Q1",
        "last 30 days",
        "yesterday",
        ("last Monday", "2026-07-01"),
    ):
        check_period(named)
    for other in ("last mnth", "2026-06-31", ("x", "y"), ["2026-01-01", "2026-02-01"]):
        with pytest.raises(ArgumentError, match="period="):
            check_period(other)
    with pytest.raises(ArgumentError, match=rf"Did you mean '{pd.Timestamp.now('UTC'):%Y}-Q2'\?"):
        check_period("Q2")


def test_a_number_that_rounds_to_0_has_no_sign() -> None:
    assert [amount(-0.4), amount(-1234.5), amount(None)] == ["0", "-1,234", "–"]
    given = [(99.9, 100), (150, 100), (5, 0), (2697, 150)]
    assert [change(*pair) for pair in given] == ["+0%", "+50%", "", "+1,698%"]
    # What was below 0 and is less so has grown.
    assert change(-50, -100) == "+50%"


def test_a_state_chooses_deals_by_ids_and_by_any_field() -> None:
    deals = pd.DataFrame(
        {
            "id": [1, 2, 3, 4],
            "pipeline_id": pd.array([1, 1, 2, None], "Int64"),
            "owner_id": pd.array([7, 8, 7, 7], "Int64"),
            "Region": ["North", None, "South", "North"],
            "Modules": [["A", "B"], [], None, ["B"]],
        }
    )
    deals.attrs["tz"] = TALLINN
    period = period_of("2026-05", NOW, TALLINN)

    def chosen(**how: Any) -> list[int]:
        rows = filtered(deals, State(period, **how))
        assert rows.attrs["tz"] == TALLINN
        return rows["id"].to_list()

    assert chosen() == [1, 2, 3, 4]
    assert chosen(pipeline_id=1, owner_id=7) == [1]
    assert chosen(field="Region", value="North") == [1, 4]
    assert chosen(field="Modules", value="B") == [1, 4]
    with pytest.raises(ArgumentError, match="no column 'Regoin'"):
        chosen(field="Regoin", value="North")

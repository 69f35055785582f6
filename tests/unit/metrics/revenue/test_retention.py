"""Retention and cohorts: published sums, tables written out by hand, rates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe.errors import ArgumentError
from pdframe.metrics import (
    drill_through,
    mrr_customer_months,
    mrr_schedule,
    retention,
    revenue_cohorts,
)
from tests.helpers.revenue_frames import days, ledger

# Names of customers have a test of their own.
pytestmark = pytest.mark.filterwarnings("ignore:.*Customers have no names")

JANUARY: dict[str, Any] = {"since": "2027-01-01", "until": "2027-02-01"}


def of(lines: pd.DataFrame, **arguments: Any) -> tuple[Any, ...]:
    row = retention(lines, **{**JANUARY, **arguments}).iloc[0]
    return row["customers"], row["nrr"], row["grr"], row["logo_retention"]


def test_the_usual_sum() -> None:
    # 200,000 at the start; 6,000 churned, 4,000 contracted, 20,000 expanded; whoever is new does
    # not count.
    lines = ledger(
        {"customer": 1, "item_price": 6_000, "billing_frequency_cycles": 12},
        {"customer": 2, "item_price": 10_000, "billing_frequency_cycles": 12},
        {"customer": 2, "item_price": 6_000, "start": "2027-01-01"},
        {"customer": 3, "item_price": 184_000},
        {"customer": 3, "item_price": 20_000, "start": "2026-06-01"},
        {"customer": 4, "item_price": 50_000, "start": "2026-02-01"},
    )
    assert of(lines) == (3, 1.05, 0.95, 2 / 3)


def test_what_happened_between_the_snapshots_does_not_count() -> None:
    lines = ledger({}, {"item_price": 50, "start": "2026-03-01", "billing_frequency_cycles": 6})
    assert of(lines) == (1, 1.0, 1.0, 1.0)
    assert of(lines, months=5) == (1, 100 / 150, 100 / 150, 1.0)


def test_a_customer_who_arrived_back_is_retained() -> None:
    lines = ledger({"billing_frequency_cycles": 2}, {"start": "2026-12-01", "item_price": 130})
    assert of(lines) == (1, 1.3, 1.0, 1.0)


def test_where_no_deal_was_nothing_is_known() -> None:
    result = retention(ledger({"start": "2026-06-01"}), **JANUARY)
    assert result["customers"].tolist() == [0]
    assert result[["nrr", "grr", "logo_retention"]].isna().all(axis=None)
    assert list(result.columns) == [
        "month",
        "currency",
        "customers",
        "nrr",
        "grr",
        "logo_retention",
    ]


def test_currencies_and_rates() -> None:
    lines = ledger(
        {"currency": "EUR", "billing_frequency_cycles": 6},
        {
            "currency": "USD",
            "start": "2026-07-01",
            "item_price": 150,
        },  # the same customer moves to dollars
        {"customer": 2, "currency": "USD", "item_price": 40},
    )
    apart = retention(lines, **JANUARY).set_index("currency")
    assert apart.loc["EUR", ["nrr", "logo_retention"]].tolist() == [0, 0]
    assert apart.loc["USD", ["customers", "nrr", "logo_retention"]].tolist() == [1, 1, 1]
    together = retention(lines, **JANUARY, rates={"EUR": 1.0, "USD": 0.5})
    assert together[["customers", "nrr", "grr", "logo_retention"]].values.tolist() == [
        [2, 95 / 120, 95 / 120, 1.0]
    ]


@pytest.mark.filterwarnings("ignore:.*Some rates are older:pdframe.errors.DataWarning")
def test_rates_alone_change_nothing() -> None:
    lines = ledger({"currency": "USD"}, {"currency": "EUR", "customer": 2, "item_price": 77})
    rates = pd.DataFrame(
        {
            "currency": ["USD", "USD", "EUR"],
            "date": ["2026-01-01", "2027-01-05", "2026-01-01"],
            "rate": [0.5, 2.0, 1.0],
        }
    )
    assert of(lines, rates=rates) == (2, 1.0, 1.0, 1.0)
    # Only the rate of the later month is needed.
    later = pd.DataFrame({"currency": ["USD", "EUR"], "date": "2027-01-31", "rate": [2.0, 1.0]})
    assert of(lines, rates=later) == (2, 1.0, 1.0, 1.0)


def test_credits() -> None:
    lines = ledger(
        {},
        {"start": "2026-06-01", "item_price": -150},
        {"customer": 2, "item_price": -10},
        {"customer": 2, "start": "2027-01-01"},
    )
    # Customer 1 falls to -50, of which gross retention keeps nothing; customer 2 was below nothing,
    # so not active, and does not count though it is active now.
    assert of(lines) == (1, -0.5, 0.0, 0.0)


def test_a_credit_of_one_customer_takes_nothing_from_the_gross_retention_of_others() -> None:
    lines = ledger(
        {"item_price": 300},
        {"customer": 2},
        {"customer": 2, "start": "2026-06-01", "item_price": -500},  # now at -400
        {"customer": 3, "item_price": 100, "billing_frequency_cycles": 6},
    )
    # Then 300 + 100 + 100; now 300 - 400 + 0 in all, of which 300 + 0 + 0 are kept.
    assert of(lines) == (3, -100 / 500, 300 / 500, 1 / 3)
    assert of(lines, rates={"EUR": 1.0}) == (3, -100 / 500, 300 / 500, 1 / 3)


@pytest.mark.parametrize("seed", range(4))
def test_gross_retention_lies_between_nothing_and_all(seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = [
        {
            "customer": int(draw.integers(1, 12)),
            "currency": str(draw.choice(["EUR", "USD"])),
            "item_price": float(draw.choice([-500, -20, -0.01, 0.01, 30, 400])),
            "start": (
                f"{draw.integers(2024, 2027)}-{draw.integers(1, 13):02}-{draw.integers(1, 29):02}"
            ),
            "billing_frequency_cycles": int(draw.integers(1, 30)),
        }
        for _ in range(80)
    ]
    lines = ledger(*rows)
    for arguments in ({}, {"rates": {"EUR": 1.0, "USD": 0.8}}, {"by": "name"}):
        result = retention(lines, since="2024-06-01", until="2028-01-01", months=7, **arguments)
        grr = result["grr"].dropna()
        assert len(grr) > 20
        assert grr.between(0, 1).all()


def test_by_group() -> None:
    lines = ledger(
        {"name": "Core"},
        {"name": "Extra", "billing_frequency_cycles": 1},
        {"name": "Extra", "customer": 2},
    )
    result = retention(lines, **JANUARY, by="name").set_index("name")
    assert result["customers"].tolist() == [1, 2]
    assert result["nrr"].tolist() == [1.0, 0.5]


@pytest.mark.parametrize("months", [0, -1, 1.5, "12", None, True, 5_000])
def test_months_that_make_no_sense(months: Any) -> None:
    with pytest.raises(ArgumentError, match="months="):
        retention(ledger({}), **JANUARY, months=months)


# Cohorts

COHORT_ROWS = (
    {"start": "2026-01-10"},
    {"start": "2026-01-20", "customer": 2, "item_price": 50, "billing_frequency_cycles": 1},
    {"start": "2026-03-20", "customer": 2, "item_price": 80},  # comes back, in its old cohort
    {"start": "2026-02-15", "customer": 3, "item_price": 10},
    {"start": "2026-03-15", "customer": 3, "item_price": 5},
    {"start": "2025-11-15", "customer": 4},  # before the window
)


def cohorts(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    rows = frame[["cohort", "age", "customers", "mrr", "nrr"]].to_dict("records")
    return [
        (
            str(r["cohort"])[:7],
            *(None if pd.isna(r[k]) else r[k] for k in ("age", "customers", "mrr", "nrr")),
        )
        for r in rows
    ]


def test_cohorts_by_hand() -> None:
    result = revenue_cohorts(ledger(*COHORT_ROWS), since="2026-01-01", until="2026-04-01")
    assert cohorts(result) == [
        ("2026-01", 0, 2, 150, 1.0),
        ("2026-01", 1, 1, 100, 100 / 150),
        ("2026-01", 2, 2, 180, 1.2),
        ("2026-02", 0, 1, 10, 1.0),
        ("2026-02", 1, 1, 15, 1.5),
        ("2026-02", 2, None, None, None),  # immature
    ]
    assert list(result.columns) == ["cohort", "currency", "age", "customers", "mrr", "nrr", "month"]
    assert days(result["month"])[:3] == ["2026-01-01", "2026-02-01", "2026-03-01"]


def test_cohorts_add_up_to_the_schedule_and_lead_to_their_customers() -> None:
    lines = ledger(*COHORT_ROWS)
    window: dict[str, Any] = {"since": None, "until": "2026-04-01"}
    result, schedule = revenue_cohorts(lines, **window), mrr_schedule(lines, **window)
    by_month = result.groupby("month")[["mrr", "customers"]].sum()
    np.testing.assert_allclose(by_month["mrr"].loc[: pd.Timestamp("2026-03-01")], schedule["mrr"])
    months = mrr_customer_months(lines, **window)
    for at in range(len(result)):
        after = drill_through(result.iloc[at], months)
        assert after["mrr"].sum() == (0 if pd.isna(result["mrr"][at]) else result["mrr"][at])


@pytest.mark.filterwarnings("ignore:.*Some rates are older:pdframe.errors.DataWarning")
def test_cohorts_in_several_currencies() -> None:
    lines = ledger(
        {"currency": "EUR", "billing_frequency_cycles": 1},
        {"currency": "USD", "start": "2026-02-01"},
        {"currency": "USD", "customer": 2},
    )
    window: dict[str, Any] = {"since": "2026-01-01", "until": "2026-03-01"}
    apart = revenue_cohorts(lines, **window)
    assert [
        (row[0], *row[1:])
        for row in zip(apart["currency"], *zip(*cohorts(apart), strict=True), strict=True)
    ] == [
        ("EUR", "2026-01", 0, 1, 100, 1.0),
        ("EUR", "2026-01", 1, 0, 0, 0.0),
        ("USD", "2026-01", 0, 1, 100, 1.0),
        ("USD", "2026-01", 1, 1, 100, 1.0),
        ("USD", "2026-02", 0, 1, 100, 1.0),
        ("USD", "2026-02", 1, None, None, None),
    ]
    rates = pd.DataFrame(
        {
            "currency": ["USD", "USD", "EUR"],
            "date": ["2026-01-01", "2026-02-01", "2026-01-01"],
            "rate": [0.5, 0.8, 1.0],
        }
    )
    # At February's rate, 100 EUR and 100 USD of January are 180; 200 USD are 160.
    assert cohorts(revenue_cohorts(lines, **window, rates=rates)) == [
        ("2026-01", 0, 2, 150, 1.0),
        ("2026-01", 1, 2, 160, 160 / 180),
    ]


def test_no_lines_no_cohorts() -> None:
    for by in (None, "name"):
        result = revenue_cohorts(
            ledger({"billing_frequency": "one-time"}), since="2026-01-01", until="2026-04-01", by=by
        )
        full = revenue_cohorts(ledger({}), since="2026-01-01", until="2026-04-01", by=by)
        assert len(result) == 0
        assert result.dtypes.to_dict() == full.dtypes.to_dict()

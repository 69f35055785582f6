"""MRR month by month and what moves it: tables written out by hand, rates, groups, windows, and the
way back to the lines.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe.errors import ArgumentError, DataWarning
from pdframe.metrics import (
    RevenuePolicy,
    drill_through,
    mrr_customer_months,
    mrr_lines,
    mrr_movements,
    mrr_schedule,
    retention,
    revenue_cohorts,
)
from tests.helpers import revenue_frames
from tests.helpers.notices import notes_in, noticed
from tests.helpers.revenue_frames import days, ledger

# Names of customers have a test of their own.
pytestmark = pytest.mark.filterwarnings("ignore:.*Customers have no names")

HALF: dict[str, Any] = {"since": "2026-01-01", "until": "2026-07-01"}
MOVES = ("new", "reactivation", "expansion", "contraction", "churn")


def moves(frame: pd.DataFrame, **where: Any) -> dict[str, dict[str, float]]:
    """What moved in each month, without the zeros, as millionths are exact."""
    for name, value in where.items():
        frame = frame[frame[name] == value]
    result = {}
    for row in frame.to_dict("records"):
        residual = row["end"] - (row["start"] + sum(row[name] for name in MOVES) + row["fx"])
        assert abs(residual) < 1e-6
        result[str(row["month"])[:7]] = {
            name: row[name] for name in (*MOVES, "fx", "expired") if row[name] != 0
        }
    return {month: row for month, row in result.items() if row}


def levels(frame: pd.DataFrame) -> dict[str, float]:
    return {str(row["month"])[:7]: row["mrr"] for row in frame.to_dict("records")}


# Fixtures


def test_the_usual_sums() -> None:
    rows = [{"customer": i} for i in range(1, 101)]
    rows += [
        {"customer": i, "billing_frequency": "annually", "item_price": 600} for i in range(101, 151)
    ]
    schedule = mrr_schedule(ledger(*rows), since="2026-01-01", until="2026-02-01")
    assert schedule.to_dict("records") == [
        {
            "month": pd.Timestamp("2026-01-01"),
            "currency": "EUR",
            "mrr": 12_500.0,
            "arr": 150_000.0,
            "customers": 150,
            "arpa": pytest.approx(83.333333, abs=1e-6),
        }
    ]


def test_a_product_that_replaces_another_is_an_expansion_of_its_customer() -> None:
    lines = ledger(
        {"product_id": 1, "billing_frequency_cycles": 3},
        {"product_id": 2, "start": "2026-04-01", "item_price": 120},
    )
    assert moves(mrr_movements(lines, **HALF)) == {
        "2026-01": {"new": 100},
        "2026-04": {"expansion": 20},
    }
    by = mrr_movements(lines, **HALF, by="product_id")
    assert moves(by, product_id=1) == {
        "2026-01": {"new": 100},
        "2026-04": {"churn": -100, "expired": -100},
    }
    assert moves(by, product_id=2) == {"2026-04": {"new": 120}}


@pytest.mark.filterwarnings("ignore:.*Some rates are older:pdframe.errors.DataWarning")
def test_churn_as_the_rate_goes_from_90_to_100() -> None:
    lines = ledger({"currency": "USD", "billing_frequency_cycles": 2})
    rates = pd.DataFrame(
        {
            "currency": ["USD", "USD", "EUR"],
            "date": ["2026-01-01", "2026-03-31", "2026-01-01"],
            "rate": [0.9, 1.0, 1.0],
        }
    )
    result = mrr_movements(lines, since="2026-03-01", until="2026-04-01", rates=rates).iloc[0]
    assert (result["start"], result["churn"], result["fx"], result["end"], result["expired"]) == (
        90,
        -100,
        10,
        0,
        -100,
    )
    assert result["currency"] == "EUR"


# Tables


@pytest.mark.filterwarnings("ignore:.* in no month:pdframe.errors.DataWarning")
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # Two lines of one customer of which one ends: contraction, not churn.
        (
            [{"billing_frequency_cycles": 2}, {"item_price": 30}],
            {"2026-01": {"new": 130}, "2026-03": {"contraction": -100}},
        ),
        # A gap of one day over the end of a month.
        (
            [{"start": "2025-12-31", "billing_frequency_cycles": 2}, {"start": "2026-03-01"}],
            {"2026-02": {"churn": -100, "expired": -100}, "2026-03": {"reactivation": 100}},
        ),
        # A gap of one day within a month is not seen on its last day.
        (
            [
                {"start": "2025-12-15", "billing_frequency_cycles": 2},
                {"start": "2026-02-16", "item_price": 90},
            ],
            {"2026-02": {"contraction": -10}},
        ),
        # A gap of one month.
        (
            [
                {"start": "2026-01-10", "billing_frequency_cycles": 1},
                {"start": "2026-03-10", "item_price": 80},
            ],
            {
                "2026-01": {"new": 100},
                "2026-02": {"churn": -100, "expired": -100},
                "2026-03": {"reactivation": 80},
            },
        ),
        # A renewal that overlaps adds up while it does.
        (
            [
                {"start": "2026-01-01", "billing_frequency_cycles": 4},
                {"start": "2026-04-01", "item_price": 110},
            ],
            {
                "2026-01": {"new": 100},
                "2026-04": {"expansion": 110},
                "2026-05": {"contraction": -100},
            }
            | {},
        ),
        # A line that starts and ends within a month is never seen.
        (
            [{"start": "2026-02-03", "billing_frequency": "weekly", "billing_frequency_cycles": 2}],
            {},
        ),
        # A credit of the same customer, and one that outweighs everything.
        (
            [{}, {"start": "2026-03-01", "item_price": -40, "billing_frequency_cycles": 1}],
            {
                "2026-01": {"new": 100},
                "2026-03": {"contraction": -40},
                "2026-04": {"expansion": 40},
            },
        ),
        (
            [{}, {"start": "2026-03-01", "item_price": -140, "billing_frequency_cycles": 2}],
            {"2026-01": {"new": 100}, "2026-03": {"churn": -140}, "2026-05": {"reactivation": 140}},
        ),
        # A credit alone is no customer.
        (
            [{"item_price": -20, "billing_frequency_cycles": 2}],
            {"2026-01": {"contraction": -20}, "2026-03": {"expansion": 20}},
        ),
        (
            [{"item_price": -20}, {"start": "2026-04-01"}],
            {"2026-01": {"contraction": -20}, "2026-04": {"new": 100}},
        ),
        # Nothing at all.
        ([{"discount": 100}, {"billing_frequency": "one-time"}, {"quantity": 0}], {}),
    ],
)
def test_movements_by_hand(
    rows: list[dict[str, Any]], expected: dict[str, dict[str, float]]
) -> None:
    assert moves(mrr_movements(ledger(*rows), **HALF)) == expected


def test_a_gap_within_the_grace_is_no_churn() -> None:
    rows = [
        {"start": "2026-01-10", "billing_frequency_cycles": 1},
        {"start": "2026-03-10", "item_price": 80},
    ]
    lines = ledger(*rows, policy=RevenuePolicy(renewal_grace="1D"))
    assert len(moves(mrr_movements(lines, **HALF))) == 3
    bridged = ledger(*rows, policy=RevenuePolicy(renewal_grace="28D"))
    assert moves(mrr_movements(bridged, **HALF)) == {
        "2026-01": {"new": 100},
        "2026-03": {"contraction": -20},
    }


def test_expired_is_the_part_of_churn_without_a_known_cancellation() -> None:
    rows = [
        {"billing_frequency_cycles": 2},
        {"item_price": 30},
        {"customer": 2, "billing_frequency_cycles": 2},
        {"customer": 3},
        {"customer": 4, "billing_frequency_cycles": 2},
        {"customer": 4, "item_price": 5},
    ]
    cancelled = pd.DataFrame(
        {"line_id": [2, 4], "date": pd.to_datetime(["2026-03-15", "2026-03-31"])}
    )
    lines = ledger(*rows, cancellations=cancelled)
    result = mrr_movements(lines, since="2026-03-01", until="2026-04-01").iloc[0]
    # 130 and 100 and 100 churned, of which 100 and 100 ran out; customer 4 keeps a line: what ran
    # out there is a contraction.
    assert (result["churn"], result["expired"], result["contraction"]) == (-330, -200, -100)
    rows_of = mrr_customer_months(lines, since="2026-03-01", until="2026-04-01").set_index(
        "customer"
    )["expired"]
    assert rows_of.to_dict() == {
        "organization 1": -100,
        "organization 2": -100,
        "organization 3": 0,
        "organization 4": 0,
    }


@pytest.mark.filterwarnings("ignore:.* in no month:pdframe.errors.DataWarning")
def test_what_was_never_seen_does_not_expire() -> None:
    rows = [
        {},
        {"start": "2026-03-02", "billing_frequency": "weekly", "billing_frequency_cycles": 2},
    ]
    cancelled = pd.DataFrame({"line_id": [1], "date": pd.to_datetime(["2026-03-15"])})
    assert moves(mrr_movements(ledger(*rows, cancellations=cancelled), **HALF)) == {
        "2026-01": {"new": 100},
        "2026-03": {"churn": -100},
    }


def test_every_month_of_every_currency_that_ever_had_mrr_is_there() -> None:
    lines = ledger(
        {"start": "2026-02-10", "billing_frequency_cycles": 1},
        {
            "customer": 2,
            "currency": "USD",
            "start": "2024-01-01",
            "billing_frequency_cycles": 1,
            "item_price": 7,
        },
        {"customer": 3, "currency": "GBP", "billing_frequency": "one-time"},
    )
    result = mrr_schedule(lines, since="2026-01-01", until="2026-04-01")
    assert list(result.columns) == ["month", "currency", "mrr", "arr", "customers", "arpa"]
    assert result["currency"].tolist() == ["EUR", "USD"] * 3
    assert days(result["month"])[::2] == ["2026-01-01", "2026-02-01", "2026-03-01"]
    assert result["mrr"].tolist() == [0, 0, 100, 0, 0, 0]
    assert result["customers"].tolist() == [0, 0, 1, 0, 0, 0]
    # Of no customer there is no mean.
    assert result["arpa"].isna().tolist() == [True, True, False, True, True, True]
    assert list(mrr_movements(lines, since="2026-01-01", until="2026-04-01").columns) == [
        "month",
        "currency",
        "start",
        "new",
        "reactivation",
        "expansion",
        "contraction",
        "churn",
        "fx",
        "end",
        "expired",
    ]


def test_months_that_begin_in_the_window_count() -> None:
    lines = ledger({"start": "2025-11-20"})

    def seen(since: Any, until: Any) -> list[str | None]:
        return days(mrr_schedule(lines, since=since, until=until)["month"])

    assert seen("2026-01-01", "2026-02-01") == ["2026-01-01"]
    assert seen("2026-01-15", "2026-02-02") == ["2026-02-01"]
    assert seen(None, "2026-01-01") == ["2025-11-01", "2025-12-01"]
    assert seen(pd.Timestamp("2026-01-01"), pd.Timestamp("2026-01-31 23:59")) == ["2026-01-01"]
    assert seen(
        pd.Timestamp("2026-01-01", tz="Europe/Berlin"),
        pd.Timestamp("2026-02-01", tz="Europe/Berlin"),
    ) == ["2026-01-01"]
    assert seen(None, "2025-01-01") == []
    for since, until in (
        ("2026-02-01", "2026-01-01"),
        ("2026-01-02", "2026-01-31"),
        ("2026-01-01", "2026-01-01"),
        ("soon", "2026-01-01"),
    ):
        with pytest.raises(ArgumentError):
            seen(since, until)
    with pytest.raises(ArgumentError, match="`until` is required"):
        seen("2026-01-01", None)
    with pytest.raises(ArgumentError, match="the limit is 12,000"):
        seen("0900-01-01", "2026-01-01")


def test_by_takes_columns_of_lines_as_given() -> None:
    lines = ledger(
        {"name": "Core", "comments": "$a$ <b>"},
        {"name": "Core", "customer": 2, "currency": "USD"},
        {"name": "Extra", "customer": 2, "currency": "USD", "comments": "$a$ <b>"},
    )
    result = mrr_schedule(lines, since="2026-01-01", until="2026-02-01", by=["name", "comments"])
    assert list(result.columns) == [
        "name",
        "comments",
        "month",
        "currency",
        "mrr",
        "arr",
        "customers",
        "arpa",
    ]
    rows = [
        tuple(None if pd.isna(value) else value for value in row)
        for row in result[["name", "comments", "currency", "mrr"]].values.tolist()
    ]
    assert rows == [
        ("Core", "$a$ <b>", "EUR", 100),
        ("Core", None, "USD", 100),
        ("Extra", "$a$ <b>", "USD", 100),
    ]
    for metric in (mrr_schedule, mrr_movements, mrr_customer_months):
        with pytest.raises(ArgumentError, match="'currency'"):
            metric(lines, **HALF, by="currency")
        with pytest.raises(ArgumentError, match="no column 'region'"):
            metric(lines, **HALF, by="region")


# Currencies


ROWS = (
    {"currency": "EUR", "billing_frequency_cycles": 2},
    {"currency": "USD", "start": "2026-02-01"},
    {"currency": "GBP", "customer": 2, "start": "2026-02-01", "billing_frequency_cycles": 2},
)


def test_three_currencies_are_kept_apart_without_rates() -> None:
    result = mrr_movements(ledger(*ROWS), **HALF)
    assert moves(result, currency="EUR") == {
        "2026-01": {"new": 100},
        "2026-03": {"churn": -100, "expired": -100},
    }
    assert moves(result, currency="USD") == {"2026-02": {"new": 100}}
    assert moves(result, currency="GBP") == {
        "2026-02": {"new": 100},
        "2026-04": {"churn": -100, "expired": -100},
    }


def test_three_currencies_add_up_with_rates() -> None:
    result = mrr_movements(ledger(*ROWS), **HALF, rates={"EUR": 1.0, "USD": 0.5, "GBP": 1.2})
    assert moves(result) == {
        "2026-01": {"new": 100},
        "2026-02": {"new": 120, "expansion": 50},
        "2026-03": {"contraction": -100},  # the customer stays, in dollars
        "2026-04": {"churn": -120, "expired": -120},
    }
    assert set(result["currency"]) == {"EUR"}
    schedule = mrr_schedule(ledger(*ROWS), **HALF, rates={"EUR": 1.0, "USD": 0.5, "GBP": 1.2})
    assert levels(schedule) == {
        "2026-01": 100,
        "2026-02": 270,
        "2026-03": 170,
        "2026-04": 50,
        "2026-05": 50,
        "2026-06": 50,
    }
    assert schedule["customers"].tolist() == [1, 2, 2, 1, 1, 1]
    assert (
        mrr_schedule(ledger(*ROWS), **HALF, rates={"EUR": 2.0, "USD": 0.5, "GBP": 1.2})["currency"]
        .isna()
        .all()
    )


@pytest.mark.filterwarnings("ignore:.*Some rates are older:pdframe.errors.DataWarning")
def test_where_only_rates_move_all_of_the_change_is_fx() -> None:
    lines = ledger(
        {"currency": "USD"},
        {"currency": "GBP", "item_price": 33.33},
        {"customer": 2, "currency": "USD", "item_price": 0.07},
    )
    first = {"USD": 0.913, "GBP": 1.17}
    rates = pd.DataFrame(
        [
            {
                "currency": currency,
                "date": f"2026-{month:02}-15",
                "rate": rate * (1 + 0.01 * (month % 3)),
            }
            for month in range(1, 7)
            for currency, rate in first.items()
        ]
    )
    result = mrr_movements(lines, since="2026-02-01", until="2026-07-01", rates=rates)
    assert not result[list(MOVES)].to_numpy().any()
    assert (result["fx"] != 0).all()
    np.testing.assert_array_equal(
        np.rint((result["start"] + result["fx"] - result["end"]) * 1e6), 0
    )
    assert result["start"].tolist()[1:] == result["end"].tolist()[:-1]


@pytest.mark.filterwarnings("ignore:.*Some rates are older:pdframe.errors.DataWarning")
def test_a_months_rate_is_the_last_one_on_or_before_its_last_day() -> None:
    lines = ledger({"currency": "USD"})
    rates = pd.DataFrame(
        {
            "currency": "USD",
            "date": ["2026-01-31", "2026-02-28", "2026-03-01"],
            "rate": [0.5, 0.6, 0.7],
        }
    )
    assert mrr_schedule(lines, since="2026-01-01", until="2026-05-01", rates=rates)[
        "mrr"
    ].tolist() == [50, 60, 70, 70]
    with pytest.raises(ArgumentError, match=r"no rate of USD \(none on or before 2026-01-31\)"):
        mrr_schedule(lines, since="2026-01-01", until="2026-05-01", rates=rates.iloc[1:])
    with pytest.raises(ArgumentError, match="no rate of USD"):
        mrr_schedule(lines, **HALF, rates={"EUR": 1.0})


def test_every_metric_names_old_rates_once() -> None:
    lines = ledger(
        {"currency": "USD"},
        {"currency": "EUR"},
        {"currency": "GBP", "customer": 2, "item_price": 5},
    ).assign(customer_name="Acme")
    rates = pd.DataFrame(
        {
            "currency": ["USD", "GBP", "GBP", "EUR"],
            "date": ["2025-12-31", "2025-12-21", "2026-06-25", "2025-12-01"],
            "rate": [0.5, 1.1, 1.2, 1.0],
        }
    )
    for metric in (mrr_customer_months, mrr_schedule, mrr_movements, retention, revenue_cohorts):
        with pytest.warns(DataWarning) as caught:
            metric(lines, **HALF, rates=rates)
        # The oldest use of each: dollars at the end of June, pounds at the end of May.
        assert [
            note.partition("currency: ")[2].partition(". ")[0] for note in notes_in(caught)
        ] == ["GBP for 2026-05-31 (161 days old), USD for 2026-06-30 (181 days old)"]
    ends = pd.DataFrame(
        {
            "currency": "USD",
            "date": pd.date_range("2025-12-31", periods=7, freq="ME").astype("str"),
            "rate": 0.5,
        }
    )
    pounds = ends.assign(currency="GBP", rate=1.1)
    assert len(mrr_movements(lines, **HALF, rates=pd.concat([ends, pounds, rates.iloc[[3]]]))) == 6


@pytest.mark.filterwarnings("ignore:.*Some rates are older:pdframe.errors.DataWarning")
def test_a_rate_is_only_needed_where_there_is_mrr() -> None:
    lines = ledger(
        {"currency": "USD", "start": "2026-03-01"},
        {"currency": "GBP", "start": "2020-01-01", "billing_frequency_cycles": 1},
    )
    rates = pd.DataFrame({"currency": ["USD"], "date": ["2026-03-15"], "rate": [0.5]})
    assert moves(mrr_movements(lines, **HALF, rates=rates)) == {"2026-03": {"reactivation": 50}}


def test_what_is_above_nothing_in_one_currency_and_below_in_another_is_weighed() -> None:
    lines = ledger(
        {"currency": "EUR", "item_price": 100},
        {
            "currency": "USD",
            "item_price": -120,
            "start": "2026-03-01",
            "billing_frequency_cycles": 1,
        },
        {"currency": "EUR", "item_price": 1, "start": "2026-05-01"},
    )
    weak, strong = {"EUR": 1.0, "USD": 0.5}, {"EUR": 1.0, "USD": 1.0}
    assert moves(mrr_movements(lines, **HALF, rates=weak)) == {
        "2026-01": {"new": 100},
        "2026-03": {"contraction": -60},
        "2026-04": {"expansion": 60},
        "2026-05": {"expansion": 1},
    }
    assert moves(mrr_movements(lines, **HALF, rates=strong)) == {
        "2026-01": {"new": 100},
        "2026-03": {"churn": -120},
        "2026-04": {"reactivation": 120},
        "2026-05": {"expansion": 1},
    }


@pytest.mark.filterwarnings("ignore:.*Some rates are older:pdframe.errors.DataWarning")
def test_rates_alone_may_make_a_customer_of_credits_and_charges() -> None:
    lines = ledger({"currency": "EUR", "item_price": -100}, {"currency": "USD", "item_price": 90})
    rates = pd.DataFrame(
        {
            "currency": ["EUR", "USD", "USD"],
            "date": ["2025-01-01", "2025-01-01", "2026-05-31"],
            "rate": [1.0, 1.0, 1.2],
        }
    )
    result = mrr_customer_months(lines, **HALF, rates=rates)
    assert result["mrr"].tolist() == [-10, -10, -10, -10, 8, 8]
    assert result["movement"].astype(object).fillna("").tolist() == [
        "contraction",
        "",
        "",
        "",
        "new",
        "",
    ]
    assert (result["amount"][4], result["fx"][4]) == (0, 18)
    assert days(result["cohort"]) == [None] * 4 + ["2026-05-01"] * 2
    assert mrr_schedule(lines, **HALF, rates=rates)["customers"].tolist() == [0, 0, 0, 0, 1, 1]
    later_on = mrr_customer_months(lines, since="2026-06-01", until="2026-08-01", rates=rates)
    assert later_on["movement"].isna().all()


def test_rates_of_the_past_are_only_needed_where_they_decide() -> None:
    lines = ledger(
        {"currency": "USD", "start": "2020-01-01", "item_price": -5, "billing_frequency_cycles": 1},
        {"currency": "EUR", "start": "2020-06-01"},
    )
    rates = pd.DataFrame({"currency": ["EUR"], "date": ["2025-12-31"], "rate": [1.0]})
    for metric in (mrr_movements, mrr_customer_months, mrr_schedule):
        assert len(metric(lines, **HALF, rates=rates)) == 6
    assert days(mrr_customer_months(lines, **HALF, rates=rates)["cohort"]) == ["2020-06-01"] * 6
    at_once = ledger(
        {"currency": "USD", "start": "2020-06-01", "item_price": -5, "billing_frequency_cycles": 1},
        {"start": "2020-06-01"},
    )
    with pytest.raises(ArgumentError, match="none on or before 2020-06-30"):
        mrr_movements(at_once, **HALF, rates=rates)


# Row level


def test_every_cell_leads_to_customers_and_on_to_their_lines() -> None:
    lines = ledger(
        *ROWS,
        {"customer": 3, "start": "2026-02-01", "name": "Other"},
        {"customer": 3, "billing_frequency": "one-time"},
    )
    for arguments in (
        {},
        {"rates": {"EUR": 1.0, "USD": 0.5, "GBP": 1.2}},
        {"by": "name"},
        {"by": ["name", "owner_id"]},
    ):
        months = mrr_customer_months(lines, **HALF, **arguments)
        schedule, movements = (
            mrr_schedule(lines, **HALF, **arguments),
            mrr_movements(lines, **HALF, **arguments),
        )
        for at in range(len(schedule)):
            after = drill_through(schedule.iloc[at], months)
            assert after["mrr"].sum() == pytest.approx(schedule["mrr"][at], abs=1e-9)
            assert (after["mrr"] > 0).sum() == schedule["customers"][at]
            after = drill_through(movements.iloc[[at]], months)
            for move in MOVES:
                assert after.loc[after["movement"] == move, "amount"].sum() == pytest.approx(
                    movements[move][at], abs=1e-9
                )
        rate = arguments.get("rates", {"EUR": 1.0, "USD": 1.0, "GBP": 1.0})
        for at in range(len(months)):
            after = drill_through(months.iloc[at], lines)
            month = months["month"][at]
            worth = after["mrr"] * after["currency"].map(rate)
            now = (after["month_from"] <= month) & ~(after["month_until"] <= month)
            assert worth[now].sum() == pytest.approx(months["mrr"][at])
            assert worth[after["month_from"] < month].sum() == pytest.approx(months["previous"][at])


def test_customer_months_are_the_frame_that_everything_else_groups() -> None:
    lines = ledger(
        {"billing_frequency_cycles": 1},
        {"start": "2026-04-01", "item_price": 50},
        {"customer": 2, "item_price": -5},
    )
    result = mrr_customer_months(lines, since="2026-01-01", until="2026-05-01")
    assert list(result.columns) == [
        "month",
        "customer",
        "currency",
        "mrr",
        "previous",
        "movement",
        "amount",
        "fx",
        "expired",
        "cohort",
    ]
    table = [
        (
            str(row["month"])[:7],
            row["customer"][-1],
            row["mrr"],
            row["previous"],
            row["movement"],
            row["amount"],
            row["expired"],
        )
        for row in result.astype({"movement": object}).fillna({"movement": ""}).to_dict("records")
    ]
    assert table == [
        ("2026-01", "1", 100, 0, "new", 100, 0),
        ("2026-02", "1", 0, 100, "churn", -100, -100),
        ("2026-04", "1", 50, 0, "reactivation", 50, 0),
        ("2026-01", "2", -5, 0, "contraction", -5, 0),
        ("2026-02", "2", -5, -5, "", 0, 0),
        ("2026-03", "2", -5, -5, "", 0, 0),
        ("2026-04", "2", -5, -5, "", 0, 0),
    ]
    assert days(result["cohort"]) == ["2026-01-01"] * 3 + [None] * 4
    assert result["movement"].dtype == pd.CategoricalDtype(list(MOVES))


def test_lines_made_elsewhere_count_by_the_last_day_of_the_month() -> None:
    made = ledger({"start": "2026-01-15", "billing_frequency_cycles": 2})
    plain = made[
        [
            "id",
            "deal_id",
            "customer",
            "product_id",
            "currency",
            "mrr",
            "start",
            "end",
            "end_reason",
            "problem",
        ]
    ]
    pd.testing.assert_frame_equal(mrr_movements(plain, **HALF), mrr_movements(made, **HALF))
    started = ledger(
        {"start": "2026-01-15", "billing_frequency_cycles": 2}, policy=RevenuePolicy(at="start")
    )
    assert levels(mrr_schedule(started, **HALF)) == {
        "2026-01": 0,
        "2026-02": 100,
        "2026-03": 100,
        "2026-04": 0,
        "2026-05": 0,
        "2026-06": 0,
    }


def test_filtered_lines_are_lines() -> None:
    lines = ledger({"name": "Core"}, {"name": "Extra", "item_price": 7})
    assert set(mrr_schedule(lines[lines["name"] == "Extra"], **HALF)["mrr"]) == {7}


def test_customers_are_in_the_order_of_their_text_whatever_the_reader() -> None:
    """Readers of dictionaries, such as Arrow's, list categories as they first occur."""
    lines = ledger(*({"customer": number} for number in (3, 1, 2)))
    listed = pd.CategoricalDtype(lines["customer"].iloc[[2, 0, 1]])
    months = mrr_customer_months(lines, **HALF)
    other = mrr_customer_months(lines.assign(customer=lines["customer"].astype(listed)), **HALF)
    assert months["customer"].is_monotonic_increasing
    assert months["customer"].nunique() == 3
    pd.testing.assert_frame_equal(other, months)


def test_lines_with_a_problem_count_nowhere() -> None:
    lines = ledger({"item_price": 5}, {"item_price": 7})
    lines.loc[1, "problem"] = "disputed"
    assert set(mrr_schedule(lines, **HALF)["mrr"]) == {5}


def test_amounts_beyond_what_can_be_added_up_are_refused() -> None:
    lines = ledger({})
    with pytest.raises(ArgumentError, match="'mrr' holds amounts too large to be added up exactly"):
        mrr_schedule(lines.assign(mrr=1e13), **HALF)
    with noticed("mrr in 1 row, for example inf"):
        assert mrr_schedule(lines.assign(mrr=float("inf")), **HALF).empty
    with pytest.raises(ArgumentError, match="customer is null in 1 lines"):
        mrr_schedule(lines.assign(customer=pd.Series([None], dtype="str")), **HALF)


def test_no_lines_give_empty_frames_with_their_columns() -> None:
    empty = mrr_lines(
        revenue_frames.lines([]),
        revenue_frames.deals([]),
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )
    nulls = mrr_lines(
        revenue_frames.lines([{name: None for name in revenue_frames.LINES}]),
        revenue_frames.deals([{}]),
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )
    for lines in (empty, nulls, ledger({"billing_frequency": "one-time"})):
        for metric in (mrr_schedule, mrr_movements, mrr_customer_months):
            for arguments in ({}, {"by": "name"}, {"rates": {"EUR": 1.0}}):
                result = metric(lines, **HALF, **arguments)
                assert len(result) == 0
                assert str(result["month"].dtype) == "datetime64[us]"
                assert result["currency"].dtype == "str"
                assert list(result.columns) == list(metric(ledger({}), **HALF, **arguments).columns)
                assert (
                    result.dtypes.to_dict()
                    == metric(ledger({}), **HALF, **arguments).dtypes.to_dict()
                )

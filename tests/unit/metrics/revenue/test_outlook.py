"""What is known of the future: committed MRR, terms that end, and what is billed when; tables
written out by hand.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import pandas as pd
import pytest

from pdframe.errors import ArgumentError, DataWarning
from pdframe.metrics import (
    billing_schedule,
    committed_mrr,
    drill_through,
    mrr_lines,
    mrr_schedule,
    renewals,
)
from tests.helpers import revenue_frames, small_frames
from tests.helpers.notices import notes_in, noticed
from tests.helpers.revenue_frames import days, ledger

# Names of customers have a test of their own.
pytestmark = pytest.mark.filterwarnings("ignore:.*Customers have no names")

# Committed MRR


def committed(lines: pd.DataFrame, as_of: Any, **arguments: Any) -> list[tuple[Any, ...]]:
    result = committed_mrr(lines, as_of=as_of, **arguments)
    assert list(result.columns) == ["month", "currency", "live", "starting", "ending", "committed"]
    return [(str(row[0])[:7], *row[2:]) for row in result.itertuples(index=False, name=None)]


def test_committed_mrr_is_what_is_live_and_won_less_what_is_known_to_end() -> None:
    rows = [
        {"start": "2026-01-10"},
        {"start": "2026-01-10", "billing_frequency_cycles": 8, "item_price": 20},  # to 10 September
        {
            "start": "2026-08-01",
            "item_price": 50,
            "billing_frequency_cycles": 1,
        },  # won, starts later, ends 1 September
        {"start": "2026-06-16", "item_price": 7},  # starts on the day after
        {"start": "2026-06-15", "item_price": 3},  # starts on the day
        {"start": "2026-05-15", "item_price": 11, "billing_frequency_cycles": 1},  # ends on the day
        {
            "start": "2026-05-16",
            "item_price": 13,
            "billing_frequency_cycles": 1,
        },  # ends on the day after
        {"billing_frequency": "one-time"},
    ]
    cancelled = pd.DataFrame({"line_id": [1], "date": pd.to_datetime(["2026-07-31"])})
    lines = ledger(*rows, cancellations=cancelled)
    assert committed(lines, "2026-06-15") == [
        ("2026-06", 136, 7, -13, 130),
        ("2026-07", 130, 0, -100, 30),
        ("2026-08", 30, 50, 0, 80),
        ("2026-09", 80, 0, -70, 10),
    ]
    # The same months as the schedule, where everything is won by then.
    schedule = mrr_schedule(lines, since="2026-06-01", until="2026-10-01")
    assert schedule["mrr"].tolist() == [130, 30, 80, 10]


def test_what_is_won_later_is_not_committed_yet() -> None:
    deals = revenue_frames.deals(
        [{"won_time": "2026-06-15 18:00"}, {"won_time": "2026-06-16 01:00"}]
    )
    lines = mrr_lines(
        revenue_frames.lines(
            [{"deal_id": 1}, {"deal_id": 2, "item_price": 9, "billing_start_date": "2026-07-01"}]
        ),
        deals,
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )
    assert committed(lines, "2026-06-15") == [("2026-06", 100, 0, 0, 100)]
    assert committed(lines, "2026-06-16") == [
        ("2026-06", 100, 0, 0, 100),
        ("2026-07", 100, 9, 0, 109),
    ]
    assert committed(lines, "2026-06-15 23:30") == [("2026-06", 100, 0, 0, 100)]
    assert committed(lines, pd.Timestamp("2026-06-15 23:30", tz="UTC"), tz="Europe/Berlin")[-1] == (
        "2026-07",
        100,
        9,
        0,
        109,
    )


def test_committed_mrr_of_several_currencies_and_of_none() -> None:
    lines = ledger(
        {"currency": "USD", "start": "2026-02-01"},
        {"customer": 2},
        {"start": "2026-01-20", "item_price": -5},
    )
    result = committed_mrr(lines, as_of="2026-01-15")
    assert result[["currency", "committed"]].values.tolist() == [
        ["EUR", 95],
        ["USD", 0],
        ["EUR", 95],
        ["USD", 100],
    ]
    assert len(committed_mrr(ledger({"billing_frequency": "one-time"}), as_of="2026-01-15")) == 0
    with pytest.raises(ArgumentError, match="as_of"):
        committed_mrr(lines, as_of="today")


def test_one_start_typed_wrong_is_named_and_shows_no_thousand_years() -> None:
    # The case `far_start`, and its like a day before the edge of time.
    rows = [{"start": "2025-03-03"}, {"customer": 2, "start": "9999-12-29"}]
    lines = ledger(*rows)
    with pytest.warns(DataWarning) as caught:
        result = committed(lines, "2026-06-30")
    assert result == [(str(pd.Period("2026-06", "M") + at), 100, 0, 0, 100) for at in range(36)]
    assert notes_in(caught) == [
        "committed_mrr shows 36 months where until= is not given, up to 2029-05. 1 line starts"
        " after that and is in none of them (the first on 9999-12-29; line ids: 2). Pass until=,"
        " such as '2031', for more months; correct mistyped dates in Pipedrive."
    ]
    with noticed(r"starts on 31 December 9999"):
        edge = ledger(rows[0], {"customer": 2, "start": "9999-12-31"})
    assert committed(edge, "2026-06-30") == [("2026-06", 100, 0, 0, 100)]


def test_the_end_of_the_months_is_chosen() -> None:
    rows = [
        {
            "start": "2026-01-01",
            "billing_frequency": "annually",
            "billing_frequency_cycles": 4,
            "item_price": 1200,
        },  # to 2030
        {"start": "2029-06-01", "item_price": 7},
    ]
    lines = ledger(*rows)
    with noticed(r"up to 2028-12\. 1 line starts .*the first on 2029-06-01; line ids: 2\)"):
        assert len(committed(lines, "2026-01-15")) == 36
    with noticed(r"\(the first on 2029-06-01\)"):
        committed(lines.drop(columns="id"), "2026-01-15")
    # What only ends later is whole in every month shown.
    assert committed(lines.iloc[:1], "2026-01-15")[-1] == ("2028-12", 100, 0, 0, 100)
    last = {
        "2026": "2026-12",
        "2026-03": "2026-03",
        "2026-Q3": "2026-09",
        "2026Q3": "2026-09",
        " 2027-01 ": "2027-01",
        pd.Period("2027-04", "M"): "2027-04",
        pd.Period("2026Q2"): "2026-06",
        pd.Period("2031", "Y"): "2031-12",
        "2026-07-01": "2026-06",
        "2026-07-02": "2026-07",
        date(2028, 1, 1): "2027-12",
        pd.Timestamp("2026-08-01"): "2026-07",
    }
    for until, month in last.items():
        result = committed(lines, "2026-01-15", until=until)
        assert (result[0][0], result[-1][0]) == ("2026-01", month), until
    assert committed(lines, "2026-01-15", until="2030")[-12] == ("2030-01", 107, 0, -100, 7)
    assert committed(lines, "2026-01-15", until="2026-01") == [("2026-01", 100, 0, 0, 100)]
    for wrong in (
        "2026-01-01",
        "2025",
        "2025-Q4",
        "2026-13",
        "2026-00",
        "soon",
        "2026-Q5",
        2026,
        pd.NaT,
        True,
    ):
        with pytest.raises(ArgumentError, match="until="):
            committed_mrr(lines, as_of="2026-01-15", until=wrong)
    with pytest.raises(ArgumentError, match="the limit is 12,000"):
        committed_mrr(lines, as_of="2026-01-15", until="3100")


# Renewals


def test_terms_that_end_and_the_deals_that_take_over() -> None:
    year = {
        "billing_frequency": "annually",
        "billing_frequency_cycles": 1,
        "item_price": 1200,
        "billing_start_date": "2025-07-15",
    }
    rows = [
        {"deal_id": 1, **year},  # to 15 July 2026, renewed by deal 2
        {"deal_id": 2, "billing_start_date": "2026-07-15"},
        {"deal_id": 3, **year},  # an open deal is under way
        {"deal_id": 5, **year},  # nothing
        {"deal_id": 6, **year},  # cancelled in June: no renewal, though the customer buys again
        {"deal_id": 7, "billing_start_date": "2026-06-25"},
        {"deal_id": 8, **year, "product_id": 4},  # two deals near the end: the same product wins
        {"deal_id": 9, "billing_start_date": "2026-07-15", "product_id": 5},
        {"deal_id": 10, "billing_start_date": "2026-07-25", "product_id": 4},
        {"deal_id": 11, **year, "billing_start_date": "2025-11-01"},  # ends later
        {"deal_id": 12, **year, "billing_start_date": "2025-06-20"},  # ended on the day
        {"deal_id": 13, **year},  # its successor was won later
        {"deal_id": 14, "billing_start_date": "2026-07-15"},
        {"deal_id": 15, "billing_frequency": "one-time"},
    ]
    deals = revenue_frames.deals(
        [
            {"org_id": 1},
            {"org_id": 1},
            {"org_id": 3},
            {"org_id": 3, "status": "open", "won_time": None, "add_time": "2026-05-01"},
            {"org_id": 5},
            {"org_id": 6},
            {"org_id": 6},
            {"org_id": 8},
            {"org_id": 8},
            {"org_id": 8},
            {"org_id": 11},
            {"org_id": 12},
            {"org_id": 13},
            {"org_id": 13, "won_time": "2026-06-21"},
            {"org_id": 13},
            # added before the line had started
            {"org_id": 5, "status": "open", "won_time": None, "add_time": "2025-07-01"},
            # added after the day
            {"org_id": 5, "status": "open", "won_time": None, "add_time": "2026-07-01"},
            {
                "org_id": 5,
                "status": "open",
                "won_time": None,
                "add_time": "2026-02-01",
                "is_deleted": True,
            },
        ]
    )
    cancelled = pd.DataFrame({"deal_id": [6], "date": pd.to_datetime(["2026-06-25"])})
    lines = mrr_lines(revenue_frames.lines(rows), deals, cancellations=cancelled)
    result = renewals(lines, deals, as_of="2026-06-20", within="30D")
    for within in ("this quarter", "2026-Q2", pd.Period("2026-06"), "end of quarter"):
        to_the_end = renewals(lines, deals, as_of="2026-06-20", within=within)
        assert to_the_end.equals(result[result["end"] <= "2026-06-30"].reset_index(drop=True))
    assert list(result.columns) == [
        "id",
        "deal_id",
        "customer",
        "product_id",
        "currency",
        "mrr",
        "end",
        "end_reason",
        "days",
        "successor",
        "successor_status",
        "successor_start",
    ]
    table = [
        (
            row["deal_id"],
            row["days"],
            row["end_reason"],
            *(None if pd.isna(row[k]) else row[k] for k in ("successor", "successor_status")),
        )
        for row in result.to_dict("records")
    ]
    assert table == [
        (6, 5, "cancelled", None, None),
        (1, 25, "term", 2, "won"),
        (13, 25, "term", None, None),
        (3, 25, "term", 4, "open"),
        (5, 25, "term", None, None),
        (8, 25, "term", 10, "won"),
    ]
    assert days(result["successor_start"]) == [None, "2026-07-15", None, None, None, "2026-07-25"]
    assert result["mrr"].tolist() == [100.0] * 6
    after = renewals(lines, deals, as_of="2026-06-21", within="30D").set_index("deal_id")
    assert after.loc[13, "successor"] == 14
    assert drill_through(result.iloc[0], lines)["id"].tolist() == [5]


def test_no_terms_no_renewals() -> None:
    for rows in ([], [{}]):
        lines, deals = (
            mrr_lines(
                revenue_frames.lines(rows),
                revenue_frames.deals(rows),
                cancellations=revenue_frames.NO_CANCELLATIONS,
            ),
            revenue_frames.deals(rows),
        )
        result = renewals(lines, deals, as_of="2026-01-01", within="90D")
        assert len(result) == 0
        assert str(result["successor"].dtype) == "Int64"
    with pytest.raises(ArgumentError, match="within="):
        renewals(lines, deals, as_of="2026-01-01", within="soon")
    with pytest.raises(ArgumentError, match="deals has no column 'add_time'"):
        renewals(lines, deals.drop(columns="add_time"), as_of="2026-01-01", within="90D")


# Billing

QUARTER: dict[str, Any] = {"since": "2026-01-01", "until": "2026-04-01"}


def bills(
    *rows: dict[str, Any],
    plan: pd.DataFrame | None = None,
    deals: pd.DataFrame | None = None,
    **arguments: Any,
) -> list[tuple[Any, ...]]:
    made = (
        revenue_frames.deals(
            [{"id": key} for key in sorted({row.get("deal_id", 1) for row in rows})]
        )
        if deals is None
        else deals
    )
    result = billing_schedule(
        revenue_frames.lines(rows),
        plan,
        made,
        **{**QUARTER, "cancellations": revenue_frames.NO_CANCELLATIONS, **arguments},
    )
    assert list(result.columns) == [
        "date",
        "deal_id",
        "customer",
        "kind",
        "amount",
        "currency",
        "id",
    ]
    return [
        (str(row[0])[:10], row[1], row[3], row[4], row[6])
        for row in result.itertuples(index=False, name=None)
    ]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # From the anchor: 31 January, 28 February, 31 March.
        ({"billing_start_date": "2026-01-31"}, ["2026-01-31", "2026-02-28", "2026-03-31"]),
        (
            {"billing_start_date": "2025-10-31", "billing_frequency_cycles": 5},
            ["2026-01-31", "2026-02-28"],
        ),
        ({"billing_start_date": "2024-02-29", "billing_frequency": "annually"}, ["2026-02-28"]),
        ({"billing_start_date": "2019-11-30", "billing_frequency": "quarterly"}, ["2026-02-28"]),
        (
            {"billing_start_date": "2025-08-31", "billing_frequency": "semi-annually"},
            ["2026-02-28"],
        ),
        (
            {
                "billing_start_date": "2025-12-25",
                "billing_frequency": "weekly",
                "billing_frequency_cycles": 4,
            },
            ["2026-01-01", "2026-01-08", "2026-01-15"],
        ),
        ({"billing_start_date": "2026-04-01"}, []),
        ({"billing_start_date": "2025-12-31", "billing_frequency_cycles": 1}, []),
        ({"billing_frequency": "one-time"}, ["2026-01-01"]),
        ({"billing_start_date": "2026-03-31", "billing_frequency": "one-time"}, ["2026-03-31"]),
        ({"billing_start_date": "1969-12-31", "billing_frequency": "annually"}, []),
    ],
)
def test_bills_fall_on_the_anchor_and_its_periods(row: dict[str, Any], expected: list[str]) -> None:
    result = bills(row)
    assert [bill[0] for bill in result] == expected
    assert {bill[3] for bill in result} <= {100.0}


def test_every_cycle_is_billed_once() -> None:
    for frequency in ("weekly", "monthly", "quarterly", "semi-annually", "annually"):
        for start in ("2026-01-31", "2028-02-29", "2025-12-30"):
            rows = {
                "billing_start_date": start,
                "billing_frequency": frequency,
                "billing_frequency_cycles": 7,
            }
            result = bills(rows, since="2020-01-01", until="2040-01-01")
            assert len({bill[0] for bill in result}) == len(result) == 7
            parts = [
                bills(rows, since=f"{year}-02-10", until=f"{year + 4}-02-10")
                for year in range(2023, 2038, 4)
            ]
            assert [bill for part in parts for bill in part] == result


def test_installments_are_billed_instead_of_one_time_lines() -> None:
    rows = [
        {"deal_id": 1, "billing_frequency": "one-time", "item_price": 900},
        {"deal_id": 2, "billing_frequency": "one-time", "item_price": 50},
        {"deal_id": 2},
    ]
    plan = revenue_frames.installments(
        [
            {"amount": 300, "billing_date": "2026-01-20"},
            {"amount": 600, "billing_date": "2026-03-20"},
            {"amount": 1, "billing_date": "2026-04-20"},
            {"deal_id": 3, "billing_date": "2026-01-20"},
        ]
    )
    deals = revenue_frames.deals([{}, {"won_time": "2026-03-05"}, {"status": "open"}])
    assert bills(*rows, plan=plan, deals=deals) == [
        ("2026-01-20", 1, "installment", 300, 1),
        ("2026-03-05", 2, "one-time", 50, 2),
        ("2026-03-05", 2, "recurring", 100, 3),
        ("2026-03-20", 1, "installment", 600, 2),
    ]


def test_tax_discounts_and_cancellations() -> None:
    rows = [
        {"tax": 25, "tax_method": "exclusive", "discount": 10},
        {"tax": 25, "tax_method": "inclusive", "billing_frequency": "one-time"},
        {"tax": 25, "tax_method": "none", "billing_frequency": "one-time"},
    ]
    window = {"since": "2026-01-01", "until": "2026-02-01"}
    assert [bill[3] for bill in bills(*rows, **window)] == [80, 100, 90]
    assert [bill[3] for bill in bills(*rows, **window, tax=True)] == [100, 100, 112.5]
    cut = small_frames.discounts([{"deal_id": 1, "amount": 50}])
    assert [bill[3] for bill in bills(*rows, **window, discounts=cut)] == [40, 50, 90]
    cancelled = pd.DataFrame({"deal_id": [1], "date": pd.to_datetime(["2026-02-01"])})
    assert [bill[0] for bill in bills({}, cancellations=cancelled)] == ["2026-01-01"]
    later = pd.DataFrame({"deal_id": [1], "date": pd.to_datetime(["2026-02-02"])})
    assert [bill[0] for bill in bills({}, cancellations=later)] == ["2026-01-01", "2026-02-01"]


def test_lines_kept_apart_and_installments_without_a_date_are_named() -> None:
    with noticed(r"weekly without cycles \(1: 1\)"):
        assert bills({"billing_frequency": "weekly"}) == []
    plan = revenue_frames.installments(
        [
            {"billing_date": None},
            {"billing_date": "2026-01-05", "amount": None},
            {"billing_date": "2026-01-05"},
        ]
    )
    with noticed(
        (r"2 installments have no date or amount, or one out of range, and are left out: 1, 2\."),
    ):
        assert [bill[4] for bill in bills({"billing_frequency": "one-time"}, plan=plan)] == [3]


def test_nothing_to_bill_and_wrong_windows() -> None:
    result = billing_schedule(
        revenue_frames.lines([]),
        revenue_frames.installments([]),
        revenue_frames.deals([]),
        **QUARTER,
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )
    full = billing_schedule(
        revenue_frames.lines([{}]),
        revenue_frames.installments([{"billing_date": "2026-01-01"}]),
        revenue_frames.deals([{}]),
        **QUARTER,
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )
    assert len(result) == 0
    assert result.dtypes.to_dict() == full.dtypes.to_dict()
    with pytest.raises(ArgumentError, match="is not before"):
        bills({}, since="2026-01-01", until="2026-01-01")
    with pytest.raises(ArgumentError, match="installments has no column 'billing_date'"):
        bills({}, plan=revenue_frames.installments([]).drop(columns="billing_date"))

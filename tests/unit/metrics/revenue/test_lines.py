"""Line items as recurring revenue: a table written out by hand for every kind of line."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd
import pytest

from pdframe.errors import ArgumentError, DataWarning
from pdframe.metrics import (
    RevenuePolicy,
    billing_schedule,
    drill_through,
    mrr_customer_months,
    mrr_lines,
)
from tests.helpers import revenue_frames, small_frames
from tests.helpers.notices import notes_in, noticed
from tests.helpers.revenue_frames import days, ledger

# Names of customers have a test of their own.
pytestmark = pytest.mark.filterwarnings("ignore:.*Customers have no names")

# What a line says, then start, end, why it ends, MRR, one-time amount, TCV.
CASES: dict[
    str,
    tuple[dict[str, Any], tuple[str | None, str | None, str | None, float, float, float | None]],
] = {
    "a month": (
        {"start": "2026-01-31", "billing_frequency_cycles": 1},
        ("2026-01-31", "2026-02-28", "term", 100, 0, 100),
    ),
    "two months": (
        {"start": "2026-01-31", "billing_frequency_cycles": 2},
        ("2026-01-31", "2026-03-31", "term", 100, 0, 200),
    ),
    "thirteen months": (
        {"start": "2026-01-31", "billing_frequency_cycles": 13},
        ("2026-01-31", "2027-02-28", "term", 100, 0, 1300),
    ),
    "to a leap day": (
        {"start": "2027-12-31", "billing_frequency_cycles": 2},
        ("2027-12-31", "2028-02-29", "term", 100, 0, 200),
    ),
    "a year from a leap day": (
        {
            "start": "2028-02-29",
            "billing_frequency": "annually",
            "billing_frequency_cycles": 1,
            "item_price": 599.95,
        },
        ("2028-02-29", "2029-02-28", "term", 49.995833, 0, 599.95),
    ),
    "four years from a leap day": (
        {
            "start": "2028-02-29",
            "billing_frequency": "annually",
            "billing_frequency_cycles": 4,
            "item_price": 1200,
        },
        ("2028-02-29", "2032-02-29", "term", 100, 0, 4800),
    ),
    "a quarter from 30 November": (
        {
            "start": "2026-11-30",
            "billing_frequency": "quarterly",
            "billing_frequency_cycles": 1,
            "item_price": 10,
        },
        ("2026-11-30", "2027-02-28", "term", 3.333333, 0, 10),
    ),
    "half a year from 31 August": (
        {
            "start": "2026-08-31",
            "billing_frequency": "semi-annually",
            "billing_frequency_cycles": 1,
            "item_price": 10,
        },
        ("2026-08-31", "2027-02-28", "term", 1.666667, 0, 10),
    ),
    "208 weeks": (
        {
            "start": "2026-01-01",
            "billing_frequency": "weekly",
            "billing_frequency_cycles": 208,
            "item_price": 12,
        },
        ("2026-01-01", "2029-12-27", "term", 52, 0, 2496),
    ),
    "open": ({"start": "2026-03-15"}, ("2026-03-15", None, "open", 100, 0, None)),
    "half a year: TCV 600, ARR 1,200": (
        {"billing_frequency_cycles": 6},
        ("2026-01-01", "2026-07-01", "term", 100, 0, 600),
    ),
    "one-time": (
        {"billing_frequency": "one-time", "quantity": 3},
        ("2026-01-01", None, None, 0, 300, 300),
    ),
    "no billing at all": ({"billing_frequency": None}, ("2026-01-01", None, None, 0, 100, 100)),
    "100 % off": (
        {"discount": 100, "billing_frequency_cycles": 12},
        ("2026-01-01", "2027-01-01", "term", 0, 0, 0),
    ),
    "more off than the price": (
        {"discount": 150, "discount_type": "amount"},
        ("2026-01-01", None, "open", 0, 0, None),
    ),
    "an amount off": (
        {"discount": 30, "discount_type": "amount", "quantity": 2},
        ("2026-01-01", None, "open", 170, 0, None),
    ),
    "a third off": ({"discount": 33.3}, ("2026-01-01", None, "open", 66.7, 0, None)),
    "tax inside": (
        {
            "item_price": 121,
            "discount": 21,
            "discount_type": "amount",
            "tax": 21,
            "tax_method": "inclusive",
        },
        ("2026-01-01", None, "open", 82.644628, 0, None),
    ),
    "tax on top": (
        {"tax": 21, "tax_method": "exclusive"},
        ("2026-01-01", None, "open", 100, 0, None),
    ),
    "nothing sold": ({"quantity": 0}, ("2026-01-01", None, "open", 0, 0, None)),
    "a credit": (
        {"item_price": -40, "billing_frequency_cycles": 3},
        ("2026-01-01", "2026-04-01", "term", -40, 0, -120),
    ),
    "a credit with a discount": (
        {"item_price": -40, "discount": 10},
        ("2026-01-01", None, "open", -36, 0, None),
    ),
    "part of one": (
        {"quantity": 2.5, "item_price": 9.99},
        ("2026-01-01", None, "open", 24.975, 0, None),
    ),
    "before 1970": (
        {"start": "1969-12-31", "billing_frequency_cycles": 2},
        ("1969-12-31", "1970-02-28", "term", 100, 0, 200),
    ),
    "beyond 2200": (
        {"start": "2262-05-31", "billing_frequency_cycles": 1},
        ("2262-05-31", "2262-06-30", "term", 100, 0, 100),
    ),
    "209 weeks, which Pipedrive would refuse": (
        {
            "start": "2026-01-01",
            "billing_frequency": "weekly",
            "billing_frequency_cycles": 209,
            "item_price": 3,
        },
        ("2026-01-01", "2030-01-03", "term", 13, 0, 627),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_line(name: str) -> None:
    row, (start, end, reason, mrr, one_time, tcv) = CASES[name]
    result = ledger(row).iloc[0]
    assert [
        str(result["start"])[:10],
        None if pd.isna(result["end"]) else str(result["end"])[:10],
    ] == [start, end]
    assert (None if pd.isna(result["end_reason"]) else result["end_reason"]) == reason
    assert (result["mrr"], result["one_time"]) == (mrr, one_time)
    assert (None if pd.isna(result["tcv"]) else result["tcv"]) == tcv
    assert pd.isna(result["problem"])


def test_the_columns_and_their_dtypes() -> None:
    for lines in (ledger({}), ledger({"is_enabled": False})):
        assert list(lines.columns[:14]) == [
            "id",
            "deal_id",
            "customer",
            "product_id",
            "currency",
            "mrr",
            "start",
            "end",
            "end_reason",
            "billing_frequency",
            "billing_frequency_cycles",
            "one_time",
            "tcv",
            "problem",
        ]
        assert lines["customer"].dtype == lines["currency"].dtype == lines["problem"].dtype == "str"
        assert {
            str(lines[name].dtype)
            for name in ("start", "end", "won_date", "month_from", "month_until")
        } == {"datetime64[us]"}
        assert {str(lines[name].dtype) for name in ("mrr", "one_time", "tcv", "amount")} == {
            "float64"
        }
        assert lines["end_reason"].dtype == pd.CategoricalDtype(["term", "cancelled", "open"])
    assert len(lines) == 0


def test_rounding_is_half_to_even_once_a_line() -> None:
    # 0.0000005 and 0.0000015 lie exactly between two millionths, as 2**-21 x 1.048576 and three
    # times that.
    half = 0.0000005
    lines = ledger(
        {"item_price": half},
        {"item_price": 3 * half},
        {"item_price": 5 * half},
        {"item_price": half, "quantity": 7},
    )
    assert lines["mrr"].tolist() == [0.0, 0.000002, 0.000002, 0.000004]


def test_the_deal_says_which_lines_count() -> None:
    deals = revenue_frames.deals(
        [
            {"is_archived": True},
            {"is_deleted": True},
            {"status": "open", "won_time": None, "local_won_date": None},  # won, then opened again
            {"status": "open", "won_time": "2026-01-01"},
            {"status": "lost"},
            {"status": "deleted"},
            {"status": None},
            {"won_time": "2026-03-01"},
        ]
    )
    rows = [{"deal_id": deal} for deal in (1, 2, 3, 4, 5, 6, 7, 8, 99, None)]
    lines = mrr_lines(
        revenue_frames.lines(
            [*rows, {"deal_id": 8, "is_enabled": False}, {"deal_id": 8, "is_enabled": None}]
        ),
        deals,
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )
    assert lines["id"].tolist() == [1, 8, 12]
    with noticed(r"no start date \(1: 3\)"):
        open_too = mrr_lines(
            revenue_frames.lines(rows),
            deals,
            policy=RevenuePolicy(statuses=("won", "open")),
            cancellations=revenue_frames.NO_CANCELLATIONS,
        )["id"]
    assert open_too.tolist() == [1, 3, 4, 8]


def test_a_line_starts_on_its_own_date_else_on_the_day_the_deal_was_won() -> None:
    deals = revenue_frames.deals(
        [
            {"won_time": "2026-01-31 22:30", "local_won_date": "2026-02-01"},
            {"won_time": "2026-01-31 22:30", "local_won_date": None},
        ]
    )
    rows = [
        {"deal_id": 1},
        {"deal_id": 2},
        {"deal_id": 1, "billing_start_date": "2025-06-15"},
    ]  # won after its billing start
    assert days(
        mrr_lines(revenue_frames.lines(rows), deals, cancellations=revenue_frames.NO_CANCELLATIONS)[
            "start"
        ]
    ) == [
        "2026-02-01",
        "2026-01-31",
        "2025-06-15",
    ]
    assert days(
        mrr_lines(
            revenue_frames.lines(rows),
            deals,
            tz="Europe/Berlin",
            cancellations=revenue_frames.NO_CANCELLATIONS,
        )["start"]
    ) == [
        "2026-02-01",
        "2026-01-31",
        "2025-06-15",
    ]
    assert days(
        mrr_lines(
            revenue_frames.lines(rows),
            deals,
            tz="Asia/Tokyo",
            cancellations=revenue_frames.NO_CANCELLATIONS,
        )["start"]
    ) == [
        "2026-02-01",
        "2026-02-01",
        "2025-06-15",
    ]


def test_customers_are_organizations_else_persons_else_deals() -> None:
    deals = revenue_frames.deals(
        [{"org_id": 5, "person_id": 7}, {"org_id": None, "person_id": 5}, {"org_id": None}]
    ).assign(Account=pd.Series(["A-1", " ", None], dtype="str"))
    rows = revenue_frames.lines([{"deal_id": deal} for deal in (1, 2, 3)])
    assert mrr_lines(rows, deals, cancellations=revenue_frames.NO_CANCELLATIONS)[
        "customer"
    ].tolist() == [
        "organization 5",
        "person 5",
        "deal 3",
    ]
    own = RevenuePolicy(customer=("Account", "person_id"))
    assert mrr_lines(rows, deals, policy=own, cancellations=revenue_frames.NO_CANCELLATIONS)[
        "customer"
    ].tolist() == [
        "Account A-1",
        "person 5",
        "deal 3",
    ]
    assert mrr_lines(
        rows,
        deals,
        policy=RevenuePolicy(customer=()),
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )["customer"].tolist() == [
        "deal 1",
        "deal 2",
        "deal 3",
    ]
    assert mrr_lines(
        rows, deals.assign(org_id=[5.0, None, None]), cancellations=revenue_frames.NO_CANCELLATIONS
    )["customer"].tolist() == [
        "organization 5",
        "person 5",
        "deal 3",
    ]


def test_the_currency_is_the_lines_else_the_deals() -> None:
    deals = revenue_frames.deals([{"currency": "USD"}])
    lines = mrr_lines(
        revenue_frames.lines([{"currency": None}, {"currency": "GBP"}]),
        deals,
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )
    assert lines["currency"].tolist() == ["USD", "GBP"]


def test_columns_come_along_for_by() -> None:
    deals = revenue_frames.deals([{"owner_id": 8}]).assign(Region="North")
    lines = mrr_lines(
        revenue_frames.lines([{"name": "Core"}]),
        deals,
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )
    assert lines.loc[0, ["owner_id", "pipeline_id", "org_id", "name", "quantity"]].tolist() == [
        8,
        1,
        1,
        "Core",
        1.0,
    ]
    assert "Region" not in lines
    chosen = mrr_lines(
        revenue_frames.lines([{}]),
        deals,
        carry=["Region", "title"],
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )
    assert chosen.loc[0, ["Region", "title"]].tolist() == ["North", "Deal"]
    assert "owner_id" not in chosen
    own = mrr_lines(
        revenue_frames.lines([{"name": "Core"}]).assign(owner_id=99, start="mine"),
        deals,
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )
    assert own.loc[0, ["owner_id", "name"]].tolist() == [99, "Core"]
    assert own["start"][0] == pd.Timestamp("2026-01-01")
    with pytest.raises(ArgumentError, match=r"deals has no column 'Land'"):
        mrr_lines(
            revenue_frames.lines([{}]),
            deals,
            carry="Land",
            cancellations=revenue_frames.NO_CANCELLATIONS,
        )
    with pytest.raises(ArgumentError, match=r"'currency' is a column of the lines already"):
        mrr_lines(
            revenue_frames.lines([{}]),
            deals,
            carry="currency",
            cancellations=revenue_frames.NO_CANCELLATIONS,
        )


def test_frames_are_not_changed() -> None:
    lines, deals = revenue_frames.lines([{}, {"is_enabled": False}]), revenue_frames.deals([{}])
    kept = lines.copy(deep=True), deals.copy(deep=True)
    mrr_lines(lines, deals, cancellations=revenue_frames.NO_CANCELLATIONS)
    pd.testing.assert_frame_equal(lines, kept[0])
    pd.testing.assert_frame_equal(deals, kept[1])


# Lines that are kept apart


def test_a_bad_line_is_kept_apart_and_named_and_never_stops_the_ledger() -> None:
    rows = [
        {},
        {"billing_frequency": "weekly"},
        {"billing_frequency": "weekly"},
        {"billing_frequency_cycles": 0},
        {"billing_frequency_cycles": -3},
        {"quantity": None},
        {"item_price": None},
        {"item_price": float("inf")},
        {"item_price": 1e13},
        {"currency": None},
        {"currency": " "},
        {"billing_frequency_cycles": 200_000},
        {"billing_start_date": "9999-12-31", "billing_frequency_cycles": 1},
        {"tax": -100, "tax_method": "inclusive"},
        {"id": 1},
    ]
    deals = revenue_frames.deals([{"currency": None}])
    with pytest.warns(DataWarning) as caught:
        lines = mrr_lines(
            revenue_frames.lines(rows), deals, cancellations=revenue_frames.NO_CANCELLATIONS
        )
    assert lines["problem"].fillna("").tolist() == [
        "",
        "weekly without cycles",
        "weekly without cycles",
        "cycles below 1",
        "cycles below 1",
        "no quantity or price",
        "no quantity or price",
        "amount out of range",
        "amount out of range",
        "no currency",
        "no currency",
        "ends after the year 9999",
        "starts on 31 December 9999 or in year 1",
        "tax of -100 % or less",
        "id occurs twice",
    ]
    assert lines.loc[1:, ["mrr", "one_time", "tcv", "amount"]].isna().all(axis=None)
    assert lines.loc[1:, ["month_from", "month_until"]].isna().all(axis=None)
    assert len(caught) == 1
    (message,) = notes_in(caught)
    assert message.startswith(
        "14 line items are kept apart and count nowhere, line ids by reason: amount out of range"
        " (2: 8, 9); cycles below 1"
    )
    assert "weekly without cycles (2: 2, 3)" in message
    assert "id occurs twice (1: 1)" in message
    assert caught[0].filename == __file__


def test_a_deal_without_any_date_has_no_start() -> None:
    deals = revenue_frames.deals([{"won_time": None, "local_won_date": None}])
    with noticed(r"1 line item is kept apart .* no start date \(1: 1\)"):
        lines = mrr_lines(
            revenue_frames.lines([{}, {"billing_start_date": "2026-01-01"}]),
            deals,
            cancellations=revenue_frames.NO_CANCELLATIONS,
        )
    assert lines["problem"].isna().tolist() == [False, True]


def test_an_unknown_frequency() -> None:
    rows = revenue_frames.lines([{}, {}]).assign(
        billing_frequency=pd.Series(["monthly", "<b>daily</b>"], dtype="str")
    )
    with noticed(r"unknown billing frequency \(1: 2\)"):
        assert mrr_lines(
            rows, revenue_frames.deals([{}]), cancellations=revenue_frames.NO_CANCELLATIONS
        )["mrr"].fillna(-1).tolist() == [
            100.0,
            -1.0,
        ]


def test_cycles_that_are_no_integer() -> None:
    rows = revenue_frames.lines([{}]).assign(billing_frequency_cycles=2.5)
    with noticed("not a whole number"):
        mrr_lines(rows, revenue_frames.deals([{}]), cancellations=revenue_frames.NO_CANCELLATIONS)


# Cancellations


def ends(lines: pd.DataFrame) -> list[tuple[str | None, str]]:
    return list(zip(days(lines["end"]), lines["end_reason"].astype(object), strict=True))


ROWS = (
    {"customer": 1, "start": "2026-01-10", "billing_frequency_cycles": 6},
    {"customer": 1, "start": "2026-01-10"},
    {"customer": 1, "start": "2026-06-01"},
    {"customer": 2, "start": "2026-01-10"},
    {"customer": 2, "billing_frequency": "one-time"},
)


@pytest.mark.parametrize(
    ("cancelled", "expected"),
    [
        # A deal's earliest date counts; a line that would have started later never runs, one whose
        # term ends earlier ended so.
        (
            {"deal_id": [1, 1, None, 2], "date": ["2026-04-30", "2026-09-30", "2026-01-01", None]},
            [
                ("2026-04-30", "cancelled"),
                ("2026-04-30", "cancelled"),
                ("2026-06-01", "cancelled"),
                (None, "open"),
            ],
        ),
        (
            {"deal_id": [1, 7], "date": ["2026-07-10", "2026-01-01"]},
            [
                ("2026-07-10", "term"),
                ("2026-07-10", "cancelled"),
                ("2026-07-10", "cancelled"),
                (None, "open"),
            ],
        ),
        (
            {"line_id": [4, 2], "date": ["2025-12-01", "2026-02-10"]},
            [
                ("2026-07-10", "term"),
                ("2026-02-10", "cancelled"),
                (None, "open"),
                ("2026-01-10", "cancelled"),
            ],
        ),
        # A customer who comes back is not cancelled again by the first date.
        (
            {
                "customer": ["organization 1", "organization 1", "organization 9"],
                "date": ["2026-12-01", "2026-04-30", "2026-01-01"],
            },
            [
                ("2026-04-30", "cancelled"),
                ("2026-04-30", "cancelled"),
                ("2026-12-01", "cancelled"),
                (None, "open"),
            ],
        ),
        # Who starts on the day of a cancellation is a new customer.
        (
            {"customer": ["organization 1"], "date": ["2026-06-01"]},
            [
                ("2026-06-01", "cancelled"),
                ("2026-06-01", "cancelled"),
                (None, "open"),
                (None, "open"),
            ],
        ),
        (
            {"customer": ["organization 2"], "date": ["1965-01-01"]},
            [("2026-07-10", "term"), (None, "open"), (None, "open"), (None, "open")],
        ),
        (
            {"deal_id": [], "date": []},
            [("2026-07-10", "term"), (None, "open"), (None, "open"), (None, "open")],
        ),
    ],
)
def test_cancellations_end_what_they_name(
    cancelled: dict[str, list[Any]], expected: list[tuple[str | None, str]]
) -> None:
    frame = pd.DataFrame(cancelled).assign(date=lambda f: pd.to_datetime(f["date"]))
    lines = ledger(*ROWS, cancellations=frame)
    assert ends(lines.iloc[:4]) == expected
    assert lines.loc[4, ["end", "end_reason"]].isna().all()


def test_cancellations_take_dates_in_any_shape() -> None:
    for dates in (
        pd.Series(["2026-04-30"], dtype="str"),
        pd.to_datetime(pd.Series(["2026-04-30"])),
        pd.Series([pd.Timestamp("2026-04-30").date()]),
    ):
        if dates.dtype == object:
            dates = pd.to_datetime(dates)
        assert ends(
            ledger(ROWS[1], cancellations=pd.DataFrame({"deal_id": [1], "date": dates}))
        ) == [("2026-04-30", "cancelled")]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            {"deal_id": [1]},
            r"cancellations must be the name of a column of deals, or .*; it has no column date\.",
        ),
        (
            {"date": ["2026-01-01"]},
            r"exactly one of line_id, deal_id, customer; it has none of them",
        ),
        (
            {"date": ["2026-01-01"], "deal_id": [1], "customer": ["organization 1"]},
            r"it has deal_id and customer of them",
        ),
        ({"date": ["soon"], "deal_id": [1]}, r"'date'"),
        ({"date": ["2026-01-01"], "deal_id": ["one"]}, r"deal_id"),
    ],
)
def test_cancellations_of_another_shape(frame: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        ledger({}, cancellations=pd.DataFrame(frame))
    with pytest.raises(
        ArgumentError,
        match=(
            r"cancellations must be the name of a column of deals, or a DataFrame with a column"
            r" date .*, not \w+\."
        ),
    ):
        ledger({}, cancellations={1: "2026-01-01"})


def test_cancellations_of_unknown_customers_warn() -> None:
    frame = pd.DataFrame({"customer": [1], "date": pd.to_datetime(["2026-01-01"])})
    with noticed(r"None of the 1 cancellations .* written like 'organization 1'"):
        ledger({}, cancellations=frame)


def test_cancellations_may_be_a_column_of_deals() -> None:
    deals = revenue_frames.deals([{}, {}, {"status": "lost"}]).assign(
        **{"Cancellation date": pd.to_datetime(["2026-04-30", None, "2026-01-01"])}
    )
    rows = revenue_frames.lines(
        [{"deal_id": 1}, {"deal_id": 2}, {"deal_id": 1, "billing_start_date": "2026-06-01"}]
    )
    text = deals.assign(**{"Cancellation date": ["2026-04-30", None, "2026-01-01"]})
    for kept in (
        deals,
        text,
        deals.assign(**{"Cancellation date": deals["Cancellation date"].dt.tz_localize("UTC")}),
    ):
        lines = mrr_lines(rows, kept, cancellations="Cancellation date")
        assert ends(lines) == [
            ("2026-04-30", "cancelled"),
            (None, "open"),
            ("2026-06-01", "cancelled"),
        ]
        bills = billing_schedule(
            rows,
            None,
            kept,
            since="2026-04-01",
            until="2026-06-01",
            cancellations="Cancellation date",
        )
        assert [
            (str(day)[:10], deal) for day, deal in zip(bills["date"], bills["deal_id"], strict=True)
        ] == [
            ("2026-04-01", 1),
            ("2026-04-01", 2),
            ("2026-05-01", 2),
        ]
    for wrong, message in {
        "cancelation date": (
            r"'cancelation date' is not a column of deals\. Did you mean 'Cancellation date'\?"
        ),
        "Reason": r"'Reason' is not a column of deals\. Did you mean 'Cancellation date'\?",
        "title": r"'title' holds text that is not a time",
    }.items():
        with pytest.raises(ArgumentError, match=message):
            mrr_lines(rows, deals, cancellations=wrong)
    with pytest.raises(ArgumentError, match=r"Pass one of its columns of dates, or a frame"):
        mrr_lines(rows, revenue_frames.deals([{}]), cancellations="?")
    suffixed = deals.rename(columns={"Cancellation date": "Cancellation date (8fcce3)"})
    with pytest.raises(ArgumentError, match=r"Did you mean 'Cancellation date \(8fcce3\)'\?"):
        mrr_lines(rows, suffixed, cancellations="Cancellation date")


def open_warnings(rows: list[dict[str, Any]], deals: pd.DataFrame) -> list[str]:
    """What `mrr_lines` says where no cancellations are given; `billing_schedule` says the same."""
    said = []
    for call in (
        lambda: mrr_lines(revenue_frames.lines(rows), deals),
        lambda: billing_schedule(
            revenue_frames.lines(rows), None, deals, since="2026-01-01", until="2026-02-01"
        ),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        assert all(warning.filename == __file__ for warning in caught)
        said.append(notes_in(caught))
    assert said[0] == said[1]
    return said[0]


def test_lines_without_an_end_are_reported_where_no_cancellations_are_given() -> None:
    deals = revenue_frames.deals([{}])
    assert open_warnings([{}, {"billing_frequency_cycles": 3}], deals) == [
        "No cancellations are given, so one recurring line without an end counts forever. Pass"
        " cancellations=, the name of a column of deals or a frame; an empty frame where there are"
        " none."
    ]
    dated = deals.assign(
        **{
            "Cancellation date": pd.Series([pd.NaT], dtype="datetime64[us]"),
            "Cancellation reason": "price",
        }
    )
    assert open_warnings([{}, {}], dated) == [
        "No cancellations are given, so 2 recurring lines without an end count forever. The name"
        " of the column 'Cancellation date' of deals suggests an end: pass"
        " cancellations='Cancellation date'; an empty frame where there are none."
    ]
    # Only lines that count and have no end.
    quiet = [
        {"billing_frequency": "one-time"},
        {"billing_frequency_cycles": 12},
        {"discount": 100},
        {"is_enabled": False},
    ]
    assert open_warnings(quiet, dated) == []
    assert open_warnings([], dated) == []


@pytest.mark.parametrize(
    "empty",
    [revenue_frames.NO_CANCELLATIONS, pd.DataFrame(), pd.DataFrame(columns=["line_id", "date"])],
)
def test_an_empty_frame_of_cancellations_says_that_there_are_none(empty: pd.DataFrame) -> None:
    assert ends(ledger({}, cancellations=empty)) == [(None, "open")]


SPEAK_OF_AN_END = (
    "Cancellation date",
    "CANCELLED ON",
    "Churn",
    "Terminated",
    "Contract end date",
    "Ends on",
    "End of contract",
    "Expiry",
    "Kündigungsdatum",
    "Ku\u0308ndigung zum",
    "KUENDIGUNG beendet",
    "Vertragsende",
    "Stornodatum",
    "Résiliation le",
    "RESILIE LE",
    "Date de fin",
    "Annulé le",
    "Fecha de baja",
    "Fecha de cancelación",
    "Data fine (disdetta)",
    "Rescisão",
    "Opzegdatum",
    "Datum beëindiging",
    "Einddatum",
    "Uppsägning",
    "Oppsigelse",
    "Data rezygnacji",
    "Datum výpovědi",
    "Дата расторжения",
    "解約日",
    "キャンセル日",
    "해지일",
)
SPEAK_OF_NONE = (
    "Signed",
    "Renewal",
    "Calendar",
    "Weekend visit",
    "Weekend of the fair",
    "Send date",
    "Vendor since",
    "Kick-off",
    "Trend",
    "Expected delivery",
    "Finance check",
)


def test_columns_that_speak_of_an_end_in_many_languages() -> None:
    day = pd.Series([pd.Timestamp("2026-05-01")], dtype="datetime64[us]")
    deals = revenue_frames.deals([{}]).assign(
        **dict.fromkeys([f"{name} by" for name in SPEAK_OF_AN_END], "Ann")
    )
    expected = (
        f"The names of the columns {', '.join(map(repr, SPEAK_OF_AN_END))} of deals suggest an"
        " end: pass"
        f" cancellations={SPEAK_OF_AN_END[0]!r} or "
    )
    for column in (
        day,
        day.dt.tz_localize("UTC"),
        pd.Series(["2026-05-01"], dtype="str"),
        pd.Series([day[0].date()]),
    ):
        (said,) = open_warnings([{}], deals.assign(**dict.fromkeys(SPEAK_OF_AN_END, column)))
        assert expected in said
    others = (
        *SPEAK_OF_NONE,
        "expected_close_date",
        "local_close_date",
        "deleted_time",
        "stage_change_time",
    )
    (said,) = open_warnings([{}], deals.assign(**dict.fromkeys(others, day)))
    assert "an end: pass" not in said


# Discounts on whole deals


def once(price: float, **more: Any) -> dict[str, Any]:
    return {"billing_frequency": "one-time", "item_price": price, **more}


@pytest.mark.parametrize(
    ("discounts", "kept"),
    [
        ([{"amount": 10}], [270, 90]),
        ([{"amount": 10}, {"amount": 15}], [225, 75]),
        ([{"amount": 100, "type": "amount"}], [225, 75]),
        ([{"amount": 100, "type": "amount"}, {"amount": 50}], [75, 25]),
        ([{"amount": 900, "type": "amount"}], [0, 0]),
        ([{"amount": 80}, {"amount": 80}], [0, 0]),
        ([{"amount": 10, "deal_id": 2}], [300, 100]),
        ([], [300, 100]),
    ],
)
def test_discounts_on_the_deal_cut_one_time_parts_alone_pro_rata(
    discounts: list[dict[str, Any]], kept: list[float]
) -> None:
    frame = small_frames.discounts([{"deal_id": 1, **row} for row in discounts])
    lines = ledger(
        once(300), once(100), {"item_price": 50, "billing_frequency_cycles": 2}, discounts=frame
    )
    assert lines["one_time"].tolist() == [*kept, 0]
    assert lines["tcv"].tolist() == [*kept, 100]
    assert lines["mrr"].tolist() == [0, 0, 50]


def test_credits_take_part_in_a_discount_on_the_deal() -> None:
    frame = small_frames.discounts([{"deal_id": 1, "amount": 50}])
    assert ledger(once(300), once(-100), discounts=frame)["one_time"].tolist() == [150, -50]
    assert ledger(once(100), once(-300), discounts=frame)["one_time"].tolist() == [100, -300]


def test_an_amount_off_the_deal_is_in_the_deals_currency() -> None:
    frame = small_frames.discounts([{"deal_id": 1, "amount": 50, "type": "amount"}])
    assert ledger(once(100), once(100, currency="USD"), discounts=frame)["one_time"].tolist() == [
        50,
        100,
    ]


def test_deals_that_differ_from_their_lines_are_named_where_discounts_are_not_given() -> None:
    deals = revenue_frames.deals([{}, {}, {}]).assign(value=[400.0, 360.0, 100.0])
    lines = revenue_frames.lines(
        [{**once(400), "deal_id": 1}, {**once(400), "deal_id": 2}, {"deal_id": 3}]
    ).assign(sum=[400.0, 400.0, 100.0])
    with noticed(r"The value of 1 deals is not the total of their lines \(2\)"):
        mrr_lines(lines, deals, cancellations=revenue_frames.NO_CANCELLATIONS)
    given = small_frames.discounts([{"deal_id": 2, "amount": 10}])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mrr_lines(
            lines, deals, discounts=given, cancellations=revenue_frames.NO_CANCELLATIONS
        )["one_time"].tolist() == [
            400.0,
            360.0,
            0.0,
        ]


# The policy


def test_policies_change_what_they_say() -> None:
    weekly = {"billing_frequency": "weekly", "billing_frequency_cycles": 52, "item_price": 12}
    factors = [
        RevenuePolicy(),
        RevenuePolicy.paddle(),
        RevenuePolicy.four_weeks(),
        RevenuePolicy(weekly=365 / 84),
    ]
    assert [float(ledger(weekly, policy=policy)["mrr"][0]) for policy in factors] == [
        52.0,
        51.96,
        48.0,
        52.142857,
    ]
    taxed = [{"tax": 25, "tax_method": method} for method in ("inclusive", "exclusive", "none")]
    assert ledger(*taxed)["mrr"].tolist() == [80, 100, 100]
    assert ledger(*taxed, policy=RevenuePolicy(tax="included"))["mrr"].tolist() == [100, 125, 100]
    assert ledger({"discount": 10}, policy=RevenuePolicy(discount="ignored"))["mrr"].tolist() == [
        100
    ]


def months(lines: pd.DataFrame) -> list[tuple[str | None, str | None]]:
    return list(
        zip(
            (d and d[:7] for d in days(lines["month_from"])),
            (d and d[:7] for d in days(lines["month_until"])),
            strict=True,
        )
    )


@pytest.mark.filterwarnings("ignore:.* in no month:pdframe.errors.DataWarning")
def test_a_month_is_sampled_on_its_last_day_or_its_first() -> None:
    rows = [
        {"start": "2026-01-31", "billing_frequency_cycles": 1},  # to 28 February
        {"start": "2026-01-01", "billing_frequency_cycles": 1},  # to 1 February
        {"start": "2026-01-02", "billing_frequency_cycles": 1},  # to 2 February
        {
            "start": "2026-01-02",
            "billing_frequency": "weekly",
            "billing_frequency_cycles": 2,
        },  # within January
        {"start": "2026-01-15"},
        {"billing_frequency": "one-time"},
    ]
    assert months(ledger(*rows)) == [
        ("2026-01", "2026-02"),
        ("2026-01", "2026-02"),
        ("2026-01", "2026-02"),
        ("2026-01", "2026-01"),
        ("2026-01", None),
        (None, None),
    ]
    assert months(ledger(*rows, policy=RevenuePolicy(at="start"))) == [
        ("2026-02", "2026-03"),
        ("2026-01", "2026-02"),
        ("2026-02", "2026-03"),
        ("2026-02", "2026-02"),
        ("2026-02", None),
        (None, None),
    ]


def test_lines_between_two_sampling_days_are_named_with_their_mrr() -> None:
    # Three weeks of March, as in the case `between_two_month_ends`: 100 a week are 433.33 a month.
    weeks = {"start": "2025-03-03", "billing_frequency": "weekly", "billing_frequency_cycles": 3}
    rows = [
        weeks,
        {"start": "2025-01-01"},
        {**weeks, "item_price": 30, "customer": 2},
        {**weeks, "item_price": 6, "currency": "USD"},
        {**weeks, "item_price": 0},  # worth nothing
        {**weeks, "billing_frequency_cycles": 5},  # to 7 April
        {**weeks, "billing_frequency": "one-time", "billing_frequency_cycles": None},
    ]
    with pytest.warns(DataWarning) as caught:
        lines = ledger(*rows)
    assert notes_in(caught) == [
        "3 line items begin and end without being active on the last day of a month, when MRR is"
        " taken: they count in no month. MRR 563.33 EUR, 26.00 USD; line ids: 1, 3, 4. tcv is"
        " their total amount."
    ]
    assert lines["tcv"][0] == 300
    months_ = mrr_customer_months(lines, since="2025-01-01", until="2025-07-01")
    assert months_["mrr"].tolist() == [100, 100, 533.333333, 100, 100, 100]
    # None of them is behind the month in which they lie, nor behind the month after.
    for at, ids in ((2, [2, 6]), (3, [2, 6])):
        assert drill_through(months_.iloc[at], lines)["id"].tolist() == ids
    with noticed(
        (r"1 line item begins and ends .* on the first day of a month.*: it counts in no month"),
    ):
        ledger(weeks, policy=RevenuePolicy(at="start"))


def test_a_line_that_was_cancelled_before_its_first_day_is_not_named() -> None:
    cancelled = pd.DataFrame({"line_id": [1], "date": pd.to_datetime(["2026-01-05"])})
    assert len(ledger({"start": "2026-01-10"}, cancellations=cancelled)) == 1
    with noticed("in no month"):
        ledger({"start": "2026-01-04"}, cancellations=cancelled)


@pytest.mark.filterwarnings("ignore:.* in no month:pdframe.errors.DataWarning")
@pytest.mark.parametrize(
    ("grace", "until"),
    [
        ("0D", "2026-02"),
        ("30D", "2026-02"),
        ("31D", "2026-03"),
        (pd.Timedelta(days=45), "2026-03"),
        ("30D 23h", "2026-02"),
    ],
)
def test_a_gap_up_to_the_grace_is_bridged(grace: Any, until: str) -> None:
    rows = [
        {"start": "2026-01-15", "billing_frequency_cycles": 1},  # to 15 February
        {
            "start": "2026-01-20",
            "billing_frequency": "weekly",
            "billing_frequency_cycles": 1,
        },  # to 27 January: not at the gap
        {"start": "2026-03-18"},
        {"customer": 2, "start": "2026-02-20"},
    ]
    gap_of_31_days = ledger(*rows, policy=RevenuePolicy(renewal_grace=grace))
    assert months(gap_of_31_days) == [
        ("2026-01", until),
        ("2026-01", "2026-01"),
        ("2026-03", None),
        ("2026-02", None),
    ]
    assert days(gap_of_31_days["end"])[0] == "2026-02-15"


def test_only_a_time_without_any_line_is_a_gap() -> None:
    rows = [
        {"start": "2026-01-15", "billing_frequency_cycles": 1},
        {"start": "2026-01-15"},  # runs on
        {"start": "2026-03-01"},
        {"customer": 2, "start": "1969-11-15", "billing_frequency_cycles": 1},
        {"customer": 2, "start": "1970-01-10"},
        {"customer": 2, "start": "1969-12-20", "item_price": -5},  # a credit bridges nothing
    ]
    result = months(ledger(*rows, policy=RevenuePolicy(renewal_grace="60D")))
    assert result[0] == ("2026-01", "2026-02")
    assert result[3] == ("1969-11", "1970-01")


@pytest.mark.parametrize(
    "wrong",
    [
        {"statuses": ()},
        {"statuses": ("gewonnen",)},
        {"statuses": 3},
        {"weekly": 0},
        {"weekly": float("nan")},
        {"weekly": "4"},
        {"weekly": True},
        {"customer": (1,)},
        {"at": "middle"},
        {"tax": True},
        {"discount": None},
        {"renewal_grace": 30},
        {"renewal_grace": "-3D"},
    ],
)
def test_policies_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        RevenuePolicy(**wrong)


def test_a_policy_is_nothing_else() -> None:
    with pytest.raises(ArgumentError, match=r"policy must be a RevenuePolicy, such as .* not dict"):
        ledger({}, policy={"weekly": 4})


def test_a_policy_is_a_frozen_value() -> None:
    policy = RevenuePolicy(statuses="won", customer="org_id")
    assert policy == RevenuePolicy(customer=("org_id",))
    with pytest.raises(AttributeError):
        policy.weekly = 4  # type: ignore[misc]
    with pytest.raises(TypeError):
        RevenuePolicy(("won",))  # type: ignore[misc]

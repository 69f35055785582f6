"""Frames that are not as they should be: missing columns, other dtypes, nulls, text from web
forms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe.errors import ArgumentError
from pdframe.metrics import (
    RevenuePolicy,
    billing_schedule,
    committed_mrr,
    mrr_customer_months,
    mrr_lines,
    mrr_movements,
    mrr_schedule,
    renewals,
    retention,
    revenue_cohorts,
)
from tests.helpers import revenue_frames, small_frames
from tests.helpers.revenue_frames import ledger

# Names of customers have a test of their own.
pytestmark = pytest.mark.filterwarnings("ignore:.*Customers have no names")

YEAR: dict[str, Any] = {"since": "2026-01-01", "until": "2027-01-01"}
METRICS: list[Callable[[pd.DataFrame], pd.DataFrame]] = [
    lambda lines: mrr_customer_months(lines, **YEAR),
    lambda lines: mrr_schedule(lines, **YEAR),
    lambda lines: mrr_movements(lines, **YEAR),
    lambda lines: retention(lines, **YEAR),
    lambda lines: revenue_cohorts(lines, **YEAR),
    lambda lines: committed_mrr(lines, as_of="2026-06-30"),
    lambda lines: renewals(lines, revenue_frames.deals([{}]), as_of="2026-06-30", within="90D"),
]


@pytest.mark.parametrize(
    "column",
    [
        "id",
        "deal_id",
        "product_id",
        "currency",
        "quantity",
        "item_price",
        "discount",
        "discount_type",
        "tax",
        "tax_method",
        "is_enabled",
        "billing_frequency",
        "billing_frequency_cycles",
        "billing_start_date",
    ],
)
def test_a_missing_column_of_line_items_is_named(column: str) -> None:
    lines, deals = revenue_frames.lines([{}]).drop(columns=column), revenue_frames.deals([{}])
    for call in (
        lambda: mrr_lines(lines, deals, cancellations=revenue_frames.NO_CANCELLATIONS),
        lambda: billing_schedule(
            lines, None, deals, **YEAR, cancellations=revenue_frames.NO_CANCELLATIONS
        ),
    ):
        with pytest.raises(ArgumentError, match=f"deal_products has no column '{column}'"):
            call()


@pytest.mark.parametrize("column", ["id", "status", "won_time", "org_id", "person_id"])
def test_a_missing_column_of_deals_is_named(column: str) -> None:
    with pytest.raises(ArgumentError, match=f"deals has no column '{column}'"):
        mrr_lines(
            revenue_frames.lines([{}]),
            revenue_frames.deals([{}]).drop(columns=column),
            cancellations=revenue_frames.NO_CANCELLATIONS,
        )


@pytest.mark.parametrize(
    "column", ["customer", "currency", "mrr", "start", "end", "end_reason", "problem"]
)
def test_a_missing_column_of_lines_is_named(column: str) -> None:
    lines = ledger({}).drop(columns=column)
    for metric in METRICS:
        with pytest.raises(ArgumentError, match=f"lines has no column '{column}'"):
            metric(lines)


def test_discounts_need_their_columns() -> None:
    with pytest.raises(ArgumentError, match="discounts has no column 'type'"):
        ledger({}, discounts=small_frames.discounts([]).drop(columns="type"))


def test_other_things_than_frames() -> None:
    for wrong in (None, [], "lines"):
        with pytest.raises(
            ArgumentError, match=r"deal_products must be a DataFrame from account\.deal_products"
        ):
            mrr_lines(
                wrong, revenue_frames.deals([{}]), cancellations=revenue_frames.NO_CANCELLATIONS
            )  # type: ignore[arg-type]
        with pytest.raises(
            ArgumentError, match=r"lines must be a DataFrame from metrics\.mrr_lines"
        ):
            mrr_schedule(wrong, **YEAR)  # type: ignore[arg-type]


def test_columns_that_hold_what_they_cannot() -> None:
    lines, deals = revenue_frames.lines([{}]), revenue_frames.deals([{}])
    for column in ("quantity", "item_price", "discount", "tax", "billing_frequency_cycles"):
        with pytest.raises(ArgumentError, match=column):
            mrr_lines(
                lines.assign(**{column: "many"}),
                deals,
                cancellations=revenue_frames.NO_CANCELLATIONS,
            )
    with pytest.raises(ArgumentError, match="billing_start_date"):
        mrr_lines(
            lines.assign(billing_start_date="soon"),
            deals,
            cancellations=revenue_frames.NO_CANCELLATIONS,
        )
    with pytest.raises(ArgumentError, match="holds deal 1 more than once"):
        mrr_lines(lines, pd.concat([deals, deals]), cancellations=revenue_frames.NO_CANCELLATIONS)
    with pytest.raises(ArgumentError, match="tz="):
        mrr_lines(lines, deals, tz="Mars/Base", cancellations=revenue_frames.NO_CANCELLATIONS)
    with pytest.raises(ArgumentError, match="cannot be grouped by"):
        mrr_schedule(ledger({}).assign(labels=[[1, 2]]), **YEAR, by="labels")


def test_the_same_ledger_in_plain_dtypes() -> None:
    rows = [
        {"discount": 10},
        {
            "billing_start_date": "2026-03-31",
            "billing_frequency": "annually",
            "billing_frequency_cycles": 1,
        },
    ]
    lines, deals = revenue_frames.lines(rows), revenue_frames.deals([{}])
    expected = mrr_schedule(
        mrr_lines(lines, deals, cancellations=revenue_frames.NO_CANCELLATIONS), **YEAR
    )
    plain = lines.astype(
        {
            "id": "int64",
            "deal_id": "int64",
            "quantity": "int64",
            "discount_type": "str",
            "tax_method": "object",
            "billing_frequency": "object",
            "is_enabled": "bool",
            "billing_frequency_cycles": "float64",
        }
    )
    text = plain.assign(
        billing_start_date=plain["billing_start_date"].dt.strftime("%Y-%m-%d").astype("str")
    )
    objects = plain.astype(object).assign(billing_frequency_cycles=[None, 1])
    aware = plain.assign(billing_start_date=plain["billing_start_date"].dt.tz_localize("UTC"))
    other = deals.astype({"id": "float64", "org_id": "int64", "status": "object"}).assign(
        won_time=deals["won_time"].dt.tz_localize(None)
    )
    for frame in (
        plain,
        text,
        objects,
        aware,
        lines.set_index("id", drop=False),
        lines.sample(frac=1, random_state=1),
    ):
        for kept in (deals, other, deals.set_index("title")):
            pd.testing.assert_frame_equal(
                mrr_schedule(
                    mrr_lines(frame, kept, cancellations=revenue_frames.NO_CANCELLATIONS), **YEAR
                ),
                expected,
            )


def test_several_currencies_within_a_deal_are_kept_apart() -> None:
    result = mrr_schedule(ledger({}, {"currency": "USD", "item_price": 7}), **YEAR)
    assert result.groupby("currency")["mrr"].max().to_dict() == {"EUR": 100, "USD": 7}


def test_text_from_web_forms_is_only_text() -> None:
    wild = ["$x^2$ \\frac{", "<b>bold</b>", "🤷" * 60, " ", "\n", "=1+1", "A" * 180]
    lines = ledger(
        *(
            {"name": text, "currency": text[:5], "customer": at + 1}
            for at, text in enumerate(wild)
            if text.strip()
        )
    )
    for metric in METRICS:
        metric(lines)
    result = mrr_schedule(
        lines,
        since="2026-01-01",
        until="2026-02-01",
        by="name",
        rates=dict.fromkeys(lines["currency"], 1.0),
    )
    assert sorted(result["name"]) == sorted(text for text in wild if text.strip())


def test_dates_far_away() -> None:
    rows = [
        {"billing_start_date": "0002-01-01", "item_price": 1},
        {
            "billing_start_date": "1969-12-31",
            "billing_frequency": "weekly",
            "billing_frequency_cycles": 1,
            "item_price": 2,
        },
        {"billing_start_date": "2345-06-07", "item_price": 3},
        {"billing_start_date": "9990-01-01", "billing_frequency_cycles": 100, "item_price": 4},
    ]
    made = pd.DataFrame([{**row, "billing_start_date": row["billing_start_date"]} for row in rows])
    lines = revenue_frames.lines(
        [{k: v for k, v in row.items() if k != "billing_start_date"} for row in rows]
    )
    lines["billing_start_date"] = made["billing_start_date"].astype("datetime64[us]")
    ledger_ = mrr_lines(
        lines, revenue_frames.deals([{}]), cancellations=revenue_frames.NO_CANCELLATIONS
    )
    assert mrr_schedule(ledger_, since="1969-12-01", until="1970-02-01")["mrr"].tolist() == [
        9.666667,
        1.0,
    ]  # a week over the new year
    assert mrr_schedule(ledger_, since="2345-05-01", until="2345-07-01")["mrr"].tolist() == [
        1.0,
        4.0,
    ]
    assert mrr_schedule(ledger_, since="9990-01-01", until="9990-02-01")["mrr"].tolist() == [8.0]
    for metric in METRICS[:5]:
        metric(ledger_)


@pytest.mark.filterwarnings("ignore:.* in no month:pdframe.errors.DataWarning")
@pytest.mark.filterwarnings("ignore:.*committed_mrr shows 36 months:pdframe.errors.DataWarning")
@pytest.mark.filterwarnings("ignore:.*kept apart:pdframe.errors.DataWarning")
@pytest.mark.filterwarnings(
    "ignore:.*discounts. values that cannot be computed with:pdframe.errors.DataWarning"
)
@pytest.mark.parametrize("seed", range(5))
def test_wild_values_never_stop_the_ledger(seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows = 2_000

    def some(*values: Any) -> list[Any]:
        return [values[at] for at in draw.integers(0, len(values), rows)]

    numbers = (1.0, 0.0, -0.0, -3.5, 1e-320, 1e11, 1e308, float("inf"), float("-inf"), None)
    days = some(None, "0001-01-01", "1969-12-31", "2026-01-31", "2028-02-29", "9999-12-31")
    lines = revenue_frames.lines([{}] * rows).assign(
        id=pd.array(some(None, *range(1, 3 * rows)), "Int64"),
        deal_id=pd.array(some(None, 1, 2, 3, 99), "Int64"),
        quantity=pd.Series(some(*numbers), dtype="float64"),
        item_price=pd.Series(some(100.0, 59.99, *numbers), dtype="float64"),
        discount=pd.Series(some(0.0, 10.0, 200.0, *numbers), dtype="float64"),
        discount_type=pd.Categorical(some("percentage", "amount", None)),
        tax=pd.Series(some(0.0, 22.0, -100.0, *numbers), dtype="float64"),
        tax_method=pd.Categorical(some("inclusive", "exclusive", "none", None)),
        currency=pd.Series(some("EUR", "USD", "", None, "$x$"), dtype="str"),
        billing_frequency=pd.Series(
            some(
                None,
                "daily",
                "one-time",
                "weekly",
                "monthly",
                "quarterly",
                "semi-annually",
                "annually",
            ),
            dtype="str",
        ),
        billing_frequency_cycles=pd.array(
            some(None, 0, -1, 1, 208, 209, 10_000, 2**31, 2**62), "Int64"
        ),
        billing_start_date=pd.Series(
            [pd.NaT if day is None else np.datetime64(day, "us") for day in days],
            dtype="datetime64[us]",
        ),
        is_enabled=pd.array(some(True, None), "boolean"),
    )
    deals = revenue_frames.deals(
        [{}, {"won_time": None, "local_won_date": None, "currency": None}, {"org_id": None}]
    )
    discounts = small_frames.discounts(
        [
            {"deal_id": 1, "amount": 50},
            {"deal_id": 3, "amount": 1e308, "type": "amount"},
            {"deal_id": 3, "amount": None},
        ]
    )
    cancelled = pd.DataFrame(
        {
            "deal_id": [1, 3],
            "date": [np.datetime64("1900-01-01", "us"), np.datetime64("9998-01-01", "us")],
        }
    )
    for policy in (
        RevenuePolicy(),
        RevenuePolicy(at="start", tax="included", renewal_grace="400D"),
    ):
        result = mrr_lines(
            lines, deals, policy=policy, discounts=discounts, cancellations=cancelled
        )
        counted = result[result["problem"].isna()]
        assert 50 < len(counted) < len(result) < rows
        assert np.isfinite(counted[["mrr", "one_time", "amount"]]).all(axis=None)
        assert (
            result.loc[result["problem"].notna(), ["mrr", "one_time", "tcv", "amount"]]
            .isna()
            .all(axis=None)
        )
        assert (counted["end"].isna() | (counted["end"] >= counted["start"])).all()
        for metric in METRICS:
            metric(result)
        moved = mrr_movements(result, **YEAR)
        parts = np.rint(moved.iloc[:, 2:-1].to_numpy(float) * 1e6)
        assert np.abs(parts[:, :-1].sum(axis=1) - parts[:, -1]).max() <= 1e-9 * np.abs(parts).max()
        billing_schedule(
            lines,
            None,
            deals,
            **YEAR,
            policy=policy,
            discounts=discounts,
            cancellations=revenue_frames.NO_CANCELLATIONS,
        )

"""Reconciliation: every planted difference is found and classified, and nothing else is flagged."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pdframe.errors import ArgumentError
from pdframe.metrics import RevenuePolicy, mrr_lines, reconcile
from tests.helpers import revenue_frames
from tests.helpers.notices import noticed

WEEKLY = {"billing_frequency": "weekly", "item_price": 12.0}


def line(**more: Any) -> dict[str, Any]:
    return {"deal_id": 1, **more}


# What the deal says (mrr, and arr where it is not 12 times that), its lines, and the reason.
CASES: dict[str, tuple[dict[str, Any], list[dict[str, Any]], str | None]] = {
    "they agree": ({"mrr": 100.0}, [line()], None),
    "to the cent": ({"mrr": 33.33}, [line(billing_frequency="quarterly", item_price=100)], None),
    "a cent a line at most": ({"mrr": 100.01}, [line(item_price=33.335)] * 3, None),
    "nothing reported": ({"mrr": None, "arr": None}, [line()], None),
    "one-time alone": ({"mrr": 0.0}, [line(billing_frequency="one-time")], None),
    "a term that is over counts as any": (
        {"mrr": 100.0},
        [line(billing_start_date="2019-01-01", billing_frequency_cycles=12)],
        None,
    ),
    "four weeks": ({"mrr": 48.0}, [line(**WEEKLY, billing_frequency_cycles=52)], "weekly factor"),
    "4.33 weeks": (
        {"mrr": 151.96},
        [line(), line(**WEEKLY, billing_frequency_cycles=20)],
        "weekly factor",
    ),
    "average weeks": (
        {"mrr": 521.79},
        [line(**{**WEEKLY, "item_price": 120}, billing_frequency_cycles=20)],
        "weekly factor",
    ),
    "half a year": ({"mrr": 50.0}, [line(billing_frequency_cycles=6)], "term under 12 months"),
    "half a year and a running line": (
        {"mrr": 150.0},
        [line(billing_frequency_cycles=6), line()],
        "term under 12 months",
    ),
    "12 weeks": (
        {"mrr": 12.0},
        [line(**WEEKLY, billing_frequency_cycles=12)],
        "term under 12 months",
    ),
    "the year alone": (
        {"mrr": 100.0, "arr": 600.0},
        [line(billing_frequency_cycles=6)],
        "term under 12 months",
    ),
    "both": (
        {"mrr": 48.0 + 50.0},
        [line(**WEEKLY, billing_frequency_cycles=52), line(billing_frequency_cycles=6)],
        "weekly factor + term under 12 months",
    ),
    "a disabled line": (
        {"mrr": 130.0},
        [line(), line(is_enabled=False, item_price=30)],
        "disabled lines",
    ),
    "disabled lines alone": (
        {"mrr": 30.0},
        [line(is_enabled=False, item_price=30)],
        "disabled lines",
    ),
    "list price": ({"mrr": 100.0}, [line(discount=10)], "discount"),
    "with tax": ({"mrr": 122.0}, [line(tax=22, tax_method="exclusive")], "tax"),
    "another currency": ({"mrr": 92.0}, [line(currency="USD")], "currency"),
    "another currency beside its own": ({"mrr": 192.0}, [line(), line(currency="USD")], "currency"),
    "a line kept apart": ({"mrr": 152.0}, [line(), line(**WEEKLY)], "line kept apart"),
    "no line at all": ({"mrr": 500.0}, [], "manual value"),
    "no line that recurs": ({"mrr": 500.0}, [line(billing_frequency="one-time")], "manual value"),
    "a value entered by hand": ({"mrr": 77.0, "value": 924.0}, [line(sum=100.0)], "manual value"),
    "unknown cause": ({"mrr": 77.0, "value": 100.0}, [line(sum=100.0)], "unknown"),
}


def made(name: str, **arguments: Any) -> pd.DataFrame:
    said, rows, _ = CASES[name]
    row = {"value": 1e6, "arr": None if said["mrr"] is None else 12 * said["mrr"], **said}
    deals = revenue_frames.deals(
        [
            row,
            {"mrr": 7.0, "arr": 84.0, "value": 7.0},
            {"status": "open", "mrr": 5.0},
            {"is_deleted": True, "mrr": 5.0},
        ]
    )
    products = revenue_frames.lines(
        [{"sum": 0.0, **kept} for kept in rows]
        + [line(deal_id=2, item_price=7, sum=7.0), line(deal_id=3), line(deal_id=4)]
    )
    lines = mrr_lines(
        products.drop(columns="sum"), deals, cancellations=revenue_frames.NO_CANCELLATIONS
    )
    lines["sum"] = lines["id"].map(products.set_index("id")["sum"])
    return reconcile(lines, deals, deal_products=products, **arguments)


@pytest.mark.filterwarnings("ignore:.*kept apart:pdframe.errors.DataWarning")
@pytest.mark.parametrize("name", CASES)
def test_every_planted_difference_is_detected_and_nothing_else(name: str) -> None:
    said, _, reason = CASES[name]
    result = made(name)
    reasons = result.set_index("deal_id")["reason"]
    assert pd.isna(reasons[2])
    first = result[result["deal_id"] == 1]
    if name == "one-time alone":
        assert result["deal_id"].tolist() == [2]
        return
    assert result["deal_id"].tolist() == [1, 2]
    assert (None if pd.isna(reasons[1]) else reasons[1]) == reason
    row = first.iloc[0]
    if reason == "currency":
        assert first[["mrr", "arr", "difference"]].isna().all(axis=None)
    elif said["mrr"] is not None:
        assert row["difference"] == pytest.approx(said["mrr"] - row["mrr"], abs=1e-6)
        assert row["arr"] == 12 * row["mrr"]


def test_columns() -> None:
    result = made("half a year")
    assert list(result.columns) == [
        "deal_id",
        "mrr",
        "mrr_reported",
        "arr",
        "arr_reported",
        "difference",
        "reason",
        "currency",
    ]
    assert result.iloc[0].tolist() == [
        1,
        100.0,
        50.0,
        1200.0,
        600.0,
        -50.0,
        "term under 12 months",
        "EUR",
    ]
    assert result["reason"].dtype == "str"


def test_the_policy_that_lines_were_made_with_is_ours() -> None:
    deals = revenue_frames.deals([{"mrr": 48.0, "arr": 576.0}, {"mrr": 52.0, "arr": 624.0}])
    products = revenue_frames.lines(
        [
            line(**WEEKLY, billing_frequency_cycles=52),
            line(**WEEKLY, billing_frequency_cycles=52, deal_id=2),
        ]
    )
    policy = RevenuePolicy.four_weeks()
    result = reconcile(
        mrr_lines(products, deals, policy=policy, cancellations=revenue_frames.NO_CANCELLATIONS),
        deals,
        policy=policy,
    )
    assert result["reason"].fillna("").tolist() == ["", "weekly factor"]


def test_disabled_lines_are_seen_only_where_they_are_given() -> None:
    deals = revenue_frames.deals([{"mrr": 130.0, "arr": 1560.0}])
    products = revenue_frames.lines([line(), line(is_enabled=False, item_price=30)])
    assert reconcile(
        mrr_lines(products, deals, cancellations=revenue_frames.NO_CANCELLATIONS), deals
    )["reason"].tolist() == ["unknown"]


def test_a_plan_without_revenue_fields_has_nothing_to_compare() -> None:
    deals = revenue_frames.deals([{}])
    with noticed("No deal reports mrr or arr"):
        result = reconcile(
            mrr_lines(
                revenue_frames.lines([line()]), deals, cancellations=revenue_frames.NO_CANCELLATIONS
            ),
            deals,
        )
    assert result["mrr"].tolist() == [100.0]
    assert result["reason"].isna().all()


def test_empty_frames_and_missing_columns() -> None:
    lines, deals = (
        mrr_lines(
            revenue_frames.lines([]),
            revenue_frames.deals([]),
            cancellations=revenue_frames.NO_CANCELLATIONS,
        ),
        revenue_frames.deals([]),
    )
    assert len(reconcile(lines, deals, deal_products=revenue_frames.lines([]))) == 0
    with pytest.raises(ArgumentError, match="deals has no column 'mrr'"):
        reconcile(lines, deals.drop(columns="mrr"))
    with pytest.raises(ArgumentError, match="lines has no column 'amount'"):
        reconcile(lines.drop(columns="amount"), deals)

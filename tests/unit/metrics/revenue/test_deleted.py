"""Deals that were deleted after their win: nowhere in recurring revenue, or counted on with
`deleted="keep"`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe.errors import ArgumentError
from pdframe.metrics import billing_schedule, mrr_lines, reconcile, renewals
from pdframe.metrics._line_values import differs
from tests.helpers import revenue_frames
from tests.helpers.notices import noticed

# Names of customers have a test of their own.
pytestmark = pytest.mark.filterwarnings("ignore:.*Customers have no names")

DELETED = {"is_deleted": True, "status": "deleted", "update_time": "2026-06-15"}
FEBRUARY: dict[str, Any] = {"since": "2026-02-01", "until": "2026-03-01"}


def deals() -> pd.DataFrame:
    """A win that stands, one that was deleted, the same by the flag alone, and deals that were
    lost or open when deleted.
    """
    return revenue_frames.deals(
        [
            {"mrr": 100.0, "arr": 1_200.0},
            {**DELETED, "mrr": 100.0, "arr": 1_200.0},
            {**DELETED, "status": "won", "mrr": 100.0, "arr": 1_200.0},
            {**DELETED, "won_time": None, "local_won_date": None, "lost_time": "2026-02-01"},
            {**DELETED, "won_time": None, "local_won_date": None},
        ]
    )


LINES = revenue_frames.lines([{"deal_id": deal} for deal in range(1, 6)])
PLANS = revenue_frames.installments(
    [{"deal_id": deal, "billing_date": "2026-02-10"} for deal in (1, 2, 4, 5)]
)


@pytest.mark.parametrize(("how", "counted"), [("drop", [1]), ("keep", [1, 2, 3])])
def test_lines_bills_and_reports_of_deleted_deals(how: Any, counted: list[int]) -> None:
    lines = mrr_lines(LINES, deals(), deleted=how, cancellations=revenue_frames.NO_CANCELLATIONS)
    assert lines["deal_id"].tolist() == counted
    assert lines["mrr"].sum() == 100 * len(counted)
    bills = billing_schedule(
        LINES,
        PLANS,
        deals(),
        **FEBRUARY,
        deleted=how,
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )
    result = bills.groupby("kind", observed=True)["deal_id"].agg(list).to_dict()
    assert result == {
        "recurring": counted,
        "installment": [deal for deal in counted if deal in (1, 2)],
    }
    assert reconcile(lines, deals(), deleted=how)["deal_id"].tolist() == counted


def test_disabled_lines_explain_the_report_of_a_deleted_deal_that_is_kept() -> None:
    won = revenue_frames.deals([{**DELETED, "mrr": 130.0, "arr": 1_560.0}])
    items = revenue_frames.lines([{}, {"is_enabled": False, "item_price": 30.0}])
    lines = mrr_lines(items, won, deleted="keep", cancellations=revenue_frames.NO_CANCELLATIONS)
    assert reconcile(lines, won, deal_products=items, deleted="keep")["reason"].tolist() == [
        "disabled lines"
    ]


def test_keeping_what_no_frame_holds_warns_once() -> None:
    alive = deals().iloc[[0]]
    for metric in (
        lambda: mrr_lines(
            LINES, alive, deleted="keep", cancellations=revenue_frames.NO_CANCELLATIONS
        ),
        lambda: billing_schedule(
            LINES,
            PLANS,
            alive,
            **FEBRUARY,
            deleted="keep",
            cancellations=revenue_frames.NO_CANCELLATIONS,
        ),
        lambda: reconcile(
            mrr_lines(LINES, alive, cancellations=revenue_frames.NO_CANCELLATIONS),
            alive,
            deleted="keep",
        ),
    ):
        with noticed("deals holds no deleted deal") as reported:
            metric()
        assert len(reported) == 1
    wrong: Any = {"deleted": None, "cancellations": revenue_frames.NO_CANCELLATIONS}
    with pytest.raises(ArgumentError, match="deleted must be one of 'drop', 'keep'"):
        mrr_lines(LINES, alive, **wrong)


def test_a_successor_that_was_open_takes_over_until_the_day_of_its_deletion() -> None:
    heir = {
        "org_id": 1,
        "status": "deleted",
        "is_deleted": True,
        "won_time": None,
        "local_won_date": None,
        "add_time": "2026-05-01",
    }
    frame = revenue_frames.deals([{"org_id": 1}, {**heir, "update_time": "2026-06-15 18:00"}])
    lines = mrr_lines(
        revenue_frames.lines([{"billing_frequency_cycles": 6}]),
        frame,
        cancellations=revenue_frames.NO_CANCELLATIONS,
    )
    successors = [
        renewals(lines, frame, as_of=day, within="60D")["successor"].tolist()
        for day in ("2026-06-14", "2026-06-15")
    ]
    assert successors == [[2], [pd.NA]]


def test_a_tax_of_minus_100_percent_inside_a_price_is_no_division_by_zero() -> None:
    lines = revenue_frames.lines(
        [{"tax": -100.0, "tax_method": "inclusive"}, {"deal_id": 2}]
    ).assign(sum=[100.0, 100.0])
    value = pd.Series([100.0, 90.0]).to_numpy()
    result = differs(
        np.array([1, 2]),
        value,
        lines,
        lines.iloc[:0][["deal_id"]].assign(type="amount", amount=0.0),
    )
    assert result.tolist() == [False, True]

"""Recurring revenue with the history that an account keeps, over HTTP: each month is as its look
found it.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pdframe import sandbox
from pdframe.metrics import drill_through, mrr_customer_months, mrr_lines, mrr_movements
from tests.helpers.revenue_frames import NO_CANCELLATIONS

# Names of customers have a test of their own.
pytestmark = pytest.mark.filterwarnings("ignore:.*Customers have no names")

CALM = {
    "cancellations": NO_CANCELLATIONS,
    "discounts": pd.DataFrame({"deal_id": [], "type": [], "amount": []}),
}


def mrr_of(lines: pd.DataFrame, month: pd.Period) -> dict[Any, float]:
    result = mrr_customer_months(lines, since=month.start_time, until=month.end_time)
    return result[result["mrr"] != 0].set_index(["customer", "currency"])["mrr"].round(6).to_dict()


@pytest.mark.filterwarnings("ignore:.*options that are not defined.*:pdframe.errors.DataWarning")
@pytest.mark.filterwarnings("ignore:.* in no month:pdframe.errors.DataWarning")
def test_each_month_is_as_the_account_saw_it() -> None:
    with sandbox.connect(
        seed=5, deals=150, company="hostile", burst=100_000, progress=False
    ) as account:
        company, snapshots = account.company_model, {}
        for round_, days in enumerate((0, 31, 31, 30)):
            account.advance(days=days)
            deals = account.deals(refresh=True)
            won = [
                line["id"]
                for deal in deals.loc[deals["status"] == "won", "id"]
                for line in company.lines_of(deal)
                if line["billing_frequency"] != "one-time"
            ]
            company.edit_line(won[round_], quantity=50.5 + round_)
            company.edit_line(won[round_ + 5], item_price=900.0 + round_)
            company.edit_line(won[round_ + 10], is_enabled=False)
            company.remove_line(won[round_ + 15])
            frame = account.deal_products(refresh="full" if round_ == 2 else True)
            snapshots[pd.Timestamp(company.now, unit="s").to_period("M")] = frame
        deals, history = account.deals(), account.line_history()
    assert [str(month) for month in snapshots] == ["2026-06", "2026-07", "2026-08", "2026-09"]
    lines = mrr_lines(frame, deals, history=history, **CALM)
    assert set(lines["end_reason"].dropna()) == {"term", "open", "changed", "removed"}
    restated = mrr_lines(frame, deals, **CALM)
    differing = 0
    for month, then in snapshots.items():
        expected = mrr_of(mrr_lines(then, deals, **CALM), month)
        assert mrr_of(lines, month) == expected
        differing += mrr_of(restated, month) != expected
    assert differing == 3
    months = mrr_customer_months(lines, since="2026-08-01", until="2026-09-01")
    for row in range(len(months)):
        after = drill_through(months.iloc[row], lines)
        counted = (after["month_from"] <= "2026-08-01") & ~(after["month_until"] <= "2026-08-01")
        assert after.loc[counted, "mrr"].sum() == pytest.approx(months["mrr"].iloc[row])
        assert after[["id", "deal_id"]].notna().all(axis=None)
    moved = mrr_movements(lines, since="2026-07-01", until="2026-10-01")
    parts = (moved.iloc[:, 2:-1].to_numpy(float) * 1e6).round()
    assert not (parts[:, :-1].sum(axis=1) - parts[:, -1]).any()

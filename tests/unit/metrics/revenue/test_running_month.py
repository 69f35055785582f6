"""A month that is not over: its row is of its last day, and a warning says what MRR was on the day
of the data.
"""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd
import pytest

from pdframe.errors import DataWarning
from pdframe.metrics import RevenuePolicy, mrr_lines, mrr_schedule, top_customers
from tests.helpers import revenue_frames
from tests.helpers.revenue_frames import NO_CANCELLATIONS

pytestmark = pytest.mark.filterwarnings("ignore:.*Customers have no names")

# On 12 July 100 + 40 EUR and 20 USD; on the 31st the 40 have ended, and 7 have begun.
ITEMS: list[dict[str, Any]] = [
    {"deal_id": 1, "item_price": 100.0, "billing_start_date": "2026-01-01"},
    {
        "deal_id": 2,
        "item_price": 40.0,
        "billing_start_date": "2026-01-20",
        "billing_frequency_cycles": 6,
    },
    {"deal_id": 3, "item_price": 7.0, "billing_start_date": "2026-07-25"},
    {"deal_id": 4, "item_price": 20.0, "currency": "USD", "billing_start_date": "2026-01-01"},
]


def lines(
    changed: str | None = "2026-07-12 20:00", tz: str = "UTC", at: str = "end"
) -> pd.DataFrame:
    """Lines of four deals, the last of which changed at this time."""
    deals = revenue_frames.deals([{}, {}, {}, {"currency": "USD"}])
    if changed is not None:
        times = ["2026-05-01", changed, None, "2026-07-02"]
        deals["update_time"] = pd.Series(times, dtype="datetime64[us, UTC]")
    return mrr_lines(
        revenue_frames.lines(ITEMS),
        deals,
        policy=RevenuePolicy(at=at),  # type: ignore[arg-type]
        cancellations=NO_CANCELLATIONS,
        tz=tz,
    )


def said(frame: pd.DataFrame, until: str, **how: Any) -> str:
    """The warning of a schedule up to `until`; empty without one."""
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always", DataWarning)
        result = mrr_schedule(frame, since="2026-05", until=until, **how)
    assert result.attrs["notes"] == [
        note for each in issued for note in getattr(each.message, "notes", ())
    ]
    return " ".join(result.attrs["notes"])


def test_a_warning_has_the_figure_of_the_day_and_that_of_the_row() -> None:
    with pytest.warns(DataWarning, match="was not over on 2026-07-12: MRR is 140.00 EUR on that"):
        result = mrr_schedule(lines(), since="2026-07", until="2026-07")
    # The rows are as ever: those of any window agree.
    assert result["mrr"].tolist() == [107.0, 20.0]
    note = result.attrs["notes"][0]
    assert "140.00 EUR on that day, and 107.00 EUR in its row" in note
    assert "USD" not in note
    # The call that it names gives that figure.
    assert "metrics.top_customers(lines, as_of='2026-07-12')" in note
    euro = lines().query("currency == 'EUR'")
    top = top_customers(euro, as_of="2026-07-12")
    assert top["mrr"].sum() == 140.0


def test_with_rates_it_is_in_the_common_currency_and_with_groups_of_all_of_them() -> None:
    rates = {"EUR": 1.0, "USD": 0.5}
    assert "MRR is 150.00 EUR on that day, and 117.00 EUR in" in said(
        lines(), "2026-07", rates=rates
    )
    assert "MRR is 140.00 EUR on that day, and 107.00 EUR in" in said(lines(), "2026-07", by="id")
    # A rate for the month's last day and none for the day itself: no figure, and no error.
    late = pd.DataFrame(
        {
            "currency": ["EUR", "USD"] * 2,
            "date": pd.to_datetime(["2026-07-30"] * 2 + ["2026-07-31"] * 2),
            "rate": [1.0, 0.5] * 2,
        }
    )
    begun = revenue_frames.ledger(
        {"customer": 1, "start": "2026-07-05", "billing_frequency_cycles": 1},
        {"customer": 2, "start": "2026-07-25"},
    )
    july: dict[str, Any] = {"since": "2026-07", "until": "2026-07-22"}
    assert mrr_schedule(begun, **july, rates=late)["mrr"].tolist() == [200.0]
    early = late.head(2).assign(date=pd.Timestamp("2026-07-01"))
    assert "MRR is 100.00 EUR" in said(begun, "2026-07-22", rates=pd.concat([late, early]))


def test_the_day_is_that_of_until_where_it_is_inside_a_month() -> None:
    assert "was not over on 2026-07-22: MRR is 100.00 EUR on that day, and 107.00" in said(
        lines(), "2026-07-22"
    )
    assert "was not over on 2026-07-22" in said(lines(None), "2026-07-22 15:00")
    # Without times of changes nothing says that a named month is not over.
    assert said(lines(None), "2026-07") == ""


@pytest.mark.parametrize("until", ["2026-07-01", "2026-06", "2026-Q2"])
def test_a_window_of_months_that_are_over_has_no_warning(until: str) -> None:
    assert said(lines(), until) == ""


def test_later_months_are_known_plans_and_the_month_of_the_day_is_named() -> None:
    assert said(lines(), "2026-12").startswith("2026-07 was not over on 2026-07-12")


def test_there_is_no_warning_where_both_figures_are_the_same() -> None:
    same = lines().query("deal_id in (1, 4)")
    assert said(same, "2026-07") == ""
    # The last day of a month is the day of its row, also where it is another day in UTC.
    assert said(lines("2026-07-31 23:00"), "2026-07") == ""
    assert said(lines("2026-07-30 23:00", tz="Europe/Tallinn"), "2026-07") == ""


def test_a_policy_of_first_days_is_compared_too() -> None:
    note = said(lines(at="start"), "2026-07-22")
    assert "MRR is 100.00 EUR on that day, and 140.00 EUR in its row" in note


def test_times_that_cannot_be_read_are_no_error() -> None:
    for wrong in ("9999-12-31", "0001-01-01"):
        assert "was not over on 2026-07-02" in said(lines(wrong), "2026-07")
    frame = lines(None)
    frame.attrs["last_change"] = "someday"
    assert said(frame, "2026-07") == ""
    deals = revenue_frames.deals([{}] * 4).assign(update_time=True)
    made = mrr_lines(revenue_frames.lines(ITEMS), deals, cancellations=NO_CANCELLATIONS)
    assert made.attrs["last_change"] is None

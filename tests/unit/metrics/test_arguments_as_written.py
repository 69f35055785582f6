"""Arguments as people write them: periods, names of pipelines, `by="owner"`, and labels that need a
suffix.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from pdframe import metrics
from pdframe.errors import ArgumentError
from tests.helpers.visit_frames import known_visits, stages

VISITS = known_visits(
    (1, "A", 0, 10, "advanced"),
    (1, "B", 10, 30, "won"),
    (2, "A", 0, 20, "lost"),
    (3, "A", 40, None, "open"),
    (4, "A", 95, 100, "advanced"),
    (4, "B", 100, None, "open"),
)
STAGES = stages().query("pipeline_id == 1").assign(is_deal_rot_enabled=False, days_to_rotten=None)
DEALS = pd.DataFrame(
    {
        "id": pd.array([1, 2, 3, 4], "Int64"),
        "status": ["won", "lost", "open", "open"],
        "owner_id": pd.array([7, 7, 8, 8], "Int64"),
        "owner_name": ["Mari", "Mari", "Jaan", "Jaan"],
        "title": ["a", "b", "c", "d"],
        "org_id": pd.array([1, 2, 3, 4], "Int64"),
        "person_id": pd.array([None] * 4, "Int64"),
        "pipeline_id": pd.array([1] * 4, "Int64"),
        "stage_id": pd.array([12, 11, 11, 12], "Int64"),
        "update_time": pd.to_datetime(["2026-07-02"] * 4, utc=True),
        "expected_close_date": pd.to_datetime(["2026-07-02"] * 4),
        "value": [100.0, 200.0, 300.0, 400.0],
        "currency": "EUR",
        "add_time": pd.to_datetime(
            ["2025-12-31", "2026-03-31", "2026-04-01", "2026-06-30"], utc=True
        ),
        "won_time": pd.to_datetime(["2026-06-30 23:00", None, None, None], utc=True),
        "lost_time": pd.to_datetime([None, "2026-07-01", None, None], utc=True),
        "Region (8fcce3)": ["N", "S", "N", "S"],
        "Region (1ecf93)": ["1", "1", "2", "2"],
    }
)
LINES = pd.DataFrame(
    {
        "id": pd.array([1, 2], "Int64"),
        "deal_id": pd.array([1, 1], "Int64"),
        "customer": ["organization 1", "organization 1"],
        "product_id": pd.array([1, 2], "Int64"),
        "currency": ["EUR", "EUR"],
        "mrr": [100.0, 20.0],
        "start": pd.to_datetime(["2026-01-15", "2026-06-30"]).astype("datetime64[us]"),
        "end": pd.to_datetime(["2026-06-01", None]).astype("datetime64[us]"),
        "end_reason": ["term", None],
        "one_time": [0.0, 0.0],
        "problem": pd.Series([None, None], dtype="str"),
    }
)
ITEMS = pd.DataFrame(
    {
        "id": pd.array([1], "Int64"),
        "deal_id": pd.array([1], "Int64"),
        "product_id": pd.array([1], "Int64"),
        "currency": ["EUR"],
        "quantity": [1.0],
        "item_price": [100.0],
        "discount": [0.0],
        "discount_type": ["amount"],
        "tax": [0.0],
        "tax_method": ["none"],
        "is_enabled": [True],
        "billing_frequency": ["monthly"],
        "billing_frequency_cycles": pd.array([12], "Int64"),
        "billing_start_date": pd.to_datetime(["2026-03-31"]).astype("datetime64[us]"),
    }
)
WINDOWED: dict[str, Callable[..., pd.DataFrame]] = {
    "win_rate": lambda **window: metrics.win_rate(DEALS, **window),
    "sales_velocity": lambda **window: metrics.sales_velocity(DEALS, **window),
    "funnel": lambda **window: metrics.funnel(VISITS, STAGES, as_of="2026", **window),
    "stage_moves": lambda **window: metrics.stage_moves(VISITS, STAGES, as_of="2026", **window),
    "mrr_schedule": lambda **window: metrics.mrr_schedule(LINES, **window),
    "mrr_movements": lambda **window: metrics.mrr_movements(LINES, **window),
    "mrr_customer_months": lambda **window: metrics.mrr_customer_months(LINES, **window),
    "retention": lambda **window: metrics.retention(LINES, months=1, **window),
    "revenue_cohorts": lambda **window: metrics.revenue_cohorts(LINES, **window),
    "billing_schedule": lambda **window: metrics.billing_schedule(ITEMS, None, DEALS, **window),
}
OBSERVED: dict[str, Callable[[Any], pd.DataFrame]] = {
    "funnel": lambda as_of: metrics.funnel(VISITS, STAGES, as_of=as_of),
    "stage_velocity": lambda as_of: metrics.stage_velocity(VISITS, STAGES, as_of=as_of),
    "stage_survival": lambda as_of: metrics.stage_survival(VISITS, STAGES, as_of=as_of),
    "stage_moves": lambda as_of: metrics.stage_moves(VISITS, STAGES, as_of=as_of),
    "deal_aging": lambda as_of: metrics.deal_aging(DEALS, VISITS, STAGES, as_of=as_of),
    "win_rate": lambda as_of: metrics.win_rate(
        DEALS, since=None, until=None, basis="created", as_of=as_of
    ),
    "committed_mrr": lambda as_of: metrics.committed_mrr(LINES, as_of=as_of),
}
PERIODS = [
    ("2026", "2026-01-01", "2027-01-01", "2026-12-31"),
    ("2026-Q2", "2026-04-01", "2026-07-01", "2026-06-30"),
    ("2026-06", "2026-06-01", "2026-07-01", "2026-06-30"),
    (pd.Period("2026Q2"), "2026-04-01", "2026-07-01", "2026-06-30"),
]


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize("name", WINDOWED)
def test_a_window_of_periods_is_that_of_its_first_day_and_the_day_after_its_last(name: str) -> None:
    for since, until in itertools.combinations_with_replacement(PERIODS, 2):
        if since[1] < until[2]:
            of_periods = WINDOWED[name](since=since[0], until=until[0])
            of_days = WINDOWED[name](since=since[1], until=until[2])
            pd.testing.assert_frame_equal(of_periods, of_days)


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize("name", OBSERVED)
def test_as_of_a_period_is_as_of_its_last_day(name: str) -> None:
    for period, _, _, last in PERIODS:
        pd.testing.assert_frame_equal(OBSERVED[name](period), OBSERVED[name](last))


def test_a_quarter_holds_what_closed_on_its_last_day() -> None:
    second = metrics.win_rate(DEALS, since="2026-Q2", until="2026-Q2")
    assert second[["n", "won", "lost"]].iloc[0].to_list() == [1, 1, 0]
    both = metrics.win_rate(DEALS, since="2026-Q2", until="2026-Q3")
    assert both[["n", "won", "lost"]].iloc[0].to_list() == [2, 1, 1]


def test_a_quarter_has_three_months_of_mrr() -> None:
    months = metrics.mrr_schedule(LINES, since="2026-Q2", until="2026-Q2")
    assert months["mrr"].to_list() == [100.0, 100.0, 20.0]


def test_a_pipeline_goes_by_its_name() -> None:
    named = STAGES.assign(pipeline_name=" New business")
    for given in ("New business", "new business ", 1):
        result = metrics.funnel(VISITS, named, as_of="2026-06", pipeline_id=given)
        assert result["reached"].to_list()[:2] == [4, 2]
    moves = metrics.stage_moves(VISITS, named, as_of="2026-06", pipeline_id="New business")
    assert len(moves) > 0


def test_a_pipeline_of_another_name_is_answered_with_the_nearest() -> None:
    named = STAGES.assign(pipeline_name="New business")
    calls = {
        "New busines": r"no pipeline 'New busines'\. Did you mean 'New business'\?",
        "Renewals": r"no pipeline 'Renewals'\. There are: 'New business'\.",
    }
    for given, message in calls.items():
        with pytest.raises(ArgumentError, match=message):
            metrics.funnel(VISITS, named, as_of="2026-06", pipeline_id=given)
    with pytest.raises(ArgumentError, match=r"no column 'pipeline_name'.*account\.stages"):
        metrics.funnel(VISITS, STAGES, as_of="2026-06", pipeline_id="New business")


def test_namesakes_among_pipelines_are_named_by_their_ids() -> None:
    both = pd.concat([STAGES, STAGES.assign(id=STAGES["id"] + 100, pipeline_id=2)])
    with pytest.raises(ArgumentError, match=r"Several pipelines are called 'Sales'.*1, 2"):
        metrics.funnel(
            VISITS, both.assign(pipeline_name="Sales"), as_of="2026", pipeline_id="Sales"
        )


def test_by_owner_is_the_name_of_the_owner() -> None:
    rates = metrics.win_rate(DEALS, since="2026", until="2026", by="owner")
    assert rates.columns[0] == "owner_name"
    assert rates["owner_name"].to_list() == ["Mari"]
    reached = metrics.funnel(VISITS, STAGES, as_of="2026", by="owner", deals=DEALS)
    assert set(reached["owner_name"]) == {"Mari", "Jaan"}
    schedule = metrics.mrr_schedule(
        LINES.assign(owner_name="Mari"), since="2026", until="2026", by="owner"
    )
    assert set(schedule["owner_name"]) == {"Mari"}


def test_a_column_called_owner_comes_before_the_name() -> None:
    rates = metrics.win_rate(DEALS.assign(owner="x"), since="2026", until="2026", by="owner")
    assert rates["owner"].to_list() == ["x"]


def test_a_label_that_several_columns_share_is_answered_with_all_of_them() -> None:
    for by in ("Region", "region"):
        with pytest.raises(ArgumentError, match=r"'Region \(8fcce3\)' or 'Region \(1ecf93\)'"):
            metrics.win_rate(DEALS, since="2026", until="2026", by=by)
        with pytest.raises(ArgumentError, match=r"'Region \(8fcce3\)' or 'Region \(1ecf93\)'"):
            metrics.funnel(VISITS, STAGES, as_of="2026", by=by, deals=DEALS)

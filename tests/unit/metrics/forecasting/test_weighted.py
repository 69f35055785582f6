"""The weighted pipeline: which probability counts, which period a deal is in, and what is said."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd
import pytest

from pdframe import metrics
from pdframe.errors import ArgumentError, DataWarning
from tests.helpers import small_frames

NOW = "2026-06-30"
PIPELINES = pd.DataFrame({"id": [1, 2], "is_deal_probability_enabled": [True, False]})
STAGES = small_frames.stages(
    [
        {"deal_probability": 70},
        {"deal_probability": 100, "pipeline_id": 2},
        {"deal_probability": 100, "name": "Demo"},
    ]
)
Rows = list[dict[str, Any]]


def table(rows: Rows, *, stages: pd.DataFrame = STAGES, **how: Any) -> pd.DataFrame:
    deals = small_frames.deals(rows)
    return metrics.weighted_pipeline(deals, stages, PIPELINES, **{"as_of": NOW, **how})


def cells(result: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Period, currency, deals, value, weighted and when of each row; null as None."""
    rows = result[["period", "currency", "deals", "value", "weighted", "when"]]
    return [
        tuple(None if pd.isna(value) else value for value in row)
        for row in rows.assign(period=rows["period"].dt.strftime("%Y-%m-%d")).itertuples(
            index=False
        )
    ]


def test_the_deals_own_probability_counts_else_that_of_its_stage() -> None:
    result = table(
        [
            {"value": 4_245.74, "probability": 50, "expected_close_date": "2026-07-03"},
            {"value": 12_285.0, "expected_close_date": "2026-08-31"},
        ]
    )
    assert cells(result) == [
        ("2026-07-01", "EUR", 1, 4_245.74, 2_122.87, "dated"),
        ("2026-08-01", "EUR", 1, 12_285.0, 8_599.5, "dated"),
    ]
    assert list(result.columns) == ["period", "currency", "deals", "value", "weighted", "when"]
    assert result.dtypes.astype(str).tolist() == [
        "datetime64[us]", "str", "Int64", "float64", "float64", "category",
    ]  # fmt: skip


def test_every_deal_of_a_pipeline_without_probabilities_counts_in_full() -> None:
    rows: Rows = [
        {"value": 100.0, "probability": 20, "pipeline_id": 2, "stage_id": 2},
        {"value": 50.0, "pipeline_id": 2, "stage_id": 2},
    ]
    assert cells(table(rows)) == [(None, "EUR", 2, 150.0, 150.0, "none")]


def test_a_probability_of_nought_is_one_and_one_outside_a_hundred_is_none() -> None:
    rows: Rows = [
        {"value": 100.0, "probability": 0},
        {"value": 1_000.0, "probability": 140},
        {"value": 1_000.0, "probability": -3},
    ]
    assert cells(table(rows)) == [(None, "EUR", 3, 2_100.0, 1_400.0, "none")]


def test_stages_left_at_a_hundred_are_named() -> None:
    rows: Rows = [
        {"stage_id": 3},
        {"stage_id": 3, "probability": 10},
        {"stage_id": 2, "pipeline_id": 2},
    ]
    with pytest.warns(DataWarning, match=r"default probability of 100 %: Demo \(3, pipeline 1\)\."):
        result = table(rows)
    assert "1 open deals count there in full" in result.attrs["notes"][0]
    assert cells(result) == [(None, "EUR", 3, 300.0, 210.0, "none")]


def test_deals_that_are_overdue_or_undated_have_rows_of_their_own() -> None:
    days = ["2026-06-30", "2026-06-29", None, "2026-07-01", "2099-12-31", "2025-01-01"]
    result = table([{"value": 10.0, "expected_close_date": day} for day in days])
    assert cells(result) == [
        (None, "EUR", 2, 20.0, 14.0, "past"),
        ("2026-06-01", "EUR", 1, 10.0, 7.0, "dated"),
        ("2026-07-01", "EUR", 1, 10.0, 7.0, "dated"),
        ("2099-12-01", "EUR", 1, 10.0, 7.0, "dated"),
        (None, "EUR", 1, 10.0, 7.0, "none"),
    ]


@pytest.mark.parametrize(
    ("freq", "fiscal_start", "first"),
    [
        ("W", 1, "2026-08-10"),
        ("Q", 1, "2026-07-01"),
        ("Q", 2, "2026-08-01"),
        ("Y", 4, "2026-04-01"),
    ],
)
def test_periods_are_weeks_quarters_or_fiscal_years(
    freq: str, fiscal_start: int, first: str
) -> None:
    row = {"expected_close_date": "2026-08-12"}
    result = table([row], freq=freq, fiscal_start=fiscal_start)
    assert cells(result) == [(first, "EUR", 1, 100.0, 70.0, "dated")]


def test_open_deals_count_also_where_they_are_archived() -> None:
    rows: Rows = [
        {"value": 1.0, "is_archived": True},
        {"value": 2.0, "status": "won", "won_time": "2026-05-01"},
        {"value": 4.0, "status": "lost", "lost_time": "2026-05-01"},
        {"value": 8.0, "status": "deleted", "is_deleted": True, "update_time": "2026-05-01"},
        {"value": 16.0, "is_archived": False},
    ]
    assert cells(table(rows)) == [(None, "EUR", 2, 17.0, 11.9, "none")]


def test_no_open_deals_are_no_rows() -> None:
    result = table([{"status": "won", "won_time": "2026-05-01"}])
    assert result.empty
    assert list(result.columns) == ["period", "currency", "deals", "value", "weighted", "when"]
    assert table([]).empty


def test_null_values_count_nothing_and_are_counted() -> None:
    with pytest.warns(
        DataWarning, match=r"^weighted_pipeline: 2 of 3 open deals have no value: they count 0"
    ):
        result = table([{"value": None}, {"value": None}, {"value": 0.0}])
    assert cells(result) == [(None, "EUR", 3, 0.0, 0.0, "none")]


def test_credits_are_subtracted() -> None:
    assert cells(table([{"value": -50.0}, {"value": 200.0}])) == [
        (None, "EUR", 2, 150.0, 105.0, "none")
    ]


def test_a_stage_that_is_no_longer_there_has_no_probability() -> None:
    rows: Rows = [{"stage_id": 9}, {"stage_id": 9, "probability": 40}]
    with pytest.warns(
        DataWarning, match=r"^weighted_pipeline: 1 open deals have no probability.*\(9\)"
    ):
        result = table(rows)
    assert cells(result) == [(None, "EUR", 2, 200.0, 40.0, "none")]


def test_each_deal_is_rounded_once_and_sums_are_exact() -> None:
    rows: Rows = [{"value": 0.1, "probability": 33.33335}] * 3 + [{"value": 1e11}]
    result = table(rows)
    # 0.1 x 33.33335 % = 0.03333335, which is 0.033333.
    assert result["value"].tolist() == [100_000_000_000.3]
    assert result["weighted"].tolist() == [70_000_000_000.099999]


def test_currencies_are_kept_apart_without_rates() -> None:
    rows: Rows = [
        {"value": 100.0},
        {"value": 10.0, "currency": "USD"},
        {"value": 1.0, "currency": None},
    ]
    assert cells(table(rows)) == [
        (None, "EUR", 1, 100.0, 70.0, "none"),
        (None, "USD", 1, 10.0, 7.0, "none"),
        (None, None, 1, 1.0, 0.7, "none"),
    ]


def test_rates_of_the_day_add_currencies_up() -> None:
    rates = pd.DataFrame(
        {
            "currency": ["EUR", "USD", "USD", "USD"],
            "date": ["2026-01-01", "2026-06-29", "2026-06-30", "2026-07-01"],
            "rate": [1.0, 0.5, 0.8, 0.9],
        }
    )
    rows: Rows = [{"value": 100.0}, {"value": 10.0, "currency": "USD"}]
    assert cells(table(rows, rates=rates)) == [(None, "EUR", 2, 108.0, 75.6, "none")]
    with pytest.raises(ArgumentError, match="no rate of USD"):
        table(rows, rates={"EUR": 1.0})


def test_a_value_without_a_currency_cannot_be_converted() -> None:
    rows: Rows = [{"value": 100.0}, {"value": 10.0, "currency": None}]
    with pytest.warns(
        DataWarning, match=r"^weighted_pipeline: 1 open deals have a value and no currency"
    ):
        result = table(rows, rates={"EUR": 1.0})
    assert cells(result) == [(None, "EUR", 2, 100.0, 70.0, "none")]


def test_groups_add_up_and_lead_to_their_deals() -> None:
    rows: Rows = [
        {"value": 100.0, "owner_id": owner, "expected_close_date": day, "title": f"{owner} {day}"}
        for owner in (1, 2, None)
        for day in ("2026-07-01", "2026-07-31", None, "2026-06-01")
    ]
    deals = small_frames.deals(rows)
    how: dict[str, Any] = {"as_of": NOW, "by": "owner_id"}
    grouped = metrics.weighted_pipeline(deals, STAGES, PIPELINES, **how)
    row_level = metrics.weighted_pipeline_deals(deals, STAGES, PIPELINES, **how)
    assert list(grouped.columns[:1]) == ["owner_id"]
    assert grouped["weighted"].sum() == table(rows)["weighted"].sum() == 840.0
    for place in range(len(grouped)):
        counted = metrics.drill_through(grouped.iloc[place], row_level)
        assert len(counted) == grouped["deals"].iloc[place]
        assert counted["weighted"].sum() == grouped["weighted"].iloc[place]


def test_the_row_of_a_deal_says_where_its_probability_is_from() -> None:
    rows: Rows = [
        {"probability": 5, "title": "Roof"},
        {},
        {"pipeline_id": 2, "stage_id": 2, "probability": 5},
    ]
    deals = small_frames.deals(rows).assign(owner_name=["Ada", "Bo", None])
    result = metrics.weighted_pipeline_deals(deals, STAGES, PIPELINES, as_of=NOW)
    assert list(result.columns) == [
        "deal_id", "title", "owner_name", "pipeline_id", "stage_id", "stage", "currency", "value",
        "probability", "probability_of", "weighted", "expected_close", "period", "when",
    ]  # fmt: skip
    assert result["probability"].tolist() == [5, 70, 100]
    assert result["probability_of"].tolist() == ["deal", "stage", "pipeline"]
    assert result["title"].tolist() == ["Roof", "Deal", "Deal"]


def test_by_owner_is_by_its_name_where_that_is_there() -> None:
    deals = small_frames.deals([{}, {}]).assign(owner_name=["Ada", "Bo"])
    result = metrics.weighted_pipeline(deals, STAGES, PIPELINES, as_of=NOW, by="owner")
    assert result["owner_name"].tolist() == ["Ada", "Bo"]


def test_what_was_known_then_comes_from_history() -> None:
    """A deal that is closed now was open then, at another value, stage, day and probability."""
    deals = small_frames.deals(
        [
            {
                "status": "won",
                "won_time": "2026-05-01",
                "update_time": "2026-05-01",
                "value": 900.0,
            },
            {"add_time": "2026-05-01", "update_time": "2026-05-02"},
        ]
    )
    changes = [("status", "open", "2026-01-01"), ("value", "100", "2026-01-01")]
    changes += [("pipeline_id", "1", "2026-01-01"), ("stage_id", "3", "2026-01-01")]
    changes += [("currency", "EUR", "2026-01-01"), ("probability", "25", "2026-01-01")]
    changes += [("expected_close_date", "2026-04-20", "2026-01-01")]
    changes += [("value", "200", "2026-03-01"), ("expected_close_date", "2026-08-20", "2026-03-01")]
    changes += [("value", "900", "2026-04-01"), ("probability", "90", "2026-04-01")]
    changes += [("status", "won", "2026-05-01")]
    history = small_frames.history(
        [{"column": name, "after": after, "time": time} for name, after, time in changes]
    )
    how: dict[str, Any] = {"as_of": "2026-03-15", "history": history}
    result = metrics.weighted_pipeline(deals, STAGES, PIPELINES, **how)
    assert cells(result) == [("2026-08-01", "EUR", 1, 200.0, 50.0, "dated")]
    later = history.assign(after=history["after"].where(history["time"] < "2026-03-16", "7"))
    changed = metrics.weighted_pipeline(deals.iloc[:1], STAGES, PIPELINES, as_of="2026-03-15",
                                        history=later)  # fmt: skip
    pd.testing.assert_frame_equal(changed, result)


def test_without_history_values_of_an_earlier_time_are_unknown_in_all_deals() -> None:
    rows: Rows = [
        {"value": 100.0, "expected_close_date": "2026-07-01", "update_time": "2026-06-01"},
        {"value": 50.0, "status": "won", "won_time": "2026-07-09", "update_time": "2026-07-09"},
    ]
    with pytest.warns(DataWarning, match="deals shows changes after 2026-06-30"):
        result = table(rows)
    assert "history=account.deal_history()" in result.attrs["notes"][0]
    assert cells(result) == [(None, None, 2, None, None, "unknown")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        then, _ = metrics.as_of(
            small_frames.deals(rows).assign(probability=None),
            small_frames.visits([]),
            "2026-06-30",
        )
        of_then = metrics.weighted_pipeline(then, STAGES, PIPELINES, as_of=NOW)
    assert of_then["deals"].sum() <= 2


def test_a_later_closing_shows_later_changes_where_there_is_no_update_time() -> None:
    rows: Rows = [{"value": 50.0, "status": "won", "won_time": "2026-07-09"}]
    deals = small_frames.deals(rows).drop(columns="update_time")
    with pytest.warns(DataWarning, match="deals shows changes after 2026-06-30"):
        result = metrics.weighted_pipeline(deals, STAGES, PIPELINES, as_of=NOW)
    assert cells(result) == [(None, None, 1, None, None, "unknown")]


def test_a_time_before_the_kept_history_has_unknown_values_and_says_so() -> None:
    deals = small_frames.deals([{"update_time": "2026-06-01"}])
    first = {"time": "2026-05-01", "source": "first look"}
    history = small_frames.history(
        [{"column": "status", "after": "open", **first}, {"column": "value", "after": "7", **first}]
    )
    how: dict[str, Any] = {"as_of": "2026-03-31", "history": history}
    with pytest.warns(DataWarning, match="1 open deals are not in history by 2026-03-31"):
        result = metrics.weighted_pipeline(deals, STAGES, PIPELINES, **how)
    assert cells(result) == [(None, None, 1, None, None, "unknown")]


@pytest.mark.parametrize("pipeline", [1, 2])
@pytest.mark.parametrize("snapshot", [None, "2026-03-01", "2026-05-01"])
def test_a_probability_is_unknown_before_the_first_snapshot(
    snapshot: str | None, pipeline: int
) -> None:
    """A deal that is known from its changelog has a probability of 90 since a later snapshot."""
    deals = small_frames.deals([{"update_time": "2026-06-01", "probability": 90.0}])
    born = {"time": "2026-01-01"}
    cells_of = {"status": "open", "value": "100", "currency": "EUR", "stage_id": "1"}
    cells_of |= {"pipeline_id": str(pipeline), "expected_close_date": "2026-08-20"}
    rows: Rows = [{"column": name, "after": text, **born} for name, text in cells_of.items()]
    if snapshot is not None:
        first = {"time": snapshot, "source": "first look"}
        rows.append({"column": "is_archived", "after": "false", **first})
        if snapshot > "2026-03-31":
            rows.append({"column": "probability", "after": "90", **first})
    then: dict[str, Any] = {"as_of": "2026-03-31", "history": small_frames.history(rows)}
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        result = metrics.weighted_pipeline(deals, STAGES, PIPELINES, **then)
        each = metrics.weighted_pipeline_deals(deals, STAGES, PIPELINES, **then)
    said = [note for note in result.attrs["notes"] if "in no snapshot" in note]
    if pipeline == 2:
        # It counts in full, whatever its deals have.
        weighted, percent, source, count = 100.0, 100.0, "pipeline", 0
    elif snapshot == "2026-03-01":
        weighted, percent, source, count = 70.0, 70.0, "stage", 0
    else:
        weighted, percent, source, count = None, None, None, 1
    assert cells(result) == [("2026-08-01", "EUR", 1, 100.0, weighted, "dated")]
    assert len(said) == count
    shown = each[["probability", "probability_of", "weighted"]].iloc[0].tolist()
    assert [None if pd.isna(cell) else cell for cell in shown] == [percent, source, weighted]


def test_a_warning_is_one_of_two_lines() -> None:
    with pytest.warns(DataWarning) as warned:
        result = table([{"value": None}, {"stage_id": 3}])
    assert len(warned) == 1
    assert len(str(warned[0].message).splitlines()) == 2
    assert len(result.attrs["notes"]) == 2


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"freq": "D"}, "freq"),
        ({"as_of": "yesterday"}, "as_of"),
        ({"by": "nothing"}, "no column 'nothing'"),
        ({"by": "when"}, "column 'when' of its own"),
        ({"by": "currency", "rates": {"EUR": 1}}, "keeps currencies apart"),
        ({"rates": 3}, "rates"),
        ({"history": pd.DataFrame({"deal_id": [1]})}, "history has no column"),
    ],
)
def test_wrong_arguments_are_named(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        table([{}], **how)


def test_values_too_large_for_exact_sums_are_refused_or_null() -> None:
    with pytest.warns(DataWarning, match="cannot be computed with"):
        assert table([{"value": 1e12}])["value"].tolist() == [0.0]
    with pytest.raises(ArgumentError, match="too large to be added up"):
        table([{"value": 9e11}] * 6)

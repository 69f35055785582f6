"""A backtest says what would have been forecast then, and scores it by what happened."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe import DataWarning, metrics
from pdframe.errors import ArgumentError, InsufficientDataError
from tests.helpers.forecast_frames import past
from tests.helpers.other_pipelines import OtherCompany, other_company

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
CUTOFFS = ["2024-03-31", "2024-09-30"]
HORIZONS = ["30D", "90D", "360D"]


@pytest.fixture(scope="module")
def company() -> OtherCompany:
    return other_company(3, deals=500)


@pytest.fixture(scope="module")
def record(company: OtherCompany) -> pd.DataFrame:
    return metrics.backtest_deals(
        *company.frames,
        cutoffs=CUTOFFS,
        horizons=HORIZONS,
        as_of=company.as_of,
        history=company.history,
    )


@pytest.fixture(scope="module")
def scores(company: OtherCompany) -> pd.DataFrame:
    return metrics.backtest(
        *company.frames,
        cutoffs=CUTOFFS,
        horizons=HORIZONS,
        as_of=company.as_of,
        history=company.history,
        draws=500,
    )


def cutoff_of(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC") + pd.Timedelta(days=1) - pd.Timedelta(microseconds=1)


def test_every_open_deal_is_forecast_and_its_outcome_is_that_of_the_company(
    company: OtherCompany, record: pd.DataFrame
) -> None:
    for text in CUTOFFS:
        cutoff = cutoff_of(text)
        states = company.states.sort_values(["time"], kind="stable")
        then = states[states["time"] <= cutoff].groupby("deal_id")["status"].last()
        mine = record[(record["cutoff"] == cutoff) & (record["method"] == "hazard")]
        assert sorted(mine["deal_id"].unique()) == sorted(then.index[then == "open"])
        later = states[(states["time"] > cutoff) & (states["status"] != "open")]
        first = later.groupby("deal_id")[["time", "status"]].first()
        for row in mine.itertuples():
            over = cutoff + row.horizon <= company.as_of
            if not over:
                assert row.won is pd.NA
            elif row.deal_id in first.index:
                closing = first.loc[row.deal_id]
                assert row.outcome == closing["status"].replace("deleted", "lost")
                assert row.closed_at == closing["time"]
                within = closing["time"] <= cutoff + row.horizon
                assert row.won == (within and closing["status"] == "won")
            else:
                assert row.outcome == "open"
                assert not row.won


def test_it_forecasts_what_forecast_deals_would_have(
    company: OtherCompany, record: pd.DataFrame
) -> None:
    for text in CUTOFFS:
        for method in ("hazard", "aalen-johansen"):
            then = metrics.forecast_deals(
                *company.frames,
                as_of=text,
                horizons=["30D", "90D"],
                history=company.history,
                method=method,
            )
            own = metrics.backtest_deals(
                *company.frames,
                cutoffs=text,
                horizons=["30D", "90D"],
                methods=method,
                as_of=company.as_of,
                history=company.history,
            )
            own = own[own["method"] == method].sort_values(["deal_id", "horizon"])
            then = then.sort_values(["deal_id", "horizon"])
            assert own["p_won"].tolist() == then["p_won"].tolist()
            assert own["p_lost"].tolist() == then["p_lost"].tolist()


def test_what_happened_after_a_cutoff_changes_no_forecast_of_it(company: OtherCompany) -> None:
    arguments: dict[str, Any] = {"cutoffs": CUTOFFS[0], "horizons": "90D"}
    then = cutoff_of(CUTOFFS[0])
    early = [
        company.deals[company.deals["add_time"] <= then],
        company.visits[company.visits["entered_at"] <= then],
        company.stages,
    ]
    history = company.history[company.history["time"] <= then]
    end = then + pd.Timedelta(hours=1)
    first, second = (
        metrics.backtest_deals(*frames, **arguments, as_of=as_of, history=changes)
        for frames, as_of, changes in (
            (company.frames, company.as_of, company.history),
            (early, end, history),
        )
    )
    pd.testing.assert_frame_equal(
        first[["deal_id", "p_won", "p_lost", "value"]],
        second[["deal_id", "p_won", "p_lost", "value"]],
    )


def test_the_scores_are_means_over_the_deals(record: pd.DataFrame, scores: pd.DataFrame) -> None:
    by_horizon = scores[scores["horizon"].notna()]
    keys = ["cutoff", "method", "horizon"]
    for key, rows in record.groupby(keys):
        row = by_horizon.set_index(keys).loc[key]
        assert row["n"] == len(rows)
        if rows["won"].isna().any():
            assert pd.isna(row["wins"])
            assert np.isnan(row[["brier", "log_loss", "skill", "z"]].astype(float)).all()
            continue
        won, p = rows["won"].to_numpy(float), rows["p_won"].to_numpy()
        constant = record[(record[keys] == [key[0], "constant", key[2]]).all(axis=1)]["p_won"]
        assert row["wins"] == won.sum()
        assert row["expected"] == pytest.approx(p.sum())
        assert row["brier"] == pytest.approx(((p - won) ** 2).mean())
        assert row["skill"] == pytest.approx(
            1 - ((p - won) ** 2).sum() / ((constant.to_numpy() - won) ** 2).sum()
        )
        if p.any():
            assert row["z"] == pytest.approx((won - p).sum() / np.sqrt((p * (1 - p)).sum()))
    assert by_horizon["brier"].notna().sum() == 2 * 4 * 2 + 4  # 360 days: over at the first cutoff
    assert set(scores["method"]) == {
        "hazard", "constant", "stage climatology", "weighted", "season",
    }  # fmt: skip


def test_actual_revenue_is_what_was_won_in_the_month(
    company: OtherCompany, scores: pd.DataFrame
) -> None:
    deals = company.deals[company.deals["status"] == "won"]
    month = deals["won_time"].dt.tz_localize(None).dt.to_period("M").dt.start_time
    won = deals["value"].groupby(month).sum()
    totals = scores[scores["month"].notna()]
    assert totals["period"].drop_duplicates().dt.strftime("%Y-%m").tolist() == [
        "2024-04", "2024-05", "2024-06", "2024-10", "2024-11", "2024-12",
    ]  # fmt: skip
    assert totals["currency"].unique().tolist() == ["EUR"]
    for row in totals.itertuples():
        assert row.actual == pytest.approx(won.get(row.period, 0.0))
        if row.method != "weighted":
            assert row.covered == (row.p10 <= row.actual <= row.p90)
            assert row.width == pytest.approx(row.p90 - row.p10)
            assert row.pinball_50 == pytest.approx(abs(row.actual - row.p50) / 2)
            assert row.crps >= 0
        else:
            assert row.crps == pytest.approx(abs(row.actual - row.mean))


def test_weighted_totals_are_the_weighted_pipeline(
    company: OtherCompany, scores: pd.DataFrame
) -> None:
    cutoff = cutoff_of(CUTOFFS[0])
    deals, _ = metrics.as_of(company.deals, company.visits, CUTOFFS[0], company.history)
    open_deals = deals[deals["status"] == "open"]
    chance = company.stages.set_index("id")["deal_probability"] / 100
    due = open_deals["expected_close_date"].dt.to_period("M").dt.start_time
    worth = open_deals["value"] * open_deals["stage_id"].map(chance).astype(float)
    expected = worth.groupby(due).sum()
    own = scores[(scores["cutoff"] == cutoff) & (scores["method"] == "weighted")]
    for row in own[own["month"].notna()].itertuples():
        assert row.mean == pytest.approx(expected.get(row.period, 0.0))


def test_a_month_that_is_not_over_has_no_score(company: OtherCompany) -> None:
    table = metrics.backtest(
        *company.frames,
        cutoffs="2025-02-15",
        horizons="30D",
        methods="constant",
        as_of="2025-03-30",
        history=company.history,
        draws=50,
    )
    months = table[(table["month"].notna()) & (table["method"] == "constant")]
    assert months["actual"].notna().tolist() == [True, False, False]
    assert months["crps"].notna().tolist() == [True, False, False]
    assert months["covered"].notna().tolist() == [True, False, False]
    assert months["p50"].notna().all()


def test_drill_through_finds_the_deals_of_a_score(
    record: pd.DataFrame, scores: pd.DataFrame
) -> None:
    row = scores.iloc[4]
    deals = metrics.drill_through(row, record, keys=["cutoff", "method", "horizon"])
    assert len(deals) == row["n"]
    assert deals["p_won"].sum() == pytest.approx(row["expected"])
    bins = metrics.calibration(record)
    some = bins[bins["n"] > 3].iloc[0]
    inside = metrics.drill_through(some, record)
    assert inside["won"].notna().sum() == some["n"]
    assert inside["won"].sum() == some["wins"]


def test_cutoffs_with_too_short_a_past_are_left_out(company: OtherCompany) -> None:
    arguments: dict[str, Any] = {"horizons": "30D", "methods": "constant", "as_of": company.as_of}
    with pytest.warns(DataWarning, match="1 of 2 cutoffs"):
        table = metrics.backtest_deals(
            *company.frames, cutoffs=["2022-01-20", "2024-03-31"], **arguments
        )
    assert set(table["cutoff"]) == {cutoff_of("2024-03-31")}
    assert "1 of 2 cutoffs" in table.attrs["notes"][0]
    with pytest.raises(InsufficientDataError, match="closed"):
        metrics.backtest_deals(*company.frames, cutoffs="2022-01-20", **arguments)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"methods": "hazzard"}, "Did you mean 'hazard'"),
        ({"cutoffs": "2026-06-30"}, "is not before"),
        ({"cutoffs": []}, "cutoffs is empty"),
        ({"horizons": []}, "horizons must be"),
        ({"horizons": 30}, "not a length of time"),
    ],
)
def test_wrong_arguments_get_help(changed: dict[str, Any], message: str) -> None:
    arguments = {"cutoffs": "2026-03-31", "horizons": "30D", "as_of": "2026-06-30", **changed}
    with pytest.raises(ArgumentError, match=message):
        metrics.backtest_deals(*past(), **arguments)


def test_without_as_of_the_newest_time_of_the_frames_is_the_end() -> None:
    deals, visits, stages = past()
    newest = max(deals["update_time"].max(), visits["entered_at"].max())
    arguments: dict[str, Any] = {"horizons": "30D", "methods": "constant"}
    frames = deals, visits, stages
    assert (
        metrics.backtest_deals(*frames, cutoffs=newest - pd.Timedelta(days=30), **arguments)["won"]
        .notna()
        .all()
    )
    assert (
        metrics.backtest_deals(*frames, cutoffs=newest - pd.Timedelta(days=29), **arguments)["won"]
        .isna()
        .all()
    )


def test_the_order_of_rows_changes_nothing(company: OtherCompany) -> None:
    arguments: dict[str, Any] = {
        "cutoffs": CUTOFFS,
        "horizons": HORIZONS,
        "as_of": company.as_of,
        "draws": 100,
        "until_months": 1,
    }
    shuffled = [frame.sample(frac=1, random_state=4) for frame in company.frames]
    history = company.history.sample(frac=1, random_state=5)
    first = metrics.backtest(*company.frames, **arguments, history=company.history)
    second = metrics.backtest(*shuffled, **arguments, history=history)
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def test_a_time_at_the_edge_of_time_is_not_the_end_of_what_is_known() -> None:
    deals, visits, stages = past()
    how: dict[str, Any] = {"cutoffs": "2026-03-31", "horizons": ["30D", "180D"]}
    how |= {"methods": "constant", "until_months": 0}
    expected = metrics.backtest(deals, visits, stages, **how)
    deals.loc[deals.index[0], "update_time"] = pd.Timestamp("9999-12-31", tz="UTC")
    result = metrics.backtest(deals, visits, stages, **how)
    pd.testing.assert_frame_equal(result, expected)
    assert result["brier"].isna().tolist() == [False, True] * 3

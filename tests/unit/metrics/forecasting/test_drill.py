"""Rows of forecast frames are identified by their keys alone, also where pandas lost the record."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pdframe import metrics
from pdframe.errors import ArgumentError
from tests.helpers.forecast_frames import past

FRAMES = past()
COMING: dict[str, Any] = {"as_of": "2026-06-30", "until": "2026-Q3", "common_sd": 0.2, "draws": 20}

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


def test_a_period_leads_to_its_draws_and_they_to_its_quantiles() -> None:
    table = metrics.forecast(*FRAMES, **COMING, by="owner_id")
    draws = metrics.forecast_draws(*FRAMES, **COMING, by="owner_id")
    for place in range(len(table)):
        row = table.iloc[place]
        own = metrics.drill_through(row, draws)
        assert len(own) == 20
        assert sorted(own["total"])[9] == row["p50"]
        bare = row.copy()
        bare.attrs = {}
        pd.testing.assert_frame_equal(metrics.drill_through(bare, draws), own)


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        (lambda: metrics.forecast(*FRAMES, **COMING), ["period", "currency"]),
        (
            lambda: metrics.attainment(metrics.forecast_draws(*FRAMES, **COMING), 1_000),
            ["period", "currency"],
        ),
        (lambda: metrics.what_if(*FRAMES, **COMING, rate=0.5), ["period", "currency"]),
        (
            lambda: metrics.forecast_changes(
                *FRAMES, before="2026-05-31", after="2026-06-30", until="2026-Q3"
            ),
            ["currency"],
        ),
        (
            lambda: metrics.calibration(
                metrics.backtest_deals(
                    *FRAMES, cutoffs="2026-03-31", horizons="30D", methods="constant"
                )
            ),
            ["method", "horizon", "bin"],
        ),
    ],
    ids=["forecast", "attainment", "what_if", "forecast_changes", "calibration"],
)
def test_measures_are_no_keys(table: Any, keys: list[str]) -> None:
    row = table().iloc[0]
    row.attrs = {}
    level = pd.DataFrame({name: [row[name]] for name in keys})
    assert len(metrics.drill_through(row, level)) == 1


@pytest.mark.parametrize(
    ("freq", "ends"),
    [
        ("M", ["2026-07", "2026-08", "2026-09"]),
        ("W", ["2026-07-05", "2026-07-12", "2026-09-30"]),
        ("Q", ["2026-Q3"]),
    ],
)
def test_a_period_leads_to_the_deals_that_its_expectation_is_from(
    freq: str, ends: list[str]
) -> None:
    table = metrics.forecast(*FRAMES, **COMING, freq=freq, by="owner_id")
    rows = metrics.forecast_deals(*FRAMES, as_of="2026-06-30", horizons=ends, by="owner_id")
    # No past value is known, so none is expected to change until the win.
    for _, own in table.groupby("owner_id"):
        total = own["from_open"].cumsum()
        places = range(len(own)) if len(ends) == len(own) else (0, 1, len(own) - 1)
        for place in places:
            deals = metrics.drill_through(own.iloc[place], rows)
            assert len(deals) == own["deals_open"].iloc[place]
            assert deals["expected_value"].sum() == pytest.approx(total.iloc[place], abs=1e-3)


def test_a_period_without_its_horizon_says_which_to_pass() -> None:
    row = metrics.forecast(*FRAMES, **COMING).iloc[1]
    rows = metrics.forecast_deals(*FRAMES, as_of="2026-06-30", horizons="2026-09")
    with pytest.raises(ArgumentError, match=r"horizons='2026-08-31'"):
        metrics.drill_through(row, rows)
    earlier = metrics.forecast_deals(*FRAMES, as_of="2026-05-31", horizons="2026-08")
    with pytest.raises(ArgumentError, match=r"as of 2026-06-30.*as of 2026-05-31"):
        metrics.drill_through(row, earlier)
    bare = row.copy()
    bare.attrs = {}
    with pytest.raises(ArgumentError, match="has lost its attrs"):
        metrics.drill_through(bare, rows)
    assert len(metrics.drill_through(row, rows, keys="currency")) == len(rows)


def test_what_compares_forecasts_leads_to_the_deals_too() -> None:
    rows = metrics.forecast_deals(*FRAMES, as_of="2026-06-30", horizons=["2026-07", "2026-09"])
    draws = metrics.forecast_draws(*FRAMES, **COMING)
    for table in (metrics.attainment(draws, 1_000), metrics.what_if(*FRAMES, **COMING, rate=2)):
        deals = metrics.drill_through(table.iloc[2], rows)
        assert (deals["horizon"] == rows["horizon"].max()).all()
        assert len(deals) == len(rows) // 2


def test_a_score_leads_to_the_deals_that_it_is_of() -> None:
    past_times: dict[str, Any] = {"cutoffs": ["2025-12-31", "2026-03-31"], "horizons": "30D"}
    past_times |= {"methods": "constant"}
    table = metrics.backtest(*FRAMES, **past_times, until_months=1, draws=20)
    rows = metrics.backtest_deals(*FRAMES, **past_times)
    scores = table[table["horizon"].notna()]
    assert len(scores) == 6
    for place in range(6):
        score = scores.iloc[place]
        own = metrics.drill_through(score, rows)
        assert len(own) == score["n"]
        assert ((own["p_won"] - own["won"].astype(float)) ** 2).mean() == score["brier"]
    with pytest.raises(ArgumentError, match="the revenue of a month"):
        metrics.drill_through(table[table["horizon"].isna()].iloc[0], rows)
    verdict = metrics.compare(table).iloc[0]
    assert len(metrics.drill_through(verdict, table)) == 2

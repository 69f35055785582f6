"""Rows of forecast frames are identified by their keys alone, also where pandas lost the record."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pdframe import metrics
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

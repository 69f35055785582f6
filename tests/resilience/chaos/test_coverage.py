"""2,000 simulated pipelines of known truth: what 95 % intervals cover, and how far off the naive
figures are.
"""

from __future__ import annotations

import pandas as pd
import pytest

from pdframe.metrics import funnel, stage_velocity
from tests.helpers.simulated_pipelines import AS_OF, Design, coverage, median_coverage

# Three standard errors of a share of 0.95 in 2,000 draws are 0.0146.
LEAST, MOST = 0.935, 0.965


DESIGNS = {
    "three stages": Design(),
    "two stages": Design(
        means=(20.0, 60.0),
        lost_means=(30.0, 20.0),
        advance=(0.5, 0.4),
        deals=200,
        entries_days=150.0,
        horizon_days=40.0,
    ),
    "four stages": Design(
        means=(30.0, 20.0, 28.0, 25.0),
        lost_means=(15.0, 30.0, 20.0, 35.0),
        advance=(0.85, 0.7, 0.6, 0.8),
        deals=400,
        entries_days=240.0,
        horizon_days=35.0,
    ),
}


@pytest.mark.parametrize("name", DESIGNS)
def test_the_funnel_covers_what_it_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    design = DESIGNS[name]
    visits = design.visits(2_000, seed=2026)
    result = coverage(
        funnel(
            visits, design.stages(), as_of=AS_OF, by="simulation", horizon=f"{design.horizon_days}D"
        ),
        design,
    )
    show(name, result, capsys)
    # Where no deal of a simulation was won in time, the interval is null: that counts as not
    # covering.
    assert result["covered"].between(LEAST, MOST).all(), result


@pytest.mark.parametrize("name", DESIGNS)
def test_stage_velocity_covers_what_it_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    design = DESIGNS[name]
    visits = design.visits(2_000, seed=7)
    result = median_coverage(
        stage_velocity(visits, design.stages(), as_of=AS_OF, by="simulation"), visits, design
    )
    show(name, result, capsys)
    assert result["covered"].between(LEAST, MOST).all(), result
    assert (result["bias"].abs() < result["naive_bias"].abs()).all(), result


def show(name: str, result: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled(), pd.option_context("display.width", 140):
        print(f"\n{name}\n{result.round(4).to_string(index=False)}")

"""The tables that the benchmarks time, held against DuckDB's SQL on small data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tests.bench import data_quality, funnel, velocity
from tests.helpers.notices import noticed


def same(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    assert list(ours.columns) == list(theirs.columns)
    for name in ours.columns:
        if name == "stage":
            assert ours[name].tolist() == theirs[name].tolist()
        else:
            numbers = (frame[name].astype("float64").to_numpy() for frame in (ours, theirs))
            np.testing.assert_allclose(*numbers, rtol=0, atol=1e-9, err_msg=name)


def test_the_funnel_is_that_of_sql(tmp_path: Path) -> None:
    path = funnel.material(tmp_path, deals=4_000)
    ours = funnel.here(path)
    same(ours, funnel.in_sql(path))
    # What was compared is no funnel of zeros and nulls.
    counts = ours[["reached", "advanced", "lost", "left", "open"]].iloc[:5]
    assert (counts > 10).all(axis=None)
    assert (
        ours[["conversion", "low", "high", "win", "win_low", "win_high"]]
        .iloc[:5]
        .notna()
        .all(axis=None)
    )


def test_stage_velocity_is_that_of_sql(tmp_path: Path) -> None:
    velocity.material(tmp_path, deals=2_000, visits=6_000)
    ours = velocity.here(tmp_path)
    same(ours.drop(columns="basis"), velocity.in_sql(tmp_path))
    assert (ours["completed"] > 100).all()
    assert (
        ours[["median_days", "low", "high", "p25_days", "p75_days", "mean_days"]]
        .notna()
        .all(axis=None)
    )


def test_data_quality_is_that_of_sql(tmp_path: Path) -> None:
    data_quality.material(tmp_path, deals=8_000)
    with noticed("deals changed after"):
        ours = data_quality.here(tmp_path)
    theirs = data_quality.in_sql(tmp_path)
    assert ours["count"].tolist() == theirs["count"].tolist()
    shares = (theirs["count"] / theirs["among"]).to_numpy()
    np.testing.assert_allclose(ours["share"].to_numpy(), shares, rtol=1e-12)
    # Every check counted something: closed_before_created by chance, all others by a share.
    assert (ours["count"] > 0).sum() >= 14

"""Comparing methods, and calibration, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from pdframe import metrics
from pdframe.errors import ArgumentError


def scores(*gains: float, n: tuple[int, ...] | None = None) -> pd.DataFrame:
    """A backtest of method "a" and the constant, whose Brier score is .2 at each cutoff."""
    rows: list[dict[str, Any]] = []
    for place, gain in enumerate(gains):
        for method, brier in (("a", 0.2 - gain), ("constant", 0.2)):
            rows.append(
                {
                    "cutoff": pd.Timestamp("2026-01-31", tz="UTC") + pd.Timedelta(days=30 * place),
                    "method": method,
                    "horizon": pd.Timedelta(days=90),
                    "n": 100 if n is None else n[place],
                    "brier": brier,
                }
            )
    frame = pd.DataFrame(rows).astype({"horizon": "timedelta64[us]"})
    return frame.assign(
        month=pd.array([None] * len(frame), "Int64"),
        currency=pd.Series([None] * len(frame), dtype="str"),
        crps=np.nan,
    )


def test_the_difference_is_weighted_by_deals() -> None:
    row = metrics.compare(scores(0.1, 0.0, n=(300, 100))).iloc[0]
    # (300 x .1 + 100 x 0) / 400 better than .2.
    assert row["value"] == pytest.approx(0.125)
    assert row["reference"] == pytest.approx(0.2)
    assert row["difference"] == pytest.approx(-0.075)
    assert row["cutoffs"] == 2


def test_fewer_than_six_cutoffs_are_noise() -> None:
    assert metrics.compare(scores(*[0.05] * 5)).iloc[0]["verdict"] == "noise"
    assert metrics.compare(scores(*[0.05] * 6)).iloc[0]["verdict"] == "better"
    assert metrics.compare(scores(*[-0.05] * 6)).iloc[0]["verdict"] == "worse"


def test_limits_that_span_no_difference_are_noise() -> None:
    row = metrics.compare(scores(0.1, -0.1, 0.1, -0.1, 0.1, -0.1, 0.02)).iloc[0]
    assert row["low"] < 0 < row["high"]
    assert row["verdict"] == "noise"


def test_limits_are_those_of_the_mean_over_cutoffs() -> None:
    gains = np.random.default_rng(5).normal(0.03, 0.02, 40)
    row = metrics.compare(scores(*gains)).iloc[0]
    error = gains.std() / np.sqrt(40)
    # Of 2,000 resamples: within a fifth of a standard error of the normal limits.
    assert row["low"] == pytest.approx(-gains.mean() - 1.96 * error, abs=0.25 * error)
    assert row["high"] == pytest.approx(-gains.mean() + 1.96 * error, abs=0.25 * error)


def test_the_same_seed_gives_the_same_limits_in_any_order_of_rows() -> None:
    table = scores(*np.linspace(-0.02, 0.06, 9))
    first = metrics.compare(table)
    shuffled = table.sample(frac=1, random_state=3)
    pd.testing.assert_frame_equal(first, metrics.compare(shuffled))


def test_a_cutoff_that_occurs_twice_counts_once() -> None:
    table = scores(*[0.05] * 4)
    twice = pd.concat([table, table.iloc[::-1], table.head(2)], ignore_index=True)
    result = metrics.compare(twice)
    assert (result["cutoffs"].item(), result["verdict"].item()) == (4, "noise")
    pd.testing.assert_frame_equal(result, metrics.compare(table))
    # Also where the copies would weigh one cutoff more.
    uneven = scores(0.1, 0.0)
    again = pd.concat([uneven, uneven.head(2)], ignore_index=True)
    assert metrics.compare(again)["difference"].item() == pytest.approx(-0.05)


def test_two_scores_of_one_cutoff_are_refused() -> None:
    both = pd.concat([scores(0.1, 0.2), scores(0.1, 0.3)], ignore_index=True)
    with pytest.raises(ArgumentError, match="two different scores of 'a' at the cutoff 2026-03-02"):
        metrics.compare(both)


def test_totals_are_compared_by_crps() -> None:
    table = scores(0.1, 0.1).assign(
        horizon=pd.Series([pd.NaT] * 4, dtype="timedelta64[us]"),
        month=pd.array([1] * 4, "Int64"),
        currency="EUR",
        crps=[10.0, 30.0, 20.0, 20.0],
        brier=np.nan,
    )
    row = metrics.compare(table).iloc[0]
    assert row["score"] == "crps"
    assert (row["value"], row["reference"], row["difference"]) == (15.0, 25.0, -10.0)


def test_a_method_without_rows_to_compare_with_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="'a', 'constant'"):
        metrics.compare(scores(0.1), against="season")


def forecasts() -> pd.DataFrame:
    """Probabilities with a known share won: .05 (1 of 20), .25 (10 of 30), 1 (4 of 4)."""
    parts = [(0.05, 1, 20), (0.25, 10, 30), (1.0, 4, 4)]
    return pd.DataFrame(
        [
            {"method": "a", "horizon": pd.Timedelta("90D"), "p_won": p, "won": place < wins}
            for p, wins, n in parts
            for place in range(n)
        ]
    ).astype({"won": "boolean"})


def test_any_integer_is_a_seed() -> None:
    for seed in (-1, 2**64 + 1):
        assert metrics.compare(scores(0.1, 0.2), seed=seed)["low"].notna().all()
    with pytest.raises(ArgumentError, match="seed='one' must be a whole number"):
        metrics.compare(scores(0.1, 0.2), seed="one")  # type: ignore[arg-type]


def test_calibration_counts_bins_of_equal_width() -> None:
    table = metrics.calibration(forecasts())
    assert table["bin"].tolist() == [1, 3, 10]
    assert table["p_from"].tolist() == [0.0, 0.2, 0.9]
    assert table["p_until"].tolist() == [0.1, 0.3, 1.0]
    assert table["n"].tolist() == [20, 30, 4]
    assert table["wins"].tolist() == [1, 10, 4]
    assert table["p_mean"].tolist() == pytest.approx([0.05, 0.25, 1.0])
    assert table["share"].tolist() == pytest.approx([0.05, 1 / 3, 1.0])
    for row in table.itertuples():
        assert (row.low, row.high) == pytest.approx(
            proportion_confint(row.wins, row.n, method="wilson")
        )


def test_calibration_leaves_out_what_is_not_known() -> None:
    table = forecasts()
    table.loc[table.index[:20], "won"] = pd.NA
    table.loc[table.index[-4:], "p_won"] = np.nan
    assert metrics.calibration(table)["bin"].tolist() == [3]
    assert len(metrics.calibration(table.iloc[:0])) == 0


def test_calibration_by_a_column() -> None:
    table = forecasts().assign(stage_id=[1, 2] * 27)
    result = metrics.calibration(table, by="stage_id")
    assert result["n"].tolist() == [10, 15, 2] * 2
    assert result.attrs["keys"] == ["method", "horizon", "stage_id", "bin"]

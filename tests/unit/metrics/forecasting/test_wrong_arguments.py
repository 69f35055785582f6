"""What a new user passes by mistake: an error that says what to do, never a wrong number."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from pdframe import metrics
from pdframe.errors import ArgumentError, DataWarning, PdframeError
from tests.helpers.forecast_frames import END, past

COMING: dict[str, Any] = {"as_of": END, "until": "2026-Q3", "draws": 50, "method": "constant"}
COMING["common_sd"] = 0.3

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


def forecast(**more: Any) -> pd.DataFrame:
    return metrics.forecast(*past(), **{**COMING, **more})


def named() -> Any:
    """The frames with the names of owners, two of them."""
    rows, *others = past()
    return rows.assign(owner_name=["Ann", "Bob"] * (len(rows) // 2)), *others


def deals(**more: Any) -> pd.DataFrame:
    how = {"as_of": END, "horizons": "90D", "method": "constant", **more}
    return metrics.forecast_deals(*named(), **how)


def record(**more: Any) -> pd.DataFrame:
    how = {"cutoffs": ["2026-03-31"], "horizons": "30D", "methods": "constant", **more}
    return metrics.backtest(*past(), **how)


@pytest.mark.parametrize("wrong", ["0001-01-01", "9999-12-31"])
@pytest.mark.parametrize(
    "call",
    [
        lambda day: forecast(as_of=day),
        lambda day: forecast(until=day),
        lambda day: record(cutoffs=day),
    ],
)
def test_a_day_at_the_end_of_time(call: Callable[[str], Any], wrong: str) -> None:
    with pytest.raises(PdframeError):
        call(wrong)


@pytest.mark.parametrize("wrong", [0, 10**12, 10**30, 1.5])
def test_a_number_of_draws(wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="number of draws, 1 to 10,000,000"):
        forecast(draws=wrong)
    with pytest.raises(ArgumentError, match="number of draws, 1 to 10,000,000"):
        record(draws=wrong)


@pytest.mark.parametrize("wrong", ["1", None, 1.5, True])
def test_a_seed(wrong: Any) -> None:
    scored = record()
    for call in (forecast, deals, record, lambda seed: metrics.compare(scored, seed=seed)):
        with pytest.raises(ArgumentError, match="must be a whole number"):
            call(seed=wrong)


@pytest.mark.parametrize("seed", [-1, 2**63 + 1, 10**30])
def test_any_integer_is_a_seed(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        again = [record(seed=seed) for _ in range(2)]
        pd.testing.assert_frame_equal(*again)
        assert len(metrics.compare(pd.concat([again[0], record(cutoffs="2026-02-28")]), seed=seed))


def test_values_too_large_to_be_added_up() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.raises(ArgumentError, match="too large to be added up"):
            forecast(rates={"USD": 1, "EUR": 1e308})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"drop": None}, "drop must be the id"),
        ({"drop": "all"}, "drop must be the id"),
        ({"move": [900110]}, "move=.* must be a mapping"),
        ({"reprice": 5}, "reprice=5 must be a mapping"),
    ],
)
def test_changes_of_what_if(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        metrics.what_if(*past(), **COMING, **changes)


def test_a_small_d_is_days_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DataWarning)
        assert (deals(horizons="90d")["horizon"] == pd.Timedelta("90D")).all()
        assert (deals(horizons="90 d")["horizon"] == pd.Timedelta("90D")).all()


@pytest.mark.parametrize("as_of", ["2026-06", "2026-Q2", pd.Period("2026-06", "M")])
def test_a_named_period_ends_where_its_last_day_does(as_of: Any) -> None:
    pd.testing.assert_frame_equal(deals(as_of=as_of), deals(as_of="2026-06-30"))


@pytest.mark.parametrize("by", ["owner_name", "owner", "currency", ["currency", "title"]])
def test_deals_by_a_column_of_their_own_have_it_once_and_first(by: Any) -> None:
    plain, table = deals(), deals(by=by)
    names = [by] if isinstance(by, str) else by
    names = ["owner_name" if name == "owner" else name for name in names]
    assert list(table.columns[: len(names)]) == names
    assert table.columns.is_unique
    assert set(table.columns) == set(plain.columns)
    pd.testing.assert_frame_equal(table[plain.columns], plain)


def test_draws_and_deals_by_owner_go_together() -> None:
    how = {**COMING, "freq": "Q", "by": "owner"}
    draws = metrics.forecast_draws(*named(), **how)
    rows = deals(horizons="2026-Q3", by="owner")
    table = metrics.attainment(draws, 1e6, rows)
    rows = rows.dropna(subset=["value"])
    values = rows.groupby("owner_name")["value"].sum()
    assert (values > 0).all()
    wanted = table["owner_name"].map(values) / table["gap"]
    assert table["coverage"].tolist() == pytest.approx(wanted.tolist())


def test_by_owner_without_names_says_how_to_get_them() -> None:
    with pytest.raises(ArgumentError, match=r"account\.deals\(\) adds the names of ids"):
        forecast(by="owner")


def test_currencies_have_rows_of_their_own_with_and_without_by() -> None:
    deals, visits, stages = past()
    deals["currency"] = deals["currency"].mask(deals["id"] % 2 == 0, "USD")
    deals["team"] = "a"
    fridays: dict[str, Any] = {"before": "2026-05-31", "after": "2026-06-30", "until": "2026-Q3"}

    def changes(**how: Any) -> pd.DataFrame:
        return metrics.forecast_changes(deals, visits, stages, **fridays, **how)

    apart = changes(by="currency")
    assert apart["currency"].tolist() == ["EUR", "USD"]
    pd.testing.assert_frame_equal(apart, changes())
    pd.testing.assert_frame_equal(changes(by=["currency", "team"]), changes(by="team"))
    with pytest.raises(ArgumentError, match=r"keeps currencies apart and `rates` adds them up"):
        changes(by="currency", rates={"EUR": 1, "USD": 0.9})
    pipelines = pd.DataFrame({"id": [900], "is_deal_probability_enabled": [True]})
    deals = deals.assign(probability=50.0)
    for how in ({}, {"by": "currency"}):
        book = metrics.weighted_pipeline(deals, stages, pipelines, as_of="2026-06-30", **how)
        assert set(book["currency"]) == {"EUR", "USD"}
        assert book.columns.tolist().count("currency") == 1

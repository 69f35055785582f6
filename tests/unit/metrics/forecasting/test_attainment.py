"""Quotas against draws that are written out."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe import metrics
from pdframe.errors import ArgumentError, DataWarning, MixedCurrencyError

AS_OF = "2026-06-30T23:59:59.999999+00:00"


def draws(**more: Any) -> pd.DataFrame:
    """Two months of four draws, 30 won already in the first."""
    frame = pd.DataFrame(
        {
            "period": pd.Series(
                np.repeat(pd.to_datetime(["2026-07-01", "2026-08-01"]).values, 4)
            ).astype("datetime64[us]"),
            "currency": pd.Series(["EUR"] * 8, dtype="str"),
            "draw": pd.array([0, 1, 2, 3] * 2, "Int64"),
            "won_already": [30.0] * 4 + [0.0] * 4,
            "from_open": [0.0, 20, 40, 60, 0, 50, 50, 100],
            "from_new": [0.0] * 8,
            "total": [30.0, 50, 70, 90, 0, 50, 50, 100],
            **more,
        }
    )
    frame.attrs.update(as_of=AS_OF, until="2026-09-01T00:00:00+00:00", freq="M", tz="UTC")
    return frame


def deals(**more: Any) -> pd.DataFrame:
    """Two deals at the ends of the two months."""
    return pd.DataFrame(
        {
            "deal_id": pd.array([1, 1, 2, 2], "Int64"),
            "currency": pd.Series(["EUR"] * 4, dtype="str"),
            "value": [100.0, 100.0, 300.0, 300.0],
            "horizon": pd.to_timedelta(["31D", "62D"] * 2).astype("timedelta64[us]"),
            "p_won": [0.2, 0.5, 0.1, 0.25],
            **more,
        }
    )


def test_one_quota_for_every_period() -> None:
    table = metrics.attainment(draws(), 50)
    assert list(table.columns) == [
        "period",
        "currency",
        "quota",
        "won_already",
        "gap",
        "probability",
        "coverage",
        "needed_coverage",
    ]
    assert table["quota"].tolist() == [50, 50]
    assert table["won_already"].tolist() == [30, 0]
    assert table["gap"].tolist() == [20, 50]
    assert table["probability"].tolist() == [0.75, 0.75]
    assert table[["coverage", "needed_coverage"]].isna().all(axis=None)


def test_coverage_and_what_the_own_win_rate_needs() -> None:
    table = metrics.attainment(draws(), 50, deals())
    assert table["coverage"].tolist() == [400 / 20, 400 / 50]
    # Of 400 open, 20 + 30 are expected by the end of July, 50 + 75 by the end of August.
    assert table["needed_coverage"].tolist() == [8.0, 3.2]


def test_a_quota_below_what_is_won() -> None:
    table = metrics.attainment(draws(), {"2026-07": 25.0}, deals())
    assert len(table) == 1
    assert table["gap"].tolist() == [0]
    assert table["probability"].tolist() == [1]
    assert np.isnan(table["coverage"].iloc[0])


@pytest.mark.parametrize("key", ["2026-07", "2026-07-01", pd.Timestamp("2026-07-01")])
def test_quotas_by_period(key: Any) -> None:
    table = metrics.attainment(draws(), {key: 70, pd.Period("2026-08"): 200})
    assert table["quota"].tolist() == [70, 200]
    assert table["probability"].tolist() == [0.5, 0]


def test_quotas_by_group_and_in_any_order_of_rows() -> None:
    both = pd.concat([draws(team="a"), draws(team=None, total=np.arange(8.0))])
    both.attrs = draws().attrs
    quota = pd.DataFrame({"team": [None, "a"], "quota": [2.0, 70.0]})
    by_team = deals(team=["a", "a", None, None])
    table = metrics.attainment(both.sample(frac=1, random_state=1), quota, by_team)
    assert table["team"].tolist()[:2] == ["a", "a"]
    assert table["team"].isna().tolist() == [False, False, True, True]
    assert table["probability"].tolist() == [0.5, 0.25, 0.5, 1.0]
    assert table["coverage"].tolist()[:2] == [100 / 40, 100 / 70]
    some = metrics.attainment(
        both, pd.DataFrame({"team": ["a"], "period": ["2026-08-01"], "quota": [100]})
    )
    assert some["probability"].tolist() == [0.25]


def test_currencies_of_deals() -> None:
    dollars = deals(currency=pd.Series(["EUR", "EUR", "USD", "USD"], dtype="str"))
    with pytest.raises(MixedCurrencyError, match="EUR, USD"):
        metrics.attainment(draws(), 50, dollars)
    table = metrics.attainment(draws(), 50, dollars, rates={"EUR": 1, "USD": 0.5})
    assert table["coverage"].tolist() == [250 / 20, 250 / 50]


def test_lost_attributes_are_said() -> None:
    bare = draws()
    bare.attrs = {}
    with pytest.warns(DataWarning, match="longest horizon"):
        table = metrics.attainment(bare, 50, deals())
    assert table["needed_coverage"].tolist() == [3.2, 3.2]


@pytest.mark.parametrize(
    ("quota", "message"),
    [
        ("much", "not a number"),
        ({"2026-10": 5}, "it has 2026-07-01, 2026-08-01"),
        (float("nan"), "not a number"),
        (pd.DataFrame({"period": ["2027-01-01"], "quota": [1.0]}), "names no period"),
        (pd.DataFrame({"quota": [1.0, 2.0]}), "two rows"),
    ],
)
def test_wrong_quotas_are_named(quota: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        metrics.attainment(draws(), quota)


def test_half_a_frame_of_draws_is_refused() -> None:
    with pytest.raises(ArgumentError, match="complete frame"):
        metrics.attainment(draws().iloc[:-1], 50)


def by_currency() -> pd.DataFrame:
    """The draws in two currencies, kept apart: dollars are half as many."""
    euros, dollars = draws(), draws(currency=pd.Series(["USD"] * 8, dtype="str"))
    dollars[["won_already", "from_open", "total"]] /= 2
    both = pd.concat([euros, dollars], ignore_index=True)
    both.attrs.update(euros.attrs)
    return both[["currency", "period", *both.columns.drop(["currency", "period"])]]


def test_a_quota_of_each_currency() -> None:
    quota = pd.DataFrame({"currency": ["USD", "EUR"], "quota": [25, 100]})
    table = metrics.attainment(by_currency(), quota)
    assert table["currency"].tolist() == ["EUR", "EUR", "USD", "USD"]
    assert table["quota"].tolist() == [100, 100, 25, 25]
    assert table["probability"].tolist() == [0, 0.25, 0.75, 0.75]
    assert list(table.columns[:3]) == ["currency", "period", "quota"]


def test_a_quota_of_one_currency_is_of_that_alone() -> None:
    table = metrics.attainment(by_currency(), pd.DataFrame({"currency": ["USD"], "quota": [25]}))
    assert table["currency"].tolist() == ["USD", "USD"]


def test_coverage_of_each_currency_needs_no_rates() -> None:
    rows = deals(currency=pd.Series(["EUR", "EUR", "USD", "USD"], dtype="str"))
    table = metrics.attainment(by_currency(), 100, rows)
    assert table["coverage"].tolist() == [100 / 70, 1, 300 / 85, 3]


@pytest.mark.parametrize("period", ["2026-Q3", "2026", pd.Period("2026Q3", "Q")])
def test_the_quota_of_a_quarter_is_not_that_of_its_first_month(period: Any) -> None:
    with pytest.raises(ArgumentError, match="draws has periods of freq='M'"):
        metrics.attainment(draws(), {period: 25.0})


@pytest.mark.parametrize("period", ["2026-07", "2026-07-01", pd.Period("2026-07", "M")])
def test_a_month_is_named_as_text_day_or_period(period: Any) -> None:
    assert metrics.attainment(draws(), {period: 25.0})["quota"].tolist() == [25]


def test_a_mapping_of_reps_says_how_to_give_their_quotas() -> None:
    grouped = draws(owner_name="Ann")
    with pytest.raises(ArgumentError, match="as a frame with the columns 'owner_name' and 'quota'"):
        metrics.attainment(grouped, {"Ann": 25.0})


def test_a_quota_of_a_misspelt_rep_is_warned_of() -> None:
    quota = pd.DataFrame({"owner_name": ["Ann", "An"], "quota": [25, 30]})
    with pytest.warns(DataWarning, match="1 of 2 quotas fit no group .* owner_name=An:"):
        table = metrics.attainment(draws(owner_name="Ann"), quota)
    assert table["quota"].tolist() == [25, 25]


def test_a_frame_of_quotas_that_fit_nothing_is_refused_with_the_nearest() -> None:
    far = pd.DataFrame({"period": ["2025-07", "2025-08"], "quota": [70, 200]})
    with pytest.raises(ArgumentError) as refused:
        metrics.attainment(draws(), far)
    assert str(refused.value) == (
        "quota names no period and group of draws, first period=2025-07-01. The nearest period of"
        " draws: 2026-07-01, 2026-08-01."
    )
    reps = pd.DataFrame({"owner_name": ["An", "Xi"], "quota": [70, 200]})
    with pytest.raises(
        ArgumentError, match=r"first owner_name=An\. The nearest owner_name of draws: Ann\."
    ):
        metrics.attainment(draws(owner_name="Ann"), reps)
    # One that fits is enough, and a warning counts the others.
    some = pd.DataFrame({"period": ["2026-08", "2027-08"], "quota": [70, 200]})
    with pytest.warns(DataWarning, match="1 of 2 quotas fit no group .* period=2027-08-01:"):
        assert metrics.attainment(draws(), some)["quota"].tolist() == [70]


def test_draws_without_rows() -> None:
    with pytest.raises(ArgumentError, match="draws has no rows"):
        metrics.attainment(draws().iloc[:0], 5)


@pytest.mark.parametrize("second", ["2026-07-01", pd.Period("2026-07", "M"), "2026-07 "])
def test_a_period_with_two_quotas_is_refused(second: Any) -> None:
    with pytest.raises(ArgumentError, match="one period twice, as '2026-07' and as"):
        metrics.attainment(draws(), {"2026-07": 70, second: 80})
    both = pd.DataFrame({"period": ["2026-07", second], "quota": [70, 80]})
    with pytest.raises(ArgumentError, match="two rows for one period and group"):
        metrics.attainment(draws(), both)


@pytest.mark.parametrize(
    "periods",
    [
        ["2026-07", "2026-08"],
        ["2026-07-01", "2026-08-01"],
        [pd.Period("2026-07", "M"), "2026-08"],
        pd.period_range("2026-07", periods=2, freq="M"),
        pd.to_datetime(["2026-07-01", "2026-08-01"]),
        pd.to_datetime(["2026-07-01", "2026-08-01"]).tz_localize("Europe/Tallinn"),
        [date(2026, 7, 1), date(2026, 8, 1)],
    ],
)
def test_the_periods_of_a_frame_are_written_as_elsewhere(periods: Any) -> None:
    table = draws()
    table.attrs["tz"] = "Europe/Tallinn"
    quota = pd.DataFrame({"period": periods, "quota": [70, 200]})
    assert metrics.attainment(table, quota)["quota"].tolist() == [70, 200]


@pytest.mark.parametrize(
    ("period", "message"),
    [
        ("2026-Q3", r"'2026-Q3', but draws has periods of freq='M'"),
        (pd.Period("2026Q3", "Q"), "but draws has periods of freq='M'"),
        ("July", "quota='July' is not a time"),
        (7, "quota=7 is not a time"),
        (None, "quota: None is not a period"),
    ],
)
def test_what_is_no_period_of_a_frame_is_refused(period: Any, message: str) -> None:
    quota = pd.DataFrame({"period": pd.Series([period], dtype=object), "quota": [70]})
    for given in (quota, {period: 70}):
        with pytest.raises(ArgumentError, match=message) as raised:
            metrics.attainment(draws(), given)
        assert raised.type is ArgumentError

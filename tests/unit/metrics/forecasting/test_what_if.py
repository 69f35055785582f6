"""Forecasts with changes: the same random numbers, so the difference is that of the change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pdframe import metrics
from pdframe.errors import ArgumentError
from pdframe.metrics.forecasting.methods import METHODS
from tests.helpers.forecast_frames import END, past
from tests.helpers.forecast_totals import ByHand

COMING: dict[str, Any] = {
    "as_of": END,
    "until": "2026-Q3",
    "draws": 1_000,
    "method": "by hand",
    "common_sd": 0.3,
}

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = {900110: 0.8, 900111: 0.1, 900114: 0.5, 900120: 0.25}
    methods = {**METHODS, "by hand": ByHand(chance, {900114: 40})}
    monkeypatch.setattr("pdframe.metrics.forecasting.methods.METHODS", methods)


def test_nothing_changed() -> None:
    table = metrics.what_if(*past(), **COMING)
    plain = metrics.forecast(*past(), **COMING)
    for name in ("mean", "p10", "p50", "p90"):
        assert table[name].tolist() == table[f"{name}_before"].tolist() == plain[name].tolist()
        difference = "difference" if name == "mean" else f"difference_{name}"
        assert (table[difference] == 0).all()
    assert list(table.columns) == [
        "period",
        "currency",
        "mean",
        "p10",
        "p50",
        "p90",
        "mean_before",
        "p10_before",
        "p50_before",
        "p90_before",
        "difference",
        "difference_p10",
        "difference_p50",
        "difference_p90",
    ]


@pytest.mark.parametrize("drop", [900114, [900114], np.array([900114])])
def test_a_dropped_deal_takes_its_own_draws_with_it(drop: Any) -> None:
    table = metrics.what_if(*past(), **COMING, drop=drop)
    # In August alone, 700 with one half.
    assert table["difference"].tolist() == [0, 0, -350, 0]
    assert table["difference_p10"].tolist() == [0, 0, -700, 0]
    assert table["difference_p90"].tolist() == [0, 0, 0, 0]
    assert set(np.abs(table["difference_p50"])) <= {0, 700}


def test_a_moved_deal_is_won_in_the_later_period() -> None:
    table = metrics.what_if(*past(), **COMING, move={900110: "2026-08"})
    assert table["difference"].tolist() == [-240, 0, 240, 0]
    late = metrics.what_if(*past(), **COMING, move={900110: "2027-Q1", 900114: "2026-07-15"})
    assert late["difference"].tolist() == [-240, 0, 0, 0]


def test_a_repriced_deal() -> None:
    table = metrics.what_if(*past(), **COMING, reprice={900114: 1_000})
    assert table["difference"].tolist() == [0, 0, 150, 0]
    assert table["difference_p90"].tolist() == [0, 0, 300, 0]


def test_rates_of_winning() -> None:
    # 1 - (1 - .5)^2 = .75, 1 - (1 - .8)^2 = .96
    of_one = metrics.what_if(*past(), **COMING, rate={900114: 2})
    assert of_one["difference"].tolist() == pytest.approx([0, 0, 0.25 * 700, 0])
    every = metrics.what_if(*past(), **COMING, rate=2)
    first = 0.16 * 300 + 0.09 * 400 + (1 - 0.75**2 - 0.25) * 400
    new = metrics.forecast(*past(), **COMING)["from_new"]
    assert first <= every["difference"].iloc[0] <= first + 1.01 * new.iloc[0]
    none = metrics.what_if(*past(), **COMING, rate=0)
    assert (none["mean"] == 0).all()
    assert (none["p90"] == 0).all()


def test_groups_sum() -> None:
    table = metrics.what_if(*past(), **COMING, drop=900114, by="owner_id")
    sums = table.groupby("period")["difference"].sum()
    assert sums.tolist() == [0, 0, -350, 0]
    assert table.groupby("owner_id")["difference"].sum().to_dict() == {7: -350, 8: 0}


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"drop": 900001}, "drop: 900001 is not the id of a deal that is open"),
        ({"move": {5: "2026-08"}}, "move: 5 is not"),
        ({"move": {900114: "later"}}, "move='later'"),
        ({"reprice": {900114: None}}, "deal 900114 is None"),
        ({"reprice": {900999: 5}}, "reprice: 900999"),
        ({"rate": -1}, "rate=-1"),
        ({"rate": {900114: "twice"}}, "rate='twice'"),
    ],
)
def test_wrong_changes_are_named(how: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        metrics.what_if(*past(), **COMING, **how)

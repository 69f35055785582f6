"""Charts of sales, lost reasons and customers: what they write and how long their bars are."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from pdframe import plot
from pdframe.errors import ArgumentError
from tests.helpers.charts import draw, texts
from tests.helpers.revenue_charts import month


def sales(*rows: tuple[Any, ...], by: bool = False) -> pd.DataFrame:
    """Owner (with `by`), month, currency, won, lost, won value."""
    names = ["period", "currency", "won", "lost", "won_value"]
    made = pd.DataFrame([list(row) for row in rows], columns=["owner_name", *names])
    made["period"] = [month(int(at)) for at in made["period"]]
    return made if by else made.drop(columns="owner_name")


TWO = sales(
    ("Ann", 0, "EUR", 2, 1, 500.0),
    ("Ann", 2, "EUR", 1, 1, 250.0),
    ("Bo", 0, "EUR", 4, 0, 100.0),
    ("Bo", 2, "EUR", 3, 0, 900.0),
    by=True,
)
REASONS = pd.DataFrame(
    {
        "reason": ["Price", "Price", None, "Other"],
        "stage_id": [1, 2, 1, 1],
        "currency": ["EUR", "EUR", "EUR", "EUR"],
        "deals": [2, 1, 2, 1],
        "value": [10.0, 20.0, 5.0, 900.0],
    }
)
TOP = pd.DataFrame(
    {
        "customer": ["organization 1", "organization 2", "deal 3", None],
        "customer_name": ["Acme", "Acme", None, "7 others"],
        "currency": "EUR",
        "mrr": [400.0, 300.0, 200.0, 100.0],
        "share": [0.4, 0.3, 0.2, 0.1],
        "cumulative_share": [0.4, 0.7, 0.9, 1.0],
    }
)


def widths(ax: Any) -> list[float]:
    return [float(bar.get_width()) for bar in ax.patches]


def heights(ax: Any) -> list[float]:
    return [float(bar.get_height()) for bar in ax.patches]


def labels(ax: Any) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def test_months_of_one_group_are_bars_with_their_sums() -> None:
    ax = draw(plot.sales_by_period(TWO[TWO["owner_name"] == "Ann"].drop(columns="owner_name")))
    # The month that is not in the frame is empty.
    assert heights(ax) == [500.0, 0.0, 250.0]
    shown = {label.get_text() for label in ax.get_xticklabels()}
    assert shown == {"2026-01", "2026-02", "2026-03"}
    assert {"500.00", "250.00"} <= {*texts(ax)}
    assert ax.get_title(loc="left") == "Won by month"


def test_groups_are_a_stack() -> None:
    ax = draw(plot.sales_by_period(TWO, measure="won"))
    assert heights(ax) == [2.0, 0.0, 1.0, 4.0, 0.0, 3.0]
    assert [patch.get_y() for patch in ax.patches][3:] == [2.0, 0.0, 1.0]
    assert {"6", "4"} <= {*texts(ax)}
    assert ax.get_title(loc="left") == "Deals won by month, by owner"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Ann", "Bo"]
    one = draw(plot.sales_by_period(TWO, top=1))
    assert [text.get_text() for text in one.get_legend().get_texts()] == ["Bo", "and 1 more"]


def test_a_leaderboard_has_the_best_first() -> None:
    ax = draw(plot.sales_by_period(TWO, leaderboard=True))
    assert labels(ax) == ["Bo", "Ann"]
    assert widths(ax) == [1_000.0, 750.0]
    assert {"€1k, 7 won, 100 % win rate", "€750, 3 won, 60 % win rate"} <= {*texts(ax)}
    assert ax.get_title(loc="left") == "Won, by owner: 2026-01 to 2026-03"
    # One period of several groups is a leaderboard without being asked.
    march = TWO[TWO["period"] == month(2)]
    assert widths(draw(plot.sales_by_period(march, measure="won"))) == [3.0, 1.0]
    assert widths(draw(plot.sales_by_period(TWO, leaderboard=True, top=1))) == [1_000.0, 750.0]
    assert len(draw(plot.sales_by_period(march, leaderboard=False)).patches) == 2


def test_counts_add_up_currencies_and_amounts_do_not() -> None:
    mixed = TWO.assign(currency=["EUR", "EUR", "USD", "USD"])
    assert sum(heights(draw(plot.sales_by_period(mixed, measure="won")))) == 10
    with pytest.raises(
        ArgumentError, match=r"several currencies.*metrics\.sales_by_period `rates`"
    ):
        plot.sales_by_period(mixed)


def test_reasons_are_added_up_the_commonest_first() -> None:
    ax = draw(plot.lost_reasons(REASONS))
    assert labels(ax) == ["Price", "no reason given", "Other"]
    assert widths(ax) == [3.0, 2.0, 1.0]
    assert {"3 deals, 50 %, €30", "1 deal, 17 %, €900"} <= {*texts(ax)}
    assert ax.get_title(loc="left") == "Why 6 deals were lost"
    ax = draw(plot.lost_reasons(REASONS, measure="value", top=1))
    assert labels(ax) == ["Other", "and 2 more"]
    assert "€900, 96 %, 1 deal" in texts(ax)
    mixed = REASONS.assign(currency=["EUR", "USD", "EUR", "EUR"])
    assert "3 deals, 50 %" in texts(draw(plot.lost_reasons(mixed)))
    with pytest.raises(ArgumentError, match="several currencies"):
        plot.lost_reasons(mixed, measure="value")


def test_customers_have_their_names_and_namesakes_their_ids() -> None:
    ax = draw(plot.top_customers(TOP))
    assert labels(ax) == ["Acme (organization 1)", "Acme (organization 2)", "deal 3", "7 others"]
    assert widths(ax) == [400.0, 300.0, 200.0, 100.0]
    assert "€400, 40 %" in texts(ax)
    assert ax.get_title(loc="left") == "The largest 3 customers: 90 % of MRR"
    colors = [patch.get_facecolor() for patch in ax.patches]
    assert colors[0] == colors[2] != colors[3]
    arr = draw(plot.top_customers(TOP, measure="arr"))
    assert widths(arr)[0] == 4_800.0
    assert arr.get_title(loc="left").endswith("of ARR")


CHARTS: list[tuple[Any, pd.DataFrame, list[str]]] = [
    (plot.sales_by_period, TWO, ["period", "currency", "won", "lost", "won_value"]),
    (plot.lost_reasons, REASONS, ["reason", "currency", "deals", "value"]),
    (plot.top_customers, TOP, [name for name in TOP.columns if name != "arr"]),
]


@pytest.mark.parametrize(
    ("chart", "made", "columns"), CHARTS, ids=["sales", "reasons", "customers"]
)
def test_what_holds_for_each_of_them(chart: Any, made: pd.DataFrame, columns: list[str]) -> None:
    figure, (left, right) = plt.subplots(1, 2)
    before = made.copy(deep=True)
    assert chart(made, right) is right
    assert chart(made, ax=left, title="Ours: $5 to $6") is left
    assert plt.get_fignums() == [figure.number]
    assert left.get_title(loc="left") == "Ours: $5 to $6"
    pd.testing.assert_frame_equal(made, before)
    for name in columns:
        with pytest.raises(
            ArgumentError, match=rf"frame has no column '{name}'.*result of metrics"
        ):
            chart(made.drop(columns=name))
    assert texts(draw(chart(made.iloc[:0])))
    with pytest.raises(ArgumentError, match="measure='x' must be"):
        chart(made, measure="x")
    numbers = made.select_dtypes("number").columns[-1]
    with pytest.raises(ArgumentError):
        chart(made.assign(**{name: np.inf for name in [numbers, "mrr", "won_value", "deals"]}))


def test_what_cannot_be_read_is_refused() -> None:
    many = pd.concat([TOP] * 10)
    with pytest.raises(ArgumentError, match=r"40 customers.*smaller n"):
        plot.top_customers(many)
    for wrong in (0, 37, True, "all"):
        with pytest.raises(ArgumentError, match="top="):
            plot.lost_reasons(REASONS, top=wrong)
        with pytest.raises(ArgumentError, match="top="):
            plot.sales_by_period(TWO, top=wrong, leaderboard=True)
    with pytest.raises(ArgumentError, match="cannot be added up"):
        plot.sales_by_period(TWO.assign(open_at_end=1), measure="open_at_end", leaderboard=True)
    far = pd.concat([TWO, TWO.assign(period=month(200))])
    with pytest.raises(ArgumentError, match="201 periods"):
        plot.sales_by_period(far)

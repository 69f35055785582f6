"""Bars are the events, amounts those of each currency, never added up."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.colors import to_hex

from pdframe import plot
from pdframe.errors import ArgumentError
from pdframe.plot import _style as style
from tests.helpers.charts import draw, texts

TABLE = pd.DataFrame(
    [
        ("won", "EUR", 3, 3, 61_250.0, None),
        ("won", "CHF", 2, 2, 900.0, None),
        ("value down", "EUR", 4, 2, 5_000.0, -1_250.0),
        ("value up", "USD", 1, 1, 5_000.0, 500.0),
        ("archived", None, 7, 7, 0.0, None),
    ],
    columns=["event", "currency", "count", "deals", "value", "value_change"],
).astype({"value_change": "float64", "currency": "str"})


def test_bars_count_events_of_all_currencies_and_amounts_are_not_added() -> None:
    ax = draw(plot.changes_summary(TABLE))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "won",
        "value down",
        "value up",
        "archived",
    ]
    bars = ax.containers[0]
    assert [bar.get_width() for bar in bars] == [5, 4, 1, 7]
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [
        style.GREEN,
        style.ORANGE,
        style.GREEN,
        style.GREY,
    ]
    assert {"€61.2k, 900 CHF", "-€1.25k", "+$500"} <= {*texts(ax)}
    assert ax.get_title(loc="left") == "What happened to deals: 17 events"


def test_nothing_several_groups_and_null_counts() -> None:
    ax = draw(plot.changes_summary(TABLE.head(0)))
    assert "Nothing happened in this time." in texts(ax)
    grouped = pd.concat([TABLE.assign(owner="a"), TABLE.assign(owner="b")])
    grouped = grouped[["owner", *TABLE.columns]]
    with pytest.raises(ArgumentError, match=r"several groups.*plot\.changes_summary\(part\)"):
        plot.changes_summary(grouped)
    one = draw(plot.changes_summary(grouped.head(5)))
    assert one.get_title(loc="left") == "What happened to deals: 17 events: a"
    with pytest.raises(ArgumentError, match="The column 'count' holds nulls"):
        plot.changes_summary(TABLE.assign(count=None))
    for name in ("event", "currency", "count", "value", "value_change"):
        with pytest.raises(ArgumentError, match=f"no column '{name}'"):
            plot.changes_summary(TABLE.drop(columns=name))

"""The chart of activities: bars are the counts, and texts say what the frame says."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from pdframe import plot
from pdframe.errors import ArgumentError
from pdframe.plot import _style as style
from tests.helpers.charts import draw, texts
from tests.helpers.revenue_charts import month

BY_TYPE = pd.DataFrame(
    {
        "type": ["call", "email", None],
        "planned": pd.array([3, 8, 0], "Int64"),
        "done": pd.array([6, 4, 2], "Int64"),
        "overdue": pd.array([0, 5, 0], "Int64"),
        "won": pd.array([4, 4, 4], "Int64"),
        "per_won_deal": [1.25, 0.5, np.nan],
    }
)


def bars(ax: Any, name: str, along: str = "width") -> list[float]:
    """How long the bars of one colour are, from above or from the left."""
    color = {"planned": style.BLUE, "overdue": style.RED, "done": style.GREEN}[name]
    return [
        float(getattr(bar, f"get_{along}")())
        for bar in ax.patches
        if to_hex(bar.get_facecolor()) == color
    ]


def labels(ax: Any) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def legend(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def by_month() -> pd.DataFrame:
    """Two owners in January and March."""
    made = pd.concat([BY_TYPE.head(2), BY_TYPE.head(2)], ignore_index=True)
    made = made.rename(columns={"type": "owner_name"}).assign(owner_name=["Ann", "Bo"] * 2)
    made.insert(1, "period", [month(0), month(0), month(2), month(2)])
    return made


def test_a_group_has_its_counts_the_one_with_the_most_first() -> None:
    ax = draw(plot.activity_summary(BY_TYPE))
    assert labels(ax) == ["email", "call", "(none)"]
    assert bars(ax, "planned") == [8, 3, 0]
    assert bars(ax, "overdue") == [5, 0, 0]
    assert bars(ax, "done") == [4, 6, 2]
    assert ax.get_title(loc="left") == "Activities by type: 11 planned, 5 of them overdue, 12 done"
    assert {
        "8 planned, 5 overdue, 4 done, 0.5 per won deal",
        "3 planned, 6 done, 1.2 per won deal",
        "0 planned, 2 done",
    } <= {*texts(ax)}
    assert legend(ax) == ["planned", "planned, now overdue", "done"]
    assert "planned, now overdue" not in legend(draw(plot.activity_summary(BY_TYPE.iloc[[0]])))


def test_groups_beyond_top_are_one_pair() -> None:
    ax = draw(plot.activity_summary(BY_TYPE, top=1))
    assert labels(ax) == ["email", "and 2 more"]
    assert bars(ax, "done") == [4, 8]
    # What is per won deal of several groups together does not follow from theirs.
    assert "3 planned, 8 done" in texts(ax)
    for wrong in (0, 37, True, "all"):
        with pytest.raises(ArgumentError, match="top="):
            plot.activity_summary(BY_TYPE, top=wrong)  # type: ignore[arg-type]


def test_without_groups_there_is_one_pair() -> None:
    ax = draw(plot.activity_summary(BY_TYPE.drop(columns="type").head(1)))
    assert labels(ax) == ["all activities"]
    assert ax.get_title(loc="left") == "Activities: 3 planned, 0 of them overdue, 6 done"


def test_periods_are_pairs_with_all_groups_added_up() -> None:
    ax = draw(plot.activity_summary(by_month()))
    # February is not in the frame.
    assert bars(ax, "planned", "height") == [11, 0, 11]
    assert bars(ax, "done", "height") == [10, 0, 10]
    assert bars(ax, "overdue", "height") == [5, 0, 5]
    title = "Activities by month: 22 planned, 10 of them overdue, 20 done"
    assert ax.get_title(loc="left") == f"{title} (2 groups together)"
    assert {label.get_text() for label in ax.get_xticklabels()} >= {"2026-01", "2026-03"}
    assert {"11", "10"} <= {*texts(ax)}
    ann = by_month().query("owner_name == 'Ann'")
    assert draw(plot.activity_summary(ann)).get_title(loc="left").endswith("12 done (Ann)")
    # One period alone has the unit that the metric recorded.
    one = by_month().head(2)
    one.attrs["freq"] = "Q"
    assert "2026-Q1" in [each.get_text() for each in plot.activity_summary(one).get_xticklabels()]


def test_what_holds_for_every_chart_holds_for_this_one() -> None:
    figure, (left, right) = plt.subplots(1, 2)
    before = BY_TYPE.copy(deep=True)
    assert plot.activity_summary(BY_TYPE, right) is right
    assert plot.activity_summary(BY_TYPE, ax=left, title="Ours: $5 to $6") is left
    assert plt.get_fignums() == [figure.number]
    assert left.get_title(loc="left") == "Ours: $5 to $6"
    pd.testing.assert_frame_equal(BY_TYPE, before)
    for name in ("planned", "done", "overdue", "per_won_deal"):
        with pytest.raises(
            ArgumentError, match=rf"frame has no column '{name}'.*metrics.activity_summary"
        ):
            plot.activity_summary(BY_TYPE.drop(columns=name))
    for wrong in (-1, None):
        with pytest.raises(ArgumentError, match="'done' holds nulls or negative"):
            plot.activity_summary(BY_TYPE.assign(done=pd.array([1, 2, wrong], "Int64")))
    assert "There are no activities." in texts(draw(plot.activity_summary(BY_TYPE.iloc[:0])))
    assert "There are no periods." in texts(draw(plot.activity_summary(by_month().iloc[:0])))
    far = by_month()
    far["period"] = [month(0), month(0), month(70), month(70)]
    with pytest.raises(ArgumentError, match="71 periods"):
        plot.activity_summary(far)

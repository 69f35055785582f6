"""The waterfall closes: its steps are the frame's movements, and they lead from the start to the
end.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from pdframe import plot
from pdframe.errors import ArgumentError
from tests.helpers.charts import draw, texts
from tests.helpers.revenue_charts import MOVEMENTS, MOVES, movements, revenue_frame

# new, reactivation, expansion, contraction, churn, fx
TABLE = movements(
    1000.0,
    [500.0, 0.0, 50.25, -20.0, -100.0, -3.0],
    [200.0, 10.0, 0.0, -30.0, -400.0, 7.5],
    expired=-60.0,
)
SUMS = [700.0, 10.0, 50.25, -50.0, -500.0, 4.5]
END = 1000.0 + sum(SUMS)


def bars(ax: Axes) -> list[Rectangle]:
    return [bar for container in ax.containers for bar in container]


def test_the_waterfall_closes() -> None:
    ax = draw(plot.mrr_movements(TABLE))
    start, *steps, end = bars(ax)
    assert [bar.get_height() for bar in steps] == SUMS
    assert start.get_height() + sum(bar.get_height() for bar in steps) == pytest.approx(
        end.get_height(), abs=1e-9
    )
    assert (start.get_height(), end.get_height()) == (1000.0, END)
    # Each step begins where the one before it ended.
    level = 1000.0
    for bar in steps:
        assert bar.get_y() == pytest.approx(level, abs=1e-9)
        level += bar.get_height()
    assert level == pytest.approx(END, abs=1e-9)
    assert [bar.get_x() + bar.get_width() / 2 for bar in bars(ax)] == pytest.approx(range(8))


def test_names_and_amounts_are_written() -> None:
    ax = draw(plot.mrr_movements(TABLE))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [
        "start",
        "new",
        "reactivation",
        "expansion",
        "contraction",
        "churn",
        "fx",
        "end",
    ]
    assert next(text for text in ax.texts if text.get_text() == "(120 expired)").xy[0] == 5
    assert [text.get_text() for text in ax.texts if text.get_text()][:6] == [
        "+700",
        "+10",
        "+50",
        "-50",
        "-500",
        "+4",
    ]
    assert {"1,000", "1,215"} <= {*texts(ax)}
    assert (ax.get_ylabel(), ax.get_title(loc="left")) == (
        "",
        "MRR movements, 2026-01 to 2026-02",
    )


def test_what_is_far_above_zero_is_cut_and_says_so() -> None:
    far = movements(100_000.0, [500.0, 0.0, 50.25, -20.0, -100.0, 0.0])
    ax = draw(plot.mrr_movements(far))
    assert 99_000 < ax.get_ylim()[0] < 100_000
    assert ax.get_ylabel() == "(axis does not begin at 0)"
    start, *steps, end = bars(ax)
    assert start.get_height() + sum(bar.get_height() for bar in steps) == pytest.approx(
        end.get_height(), abs=1e-9
    )
    near = draw(plot.mrr_movements(TABLE))
    assert near.get_ylim()[0] == 0
    assert near.get_ylabel() == ""
    ticks = [tick.get_text() for tick in near.get_yticklabels()]
    assert ticks[:2] == ["€0", "€500"]


def test_bars_are_seen_where_nothing_moved() -> None:
    ax = draw(plot.mrr_movements(movements(1_000.0, [0.0] * 6)))
    assert ax.get_ylim()[0] == 0
    assert ax.get_ylim()[1] > 1_000
    assert ax.get_ylabel() == ""


def test_in_a_small_axes_names_do_not_overlap() -> None:
    _, (ax, _) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    draw(plot.mrr_movements(TABLE, ax, as_of="2026-02-01"))
    names = [tick.get_text() for tick in ax.get_xticklabels()]
    assert (names[5], names[7]) == ("churn (120 expired)", "end (not over)")
    assert {tick.get_rotation() for tick in ax.get_xticklabels()} == {35}
    top = max(text.get_window_extent().y1 for text in ax.texts)
    assert top < ax.get_window_extent().y1 + 3


def test_by_month_gains_are_above_and_losses_below_with_the_net() -> None:
    ax = draw(plot.mrr_movements(TABLE, by_month=True))
    kept = {
        container.get_label(): [bar.get_height() for bar in container]
        for container in ax.containers
    }
    assert kept == {name: TABLE[name].tolist() for name in MOVES}
    for at in range(2):
        column = [container[at] for container in ax.containers]
        up = sum(bar.get_height() for bar in column if bar.get_height() > 0)
        down = sum(bar.get_height() for bar in column if bar.get_height() < 0)
        assert max(bar.get_y() + bar.get_height() for bar in column) == pytest.approx(up)
        assert min(bar.get_y() + bar.get_height() for bar in column) == pytest.approx(down)
    net = next(line for line in ax.lines if line.get_label() == "net")
    assert list(net.get_ydata()) == pytest.approx((TABLE["end"] - TABLE["start"]).tolist())
    assert {"+427.25", "-212.50"} <= {*texts(ax)}
    # Nothing is hatched but what is incomplete; colours differ, and their names are in the legend.
    assert len({to_hex(bar[0].get_facecolor()) for bar in ax.containers}) == 6
    assert not any(bar[0].get_hatch() for bar in ax.containers)


@pytest.mark.parametrize(
    ("as_of", "hatched"),
    [
        (None, []),
        ("2026-02-28", []),
        ("2026-02-28 23:59", [1]),
        ("2026-02-27", [1]),
        ("2026-01-31", [1]),
        ("2026-01-30", [0, 1]),
        (pd.Timestamp("2026-03-01"), []),
        (pd.Timestamp("2026-02-28 12:00", tz="Asia/Tokyo"), [1]),
        (pd.Timestamp("2026-02-28").date(), []),
        ("2026-02", []),
        ("2026-Q1", []),
        ("2026-01", [1]),
        (pd.Period("2026-01", "M"), [1]),
        (np.datetime64("2026-02-28"), []),
        ("9999-12-30", []),
        # As every metric reads it: in the timezone of the frame, without one in UTC.
        (pd.Timestamp("2026-03-01 01:00", tz="Asia/Tokyo"), [1]),
        ("2026-03-01 01:00+09:00", [1]),
    ],
)
def test_months_that_are_not_over_are_hatched(as_of: object, hatched: list[int]) -> None:
    ax = draw(plot.mrr_movements(TABLE, by_month=True, as_of=as_of))
    first = (2026 - 1970) * 12
    spans = [patch for patch in ax.patches if patch not in bars(ax)]
    assert [round(span.get_x() + span.get_width() / 2) - first for span in spans] == hatched
    assert all(span.get_hatch() for span in spans)
    assert ("not over" in [text.get_text() for text in ax.get_legend().get_texts()]) == bool(
        hatched
    )
    ax = draw(plot.mrr_movements(TABLE, as_of=as_of))
    assert bool(bars(ax)[-1].get_hatch()) == bool(hatched)
    assert ("(not over)" in texts(ax)) == bool(hatched)


def test_months_are_over_in_the_timezone_of_the_frame() -> None:
    table = TABLE.copy()
    table.attrs["tz"] = "Asia/Tokyo"
    for as_of, over in (
        ("2026-03-01 01:00+09:00", True),
        ("2026-02-28 15:00+00:00", True),
        ("2026-02-28 14:59:59+00:00", False),
        ("2026-02-28", True),
    ):
        ax = draw(plot.mrr_movements(table, as_of=as_of))
        assert ("(not over)" not in texts(ax)) == over


@pytest.mark.parametrize("as_of", ["now", "", 20260101, "2026-13-01", pd.NaT])
def test_as_of_is_a_time(as_of: object) -> None:
    with pytest.raises(ArgumentError, match="is not a time"):
        plot.mrr_movements(TABLE, as_of=as_of)
    assert plt.get_fignums() == []


def test_what_does_not_close_is_refused() -> None:
    with pytest.raises(
        ArgumentError, match="2026-02: start and movements do not add up to the end"
    ):
        plot.mrr_movements(TABLE.assign(churn=[-100.0, 0.0]))
    three = movements(10.0, [1.0] * 6, [2.0] * 6, [3.0] * 6)
    with pytest.raises(
        ArgumentError, match="2026-03: it does not start where the month before it ended"
    ):
        plot.mrr_movements(three.drop(index=1))
    with pytest.raises(ArgumentError, match="The column 'fx' holds nulls"):
        plot.mrr_movements(three.assign(fx=None))
    with pytest.raises(ArgumentError, match="A month occurs twice"):
        plot.mrr_movements(pd.concat([three, three]))
    with pytest.raises(
        ArgumentError, match=r"several currencies \(EUR, USD\).*metrics\.mrr_movements `rates`"
    ):
        plot.mrr_movements(pd.concat([three, three.assign(currency="USD")]))
    grouped = pd.concat([three.assign(Region="a"), three.assign(Region="$b$")])[
        ["Region", *MOVEMENTS]
    ]
    with pytest.raises(
        ArgumentError, match=r"several groups of 'Region'.*plot\.mrr_movements\(part\)"
    ):
        plot.mrr_movements(grouped)
    assert plt.get_fignums() == []
    ax = draw(plot.mrr_movements(grouped[grouped["Region"] == "$b$"]))
    assert ax.get_title(loc="left").endswith(": $b$")


def test_rows_in_any_order_give_the_same_chart() -> None:
    forth, back = (draw(plot.mrr_movements(table)) for table in (TABLE, TABLE.iloc[::-1]))
    assert texts(forth) == texts(back)


@pytest.mark.parametrize("by_month", [False, True])
@pytest.mark.parametrize(
    "table",
    [
        movements(0.0, [0.0] * 6),
        movements(-50.0, [0.0, 0.0, 10.0, -30.0, 0.0, 0.0]),
        movements(-50.0, [80.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        movements(3.0, [0.01, 0.0, 0.0, 0.0, -3.01, 0.0]),
        movements(1e12, *[[1e9, 0.0, 0.0, 0.0, -5e8, 1e7]] * 60),
    ],
    ids=["nothing", "credits", "credits to more", "to nothing", "60 months"],
)
def test_extremes_are_drawn_complete(table: pd.DataFrame, by_month: bool) -> None:
    ax = draw(plot.mrr_movements(table, by_month=by_month))
    low, high = ax.get_ylim()
    for bar in bars(ax):
        ends = (bar.get_y(), bar.get_y() + bar.get_height())
        assert max(ends) <= high + 1e-9
        assert min(ends) >= low - 1e-9 or (not by_month and min(ends) == 0 < low)
    if not by_month:
        start, *steps, end = (bar.get_height() for bar in bars(ax))
        assert np.isclose(start + sum(steps), end, rtol=1e-12, atol=1e-9)


def test_an_empty_frame_says_that_there_is_nothing() -> None:
    for by, by_month in ((None, False), ("Region", True)):
        ax = draw(
            plot.mrr_movements(
                revenue_frame(MOVEMENTS, by=by), by_month=by_month, as_of="2026-01-01"
            )
        )
        assert "No MRR in these months." in texts(ax)
        assert not ax.patches

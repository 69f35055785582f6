"""Bars, marks and lines are the frame's quantiles; what is not reached is said and never a zero."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from pdframe import plot
from tests.helpers.charts import VELOCITY, draw, frame, texts, velocity_frame

TABLE = frame(
    VELOCITY,
    (1, 1, "All", 1, 1200, 1000, 200, 14.3, 10.0, 20.0, 7.8, 26.8, 67.9, 30.0, "changelog"),
    (1, 2, "No p90", 2, 10, 7, 3, 16.0, 8.0, 30.0, 9.0, 31.0, None, 20.0, "changelog"),
    (1, 3, "No p75", 3, 9, 5, 4, 18.0, 8.0, None, 9.0, None, None, 20.0, "changelog"),
    (1, 4, "No median", 4, 8, 3, 5, None, 9.0, None, 9.5, None, None, 20.0, "changelog"),
    (1, 5, "Open alone", 5, 6, 0, 6, None, None, None, None, None, None, 20.0, "current"),
    (1, 6, "Nobody", 6, 0, 0, 0, None, None, None, None, None, None, None, None),
)


def bars(ax: Axes) -> list[tuple[float, float]]:
    return [
        (bar.get_x(), bar.get_x() + bar.get_width())
        for container in ax.containers
        for bar in container
    ]


def marks(ax: Axes, *markers: str) -> list[float]:
    return [float(line.get_xdata()[0]) for line in ax.lines if line.get_marker() in markers]


def test_bars_are_the_middle_half_as_far_as_it_is_known() -> None:
    ax = draw(plot.velocity(TABLE))
    np.testing.assert_allclose(bars(ax), [(7.8, 26.8), (9, 31), (9, 18), (9.5, 9.5)])
    assert marks(ax, "o") == [14.3, 16.0, 18.0]
    ends = [float(line.get_xdata()[0]) for line in ax.lines if line.get_marker() == "|"]
    assert ends == [67.9, 9.5]


def test_what_is_not_reached_has_a_note() -> None:
    ax = draw(plot.velocity(TABLE))
    result = texts(ax)
    assert [text for text in result if "not reached" in text] == [
        "90 % not reached",
        "75 %, 90 % not reached",
        "median, 75 %, 90 % not reached",
        "25 % not reached",
    ]
    assert "no visits" in result
    assert [text for text in result if text.endswith(" d")] == ["14 d", "16 d", "18 d"]
    # Arrows, to the same edge, past every quantile; dotted, so that none is taken for one.
    edges = marks(ax, ">")
    assert len(edges) == 3
    assert min(edges) > 67.9
    dotted = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert [tuple(line.get_xdata()) for line in dotted] == [
        (31.0, edges[0]),
        (18.0, edges[0]),
        (9.5, edges[0]),
    ]


def test_open_visits_are_counted_beside() -> None:
    ax = draw(plot.velocity(TABLE))
    result = texts(ax)
    assert {"completed", "still open", "1,000", "200"} <= {*result}
    right = [text.get_text() for text in ax.texts if text.get_position()[0] == 1.0]
    assert right == ["still open", "200", "3", "4", "5", "6", "0"]
    assert (ax.get_xlabel(), ax.get_title(loc="left")) == (
        "days",
        "Days in each stage: median, middle half, and nine in ten",
    )


def test_groups_of_a_stage_lie_together_and_differ_in_marker() -> None:
    table = velocity_frame(["Demo", "Close"], ["Ann", "Bo"])
    # As the metric gives them: group by group.
    table = table.sort_values(["owner", "order_nr"], ignore_index=True)
    ax = draw(plot.velocity(table))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["Ann", "Bo", "Ann", "Bo"]
    assert [line.get_marker() for line in ax.lines if line.get_marker() in "os"] == [
        "o",
        "s",
        "o",
        "s",
    ]
    assert {"Demo", "Close"} <= {*texts(ax)}
    assert ax.get_title(loc="left").endswith(", by owner")


def test_nothing_reached_at_all() -> None:
    ax = draw(plot.velocity(TABLE.iloc[[4, 5]]))
    assert not bars(ax)
    assert {"25 % not reached", "no visits"} <= {*texts(ax)}

"""Arcs are the frame's moves: their side, width and number; outcomes stand beside their stage."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.patches import PathPatch

from pdframe import plot
from pdframe.errors import ArgumentError
from tests.helpers.charts import MOVES, draw, frame, texts

TABLE = frame(
    MOVES,
    (20_000_001, "Qualified", 1, 20_000_002, "Demo", 2, False, 900, 880, 0.6),
    (20_000_001, "Qualified", 1, 20_000_003, "won", 3, False, 90, 90, 0.06),
    (20_000_001, "Qualified", 1, None, "lost", None, None, 510, 500, 0.34),
    (20_000_002, "Demo", 2, 20_000_001, "Qualified", 1, True, 57, 50, 0.1),
    (20_000_002, "Demo", 2, 20_000_003, "won", 3, False, 513, 500, 0.9),
    # A stage that is called as an outcome is.
    (20_000_003, "won", 3, None, "won", None, None, 300, 300, 0.5),
    (20_000_003, "won", 3, 99, None, None, None, 3, 3, 0.005),
    (20_000_003, "won", 3, None, "open", None, None, 297, 297, 0.495),
    (99, None, None, None, "open", None, None, 3, 3, 1.0),
)


def arcs(ax: Any) -> list[PathPatch]:
    return [patch for patch in ax.patches if isinstance(patch, PathPatch)]


def test_an_arc_a_move_on_its_side_as_wide_as_it_has_moves() -> None:
    ax = draw(plot.flow(TABLE))
    result = arcs(ax)
    ends = [
        (round(path.vertices[0][1]), round(path.vertices[-1][1]))
        for path in (arc.get_path() for arc in result)
    ]
    assert ends == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 3)]
    sides = [arc.get_path().vertices[1][0] > 0 for arc in result]
    assert sides == [True, True, False, True, True]
    assert [arc.get_label() for arc in result] == [
        "forward",
        "forward",
        "back",
        "forward",
        "forward",
    ]
    widths = [arc.get_linewidth() for arc in result]
    assert widths[0] == max(widths)
    assert widths[3] / widths[0] == pytest.approx(513 / 900)
    # Back and unknown directions differ by their line, not by colour alone.
    assert result[0].get_linestyle() in ("-", "solid")
    assert len({str(arc.get_linestyle()) for arc in result}) == 3


def test_numbers_and_outcomes_are_written() -> None:
    ax = draw(plot.flow(TABLE))
    result = texts(ax)
    assert {"900", "90", "57", "513", "3", "510  34 %", "300  50 %", "297  50 %", "3  100 %"} <= {
        *result
    }
    assert {"won", "lost", "still there", "moves forward", "moves back"} <= {*result}
    assert "deleted" not in result
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "Qualified",
        "Demo",
        "won",
        "(stage 99, not in stages)",
    ]
    rows = {text.get_text(): text.get_position()[1] for text in ax.texts}
    assert (rows["510  34 %"], rows["300  50 %"], rows["3  100 %"]) == (0, 2, 3)
    assert ax.get_title(loc="left") == "Where deals went: 2,673 visits in 4 stages"


def test_an_arrow_points_at_the_stage_that_was_entered() -> None:
    ax = draw(plot.flow(TABLE))
    heads = [
        (line.get_marker(), round(float(line.get_ydata()[0])))
        for line in ax.lines
        if line.get_marker() in "<>"
    ]
    assert heads == [("<", 1), ("<", 2), (">", 0), ("<", 2), ("<", 3)]


def test_several_groups_are_refused_and_one_is_named() -> None:
    grouped = pd.concat([TABLE.assign(owner="Ann"), TABLE.assign(owner="$B$")], ignore_index=True)[
        ["owner", *MOVES]
    ]
    with pytest.raises(
        ArgumentError, match=r"The frame holds several groups of 'owner'.*in frame\.groupby"
    ):
        plot.flow(grouped)
    # Its last words are a line of code that works, also for a list of columns.
    both = grouped.assign(team=None)[["owner", "team", *MOVES]]
    for names, one in ((["owner"], grouped), (["owner", "team"], both)):
        with pytest.raises(ArgumentError) as refused:
            plot.flow(one)
        line = str(refused.value).partition("Draw each: ")[2]
        assert f"groupby({names!r}, dropna=False)" in line
        exec(line, {"frame": one, "plot": plot})
        assert len(plt.get_fignums()) == 2
        plt.close("all")
    ax = draw(plot.flow(grouped[grouped["owner"] == "$B$"]))
    assert ax.get_title(loc="left").endswith(": $B$")


def test_a_visit_in_the_same_stage_again_has_a_small_arc() -> None:
    table = frame(MOVES, (1, "A", 1, 1, "A", 1, False, 2, 2, 1.0))
    ax = draw(plot.flow(table))
    assert len(arcs(ax)) == 1
    assert "2" in texts(ax)


def test_ids_that_a_merge_made_floats_remain_themselves() -> None:
    loose = TABLE.astype({"from_stage_id": "float64", "to_stage_id": "float64"})
    assert texts(draw(plot.flow(loose))) == texts(draw(plot.flow(TABLE)))

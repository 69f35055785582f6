"""The funnel's bars are the frame's counts, its texts the frame's rates."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from pdframe import plot
from pdframe.errors import ArgumentError
from pdframe.plot import _style as style
from tests.helpers.charts import FUNNEL, draw, frame, funnel_frame, texts
from tests.helpers.overlaps import overlaps

STATES = ["advanced", "lost", "left", "open"]
TABLE = frame(
    FUNNEL,
    (
        7,
        "Qualified",
        1,
        1599,
        1093,
        253,
        103,
        150,
        0.7043,
        0.6812,
        0.7270,
        887.9,
        0.27,
        0.24,
        0.3,
        1.0,
        0.81,
    ),
    (
        3,
        "Demo",
        2,
        1093,
        1000,
        80,
        3,
        10,
        0.9961,
        0.99,
        0.9999,
        9.3,
        0.3,
        0.2,
        0.4,
        1093 / 1599,
        0.9,
    ),
    (9, "Close", 3, 4, 0, 0, 0, 4, None, None, None, None, None, None, None, 4 / 1599, None),
    (
        None,
        "won",
        None,
        312,
        312,
        0,
        0,
        0,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        312 / 1599,
        None,
    ),
)


def test_bars_are_the_counts_from_the_left() -> None:
    ax = draw(plot.funnel(TABLE))
    assert [bars.get_label() for bars in ax.containers] == [
        "advanced",
        "lost there",
        "left the pipeline",
        "still open",
    ]
    widths = [[bar.get_width() for bar in bars] for bars in ax.containers]
    assert widths == [TABLE[state].tolist() for state in STATES]
    starts = [[bar.get_x() for bar in bars] for bars in ax.containers]
    assert starts[0] == [0, 0, 0, 0]
    assert starts[3] == (TABLE["reached"] - TABLE["open"]).tolist()
    # The first stage is above the last.
    heights = [bar.get_y() for bar in ax.containers[0]]
    assert heights == sorted(heights)
    assert ax.yaxis_inverted()
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "Qualified",
        "Demo",
        "Close",
        "won",
    ]


def test_counts_percentages_and_conversion_are_written() -> None:
    ax = draw(plot.funnel(TABLE))
    result = texts(ax)
    assert [text for text in result if "  " in text] == [
        "1,599  100 %",
        "1,093  68 %",
        "4  0.3 %",
        "312  20 %",
    ]
    assert "70 % (68–73 %) in 888 d" in result
    assert "99.6 % (99–>99.9 %) in 9.3 d" in result
    # What is unknown is a dash; the win has nothing after it.
    assert result.count("–") == 1
    assert {"253", "103", "150", "1,000", "conversion (95 % CI)"} <= {*result}
    assert "10" not in result
    assert (ax.get_xlabel(), ax.get_title(loc="left")) == ("deals", "Funnel: 1,599 deals")


@pytest.mark.parametrize("theme", ["default", "dark_background"])
def test_segments_differ_and_counts_in_them_stand_out(theme: str) -> None:
    with plt.style.context(theme):
        ax = draw(plot.funnel(TABLE))
    fills = [to_hex(bars[0].get_facecolor()) for bars in ax.containers]
    assert len({*fills}) == 4
    assert not any(bars[0].get_hatch() for bars in ax.containers)
    # The first row: 1093, 253, 103 and 150 deals.
    inside = [text for text in ax.texts if text.get_text() in ("1,093", "253", "103", "150")]
    assert len(inside) == 4
    for text, fill in zip(inside, fills, strict=True):
        assert style.contrast(text.get_color(), fill) >= 4.5
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "advanced",
        "lost there",
        "left the pipeline",
        "still open",
    ]


def test_groups_are_drawn_together_by_stage() -> None:
    table = funnel_frame(2, groups=["Ann", None])
    table.loc[table["owner"] == "Ann", "advanced"] += 1
    table.loc[table["owner"] == "Ann", "reached"] += 1
    ax = draw(plot.funnel(table))
    by_stage = [table.loc[[at, at + 3], "advanced"].tolist() for at in range(3)]
    assert [bar.get_width() for bar in ax.containers[0]] == [
        count for pair in by_stage for count in pair
    ]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["Ann", "(none)"] * 3
    assert {"Stage 1", "Stage 2", "won"} <= {*texts(ax)}
    assert ax.get_title(loc="left") == "Funnel: 47 deals, by owner"


def test_one_group_of_several_is_a_funnel_of_its_own() -> None:
    table = funnel_frame(3, groups=["Ann", "Bo"])
    ax = draw(plot.funnel(table[table["owner"] == "Bo"]))
    assert len(ax.containers[0]) == 4
    assert ax.get_title(loc="left") == "Funnel: 33 deals, Bo"


def test_counts_that_are_none_are_refused() -> None:
    for wrong in (None, -1):
        with pytest.raises(
            ArgumentError, match="The column 'lost' holds nulls or negative numbers"
        ):
            plot.funnel(TABLE.assign(lost=pd.array([1, wrong, 0, 0], "Int64")))
    with pytest.raises(ArgumentError, match="The column 'low' is"):
        plot.funnel(TABLE.assign(low="much"))


def test_ticks_are_complete_deals() -> None:
    for stages in (1, 4, 30):
        ax = draw(plot.funnel(funnel_frame(stages)))
        places = ax.get_xticks()
        assert [
            float(tick.get_text().replace(",", "")) for tick in ax.get_xticklabels()
        ] == places.tolist()
        assert len(places) > 2
        assert places.max() <= 10 * stages + 3


def test_one_horizon_of_all_rows_is_in_the_heading() -> None:
    ax = draw(plot.funnel(TABLE.assign(horizon_days=90.0)))
    result = texts(ax)
    assert {"conversion in 90 d (95 % CI)", "70 % (68–73 %)"} <= {*result}
    assert not any(text.startswith("70 %") and "in" in text for text in result)


def test_of_many_groups_those_with_the_most_deals_are_drawn() -> None:
    table = funnel_frame(2, groups=[f"Owner {at:02d}" for at in range(30)])
    table["reached"] += table["owner"].str[-2:].astype(int)
    table["open"] += table["owner"].str[-2:].astype(int)
    ax = draw(plot.funnel(table))
    # 36 bars, three a group.
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names == [f"Owner {at:02d}" for at in range(29, 17, -1)] * 3
    deals = 30 * 23 + sum(range(30))
    assert ax.get_title(loc="left") == (
        f"Funnel: {deals:,} deals, by owner: the largest 12, and 18 more"
    )
    ax = draw(plot.funnel(table, top=2))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["Owner 29", "Owner 28"] * 3
    for wrong in (0, 13, 1.5):
        with pytest.raises(ArgumentError, match="top="):
            plot.funnel(table, top=wrong)


def test_a_group_that_reached_many_stages_has_no_more_deals_for_that() -> None:
    table = funnel_frame(3, groups=["many stages", "many deals"])
    first = (table["owner"] == "many deals") & (table["order_nr"] == 0)
    later = (table["owner"] == "many deals") & (table["order_nr"] > 0)
    table.loc[first, ["reached", "open"]] += 5
    table.loc[later, ["reached", "advanced"]] = 1
    ax = draw(plot.funnel(table, top=1))
    assert {tick.get_text() for tick in ax.get_yticklabels()} == {"many deals"}


def test_a_window_that_is_uncertain_is_marked() -> None:
    marked = TABLE.copy()
    marked.attrs["uncertain"] = 1_204
    said = "uncertain: 1,204 deals have no changelog, so the window may hold others"
    assert said in texts(draw(plot.funnel(marked)))
    marked.attrs["uncertain"] = 1
    assert any(text.startswith("uncertain: 1 deal has no changelog") for text in
               texts(draw(plot.funnel(marked))))  # fmt: skip
    for none in (None, 0, "4", True):
        marked.attrs["uncertain"] = none
        assert not any("uncertain" in text for text in texts(draw(plot.funnel(marked))))


def test_the_mark_leaves_no_page_and_lies_on_no_text() -> None:
    marked = TABLE.copy()
    marked.attrs["uncertain"] = 98_765
    figure, (_, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    plot.funnel(marked, right)
    figure.canvas.draw()
    assert overlaps(figure) == []

"""Steps, bands and numbers at risk are the frame's."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation

from pdframe import plot
from tests.helpers.charts import SURVIVAL, draw, frame, survival_frame

# Gehan's 6-MP, Kaplan-Meier and log-log limits at some of its times; the last is undefined on
# purpose.
ROWS = [
    (1, 7, "Demo", 1, 6.0, 21, 3, 0.8571, 0.6197, 0.9516),
    (1, 7, "Demo", 1, 7.0, 17, 1, 0.8067, 0.5631, 0.9228),
    (1, 7, "Demo", 1, 9.0, 16, 0, 0.8067, 0.5631, 0.9228),
    (1, 7, "Demo", 1, 22.0, 7, 1, 0.5378, 0.2678, 0.7468),
    (1, 7, "Demo", 1, 35.0, 1, 1, 0.0, None, None),
]


def at_risk(ax: Axes, name: str) -> dict[float, str]:
    """The numbers on the line that begins with a name, by day."""
    notes = [text for text in ax.texts if isinstance(text, Annotation)]
    line = next(text.xyann[1] for text in notes if text.get_text() == name)
    return {
        text.xy[0]: text.get_text()
        for text in notes
        if text.xyann[1] == line and text.get_text() != name
    }


def test_steps_begin_at_one_and_hold_until_the_next() -> None:
    ax = draw(plot.stage_survival(frame(SURVIVAL, *ROWS)))
    curve = ax.lines[0]
    assert curve.get_drawstyle() == "steps-post"
    # Of 21 visits a tenth is 3: the last row has one at risk, and the curve ends before it.
    assert curve.get_xdata().tolist() == [0, 6, 7, 9, 22]
    assert curve.get_ydata().tolist() == [1, 0.8571, 0.8067, 0.8067, 0.5378]
    assert ax.get_xlim() == (0, 22)
    assert (ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel()) == (
        "How long deals stay in Demo",
        "days in the stage; curves end where few are at risk",
        "share still there",
    )


def test_the_band_is_low_to_high_and_missing_where_it_is_undefined() -> None:
    ax = draw(plot.stage_survival(frame(SURVIVAL, *ROWS)))
    band = np.concatenate([path.vertices for path in ax.collections[0].get_paths()])
    for _, _, _, _, days, _, _, _, low, high in ROWS[:-1]:
        result = {*band[band[:, 0] == days][:, 1].round(4).tolist()}
        assert {low, high} <= result
    # From the last limits on there are none: the band ends before the curve does.
    assert band[:, 0].max() <= 35
    assert 0.0 not in band[:, 1]


def test_numbers_at_risk_are_those_just_before_each_tick() -> None:
    ax = draw(plot.stage_survival(frame(SURVIVAL, *ROWS)))
    expected = {0: "21", 5: "21", 10: "7", 15: "7", 20: "7"}
    assert at_risk(ax, "Demo") == expected
    # Below the axis, and within the figure.
    height = ax.figure.bbox.height
    for text in ax.texts:
        box = text.get_window_extent()
        assert box.y1 < ax.bbox.y0
        assert 0 <= box.y0 < height


def test_a_curve_ends_where_ten_or_a_tenth_are_at_risk() -> None:
    def curve(most: int, *risks: int) -> list[float]:
        rows = [
            (1, 7, "Demo", 1, float(at + 1), risk, 1, 1 / (at + 2), 0.1, 0.9)
            for at, risk in enumerate((most, *risks))
        ]
        ax = draw(plot.stage_survival(frame(SURVIVAL, *rows)))
        return list(ax.lines[0].get_xdata())

    assert curve(500, 10, 9) == [0, 1, 2]
    assert curve(40, 4, 3) == [0, 1, 2]
    assert curve(3, 2, 1) == [0, 1, 2, 3]
    # Where visits come under observation late, the start may be thin, and is drawn.
    assert curve(2, 500, 400) == [0, 1, 2, 3]
    ax = draw(plot.stage_survival(frame(SURVIVAL, *ROWS[:4])))
    assert ax.get_xlabel() == "days in the stage"


def test_after_the_end_of_a_curve_nothing_is_at_risk() -> None:
    short = (1, 8, "Close", 2, 12.0, 4, 4, 0.0, None, None)
    ax = draw(plot.stage_survival(frame(SURVIVAL, *ROWS, short)))
    assert at_risk(ax, "Close") == {0: "4", 5: "4", 10: "4"}


def test_curves_are_distinguished_without_colour() -> None:
    ax = draw(plot.stage_survival(survival_frame([f"Stage {number}" for number in range(12)])))
    curves = [line for line in ax.lines if line.get_label().startswith("Stage")]
    assert len({(line.get_linestyle(), line.get_marker()) for line in curves}) == 12
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        f"Stage {number}" for number in range(12)
    ]


def test_groups_of_one_stage_are_named_by_the_group() -> None:
    ax = draw(plot.stage_survival(survival_frame(["Demo"], ["Ann", None])))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Ann", "(none)"]
    assert ax.get_title(loc="left") == "How long deals stay in Demo, by owner"
    ax = draw(plot.stage_survival(survival_frame(["Demo", "Close"], ["Ann", "Bo"])))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "Demo, Ann",
        "Close, Ann",
        "Demo, Bo",
        "Close, Bo",
    ]


def test_stages_of_one_name_in_two_pipelines_are_distinguished() -> None:
    twice = frame(
        SURVIVAL,
        (1, 7, "Offer", 1, 6.0, 2, 1, 0.5, 0.1, 0.9),
        (2, 8, "Offer", 1, 4.0, 2, 1, 0.5, 0.1, 0.9),
    )
    ax = draw(plot.stage_survival(twice))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "Offer (pipeline 1)",
        "Offer (pipeline 2)",
    ]

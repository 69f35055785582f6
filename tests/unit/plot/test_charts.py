"""What holds for every chart: it returns its Axes, draws any names, refuses what cannot be read,
and leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from pdframe import metrics, plot
from pdframe.errors import ArgumentError
from pdframe.plot import _style as style
from tests.helpers.charts import (
    FUNNEL,
    MOVES,
    SURVIVAL,
    VELOCITY,
    WILD,
    draw,
    frame,
    funnel_frame,
    survival_frame,
    texts,
    velocity_frame,
)
from tests.helpers.visit_frames import day, known_visits, stages


def moves_frame(names: list[str]) -> pd.DataFrame:
    rows = [
        (at + 1, name, at, at + 2, names[at + 1], at + 1, False, 5, 5, 0.5)
        for at, name in enumerate(names[:-1])
    ]
    rows += [
        (at + 1, name, at, None, "lost", None, None, 3, 3, 0.3) for at, name in enumerate(names)
    ]
    return frame(MOVES, *rows)


Chart = Callable[..., Any]
CHARTS: list[tuple[Chart, Callable[[list[str]], pd.DataFrame], list[str], str]] = [
    (
        plot.funnel,
        lambda names: funnel_frame(len(names), names),
        FUNNEL,
        "No deals in this cohort.",
    ),
    (plot.stage_survival, survival_frame, SURVIVAL, "No visit can be followed."),
    (plot.velocity, velocity_frame, VELOCITY, "No stages."),
    (plot.flow, moves_frame, MOVES, "No visits in this cohort."),
]
NAMES = [f"Stage {number}" for number in range(1, 13)]
every_chart = pytest.mark.parametrize(
    ("chart", "made", "columns", "nothing"), CHARTS, ids=["funnel", "survival", "velocity", "flow"]
)


@every_chart
def test_it_draws_on_the_axes_given_and_opens_no_figure(
    chart: Chart, made: Any, columns: list[str], nothing: str
) -> None:
    figure, (left, right) = plt.subplots(1, 2)
    assert chart(made(NAMES[:3]), right) is right
    assert chart(made(NAMES[:3]), ax=left, title="Ours: $5 to $6") is left
    assert plt.get_fignums() == [figure.number]
    assert left.get_title(loc="left") == "Ours: $5 to $6"
    draw(left)


@every_chart
def test_without_axes_it_makes_one_figure_of_notebook_width(
    chart: Chart, made: Any, columns: list[str], nothing: str
) -> None:
    ax = draw(chart(made(NAMES[:3])))
    assert len(plt.get_fignums()) == 1
    assert 8 <= ax.figure.get_figwidth() <= 10
    assert ax.get_title(loc="left")


@every_chart
@pytest.mark.parametrize("by", [None, "owner"])
def test_an_empty_chart_says_so(
    chart: Chart, made: Any, columns: list[str], nothing: str, by: str | None
) -> None:
    ax = draw(chart(frame(columns, by=by)))
    assert nothing in texts(ax)
    assert not ax.lines
    assert not ax.patches


@every_chart
@pytest.mark.parametrize("count", [1, 12])
def test_one_stage_and_twelve(
    chart: Chart, made: Any, columns: list[str], nothing: str, count: int
) -> None:
    ax = draw(chart(made(NAMES[:count])))
    assert {*NAMES[:count]} <= {*texts(ax)} or count == 1


@every_chart
@pytest.mark.parametrize("at", range(0, len(WILD), 6))
def test_any_name_is_drawn_as_text(
    chart: Chart, made: Any, columns: list[str], nothing: str, at: int
) -> None:
    names = [*WILD[at : at + 6], "plain"]
    ax = draw(chart(made(names)))
    result = texts(ax)
    assert all(
        any(text in seen or seen == style.shown(name, 30) for seen in result)
        for name in names
        for text in [style.fitted(name, 2.5, style.normal())]
    )
    risky = [
        text for text in ax.findobj(plt.Text) if "$" in text.get_text() or "\\" in text.get_text()
    ]
    assert not any(text.get_parse_math() or text.get_usetex() for text in risky)


@every_chart
def test_a_missing_column_is_named(
    chart: Chart, made: Any, columns: list[str], nothing: str
) -> None:
    full = made(NAMES[:2])
    spare = {
        "pipeline_id",
        "order_nr",
        "win",
        "win_low",
        "win_high",
        "closed_conversion",
        "events",
        "basis",
        "mean_days",
        "deals",
    }
    needed = [name for name in columns if name not in spare]
    if chart is plot.velocity:
        needed = [name for name in needed if name not in ("low", "high")]
    for name in needed:
        with pytest.raises(
            ArgumentError, match=rf"frame has no column '{name}'. Pass the result of metrics\."
        ):
            chart(full.drop(columns=name))
    with pytest.raises(ArgumentError, match="frame must be the DataFrame"):
        chart(None)
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("chart", "made", "title"),
    [
        (plot.funnel, funnel_frame(3, groups=NAMES), "by owner: the largest 9, and 3 more"),
        (plot.velocity, velocity_frame(NAMES, ["a", "b", "c", "d"]), "the largest 3, and 1 more"),
        (plot.stage_survival, survival_frame(NAMES, ["a", "b"]), "the largest 1, and 1 more"),
    ],
)
def test_of_many_groups_those_that_can_be_read_are_drawn(
    chart: Chart, made: pd.DataFrame, title: str
) -> None:
    assert draw(chart(made)).get_title(loc="left").replace("\n", " ").endswith(title)


@pytest.mark.parametrize(
    ("chart", "made"),
    [
        (plot.funnel, funnel_frame(36)),
        (plot.velocity, velocity_frame([f"S{at}" for at in range(37)])),
        (plot.stage_survival, survival_frame([*NAMES, "one more"])),
        (plot.flow, moves_frame([f"S{at}" for at in range(25)])),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_do(chart: Chart, made: pd.DataFrame) -> None:
    with pytest.raises(
        ArgumentError,
        match=r"The frame holds \d+ .*; more than \d+ cannot be read in one chart\. Keep ",
    ):
        chart(made)
    assert plt.get_fignums() == []


def test_twelve_groups_of_one_stage_are_drawn() -> None:
    owners = [f"Owner {number}" for number in range(12)]
    for ax in (
        plot.velocity(velocity_frame(["Demo"], owners)),
        plot.stage_survival(survival_frame(["Demo"], owners)),
    ):
        assert {*owners} <= {*texts(draw(ax))}
    one = funnel_frame(1, groups=owners)
    assert {*owners} <= {*texts(draw(plot.funnel(one)))}


def test_metrics_go_right_into_charts() -> None:
    visits = known_visits(
        (1, "A", 0, 10, "advanced"),
        (1, "B", 10, 30, "moved back"),
        (1, "A", 30, 40, "won"),
        (2, "A", 0, 20, "lost"),
        (3, "X", 0, None, "open"),
        (4, "B", 3, None, "open"),
    ).assign(owner=["$a$", "$a$", "$a$", None, "b", "b"])
    own = stages()[lambda table: table["pipeline_id"] == 1]
    with pytest.warns(UserWarning, match="visits are to stages that `stages` lacks"):
        draw(plot.funnel(metrics.funnel(visits, own, as_of=day(100), by="owner")))
    for by in (None, "owner"):
        ax = draw(plot.stage_survival(metrics.stage_survival(visits, own, as_of=day(100), by=by)))
        assert any("(stage 99, not in stages)" in text for text in texts(ax))
        assert any(
            "(stage 99, not in stages)" in text
            for text in texts(
                draw(plot.velocity(metrics.stage_velocity(visits, own, as_of=day(100), by=by)))
            )
        )
    assert "(stage 99, not in stages)" in texts(
        draw(plot.flow(metrics.stage_moves(visits, own, as_of=day(100))))
    )

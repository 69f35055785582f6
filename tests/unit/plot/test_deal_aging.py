"""Bars are the days of the deals that wait longest for their stage, the worst first."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from pdframe import metrics, plot
from pdframe.errors import ArgumentError
from pdframe.plot import _style as style
from tests.helpers.charts import draw, texts
from tests.helpers.visit_frames import day, known_visits

# Deal, title, stage, days in stage, median, share longer, rotten, days past close.
TABLE = pd.DataFrame(
    [
        (1, "Rollout", "Demo", 30.0, 12.0, 0.10, False, 0),
        (2, "Pilot", "Demo", 90.0, 12.0, 0.0, True, 19),
        (3, "Pilot", "Offer", 60.0, 40.0, 0.25, False, 4),
        (4, None, "Offer", 45.0, None, None, None, None),
        (5, "$5 to $6", "Offer", 70.0, None, None, False, None),
        (6, "No visit", None, None, None, None, False, None),
    ],
    columns=["deal_id", "title", "stage", "days_in_stage", "median_days", "share_longer",
             "rotten", "days_past_close"],
)  # fmt: skip
TABLE = TABLE.astype(
    {"rotten": "boolean", "days_past_close": "Int64", "title": "str", "stage": "str"}
)


def test_the_smallest_share_of_longer_visits_comes_first_then_deals_without_one() -> None:
    ax = draw(plot.deal_aging(TABLE))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "Pilot (deal 2)",
        "Rollout",
        "Pilot (deal 3)",
        "$5 to $6",
        "deal 4",
    ]
    bars = ax.containers[0]
    assert [bar.get_width() for bar in bars] == [90, 30, 60, 70, 45]
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [
        style.RED,
        style.BLUE,
        style.ORANGE,
        # Neither the stage nor an expected close limits them.
        style.GREY,
        style.GREY,
    ]
    assert {"90 d, 19 d past close", "60 d, 4 d past close", "30 d"} <= {*texts(ax)}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "rotten",
        "past its expected close",
        "in time",
        "no limit known",
        "median of the stage",
    ]
    assert ax.get_title(loc="left") == "Open deals that wait longest for their stage"


def test_a_deal_is_in_time_only_within_a_limit_that_is_known() -> None:
    # Days to rotten, rotten, days past close.
    cases = [
        (30, False, None, style.BLUE),
        (None, False, 0, style.BLUE),
        (None, False, None, style.GREY),
        (None, None, None, style.GREY),
        # Whether it is rotten is not known.
        (30, None, None, style.GREY),
        (30, None, 0, style.BLUE),
        (30, True, None, style.RED),
        (30, True, 5, style.RED),
        (30, False, 5, style.ORANGE),
        (None, False, 5, style.ORANGE),
    ]
    limit, rotten, past, colors = (list(part) for part in zip(*cases, strict=True))
    table = pd.DataFrame(
        {
            "deal_id": range(len(cases)),
            "stage": "Demo",
            "days_in_stage": range(99, 99 - len(cases), -1),
            "median_days": 12.0,
            "share_longer": 0.1,
            "days_to_rotten": pd.array(limit, "Int64"),
            "rotten": pd.array(rotten, "boolean"),
            "days_past_close": pd.array(past, "Int64"),
        }
    )
    bars = draw(plot.deal_aging(table)).containers[0]
    assert [to_hex(bar.get_facecolor()) for bar in bars] == colors


def test_stage_owner_and_value_are_at_the_right_where_the_frame_has_them() -> None:
    assert "Demo" in texts(draw(plot.deal_aging(TABLE.head(1))))
    full = TABLE.head(2).assign(
        owner_name=["Ann", None], value=[12_500.0, None], currency=["EUR", "CHF"]
    )
    assert {"Demo, Ann, €12.5k", "Demo, (none)"} <= {*texts(draw(plot.deal_aging(full)))}
    swiss = full.assign(currency="CHF").head(1)
    assert "Demo, Ann, 12.5k CHF" in texts(draw(plot.deal_aging(swiss)))


def test_in_a_narrow_axes_the_days_are_complete() -> None:
    long = TABLE.head(1).assign(
        title="A rollout in many countries", owner_name="Somebody", days_in_stage=1_234.0,
        days_past_close=1_200,
    )  # fmt: skip
    _, ax = plt.subplots(figsize=(3, 3))
    assert "1,234 d" in texts(draw(plot.deal_aging(long, ax)))
    _, ax = plt.subplots(figsize=(12, 3))
    assert "1,234 d, 1,200 d past close" in texts(draw(plot.deal_aging(long, ax)))


def test_what_is_at_the_right_can_be_read_or_is_left_out() -> None:
    rows = TABLE.head(2).assign(
        stage="Technical qualification", owner_name="Elena Sokolova", value=133_000.0,
        currency="EUR",
    )  # fmt: skip

    def at_the_right(inches: float) -> set[str]:
        _, ax = plt.subplots(figsize=(inches, 3))
        return {text for text in texts(draw(plot.deal_aging(rows, ax))) if "€133k" in text}

    assert at_the_right(15) == {"Technical qualification, Elena Sokolova, €133k"}
    assert at_the_right(8) == {"Elena Sokolova, €133k"}
    assert at_the_right(5) == {"€133k"}


def test_top_is_how_many_are_drawn_and_the_title_says_how_many_more() -> None:
    ax = draw(plot.deal_aging(TABLE, top=2))
    assert len(ax.containers[0]) == 2
    assert ax.get_title(loc="left").endswith(": 2, and 3 more")
    for wrong in (0, 37, None, "all"):
        with pytest.raises(ArgumentError, match="top="):
            plot.deal_aging(TABLE, top=wrong)


def test_no_deal_and_a_missing_column_are_said() -> None:
    for none in (TABLE.head(0), TABLE.tail(1)):
        ax = draw(plot.deal_aging(none))
        assert "No open deal has a known time in its stage." in texts(ax)
    for name in TABLE.columns.drop("title"):
        with pytest.raises(ArgumentError, match=f"no column '{name}'.*metrics.deal_aging"):
            plot.deal_aging(TABLE.drop(columns=name))


def test_the_metric_goes_right_into_the_chart() -> None:
    visits = known_visits((1, "A", 0, 10, "won"), (2, "A", 3, None, "open"))
    deals = pd.DataFrame(
        {
            "id": pd.array([1, 2], "Int64"),
            "title": ["first", "second"],
            "status": ["won", "open"],
            "pipeline_id": pd.array([1, 1], "Int64"),
            "stage_id": pd.array([11, 11], "Int64"),
            "add_time": [day(0), day(3)],
            "update_time": [day(10), day(3)],
            "won_time": [day(10), pd.NaT],
            "lost_time": pd.to_datetime([None, None], utc=True),
            "expected_close_date": pd.to_datetime([None, None]),
        }
    )
    stages = pd.DataFrame(
        {
            "id": pd.array([11], "Int64"),
            "name": ["A"],
            "is_deal_rot_enabled": pd.array([True], "boolean"),
            "days_to_rotten": pd.array([20], "Int64"),
        }
    )
    aging = metrics.deal_aging(deals, visits, stages, as_of=day(33))
    ax = draw(plot.deal_aging(aging))
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["second"]
    assert {"30 d", "A"} <= {*texts(ax)}
    assert to_hex(ax.containers[0][0].get_facecolor()) == style.RED

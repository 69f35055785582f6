"""Charts of forecasts: the range, the record, the skill, and what moved the pipeline."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from pdframe import plot
from pdframe.errors import ArgumentError
from pdframe.plot import _style as style
from pdframe.plot._months import short
from tests.helpers.charts import draw, texts
from tests.helpers.forecast_charts import (
    CHANGES,
    bins,
    changes,
    movements,
    record,
    scores,
    totals,
)

QUARTER = totals(
    ("2026-07-01", 82_000.0, 261_000.0, 338_000.0, 430_000.0),
    ("2026-08-01", 0.0, 240_000.0, 352_000.0, 495_000.0),
    ("2026-09-01", 0.0, 215_000.0, 340_000.0, 510_000.0),
)
RECORD = record(
    ("2026-03-31", "2026-04-01", 200.0, 300.0, 400.0, 250.0),
    ("2026-04-30", "2026-05-01", 200.0, 300.0, 400.0, 450.0),
    ("2026-05-31", "2026-06-01", 200.0, 300.0, 400.0, 200.0),
    ("2026-06-30", "2026-07-01", 200.0, 300.0, 400.0, None),
)
SKILL = scores(
    ("2026-01-01", 30, "hazard", 100, 0.06),
    ("2026-01-01", 30, "constant", 100, 0.08),
    ("2026-02-01", 30, "hazard", 300, 0.04),
    ("2026-02-01", 30, "constant", 300, 0.08),
    ("2026-01-01", 90, "hazard", 100, 0.12),
    ("2026-01-01", 90, "constant", 100, 0.10),
)


def line(ax: Axes, name: str) -> tuple[list[float], list[float]]:
    lines = [each for each in ax.lines if each.get_label() == name]
    x, y = lines[0].get_data()
    return list(x), list(y)


def bars(ax: Axes) -> list[Rectangle]:
    return [bar for container in ax.containers for bar in container]


# The forecast


def test_the_band_is_the_range_and_the_steps_are_the_middle_and_what_is_won() -> None:
    ax = draw(plot.forecast(QUARTER))
    x, middle = line(ax, "middle (P50)")
    assert x == [-0.5, 0.5, 1.5, 2.5]
    assert middle == [338_000, 352_000, 340_000, 340_000]
    assert line(ax, "_won")[1] == [82_000, 0, 0, 0]
    band = next(each for each in ax.collections if "P10 to P90" in str(each.get_label()))
    box = band.get_paths()[0].get_extents()
    assert (box.y0, box.y1) == (215_000, 510_000)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["2026-09", "2026-08", "2026-07"]


def test_nothing_won_yet_has_no_step_and_no_legend() -> None:
    ax = draw(plot.forecast(QUARTER.tail(2)))
    assert "_won" not in [each.get_label() for each in ax.lines]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "8 of 10 outcomes (P10 to P90)",
        "middle (P50)",
    ]


def test_a_sentence_says_the_range_and_how_often_it_was_right() -> None:
    said = texts(draw(plot.forecast(QUARTER, record=RECORD)))
    assert (
        "2026-07: P50 338k EUR (P10 261k, P90 430k); in the last 3 months 2 of 3 actuals fell"
        " inside 80 %"
    ) in said
    assert "Won revenue, 2026-07 to 2026-09" in said
    said = texts(draw(plot.forecast(QUARTER.head(1))))
    assert "P50 338k EUR (P10 261k, P90 430k)" in said
    said = texts(draw(plot.forecast(QUARTER.head(1), record=RECORD.head(1))))
    assert any(text.endswith("; the last actual fell inside 80 %") for text in said)


def test_with_draws_the_sentence_is_about_all_periods_together() -> None:
    # The total of draw n is 30 n: P10, P50 and P90 of 0, 30 ... 3,000.
    every = [
        (first, draw_number, 10.0 * draw_number)
        for first in QUARTER["period"]
        for draw_number in range(101)
    ]
    draws = pd.DataFrame(every, columns=["period", "draw", "total"])
    said = texts(draw(plot.forecast(QUARTER, draws=draws)))
    assert "2026-07 to 2026-09: P50 1.5k EUR (P10 300, P90 2.7k)" in said


def test_actuals_of_the_past_are_dots_inside_and_crosses_outside() -> None:
    ax = draw(plot.forecast(QUARTER, record=RECORD))
    # Both ends of the range are inside.
    assert line(ax, "actual") == ([0, 2], [250, 200])
    assert line(ax, "actual, outside") == ([1], [450])
    past = [bar for bar in bars(ax) if bar.get_height() == 200]
    assert [(bar.get_x() + bar.get_width() / 2, bar.get_y()) for bar in past] == [
        (0, 200),
        (1, 200),
        (2, 200),
    ]


def test_of_a_period_the_last_forecast_before_it_began_counts() -> None:
    several = record(
        ("2026-04-30", "2026-06-01", 1.0, 2.0, 3.0, 250.0),
        ("2026-05-31", "2026-06-01", 200.0, 300.0, 400.0, 250.0),
        ("2026-06-20", "2026-06-01", 240.0, 250.0, 260.0, 250.0),
    )
    ax = draw(plot.forecast(QUARTER, record=several.sample(frac=1, random_state=1)))
    assert [(bar.get_y(), bar.get_height()) for bar in bars(ax)] == [(200, 200)]
    ax = draw(plot.forecast(QUARTER, record=several.tail(1)))
    assert [(bar.get_y(), bar.get_height()) for bar in bars(ax)] == [(240, 20)]


def test_a_forecast_from_inside_a_period_is_drawn_as_such_and_not_counted() -> None:
    # May was forecast before it began and on 20 May, June on 20 June alone.
    mixed = record(
        ("2026-04-30", "2026-05-01", 200.0, 300.0, 400.0, 450.0),
        ("2026-05-20", "2026-05-01", 440.0, 450.0, 460.0, 450.0),
        ("2026-06-20", "2026-06-01", 240.0, 250.0, 260.0, 250.0),
    )
    ax = draw(plot.forecast(QUARTER, record=mixed))
    assert [text for text in texts(ax) if "80 %" in text] == [
        "2026-07: P50 338k EUR (P10 261k, P90 430k); the last actual fell outside 80 %"
    ]
    assert {"as it was forecast", "as it was forecast after it began"} <= {
        container.get_label() for container in ax.containers
    }
    said = texts(draw(plot.forecast(QUARTER, record=mixed.tail(1))))
    assert not any("actual fell" in text or "actuals fell" in text for text in said)


def test_the_first_day_of_a_period_knows_nothing_of_it_in_the_company_s_timezone() -> None:
    times = record(
        ("2026-04-01 18:00", "2026-04-01", 200.0, 300.0, 400.0, 250.0),
        ("2026-05-01 18:00", "2026-05-01", 200.0, 300.0, 400.0, 250.0),
        # In New York it is the evening of the first.
        ("2026-06-02 02:00", "2026-06-01", 200.0, 300.0, 400.0, 250.0),
    )
    times["as_of"] = times["as_of"].dt.tz_localize("UTC")
    for tz, said in (("UTC", "2 of 2"), ("America/New_York", "3 of 3"), ("Asia/Tokyo", None)):
        times.attrs["tz"] = tz
        shown = " ".join(texts(draw(plot.forecast(QUARTER, record=times))))
        assert (f"{said} actuals fell" in shown) if said else ("fell" not in shown)


@pytest.mark.parametrize(
    ("months", "said"),
    [
        (["2026-04-01", "2026-05-01", "2026-06-01"], "in the last 3 months 3 of 3 actuals fell"),
        # February and March have no forecast.
        (["2026-01-01", "2026-04-01", "2026-06-01"], "from 2026-01 to 2026-06 3 of 3 actuals fell"),
        # June is over, and its wins are not known yet.
        (["2026-04-01", "2026-05-01"], "from 2026-04 to 2026-05 2 of 2 actuals fell"),
    ],
)
def test_the_sentence_names_the_periods_that_it_counts(months: list[str], said: str) -> None:
    past = record(*[(day, day, 1.0, 2.0, 3.0, 2.0) for day in months])
    ax = draw(plot.forecast(QUARTER, record=past))
    assert any(f"{said} inside 80 %" in text.replace("\n", " ") for text in texts(ax))


def test_a_record_of_more_than_twelve_periods_shows_the_last_twelve() -> None:
    months = pd.date_range("2024-07-01", periods=24, freq="MS")
    long = record(*[(f"{day:%F}", f"{day:%F}", 1.0, 2.0, 3.0, 2.0) for day in months])
    ax = draw(plot.forecast(QUARTER, record=long))
    assert len(bars(ax)) == 12
    assert any("in the last 12 months 12 of 12 actuals" in text for text in texts(ax))


@pytest.mark.parametrize(
    ("periods", "named"),
    [
        (["2026-07-01", "2026-10-01"], ["2026-Q4", "2026-Q3"]),
        (["2026-01-01", "2027-01-01"], ["2027", "2026"]),
        (["2026-06-29", "2026-07-06"], ["2026-07-06", "2026-06-29"]),
        (["2026-02-01", "2026-05-01"], ["from 2026-05", "from 2026-02"]),
    ],
    ids=["quarters", "years", "weeks", "quarters of another fiscal year"],
)
def test_periods_have_the_names_of_their_kind(periods: list[str], named: list[str]) -> None:
    ax = draw(plot.forecast(totals(*[(day, 0.0, 1.0, 2.0, 3.0) for day in periods])))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == named


def test_a_quarter_alone_has_the_name_that_the_metric_recorded() -> None:
    frame = QUARTER.head(1)
    frame.attrs["freq"] = "Q"
    assert "Won revenue, 2026-Q3" in texts(draw(plot.forecast(frame)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (950.4, "950"),
        (999.7, "1k"),
        (1_240.0, "1.24k"),
        (412_345.0, "412k"),
        (999_600.0, "1M"),
        (1_240_000.0, "1.24M"),
        (35_400_000.0, "35.4M"),
        (2_000_000_000.0, "2bn"),
        (-1_240_000.0, "-1.24M"),
    ],
)
def test_amounts_are_short(value: float, text: str) -> None:
    assert short(value) == text


def test_a_forecast_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"several currencies.*metrics\.forecast `rates`"):
        plot.forecast(pd.concat([QUARTER, QUARTER.assign(currency="USD")]))
    with pytest.raises(ArgumentError, match="A period occurs twice"):
        plot.forecast(pd.concat([QUARTER, QUARTER]))
    with pytest.raises(ArgumentError, match=r"frame has no column 'p10'.*metrics\.forecast"):
        plot.forecast(QUARTER.drop(columns="p10"))
    with pytest.raises(ArgumentError, match="must hold times without nulls"):
        plot.forecast(QUARTER.assign(period="2026-07"))
    with pytest.raises(ArgumentError, match="record holds several methods"):
        plot.forecast(QUARTER, record=RECORD.assign(method=["a", "b", "a", "a"]))
    assert plt.get_fignums() == []


# Calibration


def test_calibration_shows_each_bin_with_its_interval_and_count() -> None:
    ax = draw(
        plot.calibration(bins((90, 1200, 0.06, 0.05), (90, 40, 0.55, 0.45), (90, 0, 0.95, 0.0)))
    )
    assert line(ax, "within 90 d") == ([0.06, 0.55], [0.05, 0.45])
    assert line(ax, "as forecast") == ([0, 1], [0, 1])
    ends = [segment[:, 1].tolist() for segment in ax.collections[0].get_segments()]
    assert np.allclose(ends, [[-0.05, 0.15], [0.35, 0.55]])
    # A deal stands in it once a cutoff.
    assert {"forecasts", "1,200", "40"} <= {*texts(ax)}
    assert not any("deals" in text for text in texts(ax))
    assert "0" not in texts(ax)


def test_calibration_of_several_horizons_has_a_curve_and_a_line_of_counts_each() -> None:
    ax = draw(plot.calibration(bins((180, 7, 0.5, 0.5), (30, 5, 0.5, 0.5))))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "as forecast",
        "within 30 d",
        "within 180 d",
    ]
    counts = [text for text in ax.texts if text.get_text() in ("5", "7")]
    assert [text.get_text() for text in sorted(counts, key=lambda each: -each.xyann[1])] == [
        "5",
        "7",
    ]
    assert "No deal has a forecast and an outcome." in texts(
        draw(plot.calibration(bins((30, 0, 0.5, 0.5))))
    )


# Backtest


def test_skill_is_summed_by_deal_and_the_constant_is_the_line_at_0() -> None:
    ax = draw(plot.backtest(SKILL))
    # 1 - (100 x .06 + 300 x .04) / (400 x .08) = .4375; 1 - .12 / .10 = -.2.
    assert line(ax, "hazard")[1] == pytest.approx([0.4375, -0.2])
    assert sorted(line(ax, "_cutoffs")[1]) == pytest.approx([-0.2, 0.25, 0.5])
    assert any(list(each.get_ydata()) == [0, 0] for each in ax.lines)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [
        "within 30 d\n400 forecasts",
        "within 90 d\n100 forecasts",
    ]
    assert "2 cutoffs; the line at 0 is the constant" in texts(ax)


def test_rows_that_are_repeated_are_no_skill() -> None:
    # As where two backtests that share cutoffs are put together.
    again = pd.concat([SKILL, SKILL.tail(2), SKILL.iloc[[2]], SKILL.iloc[[0, 1]]])
    once, twice = (draw(plot.backtest(each)) for each in (SKILL, again))
    for name in ("hazard", "_cutoffs"):
        assert line(twice, name) == line(once, name)
    assert texts(twice) == texts(once)
    other = pd.concat([SKILL, SKILL.head(1).assign(brier=0.05)])
    with pytest.raises(ArgumentError, match="two different scores of 'hazard' at the cutoff 2026"):
        plot.backtest(other)


def test_a_method_is_compared_with_the_constant_at_the_same_cutoffs() -> None:
    # The constant alone was tested at two cutoffs more, one easy and one hard for it.
    constant = scores(
        ("2026-03-01", 30, "constant", 100, 0.9), ("2026-04-01", 90, "constant", 100, 0.01)
    )
    hazard = scores(("2026-05-01", 30, "hazard", 100, 0.01))
    ax = draw(plot.backtest(pd.concat([SKILL, constant, hazard])))
    # As of the cutoffs that both have.
    assert line(ax, "hazard")[1] == pytest.approx([0.4375, -0.2])
    assert sorted(line(ax, "_cutoffs")[1]) == pytest.approx([-0.2, 0.25, 0.5])


def test_accounts_are_compared_each_with_its_own_constant() -> None:
    two = pd.concat([SKILL.assign(account=name) for name in ("a", "b")])
    two = two[["account", *SKILL.columns]].reset_index(drop=True)
    # 1 - (100 x .06 + 300 x .04 + 400 x .08) / (2 x 400 x .08) of 30 days.
    no_skill = (two["account"] == "b") & (two["method"] == "hazard") & (two["horizon"].dt.days < 90)
    two.loc[no_skill, "brier"] = 0.08
    ax = draw(plot.backtest(two))
    assert line(ax, "hazard")[1] == pytest.approx([0.21875, -0.2])


def test_a_backtest_needs_the_constant_and_leaves_out_rows_of_totals() -> None:
    with pytest.raises(ArgumentError, match="no rows of the method 'constant'"):
        plot.backtest(SKILL[SKILL["method"] == "hazard"])
    both = pd.concat([SKILL, SKILL.head(1).assign(horizon=pd.NaT, brier=np.nan)])
    assert texts(draw(plot.backtest(both))) == texts(draw(plot.backtest(SKILL)))
    assert "No method was tested." in texts(draw(plot.backtest(SKILL.head(0))))


# Waterfalls


def test_movements_of_the_pipeline_lead_from_start_to_end() -> None:
    moves = {"created": 95.0, "pushed_out": -141.0, "won": -120.0, "lost": -66.0}
    ax = draw(plot.pipeline_movements(movements(812.0, moves)))
    assert [bar.get_height() for bar in bars(ax)] == [812, *moves.values(), 580]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [
        "start",
        "created",
        "pushed out",
        "won",
        "lost",
        "end",
    ]
    assert {"+95.00", "-141.00", "812.00", "580.00"} <= {*texts(ax)}
    assert ax.get_title(loc="left") == "What moved the open pipeline, expected to close in 2026-09"


def test_periods_of_a_pipeline_are_added_up() -> None:
    rows = [
        movements(800.0, {"pushed_out": -100.0}, first="2026-09-01"),
        movements(50.0, {"pulled_in": 100.0}, first="2026-10-01"),
        movements(7.0, {}, first=None),
    ]
    ax = draw(plot.pipeline_movements(pd.concat(rows, ignore_index=True)))
    assert [bar.get_height() for bar in bars(ax)] == [857, 100, -100, 857]
    assert ax.get_title(loc="left").endswith("in 2026-09 to 2026-10 or on no date")
    assert "No open deals in these periods." in texts(
        draw(plot.pipeline_movements(rows[0].head(0)))
    )


def test_a_pipeline_of_quarters_names_the_quarter() -> None:
    rows = movements(800.0, {"won": -100.0}, first="2026-07-01")
    rows.attrs["freq"] = "Q"
    ax = draw(plot.pipeline_movements(rows))
    assert ax.get_title(loc="left").endswith("expected to close in 2026-Q3")


def test_changes_of_a_forecast_lead_from_the_last_one_to_this_one() -> None:
    amounts = [31.0, 9.0, -42.0, 18.0, -12.0, 0.0, -1.5]
    ax = draw(plot.forecast_changes(changes(412.0, amounts)))
    assert [bar.get_height() for bar in bars(ax)] == [412, *amounts, 414.5]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["before", *CHANGES, "now"]


def test_waterfalls_that_do_not_close_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"do not add up.*metrics\.pipeline_movements"):
        plot.pipeline_movements(movements(10.0, {"won": -5.0}).assign(won=-6.0))
    with pytest.raises(ArgumentError, match=r"do not add up.*metrics\.forecast_changes"):
        plot.forecast_changes(changes(10.0, [1.0] * 7).assign(new=2.0))
    with pytest.raises(ArgumentError, match="The column 'lost' holds nulls"):
        plot.forecast_changes(changes(10.0, [1.0] * 7).assign(lost=None))
    assert plt.get_fignums() == []


# On any background

CHARTS: dict[str, Callable[[], Axes]] = {
    "forecast": lambda: plot.forecast(QUARTER, record=RECORD),
    "calibration": lambda: plot.calibration(bins((90, 12, 0.5, 0.4))),
    "backtest": lambda: plot.backtest(SKILL),
    "pipeline_movements": lambda: plot.pipeline_movements(movements(5.0, {"won": -2.0})),
    "forecast_changes": lambda: plot.forecast_changes(changes(10.0, [1.0] * 7)),
}


@pytest.mark.parametrize("theme", ["default", "dark_background"])
@pytest.mark.parametrize("name", CHARTS)
def test_every_text_can_be_read_on_light_and_dark(name: str, theme: str) -> None:
    with plt.style.context(theme):
        ax = draw(CHARTS[name]())
        page = style.luminance(to_rgba(ax.figure.get_facecolor()))
        for text in ax.findobj(plt.Text):
            if text.get_text() and text.get_visible():
                ink = style.luminance(to_rgba(text.get_color()))
                light, dark = max(page, ink), min(page, ink)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, text.get_text()


@pytest.mark.parametrize("name", CHARTS)
def test_it_draws_on_the_axes_given(name: str) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    charts: dict[str, Callable[[Axes], Axes]] = {
        "forecast": lambda ax: plot.forecast(QUARTER, ax, record=RECORD, title="Ours: $5"),
        "calibration": lambda ax: plot.calibration(bins((90, 12, 0.5, 0.4)), ax, title="Ours: $5"),
        "backtest": lambda ax: plot.backtest(SKILL, ax, title="Ours: $5"),
        "pipeline_movements": lambda ax: plot.pipeline_movements(
            movements(5.0, {"won": -2.0}), ax, title="Ours: $5"
        ),
        "forecast_changes": lambda ax: plot.forecast_changes(
            changes(10.0, [1.0] * 7), ax, title="Ours: $5"
        ),
    }
    assert charts[name](right) is right
    assert plt.get_fignums() == [figure.number]
    assert right.get_title(loc="left") == "Ours: $5"
    draw(left)


def test_draws_of_other_periods_or_none_are_refused() -> None:
    draws = pd.DataFrame({"period": QUARTER["period"], "draw": 0, "total": 1.0})
    draws["currency"] = "EUR"
    with pytest.raises(ArgumentError, match="draws has other periods"):
        plot.forecast(QUARTER, draws=draws.iloc[1:])
    with pytest.raises(ArgumentError, match="draws has no rows"):
        plot.forecast(QUARTER, draws=draws.iloc[:0])


def test_a_record_of_other_groups_and_lengths_is_no_past_of_this_forecast() -> None:
    own = RECORD.assign(by=None, group=None, freq="M").astype({"by": "str", "group": "str"})
    others = pd.concat(
        [
            own,
            own.assign(by="team", group="a", actual=1e9, p90=2e9),
            own.assign(freq="Q", actual=1e9, p90=2e9),
        ],
        ignore_index=True,
    )
    monthly = QUARTER.copy()
    monthly.attrs["freq"] = "M"
    alone, among = (draw(plot.forecast(monthly, record=each)) for each in (own, others))
    assert texts(among) == texts(alone)
    team = monthly.copy()
    team.insert(0, "team", "a")
    said = texts(draw(plot.forecast(team, record=others)))
    assert said != texts(among)


@pytest.mark.parametrize("form", ["str", "object", "short", "pyarrow"])
def test_horizons_may_be_text(form: str) -> None:
    lengths = ["30D", "180D", "90D"]
    frame = calibration_of(lengths)
    texts_of = {
        "str": frame["horizon"].astype("str"),
        "object": frame["horizon"].astype(object),
        "short": pd.Series(lengths),
        "pyarrow": frame["horizon"].astype("duration[us][pyarrow]"),
    }
    ax = draw(plot.calibration(frame.assign(horizon=texts_of[form])))
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["as forecast", "within 30 d", "within 90 d", "within 180 d"]
    scores = pd.DataFrame(
        {"cutoff": pd.Timestamp("2026-03-31"), "horizon": texts_of[form], "n": 5, "brier": 0.1}
    )
    both = pd.concat([scores.assign(method=name) for name in ("hazard", "constant")])
    ax = draw(plot.backtest(both.reset_index(drop=True)))
    ticks = [label.get_text().split("\n")[0] for label in ax.get_xticklabels()]
    assert ticks == ["within 30 d", "within 90 d", "within 180 d"]


@pytest.mark.parametrize("value", [np.inf, 30, 30.0, "30", "inf", "soon", ["90D"], True])
def test_horizons_that_are_no_lengths_of_time_are_named(value: object) -> None:
    frame = calibration_of(["30D", "180D", "90D"])
    frame["horizon"] = pd.Series([value] * 3)
    with pytest.raises(ArgumentError, match=r"'horizon' holds .*not a length of time"):
        plot.calibration(frame)


def calibration_of(horizons: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "method": "hazard", "horizon": pd.to_timedelta(horizons), "bin": [1, 2, 3], "n": 10,
            "wins": [1, 2, 3], "p_mean": [0.05, 0.15, 0.25], "share": [0.1, 0.2, 0.3],
            "low": [0.0, 0.1, 0.1], "high": [0.2, 0.3, 0.5],
        }
    )  # fmt: skip

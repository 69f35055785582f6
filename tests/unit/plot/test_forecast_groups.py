"""A forecast of several groups: a bar for each group and period, and a sentence about all of them;
records and draws belong to the groups and periods of the forecast.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from pdframe import plot
from pdframe.errors import ArgumentError
from pdframe.plot import _style as style
from tests.helpers.charts import draw, texts
from tests.helpers.forecast_charts import record, totals

JULY, AUGUST = "2026-07-01", "2026-08-01"


def of(owner: str | None, *rows: tuple[str, float, float, float, float]) -> pd.DataFrame:
    """First day, won already, P10, P50, P90 of each period of an owner; the mean is P50."""
    table = totals(*rows)
    return table.assign(owner_name=pd.Series([owner] * len(table), dtype="str"))[
        ["owner_name", *table]
    ]


TEAM = pd.concat(
    [
        of("Ann", (JULY, 0.0, 100.0, 200.0, 400.0), (AUGUST, 0.0, 50.0, 100.0, 300.0)),
        of("Bo", (JULY, 300.0, 500.0, 900.0, 1_600.0), (AUGUST, 0.0, 200.0, 450.0, 800.0)),
        of(None, (JULY, 0.0, 0.0, 10.0, 20.0), (AUGUST, 0.0, 0.0, 5.0, 30.0)),
    ],
    ignore_index=True,
)


def draws(table: pd.DataFrame) -> pd.DataFrame:
    """101 draws: that of number n is n % of twice the middle, in every group and period."""
    parts = [
        table[["owner_name", "period", "currency"]].assign(draw=n, total=table["p50"] * n / 50)
        for n in range(101)
    ]
    return pd.concat(parts, ignore_index=True)


def labels(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def ranges(ax: Axes) -> list[tuple[float, float]]:
    return [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.containers[0]]


def sentence(ax: Axes) -> str:
    return next(text for text in texts(ax) if "together" in text)


def test_each_group_and_period_is_a_bar_from_p10_to_p90() -> None:
    ax = draw(plot.forecast(TEAM))
    # By what is expected of both months; the months are named above their first group.
    assert labels(ax) == ["Bo", "Ann", "(none)"] * 2
    assert {"2026-07", "2026-08"} <= {*texts(ax)}
    assert ranges(ax) == [(500, 1_600), (100, 400), (0, 20), (200, 800), (50, 300), (0, 30)]
    won = [bar.get_width() for bar in ax.containers[1]]
    assert won == [300, 0, 0, 0, 0, 0]
    assert to_hex(ax.containers[1][0].get_facecolor()) == style.GREEN
    middle = next(each for each in ax.collections if len(each.get_segments()) == 6)
    assert [segment[0][0] for segment in middle.get_segments()] == [900, 200, 10, 450, 100, 5]
    assert {"€900 (500–1.6k), 300 won", "€450 (200–800)"} <= {*texts(ax)}
    assert ax.get_title(loc="left") == "Won revenue, 2026-07 to 2026-08, by owner"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "8 of 10 outcomes (P10 to P90)",
        "won already",
        "middle (P50)",
    ]


def test_one_period_has_a_row_a_group_and_its_name_in_the_title() -> None:
    ax = draw(plot.forecast(TEAM[TEAM["period"] == AUGUST]))
    assert labels(ax) == ["Bo", "Ann", "(none)"]
    assert ax.get_title(loc="left") == "Won revenue, 2026-08, by owner"
    assert "won already" not in [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_largest_groups_are_drawn_and_the_title_counts_the_others() -> None:
    ax = draw(plot.forecast(TEAM, top=1))
    assert labels(ax) == ["Bo"] * 2
    assert ax.get_title(loc="left").endswith("by owner: the largest 1, and 2 more")
    # The sentence is about all groups, drawn or not.
    assert sentence(ax) == (
        "3 groups together: 1.67k EUR expected (mean); beside each bar: its own middle (P50) and"
        " range"
    )
    many = pd.concat([of(f"Rep {n:02d}", (JULY, 0.0, n, n + 1.0, n + 2.0)) for n in range(40)])
    ax = draw(plot.forecast(many))
    assert labels(ax) == [f"Rep {n:02d}" for n in range(39, 27, -1)]
    assert ax.get_title(loc="left").endswith("the largest 12, and 28 more")
    for wrong in (0, 37, True, "all"):
        with pytest.raises(ArgumentError, match="top="):
            plot.forecast(TEAM, top=wrong)  # type: ignore[arg-type]


def test_with_draws_the_sentence_is_the_range_of_all_together() -> None:
    # All middles are 1,665: the total of draw n is n % of twice that.
    said = sentence(draw(plot.forecast(TEAM, draws=draws(TEAM))))
    assert said == "3 groups together: P50 1.67k EUR (P10 333, P90 3k)"
    # Of one group alone, its own draws count, also where the frame of draws has others.
    ann = TEAM[TEAM["owner_name"] == "Ann"]
    assert "2026-07 to 2026-08: P50 300 EUR (P10 60, P90 540)" in texts(
        draw(plot.forecast(ann, draws=draws(TEAM)))
    )


def test_draws_of_something_else_are_refused() -> None:
    for table, wrong, match in (
        (TEAM, draws(TEAM).drop(columns="owner_name"), "draws has other groups.*'owner_name'"),
        (TEAM, draws(TEAM.head(2)), "draws has no rows of"),
        (TEAM, draws(TEAM[TEAM["period"] == JULY]), "draws has other periods"),
        (TEAM, draws(TEAM.assign(currency="USD")), "draws are in another currency"),
        (TEAM.drop(columns="owner_name").head(2), draws(TEAM), "draws has other groups"),
        (TEAM, draws(TEAM).assign(period="2026-07-01"), r"period' of draws.*to_datetime\(draws"),
        (TEAM, draws(TEAM).head(0), "draws has no rows"),
    ):
        with pytest.raises(ArgumentError, match=match):
            plot.forecast(table, draws=wrong)
    # Another dtype of the same periods is the same.
    other = draws(TEAM).convert_dtypes(dtype_backend="pyarrow")
    assert "P10 333" in sentence(draw(plot.forecast(TEAM, draws=other)))
    zoned = draws(TEAM)
    zoned["period"] = zoned["period"].dt.tz_localize("Europe/Tallinn")
    assert "P10 333" in sentence(draw(plot.forecast(TEAM, draws=zoned)))


def grouped(*rows: tuple[str | None, float]) -> pd.DataFrame:
    """A record: June of each owner, forecast as 100 to 300, with its actual."""
    made = record(*[("2026-05-31", "2026-06-01", 100.0, 200.0, 300.0, each) for _, each in rows])
    names = ["(none)" if owner is None else owner for owner, _ in rows]
    return made.assign(by="owner_name", group=names, freq="M")


def test_a_record_counts_the_actuals_of_these_groups() -> None:
    past = grouped(("Ann", 150.0), ("Bo", 900.0), (None, 100.0), ("Cleo", 200.0))
    said = sentence(draw(plot.forecast(TEAM, record=past)))
    assert said.endswith(";\n2 of the last 3 actuals fell inside 80 %")
    assert "actuals" not in sentence(draw(plot.forecast(TEAM, record=past.tail(1))))
    # From inside June, its rest is what was forecast.
    late = past.assign(as_of=past["as_of"].mask(past["group"] == "Ann", pd.Timestamp("2026-06-20")))
    said = sentence(draw(plot.forecast(TEAM, record=late)))
    assert said.endswith(";\n1 of the last 2 actuals fell inside 80 %")
    with pytest.raises(ArgumentError, match=r"record has no groups.*track_record"):
        plot.forecast(TEAM, record=past.drop(columns=["by", "group"]))


def test_a_record_is_of_the_currency_of_the_forecast_also_where_it_is_null() -> None:
    one = totals((JULY, 0.0, 100.0, 200.0, 300.0))
    null = one.assign(currency=pd.Series([None], dtype="str"))
    long = "A currency of our own "
    past = record(*[("2026-05-31", "2026-06-01", 100.0, 200.0, 300.0, 150.0)] * 3)
    past["currency"] = pd.Series(["EUR", None, long], dtype="str")
    past["period"] = pd.to_datetime(["2026-06-01", "2026-05-01", "2026-03-01"])

    def drawn(frame: pd.DataFrame) -> list[float]:
        """The months before the forecast that have an actual: 0 is the earliest one."""
        ax = draw(plot.forecast(frame, record=past))
        line = next(line for line in ax.lines if line.get_label() == "actual")
        first = next(each for each in ax.lines if each.get_label() == "middle (P50)")
        return [float(first.get_xdata()[0]) + 0.5 - float(x) for x in line.get_xdata()]

    assert drawn(one) == [1]
    assert drawn(null) == [2]
    assert drawn(one.assign(currency=long)) == [4]


@pytest.mark.parametrize("column", ["as_of", "period"])
def test_a_record_of_text_is_refused_with_what_to_do(column: str) -> None:
    past = record(("2026-05-31", "2026-06-01", 100.0, 200.0, 300.0, 150.0))
    past[column] = past[column].astype("str")
    one = totals((JULY, 0.0, 100.0, 200.0, 300.0))
    with pytest.raises(
        ArgumentError, match=rf"{column}' of record.*pandas.to_datetime\(record\['{column}'\]\)"
    ):
        plot.forecast(one, record=past)


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(ArgumentError, match="A period occurs twice"):
        plot.forecast(pd.concat([TEAM, TEAM]))
    days = [f"{day:%F}" for day in pd.date_range(JULY, periods=19, freq="MS")]
    long = pd.concat([of(name, *[(day, 0.0, 1.0, 2.0, 3.0) for day in days]) for name in "ab"])
    with pytest.raises(ArgumentError, match="19 periods of several groups"):
        plot.forecast(long)
    assert len(ranges(draw(plot.forecast(long[long["period"] < days[18]])))) == 36
    with pytest.raises(ArgumentError, match="several currencies"):
        plot.forecast(TEAM.assign(currency=["EUR", "USD"] * 3))


def test_losses_are_drawn_from_their_left_end() -> None:
    made: Any = pd.concat(
        [of("Ann", (JULY, 0.0, -50.0, 20.0, 90.0)), of("Bo", (JULY, -10.0, -20.0, -5.0, -1.0))]
    )
    ax = draw(plot.forecast(made))
    assert ranges(ax) == [(-50, 90), (-20, -1)]
    assert ax.get_xlim()[0] == -50
    assert np.isfinite(ax.get_xlim()).all()

"""The line and the stack are the schedule's amounts; currencies are never drawn together."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from pdframe import plot
from pdframe.errors import ArgumentError
from pdframe.plot import _style as style
from tests.helpers.charts import WILD, draw, texts
from tests.helpers.revenue_charts import SCHEDULE, revenue_frame, schedule

ONE = schedule((None, [100.0, 150.0, 120.5, 1240.25]))
TWO = schedule(("DACH", [100.0, 150.0]), ("Nordics", [50.0, 25.0]), (None, [0.0, -40.0]))


def sums(ax: Axes) -> list[float]:
    """What the bars of each place add up to."""
    result: dict[float, float] = {}
    for bars in ax.containers:
        for bar in bars:
            x = bar.get_x() + bar.get_width() / 2
            result[x] = result.get(x, 0.0) + bar.get_height()
    return [result[x] for x in sorted(result)]


def test_one_series_is_a_line_from_zero_with_its_ends_written() -> None:
    ax = draw(plot.mrr(ONE))
    line = ax.lines[0]
    assert list(line.get_ydata()) == [100.0, 150.0, 120.5, 1240.25]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [
        "2026-04",
        "2026-03",
        "2026-02",
        "2026-01",
    ]
    assert {"100 EUR", "1,240 EUR, 6 customers"} <= {*texts(ax)}
    assert ax.get_ylim()[0] == 0
    assert (ax.get_ylabel(), ax.get_title(loc="left")) == ("", "MRR by month")
    assert "€500" in [tick.get_text() for tick in ax.get_yticklabels()]
    assert ax.get_legend() is None


@pytest.mark.parametrize("width", [9.0, 3.6])
@pytest.mark.parametrize(
    "values",
    [
        [100.0, 150.0, 1250.0, 1100.0],
        [100.0, 150.0, 1250.0, 1249.0],
        [1200.0, 1250.0, 900.0, 950.0],
        [100.0, 150.0, 120.0, 1240.0],
        [1000.0 + 90 * at for at in range(12)],
        [2000.0 - 90 * at for at in range(12)],
        [500.0, -200.0, 700.0, 20.0],
        [800.0],
    ],
    ids=["fall", "flat end", "rise at the end", "peak at the end", "rise", "decline", "credit",
         "one month"],
)  # fmt: skip
@pytest.mark.parametrize("currency", ["EUR", "Bitcoin Cash Long"])
def test_amounts_at_the_ends_hide_nothing_of_the_line(
    values: list[float], currency: str, width: float
) -> None:
    _, ax = plt.subplots(figsize=(width, 2.8), layout="constrained")
    frame = schedule((None, values)).assign(currency=currency, customers=1_234)
    draw(plot.mrr(frame, ax))
    line = next(each for each in ax.lines if list(each.get_ydata()) == values)
    at = np.linspace(0, len(values) - 1, 400)
    points = np.column_stack(
        [np.interp(at, range(len(values)), part) for part in (line.get_xdata(), line.get_ydata())]
    )
    seen = ax.transData.transform(points)
    last = f"{values[-1]:,.{0 if max(values) >= 1000 else 2}f}"
    assert any(text.get_text().startswith(last) for text in ax.texts)
    for text in ax.texts:
        box = text.get_window_extent()
        hidden = [point for point in seen if box.contains(*point)]
        assert not hidden, text.get_text()
        assert box.x0 >= ax.bbox.x0 - 5, text.get_text()


def test_groups_are_stacked_to_their_sum_and_credits_go_below() -> None:
    ax = draw(plot.mrr(TWO))
    assert [[bar.get_height() for bar in bars] for bars in ax.containers] == [
        [100, 150],
        [50, 25],
        [0, -40],
    ]
    assert [[bar.get_y() for bar in bars] for bars in ax.containers] == [
        [0, 0],
        [100, 150],
        [150, 0],
    ]
    total = next(line for line in ax.lines if line.get_label() == "sum")
    assert list(total.get_ydata()) == sums(ax) == [150.0, 135.0]
    assert ax.get_ylim()[0] < -40
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "sum",
        "DACH",
        "Nordics",
        "(none)",
    ]
    assert {"150.00 EUR", "135.00 EUR"} <= {*texts(ax)}
    assert ax.get_title(loc="left") == "MRR by month, by Region"


def test_groups_as_lines_differ_in_more_than_colour() -> None:
    ax = draw(plot.mrr(TWO, stacked=False))
    lines = [line for line in ax.lines if line.get_label() in ("DACH", "Nordics", "(none)")]
    assert [list(line.get_ydata()) for line in lines] == [[100, 150], [50, 25], [0, -40]]
    assert (
        len({line.get_marker() for line in lines})
        == len({line.get_linestyle() for line in lines})
        == 3
    )
    assert not ax.containers


def test_twelve_groups_over_sixty_months_differ() -> None:
    table = schedule(*[(f"Group {at}", list(np.arange(60.0) + at)) for at in range(12)])
    ax = draw(plot.mrr(table))
    assert len({to_hex(bars[0].get_facecolor()) for bars in ax.containers}) == 12
    assert np.allclose(sums(ax), table.groupby("month")["mrr"].sum())
    ticks = [text for text in ax.get_xticklabels() if text.get_text()]
    boxes = sorted((text.get_window_extent() for text in ticks), key=lambda box: box.x0)
    assert ticks[0].get_text() == "2030-12"
    assert len(ticks) >= 6
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_of_many_groups_the_largest_are_drawn_and_the_rest_together() -> None:
    # Group n has n each month; the largest are the last.
    table = schedule(*[(f"Group {at}", [float(at), float(at)]) for at in range(20)])
    ax = draw(plot.mrr(table))
    assert len(ax.containers) == 8
    assert ax.containers[-1].get_label() == "and 13 more"
    assert [bar.get_height() for bar in ax.containers[-1]] == [sum(range(13))] * 2
    assert sums(ax) == [sum(range(20))] * 2
    ax = draw(plot.mrr(table, top=2))
    assert [bars.get_label() for bars in ax.containers] == ["Group 19", "Group 18", "and 18 more"]
    ax = draw(plot.mrr(table, top=2, stacked=False))
    assert [list(line.get_ydata()) for line in ax.lines if line.get_label() != "_child0"][:2] == [
        [19, 19],
        [18, 18],
    ]
    assert ax.get_title(loc="left") == "MRR by month, by Region: the largest 2, and 18 more"
    for wrong in (0, 13, True, "5"):
        with pytest.raises(ArgumentError, match="top="):
            plot.mrr(table, top=wrong)


def test_arr_is_twelve_times_mrr() -> None:
    ax = draw(plot.mrr(ONE, measure="arr"))
    assert list(ax.lines[0].get_ydata()) == [1200.0, 1800.0, 1446.0, 14883.0]
    assert ax.get_title(loc="left") == "ARR by month"
    assert "14,883 EUR, 6 customers" in texts(ax)
    with pytest.raises(ArgumentError, match="measure='ARR' must be 'mrr' or 'arr'"):
        plot.mrr(ONE, measure="ARR")


def test_names_stand_for_ids_where_both_are_there() -> None:
    table = pd.concat(
        [
            schedule((None, [1.0])).assign(customer=key, customer_name=name)
            for key, name in (("org 1", "Acme"), ("org 2", "Acme"), ("org 3", "Bolt"), ("4", None))
        ]
    )[["customer", "customer_name", *SCHEDULE]]
    ax = draw(plot.mrr(table))
    assert [bars.get_label() for bars in ax.containers] == [
        "Acme (org 1)",
        "Acme (org 2)",
        "Bolt",
        "4",
    ]
    assert ax.get_title(loc="left") == "MRR by month, by customer"


def test_several_currencies_are_refused_with_what_to_do() -> None:
    both = pd.concat([ONE, ONE.assign(currency="US$D")], ignore_index=True)
    with pytest.raises(
        ArgumentError,
        match=(
            r"several currencies \(EUR, US\$D\).*frame\[frame\['currency'\] =="
            r" 'EUR'\].*mrr_schedule `rates`"
        ),
    ):
        plot.mrr(both)
    with pytest.raises(ArgumentError, match=r"several currencies \(none, EUR\).*== 'EUR'"):
        plot.mrr(pd.concat([ONE.assign(currency=pd.Series([None] * 4, dtype="str")), ONE]))
    draw(plot.mrr(both[both["currency"] == "US$D"]))


def test_a_month_that_is_missing_is_a_gap_and_one_that_is_there_twice_an_error() -> None:
    ax = draw(plot.mrr(ONE.drop(index=1)))
    result = list(ax.lines[0].get_ydata())
    assert result[0] == 100
    assert np.isnan(result[1])
    assert len(result) == 4
    with pytest.raises(ArgumentError, match="A month occurs twice"):
        plot.mrr(pd.concat([ONE, ONE]))
    # Groups whose column was dropped would be counted as one.
    with pytest.raises(ArgumentError, match="A month occurs twice"):
        plot.mrr(TWO[SCHEDULE])


@pytest.mark.parametrize("values", [[0.0, 0.0], [-5.0, -7.5], [100.0], [1e12, 2e12]])
def test_nothing_credits_one_month_and_much_are_drawn(values: list[float]) -> None:
    for ax in (
        plot.mrr(schedule((None, values))),
        plot.mrr(schedule(("a", values), ("b", values))),
    ):
        low, high = draw(ax).get_ylim()
        assert low <= min(*values, 0) <= max(*values, 0) <= high
        assert low < high
    assert any(
        text.endswith(f"EUR, {len(values) + 2} customers")
        for text in texts(plot.mrr(schedule((None, values))))
    )


def test_without_currency_it_says_so() -> None:
    ax = draw(plot.mrr(schedule((None, [1.0]), currency=None)))
    assert ax.get_ylabel() == "(no currency)"
    assert "1.00, 3 customers" in texts(ax)


@pytest.mark.parametrize("at", range(0, len(WILD), 6))
def test_any_group_is_in_the_legend(at: int) -> None:
    names = WILD[at : at + 6]
    for stacked in (True, False):
        ax = draw(
            plot.mrr(schedule(*[(name, [1.0]) for name in [*names, "plain"]]), stacked=stacked)
        )
        legend = [text.get_text().strip() for text in ax.get_legend().get_texts()]
        assert {style.shown(name, 24) for name in names} <= {*legend}


def test_null_amounts_and_months_that_are_none_are_refused() -> None:
    with pytest.raises(ArgumentError, match="The column 'mrr' holds nulls"):
        plot.mrr(ONE.assign(mrr=[1.0, None, 2.0, 3.0]))
    with pytest.raises(ArgumentError, match="The column 'mrr' holds an infinite number"):
        plot.mrr(ONE.assign(mrr=np.inf))
    for months in (["2026-01"] * 4, [pd.Timestamp("2026-01-01"), None, None, None]):
        with pytest.raises(
            ArgumentError, match=r"The column 'month' .* must hold times without nulls"
        ):
            plot.mrr(ONE.assign(month=months))
    with pytest.raises(ArgumentError, match="The frame holds 121 months; more than 120"):
        plot.mrr(schedule((None, [1.0] * 121)))


def test_an_empty_frame_says_that_there_is_nothing() -> None:
    for by in (None, "Region"):
        assert "No MRR in these months." in texts(draw(plot.mrr(revenue_frame(SCHEDULE, by=by))))

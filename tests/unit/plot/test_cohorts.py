"""The heat map holds the cohorts' numbers, blank where they are immature, and can be read without
colour.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from pdframe import plot
from pdframe.errors import ArgumentError
from tests.helpers.charts import draw, texts
from tests.helpers.revenue_charts import COHORTS as COLUMNS
from tests.helpers.revenue_charts import cohorts, revenue_frame

TABLE = cohorts([1.0, 0.5, 2.25], [1.0, 0.96, None], [1.0, None, None])


def cells(ax: Axes) -> dict[tuple[int, int], str]:
    """The number in each cell, by cohort and age."""
    return {
        (round(text.get_position()[1]), round(text.get_position()[0])): text.get_text()
        for text in ax.texts
    }


def luminance(color: object) -> float:
    parts = np.array(to_rgb(color))
    return float(
        np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        @ [0.2126, 0.7152, 0.0722]
    )


def test_cells_hold_percent_of_the_first_mrr_and_immature_ones_are_blank() -> None:
    ax = draw(plot.retention_cohorts(TABLE))
    assert cells(ax) == {
        (0, 0): "100",
        (0, 1): "50",
        (0, 2): "225",
        (1, 0): "100",
        (1, 1): "96",
        (2, 0): "100",
    }
    shades = ax.collections[0].get_array()
    assert np.ma.getmaskarray(shades).tolist() == [
        [False] * 3,
        [False, False, True],
        [False, True, True],
    ]
    assert shades.compressed().tolist() == [1.0, 0.5, 2.25, 1.0, 0.96, 1.0]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [
        "2026-01 (10)",
        "2026-02 (10)",
        "2026-03 (10)",
    ]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2"]
    assert ax.yaxis_inverted()


def test_customers_are_counted_and_shaded_by_their_share() -> None:
    ax = draw(plot.retention_cohorts(TABLE, values="customers"))
    assert cells(ax) == {
        (0, 0): "10",
        (0, 1): "5",
        (0, 2): "10",
        (1, 0): "10",
        (1, 1): "10",
        (2, 0): "10",
    }
    assert ax.collections[0].get_array().compressed().tolist() == [1.0, 0.5, 1.0, 1.0, 1.0, 1.0]
    assert ax.get_title(loc="left") == "Active customers by cohort"


def test_shades_are_in_order_in_grey_and_numbers_stand_out() -> None:
    values = [1.0, *np.linspace(0, 1.6, 17)]
    ax = draw(plot.retention_cohorts(cohorts(values)))
    colors = ax.collections[0].get_facecolor()
    grey = [luminance(color[:3]) for color in colors[1:]]
    assert grey == sorted(grey, reverse=True)
    for text, color in zip(ax.texts, colors, strict=True):
        light, dark = sorted([luminance(text.get_color()), luminance(color[:3])], reverse=True)
        # No ink has more than 4.1 on the middle shades.
        assert (light + 0.05) / (dark + 0.05) >= 4


def test_a_mature_cell_without_value_is_a_dash() -> None:
    table = TABLE.assign(nrr=TABLE["nrr"].mask(TABLE["nrr"] == 0.5))
    ax = draw(plot.retention_cohorts(table))
    assert cells(ax)[0, 1] == "–"
    assert (1, 2) not in cells(ax)
    nobody = TABLE.assign(customers=TABLE["customers"].mask(TABLE["customers"].notna(), 0))
    draw(plot.retention_cohorts(nobody, values="customers"))


def test_ages_may_be_picked_and_rows_come_in_any_order() -> None:
    long = cohorts(*[[1.0 - age / 100 for age in range(12 - at)] for at in range(12)])
    ax = draw(plot.retention_cohorts(long[long["age"] % 3 == 0].sample(frac=1, random_state=1)))
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "3", "6", "9"]
    assert cells(ax)[0, 3] == "91"
    assert (11, 1) not in cells(ax)


def test_sixty_cohorts_have_numbers_that_do_not_overlap() -> None:
    long = cohorts(*[[1.0] * (60 - at) for at in range(60)])
    ax = draw(plot.retention_cohorts(long))
    first = sorted(
        (text.get_window_extent() for text in ax.texts if text.get_position()[1] == 0),
        key=lambda box: box.x0,
    )
    assert len(first) >= 10
    assert all(left.x1 <= right.x0 for left, right in pairwise(first))
    # All of a number lies on cells, never white on white beside them.
    cells_end = ax.transData.transform((-0.5, 0))[0]
    assert first[0].x0 >= cells_end
    with pytest.raises(ArgumentError, match="The frame holds 61 cohorts"):
        plot.retention_cohorts(cohorts(*[[1.0]] * 61))


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"values='mrr' must be 'nrr' or 'customers'"):
        plot.retention_cohorts(TABLE, values="mrr")
    with pytest.raises(ArgumentError, match=r"several currencies \(EUR, GBP\)"):
        plot.retention_cohorts(pd.concat([TABLE, TABLE.assign(currency="GBP")]))
    grouped = pd.concat([TABLE.assign(plan="a"), TABLE.assign(plan=None)])[["plan", *COLUMNS]]
    with pytest.raises(ArgumentError, match="several groups of 'plan'"):
        plot.retention_cohorts(grouped)
    with pytest.raises(ArgumentError, match="A cohort has an age twice"):
        plot.retention_cohorts(pd.concat([TABLE, TABLE]))


def test_one_cell_and_none() -> None:
    assert cells(draw(plot.retention_cohorts(cohorts([1.0])))) == {(0, 0): "100"}
    assert "No cohort begins in these months." in texts(
        draw(plot.retention_cohorts(revenue_frame(COLUMNS)))
    )

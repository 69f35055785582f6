"""Retention by cohort as a heat map: a row a month of the first MRR, a column an age in months."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from pdframe.errors import ArgumentError
from pdframe.plot import _months as months
from pdframe.plot import _style as style

_NEEDED = ("cohort", "currency", "age", "customers", "nrr")
_VALUES = ("nrr", "customers")
_MOST_COHORTS = 60
# Light to dark in one colour, so that the order of shades is that of the values in grey, too.
_SHADES = LinearSegmentedColormap.from_list(
    "light to dark", ["#f4f8fb", "#9cc6e0", "#3a8fc4", "#0b4f86"]
)
# Shades end here: otherwise one cohort that grew tenfold would make all others look alike.
_DARKEST = 1.5


@style.chart
def retention_cohorts(
    frame: pd.DataFrame, ax: Axes | None = None, *, values: str = "nrr", title: str | None = None
) -> Axes:
    """Draw how much of each cohort remains as it ages: a heat map with its numbers.

    Parameters
    ----------
    frame
        What `metrics.revenue_cohorts` returns, in one currency and of one group; at most 60 cohorts
        and 120 ages.
    ax
        Where to draw; None: a new figure of notebook width.
    values
        "nrr": MRR in percent of that at age 0. "customers": how many are active, shaded by their
        share of those at age 0.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        A row a cohort, the oldest at the top, with the customers of its first age in brackets; a
        column an age that the frame holds, so that `frame[frame["age"] % 3 == 0]` draws every
        third. Darker cells have more left; shades end at 150 %. Immature cells, of months after
        `as_of`, are blank; mature ones without a value have an en dash. Where columns are too
        narrow for numbers, every second, third ... has its tick and its numbers under each other.

    Raises
    ------
    ArgumentError
        A missing column, several currencies (keep one, or give the metric `rates`) or groups, a
        cell that is there twice, `values` is neither, or more than 60 cohorts or 120 ages.

    Examples
    --------
    >>> items, deals = account.deal_products(), account.deals()
    >>> lines = metrics.mrr_lines(items, deals, cancellations="Cancellation date")
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}  # one unit of each, in EUR
    >>> half_year = {"since": "2026-01-01", "until": "2026-07-01", "rates": rates}
    >>> ax = plot.retention_cohorts(metrics.revenue_cohorts(lines, **half_year))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['2026-01 (3)', '2026-02 (1)', '2026-03 (5)', '2026-04 (2)', '2026-05 (2)']
    """
    rows = style.require_columns(frame, _NEEDED, "revenue_cohorts")
    if values not in _VALUES:
        raise ArgumentError(f"values={values!r} must be 'nrr' or 'customers'.")
    group = months.one_group(rows, "cohort", "retention_cohorts")
    months.one_currency(rows, "pass metrics.revenue_cohorts `rates`")
    cohort, cohorts = pd.factorize(months.month_numbers(rows, "cohort"), sort=True)
    age, ages = pd.factorize(style.counts(rows, "age"), sort=True)
    style.refuse(
        len(cohorts),
        "cohorts",
        _MOST_COHORTS,
        "Keep the later ones, such as frame[frame['cohort'] >= '2024-01-01'].",
    )
    style.refuse(
        len(ages), "ages", months.MOST_MONTHS, "Keep some, such as frame[frame['age'] % 3 == 0]."
    )
    if pd.DataFrame({"cohort": cohort, "age": age}).duplicated().any():
        raise ArgumentError(
            "A cohort has an age twice. Pass the result of metrics.revenue_cohorts, with the"
            " columns of `by` before 'cohort'."
        )
    ax = style.axes(ax, height=1.3 + 0.27 * max(len(cohorts), 4))
    heading = (
        "Net revenue retention by cohort, in %" if values == "nrr" else "Active customers by cohort"
    )
    style.dress(
        ax,
        title or (f"{heading}: {group}" if group else heading),
        x="months since the first MRR",
        y="cohort (customers)",
    )
    if not len(rows):
        return style.empty(ax, "No cohort begins in these months.")

    def table(column: str) -> style.Floats:
        result = np.full((len(cohorts), len(ages)), np.nan)
        result[cohort, age] = style.numbers(rows, column)
        return result

    customers, nrr = table("customers"), table("nrr")
    begun = customers[:, :1]
    shares = np.divide(customers, begun, out=np.full(customers.shape, np.nan), where=begun > 0)
    names = [
        f"{months.month_name(int(number))} ({style.number(count)})"
        for number, count in zip(cohorts, begun[:, 0], strict=True)
    ]
    beside = max(style.width(name, style.normal()) for name in names) + 0.35 * style.unit()
    shade, value = (nrr, nrr) if values == "nrr" else (shares, customers)
    numbered = _cells(
        ax, shade, value, ~np.isnan(customers), style.inches(ax, beside), percent=values == "nrr"
    )
    ax.set_yticks(range(len(cohorts)), names, **style.PLAIN)
    ax.set_xticks(numbered, [f"{ages[at]:g}" for at in numbered])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def _cells(
    ax: Axes,
    shade: style.Floats,
    value: style.Floats,
    mature: Any,
    inches: float,
    *,
    percent: bool,
) -> list[int]:
    """Draw the cells and their numbers; return the columns that have numbers."""
    finite = shade[np.isfinite(shade)]
    low = float(min(finite.min(initial=1.0), 0.9))
    high = float(np.clip(finite.max(initial=1.0), 1.0, _DARKEST))
    mesh = ax.pcolormesh(
        np.arange(shade.shape[1] + 1) - 0.5,
        np.arange(shade.shape[0] + 1) - 0.5,
        np.ma.masked_invalid(np.where(mature, shade, np.nan)),
        cmap=_SHADES,
        vmin=low,
        vmax=high,
        edgecolors=style.pen(ax).paper,
        linewidth=0.6,
    )
    mesh.set_label("immature cells are blank")
    text = np.array([[_text_of(cell, percent) for cell in row] for row in value], dtype=object)
    size = style.small()
    widest = max((style.width(each, size) for each in {*text[mature]}), default=0.1)
    cell = inches / shade.shape[1]
    step = max(int(np.ceil((widest + 0.06) / cell)), 1)
    # A number that is wider than its cell stands amid the cells that it has.
    columns = list(range(step // 2, shade.shape[1], step)) or [0]
    for row, column in zip(*np.nonzero(mature), strict=True):
        if column not in columns or (
            step > 1 and not mature[row, min(column + 1, mature.shape[1] - 1)]
        ):
            continue
        ax.text(
            column,
            row,
            text[row, column],
            ha="center",
            va="center",
            fontsize=size,
            color=_ink((shade[row, column] - low) / (high - low), style.pen(ax).ink),
            **style.PLAIN,
        )
    ax.set_xlim(-0.5, shade.shape[1] - 0.5)
    ax.set_ylim(shade.shape[0] - 0.5, -0.5)
    return columns


def _ink(depth: float, blank: str) -> str:
    """White on dark shades; a null has no shade, and the ink of the page."""
    if np.isnan(depth):
        return blank
    return "white" if style.luminance(_SHADES(depth)) < 0.21 else style.DARK_INK


def _text_of(cell: float, percent: bool) -> str:
    if np.isnan(cell):
        return "–"
    return f"{100 * cell:,.0f}" if percent else style.number(cell)

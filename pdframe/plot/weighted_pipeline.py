"""The weighted pipeline: open deals by the period of their expected close, as bars."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.errors import ArgumentError
from pdframe.plot import _forecast_record as records
from pdframe.plot import _months as months
from pdframe.plot import _periods as calendar
from pdframe.plot import _style as style

_NEEDED = ("period", "currency", "deals", "value", "weighted", "when")
_USUAL = len(style.COLORS)
# The places of deals without a period, next to the periods.
_GAP = 1.5
_OUTSIDE = {"past": "overdue", "none": "no date"}


@style.chart
def weighted_pipeline(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    top: int | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the open deals by the period of their expected close: a pale bar of their value, filled
    to value x probability, stacked by group.

    Parameters
    ----------
    frame
        What `metrics.weighted_pipeline` returns, or some of its rows, with at most 120 periods;
        amounts in one currency.
    ax
        Where to draw; None: a new figure of notebook width.
    top
        How many groups to draw, the largest weighted first; all others are one part, "and 7 more".
        None: up to 12, and of more the largest 7.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        At the end of each filled part its weighted value, where there is room. Deals whose expected
        close has passed stand before the periods as "overdue", deals without one after them as "no
        date". The sentence under the title adds everything up; it counts the deals that are not
        drawn, because their values or probabilities at that time are unknown.

    Raises
    ------
    ArgumentError
        A missing column, several currencies (keep one, or give the metric `rates`), a row that is
        there twice, more than 120 periods, or `top` is no such number.

    Examples
    --------
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}  # one unit of each, in EUR
    >>> stages, pipelines = account.stages(), account.pipelines()
    >>> then = {"as_of": "2026-06-30", "history": account.deal_history(), "rates": rates}
    >>> table = metrics.weighted_pipeline(account.deals(), stages, pipelines, **then)
    >>> ax = plot.weighted_pipeline(table)
    >>> [label.get_text() for label in ax.get_xticklabels()][:2]
    ['overdue', 'no date']
    """
    rows = style.require_columns(frame, _NEEDED, "weighted_pipeline")
    by = style.groups(rows, "period")
    currency = months.one_currency(rows, "pass metrics.weighted_pipeline `rates`")
    deals = style.counts(rows, "deals")
    if rows.duplicated([*by, "period", "when"]).any():
        raise ArgumentError(calendar.TWICE.format(metric="weighted_pipeline"))
    amounts = style.numbers(rows, "value"), style.numbers(rows, "weighted")
    is_known = ~np.isnan(amounts[0]) & ~np.isnan(amounts[1])
    unknown = float(deals[~is_known].sum())
    rows, deals = rows[is_known].reset_index(drop=True), deals[is_known]
    value, weighted = months.money(rows, "value"), months.money(rows, "weighted")
    when = rows["when"].astype("str").to_numpy(object)
    is_dated = when == "dated"
    days = calendar.first_days(rows[is_dated])
    kind = calendar.periods(days, frame.attrs.get("freq"))
    number = kind.numbers(days) if len(days) else np.zeros(0, np.int64)
    first, last = (int(number.min()), int(number.max())) if len(number) else (0, -1)
    style.refuse(
        last - first + 1,
        "periods",
        months.MOST_MONTHS,
        "Keep the first ones, or pass metrics.weighted_pipeline a longer freq.",
    )
    rank, more = style.largest(rows, by, weighted, top, style.MOST_CURVES, _USUAL)
    ax = style.axes(ax, height=3.8)
    several = style.several_groups(rows, by)
    names = pd.Series(style.group_names(rows, by).to_numpy()).groupby(rank).first()
    shown = [str(name) for at, name in names.items() if at >= 0]  # type: ignore[operator]
    heading = f"Weighted pipeline by {kind.unit} of expected close"
    if several:
        heading = style.of_many(heading, by, len(shown), 0)
    elif by and shown:
        heading += f": {shown[0]}"
    style.dress(ax, title or heading)
    if not len(rows):
        why = "There are no open deals."
        if unknown:
            many = f"{style.number(unknown)} open deal{'s' if unknown != 1 else ''}"
            why = f"{many}, of unknown value or probability: pass history= to the metric."
        return style.empty(ax, why)
    outside = {
        "past": first - (_GAP if len(number) else 0.5),
        "none": last + (_GAP if len(number) else 0.5) + (0 if len(number) else 1),
    }
    outside = {name: at for name, at in outside.items() if (when == name).any()}
    places = np.array([*outside.values(), *range(first, last + 1)], np.float64)
    at = np.empty(len(rows))
    at[is_dated] = number
    for name, place in outside.items():
        at[when == name] = place
    column = np.searchsorted(np.sort(places), at)
    places = np.sort(places)
    table = np.zeros((len(shown) + 1, len(places)))
    np.add.at(table, (rank, column), weighted)
    total = np.bincount(column, value, minlength=len(places)).astype(np.float64)
    _draw(ax, places, total, table, shown if several else ["value x probability"], more)
    _name_places(ax, kind, (first, last), outside)
    months.money_axis(ax, min(total.min(), 0.0), max(total.max(), 0.0), currency)
    _write_sums(ax, places, table.sum(axis=0))
    style.legend_below(ax)
    count = int(deals.sum())
    parts = [
        f"{months.priced(weighted.sum(), currency or None)} weighted, of"
        f" {months.priced(value.sum(), currency or None)} in {count:,} open"
        f" deal{'s' if count != 1 else ''}"
    ]
    if unknown:
        parts.append(f"not drawn: {style.number(unknown)} with an unknown value or probability")
    records.write_sentence(ax, parts)
    return ax


def _draw(
    ax: Axes,
    places: style.Floats,
    total: style.Floats,
    table: style.Floats,
    names: list[str],
    more: int,
) -> None:
    pen = style.pen(ax)
    parts = list(zip(names, table, strict=False))
    colors = [style.fill(place, pen.paper) for place in range(len(parts))]
    if more:
        parts.append((f"and {more} more", table[-1]))
        colors.append(style.blend(style.GREY, pen.paper, 0.5))
    ax.bar(
        places,
        total,
        width=0.8,
        facecolor=style.blend(style.GREY, pen.paper, 0.18),
        edgecolor=pen.faint,
        linewidth=0.8,
        label="value of the deals",
        zorder=0.9,
    )
    months.stack(ax, places, parts, colors=colors)


def _name_places(
    ax: Axes, kind: calendar.Periods, span: tuple[int, int], outside: dict[str, float]
) -> None:
    """Name the places outside of time, and as many periods as there is room for beside them."""
    first, last = span
    every = [*outside.values(), *([first, last] if last >= first else [])]
    margin = 0.6 + max(4 - (max(every) - min(every)), 0) / 2
    low, high = min(every) - margin, max(every) + margin
    need = 0.78 * style.unit() * (1.25 if kind.unit == "week" else 1.0)
    room = style.inches(ax) / (high - low)
    step = next((step for step in (1, 2, 3, 4, 6, 12, 24) if step * room >= need), 48)
    named = [
        number
        for number in range(first, last + 1, step)
        if all(abs(number - place) * room >= need for place in outside.values())
    ]
    ax.set_xticks(
        [*outside.values(), *named],
        [*map(_OUTSIDE.__getitem__, outside), *map(kind.name, named)],
        **style.PLAIN,
    )
    ax.set_xlim(low, high)


def _write_sums(ax: Axes, places: style.Floats, sums: style.Floats) -> None:
    """Write the weighted value at the end of each filled part, where there is room."""
    most, span = float(np.abs(sums).max()), float(np.ptp(places)) + 1.2

    def texts(brief: bool) -> list[str]:
        return [months.amount(value, most, brief=brief) if value else "" for value in sums]

    for x, y, text in zip(places, sums, months.fitting(ax, span, texts) or (), strict=False):
        style.note(
            ax, float(x), float(y), text, ha="center", va="bottom", size=style.small(), shift=(0, 2)
        )


__all__ = ["weighted_pipeline"]

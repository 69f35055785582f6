"""A forecast of several groups: a bar from P10 to P90 for each group and period."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from pdframe.errors import ArgumentError
from pdframe.plot import _forecast_record as records
from pdframe.plot import _months as months
from pdframe.plot import _periods as calendar
from pdframe.plot import _style as style

_USUAL = 12
# Of one group there can be as many periods as rows can be read; of several, half of them.
_MOST_PERIODS = style.MOST_ROWS // 2
# Of the width, for bars at least.
_LEAST = 0.4


def draw(
    ax: Axes | None,
    rows: pd.DataFrame,
    by: list[Any],
    amounts: dict[str, style.Floats],
    currency: str,
    record: pd.DataFrame | None,
    draws: pd.DataFrame | None,
    top: int | None,
    title: str | None,
    freq: str | None,
) -> Axes:
    """Draw the groups with the most expected revenue, all of them in each period."""
    days = calendar.first_days(rows)
    kind = calendar.periods(days, freq)
    number = kind.numbers(days)
    if rows.assign(period=number).duplicated([*by, "period"]).any():
        raise ArgumentError(calendar.TWICE.format(metric="forecast"))
    periods = np.unique(number)
    style.refuse(
        len(periods),
        "periods of several groups",
        _MOST_PERIODS,
        "Keep some, draw one group, or forecast by quarter or year (freq=).",
    )
    most = style.MOST_ROWS // len(periods)
    rank, more = style.largest(rows, by, amounts["mean"], top, most, min(_USUAL, most))
    names = style.group_names(rows, by)
    drawn = _by_period(number, rank, names, amounts["mean"])
    several = len(periods) > 1
    shown = [kind.name(int(number[at])) if several else str(names.iloc[at]) for at in drawn]
    labels = style.row_names(shown, names.iloc[drawn] if several else None)
    ax = style.axes(ax, height=1.4 + max(len(drawn), 2) * 0.32 + 0.3 * len(periods) * several)
    heading = f"Won revenue, {records.span(kind, number)}"
    count = len(np.unique(rank[rank >= 0]))
    style.dress(
        ax, title or style.of_many(heading, by, count, more), beside=labels.beside
    )  # fmt: skip
    y = np.arange(len(drawn), dtype=np.float64)
    if several:
        # With room for the name of the period above its first group.
        y = y * 0.8 + np.searchsorted(periods, number[drawn]) + 0.8
    _bars(ax, y, {name: values[drawn] for name, values in amounts.items()}, currency, labels)
    parts = _all_together(rows, by, amounts["mean"], currency, draws)
    parts += _hits(rows, by, record, freq, kind)
    records.write_sentence(ax, parts, labels.beside)
    return ax


def _by_period(
    number: months.Places, rank: months.Places, names: pd.Series[Any], mean: style.Floats
) -> months.Places:
    """Return the rows to draw: by period, and in each the groups in one order, by expectation."""
    total = pd.Series(mean).groupby(names.to_numpy()).transform("sum").to_numpy(np.float64)
    code = pd.factorize(names)[0]
    order = np.lexsort((code, -total, number))
    return np.asarray(order[rank[order] >= 0], dtype=np.int64)


def _bars(
    ax: Axes,
    y: style.Floats,
    amounts: dict[str, style.Floats],
    currency: str,
    labels: style.RowNames,
) -> None:
    pen = style.pen(ax)
    color = style.SKY if pen.is_dark else style.BLUE
    low, high, middle, won = (amounts[name] for name in ("p10", "p90", "p50", "won_already"))
    ax.barh(y, high - low, left=low, height=0.5, color=color, alpha=0.35, linewidth=0,
            label="8 of 10 outcomes (P10 to P90)")  # fmt: skip
    if won.any():
        ax.barh(
            y, won, height=0.18, color=style.GREEN, linewidth=0, label="won already", zorder=2.5
        )  # fmt: skip
    ax.vlines(middle, y - 0.29, y + 0.29, color=color, linewidth=2.5, zorder=3)
    texts = []
    for p10, p50, p90, already in zip(low, middle, high, won, strict=True):
        text = f"{months.priced(p50, currency or None)} ({months.short(p10)}–{months.short(p90)})"
        texts.append(f"{text}, {months.short(already)} won" if already else text)
    inches, size = style.inches(ax, labels.beside), style.small()
    after = [style.fitted(text, (1 - _LEAST) * inches, size, 80) for text in texts]
    need = max(style.width(text, size) for text in after) + 0.2 * style.unit()
    share = max(1 - need / inches, _LEAST)
    first = min(0.0, float(low.min()), float(won.min()))
    last = max(0.0, float(high.max()), float(won.max()))
    for at, text in enumerate(after):
        place = max(float(high[at]), float(won[at]), 0.0)
        style.note(ax, place, y[at], text, size=size, shift=(5, 0))
    style.name_rows(ax, labels, y)
    ax.set_xlim(first, first + ((last - first) or 1.0) / share)
    ax.set_ylim(float(y[-1]) + 0.6, min(float(y[0]), 0.0) - 0.6)
    # Each bar has its numbers beside it.
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    ax.axvline(0, color=pen.faint, linewidth=0.8)
    handles = ax.get_legend_handles_labels()[0]
    mark = Line2D([], [], color=color, marker="|", linestyle="none", markersize=9,
                  markeredgewidth=2.5, label="middle (P50)")  # fmt: skip
    style.legend_below(ax, [*handles, mark], beside=labels.beside)


def _all_together(
    rows: pd.DataFrame,
    by: list[Any],
    mean: style.Floats,
    currency: str,
    draws: pd.DataFrame | None,
) -> list[str]:
    """Return the total of all groups and periods: percentiles from the draws, which add up, else
    the expectation, which does so too, and then what the figure beside each bar is.
    """
    count = len(rows[by].drop_duplicates())
    total = records.together(draws, rows)
    if total is not None:
        return [f"{count:,} groups together: {records.middle_and_range(total, currency)}"]
    unit = f" {currency}" if currency else ""
    return [
        f"{count:,} groups together: {months.short(float(mean.sum()))}{unit} expected (mean)",
        "beside each bar: its own middle (P50) and range",
    ]


def _hits(
    rows: pd.DataFrame,
    by: list[Any],
    record: pd.DataFrame | None,
    freq: str | None,
    kind: calendar.Periods,
) -> list[str]:
    """Return how many of the last actuals of these groups fell inside their range, as it was
    forecast before their period began.
    """
    if record is None:
        return []
    if isinstance(record, pd.DataFrame) and not {"by", "group"} <= {*record.columns}:
        raise ArgumentError(
            "record has no groups, and the forecast has several. Pass account.track_record(), or"
            " draw one group."
        )
    hits = total = 0
    for _, group in rows.groupby(by, dropna=False, observed=True, sort=False):
        own = group.reset_index(drop=True)
        past = records.past_forecasts(record, own, freq)
        first = calendar.first_days(own).min()
        past = records.last_forecasts(past[past["period"] < first].reset_index(drop=True), kind)
        past = past[~past["late"].to_numpy(np.bool_)]
        hits, total = hits + int(records.inside(past).sum()), total + len(past)
    return [f"{hits:,} of the last {total:,} actuals fell inside 80 %"] if total else []

"""The funnel as bars: how many deals of a cohort reached each stage, and what happened to those
that did not advance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.plot import _forecast_record as records
from pdframe.plot import _style as style

# State, its name, its colour; None: the page.
_STATES = (
    ("advanced", "advanced", style.BLUE),
    ("lost", "lost there", "#e38a63"),
    ("left", "left the pipeline", "#b5b5b5"),
    ("open", "still open", None),
)
_NEEDED = (
    "stage_id",
    "stage",
    "reached",
    "advanced",
    "lost",
    "left",
    "open",
    "conversion",
    "low",
    "high",
    "horizon_days",
    "share_reached",
)
# Bars take this share of the width at least, and at most.
_LEAST, _MOST = 0.3, 0.66


@style.chart
def funnel(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    top: int | None = None,
    title: str | None = None,
) -> Axes:
    """Draw a funnel: one bar per stage, from the left: advanced, lost there, left the pipeline,
    still open.

    Parameters
    ----------
    frame
        What `metrics.funnel` returns. With groups, each stage has one bar per group.
    ax
        Where to draw; None: a new figure of notebook width.
    top
        How many groups to draw, those with the most deals first. None: as many as can be read, 36
        bars in all. The title says how many more there are.
    title
        None: how many deals it is about.

    Returns
    -------
    Axes
        Widths are deals. After each bar: deals that reached the stage, and their share of the first
        stage's (`share_reached`). At the right: `conversion`, the probability to advance within the
        horizon, with its 95 % interval. It counts open deals as not yet known, so that it is not
        the blue part of the bar; an en dash where it is null. The horizon is in the heading where
        all rows share one (`metrics.funnel(..., horizon="common")` or a length), else in each row.
        A sentence under the title says where the metric warned that the cohort is uncertain.

    Raises
    ------
    ArgumentError
        A missing column, more than 36 stages, or `top` is no number of groups that can be read.

    Examples
    --------
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> funnel = metrics.funnel(visits, stages, as_of="2026-06-30", pipeline_id=2)
    >>> ax = plot.funnel(funnel)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['Qualified', 'Discovery', 'Demo', 'Proposal', 'Negotiation', 'won']
    """
    rows = style.require_columns(frame, _NEEDED, "funnel")
    by = style.groups(rows, "stage_id")
    group = style.group_names(rows, by)
    several = style.several_groups(rows, by)
    stages = len(rows[["stage_id", "stage"]].drop_duplicates())
    style.refuse(stages, "stages", style.MOST_ROWS, "Keep some of them.")
    reached = style.counts(rows, "reached")
    # A deal counts once: at the first stage of its group, not again at each that it reached.
    is_first = ~rows.duplicated([*by] or None).to_numpy()
    deals = np.where(is_first, reached, 0.0)
    rank, more = style.largest(rows, by, deals, top, style.MOST_ROWS // max(stages, 1))
    heading = _title(rows, group, several, by, int(rank.max(initial=0)) + 1, more)
    if several:
        rows, group = style.by_stage(rows, group, rank)
        # One of several groups is named, too.
        reached = style.counts(rows, "reached")
    widths = {name: style.counts(rows, name) for name, *_ in _STATES}
    y = style.places(rows, several)
    names = style.row_names(style.stage_names(rows), group if several else None)
    ax = style.axes(ax, height=1.5 + (y[-1] + 1 if len(y) else 2) * 0.42)
    style.dress(ax, title or heading, x="deals", beside=names.beside)
    if not reached.any():
        return style.empty(ax, "No deals in this cohort.")
    inches = style.inches(ax, names.beside)
    texts = _texts(rows, reached, inches)
    longest, share = reached.max(), texts.share
    _bars(ax, y, widths, longest / (inches * share))
    _annotate(ax, texts, y, reached)
    style.name_rows(ax, names, y)
    ax.set_xlim(0, longest / share)
    ax.set_ylim(y[-1] + 0.7, -1.0)
    style.ticks(ax, longest, inches * share)
    style.legend_below(ax, beside=names.beside)
    _mark_uncertain(ax, frame.attrs.get("uncertain"), names.beside)
    return ax


def _mark_uncertain(ax: Axes, deals: object, beside: float) -> None:
    """Say under the title that the cohort is uncertain, if it is."""
    if not isinstance(deals, int) or isinstance(deals, bool) or deals < 1:
        return
    count = f"{style.number(deals)} deal{'s have' if deals > 1 else ' has'}"
    text = f"uncertain: {count} no changelog, so the window may hold others"
    records.write_sentence(
        ax, [style.fitted(text, 0.98 * style.inches(ax, beside), style.normal(), 90)], beside
    )


def _title(
    rows: pd.DataFrame, group: pd.Series[Any], several: bool, by: list[Any], drawn: int, more: int
) -> str:
    first = rows.groupby(group, sort=False)["reached"].first()
    deals = style.number(float(style.numbers(first.to_frame(), "reached").sum()))
    title = f"Funnel: {deals} deals" if deals != "1" else "Funnel: one deal"
    if several:
        return style.of_many(title, by, drawn, more)
    return f"{title}, {group.iloc[0]}" if by and len(rows) else title


def _bars(ax: Axes, y: style.Floats, widths: dict[str, style.Floats], inch: float) -> None:
    """Draw the segments; `inch` is how many deals are an inch wide."""
    start, pen = np.zeros(len(y)), style.pen(ax)
    for name, label, own in _STATES:
        width, color = widths[name], own or pen.paper
        bars = ax.barh(
            y,
            width,
            left=start,
            height=0.66,
            color=color,
            edgecolor=pen.paper if own else pen.faint,
            linewidth=0.8,
            label=label,
        )
        for bar in bars:
            if not bar.get_width():
                # The edge of nothing is a line all the same.
                bar.set_linewidth(0)
        for at, count in enumerate(width):
            text = style.number(count)
            if width[at] >= inch * (style.width(text, style.small()) + 0.06):
                style.note(
                    ax,
                    start[at] + width[at] / 2,
                    y[at],
                    text,
                    ha="center",
                    size=style.small(),
                    color=style.readable(color),
                )
        start = start + width


class _Texts:
    """What is written next to the bars, as long as there is room for it."""

    def __init__(self, reached: list[str], rates: list[str], heading: str, inches: float) -> None:
        self.reached, self.rates, self.heading = reached, rates, heading
        size, gap = style.normal(), 0.18 * style.unit()
        right = [style.width(text, size) for text in rates]
        left = max((style.width(text, size) for text in reached), default=0.0)
        # The heading is over the bars' end, where nothing is.
        need = left + max([*right, style.width(heading, style.small()) - left]) + 2 * gap
        self.share = min(1 - need / max(inches, 0.1), _MOST)


def _texts(rows: pd.DataFrame, reached: style.Floats, inches: float) -> _Texts:
    """Return the longest texts with which bars keep their least share."""
    share, conversion, low, high, within = (
        style.numbers(rows, name)
        for name in ("share_reached", "conversion", "low", "high", "horizon_days")
    )
    # The row of wins is the end: nothing follows it.
    last = rows["stage_id"].isna().to_numpy()
    horizons = {style.days(length) for length in within[~last & ~np.isnan(within)]}
    one = f" in {next(iter(horizons))}" if len(horizons) == 1 else ""
    texts = [
        f"{style.number(count)}  {style.percent(part)}"
        for count, part in zip(reached, share, strict=True)
    ]

    def rate(at: int, detail: int) -> str:
        if last[at] or not detail:
            return ""
        text = style.percent(conversion[at])
        if np.isnan(conversion[at]):
            return text
        limits = style.interval(low[at], high[at]) if detail > 2 else ""
        length = f"in {style.days(within[at])}" if detail > 1 and not one else ""
        return " ".join(filter(None, (text, limits, length)))

    for detail, heading in (
        (3, f"conversion{one} (95 % CI)"),
        (2, f"conversion{one}"),
        (1, "conversion"),
        (0, ""),
    ):
        result = _Texts(texts, [rate(at, detail) for at in range(len(rows))], heading, inches)
        if result.share >= _LEAST:
            return result
    result.share = max(result.share, _LEAST)
    return result


def _annotate(ax: Axes, texts: _Texts, y: style.Floats, reached: style.Floats) -> None:
    """Write the share that reached each stage after its bar, and the probability to advance at the
    right.
    """
    right = ax.get_yaxis_transform()
    for at in range(len(y)):
        style.note(ax, reached[at], y[at], texts.reached[at], shift=(5, 0))
        if texts.rates[at]:
            style.note(ax, 1.0, y[at], texts.rates[at], at=right, ha="right")
    if texts.heading:
        style.note(
            ax,
            1.0,
            -0.75,
            texts.heading,
            at=right,
            ha="right",
            size=style.small(),
            color=style.pen(ax).faint,
        )

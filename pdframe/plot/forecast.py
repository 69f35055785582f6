"""The forecast of won revenue: what is won already, the range of what it may become, and how past
forecasts compare with what happened.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.errors import ArgumentError
from pdframe.plot import _forecast_groups as groups
from pdframe.plot import _forecast_record as records
from pdframe.plot import _months as months
from pdframe.plot import _periods as calendar
from pdframe.plot import _style as style

_NEEDED = ("period", "currency", "won_already", "mean", "p10", "p50", "p90")
_MOST_PERIODS = 120


@style.chart
def forecast(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    record: pd.DataFrame | None = None,
    draws: pd.DataFrame | None = None,
    top: int | None = None,
    title: str | None = None,
) -> Axes:
    """Draw a forecast by period: a band of what may be won, and what is won already as a step; of
    several groups a bar each.

    Parameters
    ----------
    frame
        What `metrics.forecast` returns, in one currency; of one group at most 120 periods, of
        several (`by=`) at most 18.
    ax
        Where to draw; None: a new figure of notebook width.
    record
        Earlier forecasts with what happened: `account.track_record()`, of which those of the same
        group and length of periods are taken, or the totals of `metrics.backtest` of one method.
        Its last 12 periods with an actual are drawn before the forecast, each as it was last
        forecast before it began; paler where it was forecast after its beginning alone. None: no
        past.
    draws
        What `metrics.forecast_draws` returns for the same periods and groups: then the sentence is
        about all periods and groups together. None: it is about the first period, or of several
        groups about the sum of their means, since percentiles cannot be added.
    top
        How many of several groups to draw, those with the largest mean; the title says how many
        more there are. None: all, where 36 rows are enough for them in all periods; of more, the
        largest 12 or fewer.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        Under the title a sentence: the middle (P50), the range of eight in ten outcomes (P10 to
        P90), and how many of the past actuals fell inside what was forecast of them before their
        period began. The band is that range by period; the
        dark step in it is P50, the filled step what is won already. Actuals of the past are full
        where they fell inside the range that was forecast, crosses where they did not.

        Several groups have a bar each from P10 to P90, by period, with a line at P50 and a bar of
        what is won already; after it these figures. Of a record the sentence says how many actuals
        of the last 12 periods of each group fell inside, of those forecast before they began.

    Raises
    ------
    ArgumentError
        A missing column, several currencies (keep one, or give the metric `rates`), a period that
        is there twice, null amounts, too many periods, `draws` of other periods or groups, or `top`
        is no number from 1 to 36.

    Examples
    --------
    >>> frames = account.deals(deleted=True), account.stage_visits(), account.stages()
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}  # one unit of each, in EUR
    >>> coming = {"as_of": "2026-06-30", "until": "2026-Q3", "rates": rates}
    >>> ax = plot.forecast(metrics.forecast(*frames, **coming))
    >>> sorted(label.get_text() for label in ax.get_xticklabels())
    ['2026-07', '2026-08', '2026-09']
    """
    rows = style.require_columns(frame, _NEEDED, "forecast")
    by, freq = style.groups(rows, "period"), frame.attrs.get("freq")
    currency = months.one_currency(rows, "pass metrics.forecast `rates`")
    amounts = {name: months.money(rows, name) for name in _NEEDED[2:]}
    if top is not None:
        style.check_top(top, style.MOST_ROWS)
    if style.several_groups(rows, by):
        return groups.draw(ax, rows, by, amounts, currency, record, draws, top, title, freq)
    group = months.one_group(rows, "period", "forecast")
    days = calendar.first_days(rows)
    past = records.past_forecasts(record, rows, freq)
    earlier = past["period"][past["period"] < days.min()] if len(days) else past["period"]
    every = pd.concat([earlier, days], ignore_index=True)
    kind = calendar.periods(every, freq)
    past = records.last_forecasts(past[past["period"].isin(earlier)], kind)
    number = kind.numbers(days)
    if len(np.unique(number)) < len(number):
        raise ArgumentError(calendar.TWICE.format(metric="forecast"))
    style.refuse(
        int(np.ptp(number)) + 1 if len(number) else 0,
        "periods",
        _MOST_PERIODS,
        "Keep some, or forecast by quarter or year (freq=).",
    )
    order = np.argsort(number)
    number, amounts = number[order], {name: values[order] for name, values in amounts.items()}
    ax = style.axes(ax, height=4.0)
    heading = "Won revenue"
    if len(number):
        heading += f", {records.span(kind, number)}"
    style.dress(ax, title or (f"{heading}: {group}" if group else heading))
    if not len(number):
        return style.empty(ax, "Nothing is forecast.")
    _band(ax, number, amounts)
    _actuals(ax, kind, past)
    shown = np.concatenate([kind.numbers(past["period"]), number])
    calendar.axis(ax, kind, shown)
    values = [
        *amounts.values(),
        *(past[name].to_numpy(np.float64) for name in records.OF_RECORD[1:]),
    ]
    low = min(float(part.min()) for part in values if len(part))
    high = max(float(part.max()) for part in values if len(part))
    months.money_axis(ax, min(low, 0.0), max(high, 0.0), currency)
    style.legend_below(ax)
    total = records.together(draws, rows)
    records.write_sentence(ax, _sentence(kind, number, amounts, currency, past, total))
    return ax


def _band(ax: Axes, number: months.Places, amounts: dict[str, style.Floats]) -> None:
    pen = style.pen(ax)
    color = style.SKY if pen.is_dark else style.BLUE
    # Each period is a step of its own width; runs of periods are drawn as one.
    for run in np.split(np.arange(len(number)), np.flatnonzero(np.diff(number) > 1) + 1):
        edges = np.append(number[run] - 0.5, number[run[-1]] + 0.5)
        is_first = run[0] == 0

        def ends(name: str, run: Any = run) -> style.Floats:
            return np.append(amounts[name][run], amounts[name][run[-1]])

        ax.fill_between(
            edges,
            ends("p10"),
            ends("p90"),
            step="post",
            facecolor=color,
            alpha=0.35,
            linewidth=0,
            label="8 of 10 outcomes (P10 to P90)" if is_first else "_",
            zorder=2,
        )
        if amounts["won_already"].any():
            ax.fill_between(
                edges,
                0,
                ends("won_already"),
                step="post",
                facecolor=style.GREEN,
                alpha=0.85,
                linewidth=0,
                label="won already" if is_first else "_",
                zorder=2.2,
            )
            ax.plot(
                edges,
                ends("won_already"),
                drawstyle="steps-post",
                color=style.GREEN,
                linewidth=1.2,
                label="_won",
                zorder=2.3,
            )
        ax.plot(
            edges,
            ends("p50"),
            drawstyle="steps-post",
            color=color,
            linewidth=2.0,
            label="middle (P50)" if is_first else "_",
            zorder=3,
        )
        inner = edges[1:-1]
        lows, highs = (
            choose(amounts[name][run][:-1], amounts[name][run][1:])
            for choose, name in ((np.minimum, "p10"), (np.maximum, "p90"))
        )
        ax.vlines(inner, lows, highs, color=pen.paper, linewidth=1.5, zorder=2.1)


def _actuals(ax: Axes, kind: calendar.Periods, past: pd.DataFrame) -> None:
    """Draw each past period: a pale bar for the range that was forecast, a mark for the actual."""
    if not len(past):
        return
    pen, x = style.pen(ax), kind.numbers(past["period"])
    low, high, actual = (past[name].to_numpy(np.float64) for name in ("p10", "p90", "actual"))
    late = past["late"].to_numpy(np.bool_)
    for which, alpha, name in (
        (~late, 0.3, "as it was forecast"),
        (late, 0.15, "as it was forecast after it began"),
    ):
        if which.any():
            ax.bar(
                x[which],
                (high - low)[which],
                bottom=low[which],
                width=0.5,
                facecolor=pen.faint,
                alpha=alpha,
                linewidth=0,
                label=name,
                zorder=2,
            )
    inside = records.inside(past)
    for which, marker, color, name in (
        (inside, "o", pen.ink, "actual"),
        (~inside, "X", style.RED, "actual, outside"),
    ):
        if which.any():
            ax.plot(
                x[which],
                actual[which],
                marker=marker,
                linestyle="none",
                color=color,
                markeredgecolor=pen.paper,
                markeredgewidth=0.7,
                markersize=7.5 if marker == "X" else 6.5,
                label=name,
                zorder=4,
            )


def _sentence(
    kind: calendar.Periods,
    number: months.Places,
    amounts: dict[str, style.Floats],
    currency: str,
    past: pd.DataFrame,
    total: records.Quantiles | None,
) -> list[str]:
    """Return the parts of the sentence under the title."""
    p10, p50, p90 = (float(amounts[name][0]) for name in ("p10", "p50", "p90"))
    periods = records.span(kind, number if total else number[:1])
    text = records.middle_and_range(total or (p10, p50, p90), currency)
    parts = [f"{periods}: {text}" if len(number) > 1 else text]
    record = records.hits(past, kind, int(number[0]))
    if record is not None:
        parts.append(record)
    return parts

"""The forecast of won revenue: what is won already, the range of what it may become, and how past
forecasts compare with what happened.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.errors import ArgumentError
from pdframe.plot import _months as months
from pdframe.plot import _periods as calendar
from pdframe.plot import _style as style

_NEEDED = ("period", "currency", "won_already", "mean", "p10", "p50", "p90")
_OF_RECORD = ("period", "p10", "p50", "p90", "actual")
_LATEST = 12
_MOST_PERIODS = 120


@style.chart
def forecast(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    record: pd.DataFrame | None = None,
    draws: pd.DataFrame | None = None,
    title: str | None = None,
) -> Axes:
    """Draw a forecast by period: a band of what may be won, and what is won already as a step.

    Parameters
    ----------
    frame
        What `metrics.forecast` returns, in one currency and of one group; at most 120 periods.
    ax
        Where to draw; None: a new figure of notebook width.
    record
        Earlier forecasts with what happened: `account.track_record()`, of which those of the same
        group and length of periods are taken, or the totals of `metrics.backtest` of one method.
        Its last 12 periods with an actual are drawn before the forecast, each as it was last
        forecast before it began. None: no past.
    draws
        What `metrics.forecast_draws` returns for the same periods: then the sentence is about all
        periods together. None: it is about the first one, since percentiles cannot be added.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        Under the title a sentence: the middle (P50), the range of eight in ten outcomes (P10 to
        P90), and how many of the past actuals fell inside. The band is that range by period; the
        dark step in it is P50, the filled step what is won already. Actuals of the past are full
        where they fell inside the range that was forecast, crosses where they did not.

    Raises
    ------
    ArgumentError
        A missing column, several currencies (keep one, or give the metric `rates`) or groups, a
        period that is there twice, null amounts, or more than 120 periods.

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
    group = months.one_group(rows, "period", "forecast")
    currency = months.one_currency(rows, "pass metrics.forecast `rates`")
    amounts = {name: months.money(rows, name) for name in _NEEDED[2:]}
    days = calendar.first_days(rows)
    past = _past(record, currency, rows, frame.attrs.get("freq"))
    earlier = past["period"][past["period"] < days.min()] if len(days) else past["period"]
    every = pd.concat([earlier, days], ignore_index=True)
    kind = calendar.periods(every, frame.attrs.get("freq"))
    past = _last_forecasts(past[past["period"].isin(earlier)], kind)
    number = kind.numbers(days)
    if len(np.unique(number)) < len(number):
        raise ArgumentError(
            "A period occurs twice. Pass the result of metrics.forecast, with the columns of `by`"
            " before 'period'."
        )
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
        heading += f", {_span(kind, number)}"
    style.dress(ax, title or (f"{heading}: {group}" if group else heading))
    if not len(number):
        return style.empty(ax, "Nothing is forecast.")
    _band(ax, number, amounts)
    _actuals(ax, kind, past)
    shown = np.concatenate([kind.numbers(past["period"]), number])
    calendar.axis(ax, kind, shown)
    values = [*amounts.values(), *(past[name].to_numpy(np.float64) for name in _OF_RECORD[1:])]
    low = min(float(part.min()) for part in values if len(part))
    high = max(float(part.max()) for part in values if len(part))
    months.money_axis(ax, min(low, 0.0), max(high, 0.0), currency)
    style.legend_below(ax)
    _sentence(ax, kind, number, amounts, currency, past, _together(draws, group, frame))
    return ax


def _past(
    record: pd.DataFrame | None, currency: str, frame: pd.DataFrame, freq: str | None
) -> pd.DataFrame:
    """Return the forecasts of `record` that have an actual: in the currency of the forecast, and
    where the record names groups and lengths of periods, of the same.
    """
    if record is None:
        return (
            pd.DataFrame({"period": pd.Series([], dtype="datetime64[us]")})
            .reindex(columns=[*_OF_RECORD, "at"])
            .astype({name: "float64" for name in _OF_RECORD[1:]})
        )
    rows = style.require_columns(record, _OF_RECORD, "backtest")
    if "currency" in rows:
        rows = rows[rows["currency"].astype("str") == currency] if currency else rows
    if "freq" in rows and freq is not None:
        rows = rows[rows["freq"].astype("str") == freq]
    if {"by", "group"} <= set(rows.columns):
        rows = rows[_same_group(rows, frame)]
    if "method" in rows and len(rows["method"].unique()) > 1:
        raise ArgumentError(
            "record holds several methods. Keep one, such as record[record['method'] == 'hazard']."
        )
    rows = rows[rows["period"].notna() & rows["actual"].notna()].reset_index(drop=True)
    at = next((rows[name] for name in ("as_of", "cutoff") if name in rows), None)
    result = pd.DataFrame({"period": calendar.first_days(rows)})
    for name in _OF_RECORD[1:]:
        result[name] = style.numbers(rows, name)
    if at is None:
        result["at"] = pd.NaT
    else:
        result["at"] = at.dt.tz_localize(None) if getattr(at.dtype, "tz", None) else at
    return result.dropna(subset=["p10", "p90"])


def _same_group(record: pd.DataFrame, frame: pd.DataFrame) -> Any:
    """Return which rows of a record are of the group of a forecast."""
    by = style.groups(frame, "period")
    if not by or not len(frame):
        return record["by"].isna().to_numpy()
    values = [frame[name].iloc[0] for name in by]
    group = ", ".join("(none)" if pd.isna(value) else str(value) for value in values)
    return ((record["by"] == ", ".join(by)) & (record["group"] == group)).to_numpy(np.bool_)


def _last_forecasts(past: pd.DataFrame, kind: calendar.Periods) -> pd.DataFrame:
    """Return one row a period: the last forecast before it began, else the first one after."""
    if not len(past):
        return past
    # A forecast of the evening before the first is before it in every zone by this much.
    late = (past["at"] - past["period"]).dt.total_seconds().fillna(0.0) - 14 * 3600
    rank = np.where(late > 0, late, -1e12 - late)
    ordered = past.assign(rank=rank).sort_values(["period", "rank"], kind="stable")
    return ordered.drop_duplicates("period").tail(_LATEST).reset_index(drop=True)


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
    ax.bar(
        x,
        high - low,
        bottom=low,
        width=0.5,
        facecolor=pen.faint,
        alpha=0.3,
        linewidth=0,
        label="as it was forecast",
        zorder=2,
    )
    inside = (low <= actual) & (actual <= high)
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


def _together(draws: pd.DataFrame | None, group: str, frame: pd.DataFrame) -> style.Floats | None:
    """Return the total of all periods in each draw; None without draws."""
    if draws is None:
        return None
    rows = style.require_columns(draws, ("period", "draw", "total"), "forecast_draws")
    if not len(rows):
        raise ArgumentError("draws has no rows. Pass the frame of metrics.forecast_draws.")
    if set(rows["period"]) != set(frame["period"]):
        raise ArgumentError(
            "draws has other periods than the forecast. Pass forecast_draws of the same as_of,"
            " until and freq."
        )
    total = pd.Series(months.money(rows, "total")).groupby(rows["draw"].to_numpy()).sum()
    return np.asarray(total.to_numpy(np.float64))


def _sentence(
    ax: Axes,
    kind: calendar.Periods,
    number: months.Places,
    amounts: dict[str, style.Floats],
    currency: str,
    past: pd.DataFrame,
    together: style.Floats | None,
) -> None:
    """Write the sentence under the title."""
    if together is not None:
        # As the metric takes them from the draws.
        p10, p50, p90 = np.quantile(together, [0.1, 0.5, 0.9], method="inverted_cdf")
        span = f"{_span(kind, number)}: " if len(number) > 1 else ""
    else:
        p10, p50, p90 = (float(amounts[name][0]) for name in ("p10", "p50", "p90"))
        span = f"{kind.name(int(number[0]))}: " if len(number) > 1 else ""
    unit = f" {currency}" if currency else ""
    parts = [
        f"{span}P50 {months.short(p50)}{unit} (P10 {months.short(p10)}, P90 {months.short(p90)})"
    ]
    if len(past):
        low, high, actual = (past[name].to_numpy(np.float64) for name in ("p10", "p90", "actual"))
        inside = int(((low <= actual) & (actual <= high)).sum())
        parts.append(
            f"in the last {len(past)} {kind.unit}s {inside} of {len(past)} actuals fell inside 80 %"
            if len(past) > 1
            else f"the last actual fell {'inside' if inside else 'outside'} 80 %"
        )
    # A line where there is room for one, else two.
    text, lines = "; ".join(parts), 1
    if style.width(text, style.normal()) > 0.98 * style.inches(ax):
        text, lines = ";\n".join(parts), len(parts)
    style.note(ax, 0, 1, text, at=ax.transAxes, va="bottom", shift=(0, 5))
    ax.set_title(
        ax.get_title(loc="left"),
        loc="left",
        pad=(8 + 13 * lines) * style.unit(),
        fontsize=style.large(),
        color=style.pen(ax).ink,
        **style.PLAIN,
    )


def _span(kind: calendar.Periods, number: months.Places) -> str:
    first, last = kind.name(int(number[0])), kind.name(int(number[-1]))
    return first if first == last else f"{first} to {last}"

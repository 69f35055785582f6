"""Sales by period as bars, and the leaderboard of a period."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pdframe.errors import ArgumentError
from pdframe.plot import _months as months
from pdframe.plot import _periods as periods
from pdframe.plot import _style as style
from pdframe.plot._ranking import ranking

Measure: TypeAlias = Literal[
    "won_value",
    "won",
    "lost_value",
    "lost",
    "created_value",
    "created",
    "open_value_at_end",
    "open_at_end",
]
_MEASURES: tuple[str, ...] = get_args(Measure)
_WORDS = {
    "won_value": "Won",
    "won": "Deals won",
    "lost_value": "Lost",
    "lost": "Deals lost",
    "created_value": "Value of new deals",
    "created": "New deals",
    "open_value_at_end": "Open at the end",
    "open_at_end": "Deals open at the end",
}
_USUAL = len(style.COLORS)
_BOARD = 20


@style.chart
def sales_by_period(
    frame: pd.DataFrame,
    ax: Axes | None = None,
    *,
    measure: Measure = "won_value",
    leaderboard: bool | None = None,
    top: int | None = None,
    title: str | None = None,
) -> Axes:
    """Draw sales by period, stacked by group; or a leaderboard: one bar a group, the best first.

    Parameters
    ----------
    frame
        What `metrics.sales_by_period` returns, or some of its rows, with at most 120 periods;
        amounts in one currency.
    ax
        Where to draw; None: a new figure of notebook width.
    measure
        The column that is drawn: won_value (default), won, lost_value, lost, created_value,
        created, open_value_at_end or open_at_end. Counts add up currencies.
    leaderboard
        True: one bar a group, its periods added up; not of what is open. None: True where there are
        several groups and one period.
    top
        How many groups to draw, the largest first; all others are one part, "and 7 more". None: up
        to 12 (20 on a leaderboard), and of more the largest 7 of a stack.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        Above each period its sum, where there is room. On a leaderboard, after each bar: its sum,
        deals won, and win rate.

    Raises
    ------
    ArgumentError
        A missing column, several currencies in amounts (keep one, or give the metric `rates`), null
        amounts, more than 120 periods, another `measure`, or `top` is no such number.

    Examples
    --------
    >>> half_year = {"since": "2026-01-01", "until": "2026-07-01"}
    >>> months = metrics.sales_by_period(account.deals(), **half_year)
    >>> ax = plot.sales_by_period(months[months["currency"] == "EUR"])
    >>> [label.get_text() for label in ax.get_xticklabels()][:2]
    ['2026-06', '2026-05']
    """
    if measure not in _MEASURES:
        raise ArgumentError(f"measure={measure!r} must be one of {', '.join(_MEASURES)}.")
    needed = ("period", "currency", "won", "lost", measure)
    rows = style.require_columns(frame, needed, "sales_by_period")
    by = style.groups(rows, "period")
    is_money = "value" in measure
    currency = months.one_currency(rows, "pass metrics.sales_by_period `rates`") if is_money else ""
    sizes = months.money(rows, measure) if is_money else style.counts(rows, measure)
    days = periods.first_days(rows)
    kind = periods.periods(days, rows.attrs.get("freq") or frame.attrs.get("freq"))
    number = kind.numbers(days) if len(days) else np.zeros(0, np.int64)
    if leaderboard is None:
        leaderboard = style.several_groups(rows, by) and len(np.unique(number)) == 1
    if leaderboard:
        return _board(rows, by, sizes, ax, measure, currency, top, title, kind, number)
    span = int(number.max() - number.min() + 1) if len(number) else 0
    style.refuse(span, "periods", months.MOST_MONTHS, "Keep the later ones, or pass a longer freq.")
    rank, more = style.largest(rows, by, sizes, top, style.MOST_CURVES, _USUAL)
    names = _names(rows, by, rank)
    ax = style.axes(ax, height=3.6)
    heading = f"{_WORDS[measure]} by {kind.unit}"
    if by and len(rows):
        several = len(names) > 1 or more
        heading = style.of_many(heading, by, len(names), 0) if several else f"{heading}: {names[0]}"
    style.dress(ax, title or heading)
    if not len(rows):
        return style.empty(ax, "There are no periods.")
    first = int(number.min())
    table = np.zeros((len(names) + 1, span))
    # Of the groups beyond `top`: the last row of the table.
    np.add.at(table, (rank, number - first), sizes)
    pen, at = style.pen(ax), np.arange(first, first + span)
    parts = list(zip(names, table, strict=False))
    colors = [style.fill(place, pen.paper) for place in range(len(parts))]
    if more:
        parts.append((f"and {more} more", table[-1]))
        colors.append(style.blend(style.GREY, pen.paper, 0.5))
    up, down = months.stack(ax, at, parts, colors=colors)
    periods.axis(ax, kind, number)
    months.money_axis(ax, float(down.min()), float(up.max()), currency)
    if not is_money:
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 2.5, 5, 10]))
        ax.set_ylabel("deals", fontsize=style.normal(), color=pen.ink, **style.PLAIN)
    _write_sums(ax, at, up, table.sum(axis=0), is_money)
    if len(parts) > 1:
        style.legend_below(ax)
    return ax


def _names(rows: pd.DataFrame, by: list[str], rank: months.Places) -> list[str]:
    """Return the name of each group that is drawn, in its order."""
    group = pd.Series(style.group_names(rows, by).to_numpy()).groupby(rank).first()
    return [str(name) for at, name in group.items() if at >= 0]  # type: ignore[operator]


def _write_sums(
    ax: Axes, places: months.Places, tops: style.Floats, sums: style.Floats, is_money: bool
) -> None:
    """Write the sum above each period, where there is room."""
    most = float(np.abs(sums).max())

    def texts(brief: bool) -> list[str]:
        if not is_money:
            return [style.number(value) for value in sums]
        return [months.amount(value, most, brief=brief) for value in sums]

    # The axis has a margin of about one period.
    for x, y, text in zip(
        places, tops, months.fitting(ax, len(places) + 1.2, texts) or (), strict=False
    ):
        style.note(
            ax, float(x), float(y), text, ha="center", va="bottom", size=style.small(), shift=(0, 2)
        )


def _board(
    rows: pd.DataFrame,
    by: list[str],
    sizes: style.Floats,
    ax: Axes | None,
    measure: str,
    currency: str,
    top: int | None,
    title: str | None,
    kind: periods.Periods,
    number: months.Places,
) -> Axes:
    """Draw one bar a group, the largest first."""
    if measure.startswith("open") and len(np.unique(number)) > 1:
        raise ArgumentError(
            f"measure={measure!r}: what is open at the end of several periods cannot be added up."
            " Keep one period, such as frame[frame['period'] == frame['period'].max()]."
        )
    limit = _BOARD if top is None else top
    style.check_top(limit, style.MOST_ROWS)
    code, names = pd.factorize(style.group_names(rows, by))
    size, won, lost = (
        np.bincount(code, part, minlength=len(names)).astype(np.float64)
        for part in (sizes, style.counts(rows, "won"), style.counts(rows, "lost"))
    )
    order = np.argsort(-size, kind="stable")
    parts = [np.array([at]) for at in order[:limit]]
    shown = [style.plain_text(names[at]) for at in order[:limit]]
    rest = order[limit:]
    if len(rest):
        shown.append(f"and {len(rest):,} more")
        parts.append(rest)

    def text(part: months.Places) -> str:
        sums = float(size[part].sum()), float(won[part].sum()), float(lost[part].sum())
        closed = sums[1] + sums[2]
        own = months.priced(sums[0], currency or None) if "value" in measure else ""
        counted = "" if measure == "won" else f"{style.number(sums[1])} won"
        first = own or style.number(sums[0])
        rate = f"{style.percent(sums[1] / closed)} win rate" if closed else ""
        return ", ".join(filter(None, [first, counted, rate]))

    heading = style.of_many(_WORDS[measure], by, len(shown), 0) if by else _WORDS[measure]
    if len(number):
        first, last = kind.name(int(number.min())), kind.name(int(number.max()))
        heading += f": {first}" if first == last else f": {first} to {last}"
    return ranking(
        ax,
        title or heading,
        shown,
        np.array([size[part].sum() for part in parts]),
        [text(part) for part in parts],
        rest=bool(len(rest)),
        nothing="There are no periods.",
    )

"""What happened to deals between two times, as bars: how often, and worth how much."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.plot import _months as months
from pdframe.plot import _style as style

_NEEDED = ("event", "currency", "count", "value", "value_change")
_COLORS = {
    "won": style.GREEN,
    "value up": style.GREEN,
    "created": style.BLUE,
    "advanced": style.BLUE,
    "pulled in": style.BLUE,
    "reopened": style.BLUE,
    "lost": style.RED,
    "deleted": style.RED,
    "value down": style.ORANGE,
    "moved back": style.ORANGE,
    "slipped": style.ORANGE,
}
# Of the width, for the amounts at the right at most.
_BESIDE = 0.4


@style.chart
def changes_summary(
    frame: pd.DataFrame, ax: Axes | None = None, *, title: str | None = None
) -> Axes:
    """Draw what happened to deals between two times: a bar for each kind of event.

    Parameters
    ----------
    frame
        What `metrics.changes_summary` returns, of one group, in one or several currencies.
    ax
        Where to draw; None: a new figure of notebook width.
    title
        None: a title with the number of events.

    Returns
    -------
    Axes
        A bar is the number of events, in all currencies together. At the right, by currency: the
        value of the deals after the event, and for "value up" and "value down" by how much it
        changed. Green and blue are steps forward, red and orange steps back, grey neither.

    Raises
    ------
    ArgumentError
        A missing column, several groups, or counts that are null.

    Examples
    --------
    >>> summary = metrics.changes_summary(account.changes("2026-07-01"))
    >>> ax = plot.changes_summary(summary)
    >>> [label.get_text() for label in ax.get_yticklabels()][:3]
    ['lost', 'advanced', 'moved back']
    """
    rows = style.require_columns(frame, _NEEDED, "changes_summary")
    group = months.one_group(rows, "event", "changes_summary")
    number = style.counts(rows, "count")
    code, events = pd.factorize(rows["event"].astype("str"))
    counts = np.bincount(code, number, minlength=len(events))
    style.refuse(len(events), "kinds of events", style.MOST_ROWS, "Keep some of them.")
    amounts = _amounts(rows, code, len(events))
    y = np.arange(len(events), dtype=np.float64)
    names = style.row_names([str(event) for event in events], None)
    ax = style.axes(ax, height=1.4 + max(len(events), 2) * 0.32)
    total = style.number(float(counts.sum()))
    heading = f"What happened to deals: {total} event{'s' if total != '1' else ''}"
    heading = f"{heading}: {group}" if group else heading
    style.dress(ax, title or heading, x="events", beside=names.beside)
    if not len(events):
        return style.empty(ax, "Nothing happened in this time.")
    colors = [_COLORS.get(str(event), style.GREY) for event in events]
    ax.barh(y, counts, height=0.62, color=colors, linewidth=0)
    inches, size = style.inches(ax, names.beside), style.normal()
    right = [style.fitted(text, _BESIDE * inches, size, 80) for text in amounts]
    texts = [style.number(count) for count in counts]
    need = sum(max(style.width(text, size) for text in each) + 0.15 for each in (texts, right))
    share = max(1 - need / inches, 0.3)
    for at, text in enumerate(texts):
        style.note(ax, counts[at], y[at], text, shift=(5, 0))
        if right[at]:
            style.note(ax, 1.0, y[at], right[at], at=ax.get_yaxis_transform(), ha="right")
    style.name_rows(ax, names, y)
    longest = float(max(counts.max(), 1.0))
    ax.set_xlim(0, longest / share)
    ax.set_ylim(len(events) - 0.4, -0.6)
    style.ticks(ax, longest, inches * share)
    return ax


def _amounts(rows: pd.DataFrame, code: months.Places, events: int) -> list[str]:
    """Return the amounts of each event, one a currency, the largest first."""
    value, change = (style.numbers(rows, name) for name in ("value", "value_change"))
    result = []
    for event in range(events):
        at = np.flatnonzero((code == event) & ~rows["currency"].isna().to_numpy(np.bool_))
        is_change = ~np.isnan(change[at])
        shown = np.where(is_change, change[at], value[at])
        texts = [
            ("+" if changed and amount > 0 else "") + months.priced(amount, currency)
            for amount, currency, changed in sorted(
                zip(shown, rows["currency"].iloc[at], is_change, strict=True),
                key=lambda part: -abs(part[0]),
            )
            if amount
        ]
        result.append(", ".join(texts))
    return result

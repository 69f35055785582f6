"""A waterfall: a bar for the start, floating bars for what changed, a bar for the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from pdframe.plot import _months as months
from pdframe.plot import _style as style

NOT_FINAL = "////"
"""Hatch of what is still incomplete."""

# Where all steps are above this share of the highest, the axis is cut, since they would be
# invisible otherwise.
_CUT = 0.6


class Step(NamedTuple):
    """What changed, by how much, and its colour."""

    name: str
    amount: float
    color: str


def highest(start: float, steps: Sequence[Step], end: float) -> float:
    """Return the largest level of the waterfall, whatever its sign."""
    levels = start + np.cumsum([0.0, *(step.amount for step in steps)])
    return float(max(np.abs(levels).max(), abs(end)))


def draw(
    ax: Axes,
    start: float,
    steps: Sequence[Step],
    end: float,
    currency: str,
    *,
    names: tuple[str, str] = ("start", "end"),
    notes: Mapping[str, str] | None = None,
    is_final: bool = True,
) -> None:
    """Draw a waterfall from `start` to `end`.

    `names` are those of the two outer bars, `notes` are written under the names of steps, and an
    end that is not final is hatched.
    """
    pen, notes = style.pen(ax), notes or {}
    levels = start + np.cumsum([0.0, *(step.amount for step in steps)])
    most = highest(start, steps, end)
    low, high = min(0.0, levels.min(), end), max(0.0, levels.max(), end)
    cut = high > levels.min() > _CUT * high
    if cut:
        low = levels.min() - 0.35 * (high - levels.min())

    def texts(brief: bool) -> list[str]:
        return [
            months.amount(start, most, brief=brief),
            *(months.amount(step.amount, most, sign=True, brief=brief) for step in steps),
            months.amount(end, most, brief=brief),
        ]

    written = months.fitting(ax, len(steps) + 2.2, texts)
    level = style.blend(pen.ink, pen.paper, 0.72)
    ax.bar(0, start, color=level, width=0.7, label=names[0])
    for at, step in enumerate(steps, start=1):
        base = float(levels[at - 1])
        months.stack(
            ax,
            np.array([at]),
            [(step.name, np.array([step.amount]))],
            width=0.7,
            colors=[step.color],
            base=base,
        )
        ax.plot([at - 0.65, at - 0.35], [base, base], color=pen.faint, linewidth=0.8)
        if written:
            write(ax, at, max(base, float(levels[at])), written[at])
    last = len(steps) + 1
    ax.plot([last - 0.65, last - 0.35], [levels[-1]] * 2, color=pen.faint, linewidth=0.8)
    ax.bar(
        last,
        end,
        color=level if is_final else pen.paper,
        edgecolor=level,
        linewidth=0.8,
        hatch="" if is_final else NOT_FINAL,
        width=0.7,
        label=names[1],
    )
    if written:
        write(ax, 0, max(start, 0.0), written[0])
        write(ax, last, max(end, 0.0), written[-1])
    _name(ax, [names[0], *(step.name for step in steps), names[1]], notes)
    ax.set_xlim(-0.6, last + 0.6)
    months.money_axis(ax, low, high, currency)
    if cut:
        ax.set_ylim(bottom=low)
        ax.set_ylabel(f"{ax.get_ylabel()} (axis does not begin at 0)".lstrip())
        for x in (0, last):
            ax.plot(
                [x - 0.4, x + 0.4],
                [0.05, 0.09],
                transform=ax.get_xaxis_transform(),
                color=pen.paper,
                linewidth=3,
                zorder=4,
            )


def write(ax: Axes, x: float, y: float, text: str) -> None:
    """Write an amount above a bar."""
    style.note(ax, x, y, text, ha="center", va="bottom", size=style.small(), shift=(0, 2))


def _name(ax: Axes, names: Sequence[str], notes: Mapping[str, str]) -> None:
    """Write the names under the bars, with the notes under or beside them."""
    ax.tick_params(axis="x", length=0)
    size = style.normal()
    step = style.inches(ax) / (len(names) + 0.2)
    widest = max(style.width(name, size) for name in names)
    noted = max((style.width(text, style.small()) for text in notes.values()), default=0.0)
    # A note may reach over the half of its neighbours.
    if step < max(widest + 0.06, noted / 1.9):
        ax.set_xticks(
            range(len(names)),
            [f"{name} {notes.get(name, '')}".rstrip() for name in names],
            rotation=35,
            ha="right",
            rotation_mode="anchor",
            **style.PLAIN,
        )
        return
    ax.set_xticks(range(len(names)), names, **style.PLAIN)
    for at, name in enumerate(names):
        if notes.get(name):
            style.note(
                ax,
                at,
                0,
                notes[name],
                at=ax.get_xaxis_transform(),
                ha="center",
                va="top",
                size=style.small(),
                color=style.pen(ax).faint,
                shift=(0, -19),
            )

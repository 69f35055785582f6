"""Frames of metrics written by hand for charts, and the texts that an Axes shows."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.text import Text

FUNNEL = ["stage_id", "stage", "order_nr", "reached", "advanced", "lost", "left", "open",
"conversion", "low", "high", "horizon_days",
          "win", "win_low", "win_high", "share_reached", "closed_conversion"]  # fmt: skip
SURVIVAL = [
    "pipeline_id",
    "stage_id",
    "stage",
    "order_nr",
    "days",
    "at_risk",
    "events",
    "survival",
    "low",
    "high",
]
VELOCITY = ["pipeline_id", "stage_id", "stage", "order_nr", "visits", "completed", "open",
"median_days", "low", "high", "p25_days",
            "p75_days", "p90_days", "mean_days", "basis"]  # fmt: skip
MOVES = [
    "from_stage_id",
    "from_stage",
    "from_order_nr",
    "to_stage_id",
    "to",
    "to_order_nr",
    "back",
    "moves",
    "deals",
    "share",
]

INTEGERS = (
    "pipeline_id", "stage_id", "order_nr", "reached", "advanced", "lost", "left", "open", "at_risk",
    "events", "visits", "completed",
    "from_stage_id", "from_order_nr", "to_stage_id", "to_order_nr", "moves", "deals",
)  # fmt: skip

# What web forms bring into names: mathtext, LaTeX, markup, other alphabets, emoji, directions,
# halves of characters, 180 of them.
WILD = [
    "$x$", "cost $5 or $6", r"\$x\$ \frac{1}{2}", "$", r"$\frac$", "<b>bold</b>", "a_b^c", "%s {0}",
    "🚀 Launch", "👩‍👩‍👧 family",
    "地域", "Причина", "مرحلة", "שלב", "\u202eevil\u202c", "two\nlines\tand tab", "\x00\x07", "",
    "   ", "e\u0301" * 20, "w" * 180,
    "W" * 90 + " " + "M" * 89, "'; DROP TABLE deals; --", "_leading", "a" * 40 + "1",
    "a" * 40 + "2",
]  # fmt: skip


def frame(columns: list[str], *rows: tuple[Any, ...], by: str | None = None) -> pd.DataFrame:
    """A metric's frame; with `by`, the first value of each row is the group's."""
    names = ([by] if by else []) + columns
    made = pd.DataFrame([(*row, *[None] * (len(names) - len(row))) for row in rows], columns=names)
    dtypes = {
        name: (
            "Int64"
            if name in INTEGERS
            else (
                "str"
                if name in ("stage", "from_stage", "to", "basis")
                else "boolean"
                if name == "back"
                else "float64"
            )
        )
        for name in columns
    }
    return made.astype(dtypes)


def funnel_frame(
    stages: int, names: list[str] | None = None, groups: list[Any] | None = None
) -> pd.DataFrame:
    """A funnel of so many stages that loses ten deals a stage."""
    rows = []
    for group in groups or [None]:
        for at in range(stages):
            reached = 10 * (stages - at) + 3
            name = names[at % len(names)] if names else f"Stage {at + 1}"
            row = (
                at + 1,
                name,
                at,
                reached,
                reached - 10,
                4,
                1,
                5,
                0.5,
                0.4,
                0.6,
                30.0,
                0.2,
                0.1,
                0.3,
                reached / (10 * stages + 3),
                0.6,
            )
            rows.append((group, *row) if groups else row)
        won: tuple[Any, ...] = (
            None,
            "won",
            None,
            3,
            3,
            0,
            0,
            0,
            None,
            None,
            None,
            None,
            None,
            None,
            None,
            3 / (10 * stages + 3),
        )
        rows.append((group, *won) if groups else won)
    return frame(FUNNEL, *rows, by="owner" if groups else None)


def survival_frame(stages: list[str], groups: list[Any] | None = None) -> pd.DataFrame:
    """Curves of three steps, the last to 0 with no interval."""
    rows: list[tuple[Any, ...]] = []
    for group in groups or [None]:
        for at, name in enumerate(stages):
            for days, risk, share, low, high in (
                (2.0, 10, 0.8, 0.5, 0.9),
                (5.0, 6, 0.4 - at / 100, 0.2, 0.6),
                (20.0 + at, 1, 0.0, None, None),
            ):
                row = (1, at + 1, name, at, days, risk, 1, share, low, high)
                rows.append((group, *row) if groups else row)
    return frame(SURVIVAL, *rows, by="owner" if groups else None)


def velocity_frame(stages: list[str], groups: list[Any] | None = None) -> pd.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for at, name in enumerate(stages):
        for group in groups or [None]:
            row = (
                1,
                at + 1,
                name,
                at,
                12,
                9,
                3,
                10.0 + at,
                8.0,
                14.0,
                5.0,
                20.0,
                40.0,
                15.0,
                "changelog",
            )
            rows.append((group, *row) if groups else row)
    return frame(VELOCITY, *rows, by="owner" if groups else None)


def texts(ax: Axes) -> list[str]:
    """Every text that is shown on the Axes."""
    return [text.get_text() for text in ax.findobj(Text) if text.get_visible() and text.get_text()]


def draw(ax: Axes) -> Axes:
    """Draw for real, so that what matplotlib warns of becomes an error."""
    ax.figure.canvas.draw()
    return ax

"""The flow of deals between stages as arcs: moves forward at the right, moves back at the left, and
how the other visits ended.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from pdframe.errors import ArgumentError
from pdframe.plot import _style as style

_NEEDED = (
    "from_stage_id",
    "from_stage",
    "from_order_nr",
    "to_stage_id",
    "to",
    "to_order_nr",
    "back",
    "moves",
    "share",
)
_OUTCOMES = ("won", "lost", "changed pipeline", "deleted", "open")
_MOST_STAGES = 24

# Widths of the parts, in units of the longest arc: moves back, moves forward, and each column of
# outcomes.
_BACK, _ON, _COLUMN = 0.7, 1.0, 0.42
# An arc leaves its stage a little below and arrives a little above, so that both are visible.
_SHIFT = 0.13
_HEADINGS = {"open": "still there", "changed pipeline": "to another\npipeline"}
# Of the width, for the arcs at least.
_ARCS = 0.3
_WIDEST, _THINNEST = 9.0, 0.8


@style.chart
def flow(frame: pd.DataFrame, ax: Axes | None = None, *, title: str | None = None) -> Axes:
    """Draw the moves between stages: arcs at the right lead forward, dashed ones at the left lead
    back; next to them, how other visits ended.

    Parameters
    ----------
    frame
        What `metrics.stage_moves` returns, of one group and at most 24 stages.
    ax
        Where to draw; None: a new figure of notebook width.
    title
        None: a title with the number of visits.

    Returns
    -------
    Axes
        An arc is as wide as it has moves, and carries their number; its arrow is at the stage that
        was entered. Moves to or from stages that `stages` does not hold have no direction: they are
        dotted. Outcomes (won, lost, changed pipeline, deleted, open) have a column each: visits,
        and their share of all visits to that stage.

    Raises
    ------
    ArgumentError
        A missing column, several groups, or more than 24 stages.

    Examples
    --------
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> moves = metrics.stage_moves(visits, stages, as_of="2026-06-30", pipeline_id=2)
    >>> ax = plot.flow(moves)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['Qualified', 'Discovery', 'Demo', 'Proposal', 'Negotiation']
    """
    rows = style.require_columns(frame, _NEEDED, "stage_moves")
    by = style.groups(rows, "from_stage_id")
    group = style.group_names(rows, by)
    if style.several_groups(rows, by):
        raise ArgumentError(
            f"The frame holds several groups of {', '.join(map(repr, by))}; their arcs would"
            f" overlap. Draw each: {style.each_group(by, 'flow')}"
        )
    stages = _stages(rows)
    style.refuse(len(stages), "stages", _MOST_STAGES, "Keep the rows of some of them.")
    moves, share = style.counts(rows, "moves"), style.numbers(rows, "share")
    ax = style.axes(ax, height=1.5 + 0.62 * max(len(stages), 2))
    heading = f"Where deals went: {style.number(moves.sum())} visits in {len(stages)} stages"
    heading = f"{heading}: {group.iloc[0]}" if by and len(rows) else heading
    names = style.row_names([str(name) for name in stages["name"]], None)
    style.dress(ax, title or heading, beside=names.beside)
    ax.spines[:].set_visible(False)
    if not len(rows):
        return style.empty(ax, "No visits in this cohort.")
    place = {key: at for at, key in enumerate(stages["key"])}
    start = np.array([place[key] for key in _keys(rows["from_stage_id"], rows["from_stage"])])
    moved = ~_outcomes(rows)
    end = np.array(
        [
            place.get(key, -1) if inside else -1
            for key, inside in zip(_keys(rows["to_stage_id"], rows["to"]), moved, strict=True)
        ]
    )
    _arcs(ax, rows["back"][moved], start[moved], end[moved], moves[moved])
    shown = [name for name in _OUTCOMES if (~moved & (rows["to"] == name).to_numpy()).any()]
    texts, wide = _outcome_texts(
        moves, share, np.flatnonzero(~moved), len(shown), style.inches(ax, names.beside)
    )
    for column, name in enumerate(shown):
        x = _ON + 0.25 + wide * (column + 0.5)
        _write(ax, x, -0.9, _HEADINGS.get(name, name), style.pen(ax).faint)
        for at in np.flatnonzero(~moved & (rows["to"] == name).to_numpy()):
            _write(ax, x, start[at], texts[int(at)], style.pen(ax).ink)
    ends = (-_BACK - 0.05, _ON + 0.3 + wide * max(len(shown), 1))
    apart = style.inches(ax, names.beside) * (_ON + _BACK) / 2 / (ends[1] - ends[0])
    moves_word = "moves " if style.width("moves forward ", style.small()) < apart else ""
    _write(ax, _ON / 2, -0.9, f"{moves_word}forward", style.pen(ax).faint)
    _write(ax, -_BACK / 2, -0.9, f"{moves_word}back", style.pen(ax).faint)
    ax.plot(
        np.zeros(len(stages)),
        np.arange(len(stages)),
        marker="o",
        color=style.pen(ax).ink,
        markersize=5,
        linestyle="none",
        zorder=4,
    )
    style.name_rows(ax, names, np.arange(len(stages), dtype=np.float64))
    ax.set_xticks([])
    ax.set_xlim(*ends)
    ax.set_ylim(len(stages) - 0.4, -1.2)
    return ax


def _outcome_texts(
    moves: style.Floats, share: style.Floats, ends: Any, columns: int, inches: float
) -> tuple[dict[int, str], float]:
    """Return counts and shares of outcomes, shares alone where both have no room, and how wide
    their columns are, in units of the longest arc.
    """
    gap = 0.14 * style.unit()
    headings = max(
        style.width("still there", style.small()), style.width("pipeline", style.small())
    )
    units = _BACK + _ON + 0.35
    for counts in (True, False):
        texts = {
            at: (f"{style.number(moves[at])}  " if counts else "") + style.percent(share[at])
            for at in ends.tolist()
        }
        widest = max((style.width(text, style.small()) for text in texts.values()), default=0.0)
        arcs = inches - columns * (max(widest, headings) + gap)
        if arcs >= _ARCS * inches:
            break
    arcs = max(arcs, 0.2 * inches)
    return texts, max(_COLUMN, (max(widest, headings) + gap) * units / arcs)


def _stages(rows: pd.DataFrame) -> pd.DataFrame:
    """Key and name of every stage left or entered, in the order of the pipeline; those without one
    last.
    """
    inside = ~_outcomes(rows)
    parts = []
    for names, part in (
        (("from_stage_id", "from_stage", "from_order_nr"), rows),
        (("to_stage_id", "to", "to_order_nr"), rows[inside]),
    ):
        result = pd.DataFrame(
            {"key": _keys(part[names[0]], part[names[1]]), "order": style.numbers(part, names[2])}
        )
        result["name"] = [
            _name(stage, name) for stage, name in zip(part[names[0]], part[names[1]], strict=True)
        ]
        parts.append(result)
    every: pd.DataFrame = pd.concat(parts, ignore_index=True).drop_duplicates("key")
    return every.sort_values(["order"], na_position="last", kind="stable").reset_index(drop=True)


def _outcomes(rows: pd.DataFrame) -> Any:
    return (rows["to_stage_id"].isna() & rows["to"].isin(_OUTCOMES)).to_numpy()


def _keys(stage: pd.Series[Any], name: pd.Series[Any]) -> list[str]:
    """Return ids as text; where a stage has none, its name."""
    return [
        str(text) if pd.isna(key) else f"#{_id(key)}" for key, text in zip(stage, name, strict=True)
    ]


def _id(stage: Any) -> str:
    """Return an id as text, also where a merge converted it to a float."""
    return str(int(stage)) if isinstance(stage, float) else str(stage)


def _name(stage: Any, name: Any) -> str:
    if not pd.isna(name):
        return str(name)
    return "(no stage)" if pd.isna(stage) else f"(stage {_id(stage)}, not in stages)"


def _arcs(ax: Axes, back: pd.Series[Any], start: Any, end: Any, moves: style.Floats) -> None:
    reach = max(np.abs(end - start).max(initial=1), 1)
    widths = np.maximum(_WIDEST * moves / max(moves.max(initial=1.0), 1.0), _THINNEST)
    for at, reported in enumerate(back):
        known = not pd.isna(reported)
        after = bool(reported) if known else end[at] < start[at]
        side = -_BACK if after else _ON
        # A move to the same stage has a small arc of its own.
        depth = side * 0.86 * (max(abs(end[at] - start[at]), 0.4) / reach) ** 0.75
        shift = -_SHIFT if after else _SHIFT
        y = (start[at] + shift, end[at] - shift)
        color, dashes = (style.RED, (0, (4, 1.2))) if after else (style.BLUE, "-")
        bulge = depth * 4 / 3
        path = Path(
            [(0, y[0]), (bulge, y[0]), (bulge, y[1]), (0, y[1])],
            [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4],
        )
        ax.add_patch(
            PathPatch(
                path,
                facecolor="none",
                edgecolor=color if known else style.pen(ax).faint,
                linewidth=widths[at],
                alpha=0.85 if style.pen(ax).is_dark else 0.6,
                linestyle=dashes if known else ":",
                capstyle="butt",
                label="back" if after else "forward",
            )
        )
        ax.plot(
            [0.03 * np.sign(depth)],
            [y[1]],
            marker=">" if after else "<",
            markersize=5 + widths[at] * 0.45,
            linestyle="none",
            color=color if known else style.pen(ax).faint,
            markeredgecolor=style.pen(ax).paper,
            markeredgewidth=0.5,
            zorder=3,
        )
        style.note(
            ax,
            depth,
            (y[0] + y[1]) / 2,
            style.number(moves[at]),
            ha="center",
            size=style.small(),
            box=style.pen(ax).paper,
        )


def _write(ax: Axes, x: float, y: float, text: str, color: str) -> None:
    style.note(ax, x, y, text, ha="center", size=style.small(), color=color)

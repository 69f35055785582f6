"""What all charts share: colours, marks, numbers as text, text of a CRM made safe to draw, and the
reading of a frame's columns.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import font_manager, rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgba
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from pdframe._plain import plain_frame
from pdframe.errors import ArgumentError

Floats = npt.NDArray[np.float64]

SMALL, TEXT, TITLE = 8.0, 9.0, 11.0

# Okabe and Ito's palette without its yellow, which is hard to see on white.
BLUE, ORANGE, GREEN, RED, SKY, PURPLE, BLACK = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#56b4e9",
    "#cc79a7",
    "#000000",
)
COLORS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "d")
DASHES = ("-", "--", "-.", ":")

# More rows of bars, or more curves, cannot be read or distinguished.
MOST_ROWS, MOST_CURVES = 36, len(MARKERS)

PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}
"""Properties of every text that may hold a CRM's words: dollars are dollars, not mathtext."""

_BOX, _CUT = "□", "…"


class Mark(NamedTuple):
    """Marker and hatch of the n-th group, visible with and without colour."""

    color: str
    marker: str
    dashes: str


class Pen(NamedTuple):
    """Colours of what is not data: text, lesser text, lines, and what is under them."""

    ink: str
    faint: str
    line: str
    paper: str
    is_dark: bool = False


ON_LIGHT = Pen("#222222", "#6b6b6b", "#d0d0d0", "#ffffff")
ON_DARK = Pen("#e8e8e8", "#a8a8a8", "#505050", "#111111", True)


def pen(ax: Axes) -> Pen:
    """Return the colours that can be read on the background of the Axes, whichever theme set it."""
    figure = ax.get_figure(root=True)
    grounds = [to_rgba(ax.get_facecolor())] if ax.axison else []
    grounds += [to_rgba(figure.get_facecolor())] if figure is not None else []
    opaque = next((color for color in grounds if color[3] > 0.5), None)
    # Where all is transparent, the theme's own text shows what the page is like.
    is_dark = (
        luminance(opaque) < 0.4 if opaque else luminance(to_rgba(rcParams["text.color"])) > 0.6
    )
    colors = ON_DARK if is_dark else ON_LIGHT
    return colors._replace(paper=to_hex(opaque)) if opaque else colors


def luminance(color: Sequence[float]) -> float:
    """Return how light a colour is, from 0 to 1, as WCAG 2 defines it."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color[:3]
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def mark(number: int) -> Mark:
    """Return the mark of the n-th group; the first 12 differ in more than the colour."""
    return Mark(
        COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)], DASHES[number % len(DASHES)]
    )


def axes(ax: Axes | None, *, width: float = 9.0, height: float = 4.0) -> Axes:
    """Return `ax`, or that of a new figure of notebook width, in inches.

    Raises
    ------
    ArgumentError
        It is no Axes.
    """
    if ax is None:
        return plt.subplots(figsize=(width, height), layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise ArgumentError(
            f"ax must be an Axes of matplotlib, not {type(ax).__name__}. Omit it for a new figure."
        )
    return ax


def inches(ax: Axes) -> float:
    """Return about how wide the Axes will be when its figure is laid out, which happens only as it
    is drawn.
    """
    figure, spec = ax.figure, ax.get_subplotspec()
    width = ax.bbox.width / figure.dpi
    if spec is None or figure.get_layout_engine() is None:
        return float(width)
    columns = len(spec.colspan) / spec.get_gridspec().ncols
    return float(max(width, 0.88 * columns * figure.bbox.width / figure.dpi))


def dress(ax: Axes, title: str, *, x: str = "", y: str = "") -> None:
    """Give the Axes its title at the left, its labels, and only the lines that help to read."""
    ax.set_title(shown(title, 110), loc="left", fontsize=TITLE, color=pen(ax).ink, **PLAIN)
    ax.set_xlabel(x, loc="left", fontsize=TEXT, color=pen(ax).ink, **PLAIN)
    ax.set_ylabel(y, fontsize=TEXT, color=pen(ax).ink, **PLAIN)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(pen(ax).line)
    ax.tick_params(labelsize=TEXT, labelcolor=pen(ax).ink, color=pen(ax).line)
    ax.grid(False)


def ticks(ax: Axes, most: float) -> None:
    """Put ticks at round whole numbers up to `most`; beyond it there is room for text."""
    places = [
        place
        for place in MaxNLocator(nbins=6, integer=True, steps=[1, 2, 2.5, 5, 10]).tick_values(
            0, most
        )
        if place <= most
    ]
    ax.set_xticks(places, [number(place) for place in places])


def legend_below(ax: Axes, handles: Sequence[Artist] | None = None) -> None:
    """Put the legend at the right under the axis, on the line of its label."""
    columns = 4 if inches(ax) > 5 else 2
    under = ax.transAxes + ScaledTranslation(0, -20 / 72, ax.figure.dpi_scale_trans)
    legend = ax.legend(
        handles=ax.get_legend_handles_labels()[0] if handles is None else handles,
        loc="upper right",
        bbox_to_anchor=(1.0, 0.0),
        bbox_transform=under,
        ncols=columns,
        frameon=False,
        fontsize=SMALL,
        handlelength=1.8,
        columnspacing=1.2,
        borderaxespad=0.0,
        labelcolor=pen(ax).ink,
    )
    for text in legend.get_texts():
        text.set(**PLAIN)


def empty(ax: Axes, what: str) -> Axes:
    """Say in the middle of the Axes that there is nothing to draw."""
    ax.set(xticks=[], yticks=[])
    ax.text(
        0.5,
        0.5,
        what,
        transform=ax.transAxes,
        ha="center",
        va="center",
        fontsize=TEXT,
        color=pen(ax).faint,
        **PLAIN,
    )
    return ax


def require_columns(frame: object, columns: Iterable[str], metric: str) -> pd.DataFrame:
    """Return the frame with a plain index, in the dtypes of the loaders, whatever reader made it.

    Raises
    ------
    ArgumentError
        It is no DataFrame, or lacks columns of that metric's result; the message names them.
    """
    if not isinstance(frame, pd.DataFrame):
        raise ArgumentError(
            f"frame must be the DataFrame that metrics.{metric} returns, not"
            f" {type(frame).__name__}."
        )
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise ArgumentError(
            f"frame has no column {', '.join(map(repr, missing))}. Pass the result of"
            f" metrics.{metric} with all its columns."
        )
    return plain_frame(frame).reset_index(drop=True)


def numbers(frame: pd.DataFrame, column: str) -> Floats:
    """Return a column as floats, null as NaN; `ArgumentError` where it holds no numbers, or an
    infinite one.
    """
    try:
        result = np.asarray(pd.to_numeric(frame[column]).to_numpy(np.float64, na_value=np.nan))
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(
            f"The column {column!r} is {frame[column].dtype}; it must hold numbers."
        ) from None
    if np.isinf(result).any():
        raise ArgumentError(
            f"The column {column!r} holds an infinite number, which cannot be drawn. Drop those"
            " rows."
        )
    return result


def counts(frame: pd.DataFrame, column: str) -> Floats:
    """Return a column of counts; `ArgumentError` where one is null or negative."""
    result = numbers(frame, column)
    if not (result >= 0).all():
        raise ArgumentError(
            f"The column {column!r} holds nulls or negative numbers; it must hold counts."
        )
    return result


def groups(frame: pd.DataFrame, first: str) -> list[Any]:
    """Return the names of the columns of `by`: those before `first`, the first of the metric's
    own.
    """
    columns = list(frame.columns)
    return columns[: columns.index(first)]


def group_names(frame: pd.DataFrame, names: Sequence[Any]) -> pd.Series[Any]:
    """Return a text for the group of each row, its values joined; empty where there are no
    groups.
    """
    result = pd.Series([""] * len(frame), dtype="str")
    for name in names:
        values = pd.Series([_value(value) for value in frame[name]], dtype="str")
        result = values if name == names[0] else result + ", " + values
    return result


def by_stage(rows: pd.DataFrame, group: pd.Series[Any]) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Return the rows with the groups of a stage together, stages and groups in their order in the
    frame.
    """
    order = np.argsort(_stage_numbers(rows), kind="stable")
    return rows.iloc[order].reset_index(drop=True), group.iloc[order].reset_index(drop=True)


def places(rows: pd.DataFrame, several: bool) -> Floats:
    """Return the position of each row: 1 apart; several groups of a stage are together, with room
    for its name above them.
    """
    if not several:
        return np.arange(len(rows), dtype=np.float64)
    return np.asarray(np.arange(len(rows)) * 0.8 + _stage_numbers(rows) + 0.8, dtype=np.float64)


def _stage_numbers(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    keys = [name for name in ("pipeline_id", "stage_id", "stage") if name in rows]
    return np.asarray(
        rows.groupby(keys, sort=False, dropna=False).ngroup().to_numpy(np.int64), dtype=np.int64
    )


def name_rows(ax: Axes, stages: Sequence[str], y: Floats, group: pd.Series[Any] | None) -> None:
    """Name the rows at `y` by their stage, or by their group with the stage above the first of
    it.
    """
    names = [shown(name) for name in stages]
    if group is None:
        ax.set_yticks(y, names, **PLAIN)
        return
    ax.set_yticks(y, [shown(name, 24) for name in group], **PLAIN)
    for at in range(len(y)):
        if at == 0 or y[at] - y[at - 1] > 1:
            ax.text(
                0.0,
                y[at] - 0.75,
                names[at],
                transform=ax.get_yaxis_transform(),
                ha="left",
                va="center",
                fontsize=TEXT,
                color=pen(ax).ink,
                **PLAIN,
            )


def several_groups(frame: pd.DataFrame, names: Sequence[Any]) -> bool:
    """Return whether the columns of `by` hold more than one combination."""
    return bool(names) and len(frame[[*names]].drop_duplicates()) > 1


def stage_names(rows: pd.DataFrame) -> list[str]:
    """Return the name of each row's stage, with the pipeline where several have it; the id where
    there is no name.
    """
    names = [
        f"(stage {_value(stage)}, not in stages)" if pd.isna(name) else str(name)
        for stage, name in zip(rows["stage_id"], rows["stage"], strict=True)
    ]
    if "pipeline_id" in rows and len(rows["pipeline_id"].drop_duplicates()) > 1:
        names = [
            f"{name} (pipeline {_value(pipeline)})"
            for name, pipeline in zip(names, rows["pipeline_id"], strict=True)
        ]
    return names


def refuse(there: int, what: str, most: int, hint: str) -> None:
    """Raise `ArgumentError` where there are more than can be read in one Axes."""
    if there > most:
        raise ArgumentError(
            f"The frame holds {there} {what}; more than {most} cannot be read in one chart. {hint}"
        )


def number(value: float) -> str:
    """Return a count or an amount with separators, a null as an en dash."""
    return "–" if np.isnan(value) else f"{value:,.0f}"


def percent(share: float) -> str:
    """Return a share of 1 as percent, a null as an en dash; 0 and 100 only where exact."""
    if np.isnan(share):
        return "–"
    value = 100 * share
    if 0 < value < 0.05:
        return "<0.1 %"
    if 99.95 <= value < 100:
        return ">99.9 %"
    return f"{value:.1f} %" if 0 < value < 0.5 or 99.5 <= value < 100 else f"{value:.0f} %"


def interval(low: float, high: float) -> str:
    """Return limits of a share in brackets; nothing where they are null."""
    return (
        ""
        if np.isnan(low) or np.isnan(high)
        else f"({percent(low).removesuffix(' %')}–{percent(high)})"
    )


def days(length: float) -> str:
    """Return a length of time in days, a null as an en dash."""
    if np.isnan(length):
        return "–"
    return f"{length:.1f} d" if length < 9.95 else f"{length:,.0f} d"


def shown(value: Any, most: int = 32) -> str:
    """Return text of a CRM as it can be drawn: one line, no control characters, only glyphs that
    the font has, cut in the middle.

    A character that no font of `rcParams["font.family"]` has becomes a box; name a font that has it
    there to see it. Shortened names keep their beginning and their end, since long ones often
    differ only there.
    """
    text = " ".join(_drawable(unicodedata.normalize("NFC", _value(value))).split()) or "(no name)"
    if len(text) <= most:
        return text
    tail = most // 3
    return text[: most - tail - 1].rstrip() + _CUT + text[len(text) - tail :].lstrip()


def legend_name(value: Any, most: int = 24) -> str:
    """Return a name as `shown`, in a form that matplotlib includes in a legend: it leaves out names
    that begin with an underscore.
    """
    text = shown(value, most)
    return f" {text}" if text.startswith("_") else text


def _value(value: Any) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "(none)"
    # Months and dates as such, not as midnights.
    if isinstance(value, pd.Timestamp) and value == value.normalize() and value.tzinfo is None:
        return f"{value:%Y-%m-%d}"
    # Arrow cannot store lone surrogates.
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _drawable(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    there = _glyphs(tuple(rcParams["font.family"]), tuple(rcParams["font.sans-serif"]))
    box = _BOX if ord(_BOX) in there else "?"
    result = []
    for character in text:
        kind = unicodedata.category(character)
        if kind in ("Cc", "Zl", "Zp", "Zs"):
            result.append(" ")
        elif kind in ("Cf", "Cs", "Me") or (kind == "Mn" and ord(character) not in there):
            # Marks of direction, halves of characters, joiners of emoji: nothing to see by
            # themselves.
            continue
        else:
            result.append(character if ord(character) in there else box)
    return "".join(result)


@lru_cache(maxsize=8)
def _glyphs(families: tuple[str, ...], _sans: tuple[str, ...]) -> frozenset[int]:
    """Code points that the fonts have which matplotlib falls back to one after the other."""
    result: set[int] = set()
    for family in families:
        try:
            path = font_manager.findfont(
                font_manager.FontProperties(family=[family]), fallback_to_default=False
            )
        except ValueError:
            continue
        result |= font_manager.get_font(path).get_charmap().keys()
    if not result:
        result |= font_manager.get_font(font_manager.findfont("DejaVu Sans")).get_charmap().keys()
    return frozenset(result)

"""What all charts share: axes, titles, legends, numbers as text, and the reading of a frame's
columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from typing import Any, NamedTuple, ParamSpec

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import rcParams
from matplotlib._pylab_helpers import Gcf
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import ScaledTranslation

from pdframe._plain import plain_frame
from pdframe.errors import ArgumentError
from pdframe.plot._fonts import family, wrapped
from pdframe.plot._fonts import fitted as fitted
from pdframe.plot._fonts import plain_text as plain_text
from pdframe.plot._fonts import shown as shown
from pdframe.plot._fonts import width as width
from pdframe.plot._theme import BLUE as BLUE
from pdframe.plot._theme import COLORS as COLORS
from pdframe.plot._theme import DARK_INK as DARK_INK
from pdframe.plot._theme import DASHES as DASHES
from pdframe.plot._theme import GREEN as GREEN
from pdframe.plot._theme import GREY as GREY
from pdframe.plot._theme import MARKERS as MARKERS
from pdframe.plot._theme import ORANGE as ORANGE
from pdframe.plot._theme import PURPLE as PURPLE
from pdframe.plot._theme import RED as RED
from pdframe.plot._theme import SKY as SKY
from pdframe.plot._theme import Mark as Mark
from pdframe.plot._theme import Pen as Pen
from pdframe.plot._theme import blend as blend
from pdframe.plot._theme import contrast as contrast
from pdframe.plot._theme import fill as fill
from pdframe.plot._theme import large as large
from pdframe.plot._theme import luminance as luminance
from pdframe.plot._theme import mark as mark
from pdframe.plot._theme import normal as normal
from pdframe.plot._theme import pen as pen
from pdframe.plot._theme import readable as readable
from pdframe.plot._theme import small as small
from pdframe.plot._theme import unit as unit

Floats = npt.NDArray[np.float64]
Chart = ParamSpec("Chart")

_NOTEBOOK_WIDTH, _DEFAULT_WIDTH = 9.0, 6.4
# More rows of bars, or more curves, cannot be read or distinguished.
MOST_ROWS, MOST_CURVES = 36, len(MARKERS)

PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}
"""Properties of every text that may hold a CRM's words: dollars are dollars, not mathtext."""
# In points at the default size of type: from the axis to a table under it, and from line to line
# there.
_FIRST_LINE, _NEXT_LINE = 46, 13


def chart(draw: Callable[Chart, Axes]) -> Callable[Chart, Axes]:
    """Finish what a chart returns: fonts for every alphabet, and no repr of the Axes above the
    picture where the call is the last line of a notebook's cell.
    """

    @wraps(draw)
    def drawn(*args: Chart.args, **kwargs: Chart.kwargs) -> Axes:
        given = kwargs.get("ax", args[1] if len(args) > 1 else None)
        before = {*given.lines, given.get_legend()} if isinstance(given, Axes) else set()
        ax = draw(*args, **kwargs)
        _scale(ax, before)
        for text in ax.findobj(Text):
            assert isinstance(text, Text)
            fonts = family(text.get_text())
            if fonts is not None:
                text.set_fontfamily(fonts)
        # IPython asks an object for this method before it writes its repr. The Axes remains one,
        # and no formatter of IPython's changes.
        ax._ipython_display_ = partial(_display, ax)  # type: ignore[attr-defined]
        return ax

    return drawn


def _scale(ax: Axes, before: set[Any]) -> None:
    """Make the lines and marks that a chart drew as much larger as its type is."""
    legend = ax.get_legend()
    handles = [] if legend is None or legend in before else legend.legend_handles
    for line in [*(line for line in ax.lines if line not in before), *handles]:
        if isinstance(line, Line2D):
            line.set_linewidth(line.get_linewidth() * unit())
            line.set_markersize(line.get_markersize() * unit())


def _display(ax: Axes) -> None:
    """Show nothing where the picture is about to be shown, else the picture."""
    figure = ax.get_figure(root=True)
    if any(manager.canvas.figure is figure for manager in Gcf.get_all_fig_managers()):
        return
    from IPython.display import display

    display(figure)  # type: ignore[no-untyped-call]


def axes(ax: Axes | None, *, height: float = 4.0) -> Axes:
    """Return `ax`, or that of a new figure: as wide as `rcParams["figure.figsize"]` where that was
    set, else as a notebook; `height` is in inches for type of the default size, and grows with it.

    Raises
    ------
    ArgumentError
        It is no Axes.
    """
    if ax is None:
        set_width = float(rcParams["figure.figsize"][0])
        width = _NOTEBOOK_WIDTH if set_width == _DEFAULT_WIDTH else set_width
        return plt.subplots(figsize=(width, height * unit()), layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise ArgumentError(
            f"ax must be an Axes of matplotlib, not {type(ax).__name__}. Omit it for a new figure."
        )
    return ax


def inches(ax: Axes, beside: float | None = None) -> float:
    """Return about how wide the Axes will be when its figure is laid out, which happens only as it
    is drawn. `beside` is the width of the labels next to it.
    """
    figure, spec = ax.figure, ax.get_subplotspec()
    present = ax.bbox.width / figure.dpi
    if spec is None or figure.get_layout_engine() is None:
        return float(present)
    columns = len(spec.colspan) / spec.get_gridspec().ncols
    every = columns * figure.bbox.width / figure.dpi
    if beside is None:
        return float(max(present, 0.88 * every))
    return float(max(every - beside - 0.3 * unit(), 0.3 * every))


def dress(ax: Axes, title: str, *, x: str = "", y: str = "", beside: float | None = None) -> None:
    """Give the Axes its title at the left, its labels, and only the lines that help to read."""
    colors = pen(ax)
    heading = wrapped(title, 0.98 * inches(ax, beside), large(), 160)
    ax.set_title(heading, loc="left", fontsize=large(), color=colors.ink, **PLAIN)
    ax.set_xlabel(x, loc="left", fontsize=normal(), color=colors.ink, **PLAIN)
    ax.set_ylabel(y, fontsize=normal(), color=colors.ink, **PLAIN)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(colors.line)
    ax.tick_params(labelsize=normal(), labelcolor=colors.ink, color=colors.line)
    ax.grid(False)


def note(
    ax: Axes,
    x: float,
    y: float,
    text: str,
    *,
    at: Any = None,
    color: str | None = None,
    size: float | None = None,
    ha: str = "left",
    va: str = "center",
    shift: tuple[float, float] = (0, 0),
    box: str | None = None,
) -> Text:
    """Write a text of the chart at a place, moved by points, for type of the default size.

    `at` is the transform of the place, that of the data by default; `box` the colour under it.
    """
    properties: dict[str, Any] = {
        "ha": ha,
        "va": va,
        "fontsize": normal() if size is None else size,
        "color": color or pen(ax).ink,
        "zorder": 6,
        **PLAIN,
    }
    if box is not None:
        properties["bbox"] = {"facecolor": box, "edgecolor": "none", "alpha": 0.85, "pad": 0.8}
    place = ax.transData if at is None else at
    if not any(shift):
        return ax.text(x, y, text, transform=place, **properties)
    return ax.annotate(
        text,
        (x, y),
        xycoords=place,
        xytext=(shift[0] * unit(), shift[1] * unit()),
        textcoords="offset points",
        annotation_clip=False,
        **properties,
    )


def note_under(
    ax: Axes, x: float, line: int, text: str, *, at: Any, color: str, ha: str = "center"
) -> None:
    """Write a small text under the ticks of an axis, in a line of such texts, from 0."""
    shift = (-22 if ha == "right" else 0, -(_FIRST_LINE + line * _NEXT_LINE))
    note(ax, x, 0, text, at=at, color=color, size=small(), ha=ha, shift=shift)


def ticks(ax: Axes, most: float, inches: float) -> None:
    """Put ticks at round whole numbers up to `most`, which is `inches` from 0; beyond it there is
    room for text.
    """
    room = int(inches / (width(number(most), normal()) + 0.15 * unit()))
    places = [
        place
        for place in MaxNLocator(
            nbins=int(np.clip(room, 1, 6)), integer=True, steps=[1, 2, 2.5, 5, 10]
        ).tick_values(0, most)
        if place <= most
    ]
    ax.set_xticks(places, [number(place) for place in places])


def legend_below(
    ax: Axes, handles: Sequence[Artist] | None = None, *, beside: float | None = None
) -> None:
    """Put the legend at the right under the axis: on the line of its label where both fit, else
    under it. `beside` is the width of the labels next to the Axes.
    """
    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    if not handles:
        return
    room = inches(ax, beside)
    em = small() / 72
    # A handle of 1.8, its pad of .8, and a column's space of 1.2, in widths of an m.
    widths = [width(str(each.get_label()), small()) + 3.8 * em for each in handles]
    # In as few lines as fit, each about as long. Legends are filled column by column.
    for lines in range(1, len(widths) + 1):
        columns = -(-len(widths) // lines)
        across = sum(max(column) for column in np.array_split(widths, columns))
        if across <= room:
            break
    label = ax.get_xlabel()
    beside_label = across + width(label, normal()) + 2 * em <= room
    drop = 20 if beside_label or not label else 36
    legend = ax.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(1.0, 0.0),
        bbox_transform=ax.transAxes
        + ScaledTranslation(0, -drop * unit() / 72, ax.figure.dpi_scale_trans),
        ncols=columns,
        frameon=False,
        fontsize=small(),
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
    note(ax, 0.5, 0.5, what, at=ax.transAxes, ha="center", color=pen(ax).faint)
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
    """Return a text for the group of each row, its values joined; empty where there are no groups.

    Where an id has its name beside it (`customer` and `customer_name`), the name is enough, with
    the id for namesakes alone.
    """
    result = pd.Series([""] * len(frame), dtype="str")
    ids = [name for name in names if _name_beside(name, names)]
    shown_columns = [name for name in names if name not in ids]
    for name in shown_columns:
        column = frame[name]
        of_id = next((each for each in ids if _name_beside(each, names) == name), None)
        if of_id is not None:
            column = column.astype(object).where(column.notna(), frame[of_id])
        values = pd.Series([plain_text(value) for value in column], dtype="str")
        result = values if name == shown_columns[0] else result + ", " + values
    if ids:
        keys = group_names(frame, ids)
        namesakes = keys.groupby(result).transform("nunique") > 1
        result = result.mask(namesakes, result + " (" + keys + ")")
    return result


def _name_beside(name: Any, names: Sequence[Any]) -> str | None:
    """Return the column of `names` that names what this one identifies; None: there is none."""
    stem = str(name).removesuffix("_id")
    return next((each for each in names if each == f"{stem}_name"), None)


def by_words(names: Sequence[Any]) -> str:
    """Return the columns of `by` as a title says them: owner for owner_name."""
    words = []
    for name in names:
        if _name_beside(name, names):
            continue
        stem = str(name).removesuffix("_name")
        words.append(stem.replace("_", " ") if stem != str(name) else stem)
    return ", ".join(words)


def largest(
    rows: pd.DataFrame,
    by: Sequence[Any],
    size: Floats,
    top: int | None,
    most: int,
    usual: int | None = None,
) -> tuple[npt.NDArray[np.int64], int]:
    """Return the number of each row's group, and how many groups are left out.

    Up to `top` groups, or as many as can be read (`most`), are numbered as in the frame. Of more,
    the largest by the sum of `size` remain (`usual` of them without `top`), the largest first, and
    rows of others have -1.

    Raises
    ------
    ArgumentError
        `top` is no number of groups from 1 to `most`.
    """
    if top is not None:
        check_top(top, max(most, 1))
    if not by or not len(rows):
        return np.zeros(len(rows), np.int64), 0
    code = rows.groupby([*by], sort=False, dropna=False, observed=True).ngroup()
    number = np.asarray(code.to_numpy(np.int64), dtype=np.int64)
    count, limit = int(number.max()) + 1, max(most, 1) if top is None else int(top)
    if count <= limit:
        return number, 0
    limit = limit if top is not None else usual or limit
    sums = np.bincount(number, np.abs(np.nan_to_num(size)), minlength=count)
    rank = np.full(count, -1, np.int64)
    rank[np.argsort(-sums, kind="stable")[:limit]] = np.arange(limit)
    return rank[number], count - limit


def check_top(top: int, most: int) -> None:
    """Raise `ArgumentError` where `top` is no number from 1 to `most`."""
    if isinstance(top, bool) or not isinstance(top, int | np.integer):
        raise ArgumentError(f"top={top!r} must be a number, such as 5.")
    if not 1 <= top <= most:
        raise ArgumentError(f"top={top} must be from 1 to {most}: more cannot be read here.")


def of_many(heading: str, by: Sequence[Any], drawn: int, more: int) -> str:
    """Return a title with the columns of `by`, and how many groups there are beyond those drawn."""
    heading += f", by {by_words(by)}"
    return f"{heading}: the largest {drawn}, and {more} more" if more else heading


def by_stage(
    rows: pd.DataFrame, group: pd.Series[Any], rank: npt.NDArray[np.int64]
) -> tuple[pd.DataFrame, pd.Series[Any]]:
    """Return the rows with the groups of a stage together: stages in their order in the frame,
    groups in that of `rank`, without those of rank -1.
    """
    order = np.lexsort((rank, _stage_numbers(rows)))
    order = order[rank[order] >= 0]
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


class RowNames(NamedTuple):
    """Labels of rows, the names above the first of a stage, and how wide the labels are."""

    labels: list[str]
    heads: list[str]
    beside: float


def row_names(stages: Sequence[str], group: pd.Series[Any] | None) -> RowNames:
    """Return the names of rows: their stage, or their group with the stage above the first of
    it.
    """
    size, room = normal(), 2.5 * unit()
    heads = [fitted(name, room, size) for name in stages]
    labels = heads if group is None else [fitted(name, room, size, 24) for name in group]
    beside = max((width(label, size) for label in labels), default=0.0) + 0.1
    return RowNames(labels, [] if group is None else heads, beside)


def name_rows(ax: Axes, names: RowNames, y: Floats) -> None:
    """Name the rows at `y`."""
    ax.set_yticks(y, names.labels, **PLAIN)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    for at, head in enumerate(names.heads):
        if at == 0 or y[at] - y[at - 1] > 1:
            note(ax, 0.0, y[at] - 0.72, head, at=ax.get_yaxis_transform())


def several_groups(frame: pd.DataFrame, names: Sequence[Any]) -> bool:
    """Return whether the columns of `by` hold more than one combination."""
    return bool(names) and len(frame[[*names]].drop_duplicates()) > 1


def each_group(names: Sequence[Any], chart: str) -> str:
    """Return the line of code that draws each group on its own Axes."""
    return f"for name, part in frame.groupby({[*names]!r}, dropna=False): plot.{chart}(part)"


def stage_names(rows: pd.DataFrame) -> list[str]:
    """Return the name of each row's stage, with the pipeline where several have it; the id where
    there is no name.
    """
    names = [
        f"(stage {plain_text(stage)}, not in stages)" if pd.isna(name) else str(name)
        for stage, name in zip(rows["stage_id"], rows["stage"], strict=True)
    ]
    if "pipeline_id" in rows and len(rows["pipeline_id"].drop_duplicates()) > 1:
        names = [
            f"{name} (pipeline {plain_text(pipeline)})"
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


def legend_name(value: Any, most: int = 24) -> str:
    """Return a name as `shown`, in a form that matplotlib includes in a legend: it leaves out names
    that begin with an underscore.
    """
    text = shown(value, most)
    return f" {text}" if text.startswith("_") else text

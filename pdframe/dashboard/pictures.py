"""Charts as pictures: SVG for the report, PNG for the dashboard. No other module here draws."""

from __future__ import annotations

import io
import re
from contextlib import ExitStack
from typing import Literal, TypeAlias

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from pdframe import plot
from pdframe.dashboard._parts import Chart

__all__ = ["PAPER", "Theme", "png", "svg"]

Theme: TypeAlias = Literal["light", "dark"]
PAPER = {"light": "#ffffff", "dark": "#16191d"}
"""Background of charts, and of the page under them."""
WIDTH = 7.2
"""Of a chart, in inches."""
_DENSITY = 192
# A fixed salt: the same chart has the same bytes.
_SALT = "pdframe"
_COMMENT = re.compile(rb"[ \t]*<!--.*?-->\n?", re.DOTALL)


def svg(chart: Chart, theme: Theme) -> bytes:
    """Return a chart as SVG, with its text as outlines: it needs no font of the reader."""
    with _themed(theme):
        return _saved(chart, "svg")


def png(chart: Chart, theme: Theme, width: float = WIDTH) -> bytes:
    """Return a chart as PNG, at twice the density of a screen, `width` inches wide."""
    with _themed(theme):
        return _saved(chart, "png", width)


def _themed(theme: Theme) -> ExitStack:
    restore = plot.style(theme)
    paper = PAPER[theme]
    mpl.rcParams.update(
        {
            "figure.facecolor": paper,
            "axes.facecolor": paper,
            "savefig.facecolor": paper,
            "svg.hashsalt": _SALT,
            "svg.fonttype": "path",
        }
    )
    return restore


def _saved(chart: Chart, kind: Literal["svg", "png"], width: float = WIDTH) -> bytes:
    # Not through pyplot: no figure stays open, and the reader's own figure stays the current one.
    dpi = _DENSITY if kind == "png" else None
    engine = ConstrainedLayoutEngine()
    figure = Figure(figsize=(width, chart.height), dpi=dpi, layout=engine)
    canvas = FigureCanvasAgg(figure)
    chart.draw(figure.add_subplot())
    target = io.BytesIO()
    if kind == "png":
        # Laid out here: `savefig` draws everything once more for it.
        engine.execute(figure)
        figure.set_layout_engine("none")
        canvas.print_png(target, pil_kwargs={"compress_level": 3})  # type: ignore[no-untyped-call]
        return target.getvalue()
    figure.savefig(target, format=kind, metadata={"Date": None, "Creator": None})
    # matplotlib repeats each text in a comment; the outlines need none.
    return _COMMENT.sub(b"", target.getvalue())

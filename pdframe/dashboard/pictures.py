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
from matplotlib.transforms import Bbox

from pdframe import plot
from pdframe.dashboard._parts import Chart

__all__ = ["PAPER", "THEMES", "Theme", "pngs", "svg"]

Theme: TypeAlias = Literal["light", "dark"]
THEMES: tuple[Theme, Theme] = ("light", "dark")
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
        figure, _ = _figure(chart, WIDTH, None, ConstrainedLayoutEngine())
        target = io.BytesIO()
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    # matplotlib repeats each text in a comment; the outlines need none.
    return _COMMENT.sub(b"", target.getvalue())


def pngs(chart: Chart, width: float = WIDTH) -> tuple[bytes, bytes]:
    """Return a chart as PNG in a light and a dark theme, at twice the density of a screen, `width`
    inches wide.
    """
    places: list[Bbox] = []
    light, dark = (_png(chart, theme, width, places) for theme in THEMES)
    return light, dark


def _png(chart: Chart, theme: Theme, width: float, places: list[Bbox]) -> bytes:
    """Draw a chart. `places` are those of its axes; empty: they are computed, and kept there."""
    with _themed(theme):
        engine = ConstrainedLayoutEngine()
        figure, canvas = _figure(chart, width, _DENSITY, engine)
        if places:
            # Themes differ in colours alone.
            for axes, place in zip(figure.axes, places, strict=True):
                axes.set_position(place, which="original")
        else:
            engine.execute(figure)
            places += [axes.get_position(original=True) for axes in figure.axes]
        # `savefig` would lay out and draw everything once more.
        figure.set_layout_engine("none")
        target = io.BytesIO()
        canvas.print_png(target, pil_kwargs={"compress_level": 3})  # type: ignore[no-untyped-call]
        return target.getvalue()


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


def _figure(
    chart: Chart, width: float, dpi: float | None, engine: ConstrainedLayoutEngine
) -> tuple[Figure, FigureCanvasAgg]:
    # Not through pyplot: no figure stays open, and the reader's own figure stays the current one.
    figure = Figure(figsize=(width, chart.height), dpi=dpi, layout=engine)
    canvas = FigureCanvasAgg(figure)
    chart.draw(figure.add_subplot())
    return figure, canvas

"""Colours and sizes of charts. Those of text and lines follow matplotlib's settings, those of data
are seen on light and dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb, to_rgba
from matplotlib.font_manager import FontProperties

# Each has a contrast of 3 to white and to black at least, so that marks are seen on both.
BLUE, ORANGE, GREEN, RED, SKY, PURPLE, GREY = (
    "#2a6acb",
    "#bd8a00",
    "#009a77",
    "#cc3d3d",
    "#2a9fc2",
    "#a44fa8",
    "#6f6f6f",
)
COLORS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "h", "d")
DASHES = ("-", "--", "-.", ":")

# Of text, and of lines that help to read, to what is under them.
_READABLE, _FAINT, _LINE, _LINE_ON_DARK = 4.5, 5.3, 1.55, 2.0


class Mark(NamedTuple):
    """Colour, marker and dashes of the n-th group, which differ with and without colour."""

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


DARK_INK, LIGHT_INK = "#222222", "#e8e8e8"


def unit() -> float:
    """Return how large type is, 1 by matplotlib's default: sizes and room for text grow with it."""
    return FontProperties(size=rcParams["axes.labelsize"]).get_size_in_points() / 10.0


def small() -> float:
    """Return the size of lesser text, in points."""
    return 8.0 * unit()


def normal() -> float:
    """Return the size of text, in points."""
    return 9.0 * unit()


def large() -> float:
    """Return the size of titles, in points."""
    return FontProperties(size=rcParams["axes.titlesize"]).get_size_in_points() * 11.0 / 12.0


def pen(ax: Axes) -> Pen:
    """Return the colours of matplotlib's settings, as far as they can be read on the background of
    the Axes, whichever theme set it.
    """
    figure = ax.get_figure(root=True)
    grounds = [to_rgba(ax.get_facecolor())] if ax.axison else []
    grounds += [to_rgba(figure.get_facecolor())] if figure is not None else []
    opaque = next((color for color in grounds if color[3] > 0.5), None)
    own = to_hex(rcParams["text.color"])
    # Where all is transparent, the theme's own text shows what the page is like.
    is_dark = luminance(to_rgb(own)) > 0.6 if opaque is None else luminance(opaque) < 0.18
    paper = to_hex(opaque) if opaque is not None else "#111111" if is_dark else "#ffffff"
    ink = own if contrast(own, paper) >= _READABLE else readable(paper)
    line, least = to_hex(rcParams["grid.color"]), _LINE_ON_DARK if is_dark else _LINE
    return Pen(
        ink,
        _toward(ink, paper, _FAINT),
        _toward(line if contrast(line, paper) > least else ink, paper, least),
        paper,
        is_dark,
    )


def readable(color: str) -> str:
    """Return the ink, dark or light, that is read better on a colour."""
    return max((DARK_INK, LIGHT_INK, "#ffffff"), key=lambda ink: contrast(ink, color))


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21, as WCAG 2 defines it."""
    low, high = sorted(luminance(to_rgb(color)) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def luminance(color: Sequence[float]) -> float:
    """Return how light a colour is, from 0 to 1, as WCAG 2 defines it."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color[:3]
    ]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def blend(color: str, paper: str, share: float) -> str:
    """Return so much of a colour on paper."""
    red, green, blue = share * np.array(to_rgb(color)) + (1 - share) * np.array(to_rgb(paper))
    return to_hex((float(red), float(green), float(blue)))


@lru_cache(maxsize=64)  # every text of a chart asks for its pen
def _toward(color: str, paper: str, least: float) -> str:
    """Return the palest mixture of a colour with the paper that has this contrast to it."""
    shares = np.linspace(0, 1, 101)
    return next(
        (
            mixed
            for mixed in (blend(color, paper, share) for share in shares)
            if contrast(mixed, paper) >= least
        ),
        color,
    )


def mark(number: int) -> Mark:
    """Return the mark of the n-th group; the first 12 differ in more than the colour."""
    return Mark(
        COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)], DASHES[number % len(DASHES)]
    )


def fill(number: int, paper: str) -> str:
    """Return the colour of the n-th part of a stack: the second round of colours is paler."""
    color = COLORS[number % len(COLORS)]
    return color if number < len(COLORS) else blend(color, paper, 0.5)

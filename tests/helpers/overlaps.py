"""Which texts of a figure overlap, or leave it."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

# In points: descenders and the space around letters may touch.
SLACK = 1.0


def visible_texts(figure: Figure) -> list[Text]:
    """Every text that is drawn: titles, labels of ticks within the limits, legends, notes."""
    beyond = {id(text) for ax in figure.findobj(Axes) for text in _beyond(ax)}
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and id(text) not in beyond
    ]


def _beyond(ax: Axes) -> list[Text]:
    """Labels of ticks that are not drawn, because they lie outside of the limits."""
    result = []
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        room = (high - low) * 1e-9
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            there = ax.axison and axis.get_visible() and low - room <= tick.get_loc() <= high + room
            if not there:
                result += [tick.label1, tick.label2]
    return result


def corners(text: Text) -> np.ndarray[Any, Any]:
    """The rectangle around a text, turned as the text is, less the slack."""
    box = text.get_window_extent()
    middle, angle = np.array([box.x0 + box.x1, box.y0 + box.y1]) / 2, text.get_rotation()
    if angle % 360:
        # The box around a turned rectangle has its middle.
        text.set_rotation(0)
        flat = text.get_window_extent()
        text.set_rotation(angle)
    else:
        flat = box
    slack = SLACK * text.figure.dpi / 72
    half = np.maximum(np.array([flat.width, flat.height]) / 2 - slack, 0.1)
    turn = np.deg2rad(angle)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return middle + (signs * half) @ matrix.T


def meet(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Whether two rectangles meet: there is no line between them along a side of either."""
    for rectangle in (one, other):
        for side in (rectangle[1] - rectangle[0], rectangle[3] - rectangle[0]):
            first, second = one @ side, other @ side
            if first.max() <= second.min() or second.max() <= first.min():
                return False
    return True


def overlaps(figure: Figure) -> list[str]:
    """What is wrong with the texts of a figure that was drawn: pairs that overlap, and those that
    leave the page.
    """
    every = [(text, corners(text)) for text in visible_texts(figure)]
    result = [
        f"{one.get_text()!r} overlaps {other.get_text()!r}"
        for (one, first), (other, second) in combinations(every, 2)
        if meet(first, second)
    ]
    page = figure.bbox
    return result + [
        f"{text.get_text()!r} leaves the page"
        for text, points in every
        if points[:, 0].min() < -1
        or points[:, 1].min() < -1
        or points[:, 0].max() > page.width + 1
        or points[:, 1].max() > page.height + 1
    ]

"""Horizontal bars, one a name, the largest first, each with its text after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.plot import _style as style

# Of the width, for bars at least.
_LEAST = 0.35


def ranking(
    ax: Axes | None,
    title: str,
    names: Sequence[str],
    values: style.Floats,
    texts: Sequence[str],
    *,
    rest: bool = False,
    nothing: str,
) -> Axes:
    """Draw a bar for each name, from above; with `rest` the last one, of all others, is grey."""
    labels = style.row_names(names, None)
    ax = style.axes(ax, height=0.9 + max(len(names), 2) * 0.32)
    style.dress(ax, title, beside=labels.beside)
    if not len(names):
        return style.empty(ax, nothing)
    colors = [style.BLUE] * len(names)
    if rest:
        colors[-1] = style.GREY
    y = np.arange(len(names), dtype=np.float64)
    ax.barh(y, values, height=0.66, color=colors, linewidth=0)
    inches, size = style.inches(ax, labels.beside), style.small()
    after = [style.fitted(text, (1 - _LEAST) * inches, size, 80) for text in texts]
    need = max(style.width(text, size) for text in after) + 0.2 * style.unit()
    share = max(1 - need / inches, _LEAST)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    length = (high - low) or 1.0
    for at, text in enumerate(after):
        style.note(ax, max(float(values[at]), 0.0), y[at], text, size=size, shift=(5, 0))
    style.name_rows(ax, labels, y)
    ax.set_xlim(low, low + length / share)
    ax.set_ylim(len(names) - 0.4, -0.6)
    # Each bar has its number beside it.
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    ax.axvline(0, color=style.pen(ax).faint, linewidth=0.8)
    return ax


def with_ids(names: Sequence[Any], ids: Sequence[Any]) -> list[str]:
    """Return names as text, the id where there is none, and the id beside it for namesakes."""
    texts = [
        style.plain_text(number if pd.isna(name) else name)
        for name, number in zip(names, ids, strict=True)
    ]
    twice = pd.Series(texts, dtype="str").duplicated(keep=False)
    return [
        f"{text} ({style.plain_text(number)})" if doubled and not pd.isna(name) else text
        for text, number, doubled, name in zip(texts, ids, twice, names, strict=True)
    ]

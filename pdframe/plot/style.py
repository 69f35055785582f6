"""The look of charts: light, dark, and with larger type for slides."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from pdframe.errors import ArgumentError

_STYLES = {
    "light": "default",
    "dark": "dark_background",
    "presentation": "pdframe.plot.presentation",
}


def style(*names: str) -> ExitStack:
    """Set the look of the charts that follow; in a `with` statement, of those in it alone.

    Charts follow matplotlib's own settings, so that `plt.style.use` does as well, with
    "dark_background", "pdframe.plot.presentation" or a style of your own.

    Parameters
    ----------
    *names
        "light": matplotlib's default. "dark": a dark background. "presentation": type of 16 points
        on a figure as wide as a slide. Or any style of matplotlib's. Several are applied in this
        order: `style("dark", "presentation")`.

    Returns
    -------
    ExitStack
        At the end of a `with` statement it restores the settings; else it is not needed.

    Raises
    ------
    ArgumentError
        There is no such style, or none is named.

    Examples
    --------
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> funnel = metrics.funnel(visits, stages, as_of="2026-06-30", pipeline_id=2)
    >>> with plot.style("dark", "presentation"):
    ...     ax = plot.funnel(funnel)
    >>> ax.xaxis.label.get_fontsize() > 14
    True
    """
    every = [*_STYLES, *plt.style.available]
    wrong = [name for name in names if name not in every and "." not in str(name)]
    if wrong or not names:
        what = f"There is no style {wrong[0]!r}" if wrong else "No style is named"
        raise ArgumentError(
            f"{what}. Write plot.style('light'), 'dark', 'presentation', or a style of"
            " matplotlib.style.available."
        )
    restore = ExitStack()
    # Not mpl.rc_context(): without a `with` statement it ends as soon as it is garbage.
    before: Any = dict(mpl.rcParams.copy())
    del before["backend"]
    restore.callback(_restore, before)
    try:
        plt.style.use([_STYLES.get(name, name) for name in names])
    except OSError as missing:
        restore.close()
        raise ArgumentError(f"matplotlib has no such style: {missing}") from None
    return restore


def _restore(settings: Any) -> None:
    """Set matplotlib's settings, without its warnings of those that it deprecates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mpl.rcParams.update(settings)

"""Why this forecast differs from the last one: a waterfall."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from pdframe.plot import _months as months
from pdframe.plot import _style as style
from pdframe.plot import _waterfall as waterfall
from pdframe.plot._waterfall import Step
from pdframe.plot.pipeline_movements import refuse_residual

# Change and colour, in the order of the identity.
_CHANGES = (
    ("new", style.BLUE),
    ("won", style.GREEN),
    ("lost", style.RED),
    ("moved", style.SKY),
    ("aged", style.ORANGE),
    ("repriced", style.GREEN),
    ("model", style.PURPLE),
)
_NEEDED = ("currency", "expected_before", *(name for name, _ in _CHANGES), "expected_after")


@style.chart
def forecast_changes(
    frame: pd.DataFrame, ax: Axes | None = None, *, title: str | None = None
) -> Axes:
    """Draw what changed between two forecasts of the same periods.

    Parameters
    ----------
    frame
        What `metrics.forecast_changes` returns, or some of its rows, in one currency: rows are
        added up.
    ax
        Where to draw; None: a new figure of notebook width.
    title
        None: a title that says what it shows.

    Returns
    -------
    Axes
        The expectation at `before`, a bar for each kind of change, the expectation at `after`.
        `moved`: changes of stage, pipeline, owner or expected close; `aged`: deals became older,
        and less time remains; `repriced`: values changed; `model`: what the method learned
        meanwhile.

    Raises
    ------
    ArgumentError
        A missing column, several currencies, null amounts, or changes that do not add up.

    Examples
    --------
    >>> frames = account.deals(deleted=True), account.stage_visits(), account.stages()
    >>> fridays = {"before": "2026-06-19", "after": "2026-06-26", "until": "2026-Q3"}
    >>> history = account.deal_history()
    >>> changes = metrics.forecast_changes(*frames, **fridays, history=history)
    >>> ax = plot.forecast_changes(changes[changes["currency"] == "EUR"])
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['before', 'new', 'won', 'lost', 'moved', 'aged', 'repriced', 'model', 'now']
    """
    rows = style.require_columns(frame, _NEEDED, "forecast_changes")
    currency = months.one_currency(rows, "pass metrics.forecast_changes `rates`")
    sums = {name: float(months.money(rows, name).sum()) for name in _NEEDED[1:]}
    steps = [Step(name, sums[name], color) for name, color in _CHANGES]
    before, after = sums["expected_before"], sums["expected_after"]
    refuse_residual(before, steps, after, "forecast_changes")
    ax = style.axes(ax, height=4.0)
    style.dress(ax, title or "What changed the forecast")
    if not any(sums.values()):
        return style.empty(ax, "Nothing was forecast.")
    waterfall.draw(ax, before, steps, after, currency, names=("before", "now"))
    return ax

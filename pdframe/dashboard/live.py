"""The dashboard in a notebook. A method of `Account`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pdframe.dashboard._data import Data, Reporting, collect
from pdframe.dashboard.state import check_period
from pdframe.metrics.currency import RateTable

if TYPE_CHECKING:
    from pdframe.dashboard.widgets import Dashboard

__all__ = ["dashboard"]


def dashboard(
    self: Reporting,
    *,
    period: Any = None,
    rates: RateTable | None = None,
    cancellations: str | None = None,
) -> Dashboard:
    """Show the account as a dashboard: a widget for JupyterLab, Notebook 7 and Voilà.

    Its controls choose a period, a pipeline, an owner, a value of any custom field, and the
    currency of amounts; they apply to every view: key figures against the period before, what
    changed, the funnel, velocity, recurring revenue, the forecast (with a quota) and the state of
    the data. Under a chart is its table, under a view are the deals that a number counts, with
    their pages in Pipedrive, and "Copy as code": the calls that give the same figures.

    What a reader sees is loaded once; the button "Refresh" fetches what changed. Where the API does
    not answer or the day's tokens are spent, it shows what is cached, and says how old that is. A
    notebook that is exported, or opened without a kernel, shows the last view as a picture.

    Parameters
    ----------
    period
        The period that is chosen first, as in `report`; None: the last 90 days.
    rates
        As in `report`: amounts of all currencies in one. None: a currency is chosen, and counts are
        of all currencies.
    cancellations
        As in `report`: the column of deals with the day on which their recurring revenue ends.

    Returns
    -------
    ipywidgets.VBox
        The widget. `state` has what was chosen, `code` the script of the view that is shown,
        `error` why it could not be computed.

    Raises
    ------
    ImportError
        ipywidgets or matplotlib is not installed: they are in `pdframe[notebook]`.
    ArgumentError
        `period` is none, or in the future; deals have no column `cancellations`.
    PdframeError
        As in `deals`, `stages` and `pipelines`. A view whose figures are refused says why instead.

    Examples
    --------
    >>> board = account.dashboard(period="2026-Q2")
    >>> board.state.period.text
    '2026-04-01 to 2026-06-30'
    >>> print(board.code.splitlines()[2])
    deals = account.deals(deleted=True)
    """
    try:
        from pdframe.dashboard import pictures as _pictures  # noqa: F401  # before any request
        from pdframe.dashboard.widgets import Dashboard
    except ImportError as missing:
        raise ImportError(
            f"The dashboard needs {missing.name}, which is not installed: pip install"
            ' "pdframe[notebook]". account.report() writes a page without ipywidgets.'
        ) from None

    check_period(period)

    def load(refresh: Any) -> Data:
        return collect(self, refresh=refresh, rates=rates, cancellations=cancellations)

    return Dashboard(load, period=period)

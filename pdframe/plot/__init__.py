"""Charts: each takes the frame of a metric and an `ax`, draws, and returns the Axes; none shows,
saves or changes matplotlib's settings. They follow these: light, dark, larger type for slides
(`style`).

>>> ax = pdframe.plot.funnel(
...     pdframe.metrics.funnel(visits, stages, as_of="2026-06-30", pipeline_id=2)
... )
>>> ax.figure.savefig("funnel.png")
"""

from __future__ import annotations

from typing import NoReturn

try:
    import matplotlib as _  # noqa: F401
except ImportError as missing:
    raise ImportError(
        'Charts need matplotlib, which is not installed: pip install "pdframe[plot]". Metrics work'
        " without it."
    ) from missing

from pdframe._advice import explain_functions, unknown_name
from pdframe.plot.activity_summary import activity_summary
from pdframe.plot.backtest import backtest
from pdframe.plot.billing import billing
from pdframe.plot.calibration import calibration
from pdframe.plot.changes_summary import changes_summary
from pdframe.plot.cohorts import retention_cohorts
from pdframe.plot.deal_aging import deal_aging
from pdframe.plot.flow import flow
from pdframe.plot.forecast import forecast
from pdframe.plot.forecast_changes import forecast_changes
from pdframe.plot.funnel import funnel
from pdframe.plot.lost_reasons import lost_reasons
from pdframe.plot.movements import arr_movements, mrr_movements
from pdframe.plot.mrr import mrr
from pdframe.plot.pipeline_movements import pipeline_movements
from pdframe.plot.sales_by_period import sales_by_period
from pdframe.plot.style import style
from pdframe.plot.survival import stage_survival
from pdframe.plot.top_customers import top_customers
from pdframe.plot.velocity import velocity
from pdframe.plot.weighted_pipeline import weighted_pipeline

__all__ = [
    "activity_summary",
    "arr_movements",
    "backtest",
    "billing",
    "calibration",
    "changes_summary",
    "deal_aging",
    "flow",
    "forecast",
    "forecast_changes",
    "funnel",
    "lost_reasons",
    "mrr",
    "mrr_movements",
    "pipeline_movements",
    "retention_cohorts",
    "sales_by_period",
    "stage_survival",
    "style",
    "top_customers",
    "velocity",
    "weighted_pipeline",
]


_MEANT = {
    "leaderboard": "plot.sales_by_period(..., leaderboard=True) is one.",
    "win_rate": "win_rate returns a plain frame: table.plot.bar(x=..., y='win_rate') of pandas.",
    "arr": "plot.mrr(..., measure='arr') is in ARR.",
    "arr_waterfall": "plot.arr_movements is the waterfall.",
    "waterfall": "plot.mrr_movements, arr_movements and pipeline_movements are waterfalls.",
    "cohorts": "plot.retention_cohorts draws metrics.revenue_cohorts.",
    "retention": "plot.retention_cohorts draws metrics.revenue_cohorts.",
    "pipeline": "plot.weighted_pipeline draws open deals by expected close; plot.funnel stages.",
    "sankey": "plot.flow draws where deals go from each stage.",
    "stage_moves": "plot.flow draws them.",
    "stage_velocity": "plot.velocity draws it.",
    "mrr_schedule": "plot.mrr draws it.",
    "billing_schedule": "plot.billing draws it.",
    "revenue_cohorts": "plot.retention_cohorts draws them.",
}
"""What people call a chart that has another name here."""

_MAIN = {
    "pipeline": ("funnel", "velocity", "flow", "deal_aging"),
    "sales": ("sales_by_period", "lost_reasons", "activity_summary", "changes_summary"),
    "revenue": ("mrr", "mrr_movements", "retention_cohorts", "top_customers", "billing"),
    "forecast": ("forecast", "weighted_pipeline", "pipeline_movements", "forecast_changes"),
}

explain_functions(globals(), __all__)


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(name, "chart", __all__, _MEANT, groups=_MAIN, every="dir(pdframe.plot)")

"""Metrics: pure functions from the loaders' frames to plain frames; none knows an account, asks a server or reads the clock."""

from __future__ import annotations

from pdframe.metrics.aging import deal_aging
from pdframe.metrics.currency import convert
from pdframe.metrics.drill import drill_through
from pdframe.metrics.funnel import funnel, funnel_deals
from pdframe.metrics.moves import stage_move_visits, stage_moves
from pdframe.metrics.past import as_of
from pdframe.metrics.quality import data_quality
from pdframe.metrics.sales import sales_velocity, win_rate
from pdframe.metrics.velocity import stage_survival, stage_velocity

__all__ = [
    "as_of",
    "convert",
    "data_quality",
    "deal_aging",
    "drill_through",
    "funnel",
    "funnel_deals",
    "sales_velocity",
    "stage_move_visits",
    "stage_moves",
    "stage_survival",
    "stage_velocity",
    "win_rate",
]

"""Metrics: pure functions from the loaders' frames to plain frames; none knows an account, asks a server or reads the clock."""

from __future__ import annotations

from pdframe.metrics.drill import drill_through
from pdframe.metrics.velocity import stage_survival, stage_velocity

__all__ = ["drill_through", "stage_survival", "stage_velocity"]

"""What the cache knows of the past of deals: stage visits, changes, states at a time."""

from __future__ import annotations

from pdframe.history.stage_visits import stage_visits

__all__ = ["stage_visits"]

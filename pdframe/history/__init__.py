"""Stage visits: the stays of deals in stages, put together from changelogs, the kept history and
the current state.
"""

from __future__ import annotations

from pdframe.history.stage_visits import stage_visits

__all__ = ["stage_visits"]

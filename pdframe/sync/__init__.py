"""Bringing cached tables up to date: the client brings bytes, frames make Arrow, the store keeps
it.
"""

from pdframe.sync.runner import UP_TO_DATE, Syncer, SyncRow

__all__ = ["UP_TO_DATE", "SyncRow", "Syncer"]

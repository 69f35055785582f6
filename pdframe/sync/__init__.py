"""Bringing cached tables up to date: the client brings bytes, frames make Arrow, the store keeps
it.
"""

from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions
from pdframe.sync.runner import UP_TO_DATE, Syncer, SyncRow

__all__ = ["DEFAULT_OPTIONS", "UP_TO_DATE", "SyncOptions", "SyncRow", "Syncer"]

"""Bringing cached tables up to date: the client brings bytes, frames make Arrow, the store keeps
it.
"""

from pdframe.sync.options import DEFAULT_OPTIONS, SyncOptions
from pdframe.sync.plan import CURRENT_NOTES
from pdframe.sync.runner import Syncer
from pdframe.sync.table_sync import SyncRow

__all__ = ["CURRENT_NOTES", "DEFAULT_OPTIONS", "SyncOptions", "SyncRow", "Syncer"]

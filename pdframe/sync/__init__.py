"""Bringing cached tables up to date: the client brings bytes, frames make Arrow, the store keeps it."""

from pdframe.sync.conduct import Syncer, SyncRow

__all__ = ["SyncRow", "Syncer"]

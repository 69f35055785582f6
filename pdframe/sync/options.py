"""Tunables of a sync: one frozen dataclass, handed from the account to all that works."""

from __future__ import annotations

from dataclasses import dataclass

from pdframe.cache.options import MEBIBYTE, CacheOptions

UNAVAILABLE = frozenset({402, 403})
"""Statuses of what this user or plan cannot see: the table is left out, the sync goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions(CacheOptions):
    """Sizes, numbers of threads and thresholds of a sync. The defaults suit every account; tests
    and benchmarks set others.

    Attributes
    ----------
    page_size : int
        Rows of a page of a list; the API allows 500 at most.
    reload_rows : int or None
        A table of at most that many rows may be reloaded in full where that costs no more than
        asking for its changes; None: `page_size`.
    workers : int
        The most requests of one table in flight at once; the client keeps as many connections.
    tables_at_once : int
        The most tables that are synced at once.
    min_latency_seconds : float
        Tables, and the ranges of a long list, are read at once only where the fastest answer took
        at least that long: nearer servers leave this process no time to spare.
    buffer_bytes : int
        Fetched pages in memory are sorted and written to disk as a run past this size.
    merge_part_bytes : int
        The most bytes of rows that one step of a merge makes.
    record_part_bytes, small_record_part_bytes : int
        The most bytes of rows in a part of a table that is fetched record by record, and the size
        of the last part up to which a save extends it instead of adding another.
    save_every_records : int
        A process that is killed loses at most the answers of that many records.
    keep_going_tokens : int
        The daily budget, of which syncs that go on with changelogs spend half, where there is no
        `max_tokens` and the API does not say its own: that of one seat of the smallest plan.
    scan_pages : int
        A list of more pages is read by several cursors at once.
    scan_probe_pages : int
        After that many pages of a list of unknown length, its newest end is probed.
    scan_range_pages : int
        A range of fewer pages is not split.
    scan_extra : float
        The share of additional requests that reading by several cursors may cost.
    """

    page_size: int = 500
    reload_rows: int | None = None
    workers: int = 16
    tables_at_once: int = 8
    min_latency_seconds: float = 0.02
    buffer_bytes: int = 8 * MEBIBYTE
    merge_part_bytes: int = 16 * MEBIBYTE
    record_part_bytes: int = 4 * MEBIBYTE
    small_record_part_bytes: int = 256 * 1024
    save_every_records: int = 50
    keep_going_tokens: int = 30_000
    scan_pages: int = 40
    scan_probe_pages: int = 8
    scan_range_pages: int = 4
    scan_extra: float = 0.05


DEFAULT_OPTIONS = SyncOptions()

"""Tunable sizes of the cache: a frozen dataclass that a `Store` receives."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """Sizes of the files that the cache writes. The defaults suit every account; tests set others.

    Attributes
    ----------
    part_bytes : int
        The most bytes of rows, in memory, that go into one Parquet part.
    batch_rows : int
        Rows of a record batch of a sorted run: of each run, at least that many are in memory during
        a merge.
    parts_per_level : int
        That many small neighbouring parts of one level are compacted into one part.
    small_part_rows, small_part_bytes : int
        A part is small, and can be compacted, up to these sizes.
    compacted_bytes : int
        The most bytes of rows, in memory, of a compacted part.
    """

    part_bytes: int = 64 * MEBIBYTE
    batch_rows: int = 500
    parts_per_level: int = 10
    small_part_rows: int = 5_000
    small_part_bytes: int = 128 * 1024
    compacted_bytes: int = 8 * MEBIBYTE


DEFAULT_CACHE_OPTIONS = CacheOptions()

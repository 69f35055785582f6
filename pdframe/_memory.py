"""Giving memory back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import sys

import pyarrow as pa


def release_memory() -> None:
    """Give back what a large table took and nobody holds any more: Arrow's pool and glibc, in the
    heaps of threads, keep it for later.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)

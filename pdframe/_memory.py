"""Return unused memory to the system."""

from __future__ import annotations

import contextlib
import ctypes
import sys

import pyarrow as pa

__all__ = ["release_memory"]


def release_memory() -> None:
    """Return memory that a large table used: Arrow's pool and glibc keep it for later otherwise."""
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)

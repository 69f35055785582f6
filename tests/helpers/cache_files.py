"""The files of a cache, looked at without pdframe."""

from __future__ import annotations

import hashlib
from pathlib import Path


def files(cache: Path) -> dict[str, str]:
    """The hash of every file; a folder has none."""
    paths = sorted(cache.rglob("*"))
    return {
        str(path.relative_to(cache)): ""
        if path.is_dir()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def folder(cache: Path) -> Path:
    """The folder of the one account in a cache."""
    return next(path for path in cache.iterdir() if path.is_dir())

"""Choose and check the cache folder, and name the folder of an account."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

from pdframe._files import refuse_broken_link
from pdframe.errors import CacheError

__all__ = ["check_usable", "check_writable", "default_cache_dir", "readable_key"]


def default_cache_dir(start: Path | None = None) -> Path:
    """Return `cache/` of the nearest parent folder that has one, else `./cache`."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if os.path.isdir(folder / "cache"):
            return folder / "cache"
    return here / "cache"


def check_writable(cache_dir: Path) -> None:
    """Raise `CacheError` before tokens are spent, where `cache_dir` cannot hold a cache."""
    refuse_broken_link(cache_dir, cache_dir)
    folder = cache_dir
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    why = "" if folder.is_dir() else "not a folder"
    if not why and not _can_be_written(folder):
        why = "not writable"
    if why:
        raise CacheError(
            f"The cache folder {cache_dir} cannot be written: {folder} is {why}. No request was"
            " sent. Give another one with cache_dir=... or PDFRAME_CACHE_DIR."
        )


def _can_be_written(folder: Path) -> bool:
    """Tell whether a file can be made in a folder: permissions alone do not say so."""
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_usable(cache_dir: Path) -> None:
    """Raise `CacheError` where `cache_dir` can neither be written nor holds anything to read."""
    is_readable = os.access(cache_dir, os.R_OK | os.X_OK) and os.path.isdir(cache_dir)
    if not (is_readable and any(cache_dir.iterdir())):
        check_writable(cache_dir)


def readable_key(*parts: str) -> str:
    """Join `parts` into a folder name that a person can read and every file system takes.

    Where characters were replaced, a short digest of the original keeps two names distinct.
    """
    raw = "-".join(parts)
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", raw).strip("._-")[:80] or "account"
    if plain == raw:
        return plain
    return f"{plain}-{hashlib.sha256(raw.encode('utf-8', 'replace')).hexdigest()[:8]}"

"""The files of a cache, and the tables in them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa

import pdframe
from pdframe._files import Part, PartWriter
from pdframe.cache.store import Store


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


def store_of(account: pdframe.Account) -> Store:
    """Return a store on the cache of an account."""
    return Store(account.cache_path.parent, account.cache_path.name)


def write_part(folder: Path, name: str, table: pa.Table) -> Part:
    """Write a table to a part file."""
    with PartWriter(folder, name, table.schema) as writer:
        writer.add(table)
    return writer.part

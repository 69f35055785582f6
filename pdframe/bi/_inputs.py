"""What an export is computed from: where nothing of it changed, the files are left as they are."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from pdframe.bi.layout_tables import VISIT_TABLES, VISITS, Choice, Exporting
from pdframe.loaders.base import name_columns
from pdframe.schema import TABLES
from pdframe.sync.fetch_state import state_name
from pdframe.sync.metadata import METADATA
from pdframe.sync.plan import is_old

_WHEN_FETCHED = frozenset(
    state_name(name) for name, table in TABLES.items() if table.sources[0].batch
)
"""What says when line items and installments were fetched, which every sync writes: no row of an
export is made of it.
"""


def inputs_id(account: Exporting, arguments: Mapping[str, Any]) -> str:
    """Return the digest of everything that an export is computed from: the cached rows of the
    account, the arguments, and this version.
    """
    cached = {
        manifest.table: [(part.rows, part.bytes, part.crc32) for part in manifest.parts]
        for manifest in account._store.readable_manifests()
        if manifest.table not in _WHEN_FETCHED
    }
    content = {
        "cached": cached,
        "arguments": dict(arguments),
        "tz": account.tz,
        "currency": account.currency,
        "version": sys.modules["pdframe"].__version__,
    }
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def is_fresh(account: Exporting, choice: Choice, done: Iterable[str]) -> bool:
    """Whether the loaders of these tables would send no request, because their rows, names and
    fields are younger than `max_age`, or were brought up to date now (`done`).
    """
    if choice.refresh is False:
        return True
    current = set(done)
    if not current and (choice.refresh or account._max_age == timedelta(0)):
        return False
    wanted = set()
    for name in choice.tables:
        for table in VISIT_TABLES if name == VISITS else (name,):
            declared = TABLES[table]
            wanted |= {table, *(column.table for column in name_columns(declared, choice.names))}
            wanted |= {declared.field_list} if declared.field_list else set()
    return all(name in current or _is_young(account, name) for name in wanted)


def _is_young(account: Exporting, name: str) -> bool:
    syncer = account._syncer
    manifest = account._store.manifest(name)
    if manifest is None:
        return False
    is_metadata = name in METADATA and account._max_age is not None
    age = syncer.metadata_age if is_metadata else account._max_age
    return not is_old(manifest.synced_at, age, syncer.now())


__all__ = ["inputs_id", "is_fresh"]

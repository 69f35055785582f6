"""Lists of metadata: what describes rows, and when rows show that such a list is out of date.

Field lists, users, stages, pipelines, boards, phases and project templates seldom change, so a sync
of everything reads them again only after `metadata_age`. A row that holds an id or a hash that they
lack shows that one of them did change: then that list is read at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.cache.store import Store
from pdframe.fields import option_labels, optioned_fields, read_fields
from pdframe.frames import is_unknown
from pdframe.schema import TABLES
from pdframe.schema.field_lists import FIELD_LISTS

METADATA = FIELD_LISTS | {
    "users",
    "stages",
    "pipelines",
    "boards",
    "phases",
    "project_templates",
}


UNEXPLAINED = "unexplained by "
"""With the name of a table: the key of a list's state that holds the digest of what it lacks of
that table. It stays true when the list is read again, and still lacks the same.
"""


def outdated_lists(store: Store, name: str) -> list[str]:
    """Return the lists of metadata that lack an id or a hash of the cached rows of a table, unless
    they lacked the same after they were last read for it.

    Rows that did not change count too: an interrupted sync may have stopped before it read the
    lists.
    """
    return [
        other
        for other, digest in unexplained(store, name).items()
        if (manifest := store.usable_manifest(other)) is not None
        and manifest.state.get(UNEXPLAINED + name) != digest
    ]


def note_if_newer(store: Store, other: str, name: str) -> None:
    """Note what a list of metadata that this sync read lacks of a table, unless it was read before
    the newest row changed: then the next sync reads it again.
    """
    manifest, newest = store.usable_manifest(other), _newest_update(store, name)
    is_older = (
        manifest is not None
        and manifest.server_time is not None
        and newest is not None
        and newest >= manifest.server_time
    )
    if not is_older:
        note_unexplained(store, other, [name])


def note_unexplained(store: Store, other: str, names: Iterable[str]) -> None:
    """Note which ids of some tables a list of metadata lacks though it was just read: they are no
    reason to read it again.
    """
    manifest = store.usable_manifest(other)
    state = {
        UNEXPLAINED + name: digest
        for name in names
        if (digest := unexplained(store, name).get(other))
    }
    if manifest is not None and state:
        store.publish(replace(manifest, state={**manifest.state, **state}))


def unexplained(store: Store, name: str) -> dict[str, str]:
    """Return the lists of metadata that lack an id, an option or a hash of the cached rows of a
    table, each with a digest of what it lacks.

    Lists of which nothing is cached are left out.
    """
    manifest = store.manifest(name)
    if manifest is None:
        return {}
    table, fields = TABLES[name], TABLES[name].field_list
    # For each column of ids or options: the list that explains it, and what is in that list.
    known: dict[str, tuple[str, set[str]]] = {}
    missing: dict[str, set[str]] = {}
    for added in table.names:
        if added.table in METADATA and store.manifest(added.table) is not None:
            key = TABLES[added.table].key[0]
            ids = store.read(added.table, [key])[key].to_pylist()
            known[added.id] = added.table, set(map(str, ids))
    listed = []
    if fields is not None and store.manifest(fields) is not None:
        listed = store.read(fields).to_pylist()
        for column, field in optioned_fields(read_fields(listed), table).items():
            known[column] = fields, set(map(str, option_labels(field)))
    for part in store.read_parts(manifest, sorted(known)):
        for column in part.column_names:
            other, ids = known[column]
            values = part[column]
            while pa.types.is_list(values.type):
                values = pc.list_flatten(values)
            present = set(map(str, pc.unique(values).drop_null().to_pylist()))
            missing.setdefault(other, set()).update(present - ids)
    if fields is not None and listed:
        # Columns that the list of fields does not describe.
        undescribed = {field.name for field in store.schema(name) if is_unknown(field)}
        codes = {row["field_code"] for row in listed}
        missing.setdefault(fields, set()).update(undescribed - codes)
    return {
        other: hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]
        for other, names in missing.items()
        if names
    }


def _newest_update(store: Store, name: str) -> datetime | None:
    """Return the newest `update_time` of the cached rows of a table; None where there is none."""
    manifest = store.manifest(name)
    if manifest is None or "update_time" not in TABLES[name].by_name:
        return None
    parts = store.read_parts(manifest, ["update_time"])
    times = (pc.max(part["update_time"]).as_py() for part in parts if part.column_names)
    return max(filter(None, times), default=None)

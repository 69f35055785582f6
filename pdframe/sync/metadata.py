"""Lists of metadata: what describes rows, and when rows show that such a list is out of date.

Field lists, users, stages, pipelines, boards, phases and project templates seldom change, so a sync
of everything reads them again only after `metadata_age`. A row that holds an id or a hash that they
lack shows that one of them did change: then that list is read at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.cache.store import Store
from pdframe.fields import custom_fields, labelling_field, option_labels, read_fields
from pdframe.frames import is_unknown
from pdframe.schema import TABLES, Table
from pdframe.schema.field_lists import FIELD_LISTS

METADATA = FIELD_LISTS | {
    "users",
    "stages",
    "pipelines",
    "boards",
    "phases",
    "project_templates",
}


_UNEXPLAINED = "unexplained by "


def unexplained_key(table: str) -> str:
    """Return the key of a list's state that holds the digest of what it lacks of a table."""
    return f"{_UNEXPLAINED}{table}"


def unexplained_notes(state: Mapping[str, str]) -> dict[str, str]:
    """Return what the state of a list says of all tables: it stays true when the list is read
    again, and still lacks the same.
    """
    return {key: digest for key, digest in state.items() if key.startswith(_UNEXPLAINED)}


def unexplained(store: Store, name: str) -> dict[str, str]:
    """Return the lists of metadata that lack an id, an option or a hash of the cached rows of a
    table, each with a digest of what it lacks.

    Lists of which nothing is cached are left out.
    """
    manifest = store.manifest(name)
    if manifest is None:
        return {}
    known = _known_ids(store, TABLES[name]) | _known_options(store, TABLES[name])
    missing: dict[str, set[str]] = {}
    for part in store.read_parts(manifest, sorted(known)):
        for column in part.column_names:
            other, ids = known[column]
            values = part[column]
            while pa.types.is_list(values.type):
                values = pc.list_flatten(values)
            present = set(map(str, pc.unique(values).drop_null().to_pylist()))
            missing.setdefault(other, set()).update(present - ids)
    for other, names in _unknown_fields(store, TABLES[name]).items():
        missing.setdefault(other, set()).update(names)
    return {
        other: hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]
        for other, names in missing.items()
        if names
    }


def newest_update(store: Store, name: str) -> datetime | None:
    """Return the newest `update_time` of the cached rows of a table; None where there is none."""
    manifest = store.manifest(name)
    if manifest is None or "update_time" not in TABLES[name].by_name:
        return None
    parts = store.read_parts(manifest, ["update_time"])
    times = (pc.max(part["update_time"]).as_py() for part in parts if part.column_names)
    return max(filter(None, times), default=None)


def _known_ids(store: Store, table: Table) -> dict[str, tuple[str, set[str]]]:
    """Return, for each column of ids, the list of metadata that explains it, and the ids there."""
    result = {}
    for column in table.names:
        if column.table in METADATA and store.manifest(column.table) is not None:
            key = TABLES[column.table].key[0]
            ids = store.read(column.table, [key])[key].to_pylist()
            result[column.id] = column.table, set(map(str, ids))
    return result


def _known_options(store: Store, table: Table) -> dict[str, tuple[str, set[str]]]:
    """Return, for each column of options, the list of fields, and the options there."""
    name = table.field_list
    if name is None or store.manifest(name) is None:
        return {}
    fields = read_fields(store.read(name).to_pylist())
    optioned = {
        field.code: field for field in custom_fields(fields, table.reserved) if field.has_options
    } | {
        column.name: field
        for column in table.columns
        if column.options and (field := labelling_field(column, fields)) is not None
    }
    return {
        column: (name, set(map(str, option_labels(field)))) for column, field in optioned.items()
    }


def _unknown_fields(store: Store, table: Table) -> dict[str, set[str]]:
    """Return the columns of a table that its list of fields does not describe."""
    name = table.field_list
    if name is None or store.manifest(name) is None:
        return {}
    codes = set(store.read(name, ["field_code"])["field_code"].to_pylist())
    unknown = {field.name for field in store.schema(table.name) if is_unknown(field)}
    return {name: unknown - codes} if unknown - codes else {}

"""Lists of metadata: what describes rows, and when rows show that such a list is out of date.

Field lists, users, stages, pipelines, boards, phases and project templates seldom change, so a sync
of everything reads them again only after `metadata_age`. A row that holds an id or a hash that they
lack shows that one of them did change: then that list is read at once.
"""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.cache.store import Store
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


def unexplained(store: Store, name: str) -> dict[str, str]:
    """Return the lists of metadata that lack an id or a hash of the cached rows of a table, each
    with a digest of what it lacks.

    Lists of which nothing is cached are left out.
    """
    table, manifest = TABLES[name], store.manifest(name)
    columns = [column for column in table.names if column.table in METADATA]
    if manifest is None:
        return {}
    result: dict[str, list[str]] = {}
    ids: dict[str, list[pa.Array]] = {column.id: [] for column in columns}
    for part in store.read_parts(manifest, list(ids)):
        for one in part.column_names:
            ids[one].append(pc.unique(part[one]).drop_null())
    for column in columns:
        if store.manifest(column.table) is None:
            continue
        key = TABLES[column.table].key[0]
        known = store.read(column.table, [key])[key].combine_chunks()
        for some in ids[column.id]:
            unknown = some.filter(pc.invert(pc.is_in(some, value_set=known.cast(some.type))))
            result.setdefault(column.table, []).extend(map(str, unknown.to_pylist()))
    if table.field_list is not None and store.manifest(table.field_list) is not None:
        known_codes = set(store.read(table.field_list, ["field_code"])["field_code"].to_pylist())
        result[table.field_list] = [
            field.name
            for field in store.schema(name)
            if is_unknown(field) and field.name not in known_codes
        ]
    return {
        other: hashlib.sha256("\n".join(sorted(set(names))).encode()).hexdigest()[:16]
        for other, names in result.items()
        if names
    }

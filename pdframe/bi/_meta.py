"""The tables that describe a set: its columns, relationships, files, and the export itself."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from pdframe.bi._tables import ColumnNote, Relationship

COLUMNS, RELATIONSHIPS, EXPORT = "meta_columns", "meta_relationships", "meta_export"


def columns_table(described: Iterable[tuple[str, Sequence[ColumnNote]]]) -> pa.Table:
    """Return `meta_columns`: one row a table and column. `refers_to` is `references`, a word that
    SQL reserves, under a name that needs no quotes.
    """
    names = [one.name for one in fields(ColumnNote)]
    rows = [
        {
            "table_name": table,
            **{name: getattr(note, name) for name in names},
            "refers_to": note.references,
        }
        for table, notes in described
        for note in notes
    ]
    return _texts(rows, ["table_name", *names, "refers_to"])


def relationships_table(relationships: Iterable[Relationship]) -> pa.Table:
    """Return `meta_relationships`: one row a column that points to a key."""
    names = [one.name for one in fields(Relationship)]
    rows = [{name: getattr(one, name) for name in names} for one in relationships]
    texts = _texts(rows, names[:-1])
    active = pa.array([row["active"] for row in rows], pa.bool_())
    return texts.append_column("active", active)


def files_table(files: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """Return `meta_files`: one row a file of the set, without this table's own; `note` says what
    it lacks, and is null where that is nothing.
    """
    listed = sorted(files.items())
    return pa.table(
        {
            "file": pa.array([name for name, _ in listed], pa.string()),
            "content_id": pa.array([entry["content"] for _, entry in listed], pa.string()),
            "rows": pa.array([entry["rows"] for _, entry in listed], pa.int64()),
            "note": pa.array([entry.get("note") for _, entry in listed], pa.string()),
        }
    )


def export_table(
    export_id: str,
    account: str,
    as_of: datetime,
    tz: str,
    currency: str | None,
    notes: Sequence[str],
) -> pa.Table:
    """Return `meta_export`: one row, of the export that last changed the set; `as_of_date` is the
    day of `as_of` in the company's timezone, whatever the reader's is.
    """
    text = {
        "export_id": export_id,
        "account": account,
        "tz": tz,
        "currency": currency,
        "version": sys.modules["pdframe"].__version__,
        "note": "\n".join(notes) or None,
    }
    made = {name: pa.array([value], pa.string()) for name, value in text.items()}
    made["as_of"] = pa.array([as_of], pa.timestamp("us", "UTC"))
    made["as_of_date"] = pa.array([as_of.astimezone(ZoneInfo(tz)).date()], pa.date32())
    order = ("export_id", "account", "as_of", "as_of_date", "tz", "currency", "version", "note")
    return pa.table({name: made[name] for name in order})


def export_id(contents: Mapping[str, str], *about: Any) -> str:
    """Return the id of a set: equal for equal content."""
    text = json.dumps([dict(sorted(contents.items())), *about], default=str)
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _texts(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> pa.Table:
    return pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in names})


__all__ = [
    "COLUMNS",
    "EXPORT",
    "RELATIONSHIPS",
    "columns_table",
    "export_id",
    "export_table",
    "files_table",
    "relationships_table",
]

"""The loader of field metadata: which label, hash and column belong together."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pandas as pd

from pdframe.cache.store import Store
from pdframe.errors import CacheError
from pdframe.fields import Field, custom_fields, fields_frame
from pdframe.frames import is_unknown, unify
from pdframe.loaders.base import Connected
from pdframe.schema import Table, table_with_fields


def fields(self: Connected, table: str) -> pd.DataFrame:
    """List the fields of a table, one row a column that a field describes: which label and hash
    belong together.

    Parts of composite fields that cached rows hold are listed even if the metadata does not
    declare them.

    Parameters
    ----------
    table
        The table's name.

    Returns
    -------
    DataFrame
        column (its name in the frame; null: not in the frame), label, code (the hash), type,
        is_custom, options (their labels), subfield (the part of a composite field; null: its main
        part).

    Raises
    ------
    ArgumentError
        The table does not exist, or has no fields.

    Examples
    --------
    >>> fields = account.fields("deals")
    >>> fields.loc[fields["code"] == "value", ["column", "label", "type", "subfield"]]
         column  label      type  subfield
    4     value  Value  monetary       NaN
    5  currency  Value  monetary  currency
    """
    declared = table_with_fields(table)
    syncer = self._syncer
    syncer.refresh_if_stale(str(declared.field_list), max_age=self._max_age)

    def read() -> pd.DataFrame:
        known = syncer.fields(declared)
        return fields_frame(known, declared, _stored_columns(self._store, declared, known))

    return syncer.with_repair(read)


def _stored_columns(store: Store, table: Table, fields: Sequence[Field]) -> list[str]:
    """Return the columns of the cached rows of a table, as a frame has them, by their cache
    names.
    """
    schema = store.schema(table.name)
    names: list[str] = schema.names
    composite = [
        field.code for field in custom_fields(fields, table.reserved) if len(field.parts) > 1
    ]
    # A value that was cached before its field was declared is JSON: reading it makes its parts
    # columns.
    undeclared = [code for code in composite if code in names and is_unknown(schema.field(code))]
    if undeclared:
        with contextlib.suppress(CacheError):
            names += unify([store.read(table.name, undeclared)], table, fields)[0].schema.names
    return names


__all__ = ["fields"]

"""The loader of field metadata: which label, hash and column belong together."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from pdframe._warnings import warn
from pdframe.cache.messages import UNANSWERED, suggest_cache
from pdframe.cache.store import Store
from pdframe.errors import AccessError, ArgumentError, CacheError, NotCachedError
from pdframe.fields import Field, custom_fields, fields_frame
from pdframe.frames import is_unknown, unify
from pdframe.loaders.base import Connected, Refresh, check_flag
from pdframe.schema import TABLES, Table, table_with_fields


def fields(
    self: Connected,
    table: str | None = None,
    *,
    search: str | None = None,
    refresh: Refresh = None,
) -> pd.DataFrame:
    """List the fields of a table, or of all tables, one row a column that a field describes: which
    label and hash belong together.

    Parts of composite fields that cached rows hold are listed even if the metadata does not
    declare them.

    Parameters
    ----------
    table
        The table's name; None: every table that has fields.
    search
        Only rows whose column, label, code or options contain this text, in any case.
    refresh
        As in `Account`, of the lists of fields.

    Returns
    -------
    DataFrame
        table (only if none is given), column (its name in the frame; null: not in the frame),
        label, code (the hash), type, is_custom, options (their labels), subfield (the part of a
        composite field; null: its main part).

    Raises
    ------
    ArgumentError
        The table does not exist, or has no fields.
    NotCachedError
        `refresh=False`, and the list of fields is not cached.

    Warns
    -----
    DataWarning
        Once an account, without a table: the API withholds the fields of some tables, which are
        left out. The next request for them is after `metadata_age`, or with `refresh=True`.

    Examples
    --------
    >>> fields = account.fields("deals")
    >>> fields.loc[fields["code"] == "value", ["column", "label", "type", "subfield"]]
         column  label      type  subfield
    4     value  Value  monetary       NaN
    5  currency  Value  monetary  currency
    >>> account.fields(search="cancellation")[["table", "column", "type"]]
       table             column  type
    0  deals  Cancellation date  date
    """
    if not (search is None or (isinstance(search, str) and search.strip())):
        raise ArgumentError(f"search must be text such as 'renewal', not {search!r}.")
    check_flag("refresh", refresh, None, "full")
    if table is not None:
        known = _known_table(table)
        with self._data_warnings.one_a_call(str(known.field_list)):
            return _containing(_fields_of(self, known, refresh), search)
    with self._data_warnings.one_a_call("fields"):
        return _containing(_fields_of_all(self, refresh), search)


def _fields_of_all(account: Connected, refresh: Refresh) -> pd.DataFrame:
    """Return the fields of every table that the API does not withhold."""
    frames: list[pd.DataFrame] = []
    refused: dict[str, AccessError] = {}
    for name in TABLES:
        if TABLES[name].field_list is None:
            continue
        try:
            frame = _fields_of(account, TABLES[name], refresh)
        except AccessError as error:
            if error.status == 401:
                raise
            refused[name] = error
            continue
        frame.insert(0, "table", pd.Series(name, frame.index, dtype="str"))
        frames.append(frame)
    if refused and not frames:
        raise next(iter(refused.values()))
    for name, why in refused.items():
        warn(f"The fields of {name} are left out: {why.args[0]}", once=True)
    return pd.concat(frames, ignore_index=True)


def _known_table(name: str) -> Table:
    try:
        return table_with_fields(name)
    except ArgumentError as error:
        if not isinstance(name, str) or name in TABLES:
            raise
        raise ArgumentError(
            f"{error} account.fields(search={name!r}) searches the fields of all tables."
        ) from None


def _fields_of(account: Connected, table: Table, refresh: Refresh) -> pd.DataFrame:
    syncer, name = account._syncer, str(table.field_list)
    call = f"account.fields({table.name!r}, refresh=False)"
    try:
        if refresh is False and account._store.manifest(name) is None:
            raise NotCachedError(
                f"{name!r} is not cached, and refresh=False sends no request. Call"
                f" account.fields({table.name!r})."
            )
        if refresh is None:
            syncer.refresh_if_stale(name, max_age=account._max_age)
        elif refresh is not False:
            syncer.refresh(name, full=refresh == "full")
    except UNANSWERED as error:
        suggest_cache(error, account._store, [name], call)
        raise

    def read() -> pd.DataFrame:
        known = syncer.fields(table)
        return fields_frame(known, table, _stored_columns(account._store, table, known))

    return read() if refresh is False else syncer.with_repair(read)


def _containing(frame: pd.DataFrame, search: str | None) -> pd.DataFrame:
    """Return the rows that contain a text in any case, all without one."""
    if search is None:
        return frame
    wanted = search.strip().casefold()
    texts = frame[["column", "label", "code"]].fillna("").agg("\n".join, axis=1)
    options = ["\n".join(cell) if isinstance(cell, list) else "" for cell in _lists(frame)]
    shown = [
        wanted in f"{text}\n{option}".casefold()
        for text, option in zip(texts, options, strict=True)
    ]
    return frame[pd.Series(shown, frame.index, dtype=bool)].reset_index(drop=True)


def _lists(frame: pd.DataFrame) -> list[object]:
    """Return the options of each row as Python lists."""
    cells: list[object] = pa.array(frame["options"]).to_pylist()
    return cells


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

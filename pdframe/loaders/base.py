"""The steps of every loader: check the arguments, refresh the cache, read it, label the frame and
add names for ids (`names=`), from cached tables whose short lists are refreshed first.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._warnings import warn
from pdframe.api.client import Client
from pdframe.cache.deleted_deals import DeletedDeals, with_lines_of_deleted
from pdframe.cache.messages import UNANSWERED, DataWarnings, suggest_cache
from pdframe.cache.server_clock import attrs_of
from pdframe.cache.store import Store
from pdframe.errors import (
    AccessError,
    ArgumentError,
    BlockedError,
    BudgetError,
    CacheError,
    DamagedError,
    NotCachedError,
    RateLimitError,
    TransportError,
)
from pdframe.frames import Lookup, Rows, storage_schema, to_frame
from pdframe.schema import TABLES, NameColumn, Table
from pdframe.schema.snapshots import DEALS_AND_DELETED
from pdframe.sync import Syncer
from pdframe.sync.metadata import METADATA
from pdframe.sync.repair import is_lost

Refresh: TypeAlias = Literal["full"] | bool | None
Columns: TypeAlias = Sequence[str] | None

URL = "url"
"""The column of the addresses of pages, which `names=True` adds to tables of records with pages."""

# Long lists of names: loaded if they are not cached, else used at any age.
LARGE = frozenset({"persons", "organizations"})


class Connected(Protocol):
    """What a loader needs of an account. Loaders are functions that `Account` has as methods."""

    @property
    def tz(self) -> str:
        """Name of the user's timezone, which every frame carries in `attrs["tz"]`."""

    def url(self, table: str, ids: Iterable[Any]) -> pd.Series[Any]:
        """Return the addresses of records' pages."""

    @property
    def _client(self) -> Client: ...

    @property
    def _max_age(self) -> timedelta | None: ...

    @property
    def _names(self) -> bool | None: ...

    @property
    def _store(self) -> Store: ...

    @property
    def _data_warnings(self) -> DataWarnings: ...

    @property
    def _syncer(self) -> Syncer: ...


def load(
    account: Connected,
    name: str,
    refresh: Refresh,
    labels: bool,
    names: bool | None,
    columns: Columns,
    *,
    only: Callable[[Rows], pa.ChunkedArray] | None = None,
    deleted: bool = False,
) -> pd.DataFrame:
    """Load a table.

    Parameters
    ----------
    account
        The account.
    name
        The table's name.
    refresh, labels, names, columns
        As in `Account`.
    only
        Returns the mask of the rows to keep; None: all rows.
    deleted
        Whether to add the known deleted deals, or their line items.
    """
    with account._data_warnings.one_a_call(name, columns):
        check_flag("deleted", deleted)
        with_deleted_deals = deleted and name == "deals"
        table = DEALS_AND_DELETED if with_deleted_deals else TABLES[name]
        names = account._names if names is None else names
        chosen = check_columns(account, table, refresh, labels, names, columns)
        store, syncer = account._store, account._syncer

        def read() -> pd.DataFrame:
            rows: Rows = store.open_table(name)
            if with_deleted_deals:
                rows = DeletedDeals(store, syncer.fields(table)).beside(store.read(name))
            elif deleted:
                rows = with_lines_of_deleted(store, store.read(name))
            if only is not None:
                rows = FilteredRows(rows, only(rows))
            return label_rows(account, rows, table, refresh, labels, names, chosen)

        try:
            _refresh(syncer, table, name, refresh, account._max_age, with_deleted_deals)
            return read() if refresh is False else syncer.with_repair(read)
        except UNANSWERED as error:
            suggest_cache(error, store, [name], f"account.{name}(refresh=False)")
            raise


def _refresh(
    syncer: Syncer,
    table: Table,
    name: str,
    refresh: Refresh,
    max_age: timedelta | None,
    with_deleted_deals: bool,
) -> None:
    """Refresh the cached table as `refresh` says; without requests, warn of what is missing."""
    store, began = syncer.store, syncer.now()
    if refresh is False:
        if store.manifest(name) is None:
            raise NotCachedError(
                f"{name!r} is not cached, and refresh=False sends no request. Call"
                f" account.{name}() or account.sync({name!r})."
            )
    elif refresh is None:
        syncer.refresh_if_stale(name, max_age=max_age)
    else:
        syncer.refresh(name, full=refresh == "full")
    if with_deleted_deals and refresh is not False:
        syncer.list_deletions(max_age=max_age, since=None if refresh is None else began)
    elif with_deleted_deals and DeletedDeals(store).listed_at() is None:
        warn(
            f"{name}: the list of deleted deals was never read into this cache, and refresh=False"
            " sends no request: deals that were deleted before the first sync are missing. Call"
            f" account.{name}(deleted=True)."
        )
    if refresh is False and is_lost(store, table.field_list):
        warn(
            f"{name}: its list of fields was damaged and is not reloaded yet: custom fields have"
            f" no labels. Call account.{name}(), or account.sync({table.field_list!r})."
        )


def check_flag(name: str, value: object, *others: str | None) -> None:
    """Refuse what is neither True or False nor one of the others: Python reads "no" as True."""
    if not (isinstance(value, bool) or (isinstance(value, str | None) and value in others)):
        *most, last = map(repr, (True, False, *others))
        raise ArgumentError(f"{name} must be {', '.join(most)} or {last}, not {value!r}.")


def check_columns(
    account: Connected,
    table: Table,
    refresh: Refresh,
    labels: bool,
    names: bool | None,
    columns: Columns,
) -> list[str] | None:
    """Return the chosen columns, None for all.

    Raises
    ------
    ArgumentError
        An argument is wrong: raised before any token is spent on the table.
    """
    check_flag("refresh", refresh, None, "full")
    check_flag("labels", labels)
    check_flag("names", names, None)
    if columns is None:
        return None
    chosen = _as_list(columns)
    added = {column.name: column for column in name_columns(table, names)}
    for column in table.names:
        if column.name in chosen and column.name not in added:
            cost = (
                f": it loads all {column.table} if they are not cached, 10 tokens per 500"
                if column.table in LARGE
                else ""
            )
            raise ArgumentError(f"The column {column.name!r} needs names=True{cost}.")
    if URL in chosen and URL in table.optional and not names:
        raise ArgumentError(f"The column {URL!r} needs names=True.")
    if twice := [name for name in chosen if chosen.count(name) > 1]:
        raise ArgumentError(f"`columns` names one column twice: {twice[0]!r}.")
    if refresh is not False:
        others = [name for name in chosen if name != URL or URL not in table.optional]
        _refuse_unknown(account, table, refresh, labels, names, others)
    return chosen


def label_rows(
    account: Connected,
    rows: Rows,
    table: Table,
    refresh: Refresh,
    labels: bool,
    names: bool | None,
    columns: Sequence[str] | None,
) -> pd.DataFrame:
    """Make the frame of cached rows, with labels and names as the loader's arguments choose."""
    syncer = account._syncer
    wanted = [
        added for added in name_columns(table, names) if columns is None or added.name in columns
    ]
    named = {}
    if wanted:
        named = lookups(
            syncer,
            wanted,
            cache_alone=refresh is False,
            max_age=account._max_age,
            refresh_now=refresh is not None and refresh is not False,
            # Not those that were requested by name.
            by_default=names is None and columns is None,
        )
    fields = syncer.fields(table)
    if not (names and URL in table.optional and (columns is None or URL in columns)):
        frame = to_frame(rows, table, fields, labels=labels, columns=columns, names=named)
    else:
        # Addresses are made of ids, which may not be among the columns.
        others = None if columns is None else [name for name in columns if name != URL]
        made = None if others is None else list(dict.fromkeys([*others, "id"]))
        frame = to_frame(rows, table, fields, labels=labels, columns=made, names=named)
        addresses = account.url(table.name, frame["id"])
        if columns is not None and others is not None:
            frame = frame[others]
        place = len(table.columns) + len(wanted) if columns is None else list(columns).index(URL)
        frame.insert(place, URL, addresses)
    frame.attrs |= attrs_of(account._store, account.tz)
    return frame


class FilteredRows:
    """The rows of a table that a mask selects; each column is filtered when it is read."""

    def __init__(self, rows: Rows, mask: pa.ChunkedArray) -> None:
        self._rows, self._mask = rows, mask
        self.schema = rows.schema
        self.num_rows: int = pc.sum(mask).as_py() or 0

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        """A column."""
        return self._rows[name].filter(self._mask)


def name_columns(table: Table, names: bool | None) -> list[NameColumn]:
    """Return the name columns of a table: True: all; None: those whose lists are small; False:
    none.
    """
    if names is False:
        return []
    return [column for column in table.names if names or column.table not in LARGE]


def lookups(
    syncer: Syncer,
    wanted: Iterable[NameColumn],
    *,
    cache_alone: bool,
    max_age: timedelta | None,
    refresh_now: bool = False,
    by_default: bool = False,
) -> dict[NameColumn, Lookup]:
    """Return the lookup of each name column.

    Parameters
    ----------
    syncer
        Refreshes the tables that hold the names.
    wanted
        The name columns.
    cache_alone
        Whether to send no request.
    max_age
        Maximum age of a cached table that is not a long list.
    refresh_now
        Whether to read lists of metadata at any age: a rename shows at once.
    by_default
        Whether these names were not requested: products and projects are refreshed like metadata,
        and a list may be older where it cannot be refreshed. A list that the API withholds is said
        once an account; one that is not cached with `cache_alone` is not.

    Returns
    -------
    dict
        Keys and names of each column's table; none if the table is unavailable.

    Warns
    -----
    DataWarning
        The names of a table are null: the API withholds it, or it is not cached and `cache_alone`.
    """
    columns = list(wanted)
    missing: dict[str, str] = {}
    withheld: set[str] = set()
    store = syncer.store
    # Names that were not requested are no reason to refuse a frame that needs no request.
    is_forgiving = by_default and cache_alone
    manifest_of = store.usable_manifest if is_forgiving else store.manifest
    for name in dict.fromkeys(column.table for column in columns):
        if not cache_alone:
            try:
                if refresh_now and name in METADATA:
                    syncer.refresh(name, full=False)
                else:
                    age = syncer.metadata_age if by_default else max_age
                    syncer.refresh_if_stale(name, max_age=None if name in LARGE else age)
            except AccessError as error:
                if error.status == 401:
                    raise
                missing[name] = str(error.args[0])
                withheld.add(name)
            except (BlockedError, BudgetError, RateLimitError, TransportError):
                # Names that were not requested may be older, so that the table itself is shown.
                if not by_default or store.manifest(name) is None:
                    raise
            except CacheError as error:
                # A damaged table is reloaded; a cache that is read-only has no names to add.
                if not by_default or isinstance(error, DamagedError):
                    raise
        if manifest_of(name) is None:
            missing.setdefault(
                name,
                "it is not cached, and refresh=False sends no request. Call"
                f" account.sync({name!r}).",
            )
        else:
            missing.pop(name, None)
    for name, why in missing.items():
        if by_default:
            if name in withheld:
                # The same words for every table with such names, so that they are said once.
                warn(
                    f"Names from table {name!r}, such as {_usual_name(name)}, are null because it"
                    f" is unavailable: {why}",
                    once=True,
                )
            continue
        affected = [column.name for column in columns if column.table == name]
        verb = "is" if len(affected) == 1 else "are"
        warn(
            f"{', '.join(affected)} {verb} null because table {name!r} is unavailable: {why}",
            once=True,
        )
    result = {}
    for column in columns:
        if column.table in missing:
            result[column] = empty_lookup(column)
            continue
        key = TABLES[column.table].key[0]
        try:
            rows = store.read(column.table, [key, column.label])
        except DamagedError:
            if not is_forgiving:
                raise
            result[column] = empty_lookup(column)
        else:
            result[column] = rows[key].combine_chunks(), rows[column.label].combine_chunks()
    return result


def _usual_name(table: str) -> str:
    """Return the column of names from this table that most tables have."""
    names = Counter(
        column.name for each in TABLES.values() for column in each.names if column.table == table
    )
    return names.most_common(1)[0][0]


def empty_lookup(column: NameColumn) -> Lookup:
    """Return the lookup of a column whose table has no rows."""
    table = TABLES[column.table]
    return pa.array([], table.by_name[table.key[0]].type.storage), pa.array([], pa.string())


def _refuse_unknown(
    account: Connected,
    table: Table,
    refresh: Refresh,
    labels: bool,
    names: bool | None,
    columns: list[str],
) -> None:
    """Refuse columns that neither the declaration, the list of fields nor the cached rows have."""
    named = {added: empty_lookup(added) for added in name_columns(table, names)}
    if {*table.by_name, *(added.name for added in named)}.issuperset(columns):
        return
    syncer = account._syncer

    def choose(rows: pa.Table | None = None) -> None:
        fields = syncer.fields(table)
        none = storage_schema(table, fields).empty_table() if rows is None else rows.slice(0, 0)
        to_frame(none, table, fields, labels=labels, columns=columns, names=named)

    with contextlib.suppress(ArgumentError, CacheError):
        choose()
        return
    # A field may be new or renamed, the API may have sent columns that nothing declares, and a
    # damaged list of fields is reloaded.
    if table.field_list is not None and not refresh_fields(account, table.field_list, refresh):
        return
    with contextlib.suppress(CacheError):
        choose(account._store.read(table.name))
        return
    syncer.with_repair(choose)


def refresh_fields(account: Connected, name: str, refresh: Refresh) -> bool:
    """Refresh a list of fields as a loader would; False if the API withholds it."""
    try:
        if refresh is None:
            account._syncer.refresh_if_stale(name, max_age=account._max_age)
        else:
            account._syncer.refresh(name, full=False)
    except AccessError as error:
        if error.status == 401:
            raise
        return False
    return True


def _as_list(columns: Sequence[str]) -> list[str]:
    if isinstance(columns, str | bytes):
        names = columns.split(",") if isinstance(columns, str) else [columns]
        written = ", ".join(repr(name.strip()) for name in names)
        raise ArgumentError(f"columns must be a list of names: columns=[{written}].")
    try:
        listed = list(columns)
    except TypeError:
        listed = [columns]  # type: ignore[list-item]
    if not all(isinstance(name, str) for name in listed):
        raise ArgumentError(
            f"columns must be a list of names, such as ['id', 'title'], not {columns!r}."
        )
    return listed


__all__ = [
    "LARGE",
    "Columns",
    "Connected",
    "FilteredRows",
    "Refresh",
    "check_columns",
    "check_flag",
    "label_rows",
    "load",
    "name_columns",
]

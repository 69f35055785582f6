"""The steps of every loader: check the arguments, refresh the cache, read it, label the frame."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Literal, Protocol, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._warnings import warn
from pdframe.api.client import Client
from pdframe.cache.data_warnings import DataWarnings
from pdframe.cache.deleted_deals import DeletedDeals, with_lines_of_deleted
from pdframe.cache.store import Store
from pdframe.errors import (
    AccessError,
    ArgumentError,
    BlockedError,
    BudgetError,
    CacheError,
    NotCachedError,
    RateLimitError,
    TransportError,
)
from pdframe.frames import Rows, storage_schema, to_frame
from pdframe.loaders.lookups import empty_lookup, lookups
from pdframe.schema import TABLES, Table
from pdframe.schema.snapshots import DEALS_AND_DELETED
from pdframe.sync import Syncer
from pdframe.sync.repair import is_lost

Refresh: TypeAlias = Literal["full"] | bool | None
Columns: TypeAlias = Sequence[str] | None


class Connected(Protocol):
    """What a loader needs of an account. Loaders are functions that `Account` has as methods."""

    @property
    def tz(self) -> str:
        """Name of the user's timezone, which every frame carries in `attrs["tz"]`."""

    @property
    def _client(self) -> Client: ...

    @property
    def _max_age(self) -> timedelta | None: ...

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
    names: bool,
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
    with account._data_warnings.one_a_call(name, as_names(columns)):
        return _load(account, name, refresh, labels, names, columns, only=only, deleted=deleted)


def _load(
    account: Connected,
    name: str,
    refresh: Refresh,
    labels: bool,
    names: bool,
    columns: Columns,
    *,
    only: Callable[[Rows], pa.ChunkedArray] | None,
    deleted: bool,
) -> pd.DataFrame:
    check_flag("deleted", deleted)
    with_deleted_deals = deleted and name == "deals"
    table = DEALS_AND_DELETED if with_deleted_deals else TABLES[name]
    chosen = check_columns(account, table, refresh, labels, names, columns)
    syncer, store = account._syncer, account._store
    began = syncer.now()
    if refresh is False:
        if store.manifest(name) is None:
            raise NotCachedError(
                f"{name!r} is not cached, and refresh=False sends no request. Call"
                f" account.{name}() or account.sync({name!r})."
            )
    else:
        try:
            if refresh is None:
                syncer.refresh_if_stale(name, max_age=account._max_age)
            else:
                syncer.refresh(name, full=refresh == "full")
        except (BlockedError, BudgetError, RateLimitError, TransportError) as error:
            with contextlib.suppress(CacheError):
                if store.manifest(name) is not None:
                    hint = f"account.{name}(refresh=False) reads the cached table."
                    error.kept = f"{error.kept} {hint}".lstrip()
            raise
    if with_deleted_deals and refresh is not False:
        syncer.list_deletions(max_age=account._max_age, since=None if refresh is None else began)
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

    def read() -> pd.DataFrame:
        rows: Rows = store.open_table(name)
        if with_deleted_deals:
            rows = DeletedDeals(store, syncer.fields(table)).beside(store.read(name))
        elif deleted:
            rows = with_lines_of_deleted(store, store.read(name))
        if only is not None:
            rows = FilteredRows(rows, only(rows))
        return label_rows(account, rows, table, refresh, labels, names, chosen)

    return read() if refresh is False else syncer.with_repair(read)


def as_names(columns: object) -> list[str] | None:
    """Return the columns that were asked for, as far as they are a list of names; None: all."""
    if isinstance(columns, str) or not isinstance(columns, Sequence | pd.Index):
        return None
    return [str(name) for name in columns]


def check_flag(name: str, value: object) -> None:
    """Refuse what Python would read as a flag by its emptiness: "no" is True to it."""
    if not isinstance(value, bool):
        raise ArgumentError(f"{name} must be True or False, not {value!r}.")


def check_columns(
    account: Connected,
    table: Table,
    refresh: Refresh,
    labels: bool,
    names: bool,
    columns: Columns,
) -> list[str] | None:
    """Return the chosen columns, None for all.

    Raises
    ------
    ArgumentError
        An argument is wrong: raised before any token is spent on the table.
    """
    if not (refresh is None or refresh is True or refresh is False or refresh == "full"):
        raise ArgumentError(f"refresh must be None, True, False or 'full', not {refresh!r}.")
    check_flag("labels", labels)
    check_flag("names", names)
    if columns is None:
        return None
    chosen = _as_list(columns)
    needing = [] if names else [added.name for added in table.names if added.name in chosen]
    if needing:
        raise ArgumentError(f"The column {needing[0]!r} needs names=True.")
    if refresh is not False:
        _refuse_unknown(account, table, refresh, labels, names, chosen)
    return chosen


def label_rows(
    account: Connected,
    rows: Rows,
    table: Table,
    refresh: Refresh,
    labels: bool,
    names: bool,
    columns: Sequence[str] | None,
) -> pd.DataFrame:
    """Make the frame of cached rows, with labels and names as the loader's arguments choose."""
    syncer = account._syncer
    wanted = [
        added for added in table.names if names and (columns is None or added.name in columns)
    ]
    named = {}
    if wanted:
        named = lookups(
            syncer,
            wanted,
            cache_alone=refresh is False,
            max_age=account._max_age,
            refresh_now=refresh is not None and refresh is not False,
        )
    frame = to_frame(rows, table, syncer.fields(table), labels=labels, columns=columns, names=named)
    frame.attrs["tz"] = account.tz
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


def _refuse_unknown(
    account: Connected,
    table: Table,
    refresh: Refresh,
    labels: bool,
    names: bool,
    columns: list[str],
) -> None:
    """Refuse columns that neither the declaration, the list of fields nor the cached rows have."""
    named = {added: empty_lookup(added) for added in table.names if names}
    if len(set(columns)) == len(columns) and {
        *table.by_name,
        *(added.name for added in named),
    }.issuperset(columns):
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
    if table.field_list is not None and not _refresh_fields(account, table.field_list, refresh):
        return
    with contextlib.suppress(CacheError):
        choose(account._store.read(table.name))
        return
    syncer.with_repair(choose)


def _refresh_fields(account: Connected, name: str, refresh: Refresh) -> bool:
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
        raise ArgumentError(f"columns must be a list of names: columns=[{columns!r}].")
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
    "Columns",
    "Connected",
    "FilteredRows",
    "Refresh",
    "check_columns",
    "label_rows",
    "load",
]

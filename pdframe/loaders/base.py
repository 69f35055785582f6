"""What every loader does: check what it is given, bring the cache up to date, read it, label it."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Literal, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._warnings import warn
from pdframe.api.client import Client
from pdframe.cache.deleted_deals import DeletedDeals, with_lines_of_deleted
from pdframe.cache.store import Store
from pdframe.errors import AccessError, ArgumentError, CacheError, NotCachedError
from pdframe.frames import Rows, storage_schema, to_frame
from pdframe.loaders.lookups import lookups, no_names
from pdframe.schema import TABLES, Table
from pdframe.schema.snapshots import DEALS_AND_DELETED
from pdframe.sync import Syncer
from pdframe.sync.repair import is_lost

Refresh: TypeAlias = Literal["full"] | bool | None
Columns: TypeAlias = Sequence[str] | None


class Loading(ABC):
    """What loaders need of an account, and the steps that they share."""

    _client: Client
    _max_age: timedelta | None

    @property
    @abstractmethod
    def tz(self) -> str:
        """Name of the user's timezone, which every frame carries in `attrs["tz"]`."""

    @property
    @abstractmethod
    def _store(self) -> Store:
        """The account's cache."""

    @property
    @abstractmethod
    def _syncer(self) -> Syncer:
        """Who brings it up to date."""

    def _load(
        self,
        name: str,
        refresh: Refresh,
        labels: bool,
        names: bool,
        columns: Columns,
        *,
        only: Callable[[Rows], pa.ChunkedArray] | None = None,
        deleted: bool = False,
    ) -> pd.DataFrame:
        """Load a table; `only` says which of its rows to keep.

        `deleted` adds what is known of deleted deals: themselves, or their line items.
        """
        if not isinstance(deleted, bool):
            raise ArgumentError(f"deleted is True or False, not {deleted!r}.")
        of_deals = deleted and name == "deals"
        table = DEALS_AND_DELETED if of_deals else TABLES[name]
        requested = self._requested(table, refresh, labels, names, columns)
        syncer = self._syncer
        began = syncer.now()
        if refresh is False:
            if self._store.manifest(name) is None:
                raise NotCachedError(
                    f"{name!r} is not cached, and refresh=False asks nothing of the API. Call"
                    f" account.{name}() or account.sync({name!r})."
                )
        elif refresh is None:
            syncer.refresh_if_stale(name, max_age=self._max_age)
        else:
            syncer.refresh(name, full=refresh == "full")
        if of_deals and refresh is not False:
            syncer.list_deletions(max_age=self._max_age, since=None if refresh is None else began)
        elif of_deals and DeletedDeals(self._store).listed_at is None:
            warn(
                f"{name}: the list of deleted deals was never read into this cache, and"
                " refresh=False asks nothing of the API: deals that were deleted before the first"
                f" sync are missing. Call account.{name}(deleted=True)."
            )

        if refresh is False and is_lost(self._store, table.field_list):
            warn(
                f"{name}: its list of fields was damaged, and is not loaded again yet: custom"
                f" fields have no labels here. Call account.{name}(), or"
                f" account.sync({table.field_list!r})."
            )

        def read() -> pd.DataFrame:
            rows: Rows = self._store.open_table(name)
            if of_deals:
                rows = DeletedDeals(self._store, syncer.fields(table)).beside(
                    self._store.read(name)
                )
            elif deleted:
                rows = with_lines_of_deleted(self._store, self._store.read(name))
            if only is not None:
                rows = Kept(rows, only(rows))
            return self._frame(rows, table, refresh, labels, names, requested)

        return read() if refresh is False else syncer.with_repair(read)

    def _requested(
        self, table: Table, refresh: Refresh, labels: bool, names: bool, columns: Columns
    ) -> list[str] | None:
        """The columns that are asked for, None for all; refuse what no loader takes before the
        table is paid for.
        """
        if not (refresh is None or refresh is True or refresh is False or refresh == "full"):
            raise ArgumentError(f"refresh is None, True, False or 'full', not {refresh!r}.")
        if columns is None:
            return None
        requested = _as_list(columns)
        unasked = [] if names else [added.name for added in table.names if added.name in requested]
        if unasked:
            raise ArgumentError(f"The column {unasked[0]!r} comes with names=True.")
        if refresh is not False:
            self._refuse_unknown(table, refresh, labels, names, requested)
        return requested

    def _refuse_unknown(
        self, table: Table, refresh: Refresh, labels: bool, names: bool, columns: list[str]
    ) -> None:
        """Refuse columns that the table does not have, as its declaration, its list of fields and
        its cached rows tell.
        """
        result = {added: no_names(added) for added in table.names if names}
        if len(set(columns)) == len(columns) and {
            *table.by_name,
            *(added.name for added in result),
        }.issuperset(columns):
            return

        def choose(rows: pa.Table | None = None) -> None:
            fields = self._syncer.fields(table)
            none = storage_schema(table, fields).empty_table() if rows is None else rows.slice(0, 0)
            to_frame(none, table, fields, labels=labels, columns=columns, names=result)

        try:
            choose()
        except (ArgumentError, CacheError):
            # A field may have been added or renamed, and the API may have sent columns that nothing
            # declares; a damaged list is mended.
            if table.field_list is not None and not self._bring_fields(table.field_list, refresh):
                return
            with contextlib.suppress(CacheError):
                choose(self._store.read(table.name))
                return
            self._syncer.with_repair(choose)

    def _bring_fields(self, name: str, refresh: Refresh) -> bool:
        """Bring a list of fields up to date as a loader would; False where it is withheld."""
        try:
            if refresh is None:
                self._syncer.refresh_if_stale(name, max_age=self._max_age)
            else:
                self._syncer.refresh(name, full=False)
        except AccessError as error:
            if error.status == 401:
                raise
            return False
        return True

    def _frame(
        self,
        rows: Rows,
        table: Table,
        refresh: Refresh,
        labels: bool,
        names: bool,
        columns: Sequence[str] | None,
    ) -> pd.DataFrame:
        wanted = [
            added for added in table.names if names and (columns is None or added.name in columns)
        ]
        result = lookups(self._syncer, wanted, cache_alone=refresh is False, max_age=self._max_age)
        frame = to_frame(
            rows, table, self._syncer.fields(table), labels=labels, columns=columns, names=result
        )
        frame.attrs["tz"] = self.tz
        return frame


class Kept:
    """Some of the rows of a table, as a mask says."""

    def __init__(self, rows: Rows, mask: pa.ChunkedArray) -> None:
        self._rows, self._mask = rows, mask
        self.schema = rows.schema
        self.num_rows: int = pc.sum(mask).as_py() or 0

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        """A column."""
        return self._rows[name].filter(self._mask)


def _as_list(columns: Sequence[str]) -> list[str]:
    if isinstance(columns, str | bytes):
        raise ArgumentError(f"columns is a list of names: columns=[{columns!r}].")
    try:
        listed = list(columns)
    except TypeError:
        listed = [columns]  # type: ignore[list-item]
    if not all(isinstance(name, str) for name in listed):
        raise ArgumentError(
            f"columns is a list of names, such as ['id', 'title'], not {columns!r}."
        )
    return listed

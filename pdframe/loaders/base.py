"""What every loader does: check what it is given, bring the cache up to date, read it, label it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.api.client import Client
from pdframe.errors import ArgumentError, NotCachedError
from pdframe.frames import to_frame
from pdframe.loaders.names import lookups
from pdframe.schema import TABLES, Table
from pdframe.store import Store
from pdframe.sync import Syncer

Refresh = Literal["full"] | bool | None


class Loading(ABC):
    """What loaders need of an account, and the steps that they share."""

    _client: Client
    _max_age: timedelta | None

    @property
    @abstractmethod
    def _store(self) -> Store:
        """The account's cache."""

    @property
    @abstractmethod
    def _syncer(self) -> Syncer:
        """Who brings it up to date."""

    def _load(
        self, name: str, refresh: Refresh, labels: bool, names: bool, columns: Sequence[str] | None, *, live: str | None = None
    ) -> pd.DataFrame:
        table = TABLES[name]
        check(table, refresh, names, columns)
        syncer = self._syncer
        if refresh is False:
            if self._store.manifest(name) is None:
                raise NotCachedError(
                    f"{name!r} is not cached, and refresh=False asks nothing of the API. Call account.{name}() or account.sync({name!r})."
                )
        elif refresh is None:
            syncer.ensure(name, max_age=self._max_age)
        else:
            syncer.refresh(name, full=refresh == "full")
        rows = self._store.read(name)
        if live == "is_archived":
            rows = rows.filter(pc.invert(pc.fill_null(rows[live], False)))
        elif live is not None:
            rows = rows.filter(pc.is_null(rows[live]))
        return self._frame(rows, table, refresh, labels, names, columns)

    def _frame(
        self, rows: pa.Table, table: Table, refresh: Refresh, labels: bool, names: bool, columns: Sequence[str] | None
    ) -> pd.DataFrame:
        wanted = [added for added in table.names if names and (columns is None or added.name in columns)]
        found = lookups(self._syncer, wanted, cache_alone=refresh is False, max_age=self._max_age)
        return to_frame(rows, table, self._syncer.fields(table), labels=labels, columns=columns, names=found)


def check(table: Table, refresh: object, names: bool, columns: object) -> None:
    """Refuse what no loader takes, before anything is asked of the API."""
    if not (refresh is None or refresh is True or refresh is False or refresh == "full"):
        raise ArgumentError(f"refresh is None, True, False or 'full', not {refresh!r}.")
    if isinstance(columns, str):
        raise ArgumentError(f"columns is a list of names: columns=[{columns!r}].")
    if names or not isinstance(columns, Sequence):
        return
    unasked = [added.name for added in table.names if added.name in columns]
    if unasked:
        raise ArgumentError(f"The column {unasked[0]!r} comes with names=True.")

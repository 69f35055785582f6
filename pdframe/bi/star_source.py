"""What a star reads of an account: frames by the public loaders, each list refreshed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Literal, Protocol, TypeAlias

import pandas as pd

from pdframe.bi._tables import BiTable
from pdframe.bi.star_columns import Dictionary
from pdframe.cache.server_clock import server_now
from pdframe.cache.store import Store
from pdframe.errors import AccessError
from pdframe.frames.frame import empty_frame
from pdframe.schema import TABLES
from pdframe.schema.snapshots import STAGE_VISITS

Refresh: TypeAlias = Literal["full"] | bool | None
_UNAUTHORIZED = 401
_NEEDED = "deals"
"""The table without which there is no star."""


class Starred(Protocol):
    """What a star needs of an account, besides its loaders by name."""

    @property
    def tz(self) -> str:
        """Name of the user's timezone."""

    @property
    def currency(self) -> str | None:
        """The user's default currency."""

    def url(self, table: str, ids: Any) -> Any:
        """Return the addresses of records' pages."""

    def fields(self, table: str | None = ..., *, refresh: Refresh = ...) -> pd.DataFrame:
        """List the fields of a table."""

    def stage_visits(self, *, refresh: Refresh = ...) -> pd.DataFrame:
        """Compute the visits of deals to stages."""

    def deal_history(self) -> pd.DataFrame:
        """Compute the changes of deals."""

    @property
    def _store(self) -> Store: ...


class Source:
    """The frames of an account.

    Parameters
    ----------
    account
        The account.
    notes
        Takes notes of tables that are unavailable.
    refresh
        As in `Account`, for the first reading of each list; later ones read the cache.
    """

    def __init__(self, account: Starred, notes: list[str], refresh: Refresh) -> None:
        self.account = account
        self._notes = notes
        self._refresh = refresh
        self._loaded: set[str] = set()
        self._unavailable: dict[str, AccessError] = {}

    def frame(self, name: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Load a table, without names of ids; without rows where it is unavailable."""
        if name not in self._unavailable:
            refresh = False if name in self._loaded else self._refresh
            load = getattr(self.account, name)
            try:
                frame: pd.DataFrame = load(refresh=refresh, names=False, columns=columns)
            except AccessError as error:
                if name == _NEEDED or error.status == _UNAUTHORIZED:
                    raise
                self._unavailable[name] = error
                self._notes.append(f"{name} is unavailable, its tables are empty: {error.args[0]}")
            else:
                self._loaded.add(name)
                return frame
        return empty_frame(TABLES[name], columns=columns)

    def noted(self, tables: Iterable[BiTable], *needs: str) -> Iterator[BiTable]:
        """Yield tables, each with a note where lists that it is made of are unavailable."""
        for table in tables:
            lacking = [
                (name, self._unavailable[name]) for name in needs if name in self._unavailable
            ]
            if not lacking:
                yield table
                continue
            kinds = {error.missing or None for _, error in lacking}
            yield replace(
                table,
                note=" ".join(f"{name} is unavailable: {error.args[0]}" for name, error in lacking),
                # Of the plan, and so no failure, where every lacking list is.
                missing=kinds.pop() if len(kinds) == 1 else None,
            )

    def today(self) -> date:
        """Load the deals, and return the day of the server's clock, which they bring."""
        # With the list of deletions: visits and history are of all known deals.
        self.deals_and_deleted(["id"])
        now = pd.Timestamp(server_now(self.account._store))
        return now.tz_convert(self.account.tz).date()

    def deals_and_deleted(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Load deals with the deleted ones."""
        refresh = False if _NEEDED in self._loaded else self._refresh
        load: Any = getattr(self.account, _NEEDED)
        frame: pd.DataFrame = load(refresh=refresh, names=False, columns=columns, deleted=True)
        self._loaded.add(_NEEDED)
        return frame

    def visits(self) -> pd.DataFrame:
        """Compute the visits of deals to stages; without rows where stages are unavailable."""
        if "stages" in self._unavailable:
            return empty_frame(STAGE_VISITS)
        return self.account.stage_visits(refresh=False)

    def dictionary(self, name: str) -> Dictionary:
        """Return what is known of the columns of a table."""
        table = TABLES[name]
        fields = None
        if table.field_list is not None and name not in self._unavailable:
            try:
                fields = self.account.fields(name, refresh=self._refresh_fields(name))
            except AccessError as error:
                if error.status == _UNAUTHORIZED:
                    raise
                self._notes.append(f"Fields of {name} have no labels: {error.args[0]}")
        return Dictionary(table, fields)

    def _refresh_fields(self, name: str) -> Refresh:
        # The loader of the table refreshed its list of fields.
        return False if name in self._loaded else self._refresh


__all__ = ["Refresh", "Source", "Starred"]

"""What a star reads of an account: frames by the public loaders, each list refreshed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

import pandas as pd

from pdframe.bi.star_columns import Building, Dictionary
from pdframe.cache.store import Store
from pdframe.errors import AccessError, NotCachedError
from pdframe.frames.frame import empty_frame
from pdframe.schema import TABLES

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
    building
        Takes notes of tables that are unavailable.
    refresh
        As in `Account`, for the first reading of each list; later ones read the cache.
    """

    def __init__(self, account: Starred, building: Building, refresh: Refresh) -> None:
        self.account = account
        self._building = building
        self._refresh = refresh
        self._loaded: set[str] = set()
        self._unavailable: set[str] = set()

    def frame(self, name: str, columns: Sequence[str] | None = None, **how: Any) -> pd.DataFrame:
        """Load a table, without names of ids; without rows where it is unavailable."""
        if name not in self._unavailable:
            refresh = False if name in self._loaded else self._refresh
            load = getattr(self.account, name)
            try:
                frame: pd.DataFrame = load(refresh=refresh, names=False, columns=columns, **how)
            except (AccessError, NotCachedError) as error:
                if name == _NEEDED or getattr(error, "status", None) == _UNAUTHORIZED:
                    raise
                self._unavailable.add(name)
                self._building.note(f"{name} is unavailable, its tables are empty: {error.args[0]}")
            else:
                self._loaded.add(name)
                return frame
        return empty_frame(TABLES[name], columns=columns)

    def dictionary(self, name: str) -> Dictionary:
        """Return what is known of the columns of a table."""
        table = TABLES[name]
        fields = None
        if table.field_list is not None and name not in self._unavailable:
            try:
                fields = self.account.fields(name, refresh=self._refresh_fields(name))
            except (AccessError, NotCachedError) as error:
                if getattr(error, "status", None) == _UNAUTHORIZED:
                    raise
                self._building.note(f"Fields of {name} have no labels: {error.args[0]}")
        return Dictionary(table, fields)

    def _refresh_fields(self, name: str) -> Refresh:
        # The loader of the table refreshed its list of fields.
        return False if name in self._loaded else self._refresh


__all__ = ["Refresh", "Source", "Starred"]

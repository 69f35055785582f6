"""The loaders of what the API gives record by record: opt-in, for they cost a request a record."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import pandas as pd

from pdframe._warnings import warn
from pdframe.errors import ArgumentError, NotCachedError
from pdframe.loaders.base import Columns, Loading, Refresh
from pdframe.schema import TABLES, Table
from pdframe.sync.children import EVERY_AT, rows_of
from pdframe.sync.fetch_state import load_fetch_states

Ids: TypeAlias = "int | Iterable[Any]"
_SHOWN = 10


class RecordLoaders(Loading):
    """A method a table whose rows hang on records: `ids` are those records, a list or a column of a
    frame; nulls in it are left out.

    What was asked for is kept by record. `refresh` and `max_age` count for each record by itself:
    only those are asked for that are too old, or not known yet. Frames hold the rows of these
    records alone, in the order of their ids (tables that have an `id` of their own: in its order),
    then of time; rows of one second in the order of the API. An id that the API does not know is
    said in a `DataWarning`; an error on the way (`BudgetError`) loses no record that was finished,
    and the same call goes on from there within a week. Where ids may be left out, `refresh="full"`
    without them loads the list of the records anew first.
    """

    def deal_changes(
        self,
        ids: Ids | None = None,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a change of a field of a deal, by deal, the oldest first. Source: v1
        /deals/{id}/changelog, 20 tokens a deal.

        Without ids: of every deal, live and archived, and what is cached of deals that were deleted
        since. A deal is asked again only when it changed (its `update_time`, stage, status, value
        ...), so a later call costs what changed. A load that runs out of budget keeps the deals
        that it finished, and the same call goes on with the others. `field_key` is the API's code;
        `names=True` adds its label.
        """
        return self._of_records("deal_changes", ids, refresh, labels, names, columns)

    def project_changes(
        self,
        ids: Ids | None = None,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a change of a field of a project, by project, the oldest first. Source:
        /projects/{id}/changelog, 10 tokens a project.

        Without ids: of every project, live and archived, and what is cached of projects that were
        deleted since. A project is asked again only when it changed. Values that are no text are
        JSON text.
        """
        return self._of_records("project_changes", ids, refresh, labels, names, columns)

    def discounts(
        self,
        ids: Ids | None = None,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a discount on a whole deal. Source: /deals/{id}/discounts, 10 tokens a deal.

        Without ids: of every deal that has products. A deal is asked again only when its
        `update_time`, value or number of products changed; `refresh="full"` asks for all.
        """
        return self._of_records("discounts", ids, refresh, labels, names, columns)

    def product_variations(
        self,
        ids: Ids | None = None,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a variation of a product. Source: /products/{id}/variations, 10 tokens a product.

        Without ids: of every product. Nothing tells when a variation changed: what is older than
        `max_age` is asked again.
        """
        return self._of_records("product_variations", ids, refresh, labels, names, columns)

    def deal_followers(
        self,
        ids: Ids,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a user who follows one of these deals. Source: /deals/{id}/followers, 10 tokens a
        deal.
        """
        return self._of_records("deal_followers", ids, refresh, labels, names, columns)

    def person_followers(
        self,
        ids: Ids,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a user who follows one of these persons. Source: /persons/{id}/followers, 10
        tokens a person.
        """
        return self._of_records("person_followers", ids, refresh, labels, names, columns)

    def organization_followers(
        self,
        ids: Ids,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a user who follows one of these organizations. Source:
        /organizations/{id}/followers, 10 tokens each.
        """
        return self._of_records("organization_followers", ids, refresh, labels, names, columns)

    def product_followers(
        self,
        ids: Ids,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a user who follows one of these products. Source: /products/{id}/followers, 10
        tokens a product.
        """
        return self._of_records("product_followers", ids, refresh, labels, names, columns)

    def user_followers(
        self,
        ids: Ids,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a user who follows one of these users (`followed_user_id`). Source:
        /users/{id}/followers, 10 tokens a user.
        """
        return self._of_records("user_followers", ids, refresh, labels, names, columns)

    def deal_follower_changes(
        self,
        ids: Ids,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a user who began or ceased to follow one of these deals. Source:
        /deals/{id}/followers/changelog, 10 tokens.
        """
        return self._of_records("deal_follower_changes", ids, refresh, labels, names, columns)

    def person_follower_changes(
        self,
        ids: Ids,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a user who began or ceased to follow one of these persons. Source:
        /persons/{id}/followers/changelog.
        """
        return self._of_records("person_follower_changes", ids, refresh, labels, names, columns)

    def organization_follower_changes(
        self,
        ids: Ids,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a user who began or ceased to follow one of these. Source:
        /organizations/{id}/followers/changelog.
        """
        return self._of_records(
            "organization_follower_changes", ids, refresh, labels, names, columns
        )

    def product_follower_changes(
        self,
        ids: Ids,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a user who began or ceased to follow one of these products. Source:
        /products/{id}/followers/changelog.
        """
        return self._of_records("product_follower_changes", ids, refresh, labels, names, columns)

    def _of_records(
        self,
        name: str,
        ids: Ids | None,
        refresh: Refresh,
        labels: bool,
        names: bool,
        columns: Columns,
    ) -> pd.DataFrame:
        table = TABLES[name]
        wanted = None if ids is None else _checked(ids, table)
        if wanted is None and not table.hangs_on.every:
            raise ArgumentError(f"{name} are asked for by id: account.{name}([1, 2]).")
        requested = self._requested(table, refresh, labels, names, columns)
        syncer = self._syncer

        def load() -> pd.DataFrame:
            if refresh is False:
                self._must_be_cached(table, wanted)
            else:
                syncer.refresh_records(name, wanted, refresh=refresh, max_age=self._max_age)
            if wanted is not None:
                self._say_unknown(table, wanted)
            return self._frame(
                rows_of(self._store, table, wanted), table, refresh, labels, names, requested
            )

        return load() if refresh is False else syncer.with_repair(load)

    def _must_be_cached(self, table: Table, wanted: Sequence[int] | None) -> None:
        manifest, records = self._store.manifest(table.name), table.hangs_on.table
        missing = ""
        if manifest is None:
            missing = "nothing"
        elif wanted is None:
            missing = "" if EVERY_AT in manifest.state else f"not every one of the {records}"
        elif unknown := sorted(set(wanted) - load_fetch_states(self._store, table.name).keys()):
            missing = f"nothing of the {records} {_listed(unknown)}"
        if missing:
            call = f"account.{table.name}({'' if wanted is None else 'ids'})"
            raise NotCachedError(
                f"Of {table.name!r}, {missing} is cached, and refresh=False asks nothing of the"
                f" API. Call {call}."
            )

    def _say_unknown(self, table: Table, wanted: Sequence[int]) -> None:
        requested = load_fetch_states(self._store, table.name)
        unknown = [
            record for record in wanted if record in requested and not requested[record].matches
        ]
        if unknown:
            parent = table.hangs_on
            rest = (
                "What was cached of them before is shown."
                if parent.history
                else "They have no rows here."
            )
            warn(
                f"{table.name}: the API does not know the {parent.table} {_listed(unknown)}; "
                f"deleted, never there, or not visible to this user. {rest}"
            )


def _checked(ids: Ids, table: Table) -> list[int]:
    """The ids as whole numbers, each once."""
    problem = f"ids are whole numbers: account.{table.name}([1, 2]), or a column of ids; not "
    if isinstance(ids, str | bytes | bool | pd.DataFrame):
        raise ArgumentError(
            f"{problem}{ids!r}." if not isinstance(ids, pd.DataFrame) else f"{problem}a frame."
        )
    try:
        values = list(ids) if isinstance(ids, Iterable) else [ids]
    except TypeError:
        raise ArgumentError(f"{problem}{ids!r}.") from None
    checked = []
    for value in values:
        if value is None or value is pd.NA or (isinstance(value, float) and value != value):
            continue
        try:
            number = (
                int(value)
                if isinstance(value, float) and value.is_integer()
                else operator.index(value)
            )
        except TypeError:
            number = 0
        if not 0 < number < 2**63 or isinstance(value, bool):
            raise ArgumentError(f"{problem}{value!r}.")
        checked.append(number)
    return sorted(set(checked))


def _listed(ids: Sequence[int]) -> str:
    shown = ", ".join(map(str, ids[:_SHOWN]))
    return shown if len(ids) <= _SHOWN else f"{shown} and {len(ids) - _SHOWN:,} more"

"""The loaders of tables that the API returns record by record, each a method of `Account`.

They are opt-in, because they cost a request a record. `ids` are the records, as a list or as a
column of a frame; nulls in it are ignored.

The cache keeps the rows record by record, and `refresh` and `max_age` apply to each record: only
records that are too old, or not cached, are requested. A frame holds the rows of these records
only, ordered by their ids (a table with an `id` of its own: by that), then by time; rows of the
same second in the order of the API. A `DataWarning` names ids that the API does not know. After an
error (`BudgetError`) the finished records are kept, and the same call resumes within a week. Where
ids may be omitted, `refresh="full"` without ids reloads the list of the records first.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import pandas as pd

from pdframe._warnings import warn
from pdframe.errors import ArgumentError, NotCachedError
from pdframe.loaders.base import Columns, Connected, Refresh, check_columns, label_rows
from pdframe.schema import TABLES, Table
from pdframe.sync.children import EVERY_AT, rows_of
from pdframe.sync.fetch_state import load_fetch_states

Ids: TypeAlias = "int | Iterable[Any]"
_MAX_SHOWN_IDS = 10


def deal_changes(
    self: Connected,
    ids: Ids | None = None,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool = False,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load changelogs of deals, one row a change of a field, by deal, oldest first. Source: v1
    /deals/{id}/changelog, 20 tokens a deal.

    Without ids: of every deal, live and archived, and the cached rows of deals that were deleted
    since. A deal is requested again only after a change (of its `update_time`, stage, status,
    value ...), so a later call costs only the changed deals. A load that runs out of budget
    keeps the finished deals, and the same call resumes with the others. `field_key` is the API's
    code; `names=True` adds its label.
    """
    return load_records(self, "deal_changes", ids, refresh, labels, names, columns)


def project_changes(
    self: Connected,
    ids: Ids | None = None,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool = False,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load changelogs of projects, one row a change of a field, by project, oldest first. Source:
    /projects/{id}/changelog, 10 tokens a project.

    Without ids: of every project, live and archived, and the cached rows of projects that were
    deleted since. A project is requested again only after a change. Values other than text are
    JSON text.
    """
    return load_records(self, "project_changes", ids, refresh, labels, names, columns)


def discounts(
    self: Connected,
    ids: Ids | None = None,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool = False,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load discounts, one row a discount on a deal. Source: /deals/{id}/discounts, 10 tokens a
    deal.

    Without ids: of every deal that has products. A deal is requested again only after its
    `update_time`, value or number of products changed; `refresh="full"` requests all.
    """
    return load_records(self, "discounts", ids, refresh, labels, names, columns)


def product_variations(
    self: Connected,
    ids: Ids | None = None,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool = False,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load product variations, one row a variation. Source: /products/{id}/variations, 10 tokens
    a product.

    Without ids: of every product. The API does not show when a variation changed: products whose
    rows are older than `max_age` are requested again.
    """
    return load_records(self, "product_variations", ids, refresh, labels, names, columns)


def deal_followers(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool = False,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load followers of deals, one row a deal and user who follows it. Source:
    /deals/{id}/followers, 10 tokens a deal.
    """
    return load_records(self, "deal_followers", ids, refresh, labels, names, columns)


def person_followers(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool = False,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load followers of persons, one row a person and user who follows it. Source:
    /persons/{id}/followers, 10 tokens a person.
    """
    return load_records(self, "person_followers", ids, refresh, labels, names, columns)


def organization_followers(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool = False,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load followers of organizations, one row an organization and user who follows it. Source:
    /organizations/{id}/followers, 10 tokens each.
    """
    return load_records(self, "organization_followers", ids, refresh, labels, names, columns)


def product_followers(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool = False,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load followers of products, one row a product and user who follows it. Source:
    /products/{id}/followers, 10 tokens a product.
    """
    return load_records(self, "product_followers", ids, refresh, labels, names, columns)


def user_followers(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool = False,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load followers of users, one row a user (`followed_user_id`) and user who follows them.
    Source: /users/{id}/followers, 10 tokens a user.
    """
    return load_records(self, "user_followers", ids, refresh, labels, names, columns)


def deal_follower_changes(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool = False,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load changes of followers of deals, one row a user who began or stopped following.
    Source: /deals/{id}/followers/changelog, 10 tokens.
    """
    return load_records(self, "deal_follower_changes", ids, refresh, labels, names, columns)


def person_follower_changes(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool = False,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load changes of followers of persons, one row a user who began or stopped following.
    Source: /persons/{id}/followers/changelog.
    """
    return load_records(self, "person_follower_changes", ids, refresh, labels, names, columns)


def organization_follower_changes(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool = False,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load changes of followers of organizations, one row a user who began or stopped
    following. Source: /organizations/{id}/followers/changelog.
    """
    return load_records(self, "organization_follower_changes", ids, refresh, labels, names, columns)


def product_follower_changes(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool = False,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load changes of followers of products, one row a user who began or stopped following.
    Source: /products/{id}/followers/changelog.
    """
    return load_records(self, "product_follower_changes", ids, refresh, labels, names, columns)


def load_records(
    account: Connected,
    name: str,
    ids: Ids | None,
    refresh: Refresh,
    labels: bool,
    names: bool,
    columns: Columns,
) -> pd.DataFrame:
    """Load the rows of some records, or of every record if `ids` is None."""
    table = TABLES[name]
    wanted = None if ids is None else _check_ids(ids, table)
    if wanted is None and not table.required_parent.every:
        raise ArgumentError(f"{name} needs ids: account.{name}([1, 2]).")
    chosen = check_columns(account, table, refresh, labels, names, columns)
    syncer = account._syncer

    def read() -> pd.DataFrame:
        if refresh is False:
            _refuse_uncached(account, table, wanted)
        else:
            syncer.refresh_records(name, wanted, refresh=refresh, max_age=account._max_age)
        if wanted is not None:
            _warn_of_unknown(account, table, wanted)
        rows = rows_of(account._store, table, wanted)
        return label_rows(account, rows, table, refresh, labels, names, chosen)

    return read() if refresh is False else syncer.with_repair(read)


def _refuse_uncached(account: Connected, table: Table, wanted: Sequence[int] | None) -> None:
    manifest, records = account._store.manifest(table.name), table.required_parent.table
    missing = ""
    if manifest is None:
        missing = f"Nothing of {table.name!r} is cached"
    elif wanted is None:
        if EVERY_AT not in manifest.state:
            missing = f"{table.name!r} is not cached for every one of the {records}"
    elif unknown := sorted(set(wanted) - load_fetch_states(account._store, table.name).keys()):
        missing = f"{table.name!r} is not cached for the {records} {_shown(unknown)}"
    if missing:
        call = f"account.{table.name}({'' if wanted is None else 'ids'})"
        raise NotCachedError(f"{missing}, and refresh=False sends no request. Call {call}.")


def _warn_of_unknown(account: Connected, table: Table, wanted: Sequence[int]) -> None:
    states = load_fetch_states(account._store, table.name)
    unknown = [record for record in wanted if record in states and not states[record].exists]
    if unknown:
        parent = table.required_parent
        rest = (
            "Rows that were cached before are shown."
            if parent.history
            else "They have no rows here."
        )
        warn(
            f"{table.name}: the API does not know the {parent.table} {_shown(unknown)}; they are"
            f" deleted, never existed, or are not visible to this user. {rest}"
        )


def _check_ids(ids: Ids, table: Table) -> list[int]:
    """Return the ids as integers, each once, in order."""
    problem = f"ids must be integers: account.{table.name}([1, 2]), or a column of ids; not "
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


def _shown(ids: Sequence[int]) -> str:
    first = ", ".join(map(str, ids[:_MAX_SHOWN_IDS]))
    return (
        first if len(ids) <= _MAX_SHOWN_IDS else f"{first} and {len(ids) - _MAX_SHOWN_IDS:,} more"
    )


__all__ = [
    "Ids",
    "deal_changes",
    "deal_follower_changes",
    "deal_followers",
    "discounts",
    "load_records",
    "organization_follower_changes",
    "organization_followers",
    "person_follower_changes",
    "person_followers",
    "product_follower_changes",
    "product_followers",
    "product_variations",
    "project_changes",
    "user_followers",
]

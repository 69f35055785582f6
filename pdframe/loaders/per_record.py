"""The loaders of tables that the API returns record by record, each a method of `Account`.

They are opt-in, because they cost a request a record. `ids` are the records, as a list or as a
column of a frame; nulls in it are ignored.

The cache keeps the rows record by record, and `refresh` and `max_age` apply to each record: only
records that are too old, not cached, or changed since by their cached list are requested. A frame
holds the rows of these records only, ordered by their ids (a table with an `id` of its own: by
that), then by time; rows of the same second in the order of the API. A `DataWarning` names ids that
the API does not know. After an error (`BudgetError`) the finished records are kept, and the same
call resumes within a week. `refresh="full"` without ids reloads the list of the records first.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Literal, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._relative_times import absolute, refuse_future
from pdframe.cache.server_clock import server_now
from pdframe.cache.store import Store
from pdframe.errors import ArgumentError
from pdframe.loaders.base import Columns, Connected, Refresh
from pdframe.loaders.records import Ids, cached_rows, load_records
from pdframe.metrics._arguments import moment
from pdframe.sync.keep_going import keep_up_to_date

Since: TypeAlias = "str | date | timedelta | pd.Timestamp | pd.Period"
KeepGoing: TypeAlias = 'bool | Literal["stop"]'


def deal_changes(
    self: Connected,
    ids: Ids | None = None,
    since: Since | None = None,
    keep_going: KeepGoing = False,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load changelogs of deals, one row a change of a field, by deal, oldest first. Source: v1
    /deals/{id}/changelog, 20 tokens a deal.

    A deal is requested again only after a change (of its `update_time`, stage, status, value ...):
    20 tokens per changed deal, at any age if the cached deals show the change; with `max_age=None`
    only by `refresh=True`. A load that runs out of budget keeps the finished deals, and the same
    call resumes with the others. `field_key` is the API's code; `names=True` adds its label.

    Parameters
    ----------
    ids
        Deals, as a list or a column of ids; None: every deal, live and archived, and the cached
        rows of deals that were deleted since.
    since
        Only deals that were created or moved to another stage since then, with all their changes: a
        day, time, year, quarter or month (its start), "last Monday" or "30 days ago" of the
        server's clock, in `account.tz`.
    keep_going
        True: each later `account.sync()` (or `pdframe sync`) without names goes on with the deals
        that are not loaded or have changed, the newest first, within `max_tokens`, of which it
        leaves a quarter to other calls; half of the account's own daily budget is left too; where
        neither is known, at most 15,000 tokens a day. The row `deal_changes` of its result says
        what that spent and what is left. The cache keeps this for syncs of other processes.
        "stop" ends it, and returns what is cached. False (default) changes nothing of that.
    refresh, labels, names, columns
        As in `Account`.

    Raises
    ------
    ArgumentError
        `since` is no time or in the future, or `keep_going` is something else.
    BudgetError
        The tokens ran out. The finished deals are kept, and with `keep_going` later syncs go on.

    Examples
    --------
    >>> changes = account.deal_changes([5])
    >>> changes[["time", "field_key", "old_value", "new_value"]]
                           time            field_key   old_value   new_value
    0 2023-11-24 09:58:52+00:00             stage_id           7           3
    1 2024-01-01 13:49:07+00:00  expected_close_date  2023-12-04  2024-01-27
    2 2024-03-01 13:21:27+00:00  expected_close_date  2024-01-27  2024-04-18
    """
    if not (isinstance(keep_going, bool) or keep_going == "stop"):
        raise ArgumentError(f"keep_going must be True, False or 'stop', not {keep_going!r}.")
    if keep_going == "stop":
        with self._store.lock():
            keep_up_to_date(self._store, "deal_changes", False)
        return cached_rows(self, "deal_changes", ids, labels, names, columns)
    if since is not None:
        _start(since, server_now(self._store), self.tz)  # no time: refused before a request
    return load_records(
        self,
        "deal_changes",
        ids,
        refresh,
        labels,
        names,
        columns,
        only=None if since is None else lambda store: _deals_since(store, since, self.tz),
        keep_going=keep_going is True,
    )


def project_changes(
    self: Connected,
    ids: Ids | None = None,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load changelogs of projects, one row a change of a field, by project, oldest first. Source:
    /projects/{id}/changelog, 10 tokens a project.

    Without ids: of every project, live and archived, and the cached rows of projects that were
    deleted since. A project is requested again only after a change. Values other than text are
    JSON text.

    Examples
    --------
    >>> changes = account.project_changes([1])
    >>> changes[["project_id", "field_key", "old_value", "new_value"]].head(3)
       project_id field_key old_value new_value
    0           1  phase_id         2         5
    1           1  phase_id         5         8
    2           1  phase_id         8        11
    """
    return load_records(self, "project_changes", ids, refresh, labels, names, columns)


def discounts(
    self: Connected,
    ids: Ids | None = None,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load discounts, one row a discount on a deal. Source: /deals/{id}/discounts, 10 tokens a
    deal.

    Without ids: of every deal that has products. A deal is requested again only after its
    `update_time`, value or number of products changed; `refresh="full"` requests all.

    Examples
    --------
    >>> discounts = account.discounts()
    >>> discounts[["deal_id", "type", "amount"]].head(3)
       deal_id        type  amount
    0      151      amount   260.0
    1      102  percentage    15.0
    2       95  percentage     5.0
    """
    return load_records(self, "discounts", ids, refresh, labels, names, columns)


def product_variations(
    self: Connected,
    ids: Ids | None = None,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load product variations, one row a variation. Source: /products/{id}/variations, 10 tokens
    a product.

    Without ids: of every product. The API does not show when a variation changed: products whose
    rows are older than `max_age` are requested again.

    Examples
    --------
    >>> variations = account.product_variations([1, 2])
    >>> variations[["product_id", "id"]]
       product_id  id
    0           1   1
    1           1   2
    """
    return load_records(self, "product_variations", ids, refresh, labels, names, columns)


def deal_followers(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load followers of deals, one row a deal and user who follows it. Source:
    /deals/{id}/followers, 10 tokens a deal.

    Examples
    --------
    >>> followers = account.deal_followers([1, 2])
    >>> followers[["deal_id", "user_id"]]
       deal_id  user_id
    0        1     1021
    """
    return load_records(self, "deal_followers", ids, refresh, labels, names, columns)


def person_followers(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load followers of persons, one row a person and user who follows it. Source:
    /persons/{id}/followers, 10 tokens a person.

    Examples
    --------
    >>> followers = account.person_followers([1, 2])
    >>> followers[["person_id", "user_id"]]
       person_id  user_id
    0          1     1021
    """
    return load_records(self, "person_followers", ids, refresh, labels, names, columns)


def organization_followers(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load followers of organizations, one row an organization and user who follows it. Source:
    /organizations/{id}/followers, 10 tokens each.

    Examples
    --------
    >>> followers = account.organization_followers([1, 2])
    >>> followers[["org_id", "user_id"]]
       org_id  user_id
    0       1     1021
    """
    return load_records(self, "organization_followers", ids, refresh, labels, names, columns)


def product_followers(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load followers of products, one row a product and user who follows it. Source:
    /products/{id}/followers, 10 tokens a product.

    Examples
    --------
    >>> followers = account.product_followers([1, 2])
    >>> followers[["product_id", "user_id"]]
       product_id  user_id
    0           1     1010
    """
    return load_records(self, "product_followers", ids, refresh, labels, names, columns)


def user_followers(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load followers of users, one row a user (`followed_user_id`) and user who follows them.
    Source: /users/{id}/followers, 10 tokens a user.

    Examples
    --------
    >>> users = account.users(columns=["id"])
    >>> account.user_followers(users["id"]).head(3)
       followed_user_id  user_id                  add_time      user_name
    0              1010     1003 2023-06-26 07:00:14+00:00     Kadri Tamm
    1              1010     1014 2023-06-26 07:00:15+00:00  Aino Virtanen
    2              1031     1003 2023-06-26 07:00:16+00:00     Kadri Tamm
    """
    return load_records(self, "user_followers", ids, refresh, labels, names, columns)


def deal_follower_changes(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load changes of followers of deals, one row a user who began or stopped following.
    Source: /deals/{id}/followers/changelog, 10 tokens.

    Examples
    --------
    >>> changes = account.deal_follower_changes([1])
    >>> changes[["deal_id", "time", "action", "follower_user_id"]]
       deal_id                      time   action  follower_user_id
    0        1 2023-07-04 10:42:58+00:00    added              1021
    1        1 2023-07-04 10:42:59+00:00    added              1003
    2        1 2023-07-04 10:43:00+00:00  removed              1003
    """
    return load_records(self, "deal_follower_changes", ids, refresh, labels, names, columns)


def person_follower_changes(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load changes of followers of persons, one row a user who began or stopped following.
    Source: /persons/{id}/followers/changelog.

    Examples
    --------
    >>> changes = account.person_follower_changes([1])
    >>> changes[["person_id", "time", "action", "follower_user_id"]]
       person_id                      time   action  follower_user_id
    0          1 2023-07-04 10:42:52+00:00    added              1021
    1          1 2023-07-04 10:42:53+00:00    added              1003
    2          1 2023-07-04 10:42:54+00:00  removed              1003
    """
    return load_records(self, "person_follower_changes", ids, refresh, labels, names, columns)


def organization_follower_changes(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load changes of followers of organizations, one row a user who began or stopped
    following. Source: /organizations/{id}/followers/changelog.

    Examples
    --------
    >>> changes = account.organization_follower_changes([1])
    >>> changes[["org_id", "time", "action", "follower_user_id"]]
       org_id                      time action  follower_user_id
    0       1 2023-07-04 10:42:56+00:00  added              1021
    """
    return load_records(self, "organization_follower_changes", ids, refresh, labels, names, columns)


def product_follower_changes(
    self: Connected,
    ids: Ids,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load changes of followers of products, one row a user who began or stopped following.
    Source: /products/{id}/followers/changelog.

    Examples
    --------
    >>> changes = account.product_follower_changes([1])
    >>> changes[["product_id", "time", "action", "follower_user_id"]]
       product_id                      time   action  follower_user_id
    0           1 2023-06-26 07:05:24+00:00    added              1010
    1           1 2023-06-26 07:05:25+00:00    added              1003
    2           1 2023-06-26 07:05:26+00:00  removed              1003
    """
    return load_records(self, "product_follower_changes", ids, refresh, labels, names, columns)


def _start(since: Since, now: datetime, tz: str) -> pd.Timestamp:
    return moment(absolute(since, now, tz, "since"), tz, "since")


def _deals_since(store: Store, since: Since, tz: str) -> list[int]:
    """Return the cached deals that were created or moved to another stage since a time, which
    counts from the clock of the server that just gave the deals.
    """
    now = server_now(store)
    start = _start(since, now, tz)
    refuse_future(since, start, pd.Timestamp(now), tz, "since")
    deals = store.read("deals", ["id", "add_time", "stage_change_time"])
    limit = pa.scalar(start.to_pydatetime(), pa.timestamp("us", "UTC"))
    is_recent = [pc.greater_equal(deals[name], limit) for name in ("add_time", "stage_change_time")]
    return sorted(deals.filter(pc.or_kleene(*is_recent))["id"].to_pylist())


__all__ = [
    "deal_changes",
    "deal_follower_changes",
    "deal_followers",
    "discounts",
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

"""The loaders of lists: one function a table, each a method of `Account`.

A column that the table does not have is refused before any token is spent on the table: at most its
list of fields (10 tokens per 500 fields) is refreshed to find out. A column that only the API's
answers show can be chosen once the table is cached.

`pdframe.schema.describe(pdframe.schema.TABLES["deals"])` lists dtype, unit and meaning of each
standard column, with what null means.
"""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.frames import Rows
from pdframe.loaders.base import Columns, Connected, Refresh, check_flag, load


def deals(
    self: Connected,
    *,
    archived: bool = True,
    deleted: bool = False,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load deals, one row a deal: live and archived, not the deleted. Source: /deals,
    /deals/archived.

    `names=True` loads all persons and organizations if they are not cached: 10 tokens per 500.

    Parameters
    ----------
    archived
        Whether to return archived deals too.
    deleted
        True adds the known deleted deals and a column `deleted_time`. Their status is
        "deleted"; every other column has its last value before the deletion. Deals that a sync
        saw deleted or missing are kept forever; the API lists deletions of the last 30 days.
        That list is read unless a sync read it within `max_age` (`refresh=True`: always): 10
        tokens per 500 live and 20 per 500 archived deleted deals, at least 30.
    refresh, labels, names, columns
        As in `Account`.

    Returns
    -------
    DataFrame
        One row a deal. With `deleted=True` also `deleted_time` (UTC): the `update_time` of the
        deleted deal if the deletion changed it, else the time of the first snapshot that shows it
        deleted or lacks it, which is an upper bound; null if the deal is not deleted, or the time
        is unknown. If a deletion does not change `update_time`, an edit between the last
        snapshot and the deletion gives the time instead. `is_deleted` of a deleted deal is null
        if no list of deletions names it: it may only be invisible to this user.

    Notes
    -----
    A new cache knows only the deletions of the last 30 days, an older one all since its first
    sync. For deals that a cache of version 0.1 saw deleted more than 30 days ago, only the
    columns of the kept history have values (see `as_of`); the others are null. A restored deal
    is no longer deleted after the next sync. To remove the kept rows of deleted deals, delete
    the folder `deals.deleted` of the cache.

    Examples
    --------
    >>> deals = account.deals()
    >>> deals[["id", "status", "value", "currency", "stage_id"]].head(3)
       id status    value currency  stage_id
    0   1   lost  9000.00      EUR         7
    1   2    won  7536.67      USD         9
    2   4    won  9906.40      EUR         9
    >>> deleted = account.deals(deleted=True, columns=["id", "deleted_time"])
    >>> print(len(deals), "deals, deleted:", deleted["deleted_time"].notna().sum())
    194 deals, deleted: 1
    """
    check_flag("archived", archived)
    only = None if archived else _live_deals
    return load(self, "deals", refresh, labels, names, columns, only=only, deleted=deleted)


def deal_products(
    self: Connected,
    *,
    deleted: bool = False,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load line items, one row a line item of a deal, archived deals included. Source:
    /deals/products, 100 deals a request.

    `refresh="full"` also reloads the deals, because they say which of them have line items.

    `deleted=True` adds the line items that disappeared together with their deals, as the last
    sync before that saw them; it sends no further request. The API returns no line items of a
    deleted deal, so those of a deal that was deleted before the first sync of line items are
    missing. In the added rows `order_nr`, `add_time`, `update_time` and `comments` are null,
    because they are not kept. If a line item was removed and then its deal deleted between two
    syncs, the removal is unknown.

    Examples
    --------
    >>> items = account.deal_products()
    >>> items[["id", "deal_id", "item_price", "quantity", "billing_frequency"]].head(3)
       id  deal_id  item_price  quantity billing_frequency
    0   4        2      237.60      26.0          annually
    1   5        4       35.00     232.0            weekly
    2   6        9       75.75      16.0           monthly
    """
    return load(self, "deal_products", refresh, labels, names, columns, deleted=deleted)


def installments(
    self: Connected,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load installments, one row an installment of a deal (Growth plan and above). Source:
    /deals/installments, for the deals that can have installments.

    `refresh="full"` also reloads deals and line items, because they say which deals can have
    installments. Installments of a deleted deal are missing: the API does not return them, and
    pdframe keeps no history of installments.

    Examples
    --------
    >>> account.installments(columns=["deal_id", "amount", "billing_date"]).head(3)
       deal_id   amount billing_date
    0       95   954.26   2025-08-31
    1       95   954.26   2025-09-30
    2      116  2914.28   2025-11-24
    """
    return load(self, "installments", refresh, labels, names, columns)


def products(
    self: Connected,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load products, one row a product of the catalogue. Source: /products.

    Examples
    --------
    >>> products = account.products()
    >>> products[["id", "unit", "tax", "billing_frequency"]].head(3)
       id  unit   tax billing_frequency
    0   1  seat  22.0           monthly
    1   2        22.0          annually
    2   3        22.0          annually
    """
    return load(self, "products", refresh, labels, names, columns)


def activities(
    self: Connected,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load activities, one row an activity, done or not. Source: /activities.

    The API does not list deleted activities: a full reload removes them. `names=True` loads all
    persons and organizations if they are not cached: 10 tokens per 500.

    Examples
    --------
    >>> activities = account.activities()
    >>> activities[["id", "type", "done", "due_date", "deal_id"]].head(3)
       id     type  done   due_date  deal_id
    0   1  meeting  True 2023-10-03        5
    1   2    lunch  True 2023-10-02        3
    2   4     call  True 2023-10-05        3
    """
    return load(self, "activities", refresh, labels, names, columns)


def projects(
    self: Connected,
    *,
    archived: bool = True,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load projects, one row a project, live and archived. Source: /projects,
    /projects/archived.

    `archived=False` omits the archived projects.

    Examples
    --------
    >>> projects = account.projects()
    >>> projects[["id", "board_id", "phase_id", "status"]].head(3)
       id  board_id  phase_id     status
    0   1         4        11  completed
    1   2         4        11  completed
    2   3         4        11  completed
    >>> print(len(projects), "projects, live:", len(account.projects(archived=False)))
    19 projects, live: 14
    """
    check_flag("archived", archived)
    return load(
        self, "projects", refresh, labels, names, columns, only=None if archived else _live_projects
    )


def tasks(
    self: Connected,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load tasks, one row a task of a project. Source: /tasks.

    Examples
    --------
    >>> account.tasks(columns=["id", "project_id", "is_done", "due_date"]).head(3)
       id  project_id  is_done   due_date
    0   1           1     True 2024-04-12
    1   2           1     True 2024-04-19
    2   3           1     True        NaT
    """
    return load(self, "tasks", refresh, labels, names, columns)


def persons(
    self: Connected,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load persons, one row a person. Source: /persons.

    `emails` and `phones` are lists of all addresses and numbers: `primary_email` and
    `primary_phone` are the ones to show, to search with `.str`, or to join on, and
    `pdframe.has(persons["emails"], "anna@acme.com")` finds an address wherever it stands. The API
    does not list deleted persons: a full reload removes them. `names=True` loads all
    organizations if they are not cached: 10 tokens per 500.

    Examples
    --------
    >>> account.persons(columns=["id", "org_id", "owner_id", "add_time"]).head(3)
       id  org_id  owner_id                  add_time
    0   1       1      1021 2023-07-04 10:42:51+00:00
    1   3       2      1022 2023-07-29 20:52:08+00:00
    2   5       4      1021 2023-09-13 07:07:57+00:00
    """
    return load(self, "persons", refresh, labels, names, columns)


def organizations(
    self: Connected,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load organizations, one row an organization. Source: /organizations.

    The API does not list deleted organizations: a full reload removes them.

    Examples
    --------
    >>> account.organizations(columns=["id", "owner_id", "address_country"]).head(3)
       id  owner_id address_country
    0   1      1021         Germany
    1   2      1022         Germany
    2   3      1010             NaN
    """
    return load(self, "organizations", refresh, labels, names, columns)


def stages(
    self: Connected,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load stages, one row a stage; `order_nr` is its position in its pipeline. Source: /stages.

    Examples
    --------
    >>> stages = account.stages().sort_values("order_nr")
    >>> stages.loc[stages["pipeline_id"] == 2, ["id", "name", "order_nr", "days_to_rotten"]]
        id         name  order_nr  days_to_rotten
    6    7    Qualified         1              14
    2    3    Discovery         2              21
    11  12         Demo         3            <NA>
    3    4     Proposal         4              30
    8    9  Negotiation         5              30
    """
    return load(self, "stages", refresh, labels, names, columns)


def pipelines(
    self: Connected,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load pipelines, one row a pipeline. Source: /pipelines.

    Examples
    --------
    >>> account.pipelines(columns=["id", "name"])
       id               name
    0   1           Services
    1   2       New business
    2   5  Renewals & growth
    """
    return load(self, "pipelines", refresh, labels, names, columns)


def boards(
    self: Connected,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load project boards, one row an active board. Source: /boards.

    Examples
    --------
    >>> account.boards(columns=["id", "name", "order_nr"])
       id              name  order_nr
    0   4        Onboarding         1
    1   9  Service delivery         2
    """
    return load(self, "boards", refresh, labels, names, columns)


def phases(
    self: Connected,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load phases, one row an active phase of a project board; `order_nr` is its position there.
    Source: /phases, a request a board.

    Examples
    --------
    >>> account.phases(columns=["id", "name", "board_id", "order_nr"]).head(3)
       id           name  board_id  order_nr
    0   2       Kick-off         4         1
    1   5  Configuration         4         2
    2   8       Training         4         3
    """
    return load(self, "phases", refresh, labels, names, columns)


def project_templates(
    self: Connected,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load project templates, one row a template. Source: /projectTemplates.

    Examples
    --------
    >>> account.project_templates(columns=["id", "title"])
       id                  title
    0   3    Standard onboarding
    1   5  Enterprise onboarding
    2   8     Service engagement
    """
    return load(self, "project_templates", refresh, labels, names, columns)


def users(
    self: Connected,
    *,
    refresh: Refresh = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Columns = None,
) -> pd.DataFrame:
    """Load users, one row a user of the company, the deactivated included. Source: v1 /users.

    Examples
    --------
    >>> account.users(columns=["id", "default_currency", "timezone_name"]).head(3)
         id default_currency   timezone_name
    0  1003              EUR  Europe/Tallinn
    1  1010              EUR  Europe/Tallinn
    2  1014              EUR  Europe/Tallinn
    """
    return load(self, "users", refresh, labels, names, columns)


def _live_deals(rows: Rows) -> pa.ChunkedArray:
    return pc.invert(pc.fill_null(rows["is_archived"], False))


def _live_projects(rows: Rows) -> pa.ChunkedArray:
    return pc.is_null(rows["archive_time"])


__all__ = [
    "activities",
    "boards",
    "deal_products",
    "deals",
    "installments",
    "organizations",
    "persons",
    "phases",
    "pipelines",
    "products",
    "project_templates",
    "projects",
    "stages",
    "tasks",
    "users",
]

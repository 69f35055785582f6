"""The loaders of lists: one line a table."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.frames import Rows
from pdframe.loaders.base import Columns, Loading, Refresh


class ListLoaders(Loading):
    """A method a list of the API. `Account` says what their parameters mean.

    A name in `columns` that the table does not have is refused before the table is paid for: at
    most its list of fields (10 tokens each 500 fields) is brought up to date to tell. A column that
    only the API's answers show can be asked for once the table is cached.

    Of each standard column, `pdframe.schema.describe(pdframe.schema.TABLES["deals"])` tells dtype,
    unit, meaning, and what null means.
    """

    def deals(
        self,
        *,
        archived: bool = True,
        deleted: bool = False,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a deal, live and archived, not the deleted; `archived=False` leaves the archived
        out. Source: /deals, /deals/archived.

        `names=True` loads all persons and organizations where they are not cached: 10 tokens each
        500.

        Parameters
        ----------
        archived
            Whether to return archived deals too.
        deleted
            True adds the deals that are known as deleted, with a column `deleted_time`. Their
            status reads "deleted"; times of winning and losing, and all else, are as they were
            seen last. Deals that a sync found deleted or missing are kept for good; besides, the
            API lists what was deleted in the last 30 days. That list is read where no sync read it
            within `max_age` (`refresh=True`: since now): 10 tokens each 500 live and 20 each 500
            archived deals that were deleted, at least 30.
        refresh, labels, names, columns
            As `Account` says.

        Returns
        -------
        DataFrame
            A row a deal. With `deleted=True` also `deleted_time` (UTC): `update_time` of the
            deleted deal where its deletion moved that, else the time of the look that found it
            deleted or missing, which is the latest time possible; null where the deal is not
            deleted, or nothing tells when. An edit between the last look and a deletion that moves
            no `update_time` cannot be told from it. `is_deleted` of a deleted deal is null where
            no list of deletions named it: it may only have become invisible to this user.

        Notes
        -----
        A new cache knows the deletions of the last 30 days alone, an older one all that it found
        since its first sync. Of deals that a cache of version 0.1 found deleted more than 30 days
        ago, only the columns of the kept history are there (see `as_of`); the others are null. A
        deal that was restored is deleted no longer once a sync finds it. To forget the kept rows
        of deleted deals, delete the folder `deals.deleted` of the cache.

        Examples
        --------
        >>> deals = account.deals(deleted=True)
        >>> metrics.win_rate(deals, since="2026-03-01", until="2026-04-01", deleted="keep")
        """
        only = None if archived else _live_deals
        return self._load("deals", refresh, labels, names, columns, only=only, deleted=deleted)

    def deal_products(
        self,
        *,
        deleted: bool = False,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a line item of a deal, archived deals included. Source: /deals/products, 100
        deals a request.

        `refresh="full"` loads the deals anew as well, for they tell which can have any.

        `deleted=True` adds the line items that disappeared together with their deals, as a sync of
        line items saw them last; it asks for nothing more. The API gives no line items of a deleted
        deal, so those of a deal that was deleted before the first sync of line items are missing.
        In the added rows `order_nr`, `add_time`, `update_time` and `comments` are null: they are
        not kept. Where a line item was removed and its deal deleted between two syncs, nothing
        tells that it was removed.

        Examples
        --------
        >>> lines, deals = account.deal_products(deleted=True), account.deals(deleted=True)
        >>> metrics.mrr_lines(lines, deals, deleted="keep")
        """
        return self._load("deal_products", refresh, labels, names, columns, deleted=deleted)

    def installments(
        self,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row an installment of a deal (Growth plan and above). Source: /deals/installments,
        for the deals that can have any.

        `refresh="full"` loads deals and line items anew as well, for they tell which can have any.
        Installments of a deleted deal are not kept: the API does not give them, and no history of
        installments is kept.
        """
        return self._load("installments", refresh, labels, names, columns)

    def products(
        self,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a product of the catalogue. Source: /products."""
        return self._load("products", refresh, labels, names, columns)

    def activities(
        self,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row an activity, done or not. Source: /activities. A deletion is found by a full
        reload: the API lists none.

        `names=True` loads all persons and organizations where they are not cached: 10 tokens each
        500.
        """
        return self._load("activities", refresh, labels, names, columns)

    def projects(
        self,
        *,
        archived: bool = True,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a project, live and archived; `archived=False` leaves the archived out. Source:
        /projects, /projects/archived.
        """
        return self._load(
            "projects", refresh, labels, names, columns, only=None if archived else _live_projects
        )

    def tasks(
        self,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a task of a project. Source: /tasks."""
        return self._load("tasks", refresh, labels, names, columns)

    def persons(
        self,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a person. Source: /persons. A deletion is found by a full reload: the API lists
        none.

        `names=True` loads all organizations where they are not cached: 10 tokens each 500.
        """
        return self._load("persons", refresh, labels, names, columns)

    def organizations(
        self,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row an organization. Source: /organizations. A deletion is found by a full reload:
        the API lists none.
        """
        return self._load("organizations", refresh, labels, names, columns)

    def stages(
        self,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a stage; `order_nr` is its place in its pipeline. Source: /stages."""
        return self._load("stages", refresh, labels, names, columns)

    def pipelines(
        self,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a pipeline. Source: /pipelines."""
        return self._load("pipelines", refresh, labels, names, columns)

    def boards(
        self,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row an active project board. Source: /boards."""
        return self._load("boards", refresh, labels, names, columns)

    def phases(
        self,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row an active phase of a project board; `order_nr` is its place there. Source:
        /phases, a request a board.
        """
        return self._load("phases", refresh, labels, names, columns)

    def project_templates(
        self,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a project template. Source: /projectTemplates."""
        return self._load("project_templates", refresh, labels, names, columns)

    def users(
        self,
        *,
        refresh: Refresh = None,
        labels: bool = True,
        names: bool = False,
        columns: Columns = None,
    ) -> pd.DataFrame:
        """One row a user of the company, the deactivated included. Source: v1 /users."""
        return self._load("users", refresh, labels, names, columns)


def _live_deals(rows: Rows) -> pa.ChunkedArray:
    return pc.invert(pc.fill_null(rows["is_archived"], False))


def _live_projects(rows: Rows) -> pa.ChunkedArray:
    return pc.is_null(rows["archive_time"])

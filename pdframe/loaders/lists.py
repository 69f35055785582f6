"""The loaders of lists: one line a table."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.frames import Rows
from pdframe.loaders.base import Columns, Loading, Refresh


class ListLoaders(Loading):
    """A method a list of the API. `Account` says what their parameters mean.

    A name in `columns` that the table does not have is refused before the table is paid for: at most its list of fields (10 tokens each
    500 fields) is brought up to date to tell. A column that only the API's answers show can be asked for once the table is cached.

    Of each standard column, `pdframe.schema.describe(pdframe.schema.TABLES["deals"])` tells dtype, unit, meaning, and what null means.
    """

    def deals(
        self, *, archived: bool = True, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None
    ) -> pd.DataFrame:
        """One row a deal, live and archived, not the deleted; `archived=False` leaves the archived out. Source: /deals, /deals/archived.

        `names=True` loads all persons and organizations where they are not cached: 10 tokens each 500.
        """
        return self._load("deals", refresh, labels, names, columns, only=None if archived else _live_deals)

    def deal_products(self, *, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None) -> pd.DataFrame:
        """One row a line item of a deal, archived deals included. Source: /deals/products, 100 deals a request.

        `refresh="full"` loads the deals anew as well, for they tell which can have any.
        """
        return self._load("deal_products", refresh, labels, names, columns)

    def installments(self, *, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None) -> pd.DataFrame:
        """One row an installment of a deal (Growth plan and above). Source: /deals/installments, for the deals that can have any.

        `refresh="full"` loads deals and line items anew as well, for they tell which can have any.
        """
        return self._load("installments", refresh, labels, names, columns)

    def products(self, *, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None) -> pd.DataFrame:
        """One row a product of the catalogue. Source: /products."""
        return self._load("products", refresh, labels, names, columns)

    def activities(self, *, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None) -> pd.DataFrame:
        """One row an activity, done or not. Source: /activities. A deletion is found by a full reload: the API lists none.

        `names=True` loads all persons and organizations where they are not cached: 10 tokens each 500.
        """
        return self._load("activities", refresh, labels, names, columns)

    def projects(
        self, *, archived: bool = True, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None
    ) -> pd.DataFrame:
        """One row a project, live and archived; `archived=False` leaves the archived out. Source: /projects, /projects/archived."""
        return self._load("projects", refresh, labels, names, columns, only=None if archived else _live_projects)

    def tasks(self, *, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None) -> pd.DataFrame:
        """One row a task of a project. Source: /tasks."""
        return self._load("tasks", refresh, labels, names, columns)

    def persons(self, *, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None) -> pd.DataFrame:
        """One row a person. Source: /persons. A deletion is found by a full reload: the API lists none.

        `names=True` loads all organizations where they are not cached: 10 tokens each 500.
        """
        return self._load("persons", refresh, labels, names, columns)

    def organizations(self, *, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None) -> pd.DataFrame:
        """One row an organization. Source: /organizations. A deletion is found by a full reload: the API lists none."""
        return self._load("organizations", refresh, labels, names, columns)

    def stages(self, *, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None) -> pd.DataFrame:
        """One row a stage; `order_nr` is its place in its pipeline. Source: /stages."""
        return self._load("stages", refresh, labels, names, columns)

    def pipelines(self, *, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None) -> pd.DataFrame:
        """One row a pipeline. Source: /pipelines."""
        return self._load("pipelines", refresh, labels, names, columns)

    def boards(self, *, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None) -> pd.DataFrame:
        """One row an active project board. Source: /boards."""
        return self._load("boards", refresh, labels, names, columns)

    def phases(self, *, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None) -> pd.DataFrame:
        """One row an active phase of a project board; `order_nr` is its place there. Source: /phases, a request a board."""
        return self._load("phases", refresh, labels, names, columns)

    def project_templates(
        self, *, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None
    ) -> pd.DataFrame:
        """One row a project template. Source: /projectTemplates."""
        return self._load("project_templates", refresh, labels, names, columns)

    def users(self, *, refresh: Refresh = None, labels: bool = True, names: bool = False, columns: Columns = None) -> pd.DataFrame:
        """One row a user of the company, the deactivated included. Source: v1 /users."""
        return self._load("users", refresh, labels, names, columns)


def _live_deals(rows: Rows) -> pa.ChunkedArray:
    return pc.invert(pc.fill_null(rows["is_archived"], False))


def _live_projects(rows: Rows) -> pa.ChunkedArray:
    return pc.is_null(rows["archive_time"])

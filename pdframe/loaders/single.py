"""The rows of one deal: those that are cached, or the deal itself as it is now."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._warnings import collect_warnings, warn
from pdframe.cache.deleted_deals import DeletedDeals, with_lines_of_deleted
from pdframe.errors import ArgumentError, ResponseError
from pdframe.fields import name_columns
from pdframe.frames import Rows, to_arrow
from pdframe.loaders.base import Connected, FilteredRows, label_rows
from pdframe.schema import TABLES, Table
from pdframe.schema.snapshots import DEALS_AND_DELETED

__all__ = ["cached_deal", "cached_rows_of", "fetch_deal"]

_COST = 1


def cached_deal(account: Connected, number: int) -> pd.DataFrame | None:
    """Return the cached row of a deal, also of one that was deleted, with labels, and the names
    that are cached; None where the cache has none.
    """
    store = account._store
    if store.manifest("deals") is None:
        return None
    live = store.open_table("deals")
    row = _where(live, "id", number)
    if row.num_rows:
        return _labelled(account, row, TABLES["deals"])
    table = DEALS_AND_DELETED
    both = DeletedDeals(store, account._syncer.fields(table)).beside(store.read("deals"))
    row = _where(both, "id", number)
    return _labelled(account, row, table) if row.num_rows else None


def cached_rows_of(
    account: Connected, name: str, number: int, *, deleted: bool = False
) -> pd.DataFrame | None:
    """Return the cached rows of a table that belong to a deal, with labels and the names that are
    cached; None where the table is not cached. `deleted`: whether the deal was deleted, and its
    line items with it.
    """
    store = account._store
    if store.manifest(name) is None:
        return None
    rows: Rows = store.open_table(name)
    if deleted and name == "deal_products":
        rows = with_lines_of_deleted(store, store.read(name))
    return _labelled(account, _where(rows, "deal_id", number), TABLES[name])


def fetch_deal(account: Connected, number: int) -> pd.DataFrame:
    """Request one deal, and nothing else: 1 token. Source: /deals/{id}.

    Raises
    ------
    ArgumentError
        The user sees no such deal.
    PdframeError
        The API did not answer.
    """
    table = TABLES["deals"]
    params = {key: text for key, text in table.sources[0].params if key == "include_fields"}
    try:
        data = account._client.get_json(f"/deals/{number}", params, cost=_COST).data
    except ResponseError as error:
        if error.status != 404:
            raise
        raise ArgumentError(
            f"The API has no deal {number} that this user can see: it was deleted, merged into"
            " another, or never existed."
        ) from None
    if not isinstance(data, dict) or data.get("id") != number:
        raise ResponseError(f"The answer for deal {number} is another record.", status=200)
    fields = account._syncer.fields(table)
    rows, problems = to_arrow([data], table, fields)
    # No facts: `account.warnings()` counts those of the table of deals.
    for message in problems.messages(name_columns(fields, table.reserved, problems.cells)):
        warn(f"{table.name}, {message}", once=True)
    # The loaders warn of options that are no longer defined, and of names that are not cached.
    with collect_warnings():
        return _labelled(account, rows, table)


def _where(rows: Rows, column: str, number: int) -> FilteredRows:
    mask = pc.fill_null(pc.equal(rows[column], pa.scalar(number, pa.int64())), False)
    return FilteredRows(rows, mask)


def _labelled(account: Connected, rows: Rows, table: Table) -> pd.DataFrame:
    """Make the frame of rows with the names that are cached; the others are null."""
    return label_rows(account, rows, table, refresh=False, labels=True, names=True, columns=None)

"""List what was noticed in the data of an account."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pandas as pd

from pdframe.loaders.base import Connected

__all__ = ["warnings"]


def warnings(self: Connected) -> pd.DataFrame:
    """List what was noticed in the data, in all sessions with this cache; nothing is requested.

    Loaders warn of the columns that were asked for alone, and of each fact once an account
    object; this is everything. A row stays when the data is corrected in Pipedrive.

    Returns
    -------
    DataFrame
        One row a table, column and kind, the first seen first: table; column, null where rows
        were left out; kind: "does not fit its type" (the cells are null), "option not defined"
        (any more; they read #id), "outside its vocabulary" (kept as they are), "row left out";
        count: cells or rows at the last load that noticed it; example: one of the values, as
        text; first_seen (UTC, by this machine's clock).

    Examples
    --------
    >>> deals = account.deals()
    >>> noticed = account.warnings()
    >>> columns = ["column", "kind", "count", "example"]
    >>> noticed.loc[noticed["table"] == "deals", columns].to_dict("records")
    [{'column': 'Competitor', 'kind': 'option not defined', 'count': 8, 'example': '#112'}]
    """
    facts = self._data_warnings.facts()
    dtypes = {
        "table": "str",
        "column": "str",
        "kind": "str",
        "count": "Int64",
        "example": "str",
        "first_seen": "datetime64[us, UTC]",
    }
    columns: dict[str, list[Any]] = {name: [fact[name] for fact in facts] for name in dtypes}
    columns["column"] = [column or None for column in columns["column"]]
    columns["first_seen"] = [datetime.fromisoformat(time) for time in columns["first_seen"]]
    return pd.DataFrame(
        {name: pd.Series(columns[name], dtype=dtype) for name, dtype in dtypes.items()}
    )

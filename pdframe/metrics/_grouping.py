"""The columns that metrics of visits are grouped by: columns of the visits, or of the deals joined
to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import require_columns
from pdframe.metrics._columns import one_row_each, places, plain_ids
from pdframe.metrics._known_at import NEVER, KnownVisits
from pdframe.metrics._survival import Flags, Ints

# The values of these columns for a visit whose exit was not known at `as_of`.
_NOT_YET = {"end": "open", "left_at": None, "left_after": None}


def attributes(
    visits: pd.DataFrame,
    known_visits: KnownVisits,
    deals: pd.DataFrame | None,
    names: Sequence[str],
    some: Ints | None = None,
) -> pd.DataFrame:
    """Return these columns, one row per known visit, or one for each of `some` of them; a deal that
    `deals` lacks has null.

    Raises
    ------
    ArgumentError
        There is no such column, or `deals` has a deal twice.
    """
    visits = require_columns(visits, "visits", ())
    if deals is not None:
        deals = require_columns(deals, "deals", ())
    result: dict[str, Any] = {}
    place: Ints | None = None
    there = known_visits.left if some is None else known_visits.left[some]
    for name in names:
        if name in visits.columns:
            column = known_visits.of(visits[name])
            result[name] = _as_known(
                name, column if some is None else column.take(some), there == NEVER
            ).array
        elif deals is None:
            raise ArgumentError(
                f"by: visits has no column {name!r}. Pass deals=account.deals() where it is a"
                " column of deals."
            )
        else:
            key = (
                "deal_id"
                if isinstance(deals, pd.DataFrame) and "id" not in deals and "deal_id" in deals
                else "id"
            )
            deals = require_columns(deals, "deals", [key], [name])
            if place is None:
                members = known_visits.deal if some is None else known_visits.deal[some]
                place = places(plain_ids(one_row_each(deals, "deals", key)), members)
            result[name] = taken(deals[name], place)
    return pd.DataFrame(result, index=pd.RangeIndex(len(there)))


def _as_known(name: str, column: pd.Series[Any], still: Flags) -> pd.Series[Any]:
    if name not in _NOT_YET or not still.any():
        return column
    value = _NOT_YET[name]
    if value is None:
        return column.mask(still)
    if isinstance(column.dtype, pd.CategoricalDtype) and value not in column.cat.categories:
        column = column.cat.add_categories([value])
    return column.mask(still, value)


def taken(column: pd.Series[Any], place: Ints) -> Any:
    """Return the values of a column at these places, null where the place is -1."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biu":
        column = column.astype("boolean" if column.dtype.kind == "b" else "Int64")
    return column.array.take(place, allow_fill=True)


__all__ = ["attributes", "taken"]

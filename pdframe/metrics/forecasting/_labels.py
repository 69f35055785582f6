"""What deals are called in row-level results: title, owner, and the columns to group by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import keys
from pdframe.metrics._columns import one_row_each, places, plain_ids
from pdframe.metrics._grouping import taken

_CARRIED = ("title", "owner_name")


def group_names(by: Any, deals: object, taken: Sequence[str]) -> list[str]:
    """Return the columns to group by, as `keys` reads them."""
    return keys(by, taken, deals)


def apart_by_currency(by: Any, rates: object = None) -> Any:
    """Return `by` without "currency", for results in which each currency has rows of its own.

    Raises
    ------
    ArgumentError
        `rates` add currencies up.
    """
    names = [by] if isinstance(by, str) else by
    if not isinstance(names, list | tuple) or "currency" not in names:
        return by
    if rates is not None:
        raise ArgumentError(
            "by='currency' keeps currencies apart and `rates` adds them up: give one of the two."
        )
    return [name for name in names if name != "currency"]


def labels(deals: pd.DataFrame, rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return deal_id, title and owner_name where `deals` has them, and the columns `names`: those
    of `rows` where it has them, else those of `deals`, null for a deal that it lacks.

    Parameters
    ----------
    deals
        One row per deal, with id.
    rows
        Any rows with a deal_id.
    names
        Columns of `deals`.
    """
    result = rows[["deal_id"]].reset_index(drop=True)
    wanted = [*(name for name in _CARRIED if name in deals.columns), *names]
    place = places(plain_ids(one_row_each(deals, "deals")), plain_ids(result["deal_id"]))
    for name in dict.fromkeys(wanted):
        result[name] = rows[name].array if name in rows.columns else taken(deals[name], place)
    return result


__all__ = ["apart_by_currency", "group_names", "labels"]

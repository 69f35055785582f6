"""Who the customer of a deal is."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pdframe.metrics._columns import ids
from pdframe.metrics.revenue.policy import RevenuePolicy

_WORDS = {"org_id": "organization", "person_id": "person"}


def customers(deals: pd.DataFrame, policy: RevenuePolicy) -> pd.Series[Any]:
    """Return the customer of each deal as text: "organization 5", "person 7", or "deal 12" where
    neither is known.

    A column of the user is written `<column> <value>`, so that equal values of two columns are two
    customers; blank text is null.
    """
    result: pd.Series[Any] = "deal " + ids(deals, "id").astype("str")
    for column in reversed(policy.customer):
        kept = (
            ids(deals, column).astype("str")
            if column in _WORDS
            else deals[column].astype("str").str.strip()
        )
        kept = kept.mask(kept == "")
        result = (_WORDS.get(column, column) + " " + kept).fillna(result)
    return result

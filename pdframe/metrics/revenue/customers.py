"""Who the customer of a deal is, and what it is called."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from pdframe._warnings import warn
from pdframe.metrics._arguments import require_columns
from pdframe.metrics._columns import ids, lookup, one_row_each
from pdframe.metrics.revenue.policy import RevenuePolicy

_WORDS = {"org_id": "organization", "person_id": "person"}
_NAMES = {"org_id": "org_name", "person_id": "person_name"}
"""Columns of deals that hold the names of these ids, where they were asked for."""


class Contacts(NamedTuple):
    """Frames of organizations and persons, as the loaders give them, where the user passes them."""

    organizations: pd.DataFrame | None = None
    persons: pd.DataFrame | None = None


NO_CONTACTS = Contacts()


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


def customer_names(
    deals: pd.DataFrame, policy: RevenuePolicy, contacts: Contacts
) -> pd.Series[Any] | None:
    """Return the name of the customer of each deal, None where no names are known at all.

    Names are those of organizations and persons, else of the columns org_name and person_name of
    deals. A customer by another column is called by its value, one that is a deal by its title.
    """
    tables = {"org_id": contacts.organizations, "person_id": contacts.persons}
    by_id = {
        column: _by_id(frame, "organizations" if column == "org_id" else "persons")
        for column, frame in tables.items()
        if frame is not None
    }
    if not by_id and not {*deals.columns} & {*_NAMES.values()}:
        return None
    unknown = pd.Series([None] * len(deals), deals.index, dtype="str")
    result = deals["title"].astype("str") if "title" in deals.columns else unknown
    for column in reversed(policy.customer):
        if column in _WORDS:
            number = ids(deals, column)
            there = number.notna()
            name = unknown
            if column in by_id:
                name = lookup(number, by_id[column])
            elif _NAMES[column] in deals.columns:
                name = deals[_NAMES[column]].astype("str")
        else:
            name = deals[column].astype("str").str.strip()
            there = name.notna() & (name != "")
        result = name.where(there, result)
    return result.astype("str")


def _by_id(frame: object, argument: str) -> pd.Series[Any]:
    """Return names by id, as a table for `lookup`."""
    table = require_columns(frame, argument, ["id", "name"])
    number = one_row_each(table, argument)
    names: pd.Series[Any] = table["name"].astype("str").set_axis(pd.Index(number))
    return names


def named_customers(lines: pd.DataFrame, customer: pd.Series[Any]) -> pd.Series[Any] | None:
    """Return the names of customers by the `customer_name` of lines, None where that is missing."""
    if "customer_name" not in lines.columns:
        return None
    known = pd.DataFrame(
        {
            "customer": lines["customer"].astype("str").array,
            "name": lines["customer_name"].astype("str").array,
        }
    )
    names = known.dropna().drop_duplicates("customer").set_index("customer")["name"]
    return customer.map(names.to_dict(), na_action="ignore").astype("str")


def with_names(lines: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    """Add `customer_name` beside `customer` where lines have it, else warn, and say how they get
    it.
    """
    names = named_customers(lines, frame["customer"])
    if names is None:
        warn_of_ids(frame["customer"])
    else:
        insert_names(frame, names)
    return frame


def insert_names(frame: pd.DataFrame, names: pd.Series[Any]) -> None:
    """Put names beside the column `customer` of a frame."""
    frame.insert([*frame.columns].index("customer") + 1, "customer_name", names)


def warn_of_ids(customer: pd.Series[Any]) -> None:
    """Warn that customers have no names, where there are any."""
    if len(customer):
        warn(
            "Customers have no names: pass organizations=account.organizations(),"
            " persons=account.persons() to mrr_lines."
        )


__all__ = [
    "NO_CONTACTS",
    "Contacts",
    "customer_names",
    "customers",
    "insert_names",
    "named_customers",
    "warn_of_ids",
    "with_names",
]

"""Recurring revenue of a star: `fact_mrr_by_month`, whose sums close in every slice."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from pdframe._warnings import collect_warnings
from pdframe.bi._tables import BiTable
from pdframe.bi.star_columns import (
    Building,
    Description,
    Flags,
    Ints,
    TableBuilder,
    decimals,
)
from pdframe.bi.star_facts import DealKeys
from pdframe.errors import ArgumentError
from pdframe.metrics.revenue.endings import Cancellations
from pdframe.metrics.revenue.ledger import Ledger, ledger
from pdframe.metrics.revenue.lines import mrr_lines
from pdframe.metrics.revenue.months import MOVEMENTS, kinds
from pdframe.metrics.revenue.periods import as_months, month_window
from pdframe.metrics.revenue.units import Months, Units, units

FACT_MRR = "fact_mrr_by_month"
NEEDED_OF_DEALS = (
    "id",
    "title",
    "status",
    "won_time",
    "local_won_date",
    "is_deleted",
    "currency",
    "value",
    "owner_id",
    "pipeline_id",
    "org_id",
    "person_id",
)
_LARGEST = 10**18
"""Millionths from here on have more digits than decimal(18, 6)."""
_NO_MOVEMENT = "none"
_NO_DISCOUNTS = pd.DataFrame(
    {
        "deal_id": pd.array([], "Int64"),
        "type": pd.array([], "str"),
        "amount": pd.array([], "float64"),
    }
)
"""Discounts on whole deals change one-time lines only, so MRR needs none of them, and no warning
asks for them.
"""
_UNIT = "currency of the row a month"


def mrr_table(
    building: Building,
    items: pd.DataFrame,
    deals: pd.DataFrame,
    keys: DealKeys,
    *,
    organizations: pd.DataFrame | None = None,
    persons: pd.DataFrame | None = None,
    cancellations: Cancellations = None,
) -> BiTable:
    """Return `fact_mrr_by_month`: one row a month, customer, currency and deal with MRR in the
    month or the one before, up to the month of `as_of`.

    Parameters
    ----------
    building, keys
        The star, and the keys of its deals.
    items, deals
        As the loaders give them.
    organizations, persons
        Frames of id and name, for `customer_name`; None: no names.
    cancellations
        As in `metrics.mrr_lines`.
    """
    with collect_warnings() as notes:
        lines = mrr_lines(
            items,
            deals,
            discounts=_NO_DISCOUNTS,
            cancellations=cancellations,
            organizations=organizations,
            persons=persons,
            tz=building.tz,
        )
        try:
            slices = units(ledger(lines, ["deal_id"]), None)
        except ArgumentError as error:  # more money than can be added up exactly
            building.note(f"{FACT_MRR} has no rows: {error.args[0]}")
            lines = lines.iloc[:0]
            slices = units(ledger(lines, ["deal_id"]), None)
        customers = units(ledger(lines, []), None)
        until = pd.Period(building.as_of, "M")
        first, end = month_window(None, until, slices.ledger.earliest)
        months = slices.months(first, end)
    for text in dict.fromkeys(notes):
        building.note(f"{FACT_MRR}: {text}")
    movement = _movements(customers, slices, months, first, end)
    kept = _countable(building, slices.ledger, months)
    if not kept.all():
        months, movement = _rows(months, kept), movement[kept]
    return _table(building, lines, keys, slices, months, movement, named=persons is not None)


def _rows(months: Months, kept: Flags) -> Months:
    return Months(
        months.unit[kept],
        months.month[kept],
        months.now[kept],
        months.before[kept],
        months.fx[kept],
        months.ran_out[kept],
        months.active[kept],
        months.was_active[kept],
    )


def _table(
    building: Building,
    lines: pd.DataFrame,
    keys: DealKeys,
    slices: Units,
    months: Months,
    movement: Ints,
    *,
    named: bool,
) -> BiTable:
    book = slices.ledger
    builder = TableBuilder(building, FACT_MRR, active_date="month")
    month = pa.array(as_months(months.month).to_numpy().astype("datetime64[D]"), pa.date32())
    builder.date("month", pa.chunked_array([month]), Description(meaning="First day of the month"))
    customer = slices.customer[months.unit]
    builder.put(
        "customer",
        _chosen(book.customers.to_list(), customer),
        Description(
            meaning="Who pays: the organization of the deal, else its person, else the deal itself"
        ),
    )
    if named and "customer_name" in lines.columns:
        names = lines.drop_duplicates("customer").set_index("customer")["customer_name"]
        own = names.reindex(book.customers).astype(object)
        builder.put(
            "customer_name",
            _chosen([None if pd.isna(name) else name for name in own], customer),
            Description(meaning="Name of the customer", null_means="unknown"),
        )
    deal = pd.Series(book.groups["deal_id"].astype("Int64").array.take(_group(slices)[months.unit]))
    keys.add(builder, deal)
    currency = _chosen(book.currencies.to_list(), book.currency[months.unit])
    builder.currency("currency_key", pa.chunked_array([currency]))
    amount = months.now - months.before
    for name, values, meaning in (
        ("mrr", months.now, "MRR of the deal in the month"),
        ("previous_mrr", months.before, "MRR of the deal in the month before"),
        (
            "amount",
            amount,
            "mrr - previous_mrr: the deal's part of the customer's movement, which may be"
            " negative in an expansion",
        ),
    ):
        builder.put(name, decimals(values), Description(meaning=meaning, unit=_UNIT))
    builder.put(
        "movement",
        _chosen([*MOVEMENTS, _NO_MOVEMENT], movement),
        Description(
            meaning="What the customer's MRR in the currency did: new, reactivation, expansion,"
            " contraction, churn; none: it did not change"
        ),
    )
    return builder.finish()


def _group(slices: Units) -> Ints:
    """Return the group of each unit: its deal."""
    return slices.ledger.group


def _chosen(names: list[str | None], places: Ints) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(places))


def _movements(customers: Units, slices: Units, months: Months, first: int, end: int) -> Ints:
    """Return the movement of the customer of each row, as a place in MOVEMENTS and "none"."""
    of_customers = customers.months(first, end)
    kind = kinds(of_customers, customers.first_active(end))
    # Both ledgers are made of the same lines, and number customers and currencies alike.
    span = max(end - first, 1)
    own = _pairs(customers.ledger)[of_customers.unit] * span + (of_customers.month - first)
    order = np.argsort(own, kind="stable")
    wanted = _pairs(slices.ledger)[months.unit] * span + (months.month - first)
    place = np.searchsorted(own[order], wanted)
    inside = place < len(own)
    place = np.where(inside, place, 0)
    if not len(own):
        return np.full(len(wanted), len(MOVEMENTS))
    row = order[place]
    result = np.where(inside & (own[row] == wanted), kind[row], -1)
    return np.where(result < 0, len(MOVEMENTS), result)


def _pairs(book: Ledger) -> Ints:
    """Return a number of the customer and currency of each slice."""
    return book.customer * max(len(book.currencies), 1) + book.currency


def _countable(building: Building, book: Ledger, months: Months) -> Flags:
    """Return which rows to keep: all but those of customers with an amount of more digits than
    decimal(18, 6) has.
    """
    large = (np.abs(months.now) >= _LARGEST) | (np.abs(months.before) >= _LARGEST)
    large |= np.abs(months.now - months.before) >= _LARGEST
    if not large.any():
        return np.ones(len(large), np.bool_)
    left_out = np.unique(book.customer[months.unit[large]])
    names = ", ".join(book.customers[left_out[:3]].to_list())
    building.note(
        f"{FACT_MRR} leaves out {len(left_out):,} customers whose MRR is 1e12 or more: {names}."
    )
    return ~np.isin(book.customer[months.unit], left_out)


__all__ = ["FACT_MRR", "NEEDED_OF_DEALS", "mrr_table"]

"""Facts of a star: deals, line items, installments, activities, stage visits."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.bi._tables import BiTable
from pdframe.bi.star_columns import (
    Building,
    Description,
    Dictionary,
    Ints,
    Keys,
    TableBuilder,
    days_of,
    plain,
)
from pdframe.bi.star_tables import (
    DEAL_KEY,
    DEALS,
    ORGANIZATION_KEY,
    OWNER_KEY,
    PERSON_KEY,
    PIPELINE_KEY,
    REFERENCES,
    STAGE_KEY,
    add_columns,
    dimension,
    has_own_key,
)
from pdframe.schema import Table
from pdframe.schema.snapshots import STAGE_VISITS

FACT_DEALS = "fact_deals"
OTHER = "(other)"
"""A reason for a loss that is free text, where personal data is left out."""
_CARRIED = ("owner_id", "org_id", "person_id", "pipeline_id", "stage_id")
_MEASURES = frozenset({"amount", "number", "count", "time", "date", "duration"})
"""Kinds of the standard columns of deals that are facts; the others slice them."""
_LOCAL_DAYS = {
    "won_time": "local_won_date",
    "lost_time": "local_lost_date",
    "close_time": "local_close_date",
}


class DealKeys:
    """Keys of each deal that other facts carry.

    Parameters
    ----------
    building
        The star, with the dimensions that deals refer to.
    deals
        As `account.deals(names=False)` gives them, in the order of their ids.
    """

    def __init__(self, building: Building, deals: pd.DataFrame) -> None:
        deals = deals[has_own_key(deals["id"])]
        self._deals = Keys(deals["id"])
        self._carried: dict[str, Ints] = {}
        for column in _CARRIED:
            key, target = REFERENCES[column]
            self._carried[key] = building.keys[target[0]].of(deals[column])
        self._currency = plain(deals["currency"]).combine_chunks()

    def add(
        self, builder: TableBuilder, ids: pd.Series[int], *, without: Collection[str] = ()
    ) -> None:
        """Add the key of the deal and what the deal carries: its owner, organization ..., -1 where
        there is no deal, and -2 where the deal has no row.
        """
        deal = self._deals.of(ids)
        known = Description(code="deal_id", meaning="Deal")
        builder.reference(DEAL_KEY, deal, (DEALS, DEAL_KEY), known)
        place = self._deals.places(deal)
        for column in _CARRIED:
            key, target = REFERENCES[column]
            if key not in without:
                own = self._carried[key]
                keys = np.where(place >= 0, own[place], deal) if len(own) else deal
                builder.reference(key, keys, target, Description(meaning=_MEANINGS[key]))

    def currencies(self, ids: pd.Series[int]) -> pa.ChunkedArray:
        """Return the currency of each deal, null where it is unknown."""
        place = self._deals.places(self._deals.of(ids))
        return pa.chunked_array([self._currency.take(pa.array(place, mask=place < 0))])


_MEANINGS = {
    OWNER_KEY: "Owner of the deal",
    ORGANIZATION_KEY: "Organization of the deal",
    PERSON_KEY: "Person of the deal",
    PIPELINE_KEY: "Pipeline that the deal is in",
    STAGE_KEY: "Stage that the deal is in, or was in when it closed",
}


def deal_tables(
    building: Building,
    deals: pd.DataFrame,
    dictionary: Dictionary,
    url: pd.Series[str],
) -> Iterator[BiTable]:
    """Yield `dim_deal` with its bridges, then `fact_deals`."""
    table = dictionary.table
    measures = [
        column.name
        for column in table.columns
        if column.name in deals.columns
        and (column.type.name in _MEASURES or column.name in (*REFERENCES, "currency"))
    ]
    local = [name for name in _LOCAL_DAYS.values() if name in deals.columns]
    own = deals.drop(columns=measures)
    if not building.personal and "lost_reason" in own.columns:
        own["lost_reason"] = _listed(own["lost_reason"], dictionary.options("lost_reason"))
    yield from dimension(
        building,
        own,
        dictionary,
        (DEALS, DEAL_KEY),
        named="title",
        url=url,
        kept=["lost_reason"],
    )
    facts = deals[["id", *measures]]
    builder = TableBuilder(building, FACT_DEALS, active_date="add_date")
    key = building.keys[DEALS].of(deals["id"])
    builder.reference(DEAL_KEY, key, (DEALS, DEAL_KEY), Description(None, "id", "The deal"))
    days = {
        time: pc.coalesce(plain(deals[day]), days_of(deals[time], building.tz))
        for time, day in _LOCAL_DAYS.items()
        if day in local
    }
    add_columns(
        building,
        builder,
        facts,
        dictionary,
        (FACT_DEALS, DEAL_KEY),
        skip=local,
        days=days,
    )
    yield builder.finish()


def _listed(reasons: pd.Series[str], options: list[str]) -> pd.Series[str]:
    """Return reasons for a loss that the company lists; all others are free text."""
    return reasons.where(reasons.isin(options) | reasons.isna(), OTHER)


def line_item_table(
    building: Building, items: pd.DataFrame, dictionary: Dictionary, deals: DealKeys
) -> BiTable:
    """Return `fact_deal_line_items`."""
    return _of_deals(
        building, "fact_deal_line_items", "line_item_key", items, dictionary, deals, "add_date"
    )


def installment_table(
    building: Building, installments: pd.DataFrame, dictionary: Dictionary, deals: DealKeys
) -> BiTable:
    """Return `fact_installments`."""
    return _of_deals(
        building,
        "fact_installments",
        "installment_key",
        installments,
        dictionary,
        deals,
        "billing_date",
        with_currency=True,
    )


def activity_tables(
    building: Building, activities: pd.DataFrame, dictionary: Dictionary, deals: DealKeys
) -> Iterator[BiTable]:
    """Yield `fact_activities` and its bridges."""
    name, key = "fact_activities", "activity_key"
    builder = TableBuilder(building, name, active_date="due_date")
    builder.put(key, plain(activities["id"]), Description(None, "id", "Id of the activity"))
    # An activity has an owner, a person and an organization of its own.
    deals.add(
        builder,
        activities["deal_id"],
        without=(OWNER_KEY, PERSON_KEY, ORGANIZATION_KEY),
    )
    bridges = add_columns(building, builder, activities, dictionary, (name, key), skip=["deal_id"])
    yield builder.finish()
    yield from bridges


def visit_table(building: Building, visits: pd.DataFrame, deals: DealKeys) -> BiTable:
    """Return `fact_stage_visits`."""
    name = "fact_stage_visits"
    builder = TableBuilder(building, name, active_date="entered_date")
    deals.add(builder, visits["deal_id"], without=(PIPELINE_KEY, STAGE_KEY))
    builder.put(
        "deal_id",
        plain(visits["deal_id"]),
        Description(None, "deal_id", "Id of the deal, also of one without a row"),
    )
    _columns(building, builder, visits, STAGE_VISITS, name)
    length = plain(visits["left_at"] - visits["entered_at"])
    builder.put(
        "visit_hours",
        length,
        Description(
            meaning="Length of the visit, from `entered_at` to `left_at`",
            unit="hours",
            null_means="the deal has not left",
        ),
    )
    return builder.finish()


def _columns(
    building: Building, builder: TableBuilder, frame: pd.DataFrame, table: Table, name: str
) -> None:
    add_columns(building, builder, frame, Dictionary(table), (name, "id"), skip=["deal_id"])


def _of_deals(
    building: Building,
    name: str,
    key: str,
    frame: pd.DataFrame,
    dictionary: Dictionary,
    deals: DealKeys,
    active_date: str,
    *,
    with_currency: bool = False,
) -> BiTable:
    builder = TableBuilder(building, name, active_date=active_date)
    builder.put(key, plain(frame["id"]), Description(None, "id", "Id in Pipedrive"))
    deals.add(builder, frame["deal_id"])
    if with_currency:
        builder.currency("currency_key", deals.currencies(frame["deal_id"]))
    add_columns(building, builder, frame, dictionary, (name, key), skip=["deal_id"])
    return builder.finish()


__all__ = [
    "FACT_DEALS",
    "DealKeys",
    "activity_tables",
    "deal_tables",
    "installment_table",
    "line_item_table",
    "visit_table",
]

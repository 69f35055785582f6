"""The star schema of an account: facts, dimensions, bridges and a calendar, for BI tools."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pandas as pd
import pyarrow as pa

from pdframe.bi._tables import BiSet, BiTable
from pdframe.bi.calendar import Calendar
from pdframe.bi.star_columns import (
    CURRENCIES,
    CURRENCY_KEY,
    NONE,
    UNKNOWN,
    Building,
    Description,
    TableBuilder,
)
from pdframe.bi.star_facts import (
    DealKeys,
    activity_tables,
    deal_tables,
    installment_table,
    line_item_table,
    visit_table,
)
from pdframe.bi.star_forecast import forecast_table, rate_table
from pdframe.bi.star_history import history_table
from pdframe.bi.star_revenue import NEEDED_OF_DEALS, mrr_table
from pdframe.bi.star_source import Refresh, Source, Starred
from pdframe.bi.star_tables import (
    ORGANIZATION_KEY,
    ORGANIZATIONS,
    OWNER_KEY,
    OWNERS,
    PERSON_KEY,
    PERSONS,
    PIPELINE_KEY,
    PIPELINES,
    PRODUCT_KEY,
    PRODUCTS,
    STAGE_KEY,
    STAGES,
    dimension,
)
from pdframe.errors import ArgumentError
from pdframe.metrics.currency import Rates, RateTable
from pdframe.metrics.revenue.endings import Cancellations

_DIMENSIONS = (
    ("users", (OWNERS, OWNER_KEY)),
    ("pipelines", (PIPELINES, PIPELINE_KEY)),
    ("stages", (STAGES, STAGE_KEY)),
    ("organizations", (ORGANIZATIONS, ORGANIZATION_KEY)),
    ("persons", (PERSONS, PERSON_KEY)),
    ("products", (PRODUCTS, PRODUCT_KEY)),
)
"""Tables and their dimensions; each refers to earlier ones alone."""
STAR_TABLES = (
    *(name for name, _ in _DIMENSIONS),
    *("deals", "deal_products", "installments", "activities"),
)
"""The tables that a star is made of."""
_WITH_PAGES = frozenset({"persons", "organizations", "products"})


def star(
    account: Starred,
    *,
    personal: bool = True,
    rates: RateTable | None = None,
    fiscal_start: int = 1,
    as_of: datetime.date | None = None,
    cancellations: Cancellations = None,
    refresh: Refresh = None,
) -> BiSet:
    """Return the star schema of an account; each table is computed when it is taken.

    Parameters
    ----------
    account
        The account.
    personal
        Whether to write names of persons, mail addresses, phones, addresses and free text.
    rates
        Rates of currencies, as metrics take them, for `fact_rates` and the forecast.
    fiscal_start
        First month of the fiscal year, 1 to 12.
    as_of
        The day of the export, or a time of it: `fact_mrr_by_month` ends with its month, and the
        forecast knows what happened up to its end; None: today in the account's timezone, by the
        server's clock.
    cancellations
        As in `metrics.mrr_lines`: the column of deals with the day from which nothing is owed.
    refresh
        As in `Account`.

    Returns
    -------
    BiSet
        Dimensions and their bridges first, then facts, `dim_currency` and `dim_date`.

    Raises
    ------
    ArgumentError
        `fiscal_start` is no month, or `rates` are no rates.
    PdframeError
        As from the loaders. A list that the account may not read has no rows, and a note says so,
        of the star and of each table that is made of it.
    """
    if isinstance(fiscal_start, bool) or fiscal_start not in range(1, 13):
        raise ArgumentError(f"fiscal_start={fiscal_start!r} must be a month, 1 to 12.")
    if rates is not None:
        Rates(rates)  # refuses what are no rates, before anything is loaded
    notes: list[str] = []
    source = Source(account, notes, refresh)
    today = source.today()
    day = today if as_of is None else _day(as_of, account.tz)
    building = Building(account.tz, day, personal, Calendar(day, fiscal_start), notes=notes)
    tables = _tables(building, source, rates, cancellations)
    return BiSet(tables, building.relationships, building.notes)


def _day(when: datetime.date, tz: str) -> datetime.date:
    """Return the day of a time in a timezone."""
    if not isinstance(when, datetime.datetime):
        return when
    time = pd.Timestamp(when)
    return (time if time.tzinfo is None else time.tz_convert(tz)).date()


def _tables(
    building: Building,
    source: Source,
    rates: RateTable | None,
    cancellations: Cancellations,
) -> Iterator[BiTable]:
    account = source.account
    for name, key in _DIMENSIONS:
        frame = source.frame(name)
        url = account.url(name, frame["id"]) if name in _WITH_PAGES else None
        made = dimension(building, frame, source.dictionary(name), key, url=url)
        yield from source.noted(made, name)
    deals = source.frame("deals")
    url = account.url("deals", deals["id"])
    yield from deal_tables(building, deals, source.dictionary("deals"), url)
    keys = DealKeys(building, deals)
    del deals, frame, url
    items = source.frame("deal_products")
    lines = line_item_table(building, items, source.dictionary("deal_products"), keys)
    yield from source.noted([lines], "deal_products")
    mrr = _mrr(building, source, items, keys, cancellations)
    of_names = ("organizations", "persons") if building.personal else ()
    yield from source.noted([mrr], "deal_products", *of_names)
    del items
    installments = source.frame("installments")
    due = installment_table(building, installments, source.dictionary("installments"), keys)
    yield from source.noted([due], "installments")
    activities = source.frame("activities")
    done = activity_tables(building, activities, source.dictionary("activities"), keys)
    yield from source.noted(done, "activities")
    del activities
    yield rate_table(building, rates)
    visits, history = source.visits(), account.deal_history()
    yield from source.noted([visit_table(building, visits, keys)], "stages")
    yield history_table(building, history, keys)
    deals, stages = source.deals_and_deleted(), source.frame("stages")
    forecast = forecast_table(building, deals, visits, stages, history, rates)
    yield from source.noted([forecast], "stages")
    del deals, visits, history
    yield _currency_table(building, account.currency)
    yield building.calendar.table()


def _mrr(
    building: Building,
    source: Source,
    items: pd.DataFrame,
    keys: DealKeys,
    cancellations: Cancellations,
) -> BiTable:
    """Return `fact_mrr_by_month`."""
    column = [cancellations] if isinstance(cancellations, str) else []
    deals = source.frame("deals", [*dict.fromkeys([*NEEDED_OF_DEALS, *column])])
    names = {}
    if building.personal:
        names = {name: source.frame(name, ["id", "name"]) for name in ("organizations", "persons")}
    return mrr_table(building, items, deals, keys, cancellations=cancellations, **names)


def _currency_table(building: Building, own: str | None) -> BiTable:
    """Return `dim_currency`: the currencies of the facts."""
    codes = sorted(building.currencies - {NONE})
    builder = TableBuilder(building, CURRENCIES, is_dimension=True)
    builder.put(
        CURRENCY_KEY,
        pa.array(codes, pa.string()),
        Description(meaning=f"ISO 4217 code; {NONE}: no currency"),
        extra=(NONE, UNKNOWN),
    )
    builder.put(
        "is_default",
        pa.array([code == own for code in codes], pa.bool_()),
        Description(meaning="Whether it is the default currency of the user who exported"),
        extra=(False, False),
    )
    return builder.finish()


__all__ = ["STAR_TABLES", "star"]

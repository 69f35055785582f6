"""Forecasts as they were issued, to compare with what happened."""

from __future__ import annotations

from pdframe.schema.table import Column, Table
from pdframe.schema.types import COUNT, DATE, JSON, NUMBER, TEXT, TIME

__all__ = ["ISSUED_FORECASTS"]

ISSUED_FORECASTS = Table(
    "forecasts",
    "one row per forecast that was issued, group and period",
    (),
    (
        Column("issue", COUNT, "Number of the forecast, from 1"),
        Column("as_of", TIME, "Server's time up to which the forecast knew the account", "UTC"),
        Column("written_by", TEXT, "Version of pdframe that made it"),
        Column("method", TEXT, "Method that gave the probabilities of open deals"),
        Column("seed", COUNT, "Seed of the draws"),
        Column("draws", COUNT, "Number of draws"),
        Column("freq", TEXT, "Kind of period: W, M, Q or Y"),
        Column("tz", TEXT, "Timezone in which periods are cut"),
        Column("rates", JSON, "Rates of currencies that were used; null: none"),
        Column("by", JSON, "Names of the columns that it was grouped by; null: none"),
        Column("group", JSON, "Values of these columns, as text; null: not grouped"),
        Column("period", DATE, "First day of the period"),
        Column("begins", TIME, "First instant of the period", "UTC"),
        Column("ends", TIME, "First instant after the period", "UTC"),
        Column("currency", TEXT, "Currency of the amounts"),
        Column("won_already", NUMBER, "Revenue won in the period up to as_of"),
        Column("from_open", NUMBER, "Expected from deals that were open"),
        Column("from_new", NUMBER, "Expected from deals that did not exist yet"),
        Column("mean", NUMBER, "Expected total"),
        Column("p10", NUMBER, "The total that one draw of ten does not exceed"),
        Column("p50", NUMBER, "The total that half of the draws do not exceed"),
        Column("p90", NUMBER, "The total that nine draws of ten do not exceed"),
        Column("percentiles", JSON, "The totals that 1 % to 99 % of the draws do not exceed"),
        Column("common_sd", NUMBER, "Spread of the factor that all deals of a draw share"),
        Column("deals_open", COUNT, "Open deals"),
        Column("deals_new", NUMBER, "Expected number of new deals"),
    ),
    key=("issue",),
)

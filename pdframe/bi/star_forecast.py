"""The forecast and the rates of a star: `fact_forecast`, `fact_rates`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pdframe._warnings import collect_warnings
from pdframe.bi._tables import BiTable
from pdframe.bi.star_columns import Building, Description, TableBuilder, plain
from pdframe.errors import ArgumentError, InsufficientDataError, MixedCurrencyError
from pdframe.metrics._columns import amounts, at_the_edge, dates
from pdframe.metrics.currency import Rates, RateTable
from pdframe.metrics.forecasting.totals import forecast

FACT_FORECAST, FACT_RATES = "fact_forecast", "fact_rates"
MONTHS_AHEAD = 3
"""Months of the forecast after the month of `as_of`."""
_OF_PERIOD = "currency of the row"
_MEASURES = (
    ("won_already", "Wins inside the month up to `as_of`", _OF_PERIOD),
    ("from_open", "Expected revenue from deals that are open", _OF_PERIOD),
    ("from_new", "Expected revenue from deals that do not exist yet", _OF_PERIOD),
    ("mean", "Sum of the three: the expectation of the total", _OF_PERIOD),
    ("p10", "The total is at or under it in one of ten cases", _OF_PERIOD),
    ("p50", "The total is at or under it in five of ten cases", _OF_PERIOD),
    ("p90", "The total is at or under it in nine of ten cases", _OF_PERIOD),
    ("common_sd", "How much good and bad times move all deals together", None),
    ("deals_open", "Open deals at `as_of`", "deals"),
    ("deals_new", "Expected number of deals created in the month", "deals"),
)


def forecast_table(
    building: Building,
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    history: pd.DataFrame,
    rates: RateTable | None,
) -> BiTable:
    """Return `fact_forecast`: one row a month and currency (with rates, one currency), the month of
    `as_of` first; no rows where a forecast is refused, and a note that says why.

    Parameters
    ----------
    building
        The star.
    deals
        With the deleted ones.
    visits, stages, history, rates
        As `metrics.forecast` takes them.
    """
    result: pd.DataFrame | None = None
    with collect_warnings() as notes:
        try:
            result = forecast(
                deals,
                visits,
                stages,
                as_of=building.as_of,
                until=pd.Period(building.as_of, "M") + MONTHS_AHEAD,
                by=None if rates is not None else "currency",
                rates=rates,
                history=history,
                tz=building.tz,
            )
        except (InsufficientDataError, MixedCurrencyError, ArgumentError) as error:
            building.note(f"{FACT_FORECAST} has no rows: {error.args[0]}")
    if result is not None:
        for text in dict.fromkeys([*notes, *result.attrs.get("notes", [])]):
            building.note(f"{FACT_FORECAST}: {text}")
    builder = TableBuilder(building, FACT_FORECAST, active_date="period")
    columns = _no_rows() if result is None else result
    builder.date("period", plain(columns["period"]), Description(meaning="First day of the month"))
    builder.currency("currency_key", plain(columns["currency"].astype("str")))
    for name, meaning, unit in _MEASURES:
        values = pa.array(columns[name].to_numpy("float64", na_value=np.nan), from_pandas=True)
        builder.put(name, values, Description(None, None, meaning, unit, "unknown"))
    return builder.finish()


def rate_table(building: Building, rates: RateTable | None) -> BiTable:
    """Return `fact_rates`: one row a currency and day from which a rate holds; none without
    rates.
    """
    table = _no_rates()
    target = None
    if rates is not None:
        target = Rates(rates).target
        table = _rates(rates)
    builder = TableBuilder(building, FACT_RATES, active_date="rate_date")
    builder.currency("currency_key", plain(table["currency"]))
    to = pa.array([target] * len(table), pa.string())
    about = Description(meaning="The common currency: one unit of `currency_key` in it is `rate`")
    builder.currency("to_currency_key", pa.chunked_array([to]), about)
    known = Description(meaning="First day of the rate", null_means="it holds on every day")
    builder.date("rate_date", plain(table["date"]), known)
    builder.date(
        "rate_until",
        plain(table["until"]),
        Description(meaning="Day from which the next rate holds", null_means="it still holds"),
        with_key=False,
    )
    builder.put("rate", plain(table["rate"]), Description(meaning="Value of one unit"))
    return builder.finish()


def _rates(rates: RateTable) -> pd.DataFrame:
    if not isinstance(rates, pd.DataFrame):
        table = pd.DataFrame({"currency": pd.Series(list(rates), dtype="str")})
        table["date"] = pd.Series(pd.NaT, table.index, "datetime64[us]")
        table["rate"] = pd.Series(list(rates.values()), table.index, "float64")
        return table.sort_values("currency", ignore_index=True).assign(until=table["date"])
    rates = rates[~at_the_edge(rates, "date")]
    table = pd.DataFrame(
        {
            "currency": rates["currency"].astype("str").to_numpy(),
            "date": dates(rates, "date").to_numpy(),
            "rate": amounts(rates, "rate"),
        }
    ).astype({"currency": "str", "date": "datetime64[us]"})
    table = table.sort_values(["currency", "date"], ignore_index=True)
    return table.assign(until=table.groupby("currency")["date"].shift(-1))


def _no_rates() -> pd.DataFrame:
    dtypes: dict[str, Any] = {
        "currency": "str",
        "date": "datetime64[us]",
        "until": "datetime64[us]",
        "rate": "float64",
    }
    return pd.DataFrame({name: pd.Series(dtype=dtype) for name, dtype in dtypes.items()})


def _no_rows() -> pd.DataFrame:
    measures = {name: pd.Series(dtype="float64") for name, _, _ in _MEASURES}
    keys = {"period": pd.Series(dtype="datetime64[us]"), "currency": pd.Series(dtype="str")}
    return pd.DataFrame({**keys, **measures})


__all__ = ["FACT_FORECAST", "FACT_RATES", "MONTHS_AHEAD", "forecast_table", "rate_table"]

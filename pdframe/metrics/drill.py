"""From a number back to the rows that it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from pdframe._plain import plain_column
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import NULL, micros, require_columns, to_micros
from pdframe.metrics._columns import Flags, plain_ids
from pdframe.metrics._periods import period_ends

_SECOND = 1_000_000

# Columns of results that are measures or names of keys; every other column of a result is a key of
# the row.
_RESULT = frozenset(
    {
        # names and orders of keys, and the basis of a row
        "stage",
        "order_nr",
        "pipeline",
        "basis",
        "reason",
        "problem",
        "severity",
        "distorts",
        "ids",
        # funnel
        "reached",
        "advanced",
        "lost",
        "left",
        "open",
        "conversion",
        "low",
        "high",
        "horizon_days",
        "win",
        "win_low",
        "win_high",
        "share_reached",
        "closed_conversion",
        # moves between stages
        "from_stage",
        "from_order_nr",
        "to_order_nr",
        "back",
        "moves",
        # stage velocity
        "visits",
        "completed",
        "median_days",
        "p25_days",
        "p75_days",
        "p90_days",
        "mean_days",
        "days",
        "at_risk",
        "events",
        "survival",
        # sales, aging, quality
        "won",
        "n",
        "win_rate",
        "opportunities",
        "mean_value",
        "velocity",
        "sales_velocity",
        "created_value",
        "won_value",
        "lost_value",
        "average_won_value",
        "average_days",
        "open_at_end",
        "open_value_at_end",
        "planned",
        "done",
        "overdue",
        "per_won_deal",
        "share",
        "count",
        "value_change",
        # recurring revenue
        "mrr",
        "arr",
        "tcv",
        "customers",
        "customer_name",
        "arpa",
        "cumulative_share",
        "since",
        "age",
        "live",
        "starting",
        "ending",
        "committed",
        "start",
        "end",
        "new",
        "reactivation",
        "expansion",
        "contraction",
        "churn",
        "fx",
        "expired",
        "nrr",
        "grr",
        "logo_retention",
        "previous",
        "movement",
        "amount",
        "mrr_reported",
        "arr_reported",
        "difference",
        # forecast
        "deals",
        "value",
        "weighted",
        "mean",
        "p10",
        "p50",
        "p90",
        "won_already",
        "from_open",
        "from_new",
        "common_sd",
        "deals_open",
        "deals_new",
        "total",
        "quota",
        "gap",
        "probability",
        "coverage",
        "needed_coverage",
        "mean_before",
        "p10_before",
        "p50_before",
        "p90_before",
        "difference_p10",
        "difference_p50",
        "difference_p90",
        "wins",
        "expected",
        "brier",
        "log_loss",
        "skill",
        "actual",
        "covered",
        "width",
        "z",
        "crps",
        "pinball_10",
        "pinball_50",
        "pinball_90",
        "p_from",
        "p_until",
        "p_mean",
        "created",
        "moved_in",
        "pulled_in",
        "value_up",
        "value_down",
        "pushed_out",
        "undated",
        "dated",
        "moved_out",
        "reopened",
        "deleted",
        "expected_before",
        "moved",
        "aged",
        "repriced",
        "model",
        "expected_after",
    }
)


def drill_through(
    result_row: pd.Series[Any] | pd.DataFrame,
    row_level: pd.DataFrame,
    *,
    keys: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """Return the rows of a row-level frame that a row of a result counts: one row per row of
    `row_level`.

    They are those whose keys equal the result's; a null key matches null. Keys are the columns that
    identify the row, `by` and ids such as `stage_id`, never measures: a measure that is a column of
    both frames (`value`, `end`) is not compared.

    Parameters
    ----------
    result_row
        A row of a metric's result: `result.iloc[3]`, or a frame of one row.
    row_level
        The frame that the metric groups: `funnel_deals(...)`, `stage_move_visits(...)`,
        `mrr_customer_months(...)`, or the visits. From a row that has a `month` to line items
        (`mrr_lines(...)`): those that count in that month or in the one before. From a row of
        `forecast`, `what_if` or `attainment` to `forecast_deals(...)` of the same `as_of`: the open
        deals with the horizon that ends with the row's period, such as `horizons="2026-Q3"`; the
        sum of `expected_value` is near `from_open` of all periods up to that one, which knows that
        values change until the win. Where `by` named columns of deals, join them to it first. Leave
        out rows after the metric's `as_of` or outside its window.
    keys
        Names of the columns to compare. None: those that the metric recorded in `attrs["keys"]`, as
        far as they are in the row; where pandas lost the record (after a merge, for example), all
        columns of the row except the known measures.

    Returns
    -------
    DataFrame
        Rows of `row_level` with all its columns, in their order.

    Raises
    ------
    ArgumentError
        Not one row, a key that the row or `row_level` lacks, or a period at whose end no horizon of
        `row_level` ends.

    Examples
    --------
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> funnel = metrics.funnel(visits, stages, as_of="2026-06-30", pipeline_id=2)
    >>> reached = metrics.funnel_deals(visits, stages, as_of="2026-06-30", pipeline_id=2)
    >>> deals = metrics.drill_through(funnel.iloc[1], reached)  # those of the second stage
    >>> print(len(deals), funnel.iloc[1]["reached"])
    123 123
    """
    row = _one(result_row)
    plain = require_columns(row_level, "row_level", ())
    names = _keys(row, plain, keys)
    match = np.ones(len(row_level), np.bool_)
    if (
        "month" in names
        and "month" not in row_level.columns
        and {"month_from", "month_until"} <= set(row_level.columns)
    ):
        names.remove("month")
        match &= _counting(plain, _plain(row["month"]))
    if (
        "period" in names
        and "period" not in row_level.columns
        and {"deal_id", "horizon"} <= set(row_level.columns)
    ):
        names.remove("period")
        match &= _until_end(plain, row, row_level.attrs)
    if {"cutoff", "horizon", "month"} <= set(names) and "month" not in row_level.columns:
        # Of a backtest: scores of deals have a horizon, those of totals a month.
        if pd.isna(row["horizon"]):
            raise ArgumentError(
                "The row is of the revenue of a month, which row_level has no deals of. Pass a row"
                " with a horizon."
            )
        names.remove("month")
    missing = [name for name in names if name not in row_level.columns]
    if missing:
        raise ArgumentError(
            f"row_level has no column {', '.join(map(repr, missing))}, a key of the row, so more"
            " rows would match than it counts. Join the column to it, or name the columns to"
            " compare with keys=."
        )
    for name in names:
        if name == "customer" and pd.isna(row[name]) and "cumulative_share" in row.index:
            match &= _of_others(plain[name], row)
        else:
            match &= _equal(plain[name], _plain(row[name]))
    return row_level[match].reset_index(drop=True)


def _one(row: pd.Series[Any] | pd.DataFrame) -> pd.Series[Any]:
    if isinstance(row, pd.Series):
        return row
    if not isinstance(row, pd.DataFrame):
        raise ArgumentError(
            "result_row must be a row of a result, such as result.iloc[0], not"
            f" {type(row).__name__}."
        )
    if len(row) != 1:
        raise ArgumentError(
            f"result_row holds {len(row):,} rows; pass one, such as result.iloc[0]."
        )
    # Not iloc[0]: numbers of several columns would become floats, and large ids would change.
    only = pd.Series({name: row[name].iloc[0] for name in row.columns}, dtype=object)
    only.attrs.update(row.attrs)
    return only


def _keys(
    row: pd.Series[Any], row_level: pd.DataFrame, keys: str | Sequence[str] | None
) -> list[str]:
    if keys is not None:
        names = [keys] if isinstance(keys, str) else list(keys)
        missing = [name for name in names if name not in row.index]
        if missing:
            raise ArgumentError(
                f"keys: the row has no {', '.join(map(repr, missing))}. It has"
                f" {', '.join(map(str, row.index))}."
            )
        return names
    noted = row.attrs.get("keys")
    if noted is not None:
        return [name for name in noted if name in row.index]
    # The reason of a loss is a key, that of a difference is none and not in the rows.
    return [
        name
        for name in row.index
        if name not in _RESULT or (name == "reason" and name in row_level.columns)
    ]


def _counting(lines: pd.DataFrame, month: Any) -> Any:
    """Return which line items count in a month or in the one before: a movement is the difference
    of the two.

    A line that begins and ends between two sampling days counts in no month.
    """
    since, until = (micros(lines[name], "UTC", name) for name in ("month_from", "month_until"))
    at = micros(pd.Series([month]), "UTC", "month")[0]
    return (since != NULL) & (since <= at) & ((until == NULL) | ((until >= at) & (since < until)))


def _of_others(customer: pd.Series[Any], row: pd.Series[Any]) -> Any:
    """Return which rows are of the customers that `top_customers` has in one row."""
    if "top" not in row.attrs:
        raise ArgumentError(
            "The row of all other customers does not say which are not among them: pandas lost the"
            " record. Pass the last row of metrics.top_customers(...) as it is."
        )
    return ~customer.astype("str").isin(row.attrs["top"]).to_numpy(np.bool_)


def _until_end(deals: pd.DataFrame, row: pd.Series[Any], attrs: Mapping[Any, Any]) -> Flags:
    """Return which rows of `forecast_deals` have the horizon that ends with the period of a row."""
    if not {"as_of", "freq", "until"} <= set(row.attrs):
        raise ArgumentError(
            "The row has lost its attrs, which say when its period ends. Pass a row of the frame as"
            " metrics.forecast returned it, or name the columns to compare with keys=."
        )
    as_of = str(row.attrs["as_of"])
    if attrs.get("as_of", as_of) != as_of:
        raise ArgumentError(
            f"The row is of a forecast as of {as_of}, row_level of one as of {attrs['as_of']}. Pass"
            " forecast_deals of the same as_of."
        )
    end = int(period_ends(pd.DataFrame({"period": [_plain(row["period"])]}), row.attrs)[0])
    length = deals["horizon"].astype("timedelta64[us]").to_numpy().view(np.int64)
    # A horizon ends with the last instant of a day, a period with the first one after it.
    result: Flags = np.abs(length - (end - to_micros(pd.Timestamp(as_of)))) <= _SECOND
    if len(length) and not result.any():
        last = pd.Timestamp(end - 1, unit="us", tz="UTC").tz_convert(row.attrs.get("tz") or "UTC")
        raise ArgumentError(
            f"row_level has no horizon that ends with the row's period, on {last:%Y-%m-%d}. Pass"
            f" forecast_deals(..., horizons={f'{last:%Y-%m-%d}'!r})."
        )
    return result


def _plain(value: Any) -> Any:
    """Return a value of a row in the form of a plain column: rows of Arrow-backed frames contain
    dates and decimals.
    """
    if isinstance(value, date):
        return pd.Timestamp(value)
    return plain_column(pd.Series([value], dtype=object)).iloc[0]


def _equal(column: pd.Series[Any], value: Any) -> Any:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return column.isna().to_numpy()
    try:
        if isinstance(value, pd.Timestamp) and column.dtype.kind != "M":
            # Days as text, as in a CSV file.
            return (
                micros(column, "UTC", str(column.name))
                == micros(pd.Series([value]), "UTC", str(column.name))[0]
            )
        if pd.api.types.is_integer(value) and isinstance(
            column.dtype, pd.StringDtype | pd.CategoricalDtype
        ):
            # Ids as text.
            return plain_ids(column) == value
        same = column == value
    except (TypeError, ValueError):
        raise ArgumentError(
            f"{column.name!r} of row_level ({column.dtype}) cannot be compared with {value!r}."
        ) from None
    return same.fillna(False).to_numpy(np.bool_)


__all__ = ["drill_through"]

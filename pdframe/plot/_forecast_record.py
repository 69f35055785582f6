"""What a chart of a forecast compares it with: earlier forecasts and their actuals, and draws."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pdframe.errors import ArgumentError
from pdframe.plot import _months as months
from pdframe.plot import _periods as calendar
from pdframe.plot import _style as style

OF_RECORD = ("period", "p10", "p50", "p90", "actual")
_LATEST = 12

Quantiles: TypeAlias = tuple[float, float, float]


def past_forecasts(
    record: pd.DataFrame | None, forecast: pd.DataFrame, freq: str | None
) -> pd.DataFrame:
    """Return the forecasts of `record` that have an actual: in the currency of the forecast, and
    where the record names groups and lengths of periods, of the same.

    Parameters
    ----------
    record
        The record; None: none.
    forecast
        Rows of one group and currency.
    freq
        "W", "M", "Q" or "Y", as the metric recorded it; None: any.

    Raises
    ------
    ArgumentError
        A column is missing or holds no times, or there are several methods.
    """
    if record is None:
        return (
            pd.DataFrame({"period": pd.Series([], dtype="datetime64[us]")})
            .reindex(columns=[*OF_RECORD, "at"])
            .astype({name: "float64" for name in OF_RECORD[1:]})
        )
    rows = style.require_columns(record, OF_RECORD, "backtest")
    if "currency" in rows and len(forecast):
        currency, own = rows["currency"].astype("str"), forecast["currency"].astype("str").iloc[0]
        rows = rows[currency.isna() if pd.isna(own) else currency == own]
    if "freq" in rows and freq is not None:
        rows = rows[rows["freq"].astype("str") == freq]
    if {"by", "group"} <= set(rows.columns):
        rows = rows[_same_group(rows, forecast)]
    if "method" in rows and len(rows["method"].unique()) > 1:
        raise ArgumentError(
            "record holds several methods. Keep one, such as record[record['method'] == 'hazard']."
        )
    rows = rows[rows["period"].notna() & rows["actual"].notna()].reset_index(drop=True)
    at = next((name for name in ("as_of", "cutoff") if name in rows), None)
    result = pd.DataFrame({"period": calendar.first_days(rows, of="record")})
    for name in OF_RECORD[1:]:
        result[name] = style.numbers(rows, name)
    result["at"] = pd.NaT if at is None else _local_times(rows, at, record.attrs.get("tz"))
    return result.dropna(subset=["p10", "p90"])


def _local_times(rows: pd.DataFrame, column: str, tz: Any) -> pd.Series[Any]:
    """Return times as the company's clock showed them."""
    times = rows[column]
    if isinstance(tz, str) and getattr(times.dtype, "tz", None) is not None:
        rows = rows.assign(**{column: times.dt.tz_convert(tz)})
    return calendar.naive_times(rows, column, of="record")


def _same_group(record: pd.DataFrame, forecast: pd.DataFrame) -> Any:
    """Return which rows of a record are of the group of a forecast."""
    by = style.groups(forecast, "period")
    if not by or not len(forecast):
        return record["by"].isna().to_numpy()
    values = [forecast[name].iloc[0] for name in by]
    group = ", ".join("(none)" if pd.isna(value) else str(value) for value in values)
    return ((record["by"] == ", ".join(by)) & (record["group"] == group)).to_numpy(np.bool_)


def last_forecasts(past: pd.DataFrame, kind: calendar.Periods) -> pd.DataFrame:
    """Return one row a period: the last forecast before it began, else the first one after; `late`
    says whether that was after its first day, in the company's timezone: it knew a part of what it
    forecast.
    """
    if not len(past):
        return past.assign(late=pd.Series([], dtype="bool"))
    after = (past["at"] - past["period"]).dt.total_seconds().fillna(0.0)
    rank = np.where(after > 0, after, -1e12 - after)
    # On its first day nothing of a period is known yet.
    late = past["at"].dt.normalize() > past["period"]
    ordered = past.assign(rank=rank, late=late).sort_values(["period", "rank"], kind="stable")
    return ordered.drop_duplicates("period").tail(_LATEST).reset_index(drop=True)


def hits(past: pd.DataFrame, kind: calendar.Periods, begin: int) -> str | None:
    """Return how many actuals fell inside the range that was forecast before their period began;
    None where nothing was.

    Parameters
    ----------
    past
        The result of `last_forecasts`.
    begin
        Number of the first period of the forecast.
    """
    early = past[~past["late"].to_numpy(np.bool_)]
    count, right = len(early), int(inside(early).sum())
    if not count:
        return None
    if count == 1:
        return f"the last actual fell {'inside' if right else 'outside'} 80 %"
    number = kind.numbers(early["period"])
    # Some periods may have no forecast, and the newest ones no actual yet.
    last = begin - int(number.min()) == count
    when = f"in the last {count} {kind.unit}s" if last else f"from {span(kind, number)}"
    return f"{when} {right} of {count} actuals fell inside 80 %"


def inside(past: pd.DataFrame) -> Any:
    """Return which actuals fell inside the range that was forecast, its ends included."""
    low, high, actual = (past[name].to_numpy(np.float64) for name in ("p10", "p90", "actual"))
    return (low <= actual) & (actual <= high)


def together(draws: pd.DataFrame | None, forecast: pd.DataFrame) -> Quantiles | None:
    """Return P10, P50 and P90 of the total of all periods and groups of a forecast, as the metric
    takes them from its draws; None without draws.

    Raises
    ------
    ArgumentError
        The draws are of other groups, periods or currencies.
    """
    if draws is None:
        return None
    rows = style.require_columns(draws, ("period", "draw", "total"), "forecast_draws")
    if not len(rows):
        raise ArgumentError("draws has no rows. Pass the frame of metrics.forecast_draws.")
    by = style.groups(forecast, "period")
    if style.groups(rows, "period") != by:
        own = ", ".join(map(repr, by)) or "no groups"
        raise ArgumentError(
            f"draws has other groups than the forecast, which has {own}. Pass forecast_draws with"
            " the same by."
        )
    if by:
        names, wanted = (style.group_names(each, by) for each in (rows, forecast))
        rows = rows[names.isin(set(wanted)).to_numpy()].reset_index(drop=True)
        if set(wanted) != set(names):
            # A part of the groups is drawn: these alone count.
            missing = sorted(set(wanted) - set(names))
            if missing:
                raise ArgumentError(
                    f"draws has no rows of {', '.join(missing[:3])}. Pass forecast_draws of the"
                    " same deals and by."
                )
    if set(calendar.first_days(rows, of="draws")) != set(calendar.first_days(forecast)):
        raise ArgumentError(
            "draws has other periods than the forecast. Pass forecast_draws of the same as_of,"
            " until and freq."
        )
    if "currency" in rows and {*rows["currency"].dropna().astype("str")} != {
        *forecast["currency"].dropna().astype("str")
    }:
        raise ArgumentError(
            "draws are in another currency than the forecast. Pass forecast_draws of the same"
            " rates."
        )
    total = pd.Series(months.money(rows, "total")).groupby(rows["draw"].to_numpy()).sum()
    # As the metric takes them from the draws.
    p10, p50, p90 = np.quantile(total.to_numpy(), [0.1, 0.5, 0.9], method="inverted_cdf")
    return float(p10), float(p50), float(p90)


def span(kind: calendar.Periods, number: months.Places) -> str:
    """Return the names of the first and the last period."""
    first, last = kind.name(int(number.min())), kind.name(int(number.max()))
    return first if first == last else f"{first} to {last}"


def middle_and_range(quantiles: Quantiles, currency: str) -> str:
    """Return P10, P50 and P90 as text."""
    p10, p50, p90 = map(months.short, quantiles)
    return f"P50 {p50}{f' {currency}' if currency else ''} (P10 {p10}, P90 {p90})"


def write_sentence(ax: Axes, parts: list[str], beside: float | None = None) -> None:
    """Write a sentence under the title, in a line where there is room for one, else a line a
    part. `beside` is the width of the labels next to the Axes.
    """
    text, lines = "; ".join(parts), 1
    if style.width(text, style.normal()) > 0.98 * style.inches(ax, beside):
        text, lines = ";\n".join(parts), len(parts)
    style.note(ax, 0, 1, text, at=ax.transAxes, va="bottom", shift=(0, 5))
    ax.set_title(
        ax.get_title(loc="left"),
        loc="left",
        pad=(8 + 13 * lines) * style.unit(),
        fontsize=style.large(),
        color=style.pen(ax).ink,
        **style.PLAIN,
    )

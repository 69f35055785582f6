"""Forecasts as they were issued: the rows that are kept of one, and how they compare with what
happened.

A backtest says how a method would have done; the record says how what was said did.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pdframe._plain import plain_frame
from pdframe.errors import ArgumentError, MixedCurrencyError
from pdframe.metrics._arguments import local_days, micros, to_micros
from pdframe.metrics._columns import days, midnights, one_row_each, places, plain_ids
from pdframe.metrics._grouping import taken
from pdframe.metrics._periods import Frequency, ending
from pdframe.metrics._survival import Flags, Floats, Ints
from pdframe.metrics.currency import RateTable
from pdframe.metrics.forecasting._interface import DAY
from pdframe.metrics.forecasting.known import Known, Wins
from pdframe.metrics.forecasting.money import Money, units_for
from pdframe.metrics.forecasting.scores import pinball

LEVELS = np.arange(1, 100) / 100
"""Of the percentiles that are kept: they stand for the draws."""

_TOTALS = ("won_already", "from_open", "from_new", "mean", "p10", "p50", "p90", "common_sd")
_COUNTS = ("deals_open", "deals_new")
_TARGET = ("begins", "ends", "by", "group", "currency", "method")
_RECORD = (
    "as_of",
    "period",
    "currency",
    "by",
    "group",
    "method",
    "won_already",
    "mean",
    "p10",
    "p50",
    "p90",
    "actual",
    "covered",
    "pinball_10",
    "pinball_50",
    "pinball_90",
    "crps",
    "freq",
)


def issued_rows(
    forecast: pd.DataFrame,
    draws: pd.DataFrame,
    *,
    as_of: pd.Timestamp,
    until: Any,
    frequency: Frequency,
    rates: RateTable | None,
    tz: str,
) -> pd.DataFrame:
    """Return what is kept of a forecast: one row per group and period.

    Parameters
    ----------
    forecast, draws
        The results of `metrics.forecast` and `metrics.forecast_draws` for the same arguments.
    as_of, until, frequency, rates, tz
        These arguments; `as_of` in UTC.

    Returns
    -------
    DataFrame
        The columns of `schema.ISSUED_FORECASTS` that follow from the frames and these arguments.
    """
    names = _by(forecast)
    first = days(forecast, "period") // DAY
    number = frequency.numbers(first)
    edges = np.concatenate([frequency.first_days(number), frequency.first_days(number + 1)])
    begins, ends = np.split(midnights(edges * DAY, tz), 2)
    ends = np.minimum(ends, to_micros(ending(until, tz, "until")))
    result = pd.DataFrame(
        {
            "as_of": as_of,
            "freq": frequency.freq,
            "tz": tz,
            "rates": _rates_text(rates),
            "by": json.dumps(names) if names else None,
            "group": _group_texts(forecast, names),
            "period": forecast["period"].to_numpy(),
            "begins": _times(begins),
            "ends": _times(ends),
            "currency": forecast["currency"].astype("str").to_numpy(),
            "percentiles": _percentiles(draws, len(forecast)),
        }
    )
    for name in (*_TOTALS, *_COUNTS):
        result[name] = forecast[name].to_numpy()
    return result


def track_record(
    issued: pd.DataFrame,
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    as_of: pd.Timestamp,
    history: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Compare issued forecasts with what was won, as far as it is known at `as_of`.

    Of several forecasts of one day of the same period and group in one currency, by one method,
    the first counts: no forecast is improved by issuing it again.

    Returns
    -------
    DataFrame
        One row per issued forecast, group and period: see `Account.track_record`.
    list of str
        What could not be scored, and why.
    """
    notes: list[str] = []
    issued = _first_of_each(issued)
    actual = np.full(len(issued), np.nan)
    begins, ends, said = (micros(issued[name], "UTC", name) for name in ("begins", "ends", "as_of"))
    if len(issued):
        known = Known.at(deals, visits, stages, as_of, history=history)
        limit = to_micros(as_of)
        plain = plain_frame(deals).reset_index(drop=True)
        for _, part in issued.groupby("issue", sort=True):
            rows = part.index.to_numpy()
            over = rows[ends[rows] <= limit]
            if not len(over):
                continue
            try:
                actual[over], unknown = _won(
                    known, plain, issued.loc[over], begins[over], ends[over]
                )
            except (ArgumentError, MixedCurrencyError) as error:
                unknown, reason = "", str(error)
            else:
                reason = f"no deal has {unknown} any more." if unknown else ""
            if reason:
                place = over[:1]
                when = pd.Timestamp(
                    int(local_days(said[place], str(issued.loc[place[0], "tz"]))[0]), unit="us"
                )
                of = f" for {unknown}" if unknown else ""
                notes.append(f"The forecast of {when:%Y-%m-%d}{of} cannot be scored: {reason}")
    return _scored(issued, actual), notes


def _first_of_each(issued: pd.DataFrame) -> pd.DataFrame:
    """Return the rows without those of a target that an earlier forecast of the same day has."""
    ordered = issued.sort_values("issue", kind="stable", ignore_index=True)
    day = np.zeros(len(ordered), np.int64)
    at = micros(ordered["as_of"], "UTC", "as_of")
    for tz in ordered["tz"].unique():
        own = (ordered["tz"] == tz).to_numpy(np.bool_)
        day[own] = local_days(at[own], str(tz)) // DAY
    target = [ordered[name].astype("str").fillna("") for name in _TARGET]
    again = pd.concat([pd.Series(day), *target], axis=1).duplicated()
    return ordered[~again.to_numpy()].reset_index(drop=True)


def _during(wins: Wins, begins: Ints, ends: Ints, tz: str) -> Flags:
    """Return which wins (columns) lie in each period (rows): by the company's own day of the win,
    as forecasts count, and by its time where a period ends within a day.
    """
    first, last = (local_days(times, tz) // DAY for times in (begins, ends))
    full = midnights(last * DAY, tz) == ends
    begun = wins.day >= first[:, None]
    before = (wins.day < last[:, None]) | (
        ~full[:, None] & (wins.day == last[:, None]) & (wins.time < ends[:, None])
    )
    return np.asarray(begun & before, np.bool_)


def _won(
    known: Known, deals: pd.DataFrame, rows: pd.DataFrame, begins: Ints, ends: Ints
) -> tuple[Floats, str]:
    """Return what was won in each of these periods, for forecasts of one issue: NaN for groups that
    are no more, and the names of these.
    """
    head = rows.iloc[0]
    names = json.loads(head["by"]) if pd.notna(head["by"]) else []
    missing = [name for name in names if name not in deals]
    if missing:
        raise ArgumentError(f"deals have no column {', '.join(map(repr, missing))} any more.")
    wins = known.wins
    at = int(micros(rows["as_of"].head(1), "UTC", "as_of")[0])
    day = pd.Timestamp(int(local_days(np.array([at]), str(head["tz"]))[0]), unit="us")
    money = Money(_rates(head["rates"]), day.as_unit("us"), apart="currency" in names)
    during = _during(wins, begins, ends, str(head["tz"]))
    inside = during.any(axis=0)
    if pd.isna(head["rates"]) and pd.notna(head["currency"]):
        # Wins of another currency alone would pass for wins of the forecast's.
        money.counted(np.ones(1), np.array([head["currency"]], object))
    value, _ = money.counted(wins.value[inside], wins.currency[inside])
    # Rounded as totals of a forecast are: each win once.
    units = units_for(value)
    amount = np.zeros(len(wins.time), np.int64)
    amount[inside] = np.rint(value * units).astype(np.int64)
    won = np.where(during & _members(rows, deals, names, wins), amount, 0).sum(axis=1) / units
    unknown = _unknown_groups(rows, deals, names)
    known_rows = np.array([text not in unknown for text in rows["group"]], np.bool_)
    return np.where(known_rows, won, np.nan), ", ".join(dict.fromkeys(unknown.values()))


def _members(rows: pd.DataFrame, deals: pd.DataFrame, names: list[str], wins: Wins) -> Flags:
    """Return which of the wins belong to the group of each row; a win is of the currency in which
    the deal was won.
    """
    if not names:
        return np.ones((len(rows), len(wins.deal)), np.bool_)
    place = places(plain_ids(one_row_each(deals, "deals")), wins.deal)
    own = pd.DataFrame(
        {name: wins.currency if name == "currency" else taken(deals[name], place) for name in names}
    )
    group = np.array(_group_texts(own, names), object)
    return np.asarray((rows["group"].to_numpy()[:, None] == group) & (place >= 0), np.bool_)


def _unknown_groups(rows: pd.DataFrame, deals: pd.DataFrame, names: list[str]) -> dict[str, str]:
    """Return the groups that have a value which no deal has any more, such as an owner who was
    renamed: their wins are under another name. Each with that value, as words.
    """
    # Currencies keep their names, and wins have their own.
    own = {name: set(_texts(deals[name])) for name in names if name != "currency"}
    result: dict[str, str] = {}
    for text in rows["group"].dropna().unique():
        for name, value in zip(names, json.loads(text), strict=True):
            if name in own and value is not None and value not in own[name]:
                result.setdefault(text, f"{name} {value!r}")
    return result


def _scored(issued: pd.DataFrame, actual: Floats) -> pd.DataFrame:
    result = issued.reset_index(drop=True).assign(actual=actual)
    low, high = (result[name].to_numpy(np.float64) for name in ("p10", "p90"))
    covered = pd.Series((low <= actual) & (actual <= high), dtype="boolean")
    result["covered"] = covered.mask(np.isnan(actual))
    for percent in (10, 50, 90):
        result[f"pinball_{percent}"] = pinball(actual, result[f"p{percent}"], percent / 100)
    result["crps"] = [
        _crps(text, value) for text, value in zip(result["percentiles"], actual, strict=True)
    ]
    for name in ("by", "group"):
        result[name] = pd.Series([_joined(text) for text in result[name]], dtype="str")
    order = ["as_of", "issue", "period", "group"]
    return result.sort_values(order, kind="stable", ignore_index=True)[[*_RECORD]]


def _crps(percentiles: Any, actual: float) -> float:
    """Return twice the mean loss of the percentiles: the continuous ranked probability score of
    the distribution that they describe.
    """
    if np.isnan(actual) or pd.isna(percentiles):
        return float("nan")
    values = np.array(json.loads(percentiles), np.float64)
    if len(values) != len(LEVELS):
        return float("nan")
    error = actual - values
    return float(2 * np.maximum(LEVELS * error, (LEVELS - 1) * error).mean())


def _percentiles(draws: pd.DataFrame, rows: int) -> list[str]:
    total = draws["total"].to_numpy(np.float64).reshape(rows, -1)
    ordered = np.sort(total, axis=1)
    place = -(-total.shape[1] * np.arange(1, 100) // 100) - 1
    return [json.dumps([round(value, 6) for value in row]) for row in ordered[:, place].tolist()]


def _by(forecast: pd.DataFrame) -> list[str]:
    return [str(name) for name in forecast.columns[: list(forecast.columns).index("period")]]


def _group_texts(frame: pd.DataFrame, names: list[str]) -> list[str | None]:
    """Return the values of these columns as JSON, one text per row."""
    if not names:
        return [None] * len(frame)
    columns = [_texts(column) for _, column in plain_frame(frame[names]).items()]
    return [json.dumps(values) for values in zip(*columns, strict=True)]


def _texts(column: pd.Series[Any]) -> list[str | None]:
    return [None if pd.isna(value) else str(value) for value in column]


def _joined(text: Any) -> str | None:
    """Return values that were kept as JSON as one text, for people."""
    if pd.isna(text):
        return None
    return ", ".join("(none)" if value is None else str(value) for value in json.loads(text))


def _rates_text(rates: RateTable | None) -> str | None:
    if rates is None:
        return None
    if isinstance(rates, Mapping):
        return json.dumps({str(name): float(rate) for name, rate in rates.items()})
    table = pd.DataFrame(
        {
            "currency": rates["currency"].astype("str"),
            "date": pd.to_datetime(rates["date"]).dt.strftime("%Y-%m-%d"),
            "rate": rates["rate"].astype("float64"),
        }
    )
    return json.dumps(table.to_dict("list"))


def _rates(text: Any) -> RateTable | None:
    if pd.isna(text):
        return None
    content = json.loads(text)
    if isinstance(content.get("rate"), list):
        return pd.DataFrame(content).assign(date=lambda rows: pd.to_datetime(rows["date"]))
    rates: dict[str, float] = content
    return rates


def _times(instants: Ints) -> pd.Series[Any]:
    return pd.Series(pd.to_datetime(instants, unit="us", utc=True)).astype("datetime64[us, UTC]")


__all__ = ["LEVELS", "issued_rows", "track_record"]

"""The probability that a quota is reached, and how much open pipeline that needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from pdframe._advice import nearest
from pdframe._warnings import collect_warnings, warn
from pdframe.errors import ArgumentError, MixedCurrencyError
from pdframe.metrics._arguments import (
    grouped,
    keyed,
    moment,
    require_columns,
    to_micros,
)
from pdframe.metrics._columns import amounts, dates, finite, plain_ids, ratio
from pdframe.metrics._notes import note
from pdframe.metrics._periods import beginning, period_ends
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.currency import Rates, RateTable, mixed
from pdframe.metrics.forecasting.totals import DRAWS

Quota: TypeAlias = float | Mapping[Any, float] | pd.DataFrame

_NEAREST = 3
"""Periods or groups that an error names."""

COLUMNS = (
    "quota",
    "won_already",
    "gap",
    "probability",
    "coverage",
    "needed_coverage",
)
_OWN = frozenset({*DRAWS, "currency"})


def attainment(
    draws: pd.DataFrame,
    quota: Quota,
    forecast_deals: pd.DataFrame | None = None,
    *,
    rates: RateTable | None = None,
) -> pd.DataFrame:
    """Compare the forecast of each period with its quota.

    Parameters
    ----------
    draws
        From `forecast_draws`.
    quota
        In the currency of `draws`: one number, the quota of every period and group; a mapping from
        a period ("2026-Q3", "2026-07", a `pd.Period`, its first day) to its quota; or a frame with
        the columns of `by` of the draws, `quota`, and `period`, written in the same ways, where the
        quota differs by period. A period or group without a quota is left out. A named period is
        one of the `freq` of the draws.
    forecast_deals
        From `forecast_deals` at the same `as_of`, with the same `by`; None: the two columns of
        coverage are null.
    rates
        A mapping currency -> value of one unit in the currency of `draws`, or a frame (currency,
        date, rate), where `forecast_deals` has several currencies.

    Returns
    -------
    DataFrame
        One row per group and period of `draws` that has a quota:

        - the columns of `by`, period, currency: as in `draws`
        - quota
        - won_already: wins inside the period up to `as_of`
        - gap: what is missing, quota - won_already; 0 where the quota is met
        - probability: the share of draws in which the total reaches the quota
        - coverage: value of the open deals / gap; null where there is no gap
        - needed_coverage: the coverage that the account's own win rate needs, 1 / the share of the
          open value that is expected to be won by the end of the period; null where none is

    Raises
    ------
    ArgumentError
        A frame lacks columns, a quota is no number, there is none for any period (the message names
        the nearest ones) or two for one, or a period is none or of another length.
    MixedCurrencyError
        `forecast_deals` has several currencies and there are no `rates`.

    Warns
    -----
    DataWarning
        Some quotas of the frame fit no group and period of `draws`; old rates.

    Notes
    -----
    The expected share is that of the horizon in `forecast_deals` that is nearest to the end of the
    period: pass `horizons` that are periods, such as "2026-Q3".

    Examples
    --------
    >>> deals = account.deals(archived=True, deleted=True)
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> coming = {"as_of": "2026-06-30", "until": "2026-Q3", "freq": "Q"}
    >>> coming["rates"] = {"EUR": 1, "USD": 0.9, "GBP": 1.15}
    >>> draws = metrics.forecast_draws(deals, visits, stages, **coming)
    >>> table = metrics.attainment(draws, {"2026-Q3": 250_000})
    >>> list(table["quota"])
    [250000.0]
    """
    with collect_warnings() as notes:
        names = _groups(draws) if isinstance(draws, pd.DataFrame) else []
        plain = require_columns(draws, "draws", [*DRAWS, "currency"], names)
        if rates is not None:
            Rates(rates)  # checked also where no deals are given
        result, totals = _totals(plain, names)
        target = _quotas(quota, result, names, draws.attrs)
        kept = np.flatnonzero(~np.isnan(target))
        if not len(kept):
            raise ArgumentError("quota names no period and group of the draws.")
        result = result.iloc[kept].reset_index(drop=True)
        totals, target = totals[kept], target[kept]
        won = result.pop("won_already").to_numpy()
        gap = np.maximum(target - won, 0.0)
        # Amounts are sums of millionths: a total that equals the quota but for rounding meets it.
        met = totals >= target[:, None] - 5e-7
        result["quota"], result["won_already"], result["gap"] = target, won, gap
        result["probability"] = met.mean(axis=1)
        value, share = _pipeline(forecast_deals, result, names, rates, draws.attrs)
        result["coverage"] = ratio(value, gap)
        result["needed_coverage"] = ratio(np.ones(len(share)), share)
        result = keyed(result, [*names, "period"], draws.attrs.get("tz"))
        for name in ("as_of", "freq", "until"):
            if name in draws.attrs:
                result.attrs[name] = draws.attrs[name]
    return note(result, notes, "attainment")


def _groups(draws: pd.DataFrame) -> list[str]:
    """Return the columns that draws are grouped by: currency is one where it is before period."""
    columns = list(draws.columns)
    apart = {"currency", "period"} <= set(columns)
    apart = apart and columns.index("currency") < columns.index("period")
    return [name for name in columns if name not in _OWN or (apart and name == "currency")]


def _totals(draws: pd.DataFrame, names: list[str]) -> tuple[pd.DataFrame, Floats]:
    """Return one row per group and period, and its totals: rows x draws."""
    key_columns = [*names, "period", *(["currency"] if "currency" not in names else [])]
    codes, rows = grouped(draws, key_columns)
    if not len(rows):
        raise ArgumentError("draws has no rows. Pass the complete frame of forecast_draws.")
    count = np.bincount(codes, minlength=len(rows))
    if (count != count[0]).any():
        raise ArgumentError(
            "draws has more draws of one period than of another. Pass the complete frame of"
            " forecast_draws."
        )
    order = np.lexsort((plain_ids(draws["draw"]), codes))
    totals = amounts(draws, "total")[order].reshape(len(rows), -1)
    first = order.reshape(len(rows), -1)[:, 0]
    rows["won_already"] = amounts(draws, "won_already")[first]
    return rows, totals


def _quotas(quota: Any, rows: pd.DataFrame, names: list[str], attrs: Mapping[Any, Any]) -> Floats:
    """Return the quota of each row, NaN where it has none."""
    try:
        if isinstance(quota, pd.DataFrame):
            return _quotas_of_frame(quota, rows, names, attrs)
        if isinstance(quota, Mapping):
            return _quotas_by_period(quota, rows, names, attrs)
    except _NoPeriodError as error:
        raise ArgumentError(str(error)) from None
    return np.full(len(rows), _number(quota))


def _quotas_by_period(
    quota: Mapping[Any, Any], rows: pd.DataFrame, names: list[str], attrs: Mapping[Any, Any]
) -> Floats:
    """Return the quota of each row from a mapping of periods."""
    first = dates(rows, "period").to_numpy()
    result = np.full(len(rows), np.nan)
    named: dict[Any, Any] = {}
    for period, number in quota.items():
        try:
            day = _first_day(period, attrs)
        except _NoPeriodError as error:
            if not names:
                raise
            raise ArgumentError(
                f"quota: {period!r} is not a period. A mapping goes from periods to quotas; pass"
                f" those of groups as a frame with the columns {', '.join(map(repr, names))} and"
                " 'quota'."
            ) from error
        if day in named:
            raise ArgumentError(
                f"quota has one period twice, as {named[day]!r} and as {period!r}. Keep one."
            )
        named[day] = period
        if not (first == day).any():
            raise ArgumentError(
                f"quota has the period {period!r}, which draws has not: it has"
                f" {', '.join(f'{each:%Y-%m-%d}' for each in rows['period'].unique())}."
            )
        result[first == day] = _number(number)
    return result


class _NoPeriodError(ArgumentError):
    """A value names no period."""


def _first_day(period: Any, attrs: Mapping[Any, Any]) -> np.datetime64:
    """Return the first day of a period that has a quota."""
    if pd.api.types.is_scalar(period) and pd.isna(period):
        raise _NoPeriodError(f"quota: {period!r} is not a period. Name the period of each quota.")
    if isinstance(period, datetime) and period.tzinfo is not None:
        period = pd.Timestamp(period).tz_convert(str(attrs.get("tz") or "UTC")).tz_localize(None)
    try:
        day = beginning(period, "UTC", "quota")
    except ArgumentError as error:
        raise _NoPeriodError(str(error)) from error
    named = period.freqstr[:1] if isinstance(period, pd.Period) else _named_length(period)
    freq = attrs.get("freq")
    if named is not None and freq is not None and named != freq:
        raise ArgumentError(
            f"quota has the period {period!r}, but draws has periods of freq={freq!r}. Pass"
            f" freq={named!r} to forecast_draws, or a quota of each period."
        )
    return day.tz_localize(None).to_datetime64()


def _named_length(period: Any) -> str | None:
    """Return the frequency of a period that is named: "2026", "2026-Q3", "2026-09"."""
    text = period.strip() if isinstance(period, str) else ""
    if re.fullmatch(r"\d{4}", text):
        return "Y"
    if re.fullmatch(r"\d{4}-?[Qq]\d", text):
        return "Q"
    return "M" if re.fullmatch(r"\d{4}-\d{2}", text) else None


def _quotas_of_frame(
    quota: pd.DataFrame, rows: pd.DataFrame, names: list[str], attrs: Mapping[Any, Any]
) -> Floats:
    on = [*names, *(["period"] if "period" in quota.columns else [])]
    table = require_columns(quota, "quota", ["quota"], on)
    table = table[[*on, "quota"]].assign(quota=finite(table, "quota"))
    if "period" in on:
        table["period"] = np.array(
            [_first_day(period, attrs) for period in quota["period"]], "datetime64[us]"
        )
    if len(table) > 1 and (not on or table.duplicated(on).any()):
        raise ArgumentError("quota has two rows for one period and group. Pass one row each.")
    if not on:
        return np.full(len(rows), _number(table["quota"].iloc[0] if len(table) else None))
    both = pd.concat([rows[on], table[on]], ignore_index=True)
    codes, _ = grouped(both, on)
    result = pd.Series(table["quota"].to_numpy(), index=codes[len(rows) :])
    idle = table[~np.isin(codes[len(rows) :], codes[: len(rows)])]
    if len(idle):
        first = ", ".join(f"{name}={_written(idle[name].iloc[0])}" for name in on)
        if len(idle) == len(table):
            raise ArgumentError(
                f"quota names no period and group of draws, first {first}."
                f" {_nearest(rows, idle.iloc[0], on)}"
            )
        warn(
            f"{len(idle):,} of {len(table):,} quotas fit no group and period of draws, first"
            f" {first}: they are left out."
        )
    return np.asarray(result.reindex(codes[: len(rows)]).to_numpy(), np.float64)


def _nearest(rows: pd.DataFrame, missed: pd.Series[Any], on: list[str]) -> str:
    """Return what draws have that is nearest to a quota that fits none of them."""
    parts = []
    for name in on:
        there = rows[name].dropna().drop_duplicates()
        if name == "period":
            distance = (there - missed[name]).abs()
            near = [_written(day) for day in there[distance.argsort()].iloc[:_NEAREST]]
        else:
            values = there.astype("str").tolist() or ["(none)"]
            near = nearest(str(missed[name]), values) or values[:_NEAREST]
        if not there.isin([missed[name]]).any():
            parts.append(f"The nearest {name} of draws: {', '.join(near)}.")
    return " ".join(parts) or "No row of draws has all of them together."


def _written(value: Any) -> str:
    if not isinstance(value, pd.Timestamp):
        return str(value)
    return f"{value:%Y-%m-%d}" if value == value.normalize() and value.tz is None else str(value)


def _number(value: Any) -> float:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not np.isfinite(float(value)):
        raise ArgumentError(
            f"quota={value!r} is not a number. Pass a number, a mapping from periods, or a frame"
            " with the column 'quota'."
        )
    return float(value)


def _pipeline(
    deals: pd.DataFrame | None,
    rows: pd.DataFrame,
    names: list[str],
    rates: RateTable | None,
    attrs: Mapping[Any, Any],
) -> tuple[Floats, Floats]:
    """Return the open value of each row's group, and the share that is expected to be won by the
    end of its period.
    """
    nothing = np.full(len(rows), np.nan)
    if deals is None:
        return nothing, nothing
    plain = require_columns(
        deals, "forecast_deals", ["deal_id", "horizon", "currency", "value", "p_won"], names
    )
    value = np.nan_to_num(_converted(plain, rows, names, rates, attrs))
    expected = value * amounts(plain, "p_won")
    length = plain["horizon"].astype("timedelta64[us]").to_numpy().view(np.int64)
    ends = _ends(rows, attrs)
    known = np.unique(length)
    if not len(known):
        return np.zeros(len(rows)), nothing
    nearest = known[np.abs(known - ends[:, None]).argmin(axis=1)]
    both = pd.concat([rows[names], plain[names]], ignore_index=True)
    codes, keys = grouped(both, names)
    own, group = codes[: len(rows)], codes[len(rows) :]
    total, share = np.zeros(len(rows)), np.zeros(len(rows))
    for horizon in np.unique(nearest):
        inside = length == horizon
        sums, won = (
            np.bincount(group[inside], each[inside], len(keys)) for each in (value, expected)
        )
        here = nearest == horizon
        total[here] = sums[own[here]]
        share[here] = ratio(won, sums)[own[here]]
    return total, share


def _converted(
    deals: pd.DataFrame,
    rows: pd.DataFrame,
    names: list[str],
    rates: RateTable | None,
    attrs: Mapping[Any, Any],
) -> Floats:
    """Return the values of deals in the currency of the draws."""
    value = finite(deals, "value")
    valued = ~np.isnan(value) & (value != 0)
    if "currency" in names:
        return value
    if rates is None:
        met = {*deals.loc[valued, "currency"].dropna().unique(), *rows["currency"].dropna()}
        if len(met) > 1:
            raise MixedCurrencyError(mixed(met))
        return value
    table = Rates(rates)
    day = moment(attrs["as_of"], "UTC", "as_of") if "as_of" in attrs else None
    if day is None and table.dated:
        raise ArgumentError("draws has lost its attrs: pass rates as a mapping.")
    days = (
        None
        if day is None
        else pd.Series(
            [day.tz_convert(attrs.get("tz") or "UTC").tz_localize(None).normalize()] * len(deals)
        )
    )
    rate = table.at(deals["currency"], days, valued)
    table.warn_of_stale()
    return value * rate


def _ends(rows: pd.DataFrame, attrs: Mapping[Any, Any]) -> Ints:
    """Return the time from `as_of` to the end of each row's period, in microseconds."""
    if not {"as_of", "freq", "until"} <= set(attrs):
        warn("draws has lost its attrs: coverage is that of the longest horizon.")
        return np.full(len(rows), np.iinfo(np.int64).max // 4)
    as_of = to_micros(moment(attrs["as_of"], "UTC", "as_of"))
    return period_ends(rows, attrs) - as_of


__all__ = ["attainment"]

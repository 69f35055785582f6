"""Key figures of a period against the period before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from pdframe import metrics
from pdframe.dashboard._data import Data
from pdframe.dashboard._parts import (
    NONE,
    Figure,
    Table,
    amount,
    besides,
    change,
    count,
    days,
    share,
    table,
)
from pdframe.dashboard.state import State

__all__ = ["Totals", "figures_of", "sales_tables", "totals"]

_SUMS = ("created", "created_value", "won", "won_value", "lost", "lost_value")
_AT_END = ("open_at_end", "open_value_at_end")


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of a window, a row a currency, and the mean days to a win."""

    by_currency: pd.DataFrame
    mean_days: Any

    def of(self, name: str, currency: str | None = None) -> float:
        """Return a sum, of one currency if one is given."""
        rows = self.by_currency
        column = rows[name] if currency is None else rows.loc[rows["currency"].eq(currency), name]
        return float(column.sum())

    @property
    def win_rate(self) -> float | None:
        """Share won of the deals closed."""
        closed = self.of("won") + self.of("lost")
        return self.of("won") / closed if closed else None


def figures_of(
    now: Totals, before: Totals, currency: str | None, months: pd.DataFrame | None = None
) -> tuple[Figure, ...]:
    """Return the key figures: counts of all currencies, amounts of one, others beside.

    Parameters
    ----------
    now, before
        As `totals` returns them.
    currency
        Of the amounts.
    months
        `metrics.sales_by_period` of the same deals by month, in all currencies; None: figures have
        no trend.
    """

    def sums(label: str, name: str, money: str | None = None) -> Figure:
        new, old = now.of(name, money), before.of(name, money)
        write = count if money is None else amount
        trend = _trend(months, name, money)
        note = "" if money is None else besides(now.by_currency.set_index("currency")[name], money)
        return Figure(label, write(new), write(old), change(new, old), note, trend)

    return (
        sums("New deals", "created"),
        sums("Deals won", "won"),
        sums(f"Won, {currency}", "won_value", currency),
        Figure(
            "Win rate",
            share(now.win_rate),
            share(before.win_rate),
            _points(now, before),
            trend=_win_rates(months),
        ),
        Figure("Days to a win", days(now.mean_days), days(before.mean_days), _longer(now, before)),
        sums("Deals open", "open_at_end"),
        sums(f"Open, {currency}", "open_value_at_end", currency),
    )


def sales_tables(
    now: Totals, state: State, months: pd.DataFrame, reasons: pd.DataFrame
) -> tuple[Table, ...]:
    """Return the tables under the key figures."""
    columns = {
        "created": ("New", count),
        "won": ("Won", count),
        "won_value": ("Won value", amount),
        "lost": ("Lost", count),
        "lost_value": ("Lost value", amount),
        "open_at_end": ("Open", count),
        "open_value_at_end": ("Open value", amount),
    }
    return (
        table(
            f"By month, {state.currency}",
            months.assign(month=months["period"].dt.strftime("%Y-%m")),
            {"month": "Month", **columns},
        ),
        table(
            "Reasons of losses in the period",
            _by_reason(reasons),
            {"reason": "Reason", "deals": ("Deals", count), "share": ("Share", share)},
        ),
        table(
            f"{state.period.text} by currency",
            now.by_currency,
            {"currency": "Currency", **columns},
        ),
    )


def totals(data: Data, state: State, deals: pd.DataFrame) -> tuple[Totals, Totals]:
    """Return the sums of the period and of the period before, of the deals that were chosen."""
    period = state.period
    return (
        _totals(data, deals, period.since, period.until),
        _totals(data, deals, period.before_since, period.before_until),
    )


def _totals(data: Data, deals: pd.DataFrame, since: pd.Timestamp, until: pd.Timestamp) -> Totals:
    how: dict[str, Any] = {"since": since, "until": until, "tz": data.tz}
    rows = metrics.sales_by_period(deals, as_of=data.now, rates=data.rates, **how)
    sums = rows.groupby("currency", dropna=False)[list(_SUMS)].sum()
    last = rows[rows["period"] == rows["period"].max()]
    ends = last.set_index("currency")[list(_AT_END)]
    joined = sums.join(ends).reset_index()
    joined["currency"] = joined["currency"].astype("str").fillna(NONE)
    # Days to a win have no currency: of all deals as if they had one.
    one = metrics.sales_velocity(deals.assign(currency="XXX"), **how)
    return Totals(joined, one["mean_days"].iloc[0] if len(one) else None)


def _by_reason(reasons: pd.DataFrame) -> pd.DataFrame:
    """Add up stages and currencies, the commonest reason first."""
    named = reasons.assign(reason=reasons["reason"].fillna("no reason given"))
    sums = named.groupby("reason", sort=False)[["deals", "share"]].sum().reset_index()
    return sums.sort_values("deals", ascending=False, kind="stable")


def _trend(
    months: pd.DataFrame | None, name: str, currency: str | None = None
) -> tuple[float, ...]:
    """Return the sums of each month, of one currency if one is given."""
    if months is None:
        return ()
    rows = months if currency is None else months[months["currency"].eq(currency)]
    return tuple(rows.groupby("period")[name].sum().astype("float64"))


def _win_rates(months: pd.DataFrame | None) -> tuple[float, ...]:
    """Return the share won of the deals closed in each month; empty where one has none."""
    won, lost = _trend(months, "won"), _trend(months, "lost")
    if any(not one + other for one, other in zip(won, lost, strict=True)):
        return ()
    return tuple(one / (one + other) for one, other in zip(won, lost, strict=True))


def _longer(now: Totals, before: Totals) -> str:
    new, old = now.mean_days, before.mean_days
    return "" if pd.isna(new) or pd.isna(old) else f"{round(new) - round(old):+,} days"


def _points(now: Totals, before: Totals) -> str:
    new, old = now.win_rate, before.win_rate
    if new is None or old is None:
        return ""
    # Of the shares that are shown: those of others differ by one.
    shown, shown_before = (int(share(one).removesuffix("%")) for one in (new, old))
    return f"{shown - shown_before:+d} points"

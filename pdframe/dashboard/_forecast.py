"""The view of the forecast: the range, its record, the deals in it, and the quota."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd

from pdframe import metrics
from pdframe.dashboard import _charts as charts
from pdframe.dashboard._chosen import Chosen, Notes, arguments, as_text, in_currency, like, script
from pdframe.dashboard._data import Data
from pdframe.dashboard._parts import (
    Chart,
    Counted,
    Figure,
    Table,
    View,
    amount,
    besides,
    count,
    share,
    table,
)
from pdframe.dashboard._record import (
    OUTCOMES,
    RANGE,
    last_forecasts,
    outside_of_range,
    record_figure,
    record_table,
)
from pdframe.dashboard.state import State
from pdframe.metrics.forecasting.deals import deals_from
from pdframe.metrics.forecasting.learned import Learned
from pdframe.metrics.forecasting.totals import forecast_with_draws

__all__ = ["forecast", "keep_common_sd", "learn", "until_month"]

AHEAD = 3
"""Months that are forecast after the current one."""
_CHOSEN = "chosen"
"""A column of deals: whether the reader chose them."""
DRAWS = 10_000
"""Draws, as many as `metrics.forecast` makes."""
MANY_OPEN, FEWER_DRAWS = 10_000, 2_000
"""Of that many open deals so few draws are enough: 10,000 take seconds at each choice."""


class _Model:
    """The forecast of the chosen deals, by a method that learned from all deals of the account.

    Few deals teach little: what an owner's deals bring is judged by the whole account's past.
    """

    def __init__(self, data: Data, state: State, chosen: Chosen, notes: Notes) -> None:
        self._data, self._state, self._chosen, self._notes = data, state, chosen, notes
        self.until = until_month(data)
        self._by, self._draws = _by(data, is_of_all=chosen.is_all), _draws(data)

    def results(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Return the forecast by month in the chosen currency, in every one, and the draws."""
        data = self._data
        if self._chosen.is_all:
            months, draws = _of_all(data)
        elif self._state.quota is None:
            months, draws = self._computed()
        else:
            # Those of another quota are the same.
            months, draws = data.once(("draws", self._state.chosen), self._computed)
        noted = months.attrs.get("notes", ())
        self._notes.add(*noted, *data.computed.get("common_sd notes", ()))
        return self._own(months), self._own(months, is_of_all=True), self._own(draws)

    def each(self) -> pd.DataFrame:
        """Return the forecast of each open deal."""
        data, every = self._data, _of_each(self._data)
        self._notes.add(*every.attrs.get("notes", ()))
        rows = every if data.rates is not None else in_currency(every, self._state.currency)
        return self._chosen.of(rows).copy(deep=False)

    def code(self) -> list[str]:
        """Return the lines that do the same."""
        chosen, state = self._chosen, self._state
        lines = chosen.code()
        every = "deals"
        if not chosen.is_all:
            lines = [
                "every = account.deals(deleted=True)",
                "deals = every",
                *lines[1:],
                'every["chosen"] = every["id"].isin(deals["id"])',
            ]
            every = "every"
        how = {"as_of": as_text(self._data.now), "history": "account.deal_history()"}
        until = f"until='{self.until}'"
        by = f", by={self._by!r}" if self._by else ""
        by += f", draws={self._draws}" if self._draws != DRAWS else ""
        own = [f"months['currency'] == {state.currency!r}"] if self._data.rates is None else []
        own += [] if chosen.is_all else ["months['chosen']"]
        lines += [
            "visits, stages = account.stage_visits(), account.stages()",
            f"how = {_dictionary(how)}",
            f"amounts = {arguments(self._data)}",
            f"months = metrics.forecast({every}, visits, stages, {until}{by}, **amounts, **how)",
            *(f"months = months[{one}]" for one in own),
            f"each = metrics.forecast_deals({every}, visits, stages, horizons=['{self.until}'],"
            " **how)",
        ]
        if self._data.rates is None:
            lines.append(f"each = each[each['currency'] == {state.currency!r}]")
        if not chosen.is_all:
            lines.append('each = each[each["deal_id"].isin(deals["id"])]')
        lines += [
            f"draws = metrics.forecast_draws({every}, visits, stages, {until}{by}, **amounts,"
            " **how)",
            *(f"draws = draws[{one.replace('months', 'draws')}]" for one in own),
            "coming = draws[draws['period'] > draws['period'].min()]",
            "coming = coming.groupby('draw')['total'].sum()",
            "expected_range = coming.quantile([.1, .9], interpolation='lower')",
        ]
        if state.quota is not None:
            lines.append(f"goal = metrics.attainment(draws, {state.quota!r})")
        return [*lines, "record = account.track_record()"]

    def _computed(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the forecast by month, and its draws, of all currencies."""
        # Of the draws of all deals, those of the fewer ones are made, and the rest subtracted.
        _of_all(self._data)
        every = self._data.deals
        chosen = every["id"].isin(self._chosen.deals["id"])
        return _totals(self._data, every.assign(**{_CHOSEN: chosen}), self._by)

    def _own(self, rows: pd.DataFrame, *, is_of_all: bool = False) -> pd.DataFrame:
        """Return the rows of the chosen deals in the chosen currency, or in all."""
        is_of_all |= self._data.rates is not None
        own = rows if is_of_all else in_currency(rows, self._state.currency)
        if _CHOSEN in own.columns:
            own = like(own[own[_CHOSEN].astype(bool)], own).drop(columns=_CHOSEN)
        # Views share `rows`; pandas copies a column when it changes.
        return own.copy(deep=False)


def forecast(data: Data, state: State) -> View:
    """The range of revenue that the coming months may bring, its record, and the deals in it."""
    chosen, notes = Chosen(data, state), Notes()
    model = _Model(data, state, chosen, notes)
    (months, every, draws), each = model.results(), model.each()
    if months.empty:
        return View(
            "forecast",
            "Forecast",
            notes=(f"No deal that was chosen is expected to bring {state.currency}.",),
        )
    best = each.sort_values("expected_value", ascending=False, kind="stable")
    urls = data.deals.set_index("id")["url"]
    record = last_forecasts(data.record, state.currency) if chosen.is_all else None
    later = months.iloc[1:] if len(months) > 1 else months
    is_converted = data.rates is not None
    figures = [
        Figure(
            f"Expected {later['period'].iloc[0]:%Y-%m} to {model.until}, {state.currency}",
            amount(later["mean"].sum()),
            range=_range(draws[draws["period"].isin(later["period"])]),
            note="; ".join(filter(None, _missing(data, state, every, later))),
        ),
        Figure(
            "Open deals" if is_converted else f"Open deals, {state.currency}",
            count(months["deals_open"].max()),
        ),
        record_figure(record, state.currency),
    ]
    notes.add(*outside_of_range(months, "Expected"))
    by_month = table(
        f"Forecast by month, {state.currency}: {RANGE}",
        months.assign(month=months["period"].dt.strftime("%Y-%m")),
        {
            "month": "Month",
            "won_already": ("Won already", amount),
            **OUTCOMES,
        },
    )
    tables = [
        by_month,
        table(
            f"Deals with the most expected by the end of {model.until}",
            best,
            {
                "title": "Deal",
                "owner_name": "Owner",
                "stage": "Stage",
                "value": ("Value", amount),
                "p_won": ("Win", share),
                "expected_value": ("Expected", amount),
                "reason": "Why",
            },
            most=8,
            links=best["deal_id"].map(urls),
        ),
    ]
    frames = {"months": months, "each": each}
    if state.quota is not None:
        goal = notes.of(metrics.attainment, draws, state.quota)
        frames["goal"] = goal
        tables.insert(1, _goal(goal, state))
        figures.append(Figure(f"Quota reached in {goal['period'].iloc[0]:%Y-%m}", _chance(goal)))
    if record is not None:
        tables.append(record_table(record, state.currency))
        notes.add(*outside_of_range(record, "What was expected"))
    return View(
        "forecast",
        "Forecast",
        tuple(figures),
        (
            Chart(
                "Forecast by month",
                partial(charts.forecast, months, draws, record),
                table=by_month.caption,
            ),
        ),
        tuple(tables),
        notes.every,
        script(*model.code()),
        frames,
        (
            Counted("Open deals, the most expected first", lambda: best, "counted = each"),
            *(
                Counted(
                    f"Open deals: {band} ({number:,})",
                    partial(_of_band, best, band),
                    f"counted = each[each['band'] == {band!r}]",
                )
                for band, number in best["band"].value_counts(sort=False).items()
                if number
            ),
        ),
    )


def _range(draws: pd.DataFrame) -> str:
    """Return what 8 of 10 draws are between, of the sum of their periods."""
    totals = draws.groupby("draw")["total"].sum()
    # The place among the draws that the ranges of single periods are taken from.
    low, high = totals.quantile([0.1, 0.9], interpolation="lower")
    return f"P10 {amount(low)} to P90 {amount(high)}"


def _missing(data: Data, state: State, every: pd.DataFrame, later: pd.DataFrame) -> tuple[str, str]:
    """Return what the expected revenue leaves out: other currencies, and changelogs."""
    beside = ""
    if data.rates is None:
        others = every[every["period"].isin(later["period"])]
        beside = besides(others.groupby("currency")["mean"].sum(), state.currency)
    has_changelogs = data.visits["source"].eq("changelog").fillna(False).any()
    return beside, "" if has_changelogs else "without changelogs"


def learn(data: Data, go_on: Callable[[], None]) -> None:
    """Compute what all choices of the view share, for the view to find; call `go_on`, which may
    raise, from time to time.
    """
    go_on()
    learned = _learned(data)
    go_on()
    _ = learned.fitted
    if "common_sd" not in data.computed:
        learned.spread(go_on)
    go_on()
    _of_each(data)
    go_on()
    _of_all(data)


def _of_all(data: Data) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the forecast of all deals by month, and its draws, of all currencies."""
    key = "forecast", _draws(data)
    return data.once(key, lambda: _totals(data, data.deals, _by(data, is_of_all=True)))


def _totals(data: Data, deals: pd.DataFrame, by: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return forecast_with_draws(
        _learned(data),
        deals,
        until=until_month(data),
        by=by or None,
        draws=_draws(data),
        rates=data.rates,
        spread=data.computed.get("common_sd"),
    )


def _by(data: Data, *, is_of_all: bool) -> list[str]:
    """Return what forecasts are grouped by."""
    currencies = ["currency"] if data.rates is None else []
    return currencies if is_of_all else [*currencies, _CHOSEN]


def _draws(data: Data) -> int:
    is_large = data.deals["status"].eq("open").sum() > MANY_OPEN
    return FEWER_DRAWS if is_large else DRAWS


def _learned(data: Data) -> Learned:
    """Return what the method learned from all deals, which no choice changes."""
    return data.once(
        "learned",
        lambda: Learned.at(
            data.deals,
            data.visits,
            data.stages,
            as_of=data.now,
            history=data.history,
            tz=data.tz,
        ),
    )


def _of_each(data: Data) -> pd.DataFrame:
    """Return the forecast of each open deal of the account."""
    return data.once(
        "forecast_deals",
        lambda: deals_from(_learned(data), data.deals, horizons=[until_month(data)]),
    )


def until_month(data: Data) -> pd.Period:
    """Return the last month that is forecast."""
    return data.now.tz_convert(data.tz).tz_localize(None).to_period("M") + AHEAD


def keep_common_sd(data: Data, forecast: pd.DataFrame) -> None:
    """Keep the `common_sd` of a forecast of the whole account for others: its slowest part."""
    if "common_sd" in forecast.columns and len(forecast) and "common_sd" not in data.computed:
        data.computed["common_sd"] = float(forecast["common_sd"].iloc[0])
        of_it = [text for text in forecast.attrs.get("notes", ()) if "common_sd" in text]
        data.computed["common_sd notes"] = of_it


def _of_band(each: pd.DataFrame, band: object) -> pd.DataFrame:
    return like(each[each["band"].astype("str").eq(str(band))], each)


def _chance(goal: pd.DataFrame) -> str:
    return share(goal["probability"].iloc[0])


def _goal(goal: pd.DataFrame, state: State) -> Table:
    """Return what the quota of each month needs."""
    return table(
        f"A quota of {amount(state.quota)} {state.currency} a month",
        goal.assign(month=goal["period"].dt.strftime("%Y-%m")),
        {
            "month": "Month",
            "won_already": ("Won already", amount),
            "gap": ("Missing", amount),
            "probability": ("Probability", share),
        },
    )


def _dictionary(texts: dict[str, str]) -> str:
    """Return keyword arguments as the text of a dictionary."""
    return "{" + ", ".join(f"{name!r}: {text}" for name, text in texts.items()) + "}"

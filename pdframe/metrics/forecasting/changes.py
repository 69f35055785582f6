"""Why the forecast of a time differs from the one made earlier, deal by deal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdframe._warnings import collect_warnings, warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import grouped, keyed, require_columns, to_micros, zone_of
from pdframe.metrics._columns import Floats, Ints, finite, one_row_each, places, plain_ids
from pdframe.metrics._notes import note
from pdframe.metrics._periods import ending, known_by
from pdframe.metrics.currency import Rates, RateTable
from pdframe.metrics.forecasting._amounts import LARGEST, exact_units, in_units, sums
from pdframe.metrics.forecasting._checks import check_seed, refuse_long, refuse_young
from pdframe.metrics.forecasting._interface import OpenDeals
from pdframe.metrics.forecasting._labels import apart_by_currency, group_names, labels
from pdframe.metrics.forecasting._method import Fitted
from pdframe.metrics.forecasting.known import Known
from pdframe.metrics.forecasting.methods import method_named
from pdframe.metrics.forecasting.weighted import local_day

Moment: TypeAlias = str | date | pd.Timestamp | pd.Period

CHANGES = ("new", "won", "lost", "moved", "aged", "repriced", "model")
COLUMNS = ("currency", "expected_before", *CHANGES, "expected_after")
BECAME = pd.CategoricalDtype(["open", "won", "lost", "new", "new and won"])
_OPEN, _WON, _LOST, _NEW, _NEW_WON = range(5)
_TAKEN = (*COLUMNS, "deal_id", "became", "p_before", "p_after", "value_before", "value_after")


def forecast_changes(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    before: Moment,
    after: Moment,
    until: Moment,
    history: pd.DataFrame | None = None,
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
    method: str = "hazard",
    seed: int = 0,
    tz: str | None = None,
) -> pd.DataFrame:
    """Explain what changed the expected revenue up to a time between two forecasts of it, such as
    this Friday's and last Friday's.

    Parameters
    ----------
    deals, visits, stages
        As in `forecast_deals`.
    before, after
        The times of the two forecasts: what happened after them is unknown to each. A bare date is
        the end of that day.
    until
        The end of what is forecast, exclusive: a day or time is its first instant; a year, quarter,
        month ("2026-Q3") or `pd.Period` is taken to its end.
    history
        One row per deal and change, from `account.deal_history()`: values as they were known at
        each time. None: values at `before` are unknown; those of `after` take their place, so that
        nothing is repriced.
    by
        Column or columns of `deals` to group by, unchanged; null is a group. "currency" changes
        nothing without `rates`.
    rates
        None: each currency has its row. A mapping currency -> value of one unit in the common
        currency, or a frame (currency, date, rate), whose last rate on or before the day of `after`
        converts both forecasts.
    method, seed
        As in `forecast_deals`.
    tz
        Timezone of naive times; None: the frames' `attrs["tz"]`, which the loaders set, else UTC.

    Returns
    -------
    DataFrame
        One row per currency (and group). The columns of `by`, then:

        - currency: of the amounts
        - expected_before: probability of a win before `until` x value, of the deals open at
          `before`
        - new: expected from deals that were created or reopened since and are open at `after`
        - won: what winning added: of deals open at `before`, their value of then less what was
          expected of them; of others, their value at winning
        - lost: less what was expected of deals that were lost or deleted since
        - moved: of deals open at both times: their stage, pipeline, owner or expected close changed
        - aged: of the same: they are older, and less time remains until `until`
        - repriced: of the same and of won deals: their value or currency changed
        - model: the method has learned from what happened since
        - expected_after: as expected_before, of the deals open at `after`, plus the value of those
          won since `before`

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, an argument is not a time, or the times are not
        in order.
    InsufficientDataError
        Too few deals were closed or won by `before`, or `until` is past the follow-up.

    Warns
    -----
    DataWarning
        Once, with the complete text in `attrs["notes"]`: values that are unknown or null, which
        count 0.

    Notes
    -----
    expected_after = expected_before + new + won + lost + moved + aged + repriced + model, exactly
    in millionths, of every deal. The steps are taken in this order with the method as it was fitted
    at `before`; only `model` fits it at `after`. Both expectations are of deals that exist: deals
    that are yet to be created are in neither.

    `forecast_change_deals` has one row per deal.

    Examples
    --------
    >>> deals = account.deals(archived=True, deleted=True)
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> fridays = {"before": "2026-06-19", "after": "2026-06-26", "until": "2026-Q3"}
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}
    >>> changes = metrics.forecast_changes(
    ...     deals, visits, stages, **fridays, history=account.deal_history(), rates=rates
    ... )
    >>> steps = changes[["new", "won", "lost", "moved", "aged", "repriced", "model"]].sum(axis=1)
    >>> ends = changes["expected_after"] - changes["expected_before"]
    >>> print(changes["currency"].item(), abs(steps - ends).item() < 1e-6)
    EUR True
    """
    with collect_warnings() as notes:
        names = group_names(apart_by_currency(by, rates), deals, _TAKEN)
        rows, parts = _change_deals(
            deals, visits, stages, before, after, until, history, names, rates, method, seed, tz
        )
        own = [*names, "currency"]
        codes, result = grouped(rows, own)
        for name in COLUMNS[1:]:
            result[name] = in_units(sums(parts[name], codes, len(result)))
        kept = [*names, *([] if rates is not None else ["currency"])]
        result = keyed(result[[*names, *COLUMNS]], kept, rows.attrs["tz"])
    return note(result, notes, "forecast_changes")


def forecast_change_deals(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    before: Moment,
    after: Moment,
    until: Moment,
    history: pd.DataFrame | None = None,
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
    method: str = "hazard",
    seed: int = 0,
    tz: str | None = None,
) -> pd.DataFrame:
    """List what `forecast_changes` sums up: one row per deal that was open at one of the two times,
    or won between them.

    `drill_through` leads from a row of `forecast_changes` to its rows here.

    Parameters
    ----------
    deals, visits, stages, before, after, until, history, by, rates, method, seed, tz
        As in `forecast_changes`.

    Returns
    -------
    DataFrame
        By deal_id: deal_id; title, owner_name where `deals` has them; the other columns of `by`;
        became (open, won, lost, new, new and won), p_before, p_after (probability of a win before
        `until`; null where the deal was not open), value_before, value_after (of a win: at
        winning), currency, expected_before, new, won, lost, moved, aged, repriced, model,
        expected_after. A deal whose currency changed has two rows.

    Raises
    ------
    ArgumentError, InsufficientDataError
        As in `forecast_changes`.

    Examples
    --------
    >>> deals = account.deals(archived=True, deleted=True)
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> fridays = {"before": "2026-06-19", "after": "2026-06-26", "until": "2026-Q3"}
    >>> rows = metrics.forecast_change_deals(
    ...     deals, visits, stages, **fridays, history=account.deal_history()
    ... )
    >>> rows.loc[rows["became"] == "new", ["deal_id", "currency", "value_after"]].tail(3)
        deal_id currency  value_after
    57      197      EUR      4050.00
    58      198      EUR      2286.31
    """
    with collect_warnings() as notes:
        names = group_names(apart_by_currency(by, rates), deals, _TAKEN)
        rows, _ = _change_deals(
            deals, visits, stages, before, after, until, history, names, rates, method, seed, tz
        )
    return note(rows, notes, "forecast_change_deals")


class _Worth(NamedTuple):
    """Values of deals, and the currency of each."""

    value: Floats
    currency: NDArray[np.object_]

    def take(self, rows: Any) -> _Worth:
        return _Worth(self.value[rows], self.currency[rows])


def _change_deals(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    before: Any,
    after: Any,
    until: Any,
    history: pd.DataFrame | None,
    names: list[str],
    rates: RateTable | None,
    method: str,
    seed: int,
    tz: str | None,
) -> tuple[pd.DataFrame, dict[str, Ints]]:
    """Return one row per deal and currency, and its amounts in millionths."""
    tz = zone_of(tz, deals, visits, stages)
    plain = require_columns(deals, "deals", ["id", "value", "currency"], names)
    one_row_each(plain, "deals")
    first, second = known_by(before, tz, "before"), known_by(after, tz, "after")
    end = ending(until, tz, "until")
    if not first < second < end:
        raise ArgumentError(
            f"before={before!r}, after={after!r} and until={until!r} must follow each other."
        )
    model = method_named(method)
    check_seed(seed)
    now = Known.at(deals, visits, stages, second, history=history, tz=tz)
    then = now.before(to_micros(first))
    refuse_young(then)
    # The last microsecond that counts, as in the horizons of `forecast_deals`.
    last = to_micros(end) - 1
    refuse_long(then, np.array([last - then.as_of]))
    for remark in now.notes:
        warn(remark)
    table = None if rates is None else Rates(rates)
    day = local_day(second, tz)
    old, new = then.open_at([then.as_of]), now.open_at([now.as_of])
    won = _won_since(now, old, then.as_of)
    wins = now.wins
    of_old, of_new = _worth(old, table, day), _worth(new, table, day)
    of_won = _converted(_Worth(wins.value[won], wins.currency[won]), table, day)
    known = [(new.deal, of_new), (wins.deal[won], of_won)]
    # A value that was not known yet was in no currency: its row is that of the later one.
    later = _later_worth(old.deal, known).currency
    named = np.isnan(of_old.value) & ~pd.isna(later)
    of_old = _Worth(of_old.value, np.where(named, later, of_old.currency))
    if not then.knows_values:
        if now.is_current:
            today = _Worth(finite(plain, "value"), plain["currency"].astype("str").to_numpy(object))
            known.append((plain_ids(plain["id"]), _converted(today, table, day)))
        of_old = _later_worth(old.deal, known)
        warn(
            "Values at `before` are unknown because there is no history:"
            + (
                " those known at `after` take their place, so nothing is repriced."
                if now.is_current
                else " the frames show changes after `after` as well, so that all count 0."
            )
            + " Pass history=account.deal_history()."
        )
    _warn_of_null(of_old, of_new, of_won, len(old) + len(new))
    if table is not None:
        table.warn_of_stale()
    steps = _Steps(model.fit(then, seed), model.fit(now, seed), last)
    parts = steps.of(old, of_old, new, of_new, wins.deal[won], of_won)
    order = np.lexsort((parts["second"], parts["deal"]))
    parts = {name: values[order] for name, values in parts.items()}
    rows = labels(plain, pd.DataFrame({"deal_id": pd.array(parts["deal"], "Int64")}), names)
    rows["became"] = pd.Categorical.from_codes(parts["became"], dtype=BECAME)
    for name in ("p_before", "p_after", "value_before", "value_after"):
        rows[name] = parts[name]
    rows["currency"] = pd.Series(parts["currency"], dtype="str")
    amounts = {name: parts[name] for name in COLUMNS[1:]}
    for name, values in amounts.items():
        rows[name] = in_units(values)
    return keyed(rows, ["deal_id"], tz), amounts


def _won_since(now: Known, old: OpenDeals, time: int) -> Ints:
    """Return the wins of deals that were open, or did not exist yet, at a time."""
    wins = now.wins
    return np.flatnonzero((places(old.deal, wins.deal) >= 0) | (wins.time > time))


def _worth(deals: OpenDeals, table: Rates | None, day: pd.Timestamp) -> _Worth:
    return _converted(_Worth(deals.value, deals.currency), table, day)


def _converted(worth: _Worth, table: Rates | None, day: pd.Timestamp) -> _Worth:
    """Return values in the common currency where there are rates; those too large are null."""
    value = np.where(np.abs(worth.value) < LARGEST, worth.value, np.nan)
    if table is None:
        return _Worth(value, worth.currency)
    currency = pd.Series(worth.currency, dtype="str")
    days = pd.Series(day, currency.index, dtype="datetime64[us]")
    common = np.full(len(value), table.target, object)
    with np.errstate(over="ignore"):
        return _Worth(value * table.at(currency, days, ~np.isnan(value)), common)


def _later_worth(deal: Ints, known: Sequence[tuple[Ints, _Worth]]) -> _Worth:
    """Return the first value that is known of each deal, NaN where there is none."""
    value, currency = np.full(len(deal), np.nan), np.full(len(deal), None, object)
    missing = np.ones(len(deal), np.bool_)
    for ids, worth in known:
        place = places(ids, deal)
        rows = np.flatnonzero(missing & (place >= 0))
        value[rows], currency[rows] = worth.value[place[rows]], worth.currency[place[rows]]
        missing[rows] = False
    currency[pd.isna(currency)] = None
    return _Worth(value, currency)


def _warn_of_null(old: _Worth, new: _Worth, won: _Worth, deals: int) -> None:
    bare = sum(int(np.isnan(worth.value).sum()) for worth in (old, new, won))
    if bare:
        total = deals + len(won.value)
        warn(f"{bare:,} of {total:,} values at the two times are null or unknown: they count 0.")


class _Steps:
    """The steps from one expectation to the next.

    Parameters
    ----------
    then, now
        The method, as it was fitted at each time.
    end
        The last microsecond that is forecast, since 1970 UTC.
    """

    def __init__(self, then: Fitted, now: Fitted, end: int) -> None:
        self._then, self._now, self._end = then, now, end

    def of(
        self, old: OpenDeals, of_old: _Worth, new: OpenDeals, of_new: _Worth, won: Ints, of_won: Any
    ) -> dict[str, NDArray[Any]]:
        """Return the columns of all deals and currencies.

        `old` and `new` are the deals open at each time, `won` those won since.
        """
        p_old = self._probability(self._then, old)
        p_fresh, p_new = self._probability(self._then, new), self._probability(self._now, new)
        expected = exact_units(p_old * of_old.value)
        place, win = places(new.deal, old.deal), places(won, old.deal)
        remains = place >= 0
        over = np.flatnonzero(~remains & (win < 0))
        entries = [
            self._open(old, of_old, expected, p_old, place, new, of_new, p_fresh, p_new),
            _won(old, of_old, expected, p_old, np.flatnonzero(~remains & (win >= 0)), win, of_won),
            _entry(
                old.deal[over],
                _LOST,
                of_old.take(over),
                p_before=p_old[over],
                value_before=of_old.value[over],
                expected_before=expected[over],
                lost=-expected[over],
            ),
        ]
        fresh = np.flatnonzero(places(old.deal, new.deal) < 0)
        first = exact_units((p_fresh * of_new.value)[fresh])
        last = exact_units((p_new * of_new.value)[fresh])
        entries.append(
            _entry(
                new.deal[fresh],
                _NEW,
                of_new.take(fresh),
                p_after=p_new[fresh],
                value_after=of_new.value[fresh],
                new=first,
                model=last - first,
                expected_after=last,
            )
        )
        # A deal that was won and is open again has its row above.
        since = np.flatnonzero((places(old.deal, won) < 0) & (places(new.deal, won) < 0))
        gained = exact_units(of_won.value[since])
        entries.append(
            _entry(
                won[since],
                _NEW_WON,
                of_won.take(since),
                value_after=of_won.value[since],
                won=gained,
                expected_after=gained,
            )
        )
        parts = [part for entry in entries for part in entry]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _probability(self, fitted: Fitted, deals: OpenDeals) -> Floats:
        """Return the probability of a win before the end."""
        if not len(deals):
            return np.zeros(0)
        observed = deals.at
        horizon = np.array([self._end - int(observed[0])], np.int64)
        return np.asarray(fitted.predict(deals, horizon).won[:, 0], np.float64)

    def _open(
        self,
        old: OpenDeals,
        of_old: _Worth,
        expected: Ints,
        p_old: Floats,
        place: Ints,
        new: OpenDeals,
        of_new: _Worth,
        p_fresh: Floats,
        p_new: Floats,
    ) -> list[dict[str, NDArray[Any]]]:
        """Return the rows of the deals that were open at both times."""
        rows = np.flatnonzero(place >= 0)
        place = place[rows]
        was, became, state = old.take(rows), of_old.take(rows), new.take(place)
        aged = replace(state, value=was.value, currency=was.currency)
        moved = replace(aged, at=was.at, entered=np.minimum(state.entered, was.at))
        after_move = exact_units(self._probability(self._then, moved) * became.value)
        after_time = exact_units(self._probability(self._then, aged) * became.value)
        worth = of_new.take(place)
        after_price = exact_units((p_fresh[place]) * worth.value)
        last = exact_units(p_new[place] * worth.value)
        same = became.currency == worth.currency
        first = _entry(
            was.deal,
            _OPEN,
            became,
            p_before=p_old[rows],
            p_after=np.where(same, p_new[place], np.nan),
            value_before=became.value,
            value_after=np.where(same, worth.value, np.nan),
            expected_before=expected[rows],
            moved=after_move - expected[rows],
            aged=after_time - after_move,
            repriced=np.where(same, after_price, 0) - after_time,
            model=np.where(same, last - after_price, 0),
            expected_after=np.where(same, last, 0),
        )
        other = np.flatnonzero(~same)
        second = _entry(
            was.deal[other],
            _OPEN,
            worth.take(other),
            second=True,
            p_after=p_new[place][other],
            value_after=worth.value[other],
            repriced=after_price[other],
            model=(last - after_price)[other],
            expected_after=last[other],
        )
        return [*first, *second]


def _won(
    old: OpenDeals,
    of_old: _Worth,
    expected: Ints,
    p_old: Floats,
    rows: Ints,
    win: Ints,
    of_won: _Worth,
) -> list[dict[str, NDArray[Any]]]:
    """Return the rows of the deals that were open and have been won: `win` is the place of each
    deal's win.
    """
    before, worth = of_old.take(rows), of_won.take(win[rows])
    at_old, at_win = exact_units(before.value), exact_units(worth.value)
    same = before.currency == worth.currency
    first = _entry(
        old.deal[rows],
        _WON,
        before,
        p_before=p_old[rows],
        value_before=before.value,
        value_after=np.where(same, worth.value, np.nan),
        expected_before=expected[rows],
        won=at_old - expected[rows],
        repriced=np.where(same, at_win, 0) - at_old,
        expected_after=np.where(same, at_win, 0),
    )
    other = np.flatnonzero(~same)
    second = _entry(
        old.deal[rows][other],
        _WON,
        worth.take(other),
        second=True,
        value_after=worth.value[other],
        repriced=at_win[other],
        expected_after=at_win[other],
    )
    return [*first, *second]


def _entry(
    deal: Ints, became: int, worth: _Worth, *, second: bool = False, **columns: Any
) -> list[dict[str, NDArray[Any]]]:
    """Return all columns of some rows: amounts that are not given are 0, other numbers null."""
    size = len(deal)
    result: dict[str, NDArray[Any]] = {
        "deal": deal,
        "became": np.full(size, became),
        "second": np.full(size, second),
        "currency": worth.currency,
    }
    for name in ("p_before", "p_after", "value_before", "value_after"):
        result[name] = columns.get(name, np.full(size, np.nan))
    for name in COLUMNS[1:]:
        result[name] = columns.get(name, np.zeros(size, np.int64))
    return [result]


__all__ = ["CHANGES", "forecast_change_deals", "forecast_changes"]

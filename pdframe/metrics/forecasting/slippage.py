"""How often and how far the expected close of deals moves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from pdframe._warnings import collect_warnings
from pdframe.metrics._arguments import NULL, grouped, keyed, local_days, to_micros, zone_of
from pdframe.metrics._columns import Floats, Ints, ratio
from pdframe.metrics._notes import note
from pdframe.metrics._periods import days_since_1970, period_window
from pdframe.metrics.forecasting._book import LOST, OPEN, WON, Book, book
from pdframe.metrics.forecasting._labels import group_names, labels
from pdframe.metrics.revenue.periods import as_dates

Moment: TypeAlias = str | date | pd.Timestamp | pd.Period

COLUMNS = (
    "deals",
    "moved",
    "share_moved",
    "moves",
    "pushed",
    "pulled",
    "mean_days_pushed",
    "mean_days_pulled",
    "median_net_days",
    "won",
    "won_late",
    "share_won_late",
    "median_days_late",
)
ROW_COLUMNS = (
    "first_expected",
    "last_expected",
    "moves",
    "pushed",
    "pulled",
    "days_pushed",
    "days_pulled",
    "net_days",
    "state",
    "closed_on",
    "days_late",
)
STATE = pd.CategoricalDtype(["open", "won", "lost", "deleted"])


def slippage(
    history: pd.DataFrame,
    deals: pd.DataFrame,
    *,
    since: Moment,
    until: Moment,
    by: str | Sequence[str] | None = None,
    tz: str | None = None,
) -> pd.DataFrame:
    """Count how often the expected close of open deals was moved between two times, how far, and
    how late won deals were.

    Parameters
    ----------
    history, deals, since, until, tz
        As in `pipeline_movements`.
    by
        As in `pipeline_movements`; columns of each time are those of the deal's last state in the
        window.

    Returns
    -------
    DataFrame
        One row per group that occurs; without `by` exactly one. The columns of `by`, then:

        - deals: deals that were open in the window with an expected close
        - moved, share_moved: those whose expected close was moved; their share
        - moves: how often, of all deals; pushed, pulled: those to a later and an earlier day
        - mean_days_pushed, mean_days_pulled: days per such move, above 0
        - median_net_days: of moved deals, the days from the first to the last expected close; below
          0 where they were pulled in
        - won: those that are won before `until`
        - won_late, share_won_late: those won after the day that was expected first
        - median_days_late: of won deals, the days from the first expected close to the day of the
          win; below 0 where they were early

        Null where there is no such deal.

    Raises
    ------
    ArgumentError
        As in `pipeline_movements`.

    Warns
    -----
    DataWarning
        Deals that are not in `history`.

    Notes
    -----
    What moves twice between two snapshots is one move; changelogs miss none. A deal that loses its
    expected close and gets another one is moved once, from the one to the other.

    `slippage_deals` has one row per deal.

    Examples
    --------
    >>> history, deals = account.deal_history(), account.deals()
    >>> quarter = {"since": "2026-04-01", "until": "2026-07-01"}
    >>> table = metrics.slippage(history, deals, **quarter)
    >>> table[["deals", "moved", "moves", "mean_days_pushed", "won", "won_late"]].round(1)
       deals  moved  moves  mean_days_pushed  won  won_late
    0     62     16     17              69.6    9         4
    """
    with collect_warnings() as notes:
        names = group_names(by, deals, (*COLUMNS, *ROW_COLUMNS, "deal_id"))
        rows = _slipped(history, deals, since, until, names, tz)
        codes, result = grouped(rows, names)
        count = len(result)

        def total(values: Any) -> Ints:
            result = np.zeros(count, np.int64)
            np.add.at(result, codes, np.asarray(values, np.int64))
            return result

        moves, pushed, pulled = (
            rows[name].to_numpy(np.int64) for name in ("moves", "pushed", "pulled")
        )
        won = (rows["state"] == "won").to_numpy(np.bool_)
        late = rows["days_late"].to_numpy(np.float64, na_value=np.nan)
        net = rows["net_days"].to_numpy(np.float64, na_value=np.nan)
        columns: dict[str, Ints | Floats] = {
            "deals": total(np.ones(len(rows))),
            "moved": total(moves > 0),
        }
        columns["share_moved"] = ratio(columns["moved"], columns["deals"])
        columns |= {"moves": total(moves), "pushed": total(pushed), "pulled": total(pulled)}
        for name in ("pushed", "pulled"):
            days = total(rows[f"days_{name}"].to_numpy(np.int64))
            columns[f"mean_days_{name}"] = ratio(days, columns[name])
        columns["median_net_days"] = _medians(net, codes, moves > 0, count)
        columns["won"], columns["won_late"] = total(won), total(won & (late > 0))
        columns["share_won_late"] = ratio(columns["won_late"], columns["won"])
        columns["median_days_late"] = _medians(late, codes, won, count)
        for name in COLUMNS:
            result[name] = pd.Series(columns[name])
            if result[name].dtype.kind == "i":
                result[name] = result[name].astype("Int64")
        result = keyed(result, names, rows.attrs["tz"])
    return note(result, notes, "slippage")


def slippage_deals(
    history: pd.DataFrame,
    deals: pd.DataFrame,
    *,
    since: Moment,
    until: Moment,
    by: str | Sequence[str] | None = None,
    tz: str | None = None,
) -> pd.DataFrame:
    """List the deals that were open between two times with an expected close, and how it moved: one
    row per deal.

    `drill_through` leads from a row of `slippage` to its rows here.

    Parameters
    ----------
    history, deals, since, until, by, tz
        As in `slippage`.

    Returns
    -------
    DataFrame
        By deal_id: deal_id; title, owner_name where `deals` has them; the other columns of `by`;
        first_expected (expected close when the window began, else the first one in it),
        last_expected, moves (how often it moved while the deal was open), pushed and pulled (to a
        later and an earlier day), days_pushed, days_pulled (in all, above 0), net_days (from the
        first to the last), state (open, won, lost, deleted; just before `until`), closed_on (day
        of the win or loss), days_late (from first_expected to closed_on; null where it is not won
        or lost).

    Raises
    ------
    ArgumentError
        As in `slippage`.

    Examples
    --------
    >>> history, deals = account.deal_history(), account.deals()
    >>> quarter = {"since": "2026-04-01", "until": "2026-07-01"}
    >>> rows = metrics.slippage_deals(history, deals, **quarter)
    >>> late = rows[rows["moves"] > 1]
    >>> late[["deal_id", "first_expected", "last_expected", "state", "days_late"]].head(3)
        deal_id first_expected last_expected state  days_late
    34      162     2026-04-15    2026-07-23   won         56
    """
    with collect_warnings() as notes:
        names = group_names(by, deals, (*COLUMNS, *ROW_COLUMNS, "deal_id"))
        rows = _slipped(history, deals, since, until, names, tz)
    return note(rows, notes, "slippage_deals")


def _slipped(
    history: pd.DataFrame,
    deals: pd.DataFrame,
    since: Any,
    until: Any,
    names: list[str],
    tz: str | None,
) -> pd.DataFrame:
    tz = zone_of(tz, deals, history)
    first, end = period_window(since, until, tz)
    states = book(history, deals, first, names, tz)
    start, stop = to_micros(first), to_micros(end)
    # The states that held at some time of the window, and the expected closes of open ones.
    last = states.at(stop)
    holds = states.time < stop
    holds[:-1] &= (states.time[1:] > start) | states.first[1:]
    dated = np.flatnonzero(holds & (states.status == OPEN) & (states.day != NULL))
    deal, day = states.deal[dated], states.day[dated]
    opening = np.append(np.ones(min(len(deal), 1), np.bool_), deal[1:] != deal[:-1])
    index = np.cumsum(opening) - 1
    begins = np.flatnonzero(opening)
    ends = np.append(begins[1:], len(deal)) - 1 if len(begins) else begins
    # A date that a closed deal got moves nothing until the deal is open again.
    change = np.where(opening, 0, day - np.append(0, day[:-1])[: len(day)])

    def of_deals(values: Ints) -> Ints:
        result = np.zeros(len(begins), np.int64)
        np.add.at(result, index, values)
        return result

    rows = pd.DataFrame({"deal_id": pd.array(deal[begins], "Int64")})
    of_end = last[np.searchsorted(states.deal[last], deal[begins])]
    for name in names:
        rows[name] = states.groups[name].array.take(of_end)
    result = labels(deals, rows, names)
    first_day, last_day = day[begins], day[ends]
    result["first_expected"], result["last_expected"] = as_dates(first_day), as_dates(last_day)
    for name, values in (
        ("moves", change != 0),
        ("pushed", change > 0),
        ("pulled", change < 0),
        ("days_pushed", np.maximum(change, 0)),
        ("days_pulled", np.maximum(-change, 0)),
    ):
        result[name] = pd.array(of_deals(np.asarray(values, np.int64)), "Int64")
    result["net_days"] = pd.array(last_day - first_day, "Int64")
    status = states.status[of_end]
    result["state"] = pd.Categorical.from_codes(status, dtype=STATE)
    closed = days_since_1970(local_days(_closed_at(states, of_end), tz))
    closed = np.where(np.isin(status, (WON, LOST)), closed, NULL)
    result["closed_on"] = as_dates(closed)
    late = pd.Series(np.where(closed == NULL, 0, closed - first_day), dtype="Int64")
    result["days_late"] = late.mask(closed == NULL)
    return keyed(result, ["deal_id"], tz)


def _closed_at(states: Book, rows: Ints) -> Ints:
    """Return since when each deal has the status that it has in these states."""
    changed = states.first.copy()
    changed[1:] |= states.status[1:] != states.status[:-1]
    since = np.maximum.accumulate(np.where(changed, np.arange(len(changed)), 0))
    result: Ints = states.time[since[rows]]
    return result


def _medians(values: Floats, codes: Ints, which: Any, count: int) -> Floats:
    """Return the median of each group over these rows, NaN where it has none."""
    which = which & ~np.isnan(values)
    medians = pd.Series(values[which]).groupby(codes[which]).median()
    result: Floats = medians.reindex(range(count)).to_numpy(np.float64)
    return result


__all__ = ["slippage", "slippage_deals"]

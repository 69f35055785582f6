"""What moved the open pipeline of every period of expected close: created, pulled in, pushed out,
won, lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdframe._warnings import collect_warnings, warn
from pdframe.metrics._arguments import NULL, grouped, keyed, to_micros, zone_of
from pdframe.metrics._columns import Flags, Ints, as_times
from pdframe.metrics._notes import note
from pdframe.metrics._periods import frequency, period_window
from pdframe.metrics.forecasting._amounts import exact_units, in_units, sums
from pdframe.metrics.forecasting._book import LOST, OPEN, WON, Book, book
from pdframe.metrics.forecasting._labels import apart_by_currency, group_names, labels

Moment: TypeAlias = str | date | pd.Timestamp | pd.Period

MOVEMENTS = (
    "start",
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
    "won",
    "lost",
    "deleted",
    "end",
)
COLUMNS = ("period", "currency", *MOVEMENTS)
_TAKEN = (*COLUMNS, "deal_id", "time", "movement", "amount")
MOVEMENT = pd.CategoricalDtype(list(MOVEMENTS))
(
    START, CREATED, MOVED_IN, PULLED_IN, VALUE_UP, VALUE_DOWN, PUSHED_OUT, UNDATED, DATED,
    MOVED_OUT, REOPENED, _WON, _LOST, _DELETED, END,
) = range(len(MOVEMENTS))  # fmt: skip


def pipeline_movements(
    history: pd.DataFrame,
    deals: pd.DataFrame,
    *,
    since: Moment,
    until: Moment,
    freq: str = "M",
    by: str | Sequence[str] | None = None,
    fiscal_start: int = 1,
    tz: str | None = None,
) -> pd.DataFrame:
    """Split the change of the open pipeline between two times into its causes, for every period of
    expected close.

    Parameters
    ----------
    history
        One row per deal and change, from `account.deal_history()`: changelogs and snapshots.
    deals
        One row per deal, from `account.deals()`, with id; title, owner_name and the columns of `by`
        are read from it.
    since, until
        The time of the changes, since inclusive, until exclusive. Naive times and bare dates are in
        `tz`. A year, quarter, month ("2026-Q2") or `pd.Period` as `until` is taken to its end.
    freq
        Length of the periods of expected close: "W" (from Monday), "M", "Q" or "Y".
    by
        Column or columns of `deals` to group by; null is a group. owner_id, pipeline_id, stage_id,
        is_archived, and owner_name, pipeline_name, stage_name with them, are those of each time;
        any other column is as `deals` has it now.
    fiscal_start
        Month in which the fiscal year begins, for quarters and years.
    tz
        Timezone of naive times; None: the frames' `attrs["tz"]`, which the loaders set, else UTC.

    Returns
    -------
    DataFrame
        One row per period of expected close and currency (and group) that had open deals. The
        columns of `by`, then:

        - period: first day of the period of expected close; null: deals without one
        - currency: of the amounts
        - start: value of the deals open just before `since`
        - created: value of new deals
        - moved_in: from an earlier period; or from another group or currency; or a deal older than
          the kept history that appears in it later
        - pulled_in: from a later period
        - value_up, value_down: changes of the value of open deals
        - pushed_out: to a later period (below 0)
        - undated: the deal lost its expected close: below 0 in its period, above 0 where period is
          null
        - dated: the deal got an expected close: above 0 in its period, below 0 where period is null
        - moved_out: to an earlier period; or to another group or currency (below 0)
        - reopened: closed or deleted deals that are open again
        - won, lost, deleted: deals that left the pipeline (below 0)
        - end: value of the deals open just before `until`

        Amounts are above 0 where they enter the period and below 0 where they leave it; with a
        credit (a negative value) it is the reverse.

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, an argument is not a time or a length, amounts
        are too large to be added up exactly, or `since` is before the kept history and deals have
        no changelog: the message says when it begins.

    Warns
    -----
    DataWarning
        Once, with the complete text in `attrs["notes"]`: deals that are not in `history`, open
        deals without a value (they count 0).

    Notes
    -----
    end = start + all movements between them, exactly in millionths, in every row. Changes of one
    time are taken in this order: the value, at the old period; the expected close; the group or
    currency; the closing. A change of currency moves the deal out at its old value and in at its
    new one. Where a change is known by bounds alone it counts when the snapshot that shows it was
    taken; what changed twice between two snapshots is one change. A deal created between two
    snapshots counts at its creation, with the values of the first snapshot that shows it. Archived
    open deals count.

    `pipeline_movement_deals` lists the deals of every movement.

    Examples
    --------
    >>> history, deals = account.deal_history(), account.deals()
    >>> quarter = {"since": "2026-04-01", "until": "2026-07-01"}
    >>> moves = metrics.pipeline_movements(history, deals, **quarter)
    >>> columns = ["period", "start", "created", "pushed_out", "won", "lost", "end"]
    >>> moves.loc[moves["currency"] == "EUR", columns].tail(4)
           period     start   created  pushed_out      won      lost        end
    24 2026-07-01   9312.45   32500.0         0.0     0.00 -60811.44   95344.31
    27 2026-08-01      0.00   43150.0         0.0     0.00 -13300.00   45098.20
    30 2026-09-01      0.00    1500.0         0.0     0.00      0.00    2286.31
    32        NaT  56492.33  232950.0         0.0 -5318.05 -27898.04  302702.55
    """
    with collect_warnings() as notes:
        names = group_names(apart_by_currency(by), deals, _TAKEN)
        rows, parts = _movements(history, deals, since, until, freq, names, fiscal_start, tz)
        own = [*names, "period", "currency"]
        codes, result = grouped(rows, own)
        movement = rows["movement"].cat.codes.to_numpy(np.int64)
        count = len(result)
        cells = sums(parts, codes * len(MOVEMENTS) + movement, count * len(MOVEMENTS))
        for code, name in enumerate(MOVEMENTS):
            result[name] = in_units(cells[code :: len(MOVEMENTS)])
        result = keyed(result[[*names, *COLUMNS]], ["period", "currency", *names], rows.attrs["tz"])
        result.attrs["freq"] = freq
    return note(result, notes, "pipeline_movements")


def pipeline_movement_deals(
    history: pd.DataFrame,
    deals: pd.DataFrame,
    *,
    since: Moment,
    until: Moment,
    freq: str = "M",
    by: str | Sequence[str] | None = None,
    fiscal_start: int = 1,
    tz: str | None = None,
) -> pd.DataFrame:
    """List what `pipeline_movements` sums up: one row per deal, movement and period.

    `drill_through` leads from a row of `pipeline_movements` to its rows here; those of one movement
    have its name in `movement`.

    Parameters
    ----------
    history, deals, since, until, freq, by, fiscal_start, tz
        As in `pipeline_movements`.

    Returns
    -------
    DataFrame
        By deal and time: deal_id; title, owner_name where `deals` has them; the other columns of
        `by`; time (UTC; null for start and end), period, currency, movement (start, created, ...,
        end), amount. A deal that goes from one period, group or currency to another has two rows,
        one out and one in.

    Raises
    ------
    ArgumentError
        As in `pipeline_movements`.

    Examples
    --------
    >>> history, deals = account.deal_history(), account.deals()
    >>> quarter = {"since": "2026-04-01", "until": "2026-07-01"}
    >>> rows = metrics.pipeline_movement_deals(history, deals, **quarter)
    >>> rows.loc[rows["deal_id"] == 176, ["deal_id", "time", "period", "movement", "amount"]]
         deal_id                      time period  movement    amount
    180      176 2026-04-24 09:48:10+00:00    NaT   created  13800.00
    181      176 2026-04-24 09:48:11+00:00    NaT  value_up   7541.46
    182      176                       NaT    NaT       end  21341.46
    """
    with collect_warnings() as notes:
        names = group_names(apart_by_currency(by), deals, _TAKEN)
        rows, _ = _movements(history, deals, since, until, freq, names, fiscal_start, tz)
    return note(rows, notes, "pipeline_movement_deals")


class _Entries:
    """Movements, collected by kind.

    `period` is a number, `group` that of a row of the keys, `state` the row of the book that an
    amount is from.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Ints, ...]] = []

    def add(
        self, state: Ints, movement: int | Ints, period: Ints, place: Ints, amount: Ints, step: int
    ) -> None:
        """Add entries; `place` is the state whose group and currency they count in, `step` their
        order within one time.
        """
        size = len(state)
        self._parts.append(
            (
                state,
                np.broadcast_to(np.asarray(movement, np.int64), size),
                period,
                place,
                amount,
                np.full(size, step),
            )
        )

    def columns(self) -> tuple[Ints, ...]:
        """Return state, movement, period, place, amount and step of all entries, in order."""
        columns = tuple(np.concatenate(part) for part in zip(*self._parts, strict=True))
        order = np.lexsort((columns[2], columns[5], columns[0]))
        return tuple(column[order] for column in columns)


def _movements(
    history: pd.DataFrame,
    deals: pd.DataFrame,
    since: Any,
    until: Any,
    freq: str,
    names: list[str],
    fiscal_start: int,
    tz: str | None,
) -> tuple[pd.DataFrame, Ints]:
    """Return one row per deal and movement, and the amounts in millionths."""
    tz = zone_of(tz, deals, history)
    lengths = frequency(freq, fiscal_start)
    first, end = period_window(since, until, tz)
    states = book(history, deals, first, names, tz)
    period = lengths.numbers(states.day)
    entries = _entries(states, period, to_micros(first), to_micros(end))
    state, movement, number, place, amount, _ = entries.columns()
    rows = pd.DataFrame({"deal_id": pd.array(states.deal[state], "Int64")})
    for name in names:
        rows[name] = states.groups[name].array.take(place)
    result = labels(deals, rows, names)
    fixed = (movement == START) | (movement == END)
    result["time"] = as_times(np.where(fixed, NULL, states.time[state]), result.index)
    result["period"] = lengths.dates(number).array
    result["currency"] = pd.Series(states.currency[place], dtype="str")
    result["movement"] = pd.Categorical.from_codes(movement, dtype=MOVEMENT)
    result["amount"] = in_units(amount)
    bare = np.unique(states.deal[state[np.isnan(states.value[state])]])
    if len(bare):
        warn(f"{len(bare):,} deals had no value for some of the time: they count 0 then.")
    return keyed(result, ["deal_id"], tz), amount


def _entries(states: Book, period: Ints, since: int, until: int) -> _Entries:
    entries = _Entries()
    amount = exact_units(states.value)
    is_open = states.status == OPEN
    for movement, time, step in ((START, since, -1), (END, until, 9)):
        rows = states.at(time)
        rows = rows[is_open[rows]]
        entries.add(rows, movement, period[rows], rows, amount[rows], step)
    within = (states.time >= since) & (states.time < until)
    was_open = np.append(np.zeros(min(len(is_open), 1), np.bool_), is_open[:-1]) & ~states.first
    enters = np.flatnonzero(within & is_open & ~was_open)
    kind = np.select(
        [states.first[enters] & states.appeared[enters], states.first[enters]],
        [MOVED_IN, CREATED],
        REOPENED,
    )
    entries.add(enters, kind, period[enters], enters, amount[enters], 0)
    now = np.flatnonzero(within & was_open)
    _add_changes(entries, states, period, amount, now)
    closed = now[~is_open[now]]
    ended = np.select([states.status[closed] == WON, states.status[closed] == LOST], [_WON, _LOST])
    ended = np.where(np.isin(states.status[closed], (WON, LOST)), ended, _DELETED)
    entries.add(closed, ended, period[closed], closed, -amount[closed], 4)
    return entries


def _add_changes(entries: _Entries, states: Book, period: Ints, amount: Ints, now: Ints) -> None:
    """Add what changed of deals that were open: the value at the old period, then the period, then
    the group or the currency.
    """
    before = now - 1
    same_currency = _same(states.currency[before], states.currency[now])
    change = np.where(same_currency, amount[now] - amount[before], 0)
    for movement, which in ((VALUE_UP, change > 0), (VALUE_DOWN, change < 0)):
        rows = now[which]
        entries.add(rows, movement, period[rows - 1], rows - 1, change[which], 1)
    carried = np.where(same_currency, amount[now], amount[before])
    old, new = period[before], period[now]
    shifts: tuple[tuple[Flags, int, int], ...] = (
        ((old != NULL) & (new != NULL) & (new > old), PUSHED_OUT, MOVED_IN),
        ((old != NULL) & (new != NULL) & (new < old), MOVED_OUT, PULLED_IN),
        ((old != NULL) & (new == NULL), UNDATED, UNDATED),
        ((old == NULL) & (new != NULL), DATED, DATED),
    )
    for which, leaving, entering in shifts:
        rows = now[which]
        entries.add(rows, leaving, old[which], rows - 1, -carried[which], 2)
        entries.add(rows, entering, new[which], rows - 1, carried[which], 2)
    codes = grouped(states.groups, list(states.groups.columns))[0]
    moved = ~same_currency | (codes[before] != codes[now])
    rows = now[moved]
    entries.add(rows, MOVED_OUT, new[moved], rows - 1, -carried[moved], 3)
    entries.add(rows, MOVED_IN, new[moved], rows, amount[rows], 3)


def _same(left: NDArray[np.object_], right: NDArray[np.object_]) -> Flags:
    """Return where two texts are equal, or both null."""
    return np.asarray(left == right, np.bool_)


__all__ = ["MOVEMENTS", "pipeline_movement_deals", "pipeline_movements"]

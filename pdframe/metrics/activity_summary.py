"""What was planned and done, what is overdue, and how many activities a won deal takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.metrics._arguments import (
    DAY,
    NULL,
    Micros,
    grouped,
    keyed,
    keys,
    moment,
    require_columns,
    to_micros,
    window,
    zone_of,
)
from pdframe.metrics._closings import between, warn_of_left_out
from pdframe.metrics._columns import (
    NO_ID,
    Flags,
    Ints,
    as_times,
    days,
    equals,
    ids,
    instants,
    midnights,
    one_row_each,
    places,
    plain_ids,
    ratio,
    warn_of_uncountable,
)
from pdframe.metrics._notes import noted
from pdframe.metrics._period_grid import PeriodGrid, by_period, period_grid
from pdframe.metrics._states import WON, Deleted, check_deleted, states

Moment: TypeAlias = str | date | pd.Timestamp | pd.Period

COLUMNS = ("planned", "done", "overdue", "won", "per_won_deal")
EVENT = pd.CategoricalDtype(["planned", "done", "overdue", "on a won deal"])
_PLANNED, _DONE, _OVERDUE, _ON_WON = range(4)
_TAKEN = (*COLUMNS, "activity_id", "event")
_OF_DEALS = frozenset({"owner_id", "owner_name", "org_id", "org_name", "person_id", "person_name"})
"""Columns of activities that mean the same in deals."""
_CARRIED = ("subject", "type", "deal_id", "owner_name")


@noted
def activity_summary(
    activities: pd.DataFrame,
    deals: pd.DataFrame | None = None,
    *,
    since: Moment | None,
    until: Moment | None,
    as_of: Moment,
    freq: str | None = None,
    by: str | Sequence[str] | None = None,
    deleted: Deleted = "drop",
    fiscal_start: int = 1,
    tz: str | None = None,
) -> pd.DataFrame:
    """Count activities that were planned, done and overdue in a window, and those per won deal.

    Parameters
    ----------
    activities
        One row per activity, from `account.activities()`, with id, due_date, done,
        marked_as_done_time, and with `deals` also deal_id; due_time, add_time and is_deleted are
        used where present.
    deals
        One row per deal, from `account.deals()`, with id, status, add_time, won_time, lost_time;
        local_won_date, is_deleted, deleted_time and update_time are used where present. None:
        `won` and `per_won_deal` are null.
    since, until
        The window, since inclusive, until exclusive; None: no bound. Naive times and bare dates are
        in `tz`. A year, quarter, month ("2026-Q2") or `pd.Period` as `until` is taken to its end.
    as_of
        What was added or done after it is unknown; a bare date is the end of that day.
    freq
        None: the whole window. "W" (weeks, from Monday), "M", "Q" or "Y": one row a period.
    by
        Column or columns of `activities` to group by, such as "type", unchanged; null is a group.
        "owner" is `owner_name` where `activities` has that alone.
    deleted
        "drop" (default): a deal that was deleted after it was won counts nowhere from its deletion
        on. "keep": it counts, where `deals` has it (`account.deals(deleted=True)`; else a warning
        says so).
    fiscal_start
        Month in which the fiscal year begins, for quarters and years.
    tz
        Timezone of the window and of the days on which activities are due and done; None: the
        frames' `attrs["tz"]`, which the loaders set, else UTC.

    Returns
    -------
    DataFrame
        One row per group that occurs; without `by` exactly one. With `freq` each of them has one
        row per period of the window. The columns of `by`, with `freq` then period (its first day),
        then:

        - planned: activities that were due in the window (period), done or not
        - done: activities that were marked as done in it
        - overdue: of those planned, the ones that were not done by `as_of`, though due before it
        - won: deals won in it; where `by` names owners, organizations or persons, those of the same
          owner, organization or person; null without `deals`
        - per_won_deal: activities of the group that were done on these deals, at any time up to
          `as_of`, per deal; null where no deal was won

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, an id occurs twice, or an argument is not a
        time or a length.

    Warns
    -----
    DataWarning
        Once, of all that follows, with the complete text in `attrs["notes"]`: activities that
        were done at an unknown time, deals won without a date.

    Notes
    -----
    An activity with a time of day is due at that time (UTC, as the API gives it), one
    without at the end of its day in `tz`. One that is done, but has no `marked_as_done_time`,
    counts as done when it was due. One without a due date is neither planned nor overdue.

    `drill_through` leads from a row to its activities in `activity_summary_activities`.

    Examples
    --------
    >>> activities, deals = account.activities(), account.deals()
    >>> june = {"since": "2026-06-01", "until": "2026-07-01", "as_of": "2026-06-30"}
    >>> metrics.activity_summary(activities, deals, **june, by="type")
           type  planned  done  overdue  won  per_won_deal
    0      call        5     1        3    5           0.6
    1  deadline        2     2        1    5           0.2
    2      demo        2     1        1    5           0.2
    3     email        4     3        1    5           0.2
    4     lunch        1     0        1    5           0.0
    5   meeting        2     0        2    5           0.2
    6      task        1     3        0    5           0.2
    """
    names = keys(by, _TAKEN if freq is None else ("period", *_TAKEN), activities)
    events = _events(activities, deals, names, since, until, as_of, freq, deleted, fiscal_start, tz)
    result = _counted(events, names)
    result.attrs["freq"] = freq
    return result


@noted
def activity_summary_activities(
    activities: pd.DataFrame,
    deals: pd.DataFrame | None = None,
    *,
    since: Moment | None,
    until: Moment | None,
    as_of: Moment,
    freq: str | None = None,
    by: str | Sequence[str] | None = None,
    deleted: Deleted = "drop",
    fiscal_start: int = 1,
    tz: str | None = None,
) -> pd.DataFrame:
    """List the activities that `activity_summary` counts: one row per activity, period and event.

    An activity that was planned and done in a period has two rows there.

    Parameters
    ----------
    activities, deals, since, until, as_of, freq, by, deleted, fiscal_start, tz
        As in `activity_summary`.

    Returns
    -------
    DataFrame
        By period, event and activity_id: activity_id; subject, type, deal_id, owner_name where
        `activities` has them; the other columns of `by`; with `freq` period; event (planned, done,
        overdue, on a won deal), due (UTC), done_time (UTC; null: not done by `as_of`, or the time
        is unknown).

    Raises
    ------
    ArgumentError
        As in `activity_summary`.

    Examples
    --------
    >>> june = {"since": "2026-06-01", "until": "2026-07-01", "as_of": "2026-06-30"}
    >>> rows = metrics.activity_summary_activities(account.activities(), **june)
    >>> rows.loc[rows["event"] == "overdue", ["activity_id", "type", "deal_id", "due"]].head(3)
        activity_id   type  deal_id                       due
    27          254   demo      151 2026-06-01 10:00:00+00:00
    28          258   call      191 2026-06-05 15:15:00+00:00
    29          259  email      192 2026-06-11 08:00:00+00:00
    """
    own = [*_TAKEN, "due", "done_time"]
    names = keys(by, own if freq is None else ("period", *own), activities)
    events = _events(activities, deals, names, since, until, as_of, freq, deleted, fiscal_start, tz)
    result = _listed(events, names)
    return result


class _Won(NamedTuple):
    """Deals won in the window: the place of the period of each, and what they are grouped by."""

    period: Ints
    keys: pd.DataFrame


class _Events(NamedTuple):
    """One row per event: the place of its activity and of its period, and what it is."""

    activities: pd.DataFrame
    due: Micros
    done: Micros
    grid: PeriodGrid | None
    tz: str
    activity: Ints
    period: Ints
    kind: Ints
    won: _Won | None


def _events(
    activities: pd.DataFrame,
    deals: pd.DataFrame | None,
    names: list[str],
    since: Any,
    until: Any,
    as_of: Any,
    freq: str | None,
    deleted: Deleted,
    fiscal_start: int,
    tz: str | None,
) -> _Events:
    tz = zone_of(tz, activities, deals)
    needed = ["id", "due_date", "done", "marked_as_done_time"]
    activities = require_columns(
        activities, "activities", needed if deals is None else [*needed, "deal_id"], names
    ).reset_index(drop=True)
    one_row_each(activities, "activities")
    warn_of_uncountable(activities, "activities", moments=["due_date", "marked_as_done_time"])
    now = moment(as_of, tz, "as_of", end_of_day=True)
    start, end = window(since, until, tz)
    there = _known_by(activities, now, tz)
    due, all_day = _due(activities, tz)
    marked = instants(activities, "marked_as_done_time", tz)
    done = equals(activities, "done", True)
    _warn_of_unknown(marked, there & done)
    finished_at = np.where(marked == NULL, due, marked)
    done = done & (finished_at <= to_micros(now))
    moment_done = np.where(done, finished_at, NULL)
    due_at, done_at = (as_times(each, activities.index) for each in (due, moment_done))
    planned = there & between(due_at, start, end)
    finished = there & done & between(done_at, start, end)
    # All day: it may be done until the day is over.
    day = days(activities, "due_date")
    last = np.where(all_day, midnights(np.where(day == NULL, NULL, day + DAY), tz), due)
    overdue = planned & ~done & (last <= to_micros(now))
    won = None if deals is None else _won(deals, names, start, end, now, deleted, tz)
    grid = None
    if freq is not None:
        times = [due_at[planned], done_at[finished]]
        if won is not None:
            times.append(won["time"])
        grid = period_grid(freq, fiscal_start, start, end, tz, *times)

    def period(times: pd.Series[Any]) -> Ints:
        return np.zeros(len(times), np.int64) if grid is None else grid.places(times)

    parts = [
        (np.flatnonzero(planned), period(due_at)[planned], _PLANNED),
        (np.flatnonzero(finished), period(done_at)[finished], _DONE),
        (np.flatnonzero(overdue), period(due_at)[overdue], _OVERDUE),
    ]
    kept: _Won | None = None
    if won is not None:
        deal_period = period(won["time"])
        shared = [name for name in names if name in _OF_DEALS and name in won.columns]
        kept = _Won(deal_period, won[shared])
        on_won = _on_won(activities, there & done, won, shared)
        parts.append((on_won[0], deal_period[on_won[1]], _ON_WON))
    return _Events(
        activities,
        due,
        np.where(done, marked, NULL),
        grid,
        tz,
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.repeat([part[2] for part in parts], [len(part[0]) for part in parts]),
        kept,
    )


def _known_by(activities: pd.DataFrame, now: pd.Timestamp, tz: str) -> Flags:
    """Return which activities had been added by `now` and are not deleted."""
    known = np.ones(len(activities), np.bool_)
    if "add_time" in activities.columns:
        known &= ~(instants(activities, "add_time", tz) > to_micros(now))
    if "is_deleted" in activities.columns:
        known &= ~equals(activities, "is_deleted", True)
    return known


def _due(activities: pd.DataFrame, tz: str) -> tuple[Micros, Flags]:
    """Return when each activity is due, and which are due all day: their first instant of it."""
    day = days(activities, "due_date")
    clock = np.full(len(activities), np.nan)
    if "due_time" in activities.columns:
        # "14:30", with or without seconds; a reader of JSON makes it a time of some day.
        parts = activities["due_time"].astype("str").str.extract(r"(\d{1,2}):(\d{2})")
        clock = (
            pd.to_numeric(parts[0]).to_numpy(np.float64) * 60
            + pd.to_numeric(parts[1]).to_numpy(np.float64)
        ) * 60_000_000
    all_day = np.isnan(clock)
    known = day != NULL
    first = midnights(day, tz)
    timed = day + np.where(all_day, 0.0, clock).astype(np.int64)
    return np.where(known, np.where(all_day, first, timed), NULL), all_day


def _warn_of_unknown(marked: Micros, done: Flags) -> None:
    undated = int((done & (marked == NULL)).sum())
    if undated:
        warn(f"{undated:,} activities were done at an unknown time: they count as done when due.")


def _won(
    deals: pd.DataFrame,
    names: list[str],
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    now: pd.Timestamp,
    deleted: Deleted,
    tz: str,
) -> pd.DataFrame:
    """Return the deals won in the window: deal_id, time, and the columns that activities share."""
    deals = require_columns(deals, "deals", ["id", "status"]).reset_index(drop=True)
    one_row_each(deals, "deals")
    check_deleted(deleted, deals)
    known = states(deals, tz, now, deleted=deleted)
    warn_of_left_out(int(known.undated(WON).sum()), "are won without a date")
    which = np.flatnonzero((known.state == WON) & between(known.counted, start, end))
    shared = [name for name in names if name in _OF_DEALS and name in deals.columns]
    result = pd.DataFrame({name: _texts(deals, name) for name in shared}, index=deals.index)
    result = result.take(which).reset_index(drop=True)
    result["deal_id"] = ids(deals, "id").take(which).array
    result["time"] = known.counted.take(which).array
    return result


def _on_won(
    activities: pd.DataFrame, done: Flags, won: pd.DataFrame, shared: list[str]
) -> tuple[Ints, Ints]:
    """Return the places of activities that were done on won deals, and those of the deals; where
    activities are grouped by owner, the deals are of the same owner.
    """
    deal = plain_ids(activities["deal_id"])
    place = places(plain_ids(won["deal_id"]), deal)
    rows = np.flatnonzero(done & (deal != NO_ID) & (place >= 0))
    place = place[rows]
    for name in shared:
        theirs = won[name].take(place).reset_index(drop=True)
        own = _texts(activities, name).take(rows).reset_index(drop=True)
        same = ((theirs == own) | (theirs.isna() & own.isna())).to_numpy(np.bool_)
        rows, place = rows[same], place[same]
    return rows, place


def _texts(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Return a column of ids or names as text, so that two tables can be compared."""
    column = ids(frame, name) if name.endswith("_id") else frame[name]
    return column.astype("str")


def _counted(events: _Events, names: list[str]) -> pd.DataFrame:
    keys = events.activities[names].take(events.activity).reset_index(drop=True)
    codes, groups = grouped(keys, names)
    result, width = by_period(groups, events.grid)
    where, count = codes * width + events.period, len(result)
    numbers = [
        np.bincount(where[events.kind == kind], minlength=count)
        for kind in (_PLANNED, _DONE, _OVERDUE, _ON_WON)
    ]
    for name, kind in (("planned", _PLANNED), ("done", _DONE), ("overdue", _OVERDUE)):
        result[name] = pd.array(numbers[kind], dtype="Int64")
    if events.won is None:
        result["won"] = pd.array([None] * count, dtype="Int64")
        result["per_won_deal"] = np.full(count, np.nan)
    else:
        won = _deals_of(groups, width, events.won)
        result["won"] = pd.array(won, dtype="Int64")
        result["per_won_deal"] = ratio(numbers[_ON_WON], won)
    kept = names if events.grid is None else [*names, "period"]
    return keyed(result, kept, events.tz)


def _deals_of(groups: pd.DataFrame, width: int, won: _Won) -> Ints:
    """Return the number of deals won of each group and period."""
    shared = [*won.keys.columns]
    if not shared:
        of_all = np.bincount(won.period, minlength=width)
        return np.tile(of_all, len(groups))
    own = pd.DataFrame({name: _texts(groups, name) for name in shared}, index=groups.index)
    both = pd.concat([own, won.keys], ignore_index=True)
    codes, occurring = grouped(both, shared)
    size = len(groups)
    table = np.bincount(codes[size:] * width + won.period, minlength=len(occurring) * width)
    return table.reshape(len(occurring), width)[codes[:size]].reshape(-1)


def _listed(events: _Events, names: list[str]) -> pd.DataFrame:
    wanted = [name for name in _CARRIED if name in events.activities.columns]
    rows = events.activities.take(events.activity).reset_index(drop=True)
    result = pd.DataFrame({"activity_id": ids(rows, "id")})
    for name in dict.fromkeys([*wanted, *names]):
        result[name] = rows[name]
    if events.grid is not None:
        result["period"] = events.grid.dates(events.period).array
    result["event"] = pd.Categorical.from_codes(events.kind, dtype=EVENT)
    result["due"] = as_times(events.due[events.activity], rows.index)
    result["done_time"] = as_times(events.done[events.activity], rows.index)
    place = np.lexsort((result["activity_id"].to_numpy(np.int64), events.kind, events.period))
    kept = ["activity_id", "event", *([] if events.grid is None else ["period"])]
    return keyed(result.take(place).reset_index(drop=True), kept, events.tz)


__all__ = ["activity_summary", "activity_summary_activities"]

"""What happened to deals between two times: created, won, lost, moved, repriced, and the rest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from pdframe._warnings import collect_warnings, warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import (
    NULL,
    check_choice,
    grouped,
    keyed,
    keys,
    require_columns,
    to_micros,
    zone_of,
)
from pdframe.metrics._columns import (
    Ints,
    amounts,
    as_times,
    instants,
    one_row_each,
    places,
    plain_ids,
)
from pdframe.metrics._dated_history import dated_history, lower_bounds
from pdframe.metrics._deal_events import (
    EVENT,
    EVENT_COLUMNS,
    GROUPED,
    DealEvents,
    Names,
    StageOrder,
    ids_of,
    texts,
)
from pdframe.metrics._grouping import taken
from pdframe.metrics._notes import note
from pdframe.metrics._periods import period_window
from pdframe.metrics._states import Deleted, deleted_rows
from pdframe.metrics.forecasting._amounts import exact_units, in_units, sums
from pdframe.metrics.forecasting._book import Book, book

Moment: TypeAlias = str | date | pd.Timestamp

COLUMNS = (
    "event",
    "before",
    "after",
    "value",
    "currency",
    "deal_id",
    "title",
    "owner_name",
    "stage_name",
    "url",
    "time",
    "time_after",
    "value_change",
)
SUMMARY_COLUMNS = ("event", "currency", "count", "deals", "value", "value_change")
# Times of a deal: where all are earlier, it has not changed since.
_STAMPS = ("update_time", "add_time", "stage_change_time", "won_time", "lost_time", "archive_time")
# Of a changelog.
_TOKENS_A_DEAL = 20
# Ids that a note lists.
_MOST_IDS = 20
# `book` checks that states are known from a time on; `_check_known` is the check here.
_NO_CHECK = pd.Timestamp("9999-12-30", tz="UTC")


class ChangesUnknownError(ArgumentError):
    """`since` is before the first snapshot, and what happened until then is partly unknown.

    Parameters
    ----------
    what
        What is unknown.
    advice
        What to do, in Python.
    """

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what + advice)
        self.what = what


def changes(
    history: pd.DataFrame,
    deals: pd.DataFrame,
    *,
    since: Moment | pd.Period,
    until: Moment | pd.Period,
    stages: pd.DataFrame | None = None,
    pipelines: pd.DataFrame | None = None,
    users: pd.DataFrame | None = None,
    deleted: Deleted = "drop",
    partly: bool = False,
    tz: str | None = None,
) -> pd.DataFrame:
    """List what happened to deals between two times: one row per deal and event.

    `account.changes("last Monday")` loads what this needs.

    Parameters
    ----------
    history
        One row per deal and change, from `account.deal_history()`: changelogs and snapshots.
    deals
        One row per deal, from `account.deals()`, with id; `deleted=True` adds what deleted deals
        are called. title, url, and the times at which deals changed are read from it.
    since, until
        The time of the events, since inclusive, until exclusive. Naive times and bare dates are in
        `tz`. A year, quarter, month ("2026-Q2") or `pd.Period` as `until` is taken to its end.
    stages
        id, order_nr, name, pipeline_id, from `account.stages()`: which stage is before which. None:
        every move within a pipeline is "moved".
    pipelines, users
        id and name, from `account.pipelines()` and `account.users()`; None: names are those in
        `deals` (`pipeline_name`, `owner_name`), else ids.
    deleted
        "drop" (default): a win or loss of a deal that was deleted by `until` is no event, only its
        deletion is. "keep": both are.
    partly
        Where `since` is before the first snapshot: True lists what is known, with a warning; False
        (default) raises.
    tz
        Timezone of naive times; None: the frames' `attrs["tz"]`, which the loaders set, else UTC.

    Returns
    -------
    DataFrame
        One row per deal and event, by time and deal:

        - event: created, won, lost, reopened (was won, lost or deleted, and is open), advanced,
          moved back, moved (to or from a stage that `stages` lacks), changed pipeline, value up,
          value down, currency changed, slipped (to a later expected close), pulled in (to an
          earlier one), owner changed, archived, unarchived, deleted (or no longer visible),
          restored (was deleted, and is won or lost)
        - before, after: what changed, as text: status, stage, pipeline, value, currency, expected
          close, owner, or whether it is archived; a name where it is known, else the id; null: none
        - value, currency, owner_name, stage_name: of the deal just after the event; null: none, or
          the name is unknown
        - deal_id; title, url: those in `deals`, null where it lacks them
        - time (UTC): when it happened; where only bounds are known, the upper one, the time of the
          snapshot that shows it
        - time_after (UTC): the lower bound; null: `time` is exact
        - value_change: of "value up" and "value down", value after less value before; else null

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, an argument is not a time, or `since` is before
        the first snapshot and deals that have changed since have no changelog: the message names
        that snapshot. With `partly` the last is a warning.

    Warns
    -----
    DataWarning
        Once, with the complete text in `attrs["notes"]`: deals that are not in `history`; moves
        whose direction is unknown.

    Notes
    -----
    An event that is known by bounds alone belongs to the window in which the snapshot that shows it
    was taken; what changed twice between two snapshots is one event. A deal that was created
    between two snapshots has the values of the first snapshot that shows it; one that was deleted
    before that snapshot has no event.

    A win or loss is the one that stands at `until`, as in every metric: one that was undone before
    is no event, and "reopened" has it in `before`. Events of one time are one row each, also where
    one write made them; a deal that goes to a stage of another pipeline only changed pipeline. A
    change of the currency is no change of the value. A deal that gets its first expected close, or
    loses it, neither slipped nor was pulled in.

    Before the first snapshot, events are known of deals whose changelog is loaded, and deals that
    have not changed since then had none.

    `changes_summary` counts and sums the events, and `drill_through` leads from there back here.

    Examples
    --------
    >>> history, deals = account.deal_history(), account.deals()
    >>> week = {"since": "2026-07-01", "until": "2026-07-08"}
    >>> rows = metrics.changes(history, deals, stages=account.stages(), **week)
    >>> rows.loc[rows["event"] == "advanced", ["deal_id", "before", "after", "value"]].head(3)
       deal_id     before     after    value
    0      188   Estimate  Approval  1236.40
    2      198   Estimate  Approval  2286.31
    3      185  Discovery      Demo   900.00
    """
    with collect_warnings() as notes:
        result = known_changes(
            history, deals, since=since, until=until, stages=stages, pipelines=pipelines,
            users=users, deleted=deleted, partly=partly, tz=tz,
        )  # fmt: skip
        unordered = int((result["event"] == "moved").sum())
        first, _ = period_window(since, until, zone_of(tz, deals, history))
        early = _may_be_earlier(result, history, first)
    if early.any():
        ids = result.loc[early, "deal_id"].unique()
        which = str(sorted(map(int, ids)))
        if len(ids) > _MOST_IDS:
            which = "rows.loc[rows['time_after'].notna(), 'deal_id'].unique()"
            ids = result.loc[result["time_after"].notna(), "deal_id"].unique()
        notes.append(
            f"account.deal_changes({which}) loads the times of {early.sum():,} of"
            f" {len(result):,} events, for {len(ids) * _TOKENS_A_DEAL:,} tokens: they may have"
            " happened before `since`; snapshots show them after it, and time_after says since"
            " when."
        )
    if unordered and stages is None:
        notes.append(
            f"the direction of {unordered:,} moves is unknown: pass stages=account.stages()."
        )
    return note(result, notes, "changes")


def _may_be_earlier(
    events: pd.DataFrame, history: pd.DataFrame, first: pd.Timestamp
) -> npt.NDArray[np.bool_]:
    """Return which events may have happened before `first`: the snapshot before the one that shows
    them is older.
    """
    is_early = (events["time_after"] < first).to_numpy(np.bool_, copy=True)
    bounded = events[is_early]
    is_snapshot = (history["source"] != "changelog").to_numpy(np.bool_)
    taken = np.unique(instants(history[is_snapshot], "seen_at", "UTC"))
    before = np.searchsorted(taken, instants(bounded, "time", "UTC")) - 1
    if len(taken):
        is_early[is_early] = (before < 0) | (taken[before] < to_micros(first))
    return is_early


def changes_summary(
    changes: pd.DataFrame, *, by: str | Sequence[str] | None = None
) -> pd.DataFrame:
    """Count and sum the events of `changes`.

    Parameters
    ----------
    changes
        One row per deal and event, from `account.changes()` or `metrics.changes()`.
    by
        Column or columns of `changes` to group by, such as "owner_name"; null is a group.

    Returns
    -------
    DataFrame
        One row per event and currency (and group) that occurs: the columns of `by`; event;
        currency: of the amounts; count: events; deals: distinct deals; value: sum of the deals'
        values after the event, each event counts, null counts 0; value_change: sum of the changes
        of value, null for other events than "value up" and "value down".

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, or amounts are too large to be added up.

    Examples
    --------
    >>> rows = account.changes("2026-07-01")
    >>> summary = metrics.changes_summary(rows)
    >>> summary[summary["currency"] == "EUR"].head(3)
            event currency  count  deals     value  value_change
    0        lost      EUR      1      1  29061.94           NaN
    1    advanced      EUR      5      5  19215.97           NaN
    3  moved back      EUR      1      1  12200.00           NaN
    """
    if not isinstance(changes, pd.DataFrame):
        raise ArgumentError(
            f"changes must be a DataFrame from account.changes(), not {type(changes).__name__}."
        )
    names = keys(by, SUMMARY_COLUMNS, changes)
    needed = ("event", "currency", "deal_id", "value", "value_change")
    plain = require_columns(changes, "changes", needed, names)
    frame = plain.assign(event=plain["event"].astype("str").astype(EVENT))
    codes, result = grouped(frame, [*names, "event", "currency"])
    count = len(result) if len(frame) else 0
    result = result.iloc[:count].copy()
    result["count"] = pd.array(np.bincount(codes, minlength=count), "Int64")
    deal = plain_ids(plain["deal_id"])
    pairs = pd.DataFrame({"code": codes, "deal": deal}).drop_duplicates()["code"].to_numpy()
    result["deals"] = pd.array(np.bincount(pairs, minlength=count), "Int64")
    for name in ("value", "value_change"):
        parts = exact_units(amounts(plain, name))
        result[name] = in_units(sums(parts, codes, count))
    priced = result["event"].isin(["value up", "value down"])
    result["value_change"] = result["value_change"].where(priced)
    return keyed(result, [*names, "event", "currency"], zone_of(None, changes))


def known_changes(
    history: pd.DataFrame,
    deals: pd.DataFrame,
    *,
    since: Any,
    until: Any,
    stages: pd.DataFrame | None = None,
    pipelines: pd.DataFrame | None = None,
    users: pd.DataFrame | None = None,
    deleted: Deleted = "drop",
    partly: bool = False,
    tz: str | None = None,
    every: bool = False,
) -> pd.DataFrame:
    """Return the events as `changes` does; with `every` also wins and losses that were undone, and
    without a check that all events since `since` are known. With `partly` that check warns.
    """
    check_choice("deleted", deleted, get_args(Deleted))
    tz = zone_of(tz, deals, history)
    first, end = period_window(since, until, tz)
    deals = require_columns(deals, "deals", ("id",))
    own = plain_ids(one_row_each(deals, "deals"))
    rows = dated_history(history, deals, tz)
    # A deal that was created and deleted between two snapshots is in no history.
    removed = deleted_rows(deals) if "status" in deals.columns else np.zeros(len(own), np.bool_)
    unseen = removed & ~np.isin(own, plain_ids(rows["deal_id"]))
    states = book(rows, deals[~unseen], _NO_CHECK, GROUPED, tz)
    if not every:
        try:
            _check_known(rows, states, deals, own, first, tz)
        except ChangesUnknownError as unknown:
            if not partly:
                raise
            warn(f"{unknown.what} Listed is what is known.")
    happened = DealEvents(states, to_micros(first), to_micros(end))
    happened.add_statuses(undone=every, deleted=deleted == "keep")
    happened.add_values()
    happened.add_moves(StageOrder.of(stages))
    happened.add_closing_dates()
    happened.add_owners()
    happened.add_archiving()
    state, event = happened.rows()
    deal, time = states.deal[state], states.time[state]
    names = Names(deals, stages, pipelines, users)
    result = pd.DataFrame({"event": pd.Categorical.from_codes(event, dtype=EVENT)})
    result["before"], result["after"] = texts(states, state, event, names)
    result["value"] = states.value[state]
    result["currency"] = pd.Series(states.currency[state], dtype="str")
    result["deal_id"] = pd.array(deal, "Int64")
    place = places(own, deal)
    result["title"] = _carried(deals, "title", place)
    for name, key in (("owner_name", "owner_id"), ("stage_name", "stage_id")):
        result[name] = names.known(key, ids_of(states, key)[state])
    result["url"] = _carried(deals, "url", place)
    result["time"] = as_times(time, result.index)
    columns = np.array(list(EVENT_COLUMNS.values()), object)[event]
    result["time_after"] = as_times(lower_bounds(rows, deal, columns, time), result.index)
    result["value_change"] = happened.value_changes()
    return keyed(result[list(COLUMNS)], ["event", "deal_id", "time"], tz)


def _carried(deals: pd.DataFrame, name: str, place: Ints) -> pd.Series[Any]:
    """Return a text of each deal, null where `deals` lacks it."""
    if name not in deals.columns:
        return pd.Series([None] * len(place), dtype="str")
    return pd.Series(taken(deals[name].astype("str").where(deals[name].notna()), place))


def _check_known(
    rows: pd.DataFrame, states: Book, deals: pd.DataFrame, own: Ints, since: pd.Timestamp, tz: str
) -> None:
    """Raise `ArgumentError` where deals may have changed between `since` and the first snapshot,
    and neither a changelog nor their own times tell.
    """
    logged = (rows["source"] == "changelog").to_numpy(np.bool_)
    seen = instants(rows, "seen_at", "UTC")[~logged]
    seen = seen[seen != NULL]
    if not len(seen) or to_micros(since) >= seen.min():
        return
    opening = states.first & ~states.appeared & (states.time < seen.min())
    covered = np.unique(plain_ids(rows["deal_id"])[logged])
    deal = states.deal[opening]
    deal = deal[~np.isin(deal, covered)]
    unknown = int((_last_change(deals, own, deal, tz) >= to_micros(since)).sum())
    if unknown:
        first = pd.Timestamp(int(seen.min()), unit="us", tz="UTC")
        which = "1 deal that has" if unknown == 1 else f"{unknown:,} deals that have"
        raise ChangesUnknownError(
            f"since={since:%Y-%m-%d %H:%M:%S} UTC is before the first snapshot of deals, taken on"
            f" {first:%Y-%m-%d %H:%M:%S} UTC. What happened before it is unknown of {which}"
            " changed since and no changelog.",
            " Begin at that snapshot, list what is known with partly=True, or load the changelogs"
            f" ({unknown * _TOKENS_A_DEAL:,} tokens):"
            f" account.deal_changes(deals.loc[deals['update_time'] >= '{since:%Y-%m-%dT%H:%MZ}',"
            " 'id']).",
        )


def _last_change(deals: pd.DataFrame, own: Ints, deal: Ints, tz: str) -> Ints:
    """Return the latest time at which each deal changed, as far as `deals` tells; the largest
    integer where it does not.
    """
    stamps = [name for name in _STAMPS if name in deals.columns]
    if "update_time" not in stamps or not len(own):
        return np.full(len(deal), np.iinfo(np.int64).max)
    latest = np.max([instants(deals, name, tz) for name in stamps], axis=0)
    unknown = instants(deals, "update_time", tz) == NULL
    place = places(own, deal)
    return np.where((place < 0) | unknown[place], np.iinfo(np.int64).max, latest[place])


__all__ = ["ChangesUnknownError", "changes", "changes_summary", "known_changes"]

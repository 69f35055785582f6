"""Deals and visits as they were known at a time."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import date
from typing import Any, Literal

import numpy as np
import pandas as pd

from pdframe._plain import plain_column
from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import NULL, in_zone, moment, require_columns, zone_of
from pdframe.metrics._change_rows import holds_changes, states_at
from pdframe.metrics._columns import as_times, equals, ids, one_row_each, plain_ids, times
from pdframe.metrics._known_at import (
    DELETED,
    LOST,
    NEVER,
    OPEN,
    VISITS,
    WON,
    KnownVisits,
    states_of_known,
    visits_known_at,
)
from pdframe.metrics._notes import noted
from pdframe.metrics._states import deleted_rows
from pdframe.metrics._survival import Flags, Ints

# Columns of deals that never change.
_FIXED = ("add_time", "creator_user_id", "origin", "origin_id", "source_lead_id")
# Columns that the kept history has.
_KEPT = (
    "stage_id",
    "pipeline_id",
    "status",
    "value",
    "currency",
    "expected_close_date",
    "owner_id",
    "probability",
    "stage_change_time",
    "won_time",
    "lost_time",
    "is_archived",
    "first_won_time",
)
_TIMES = ("stage_change_time", "won_time", "lost_time", "first_won_time")
_UTC = "datetime64[us, UTC]"


@noted
def as_of(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    when: str | date | pd.Timestamp | pd.Period,
    history: pd.DataFrame | None = None,
    *,
    tz: str | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return deals and visits as they were known at a time; later events change no cell.

    Parameters
    ----------
    deals
        One row per deal, from `account.deals()`; `id` and `add_time` are required.
    visits
        One row per visit, from `account.stage_visits()`.
    when
        A time; one without a timezone is in `tz`, a bare date means the end of that day.
    history
        One row per deal and change, from `account.deal_history()`: deal_id, column, before, after,
        time, seen_at. Snapshots and loaded changelogs give past values, changelogs also those
        before the first snapshot. Or one row per deal, as `account.as_of(when)` passes it: deal_id,
        seen_at, gone and the kept columns. None: there is no history.
    tz
        Name of the timezone of naive times.

    Returns
    -------
    (DataFrame, DataFrame)
        Deals: one row per deal added by then that was not known to be deleted, in the columns and
        dtypes of `deals`. Columns that never change (add_time, creator_user_id, origin, origin_id,
        source_lead_id) are unchanged. Columns of the kept history have the last value known by
        then; stage, pipeline, status and the times of closing have that of the changelog, where it
        reports the deal's visits. Everything else is null, since it may have changed later: the API
        does not document which changes move `update_time`, and a value that is null only in deals
        that were touched later would reveal the future. Deals deleted since then come from history;
        deals that neither history nor the visits have are missing. Visits: the visits known by then
        (a visit known from snapshots alone, from `seen_at` on); exits that were not known yet are
        undone: `left_at` and `left_after` null, `end` open. A move is known from the snapshot that
        shows the next visit; a closing that only snapshots show, from the first snapshot of the
        history that shows it, and from its own time where history does not have the deal. `source`
        is unchanged: it says what is known of the visit today. Columns, dtypes and order are those
        of `visits`.

    Raises
    ------
    ArgumentError
        `when` is not a time, a column is missing or holds something else, an id occurs twice, or a
        visit contradicts itself.

    Warns
    -----
    DataWarning
        Deals whose values at that time are unknown.

    Examples
    --------
    >>> deals, visits = account.deals(), account.stage_visits()
    >>> then, visits_then = metrics.as_of(deals, visits, "2026-03-31")
    >>> then["status"].value_counts()[["open", "won", "lost"]].to_dict()
    {'open': 56, 'won': 42, 'lost': 64}
    """
    tz = zone_of(tz, deals, visits, history)
    given = deals, visits
    visits = require_columns(visits, "visits", VISITS)
    deals = require_columns(deals, "deals", ("id", "add_time"))
    if history is not None and not (isinstance(history, pd.DataFrame) and holds_changes(history)):
        history = require_columns(history, "history", ("deal_id", "seen_at", "gone"))
    limit = moment(when, tz, "when", end_of_day=True)
    kept = _seen_at(history, limit, tz)
    known_visits = visits_known_at(visits, limit, tz, _seen_closed_deals(kept))
    if history is not None and holds_changes(history):
        _take_back_closings(known_visits, kept)
    result = (
        _deals_then(deals, visits, known_visits, kept, history, limit, tz),
        _visits_then(visits, known_visits),
    )
    first, second = (
        in_zone(_as_given(frame, like), tz) for frame, like in zip(result, given, strict=True)
    )
    return first, second


def _as_given(frame: pd.DataFrame, given: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with its columns in the dtypes of the argument, where these can represent
    the values.
    """
    dtypes = {
        name: given[name].dtype
        for name in frame.columns
        if frame[name].dtype != given[name].dtype
        and plain_column(given[name]).dtype == frame[name].dtype
    }
    return frame.astype(dtypes) if dtypes else frame


def _visits_then(visits: pd.DataFrame, known_visits: KnownVisits) -> pd.DataFrame:
    order = np.argsort(known_visits.rows, kind="stable")
    view = visits.iloc[known_visits.rows[order]].reset_index(drop=True)
    still = known_visits.left[order] == NEVER
    view["left_at"] = view["left_at"].mask(still)
    view["left_after"] = view["left_after"].mask(still)
    ends = view["end"]
    if isinstance(ends.dtype, pd.CategoricalDtype) and "open" not in ends.cat.categories:
        ends = ends.cat.add_categories("open")
    view["end"] = ends.mask(still, "open")
    return view


def _deals_then(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    known_visits: KnownVisits,
    kept: pd.DataFrame,
    history: pd.DataFrame | None,
    limit: pd.Timestamp,
    tz: str,
) -> pd.DataFrame:
    logged = _states_in_changelog(visits, known_visits)
    own = one_row_each(deals, "deals")
    for name in {"add_time", "close_time", *_TIMES} & {*deals.columns}:
        deals = deals.assign(**{name: times(deals, name, tz)})
    current = deals.set_axis(pd.Index(own)).drop(columns="id")
    added = current["add_time"]
    deleted = pd.Index(
        known_visits.deal[known_visits.last & (known_visits.end == DELETED)], dtype="Int64"
    )
    removed = (
        kept.index[kept["gone"]]
        .union(deleted)
        .union(_deleted_unseen(deals, own, known_visits, kept, limit, tz))
    )
    there = (
        added.index[added.isna() | (added <= limit)]
        .union(kept.index)
        .union(logged.index)
        .difference(removed)
    )
    now = current.reindex(there)
    view: dict[Hashable, Any] = {}
    for name in deals.columns:
        try:
            with np.errstate(invalid="raise"):
                view[name] = _column(name, deals, now, kept, logged, there)
        except (TypeError, ValueError, OverflowError, FloatingPointError):
            raise ArgumentError(
                f"The column {name!r} of deals ({deals[name].dtype}) and that of history hold"
                " values of different kinds."
            ) from None
    frame = pd.DataFrame(view, index=there)
    if "close_time" in frame and {"status", "won_time", "lost_time"} <= {*frame.columns}:
        status = frame["status"].astype("str")
        close = frame["won_time"].where(status == "won", frame["lost_time"].where(status == "lost"))
        frame["close_time"] = _typed(close, deals["close_time"].dtype)
    if "is_deleted" in frame:
        frame["is_deleted"] = _typed(pd.Series(False, index=there), deals["is_deleted"].dtype)
    unknown = there.difference(kept.index)
    if len(unknown):
        warn(_unknown_message(len(unknown), len(there), history, limit, tz))
    return frame.reset_index(drop=True)


def _deleted_unseen(
    deals: pd.DataFrame,
    own: pd.Series[Any],
    known_visits: KnownVisits,
    kept: pd.DataFrame,
    limit: pd.Timestamp,
    tz: str,
) -> pd.Index[Any]:
    """Return the deals that were deleted by then, and that nothing showed before: they are known
    from a list of deletions alone.
    """
    if "deleted_time" not in deals.columns:
        return pd.Index([], dtype="Int64")
    deleted = deleted_rows(deals) & (times(deals, "deleted_time", tz) <= limit).to_numpy(bool)
    seen = own.isin(known_visits.deal) | own.isin(kept.index)
    result: pd.Index[Any] = pd.Index(own[deleted & ~seen.to_numpy(bool)], dtype="Int64")
    return result


def _column(
    name: Hashable,
    deals: pd.DataFrame,
    now: pd.DataFrame,
    kept: pd.DataFrame,
    logged: pd.DataFrame,
    there: pd.Index[Any],
) -> pd.Series[Any]:
    """Return one column of deals as it was known."""
    if name == "id":
        return _typed(there.to_series(), deals[name].dtype)
    if name in _FIXED:
        values = now[name]
        for source in (kept, logged):
            if name in source:
                values = values.where(values.notna(), source[name].reindex(there))
    elif name in _KEPT:
        values = kept[name].reindex(there) if name in kept else _nothing(deals[name], there)
        if name in logged:
            values = values.astype(logged[name].dtype).mask(
                there.isin(logged.index), logged[name].reindex(there)
            )
    else:
        values = _nothing(deals[name], there)
    return _typed(values, deals[name].dtype)


def _seen_at(history: pd.DataFrame | None, limit: pd.Timestamp, tz: str) -> pd.DataFrame:
    """Return one row per deal seen by then, as the last snapshot until then showed it."""
    if history is None:
        return pd.DataFrame(
            {"gone": pd.Series(dtype="bool"), "seen_at": pd.Series(dtype=_UTC)},
            index=pd.Index([], dtype="Int64"),
        )
    if holds_changes(history):
        return states_at(history, "deal_id", (*_KEPT, "add_time"), limit, tz)
    seen = times(history, "seen_at", tz)
    kept = history.assign(
        deal_id=ids(history, "deal_id"), seen_at=seen, gone=equals(history, "gone", True)
    )
    for name in {"add_time", *_TIMES} & {*history.columns}:
        kept[name] = times(history, name, tz)
    kept = kept[(seen <= limit).to_numpy() & kept["deal_id"].notna().to_numpy()]
    beside = ["look"] if "look" in kept else []
    last = kept.sort_values(["seen_at", *beside], kind="stable").drop_duplicates(
        "deal_id", keep="last"
    )
    return last.set_axis(pd.Index(last["deal_id"], dtype="Int64")).sort_index()


def _seen_closed_deals(kept: pd.DataFrame) -> pd.Series[Any]:
    """Return when a snapshot last showed each deal changed, in microseconds; 0 where it was
    open.
    """
    at: pd.Series[Any] = (
        kept["seen_at"].dt.tz_localize(None).astype("datetime64[us]").astype("int64")
    )
    return at.mask(equals(kept, "status", "open"), 0) if "status" in kept else at


def _take_back_closings(known_visits: KnownVisits, kept: pd.DataFrame) -> None:
    """Reopen visits whose deal was known to be open: a later snapshot shows the closing.

    The changelog reports such a visit up to the time at which it was read, so `source` does not say
    where its end comes from.
    """
    was_open = equals(kept, "status", "open")
    unseen = (
        known_visits.last
        & np.isin(known_visits.end, (WON, LOST))
        & np.isin(known_visits.deal, kept.index[was_open].to_numpy(np.int64))
    )
    known_visits.left[unseen], known_visits.end[unseen] = NEVER, OPEN


def _states_in_changelog(visits: pd.DataFrame, known_visits: KnownVisits) -> pd.DataFrame:
    """Return the state of each deal whose last known visit comes from the changelog."""
    last = np.flatnonzero(known_visits.last & known_visits.exact)
    rows, end = known_visits.rows[last], known_visits.end[last]
    deal = pd.Index(known_visits.deal[last], dtype="Int64")
    stage = plain_ids(visits["stage_id"])[known_visits.rows]
    moved = np.zeros(len(stage), bool)
    moved[1:] = (known_visits.deal[1:] == known_visits.deal[:-1]) & (stage[1:] != stage[:-1])
    # Since when a closed deal is won or lost: moves while it was closed, and restorations, are
    # later.
    since = known_visits.left[states_of_known(visits, known_visits)[1]][last]
    left = np.where(since == NEVER, NULL, since)
    return pd.DataFrame(
        {
            "stage_id": ids(visits, "stage_id").iloc[rows].set_axis(deal),
            "pipeline_id": ids(visits, "pipeline_id").iloc[rows].set_axis(deal),
            "status": pd.Series(
                np.select([end == WON, end == LOST], ["won", "lost"], "open"), deal, "str"
            ),
            "add_time": _one_a_deal(
                known_visits.deal, known_visits.entered, np.ones(len(stage), bool), deal, "first"
            ),
            "stage_change_time": _one_a_deal(
                known_visits.deal, known_visits.entered, moved, deal, "last"
            ),
            "won_time": as_times(np.where(end == WON, left, NULL), deal),
            "lost_time": as_times(np.where(end == LOST, left, NULL), deal),
            "first_won_time": _one_a_deal(
                known_visits.deal, known_visits.left, known_visits.end == WON, deal, "first"
            ),
        }
    )


def _one_a_deal(
    deal: Ints, times: Ints, where: Flags, index: pd.Index[Any], keep: Literal["first", "last"]
) -> pd.Series[Any]:
    """Return the first or last of each deal's times, null where it has none."""
    result = as_times(times[where], pd.Index(deal[where], dtype="Int64"))
    return result[~result.index.duplicated(keep=keep)].reindex(index)


def _nothing(column: pd.Series[Any], index: pd.Index[Any]) -> pd.Series[Any]:
    return column.iloc[:0].set_axis(index[:0]).reindex(index)


def _typed(column: pd.Series[Any], dtype: Any) -> pd.Series[Any]:
    """Convert a column to a dtype, or to the nearest one that can represent the values; raise
    `ValueError` where they are of another kind.
    """
    if isinstance(dtype, pd.CategoricalDtype):
        other = column[column.notna() & ~column.isin(dtype.categories)].unique()
        if not all(isinstance(value, str) for value in (*other, *dtype.categories)) and len(other):
            raise ValueError(dtype)
        # Texts that no deal has today.
        dtype = (
            pd.CategoricalDtype([*dtype.categories, *sorted(other)], dtype.ordered)
            if len(other)
            else dtype
        )
    if dtype.kind in "biu" and isinstance(dtype, np.dtype) and column.isna().any():
        dtype = "boolean" if dtype.kind == "b" else "Int64"
    return column.astype(dtype)


def _unknown_message(
    unknown: int, deals: int, history: pd.DataFrame | None, limit: pd.Timestamp, tz: str
) -> str:
    begins = None if history is None or history.empty else times(history, "seen_at", tz).min()
    why = (
        "no history is passed"
        if begins is None
        else (
            f"the kept history begins on {begins:%Y-%m-%d %H:%M}"
            if begins > limit
            else "no snapshot of the kept history shows them"
        )
    )
    return (
        f"as_of: the values of {unknown:,} of {deals:,} deals on {limit:%Y-%m-%d %H:%M} UTC are"
        f" unknown because {why}: value, currency, owner and expected close are null, and so are"
        " stage and status where no changelog is loaded. History cannot be collected later: run"
        " account.sync('deals') often. account.deal_changes() loads past stages: 20 tokens per"
        " deal."
    )


__all__ = ["as_of"]

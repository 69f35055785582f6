"""Deals and stays as somebody would have found them at a time."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import date
from typing import Any, Literal

import numpy as np
import pandas as pd

from pdframe._plain import plain_column
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import NULL, in_zone, moment, require_columns, warn, zone_of
from pdframe.metrics._change_rows import holds_changes, states_at
from pdframe.metrics._columns import equals, ids, one_row_each, plain_ids, times
from pdframe.metrics._known_at import (
    DELETED,
    LOST,
    NEVER,
    OPEN,
    VISITS,
    WON,
    Known,
    known,
    standing,
)
from pdframe.metrics._survival import Flags, Ints

# Columns of deals that never change.
_FIXED = ("add_time", "creator_user_id", "origin", "origin_id", "source_lead_id")
# Columns that the kept history holds.
_KEPT = (
    "stage_id", "pipeline_id", "status", "value", "currency", "expected_close_date", "owner_id", "probability", "stage_change_time",
    "won_time", "lost_time", "is_archived", "first_won_time",
)  # fmt: skip
_TIMES = ("stage_change_time", "won_time", "lost_time", "first_won_time")
_UTC = "datetime64[us, UTC]"


def as_of(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    when: str | date | pd.Timestamp,
    history: pd.DataFrame | None = None,
    *,
    tz: str | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Deals and visits as they were known at a time; what came later changes no cell.

    Parameters
    ----------
    deals
        One row a deal, as `account.deals()` gives it: `id` and `add_time` are needed.
    visits
        One row a stay, as `account.stage_visits()` gives it.
    when
        A time; one without a timezone is in `tz`, a bare date means the end of that day.
    history
        One row a deal and change, as `account.deal_history()` gives it: deal_id, column, before,
        after, time, seen_at. Looks and loaded changelogs tell of values then, before the first look
        too. Or one row a deal, as `account.as_of(when)` gives it; deal_id, seen_at, gone and the
        columns that are kept. None: no look is known.
    tz
        Name of the timezone of naive times.

    Returns
    -------
    (DataFrame, DataFrame)
        Deals: one row a deal added by then that was not known to be deleted, in the columns and
        dtypes of `deals`. Columns that never change (add_time, creator_user_id, origin, origin_id,
        source_lead_id) are as given. Columns that are kept have the value that was known last by
        then; stage, pipeline, status and the times of closing that of the changelog, where it tells
        the deal's stays. Everything else is null, for it may have changed since: which changes move
        `update_time` is not documented, and a value that is null only in deals that were touched
        later would tell the future. Deals deleted since come from history; where neither it nor the
        visits know them they are missing. Visits: the stays known by then (a stay that only looks
        tell, from `seen_at` on), with exits that were not known yet taken back: `left_at` and
        `left_after` null, `end` open. A move is known once the look that found the next stay was
        there; a closing, which only looks tell, once history has a look that found it, and from its
        own time where history does not know the deal. `source` is as given: what is known today of
        how a stay was told. Columns, dtypes and order as given.

    Raises
    ------
    ArgumentError
        `when` is no time, a column is missing or holds something else, an id comes twice, or a stay
        contradicts itself.

    Warns
    -----
    DataWarning
        Deals whose values at that time nobody kept.
    """
    tz = zone_of(tz, deals, visits, history)
    given = deals, visits
    visits = require_columns(visits, "visits", VISITS)
    deals = require_columns(deals, "deals", ("id", "add_time"))
    if history is not None and not (isinstance(history, pd.DataFrame) and holds_changes(history)):
        history = require_columns(history, "history", ("deal_id", "seen_at", "gone"))
    limit = moment(when, tz, "when", end_of_day=True)
    kept = _seen_at(history, limit, tz)
    known_visits = known(visits, limit, tz, _seen_closed_deals(kept))
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
    """The frame with its columns in the dtypes that they were given in, where these hold what is
    known now.
    """
    dtypes = {
        name: given[name].dtype
        for name in frame.columns
        if frame[name].dtype != given[name].dtype
        and plain_column(given[name]).dtype == frame[name].dtype
    }
    return frame.astype(dtypes) if dtypes else frame


def _visits_then(visits: pd.DataFrame, known_visits: Known) -> pd.DataFrame:
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
    known_visits: Known,
    kept: pd.DataFrame,
    history: pd.DataFrame | None,
    limit: pd.Timestamp,
    tz: str,
) -> pd.DataFrame:
    reported = _reported(visits, known_visits)
    own = one_row_each(deals, "deals")
    for name in {"add_time", "close_time", *_TIMES} & {*deals.columns}:
        deals = deals.assign(**{name: times(deals, name, tz)})
    current = deals.set_axis(pd.Index(own)).drop(columns="id")
    added = current["add_time"]
    deleted = pd.Index(
        known_visits.deal[known_visits.last & (known_visits.end == DELETED)], dtype="Int64"
    )
    removed = kept.index[kept["gone"]].union(deleted)
    there = (
        added.index[added.isna() | (added <= limit)]
        .union(kept.index)
        .union(reported.index)
        .difference(removed)
    )
    now = current.reindex(there)
    view: dict[Hashable, Any] = {}
    for name in deals.columns:
        try:
            with np.errstate(invalid="raise"):
                view[name] = _column(str(name), deals, now, kept, reported, there)
        except (TypeError, ValueError, OverflowError, FloatingPointError):
            raise ArgumentError(
                f"The column {name!r} of deals ({deals[name].dtype}) holds other things than that"
                " of history."
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


def _column(
    name: str,
    deals: pd.DataFrame,
    now: pd.DataFrame,
    kept: pd.DataFrame,
    reported: pd.DataFrame,
    there: pd.Index[Any],
) -> pd.Series[Any]:
    """One column of deals as it was known."""
    if name == "id":
        return _typed(there.to_series(), deals[name].dtype)
    if name in _FIXED:
        values = now[name]
        for source in (kept, reported):
            if name in source:
                values = values.where(values.notna(), source[name].reindex(there))
    elif name in _KEPT:
        values = kept[name].reindex(there) if name in kept else _nothing(deals[name], there)
        if name in reported:
            values = values.astype(reported[name].dtype).mask(
                there.isin(reported.index), reported[name].reindex(there)
            )
    else:
        values = _nothing(deals[name], there)
    return _typed(values, deals[name].dtype)


def _seen_at(history: pd.DataFrame | None, limit: pd.Timestamp, tz: str) -> pd.DataFrame:
    """One row a deal seen by then, as the last look until then found it."""
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
    """When a look last found each deal changed, in microseconds; 0 where it found it open."""
    at: pd.Series[Any] = (
        kept["seen_at"].dt.tz_localize(None).astype("datetime64[us]").astype("int64")
    )
    return at.mask(equals(kept, "status", "open"), 0) if "status" in kept else at


def _take_back_closings(known_visits: Known, kept: pd.DataFrame) -> None:
    """Leave stays open whose deal was known to be open: a look that came later found the closing.

    The changelog tells such a stay up to the time at which it was read, so its `source` does not
    say who told of its end.
    """
    was_open = equals(kept, "status", "open")
    unseen = (
        known_visits.last
        & np.isin(known_visits.end, (WON, LOST))
        & np.isin(known_visits.deal, kept.index[was_open].to_numpy(np.int64))
    )
    known_visits.left[unseen], known_visits.end[unseen] = NEVER, OPEN


def _reported(visits: pd.DataFrame, known_visits: Known) -> pd.DataFrame:
    """State of each deal whose last known stay the changelog tells."""
    last = np.flatnonzero(known_visits.last & known_visits.exact)
    rows, end = known_visits.rows[last], known_visits.end[last]
    deal = pd.Index(known_visits.deal[last], dtype="Int64")
    stage = plain_ids(visits["stage_id"])[known_visits.rows]
    moved = np.zeros(len(stage), bool)
    moved[1:] = (known_visits.deal[1:] == known_visits.deal[:-1]) & (stage[1:] != stage[:-1])
    # Since when a closed deal is won or lost: a move while it was closed, and a restoration, came
    # later.
    since = known_visits.left[standing(visits, known_visits)[1]][last]
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
            "won_time": _as_times(np.where(end == WON, left, NULL), deal),
            "lost_time": _as_times(np.where(end == LOST, left, NULL), deal),
            "first_won_time": _one_a_deal(
                known_visits.deal, known_visits.left, known_visits.end == WON, deal, "first"
            ),
        }
    )


def _one_a_deal(
    deal: Ints, times: Ints, where: Flags, index: pd.Index[Any], keep: Literal["first", "last"]
) -> pd.Series[Any]:
    """The first or last of each deal's times, null where it has none."""
    result = _as_times(times[where], pd.Index(deal[where], dtype="Int64"))
    return result[~result.index.duplicated(keep=keep)].reindex(index)


def _as_times(values: Ints, index: pd.Index[Any]) -> pd.Series[Any]:
    return pd.Series(values.view("datetime64[us]"), index).dt.tz_localize("UTC")


def _nothing(column: pd.Series[Any], index: pd.Index[Any]) -> pd.Series[Any]:
    return column.iloc[:0].set_axis(index[:0]).reindex(index)


def _typed(column: pd.Series[Any], dtype: Any) -> pd.Series[Any]:
    """The dtype of the given column, or the one nearest to it that holds the values; `ValueError`
    where they are of another kind.
    """
    if isinstance(dtype, pd.CategoricalDtype):
        other = column[column.notna() & ~column.isin(dtype.categories)].unique()
        if not all(isinstance(value, str) for value in (*other, *dtype.categories)) and len(other):
            raise ValueError(dtype)
        # Text that no deal has today.
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
        "no kept history is given"
        if begins is None
        else (
            f"the kept history begins on {begins:%Y-%m-%d %H:%M}"
            if begins > limit
            else "no look of the kept history had found them"
        )
    )
    return (
        f"as_of: what {unknown:,} of {deals:,} deals were like on {limit:%Y-%m-%d %H:%M} UTC is not"
        f" known, for {why}: value, currency, owner and expected close are null, stage and status"
        " too where no changelog tells them. History cannot be collected later: run"
        " account.sync('deals') often. account.deal_changes() tells past stages: 20 tokens a deal."
    )


__all__ = ["as_of"]

"""How long open deals have been in their stage, compared with how long deals remain there."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.metrics._arguments import (
    DAY,
    in_zone,
    local_date,
    moment,
    require_columns,
    to_micros,
    zone_of,
)
from pdframe.metrics._columns import (
    Flags,
    Floats,
    Ints,
    amounts,
    dates,
    days_between,
    equals,
    ids,
    lookup,
    one_row_each,
    ratio,
    times,
    warn_of_uncountable,
)
from pdframe.metrics._known_at import NEVER, VISITS, on_show, real_visits
from pdframe.metrics._notes import noted
from pdframe.metrics._states import OPEN, DeletedRows, changed_after, states
from pdframe.metrics._survival import kaplan_meier

_CARRIED = (
    "title",
    "owner_id",
    "owner_name",
    "org_name",
    "person_name",
    "value",
    "currency",
)
_DEALS = (
    "id",
    "status",
    "pipeline_id",
    "stage_id",
    "add_time",
    "update_time",
    "expected_close_date",
)
_STAGES = ("id", "name", "is_deal_rot_enabled", "days_to_rotten")


@noted
def deal_aging(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    as_of: str | date | pd.Timestamp | pd.Period,
    tz: str | None = None,
) -> pd.DataFrame:
    """List open deals with their days in stage, what is usual there, and whether they are rotten or
    past their expected close: those to call first at the top.

    Parameters
    ----------
    deals
        One row per deal, with id, pipeline_id, stage_id, status, add_time, update_time, won_time,
        lost_time, expected_close_date.
    visits
        One row per visit of a deal to a stage, from `account.stage_visits()`.
    stages
        One row per stage, with id, name, is_deal_rot_enabled, days_to_rotten.
    as_of
        What happened after it is unknown; a bare date is the end of that day.
    tz
        Timezone of naive times, and of the day of `as_of`; None: the frames' `attrs["tz"]`, which
        the loaders set, else UTC.

    Returns
    -------
    DataFrame
        One row per deal open at `as_of`. First those that are rotten and past their expected close,
        then those that are one of the two, then the others; each by value, the largest first
        (as they are written, whatever the currency; null last), then by deal_id:

        - deal_id; title, owner_id, owner_name, org_name, person_name, value, currency where `deals`
          has them (`account.deals(names=True)` adds all names, and url); pipeline_id, stage_id,
          stage (name; null: no such stage in `stages`)
        - entered_at (UTC), days_in_stage: null where there is no visit, or the entry is only
          bounded
        - median_days: median of the stage by Kaplan-Meier, open visits censored, as in
          `stage_velocity`; null where it is not reached
        - share_longer: share of the stage's completed visits that were longer than this one so far;
          null where there is none
        - days_idle: since the last update or the entry into the stage; days_to_rotten: the stage's,
          null where it lets no deal rot; rotten: whether days_idle has reached it, False where the
          stage lets no deal rot
        - expected_close_date; days_past_close: whole days since it, 0 where it is not past, null
          where none is set
        - url: page of the deal, where `deals` has it

        What `deals` says of a deal that changed after `as_of` may not have been true then: title,
        owner, organization, person, value, currency, expected_close_date, days_past_close,
        days_idle and (unless the deal cannot have been idle long enough) rotten are null, and a
        warning counts the deals.

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, a visit contradicts itself or occurs twice, or
        `as_of` is not a time.

    Notes
    -----
    Visits are known as in `stage_velocity`, without those of deals that were deleted after they
    were closed. The visits decide in which stage a deal is; for a deal without a visit by `as_of`,
    `deals` decides whether it is open, and where. Completed visits count if both ends are exact and
    they were under observation before they ended (`seen_at`): a visit that was first seen after its
    end was seen because it had ended. A warning counts the others and says how to load them; where
    none is left, median_days and share_longer are null. A deal that `deals` knows as deleted by
    `as_of` (`is_deleted`, and since when `deleted_time`, else the last update) is not open,
    whatever its visits say. No time is below 0: an update or a creation dated after `as_of` tells
    nothing of how long a deal has been idle.

    Examples
    --------
    >>> deals, visits, stages = account.deals(), account.stage_visits(), account.stages()
    >>> aging = metrics.deal_aging(deals, visits, stages, as_of="2026-06-30")
    >>> aging[["deal_id", "owner_name", "value", "rotten", "days_past_close"]].head(3)
       deal_id     owner_name      value  rotten  days_past_close
    0       52      Liis Kask  118600.00    True              427
    1        5    Tom O'Brien   13500.00    True              803
    2       97  Aino Virtanen   11219.97    True              279
    """
    tz = zone_of(tz, deals, visits, stages)
    deals = require_columns(deals, "deals", [*_DEALS])
    visits = require_columns(visits, "visits", VISITS)
    stages = require_columns(stages, "stages", [*_STAGES])
    warn_of_uncountable(deals, "deals", moments=["expected_close_date"])
    deals, visits, stages = (f.reset_index(drop=True) for f in (deals, visits, stages))
    now = moment(as_of, tz, "as_of", end_of_day=True)
    known_visits = _visits(visits, tz, now)
    _warn_of_unwatched(known_visits)
    result = _open_deals(
        deals, known_visits, ids(visits, "deal_id")[on_show(visits, now, tz)], tz, now
    )
    placed = stages.set_index(pd.Index(one_row_each(stages, "stages")))
    where = result["stage_id"]
    result["stage"] = lookup(where, placed["name"]).astype("str")
    result["days_in_stage"] = days_between(result["entered_at"], now)
    result["median_days"], result["share_longer"] = _usual(
        known_visits, where, result["days_in_stage"].to_numpy(np.float64)
    )
    allowed = equals(placed, "is_deal_rot_enabled", True)
    limit = lookup(where, ids(placed, "days_to_rotten").where(allowed))
    result["days_to_rotten"] = limit
    _judge(result, limit, local_date(pd.Series([now]), tz).iloc[0], now)
    if "url" in deals.columns:
        result["url"] = lookup(result["deal_id"], deals["url"].set_axis(pd.Index(ids(deals, "id"))))
    result = result.iloc[_most_urgent_first(result)].reset_index(drop=True)
    reported = [column for column in _CARRIED if column in deals.columns]
    order = [
        "deal_id",
        *reported,
        "pipeline_id",
        "stage_id",
        "stage",
        "entered_at",
        "days_in_stage",
        "median_days",
        "share_longer",
    ]
    return in_zone(
        result[
            [
                *order,
                "days_idle",
                "days_to_rotten",
                "rotten",
                "expected_close_date",
                "days_past_close",
                *(["url"] if "url" in deals.columns else []),
            ]
        ],
        tz,
    )


def _visits(visits: pd.DataFrame, tz: str, now: pd.Timestamp) -> pd.DataFrame:
    """Return the visits known at `now`, with what was known of them then."""
    known_visits = real_visits(visits, now, tz)
    over = known_visits.left != NEVER
    loose = known_visits.of(visits["entered_after"]).notna().to_numpy()
    cut = over & known_visits.of(visits["left_after"]).notna().to_numpy()
    begun = pd.Series(known_visits.entered.view("datetime64[us]")).dt.tz_localize("UTC")
    entry = np.maximum(known_visits.seen - known_visits.entered, 0) / DAY
    duration = (np.where(over, known_visits.left, to_micros(now)) - known_visits.entered) / DAY
    return pd.DataFrame(
        {
            "deal_id": pd.array(known_visits.deal, "Int64"),
            "pipeline_id": known_visits.of(ids(visits, "pipeline_id")).array,
            "stage_id": known_visits.of(ids(visits, "stage_id")).array,
            "entered_at": begun.mask(loose),
            "since": begun,
            "open": ~over,
            "entry": entry,
            "duration": duration,
            # At risk from `seen_at` on: a visit that had ended by then says nothing.
            "counts": ~loose & ~cut & ~((entry > 0) & (entry >= duration)),
        }
    )


def _warn_of_unwatched(known_visits: pd.DataFrame) -> None:
    """Warn of completed visits without a usable duration, and say how to load them."""
    missed = known_visits[~known_visits["counts"] & ~known_visits["open"]]
    result = missed["deal_id"].nunique()
    if len(missed):
        warn(
            f"{len(missed):,} completed visits are left out of median_days and share_longer: they"
            " were first seen after their end, or their times are not known exactly. For exact"
            f" times load account.deal_changes(ids): 20 tokens per deal, {result:,}"
            f" deal{'' if result == 1 else 's'} = {20 * result:,} tokens."
        )


def _open_deals(
    deals: pd.DataFrame,
    known_visits: pd.DataFrame,
    visited: pd.Series[Any],
    tz: str,
    now: pd.Timestamp,
) -> pd.DataFrame:
    """Return one row per deal open at `now`: its stage, since when, and what `deals` says of it.
    `visited`: deals that have visits.
    """
    own, changed = one_row_each(deals, "deals"), changed_after(deals, tz, now)
    reported = pd.DataFrame({"deal_id": own, "changed": changed})
    for column in _CARRIED:
        if column in deals.columns:
            reported[column] = deals[column].mask(changed)
    reported["expected_close_date"] = dates(deals, "expected_close_date").mask(changed)
    updated = times(deals, "update_time", tz)
    touched = updated.fillna(times(deals, "add_time", tz)).mask(changed)
    reported["touched"] = touched.mask(touched > now)
    columns = ["deal_id", "pipeline_id", "stage_id", "entered_at", "since"]
    deleted = own[DeletedRows.of(deals, tz).by(now)]
    there = known_visits["open"] & ~known_visits["deal_id"].isin(deleted)
    current = (
        known_visits.loc[there, columns]
        .sort_values(["deal_id", "since"], kind="stable")
        .drop_duplicates("deal_id", keep="last")
    )
    bare = (states(deals, tz, now).state == OPEN) & ~own.isin(visited).to_numpy()
    place = pd.DataFrame(
        {"deal_id": own, **{column: ids(deals, column).mask(changed) for column in columns[1:3]}}
    )[bare]
    result: pd.DataFrame = pd.concat([current, place], ignore_index=True).merge(
        reported, on="deal_id", how="left"
    )
    result = result.sort_values("deal_id", ignore_index=True)
    late = int(result["changed"].eq(True).sum())
    if late:
        warn(
            f"{late:,} open deals changed after {now:%Y-%m-%d %H:%M} UTC: their owner, value,"
            " expected close and idleness at that time are unknown and null. Pass the deals of that"
            " time, from account.as_of(...), if history was kept."
        )
    result["touched"] = result["touched"].mask(
        result["touched"] < result["entered_at"], result["entered_at"]
    )
    return result


def _usual(
    known_visits: pd.DataFrame, where: pd.Series[Any], days: Floats
) -> tuple[Floats, Floats]:
    """Return the median of each deal's stage, and the share of its completed visits that were
    longer than `days`.
    """
    sample = known_visits[known_visits["counts"] & known_visits["stage_id"].notna()]
    codes, result = pd.factorize(sample["stage_id"], sort=True)
    duration, done = sample["duration"].to_numpy(np.float64), ~sample["open"].to_numpy(np.bool_)
    curves = kaplan_meier(
        duration, done, codes, len(result), entry=sample["entry"].to_numpy(np.float64)
    )
    place = np.asarray(pd.Index(result).get_indexer(pd.Index(where)), dtype=np.int64)
    # The last place, NaN, is that of stages without a sample.
    median = np.append(curves.quantile(0.5)[0], np.nan)[place]
    finished, stage = duration[done], codes[done]
    # Ranks make one key of stage and length, so that one search serves all deals.
    order = np.unique(np.concatenate((finished, days)), return_inverse=True)[1]
    key = np.sort(stage * len(order) + order[: len(finished)])
    start, stop = (
        np.searchsorted(key, place * len(order)),
        np.searchsorted(key, (place + 1) * len(order)),
    )
    longer = ratio(
        stop - np.searchsorted(key, place * len(order) + order[len(finished) :], side="right"),
        stop - start,
    )
    return median, np.where((place < 0) | np.isnan(days), np.nan, longer)


def _judge(
    result: pd.DataFrame, limit: pd.Series[Any], today: pd.Timestamp, now: pd.Timestamp
) -> None:
    """Add days_idle, rotten and days_past_close."""
    idle = days_between(result["touched"], now)
    unknown: Flags = np.isnan(idle)
    # A deal that entered its stage a day ago was touched then, whatever happened since.
    most = np.where(unknown, result["days_in_stage"].to_numpy(np.float64), idle)
    due = limit.to_numpy(np.float64, na_value=np.nan)
    rotten = pd.Series(most >= due, index=result.index, dtype="boolean")
    result["days_idle"] = idle
    result["rotten"] = rotten.mask(unknown & ~np.isnan(due) & ~(most < due))
    past = pd.Series(days_between(result["expected_close_date"], today), index=result.index)
    result["days_past_close"] = past.clip(lower=0).astype("Int64")


def _most_urgent_first(result: pd.DataFrame) -> Ints:
    """Return the places of the rows by the number of alarms, value and deal."""
    rotten = result["rotten"].fillna(False).to_numpy(np.bool_)
    late = result["days_past_close"].gt(0).fillna(False).to_numpy(np.bool_)
    value = amounts(result, "value") if "value" in result else np.full(len(result), np.nan)
    # The rows come by deal, and nulls sort last.
    return np.lexsort((-value, -(rotten.astype(np.int64) + late)))

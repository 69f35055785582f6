"""Why deals are lost, in which stage, and what they were worth."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import date
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import (
    grouped,
    keyed,
    keys,
    local_date,
    moment,
    require_columns,
    window,
    zone_of,
)
from pdframe.metrics._closings import between, warn_of_left_out
from pdframe.metrics._columns import finite, ids, one_row_each, ratio, warn_of_uncountable
from pdframe.metrics._notes import noted
from pdframe.metrics._states import LOST, Deleted, check_deleted, states
from pdframe.metrics.currency import Rates, RateTable
from pdframe.metrics.forecasting._amounts import LARGEST, exact_units, in_units, sums
from pdframe.metrics.forecasting._labels import labels

Moment: TypeAlias = str | date | pd.Timestamp | pd.Period

COLUMNS = ("reason", "stage_id", "stage", "currency", "deals", "value", "share")
_TAKEN = ("reason", "stage", "currency", "deals", "value", "share", "deal_id", "lost_date")


@noted
def lost_reasons(
    deals: pd.DataFrame,
    *,
    since: Moment | None,
    until: Moment | None,
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
    as_of: Moment | None = None,
    deleted: Deleted = "drop",
    tz: str | None = None,
) -> pd.DataFrame:
    """Count the deals lost in a window by reason, by the stage that they were lost from and by
    currency.

    `.groupby("reason", dropna=False)["deals"].sum()` gives the reasons alone.

    Parameters
    ----------
    deals
        One row per deal, from `account.deals()`, with id, status, lost_time, lost_reason, stage_id,
        value, currency, add_time, won_time; stage_name, local_lost_date, is_deleted, deleted_time
        and update_time are used where present.
    since, until
        The window in which they were lost, since inclusive, until exclusive; None: no bound. Naive
        times and bare dates are in `tz`. A year, quarter, month ("2026-Q2") or `pd.Period` as
        `until` is taken to its end.
    by
        Column or columns of `deals` to group by, unchanged; null is a group. "owner" is
        `owner_name` where `deals` has that alone.
    rates
        None: each currency has its rows. A mapping currency -> value of one unit in the common
        currency, or a frame (currency, date, rate), whose last rate on or before the day of the
        loss counts.
    as_of
        What happened after it is unknown; a bare date is the end of that day. None: all that
        `deals` has.
    deleted
        "drop" (default): a deal that was deleted after it was lost counts nowhere from its deletion
        on. "keep": it counts, where `deals` has it (`account.deals(deleted=True)`; else a warning
        says so).
    tz
        Timezone of the window and of the days on which deals close; None: `deals.attrs["tz"]`,
        which the loaders set, else UTC.

    Returns
    -------
    DataFrame
        One row per reason, stage and currency (and group) that occurs; by group, then the reasons
        with the most deals first. The columns of `by`, then:

        - reason: without spaces around it, spellings that differ by case alone together under the
          commonest; null: no reason was given
        - stage_id: the stage in which the deals were lost; stage: its name, null where `deals` has
          no stage_name
        - currency: of value; with `rates` the one whose rate is always 1, null where unknown
        - deals: number of deals lost
        - value: sum of their values; null values count 0
        - share: of all deals lost in the window (by group), from 0 to 1

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, an id occurs twice, an argument is not a time,
        a currency has no rate, or amounts are too large to be added up exactly.

    Warns
    -----
    DataWarning
        Once, of all that follows, with the complete text in `attrs["notes"]`: deals lost without a
        date, deals without a value or a currency.

    Notes
    -----
    Deals close as in `win_rate`; one that was reopened counts by its last closing, and not at all
    where it is open. A closed deal remains in the stage in which it was closed.

    `drill_through` leads from a row to its deals in `lost_reason_deals`.

    Examples
    --------
    >>> year = {"since": "2025-07-01", "until": "2026-07-01"}
    >>> reasons = metrics.lost_reasons(account.deals(names=True), **year)
    >>> reasons[["reason", "stage", "currency", "deals", "value"]].head(3)
            reason      stage currency  deals     value
    0  Went silent  Discovery      EUR      3  18768.09
    1  Went silent   Proposal      EUR      2  35094.76
    2  Went silent    Scoping      EUR      1   1191.42
    """
    rows, names = _lost(deals, since, until, by, rates, as_of, deleted, tz)
    result = _counted(rows, names, rates)
    return result


@noted
def lost_reason_deals(
    deals: pd.DataFrame,
    *,
    since: Moment | None,
    until: Moment | None,
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
    as_of: Moment | None = None,
    deleted: Deleted = "drop",
    tz: str | None = None,
) -> pd.DataFrame:
    """List the deals that `lost_reasons` counts: one row per deal lost in the window.

    Parameters
    ----------
    deals, since, until, by, rates, as_of, deleted, tz
        As in `lost_reasons`.

    Returns
    -------
    DataFrame
        By deal_id: deal_id; title, owner_name where `deals` has them; the other columns of `by`;
        reason, stage_id, stage, currency as in `lost_reasons`; value (null: none), lost_date (day
        on which the deal was lost).

    Raises
    ------
    ArgumentError
        As in `lost_reasons`.

    Examples
    --------
    >>> june = {"since": "2026-06-01", "until": "2026-07-01"}
    >>> lost = metrics.lost_reason_deals(account.deals(), **june)
    >>> lost[["deal_id", "reason", "value", "currency", "lost_date"]].head(2)
       deal_id       reason    value currency  lost_date
    0      152    No budget   5850.0      EUR 2026-06-05
    1      157  Went silent  13300.0      EUR 2026-06-29
    """
    rows, _ = _lost(deals, since, until, by, rates, as_of, deleted, tz)
    return rows


def _lost(
    deals: pd.DataFrame,
    since: Any,
    until: Any,
    by: Any,
    rates: RateTable | None,
    as_of: Any,
    deleted: Deleted,
    tz: str | None,
) -> tuple[pd.DataFrame, list[str]]:
    """Return the deals that were lost in the window, and the columns to group by."""
    names = _names(by, deals, rates)
    tz = zone_of(tz, deals)
    deals = require_columns(
        deals, "deals", ["id", "status", "lost_reason", "stage_id", "value", "currency"], names
    ).reset_index(drop=True)
    warn_of_uncountable(deals, "deals", numbers=["value"], below=LARGEST)
    number = one_row_each(deals, "deals")
    check_deleted(deleted, deals)
    now = None if as_of is None else moment(as_of, tz, "as_of", end_of_day=True)
    start, end = window(since, until, tz)
    known = states(deals, tz, now, deleted=deleted)
    warn_of_left_out(int(known.undated(LOST).sum()), "are lost without a date")
    lost = np.flatnonzero((known.state == LOST) & between(known.counted, start, end))
    lost = lost[np.argsort(number.to_numpy(np.int64)[lost], kind="stable")]
    kept = deals.take(lost).reset_index(drop=True)
    day = local_date(known.counted.take(lost).reset_index(drop=True), tz)
    value = finite(kept, "value", below=LARGEST)
    bare = int(np.isnan(value).sum())
    if bare:
        warn(f"{bare:,} of {len(kept):,} deals lost have no value: they count 0.")
    currency = kept["currency"].astype("str")
    if rates is not None:
        table = Rates(rates)
        valued = ~np.isnan(value)
        bare = int((valued & currency.isna().to_numpy()).sum())
        if bare:
            warn(
                f"{bare:,} deals lost have a value and no currency: they count 0. Fill in"
                " `currency`."
            )
        with np.errstate(over="ignore"):
            value = value * table.at(currency, day, valued)
        table.warn_of_stale()
        currency = pd.Series([table.target] * len(kept), dtype="str")
    result = labels(deals, pd.DataFrame({"deal_id": ids(kept, "id")}), names)
    result["reason"] = one_spelling(kept["lost_reason"])
    result["stage_id"] = ids(kept, "stage_id")
    result["stage"] = (
        kept["stage_name"].astype("str")
        if "stage_name" in kept.columns
        else pd.Series([None] * len(kept), dtype="str")
    )
    result["currency"], result["value"], result["lost_date"] = currency, value, day
    return keyed(result, ["deal_id"], tz), names


def _names(by: Any, deals: object, rates: RateTable | None) -> list[str]:
    """Return the columns to group by, without those that are keys anyway."""
    names = keys(by, [name for name in _TAKEN if name != "currency"], deals)
    if rates is not None and "currency" in names:
        raise ArgumentError(
            "by='currency' keeps currencies apart and `rates` adds them up: give one of the two."
        )
    return [name for name in names if name not in ("currency", "stage_id")]


def one_spelling(texts: pd.Series[Any]) -> pd.Series[Any]:
    """Return texts without spaces around them, those that differ by case alone in the commonest
    spelling, of equally common ones the first by code points; blank text is null.
    """
    trimmed = texts.astype("str").str.strip()
    trimmed = trimmed.mask(trimmed == "")
    folded = trimmed.map(
        lambda text: unicodedata.normalize("NFC", text).casefold(), na_action="ignore"
    )
    counted = pd.DataFrame({"key": folded, "text": trimmed}).dropna().value_counts()
    ordered = counted.rename("count").reset_index()
    ordered = ordered.sort_values(["count", "text"], ascending=[False, True], kind="stable")
    best = ordered.drop_duplicates("key").set_index("key")["text"]
    return folded.map(best.to_dict(), na_action="ignore").astype("str")


def _counted(rows: pd.DataFrame, names: list[str], rates: RateTable | None) -> pd.DataFrame:
    own = [*names, "reason", "stage_id", *([] if rates is not None else ["currency"])]
    codes, result = grouped(rows, own)
    count = len(result)
    deals = np.bincount(codes, minlength=count)
    value = in_units(sums(exact_units(rows["value"].to_numpy(np.float64)), codes, count))
    first = np.zeros(count, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    result["stage"] = rows["stage"].take(first).array
    if rates is not None:
        result["currency"] = pd.Series([Rates(rates).target] * count, dtype="str")
    result["deals"], result["value"] = pd.array(deals, dtype="Int64"), value
    group = grouped(result, names)[0]
    result["share"] = ratio(deals, np.bincount(group, deals, minlength=1)[group])
    # Reasons with the most deals first, in each group.
    reason = grouped(result, [*names, "reason"])[0]
    most = np.bincount(reason, deals, minlength=1)[reason]
    place = np.lexsort((np.arange(count), reason, -most, group))
    kept = result[[*names, *COLUMNS]].take(place).reset_index(drop=True)
    return keyed(kept, own, rows.attrs["tz"])


__all__ = ["lost_reason_deals", "lost_reasons", "one_spelling"]

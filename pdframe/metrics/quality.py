"""What an analyst must know of the data before trusting a number: one check a function, all of them
in `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from pdframe.metrics._arguments import (
    NULL,
    in_zone,
    local_date,
    moment,
    require_columns,
    span,
    warn,
    zone_of,
)
from pdframe.metrics._columns import (
    NO_ID,
    Flags,
    amounts,
    dates,
    days_between,
    equals,
    ids,
    lookup,
    one_row_each,
    plain_ids,
    say_uncountable,
    times,
)
from pdframe.metrics._known_at import ENDS, NEVER, by_time, changes_of_closed, on_show, stands
from pdframe.metrics._line_values import differs
from pdframe.metrics._states import (
    DELETED,
    LOST,
    OPEN,
    UNKNOWN,
    WON,
    Deleted,
    States,
    changed_after,
    check_deleted,
    deleted_rows,
    states,
)

BULK = 10
"""How many deals created in one second are taken for an import: people do not type that fast, and
integrations rarely write that fast.
"""

_REPORTED = {"won": WON, "lost": LOST, "deleted": DELETED}

SAME_TIME = pd.Timedelta(minutes=1)
"""Stays and deals that disagree by no more than this about a closing agree: two servers' clocks,
rounded to a second.
"""

_DEALS = (
    "id",
    "status",
    "pipeline_id",
    "value",
    "currency",
    "add_time",
    "update_time",
    "expected_close_date",
)
_VISITS = ("deal_id", "entered_at", "entered_after", "source", "seen_at")
_STAGES = ("id", "deal_probability", "add_time", "update_time")
_PIPELINES = ("id", "is_deal_probability_enabled", "add_time", "update_time")
_LINES = (
    "deal_id",
    "sum",
    "currency",
    "is_enabled",
    "quantity",
    "item_price",
    "discount",
    "discount_type",
    "tax",
    "tax_method",
    "billing_frequency",
    "billing_frequency_cycles",
    "add_time",
    "update_time",
)


@dataclass(frozen=True)
class Facts:
    """What the checks read: everything as far as it was known at `now`.

    `judged` are the deals that exist, are not deleted and did not change after `now`; `alive` are
    those that existed, whatever changed.
    """

    deals: pd.DataFrame
    visits: pd.DataFrame
    stages: pd.DataFrame
    pipelines: pd.DataFrame | None
    lines: pd.DataFrame
    discounts: pd.DataFrame | None
    now: pd.Timestamp
    tz: str
    untouched: float
    known: States
    alive: Flags
    judged: Flags
    with_lines: Flags

    def judged_in(self, *matches: int) -> Flags:
        """Return which deals are judged and in one of these states."""
        return self.judged & np.isin(self.known.state, matches)


@dataclass(frozen=True)
class Finding:
    """The ids that a check found, among how many."""

    ids: pd.Series[Any]
    among: int


@dataclass(frozen=True)
class Check:
    """A check: its name, how bad its finding is, what numbers it distorts, and the function that
    finds.
    """

    name: str
    severity: Literal["error", "warning", "info"]
    distorts: str
    find: Callable[[Facts], Finding]


def data_quality(
    deals: pd.DataFrame,
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    deal_products: pd.DataFrame,
    *,
    as_of: str | date | pd.Timestamp,
    discounts: pd.DataFrame | None = None,
    pipelines: pd.DataFrame | None = None,
    untouched: str | pd.Timedelta = "90D",
    deleted: Deleted = "drop",
    tz: str | None = None,
) -> pd.DataFrame:
    """Defects of the data that distort metrics: one row a check, found or not.

    Parameters
    ----------
    deals, visits, stages, deal_products
        The frames of `account.deals()`, `stage_visits()`, `stages()` and `deal_products()`, all
        their columns.
    as_of
        What happened after it is unknown; a bare date is the end of that day. Deals, stages and
        pipelines that changed after it are not judged by what they say now, and a warning counts
        the deals.
    discounts
        `account.discounts()`: with it, values are checked against discounts on whole deals, too;
        without it, a value that lies below the lines by no more than their one-time part is taken
        for discounted.
    pipelines
        `account.pipelines()`: with it, stages of pipelines whose probabilities are switched off are
        not looked at, for there 100 % is meant. None: they cannot be told apart from stages that
        nobody configured, and are found too.
    untouched
        An open deal with neither an update nor a move for longer than this counts as untouched.
    deleted
        "drop" (default): deals that were deleted by `as_of` are not looked at. "keep": those that
        were deleted after they were won or lost are, where `deals` holds them
        (`account.deals(deleted=True)`; else a warning says so).
    tz
        Timezone of naive times, and of the days that are compared; None: the frames' `attrs["tz"]`,
        which the loaders set, else UTC.

    Returns
    -------
    DataFrame
        One row a check, in the order of `CHECKS`, whether it found anything or not:

        - check: its name
        - severity: "error" (the row contradicts itself), "warning" (plausible, but it bends a
          number), "info" (to know)
        - count: how many it found; share: of those it looked at, null where there were none to look
          at
        - ids: of what was found, ascending: deals, but stages for `stages_at_100_percent`
        - distorts: the numbers that are not to be trusted because of it

        The checks: stages_at_100_percent, open_past_close_date, open_untouched, open_without_value,
        won_without_value, closed_without_date, closed_before_created, close_date_before_created,
        value_differs_from_lines, currency_differs_from_lines, mixed_currencies,
        stage_history_inexact, stage_history_disagrees, close_time_disagrees, created_in_bulk. Those
        that need a column which a frame lacks find nothing, among none: visits' left_at and end
        tell of stays that disagree, its left_after, stage_id and pipeline_id are used where
        present.

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, an id comes twice, `as_of` is no time.
    """
    tz = zone_of(tz, deals, visits, stages, deal_products)
    deals = require_columns(deals, "deals", _DEALS)
    visits = require_columns(visits, "visits", _VISITS)
    stages = require_columns(stages, "stages", _STAGES)
    deal_products = require_columns(deal_products, "deal_products", _LINES)
    say_uncountable(deals, "deals", moments=["expected_close_date"], numbers=["value"])
    if discounts is not None:
        discounts = require_columns(
            discounts, "discounts", ("deal_id", "type", "amount", "created_at", "updated_at")
        ).reset_index(drop=True)
    if pipelines is not None:
        pipelines = require_columns(pipelines, "pipelines", _PIPELINES).reset_index(drop=True)
        one_row_each(pipelines, "pipelines")
        require_columns(stages, "stages", ("pipeline_id",))
    one_row_each(stages, "stages")
    deals, visits, stages, deal_products = (
        f.reset_index(drop=True) for f in (deals, visits, stages, deal_products)
    )
    now = moment(as_of, tz, "as_of", end_of_day=True)
    check_deleted(deleted, deals)
    known = states(deals, tz, now, deleted=deleted)
    alive = ~np.isin(known.state, (DELETED, UNKNOWN))
    changed = changed_after(deals, tz, now)
    late = int((alive & changed).sum())
    if late:
        warn(
            f"{late} deals changed after {now:%Y-%m-%d %H:%M} UTC: what they said then is not in"
            " this frame, and they are not judged. Pass deals as they were known then, from"
            " account.as_of(...), where history was kept."
        )
    own, moved = (
        one_row_each(deals, "deals"),
        _later(deal_products, ("add_time", "update_time"), now, tz),
    )
    if discounts is not None:
        moved = pd.concat([moved, _later(discounts, ("created_at", "updated_at"), now, tz)])
    facts = Facts(
        deals=deals,
        visits=visits[on_show(visits, now, tz)],
        stages=stages,
        pipelines=pipelines,
        lines=deal_products,
        discounts=discounts,
        now=now,
        tz=tz,
        untouched=span(untouched, "untouched"),
        known=known,
        alive=alive,
        judged=alive & ~changed,
        with_lines=own.isin(ids(deal_products, "deal_id")).to_numpy() & ~own.isin(moved).to_numpy(),
    )
    matches = [check.find(facts) for check in CHECKS]
    lists = [sorted({int(i) for i in finding.ids.dropna()}) for finding in matches]
    count = np.array([len(row) for row in lists], dtype=np.int64)
    among = np.array([finding.among for finding in matches], dtype=np.float64)
    result = pd.DataFrame(
        {
            "check": pd.Series([check.name for check in CHECKS], dtype="str"),
            "severity": pd.Categorical(
                [check.severity for check in CHECKS], categories=["error", "warning", "info"]
            ),
            "count": pd.array(count, dtype="Int64"),
            "share": np.divide(count, among, out=np.full(len(count), np.nan), where=among > 0),
            "ids": pd.Series(lists, dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
            "distorts": pd.Series([check.distorts for check in CHECKS], dtype="str"),
        }
    )
    return in_zone(result, tz)


def stages_at_100_percent(facts: Facts) -> Finding:
    """Find stages in which every deal is sure to be won: the default, which nobody changed.

    Among the stages that are not deleted, nor known to be of a pipeline whose probabilities are
    switched off.
    """
    stages = facts.stages
    there = _as_it_was(stages, facts)
    if "is_deleted" in stages.columns:
        there &= ~equals(stages, "is_deleted", True)
    if facts.pipelines is not None:
        off = equals(facts.pipelines, "is_deal_probability_enabled", False) | ~_as_it_was(
            facts.pipelines, facts
        )
        there &= ~ids(stages, "pipeline_id").isin(ids(facts.pipelines, "id")[off]).to_numpy()
    sure = amounts(stages, "deal_probability") == 100
    return Finding(ids(stages, "id")[there & sure], int(there.sum()))


def open_past_close_date(facts: Facts) -> Finding:
    """Find open deals whose expected close lies before the day of `as_of`; among open deals."""
    is_open = facts.judged_in(OPEN)
    return _deals(
        facts,
        is_open & (dates(facts.deals, "expected_close_date") < _today(facts)).to_numpy(),
        is_open,
    )


def open_untouched(facts: Facts) -> Finding:
    """Find open deals that were neither updated nor moved for longer than `untouched`; among open
    deals.
    """
    is_open = facts.judged_in(OPEN)
    touched = times(facts.deals, "update_time", facts.tz).fillna(facts.known.created)
    last = times(facts.visits, "entered_at", facts.tz).groupby(ids(facts.visits, "deal_id")).max()
    moved = lookup(ids(facts.deals, "id"), last)
    touched = touched.mask(moved > touched, moved)
    return _deals(facts, is_open & (days_between(touched, facts.now) > facts.untouched), is_open)


def open_without_value(facts: Facts) -> Finding:
    """Find open deals whose value is zero or null; among open deals."""
    return _worthless(facts, OPEN)


def won_without_value(facts: Facts) -> Finding:
    """Find won deals whose value is zero or null; among won deals."""
    return _worthless(facts, WON)


def closed_without_date(facts: Facts) -> Finding:
    """Find won and lost deals of which nothing tells when they were; among won and lost deals."""
    return _deals(facts, facts.judged & facts.known.undated(WON, LOST), facts.judged_in(WON, LOST))


def closed_before_created(facts: Facts) -> Finding:
    """Find deals won or lost before they were created; among won and lost deals.

    Where only the day of the close is known, before the day of the creation.
    """
    closed = facts.judged_in(WON, LOST)
    return _deals(facts, closed & facts.known.ended_before_created(facts.tz), closed)


def close_date_before_created(facts: Facts) -> Finding:
    """Find deals expected to close before the day on which they were created; among deals with an
    expected close.
    """
    expected = dates(facts.deals, "expected_close_date")
    dated = facts.judged & expected.notna().to_numpy()
    return _deals(
        facts, dated & (expected < local_date(facts.known.created, facts.tz)).to_numpy(), dated
    )


def value_differs_from_lines(facts: Facts) -> Finding:
    """Find deals whose value is not what their line items add up to; among deals with lines in the
    deal's currency.

    See `line_values` for what lines add up to.
    """
    observed = (
        facts.judged
        & facts.with_lines
        & ~np.isnan(amounts(facts.deals, "value"))
        & ~_foreign(facts)
    )
    deals, matches = facts.deals[observed], np.zeros(len(observed), dtype=np.bool_)
    matches[observed] = differs(
        ids(deals, "id"), amounts(deals, "value"), facts.lines, facts.discounts
    )
    return _deals(facts, matches, observed)


def currency_differs_from_lines(facts: Facts) -> Finding:
    """Find deals with a line item in another currency than the deal's; among deals with lines."""
    observed = facts.judged & facts.with_lines
    return _deals(facts, observed & _foreign(facts), observed)


def mixed_currencies(facts: Facts) -> Finding:
    """Find deals in another currency than most deals of their pipeline; among deals that have a
    currency.

    Of currencies equally common, the first by alphabet is taken for the pipeline's.
    """
    observed = facts.judged & facts.deals["currency"].notna().to_numpy()
    deals = pd.DataFrame(
        {
            "pipeline": ids(facts.deals, "pipeline_id"),
            "currency": facts.deals["currency"].astype("str"),
        }
    )[observed]
    counts = (
        deals.value_counts()
        .rename("n")
        .reset_index()
        .sort_values(["n", "currency"], ascending=[False, True], kind="stable")
    )
    usual = lookup(
        deals["pipeline"], counts.drop_duplicates("pipeline").set_index("pipeline")["currency"]
    )
    matches = np.zeros(len(observed), dtype=np.bool_)
    matches[observed] = ((deals["currency"] != usual) & deals["pipeline"].notna()).to_numpy(
        np.bool_
    )
    return _deals(facts, matches, observed)


def stage_history_inexact(facts: Facts) -> Finding:
    """Find deals whose way through the stages is not known exactly; among all deals.

    No visit known by then tells of them, or one that neither comes from their changelog nor began
    with the deal.
    """
    visits, own = facts.visits, ids(facts.deals, "id")
    begun, deal = times(visits, "entered_at", facts.tz), ids(visits, "deal_id")
    created = pd.Series(facts.known.created.to_numpy(), index=pd.Index(own), dtype=begun.dtype)
    first = (begun == lookup(deal, created[~created.index.duplicated()])) & times(
        visits, "entered_after", facts.tz
    ).isna()
    exact = equals(visits, "source", "changelog") | first.to_numpy(np.bool_)
    known = own.isin(deal) & ~own.isin(deal[~exact])
    return _deals(facts, facts.alive & ~known.to_numpy(np.bool_), facts.alive)


def stage_history_disagrees(facts: Facts) -> Finding:
    """Find deals whose status, stage or pipeline is not that of their last stay; among deals of
    which a stay tells how it is.
    """
    last = _last_visits(facts)
    if last is None:
        return _nothing()
    observed = facts.judged & ~deleted_rows(facts.deals) & last["told"].notna().to_numpy()
    differs_in_state = last["told"].to_numpy(np.float64, na_value=np.nan) != facts.known.state
    for column in ("stage_id", "pipeline_id"):
        if column in last and column in facts.deals.columns:
            differs_in_state |= (
                (last[column] != ids(facts.deals, column)).fillna(False).to_numpy(np.bool_)
            )
    return _deals(facts, observed & differs_in_state, observed)


def close_time_disagrees(facts: Facts) -> Finding:
    """Find deals won or lost at another time than their last stay ended; among those whose stay
    ended as their status says.

    The end of a deal that was moved or restored after it was closed is that closing. A closing that
    is dated by hand after the click is one: the changelog and the looks tell when that was. Times
    up to `SAME_TIME` apart agree; where the stay's end is bounded, any time within the bounds does;
    where only the day of the closing is told, that day does.
    """
    last = _last_visits(facts)
    if last is None:
        return _nothing()
    known = facts.known
    same = last["told"].to_numpy(np.float64, na_value=np.nan) == known.state
    observed = facts.judged_in(WON, LOST) & ~deleted_rows(facts.deals) & same
    observed &= known.ended.notna().to_numpy() & last["left_at"].notna().to_numpy()
    end, latest = known.ended, last["left_at"]
    earliest = last["left_after"].fillna(latest)
    apart = (end < earliest - SAME_TIME) | (end > latest + SAME_TIME)
    day, first, final = (local_date(instants, facts.tz) for instants in (end, earliest, latest))
    apart = apart.mask(known.day_alone, (day < first) | (day > final))
    return _deals(facts, observed & apart.to_numpy(np.bool_), observed)


def created_in_bulk(facts: Facts) -> Finding:
    """Find deals of which at least `BULK` were created in one second: an import, whose `add_time`
    says nothing of when they began.

    Among deals that say when they were created.
    """
    observed = facts.alive & facts.known.created.notna().to_numpy()
    second = facts.known.created[observed].dt.floor("s")
    matches = np.zeros(len(observed), dtype=np.bool_)
    matches[observed] = (second.groupby(second).transform("size") >= BULK).to_numpy(np.bool_)
    return _deals(facts, matches, observed)


CHECKS = (
    Check(
        "stages_at_100_percent",
        "warning",
        "weighted pipeline: open deals in these stages count in full",
        stages_at_100_percent,
    ),
    Check(
        "open_past_close_date",
        "warning",
        "weighted pipeline and forecast by period: due in a period that is over",
        open_past_close_date,
    ),
    Check(
        "open_untouched",
        "warning",
        "open counts, weighted pipeline, days in stage: nobody works on them",
        open_untouched,
    ),
    Check(
        "open_without_value",
        "warning",
        "weighted pipeline and forecast: too low",
        open_without_value,
    ),
    Check(
        "won_without_value",
        "warning",
        "mean value of a win, sales velocity: too low",
        won_without_value,
    ),
    Check(
        "closed_without_date",
        "error",
        "win rate, sales velocity, won by month: left out of them",
        closed_without_date,
    ),
    Check(
        "closed_before_created",
        "error",
        "days to win, sales velocity, win rate by creation: negative durations",
        closed_before_created,
    ),
    Check(
        "close_date_before_created",
        "warning",
        "weighted pipeline and forecast by period: typed wrongly or imported",
        close_date_before_created,
    ),
    Check(
        "value_differs_from_lines",
        "error",
        "deal values against product and recurring revenue",
        value_differs_from_lines,
    ),
    Check(
        "currency_differs_from_lines",
        "error",
        "product and recurring revenue by currency",
        currency_differs_from_lines,
    ),
    Check(
        "mixed_currencies",
        "info",
        "sums and means of value: keep currency as a key or give rates",
        mixed_currencies,
    ),
    Check(
        "stage_history_inexact",
        "info",
        "funnel, stage velocity, deal aging: load account.deal_changes(ids), 20 tokens a deal",
        stage_history_inexact,
    ),
    Check(
        "stage_history_disagrees",
        "error",
        "funnel, stage velocity, deal aging against win rate and open counts: stays and deals tell"
        " two stories",
        stage_history_disagrees,
    ),
    Check(
        "close_time_disagrees",
        "warning",
        "days to win, sales velocity, won by month against funnel and stage velocity: a closing"
        " dated by hand",
        close_time_disagrees,
    ),
    Check(
        "created_in_bulk",
        "warning",
        "days to win, sales velocity, win rate by creation, cohorts: created by an import, not when"
        " they began",
        created_in_bulk,
    ),
)
"""Every check, in the order of the result's rows."""


def _as_it_was(frame: pd.DataFrame, facts: Facts) -> Flags:
    """Return which rows neither came nor changed after `now`."""
    late = [
        (times(frame, column, facts.tz) > facts.now).to_numpy()
        for column in ("add_time", "update_time")
    ]
    return ~np.logical_or(*late)


def _last_visits(facts: Facts) -> pd.DataFrame | None:
    """Return, a row a deal, what its last stay known by `now` tells; None where `visits` does not
    tell how stays end.

    `reported` is its state, null where no stay is known, or the last one led to a stay that is not
    known. `left_at` and `left_after` tell since when: a closed deal that was only moved, or was
    restored, since it was closed is so since before. Times are UTC.
    """
    visits, tz = facts.visits, facts.tz
    if not {"left_at", "end"} <= {*visits.columns}:
        return None
    frame = pd.DataFrame(
        {"deal": ids(visits, "deal_id"), "entered_at": times(visits, "entered_at", tz)}
    )
    left = times(visits, "left_at", tz)
    still = left.isna() | (left > facts.now)
    frame["left_at"] = left.mask(still)
    after = (
        times(visits, "left_after", tz)
        if "left_after" in visits.columns
        else pd.Series(pd.NaT, visits.index, dtype=left.dtype)
    )
    frame["left_after"] = after.mask(still)
    reported = pd.Series(pd.NA, visits.index, dtype="Int64")
    for word, state in _REPORTED.items():
        reported = reported.mask(equals(visits, "end", word), state)
    frame["told"] = reported.mask(still, OPEN)
    for column in ("stage_id", "pipeline_id"):
        if column in visits.columns:
            frame[column] = ids(visits, column)
    code = {state: ENDS.index(word) for word, state in _REPORTED.items()}
    end = np.asarray(frame["told"].map(code).to_numpy(np.int64, na_value=NO_ID), np.int64)
    deal = np.asarray(frame["deal"].to_numpy(np.int64, na_value=NO_ID), np.int64)
    entered, closed = (
        np.asarray(frame[name].to_numpy("datetime64[us]").view(np.int64), np.int64)
        for name in ("entered_at", "left_at")
    )
    visit = plain_ids(visits["visit"]) if "visit" in visits.columns else np.arange(len(frame))
    order = by_time(deal, entered, np.where(closed == NULL, NEVER, closed), end, visit)
    frame, end, deal, entered, closed = (
        frame.iloc[order],
        end[order],
        deal[order],
        entered[order],
        closed[order],
    )
    places = [
        (
            np.asarray(frame[name].to_numpy(np.int64, na_value=NO_ID), np.int64)
            if name in frame
            else np.zeros(len(frame), np.int64)
        )
        for name in ("stage_id", "pipeline_id")
    ]
    since = stands(end, changes_of_closed(deal, entered, closed, end), *places)[1]
    for name in ("left_at", "left_after"):
        frame[name] = frame[name].array.take(since)
    last = frame.drop_duplicates("deal", keep="last")
    return (
        last.set_index("deal").reindex(pd.Index(ids(facts.deals, "id"))).set_axis(facts.deals.index)
    )


def _nothing() -> Finding:
    return Finding(pd.Series(dtype="Int64"), 0)


def _deals(facts: Facts, matches: Flags, observed: Flags) -> Finding:
    return Finding(ids(facts.deals, "id")[matches], int(observed.sum()))


def _worthless(facts: Facts, state: int) -> Finding:
    observed, value = facts.judged_in(state), amounts(facts.deals, "value")
    return _deals(facts, observed & (np.isnan(value) | (value == 0)), observed)


def _today(facts: Facts) -> pd.Timestamp:
    """Return the day of `as_of`."""
    today: pd.Timestamp = local_date(pd.Series([facts.now]), facts.tz).iloc[0]
    return today


def _foreign(facts: Facts) -> Flags:
    """Return which deals have a line in another currency; a currency that is missing is no other
    one.
    """
    own = pd.Series(
        facts.deals["currency"].astype("str").to_numpy(), index=pd.Index(ids(facts.deals, "id"))
    )
    deal, currency = ids(facts.lines, "deal_id"), facts.lines["currency"].astype("str")
    theirs = lookup(deal, own[~own.index.duplicated()])
    other = (currency != theirs) & currency.notna() & theirs.notna()
    return ids(facts.deals, "id").isin(deal[other.to_numpy(np.bool_)]).to_numpy()


def _later(
    frame: pd.DataFrame, columns: tuple[str, ...], now: pd.Timestamp, tz: str
) -> pd.Series[Any]:
    """Return the deals of rows that came or changed after `now`."""
    late = np.zeros(len(frame), dtype=np.bool_)
    for column in columns:
        late |= (times(frame, column, tz) > now).to_numpy()
    return ids(frame, "deal_id")[late]

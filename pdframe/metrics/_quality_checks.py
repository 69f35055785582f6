"""The checks of data quality: one a function, all of them in `CHECKS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from pdframe.metrics._arguments import NULL, local_days
from pdframe.metrics._columns import NO_ID, Flags, Ints, amounts, equals, plain_ids
from pdframe.metrics._line_values import differs
from pdframe.metrics._quality_facts import NO_STATE, Facts, at_any
from pdframe.metrics._states import LOST, OPEN, WON, deleted_rows

BULK = 10
"""Number of deals created in one second that counts as an import: people do not type that fast, and
integrations rarely write that fast.
"""

SAME_TIME = 60_000_000
"""Microseconds by which a visit and its deal may differ about a closing: the clocks of two servers,
rounded to a second.
"""

_SECOND = 1_000_000
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Finding:
    """The ids that a check reports, and how many rows it checked."""

    ids: Ints
    among: int


@dataclass(frozen=True)
class Check:
    """A check: its name, how bad a finding is, which numbers it distorts, and its function."""

    name: str
    severity: Literal["error", "warning", "info"]
    distorts: str
    run: Callable[[Facts], Finding]


def stages_at_100_percent(facts: Facts) -> Finding:
    """Find stages in which every deal is sure to be won: the unchanged default.

    It checks stages that are not deleted, and whose pipeline is not known to have its probabilities
    switched off.
    """
    stages = facts.stages
    checked = facts.as_it_was(stages)
    if "is_deleted" in stages.columns:
        checked &= ~equals(stages, "is_deleted", True)
    if facts.pipelines is not None:
        off = equals(facts.pipelines, "is_deal_probability_enabled", False) | ~facts.as_it_was(
            facts.pipelines
        )
        checked &= ~np.isin(plain_ids(stages["pipeline_id"]), plain_ids(facts.pipelines["id"])[off])
    sure = amounts(stages, "deal_probability") == 100
    return Finding(plain_ids(stages["id"])[checked & sure], int(checked.sum()))


def open_past_close_date(facts: Facts) -> Finding:
    """Find open deals whose expected close is before the day of `as_of`; it checks open deals."""
    is_open = facts.judged_in(OPEN)
    past = (facts.expected != NULL) & (facts.expected < facts.today)
    return _deals(facts, is_open & past, is_open)


def open_untouched(facts: Facts) -> Finding:
    """Find open deals with neither an update nor a move for longer than `untouched`; it checks open
    deals.
    """
    is_open = facts.judged_in(OPEN)
    touched = np.where(facts.updated == NULL, facts.created, facts.updated)
    moved = np.append(facts.visits.entered, NULL)[facts.visits.newest]
    touched = np.where(touched == NULL, NULL, np.maximum(touched, moved))
    idle = (facts.now - touched) / _SECOND / _SECONDS_A_DAY
    return _deals(facts, is_open & (touched != NULL) & (idle > facts.untouched), is_open)


def open_without_value(facts: Facts) -> Finding:
    """Find open deals whose value is zero or null; it checks open deals."""
    return _worthless(facts, OPEN)


def won_without_value(facts: Facts) -> Finding:
    """Find won deals whose value is zero or null; it checks won deals."""
    return _worthless(facts, WON)


def closed_without_date(facts: Facts) -> Finding:
    """Find won and lost deals with neither a time nor a day of that; it checks won and lost
    deals.
    """
    closed = facts.judged_in(WON, LOST)
    return _deals(facts, closed & (facts.ended == NULL), closed)


def closed_before_created(facts: Facts) -> Finding:
    """Find deals won or lost before they were created; it checks won and lost deals.

    Where only the day of the close is known, that day is before the day of the creation.
    """
    closed = facts.judged_in(WON, LOST)
    return _deals(facts, closed & facts.known.ended_before_created(facts.tz), closed)


def close_date_before_created(facts: Facts) -> Finding:
    """Find deals expected to close before the day on which they were created; it checks deals with
    an expected close.
    """
    dated = facts.judged & (facts.expected != NULL)
    early = facts.expected < local_days(facts.created, facts.tz)
    return _deals(facts, dated & early, dated)


def value_differs_from_lines(facts: Facts) -> Finding:
    """Find deals whose value is not the total of their line items; it checks deals with lines in
    the deal's currency.

    See `_line_values` for the total of lines.
    """
    checked = facts.judged & facts.with_lines & ~np.isnan(facts.value) & ~facts.foreign
    wrong = np.zeros(len(checked), dtype=np.bool_)
    wrong[checked] = differs(
        facts.deal[checked], facts.value[checked], facts.lines, facts.discounts
    )
    return _deals(facts, wrong, checked)


def currency_differs_from_lines(facts: Facts) -> Finding:
    """Find deals with a line item in another currency than the deal's; it checks deals with
    lines.
    """
    checked = facts.judged & facts.with_lines
    return _deals(facts, checked & facts.foreign, checked)


def mixed_currencies(facts: Facts) -> Finding:
    """Find deals in another currency than most deals of their pipeline; it checks deals that have a
    currency.

    Of currencies equally common, the first by alphabet counts as the pipeline's.
    """
    own = facts.currencies[0]
    checked = facts.judged & (own >= 0)
    pipeline = plain_ids(facts.deals["pipeline_id"])
    rows = np.flatnonzero(checked & (pipeline != NO_ID))
    place, pipelines = pd.factorize(pipeline[rows])
    size = int(own.max(initial=0)) + 1
    # One number a pipeline and currency; the currencies are in the order of the alphabet.
    pair, pairs = pd.factorize(place * size + own[rows])
    count = np.bincount(pair, minlength=len(pairs))
    order = np.lexsort((-pairs, count))
    usual = np.zeros(len(pipelines), np.int64)
    usual[pairs[order] // size] = pairs[order] % size
    return _deals(facts, rows[own[rows] != usual[place]], checked)


def stage_history_inexact(facts: Facts) -> Finding:
    """Find deals whose path through the stages is not known exactly; it checks all deals.

    They have no visit that was known by then, or one that neither their changelog reports nor began
    with the deal.
    """
    visits, size = facts.visits, len(facts.deal)
    created = np.append(facts.created, NULL)[visits.place]
    first = (visits.entered == created) & (created != NULL) & ~visits.bounded
    inexact = at_any(visits.place[~visits.logged & ~first], size)
    return _deals(facts, facts.alive & ((visits.newest < 0) | inexact), facts.alive)


def stage_history_disagrees(facts: Facts) -> Finding:
    """Find deals whose status, stage or pipeline is not that of their last visit; it checks deals
    whose visits say their state.
    """
    last = facts.visits.last
    if last is None:
        return Finding(np.zeros(0, np.int64), 0)
    checked = facts.judged & ~deleted_rows(facts.deals) & (last.state != NO_STATE)
    wrong = last.state != facts.known.state
    for column, place in last.places.items():
        if column in facts.deals.columns:
            own = plain_ids(facts.deals[column])
            wrong |= (own != place) & (own != NO_ID) & (place != NO_ID)
    return _deals(facts, checked & wrong, checked)


def close_time_disagrees(facts: Facts) -> Finding:
    """Find deals won or lost at another time than their last visit ended; it checks those whose
    visit ended as their status says.

    The visit of a deal that was moved or restored after its closing ended with that closing. A
    closing that was dated by hand after the click differs: the changelog and the snapshots have the
    time of the click. Times up to `SAME_TIME` apart agree; where the end of the visit is bounded,
    so does any time within the bounds; where only the day of the closing is known, that day.
    """
    last = facts.visits.last
    if last is None:
        return Finding(np.zeros(0, np.int64), 0)
    checked = facts.judged_in(WON, LOST) & ~deleted_rows(facts.deals)
    checked &= (last.state == facts.known.state) & (facts.ended != NULL) & (last.left_at != NULL)
    end, latest = facts.ended[checked], last.left_at[checked]
    earliest = last.left_after[checked]
    earliest = np.where(earliest == NULL, latest, earliest)
    differs_in_time = (end < earliest - SAME_TIME) | (end > latest + SAME_TIME)
    day_alone = facts.known.day_alone[checked]
    day, first, final = (
        local_days(values[day_alone], facts.tz) for values in (end, earliest, latest)
    )
    differs_in_time[day_alone] = (day < first) | (day > final)
    wrong = np.zeros(len(checked), np.bool_)
    wrong[checked] = differs_in_time
    return _deals(facts, wrong, checked)


def created_in_bulk(facts: Facts) -> Finding:
    """Find deals of which at least `BULK` were created in one second: an import, whose `add_time`
    does not say when they began.

    It checks deals that say when they were created.
    """
    checked = facts.alive & (facts.created != NULL)
    second, seconds = pd.factorize(facts.created[checked] // _SECOND)
    wrong = np.zeros(len(checked), dtype=np.bool_)
    wrong[checked] = (np.bincount(second, minlength=len(seconds)) >= BULK)[second]
    return _deals(facts, wrong, checked)


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
        "open counts, weighted pipeline, days in stage: inactive deals count in full",
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
        "funnel, stage velocity, deal aging: load account.deal_changes(ids), 20 tokens per deal",
        stage_history_inexact,
    ),
    Check(
        "stage_history_disagrees",
        "error",
        "funnel, stage velocity, deal aging against win rate and open counts: visits and deals"
        " disagree",
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


def _deals(facts: Facts, wrong: Flags | Ints, checked: Flags) -> Finding:
    """Return the ids of these deals, or rows, among those checked."""
    return Finding(facts.deal[wrong], int(np.count_nonzero(checked)))


def _worthless(facts: Facts, state: int) -> Finding:
    checked, value = facts.judged_in(state), facts.value
    return _deals(facts, checked & (np.isnan(value) | (value == 0)), checked)

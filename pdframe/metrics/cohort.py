"""The deals of a funnel: when each entered the pipeline, which stages it reached, and what happened
then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal, TypeAlias, get_args

import numpy as np
import pandas as pd

from pdframe._advice import did_you_mean
from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import (
    DAY,
    NULL,
    check_choice,
    grouped,
    keys,
    micros,
    moment,
    require_columns,
    to_micros,
    window,
    zone_of,
)
from pdframe.metrics._columns import NO_ID, equals, ids, one_row_each, places, plain_ids
from pdframe.metrics._grouping import attributes
from pdframe.metrics._known_at import (
    CHANGED_PIPELINE,
    CHANGELOG,
    DELETED,
    LOST,
    NEVER,
    VISITS,
    WON,
    KnownVisits,
    real_visits,
)
from pdframe.metrics._states import Deleted
from pdframe.metrics._survival import Flags, Floats, Ints

Skipped: TypeAlias = Literal["implied", "touched", "strict"]
Time: TypeAlias = str | date | pd.Timestamp | pd.Period

STATES = ("advanced", "lost", "left", "open")
IN_ADVANCE, IN_LOST, IN_LEFT, IN_OPEN = range(4)

# Days. A deal that a snapshot shows this soon after it entered counts as seen from the start: daily
# snapshots miss no deal for long.
_SOON = 1.0


@dataclass(frozen=True, slots=True)
class Reached:
    """The deals that reached one stage, and what happened then.

    Parameters
    ----------
    deal
        Row of each in the cohort.
    at
        When it reached the stage (microseconds, like all times here).
    advanced
        When it advanced; `NEVER` where it did not.
    state, state_at
        Number in `STATES`, and since when; for open the end of what is known.
    outcome, outcome_at
        The same with winning in place of advancing.
    entry
        Days from reaching the stage to the start of observation; 0: from the start; infinite: the
        time of reaching it is unknown.
    """

    deal: Ints
    at: Ints
    advanced: Ints
    state: Ints
    state_at: Ints
    outcome: Ints
    outcome_at: Ints
    entry: Floats

    @property
    def days(self) -> Floats:
        """Days from reaching the stage to `state_at`."""
        return (self.state_at - self.at) / DAY

    @property
    def outcome_days(self) -> Floats:
        """Days from reaching the stage to `outcome_at`."""
        return (self.outcome_at - self.at) / DAY


@dataclass(frozen=True, slots=True)
class Cohort:
    """Deals whose first visit to the pipeline began in the window, by id.

    Parameters
    ----------
    stages
        Id, order_nr and name of the pipeline's stages in their order, then a row for `won` with
        null id and order.
    deal
        Ids.
    keys, group
        The columns of `by`, one row per group; each deal's group.
    real_visits
        One row per stage, one column per deal: its first visit, `NEVER` where there is none.
    won
        When it was won in the pipeline, if it is won at the end of what is known; else `NEVER`.
    state, state_at
        Its final state there, a number in `STATES`; meaningless where it was won.
    seen
        When it was first seen.
    before
        Number of stages before the one in which a snapshot first showed it: if it reached them, the
        time is unknown.
    skipped
        The rule for reaching a stage.
    tz
        The timezone of naive times and bare dates.
    uncertain
        Number of deals whose changelogs would tell who belongs to the window; 0: it is certain.
    """

    stages: pd.DataFrame
    deal: Ints
    keys: pd.DataFrame
    group: Ints
    visited: Ints
    won: Ints
    state: Ints
    state_at: Ints
    seen: Ints
    before: Ints
    skipped: Skipped
    tz: str
    uncertain: int = 0

    def reached(self) -> Iterator[Reached]:
        """Yield each stage in its order, then the win."""
        count = len(self.visited)
        # First visit to a later stage, or the win; computed from the last stage, since every stage
        # needs those after it.
        later = np.empty_like(self.visited)
        ahead = self.won
        for place in range(count - 1, -1, -1):
            later[place] = ahead
            ahead = np.minimum(ahead, self.visited[place])
        passed = np.zeros(len(self.deal), np.int64)
        for place in range(count):
            at = self.visited[place]
            if self.skipped == "implied":
                at = np.minimum(at, later[place])
            elif self.skipped == "strict":
                at = passed = np.maximum(passed, at)
            yield self._of(at, later[place], place)
        yield self._of(np.maximum(passed, self.won), self.won, count)

    def _of(self, at: Ints, later: Ints, place: int) -> Reached:
        deal = np.flatnonzero(at != NEVER)
        at, later, won, state = at[deal], later[deal], self.won[deal], self.state[deal]
        state_at = np.maximum(self.state_at[deal], at)
        moved, closed = later != NEVER, won != NEVER
        advanced = np.where(moved, np.maximum(later, at), NEVER)
        entry = np.where(self.before[deal] > place, np.inf, (self.seen[deal] - at) / DAY)
        return Reached(
            deal,
            at,
            advanced,
            np.where(moved, IN_ADVANCE, state),
            np.where(moved, advanced, state_at),
            np.where(closed, IN_ADVANCE, state),
            np.where(closed, np.maximum(won, at), state_at),
            np.where(entry > _SOON, entry, 0.0),
        )


def cohort(
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    as_of: Time,
    pipeline_id: int | str | None,
    since: Time | None,
    until: Time | None,
    by: str | Sequence[str] | None,
    deals: pd.DataFrame | None,
    skipped: Skipped,
    deleted: Deleted,
    tz: str | None,
    columns: Sequence[str],
) -> Cohort:
    """Read the arguments of a funnel, whose own columns are `columns`; warn of what the visits do
    not show.
    """
    tz = zone_of(tz, visits, stages, deals)
    visits = require_columns(visits, "visits", VISITS)
    stages = require_columns(stages, "stages", ("id", "order_nr", "name", "pipeline_id"))
    names = keys(by, columns, visits, deals)
    check_choice("skipped", skipped, get_args(Skipped))
    now = moment(as_of, tz, "as_of", end_of_day=True)
    start, end = window(since, until, tz)
    known_visits = real_visits(visits, now, tz, deleted)
    pipelines = plain_ids(visits["pipeline_id"])
    known_in = known_visits.of(pipelines)
    pipeline = pipeline_of(pipeline_id, known_in, stages)
    own = own_stages(stages, pipeline)
    inside = np.flatnonzero(known_in == pipeline)
    inside = inside[entered(known_visits.deal[inside], known_visits.entered[inside], start, end)]
    rows, deal = known_visits.rows[inside], known_visits.deal[inside]
    new = np.ones(len(deal), bool)
    new[1:] = deal[1:] != deal[:-1]
    first = np.flatnonzero(new)
    number = np.cumsum(new) - 1
    place = places(plain_ids(own["stage_id"].iloc[:-1]), plain_ids(visits["stage_id"])[rows])
    members = known_visits.deal[inside[first]]
    count = len(own) - 1
    reached = np.full((count, len(members)), NEVER)
    # In reverse, so that the first visit is written last and remains.
    at = np.flatnonzero(place >= 0)[::-1]
    reached[place[at], number[at]] = known_visits.entered[inside[at]]
    last = inside[np.append(first[1:], len(inside)) - 1 if len(first) else first]
    # A closing that was undone is not an event: a deal that is elsewhere by now left this pipeline,
    # however its last visit here ended.
    elsewhere = ~known_visits.last[last]
    after = np.where(elsewhere, last + 1, last)
    became = np.where(elsewhere, CHANGED_PIPELINE, known_visits.became[last])
    became_at = np.where(elsewhere, known_visits.entered[after], known_visits.became_at[last])
    won = np.where(became == WON, became_at, NEVER)
    state = np.select(
        [became == LOST, (became == CHANGED_PIPELINE) | (became == DELETED)],
        [IN_LOST, IN_LEFT],
        IN_OPEN,
    )
    state_at = np.where(state == IN_OPEN, to_micros(now), became_at)
    group_of = grouped(attributes(visits, known_visits, deals, names, inside[first]), names)
    opening = np.searchsorted(known_visits.deal, members)
    observed = (known_visits.source[opening] != CHANGELOG) & (opening == inside[first])
    before = np.where(observed, np.maximum(place[first], 0), 0)
    matches = Cohort(
        own,
        members,
        group_of[1],
        group_of[0],
        reached,
        won,
        state,
        state_at,
        known_visits.seen[opening],
        before,
        skipped,
        tz,
    )
    removed = became == DELETED
    late = observed & (
        (place[first] > 0)
        | (known_visits.seen[opening] - known_visits.entered[opening] > _SOON * DAY)
    )
    entered_after, left_after = (
        micros(visits[name], tz, name) for name in ("entered_after", "left_after")
    )
    bounded = (entered_after[rows] != NULL) | (
        (left_after[known_visits.closing[inside]] != NULL) & (known_visits.left[inside] != NEVER)
    )
    unclear = np.zeros(len(members), np.bool_)
    unclear[number[bounded]] = True
    stage = plain_ids(visits["stage_id"])
    uncertain = warn_of_window(known_visits, stage, own, members, start, end, tz)
    if not uncertain:
        _warn_of_cost(int(((late | unclear) & ~removed).sum()))
    _warn_of_late(matches, int(late.sum()), int((late & removed).sum()))
    _warn_of_bounds(int(unclear.sum()), len(members), int((unclear & removed).sum()))
    warn_of_unseen(known_visits, pipelines == pipeline)
    _warn_of_missing_stages(int((place < 0).sum()))
    return replace(matches, uncertain=uncertain)


def pipeline_of(given: int | str | None, visited: Ints, stages: pd.DataFrame) -> int:
    """Return the given pipeline, else the only one of the known visits, or of the stages.

    `given` is an id, or a name where `stages` has pipeline_name.
    """
    there = plain_ids(stages["pipeline_id"])
    if isinstance(given, str):
        return _named_pipeline(given, there, stages)
    if given is not None:
        # A row of a frame of numbers contains integers as floats.
        full = isinstance(given, float | np.floating) and float(given).is_integer()
        if isinstance(given, bool) or not (full or isinstance(given, int | np.integer)):
            raise ArgumentError(
                f"pipeline_id={given!r} is not the id of a pipeline. The pipelines of stages are"
                f" {_listed(there)}; account.pipelines() has their names. Of several, make one call"
                " each: their stages have no common order."
            )
        if int(given) not in there:
            raise ArgumentError(
                f"stages has none of pipeline {int(given)}; it has those of"
                f" {_listed(there, stages)}."
            )
        return int(given)
    kept = visited if len(visited) else there
    kept = (
        kept[:1]
        if len(kept) and kept[0] != NO_ID and (kept == kept[0]).all()
        else np.unique(kept[kept != NO_ID])
    )
    if len(kept) != 1:
        raise ArgumentError(
            "Pass pipeline_id: stages of several pipelines have no common order. The pipelines"
            f" are {_listed(kept, stages)}."
        )
    if kept[0] not in there:
        raise ArgumentError(
            f"stages has none of pipeline {kept[0]}, to which the visits belong; it has those of"
            f" {_listed(there)}."
        )
    return int(kept[0])


def _named_pipeline(given: str, there: Ints, stages: pd.DataFrame) -> int:
    """Return the id of the pipeline of this name."""
    if "pipeline_name" not in stages.columns:
        raise ArgumentError(
            f"pipeline_id={given!r} is a name, and stages has no column 'pipeline_name'. Pass"
            f" account.stages(), or an id: {_listed(there)}."
        )
    names = stages["pipeline_name"].astype("str").str.strip().str.casefold()
    matches = np.unique(there[(names == given.strip().casefold()).fillna(False).to_numpy(bool)])
    if len(matches) == 1:
        return int(matches[0])
    if len(matches):
        raise ArgumentError(
            f"Several pipelines are called {given!r}. Pass the id of one: {_listed(matches)}."
        )
    known = stages["pipeline_name"].dropna().unique().tolist()
    hint = did_you_mean(given, known) or f"There are: {', '.join(map(repr, known))}."
    raise ArgumentError(f"stages has no pipeline {given!r}. {hint}")


def entered(
    deal: Ints, entered: Ints, start: pd.Timestamp | None, end: pd.Timestamp | None
) -> Flags:
    """Return which visits are of deals whose first one, in order of deal and time, began in [start,
    end).
    """
    new = np.ones(len(deal), bool)
    new[1:] = deal[1:] != deal[:-1]
    received = entered[new]
    taken = np.ones(len(received), bool)
    if start is not None:
        taken &= received >= to_micros(start)
    if end is not None:
        taken &= received < to_micros(end)
    matches: Flags = taken[np.cumsum(new) - 1]
    return matches


def _listed(values: Ints, stages: pd.DataFrame | None = None) -> str:
    """Return ids of pipelines, with their names where `stages` has those."""
    names: dict[int, str] = {}
    if stages is not None and "pipeline_name" in stages.columns:
        named = stages.dropna(subset="pipeline_name")
        names = dict(zip(plain_ids(named["pipeline_id"]), named["pipeline_name"], strict=True))
    shown = [
        f"{value} ({names[value]!r})" if value in names else str(value)
        for value in np.unique(values).tolist()
        if value != NO_ID
    ]
    return ", ".join(shown) or "none"


def own_stages(stages: pd.DataFrame, pipeline: int) -> pd.DataFrame:
    """Return id, name and order of the pipeline's stages in their order, then a row for `won`."""
    own = stages[plain_ids(stages["pipeline_id"]) == pipeline]
    if "is_deleted" in own:
        own = own[~equals(own, "is_deleted", True)]
    own = pd.DataFrame(
        {
            "stage_id": one_row_each(own, "stages"),
            "stage": own["name"].astype("str"),
            "order_nr": ids(own, "order_nr"),
        }
    ).sort_values(["order_nr", "stage_id"], na_position="last")
    won = pd.DataFrame({"stage_id": [None], "stage": ["won"], "order_nr": [None]}).astype(
        own.dtypes.to_dict()
    )
    both: pd.DataFrame = pd.concat([own, won], ignore_index=True)
    return both


def warn_of_unseen(known_visits: KnownVisits, of_pipeline: Flags) -> None:
    """Warn of deals that were first seen after as_of; `of_pipeline` is of all rows of visits."""
    late = of_pipeline[known_visits.hidden]
    late = late & ~np.isin(known_visits.hidden_deal, known_visits.deal) if late.any() else late
    if late.any():
        unseen, until = (
            len(np.unique(known_visits.hidden_deal[late])),
            pd.Timestamp(int(known_visits.hidden_seen[late].max()), unit="us"),
        )
        warn(
            f"{unseen:,} deals had entered by as_of but were first seen after it, the last at"
            f" {until:%Y-%m-%d %H:%M:%S} UTC, and are left out: a snapshot shows only deals that"
            f" were still there. Pass a later as_of, or {remedy(unseen)}"
        )


def warn_of_window(
    known_visits: KnownVisits,
    stage: Ints,
    own: pd.DataFrame,
    members: Ints,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    tz: str,
) -> int:
    """Warn where a changelog may move deals into the window [start, end) of the first visit, or out
    of it; return how many changelogs would tell, 0 where none can.

    A snapshot shows only the stage of its time: the visit that it dates may follow others.

    Parameters
    ----------
    stage
        Id of the stage of each row of visits.
    own
        The pipeline's stages, from `own_stages`.
    members
        Ids of the deals whose first known visit lies in the window.
    """
    if (start is None and end is None) or not len(known_visits.deal):
        return 0
    last = np.flatnonzero(known_visits.last)
    first = np.append(0, last[:-1] + 1)
    place = places(plain_ids(own["stage_id"].dropna()), stage[known_visits.rows[first]])
    entered = known_visits.entered[first]
    unsure = (known_visits.source[first] != CHANGELOG) & (known_visits.became[last] != DELETED)
    earlier = unsure & ((place > 0) | (known_visits.seen[first] - entered > _SOON * DAY))
    here = np.isin(known_visits.deal[first], members)
    leaving, joining = earlier & here, earlier & ~here
    call = "account.deal_changes()"
    if start is None:
        # A first visit before the end is there whatever was before it.
        leaving[:] = False
    else:
        joining &= entered >= to_micros(start)
        unsure &= known_visits.entered[last] >= to_micros(start)
        local = start.tz_convert(tz)
        form = "%Y-%m-%d" if local == local.normalize() else "%Y-%m-%d %H:%M"
        call = f"account.deal_changes(since={local.strftime(form)!r})"
    if not leaving.any() and not joining.any():
        return 0
    count = int(unsure.sum())
    may = [
        f"{int(leaving.sum()):,} of the {len(members):,} deals here may have entered the pipeline"
        " before the window"
    ] * bool(leaving.any())
    may += [
        f"{int(joining.sum()):,} deals that are not here may have entered within it, and changelogs"
        " of the deals here do not add them"
    ] * bool(joining.any())
    warn(
        f"The deals of this window are uncertain without changelogs: {call}, {count:,}"
        f" deal{'' if count == 1 else 's'}, {20 * count:,} tokens. A deal without one counts from"
        f" when it entered the stage in which it was first seen: {'; '.join(may)}."
    )
    return count


def _warn_of_missing_stages(visits: int) -> None:
    """Warn of visits to stages that `stages` lacks."""
    if visits:
        warn(
            f"{visits:,} visits are to stages that `stages` lacks (perhaps deleted). Their order"
            " in the pipeline is unknown: they count as visits to the pipeline and for the end of"
            " a deal, but for no stage."
        )


_BEFORE = {
    "implied": "stages before the first one seen count as reached together with it",
    "touched": "stages visited earlier count as not visited",
    "strict": "stages visited earlier, and all after those, count as not reached",
}


def _warn_of_cost(deals: int) -> None:
    """Say what the changelogs of these deals cost."""
    if deals:
        warn(
            f"Exact rates need changelogs of this cohort: {deals:,}"
            f" deal{'' if deals == 1 else 's'}, {20 * deals:,} tokens: account.deal_changes(ids),"
            " where ids is the column deal_id of metrics.funnel_deals with the same arguments."
        )


def _warn_of_late(matches: Cohort, late: int, removed: int) -> None:
    """Warn of deals whose path up to the first snapshot is unknown; `removed` of them are
    deleted.
    """
    if late:
        warn(
            f"{late:,} of {len(matches.deal):,} deals {'is' if late == 1 else 'are'} known from"
            " snapshots alone, which begin after the deal was created. Earlier stages are unknown:"
            f" {_BEFORE[matches.skipped]}, and rates follow such a deal only from its first"
            f" snapshot on, and from the stage that it shows.{_deleted(late, removed)}"
        )


def _warn_of_bounds(bounded: int, deals: int, removed: int) -> None:
    """Warn of deals with times that are only bounded; `removed` of them are deleted."""
    if bounded:
        warn(
            f"{bounded:,} of {deals:,} deals {'has' if bounded == 1 else 'have'} a time that is"
            " only known to be between two snapshots: the latest possible counts."
            f"{_deleted(bounded, removed)}"
        )


def _deleted(deals: int, removed: int) -> str:
    """Say of how many of the deals no changelog can be loaded, because they are deleted."""
    if not removed:
        return ""
    which = "all of these deals are" if removed == deals else f"{removed:,} of these deals "
    verb = "" if removed == deals else ("is" if removed == 1 else "are")
    return f" No changelog can be loaded: {which}{verb} deleted."


def remedy(deals: int) -> str:
    """Describe how to load the exact history of deals, and its cost."""
    return (
        f"load their changelogs, account.deal_changes(ids): 20 tokens per deal, {deals:,}"
        f" deal{'' if deals == 1 else 's'} = {20 * deals:,} tokens."
    )

"""The funnel: how many deals reached each stage, and the probability to advance, with open deals
counted as not yet known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.metrics._arguments import NULL, keyed, span
from pdframe.metrics._known_at import NEVER
from pdframe.metrics._notes import noted
from pdframe.metrics._states import Deleted
from pdframe.metrics._survival import Curves, Flags, Floats, Ints, aalen_johansen
from pdframe.metrics.cohort import (
    IN_ADVANCE,
    IN_OPEN,
    STATES,
    Cohort,
    Reached,
    Skipped,
    Time,
    cohort,
)

_STAGE = ("stage_id", "stage", "order_nr")
_COLUMNS = (
    *_STAGE,
    "reached",
    *STATES,
    "conversion",
    "low",
    "high",
    "horizon_days",
    "win",
    "win_low",
    "win_high",
    "share_reached",
    "closed_conversion",
)
_DEAL_COLUMNS = (
    "deal_id",
    *_STAGE,
    "reached_at",
    "advanced_at",
    "state",
    "state_at",
    "days",
    "outcome",
    "outcome_at",
    "outcome_days",
    "entry_days",
)
_ALL = {*_COLUMNS, *_DEAL_COLUMNS}

# The default horizon has this many deals at risk, or one in `_ONE_OF` of those that reached the
# stage, where that is less.
_AT_RISK, _ONE_OF = 10, 10
_NAMED = 6


@noted
def funnel(
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    as_of: Time,
    pipeline_id: int | str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    by: str | Sequence[str] | None = None,
    deals: pd.DataFrame | None = None,
    skipped: Skipped = "implied",
    deleted: Deleted = "drop",
    horizon: str | pd.Timedelta | None = None,
    tz: str | None = None,
) -> pd.DataFrame:
    """Count the deals of a cohort that reached each stage of a pipeline, and estimate how many
    advance.

    The cohort are the deals whose first visit to the pipeline began in [since, until). Wins divided
    by closed deals ignore the open ones, wins divided by all deals count them as lost; `conversion`
    and `win` count them as not yet known.

    Parameters
    ----------
    visits
        One row per visit, from `account.stage_visits()`, of any pipelines.
    stages
        id, order_nr, name, pipeline_id. Visits to stages that are missing there (or marked deleted)
        count for no stage.
    as_of
        What happened later, or was not seen by then, is unknown; a bare date means the end of that
        day. A move that only snapshots show is known from the snapshot that shows the next stage, a
        closing from its own time (`as_of` with history is stricter).
    pipeline_id
        An id, or a name where `stages` has pipeline_name. Optional where the visits known by then
        are of one pipeline.
    since, until
        Window of the first visit to the pipeline, `until` exclusive; None: no bound. A year,
        quarter, month ("2026-Q2") or `pd.Period` as `until` is taken to its end. Without a
        changelog the first visit is the one that a snapshot shows, which may follow earlier ones: a
        note counts the deals that may be in the window or not, and names the call that tells.
    by
        Columns of `visits` (their value in the deal's first visit to the pipeline, `end` as it was
        known at `as_of`) or of `deals`, as they are in the frame; null is a group.
    deals
        One row per deal, for `by`; a deal that is missing there has null.
    skipped
        "implied": a stage is reached at the first visit to it or any later stage, or the win.
        "touched": only if it was visited. "strict": once it and every earlier stage were visited;
        then `won` needs all of them.
    deleted
        "drop" (default): a deal that was deleted after it was won or lost counts until the time of
        its deletion, and nowhere from then on: won in March and deleted in June, it is a win at
        `as_of` April and no deal at `as_of` July. "keep": it still counts as won or lost. In both,
        a deal that was open when it was deleted remains in its cohort, as `left` at that time.
    horizon
        The time after reaching a stage for which `conversion` and `win` are estimated. None: for
        each row the longest time at which at least 10 deals that reached the stage (a tenth of them
        below 100) have neither advanced nor ended, and are followed. "common": the shortest of
        these horizons, of all groups and stages, for every row: rates within one time can be
        compared.
    tz
        Timezone of naive times and bare dates; None: the frames' `attrs["tz"]`, which the loaders
        set, else UTC.

    Returns
    -------
    DataFrame
        One row per group and stage, by `order_nr`, then `won`: the columns of `by`; stage_id,
        stage, order_nr (null for `won`); reached: deals. advanced: deals that visited a later stage
        or are won, before or after. lost, left (changed pipeline, or deleted while they were open),
        open: the state at `as_of` of the others; reached is the sum of the four. On the row `won`
        all are advanced, and rates are null. conversion, low, high: probability to advance within
        the horizon after reaching the stage, with its 95 % interval; null where the follow-up does
        not reach the horizon, the interval also at an estimate of 0 or 1. horizon_days. win,
        win_low, win_high: the same for being won in this pipeline. share_reached: reached / that of
        the first stage; above 1 is possible where stages are skipped. closed_conversion: advanced /
        (advanced + lost), the naive rate, for comparison. Rates are null where no deal reached the
        stage.

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, a visit contradicts itself or occurs twice,
        `pipeline_id` is missing, or an argument is wrong.

    Warns
    -----
    DataWarning
        A horizon past the follow-up; deals known from snapshots alone or first seen later, or whose
        entry in the window is uncertain (`attrs["uncertain"]` counts the changelogs that would
        tell), bounded times, deleted stages.

    Notes
    -----
    Aalen-Johansen with lost and left as competing risks; open deals are censored at `as_of`;
    intervals on the scale log(-log). A win or loss is the one that holds at `as_of`: one that was
    undone before (the deal was opened again, or set from won to lost) is not an event. A change of
    a closed deal, also of its stage or pipeline, is not a visit: the deal counts as won or lost in
    the stage and pipeline in which it was closed. A deal that snapshots show late is at risk from
    the first snapshot on, and in no stage before the one shown, since the time of reaching those is
    unknown. Then estimates need as many deals followed from the start (within a day), and at each
    step, as the default horizon requires, else they are null.

    Examples
    --------
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> funnel = metrics.funnel(visits, stages, as_of="2026-06-30", pipeline_id=2)
    >>> funnel[["stage_id", "reached", "advanced", "lost", "left", "open"]]
       stage_id  reached  advanced  lost  left  open
    0         7      169       123    27    11     8
    1         3      123        95    12     1    15
    2        12       95        72     9     0    14
    3         4       72        58    11     0     3
    4         9       58        42    10     1     5
    5      <NA>       42        42     0     0     0
    """
    is_common = isinstance(horizon, str) and horizon == "common"
    length = None if horizon is None or is_common else span(horizon, "horizon")
    members = cohort(
        visits,
        stages,
        as_of=as_of,
        pipeline_id=pipeline_id,
        since=since,
        until=until,
        by=by,
        deals=deals,
        skipped=skipped,
        deleted=deleted,
        tz=tz,
        columns=tuple(_ALL),
    )
    groups, rows = len(members.keys), len(members.stages)
    counts = np.zeros((groups, rows, len(STATES)), np.int64)
    rates = np.full((groups, rows, 7), np.nan)
    past = _Past()
    stage_names = members.stages["stage"].astype("str").tolist()
    by_stage = []
    for place, reached in enumerate(members.reached()):
        group = members.group[reached.deal]
        counts[:, place] = np.bincount(
            group * len(STATES) + reached.state, minlength=groups * len(STATES)
        ).reshape(groups, len(STATES))
        if place < rows - 1:
            by_stage.append((reached, group))

    def estimate(length: float | None, past: _Past) -> int:
        """Fill in the rates; return how many rows snapshots leave unknown."""
        return sum(
            _rates(rates[:, place], reached, group, groups, length, past, stage_names[place])
            for place, (reached, group) in enumerate(by_stage)
        )

    few = estimate(length, past)
    if is_common and not np.isnan(rates[:, :, 3]).all():
        few = estimate(float(np.nanmin(rates[:, :, 3])), _Past())
    past.say(length, groups * (rows - 1))
    if few:
        warn(
            f"The rates of {few} of {groups * (rows - 1)} rows are null: snapshots show too few of"
            " their deals early enough."
        )
    result = _frame(members, counts, rates)
    if members.uncertain:
        result.attrs["uncertain"] = members.uncertain
    return keyed(result, [*members.keys.columns, "stage_id", "stage"], members.tz)


@noted
def funnel_deals(
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    as_of: Time,
    pipeline_id: int | str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    by: str | Sequence[str] | None = None,
    deals: pd.DataFrame | None = None,
    skipped: Skipped = "implied",
    deleted: Deleted = "drop",
    tz: str | None = None,
) -> pd.DataFrame:
    """List the deals that `funnel` counts.

    Parameters
    ----------
    visits, stages, as_of, pipeline_id, since, until, by, deals, skipped, deleted, tz
        As in `funnel`.

    Returns
    -------
    DataFrame
        One row per deal and stage reached (and one for `won`), by deal and stage: the columns of
        `by`; deal_id; stage_id, stage, order_nr (null for `won`); reached_at; advanced_at: null
        where it did not; state: advanced, lost, left or open, and state_at: since when; open:
        `as_of`; days: from reached_at to state_at. outcome, outcome_at, outcome_days: the same with
        winning (won) in place of advancing: the data of `win`. entry_days: from reached_at to the
        start of observation; 0: from the start; null: the time of reaching it is unknown, as for
        the stages before the one in which a snapshot first showed the deal. Days are of 24 hours.

    Raises
    ------
    ArgumentError
        As in `funnel`.

    Examples
    --------
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> reached = metrics.funnel_deals(visits, stages, as_of="2026-06-30", pipeline_id=2)
    >>> reached.groupby("stage_id", sort=False)["deal_id"].count()
    stage_id
    7     169
    3     123
    12     95
    4      72
    9      58
    Name: deal_id, dtype: Int64
    """
    members = cohort(
        visits,
        stages,
        as_of=as_of,
        pipeline_id=pipeline_id,
        since=since,
        until=until,
        by=by,
        deals=deals,
        skipped=skipped,
        deleted=deleted,
        tz=tz,
        columns=tuple(_ALL),
    )
    parts = list(members.reached())
    place = np.repeat(np.arange(len(parts)), [len(part.deal) for part in parts])
    deal = _joined(parts, "deal")
    order = np.argsort(deal * len(parts) + place, kind="stable")
    deal, place = deal[order], place[order]
    columns: dict[str, Any] = {
        str(name): members.keys[name].array.take(members.group[deal]) for name in members.keys
    }
    columns["deal_id"] = pd.array(members.deal[deal], "Int64")
    columns |= {name: members.stages[name].array.take(place) for name in _STAGE}
    columns["reached_at"] = _times(_joined(parts, "at")[order])
    columns["advanced_at"] = _times(_joined(parts, "advanced")[order])
    for what, done in (("state", "advanced"), ("outcome", "won")):
        words = pd.CategoricalDtype([done, *STATES[1:]])
        columns[what] = pd.Categorical.from_codes(
            _joined(parts, what)[order].astype(np.int8), dtype=words
        )
        columns[f"{what}_at"] = _times(_joined(parts, f"{what}_at")[order])
        columns["days" if what == "state" else "outcome_days"] = _joined(
            parts, "days" if what == "state" else "outcome_days"
        )[order]
    entry = _joined(parts, "entry")[order]
    columns["entry_days"] = np.where(np.isinf(entry), np.nan, entry)
    return keyed(pd.DataFrame(columns), [*members.keys.columns, "stage_id", "stage"], members.tz)


class _Past:
    """The rows whose follow-up ends before the horizon, and when."""

    def __init__(self) -> None:
        self.rows = 0
        self.last: dict[str, float] = {}

    def add(self, stage: str, ends: Floats) -> None:
        """Add the ends of a stage's follow-up that are too early."""
        if len(ends):
            self.rows += len(ends)
            self.last[stage] = float(ends.min())

    def say(self, horizon: float | None, rows: int) -> None:
        """Warn of them."""
        if not self.rows:
            return
        named = [
            f"{_floor(days):g} d ({stage})" for stage, days in list(self.last.items())[:_NAMED]
        ]
        named += [f"{len(self.last) - _NAMED} more stages"] * (len(self.last) > _NAMED)
        warn(
            f"A horizon of {horizon:g} d is past the follow-up of {self.rows} of {rows} rows:"
            " rates there are null. The longest that all rows identify is"
            f" {_floor(min(self.last.values())):g} d: {', '.join(named)}."
        )


def _floor(days: float) -> float:
    return math.floor(days * 1000) / 1000


def _rates(
    into: Floats,
    reached: Reached,
    group: Ints,
    groups: int,
    horizon: float | None,
    past: _Past,
    stage: str,
) -> int:
    """Fill in conversion, low, high, horizon_days, win, win_low, win_high of a stage's groups;
    return how many rows snapshots leave unknown.
    """
    size = np.bincount(group, minlength=groups)
    least = np.minimum(-(-size // _ONE_OF), _AT_RISK)
    late = bool((reached.entry > 0).any())
    entry = reached.entry if late else None
    going = aalen_johansen(reached.days, _causes(reached.state), group, groups, entry=entry)
    winning = aalen_johansen(
        reached.outcome_days, _causes(reached.outcome), group, groups, entry=entry
    )
    limit = going.horizon(np.maximum(least, 1)) if horizon is None else np.full(groups, horizon)
    limit = np.where(size > 0, limit, np.nan)
    into[:, 0], into[:, 1], into[:, 2] = going.at(limit)
    into[:, 3] = limit
    into[:, 4], into[:, 5], into[:, 6] = winning.at(limit)
    few = np.zeros(groups, bool)
    if late:
        start = np.bincount(group[reached.entry == 0], minlength=groups)
        few = (size > 0) & (np.bincount(group[reached.entry > 0], minlength=groups) > 0)
        few &= (start < least) | _thin(going, limit, least) | _thin(winning, limit, least)
        into[few] = np.nan
    if horizon is not None:
        ends = np.minimum(
            *(
                np.where(curves.identified(limit), np.inf, curves.last)
                for curves in (going, winning)
            )
        )
        past.add(stage, ends[(size > 0) & ~few & np.isfinite(ends)])
    return int(few.sum())


def _thin(curves: Curves, limit: Floats, least: Floats) -> Flags:
    """Return the groups with fewer than `least` at risk at some time up to the limit."""
    thin = (curves.at_risk < least[curves.group]) & (curves.time <= limit[curves.group])
    return np.bincount(curves.group[thin], minlength=len(limit)) > 0


def _causes(state: Ints) -> Ints:
    return np.where(state == IN_ADVANCE, 1, np.where(state == IN_OPEN, 0, 2))


def _frame(members: Cohort, counts: Ints, rates: Floats) -> pd.DataFrame:
    groups, rows = counts.shape[:2]
    reached = counts.sum(axis=2)
    columns: dict[str, Any] = {
        str(name): members.keys[name].array.take(np.repeat(np.arange(groups), rows))
        for name in members.keys
    }
    columns |= {
        name: members.stages[name].array.take(np.tile(np.arange(rows), groups)) for name in _STAGE
    }
    columns["reached"] = pd.array(reached.ravel(), "Int64")
    columns |= {
        name: pd.array(counts[:, :, number].ravel(), "Int64") for number, name in enumerate(STATES)
    }
    names = ("conversion", "low", "high", "horizon_days", "win", "win_low", "win_high")
    columns |= {name: rates[:, :, number].ravel() for number, name in enumerate(names)}
    with np.errstate(invalid="ignore", divide="ignore"):
        columns["share_reached"] = np.where(
            reached[:, :1] > 0, reached / reached[:, :1], np.nan
        ).ravel()
        closed = counts[:, :, IN_ADVANCE] + counts[:, :, 1]
        closed_conversion = counts[:, :, IN_ADVANCE] / closed
    closed_conversion[:, -1] = np.nan
    columns["closed_conversion"] = closed_conversion.ravel()
    return pd.DataFrame(columns)


def _joined(parts: Sequence[Reached], name: str) -> Any:
    return np.concatenate([getattr(part, name) for part in parts])


def _times(values: Ints) -> pd.Series[Any]:
    """Return microseconds as times, null where they are `NEVER`."""
    return pd.Series(np.where(values == NEVER, NULL, values).view("datetime64[us]")).dt.tz_localize(
        "UTC"
    )


__all__ = ["funnel", "funnel_deals"]

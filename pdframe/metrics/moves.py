"""Where deals go from each stage: moves forward and back, and how visits ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pdframe._warnings import warn
from pdframe.metrics._arguments import (
    DAY,
    grouped,
    keyed,
    keys,
    moment,
    require_columns,
    to_micros,
    window,
    zone_of,
)
from pdframe.metrics._columns import NO_ID, places, plain_ids
from pdframe.metrics._grouping import attributes
from pdframe.metrics._known_at import (
    CHANGED_PIPELINE,
    DELETED,
    LOST,
    NEVER,
    OPEN,
    UNKNOWN_END,
    VISITS,
    WON,
    KnownVisits,
    real_visits,
)
from pdframe.metrics._notes import noted
from pdframe.metrics._states import Deleted
from pdframe.metrics._survival import Flags, Ints
from pdframe.metrics.cohort import (
    Time,
    entered,
    own_stages,
    pipeline_of,
    remedy,
    warn_of_unseen,
    warn_of_window,
)

# How a visit ends that leads to no other stage of the pipeline, in the order of the result; the
# last one: a move to an unknown stage.
_OUTCOMES = {
    WON: "won",
    LOST: "lost",
    CHANGED_PIPELINE: "changed pipeline",
    DELETED: "deleted",
    OPEN: "open",
    UNKNOWN_END: None,
}
_MOVE = ("from_stage_id", "from_stage", "from_order_nr", "to_stage_id", "to", "to_order_nr", "back")
_COLUMNS = (*_MOVE, "moves", "deals", "share")
_VISIT_COLUMNS = ("deal_id", *_MOVE, "entered_at", "left_at", "days")
_ALL = {*_COLUMNS, *_VISIT_COLUMNS}
_KEYS = ("from_stage_id", "to_stage_id", "to")


@noted
def stage_moves(
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    as_of: Time,
    pipeline_id: int | str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    by: str | Sequence[str] | None = None,
    deals: pd.DataFrame | None = None,
    deleted: Deleted = "drop",
    tz: str | None = None,
) -> pd.DataFrame:
    """Count where deals went from each stage of a pipeline: to which stage, forward or back, or how
    else the visit ended.

    Parameters
    ----------
    visits
        One row per visit, from `account.stage_visits()`, of any pipelines.
    stages
        id, order_nr, name, pipeline_id.
    as_of
        What happened later, or was not seen by then, is unknown; a bare date means the end of that
        day.
    pipeline_id
        An id, or a name where `stages` has pipeline_name. Optional where the visits known by then
        are of one pipeline.
    since, until
        As in `funnel`: the deals whose first visit to the pipeline began in [since, until); None:
        no bound; a period as `until` is taken to its end. All their visits there count.
    by
        Columns of `visits` (their value in each visit) or of `deals`, as they are in the frame.
    deals
        One row per deal, for `by`; a deal that is missing there has null.
    deleted
        "drop" (default): a deal that was deleted after it was won or lost is left out from the time
        of its deletion on. "keep": it still counts, as won or lost. In both, the last visit of a
        deal that was open when it was deleted ended as deleted.
    tz
        Timezone of naive times and bare dates; None: the frames' `attrs["tz"]`, which the loaders
        set, else UTC.

    Returns
    -------
    DataFrame
        One row per group, stage left and destination that occur, in the order of the pipeline,
        outcomes last: the columns of `by`; from_stage_id, from_stage, from_order_nr; to_stage_id,
        to, to_order_nr: the next stage, or with null id and order the outcome of the visit: won,
        lost, changed pipeline, deleted (or no longer visible), open (the deal is still there); all
        three null: it moved, and `visits` lacks the next visit. back: whether the next stage is
        before the one left; null for outcomes, and where `stages` lacks one of both. Names and
        orders of stages that `stages` lacks are null, and these stages follow the others. moves:
        visits that ended so, each visit counts once; deals: distinct deals among them. share: moves
        / all visits in that stage (and group), open ones included, so that the shares of a stage
        sum to 1.

    Raises
    ------
    ArgumentError
        A missing column, several pipelines, or a wrong argument.

    Warns
    -----
    DataWarning
        Visits known from snapshots: what happened between two snapshots is unknown. Deals that no
        snapshot showed by `as_of`.

    Notes
    -----
    A deal that was won or lost and opened again has a visit that ended so, and another one. A
    change of a closed deal is not a visit: the last visit of a deal that was set from lost to won
    ended with the win. A move to another pipeline is an outcome; a return from there is not a move
    of this pipeline. `stage_move_visits` lists the visits of each row.

    Examples
    --------
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> moves = metrics.stage_moves(visits, stages, as_of="2026-06-30", pipeline_id=2)
    >>> moves[["from_stage_id", "to_stage_id", "back", "moves", "share"]].head(3).round(3)
       from_stage_id  to_stage_id   back  moves  share
    0              7            3  False    109  0.657
    1              7           12  False     10  0.060
    2              7         <NA>   <NA>     28  0.169
    """
    result = _Visits.read(visits, stages, as_of, pipeline_id, since, until, by, deals, deleted, tz)
    width = len(result.stages) + len(_OUTCOMES)
    place = result.group * width + result.origin
    pair, row = np.unique(place * width + result.target, return_inverse=True)
    source = pair // width
    moves = np.bincount(row, minlength=len(pair))
    # One row per deal and row of the result.
    first = pd.DataFrame({"row": row, "deal": result.deal}).drop_duplicates()["row"].to_numpy()
    columns: dict[str, Any] = {
        str(name): result.groups[name].array.take(source // width) for name in result.groups
    }
    columns |= result.named(source % width, pair % width)
    columns["moves"] = pd.array(moves, "Int64")
    columns["deals"] = pd.array(np.bincount(first, minlength=len(pair)), "Int64")
    columns["share"] = moves / np.bincount(place, minlength=len(result.groups) * width)[source]
    return keyed(pd.DataFrame(columns), [*result.groups.columns, *_KEYS], result.tz)


@noted
def stage_move_visits(
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    as_of: Time,
    pipeline_id: int | str | None = None,
    since: Time | None = None,
    until: Time | None = None,
    by: str | Sequence[str] | None = None,
    deals: pd.DataFrame | None = None,
    deleted: Deleted = "drop",
    tz: str | None = None,
) -> pd.DataFrame:
    """List the visits that `stage_moves` counts, each with where the deal went from it.

    Parameters
    ----------
    visits, stages, as_of, pipeline_id, since, until, by, deals, deleted, tz
        As in `stage_moves`.

    Returns
    -------
    DataFrame
        One row per visit, by deal and time: the columns of `by`; deal_id; from_stage_id,
        from_stage, from_order_nr, to_stage_id, to, to_order_nr, back: as in `stage_moves`;
        entered_at, left_at (UTC; null while the deal is there); days: from `entered_at` to
        `left_at`, or to `as_of`; of 24 hours.

    Raises
    ------
    ArgumentError
        As in `stage_moves`.

    Examples
    --------
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> moves = metrics.stage_move_visits(visits, stages, as_of="2026-06-30", pipeline_id=2)
    >>> moves[["deal_id", "from_stage_id", "to_stage_id", "back", "days"]].head(3).round(1)
       deal_id  from_stage_id  to_stage_id   back  days
    0        1              7         <NA>   <NA>  15.0
    1        2              7            3  False   3.8
    2        2              3           12  False  20.7
    """
    result = _Visits.read(visits, stages, as_of, pipeline_id, since, until, by, deals, deleted, tz)
    columns: dict[str, Any] = {
        str(name): result.groups[name].array.take(result.group) for name in result.groups
    }
    columns["deal_id"] = pd.array(result.deal, "Int64")
    columns |= result.named(result.origin, result.target)
    columns["entered_at"] = pd.Series(result.entered.view("datetime64[us]")).dt.tz_localize("UTC")
    left = pd.Series(result.left.view("datetime64[us]")).dt.tz_localize("UTC")
    columns["left_at"] = left.mask(result.open)
    columns["days"] = (result.left - result.entered) / DAY
    return keyed(pd.DataFrame(columns), [*result.groups.columns, *_KEYS], result.tz)


@dataclass(frozen=True, slots=True)
class _Visits:
    """The visits of a pipeline's deals, each with its group, its stage and where the deal went.

    Parameters
    ----------
    stages
        stage_id, stage, order_nr: those of the pipeline in their order, then those that only visits
        have.
    placed
        How many of them are in `stages`.
    groups, group
        The columns of `by`, one row per group; each visit's group.
    deal, entered, left
        Of each visit; `left` is `as_of` where it is open.
    open
        Whether the deal is still there.
    origin, target
        Rows of `stages`; a target of `len(stages)` or more is an outcome.
    tz
        The timezone of naive times and bare dates.
    """

    stages: pd.DataFrame
    placed: int
    groups: pd.DataFrame
    group: Ints
    deal: Ints
    entered: Ints
    left: Ints
    open: Flags
    origin: Ints
    target: Ints
    tz: str

    @classmethod
    def read(
        cls,
        visits: pd.DataFrame,
        stages: pd.DataFrame,
        as_of: Time,
        pipeline_id: int | str | None,
        since: Time | None,
        until: Time | None,
        by: str | Sequence[str] | None,
        deals: pd.DataFrame | None,
        deleted: Deleted,
        tz: str | None,
    ) -> _Visits:
        """Read what was known at `as_of`; warn of what snapshots do not show."""
        tz = zone_of(tz, visits, stages, deals)
        visits = require_columns(visits, "visits", VISITS)
        stages = require_columns(stages, "stages", ("id", "order_nr", "name", "pipeline_id"))
        names = keys(by, tuple(_ALL), visits, deals)
        now = moment(as_of, tz, "as_of", end_of_day=True)
        start, end = window(since, until, tz)
        known_visits = real_visits(visits, now, tz, deleted)
        pipelines, stage = plain_ids(visits["pipeline_id"]), plain_ids(visits["stage_id"])
        known_in = known_visits.of(pipelines)
        pipeline = pipeline_of(pipeline_id, known_in, stages)
        inside = np.flatnonzero(known_in == pipeline)
        inside = inside[
            entered(known_visits.deal[inside], known_visits.entered[inside], start, end)
        ]
        rows, deal = known_visits.rows[inside], known_visits.deal[inside]
        own = own_stages(stages, pipeline).iloc[:-1]
        every, listed = _with_unknown(own, stage[rows])
        # The next visit of the same deal, in any pipeline; filtered visits may lack it.
        following = np.minimum(inside + 1, len(known_visits.rows) - 1)
        # A visit whose closing was undone keeps its end; otherwise it ended with the deal's present
        # state.
        ends = np.where(known_visits.last, known_visits.became, known_visits.end)[inside]
        moved = ~np.isin(ends, [WON, LOST, CHANGED_PIPELINE, DELETED, OPEN])
        followed = (following > inside) & (known_visits.deal[following] == deal)
        following = known_visits.rows[following]
        inward = moved & followed & (pipelines[following] == pipeline)
        ends = np.where(moved, np.where(followed, CHANGED_PIPELINE, UNKNOWN_END), ends)
        outcome = np.array(
            [
                [*_OUTCOMES].index(end) if end in _OUTCOMES else 0
                for end in [*range(OPEN + 1), UNKNOWN_END]
            ]
        )[ends]
        target = np.where(
            inward, listed.get_indexer(pd.Index(stage[following])), len(every) + outcome
        )
        group, groups = grouped(attributes(visits, known_visits, deals, names, inside), names)
        uncertain = warn_of_window(known_visits, stage, own, np.unique(deal), start, end, tz)
        warn_of_unseen(known_visits, pipelines == pipeline)
        _warn_of_snapshots(known_visits, inside, with_remedy=not uncertain)
        still = known_visits.left[inside] == NEVER
        return cls(
            every,
            len(own),
            groups,
            group,
            deal,
            known_visits.entered[inside],
            np.where(still, to_micros(now), known_visits.left[inside]),
            still,
            listed.get_indexer(pd.Index(stage[rows])).astype(np.int64),
            target.astype(np.int64),
            tz,
        )

    def named(self, origin: Ints, target: Ints) -> dict[str, Any]:
        """Return the columns that name origin and destination."""
        outcomes = (
            pd.DataFrame({"stage": [*_OUTCOMES.values()]})
            .reindex(columns=self.stages.columns)
            .astype(self.stages.dtypes.to_dict())
        )
        every = pd.concat([self.stages, outcomes], ignore_index=True)
        result: dict[str, Any] = {
            f"from_{name}": every[name].array.take(origin) for name in self.stages
        }
        result |= {
            "to" if name == "stage" else f"to_{name}": every[name].array.take(target)
            for name in self.stages
        }
        back = pd.Series(target < origin, dtype="boolean")
        result["back"] = back.mask((origin >= self.placed) | (target >= self.placed))
        return result


def _with_unknown(own: pd.DataFrame, stage: Ints) -> tuple[pd.DataFrame, pd.Index[int]]:
    """Return the pipeline's stages, followed by those that only visits have, and the ids of all."""
    unknown = np.unique(stage[places(plain_ids(own["stage_id"]), stage) < 0])
    column = pd.Series(unknown, dtype="Int64")
    late = (
        pd.DataFrame({"stage_id": column.mask(column == NO_ID)})
        .reindex(columns=own.columns)
        .astype(own.dtypes.to_dict())
    )
    every: pd.DataFrame = pd.concat([own, late], ignore_index=True)
    return every, pd.Index(np.concatenate([own["stage_id"].to_numpy(np.int64), unknown]))


def _warn_of_snapshots(known_visits: KnownVisits, inside: Ints, *, with_remedy: bool) -> None:
    """Warn of visits that are known from snapshots alone."""
    seen = ~known_visits.exact[inside]
    if seen.any():
        deals = len(np.unique(known_visits.deal[inside][seen]))
        warn(
            f"{int(seen.sum()):,} of {len(inside):,} visits are known from snapshots alone. Stages"
            " that a deal passed between two snapshots, or before the first, are not seen: moves"
            " are missing, and some connect stages that are not neighbours."
            f"{f' For every move {remedy(deals)}' if with_remedy else ''}"
        )


__all__ = ["stage_move_visits", "stage_moves"]

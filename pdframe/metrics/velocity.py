"""How long deals remain in stages; visits that are still open count as censored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import (
    DAY,
    Micros,
    check_choice,
    grouped,
    keyed,
    keys,
    moment,
    require_columns,
    span,
    to_micros,
    zone_of,
)
from pdframe.metrics._columns import NO_ID, ids, one_row_each, plain_ids
from pdframe.metrics._grouping import attributes
from pdframe.metrics._known_at import (
    CURRENT,
    DELETED,
    NEVER,
    SOURCES,
    VISITS,
    KnownVisits,
    real_visits,
)
from pdframe.metrics._notes import noted
from pdframe.metrics._survival import Curves, Flags, Floats, kaplan_meier

Deleted: TypeAlias = Literal["exit", "censored", "drop", "keep"]

_BASES = pd.CategoricalDtype([*SOURCES, "mixed"])
_STAGE = ("pipeline_id", "stage_id", "stage", "order_nr")
_VELOCITY = (
    *_STAGE,
    "visits",
    "completed",
    "open",
    "median_days",
    "low",
    "high",
    "p25_days",
    "p75_days",
    "p90_days",
    "mean_days",
    "basis",
)
_SURVIVAL = (*_STAGE, "days", "at_risk", "events", "survival", "low", "high")


@noted
def stage_velocity(
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    as_of: Any,
    by: str | Sequence[str] | None = None,
    horizon: Any = None,
    min_at_risk: int = 5,
    tz: str | None = None,
    deals: pd.DataFrame | None = None,
    deleted: Deleted = "exit",
) -> pd.DataFrame:
    """Estimate how long deals remain in each stage: one row per stage, and group of `by`.

    Kaplan-Meier: a visit lasts from `entered_at` to `left_at`, however it ended (moved, won, lost);
    one that was open at `as_of` lasted at least until then. So the median includes the slow ones,
    which the median of finished visits leaves out. A change of a deal that is already won, lost or
    deleted (a visit of no length in `visits`) does not count as a visit.

    A visit is at risk from `seen_at` on (delayed entry): had it ended before a snapshot showed it,
    it would not be in the data. A visit that was first seen after its end is counted, but says
    nothing about durations.

    Parameters
    ----------
    visits
        `account.stage_visits()`: one row per visit.
    stages
        `account.stages()`.
    as_of
        Inclusive; a bare date is the end of that day. As if computed at that time: visits that
        began or were first seen later do not exist, and one that ended later is open, also where
        its end is only bounded and may have been earlier, or where the snapshot that showed the
        deal in its next stage is later. A closing counts from its own time (`as_of` with history is
        stricter).
    by
        Columns of `visits`, else of `deals` (joined on `deal_id`; null where the deal is not among
        them), taken as they are given.
    horizon
        The limit of `mean_days`, a Timedelta or "90D". None: the end of the follow-up of each row;
        then it is the plain mean where every visit has ended, and a lower bound of it where not.
    min_at_risk
        A warning names rows with delayed entries that have fewer visits than this at risk at their
        first exit: the rest of such a curve depends on those few.
    tz
        Timezone of naive times, and of the day of a bare date; None: the frames' `attrs["tz"]`,
        which the loaders set, else UTC.
    deals
        `account.deals()`, where `by` names columns of it.
    deleted
        How the deletion of a deal counts. For a deal that was open: "exit" (default): it ends the
        visit like any other exit; the curve is of all exits together, and such a visit is
        completed. "censored": it cuts the visit off, which would have lasted longer; such a visit
        is neither completed nor open. A deal that was deleted after it was won or lost is left out
        with all its visits from the time of its deletion on, as in every metric. "keep": as "exit",
        and the visits of such a deal still count. "drop", the name of the default in other metrics,
        means "exit".

    Returns
    -------
    DataFrame
        The columns of `by`, pipeline_id, stage_id, stage, order_nr, visits, completed, open,
        median_days, low, high, p25_days, p75_days, p90_days, mean_days, basis. Rows are by group,
        pipeline and order, one for every stage of `stages`, also without visits; at the end of each
        pipeline follow the stages that only visits have (deleted stages: `stage` and `order_nr`
        null). visits = completed + open, except for what deleted="censored" cuts off. Days are of
        24 hours. `low` and `high` are the 95 % interval of the median, log-log. `basis` is the
        source of the row's visits: changelog, snapshots, current or mixed, null without visits.
        Days are null where the data does not reach that quantile, or there is none: no visit can be
        followed, or the basis is "current" alone.

    Raises
    ------
    ArgumentError
        A column is missing or holds something else, a visit contradicts itself or occurs twice, or
        an argument is wrong.

    Warns
    -----
    DataWarning
        Visits that are not counted, whose durations are unknown, or that do not come from the
        changelog, each with their number; rows that depend on few visits; a `horizon` past the
        follow-up.

    Notes
    -----
    E. L. Kaplan, P. Meier, JASA 53 (1958); interval of the median: R. Brookmeyer, J. Crowley,
    Biometrics 38 (1982). A quantile p is the first time at which the curve is at or under 1 - p. Of
    a deal known by its current state alone, only the last visit is visible, and the longer it lasts
    the likelier it is seen. Its mean and median are not those of all visits, so they are null.

    Examples
    --------
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> velocity = metrics.stage_velocity(visits, stages, as_of="2026-06-30")
    >>> columns = ["stage_id", "visits", "open", "median_days", "low", "high"]
    >>> velocity.loc[velocity["pipeline_id"] == 2, columns].round(1)
       stage_id  visits  open  median_days   low  high
    4         7     166     8         13.0  11.8  15.8
    5         3     122    15         18.9  14.1  21.1
    6        12      96    14         15.1  12.3  18.8
    7         4      71     3         26.1  19.1  28.4
    8         9      61     5         36.2  26.9  44.8
    """
    limit = None if horizon is None else span(horizon, "horizon")
    sample = _Visits.read(visits, stages, as_of, by, tz, deals, deleted, _VELOCITY)
    curves = sample.curves(min_at_risk)
    result = sample.rows()
    result["visits"] = sample.visits
    result["completed"] = sample.completed
    result["open"] = sample.open
    result["median_days"], result["low"], result["high"] = curves.quantile(0.5)
    for name, p in (("p25_days", 0.25), ("p75_days", 0.75), ("p90_days", 0.9)):
        result[name] = curves.quantile(p)[0]
    result["mean_days"] = curves.restricted_mean(curves.last if limit is None else limit)
    result["basis"] = sample.basis
    if limit is not None:
        _warn_of_horizon(curves, limit)
    counts = {name: "Int64" for name in ("visits", "completed", "open")}
    result = result.astype(counts)[sample.shown].reset_index(drop=True)
    return keyed(result, [*sample.by, "pipeline_id", "stage_id"], sample.tz)


@noted
def stage_survival(
    visits: pd.DataFrame,
    stages: pd.DataFrame,
    *,
    as_of: Any,
    by: str | Sequence[str] | None = None,
    horizon: Any = None,
    min_at_risk: int = 5,
    tz: str | None = None,
    deals: pd.DataFrame | None = None,
    deleted: Deleted = "exit",
) -> pd.DataFrame:
    """Estimate the share of visits in each stage that last longer than a time: one row per stage,
    group of `by`, and time.

    This is the curve whose quantiles `stage_velocity` gives. Before its first row it is 1; each
    value holds until the next row.

    Parameters
    ----------
    visits, stages, as_of, by, min_at_risk, tz, deals, deleted
        As in `stage_velocity`.
    horizon
        The end of the curves; None: the end of the follow-up.

    Returns
    -------
    DataFrame
        The columns of `by`, pipeline_id, stage_id, stage, order_nr, days, at_risk, events,
        survival, low, high: one row for each distinct length at which visits ended (`events`) or
        were censored (no events; no longer at risk). `at_risk` is just before `days`. `low` and
        `high`: 95 %, log-log; null where the variance is undefined. Stages without a visit that can
        be followed have no rows.

    Raises
    ------
    ArgumentError
        A column is missing, or an argument is wrong.

    Warns
    -----
    DataWarning
        As `stage_velocity`.

    Examples
    --------
    >>> visits, stages = account.stage_visits(), account.stages()
    >>> curves = metrics.stage_survival(visits, stages, as_of="2026-06-30")
    >>> columns = ["days", "at_risk", "events", "survival"]
    >>> curves.loc[curves["stage_id"] == 3, columns].head(3).round(3)
          days  at_risk  events  survival
    248  0.588      122       0     1.000
    249  1.092      121       1     0.992
    250  1.152      120       1     0.983
    """
    limit = None if horizon is None else span(horizon, "horizon")
    sample = _Visits.read(visits, stages, as_of, by, tz, deals, deleted, _SURVIVAL)
    curves = sample.curves(min_at_risk)
    kept = slice(None) if limit is None else curves.time <= limit
    result = sample.rows(curves.group[kept])
    result["days"] = curves.time[kept]
    result["at_risk"] = pd.array(curves.at_risk[kept], "Int64")
    result["events"] = pd.array(curves.events[kept], "Int64")
    result["survival"], result["low"], result["high"] = (
        curves.estimate[kept],
        curves.low[kept],
        curves.high[kept],
    )
    return keyed(result, [*sample.by, "pipeline_id", "stage_id"], sample.tz)


@dataclass(frozen=True, slots=True)
class _Visits:
    """Visits as they were known at a time, each with its row of the result.

    Parameters
    ----------
    by, groups, places
        The columns to group by, their values by group, and the stages of each group.
    listed
        Whether each place is in the list of stages.
    row
        The row of the result of each stay.
    duration, entry, over, followed
        Days, days until it was first seen, whether it ended, and whether its duration is known.
    sources
        Number of visits of each source in every row.
    open, completed, visits
        Number of visits in every row.
    tz
        The timezone of naive times and bare dates.
    """

    by: list[str]
    groups: pd.DataFrame
    places: pd.DataFrame
    listed: Flags
    row: Micros
    duration: Floats
    entry: Floats
    over: Flags
    followed: Flags
    sources: NDArray[np.int64]
    open: Micros
    completed: Micros
    visits: Micros
    tz: str

    @classmethod
    def read(
        cls,
        visits: pd.DataFrame,
        stages: pd.DataFrame,
        as_of: Any,
        by: str | Sequence[str] | None,
        tz: str | None,
        deals: pd.DataFrame | None,
        deleted: Deleted,
        columns: Sequence[str],
    ) -> _Visits:
        """Read what was known at `as_of`; warn of what is left out."""
        tz = zone_of(tz, visits, stages, deals)
        until = moment(as_of, tz, "as_of", end_of_day=True)
        names = keys(by, columns, visits, deals)
        visits = require_columns(visits, "visits", VISITS)
        stages = require_columns(stages, "stages", ("id", "pipeline_id", "name", "order_nr"))
        check_choice("deleted", deleted, get_args(Deleted))
        known_visits = real_visits(visits, until, tz, "keep" if deleted == "keep" else "drop")
        now, over = to_micros(until), known_visits.left != NEVER
        _warn_of_unseen(known_visits)
        bounded = known_visits.of(visits["entered_after"]).notna().to_numpy() | (
            over & known_visits.of(visits["left_after"]).notna().to_numpy()
        )
        duration = (np.where(over, known_visits.left, now) - known_visits.entered) / DAY
        entry = np.maximum(known_visits.seen - known_visits.entered, 0) / DAY
        group, groups = grouped(attributes(visits, known_visits, deals, names), names)
        place, places, listed = _places(
            known_visits.of(plain_ids(visits["pipeline_id"])),
            known_visits.of(plain_ids(visits["stage_id"])),
            stages,
        )
        row = group * len(places) + place
        size = len(groups) * len(places)
        sources = np.stack(
            [
                np.bincount(row[known_visits.source == number], minlength=size)
                for number in range(len(SOURCES))
            ]
        )
        _warn_of_sources(
            known_visits.source,
            known_visits.deal,
            int((over & (entry >= duration) & (entry > 0)).sum()),
        )
        _warn_of_bounds(int(bounded.sum()), len(bounded))
        removed = over & (known_visits.end != DELETED) if deleted == "censored" else over
        return cls(
            names,
            groups,
            places,
            listed,
            row,
            duration,
            entry,
            removed,
            ~bounded,
            sources,
            np.bincount(row[~over], minlength=size),
            np.bincount(row[removed], minlength=size),
            np.bincount(row, minlength=size),
            tz,
        )

    def curves(self, min_at_risk: int) -> Curves:
        """Return the Kaplan-Meier curve of every row, empty where only the current state is known;
        warn of curves that depend on few visits.
        """
        if (
            isinstance(min_at_risk, bool)
            or not isinstance(min_at_risk, int | np.integer)
            or min_at_risk < 0
        ):
            raise ArgumentError(f"min_at_risk={min_at_risk!r} must be a whole number, 0 or more.")
        kept = self.followed & ~(self._of_current_alone[self.row])
        if kept.all():
            duration, over, row, entry = self.duration, self.over, self.row, self.entry
        else:
            duration, over, row, entry = (
                self.duration[kept],
                self.over[kept],
                self.row[kept],
                self.entry[kept],
            )
        curves = kaplan_meier(duration, over, row, len(self.visits), entry=entry)
        delayed = np.zeros(len(self.visits), np.bool_)
        delayed[row[(entry > 0) & (entry < duration)]] = True
        exits = np.flatnonzero(curves.events > 0)
        first = exits[np.unique(curves.group[exits], return_index=True)[1]]
        thin = first[delayed[curves.group[first]] & (curves.at_risk[first] < min_at_risk)]
        if len(thin):
            warn(
                f"{len(thin):,} of {len(first):,} estimates begin with fewer than {min_at_risk}"
                " visits at risk, because others were first seen later:"
                f" {self._named(curves.group[thin])}. The rest of the curve depends on those few."
                " They are kept: use larger groups, or load exact history with"
                " account.deal_changes(), 20 tokens per deal."
            )
        return curves

    @property
    def _of_current_alone(self) -> Flags:
        current = self.sources[CURRENT]
        return np.asarray((current > 0) & (current == self.visits), np.bool_)

    @property
    def shown(self) -> Flags:
        """Whether each row has a visit, or a stage that is listed: one that is not is known by its
        visits alone, so a group without any says nothing of it.
        """
        return np.asarray(np.tile(self.listed, len(self.groups)) | (self.visits > 0), np.bool_)

    @property
    def basis(self) -> pd.Categorical:
        """The source of the visits of every row."""
        kinds = (self.sources > 0).sum(axis=0)
        codes = np.where(
            kinds == 0, -1, np.where(kinds == 1, (self.sources > 0).argmax(axis=0), len(SOURCES))
        )
        return pd.Categorical.from_codes(codes, dtype=_BASES)

    def rows(self, wanted: Micros | None = None) -> pd.DataFrame:
        """Return the key columns of these rows of the result, of all by default."""
        rows = np.arange(len(self.visits)) if wanted is None else wanted
        count = max(len(self.places), 1)
        left = self.groups.take(rows // count).reset_index(drop=True)
        right = self.places.take(rows % count).reset_index(drop=True)
        return pd.concat([left, right], axis=1)

    def _named(self, rows: Micros) -> str:
        shown = self.rows(rows[:3])
        names = [
            ", ".join([*(f"{name} {line[name]}" for name in self.by), f"stage {line['stage_id']}"])
            for line in shown.to_dict("records")
        ]
        return "; ".join(names) + (f"; and {len(rows) - 3:,} more" if len(rows) > 3 else "")


def _places(
    pipeline: Micros, stage: Micros, stages: pd.DataFrame
) -> tuple[Micros, pd.DataFrame, Flags]:
    """Return the number of each visit's stage in the list of stages, that list (those of `stages`
    in their order, then those that it lacks), and which of them `stages` has.
    """
    listed = pd.DataFrame(
        {
            "pipeline_id": ids(stages, "pipeline_id"),
            "stage_id": one_row_each(stages, "stages"),
            "stage": stages["name"].astype("str"),
            "order_nr": ids(stages, "order_nr"),
        }
    )
    pipelines, pipeline_ids = pd.factorize(pipeline)
    places, stage_ids = pd.factorize(stage)
    pair = pipelines * max(len(stage_ids), 1) + places
    used, code = np.unique(pair, return_inverse=True)
    visited_stages = pd.DataFrame(
        {
            "pipeline_id": _nullable(pipeline_ids[used // max(len(stage_ids), 1)]),
            "stage_id": _nullable(stage_ids[used % max(len(stage_ids), 1)]),
        }
    )
    own = pd.MultiIndex.from_frame(listed[["pipeline_id", "stage_id"]])
    unknown = visited_stages[~pd.MultiIndex.from_frame(visited_stages).isin(own)]
    every = pd.concat([listed, unknown.reindex(columns=listed.columns).astype(listed.dtypes)])
    every = every.sort_values(
        ["pipeline_id", "order_nr", "stage_id"], na_position="last", kind="stable"
    ).reset_index(drop=True)
    number = pd.MultiIndex.from_frame(every[["pipeline_id", "stage_id"]]).get_indexer(
        pd.MultiIndex.from_frame(visited_stages)
    )
    has = pd.MultiIndex.from_frame(every[["pipeline_id", "stage_id"]]).isin(own)
    return number[code].astype(np.int64), every, np.asarray(has, np.bool_)


def _nullable(ids: Micros) -> pd.Series[Any]:
    return pd.Series(ids, dtype="Int64").mask(ids == NO_ID)


def _warn_of_unseen(known_visits: KnownVisits) -> None:
    unseen = len(known_visits.hidden)
    if unseen:
        last = pd.Timestamp(int(known_visits.hidden_seen.max()), unit="us", tz="UTC")
        warn(
            f"{unseen:,} of {unseen + len(known_visits.deal):,} visits that began by as_of were"
            " first seen after it and are not counted: at that time they were unknown. Pass an"
            f" as_of from {last} on, or load exact history with account.deal_changes(), 20 tokens"
            " per deal."
        )


def _warn_of_sources(source: Micros, deal: Micros, too_late: int) -> None:
    counts = np.bincount(source, minlength=len(SOURCES))
    if not counts[1:].any():
        return
    rests = [
        f"{count:,} come from {name}"
        for name, count in zip(("snapshots", "current stages alone"), counts[1:], strict=True)
        if count
    ]
    deals = len(np.unique(deal[source > 0]))
    warn(
        f"Of {len(source):,} visits, {' and '.join(rests)}, not from the changelog. A snapshot is"
        " likelier to show a longer visit, so each counts from the first snapshot that shows it,"
        f" and {too_late:,} that had ended by then are left out of the durations; a row with"
        " current stages alone has none. Load exact history with"
        f" account.deal_changes(visits['deal_id']): {deals:,} deal{'' if deals == 1 else 's'},"
        f" {20 * deals:,} tokens."
    )


def _warn_of_bounds(bounded: int, known_visits: int) -> None:
    if bounded:
        warn(
            f"{bounded:,} of {known_visits:,} visits have an entry or an exit that is only"
            " bounded: they are counted, but left out of the durations."
            " account.deal_changes(visits['deal_id']) has exact times, 20 tokens per deal."
        )


def _warn_of_horizon(curves: Curves, limit: float) -> None:
    short = (curves.start[1:] > curves.start[:-1]) & ~curves.identified(limit)
    if short.any():
        warn(
            f"mean_days is null in {short.sum():,} rows: their visits were not followed for"
            f" {limit:g} days. The longest horizon that every row identifies is"
            f" {np.floor(curves.last[short].min() * 100) / 100:g} days."
        )


__all__ = ["stage_survival", "stage_velocity"]

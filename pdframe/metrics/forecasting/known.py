"""Everything that was known of an account's deals at a time, as arrays: which were open when, in
which state, and how they ended.

`Known.at` reads the frames once; `Known.before` gives what was known at an earlier time from the
same columns. Nothing later than `as_of` is in a `Known`. At an earlier time than `as_of`, a deal is
in the state that was known then: a visit that only snapshots show counts from the first one that
shows it, a value from when it was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdframe._warnings import collect_warnings, warn
from pdframe.metrics import _known_at as visiting
from pdframe.metrics import _states as stating
from pdframe.metrics._arguments import (
    NULL,
    local_days,
    to_micros,
    zone_of,
)
from pdframe.metrics._columns import (
    NO_ID,
    places,
    plain_ids,
    plain_times,
)
from pdframe.metrics._known_at import NEVER, KnownVisits
from pdframe.metrics._periods import known_by
from pdframe.metrics._survival import Flags, Floats, Ints
from pdframe.metrics.forecasting._interface import DAY, LOST, OPEN, WON, OpenDeals, Outcomes
from pdframe.metrics.forecasting._rows import Timeline, last_until, next_of_group
from pdframe.metrics.forecasting._source import Frames, Source, Stages, read_frames

LEAST_CLOSED = 30
"""Closed deals that a forecast needs."""

MOVED = 3
"""The deal left the stage for another; beside the outcomes `OPEN`, `WON` and `LOST`."""

_CLOSED = (visiting.WON, visiting.LOST, visiting.DELETED)


class Created(NamedTuple):
    """Every deal known, by id: when it was created; its first pipeline, its owner and currency."""

    deal: Ints
    added: Ints
    pipeline: Ints
    owner: Ints
    currency: NDArray[np.object_]


class Wins(NamedTuple):
    """The wins that stand, by deal: when, on which of the company's days (`day`, days since 1970),
    and the values of the deal when it was won.
    """

    deal: Ints
    time: Ints
    day: Ints
    added: Ints
    value: Floats
    currency: NDArray[np.object_]
    pipeline: Ints
    owner: Ints


class Moves(NamedTuple):
    """Times in which deals were shown open in one stage, by deal and time.

    `kind` is `WON`, `LOST`, `MOVED` (to the stage `target`) or `OPEN`: it goes on at the end of
    what is known.
    """

    stage: Ints
    entered: Ints
    since: Ints
    until: Ints
    kind: Ints
    target: Ints
    pipeline: Ints


@dataclass(frozen=True, slots=True, eq=False)
class _Segments:
    """The times in which deals were shown open in one stage, by deal and time; `place` is that of
    the deal among the known deals.
    """

    place: Ints
    since: Ints
    until: Ints
    entered: Ints
    stage: Ints
    pipeline: Ints
    moves_back: Ints


class Known:
    """What was known of deals at a time.

    Attributes
    ----------
    as_of
        Microseconds since 1970 UTC.
    tz
        Name of the timezone of days.
    deals
        Ids of the known deals, ascending, without those that were deleted after they were closed.
    notes
        What was noticed in the data, as the messages of warnings.
    """

    def __init__(self, source: Source, as_of: int, tz: str) -> None:
        self._source, self.as_of, self.tz = source, as_of, tz
        with collect_warnings() as notes:
            self._arrange()
        self.notes = tuple(notes)

    @classmethod
    def at(
        cls,
        deals: pd.DataFrame,
        visits: pd.DataFrame,
        stages: pd.DataFrame,
        as_of: str | date | pd.Timestamp | pd.Period,
        history: pd.DataFrame | None = None,
        activities: pd.DataFrame | None = None,
        deal_products: pd.DataFrame | None = None,
        tz: str | None = None,
    ) -> Known:
        """Read the frames of the loaders; a day, month, quarter or year in `as_of` is its end.

        Parameters
        ----------
        deals, visits, stages, history, activities, deal_products
            From `account.deals()`, `stage_visits()`, `stages()`, `deal_history()`, `activities()`,
            `deal_products()`.
        as_of
            What happened after it is unknown.
        tz
            Timezone of naive times; None: that of the frames' `attrs["tz"]`, else UTC.

        Raises
        ------
        ArgumentError
            A column is missing or holds something else, or `as_of` is not a time.
        """
        tz = zone_of(tz, deals, visits, stages)
        frames = Frames(deals, visits, stages, history, activities, deal_products)
        limit = to_micros(known_by(as_of, tz, "as_of"))
        return cls(read_frames(frames, tz), limit, tz)

    def before(self, when: int) -> Known:
        """Return what was known at an earlier time (microseconds)."""
        return Known(self._source, min(when, self.as_of), self.tz)

    @property
    def frames(self) -> Frames:
        """The frames as given, for titles, names and columns to group by."""
        return self._source.frames

    @property
    def stages(self) -> Stages:
        """The stages, by id."""
        return self._source.stages

    @property
    def is_current(self) -> bool:
        """Whether the frames show nothing later than `as_of`: then their values held at it."""
        return self._source.newest <= self.as_of

    @property
    def newest(self) -> int:
        """The newest time that the frames show."""
        return self._source.newest

    @property
    def knows_values(self) -> bool:
        """Whether values at `as_of` are known: from history, or because nothing is later."""
        return self.is_current or self._source.frames.history is not None

    def open_at(self, times: Any) -> OpenDeals:
        """Return the deals that were open at each of some times, none later than `as_of`, in the
        state that was known then; by time and deal.
        """
        times = np.unique(np.asarray(times, np.int64))
        segments = self._segments
        first = np.searchsorted(times, segments.since)
        count = np.maximum(np.searchsorted(times, segments.until) - first, 0)
        row = np.repeat(np.arange(len(count)), count)
        before = np.cumsum(count) - count
        number = np.arange(len(row)) - before[row] + first[row]
        order = np.argsort(number, kind="stable")
        return self._observed(row[order], times[number[order]])

    def _observed(self, row: Ints, at: Ints) -> OpenDeals:
        """Return deals in these segments at these times."""
        segments = self._segments
        place = segments.place[row]
        values = {name: self._value(name, place, at) for name in self._shown}
        deal, activities, lines = self.deals[place], self._source.activities, self._source.lines
        return OpenDeals(
            deal,
            at,
            segments.pipeline[row],
            segments.stage[row],
            segments.entered[row],
            self._added[place],
            values["value"],
            values["currency"],
            values["owner_id"],
            values["expected_close_date"],
            segments.moves_back[row],
            None if activities is None else activities.at(deal, at),
            None if lines is None else lines.at(deal, at),
            values["probability"],
        )

    def outcomes(self, deals: OpenDeals) -> Outcomes:
        """Return the first closing of each deal after it was observed, as known at `as_of`."""
        all_deals, closing, time, kind = self._closings
        place = np.searchsorted(all_deals, deals.deal)
        place = np.minimum(place, max(len(all_deals) - 1, 0))
        start = np.searchsorted(closing, place)
        end = np.searchsorted(closing, place, side="right")
        if not len(all_deals):
            start = end = np.zeros(len(deals), np.int64)
        else:
            end = np.where(all_deals[place] == deals.deal, end, start)
        following = last_until(time, start, end, deals.at) + 1
        closed = following < end
        row = np.where(closed, following, 0)
        if not len(time):
            return Outcomes(np.full(len(deals), OPEN), np.full(len(deals), self.as_of))
        return Outcomes(np.where(closed, kind[row], OPEN), np.where(closed, time[row], self.as_of))

    @cached_property
    def moves(self) -> Moves:
        """How long deals were shown open in each stage, and how that ended."""
        segments = self._segments
        end = np.minimum(segments.until, self.as_of)
        first = np.append(segments.place[1:] == segments.place[:-1], False)
        target = np.append(segments.stage[1:], NO_ID)
        resumed = first & (np.append(segments.since[1:], NEVER) == segments.until)
        ended = segments.until <= self.as_of
        probe = self._observed(np.arange(len(end)), segments.since)
        outcome = self.outcomes(probe)
        closed = ended & (outcome.time == segments.until) & (outcome.kind != OPEN)
        kind = np.where(closed, outcome.kind, np.where(ended & resumed, MOVED, OPEN))
        return Moves(
            segments.stage, segments.entered, segments.since, end, kind, target, segments.pipeline
        )

    @property
    def followed(self) -> int:
        """The longest time over which as many deals as a forecast needs could be followed, in
        microseconds.
        """
        if len(self._added) < LEAST_CLOSED:
            return 0
        oldest = np.partition(self._added, LEAST_CLOSED - 1)[LEAST_CLOSED - 1]
        return max(self.as_of - int(oldest), 0)

    @property
    def unseen_share(self) -> float:
        """The share of the time in which deals were open that their stage is unknown."""
        segments = self._segments
        open_for = np.minimum(segments.until, self.as_of) - segments.since
        total = int(open_for.sum())
        return int(open_for[segments.stage == NO_ID].sum()) / total if total else 0.0

    @property
    def closing_times(self) -> Ints:
        """When deals were closed, one element per closing."""
        return self._closings[2]

    @cached_property
    def lives(self) -> Ints:
        """The time from creation to the last closing of each closed deal, in microseconds."""
        all_deals, closing, time, _ = self._closings
        last = np.append(closing[1:] != closing[:-1], True) if len(closing) else closing == 0
        place = np.minimum(np.searchsorted(self.deals, all_deals[closing[last]]), len(self.deals))
        own = np.append(self.deals, NO_ID)[place] == all_deals[closing[last]]
        result: Ints = np.maximum(time[last][own] - self._added[place[own]], 0)
        return result

    @cached_property
    def created(self) -> Created:
        """Every deal known, open or closed."""
        place = np.arange(len(self.deals))
        at = np.full(len(place), self.as_of)
        return Created(
            self.deals,
            self._added,
            self._first_pipeline,
            self._value("owner_id", place, at),
            self._value("currency", place, at),
        )

    @cached_property
    def wins(self) -> Wins:
        """The wins that stand at `as_of`."""
        place, time, day, pipeline = self._won
        values = {
            name: self._value(name, place, time, self._counted)
            for name in ("value", "currency", "owner_id")
        }
        return Wins(
            self.deals[place],
            time,
            day,
            self._added[place],
            values["value"],
            values["currency"],
            pipeline,
            values["owner_id"],
        )

    def _value(
        self, name: str, place: Ints, at: Ints, lines: dict[str, Timeline] | None = None
    ) -> NDArray[Any]:
        """Return a column of deals at times: from history, at `as_of` else from the frame if that
        shows nothing later. `lines`: values by when they began, for closed deals.
        """
        closed = lines is not None
        result = (self._shown if lines is None else lines)[name].at(place, at)
        if self.is_current and name in self._source.current and len(self._source.ids):
            own = self._source.current[name][self._row[place]]
            missing = self._row[place] >= 0
            missing &= pd.isna(result) if result.dtype.kind in "fO" else result == NO_ID
            missing &= closed | (at == self.as_of)
            result = np.where(missing, own, result)
        return result

    def _arrange(self) -> None:
        """Fill in all arrays."""
        source, now = self._source, pd.Timestamp(self.as_of, unit="us", tz="UTC")
        for text in source.notes:
            warn(text)
        state = source.ends.at(now)
        added = plain_times(state.created)
        created = source.ids[(added != NULL) & (added <= self.as_of)]
        unwalked = source.without_changelog(created, source.walked)
        visits = visiting.visits_known_at(source.visits_with(unwalked), now, self.tz)
        stage, pipeline = (
            visits.of(plain_ids(source.visits[name])) for name in ("stage_id", "pipeline_id")
        )
        change = visiting.changes_of_closed(visits.deal, visits.entered, visits.left, visits.end)
        # Where the frame knows a deal's state, and since when; for deals that visits do not show.
        alive = np.isin(state.state, (stating.OPEN, stating.WON, stating.LOST, stating.DELETED))
        alive &= ~((state.state != stating.OPEN) & state.ended.isna().to_numpy())
        there = alive & (added != NULL) & (added <= self.as_of)
        last = visits.last
        became, since, removed = visiting.states_of_known(source.visits, visits, change)
        over = last & removed & np.isin(became, (visiting.WON, visiting.LOST))
        removed_in_frame = source.ends.deletions.rows & (state.state == stating.UNKNOWN)
        removed_in_frame &= added <= self.as_of
        # Where the frame does not date the deletion, the visits do.
        dated = source.ends.deletions.since != NULL
        removed_in_frame &= dated | ~np.isin(source.ids, visits.deal)
        dropped = np.union1d(visits.deal[over], source.ids[removed_in_frame])
        all_deals = np.union1d(visits.deal, source.ids[there])
        row = places(source.ids, all_deals)
        first_of = np.append(True, visits.deal[1:] != visits.deal[:-1]) if len(last) else last
        entered_first = np.full(len(all_deals), NEVER)
        entered_first[np.searchsorted(all_deals, visits.deal[first_of])] = visits.entered[first_of]
        own = _at(added, row, NULL)
        own = np.where((own == NULL) | (own > entered_first), entered_first, own)
        segments, closing = self._visible(visits, all_deals, stage, pipeline, change, since)
        bare = entered_first == NEVER
        frame = _FrameStates.of(state, row)
        closing = _with_frame(closing, frame, bare, segments)
        self._closings = (all_deals, *closing)
        first_close = _first_times(closing[0], closing[1], len(all_deals))
        # An unknown stage would reveal that a deal will be deleted.
        shown = (row >= 0) & ~np.isin(all_deals, unwalked)
        segments = _with_unseen(segments, own, np.where(shown, own, NEVER), first_close)
        kept = ~np.isin(all_deals, dropped)
        number = np.cumsum(kept) - 1
        inside = kept[segments.place]
        self._segments = _Segments(
            number[segments.place[inside]],
            *(getattr(segments, name)[inside] for name in _Segments.__slots__[1:]),
        )
        self.deals, self._added, self._row = all_deals[kept], own[kept], row[kept]
        self._shown, self._counted = {}, {}
        unknown = {
            "value": np.nan,
            "currency": None,
            "owner_id": NO_ID,
            "expected_close_date": NULL,
            "probability": np.nan,
        }
        unlogged = source.without_changelog(created, source.logged)
        for name in source.changes:
            rows = source.changes_with(name, self.as_of, unlogged)
            self._shown[name] = Timeline.of(rows, self.deals, rows.seen, unknown[name])
            # A win counts at the value in the first snapshot that shows the win: an edit that the
            # same snapshot shows first was made with the win, or before it, as far as is known.
            began = np.where(rows.first, NULL, rows.begun)
            self._counted[name] = Timeline.of(rows, self.deals, began, unknown[name])
        self._first_pipeline = self._pipelines(all_deals, visits, pipeline, first_of)[kept]
        self._won = self._wins(visits, became, since, pipeline, state, bare[kept])

    def _visible(
        self,
        visits: KnownVisits,
        deals: Ints,
        stage: Ints,
        pipeline: Ints,
        change: Flags,
        since: Ints,
    ) -> tuple[_Segments, tuple[Ints, Ints, Ints]]:
        """Return when each visit was shown as the deal's present one, and the closings: place of
        the deal, time and kind.
        """
        place = np.searchsorted(deals, visits.deal)
        shown = np.maximum(visits.entered, visits.seen)
        following = next_of_group(place, shown)
        closed = np.isin(visits.end, _CLOSED)
        until = np.where(
            closed | (following == NEVER), np.minimum(visits.left, following), following
        )
        back = np.cumsum(visits.end == visiting.MOVED_BACK)
        start = np.searchsorted(visits.deal, visits.deal)
        back = back - (visits.end == visiting.MOVED_BACK)
        back = back - back[start] if len(back) else back
        there = ~change & (shown < until)
        segments = _Segments(
            place[there],
            shown[there],
            until[there],
            visits.entered[there],
            stage[there],
            pipeline[there],
            back[there],
        )
        # A move to a stage that the frame of visits does not have ends what can be followed.
        left = visits.last & ~closed & (visits.left != NEVER)
        # A closed deal that is moved, deleted or restored is not closed again.
        ended = (closed & (since == np.arange(len(since)))) | left
        kind = np.where(visits.end == visiting.WON, WON, LOST)
        return segments, (place[ended], visits.left[ended], kind[ended])

    def _pipelines(self, deals: Ints, visits: KnownVisits, pipeline: Ints, first: Flags) -> Ints:
        """Return the first pipeline of each deal: of its first visit, else of the frame if that
        shows nothing later.
        """
        result = np.full(len(deals), NO_ID)
        if self.is_current and "pipeline_id" in self._source.deals:
            row = places(self._source.ids, deals)
            result = _at(plain_ids(self._source.deals["pipeline_id"]), row, NO_ID)
        result[np.searchsorted(deals, visits.deal[first])] = pipeline[first]
        return result

    def _wins(
        self,
        visits: KnownVisits,
        became: Ints,
        since: Ints,
        pipeline: Ints,
        state: stating.States,
        bare: Flags,
    ) -> tuple[Ints, Ints, Ints, Ints]:
        """Return place, time, day and pipeline of the wins that stand."""
        won = visits.last & (became == visiting.WON) & np.isin(visits.deal, self.deals)
        base = since[won]
        place = np.searchsorted(self.deals, visits.deal[won])
        time, of = visits.left[base], pipeline[base]
        frame_won = (state.state == stating.WON) & state.ended.notna().to_numpy()
        ended, counted = plain_times(state.ended), plain_times(state.counted)
        frame_won = _at(frame_won, self._row, False)
        ended, counted = (_at(times, self._row, NULL) for times in (ended, counted))
        alone = np.flatnonzero(bare & frame_won)
        place = np.concatenate((place, alone))
        time = np.concatenate((time, ended[alone]))
        of = np.concatenate((of, self._first_pipeline[alone]))
        # The company's own day, where the frame dates the same win.
        own = frame_won[place] & (ended[place] == time)
        clock = np.where(own, counted[place], time)
        day = local_days(clock, self.tz) // DAY
        order = np.argsort(place, kind="stable")
        return place[order], time[order], day[order], of[order]


class _FrameStates(NamedTuple):
    """What the frame of deals knows of each deal's end: state, and time."""

    state: Ints
    ended: Ints

    @classmethod
    def of(cls, state: stating.States, row: Ints) -> _FrameStates:
        """Take the states of these rows; -1: no row."""
        return cls(
            _at(state.state, row, stating.UNKNOWN).astype(np.int64),
            _at(plain_times(state.ended), row, NULL),
        )


def _with_frame(
    closing: tuple[Ints, Ints, Ints], frame: _FrameStates, bare: Flags, segments: _Segments
) -> tuple[Ints, Ints, Ints]:
    """Add the closings of deals without visits, and the deletions that visits do not show."""
    place, time, kind = closing
    shown_open = np.zeros(len(bare), bool)
    shown_open[segments.place[segments.until == NEVER]] = True
    closed = bare & np.isin(frame.state, (stating.WON, stating.LOST))
    removed = (bare | shown_open) & (frame.state == stating.DELETED)
    rows = np.flatnonzero((closed | removed) & (frame.ended != NULL))
    place = np.concatenate((place, rows))
    time = np.concatenate((time, frame.ended[rows]))
    kind = np.concatenate((kind, np.where(frame.state[rows] == stating.WON, WON, LOST)))
    order = np.lexsort((time, place))
    removed_at = np.where(removed, frame.ended, NEVER)
    segments.until[:] = np.minimum(segments.until, removed_at[segments.place])
    return place[order], time[order], kind[order]


def _with_unseen(segments: _Segments, added: Ints, since: Ints, first_close: Ints) -> _Segments:
    """Add the time from each deal's creation to its first visible visit, in an unknown stage."""
    until = np.minimum(_first_times(segments.place, segments.since, len(since)), first_close)
    rows = np.flatnonzero(since < until)
    unknown = np.full(len(rows), NO_ID)
    more = (rows, since[rows], until[rows], since[rows], unknown, unknown, np.zeros_like(rows))
    columns = [
        np.concatenate((getattr(segments, name), column))
        for name, column in zip(_Segments.__slots__, more, strict=True)
    ]
    order = np.lexsort((columns[1], columns[0]))
    return _Segments(*(column[order] for column in columns))


def _first_times(place: Ints, time: Ints, count: int) -> Ints:
    """Return the first time of each place, `NEVER` where it has none."""
    result = np.full(count, NEVER)
    np.minimum.at(result, place, time)
    return result


def _at(values: NDArray[Any], row: Ints, missing: Any) -> NDArray[Any]:
    """Return the values at these rows, `missing` at -1."""
    return np.append(values, np.array(missing, values.dtype))[row]


__all__ = ["LEAST_CLOSED", "MOVED", "Created", "Frames", "Known", "Moves", "Stages", "Wins"]

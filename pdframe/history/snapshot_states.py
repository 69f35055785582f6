"""The states of a snapshot log: each row in the snapshots that differ from the one before, and what
these prove of the time before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pdframe.history.change_events import CLOSING_TIMES, IS_DELETED, LOGGED_COLUMNS
from pdframe.history.inputs import NONE, column_micros
from pdframe.history.value_texts import column_texts
from pdframe.schema.snapshots import OF_DEALS, TrackedHistory

SNAPSHOTS, FIRST_SNAPSHOT = "snapshots", "first look"
# The deal's own stamp of a change, where the API gives one. There is none of pipelines: the last
# change of the stage may be a later one, within the pipeline.
_STAMPS = {"stage_id": "stage_change_time", **CLOSING_TIMES}


class SeenState(NamedTuple):
    """A state of a row in a snapshot.

    `at` is the row of the snapshot log with the state; `seen` the time of the snapshot, `since` the
    earliest time at which it may have read the row; `proved` the latest time at which the state
    before is proved.
    """

    at: int
    seen: int
    since: int
    proved: int


class SnapshotStates:
    """The rows of a snapshot log, by row and snapshot.

    Parameters
    ----------
    rows, snapshots
        The snapshot log and its snapshots.
    tracked
        What the snapshots are of.
    """

    def __init__(self, rows: pa.Table, snapshots: pa.Table, tracked: TrackedHistory) -> None:
        order = np.lexsort((rows["look"].to_numpy(), rows[tracked.key].to_numpy()))
        self.rows = rows.take(pa.array(order))
        self.tracked = tracked
        self.ids = self.rows[tracked.key].to_numpy()
        self.first = np.append(
            np.ones(min(1, len(self.ids)), np.bool_), self.ids[1:] != self.ids[:-1]
        )
        self.seen = column_micros(self.rows["seen_at"])
        self.removed = pc.fill_null(self.rows["gone"], False).to_numpy().astype(np.bool_)
        self.since, self.proved = self._bounds(snapshots)
        self.stamps = (
            {name: column_micros(self.rows[column]) for name, column in _STAMPS.items()}
            if tracked is OF_DEALS
            else {}
        )
        self.texts = {name: column_texts(self.rows[name]) for name in tracked.tracked}
        self.texts[IS_DELETED] = np.where(self.removed, "true", "false").astype(object)

    def of_row(self, first: int, end: int, read: int) -> list[SeenState]:
        """Return the states of one row, which are those from `first` up to `end`, to compare with a
        changelog read at `read`.

        A snapshot that finds a row unchanged keeps nothing. The changelog may have a value between
        two snapshots, so the first snapshot that covers the time after the changelog was read
        counts as well.
        """
        result = [
            SeenState(at, int(self.seen[at]), int(self.since[at]), int(self.proved[at]))
            for at in range(first, end)
        ]
        place = int(np.searchsorted(self._complete, read, side="right"))
        if place == len(self._complete):
            return result
        seen, since = int(self._snapshot_seen[place]), int(self._complete[place])
        before = sum(snapshot.seen <= seen for snapshot in result)
        if before and result[before - 1].seen <= read and not self.removed[result[before - 1].at]:
            result.insert(before, SeenState(result[before - 1].at, seen, since, NONE))
        return result

    def moved_stages(self) -> Iterator[tuple[int, str | None, str | None, str | None]]:
        """Yield time, stage, old and new pipeline where a row has another pipeline than in the
        snapshot before, and the same stage.
        """
        stages, pipelines = self.texts["stage_id"], self.texts["pipeline_id"]
        same = ~self.first[1:] & ~self.removed[1:] & ~self.removed[:-1]
        same &= (stages[1:] == stages[:-1]) & (pipelines[1:] != pipelines[:-1])
        for before in np.flatnonzero(same).tolist():
            now = before + 1
            yield int(self.seen[now]), stages[now], pipelines[before], pipelines[now]

    def first_texts(self, name: str) -> dict[int, str | None]:
        """Return the value of a column in the first snapshot of each row."""
        return dict(zip(self.ids[self.first].tolist(), self.texts[name][self.first], strict=True))

    def deal_of(self, ids: NDArray[np.int64]) -> Any:
        """Return the deal of each line item in its last snapshot."""
        last = np.append(self.ids[1:] != self.ids[:-1], np.ones(min(1, len(self.ids)), np.bool_))
        known = pd.Series(
            self.rows["deal_id"]
            .to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)[last]
            .array,
            self.ids[last],
        )
        return known.reindex(ids).array

    def _bounds(self, snapshots: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return for each row the earliest time at which its snapshot may have read it, and the
        latest time at which the state before it is proved.
        """
        number, complete = snapshots["look"].to_numpy(), column_micros(snapshots["complete_to"])
        order = np.argsort(number, kind="stable")
        number, complete = number[order], complete[order]
        # For any time, the first snapshot with all changes up to it.
        self._complete, self._snapshot_seen = (
            np.maximum.accumulate(complete),
            column_micros(snapshots["seen_at"])[order],
        )
        full = np.isin(
            snapshots["kind"].to_numpy(zero_copy_only=False)[order].astype(str), ["full"]
        )
        own, at = (
            self.rows["look"].to_numpy(),
            np.searchsorted(number, self.rows["look"].to_numpy()),
        )
        there = at < len(number)
        there[there] = number[at[there]] == own[there]
        since = np.full(len(own), NONE)
        since[there] = complete[at[there]]
        # The newest full snapshot before the row's own.
        best = (
            np.append(NONE, np.maximum.accumulate(np.where(full, complete, NONE)))
            if len(number)
            else np.array([NONE])
        )
        proved = best[at]
        # The state before is no older than its snapshot.
        previous = np.append(NONE, since[:-1]) if len(since) else since
        fallback = np.append(NONE, self.seen[:-1]) if len(since) else since
        proved = np.where(self.first, NONE, np.maximum(proved, previous))
        proved = np.where(~self.first & (proved == NONE), fallback, proved)
        return since, proved

    def changes(self, without: frozenset[int] | set[int] = frozenset()) -> list[pd.DataFrame]:
        """Return the changes between snapshots; for rows in `without`, only those of columns that
        changelogs lack.
        """
        result, ruled = [], np.isin(self.ids, np.fromiter(without, np.int64, len(without)))
        for name, texts in self.texts.items():
            usable = (
                ~ruled
                if name in (*LOGGED_COLUMNS, IS_DELETED)
                else np.ones(len(self.ids), np.bool_)
            )
            result += [self._of_column(name, texts, usable)]
        return result

    def _of_column(self, name: str, texts: NDArray[Any], usable: NDArray[np.bool_]) -> pd.DataFrame:
        """Return the first values and the changes of one column."""
        before = np.append(np.array([None], object), texts[:-1]) if len(texts) else texts
        null, was_null = pd.isna(texts), pd.isna(before)
        if name == IS_DELETED:
            first, changed = self.first & self.removed, ~self.first & (texts != before)
        else:
            first = self.first & ~null
            changed = ~self.first & ((null != was_null) | (~null & ~was_null & (texts != before)))
        at = np.flatnonzero(usable & (first | changed))
        is_first = first[at]
        before = before[at].copy()
        before[is_first] = None
        time, after = self._times(name, texts, at)
        return pd.DataFrame(
            {
                "row": self.ids[at],
                "column": name,
                "before": before,
                "after": texts[at],
                "time": np.where(is_first, self.seen[at], time),
                "time_after": np.where(is_first, NONE, after),
                "source": np.where(is_first, FIRST_SNAPSHOT, SNAPSHOTS),
                "seen_at": self.seen[at],
            }
        )

    def _times(
        self, name: str, texts: NDArray[Any], at: NDArray[np.intp]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return when changes happened and their lower bounds; a change is exact if the deal's own
        stamp of it is possible.
        """
        low, high = self.proved[at], self.seen[at]
        stamp = np.full(len(at), NONE)
        if name in self.stamps:
            stamp = self.stamps[name][at]
        elif name == "status" and self.stamps:
            for status in CLOSING_TIMES:
                stamp = np.where(texts[at] == status, self.stamps[status][at], stamp)
        exact = (stamp != NONE) & (stamp > low) & (stamp <= high)
        # Bounds that leave no room are exact.
        return np.where(exact, stamp, high), np.where(exact | (low >= high), NONE, low)

    def stamped(self, name: str, text: str | None, at: int, low: int) -> int | None:
        """Return the deal's own stamp of a change if it lies between the bounds."""
        stamps = self.stamps.get((text or "") if name == "status" else name)
        stamp = NONE if stamps is None else int(stamps[at])
        return stamp if low < stamp <= self.seen[at] else None


__all__ = ["FIRST_SNAPSHOT", "SNAPSHOTS", "SeenState", "SnapshotStates"]

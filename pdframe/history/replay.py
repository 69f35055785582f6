"""The part of an account that looks back: stage visits, changes, and deals as they were known at a
time.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._warnings import warn
from pdframe.cache.deleted_deals import DeletedDeals
from pdframe.cache.snapshots import SnapshotLog, known_at
from pdframe.cache.store import Store
from pdframe.errors import ArgumentError, CacheError, NotCachedError
from pdframe.frames import to_frame
from pdframe.schema.snapshots import DELETED_DEALS, HISTORY, OF_LINES
from pdframe.sync.fetch_state import load_fetch_states

_STATE = (
    "id",
    "stage_id",
    "pipeline_id",
    "status",
    "stage_change_time",
    "add_time",
    "won_time",
    "lost_time",
    "first_won_time",
    "is_deleted",
)
_BESIDE = ("is_server_time", "look")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Past(ABC):
    """What an account can tell of the past; it grows with every sync of deals."""

    @property
    @abstractmethod
    def tz(self) -> str:
        """Name of the user's timezone."""

    @property
    @abstractmethod
    def _store(self) -> Store: ...

    @abstractmethod
    def deals(
        self,
        *,
        refresh: Literal["full"] | bool | None = None,
        labels: bool = True,
        columns: Any = None,
    ) -> pd.DataFrame:
        """One row a deal."""

    @abstractmethod
    def stages(
        self,
        *,
        refresh: Literal["full"] | bool | None = None,
        labels: bool = True,
        columns: Any = None,
    ) -> pd.DataFrame:
        """One row a stage."""

    def stage_visits(self, *, refresh: Literal["full"] | bool | None = None) -> pd.DataFrame:
        """One row a stay of a deal in a stage, archived deals and those known as deleted included.

        From the changelogs that were loaded (`deal_changes`), else from the looks that every sync
        of deals keeps, else from the deals as they are. Sync often: what happens between two looks
        is not known later. Of deals that were deleted before any look found them, those are known
        that a sync or `deals(deleted=True)` read in a list of deletions: 30 days back. Nothing is
        asked for them here.

        Parameters
        ----------
        refresh
            As for `deals` and `stages`, which it rests on.

        Returns
        -------
        DataFrame
            deal_id; pipeline_id, stage_id; visit: the deal's stays in this stage, counted from 1;
            entered_at, left_at (UTC): when it came and left, null while it is there; end: advanced,
            moved back, changed pipeline, won, lost, deleted (or no longer visible), open; null
            where it left for another stage and nothing tells whether forward or back; source:
            changelog, snapshots or current; entered_after, left_after: lower bounds where
            `entered_at` and `left_at` are but upper ones, null where these are exact; seen_at:
            server's time of the first look that found the stay, `entered_at` where the changelog
            tells it.

        Raises
        ------
        NotCachedError
            `refresh=False`, and deals or stages are not cached.
        CacheError
            The kept history or a cached changelog cannot be read.
        PdframeError
            As `deals` and `stages`, where they ask the API.

        Examples
        --------
        >>> visits = account.stage_visits()
        >>> columns = ["stage_id", "visit", "entered_at", "end", "source"]
        >>> visits.loc[visits["deal_id"] == 2, columns]
           stage_id  visit                entered_at       end     source
        1         7      1 2023-07-29 20:52:09+00:00  advanced  changelog
        2         3      1 2023-08-02 15:13:49+00:00  advanced  changelog
        3        12      1 2023-08-23 08:52:58+00:00  advanced  changelog
        4         4      1 2023-08-29 08:24:09+00:00  advanced  changelog
        5         9      1 2023-09-26 12:55:30+00:00       won  changelog
        """
        # Not at the top: what is imported there, every session waits for.
        from pdframe.history import stage_visits

        deals = self._with_deleted(self.deals(refresh=refresh, labels=False, columns=_STATE))
        stages = self.stages(
            refresh=refresh, labels=False, columns=["id", "order_nr", "pipeline_id"]
        )
        history, manifest = SnapshotLog(self._store), self._store.manifest("deals")
        visits = stage_visits(
            deals,
            history.rows(),
            self._changes(),
            stages=stages,
            snapshots=history.snapshots(),
            loaded=self._changes_loaded(),
            seen_at=manifest.server_time if manifest else None,
        )
        visits.attrs["tz"] = self.tz
        return visits

    def _with_deleted(self, deals: pd.DataFrame) -> pd.DataFrame:
        """Deals with those that are known as deleted, of which no history need be kept."""
        kept = DeletedDeals(self._store).rows()
        kept = kept.filter(
            pc.invert(pc.is_in(kept["id"], value_set=pa.array(deals["id"], pa.int64())))
        )
        if not kept.num_rows:
            return deals
        columns = [*_STATE, "deleted_time", "seen_at"]
        return pd.concat(
            [deals, to_frame(kept, DELETED_DEALS, labels=False, columns=columns)], ignore_index=True
        )

    def as_of(self, when: str | date | pd.Timestamp) -> pd.DataFrame:
        """Deals as they were known at a time: nothing that was seen later.

        From the looks that every sync of deals keeps; where the changelog of a deal is loaded
        (`deal_changes`), it tells the values of the deal between two looks and before the first
        one.

        Parameters
        ----------
        when
            A time, as text year first ("2026-06-30 12:00"); one without a timezone is in `tz`, a
            bare date means the end of that day there. Of an hour that the clock shows twice, the
            first is meant.

        Returns
        -------
        DataFrame
            One row a deal that was known by then: deal_id, the columns of deals that are kept, gone
            (deleted, then `status` says so, or no longer visible: the other columns are as seen
            last), seen_at (server's time of the look that found it so, or of the change that the
            changelog tells, UTC). Null where a deal had no value, or where nothing tells it: a
            changelog does not tell `is_archived`, and tells owner, probability and expected close
            from their first change on.

        Raises
        ------
        ArgumentError
            `when` is no time.
        NotCachedError
            No history is kept, or it begins later and no loaded changelog tells of that time.
        CacheError
            The kept history or a cached changelog cannot be read.

        Warns
        -----
        DataWarning
            The kept history begins later: the frame holds only the deals whose changelog is loaded.

        Examples
        --------
        >>> account = pdframe.sandbox.connect(seed=7, deals=40, progress=False)
        >>> sync = account.sync("deals")
        >>> account.company_model.edit_deal(1, probability=5)
        >>> account.advance(days=7)
        >>> sync = account.sync("deals")
        >>> [
        ...     float(account.as_of(day).set_index("deal_id")["probability"][1])
        ...     for day in ("2026-07-01", "2026-07-08")
        ... ]
        [nan, 5.0]
        """
        moment, history = _moment(when, self.tz), SnapshotLog(self._store)
        snapshots, rows = history.snapshots(), history.rows()
        begins = pc.min(snapshots["seen_at"]).as_py()
        reported = self._reported_by_changelogs(rows, snapshots, moment)
        if begins is None and not reported.num_rows:
            raise NotCachedError(
                "No history of deals is kept yet: it begins with the first account.sync('deals')"
                " and grows with every one."
            )
        if begins is not None and moment < begins:
            late = (
                f"The kept history of deals begins at {begins:%Y-%m-%d %H:%M:%S} UTC, after"
                f" {moment:%Y-%m-%d %H:%M:%S} UTC"
            )
            if not reported.num_rows:
                raise NotCachedError(
                    f"{late}, and no loaded changelog tells of that time. Ask for a later time;"
                    " account.deal_changes() loads changelogs, 20 tokens a deal."
                )
            added = rows.filter(
                pc.less_equal(rows["add_time"], pa.scalar(moment, pa.timestamp("us", "UTC")))
            )
            others = len(set(added["deal_id"].to_pylist()) - set(reported["deal_id"].to_pylist()))
            if others:
                warn(
                    f"{late}: as_of holds the {reported.num_rows:,} deals whose changelog is loaded,"
                    f" and lacks {others:,} others. account.deal_changes() loads theirs, 20 tokens"
                    " a deal."
                )
        seen = known_at(rows, moment).drop_columns(list(_BESIDE))
        seen = seen.filter(
            pc.invert(pc.is_in(seen["deal_id"], value_set=reported["deal_id"].combine_chunks()))
        )
        known = to_frame(pa.concat_tables([seen, reported]).sort_by("deal_id"), HISTORY).drop(
            columns=list(_BESIDE), errors="ignore"
        )
        known.attrs["tz"] = self.tz
        return known

    def _reported_by_changelogs(
        self, rows: pa.Table, snapshots: pa.Table, moment: datetime
    ) -> pa.Table:
        """The deals whose changelog is loaded as they were known at a time; no row where none
        is.
        """
        changes = self._changes()
        if changes is None:
            return rows.slice(0, 0).drop_columns(list(_BESIDE))
        from pdframe.history.deal_history import known_by_changelog

        return known_by_changelog(
            rows, snapshots, changes, self._changes_loaded(), moment, self._pipelines()
        )

    def deal_history(self) -> pd.DataFrame:
        """One row a deal and change of a tracked column, from kept looks and loaded changelogs.

        Where the changelog of a deal is loaded (`deal_changes`), it tells the columns stage_id,
        pipeline_id, status, value, currency, owner_id, expected_close_date, probability, won_time
        and lost_time up to the time at which it was read; looks add what it does not tell. A row
        with `before` null at the deal's add_time has the value that the deal was created with: that
        is known of stage, pipeline, status, value and currency (a changelog without a row of them
        says that they never changed), and of a column of which the changelog tells a change. Any
        other column has the value that the first look found, and what each later look found
        changed. Nothing is asked of the API.

        Returns
        -------
        DataFrame
            deal_id; column: a tracked column, or is_deleted; before, after: values as text (numbers
            as plain decimals, ids as whole numbers, true or false, ISO dates, ISO times in UTC),
            null: none; time (UTC): when it changed, of a first look when that was; where it is only
            bounded, the latest time possible; time_after: the earliest time possible, null where
            `time` is exact; source: changelog, snapshots (two looks differ), first look (no change:
            `before` and `time_after` are null); seen_at: server's time of the look that found it,
            `time` where the changelog tells it. A deal that disappears has a row is_deleted "true"
            (and status "deleted" where the API listed it so), one that comes back is_deleted
            "false". By deal, time and column.

        Raises
        ------
        CacheError
            The kept history or a cached changelog cannot be read.

        Examples
        --------
        >>> account = pdframe.sandbox.connect(seed=7, deals=40, progress=False)
        >>> sync = account.sync("deals")
        >>> account.company_model.edit_deal(1, probability=5)
        >>> account.advance(days=7)
        >>> sync = account.sync("deals")
        >>> history = account.deal_history()
        >>> history[(history["deal_id"] == 1) & (history["column"] == "probability")][
        ...     ["after", "time", "source"]
        ... ].to_dict("records")
        [{'after': '5', 'time': Timestamp('2026-07-07 12:00:01+0000', tz='UTC'), 'source':
        'snapshots'}]
        """
        from pdframe.history.deal_history import deal_history

        history = SnapshotLog(self._store)
        frame = deal_history(
            history.rows(),
            history.snapshots(),
            self._changes(),
            self._changes_loaded(),
            self._pipelines(),
        )
        frame.attrs["tz"] = self.tz
        return frame

    def line_history(self) -> pd.DataFrame:
        """One row a line item and change of a tracked column, from the looks that syncs of line
        items keep.

        The API tells the line items of today alone: an edit or a removal restates the months
        before. The looks tell what each line was when; they begin with the first sync by a version
        of pdframe that keeps them. Nothing is asked of the API.

        Returns
        -------
        DataFrame
            id: line item; deal_id: its deal, that of its last look; then the columns of
            `deal_history` from `column` on. The tracked columns are all that revenue metrics read:
            deal_id, product_id, product_variation_id, name, currency, quantity, item_price,
            discount, discount_type, tax, tax_method, sum, is_enabled, billing_frequency,
            billing_frequency_cycles, billing_start_date. The first look at a line item has a row
            for each of them that is not null, so that a line that is gone can be rebuilt. One that
            disappears has a row is_deleted "true", at the latest when its deal was deleted; one
            that comes back is_deleted "false". By line item, time and column.

        Raises
        ------
        CacheError
            A kept history or a cached changelog cannot be read.

        Examples
        --------
        >>> account = pdframe.sandbox.connect(seed=7, deals=40, progress=False)
        >>> sync = account.sync("deal_products")
        >>> account.company_model.edit_line(1, quantity=40)
        >>> account.advance(days=7)
        >>> sync = account.sync("deal_products")
        >>> history = account.line_history()
        >>> history[(history["id"] == 1) & (history["source"] == "snapshots")][
        ...     ["column", "before", "after"]
        ... ].to_dict("records")
        [{'column': 'quantity', 'before': '520', 'after': '40'}, {'column': 'sum', 'before':
        '25734.8', 'after': '1979.6'}]
        """
        from pdframe.history.deal_history import line_history

        lines = SnapshotLog(self._store, OF_LINES)
        frame = line_history(lines.rows(), lines.snapshots(), self.deal_history())
        frame.attrs["tz"] = self.tz
        return frame

    def _changes(self) -> pa.Table | None:
        """The changelogs that were loaded, None where none was."""
        return (
            self._store.read("deal_changes")
            if self._store.manifest("deal_changes") is not None
            else None
        )

    def _pipelines(self) -> dict[int, int]:
        """The pipeline of each stage, as far as stages are cached."""
        try:
            if self._store.manifest("stages") is None:
                return {}
            stages = self._store.read("stages", ["id", "pipeline_id"]).drop_null()
        except CacheError:
            return {}  # the next sync loads them again
        return dict(zip(stages["id"].to_pylist(), stages["pipeline_id"].to_pylist(), strict=True))

    def _changes_loaded(self) -> dict[int, datetime]:
        """When the changelog of each deal was read, by the server's clock; also of deals whose
        changelog is empty.
        """
        requested = load_fetch_states(self._store, "deal_changes")
        return {
            deal: snapshot.server_time
            for deal, snapshot in requested.items()
            if snapshot.matches and snapshot.server_time is not None
        }


def _moment(when: str | date | pd.Timestamp, tz: str) -> datetime:
    """The time meant, in UTC. Of a time that a clock shows twice the first; one that it leaves out,
    as if it had not been put forward.
    """
    problem = f"`when` is a time such as '2026-06-30' or '2026-06-30 12:00', not {when!r}."
    text = str(when).strip()
    # pandas also takes numbers (nanoseconds), hours (of today) and months: none of them says which
    # moment is meant.
    if _DAY.match(text) is None:
        raise ArgumentError(problem)
    try:
        moment = pd.Timestamp(when).to_pydatetime(warn=False)
    except (ValueError, TypeError, OverflowError):
        raise ArgumentError(problem) from None
    there = moment.tzinfo or ZoneInfo(tz)
    try:
        if isinstance(when, datetime) or _DAY.fullmatch(text) is None:
            return moment.replace(tzinfo=there).astimezone(UTC)
        # Counted back in UTC: by the clock, the last hour of a day can come twice.
        return datetime.combine(moment.date() + timedelta(days=1), time(), there).astimezone(
            UTC
        ) - timedelta(microseconds=1)
    except OverflowError:
        raise ArgumentError(problem) from None

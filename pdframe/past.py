"""The part of an account that looks back: stage visits, changes, and deals as they were known at a time."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.errors import ArgumentError, NotCachedError
from pdframe.frames import to_frame
from pdframe.history import History, known_at
from pdframe.schema.kept import HISTORY, OF_LINES
from pdframe.store import Store
from pdframe.sync.asked import load_asked

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
    def deals(self, *, refresh: Literal["full"] | bool | None = None, labels: bool = True, columns: Any = None) -> pd.DataFrame:
        """One row a deal."""

    @abstractmethod
    def stages(self, *, refresh: Literal["full"] | bool | None = None, labels: bool = True, columns: Any = None) -> pd.DataFrame:
        """One row a stage."""

    def stage_visits(self, *, refresh: Literal["full"] | bool | None = None) -> pd.DataFrame:
        """One row a stay of a deal in a stage, archived and deleted deals included.

        From the changelogs that were loaded (`deal_changes`), else from the looks that every sync of deals keeps, else from the deals as
        they are. Sync often: what happens between two looks is not known later.

        Parameters
        ----------
        refresh
            As for `deals` and `stages`, which it rests on.

        Returns
        -------
        DataFrame
            deal_id; pipeline_id, stage_id; visit: the deal's stays in this stage, counted from 1; entered_at, left_at (UTC): when it came
            and left, null while it is there; end: advanced, moved back, changed pipeline, won, lost, deleted (or no longer visible), open;
            null where it left for another stage and nothing tells whether forward or back; source: changelog, snapshots or current;
            entered_after, left_after: lower bounds where `entered_at` and `left_at` are but upper ones, null where these are exact;
            seen_at: server's time of the first look that found the stay, `entered_at` where the changelog tells it.

        Raises
        ------
        NotCachedError
            `refresh=False`, and deals or stages are not cached.
        CacheError
            The kept history or a cached changelog cannot be read.
        PdframeError
            As `deals` and `stages`, where they ask the API.
        """
        # Not at the top: what is imported there, every session waits for.
        from pdframe.visits import stage_visits

        deals = self.deals(refresh=refresh, labels=False, columns=_STATE)
        stages = self.stages(refresh=refresh, labels=False, columns=["id", "order_nr", "pipeline_id"])
        history, manifest = History(self._store), self._store.manifest("deals")
        visits = stage_visits(
            deals,
            history.rows(),
            self._changes(),
            stages=stages,
            looks=history.looks(),
            loaded=self._changes_loaded(),
            seen_at=manifest.server_time if manifest else None,
        )
        visits.attrs["tz"] = self.tz
        return visits

    def as_of(self, when: str | date | pd.Timestamp) -> pd.DataFrame:
        """Deals as the kept history knew them at a time: nothing that was seen later.

        Parameters
        ----------
        when
            A time, as text year first ("2026-06-30 12:00"); one without a timezone is in `tz`, a bare date means the end of that day there.
            Of an hour that the clock shows twice, the first is meant.

        Returns
        -------
        DataFrame
            One row a deal that was seen by then: deal_id, the columns of deals that are kept, gone (deleted, then `status` says so, or no
            longer visible: the other columns are as seen last), seen_at (server's time of the look that found it so, UTC).

        Raises
        ------
        ArgumentError
            `when` is no time.
        NotCachedError
            No history is kept, or it begins later.
        CacheError
            The kept history cannot be read.
        """
        moment, history = _moment(when, self.tz), History(self._store)
        begins = pc.min(history.looks()["seen_at"]).as_py()
        if begins is None:
            raise NotCachedError(
                "No history of deals is kept yet: it begins with the first account.sync('deals') and grows with every one."
            )
        if moment < begins:
            raise NotCachedError(
                f"The kept history of deals begins at {begins:%Y-%m-%d %H:%M:%S} UTC, after {moment:%Y-%m-%d %H:%M:%S} UTC: nobody looked "
                "before. Ask for a later time; stage_visits() tells what is known of earlier stages."
            )
        rows = known_at(history.rows(), moment)
        known = to_frame(rows, HISTORY).drop(columns=list(_BESIDE))
        known.attrs["tz"] = self.tz
        return known

    def deal_history(self) -> pd.DataFrame:
        """One row a deal and change of a tracked column, from kept looks and loaded changelogs.

        Where the changelog of a deal is loaded (`deal_changes`), it tells the columns stage_id, pipeline_id, status, value, currency,
        owner_id, expected_close_date, probability, won_time and lost_time up to the time at which it was read; looks add what it does not
        tell. Such a deal also has a row a column for the value that it was created with (`before` null, `time` its add_time). Any other
        deal has the values that the first look found, and what each later look found changed. Nothing is asked of the API.

        Returns
        -------
        DataFrame
            deal_id; column: a tracked column, or is_deleted; before, after: values as text (numbers as plain decimals, ids as whole
            numbers, true or false, ISO dates, ISO times in UTC), null: none; time (UTC): when it changed, of a first look when that was;
            where it is only bounded, the latest time possible; time_after: the earliest time possible, null where `time` is exact;
            source: changelog, snapshots (two looks differ), first look (no change: `before` and `time_after` are null); seen_at: server's
            time of the look that found it, `time` where the changelog tells it. A deal that disappears has a row is_deleted "true" (and
            status "deleted" where the API listed it so), one that comes back is_deleted "false". By deal, time and column.

        Raises
        ------
        CacheError
            The kept history or a cached changelog cannot be read.

        Examples
        --------
        >>> history = account.deal_history()
        >>> history[(history["column"] == "value") & (history["source"] != "first look")]
        """
        from pdframe.history_frames import deal_history

        history = History(self._store)
        return deal_history(history.rows(), history.looks(), self._changes(), self._changes_loaded())

    def line_history(self) -> pd.DataFrame:
        """One row a line item and change of a tracked column, from the looks that syncs of line items keep.

        The API tells the line items of today alone: an edit or a removal restates the months before. The looks tell what each line was
        when; they begin with the first sync by a version of pdframe that keeps them. Nothing is asked of the API.

        Returns
        -------
        DataFrame
            id: line item; deal_id: its deal, that of its last look; then the columns of `deal_history` from `column` on. The tracked
            columns are all that revenue metrics read: deal_id, product_id, product_variation_id, name, currency, quantity, item_price,
            discount, discount_type, tax, tax_method, sum, is_enabled, billing_frequency, billing_frequency_cycles, billing_start_date.
            The first look at a line item has a row for each of them that is not null, so that a line that is gone can be rebuilt. One
            that disappears has a row is_deleted "true", at the time at which its deal was deleted where it went with that; one that comes
            back is_deleted "false". By line item, time and column.

        Raises
        ------
        CacheError
            A kept history or a cached changelog cannot be read.

        Examples
        --------
        >>> history = account.line_history()
        >>> history[history["column"] == "item_price"]
        """
        from pdframe.history_frames import line_history

        lines = History(self._store, OF_LINES)
        return line_history(lines.rows(), lines.looks(), self.deal_history())

    def _changes(self) -> pa.Table | None:
        """The changelogs that were loaded, None where none was."""
        return self._store.read("deal_changes") if self._store.manifest("deal_changes") is not None else None

    def _changes_loaded(self) -> dict[int, datetime]:
        """When the changelog of each deal was read, by the server's clock; also of deals whose changelog is empty."""
        asked = load_asked(self._store, "deal_changes")
        return {deal: look.server_time for deal, look in asked.items() if look.found and look.server_time is not None}


def _moment(when: str | date | pd.Timestamp, tz: str) -> datetime:
    """The time meant, in UTC. Of a time that a clock shows twice the first; one that it leaves out, as if it had not been put forward."""
    problem = f"`when` is a time such as '2026-06-30' or '2026-06-30 12:00', not {when!r}."
    text = str(when).strip()
    # pandas also takes numbers (nanoseconds), hours (of today) and months: none of them says which moment is meant.
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
        return datetime.combine(moment.date() + timedelta(days=1), time(), there).astimezone(UTC) - timedelta(microseconds=1)
    except OverflowError:
        raise ArgumentError(problem) from None

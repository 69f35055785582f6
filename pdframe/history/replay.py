"""What an account knows of the past: stage visits, changes, and deals as they were known at a time.

The functions are methods of `Account`. Only `stage_visits` may send requests, to refresh deals and
stages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, Protocol, TypeAlias
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._moments import named_period
from pdframe._relative_times import absolute
from pdframe._warnings import warn
from pdframe.cache.deleted_deals import DeletedDeals, absent_since
from pdframe.cache.messages import UNANSWERED, DataWarnings, suggest_cache
from pdframe.cache.server_clock import attrs_of, server_now
from pdframe.cache.snapshots import SnapshotLog, known_at
from pdframe.cache.store import Store
from pdframe.errors import ArgumentError, CacheError, NotCachedError
from pdframe.frames import to_frame, unify
from pdframe.history.change_events import evidently_logged
from pdframe.history.deal_history import deal_history as changes_of_deals
from pdframe.history.deal_history import known_by_changelog
from pdframe.history.deal_history import line_history as changes_of_lines
from pdframe.history.latest import Latest
from pdframe.history.stage_visits import Knowledge, visits_table
from pdframe.metrics._periods import known_by
from pdframe.schema.catalog import STAGES
from pdframe.schema.deals import DEALS
from pdframe.schema.snapshots import HISTORY, OF_LINES, STAGE_VISITS
from pdframe.sync.fetch_state import load_states

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
_TIME = pa.timestamp("us", "UTC")
_STAGE_COLUMNS = ("id", "order_nr", "pipeline_id")
_CHANGE_COLUMNS = ("deal_id", "time", "field_key", "old_value", "new_value")
_OF_SNAPSHOTS = ("is_server_time", "look")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_Refresh: TypeAlias = Literal["full"] | bool | None


class Loader(Protocol):
    """A method of an account that loads a table."""

    def __call__(
        self, *, refresh: _Refresh = ..., labels: bool = ..., columns: Sequence[str] | None = ...
    ) -> pd.DataFrame:
        """Return the table."""


class Remembering(Protocol):
    """What these functions need of an account."""

    @property
    def tz(self) -> str:
        """Name of the user's timezone."""

    @property
    def deals(self) -> Loader:
        """Load deals."""

    @property
    def stages(self) -> Loader:
        """Load stages."""

    @property
    def _store(self) -> Store: ...

    @property
    def _latest_visits(self) -> Latest[pa.Table]: ...

    @property
    def _data_warnings(self) -> DataWarnings: ...


def stage_visits(self: Remembering, *, refresh: _Refresh = None) -> pd.DataFrame:
    """Return one row per visit of a deal to a stage, archived and known deleted deals included.

    The visits of a deal come from its changelog if that is loaded (`deal_changes`), else from the
    snapshots that every sync of deals takes, else from the deal as it is. Sync often: what happens
    between two snapshots is unknown later. Of the deals that were deleted before any snapshot, this
    knows those that a sync or `deals(deleted=True)` read in a list of deletions, which reaches 30
    days back. Deletions are not requested here.

    Parameters
    ----------
    refresh
        As in `deals` and `stages`, which are read.

    Returns
    -------
    DataFrame
        deal_id; pipeline_id, stage_id; visit: the number of the deal's visit to this stage, from 1;
        entered_at, left_at (UTC): when the deal entered and left, null while it is there; end:
        advanced, moved back, changed pipeline, won, lost, deleted (or no longer visible), open;
        null if the deal left for another stage and it is unknown whether forward or back; source:
        changelog, snapshots or current; entered_after, left_after: lower bounds if `entered_at` and
        `left_at` are only upper bounds, null if these are exact; seen_at: server's time of the
        first snapshot with the visit, `entered_at` if the changelog has it.

    Raises
    ------
    NotCachedError
        `refresh=False`, and deals or stages are not cached.
    CacheError
        The snapshot log or a cached changelog cannot be read.
    PdframeError
        As in `deals` and `stages`, if they send requests.

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
    store = self._store
    call = "account.stage_visits(refresh=False)"
    with self._data_warnings.one_a_call(STAGE_VISITS.name):
        try:
            self.deals(refresh=refresh, labels=False, columns=["id"])
            self.stages(refresh=refresh, labels=False, columns=["id"])
        except UNANSWERED as error:
            suggest_cache(error, store, ["deals", "stages"], call)
            raise
    visits = to_frame(self._latest_visits.get(store, lambda: _visits(store)), STAGE_VISITS)
    visits.attrs |= attrs_of(store, self.tz)
    return visits


def _visits(store: Store) -> pa.Table:
    """Compute the stage visits from what is cached."""
    log, manifest = SnapshotLog(store), store.manifest("deals")
    snapshots = log.snapshots()
    stages, _ = unify([store.read("stages", _STAGE_COLUMNS)], STAGES)
    known = Knowledge.of(
        _with_deleted(store, snapshots),
        log.rows(),
        _changes(store),
        stages=stages,
        snapshots=snapshots,
        loaded=_read_times(store),
        seen_at=manifest.server_time if manifest else None,
    )
    return visits_table(known.visits())


def _with_deleted(store: Store, snapshots: pa.Table) -> pa.Table:
    """Return the cached deals and the known deleted ones, those without a snapshot among them."""
    deals, _ = unify([store.read("deals", _STATE)], DEALS)
    removed = DeletedDeals(store).rows()
    removed = removed.filter(pc.invert(pc.is_in(removed["id"], value_set=_ids(deals["id"]))))
    removed = removed.append_column("absent_at", absent_since(removed["update_time"], snapshots))
    names = [*_STATE, "deleted_time", "seen_at", "absent_at"]
    columns = [deals.select(_STATE), removed.select(names)]
    return pa.concat_tables(columns, promote_options="default")


def as_of(
    self: Remembering, when: str | date | timedelta | pd.Timestamp | pd.Period
) -> pd.DataFrame:
    """Return deals as they were known at a time: nothing that was seen later.

    The values come from the snapshots that every sync of deals takes. If the changelog of a deal is
    loaded (`deal_changes`), it adds the values between two snapshots and before the first one.

    Parameters
    ----------
    when
        A time, as text with the year first ("2026-06-30 12:00"). A time without a timezone is in
        `tz`; a bare date means the end of that day there, a year, quarter, month ("2026-05") or
        `pd.Period` its end. Of an hour that the clock shows twice, the first is meant. Or counted
        from the server's now: "yesterday", "last Monday", "7 days ago" (the end of that day), "3
        hours ago", "last month".

    Returns
    -------
    DataFrame
        One row per deal that was known by then: deal_id; the tracked columns of deals; gone:
        deleted (then `status` says so) or no longer visible, with the other columns as seen last;
        seen_at (UTC): server's time of the snapshot, or of the change in the changelog, that the
        row is from. Null where a deal had no value, or the value is unknown: a changelog has no
        `is_archived`, has the probability only from its first change on, and owner and expected
        close date only if it, or another loaded changelog, has a change of them.

    Raises
    ------
    ArgumentError
        `when` is no time, or a day after the server's today: its clock at the last sync, plus the
        time since.
    NotCachedError
        There is no snapshot, or the first one is later and no loaded changelog covers that time.
    CacheError
        The snapshot log or a cached changelog cannot be read.

    Warns
    -----
    DataWarning
        The first snapshot is later: the frame has only the deals whose changelog is loaded.

    Examples
    --------
    >>> account = pdframe.sandbox.connect(seed=7, deals=40, progress=False)
    >>> sync = account.sync("deals")
    >>> account.company_model.edit_deal(1, probability=5)
    >>> account.advance(days=7)
    >>> sync = account.sync("deals")
    >>> [
    ...     float(account.as_of(day).set_index("deal_id")["probability"][1])
    ...     for day in ("2026-07-01", "2026-07-07")
    ... ]
    [nan, 5.0]
    """
    store, now = self._store, server_now(self._store)
    moment = _moment(absolute(when, now, self.tz, "when"), self.tz)
    today = now.astimezone(ZoneInfo(self.tz)).date()
    if moment.astimezone(ZoneInfo(self.tz)).date() > today:
        raise ArgumentError(
            f"`when` must not be in the future: {str(when)!r} is after the server's today, {today}."
            " account.deals() returns the deals as they are now."
        )
    log = SnapshotLog(store)
    snapshots, rows = log.snapshots(), log.rows()
    first = pc.min(snapshots["seen_at"]).as_py()
    logged = _known_by_changelog(store, rows, snapshots, moment)
    if first is None and not logged.num_rows:
        raise NotCachedError(
            "There is no snapshot of deals yet: account.sync('deals') takes the first one, and"
            " another at every sync."
        )
    if first is not None and moment < first:
        _check_coverage(rows, logged, moment, first)
    seen = known_at(rows, moment).drop_columns(list(_OF_SNAPSHOTS))
    seen = seen.filter(pc.invert(pc.is_in(seen["deal_id"], value_set=_ids(logged["deal_id"]))))
    deals = to_frame(pa.concat_tables([seen, logged]).sort_by("deal_id"), HISTORY)
    deals = deals.drop(columns=list(_OF_SNAPSHOTS), errors="ignore")
    deals.attrs |= attrs_of(store, self.tz)
    return deals


def _check_coverage(rows: pa.Table, logged: pa.Table, moment: datetime, first: datetime) -> None:
    """Raise or warn because the first snapshot is later than the wanted time."""
    late = (
        f"The first snapshot of deals is from {first:%Y-%m-%d %H:%M:%S} UTC, after"
        f" {moment:%Y-%m-%d %H:%M:%S} UTC"
    )
    if not logged.num_rows:
        raise NotCachedError(
            f"{late}, and no loaded changelog covers that time. Choose a later time, or load"
            " changelogs with account.deal_changes(), 20 tokens a deal."
        )
    limit = pa.scalar(moment, pa.timestamp("us", "UTC"))
    added = rows.filter(pc.less_equal(rows["add_time"], limit))
    others = len(set(added["deal_id"].to_pylist()) - set(logged["deal_id"].to_pylist()))
    if others:
        warn(
            f"{late}: as_of has the {logged.num_rows:,} deals whose changelog is loaded, and lacks"
            f" {others:,} others. account.deal_changes() loads their changelogs, 20 tokens a deal."
        )


def _known_by_changelog(
    store: Store, rows: pa.Table, snapshots: pa.Table, moment: datetime
) -> pa.Table:
    """Return the deals whose changelog is loaded as they were known at a time; no row if there is
    no changelog.
    """
    changes = _changes(store)
    if changes is None:
        return rows.slice(0, 0).drop_columns(list(_OF_SNAPSHOTS))
    return known_by_changelog(
        rows, snapshots, changes, _read_times(store), moment, _pipelines(store)
    )


def deal_history(self: Remembering) -> pd.DataFrame:
    """Return one row per deal and change of a tracked column, from snapshots and loaded changelogs.

    If the changelog of a deal is loaded (`deal_changes`), the changes of the columns stage_id,
    pipeline_id, status, value, currency, owner_id, expected_close_date, probability, won_time and
    lost_time up to the time at which it was read come from it; snapshots add what it lacks. A row
    with `before` null at the deal's add_time has the value with which the deal was created. That
    value is known for stage, pipeline, status, value and currency (if a changelog has no row of
    them, they never changed), and for a column whose change the changelog has. It is also known for
    the owner and the expected close date where any loaded changelog has a change of that column.
    These two, if they did not change, and any other column have the value in the first snapshot,
    then its changes from snapshot to snapshot. No request is sent.

    Returns
    -------
    DataFrame
        deal_id; column: a tracked column, or is_deleted; before, after: values as text (numbers as
        plain decimals, ids as whole numbers, true or false, ISO dates, ISO times in UTC), null:
        none; time (UTC): when the column changed, in a first snapshot when that was taken; if only
        bounded, the latest time possible; time_after: the earliest time possible, null if `time` is
        exact; source: changelog, snapshots (two snapshots differ), first look (the first snapshot,
        no change: `before` and `time_after` are null); seen_at: server's time of the snapshot with
        the change, `time` if the changelog has it. A deal that disappears has a row is_deleted
        "true" (and status "deleted" if the API listed it so), a deal that comes back a row
        is_deleted "false". Ordered by deal, time and column.

    Raises
    ------
    CacheError
        The snapshot log or a cached changelog cannot be read.

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
    store = self._store
    log = SnapshotLog(store)
    frame = changes_of_deals(
        log.rows(), log.snapshots(), _changes(store), _read_times(store), _pipelines(store)
    )
    frame.attrs |= attrs_of(self._store, self.tz)
    return frame


def history_of_deal(store: Store, deal: int) -> pd.DataFrame:
    """Return the rows of `deal_history` of one deal.

    Reads the cached histories of all deals, and computes those of this deal and of deals that
    changed their pipeline: they may show that a stage was moved to another one.
    """
    log, changes, read = SnapshotLog(store), _changes(store), _read_times(store)
    rows = log.rows()
    pipelines = rows.group_by("deal_id").aggregate([("pipeline_id", "count_distinct")])
    moved = [pipelines.filter(pc.greater(pipelines["pipeline_id_count_distinct"], 1))["deal_id"]]
    if changes is not None:
        moved.append(changes.filter(pc.equal(changes["field_key"], "pipeline_id"))["deal_id"])
    wanted = pa.array({deal}.union(*(column.to_pylist() for column in moved)), pa.int64())
    history = changes_of_deals(
        rows.filter(pc.is_in(rows["deal_id"], wanted)),
        log.snapshots(),
        None if changes is None else changes.filter(pc.is_in(changes["deal_id"], wanted)),
        read.filter(pc.is_in(read["id"], wanted)),
        _pipelines(store),
        evidently_logged(changes),
    )
    return history[history["deal_id"] == deal].reset_index(drop=True)


def has_changelog(store: Store, deal: int) -> bool:
    """Whether the changelog of a deal is cached."""
    return bool(pc.is_in(pa.scalar(deal), _ids(_read_times(store)["id"])).as_py())


def line_history(self: Remembering) -> pd.DataFrame:
    """Return one row per line item and change of a tracked column, from the snapshots that syncs of
    line items take.

    The API has only the line items of today: an edit or a removal restates the months before. The
    snapshots keep what each line item was; they begin with the first sync by a version of pdframe
    that takes them. No request is sent.

    Returns
    -------
    DataFrame
        id: line item; deal_id: its deal in its last snapshot; then the columns of `deal_history`
        from `column` on. The tracked columns are all that revenue metrics read: deal_id,
        product_id, product_variation_id, name, currency, quantity, item_price, discount,
        discount_type, tax, tax_method, sum, is_enabled, billing_frequency,
        billing_frequency_cycles, billing_start_date. The first snapshot of a line item has a row
        for each of them that is not null, so that a removed line item can be rebuilt. A line item
        that disappears has a row is_deleted "true", at the latest when its deal was deleted; one
        that comes back a row is_deleted "false". Ordered by line item, time and column.

    Raises
    ------
    CacheError
        A snapshot log or a cached changelog cannot be read.

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
    log = SnapshotLog(self._store, OF_LINES)
    frame = changes_of_lines(log.rows(), log.snapshots(), deal_history(self))
    frame.attrs |= attrs_of(self._store, self.tz)
    return frame


def _changes(store: Store) -> pa.Table | None:
    """Return the loaded changelogs; None if there are none."""
    if store.manifest("deal_changes") is None:
        return None
    return store.read("deal_changes", _CHANGE_COLUMNS)


def _read_times(store: Store) -> pa.Table:
    """Return id and server_time: when the changelog of each deal was read, empty ones included."""
    states = load_states(store, "deal_changes")
    was_read = pc.and_(states["found"], states["server_time"].is_valid())
    return states.filter(was_read).select(["id", "server_time"])


def _pipelines(store: Store) -> dict[int, int]:
    """Return the pipeline of each stage, as far as stages are cached."""
    try:
        if store.manifest("stages") is None:
            return {}
        stages = store.read("stages", ["id", "pipeline_id"]).drop_null()
    except CacheError:
        return {}  # the next sync reloads them
    return dict(zip(stages["id"].to_pylist(), stages["pipeline_id"].to_pylist(), strict=True))


def _ids(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks().cast(pa.int64())


def _moment(when: str | date | pd.Timestamp | pd.Period, tz: str) -> datetime:
    """Return the time in UTC. Of a time that the clock shows twice, the first is meant; a time that
    the clock skips is read as if it had not been put forward.
    """
    problem = f"`when` must be a time such as '2026-06-30' or '2026-06-30 12:00', not {when!r}."
    if isinstance(when, pd.Period) or named_period(when, "when") is not None:
        return known_by(when, tz, "when").to_pydatetime()
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


__all__ = [
    "Remembering",
    "as_of",
    "deal_history",
    "has_changelog",
    "history_of_deal",
    "line_history",
    "stage_visits",
]

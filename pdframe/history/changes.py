"""What happened to the deals of an account between two times; a method of `Account`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from typing import Any, Literal, Protocol, TypeAlias

import pandas as pd

from pdframe._relative_times import absolute, refuse_future
from pdframe._warnings import collect_warnings
from pdframe.cache.messages import UNANSWERED, suggest_cache
from pdframe.cache.server_clock import server_now
from pdframe.cache.store import Store
from pdframe.errors import AccessError, NotCachedError
from pdframe.metrics import changes as changes_of
from pdframe.metrics._arguments import moment

__all__ = ["Changing", "changes"]

_Refresh: TypeAlias = Literal["full"] | bool | None
_Moment: TypeAlias = str | date | timedelta | pd.Timestamp | pd.Period
# What `metrics.changes` reads of deals.
_COLUMNS = (
    "id",
    "title",
    "status",
    "add_time",
    "update_time",
    "stage_change_time",
    "won_time",
    "lost_time",
    "archive_time",
    "deleted_time",
)


class Changing(Protocol):
    """What this function needs of an account."""

    @property
    def tz(self) -> str:
        """Name of the user's timezone."""

    def deals(
        self,
        *,
        refresh: _Refresh = ...,
        labels: bool = ...,
        columns: Sequence[str] | None = ...,
        deleted: bool = ...,
    ) -> pd.DataFrame:
        """Load deals."""

    def stages(self, *, refresh: _Refresh = ..., names: bool | None = ...) -> pd.DataFrame:
        """Load stages."""

    def pipelines(self, *, refresh: _Refresh = ..., names: bool | None = ...) -> pd.DataFrame:
        """Load pipelines."""

    def users(self, *, refresh: _Refresh = ..., names: bool | None = ...) -> pd.DataFrame:
        """Load users."""

    def deal_history(self) -> pd.DataFrame:
        """Compute the changes of deals."""

    def url(self, table: str, ids: Iterable[Any]) -> pd.Series[Any]:
        """Return the addresses of records."""

    @property
    def _store(self) -> Store: ...


def changes(
    self: Changing,
    since: _Moment,
    until: _Moment | None = None,
    *,
    partly: bool = False,
    refresh: _Refresh = None,
) -> pd.DataFrame:
    """List what happened to deals between two times: one row per deal and event.

    Loads deals, stages, pipelines and users, and reads the history of deals that syncs keep.
    `metrics.changes_summary` counts and sums the result.

    Parameters
    ----------
    since
        When it begins, inclusive: "today", "yesterday", "last Monday" (the latest one before
        today), "7 days ago" or "7d" (that day), "3 hours ago", "24h", "last hour", "this month",
        "last quarter"; a day, time, month, quarter or year ("2026-06-01", "2026-06", "2026-Q2"); a
        datetime, or a timedelta: so long ago. Days are those of `tz`; now is the server's clock.
    until
        When it ends, exclusive: a day is its first instant; a year, quarter, month ("2026-Q2") or
        "last week" is taken to its end. None: now.
    partly
        Where `since` is before the first snapshot of deals: True lists what is known, with a
        warning; False (default) raises.
    refresh
        As in `Account`, for deals and the lists of names.

    Returns
    -------
    DataFrame
        As of `metrics.changes`: event, before, after, value, currency, deal_id, title, owner_name,
        stage_name, url, time, time_after, value_change; by time and deal.

    Raises
    ------
    ArgumentError
        `since` or `until` is no time, or `since` is before the first snapshot of deals and deals
        that have changed since have no changelog: the message names that snapshot. With `partly`
        the last is a warning.
    NotCachedError
        `refresh=False`, and deals are not cached.
    CacheError
        The snapshot log or a cached changelog cannot be read.
    PdframeError
        As in `deals`, if it sends requests.

    Warns
    -----
    DataWarning
        As of `metrics.changes`.

    Examples
    --------
    >>> rows = account.changes("7 days ago")
    >>> rows[["event", "before", "after", "value", "deal_id"]].head(3)
          event     before      after   value  deal_id
    0   created        NaN       open  1300.0      200
    1  advanced  Qualified  Discovery  4050.0      197
    2  advanced  Discovery       Demo  3800.0      187
    """
    store, tz = self._store, self.tz
    try:
        self.deals(refresh=refresh, labels=False, columns=["id"])
        stages, pipelines, users = (
            _names(load, refresh) for load in (self.stages, self.pipelines, self.users)
        )
    except UNANSWERED as error:
        suggest_cache(error, store, ["deals"], "account.changes(..., refresh=False)")
        raise
    now = pd.Timestamp(server_now(store))
    first = absolute(since, now, tz, "since")
    end = now if until is None else absolute(until, now, tz, "until")
    if until is None:
        refuse_future(since, moment(first, tz, "since"), now, tz, "since")
    # What one refresh fetched is not fetched twice. A warning would say that no list of deletions
    # was read: `deals` above knows as many as the account's ages want.
    with collect_warnings():
        deals = self.deals(refresh=False, labels=False, columns=list(_COLUMNS), deleted=True)
    deals["url"] = self.url("deals", deals["id"])
    history = self.deal_history()
    if until is None:
        # The server's clock has whole seconds: a snapshot may be younger than now.
        newest = history["seen_at"].max() if len(history) else now
        end = max(now, newest) + pd.Timedelta(1, "us")
    return changes_of(
        history,
        deals,
        since=first,
        until=end,
        partly=partly,
        tz=tz,
        stages=stages,
        pipelines=pipelines,
        users=users,
    )


def _names(load: Callable[..., pd.DataFrame], refresh: _Refresh) -> pd.DataFrame | None:
    """Load a list of names; None where it is unavailable."""
    try:
        return load(refresh=refresh, names=False)
    except NotCachedError:
        return None
    except AccessError as error:
        if error.status == 401:
            raise
        return None

"""What views read of an account: frames that are loaded once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import pandas as pd

from pdframe._advice import did_you_mean
from pdframe._relative_times import age_text
from pdframe._warnings import collect_warnings
from pdframe.cache.messages import UNANSWERED
from pdframe.cache.server_clock import server_now, synced
from pdframe.cache.store import Store
from pdframe.errors import AccessError, ArgumentError, CacheError, NotCachedError, PdframeError
from pdframe.metrics.currency import RateTable

__all__ = ["Data", "Reporting", "collect"]

Result = TypeVar("Result")
_Refresh: TypeAlias = Literal["full"] | bool | None


class Reporting(Protocol):
    """What a report needs of an account."""

    @property
    def company(self) -> str:
        """The company's name."""

    @property
    def tz(self) -> str:
        """Name of the user's timezone."""

    @property
    def currency(self) -> str | None:
        """The user's currency."""

    @property
    def tokens_today(self) -> int:
        """API tokens spent today."""

    def deals(self, *, refresh: _Refresh = ..., deleted: bool = ...) -> pd.DataFrame:
        """Load deals."""

    def deal_products(self, *, refresh: _Refresh = ...) -> pd.DataFrame:
        """Load line items."""

    def stages(self, *, refresh: _Refresh = ...) -> pd.DataFrame:
        """Load stages."""

    def pipelines(self, *, refresh: _Refresh = ...) -> pd.DataFrame:
        """Load pipelines."""

    def users(self, *, refresh: _Refresh = ...) -> pd.DataFrame:
        """Load users."""

    def stage_visits(self, *, refresh: _Refresh = ...) -> pd.DataFrame:
        """Compute the visits of deals to stages."""

    def deal_history(self) -> pd.DataFrame:
        """Compute the changes of deals."""

    def track_record(self, *, refresh: _Refresh = ...) -> pd.DataFrame:
        """Score the forecasts that were issued."""

    def forecast(
        self,
        until: Any,
        *,
        by: str | Sequence[str] | None = ...,
        rates: RateTable | None = ...,
        refresh: _Refresh = ...,
    ) -> pd.DataFrame:
        """Forecast the revenue of coming periods, and keep the forecast."""

    def fields(self, table: str | None = ..., *, refresh: _Refresh = ...) -> pd.DataFrame:
        """List the fields of a table."""

    def status(self) -> pd.DataFrame:
        """List the cached tables."""

    def warnings(self) -> pd.DataFrame:
        """List what was noticed in the data."""

    def url(self, table: str, ids: Iterable[Any]) -> pd.Series[Any]:
        """Return the addresses of records."""

    @property
    def _store(self) -> Store: ...


@dataclass(frozen=True, slots=True)
class Data:
    """The frames of an account, and its now.

    Attributes
    ----------
    company, tz, currency
        Of the account.
    now
        The server's clock.
    deals
        With deleted ones, and `url`.
    visits, stages, pipelines, users, history
        As the account's methods of these names give them.
    lines
        Line items; None: unavailable.
    record
        Every forecast that was issued, scored; None: none was.
    status, noticed
        The cached tables, and what was noticed in the data.
    tokens_today
        API tokens spent today.
    rates
        Of currencies; None: each has its own figures.
    cancellations
        The column of deals with the day on which recurring revenue ended; None: unknown.
    unanswered
        Why the API was not asked, so that all is as it was cached; None: it was.
    notes
        What was unavailable, and why.
    custom
        The columns of deals that are custom fields.
    computed
        Results that do not depend on what a reader chose, by name: computed once.
    locks
        Held while a result is computed, by its name: the background computes some.
    """

    company: str
    tz: str
    currency: str | None
    now: pd.Timestamp
    deals: pd.DataFrame
    visits: pd.DataFrame
    stages: pd.DataFrame
    pipelines: pd.DataFrame
    users: pd.DataFrame | None
    history: pd.DataFrame
    lines: pd.DataFrame | None
    record: pd.DataFrame | None
    status: pd.DataFrame
    noticed: pd.DataFrame
    tokens_today: int
    rates: RateTable | None = None
    cancellations: str | None = None
    unanswered: PdframeError | None = None
    notes: Sequence[str] = ()
    custom: Sequence[str] = ()
    computed: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)
    locks: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def deals_age(self) -> pd.Timedelta:
        """How long ago deals were synced."""
        synced: pd.Series[Any] = self.status.set_index("table")["synced_at"]
        age: pd.Timedelta = pd.Timestamp.now("UTC") - synced["deals"]
        return age

    @property
    def newest_change(self) -> pd.Timestamp:
        """When the latest change of a deal was seen; `now` where there is none."""
        newest: pd.Timestamp = self.history["seen_at"].max() if len(self.history) else self.now
        return newest

    @property
    def stale(self) -> str:
        """How old the figures are and why, where the API did not answer; else empty."""
        if self.unanswered is None:
            return ""
        age = self.deals_age
        why = str(self.unanswered.args[0]) if self.unanswered.args else ""
        return f"Not refreshed: figures of the cache, {age_text(age)} old. {why}".rstrip()

    def once(self, name: Hashable, compute: Callable[[], Result]) -> Result:
        """Return a result that is computed at the first call; threads that ask meanwhile wait."""
        with self.locks.setdefault(name, threading.Lock()):
            if name not in self.computed:
                self.computed[name] = compute()
            result: Result = self.computed[name]
        return result


def collect(
    account: Reporting,
    *,
    refresh: _Refresh = None,
    rates: RateTable | None = None,
    cancellations: str | None = None,
) -> Data:
    """Load what the views read. Warnings of the data are not issued: the views show them.

    With `refresh=None`, an API that does not answer leaves what is cached: `Data.unanswered` says
    why.

    Raises
    ------
    ArgumentError
        Deals have no column `cancellations`.
    PdframeError
        Deals, stages or pipelines are unavailable.
    """
    try:
        return _collected(account, refresh, rates, cancellations)
    except UNANSWERED as error:
        if refresh is not None:
            raise
        try:
            cached = _collected(account, False, rates, cancellations)
        except CacheError:
            raise error from None
        # The figures are of the time of the cache: what happened since is unknown.
        then = synced(account._store, "deals")
        now = cached.now if then is None else pd.Timestamp(then).as_unit("us")
        return replace(cached, unanswered=error, now=max(now, cached.newest_change))


def _collected(
    account: Reporting, refresh: _Refresh, rates: RateTable | None, cancellations: str | None
) -> Data:
    notes: list[str] = []

    def optional(load: Callable[[], pd.DataFrame]) -> pd.DataFrame | None:
        try:
            return load()
        except (AccessError, NotCachedError) as error:
            if getattr(error, "status", None) == 401:
                raise
            notes.append(str(error))
            return None

    with collect_warnings():
        deals = account.deals(refresh=refresh, deleted=True)
        deals["url"] = account.url("deals", deals["id"])
        if cancellations is not None and cancellations not in deals.columns:
            raise ArgumentError(
                f"cancellations={cancellations!r} is no column of deals."
                f" {did_you_mean(cancellations, deals.columns)}".strip()
            )
        fields = account.fields("deals", refresh=False)
        stages, pipelines = account.stages(refresh=refresh), account.pipelines(refresh=refresh)
        users = optional(lambda: account.users(refresh=refresh))
        lines = optional(lambda: account.deal_products(refresh=refresh))
        visits, history = account.stage_visits(refresh=False), account.deal_history()
        try:
            record = account.track_record(refresh=False)
        except PdframeError as error:
            notes.append(str(error))
            record = None
        data = Data(
            company=account.company,
            tz=account.tz,
            currency=account.currency,
            now=pd.Timestamp(server_now(account._store)).as_unit("us"),
            deals=deals,
            visits=visits,
            stages=stages,
            pipelines=pipelines,
            users=users,
            history=history,
            lines=lines,
            record=record if record is not None and len(record) else None,
            status=account.status(),
            noticed=account.warnings(),
            tokens_today=account.tokens_today,
            rates=rates,
            cancellations=cancellations,
            notes=tuple(notes),
            custom=[name for name in fields.loc[fields["is_custom"], "column"] if name in deals],
        )
    # The server's clock has whole seconds: a snapshot may be younger than now.
    return replace(data, now=max(data.now, data.newest_change))

"""Forecasts of an account, kept as they were issued, and the record of how right they were.

The functions are methods of `Account`.
"""

from __future__ import annotations

import calendar
import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal, Protocol, TypeAlias

import pandas as pd
import pyarrow as pa

from pdframe._moments import named_period
from pdframe._progress import Bars
from pdframe._relative_times import absolute, is_counted
from pdframe._warnings import collect_warnings, deferred_warnings
from pdframe.cache.issued_forecasts import IssuedForecasts
from pdframe.cache.messages import UNANSWERED, suggest_cache
from pdframe.cache.server_clock import attrs_of, server_now
from pdframe.cache.store import Store
from pdframe.errors import ArgumentError, NotCachedError
from pdframe.frames import storage_schema, to_frame
from pdframe.history.latest import Latest
from pdframe.metrics._arguments import keys
from pdframe.metrics._notes import note
from pdframe.metrics._periods import frequency, known_by, letter_of
from pdframe.metrics.currency import RateTable
from pdframe.metrics.forecasting._checks import check_seed
from pdframe.metrics.forecasting._source import COLUMNS_READ
from pdframe.metrics.forecasting.issued import issued_rows
from pdframe.metrics.forecasting.issued import track_record as compared
from pdframe.metrics.forecasting.learned import Learned
from pdframe.metrics.forecasting.totals import STEPS, forecast_with_draws
from pdframe.schema.deals import DEALS
from pdframe.schema.forecasts import ISSUED_FORECASTS
from pdframe.sync.fetch_state import load_states

__all__ = ["Forecasting", "forecast", "track_record"]

_Refresh: TypeAlias = Literal["full"] | bool | None
_Moment: TypeAlias = str | date | pd.Timestamp | pd.Period
# Of a changelog.
_TOKENS_A_DEAL = 20
_NAMES = frozenset(column.name for column in DEALS.names)


class Forecasting(Protocol):
    """What these functions need of an account."""

    @property
    def tz(self) -> str:
        """Name of the user's timezone."""

    def deals(
        self,
        *,
        refresh: _Refresh = ...,
        names: bool | None = ...,
        columns: Sequence[str] | None = ...,
        deleted: bool = ...,
    ) -> pd.DataFrame:
        """Load deals."""

    def stages(
        self,
        *,
        refresh: _Refresh = ...,
        names: bool | None = ...,
        columns: Sequence[str] | None = ...,
    ) -> pd.DataFrame:
        """Load stages."""

    def stage_visits(self, *, refresh: _Refresh = ...) -> pd.DataFrame:
        """Compute the visits of deals to stages."""

    def deal_history(self) -> pd.DataFrame:
        """Compute the changes of deals."""

    @property
    def _bars(self) -> Bars: ...

    @property
    def _latest_learned(self) -> Latest[Learned]: ...

    @property
    def _store(self) -> Store: ...


def forecast(
    self: Forecasting,
    until: _Moment,
    *,
    as_of: _Moment | None = None,
    freq: str | None = None,
    by: str | Sequence[str] | None = None,
    rates: RateTable | None = None,
    draws: int = 10_000,
    seed: int = 0,
    method: str = "hazard",
    activities: pd.DataFrame | None = None,
    deal_products: pd.DataFrame | None = None,
    common_sd: float | None = None,
    fiscal_start: int = 1,
    refresh: _Refresh = None,
) -> pd.DataFrame:
    """Forecast the revenue won in each coming period, and keep the forecast as it was issued.

    Loads what `metrics.forecast` needs: deals (archived and deleted ones included), stages, stage
    visits and the history of deals. A forecast of now is appended to a log in the cache before it
    is returned; `track_record` compares the log with what happened. With `as_of`, nothing is kept:
    that is a backtest of one date. A bar counts the earlier months that the method is compared
    with: 24 fits and forecasts, some seconds; `connect(progress=False)` shows none.

    Parameters
    ----------
    until
        The end, exclusive: a day or time is its first instant; a year, quarter, month
        ("2026-Q3"), "this quarter" or a `pd.Period` is taken to its end.
    as_of
        What happened after it is unknown: also "yesterday", "last Friday", "7 days ago". None: now,
        by the server's clock. Where deals and stages are unchanged since an earlier call of the
        day, it is the time of that call, and what was learned then is used again: other periods and
        groups are quick.
    freq
        Length of the periods: "W", "M", "Q" or "Y". None: that of an `until` in words, else "M".
        So "this quarter" and "end of year" are one figure for that quarter or year (the fiscal one
        with `fiscal_start`), with what was won in it already; "next quarter" is two rows.
    by, rates, draws, seed, method
        As in `metrics.forecast`.
    activities, deal_products
        As in `metrics.forecast`; None: not loaded, and not used.
    common_sd, fiscal_start
        As in `metrics.forecast`.
    refresh
        As in `deals`, for deals and stages.

    Returns
    -------
    DataFrame
        As of `metrics.forecast`.

    Raises
    ------
    ArgumentError
        `as_of` is in the future, or as in `metrics.forecast`.
    InsufficientDataError
        Too few deals were closed or won, or `until` is past the follow-up.
    MixedCurrencyError
        Values of several currencies would be added up without `rates`.
    NotCachedError
        `refresh=False`, and deals or stages are not cached.
    CacheError
        The log of forecasts cannot be read or written.
    PdframeError
        As in `deals` and `stages`, if they send requests.

    Warns
    -----
    DataWarning
        A quarter or year by month of which months are over: they have no row. Closed deals whose
        changelog is not loaded: the forecast knows less of their past, and says how much. Also as
        `metrics.forecast`.

    Examples
    --------
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}  # one unit of each, in EUR
    >>> table = account.forecast("2026-Q3", rates=rates)
    >>> table["period"].dt.strftime("%Y-%m").to_list()
    ['2026-07', '2026-08', '2026-09']
    >>> whole = account.forecast("this quarter", rates=rates)
    >>> whole["period"].dt.to_period("Q").astype(str).to_list()
    ['2026Q3']
    """
    freq = letter_of(freq)
    if freq is not None:
        frequency(freq, fiscal_start)
    check_seed(seed)
    keys(by)
    if not -(2**63) <= seed < 2**63:
        raise ArgumentError(f"seed={seed!r} must be a whole number of 64 bits.")
    call = "account.forecast(..., refresh=False)"
    try:
        self.deals(refresh=refresh, deleted=True, names=False, columns=["id"])
        self.stages(refresh=refresh, names=False, columns=["id"])
    except UNANSWERED as error:
        suggest_cache(error, self._store, ["deals", "stages"], call)
        raise
    tz, now = self.tz, pd.Timestamp(server_now(self._store)).as_unit("us")
    in_words = is_counted(until)
    then, until = (
        absolute(when, now.to_pydatetime(), tz, name)
        for name, when in (("as_of", as_of), ("until", until))
    )
    if not in_words or not isinstance(until, pd.Period):
        freq = freq or "M"
    else:
        freq = freq or until.freqstr[0]
        until = _fiscal(until, now.tz_convert(tz), fiscal_start)
    length = frequency(freq, fiscal_start)
    moment = now if as_of is None else known_by(then, tz, "as_of")
    # A day that is not over is known so far.
    if moment > known_by(now.tz_convert(tz).date(), tz, "as_of"):
        raise ArgumentError(
            f"as_of={as_of!r} is in the future: by the server's clock it is"
            f" {now.tz_convert(tz):%Y-%m-%d %H:%M} ({tz})."
        )

    def learn() -> Learned:
        deals, visits, stages, history = _frames(self, False)
        # A forecast of now knows all that the frames show.
        known = _known_until(self._store, deals, visits, history)
        return Learned.at(
            deals[[name for name in deals.columns if name in COLUMNS_READ]],
            visits,
            stages,
            as_of=max(moment, known) if as_of is None else moment,
            history=history,
            activities=activities,
            deal_products=deal_products,
            method=method,
            seed=seed,
            tz=tz,
        )

    # A forecast of now is as of the first one that day of the same cache: nothing else is known.
    when = now.tz_convert(tz).date() if as_of is None else moment
    if activities is None and deal_products is None:
        learned = self._latest_learned.get(self._store, learn, (method, seed, tz, when))
    else:
        learned = learn()
    moment = pd.Timestamp(learned.known.as_of, unit="us", tz="UTC").as_unit("us")
    known = learned.known.frames.deals
    notes = [*_months_over(until, freq, moment, tz), *_changelog_notes(self._store, known)]
    deals = _with_names(self, known, by, refresh)
    bar = self._bars("forecast", unit="earlier months", resumes=False, computes=True)
    with bar as tick, collect_warnings():
        tick.expect(STEPS if common_sd is None else 0)
        result, each = forecast_with_draws(
            learned,
            deals,
            until=until,
            freq=freq,
            by=by,
            rates=rates,
            draws=draws,
            spread=common_sd,
            fiscal_start=fiscal_start,
            step=lambda: tick(1),
        )
    result.attrs |= attrs_of(self._store, tz)
    notes += result.attrs.get("notes", [])
    if as_of is None and self._store.is_read_only:
        notes.append("The cache is read-only, so this forecast is not kept for track_record().")
    elif as_of is None and len(result):
        rows = issued_rows(
            result, each, as_of=moment, until=until, frequency=length, rates=rates, tz=tz
        )
        rows = rows.assign(
            method=method,
            seed=seed,
            draws=draws,
            # The package imports this module, so this module cannot import the package.
            written_by=sys.modules["pdframe"].__version__,
        )
        with deferred_warnings():
            IssuedForecasts(self._store).append(_stored(rows), now=datetime.now(UTC))
    return note(result, notes, "forecast")


def _fiscal(period: pd.Period, now: pd.Timestamp, fiscal_start: int) -> pd.Period:
    """Return the fiscal quarter or year that is as far from now as a calendar one."""
    if fiscal_start == 1 or period.freqstr[0] not in "QY":
        return period
    last = calendar.month_abbr[(fiscal_start - 2) % 12 + 1].upper()
    today = now.tz_localize(None)
    ahead = (period - pd.Period(today, freq=period.freqstr)).n
    return pd.Period(today, freq=f"{period.freqstr[0]}-{last}") + ahead


def _months_over(until: Any, freq: str, moment: pd.Timestamp, tz: str) -> list[str]:
    """Return a note where rows by month are a part of the quarter or year that `until` names."""
    named = named_period(until, "until") if freq == "M" else None
    if named is None:
        return []
    inside = pd.period_range(named[0], pd.Timestamp(named[1]) - pd.Timedelta(1, "D"), freq="M")
    # What is forecast begins after `moment`, which may be the last instant of a month.
    now = (moment + pd.Timedelta(1, "us")).tz_convert(tz).tz_localize(None).to_period("M")
    over = inside[inside < now]
    if not len(over) or len(over) == len(inside):
        return []
    length = {3: "Q", 12: "Y"}.get(len(inside))
    hint = f" freq={length!r} gives the whole, with what was won in them." if length else ""
    return [f"{', '.join(map(str, over))}: over, so without a row.{hint}"]


def track_record(self: Forecasting, *, refresh: _Refresh = None) -> pd.DataFrame:
    """Compare every forecast that `forecast` issued with what was won.

    Of several forecasts of one day (in the account's timezone) of the same period and group, in one
    currency and by one method, the first counts: no forecast is improved by issuing it again.

    What was won is what the account shows now: the wins that stand, at their value when they were
    won, converted with the rates of that forecast.

    Parameters
    ----------
    refresh
        As in `deals`, for deals and stages.

    Returns
    -------
    DataFrame
        One row per issued forecast, period and group:

        - as_of (UTC): what the forecast knew; period: its first day; currency
        - by, group: the columns it was grouped by and their values, as text; null: not grouped
        - method
        - won_already, mean, p10, p50, p90: as they were issued
        - actual: what was won in the period; null while it is not over, and where it is unknown
        - covered: whether it lies between p10 and p90, as eight of ten should
        - pinball_10, pinball_50, pinball_90: losses of the three quantiles, 0 at best
        - crps: the continuous ranked probability score: how far the forecast as a whole was off, in
          the currency; for a single number it would be the error
        - freq: length of the period: W, M, Q or Y

    Raises
    ------
    NotCachedError
        `refresh=False`, and deals or stages are not cached.
    CacheError
        The log of forecasts cannot be read.
    PdframeError
        As in `deals` and `stages`, if they send requests.

    Warns
    -----
    DataWarning
        A forecast cannot be scored, so that `actual` is null: a currency without a rate, wins of
        another currency than that of a forecast without rates, a column that is no more, or a group
        that no deal is in any more, such as an owner who was renamed.

    Examples
    --------
    >>> rates = {"EUR": 1, "USD": 0.9, "GBP": 1.15}
    >>> table = account.forecast("2026-Q3", rates=rates)
    >>> record = account.track_record()
    >>> last = record[record["as_of"] == record["as_of"].max()]
    >>> print(last["actual"].isna().all())  # its periods are not over
    True
    """
    issued = to_frame(IssuedForecasts(self._store).rows(), ISSUED_FORECASTS)
    deals, visits, stages, history = _frames(self, refresh)
    deals = _with_names(self, deals, _grouped_by(issued), refresh)
    now = _known_until(self._store, deals, visits, history)
    record, notes = compared(issued, deals, visits, stages, as_of=now, history=history)
    record.attrs |= attrs_of(self._store, self.tz)
    return note(record, notes, "track_record")


def _frames(
    account: Forecasting, refresh: _Refresh
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Load deals, visits, stages and history; what one refresh fetched is not fetched twice."""
    deals = account.deals(refresh=refresh, deleted=True, names=False)
    stages = account.stages(refresh=refresh, names=False)
    return deals, account.stage_visits(refresh=False), stages, account.deal_history()


def _with_names(
    account: Forecasting,
    deals: pd.DataFrame,
    by: str | Sequence[str] | None,
    refresh: _Refresh,
) -> pd.DataFrame:
    """Add the columns that deals are grouped by, with their labels of now."""
    wanted = keys(by)
    wanted = ["owner_name" if name == "owner" else name for name in wanted]
    missing = [name for name in dict.fromkeys(wanted) if name not in deals]
    if not missing:
        return deals
    # Names may need requests, unless the caller wants none: a kept forecast of reps needs theirs.
    requests = refresh is not False and not _NAMES.isdisjoint(missing)
    named = account.deals(
        refresh=None if requests else False,
        deleted=True,
        names=True,
        columns=["id", *missing],
    )
    joined = deals.merge(named, on="id", how="left")
    joined.attrs = dict(deals.attrs)
    return joined


def _grouped_by(issued: pd.DataFrame) -> list[str]:
    """Return the names of ids that forecasts were grouped by; other columns may be no more."""
    lists = [json.loads(text) for text in issued["by"].dropna().unique()]
    every = dict.fromkeys(name for names in lists for name in names)
    return [name for name in every if name in _NAMES]


def _known_until(store: Store, *frames: pd.DataFrame) -> pd.Timestamp:
    """Return the server's time at the last sync of deals, or the newest time that the frames show
    where that is later: the server's clock has whole seconds, and pages follow each other.
    """
    manifest = store.manifest("deals")
    if manifest is None:
        raise NotCachedError("Deals are not cached: account.deals() loads them.")
    times = [pd.Timestamp(manifest.server_time or manifest.synced_at)]
    for frame in frames:
        shown = [name for name in ("update_time", "seen_at") if name in frame]
        times += [time for time in (frame[name].max() for name in shown) if pd.notna(time)]
    return max(times).as_unit("us")


def _changelog_notes(store: Store, deals: pd.DataFrame) -> list[str]:
    """Return what the forecast loses by closed deals whose changelog is not loaded."""
    closed = deals.loc[deals["status"].isin(["won", "lost"]), "id"]
    read: set[int] = set()
    if store.manifest("deal_changes") is not None:
        states = load_states(store, "deal_changes")
        read = set(states.filter(states["found"])["id"].to_pylist())
    missing = int((~closed.isin(read)).sum())
    if not missing:
        return []
    return [
        f"{missing:,} of {len(closed):,} closed deals have no changelog: probabilities are"
        f" rougher. account.deal_changes() loads them ({missing * _TOKENS_A_DEAL:,} tokens).",
        "Of a deal without changelog, only the stages and values that syncs saw are known, and no"
        " earlier ones.",
    ]


def _stored(rows: pd.DataFrame) -> pa.Table:
    """Return kept rows in the types of the cache, without the number of the forecast."""
    schema = storage_schema(ISSUED_FORECASTS)
    named = pa.schema([field for field in schema if field.name != "issue"])
    arrays = []
    for field in named:
        column = rows[field.name]
        if pa.types.is_date(field.type):
            arrays.append(pa.array(column.dt.date, field.type))
        else:
            arrays.append(pa.array(column, from_pandas=True).cast(field.type))
    return pa.table(arrays, schema=named)

"""An account: one company as one user, with a method a table."""

from __future__ import annotations

import contextlib
import inspect
import os
import weakref
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pyarrow as pa

from pdframe import _overview, metrics
from pdframe._advice import (
    SOURCES,
    example_call,
    explain_methods,
    explained,
    nearest,
    unknown_name,
)
from pdframe._connect import connection, digest_of
from pdframe._overview import FIRST_STEPS, account_html, account_text, cache_lines
from pdframe._progress import Bars
from pdframe._terminal import printable
from pdframe._warnings import warn
from pdframe.api.client import Client
from pdframe.api.credentials import OAuth
from pdframe.bi.deal_card import deal
from pdframe.bi.export import export
from pdframe.cache.folder import check_writable, readable_key
from pdframe.cache.known_accounts import Accounts
from pdframe.cache.messages import DataWarnings
from pdframe.cache.store import Store
from pdframe.dashboard.live import dashboard
from pdframe.dashboard.page import report
from pdframe.errors import AccessError, CacheError
from pdframe.frames.convert import shorten
from pdframe.history import changes, forecasts, replay
from pdframe.history.latest import Latest
from pdframe.loaders import lists, noticed, per_record
from pdframe.loaders.fields import fields
from pdframe.loaders.search import search, search_field
from pdframe.loaders.urls import url
from pdframe.metrics._meant import meant
from pdframe.metrics.forecasting.learned import Learned
from pdframe.schema import TABLES
from pdframe.sync import DEFAULT_OPTIONS, Syncer, SyncOptions
from pdframe.sync.plan import Policy

_ME_COST = 2
_NO_TABLES = {
    "leads": "The leads are not loaded; account.search(term, 'lead') finds them.",
    "customers": "Customers are persons and organizations; metrics.top_customers ranks them.",
    "emails": "E-mails and their bodies are not loaded; account.activities() has the activities.",
    "notes": "Notes are not loaded; account.activities() has the column note of activities.",
    "files": "Files are not loaded.",
    "goals": "Goals are not loaded: metrics.attainment takes a quota.",
    "filters": "Filters are not loaded: select rows in pandas.",
    "contacts": "They are account.persons() and account.organizations().",
    "companies": "They are account.organizations().",
    "lines": "account.deal_products() has the line items.",
    "line_items": "account.deal_products() has the line items.",
    "subscriptions": "metrics.mrr_lines has them, from account.deal_products().",
    "schema": "account.fields('deals') lists the columns of a table,"
    " pdframe.metrics.schema('funnel') those of a metric.",
    "custom_fields": "account.fields('deals') has them: fields[fields['is_custom']].",
    **dict.fromkeys(("owners", "reps", "sellers"), "account.users() has them."),
    **{
        f"{status}_deals": f"deals = account.deals(), then deals[deals['status'] == '{status}']."
        for status in ("open", "won", "lost")
    },
    "closed_won": "deals = account.deals(), then deals[deals['status'] == 'won'].",
    "teams": "Teams are not loaded: account.users() has the users.",
    "mrr": "metrics.mrr_lines, then metrics.mrr_schedule; plot.mrr draws it.",
}
_MAIN = {
    "records": ("deals", "deal_products", "activities", "persons", "organizations", "products"),
    "lists": ("stages", "pipelines", "users"),
    "history": ("stage_visits", "deal_history", "deal_changes", "changes"),
    "the cache": ("sync", "status", "estimate", "warnings"),
    "more": ("fields", "search", "deal", "forecast", "export", "report", "dashboard"),
}
"""What people mean most often, for the error of a name that is like none."""
_ME_COLUMNS = (
    "id",
    "name",
    "company_id",
    "company_name",
    "company_domain",
    "default_currency",
    "timezone_name",
)


def connect(
    company: str | None = None,
    *,
    api_token: str | None = None,
    oauth: OAuth | None = None,
    base_url: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    max_age: str | float | timedelta | None = "15min",
    metadata_age: str | float | timedelta | None = "1D",
    deletions_age: str | float | timedelta | None = "1D",
    full_every: str | float | timedelta | None = "7d",
    names: bool | None = None,
    max_tokens: int | None = None,
    progress: bool | None = None,
    options: SyncOptions | None = None,
) -> Account:
    """Connect to a Pipedrive account. The first request is sent when the first table is loaded.

    Parameters
    ----------
    company
        The company's name: "acme" for https://acme.pipedrive.com. Default: PIPEDRIVE_COMPANY.
    api_token
        A personal API token. Default: PIPEDRIVE_API_TOKEN.
    oauth
        An OAuth grant instead of a token.
    base_url
        An origin instead of a company, such as "http://127.0.0.1:8080". Default:
        PIPEDRIVE_BASE_URL.
    cache_dir
        The folder of the Parquet files. Default: PDFRAME_CACHE_DIR, else `cache/` of the nearest
        parent folder that has one, else `./cache`; resolved once, at this call.
    max_age
        A loader refreshes tables that are older: a value that `pandas.Timedelta` accepts; 0:
        always; None: never.
    metadata_age
        The same for lists that describe rows: field lists, users, stages, pipelines, boards,
        phases, project templates. A row that holds an id or a hash that they lack refreshes them
        at once.
    deletions_age
        `account.sync()` reads the lists of deletions again if the last reading is older.
    full_every
        A refresh reloads a table if its last full load is older, because the API does not report
        every change; None: only on request.
    names
        Default of the loaders' `names=`: None: the names whose lists are small; True: all; False:
        none.
    max_tokens
        Maximum of API tokens a UTC day for this account's cache; None: only the API's own limit.
    progress
        None: bars in notebooks and terminals; False: never.
    options
        Tuning of page sizes, threads and thresholds (`pdframe.sync.SyncOptions`); None: the
        defaults, which suit every account.

    Returns
    -------
    Account
        Has a method a table, `search`, `sync`, `status`, `fields` and `export`.

    Raises
    ------
    CredentialsError
        There is no token and no grant.
    ArgumentError
        A company, base URL, age or token limit is invalid.
    CacheError
        The cache folder cannot be written. A read-only folder that holds a cache is accepted:
        loaders read it with `refresh=False`.

    Examples
    --------
    >>> mine = pdframe.connect("acme", api_token="0123456789abcdef")
    >>> mine  # nothing was sent yet
    <pdframe account acme.pipedrive.com, 0 API tokens spent today>
      Nothing is loaded yet. Next:
      account.deals() loads the deals as a DataFrame
      account.estimate() says what a sync of every list costs, account.sync() does it
    """
    return connection(
        Account,
        company,
        api_token=api_token,
        oauth=oauth,
        base_url=base_url,
        cache_dir=cache_dir,
        max_age=max_age,
        metadata_age=metadata_age,
        deletions_age=deletions_age,
        full_every=full_every,
        names=names,
        max_tokens=max_tokens,
        progress=progress,
        options=options,
    )


class Account:
    """One company as one user sees it. `pdframe.connect` makes it.

    Every table is a method that returns a plain DataFrame. All of them take

    refresh
        None: refresh what is older than `max_age`. True: fetch changes now. "full": reload the
        table. False: read only the cache.
    labels
        True: custom fields and options by their labels. False: hashes and ids, as in the API.
    names
        Which names of ids to add (`owner_name`, `stage_name`, `product_name` ...) after the
        standard columns; null if the id is null or unknown. None: those whose lists are small
        (users, stages, pipelines, products, boards, phases, projects, fields), refreshed after
        `metadata_age`; null where such a list is unavailable. True: also `person_name` and
        `org_name`, from persons and organizations in the cache at any age, loaded if they are not
        cached: 10 tokens per 500; and `url`, the page in Pipedrive of each deal, person,
        organization, product or project. False: none. `connect(names=)` is the default.
    columns
        The columns to return, by label, hash, standard name or name column; None: all. `names`
        loads only the tables that they need.

    and raise `ArgumentError` for wrong arguments, `NotCachedError` if `refresh=False` and nothing
    is cached, and the errors of `pdframe.errors` if the API does not answer: a partial table is
    never returned.
    """

    def __init__(
        self,
        client: Client,
        *,
        cache_dir: Path,
        max_age: timedelta | None,
        metadata_age: timedelta | None,
        deletions_age: timedelta | None,
        full_every: timedelta | None,
        names: bool | None,
        progress: bool | None,
        options: SyncOptions | None = None,
    ) -> None:
        self._client = client
        self._options = options or DEFAULT_OPTIONS
        self._cache_dir = cache_dir
        self._max_age = max_age
        self._metadata_age = metadata_age
        self._deletions_age = deletions_age
        self._full_every = full_every
        self._names = names
        self._bars = Bars(progress)
        # Computed before a grant is renewed: the same credentials must have the same digest in the
        # next session.
        self._digest = digest_of(client.origin, client.credentials)
        self._known: Mapping[str, Any] | None = None
        self._tz: str | None = None
        self._opened: Store | None = None
        self._latest_visits: Latest[pa.Table] = Latest()
        self._latest_learned: Latest[Learned] = Latest()
        self._withheld: dict[str, tuple[datetime, AccessError]] = {}  # see Syncer
        self._data_warnings = DataWarnings(weakref.proxy(self))
        # An account that is never closed leaves no connection open.
        weakref.finalize(self, client.close)

    deals = lists.deals
    deal_products = lists.deal_products
    installments = lists.installments
    products = lists.products
    activities = lists.activities
    projects = lists.projects
    tasks = lists.tasks
    persons = lists.persons
    organizations = lists.organizations
    stages = lists.stages
    pipelines = lists.pipelines
    boards = lists.boards
    phases = lists.phases
    project_templates = lists.project_templates
    users = lists.users

    deal_changes = per_record.deal_changes
    project_changes = per_record.project_changes
    discounts = per_record.discounts
    product_variations = per_record.product_variations
    deal_followers = per_record.deal_followers
    person_followers = per_record.person_followers
    organization_followers = per_record.organization_followers
    product_followers = per_record.product_followers
    user_followers = per_record.user_followers
    deal_follower_changes = per_record.deal_follower_changes
    person_follower_changes = per_record.person_follower_changes
    organization_follower_changes = per_record.organization_follower_changes
    product_follower_changes = per_record.product_follower_changes

    stage_visits = replay.stage_visits
    as_of = replay.as_of
    deal_history = replay.deal_history
    line_history = replay.line_history

    forecast = forecasts.forecast
    track_record = forecasts.track_record
    changes = changes.changes
    deal = deal

    sync = _overview.sync
    estimate = _overview.estimate
    status = _overview.status
    warnings = noticed.warnings
    search = search
    search_field = search_field
    fields = fields
    url = url
    export = export
    report = report
    dashboard = dashboard

    @property
    def company(self) -> str:
        """The company's name, or its host if the API refuses `/users/me`.

        Examples
        --------
        >>> account.company
        'Kaskaad Software OÜ'
        """
        return self._text("company_name") or self._host

    @property
    def user(self) -> str | None:
        """Name of the user to whom the credentials belong; None if the API refuses `/users/me`.

        Examples
        --------
        >>> account.user
        'Kadri Tamm'
        """
        return self._text("name")

    @property
    def currency(self) -> str | None:
        """The user's default currency, such as "EUR"; None if the API refuses `/users/me`.

        Examples
        --------
        >>> account.currency
        'EUR'
        """
        return self._text("default_currency")

    @property
    def tz(self) -> str:
        """Name of the user's timezone, such as "Europe/Tallinn"; "UTC" if the API refuses
        `/users/me` or this machine does not know the timezone.

        Warns
        -----
        DataWarning
            Once an account: this machine does not know the timezone.

        Examples
        --------
        >>> account.tz
        'Europe/Tallinn'
        """
        if self._tz is None:
            named = self._text("timezone_name") or "UTC"
            try:
                ZoneInfo(named)
                self._tz = named
            except (KeyError, ValueError, OSError):
                self._tz = "UTC"
            if self._tz != named:
                warn(
                    f"This machine does not know the timezone of this user in Pipedrive,"
                    f" {shorten(named)}: days are cut in UTC. Pass the right timezone to metrics as"
                    " tz=, such as tz='Europe/Berlin'."
                )
        return self._tz

    @property
    def cache_path(self) -> Path:
        """The folder of this account's Parquet files, with a folder a table.

        Examples
        --------
        >>> (account.cache_path / "stages").is_dir()
        True
        """
        return self._store.root

    @property
    def tokens_today(self) -> int:
        """API tokens spent today (UTC) with this cache.

        Examples
        --------
        >>> before = account.tokens_today
        >>> stages = account.stages()  # from the cache
        >>> account.tokens_today - before
        0
        """
        with contextlib.suppress(CacheError):
            self._known_store  # noqa: B018 - reads the budget, without a request
        return self._client.budget.tokens_today

    def close(self) -> None:
        """Close the connections. The cache stays.

        Examples
        --------
        >>> with pdframe.sandbox.connect(seed=7, deals=20) as other:
        ...     stages = other.stages()  # the end of the block closes the connections
        >>> len(stages)
        12
        """
        self._client.close()
        self._latest_visits.clear()
        self._latest_learned.clear()

    def __enter__(self) -> Account:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        name, lines = self._summary()
        return account_text(name, self.tokens_today, lines)

    def _repr_html_(self) -> str:
        name, lines = self._summary()
        return account_html(name, self.tokens_today, lines)

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_") or hasattr(type(self), name):
            raise AttributeError(name)
        own = dir(self)
        hint = _elsewhere(name, own)
        raise unknown_name(
            name,
            "table or method of an account",
            own,
            {name: hint} if hint else {},
            groups=_MAIN,
            every="dir(account)",
        )

    def _text(self, name: str) -> str | None:
        value = self._me.get(name)
        return value if isinstance(value, str) and value else None

    @property
    def _host(self) -> str:
        return urlsplit(self._client.origin or "").hostname or "unknown host"

    @property
    def _me(self) -> Mapping[str, Any]:
        """The answer of `/users/me`, requested once and kept in the cache."""
        if self._known is None:
            accounts = Accounts(self._cache_dir)
            known = accounts.get(self._digest)
            if known is None:
                check_writable(self._cache_dir)
                known = self._request_me()
                store = Store(self._cache_dir, known["key"])
                store.open()
                accounts.put(self._digest, known)
            self._known = known
        return self._known

    def _request_me(self) -> dict[str, Any]:
        try:
            me = self._client.get_json("/users/me", cost=_ME_COST, api="v1").data
        except AccessError as error:
            if error.status == 401:
                raise
            me = None
        if not isinstance(me, dict) or type(me.get("id")) is not int:
            return {"key": readable_key(self._host, self._digest[:8])}
        return {
            **{name: value for name in _ME_COLUMNS if isinstance(value := me.get(name), str | int)},
            "key": readable_key(str(me.get("company_domain") or self._host), f"user{me['id']}"),
        }

    @property
    def _store(self) -> Store:
        if self._opened is None:
            store = Store(self._cache_dir, str(self._me["key"]), self._options)
            store.open()
            if not store.is_read_only:
                self._client.budget.attach(store.root / "ledger.json")
            self._opened = store
        return self._opened

    @property
    def _known_store(self) -> Store | None:
        """The cache; None where only a request would show which one it is."""
        if self._opened is None and Accounts(self._cache_dir).get(self._digest) is None:
            return None
        return self._store

    @property
    def _syncer(self) -> Syncer:
        return Syncer(
            client=self._client,
            store=self._store,
            progress=self._bars,
            policy=Policy(full_every=self._full_every, options=self._options),
            metadata_age=self._metadata_age,
            deletions_age=self._deletions_age,
            withheld=self._withheld,
        )

    def _summary(self) -> tuple[str, list[str]]:
        """Return the account's name and a line a cached table, without a request."""
        try:
            known = self._known or Accounts(self._cache_dir).get(self._digest)
        except CacheError as error:
            return self._host, [str(error)]
        if known is None:
            return self._host, list(FIRST_STEPS)
        lines = cache_lines(Store(self._cache_dir, str(known["key"])))
        return printable(str(known.get("company_name") or self._host)), lines


def _elsewhere(name: str, own: Sequence[str]) -> str | None:
    """Return a sentence for what is no table or method of an account but exists elsewhere, `own`
    being the names of the account; None where nothing is known.
    """
    words = name.casefold()
    for known in (words, words.partition("_by_")[0]):
        if known in _NO_TABLES:
            return _NO_TABLES[known]
    if name in metrics.__all__:
        return f"It is a metric{_frames_and_call(name)}."
    if sentence := meant(name):
        return f"pdframe.metrics may answer that: {sentence}"
    close = next(iter(nearest(name, [*own, *metrics.__all__])), None)
    if close in own or close is None:
        return None
    return f"Did you mean the metric {close!r}{_frames_and_call(close)}?"


def _frames_and_call(name: str) -> str:
    """Return how to call a metric, as the rest of a sentence."""
    metric = getattr(metrics, name)
    if not inspect.isfunction(metric):
        return f": pdframe.metrics.{name}"
    takes_frames = next(iter(inspect.signature(metric).parameters)) in SOURCES
    which = ", which takes frames" if takes_frames else ""
    return f"{which}: pdframe.metrics.{example_call(metric)}"


explain_methods(
    Account,
    {
        name: [*table.by_name, *(column.name for column in table.names)]
        for name, table in TABLES.items()
    },
)
connect = explained(connect)


__all__ = ["Account", "connect"]

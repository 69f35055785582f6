"""An account: connects to one company as one user, and loads its tables as frames."""

from __future__ import annotations

import contextlib
import hashlib
import html
import os
import re
import weakref
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pandas as pd

from pdframe._progress import Bars
from pdframe._terminal import printable
from pdframe._warnings import warn
from pdframe.api.budget import TokenBudget
from pdframe.api.client import Client, origin_of
from pdframe.api.credentials import ApiToken, Credentials, OAuth
from pdframe.bi.export import Exports
from pdframe.cache.known_accounts import Accounts
from pdframe.cache.store import (
    Manifest,
    Store,
    check_usable,
    check_writable,
    default_cache_dir,
    readable_key,
)
from pdframe.errors import AccessError, ArgumentError, CacheError, CredentialsError, NewerCacheError
from pdframe.fields import Field, custom_fields, fields_frame
from pdframe.frames import is_unknown, unify
from pdframe.frames.data_warnings import shorten
from pdframe.history.replay import Past
from pdframe.loaders import ListLoaders, RecordLoaders, Searches
from pdframe.schema import LISTS, TABLES, Table
from pdframe.sync import DEFAULT_OPTIONS, Syncer, SyncOptions, SyncRow

_ME_COST = 2
_ME_KEPT = (
    "id",
    "name",
    "company_id",
    "company_name",
    "company_domain",
    "default_currency",
    "timezone_name",
)
_A = TypeVar("_A", bound="Account")


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
    max_tokens: int | None = None,
    progress: bool | None = None,
    options: SyncOptions | None = None,
) -> Account:
    """Connect to a Pipedrive account. Nothing is asked of the API before the first table is.

    Parameters
    ----------
    company
        The company's name: "acme" for https://acme.pipedrive.com. Else PIPEDRIVE_COMPANY.
    api_token
        A personal API token. Else PIPEDRIVE_API_TOKEN.
    oauth
        An OAuth grant instead of a token.
    base_url
        An origin instead of a company, such as "http://127.0.0.1:8080". Else PIPEDRIVE_BASE_URL.
    cache_dir
        Where Parquet files are kept. Else PDFRAME_CACHE_DIR, else `cache/` of the nearest parent
        folder that has one, else `./cache`; resolved here and now.
    max_age
        A loader refreshes what is older: anything that pandas makes a Timedelta of; 0: always;
        None: never.
    metadata_age
        The same for lists that describe rows: field lists, users, stages, pipelines, boards,
        phases, project templates. A row that holds an id or a hash that they lack refreshes them
        at once.
    deletions_age
        `account.sync()` reads the lists of deletions again where the last reading is older.
    full_every
        A refresh loads a table anew where its last full load is older, since the API does not tell
        every change; None: never by itself.
    max_tokens
        Ceiling of API tokens a UTC day for this account's cache; None: no ceiling of ours.
    progress
        None: bars in notebooks and terminals; False: never.
    options
        Tuning of page sizes, threads and thresholds (`pdframe.sync.SyncOptions`); None: the defaults,
        which suit every account.

    Returns
    -------
    Account
        With a method a table, `search`, `sync`, `status`, `fields` and `export`.

    Raises
    ------
    CredentialsError
        No token and no grant were given or found.
    ArgumentError
        A company, base URL, age or ceiling that is none.
    CacheError
        A cache folder that cannot be written. One that holds a cache and can be read is taken:
        loaders read it with `refresh=False`.
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
        max_tokens=max_tokens,
        progress=progress,
        options=options,
    )


class Account(ListLoaders, RecordLoaders, Searches, Past, Exports):
    """One company as one user sees it. `pdframe.connect` makes it.

    Every table is a method that returns a plain DataFrame; all take

    refresh
        None: honour `max_age`. True: pull what changed, now. "full": reload the table. False: read
        the cache alone.
    labels
        True: custom fields and options by their labels. False: hashes and ids, as the API has them.
    names
        True: adds the names behind ids (`owner_name`, `stage_name`, `org_name` ...) after the
        standard columns; null where the id is null or not known (any more). Short lists (users,
        stages, pipelines, products, boards, phases, projects) are brought up to date for it under
        `max_age`; persons and organizations are taken as they are cached, and loaded where they are
        not: 10 tokens each 500.
    columns
        The columns to return, by label, hash, standard name or name column; None: all. Only what
        they need is loaded for `names`.

    and raise `ArgumentError` for what they do not know, `NotCachedError` where `refresh=False`
    finds nothing, and the errors of `pdframe.errors` where the API does not answer: half a table is
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
        self._bars = Bars(progress)
        # Taken before a grant is renewed: the same credentials in the next session must give the
        # same digest.
        self._digest = _digest(client.origin, client.credentials)
        self._known: Mapping[str, Any] | None = None
        self._tz: str | None = None
        self._opened: Store | None = None
        # An account that is forgotten rather than closed leaves no connection open.
        weakref.finalize(self, client.close)

    # Who this is

    @property
    def company(self) -> str:
        """The company's name; its host where `/users/me` is refused."""
        return self._text("company_name") or self._host

    @property
    def user(self) -> str | None:
        """Name of the user whose rights the credentials carry; None where `/users/me` is
        refused.
        """
        return self._text("name")

    @property
    def currency(self) -> str | None:
        """The user's default currency, such as "EUR"; None where `/users/me` is refused."""
        return self._text("default_currency")

    @property
    def tz(self) -> str:
        """Name of the user's timezone, such as "Europe/Tallinn"; "UTC" where `/users/me` is
        refused, or names one unknown here.

        Warns
        -----
        DataWarning
            Once an account: this machine does not know the timezone that `/users/me` names.
        """
        if self._tz is None:
            named = self._text("timezone_name") or "UTC"
            try:
                ZoneInfo(named)
            except (KeyError, ValueError, OSError):
                warn(
                    f"Pipedrive names the timezone {shorten(named)} for this user, which this"
                    " machine does not know: days are those of UTC. Where you know the right one,"
                    " pass it to metrics as tz=, such as tz='Europe/Berlin'."
                )
                named = "UTC"
            self._tz = named
        return self._tz

    @property
    def cache_path(self) -> Path:
        """The folder that holds this account's Parquet files, a folder a table."""
        return self._store.root

    @property
    def tokens_today(self) -> int:
        """API tokens spent today (UTC) through this cache."""
        with contextlib.suppress(CacheError):
            if self._opened is None and Accounts(self._cache_dir).get(self._digest) is not None:
                self._store  # noqa: B018 - the account is known: its budget is read, nothing is asked
        return self._client.budget.tokens_today

    # Fields

    def fields(self, table: str) -> pd.DataFrame:
        """One row a column that a field of the metadata describes: which label and hash belong
        together.

        Columns: column (its name in the frame; null where the frame has none), label, code (the
        hash), type, is_custom, options (their labels), subfield (the part of a composite field;
        null on its main part). Parts that cached rows hold though the metadata does not declare
        them are listed too.

        Raises
        ------
        ArgumentError
            No such table, or one without fields.
        """
        declared = _table(table)
        if declared.field_list is None:
            with_fields = ", ".join(name for name, other in TABLES.items() if other.entity)
            raise ArgumentError(
                f"{table!r} has no field metadata. Tables that have: {with_fields}."
            )
        syncer = self._syncer
        syncer.refresh_if_stale(declared.field_list, max_age=self._max_age)

        def listed() -> pd.DataFrame:
            known = syncer.fields(declared)
            return fields_frame(known, declared, _stored_columns(self._store, declared, known))

        return syncer.with_repair(listed)

    # The cache

    def sync(self, *tables: str, full: bool = False) -> pd.DataFrame:
        """Bring tables and their dependencies up to date now; none given: all but those that cost a
        request a record.

        Without names, two kinds of lists are read only when they are old. Lists that describe rows
        (field lists, users, stages, pipelines, boards, phases, project templates) are read again
        after `metadata_age`, and at once where a row that changed holds an id or a hash that they
        lack. The lists of deleted deals are read again after `deletions_age`: a deletion that moved
        `update_time` is found at once, any other by then. With names, or with `full`, everything is
        read.

        Parameters
        ----------
        *tables
            Names of tables. Those that cost a request a record (`deal_changes`, `discounts`, the
            followers ...) must be named: then every record that may have changed is requested; of
            followers, the records that were requested before.
        full
            Reload them in full instead of fetching changes: this finds every deletion. The tables
            whose rows say what to request are reloaded too: for line items the deals, for
            installments both.

        Returns
        -------
        DataFrame
            One row a table: table, mode ("full", "incremental", "skipped", "unavailable"), rows
            (null where nothing is cached), added, changed, removed (rows), requests, tokens,
            seconds, note, missing (what an unavailable table lacks: "plan", "scope", "permission";
            null where nothing).

        Raises
        ------
        ArgumentError
            A table that does not exist, a `full` that is neither True nor False.
        PdframeError
            The API did not answer; tables that were finished are kept, and `error.kept` names them.
        """
        _check(tables, full)
        return _sync_frame(
            self._syncer.sync(tables or LISTS, full=full, named=bool(tables), max_age=self._max_age)
        )

    def estimate(self, *tables: str, full: bool = False) -> pd.DataFrame:
        """Return what `sync` with the same arguments would cost, from its plans and the cache:
        nothing is requested.

        Parameters
        ----------
        *tables, full
            As for `sync`.

        Returns
        -------
        DataFrame
            One row a table: table, requests, tokens (null where the cache does not show it), basis
            (what the figures depend on). Where it says "at least", more pages cost more: changes,
            and tables that were never loaded, cannot be counted beforehand.

        Raises
        ------
        ArgumentError
            A table that does not exist.
        """
        _check(tables, full)
        rows = self._syncer.estimate(tables or LISTS, full=full, named=bool(tables))
        return pd.DataFrame(
            {
                "table": pd.Series([row.table for row in rows], dtype="str"),
                "requests": pd.Series([row.requests for row in rows], dtype="Int64"),
                "tokens": pd.Series([row.tokens for row in rows], dtype="Int64"),
                "basis": pd.Series([row.basis for row in rows], dtype="str"),
            }
        )

    def status(self) -> pd.DataFrame:
        """What is cached, one row a table, with its age and size.

        Columns: table, rows, synced_at, full_at (UTC), bytes, tokens (of its last sync); null where
        nothing is cached, or nothing that can be trusted.

        `full_at` is the last time the table was read as a whole: rows whose deletion the API does
        not list may still be there since. Asks nothing of the API once the account is known.
        """
        manifests = {name: _quietly(self._store, name) for name in TABLES}
        return pd.DataFrame(
            {
                "table": pd.Series(list(manifests), dtype="str"),
                "rows": _column(manifests, "rows", "Int64"),
                "synced_at": _column(manifests, "synced_at", "datetime64[us, UTC]"),
                "full_at": _column(manifests, "full_at", "datetime64[us, UTC]"),
                "bytes": _column(manifests, "bytes", "Int64"),
                "tokens": _column(manifests, "tokens", "Int64"),
            }
        )

    def close(self) -> None:
        """Close the connections. The cache stays."""
        self._client.close()

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
        return "\n".join(
            [
                f"<pdframe account {name}, {self.tokens_today:,} API tokens spent today>",
                *(f"  {line}" for line in lines),
            ]
        )

    def _repr_html_(self) -> str:
        name, lines = self._summary()
        items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        return (
            f"<b>{html.escape(name)}</b>, {self.tokens_today:,} API tokens spent"
            f" today<ul>{items}</ul>"
        )

    # How

    def _text(self, name: str) -> str | None:
        value = self._me.get(name)
        return value if isinstance(value, str) and value else None

    @property
    def _host(self) -> str:
        return urlsplit(self._client.origin or "").hostname or "unknown host"

    @property
    def _me(self) -> Mapping[str, Any]:
        """What `/users/me` says, asked once and kept beside the cache."""
        if self._known is None:
            accounts = Accounts(self._cache_dir)
            known = accounts.get(self._digest)
            if known is None:
                check_writable(self._cache_dir)
                known = self._ask_me()
                store = Store(self._cache_dir, known["key"])
                store.open()
                accounts.put(self._digest, known)
            self._known = known
        return self._known

    def _ask_me(self) -> dict[str, Any]:
        try:
            me = self._client.get_json("/users/me", cost=_ME_COST, api="v1").data
        except AccessError as error:
            if error.status == 401:
                raise
            me = None
        if not isinstance(me, dict) or type(me.get("id")) is not int:
            return {"key": readable_key(self._host, self._digest[:8])}
        return {
            **{name: value for name in _ME_KEPT if isinstance(value := me.get(name), str | int)},
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
    def _syncer(self) -> Syncer:
        return Syncer(
            self._client,
            self._store,
            self._client.budget,
            progress=self._bars,
            full_every=self._full_every,
            metadata_age=self._metadata_age,
            deletions_age=self._deletions_age,
            options=self._options,
        )

    def _summary(self) -> tuple[str, list[str]]:
        """Name and a line a cached table, without asking the API anything."""
        try:
            known = self._known or Accounts(self._cache_dir).get(self._digest)
        except CacheError as error:
            return self._host, [str(error)]
        if known is None:
            return f"{self._host} (not asked yet)", []
        store, now = Store(self._cache_dir, str(known["key"])), datetime.now(UTC)
        try:
            manifests = [
                manifest for name in TABLES if (manifest := _quietly(store, name)) is not None
            ]
        except NewerCacheError as error:
            return printable(str(known.get("company_name") or self._host)), [str(error)]
        lines = [f"{m.table}: {m.rows:,} rows, {_ago(now - m.synced_at)} old" for m in manifests]
        return printable(str(known.get("company_name") or self._host)), lines or [
            "nothing cached yet"
        ]


def connection(
    kind: type[_A],
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
    max_tokens: int | None = None,
    progress: bool | None = None,
    options: SyncOptions | None = None,
) -> _A:
    """Make an account of some kind; all else as in `connect`."""
    if api_token is not None and oauth is not None:
        raise ArgumentError("Give an api_token or an oauth grant, not both.")
    token = (
        api_token
        if api_token is not None or oauth is not None
        else os.environ.get("PIPEDRIVE_API_TOKEN") or None
    )
    if token is None and oauth is None:
        raise CredentialsError(
            "No credentials: set PIPEDRIVE_COMPANY and PIPEDRIVE_API_TOKEN (in Pipedrive: Settings"
            " > Personal preferences > API), or give connect() a company and api_token=... or"
            " oauth=pdframe.OAuth(...). Without an account, pdframe.sandbox.connect() opens a"
            " synthetic company."
        )
    credentials: Credentials = oauth if oauth is not None else ApiToken(token or "")
    age, reload_age = _age(max_age, "max_age"), _age(full_every, "full_every")
    folder = _folder(cache_dir or os.environ.get("PDFRAME_CACHE_DIR") or default_cache_dir())
    origin = _origin(company, base_url, optional=oauth is not None)
    budget = TokenBudget(max_tokens=max_tokens)
    check_usable(folder)
    return kind(
        Client(origin, credentials, budget=budget),
        cache_dir=folder,
        max_age=age,
        metadata_age=_age(metadata_age, "metadata_age"),
        deletions_age=_age(deletions_age, "deletions_age"),
        full_every=reload_age,
        progress=progress,
        options=options,
    )


def _stored_columns(store: Store, table: Table, fields: Sequence[Field]) -> list[str]:
    """Return the columns that the stored rows of a table have in a frame, as the cache names
    them.
    """
    schema = store.schema(table.name)
    names: list[str] = schema.names
    composite = [
        field.code for field in custom_fields(fields, table.reserved) if len(field.parts) > 1
    ]
    # Values that came before their field are stored whole: their parts become columns when they are
    # read.
    full = [code for code in composite if code in names and is_unknown(schema.field(code))]
    if full:
        with contextlib.suppress(CacheError):
            names += unify([store.read(table.name, full)], table, fields)[0].schema.names
    return names


def _folder(given: str | os.PathLike[str]) -> Path:
    """The folder of the cache, resolved here and now."""
    try:
        folder = Path(given).expanduser().absolute()
    except (RuntimeError, ValueError, TypeError) as error:
        raise ArgumentError(
            f"cache_dir is the path of a folder, not {given!r}: {error}."
        ) from error
    if "\0" in str(folder):
        raise ArgumentError(
            f"cache_dir is the path of a folder, and no path holds the character NUL: {given!r}."
        )
    return folder


def _table(name: str) -> Table:
    if not isinstance(name, str):
        raise ArgumentError(
            "A table is named by a text, several one by one: account.sync('deals', 'stages'), not"
            f" {name!r}."
        )
    if name in TABLES:
        return TABLES[name]
    close = get_close_matches(name, TABLES, n=3)
    hint = (
        f"Did you mean {' or '.join(map(repr, close))}?"
        if close
        else f"Tables: {', '.join(TABLES)}."
    )
    raise ArgumentError(f"There is no table {name!r}. {hint}")


def _check(tables: Sequence[str], full: bool) -> None:
    """Refuse what `sync` and `estimate` do not take."""
    for name in tables:
        _table(name)
    if not isinstance(full, bool):
        raise ArgumentError(f"full is True or False, not {full!r}.")


def _origin(company: str | None, base_url: str | None, *, optional: bool) -> str | None:
    if company is None and base_url is None:
        base_url = os.environ.get("PIPEDRIVE_BASE_URL") or None
        company = None if base_url else os.environ.get("PIPEDRIVE_COMPANY") or None
    # A grant names its company when it is renewed.
    return (
        None if optional and company is None and base_url is None else origin_of(company, base_url)
    )


def _age(given: str | float | timedelta | None, name: str) -> timedelta | None:
    if given is None:
        return None
    problem = (
        f"{name} is a length of time such as '15min' or '1D', 0 (always) or None (never), not"
        f" {given!r}."
    )
    # A bare number has no unit; pandas would take nanoseconds.
    bare = isinstance(given, int | float) or (
        isinstance(given, str) and given.strip().replace(".", "", 1).isdigit()
    )
    if isinstance(given, bool) or (bare and float(given) != 0):  # type: ignore[arg-type]
        raise ArgumentError(problem)
    if isinstance(given, str):
        # "7d" is what people write; pandas is about to take "7D" alone.
        given = re.sub(r"(?<=[\d\s])d\b", "D", given)
    try:
        age = pd.Timedelta(given)
    except (ValueError, TypeError):
        raise ArgumentError(problem) from None
    if pd.isna(age) or age < pd.Timedelta(0):
        raise ArgumentError(problem)
    return age.to_pytimedelta()


def _digest(origin: str | None, credentials: Credentials) -> str:
    secrets = "\n".join(secret.reveal() for secret in credentials.secrets())
    return hashlib.sha256(f"{origin}\n{secrets}".encode()).hexdigest()[:32]


def _column(manifests: Mapping[str, Manifest | None], name: str, dtype: str) -> pd.Series[Any]:
    return pd.Series(
        [getattr(manifest, name) if manifest else None for manifest in manifests.values()],
        dtype=dtype,
    )


def _quietly(store: Store, name: str) -> Manifest | None:
    try:
        return store.manifest(name)
    except NewerCacheError:
        raise
    except CacheError:
        return None


def _ago(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _sync_frame(rows: Sequence[SyncRow]) -> pd.DataFrame:
    dtypes: dict[str, Any] = {
        "table": "str",
        "mode": pd.CategoricalDtype(["full", "incremental", "skipped", "unavailable"]),
        "rows": "Int64",
        **dict.fromkeys(("added", "changed", "removed", "requests", "tokens"), "Int64"),
        "seconds": "float64",
        "note": "str",
        "missing": "str",
    }
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in dtypes}
    columns["missing"] = [missing or None for missing in columns["missing"]]
    return pd.DataFrame(columns).astype(dtypes)

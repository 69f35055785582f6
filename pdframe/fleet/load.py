"""Load a table of every account of a cache into one frame."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pdframe._advice import did_you_mean
from pdframe._warnings import collect_warnings, warn
from pdframe.account import Account
from pdframe.api.client import Client
from pdframe.api.credentials import ApiToken
from pdframe.api.origin import origin_of
from pdframe.bi.layout_tables import VISITS
from pdframe.cache.known_accounts import Accounts
from pdframe.cache.store import Store
from pdframe.errors import ArgumentError, NotCachedError, PdframeError
from pdframe.fleet._frames import ACCOUNT, combined
from pdframe.fleet._names import former_folders, names_by_folder
from pdframe.schema import TABLES, table_named
from pdframe.sync.fetch_state import load_states

_UNNAMED = " (folder)"


def load(
    root: str | os.PathLike[str],
    table: str,
    *,
    accounts: Sequence[str] | None = None,
    labels: bool = True,
    names: bool | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Load a table of all accounts whose tables are in a cache, without a request or credentials.

    A label that accounts have in common is one column where its type agrees, with the options of
    all of them; the rows of an account that lacks it are null. Where its type differs, each account
    has its own column, `Region (north)` and `Region (south)`. Standard columns are the same
    everywhere. An id means nothing without the account beside it.

    Parameters
    ----------
    root
        The cache folder: `cache_dir` of the accounts.
    table
        Name of a table, or "stage_visits".
    accounts
        The names of `fleet.sync` and `fleet.apply`; of an account that they never opened, the name
        of its folder, with " (folder)" where another account has that name. None: all that are in
        the cache, but for the folder that an account had before its token became another user's.
    labels, names
        As in `Account`.
    columns
        The columns to return after `account`; one that an account lacks is null in its rows.

    Returns
    -------
    DataFrame
        One row a row of the table: account, the standard columns, then custom ones, those of the
        first account first. Accounts are sorted by name, unless `accounts` gives their order.

    Warns
    -----
    DataWarning
        What was noticed in the data of the accounts, and which former folder is left out, in one
        warning.

    Raises
    ------
    ArgumentError
        The table does not exist; an account is not in the cache; no account has a column.
    NotCachedError
        Nothing is cached, or an account lacks the table: half of the accounts are no answer. Sync
        it, or name the others in `accounts`.
    CacheError
        The cache of an account cannot be read.

    Examples
    --------
    >>> from functools import partial
    >>> from pdframe import fleet
    >>> clients = {
    ...     "north": partial(pdframe.sandbox.connect, seed=1, deals=20, cache_dir="cache"),
    ...     "south": partial(pdframe.sandbox.connect, seed=2, deals=30, cache_dir="cache"),
    ... }
    >>> done = fleet.sync(clients, "pipelines")
    >>> fleet.load("cache", "pipelines", columns=["id", "name"]).head(4)
      account  id               name
    0   north   1           Services
    1   north   2       New business
    2   north   5  Renewals & growth
    3   south   1           Services
    """
    if table != VISITS:
        table_named(table)
    folder = Path(root).expanduser().absolute()
    frames: dict[str, pd.DataFrame] = {}
    notes: list[str] = []
    former = former_folders(folder)
    folders = _folders(folder)
    chosen = _chosen(folders, accounts, former, folder)
    notes += _ambiguous(folders, chosen)
    if accounts is None:
        notes += _left_out(folder, former, chosen)
    missing = []
    for name, key in chosen.items():
        with collect_warnings() as noticed, _offline(folder, key) as account:
            try:
                frames[name] = _loaded(account, table, labels, names)
            except NotCachedError:
                missing.append(name)
            except PdframeError as error:
                error.args = (f"Account {name}: {error.args[0]}", *error.args[1:])
                raise
        notes += [f"{name}: {text}" for text in noticed]
    if missing:
        raise NotCachedError(
            f"{table!r} of {', '.join(missing)} is not cached in {folder}. Sync it:"
            f" fleet.sync(accounts, {table!r}); or name the others: accounts=[...]."
        )
    if notes:
        more = f"\n{len(notes) - 1} more notes: in .notes of this warning." if notes[1:] else ""
        warn(notes[0].splitlines()[0] + more, notes)
    if columns is not None:
        return combined(_selected(frames, table, columns), list(columns))
    return combined(frames, [*TABLES[table].by_name] if table in TABLES else ())


def _folders(root: Path) -> dict[str, str]:
    """Return the folder of each account in a cache, by its name, sorted."""
    named = names_by_folder(root)
    keys = [
        path.name
        for path in (sorted(root.iterdir()) if root.is_dir() else ())
        if path.is_dir() and Store(root, path.name).tables()
    ]
    # A name may be that of another folder, which has none: both are accounts.
    names = {named[key] for key in keys if key in named}
    own = {key: f"{key}{_UNNAMED}" if key in names else key for key in keys}
    return dict(sorted((named.get(key, own[key]), key) for key in keys))


def _ambiguous(folders: Mapping[str, str], chosen: Mapping[str, str]) -> list[str]:
    """Return a note for each chosen account whose folder has the name of another one."""
    return [
        f"{name}: the account {key} is that of another folder, {folders[key]}. Give it another name"
        " in fleet.sync, which no folder has."
        for name, key in chosen.items()
        if name == f"{key}{_UNNAMED}"
    ]


def _left_out(root: Path, former: dict[str, str], chosen: dict[str, str]) -> list[str]:
    """Return a note for each former folder of a chosen account, which is not loaded beside it."""
    return [
        f"{name}: {key} is left out, or its rows would count twice: the token of {name} opens"
        f" another user's account since. accounts=[{key!r}] loads it; move the folder away to end"
        " this note."
        for key, name in former.items()
        if name in chosen and key not in chosen.values() and Store(root, key).tables()
    ]


def _chosen(
    folders: dict[str, str], accounts: Sequence[str] | None, former: dict[str, str], root: Path
) -> dict[str, str]:
    if not folders:
        raise NotCachedError(
            f"{root} holds the cache of no account. Give the cache_dir of the accounts, or sync"
            " them: fleet.sync(accounts)."
        )
    if accounts is None:
        return {name: key for name, key in folders.items() if key not in former}
    if isinstance(accounts, str):
        raise ArgumentError(f"accounts must be a list of names, such as [{accounts!r}].")
    for name in accounts:
        if name not in folders:
            hint = did_you_mean(str(name), folders) or f"Accounts: {', '.join(folders)}."
            raise ArgumentError(f"There is no account {name!r} in {root}. {hint}")
    return {name: folders[name] for name in accounts}


def _offline(root: Path, key: str) -> Account:
    """Return an account that reads its cache and sends no request."""
    known: dict[str, Any] = {"key": key, **Accounts(root).of_folder(key)}
    try:
        origin = origin_of(str(known.get("company_domain", "")))
    except PdframeError:
        origin = origin_of("unknown")
    client = Client(origin, ApiToken("offline"))
    client.close()
    account = Account(
        client,
        cache_dir=root,
        max_age=None,
        metadata_age=None,
        deletions_age=None,
        full_every=None,
        names=None,
        progress=False,
    )
    account._known = known
    return account


def _loaded(account: Account, table: str, labels: bool, names: bool | None) -> pd.DataFrame:
    loader = getattr(account, table, None)
    if loader is None:
        raise ArgumentError(f"{table!r} is metadata of one account: account.fields() returns it.")
    frame: pd.DataFrame
    if table == VISITS:
        frame = loader(refresh=False)
    elif (parent := TABLES[table].parent) is not None and not parent.every:
        ids = load_states(account._store, table)["id"].to_pylist()
        if not ids:
            raise NotCachedError("Nothing is cached.")
        frame = loader(ids, refresh=False, labels=labels, names=names)
    else:
        frame = loader(refresh=False, labels=labels, names=names)
    return frame


def _selected(
    frames: dict[str, pd.DataFrame], table: str, columns: Collection[str]
) -> dict[str, pd.DataFrame]:
    """Return the frames with the chosen columns alone, in their order."""
    if isinstance(columns, str):
        raise ArgumentError(f"columns must be a list of names, such as [{columns!r}].")
    every = dict.fromkeys(str(name) for frame in frames.values() for name in frame.columns)
    for name in columns:
        if name not in every and name != ACCOUNT:
            raise ArgumentError(
                f"No account has a column {name!r} in {table}. {did_you_mean(str(name), every)}"
            )
    return {
        account: frame[[name for name in columns if name in frame.columns]]
        for account, frame in frames.items()
    }


__all__ = ["load"]

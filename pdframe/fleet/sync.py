"""Bring many accounts up to date, or estimate what that costs: a failure is a row."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from pdframe._progress import Bars
from pdframe._warnings import collect_warnings, warn
from pdframe.account import Account
from pdframe.errors import ArgumentError, BudgetError, PdframeError
from pdframe.fleet._accounts import (
    How,
    checked_accounts,
    checked_workers,
    lanes,
    opened,
    same_account,
)
from pdframe.fleet._names import note_names
from pdframe.schema import table_named
from pdframe.sync import CURRENT_NOTES
from pdframe.sync.concurrency import map_unordered

_MODES = ("full", "incremental", "skipped", "unavailable", "failed")
_Row: TypeAlias = dict[str, Any]
_Work: TypeAlias = Callable[[str, Account], list[_Row]]
_Error: TypeAlias = Exception | SystemExit
_Failed: TypeAlias = Callable[[_Error, int | None, float], _Row]


def sync(
    accounts: Mapping[str, How],
    *tables: str,
    full: bool = False,
    workers: int = 4,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Bring the tables of many accounts up to date, several accounts at once.

    The failure of one account (a revoked token, a spent budget) is a row and stops no other; what
    it had finished is kept, and the next call resumes. Accounts of one company, which share its
    daily budget, run one after the other. Of two names that open the same account, the second
    fails. The names are kept in the cache for `fleet.load`.

    Parameters
    ----------
    accounts
        By name, the arguments of `pdframe.connect` as a dict, or a function without arguments that
        returns an account; the account is closed after its sync.
    *tables, full
        As in `Account.sync`.
    workers
        The most accounts at once, one a thread.
    progress
        None: a bar in notebooks and terminals; False: none.

    Returns
    -------
    DataFrame
        One row an account and table; of an account that failed, a single row: account, table (null
        where the account failed), mode (as in `Account.sync`, or "failed"), rows (null if nothing
        is cached), tokens, seconds, error (null: none), resume_at (UTC: when an account that is out
        of tokens can go on; null: at once).

    Warns
    -----
    DataWarning
        What the accounts noticed in their data, in one warning.

    Raises
    ------
    ArgumentError
        A table, a name of an account or `workers` is wrong. Nothing was requested.

    Examples
    --------
    >>> from functools import partial
    >>> from pdframe import fleet
    >>> clients = {
    ...     "north": partial(pdframe.sandbox.connect, seed=1, deals=20, cache_dir="cache"),
    ...     "south": {"company": "south", "api_token": "not a token"},
    ... }
    >>> done = fleet.sync(clients, "stages")
    >>> done[["account", "table", "mode", "rows", "tokens"]]
      account   table    mode  rows  tokens
    0   north  stages    full    12       5
    1   south     NaN  failed  <NA>    <NA>
    >>> done["error"].iloc[1].partition(" has")[0]
    'CredentialsError: The API token'
    """
    _check(tables, full)
    fleet = _Fleet(accounts, workers, progress)

    def work(name: str, account: Account) -> list[_Row]:
        fleet.claim(account.cache_path, name)
        done = account.sync(*tables, full=full)
        return [{**row, "error": _problem(row, tables)} for row in _records(done)]

    def failed(error: _Error, tokens: int | None, seconds: float) -> _Row:
        resume_at = error.resume_at if isinstance(error, BudgetError) else None
        cost = {"tokens": tokens, "seconds": round(seconds, 3)}
        return {"mode": "failed", **cost, "error": _text(error, tokens), "resume_at": resume_at}

    rows = fleet.run(work, failed)
    dtypes = {
        "account": "str",
        "table": "str",
        "mode": pd.CategoricalDtype(list(_MODES)),
        "rows": "Int64",
        "tokens": "Int64",
        "seconds": "float64",
        "error": "str",
        "resume_at": "datetime64[us, UTC]",
    }
    return _frame(rows, dtypes)


def estimate(
    accounts: Mapping[str, How],
    *tables: str,
    full: bool = False,
    workers: int = 4,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Estimate the cost of `fleet.sync` with the same arguments, from the caches. Only an account
    that its cache does not know yet is requested: 2 tokens.

    Parameters
    ----------
    accounts, *tables, full, workers, progress
        As in `fleet.sync`.

    Returns
    -------
    DataFrame
        One row an account and table; of an account that failed, a single row: account, table,
        requests, tokens (null if the cache does not show them), basis, error (null: none). The
        other columns are as in `Account.estimate`.

    Raises
    ------
    ArgumentError
        A table, a name of an account or `workers` is wrong.

    Examples
    --------
    >>> from functools import partial
    >>> from pdframe import fleet
    >>> clients = {"north": partial(pdframe.sandbox.connect, seed=1, deals=20, cache_dir="cache")}
    >>> fleet.estimate(clients, "stages", "pipelines")[["account", "table", "tokens"]]
      account      table  tokens
    0   north     stages       5
    1   north  pipelines       5
    """
    _check(tables, full)
    fleet = _Fleet(accounts, workers, progress)

    def work(name: str, account: Account) -> list[_Row]:
        return _records(account.estimate(*tables, full=full))

    def failed(error: _Error, tokens: int | None, seconds: float) -> _Row:
        return {"error": _text(error, tokens)}

    rows = fleet.run(work, failed)
    dtypes = {
        "account": "str",
        "table": "str",
        "requests": "Int64",
        "tokens": "Int64",
        "basis": "str",
        "error": "str",
    }
    return _frame(rows, dtypes)


def _text(error: _Error, tokens: int | None) -> str:
    """Return an error as a row shows it. Messages of pdframe hold no credential; of any other error
    the type alone is shown. `tokens` is None where the account did not connect.
    """
    name = type(error).__name__
    if isinstance(error, PdframeError):
        return f"{name}: {error}"
    if tokens is None:
        return f"{name}: the function that connects the account raised it."
    return f"{name}: pdframe does not expect it. account.sync() of this account alone shows where."


class _Fleet:
    """Work on accounts in threads, a lane a thread.

    Attributes
    ----------
    folders
        By cache folder, the name of each account's folder.
    """

    def __init__(self, accounts: Mapping[str, How], workers: int, progress: bool | None) -> None:
        self._accounts = checked_accounts(accounts)
        self._workers = checked_workers(workers)
        self._bars = Bars(progress)
        self._stopped = threading.Event()
        self._open: set[Account | None] = set()
        self._companies: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._opening = threading.Lock()
        self._notes: dict[str, list[str]] = {}
        self._done = 0
        self.folders: defaultdict[Path, dict[str, str]] = defaultdict(dict)

    def claim(self, folder: Path, name: str) -> None:
        """Keep the name of an account's folder; `ArgumentError` where another account opened it."""
        with self._opening:
            first = self.folders[folder.parent].setdefault(folder.name, name)
        if first != name:
            raise same_account(name, first, folder)

    def run(self, work: _Work, failed: _Failed) -> list[_Row]:
        """Return the rows of all accounts, in their order."""
        waiting = lanes(self._accounts)
        rows: dict[str, list[_Row]] = {}

        def run_lane(names: Sequence[str]) -> dict[str, list[_Row]]:
            done = {}
            for name in names:
                if not self._stopped.is_set():
                    done[name] = self._run_one(name, work, failed)
                    self._done += 1
            return done

        def ready(free: int) -> list[list[str]]:
            begun, waiting[:free] = waiting[:free], []
            return begun

        with self._bars("fleet", unit="accounts") as tick:
            tick.expect(len(self._accounts))
            shown = 0

            def show() -> None:
                nonlocal shown
                if (done := self._done) > shown:
                    tick(done - shown)
                    shown = done

            try:
                lanes_done = map_unordered(
                    run_lane, ready, lambda: self._workers, show, workers=self._workers
                )
                for _, done in lanes_done:
                    rows |= done
                    show()
            finally:
                self._stop()
                for cache_dir, names in list(self.folders.items()):
                    note_names(cache_dir, names)
        self._warn()
        return [{**row, "account": name} for name in self._accounts for row in rows[name]]

    def _run_one(self, name: str, work: _Work, failed: _Failed) -> list[_Row]:
        began, before, account = time.monotonic(), 0, None
        try:
            with collect_warnings() as notes:
                account = opened(self._accounts[name])
                with self._opening:
                    self._open.add(account)
                    if self._stopped.is_set():  # while it connected
                        account._client.close()
                    company = self._companies[account._client.origin or name]
                with account, company:
                    before = account.tokens_today
                    done = work(name, account)
            self._notes[name] = list(map(str, notes))
            return done
        except (Exception, SystemExit) as error:
            tokens = None if account is None else max(0, account.tokens_today - before)
            return [failed(error, tokens, time.monotonic() - began)]
        finally:
            with self._opening:
                self._open -= {account}

    def _stop(self) -> None:
        """End what threads still do after an interruption: a closed account sends no request."""
        self._stopped.set()
        with self._opening:
            still_open = [account for account in self._open if account is not None]
        for account in still_open:
            account._client.close()

    def _warn(self) -> None:
        """Say in one warning what the accounts noticed."""
        notes = [f"{name}: {text}" for name in self._accounts for text in self._notes.get(name, ())]
        if notes:
            first = notes[0].splitlines()[0]
            more = f"\n{len(notes) - 1} more: account.warnings() lists them." if notes[1:] else ""
            warn(first + more, notes)


def _check(tables: Sequence[str], full: bool) -> None:
    for table in tables:
        table_named(table)
    if not isinstance(full, bool):
        raise ArgumentError(f"full must be True or False, not {full!r}.")


def _records(frame: pd.DataFrame) -> list[_Row]:
    return [
        {str(name): value for name, value in row.items()}
        for row in frame.astype("object").to_dict("records")
    ]


def _problem(row: _Row, named: Sequence[str]) -> str | None:
    """Return why a table was not brought up to date; None where it was, or where the plan lacks it
    and it was not named.
    """
    if row["mode"] not in ("skipped", "unavailable") or row["note"] in CURRENT_NOTES:
        return None
    return None if row["missing"] == "plan" and row["table"] not in named else str(row["note"])


def _frame(rows: Sequence[_Row], dtypes: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            name: pd.Series([row.get(name) for row in rows], dtype=dtype)
            for name, dtype in dtypes.items()
        }
    )


__all__ = ["estimate", "sync"]

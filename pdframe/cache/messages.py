"""What a call of an account says at its end: one warning of what was noticed in the data, and with
an error of the API, how to read the cache instead.

A loader collects the warnings of a call (`one_a_call`) and issues a single one at its end, of what
this account object has not said yet, and of the columns that were asked for alone. Everything that
was noticed is kept in a JSON file beside the tables: `account.warnings()` lists it.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import pandas as pd

from pdframe._files import locked_file, seal, unseal, write_atomic
from pdframe._forks import renew_after_fork
from pdframe._warnings import (
    Fact,
    Notice,
    collect_warnings,
    is_collecting,
    warn,
    warn_beside,
)
from pdframe.cache.store import Store
from pdframe.errors import (
    BlockedError,
    BudgetError,
    CacheError,
    PdframeError,
    RateLimitError,
    TransportError,
)
from pdframe.schema import TABLES

__all__ = ["UNANSWERED", "DataWarnings", "suggest_cache"]

UNANSWERED = (BlockedError, BudgetError, RateLimitError, TransportError)
"""Errors of an API that does not answer, or is not asked: the cache may be read instead."""

NAME = "warnings.json"
_ROW = ("table", "column", "kind", "count", "example", "first_seen")
_MOST_SHOWN = 3
"""Facts that one warning tells."""
# What the error of an inner call says already.
_SAID = re.compile(r" ?account\.\w+\([^()]*refresh=False\) reads [^.]*\.")


class HasStore(Protocol):
    """An account."""

    @property
    def _store(self) -> Store: ...

    @property
    def _known_store(self) -> Store | None: ...


class DataWarnings:
    """The facts that were noticed in the data of one account.

    Parameters
    ----------
    account
        A weak proxy of the account, which has the cache: an account that is no longer used closes
        its connections at once.
    """

    def __init__(self, account: HasStore) -> None:
        self._account = account
        # By `_what`.
        self._said: set[object] = set()
        # Facts about columns that were not asked for, until they are.
        self._unsaid: dict[object, Notice] = {}
        self._kept: set[tuple[str, str, str, int]] = set()
        self._lock = threading.Lock()
        # Whether this thread is in a call already.
        self._calls = threading.local()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Make a new lock."""
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def one_a_call(self, table: str = "", columns: object = None) -> Iterator[None]:
        """Issue the warnings of the block as one, at its end.

        Parameters
        ----------
        table, columns
            The table that is loaded, and its columns that were asked for; None, or no list of
            names: all. No table: everything was asked for.
        """
        names = None
        if isinstance(columns, Sequence | pd.Index) and not isinstance(columns, str):
            names = [str(name) for name in columns]
        messages: list[str] = []
        is_inner = getattr(self._calls, "inside", False)
        self._calls.inside = True
        try:
            with collect_warnings() as messages:
                yield
        except BaseException as error:
            self._calls.inside = is_inner
            for message, notes in self._due(messages, table, names):
                warn_beside(error, message, notes)
            raise
        self._calls.inside = is_inner
        for message, notes in self._due(messages, table, names):
            warn(message, notes)

    def facts(self) -> list[dict[str, Any]]:
        """Return everything that was noticed, the oldest first."""
        store = self._account._known_store
        rows = [] if store is None else self._read(store)
        return sorted(rows, key=lambda row: (row["first_seen"], row["table"]))

    def _due(
        self, messages: Sequence[str], table: str, columns: Sequence[str] | None
    ) -> list[tuple[str, Sequence[str]]]:
        """Keep the facts of a call that ends; return the warnings to issue, each with what it sums
        up: of what was asked for, also in earlier calls where it was not. The others wait for later
        calls.
        """
        notices = [message for message in messages if isinstance(message, Notice)]
        self._keep([notice.fact for notice in notices if notice.fact])
        wanted: dict[object, Notice] = {}
        with self._lock:
            for notice in [*self._unsaid.values(), *notices]:
                fact = notice.fact
                is_wanted = (not table or fact is None) or (
                    fact.table == table
                    and (columns is None or fact.column in ("", *columns) or fact.code in columns)
                )
                if is_wanted:
                    wanted[_what(notice)] = notice
                    self._unsaid.pop(_what(notice), None)
                else:
                    self._unsaid[_what(notice)] = notice
        if not is_collecting():
            return self._not_said([*wanted.values()])
        # Inside another call, which says it; or inside work that drops its warnings: then the next
        # call says it.
        if not getattr(self._calls, "inside", False):
            self._hold([*wanted.values()])
        return [(notice, ()) for notice in wanted.values()]

    def _hold(self, messages: Sequence[Notice]) -> None:
        """Keep the facts among messages for a later call."""
        with self._lock:
            self._unsaid.update({_what(message): message for message in messages if message.fact})

    def _not_said(self, messages: Sequence[Notice]) -> list[tuple[str, Sequence[str]]]:
        """Return one warning of what was not said yet, which counts as said from now on."""
        with self._lock:
            new = [message for message in messages if _what(message) not in self._said]
            self._said.update(_what(message) for message in new if message.once)
        facts = [message for message in new if message.fact]
        shown = [
            str(message) for message in new if not message.fact or message in facts[:_MOST_SHOWN]
        ]
        if len(facts) > _MOST_SHOWN:
            shown.append(f"{len(facts) - _MOST_SHOWN} more: account.warnings() lists them.")
        return [("\n".join(shown), [*map(str, new)])] if shown else []

    def _keep(self, facts: Sequence[Fact]) -> None:
        """Keep facts that the file does not have yet, or with another count; where it cannot be
        written, they are said all the same.
        """
        new = {(fact.table, fact.column, fact.kind): fact for fact in facts}
        keys = {(*key, fact.count) for key, fact in new.items()}
        with self._lock:
            if keys <= self._kept:
                return
        with contextlib.suppress(OSError, PdframeError):
            store = self._account._store
            path = store.root / NAME
            with locked_file(path.with_name(f"{NAME}.lock")):
                rows = {
                    (row["table"], row["column"], row["kind"]): row for row in self._read(store)
                }
                at = datetime.now(UTC).isoformat(timespec="seconds")
                for key, fact in new.items():
                    first_seen = rows[key]["first_seen"] if key in rows else at
                    rows[key] = {
                        "table": fact.table,
                        "column": fact.column,
                        "kind": fact.kind,
                        "count": fact.count,
                        "example": fact.example,
                        "first_seen": first_seen,
                    }
                write_atomic(path, seal({"facts": list(rows.values())}), durable=False)
            with self._lock:
                self._kept |= keys

    def _read(self, store: Store) -> list[dict[str, Any]]:
        """Return the rows of the file; none where there is none, or it is not what was written."""
        try:
            rows = unseal((store.root / NAME).read_bytes())["facts"]
            return [row for row in rows if {*_ROW} <= {*row}]
        except (OSError, ValueError, KeyError, TypeError):
            return []


def _what(notice: Notice) -> object:
    """Return what tells a warning from others. The same fact with another count is no news; but of
    a table that is loaded record by record, each load has other records.
    """
    fact = notice.fact
    if fact is None or (fact.table in TABLES and TABLES[fact.table].parent is not None):
        return str(notice)
    return fact.table, fact.column, fact.kind


def suggest_cache(error: PdframeError, store: Store, tables: Iterable[str], call: str) -> None:
    """Add to an error of the API the call that reads these tables from the cache, where all are
    cached.

    Parameters
    ----------
    error
        One of `UNANSWERED`.
    store
        The cache.
    tables
        Names of the tables that the call reads.
    call
        The call, such as "account.deals(refresh=False)".
    """
    with contextlib.suppress(CacheError):
        if all(store.manifest(name) is not None for name in tables):
            kept = _SAID.sub("", error.kept)
            error.kept = f"{kept} {call} reads the cached table.".lstrip()

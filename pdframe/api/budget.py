"""The API tokens of a day: the count of all processes that share a cache, and its ceiling."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pdframe._files import refuse_broken_link, refuse_newer, seal, unseal, write_atomic
from pdframe._forks import renew_after_fork
from pdframe._lock import locked_file
from pdframe.api.rate_limit import header_count
from pdframe.errors import ArgumentError, BudgetError, CacheError

__all__ = ["Spent", "TokenBudget"]

logger = logging.getLogger("pdframe")

# How often to try the lock of the file again: another process has it for less than a millisecond.
LOCK_POLL_SECONDS = 0.002
# Of the file that keeps the count.
FORMAT = 1


@dataclass(slots=True)
class Spent:
    """What some work cost: requests sent, tokens they cost, seconds it took."""

    requests: int = 0
    tokens: int = 0
    seconds: float = 0.0


class TokenBudget:
    """Counts the tokens that all processes with one cache spend in a UTC day, up to a ceiling.

    A request is counted before it is sent, and refunded where the answer shows that it cost
    nothing: a process that dies in between has counted too much, never too little.

    Parameters
    ----------
    path
        A JSON file that keeps the count between processes; None counts in memory until `attach`.
    max_tokens
        Ceiling for a UTC day; None: no ceiling.
    clock
        Epoch seconds.

    Attributes
    ----------
    daily_limit, daily_remaining : int or None
        The account's own budget as the last answer named it; None where no answer did.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        max_tokens: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if max_tokens is not None and (
            isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 0
        ):
            raise ArgumentError(
                "max_tokens is a whole number of API tokens per UTC day, such as 30_000, or None;"
                f" not {max_tokens!r}."
            )
        self.max_tokens = max_tokens
        self.daily_limit: int | None = None
        self.daily_remaining: int | None = None
        self._clock = clock
        self._path: Path | None = None
        self._day = self._today()
        self._tokens = 0
        self._unsaved = 0
        self._warned = False
        self._open: dict[str, list[Spent]] = {}
        self._lock = threading.RLock()
        self._here = threading.local()
        renew_after_fork(self)
        if path is not None:
            self.attach(path)

    def after_fork(self) -> None:
        """Make a new lock; the parent alone saves what it has not saved yet."""
        self._lock = threading.RLock()
        self._unsaved = 0

    def __repr__(self) -> str:
        ceiling = "no ceiling" if self.max_tokens is None else f"ceiling {self.max_tokens:,}"
        return f"TokenBudget({self.tokens_today:,} tokens today, {ceiling})"

    @property
    def tokens_today(self) -> int:
        """Tokens that all processes with this cache spent today (UTC), as the file last said."""
        with self._lock:
            self._turn_day()
            return self._tokens

    def attach(self, path: Path) -> None:
        """Keep the count in a file from now on, together with the count in the file.

        Raises
        ------
        NewerCacheError
            A newer version of pdframe wrote the file.
        CacheError
            The file cannot be written, or is a link that leads nowhere.
        """
        with self._lock:
            self._path = path
            try:
                refuse_broken_link(path, path.parent)
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                with _lock(path):
                    self._save()
            except CacheError:
                self._path = None
                raise
            except OSError as error:
                self._path = None
                raise CacheError(
                    f"The token count cannot be saved in {path} ({error.strerror}). "
                    "Make the cache folder writable, or choose another with cache_dir=."
                ) from None

    def spend(self, cost: int) -> None:
        """Count a request before it is sent.

        Raises
        ------
        BudgetError
            It would pass the ceiling: nothing is counted, and nothing must be sent.
        """
        with self._alone():
            if self.max_tokens is not None:
                self._save_or_warn()  # first learn what other processes have spent
                if self._tokens + cost > self.max_tokens:
                    raise self._over(cost, self.max_tokens)
            self._count(cost, 1)

    def refund(self, cost: int) -> None:
        """Take back the tokens of a request that the server did not charge; it still counts as a
        request.
        """
        with self._alone():
            self._count(-cost, 0)

    def update_from_headers(self, headers: Mapping[str, str]) -> None:
        """Take the account's own budget from an answer's headers, where they have it."""
        limit, remaining = (
            header_count(headers.get("x-daily-ratelimit-token-limit")),
            header_count(headers.get("x-daily-ratelimit-token-remaining")),
        )
        with self._lock:
            self.daily_limit = self.daily_limit if limit is None else limit
            self.daily_remaining = self.daily_remaining if remaining is None else remaining

    @contextlib.contextmanager
    def track(self, table: str) -> Iterator[Spent]:
        """Count what this thread spends for a table.

        A worker thread for the same table opens its own `track(table)`: its requests count in every
        open one.
        """
        spent, outer, start = Spent(), getattr(self._here, "table", None), time.perf_counter()
        with self._lock:
            self._open.setdefault(table, []).append(spent)
        self._here.table = table
        try:
            yield spent
        finally:
            spent.seconds = time.perf_counter() - start
            self._here.table = outer
            with self._lock:
                self._open[table] = [other for other in self._open[table] if other is not spent]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads and processes from counting: two that check the ceiling at once would
        both pass it.
        """
        with self._lock, contextlib.ExitStack() as locks:
            self._turn_day()
            if self._path is not None:
                # A file that cannot be locked cannot be written either, and a warning follows.
                with contextlib.suppress(OSError):
                    locks.enter_context(_lock(self._path))
            yield

    def _count(self, tokens: int, requests: int) -> None:
        for spent in self._open.get(getattr(self._here, "table", ""), ()):
            spent.tokens += tokens
            spent.requests += requests
        counted = max(tokens, -self._tokens)  # a refund may come after midnight
        self._tokens += counted
        self._unsaved += counted
        self._save_or_warn()

    def _over(self, cost: int, ceiling: int) -> BudgetError:
        if cost > ceiling:
            return BudgetError(
                f"The request costs {cost} API tokens and max_tokens={ceiling:,} can never pay for"
                " it. Raise max_tokens."
            )
        resume_at = datetime.combine(
            datetime.fromtimestamp(self._clock(), UTC).date() + timedelta(days=1),
            datetime.min.time(),
            UTC,
        )
        return BudgetError(
            f"The ceiling max_tokens={ceiling:,} is reached: {self._tokens:,} API tokens are spent"
            f" today, the next request costs {cost}. Continue after"
            f" {resume_at:%Y-%m-%d %H:%M} UTC, or raise max_tokens.",
            resume_at=resume_at,
        )

    def _today(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).date().isoformat()

    def _turn_day(self) -> None:
        today = self._today()
        if today != self._day:
            self._day, self._tokens, self._unsaved = today, 0, 0

    def _save_or_warn(self) -> None:
        try:
            self._save()
        except OSError as error:
            if not self._warned:
                logger.warning(
                    "The token count cannot be saved in %s (%s): it is kept in memory.",
                    self._path,
                    error.strerror,
                )
            self._warned = True

    def _save(self) -> None:
        if self._path is None:
            return
        self._tokens = max(0, self._read(self._path) + self._unsaved)
        if self._unsaved or not self._path.exists():
            write_atomic(
                self._path, seal({"day": self._day, "tokens": self._tokens}), durable=False
            )
        self._unsaved = 0

    def _read(self, path: Path) -> int:
        """Return the saved tokens of today; where no file has them, those that this process
        knows.
        """
        own = max(0, self._tokens - self._unsaved)
        try:
            raw = path.read_bytes()
            refuse_newer(path, raw, FORMAT)
            saved = unseal(raw)
            return int(saved["tokens"]) if saved["day"] == self._day else own
        except FileNotFoundError:
            return own
        except (ValueError, KeyError, TypeError):
            logger.warning(
                "The token count in %s is damaged: today's count continues from what this process"
                " knows.",
                path,
            )
            path.unlink()  # this save writes it again
            return own


def _lock(path: Path) -> contextlib.AbstractContextManager[None]:
    """Return the lock against other processes that keep the same count, in a file beside it."""
    return locked_file(path.with_name(f"{path.name}.lock"), poll_seconds=LOCK_POLL_SECONDS)

"""The two limits of the API: the burst window of two seconds, and the tokens of a day."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pdframe._files import refuse_broken_link, refuse_newer, seal, unseal
from pdframe._forks import renew_after_fork
from pdframe._lock import locked_file
from pdframe.errors import ArgumentError, BudgetError, CacheError

__all__ = ["RateLimiter", "Spent", "TokenBudget"]

logger = logging.getLogger("pdframe")

# Requests that any plan may send in a window, before an answer has told this account's limit.
SMALLEST_LIMIT = 20
# Searches have a window of their own, the same on every plan.
SEARCH_LIMIT = 10
WINDOW_SECONDS = 2.0
# On top of the window, which is counted from the answer on, and so already later than the server
# does: two clocks are not exact.
SLACK_SECONDS = 0.01
# How often to look again while every place in the window is taken by a request under way.
POLL_SECONDS = 0.05
# How often to look again while another process has the budget, which it has for less than a
# millisecond.
LEDGER_POLL_SECONDS = 0.002
# Of the file that keeps the count.
FORMAT = 1


class RateLimiter:
    """Keeps requests under the burst limit, for every thread that shares it.

    A request takes its place from before it is sent until two seconds after its answer. The server
    saw it at some time between the two, so it can never count more requests in its own window than
    are counted here.

    A forked process has a window of its own. Processes that share a token learn of one another from
    the headers of the answers alone; where they run into a 429 all the same, each holds back its
    own threads and asks again.

    Parameters
    ----------
    limit
        Requests in two seconds, until an answer tells the account's own limit.
    search_limit
        Searches in two seconds.
    clock, sleep
        Monotonic seconds, and how to wait.
    """

    def __init__(
        self,
        *,
        limit: int = SMALLEST_LIMIT,
        search_limit: int = SEARCH_LIMIT,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._all = _Places(limit)
        self._searches = _Places(search_limit)
        self._search_limit = search_limit
        self._blocked_until = float("-inf")
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Take a lock that no thread of the parent holds, and end the requests that are under way
        there: no thread here ends them.
        """
        self._lock = threading.Lock()
        over = self._clock() + WINDOW_SECONDS + SLACK_SECONDS
        for ticket in (*self._all.tickets, *self._searches.tickets):
            ticket.until = min(ticket.until, over)

    @property
    def limit(self) -> int:
        """Requests in two seconds, as far as known."""
        return self._all.limit

    @contextlib.contextmanager
    def slot(self, *, search: bool = False) -> Iterator[None]:
        """Wait for a place in the window, and hold it while the request is under way."""
        ticket = self._take(search)
        try:
            yield
        finally:
            with self._lock:
                ticket.until = self._clock() + WINDOW_SECONDS + SLACK_SECONDS

    def update_from_headers(self, headers: Mapping[str, str], *, search: bool = False) -> None:
        """Take limit and remaining requests from an answer's headers; others may share the
        token.
        """
        limit, remaining = (
            _full(headers.get("x-ratelimit-limit")),
            _full(headers.get("x-ratelimit-remaining")),
        )
        reset = _full(headers.get("x-ratelimit-reset"))
        if not limit:
            return
        with self._lock:
            places = self._searches if search else self._all
            places.limit = min(limit, self._search_limit) if search else limit
            if remaining is not None:
                now = self._clock()
                until = (
                    now
                    + min(WINDOW_SECONDS if reset is None else reset, WINDOW_SECONDS)
                    + SLACK_SECONDS
                )
                places.fill(places.limit - remaining, now, until)

    def hold(self, seconds: float) -> None:
        """Let no request start for some seconds, after a 429."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, self._clock() + seconds)

    def _take(self, search: bool) -> _Ticket:
        while True:
            with self._lock:
                now = self._clock()
                wait = max(
                    self._blocked_until - now,
                    self._all.wait(now),
                    self._searches.wait(now) if search else 0.0,
                )
                if wait <= 0:
                    ticket = _Ticket()
                    self._all.tickets.append(ticket)
                    if search:
                        self._searches.tickets.append(ticket)
                    return ticket
            self._sleep(wait)


@dataclass(slots=True)
class _Ticket:
    """Places taken in the window, by one request or by others: until when, for ever while the
    request is under way.
    """

    until: float = float("inf")
    places: int = 1


@dataclass(slots=True)
class _Places:
    """The places of one window."""

    limit: int
    tickets: list[_Ticket] = field(default_factory=list)

    def wait(self, now: float) -> float:
        """Return the seconds until a place is free, 0 where one is."""
        self.tickets = [ticket for ticket in self.tickets if ticket.until > now]
        surplus = self._taken(now) - self.limit
        until = now
        for ticket in sorted(self.tickets, key=lambda ticket: ticket.until):
            if surplus < 0:
                break
            surplus, until = surplus - ticket.places, ticket.until
        return POLL_SECONDS if until == float("inf") else until - now

    def fill(self, taken: int, now: float, until: float) -> None:
        """Take the places that others, who share the token, have used up."""
        others = min(taken, self.limit) - self._taken(now)
        if others > 0:
            self.tickets.append(_Ticket(until, others))

    def _taken(self, now: float) -> int:
        return sum(ticket.places for ticket in self.tickets if ticket.until > now)


@dataclass(slots=True)
class Spent:
    """What a stretch of work cost: requests sent, tokens they cost, seconds it took."""

    requests: int = 0
    tokens: int = 0
    seconds: float = 0.0


class TokenBudget:
    """Counts the tokens spent in a UTC day by all who share a cache, and holds them to a ceiling.

    A request is counted before it is sent, and taken back where the answer shows that it cost
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
        The account's own budget as the last answer told it; None where no answer did.
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
        """Take a lock that no thread of the parent holds, and leave it to the parent to save what
        it has not saved yet.
        """
        self._lock = threading.RLock()
        self._unsaved = 0

    def __repr__(self) -> str:
        ceiling = "no ceiling" if self.max_tokens is None else f"ceiling {self.max_tokens:,}"
        return f"TokenBudget({self.tokens_today:,} tokens today, {ceiling})"

    @property
    def tokens_today(self) -> int:
        """Tokens spent today (UTC) by all who share the cache, as far as known here."""
        with self._lock:
            self._turn_day()
            return self._tokens

    def attach(self, path: Path) -> None:
        """Keep the count in a file from now on, merged with what the file holds.

        Raises
        ------
        NewerCacheError
            A newer version of pdframe wrote the file.
        CacheError
            Where the file cannot be written, or is a link that leads nowhere.
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
                    f"The token count cannot be kept in {path} ({error.strerror}). "
                    "Make the cache folder writable, or choose another with cache_dir=."
                ) from None

    def spend(self, cost: int) -> None:
        """Count a request before it is sent.

        Raises
        ------
        BudgetError
            Where it would pass the ceiling: nothing is counted, and nothing must be sent.
        """
        with self._alone():
            if self.max_tokens is not None:
                self._save_or_warn()  # first learn what other processes have spent
                if self._tokens + cost > self.max_tokens:
                    raise self._over(cost, self.max_tokens)
            self._count(cost, 1)

    def refund(self, cost: int) -> None:
        """Take back the tokens of a request that the server did not charge; it stays a request."""
        with self._alone():
            self._count(-cost, 0)

    def update_from_headers(self, headers: Mapping[str, str]) -> None:
        """Take the account's own budget from an answer's headers, where they tell it."""
        limit, remaining = (
            _full(headers.get("x-daily-ratelimit-token-limit")),
            _full(headers.get("x-daily-ratelimit-token-remaining")),
        )
        with self._lock:
            self.daily_limit = self.daily_limit if limit is None else limit
            self.daily_remaining = self.daily_remaining if remaining is None else remaining

    @contextlib.contextmanager
    def track(self, table: str) -> Iterator[Spent]:
        """Count what this thread spends for a table.

        A helper thread that works for the same table opens `account(table)` of its own: its
        requests count in every open one.
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
        """Keep other threads and processes from counting meanwhile: two that look at the ceiling at
        once would both pass it.
        """
        with self._lock, contextlib.ExitStack() as kept:
            self._turn_day()
            if self._path is not None:
                # Where the file cannot be locked it cannot be written either, which is said then.
                with contextlib.suppress(OSError):
                    kept.enter_context(_lock(self._path))
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
            f" today, the next request costs {cost}. Go on after {resume_at:%Y-%m-%d %H:%M} UTC, or"
            " raise max_tokens.",
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
                    "The token count cannot be kept in %s (%s): it goes on in memory.",
                    self._path,
                    error.strerror,
                )
            self._warned = True

    def _save(self) -> None:
        if self._path is None:
            return
        kept = self._read(self._path)
        self._tokens = max(0, kept + self._unsaved)
        if self._unsaved or not self._path.exists():
            _replace(self._path, seal({"day": self._day, "tokens": self._tokens}))
        self._unsaved = 0

    def _read(self, path: Path) -> int:
        """Return today's tokens before ours that are not saved yet; where no file tells them, this
        process knows best.
        """
        own = max(0, self._tokens - self._unsaved)
        try:
            raw = path.read_bytes()
            refuse_newer(path, raw, FORMAT)
            kept = unseal(raw)
            return int(kept["tokens"]) if kept["day"] == self._day else own
        except FileNotFoundError:
            return own
        except (ValueError, KeyError, TypeError):
            logger.warning(
                "The token count in %s is damaged: today's count goes on from what this process"
                " knows.",
                path,
            )
            path.unlink()  # so that this save writes it anew
            return own


def _full(text: str | None) -> int | None:
    """Return a header's whole number, None where it is missing or makes no sense."""
    return (
        int(text)
        if text is not None and text.isascii() and text.isdigit() and len(text) < 12
        else None
    )


def _lock(path: Path) -> contextlib.AbstractContextManager[None]:
    """The lock against other processes that keep the same count, in a file beside it."""
    return locked_file(path.with_name(f"{path.name}.lock"), poll_seconds=LEDGER_POLL_SECONDS)


def _replace(path: Path, content: bytes) -> None:
    """Write a private file at once or not at all."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise

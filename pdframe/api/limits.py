"""What requests may take: slots of the burst window, tokens of the day, time and bytes of an
answer.

`RateLimiter` keeps the requests of all threads under the burst limit. `TokenBudget` counts what all
processes that share a cache spend in a day, up to a ceiling. `Bounds` holds one exchange to its
time and bytes: a server that sends a byte now and then, or an answer without end, must not block a
notebook.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from pdframe._files import locked_file, refuse_broken_link, refuse_newer, seal, unseal, write_atomic
from pdframe._forks import renew_after_fork
from pdframe.api.retry import Failed
from pdframe.errors import ArgumentError, BudgetError, CacheError

__all__ = [
    "Bounds",
    "ExchangeLimits",
    "RateLimiter",
    "RefusedError",
    "Spent",
    "TokenBudget",
    "header_count",
]

# Requests that any plan may send in a window, before an answer names this account's limit.
SMALLEST_LIMIT = 20
# Searches have their own window, the same on every plan.
SEARCH_LIMIT = 10
WINDOW_SECONDS = 2.0
# Two clocks are not exact: this is added to the window, which starts with the answer, and so later
# than the server's.
SLACK_SECONDS = 0.01
# How often to check for a free slot while requests under way use them all.
POLL_SECONDS = 0.05


class RateLimiter:
    """Keeps requests under the burst limit, for every thread that shares it.

    A request takes a slot from before it is sent until two seconds after its answer. The server
    counts it at some time between the two, so its own window never holds more requests than this
    one.

    A forked process has its own window. Processes that share a token learn of one another from the
    headers of the answers alone; where one gets a 429 all the same, it pauses its own threads and
    sends the request again.

    Parameters
    ----------
    limit
        Requests in two seconds, until an answer names the account's own limit.
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
        self._all = _Slots(limit)
        self._searches = _Slots(search_limit)
        self._search_limit = search_limit
        self._blocked_until = float("-inf")
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Make a new lock, and end the requests that are under way in the parent: no thread here
        ends them.
        """
        self._lock = threading.Lock()
        over = self._clock() + WINDOW_SECONDS + SLACK_SECONDS
        for ticket in (*self._all.tickets, *self._searches.tickets):
            ticket.until = min(ticket.until, over)

    @property
    def limit(self) -> int:
        """Requests in two seconds: the account's limit, once an answer has named it."""
        return self._all.limit

    @contextlib.contextmanager
    def slot(self, *, search: bool = False) -> Iterator[None]:
        """Wait for a slot in the window, and keep it while the request is under way."""
        ticket, windows = _Ticket(), (self._all, self._searches) if search else (self._all,)
        while True:
            with self._lock:
                now = self._clock()
                wait = max(self._blocked_until - now, *(window.wait(now) for window in windows))
                if wait <= 0:
                    for window in windows:
                        window.tickets.append(ticket)
                    break
            self._sleep(wait)
        try:
            yield
        finally:
            with self._lock:
                ticket.until = self._clock() + WINDOW_SECONDS + SLACK_SECONDS

    def update_from_headers(self, headers: Mapping[str, str], *, search: bool = False) -> None:
        """Take limit and remaining requests from an answer's headers: others may share the
        token.
        """
        limit, remaining = (
            header_count(headers.get("x-ratelimit-limit")),
            header_count(headers.get("x-ratelimit-remaining")),
        )
        reset = header_count(headers.get("x-ratelimit-reset"))
        if not limit:
            return
        with self._lock:
            slots = self._searches if search else self._all
            slots.limit = min(limit, self._search_limit) if search else limit
            if remaining is not None:
                now = self._clock()
                until = (
                    now
                    + min(WINDOW_SECONDS if reset is None else reset, WINDOW_SECONDS)
                    + SLACK_SECONDS
                )
                # What other processes with the same token have used.
                known = sum(ticket.slots for ticket in slots.tickets if ticket.until > now)
                others = slots.limit - remaining - known
                if others > 0:
                    slots.tickets.append(_Ticket(until, others))

    def pause(self, seconds: float) -> None:
        """Let no request start for some seconds, after a 429."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, self._clock() + seconds)


@dataclass(slots=True)
class _Ticket:
    """Slots of the window that one request uses, or other processes: until when; for ever while the
    request is under way.
    """

    until: float = float("inf")
    slots: int = 1


@dataclass(slots=True)
class _Slots:
    """The slots of one window."""

    limit: int
    tickets: list[_Ticket] = field(default_factory=list)

    def wait(self, now: float) -> float:
        """Return the seconds until a slot is free, 0 where one is."""
        self.tickets = [ticket for ticket in self.tickets if ticket.until > now]
        surplus = sum(ticket.slots for ticket in self.tickets) - self.limit
        until = now
        for ticket in sorted(self.tickets, key=lambda ticket: ticket.until):
            if surplus < 0:
                break
            surplus, until = surplus - ticket.slots, ticket.until
        return POLL_SECONDS if until == float("inf") else until - now


def header_count(text: str | None) -> int | None:
    """Return the number in a header, None where it is missing or makes no sense."""
    return (
        int(text)
        if text is not None and text.isascii() and text.isdigit() and len(text) < 12
        else None
    )


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
        self._lock_path = Path()
        self._day = ""
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

    @property
    def left_of_ceiling(self) -> int | None:
        """Tokens that `max_tokens` leaves for today (UTC); None: there is no ceiling."""
        return None if self.max_tokens is None else max(0, self.max_tokens - self.tokens_today)

    @property
    def tokens_left(self) -> int | None:
        """Tokens that can be spent today, as far as the ceiling and the last answer of the API
        show; None: neither does.
        """
        known = [left for left in (self.left_of_ceiling, self.daily_remaining) if left is not None]
        return min(known, default=None)

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
            self._path, self._lock_path = path, path.with_name(f"{path.name}.lock")
            try:
                refuse_broken_link(path, path.parent)
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._turn_day()
                with locked_file(self._lock_path, poll_seconds=LOCK_POLL_SECONDS):
                    self._save(must=True)
            except CacheError:
                self._path = None
                raise
            except OSError as error:
                self._path = None
                raise CacheError(
                    f"The token count cannot be saved in {path} ({error.strerror}). "
                    "Make the cache folder writable, or choose another with cache_dir=."
                ) from None

    def spend(self, cost: int, *, requests: int = 1) -> None:
        """Count requests before they are sent, while no other thread or process counts: two that
        check the ceiling at once would both pass it.

        Raises
        ------
        BudgetError
            They would pass the ceiling: nothing is counted, and nothing must be sent.
        """
        with self._lock, contextlib.ExitStack() as locks:
            self._turn_day()
            if self._path is not None:
                # A file that cannot be locked cannot be written either, and a warning follows.
                with contextlib.suppress(OSError):
                    locks.enter_context(
                        locked_file(self._lock_path, poll_seconds=LOCK_POLL_SECONDS)
                    )
            if requests and self.max_tokens is not None:
                self._save()  # first learn what other processes have spent
                if self._tokens + cost > self.max_tokens:
                    raise self._over(cost, self.max_tokens)
            for spent in self._open.get(getattr(self._here, "table", ""), ()):
                spent.tokens += cost
                spent.requests += requests
            counted = max(cost, -self._tokens)  # a refund may come after midnight
            self._tokens += counted
            self._unsaved += counted
            self._save()

    def refund(self, cost: int) -> None:
        """Take back the tokens of a request that the server did not charge; it still counts as a
        request.
        """
        self.spend(-cost, requests=0)

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

    def _turn_day(self) -> None:
        today = datetime.fromtimestamp(self._clock(), UTC).date().isoformat()
        if today != self._day:
            self._day, self._tokens, self._unsaved = today, 0, 0

    def _save(self, *, must: bool = False) -> None:
        """Add what is not saved yet to the count in the file; a file that cannot be written is an
        error where it `must` be, else a warning.
        """
        path = self._path
        if path is None:
            return
        known = max(0, self._tokens - self._unsaved)
        try:
            try:
                raw, saved = path.read_bytes(), {}
                with contextlib.suppress(ValueError):
                    saved = unseal(raw)
                if not saved or "format" in saved:
                    refuse_newer(path, raw, FORMAT)
                known = int(saved["tokens"]) if saved["day"] == self._day else known
            except FileNotFoundError:
                pass
            except (ValueError, KeyError, TypeError):
                logger.warning(
                    "The token count in %s is damaged: today's count continues from what this"
                    " process knows.",
                    path,
                )
                path.unlink()  # this save writes it again
            self._tokens = max(0, known + self._unsaved)
            if self._unsaved or not path.exists():
                content = seal({"day": self._day, "tokens": self._tokens})
                write_atomic(path, content, durable=False)
            self._unsaved = 0
        except OSError as error:
            if must:
                raise
            if not self._warned:
                logger.warning(
                    "The token count cannot be saved in %s (%s): it is kept in memory.",
                    path,
                    error.strerror,
                )
            self._warned = True


# The most bytes that one read of a connection returns; some may belong to the body.
READ_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class ExchangeLimits:
    """What one exchange may take.

    Parameters
    ----------
    seconds
        From sending the request to the last byte of the answer.
    head_bytes
        Bytes before a body: headers and interim answers (1xx), of which there may be any number.
    body_bytes
        Bytes of a body, compressed and decompressed.
    """

    seconds: float = 120.0
    head_bytes: int = 1024 * 1024
    body_bytes: int = 256 * 1024 * 1024


class RefusedError(Exception):
    """An answer that the client stops reading: it takes too much time or too many bytes, or began
    before its request. Never leaves `pdframe.api`.
    """

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.reason)
        self.failed = failed


@dataclass(slots=True)
class Bounds:
    """Holds one exchange to its limits, from sending the request to the last byte of the answer.

    Parameters
    ----------
    limits
        The limits.
    clock, started
        Seconds, and when the exchange began.
    in_body
        Whether the headers of the final answer have been read.
    unanswered
        Whether a request was sent, and no byte has been read since.
    """

    limits: ExchangeLimits
    clock: Callable[[], float]
    started: float
    in_body: bool = False
    unanswered: bool = False
    _bytes: int = 0

    def seconds_left(self) -> float:
        """Return the seconds that are left.

        Raises
        ------
        RefusedError
            None are.
        """
        left = self.started + self.limits.seconds - self.clock()
        if left <= 0:
            raise RefusedError(
                Failed(f"an answer that was not complete after {self.limits.seconds:.0f} s")
            )
        return left

    def count(self, raw: bytes) -> None:
        """Count bytes of the answer, as they are on the wire.

        Raises
        ------
        RefusedError
            They are too many, or belong to an answer that began before the request.
        """
        if self.unanswered and raw[:5] != b"HTTP/"[: len(raw)]:
            self.refuse_early()
        self.unanswered = False
        self._bytes += len(raw)
        head, body = self.limits.head_bytes, self.limits.body_bytes
        if not self.in_body and self._bytes > head + READ_BYTES:
            raise RefusedError(
                Failed(f"headers or interim answers of more than {head:,} bytes", final=True)
            )
        if self._bytes > body + head:
            raise RefusedError(Failed(f"an answer of more than {body:,} bytes", final=True))

    def count_body(self, size: int) -> None:
        """Check the bytes of a body, decompressed, that have been read so far, and the time.

        Raises
        ------
        RefusedError
            They are too many, or no time is left.
        """
        if size > self.limits.body_bytes:
            raise RefusedError(
                Failed(f"a body of more than {self.limits.body_bytes:,} bytes", final=True)
            )
        self.seconds_left()

    @staticmethod
    def refuse_early() -> NoReturn:
        """Refuse an answer that began before its request: from then on each request would get the
        answer to the one before.
        """
        raise RefusedError(Failed("an answer that came before the request was sent"))

"""The burst limit of the API: the requests that it takes in two seconds."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pdframe._forks import renew_after_fork

__all__ = ["RateLimiter", "header_count"]

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
        ticket = self._take(search)
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
                slots.use(slots.limit - remaining, now, until)

    def pause(self, seconds: float) -> None:
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
        surplus = self._in_use(now) - self.limit
        until = now
        for ticket in sorted(self.tickets, key=lambda ticket: ticket.until):
            if surplus < 0:
                break
            surplus, until = surplus - ticket.slots, ticket.until
        return POLL_SECONDS if until == float("inf") else until - now

    def use(self, used: int, now: float, until: float) -> None:
        """Count the slots that other processes with the same token have used."""
        others = min(used, self.limit) - self._in_use(now)
        if others > 0:
            self.tickets.append(_Ticket(until, others))

    def _in_use(self, now: float) -> int:
        return sum(ticket.slots for ticket in self.tickets if ticket.until > now)


def header_count(text: str | None) -> int | None:
    """Return the number in a header, None where it is missing or makes no sense."""
    return (
        int(text)
        if text is not None and text.isascii() and text.isdigit() and len(text) < 12
        else None
    )

"""What the server counts: requests, tokens, the fullest window."""

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from pdframe.sandbox.server.limits import WINDOW

_LONGEST = 4_000
_SECRET = frozenset({"api_token", "access_token", "refresh_token", "client_secret"})


@dataclass(frozen=True, slots=True)
class Logged:
    """One answered request; ``template`` is empty where no operation was reached, ``status`` 0
    where the connection was dropped.
    """

    method: str
    path: str
    params: Mapping[str, str]
    status: int
    tokens: int
    template: str = ""


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the start or the last reset.

    ``fullest_window`` is the most API requests that came in any rolling 2 s, refused ones included;
    ``by_path`` has (requests, tokens) by path template, ``statuses`` requests by status.
    """

    requests: int = 0
    tokens: int = 0
    fullest_window: int = 0
    by_path: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))
    statuses: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))


def flat(params: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the parameters of a query without credentials, each as one text."""
    return {
        name[:80]: ",".join(values)[:_LONGEST]
        for name, values in params.items()
        if name not in _SECRET
    }


class Log:
    """Keeps the requests. Safe to call from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget everything counted."""
        with self._lock:
            self._entries: list[Logged] = []
            self._arrivals: deque[float] = deque()
            self._fullest = 0

    def arrive(self) -> None:
        """Note that an API request came in."""
        now = time.monotonic()
        with self._lock:
            self._arrivals.append(now)
            while self._arrivals[0] <= now - WINDOW:
                self._arrivals.popleft()
            self._fullest = max(self._fullest, len(self._arrivals))

    def add(
        self,
        method: str,
        path: str,
        params: Mapping[str, Sequence[str]],
        status: int,
        tokens: int,
        template: str,
    ) -> None:
        """Keep an answered request, without credentials; a repeated key reads like the
        comma-separated spelling.
        """
        kept = MappingProxyType(flat(params))
        entry = Logged(method, path[:_LONGEST], kept, status, tokens, template)
        with self._lock:
            self._entries.append(entry)

    @property
    def entries(self) -> list[Logged]:
        """A copy of the log, in the order of the answers."""
        with self._lock:
            return list(self._entries)

    @property
    def stats(self) -> Stats:
        """The counts as they are now."""
        with self._lock:
            entries, fullest = list(self._entries), self._fullest
        by_path: dict[str, tuple[int, int]] = {}
        for entry in entries:
            requests, tokens = by_path.get(entry.template, (0, 0))
            by_path[entry.template] = (requests + 1, tokens + entry.tokens)
        statuses = Counter(entry.status for entry in entries)
        total = sum(entry.tokens for entry in entries)
        return Stats(
            len(entries),
            total,
            fullest,
            MappingProxyType(by_path),
            MappingProxyType(dict(statuses)),
        )

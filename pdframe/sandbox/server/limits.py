"""The burst window, the daily budget and the block: all on real time, whatever the company's clock
says.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType

from pdframe.sandbox.server.answers import Answer, Refusal, html, refused
from pdframe.sandbox.server.settings import Settings

WINDOW = 2.0
DAY = 86_400
# Requests in a window, a token: (API token, OAuth).
BURST: Mapping[str, tuple[int, int]] = MappingProxyType(
    {"Lite": (20, 80), "Growth": (40, 160), "Premium": (100, 400), "Ultimate": (120, 480)}
)
Headers = tuple[tuple[str, str], ...]


class Limits:
    """What stands between a valid token and an operation. Safe to call from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._windows: dict[tuple[str, bool], deque[float]] = {}
        self._spent = 0
        self._day = int(time.time()) // DAY
        self._refusals = 0
        self._blocked = False

    def blocked(self) -> Answer | None:
        """The HTML 403 for a company that went on after its 429s."""
        return html(403, "Forbidden") if self._blocked else None

    def unblock(self) -> None:
        """Let the company's tokens in again."""
        with self._lock:
            self._blocked = False
            self._refusals = 0

    def new_day(self) -> None:
        """Refill the daily budget, as midnight does."""
        with self._lock:
            self._spent = 0

    @property
    def remaining(self) -> int:
        """Tokens left today."""
        with self._lock:
            return self._left()

    def _left(self) -> int:
        today = int(time.time()) // DAY
        if today != self._day:
            self._day, self._spent = today, 0
        return max(0, self._settings.daily_tokens - self._spent)

    def admit(self, token: str, *, oauth: bool, search: bool) -> tuple[Headers, Answer | None]:
        """Count a request into its token's window; the headers to send, and the 429 where the
        window is full.
        """
        settings = self._settings
        most = settings.burst if settings.burst is not None else BURST[settings.plan][oauth]
        if search:
            most = min(most, settings.search_burst)
        now = time.monotonic()
        with self._lock:
            window = self._windows.setdefault((token, search), deque())
            while window and window[0] <= now - WINDOW:
                window.popleft()
            full = len(window) >= most
            if not full:
                window.append(now)
            headers = self._headers(most, most - len(window))
            return headers, self._over(headers) if full else None

    def _headers(self, most: int, left: int) -> Headers:
        headers: Headers = (
            ("x-ratelimit-limit", str(most)),
            ("x-ratelimit-remaining", str(max(0, left))),
            ("x-ratelimit-reset", "2"),
        )
        if self._settings.daily_headers:
            headers += self._daily_headers()
        return headers

    def _daily_headers(self) -> Headers:
        return (
            ("x-daily-ratelimit-token-limit", str(self._settings.daily_tokens)),
            ("x-daily-ratelimit-token-remaining", str(self._left())),
        )

    def _over(self, headers: Headers) -> Answer:
        self._refuse()
        if self._settings.burst_retry_after:
            headers += (("retry-after", "2"),)
        return refused(
            Refusal(
                429,
                "request over limit",
                "You have exceeded the request limit for a 2 second window.",
            ),
            headers,
        )

    def charge(self, cost: int, headers: Headers) -> tuple[Headers, Answer | None]:
        """Take an operation's cost from the budget; the headers as they then are, and the 429 where
        too little is left.
        """
        with self._lock:
            if self._left() < cost:
                self._refuse()
                if self._settings.daily_retry_after:
                    headers += (("retry-after", str(DAY - int(time.time()) % DAY)),)
                return headers, refused(
                    Refusal(
                        429,
                        "daily request budget exceeded",
                        "The company has used up its API tokens of this day.",
                    ),
                    headers,
                )
            self._spent += cost
            self._refusals = 0
            if self._settings.daily_headers:
                names = {name for name, _ in self._daily_headers()}
                headers = (
                    *(pair for pair in headers if pair[0] not in names),
                    *self._daily_headers(),
                )
            return headers, None

    def _refuse(self) -> None:
        self._refusals += 1
        most = self._settings.block_after
        if most is not None and self._refusals >= most:
            self._blocked = True

"""Faults on demand: what networks, proxies and busy services do to single answers."""

import random
import threading
from collections.abc import Mapping, Sequence

KINDS = (
    "html_502",
    "html_503",
    "drop",
    "truncate",
    "cut_gzip",
    "rate_429",
    "rate_429_retry_after",
    "html_403",
    "success_false_200",
    "redirect",
    "slow",
)


class Faults:
    """Decides which API requests go wrong, and how.

    Parameters
    ----------
    rate
        Share of requests that go wrong, each with a kind drawn from ``kinds``.
    seed
        The draw of the k-th request depends on the seed and k alone.
    kinds
        Names from `KINDS`.
    at
        Kind of fault of the k-th request, counted from 1 since these faults were put in place; goes
        before ``rate``.
    slow_seconds
        How long a slow answer is held back.
    """

    def __init__(
        self,
        rate: float = 0.0,
        seed: int = 0,
        kinds: Sequence[str] = KINDS,
        at: Mapping[int, str] | None = None,
        *,
        slow_seconds: float = 2.0,
    ) -> None:
        self.rate = rate
        self.seed = seed
        self.kinds = tuple(kinds)
        self.at = dict(at or {})
        self.slow_seconds = slow_seconds
        unknown = {*self.kinds, *self.at.values()} - set(KINDS)
        if unknown:
            raise ValueError(
                f"There is no fault {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}."
            )
        self._lock = threading.Lock()
        self._count = 0

    def next(self) -> str | None:
        """Count a request; the kind of its fault, or None."""
        with self._lock:
            self._count += 1
            number = self._count
        if number in self.at:
            return self.at[number]
        if not self.rate or not self.kinds:
            return None
        draw = random.Random(f"{self.seed}:{number}")
        return draw.choice(self.kinds) if draw.random() < self.rate else None

"""The time and the bytes that one exchange over HTTP may take.

A server that sends a byte now and then, or an answer without end, must not block a notebook.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from pdframe.api.retry import Failed

__all__ = ["Bounds", "ExchangeLimits", "RefusedError"]

# The most bytes that one read of a connection returns; some may belong to the body.
READ_BYTES = 64 * 1024


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


class Bounds:
    """Holds one exchange to its limits, from sending the request to the last byte of the answer.

    Parameters
    ----------
    limits
        The limits.
    clock
        Seconds.

    Attributes
    ----------
    in_body : bool
        Whether the headers of the final answer have been read.
    unanswered : bool
        Whether a request was sent, and no byte has been read since.
    """

    def __init__(self, limits: ExchangeLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._deadline = clock() + limits.seconds
        self._bytes = 0
        self.in_body = self.unanswered = False

    def seconds_left(self) -> float:
        """Return the seconds that are left.

        Raises
        ------
        RefusedError
            None are.
        """
        left = self._deadline - self._clock()
        if left <= 0:
            raise RefusedError(
                Failed(f"an answer that was not complete after {self._limits.seconds:.0f} s")
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
        head, body = self._limits.head_bytes, self._limits.body_bytes
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
        if size > self._limits.body_bytes:
            raise RefusedError(
                Failed(f"a body of more than {self._limits.body_bytes:,} bytes", final=True)
            )
        self.seconds_left()

    @staticmethod
    def refuse_early() -> NoReturn:
        """Refuse an answer that began before its request: from then on each request would get the
        answer to the one before.
        """
        raise RefusedError(Failed("an answer that came before the request was sent"))

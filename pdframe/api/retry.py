"""Whether and when a request is sent again, and the error where it is not."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pdframe.api.responses import MAX_WAIT_SECONDS, Retryable
from pdframe.errors import PdframeError, RateLimitError, TransportError

__all__ = ["Failed", "backoff_seconds", "gave_up", "may_retry"]

# No retry starts later than this after the first attempt.
PATIENCE_SECONDS = 300.0
# Until a server has answered once, a failure to connect is more likely a wrong name than a bad
# moment.
MAX_FIRST_RETRIES = 2
BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Failed:
    """A request without a complete answer.

    Attributes
    ----------
    reason : str
        Why, for a message.
    charged : bool
        Whether the server may have charged the request.
    connected : bool
        Whether there was a connection.
    final : bool
        Whether another attempt makes no sense.
    """

    reason: str
    charged: bool = True
    connected: bool = True
    final: bool = False


def may_retry(
    outcome: Retryable | Failed, attempt: int, seconds: float, *, retries: int, answered: bool
) -> bool:
    """Tell whether to send a request again.

    Parameters
    ----------
    outcome
        Of the last attempt.
    attempt
        Its number, from 1.
    seconds
        From the first attempt to the end of the next wait.
    retries
        Most attempts after the first one.
    answered
        Whether the server has answered any request before.
    """
    if isinstance(outcome, Failed) and outcome.final:
        retries = 0
    elif isinstance(outcome, Failed) and not outcome.connected and not answered:
        retries = min(retries, MAX_FIRST_RETRIES)
    return attempt <= retries and seconds <= PATIENCE_SECONDS


def backoff_seconds(attempt: int, outcome: Retryable | Failed) -> float:
    """Return how long to wait before the next attempt: what the server asks for, and on top of it a
    random time up to a bound that doubles.
    """
    requested = min(outcome.wait, MAX_WAIT_SECONDS) if isinstance(outcome, Retryable) else 0.0
    bound = min(MAX_BACKOFF_SECONDS, BACKOFF_SECONDS * 2 ** (attempt - 1))
    return requested + random.uniform(0.0, bound)


def gave_up(
    where: str, outcome: Retryable | Failed, attempts: int, seconds: float, origin: str | None
) -> PdframeError:
    """Return the error for a request that is not sent again.

    Parameters
    ----------
    where
        How messages name the request.
    outcome
        Of the last attempt.
    attempts, seconds
        How many there were, and how long they took.
    origin
        The server.
    """
    tried = f"{attempts} attempt{'s' if attempts > 1 else ''} over {seconds:.0f} s"
    if isinstance(outcome, Retryable):
        if outcome.burst:
            return RateLimitError(
                f"{where} ran into the burst limit (HTTP 429) in {tried}: others use this token"
                " at the same time. Wait a minute and stop what else runs with it."
            )
        return TransportError(
            f"{where} got no usable answer in {tried}, last {outcome.reason}. Try again later.",
            status=outcome.status,
            attempts=attempts,
        )
    if not outcome.connected:
        return TransportError(
            f"{where}: {origin} could not be reached in {tried}: {outcome.reason}. "
            "Check the company's name or base_url, the network and the proxy.",
            attempts=attempts,
        )
    return TransportError(
        f"{where} got no complete answer in {tried}, last {outcome.reason}. Try again later.",
        attempts=attempts,
    )

"""Every error and warning that pdframe raises, and nothing else: this module imports nothing of
pdframe.

::

    PdframeError
    ├── CredentialsError      no credentials, malformed ones, or a dead OAuth grant
    ├── AccessError           401, 402, 403: the account lacks a right, a scope or a plan
    ├── BlockedError          the HTML 403: Pipedrive's firewall blocks the company's token traffic
    ├── RateLimitError        the burst limit did not clear within the retries
    ├── BudgetError           the daily budget, or the ceiling `max_tokens`, is used up
    ├── TransportError        no whole answer came: network, 5xx, cut bodies, after the retries
    ├── ResponseError         a whole answer that cannot be used
    ├── CacheError            the cache cannot be read or written
    │   ├── NotCachedError    the cache was to answer alone, and does not hold the table
    │   ├── DamagedError      a cached file is not as it was written
    │   └── NewerCacheError   a newer pdframe wrote the cache
    ├── MixedCurrencyError    amounts in several currencies would be added up
    └── ArgumentError         an argument is wrong (also a ValueError)

    DataWarning               values that could not be kept as they came (a UserWarning)

A message is whole sentences: what happened, what is kept, what to do. None ever holds a credential.
"""

from __future__ import annotations

from datetime import datetime

__all__ = [
    "AccessError",
    "ArgumentError",
    "BlockedError",
    "BudgetError",
    "CacheError",
    "CredentialsError",
    "DamagedError",
    "DataWarning",
    "MixedCurrencyError",
    "NewerCacheError",
    "NotCachedError",
    "PdframeError",
    "RateLimitError",
    "ResponseError",
    "TransportError",
]


class PdframeError(Exception):
    """Base of all errors of pdframe.

    Parameters
    ----------
    message
        What happened and what to do, in whole sentences.
    kept
        What is kept in spite of the error, a sentence shown after the message. Empty where nothing
        was under way; the layer that keeps something (the cache) fills it in on the way up.
    """

    def __init__(self, message: str, *, kept: str = "") -> None:
        super().__init__(message)
        self.kept = kept

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.args[0]) if self.args else "", self.kept)))


class CredentialsError(PdframeError):
    """No credentials were given, they are malformed, or the OAuth grant is dead."""


class AccessError(PdframeError):
    """The server knows the caller and refuses: 401, 402 or 403.

    Parameters
    ----------
    message
        What happened and what to do.
    status
        The HTTP status, None where there was no answer of HTTP.
    missing
        What is missing: "credentials", "scope", "plan", "permission", or empty where the server
        does not say.
    kept
        What is kept in spite of the error.
    """

    def __init__(
        self, message: str, *, status: int | None = None, missing: str = "", kept: str = ""
    ) -> None:
        super().__init__(message, kept=kept)
        self.status = status
        self.missing = missing


class BlockedError(PdframeError):
    """Pipedrive's firewall answers an HTML 403: asking on makes it worse for the whole company.

    Parameters
    ----------
    message
        What happened and what to do.
    until
        The client sends nothing before this time (UTC).
    kept
        What is kept in spite of the error.
    """

    def __init__(self, message: str, *, until: datetime | None = None, kept: str = "") -> None:
        super().__init__(message, kept=kept)
        self.until = until


class RateLimitError(PdframeError):
    """The burst limit (requests in two seconds) did not clear within the bounded retries."""


class BudgetError(PdframeError):
    """The daily token budget of the account, or the ceiling `max_tokens`, is used up.

    Parameters
    ----------
    message
        What happened and what to do.
    resume_at
        When requests are possible again (UTC); None where the server does not say.
    kept
        What is kept, to go on from then.
    """

    def __init__(self, message: str, *, resume_at: datetime | None = None, kept: str = "") -> None:
        super().__init__(message, kept=kept)
        self.resume_at = resume_at


class TransportError(PdframeError):
    """No whole answer came within the bounded retries: no connection, 5xx, or bodies that were cut
    short.

    Parameters
    ----------
    message
        What happened and what to do.
    status
        The HTTP status of the last answer, None where none came.
    attempts
        How many requests were made.
    kept
        What is kept in spite of the error.
    """

    def __init__(
        self, message: str, *, status: int | None = None, attempts: int = 0, kept: str = ""
    ) -> None:
        super().__init__(message, kept=kept)
        self.status = status
        self.attempts = attempts


class ResponseError(PdframeError):
    """A whole answer came that cannot be used: 400, 404, a redirect, HTML, `success: false`, a list
    that has no end or is another one.

    Parameters
    ----------
    message
        What happened and what to do.
    status
        The HTTP status, so that a caller can accept one.
    kept
        What is kept in spite of the error.
    """

    def __init__(self, message: str, *, status: int | None = None, kept: str = "") -> None:
        super().__init__(message, kept=kept)
        self.status = status


class CacheError(PdframeError):
    """The cache cannot be read or written."""


class NotCachedError(CacheError):
    """The cache was asked to answer alone (`refresh=False`) and does not hold the table."""


class DamagedError(CacheError):
    """A cached file is missing, cut short, changed or foreign. Where the API may be asked, it is
    moved aside and loaded again.

    Parameters
    ----------
    message
        What happened and what to do.
    table
        The folder of the cache that it is in.
    kept
        What is kept in spite of the error.
    """

    def __init__(self, message: str, *, table: str = "", kept: str = "") -> None:
        super().__init__(message, kept=kept)
        self.table = table


class NewerCacheError(CacheError):
    """A newer version of pdframe wrote the cache, in a form that this one does not know. Nothing in
    the cache is changed.

    Parameters
    ----------
    message
        What happened and what to do.
    written_by
        The version that wrote it, such as "0.4.0"; None where the file does not say.
    kept
        What is kept in spite of the error.
    """

    def __init__(self, message: str, *, written_by: str | None = None, kept: str = "") -> None:
        super().__init__(message, kept=kept)
        self.written_by = written_by


class MixedCurrencyError(PdframeError):
    """Amounts in several currencies would be added up as if they were one."""


class ArgumentError(PdframeError, ValueError):
    """An argument is wrong; the message shows the right form."""


class DataWarning(UserWarning):
    """Values that could not be kept as they came: the column, how many, and an example."""

"""Every error and warning of pdframe. This module imports nothing of pdframe.

::

    PdframeError
    ├── CredentialsError      no credentials, malformed ones, or a revoked OAuth grant
    ├── AccessError           401, 402, 403: the account lacks a right, a scope or a plan
    ├── BlockedError          the HTML 403: Pipedrive's firewall blocks the company's API traffic
    ├── RateLimitError        the burst limit did not clear within the retries
    ├── BudgetError           the daily budget, or `max_tokens`, is used up
    ├── TransportError        no complete answer after the retries: network, 5xx, truncated body
    ├── ResponseError         a complete answer that cannot be used
    ├── CacheError            the cache cannot be read or written
    │   ├── NotCachedError    refresh=False, and the table is not cached
    │   ├── DamagedError      a cached file is damaged
    │   └── NewerCacheError   a newer pdframe wrote the cache
    ├── MixedCurrencyError    amounts in several currencies would be added
    ├── InsufficientDataError  too little past to forecast from
    └── ArgumentError         an argument is wrong (also a ValueError)
        └── UnknownNameError  a metric, chart or method that does not exist (also an AttributeError)

    DataWarning               values that do not fit, or data that is missing (a UserWarning)

A message is complete sentences: what happened, what is kept, what to do. It never contains a
credential.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
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
    "InsufficientDataError",
    "MixedCurrencyError",
    "NewerCacheError",
    "NotCachedError",
    "PdframeError",
    "RateLimitError",
    "ResponseError",
    "TransportError",
    "UnknownNameError",
]

# The packages whose lines a user does not read in a notebook.
_INTERNAL = frozenset({"pdframe", "contextlib", "functools", "IPython", "ipykernel"})


class PdframeError(Exception):
    """Base of all errors of pdframe.

    Parameters
    ----------
    message
        What happened and what to do, in complete sentences.
    kept
        What is kept despite the error: a sentence shown after the message. Empty if no work was
        interrupted; the layer that keeps something (the cache) sets it.
    """

    def __init__(self, message: str, *, kept: str = "") -> None:
        super().__init__(message)
        self.kept = kept

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.args[0]) if self.args else "", self.kept)))

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows: the user's lines, without those of pdframe, the message, and
        notes.
        """
        message = f"{type(self).__name__}: {self}"
        return [*_user_lines(self), message, *getattr(self, "__notes__", ())]


class CredentialsError(PdframeError):
    """There are no credentials, they are malformed, or the OAuth grant is revoked."""


class AccessError(PdframeError):
    """The server knows the caller and refuses: 401, 402 or 403.

    Parameters
    ----------
    message
        What happened and what to do.
    status
        The HTTP status; None if there was no HTTP answer.
    missing
        What is missing: "credentials", "scope", "plan" or "permission"; empty if unknown.
    kept
        What is kept despite the error.
    """

    def __init__(
        self, message: str, *, status: int | None = None, missing: str = "", kept: str = ""
    ) -> None:
        super().__init__(message, kept=kept)
        self.status = status
        self.missing = missing


class BlockedError(PdframeError):
    """Pipedrive's firewall answers with an HTML 403: more requests prolong the company's block.

    Parameters
    ----------
    message
        What happened and what to do.
    until
        The client sends no request before this time (UTC).
    kept
        What is kept despite the error.
    """

    def __init__(self, message: str, *, until: datetime | None = None, kept: str = "") -> None:
        super().__init__(message, kept=kept)
        self.until = until


class RateLimitError(PdframeError):
    """The burst limit (requests in two seconds) did not clear within the bounded retries."""


class BudgetError(PdframeError):
    """The daily token budget of the account, or `max_tokens`, is used up.

    Parameters
    ----------
    message
        What happened and what to do.
    resume_at
        When requests are possible again (UTC); None if unknown.
    kept
        What is kept, and resumed later.
    """

    def __init__(self, message: str, *, resume_at: datetime | None = None, kept: str = "") -> None:
        super().__init__(message, kept=kept)
        self.resume_at = resume_at


class TransportError(PdframeError):
    """There was no complete answer within the bounded retries: no connection, 5xx, or truncated
    bodies.

    Parameters
    ----------
    message
        What happened and what to do.
    status
        The HTTP status of the last answer; None if there was none.
    attempts
        Number of requests.
    kept
        What is kept despite the error.
    """

    def __init__(
        self, message: str, *, status: int | None = None, attempts: int = 0, kept: str = ""
    ) -> None:
        super().__init__(message, kept=kept)
        self.status = status
        self.attempts = attempts


class ResponseError(PdframeError):
    """A complete answer cannot be used: 400, 404, a redirect, HTML, `success: false`, an endless
    list, or a different list.

    Parameters
    ----------
    message
        What happened and what to do.
    status
        The HTTP status, so that a caller can handle one.
    kept
        What is kept despite the error.
    """

    def __init__(self, message: str, *, status: int | None = None, kept: str = "") -> None:
        super().__init__(message, kept=kept)
        self.status = status


class CacheError(PdframeError):
    """The cache cannot be read or written."""


class NotCachedError(CacheError):
    """The table is not cached, and `refresh=False` sends no request."""


class DamagedError(CacheError):
    """A cached file is missing, truncated, changed or foreign. If requests are allowed, its table
    is reloaded.

    Parameters
    ----------
    message
        What happened and what to do.
    table
        The table's folder in the cache.
    kept
        What is kept despite the error.
    """

    def __init__(self, message: str, *, table: str = "", kept: str = "") -> None:
        super().__init__(message, kept=kept)
        self.table = table


class NewerCacheError(CacheError):
    """A newer version of pdframe wrote the cache, in a format that this one cannot read. The cache
    is unchanged.

    Parameters
    ----------
    message
        What happened and what to do.
    written_by
        The version that wrote it, such as "0.4.0"; None if unknown.
    kept
        What is kept despite the error.
    """

    def __init__(self, message: str, *, written_by: str | None = None, kept: str = "") -> None:
        super().__init__(message, kept=kept)
        self.written_by = written_by


class MixedCurrencyError(PdframeError):
    """Amounts in several currencies would be added."""


class InsufficientDataError(PdframeError):
    """The past is too short, or holds too few cases, to forecast from; the message counts them."""


class ArgumentError(PdframeError, ValueError):
    """An argument is wrong; the message shows the right form."""


class UnknownNameError(ArgumentError, AttributeError):
    """A metric, a chart, or a method of an account does not exist; the message names the nearest
    one.
    """


class DataWarning(UserWarning):
    """Values that do not fit their column, with a count and an example, or data that is missing.

    Attributes
    ----------
    notes : tuple of str
        All that was noticed in one call, where the warning is a summary; else empty.
    """

    notes: tuple[str, ...] = ()


def _user_lines(error: BaseException) -> list[str]:
    """Return each line of the user's code that led to an error: where it is, and how it reads."""
    shown = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package in _INTERNAL:
            continue
        entry = traceback.FrameSummary(frame.f_code.co_filename, line, frame.f_code.co_name)
        shown.append(f"{_place(entry.filename)}, line {line}\n    {entry.line or ''}")
    return shown


def _place(file: str) -> str:
    """Return the name of a file, or of a cell of a notebook as IPython counts them."""
    with contextlib.suppress(Exception):
        shell = sys.modules["IPython"].get_ipython()
        kind, name = shell.compile.format_code_name(file)
        return f"{kind} {name}"
    return f"File {file}"

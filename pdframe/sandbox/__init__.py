"""The sandbox: a synthetic company behind a real local HTTP server, and an account connected to it.

>>> account = pdframe.sandbox.connect(seed=7, deals=2_000)
>>> account.deals()
>>> account.advance(days=7)  # life goes on: new deals, moves, wins, losses, deletions
"""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
import weakref
from dataclasses import fields
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, NoReturn

from pdframe._advice import did_you_mean, unknown_name
from pdframe._connect import connection
from pdframe.account import Account
from pdframe.errors import ArgumentError
from pdframe.sandbox.company import Company, Market, Switches
from pdframe.sandbox.server import Faults, Server
from pdframe.sandbox.server.settings import Settings

__all__ = ["Company", "Faults", "Market", "SandboxAccount", "Server", "Switches", "connect"]

_ACCOUNT_OPTIONS = (
    "max_age",
    "metadata_age",
    "deletions_age",
    "full_every",
    "names",
    "max_tokens",
    "progress",
    "options",
)
_SERVER_OPTIONS = tuple(
    name
    for name in dict.fromkeys(
        [*inspect.signature(Server).parameters, *(f.name for f in fields(Settings))]
    )
    if name not in ("company", "switches")
)


class SandboxAccount(Account):
    """An account of a synthetic company, which it owns: closing it stops the server and removes a
    temporary cache.

    A forked process may load from it, over connections of its own. Server and cache stay the
    parent's: closing the account there, or the end of the process, leaves both alone.

    Attributes
    ----------
    company_model : Company
        The company: its events, its truth, and the writes that life consists of.
    server : Server
        The HTTP server, with what it counted.
    """

    company_model: Company
    server: Server

    def advance(self, days: float = 7) -> None:
        """Let days pass at the company: deals come, move, are won, lost, edited, archived and
        deleted.
        """
        self.company_model.advance(days=days)

    def close(self) -> None:
        """Close the connections, stop the server, remove the cache if it was a temporary one."""
        super().close()
        self._cleanup()

    def _summary(self) -> tuple[str, list[str]]:
        # What a first request would tell: the company, not the address of its server.
        name, lines = super()._summary()
        return (str(self.company_model.info["company_name"]) if name == self._host else name), lines

    def _own(self, company: Company, server: Server, temporary: str | None) -> None:
        self.company_model, self.server = company, server
        self._cleanup = weakref.finalize(self, _clean_up, server, temporary, os.getpid())


def connect(
    seed: int = 7,
    deals: int = 2_000,
    cache_dir: str | os.PathLike[str] | None = None,
    *,
    company: Literal["showcase", "hostile"] = "showcase",
    switches: Switches | None = None,
    market: Market | None = None,
    **limits: Any,
) -> SandboxAccount:
    """Make a synthetic company, serve it on 127.0.0.1, and connect to it.

    Parameters
    ----------
    seed
        Same seed and size, same company, to the last byte.
    deals
        Number of deals in its three years; 0: a new account.
    cache_dir
        Folder of the Parquet files; None: a temporary folder, deleted when the account is closed.
    company
        Whose labels, names and texts: "showcase": those of an ordinary customer; "hostile": labels
        that several fields share, removed options, markup and every alphabet, for tests. Deals,
        times and amounts of a seed are the same in both.
    switches
        How the API behaves where its documentation is silent; None: the likeliest.
    market
        What makes the company's business harder to forecast; None: nothing.
    **limits
        Of the account (`max_age`, `metadata_age`, `deletions_age`, `full_every`, `names`,
        `max_tokens`, `progress`, `options`, as in `pdframe.connect`) and of the server (`plan`,
        `seats`, `burst`, `daily_tokens`, `latency`, `faults` and the other parameters of `Server`).

    Returns
    -------
    SandboxAccount
        An `Account` with `advance(days)`; a context manager.

    Examples
    --------
    >>> account = pdframe.sandbox.connect(seed=7, deals=20)
    >>> before = len(account.deals())
    >>> account.advance(days=7)  # new deals, moves, wins, losses
    >>> print(before, "deals, a week later", len(account.deals(refresh=True)))
    20 deals, a week later 21
    """
    known = [*_ACCOUNT_OPTIONS, *_SERVER_OPTIONS]
    for name in limits:
        if name not in known:
            own = [*inspect.signature(connect).parameters][:-1]
            hint = did_you_mean(name, [*own, *known]) or f"It takes {', '.join([*own, *known])}."
            raise ArgumentError(f"connect() has no argument {name!r}. {hint}")
    numbers: dict[str, object] = {"seed": seed, "deals": deals}
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, Integral):
            raise ArgumentError(
                f"{name}={number!r} must be a whole number, such as sandbox.connect(seed=7,"
                " deals=2_000)."
            )
    options = {name: limits.pop(name) for name in _ACCOUNT_OPTIONS if name in limits}
    model = Company(seed=seed, deals=deals, switches=switches, market=market, texts=company)
    server = Server(model, **limits)
    temporary = tempfile.mkdtemp(prefix="pdframe-") if cache_dir is None else None
    try:
        server.start()
        account = connection(
            SandboxAccount,
            api_token=server.token,
            base_url=server.url,
            cache_dir=Path(temporary or cache_dir or "."),
            **options,
        )
    except BaseException:
        _clean_up(server, temporary, os.getpid())
        raise
    account._own(model, server, temporary)
    return account


def _clean_up(server: Server, temporary: str | None, owner: int) -> None:
    if os.getpid() != owner:
        return
    server.stop()
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> NoReturn:
    raise unknown_name(
        name,
        "part of the sandbox",
        __all__,
        groups={"an account": ("connect",), "its parts": ("Company", "Server", "Faults")},
        every="dir(pdframe.sandbox)",
    )

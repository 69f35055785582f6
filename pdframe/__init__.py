"""pdframe: Pipedrive in pandas. `connect` opens an account, `sandbox.connect` a synthetic one; an
account's methods load frames.

>>> import pdframe
>>> account = pdframe.connect("acme")  # token from PIPEDRIVE_API_TOKEN
>>> deals = account.deals()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pdframe import errors
from pdframe.account import Account, connect
from pdframe.api.credentials import OAuth, Tokens
from pdframe.errors import DataWarning, PdframeError

if TYPE_CHECKING:
    from pdframe import metrics, plot, sandbox

__version__ = "0.1.0"
__all__ = [
    "Account",
    "DataWarning",
    "OAuth",
    "PdframeError",
    "Tokens",
    "connect",
    "errors",
    "metrics",
    "plot",
    "sandbox",
]

# Loaded when first named: a session that only loads tables needs none of them, and plot needs
# matplotlib.
_LAZY = frozenset({"metrics", "plot", "sandbox"})


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"pdframe.{name}")
    raise AttributeError(f"module 'pdframe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})

"""pdframe: Pipedrive in pandas. `connect` opens an account, `sandbox.connect` a synthetic one; the
methods of an account load frames.

>>> import pdframe
>>> account = pdframe.connect("acme")  # token from PIPEDRIVE_API_TOKEN
>>> deals = account.deals()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pdframe import errors
from pdframe.errors import DataWarning, PdframeError

if TYPE_CHECKING:
    from pdframe import fleet, metrics, plot, sandbox
    from pdframe._lists import has
    from pdframe.account import Account, connect
    from pdframe.api.credentials import OAuth, Tokens
    from pdframe.bi.check import export_check

__version__ = "0.1.0"
__all__ = [
    "Account",
    "DataWarning",
    "OAuth",
    "PdframeError",
    "Tokens",
    "connect",
    "errors",
    "export_check",
    "fleet",
    "has",
    "metrics",
    "plot",
    "sandbox",
]

# Imported at first use: pandas, pyarrow and httpx take half a second, matplotlib longer.
_LAZY_MODULES = frozenset({"fleet", "metrics", "plot", "sandbox", "schema"})
_LAZY_NAMES = {
    "Account": "pdframe.account",
    "OAuth": "pdframe.api.credentials",
    "Tokens": "pdframe.api.credentials",
    "connect": "pdframe.account",
    "export_check": "pdframe.bi.check",
    "has": "pdframe._lists",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        return importlib.import_module(f"pdframe.{name}")
    if name in _LAZY_NAMES:
        value = getattr(importlib.import_module(_LAZY_NAMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'pdframe' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

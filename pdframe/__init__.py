"""pdframe: Pipedrive in pandas. `connect` opens an account, `sandbox.connect` a synthetic one; the
methods of an account load frames.

>>> import pdframe
>>> account = pdframe.connect("acme")  # token from PIPEDRIVE_API_TOKEN
>>> deals = account.deals()
"""

from __future__ import annotations

import importlib
import sys
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
    raise _unknown(name)


def _unknown(name: str) -> AttributeError:
    """Return the error for a name that does not exist, with what was probably meant."""
    said = f"module 'pdframe' has no attribute {name!r}"
    if name.startswith("_"):
        return AttributeError(said)
    from pdframe._advice import did_you_mean

    # Whoever has an account or has computed something has these: a typo alone imports nothing.
    of_account = getattr(sys.modules.get("pdframe.account"), "Account", object)
    of_metrics = getattr(sys.modules.get("pdframe.metrics"), "__all__", ())
    if hasattr(of_account, name):
        hint = f"It is of an account: account = pdframe.connect(), then account.{name}."
    elif name in of_metrics:
        hint = f"It is pdframe.metrics.{name}."
    else:
        hint = did_you_mean(name, __all__) or (
            "pdframe.connect() and pdframe.sandbox.connect() open an account, whose methods load"
            " tables; pdframe.metrics computes, pdframe.plot draws."
        )
    error = errors.UnknownNameError(f"{said}. {hint}")
    error.name = name
    return error


def __dir__() -> list[str]:
    return sorted(__all__)

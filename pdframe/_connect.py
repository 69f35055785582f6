"""Check the arguments of `connect`, fill them from the environment, and build the account."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from pdframe.api.client import Client, origin_of
from pdframe.api.credentials import ApiToken, Credentials, OAuth
from pdframe.api.limits import TokenBudget
from pdframe.cache.folder import check_usable, default_cache_dir
from pdframe.errors import ArgumentError, CredentialsError
from pdframe.sync import SyncOptions

_Account = TypeVar("_Account")


def connection(
    make: Callable[..., _Account],
    company: str | None = None,
    *,
    api_token: str | None = None,
    oauth: OAuth | None = None,
    base_url: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    max_age: str | float | timedelta | None = "15min",
    metadata_age: str | float | timedelta | None = "1D",
    deletions_age: str | float | timedelta | None = "1D",
    full_every: str | float | timedelta | None = "7d",
    names: bool | None = None,
    max_tokens: int | None = None,
    progress: bool | None = None,
    options: SyncOptions | None = None,
) -> _Account:
    """Call `make` with a client and checked settings; the other arguments are as in `connect`."""
    if api_token is not None and oauth is not None:
        raise ArgumentError("Pass api_token or oauth, not both.")
    token = (
        api_token
        if api_token is not None or oauth is not None
        else os.environ.get("PIPEDRIVE_API_TOKEN") or None
    )
    if token is None and oauth is None:
        raise CredentialsError(
            "No credentials: set PIPEDRIVE_COMPANY and PIPEDRIVE_API_TOKEN (in Pipedrive: Settings"
            " > Personal preferences > API), or pass connect() a company and api_token=... or"
            " oauth=pdframe.OAuth(...). Without an account, pdframe.sandbox.connect() opens a"
            " synthetic company."
        )
    credentials: Credentials = oauth if oauth is not None else ApiToken(token or "")
    age, reload_age = _age(max_age, "max_age"), _age(full_every, "full_every")
    folder = _folder(cache_dir or os.environ.get("PDFRAME_CACHE_DIR") or default_cache_dir())
    origin = _origin(company, base_url, optional=oauth is not None)
    budget = TokenBudget(max_tokens=max_tokens)
    if not (options is None or isinstance(options, SyncOptions)):
        raise ArgumentError(
            f"options must be a pdframe.sync.SyncOptions, or None, not {type(options).__name__}."
        )
    _check_names(names)
    check_usable(folder)
    return make(
        Client(origin, credentials, budget=budget),
        cache_dir=folder,
        max_age=age,
        metadata_age=_age(metadata_age, "metadata_age"),
        deletions_age=_age(deletions_age, "deletions_age"),
        full_every=reload_age,
        names=names,
        progress=progress,
        options=options,
    )


def check_setting(name: str, value: Any) -> None:
    """Raise `ArgumentError` for a value that does not fit a setting of `connect`: cache_dir, names,
    max_tokens or an age.
    """
    if name == "cache_dir":
        _folder(value)
    elif name == "names":
        _check_names(value)
    elif name == "max_tokens":
        TokenBudget(max_tokens=value)
    else:
        _age(value, name)


def _check_names(names: object) -> None:
    if not (names is None or isinstance(names, bool)):
        raise ArgumentError(f"names must be True, False or None, not {names!r}.")


def _folder(given: str | os.PathLike[str]) -> Path:
    """Return the absolute path of the cache folder."""
    try:
        folder = Path(given).expanduser().absolute()
    except (RuntimeError, ValueError, TypeError) as error:
        raise ArgumentError(
            f"cache_dir must be the path of a folder, not {given!r}: {error}."
        ) from error
    if "\0" in str(folder):
        raise ArgumentError(
            f"cache_dir must be the path of a folder, and a path has no NUL character: {given!r}."
        )
    return folder


def _origin(company: str | None, base_url: str | None, *, optional: bool) -> str | None:
    if company is None and base_url is None:
        base_url = os.environ.get("PIPEDRIVE_BASE_URL") or None
        company = None if base_url else os.environ.get("PIPEDRIVE_COMPANY") or None
    # The server names the company of a grant when it renews the token.
    return (
        None if optional and company is None and base_url is None else origin_of(company, base_url)
    )


def _age(given: str | float | timedelta | None, name: str) -> timedelta | None:
    if given is None:
        return None
    problem = (
        f"{name} must be a length of time such as '15min' or '1D', 0 (always) or None (never), not"
        f" {given!r}."
    )
    # A bare number has no unit: pandas would read nanoseconds.
    bare = isinstance(given, int | float)
    if isinstance(given, str) and not re.search(r"[^\W\d_]|:", given):
        try:
            given, bare = float(given), True
        except ValueError:
            raise ArgumentError(problem) from None
    if isinstance(given, bool) or (bare and given != 0):
        raise ArgumentError(problem)
    if isinstance(given, str):
        # People write "7d", and pandas deprecates it in favour of "7D".
        given = re.sub(r"(?<=[\d\s])d\b", "D", given)
    try:
        age = pd.Timedelta(given)
    except (ValueError, TypeError):
        raise ArgumentError(problem) from None
    if pd.isna(age) or age < pd.Timedelta(0):
        raise ArgumentError(problem)
    return age.to_pytimedelta()


def digest_of(origin: str | None, credentials: Credentials) -> str:
    """Return a digest of origin and credentials, under which the cache knows the account."""
    secrets = "\n".join(secret.reveal() for secret in credentials.secrets())
    return hashlib.sha256(f"{origin}\n{secrets}".encode()).hexdigest()[:32]


__all__ = ["check_setting", "connection", "digest_of"]

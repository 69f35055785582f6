"""The accounts of a fleet: their names, how to connect, and the lanes of those of one company."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from pdframe._progress import Bars
from pdframe.account import Account, connect
from pdframe.api.origin import origin_of
from pdframe.errors import ArgumentError, PdframeError

How: TypeAlias = Mapping[str, Any] | Callable[[], Account]
"""The arguments of `pdframe.connect`, or a function that returns an account."""
_NAME = re.compile(r"[^\W\d_][\w.-]{0,59}")
# What engines read as a number, a flag, a day or a missing value in a folder such as `account=nan`.
_NOT_TEXT = frozenset({"nan", "inf", "infinity", "null", "none", "true", "false", "epoch"})


def checked_accounts(accounts: Mapping[str, How]) -> dict[str, How]:
    """Return the accounts of a fleet.

    Raises
    ------
    ArgumentError
        It is no mapping, a name is no text that engines keep as text, or a value is neither
        arguments nor a function. The message shows no value: it may hold a token.
    """
    if not isinstance(accounts, Mapping):
        raise ArgumentError(
            "accounts must be a dict of names and how to connect, such as {'north': {'company':"
            f" 'north', 'api_token': token}}}}, not {type(accounts).__name__}."
        )
    for name, how in accounts.items():
        check_name(name)
        if not (isinstance(how, Mapping) or callable(how)):
            raise ArgumentError(
                f"Account {name!r} must be a dict of arguments of pdframe.connect, or a function"
                f" that returns an account, not {type(how).__name__}."
            )
    return dict(accounts)


def check_name(name: object) -> None:
    """Raise `ArgumentError` for the name of an account that an engine would not read as text."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)) or name.casefold() in _NOT_TEXT:
        raise ArgumentError(
            "The name of an account begins with a letter and has at most 60 letters, digits, '_',"
            f" '-' or '.': folders such as account=north must not look like numbers. {name!r} does"
            " not fit."
        )


def checked_workers(workers: int) -> int:
    """Return the number of workers; `ArgumentError` where it is none."""
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ArgumentError(f"workers must be a number from 1, not {workers!r}.")
    return workers


def opened(how: How) -> Account:
    """Connect to an account. No progress bar of its own shows: several run at once."""
    if isinstance(how, Mapping):
        return connect(**{"progress": False, **how})
    account = how()
    if not isinstance(account, Account):
        raise ArgumentError(
            "The function of an account must return an account, such as pdframe.connect(...), not"
            f" {type(account).__name__}."
        )
    account._bars = Bars(False)
    return account


def same_account(name: str, first: str, folder: Path) -> ArgumentError:
    """Return the error of a name whose token opened the account that another name stands for."""
    return ArgumentError(
        f"{name!r} and {first!r} open the same account, {folder.name}: its rows would count twice."
        f" Give {name!r} its own token, or leave one of the two out."
    )


def lanes(accounts: Mapping[str, How]) -> list[list[str]]:
    """Group the names of accounts by company: those of one lane run one after the other, because
    they share a daily budget. A function has a lane of its own.
    """
    by_company: dict[object, list[str]] = {}
    for name, how in accounts.items():
        by_company.setdefault(_company(name, how), []).append(name)
    return list(by_company.values())


def _company(name: str, how: How) -> object:
    """Return the origin of an account's server; something unique where it is not known yet."""
    if not isinstance(how, Mapping):
        return (name,)
    company, base_url = how.get("company"), how.get("base_url")
    if company is None and base_url is None:
        if how.get("oauth") is not None:
            return (name,)
        base_url = os.environ.get("PIPEDRIVE_BASE_URL") or None
        company = None if base_url else os.environ.get("PIPEDRIVE_COMPANY") or None
    try:
        return origin_of(company, base_url)
    except PdframeError:
        # Its own row says what is wrong.
        return (name,)


__all__ = [
    "How",
    "check_name",
    "checked_accounts",
    "checked_workers",
    "lanes",
    "opened",
    "same_account",
]

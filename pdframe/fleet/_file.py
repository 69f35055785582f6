"""Read the accounts of a fleet from a TOML file, which names variables and never holds a token."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pdframe._advice import did_you_mean
from pdframe._connect import check_setting
from pdframe.account import Account
from pdframe.errors import ArgumentError, CredentialsError
from pdframe.fleet._accounts import How, check_name

_VARIABLES = {"api_token_variable": "api_token", "company_variable": "company"}
_VARIABLES |= {"base_url_variable": "base_url"}
_AGES = ("max_age", "metadata_age", "deletions_age", "full_every")
_SETTINGS = ("cache_dir", *_AGES, "names", "max_tokens")
_FORMS = {
    "company": "text, such as 'acme'",
    "base_url": "text, such as 'http://127.0.0.1:8080'",
    "cache_dir": "the path of a folder",
    **dict.fromkeys(_AGES, "a length of time such as '15min' or '1D', or 0 (always)"),
    "names": "true or false",
    "max_tokens": "a whole number of API tokens per UTC day, such as 30000",
}
"""What a setting must be. A message of the file shows no value, which may be a secret."""
_SECRETS = ("api_token", "token", "oauth", "refresh_token", "client_secret", "password")
_KEYS = ("company", "base_url", *_VARIABLES, *_SETTINGS)
_TOP = ("accounts", "tables", "workers", *_SETTINGS)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Pipedrive's API tokens are 40 hexadecimal digits; access and refresh tokens are longer and mix
# capital and small letters with digits.
_HEXADECIMAL = re.compile(r"(?<![0-9A-Za-z])[0-9a-fA-F]{32,}(?![0-9A-Za-z])")
_LONG_WORD = re.compile(r"(?=[^/\\]*[a-z])(?=[^/\\]*[A-Z])(?=[^/\\]*\d)[A-Za-z0-9+=:._-]{40,}")


@dataclass(frozen=True, slots=True)
class FleetFile:
    """What a file says.

    Attributes
    ----------
    accounts
        By name, how to connect.
    tables
        The tables to sync; none: every list.
    workers
        The most accounts at once.
    """

    accounts: dict[str, How]
    tables: tuple[str, ...]
    workers: int


def read_fleet(path: str | os.PathLike[str], cache_dir: str | None = None) -> FleetFile:
    """Read a file of accounts.

    ::

        tables = ["deals", "stage_visits"]  # optional
        cache_dir = "cache"  # optional; relative to the file

        [accounts.north]
        company = "north"
        api_token_variable = "NORTH_TOKEN"

    Parameters
    ----------
    path
        The file.
    cache_dir
        Cache folder of all accounts instead of the file's.

    Raises
    ------
    ArgumentError
        The file cannot be read, has an unknown key or a value that does not fit, or holds what
        looks like a token. The message names the key and never shows the value.
    """
    file = Path(path).expanduser()
    try:
        content = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ArgumentError(f"{file} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError(f"{file} is no TOML file: {_place(error)}.") from None
    _refuse_tokens(content, file, ())
    _check_keys(content, _TOP, str(file))
    accounts = content.get("accounts")
    if not isinstance(accounts, dict) or not accounts:
        raise ArgumentError(
            f"{file} has no accounts: give each a section such as [accounts.north], with company"
            " and api_token_variable."
        )
    common = {name: content[name] for name in _SETTINGS if name in content}
    _check_settings(common, str(file))
    tables, workers = content.get("tables", []), content.get("workers", 4)
    if not (isinstance(tables, list) and all(isinstance(name, str) for name in tables)):
        raise ArgumentError(f"tables in {file} must be a list of names, such as ['deals'].")
    accounts_by_name: dict[str, How] = {}
    for name, section in accounts.items():
        check_name(name)
        where = f"[accounts.{name}] in {file}"
        if not isinstance(section, dict):
            raise ArgumentError(f"{where} must be a section with company and api_token_variable.")
        _check_keys(section, _KEYS, where)
        _check_settings(section, where)
        accounts_by_name[name] = _how(
            {**common, **section}, where, file.absolute().parent, cache_dir
        )
    return FleetFile(accounts_by_name, tuple(tables), workers)


def _how(section: Mapping[str, Any], where: str, folder: Path, cache_dir: str | None) -> How:
    """Return the arguments of an account; where a variable is not set, what fails with its name."""
    arguments = {name: value for name, value in section.items() if name not in _VARIABLES}
    if cache_dir is not None:
        arguments["cache_dir"] = cache_dir
    elif "cache_dir" in arguments:
        arguments["cache_dir"] = str(folder / Path(str(arguments["cache_dir"])).expanduser())
    missing = []
    if "api_token_variable" not in section:
        raise ArgumentError(
            f"{where} has no api_token_variable: the name of the environment variable that holds"
            " its API token."
        )
    for name, argument in _VARIABLES.items():
        if name not in section:
            continue
        variable = section[name]
        if not (isinstance(variable, str) and _VARIABLE.fullmatch(variable)):
            raise ArgumentError(
                f"{name} of {where} must be the name of an environment variable, such as"
                " 'NORTH_TOKEN'."
            )
        value = os.environ.get(variable)
        if not value:
            missing.append(variable)
        arguments[argument] = value
    return _failing(missing, where) if missing else arguments


def _failing(variables: list[str], where: str) -> Callable[[], Account]:
    def fail() -> NoReturn:
        raise CredentialsError(
            f"The environment variable {', '.join(variables)}, which {where} names, is not set."
        )

    return fail


def _check_keys(section: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in section:
        if key in known:
            continue
        if key in _SECRETS:
            raise ArgumentError(
                f"{where} has {key}: secrets do not belong into a file. Put it into an environment"
                " variable, and name that: api_token_variable = 'NORTH_TOKEN'."
            )
        hint = did_you_mean(str(key), known) or f"Keys: {', '.join(known)}."
        raise ArgumentError(f"{where} has an unknown key {key!r}. {hint}")


def _check_settings(section: Mapping[str, Any], where: str) -> None:
    for name in _FORMS.keys() & section.keys():
        if not _fits(name, section[name]):
            raise ArgumentError(f"{name} of {where} must be {_FORMS[name]}.")


def _fits(name: str, value: object) -> bool:
    if name not in _SETTINGS:
        return isinstance(value, str)
    try:
        check_setting(name, value)
    except ArgumentError:
        return False
    return True


def _refuse_tokens(value: Any, file: Path, place: tuple[str, ...]) -> None:
    """Raise `ArgumentError` where a key or a text looks like a token, without showing it."""
    if isinstance(value, dict):
        for key, part in value.items():
            _refuse_tokens(key, file, (*place, "a key"))
            _refuse_tokens(part, file, (*place, str(key)))
    elif isinstance(value, list):
        for part in value:
            _refuse_tokens(part, file, place)
    elif isinstance(value, str) and (_HEXADECIMAL.search(value) or _LONG_WORD.search(value)):
        raise ArgumentError(
            f"{'.'.join(place)} in {file} looks like a token (it is not shown here). Revoke it if"
            " others may have read the file; put the new one into an environment variable, and"
            " name that: api_token_variable = 'NORTH_TOKEN'."
        )


def _place(error: ValueError) -> str:
    """Return the line and column of a mistake, without the text there."""
    place = re.search(r"\(at [^()]*\)", str(error))
    return place[0].strip("()") if place else type(error).__name__


__all__ = ["FleetFile", "read_fleet"]

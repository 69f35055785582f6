"""Addresses of records' pages in Pipedrive."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Protocol, overload
from urllib.parse import urlsplit

import pandas as pd

from pdframe.api.client import Client
from pdframe.errors import ArgumentError
from pdframe.metrics._columns import NO_ID, plain_ids

# Where the pages of a table's records are.
_PATHS: Mapping[str, str] = MappingProxyType(
    {
        "deals": "deal",
        "persons": "person",
        "organizations": "organization",
        "products": "product",
        "projects": "projects",
    }
)
# Tables whose rows have no page, by the column with the id of the record that has one.
_PAGE_OF = {"activities": "deal_id", "deal_products": "deal_id", "installments": "deal_id"}
_MOST_SHOWN = 80
"""Characters of an address that an error shows."""
_COMPANY = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.IGNORECASE | re.ASCII)


class WithPages(Protocol):
    """What `url` needs of an account."""

    @property
    def _client(self) -> Client: ...

    @property
    def _me(self) -> Mapping[str, Any]: ...


@overload
def url(self: WithPages, table: str, ids: int) -> str: ...


@overload
def url(self: WithPages, table: str, ids: Iterable[Any]) -> pd.Series[Any]: ...


def url(self: WithPages, table: str, ids: int | Iterable[Any]) -> str | pd.Series[Any]:
    """Return the address of a record's page in Pipedrive, or one for each of several records.

    Parameters
    ----------
    table
        deals, persons, organizations, products or projects; or one of them in the singular.
    ids
        An id, or a list or column of ids.

    Returns
    -------
    str or Series
        The address; for a column of ids a column `url` with its index, null where the id is null.
        No request is sent once the account is known, and none asks whether the record exists.

    Raises
    ------
    ArgumentError
        The records of this table have no page, or an id is no id.

    Examples
    --------
    >>> account.url("deals", 2)
    'https://sandbox-seed7-200.pipedrive.com/deal/2'
    >>> account.url("persons", account.deals()["person_id"].head(2)).to_list()
    ['https://sandbox-seed7-200.pipedrive.com/person/1', ...]
    """
    base = f"{_home(self)}/{_PATHS[_table(table)]}/"
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        number = _numbers(pd.Series([ids], dtype=object))[0]
        if number == NO_ID:
            raise ArgumentError(f"ids must be an id or a column of ids, not {ids!r}.")
        return f"{base}{number}"
    column = ids if isinstance(ids, pd.Series) else pd.Series(list(ids), dtype=object)
    numbers = _numbers(column)
    texts = [None if number == NO_ID else f"{base}{number}" for number in numbers.tolist()]
    return pd.Series(texts, column.index, dtype="str", name="url")


def id_of_page(account: WithPages, table: str, address: str) -> int | None:
    """Return the id of the record of a table whose page has this address; None where it is the
    address of no such page.

    Raises
    ------
    ArgumentError
        It is a page of another company.
    """
    text, home = address.strip(), urlsplit(_home(account))
    try:
        page = urlsplit(text if "://" in text else f"https://{text}")
        host = page.hostname
    except ValueError:
        return None
    number = re.fullmatch(rf"/{_PATHS[table]}/([1-9][0-9]{{0,17}})(?:/.*)?", page.path)
    if number is None or page.scheme not in ("http", "https") or host is None:
        return None
    if host != home.hostname:
        raise ArgumentError(
            f"{without_credentials(text)[:_MOST_SHOWN]!r} is a page of {host[:_MOST_SHOWN]!r}, and"
            f" this account is that of {home.hostname!r}."
        )
    return int(number[1])


def record_of_page(address: str) -> tuple[str, int] | None:
    """Return the table and the id of the record whose page this is, of whatever company; None where
    it is the page of no record.
    """
    try:
        path = urlsplit(address if "://" in address else f"https://{address}").path
    except ValueError:
        return None
    for table, name in _PATHS.items():
        if number := re.fullmatch(rf"/{name}/([1-9][0-9]{{0,17}})(?:/.*)?", path):
            return table, int(number[1])
    return None


def without_credentials(address: str) -> str:
    """Return an address without its query, fragment and user, which may hold a credential; any
    other text as it is.
    """
    if "://" not in address and "api_token" not in address.casefold():
        return address
    return re.sub(r"(?s)[?#].*", "", re.sub(r"(?<=://)[^/?#]*@", "", address))


def _home(account: WithPages) -> str:
    """Return the origin of the company's pages."""
    domain = account._me.get("company_domain")
    # A text of the server becomes a link: only a host name may.
    if isinstance(domain, str) and _COMPANY.fullmatch(domain):
        return f"https://{domain.lower()}.pipedrive.com"
    return (account._client.origin or "").rstrip("/")


def _table(name: object) -> str:
    singular = {table.removesuffix("s"): table for table in _PATHS}
    if isinstance(name, str) and (name in _PATHS or name in singular):
        return singular.get(name, name)
    if isinstance(name, str) and name in _PAGE_OF:
        raise ArgumentError(
            f"Rows of {name!r} have no page of their own. Those of their deals:"
            f" account.url('deals', frame[{_PAGE_OF[name]!r}])."
        )
    close = get_close_matches(name, [*_PATHS], n=1) if isinstance(name, str) else []
    meant = f" Did you mean {close[0]!r}?" if close else ""
    raise ArgumentError(f"table must be one of {', '.join(_PATHS)}, not {name!r}.{meant}")


def _numbers(ids: pd.Series[Any]) -> Any:
    try:
        if any(isinstance(value, bool) for value in ids):
            raise ArgumentError("")
        return plain_ids(ids.rename("ids"))
    except ArgumentError:
        some = [value for value in ids if not isinstance(value, int) or isinstance(value, bool)]
        raise ArgumentError(
            f"ids must be an id or a column of ids, such as 17 or frame['id'], not {some[:1]!r}."
        ) from None


__all__ = ["id_of_page", "url", "without_credentials"]

"""The server's origin, from a company's name or a base URL, checked."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pdframe.errors import ArgumentError, ResponseError

__all__ = ["checked_origin", "granted_origin", "is_loopback", "origin_of"]

PIPEDRIVE = "pipedrive.com"
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")

_COMPANY = re.compile(
    r"(?:https://)?([a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\.pipedrive\.com/?)?", re.IGNORECASE
)
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_TOKEN = re.compile(r"[0-9a-f]{40}", re.IGNORECASE)


def is_loopback(host: str | None) -> bool:
    """Tell whether a host is this machine, where plain http is fine."""
    return host in LOOPBACK_HOSTS


def origin_of(company: str | None = None, base_url: str | None = None) -> str:
    """Return the server's origin, such as "https://acme.pipedrive.com".

    Parameters
    ----------
    company
        "acme", "acme.pipedrive.com" or "https://acme.pipedrive.com/".
    base_url
        An origin instead of a company: https, or http on this machine.

    Raises
    ------
    ArgumentError
        Neither or both are given, or one is something else. The message does not show the value:
        it may hold a token.
    """
    if base_url is not None and company is not None:
        raise ArgumentError("Give a company or a base_url, not both.")
    if base_url is not None:
        return checked_origin(base_url)
    if company is None:
        raise ArgumentError(
            'Which company? Give its name, such as "acme" for https://acme.pipedrive.com, or set'
            " PIPEDRIVE_COMPANY."
        )
    match = _COMPANY.fullmatch(company) if isinstance(company, str) else None
    if match is None or (company.lower().startswith("https://") and "." not in company):
        raise ArgumentError(
            'The company is its name alone, such as "acme" for https://acme.pipedrive.com; use'
            " base_url= for any other server."
        )
    if _TOKEN.fullmatch(match[1]):
        raise ArgumentError(
            'The company looks like an API token. Give the company\'s name first, such as "acme",'
            " and the token as api_token=."
        )
    return f"https://{match[1].lower()}.pipedrive.com"


def granted_origin(api_domain: str) -> str:
    """Return the `api_domain` of an OAuth answer as an origin; the access token is sent there.

    Raises
    ------
    ResponseError
        It is not https, or no host of Pipedrive's.
    """
    try:
        origin = checked_origin(api_domain)
    except ArgumentError:
        origin = ""
    if origin.startswith("https://") and (urlsplit(origin).hostname or "").endswith(
        f".{PIPEDRIVE}"
    ):
        return origin
    raise ResponseError(
        f"The OAuth token endpoint names an API domain that is not https://*.{PIPEDRIVE}. The"
        " access token was not sent there. Where that server is right, for instance in a test,"
        " connect with base_url=; else let the user authorize the app again."
    )


def checked_origin(base_url: str) -> str:
    """Return a base URL as an origin, without a trailing slash or a default port.

    Raises
    ------
    ArgumentError
        It has a path, a query or a user, is not https (http on this machine), or is no URL.
    """
    form = 'such as "https://acme.pipedrive.com" or "http://127.0.0.1:8080"'
    try:
        parts = urlsplit(base_url)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except (ValueError, AttributeError, TypeError):
        scheme, host, port = "", None, None
    if (
        scheme not in ("http", "https")
        or host is None
        or not (host == "::1" or _HOST.fullmatch(host))
    ):
        raise ArgumentError(f"The base URL is an origin, {form}.")
    default = 443 if scheme == "https" else 80
    shown_host = f"[{host}]" if ":" in host else host
    origin = f"{scheme}://{shown_host}{'' if port in (None, default) else f':{port}'}"
    if parts.username is not None or parts.password is not None:
        raise ArgumentError(
            f'The base URL holds a user or password: give the origin alone, "{origin}", and the'
            " token as api_token=."
        )
    if (
        parts.path not in ("", "/")
        or parts.query
        or parts.fragment
        or any(mark in base_url for mark in "?#\\ \t\r\n")
    ):
        raise ArgumentError(
            f'The base URL has more than an origin: give "{origin}" alone. The path to the API is'
            " added to it."
        )
    if scheme == "http" and not is_loopback(host):
        raise ArgumentError(
            f'Plain http would show the token to the network: give "https://{host}". Only this'
            " machine takes http."
        )
    return origin

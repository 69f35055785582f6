"""Who is asking: the API token, OAuth access tokens, and the token endpoint."""

import base64
import binascii
import hmac
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from pdframe.sandbox.server.answers import Answer, Refusal, encode

_SCOPES = (
    "base admin activities:read activities:full contacts:read contacts:full contact-fields:full"
    " deals:read deals:full deal-fields:full leads:read leads:full products:read products:full"
    " product-fields:full projects:read projects:full project-fields:full recents:read search:read"
    " users:read"
)
ALL_SCOPES = frozenset(_SCOPES.split())
# The query parameter that some clients send their token in.
API_TOKEN = "api_token"


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """An installed app: its secrets, and the scopes that the user granted it."""

    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    scopes: frozenset[str] = ALL_SCOPES


@dataclass(frozen=True, slots=True)
class Caller:
    """A request's valid credential; ``scopes`` is None for the API token, which may do
    everything.
    """

    token: str = field(repr=False)
    scopes: frozenset[str] | None

    @property
    def oauth(self) -> bool:
        """Whether the credential is an OAuth access token."""
        return self.scopes is not None


class Auth:
    """Checks credentials and hands out access tokens. Safe to call from any thread.

    ``access_seconds`` of real time is the life of an access token; with ``rotate`` each refresh
    gives a new refresh token and ends the old.
    """

    def __init__(
        self, token: str, clients: Sequence[OAuthClient], *, access_seconds: float, rotate: bool
    ) -> None:
        self.access_seconds = access_seconds
        self._token = token
        self._rotate = rotate
        self._lock = threading.Lock()
        self._clients = {client.client_id: client for client in clients}
        self._refresh = {client.refresh_token: client for client in clients}
        self._access: dict[str, tuple[OAuthClient, float]] = {}

    def caller(
        self,
        headers: Mapping[str, str],
        query: Mapping[str, Sequence[str]],
        *,
        query_token: bool = False,
    ) -> Caller:
        """Find out who is asking.

        Refuses wrong and stale tokens, and a token in the query, where logs would keep it, unless
        `query_token` accepts the API token there: once, and equal to that in the header if both are
        sent.
        """
        refusal = Refusal(401, "unauthorized access", "You do not have permissions to do this.")
        given = query.get(API_TOKEN)
        if "access_token" in query or (given is not None and not query_token):
            raise refusal
        token = headers.get("x-api-token")
        if given is not None:
            if len(given) != 1 or token not in (None, given[0]):
                raise refusal
            token = given[0]
        if token is not None:
            if not hmac.compare_digest(token.encode("utf-8", "replace"), self._token.encode()):
                raise refusal
            return Caller(token, None)
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        with self._lock:
            client, expires = self._access.get(bearer.strip(), (None, 0.0))
        if kind.lower() != "bearer" or client is None or time.monotonic() >= expires:
            raise refusal
        return Caller(bearer.strip(), client.scopes)

    def expire_access(self) -> None:
        """End the life of every access token given out so far."""
        with self._lock:
            self._access.clear()

    def revoke(self) -> None:
        """End every refresh and access token: the app was uninstalled."""
        with self._lock:
            self._access.clear()
            self._refresh.clear()

    def grant(self, headers: Mapping[str, str], body: bytes, api_domain: str) -> Answer:
        """Answer ``POST /oauth/token``."""
        client = self._client(headers.get("authorization", ""))
        if client is None:
            return _oauth_error(401, "invalid_client", "The client id or secret is wrong.")
        form = (
            parse_qs(body.decode("utf-8", "replace"), max_num_fields=20)
            if body.count(b"&") < 20
            else {}
        )
        if form.get("grant_type") != ["refresh_token"]:
            return _oauth_error(400, "unsupported_grant_type", "Only refresh_token is served.")
        refresh = form.get("refresh_token", [""])[0]
        with self._lock:
            if self._refresh.get(refresh) is not client:
                return _oauth_error(
                    400, "invalid_grant", "The refresh token is wrong, used up or expired."
                )
            if self._rotate:
                del self._refresh[refresh]
                refresh = secrets.token_hex(20)
                self._refresh[refresh] = client
            access = secrets.token_hex(20)
            self._access[access] = (client, time.monotonic() + self.access_seconds)
        payload = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": int(self.access_seconds),
            "refresh_token": refresh,
            "scope": " ".join(sorted(client.scopes)),
            "api_domain": api_domain,
        }
        return Answer(200, encode(payload), headers=(("cache-control", "no-store"),))

    def _client(self, authorization: str) -> OAuthClient | None:
        kind, _, encoded = authorization.partition(" ")
        try:
            name, _, secret = (
                base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
            )
        except (ValueError, binascii.Error):
            return None
        client = self._clients.get(name)
        if (
            kind.lower() != "basic"
            or client is None
            or not hmac.compare_digest(secret.encode(), client.client_secret.encode())
        ):
            return None
        return client


def _oauth_error(status: int, error: str, description: str) -> Answer:
    return Answer(
        status, encode({"success": False, "error": error, "error_description": description})
    )

"""The two kinds of credentials, API token and OAuth; neither ever shows its secret."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

from pdframe._forks import renew_after_fork
from pdframe.api.origin import is_loopback
from pdframe.errors import CredentialsError

__all__ = ["ApiToken", "Credentials", "OAuth", "Post", "Secret", "Tokens"]

TOKEN_URL = "https://oauth.pipedrive.com/oauth/token"

# An access token is renewed this long before it expires, or after nine tenths of a shorter life.
MARGIN_SECONDS = 120.0
MAX_LIFETIME_SECONDS = 10**9


class Secret:
    """A text that only a call reveals: no repr, dump, copy or pickle shows it."""

    __slots__ = ("reveal",)

    def __init__(self, value: str) -> None:
        self.reveal: Callable[[], str] = lambda: value

    def __repr__(self) -> str:
        return "<secret>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret is never pickled or copied")


class Post(Protocol):
    """Posts a form with HTTP Basic; the client does it, since it alone speaks HTTP."""

    def __call__(self, url: str, form: dict[str, Secret], basic: Secret) -> tuple[int, Any]:
        """Return the status and the decoded JSON (None where it is not JSON)."""


class Credentials(Protocol):
    """What the client needs of credentials."""

    @property
    def advice(self) -> str:
        """What to check where the server refuses them."""

    @property
    def api_domain(self) -> str | None:
        """The origin that came with the credentials, None where they name none."""

    def prepare(self, post: Post, now: float) -> tuple[int, str, Secret]:
        """Renew the token where that is due; return its generation, and the header that carries
        the credentials.
        """

    def renew(self, post: Post, now: float, refused: int) -> bool:
        """Replace the token of generation `refused` after a 401; False where there is nothing to
        replace it with.
        """

    def secrets(self) -> tuple[Secret, ...]:
        """Return all texts that must never appear in a message."""


class _Sealed:
    """Refuses pickling, and copies as itself: a notebook's `%store` or a cached object must not
    write a secret to disk.
    """

    __slots__ = ()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} is never pickled: it holds a secret. Keep the secret in an"
            " environment variable instead."
        )

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: object) -> Any:
        return self


class ApiToken(_Sealed):
    """A personal API token.

    Parameters
    ----------
    token
        As shown under Settings > Personal preferences > API; or PIPEDRIVE_API_TOKEN.

    Raises
    ------
    CredentialsError
        The token is empty, or has white space, control or other characters that no header can
        carry.
    """

    __slots__ = ("_token",)
    advice = (
        "Check api_token or PIPEDRIVE_API_TOKEN, and that it belongs to this company"
        " (PIPEDRIVE_COMPANY or PIPEDRIVE_BASE_URL)."
    )
    api_domain = None  # a token does not name its company

    def __init__(self, token: str) -> None:
        self._token = _checked(
            token,
            "The API token",
            "Copy it again from Pipedrive: Settings > Personal preferences > API.",
        )

    def __repr__(self) -> str:
        return "ApiToken(<secret>)"

    def prepare(self, post: Post, now: float) -> tuple[int, str, Secret]:
        """Return generation 0, since a token has none, and the header that carries the token."""
        return 0, "x-api-token", self._token

    def renew(self, post: Post, now: float, refused: int) -> bool:
        """Return False: nothing can replace a token."""
        return False

    def secrets(self) -> tuple[Secret, ...]:
        """Return the token."""
        return (self._token,)


class Tokens(_Sealed):
    """The tokens of a renewal, for `on_refresh`.

    Attributes
    ----------
    refresh_token : str
        The refresh token to use from now on: keep this one, the old one may have ended.
    access_token : str
        The access token.
    expires_at : datetime
        When the access token expires (UTC).
    api_domain : str or None
        The company's origin, where the server names it.
    """

    __slots__ = ("_access", "_api_domain", "_expires_at", "_refresh")

    def __init__(
        self, refresh_token: str, access_token: str, expires_at: datetime, api_domain: str | None
    ) -> None:
        self._refresh, self._access = Secret(refresh_token), Secret(access_token)
        self._expires_at, self._api_domain = expires_at, api_domain

    def __repr__(self) -> str:
        return (
            f"Tokens(<secret>, expires_at={self._expires_at.isoformat()},"
            f" api_domain={self._api_domain!r})"
        )

    @property
    def refresh_token(self) -> str:
        """The refresh token to keep."""
        return self._refresh.reveal()

    @property
    def access_token(self) -> str:
        """The access token."""
        return self._access.reveal()

    @property
    def expires_at(self) -> datetime:
        """When the access token expires (UTC)."""
        return self._expires_at

    @property
    def api_domain(self) -> str | None:
        """The company's origin, None where the server does not name it."""
        return self._api_domain


class OAuth(_Sealed):
    """An OAuth grant, whose access token is renewed before it expires and once after a 401.

    A forked process renews on its own. Where a renewal ends the refresh token that it used, give
    each process its own grant, or load in one process alone.

    Parameters
    ----------
    client_id, client_secret
        Of the app, from Pipedrive's Developer Hub.
    refresh_token
        Of the grant; it lives 60 days from its last use.
    on_refresh
        Called after each renewal with a `Tokens` (`refresh_token`, `access_token`, `expires_at`,
        `api_domain`): keep its `refresh_token`. Its exceptions reach the caller; the renewed
        token stays in use.
    token_url
        Where tokens are renewed; https, or http on this machine.

    Raises
    ------
    CredentialsError
        A part is empty or malformed.
    """

    __slots__ = (
        "__weakref__",
        "_access",
        "_api_domain",
        "_client_id",
        "_client_secret",
        "_generation",
        "_lock",
        "_on_refresh",
        "_refresh",
        "_renew_at",
        "_token_url",
    )

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        refresh_token: str,
        on_refresh: Callable[[Tokens], object] | None = None,
        *,
        token_url: str = TOKEN_URL,
    ) -> None:
        remedy = "Copy it again from Pipedrive's Developer Hub."
        self._client_id = _checked(client_id, "The OAuth client id", remedy)
        self._client_secret = _checked(client_secret, "The OAuth client secret", remedy)
        self._refresh = _checked(
            refresh_token, "The OAuth refresh token", "Let the user authorize the app again."
        )
        if on_refresh is not None and not callable(on_refresh):
            raise CredentialsError(
                "on_refresh is called with the renewed tokens: give a function of one argument, or"
                " None."
            )
        try:
            parts = urlsplit(token_url)
            safe = parts.scheme == "https" or (
                parts.scheme == "http" and is_loopback(parts.hostname)
            )
        except ValueError:
            safe = False
        if not safe or not parts.hostname or parts.username is not None:
            raise CredentialsError(
                f"token_url must be https (http on this machine alone), such as {TOKEN_URL!r}."
            )
        self._token_url = token_url
        self._on_refresh = on_refresh
        self._lock = threading.RLock()
        self._access: Secret | None = None
        self._renew_at = 0.0
        self._generation = 0
        self._api_domain: str | None = None
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Make a new lock: a thread of the parent may have the old one."""
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"OAuth(<secret>, token_url={self._token_url!r})"

    @property
    def advice(self) -> str:
        """What to check where the server refuses the grant."""
        return (
            "Check that the app is still installed, and that it is this company that authorized it;"
            " else let the user authorize it again."
        )

    @property
    def api_domain(self) -> str | None:
        """The company's origin, from the last renewal."""
        return self._api_domain

    def prepare(self, post: Post, now: float) -> tuple[int, str, Secret]:
        """Renew the access token where it is missing or about to expire; return its generation,
        and the header that carries it.
        """
        with self._lock:
            renewed = (
                self._renew(post, now) if self._access is None or now >= self._renew_at else None
            )
            generation, access = self._generation, self._access
        self._call_on_refresh(renewed)
        assert access is not None  # it is there, or the renewal raised
        return generation, "authorization", Secret(f"Bearer {access.reveal()}")

    def renew(self, post: Post, now: float, refused: int) -> bool:
        """Renew the access token after a 401, unless another thread has done so since."""
        with self._lock:
            renewed = self._renew(post, now) if self._generation == refused else None
        self._call_on_refresh(renewed)
        return True

    def secrets(self) -> tuple[Secret, ...]:
        """Return the client secret, both tokens and the Basic header."""
        access = () if self._access is None else (self._access,)
        return (self._client_secret, self._refresh, self._basic(), *access)

    def _basic(self) -> Secret:
        pair = f"{self._client_id.reveal()}:{self._client_secret.reveal()}"
        return Secret(base64.b64encode(pair.encode()).decode("ascii"))

    def _renew(self, post: Post, now: float) -> Tokens:
        status, answer = post(
            self._token_url,
            {"grant_type": Secret("refresh_token"), "refresh_token": self._refresh},
            self._basic(),
        )
        fields = answer if isinstance(answer, dict) else {}
        if status in (400, 401, 403):
            reason = fields.get("error")
            if reason == "invalid_client" or (status == 401 and reason != "invalid_grant"):
                raise CredentialsError(
                    "The OAuth token endpoint does not accept the app's client id and secret (HTTP"
                    f" {status}). Check them in Pipedrive's Developer Hub."
                )
            if reason == "invalid_grant":
                raise CredentialsError(
                    "The OAuth refresh token is no longer accepted (invalid_grant): it was unused"
                    " for 60 days, replaced, or the app was uninstalled. Let the user authorize the"
                    " app again and give the new refresh token."
                )
        access, lifetime = fields.get("access_token"), fields.get("expires_in")
        refresh = fields.get("refresh_token") or self._refresh.reveal()
        if isinstance(lifetime, int | float):
            # No clock takes a number beyond all reason.
            lifetime = min(lifetime, MAX_LIFETIME_SECONDS)
        if (
            status != 200
            or not isinstance(lifetime, int | float)
            or isinstance(lifetime, bool)
            or not lifetime > 0
        ):
            raise CredentialsError(
                f"The OAuth token endpoint answered HTTP {status} without an access token and its"
                " lifetime. Try again; if that does not help, let the user authorize the app again."
            )
        remedy = "Try again; if that does not help, let the user authorize the app again."
        self._access = _checked(access, "The access token from the OAuth token endpoint", remedy)
        self._refresh = _checked(refresh, "The refresh token from the OAuth token endpoint", remedy)
        self._renew_at = now + lifetime - min(MARGIN_SECONDS, lifetime / 10)
        self._generation += 1
        domain = fields.get("api_domain")
        self._api_domain = domain if isinstance(domain, str) and domain else None
        expires_at = datetime.fromtimestamp(now + lifetime, UTC)
        return Tokens(self._refresh.reveal(), self._access.reveal(), expires_at, self._api_domain)

    def _call_on_refresh(self, renewed: Tokens | None) -> None:
        if renewed is not None and self._on_refresh is not None:
            self._on_refresh(renewed)


def _checked(value: object, what: str, remedy: str) -> Secret:
    """Return the value as a secret, or refuse it without showing it."""
    if not isinstance(value, str):
        problem = "is not text"
    elif not value:
        problem = "is empty"
    elif all("!" <= character <= "~" for character in value):
        return Secret(value)
    else:
        problem = "has white space, control or non-ASCII characters (it is not shown here)"
    del value  # tracebacks may show the variables of this frame
    raise CredentialsError(f"{what} {problem}. {remedy}")

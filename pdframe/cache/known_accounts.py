"""Remember which credentials opened which account, so that a session asks `/users/me` only once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdframe._files import locked_file, refuse_broken_link, refuse_newer, seal, unseal, write_atomic
from pdframe.errors import CacheError

__all__ = ["Accounts"]

ACCOUNTS = "accounts.json"
LOCK = ".accounts.lock"
FORMAT = 1
MAX_KEYS_PER_ACCOUNT = 8  # each session of a sandbox brings its own


class Accounts:
    """The accounts that credentials opened before.

    They are kept beside the account folders, under a digest of origin and credential. The
    credential itself is never written.

    Raises
    ------
    NewerCacheError
        From both methods: a newer version of pdframe wrote the file.
    CacheError
        From both methods: the file cannot be read, or is a link whose target is missing. A damaged
        file is ignored.
    """

    def __init__(self, cache_dir: Path) -> None:
        self.path = cache_dir / ACCOUNTS

    def get(self, digest: str) -> dict[str, Any] | None:
        """Return what is known of the account, None where nothing is."""
        known = self._read().get(digest)
        return known if isinstance(known, dict) and isinstance(known.get("key"), str) else None

    def of_folder(self, key: str) -> dict[str, Any]:
        """Return what is known of the account whose folder has this name; nothing where it is
        unknown.
        """
        for known in self._read().values():
            if isinstance(known, dict) and known.get("key") == key:
                return known
        return {}

    def put(self, digest: str, account: Mapping[str, Any]) -> None:
        """Keep the answer of `/users/me`; forget the oldest keys of the same account."""
        try:
            # Two sessions that open accounts at once must not forget each other's.
            with locked_file(self.path.with_name(LOCK)):
                write_atomic(self.path, seal(self._with(digest, account)))
        except OSError as error:
            raise CacheError(f"{self.path} could not be written: {error.strerror}.") from error

    def _with(self, digest: str, account: Mapping[str, Any]) -> dict[str, Any]:
        accounts = self._read()
        accounts.pop(digest, None)
        same = [
            other
            for other, known in accounts.items()
            if isinstance(known, dict) and known.get("key") == account.get("key")
        ]
        for oldest in same[: max(0, len(same) - MAX_KEYS_PER_ACCOUNT + 1)]:
            del accounts[oldest]
        accounts[digest] = dict(account)
        return accounts

    def _read(self) -> dict[str, Any]:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            refuse_broken_link(self.path, self.path.parent)
            return {}
        except OSError as error:
            refuse_broken_link(self.path, self.path.parent)
            raise CacheError(
                f"{self.path}, which says which cache belongs to which account, cannot be read:"
                f" {error.strerror}. Make it readable, or delete it: the account is requested"
                " again."
            ) from error
        refuse_newer(self.path, raw, FORMAT)
        try:
            return unseal(raw)
        except ValueError:
            return {}

"""Which credentials opened which account before, beside the folders of the accounts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdframe._files import refuse_broken_link, refuse_newer, seal, unseal, write_atomic
from pdframe.errors import CacheError

ACCOUNTS = "accounts.json"
FORMAT = 1
# So many credentials of one account are remembered: each session of a sandbox brings its own.
REMEMBERED_KEYS = 8


class Accounts:
    """Which account a set of credentials opened before, so that asking `/users/me` once is enough.

    Kept beside the account folders under a digest of origin and credential; the credential itself
    is never written.

    Raises
    ------
    NewerCacheError
        From both methods: a newer version of pdframe wrote the file.
    CacheError
        From both methods: the file cannot be read, or is a link that leads nowhere. A damaged file
        is forgotten.
    """

    def __init__(self, cache_dir: Path) -> None:
        self.path = cache_dir / ACCOUNTS

    def get(self, digest: str) -> dict[str, Any] | None:
        """What is known of the account; None where nothing is."""
        known = self._all().get(digest)
        return known if isinstance(known, dict) and isinstance(known.get("key"), str) else None

    def put(self, digest: str, account: Mapping[str, Any]) -> None:
        """Keep what `/users/me` said."""
        everything = self._all()
        everything.pop(digest, None)
        same = [
            other
            for other, known in everything.items()
            if isinstance(known, dict) and known.get("key") == account.get("key")
        ]
        for oldest in same[: max(0, len(same) - REMEMBERED_KEYS + 1)]:
            del everything[oldest]
        everything[digest] = dict(account)
        try:
            write_atomic(self.path, seal(everything))
        except OSError as error:
            raise CacheError(f"{self.path} could not be written: {error.strerror}.") from error

    def _all(self) -> dict[str, Any]:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            refuse_broken_link(self.path, self.path.parent)
            return {}
        except OSError as error:
            refuse_broken_link(self.path, self.path.parent)
            raise CacheError(
                f"{self.path}, which tells whose cache is whose, cannot be read: {error.strerror}. Let it be read, or delete it: the "
                "account is asked for again."
            ) from error
        refuse_newer(self.path, raw, FORMAT)
        try:
            return unseal(raw)
        except ValueError:
            return {}

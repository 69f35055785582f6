"""Say how to read the cache where the API does not answer."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

from pdframe.cache.store import Store
from pdframe.errors import (
    BlockedError,
    BudgetError,
    CacheError,
    RateLimitError,
    TransportError,
)

__all__ = ["reading_cache_instead"]

# What an inner call said already.
_SAID = re.compile(r" ?account\.\w+\([^()]*refresh=False\) reads [^.]*\.")


@contextlib.contextmanager
def reading_cache_instead(store: Store, tables: Iterable[str], call: str) -> Iterator[None]:
    """Add to an error of the API the call that reads these tables from the cache, where all are
    cached.

    Parameters
    ----------
    store
        The cache.
    tables
        Names of the tables that the call reads.
    call
        The call, such as "account.deals(refresh=False)".
    """
    try:
        yield
    except (BlockedError, BudgetError, RateLimitError, TransportError) as error:
        with contextlib.suppress(CacheError):
            if all(store.manifest(name) is not None for name in tables):
                kept = _SAID.sub("", error.kept)
                error.kept = f"{kept} {call} reads the cached table.".lstrip()
        raise

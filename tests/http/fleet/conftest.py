"""Companies of a fleet, each behind a server of its own, and how to connect to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from pdframe import sandbox


class Companies:
    """Opens small companies, and closes them at the end.

    Attributes
    ----------
    cache
        The cache folder of all accounts.
    """

    def __init__(self, stack: ExitStack, cache: Path) -> None:
        self._stack = stack
        self.cache = cache
        self.opened: dict[str, sandbox.SandboxAccount] = {}

    def open(self, name: str, seed: int, deals: int = 12, **options: Any) -> dict[str, Any]:
        """Open a company, and return the arguments that connect to it."""
        options = {"burst": 100_000, "progress": False} | options
        account = sandbox.connect(seed=seed, deals=deals, **options)
        self.opened[name] = self._stack.enter_context(account)
        return self.arguments(name)

    def arguments(self, name: str) -> dict[str, Any]:
        server = self.opened[name].server
        return {"base_url": server.url, "api_token": server.token, "cache_dir": self.cache}


@pytest.fixture
def companies(tmp_path: Path) -> Iterator[Companies]:
    with ExitStack() as stack:
        yield Companies(stack, tmp_path / "cache")

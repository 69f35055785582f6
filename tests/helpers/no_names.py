"""Accounts that add no names of ids, for tests of what one table costs, or of its rows alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import pdframe
from pdframe._connect import connection


@pytest.fixture(scope="module", autouse=True)
def no_names_by_default() -> Iterator[None]:
    """Open every account as with `names=False`, unless a test says otherwise."""
    connect = pdframe.connect.__wrapped__  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        for function in (connect, connection):
            patch.setitem(function.__kwdefaults__, "names", False)
        yield

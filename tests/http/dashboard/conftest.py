"""The company that the tests of the dashboard and of the report share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pdframe import sandbox
from tests.helpers.attacks import ATTACK


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sandbox.SandboxAccount]:
    """A company of 250 deals, some of which have titles that attack a page."""
    with sandbox.connect(
        seed=4,
        deals=250,
        company="hostile",
        cache_dir=tmp_path_factory.mktemp("cache"),
        burst=100_000,
        progress=False,
    ) as account:
        for number in account.deals(columns=["id"])["id"].astype(int):
            if number % 3 == 0:
                account.company_model.edit_deal(number, title=ATTACK)
        account.deals(refresh=True, columns=["id"])
        yield account

"""Companies that several tests read; no test writes to the shared ones."""

from __future__ import annotations

import pytest

from pdframe.sandbox.company import Company


@pytest.fixture(scope="session")
def past() -> Company:
    return Company(seed=7, deals=2_000)


@pytest.fixture(scope="session")
def grown() -> Company:
    company = Company(seed=4, deals=400)
    company.advance(60)
    return company


@pytest.fixture
def small() -> Company:
    return Company(seed=3, deals=40)

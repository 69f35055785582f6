"""Hostile accounts in full: each nasty value in each column, and rows of several nasty cells drawn
from seeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import hostile_checks
from tests.helpers.hostile_checks import ZONES, Loaded

SEEDS = range(24)

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    with hostile_checks.loaded(tmp_path_factory.mktemp("clean"), nasty=False) as result:
        yield result


@pytest.mark.parametrize("seed", [None, *SEEDS])
def test_clean_rows_keep_their_values(clean: Loaded, seed: int | None, tmp_path: Path) -> None:
    with hostile_checks.loaded(tmp_path, nasty=True, seed=seed) as hurt:
        hostile_checks.compare_tables(clean, hurt)
        for tz in (
            (*ZONES, "Pacific/Auckland", "Asia/Kathmandu")
            if seed is None
            else (ZONES[seed % len(ZONES)],)
        ):
            results = hostile_checks.compare_metrics(clean, hurt, tz)
        hostile_checks.draw_charts(results)
        assert (hurt.account.export(tmp_path / "files", refresh=False)["rows"] > 0).all()

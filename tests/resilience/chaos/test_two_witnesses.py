"""Two thousand lives of deals, told by looks and by changelogs: one story."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import two_witnesses

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


def test_changelog_and_snapshots_equal_plain_python_on_two_thousand_lives(tmp_path: Path) -> None:
    for world in two_witnesses.worlds(1_000, tmp_path, 2_000):
        two_witnesses.check(world)
        two_witnesses.check_disagreement(world)
        two_witnesses.check_history(world)

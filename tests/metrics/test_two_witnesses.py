"""Looks and changelog tell one story of a deal: the same last state and the same counts, whatever became of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import two_witnesses

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


@pytest.mark.parametrize("seed", range(5))
def test_both_witnesses_tell_what_plain_python_makes_of_forty_lives(seed: int, tmp_path: Path) -> None:
    for world in two_witnesses.worlds(seed, tmp_path, 40):
        two_witnesses.check(world)

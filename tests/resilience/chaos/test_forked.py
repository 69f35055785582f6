"""Forked children at full length: 4 children, 50 requests each, while the parent syncs, 20
rounds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import forked


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_no_answer_of_another_request_and_no_row_lost_in_twenty_rounds(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", forked.__file__, "rounds", "20", "50", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=True)
    reported = json.loads(done.stdout)
    assert (reported["wrong"], reported["failed"], reported["lost"]) == (0, [], [])
    assert reported["tokens"] == reported["served"] > 0

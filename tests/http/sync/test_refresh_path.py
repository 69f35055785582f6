"""A refresh of deals runs few files and functions: these must be read to understand it."""

from __future__ import annotations

import pytest

from tests.bench.refresh_path import MOST_FILES, MOST_FUNCTIONS, MOST_LINES, ROOT, called

pytestmark = pytest.mark.filterwarnings("ignore:.*not defined:pdframe.errors.DataWarning")


def test_a_refresh_of_deals_runs_few_files_and_functions() -> None:
    calls = called()
    files = {file for file, _ in calls}
    assert {"account.py", "sync/runner.py", "cache/store.py"} <= files
    assert len(files) <= MOST_FILES, sorted(files)
    assert len(calls) <= MOST_FUNCTIONS, sorted(calls)
    lines = {file: len((ROOT / file).read_text().splitlines()) for file in files}
    assert max(lines.values()) <= MOST_LINES, lines

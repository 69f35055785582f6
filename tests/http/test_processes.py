"""Processes that are forked from one that is connected: each has its own connections and locks,
whatever forks it and however it ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import forked

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def run(name: str, *arguments: object, seconds: float = 120) -> Any:
    command = [sys.executable, "-W", "error", forked.__file__, name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", done.stderr
    return json.loads(done.stdout)


def test_children_that_ask_while_the_parent_syncs_get_their_own_answers_and_lose_no_row(
    tmp_path: Path,
) -> None:
    """The full length of this is in tests/resilience/chaos."""
    reported = run("rounds", 2, 50, tmp_path)
    assert (reported["wrong"], reported["failed"], reported["lost"]) == (0, [], [])
    # All of them keep one count of tokens, and so does the server.
    assert reported["tokens"] == reported["served"] > 0


def test_no_lock_that_a_thread_of_the_parent_holds_hangs_a_child(tmp_path: Path) -> None:
    assert run("covered", tmp_path) == {"deals": {"result": [20, True, True]}}


def test_requests_in_progress_in_the_parent_do_not_fill_a_child_s_burst_window(
    tmp_path: Path,
) -> None:
    assert run("busy_window", tmp_path)["rows"]["result"] > 0


def test_server_and_cache_remain_the_parent_s_however_a_child_ends() -> None:
    reported = run("leaving")
    assert (reported["closes"], reported["block"], reported["exit"]) == (
        {"result": "closed"},
        {"result": "left"},
        0,
    )
    assert reported["folder"]
    assert reported["rows"][0] == reported["rows"][1] > 0
    assert reported["gone"]


def test_a_child_that_lives_on_keeps_no_port_open(tmp_path: Path) -> None:
    assert run("stopped_server", tmp_path) == {
        "answer": "refused",
        "soon": True,
        "child": {"result": "x"},
    }


def test_a_child_that_lives_on_keeps_no_lock_of_a_parent_that_was_killed(tmp_path: Path) -> None:
    assert run("lock_of_a_dead_parent", tmp_path) == {
        "early": "hangs",
        "free": {"result": "locked"},
    }


def test_pools_of_processes_work_with_an_account_of_their_parent(tmp_path: Path) -> None:
    assert run("pools", tmp_path) == {"pool": 0, "executor": 0, "rows": True}

"""The sandbox held against the specification, by the checker that knows nothing of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from pdframe.sandbox.company import Company, Switches
from pdframe.sandbox.company.switches import PipelineMove
from pdframe.sandbox.server import Server

CHECKER = Path(__file__).resolve().parents[3] / "shared" / "checks" / "conform.py"


def conforms(company: Company, **settings: Any) -> None:
    """Run the checker on a server of the company; no check may fail and the server may not
    crash.
    """
    if not CHECKER.exists():
        pytest.skip(
            "the conformance checker (../shared/checks/conform.py) is not beside this checkout"
        )
    with Server(company, burst=1_000_000, search_burst=1_000_000, **settings) as server:
        command = [
            sys.executable,
            str(CHECKER),
            "--base-url",
            server.url,
            "--api-token",
            server.token,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert server.crashes == []
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith(" 0 failed"), done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "deals"), [(7, 2_000), *((seed, 400) for seed in range(1, 6))])
def test_the_sandbox_conforms_to_the_specification(seed: int, deals: int) -> None:
    conforms(Company(seed=seed, deals=deals))


@pytest.mark.slow
@pytest.mark.parametrize(
    "in_changelog", [move for move in get_args(PipelineMove) if move != "together"]
)
def test_the_sandbox_conforms_with_every_switch_turned(in_changelog: PipelineMove) -> None:
    """All switches at another setting than their default, after every write that the API allows."""
    switches = Switches(
        archiving_moves_update_time=False,
        deleting_moves_update_time=False,
        reopening_moves_update_time=False,
        line_edits_move_update_time=False,
        stage_change_time_if_never_moved="set",
        changelog_has_creation=True,
        products_count_includes_disabled=False,
        revenue_formula="calendar",
        pipeline_move_in_changelog=in_changelog,
        moved_stage_in_changelog=False,
        moving_stages_moves_update_time=False,
        activities_have_custom_fields=True,
        date_ahead_seconds=2,
        cursor_lifetime=3_600,
    )
    company = Company(seed=1, deals=200, switches=switches)
    write_as_a_program_may(company)
    conforms(company, query_token=True, undeclared_params="ignored", daily_headers=False)


@pytest.mark.slow
def test_the_sandbox_conforms_after_every_write_of_the_api() -> None:
    """All switches at their default, after the same writes."""
    company = Company(seed=1, deals=200)
    write_as_a_program_may(company)
    conforms(company)


def write_as_a_program_may(company: Company) -> None:
    """Any status from any status, times set by hand, a move to another pipeline, two deals merged,
    a stage moved.
    """
    deals = [
        row
        for row in company.tables["deals"].values()
        if not row["is_deleted"] and not row["is_archived"]
    ]
    stages = company.tables["stages"].values()
    won, lost, opened = (
        [row["id"] for row in deals if row["status"] == status]
        for status in ("won", "lost", "open")
    )
    company.patch_deal(lost[0], status="won", won_time="2026-02-03T10:00:00Z")
    company.patch_deal(
        won[0], status="lost", lost_time="2026-02-04T10:00:00Z", lost_reason="Set by hand"
    )
    company.patch_deal(won[1], won_time="2025-12-31T23:59:59Z", add_time="2020-01-01T00:00:00Z")
    company.patch_deal(won[2], status="open")
    company.merge_deals(opened[0], opened[1])
    row = company.tables["deals"][opened[2]]
    elsewhere = next(
        stage["id"]
        for stage in stages
        if stage["pipeline_id"] != row["pipeline_id"] and not stage["is_deleted"]
    )
    company.move_deal(opened[2], elsewhere)
    stage = company.tables["stages"][row["stage_id"]]
    other = next(
        p["id"]
        for p in company.tables["pipelines"].values()
        if p["id"] != stage["pipeline_id"] and not p["is_deleted"]
    )
    company.move_stage(stage["id"], other)
    company.advance(days=7)

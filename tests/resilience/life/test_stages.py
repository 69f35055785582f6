"""Stage visits of an account that is looked at now and then: never contradicting the true ones, the
same where changelogs are loaded.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pdframe import DataWarning, sandbox
from pdframe.sync import SyncOptions
from tests.helpers import tiers, visits_oracle
from tests.helpers.life import Life, say

KINDS = (
    "add a deal",
    "edit a deal",
    "edit many deals",
    *("move a deal",) * 4,
    "win a deal",
    "lose a deal",
    *("reopen a deal",) * 3,
    "archive a deal",
    "unarchive a deal",
    "delete a deal",
    "add a line",
    "add a stage",
    "a pause",
    "days",
)
WRITES = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 10_000)), min_size=1, max_size=8)
SWITCHES = st.builds(
    sandbox.Switches,
    archiving_moves_update_time=st.booleans(),
    deleting_moves_update_time=st.booleans(),
    reopening_moves_update_time=st.booleans(),
    line_edits_move_update_time=st.booleans(),
    stage_change_time_if_never_moved=st.sampled_from(["null", "set"]),
    changelog_has_creation=st.booleans(),
    date_ahead_seconds=st.sampled_from([0, 3, 7_200]),
)


class StageLife(RuleBasedStateMachine):
    """One account, its deals on their way through the stages."""

    account: sandbox.SandboxAccount | None = None

    @initialize(
        switches=SWITCHES,
        seed=st.integers(1, 6),
        deals=st.sampled_from([0, 4, 25]),
        reload_rows=st.sampled_from([0, 0, None]),
    )
    def open(
        self, switches: sandbox.Switches, seed: int, deals: int, reload_rows: int | None
    ) -> None:
        # Lists that count as longer than a page are asked for what changed, others are reloaded.
        self.account = sandbox.connect(
            seed=seed,
            deals=deals,
            company="hostile",
            switches=switches,
            burst=1_000_000,
            progress=False,
            max_age=None,
            options=SyncOptions(reload_rows=reload_rows),
        )
        self.company = self.account.company_model
        self.life = Life(self.company)
        self.snapshots: list[visits_oracle.SnapshotTime] = []
        self.snapshot(True, [])

    def teardown(self) -> None:
        if self.account is not None:
            if sys.exception() is None:
                self.snapshot(True, [])
            self.account.close()

    def write(self, kind: str, pick: int) -> None:
        try:
            self.life.write(kind, pick)
        except ValueError as refusal:
            say(f"{kind}: {refusal}")

    @rule(writes=WRITES)
    def live(self, writes: list[tuple[str, int]]) -> None:
        for kind, pick in writes:
            self.write(kind, pick)

    @rule(days=st.sampled_from([7, 30]))
    def weeks_pass(self, days: int) -> None:
        self.company.advance(days=days)

    @rule(full=st.booleans(), writes=st.one_of(st.just([]), WRITES))
    def snapshot(self, full: bool, writes: list[tuple[str, int]]) -> None:
        """A sync of the deals, with life between its requests."""
        self._while_living(writes, lambda account: account.sync("deals", full=full))
        # An incremental look need not know of what moved no `update_time`, and one among writes not
        # of the last of these.
        self.check(now=full and not writes)

    @rule(again=st.booleans(), writes=st.one_of(st.just([]), WRITES))
    def load_changelogs(self, again: bool, writes: list[tuple[str, int]]) -> None:
        """The changelog of every deal; where nothing happens meanwhile, the stays are the true
        ones.
        """
        # The list of deals is brought up to date on the way, and that is a look.
        self._while_living(
            writes, lambda account: account.deal_changes(refresh="full" if again else True)
        )
        reported = self.check(now=False)
        if again and not writes:
            visible = {
                deal for deal, row in self.company.tables["deals"].items() if not row["is_deleted"]
            }
            true = [
                tuple(visit)
                for visit in self.company.truth.stage_visits()
                if visit.deal_id in visible
            ]
            assert [row for row in reported if row[0] in visible] == true

    def _while_living(self, writes: list[tuple[str, int]], act: Any) -> None:
        assert self.account is not None
        # Nothing happens before the first request.
        began, todo = self.company.now, [None, *writes]
        moved: set[int] = set()

        def living(path: str, params: Mapping[str, str]) -> None:
            write = todo.pop(0) if todo else None
            if write is not None:
                before = visits_oracle.archived(self.company)
                self.write(*write)
                moved.update(before ^ visits_oracle.archived(self.company))

        self.account.server.before_request = living
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)
                act(self.account)
        finally:
            self.account.server.before_request = None
        self.snapshots.append(visits_oracle.SnapshotTime(began, self.company.now, frozenset(moved)))

    def check(self, *, now: bool) -> list[tuple[Any, ...]]:
        """The form at any time; against the truth where the looks may know all of it."""
        assert self.account is not None
        self.account.sync("stages")
        visits = self.account.stage_visits(refresh=False)
        visits_oracle.check_form(visits)
        if now:
            visits_oracle.check_against_truth(
                visits, self.company.truth.stage_visits(), self.snapshots
            )
        return visits_oracle.facts(visits)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)


def test_visits_in_a_random_life() -> None:
    run_state_machine_as_test(
        StageLife,
        settings=settings(
            max_examples=int(os.environ.get("PDFRAME_LIFE_EXAMPLES", tiers.examples(8, least=2))),
            stateful_step_count=10,
            deadline=None,
            derandomize="PDFRAME_LIFE_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
            phases=[
                Phase.generate
            ],  # shrinking takes minutes; the steps that failed are printed all the same
        ),
    )

"""Random life between and during syncs, under every switch: after each sync what the contract
promises, after a reload the truth.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from math import ceil
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pdframe import DataWarning, sandbox
from pdframe.cache.snapshots import SnapshotLog, known_at
from pdframe.schema.snapshots import TRACKED_COLUMNS
from pdframe.sync import SyncOptions
from pdframe.sync.metadata import METADATA
from tests.helpers import tiers, true_cells
from tests.helpers.cache_files import store_of
from tests.helpers.expected import Promise, Window, with_needs
from tests.helpers.life import Life, say
from tests.helpers.oracle import ENTITY, TABLES, Annals
from tests.helpers.tuning import WIDE

DEALS = 30
STEPS = 12 if tiers.TIER == "check" else 6
EVERYTHING = (*TABLES, *true_cells.FIELD_LISTS)
KINDS = tuple(Life(sandbox.Company(seed=1, deals=1)).kinds)
# What syncs have most to get right happens most often.
OFTEN = (
    "a pause",
    *(kind for kind in KINDS if {"deal", "deals", "line", "line's"} & set(kind.split())),
)
WRITES = st.lists(
    st.tuples(st.one_of(st.sampled_from(OFTEN), st.sampled_from(KINDS)), st.integers(0, 10_000)),
    min_size=1,
    max_size=8,
)
SWITCHES = st.builds(
    sandbox.Switches,
    archiving_moves_update_time=st.booleans(),
    deleting_moves_update_time=st.booleans(),
    reopening_moves_update_time=st.booleans(),
    line_edits_move_update_time=st.booleans(),
    stage_change_time_if_never_moved=st.sampled_from(["null", "set"]),
    changelog_has_creation=st.booleans(),
    products_count_includes_disabled=st.booleans(),
    revenue_formula=st.sampled_from(["twelve-month", "term", "calendar"]),
    date_ahead_seconds=st.sampled_from([0, 45, 7_200]),
    cursor_lifetime=st.sampled_from([None, 3_600.0]),
)
# A reload mends what an incremental sync may have broken: most syncs are none.
FULL = st.sampled_from([False, False, True])
SOME = st.one_of(
    st.just(()),
    st.just(("deals",)),
    st.just(("deals", "deal_products", "installments")),
    st.lists(st.sampled_from(TABLES), min_size=1, max_size=4, unique=True).map(tuple),
)


class Living(RuleBasedStateMachine):
    """One account whose company lives on."""

    account: sandbox.SandboxAccount | None = None

    @initialize(
        switches=SWITCHES,
        seed=st.integers(1, 6),
        page=st.sampled_from([7, 7, 20, 500]),
        sparse=st.booleans(),
        wide=st.booleans(),
    )
    def open(
        self, switches: sandbox.Switches, seed: int, page: int, sparse: bool, wide: bool
    ) -> None:
        # Pages of a few rows: so a list of a small company has many, and life goes on between them.
        self.wide = wide
        self.account = sandbox.connect(
            seed=seed,
            deals=DEALS,
            company="hostile",
            switches=switches,
            burst=1_000_000,
            progress=False,
            max_age=0,
            # The oracle knows no age: every sync reads the lists of metadata and of deletions.
            metadata_age=0,
            deletions_age=0,
            options=SyncOptions(page_size=page, **(WIDE if wide else {})),
        )
        self.company = self.account.company_model
        if sparse:
            # Ids that are far apart: what is missing among them cannot be asked for.
            self.company._next["deals"] += 1_000
        self.life = Life(self.company)
        self.annals = Annals(self.company)
        self.promise = Promise(self.annals, page)
        self.snapshots: dict[int, tuple[Any, pd.DataFrame]] = {}
        self.snapshot((), True, [], 1)
        pages = [
            entry for entry in self.account.server.requests if entry.path.endswith("/activities")
        ]
        assert wide or len(pages) == max(1, ceil(len(self.annals.all_at("activities", 0)) / page))

    def teardown(self) -> None:
        if self.account is not None:
            self.account.close()

    def write(self, kind: str, pick: int) -> None:
        """One write of some kind; one that is impossible does not happen."""
        try:
            self.life.write(kind, pick)
        except ValueError as refusal:
            say(f"{kind}: {refusal}")
        self.annals.note()

    def live(self, writes: list[tuple[str, int]]) -> None:
        for kind, pick in writes:
            self.write(kind, pick)

    # Life before each sync: hypothesis leaves whole rules out of many an example.

    @rule(before=WRITES, tables=SOME, full=FULL)
    def sync(self, before: list[tuple[str, int]], tables: tuple[str, ...], full: bool) -> None:
        """A sync while nothing happens."""
        self.live(before)
        self.snapshot(tables, full, [], 1)

    @rule(before=WRITES, tables=SOME, full=FULL, writes=WRITES, at=st.integers(1, 12))
    def sync_while_life_goes_on(
        self,
        before: list[tuple[str, int]],
        tables: tuple[str, ...],
        full: bool,
        writes: list[tuple[str, int]],
        at: int,
    ) -> None:
        """A sync with writes between its requests."""
        self.live(before)
        self.snapshot(tables, full, writes, at)

    @rule(before=WRITES, tables=SOME, full=FULL, writes=WRITES, at=st.integers(1, 12))
    def sync_while_cursors_expire(
        self,
        before: list[tuple[str, int]],
        tables: tuple[str, ...],
        full: bool,
        writes: list[tuple[str, int]],
        at: int,
    ) -> None:
        """The same, and the server refuses the cursors that it gave before one of the requests."""
        self.live(before)
        self.snapshot(tables, full, writes, at, expire=True)

    def snapshot(
        self,
        tables: tuple[str, ...],
        full: bool,
        writes: list[tuple[str, int]],
        at: int,
        *,
        expire: bool = False,
    ) -> None:
        assert self.account is not None
        began, todo, requested = self.annals.moment, list(writes), 0

        def between_requests(path: str, params: Mapping[str, str]) -> None:
            nonlocal requested
            requested += 1
            if requested == at and expire and self.account is not None:
                self.account.server.expire_cursors()
            if requested >= at and todo:
                self.write(*todo.pop(0))

        wanted = tables or EVERYTHING
        done, complete = with_needs(wanted), with_needs(wanted, fields=False) if full else []
        self.account.server.reset_stats()
        self.account.server.before_request = between_requests
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)
                report = self.account.sync(*tables, full=full).set_index("table")
        finally:
            self.account.server.before_request = None
        # Where a row shows that a list of metadata is old, that list is read as well.
        assert set(done) <= set(report.index) <= {*done, *METADATA}
        # The rows that a table rests on are reloaded with it, its list of fields is always whole.
        spans = [(Window(began, self.annals.moment, True), complete)]
        spans += [
            (
                Window(began, self.annals.moment, False),
                [table for table in done if table not in complete],
            )
        ]
        if not expire and not self.wide:
            for window, part in spans:
                for table, tokens in self.promise.due(part, window).items():
                    assert report.loc[table, "tokens"] <= tokens, (
                        f"{table}: {report.loc[table].to_dict()}, due {tokens}"
                    )
        me = 0 if self.snapshots else 2
        assert self.account.server.stats.tokens == report["tokens"].sum() + me
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            frames = {table: self.frame(table) for table in done}
            for window, part in spans:
                self.promise.check(part, window, {table: frames[table] for table in part})
            for window, part in spans:
                self.promise.mark(part, window)
            for table in done:
                assert report.loc[table, "rows"] == len(frames[table])
            if began == self.annals.moment:
                for table in sorted(ENTITY.keys() & set(done)):
                    self.check_labels(table, frames[table])
        if "deals" in done:
            self.remember(frames["deals"])

    def frame(self, table: str) -> pd.DataFrame:
        assert self.account is not None
        if table in true_cells.FIELD_LISTS:
            return store_of(self.account).read(table).to_pandas()
        frame: pd.DataFrame = getattr(self.account, table)(refresh=False, labels=False)
        assert isinstance(frame.index, pd.RangeIndex)
        return frame

    def check_labels(self, table: str, hashes: pd.DataFrame) -> None:
        """Columns are named by labels where these are unique, and options read as theirs, whatever
        was renamed since the rows came.
        """
        labelled = getattr(self.account, table)(refresh=False)
        assert labelled.columns.is_unique
        fields = [field for field in self.company.fields[ENTITY[table]] if field["is_custom_field"]]
        own = [
            [field["field_name"], *(part["field_name"] for part in field["subfields"] or ())]
            for field in fields
        ]
        named = [{name.strip().casefold() for name in names} for names in own]
        for field, names in zip(fields, named, strict=True):
            at = hashes.columns.get_loc(field["field_code"])
            others = set().union(
                *(other for other in named if other is not names), map(str.casefold, hashes.columns)
            )
            # A name that is shared with another field, of a part as well, marks all columns of
            # both; case makes no difference.
            if "" not in names and not names & others:
                assert labelled.columns[at] == field["field_name"].strip()
            if field["options"] is not None:
                options = true_cells.options_of(field)
                ids = [
                    true_cells.labelled(true_cells.cell(value), options)
                    for value in hashes.iloc[:, at]
                ]
                assert [true_cells.cell(value) for value in labelled.iloc[:, at]] == ids, (
                    table,
                    field,
                )

    def remember(self, deals: pd.DataFrame) -> None:
        """Keep what this look found, and replay the history to every look so far."""
        assert self.account is not None
        history = SnapshotLog(store_of(self.account))
        rows, snapshots = history.rows(), history.snapshots().to_pylist()
        self.snapshots[snapshots[-1]["look"]] = (
            snapshots[-1]["seen_at"],
            deals[["id", *TRACKED_COLUMNS]],
        )
        last_of = {seen_at: number for number, (seen_at, _) in self.snapshots.items()}
        plain = rows.to_pylist()
        for number, (seen_at, frame) in self.snapshots.items():
            known: dict[int, dict[str, Any]] = {
                row["deal_id"]: row for row in plain if row["look"] <= number
            }
            replayed = {deal: row for deal, row in known.items() if not row["gone"]}
            if last_of[seen_at] == number:
                at = {row["deal_id"]: row for row in known_at(rows, seen_at).to_pylist()}
                assert at == known
            assert list(frame["id"]) == sorted(replayed), number
            for name in TRACKED_COLUMNS:
                shown = [true_cells.cell(value) for value in frame[name]]
                kept = [replayed[deal][name] for deal in frame["id"]]
                if name == "expected_close_date":
                    shown = [value and value.date() for value in shown]
                assert shown == kept, (number, name)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)


def test_random_life() -> None:
    run_state_machine_as_test(
        Living,
        settings=settings(
            max_examples=int(os.environ.get("PDFRAME_LIFE_EXAMPLES", tiers.examples(10, least=2))),
            stateful_step_count=STEPS,
            deadline=None,
            # `make chaos` asks for many, and for others each time; --hypothesis-seed repeats them.
            derandomize="PDFRAME_LIFE_EXAMPLES" not in os.environ,
            suppress_health_check=list(HealthCheck),
            phases=[
                Phase.generate
            ],  # shrinking takes minutes; the steps that failed are printed all the same
        ),
    )

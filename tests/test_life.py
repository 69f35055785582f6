"""Random life between and during syncs, under every switch: after each sync what the contract promises, after a reload the truth."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd
import truth
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from pdframe import DataWarning, sandbox

DEALS = 40
TABLES = ("deals", "deal_products", "installments")
# What no write to the deal itself accounts for: as old as the last time the row came.
ELSEWHERE = ("_count", "_activity_id", "_mail_time", "smart_bcc_email")
COMPARED = [
    "title",
    "value",
    "currency",
    "status",
    "stage_id",
    "pipeline_id",
    "owner_id",
    "probability",
    "lost_reason",
    "is_archived",
    "mrr",
    "acv",
]


class Life(RuleBasedStateMachine):
    """One account whose company lives on; `self.promised` holds, a deal, what the cache must at least know of it."""

    def __init__(self) -> None:
        super().__init__()
        self.account: sandbox.SandboxAccount | None = None

    @initialize(
        moves=st.lists(st.booleans(), min_size=4, max_size=4),
        count_disabled=st.booleans(),
        ahead=st.sampled_from([0, 45, 7_200]),
        seed=st.integers(1, 4),
    )
    def open(self, moves: list[bool], count_disabled: bool, ahead: int, seed: int) -> None:
        self.switches = sandbox.Switches(
            archiving_moves_update_time=moves[0],
            deleting_moves_update_time=moves[1],
            reopening_moves_update_time=moves[2],
            line_edits_move_update_time=moves[3],
            products_count_includes_disabled=count_disabled,
            date_ahead_seconds=ahead,
        )
        self.account = sandbox.connect(seed=seed, deals=DEALS, switches=self.switches, burst=1_000_000, progress=False, max_age=0)
        self.company = self.account.company_model
        self.numbers = itertools.count(1)
        self.sync(full=True)

    def teardown(self) -> None:
        if self.account is not None:
            self.account.close()

    # Life

    def write(self, what: str, pick: int) -> None:
        """One write of some kind to some deal; a write that is impossible there does not happen."""
        deals = list(self.company.tables["deals"])
        deal, number = deals[pick % len(deals)], next(self.numbers)
        stages, lines = list(self.company.tables["stages"]), self.company.lines_of(deal)
        custom = [field["field_code"] for field in self.company.fields["deal"] if field["is_custom_field"]]
        options = [f for f in self.company.fields["deal"] if f["is_custom_field"] and f["options"]]
        kinds: dict[str, Callable[[], object]] = {
            "add": lambda: self.company.add_deal(f"New {number}", value=float(number), currency="EUR"),
            "edit": lambda: self.company.edit_deal(deal, title=f"Edited {number}"),
            "bulk": lambda: self.company.bulk_edit(
                [d for d in deals if not self.company.tables["deals"][d]["is_deleted"]], title=f"Bulk {number}"
            ),
            "move": lambda: self.company.move_deal(deal, stages[number % len(stages)]),
            "win": lambda: self.company.win_deal(deal),
            "lose": lambda: self.company.lose_deal(deal, "Price"),
            "reopen": lambda: self.company.reopen_deal(deal),
            "archive": lambda: self.company.archive_deal(deal),
            "unarchive": lambda: self.company.unarchive_deal(deal),
            "delete": lambda: self.company.delete_deal(deal),
            "add line": lambda: self.company.add_line(deal, next(iter(self.company.tables["products"]))),
            "edit line": lambda: self.company.edit_line(lines[0]["id"], quantity=float(number)) if lines else None,
            "disable line": lambda: self.company.edit_line(lines[0]["id"], is_enabled=False) if lines else None,
            "remove line": lambda: self.company.remove_line(lines[-1]["id"]) if lines else None,
            "rename field": lambda: self.company.rename_field("deal", custom[pick % len(custom)], f"Field {number}"),
            "drop field": lambda: self.company.drop_field("deal", custom[pick % len(custom)]) if len(custom) > 40 else None,
            "add field": lambda: self.company.add_field("deal", f"Field {number}", "varchar"),
            "remove option": lambda: self.company.remove_option("deal", options[0]["field_code"], options[0]["options"][0]["id"]),
            "nothing": lambda: None,
        }
        with contextlib.suppress(ValueError):
            kinds[what]()

    KINDS = st.sampled_from(
        [
            "add",
            "edit",
            "bulk",
            "move",
            "win",
            "lose",
            "reopen",
            "archive",
            "unarchive",
            "delete",
            "nothing",
            "add line",
            "edit line",
            "disable line",
            "remove line",
            "rename field",
            "drop field",
            "add field",
            "remove option",
        ]
    )

    @rule(what=KINDS, pick=st.integers(0, 10_000))
    def live(self, what: str, pick: int) -> None:
        self.write(what, pick)

    # Looks

    @rule(full=st.booleans())
    def sync(self, full: bool) -> None:
        """A sync while nothing else happens; then the promise is checked."""
        assert self.account is not None
        state = truth.fold(self.company.events)
        before = None if full else self.cached()
        self.account.server.reset_stats()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            self.account.sync(*TABLES, full=full)
            self.after = {name: getattr(self.account, name)(refresh=False, labels=False) for name in TABLES}
        if full or before is None:
            self.check_truth(state)
        else:
            self.check_promise(state, before)
        self.synced = {deal: (row["update_time"], self.products_count(state, deal)) for deal, row in state["deals"].items()}

    @rule(writes=st.lists(st.tuples(KINDS, st.integers(0, 10_000)), min_size=1, max_size=4), at=st.integers(1, 6), full=st.booleans())
    def sync_while_life_goes_on(self, writes: list[tuple[str, int]], at: int, full: bool) -> None:
        """Writes happen between the requests of a sync; the quiet sync that follows must have missed nothing."""
        assert self.account is not None
        ask, asked, left = self.account._client.get_json, itertools.count(1), list(writes)

        def living(*arguments: Any, **options: Any) -> Any:
            if next(asked) >= at and left:
                self.write(*left.pop(0))
            return ask(*arguments, **options)

        self.account._client.get_json = living  # type: ignore[method-assign]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DataWarning)
                self.account.sync(*TABLES, full=full)
        finally:
            self.account._client.get_json = ask  # type: ignore[method-assign]
        # What the sync among the writes saw is unknown: the next one owes all that moved since the last quiet one.
        self.sync(full=False)

    # The promise

    def products_count(self, state: truth.State, deal: int) -> int:
        return sum(
            1
            for line in state["deal_products"].values()
            if line["deal_id"] == deal and (line["is_enabled"] or self.switches.products_count_includes_disabled)
        )

    def cached(self) -> dict[str, pd.DataFrame] | None:
        return getattr(self, "after", None)

    def check_truth(self, state: truth.State) -> None:
        for name in TABLES:
            got, rows = self.after[name], truth.visible(state, name)
            assert got["id"].tolist() == [row["id"] for row in rows], name
            for column in COMPARED if name == "deals" else [c for c in got.columns if c != "update_time"]:
                assert [truth.cell(value) for value in got[column]] == [truth.expected(row[column], got[column].dtype) for row in rows], (
                    column
                )

    def check_promise(self, state: truth.State, before: dict[str, pd.DataFrame]) -> None:
        deals = self.after["deals"].set_index("id")
        visible = {row["id"]: row for row in truth.visible(state, "deals")}
        assert deals.index.is_unique
        assert set(deals.index) == set(visible)  # every deletion is listed, every new deal is new
        lines = self.after["deal_products"]
        assert lines["id"].is_unique
        assert set(lines["deal_id"]) <= set(visible)
        for deal, row in visible.items():
            moved = self.synced.get(deal) != (row["update_time"], self.products_count(state, deal))
            if deal in self.synced and self.synced[deal][0] == row["update_time"]:
                continue
            for column in COMPARED:
                assert truth.cell(deals.loc[deal, column]) == truth.expected(row[column], deals[column].dtype), (deal, column)
            if moved:
                wanted = {line["id"]: line for line in state["deal_products"].values() if line["deal_id"] == deal}
                got = lines[lines["deal_id"] == deal].set_index("id")
                assert set(got.index) == set(wanted), deal
                for line, values in wanted.items():
                    for column in ("quantity", "is_enabled", "sum"):
                        assert truth.cell(got.loc[line, column]) == truth.expected(values[column], got[column].dtype)

    @precondition(lambda self: self.account is not None and hasattr(self, "after"))
    @invariant()
    def frames_are_whole(self) -> None:
        for frame in self.after.values():
            assert frame["id"].is_monotonic_increasing
            assert isinstance(frame.index, pd.RangeIndex)


def test_random_life() -> None:
    examples = int(os.environ.get("PDFRAME_LIFE_EXAMPLES", "12"))
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=examples,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # shrinking takes minutes; the steps that failed are printed all the same
        ),
    )


def test_a_refresh_spends_no_more_than_its_due() -> None:
    with sandbox.connect(seed=3, deals=1_500, burst=1_000_000, progress=False) as account:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            account.sync()
        company = account.company_model
        alive = [row["id"] for row in company.tables["deals"].values() if not row["is_deleted"]]
        for deal in alive[::100]:
            company.edit_deal(deal, title="one in a hundred")
        changed = math.ceil(len(alive) / 100)
        spent = account.sync("deals", "deal_products", "installments").set_index("table")["tokens"]
        assert spent["deal_fields"] == 10
        assert spent["deals"] == 10 + 20 + 10 + 20  # a page of each list, and both lists of deletions
        assert spent["deal_products"] <= math.ceil(changed / 100) * 10
        assert spent["installments"] <= math.ceil(changed / 100) * 10

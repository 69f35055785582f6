"""Which deals are asked for their lines: no line is missed that the contract promises, and no deal
is asked for nothing.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from pdframe import sandbox
from pdframe.cache.checkpoint import Checkpoint
from pdframe.cache.parts import SortedRun
from pdframe.errors import ResponseError
from pdframe.sync import DEFAULT_OPTIONS, SyncOptions
from pdframe.sync.line_items import leaves_out
from tests.helpers import true_cells
from tests.helpers.cell_by_cell import wrong_cells
from tests.helpers.faults_by_path import fail_at

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
PATH = "/api/v2/deals/products"


@pytest.mark.parametrize(
    ("deals", "reported"),
    [
        # A deal's count, then its lines: enabled or not.
        ([], None),
        ([(2, [True, True])], None),
        ([(2, [True, False])], False),
        ([(1, [True, False])], True),
        ([(1, [True, False, False]), (3, [True, True, True])], True),
        # A line came between the two looks.
        ([(1, [True, True])], None),
        # One was disabled between the two looks: the others tell, and where they do not, too much
        # is asked for rather than too little.
        ([(1, [True, False]), (1, [False]), (2, [True, True, False])], True),
        ([(1, [True, False]), (1, [False])], True),
        ([(2, [True, False]), (2, [True, False]), (1, [True, False])], False),
    ],
)
def test_most_deals_show_whether_counts_include_disabled_lines(
    deals: list[tuple[int, list[bool]]], reported: bool | None
) -> None:
    counts = pa.table(
        {
            "id": pa.array(range(len(deals)), pa.int64()),
            "products_count": pa.array([count for count, _ in deals], pa.int64()),
        }
    )
    lines = [(deal, enabled) for deal, (_, kept) in enumerate(deals) for enabled in kept]
    table = pa.table(
        {
            "deal_id": pa.array([deal for deal, _ in lines], pa.int64()),
            "is_enabled": pa.array([enabled for _, enabled in lines], pa.bool_()),
        }
    )
    assert leaves_out(counts, table) is reported


@pytest.fixture
def bare() -> Iterator[sandbox.SandboxAccount]:
    """A company that has deals and products, and no line that is disabled."""
    with sandbox.connect(
        seed=3, deals=300, company="hostile", burst=100_000, progress=False, max_age=None
    ) as account:
        company = account.company_model
        for line in [
            line["id"]
            for line in company.tables["deal_products"].values()
            if not line["is_enabled"]
        ]:
            if company.tables["deals"][company.tables["deal_products"][line]["deal_id"]][
                "is_deleted"
            ]:
                continue
            company.edit_line(line, is_enabled=True)
        yield account


def without_lines(account: sandbox.SandboxAccount) -> list[int]:
    company = account.company_model
    return [
        deal
        for deal, row in company.tables["deals"].items()
        if not row["is_deleted"] and not company.lines_of(deal) and row["status"] == "open"
    ]


def requested(account: sandbox.SandboxAccount) -> int:
    return account.server.stats.by_path[PATH][0] if PATH in account.server.stats.by_path else 0


def test_a_line_that_changes_again_in_the_second_of_the_sync_is_detected_by_the_next(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    line = next(
        row
        for row in company.tables["deal_products"].values()
        if not company.tables["deals"][row["deal_id"]]["is_deleted"]
    )
    company.edit_line(line["id"], quantity=3)
    account.deal_products()
    company.now -= 1  # the next write falls into the second of the one before
    company.edit_line(line["id"], quantity=5)
    assert account.deal_products(refresh=True).set_index("id")["quantity"][line["id"]] == 5
    company.now += 60
    requests = []
    for _ in range(3):
        account.deal_products(refresh=True)
        requests.append(requested(account))
    # One more look proves that its second was over; then it rests.
    assert requests == [3, 3, 3]


def test_a_full_load_finds_a_first_line_that_left_no_stamp() -> None:
    switches = sandbox.Switches(line_edits_move_update_time=False)
    with sandbox.connect(
        seed=3,
        deals=700,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        max_age=None,
    ) as account:
        company = account.company_model
        account.deal_products()
        product = next(iter(company.tables["products"]))
        deal = next(d for d in without_lines(account) if company.tables["deals"][d]["value"] == 0)
        line = company.add_line(
            deal, product, item_price=0, billing_frequency="one-time", billing_frequency_cycles=None
        )
        assert line not in set(account.deal_products(refresh=True)["id"])
        done = account.sync("deal_products", full=True).set_index("table")["mode"]
        assert done[["deals", "deal_products"]].tolist() == ["full", "full"]
        assert line in set(account.deal_products(refresh=False)["id"])


@pytest.mark.parametrize("counts", [True, False])
def test_a_full_load_finds_disabled_lines_where_no_count_shows_them(
    counts: bool,
) -> None:
    switches = sandbox.Switches(products_count_includes_disabled=counts)
    with sandbox.connect(
        seed=3,
        deals=0,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        max_age=None,
    ) as account:
        company = account.company_model
        product = company.add_product("Licence", price=10)
        deals = [company.add_deal(f"Deal {number}") for number in range(250)]
        line = company.add_line(deals[7], product, is_enabled=False)
        assert account.deal_products()["id"].tolist() == [line]
        # Where the line is counted, the deal tells so, and no other is asked.
        assert requested(account) == (1 if counts else math.ceil(250 / 100))


def test_an_interruption_before_the_deals_that_count_none_costs_no_batch_twice() -> None:
    switches = sandbox.Switches(products_count_includes_disabled=False)
    with sandbox.connect(
        seed=3,
        deals=0,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        max_age=None,
        options=SyncOptions(workers=1),
    ) as account:
        company = account.company_model
        product = company.add_product("Licence", price=10)
        deals = [company.add_deal(f"Deal {number}") for number in range(150)]
        lines = [
            company.add_line(deal, product, is_enabled=enabled)
            for deal, enabled in zip(deals[::50], (True, True, False), strict=True)
        ]
        account.deals()
        # The deals that count some, and the first batch of the others, are fetched.
        fail_at(account.server, PATH, 3)
        with pytest.raises(ResponseError):
            account.sync("deal_products")
        before = requested(account)
        account.sync("deal_products")
        assert account.deal_products(refresh=False)["id"].tolist() == lines
        assert (before, requested(account) - before) == (3, 1)


def test_lines_of_a_changed_deal_are_requested_where_its_count_may_leave_them_out(
    bare: sandbox.SandboxAccount,
) -> None:
    company = bare.company_model
    object.__setattr__(company.switches, "products_count_includes_disabled", False)
    bare.deal_products()
    product = next(iter(company.tables["products"]))
    line = company.add_line(without_lines(bare)[0], product, is_enabled=False)
    assert line in set(bare.deal_products(refresh=True)["id"])


def test_where_counts_include_every_line_deals_without_lines_are_not_requested(
    account: sandbox.SandboxAccount,
) -> None:
    account.deal_products()
    before = requested(account)
    assert before == 1  # of the 57 deals, those that count some
    account.company_model.edit_deal(without_lines(account)[0], title="touched")
    account.company_model.now += 60
    account.deal_products(refresh=True)
    assert requested(account) == before + 1  # the one that changed last before the first load


def test_line_items_are_proven_complete_no_later_than_the_deals(
    account: sandbox.SandboxAccount,
) -> None:
    account.sync("deals", "deal_products", "installments", full=True)
    full_at = account.status().set_index("table")["full_at"]
    time.sleep(1)  # `status` shows whole seconds
    account.sync("deal_products", "installments", full=True)
    later = account.status().set_index("table")["full_at"]
    assert (
        later[["deals", "deal_products", "installments"]]
        > full_at[["deals", "deal_products", "installments"]]
    ).all()
    assert later["deal_products"] == later["installments"] == later["deals"]
    assert "activities" not in later


# Line items that are put together on disk


IN_RUNS = SyncOptions(buffer_bytes=10_000, merge_part_bytes=10_000, part_bytes=10_000, batch_rows=5)


@pytest.fixture(params=[IN_RUNS, DEFAULT_OPTIONS], ids=["in runs", "in pages"])
def options(request: pytest.FixtureRequest) -> SyncOptions:
    chosen: SyncOptions = request.param
    return chosen


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were put together, run by run; where there are none, all is held."""
    settled: list[int] = []
    compact = Checkpoint.compact

    def noted(pending: Checkpoint, rows: pa.Table, *where: Any) -> SortedRun:
        settled.append(rows.num_rows)
        return compact(pending, rows, *where)

    monkeypatch.setattr(Checkpoint, "compact", noted)
    return settled


@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True], ids=["refresh", "reload"])
def test_line_items_of_many_batches_are_the_true_ones(
    full: bool, options: SyncOptions, runs: list[int]
) -> None:
    with sandbox.connect(
        seed=3, deals=700, company="hostile", burst=100_000, progress=False, options=options
    ) as account:
        company, tables = account.company_model, ("deal_products", "installments")
        account.sync(*tables)
        assert bool(runs) == (options is IN_RUNS)
        assert not any(
            wrong_cells(account, company, true_cells.fold(company.events), table, refresh=False)
            for table in tables
        )
        before = account.deal_products(refresh=False)
        deleted, edited = set[int](), set[int]()
        for number, line in enumerate(before["id"].iloc[::3].astype(int)):
            with contextlib.suppress(ValueError):  # installments need a line
                company.edit_line(line, quantity=77.125) if number % 5 else company.remove_line(
                    line
                )
                (edited if number % 5 else deleted).add(line)
        done = account.sync(*tables, full=full).set_index("table")
        assert done["mode"]["deal_products"] == ("full" if full else "incremental")
        assert done["removed"]["deal_products"] == len(deleted) > 0
        assert done["changed"]["deal_products"] >= len(edited) > 0
        assert not any(
            wrong_cells(account, company, true_cells.fold(company.events), table, refresh=False)
            for table in tables
        )


@pytest.mark.slow
def test_a_line_that_is_removed_between_two_interruptions_does_not_come_back(
    options: SyncOptions,
) -> None:
    options = replace(options, workers=1)
    with sandbox.connect(
        seed=3,
        deals=900,
        company="hostile",
        burst=100_000,
        progress=False,
        max_age=0,
        options=options,
    ) as account:
        company = account.company_model
        for requested in (4, 3):
            fail_at(account.server, PATH, requested)
            with pytest.raises(ResponseError, match="Something went wrong"):
                account.sync("deal_products")
            if requested == 4:
                deals = Counter(
                    line["deal_id"]
                    for line in true_cells.visible(true_cells.fold(company.events), "deal_products")
                )
                several = min(deal for deal, lines in deals.items() if lines > 1)
                company.remove_line(company.lines_of(several)[0]["id"])
                # Else its stamp would be the newest, and it asked for again in any case.
                company.now += 60
                company.edit_deal(max(deals), title="edited later")
        account.server.reset_stats()
        done = account.sync("deal_products").set_index("table")
        assert done["note"]["deal_products"].startswith("resumed")
        assert not wrong_cells(
            account, company, true_cells.fold(company.events), "deal_products", refresh=False
        )
        # Neither the deals before the first interruption nor those before the second are asked for
        # again.
        assert account.server.stats.by_path[PATH][0] < 6

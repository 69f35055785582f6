"""What a load costs: the arithmetic minimum and at most one request a table, as the server counts
it.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import metrics, sandbox
from pdframe.schema import LISTS
from tests.helpers import true_cells
from tests.helpers.tuning import connected_again

# The company deletes options while rows hold them, and loaders say so.
pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
PAGED = {
    "products": ("products", 10),
    "activities": ("activities", 10),
    "persons": ("persons", 10),
    "organizations": ("organizations", 10),
    "stages": ("stages", 5),
    "pipelines": ("pipelines", 5),
    "tasks": ("tasks", 10),
    "boards": ("boards", 10),
    "project_templates": ("project_templates", 10),
}


def pages(rows: int) -> int:
    return max(1, math.ceil(rows / 500))


def minimum(state: true_cells.State) -> dict[str, int]:
    """Tokens a table, from the rows that the company has and the prices that the API asks."""
    deals = true_cells.visible(state, "deals")
    archived = sum(row["is_archived"] for row in deals)
    projects = true_cells.visible(state, "projects")
    away = sum(row["archive_time"] is not None for row in projects)
    kinds = defaultdict(set)
    for line in true_cells.visible(state, "deal_products"):
        kinds[line["deal_id"]].add(line["billing_frequency"])
    tokens = {
        table: pages(len(true_cells.visible(state, name))) * cost
        for table, (name, cost) in PAGED.items()
    }
    tokens |= {name: pages(len(state[name])) * 10 for name in true_cells.FIELD_LISTS}
    tokens["users"] = 20
    tokens["phases"] = len(state["boards"]) * 10
    tokens["deals"] = pages(len(deals) - archived) * 10 + pages(archived) * 20
    tokens["projects"] = pages(len(projects) - away) * 10 + pages(away) * 10
    tokens["deal_products"] = batches(state, "deal_products", sorted(kinds))
    tokens["installments"] = batches(
        state, "installments", sorted(deal for deal, kind in kinds.items() if kind == {"one-time"})
    )
    return tokens


def batches(state: true_cells.State, table: str, deals: list[int]) -> int:
    """A request for each 100 deals, and one more for each 500 rows that they have beyond the
    first.
    """
    rows = defaultdict(int)
    for row in state[table].values():
        rows[row["deal_id"]] += 1
    hundreds = [deals[start : start + 100] for start in range(0, len(deals), 100)]
    return sum(pages(sum(rows[deal] for deal in hundred)) for hundred in hundreds) * 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_full_load_costs_the_minimum_and_one_request_a_table(seed: int) -> None:
    with sandbox.connect(
        seed=seed, deals=1_200, company="hostile", burst=100_000, progress=False
    ) as account:
        done = account.sync()
        least = minimum(true_cells.fold(account.company_model.events))
        spent = done.set_index("table")["tokens"].to_dict()
        # Deals are walked in two lists: what moved into the first while the second was walked is
        # asked for.
        one_request = {"deals": 10}
        assert spent.keys() == least.keys()
        assert {
            table: tokens - least[table]
            for table, tokens in spent.items()
            if tokens != least[table]
        } == one_request
        # The frame's figures are the server's: all but the two tokens of /users/me.
        assert account.server.stats.tokens == sum(spent.values()) + 2 == account.tokens_today
        assert account.server.stats.requests == done["requests"].sum() + 1


def test_a_second_load_within_max_age_costs_nothing(account: sandbox.SandboxAccount) -> None:
    first = (
        account.deals(),
        account.deal_products(),
        account.installments(),
        account.fields("deals"),
    )
    requested = account.server.stats.requests
    second = (
        account.deals(),
        account.deal_products(),
        account.installments(),
        account.fields("deals"),
    )
    assert account.server.stats.requests == requested
    for before, after in zip(first, second, strict=True):
        assert before.equals(after)


def test_one_table_requests_only_what_it_needs(account: sandbox.SandboxAccount) -> None:
    account.stages()
    assert [entry.path for entry in account.server.requests] == [
        "/api/v1/users/me",
        "/api/v2/stages",
    ]


def test_a_load_never_meets_the_burst_limit() -> None:
    with sandbox.connect(seed=1, deals=300, company="hostile", burst=8, progress=False) as account:
        account.sync("deals", "activities", "deal_products")
        assert account.server.stats.fullest_window <= 8
        assert set(account.server.stats.statuses) == {200}


def test_no_list_and_no_sync_of_everything_asks_record_by_record(
    account: sandbox.SandboxAccount,
) -> None:
    for name in LISTS:
        if name not in true_cells.FIELD_LISTS:
            getattr(account, name)(names=True)
    account.sync(full=True)
    assert not [entry.template for entry in account.server.requests if "{id}" in entry.template]


def test_line_items_are_requested_where_products_count_leaves_out_disabled_lines() -> None:
    switches = sandbox.Switches(products_count_includes_disabled=False)
    with sandbox.connect(
        seed=1, deals=300, company="hostile", switches=switches, burst=100_000, progress=False
    ) as account:
        state = true_cells.fold(account.company_model.events)
        assert account.deal_products()["id"].tolist() == [
            row["id"] for row in true_cells.visible(state, "deal_products")
        ]


# What one notebook of each hour of a day reads.
NOTEBOOKS: tuple[Callable[[pdframe.Account], object], ...] = (
    lambda account: account.deals(),
    lambda account: account.deals(names=True),
    lambda account: account.changes("today"),
    lambda account: metrics.stage_velocity(
        account.stage_visits(), account.stages(), as_of="2026-07-01"
    ),
    lambda account: metrics.mrr_lines(
        account.deal_products(), account.deals(), cancellations="Cancellation date"
    ),
    lambda account: (account.persons(), account.organizations(), account.activities()),
    lambda account: (account.installments(), account.products(), account.users()),
    lambda account: (account.deals(deleted=True), account.as_of("today")),
    lambda account: (account.deal_history(), account.deal(1)),
    lambda account: (account.projects(), account.tasks(), account.fields()),
)


def edit_deals(company: Any, chance: random.Random, count: int) -> None:
    """Edit that many different deals; a quarter of them gets a line item as well."""
    living = [row["id"] for row in company.tables["deals"].values() if not row["is_deleted"]]
    users, products = (sorted(company.tables[name]) for name in ("users", "products"))
    for place, deal in enumerate(chance.sample(living, count)):
        company.edit_deal(deal, owner_id=chance.choice(users), title=f"Edited {company.now}")
        if place % 4 == 0:
            company.add_line(deal, chance.choice(products))


@pytest.mark.exhaustive
@pytest.mark.parametrize("company", ["showcase", "hostile"])
def test_a_day_of_ten_syncs_and_ten_notebooks_costs_at_most_1_800_tokens(company: Any) -> None:
    with sandbox.connect(
        seed=7, deals=2_000, company=company, burst=100_000, progress=False
    ) as account:
        account.sync()
        model, chance = account.company_model, random.Random(7)
        account.advance(days=20 / 24)  # eight in the morning of the next day
        account.server.reset_stats()
        for hour, open_notebook in enumerate(NOTEBOOKS):
            edit_deals(model, chance, 20)
            account.advance(days=1 / 24)
            # Lists that are read once a day are due once: this machine's clock counts their ages.
            ages = {"metadata_age": 0, "deletions_age": 0} if hour == 0 else {}
            with connected_again(account, **ages) as process:
                process.sync()
            synced = account.server.stats.tokens
            with connected_again(account) as notebook:
                open_notebook(notebook)
            assert account.server.stats.tokens == synced, f"the notebook of hour {hour}"
        spent = account.server.stats.tokens
        assert spent <= 1_800
        # What was cheap is also right.
        rows = true_cells.visible(true_cells.fold(model.events), "deals")
        times = account.deals(refresh=False).set_index("id")["update_time"]
        assert times.to_dict() == {row["id"]: pd.Timestamp(row["update_time"]) for row in rows}

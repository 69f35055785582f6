"""What a load costs: the arithmetic minimum and at most one request a table, as the server counts
it.
"""

from __future__ import annotations

import math
from collections import defaultdict

import pytest

from pdframe import sandbox
from pdframe.schema import LISTS
from tests.helpers import true_cells

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

"""What a refresh of a larger company costs, to the token."""

from __future__ import annotations

import math

import pytest

from pdframe import sandbox
from tests.helpers import true_cells
from tests.helpers.cache_files import store_of
from tests.helpers.expected import Promise, Window
from tests.helpers.oracle import TABLES, Annals

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
EVERYTHING = (*TABLES, *true_cells.FIELD_LISTS)


def test_a_refresh_spends_no_more_than_its_due() -> None:
    with sandbox.connect(
        seed=3, deals=1_500, company="hostile", burst=1_000_000, progress=False
    ) as account:
        account.sync()
        company = account.company_model
        alive = [row["id"] for row in company.tables["deals"].values() if not row["is_deleted"]]
        for deal in alive[::100]:
            company.edit_deal(deal, title="one in a hundred")
        changed = math.ceil(len(alive) / 100)
        spent = account.sync("deals", "deal_products", "installments").set_index("table")["tokens"]
        assert spent["deal_fields"] == 10
        assert (
            spent["deals"] == 10 + 20 + 10 + 20
        )  # a page of each list, and both lists of deletions
        assert spent["deal_products"] <= math.ceil(changed / 100) * 10
        assert spent["installments"] <= math.ceil(changed / 100) * 10


@pytest.mark.slow
@pytest.mark.parametrize("everything_counts", [True, False])
def test_every_table_spends_no_more_than_its_due(everything_counts: bool) -> None:
    """What the random life holds small companies to holds for one with many pages and batches as
    well.
    """
    switches = sandbox.Switches(products_count_includes_disabled=everything_counts)
    with sandbox.connect(
        seed=4,
        deals=1_200,
        company="hostile",
        switches=switches,
        burst=1_000_000,
        progress=False,
        # The oracle knows no age: every sync reads the lists of metadata and of deletions.
        metadata_age=0,
        deletions_age=0,
    ) as account:
        company = account.company_model
        annals = Annals(company)
        promise = Promise(annals, page=500)
        for full, day in ((True, 0), (False, 0), (False, 7), (True, 1)):
            company.advance(days=day)
            for deal in [
                row["id"] for row in company.tables["deals"].values() if not row["is_deleted"]
            ][::100]:
                company.edit_deal(deal, title=f"On day {company.now}")
            window = Window(annals.note(), annals.moment, full)
            due = promise.due(EVERYTHING, window)
            spent = account.sync(full=full).set_index("table")["tokens"].to_dict()
            assert spent.keys() == due.keys()
            assert {
                table: (tokens, due[table])
                for table, tokens in spent.items()
                if tokens > due[table]
            } == {}
            frames = {
                table: store_of(account).read(table).to_pandas()
                if table in true_cells.FIELD_LISTS
                else getattr(account, table)(refresh=False, labels=False)
                for table in EVERYTHING
            }
            promise.check(EVERYTHING, window, frames)
            promise.mark(EVERYTHING, window)

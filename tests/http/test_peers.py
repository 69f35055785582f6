"""The cases in which other tools lose rows, columns or hours."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from pdframe import DataWarning, sandbox
from pdframe.errors import RateLimitError
from pdframe.sandbox.server import Faults
from tests.helpers import true_cells
from tests.helpers.internals import set_retries

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


@pytest.mark.parametrize("extra", [101, 501])
def test_more_fields_than_a_page_of_the_field_list_holds(
    account: sandbox.SandboxAccount, extra: int
) -> None:
    company = account.company_model
    deal = next(
        row["id"]
        for row in true_cells.visible(true_cells.fold(company.events), "deals")
        if not row["is_archived"]
    )
    codes = [company.add_field("deal", f"Extra {number}", "varchar") for number in range(extra)]
    company.edit_deal(
        deal, custom_fields={code: f"value {number}" for number, code in enumerate(codes)}
    )
    row = account.deals().set_index("id").loc[deal]
    assert [row[f"Extra {number}"] for number in range(extra)] == [
        f"value {number}" for number in range(extra)
    ]
    requested = math.ceil(len(company.fields["deal"]) / 500)
    assert account.server.stats.by_path["/api/v2/dealFields"][0] == requested
    assert len(account.fields("deals")["code"].unique()) == len(company.fields["deal"])


@pytest.mark.usefixtures("long_lists")
def test_a_429_that_never_ends_is_an_error_soon_and_harms_nothing(
    account: sandbox.SandboxAccount,
) -> None:
    before = account.deals()
    set_retries(account, 1)
    requested = account.server.stats.requests
    account.server.faults = Faults(rate=1.0, kinds=("rate_429",))
    with pytest.raises(RateLimitError, match="What was cached before is kept"):
        account.sync("deals", full=True)
    assert account.server.stats.requests - requested == 2
    account.server.faults = None
    assert account.deals(refresh=False).equals(before)
    assert account.sync("deals").set_index("table")["mode"]["deals"] == "incremental"


def test_a_product_that_was_removed_from_a_deal_does_not_remain(
    account: sandbox.SandboxAccount,
) -> None:
    lines = account.deal_products()
    deleted = lines.iloc[0]
    account.company_model.remove_line(int(deleted["id"]))
    after = account.deal_products(refresh=True)
    assert set(lines["id"]) - set(after["id"]) == {deleted["id"]}


def test_a_column_of_nothing_but_nulls_keeps_its_type(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    kinds = {
        "double": "float64",
        "date": "datetime64[us]",
        "user": "Int64",
        "varchar": "str",
        "enum": "category",
    }
    for kind in kinds:
        company.add_field("deal", f"Never filled {kind}", kind, ["A"] if kind == "enum" else None)
    deals = account.deals()
    assert {kind: str(deals[f"Never filled {kind}"].dtype) for kind in kinds} == kinds
    assert deals[[f"Never filled {kind}" for kind in kinds]].isna().all(axis=None)


def test_dates_are_dates(account: sandbox.SandboxAccount) -> None:
    deals, activities = account.deals(), account.activities()
    assert (
        deals["expected_close_date"]
        .dropna()
        .dt.normalize()
        .equals(deals["expected_close_date"].dropna())
    )
    for column in (deals["expected_close_date"], activities["due_date"]):
        assert str(column.dtype) == "datetime64[us]"
    for name in deals.columns[deals.columns.str.endswith("_time")]:
        assert str(deals[name].dtype) == "datetime64[us, UTC]"


@pytest.mark.parametrize(
    "label", ["title", "Область продаж", "売上地域", "🚀", 'He said "so" \\ <b>', "a" * 180]
)
def test_a_label_of_any_alphabet_or_a_standard_name_overwrites_nothing(
    account: sandbox.SandboxAccount, label: str
) -> None:
    titles = account.deals()["title"]
    company = account.company_model
    code = company.add_field("deal", label, "varchar")
    deal = int(account.deals()["id"].iloc[0])
    company.edit_deal(deal, custom_fields={code: "kept apart"})
    deals = account.deals(refresh=True)
    name = f"title ({code[:6]})" if label == "title" else label
    assert deals.set_index("id")[name][deal] == "kept apart"
    pd.testing.assert_series_equal(deals["title"], titles)


def test_a_deleted_option_is_shown_not_dropped(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    deal = int(account.deals()["id"].iloc[0])
    code = company.add_field("deal", "Channels of theirs", "set", ["Web", "Fair"])
    web, fair = (option["id"] for option in company.field("deal", code)["options"])
    company.edit_deal(deal, custom_fields={code: [web, fair]})
    company.remove_option("deal", code, web)
    with pytest.warns(DataWarning, match=f"#{web}"):
        channels = account.deals(refresh=True).set_index("id")["Channels of theirs"]
    assert list(channels[deal]) == [f"#{web}", "Fair"]

"""Fields, options and columns that change between two syncs: nothing is lost, mixed up or
guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from pdframe import DataWarning, sandbox
from tests.helpers.late_fields import undeclared
from tests.helpers.proxy import altered
from tests.helpers.tuning import LONG_LISTS

pytestmark = [
    pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning"),
    pytest.mark.usefixtures("long_lists"),
]
KINDS = ("double", "date", "monetary", "enum", "varchar")


def two_deals(account: sandbox.SandboxAccount) -> tuple[int, int]:
    first, second = account.deals().query("status == 'open'")["id"].iloc[:2]
    return int(first), int(second)


def refreshed(account: sandbox.SandboxAccount, **options: Any) -> pd.DataFrame:
    return account.deals(refresh=True, **options).set_index("id")


def test_a_field_that_is_added(account: sandbox.SandboxAccount) -> None:
    deal, other = two_deals(account)
    code = account.company_model.add_field("deal", "Runway", "double")
    account.company_model.edit_deal(deal, custom_fields={code: 18})
    deals = refreshed(account)
    assert str(deals["Runway"].dtype) == "float64"
    assert deals["Runway"][deal] == 18
    assert deals["Runway"].isna()[other]


def test_a_field_that_is_renamed_keeps_its_values_and_leaves_no_old_name(
    account: sandbox.SandboxAccount,
) -> None:
    deal, _ = two_deals(account)
    company = account.company_model
    code = company.add_field("deal", "Budget of theirs", "monetary")
    company.edit_deal(deal, custom_fields={code: {"value": 1250.5, "currency": "USD"}})
    assert refreshed(account)["Budget of theirs"][deal] == 1250.5
    company.rename_field("deal", code, "Kliendi eelarve 💶")
    deals = refreshed(account)
    assert deals["Kliendi eelarve 💶"][deal] == 1250.5
    assert deals["Currency of Kliendi eelarve 💶"][deal] == "USD"
    assert not [name for name in deals if "Budget of theirs" in name]


def test_a_field_that_is_deleted_takes_its_column_along(account: sandbox.SandboxAccount) -> None:
    deal, _ = two_deals(account)
    company = account.company_model
    code = company.add_field("deal", "Short-lived", "varchar")
    company.edit_deal(deal, custom_fields={code: "here"})
    assert refreshed(account)["Short-lived"][deal] == "here"
    company.drop_field("deal", code)
    account.sync("deals", full=True)
    deals = account.deals(refresh=False)
    assert "Short-lived" not in deals
    assert code not in deals
    assert code not in account.deals(refresh=False, labels=False)


def test_a_field_that_is_created_again_under_the_same_label_is_another_field(
    account: sandbox.SandboxAccount,
) -> None:
    first, second = two_deals(account)
    company = account.company_model
    old = company.add_field("deal", "Region of sale", "varchar")
    company.edit_deal(first, custom_fields={old: "north"})
    assert refreshed(account)["Region of sale"][first] == "north"
    company.drop_field("deal", old)
    new = company.add_field("deal", "Region of sale", "enum", ["North", "South"])
    option = company.field("deal", new)["options"][1]["id"]
    company.edit_deal(second, custom_fields={new: option})
    account.sync("deals", full=True)
    deals = account.deals(refresh=False).set_index("id")
    assert deals["Region of sale"].isna()[first]
    assert deals["Region of sale"][second] == "South"
    assert [name for name in deals if name.startswith("Region of sale")] == ["Region of sale"]


def test_two_fields_of_one_label_are_both_there_while_both_exist(
    account: sandbox.SandboxAccount,
) -> None:
    first, second = two_deals(account)
    company = account.company_model
    codes = [company.add_field("deal", "Twin", "varchar") for _ in range(2)]
    company.edit_deal(first, custom_fields={codes[0]: "elder"})
    company.edit_deal(second, custom_fields={codes[1]: "younger"})
    deals = refreshed(account)
    assert "Twin" not in deals
    assert deals[f"Twin ({codes[0][:6]})"][first] == "elder"
    assert deals[f"Twin ({codes[1][:6]})"][second] == "younger"


def test_options_that_are_added_renamed_and_removed(account: sandbox.SandboxAccount) -> None:
    first, second = two_deals(account)
    company = account.company_model
    code = company.add_field("deal", "Tier of theirs", "enum", ["Gold", "Silver"])
    gold, silver = (option["id"] for option in company.field("deal", code)["options"])
    company.edit_deal(first, custom_fields={code: gold})
    company.edit_deal(second, custom_fields={code: silver})
    assert refreshed(account)["Tier of theirs"][[first, second]].tolist() == ["Gold", "Silver"]

    bronze = company.add_option("deal", code, "Bronze")
    company.rename_option("deal", code, gold, "Platinum")
    company.edit_deal(second, custom_fields={code: bronze})
    tiers = refreshed(account)["Tier of theirs"]
    assert tiers[[first, second]].tolist() == ["Platinum", "Bronze"]
    assert list(tiers.cat.categories) == ["Platinum", "Silver", "Bronze"]

    # The option goes, the row still holds its id: told as a number, after the defined ones, and
    # said.
    company.remove_option("deal", code, gold)
    account.sync("deal_fields")
    with pytest.warns(DataWarning, match=f"'Tier of theirs'.*#{gold}"):
        tiers = account.deals(refresh=False).set_index("id")["Tier of theirs"]
    assert tiers[first] == f"#{gold}"
    assert list(tiers.cat.categories) == ["Silver", "Bronze", f"#{gold}"]


def test_a_field_whose_type_changed_is_reread_in_the_new_type(
    account: sandbox.SandboxAccount,
) -> None:
    deal, _ = two_deals(account)
    company = account.company_model
    code = company.add_field("deal", "Seats", "varchar")
    company.edit_deal(deal, custom_fields={code: "12"})
    assert refreshed(account)["Seats"][deal] == "12"
    company.field("deal", code)["field_type"] = "double"
    company.field("deal", code)["field_name"] = "Seats"

    def with_numbers(path: str, params: Mapping[str, str], content: Any) -> None:
        for row in (content["data"] or []) if path.startswith("/deals") else []:
            if row["id"] == deal and "custom_fields" in row:
                row["custom_fields"][code] = 12

    with altered(account, with_numbers, options=LONG_LISTS) as other:
        row = other.sync("deals").set_index("table").loc["deals"]
    assert row["mode"] == "full"
    seats = account.deals(refresh=False).set_index("id")["Seats"]
    assert (str(seats.dtype), seats[deal]) == ("float64", 12.0)


def test_a_standard_field_that_the_schema_does_not_know_is_passed_through(
    account: sandbox.SandboxAccount,
) -> None:
    def with_more(path: str, params: Mapping[str, str], content: Any) -> None:
        for row in (content["data"] or []) if path == "/deals" else []:
            row |= {"mood": "good", "signals": {"score": 3, "by": ["a", "b"]}}

    account.deals()
    with altered(account, with_more, options=LONG_LISTS) as other:
        deals = other.deals(refresh="full")
    live = deals[~deals["is_archived"].fillna(False)]
    assert set(live["mood"]) == {"good"}
    assert set(live["signals"]) == {'{"score":3,"by":["a","b"]}'}
    assert deals.loc[deals["is_archived"], "mood"].isna().all()


def test_a_renamed_label_between_refreshes_never_mixes_two_names(
    account: sandbox.SandboxAccount,
) -> None:
    """A pull of changes after the rename: old rows and new rows stand in one column."""
    first, second = two_deals(account)
    company = account.company_model
    code = company.add_field("deal", "Before", "varchar")
    company.edit_deal(first, custom_fields={code: "old row"})
    account.sync("deals")
    company.rename_field("deal", code, "After")
    company.edit_deal(second, custom_fields={code: "new row"})
    assert account.sync("deals").set_index("table")["mode"]["deals"] == "incremental"
    deals = account.deals(refresh=False).set_index("id")
    assert deals["After"][[first, second]].tolist() == ["old row", "new row"]
    assert "Before" not in deals


def test_values_that_arrived_before_their_field_are_typed_without_a_reload(
    account: sandbox.SandboxAccount,
) -> None:
    """The field is made between the look at the list of fields and the look at the deals."""
    first, second = two_deals(account)
    company = account.company_model
    codes = {
        kind: company.add_field("deal", f"New {kind}", kind, ["A", "B"] if kind == "enum" else None)
        for kind in KINDS
    }
    option = company.field("deal", codes["enum"])["options"][1]["id"]
    values = {
        "double": 1.5,
        "date": "2027-01-31",
        "monetary": {"value": 20, "currency": "USD"},
        "enum": option,
        "varchar": "text",
    }
    company.edit_deal(first, custom_fields={codes[kind]: values[kind] for kind in KINDS})
    with undeclared(account, "deal", codes.values()):
        account.sync("deals")
    company.edit_deal(second, custom_fields={codes[kind]: values[kind] for kind in KINDS})
    assert account.sync("deals").set_index("table")["mode"]["deals"] == "incremental"
    deals = account.deals(refresh=False).set_index("id")
    shown = deals.loc[
        [first, second], [*(f"New {kind}" for kind in KINDS), "Currency of New monetary"]
    ]
    assert shown.dtypes.astype(str).tolist() == [
        "float64",
        "datetime64[us]",
        "float64",
        "category",
        "str",
        "str",
    ]
    expected = [1.5, pd.Timestamp("2027-01-31"), 20.0, "B", "text", "USD"]
    assert shown.astype("object").to_numpy().tolist() == [expected, expected]
    account.sync("deals", full=True)
    pd.testing.assert_frame_equal(account.deals(refresh=False).set_index("id"), deals)

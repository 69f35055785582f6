"""`fleet.load` gives the rows of every account, cell by cell, in columns that fit together."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

import pdframe
from pdframe import fleet
from pdframe.errors import ArgumentError, DamagedError, DataWarning, NotCachedError
from tests.http.fleet.conftest import Companies


def test_every_cell_of_every_account_is_there(companies: Companies) -> None:
    accounts = {name: companies.open(name, seed, 20) for name, seed in (("b", 1), ("a", 2))}
    for opened in companies.opened.values():
        opened.company_model.add_field("deal", "Shared", "varchar")
    north, south = (opened.company_model for opened in companies.opened.values())
    north.add_field("deal", "Size", "varchar")
    south.add_field("deal", "Size", "double")
    north.add_field("deal", "Own", "date")
    for model, size in ((north, "large"), (south, 7.5)):
        codes = {field["field_name"]: field["field_code"] for field in model.fields["deal"]}
        first = next(row["id"] for row in model.tables["deals"].values() if not row["is_deleted"])
        model.edit_deal(first, custom_fields={codes["Shared"]: "x", codes["Size"]: size})
    assert fleet.sync(accounts)["error"].isna().all()
    requests = {name: opened.server.stats.requests for name, opened in companies.opened.items()}
    together = fleet.load(companies.cache, "deals")
    visits = fleet.load(companies.cache, "stage_visits")
    assert requests == {n: opened.server.stats.requests for n, opened in companies.opened.items()}
    assert list(together)[:3] == ["account", "id", "title"]
    assert list(dict.fromkeys(together["account"])) == ["a", "b"]
    assert together.index.equals(pd.RangeIndex(len(together)))
    assert {"Shared", "Size (a)", "Size (b)", "Own"} < set(together)
    assert "Size" not in together
    assert (str(together["Size (a)"].dtype), str(together["Size (b)"].dtype)) == ("float64", "str")
    for name, opened in companies.opened.items():
        own = opened.deals()
        rows = together[together["account"] == name].reset_index(drop=True)
        shown = rows.rename(columns={f"Size ({name})": "Size"})
        assert (
            shown[[column for column in together if column in set(shown) - set(own)]]
            .drop(columns="account")
            .isna()
            .all(axis=None)
        )
        for column in own:
            one, other = own[column], shown[column]
            if isinstance(one.dtype, pd.CategoricalDtype):
                assert set(one.cat.categories) <= set(other.cat.categories)
                one, other = one.astype("str"), other.astype("str")
            pd.testing.assert_series_equal(one, other, check_names=False)
        own_visits = opened.stage_visits()
        rows = visits[visits["account"] == name].drop(columns="account").reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, own_visits, check_like=False)


def test_columns_and_accounts_can_be_chosen(companies: Companies) -> None:
    accounts = {name: companies.open(name, seed) for name, seed in (("a", 1), ("b", 2))}
    companies.opened["b"].company_model.add_field("deal", "Own", "double")
    fleet.sync(accounts, "deals")
    shown = fleet.load(companies.cache, "deals", columns=["Own", "id"])
    assert list(shown) == ["account", "Own", "id"]
    assert shown.loc[shown["account"] == "a", "id"].notna().all()
    alone = fleet.load(companies.cache, "deals", accounts=["b"])
    assert alone["account"].unique().tolist() == ["b"]
    hashes = fleet.load(companies.cache, "deals", labels=False)
    assert "Own" not in hashes
    with pytest.raises(ArgumentError, match=r"No account has a column 'statu' in deals\. Did you"):
        fleet.load(companies.cache, "deals", columns=["statu"])
    with pytest.raises(ArgumentError, match="There is no account 'c'"):
        fleet.load(companies.cache, "deals", accounts=["c"])
    with pytest.raises(ArgumentError, match="must be a list of names"):
        fleet.load(companies.cache, "deals", accounts="a")


def test_half_of_the_accounts_is_an_error_not_an_answer(
    companies: Companies, tmp_path: Path
) -> None:
    accounts = {name: companies.open(name, seed) for name, seed in (("a", 1), ("b", 2))}
    with pytest.raises(NotCachedError, match="holds the cache of no account"):
        fleet.load(tmp_path / "nothing", "deals")
    fleet.sync(accounts, "stages")
    fleet.sync({"b": accounts["b"]}, "pipelines")
    with pytest.raises(NotCachedError, match="'pipelines' of a is not cached in"):
        fleet.load(companies.cache, "pipelines")
    assert len(fleet.load(companies.cache, "pipelines", accounts=["b"])) == 3
    for wrong in ("dealz", "deal_fields"):
        with pytest.raises(ArgumentError):
            fleet.load(companies.cache, wrong)
    part = next((companies.cache).glob("*/stages/*.parquet"))
    part.write_bytes(b"damaged")
    with pytest.raises(DamagedError, match=r"^Account [ab]: "):
        fleet.load(companies.cache, "stages")


def test_a_name_that_is_the_folder_of_another_account_drops_none(companies: Companies) -> None:
    accounts = {name: companies.open(name, seed) for name, seed in (("a", 1), ("b", 2))}
    keys, rows = {}, {}
    for name, how in accounts.items():
        with pdframe.connect(**how) as account:
            rows[name] = account.stages()
            keys[name] = account.cache_path.name
    name = keys["b"]
    fleet.sync({name: accounts["a"]}, "stages")
    other = f"{name} (folder)"
    with pytest.warns(DataWarning, match=rf"\(folder\): the account {name} is that of another"):
        shown = fleet.load(companies.cache, "stages")
    assert shown["account"].value_counts().to_dict() == {
        name: len(rows["a"]), other: len(rows["b"])
    }  # fmt: skip
    for account, mine in ((name, "a"), (other, "b")):
        assert shown.loc[shown["account"] == account, "name"].to_list() == list(rows[mine]["name"])
    only = fleet.load(companies.cache, "stages", accounts=[name])
    assert only["name"].to_list() == list(rows["a"]["name"])


def test_an_account_without_a_name_has_that_of_its_folder_and_a_name_moves_on(
    companies: Companies,
) -> None:
    accounts = {name: companies.open(name, seed) for name, seed in (("a", 1), ("b", 2))}
    keys = {}
    for name, opened in companies.opened.items():
        with pdframe.connect(**accounts[name]) as account:
            account.sync("stages")
            keys[name] = account.cache_path.name
        assert opened.server.stats.requests > 0
    shown = fleet.load(companies.cache, "stages")
    assert sorted(shown["account"].unique()) == sorted(keys.values())
    fleet.sync({"client": accounts["a"]}, "stages")
    shown = fleet.load(companies.cache, "stages")
    assert sorted(shown["account"].unique()) == sorted(["client", keys["b"]])
    # The token is another user's now: what it opened before is not counted beside it.
    fleet.sync({"client": accounts["b"]}, "stages")
    with pytest.warns(DataWarning, match=f"client: {keys['a']} is left out"):
        shown = fleet.load(companies.cache, "stages")
    assert shown["account"].unique().tolist() == ["client"]
    assert len(fleet.load(companies.cache, "stages", accounts=["client"])) == len(shown)
    before = fleet.load(companies.cache, "stages", accounts=[keys["a"]])
    assert before["account"].unique().tolist() == [keys["a"]]
    both = fleet.load(companies.cache, "stages", accounts=["client", keys["a"]])
    assert both["account"].nunique() == 2
    # And back: a name has one former folder less for each that it opens again.
    fleet.sync({"client": accounts["a"]}, "stages")
    with pytest.warns(DataWarning, match=f"client: {keys['b']} is left out"):
        assert len(fleet.load(companies.cache, "stages")) == len(before)
    fleet.sync({"client": accounts["a"], "second": accounts["b"]}, "stages")
    shown = fleet.load(companies.cache, "stages")
    assert sorted(shown["account"].unique()) == ["client", "second"]
    (companies.cache / "fleet.json").write_text("damaged")
    assert sorted(fleet.load(companies.cache, "stages")["account"].unique()) == sorted(
        keys.values()
    )
    shutil.rmtree(companies.cache / keys["a"])
    assert fleet.load(companies.cache, "stages")["account"].unique().tolist() == [keys["b"]]
    fleet.sync({"client": accounts["b"]}, "stages")
    assert (companies.cache / "fleet.json").stat().st_mode & 0o777 == 0o600


def test_what_is_noticed_in_several_accounts_is_one_warning(companies: Companies) -> None:
    accounts = {
        name: companies.open(name, seed, 60, company="hostile")
        for name, seed in (("a", 3), ("b", 3))
    }
    accounts["b"] = companies.open("b", 4, 60, company="hostile")
    fleet.sync(accounts, "deals", "users")
    with pytest.warns(DataWarning) as caught:
        deals = fleet.load(companies.cache, "deals")
    (warning,) = caught
    assert {note.partition(":")[0] for note in warning.message.notes} == {"a", "b"}
    assert not deals.columns.duplicated().any()

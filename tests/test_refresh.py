"""A refresh brings what changed, and after it the cache is what the contract promises."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pytest
import truth

from pdframe import DataWarning, sandbox
from pdframe.errors import AccessError, ArgumentError, CacheError, NotCachedError, ResponseError
from pdframe.schema import TABLES

# The company deletes options while rows hold them, and loaders say so.
pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
MOVING = ["deals", "deal_products", "installments", "activities", "persons", "organizations", "products", "stages", "projects", "users"]


def ids(account: sandbox.SandboxAccount, table: str) -> list[int]:
    return [row["id"] for row in truth.visible(truth.fold(account.company_model.events), table)]


def frames(account: sandbox.SandboxAccount, **options: object) -> dict[str, pd.DataFrame]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return {name: getattr(account, name)(**options) for name in MOVING}


def test_after_a_week_a_refresh_is_as_good_as_a_reload(tmp_path: Path) -> None:
    with sandbox.connect(seed=5, deals=400, cache_dir=tmp_path, burst=100_000, progress=False) as account:
        first = account.sync()
        for _ in range(3):
            account.advance(days=7)
            second = account.sync()
            refreshed = frames(account, refresh=False)
            account.sync(full=True)
            reloaded = frames(account, refresh=False)
            for name in MOVING:
                if name in ("activities", "persons", "organizations"):
                    continue  # their deletions are not listed
                stale = [
                    column
                    for column in refreshed[name]
                    if column.endswith("_count") or column.endswith("_activity_id") or "_mail_" in column
                ]
                pd.testing.assert_frame_equal(refreshed[name].drop(columns=stale), reloaded[name].drop(columns=stale))
        assert second.set_index("table")["mode"]["deals"] == "incremental"
        assert int(second["tokens"].sum()) < int(first["tokens"].sum())


def test_every_kind_of_write_reaches_the_cache(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    deals = account.deals()
    open_deals = deals[deals["status"] == "open"]["id"].tolist()
    edited, won, lost, archived, deleted = open_deals[:5]
    company.edit_deal(edited, title="Renamed <b>deal</b>")
    company.win_deal(won)
    company.lose_deal(lost, "Price")
    company.archive_deal(archived)
    company.delete_deal(deleted)
    row = account.sync("deals").set_index("table").loc["deals"]
    assert (row["mode"], row["added"], row["changed"], row["removed"]) == ("incremental", 0, 4, 1)
    after = account.deals(refresh=False).set_index("id")
    assert after["title"][edited] == "Renamed <b>deal</b>"
    assert after["status"][[won, lost]].tolist() == ["won", "lost"]
    assert after["is_archived"][archived]
    assert deleted not in after.index


@pytest.mark.parametrize("moves", [True, False])
def test_a_deleted_deal_is_found_whether_or_not_that_moves_its_update_time(moves: bool) -> None:
    switches = sandbox.Switches(deleting_moves_update_time=moves)
    with sandbox.connect(seed=3, deals=60, switches=switches, burst=100_000, progress=False) as account:
        deal = int(account.deals()["id"].iloc[0])
        account.company_model.delete_deal(deal)
        assert deal not in account.deals(refresh=True)["id"].tolist()


@pytest.mark.parametrize("moves", [True, False])
def test_an_archived_deal_is_found_by_a_reload_whether_or_not_that_moves_its_update_time(moves: bool) -> None:
    switches = sandbox.Switches(archiving_moves_update_time=moves)
    with sandbox.connect(seed=3, deals=60, switches=switches, burst=100_000, progress=False) as account:
        deal = int(account.deals(archived=False)["id"].iloc[0])
        account.company_model.archive_deal(deal)
        assert deal in account.deals(refresh="full")["id"].tolist()
        assert deal not in account.deals(refresh=False, archived=False)["id"].tolist()


@pytest.mark.parametrize("moves", [True, False])
def test_line_items_follow_their_deals(moves: bool) -> None:
    switches = sandbox.Switches(line_edits_move_update_time=moves)
    with sandbox.connect(seed=3, deals=60, switches=switches, burst=100_000, progress=False) as account:
        company = account.company_model
        lines = account.deal_products()
        counts = lines["deal_id"].value_counts()
        deal = int(counts.index[counts > 1][0])
        gone = int(lines.loc[lines["deal_id"] == deal, "id"].iloc[0])
        company.remove_line(gone)
        company.edit_deal(deal, title="touched")
        asked = account.server.stats.by_path["/api/v2/deals/products"][0]
        assert account.deal_products(refresh=True)["id"].tolist() == ids(account, "deal_products")
        assert account.server.stats.by_path["/api/v2/deals/products"][0] == asked + 1


def test_a_date_that_runs_ahead_loses_no_row() -> None:
    switches = sandbox.Switches(date_ahead_seconds=3600)
    with sandbox.connect(seed=3, deals=60, switches=switches, burst=100_000, progress=False) as account:
        deal = int(account.deals()["id"].iloc[0])
        account.company_model.edit_deal(deal, title="just now")
        assert account.deals(refresh=True).set_index("id")["title"][deal] == "just now"


def test_cursors_that_expire_on_the_way_start_the_list_again() -> None:
    with sandbox.connect(seed=3, deals=700, burst=100_000, progress=False) as account:
        serve, asked = account._client.get_json, []

        def expiring(path: str, params: object = None, **options: object) -> object:
            asked.append(path)
            if asked.count("/deals") == 3:  # the probe, the first page, and now the second
                account.server.expire_cursors()
            return serve(path, params, **options)  # type: ignore[arg-type]

        account._client.get_json = expiring  # type: ignore[method-assign, assignment]
        assert account.deals()["id"].tolist() == ids(account, "deals")
        assert asked.count("/deals") == 6  # and once more the probe and both pages
        assert account.server.stats.statuses[400] == 1


def test_a_cursor_that_expires_every_time_is_an_error() -> None:
    switches = sandbox.Switches(cursor_lifetime=0.0)
    with sandbox.connect(seed=3, deals=700, switches=switches, burst=100_000, progress=False) as account:
        with pytest.raises(ResponseError, match="400"):
            account.deals()
        assert account.status().set_index("table")["rows"].isna()["deals"]


@pytest.mark.parametrize("moves", [True, False])
def test_a_reopened_deal_is_open_again_after_a_reload_and_at_once_where_that_moves_its_update_time(moves: bool) -> None:
    switches = sandbox.Switches(reopening_moves_update_time=moves)
    with sandbox.connect(seed=3, deals=60, switches=switches, burst=100_000, progress=False) as account:
        deals = account.deals()
        deal = int(deals[(deals["status"] == "lost") & ~deals["is_archived"]]["id"].iloc[0])
        account.company_model.reopen_deal(deal)
        if moves:
            assert account.deals(refresh=True).set_index("id")["status"][deal] == "open"
        after = account.deals(refresh="full").set_index("id")
        assert after["status"][deal] == "open"
        assert pd.isna(after["lost_time"][deal])


def test_a_row_that_became_invisible_goes_with_a_reload(account: sandbox.SandboxAccount) -> None:
    deal = int(account.deals()["id"].iloc[0])
    account.company_model.hide("deals", deal)
    assert deal not in account.deals(refresh="full")["id"].tolist()


def test_a_renamed_field_needs_no_reload(account: sandbox.SandboxAccount) -> None:
    fields = account.fields("deals")
    field = fields[fields["is_custom"] & fields["column"].notna() & fields["subfield"].isna()].iloc[3]
    before = account.deals()[field["column"]]
    account.company_model.rename_field("deal", field["code"], "Brand new name")
    account.sync("deal_fields")
    asked = account.server.stats.requests
    after = account.deals(refresh=False)["Brand new name"]
    assert account.server.stats.requests == asked
    assert [truth.cell(value) for value in after] == [truth.cell(value) for value in before]


def test_a_field_that_changed_its_type_reloads_the_table(account: sandbox.SandboxAccount) -> None:
    account.deals()
    company = account.company_model
    code = company.add_field("deal", "Region code", "varchar")
    deal = account.deals()["id"].iloc[0]
    company.edit_deal(int(deal), custom_fields={code: "north"})
    assert account.deals(refresh=True).set_index("id")["Region code"][deal] == "north"


def test_refresh_false_reads_the_cache_alone(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(NotCachedError, match="refresh=False"):
        account.deals(refresh=False)
    account.deals()
    account.server.stop()
    assert len(account.deals(refresh=False)) > 0


def test_a_clock_that_went_back_means_another_past(tmp_path: Path) -> None:
    with sandbox.connect(seed=3, deals=60, cache_dir=tmp_path, burst=100_000, progress=False) as account:
        account.advance(days=30)
        account.sync("deals")
    with sandbox.connect(seed=3, deals=60, cache_dir=tmp_path, burst=100_000, progress=False) as account:
        row = account.sync("deals").set_index("table").loc["deals"]
        assert (row["mode"], row["note"].startswith("loaded anew: the server's clock went back")) == ("full", True)
        assert account.deals(refresh=False)["id"].tolist() == ids(account, "deals")


def test_a_damaged_file_is_said_and_mended_on_request(account: sandbox.SandboxAccount) -> None:
    whole = account.deals()
    part = next((account.cache_path / "deals").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    with pytest.raises(CacheError, match="cannot be trusted"):
        account.deals()
    row = account.sync("deals").set_index("table").loc["deals"]
    assert (row["mode"], row["note"]) == ("full", "the cached copy could not be trusted: loaded anew")
    assert account.deals(refresh=False).equals(whole)


def test_columns_are_chosen_by_label_hash_or_name(account: sandbox.SandboxAccount) -> None:
    fields = account.fields("deals")
    field = fields[fields["is_custom"] & fields["column"].notna()].iloc[0]
    chosen = account.deals(columns=[field["code"], "id", "title"])
    assert list(chosen.columns) == [field["column"], "id", "title"]
    assert list(account.deals(columns=[field["column"], "id"], labels=False).columns) == [field["code"], "id"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"columns": ["titel"]}, "title"),
        ({"columns": "title"}, r"\['title'\]"),
        ({"refresh": "fulll"}, "'full'"),
        ({"refresh": 1.5}, "'full'"),
    ],
)
def test_unknown_columns_and_refreshes_are_said(account: sandbox.SandboxAccount, options: dict[str, object], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        account.deals(**options)  # type: ignore[arg-type]


def test_unknown_tables_are_said(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(ArgumentError, match="Did you mean 'deals'"):
        account.sync("dealz")
    with pytest.raises(ArgumentError, match="no field metadata"):
        account.fields("stages")
    assert account.server.stats.requests == 0


def test_status_tells_what_is_cached(account: sandbox.SandboxAccount) -> None:
    account.deals()
    status = account.status().set_index("table")
    assert list(status.index) == list(TABLES)
    assert status["rows"]["deals"] == len(account.deals())
    assert status["bytes"]["deals"] == sum(path.stat().st_size for path in (account.cache_path / "deals").glob("*.parquet"))
    assert status["rows"].isna()["activities"]
    assert str(status["full_at"].dtype) == "datetime64[us, UTC]"


def test_what_the_plan_withholds_is_unavailable_and_harms_nothing_else() -> None:
    with sandbox.connect(seed=3, deals=60, plan="Lite", burst=100_000, progress=False) as account:
        done = account.sync().set_index("table")
        assert done.index[done["mode"] == "unavailable"].tolist() == ["installments"]
        assert done["rows"]["deals"] > 0
        with pytest.raises(AccessError, match="plan"):
            account.installments()

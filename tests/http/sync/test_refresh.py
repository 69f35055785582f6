"""A refresh brings what changed, and after it the cache is what the contract promises."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pdframe.cache.store
from pdframe import DataWarning, sandbox
from pdframe.errors import (
    AccessError,
    ArgumentError,
    BudgetError,
    CacheError,
    DamagedError,
    NotCachedError,
    ResponseError,
)
from pdframe.sync import SyncOptions
from tests.helpers import tiers, true_cells
from tests.helpers.faults_by_path import fail_at
from tests.helpers.internals import syncer_of
from tests.helpers.late_fields import undeclared
from tests.helpers.proxy import altered, refusing
from tests.helpers.scripted_server import Reply, fail
from tests.helpers.tuning import LONG_LISTS

# The company deletes options while rows hold them, and loaders say so.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning"),
    pytest.mark.usefixtures("long_lists"),
]
MOVING = [
    "deals",
    "deal_products",
    "installments",
    "activities",
    "persons",
    "organizations",
    "products",
    "stages",
    "projects",
    "users",
]


def ids(account: sandbox.SandboxAccount, table: str) -> list[int]:
    return [
        row["id"]
        for row in true_cells.visible(true_cells.fold(account.company_model.events), table)
    ]


def frames(account: sandbox.SandboxAccount, **options: object) -> dict[str, pd.DataFrame]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return {name: getattr(account, name)(**options) for name in MOVING}


def test_after_a_week_a_refresh_is_as_good_as_a_reload(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=5,
        deals=1_100,
        cache_dir=tmp_path,
        company="hostile",
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
        metadata_age=0,
        deletions_age=0,
    ) as account:
        first = account.sync()
        # A short life in `make test`, and longer ones in test_life.py.
        for _ in range(3 if tiers.TIER == "check" else 1):
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
                    if column.endswith("_count")
                    or column.endswith("_activity_id")
                    or "_mail_" in column
                ]
                pd.testing.assert_frame_equal(
                    refreshed[name].drop(columns=stale), reloaded[name].drop(columns=stale)
                )
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
def test_a_deleted_deal_is_detected_whether_or_not_that_moves_its_update_time(moves: bool) -> None:
    switches = sandbox.Switches(deleting_moves_update_time=moves)
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
        deal = int(account.deals()["id"].iloc[0])
        account.company_model.delete_deal(deal)
        assert deal not in account.deals(refresh=True)["id"].tolist()


@pytest.mark.parametrize("moves", [True, False])
def test_an_archived_deal_is_detected_by_a_reload_whether_or_not_that_moves_its_update_time(
    moves: bool,
) -> None:
    switches = sandbox.Switches(archiving_moves_update_time=moves)
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
        deal = int(account.deals(archived=False)["id"].iloc[0])
        account.company_model.archive_deal(deal)
        assert deal in account.deals(refresh="full")["id"].tolist()
        assert deal not in account.deals(refresh=False, archived=False)["id"].tolist()


@pytest.mark.parametrize("moves", [True, False])
def test_line_items_follow_their_deals(moves: bool) -> None:
    switches = sandbox.Switches(line_edits_move_update_time=moves)
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
        company = account.company_model
        lines = account.deal_products()
        counts = lines["deal_id"].value_counts()
        deal = int(counts.index[counts > 1][0])
        deleted = int(lines.loc[lines["deal_id"] == deal, "id"].iloc[0])
        company.remove_line(deleted)
        company.edit_deal(deal, title="touched")
        requested = account.server.stats.by_path["/api/v2/deals/products"][0]
        assert account.deal_products(refresh=True)["id"].tolist() == ids(account, "deal_products")
        assert account.server.stats.by_path["/api/v2/deals/products"][0] == requested + 1


def test_a_line_added_between_the_two_reads_of_deals_does_not_cost_a_request_a_deal(
    account: sandbox.SandboxAccount,
) -> None:
    account.deals()
    company = account.company_model
    alive = [
        row
        for row in true_cells.visible(true_cells.fold(company.events), "deals")
        if row["status"] == "open" and not row["is_archived"]
    ]
    line = next(
        line
        for line in company.tables["deal_products"].values()
        if line["deal_id"] in {row["id"] for row in alive}
    )
    added: list[int] = []

    def meanwhile(path: str, params: Mapping[str, str]) -> None:
        if path.endswith("/deals/products") and not added:
            again = {"item_price": 5, "quantity": 1, "billing_frequency": line["billing_frequency"]}
            added.append(company.add_line(line["deal_id"], line["product_id"], **again))

    account.server.before_request = meanwhile
    account.deal_products()
    assert added
    assert account.server.stats.by_path["/api/v2/deals/products"][0] == 1


def test_a_deal_that_moves_between_the_lists_while_they_are_walked_is_there_once() -> None:
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False, options=LONG_LISTS
    ) as account:
        company = account.company_model
        rows = true_cells.visible(true_cells.fold(company.events), "deals")
        back = next(row["id"] for row in rows if row["is_archived"])
        away = next(row["id"] for row in rows if not row["is_archived"])

        def meanwhile(path: str, params: Mapping[str, str]) -> None:
            if path.endswith("/deals/archived") and not moved:
                moved.append(True)
                company.unarchive_deal(back)
                company.archive_deal(away)

        moved: list[bool] = []
        account.server.before_request = meanwhile
        deals = account.deals().set_index("id")
        assert moved
        assert deals.index.tolist() == ids(account, "deals")
        assert deals["is_archived"][[back, away]].tolist() == [False, True]


@pytest.mark.parametrize("ahead", [0, 20_000])
def test_what_is_edited_after_a_walk_is_detected_by_the_next_snapshot(ahead: int) -> None:
    switches = sandbox.Switches(date_ahead_seconds=ahead)
    with sandbox.connect(
        seed=3,
        deals=700,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
        company = account.company_model
        first, last = (ids(account, "activities")[place] for place in (0, -1))

        def meanwhile(path: str, params: Mapping[str, str]) -> None:
            if path.endswith("/activities") and params.get("cursor") and not edited:
                edited.append(True)
                company.edit_activity(first, subject="behind the walk")
                company.advance(days=0.1)
                company.edit_activity(last, subject="before the walk")

        edited: list[bool] = []
        account.server.before_request = meanwhile
        account.activities()
        assert edited
        subjects = account.activities(refresh=True).set_index("id")["subject"]
        assert subjects[[first, last]].tolist() == ["behind the walk", "before the walk"]


def test_a_date_that_runs_ahead_loses_no_row() -> None:
    switches = sandbox.Switches(date_ahead_seconds=3600)
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
        deal = int(account.deals()["id"].iloc[0])
        account.company_model.edit_deal(deal, title="just now")
        assert account.deals(refresh=True).set_index("id")["title"][deal] == "just now"


def test_cursors_that_expire_midway_start_the_list_again() -> None:
    with sandbox.connect(
        seed=3, deals=700, company="hostile", burst=100_000, progress=False, options=LONG_LISTS
    ) as account:
        requested: list[str] = []

        def expiring(path: str, params: Mapping[str, str]) -> None:
            requested.append(path)
            if requested.count("/api/v2/deals") == 2:
                account.server.expire_cursors()

        account.server.before_request = expiring
        assert account.deals()["id"].tolist() == ids(account, "deals")
        assert (
            requested.count("/api/v2/deals") == 5
        )  # once more both pages, and the pull that closes the walk
        assert account.server.stats.statuses[400] == 1


def test_a_cursor_that_expires_every_time_is_an_error() -> None:
    switches = sandbox.Switches(cursor_lifetime=0.0)
    with sandbox.connect(
        seed=3,
        deals=700,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
        with pytest.raises(ResponseError, match="400"):
            account.deals()
        assert "deals" not in set(account.status()["table"])


def test_a_refused_cursor_of_line_items_is_an_error_of_ours() -> None:
    switches = sandbox.Switches(cursor_lifetime=0.0)
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
        lines = account.deal_products()
        deal, product = (
            int(key)
            for key in lines.loc[
                lines["billing_frequency"] == "monthly", ["deal_id", "product_id"]
            ].iloc[0]
        )
        for _ in range(501):
            account.company_model.add_line(
                deal, product, item_price=1, quantity=1, billing_frequency="monthly"
            )
        with pytest.raises(ResponseError, match="400"):
            account.deal_products(refresh=True)


@pytest.mark.parametrize("moves", [True, False])
def test_a_reopened_deal_is_open_again_after_a_reload_and_at_once_where_that_moves_its_update_time(
    moves: bool,
) -> None:
    switches = sandbox.Switches(reopening_moves_update_time=moves)
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        switches=switches,
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
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
    field = fields[fields["is_custom"] & fields["column"].notna() & fields["subfield"].isna()].iloc[
        3
    ]
    before = account.deals()[field["column"]]
    account.company_model.rename_field("deal", field["code"], "Brand new name")
    account.sync("deal_fields")
    requested = account.server.stats.requests
    after = account.deals(refresh=False)["Brand new name"]
    assert account.server.stats.requests == requested
    assert [true_cells.cell(value) for value in after] == [
        true_cells.cell(value) for value in before
    ]


def test_a_field_that_changed_its_type_reloads_the_table(account: sandbox.SandboxAccount) -> None:
    account.deals()
    company = account.company_model
    code = company.add_field("deal", "Region code", "varchar")
    deal = account.deals()["id"].iloc[0]
    company.edit_deal(int(deal), custom_fields={code: "north"})
    assert account.deals(refresh=True).set_index("id")["Region code"][deal] == "north"


def test_a_field_that_leaves_the_metadata_while_rows_still_hold_it_costs_no_refresh(
    account: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = account.company_model
    code = company.add_field("deal", "Score", "double")
    deal, other = (int(key) for key in account.deals()["id"].iloc[:2])
    for key in (deal, other):
        company.edit_deal(key, custom_fields={code: 1.5})
    account.deals(refresh=True)
    company.edit_deal(deal, title="touched")
    company.fields["deal"] = [
        field for field in company.fields["deal"] if field["field_code"] != code
    ]

    def with_the_value(path: str, params: Mapping[str, str], content: Any) -> None:
        for row in (content["data"] or []) if path == "/deals" else []:
            row["custom_fields"][code] = 1.5

    with altered(account, with_the_value, options=LONG_LISTS) as altering:
        assert altering.sync("deals").set_index("table")["mode"]["deals"] == "incremental"
    assert account.deals(refresh=False).set_index("id")[code][[deal, other]].tolist() == [
        "1.5",
        "1.5",
    ]


def test_a_composite_that_arrived_before_its_definition_keeps_its_parts(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    first, second = (int(deal) for deal in account.deals()["id"].iloc[:2])
    code = company.add_field("deal", "Warehouse", "address")
    place = {"value": "Ülikooli 1", "country": "Estonia", "locality": "Tartu"}
    company.edit_deal(first, custom_fields={code: place})
    with undeclared(account, "deal", [code]):
        account.sync("deals")
    company.edit_deal(second, custom_fields={code: place})
    account.deals(refresh=True)
    deals = account.deals(refresh=False, labels=False).set_index("id")
    assert deals[code][[first, second]].tolist() == ["Ülikooli 1"] * 2
    assert deals[f"{code}_country"][[first, second]].tolist() == ["Estonia"] * 2


def test_refresh_false_reads_the_cache_alone(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(NotCachedError, match="refresh=False"):
        account.deals(refresh=False)
    account.deals()
    account.server.stop()
    assert len(account.deals(refresh=False)) > 0


def test_lines_of_deals_that_are_refused_now_are_an_error_not_old_rows(
    account: sandbox.SandboxAccount,
) -> None:
    account.deal_products()
    with (
        altered(account, refusing("/deals", "/deals/archived"), options=LONG_LISTS) as refused,
        pytest.raises(AccessError, match="may not see"),
    ):
        refused.deal_products(refresh=True)


def test_where_line_items_are_refused_everything_else_syncs(
    account: sandbox.SandboxAccount,
) -> None:
    with altered(account, refusing("/deals/products"), options=LONG_LISTS) as refused:
        done = refused.sync().set_index("table")
        assert done["mode"][["deal_products", "installments"]].tolist() == [
            "unavailable",
            "skipped",
        ]
        assert done["note"]["installments"] == "needs deal_products"
        assert (done["mode"].drop(["deal_products", "installments"]) == "full").all()
        with pytest.raises(AccessError, match="may not see"):
            refused.installments()


def test_fields_that_are_all_refused_are_a_refusal(account: sandbox.SandboxAccount) -> None:
    def refuse(path: str, params: Mapping[str, str], content: Any) -> Reply | None:
        return fail(403, "The user may not see this.") if path.endswith("Fields") else None

    with altered(account, refuse) as refused, pytest.raises(AccessError, match="may not see"):
        refused.fields(search="price")


def test_a_clock_that_went_back_means_another_past(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=3,
        deals=60,
        cache_dir=tmp_path,
        company="hostile",
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
        account.advance(days=30)
        account.sync("deals")
    with sandbox.connect(
        seed=3,
        deals=60,
        cache_dir=tmp_path,
        company="hostile",
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
        row = account.sync("deals").set_index("table").loc["deals"]
        assert (
            row["mode"],
            row["note"].startswith("reloaded: the server's clock went back"),
        ) == ("full", True)
        assert account.deals(refresh=False)["id"].tolist() == ids(account, "deals")


def test_a_damaged_file_is_loaded_again_with_a_warning(account: sandbox.SandboxAccount) -> None:
    full = account.deals()
    part = next((account.cache_path / "deals").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    with pytest.raises(DamagedError, match="cannot be trusted"):
        account.deals(refresh=False)
    with pytest.warns(
        DataWarning, match=r"files of 'deals' are deleted, and its next load requests"
    ):
        row = account.sync("deals").set_index("table").loc["deals"]
    assert not list(account.cache_path.glob("*.aside-*"))
    assert (row["mode"], row["note"]) == (
        "full",
        "the cached copy could not be trusted: reloaded",
    )
    assert account.deals(refresh=False).equals(full)


def test_a_full_reload_of_lines_that_cannot_be_written_leaves_the_cache_as_it_was(
    account: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = account.deal_products()
    account.company_model.edit_line(int(before["id"].iloc[0]), quantity=77)

    write = pdframe.cache.store.write_atomic

    def full_disk(path: Path, content: bytes) -> None:
        if "deal_products" in path.parts:
            raise OSError(28, "No space left on device")
        write(path, content)

    with monkeypatch.context() as patched:
        patched.setattr("pdframe.cache.store.write_atomic", full_disk)
        with pytest.raises(
            CacheError, match=r"No space left on device.*every other table as it was cached before"
        ):
            account.sync("deal_products", full=True)
    assert account.deal_products(refresh=False).equals(before)


def test_columns_are_chosen_by_label_hash_or_name(account: sandbox.SandboxAccount) -> None:
    fields = account.fields("deals")
    field = fields[fields["is_custom"] & fields["column"].notna()].iloc[0]
    chosen = account.deals(columns=[field["code"], "id", "title"])
    assert list(chosen.columns) == [field["column"], "id", "title"]
    assert list(account.deals(columns=[field["column"], "id"], labels=False).columns) == [
        field["code"],
        "id",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"columns": ["titel"]}, "title"),
        ({"columns": "title"}, r"\['title'\]"),
        ({"refresh": "fulll"}, "'full'"),
        ({"refresh": 1.5}, "'full'"),
    ],
)
def test_unknown_columns_and_refreshes_are_refused(
    account: sandbox.SandboxAccount, options: dict[str, object], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        account.deals(**options)  # type: ignore[arg-type]


def test_an_error_of_the_budget_names_the_cached_table_where_there_is_one() -> None:
    with sandbox.connect(
        seed=3, deals=20, company="hostile", burst=100_000, max_tokens=60
    ) as account:
        rows = len(account.stages())
        with pytest.raises(
            BudgetError, match=r"kept\. account\.stages\(refresh=False\) reads the cached table\.$"
        ):
            _ = [account.stages(refresh=True) for _ in range(12)]
        assert len(account.stages(refresh=False)) == rows
        with pytest.raises(BudgetError) as caught:
            account.projects()
        assert "refresh=False" not in str(caught.value)


def test_unknown_tables_are_refused(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(ArgumentError, match="Did you mean 'deals'"):
        account.sync("dealz")
    with pytest.raises(ArgumentError, match="no field metadata"):
        account.fields("stages")
    with pytest.raises(ArgumentError, match=r"no table 'Deal type'\. Did you mean 'deals'"):
        account.fields("Deal type")
    assert account.server.stats.requests == 0


@pytest.mark.parametrize("wrong", [["deals"], None, 3, ("deals", "stages"), {"deals"}])
def test_what_is_no_name_of_a_table_is_refused(
    account: sandbox.SandboxAccount, wrong: object
) -> None:
    # `fields(None)` gives the fields of all tables.
    for ask in (account.sync, account.estimate, *([] if wrong is None else [account.fields])):
        with pytest.raises(
            ArgumentError, match=r"an argument of its own: account\.sync\('deals', 'stages'\)"
        ):
            ask(wrong)  # type: ignore[operator]
    with pytest.raises(ArgumentError, match="full must be True or False"):
        account.sync("stages", full="no")  # type: ignore[arg-type]
    assert account.server.stats.requests == 0


def test_a_sync_long_after_an_interrupted_one_skips_nothing() -> None:
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        burst=100_000,
        progress=False,
        max_age=None,
        options=LONG_LISTS,
    ) as account:
        account.server.faults = sandbox.Faults(at={4: "success_false_200"})
        with pytest.raises(ResponseError):
            account.sync("stages", "pipelines", "products")
        account.server.faults = None
        syncer = syncer_of(account)
        syncer.now = lambda: datetime.now(UTC) + timedelta(days=60)
        assert {
            row.mode for row in syncer.sync(["stages", "pipelines", "products"], max_age=None)
        } == {"full"}


def test_pages_that_are_too_old_to_resume_leave_no_row_in_a_later_resumption() -> None:
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        burst=100_000,
        progress=False,
        options=SyncOptions(page_size=10),
    ) as account:

        def sync(days: int, *, breaks_at: int = 0) -> None:
            fail_at(account.server, "/deals", breaks_at)
            syncer = syncer_of(account)
            syncer.now = lambda: datetime.now(UTC) + timedelta(days=days)
            with pytest.raises(ResponseError) if breaks_at else nullcontext():
                syncer.sync(["deals"])

        first = ids(account, "deals")[0]
        sync(0, breaks_at=4)
        account.company_model.hide("deals", first)
        sync(40, breaks_at=4)
        sync(40)
        assert first not in account.deals(refresh=False)["id"].tolist()


def test_after_forty_days_at_the_server_no_deleted_deal_is_left(
    account: sandbox.SandboxAccount,
) -> None:
    deal = int(account.deals()["id"].iloc[0])
    account.company_model.delete_deal(deal)
    account.advance(days=40)
    row = account.sync("deals").set_index("table").loc["deals"]
    assert (row["mode"], row["note"]) == (
        "full",
        "reloaded: deletions are listed for 30 days alone",
    )
    assert account.deals(refresh=False)["id"].tolist() == ids(account, "deals")


def test_one_row_from_the_future_hides_nothing_that_follows(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    first, second = (int(deal) for deal in account.deals()["id"].iloc[:2])
    company.tables["deals"][first]["update_time"] = "2099-01-01T00:00:00Z"
    company.edit_deal(second, title="one")
    company.tables["deals"][first]["update_time"] = "2099-01-01T00:00:00Z"
    account.sync("deals")
    company.edit_deal(second, title="two")
    assert account.deals(refresh=True).set_index("id")["title"][second] == "two"


def test_status_shows_what_is_cached(account: sandbox.SandboxAccount) -> None:
    account.deals()
    status = account.status().set_index("table")
    assert list(status.index) == ["deals", "deal_fields"]
    assert status["rows"]["deals"] == len(account.deals())
    assert status["bytes"]["deals"] == sum(
        path.stat().st_size for path in (account.cache_path / "deals").glob("*.parquet")
    )
    assert str(status["full_at"].dtype) == "datetime64[us, UTC]"
    now = pd.Timestamp.now("UTC")
    for column in ("synced_at", "full_at"):
        assert status[column].dt.microsecond.eq(0).all()
        assert (now - status[column]).between(pd.Timedelta(0), pd.Timedelta("1min")).all()


def test_status_of_an_empty_cache_has_no_row_and_every_dtype(
    account: sandbox.SandboxAccount,
) -> None:
    status = account.status()
    assert len(status) == 0
    account.stages()
    assert status.dtypes.equals(account.status().dtypes)


def test_status_shows_a_damaged_table_with_nulls(account: sandbox.SandboxAccount) -> None:
    account.stages()
    (account.cache_path / "stages" / "manifest.json").write_text("{")
    assert account.status().set_index("table")["rows"].isna().to_dict() == {"stages": True}


def test_what_the_plan_withholds_is_unavailable_and_harms_nothing_else() -> None:
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        plan="Lite",
        burst=100_000,
        progress=False,
        options=LONG_LISTS,
    ) as account:
        done = account.sync().set_index("table")
        assert done.index[done["mode"] == "unavailable"].tolist() == ["installments"]
        assert done["rows"]["deals"] > 0
        with pytest.raises(AccessError, match="plan"):
            account.installments()

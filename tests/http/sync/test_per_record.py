"""What the API gives record by record: what it costs, what is asked again, going on after an
interruption, and ids that are not there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import pdframe
from pdframe import DataWarning, sandbox
from pdframe.cache.checkpoint import Checkpoint
from pdframe.cache.store import Manifest, Store
from pdframe.errors import ArgumentError, BudgetError, CacheError, NotCachedError, ResponseError
from pdframe.schema import TABLES
from pdframe.sync import DEFAULT_OPTIONS, SyncOptions
from pdframe.sync.fetch_state import state_name
from tests.helpers import tiers, true_cells
from tests.helpers.faults_by_path import interrupted
from tests.helpers.internals import client_of
from tests.helpers.tuning import connected_again

# The company deletes options while rows hold them, and loaders of deals say so.
pytestmark = pytest.mark.filterwarnings("ignore:deals, column:pdframe.errors.DataWarning")
EVERY = ["deal_changes", "project_changes", "discounts", "product_variations"]
FOLLOWERS = [name for name, table in TABLES.items() if table.parent and not table.parent.every]


def requested(account: sandbox.SandboxAccount, table: str) -> list[int]:
    """The records that were asked for their rows, as the requests came."""
    path = TABLES[table].sources[0].path
    return [
        int(e.path.split("/")[4])
        for e in account.server.requests
        if e.template.endswith(path) and e.status != 0
    ]


def records(account: sandbox.SandboxAccount, table: str) -> list[int]:
    parent = TABLES[table].parent
    assert parent is not None
    state = true_cells.fold(account.company_model.events)
    rows = [row["id"] for row in true_cells.visible(state, parent.table)]
    if table == "discounts":
        with_lines = {row["deal_id"] for row in state["deal_products"].values()}
        rows = [deal for deal in rows if deal in with_lines]
    return rows


# What it costs


@pytest.mark.parametrize("table", EVERY)
def test_every_record_is_fetched_once_and_within_max_age_never_again(
    account: sandbox.SandboxAccount, table: str
) -> None:
    first = getattr(account, table)()
    assert sorted(requested(account, table)) == sorted(records(account, table))
    path = next(
        path
        for path in account.server.stats.by_path
        if path.endswith(TABLES[table].sources[0].path)
    )
    assert (
        account.server.stats.by_path[path][1]
        == len(records(account, table)) * TABLES[table].sources[0].cost
    )
    spent = account.server.stats.requests
    assert getattr(account, table)().equals(first)
    assert account.server.stats.requests == spent


@pytest.mark.parametrize("table", FOLLOWERS)
def test_followers_cost_a_request_a_record_and_nothing_else(
    account: sandbox.SandboxAccount, table: str
) -> None:
    parent = TABLES[table].parent
    assert parent is not None
    ids = [
        row["id"]
        for row in true_cells.visible(true_cells.fold(account.company_model.events), parent.table)
    ][:4]
    frame = getattr(account, table)(ids)
    assert sorted(requested(account, table)) == sorted(ids)
    assert account.server.stats.tokens == 10 * len(ids) + 2
    assert set(frame[parent.id]) <= set(ids)
    getattr(account, table)(ids[:2])
    assert sorted(requested(account, table)) == sorted(ids)


def test_changes_of_given_deals_do_not_load_the_deals(account: sandbox.SandboxAccount) -> None:
    low, high = records(account, "deal_changes")[:2]
    account.deal_changes([high, low, low])
    # Side by side, in whatever order.
    paths = sorted(entry.path for entry in account.server.requests[1:])
    assert paths == sorted([f"/api/v1/deals/{low}/changelog", f"/api/v1/deals/{high}/changelog"])
    assert account.server.stats.tokens == 42


def test_a_deal_is_fetched_again_only_when_it_changed(account: sandbox.SandboxAccount) -> None:
    account.deal_changes()
    state = true_cells.fold(account.company_model.events)
    newest = max(true_cells.visible(state, "deals"), key=lambda row: row["update_time"])["id"]
    deals = [
        row["id"]
        for row in true_cells.visible(state, "deals")
        if row["status"] == "open" and row["id"] != newest
    ][:2]
    for deal in deals:
        account.company_model.edit_deal(deal, title=f"Renamed {deal}")
    before = len(requested(account, "deal_changes"))
    changes = account.deal_changes(refresh=True)
    # The deal that changed last before the first load might have changed again in that same second.
    assert set(requested(account, "deal_changes")[before:]) == {*deals, newest}
    for deal in deals:
        last = changes[changes["deal_id"] == deal].iloc[-1]
        assert (last["field_key"], last["new_value"]) == ("title", f"Renamed {deal}")


@pytest.mark.parametrize("with_ids", [True, False])
def test_what_the_cached_deals_show_to_have_changed_is_fetched_at_once(
    account: sandbox.SandboxAccount, with_ids: bool
) -> None:
    account.deal_changes()
    company = account.company_model
    chosen = account.deals(refresh=False, archived=False)["id"].tolist()[:3]
    company.now += 60
    for deal in chosen[:2]:
        company.edit_deal(deal, title=f"Renamed {deal}")
    fetched = len(requested(account, "deal_changes"))
    with connected_again(account, max_age="15min") as other:
        # The cache knows of no change yet, and the changelogs are young.
        other.deal_changes(chosen)
        assert len(requested(account, "deal_changes")) == fetched
        account.sync("deals")
        before = account.server.stats.tokens
        kept = other.deal_changes(chosen, refresh=False)
        assert account.server.stats.tokens == before
        ids = chosen if with_ids else None
        for _ in range(2):
            changes = other.deal_changes(ids)
            assert sorted(requested(account, "deal_changes")[fetched:]) == sorted(chosen[:2])
            assert account.server.stats.tokens == before + 2 * 20
    for deal in chosen[:2]:
        last = changes[changes["deal_id"] == deal].iloc[-1]
        assert (last["field_key"], last["new_value"]) == ("title", f"Renamed {deal}")
    assert len(kept) == len(changes[changes["deal_id"].isin(chosen)]) - 2


def test_without_an_age_what_is_cached_costs_no_request(account: sandbox.SandboxAccount) -> None:
    chosen = account.deals(archived=False)["id"].tolist()[:3]
    account.deal_changes(chosen[:2])
    account.company_model.now += 60
    account.company_model.edit_deal(chosen[0], title="Renamed")
    account.sync("deals")
    before = account.server.stats.requests
    with connected_again(account, max_age=None) as other:
        cached = other.deal_changes(chosen[:2], names=False)
        assert "Renamed" not in cached["new_value"].tolist()
        assert account.server.stats.requests == before
        # A deal that was never fetched costs its own request alone; refresh=True asks for changes.
        other.deal_changes(chosen, names=False)
        assert account.server.stats.requests == before + 1
        fresh = other.deal_changes(chosen[:2], names=False, refresh=True)
        assert fresh["new_value"].tolist().count("Renamed") == 1


def test_changes_that_were_fetched_before_the_deals_are_fetched_again_if_older(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    low, high = records(account, "deal_changes")[:2]
    company.now += 60
    account.deal_changes([low, high])
    company.now += 60
    company.edit_deal(high, title="Renamed since")
    account.deals()
    before = account.server.stats.tokens
    for _ in range(2):
        changes = account.deal_changes([low, high])
        assert requested(account, "deal_changes")[2:] == [high]
        assert account.server.stats.tokens == before + 20
    assert changes["new_value"].iloc[-1] == "Renamed since"


def test_a_change_in_the_second_of_the_load_is_detected_by_the_next_one(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    deal = int(account.deals(archived=False)["id"].iloc[0])
    company.edit_deal(deal, title="first")
    account.deal_changes(refresh=True)
    company.now -= 1  # the next write falls into the second of the one before
    company.edit_deal(deal, title="second")
    changes = account.deal_changes(refresh=True)
    assert changes[(changes["deal_id"] == deal) & (changes["field_key"] == "title")][
        "new_value"
    ].tolist()[-2:] == ["first", "second"]
    company.now += 60
    before = len(requested(account, "deal_changes"))
    for _ in range(3):
        account.deal_changes(refresh=True)
    # One more look proves that its second was over; then it rests.
    assert requested(account, "deal_changes")[before:] == [deal]


def test_a_reopened_deal_is_fetched_again_though_its_update_time_did_not_move() -> None:
    switches = sandbox.Switches(reopening_moves_update_time=False)
    with sandbox.connect(
        seed=3, deals=60, company="hostile", switches=switches, burst=100_000, progress=False
    ) as account:
        deals = account.deals()
        account.deal_changes()
        deal = int(deals[(deals["status"] == "lost") & ~deals["is_archived"]]["id"].iloc[0])
        account.company_model.reopen_deal(deal)
        account.sync("deals", full=True)
        changes = account.deal_changes(refresh=True)
        last = changes[(changes["deal_id"] == deal) & (changes["field_key"] == "status")].iloc[-1]
        assert (last["old_value"], last["new_value"]) == ("lost", "open")


def test_discounts_follow_their_deals(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    with_lines = records(account, "discounts")
    before = account.discounts()
    state = true_cells.fold(company.events)
    deal = next(deal for deal in with_lines if state["deals"][deal]["status"] == "open")
    new = company.add_discount(deal, 5, description="five")
    after = account.discounts(refresh=True)
    assert set(after["id"]) - set(before["id"]) == {new}
    company.remove_discount(new)
    assert account.discounts(refresh=True)["id"].tolist() == before["id"].tolist()


def test_full_asks_for_everything_again(account: sandbox.SandboxAccount) -> None:
    account.discounts()
    account.discounts(refresh="full")
    assert sorted(requested(account, "discounts")) == sorted(records(account, "discounts") * 2)


# Interruptions


@pytest.fixture
def small() -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=3, deals=14, company="hostile", burst=100_000, progress=False
    ) as account:
        yield account


@pytest.mark.slow
@pytest.mark.parametrize("table", ["deal_changes", "product_variations"])
@pytest.mark.parametrize(("max_age", "workers"), [("15min", 1), ("15min", 16), (0, 16)])
def test_an_interruption_at_any_request_costs_that_request_alone(
    table: str, max_age: Any, workers: int
) -> None:
    options = SyncOptions(workers=workers)
    with sandbox.connect(
        seed=3, deals=14, company="hostile", burst=100_000, progress=False, options=options
    ) as undisturbed:
        full = getattr(undisturbed, table)()
        count = len(requested(undisturbed, table))
        ahead = undisturbed.server.stats.requests - count
    assert count > 9
    for k in tiers.places(range(1, count + 1, 1 if count < 20 else 7), 4):
        with sandbox.connect(
            seed=3,
            deals=14,
            company="hostile",
            burst=100_000,
            progress=False,
            max_age=max_age,
            options=options,
        ) as account:
            account.server.faults = sandbox.Faults(at={ahead + k: "success_false_200"})
            with pytest.raises(ResponseError, match="success: false") as caught:
                getattr(account, table)()
            # Those that were answered before are kept, and those that were under way with it.
            reported = re.search(r"of the (\d+) .*the other (\d+)\.", caught.value.kept)
            kept, rest = map(int, reported.groups()) if reported else (0, count)
            assert kept + rest == count
            assert kept == k - 1 or (workers > 1 and kept >= k)
            assert getattr(account, table)().equals(full)
            times = Counter(requested(account, table))
            assert times.total() == count + 1


def test_a_budget_that_runs_out_is_resumed_the_next_day(small: sandbox.SandboxAccount) -> None:
    small.deals()
    budget = client_of(small).budget
    budget.max_tokens = budget.tokens_today + 19
    with pytest.raises(BudgetError, match=r"What was cached before is kept\.$"):
        small.deal_changes()
    for _ in range(2):
        budget.max_tokens = budget.tokens_today + 80
        with pytest.raises(BudgetError, match="Kept: deal_changes of the 4 deals") as caught:
            small.deal_changes()
        assert caught.value.resume_at is not None
        # The cache has no frame of all deals yet.
        assert "refresh=False" not in str(caught.value)
    budget.max_tokens = None
    frame = small.deal_changes()
    assert sorted(requested(small, "deal_changes")) == sorted(records(small, "deal_changes"))
    assert len(frame) == len(
        true_cells.by_record(
            small.company_model, "deal_changes", "deal_id", records(small, "deal_changes")
        )
    )
    budget.max_tokens = 0
    with pytest.raises(BudgetError, match=r"kept. account.deal_changes\(refresh=False\) reads"):
        small.deal_changes(refresh=True)
    assert small.deal_changes(refresh=False).equals(frame)


def test_a_full_reload_that_was_interrupted_resumes(small: sandbox.SandboxAccount) -> None:
    small.product_variations()
    count = len(requested(small, "product_variations"))
    client_of(small).budget.max_tokens = (
        small.tokens_today + 120
    )  # two requests for the list of products, ten for variations
    with pytest.raises(BudgetError):
        small.product_variations(refresh="full")
    done = len(requested(small, "product_variations")) - count
    assert 8 <= done <= 12
    client_of(small).budget.max_tokens = None
    small.product_variations(refresh="full")
    assert sorted(requested(small, "product_variations")[count:]) == sorted(
        records(small, "product_variations")
    )
    small.product_variations(refresh="full")
    assert len(requested(small, "product_variations")) == 3 * count


def test_what_was_interrupted_is_not_reported_as_complete(small: sandbox.SandboxAccount) -> None:
    small.deals()
    client_of(small).budget.max_tokens = small.tokens_today + 80
    with pytest.raises(BudgetError):
        small.deal_changes()
    with pytest.raises(NotCachedError, match="is not cached for every one of the deals"):
        small.deal_changes(refresh=False)
    some = requested(small, "deal_changes")
    assert set(small.deal_changes(some, refresh=False)["deal_id"]) <= set(some)


def test_a_keyboard_interrupt_keeps_what_was_finished(small: sandbox.SandboxAccount) -> None:
    with interrupted(small.server, "changelog", 6):
        small.deal_changes()
    small.deal_changes()
    # What was under way then is not waited for, and asked again.
    times = Counter(requested(small, "deal_changes"))
    assert sorted(times) == sorted(records(small, "deal_changes"))
    assert times.total() < len(times) + DEFAULT_OPTIONS.workers


def test_progress_is_saved_midway(small: sandbox.SandboxAccount) -> None:
    seen = []

    def count(path: str, params: Mapping[str, str]) -> None:
        if path.endswith("changelog"):
            staged = (small.cache_path / "deal_changes" / "pending").glob("note-*")
            seen.append(sum(pa.ipc.open_stream(path).read_all().num_rows for path in staged))

    small.server.before_request = count
    # With more workers, a request is sent before the answers to earlier ones are saved.
    options = SyncOptions(save_every_records=3, workers=1)
    with connected_again(small, options=options) as account:
        account.deal_changes()
    assert seen == [number // 3 * 3 for number in range(len(seen))]


def test_a_cursor_that_expires_midway_starts_that_record_again(
    small: sandbox.SandboxAccount,
) -> None:
    deal = records(small, "deal_changes")[0]
    for number in range(600):
        small.company_model.edit_deal(deal, title=f"title {number}")
    pages = 0

    def expire(path: str, params: Mapping[str, str]) -> None:
        nonlocal pages
        pages += path.endswith("changelog")
        if pages == 2:
            pages += 1
            small.server.expire_cursors()

    small.server.before_request = expire
    changes = small.deal_changes(deal)
    assert changes["new_value"].tolist()[-600:] == [f"title {number}" for number in range(600)]
    assert small.server.stats.statuses[400] == 1


# Ids, and what is gone


def test_an_unknown_id_gives_a_warning_and_costs_once(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    deal = next(
        deal for deal in records(account, "deal_changes") if company.followers("deal", deal)
    )
    with pytest.warns(
        DataWarning,
        match=r"deal_followers: the API does not know the deals 77777, 88888; .* no rows here",
    ):
        frame = account.deal_followers([deal, 77777, 88888])
    assert set(frame["deal_id"]) == {deal}
    with pytest.warns(DataWarning, match="88888"):
        account.deal_followers([88888], refresh=False)
    assert sorted(requested(account, "deal_followers")) == sorted([deal, 77777, 88888])


def test_the_past_of_a_deleted_deal_remains(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    before = account.deal_changes()
    account.discounts()
    deal = int(account.discounts()["deal_id"].iloc[0])
    company.delete_deal(deal)
    after = account.deal_changes(refresh=True)
    assert (
        after[after["deal_id"] == deal]
        .reset_index(drop=True)
        .equals(before[before["deal_id"] == deal].reset_index(drop=True))
    )
    assert deal not in account.discounts(refresh=True)["deal_id"].tolist()
    with pytest.warns(DataWarning, match="Rows that were cached before are shown"):
        given = account.deal_changes([deal], refresh=True)
    assert len(given) == (before["deal_id"] == deal).sum()


def test_a_follower_who_left_is_missing_and_both_are_reported(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    deal = records(account, "deal_changes")[0]
    user = next(
        user
        for user in company.tables["users"]
        if user not in {f["user_id"] for f in company.followers("deal", deal)}
    )
    company.follow("deal", deal, user)
    assert user in account.deal_followers(deal)["user_id"].tolist()
    account.deal_follower_changes(deal)
    company.unfollow("deal", deal, user)
    assert user not in account.deal_followers(deal, refresh=True)["user_id"].tolist()
    assert account.deal_follower_changes(deal, refresh=True)["action"].tolist()[-2:] == [
        "added",
        "removed",
    ]


def test_a_list_whose_records_are_all_unknown_is_an_error() -> None:
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False, max_age=None
    ) as account:
        for deal in account.deals()["id"]:
            account.company_model.delete_deal(int(deal))
        with pytest.raises(
            ResponseError, match=r"first 5 deals .* account.sync\('deals', full=True\)"
        ):
            account.deal_changes()


@pytest.mark.parametrize(
    "ids",
    [
        "12",
        [1, "2"],
        [0],
        [-3],
        [True],
        True,
        [2**63],
        1.5,
        [2.5],
        object(),
        pd.DataFrame({"id": [1]}),
    ],
)
def test_what_is_no_id_is_refused_before_anything_is_fetched(
    account: sandbox.SandboxAccount, ids: Any
) -> None:
    with pytest.raises(ArgumentError, match=r"integers: account\.deal_changes"):
        account.deal_changes(ids)
    assert account.server.stats.requests == 0


def test_ids_are_lists_columns_or_one_number(account: sandbox.SandboxAccount) -> None:
    column = pd.Series([2, None, 1, 2], dtype="Int64")
    for ids in (
        [1, 2],
        (2, 1),
        {1, 2},
        column,
        column.astype("float64"),
        column.dropna().to_numpy(),
        pd.Index([1, 2]),
        range(1, 3),
    ):
        account.person_followers(ids)
    account.person_followers(2)
    assert sorted(requested(account, "person_followers")) == sorted([1, 2])
    assert len(account.person_followers([])) == 0


def test_followers_are_requested_by_id(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(ArgumentError, match="needs ids"):
        account.deal_followers(None)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="'full'"):
        account.deal_changes([1], refresh="all")  # type: ignore[arg-type]


def test_refresh_false_reads_the_cache_alone(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(NotCachedError, match="Nothing of 'deal_changes' is cached"):
        account.deal_changes(refresh=False)
    one, two, three, four = records(account, "deal_changes")[:4]
    account.deal_changes([one, two])
    with pytest.raises(NotCachedError, match="is not cached for every one"):
        account.deal_changes(refresh=False)
    with pytest.raises(NotCachedError, match=f"is not cached for the deals {three}, {four}"):
        account.deal_changes([two, three, four], refresh=False)
    spent = account.server.stats.requests
    account.deal_changes([one, two], refresh=False)
    assert account.server.stats.requests == spent
    full = account.deal_changes()
    assert account.deal_changes(refresh=False).equals(full)
    assert sorted(requested(account, "deal_changes")) == sorted(records(account, "deal_changes"))


# Sync, status and damage


def test_sync_brings_them_when_they_are_named(account: sandbox.SandboxAccount) -> None:
    first = account.sync("deal_changes", "deal_followers", "discounts").set_index("table")
    assert first["mode"].to_dict() == {
        "deals": "full",
        "deal_fields": "full",
        "deal_changes": "full",
        "deal_followers": "skipped",
        "discounts": "full",
    }
    assert "account.deal_followers(ids)" in first["note"]["deal_followers"]
    assert (
        first["added"]["deal_changes"]
        == first["rows"]["deal_changes"]
        == len(account.deal_changes(refresh=False))
    )
    assert first["tokens"]["deal_changes"] == 20 * len(records(account, "deal_changes"))
    deal = records(account, "deal_changes")[0]
    account.deal_followers([deal])
    user = next(
        user
        for user in account.company_model.tables["users"]
        if user not in account.deal_followers([deal])["user_id"].tolist()
    )
    account.company_model.follow("deal", deal, user)
    second = account.sync("deal_followers").set_index("table").loc["deal_followers"]
    assert (second["mode"], second["added"], second["tokens"]) == ("incremental", 1, 10)
    third = account.sync("discounts", full=True).set_index("table").loc["discounts"]
    assert (third["mode"], third["added"], third["changed"], third["removed"]) == ("full", 0, 0, 0)
    status = account.status().set_index("table")
    assert status["tokens"]["deal_changes"] == first["tokens"]["deal_changes"]
    assert "project_changes" not in status.index


def test_a_budget_that_runs_out_in_sync_says_what_is_kept(small: sandbox.SandboxAccount) -> None:
    small.deals()
    client_of(small).budget.max_tokens = small.tokens_today + 50 + 60
    with pytest.raises(
        BudgetError, match=r"Kept: deals, deal_fields|Kept: deal_fields, deals"
    ) as caught:
        small.sync("deal_changes")
    assert "deal_changes of the 3 deals" in caught.value.kept


def test_a_damaged_copy_is_loaded_again_with_a_warning(account: sandbox.SandboxAccount) -> None:
    full = account.discounts()
    for name in ("discounts", state_name("discounts")):
        part = next((account.cache_path / name).glob("*.parquet"))
        part.write_bytes(b"no parquet")
        with pytest.raises(CacheError, match="cannot be trusted"):
            account.discounts(full["deal_id"], refresh=False)
        with pytest.warns(DataWarning, match=f"files of '{name}' are deleted"):
            account.sync("discounts")
        assert account.discounts(refresh=False).equals(full)


@pytest.mark.parametrize("load", ["one deal", "all deals", "a sync"])
def test_changes_whose_manifest_is_lost_are_quarantined_and_not_thrown_away(
    load: str, small: sandbox.SandboxAccount
) -> None:
    """Of a deal that is deleted by then, the API tells no changes any more."""
    deleted, *others = records(small, "deal_changes")
    bring = {
        "one deal": lambda: small.deal_changes([deleted]),
        "all deals": small.deal_changes,
        "a sync": lambda: small.sync("deal_changes"),
    }[load]
    bring()
    kept = small.deal_changes([deleted], refresh=False)
    folder = small.cache_path / "deal_changes"
    (folder / "manifest.json").unlink()
    small.company_model.delete_deal(deleted)
    with pytest.raises(NotCachedError):
        small.deal_changes([deleted], refresh=False)
    with pytest.warns(
        DataWarning, match=r"its manifest is missing.*quarantined as deal_changes.aside-1"
    ):
        small.deal_changes(others, refresh=True)
    copies = sorted((small.cache_path / "deal_changes.aside-1").glob("*.parquet"))
    result = pd.concat([pd.read_parquet(path, columns=["deal_id", "new_value"]) for path in copies])
    assert (
        (result[result["deal_id"] == deleted]["new_value"].tolist())
        == kept["new_value"].tolist()
        != []
    )
    assert sorted(small.deal_changes(refresh=True)["deal_id"].unique()) == sorted(others)


@pytest.mark.filterwarnings("error::pdframe.errors.DataWarning")
@pytest.mark.parametrize("step", range(1, 4))
@pytest.mark.parametrize("call", ["write_parts", "publish"])
def test_an_interruption_of_the_first_save_is_no_damage(
    call: str, step: int, small: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, done = getattr(Store, call), [0]

    def interrupted(self: Store, manifest: Manifest, *arguments: Any, **options: Any) -> Any:
        result = before(self, manifest, *arguments, **options)
        done[0] += manifest.table.startswith("deal_changes")
        if done[0] == step:
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patched:
        patched.setattr(Store, call, interrupted)
        with pytest.raises(KeyboardInterrupt):
            small.deal_changes()
    if (call, step) != ("publish", 3):
        with pytest.raises(NotCachedError):
            small.deal_changes(refresh=False)
    small.sync("deal_changes")
    assert sorted(small.deal_changes(refresh=False)["deal_id"].unique()) == sorted(
        records(small, "deal_changes")
    )


@pytest.mark.parametrize("step", range(1, 6))
def test_records_whose_rows_were_lost_are_fetched_again_after_any_interruption(
    step: int, small: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their fetch states are not lost with the rows, and must not count."""
    full, publish, written = small.deal_changes(), Store.publish, [0]
    next((small.cache_path / "deal_changes").glob("*.parquet")).write_bytes(b"no parquet")

    def dying(self: Store, manifest: Manifest) -> Manifest:
        if manifest.table.startswith("deal_changes"):
            written[0] += 1
            if written[0] >= step:
                raise KeyboardInterrupt
        return publish(self, manifest)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "publish", dying)
        with (
            connected_again(small, options=SyncOptions(save_every_records=1, workers=1)) as account,
            pytest.warns(DataWarning, match="quarantined"),
            pytest.raises(KeyboardInterrupt),
        ):
            account.sync("deal_changes")
    small.sync("deal_changes")
    assert small.deal_changes(refresh=False).equals(full)


def test_an_interruption_right_after_a_save_is_one(
    small: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files that the commit replaced are deleted by then."""
    publish, published = Store.publish, [0]

    def interrupted(self: Store, manifest: Manifest) -> Manifest:
        written = publish(self, manifest)
        if manifest.table == "deal_changes":
            published[0] += 1
            if published[0] == 2:
                raise KeyboardInterrupt
        return written

    with monkeypatch.context() as patched:
        patched.setattr(Store, "publish", interrupted)
        with (
            connected_again(small, options=SyncOptions(save_every_records=2)) as account,
            pytest.raises(KeyboardInterrupt),
        ):
            account.deal_changes()
    frame = small.deal_changes()
    assert sorted(frame["deal_id"].unique()) == sorted(records(small, "deal_changes"))
    assert (
        Counter(requested(small, "deal_changes")).total()
        < len(records(small, "deal_changes")) + DEFAULT_OPTIONS.workers
    )


def test_an_interruption_while_answers_are_staged_neither_loses_nor_repeats_a_row(
    small: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sandbox.connect(
        seed=3, deals=14, company="hostile", burst=100_000, progress=False
    ) as undisturbed:
        full = undisturbed.deal_changes()
    for name in ("append", "compact"):
        stage, staged = getattr(Checkpoint, name), [0]

        def interrupted(
            self: Checkpoint, *arguments: Any, stage: Any = stage, staged: list[int] = staged
        ) -> Any:
            result = stage(self, *arguments)
            staged[0] += 1
            if staged[0] == 2:
                raise KeyboardInterrupt
            return result

        with monkeypatch.context() as patched:
            patched.setattr(Checkpoint, name, interrupted)
            with (
                connected_again(
                    small, options=SyncOptions(save_every_records=2, buffer_bytes=100)
                ) as account,
                pytest.raises(KeyboardInterrupt),
            ):
                account.deal_changes(refresh="full")
        assert small.deal_changes(refresh="full").equals(full)


def test_phases_of_a_board_that_is_missing_are_none() -> None:
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False, max_age=None
    ) as account:
        first, second = account.boards()["id"]
        account.company_model.hide("boards", int(first))
        assert set(account.phases()["board_id"]) == {second}

    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False, max_age=None
    ) as account:
        for board in account.boards()["id"]:
            account.company_model.hide("boards", int(board))
        with pytest.raises(ResponseError, match="404"):
            account.phases()


def test_a_withheld_list_withholds_the_tables_that_need_it(tmp_path: Any) -> None:
    from pdframe.sandbox.server import ALL_SCOPES, OAuthClient, Server

    app = OAuthClient(
        "app",
        "app-secret",
        "grant-1",
        scopes=ALL_SCOPES - {"projects:read", "projects:full", "users:read"},
    )
    with Server(sandbox.Company(seed=3, deals=60), oauth_clients=[app], burst=100_000) as server:
        grant = pdframe.OAuth("app", "app-secret", "grant-1", token_url=f"{server.url}/oauth/token")
        with pdframe.connect(
            oauth=grant, base_url=server.url, cache_dir=tmp_path, progress=False
        ) as account:
            done = account.sync("phases", "stages").set_index("table")["mode"].to_dict()
            assert done == {"stages": "full", "boards": "unavailable", "phases": "skipped"}
            for load in (account.phases, account.project_changes, account.tasks):
                with pytest.raises(pdframe.errors.AccessError, match="scope"):
                    load()
            with pytest.warns(
                DataWarning, match="owner_name is null because table 'users' is unavailable"
            ):
                named = account.products(names=True)
            assert named["owner_name"].isna().all()


def test_a_run_that_was_killed_after_its_commit_is_not_resumed(
    account: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill(self: Checkpoint) -> None:
        raise Killed

    deal = int(account.deals()["id"].iloc[0])
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "drop", kill)
        # The kill is after the commit: what is staged before it is dropped at the first load.
        patch.setattr(Checkpoint, "load", lambda self: None)
        with pytest.raises(Killed):
            account.deal_changes([deal])
    before = account.deal_changes([deal], refresh=False)
    assert len(before)
    account.company_model.edit_deal(deal, title="Another title")
    assert len(account.deal_changes([deal], refresh=True)) == len(before) + 1

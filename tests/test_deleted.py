"""`account.deals(deleted=True)`: deals that were deleted, merged, restored or lost from sight, over real HTTP.

The oracle is the company itself: which deals it deleted, and when.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import pdframe
from pdframe import metrics, sandbox
from pdframe.deleted import DeletedDeals
from pdframe.errors import ArgumentError, DamagedError, DataWarning, NotCachedError
from pdframe.sync import way

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

DAY = 86_400


@pytest.fixture(params=["reloads", "changes"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Short lists are read as a whole, long ones by what changed."""
    if request.param == "changes":
        monkeypatch.setattr(way, "PAGE", 0)
    return str(request.param)


@pytest.fixture
def account() -> Iterator[sandbox.SandboxAccount]:
    with company() as account:
        yield account


def company(cache_dir: Path | None = None, **switches: bool) -> sandbox.SandboxAccount:
    """A company of 60 deals; every call looks."""
    how = sandbox.Switches(**switches)
    return sandbox.connect(seed=3, deals=60, cache_dir=cache_dir, switches=how, burst=100_000, progress=False, max_age=0)


def another(account: sandbox.SandboxAccount, cache_dir: Path) -> pdframe.Account:
    """The same company over a fresh cache."""
    return pdframe.connect(base_url=account.server.url, api_token=account.server.token, cache_dir=cache_dir, progress=False, max_age=0)


def time(seconds: float) -> pd.Timestamp:
    return pd.Timestamp(seconds, unit="s", tz="UTC")


def open_deals(account: sandbox.SandboxAccount, count: int) -> list[int]:
    """Open deals with line items, that no other test data speaks of."""
    model = account.company_model
    there = [row for row in model.tables["deals"].values() if ("deals", row["id"]) not in model.deleted_at]
    found = [row["id"] for row in there if row["status"] == "open" and not row["is_archived"]]
    for deal in found[:count]:
        if not model.lines_of(deal):
            product = next(iter(model.tables["products"]))
            model.add_line(deal, product, item_price=100.0, quantity=1)
    return found[:count]


def deleted_of(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["status"] == "deleted"].set_index("id")


def wins(frame: pd.DataFrame, window: dict[str, Any], **more: Any) -> list[int]:
    won: list[int] = metrics.win_rate(frame, **window, **more)["won"].tolist()
    return won


def story(account: sandbox.SandboxAccount) -> dict[str, int]:
    """Two wins, 60 days, then: one is deleted, one merged, an open deal is deleted, and one is deleted and restored."""
    model = account.company_model
    names = ("deleted", "merged", "open", "restored", "stays")
    deals = dict(zip(names, open_deals(account, 5), strict=True))
    account.sync("deals", "deal_products")
    for name in ("deleted", "merged", "restored"):
        model.win_deal(deals[name])
    deals["won_at"] = model.now
    model.now += DAY
    account.sync("deals", "deal_products")
    model.now += 60 * DAY
    account.sync("deals", "deal_products")
    model.now += DAY
    model.delete_deal(deals["deleted"])
    model.merge_deals(deals["merged"], deals["stays"])
    model.delete_deal(deals["open"])
    model.delete_deal(deals["restored"])
    model.now += DAY
    account.sync("deals", "deal_products")
    model.undelete_deal(deals["restored"])
    model.now += DAY
    account.sync("deals", "deal_products", full=True)
    return deals


@pytest.mark.parametrize("stamped", [True, False])
def test_deleted_deals_stay_with_the_time_of_their_deletion(how: str, stamped: bool) -> None:
    with company(deleting_moves_update_time=stamped) as account:
        deals, model = story(account), account.company_model
        default, frame = account.deals(), account.deals(deleted=True)
        gone = deleted_of(frame)
        expected = {deal for (table, deal) in model.deleted_at if table == "deals"} & set(frame["id"])
        assert {deals["deleted"], deals["merged"], deals["open"]} <= expected == set(gone.index)
        assert deals["restored"] in set(default["id"])
        assert gone["is_deleted"].all()
        for deal in (deals["deleted"], deals["merged"], deals["open"]):
            at, row = model.deleted_at["deals", deal], model.tables["deals"][deal]
            told = gone.loc[deal, "deleted_time"]
            if stamped:
                assert told == time(at)
            else:
                # The first look after it.
                assert time(at) < told <= time(at) + pd.Timedelta("1D 10s")
            assert (None if pd.isna(gone.loc[deal, "won_time"]) else str(gone.loc[deal, "won_time"])[:19]) == (
                row["won_time"][:19].replace("T", " ") if row["won_time"] else None
            )
            assert gone.loc[deal, "title"] == row["title"].strip() or gone.loc[deal, "title"] == row["title"]
        # Without the argument nothing differs.
        alive = frame[~frame["id"].isin(gone.index)].drop(columns="deleted_time").reset_index(drop=True)
        assert_frame_equal(alive, default)
        assert frame["id"].is_monotonic_increasing
        assert frame.loc[frame["status"] != "deleted", "deleted_time"].isna().all()
        # And nothing more is asked where only the cache may be read.
        asked = account.server.stats.requests
        assert_frame_equal(account.deals(deleted=True, refresh=False), frame)
        plain = account.deals(deleted=True, refresh=False, labels=False, columns=["id", "deleted_time", "status"])
        assert deleted_of(plain)["deleted_time"].equals(gone["deleted_time"])
        assert account.server.stats.requests == asked


def test_metrics_agree_before_and_after_the_deletion(how: str, tmp_path: Path) -> None:
    with company() as account:
        deals, model = story(account), account.company_model
        won_at = deals["won_at"]
        then, later = time(won_at + 10 * DAY), time(model.now)
        window: dict[str, Any] = {"since": time(won_at - 60), "until": time(won_at + DAY)}
        lost_too = [row["id"] for row in model.tables["deals"].values() if row["status"] == "lost"]
        assert lost_too
        kept: dict[str, pd.DataFrame] = {}
        for name, of in (("old", account), ("fresh", another(account, tmp_path))):
            kept[name] = of.deals(deleted=True)
            won = partial(wins, kept[name], window)
            assert won(as_of=then) == [3] == won(as_of=then, deleted="keep")
            assert won(as_of=later) == [1] == won()
            assert won(as_of=later, deleted="keep") == [3] == won(deleted="keep")
            assert metrics.win_rate(of.deals(), **window)["won"].tolist() == [1]
        # A fresh cache knows the deletions of 30 days alone, and of these the same.
        recent = {deal for (table, deal), at in model.deleted_at.items() if table == "deals" and model.now - at <= 30 * DAY}
        assert set(deleted_of(kept["fresh"]).index) == recent == {deals["deleted"], deals["merged"], deals["open"]}
        older = deleted_of(kept["old"]).index.difference(list(recent))
        assert_frame_equal(kept["old"][~kept["old"]["id"].isin(older)].reset_index(drop=True), kept["fresh"])
        # The kept history tells the same.
        states = account.as_of(then).set_index("deal_id")["status"], account.as_of(later).set_index("deal_id")["status"]
        for deal in (deals["deleted"], deals["merged"]):
            assert [state[deal] for state in states] == ["won", "deleted"]
        assert states[0][deals["open"]] == "open"
        # So do line items, where the cache held them.
        lines, frame = account.deal_products(deleted=True), kept["old"]
        truly = {line["id"] for deal in model.tables["deals"] for line in model.lines_of(deal) if deal in set(frame["id"])}
        assert {deals["deleted"], deals["merged"]} <= set(lines["deal_id"])
        assert set(lines["id"]) <= truly
        dropped, held = (metrics.mrr_lines(lines, frame, deleted=what) for what in ("drop", "keep"))
        assert set(held["deal_id"]) - set(dropped["deal_id"]) == {deals["deleted"], deals["merged"]}
        assert_frame_equal(metrics.mrr_lines(account.deal_products(), account.deals()), dropped)


def test_stays_of_deals_that_no_look_found_before_their_deletion(tmp_path: Path) -> None:
    with company() as account:
        deals, model = story(account), account.company_model
        fresh = another(account, tmp_path)
        assert not set(fresh.stage_visits()["deal_id"]) & {deals["deleted"], deals["merged"], deals["open"]}
        frame, _ = fresh.deals(deleted=True), account.stages()
        asked = account.server.stats.requests
        visits, old = fresh.stage_visits(refresh=False), account.stage_visits(refresh=False)
        assert account.server.stats.requests == asked
        for name, ends in (("deleted", ["won", "deleted"]), ("merged", ["won", "deleted"]), ("open", ["deleted"])):
            at = time(model.deleted_at["deals", deals[name]])
            mine = visits[visits["deal_id"] == deals[name]]
            assert mine["end"].tolist() == ends
            assert mine["left_at"].iloc[-1] == at
            assert (mine["seen_at"] >= at).all()
            # The older cache tells the same ends, the last bounded by its looks.
            theirs = old[old["deal_id"] == deals[name]]
            assert theirs["end"].tolist()[-len(ends) :] == ends
            assert (theirs["left_after"].iloc[-1] < at) & (at <= theirs["left_at"].iloc[-1])
        # Frames in, frame out: the loader's own frame gives the same stays.
        from pdframe.visits import stage_visits

        alone = stage_visits(frame[frame["status"] == "deleted"], stages=fresh.stages())
        given = visits[visits["deal_id"].isin(alone["deal_id"])].reset_index(drop=True)
        told = ["deal_id", "stage_id", "entered_at", "left_at", "end"]
        assert_frame_equal(alone[told], given[told])


def test_what_was_deleted_long_ago_only_an_older_cache_knows(how: str, tmp_path: Path) -> None:
    with company() as account:
        deals, model = story(account), account.company_model
        model.now += 40 * DAY
        old = deleted_of(account.deals(deleted=True, refresh="full"))
        fresh = deleted_of(another(account, tmp_path).deals(deleted=True))
        assert deals["deleted"] in old.index
        assert fresh.empty


def test_a_deal_that_no_list_names_is_deleted_at_the_look_that_missed_it(how: str) -> None:
    with company() as account:
        model = account.company_model
        first, second = open_deals(account, 2)
        before = account.deals().set_index("id")
        model.delete_deal(first)
        model.hide("deals", second)
        model.now += 45 * DAY
        gone = deleted_of(account.deals(deleted=True))
        assert list(gone.index) == sorted([first, second])
        assert gone["is_deleted"].isna().all()
        assert (gone["deleted_time"] == time(model.now)).all()
        columns = [name for name in before.columns if name not in ("status", "is_deleted")]
        assert_frame_equal(gone[columns], before.loc[gone.index, columns])
        model.show("deals", second)
        assert list(deleted_of(account.deals(deleted=True, refresh="full")).index) == [first]


def test_a_deal_that_is_deleted_twice_has_the_later_time(how: str) -> None:
    with company(deleting_moves_update_time=False) as account:
        model = account.company_model
        deal = open_deals(account, 1)[0]
        for _ in range(2):
            account.deals(refresh="full")
            model.now += DAY
            model.delete_deal(deal)
            model.now += DAY
            gone = deleted_of(account.deals(deleted=True))
            assert gone.loc[deal, "deleted_time"] == time(model.now)
            model.undelete_deal(deal)
            model.now += DAY
        assert deal not in deleted_of(account.deals(deleted=True, refresh="full")).index


def test_a_sync_costs_what_it_did_and_the_list_is_asked_for_once(how: str) -> None:
    with sandbox.connect(seed=3, deals=60, burst=100_000, progress=False) as account:
        paths: list[list[str]] = []

        def asked(call: Any) -> list[str]:
            before = len(account.server.requests)
            call()
            return [entry.path.removeprefix("/api/v2") for entry in account.server.requests[before:]]

        whole = ["/deals", "/deals/archived", "/deals"]
        changes = ["/deals", "/deals/archived"] * 2
        account.fields("deals")
        account.users()
        basis = account.estimate("deals").set_index("table")["basis"]["deals"]
        assert "deals(deleted=True) reads the lists of deletions too: 30 tokens at least" in basis
        paths.append(asked(lambda: account.sync("deals")))
        assert paths[-1] == ["/dealFields", *whole]
        assert asked(lambda: account.deals(deleted=True)) == ["/deals", "/deals/archived"]
        assert asked(lambda: account.deals(deleted=True)) == []
        tokens = account.tokens_today
        account.deals(deleted=True, refresh=True)
        spent = account.tokens_today - tokens - 10  # the list of fields
        assert spent == (60 if how == "changes" else 40 + 30)
        assert asked(lambda: account.sync("deals"))[1:] == (changes if how == "changes" else whole)


def test_offline_what_is_kept_is_returned_and_what_is_not_is_said(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(NotCachedError):
        account.deals(deleted=True, refresh=False)
    account.deals()
    with pytest.warns(DataWarning, match="never read into this cache") as told:
        frame = account.deals(deleted=True, refresh=False)
    assert sum("never read" in str(warning.message) for warning in told) == 1
    assert deleted_of(frame).empty
    with pytest.raises(ArgumentError, match="deleted_time"):
        account.deals(columns=["deleted_time"])
    archived = account.deals(deleted=True, archived=False)
    assert not archived["is_archived"].any()


def test_deals_that_an_older_version_found_deleted_come_from_the_kept_history(how: str) -> None:
    with company() as account:
        deals = story(account)
        full = deleted_of(account.deals(deleted=True, refresh=False))
        shutil.rmtree(account.cache_path / "deals.deleted")
        frame = deleted_of(account.deals(deleted=True, refresh=False))
        history = account.as_of("2100-01-01").query("gone").set_index("deal_id")
        assert set(frame.index) == set(history.index) <= set(full.index)
        assert frame["deleted_time"].equals(history["seen_at"].rename("deleted_time").rename_axis("id"))
        assert frame.loc[deals["deleted"], "won_time"] == full.loc[deals["deleted"], "won_time"]
        assert frame["title"].isna().all()


def test_a_damaged_table_of_deleted_deals_is_named_and_kept_aside(how: str) -> None:
    with company() as account:
        deals = story(account)
        part = next(iter(sorted((account.cache_path / "deals.deleted").glob("*.parquet"))[::-1]))
        part.write_bytes(part.read_bytes()[:-7])
        with pytest.raises(DamagedError, match="cannot be loaded again"):
            account.deals(deleted=True, refresh=False)
        default = account.deals(refresh=False)
        assert deals["restored"] in set(default["id"])
        account.company_model.now += DAY
        account.company_model.delete_deal(deals["restored"])
        with pytest.warns(DataWarning, match=r"set aside as deals.deleted.aside-1"):
            account.sync("deals")
        assert deals["restored"] in deleted_of(account.deals(deleted=True)).index
        assert (account.cache_path / "deals.deleted.aside-1" / part.name).exists()


def test_the_server_of_another_past_begins_anew(tmp_path: Path) -> None:
    with company(tmp_path) as account:
        account.deals()
        account.company_model.now += 100 * DAY
        deal = open_deals(account, 1)[0]
        account.company_model.delete_deal(deal)
        assert deal in deleted_of(account.deals(deleted=True)).index
    with company(tmp_path) as account:
        deal = open_deals(account, 2)[1]
        account.company_model.delete_deal(deal)
        assert deal in deleted_of(account.deals(deleted=True, refresh="full")).index
        assert (account.cache_path / "deals.deleted.aside-1").is_dir()


def test_many_small_parts_are_put_together(account: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pdframe.deleted.MANY_PARTS", 3)
    account.deals()
    model, found = account.company_model, []
    for deal in open_deals(account, 8):
        model.now += 60
        model.delete_deal(deal)
        account.deals()
        found.append(deal)
    assert len(list((account.cache_path / "deals.deleted").glob("*.parquet"))) <= 4
    gone = deleted_of(account.deals(deleted=True))
    assert set(found) <= set(gone.index)
    assert [gone.loc[deal, "deleted_time"] for deal in found] == [time(model.deleted_at["deals", deal]) for deal in found]


def test_rows_are_written_before_the_deals_so_that_a_crash_loses_none(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write of the deals fails once: what is kept is true, and the next sync adds no row twice."""
    with company() as account:
        model = account.company_model
        deal = open_deals(account, 1)[0]
        before = account.deals()
        model.now += DAY
        model.delete_deal(deal)
        model.now += DAY
        name = pdframe.store.Store.name

        def fail(self: Any, manifest: Any) -> Any:
            if manifest.table == "deals":
                raise KeyboardInterrupt
            return name(self, manifest)

        with monkeypatch.context() as patch:
            patch.setattr(pdframe.store.Store, "name", fail)
            with pytest.raises(KeyboardInterrupt):
                account.deals()
        frame = account.deals(refresh=False)
        assert_frame_equal(frame, before)
        assert deal not in deleted_of(account.deals(deleted=True, refresh=False)).index
        rows = DeletedDeals(account._store).known().num_rows
        model.now += DAY
        gone = deleted_of(account.deals(deleted=True))
        assert gone.loc[deal, "deleted_time"] == time(model.deleted_at["deals", deal])
        kept = account._store.manifest("deals.deleted")
        assert kept is not None
        assert kept.rows == rows
        assert kept.synced_at <= datetime.now(UTC) + timedelta(seconds=1)

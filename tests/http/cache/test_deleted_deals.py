"""`account.deals(deleted=True)`: deals that were deleted, merged, restored or lost from sight, over
real HTTP.

The oracle is the company itself: which deals it deleted, and when.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import pdframe
from pdframe import metrics, sandbox
from pdframe.cache.deleted_deals import DeletedDeals
from pdframe.errors import ArgumentError, DamagedError, DataWarning, NotCachedError
from pdframe.sync import DEFAULT_OPTIONS, SyncOptions
from tests.helpers.cache_files import store_of
from tests.helpers.deletions import DAY, company, deleted_of, open_deals, time
from tests.helpers.server_clock import server_now
from tests.helpers.tuning import LONG_LISTS

pytestmark = [
    pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning"),
    pytest.mark.slow,
]


OPTIONS = {"reloads": DEFAULT_OPTIONS, "changes": LONG_LISTS}


@pytest.fixture(params=["reloads", "changes"])
def how(request: pytest.FixtureRequest) -> str:
    """Short lists are read as a whole, long ones by what changed."""
    return str(request.param)


@pytest.fixture
def account() -> Iterator[sandbox.SandboxAccount]:
    with company() as account:
        yield account


def another(account: sandbox.SandboxAccount, cache_dir: Path) -> pdframe.Account:
    """The same company over a fresh cache."""
    return pdframe.connect(
        base_url=account.server.url,
        api_token=account.server.token,
        cache_dir=cache_dir,
        progress=False,
        max_age=0,
    )


def wins(frame: pd.DataFrame, window: dict[str, Any], **more: Any) -> list[int]:
    won: list[int] = metrics.win_rate(frame, **window, **more)["won"].tolist()
    return won


def won_in_funnels(
    visits: pd.DataFrame, stages: pd.DataFrame, when: pd.Timestamp, **more: Any
) -> set[int]:
    """Deals that count as won in the funnel of any pipeline."""
    every = [
        metrics.funnel_deals(visits, stages, as_of=when, pipeline_id=int(one), **more)
        for one in stages["pipeline_id"].unique()
    ]
    rows = pd.concat(every, ignore_index=True)
    return set(rows.loc[rows["stage"] == "won", "deal_id"])


def story(account: sandbox.SandboxAccount) -> dict[str, int]:
    """Two wins, 60 days, then: one is deleted, one merged, an open deal is deleted, and one is
    deleted and restored.
    """
    model = account.company_model
    names = ("deleted", "merged", "open", "restored", "stays")
    deals = dict(zip(names, open_deals(account, 5), strict=True))
    removed = model.add_line(
        deals["deleted"], next(iter(model.tables["products"])), item_price=7.0, quantity=1
    )
    account.sync("deals", "deal_products")
    model.remove_line(removed)
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


def test_deleted_deals_remain_with_the_time_of_their_deletion(how: str) -> None:
    with company(options=OPTIONS[how]) as account:
        deals, model = story(account), account.company_model
        default, frame = account.deals(), account.deals(deleted=True)
        removed = deleted_of(frame)
        expected = {deal for (table, deal) in model.deleted_at if table == "deals"} & set(
            frame["id"]
        )
        assert {deals["deleted"], deals["merged"], deals["open"]} <= expected == set(removed.index)
        assert deals["restored"] in set(default["id"])
        assert removed["is_deleted"].all()
        for deal in (deals["deleted"], deals["merged"], deals["open"]):
            at, row = model.deleted_at["deals", deal], model.tables["deals"][deal]
            assert removed.loc[deal, "deleted_time"] == time(at)
            won = removed.loc[deal, "won_time"]
            assert pd.isna(won) if row["won_time"] is None else won == pd.Timestamp(row["won_time"])
        # Without the argument nothing differs.
        alive = (
            frame[~frame["id"].isin(removed.index)]
            .drop(columns="deleted_time")
            .reset_index(drop=True)
        )
        assert_frame_equal(alive, default)
        assert frame["id"].is_monotonic_increasing
        assert frame.loc[frame["status"] != "deleted", "deleted_time"].isna().all()
        # And nothing more is asked where only the cache may be read.
        requested = account.server.stats.requests
        assert_frame_equal(account.deals(deleted=True, refresh=False), frame)
        plain = account.deals(
            deleted=True, refresh=False, labels=False, columns=["id", "deleted_time", "status"]
        )
        assert deleted_of(plain)["deleted_time"].equals(removed["deleted_time"])
        assert account.server.stats.requests == requested


def test_a_deleted_deal_keeps_every_column(how: str) -> None:
    with company(options=OPTIONS[how]) as account:
        deal = open_deals(account, 1)[0]
        before = {
            labels: account.deals(labels=labels, names=labels).set_index("id")
            for labels in (True, False)
        }
        account.company_model.delete_deal(deal)
        for labels, frame in before.items():
            removed = deleted_of(account.deals(deleted=True, labels=labels, names=labels))
            columns = [
                name
                for name in frame.columns
                if name not in ("status", "is_deleted", "update_time")
            ]
            assert removed.columns.drop("deleted_time").tolist() == frame.columns.tolist()
            assert_frame_equal(removed.loc[[deal], columns], frame.loc[[deal], columns])
            assert removed.loc[deal, "products_count"] == 1


def test_the_last_edit_of_a_deal_is_not_taken_for_its_deletion(how: str, tmp_path: Path) -> None:
    """Deletions move no `update_time` here: the look is all that tells."""
    with company(options=OPTIONS[how], deleting_moves_update_time=False) as account:
        model = account.company_model
        ids = long_ago, lately, won = open_deals(account, 3)
        account.deals()
        model.now += DAY
        model.edit_deal(long_ago, title="Edited")
        account.deals()
        model.now += 40 * DAY
        model.edit_deal(lately, title="Edited")
        edited = model.now
        model.win_deal(won)
        account.deals()
        model.now += DAY
        for deal in ids:
            model.delete_deal(deal)
        seen = time(model.now)
        assert (
            deleted_of(account.deals(deleted=True))["deleted_time"].loc[[*ids]].tolist()
            == [seen] * 3
        )
        # A fresh cache knows no earlier look: an edit of the last 30 days could be the deletion.
        fresh = deleted_of(another(account, tmp_path).deals(deleted=True))
        assert fresh["deleted_time"].loc[[*ids]].tolist() == [seen, time(edited), seen]


def test_metrics_agree_before_and_after_the_deletion(tmp_path: Path) -> None:
    with company() as account:
        deals, model = story(account), account.company_model
        won_at = deals["won_at"]
        then, later = time(won_at + 10 * DAY), time(model.now)
        window: dict[str, Any] = {"since": time(won_at - 60), "until": time(won_at + DAY)}
        kept: dict[str, pd.DataFrame] = {}
        for name, of in (("old", account), ("fresh", another(account, tmp_path))):
            kept[name] = of.deals(deleted=True)
            won = partial(wins, kept[name], window)
            assert won(as_of=then) == [3] == won(as_of=then, deleted="keep")
            assert won(as_of=later) == [1] == won()
            assert won(as_of=later, deleted="keep") == [3] == won(deleted="keep")
            assert metrics.win_rate(of.deals(), **window)["won"].tolist() == [1]
        # A fresh cache knows the deletions of 30 days alone, and of these the same.
        recent = {
            deal
            for (table, deal), at in model.deleted_at.items()
            if table == "deals" and model.now - at <= 30 * DAY
        }
        assert (
            set(deleted_of(kept["fresh"]).index)
            == recent
            == {deals["deleted"], deals["merged"], deals["open"]}
        )
        older = deleted_of(kept["old"]).index.difference(list(recent))
        assert_frame_equal(
            kept["old"][~kept["old"]["id"].isin(older)].reset_index(drop=True), kept["fresh"]
        )
        # The kept history tells the same.
        states = (
            account.as_of(then).set_index("deal_id")["status"],
            account.as_of(later).set_index("deal_id")["status"],
        )
        for deal in (deals["deleted"], deals["merged"]):
            assert [state[deal] for state in states] == ["won", "deleted"]
        assert states[0][deals["open"]] == "open"
        # So do deals as of a time, whether the frame holds the deleted ones or not.
        visits = account.stage_visits()
        for given in (account.deals(), kept["old"]):
            for when, there in ((then, True), (later, False)):
                seen = metrics.as_of(given, visits, when, account.as_of(when))[0].set_index("id")
                assert [
                    deal in seen.index
                    for deal in (deals["deleted"], deals["merged"], deals["open"])
                ] == [there] * 3
                if there:
                    assert seen.loc[[deals["deleted"], deals["merged"]], "status"].tolist() == [
                        "won",
                        "won",
                    ]
        # So do the stays.
        stages, removed = account.stages(), {deals["deleted"], deals["merged"]}
        assert won_in_funnels(visits, stages, then) >= removed | {deals["restored"]}
        assert not won_in_funnels(visits, stages, later) & removed
        assert won_in_funnels(visits, stages, later, deleted="keep") >= removed
        # So do line items, where the cache held them.
        lines, frame = account.deal_products(deleted=True), kept["old"]
        truly = {
            line["id"]
            for deal in model.tables["deals"]
            for line in model.lines_of(deal)
            if deal in set(frame["id"])
        }
        assert {deals["deleted"], deals["merged"]} <= set(lines["deal_id"])
        assert set(lines["id"]) <= truly
        dropped, covered = (
            metrics.mrr_lines(lines, frame, deleted=what) for what in ("drop", "keep")
        )
        assert set(covered["deal_id"]) - set(dropped["deal_id"]) == {
            deals["deleted"],
            deals["merged"],
        }
        assert_frame_equal(metrics.mrr_lines(account.deal_products(), account.deals()), dropped)
        # What was deleted more than 30 days ago, only the older cache knows.
        model.now += 40 * DAY
        with another(account, tmp_path / "late") as late:
            assert deleted_of(late.deals(deleted=True)).empty
        later_on = deleted_of(account.deals(deleted=True, refresh="full"))
        assert_frame_equal(later_on, deleted_of(kept["old"]))


def test_visits_of_deals_that_no_snapshot_detected_before_their_deletion(tmp_path: Path) -> None:
    with company() as account:
        deals, model = story(account), account.company_model
        fresh = another(account, tmp_path)
        assert not set(fresh.stage_visits()["deal_id"]) & {
            deals["deleted"],
            deals["merged"],
            deals["open"],
        }
        frame, _ = fresh.deals(deleted=True), account.stages()
        requested = account.server.stats.requests
        visits, old = fresh.stage_visits(refresh=False), account.stage_visits(refresh=False)
        assert account.server.stats.requests == requested
        for name, ends in (
            ("deleted", ["won", "deleted"]),
            ("merged", ["won", "deleted"]),
            ("open", ["deleted"]),
        ):
            at = time(model.deleted_at["deals", deals[name]])
            for reported in (visits, old):
                known_visits = reported[reported["deal_id"] == deals[name]]
                assert known_visits["end"].tolist() == ends
                # Which edit moved `update_time` last is unknown: the deletion lies before the
                # look that found it.
                assert known_visits["left_after"].iloc[-1] < at <= known_visits["left_at"].iloc[-1]
                assert (known_visits["seen_at"] <= time(model.now)).all()
        # Frames in, frame out: the loader's own frame gives the same stays.
        from pdframe.history import stage_visits

        alone = stage_visits(frame[frame["status"] == "deleted"], stages=fresh.stages())
        given = visits[visits["deal_id"].isin(alone["deal_id"])].reset_index(drop=True)
        reported = ["deal_id", "stage_id", "end"]
        assert_frame_equal(alone[reported], given[reported])


def test_a_deal_that_no_list_names_is_deleted_at_the_snapshot_that_missed_it(how: str) -> None:
    with company(options=OPTIONS[how]) as account:
        model = account.company_model
        first, second = open_deals(account, 2)
        before = account.deals().set_index("id")
        model.delete_deal(first)
        model.hide("deals", second)
        model.now += 45 * DAY
        removed = deleted_of(account.deals(deleted=True))
        assert list(removed.index) == sorted([first, second])
        assert removed["is_deleted"].isna().all()
        assert (removed["deleted_time"] == time(model.now)).all()
        columns = [name for name in before.columns if name not in ("status", "is_deleted")]
        assert_frame_equal(removed[columns], before.loc[removed.index, columns])
        model.show("deals", second)
        assert list(deleted_of(account.deals(deleted=True, refresh="full")).index) == [first]


def test_a_deal_that_the_first_snapshot_lacks_was_deleted_by_then(how: str) -> None:
    """Its deletion moves no `update_time`, and no list of deletions is read until 20 days later."""
    with company(options=OPTIONS[how], deleting_moves_update_time=False) as account:
        model = account.company_model
        left, won, other = open_deals(account, 3)
        model.win_deal(won)
        model.now += DAY
        model.delete_deal(left)
        model.delete_deal(won)
        model.now += DAY
        model.edit_deal(other, title="Edited")
        account.deals()
        first = time(model.now)
        model.now += 5 * DAY
        # An import dates a deal back: the first snapshot says nothing about it.
        late = model.add_deal("Imported", add_time="2026-01-02T00:00:00Z")
        model.delete_deal(late)
        model.now += 15 * DAY
        frame = account.deals(deleted=True)
        removed, seen = deleted_of(frame), time(model.now)
        assert removed["deleted_time"].loc[[left, won]].tolist() == [first, first]
        assert removed.loc[late, "deleted_time"] > first
        # So it was neither open nor won in between, wherever that is asked.
        between = first + pd.Timedelta(days=7)
        window: dict[str, Any] = {"since": first - pd.Timedelta(days=30), "until": between}
        assert wins(frame, window, as_of=between) == wins(frame, window)
        visits = account.stage_visits()
        own = visits[visits["deal_id"].isin([left, won])]
        assert (own["left_at"] <= first).all()
        assert (own["seen_at"] == seen).all()
        assert own["end"].tolist() == ["deleted", "won", "deleted"]
        then = metrics.as_of(frame, visits, between, account.deal_history())[0]
        assert not {left, won} & set(then["id"])
        assert other in set(then["id"])


def test_a_stamp_of_a_slow_clock_does_not_move_a_deletion_before_the_first_snapshot(
    how: str,
) -> None:
    """The servers that stamp `update_time` need not agree on the time: a deal that was created
    after the first snapshot may look as if it was created before.
    """
    with company(options=OPTIONS[how], deleting_moves_update_time=False) as account:
        model = account.company_model
        model.edit_deal(open_deals(account, 1)[0], title="Edited")
        account.deals()
        first = time(model.now)
        model.now -= 4 * 60
        late = model.add_deal("Created a minute after the snapshot")
        model.now += DAY
        model.delete_deal(late)
        deleted_at = time(model.now)
        model.now += DAY
        frame = account.deals(deleted=True)
        assert deleted_of(frame).loc[late, "deleted_time"] >= deleted_at > first
        visits = account.stage_visits()
        (left_at,) = visits.loc[visits["deal_id"] == late, "left_at"]
        assert left_at >= deleted_at


def test_the_kept_row_keeps_values_that_do_not_fit_the_later_type_of_their_field() -> None:
    """The deal is missed by the very sync that learns of the other type."""
    with company() as account:
        model = account.company_model
        deal = open_deals(account, 1)[0]
        code = model.add_field("deal", "Remark", "varchar")
        model.edit_deal(deal, custom_fields={code: "no number"})
        account.deals()
        model.hide("deals", deal)
        model.now += DAY
        model.field("deal", code)["field_type"] = "double"
        with pytest.warns(DataWarning, match=r"'Remark'.*does not fit.*'no number'"):
            assert pd.isna(
                deleted_of(account.deals(deleted=True, refresh="full")).loc[deal, "Remark"]
            )
        model.field("deal", code)["field_type"] = "varchar"
        assert (
            deleted_of(account.deals(deleted=True, refresh="full")).loc[deal, "Remark"]
            == "no number"
        )


def test_a_deal_that_is_deleted_twice_has_the_later_time(how: str) -> None:
    with company(options=OPTIONS[how], deleting_moves_update_time=False) as account:
        model = account.company_model
        deal = open_deals(account, 1)[0]
        for _ in range(2):
            account.deals(refresh="full")
            model.now += DAY
            model.delete_deal(deal)
            model.now += DAY
            removed = deleted_of(account.deals(deleted=True))
            assert removed.loc[deal, "deleted_time"] == time(model.now)
            model.undelete_deal(deal)
            model.now += DAY
        assert deal not in deleted_of(account.deals(deleted=True, refresh="full")).index


def test_a_sync_costs_what_it_did_and_the_list_is_requested_once(how: str) -> None:
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False, options=OPTIONS[how]
    ) as account:
        paths: list[list[str]] = []

        def requested(call: Any) -> list[str]:
            before = len(account.server.requests)
            call()
            return [
                entry.path.removeprefix("/api/v2") for entry in account.server.requests[before:]
            ]

        full = ["/deals", "/deals/archived", "/deals"]
        changes = ["/deals", "/deals/archived"] * 2
        account.fields("deals")
        account.users()
        basis = account.estimate("deals").set_index("table")["basis"]["deals"]
        assert "deals(deleted=True) reads the lists of deletions too: 30 tokens at least" in basis
        paths.append(requested(lambda: account.sync("deals")))
        assert paths[-1] == ["/dealFields", *full]
        assert requested(lambda: account.deals(deleted=True)) == ["/deals", "/deals/archived"]
        assert requested(lambda: account.deals(deleted=True)) == []
        tokens = account.tokens_today
        account.deals(deleted=True, refresh=True)
        spent = account.tokens_today - tokens - 10  # the list of fields
        assert spent == (60 if how == "changes" else 40 + 30)
        assert requested(lambda: account.sync("deals"))[1:] == (
            changes if how == "changes" else full
        )


def test_offline_reads_return_what_is_cached_and_refuse_the_rest(
    account: sandbox.SandboxAccount,
) -> None:
    with pytest.raises(NotCachedError):
        account.deals(deleted=True, refresh=False)
    account.deals()
    with pytest.warns(DataWarning, match="never read into this cache") as reported:
        frame = account.deals(deleted=True, refresh=False)
    assert sum("never read" in str(warning.message) for warning in reported) == 1
    assert deleted_of(frame).empty
    with pytest.raises(ArgumentError, match="deleted must be True or False, not 'keep'"):
        account.deals(deleted="keep")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="deleted_time"):
        account.deals(columns=["deleted_time"])
    archived = account.deals(deleted=True, archived=False)
    assert not archived["is_archived"].any()


def test_deals_that_an_older_version_saw_deleted_are_in_the_kept_history() -> None:
    with company(deleting_moves_update_time=False) as account:
        deals = story(account)
        full = deleted_of(account.deals(deleted=True, refresh=False))
        shutil.rmtree(account.cache_path / "deals.deleted")
        frame = deleted_of(account.deals(deleted=True, refresh=False))
        history = account.as_of(server_now(account)).query("gone").set_index("deal_id")
        assert set(frame.index) == set(history.index) <= set(full.index)
        assert frame["deleted_time"].equals(
            history["seen_at"].rename("deleted_time").rename_axis("id")
        )
        assert frame.loc[deals["deleted"], "won_time"] == full.loc[deals["deleted"], "won_time"]
        assert frame["title"].isna().all()
        # The list of deletions adds the rows; the time stays that of the look that missed the deal.
        account.company_model.now += DAY
        again = deleted_of(account.deals(deleted=True))
        assert_frame_equal(again.loc[frame.index], full.loc[frame.index])


def test_a_damaged_table_of_deleted_deals_is_named_and_kept_in_quarantine(
    account: sandbox.SandboxAccount,
) -> None:
    first, second = open_deals(account, 2)
    account.deals()
    account.company_model.delete_deal(first)
    account.deals()
    part = sorted((account.cache_path / "deals.deleted").glob("*.parquet"))[-1]
    part.write_bytes(part.read_bytes()[:-7])
    with pytest.raises(DamagedError, match="cannot be loaded again"):
        account.deals(deleted=True, refresh=False)
    assert second in set(account.deals(refresh=False)["id"])
    with pytest.warns(DataWarning, match=r"quarantined as deals.deleted.aside-1"):
        account.sync("deals")
    account.company_model.now += DAY
    account.company_model.delete_deal(second)
    assert {first, second} <= set(deleted_of(account.deals(deleted=True)).index)
    assert (account.cache_path / "deals.deleted.aside-1" / part.name).exists()


def test_the_server_of_another_past_starts_over(tmp_path: Path) -> None:
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


def test_many_small_parts_are_put_together() -> None:
    with company(options=SyncOptions(parts_per_level=3)) as account:
        _many_small_parts(account)


def _many_small_parts(account: sandbox.SandboxAccount) -> None:
    account.deals()
    model, result = account.company_model, []
    for deal in open_deals(account, 8):
        model.now += 60
        model.delete_deal(deal)
        account.deals()
        result.append(deal)
    assert len(list((account.cache_path / "deals.deleted").glob("*.parquet"))) <= 4
    removed = deleted_of(account.deals(deleted=True))
    assert set(result) <= set(removed.index)
    assert [removed.loc[deal, "deleted_time"] for deal in result] == [
        time(model.deleted_at["deals", deal]) for deal in result
    ]


@pytest.mark.parametrize(
    "named", [False, True], ids=["before the deals are written", "right after"]
)
def test_a_crash_loses_no_row_and_doubles_none(
    how: str, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with company(options=OPTIONS[how]) as account:
        model = account.company_model
        deleted, hidden = open_deals(account, 2)
        before = account.deals()
        model.now += DAY
        model.delete_deal(deleted)
        model.hide("deals", hidden)
        model.now += DAY
        seen, publish = time(model.now), pdframe.cache.store.Store.publish

        def fail(self: Any, manifest: Any) -> Any:
            if manifest.table == "deals":
                if named:
                    publish(self, manifest)
                raise KeyboardInterrupt
            return publish(self, manifest)

        with monkeypatch.context() as patch:
            patch.setattr(pdframe.cache.store.Store, "publish", fail)
            with pytest.raises(KeyboardInterrupt):
                account.deals(refresh="full")
        removed = deleted_of(account.deals(deleted=True, refresh=False))
        assert set(removed.index) >= ({deleted, hidden} if named else set())
        if not named:
            assert_frame_equal(account.deals(refresh=False), before)
            assert not {deleted, hidden} & set(removed.index)
        rows = DeletedDeals(store_of(account)).known().num_rows
        model.now += DAY
        removed = deleted_of(account.deals(deleted=True, refresh="full"))
        assert removed["deleted_time"].loc[[deleted, hidden]].tolist() == [
            time(model.deleted_at["deals", deleted]),
            seen,
        ]
        # deal 17 was deleted before the first look
        assert DeletedDeals(store_of(account)).known().num_rows - rows <= 1
        kept = store_of(account).manifest("deals.deleted")
        assert kept is not None
        assert kept.rows == DeletedDeals(store_of(account)).known().num_rows

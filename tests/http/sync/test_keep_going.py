"""`deal_changes(since=..., keep_going=True)`: recent deals now, the others at later syncs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import sandbox
from pdframe.errors import ArgumentError, BudgetError, NotCachedError
from pdframe.sync import SyncOptions
from tests.helpers import true_cells
from tests.helpers.internals import client_of
from tests.helpers.proxy import altered
from tests.helpers.scripted_server import Reply, fail
from tests.helpers.tuning import connected_again

pytestmark = pytest.mark.filterwarnings("ignore:deals, column:pdframe.errors.DataWarning")
COST = 20
NO_BURST = 100_000


@pytest.fixture
def account(tmp_path: Path) -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=7, deals=60, burst=NO_BURST, cache_dir=tmp_path, company="hostile", progress=False
    ) as account:
        yield account


def live_deals(account: sandbox.SandboxAccount) -> pd.DataFrame:
    """The visible deals, from the company's own events."""
    state = true_cells.fold(account.company_model.events)
    return pd.DataFrame(true_cells.visible(state, "deals"))


def requested(account: sandbox.SandboxAccount) -> list[int]:
    """The deals whose changelog was requested, in the order of the requests."""
    return [
        int(entry.path.split("/")[4])
        for entry in account.server.requests
        if entry.template.endswith("/deals/{id}/changelog") and entry.status != 0
    ]


def row_of(frame: pd.DataFrame, table: str = "deal_changes") -> pd.Series:
    return frame.set_index("table").loc[table]


def test_since_loads_the_deals_that_were_created_or_moved_since(
    account: sandbox.SandboxAccount,
) -> None:
    deals = live_deals(account)
    since = "2026-03-01"
    recent = deals[
        (pd.to_datetime(deals["add_time"], utc=True) >= since)
        | (pd.to_datetime(deals["stage_change_time"], utc=True) >= since)
    ]
    assert 0 < len(recent) < len(deals)
    changes = account.deal_changes(since=since)
    assert sorted(requested(account)) == sorted(recent["id"])
    assert set(changes["deal_id"]) <= set(recent["id"])
    everything = account.deal_changes()
    assert sorted(requested(account)) == sorted(deals["id"])
    pd.testing.assert_frame_equal(
        changes,
        everything[everything["deal_id"].isin(recent["id"])].reset_index(drop=True),
    )


def test_since_chooses_among_the_given_ids(account: sandbox.SandboxAccount) -> None:
    deals = live_deals(account)
    newest, oldest = deals.loc[deals["add_time"].idxmax()], deals.loc[deals["add_time"].idxmin()]
    account.deal_changes([newest["id"], oldest["id"]], since=newest["add_time"])
    assert requested(account) == [newest["id"]]
    with pytest.raises(NotCachedError, match="refresh=False sends no request"):
        account.deal_changes(since=oldest["add_time"], refresh=False)


def test_a_bare_day_begins_in_the_zone_of_the_account(account: sandbox.SandboxAccount) -> None:
    """Tallinn is ahead of UTC: a deal of 22:30 UTC is of the next day there."""
    deals = live_deals(account)
    added = pd.to_datetime(deals["add_time"], utc=True).dt.tz_convert(account.tz)
    day = added.max().date()
    first = pd.Timestamp(day, tz=account.tz)
    moved = pd.to_datetime(deals["stage_change_time"], utc=True)
    account.deal_changes(since=str(day))
    assert sorted(requested(account)) == sorted(
        deals.loc[(added >= first) | (moved >= first), "id"]
    )


def test_later_syncs_go_on_within_the_ceiling_and_say_what_they_spent(
    account: sandbox.SandboxAccount,
) -> None:
    deals = live_deals(account)
    total = len(deals)
    # The deal that changed last might have changed again in that second: it is requested again.
    newest = deals.loc[deals["update_time"].idxmax(), "id"]
    account.sync()
    recent = account.deal_changes(since="2026-06-01", keep_going=True)["deal_id"].nunique()
    done = len(requested(account))
    assert recent <= done < total - 12
    assert newest in requested(account)
    due = sorted({*deals["id"], newest} - ({*requested(account)} - {newest}))
    ceiling = (account.tokens_today + 400) * 4 // 3
    with connected_again(account, max_tokens=ceiling) as other:
        before = other.tokens_today
        estimates = other.estimate().set_index("table")
        synced = other.sync().set_index("table")
        row, others = synced.loc["deal_changes"], synced["tokens"].drop("deal_changes").sum()
        most = (ceiling - ceiling // 4 - before - others) // COST
        assert (row["requests"], row["tokens"]) == (most, most * COST)
        assert 0 < most < len(due)
        assert estimates["tokens"]["deal_changes"] == most * COST
        assert row["mode"] == "incremental"
        left = len(due) - most
        assert f"{left:,} ({left * COST:,} tokens) are left for later syncs" in row["note"]
        assert f"keep_going: {most} of {len(due)} deals, {most * COST} tokens" in row["note"]
        # A quarter of the ceiling is left to other calls, and the next sync requests no deal.
        row = row_of(other.sync())
        assert (row["requests"], row["tokens"], row["mode"]) == (0, 0, "incremental")
    # The newest deals came first.
    assert sorted(requested(account)[done : done + most]) == due[-most:]
    # Without a ceiling the rest follows at once; then only what changed is requested.
    row = row_of(account.sync())
    assert row["requests"] >= left
    assert "left for later" not in row["note"]
    assert set(requested(account)) == set(live_deals(account)["id"])
    assert account.deal_changes(refresh=False)["deal_id"].nunique() <= total


def test_what_later_syncs_loaded_is_what_one_load_gives(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.sync()
    account.deal_changes([], keep_going=True)
    for _ in range(2):
        with connected_again(account) as other:
            ceiling = (other.tokens_today + 500) * 4 // 3
        with connected_again(account, max_tokens=ceiling) as other:
            assert 0 < row_of(other.sync())["requests"] < 50
    account.sync()
    with sandbox.connect(
        seed=7,
        deals=60,
        burst=NO_BURST,
        cache_dir=tmp_path / "b",
        company="hostile",
        progress=False,
    ) as other:
        pd.testing.assert_frame_equal(
            account.deal_changes(refresh=False), other.deal_changes(), check_like=False
        )


def test_tokens_that_run_out_in_the_first_load_are_no_reason_to_forget(
    account: sandbox.SandboxAccount,
) -> None:
    account.sync()
    with (
        connected_again(account, max_tokens=account.tokens_today + 5 * COST) as other,
        pytest.raises(BudgetError, match="ceiling"),
    ):
        other.deal_changes(keep_going=True)
    assert len(requested(account)) >= 5
    row = row_of(account.sync())
    assert row["requests"] > 0
    assert set(requested(account)) == set(live_deals(account)["id"])


def test_stop_ends_it_and_loads_nothing(account: sandbox.SandboxAccount) -> None:
    account.sync()
    first = account.deal_changes([1, 2], keep_going=True)
    before = account.server.stats.requests
    stopped = account.deal_changes(keep_going="stop")
    pd.testing.assert_frame_equal(stopped, first)
    assert account.server.stats.requests == before
    assert "deal_changes" not in set(account.sync()["table"])
    assert "deal_changes" not in set(account.estimate()["table"])


def test_stop_returns_what_is_cached_even_if_that_is_nothing(
    account: sandbox.SandboxAccount,
) -> None:
    account.deals()
    before = account.server.stats.requests
    nothing = account.deal_changes(keep_going="stop")
    assert len(nothing) == len(account.deal_changes([1, 2], keep_going="stop")) == 0
    assert account.server.stats.requests == before
    first = account.deal_changes([1], keep_going=True)
    assert nothing.dtypes.to_dict() == first.dtypes.to_dict()
    pd.testing.assert_frame_equal(account.deal_changes([1, 2], keep_going="stop"), first)
    with pytest.raises(NotCachedError, match=r"not cached for the deals 2.*Call account\.deal_ch"):
        account.deal_changes([1, 2], refresh=False)


def test_without_any_budget_syncs_spend_half_of_the_smallest_one_a_day(tmp_path: Path) -> None:
    """The headers of the daily budget may be missing, and `max_tokens` is."""
    with sandbox.connect(
        seed=7, deals=60, burst=NO_BURST, cache_dir=tmp_path, company="hostile", progress=False,
        daily_headers=False,
    ) as account:  # fmt: skip
        account.sync()
        newest = int(account.deals(refresh=False)["id"].max())
        account.deal_changes([newest], keep_going=True)
        options = SyncOptions(keep_going_tokens=(account.tokens_today + 500) * 2)
        done = len(requested(account))
        with connected_again(account, options=options) as other:
            before = other.tokens_today
            synced = other.sync().set_index("table")
            row, others = synced.loc["deal_changes"], synced["tokens"].drop("deal_changes").sum()
            most = (options.keep_going_tokens // 2 - before - others) // COST
            assert 0 < row["requests"] == most == len(requested(account)) - done
            assert f"{options.keep_going_tokens // 2:,} tokens per day" in row["note"]
            assert "connect(max_tokens=) sets another limit" in row["note"]
            # The bound is that of the day: a second sync spends nothing on changelogs.
            assert row_of(other.sync())["requests"] == 0
            assert row_of(other.estimate())["tokens"] == 0
        # A ceiling is another bound, and the user's.
        with connected_again(account, options=options, max_tokens=100_000) as other:
            assert row_of(other.estimate())["tokens"] > 0
            assert "left for later" not in row_of(other.sync())["note"]
        assert set(requested(account)) == set(live_deals(account)["id"])


def test_a_sync_by_name_does_not_go_on(account: sandbox.SandboxAccount) -> None:
    account.deal_changes([1], keep_going=True)
    done = account.sync("deals")
    assert "deal_changes" not in set(done["table"])
    assert requested(account) == [1]


@pytest.mark.parametrize("cached", [True, False])
def test_since_counts_from_the_clock_of_the_server(
    account: sandbox.SandboxAccount, cached: bool
) -> None:
    """The sandbox is at noon of 30 June 2026, whatever this machine's clock says."""
    deals = live_deals(account)
    if cached:
        account.deals()
    account.deal_changes(since="30 days ago")
    recent = deals[
        (pd.to_datetime(deals["add_time"], utc=True) >= "2026-05-30T21:00:00Z")
        | (pd.to_datetime(deals["stage_change_time"], utc=True) >= "2026-05-30T21:00:00Z")
    ]
    assert sorted(requested(account)) == sorted(recent["id"])


@pytest.mark.parametrize("given", ["yes", 1, None, "Stop"])
def test_keep_going_is_one_of_three(account: sandbox.SandboxAccount, given: object) -> None:
    with pytest.raises(ArgumentError, match="keep_going must be True, False or 'stop'"):
        account.deal_changes([1], keep_going=given)  # type: ignore[arg-type]
    assert account.server.stats.requests == 0


def test_since_must_be_a_time(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(ArgumentError, match="since"):
        account.deal_changes(since="soon")
    assert requested(account) == []


@pytest.mark.parametrize("since", ["2026-07-01", "2026-Q4", pd.Timestamp("2026-06-30 23:00")])
def test_since_must_not_be_in_the_future(account: sandbox.SandboxAccount, since: Any) -> None:
    with pytest.raises(ArgumentError, match=r"in the future: by the server's clock .* 2026-06-30"):
        account.deal_changes(since=since)
    assert requested(account) == []
    account.deal_changes(since="2026-06-30")


def test_a_changelog_that_is_refused_later_ends_no_sync(account: sandbox.SandboxAccount) -> None:
    account.sync()
    newest = int(account.deals(refresh=False)["id"].max())
    kept = len(account.deal_changes([newest], keep_going=True))

    def refuse(path: str, params: Mapping[str, str], content: Any) -> Reply | None:
        return fail(403, "The user may not see this.") if path.endswith("/changelog") else None

    with altered(account, refuse) as refused:
        done = refused.sync()
    row = row_of(done)
    assert (row["mode"], row["rows"]) == ("unavailable", kept)
    assert "may not see" in row["note"]
    assert row_of(done, "deals")["mode"] == "incremental"


def test_keep_going_is_kept_without_a_request_as_well(account: sandbox.SandboxAccount) -> None:
    newest = int(account.deals()["id"].max())
    account.deal_changes([newest])
    account.deal_changes([newest], keep_going=True, refresh=False)
    assert requested(account) == [newest]
    assert row_of(account.sync())["mode"] == "incremental"
    assert len(requested(account)) > 1


def test_syncs_go_on_after_the_tokens_ran_out_before_the_first_changelog() -> None:
    with sandbox.connect(seed=7, deals=60, progress=False, max_tokens=25) as account:
        with pytest.raises(BudgetError):
            account.deal_changes(since="2026-06", keep_going=True)
        client_of(account).budget.max_tokens = None
        assert "deal_changes" in account.sync()["table"].tolist()


def test_syncs_go_on_after_the_table_was_damaged() -> None:
    with sandbox.connect(seed=7, deals=60, progress=False) as account:
        account.sync()
        account.deal_changes(since="2026-06-01", keep_going=True)
        for part in (account.cache_path / "deal_changes").glob("part-*.parquet"):
            part.write_bytes(b"x" * part.stat().st_size)
        with pytest.warns(pdframe.DataWarning, match="quarantined"):
            account.sync()
        assert "deal_changes" in account.sync()["table"].tolist()
        account.deal_changes(keep_going="stop")
        assert "deal_changes" not in account.sync()["table"].tolist()

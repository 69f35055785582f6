"""What happened to deals between two times: against the company's own list of writes."""

from __future__ import annotations

import re
import warnings
from ast import literal_eval
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pandas as pd
import pytest

from pdframe import DataWarning, metrics, sandbox
from pdframe.errors import ArgumentError
from tests.helpers.event_oracle import Happened, differences, events, states

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*options that are not defined.*:pdframe.errors.DataWarning"
)
FIRST = pd.Timestamp("2026-06-30 12:00", tz="UTC")


@pytest.fixture(scope="module")
def logged() -> Iterator[sandbox.SandboxAccount]:
    """A company of 100 deals with the changelogs of all, synced again a week later."""
    with sandbox.connect(
        seed=5, deals=100, company="hostile", burst=100_000, max_age=None, progress=False
    ) as account:
        account.sync()
        account.advance(days=7)
        account.sync()
        account.deal_changes()
        yield account


def moment(seconds: int) -> pd.Timestamp:
    return pd.Timestamp(seconds, unit="s", tz="UTC")


def shown(frame: pd.DataFrame) -> Counter[Happened]:
    """The rows of a frame as the oracle gives events."""
    return Counter(
        Happened(
            int(row["time"].timestamp()),
            row["deal_id"],
            row["event"],
            *(None if pd.isna(row[side]) else row[side] for side in ("before", "after")),
        )
        for row in frame.to_dict("records")
    )


def visible(account: sandbox.SandboxAccount) -> set[int]:
    return set(account.deal_history()["deal_id"])


# What no changelog and no snapshot before the first sync tells: an archived deal has only its last
# archiving.
UNLOGGED = ("unarchived", "archived", "deleted", "restored")


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2020", "2026-07-09"),
        ("2026-06-30 12:00:01", "2026-07-07 12:00"),
        ("2026-03-04", "2026-03-18"),
        ("2026-Q2", "2026-Q2"),
    ],
)
def test_with_changelogs_every_write_is_one_event(
    logged: sandbox.SandboxAccount, since: str, until: str
) -> None:
    rows = logged.changes(since, until)
    first, end = (
        pd.Timestamp(pd.Timestamp(text.replace("2026-Q2", day), tz=logged.tz)).timestamp()
        for text, day in ((since, "2026-04-01"), (until, "2026-07-01"))
    )
    expected = [
        one
        for one in events(logged.company_model, int(first), int(end))
        if one.deal_id in visible(logged)
        and (one.event not in UNLOGGED or one.time > FIRST.timestamp())
    ]
    rows = rows[~rows["event"].isin(UNLOGGED) | (rows["time"] > FIRST)]
    assert shown(rows) == Counter(expected)
    assert len(expected) > 3
    assert rows["time_after"].isna().all()


@pytest.mark.filterwarnings("ignore:changes. account.deal_changes:pdframe.DataWarning")
def test_with_snapshots_alone_each_snapshot_has_what_differs(
    account: sandbox.SandboxAccount,
) -> None:
    company, random = account.company_model, Random(11)
    account.sync()
    rounds = []
    before: dict[int, dict[str, Any]] = {row["id"]: row for _, row in states(company)}
    began, removed = company.now, {deal for deal in before if before[deal]["deleted"]}
    for _ in range(5):
        account.advance(days=1)
        # A deal that was deleted before the first snapshot is in none.
        for deal in random.sample(sorted({*before} - removed), 20):
            write(company, random, deal)
        account.sync("deals")
        now = {row["id"]: row for _, row in states(company)}
        # A deal that was created and deleted since the last snapshot was never seen.
        unseen = {deal for deal in now if deal not in before and now[deal]["deleted"]}
        rounds.append((began, company.now, before, now, unseen))
        before, began = now, company.now
    for began, ended, before, now, unseen in rounds:
        rows = account.changes(moment(began + 1), moment(ended + 1))
        expected = [
            one._replace(time=0)
            for deal in sorted(now)
            if deal in visible(account) and deal not in unseen
            for one in differences(company, 0, before.get(deal), now[deal])
        ]
        assert Counter(one._replace(time=0) for one in shown(rows).elements()) == Counter(expected)
        assert len(expected) > 5
        # Each time or its bounds lie around a write of this deal.
        for row in rows.itertuples():
            low = row.time_after.timestamp() if pd.notna(row.time_after) else None
            writes = [time for time, state in states(company) if state["id"] == row.deal_id]
            at = row.time.timestamp()
            assert any(at == time if low is None else low < time <= at for time in writes), row


def write(company: Any, random: Random, deal: int) -> None:
    """One random write on a deal, where the company allows it."""
    row = company.row("deals", deal)
    stages = [one["id"] for one in company.tables["stages"].values() if not one["is_deleted"]]
    users = [one["id"] for one in company.tables["users"].values() if one["active_flag"]]
    kinds = [
        lambda: company.patch_deal(deal, stage_id=random.choice(stages)),
        lambda: company.patch_deal(deal, status=random.choice(["open", "won", "lost"])),
        lambda: company.edit_deal(deal, owner_id=random.choice(users)),
        lambda: company.edit_deal(deal, expected_close_date=f"2026-{random.randint(7, 12):02d}-15"),
        lambda: company.edit_deal(deal, value=random.randint(1, 90) * 100),
        lambda: company.edit_deal(deal, currency=random.choice(["EUR", "USD"])),
        lambda: (company.unarchive_deal if row["is_archived"] else company.archive_deal)(deal),
        lambda: (
            company.undelete_deal if ("deals", deal) in company.deleted_at else company.delete_deal
        )(deal),
    ]
    try:
        random.choice(kinds)()
    except ValueError:
        company.advance(days=0.01)


def of_deal(frame: pd.DataFrame, deal: int) -> list[tuple[Any, ...]]:
    """Event, before and after of one deal's rows."""
    rows = frame.loc[frame["deal_id"] == deal, ["event", "before", "after"]]
    return [
        tuple(None if pd.isna(cell) else cell for cell in row)
        for row in rows.itertuples(index=False)
    ]


def open_deals(account: sandbox.SandboxAccount, count: int) -> list[int]:
    """Open deals without line items, whose value may be set."""
    deals = account.deals(refresh=False, names=False)
    chosen = deals.loc[(deals["status"] == "open") & ~deals["is_archived"], "id"].to_list()
    return [deal for deal in chosen if not account.company_model.lines_of(deal)][:count]


@pytest.mark.filterwarnings("ignore:changes. account.deal_changes:pdframe.DataWarning")
def test_each_kind_of_write_is_its_event(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    account.sync()
    began = company.now
    deal, other, third, fourth = open_deals(account, 4)
    rows = {number: dict(company.row("deals", number)) for number in (deal, other, third, fourth)}
    users = [user["id"] for user in company.tables["users"].values()]
    owner = next(user for user in users if user != rows[deal]["owner_id"])
    company.edit_deal(deal, owner_id=owner)
    company.edit_deal(deal, value=123_456.5)
    company.edit_deal(deal, currency="GBP", value=99)
    company.edit_deal(deal, expected_close_date="2031-05-06")
    account.sync("deals")
    company.edit_deal(deal, expected_close_date="2031-04-01", value=98.25)
    company.archive_deal(deal)
    company.win_deal(other)
    company.lose_deal(third)
    company.delete_deal(fourth)
    new = company.add_deal("<b>New & shiny</b>", value=10, currency="EUR")
    account.sync("deals")
    company.unarchive_deal(deal)
    company.patch_deal(third, status="won")
    company.undelete_deal(fourth)
    company.reopen_deal(other)
    account.sync("deals")
    every = account.changes(moment(began + 1))
    names = {user["id"]: user["name"] for user in company.tables["users"].values()}
    slipped = rows[deal]["expected_close_date"]
    assert of_deal(every, deal) == [
        ("currency changed", rows[deal]["currency"], "GBP"),
        *([("slipped", slipped, "2031-05-06")] if slipped else []),
        ("owner changed", names[rows[deal]["owner_id"]], names[owner]),
        ("value down", "99", "98.25"),
        ("pulled in", "2031-05-06", "2031-04-01"),
        ("archived", "false", "true"),
        ("unarchived", "true", "false"),
    ]
    # The win of one and the loss of another were undone: only what stands is a win or a loss.
    assert of_deal(every, other) == [("reopened", "won", "open")]
    assert of_deal(every, third) == [("won", "lost", "won")]
    assert of_deal(every, fourth) == [
        ("deleted", "open", "deleted"),
        ("reopened", "deleted", "open"),
    ]
    assert of_deal(every, new) == [("created", None, "open")]
    priced = every[every["event"] == "value down"].set_index("deal_id")
    assert priced.loc[deal, "value_change"] == -0.75
    assert priced.loc[deal, "value"] == 98.25
    assert every.loc[every["deal_id"] == new, "title"].to_list() == ["<b>New & shiny</b>"]
    assert every["url"].iloc[0].endswith(f"/deal/{every['deal_id'].iloc[0]}")
    # Before they were undone, they stood.
    snapshots = sorted(account.deal_history()["seen_at"].unique())
    early = account.changes(moment(began + 1), snapshots[-2] + pd.Timedelta(1, "us"))
    assert of_deal(early, other) == [("won", "open", "won")]
    assert of_deal(early, third) == [("lost", "open", "lost")]


def test_a_change_known_by_bounds_belongs_to_the_snapshot_that_shows_it(
    account: sandbox.SandboxAccount,
) -> None:
    company = account.company_model
    account.sync()
    (deal,) = open_deals(account, 1)
    company.edit_deal(deal, value=77_777)
    changed = moment(company.now)
    account.advance(days=2)
    company.lose_deal(deal)
    lost = moment(company.now)
    account.advance(days=2)
    account.sync("deals")
    rows = account.changes(changed - pd.Timedelta("1s")).query("deal_id == @deal")
    loss = rows[rows["event"] == "lost"].iloc[0]
    price = rows[rows["event"].isin(["value up", "value down"])].iloc[0]
    assert price["time"] > lost
    assert price["time_after"] < changed
    # A loss has its own time.
    assert (loss["time"], loss["time_after"] is pd.NaT) == (lost, True)
    # The price belongs to the window of the snapshot, the loss to its own.
    shown_at = price["time"]
    before = account.changes(changed - pd.Timedelta("1s"), shown_at).query("deal_id == @deal")
    assert before["event"].to_list() == ["lost"]
    assert before["value"].to_list() != [77_777]
    with pytest.warns(DataWarning, match="may have happened before `since`") as noticed:
        after = account.changes(shown_at).query("deal_id == @deal")
    assert len(noticed) == 1
    assert after["value"].to_list() == [77_777]


def test_a_deleted_win_is_no_win_unless_it_is_kept(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    account.sync()
    began = company.now
    deal, restored = open_deals(account, 2)
    for number in (deal, restored):
        company.win_deal(number)
    account.sync("deals")
    for number in (deal, restored):
        company.delete_deal(number)
    account.sync("deals")
    company.undelete_deal(restored)
    account.sync("deals")
    rows = account.changes(moment(began + 1))
    assert of_deal(rows, deal) == [("deleted", "won", "deleted")]
    assert of_deal(rows, restored) == [
        ("won", "open", "won"),
        ("deleted", "won", "deleted"),
        ("restored", "deleted", "won"),
    ]
    kept = metrics.changes(
        account.deal_history(),
        account.deals(deleted=True),
        since=moment(began + 1),
        until="2026-08",
        deleted="keep",
    )
    assert of_deal(kept, deal) == [("won", "open", "won"), ("deleted", "won", "deleted")]


@pytest.mark.parametrize("how", ["together", "pipeline later", "pipeline earlier", "stage only"])
def test_a_move_to_another_pipeline_is_one_event(how: Any) -> None:
    switches = sandbox.Switches(pipeline_move_in_changelog=how)
    with sandbox.connect(
        seed=3, deals=40, company="hostile", switches=switches, burst=100_000, progress=False
    ) as account:
        company = account.company_model
        account.sync()
        began = company.now
        (deal,) = open_deals(account, 1)
        row = company.row("deals", deal)
        was = company.tables["pipelines"][row["pipeline_id"]]["name"]
        stage = next(
            one
            for one in company.tables["stages"].values()
            if one["pipeline_id"] != row["pipeline_id"] and not one["is_deleted"]
        )
        company.move_deal(deal, stage["id"])
        now = company.tables["pipelines"][stage["pipeline_id"]]["name"]
        account.advance(days=0.1)
        account.sync("deals")
        for _ in range(2):
            rows = account.changes(moment(began + 1))
            assert of_deal(rows, deal) == [("changed pipeline", was, now)]
            mine = rows[rows["deal_id"] == deal].iloc[0]
            assert mine["stage_name"] == stage["name"]
            assert abs(mine["time"].timestamp() - epoch(row["stage_change_time"])) <= 2
            account.deal_changes([deal])


def epoch(text: str) -> float:
    return pd.Timestamp(text).timestamp()


def test_before_the_first_snapshot_changelogs_tell(account: sandbox.SandboxAccount) -> None:
    account.sync()
    first = account.deal_history()["seen_at"].min()
    with pytest.raises(ArgumentError) as refused:
        account.changes("7 days ago")
    message = str(refused.value)
    assert f"taken on {first:%Y-%m-%d %H:%M:%S} UTC" in message
    assert not len(account.changes(first))
    # What the message says to load is enough.
    deals = account.deals()
    code = message.split("account.deal_changes(")[1].rpartition(")")[0]
    ids = eval(code, {"deals": deals})  # noqa: S307
    assert f"unknown of {len(ids):,} deals" in message
    assert f"({len(ids) * 20:,} tokens)" in message
    account.deal_changes(ids)
    rows = account.changes("7 days ago")
    since = pd.Timestamp("2026-06-23", tz=account.tz).timestamp()
    expected = events(account.company_model, int(since), account.company_model.now + 1)
    unlogged = ("archived", "unarchived", "deleted", "restored")
    assert shown(rows[~rows["event"].isin(unlogged)]) == Counter(
        one for one in expected if one.event not in unlogged and one.deal_id in visible(account)
    )


def test_names_that_the_account_cannot_read_are_ids(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    account.deals(names=False)
    (deal,) = open_deals(account, 1)
    was = company.row("deals", deal)["stage_id"]
    pipeline = company.row("deals", deal)["pipeline_id"]
    stage = next(
        one["id"]
        for one in company.tables["stages"].values()
        if one["pipeline_id"] == pipeline and one["id"] != was
    )
    began = company.now
    company.move_deal(deal, stage)
    account.deals(refresh=True, names=False)
    with pytest.warns(DataWarning, match=r"direction of 1 moves is unknown: pass stages="):
        rows = account.changes(moment(began + 1), refresh=False)
    assert of_deal(rows, deal) == [("moved", str(was), str(stage))]
    assert rows["stage_name"].isna().all()


@pytest.mark.parametrize(
    ("since", "message"),
    [
        ("last Mondy", "Did you mean 'last Monday'?"),
        ("2099", "since='2099' is in the future: by the server's clock it is 2026-06-30 15:0"),
        (17, "since=17 is not a time"),
        (None, "since=None is not a time"),
    ],
)
def test_a_wrong_time_is_an_error_that_says_what_to_write(
    account: sandbox.SandboxAccount, since: Any, message: str
) -> None:
    with pytest.raises(ArgumentError) as refused:
        account.changes(since)
    assert message in str(refused.value)


def test_as_of_takes_times_counted_from_now(account: sandbox.SandboxAccount) -> None:
    account.sync("deals")
    account.advance(days=3)
    account.sync("deals")
    for word, day in (("3 days ago", "2026-06-30"), ("yesterday", "2026-07-02")):
        pd.testing.assert_frame_equal(account.as_of(word), account.as_of(day))
    with pytest.raises(ArgumentError, match="Did you mean 'yesterday'"):
        account.as_of("yesterdy")


def test_the_advice_about_early_events_costs_the_changelogs_of_their_deals_alone() -> None:
    with sandbox.connect(seed=7, deals=60, progress=False) as account:
        account.sync()
        account.advance(days=7)
        account.sync()
        with pytest.warns(DataWarning, match="may have happened before `since`") as noticed:
            rows = account.changes("2026-07-02 10:00")
        text = str(noticed[0].message)
        ids, tokens = re.search(  # type: ignore[union-attr]
            r"account\.deal_changes\((.*?)\) loads .* for ([\d,]+) tokens", text
        ).groups()
        before = account.tokens_today
        assert set(literal_eval(ids)) == {*rows.loc[rows["time_after"].notna(), "deal_id"]}
        account.deal_changes(literal_eval(ids))
        assert account.tokens_today - before == int(tokens.replace(",", "")) > 0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            later = account.changes("2026-07-02 10:00")
        assert later["time_after"].isna().all()

"""From snapshots alone, or from a changelog and later snapshots, stage visits never contradict the
true ones and never overlap.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pdframe import sandbox
from pdframe.cache.parts import newest_rows
from pdframe.cache.snapshots import SnapshotLog
from pdframe.history import stage_visits
from pdframe.schema.snapshots import TRACKED_COLUMNS
from tests.helpers import tiers, visits_oracle
from tests.helpers.cache_files import store_of
from tests.helpers.server_clock import server_now
from tests.helpers.tuning import LONG_LISTS

pytestmark = [
    pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning"),
    pytest.mark.usefixtures("long_lists"),
]
SWITCHES = {
    "likeliest": sandbox.Switches(),
    "other way": sandbox.Switches(
        archiving_moves_update_time=False,
        deleting_moves_update_time=False,
        reopening_moves_update_time=False,
        line_edits_move_update_time=False,
        stage_change_time_if_never_moved="set",
        changelog_has_creation=True,
        date_ahead_seconds=3600,
    ),
}


class Watched:
    """An account, with the time of each of its snapshots and the frame of deals at that time."""

    def __init__(self, account: sandbox.SandboxAccount) -> None:
        self.account = account
        self.company = account.company_model
        self.snapshots: list[visits_oracle.SnapshotTime] = []
        self.frames: dict[int, pd.DataFrame] = {}

    def snapshot(
        self, *, full: bool = False, during: list[Callable[[], None]] | None = None
    ) -> None:
        began = self.company.now
        # Nothing happens before the first request.
        todo: list[Callable[[], None] | None] = [*(during or ()), None]
        moved: set[int] = set()

        def between(path: str, params: Mapping[str, str]) -> None:
            happen = todo.pop() if todo else None
            if happen is not None:
                before = visits_oracle.archived(self.company)
                happen()
                moved.update(before ^ visits_oracle.archived(self.company))

        self.account.server.before_request = between
        self.account.sync("deals", full=full)
        self.account.server.before_request = None
        self.snapshots.append(visits_oracle.SnapshotTime(began, self.company.now, frozenset(moved)))
        number = SnapshotLog(store_of(self.account)).snapshots()["look"].to_pylist()[-1]
        self.frames[number] = self.account.deals(
            refresh=False, labels=False, columns=["id", *TRACKED_COLUMNS]
        )

    def check(self, visits: pd.DataFrame) -> None:
        visits_oracle.check_form(visits)
        visits_oracle.check_against_truth(visits, self.company.truth.stage_visits(), self.snapshots)

    def check_replay(self) -> None:
        """Check that the last row of each deal at every snapshot is that of the frame."""
        history = SnapshotLog(store_of(self.account))
        kept = history.rows().to_pandas()
        kept["expected_close_date"] = pd.to_datetime(kept["expected_close_date"])
        for number, frame in self.frames.items():
            last = (
                kept[kept["look"] <= number]
                .drop_duplicates("deal_id", keep="last")
                .sort_values("deal_id")
            )
            there = (
                last[~last["gone"].astype(bool)]
                .rename(columns={"deal_id": "id"})[frame.columns]
                .reset_index(drop=True)
            )
            pd.testing.assert_frame_equal(there.astype(frame.dtypes.to_dict()), frame)

    def with_changelog(self, log: pd.DataFrame, loaded: dict[int, Any] | None) -> pd.DataFrame:
        history = SnapshotLog(store_of(self.account))
        stages = self.account.stages(refresh=False)
        deals = self.account.deals(refresh=False, labels=False)
        return stage_visits(
            deals, history.rows(), log, stages=stages, snapshots=history.snapshots(), loaded=loaded
        )


def connected(
    path: Path, seed: int, deals: int, switches: sandbox.Switches
) -> sandbox.SandboxAccount:
    return sandbox.connect(
        seed=seed,
        deals=deals,
        switches=switches,
        cache_dir=path,
        company="hostile",
        burst=100_000,
        progress=False,
        max_age=None,
        options=LONG_LISTS,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "switches"), [(1, "likeliest"), (1, "other way"), (2, "other way"), (3, "likeliest")]
)
def test_weekly_snapshots_never_contradict_the_truth(
    tmp_path: Path, seed: int, switches: str
) -> None:
    with connected(tmp_path, seed, 120, SWITCHES[switches]) as account:
        watched = Watched(account)
        watched.snapshot()
        account.stages()
        log = visits_oracle.changelog(account.company_model)
        ahead = account.company_model.switches.date_ahead_seconds
        loaded = dict.fromkeys(
            account.company_model.tables["deals"],
            pd.Timestamp(account.company_model.now + ahead, unit="s", tz="UTC"),
        )
        random = Random(seed)
        for week in range(10):
            account.advance(days=7)
            rows = account.company_model.tables["deals"]
            closed = [
                deal
                for deal, row in rows.items()
                if row["status"] != "open" and not row["is_deleted"]
            ]
            for deal in random.sample(closed, 4):
                account.company_model.reopen_deal(deal)
            account.company_model.delete_deal(
                random.choice([deal for deal, row in rows.items() if not row["is_deleted"]])
            )
            watched.snapshot(full=week in (4, 9))
        visits = account.stage_visits(refresh=False)
        watched.check(visits)
        watched.check_replay()
        # Moves have a stage_change_time; only the time of a reopening is unknown.
        before = visits.groupby("deal_id")["end"].shift()
        assert before[visits["entered_after"].notna()].isin(["won", "lost"]).all()
        assert {"advanced", "won", "lost", "deleted", "open"} <= set(visits["end"].dropna())
        assert set(visits["source"]) == {"snapshots", "current"}
        deals = account.deals(refresh=False)
        still_open = deals[deals["status"] == "open"].set_index("id")["stage_id"]
        there = visits[visits["end"] == "open"].set_index("deal_id")["stage_id"]
        assert there.to_dict() == still_open.to_dict()
        for read in (loaded, None):
            both = watched.with_changelog(log, read)
            watched.check(both)
            assert {"changelog", "snapshots"} <= set(both["source"])


WRITES = (
    "move",
    "move",
    "win",
    "lose",
    "reopen",
    "reopen",
    "archive",
    "unarchive",
    "delete",
    "edit",
    "add",
)
STEPS = st.one_of(
    st.tuples(st.sampled_from(WRITES), st.integers(0, 5)),
    st.tuples(st.sampled_from(["snapshot", "snapshot", "full", "second", "log"]), st.just(0)),
)


def write(company: Any, kind: str, which: int) -> None:
    """Do one thing to a deal, if it can be done."""
    rows = [row for row in company.tables["deals"].values() if not row["is_deleted"]]
    if kind == "add" or not rows:
        company.add_deal("New")
        return
    deal = rows[which % len(rows)]
    stages = [
        stage["id"]
        for stage in company.tables["stages"].values()
        if not stage["is_deleted"] and stage["id"] != deal["stage_id"]
    ]
    if kind == "edit":
        company.edit_deal(deal["id"], title=f"{which} {company.now}")
    elif kind == "delete":
        company.delete_deal(deal["id"])
    elif kind in ("archive", "unarchive") and deal["is_archived"] is (kind == "unarchive"):
        getattr(company, f"{kind}_deal")(deal["id"])
    elif kind == "reopen" and deal["status"] != "open":
        company.reopen_deal(deal["id"])
    elif deal["status"] == "open" and kind == "move":
        company.move_deal(deal["id"], stages[(which + company.now) % len(stages)])
    elif deal["status"] == "open" and kind in ("win", "lose"):
        getattr(company, f"{kind}_deal")(deal["id"])


@settings(
    max_examples=int(os.environ.get("PDFRAME_LOOKS", tiers.examples(10))),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    steps=st.lists(STEPS, min_size=5, max_size=40),
    flags=st.tuples(*[st.booleans()] * 4),
    never_moved=st.sampled_from(["null", "set"]),
    ahead=st.sampled_from([0, 3, 3600]),
    life=st.booleans(),
)
@example(
    # Won and reopened soon after a snapshot whose Date ran ahead of the win.
    steps=[("snapshot", 0), ("second", 0), ("win", 0), ("win", 1), ("reopen", 0)],
    flags=(False,) * 4,
    never_moved="null",
    ahead=3,
    life=False,
)
@example(
    # Deal 2 is archived before the second snapshot requests live deals, and is live again before it
    # requests archived ones.
    steps=[
        ("snapshot", 0),
        ("lose", 1),
        ("unarchive", 0),
        ("archive", 0),
        ("snapshot", 0),
        ("reopen", 0),
        ("snapshot", 0),
    ],
    flags=(False,) * 4,
    never_moved="null",
    ahead=0,
    life=True,
)
def test_whatever_happens_no_visit_contradicts_the_truth(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, int]],
    flags: tuple[bool, ...],
    never_moved: Any,
    ahead: int,
    life: bool,
) -> None:
    archiving, deleting, reopening, creation = flags
    switches = replace(
        sandbox.Switches(),
        archiving_moves_update_time=archiving,
        deleting_moves_update_time=deleting,
        reopening_moves_update_time=reopening,
        changelog_has_creation=creation,
        stage_change_time_if_never_moved=never_moved,
        date_ahead_seconds=ahead,
    )
    with connected(tmp_path_factory.mktemp("cache"), 1, 0, switches) as account:
        company, watched = account.company_model, Watched(account)
        for number in range(3):
            company.add_deal(f"Deal {number}")
        account.stages()
        log: tuple[pd.DataFrame, dict[int, Any]] | None = None
        waiting: list[tuple[str, int]] = []
        for number, (kind, which) in enumerate(steps):
            if kind in ("snapshot", "full"):
                during = (
                    [lambda step=step: write(company, *step) for step in waiting] if life else []
                )
                watched.snapshot(full=kind == "full", during=during)
                waiting = []
            elif kind == "log":
                log = (
                    visits_oracle.changelog(company),
                    dict.fromkeys(
                        company.tables["deals"],
                        pd.Timestamp(company.now + ahead, unit="s", tz="UTC"),
                    ),
                )
            elif kind == "second":
                with company.same_second():
                    for step in steps[:number][-3:]:
                        if step[0] in WRITES:
                            write(company, *step)
            else:
                write(company, kind, which)
                waiting = [*waiting, (kind, which + 1)][-3:]
        company.edit_deal(company.add_deal("The last one"), title="so that time has passed")
        watched.snapshot(full=True)
        watched.check(account.stage_visits(refresh=False))
        watched.check_replay()
        if log is not None:
            watched.check(watched.with_changelog(*log))
            watched.check(watched.with_changelog(log[0], None))


def test_what_cannot_be_seen_any_more_has_ended(account: sandbox.SandboxAccount) -> None:
    deals = account.deals()
    deal = int(deals["id"][deals["status"] == "open"].iloc[0])
    account.company_model.hide("deals", deal)
    account.stages()
    account.sync("deals", full=True)
    row = (
        newest_rows(SnapshotLog(store_of(account)).rows(), "deal_id")
        .to_pandas()
        .set_index("deal_id")
        .loc[deal]
    )
    assert (row["gone"], row["status"]) == (True, "open")
    visits = account.stage_visits(refresh=False)
    assert visits[visits["deal_id"] == deal]["end"].tolist()[-1] == "deleted"


def test_zero_deals_keep_columns_and_dtypes() -> None:
    with sandbox.connect(
        seed=1, deals=0, company="hostile", burst=100_000, progress=False, options=LONG_LISTS
    ) as account:
        visits = account.stage_visits()
        visits_oracle.check_form(visits)
        assert len(visits) == 0
        assert len(account.as_of(server_now(account))) == 0


def test_an_account_that_never_tells_when_stages_changed_bounds_them() -> None:
    with sandbox.connect(
        seed=2, deals=120, company="hostile", burst=100_000, progress=False, options=LONG_LISTS
    ) as account:
        deals = account.deals(labels=False)
        deals["stage_change_time"] = pd.Series(
            pd.NaT, index=deals.index, dtype=deals["stage_change_time"].dtype
        )
        now = pd.Timestamp(account.company_model.now, unit="s", tz="UTC")
        visits = stage_visits(deals, stages=account.stages(), seen_at=now)
        visits_oracle.check_form(visits)
        assert (visits["entered_after"].notna() | (visits["entered_at"] == visits["left_at"])).all()
        visits_oracle.check_against_truth(visits, account.company_model.truth.stage_visits(), [])


@pytest.mark.parametrize(("moved", "reported"), [("09:00:05", ["open"]), (None, ["won", "open"])])
def test_a_win_in_the_second_of_a_move_is_not_taken_for_one_in_the_new_stage(
    moved: str | None, reported: list[str]
) -> None:
    """Won in one stage, reopened and moved within a second: the snapshot has the new stage and the
    time of the win, not the stage of the win.
    """
    day = "2026-06-01 "
    at = {
        "add_time": "09:00:05" if moved is None else "09:00:00",
        "stage_change_time": moved,
        "first_won_time": "09:00:05",
    }
    deals = pd.DataFrame(
        {
            "id": [1, 2],
            "stage_id": [3, 3],
            "pipeline_id": [1, 1],
            "status": ["open", "open"],
            **{
                name: pd.to_datetime([time and day + time, None], utc=True)
                for name, time in at.items()
            },
        }
    )
    # Another deal shows that the account dates moves at all.
    deals.loc[1, ["add_time", "stage_change_time"]] = pd.Timestamp(f"{day}09:00:00", tz="UTC")
    visits = stage_visits(deals, seen_at=pd.Timestamp(f"{day}10:00:00", tz="UTC").to_pydatetime())
    visits = visits[visits["deal_id"] == 1]
    assert visits["end"].tolist() == reported
    assert visits["entered_at"].iloc[0] == pd.Timestamp(f"{day}09:00:05", tz="UTC")


def test_a_deal_that_moved_and_was_deleted_between_two_snapshots_is_missing() -> None:
    """Its last stamp was the newest of all and disappeared with it, so no snapshot knows it; the
    snapshot without the deal is later all the same.
    """
    day = "2026-06-01 "
    at = {name: pd.Timestamp(day + name, tz="UTC") for name in ("08:00", "09:00", "10:00", "11:00")}
    kept = pd.DataFrame(
        {
            "deal_id": [1, 1],
            "stage_id": [3, 3],
            "pipeline_id": [1, 1],
            "status": ["open", "deleted"],
            "look": [1, 2],
        }
    ).assign(
        **dict.fromkeys(
            ("stage_change_time", "won_time", "lost_time", "first_won_time"),
            pd.Series([pd.NaT] * 2, dtype="datetime64[us, UTC]"),
        ),
        add_time=at["08:00"],
        gone=[False, True],
        seen_at=[at["09:00"], at["11:00"]],
    )
    snapshots = pd.DataFrame(
        {
            "look": [1, 2],
            "kind": ["full", "incremental"],
            "complete_to": at["08:00"],
            "seen_at": kept["seen_at"],
        }
    )
    log = pd.DataFrame(
        {
            "deal_id": [1],
            "time": [at["10:00"]],
            "field_key": ["stage_id"],
            "old_value": ["3"],
            "new_value": ["4"],
        }
    )
    no_deals = kept.rename(columns={"deal_id": "id"}).iloc[:0]
    visits = stage_visits(no_deals, kept, log, snapshots=snapshots)
    assert visits["stage_id"].tolist() == [3, 4]
    assert visits["end"].iloc[1] == "deleted"
    assert (visits["left_after"].iloc[1], visits["left_at"].iloc[1]) == (at["10:00"], at["11:00"])


@pytest.mark.parametrize("status", ["won", "lost"])
def test_a_closed_deal_that_is_visible_again_has_its_old_end(
    account: sandbox.SandboxAccount, status: str
) -> None:
    deals = account.deals()
    account.stages()
    deal = int(deals["id"][deals["status"] == status].iloc[0])
    before = account.stage_visits(refresh=False)
    account.company_model.hide("deals", deal)
    account.sync("deals", full=True)
    account.company_model.show("deals", deal)
    account.sync("deals", full=True)
    assert deal in set(account.deals(refresh=False)["id"])
    after = account.stage_visits(refresh=False)
    reported, known = (
        visits_oracle.rows_of(after[after["deal_id"] == deal]),
        visits_oracle.rows_of(before[before["deal_id"] == deal]),
    )
    # Its disappearance and its return are visits of no length: it was open at no time.
    assert reported[: len(known)] == [row._replace(source="snapshots") for row in known]
    assert [row.end for row in reported[len(known) :]] == ["deleted", status]
    assert all(
        (row.entered_at, row.entered_after) == (row.left_at, row.left_after)
        for row in reported[len(known) :]
    )
    assert {row.stage_id for row in reported[len(known) :]} == {known[-1].stage_id}


@pytest.mark.parametrize("seed", range(5))
def test_visits_do_not_overlap_whatever_the_stamps_say(seed: int) -> None:
    """Times set by hand, and clocks that disagree: no stamp fits its snapshot."""
    random = Random(seed)
    names = ("stage_change_time", "won_time", "first_won_time")
    snapshots = []
    for deal in range(1, 201):
        for snapshot in range(1, random.randint(2, 5)):
            stage, status = random.choice((1, 2, 3)), random.choice(("open", "open", "won", "lost"))
            stamps = {name: random.choice((None, random.randint(0, 50))) for name in names}
            row = {
                "deal_id": deal,
                "stage_id": stage,
                "pipeline_id": random.choice((1, 2)),
                "status": status,
                "add_time": 0,
                **stamps,
            }
            snapshots.append(
                {
                    **row,
                    "lost_time": None,
                    "gone": random.random() < 0.1,
                    "seen_at": 12 * snapshot,
                    "look": snapshot,
                }
            )
    history = pd.DataFrame(snapshots)
    for name in ("add_time", "lost_time", "seen_at", *names):
        history[name] = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(
            history[name].astype("Float64"), unit="h"
        )
    deals = history.drop_duplicates("deal_id").rename(columns={"deal_id": "id"})
    changes = pd.DataFrame(
        {
            "deal_id": range(1, 101),
            "time": pd.Timestamp("2026-01-01 01:00", tz="UTC"),
            "field_key": "status",
            "old_value": None,
            "new_value": "open",
        }
    )
    visits = stage_visits(deals, history, changes)
    before = visits.groupby("deal_id")[["left_at"]].shift()["left_at"]
    assert (visits["left_at"].isna() | (visits["entered_at"] <= visits["left_at"])).all()
    assert before.notna().sum() > 100
    assert not (visits["entered_at"] < before).any()

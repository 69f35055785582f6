"""With changelogs, stage visits are the true ones, to the second."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from pdframe.history import stage_visits
from pdframe.history.changelog import Change, oldest_first
from pdframe.sandbox import Company, Switches
from tests.helpers import visits_oracle

SETTINGS = list(itertools.product((1, 2, 3), (False, True), ("null", "set")))


def lived(seed: int, has_creation: bool, never_moved: Any) -> Company:
    """A company whose deals go through everything, reopening and moves in one second among it."""
    company = Company(
        seed=seed,
        deals=250,
        switches=Switches(
            changelog_has_creation=has_creation, stage_change_time_if_never_moved=never_moved
        ),
    )
    company.advance(days=60)
    rows = company.tables["deals"]
    closed = [
        deal for deal, row in rows.items() if row["status"] != "open" and not row["is_deleted"]
    ]
    for deal in closed[:12]:
        company.reopen_deal(deal)
    for deal in closed[:4]:
        company.lose_deal(deal)
        company.reopen_deal(deal)
    company.delete_deal(closed[20])
    company.archive_deal(next(deal for deal in closed[4:20] if not rows[deal]["is_archived"]))
    stages = list(company.tables["stages"].values())
    for deal, count in zip(closed[:12], itertools.cycle((1, 2, 3))):
        with company.same_second():
            for stage in [stage for stage in stages if not stage["is_deleted"]][-count:]:
                if stage["id"] != rows[deal]["stage_id"]:
                    company.move_deal(deal, stage["id"])
    company.delete_deal(closed[3])
    return company


@pytest.mark.parametrize(("seed", "has_creation", "never_moved"), SETTINGS)
def test_visits_are_the_true_ones(seed: int, has_creation: bool, never_moved: str) -> None:
    company = lived(seed, has_creation, never_moved)
    truth = company.truth.stage_visits()
    assert {"won", "lost", "deleted", "open", "moved back", "changed pipeline", "advanced"} == {
        visit.end for visit in truth
    }
    now = pd.Timestamp(company.now, unit="s", tz="UTC")
    visits = stage_visits(
        visits_oracle.state_of(company),
        None,
        visits_oracle.changelog(company),
        stages=pd.DataFrame(company.tables["stages"].values()),
        loaded=dict.fromkeys(company.tables["deals"], now),
        seen_at=now,
    )
    visits_oracle.check_form(visits)
    assert visits_oracle.facts(visits) == [tuple(visit) for visit in truth]
    assert (visits["source"] == "changelog").all()
    assert (visits["seen_at"] == visits["entered_at"]).all()
    assert visits[["entered_after", "left_after"]].isna().all().all()


def test_rows_may_come_newest_first_and_as_arrow_with_real_times() -> None:
    company = lived(2, False, "null")
    stages = pa.Table.from_pylist(
        [
            {key: row[key] for key in ("id", "order_nr", "pipeline_id")}
            for row in company.tables["stages"].values()
        ]
    )
    newest_first = visits_oracle.changelog(company, newest_first=True)
    newest_first["time"] = pd.to_datetime(newest_first["time"], utc=True)
    given = pa.Table.from_pandas(newest_first, preserve_index=False)
    deals = visits_oracle.state_of(company)
    with_rows = set(newest_first["deal_id"][newest_first["field_key"].isin(["stage_id", "status"])])
    visits = stage_visits(deals, None, given, stages=stages)
    true = [tuple(visit) for visit in company.truth.stage_visits() if visit.deal_id in with_rows]
    assert visits_oracle.facts(visits[visits["deal_id"].isin(with_rows)]) == true


def test_deals_that_no_snapshot_saw_are_reported_by_their_creation_alone() -> None:
    company = lived(3, True, "null")
    nothing = visits_oracle.state_of(company).slice(0, 0)
    visits = stage_visits(
        nothing,
        None,
        visits_oracle.changelog(company),
        stages=pd.DataFrame(company.tables["stages"].values()),
    )
    assert visits_oracle.facts(visits) == [tuple(visit) for visit in company.truth.stage_visits()]


def test_a_stage_whose_place_is_unknown_leaves_the_end_open_to_question() -> None:
    company = lived(1, False, "null")
    stages = pd.DataFrame(company.tables["stages"].values())
    moved = stages["id"].iloc[2]
    visits = stage_visits(
        visits_oracle.state_of(company),
        None,
        visits_oracle.changelog(company),
        stages=stages[stages["id"] != moved],
        loaded=dict.fromkeys(
            company.tables["deals"], pd.Timestamp(company.now, unit="s", tz="UTC")
        ),
    )
    for reported, true in zip(visits.itertuples(), company.truth.stage_visits(), strict=True):
        if pd.isna(reported.end):
            assert true.end in ("advanced", "moved back")
        else:
            assert reported.end == true.end
    unknown = visits["end"].isna()
    assert unknown.any()
    assert (visits["stage_id"] == moved)[unknown | unknown.shift(fill_value=False)].any()


def test_a_deal_that_was_created_closed_has_one_visit() -> None:
    """An import creates won deals: their changelog has no row of that."""
    times = pd.to_datetime(["2024-05-01"], utc=True)
    deals = pd.DataFrame(
        {
            "id": [7],
            "stage_id": [3],
            "pipeline_id": [1],
            "status": ["won"],
            "stage_change_time": pd.to_datetime([None], utc=True),
            "add_time": times,
            "won_time": times + pd.Timedelta("2D"),
        }
    )
    log = visits_oracle.changelog(Company(seed=1, deals=0))
    now = pd.Timestamp("2026-01-01", tz="UTC")
    visits = stage_visits(deals, None, log, loaded={7: now}, seen_at=now)
    visits_oracle.check_form(visits)
    assert visits_oracle.facts(visits) == [
        (
            7,
            1,
            3,
            1,
            *(int(time.timestamp()) for time in (times[0], times[0] + pd.Timedelta("2D"))),
            "won",
        )
    ]


@pytest.mark.parametrize("backwards", [False, True])
def test_rows_of_one_second_keep_their_order(backwards: bool) -> None:
    rows = [
        Change(5, "stage_id", "1", "2"),
        Change(5, "stage_id", "2", "3"),
        Change(5, "pipeline_id", "1", "2"),
        Change(5, "status", "open", "won"),
    ]
    assert oldest_first(rows[::-1] if backwards else rows) == rows
    later = [*rows, Change(6, "status", "won", "open")]
    assert oldest_first(later[::-1] if backwards else later) == later


def test_a_lone_row_of_the_pipeline_at_the_time_of_the_last_move_is_that_move() -> None:
    """Whatever another deal's row says of the stage: it reads like a move of the stage in the
    settings a day later.
    """
    stages = pd.DataFrame({"id": [14, 22], "order_nr": [1, 1], "pipeline_id": [1, 2]})
    moved = ["2026-01-07 03:00:00", "2026-01-08 03:00:00"]
    deals = pd.DataFrame(
        {
            "id": [1, 2],
            "stage_id": 22,
            "pipeline_id": 2,
            "status": "open",
            "add_time": "2026-01-01",
            "stage_change_time": [moved[0], None],
        }
    )
    changes = pd.DataFrame(
        {
            "deal_id": [1, 2],
            "time": moved,
            "field_key": "pipeline_id",
            "old_value": ["1", "1"],
            "new_value": ["2", "2"],
        }
    )
    for name in ("add_time", "stage_change_time"):
        deals[name] = pd.to_datetime(deals[name], utc=True)
    changes["time"] = pd.to_datetime(changes["time"], utc=True)
    now = pd.Timestamp("2026-02-01", tz="UTC")
    visits = stage_visits(
        deals, changes=changes, stages=stages, seen_at=now, loaded=dict.fromkeys([1, 2], now)
    )
    last = visits.drop_duplicates("deal_id", keep="last")
    assert (
        last[["stage_id", "pipeline_id", "end"]].astype({"end": "str"}).to_numpy().tolist()
        == [[22, 2, "open"]] * 2
    )
    assert visits.loc[visits["deal_id"] == 1, "end"].tolist() == ["changed pipeline", "open"]


def test_a_deal_created_closed_and_deleted_later_was_closed_at_its_own_time() -> None:
    stages = pd.DataFrame({"id": [14], "order_nr": [1], "pipeline_id": [1]})
    times = {
        name: pd.to_datetime([text], utc=True)
        for name, text in (("add_time", "2026-01-01"), ("won_time", "2026-01-03"))
    }
    deals = pd.DataFrame(
        {
            "id": [1],
            "stage_id": 14,
            "pipeline_id": 1,
            "status": "won",
            "stage_change_time": pd.NaT,
            **times,
        }
    )
    deals["stage_change_time"] = pd.to_datetime(deals["stage_change_time"], utc=True)
    changes = pd.DataFrame(
        {
            "deal_id": 1,
            "time": pd.to_datetime(["2026-02-02", "2026-02-01"], utc=True),
            "field_key": "status",
            "old_value": ["deleted", "won"],
            "new_value": ["won", "deleted"],
        }
    )
    now = pd.Timestamp("2026-03-01", tz="UTC")
    visits = stage_visits(deals, changes=changes, stages=stages, seen_at=now, loaded={1: now})
    assert visits["end"].tolist() == ["won", "deleted", "won"]
    assert visits["left_at"].iloc[0] == pd.Timestamp("2026-01-03", tz="UTC")


def test_a_status_that_is_none_of_those_known_costs_its_own_row() -> None:
    """The deal was created with a status that no specification names, and then set to won and
    back.
    """
    deals = pd.DataFrame({"id": [1], "stage_id": [7], "pipeline_id": [1], "status": ["open"]})
    deals = deals.assign(stage_change_time=pd.NaT, add_time=pd.Timestamp("2026-03-01", tz="UTC"))
    rows = [
        ("2026-03-04", "7", "8", "stage_id"),
        ("2026-03-05", "pending", "won", "status"),
        ("2026-03-06", "won", "open", "status"),
    ]
    changes = pd.DataFrame(rows, columns=["time", "old_value", "new_value", "field_key"]).assign(
        deal_id=1
    )
    visits = stage_visits(
        deals, None, changes.assign(time=pd.to_datetime(changes["time"], utc=True))
    )
    assert [*visits["stage_id"]] == [7, 8, 8]
    assert [None if pd.isna(end) else end for end in visits["end"]] == [None, "won", "open"]

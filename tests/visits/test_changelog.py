"""With changelogs, stage visits are the true ones, to the second."""

from __future__ import annotations

import itertools
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import stays

from pdframe.sandbox import Company, Switches
from pdframe.visits import stage_visits
from pdframe.visits.changelog import Change, oldest_first

SETTINGS = list(itertools.product((1, 2, 3), (False, True), ("null", "set")))


def lived(seed: int, has_creation: bool, never_moved: Any) -> Company:
    """A company whose deals go through everything, reopening and moves in one second among it."""
    company = Company(
        seed=seed, deals=250, switches=Switches(changelog_has_creation=has_creation, stage_change_time_if_never_moved=never_moved)
    )
    company.advance(days=60)
    rows = company.tables["deals"]
    closed = [deal for deal, row in rows.items() if row["status"] != "open" and not row["is_deleted"]]
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
    assert {"won", "lost", "deleted", "open", "moved back", "changed pipeline", "advanced"} == {visit.end for visit in truth}
    now = pd.Timestamp(company.now, unit="s", tz="UTC")
    visits = stage_visits(
        stays.state_of(company),
        None,
        stays.changelog(company),
        stages=pd.DataFrame(company.tables["stages"].values()),
        loaded=dict.fromkeys(company.tables["deals"], now),
        seen_at=now,
    )
    stays.check_form(visits)
    assert stays.facts(visits) == [tuple(visit) for visit in truth]
    assert (visits["source"] == "changelog").all()
    assert (visits["seen_at"] == visits["entered_at"]).all()
    assert visits[["entered_after", "left_after"]].isna().all().all()


def test_rows_may_come_newest_first_and_as_arrow_with_real_times() -> None:
    company = lived(2, False, "null")
    stages = pa.Table.from_pylist(
        [{key: row[key] for key in ("id", "order_nr", "pipeline_id")} for row in company.tables["stages"].values()]
    )
    newest_first = stays.changelog(company, newest_first=True)
    newest_first["time"] = pd.to_datetime(newest_first["time"], utc=True)
    given = pa.Table.from_pandas(newest_first, preserve_index=False)
    deals = stays.state_of(company)
    with_rows = set(newest_first["deal_id"][newest_first["field_key"].isin(["stage_id", "status"])])
    visits = stage_visits(deals, None, given, stages=stages)
    true = [tuple(visit) for visit in company.truth.stage_visits() if visit.deal_id in with_rows]
    assert stays.facts(visits[visits["deal_id"].isin(with_rows)]) == true


def test_deals_that_nobody_looked_at_are_told_by_their_creation_alone() -> None:
    company = lived(3, True, "null")
    nothing = stays.state_of(company).slice(0, 0)
    visits = stage_visits(nothing, None, stays.changelog(company), stages=pd.DataFrame(company.tables["stages"].values()))
    assert stays.facts(visits) == [tuple(visit) for visit in company.truth.stage_visits()]


def test_a_stage_whose_place_is_unknown_leaves_the_end_open_to_question() -> None:
    company = lived(1, False, "null")
    stages = pd.DataFrame(company.tables["stages"].values())
    moved = stages["id"].iloc[2]
    visits = stage_visits(
        stays.state_of(company), None, stays.changelog(company), stages=stages[stages["id"] != moved],
        loaded=dict.fromkeys(company.tables["deals"], pd.Timestamp(company.now, unit="s", tz="UTC")),
    )  # fmt: skip
    for told, true in zip(visits.itertuples(), company.truth.stage_visits(), strict=True):
        if pd.isna(told.end):
            assert true.end in ("advanced", "moved back")
        else:
            assert told.end == true.end
    unknown = visits["end"].isna()
    assert unknown.any()
    assert (visits["stage_id"] == moved)[unknown | unknown.shift(fill_value=False)].any()


def test_a_deal_that_was_created_closed_has_one_stay() -> None:
    """An import creates won deals: their changelog says nothing of it."""
    times = pd.to_datetime(["2024-05-01"], utc=True)
    deals = pd.DataFrame(
        {
            "id": [7], "stage_id": [3], "pipeline_id": [1], "status": ["won"], "stage_change_time": pd.to_datetime([None], utc=True),
            "add_time": times, "won_time": times + pd.Timedelta("2D"),
        }
    )  # fmt: skip
    log = stays.changelog(Company(seed=1, deals=0))
    now = pd.Timestamp("2026-01-01", tz="UTC")
    visits = stage_visits(deals, None, log, loaded={7: now}, seen_at=now)
    stays.check_form(visits)
    assert stays.facts(visits) == [(7, 1, 3, 1, *(int(time.timestamp()) for time in (times[0], times[0] + pd.Timedelta("2D"))), "won")]


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

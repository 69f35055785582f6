"""Moves between stages, each case with its whole table written out. Days count from 2026-01-01; all
is known up to day 100.
"""

from __future__ import annotations

import re
from typing import Any

import duckdb
import pandas as pd
import pytest

from pdframe import sandbox
from pdframe.errors import ArgumentError
from pdframe.metrics import drill_through, funnel, stage_move_visits, stage_moves, stage_velocity
from tests.helpers.notices import noticed
from tests.helpers.visit_frames import ID_OF, day, known_visits, stages

NOW = day(100)
DTYPES = {
    "from_stage_id": "Int64",
    "from_stage": "str",
    "from_order_nr": "Int64",
    "to_stage_id": "Int64",
    "to": "str",
    "to_order_nr": "Int64",
    "back": "boolean",
    "moves": "Int64",
    "deals": "Int64",
    "share": "float64",
}
ORDERS = {"A": 1, "B": 3, "C": 7}


def check(table: pd.DataFrame, expected: list[tuple[str, str, Any, int, int, float]]) -> None:
    """Compare with rows of from, to, back, moves, deals, share; X is the deleted stage, without
    name and order.
    """
    rows = [
        (
            ID_OF[a],
            None if a == "X" else a,
            ORDERS.get(a),
            ID_OF.get(b),
            None if b == "X" else b,
            ORDERS.get(b),
            *rest,
        )
        for a, b, *rest in expected
    ]
    pd.testing.assert_frame_equal(
        table, pd.DataFrame(rows, columns=[*DTYPES]).astype(DTYPES), rtol=1e-12
    )


def test_skips_moves_back_and_every_end() -> None:
    visits = known_visits(
        (1, "A", 0, 10, "advanced"),
        (1, "B", 10, 20, "advanced"),
        (1, "C", 20, 30, "moved back"),
        (1, "A", 30, 40, "lost"),
        (2, "A", 0, 5, "advanced"),
        (2, "C", 5, 9, "won"),
        (3, "A", 2, None, "open"),
        (4, "B", 3, 8, "deleted"),
        (5, "C", 3, 8, "moved back"),
        (5, "B", 8, 9, "moved back"),
        (5, "A", 9, None, "open"),
    )
    check(
        stage_moves(visits, stages(), as_of=NOW),
        [
            ("A", "B", False, 1, 1, 1 / 5),
            ("A", "C", False, 1, 1, 1 / 5),
            ("A", "lost", None, 1, 1, 1 / 5),
            ("A", "open", None, 2, 2, 2 / 5),
            ("B", "A", True, 1, 1, 1 / 3),
            ("B", "C", False, 1, 1, 1 / 3),
            ("B", "deleted", None, 1, 1, 1 / 3),
            ("C", "A", True, 1, 1, 1 / 3),
            ("C", "B", True, 1, 1, 1 / 3),
            ("C", "won", None, 1, 1, 1 / 3),
        ],
    )


def test_a_deal_that_comes_again_moves_again() -> None:
    visits = known_visits(
        (1, "A", 0, 1, "advanced"),
        (1, "B", 1, 2, "moved back"),
        (1, "A", 2, 3, "advanced"),
        (1, "B", 3, 4, "lost"),
        (1, "B", 6, 7, "won"),
    )
    check(
        stage_moves(visits, stages(), as_of=NOW),
        [
            ("A", "B", False, 2, 1, 1.0),
            ("B", "A", True, 1, 1, 1 / 3),
            ("B", "won", None, 1, 1, 1 / 3),
            ("B", "lost", None, 1, 1, 1 / 3),
        ],
    )


def test_a_change_of_pipeline_is_an_outcome_and_the_path_back_no_move() -> None:
    visits = known_visits(
        (1, "A", 0, 4, "changed pipeline"),
        (1, "D", 4, 6, "changed pipeline"),
        (1, "C", 6, 9, "won"),
        # That it advanced contradicts the pipeline it went to.
        (2, "B", 0, 4, "advanced"),
        (2, "D", 4, None, "open"),
    )
    check(
        stage_moves(visits, stages(), as_of=NOW, pipeline_id=1),
        [
            ("A", "changed pipeline", None, 1, 1, 1.0),
            ("B", "changed pipeline", None, 1, 1, 1.0),
            ("C", "won", None, 1, 1, 1.0),
        ],
    )
    with pytest.raises(ArgumentError, match=r"Pass pipeline_id: .* The pipelines are 1, 2"):
        stage_moves(visits, stages(), as_of=NOW)


def test_won_from_the_first_stage() -> None:
    check(
        stage_moves(known_visits((1, "A", 0, 0, "won")), stages(), as_of=NOW),
        [("A", "won", None, 1, 1, 1.0)],
    )


def test_a_deleted_stage_keeps_its_moves_without_a_direction() -> None:
    visits = known_visits(
        (1, "A", 0, 1, "advanced"),
        (1, "X", 1, 2, "moved back"),
        (1, "A", 2, None, "open"),
        (2, "X", 0, 1, "lost"),
    )
    check(
        stage_moves(visits, stages(), as_of=NOW),
        [
            ("A", "X", None, 1, 1, 1 / 2),
            ("A", "open", None, 1, 1, 1 / 2),
            ("X", "A", None, 1, 1, 1 / 2),
            ("X", "lost", None, 1, 1, 1 / 2),
        ],
    )


def test_visits_of_one_second_keep_their_order() -> None:
    visits = known_visits(
        (1, "A", 5, 5, "advanced"), (1, "B", 5, 5, "advanced"), (1, "C", 5, None, "open")
    )
    check(
        stage_moves(visits, stages(), as_of=NOW),
        [
            ("A", "B", False, 1, 1, 1.0),
            ("B", "C", False, 1, 1, 1.0),
            ("C", "open", None, 1, 1, 1.0),
        ],
    )


@pytest.mark.parametrize("by", [None, "owner"])
def test_nothing_keeps_every_column(by: str | None) -> None:
    visits = known_visits((1, "A", 0, 1, "won")).assign(owner=pd.Series(["x"], dtype="str"))
    table = stage_moves(visits.iloc[:0], stages(), as_of=NOW, pipeline_id=1, by=by)
    assert (len(table), table.dtypes.astype("str").to_dict()) == (
        0,
        ({"owner": "str"} if by else {}) | DTYPES,
    )
    rows = stage_move_visits(visits.iloc[:0], stages(), as_of=NOW, pipeline_id=1, by=by)
    assert len(rows) == 0
    assert {"deal_id", "to", "left_at", "days"} <= {*rows.columns}


def test_what_comes_after_as_of_is_not_known() -> None:
    visits = known_visits(
        (1, "A", 0, 10, "advanced"), (1, "B", 10, 20, "won"), (2, "A", 15, 16, "lost")
    )
    check(stage_moves(visits, stages(), as_of=day(5)), [("A", "open", None, 1, 1, 1.0)])
    check(
        stage_moves(visits, stages(), as_of=day(12)),
        [("A", "B", False, 1, 1, 1.0), ("B", "open", None, 1, 1, 1.0)],
    )


def test_the_window_takes_deals_by_their_creation() -> None:
    visits = known_visits(
        (1, "A", 0, 10, "advanced"),
        (1, "B", 10, 20, "won"),
        (2, "A", 15, 16, "lost"),
        (3, "A", 30, None, "open"),
    )
    first = stage_moves(visits, stages(), as_of=NOW, until=day(15))
    check(first, [("A", "B", False, 1, 1, 1.0), ("B", "won", None, 1, 1, 1.0)])
    check(
        stage_moves(visits, stages(), as_of=NOW, since=day(15), until=day(30)),
        [("A", "lost", None, 1, 1, 1.0)],
    )
    check(stage_moves(visits, stages(), as_of=NOW, since=day(30)), [("A", "open", None, 1, 1, 1.0)])


def test_visits_cut_down_to_a_stage_make_no_moves_up() -> None:
    visits = known_visits(
        (1, "A", 0, 10, "advanced"),
        (1, "B", 10, 20, "won"),
        (2, "A", 15, 16, "lost"),
        (3, "A", 30, 35, "advanced"),
    )
    table = stage_moves(visits[visits["stage_id"] == ID_OF["A"]], stages(), as_of=NOW)
    assert table["moves"].sum() == 3
    assert table["to_stage_id"].isna().all()
    assert table.loc[table["to"] == "lost", "moves"].tolist() == [1]


def test_groups_of_visits_and_of_deals() -> None:
    visits = known_visits(
        (1, "A", 0, 1, "advanced"),
        (1, "B", 1, None, "open"),
        (2, "A", 0, 1, "lost"),
        (3, "A", 0, 1, "lost"),
    )
    visits["hand"] = pd.array([7, 8, 8, None], "Int64")
    table = stage_moves(visits, stages(), as_of=NOW, by="hand")
    assert table[["hand", "from_stage", "to", "moves", "share"]].to_numpy(
        object, na_value=None
    ).tolist() == [
        [7, "A", "B", 1, 1.0],
        [8, "A", "lost", 1, 1.0],
        [8, "B", "open", 1, 1.0],
        [None, "A", "lost", 1, 1.0],
    ]
    deals = pd.DataFrame({"id": [1, 2], "owner": ["Ann", "Bo"]})
    table = stage_moves(visits, stages(), as_of=NOW, by="owner", deals=deals)
    assert table[["owner", "from_stage", "to"]].to_numpy(object, na_value=None).tolist() == [
        ["Ann", "A", "B"],
        ["Ann", "B", "open"],
        ["Bo", "A", "lost"],
        [None, "A", "lost"],
    ]


def test_every_row_leads_to_its_remains() -> None:
    visits = known_visits(
        (1, "A", 0, 1, "advanced"),
        (1, "X", 1, 2, "moved back"),
        (1, "A", 2, None, "open"),
        (2, "A", 0, 4, "advanced"),
        (2, "B", 4, 9, "won"),
    ).assign(hand=["a", "b", "a", None, "a"])
    for by in (None, "hand"):
        table = stage_moves(visits, stages(), as_of=NOW, by=by)
        rows = stage_move_visits(visits, stages(), as_of=NOW, by=by)
        match = [drill_through(table.iloc[at], rows) for at in range(len(table))]
        assert [len(part) for part in match] == table["moves"].tolist()
        assert [part["deal_id"].nunique() for part in match] == table["deals"].tolist()
        assert sum(len(part) for part in match) == len(rows) == 5
        # The note of keys lost, as after a merge.
        plain = pd.DataFrame({name: table[name] for name in table.columns})
        assert [len(drill_through(plain.iloc[at], rows)) for at in range(len(plain))] == table[
            "moves"
        ].tolist()
    rows = stage_move_visits(visits, stages(), as_of=NOW)
    assert rows[["deal_id", "entered_at", "left_at", "days"]].to_numpy(object).tolist() == [
        [1, day(0), day(1), 1.0],
        [1, day(1), day(2), 1.0],
        [1, day(2), pd.NaT, 98.0],
        [2, day(0), day(4), 4.0],
        [2, day(4), day(9), 5.0],
    ]


def test_what_snapshots_do_not_show_has_a_warning() -> None:
    visits = known_visits(
        (1, "A", 0, None, "open"), (2, "A", 0, 3, "won"), source="current", seen=50
    )
    with noticed("2 of 2 visits are known from snapshots alone.*2 deals = 40 tokens"):
        table = stage_moves(visits, stages(), as_of=NOW)
    assert table["to"].tolist() == ["won", "open"]
    with noticed("2 deals had entered by as_of but were first seen after it"):
        assert len(stage_moves(visits, stages(), as_of=day(40), pipeline_id=1)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"visits": known_visits().drop(columns="end")}, "visits has no column 'end'"),
        ({"stages": stages().drop(columns="order_nr")}, "stages has no column 'order_nr'"),
        ({"by": "to"}, "the result has a column 'to' of its own"),
        ({"by": "hand"}, "column 'hand'"),
        ({"pipeline_id": 9}, "stages has none of pipeline 9"),
        ({"as_of": "now"}, "as_of='now' is not a time"),
    ],
)
def test_wrong_arguments(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {
        "visits": known_visits((1, "A", 0, 1, "won")),
        "stages": stages(),
        "as_of": NOW,
    } | change
    with pytest.raises(ArgumentError, match=re.escape(message)):
        stage_moves(given.pop("visits"), given.pop("stages"), **given)


def test_a_company_as_sql_counts_it() -> None:
    """The sandbox's true visits, moved by DuckDB's lead()."""
    company = sandbox.Company(seed=5, deals=300)
    truth = pd.DataFrame(company.truth.stage_visits()).reset_index(names="row")
    rows = duckdb.sql("""
        with next as (
            select *, lead(stage_id) over w as next_stage, lag("end") over w as last_end
            from truth window w as (partition by deal_id order by row)
        ), deleted as (
            select deal_id from next
            where "end" = 'deleted' and last_end in ('won', 'lost') and entered_at = left_at
        )
        select pipeline_id, stage_id, "end",
               case when "end" in ('advanced', 'moved back') then next_stage end as to_stage,
               count(*) as moves, count(distinct deal_id) as deals
        from next where deal_id not in (from deleted) group by all
        """).fetchall()
    visits = truth.drop(columns="row").astype(
        dict.fromkeys(("deal_id", "pipeline_id", "stage_id", "visit"), "Int64")
    )
    for name in ("entered_at", "left_at"):
        visits[name] = pd.to_datetime(visits[name], unit="s", utc=True).dt.as_unit("us")
    visits = visits.assign(
        source="changelog", seen_at=visits["entered_at"], entered_after=pd.NaT, left_after=pd.NaT
    )
    table = pd.DataFrame([*company.tables["stages"].values()])
    match: list[tuple[Any, ...]] = []
    for pipeline in sorted(truth["pipeline_id"].unique()):
        result = stage_moves(visits, table, as_of="2026-12-31", pipeline_id=pipeline)
        end = result["to"].where(
            result["to_stage_id"].isna(),
            result["back"].map({True: "moved back", False: "advanced"}),
        )
        keyed = result.assign(pipeline=pipeline, end=end)
        wanted = ["pipeline", "from_stage_id", "end", "to_stage_id", "moves", "deals"]
        match += [tuple(row) for row in keyed[wanted].to_numpy(object, na_value=None)]
        velocity = stage_velocity(
            visits, table[table["pipeline_id"] == pipeline], as_of="2026-12-31"
        ).set_index("stage_id")["visits"]
        remained = result.groupby("from_stage_id")["moves"].sum()
        assert remained.to_dict() == velocity[velocity > 0].loc[remained.index].to_dict()
        assert result.groupby("from_stage_id")["share"].sum().to_numpy() == pytest.approx(1)
        won = funnel(visits, table, as_of="2026-12-31", pipeline_id=pipeline).iloc[-1]["reached"]
        assert result.loc[result["to"] == "won", "deals"].sum() >= won
    assert len(rows) > 30
    assert sorted(match, key=str) == sorted(rows, key=str)

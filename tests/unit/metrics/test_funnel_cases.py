"""Single cases of the funnel, each with its whole table written out. Days count from 2026-01-01;
all is known up to day 100.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pdframe.errors import ArgumentError
from pdframe.metrics import funnel, funnel_deals
from tests.helpers.notices import noticed
from tests.helpers.visit_frames import ID_OF, day, known_visits, stages

NOW = day(100)
DTYPES = {
    "stage_id": "Int64",
    "stage": "str",
    "order_nr": "Int64",
    **dict.fromkeys(("reached", "advanced", "lost", "left", "open"), "Int64"),
    **dict.fromkeys(
        (
            "conversion",
            "low",
            "high",
            "horizon_days",
            "win",
            "win_low",
            "win_high",
            "share_reached",
            "closed_conversion",
        ),
        "float64",
    ),
}
NONE = None


def check(table: pd.DataFrame, expected: list[tuple[Any, ...]]) -> None:
    """Compare with rows of stage, reached, advanced, lost, left, open, conversion, horizon_days,
    win, share_reached, closed_conversion.
    """
    assert table.dtypes.astype("str").to_dict() == DTYPES
    assert isinstance(table.index, pd.RangeIndex)
    names = [
        "stage",
        "reached",
        "advanced",
        "lost",
        "left",
        "open",
        "conversion",
        "horizon_days",
        "win",
        "share_reached",
    ]
    plain = pd.DataFrame(expected, columns=[*names, "closed_conversion"]).astype(
        {n: DTYPES[n] for n in [*names, "closed_conversion"]}
    )
    pd.testing.assert_frame_equal(
        table[[*names, "closed_conversion"]], plain, rtol=1e-12, atol=1e-12
    )
    assert table["stage_id"].tolist()[:-1] == [ID_OF[row[0]] for row in expected[:-1]]
    assert pd.isna(table["stage_id"].iloc[-1])
    assert pd.isna(table["order_nr"].iloc[-1])
    assert (
        table["reached"] == table["advanced"] + table["lost"] + table["left"] + table["open"]
    ).all()


def test_a_deal_won_one_lost_two_open() -> None:
    visits = known_visits(
        (1, "A", 0, 10, "advanced"),
        (1, "B", 10, 30, "advanced"),
        (1, "C", 30, 40, "won"),
        (2, "A", 0, 20, "lost"),
        (3, "A", 5, 15, "advanced"),
        (3, "B", 15, None, "open"),
        (4, "A", 50, None, "open"),
    )
    expected = [
        # Of 4, two advance after 10 days: 2/4. Wins: of 3 not lost by day 20, one: 3/4 x 1/3.
        ("A", 4, 2, 1, 0, 1, 1 / 2, 50.0, 1 / 4, 1.0, 2 / 3),
        ("B", 2, 1, 0, 0, 1, 1 / 2, 85.0, 1 / 2, 0.5, 1.0),
        ("C", 1, 1, 0, 0, 0, 1.0, 10.0, 1.0, 0.25, 1.0),
        ("won", 1, 1, 0, 0, 0, NONE, NONE, NONE, 0.25, NONE),
    ]
    for skipped in ("implied", "touched", "strict"):
        check(funnel(visits, stages(), as_of=NOW, skipped=skipped), expected)


SKIPPED = known_visits(
    (1, "A", 0, 10, "advanced"),
    (1, "C", 10, 30, "won"),
    (2, "A", 0, 5, "advanced"),
    (2, "B", 5, 25, "lost"),
)


def test_a_skipped_stage_is_reached_with_the_later_one() -> None:
    check(
        funnel(SKIPPED, stages(), as_of=NOW),
        [
            ("A", 2, 2, 0, 0, 0, 1.0, 10.0, 0.0, 1.0, 1.0),
            # Deal 1 passes B on day 10 after 0 days; deal 2 is lost after 20, just when deal 1 is
            # won.
            ("B", 2, 1, 1, 0, 0, 1 / 2, 20.0, 1 / 2, 1.0, 1 / 2),
            ("C", 1, 1, 0, 0, 0, 1.0, 20.0, 1.0, 0.5, 1.0),
            ("won", 1, 1, 0, 0, 0, NONE, NONE, NONE, 0.5, NONE),
        ],
    )


def test_a_skipped_stage_is_not_touched() -> None:
    check(
        funnel(SKIPPED, stages(), as_of=NOW, skipped="touched"),
        [
            ("A", 2, 2, 0, 0, 0, 1.0, 10.0, 0.0, 1.0, 1.0),
            ("B", 1, 0, 1, 0, 0, 0.0, 20.0, 0.0, 0.5, 0.0),
            ("C", 1, 1, 0, 0, 0, 1.0, 20.0, 1.0, 0.5, 1.0),
            ("won", 1, 1, 0, 0, 0, NONE, NONE, NONE, 0.5, NONE),
        ],
    )


def test_after_a_skipped_stage_nothing_is_reached_strictly() -> None:
    check(
        funnel(SKIPPED, stages(), as_of=NOW, skipped="strict"),
        [
            ("A", 2, 2, 0, 0, 0, 1.0, 10.0, 0.0, 1.0, 1.0),
            ("B", 1, 0, 1, 0, 0, 0.0, 20.0, 0.0, 0.5, 0.0),
            ("C", 0, 0, 0, 0, 0, NONE, NONE, NONE, 0.0, NONE),
            ("won", 0, 0, 0, 0, 0, NONE, NONE, NONE, 0.0, NONE),
        ],
    )


BACK = known_visits(
    (1, "A", 0, 10, "advanced"),
    (1, "B", 10, 20, "advanced"),
    (1, "C", 20, 30, "moved back"),
    (1, "A", 30, 40, "lost"),
    (2, "B", 0, 10, "moved back"),
    (2, "A", 10, 20, "lost"),
)


def test_a_move_back_takes_nothing_away() -> None:
    check(
        funnel(BACK, stages(), as_of=NOW),
        [
            # Deal 2 came in at B: A counts as passed on day 0.
            ("A", 2, 2, 0, 0, 0, 1.0, 10.0, 0.0, 1.0, 1.0),
            ("B", 2, 1, 1, 0, 0, 1 / 2, 20.0, 0.0, 1.0, 1 / 2),
            ("C", 1, 0, 1, 0, 0, 0.0, 20.0, 0.0, 0.5, 0.0),
            ("won", 0, 0, 0, 0, 0, NONE, NONE, NONE, 0.0, NONE),
        ],
    )


def test_a_stage_touched_after_a_later_one_is_left_at_once() -> None:
    rows = funnel_deals(BACK, stages(), as_of=NOW, skipped="touched")
    result = (
        rows[rows["deal_id"] == 2][["stage", "reached_at", "advanced_at", "state", "days"]]
        .to_numpy()
        .tolist()
    )
    assert result == [["A", day(10), day(10), "advanced", 0.0], ["B", day(0), pd.NaT, "lost", 20.0]]
    check(
        funnel(BACK, stages(), as_of=NOW, skipped="touched"),
        [
            ("A", 2, 2, 0, 0, 0, 1.0, 10.0, 0.0, 1.0, 1.0),
            ("B", 2, 1, 1, 0, 0, 1 / 2, 20.0, 0.0, 1.0, 1 / 2),
            ("C", 1, 0, 1, 0, 0, 0.0, 20.0, 0.0, 0.5, 0.0),
            ("won", 0, 0, 0, 0, 0, NONE, NONE, NONE, 0.0, NONE),
        ],
    )


def test_a_stage_is_strictly_reached_once_all_before_it_were_visited_in_whatever_order() -> None:
    rows = funnel_deals(BACK, stages(), as_of=NOW, skipped="strict")
    result = (
        rows[rows["deal_id"] == 2][["stage", "reached_at", "advanced_at", "state", "days"]]
        .to_numpy()
        .tolist()
    )
    assert result == [
        ["A", day(10), day(10), "advanced", 0.0],
        ["B", day(10), pd.NaT, "lost", 10.0],
    ]
    check(
        funnel(BACK, stages(), as_of=NOW, skipped="strict"),
        [
            ("A", 2, 2, 0, 0, 0, 1.0, 10.0, 0.0, 1.0, 1.0),
            # Both after 10 days: deal 1 advances, deal 2 is lost.
            ("B", 2, 1, 1, 0, 0, 1 / 2, 10.0, 0.0, 1.0, 1 / 2),
            ("C", 1, 0, 1, 0, 0, 0.0, 20.0, 0.0, 0.5, 0.0),
            ("won", 0, 0, 0, 0, 0, NONE, NONE, NONE, 0.0, NONE),
        ],
    )


def test_reopened_deals_count_once_by_their_first_visits_and_their_last_win() -> None:
    visits = known_visits(
        (1, "A", 0, 10, "lost"),
        (1, "A", 15, 25, "advanced"),
        (1, "B", 25, 30, "won"),
        (2, "A", 0, 10, "won"),
        (2, "A", 20, 30, "lost"),
        (3, "A", 0, 10, "lost"),
        (3, "A", 20, None, "open"),
    )
    check(
        funnel(visits, stages(), as_of=NOW),
        [
            # Day 25: deal 1 advances (1/3); day 30: it is won, and deal 2, whose win was undone, is
            # lost.
            ("A", 3, 1, 1, 0, 1, 1 / 3, 100.0, 1 / 3, 1.0, 1 / 2),
            ("B", 1, 1, 0, 0, 0, 1.0, 5.0, 1.0, 1 / 3, 1.0),
            ("C", 1, 1, 0, 0, 0, 1.0, 0.0, 1.0, 1 / 3, 1.0),
            ("won", 1, 1, 0, 0, 0, NONE, NONE, NONE, 1 / 3, NONE),
        ],
    )


CHANGED = known_visits(
    (1, "A", 0, 10, "advanced"),
    (1, "B", 10, 20, "changed pipeline"),
    (1, "D", 20, None, "open"),
    (2, "A", 0, 5, "changed pipeline"),
    (2, "D", 5, 15, "changed pipeline"),
    (2, "B", 15, None, "open"),
    (3, "D", 0, 10, "changed pipeline"),
    (3, "B", 10, 30, "won"),
)


def test_a_deal_that_changes_pipeline_leaves_unless_it_comes_back() -> None:
    check(
        funnel(CHANGED, stages(), as_of=NOW, pipeline_id=1),
        [
            ("A", 3, 3, 0, 0, 0, 1.0, 15.0, 0.0, 1.0, 1.0),
            # Deal 1 leaves after 10 days (2/3 stay), deal 3 is won after 20 (2/3 x 1/2), deal 2 is
            # open.
            ("B", 3, 1, 0, 1, 1, 1 / 3, 85.0, 1 / 3, 1.0, 1.0),
            ("C", 1, 1, 0, 0, 0, 1.0, 0.0, 1.0, 1 / 3, 1.0),
            ("won", 1, 1, 0, 0, 0, NONE, NONE, NONE, 1 / 3, NONE),
        ],
    )


def test_the_other_pipeline_has_a_funnel_of_its_own() -> None:
    check(
        funnel(CHANGED, stages(), as_of=NOW, pipeline_id=2),
        [
            ("D", 3, 0, 0, 2, 1, 0.0, 80.0, 0.0, 1.0, NONE),
            ("E", 0, 0, 0, 0, 0, NONE, NONE, NONE, 0.0, NONE),
            ("won", 0, 0, 0, 0, 0, NONE, NONE, NONE, 0.0, NONE),
        ],
    )


def test_deals_that_were_never_in_the_pipeline_do_not_count() -> None:
    visits = known_visits(
        (1, "A", 0, None, "open"), (2, "D", 0, 10, "won"), (3, "D", 0, 10, "deleted")
    )
    check(
        funnel(visits, stages(), as_of=NOW, pipeline_id=1),
        [
            ("A", 1, 0, 0, 0, 1, 0.0, 100.0, 0.0, 1.0, NONE),
            ("B", 0, 0, 0, 0, 0, NONE, NONE, NONE, 0.0, NONE),
            ("C", 0, 0, 0, 0, 0, NONE, NONE, NONE, 0.0, NONE),
            ("won", 0, 0, 0, 0, 0, NONE, NONE, NONE, 0.0, NONE),
        ],
    )


FIRST = known_visits((1, "A", 0, 20, "won"), (2, "A", 0, None, "open"), (3, "A", 10, 20, "deleted"))


def test_a_deal_won_from_the_first_stage_passes_all_at_once() -> None:
    check(
        funnel(FIRST, stages(), as_of=NOW),
        [
            # Deal 3 is deleted after 10 days (2/3 stay), deal 1 won after 20: 2/3 x 1/2.
            ("A", 3, 1, 0, 1, 1, 1 / 3, 100.0, 1 / 3, 1.0, 1.0),
            ("B", 1, 1, 0, 0, 0, 1.0, 0.0, 1.0, 1 / 3, 1.0),
            ("C", 1, 1, 0, 0, 0, 1.0, 0.0, 1.0, 1 / 3, 1.0),
            ("won", 1, 1, 0, 0, 0, NONE, NONE, NONE, 1 / 3, NONE),
        ],
    )


@pytest.mark.parametrize(("skipped", "won"), [("touched", 1), ("strict", 0)])
def test_a_deal_won_from_the_first_stage_touched_no_other(skipped: Any, won: int) -> None:
    check(
        funnel(FIRST, stages(), as_of=NOW, skipped=skipped),
        [
            ("A", 3, 1, 0, 1, 1, 1 / 3, 100.0, 1 / 3, 1.0, 1.0),
            ("B", 0, 0, 0, 0, 0, NONE, NONE, NONE, 0.0, NONE),
            ("C", 0, 0, 0, 0, 0, NONE, NONE, NONE, 0.0, NONE),
            ("won", won, won, 0, 0, 0, NONE, NONE, NONE, won / 3, NONE),
        ],
    )


@pytest.mark.parametrize("listed", [False, True])
def test_a_deleted_stage_has_no_place(listed: bool) -> None:
    visits = known_visits(
        (1, "A", 0, 10, None),
        (1, "X", 10, 20, None),
        (1, "C", 20, None, "open"),
        (2, "X", 0, None, "open"),
        (3, "X", 0, 10, "won"),
    )
    those = stages()
    if listed:
        deleted = those.iloc[[2]].assign(id=ID_OF["X"], order_nr=2, name="X", is_deleted=True)
        those = pd.concat([those, deleted], ignore_index=True)
    with noticed("3 visits are to stages that `stages` lacks"):
        table = funnel(visits, those, as_of=NOW)
    check(
        table,
        [
            # Deal 3 passes all on its win; deal 2 reached nothing that is known.
            ("A", 2, 2, 0, 0, 0, 1.0, 20.0, 1 / 2, 1.0, 1.0),
            ("B", 2, 2, 0, 0, 0, 1.0, 0.0, 1 / 2, 1.0, 1.0),
            ("C", 2, 1, 0, 0, 1, 1 / 2, 80.0, 1 / 2, 1.0, 1.0),
            ("won", 1, 1, 0, 0, 0, NONE, NONE, NONE, 0.5, NONE),
        ],
    )


def test_one_deal_and_stages_without() -> None:
    check(
        funnel(known_visits((7, "B", 40, 60, "lost")), stages(), as_of=NOW, skipped="touched"),
        [
            ("A", 0, 0, 0, 0, 0, NONE, NONE, NONE, NONE, NONE),
            ("B", 1, 0, 1, 0, 0, 0.0, 20.0, 0.0, NONE, 0.0),
            ("C", 0, 0, 0, 0, 0, NONE, NONE, NONE, NONE, NONE),
            ("won", 0, 0, 0, 0, 0, NONE, NONE, NONE, NONE, NONE),
        ],
    )


def test_no_deal() -> None:
    nothing = [
        ("D", 0, 0, 0, 0, 0, NONE, NONE, NONE, NONE, NONE),
        ("E", 0, 0, 0, 0, 0, NONE, NONE, NONE, NONE, NONE),
        ("won", 0, 0, 0, 0, 0, NONE, NONE, NONE, NONE, NONE),
    ]
    check(funnel(known_visits(), stages(), as_of=NOW, pipeline_id=2), nothing)
    check(funnel(CHANGED, stages(), as_of=NOW, pipeline_id=2, since="2027-01-01"), nothing)
    # Stages of one pipeline say which it is.
    check(funnel(known_visits(), stages().query("pipeline_id == 2"), as_of=NOW), nothing)


def test_no_deal_and_groups() -> None:
    table = funnel(
        known_visits().assign(region=pd.Series(dtype="str")),
        stages(),
        as_of=NOW,
        pipeline_id=2,
        by="region",
    )
    assert len(table) == 0
    assert table.dtypes.astype("str").to_dict() == {"region": "str", **DTYPES}
    rows = funnel_deals(known_visits(), stages(), as_of=NOW, pipeline_id=2)
    assert rows.dtypes.astype("str").to_dict() == {
        "deal_id": "Int64",
        "stage_id": "Int64",
        "stage": "str",
        "order_nr": "Int64",
        "reached_at": "datetime64[us, UTC]",
        "advanced_at": "datetime64[us, UTC]",
        "state": "category",
        "state_at": "datetime64[us, UTC]",
        "days": "float64",
        "outcome": "category",
        "outcome_at": "datetime64[us, UTC]",
        "outcome_days": "float64",
        "entry_days": "float64",
    }
    assert len(rows) == 0


def test_visits_of_one_instant_in_any_order() -> None:
    visits = known_visits(
        (1, "A", 0, 0, "advanced"),
        (1, "B", 0, 0, "advanced"),
        (1, "C", 0, 10, "lost"),
        (2, "A", 0, 5, "advanced"),
        (2, "B", 5, 5, "moved back"),
        (2, "A", 5, None, "open"),
    )
    expected = [
        ("A", 2, 2, 0, 0, 0, 1.0, 5.0, 0.0, 1.0, 1.0),
        ("B", 2, 1, 0, 0, 1, 1 / 2, 95.0, 0.0, 1.0, 1.0),
        ("C", 1, 0, 1, 0, 0, 0.0, 10.0, 0.0, 0.5, 0.0),
        ("won", 0, 0, 0, 0, 0, NONE, NONE, NONE, 0.0, NONE),
    ]
    check(funnel(visits, stages(), as_of=NOW), expected)
    for seed in range(5):
        check(funnel(visits.sample(frac=1, random_state=seed), stages(), as_of=NOW), expected)


def test_the_window_is_of_the_first_visit_to_the_pipeline() -> None:
    # Deal 2 comes back to pipeline 1 on day 15, and came first on day 0; deal 3 comes on day 10.
    check(
        funnel(CHANGED, stages(), as_of=NOW, pipeline_id=1, since=day(10), until=day(16)),
        [
            ("A", 1, 1, 0, 0, 0, 1.0, 0.0, 0.0, 1.0, 1.0),
            ("B", 1, 1, 0, 0, 0, 1.0, 20.0, 1.0, 1.0, 1.0),
            ("C", 1, 1, 0, 0, 0, 1.0, 0.0, 1.0, 1.0, 1.0),
            ("won", 1, 1, 0, 0, 0, NONE, NONE, NONE, 1.0, NONE),
        ],
    )
    assert funnel(CHANGED, stages(), as_of=NOW, pipeline_id=1, until=day(10))[
        "reached"
    ].tolist() == [2, 2, 0, 0]


def test_a_bare_as_of_is_the_end_of_that_day_in_tz() -> None:
    visits = known_visits((1, "A", 0, None, "open"), (2, "A", 9.97, None, "open"))
    # Day 9 is 2026-01-10; its last hour but one in UTC is the next day in Berlin.
    assert funnel(visits, stages(), as_of="2026-01-10")["reached"].tolist() == [2, 0, 0, 0]
    assert funnel(visits, stages(), as_of="2026-01-10", tz="Europe/Berlin")["reached"].tolist() == [
        1,
        0,
        0,
        0,
    ]
    assert funnel(visits, stages(), as_of=NOW, since="2026-01-11", tz="Europe/Berlin")[
        "reached"
    ].tolist() == [1, 0, 0, 0]


GROUPED = known_visits(
    (1, "A", 0, 10, "advanced"),
    (1, "B", 10, None, "open"),
    (2, "A", 0, 20, "lost"),
    (3, "A", 0, 30, "won"),
).assign(touch=["web", "fair", "fair", None])
DEALS = pd.DataFrame(
    {
        "id": pd.array([3, 1], "Int64"),
        "owner_id": pd.array([8, 9], "Int64"),
        "big": [True, False],
        "tier": pd.Categorical(["z", "a"]),
    }
)


def test_groups_by_the_first_visit_and_by_deals() -> None:
    table = funnel(GROUPED, stages(), as_of=NOW, by=["touch"])
    names = ["touch", "stage", "reached", "advanced", "lost", "left", "open"]
    rows = [
        tuple(None if pd.isna(cell) else cell for cell in row) for row in table[names].to_numpy()
    ]
    assert rows == [
        ("fair", "A", 1, 0, 1, 0, 0),
        ("fair", "B", 0, 0, 0, 0, 0),
        ("fair", "C", 0, 0, 0, 0, 0),
        ("fair", "won", 0, 0, 0, 0, 0),
        ("web", "A", 1, 1, 0, 0, 0),
        ("web", "B", 1, 0, 0, 0, 1),
        ("web", "C", 0, 0, 0, 0, 0),
        ("web", "won", 0, 0, 0, 0, 0),
        (None, "A", 1, 1, 0, 0, 0),
        (None, "B", 1, 1, 0, 0, 0),
        (None, "C", 1, 1, 0, 0, 0),
        (None, "won", 1, 1, 0, 0, 0),
    ]
    assert list(table.columns) == ["touch", *DTYPES]
    table = funnel(GROUPED, stages(), as_of=NOW, by=["tier", "owner_id", "big"], deals=DEALS)
    assert table[["tier", "owner_id", "big"]].dtypes.astype("str").tolist() == [
        "category",
        "Int64",
        "boolean",
    ]
    firsts = table[table["stage"] == "A"][["tier", "owner_id", "big", "reached"]].astype(object)
    assert firsts.where(firsts.notna(), None).to_numpy().tolist() == [
        ["a", 9, False, 1],
        ["z", 8, True, 1],
        [None, None, None, 1],
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pipeline_id": None, "visits": CHANGED}, "Pass pipeline_id.*pipelines are 1, 2"),
        ({"pipeline_id": 3}, "stages has none of pipeline 3; it has those of 1, 2"),
        (
            {"pipeline_id": "one"},
            r"'one' is a name, and stages has no column 'pipeline_name'\. .* or an id: 1, 2\.",
        ),
        ({"pipeline_id": None, "visits": known_visits()}, "pipelines are 1, 2"),
        ({"skipped": "all"}, "skipped must be one of 'implied', 'touched', 'strict', not 'all'"),
        ({"by": "owner_id"}, "visits has no column 'owner_id'. Pass deals="),
        ({"by": "shoe", "deals": DEALS}, "deals has no column 'shoe'"),
        ({"by": "stage"}, "'stage'"),
        ({"by": "days"}, "'days'"),
        ({"by": "tier", "deals": pd.concat([DEALS, DEALS])}, "deals holds an id twice"),
        ({"by": "tier", "deals": DEALS.drop(columns="id")}, "deals has no column 'id'"),
        (
            {"visits": GROUPED.drop(columns=["left_at", "end"])},
            "visits has no column 'left_at', 'end'",
        ),
        ({"stages": stages().drop(columns="order_nr")}, "stages has no column 'order_nr'"),
        ({"stages": pd.concat([stages(), stages()])}, "stages holds an id twice"),
        ({"horizon": 90}, "horizon=90 is not a length of time"),
        ({"horizon": "-1D"}, "horizon"),
        ({"as_of": "soon"}, "as_of='soon' is not a time"),
        ({"since": "2026-02-01", "until": "2026-02-01"}, "since"),
        ({"tz": "Mars"}, "tz='Mars'"),
    ],
)
def test_wrong_arguments(change: dict[str, Any], message: str) -> None:
    given = {"visits": GROUPED, "stages": stages(), "as_of": NOW, "pipeline_id": 1, **change}
    with pytest.raises(ArgumentError, match=message):
        funnel(given.pop("visits"), given.pop("stages"), **given)


def test_inputs_remain_as_they_are() -> None:
    visits, those, deals = GROUPED.copy(), stages(), DEALS.copy()
    funnel(visits, those, as_of=NOW, by=["touch", "tier"], deals=deals)
    funnel_deals(visits, those, as_of=NOW, by=["touch", "tier"], deals=deals)
    pd.testing.assert_frame_equal(visits, GROUPED)
    pd.testing.assert_frame_equal(those, stages())
    pd.testing.assert_frame_equal(deals, DEALS)

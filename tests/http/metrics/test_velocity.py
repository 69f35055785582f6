"""How long deals stay: tables written out, what is refused and said, no leakage, and the sandbox's
own truth.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from statsmodels.duration.survfunc import SurvfuncRight

import pdframe
from pdframe.errors import ArgumentError, DataWarning
from pdframe.metrics import stage_survival, stage_velocity
from tests.helpers.notices import notes_in, noticed
from tests.helpers.tiers import examples
from tests.helpers.visits_by_hand import day, frame_of, one_visit, stages_of

COLUMNS = [
    "pipeline_id",
    "stage_id",
    "stage",
    "order_nr",
    "visits",
    "completed",
    "open",
    "median_days",
    "low",
    "high",
    "p25_days",
    "p75_days",
    "p90_days",
    "mean_days",
    "basis",
]
BASES = pd.CategoricalDtype(["changelog", "snapshots", "current", "mixed"])
DTYPES = {
    **dict.fromkeys(
        ("pipeline_id", "stage_id", "order_nr", "visits", "completed", "open"), "Int64"
    ),
    "stage": "str",
    **dict.fromkeys(
        ("median_days", "low", "high", "p25_days", "p75_days", "p90_days", "mean_days"), "float64"
    ),
    "basis": BASES,
}
N = None
STAGES = stages_of((12, 1, 2, "Demo"), (11, 1, 1, "Lead"), (21, 2, 1, "Scope"))


def table(*rows: tuple[Any, ...], by: dict[str, Any] | None = None) -> pd.DataFrame:
    """A result written out."""
    by = by or {}
    frame = pd.DataFrame(rows, columns=[*by, *COLUMNS])
    return frame.astype({**by, **DTYPES})


def same(matches: pd.DataFrame, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(matches, expected, rtol=1e-12, atol=0)


def test_stages_in_their_order_with_open_visits_censored() -> None:
    visits = frame_of(
        [
            one_visit(1, 11, 0, 2),
            one_visit(1, 12, 2, 10, "won"),
            one_visit(2, 11, 0, 4, "lost"),
            one_visit(3, 11, 1, 7),
            one_visit(3, 12, 7),
            one_visit(4, 11, 4),
            one_visit(5, 11, 12),
        ]
    )
    # At day 10: Lead lasted 2, 4, 6 and 6+; Demo 8 and 3+. The fifth deal is not there yet. Lead: S
    # = .75, .5, .25. Its area to 6: 2 + 2 x .75 + 2 x .5. Demo: at risk alone at 8, S = 0: the area
    # is 8. S(2) = .75 has the log-log interval .1279 to .9605, S(4) = .5 .0578 to .8449, S(6) = .25
    # .0089 to .6653.
    same(
        stage_velocity(visits, STAGES, as_of=day(10)),
        table(
            (1, 11, "Lead", 1, 4, 3, 1, 4.0, 2.0, N, 2.0, 6.0, N, 4.5, "changelog"),
            (1, 12, "Demo", 2, 2, 1, 1, 8.0, N, N, 8.0, 8.0, 8.0, 8.0, "changelog"),
            (2, 21, "Scope", 1, 0, 0, 0, N, N, N, N, N, N, N, N),
        ),
    )
    curve = stage_survival(visits, STAGES, as_of=day(10))
    expected = pd.DataFrame(
        [
            (1, 11, "Lead", 1, 2.0, 4, 1, 0.75, 0.1279, 0.9605),
            (1, 11, "Lead", 1, 4.0, 3, 1, 0.5, 0.0578, 0.8449),
            (1, 11, "Lead", 1, 6.0, 2, 1, 0.25, 0.0089, 0.6653),
            (1, 12, "Demo", 2, 3.0, 2, 0, 1.0, N, N),
            (1, 12, "Demo", 2, 8.0, 1, 1, 0.0, N, N),
        ],
        columns=[
            "pipeline_id",
            "stage_id",
            "stage",
            "order_nr",
            "days",
            "at_risk",
            "events",
            "survival",
            "low",
            "high",
        ],
    ).astype(
        {
            **dict.fromkeys(("pipeline_id", "stage_id", "order_nr", "at_risk", "events"), "Int64"),
            "low": "float64",
            "stage": "str",
        }
    )
    pd.testing.assert_frame_equal(curve, expected, rtol=0, atol=5e-5)
    cut = stage_survival(visits, STAGES, as_of=day(10), horizon="4D")
    assert cut["days"].tolist() == [2.0, 4.0, 3.0]


def test_reentries_equal_times_moves_back_and_visits_of_no_length() -> None:
    visits = frame_of(
        [
            one_visit(1, 11, 0, 3),
            one_visit(1, 12, 3, 3, "moved back"),
            one_visit(1, 11, 3, 4, visit=2),
            one_visit(1, 12, 4, 9, "lost", visit=2),
            one_visit(1, 12, 12, visit=3),
            one_visit(2, 11, 3, 3),
            one_visit(2, 12, 3, 3, "changed pipeline"),
            one_visit(2, 21, 3, 8, "deleted", pipeline=2),
        ]
    )
    # Demo: two of no length, 5, and 8+ at day 20. S(0) = .5, S(5) = .25. Lead: 0, 1, 3.
    same(
        stage_velocity(visits, STAGES, as_of=day(20)),
        table(
            (1, 11, "Lead", 1, 3, 3, 0, 1.0, 0.0, N, 0.0, 3.0, 3.0, 4 / 3, "changelog"),
            (1, 12, "Demo", 2, 4, 3, 1, 0.0, 0.0, N, 0.0, 5.0, N, 3.25, "changelog"),
            (2, 21, "Scope", 1, 1, 1, 0, 5.0, N, N, 5.0, 5.0, 5.0, 5.0, "changelog"),
        ),
    )


def test_deals_that_skip_stages_or_are_won_from_the_first() -> None:
    visits = frame_of(
        [
            one_visit(1, 11, 0, 3, "won"),
            one_visit(2, 11, 0, 5),
            one_visit(2, 13, 5, 6, "won"),
            one_visit(3, 11, 2, 4, "lost"),
        ]
    )
    stages = stages_of((11, 1, 1, "Lead"), (12, 1, 2, "Demo"), (13, 1, 3, "Offer"))
    # A stage that was passed over has no stay. Lead: 2, 3, 5.
    same(
        stage_velocity(visits, stages, as_of=day(20)),
        table(
            (1, 11, "Lead", 1, 3, 3, 0, 3.0, 2.0, N, 2.0, 5.0, 5.0, 10 / 3, "changelog"),
            (1, 12, "Demo", 2, 0, 0, 0, N, N, N, N, N, N, N, N),
            (1, 13, "Offer", 3, 1, 1, 0, 1.0, N, N, 1.0, 1.0, 1.0, 1.0, "changelog"),
        ),
    )


def test_one_deal() -> None:
    same(
        stage_velocity(frame_of([one_visit(1, 11, 0)]), STAGES.iloc[[1]], as_of=day(5)),
        table((1, 11, "Lead", 1, 1, 0, 1, N, N, N, N, N, N, 5.0, "changelog")),
    )


def test_no_deal() -> None:
    none = frame_of([])
    expected = table(
        (1, 11, "Lead", 1, 0, 0, 0, N, N, N, N, N, N, N, N),
        (1, 12, "Demo", 2, 0, 0, 0, N, N, N, N, N, N, N, N),
        (2, 21, "Scope", 1, 0, 0, 0, N, N, N, N, N, N, N, N),
    )
    same(stage_velocity(none, STAGES, as_of="2026-06-30"), expected)
    same(stage_velocity(frame_of([one_visit(1, 11, 9)]), STAGES, as_of=day(8)), expected)
    same(stage_velocity(none, STAGES.head(0), as_of="2026-06-30"), table())
    same(
        stage_velocity(none, STAGES, as_of="2026-06-30", by="end"),
        table(by={"end": none["end"].dtype}),
    )
    curve = stage_survival(none, STAGES, as_of="2026-06-30")
    assert len(curve) == 0
    assert curve.dtypes.equals(
        stage_survival(frame_of([one_visit(1, 11, 0, 1)]), STAGES, as_of="2026-06-30").dtypes
    )


def test_deleted_stages_stand_at_the_end_of_their_pipeline_without_a_name() -> None:
    visits = frame_of(
        [
            one_visit(1, 13, 0, 2),
            one_visit(1, 10, 2, 6),
            one_visit(1, 21, 6, pipeline=2),
            one_visit(2, 30, 0, 1, pipeline=3),
            one_visit(3, 40, 0, 1),
        ]
    )
    visits.loc[4, ["pipeline_id", "stage_id"]] = pd.NA
    same(
        stage_velocity(visits, STAGES, as_of=day(10)),
        table(
            (1, 11, "Lead", 1, 0, 0, 0, N, N, N, N, N, N, N, N),
            (1, 12, "Demo", 2, 0, 0, 0, N, N, N, N, N, N, N, N),
            (1, 10, N, N, 1, 1, 0, 4.0, N, N, 4.0, 4.0, 4.0, 4.0, "changelog"),
            (1, 13, N, N, 1, 1, 0, 2.0, N, N, 2.0, 2.0, 2.0, 2.0, "changelog"),
            (2, 21, "Scope", 1, 1, 0, 1, N, N, N, N, N, N, 4.0, "changelog"),
            (3, 30, N, N, 1, 1, 0, 1.0, N, N, 1.0, 1.0, 1.0, 1.0, "changelog"),
            (N, N, N, N, 1, 1, 0, 1.0, N, N, 1.0, 1.0, 1.0, 1.0, "changelog"),
        ),
    )


def test_groups_of_deals_and_visits_null_ones_included() -> None:
    visits = frame_of(
        [
            one_visit(1, 11, 0, 2),
            one_visit(1, 12, 2),
            one_visit(2, 11, 0, 4),
            one_visit(3, 11, 0, 6),
            one_visit(9, 12, 0, 8),
        ]
    )
    deals = pd.DataFrame({"id": [3, 2, 1], "owner_id": [N, 7, 5]}, dtype="Int64")
    stages = STAGES.head(2)
    matches = stage_velocity(visits, stages, as_of=day(10), by="owner_id", deals=deals)
    same(
        matches,
        table(
            (5, 1, 11, "Lead", 1, 1, 1, 0, 2.0, N, N, 2.0, 2.0, 2.0, 2.0, "changelog"),
            (5, 1, 12, "Demo", 2, 1, 0, 1, N, N, N, N, N, N, 8.0, "changelog"),
            (7, 1, 11, "Lead", 1, 1, 1, 0, 4.0, N, N, 4.0, 4.0, 4.0, 4.0, "changelog"),
            (7, 1, 12, "Demo", 2, 0, 0, 0, N, N, N, N, N, N, N, N),
            (N, 1, 11, "Lead", 1, 1, 1, 0, 6.0, N, N, 6.0, 6.0, 6.0, 6.0, "changelog"),
            (N, 1, 12, "Demo", 2, 1, 1, 0, 8.0, N, N, 8.0, 8.0, 8.0, 8.0, "changelog"),
            by={"owner_id": "Int64"},
        ),
    )
    by_end = stage_velocity(visits, stages, as_of=day(5), by=["end", "visit"])
    counts = by_end[["end", "visit", "stage_id", "visits", "completed", "open"]]
    # The stays that ended after day 5 read open, whatever became of them.
    assert counts.values.tolist() == [
        ["advanced", 1, 11, 2, 2, 0],
        ["advanced", 1, 12, 0, 0, 0],
        ["open", 1, 11, 1, 0, 1],
        ["open", 1, 12, 2, 0, 2],
    ]


def test_a_visit_is_at_risk_from_the_snapshot_that_detected_it() -> None:
    snapshots = [
        one_visit(1, 11, 0, 10, seen_at=4, source="snapshots"),
        one_visit(2, 11, 0, 6, seen_at=3, source="snapshots"),
        one_visit(3, 11, 0, 5, seen_at=8, source="snapshots"),
        one_visit(4, 11, 0, seen_at=4, source="snapshots"),
    ]
    # The third had ended when it was found: it counts, and tells nothing. At risk at 6 are deals 1,
    # 2 and 4; at 10 deals 1 and 4.
    with pytest.warns(DataWarning) as said:
        matches = stage_velocity(
            frame_of(snapshots), STAGES.iloc[[1]], as_of=day(12), min_at_risk=3
        )
    same(
        matches,
        table(
            (1, 11, "Lead", 1, 4, 3, 1, 10.0, 6.0, N, 6.0, N, N, 6 + 4 * 2 / 3 + 2 / 3, "snapshots")
        ),
    )
    assert notes_in(said) == [
        "Of 4 visits, 4 come from snapshots, not from the changelog. A snapshot is likelier to show"
        " a longer visit, so each counts from the first snapshot that shows it, and 1 that had"
        " ended by then are left out of the durations; a row with current stages alone has none."
        " Load exact history with account.deal_changes(visits['deal_id']): 4 deals, 80 tokens."
    ]
    assert said[0].filename == __file__
    with pytest.warns(DataWarning) as said:
        stage_velocity(frame_of(snapshots), STAGES.iloc[[1]], as_of=day(12), min_at_risk=4)
    assert notes_in(said)[1:] == [
        "1 of 1 estimates begin with fewer than 4 visits at risk, because others were first seen"
        " later: stage 11. The rest of the curve depends on those few. They are kept: use larger"
        " groups, or load exact history with account.deal_changes(), 20 tokens per deal."
    ]


def test_current_stages_alone_give_no_durations() -> None:
    current = [
        one_visit(1, 11, 0, 3, "lost", seen_at=20, source="current"),
        one_visit(2, 11, 0, seen_at=20, source="current"),
        one_visit(3, 12, 0, 9, "won", seen_at=20, source="current"),
        one_visit(4, 12, 0, 5, "won"),
        one_visit(4, 12, 5, 7, "won", visit=2),
    ]
    message = (
        "Of 5 visits, 3 come from current stages alone.* 2 that had ended by then.*3 deals, 60"
        " tokens"
    )
    with noticed(message):
        matches = stage_velocity(frame_of(current), STAGES.head(2), as_of=day(21))
    same(
        matches,
        table(
            (1, 11, "Lead", 1, 2, 1, 1, N, N, N, N, N, N, N, "current"),
            (1, 12, "Demo", 2, 3, 3, 0, 2.0, 2.0, N, 2.0, 5.0, 5.0, 3.5, "mixed"),
        ),
    )
    with noticed(message):
        curve = stage_survival(frame_of(current), STAGES.head(2), as_of=day(21))
    assert curve["stage_id"].tolist() == [12, 12]


def test_bounded_visits_are_counted_and_have_no_duration() -> None:
    bounded = [
        one_visit(1, 11, 4, 6, entered_after=2),
        one_visit(2, 11, 0, 6, left_after=3),
        one_visit(3, 11, 0, 7),
        one_visit(4, 11, 0, 20, left_after=1),
        one_visit(5, 11, 4, entered_after=2),
    ]
    # The exit of the fourth, after day 10, has not happened, and neither have its bounds.
    with noticed(
        (
            r"^3 of 5 visits have an entry or an exit that is only bounded: they are counted, but"
            r" left out"
        ),
    ):
        matches = stage_velocity(frame_of(bounded), STAGES.iloc[[1]], as_of=day(10))
    same(matches, table((1, 11, "Lead", 1, 5, 3, 2, 7.0, 7.0, N, 7.0, N, N, 8.5, "changelog")))


def test_visits_first_seen_later_are_not_known() -> None:
    visits = frame_of(
        [
            one_visit(1, 11, 0, 2),
            one_visit(2, 11, 1, seen_at=9, source="snapshots"),
            one_visit(3, 11, 8),
        ]
    )
    with noticed(
        (
            r"^1 of 2 visits that began by as_of were first seen after.*from 2026-01-10"
            r" 00:00:00\+00:00"
        ),
    ):
        matches = stage_velocity(visits, STAGES.iloc[[1]], as_of=day(5))
    same(matches, table((1, 11, "Lead", 1, 1, 1, 0, 2.0, N, N, 2.0, 2.0, 2.0, 2.0, "changelog")))


def test_a_bare_date_is_the_end_of_its_day_in_tz() -> None:
    visits = frame_of([one_visit(1, 11, 0.98)])
    for as_of, tz, expected in [
        ("2026-01-01", "UTC", 1),
        ("2026-01-01 12:00", "UTC", 0),
        ("2026-01-01", "Europe/Berlin", 0),
        ("2026-01-02", "Europe/Berlin", 1),
        (day(0.98), "UTC", 1),
    ]:
        assert stage_velocity(visits, STAGES, as_of=as_of, tz=tz)["visits"].sum() == expected


def test_the_mean_is_restricted_to_the_horizon() -> None:
    visits = frame_of(
        [
            one_visit(1, 11, 0, 2),
            one_visit(2, 11, 0, 4),
            one_visit(3, 12, 0),
            one_visit(4, 12, 4),
            one_visit(5, 21, 0, 6, pipeline=2),
        ]
    )
    means = [
        stage_velocity(visits, STAGES, as_of=day(8), horizon=horizon)["mean_days"].tolist()
        for horizon in ("3D", pd.Timedelta("8D"))
    ]
    assert means == [[2.5, 3.0, 3.0], [3.0, 8.0, 6.0]]
    with noticed(
        (
            "mean_days is null in 1 rows: their visits were not followed for 9"
            " days.*identifies is 8"
            " days"
        ),
    ):
        beyond = stage_velocity(visits, STAGES, as_of=day(8), horizon="9D")["mean_days"]
    np.testing.assert_array_equal(beyond, [3.0, np.nan, 6.0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"visits": 5}, "visits must be a DataFrame from account.stage_visits(), not int."),
        (
            {"visits": frame_of([]).drop(columns=["left_at", "seen_at"])},
            "visits has no column 'left_at', 'seen_at'.",
        ),
        (
            {"visits": frame_of([one_visit(1, 11, 5, 3)])},
            "left_at of visits is before entered_at in 1 rows",
        ),
        (
            {"visits": frame_of([one_visit(1, 11, None, 3)])},
            "entered_at of visits is null in 1 rows",
        ),
        (
            {"visits": frame_of([one_visit(1, 11, 0)]).assign(source="guess")},
            "source of visits is 'guess' in 1 rows",
        ),
        (
            {"visits": frame_of([one_visit(1, 11, 0, source=None)])},
            "source of visits is None in 1 rows",
        ),
        (
            {"visits": frame_of([one_visit(1, 11, 0)]).assign(left_at=5.0)},
            "The column 'left_at' is float64 and does not hold times.",
        ),
        (
            {"visits": frame_of([one_visit(1, 11, 0)]).assign(stage_id="x")},
            "The column 'stage_id' is str; it must hold ids",
        ),
        ({"stages": STAGES.drop(columns="name")}, "stages has no column 'name'"),
        ({"stages": pd.concat([STAGES, STAGES])}, "stages holds an id twice"),
        ({"as_of": "soon"}, "as_of='soon' is not a time"),
        ({"as_of": None}, "as_of=None is not a time"),
        ({"tz": "Mars"}, "tz='Mars' is not a timezone"),
        ({"by": "owner_id"}, "visits has no column 'owner_id'. Pass deals="),
        ({"by": "owner_id", "deals": pd.DataFrame({"id": [1]})}, "deals has no column 'owner_id'"),
        (
            {"by": "x", "deals": pd.DataFrame({"id": [1, 1], "x": [1, 2]})},
            "deals holds an id twice",
        ),
        ({"by": ["stage_id"]}, "the result has a column 'stage_id' of its own"),
        ({"by": ["end", "end"]}, "names a column twice"),
        ({"horizon": 90}, "horizon=90 is not a length of time"),
        ({"min_at_risk": -1}, "min_at_risk=-1 must be a whole number"),
    ],
)
def test_wrong_arguments(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "visits": frame_of([one_visit(1, 11, 0)]),
        "stages": STAGES,
        "as_of": "2026-06-30",
        **change,
    }
    visits, stages = arguments.pop("visits"), arguments.pop("stages")
    for metric in (stage_velocity, stage_survival):
        with pytest.raises(ArgumentError, match=re.escape(message)):
            metric(visits, stages, **arguments)


def test_inputs_remain_as_they_are() -> None:
    visits = frame_of([one_visit(1, 11, 0, 2), one_visit(2, 11, 0, 8), one_visit(3, 12, 9)])
    before, stages = visits.copy(deep=True), STAGES.copy(deep=True)
    stage_velocity(visits, stages, as_of=day(5), by="end")
    pd.testing.assert_frame_equal(visits, before)
    pd.testing.assert_frame_equal(stages, STAGES)


NOW = 50
MOVES = ("advanced", "moved back", "changed pipeline")
CLOSINGS = ("won", "lost", "deleted")


@st.composite
def courses(draw: st.DrawFn, earliest: int = 0) -> list[dict[str, Any]]:
    """Stays of deals that follow on each other; some of which looks told, each found after the one
    before it.
    """
    rows: list[dict[str, Any]] = []
    for deal in range(1, draw(st.integers(0, 6)) + 1):
        at, seen, reported = (
            draw(st.integers(earliest, 2 * NOW)),
            0,
            draw(st.sampled_from(["changelog", "snapshots", "current"])),
        )
        path = draw(st.lists(st.sampled_from([11, 12, 21, 99]), min_size=1, max_size=4))
        for number, stage in enumerate(path):
            final = number == len(path) - 1
            left = None if final and draw(st.booleans()) else at + draw(st.integers(1, 40))
            end = draw(st.sampled_from(CLOSINGS if final else (*MOVES, "won", "lost")))
            seen = at if reported == "changelog" else max(seen, at + draw(st.integers(0, 25)))
            bounds = (
                {}
                if reported == "changelog"
                else {
                    "entered_after": draw(st.none() | st.just(at - 1)),
                    "left_after": None if left is None else draw(st.none() | st.just(at)),
                }
            )
            rows.append(
                one_visit(
                    deal,
                    stage,
                    at,
                    left,
                    None if left is None else end,
                    visit=number + 1,
                    source=reported,
                    seen_at=seen,
                    **bounds,
                )
            )
            at = at if left is None else left
    return rows


def begun(row: dict[str, Any]) -> bool:
    return bool(row["entered_at"] <= NOW)


def known(row: dict[str, Any]) -> bool:
    return begun(row) and (row["source"] == "changelog" or row["seen_at"] <= NOW)


def known_over(row: dict[str, Any], rows: list[dict[str, Any]]) -> bool:
    """Whether an exit had happened by day 50, and the stay that it led to had been seen."""
    if row["left_at"] is None or row["left_at"] > NOW:
        return False
    following = [
        one
        for one in rows
        if one["deal_id"] == row["deal_id"] and one["entered_at"] >= row["left_at"]
    ]
    return row["end"] not in MOVES or all(known(one) for one in following[:1])


@st.composite
def two_futures(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Stays, and the same with anything that was not known on day 50 otherwise: exits, looks,
    entries.
    """
    known_visits = draw(courses())
    other = []
    for row in filter(known, known_visits):
        if not known_over(row, known_visits):
            left = draw(st.none() | st.integers(NOW + 1, 3 * NOW))
            end = "open" if left is None else draw(st.sampled_from(MOVES + CLOSINGS))
            after = None if left is None else draw(st.none() | st.integers(row["entered_at"], left))
            row = {**row, "left_at": left, "end": end, "left_after": after}
        other.append(row)
    other += [{**row, "visit": 50 + number} for number, row in enumerate(draw(courses(NOW + 1)))]
    for number, row in enumerate(draw(courses())):
        seen = draw(st.integers(max(NOW, row["entered_at"]) + 1, 9 * NOW))
        other.append({**row, "visit": 100 + number, "source": "snapshots", "seen_at": seen})
    return known_visits, draw(st.permutations(other))


@given(
    two_futures(),
    st.sampled_from([None, "end", "source", "deal_id", ["deal_id", "end"]]),
    st.sampled_from(["exit", "censored"]),
)
@settings(max_examples=examples(80), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.filterwarnings("ignore::pdframe.DataWarning")
def test_what_comes_later_changes_no_cell(
    futures: tuple[list[dict[str, Any]], list[dict[str, Any]]], by: Any, deleted: Any
) -> None:
    one, other = map(frame_of, futures)
    for metric in (stage_velocity, stage_survival):
        expected = metric(one, STAGES, as_of=day(NOW), by=by, deleted=deleted)
        pd.testing.assert_frame_equal(
            metric(other, STAGES, as_of=day(NOW), by=by, deleted=deleted),
            expected,
            check_exact=True,
        )


@given(courses())
@settings(max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.filterwarnings("ignore::pdframe.DataWarning")
def test_counts_are_those_of_a_loop_and_groups_sum_to_the_complete(
    known_visits: list[dict[str, Any]],
) -> None:
    visits = frame_of(known_visits)
    full = stage_velocity(visits, STAGES, as_of=day(NOW))
    cut = stage_velocity(visits, STAGES, as_of=day(NOW), deleted="censored")
    for row, uncut in zip(full.to_dict("records"), cut.to_dict("records"), strict=True):
        mine = [
            one
            for one in known_visits
            if known(one)
            and (one["pipeline_id"], one["stage_id"]) == (row["pipeline_id"], row["stage_id"])
        ]
        over = [one for one in mine if known_over(one, known_visits)]
        assert (row["visits"], row["completed"], row["open"]) == (
            len(mine),
            len(over),
            len(mine) - len(over),
        )
        deleted = sum(one["end"] == "deleted" for one in over)
        assert (uncut["visits"], uncut["completed"], uncut["open"]) == (
            row["visits"],
            row["completed"] - deleted,
            row["open"],
        )
        sources = {one["source"] for one in mine}
        assert (None if pd.isna(row["basis"]) else row["basis"]) == (
            None if not sources else "mixed" if len(sources) > 1 else sources.pop()
        )
    parts = stage_velocity(visits, STAGES, as_of=day(NOW), by="deal_id")
    counts = ["visits", "completed", "open"]
    summed = parts.groupby(["pipeline_id", "stage_id"])[counts].sum().reset_index()
    met = full[full["visits"] > 0].sort_values(["pipeline_id", "stage_id"])
    assert (
        summed[summed["visits"] > 0].values.tolist()
        == met[["pipeline_id", "stage_id", *counts]].values.tolist()
    )


def test_a_move_counts_once_the_snapshot_that_detected_it_was_there() -> None:
    seen = {"source": "snapshots"}
    visits = frame_of(
        [
            one_visit(1, 11, 0, 4, left_after=2, seen_at=0.5, **seen),
            one_visit(1, 12, 4, seen_at=9, **seen),
            one_visit(2, 11, 0, 4, seen_at=0.5, **seen),
            one_visit(2, 12, 4, seen_at=9, **seen),
            one_visit(3, 11, 0, 5, "lost", seen_at=0.5, **seen),
            # Its changelog has the first visit; the snapshot of day 9 has it elsewhere.
            one_visit(4, 11, 0, 6, "changed pipeline"),
            one_visit(4, 21, 6, pipeline=2, seen_at=9, **seen),
        ]
    )
    then, now = ({}, {})
    for matches, when in ((then, 8), (now, 9)):
        with pytest.warns(DataWarning):
            table = stage_velocity(visits, STAGES, as_of=day(when))
        matches |= {
            row["stage_id"]: (row["visits"], row["completed"], row["open"])
            for row in table.to_dict("records")
        }
    assert then == {11: (4, 1, 3), 12: (0, 0, 0), 21: (0, 0, 0)}
    assert now == {11: (4, 4, 0), 12: (2, 0, 2), 21: (1, 0, 1)}
    # A frame of one stage alone does not show what a snapshot saw next: moves count
    # from their own time.
    with pytest.warns(DataWarning):
        alone = stage_velocity(visits[visits["stage_id"] == 11], STAGES, as_of=day(8))
    assert alone[["visits", "completed", "open"]].iloc[0].tolist() == [4, 4, 0]


def test_a_deletion_is_an_exit_or_cuts_the_visit_off() -> None:
    visits = frame_of(
        [one_visit(1, 11, 0, 2, "deleted"), one_visit(2, 11, 0, 4), one_visit(3, 11, 0)]
    )
    stages = STAGES.iloc[[1]]
    # S(2) = 2/3, S(4) = 1/3; cut off at 2, the first is at risk no more: S(4) = 1/2.
    exit_, cut = (
        stage_velocity(visits, stages, as_of=day(9), deleted=kind) for kind in ("exit", "censored")
    )
    same(
        exit_,
        table((1, 11, "Lead", 1, 3, 2, 1, 4.0, 2.0, N, 2.0, N, N, 2 + 4 / 3 + 5 / 3, "changelog")),
    )
    same(cut, table((1, 11, "Lead", 1, 3, 1, 1, 4.0, 4.0, N, 4.0, N, N, 4 + 5 / 2, "changelog")))
    curve = stage_survival(visits, stages, as_of=day(9), deleted="censored")
    assert curve[["days", "at_risk", "events", "survival"]].to_numpy().tolist() == [
        [2, 3, 0, 1.0],
        [4, 2, 1, 0.5],
        [9, 1, 0, 0.5],
    ]
    with pytest.raises(
        ArgumentError, match="deleted must be one of 'exit', 'censored', 'drop', 'keep', not 'gone'"
    ):
        stage_velocity(visits, stages, as_of=day(9), deleted="gone")  # type: ignore[arg-type]


def test_a_synthetic_company_as_statsmodels_sees_its_true_visits() -> None:
    with (
        pdframe.sandbox.connect(
            seed=3, deals=300, company="hostile", progress=False, burst=100_000
        ) as account,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", DataWarning)
        account.deal_changes()
        visits, stages = account.stage_visits(), account.stages()
        exact = visits[visits["source"] == "changelog"]
        reported = set(exact["deal_id"])
        true = [
            one_visit
            for one_visit in account.company_model.truth.stage_visits()
            if one_visit.deal_id in reported
        ]
    now = pd.Timestamp("2026-03-31 23:59:59.999999", tz="UTC")
    matches = stage_velocity(exact, stages, as_of="2026-03-31").set_index("stage_id")
    assert matches["visits"].sum() > 500
    for stage, row in matches.iterrows():
        lasted, over = [], []
        for one in true:
            entered = pd.Timestamp(one.entered_at, unit="s", tz="UTC")
            left = None if one.left_at is None else pd.Timestamp(one.left_at, unit="s", tz="UTC")
            if one.stage_id == stage and entered <= now:
                over.append(left is not None and left <= now)
                lasted.append(((left if over[-1] else now) - entered) / pd.Timedelta(days=1))
        assert (row["visits"], row["completed"]) == (len(lasted), sum(over))
        theirs = SurvfuncRight(np.maximum(lasted, 1e-9), np.array(over, int))
        at = np.flatnonzero(theirs.surv_prob <= 0.5 + 1e-9)
        expected = theirs.surv_times[at[0]] if len(at) else np.nan
        np.testing.assert_allclose(row["median_days"], expected, rtol=0, atol=1e-6)

"""The funnel of deals that only looks tell of: what it counts, what it refuses, and what it
says.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe.errors import DataWarning
from pdframe.metrics import funnel, funnel_deals, stage_moves
from tests.helpers.notices import noticed
from tests.helpers.visit_frames import day, known_visits, stages

NOW = day(100)
COUNTS = ["reached", "advanced", "lost", "left", "open"]

# One look on day 90 found four deals as they were.
CURRENT = known_visits(
    (1, "A", 10, None, "open"),
    (2, "B", 30, None, "open"),
    (3, "C", 40, 80, "won"),
    (4, "B", 50, 60, "lost"),
    source="current",
    seen=90,
)


@pytest.mark.parametrize(
    ("skipped", "said", "counts"),
    [
        (
            "implied",
            "stages before the first one seen count as reached together with it",
            [[4, 3, 0, 0, 1], [3, 1, 1, 0, 1], [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]],
        ),
        (
            "touched",
            "stages visited earlier count as not visited",
            [[1, 0, 0, 0, 1], [2, 0, 1, 0, 1], [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]],
        ),
        (
            "strict",
            "stages visited earlier, and all after those, count as not reached",
            [[1, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
        ),
    ],
)
def test_deals_of_one_snapshot_are_counted_but_have_no_rates(
    skipped: Any, said: str, counts: list[list[int]]
) -> None:
    with pytest.warns(DataWarning) as reported:
        table = funnel(CURRENT, stages(), as_of=NOW, skipped=skipped)
    assert table[COUNTS].to_numpy().tolist() == counts
    # Deals that moved on or closed before a snapshot cannot be followed: it is unknown which were
    # there.
    assert (
        table[["conversion", "low", "high", "win", "win_low", "win_high", "horizon_days"]]
        .isna()
        .all()
        .all()
    )
    (warning,) = reported
    cost, late, few = table.attrs["notes"]
    assert "changelogs of this cohort: 4 deals, 80 tokens: account.deal_changes(ids)" in cost
    assert str(warning.message).startswith(f"funnel: {cost[:130]}")
    assert str(warning.message).endswith(
        '2 more: the full text is in .attrs["notes"] of the result.'
    )
    assert late.startswith("4 of 4 deals are known from snapshots alone")
    assert said in late
    rows = sum(row[0] > 0 for row in counts[:3])
    assert few.startswith(f"The rates of {rows} of 3 rows are null")
    assert warning.filename == __file__


@pytest.mark.parametrize(
    ("second", "advice"),
    [
        ("deleted", "No changelog can be loaded: all of these deals are deleted."),
        (
            "open",
            "No changelog can be loaded: 1 of these deals is deleted.",
        ),
    ],
)
def test_no_changelog_of_a_deleted_deal_is_recommended(second: str, advice: str) -> None:
    end = None if second == "open" else 85
    seen = known_visits(
        (1, "A", 10, 80, "deleted"), (2, "B", 10, end, second), source="snapshots", seen=50
    )
    with noticed() as notes:
        funnel(seen, stages(), as_of=NOW)
    (message,) = [note for note in notes if "known from snapshots alone" in note]
    assert message.endswith(advice)
    costs = [note for note in notes if "1 deal, 20 tokens: account.deal_changes(ids)" in note]
    assert len(costs) == (second == "open")


def test_a_deal_is_followed_from_its_first_snapshot_on() -> None:
    # Twelve deals that the changelog tells, lost on their day 30, and two that a look found in A on
    # day 60: one lost later, one not.
    exact = known_visits(
        *[(deal, "A", 0, 30, "lost") for deal in range(1, 13)],
        *[(deal, "A", 0, 70, "lost") for deal in range(13, 25)],
    )
    seen = known_visits(
        (31, "A", 20, 80, "lost"), (32, "A", 20, None, "open"), source="snapshots", seen=50
    )
    with noticed(r"2 of 26 deals are known from snapshots alone", "2 deals, 40 tokens"):
        level = funnel_deals(pd.concat([exact, seen]), stages(), as_of=NOW)
    assert level["entry_days"].tolist() == [0.0] * 24 + [30.0, 30.0]
    # One of them advances on its day 60, as one of 14: by then half of the 24 were left, since the
    # looks came at day 30 exactly.
    seen.loc[0, "end"] = "advanced"
    after = known_visits((31, "B", 80, None, "open"), source="snapshots", seen=85)
    with noticed(r"2 of 26 deals are known from snapshots alone", "2 deals, 40 tokens"):
        table = funnel(pd.concat([exact, seen, after]), stages(), as_of=NOW)
    assert table[COUNTS].iloc[0].tolist() == [26, 1, 24, 0, 1]
    assert table["horizon_days"].iloc[0] == 70.0
    assert table["conversion"].iloc[0] == pytest.approx(1 / 2 * 1 / 14, rel=1e-12)


@pytest.mark.parametrize(("exact", "refused"), [(1, True), (2, True), (3, False)])
def test_too_few_followed_from_the_start_are_refused(exact: int, refused: bool) -> None:
    # Of 20, 21 or 22 deals a tenth is needed from the start, 2 or 3, however many come later.
    seen = known_visits(
        *[(deal, "A", 0, 60 + deal, "lost") for deal in range(11, 30)], source="snapshots", seen=30
    )
    reported = known_visits(*[(deal, "A", 0, 95 + deal, "lost") for deal in range(1, exact + 1)])
    with noticed() as notes:
        table = funnel(pd.concat([reported, seen]), stages(), as_of=NOW)
    assert table["reached"].iloc[0] == 19 + exact
    assert np.isnan(table["conversion"].iloc[0]) == refused
    assert len(notes) == 2 + refused


def test_a_deal_first_seen_in_a_later_stage_has_no_rate_in_earlier_ones() -> None:
    # Thirty deals entered B half a day before the snapshot; when they entered A is unknown. Thirty
    # came to A just then.
    visits = known_visits(
        *[(deal, "B", 89.5, None, "open") for deal in range(1, 31)],
        *[(deal, "A", 89.5, None, "open") for deal in range(31, 61)],
        source="current",
        seen=90,
    )
    with noticed("30 of 60 deals are known from snapshots alone", "30 deals, 600 tokens"):
        table = funnel(visits, stages(), as_of=NOW).set_index("stage")
    with noticed("30 of 60 deals are known from snapshots alone", "30 deals, 600 tokens"):
        level = funnel_deals(visits, stages(), as_of=NOW)
    assert table[COUNTS].to_numpy().tolist() == [
        [60, 30, 0, 0, 30],
        [30, 0, 0, 0, 30],
        [0] * 5,
        [0] * 5,
    ]
    # In 0 days they did not advance: A has thirty deals that are open for ten and a half days, and
    # none that went on.
    assert table.loc["A", "conversion"] == 0.0
    assert table.loc["A", "horizon_days"] == 10.5
    assert (
        level.loc[level["stage"] == "A", "entry_days"].isna().tolist() == [True] * 30 + [False] * 30
    )
    assert level.loc[level["stage"] == "B", "entry_days"].tolist() == [0.0] * 30


def test_a_snapshot_within_a_day_counts_as_from_the_start() -> None:
    visits = known_visits(
        (1, "A", 10, 40, "advanced"),
        (1, "B", 40, None, "open"),
        (2, "A", 20, 30, "lost"),
        source="snapshots",
    )
    visits["seen_at"] = visits["entered_at"] + pd.Timedelta(days=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = funnel(visits, stages(), as_of=NOW)
        exact = funnel(visits.assign(source="changelog"), stages(), as_of=NOW)
    pd.testing.assert_frame_equal(table, exact)
    assert table["conversion"].iloc[0] == 1 / 2


def test_a_deal_seen_too_late_for_as_of_is_left_out() -> None:
    with noticed(
        (
            r"4 deals had entered by as_of but were first seen after it, the last at 2026-04-01.*80"
            r" tokens"
        ),
    ):
        table = funnel(CURRENT, stages(), as_of=day(89), pipeline_id=1)
    assert table["reached"].sum() == 0


def test_a_move_to_an_unseen_visit_is_unknown_but_a_closing_is_known() -> None:
    visits = known_visits(
        (1, "A", 0, 50, "advanced"),
        (1, "B", 50, None, "open"),
        (2, "A", 0, 50, "lost"),
        (3, "A", 0, 50, "changed pipeline"),
        (3, "D", 50, None, "open"),
        source="snapshots",
    )
    visits["seen_at"] = [day(0.5), day(60), day(0.5), day(0.5), day(60)]
    result = {
        now: funnel(visits, stages(), as_of=day(now), pipeline_id=1)[COUNTS].iloc[0].tolist()
        for now in (49, 55, 60)
    }
    assert result == {49: [3, 0, 0, 0, 3], 55: [3, 0, 1, 0, 2], 60: [3, 1, 1, 1, 0]}
    # Cut down to the pipeline, nothing tells when a look found the third deal in another one: its
    # own time counts.
    own = visits[visits["pipeline_id"] == 1]
    assert funnel(own, stages(), as_of=day(55), pipeline_id=1)[COUNTS].iloc[0].tolist() == [
        3,
        0,
        1,
        1,
        1,
    ]


def test_bounded_times_count_at_the_latest_possible_with_a_warning() -> None:
    visits = known_visits(
        (1, "A", 0, 20, "lost"),
        (2, "A", 0, None, "open"),
        (3, "A", 5, 30, "lost"),
        source="snapshots",
    )
    visits["left_after"] = [day(10), None, None]
    visits["entered_after"] = [None, None, day(4)]
    with noticed(
        (r"2 of 3 deals have a time that is only known to be between two snapshots"),
        "2 deals, 40 tokens",
    ):
        level = funnel_deals(visits, stages(), as_of=NOW)
    assert level["days"].tolist() == [20.0, 100.0, 25.0]
    # Before the exit can have happened at the latest, the deal counts as there.
    with noticed("1 of 3 deals", "1 deal, 20 tokens"):
        assert funnel(visits, stages(), as_of=day(15))["open"].iloc[0] == 3


def test_a_window_says_which_deals_a_changelog_would_move() -> None:
    # Deal 1 was seen at once in the first stage; 2 was seen in B, so it may have entered before day
    # 20, and 3 in C after the window, so it may have entered in it. 4 is from before, 5 is known.
    visits = pd.concat(
        [
            known_visits((1, "A", 25, None, "open"), source="snapshots", seen=25),
            known_visits(
                (2, "B", 30, None, "open"),
                (3, "C", 60, 80, "won"),
                (4, "B", 10, 15, "lost"),
                (6, "D", 50, None, "open"),
                source="current",
                seen=90,
            ),
            known_visits((5, "A", 21, None, "open")),
        ],
        ignore_index=True,
    )
    window = {"since": "2026-01-21", "until": "2026-02-10", "pipeline_id": 1}
    for metric in (funnel, funnel_deals, stage_moves):
        with noticed(others="") as notes:
            result = metric(visits, stages(), as_of=NOW, **window)
        assert result.attrs.get("uncertain") == (4 if metric is funnel else None)
        assert notes[0].startswith(
            "The deals of this window are uncertain without changelogs:"
            " account.deal_changes(since='2026-01-21'), 4 deals, 80 tokens."
        )
        assert "1 of the 3 deals here may have entered the pipeline before the window" in notes[0]
        assert "2 deals that are not here may have entered within it" in notes[0]
        # One call, not another one for the deals here alone.
        assert "".join(notes).count("account.deal_changes") == 1
    # Without a beginning, none can leave the window.
    with noticed() as notes:
        funnel(visits, stages(), as_of=NOW, until="2026-02-10", pipeline_id=1)
    assert "account.deal_changes(), 5 deals, 100 tokens" in notes[0]
    assert "first seen: 2 deals that are not here may" in notes[0]


def test_a_window_that_changelogs_tell_is_certain() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact = known_visits((1, "A", 10, 12, "advanced"), (1, "B", 12, None, "open"))
        certain = funnel(exact, stages(), as_of=NOW, since=day(5), until=day(20))
    assert "uncertain" not in certain.attrs
    # No changelog of a deleted deal can be loaded.
    removed = known_visits((1, "B", 10, 60, "deleted"), source="snapshots", seen=40)
    with noticed() as notes:
        funnel(removed, stages(), as_of=NOW, since=day(5), until=day(20))
    assert not [note for note in notes if "uncertain" in note]

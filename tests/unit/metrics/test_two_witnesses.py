"""Looks and changelog tell one story of a deal: the same last state and the same counts, whatever
became of it.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from pdframe.metrics import data_quality, funnel, stage_moves, stage_velocity
from tests.helpers import small_frames, two_witnesses
from tests.helpers.visits_by_hand import day, frame_of, one_visit, stages_of

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


@pytest.mark.every_case
@pytest.mark.parametrize("seed", range(5))
def test_changelog_and_snapshots_equal_plain_python_on_forty_lives(
    seed: int, tmp_path: Path
) -> None:
    for world in two_witnesses.worlds(seed, tmp_path, 40):
        two_witnesses.check(world)


@pytest.mark.parametrize("seed", [0, 1, 3, 14, 19])
def test_the_history_has_the_state_of_every_deal_at_any_time(seed: int, tmp_path: Path) -> None:
    two_witnesses.check_history(two_witnesses.World(seed, tmp_path, deals=20))


@pytest.mark.parametrize("seed", range(10, 13))
def test_data_quality_names_the_deals_whose_witnesses_disagree_and_no_other(
    seed: int, tmp_path: Path
) -> None:
    for world in two_witnesses.worlds(seed, tmp_path, 40):
        two_witnesses.check_disagreement(world)


def test_changes_of_closed_deals_are_no_remains_and_a_deal_deleted_once_closed_counts_if_kept() -> (
    None
):
    """Deal 1 was lost on day 2 and set to won on day 5; deal 2 was won on day 4 and deleted on day
    6; deal 3 is there.
    """
    visits = frame_of(
        [
            one_visit(1, 11, 0, 2, "lost"),
            one_visit(1, 11, 5, 5, "won", visit=2),
            one_visit(2, 11, 0, 4, "won"),
            one_visit(2, 11, 6, 6, "deleted", visit=2),
            one_visit(3, 11, 0),
        ]
    )
    stages = stages_of((11, 1, 1, "Lead"))
    for order in ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]):
        given = visits.iloc[order]
        # Deal 2 was won until day 6; of its 4 days nothing counts from then on.
        for kind, when, remained, wins in (
            ("drop", 5.5, 3, 2),
            ("drop", 9, 2, 1),
            ("keep", 9, 3, 2),
        ):
            choice: Any = {"as_of": day(when), "deleted": kind}
            velocity = stage_velocity(given, stages, **choice)
            assert velocity[["visits", "completed"]].to_numpy().tolist() == [
                [remained, remained - 1]
            ]
            assert velocity["median_days"].tolist() == ([4.0] if remained == 3 else [2.0])
            moves = stage_moves(given, stages, **choice)
            assert dict(zip(moves["to"], moves["moves"], strict=True)) == {"won": wins, "open": 1}
            won = funnel(given, stages, **choice)["reached"].iloc[-1]
            assert won == wins


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_moves_and_a_closing_of_one_instant_are_read_in_any_order_of_rows(
    order: tuple[int, ...],
) -> None:
    """An automation moved deal 1 twice and closed it, all on day 5: it was won, and `deals` says
    that it was lost.
    """
    visits = frame_of(
        [
            one_visit(1, 11, 0, 5, "advanced"),
            one_visit(1, 12, 5, 5, "advanced"),
            one_visit(1, 13, 5, 5, "won"),
        ]
    )
    stages = stages_of((11, 1, 1, "Lead"), (12, 1, 2, "Offer"), (13, 1, 3, "Order"))
    stages = stages.assign(deal_probability=50, add_time=day(0), update_time=day(0))
    lost = {
        "id": 1,
        "stage_id": 13,
        "status": "lost",
        "add_time": day(0),
        "update_time": day(5),
        "lost_time": day(5),
    }
    result = data_quality(
        small_frames.deals([lost]),
        visits.iloc[[*order]],
        stages,
        small_frames.lines([]),
        as_of=day(10),
    ).set_index("check")["ids"]
    assert [*result["stage_history_disagrees"]] == [1]

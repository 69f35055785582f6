"""The funnel's probabilities against known truths, published figures and the rules for the
horizon.
"""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest

from pdframe.metrics import funnel, funnel_deals, stage_velocity
from tests.helpers.notices import noticed
from tests.helpers.simulated_pipelines import AS_OF, DAY, Design, coverage, median_coverage
from tests.helpers.visit_frames import day, known_visits, stages

ONE_STAGE = Design(means=(1.0,), advance=(0.3,)).stages()


def test_the_truth_after_a_closed_only_rate_of_a_fifth() -> None:
    """P(win) is 0.30, wins take Exp(90 d), losses Exp(30 d), deals came uniformly over the last 120
    d.
    """
    size, rng = 400_000, np.random.default_rng(11)
    wins = rng.random(size) < 0.3
    age, lasts = (
        rng.uniform(0, 120, size),
        np.where(wins, rng.exponential(90, size), rng.exponential(30, size)),
    )
    now = AS_OF.tz_localize(None).asm8.astype("datetime64[us]").astype(np.int64)
    entered = now - (age * DAY).astype(np.int64)
    left = pd.Series(
        (entered + (lasts * DAY).astype(np.int64)).view("datetime64[us]")
    ).dt.tz_localize("UTC")
    still = left > AS_OF
    moment = pd.Series(entered.view("datetime64[us]")).dt.tz_localize("UTC")
    visits = pd.DataFrame(
        {
            "deal_id": pd.array(np.arange(size), "Int64"),
            "pipeline_id": 1,
            "stage_id": 1,
            "entered_at": moment,
            "left_at": left.mask(still),
            "end": pd.Series(np.where(wins, "won", "lost")).mask(still, "open"),
            "source": "changelog",
            "entered_after": pd.NaT,
            "left_after": pd.NaT,
            "seen_at": moment,
        }
    )
    # Closed by age a: .3 (1 - exp(-a/90)) won, .7 (1 - exp(-a/30)) lost; the mean over a uniform on
    # 0 to 120.
    won = 0.3 * (1 - 90 / 120 * -np.expm1(-120 / 90))
    lost = 0.7 * (1 - 30 / 120 * -np.expm1(-120 / 30))
    assert (round(won / (won + lost), 3), round(won, 3)) == (0.203, 0.134)
    for horizon, written in ((60, 0.1460), (100, 0.2012)):
        truth = 0.3 * -np.expm1(-horizon / 90)
        assert round(truth, 4) == written
        stage, last = (
            funnel(visits, ONE_STAGE, as_of=AS_OF, horizon=f"{horizon}D")
            .iloc[[0, 1]]
            .to_dict("records")
        )
        # Those who came early enough alone would estimate it with this error; using all deals
        # cannot be worse.
        error = np.sqrt(truth * (1 - truth) / (size * (120 - horizon) / 120))
        assert abs(stage["win"] - truth) < 4.5 * error
        assert stage["win_high"] - stage["win_low"] < 2 * 1.97 * error
        assert stage["win_low"] < truth < stage["win_high"]
        assert stage["conversion"] == stage["win"]
        closed = won + lost
        assert abs(stage["closed_conversion"] - won / closed) < 4.5 * np.sqrt(
            won / closed * (1 - won / closed) / (size * closed)
        )
        assert abs(last["share_reached"] - won) < 4.5 * np.sqrt(won * (1 - won) / size)


def test_the_published_competing_risks_figures() -> None:
    times, causes = [1, 5, 3, 6, 1, 3, 2, 5, 2, 3, 6], [0, 1, 1, 1, 2, 1, 0, 1, 0, 2, 2]
    rows: list[tuple[object, ...]] = []
    for deal, (time, cause) in enumerate(zip(times, causes, strict=True)):
        begun = 100 - time if cause == 0 else 20 + deal
        rows.append(
            (
                deal,
                "A",
                begun,
                None if cause == 0 else begun + time,
                ["open", "advanced", "lost"][cause],
            )
        )
        if cause == 1:
            rows.append((deal, "B", begun + time, None, "open"))
    result = [
        funnel(known_visits(*rows), stages(), as_of=day(100), horizon=f"{days}D")[
            "conversion"
        ].iloc[0]
        for days in (3, 5, 6)
    ]
    assert np.round(result, 5).tolist() == [0.25974, 0.51948, 0.64935]


FOLLOWED = known_visits(
    (1, "A", 0, 10, "advanced"),
    (1, "B", 10, 40, "lost"),
    (2, "A", 0, 20, "lost"),
    (3, "A", 50, None, "open"),
    (4, "A", 80, 90, "advanced"),
    (4, "B", 90, None, "open"),
)


def test_a_horizon_after_the_follow_up_is_null_with_the_longest_one() -> None:
    with noticed("past the follow-up of 1 of 3 rows") as said:
        table = funnel(FOLLOWED, stages(), as_of=day(100), horizon="60D")
    # A is followed for 50 days (deal 3, still there); in B all have ended or, after 10 days, are
    # open, but deal 1 was lost after 30.
    assert table["conversion"].isna().tolist() == [True, False, True, True]
    assert table["win"].isna().tolist() == [True, False, True, True]
    assert table["conversion"].iloc[1] == 0.0
    assert table["horizon_days"].tolist()[:2] == [60.0, 60.0]
    longest = re.search(r"all rows identify is ([\d.]+) d: 50 d \(A\)", said[0])
    assert longest
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = funnel(FOLLOWED, stages(), as_of=day(100), horizon=f"{longest[1]}D")
    assert table["conversion"].iloc[0] == pytest.approx(1 / 2)


def test_a_horizon_after_the_last_exit_is_known() -> None:
    visits = known_visits(
        (1, "A", 0, 10, "advanced"), (1, "B", 10, 20, "won"), (2, "A", 0, 30, "lost")
    )
    table = funnel(visits, stages(), as_of=day(40), horizon="300D")
    assert table["conversion"].tolist()[:3] == [0.5, 1.0, 1.0]
    assert table["win"].tolist()[:3] == [0.5, 1.0, 1.0]


def test_conversion_can_be_known_where_winning_is_not() -> None:
    visits = known_visits(
        (1, "A", 0, 10, "advanced"), (1, "B", 10, None, "open"), (2, "A", 0, 12, "lost")
    )
    with noticed(
        (
            r"past the follow-up of 2 of 3 rows.*"
            r"all rows identify is 30 d: 40 d \(A\), 30 d \(B\)"
        ),
    ):
        table = funnel(visits, stages(), as_of=day(40), horizon="60D", skipped="touched")
    assert table["conversion"].iloc[0] == 0.5
    assert np.isnan(table["win"].iloc[0])


def test_the_longest_horizon_that_all_identify_is_that_of_both_rates_and_all_groups() -> None:
    # Of side a, advancing is followed for 50 days; of side b all have advanced, and winning is
    # followed for 20.
    visits = known_visits(
        (1, "A", 50, None, "open"),
        (2, "A", 50, 60, "lost"),
        (3, "A", 80, 90, "advanced"),
        (3, "B", 90, None, "open"),
    ).assign(side=["a", "a", "b", "b"])
    with noticed(
        (
            r"past the follow-up of 3 of 6 rows.*"
            r"all rows identify is 10 d: 20 d \(A\), 10 d \(B\)"
        ),
    ):
        table = funnel(visits, stages(), as_of=day(100), by="side", horizon="60D").set_index(
            ["side", "stage"]
        )
    assert table["conversion"].dropna().to_dict() == {("b", "A"): 1.0}
    assert table["win"].isna().all()


def test_each_group_has_its_own_horizon_and_follow_up() -> None:
    visits = FOLLOWED.assign(side=FOLLOWED["deal_id"].map({1: "a", 2: "a", 3: "b", 4: "b"}))
    table = funnel(visits, stages(), as_of=day(100), by="side").set_index(["side", "stage"])
    assert table["horizon_days"].dropna().to_dict() == {
        ("a", "A"): 20.0,
        ("a", "B"): 30.0,
        ("b", "A"): 50.0,
        ("b", "B"): 10.0,
    }
    assert table["conversion"].dropna().to_dict() == {
        ("a", "A"): 0.5,
        ("a", "B"): 0.0,
        ("b", "A"): 0.5,
        ("b", "B"): 0.0,
    }
    with noticed(r"2 of 6 rows.*all rows identify is 10 d: 50 d \(A\), 10 d \(B\)"):
        table = funnel(visits, stages(), as_of=day(100), by="side", horizon="55D").set_index(
            ["side", "stage"]
        )
    assert table["conversion"].dropna().to_dict() == {("a", "A"): 0.5, ("a", "B"): 0.0}


def test_the_common_horizon_is_the_shortest_of_all_rows() -> None:
    visits = FOLLOWED.assign(side=FOLLOWED["deal_id"].map({1: "a", 2: "a", 3: "b", 4: "b"}))
    table = funnel(visits, stages(), as_of=day(100), by="side", horizon="common")
    # 20, 30, 50 and 10 days, see above.
    assert table["horizon_days"].dropna().tolist() == [10.0] * 4
    pd.testing.assert_frame_equal(
        table, funnel(visits, stages(), as_of=day(100), by="side", horizon="10D")
    )
    none = funnel(visits.iloc[:0], stages(), as_of=day(100), pipeline_id=1, horizon="common")
    assert none["horizon_days"].isna().all()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_common_horizon_by_its_definition_on_a_simulated_pipeline(seed: int) -> None:
    """Of each row the time that ten deals (a tenth below 100) outlast; of these the shortest."""
    design = Design()
    visits = design.visits(1, seed=seed)
    visits["side"] = np.where(visits["deal_id"] % 3 == 0, "a", "b")
    level = funnel_deals(visits, design.stages(), as_of=AS_OF, by="side")
    longest = []
    for _, days in level[level["stage_id"].notna()].groupby(["side", "stage_id"])["days"]:
        needed = min(10, -(-len(days) // 10))
        longest.append(days.sort_values(ascending=False).iloc[needed - 1])
    assert len(longest) > 2
    table = funnel(visits, design.stages(), as_of=AS_OF, by="side", horizon="common")
    horizons = table["horizon_days"].dropna()
    assert len(horizons) == len(longest)
    assert horizons.tolist() == pytest.approx([min(longest)] * len(longest))
    # The rates are those of that length, and each row has one.
    length = pd.Timedelta(days=horizons.iloc[0])
    fixed = funnel(visits, design.stages(), as_of=AS_OF, by="side", horizon=length)
    rates = ["conversion", "win"]
    pd.testing.assert_frame_equal(table[rates], fixed[rates])
    assert (
        table.loc[table["stage_id"].notna() & (table["reached"] > 0), rates].notna().all(axis=None)
    )


def test_intervals_hold_the_truth_of_200_small_pipelines() -> None:
    design = Design()
    table = funnel(
        design.visits(200, seed=3),
        design.stages(),
        as_of=AS_OF,
        by="simulation",
        horizon=f"{design.horizon_days}D",
    )
    result = coverage(table, design)
    # 200 draws: four standard errors of a share of 0.95 are 0.062.
    assert result["covered"].between(0.95 - 0.062, 1).all(), result
    assert result["covered"].mean() == pytest.approx(0.95, abs=0.03), result
    # What dividing by the closed deals gives is off by far more than the estimate.
    assert (result["bias"].abs() < 0.01).all(), result
    assert (result["naive_bias"] > 0.02).all(), result


def test_medians_of_visits_hold_the_truth_of_200_small_pipelines() -> None:
    design = Design()
    visits = design.visits(200, seed=5)
    result = median_coverage(
        stage_velocity(visits, design.stages(), as_of=AS_OF, by="simulation"), visits, design
    )
    assert result["covered"].between(0.95 - 0.062, 1).all(), result
    assert (result["bias"].abs() < result["naive_bias"].abs()).all(), result

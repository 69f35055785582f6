"""What holds of every funnel: its sums, its groups, its windows, its row level, and that the future
changes nothing.
"""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pdframe.errors import DataWarning
from pdframe.metrics import funnel, funnel_deals
from pdframe.metrics._survival import aalen_johansen
from tests.helpers.tiers import examples
from tests.helpers.visit_frames import (
    ENDS,
    ID_OF,
    PIPELINE_OF,
    PLACES,
    SOURCES,
    day,
    known_visits,
    plain_funnel,
    stages,
    times,
)

MODES = ["implied", "touched", "strict"]
COUNTS = ["reached", "advanced", "lost", "left", "open"]
NOW = 20

quick = settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@st.composite
def courses(draw: st.DrawFn, deals: int = 12) -> list[tuple[Any, ...]]:
    """Rows of deals that wander through stages of two pipelines and a deleted one, close and open
    again, in whole days.
    """
    rows: list[tuple[Any, ...]] = []
    for deal in range(1, draw(st.integers(0, deals)) + 1):
        at = draw(st.integers(0, 15))
        path = draw(st.lists(st.sampled_from("AAABBBCCDX"), min_size=1, max_size=6))
        for number, stage in enumerate(path):
            left = at + draw(st.integers(0, 6))
            following = path[number + 1] if number + 1 < len(path) else None
            closed = draw(st.sampled_from(["won", "lost", "lost", "deleted", "open"]))
            if following is None:
                end: str | None = closed
            elif PIPELINE_OF[following] != PIPELINE_OF[stage]:
                end = "changed pipeline"
            elif following == stage or draw(st.integers(0, 9)) == 0:
                end = draw(
                    st.sampled_from(["won", "lost"])
                )  # opened again, in this stage or another
            elif "X" in (stage, following):
                end = None
            else:
                end = "advanced" if ID_OF[following] > ID_OF[stage] else "moved back"
            rows.append((deal, stage, at, None if end == "open" else left, end))
            at = left + (draw(st.integers(0, 3)) if end in ("won", "lost") else 0)
    return rows


def quietly(function: Any, *args: Any, **kwargs: Any) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return function(*args, **kwargs)


def with_keys(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    frame = known_visits(*rows)
    deal = frame["deal_id"].astype("int64")
    return frame.assign(
        third=deal % 3,
        half=pd.Series(
            np.where(deal % 4 == 0, None, np.where(deal % 2 == 0, "even", "odd")), dtype="str"
        ),
    )


@quick
@given(courses(), st.sampled_from(MODES), st.sampled_from([None, (0, 8), (5, 9)]))
def test_equal_to_deal_by_deal(
    rows: list[tuple[Any, ...]], skipped: Any, window: tuple[int, int] | None
) -> None:
    since, until = (None, None) if window is None else (day(window[0]), day(window[1]))
    table = quietly(
        funnel,
        known_visits(*rows),
        stages(),
        as_of=day(NOW),
        pipeline_id=1,
        skipped=skipped,
        since=since,
        until=until,
    )
    expected = plain_funnel(rows, NOW, skipped, window)
    assert list(table[["stage", *COUNTS]].itertuples(index=False, name=None)) == [
        row[:6] for row in expected
    ]
    for name, column in (("conversion", 6), ("horizon_days", 7), ("win", 8)):
        exact = np.array(
            [np.nan if row[column] is None else float(row[column]) for row in expected]
        )
        np.testing.assert_allclose(table[name], exact, rtol=1e-12, atol=1e-12)


@quick
@given(courses(), st.sampled_from(MODES))
def test_sums(rows: list[tuple[Any, ...]], skipped: Any) -> None:
    visits, args = with_keys(rows), {"as_of": day(NOW), "pipeline_id": 1, "skipped": skipped}
    full = quietly(funnel, visits, stages(), **args)
    for by in (["third"], ["half"], ["half", "third"]):
        groups = quietly(funnel, visits, stages(), by=by, **args)
        assert (
            groups["reached"]
            == groups["advanced"] + groups["lost"] + groups["left"] + groups["open"]
        ).all()
        summed = groups.groupby("stage", sort=False)[COUNTS].sum().reindex(full["stage"])
        if len(groups):
            assert summed.to_numpy().tolist() == full[COUNTS].to_numpy().tolist()
    for cut in (0, 3, 7, 16):
        parts = [
            quietly(funnel, visits, stages(), **window, **args)
            for window in ({"until": day(cut)}, {"since": day(cut)})
        ]
        assert (parts[0][COUNTS] + parts[1][COUNTS]).equals(full[COUNTS])


@quick
@given(courses(), st.sampled_from(MODES), st.sampled_from([[], ["half"]]))
def test_every_number_is_a_group_by_of_the_deals(
    rows: list[tuple[Any, ...]], skipped: Any, by: list[str]
) -> None:
    visits, args = (
        with_keys(rows),
        {"as_of": day(NOW), "pipeline_id": 1, "skipped": skipped, "by": by},
    )
    table, level = (
        quietly(funnel, visits, stages(), **args),
        quietly(funnel_deals, visits, stages(), **args),
    )
    assert not level.duplicated(["deal_id", "stage"]).any()
    for _, row in table.iterrows():
        mine = level[level["stage"] == row["stage"]]
        if by:
            mine = mine[
                mine["half"].isna() if pd.isna(row["half"]) else mine["half"] == row["half"]
            ]
        assert len(mine) == row["reached"]
        assert [int((mine["state"] == state).sum()) for state in COUNTS[1:]] == row[
            COUNTS[1:]
        ].tolist()
        assert mine["advanced_at"].notna().equals(mine["state"] == "advanced")
        np.testing.assert_allclose(
            mine["days"], (mine["state_at"] - mine["reached_at"]) / pd.Timedelta(days=1)
        )
        if row["stage"] == "won" or mine.empty:
            continue
        for what, value in (("state", "conversion"), ("outcome", "win")):
            days = mine["days" if what == "state" else "outcome_days"]
            cause = (
                mine[what]
                .astype("str")
                .map({"advanced": 1, "won": 1, "lost": 2, "left": 2, "open": 0})
            )
            curve = aalen_johansen(days, cause, np.zeros(len(mine), np.int64), 1)
            result = row[
                [value, *(("low", "high") if value == "conversion" else ("win_low", "win_high"))]
            ].astype("float64")
            np.testing.assert_allclose(np.concatenate(curve.at(row["horizon_days"])), result)


@st.composite
def seen_at(draw: st.DrawFn) -> pd.DataFrame:
    """Visits of which looks tell some deals: seen later, with bounds."""
    frame = known_visits(*draw(courses()))
    size = len(frame)
    source = {deal: draw(st.sampled_from(SOURCES)) for deal in frame["deal_id"].unique()}
    frame["source"] = pd.Categorical(frame["deal_id"].map(source), SOURCES)
    delay = pd.to_timedelta(
        draw(st.lists(st.integers(0, 8), min_size=size, max_size=size)), unit="D"
    )
    frame["seen_at"] = frame["entered_at"] + pd.Series(delay).where(
        frame["source"] != "changelog", pd.Timedelta(0)
    )
    # A later stay is not seen before an earlier one.
    frame["seen_at"] = frame.groupby("deal_id")["seen_at"].cummax() if size else frame["seen_at"]
    bounded = pd.Series(
        draw(st.lists(st.booleans(), min_size=size, max_size=size)), dtype="bool"
    ) & (frame["source"] != "changelog")
    frame["left_after"] = (frame["left_at"] - pd.Timedelta(hours=1)).where(
        bounded & (frame["left_at"] > frame["entered_at"])
    )
    return frame


@settings(quick, max_examples=examples(80))
@given(seen_at(), st.integers(0, NOW), st.sampled_from(MODES), st.data())
def test_the_future_changes_no_cell(
    visits: pd.DataFrame, now: int, skipped: Any, data: st.DataObject
) -> None:
    as_of = day(now)
    assert as_of is not None
    later = (visits["entered_at"] > as_of) | (
        (visits["source"] != "changelog") & (visits["seen_at"] > as_of)
    )
    # A move to a stay that was not known then was not known either.
    moved = ~visits["end"].isin(["won", "lost", "deleted"]) & later.shift(-1, fill_value=False)
    moved &= visits["deal_id"] == visits["deal_id"].shift(-1)
    there = ((visits["left_at"].isna() | (visits["left_at"] > as_of)) | moved)[~later].to_numpy()
    other = visits[~later].reset_index(drop=True)
    for row in np.flatnonzero(there):
        end = data.draw(st.sampled_from([*ENDS, None]))
        left = None if end == "open" else now + data.draw(st.integers(1, 9))
        other.loc[row, "end"] = end
        other.loc[row, "left_at"] = pd.NaT if left is None else day(left)
        other.loc[row, "left_after"] = pd.NaT
    future = [
        (deal, stage, now + 1, None, "open")
        for deal, stage in data.draw(
            st.lists(st.tuples(st.integers(1, 30), st.sampled_from("ABCDX")))
        )
    ]
    unseen = [
        (deal, stage, max(now - 2, 0), now + 5, "won")
        for deal, stage in data.draw(
            st.lists(st.tuples(st.integers(1, 30), st.sampled_from("ABC")))
        )
    ]
    other = pd.concat(
        [other, known_visits(*future), known_visits(*unseen, source="current", seen=now + 1)],
        ignore_index=True,
    )
    first, second = (frame.assign(key=frame["deal_id"] % 2) for frame in (visits, other))
    for more in ({}, {"by": "key", "horizon": "5D"}, {"by": ["end", "left_at"]}):
        args = {"as_of": as_of, "pipeline_id": 1, "skipped": skipped, **more}
        pd.testing.assert_frame_equal(
            quietly(funnel, first, stages(), **args), quietly(funnel, second, stages(), **args)
        )
    args = {"as_of": as_of, "pipeline_id": 1, "skipped": skipped}
    pd.testing.assert_frame_equal(
        quietly(funnel_deals, first, stages(), **args),
        quietly(funnel_deals, second, stages(), **args),
    )


@pytest.mark.parametrize("size", range(1, 130))
def test_the_default_horizon_has_ten_or_a_tenth_at_risk(size: int) -> None:
    visits = known_visits(*[(deal, "A", 0, deal, "lost") for deal in range(1, size + 1)])
    least = min(10, (size + 9) // 10)
    assert funnel(visits, stages(), as_of=day(1000))["horizon_days"].iloc[0] == size + 1 - least


def test_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    rows = []
    for deal in range(200):
        at = int(rng.integers(0, 10))
        path = rng.choice(PLACES, rng.integers(1, 5))
        for stage, following in pairwise([*path, None]):
            left = at + int(rng.integers(1, 4))
            end = "lost" if following is None else "advanced" if following > stage else "moved back"
            rows.append((deal, stage, at, left, end if following != stage else "lost"))
            at = left
    visits = known_visits(*rows)
    full = funnel(visits, stages(), as_of=day(NOW))
    shuffled = visits.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(funnel(shuffled, stages().iloc[::-1], as_of=day(NOW)), full)
    # Whole numbers and text do as well as the loaders' dtypes; times may be naive, then in tz.
    plain = shuffled.astype(
        {name: "int64" for name in ("deal_id", "pipeline_id", "stage_id")}
        | {"end": "str", "source": "str"}
    )
    for name in ("entered_at", "left_at", "seen_at"):
        plain[name] = plain[name].dt.tz_convert("Asia/Tokyo").dt.tz_localize(None)
    pd.testing.assert_frame_equal(funnel(plain, stages(), as_of=day(NOW), tz="Asia/Tokyo"), full)


def test_the_times_are_to_the_microsecond() -> None:
    visits = known_visits((1, "A", 0, None, "open"))
    visits["entered_at"] = times([0]) + pd.Timedelta(microseconds=1)
    assert funnel(visits, stages(), as_of=day(0), pipeline_id=1)["reached"].tolist() == [0, 0, 0, 0]
    assert funnel(visits, stages(), as_of=day(0) + pd.Timedelta(microseconds=1))[
        "reached"
    ].tolist() == [1, 0, 0, 0]

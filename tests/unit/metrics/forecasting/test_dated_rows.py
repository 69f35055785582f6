"""Activities and line items in a forecast: what was known of them then, by hand and by a slow
oracle; that nothing later changes a cell; and that they help where they matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdframe import metrics
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import NULL
from pdframe.metrics._columns import NO_ID
from pdframe.metrics.forecasting._dated_rows import Activities, Lines
from pdframe.metrics.forecasting._interface import DAY
from pdframe.metrics.forecasting.design import Design
from pdframe.metrics.forecasting.known import Known
from pdframe.metrics.forecasting.landmarks import landmarks
from tests.helpers.forecast_frames import END
from tests.helpers.small_frames import LINES, frame
from tests.helpers.worked_deals import ACTIVITIES, PRODUCTS, WorkedDeals, worked_deals
from tests.unit.metrics.forecasting.test_forecast_deals import digest

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.DataWarning")
ZERO = pd.Timestamp("2026-01-01", tz="UTC")


def day(number: float | None) -> pd.Timestamp | None:
    return None if number is None else ZERO + pd.Timedelta(days=number)


def micros(*numbers: float) -> np.ndarray:
    return np.array([round(ZERO.timestamp() * 1e6 + n * DAY) for n in numbers], np.int64)


def acts(*rows: tuple[int | None, float | None, float | None]) -> pd.DataFrame:
    """Activities of (deal, day added, day done)."""
    return frame(
        ACTIVITIES,
        [
            {"id": n, "deal_id": d, "add_time": day(a), "marked_as_done_time": day(z)}
            for n, (d, a, z) in enumerate(rows)
        ],
    )


def items(*rows: tuple[int | None, int | None, float | None]) -> pd.DataFrame:
    """Line items of (deal, product, day added)."""
    return frame(
        LINES | {"product_id": "Int64"},
        [
            {"id": n, "deal_id": d, "product_id": p, "add_time": day(a)}
            for n, (d, p, a) in enumerate(rows)
        ],
    )


def in_days(times: np.ndarray) -> list[float | None]:
    return [None if time == NULL else time / DAY for time in times.tolist()]


def test_activities_at_a_time_by_hand():
    table = Activities.of(
        acts((5, 0, 10), (5, 5, None), (5, 8, 7), (9, 3, 40), (None, 0, 1), (5, None, 2)), "UTC"
    )
    when = [-1, 0, 4, 8, 9, 10, 36, 38, 60]
    result = table.at(np.full(len(when), 5), micros(*when))
    # Done on day 8 (marked on 7, known on 8) and on day 10; the second one never.
    assert in_days(result.since_done) == [None, None, None, 0, 1, 0, 26, 28, 50]
    assert result.recent.tolist() == [0, 0, 0, 1, 1, 2, 1, 0, 0]
    assert in_days(result.waiting) == [None, 0, 4, 8, 9, 5, 31, 33, 55]
    other = table.at(np.array([9, 9, 9, 9, 1]), micros(2, 3, 39, 40, 40))
    assert in_days(other.since_done) == [None, None, None, 0, None]
    assert in_days(other.waiting) == [None, 0, 36, None, None]


def test_line_items_at_a_time_by_hand():
    table = Lines.of(items((5, 71, 4), (5, 72, 2), (5, 70, 4), (9, None, 1), (5, 79, None)), "UTC")
    result = table.at(np.array([5, 5, 5, 9, 1]), micros(1, 2, 4, 4, 4))
    assert result.number.tolist() == [0, 1, 3, 1, 0]
    assert result.product.tolist() == [NO_ID, 72, 72, NO_ID, NO_ID]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(1, 3), st.integers(0, 60), st.one_of(st.none(), st.integers(0, 90))),
        max_size=12,
    ),
    when=st.lists(st.tuples(st.integers(1, 4), st.integers(-2, 100)), min_size=1, max_size=8),
)
def test_activities_are_those_of_a_row_by_row_count(rows: Any, when: Any):
    deal = np.array([d for d, _ in when])
    result = Activities.of(acts(*rows), "UTC").at(deal, micros(*(t for _, t in when)))
    for place, (own, time) in enumerate(when):
        there = [(a, z) for d, a, z in rows if d == own and a <= time]
        done = [max(a, z) for a, z in there if z is not None and max(a, z) <= time]
        planned = [a for a, z in there if z is None or z > time]
        assert in_days(result.since_done)[place] == (time - max(done) if done else None)
        assert result.recent[place] == sum(z > time - 28 for z in done)
        assert in_days(result.waiting)[place] == (time - min(planned) if planned else None)


@pytest.fixture(scope="module")
def account() -> WorkedDeals:
    return worked_deals(1, 400)


def forecast(account: WorkedDeals, as_of: Any = "2026-03-31", **how: Any) -> pd.DataFrame:
    given = {"activities": account.activities, "deal_products": account.deal_products} | how
    return metrics.forecast_deals(*account.frames, as_of=as_of, horizons=["30D", "90D"], **given)


@pytest.mark.parametrize(
    ("seed", "cut"), [(0, "2026-01-10 12:00"), (1, "2026-03-31"), (2, "2025-12-31")]
)
def test_nothing_added_done_or_edited_later_changes_a_cell(
    account: WorkedDeals, seed: int, cut: str
):
    expected = forecast(account, cut)
    rng = np.random.default_rng(seed)
    # The first instant after `as_of`.
    limit = pd.Timestamp(cut, tz="UTC") + pd.Timedelta("1us" if ":" in cut else "1D")
    acts, lines = account.activities, account.deal_products
    later = acts["add_time"] >= limit
    acts = acts[~later | (rng.random(len(acts)) < 0.5)]
    # What was done later was done at another time, or never.
    later = (acts["marked_as_done_time"] >= limit).to_numpy()
    other = limit + pd.to_timedelta(rng.integers(0, 90, len(acts)), "D")
    other = other.where(rng.random(len(acts)) < 0.7)
    acts = acts.assign(
        marked_as_done_time=acts["marked_as_done_time"].mask(later, other),
        done=rng.random(len(acts)) < 0.5,
        due_date=limit.tz_localize(None) + pd.to_timedelta(rng.integers(-300, 90, len(acts)), "D"),
        update_time=limit + pd.Timedelta(days=1),
        type=rng.choice(["call", "meeting"], len(acts)),
    )
    deal = rng.choice(account.deals["id"].to_numpy(np.int64), 50)
    more = frame(
        ACTIVITIES,
        [
            {"id": 10**6 + n, "deal_id": int(d), "add_time": limit, "marked_as_done_time": done}
            for n, d in enumerate(deal)
            for done in [[None, limit, limit - pd.Timedelta(days=9)][n % 3]]
        ],
    )
    lines = lines[(lines["add_time"] < limit) | (rng.random(len(lines)) < 0.5)]
    added = lines.head(40).assign(
        id=lambda rows: rows["id"] + 10**6, product_id=PRODUCTS[0], add_time=limit
    )
    lines = pd.concat([lines.assign(quantity=9.0, update_time=limit), added])
    result = forecast(
        account,
        cut,
        activities=pd.concat([acts, more]).sample(frac=1, random_state=seed % 2**31),
        deal_products=lines.sample(frac=1, random_state=seed % 2**31),
    )
    pd.testing.assert_frame_equal(result, expected, check_exact=True)


def test_a_plan_an_activity_and_a_line_known_at_the_time_do_change_it(account: WorkedDeals):
    expected = forecast(account)
    deal = int(expected["deal_id"].iloc[0])
    time = pd.Timestamp("2026-03-30", tz="UTC")
    new = {"id": 10**6, "deal_id": deal, "add_time": time}
    for table, row in (
        ("activities", new),
        ("activities", new | {"marked_as_done_time": time}),
        ("deal_products", new | {"product_id": PRODUCTS[0]}),
    ):
        old = getattr(account, table)
        more = frame(old.dtypes.to_dict(), [{n: row.get(n) for n in old.columns}])
        result = forecast(account, **{table: pd.concat([old, more])})
        own = expected["deal_id"] == deal
        assert (result["p_won"] != expected["p_won"])[own].all(), (table, row)


def test_why_names_them_and_the_design_has_no_such_feature_without(account: WorkedDeals):
    both = forecast(account)
    assert both["why"].str.contains(r"activity [^;]*\(x").any()
    assert both["why"].str.contains(r"product \d+ \(x").any()
    neither = forecast(account, activities=None, deal_products=None)
    assert not neither["why"].str.contains("activity|product|line items").any()
    known = Known.at(*account.frames, "2026-03-31")
    sample = landmarks(known, 0)
    design = Design.of(sample.deals, sample.step, sample.ends, "UTC")
    assert [feature.name for feature in design.features] == [
        "stage", "pipeline", "age in stage", "stage and age in it", "age of the deal", "value",
        "value and age in stage", "owner", "moves back", "interval", "stage and interval",
        "value and interval", "expected close", "month of the quarter", "month",
    ]  # fmt: skip
    assert len(design.fixed(sample.deals)) == 9


def test_other_methods_do_not_read_them(account: WorkedDeals):
    for method in ("aalen-johansen", "constant", "stage climatology"):
        given = forecast(account, method=method)
        without = forecast(account, method=method, activities=None, deal_products=None)
        assert digest(given) == digest(without)


def test_other_readers_and_frames_without_rows(account: WorkedDeals):
    expected = forecast(account)
    text = account.activities.assign(
        add_time=account.activities["add_time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    arrow = account.deal_products.convert_dtypes(dtype_backend="pyarrow")
    assert digest(forecast(account, activities=text, deal_products=arrow)) == digest(expected)
    nothing = forecast(
        account, activities=account.activities[:0], deal_products=account.deal_products[:0]
    )
    assert nothing["p_won"].between(0, 1, inclusive="neither").all()
    assert nothing.dtypes.equals(expected.dtypes)


@pytest.mark.parametrize(
    ("name", "column"),
    [("activities", "marked_as_done_time"), ("deal_products", "product_id")],
)
def test_a_column_that_is_missing_is_named(account: WorkedDeals, name: str, column: str):
    with pytest.raises(ArgumentError, match=f"{name}.*{column}"):
        forecast(account, **{name: getattr(account, name).drop(columns=column)})


def test_totals_and_draws_use_them(account: WorkedDeals):
    given = {"activities": account.activities, "deal_products": account.deal_products}
    how: dict[str, Any] = {"as_of": END, "until": "2026-09", "draws": 300}
    with_rows = metrics.forecast(*account.frames, **how, **given)
    without = metrics.forecast(*account.frames, **how)
    assert (with_rows["from_open"] != without["from_open"]).all()
    assert (with_rows["from_new"] == without["from_new"]).all()
    draws = metrics.forecast_draws(*account.frames, **how, **given)
    other = metrics.forecast_draws(*account.frames, **how)
    assert not draws.equals(other)


@pytest.mark.parametrize("what", ["activities", "deal_products"])
@pytest.mark.parametrize("matters", [True, False])
def test_skill_improves_where_it_matters_and_is_no_worse_elsewhere(what: str, matters: bool):
    account = worked_deals(
        3,
        1_500,
        activity_matters=matters and what == "activities",
        product_matters=matters and what == "deal_products",
    )
    how: dict[str, Any] = {
        "cutoffs": ["2025-09-30", "2025-12-31", "2026-03-31"], "horizons": "30D", "as_of": END
    }  # fmt: skip
    squares = []
    for more in ({}, {what: getattr(account, what)}):
        rows = metrics.backtest_deals(*account.frames, **how, **more)
        rows = rows[rows["method"] == "hazard"].set_index(["cutoff", "deal_id"])
        squares.append((rows["p_won"] - rows["won"].astype("float64")) ** 2)
    gain = squares[0] - squares[1]
    of_deal = gain.groupby("deal_id").sum()
    error = float(np.sqrt((of_deal**2).sum())) / len(gain)
    if matters:
        assert gain.mean() > 3 * error
        assert gain.mean() > 0.02 * squares[0].mean()
    else:
        assert gain.mean() > -2 * error
        assert gain.mean() > -0.02 * squares[0].mean()

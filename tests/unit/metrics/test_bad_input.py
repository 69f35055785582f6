"""What is given wrongly, to every public metric: a typed error that says so, or the same result,
and never a traceback from pandas.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe import metrics
from pdframe.errors import ArgumentError, DataWarning, PdframeError
from tests.helpers import small_frames

NOW = "2026-06-30"
Frames = dict[str, pd.DataFrame]


def good() -> Frames:
    """Frames of a small account, which a test may change."""
    return {name: frame.copy() for name, frame in made_once().items()}


@cache
def made_once() -> Frames:
    """A few deals of two pipelines in every table; looks tell of one of them."""
    deals = [
        {
            "title": "Won",
            "status": "won",
            "won_time": "2026-03-01",
            "local_won_date": "2026-03-01",
            "update_time": "2026-03-01",
        },
        {
            "title": "Lost",
            "status": "lost",
            "lost_time": "2026-02-01",
            "local_lost_date": "2026-02-01",
            "update_time": "2026-02-01",
        },
        {
            "title": "Open",
            "stage_id": 2,
            "expected_close_date": "2026-07-01",
            "update_time": "2026-06-01",
        },
        {"title": "Elsewhere", "stage_id": 3, "pipeline_id": 2, "update_time": "2026-06-01"},
    ]
    known_visits = [
        {"deal_id": 1, "entered_at": "2026-01-01", "left_at": "2026-02-01"},
        {
            "deal_id": 1,
            "entered_at": "2026-02-01",
            "left_at": "2026-03-01",
            "stage_id": 2,
            "end": "won",
        },
        {"deal_id": 2, "entered_at": "2026-01-01", "left_at": "2026-02-01", "end": "lost"},
        {
            "deal_id": 3,
            "entered_at": "2026-01-01",
            "left_at": "2026-01-09",
            "seen_at": "2026-01-02",
            "source": "snapshots",
        },
        {
            "deal_id": 3,
            "entered_at": "2026-01-09",
            "stage_id": 2,
            "seen_at": "2026-02-01",
            "source": "snapshots",
        },
        {"deal_id": 4, "entered_at": "2026-01-01", "stage_id": 3, "pipeline_id": 2},
    ]
    snapshots = [
        {
            "deal_id": deal,
            "seen_at": "2026-05-01",
            "gone": False,
            "stage_id": 1,
            "status": "open",
            "value": 5.0,
        }
        for deal in (1, 2, 3)
    ]
    history = pd.DataFrame(snapshots).astype(
        {"deal_id": "Int64", "gone": "boolean", "stage_id": "Int64", "status": small_frames.STATUS}
    )
    changes = [
        {"column": "status", "after": "open", "time": "2026-01-01"},
        {"column": "value", "after": "100", "time": "2026-01-01"},
        {"column": "expected_close_date", "after": "2026-05-01", "time": "2026-01-01"},
        {"column": "value", "before": "100", "after": "120.5", "time": "2026-02-01"},
        {
            "column": "expected_close_date",
            "before": "2026-05-01",
            "after": "2026-06-01",
            "time": "2026-03-01",
            "source": "snapshots",
            "time_after": "2026-02-22",
        },
        {"column": "status", "before": "open", "after": "won", "time": "2026-03-01"},
        {"deal_id": 3, "column": "status", "after": "open", "time": "2026-02-01"},
    ]
    pipelines = pd.DataFrame({"id": [1, 2], "is_deal_probability_enabled": [True, False]})
    old = pd.Series([pd.Timestamp("2025-01-01", tz="UTC")] * 2, dtype=small_frames.TIME)
    return {
        "deals": small_frames.deals(deals),
        "visits": small_frames.visits(known_visits),
        "stages": small_frames.stages([{}, {}, {"pipeline_id": 2}]),
        "deal_products": small_frames.lines([{"deal_id": 1, "sum": 100.0, "item_price": 100.0}]),
        "discounts": small_frames.discounts([{"deal_id": 1, "amount": 5.0}]),
        "pipelines": pipelines.assign(add_time=old, update_time=old),
        "history": history.assign(seen_at=pd.to_datetime(history["seen_at"], utc=True)),
        "changes": small_frames.history(changes),
        "rates": pd.DataFrame({"currency": ["EUR"], "date": ["2026-01-01"], "rate": [1.0]}),
    }


YEAR: dict[str, Any] = {"since": "2026-01-01", "until": "2027-01-01"}
METRICS: dict[str, tuple[list[str], Callable[..., Any]]] = {
    "funnel": (
        ["visits", "stages"],
        lambda visits, stages: metrics.funnel(visits, stages, as_of=NOW, pipeline_id=1),
    ),
    "funnel by deals": (
        ["visits", "stages", "deals"],
        lambda visits, stages, deals: metrics.funnel(
            visits, stages, as_of=NOW, pipeline_id=1, by=["title", "source"], deals=deals
        ),
    ),
    "funnel_deals": (
        ["visits", "stages"],
        lambda visits, stages: metrics.funnel_deals(visits, stages, as_of=NOW, pipeline_id=1),
    ),
    "stage_velocity": (
        ["visits", "stages", "deals"],
        lambda visits, stages, deals: metrics.stage_velocity(
            visits, stages, as_of=NOW, by=["title", "end"], deals=deals
        ),
    ),
    "stage_survival": (
        ["visits", "stages"],
        lambda visits, stages: metrics.stage_survival(visits, stages, as_of=NOW),
    ),
    "win_rate": (["deals"], lambda deals: metrics.win_rate(deals, **YEAR, by="title", as_of=NOW)),
    "win_rate created": (
        ["deals"],
        lambda deals: metrics.win_rate(deals, **YEAR, basis="created", as_of=NOW),
    ),
    "sales_velocity": (["deals"], lambda deals: metrics.sales_velocity(deals, **YEAR, by="title")),
    "sales_velocity with rates": (
        ["deals", "rates"],
        lambda deals, rates: metrics.sales_velocity(deals, **YEAR, rates=rates),
    ),
    "deal_aging": (
        ["deals", "visits", "stages"],
        lambda deals, visits, stages: metrics.deal_aging(deals, visits, stages, as_of=NOW),
    ),
    "data_quality": (
        ["deals", "visits", "stages", "deal_products", "discounts", "pipelines"],
        lambda deals, visits, stages, deal_products, discounts, pipelines: metrics.data_quality(
            deals,
            visits,
            stages,
            deal_products,
            as_of=NOW,
            discounts=discounts,
            pipelines=pipelines,
        ),
    ),
    "as_of": (
        ["deals", "visits", "history"],
        lambda deals, visits, history: metrics.as_of(deals, visits, "2026-05-02", history),
    ),
    "weighted_pipeline": (
        ["deals", "stages", "pipelines", "rates"],
        lambda deals, stages, pipelines, rates: metrics.weighted_pipeline(
            deals, stages, pipelines, as_of=NOW, by="title", rates=rates
        ),
    ),
    "pipeline_movements": (
        ["changes", "deals"],
        lambda changes, deals: metrics.pipeline_movements(changes, deals, **YEAR, by="title"),
    ),
    "changes": (
        ["changes", "deals", "stages"],
        lambda changes, deals, stages: metrics.changes_summary(
            metrics.changes(changes, deals, **YEAR, stages=stages), by="title"
        ),
    ),
    "slippage": (
        ["changes", "deals"],
        lambda changes, deals: metrics.slippage(changes, deals, **YEAR, by="title"),
    ),
    "convert": (
        ["deals", "rates"],
        lambda deals, rates: metrics.convert(deals, "EUR", rates, on="add_time"),
    ),
    "drill_through": (
        ["visits"],
        lambda visits: metrics.drill_through(
            pd.DataFrame({"stage_id": pd.array([1], "Int64"), "reached": [1]}), visits
        ),
    ),
}
CASES = [(name, frame) for name, (frames, _) in METRICS.items() for frame in frames]


def run(name: str, frames: Frames) -> Any:
    """The result, quietly about data; any other warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return METRICS[name][1](*(frames[frame] for frame in METRICS[name][0]))


def only_typed_errors(name: str, frames: Frames) -> None:
    with contextlib.suppress(PdframeError):
        run(name, frames)


@pytest.mark.parametrize(("name", "frame"), CASES)
@pytest.mark.parametrize(
    "given", [5, "deals", [1, 2], {"id": [1]}, pd.Series([1, 2]), np.zeros((2, 2))]
)
def test_what_is_no_frame_is_named(name: str, frame: str, given: Any) -> None:
    if frame == "rates" and isinstance(given, dict):
        return
    argument = "row_level" if name == "drill_through" else frame
    argument = "history" if frame == "changes" else argument
    argument = "frame" if (name, frame) == ("convert", "deals") else argument
    with pytest.raises(ArgumentError, match=rf"`?{argument}`? (must be|is a mapping)"):
        run(name, {**good(), frame: given})


@pytest.mark.parametrize(("name", "frame"), CASES)
def test_columns_that_are_missing_or_come_twice(name: str, frame: str) -> None:
    frames = good()
    for column in frames[frame].columns:
        only_typed_errors(name, {**frames, frame: frames[frame].drop(columns=column)})
        twice = pd.concat([frames[frame], frames[frame][[column]]], axis=1)
        only_typed_errors(name, {**frames, frame: twice})


WRONG: dict[str, Any] = {
    "text": "x",
    "empty text": "",
    "number": 5,
    "negative": -3,
    "half": 0.5,
    "infinite": np.inf,
    "huge": 1e300,
    "flag": True,
    "null": None,
    "nan": np.nan,
    "nat": pd.NaT,
    "na": pd.NA,
    "list": [1, 2],
    "dict": {"a": 1},
    "text date": "2026-01-01",
    "text time": "2026-01-01T10:00:00Z",
    "no month": "2026-13-01",
    "far": "9999-12-31",
    "time": pd.Timestamp("2026-01-01"),
    "length": pd.Timedelta("3D"),
}


@pytest.mark.parametrize(("name", "frame"), CASES)
def test_columns_of_anything(name: str, frame: str) -> None:
    """The whole of a column, and a single cell among good ones; every metric and column with some
    of the values, in turn.
    """
    frames = good()
    for place, column in enumerate(frames[frame].columns):
        for value in [*WRONG.values()][(place + len(name)) % 6 :: 6]:
            kept = frames[frame].assign(**{column: pd.Series([value] * len(frames[frame]))})
            only_typed_errors(name, {**frames, frame: kept})
        for value in [*WRONG.values()][(place + len(name)) % 8 :: 8]:
            mixed = frames[frame].astype({column: object})
            mixed[column] = pd.Series([value, *mixed[column].iloc[1:]], dtype=object)
            only_typed_errors(name, {**frames, frame: mixed})


@pytest.mark.parametrize(("name", "frame"), CASES)
def test_no_rows_and_plain_columns_without_dtypes(name: str, frame: str) -> None:
    frames = good()
    # Without stages there is no pipeline to ask about, without rates no rate.
    act = (
        only_typed_errors
        if frame == "rates" or (frame == "stages" and name.startswith("funnel"))
        else run
    )
    act(name, {**frames, frame: frames[frame].iloc[:0]})
    # As pd.DataFrame(columns=[...]) makes them.
    act(name, {**frames, frame: frames[frame].iloc[:0].astype(object)})
    only_typed_errors(name, {**frames, frame: pd.DataFrame()})


@pytest.mark.parametrize("name", METRICS)
def test_a_frame_put_together_twice_is_refused_or_counts_once(name: str) -> None:
    frames = good()
    once = run(name, frames)
    for frame in METRICS[name][0]:
        if frame in ("history", "changes", "deal_products", "discounts") or name in (
            "convert",
            "drill_through",
        ):
            continue  # rows of these may repeat
        doubled = {**frames, frame: pd.concat([frames[frame], frames[frame]])}
        if (name, frame) == ("data_quality", "visits"):
            pd.testing.assert_frame_equal(
                run(name, doubled), once
            )  # it asks which deals have stays, not how many
            continue
        with pytest.raises(PdframeError, match=r"twice|more than one rate"):
            run(name, doubled)


@pytest.mark.parametrize("name", METRICS)
def test_files_of_text_give_the_same(name: str) -> None:
    """The frames as read back from CSV files: times as text, ids with nulls as floats, vocabularies
    as text.
    """
    frames = good()
    back = {}
    for key, frame in frames.items():
        back[key] = pd.read_csv(io.StringIO(frame.to_csv(index=False)))
    expected, result = run(name, frames), run(name, back)
    pairs = (
        zip(expected, result, strict=True) if isinstance(expected, tuple) else [(expected, result)]
    )
    for one, other in pairs:
        assert list(one.columns) == list(other.columns)
        assert len(one) == len(other) > 0
        for column in one.columns:
            left, right = one[column], other[column]
            assert left.isna().tolist() == right.isna().tolist(), column
            left, right = left.dropna(), right.dropna()
            if left.dtype.kind == "M":
                assert (pd.to_datetime(right, utc=True) == pd.to_datetime(left, utc=True)).all(), (
                    column
                )
            elif left.dtype.kind in "iuf":
                np.testing.assert_array_equal(
                    left.astype("float64"), right.astype("float64"), err_msg=column
                )
            else:
                assert [str(value) for value in left] == [str(value) for value in right], column


@pytest.mark.parametrize("name", METRICS)
def test_any_index_will_do_and_nothing_is_changed(name: str) -> None:
    frames, kept = good(), good()
    expected = run(name, frames)
    for key, frame in frames.items():
        pd.testing.assert_frame_equal(frame, kept[key])
    result = run(
        name, {key: frame.set_axis(pd.Index([3] * len(frame))) for key, frame in frames.items()}
    )
    pairs = (
        zip(expected, result, strict=True) if isinstance(expected, tuple) else [(expected, result)]
    )
    for one, other in pairs:
        pd.testing.assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


@pytest.mark.parametrize("as_of", [None, 5, "soon", "2026-13-01", pd.NaT, [], True, float("nan")])
def test_an_as_of_that_is_no_time_is_named(as_of: Any) -> None:
    frames = good()
    deals, visits, stages = frames["deals"], frames["visits"], frames["stages"]
    calls: list[Callable[[], Any]] = [
        lambda: metrics.funnel(visits, stages, as_of=as_of, pipeline_id=1),
        lambda: metrics.funnel_deals(visits, stages, as_of=as_of, pipeline_id=1),
        lambda: metrics.stage_velocity(visits, stages, as_of=as_of),
        lambda: metrics.stage_survival(visits, stages, as_of=as_of),
        lambda: metrics.win_rate(deals, **YEAR, basis="created", as_of=as_of),
        lambda: metrics.deal_aging(deals, visits, stages, as_of=as_of),
        lambda: metrics.data_quality(deals, visits, stages, frames["deal_products"], as_of=as_of),
        lambda: metrics.as_of(deals, visits, as_of),
    ]
    for call in calls:
        with pytest.raises(ArgumentError, match=r"as_of|when"):
            call()


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize(
    "by", [5, [5], [None], ["title", "title"], "no such", ["title", ["owner_id"]], "labels"]
)
def test_a_by_that_cannot_be_grouped_by_is_named(by: Any) -> None:
    frames = good()
    deals = frames["deals"].assign(labels=[[1], [2], [], None])
    visits, stages = frames["visits"], frames["stages"]
    calls: list[Callable[[], Any]] = [
        lambda: metrics.funnel(visits, stages, as_of=NOW, pipeline_id=1, by=by, deals=deals),
        lambda: metrics.funnel_deals(visits, stages, as_of=NOW, pipeline_id=1, by=by, deals=deals),
        lambda: metrics.stage_velocity(visits, stages, as_of=NOW, by=by, deals=deals),
        lambda: metrics.stage_survival(visits, stages, as_of=NOW, by=by, deals=deals),
        lambda: metrics.win_rate(deals, **YEAR, by=by),
        lambda: metrics.sales_velocity(deals, **YEAR, by=by),
    ]
    for call in calls:
        with pytest.raises(ArgumentError, match=r"by=|by:|no column"):
            call()

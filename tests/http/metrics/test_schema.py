"""`metrics.schema` gives the types of a metric's result before anything runs, and the columns by
which its input may be split without changing a cell.
"""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdframe import metrics, sandbox
from pdframe.errors import ArgumentError, DataWarning, InsufficientDataError
from tests.helpers import every_metric
from tests.helpers.tiers import examples

WINDOW = every_metric.WINDOW
AS_OF = every_metric.AS_OF
NAMES = sorted(set(metrics.__all__) - {"RevenuePolicy", "schema"})


@pytest.fixture(scope="module")
def frames() -> Iterator[dict[str, pd.DataFrame]]:
    options: dict[str, Any] = {"burst": 100_000, "progress": False}
    with (
        warnings.catch_warnings(),
        sandbox.connect(seed=3, deals=120, company="hostile", **options) as account,
    ):
        warnings.simplefilter("ignore", DataWarning)
        account.deal_changes(account.deals()["id"].tolist())
        account.advance(3)
        account.sync("deals", "deal_products")
        yield every_metric.frames_of(account, "2026-07-03")


def called(key: str, frames: dict[str, pd.DataFrame]) -> tuple[dict[str, Any], Any]:
    """Return the arguments and the result of the outermost call of a metric."""
    name, calls = key.split()[0], []

    def recorder(real: Any, one: str) -> Any:
        def call(*args: Any, **given: Any) -> Any:
            result = real(*args, **given)
            if one == name:
                bound = inspect.signature(real).bind(*args, **given)
                calls.append((bound.arguments, result))
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        for one in NAMES:
            patch.setattr(metrics, one, recorder(getattr(metrics, one), one))
        every_metric.CALLS[key](frames, "Europe/Tallinn")
    return calls[-1]


def arrow_type(dtype: Any) -> pa.DataType:
    """Return the type of a column in Arrow, written by hand."""
    if isinstance(dtype, pd.CategoricalDtype):
        return arrow_type(dtype.categories.dtype)
    if isinstance(dtype, pd.ArrowDtype):
        return dtype.pyarrow_dtype
    return {
        "str": pa.string(),
        "object": pa.string(),
        "Int64": pa.int64(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "boolean": pa.bool_(),
        "bool": pa.bool_(),
        "datetime64[us, UTC]": pa.timestamp("us", "UTC"),
        "datetime64[us]": pa.timestamp("us"),
        "timedelta64[us]": pa.duration("us"),
    }[str(dtype)]


@pytest.mark.parametrize("key", sorted(every_metric.CALLS))
def test_the_schema_is_that_of_the_result(key: str, frames: dict[str, pd.DataFrame]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        arguments, result = called(key, frames)
    schema = metrics.schema(key.split()[0], **arguments)
    frame = result[0] if isinstance(result, tuple) else result
    expected = {str(name): arrow_type(dtype) for name, dtype in frame.dtypes.items()}
    assert dict(zip(schema.names, schema.types, strict=True)) == expected
    assert schema.names == list(expected)
    # What an engine does with the result.
    plain = frame.astype(
        {n: d.categories.dtype for n, d in frame.dtypes.items() if hasattr(d, "categories")}
    )
    pa.Table.from_pandas(plain, schema=schema, preserve_index=False)


@pytest.mark.parametrize("name", NAMES)
def test_no_frame_and_no_time_is_needed(name: str) -> None:
    schema = metrics.schema(name)
    assert isinstance(schema, pa.Schema)
    assert len(schema) > 2
    assert set(schema.metadata) == {b"split_by", b"split_frames", b"combine"}
    for kind in schema.types:
        assert not pa.types.is_dictionary(kind)
        assert not pa.types.is_large_string(kind)


def test_a_wrong_name_or_argument_gets_help(frames: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(ArgumentError, match="Did you mean 'funnel'"):
        metrics.schema("funel")
    with pytest.raises(ArgumentError):
        metrics.schema("schema")
    with pytest.raises(ArgumentError, match="has no argument 'pipelin_id'"):
        metrics.schema("funnel", pipelin_id=1)
    with pytest.raises(ArgumentError, match="has no column 'nothing'"):
        metrics.schema("funnel", by="nothing", deals=frames["deals"])
    young = {name: frames[f"past_{name}"].tail(3) for name in ("deals", "visits")}
    with pytest.raises(InsufficientDataError):
        metrics.schema("forecast", **young, stages=frames["past_stages"], as_of=AS_OF)


CASES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "funnel": ("funnel", {"as_of": AS_OF, "pipeline_id": 1}, ("visits", "stages")),
    "funnel by owner": (
        "funnel",
        {"as_of": AS_OF, "pipeline_id": 1, "by": ["owner_id", "currency"]},
        ("visits", "stages", "deals"),
    ),
    "velocity": ("stage_velocity", {"as_of": AS_OF}, ("visits", "stages")),
    "velocity by owner": (
        "stage_velocity",
        {"as_of": AS_OF, "by": "owner_id"},
        ("visits", "stages", "deals"),
    ),
    "survival": ("stage_survival", {"as_of": AS_OF}, ("visits", "stages")),
    "survival by owner": (
        "stage_survival",
        {"as_of": AS_OF, "by": "owner_id"},
        ("visits", "stages", "deals"),
    ),
    "sales velocity": ("sales_velocity", {**WINDOW, "by": ["currency", "owner_id"]}, ("deals",)),
    "win rate": ("win_rate", {**WINDOW, "by": "owner_id"}, ("deals",)),
    "win rate by quarter": ("win_rate", {**WINDOW, "by": "owner_id", "freq": "Q"}, ("deals",)),
    "sales by period": ("sales_by_period", {**WINDOW, "by": "owner_id"}, ("deals",)),
    "customer months": ("mrr_customer_months", WINDOW, ("lines",)),
    "schedule": ("mrr_schedule", WINDOW, ("lines",)),
    "schedule by product": ("mrr_schedule", {**WINDOW, "by": "product_id"}, ("lines",)),
    "movements": ("mrr_movements", WINDOW, ("lines",)),
    "movements in euros": ("mrr_movements", {**WINDOW, "rates": every_metric.RATES}, ("lines",)),
}
SHARES = {"arpa": ("mrr", "customers")}


def part_of(frame: pd.DataFrame, column: str, value: Any, ids: set[int]) -> pd.DataFrame:
    """Return the rows of a part: those with the value, or of the deals that have it."""
    if column in frame:
        same = frame[column].isna() if pd.isna(value) else frame[column] == value
        return frame[same.fillna(False).astype(bool)].reset_index(drop=True)
    if "deal_id" in frame and ids:
        return frame[frame["deal_id"].isin(ids)].reset_index(drop=True)
    return frame


def split(given: dict[str, pd.DataFrame], column: str) -> list[dict[str, pd.DataFrame]]:
    owners = [frame for frame in given.values() if column in frame]
    pieces = []
    for value in pd.concat([frame[column] for frame in owners]).drop_duplicates():
        ids: set[int] = set()
        if "deals" in given and column in given["deals"] and "visits" in given:
            ids = set(part_of(given["deals"], column, value, set())["id"])
        if column == "pipeline_id":
            # A deal has visits in every pipeline that it was in.
            pieces.append(
                {
                    name: frame if name == "deals" else part_of(frame, column, value, set())
                    for name, frame in given.items()
                }
            )
            continue
        pieces.append({name: part_of(frame, column, value, ids) for name, frame in given.items()})
    return pieces


@pytest.mark.every_case
@pytest.mark.parametrize("case", CASES)
def test_the_parts_of_a_split_are_the_result(case: str, frames: dict[str, pd.DataFrame]) -> None:
    name, how, needed = CASES[case]
    given = {one: frames[one] for one in needed}
    metric = getattr(metrics, name)
    schema = metrics.schema(name, **how, **given)
    columns, combine = json.loads(schema.metadata[b"split_by"]), schema.metadata[b"combine"]
    assert columns
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        complete = metric(**given, **how)
    for column in columns:
        pieces = split(given, column)
        if column in how:
            pieces = [one for one in pieces if (one["stages"][column] == how[column]).any()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            parts = [metric(**piece, **how) for piece in pieces]
        compare(complete, [part for part in parts if len(part)], combine)


PARTS = 3


@pytest.mark.every_case
@pytest.mark.parametrize("case", CASES)
def test_any_split_of_the_named_frames_gives_the_result(
    case: str, frames: dict[str, pd.DataFrame]
) -> None:
    """As an engine splits: several values a part, whichever, of the frames in `split_frames` alone,
    and of any deals of the account.
    """
    name, how, needed = CASES[case]
    metric = getattr(metrics, name)
    known = frames["deals"]["id"].to_list()

    @settings(max_examples=examples(12), deadline=None)
    @given(st.sets(st.sampled_from(known)), st.data())
    def check(dropped: set[int], draw: st.DataObject) -> None:
        inputs = {one: without(frames[one], dropped) for one in needed}
        schema = metrics.schema(name, **how, **inputs)
        column = draw.draw(st.sampled_from(json.loads(schema.metadata[b"split_by"])))
        named = json.loads(schema.metadata[b"split_frames"])[column]
        values = {one: values_of(one, column, inputs).astype("object") for one in named}
        every = pd.concat([*values.values()]).drop_duplicates()
        every = every[every.notna()].to_list()
        size = len(every) + 1  # and null
        numbers = draw.draw(st.lists(st.integers(0, PARTS - 1), min_size=size, max_size=size))
        part_of_value = dict(zip(every, numbers[1:], strict=True))
        parts = []
        for number in range(PARTS):
            piece = dict(inputs)
            for one, own in values.items():
                is_in = own.map(part_of_value).fillna(numbers[0]) == number
                piece[one] = inputs[one][is_in.to_numpy(bool)].reset_index(drop=True)
            # A funnel is of one pipeline, and only its part has that.
            if column not in how or part_of_value.get(how[column]) == number:
                parts.append(quietly(metric, **piece, **how))
        complete = quietly(metric, **inputs, **how)
        filled = [part for part in parts if len(part)]
        assert filled or complete.empty
        if filled:
            compare(complete, filled, schema.metadata[b"combine"])

    check()


def values_of(name: str, column: str, frames: dict[str, pd.DataFrame]) -> pd.Series[Any]:
    """Return the values by which a frame is split: its own, or those of its deals."""
    frame = frames[name]
    if column in frame:
        return frame[column]
    deals = frames["deals"].set_index("id")[column].astype("object")
    return frame["deal_id"].map(deals)


def without(frame: pd.DataFrame, deals: set[int]) -> pd.DataFrame:
    """Return the rows that are of other deals."""
    if "order_nr" in frame:  # stages
        return frame
    ids = frame["deal_id" if "deal_id" in frame else "id"]
    return frame[~ids.isin(deals)].reset_index(drop=True)


def quietly(metric: Any, **given: Any) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        result: pd.DataFrame = metric(**given)
    return result


def compare(complete: pd.DataFrame, parts: list[pd.DataFrame], combine: bytes) -> None:
    """Compare each bit of a result with its parts, in an order that does not depend on the
    parts.
    """
    together = pd.concat(parts, ignore_index=True)
    numbers = [
        column
        for column in complete
        if pd.api.types.is_numeric_dtype(complete[column])
        and not pd.api.types.is_bool_dtype(complete[column])
        and not column.endswith("_id")
    ]
    keys = [column for column in complete if column not in numbers]
    if combine == b"sum":
        money = [name for name in numbers if complete[name].dtype.kind == "f"]
        together[money] = (together[money] * 1_000_000).round()
        together = together.groupby(keys, dropna=False, observed=True)[numbers].sum().reset_index()
        together[money] /= 1_000_000
        for share, (of, by) in SHARES.items():
            if share in together:
                together[share] = together[of] / together[by].where(together[by] > 0)
    order = keys if combine == b"sum" else [*keys, *numbers]
    complete, together = (
        frame.sort_values(order, key=lambda column: column.astype("str")).reset_index(drop=True)
        for frame in (complete, together[list(complete)])
    )
    pd.testing.assert_frame_equal(
        together, complete.astype(together.dtypes.to_dict()), check_exact=True
    )

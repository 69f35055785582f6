"""`pdframe.has`: whether the list in a cell has a value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import pdframe
from pdframe.errors import ArgumentError, DataWarning

TEXTS = [["Core", "Plus"], None, [], ["Plus"], ["Core", "Core"], [None, "Core"], ["core"]]
CONTACTS = [
    [{"value": "a@x.ee", "primary": False}, {"value": "b@x.ee", "primary": True}],
    None,
    [],
    [{"value": None, "primary": None}],
    [{"value": "b@x.ee", "primary": None}],
]


def arrow(values: list[Any], kind: pa.DataType | None = None, *, chunks: bool = False) -> Any:
    array = pa.array(values, kind)
    parts = [array.slice(0, 2), array.slice(2)] if chunks else [array]
    return pd.Series(pd.arrays.ArrowExtensionArray(pa.chunked_array(parts)))


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.large_list(pa.large_string())])
def test_lists_of_text(kind: pa.DataType, chunks: bool) -> None:
    column = arrow(TEXTS, kind, chunks=chunks)
    column.index = pd.Index(list("gfedcba"))
    column.name = "Plan"
    got = pdframe.has(column, "Core")
    want = pd.Series([True, False, False, False, True, True, False], column.index, name="Plan")
    pd.testing.assert_series_equal(got, want)


def test_a_part_of_a_frame_has_its_own_rows() -> None:
    column = arrow(TEXTS).iloc[3:6]
    assert pdframe.has(column, "Core").to_dict() == {3: False, 4: True, 5: True}


@pytest.mark.parametrize("as_objects", [False, True])
def test_addresses_count_whichever_is_primary(as_objects: bool) -> None:
    column = pd.Series(CONTACTS, dtype="object") if as_objects else arrow(CONTACTS)
    assert pdframe.has(column, "b@x.ee").tolist() == [True, False, False, False, True]
    assert pdframe.has(column, "a@x.ee").tolist() == [True, False, False, False, False]


def test_ids_without_labels() -> None:
    column = arrow([[1, 2], None, [3], [2]])
    assert pdframe.has(column, 2).tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["a", None, "b"], dtype="str"),
        pd.Series(["a", None, "b"], dtype="category"),
        pd.Series(["a", np.nan, "b"], dtype="object"),
    ],
)
def test_a_column_without_lists_is_compared(column: pd.Series) -> None:
    assert pdframe.has(column, "a").tolist() == [True, False, False]


def test_no_rows_and_only_nulls() -> None:
    assert pdframe.has(arrow([], pa.list_(pa.string())), "a").tolist() == []
    assert pdframe.has(pd.Series([None, None], dtype="object"), "a").tolist() == [False, False]


def test_a_value_that_no_cell_has_is_no_error_and_a_near_one_is_named() -> None:
    column = arrow([["Core"], ["Plus"]])
    column.name = "Plan"
    assert pdframe.has(column, "Enterprise").tolist() == [False, False]
    with pytest.warns(DataWarning, match="No cell of 'Plan' has 'core'. Did you mean 'Core'?"):
        assert not pdframe.has(column, "core").any()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (arrow([["a"]]), 1, "holds string values, such as 'a'"),
        (arrow([[1]]), "a", "holds int64 values, such as 1"),
        (arrow([["a"]]), ["a"], "For several: pdframe.has"),
        (arrow([["a"]]), None, "must be one value"),
        (["a"], "a", "must be a column of a frame"),
        (pd.DataFrame({"a": [1]}), "a", "must be a column of a frame"),
        (pd.Series([["a"], 1], dtype="object"), "a", "several types"),
    ],
)
def test_wrong_arguments(column: Any, value: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        pdframe.has(column, value)

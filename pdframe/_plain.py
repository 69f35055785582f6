"""Give the columns of any frame (Arrow-backed, nullable, objects) the dtypes of the loaders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_TEXT = pd.StringDtype(na_value=np.nan)

# 0001-01-02 and 9999-12-31: in every timezone they are within the years that Python knows.
_YEAR_1, _YEAR_9999 = -62_135_510_400, 253_402_214_400
_PER_SECOND = MappingProxyType({"s": 1, "ms": 1_000, "us": 1_000_000})


def plain_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with each column as `plain_column` returns it, or the frame itself where all
    columns are plain.

    The argument is never changed.
    """
    converted = {
        place: plain_column(frame.iloc[:, place])
        for place, dtype in enumerate(frame.dtypes)
        if not _is_plain(dtype)
    }
    changed = {
        place: column
        for place, column in converted.items()
        if column.dtype != frame.dtypes.iloc[place]
    }
    if not changed:
        return frame
    plain = pd.concat(
        [changed.get(place, frame.iloc[:, place]) for place in range(frame.shape[1])], axis=1
    )
    plain.attrs = dict(frame.attrs)
    return plain


def _is_plain(dtype: Any) -> bool:
    """Tell whether `plain_column` returns every column of this dtype unchanged."""
    if isinstance(dtype, pd.ArrowDtype):
        return bool(pa.types.is_nested(dtype.pyarrow_dtype))
    if isinstance(dtype, pd.StringDtype):
        return bool(dtype == _TEXT)
    return not isinstance(dtype, pd.Float64Dtype | pd.Float32Dtype) and (
        not isinstance(dtype, np.dtype) or dtype.kind != "O"
    )


def plain_column(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column in the dtype that a loader gives to its values.

    Text is `str`, integers are Int64 where they can be null, other numbers float64, flags boolean,
    times datetime64, categories stay categories. A null of any kind is a null. A column without
    such a dtype (lists, objects of several types) is unchanged.
    """
    dtype = column.dtype
    if _is_plain(dtype):
        return column
    if isinstance(dtype, pd.ArrowDtype):
        return _of_arrow(column, dtype.pyarrow_dtype)
    if isinstance(dtype, pd.StringDtype):
        return column.astype(_TEXT)
    if isinstance(dtype, np.dtype):
        return _of_objects(column)
    return _with(column, column.to_numpy(np.float64, na_value=np.nan))


def holds_lists(column: pd.Series[Any]) -> bool:
    """Tell whether a cell of a column is a list, a mapping or a similar container."""
    if isinstance(column.dtype, pd.ArrowDtype):
        return bool(pa.types.is_nested(column.dtype.pyarrow_dtype))
    return column.dtype == object and any(
        isinstance(value, list | dict | set | tuple | np.ndarray) for value in column
    )


def _of_arrow(column: pd.Series[Any], kind: pa.DataType) -> pd.Series[Any]:
    if pa.types.is_dictionary(kind):
        # A value that the dictionary lists twice, as in concatenated files, is one category.
        plain = column.astype(object)
        listed = column.array.__arrow_array__().combine_chunks().dictionary.to_pylist()
        return plain.astype(
            pd.CategoricalDtype(
                pd.Index(dict.fromkeys(value for value in listed if value is not None))
            )
        )
    if pa.types.is_decimal(kind) or pa.types.is_float16(kind):
        return column.astype("float64[pyarrow]").astype("float64")
    if pa.types.is_date(kind):
        days = (
            _in_years(column, kind, "s", 86_400)
            if pa.types.is_date32(kind)
            else _in_years(column, kind, "ms")
        )
        return days.astype(pd.ArrowDtype(pa.timestamp("us"))).astype("datetime64[us]")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        text = column.array.__arrow_array__().cast(pa.large_string())
        return _with(column, text.to_pandas(types_mapper=lambda _: _TEXT).array)
    if pa.types.is_boolean(kind):
        return column.astype("boolean")
    if pa.types.is_integer(kind):
        return column.astype("UInt64" if kind == pa.uint64() else "Int64")
    if pa.types.is_floating(kind):
        return _with(column, column.to_numpy(np.float64, na_value=np.nan))
    if pa.types.is_timestamp(kind):
        times: np.dtype[Any] | pd.DatetimeTZDtype = np.dtype(f"M8[{kind.unit}]")
        if kind.tz is not None:
            times = pd.DatetimeTZDtype(kind.unit, kind.tz)
        return _with(column, _in_years(column, kind, kind.unit).astype(times).array)
    if pa.types.is_duration(kind):
        return _with(column, column.astype(np.dtype(f"m8[{kind.unit}]")).array)
    if pa.types.is_null(kind):
        return _with(column, np.full(len(column), None, dtype=object))
    return column.astype(object)


def _in_years(
    column: pd.Series[Any], kind: pa.DataType, unit: str, seconds: int = 1
) -> pd.Series[Any]:
    """Move Arrow times outside the years 1 to 9999, such as `infinity` of databases, to the edge;
    a value of one is `seconds` long, in a column of `unit`.
    """
    if unit == "ns":
        return column  # from 1677 to 2262
    integers = pa.int32() if pa.types.is_date32(kind) else pa.int64()
    first, last = (second * _PER_SECOND[unit] // seconds for second in (_YEAR_1, _YEAR_9999))
    values = column.array.__arrow_array__().cast(integers)
    if (
        pc.all(pc.and_(pc.greater_equal(values, first), pc.less_equal(values, last))).as_py()
        is not False
    ):
        return column
    low = pc.max_element_wise(values, pa.scalar(first, integers), skip_nulls=False)
    inside = pc.min_element_wise(low, pa.scalar(last, integers), skip_nulls=False).cast(kind)
    return _with(column, pd.array(inside, dtype=column.dtype))


_BY_CONTENT: Mapping[str, Callable[[pd.Series[Any]], pd.Series[Any]]] = MappingProxyType(
    {
        "string": lambda column: column.astype(_TEXT),
        "boolean": lambda column: column.astype("boolean"),
        "integer": lambda column: column.astype("Int64"),
        "floating": lambda column: column.astype("float64"),
        "mixed-integer-float": lambda column: column.astype("float64"),
        "decimal": lambda column: column.astype("float64"),
    }
)


def _of_objects(column: pd.Series[Any]) -> pd.Series[Any]:
    convert = _BY_CONTENT.get(pd.api.types.infer_dtype(column, skipna=True))
    if convert is None:
        return column
    column = column.where(column.notna(), None)
    try:
        return convert(column)
    except UnicodeEncodeError:
        # UTF-8 has no lone surrogates: each becomes U+FFFD, as in the loaders.
        return convert(column.map(_in_utf8, na_action="ignore"))
    except (TypeError, ValueError, OverflowError):
        # No dtype takes such integers: the function that reads the column refuses it by name.
        return column


def _in_utf8(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _with(column: pd.Series[Any], values: Any) -> pd.Series[Any]:
    return pd.Series(values, index=column.index, name=column.name)


__all__ = ["holds_lists", "plain_column", "plain_frame"]

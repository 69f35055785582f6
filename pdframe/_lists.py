"""Ask columns of lists (multiple options, labels, e-mails, phones) whether a cell has a value."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe._warnings import warn
from pdframe.errors import ArgumentError

__all__ = ["has"]


def has(column: pd.Series[Any], value: str | float | bool) -> pd.Series[bool]:
    """Tell for each cell of a column of lists whether the list has a value.

    Fields with several options, label ids, e-mail addresses and phone numbers are lists, for which
    `==`, `in` and `.str` of pandas do not work. Of e-mails and phones the address or number counts,
    whichever is the primary one. To search in the text of the primary ones, take
    `persons["primary_email"].str.contains("@acme")`. A cell of a column without lists has the value
    that equals it.

    Parameters
    ----------
    column
        A column of a frame: `deals["Competitor"]`.
    value
        One value of the lists, written as there: an option by its label (by its id where the frame
        was loaded with `labels=False`), an address, a number. For several values combine the
        results with `|` or `&`.

    Returns
    -------
    Series
        True or False per row, never null, with the index and the name of the column: a null or an
        empty list has nothing.

    Raises
    ------
    ArgumentError
        `column` is no column, or the values of its lists are of another type than `value`.

    Warns
    -----
    DataWarning
        No cell has the value, and another one is spelled almost like it.

    Examples
    --------
    >>> deals = account.deals()
    >>> core = pdframe.has(deals["Modules of interest"], "Core")
    >>> deals.loc[core, ["id", "status", "Modules of interest"]].head(3)
        id status                        Modules of interest
    8   12   lost                    ['Core' 'Integrations']
    25  30   open  ['Core' 'Analytics (117)' 'Integrations']
    53  59   lost                    ['Core' 'Integrations']
    """
    if not isinstance(column, pd.Series):
        raise ArgumentError(
            f"column must be a column of a frame, such as deals['Competitor'], not"
            f" {type(column).__name__}."
        )
    if pd.api.types.is_list_like(value) or pd.isna(value):
        raise ArgumentError(
            f"value must be one value, not {value!r}. For several:"
            " pdframe.has(column, a) | pdframe.has(column, b)."
        )
    cells, items = _items(column)
    is_equal = _equal(items, value, column)
    matches = pc.unique(cells.filter(is_equal))
    result = pc.is_in(pa.array(range(len(column)), pa.int64()), value_set=matches)
    if not len(matches) and isinstance(value, str) and pa.types.is_string(items.type):
        _suggest(value, items, column)
    return pd.Series(result.to_numpy(zero_copy_only=False), index=column.index, name=column.name)


def _items(column: pd.Series[Any]) -> tuple[pa.Array, pa.Array]:
    """Return the values in all cells, and the number of the row of each."""
    plain = column.astype("object") if isinstance(column.dtype, pd.CategoricalDtype) else column
    try:
        values = pa.array(plain.array, from_pandas=True)
    except (pa.ArrowException, TypeError):
        raise ArgumentError(
            f"The column {column.name!r} holds values of several types: take the column as the"
            " loader gives it."
        ) from None
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    rows = pa.array(range(len(values)), pa.int64())
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        rows, values = pc.cast(pc.list_parent_indices(values), pa.int64()), pc.list_flatten(values)
    if pa.types.is_struct(values.type) and values.type.get_field_index("value") >= 0:
        values = pc.struct_field(values, "value")
    if pa.types.is_large_string(values.type):
        values = values.cast(pa.string())
    return rows, values


def _equal(items: pa.Array, value: object, column: pd.Series[Any]) -> pa.Array:
    if pa.types.is_null(items.type):
        return pa.array([False] * len(items), pa.bool_())
    try:
        if isinstance(value, str) != pa.types.is_string(items.type):
            raise TypeError(value)
        return pc.fill_null(pc.equal(items, pa.scalar(value)), False)
    except (pa.ArrowException, TypeError):
        example = next(iter(items.drop_null().to_pylist()), None)
        raise ArgumentError(
            f"The column {column.name!r} holds {items.type} values, such as {example!r}:"
            f" {value!r} is none of them."
        ) from None


def _suggest(value: str, items: pa.Array, column: pd.Series[Any]) -> None:
    """Warn where another value is spelled almost like the one that no cell has."""
    others = {str(other).strip().casefold(): other for other in pc.unique(items).to_pylist()}
    close = get_close_matches(value.strip().casefold(), others, n=1, cutoff=0.8)
    if close:
        warn(f"No cell of {column.name!r} has {value!r}. Did you mean {others[close[0]]!r}?")

"""Combine frames of several accounts: one column a label where its type agrees."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pandas as pd

from pdframe.errors import ArgumentError

ACCOUNT = "account"


def combined(frames: Mapping[str, pd.DataFrame], standard: Collection[str] = ()) -> pd.DataFrame:
    """Return the rows of all accounts in one frame, `account` first.

    Parameters
    ----------
    frames
        By account.
    standard
        The columns that stand first, in this order. The others keep theirs, an account's own after
        those of the accounts before it.

    Returns
    -------
    DataFrame
        A column is null in the rows of accounts that lack it. Where accounts have a column in
        different types, each has its own, `<column> (<account>)`. Categories are those of all
        accounts.
    """
    for name, frame in frames.items():
        if ACCOUNT in frame:
            raise ArgumentError(
                f"The frame of {name} has a column 'account' already: rename it first."
            )
        shown = pd.Index(map(str, frame.columns))
        if shown.has_duplicates:
            raise ArgumentError(
                f"The frame of {name} has several columns {shown[shown.duplicated()][0]!r}: rename"
                " them first."
            )
    places = _columns(frames, standard)
    sizes = {name: len(frame) for name, frame in frames.items()}
    owners = [name for name, size in sizes.items() for _ in range(size)]
    columns: dict[str, pd.Series[Any]] = {ACCOUNT: pd.Series(owners, dtype="str")}
    for column, sources in places.items():
        columns[column] = _joined(frames, sources, sizes)
    result = pd.DataFrame(columns, index=pd.RangeIndex(len(owners)))
    zones = {frame.attrs.get("tz") for frame in frames.values()}
    if len(zones) == 1 and None not in zones:
        # The zone of days; accounts in different zones have none in common.
        result.attrs["tz"] = zones.pop()
    return result


def _columns(
    frames: Mapping[str, pd.DataFrame], standard: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return the columns of the combined frame; of each, by account the column it comes from."""
    by_name: dict[str, dict[str, Any]] = {}
    for account, frame in frames.items():
        for column in frame.columns:
            by_name.setdefault(str(column), {})[account] = column
    names = [name for name in dict.fromkeys([*standard, *by_name]) if name in by_name]
    places: dict[str, dict[str, Any]] = {}
    for name in names:
        owners = by_name[name]
        if len({_kind(frames[account][own].dtype) for account, own in owners.items()}) == 1:
            places[name] = owners
            continue
        for account, own in owners.items():
            shown = f"{name} ({account})"
            while shown in by_name or shown in places:
                shown = f"{shown} ({account})"
            places[shown] = {account: own}
    return places


def _kind(dtype: Any) -> str:
    """Return what two columns must share to become one: options of all accounts are one list."""
    if not isinstance(dtype, pd.CategoricalDtype):
        return str(dtype)
    texts = dtype.categories.inferred_type in ("string", "empty")
    return "category" if texts else f"category of {dtype.categories.dtype}"


def _joined(
    frames: Mapping[str, pd.DataFrame], sources: Mapping[str, Any], sizes: Mapping[str, int]
) -> pd.Series[Any]:
    """Join a column of some accounts; it is null in the rows of the others."""
    parts = {account: frames[account][column] for account, column in sources.items()}
    dtype = next(iter(parts.values())).dtype
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = _categories([part.dtype for part in parts.values()])
    if isinstance(dtype, pd.api.extensions.ExtensionDtype) or dtype.kind in "mMfO":
        null_dtype: Any = dtype
    else:
        # Columns of metrics that are never null have dtypes without nulls.
        missing = any(account not in parts for account, size in sizes.items() if size)
        null_dtype = {"i": "Int64", "u": "UInt64", "b": "boolean"}[dtype.kind] if missing else dtype
    joined: list[pd.Series[Any]] = [
        parts[account].reset_index(drop=True).astype(null_dtype)
        if account in parts
        else pd.Series([None] * size, dtype=null_dtype)
        for account, size in sizes.items()
        if account in parts or size
    ]
    return pd.concat(joined, ignore_index=True).astype(null_dtype)


def _categories(dtypes: Collection[Any]) -> pd.CategoricalDtype:
    """Return the categories of all, in the order of the first that has each."""
    names = dict.fromkeys(name for dtype in dtypes for name in dtype.categories)
    kept = {dtype.ordered for dtype in dtypes} == {True} and len(
        {tuple(dtype.categories) for dtype in dtypes}
    ) == 1
    index = pd.Index(list(names), dtype=next(iter(dtypes)).categories.dtype)
    return pd.CategoricalDtype(index, ordered=kept)


__all__ = ["ACCOUNT", "combined"]

"""The values of each row of a table at a time, from a frame with one row per change of a column.

`account.deal_history()` and `account.line_history()` give such frames. Their values are text; here
they get the loaders' dtypes of the same columns.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import pandas as pd

from pdframe._warnings import warn
from pdframe.metrics._arguments import require_columns
from pdframe.metrics._columns import equals, ids, times

NEEDED = ("column", "before", "after", "time", "seen_at")
"""Columns that such a frame needs, in addition to the one that names the row."""


def holds_changes(history: pd.DataFrame) -> bool:
    """Return whether a history has one row per change of a column, rather than one per snapshot."""
    return "column" in history.columns


def states_at(
    history: pd.DataFrame, key: str, columns: Iterable[str], when: pd.Timestamp, tz: str
) -> pd.DataFrame:
    """Return one row per row of the table that was known at a time: its values as they were known,
    and nothing later.

    Parameters
    ----------
    history
        One row per change: `key`, column, before, after, time, seen_at. A change is known from
        `seen_at` on; of those known, the one with the latest `time` holds.
    key
        Name of the column that names the row: deal_id, or id of a line item.
    columns
        The columns to return.
    when
        A time in UTC, inclusive.
    tz
        Timezone of naive times in `history`.

    Returns
    -------
    DataFrame
        By `key`, ascending: the columns (null: no value, or none known by then), gone (whether it
        had disappeared), seen_at (when the newest of these changes was seen).

    Warns
    -----
    DataWarning
        Values of the wrong kind, for example a text for an amount: they are null.
    """
    history = require_columns(history, "history", (key, *NEEDED))
    seen, time = times(history, "seen_at", tz), times(history, "time", tz)
    number = ids(history, key)
    known = ((seen <= when) & time.notna() & number.notna() & history["column"].notna()).to_numpy(
        bool
    )
    rows = pd.DataFrame(
        {
            "row": number,
            "time": time,
            "seen": seen,
            **{name: _texts(history[name]) for name in ("column", "before", "after")},
        }
    )
    rows = rows[known].sort_values(["row", "time", "seen"], kind="stable")
    index = pd.Index(rows["row"].drop_duplicates(), dtype="Int64", name=key)
    last = _last(rows).set_index("row")
    states: dict[Hashable, Any] = {}
    odd: dict[str, pd.Series[Any]] = {}
    for name in columns:
        texts = last.loc[last["column"] == name, "after"]
        values = typed(name, texts)
        unread = texts[(values.isna() & texts.notna()).to_numpy(bool)]
        if len(unread):
            odd[name] = unread
        states[name] = values.reindex(index)
    if odd:
        what = ", ".join(
            f"{len(result):,} of {name} (for example {result.iloc[0][:60]!r})"
            for name, result in odd.items()
        )
        warn(f"history: values that cannot be read are null: {what}.")
    flags = last[last["column"] == "is_deleted"]
    deleted = pd.Series(equals(flags, "after", "true"), flags.index, dtype="bool")
    states["gone"] = deleted.reindex(index, fill_value=False)
    states["seen_at"] = rows.groupby("row")["seen"].max().reindex(index)
    return pd.DataFrame(states, index=index)


def typed(name: str, texts: pd.Series[Any]) -> pd.Series[Any]:
    """Return the texts of a column of a history in the dtype that the loaders give it; null where a
    text cannot be read.
    """
    return _READERS[name](texts) if name in _READERS else texts


def _texts(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column as text, null as null."""
    return column.astype("str").where(column.notna())


def _last(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the last row of each column; rows are in the order of their times.

    Changes of one instant form a chain: the last is the one whose value no other of them starts
    from, in any order of rows. Where the chain returns to its start, the change before it is the
    last.
    """
    by = ["row", "column"]
    last = rows.drop_duplicates(by, keep="last")
    newest = rows.merge(last[[*by, "time"]], on=[*by, "time"])
    tied = newest[newest.duplicated(by, keep=False)]
    if tied.empty:
        return last
    # A value that is left as often as it is reached is not the last.
    reached, left = (
        tied[by].assign(value=tied[side], count=count)
        for side, count in (("after", 1), ("before", -1))
    )
    counts = (
        pd.concat([reached, left])
        .groupby([*by, "value"], sort=False, dropna=False)["count"]
        .sum()
        .reset_index()
    )
    counts = counts[counts["count"] > 0]
    ends = counts[~counts.duplicated(by, keep=False)]
    index, after = pd.MultiIndex.from_frame(last[by]), last["after"].to_numpy(object, copy=True)
    back = (
        pd.MultiIndex.from_frame(tied[by])
        .unique()
        .difference(pd.MultiIndex.from_frame(counts[by]), sort=False)
    )
    earlier = rows.merge(last[[*by, "time"]], on=by, suffixes=("", "_of_last"))
    earlier = earlier[earlier["time"] < earlier["time_of_last"]].drop_duplicates(by, keep="last")
    earlier = earlier[pd.MultiIndex.from_frame(earlier[by]).isin(back)]
    for result, side in ((ends, "value"), (earlier, "after")):
        after[index.get_indexer(pd.MultiIndex.from_frame(result[by]))] = result[side].to_numpy(
            object
        )
    return last.assign(after=pd.Series(after, last.index, "str"))


def _numbers(texts: pd.Series[Any]) -> pd.Series[Any]:
    return pd.to_numeric(texts, errors="coerce").astype("float64")


def _ids(texts: pd.Series[Any]) -> pd.Series[Any]:
    # Not through a float, which cannot represent every id. A reader that took the column for
    # numbers adds a fraction of zero.
    texts = texts.str.replace(r"\.0+$", "", regex=True)
    return texts.where(
        texts.str.fullmatch(r"-?[0-9]{1,18}").astype("boolean").fillna(False)
    ).astype("Int64")


def _times(texts: pd.Series[Any]) -> pd.Series[Any]:
    return pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce").astype(
        "datetime64[us, UTC]"
    )


def _dates(texts: pd.Series[Any]) -> pd.Series[Any]:
    days: pd.Series[Any] = _times(texts).dt.tz_localize(None).dt.normalize()
    return days


def _flags(texts: pd.Series[Any]) -> pd.Series[Any]:
    return texts.map({"true": True, "false": False}).astype("boolean")


_READERS: dict[str, Callable[[pd.Series[Any]], pd.Series[Any]]] = {
    **dict.fromkeys(
        (
            "value",
            "probability",
            "quantity",
            "item_price",
            "discount",
            "tax",
            "sum",
            "billing_frequency_cycles",
        ),
        _numbers,
    ),
    **dict.fromkeys(
        ("stage_id", "pipeline_id", "owner_id", "deal_id", "product_id", "product_variation_id"),
        _ids,
    ),
    **dict.fromkeys(
        ("add_time", "stage_change_time", "won_time", "lost_time", "first_won_time"), _times
    ),
    **dict.fromkeys(("expected_close_date", "billing_start_date"), _dates),
    **dict.fromkeys(("is_archived", "is_enabled"), _flags),
}


__all__ = ["NEEDED", "holds_changes", "states_at", "typed"]

"""Line items at each time: one row per version of a line, from the history of line items.

The API gives the line items of today alone, so an edit or a removal restates past months. The
history (`account.line_history()`) gives the values of each line from when until when. A version
counts from the day of the snapshot that shows it to the day of the next version; the first version
of a line that the first snapshot shows also counts for all the time before it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pdframe._plain import plain_frame
from pdframe._warnings import warn
from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import local_date, require_columns
from pdframe.metrics._columns import (
    Flags,
    Ints,
    amounts,
    dates,
    equals,
    ids,
    plain_times,
    times,
    warn_of_uncountable,
)
from pdframe.metrics.revenue.periods import NULL, ONE_TIME, days_of, frequencies

VERSIONS = ("known_from", "known_until", "agreed_start", "agreed_end", "agreed_end_reason")
"""Columns of lines that say when each version was the known one, and what it agreed on."""

NUMBER, ID, FLAG, DAY, TEXT = range(5)
_KINDS = {
    "deal_id": ID,
    "product_id": ID,
    "product_variation_id": ID,
    "name": TEXT,
    "currency": TEXT,
    "quantity": NUMBER,
    "item_price": NUMBER,
    "discount": NUMBER,
    "discount_type": TEXT,
    "tax": NUMBER,
    "tax_method": TEXT,
    "sum": NUMBER,
    "is_enabled": FLAG,
    "billing_frequency": TEXT,
    "billing_frequency_cycles": ID,
    "billing_start_date": DAY,
}
_DELETED = "is_deleted"
_FLAGS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


class Known(NamedTuple):
    """When each row of a frame of versions was the version known.

    Attributes
    ----------
    since, until
        Days in [since, until); `NULL` is no bound.
    removed
        Whether the line was deleted at `until`; else another version followed.
    source
        Row of the line in its frame, -1 where it was deleted.
    """

    since: Ints
    until: Ints
    removed: Flags
    source: Ints

    def take(self, rows: Ints) -> Known:
        """Return these rows."""
        return Known(self.since[rows], self.until[rows], self.removed[rows], self.source[rows])


class _Changes(NamedTuple):
    """What a history says: one row per line and day on which it changed, by line and day."""

    line: Ints
    day: Ints
    texts: dict[str, Any]
    reported: dict[str, Flags]
    begin: pd.Timestamp | None


def versions(
    deal_products: pd.DataFrame, history: pd.DataFrame, tz: str
) -> tuple[pd.DataFrame, Known]:
    """Return line items with one row per version, in the order of `deal_products`, then the deleted
    ones.

    One-time lines keep the current version alone: they are no MRR of any month.

    Parameters
    ----------
    deal_products
        Line items of today: the last version of each.
    history
        As `account.line_history()` gives it.
    tz
        Timezone in which a change falls on a day.

    Raises
    ------
    ArgumentError
        `history` is no such frame.
    """
    if isinstance(history, pd.DataFrame) and "id" not in history.columns:
        raise ArgumentError("history has no column 'id'. Pass account.line_history().")
    history = require_columns(
        history, "history", ["id", "column", "before", "after", "time", "source"]
    )
    warn_of_uncountable(history, "history", moments=["time"])
    lines = deal_products.reset_index(drop=True)
    changes = _changes(history, lines, tz)
    line = pd.Index(ids(lines, "id"))
    first = np.asarray(line.notna() & ~line.duplicated(), np.bool_)
    unique = np.flatnonzero(first)
    place = np.asarray(line[unique].get_indexer(pd.Index(changes.line)), dtype=np.int64)
    source = (
        np.where(place >= 0, unique[np.maximum(place, 0)], -1)
        if len(unique)
        else np.full(len(changes.line), -1)
    )

    last = np.append(changes.line[1:] != changes.line[:-1], True)[: len(changes.line)]
    next_day = np.where(last, NULL, np.append(changes.day[1:], NULL)[: len(changes.day)])
    deleted = np.array([_flag(text) is True for text in changes.texts[_DELETED]], np.bool_)
    # The frame of today rules which lines there are today.
    deleted &= ~(last & (source >= 0))
    absent = pd.Series(source < 0).groupby(changes.line).transform("all").to_numpy(np.bool_)
    ends_deleted = (
        pd.Series(deleted & last).groupby(changes.line).transform("any").to_numpy(np.bool_)
    )
    kept = ~deleted & ~(absent & ~ends_deleted)
    removed = np.where(last, False, np.append(deleted[1:], False)[: len(deleted)])

    # Lines that the history lacks.
    untold = np.setdiff1d(np.arange(len(lines)), source[source >= 0])
    began = _added(lines, tz, changes.begin)[untold]
    rows = np.flatnonzero(kept)
    known = Known(
        np.concatenate([changes.day[rows], began]),
        np.concatenate([next_day[rows], np.full(len(untold), NULL)]),
        np.concatenate([removed[rows], np.zeros(len(untold), np.bool_)]).astype(np.bool_),
        np.concatenate([source[rows], untold]),
    )
    change = np.concatenate([rows, np.full(len(untold), -1)])
    line_of = np.concatenate([changes.line[rows], np.zeros(len(untold), np.int64)])
    order = np.lexsort((known.since, line_of, np.where(known.source < 0, len(lines), known.source)))
    known, change = known.take(order), change[order]
    frame = _filled(lines, known, change, changes)
    current = (known.until == NULL) & (known.source >= 0)
    counts = np.flatnonzero(current | (frequencies(frame["billing_frequency"]) != ONE_TIME))
    return frame.take(counts).reset_index(drop=True), known.take(counts)


def known_on(lines: pd.DataFrame, day: int) -> pd.DataFrame:
    """Return the versions of lines that were known on a day, with what they agreed on; all lines
    where they have no versions.
    """
    if not set(VERSIONS) <= set(lines.columns):
        return lines
    since, until = days_of(lines, "known_from"), days_of(lines, "known_until")
    valid: pd.DataFrame = lines[(since <= day) & ((until == NULL) | (until > day))]
    return valid.assign(
        start=valid["agreed_start"],
        end=valid["agreed_end"],
        end_reason=valid["agreed_end_reason"],
    )


def current(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the versions of lines that are known now; all lines where they have no versions."""
    if "known_until" not in lines.columns:
        return lines
    return lines[lines["known_until"].isna()]


def _changes(history: pd.DataFrame, lines: pd.DataFrame, tz: str) -> _Changes:
    """What the history says of the columns that `lines` has, line by line and day by day."""
    moment = times(history, "time", tz)
    usable = moment.notna().to_numpy() & ids(history, "id").notna().to_numpy()
    column = history["column"].astype("str")
    usable &= column.isin([*(name for name in _KINDS if name in lines.columns), _DELETED]).to_numpy(
        np.bool_
    )
    history, moment = history[usable], moment[usable]
    is_first = (history["source"].astype("str") == "first look").to_numpy(np.bool_)
    events = pd.DataFrame(
        {
            "line": ids(history, "id").to_numpy(np.int64),
            "time": plain_times(moment),
            "column": history["column"].astype("str").to_numpy(),
            "before": history["before"].astype("str").astype(object).to_numpy(),
            "after": history["after"].astype("str").astype(object).to_numpy(),
            "day": local_date(moment, tz).to_numpy().astype("datetime64[D]").astype(np.int64),
            "is_first": is_first,
        }
    ).sort_values(["line", "time"], kind="stable", ignore_index=True)
    snapshots = events.loc[events["is_first"], "time"]
    begin = pd.Timestamp(snapshots.min(), unit="us", tz="UTC") if len(snapshots) else None

    # A line that the first snapshot shows was the same before it; a later one begins when it was
    # added.
    starts = events.drop_duplicates("line").set_index("line")
    later = starts["is_first"] & (starts["time"] > (snapshots.min() if len(snapshots) else 0))
    added = _added_of(lines, starts.index, tz)
    exact = later & (added > (snapshots.min() if len(snapshots) else 0)) & (added <= starts["time"])
    added_day = _day_of(added, tz)
    start_day = np.where(~later, NULL, np.where(exact, added_day, starts["day"]))
    origin = pd.Series(start_day, index=starts.index)
    at_start = (
        events["is_first"] & (events["time"] == events["line"].map(starts["time"]))
    ).to_numpy(np.bool_)
    events["day"] = np.where(at_start, events["line"].map(origin), events["day"])

    # The value of a column before its first change.
    opening = events.drop_duplicates(["line", "column"])
    opening = opening[~opening["is_first"]]
    opening = opening.assign(
        after=opening["before"], day=opening["line"].map(origin), time=np.iinfo(np.int64).min
    )
    events = pd.concat([opening, events], ignore_index=True)
    events = events.sort_values(["line", "day", "time"], kind="stable", ignore_index=True)

    key = events[["line", "day"]].drop_duplicates()
    state = pd.MultiIndex.from_frame(key)
    line, day = key["line"].to_numpy(np.int64), key["day"].to_numpy(np.int64)
    first_row = np.flatnonzero(np.append(True, line[1:] != line[:-1])[: len(line)])
    start_row = np.repeat(first_row, np.diff(np.append(first_row, len(line))))
    texts, reported = {}, {}
    for name in (*(name for name in _KINDS if name in lines.columns), _DELETED):
        own = events[events["column"] == name].drop_duplicates(["line", "day"], keep="last")
        at = np.full(len(line), -1)
        rows = state.get_indexer(pd.MultiIndex.from_frame(own[["line", "day"]]))
        at[rows] = rows
        text = np.full(len(line), None, dtype=object)
        text[rows] = own["after"].to_numpy(object)
        newest = np.maximum.accumulate(at) if len(at) else at
        reported[name] = newest >= start_row
        texts[name] = text[newest] if len(at) else text
        texts[name][~reported[name]] = None
    return _Changes(line, day, texts, reported, begin)


def _filled(lines: pd.DataFrame, known: Known, change: Ints, changes: _Changes) -> pd.DataFrame:
    """Return the rows of versions: values of the history, and from `lines` the last version and
    values that the history lacks.
    """
    deleted = known.source < 0
    if deleted.any():
        # Rows of deleted lines are null except for the values of the history.
        lines = lines.astype(
            {name: "Int64" for name, dtype in lines.dtypes.items() if dtype == np.int64}
        )
        frame = plain_frame(lines.reindex(known.source).reset_index(drop=True))
        frame["id"] = ids(frame, "id").fillna(
            pd.Series(changes.line[np.maximum(change, 0)], dtype="Int64")
        )
    else:
        frame = lines.take(known.source).reset_index(drop=True)
    is_last = (known.until == NULL) & ~deleted
    unread: list[str] = []
    for name, kind in _KINDS.items():
        if name not in lines.columns:
            continue
        use = (
            (change >= 0)
            & ~is_last
            & (changes.reported[name][change] if len(changes.line) else False)
        )
        if use.any():
            frame[name] = _column(frame, name, kind, use, changes.texts[name][change[use]], unread)
    if unread:
        warn(
            f"history: {len(unread):,} values cannot be read and are null, for example {unread[0]}."
        )
    return frame


def _column(
    frame: pd.DataFrame, name: str, kind: int, use: Flags, texts: Any, unread: list[str]
) -> pd.Series[Any]:
    """Return a column with the rows `use` from text; values that cannot be read as its kind are
    null, and added to `unread`.
    """
    text = pd.Series(texts, dtype=object)
    text = text.where(text.notna(), None)
    if kind == TEXT:
        column = frame[name].astype("str").astype(object)
        column[use] = text.to_numpy(object)
        column = column.astype("str")
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            known = frame[name].cat.categories.astype("str")
            return column.astype(
                pd.CategoricalDtype([*known, *sorted(set(column.dropna()) - set(known))])
            )
        return column
    if kind == DAY:
        read: Any = (
            pd.to_datetime(text.astype("str"), format="ISO8601", errors="coerce", utc=True)
            .dt.tz_localize(None)
            .dt.as_unit("us")
        )
        column = dates(frame, name).astype("datetime64[us]")
    elif kind == FLAG:
        read = text.map(_flag).astype("boolean")
        yes, no = equals(frame, name, True), equals(frame, name, False)
        column = pd.Series(yes, index=frame.index).astype("boolean").mask(~yes & ~no)
    else:
        read = pd.to_numeric(text.astype("str"), errors="coerce").astype("float64")
        if kind == ID:
            full = read.notna() & (read == np.floor(read)) & (read.abs() < 2**53)
            read = read.where(full).astype("Int64")
        column = (
            ids(frame, name) if kind == ID else pd.Series(amounts(frame, name), index=frame.index)
        )
    bad = text.notna().to_numpy() & read.isna().to_numpy()
    unread += [f"{name} {value!r}" for value in text[bad]]
    column[use] = read.array
    return column


def _flag(text: Any) -> bool | None:
    return _FLAGS.get(text.strip().lower()) if isinstance(text, str) else None


def _added_of(lines: pd.DataFrame, line: pd.Index[Any], tz: str) -> pd.Series[Any]:
    """Return when lines were added (microseconds since 1970), `NULL` where unknown."""
    if "add_time" not in lines.columns:
        return pd.Series(NULL, index=line)
    added = times(lines, "add_time", tz)
    by_line = pd.Series(plain_times(added), index=pd.Index(ids(lines, "id")))
    return by_line[~by_line.index.duplicated() & by_line.index.notna()].reindex(
        line, fill_value=NULL
    )


def _day_of(micros: pd.Series[Any], tz: str) -> Ints:
    """The day of each instant in a timezone; that of 1970 where it is `NULL`."""
    instants = np.where(micros.to_numpy() == NULL, 0, micros.to_numpy()).view("datetime64[us]")
    utc: pd.Series[Any] = pd.Series(instants).dt.tz_localize("UTC")
    return local_date(utc, tz).to_numpy().astype("datetime64[D]").astype(np.int64)


def _added(lines: pd.DataFrame, tz: str, begin: pd.Timestamp | None) -> Ints:
    """Return the day on which each line was added if that is after the first snapshot; else
    `NULL`.
    """
    if begin is None or "add_time" not in lines.columns:
        return np.full(len(lines), NULL)
    added = times(lines, "add_time", tz)
    day = local_date(added, tz).to_numpy().astype("datetime64[D]").astype(np.int64)
    return np.where((added > begin).to_numpy(np.bool_), day, NULL)


__all__ = ["VERSIONS", "Known", "current", "known_on", "versions"]

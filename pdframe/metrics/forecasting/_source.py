"""Read the frames of a forecast: the columns that it needs, as they are for any `as_of`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdframe._warnings import collect_warnings
from pdframe.metrics._arguments import NULL, countable, micros, require_columns
from pdframe.metrics._columns import (
    TOO_LARGE,
    days,
    equals,
    finite,
    one_row_each,
    places,
    plain_ids,
)
from pdframe.metrics._known_at import VISITS
from pdframe.metrics._states import NEEDED, Ends
from pdframe.metrics._survival import Floats, Ints
from pdframe.metrics.forecasting._dated_rows import Activities, Lines
from pdframe.metrics.forecasting._interface import DAY
from pdframe.metrics.forecasting._rows import ChangeRows, logged_deals, read_changes

_DEALS = ("id", *NEEDED)
_OPTIONAL = (
    "pipeline_id",
    "is_deleted",
    "deleted_time",
    "update_time",
    "local_won_date",
    "local_lost_date",
)
# Columns of deals of which history tells earlier values.
_CHANGING = ("value", "probability", "currency", "owner_id", "expected_close_date")
COLUMNS_READ = frozenset({*_DEALS, *_OPTIONAL, *_CHANGING})
_STAGES = ("id", "pipeline_id", "order_nr")


class Stages(NamedTuple):
    """The stages of an account, by id."""

    id: Ints
    pipeline: Ints
    order: Ints
    probability: Floats


class Frames(NamedTuple):
    """The frames that a `Known` was read from."""

    deals: pd.DataFrame
    visits: pd.DataFrame
    stages: pd.DataFrame
    history: pd.DataFrame | None
    activities: pd.DataFrame | None
    deal_products: pd.DataFrame | None


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The columns of the frames that are read, with times up to any later date.

    `ends` says how the deals ended, and `notes` what was noticed in that. `logged` and `walked` are
    the ids of the deals whose changelog the history and the visits come from, `listed` those of the
    deals that the history has, `removed` those of deleted deals.
    """

    frames: Frames
    deals: pd.DataFrame
    ends: Ends
    notes: tuple[str, ...]
    visits: pd.DataFrame
    stages: Stages
    changes: dict[str, ChangeRows]
    current: dict[str, NDArray[Any]]
    newest: int
    ids: Ints
    activities: Activities | None
    lines: Lines | None
    logged: Ints
    walked: Ints
    listed: Ints
    removed: Ints

    def without_changelog(self, created: Ints, logged: Ints) -> Ints:
        """Return the ids of the deleted deals without a changelog, if most of the deals created so
        far have one; else none.

        The API has no changelog of a deal that was deleted. Where those of the others are loaded,
        what is unknown of a deal would reveal that it will be deleted.
        """
        if 2 * int(np.isin(created, logged).sum()) <= len(created):
            return np.zeros(0, np.int64)
        return np.setdiff1d(self.removed, logged)

    def visits_with(self, deals: Ints) -> pd.DataFrame:
        """Return the visits, with those of some deals known from their beginning."""
        if not len(deals):
            return self.visits
        own = np.isin(plain_ids(self.visits["deal_id"]), deals)
        source = self.visits["source"].astype("str").mask(own, "changelog")
        return self.visits.assign(source=source)

    def changes_with(self, name: str, as_of: int, deals: Ints) -> ChangeRows:
        """Return the changes of a column that were known by `as_of`, with the first value of some
        deals, else the one that the frame has, known at all earlier times.
        """
        rows = self.changes[name]
        if len(deals) and (rows.logged & (rows.seen <= as_of)).any():
            more = np.setdiff1d(deals, self.listed) if name in self.current else deals[:0]
            values = self.current[name][places(self.ids, more)] if len(more) else rows.value[:0]
            rows = rows.known_always(deals, more, values)
        return rows.take(rows.seen <= as_of)


def read_frames(frames: Frames, tz: str) -> Source:
    deals = require_columns(frames.deals, "deals", _DEALS).reset_index(drop=True)
    visits = require_columns(frames.visits, "visits", VISITS).reset_index(drop=True)
    ids = plain_ids(one_row_each(deals, "deals"))
    order = np.argsort(ids, kind="stable")
    ids, deals = ids[order], deals.iloc[order].reset_index(drop=True)
    kept = [name for name in (*_DEALS, *_OPTIONAL) if name in deals.columns]
    narrow = [*VISITS, *(("visit",) if "visit" in visits.columns else ())]
    history = frames.history
    changes = read_changes(history, tz)
    is_walked = equals(visits, "source", "changelog")
    with collect_warnings() as notes:
        ends = Ends.of(deals[kept], tz)
    newest = max(_newest(deals, visits, tz), NULL if history is None else _seen(history, tz))
    return Source(
        frames,
        deals[kept],
        ends,
        tuple(notes),
        visits[narrow],
        _stages(frames.stages),
        changes,
        _current(deals),
        newest,
        ids,
        None if frames.activities is None else Activities.of(frames.activities, tz),
        None if frames.deal_products is None else Lines.of(frames.deal_products, tz),
        logged_deals(history),
        np.unique(plain_ids(visits["deal_id"])[is_walked]),
        np.zeros(0, np.int64) if history is None else np.unique(plain_ids(history["deal_id"])),
        np.unique(ids[ends.deletions.rows]),
    )


def _newest(deals: pd.DataFrame, visits: pd.DataFrame, tz: str) -> int:
    """Return the newest time that deals and visits show."""
    names = ["add_time", "update_time"] if "update_time" in deals else [*NEEDED]
    columns = [(deals, name) for name in names if name != "status"]
    columns += [(visits, name) for name in ("entered_at", "left_at", "seen_at")]
    return max(_latest(micros(frame[name], tz, name)) for frame, name in columns)


def _seen(history: pd.DataFrame, tz: str) -> int:
    history = require_columns(history, "history", ("seen_at",))
    return _latest(micros(history["seen_at"], tz, "seen_at"))


def _latest(times: Ints) -> int:
    times = times[countable(times)]
    return int(times.max()) if len(times) else NULL


def _current(deals: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """Return the columns of `COLUMNS` as the frame has them."""
    result: dict[str, NDArray[Any]] = {}
    for name in ("value", "probability"):
        if name in deals:
            result[name] = finite(deals, name, below=TOO_LARGE)
    if "currency" in deals:
        texts = deals["currency"]
        words = np.array(texts, object)
        words[texts.isna().to_numpy(bool)] = None
        result["currency"] = words
    if "owner_id" in deals:
        result["owner_id"] = plain_ids(deals["owner_id"])
    if "expected_close_date" in deals:
        times = days(deals, "expected_close_date")
        result["expected_close_date"] = np.where(times == NULL, NULL, times // DAY)
    return result


def _stages(stages: pd.DataFrame) -> Stages:
    stages = require_columns(stages, "stages", _STAGES)
    ids = plain_ids(one_row_each(stages, "stages"))
    order = np.argsort(ids, kind="stable")
    probability = (
        finite(stages, "deal_probability")
        if "deal_probability" in stages.columns
        else np.full(len(ids), np.nan)
    )
    return Stages(
        ids[order],
        plain_ids(stages["pipeline_id"])[order],
        plain_ids(stages["order_nr"])[order],
        probability[order],
    )


__all__ = ["COLUMNS_READ", "Frames", "Source", "Stages", "read_frames"]

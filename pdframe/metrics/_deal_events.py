"""The events of deals: which changes of their states are a win, a move, a slip, and so on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdframe.errors import ArgumentError
from pdframe.metrics._arguments import NULL, require_columns
from pdframe.metrics._columns import NO_ID, Flags, Floats, Ints, amounts, places, plain_ids
from pdframe.metrics.forecasting._amounts import exact_units, in_units
from pdframe.metrics.forecasting._book import DELETED, LOST, OPEN, WON, Book

EVENT_COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "created": "add_time",
        "won": "status",
        "lost": "status",
        "reopened": "status",
        "advanced": "stage_id",
        "moved back": "stage_id",
        "moved": "stage_id",
        "changed pipeline": "pipeline_id",
        "value up": "value",
        "value down": "value",
        "currency changed": "currency",
        "slipped": "expected_close_date",
        "pulled in": "expected_close_date",
        "owner changed": "owner_id",
        "archived": "is_archived",
        "unarchived": "is_archived",
        "deleted": "is_deleted",
        "restored": "is_deleted",
    }
)
"""The events, each with the column of the history that changed."""
EVENT = pd.CategoricalDtype(list(EVENT_COLUMNS))
GROUPED = ("owner_id", "pipeline_id", "stage_id", "is_archived")
"""Columns that the states of deals must be grouped by."""

_CODES = {name: code for code, name in enumerate(EVENT_COLUMNS)}
_STATUSES = np.array(["open", "won", "lost", "deleted"], object)


def ids_of(states: Book, name: str) -> Ints:
    """Return one of the columns of `GROUPED` as integers, `NO_ID` where null."""
    return plain_ids(states.groups[name])


@dataclass(frozen=True)
class StageOrder:
    """The place of each stage in its pipeline.

    Parameters
    ----------
    ids
        Stages.
    rank
        Of each: the larger, the later.
    """

    ids: Ints
    rank: Floats

    @classmethod
    def of(cls, stages: pd.DataFrame | None) -> StageOrder:
        """Read the loader's stages; None: no place is known."""
        if stages is None:
            return cls(np.zeros(0, np.int64), np.zeros(0))
        stages = require_columns(stages, "stages", ("id", "order_nr"))
        ids = plain_ids(stages["id"])
        if len(np.unique(ids)) < len(ids):
            raise ArgumentError("stages holds an id twice. Pass one row each.")
        return cls(ids, amounts(stages, "order_nr"))

    def of_stages(self, stage: Ints) -> Floats:
        """Return the place of each stage, NaN where it is unknown."""
        place = places(self.ids, stage)
        if not len(self.ids):
            return np.full(len(stage), np.nan)
        return np.where(place < 0, np.nan, self.rank[place])


class DealEvents:
    """The events in a window of time, each as a state of a deal and what led to it.

    Parameters
    ----------
    states
        The states of all deals, with the columns `GROUPED`.
    since, until
        Microseconds; the first is inside, the last is not.
    """

    def __init__(self, states: Book, since: int, until: int) -> None:
        self._states, self._until = states, until
        within = (states.time >= since) & (states.time < until)
        self._started = np.flatnonzero(within & states.first & ~states.appeared)
        self._now = np.flatnonzero(within & ~states.first)
        self._amount = exact_units(states.value)
        self._parts: list[tuple[Ints, Ints]] = []

    def rows(self) -> tuple[Ints, Ints]:
        """Return the states and the codes of all events, by time, deal and kind."""
        state, event = (
            np.concatenate(part) if self._parts else np.zeros(0, np.int64)
            for part in (zip(*self._parts, strict=True) if self._parts else ((), ()))
        )
        order = np.lexsort((event, self._states.deal[state], self._states.time[state]))
        return state[order], event[order]

    def value_changes(self) -> Floats:
        """Return the change of the value in each event of `rows`, NaN where it is no change of the
        value.
        """
        state, event = self.rows()
        change = in_units(self._amount[state] - self._amount[np.maximum(state - 1, 0)])
        return np.where(np.isin(event, (_CODES["value up"], _CODES["value down"])), change, np.nan)

    def add_statuses(self, *, undone: bool, deleted: bool) -> None:
        """Add creations, closings, reopenings, deletions and restorations.

        `undone`: also wins and losses that no longer stand at the end of the window. `deleted`:
        whether one stands of a deal that was deleted after it.
        """
        status = self._states.status
        self._add(self._started, "created")
        closed = self._started[np.isin(status[self._started], (WON, LOST))]
        was, now = status[self._now - 1], status[self._now]
        changed = self._now[was != now]
        was, now = was[was != now], now[was != now]
        restored = (was == DELETED) & np.isin(now, (WON, LOST))
        self._add(changed[restored], "restored")
        self._add(changed[now == OPEN], "reopened")
        self._add(changed[now == DELETED], "deleted")
        closed = np.concatenate([closed, changed[np.isin(now, (WON, LOST)) & ~restored]])
        if not undone:
            closed = closed[self._stands(closed, deleted)]
        self._add(closed[status[closed] == WON], "won")
        self._add(closed[status[closed] == LOST], "lost")

    def _stands(self, closed: Ints, deleted: bool) -> Flags:
        """Return which closings are the last of their deal in the window."""
        states = self._states
        count = np.arange(len(states.deal))
        # The status beside a deletion: a deal that is restored has the closing that it had.
        kept = np.maximum.accumulate(np.where((states.status != DELETED) | states.first, count, 0))
        status = states.status[kept]
        new = states.first.copy()
        new[1:] |= status[1:] != status[:-1]
        number = np.cumsum(new)
        last = states.at(self._until)
        last = last[np.searchsorted(states.deal[last], states.deal[closed])]
        stands = number[closed] == number[last]
        return np.asarray(
            stands if deleted else stands & (states.status[last] != DELETED), np.bool_
        )

    def add_values(self) -> None:
        """Add changes of value and currency."""
        currency, now = self._states.currency, self._now
        same = np.asarray(currency[now - 1] == currency[now], np.bool_)
        change = np.where(same, self._amount[now] - self._amount[now - 1], 0)
        self._add(now[change > 0], "value up")
        self._add(now[change < 0], "value down")
        known = ~(pd.isna(currency[now - 1]) | pd.isna(currency[now]))
        self._add(now[~same & known], "currency changed")

    def add_moves(self, order: StageOrder) -> None:
        """Add moves to other stages and pipelines."""
        crossed, now = self._changed("pipeline_id"), self._now
        self._add(now[crossed], "changed pipeline")
        moved = now[self._changed("stage_id") & ~crossed]
        stage = ids_of(self._states, "stage_id")
        was, is_now = order.of_stages(stage[moved - 1]), order.of_stages(stage[moved])
        self._add(moved[is_now > was], "advanced")
        self._add(moved[is_now < was], "moved back")
        self._add(moved[~(is_now > was) & ~(is_now < was)], "moved")

    def add_closing_dates(self) -> None:
        """Add changes of the expected close to another day."""
        was, now = self._states.day[self._now - 1], self._states.day[self._now]
        both = (was != NULL) & (now != NULL)
        self._add(self._now[both & (now > was)], "slipped")
        self._add(self._now[both & (now < was)], "pulled in")

    def add_owners(self) -> None:
        """Add changes of the owner."""
        self._add(self._now[self._changed("owner_id")], "owner changed")

    def add_archiving(self) -> None:
        """Add archivings, and their opposite."""
        flag = self._states.groups["is_archived"]
        known = flag.notna().to_numpy(np.bool_)
        archived = flag.fillna(False).to_numpy(np.bool_)
        now = self._now[known[self._now] & known[self._now - 1]]
        self._add(now[archived[now] & ~archived[now - 1]], "archived")
        self._add(now[~archived[now] & archived[now - 1]], "unarchived")

    def _changed(self, name: str) -> Flags:
        """Return where an id changed to another one; an unknown id is no change."""
        values = ids_of(self._states, name)
        was, now = values[self._now - 1], values[self._now]
        return np.asarray((was != now) & (was != NO_ID) & (now != NO_ID), np.bool_)

    def _add(self, state: Ints, event: str) -> None:
        self._parts.append((state, np.full(len(state), _CODES[event])))


class Names:
    """The names of stages, pipelines and owners, from the loaders' frames.

    Parameters
    ----------
    deals
        Its columns `stage_name`, `pipeline_name` and `owner_name` name the ids beside them.
    stages, pipelines, users
        id and name; None: only what `deals` names is known.
    """

    def __init__(
        self,
        deals: pd.DataFrame,
        stages: pd.DataFrame | None,
        pipelines: pd.DataFrame | None,
        users: pd.DataFrame | None,
    ) -> None:
        self._known: dict[str, pd.Series[Any]] = {}
        for key, label, frame, name in (
            ("stage_id", "stage_name", stages, "stages"),
            ("pipeline_id", "pipeline_name", pipelines, "pipelines"),
            ("owner_id", "owner_name", users, "users"),
        ):
            parts = []
            if frame is not None:
                frame = require_columns(frame, name, ("id", "name"))
                parts.append(_by_id(frame["id"], frame["name"]))
            if key in deals.columns and label in deals.columns:
                parts.append(_by_id(deals[key], deals[label]))
            if parts:
                both = pd.concat(parts)
                self._known[key] = both[~both.index.duplicated()]

    def known(self, key: str, ids: Ints) -> pd.Series[Any]:
        """Return the name of each id, null where it is unknown."""
        if key not in self._known:
            return pd.Series([None] * len(ids), dtype="str")
        return pd.Series(self._known[key].reindex(pd.Index(ids)).to_numpy(object), dtype="str")

    def text(self, key: str, ids: Ints) -> NDArray[np.object_]:
        """Return the name of each id, else the id as text; None where it is null."""
        names = self.known(key, ids)
        numbers = pd.Series(
            [None if one == NO_ID else str(one) for one in ids.tolist()], dtype="str"
        )
        result: NDArray[np.object_] = names.fillna(numbers).to_numpy(object)
        return result


def _by_id(ids: pd.Series[Any], names: pd.Series[Any]) -> pd.Series[Any]:
    column = pd.Series(names.astype("str").to_numpy(object), pd.Index(plain_ids(ids)), dtype=object)
    return column[names.notna().to_numpy(np.bool_)]


def texts(
    states: Book, state: Ints, event: Ints, names: Names
) -> tuple[pd.Series[Any], pd.Series[Any]]:
    """Return what changed in each event, before and after, as texts."""
    column = np.array(list(EVENT_COLUMNS.values()), object)[event]
    sides = []
    for at in (state - 1, state):
        values = np.full(len(state), None, object)
        for name in np.unique(column):
            rows = np.flatnonzero(column == name)
            values[rows] = _text(states, at[rows], name, names)
        sides.append(values)
    before, after = sides
    before[states.first[state]] = None
    return pd.Series(before, dtype="str"), pd.Series(after, dtype="str")


def _text(states: Book, at: Ints, name: str, names: Names) -> NDArray[np.object_]:
    """Return a column of these states as texts."""
    if name in ("add_time", "status", "is_deleted"):
        result: NDArray[np.object_] = _STATUSES[states.status[at]]
    elif name in ("stage_id", "pipeline_id", "owner_id"):
        result = names.text(name, ids_of(states, name)[at])
    elif name == "value":
        result = _each(states.value[at], lambda value: None if value != value else _plain(value))
    elif name == "currency":
        result = states.currency[at]
    elif name == "expected_close_date":
        result = _each(states.day[at], lambda day: str(np.datetime64(day, "D")))
    else:
        flags = states.groups[name].take(at)
        result = _each(flags, lambda flag: "true" if flag else "false")
    return result


def _each(values: Any, text: Any) -> NDArray[np.object_]:
    result = np.empty(len(values), object)
    result[:] = [text(value) for value in values.tolist()]
    return result


def _plain(value: float) -> str:
    """Return a number without exponent and trailing zeros."""
    text = np.format_float_positional(value, trim="-")
    return "0" if text == "-0" else text


__all__ = [
    "EVENT",
    "EVENT_COLUMNS",
    "GROUPED",
    "DealEvents",
    "Names",
    "StageOrder",
    "ids_of",
    "texts",
]

"""What deals were from when until when: `fact_deal_history`, from the changes of their columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from pdframe.bi._tables import BiTable
from pdframe.bi.star_columns import (
    Building,
    Description,
    Dictionary,
    Flags,
    Ints,
    TableBuilder,
    plain,
)
from pdframe.bi.star_facts import DealKeys
from pdframe.bi.star_tables import (
    OWNER_KEY,
    PIPELINE_KEY,
    REFERENCES,
    STAGE_KEY,
)
from pdframe.metrics._change_rows import typed
from pdframe.schema.snapshots import HISTORY

FACT_HISTORY = "fact_deal_history"
_IDS = ("owner_id", "pipeline_id", "stage_id")
_VALUES = ("status", "value", "currency", "probability", "expected_close_date", "is_archived")
_IS_DELETED = "is_deleted"
_NO_COLUMN = -2
_OWN_KEYS = (OWNER_KEY, PIPELINE_KEY, STAGE_KEY)


def history_table(building: Building, history: pd.DataFrame, deals: DealKeys) -> BiTable:
    """Return `fact_deal_history`: one row a deal and time from which its values held.

    Parameters
    ----------
    building, deals
        The star, and the keys of its deals.
    history
        As `account.deal_history()` gives it: by deal and time.
    """
    states = States(history)
    builder = TableBuilder(building, FACT_HISTORY, active_date="valid_from_date")
    deals.add(builder, states.deal, without=_OWN_KEYS)
    builder.put(
        "deal_id",
        plain(states.deal),
        Description(None, "deal_id", "Id of the deal, also of one without a row"),
    )
    builder.time(
        "valid_from",
        states.valid_from,
        Description(meaning="Time from which the values held, as far as known"),
    )
    builder.time(
        "valid_to",
        states.valid_to,
        Description(
            meaning="Time from which the next row of the deal holds",
            null_means="the values still hold",
        ),
    )
    dictionary = Dictionary(HISTORY)
    for name in _IDS:
        key, target = REFERENCES[name]
        known = dictionary[name]
        known = known._replace(meaning=f"{known.meaning}, at that time")
        builder.reference(key, building.keys[target[0]].of(states[name]), target, known)
    for name in _VALUES:
        known = dictionary[name]._replace(null_means="none, or not known at that time")
        if name == "currency":
            builder.currency("currency_key", plain(states[name]), known)
        elif name == "expected_close_date":
            builder.date(name, plain(states[name]), known)
        else:
            builder.put(name, plain(states[name]), known)
    builder.put(
        _IS_DELETED,
        pa.array(states.is_deleted),
        Description(meaning="Whether the deal was deleted, or no longer visible, by then"),
    )
    builder.put(
        "is_current",
        pa.array(states.is_last),
        Description(meaning="Whether it is the last row of the deal"),
    )
    builder.put(
        "source",
        plain(states.source),
        Description(
            meaning="changelog: exact times. snapshots: the time is that of the sync that shows"
            " the change, or one that the API states. first look: the first sync; what was before"
            " it is unknown"
        ),
    )
    return builder.finish()


class States:
    """The values of each deal from change to change.

    Parameters
    ----------
    history
        One row a deal and change of a column: by deal and time.
    """

    def __init__(self, history: pd.DataFrame) -> None:
        names = (*_IDS, *_VALUES, _IS_DELETED)
        column = history["column"]
        wanted = (column.isin(names) & history["time"].notna()).to_numpy(bool)
        self._rows = history.loc[wanted].reset_index(drop=True)
        deal = self._rows["deal_id"].to_numpy("int64")
        time = self._rows["time"].to_numpy("datetime64[us]").view(np.int64)
        # One state a deal and time: several columns may change at once.
        begins = np.append(True, (deal[1:] != deal[:-1]) | (time[1:] != time[:-1]))[: len(deal)]
        self._state: Ints = np.cumsum(begins) - 1
        self._first = np.flatnonzero(begins)
        last = np.append(self._first[1:], len(deal))[: len(self._first)] - 1
        self._deal = deal[self._first]
        is_last = np.append(self._deal[1:] != self._deal[:-1], True)[: len(self._deal)]
        self.is_last: Flags = is_last
        self.deal = pd.Series(self._deal, dtype="Int64")
        self.valid_from = self._rows["time"].take(self._first).reset_index(drop=True)
        self.valid_to = self.valid_from.shift(-1).mask(is_last)
        self.source = self._rows["source"].take(last).reset_index(drop=True)
        self._column, columns = pd.factorize(self._rows["column"])
        self._number = {str(name): number for number, name in enumerate(columns)}
        self._after = self._rows["after"].astype("str").array
        self._before = self._rows["before"].astype("str").array

    @property
    def is_deleted(self) -> Flags:
        """Whether each state is that of a deal that was deleted or no longer visible."""
        result: Flags = (self._texts(_IS_DELETED) == "true").fillna(False).to_numpy(bool)
        return result

    def __getitem__(self, name: str) -> pd.Series[str]:
        """The values of a column in each state, in the dtype of the loaders."""
        values: pd.Series[str] = typed(name, self._texts(name))
        return values

    def _texts(self, name: str) -> pd.Series[str]:
        """Return the text of a column in each state: after its last change, else before its first
        one.
        """
        rows = np.flatnonzero(self._column == self._number.get(name, _NO_COLUMN))
        count = len(self._deal)
        change = np.full(count, -1)
        # Of changes of one time the last counts.
        change[self._state[rows]] = rows
        latest = np.maximum.accumulate(change) if count else change
        latest = np.where(self._owner(latest) == self._deal, latest, -1)
        upcoming = np.full(count, len(self._rows))
        upcoming[self._state[rows][::-1]] = rows[::-1]
        earliest = np.minimum.accumulate(upcoming[::-1])[::-1] if count else upcoming
        earliest = np.where(earliest == len(self._rows), -1, earliest)
        earliest = np.where(self._owner(earliest) == self._deal, earliest, -1)
        after = self._after.take(latest, allow_fill=True)
        before = self._before.take(earliest, allow_fill=True)
        return pd.Series(after).where(latest >= 0, pd.Series(before))

    def _owner(self, rows: Ints) -> Ints:
        """Return the deal of each row, -1 where there is none."""
        if not len(self._rows):
            return np.full(len(rows), -1)
        return np.where(rows >= 0, self._deal[self._state[rows]], -1)


__all__ = ["FACT_HISTORY", "States", "history_table"]

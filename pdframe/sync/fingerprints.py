"""Fingerprints of parent records: the values in their list that move when their children may have
changed.

A change later in the same second leaves no sign. It can only be in the records that changed last:
their fingerprints are provisional. The children of such a record are fetched again until that
second is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# What a provisional fingerprint begins with.
PROVISIONAL = "?"
# Once the server's clock moved by this much, the second of a stamp is over.
SECOND_IS_OVER = timedelta(seconds=2)
NO_FINGERPRINTS = pa.table(
    {"id": pa.array([], pa.int64()), "fingerprint": pa.array([], pa.string())}
)


def fingerprints_of(records: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return the `id` and the `fingerprint` of records, made of some of their columns.

    Parameters
    ----------
    records
        All records of their list, with `id` and `update_time`.
    columns
        The columns that move when children may have changed.
    """
    texts = [pc.fill_null(records[name].cast(pa.string()), "") for name in columns]
    fingerprints = pc.binary_join_element_wise(*texts, "|")
    newest = pc.max(records["update_time"])
    is_provisional = pc.fill_null(pc.equal(records["update_time"], newest), False)
    fingerprints = pc.if_else(
        is_provisional, pc.binary_join_element_wise(PROVISIONAL, fingerprints, ""), fingerprints
    )
    return pa.table({"id": records["id"], "fingerprint": fingerprints}).sort_by("id")


def places_of(ids: pa.Array, table: pa.Table) -> pa.Array:
    """Return where each id is in a table that is sorted by `id`; null where it is not there."""
    known, wanted = table["id"].to_numpy(), ids.to_numpy()
    places = np.searchsorted(known, wanted)
    inside = np.minimum(places, max(0, len(known) - 1))
    is_there = known[inside] == wanted if len(known) else np.zeros(len(wanted), np.bool_)
    return pa.array(inside, pa.int64(), mask=~is_there)


def is_provisional(fingerprints: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether fingerprints are provisional."""
    return pc.starts_with(fingerprints, PROVISIONAL)


def certain(fingerprints: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return fingerprints without the sign that they are provisional."""
    return pc.utf8_ltrim(fingerprints, PROVISIONAL)


def settle(
    fingerprints: pa.ChunkedArray, before: pa.Table, server_times: pa.Array
) -> pa.ChunkedArray:
    """Return fingerprints that are no longer provisional where they are as at an earlier
    fetch, and the second of its stamp was over at this one.

    Parameters
    ----------
    fingerprints
        Fingerprints of records whose children were fetched now.
    before
        `look` (the fingerprint) and `server_time` of an earlier fetch of each; null where there
        was none.
    server_times
        The server's time of each answer; null where it is unknown.
    """
    is_alike = pc.equal(certain(before["look"]), certain(fingerprints))
    was_certain = pc.fill_null(pc.invert(is_provisional(before["look"])), False)
    over = pc.add(before["server_time"], pa.scalar(SECOND_IS_OVER, pa.duration("us")))
    is_over = pc.fill_null(pc.less_equal(over, server_times), False)
    is_settled = pc.fill_null(pc.and_(is_alike, pc.or_(was_certain, is_over)), False)
    return pc.if_else(is_settled, certain(fingerprints), fingerprints)

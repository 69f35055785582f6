"""Which parents are due: by their fetch state, their fingerprint now, and what is wanted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from pdframe.sync.fetch_state import (
    NO_FINGERPRINTS,
    SCHEMA,
    Want,
    fingerprints_of,
    newest_states,
    states_of_batch,
)
from pdframe.sync.plan import due_parents

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def states(*rows: tuple[int, datetime, str | None]) -> pa.Table:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    ids, times, fingerprints = columns
    known = pa.table([ids, times, fingerprints, [True] * len(ids), times], schema=SCHEMA)
    return newest_states(known)


def prints(updated_at: datetime = NOW - 9 * HOUR, **fingerprints: str) -> pa.Table:
    ids = [int(name.removeprefix("deal_")) for name in fingerprints]
    columns = [pa.array(ids, pa.int64()), [*fingerprints.values()], [updated_at] * len(ids)]
    return pa.table(columns, schema=NO_FINGERPRINTS.schema)


KNOWN = states((1, NOW - HOUR, "a"), (2, NOW - 3 * HOUR, "?b"), (3, NOW - HOUR, None))
LISTED = prints(deal_1="a", deal_2="b", deal_3="c", deal_4="d")
UPDATED = prints(NOW - HOUR / 2, deal_1="a", deal_2="b", deal_3="c", deal_4="d")
AT_THAT_SECOND = prints(NOW - HOUR, deal_1="a", deal_2="b", deal_3="c", deal_4="d")
CHANGED = prints(deal_1="new", deal_2="b", deal_3="c", deal_4="d")


@pytest.mark.parametrize(
    ("want", "listed", "began", "due"),
    [
        # Fingerprints decide: 2 is provisional, 3 has none, 4 was never fetched.
        (Want(None, now=True, listed=True), LISTED, None, [2, 3, 4]),
        (Want(None, now=True, listed=True), CHANGED, None, [1, 2, 3, 4]),
        # Without a list that is as fresh, all of them may have changed.
        (Want(None, now=True), LISTED, None, [1, 2, 3, 4]),
        (Want(None, now=True, listed=True), NO_FINGERPRINTS, None, [1, 2, 3, 4]),
        # Age protects what may have changed, not what the list shows to have changed.
        (Want(None, max_age=24 * HOUR, listed=True), LISTED, None, [4]),
        (Want(None, max_age=24 * HOUR, listed=True), CHANGED, None, [1, 4]),
        (Want(None, max_age=24 * HOUR), CHANGED, None, [1, 4]),
        (Want(None, max_age=2 * HOUR, listed=True), LISTED, None, [2, 4]),
        (Want(None, max_age=2 * HOUR, listed=True), CHANGED, None, [1, 2, 4]),
        (Want(None, max_age=HOUR, listed=True), CHANGED, None, [1, 2, 3, 4]),
        # What was fetched without a fingerprint has changed if its `update_time` is later.
        (Want(None, max_age=24 * HOUR, listed=True), UPDATED, None, [3, 4]),
        (Want(None, max_age=24 * HOUR, listed=True), AT_THAT_SECOND, None, [4]),
        # Without an age, what was fetched once is not fetched again by itself.
        (Want(None, max_age=None, listed=True), LISTED, None, [4]),
        (Want(None, max_age=None, listed=True), CHANGED, None, [4]),
        (Want(None, max_age=None), UPDATED, None, [4]),
        (Want(None, max_age=None, listed=True), CHANGED, NOW - 2 * HOUR, [4]),
        (Want(None, now=True, max_age=None, listed=True), CHANGED, None, [1, 2, 3, 4]),
        (Want(None, max_age=HOUR, listed=True), LISTED, None, [2, 3, 4]),
        # A full fetch asks for all; a run that resumes, only for what it has not.
        (Want(None, full=True, now=True, listed=True), LISTED, None, [1, 2, 3, 4]),
        (Want(None, full=True, now=True, listed=True), LISTED, NOW - 2 * HOUR, [2, 3, 4]),
        (Want(None, full=True, now=True, listed=True), CHANGED, NOW - 2 * HOUR, [1, 2, 3, 4]),
        (Want(None, full=True, now=True), CHANGED, NOW - 2 * HOUR, [2, 4]),
        (Want(None, now=True, listed=True), LISTED, NOW - 4 * HOUR, [3, 4]),
    ],
)
def test_parents_are_due(
    want: Want, listed: pa.Table, began: datetime | None, due: list[int]
) -> None:
    assert due_parents([1, 2, 3, 4], KNOWN, listed, want, began=began, now=NOW) == due


def test_a_clock_that_was_set_back_proves_no_age() -> None:
    ahead = states((1, NOW + HOUR, "a"))
    want = Want(None, max_age=timedelta(minutes=15))
    assert due_parents([1], ahead, NO_FINGERPRINTS, want, began=None, now=NOW) == [1]


def test_the_newest_records_have_provisional_fingerprints() -> None:
    records = pa.table(
        {
            "id": [7, 3, 5],
            "update_time": pa.array([NOW, NOW - HOUR, NOW], pa.timestamp("us", "UTC")),
            "products_count": pa.array([1, None, 2], pa.int64()),
        }
    )
    rows = fingerprints_of(records, ["update_time", "products_count"]).to_pylist()
    assert [row["id"] for row in rows] == [3, 5, 7]
    assert [row["fingerprint"].startswith("?") for row in rows] == [False, True, True]
    assert [row["fingerprint"].rpartition("|")[2] for row in rows] == ["", "2", "1"]


@pytest.mark.parametrize(
    ("before", "fingerprint", "seconds", "expected"),
    [
        (None, "?a", 9, "?a"),
        ("?a", "?a", 1, "?a"),
        ("?a", "?a", 2, "a"),
        ("?a", "?a", None, "?a"),
        ("a", "?a", 0, "a"),
        ("?b", "?a", 9, "?a"),
        ("?b", "a", 9, "a"),
        (None, None, 9, None),
    ],
)
def test_a_fingerprint_settles_once_its_second_is_over(
    before: str | None, fingerprint: str | None, seconds: int | None, expected: str | None
) -> None:
    listed = prints(deal_1=fingerprint) if fingerprint else NO_FINGERPRINTS
    known = states((1, NOW, before)) if before else states()
    answer: Any = None if seconds is None else NOW + timedelta(seconds=seconds)
    state = states_of_batch(
        [1], listed, known, fetched_at=[NOW], server_times=[answer], exists=[True]
    )
    assert state["look"].to_pylist() == [expected]

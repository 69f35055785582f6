"""Stage visits held against the company's true ones: the same, or at least never contradicting
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

COLUMNS = [
    "deal_id", "pipeline_id", "stage_id", "visit", "entered_at", "left_at", "end", "source",
    "entered_after", "left_after", "seen_at",
]  # fmt: skip
DTYPES = {
    **dict.fromkeys(COLUMNS[:4], "Int64"),
    **dict.fromkeys(
        ("entered_at", "left_at", "entered_after", "left_after", "seen_at"), "datetime64[us, UTC]"
    ),
    "end": "category",
    "source": "category",
}
ENDS = ["advanced", "moved back", "changed pipeline", "won", "lost", "deleted", "open"]


class VisitRow(NamedTuple):
    """A row of stage visits, times in seconds."""

    deal_id: int
    pipeline_id: int
    stage_id: int
    visit: int
    entered_at: int
    left_at: int | None
    end: str | None
    source: str
    entered_after: int | None
    left_after: int | None
    seen_at: int


def rows_of(visits: pd.DataFrame) -> list[VisitRow]:
    plain = []
    for name in COLUMNS:
        values = visits[name]
        if isinstance(values.dtype, pd.DatetimeTZDtype):
            assert (values.dropna().dt.microsecond == 0).all()
            values = values.astype("int64").where(values.notna()) // 1_000_000
        plain.append(
            [
                None if pd.isna(value) else value if isinstance(value, str) else int(value)
                for value in values
            ]
        )
    return [VisitRow(*row) for row in zip(*plain, strict=True)]


def facts(visits: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Rows as the company's truth writes them."""
    return [row[:7] for row in rows_of(visits)]


def changelog(
    company: Any, deals: Iterable[int] | None = None, *, newest_first: bool = False
) -> pd.DataFrame:
    """The changelog of deals (none given: all) as a frame, straight from the company."""
    rows = []
    for deal in company.tables["deals"] if deals is None else deals:
        log = company.deal_changelog(deal)
        rows += [{"deal_id": deal, **row} for row in (log[::-1] if newest_first else log)]
    frame = pd.DataFrame(
        rows,
        columns=[
            "deal_id",
            "time",
            "field_key",
            "old_value",
            "new_value",
            "actor_user_id",
            "change_source",
        ],
    )
    return frame.astype(
        {
            "deal_id": "Int64",
            "time": "str",
            "field_key": "str",
            "old_value": "str",
            "new_value": "str",
        }
    )


def state_of(company: Any) -> pa.Table:
    """Every deal there ever was as it is now, the deleted included."""
    rows = [
        {**row, "first_won_time": company.deal_counts(row["id"]).get("first_won_time")}
        for row in company.tables["deals"].values()
    ]
    times = ("stage_change_time", "add_time", "won_time", "lost_time", "first_won_time")
    frame = pd.DataFrame(
        rows, columns=["id", "stage_id", "pipeline_id", "status", *times, "is_deleted"]
    )
    for name in times:
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return pa.Table.from_pandas(frame, preserve_index=False)


def archived(company: Any) -> set[int]:
    """The deals that are in the archive now."""
    return {deal for deal, row in company.tables["deals"].items() if row["is_archived"]}


def check_form(visits: pd.DataFrame) -> None:
    """Columns, dtypes, order, counts; bounds in order; no two stays of a deal overlap."""
    assert list(visits.columns) == COLUMNS
    assert visits.dtypes.astype("str").to_dict() == DTYPES
    assert visits["end"].cat.categories.tolist() == ENDS
    assert visits["source"].cat.categories.tolist() == ["changelog", "snapshots", "current"]
    counted = visits.groupby(["deal_id", "stage_id"]).cumcount() + 1
    assert visits["visit"].tolist() == counted.tolist()
    assert visits[["entered_at", "seen_at"]].notna().all().all()
    assert (visits["left_at"].isna() == (visits["end"] == "open")).all()
    assert not (visits["left_after"].notna() & visits["left_at"].isna()).any()
    before: VisitRow | None = None
    for row in rows_of(visits):
        if before is not None and before.deal_id == row.deal_id:
            assert before.left_at is not None
            assert before.left_at <= row.entered_at
            if before.left_after is not None and row.entered_after is not None:
                assert before.left_after <= row.entered_after
        if row.entered_after is not None:
            assert row.entered_after < row.entered_at
        if row.left_at is not None:
            assert row.entered_at <= row.left_at
            assert row.left_after is None or row.left_after < row.left_at
        before = row
    assert visits["deal_id"].is_monotonic_increasing


class SnapshotTime(NamedTuple):
    """When a look at the deals began and ended, and which of them moved into or out of the archive
    between its requests.

    The API has one list of live and one of archived deals. A deal that changes places between the
    two requests may be in neither.
    """

    began: int
    ended: int
    moved: frozenset[int] = frozenset()


def check_against_truth(
    visits: pd.DataFrame, truth: Sequence[Any], snapshots: Sequence[SnapshotTime]
) -> None:
    """No stay contradicts what really happened.

    Each stay stands for a true one, in order, whose entry and exit lie within its bounds. True
    stays of one stage that follow on each other may stand together for one where no look can have
    seen the deal closed between them. Where no true stay is missing between two, the end is the
    true one.
    """
    true_by: dict[int, list[Any]] = {}
    for visit in truth:
        true_by.setdefault(visit.deal_id, []).append(visit)
    for deal, rows in groupby(rows_of(visits), key=lambda row: row.deal_id):
        true = true_by[deal]
        seeing = [snapshot for snapshot in snapshots if deal not in snapshot.moved]
        matches: list[tuple[int, int, VisitRow]] = []
        start = 0
        for row in rows:
            result = _match(row, true, start, seeing)
            assert result is not None, (row, true[start:], matches)
            matches.append((*result, row))
            start = result[1] + 1
        for number, (_, last, row) in enumerate(matches):
            following = matches[number + 1][0] if number + 1 < len(matches) else len(true)
            if following == last + 1:
                # A deal that was gone at a look may have been closed before it was deleted.
                taken = (
                    ("won", "lost", "deleted")
                    if row.end == "deleted" and row.left_after is not None
                    else (row.end,)
                )
                assert true[last].end in taken, (row, true[last])


def _match(
    row: VisitRow, true: list[Any], start: int, snapshots: Sequence[SnapshotTime]
) -> tuple[int, int] | None:
    """The run of true stays that ends first and fits."""
    for last in range(start, len(true)):
        for first in range(last, start - 1, -1):
            visit = true[first]
            if (visit.pipeline_id, visit.stage_id) != (row.pipeline_id, row.stage_id):
                break
            if first < last and any(
                visit.left_at <= snapshot.began and snapshot.ended < true[first + 1].entered_at
                for snapshot in snapshots
            ):
                break
            if _fits(visit.entered_at, row.entered_after, row.entered_at) and _fits(
                true[last].left_at, row.left_after, row.left_at
            ):
                return first, last
    return None


def _fits(true: int | None, after: int | None, at: int | None) -> bool:
    if true is None or at is None:
        return true is None and at is None
    return true == at if after is None else after <= true <= at

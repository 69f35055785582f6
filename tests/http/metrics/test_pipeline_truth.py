"""The movements of the pipeline of a company, against a replay of its own events: by hand for what
moved, in SQL for what was open at both ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import duckdb
import pandas as pd
import pytest

from pdframe import metrics, sandbox
from pdframe.metrics.forecasting.pipeline_book import MOVEMENTS

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

COLUMNS = ("status", "value", "currency", "expected_close_date", "pipeline_id")
WEEK = 7
Key = tuple[int, str | None, str]


def utc(seconds: int) -> pd.Timestamp:
    return pd.Timestamp(seconds, unit="s", tz="UTC")


def states(company: Any) -> pd.DataFrame:
    """What each deal was after each write, in the order of writes."""
    rows, now = [], {}
    for event in company.events:
        if event.table != "deals":
            continue
        state = dict(now.get(event.id, {"deleted": False}))
        state.update({name: event.changes[name] for name in COLUMNS if name in event.changes})
        if event.action in ("delete", "remove", "restore"):
            state["deleted"] = event.action != "restore"
        now[event.id] = state
        rows.append({"deal": event.id, "time": event.time, "seq": event.seq, **state})
    frame = pd.DataFrame(rows).convert_dtypes()
    return frame.assign(value=frame["value"].astype("float64"))


def open_in_sql(frame: pd.DataFrame, seconds: int) -> dict[Key, int]:
    """Millionths that were open just before a time, by pipeline, month of expected close and
    currency.
    """
    rows = duckdb.execute(
        """
        with last as (
            select * from frame where time < $1
            qualify row_number() over (partition by deal order by seq desc) = 1
        )
        select pipeline_id, strftime(expected_close_date::date, '%Y-%m'), currency,
               sum(cast(round(coalesce(value, 0), 6) * 1000000 as hugeint))
        from last where status = 'open' and not deleted group by all having sum(value) != 0
        """,
        [seconds],
    ).fetchall()
    return {(pipeline, month, currency): int(total) for pipeline, month, currency, total in rows}


def moved_by_hand(frame: pd.DataFrame, since: int, until: int) -> dict[tuple[Any, ...], int]:
    """Millionths of each movement by pipeline, month, currency and name; writes of one second are
    one.
    """
    result: dict[tuple[Any, ...], int] = defaultdict(int)
    for _, writes in frame.groupby("deal"):
        last = writes.drop_duplicates("time", keep="last").astype(object)
        before: dict[str, Any] | None = None
        for now in last.where(last.notna(), None).to_dict("records"):
            if since <= now["time"] < until:
                for key, movement, amount in one_step(before, now):
                    result[(*key, movement)] += amount
            before = now
    return {key: amount for key, amount in result.items() if amount}


def one_step(before: Any, now: Any) -> Iterator[tuple[Key, str, int]]:
    """What one write moved."""

    def is_open(state: Any) -> bool:
        return state is not None and state["status"] == "open" and not state["deleted"]

    def worth(state: Any) -> int:
        return int(Decimal(str(state["value"] or 0)) * 1_000_000)

    def month(state: Any) -> str | None:
        return state["expected_close_date"] and str(state["expected_close_date"])[:7]

    def place(state: Any, close: str | None) -> Key:
        return state["pipeline_id"], close, state["currency"]

    if not is_open(before):
        if is_open(now):
            name = "created" if before is None else "reopened"
            yield place(now, month(now)), name, worth(now)
        return
    same = before["currency"] == now["currency"]
    value = worth(now) if same else worth(before)
    if value != worth(before):
        name = "value_up" if value > worth(before) else "value_down"
        yield place(before, month(before)), name, value - worth(before)
    old, new = month(before), month(now)
    if old != new:
        if old is None or new is None:
            leaves = enters = "dated" if old is None else "undated"
        else:
            leaves, enters = ("pushed_out", "moved_in") if new > old else ("moved_out", "pulled_in")
        yield place(before, old), leaves, -value
        yield place(before, new), enters, value
    if place(before, new) != place(now, new):
        yield place(before, new), "moved_out", -value
        yield place(now, new), "moved_in", worth(now)
    if not is_open(now):
        name = "deleted" if now["deleted"] else now["status"]
        yield place(now, new), name, -worth(now)


def cells(table: pd.DataFrame, names: tuple[str, ...]) -> dict[tuple[Any, ...], int]:
    """Millionths of each cell that is not 0."""
    result = {}
    for row in table.to_dict("records"):
        month = None if pd.isna(row["period"]) else f"{row['period']:%Y-%m}"
        for name in names:
            amount = round(row[name] * 1e6)
            if amount:
                result[row["pipeline_id"], month, row["currency"], name] = amount
    return result


def closes_exactly(table: pd.DataFrame) -> None:
    for row in table[list(MOVEMENTS)].to_dict("records"):
        parts = [round(row[name] * 1e6) for name in MOVEMENTS]
        assert sum(parts[:-1]) == parts[-1]


def of_ends(table: pd.DataFrame, name: str) -> dict[Key, int]:
    return {key[:3]: amount for key, amount in cells(table, (name,)).items()}


@pytest.fixture(scope="module")
def account() -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=11, deals=300, company="hostile", burst=100_000, progress=False, max_age=None
    ) as made:
        yield made


@pytest.mark.parametrize(
    ("days_ago", "length"), [(700, 90), (365, 180), (120, 31), (30, 30), (7, 7)]
)
def test_changelogs_give_what_the_company_did(
    account: sandbox.SandboxAccount, days_ago: int, length: int
) -> None:
    account.deal_changes()
    history, deals = account.deal_history(), account.deals(deleted=True)
    company = account.company_model
    since = (company.now // 86_400 - days_ago) * 86_400
    until = since + length * 86_400
    frame = states(company)
    # The changelog of a deleted deal cannot be read.
    frame = frame[frame["deal"].isin(history["deal_id"])]
    table = metrics.pipeline_movements(
        history, deals, since=utc(since), until=utc(until), by="pipeline_id"
    )
    closes_exactly(table)
    for name, time in (("start", since), ("end", until)):
        expected = open_in_sql(frame, time)
        assert of_ends(table, name) == expected
        assert expected
    assert cells(table, MOVEMENTS[1:-1]) == moved_by_hand(frame, since, until)
    rows = metrics.pipeline_movement_deals(
        history, deals, since=utc(since), until=utc(until), by="pipeline_id"
    )
    for place in range(len(table)):
        cell = metrics.drill_through(table.iloc[place], rows)
        sums = cell.groupby("movement", observed=False)["amount"].sum().round(6)
        assert sums.tolist() == table.iloc[place][list(MOVEMENTS)].tolist()


def test_snapshots_give_what_was_open_whenever_one_was_taken() -> None:
    with sandbox.connect(
        seed=12, deals=150, company="hostile", burst=100_000, progress=False, max_age=None
    ) as made:
        taken = []
        for _ in range(5):
            made.sync("deals")
            taken.append(made.company_model.now)
            made.advance(days=WEEK)
        history, deals = made.deal_history(), made.deals(deleted=True, refresh=False)
        frame = states(made.company_model)
    frame = frame[frame["deal"].isin(history["deal_id"])]
    for first, last in [(0, 1), (1, 4), (0, 4)]:
        since, until = taken[first] + 1, taken[last] + 1
        table = metrics.pipeline_movements(
            history, deals, since=utc(since), until=utc(until), by="pipeline_id"
        )
        closes_exactly(table)
        assert of_ends(table, "start") == open_in_sql(frame, since)
        assert of_ends(table, "end") == open_in_sql(frame, until)
        shown = cells(table, ("won", "lost"))
        assert sum(shown.values()) < 0

"""What moved the pipeline of each period of expected close: every movement once, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from pdframe import metrics
from pdframe.errors import ArgumentError, DataWarning
from tests.helpers import small_frames
from tests.helpers.tiers import examples

JUNE: dict[str, Any] = {"since": "2026-06-01", "until": "2026-07-01"}
MOVES = [
    "created", "moved_in", "pulled_in", "value_up", "value_down", "pushed_out", "undated", "dated",
    "moved_out", "reopened", "won", "lost", "deleted",
]  # fmt: skip
COLUMNS = ["period", "currency", "start", *MOVES, "end"]
MARCH, FIRST, LATER = "2026-03-01", "2026-06-10", "2026-06-20"
Change = tuple[str, str | None, str | None, str]


def born(
    time: str = MARCH, close: str | None = "2026-07-15", value: str | None = "100", **more: str
) -> list[Change]:
    """The changes of a new open deal."""
    first: dict[str, str | None] = {
        "status": "open", "value": value, "currency": "EUR", "expected_close_date": close, **more,
    }  # fmt: skip
    return [(name, None, after, time) for name, after in first.items() if after is not None]


def history(*deals: Sequence[Change], **more: Any) -> pd.DataFrame:
    """The changelogs of deals 1, 2, ..."""
    return small_frames.history(
        [
            {"deal_id": number, "column": c, "before": b, "after": a, "time": t, **more}
            for number, changes in enumerate(deals, 1)
            for c, b, a, t in changes
        ]
    )


def deals_of(changes: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    ids = changes["deal_id"].drop_duplicates().tolist()
    return pd.DataFrame({"id": pd.array(ids, "Int64")}).assign(**columns)


def moved(*deals: Sequence[Change], **how: Any) -> list[tuple[str | None, dict[str, float]]]:
    """Every period with what is not 0 in it."""
    changes = history(*deals)
    result = metrics.pipeline_movements(changes, deals_of(changes), **{**JUNE, **how})
    assert list(result.columns) == COLUMNS
    closes_exactly(result)
    return [
        (
            None if pd.isna(row["period"]) else f"{row['period']:%Y-%m}",
            {name: row[name] for name in COLUMNS[2:] if row[name] != 0},
        )
        for _, row in result.iterrows()
    ]


def parts(frame: pd.DataFrame, name: str) -> Any:
    """Amounts as the integers that were added up."""
    return np.rint(frame[name].to_numpy(np.float64) * 1e6).astype(np.int64)


def closes_exactly(frame: pd.DataFrame) -> None:
    total = parts(frame, "start") + sum(parts(frame, name) for name in MOVES)
    np.testing.assert_array_equal(total, parts(frame, "end"))


def test_a_deal_that_nothing_happens_to_starts_and_ends() -> None:
    assert moved(born()) == [("2026-07", {"start": 100, "end": 100})]


def test_a_new_deal_is_created() -> None:
    assert moved(born(FIRST)) == [("2026-07", {"created": 100, "end": 100})]


@pytest.mark.parametrize("status", ["won", "lost", "deleted"])
def test_a_deal_leaves_the_pipeline_once(status: str) -> None:
    assert moved([*born(), ("status", "open", status, FIRST)]) == [
        ("2026-07", {"start": 100, status: -100})
    ]


def test_a_deletion_that_only_the_flag_shows_is_one() -> None:
    assert moved([*born(), ("is_deleted", None, "true", FIRST)]) == [
        ("2026-07", {"start": 100, "deleted": -100})
    ]


def test_a_new_deal_that_is_won_at_once_is_in_both() -> None:
    assert moved([*born(FIRST), ("status", "open", "won", LATER)]) == [
        ("2026-07", {"created": 100, "won": -100})
    ]


def test_values_move_up_and_down() -> None:
    changes = [*born(), ("value", "100", "150.5", FIRST), ("value", "150.5", "30", LATER)]
    assert moved(changes) == [
        ("2026-07", {"start": 100, "value_up": 50.5, "value_down": -120.5, "end": 30})
    ]


def test_a_later_close_is_pushed_out_of_one_period_and_moves_into_another() -> None:
    assert moved([*born(), ("expected_close_date", "2026-07-15", "2026-09-01", FIRST)]) == [
        ("2026-07", {"start": 100, "pushed_out": -100}),
        ("2026-09", {"moved_in": 100, "end": 100}),
    ]


def test_an_earlier_close_is_pulled_in_and_moves_out_of_the_other() -> None:
    assert moved([*born(), ("expected_close_date", "2026-07-15", "2026-06-30", FIRST)]) == [
        ("2026-06", {"pulled_in": 100, "end": 100}),
        ("2026-07", {"start": 100, "moved_out": -100}),
    ]


def test_a_close_that_moves_within_its_period_moves_nothing() -> None:
    changes = [*born(), ("expected_close_date", "2026-07-15", "2026-07-31", FIRST)]
    assert moved(changes) == [("2026-07", {"start": 100, "end": 100})]
    assert [name for name, _ in moved(changes, freq="W")] == ["2026-07", "2026-07"]
    changes = [*born(), ("expected_close_date", "2026-07-15", "2026-09-30", FIRST)]
    assert moved(changes, freq="Q") == [("2026-07", {"start": 100, "end": 100})]
    assert [name for name, _ in moved(changes, freq="Q", fiscal_start=3)] == ["2026-06", "2026-09"]


def test_a_date_is_lost_and_given() -> None:
    assert moved([*born(), ("expected_close_date", "2026-07-15", None, FIRST)]) == [
        ("2026-07", {"start": 100, "undated": -100}),
        (None, {"undated": 100, "end": 100}),
    ]
    assert moved([*born(close=None), ("expected_close_date", None, "2026-08-01", FIRST)]) == [
        ("2026-08", {"dated": 100, "end": 100}),
        (None, {"start": 100, "dated": -100}),
    ]


def test_the_value_changes_at_the_old_period_before_the_date_does() -> None:
    changes = [
        *born(),
        ("expected_close_date", "2026-07-15", "2026-08-15", FIRST),
        ("value", "100", "140", FIRST),
    ]
    assert moved(changes) == [
        ("2026-07", {"start": 100, "value_up": 40, "pushed_out": -140}),
        ("2026-08", {"moved_in": 140, "end": 140}),
    ]


def test_a_closing_comes_after_what_changed_with_it() -> None:
    changes = [
        *born(),
        ("status", "open", "won", FIRST),
        ("value", "100", "90", FIRST),
        ("expected_close_date", "2026-07-15", "2026-06-15", FIRST),
    ]
    assert moved(changes) == [
        ("2026-06", {"pulled_in": 90, "won": -90}),
        ("2026-07", {"start": 100, "value_down": -10, "moved_out": -90}),
    ]


@pytest.mark.parametrize("closed", ["won", "lost", "deleted"])
def test_a_deal_that_is_open_again_is_reopened_at_its_value_of_then(closed: str) -> None:
    changes = [
        *born(),
        ("status", "open", closed, "2026-05-01"),
        ("value", "100", "70", "2026-05-02"),
        ("status", closed, "open", FIRST),
    ]
    assert moved(changes) == [("2026-07", {"reopened": 70, "end": 70})]


def test_a_deal_won_and_reopened_in_the_window_is_in_both() -> None:
    changes = [*born(), ("status", "open", "won", FIRST), ("status", "won", "open", LATER)]
    assert moved(changes) == [("2026-07", {"start": 100, "reopened": 100, "won": -100, "end": 100})]


def test_a_deal_imported_as_won_was_never_in_the_pipeline() -> None:
    assert moved([*born(FIRST, status="won")]) == []
    changes = [*born(FIRST, status="won"), ("status", "won", "open", LATER)]
    assert moved(changes) == [("2026-07", {"reopened": 100, "end": 100})]


def test_values_that_are_null_count_nothing_until_they_are_set() -> None:
    changes = history([*born(value=None), ("value", None, "80", FIRST)], born(value=None))
    with pytest.warns(DataWarning, match="2 deals had no value for some of the time"):
        result = metrics.pipeline_movements(changes, deals_of(changes), **JUNE)
    closes_exactly(result)
    assert result[["start", "value_up", "end"]].to_numpy().tolist() == [[0, 80, 80]]


def test_credits_are_below_zero() -> None:
    changes = [*born(value="-50"), ("value", "-50", "-20", FIRST), ("status", "open", "won", LATER)]
    assert moved(changes) == [("2026-07", {"start": -50, "value_up": 30, "won": 20})]


def test_a_change_of_currency_leaves_one_row_and_enters_another() -> None:
    changes = history([*born(), ("currency", "EUR", "USD", FIRST), ("value", "100", "110", FIRST)])
    result = metrics.pipeline_movements(changes, deals_of(changes), **JUNE)
    closes_exactly(result)
    assert result["currency"].tolist() == ["EUR", "USD"]
    assert result["moved_out"].tolist() == [-100, 0]
    assert result["moved_in"].tolist() == [0, 110]
    assert result["value_up"].tolist() == [0, 0]


def test_since_is_inside_the_window_and_until_is_not() -> None:
    at_start = [*born(), ("value", "100", "110", "2026-06-01")]
    at_end = [*born(), ("value", "100", "110", "2026-07-01")]
    assert moved(at_start) == [("2026-07", {"start": 100, "value_up": 10, "end": 110})]
    assert moved(at_end) == [("2026-07", {"start": 100, "end": 100})]
    assert moved(at_end, since="2026-06", until="2026-Q3") == [
        ("2026-07", {"start": 100, "value_up": 10, "end": 110})
    ]


def test_a_window_is_cut_in_the_timezone() -> None:
    changes = history([*born(), ("value", "100", "110", "2026-06-30 22:30")])
    for tz, up in (("UTC", 10), ("Europe/Tallinn", 0)):
        result = metrics.pipeline_movements(changes, deals_of(changes), **JUNE, tz=tz)
        assert result["value_up"].tolist() == [up]


def test_deals_move_between_owners_and_pipelines_but_not_between_todays_labels() -> None:
    changes = history(
        [
            *born(owner_id="7", pipeline_id="1"),
            ("owner_id", "7", "8", FIRST),
            ("pipeline_id", "1", "2", LATER),
            ("value", "100", "120", LATER),
        ]
    )
    deals = deals_of(changes, Region="North", owner_id=[8], owner_name="Bo", pipeline_id=2)
    deals = pd.concat(
        [deals, pd.DataFrame({"id": [2], "owner_id": [7], "owner_name": ["Ada"]})],
        ignore_index=True,
    )

    def of(by: str) -> list[list[Any]]:
        with pytest.warns(DataWarning, match="1 of 2 deals are not in history"):
            result = metrics.pipeline_movements(changes, deals, **JUNE, by=by)
        closes_exactly(result)
        columns = [by.replace("owner", "owner_name") if by == "owner" else by, "start"]
        return result[[*columns, "moved_in", "value_up", "moved_out", "end"]].to_numpy().tolist()

    assert of("owner_id") == [[7, 100, 0, 0, -100, 0], [8, 0, 100, 20, 0, 120]]
    assert of("owner") == [["Ada", 100, 0, 0, -100, 0], ["Bo", 0, 100, 20, 0, 120]]
    assert of("pipeline_id") == [[1, 100, 0, 20, -120, 0], [2, 0, 120, 0, 0, 120]]
    assert of("Region") == [["North", 100, 0, 20, 0, 120]]


def test_archiving_an_open_deal_changes_nothing() -> None:
    assert moved([*born(), ("is_archived", "false", "true", FIRST)]) == [
        ("2026-07", {"start": 100, "end": 100})
    ]


def test_changes_of_one_second_are_one_in_any_order_of_rows() -> None:
    changes = history(
        [
            *born(),
            ("value", "100", "400", FIRST),
            ("value", "400", "90", FIRST),
            ("status", "open", "won", LATER),
            ("status", "won", "open", LATER),
        ]
    )
    for seed in range(5):
        mixed = changes.sample(frac=1, random_state=seed)
        result = metrics.pipeline_movements(mixed, deals_of(changes), **JUNE)
        assert result[["start", "value_down", "won", "end"]].to_numpy().tolist() == [
            [100, -10, 0, 90]
        ]


def test_no_deals_are_no_rows() -> None:
    empty = history()
    deals = pd.DataFrame({"id": pd.array([], "Int64")})
    result = metrics.pipeline_movements(empty, deals, **JUNE)
    assert result.empty
    assert list(result.columns) == COLUMNS
    assert metrics.pipeline_movement_deals(empty, deals, **JUNE).empty


# Snapshots


def snapshots(*rows: tuple[int, str, str | None, str | None, str, str | None]) -> pd.DataFrame:
    """A history from snapshots: deal, column, before, after, time and its lower bound."""
    first = "2026-05-01"
    result = []
    for deal, column, before, after, time, low in rows:
        source = "snapshots" if before is not None or low is not None else "first look"
        row = {"deal_id": deal, "column": column, "before": before, "after": after, "time": time}
        seen = max(time, first) if low is None and source == "snapshots" else time
        result.append({**row, "time_after": low, "source": source, "seen_at": seen})
    return small_frames.history(result)


def first_snapshot(deal: int, time: str, added: str, **more: str) -> list[Any]:
    values = {
        "status": "open", "value": "100", "currency": "EUR", "expected_close_date": "2026-07-15",
        "add_time": f"{added}T00:00:00Z", **more,
    }  # fmt: skip
    return [(deal, name, None, after, time, None) for name, after in values.items()]


def test_a_change_known_by_bounds_counts_with_the_snapshot_that_shows_it() -> None:
    changes = snapshots(
        *first_snapshot(1, "2026-05-01", "2026-01-01"),
        (1, "value", "100", "130", "2026-06-05", "2026-05-29"),
        (1, "expected_close_date", "2026-07-15", "2026-08-15", "2026-07-03", "2026-06-26"),
    )
    result = metrics.pipeline_movements(changes, deals_of(changes), **JUNE)
    closes_exactly(result)
    assert result[["start", "value_up", "pushed_out", "end"]].to_numpy().tolist() == [
        [100, 30, 0, 130]
    ]


def test_a_deal_created_between_snapshots_counts_from_its_creation() -> None:
    changes = snapshots(
        *first_snapshot(1, "2026-05-01", "2026-01-01"),
        *first_snapshot(2, "2026-06-05", "2026-05-30"),
        *first_snapshot(3, "2026-06-05", "2026-06-03"),
    )
    result = metrics.pipeline_movements(changes, deals_of(changes), **JUNE)
    assert result[["start", "created", "end"]].to_numpy().tolist() == [[200, 100, 300]]


def test_a_deal_created_and_won_between_snapshots_is_in_both() -> None:
    rows = first_snapshot(2, "2026-06-12", "2026-06-03", status="won")
    changes = snapshots(
        *first_snapshot(1, "2026-05-01", "2026-01-01"),
        *rows,
        (2, "won_time", None, "2026-06-09T10:00:00Z", "2026-06-12", None),
    )
    result = metrics.pipeline_movements(changes, deals_of(changes), **JUNE)
    assert result[["created", "won", "end"]].to_numpy().tolist() == [[100, -100, 100]]


def test_a_deal_that_the_first_snapshot_lacked_moves_in() -> None:
    changes = snapshots(
        *first_snapshot(1, "2026-05-01", "2026-01-01"),
        *first_snapshot(2, "2026-06-05", "2026-01-01"),
    )
    result = metrics.pipeline_movements(changes, deals_of(changes), **JUNE)
    assert result[["start", "created", "moved_in", "end"]].to_numpy().tolist() == [
        [100, 0, 100, 200]
    ]


def test_a_beginning_before_the_kept_history_is_refused_and_says_when_it_begins() -> None:
    changes = snapshots(
        *first_snapshot(1, "2026-05-01", "2026-01-01"),
        *first_snapshot(2, "2026-05-01", "2026-01-01"),
        *first_snapshot(3, "2026-05-01", "2026-01-01", status="lost"),
        (3, "lost_time", None, "2026-02-01T00:00:00Z", "2026-05-01", None),
    )
    logged = history(born())
    both = pd.concat([changes[changes["deal_id"] != 1], logged], ignore_index=True)
    window = {"since": "2026-04-01", "until": "2026-05-05"}
    with pytest.raises(
        ArgumentError, match=r"begins on 2026-05-01 00:00:00 UTC; 2 of 3 deals have no changelog"
    ):
        metrics.pipeline_movements(changes, deals_of(changes), **window)
    with pytest.raises(ArgumentError, match="1 of 3 deals have no changelog"):
        metrics.pipeline_movements(both, deals_of(changes), **window)
    # What was closed before the window cannot have been in it.
    rest = both[both["deal_id"] != 2]
    result = metrics.pipeline_movements(rest, deals_of(rest), **window)
    assert result[["start", "end"]].to_numpy().tolist() == [[100, 100]]
    kept = metrics.pipeline_movements(changes, deals_of(changes), since="2026-05-01", until="2026")
    assert kept["end"].tolist() == [200]


def test_deals_without_history_are_counted_and_left_out() -> None:
    changes = history(born())
    deals = small_frames.deals([{}, {}, {"status": "deleted", "is_deleted": True}])
    with pytest.warns(DataWarning, match="2 of 3 deals are not in history, 1 of them deleted"):
        result = metrics.pipeline_movements(changes, deals, **JUNE)
    assert result["start"].tolist() == [100]


# Rows


def test_every_movement_leads_to_its_deals() -> None:
    changes = history(
        [*born(), ("expected_close_date", "2026-07-15", "2026-08-15", FIRST)],
        [*born(FIRST), ("status", "open", "won", LATER)],
        born(close="2026-08-01"),
    )
    deals = deals_of(changes, title=["Roof", "Door", "Wall"], owner_name="Ada")
    table = metrics.pipeline_movements(changes, deals, **JUNE)
    rows = metrics.pipeline_movement_deals(changes, deals, **JUNE)
    assert list(rows.columns) == [
        "deal_id", "title", "owner_name", "time", "period", "currency", "movement", "amount",
    ]  # fmt: skip
    for place in range(len(table)):
        cell = metrics.drill_through(table.iloc[place], rows)
        sums = cell.groupby("movement", observed=False)["amount"].sum()
        assert sums.tolist() == table.iloc[place][["start", *MOVES, "end"]].tolist()
    july = metrics.drill_through(table.iloc[0], rows)
    assert july.loc[july["movement"] == "pushed_out", "deal_id"].tolist() == [1]
    assert july.loc[july["movement"] == "won", "title"].tolist() == ["Door"]
    assert rows.loc[rows["movement"].isin(["start", "end"]), "time"].isna().all()
    assert rows.loc[rows["movement"] == "won", "time"].tolist() == [pd.Timestamp(LATER, tz="UTC")]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"freq": "D"}, "freq"),
        ({"since": None}, "since"),
        ({"since": "2026-08-01"}, "not before"),
        ({"by": "nothing"}, "no column 'nothing'"),
        ({"by": "won"}, "column 'won' of its own"),
        ({"by": "movement"}, "column 'movement' of its own"),
    ],
)
def test_wrong_arguments_are_named(how: dict[str, Any], message: str) -> None:
    changes = history(born())
    with pytest.raises(ArgumentError, match=message):
        metrics.pipeline_movements(changes, deals_of(changes), **{**JUNE, **how})


# Any life of any deals, against a replay by hand

DAYS = [f"2026-{month:02}-{day:02}" for month in (5, 6, 7) for day in (1, 9, 17, 25)]
CLOSES = [None, "2026-06-15", "2026-07-01", "2026-07-31", "2026-09-09"]
VALUES = [None, "0", "-10.5", "0.000001", "33.333333", "250"]
STATUSES = ["open", "won", "lost", "deleted"]


@st.composite
def lives(draw: st.DrawFn) -> list[Change]:
    """The changelog of a deal, of which any columns change on any days."""
    begin = draw(st.integers(0, 8))
    state: dict[str, str | None] = {
        "status": draw(st.sampled_from(["open", "open", "won"])),
        "value": draw(st.sampled_from(VALUES)),
        "currency": draw(st.sampled_from(["EUR", "USD"])),
        "expected_close_date": draw(st.sampled_from(CLOSES)),
        "owner_id": draw(st.sampled_from(["1", "2"])),
    }
    changes: list[Change] = [(n, None, v, DAYS[begin]) for n, v in state.items() if v is not None]
    options: dict[str, list[Any]] = {
        "status": STATUSES, "value": VALUES, "currency": ["EUR", "USD"],
        "expected_close_date": CLOSES, "owner_id": ["1", "2"],
    }  # fmt: skip
    for day in DAYS[begin + 1 :]:
        for name in draw(st.lists(st.sampled_from(list(options)), max_size=3, unique=True)):
            new = draw(st.sampled_from(options[name]))
            if new != state[name]:
                changes.append((name, state[name], new, day))
                state[name] = new
    return changes


def replayed(deals: Sequence[Sequence[Change]], before: str) -> dict[tuple[Any, ...], int]:
    """The value of the open deals by owner, month and currency, just before a day."""
    result: dict[tuple[Any, ...], int] = {}
    for changes in deals:
        state: dict[str, Any] = {}
        for name, _, after, day in changes:
            if day < before:
                state[name] = after
        if state.get("status") != "open":
            continue
        close = state.get("expected_close_date")
        key = (int(state["owner_id"]), close and close[:7], state["currency"])
        amount = round(float(state.get("value") or 0) * 1e6)
        result[key] = result.get(key, 0) + amount
    return result


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(lives(), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_any_life_is_split_exactly(deals: list[list[Change]], random: Any) -> None:
    changes = history(*deals)
    order = [*range(len(changes))]
    random.shuffle(order)
    known = deals_of(changes)
    how: dict[str, Any] = {"since": DAYS[4], "until": DAYS[9], "by": "owner_id"}
    result = metrics.pipeline_movements(changes.iloc[order], known, **how)
    closes_exactly(result)
    for name, day in (("start", DAYS[4]), ("end", DAYS[9])):
        shown = {
            (owner, None if pd.isna(period) else f"{period:%Y-%m}", currency): int(amount)
            for owner, period, currency, amount in zip(
                result["owner_id"], result["period"], result["currency"], parts(result, name),
                strict=True,
            )
            if amount
        }  # fmt: skip
        assert shown == {key: amount for key, amount in replayed(deals, day).items() if amount}
    rows = metrics.pipeline_movement_deals(changes, known, **how)
    # What leaves a row of the table enters another one.
    switched = changes.loc[changes["column"].eq("currency") & changes["before"].notna(), "deal_id"]
    shifts = ["moved_in", "pulled_in", "pushed_out", "undated", "dated", "moved_out"]
    inside = rows[rows["movement"].isin(shifts) & ~rows["deal_id"].isin(switched)]
    assert parts(inside, "amount").sum() == 0
    halves = [(DAYS[4], DAYS[6]), (DAYS[6], DAYS[9])]
    first, second = (
        metrics.pipeline_movements(changes, known, since=since, until=until, by="owner_id")
        for since, until in halves
    )
    keys = ["owner_id", "period", "currency"]
    ends = first[first["end"] != 0][[*keys, "end"]].rename(columns={"end": "start"})
    starts = second[second["start"] != 0][[*keys, "start"]]
    pd.testing.assert_frame_equal(
        ends.reset_index(drop=True), starts.reset_index(drop=True), check_dtype=False
    )

"""Deals and visits as they were known at a time."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdframe import sandbox
from pdframe.cache.snapshots import SnapshotLog
from pdframe.errors import ArgumentError, DataWarning
from pdframe.frames import to_frame
from pdframe.metrics import as_of
from pdframe.schema.snapshots import HISTORY, TRACKED_COLUMNS
from tests.helpers.cache_files import store_of
from tests.helpers.notices import notes_in, noticed
from tests.helpers.tiers import examples
from tests.helpers.visit_frames import ID_OF, day, known_visits, times

STATUS = pd.CategoricalDtype(["open", "won", "lost", "deleted"])
TIMES = ("add_time", "update_time", "stage_change_time", "close_time", "won_time", "lost_time")


def deals(*rows: dict[str, Any]) -> pd.DataFrame:
    """Days for times; what is not given is null."""
    frame = pd.DataFrame(
        rows,
        columns=[
            "id",
            "title",
            "stage_id",
            "pipeline_id",
            "status",
            "value",
            "currency",
            "is_archived",
            *TIMES,
        ],
    )
    for name in TIMES:
        frame[name] = times(None if pd.isna(at) else at for at in frame[name])
    ids = dict.fromkeys(("id", "stage_id", "pipeline_id"), "Int64")
    return frame.astype(
        {
            **ids,
            "title": "str",
            "currency": "str",
            "status": STATUS,
            "value": "float64",
            "is_archived": "boolean",
        }
    )


def snapshots(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """Rows of the kept history: deal, day seen, stage, status, value, gone."""
    return pd.DataFrame(
        {
            "deal_id": pd.array([row[0] for row in rows], "Int64"),
            "stage_id": pd.array([ID_OF[row[2]] for row in rows], "Int64"),
            "pipeline_id": pd.array([1] * len(rows), "Int64"),
            "status": pd.Categorical([row[3] for row in rows], dtype=STATUS),
            "value": pd.array([row[4] for row in rows], "float64"),
            "currency": pd.Series(["EUR"] * len(rows), dtype="str"),
            "is_archived": pd.array([False] * len(rows), "boolean"),
            "add_time": times([0] * len(rows)),
            "won_time": times(row[1] - 1 if row[3] == "won" else None for row in rows),
            "gone": pd.array([row[5] for row in rows], "boolean"),
            "seen_at": times(row[1] for row in rows),
        }
    )


NOW = deals(
    {
        "id": 1,
        "title": "Moved on",
        "stage_id": 13,
        "pipeline_id": 1,
        "status": "won",
        "value": 9.0,
        "currency": "EUR",
        "is_archived": False,
        "add_time": 0,
        "update_time": 70,
        "stage_change_time": 40,
        "close_time": 70,
        "won_time": 70,
    },
    {
        "id": 2,
        "title": "Never seen then",
        "stage_id": 11,
        "pipeline_id": 1,
        "status": "open",
        "value": 5.0,
        "currency": "EUR",
        "is_archived": False,
        "add_time": 10,
        "update_time": 10,
    },
    {
        "id": 3,
        "title": "Later",
        "stage_id": 11,
        "pipeline_id": 1,
        "status": "open",
        "value": 5.0,
        "currency": "EUR",
        "is_archived": False,
        "add_time": 60,
    },
    {
        "id": 5,
        "title": "Told by the changelog",
        "stage_id": 13,
        "pipeline_id": 1,
        "status": "open",
        "value": 5.0,
        "currency": "EUR",
        "is_archived": True,
        "add_time": 0,
        "update_time": 90,
        "stage_change_time": 80,
    },
)
LOG = snapshots(
    (1, 10, "A", "open", 7.0, False),
    (1, 45, "B", "open", 8.0, False),
    (1, 80, "C", "won", 9.0, False),
    (4, 10, "A", "open", 3.0, False),
    (4, 90, "A", "deleted", 3.0, True),
    (6, 10, "A", "open", 3.0, False),
    (6, 20, "A", "deleted", 3.0, True),
    (7, 10, "A", "open", 1.0, False),
    (7, 30, "B", "won", 2.0, False),
    (7, 95, "B", "won", 2.0, True),
)
VISITS = pd.concat(
    [
        known_visits(
            (1, "C", 40, 70, "won"),
            (2, "A", 10, None, "open"),
            (3, "A", 60, None, "open"),
            source="snapshots",
            seen=80,
        ),
        known_visits(
            (5, "A", 0, 20, "advanced"), (5, "B", 20, 80, "advanced"), (5, "C", 80, None, "open")
        ),
        known_visits((8, "A", 5, 20, "lost"), (8, "A", 30, 40, "deleted"), (9, "A", 5, 55, "lost")),
    ],
    ignore_index=True,
)


def test_deals_as_they_were_known() -> None:
    with noticed(
        (
            r"the values of 3 of 6 deals on 2026-02-20 00:00 UTC are unknown because no snapshot of"
            r" the kept"
        ),
    ):
        then, _ = as_of(NOW, VISITS, day(50), LOG)  # type: ignore[arg-type]
    expected = deals(
        # As the look of day 45 found it: not the stage it reached on day 40, which was seen on day
        # 80.
        {
            "id": 1,
            "stage_id": 12,
            "pipeline_id": 1,
            "status": "open",
            "value": 8.0,
            "currency": "EUR",
            "is_archived": False,
            "add_time": 0,
        },
        # Added by then, but after the snapshot.
        {"id": 2, "add_time": 10},
        # Deleted since, from history.
        {
            "id": 4,
            "stage_id": 11,
            "pipeline_id": 1,
            "status": "open",
            "value": 3.0,
            "currency": "EUR",
            "is_archived": False,
            "add_time": 0,
        },
        # Its changelog has stage and status; its value then is unknown.
        {
            "id": 5,
            "stage_id": 12,
            "pipeline_id": 1,
            "status": "open",
            "add_time": 0,
            "stage_change_time": 20,
        },
        # Won by then, and gone since.
        {
            "id": 7,
            "stage_id": 12,
            "pipeline_id": 1,
            "status": "won",
            "value": 2.0,
            "currency": "EUR",
            "is_archived": False,
            "add_time": 0,
            "close_time": 29,
            "won_time": 29,
        },
        # Only the changelog knows that it was there; it was lost later.
        {"id": 9, "stage_id": 11, "pipeline_id": 1, "status": "open", "add_time": 5},
    )
    pd.testing.assert_frame_equal(then, expected)


def test_visits_as_they_were_known() -> None:
    with pytest.warns(DataWarning):
        _, then = as_of(NOW, VISITS, day(50), LOG)  # type: ignore[arg-type]
    expected = known_visits(
        (5, "A", 0, 20, "advanced"),
        (5, "B", 20, None, "open"),
        (8, "A", 5, 20, "lost"),
        (8, "A", 30, 40, "deleted"),
        (9, "A", 5, None, "open"),
    )
    pd.testing.assert_frame_equal(then, expected)


def test_without_history_only_the_changelog_tells() -> None:
    with noticed("the values of 4 of 4 deals.*no history is passed"):
        then, _ = as_of(NOW, VISITS, day(50))  # type: ignore[arg-type]
    assert then["id"].tolist() == [1, 2, 5, 9]
    assert then["status"].astype(object).where(then["status"].notna(), None).tolist() == [
        None,
        None,
        "open",
        "open",
    ]
    assert then[["title", "value", "currency", "is_archived", "update_time"]].isna().all().all()


def test_a_status_that_no_deal_has_today_is_reported() -> None:
    """Today's frame has its statuses as categories, and two of the five of then are not among
    them.
    """
    today = NOW.assign(status=NOW["status"].cat.remove_unused_categories())
    log = LOG.assign(
        status=LOG["status"]
        .astype("str")
        .mask(LOG["deal_id"] == 4, "pending")
        .mask(LOG["deal_id"] == 7, "lost")
    )
    with noticed("the values of 3 of 6 deals"):
        then, _ = as_of(today, VISITS, day(50), log)  # type: ignore[arg-type]
    assert then.set_index("id")["status"][[1, 4, 5, 7]].tolist() == [
        "open",
        "pending",
        "open",
        "lost",
    ]
    assert [*then["status"].cat.categories] == ["open", "won", "lost", "pending"]


def test_columns_whose_names_are_no_text() -> None:
    deals = NOW.rename(columns={"title": 5})
    deals.insert(2, ("a", "b"), 1.5)
    with noticed("the values of 3 of 6 deals"):
        then, _ = as_of(deals, VISITS, day(50), LOG)  # type: ignore[arg-type]
    assert [*then] == [*deals]
    assert then[5].isna().all()
    levels = NOW.set_axis(pd.MultiIndex.from_product([NOW.columns, [""]]), axis=1)
    with pytest.raises(ArgumentError, match="deals have names of 2 parts"):
        as_of(levels, VISITS, day(50), LOG)


def test_before_the_history_begins() -> None:
    with noticed(r"begins on 2026-01-11 00:00"):
        then, _ = as_of(NOW, VISITS, day(5), LOG)  # type: ignore[arg-type]
    assert then["id"].tolist() == [1, 5, 8, 9]


def test_a_bare_date_is_the_end_of_that_day_in_tz() -> None:
    visits = known_visits((1, "A", 0, 9.97, "lost"))
    for tz, status in (("UTC", "lost"), ("Europe/Berlin", "open")):
        with pytest.warns(DataWarning):
            then, _ = as_of(NOW, visits, "2026-01-10", tz=tz)
        assert then.set_index("id")["status"][1] == status


def changed(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """Rows of deal_history: deal, column, before, after, day (and day seen, where it is later)."""
    frame = pd.DataFrame({"deal_id": pd.array([row[0] for row in rows], "Int64")})
    for place, name in enumerate(("column", "before", "after"), 1):
        frame[name] = pd.Series([row[place] for row in rows], dtype="str")
    frame["time"], frame["seen_at"] = times(row[4] for row in rows), times(row[-1] for row in rows)
    return frame


CHANGES = changed(
    (2, "value", None, "5", 10),
    (2, "currency", None, "EUR", 10),
    (2, "stage_id", None, "11", 10),
    (2, "value", "5", "6.25", 20),
    (2, "owner_id", None, "7", 60),
    (2, "expected_close_date", "2026-01-05", "9998-12-01", 30),
    (2, "is_archived", None, "true", 30, 40),
)


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_values_from_changes() -> None:
    now = NOW.assign(
        owner_id=pd.array([7] * len(NOW), "Int64"),
        expected_close_date=pd.Series([pd.NaT] * len(NOW), dtype="datetime64[us]"),
    )
    result = {
        when: as_of(now, VISITS, day(when), CHANGES)[0].set_index("id").loc[2]
        for when in (10, 19, 20, 35, 40, 60)
    }
    assert [row["value"] for row in result.values()] == [5, 5, 6.25, 6.25, 6.25, 6.25]
    assert [None if pd.isna(row["owner_id"]) else row["owner_id"] for row in result.values()] == [
        None
    ] * 5 + [7]
    assert [pd.isna(row["is_archived"]) for row in result.values()] == [True] * 4 + [False] * 2
    assert (result[35]["currency"], result[35]["stage_id"]) == ("EUR", 11)
    assert str(result[35]["expected_close_date"].date()) == "9998-12-01"
    assert pd.isna(result[20]["expected_close_date"])


def test_a_change_that_cannot_be_read_is_null_with_a_warning() -> None:
    odd = [
        ("value", "a lot"),
        ("stage_id", "1.5"),
        ("owner_id", "9" * 40),
        ("is_archived", "perhaps"),
        ("won_time", "2026-02-31"),
    ]
    history = changed(
        *((2, name, None, value, 10) for name, value in odd), (2, "currency", None, "EUR", 10)
    )
    with pytest.warns(DataWarning) as said:
        row = (
            as_of(NOW.assign(owner_id=pd.array([7] * 4, "Int64")), VISITS, day(30), history)[0]
            .set_index("id")
            .loc[2]
        )
    assert row[[name for name, _ in odd]].isna().all()
    assert row["currency"] == "EUR"
    message = next(note for note in notes_in(said) if "cannot be read are null" in note)
    assert all(f"1 of {name} (for example {value[:40]!r})" in message for name, value in odd)


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_changes_of_one_second_and_deletions() -> None:
    back = changed(
        (2, "value", None, "1", 5), (2, "value", "1", "2", 10), (2, "value", "2", "1", 10)
    )
    deleted = changed(
        (2, "is_deleted", "false", "true", 30), (2, "is_deleted", "true", "false", 50)
    )
    history = pd.concat([back, deleted], ignore_index=True)
    for seed in range(5):
        mixed = history.sample(frac=1, random_state=seed)
        assert as_of(NOW, VISITS, day(20), mixed)[0].set_index("id")["value"][2] == 1
        assert [
            2 in as_of(NOW, VISITS, day(when), mixed)[0]["id"].tolist() for when in (29, 30, 49, 50)
        ] == [True, False, False, True]


def test_nothing_and_wrong_arguments() -> None:
    then, visits = as_of(NOW.iloc[:0], known_visits(), "2026-01-10", LOG.iloc[:0])
    assert (len(then), len(visits)) == (0, 0)
    pd.testing.assert_series_equal(then.dtypes, NOW.dtypes)
    pd.testing.assert_series_equal(visits.dtypes, known_visits().dtypes)
    for change, message in (
        ({"when": "then"}, "when='then' is not a time"),
        ({"history": LOG.drop(columns="gone")}, "history has no column 'gone'"),
        ({"deals": NOW.drop(columns="add_time")}, "deals has no column 'add_time'"),
        ({"visits": known_visits().drop(columns="seen_at")}, "visits has no column 'seen_at'"),
    ):
        given_: dict[str, Any] = {
            "deals": NOW,
            "visits": VISITS,
            "when": "2026-01-10",
            "history": LOG,
            **change,
        }
        with pytest.raises(ArgumentError, match=message):
            as_of(given_.pop("deals"), given_.pop("visits"), given_.pop("when"), **given_)


@settings(max_examples=examples(25), deadline=None)
@given(st.integers(0, 100), st.randoms(use_true_random=False))
def test_the_future_changes_no_cell(when: int, random: Any) -> None:
    now, log, visits = NOW.copy(), LOG[LOG["seen_at"] <= day(when)], VISITS
    known = now["add_time"] <= day(when)
    for name, others in {
        "title": ["x", None],
        "stage_id": [12, 21],
        "status": ["lost", "open"],
        "value": [1.5, None],
    }.items():
        for row in now.index:
            now.loc[row, name] = random.choice(others)
    now["update_time"] = day(200)
    # Deals that came later go, others come; those whose past is kept may be deleted.
    kept = now["id"].isin(log["deal_id"]) | (now["id"] == 5)
    now = now[known & ~(kept & (random.random() < 0.5))]
    now = pd.concat(
        [now, deals({"id": 77, "status": "open", "add_time": when + 1, "is_archived": False})],
        ignore_index=True,
    )
    log = pd.concat(
        [
            log,
            snapshots(
                (1, when + 1, "B", "lost", 1.0, True), (77, when + 2, "C", "won", 4.0, False)
            ),
        ],
        ignore_index=True,
    )
    later = (visits["entered_at"] > day(when)) | (
        (visits["source"] != "changelog") & (visits["seen_at"] > day(when))
    )
    other = visits[~later].reset_index(drop=True)
    open_then = other["left_at"].isna() | (other["left_at"] > day(when))
    other.loc[open_then, "left_at"], other.loc[open_then, "end"] = (
        day(when + 3),
        random.choice(["won", "lost", "deleted", "advanced"]),
    )
    other = pd.concat(
        [other, known_visits((77, "A", when + 1, None, "open"), (9, "C", when + 4, None, "open"))],
        ignore_index=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        first = as_of(NOW, VISITS, day(when), LOG)  # type: ignore[arg-type]
        second = as_of(now, other, day(when), log)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(first[0], second[0])
    pd.testing.assert_frame_equal(first[1], second[1])


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_the_account_s_own_past() -> None:
    """What an account showed at each snapshot is what it shows of it later, from deals, visits and
    history of today.
    """
    with sandbox.connect(
        seed=3, deals=80, company="hostile", burst=100_000, progress=False
    ) as account:
        shown, reported = [], []
        for _ in range(3):
            account.sync("deals", "stages")
            account.deal_changes(refresh=True)
            shown.append(account.deals(refresh=False, labels=False))
            reported.append(account.stage_visits(refresh=False))
            account.advance(days=20)
        account.sync("deals", "stages")
        account.deal_changes(refresh=True)
        deals_now, visits_now = (
            account.deals(refresh=False, labels=False),
            account.stage_visits(refresh=False),
        )
        rows = SnapshotLog(store_of(account)).rows()
        history = to_frame(rows, HISTORY)
        moments = (
            pd.Series(SnapshotLog(store_of(account)).snapshots()["seen_at"].to_pandas())
            .drop_duplicates()
            .tolist()
        )
    for moment, before, visits_before in zip(moments, shown, reported, strict=False):
        then, visits_then = as_of(deals_now, visits_now, moment, history)
        assert then["id"].tolist() == before["id"].tolist()
        pd.testing.assert_frame_equal(then[list(TRACKED_COLUMNS)], before[list(TRACKED_COLUMNS)])
        exact = visits_before[visits_before["source"] == "changelog"].reset_index(drop=True)
        same = visits_then[visits_then["deal_id"].isin(exact["deal_id"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(same, exact)
        assert len(np.unique(exact["deal_id"])) > 30


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
@pytest.mark.parametrize("seed", [3, 4])
def test_between_two_snapshots_nothing_is_known_that_only_the_later_one_detected(seed: int) -> None:
    """What the cache of an account shows of a time without a snapshot is what it shows of that time
    after later looks.
    """
    closings = 0
    with sandbox.connect(
        seed=seed, deals=150, company="hostile", burst=100_000, progress=False
    ) as account:
        reported: list[tuple[pd.Timestamp, pd.DataFrame, pd.DataFrame]] = []
        for _ in range(4):
            account.sync("deals", "stages")
            account.advance(days=15)
            now = pd.Timestamp(account.company_model.now, unit="s", tz="UTC")
            reported.append(
                (
                    now,
                    account.deals(refresh=False, labels=False),
                    account.stage_visits(refresh=False),
                )
            )
            account.advance(days=10)
        account.sync("deals", "stages")
        deals_now, visits_now = (
            account.deals(refresh=False, labels=False),
            account.stage_visits(refresh=False),
        )
        for now, deals_before, visits_before in reported:
            then, visits_then = as_of(deals_now, visits_now, now, account.as_of(now))
            # Whether looks or the current state alone tell of a stay changes with later looks;
            # nothing else does.
            pd.testing.assert_frame_equal(
                visits_then.drop(columns="source"), visits_before.drop(columns="source")
            )
            seen = then["id"].isin(deals_before["id"])
            pd.testing.assert_frame_equal(
                then.loc[seen, list(TRACKED_COLUMNS)].reset_index(drop=True),
                deals_before[list(TRACKED_COLUMNS)],
            )
            assert then.loc[~seen, ["stage_id", "status", "value"]].isna().all(axis=None)
            # Without history, closings count from their own time: those between the looks are what
            # it takes back.
            without = as_of(deals_now, visits_now, now)[1]
            other = without["left_at"].notna() & visits_then["left_at"].isna()
            assert without.loc[other, "end"].isin(["won", "lost"]).all()
            closings += int(other.sum())
            pd.testing.assert_frame_equal(without[~other], visits_then[~other])
    assert closings > 5

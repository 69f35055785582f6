"""From a result's row back to the rows it counts."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import pytest

from pdframe.errors import ArgumentError
from pdframe.metrics import drill_through, stage_survival, stage_velocity
from tests.helpers.visits_by_hand import day, frame_of, one_visit, stages_of

STAGES = stages_of((11, 1, 1, "Lead"), (12, 1, 2, "Demo"))
DEALS = pd.DataFrame({"id": [1, 2, 3], "owner_id": [5, None, None]}, dtype="Int64").assign(
    value=[10.0, 10.0, 20.0]
)


def visits() -> pd.DataFrame:
    """Stays, with the columns of deals beside them; one of a deleted stage in no known pipeline."""
    frame = frame_of(
        [
            one_visit(1, 11, 0, 2),
            one_visit(1, 12, 2, 5),
            one_visit(2, 11, 1, 3),
            one_visit(2, 12, 3, 3),
            one_visit(3, 11, 4, 9),
            one_visit(3, 90, 9),
        ]
    )
    frame.loc[5, "pipeline_id"] = pd.NA
    return frame.merge(DEALS.rename(columns={"id": "deal_id"}), on="deal_id")


@pytest.mark.parametrize("by", [None, "owner_id", "value", ["value", "owner_id"], "end", "deal_id"])
@pytest.mark.parametrize("as_frame", [False, True])
def test_every_row_leads_to_the_visits_it_counts(by: Any, as_frame: bool) -> None:
    known_visits = visits()
    result = stage_velocity(known_visits, STAGES, as_of=day(20), by=by)
    match = [
        drill_through(result.iloc[[at]] if as_frame else result.iloc[at], known_visits)
        for at in range(len(result))
    ]
    assert [len(rows) for rows in match] == result["visits"].tolist()
    full = pd.concat(match).sort_values(["deal_id", "entered_at", "stage_id"], ignore_index=True)
    pd.testing.assert_frame_equal(full, known_visits)


def test_null_keys_match_null() -> None:
    result = stage_velocity(visits(), STAGES, as_of=day(20), by="owner_id")
    row = result[result["owner_id"].isna() & (result["stage_id"] == 90)].iloc[0]
    assert pd.isna(row["pipeline_id"])
    assert drill_through(row, visits())[["deal_id", "stage_id"]].values.tolist() == [[3, 90]]
    # A stage that STAGES lacks has a row for the groups that visited it, a listed one for all.
    assert (result["stage_id"] == 90).sum() == 1
    deals = stage_velocity(visits(), STAGES, as_of=day(20), by="deal_id")
    never = deals[(deals["deal_id"] == 3) & (deals["stage_id"] == 12)]
    empty = drill_through(never, visits())
    assert (len(empty), list(empty.columns)) == (0, list(visits().columns))


def test_a_row_of_the_curve_leads_to_the_visits_of_its_stage() -> None:
    known_visits = visits()
    curve = stage_survival(known_visits, STAGES, as_of=day(20), by="owner_id")
    row = curve[(curve["owner_id"].isna()) & (curve["stage_id"] == 11)].iloc[0]
    assert drill_through(row, known_visits)["deal_id"].tolist() == [2, 3]
    assert drill_through(row, known_visits, keys="stage_id")["deal_id"].tolist() == [1, 2, 3]


def test_where_the_note_of_keys_is_lost_measures_are_reported_by_name() -> None:
    known_visits = visits().assign(open=True, low=-1.0, basis="none")
    result = stage_velocity(visits(), STAGES, as_of=day(20), by="owner_id")
    plain = pd.DataFrame({name: result[name] for name in result.columns})
    assert "keys" not in plain.attrs
    for at in range(len(result)):
        pd.testing.assert_frame_equal(
            drill_through(plain.iloc[at], known_visits),
            drill_through(result.iloc[at], known_visits),
        )


def test_equal_columns_of_every_kind() -> None:
    rows = pd.DataFrame(
        {
            "month": pd.Series(pd.to_datetime(["2026-01-01", "2026-02-01", None])).dt.as_unit("us"),
            "currency": pd.Categorical(["EUR", "USD", None]),
            "flag": pd.array([True, None, False], "boolean"),
            "customer": ["a", None, "b"],
            "org_id": pd.array([2**53 + 1, 2**53, None], "Int64"),
            "mrr": [1.0, 2.0, 3.0],
        }
    )
    for at in range(3):
        for name in rows.columns[:5]:
            match = drill_through(rows[[name, "mrr"]].iloc[[at]], rows)
            pd.testing.assert_frame_equal(match, rows.iloc[[at]].reset_index(drop=True))


@pytest.mark.parametrize(
    ("row", "level", "keys", "message"),
    [
        (
            "result",
            "visits",
            None,
            "result_row must be a row of a result, such as result.iloc[0], not str.",
        ),
        (slice(0, 2), "visits", None, "result_row holds 2 rows; pass one"),
        (slice(0, 0), "visits", None, "result_row holds 0 rows; pass one"),
        (0, "nothing", None, "row_level must be a DataFrame, not"),
        (
            0,
            "bare",
            None,
            (
                "row_level has no column 'owner_id', a key of the row, so more rows would match"
                " than it counts."
            ),
        ),
        (0, "visits", ["stage_id", "month"], "keys: the row has no 'month'."),
    ],
)
def test_wrong_arguments(row: Any, level: str, keys: Any, message: str) -> None:
    result = stage_velocity(visits(), STAGES, as_of=day(20), by="owner_id")
    levels: dict[str, Any] = {
        "visits": visits(),
        "bare": visits().drop(columns="owner_id"),
        "nothing": None,
    }
    with pytest.raises(ArgumentError, match=re.escape(message)):
        drill_through(row if isinstance(row, str) else result.iloc[row], levels[level], keys=keys)

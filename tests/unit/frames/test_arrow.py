import math

import pandas as pd
import pytest

from pdframe.errors import DataWarning
from pdframe.fields import read_fields
from pdframe.frames import storage_schema, to_arrow, to_frame, unify
from tests.helpers.frames_material import (
    ACTIVITIES,
    BUDGET,
    DEALS,
    FIELDS,
    PERSONS,
    REGION,
    SPEND,
    field,
    through_parquet,
    typed,
)


def one(column: str, value: object, table=DEALS, fields=()) -> object:
    """What a single cell becomes; the problem's example where it does not fit."""
    arrow, problems = to_arrow([{"id": 1, column: value}], table, fields)
    assert arrow.num_rows == 1
    if problems:
        assert arrow[column].to_pylist() == [None]
        assert problems.cells[column][0] == 1
        return "unfit"
    return arrow[column].to_pylist()[0]


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("owner_id", 3.0, 3),
        ("owner_id", "3", 3),
        ("owner_id", "-9223372036854775807", 1 - 2**63),
        ("owner_id", "-9223372036854775808", "unfit"),
        ("owner_id", 2**63, "unfit"),
        ("owner_id", 10**400, "unfit"),
        ("owner_id", "9" * 19, "unfit"),
        ("owner_id", 3.5, "unfit"),
        ("owner_id", True, "unfit"),
        ("owner_id", " 3", 3),
        ("owner_id", "٣", "unfit"),
        ("owner_id", {"id": 3}, "unfit"),
        ("owner_id", math.nan, "unfit"),
        ("value", "12.50", 12.5),
        ("value", "-1e3", -1000.0),
        ("value", 7, 7.0),
        ("value", 2**60 + 1, float(2**60)),
        ("value", "NaN", "unfit"),
        ("value", "Infinity", "unfit"),
        ("value", math.inf, "unfit"),
        ("value", math.nan, "unfit"),
        ("value", "1_000", "unfit"),
        ("value", "1,5", "unfit"),
        ("value", "", "unfit"),
        ("value", True, "unfit"),
        ("value", 10**400, "unfit"),
        ("value", "1e999", "unfit"),
        ("is_deleted", 1, True),
        ("is_deleted", 0, False),
        ("is_deleted", 2, "unfit"),
        ("is_deleted", "Y", "unfit"),
        ("is_deleted", "true", True),
        ("title", 5, "5"),
        ("title", "a\0b", "a\0b"),
        ("title", "\ud800x", "\ufffdx"),
        ("title", "", ""),
        ("title", ["x"], "unfit"),
        ("title", True, "unfit"),
        ("origin_id", 17, "17"),
        ("label_ids", [1, "2", 3.0], [1, 2, 3]),
        ("label_ids", [1, None], [1, None]),
        ("label_ids", 4, [4]),
        ("label_ids", [], []),
        ("label_ids", [1, "x"], "unfit"),
        ("label_ids", [True], "unfit"),
        ("label_ids", {"a": 1}, "unfit"),
        ("expected_close_date", "0000-00-00", "unfit"),
        ("expected_close_date", "0000-01-01", "unfit"),
        ("expected_close_date", "2026-02-30", "unfit"),
        ("expected_close_date", "2026-1-1", "unfit"),
        ("expected_close_date", "2026-01-01T00:00:01Z", "unfit"),
        ("expected_close_date", 20260101, "unfit"),
        ("add_time", "2026-13-01T00:00:00Z", "unfit"),
        ("add_time", "2026-01-01", "unfit"),
        ("add_time", "0000-00-00 00:00:00", "unfit"),
        ("add_time", "0000-01-01T00:00:00Z", "unfit"),
        ("add_time", "9999-12-31T23:59:59-23:00", "unfit"),
        ("add_time", "0001-01-01T00:00:00+23:00", "unfit"),
        ("add_time", 1767225600, "unfit"),
        ("add_time", "now", "unfit"),
    ],
)
def test_cells_that_fit_and_cells_that_do_not(column, value, expected) -> None:
    assert one(column, value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01T02:03:04Z", "2026-01-01T02:03:04+00:00"),
        ("2026-01-01T02:03:04.123Z", "2026-01-01T02:03:04.123000+00:00"),
        ("2026-01-01T02:03:04.123456789Z", "2026-01-01T02:03:04.123456+00:00"),
        ("2026-01-01T02:03:04+02:00", "2026-01-01T00:03:04+00:00"),
        ("2026-01-01T02:03:04-0130", "2026-01-01T03:33:04+00:00"),
        ("2026-01-01 02:03:04", "2026-01-01T02:03:04+00:00"),
        ("2026-01-01T02:03:04", "2026-01-01T02:03:04+00:00"),
        ("1969-12-31T23:59:59.500Z", "1969-12-31T23:59:59.500000+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
    ],
)
def test_times(text, expected) -> None:
    assert one("add_time", text).isoformat() == expected
    mixed = typed(
        [
            {"id": 1, "add_time": text},
            {"id": 2, "add_time": "2026-01-01T00:00:00+01:00"},
            {"id": 3, "add_time": "2026-01-01 00:00"},
        ]
    )
    assert mixed["add_time"].to_pylist()[0].isoformat() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("01:00:00", "0 days 01:00:00"),
        ("100:30:15", "4 days 04:30:15"),
        ("00:15", "0 days 00:15:00"),
        ("01:60:00", None),
        ("-01:00:00", None),
        ("x", None),
        (60, None),
    ],
)
def test_durations(text, expected) -> None:
    arrow, problems = to_arrow([{"id": 1, "duration": text}], ACTIVITIES)
    assert bool(problems) is (expected is None)
    assert to_frame(arrow, ACTIVITIES)["duration"].tolist() == [
        pd.NaT if expected is None else pd.Timedelta(expected)
    ]


def test_problems_count_and_show_one_short_escaped_example() -> None:
    rows = [
        {"id": 1, "value": "x\n" * 500},
        {"id": 2, "value": {"a": [1] * 100}},
        {"id": 3, "value": 4},
    ]
    arrow, problems = to_arrow(rows, DEALS)
    assert arrow["value"].to_pylist() == [None, None, 4.0]
    count, example = problems.cells["value"]
    assert count == 2
    assert len(example) <= 120
    assert "\n" not in example
    with pytest.warns(DataWarning, match="deals, column 'value': 2 values do not fit"):
        problems.warn("deals")
    assert "column 'Worth'" in problems.messages({"value": "Worth"})[0]


def test_rows_without_an_id_or_that_are_no_objects_are_counted() -> None:
    arrow, problems = to_arrow(
        [None, 3, "x", [], {}, {"id": None}, {"id": "x"}, {"id": True}, {"id": "4"}, {"id": 2}],
        DEALS,
    )
    assert arrow["id"].to_pylist() == [4, 2]
    assert problems.rows == 8
    assert not problems.cells
    assert "8 rows" in problems.messages()[0]


def test_problems_of_parts_add_up() -> None:
    first = to_arrow([{"id": 1, "value": "x"}, None], DEALS)[1]
    first.merge(to_arrow([{"id": 2, "value": "y", "title": []}, 5], DEALS)[1])
    assert {column: count for column, (count, _) in first.cells.items()} == {"value": 2, "title": 1}
    assert first.rows == 2


def test_what_the_schema_does_not_know_is_passed_through() -> None:
    stranger = "f" * 40
    rows = [
        {
            "id": 1,
            "novelty": "text",
            "deep": {"ü": [1, None]},
            "custom_fields": {
                stranger: {"id": 4},
                BUDGET: {"value": 1, "currency": "EUR", "vat": 2},
            },
        },
        {"id": 2, "novelty": 3, "custom_fields": {stranger: "plain"}},
    ]
    frame = to_frame(through_parquet(typed(rows, DEALS, FIELDS)), DEALS, FIELDS)
    assert list(frame.columns[-4:]) == ["deep", stranger, "novelty", "Budget (vat) (948c29)"]
    assert frame["deep"].tolist()[0] == '{"ü":[1,null]}'
    assert frame[stranger].tolist() == ['{"id":4}', "plain"]
    assert frame["novelty"].tolist() == ["text", "3"]
    assert frame["Budget (vat) (948c29)"].tolist()[0] == "2"
    assert (frame.dtypes.iloc[-4:] == "str").all()


def test_unknown_names_never_take_a_known_one() -> None:
    rows = [
        {
            "id": 1,
            "location": {"value": "x", "planet": "a", "country": "EE"},
            "location_country": "b",
            "location_planet": "c",
            "owner_name": "d",
            "": "e",
        }
    ]
    arrow = typed(rows, ACTIVITIES)
    extra = {
        name: arrow[name].to_pylist()[0] for name in arrow.column_names[len(ACTIVITIES.columns) :]
    }
    assert extra == {
        "_": "e",
        "location_country_": "b",
        "location_planet": "c",
        "location_planet_": "a",
        "owner_name_": "d",
    }
    assert to_frame(arrow, ACTIVITIES)["location_country"].tolist() == ["EE"]
    labelled = read_fields([field(REGION, "novelty", "varchar")])
    frame = to_frame(
        typed([{"id": 1, "novelty": "x", "custom_fields": {REGION: "y"}}], DEALS, labelled),
        DEALS,
        labelled,
    )
    assert frame[["novelty", "novelty (unknown)"]].iloc[0].tolist() == ["y", "x"]


def test_custom_fields_that_are_no_object_cost_nothing() -> None:
    arrow = typed(
        [
            {"id": 1, "custom_fields": []},
            {"id": 2, "custom_fields": "odd"},
            {"id": 3, "custom_fields": {REGION: 10}},
        ],
        DEALS,
        FIELDS,
    )
    assert arrow[REGION].to_pylist() == [None, None, 10]
    assert arrow["custom_fields"].to_pylist() == ["[]", "odd", None]


def test_objects_are_flattened_and_lists_of_objects_kept() -> None:
    frame = to_frame(
        typed(
            [
                {
                    "id": 1,
                    "location": {"value": "Main St 1", "country": "EE", "locality": None},
                    "participants": [{"person_id": 4, "primary": True}],
                    "attendees": [{"email": "a@b.c", "mood": "fine"}, {}],
                },
                {"id": 2, "location": None, "participants": []},
                {"id": 3, "location": "bare text"},
            ],
            ACTIVITIES,
        ),
        ACTIVITIES,
    )
    assert frame["location"].tolist()[::2] == ["Main St 1", "bare text"]
    assert frame["location_country"].tolist()[0] == "EE"
    assert list(frame["participants"][0]) == [{"person_id": 4, "primary": True}]
    assert list(frame["participants"][1]) == []
    assert pd.isna(frame["participants"][2])
    assert frame["attendees_mood"].tolist()[0] == '["fine",null]'


def test_primary_mail_and_phone_stand_beside_the_lists() -> None:
    rows = [
        {
            "id": 1,
            "emails": [
                {"value": "a@x", "primary": False},
                {"value": "b@x", "primary": True, "label": "work"},
            ],
            "phones": [],
        },
        {
            "id": 2,
            "emails": [{"value": "c@x", "primary": False}],
            "phones": [{"value": "1", "primary": True}],
        },
    ]
    frame = to_frame(typed(rows, PERSONS), PERSONS)
    assert frame["primary_email"].tolist()[0] == "b@x"
    assert frame["primary_email"].isna().tolist() == [False, True]
    assert frame["primary_phone"].isna().tolist() == [True, False]
    assert [mail["value"] for mail in frame["emails"][0]] == ["a@x", "b@x"]
    arrow, problems = to_arrow([{"id": 1, "emails": [{"value": "a@x", "primary": "yes"}]}], PERSONS)
    assert arrow["emails"].to_pylist() == [[{"value": "a@x", "primary": None, "label": None}]]
    assert problems.cells["emails"] == (1, "'yes'")


def test_one_bad_cell_costs_no_other() -> None:
    rows = [
        {"id": number, "add_time": "2026-01-01T00:00:00Z", "value": number}
        for number in range(1, 600)
    ]
    rows[300] |= {"add_time": "never", "value": "much"}
    arrow, problems = to_arrow(rows, DEALS)
    assert arrow["add_time"].null_count == arrow["value"].null_count == 1
    assert arrow.num_rows == 599
    assert {column: count for column, (count, _) in problems.cells.items()} == {
        "add_time": 1,
        "value": 1,
    }


def test_a_time_without_its_time_of_day_does_not_fit_beside_others_either() -> None:
    arrow, problems = to_arrow(
        [{"id": 1, "add_time": "2026-01-01 00:00:00"}, {"id": 2, "add_time": "2026-01-01"}], DEALS
    )
    assert arrow["add_time"].null_count == 1
    assert problems.cells == {"add_time": (1, "'2026-01-01'")}


def test_parts_with_different_columns_become_one() -> None:
    early = typed(
        [
            {
                "id": 2,
                "title": "a",
                "custom_fields": {REGION: 10, SPEND: {"value": 3, "currency": "EUR"}},
            }
        ],
        DEALS,
        FIELDS[:4],
    )
    late = typed(
        [
            {
                "id": 1,
                "novelty": "x",
                "custom_fields": {REGION: 20, BUDGET: {"value": 9, "currency": "USD"}},
            }
        ],
        DEALS,
        FIELDS,
    )
    fields = (*FIELDS[:4], *read_fields([field(SPEND, "Spend", "monetary")]), *FIELDS[5:])
    full, problems = unify([through_parquet(early), late], DEALS, fields)
    assert not problems
    assert full["id"].to_pylist() == [2, 1]
    assert full[SPEND].to_pylist() == [3.0, None]
    assert full[f"{SPEND}_currency"].to_pylist() == ["EUR", None]
    assert full[REGION].to_pylist() == [10, 20]
    assert full["novelty"].to_pylist() == [None, "x"]
    assert (
        full.schema.types[: len(storage_schema(DEALS, fields))]
        == storage_schema(DEALS, fields).types
    )
    assert unify([], DEALS, fields)[0].schema == storage_schema(DEALS, fields)


def test_parts_without_rows_give_their_columns_and_no_chunk() -> None:
    nothing = storage_schema(DEALS, FIELDS).empty_table()
    odd = typed([{"id": 1, "novelty": "x"}]).slice(0, 0)
    rows = typed([{"id": 2, "title": "Two"}, {"id": 3, "title": "Three"}])
    full, problems = unify([nothing, odd, rows, nothing], DEALS, FIELDS)
    assert not problems
    assert full["title"].to_pylist() == ["Two", "Three"]
    assert full["novelty"].to_pylist() == [None, None]
    assert full.column_names == [*storage_schema(DEALS, FIELDS).names, "novelty"]
    # Else what combines the chunks copies all columns, also those that have no value.
    assert {column.num_chunks for column in full.columns} == {1}
    assert unify([odd, nothing], DEALS, FIELDS)[0].schema == full.schema


def test_unknown_text_that_does_not_fit_the_type_declared_later_is_a_problem_not_an_error() -> None:
    before = typed(
        [{"id": 1, "custom_fields": {SPEND: "12"}}, {"id": 2, "custom_fields": {SPEND: [1]}}]
    )
    full, problems = unify([before], DEALS, FIELDS)
    assert full[SPEND].to_pylist() == [12.0, None]
    assert problems.cells == {SPEND: (1, "[1]")}


def test_a_field_whose_code_is_a_standard_column_costs_nothing() -> None:
    odd = read_fields(
        [
            field("title", "Odd", "double"),
            field(BUDGET, "x", "monetary"),
            field(f"{BUDGET}_currency", "y", "double"),
        ]
    )
    arrow = typed(
        [
            {
                "id": 1,
                "title": "real",
                "custom_fields": {
                    "title": 5,
                    BUDGET: {"value": 1, "currency": "EUR"},
                    f"{BUDGET}_currency": 7,
                },
            }
        ],
        DEALS,
        odd,
    )
    frame = to_frame(arrow, DEALS, odd)
    assert frame["title"].tolist() == ["real"]
    assert frame["title_"].tolist() == ["5"]
    assert frame["x (currency)"].tolist() == ["EUR"]
    assert frame[f"{BUDGET}_currency_"].tolist() == ["7"]


def test_a_fraction_among_ids_costs_its_list_with_a_warning() -> None:
    rows, problems = to_arrow(
        [
            {"id": 1, "label_ids": [0.5]},
            {"id": 2, "label_ids": [7, None]},
            {"id": 3, "label_ids": [2.0]},
        ],
        DEALS,
    )
    assert rows["label_ids"].to_pylist() == [None, [7, None], [2]]
    assert problems.cells == {"label_ids": (1, "[0.5]")}


def test_one_row_that_cannot_be_kept_is_reported_as_one() -> None:
    _, problems = to_arrow([{"id": 1}, {"title": "nobody's"}], DEALS)
    assert problems.messages() == [
        "1 row has no id or is no object and is left out, for example {'title': \"nobody's\"}."
    ]

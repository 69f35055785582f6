import json
import warnings

import numpy as np
import pandas as pd
import pytest

from pdframe.errors import ArgumentError, DataWarning
from pdframe.fields import read_fields
from pdframe.frames import empty_frame, storage_schema, to_arrow, to_frame, unify
from pdframe.schema import TABLES
from tests.helpers.frames_material import (
    ACTIVITIES,
    BUDGET,
    CALL,
    DEALS,
    FIELDS,
    PERSONS,
    REGION,
    SPEND,
    TAGS,
    field,
    kinds,
    through_parquet,
    typed,
)


def test_dtypes_of_standard_columns() -> None:
    dtypes = empty_frame(DEALS).dtypes.astype(str)
    assert dtypes[
        [
            "id",
            "title",
            "owner_id",
            "value",
            "is_deleted",
            "add_time",
            "expected_close_date",
            "local_won_date",
            "status",
            "channel",
            "channel_id",
            "origin_id",
            "source_lead_id",
            "label_ids",
            "products_count",
            "probability",
            "visible_to",
        ]
    ].tolist() == [
        "Int64",
        "str",
        "Int64",
        "float64",
        "boolean",
        "datetime64[us, UTC]",
        "datetime64[us]",
        "datetime64[us]",
        "category",
        "category",
        "str",
        "str",
        "str",
        "list<item: string>[pyarrow]",
        "Int64",
        "float64",
        "Int64",
    ]
    activities = empty_frame(ACTIVITIES).dtypes.astype(str)
    assert activities[
        [
            "due_date",
            "due_time",
            "duration",
            "lead_id",
            "priority",
            "location",
            "location_country",
            "done",
        ]
    ].tolist() == [
        "datetime64[us]",
        "str",
        "timedelta64[us]",
        "str",
        "category",
        "str",
        "str",
        "boolean",
    ]
    assert str(empty_frame(DEALS, labels=False).dtypes["label_ids"]) == "list<item: int64>[pyarrow]"
    assert str(empty_frame(DEALS, labels=False).dtypes["channel"]) == "Int64"
    assert "struct" in str(empty_frame(PERSONS).dtypes["emails"])


def test_dtypes_of_custom_columns() -> None:
    fields = read_fields(kinds())
    frame = empty_frame(DEALS, fields)
    result = {name: str(dtype) for name, dtype in frame.dtypes.items() if name not in DEALS.by_name}
    parts = (
        "country",
        "admin_area_level_1",
        "admin_area_level_2",
        "locality",
        "sublocality",
        "route",
        "street_number",
        "subpremise",
        "postal_code",
    )
    assert result == {
        "varchar": "str",
        "varchar_auto": "str",
        "text": "str",
        "phone": "str",
        "double": "float64",
        "date": "datetime64[us]",
        "enum": "category",
        "set": "list<item: string>[pyarrow]",
        "user": "Int64",
        "org": "Int64",
        "people": "Int64",
        "monetary": "float64",
        "monetary (currency)": "str",
        "daterange": "datetime64[us]",
        "daterange (until)": "datetime64[us]",
        "timerange": "str",
        "timerange (until)": "str",
        "timerange (timezone_name)": "str",
        "time": "str",
        "time (timezone_name)": "str",
        "address": "str",
        **{f"address ({part})": "str" for part in parts},
        "int": "Int64",
        "boolean": "boolean",
        "lead": "str",
        "deals": "list<item: int64>[pyarrow]",
        "json": "str",
        "novelty": "str",
    }


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("labels", [True, False])
def test_zero_rows_all_null_rows_and_parquet_keep_every_dtype(table, labels) -> None:
    empty = empty_frame(table, FIELDS, labels=labels)
    key = {name: "1" if name == "field_code" else 1 for name in table.key}
    nulls = to_frame(through_parquet(typed([key], table, FIELDS)), table, FIELDS, labels=labels)
    assert type(empty) is pd.DataFrame
    assert list(nulls.columns) == list(empty.columns)
    assert nulls.dtypes.equals(empty.dtypes)
    assert list(empty.columns[: len(table.columns)]) == [column.name for column in table.columns]
    assert isinstance(nulls.index, pd.RangeIndex)
    assert to_arrow([], table, FIELDS)[0].schema == storage_schema(table, FIELDS)


def test_a_frame_reads_as_the_contract_says() -> None:
    rows = [
        {
            "id": 7,
            "title": "B",
            "label_ids": [6, 5],
            "channel": 52,
            "status": "won",
            "custom_fields": {
                REGION: 20,
                TAGS: [],
                BUDGET: {"value": 5, "currency": "EUR"},
                SPEND: 1.5,
                CALL: "09:00:00",
            },
        },
        {
            "id": 3,
            "title": "A",
            "custom_fields": {
                REGION: 10,
                TAGS: [2, 1],
                CALL: {"value": "10:00:00", "timezone_name": "Europe/Tallinn"},
            },
        },
    ]
    frame = to_frame(typed(rows, DEALS, FIELDS), DEALS, FIELDS)
    assert frame["id"].tolist() == [3, 7]
    assert frame.index.tolist() == [0, 1]
    assert list(frame.columns[-8:]) == [
        "smart_bcc_email",
        "Tags",
        "Budget (948c29)",
        "Currency of Budget (948c29)",
        "Budget (eadf62)",
        "Регион",
        "Call 🚀",
        "Call 🚀 (timezone_name)",
    ]
    assert frame["Регион"].tolist() == ["North", "South (20)"]
    assert frame["Регион"].cat.categories.tolist() == ["South (30)", "North", "South (20)"]
    assert [list(value) for value in frame["Tags"]] == [["b", "a"], []]
    assert pd.isna(frame["label_ids"][0])
    assert list(frame["label_ids"][1]) == ["Cold", "Hot"]
    assert frame["channel"].tolist()[1] == "Fair"
    assert frame["Call 🚀"].tolist() == ["10:00:00", "09:00:00"]
    assert frame["Call 🚀 (timezone_name)"].isna().tolist() == [False, True]
    assert frame["status"].cat.categories.tolist() == ["open", "won", "lost", "deleted"]
    plain = to_frame(typed(rows, DEALS, FIELDS), DEALS, FIELDS, labels=False)
    assert plain[REGION].tolist() == [10, 20]
    assert plain[f"{BUDGET}_currency"].tolist()[1] == "EUR"
    assert list(plain["label_ids"][1]) == [6, 5]


def test_frames_can_be_written_to() -> None:
    frame = to_frame(typed([{"id": 1, "value": 2.0, "title": "x"}]), DEALS)
    frame.loc[0, "value"] = 3.0
    frame["title"] = frame["title"].str.upper()
    assert frame.loc[0, ["value", "title"]].tolist() == [3.0, "X"]


@pytest.mark.parametrize("filled", [2, 1], ids=["without a null", "with nulls"])
def test_every_column_of_every_kind_can_be_written_to(filled: int) -> None:
    moment = "2026-01-02T03:04:05Z"
    cells = {
        "value": 2.5,
        "title": "x",
        "owner_id": 7,
        "add_time": moment,
        "status": "won",
        "is_archived": False,
        "expected_close_date": "2026-01-02",
    }
    custom = {one["field_code"]: 1.5 for one in kinds() if one["field_type"] == "double"}
    custom |= {one["field_code"]: "2026-01-02" for one in kinds() if one["field_type"] == "date"}
    rows = [
        {"id": 1, **cells, "custom_fields": custom},
        {"id": 2, **(cells if filled == 2 else {}), "custom_fields": custom if filled == 2 else {}},
    ]
    fields = read_fields(kinds())
    arrow = typed(rows, fields=fields)
    frame = to_frame(arrow, DEALS, fields)
    written = frame.iloc[[1, 1]].reset_index(drop=True)
    for place, name in enumerate(frame.columns):
        if "list" not in str(frame[name].dtype):
            frame.iloc[0, place] = frame.iloc[1, place]
    plain = [name for name in frame.columns if "list" not in str(frame[name].dtype)]
    pd.testing.assert_frame_equal(frame[plain], written[plain])
    # And what it was made of stays as it was.
    assert arrow.equals(typed(rows, fields=fields))


def test_a_column_of_nulls_is_written_to_alone() -> None:
    fields = read_fields(kinds())
    frame = to_frame(typed([{"id": 1}, {"id": 2}], fields=fields), DEALS, fields)
    values = {
        "title": "x",
        "owner_id": 7,
        "value": 2.5,
        "add_time": pd.Timestamp("2026-01-02", tz="UTC"),
        "expected_close_date": pd.Timestamp("2026-01-02"),
        "is_archived": True,
    }
    for name, value in values.items():
        frame.loc[0, name] = value
    # pandas lets a user write to extension arrays themselves.
    for name in ("person_id", "update_time"):
        frame[name].array[0] = values["owner_id" if name == "person_id" else "add_time"]
    written = [*values, "person_id", "update_time"]
    assert frame.loc[0, list(values)].tolist() == list(values.values())
    assert frame.drop(columns=["id", *written]).isna().all(axis=None)
    assert frame.loc[1, written].isna().all()


def test_numbers_and_dates_that_are_all_null_take_the_memory_of_one_column() -> None:
    fields = read_fields(kinds())
    frame = to_frame(typed([{"id": 1}, {"id": 2}], fields=fields), DEALS, fields)
    for dtype in ("float64", "datetime64[us]"):
        first, *others = [frame[name].to_numpy() for name in frame.select_dtypes(dtype)]
        assert len(others) > 1
        assert all(np.shares_memory(first, other) for other in others)


def test_each_column_of_an_empty_frame_can_be_written_to() -> None:
    empty = typed([{"id": 1}]).slice(0, 0)
    for name in ("value", "probability"):
        column = to_frame(empty, DEALS, [], columns=["id", "value", "probability"])[name]
        column.loc[:] = 0.0
        assert column.empty


@pytest.mark.parametrize("count", [20, 99, 160])
def test_a_column_can_be_added_to_a_frame_of_many_without_a_warning(count: int) -> None:
    fields = read_fields(
        [field(f"{number:040x}", f"Sum {number}", "double") for number in range(count)]
    )
    frame = to_frame(
        typed(
            [{"id": 1, "custom_fields": {f"{number:040x}": 1.0 for number in range(count)}}],
            fields=fields,
        ),
        DEALS,
        fields,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame["mine"] = 1.0
    assert frame[f"Sum {count - 1}"].tolist() == [1.0]


def test_options_that_are_not_defined_read_their_number_and_are_warned_of_once_a_column() -> None:
    rows = [
        {"id": number, "label_ids": [5, 77], "custom_fields": {REGION: 9999 - number % 2}}
        for number in range(1, 4)
    ]
    with pytest.warns(DataWarning) as caught:
        frame = to_frame(typed(rows, DEALS, FIELDS), DEALS, FIELDS)
    assert frame["Регион"].tolist() == ["#9998", "#9999", "#9998"]
    assert frame["Регион"].cat.categories.tolist() == [
        "South (30)",
        "North",
        "South (20)",
        "#9998",
        "#9999",
    ]
    assert [list(value) for value in frame["label_ids"]] == [["Hot", "#77"]] * 3
    reported = sorted(str(warning.message) for warning in caught)
    assert len(reported) == 2
    assert "label_ids" in reported[0]
    assert "#77" in reported[0]
    assert "Регион" in reported[1]
    assert "#9998, #9999" in reported[1]


def test_a_renamed_field_or_option_needs_no_reload() -> None:
    arrow = typed([{"id": 1, "custom_fields": {REGION: 10}}], DEALS, FIELDS)
    renamed = read_fields([field(REGION, "Area", "enum", options=[{"id": 10, "label": "Arctic"}])])
    assert to_frame(arrow, DEALS, renamed)["Area"].tolist() == ["Arctic"]


@pytest.mark.parametrize("kept", ["open", "won", "lost", "deleted"])
def test_closed_vocabularies(kept) -> None:
    assert to_frame(typed([{"id": 1, "status": kept}]), DEALS)["status"].tolist() == [kept]


def test_a_value_outside_a_vocabulary_is_kept_and_warned_of() -> None:
    with pytest.warns(DataWarning, match="status.*paused"):
        frame = to_frame(typed([{"id": 1, "status": "paused"}]), DEALS)
    assert frame["status"].tolist() == ["paused"]
    assert frame["status"].cat.categories.tolist() == ["open", "won", "lost", "deleted", "paused"]


def test_a_text_of_options_may_hold_ids_or_labels() -> None:
    fields = read_fields(
        [
            {
                "field_code": "category",
                "field_name": "Category",
                "field_type": "enum",
                "options": [
                    {"id": "2", "label": "Retail"},
                    {"id": "1", "label": "2024"},
                    {"id": "7", "label": "Wholesale"},
                ],
            }
        ]
    )
    products = TABLES["products"]
    values = ["1", "Retail", "2024", None, "2", "9", "Old one"]
    arrow = typed(
        [{"id": number, "category": value} for number, value in enumerate(values, 1)],
        products,
        fields,
    )
    with pytest.warns(
        DataWarning, match=r"'category' holds options that are not defined \(any more\): #9\.$"
    ):
        frame = to_frame(arrow, products, fields)
    assert [None if pd.isna(value) else value for value in frame["category"]] == [
        "2024",
        "Retail",
        "2024",
        None,
        "Retail",
        "#9",
        "Old one",
    ]
    assert frame["category"].cat.categories.tolist() == [
        "Retail",
        "2024",
        "Wholesale",
        "#9",
        "Old one",
    ]
    assert to_frame(arrow, products, fields, labels=False)["category"].dtype == "str"
    assert empty_frame(products, fields)["category"].cat.categories.tolist() == [
        "Retail",
        "2024",
        "Wholesale",
    ]


def test_a_warning_shows_a_wild_value_as_one_short_line() -> None:
    with pytest.warns(DataWarning) as caught:
        to_frame(typed([{"id": 1, "status": "\x1b[2J" + "x" * 5_000}]), DEALS)
    assert str(caught[0].message).isprintable()
    assert len(str(caught[0].message)) < 200


def test_columns_are_requested_by_label_hash_or_name_in_any_order() -> None:
    arrow = typed([{"id": 1, "custom_fields": {REGION: 10}}], DEALS, FIELDS)
    assert list(to_frame(arrow, DEALS, FIELDS, columns=["Регион", "id", SPEND]).columns) == [
        "Регион",
        "id",
        "Budget (eadf62)",
    ]
    assert list(
        to_frame(
            arrow, DEALS, FIELDS, labels=False, columns=["Регион", "id", f"{BUDGET}_currency"]
        ).columns
    ) == [
        REGION,
        "id",
        f"{BUDGET}_currency",
    ]
    assert to_frame(arrow, DEALS, FIELDS, columns=[]).shape == (1, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a column that is not asked for cannot complain
        to_frame(typed([{"id": 1, "channel": 999}]), DEALS, columns=["id"])


@pytest.mark.parametrize(
    ("columns", "reported"),
    [
        (["Regionn"], r"no column 'Regionn'"),
        (["titel"], "Did you mean 'title'"),
        (["Tag"], "'Tags'"),
        (["Budget"], r"Columns of that label: 'Budget \(948c29\)', 'Budget \(eadf62\)'"),
        (["Currency of Budget"], r"'Currency of Budget \(948c29\)'"),
        (["id", "id"], "twice: as 'id' and as 'id'"),
        (["Tags", TAGS], "twice"),
        ("id", "takes a list"),
        ([1], "takes a list"),
    ],
)
def test_columns_that_cannot_be_given(columns, reported) -> None:
    with pytest.raises(ArgumentError, match=reported):
        empty_frame(DEALS, FIELDS, columns=columns)


def test_a_dropped_field_remains_as_an_undeclared_column() -> None:
    arrow = typed([{"id": 1, "custom_fields": {REGION: 10, SPEND: 2.5}}], DEALS, FIELDS)
    frame = to_frame(arrow, DEALS, FIELDS[:3])
    assert frame[REGION].tolist() == [10]
    assert frame[SPEND].tolist() == [2.5]
    newer = typed([{"id": 2, "custom_fields": {SPEND: "text now"}}], DEALS, ())
    full, _ = unify([arrow, newer], DEALS, ())
    assert full[SPEND].to_pylist() == ["2.5", "text now"]


def test_field_lists_keep_their_order_and_read_back_from_the_cache() -> None:
    rows = [
        field("b" * 40, "Zoo", "enum", options=[{"id": 1, "label": "ü"}]),
        field("a" * 40, "", "monetary", subfields=[{"field_code": "currency", "field_name": "C"}]),
    ]
    arrow = through_parquet(typed(rows, TABLES["deal_fields"]))
    frame = to_frame(arrow, TABLES["deal_fields"])
    assert frame["field_code"].tolist() == ["b" * 40, "a" * 40]
    assert json.loads(frame["options"][0]) == [{"id": 1, "label": "ü"}]
    assert read_fields(arrow.to_pylist()) == read_fields(rows)

import warnings

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pdframe.errors import DataWarning
from pdframe.frames import empty_frame, storage_schema, to_arrow, to_frame, unify
from pdframe.schema import TABLES
from tests.helpers.any_json import ALL_FIELDS, JSON_VALUES, rows_of
from tests.helpers.frames_material import DEALS, through_parquet
from tests.helpers.tiers import examples


@settings(max_examples=examples(150), deadline=None)
@given(st.data(), st.sampled_from(["deals", "activities", "persons", "stages", "deal_fields"]))
def test_any_json_becomes_a_frame_and_no_row_with_a_key_is_lost(data, name) -> None:
    table = TABLES[name]
    key = table.key[0]
    rows = data.draw(rows_of(table))
    keyed = [
        row | {key: f"k{number}" if key == "field_code" else number}
        for number, row in enumerate(rows)
        if isinstance(row, dict)
    ]
    strangers = [row for row in rows if not isinstance(row, dict)]
    arrow, problems = to_arrow(keyed + strangers, table, ALL_FIELDS)
    assert arrow[key].to_pylist() == [row[key] for row in keyed]
    assert problems.rows == len(strangers)
    assert all(message.isprintable() for message in problems.messages())
    declared = storage_schema(table, ALL_FIELDS)
    assert pa.schema(list(arrow.schema)[: len(declared)]) == declared
    stored = through_parquet(arrow)
    assert stored.schema.names == arrow.schema.names
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        for labels in (True, False):
            frame = to_frame(stored, table, ALL_FIELDS, labels=labels)
            assert len(frame) == len(keyed)
            assert len({name.casefold() for name in frame.columns}) == len(frame.columns)
            empty = empty_frame(table, ALL_FIELDS, labels=labels)
            same = [column for column in empty.columns if str(empty[column].dtype) != "category"]
            assert frame[same].dtypes.equals(empty[same].dtypes)
        first, _ = to_arrow(keyed[:2], table, ())
        rest, _ = to_arrow(keyed[2:], table, ALL_FIELDS)
        full, _ = unify([first, rest], table, ALL_FIELDS)
        assert full[key].to_pylist() == arrow[key].to_pylist()
        assert len(to_frame(full, table, ALL_FIELDS)) == len(keyed)


@settings(max_examples=examples(200), deadline=None)
@given(
    st.sampled_from(
        [
            "owner_id",
            "value",
            "title",
            "is_deleted",
            "add_time",
            "expected_close_date",
            "label_ids",
            "status",
        ]
    ),
    st.lists(JSON_VALUES, max_size=4),
)
def test_a_cell_is_typed_alike_alone_and_among_others(column, values) -> None:
    full, _ = to_arrow(
        [{"id": number, column: value} for number, value in enumerate(values)], DEALS
    )
    alone = [
        to_arrow([{"id": 0, column: value}], DEALS)[0][column].to_pylist()[0] for value in values
    ]
    assert full[column].to_pylist() == alone

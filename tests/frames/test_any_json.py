import warnings

import pyarrow as pa
from frames_material import DEALS, REGION, REGIONS, field, kinds, through_parquet
from hypothesis import given, settings
from hypothesis import strategies as st

from pdframe.errors import DataWarning
from pdframe.fields import read_fields
from pdframe.frames import empty_frame, storage_schema, to_arrow, to_frame, unify
from pdframe.schema import TABLES

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.text(st.characters(categories=["Cs", "Cc"]), max_size=2)
    | st.sampled_from(
        [
            "2026-01-01",
            "2026-01-01T00:00:00Z",
            "2026-02-30",
            "0000-00-00",
            "01:00:00",
            "3",
            2**70,
            "EUR",
            [1, 2],
            [{"value": 1, "primary": True}],
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["value", "currency", "until", "country", "odd", "\ud800", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)
ALL_FIELDS = read_fields(
    [
        *kinds(),
        field(REGION, "title", "enum", options=REGIONS),
    ]
)


@st.composite
def rows_of(draw, table):
    names = st.sampled_from([column.path.partition(".")[0] for column in table.columns] + ["strange", "\0", "\udfff", "owner_name"])
    codes = st.sampled_from([one.code for one in ALL_FIELDS] + ["e" * 40, "title", ""])
    row = st.dictionaries(names, JSON_VALUES, max_size=8)
    custom = st.dictionaries(codes, JSON_VALUES, max_size=6) | JSON_VALUES
    return draw(st.lists(st.builds(lambda base, bag: base | {"custom_fields": bag}, row, custom) | JSON_VALUES, max_size=6))


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(["deals", "activities", "persons", "stages", "deal_fields"]))
def test_any_json_becomes_a_frame_and_no_row_with_a_key_is_lost(data, name) -> None:
    table = TABLES[name]
    key = table.key[0]
    rows = data.draw(rows_of(table))
    keyed = [row | {key: f"k{number}" if key == "field_code" else number} for number, row in enumerate(rows) if isinstance(row, dict)]
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
            assert frame.columns.is_unique
            empty = empty_frame(table, ALL_FIELDS, labels=labels)
            same = [column for column in empty.columns if str(empty[column].dtype) != "category"]
            assert frame[same].dtypes.equals(empty[same].dtypes)
        first, _ = to_arrow(keyed[:2], table, ())
        rest, _ = to_arrow(keyed[2:], table, ALL_FIELDS)
        whole, _ = unify([first, rest], table, ALL_FIELDS)
        assert whole[key].to_pylist() == arrow[key].to_pylist()
        assert len(to_frame(whole, table, ALL_FIELDS)) == len(keyed)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["owner_id", "value", "title", "is_deleted", "add_time", "expected_close_date", "label_ids", "status"]),
    st.lists(JSON_VALUES, max_size=4),
)
def test_a_cell_is_typed_alike_alone_and_among_others(column, values) -> None:
    whole, _ = to_arrow([{"id": number, column: value} for number, value in enumerate(values)], DEALS)
    alone = [to_arrow([{"id": 0, column: value}], DEALS)[0][column].to_pylist()[0] for value in values]
    assert whole[column].to_pylist() == alone

"""New rows take the place of old ones, and every change is counted once."""

import pyarrow as pa

from pdframe.cache.parts import newest_rows
from pdframe.sync.merge import merge_rows

SCHEMA = pa.schema([("id", pa.int64()), ("title", pa.string()), ("tags", pa.list_(pa.int64()))])


def rows(*values: tuple[int, str | None, list[int] | None]) -> pa.Table:
    return pa.table(
        [
            pa.array(column, field.type)
            for column, field in zip(zip(*values, strict=True), SCHEMA, strict=True)
        ],
        schema=SCHEMA,
    )


NONE = pa.array([], pa.int64())
OLD = rows((1, "one", [1]), (2, "two", None), (3, "three", []))


def test_a_full_reload_keeps_the_new_rows_alone() -> None:
    new = rows((4, "four", None), (1, "one", [1]), (2, "zwei", None))
    merge = merge_rows(OLD, new, NONE, "id", complete=True)
    assert merge.rows["id"].to_pylist() == [1, 2, 4]
    assert (merge.counts.added, merge.counts.changed, merge.counts.removed) == (1, 1, 1)


def test_a_first_load_adds_everything() -> None:
    merge = merge_rows(OLD.slice(0, 0), OLD, NONE, "id", complete=True)
    assert (merge.counts.added, merge.counts.changed, merge.counts.removed) == (3, 0, 0)


def test_an_upsert_changes_adds_removes_and_leaves_the_rest() -> None:
    merge = merge_rows(
        OLD, rows((2, "two", [5]), (9, None, None), (1, "one", [1])), pa.array([3, 77]), "id"
    )
    assert (
        merge.rows.to_pylist()
        == rows((1, "one", [1]), (2, "two", [5]), (9, None, None)).to_pylist()
    )
    assert (merge.counts.added, merge.counts.changed, merge.counts.removed) == (1, 1, 1)


def test_null_and_value_differ_and_null_equals_null() -> None:
    assert merge_rows(OLD, rows((1, None, [1])), NONE, "id").counts.changed == 1
    assert merge_rows(OLD, rows((2, "two", None)), NONE, "id").counts.changed == 0
    assert merge_rows(OLD, rows((3, "three", None)), NONE, "id").counts.changed == 1


def test_a_row_that_is_deleted_and_listed_is_deleted() -> None:
    merge = merge_rows(OLD, rows((1, "edited", None)), pa.array([1]), "id")
    assert merge.rows["id"].to_pylist() == [2, 3]
    assert (merge.counts.added, merge.counts.changed, merge.counts.removed) == (0, 0, 1)


def test_the_later_version_of_a_row_counts() -> None:
    assert newest_rows(rows((1, "early", None), (2, "x", None), (1, "late", None)), "id")[
        "title"
    ].to_pylist() == ["late", "x"]


def test_a_new_column_counts_only_where_it_is_filled() -> None:
    wider = OLD.append_column("extra", pa.array([None, "new", None], pa.string()))
    merge = merge_rows(OLD, wider, NONE, "id")
    assert merge.counts.changed == 1
    assert merge.rows["extra"].to_pylist() == [None, "new", None]


def test_an_old_column_that_is_no_longer_sent_is_null() -> None:
    wider = OLD.append_column("extra", pa.array(["a", None, None], pa.string()))
    merge = merge_rows(wider, OLD, NONE, "id")
    assert merge.counts.changed == 1
    assert merge.rows["extra"].to_pylist() == [None, None, None]


def test_field_lists_keep_the_order_of_the_metadata() -> None:
    fields = pa.table(
        {"field_code": ["title", "abc", "value"], "field_name": ["Title", "Region", "Value"]}
    )
    assert merge_rows(
        fields.slice(0, 0),
        fields,
        pa.array([], pa.string()),
        "field_code",
        identity="field_code",
        complete=True,
    ).rows["field_code"].to_pylist() == [
        "title",
        "abc",
        "value",
    ]

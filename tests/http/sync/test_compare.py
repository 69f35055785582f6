"""New rows take the place of old ones, and every change is counted once."""

import pyarrow as pa

from pdframe.sync.compare import newest_rows, replace_all, upsert

SCHEMA = pa.schema([("id", pa.int64()), ("title", pa.string()), ("tags", pa.list_(pa.int64()))])


def rows(*values: tuple[int, str | None, list[int] | None]) -> pa.Table:
    return pa.table(
        [
            pa.array(column, field.type)
            for column, field in zip(zip(*values, strict=True), SCHEMA, strict=True)
        ],
        schema=SCHEMA,
    )


OLD = rows((1, "one", [1]), (2, "two", None), (3, "three", []))


def test_a_full_reload_keeps_the_new_rows_alone() -> None:
    merge = replace_all(OLD, rows((4, "four", None), (1, "one", [1]), (2, "zwei", None)), "id")
    assert merge.table["id"].to_pylist() == [1, 2, 4]
    assert (merge.counts.added, merge.counts.changed, merge.counts.removed) == (1, 1, 1)


def test_a_first_load_adds_everything() -> None:
    merge = replace_all(None, OLD, "id")
    assert (merge.counts.added, merge.counts.changed, merge.counts.removed) == (3, 0, 0)


def test_an_upsert_changes_adds_removes_and_leaves_the_rest() -> None:
    merge = upsert(
        OLD, rows((2, "two", [5]), (9, None, None), (1, "one", [1])), pa.array([3, 77]), "id"
    )
    assert (
        merge.table.to_pylist()
        == rows((1, "one", [1]), (2, "two", [5]), (9, None, None)).to_pylist()
    )
    assert (merge.counts.added, merge.counts.changed, merge.counts.removed) == (1, 1, 1)


def test_null_and_value_differ_and_null_equals_null() -> None:
    assert upsert(OLD, rows((1, None, [1])), pa.array([], pa.int64()), "id").counts.changed == 1
    assert upsert(OLD, rows((2, "two", None)), pa.array([], pa.int64()), "id").counts.changed == 0
    assert upsert(OLD, rows((3, "three", None)), pa.array([], pa.int64()), "id").counts.changed == 1


def test_a_row_that_is_deleted_and_listed_is_deleted() -> None:
    merge = upsert(OLD, rows((1, "edited", None)), pa.array([1]), "id")
    assert merge.table["id"].to_pylist() == [2, 3]
    assert (merge.counts.added, merge.counts.changed, merge.counts.removed) == (0, 0, 1)


def test_the_later_version_of_a_row_counts() -> None:
    assert newest_rows(rows((1, "early", None), (2, "x", None), (1, "late", None)), "id")[
        "title"
    ].to_pylist() == ["x", "late"]


def test_a_new_column_counts_only_where_it_is_filled() -> None:
    wider = OLD.append_column("extra", pa.array([None, "new", None], pa.string()))
    merge = upsert(OLD, wider, pa.array([], pa.int64()), "id")
    assert merge.counts.changed == 1
    assert merge.table["extra"].to_pylist() == [None, "new", None]


def test_an_old_column_that_no_longer_comes_is_kept_as_null() -> None:
    wider = OLD.append_column("extra", pa.array(["a", None, None], pa.string()))
    merge = upsert(wider, OLD, pa.array([], pa.int64()), "id")
    assert merge.counts.changed == 1
    assert merge.table["extra"].to_pylist() == [None, None, None]


def test_field_lists_keep_the_order_of_the_metadata() -> None:
    fields = pa.table(
        {"field_code": ["title", "abc", "value"], "field_name": ["Title", "Region", "Value"]}
    )
    assert replace_all(None, fields, "field_code").table["field_code"].to_pylist() == [
        "title",
        "abc",
        "value",
    ]

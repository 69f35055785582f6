"""Pages read into slots and pages read into dicts: the same tables, whatever stands in them."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdframe.fields import read_fields
from pdframe.frames import PageReader, storage_schema, to_arrow, unify
from pdframe.schema import TABLES
from tests.helpers.any_json import ALL_FIELDS, rows_of
from tests.helpers.frames_material import DEALS, FIELDS, PERSONS, kinds
from tests.helpers.tiers import examples

CODE = f"{0:040x}"
VARCHAR = read_fields(kinds()[:1])


def body(rows: object, cursor: str | None = None) -> bytes:
    answer = {"success": True, "data": rows, "additional_data": {"next_cursor": cursor}}
    return json.dumps(answer).encode()


def deal(number: int, **more: object) -> dict[str, object]:
    return {
        "id": number,
        "title": f"Deal {number}",
        "value": 1.5,
        "custom_fields": {CODE: f"note {number}"},
    } | more


def reader(*rows: dict[str, object]) -> PageReader:
    """A reader that has seen a page of these rows."""
    known = PageReader(DEALS, VARCHAR)
    assert known.decode(body([deal(1)])) is None  # nothing is known before the first page
    known.typed(list(rows) or [deal(1)])
    return known


def test_the_second_page_is_read_into_slots_and_says_what_dicts_say() -> None:
    known = reader()
    answer = known.decode(body([deal(2), deal(3)], "abc"))
    assert answer is not None
    assert answer["success"] is True
    assert answer["additional_data"] == {"next_cursor": "abc"}
    assert not isinstance(answer["data"][0], dict)
    rows, problems = known.typed(answer["data"])
    assert not problems
    assert rows.select(["id", "title", "value", CODE]).to_pylist() == [
        {"id": 2, "title": "Deal 2", "value": 1.5, CODE: "note 2"},
        {"id": 3, "title": "Deal 3", "value": 1.5, CODE: "note 3"},
    ]


@pytest.mark.parametrize(
    "page",
    [
        [deal(2, mood="good")],
        [deal(2) | {"custom_fields": {"f" * 40: 1}}],
        [deal(2) | {"custom_fields": []}],
        [None],
        [[]],
        None,
        {},
        "rows",
    ],
    ids=[
        "another key",
        "another field",
        "no fields as a list",
        "a null row",
        "a list for a row",
        "null",
        "an object",
        "text",
    ],
)
def test_a_page_of_another_shape_is_left_to_the_slow_path(page: object) -> None:
    assert reader().decode(body(page)) is None


def test_a_cut_body_and_one_that_is_no_utf_8_are_left_to_the_slow_path() -> None:
    full = body([deal(2, title="Müller")])
    known = reader()
    assert known.decode(full) is not None
    assert known.decode(full[:-20]) is None
    assert known.decode(full.replace(b"\\u00fc", b"\xfc")) is None
    assert known.decode(b"[" * 100_000) is None


def test_a_key_that_comes_later_is_known_from_then_on() -> None:
    known = reader()
    page = [deal(2, mood="good")]
    assert known.decode(body(page)) is None
    known.typed(page)
    answer = known.decode(body([deal(3, mood="bad"), deal(4)]))
    assert answer is not None
    rows, _ = known.typed(answer["data"])
    assert rows["mood"].to_pylist() == ["bad", None]


@pytest.mark.parametrize("key", [None, "7", 2.5, True, 2**63, "", [1]])
def test_a_row_without_a_key_costs_itself_alone(key: object) -> None:
    known = reader()
    answer = known.decode(body([deal(2), deal(3) | {"id": key}]))
    assert answer is not None
    slow = to_arrow([deal(2), deal(3) | {"id": key}], DEALS, VARCHAR)
    rows, problems = known.typed(answer["data"])
    assert rows["id"].to_pylist() == slow[0]["id"].to_pylist() == ([2, 7] if key == "7" else [2])
    assert problems.rows == (0 if key == "7" else 1)


def test_a_key_that_json_must_escape_keeps_every_page_on_the_slow_path() -> None:
    known = reader(deal(1) | {'say "hi"': 1})
    assert known.decode(body([deal(2)])) is None


def test_custom_fields_of_a_table_that_has_none_are_passed_through() -> None:
    known = PageReader(TABLES["stages"])
    page = [{"id": 1, "name": "Won", "custom_fields": {"a": 1}}]
    known.typed(page)
    assert known.decode(body(page)) is None


@settings(max_examples=examples(300), deadline=None)
@given(st.data(), st.sampled_from(["deals", "activities", "persons", "stages", "deal_fields"]))
def test_whatever_comes_slots_and_dicts_make_one_table(data, name) -> None:
    table = TABLES[name]
    key = table.key[0]
    pages = []
    for number in range(2):
        rows = [row for row in data.draw(rows_of(table)) if isinstance(row, dict)]
        pages.append(
            [
                row | {key: f"k{number}{place}" if key == "field_code" else number * 10 + place}
                for place, row in enumerate(rows)
            ]
        )
    try:
        bodies = [
            json.dumps({"success": True, "data": page}, allow_nan=False).encode()
            for page in (pages[0], pages[0], pages[1])
        ]
    except ValueError:
        return
    known, fast, slow = PageReader(table, ALL_FIELDS), [], []
    for text in bodies:
        parsed = json.loads(text)["data"]
        answer = known.decode(text)
        fast.append(known.typed(parsed if answer is None else answer["data"]))
        slow.append(to_arrow(parsed, table, ALL_FIELDS))
    assert [one.cells for _, one in fast] == [one.cells for _, one in slow]
    full, _ = unify([rows for rows, _ in fast], table, ALL_FIELDS)
    other, _ = unify([rows for rows, _ in slow], table, ALL_FIELDS)
    assert full.select(other.column_names).equals(other)
    assert len(full.column_names) == len(other.column_names)


def test_the_primary_contact_and_options_come_through_slots() -> None:
    page = [
        {
            "id": 5,
            "emails": [{"value": "a@b.c", "primary": False}, {"value": "d@e.f", "primary": True}],
            "label_ids": [1, 2],
        }
    ]
    known = PageReader(PERSONS, FIELDS)
    known.typed(page)
    answer = known.decode(body(page))
    assert answer is not None
    rows, _ = known.typed(answer["data"])
    assert unify([rows], PERSONS, FIELDS)[0].equals(to_arrow(page, PERSONS, FIELDS)[0])
    assert rows["primary_email"].to_pylist() == ["d@e.f"]


def test_a_page_leaves_out_custom_fields_without_a_value_and_unify_makes_them() -> None:
    known = reader()
    pages = [
        [deal(2) | {"custom_fields": {CODE: None}}, deal(3) | {"custom_fields": None}],
        [deal(4)],
    ]
    answers = [known.decode(body(page)) for page in pages]
    assert None not in answers
    in_slots = [known.typed(answer["data"])[0] for answer in answers if answer is not None]
    in_dicts = [PageReader(DEALS, VARCHAR).typed(page)[0] for page in pages]
    for parts in (in_slots, in_dicts):
        assert [CODE in part.column_names for part in parts] == [False, True]
        together, problems = unify(parts, DEALS, VARCHAR)
        assert not problems
        assert together.schema.equals(storage_schema(DEALS, VARCHAR), check_metadata=True)
        assert together[CODE].to_pylist() == [None, None, "note 4"]


def test_a_page_that_was_read_while_another_reported_of_a_new_key_loses_no_row() -> None:
    # Pages are decoded in parallel: this one has the structs of the keys that were known then.
    known = reader()
    answer = known.decode(body([deal(2), deal(3)]))
    assert answer is not None
    known.typed([deal(4, mood="good")])
    rows, problems = known.typed(answer["data"])
    assert not problems
    assert rows["id"].to_pylist() == [2, 3]
    assert rows[CODE].to_pylist() == ["note 2", "note 3"]


def test_threads_that_learn_keys_at_once_forget_none(monkeypatch: pytest.MonkeyPatch) -> None:
    known, make = PageReader(DEALS, VARCHAR), msgspec.defstruct
    begun, done = threading.Event(), threading.Event()

    def make_late(*arguments: Any, **more: Any) -> Any:
        if not begun.is_set():
            begun.set()
            done.wait(0.3)  # a lock keeps the other thread out for as long
        return make(*arguments, **more)

    def learn_more() -> None:
        begun.wait(30)
        known.typed([deal(2, mood="good")])
        done.set()

    monkeypatch.setattr(msgspec, "defstruct", make_late)
    with ThreadPoolExecutor() as pool:
        other = pool.submit(learn_more)
        known.typed([deal(1)])
        other.result()
    assert known.decode(body([deal(3, mood="bad")])) is not None

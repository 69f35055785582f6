"""Values that are read, and those that are not: every type of column, every form that a value may
take.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdframe import DataWarning
from pdframe.fields import read_fields
from pdframe.frames import to_arrow, unify
from pdframe.schema import TABLES
from tests.helpers.any_json import JSON_VALUES
from tests.helpers.frames_material import through_parquet
from tests.helpers.notices import notes_in
from tests.helpers.served_lists import code, connected, deal, field
from tests.helpers.tiers import examples

NO = None  # not read: null, and counted
BIG = 2**63
INTEGERS: list[tuple[Any, Any]] = [
    (5, 5), (5.0, 5), ("5", 5), ("5.0", 5), ("67340.00", 67340), ("-5", -5), ("+5", 5), ("005", 5),
    (" 5 ", 5), ("5\n", 5), ("5.", 5),
    ("1e3", 1000), ("1.5e1", 15), ("0.0", 0), ("-0", 0), (BIG - 1, BIG - 1),
    (str(BIG - 1), BIG - 1), (f"{BIG - 1}.0", BIG - 1),
    (str(1 - BIG), 1 - BIG), ("9007199254740993.0", 9007199254740993),
    (5.5, NO), ("5.5", NO), ("1.5e0", NO), ("1e-1", NO), (True, NO), ("true", NO), ("", NO),
    (" ", NO), ("5 6", NO), ("1,2", NO),
    ("1,000", NO), ("1_000", NO), ("0x10", NO), ("1e99", NO), ("1e-999", NO), ("1e9999", NO),
    ("NaN", NO), ("Infinity", NO), ("٣", NO),
    ("five", NO), (BIG, NO), (str(BIG), NO), (-BIG, NO), (str(-BIG), NO), (1e300, NO), ([5], NO),
    ([], NO), ({"id": 5}, NO), ("null", NO),
]  # fmt: skip
NUMBERS: list[tuple[Any, Any]] = [
    (5, 5.0), (5.5, 5.5), ("5", 5.0), ("5.50", 5.5), ("-1.5e-3", -0.0015), (".5", 0.5), ("5.", 5.0),
    (" 5.5 ", 5.5), ("+5.5", 5.5),
    (2**60, float(2**60)),
    (True, NO), ("true", NO), ("1,5", NO), ("1_000", NO), ("", NO), (".", NO), ("e5", NO),
    ("0x10", NO), ("NaN", NO), ("inf", NO),
    ("1e999", NO), (10**399, NO), ("12 EUR", NO), ("€5", NO), ([5.5], NO),
]  # fmt: skip
FLAGS: list[tuple[Any, Any]] = [
    (True, True), (False, False), (1, True), (0, False), (1.0, True), ("1", True), ("0", False),
    ("1.0", True), ("true", True),
    ("false", False), ("True", True), ("FALSE", False), (" true ", True),
    (2, NO), (-1, NO), (0.5, NO), ("2", NO), ("yes", NO), ("Y", NO), ("on", NO), ("t", NO),
    ("", NO), ([], NO), ([True], NO),
]  # fmt: skip
DAYS: list[tuple[Any, Any]] = [
    *((text, "2025-03-01") for text in (
        "2025-03-01", "2025-03-01T00:00:00Z", "2025-03-01 00:00:00", "2025-03-01T00:00",
        "2025-03-01T00:00:00.000Z",
        "2025-03-01T00:00:00+00:00", "2025-03-01t00:00:00z", "2025-03-01T00:00:00-0000",
        " 2025-03-01 ",
    )),
    ("0001-01-01", "0001-01-01"), ("9999-12-31", "9999-12-31"),
    ("2025-03-01T12:00:00Z", NO), ("2025-03-01T00:00:01Z", NO), ("2025-03-01T00:00:00+02:00", NO),
    ("2025-03-01T00:00:00.5Z", NO),
    ("2025-02-29", NO), ("0000-00-00", NO), ("2025-3-1", NO), ("20250301", NO), ("01.03.2025", NO),
    ("03/01/2025", NO), (1740787200, NO),
    (True, NO), ("", NO), ("today", NO), ("２０２５-03-01", NO), (["2025-03-01"], NO),
]  # fmt: skip
TIMES: list[tuple[Any, Any]] = [
    *((text, "2025-03-01T10:00:00") for text in (
        "2025-03-01T10:00:00Z", "2025-03-01 10:00:00", "2025-03-01T10:00", "2025-03-01t10:00:00z",
        "2025-03-01T12:00:00+02:00",
        "2025-03-01T12:00:00+0200", "2025-03-01T12:00:00+02", "2025-03-01T10:00:00.000000Z",
        " 2025-03-01T10:00:00Z ",
        "2025-03-01T10:00:00.0000009Z",
    )),
    ("2025-03-01", NO), ("2025-03-01T24:00:00Z", NO), ("2025-03-01T10:60:00Z", NO),
    ("2025-03-01T10:00:60Z", NO),
    ("2025-03-01T10:00:00,5Z", NO), ("2025-03-01T10:00:00+24:00", NO), ("2025-03-01T10Z", NO),
    ("10:00:00", NO), (1740823200, NO),
    ("now", NO), ("", NO), (True, NO), ("0001-01-01T00:00:00+01:00", NO),
    ("9999-12-31T23:59:59-01:00", NO),
]  # fmt: skip
DURATIONS: list[tuple[Any, Any]] = [
    ("26:30", 95_400.0), ("26:30:15", 95_415.0), ("00:00:00.5", 0.5), (" 01:00 ", 3600.0),
    ("1:00", 3600.0),
    ("01:60:00", NO), ("-01:00", NO), (90, NO), ("90", NO), ("", NO), ("1h", NO),
    ("12345678:00", NO),
]  # fmt: skip
TEXTS: list[tuple[Any, Any]] = [
    ("x", "x"), ("", ""), (" x ", " x "), (5, "5"), (5.5, "5.5"), ("a\x00b", "a\x00b"),
    ("\ud800", "\ufffd"), ("1,2", "1,2"),
    (True, NO), ([], NO), (["x"], NO), ({"value": "x"}, NO),
]  # fmt: skip
# The main part of a composite value, bare, as older rows have it.
PARTS = [form for form in TEXTS if not isinstance(form[0], dict)]
LISTS: list[tuple[Any, Any]] = [
    ([1, 2], [1, 2]), ("1,2", [1, 2]), ("1, 2", [1, 2]), (["1", "2"], [1, 2]),
    ([1.0, "2.0"], [1, 2]), (1, [1]), ("1", [1]), ([], []),
    ([1, None], [1, None]), ("1.0,2", [1, 2]),
    ("1,,2", NO), ("1,2,", NO), ("", NO), ("1;2", NO), ([1, "x"], NO), ([0.5], NO), ([[1]], NO),
    ([True], NO), (True, NO),
    ({"id": 1}, NO), ([{"id": 1}], NO), ("[1,2]", NO),
]  # fmt: skip
WHATEVER: list[tuple[Any, Any]] = [
    ("x", "x"), (5, "5"), (True, "true"), ([1, "a"], '[1,"a"]'), ({"a": None}, '{"a":null}'),
    ("1,2", "1,2"), ("", ""),
]  # fmt: skip
CUSTOM = {
    **dict.fromkeys(
        (
            "varchar",
            "varchar_auto",
            "text",
            "phone",
            "varchar_options",
            "status",
            "billing_frequency",
            "lead",
        ),
        TEXTS,
    ),
    **dict.fromkeys(
        ("enum", "user", "org", "people", "deal", "project", "stage", "activity", "visible_to"),
        INTEGERS,
    ),
    **dict.fromkeys(("projects_board", "projects_phase", "int"), INTEGERS),
    **dict.fromkeys(("set", "deals"), LISTS),
    **dict.fromkeys(("double", "monetary"), NUMBERS),
    "boolean": FLAGS,
    **dict.fromkeys(("date", "daterange"), DAYS),
    **dict.fromkeys(("time", "timerange", "address"), PARTS),
    **dict.fromkeys(("json", "novelty"), WHATEVER),
}
STANDARD = {
    "owner_id": INTEGERS, "products_count": INTEGERS, "channel": INTEGERS, "value": NUMBERS,
    "probability": NUMBERS, "is_archived": FLAGS,
    "add_time": TIMES, "won_time": TIMES, "expected_close_date": DAYS, "local_won_date": DAYS,
    "title": TEXTS, "origin_id": TEXTS,
    "label_ids": LISTS,
}  # fmt: skip


def shown(cell: Any) -> Any:
    """Return a cell of a frame as the tables above write it."""
    if isinstance(cell, pd.Timestamp):
        return cell.date().isoformat() if cell.tzinfo is None else cell.isoformat()[:19]
    if isinstance(cell, pd.Timedelta):
        return cell.total_seconds()
    if isinstance(cell, list):
        return [None if pd.isna(item) else item for item in cell]
    return None if pd.isna(cell) else cell


def check(
    frame: pd.DataFrame, forms: dict[str, list[tuple[Any, Any]]], reported: list[str], table: str
) -> None:
    """Compare each column with its table, and with what one warning says of it."""
    for column, pairs in forms.items():
        cells = [shown(cell) for cell in frame[column].tolist()[: len(pairs)]]
        wrong = [
            (form, cell, right)
            for (form, right), cell in zip(pairs, cells, strict=True)
            if cell != right
        ]
        assert not wrong, (column, wrong)
        assert [type(cell) for cell in cells] == [type(right) for _, right in pairs], column
        unread = [form for form, right in pairs if right is NO]
        said = [text for text in reported if text.startswith(f"{table}, column {column!r}: ")]
        if unread:
            assert len(said) == 1, (column, reported)
            assert f": {len(unread)} values do not fit" in said[0]
            assert f"for example {unread[0]!r}." in said[0]
        else:
            assert not said


def rows_of(forms: dict[str, list[tuple[Any, Any]]]) -> list[dict[str, Any]]:
    """Return rows of which the nth holds the nth form of each column."""
    return [
        {name: pairs[place][0] for name, pairs in forms.items() if place < len(pairs)}
        for place in range(max(map(len, forms.values())))
    ]


def test_every_type_of_custom_field_reads_every_form(tmp_path: Path) -> None:
    codes = {kind: code(number) for number, kind in enumerate(CUSTOM, 16)}
    fields = [field(number, kind, kind) for number, kind in enumerate(CUSTOM, 16)]
    forms = {codes[kind]: pairs for kind, pairs in CUSTOM.items()}
    deals = [deal(number, custom_fields=row) for number, row in enumerate(rows_of(forms), 1)]
    with connected(tmp_path, {"deals": deals, "dealFields": fields}) as account:
        with pytest.warns(DataWarning) as caught:
            frame = account.deals(labels=False)
        labels = account.fields("deals").set_index("code")["column"]
    assert frame["title"].tolist() == [row["title"] for row in deals]
    reported = notes_in(caught)
    for column in labels[list(forms)]:
        reported = [
            text.replace(f"column {column!r}: ", f"column {labels[labels == column].index[0]!r}: ")
            for text in reported
        ]
    check(frame, forms, reported, "deals")


def test_every_type_of_standard_column_reads_every_form(tmp_path: Path) -> None:
    deals = [deal(number) | row for number, row in enumerate(rows_of(STANDARD), 1)]
    activities = [{"id": number, "duration": form} for number, (form, _) in enumerate(DURATIONS, 1)]
    with connected(tmp_path, {"deals": deals, "activities": activities}) as account:
        with pytest.warns(DataWarning) as caught:
            frame = account.deals(labels=False)
        check(frame, STANDARD, notes_in(caught), "deals")
        with pytest.warns(DataWarning) as caught:
            frame = account.activities(columns=["duration"])
        check(
            frame,
            {"duration": DURATIONS},
            notes_in(caught),
            "activities",
        )


def test_the_ids_of_options_may_be_true_and_false(tmp_path: Path) -> None:
    yes_no = [{"id": True, "label": "Yes"}, {"id": False, "label": "No"}]
    fields = [
        field(1, "Signed", "enum", options=yes_no),
        field(2, "Answers", "set", options=yes_no),
        field(3, "Size", "enum", options=[{"id": 1, "label": "S"}, {"id": "2.0", "label": "M"}]),
        {
            "field_code": "channel",
            "field_name": "Channel",
            "field_type": "enum",
            "options": yes_no,
            "is_custom_field": False,
        },
        {
            "field_code": "label",
            "field_name": "Label",
            "field_type": "set",
            "options": yes_no,
            "is_custom_field": False,
        },
    ]
    forms: list[tuple[Any, str]] = [
        (True, "Yes"),
        (False, "No"),
        (1, "Yes"),
        (0, "No"),
        ("true", "Yes"),
        ("False", "No"),
        ("1", "Yes"),
    ]
    deals = [
        deal(
            number,
            channel=form,
            label_ids=[form],
            custom_fields={code(1): form, code(2): [form, 0], code(3): 2},
        )
        for number, (form, _) in enumerate(forms, 1)
    ]
    with connected(tmp_path, {"deals": deals, "dealFields": fields}) as account:
        frame = account.deals()
        options = account.fields("deals").set_index("label")["options"]
    right = [label for _, label in forms]
    assert frame["Signed"].tolist() == frame["channel"].tolist() == right
    assert frame["Signed"].cat.categories.tolist() == ["Yes", "No"]
    assert [list(cell) for cell in frame["Answers"]] == [[label, "No"] for label in right]
    assert [list(cell) for cell in frame["label_ids"]] == [[label] for label in right]
    assert frame["Size"].tolist() == ["M"] * len(forms)
    assert list(options["Signed"]) == ["Yes", "No"]


def test_a_contact_may_be_flagged_primary_in_every_form_of_a_flag(tmp_path: Path) -> None:
    persons = [
        {
            "id": number,
            "name": f"P{number}",
            "emails": [
                {"value": "a@x.com", "primary": other},
                {"value": "b@x.com", "primary": form},
            ],
        }
        for number, (form, other) in enumerate(
            [(True, False), (1, 0), ("1", "0"), ("true", "false"), (1.0, None)], 1
        )
    ]
    with connected(tmp_path, {"persons": persons}) as account:
        frame = account.persons(columns=["emails", "primary_email"])
    assert frame["primary_email"].tolist() == ["b@x.com"] * len(persons)
    assert [mails[1]["primary"] for mails in frame["emails"]] == [True] * len(persons)


def test_a_cell_that_cannot_be_read_costs_no_other(tmp_path: Path) -> None:
    fields = [field(1, "Seats", "int"), field(2, "Start", "date")]
    deals = [
        deal(number, value=number, custom_fields={code(1): f"{number}.0", code(2): "2026-01-01"})
        for number in range(1, 700)
    ]
    deals[400]["custom_fields"] = {code(1): "many", code(2): "2026-01-01"}
    reported = r"^deals, column 'Seats': 1 value does not fit .* null, for example 'many'\.$"
    with (
        connected(tmp_path, {"deals": deals, "dealFields": fields}) as account,
        pytest.warns(DataWarning, match=reported),
    ):
        frame = account.deals()
    assert len(frame) == 699
    assert frame.loc[frame["Seats"].isna(), ["id", "value"]].to_numpy().tolist() == [[401, 401.0]]
    assert frame["Start"].eq(pd.Timestamp("2026-01-01")).all()


@pytest.mark.parametrize(
    ("before", "stored", "now", "read"),
    [
        ("int", [7, 1, 0], "boolean", [NO, True, False]),
        ("boolean", [True, False], "int", [NO, NO]),
        ("boolean", [True, False], "double", [NO, NO]),
        ("boolean", [True, False], "varchar", ["true", "false"]),
        ("double", [5.0, 5.5], "int", [5, NO]),
        ("double", [1.0, 0.5], "boolean", [True, NO]),
        ("double", [5.5], "varchar", ["5.5"]),
        ("int", [20_000], "date", [NO]),
        ("date", ["2026-01-02"], "int", [NO]),
        ("date", ["2026-01-02"], "varchar", ["2026-01-02"]),
        ("varchar", ["5.0", "x", "null", "true"], "int", [5, NO, NO, NO]),
        ("varchar", ["1,2", "[1]"], "set", [[1, 2], [1]]),
        ("varchar", ["2026-01-02 00:00:00"], "date", ["2026-01-02"]),
        ("set", [[1, 2]], "deals", [[1, 2]]),
    ],
)
def test_stored_values_of_a_field_whose_type_changed_are_read_as_new_ones(
    tmp_path: Path, before: str, stored: list[Any], now: str, read: list[Any]
) -> None:
    lists: dict[str, list[Any]] = {"dealFields": [field(1, "Odd", before)]}
    lists["deals"] = [
        deal(number, custom_fields={code(1): value}) for number, value in enumerate(stored, 1)
    ]
    unread = read.count(NO)
    with connected(tmp_path, lists) as account:
        account.deals(labels=False)
        lists["dealFields"] = [field(1, "Odd", now)]
        account.sync("deal_fields")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            cells = account.deals(refresh=False, labels=False)[code(1)].tolist()
    assert [shown(cell) for cell in cells] == read
    reported = f"column 'Odd': {unread} value{'s do' if unread > 1 else ' does'} not fit"
    assert [reported in str(warning.message) for warning in caught] == [True] * (unread > 0)


KINDS = [
    kind for kind in CUSTOM if kind not in ("time", "timerange", "daterange", "monetary", "address")
]
FIELDS = {kind: read_fields([field(1, kind, kind)]) for kind in KINDS}


def typed(value: Any, kind: str) -> tuple[pa.Table, Any]:
    rows, _ = to_arrow(
        [{"id": 1, "custom_fields": {code(1): value}}], TABLES["deals"], FIELDS[kind]
    )
    return rows, rows[code(1)].to_pylist()[0]


@settings(max_examples=examples(80), deadline=None)
@given(
    st.sampled_from(KINDS),
    JSON_VALUES | st.sampled_from([form for pairs in CUSTOM.values() for form, _ in pairs]),
)
@example("double", "null")
@example("varchar", math.inf)
@example("projects_board", 5.025102857853978e16)
@example("set", "1,2")
@example("int", "9007199254740993.0")
@example("date", "2025-03-01T00:00:00Z")
def test_reading_again_through_parquet_changes_nothing(kind: str, value: Any) -> None:
    table, fields = TABLES["deals"], FIELDS[kind]
    rows, cell = typed(value, kind)
    again, problems = unify([through_parquet(rows)], table, fields)
    assert not problems
    assert again.equals(rows)
    # Before its field is known, a value is kept as text. Then "[1]" and [1] are the same.
    if CUSTOM[kind] is TEXTS and (
        isinstance(value, bool) or not isinstance(value, str | int | float)
    ):
        return
    if isinstance(value, str) and value.startswith(("[", "{")):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before, _ = to_arrow([{"id": 1, "custom_fields": {code(1): value}}], table, ())
        late, _ = unify([through_parquet(before)], table, fields)
    assert late[code(1)].to_pylist() == [cell]
    # What was read is read as itself.
    written = cell.isoformat() if hasattr(cell, "isoformat") else cell
    assert typed(written, kind)[1] == cell

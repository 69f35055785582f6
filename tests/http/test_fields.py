import json
import random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdframe.fields import (
    Field,
    fields_frame,
    name_columns,
    option_labels,
    read_fields,
    undefined_label,
)
from pdframe.schema import TABLES
from tests.helpers.tiers import examples

RESERVED = TABLES["deals"].reserved
A, B, C, D = "948c29" + "a" * 34, "eadf62" + "b" * 34, "123456" + "c" * 34, "777777" + "d" * 34


def row(
    code: str,
    label: str | None,
    kind: str = "varchar",
    *,
    options=None,
    subfields=None,
    custom: bool = True,
) -> dict:
    named = (
        None
        if subfields is None
        else [
            {"field_code": key, "field_name": name, "field_type": "varchar"}
            for key, name in subfields.items()
        ]
    )
    return {
        "field_code": code,
        "field_name": label,
        "field_type": kind,
        "is_custom_field": custom,
        "options": options,
        "subfields": named,
    }


def money(code: str, label: str) -> dict:
    return row(
        code,
        label,
        "monetary",
        subfields={"value": f"Amount of {label}", "currency": f"Currency of {label}"},
    )


def names(*rows: dict, reserved=RESERVED) -> dict[str, str]:
    return name_columns(read_fields(rows), reserved)


def test_a_label_names_its_column_stripped() -> None:
    assert names(row(A, "  Region \t")) == {A: "Region"}


@pytest.mark.parametrize("label", [None, "", "  "])
def test_an_empty_label_leaves_the_hash(label) -> None:
    fields = [
        row(A, label),
        row(B, label, "monetary", subfields={"value": "Amount of ", "currency": "Currency of "}),
    ]
    assert names(*fields) == {A: A, B: B, f"{B}_currency": f"{B}_currency"}


def test_a_composite_keeps_its_label_and_its_parts_take_the_subfield_names() -> None:
    assert names(money(A, "Budget")) == {A: "Budget", f"{A}_currency": "Currency of Budget"}


def test_parts_that_the_metadata_does_not_name_take_the_label() -> None:
    assert names(
        row(A, "Budget", "monetary"),
        row(B, "Term", "daterange"),
        row(C, "Shift", "timerange"),
        row(D, "Call", "time"),
    ) == {
        A: "Budget",
        f"{A}_currency": "Budget (currency)",
        B: "Term",
        f"{B}_until": "Term (until)",
        C: "Shift",
        f"{C}_until": "Shift (until)",
        f"{C}_timezone_name": "Shift (timezone_name)",
        D: "Call",
        f"{D}_timezone_name": "Call (timezone_name)",
    }


def test_an_address_has_its_parts_and_those_that_the_metadata_adds() -> None:
    named = names(
        row(
            A,
            "Site",
            "address",
            subfields={
                "country": "Country of Site",
                "formatted_address": "Formatted address of Site",
            },
        )
    )
    assert list(named) == [
        A,
        *(
            f"{A}_{part}"
            for part in (
                "country",
                "admin_area_level_1",
                "admin_area_level_2",
                "locality",
                "sublocality",
                "route",
                "street_number",
                "subpremise",
                "postal_code",
                "formatted_address",
            )
        ),
    ]
    assert named[f"{A}_country"] == "Country of Site"
    assert named[f"{A}_route"] == "Site (route)"
    assert named[f"{A}_formatted_address"] == "Formatted address of Site"


def test_two_equal_labels_both_take_their_hash_on_each_column() -> None:
    assert names(money(A, "Budget"), money(B, "Budget")) == {
        A: "Budget (948c29)",
        f"{A}_currency": "Currency of Budget (948c29)",
        B: "Budget (eadf62)",
        f"{B}_currency": "Currency of Budget (eadf62)",
    }


def test_labels_that_are_reserved_take_their_hash() -> None:
    assert names(
        row(A, "title"), row(B, "owner_name"), row(C, "local_won_date"), row(D, "products_count")
    ) == {
        A: "title (948c29)",
        B: "owner_name (eadf62)",
        C: "local_won_date (123456)",
        D: "products_count (777777)",
    }


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("one", "twin"),
    [
        ("region", "Region"),
        ("ÕHK", "õhk"),
        ("ΣΟΦΟΣ", "σοφος"),
        ("Straße", "STRASSE"),
        ("caf\u00e9", "cafe\u0301"),
        ("Deal size", "Deal  size"),
        ("Deal size", "Deal\u00a0size"),
        ("Deal size", "Deal\x0bsize"),
        ("Acme", "Ac\x00me"),
        ("Acme", "Acme \x00"),
    ],
    ids=ascii,
)
def test_names_that_read_the_same_are_one_name(one: str, twin: str) -> None:
    assert names(row(A, one), row(B, twin)) == {A: f"{one} (948c29)", B: f"{twin} (eadf62)"}


def test_names_that_are_distinguished_remain_as_they_are() -> None:
    labels = ["Region", "Region 2", "Région", "Region (a)", "Re gion", "Regiøn"]
    codes = [f"{number:040x}" for number in range(len(labels))]
    assert names(*map(row, codes, labels)) == dict(zip(codes, labels, strict=True))


def test_a_standard_column_shares_its_name_with_every_case_of_it() -> None:
    assert names(row(A, "Status"), row(B, "OWNER_NAME"), row(C, "Title ")) == {
        A: "Status (948c29)",
        B: "OWNER_NAME (eadf62)",
        C: "Title (123456)",
    }


def test_parts_whose_keys_differ_by_case_alone() -> None:
    site = names(row(A, "Site", "address", subfields={"City": "", "city": "", "CITY": "Town"}))
    shown = {key: site[f"{A}_{key}"] for key in ("City", "city", "CITY")}
    # The digits are those of the keys: `printf City | sha256sum`.
    assert shown == {"City": "Site (City) (fc33f7)", "city": "Site (city) (11a62c)", "CITY": "Town"}


def test_a_label_without_any_visible_character_leaves_the_hash() -> None:
    assert names(row(A, "\x00"), row(B, "\x1f \x85")) == {A: A, B: B}


def test_codes_that_differ_by_case_alone_have_names_that_differ_more() -> None:
    named = names(row("AB" * 20, "x"), row("ab" * 20, "x"))
    assert len({name.casefold() for name in named.values()}) == 2


def test_a_third_field_labelled_like_a_suffixed_one() -> None:
    assert names(row(A, "Budget"), row(B, "Budget"), row(C, "Budget (948c29)")) == {
        A: "Budget (948c29a)",
        B: "Budget (eadf62)",
        C: "Budget (948c29) (123456)",
    }


def test_hashes_that_begin_alike_take_more_digits_until_unique() -> None:
    near, far = "948c29a" + "0" * 33, "948c29b" + "0" * 33
    assert names(row(near, "Region"), row(far, "Region"), row(B, "Region")) == {
        near: "Region (948c29a)",
        far: "Region (948c29b)",
        B: "Region (eadf62)",
    }


def test_labels_that_collide_through_a_part_alone() -> None:
    assert names(money(A, "Budget"), row(B, "Currency of Budget")) == {
        A: "Budget (948c29)",
        f"{A}_currency": "Currency of Budget (948c29)",
        B: "Currency of Budget (eadf62)",
    }
    assert (
        names(row(A, "x", "monetary", subfields={"currency": "title"}))[f"{A}_currency"]
        == "title (948c29)"
    )


def test_a_subfield_named_like_its_field_or_like_another_subfield() -> None:
    assert names(row(A, "Budget", "monetary", subfields={"currency": " Budget "})) == {
        A: "Budget",
        f"{A}_currency": "Budget (currency)",
    }
    assert names(row(A, "Shift", "timerange", subfields={"until": "x", "timezone_name": "x"})) == {
        A: "Shift",
        f"{A}_until": "Shift (until)",
        f"{A}_timezone_name": "Shift (timezone_name)",
    }
    assert names(
        row(A, "Shift", "timerange", subfields={"until": "Shift", "timezone_name": "Shift (until)"})
    ) == {
        A: "Shift",
        f"{A}_until": "Shift (until)",
        f"{A}_timezone_name": "Shift (timezone_name)",
    }


def test_a_label_equal_to_a_hash() -> None:
    assert names(row(A, B), row(B, "Region")) == {A: B, B: "Region"}
    assert names(row(A, B), row(B, "")) == {A: f"{B} (948c29)", B: f"{B} (eadf62)"}


@pytest.mark.parametrize(
    "label",
    ["Регион", "地域", "🚀 “Rocket” 'n' \"quotes\"", "x" * 180, "a\nb", "%s {0} $x", "نطاق"],
)
def test_every_alphabet_is_kept(label) -> None:
    assert names(row(A, label)) == {A: label}
    assert names(row(A, label), row(B, label)) == {A: f"{label} (948c29)", B: f"{label} (eadf62)"}


def test_a_renamed_field_changes_its_own_name_only() -> None:
    before = names(row(A, "Region"), row(B, "Size"))
    after = names(row(A, "Territory"), row(B, "Size"))
    assert before == {A: "Region", B: "Size"}
    assert after == {A: "Territory", B: "Size"}


def test_six_hundred_fields() -> None:
    rows = [row(f"{number:040x}", f"Field {number % 550}") for number in range(600)]
    named = names(*rows)
    assert len(set(named.values())) == 600
    assert named[f"{100:040x}"] == "Field 100"
    assert (
        named[f"{1:040x}"] == f"Field 1 ({'0' * 38})"
    )  # 551 is 0x227: distinguished by the 38th digit


LABELS = st.one_of(
    st.sampled_from(
        [
            "Budget",
            "Budget ",
            "budget",
            "BUDGET",
            "title",
            "Title",
            "owner_name",
            "Budget (948c29)",
            "Currency of Budget",
            "Budget (until)",
            "budget (until)",
            "Budget (odd)",
            A,
            B,
            A.upper(),
            "",
        ]
    ),
    st.text(max_size=6),
)
CODES = st.one_of(
    st.text("0123456789abcdef", min_size=40, max_size=40),
    st.text("948c29a) (", min_size=1, max_size=9),
    st.sampled_from([A, A[:-1] + "f", B, A.upper()]),
)
ROWS = st.lists(
    st.builds(
        row,
        CODES,
        LABELS,
        st.sampled_from(
            ["varchar", "monetary", "daterange", "timerange", "address", "enum", "made up"]
        ),
        subfields=st.none()
        | st.dictionaries(
            st.sampled_from(["value", "currency", "until", "odd", "Odd"]), LABELS, max_size=3
        ),
    ),
    max_size=12,
    unique_by=lambda one: one["field_code"],
)


@settings(max_examples=examples(300), deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_names_are_unique_unreserved_and_independent_of_order(
    rows: list[dict], rng: random.Random
) -> None:
    codes = {field["field_code"] for field in rows}
    result = [
        f"{code}_{key}" for code in sorted(codes) for key in ("odd", "ODD", "until", "timezone_id")
    ]
    for stored in ((), result):
        named = name_columns(read_fields(rows), RESERVED, stored)
        folded = {name.casefold() for name in named.values()}
        assert len(folded) == len(named)
        assert not folded & RESERVED
        shuffled = rng.sample(rows, len(rows))
        if (
            not any(
                other != code and other.startswith(f"{code}_") for code in codes for other in codes
            )
            and not codes & RESERVED
        ):
            assert (
                name_columns(read_fields(shuffled), RESERVED, rng.sample(stored, len(stored)))
                == named
            )


@settings(max_examples=examples(100), deadline=None)
@given(ROWS, st.text("xyz", min_size=1, max_size=5))
def test_renaming_an_unrelated_field_changes_nothing_else(rows: list[dict], label: str) -> None:
    lonely = "f" * 39 + "0"
    rows = [field for field in rows if field["field_code"] != lonely]
    before = names(*rows, row(lonely, "entirely unrelated"))
    after = names(*rows, row(lonely, f"no relation {label}"))
    assert {code: name for code, name in before.items() if code != lonely} == {
        code: name for code, name in after.items() if code != lonely
    }


def only(*rows: dict) -> Field:
    (field,) = read_fields(rows)
    return field


def test_options_in_their_order_and_ids_as_integers() -> None:
    field = only(
        row(
            A,
            "Priority",
            "enum",
            options=[
                {"id": "263", "label": "High"},
                {"id": 7, "label": "Low"},
                {"id": "no_id", "label": "Odd"},
            ],
        )
    )
    assert option_labels(field) == {263: "High", 7: "Low", "no_id": "Odd"}


def test_options_that_share_a_label_read_label_and_id() -> None:
    options = [
        {"id": 1, "label": "A"},
        {"id": 2, "label": "A"},
        {"id": 3, "label": "A (1)"},
        {"id": 4, "label": "B"},
    ]
    assert option_labels(only(row(A, "x", "enum", options=options))) == {
        1: "A (1) (1)",
        2: "A (2)",
        3: "A (1) (3)",
        4: "B",
    }


@given(
    st.lists(
        st.tuples(st.integers(-5, 20), st.sampled_from(["A", "A (1)", "A (2)", "", "#9"])),
        max_size=10,
    )
)
def test_option_labels_are_unique(pairs) -> None:
    labels = option_labels(
        only(
            row(A, "x", "set", options=[{"id": number, "label": label} for number, label in pairs])
        )
    )
    assert len(set(labels.values())) == len(labels)
    assert set(labels) == {number for number, _ in pairs}


def test_an_undefined_option_is_distinguished_from_a_label_of_that_wording() -> None:
    assert undefined_label(9999, ["High"]) == "#9999"
    assert undefined_label(9999, ["#9999"]) == "#9999 (9999)"


def test_cached_and_wire_rows_read_alike() -> None:
    wire = money(A, "Budget") | {"options": [{"id": 1, "label": "x"}]}
    cached = wire | {
        "options": json.dumps(wire["options"]),
        "subfields": json.dumps(wire["subfields"]),
    }
    assert read_fields([wire]) == read_fields([cached])


def test_rows_that_are_no_fields_are_skipped_and_the_first_of_a_code_counts() -> None:
    rows = [
        None,
        3,
        {},
        {"field_code": ""},
        row(A, "one"),
        row(A, "two"),
        {"field_code": B, "options": "{", "subfields": 3, "field_name": 5},
    ]
    assert [(field.code, field.label) for field in read_fields(rows)] == [(A, "one"), (B, "")]


def test_fields_frame_has_a_row_per_frame_column() -> None:
    fields = read_fields(
        [
            row("title", "Deal Title", custom=False),
            row(
                "value",
                "Value",
                "monetary",
                custom=False,
                subfields={"value": "Amount", "currency": "Currency"},
            ),
            row("label", "Label", "set", custom=False, options=[{"id": "1", "label": "Hot"}]),
            row("weighted_value", "Weighted value", "monetary", custom=False),
            money(A, "Budget"),
            row(B, "Region", "enum", options=[{"id": 1, "label": "N"}, {"id": 2, "label": "N"}]),
        ]
    )
    frame = fields_frame(fields, TABLES["deals"])
    assert list(frame.columns) == [
        "column",
        "label",
        "code",
        "type",
        "is_custom",
        "options",
        "subfield",
    ]
    result = [
        (
            one["column"] if isinstance(one["column"], str) else None,
            one["code"],
            one["subfield"] if isinstance(one["subfield"], str) else None,
        )
        for one in frame.to_dict("records")
    ]
    assert result == [
        ("title", "title", None),
        ("value", "value", None),
        ("currency", "value", "currency"),
        ("label_ids", "label", None),
        (None, "weighted_value", None),
        ("Budget", A, None),
        ("Currency of Budget", A, "currency"),
        ("Region", B, None),
    ]
    assert list(frame["options"].iloc[-1]) == ["N (1)", "N (2)"]
    assert frame["options"].isna().tolist() == [True, True, True, False, True, True, True, False]
    assert frame.dtypes.astype(str).tolist() == [
        "str",
        "str",
        "str",
        "str",
        "boolean",
        "list<item: string>[pyarrow]",
        "str",
    ]
    assert fields_frame((), TABLES["deals"]).dtypes.equals(frame.dtypes)


def test_fields_frame_maps_codes_that_are_not_the_records_key() -> None:
    persons = fields_frame(
        read_fields(
            [row("phone", "Phone", "phone", custom=False), row("email", "Email", custom=False)]
        ),
        TABLES["persons"],
    )
    assert persons["column"].tolist() == ["phones", "primary_phone", "emails", "primary_email"]
    assert persons["subfield"].isna().all()
    activities = fields_frame(
        read_fields([row("location", "Location", "address", custom=False)]), TABLES["activities"]
    )
    assert activities["column"].tolist()[:2] == ["location", "location_country"]
    assert activities["subfield"].iloc[1:3].tolist() == ["country", "admin_area_level_1"]
    assert pd.isna(activities["subfield"][0])

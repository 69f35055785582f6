"""Names of columns as other programs meet them: readable, unique without regard to case, and free
of control characters.
"""

from __future__ import annotations

import csv
import itertools
import sqlite3
import unicodedata
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

import pdframe
from pdframe.errors import ArgumentError
from pdframe.metrics import win_rate
from tests.helpers.no_names import no_names_by_default as no_names_by_default
from tests.helpers.served_lists import code, connected, deal, field

TALLINN = {"timezone_id": 327, "timezone_name": "Europe/Tallinn"}


def custom(frame: pd.DataFrame) -> list[str]:
    """Return the columns after the standard ones."""
    columns = list(frame)
    return columns[columns.index("smart_bcc_email") + 1 :]


# Parts that nothing declares


STANDUP, SHIFT, SITE, FEE = (code(number) for number in (1, 2, 3, 4))
FIELDS = [
    field(1, "Standup", "time"),
    field(
        2,
        "Shift",
        "timerange",
        subfields=[{"field_code": "until", "field_name": "End of Shift", "field_type": "time"}],
    ),
    field(3, "Site", "address"),
    field(
        4,
        "Fee",
        "monetary",
        subfields=[
            {"field_code": "currency", "field_name": "Currency of Fee", "field_type": "varchar"}
        ],
    ),
]
VALUES: dict[str, Any] = {
    STANDUP: {"value": "09:30:00"} | TALLINN,
    SHIFT: {"value": "22:00:00", "until": "06:00:00"} | TALLINN,
    SITE: {
        "value": "Main St 1",
        "country": "EE",
        "formatted_address": "Main St 1, Tallinn",
        "geo": {"lat": 59.4},
    },
    FEE: {"value": 5, "currency": "EUR", "vat": 1.1},
}
RESULT = {
    f"{STANDUP}_timezone_id": "327",
    f"{SHIFT}_timezone_id": "327",
    f"{SITE}_formatted_address": "Main St 1, Tallinn",
    f"{SITE}_geo": '{"lat":59.4}',
    f"{FEE}_vat": "1.1",
}


def test_undeclared_parts_have_readable_names_and_stand_in_fields(tmp_path: Path) -> None:
    deals = [deal(1, custom_fields=VALUES), deal(2, custom_fields={STANDUP: "10:00:00"})]
    with connected(tmp_path, {"deals": deals, "dealFields": FIELDS}) as account:
        before = account.fields("deals")
        frame = account.deals()
        fields = account.fields("deals")
        hashes = account.deals(refresh=False, labels=False)
        chosen = account.deals(refresh=False, columns=["Standup (timezone_id)", f"{FEE}_vat"])
    right = {
        "Standup (timezone_id)": ["327", None],
        "Shift (timezone_id)": ["327", None],
        "Site (formatted_address)": ["Main St 1, Tallinn", None],
        "Site (geo)": ['{"lat":59.4}', None],
        "Fee (vat)": ["1.1", None],
    }
    assert {
        name: [None if pd.isna(cell) else cell for cell in frame[name]] for name in right
    } == right
    assert not [name for name in frame if any(one in name for one in VALUES)]
    assert frame["Standup"].tolist() == ["09:30:00", "10:00:00"]
    assert chosen.columns.tolist() == ["Standup (timezone_id)", "Fee (vat)"]
    # Without labels they keep the hash.
    assert {name: hashes[name].iloc[0] for name in RESULT} == RESULT
    # fields() lists every custom column of the frame, each part after the others of its field.
    assert sorted(fields.loc[fields["is_custom"], "column"]) == sorted(custom(frame))
    listed = fields[fields["code"] == STANDUP]
    assert listed["column"].tolist() == [
        "Standup",
        "Standup (timezone_name)",
        "Standup (timezone_id)",
    ]
    assert listed["subfield"].tolist()[1:] == ["timezone_name", "timezone_id"]
    assert listed["type"].tolist() == ["time"] * 3
    # Before there are rows, there is nothing to find.
    assert set(fields["column"]) - set(before["column"]) == set(right)


def test_undeclared_parts_take_the_suffix_of_their_field(tmp_path: Path) -> None:
    fields = [*FIELDS[:1], field(5, "Standup (timezone_id)"), *FIELDS[2:], field(6, "fee")]
    deals = [deal(1, custom_fields=VALUES | {code(5): "x", code(6): "y"})]
    with connected(tmp_path, {"deals": deals, "dealFields": fields}) as account:
        frame = account.deals()
        listed = account.fields("deals").query("is_custom")["column"].tolist()
    assert frame["Standup (timezone_id) (100000)"].tolist() == ["327"]
    assert frame["Standup (timezone_id) (500000)"].tolist() == ["x"]
    assert frame["Standup (timezone_name) (100000)"].tolist() == ["Europe/Tallinn"]
    assert frame[["Fee (400000)", "Fee (vat) (400000)", "Currency of Fee (400000)"]].iloc[
        0
    ].tolist() == [5.0, "1.1", "EUR"]
    assert frame["fee (600000)"].tolist() == ["y"]
    assert sorted(listed) == sorted(name for name in custom(frame) if SHIFT not in name)


def test_parts_of_values_that_arrived_before_their_field_are_named_too(tmp_path: Path) -> None:
    lists: dict[str, list[Any]] = {"deals": [deal(1, custom_fields=VALUES)], "dealFields": []}
    with connected(tmp_path, lists) as account:
        assert set(VALUES) <= set(account.deals())
        lists["dealFields"] = FIELDS
        account.sync("deal_fields")
        frame = account.deals(refresh=False)
        fields = account.fields("deals")
    assert frame[["Standup (timezone_id)", "Fee (vat)"]].iloc[0].tolist() == ["327", "1.1"]
    assert sorted(fields.loc[fields["is_custom"], "column"]) == sorted(custom(frame))


@pytest.mark.parametrize("cut", [0, 400])
def test_fields_are_listed_though_the_cached_rows_are_damaged(tmp_path: Path, cut: int) -> None:
    with connected(
        tmp_path, {"deals": [deal(1, custom_fields=VALUES)], "dealFields": FIELDS}
    ) as account:
        account.deals()
        (part,) = (account.cache_path / "deals").glob("*.parquet")
        part.write_bytes(part.read_bytes()[:cut])
        assert "Standup" in account.fields("deals")["column"].tolist()


# One name without regard to case


TWINS = [
    field(1, "Status"), field(2, "VALUE", "double"), field(3, "Owner_ID"), field(4, "Region"),
    field(5, "REGION"), field(6, "Õhk"),
    field(7, "õHK"), field(8, "Org_Name"), field(9, "Untouched"), field(10, "Caf\u00e9"),
    field(11, "Cafe\u0301"),
    field(12, "Deal size"), field(13, "Deal\u00a0 Size"),
    field(14, "Cost", "monetary",
    subfields=[{"field_code": "currency", "field_name": "CURRENCY", "field_type": "varchar"}]),
]  # fmt: skip
SHOWN = [
    "Status (100000)", "VALUE (200000)", "Owner_ID (300000)", "Region (400000)", "REGION (500000)",
    "Õhk (600000)", "õHK (700000)",
    "Org_Name (800000)", "Untouched", "Caf\u00e9 (a00000)", "Cafe\u0301 (b00000)",
    "Deal size (c00000)", "Deal\u00a0 Size (d00000)",
    "Cost (e00000)", "CURRENCY (e00000)",
]  # fmt: skip


def deals_of_twins() -> list[dict[str, Any]]:
    cells: dict[str, Any] = {one["field_code"]: f"of {one['field_name']}" for one in TWINS}
    cells |= {code(2): 7.5, code(14): {"value": 3, "currency": "EUR"}}
    # Columns that nothing declares: a standard one in another case, and two that differ by case
    # alone.
    return [
        deal(1, custom_fields=cells, value=100, Title="other", mood="good", MOOD="bad"),
        deal(2),
    ]


def test_names_of_a_frame_are_unique_without_case(tmp_path: Path) -> None:
    with connected(tmp_path, {"deals": deals_of_twins(), "dealFields": TWINS}) as account:
        frames = [
            account.deals(labels=labels, names=names)
            for labels, names in itertools.product((True, False), (True, False))
        ]
        with pytest.raises(ArgumentError, match=r"Columns of that label: 'Status \(100000\)'"):
            account.deals(columns=["Status"])
        assert set(account.fields("deals").query("is_custom")["column"]) == set(SHOWN)
    for frame in frames:
        assert len({name.casefold() for name in frame}) == len(frame.columns)
        assert frame["title"].tolist() == ["Deal 1", "Deal 2"]
        assert frame["Title (unknown)"].iloc[0] == "other"
        assert frame[["MOOD", "mood (unknown)"]].iloc[0].tolist() == ["bad", "good"]
    labelled = frames[1]
    assert [name for name in labelled if name in SHOWN] == SHOWN
    assert labelled[["status", "Status (100000)", "value", "VALUE (200000)"]].iloc[0].tolist() == [
        "open",
        "of Status",
        100.0,
        7.5,
    ]
    assert set(frames[3]) >= {one["field_code"] for one in TWINS}


@pytest.mark.parametrize("label", ["deleted_time", "Deleted_Time"])
def test_the_column_that_deleted_adds_is_reserved_in_every_frame_of_deals(
    tmp_path: Path, label: str
) -> None:
    won = deal(
        1,
        status="won",
        won_time="2026-01-01T00:00:00Z",
        add_time="2025-12-01T00:00:00Z",
        custom_fields={code(1): "never"},
    )
    with connected(tmp_path, {"deals": [won], "dealFields": [field(1, label)]}) as account:
        frame, both = account.deals(), account.deals(deleted=True)
        listed = account.fields("deals").query("is_custom")["column"].tolist()
    assert custom(frame) == custom(both) == listed == [f"{label} (100000)"]
    assert "deleted_time" not in frame
    assert both["deleted_time"].isna().all()
    # Metrics read the time of a deletion by this name: they never meet the custom column.
    for deals in (frame, both):
        assert win_rate(deals, since="2026-01-01", until="2026-02-01")["won"].tolist() == [1]


@pytest.mark.parametrize("labels", [True, False])
def test_duckdb_and_sqlite_load_exports_under_the_names_of_the_frame(
    tmp_path: Path, labels: bool
) -> None:
    with connected(tmp_path / "cache", {"deals": deals_of_twins(), "dealFields": TWINS}) as account:
        frame = account.deals(labels=labels)
        for format in ("parquet", "csv"):
            account.export(tmp_path / format, "deals", format=format, labels=labels)
    parquet, text = tmp_path / "parquet/deals.parquet", tmp_path / "csv/deals.csv"
    with duckdb.connect() as connection:
        for source in (f"read_parquet('{parquet}')", f"read_csv('{text}', all_varchar=true)"):
            connection.execute(f"CREATE OR REPLACE TABLE deals AS SELECT * FROM {source}")
            names = [row[0] for row in connection.execute("DESCRIBE deals").fetchall()]
            assert names == list(frame)
            quoted = '"' + (SHOWN[0] if labels else code(1)).upper() + '"'
            result = connection.execute(
                f'SELECT {quoted}, "STATUS", "title" FROM deals ORDER BY "id"'
            ).fetchall()
            assert result == [("of Status", "open", "Deal 1"), (None, "open", "Deal 2")]
    base = sqlite3.connect(":memory:")
    with text.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file))
    columns = ", ".join('"' + name.replace('"', '""') + '"' for name in header)
    base.execute(
        f"CREATE TABLE deals ({columns})"
    )  # sqlite3 refuses a name that is there in another case
    base.close()


def test_every_table_of_every_kind_exports_names_that_duckdb_keeps(tmp_path: Path) -> None:
    with (
        pdframe.sandbox.connect(
            seed=3, deals=60, company="hostile", burst=100_000, progress=False
        ) as account,
        pytest.warns(pdframe.DataWarning),
    ):
        done = account.export(tmp_path / "bi", names=True)
    for path in done["path"].dropna():
        names = pq.read_schema(path).names
        assert len({name.casefold() for name in names}) == len(names)
        with duckdb.connect() as connection:
            assert [
                row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
            ] == names


# Control characters


CONTROLS = [chr(number) for number in range(0x110) if unicodedata.category(chr(number)) == "Cc"]
KEPT = {"\t", "\n", "\r"}
SPACES = {"\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x1f", "\x85"}


def test_csv_has_no_control_characters_but_tab_and_line_breaks_and_parquet_keeps_all(
    tmp_path: Path,
) -> None:
    assert len(CONTROLS) == 65  # of Unicode: 32 of C0, DEL, 32 of C1
    titles = [f"Acme{sign}renewal\u2028€" for sign in CONTROLS]
    label, twin = "No\x00te", "note"
    fields = [
        field(1, label), field(2, twin), field(3, "\x00=Sum"),
        field(4, "Tags", "set", options=[{"id": 1, "label": "A\x00\x9fB"}]),
        field(5, "=Sum"), field(6, "'=Net"), field(7, "=Net"), field(8, "\x07"),
    ]  # fmt: skip
    deals = [
        deal(number, title=title, custom_fields={code(4): [1]})
        for number, title in enumerate(titles, 1)
    ]
    deals[0]["custom_fields"] |= {
        code(1): "\x00=1+1",
        code(2): "a\x00\x9f=1",
        code(3): "\x9f\x0b@x",
    }
    persons = [{"id": 1, "name": "P", "emails": [{"value": "a\x00\x9f@x", "primary": True}]}]
    with connected(
        tmp_path / "cache", {"deals": deals, "dealFields": fields, "persons": persons}
    ) as account:
        frame = account.deals()
        for format in ("parquet", "csv"):
            account.export(tmp_path / format, "deals", "persons", format=format)
    for table in ("deals", "persons"):
        content = (tmp_path / f"csv/{table}.csv").read_text("utf-8-sig")
        assert not [sign for sign in CONTROLS if sign in content and sign not in KEPT]
    with (tmp_path / "csv/deals.csv").open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    expected = [
        title if sign in KEPT else title.replace(sign, " " if sign in SPACES else "")
        for sign, title in zip(CONTROLS, titles, strict=True)
    ]
    assert [row["title"] for row in rows] == expected
    assert rows[0]["Tags"] == "AB"
    # Characters that may hide a formula are removed before the check for formulas.
    header = list(reader.fieldnames or ())[len(frame.columns) - len(custom(frame)) :]
    assert header == [
        "Note (100000)",
        "note (200000)",
        "'=Sum (300000)",
        "Tags",
        "'=Sum (500000)",
        "'=Net",
        "''=Net",
        code(8),
    ]
    assert [rows[0][name] for name in header[:3]] == ["'=1+1", "a=1", "' @x"]
    assert len({name.casefold() for name in header}) == len(header)
    exact = pq.read_table(tmp_path / "parquet/deals.parquet")
    assert exact["title"].to_pylist() == titles
    assert exact.column_names == list(frame)
    assert exact["No\x00te (100000)"].to_pylist()[0] == "\x00=1+1"


def test_every_reader_of_csv_finds_the_rows_that_were_written(tmp_path: Path) -> None:
    texts = [
        'a\x00b,"c"',
        "a\x85b",
        "a\x1eb\x1dc",
        "a\r\nb",
        "a\tb",
        "a\x0cb",
        "\x7f\x80",
        "a\x1ab",
    ]
    with connected(
        tmp_path / "cache",
        {"deals": [deal(number, title=text) for number, text in enumerate(texts, 1)]},
    ) as account:
        account.export(tmp_path / "csv", "deals", format="csv")
    path = tmp_path / "csv/deals.csv"
    right = ['ab,"c"', "a b", "a b c", "a\r\nb", "a\tb", "a b", "", "ab"]
    with duckdb.connect() as connection:
        query = f"SELECT coalesce(title, '') FROM read_csv('{path}', header=true, all_varchar=true)"
        assert [row[0] for row in connection.execute(query).fetchall()] == right
    for engine in ("c", "python"):
        assert pd.read_csv(path, engine=engine, keep_default_na=False)["title"].tolist() == right

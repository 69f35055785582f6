"""Workbooks: values as Excel holds them, text that is never a formula, and what a sheet cannot
hold.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest

from pdframe import sandbox
from pdframe.bi import formats
from pdframe.errors import ArgumentError, DataWarning

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
# What openpyxl itself calls of the standard library.
pytestmark = [pytestmark, pytest.mark.filterwarnings("ignore::DeprecationWarning:openpyxl")]


def rows(path: Path) -> list[dict[str, Any]]:
    sheet = openpyxl.load_workbook(path).worksheets[0]
    header, *body = sheet.iter_rows()
    names = [cell.value for cell in header]
    return [dict(zip(names, row, strict=True)) for row in body]


def test_values_of_a_workbook(account: sandbox.SandboxAccount, tmp_path: Path) -> None:
    company = account.company_model
    deal = company.add_deal("Exact", value=1234.5, expected_close_date="2026-07-31")
    call = company.add_activity("Long call", duration="26:30", due_date="2026-07-01")
    done = account.export(tmp_path, "deals", "activities", format="xlsx", refresh=True)
    frame = account.deals()
    by_id = {row["id"].value: row for row in rows(tmp_path / "deals.xlsx")}
    assert sorted(by_id) == frame["id"].tolist()
    row, right = by_id[deal], frame[frame["id"] == deal].iloc[0]
    assert row["value"].value == 1234.5
    assert row["is_archived"].value is False
    assert row["expected_close_date"].value == datetime.datetime(2026, 7, 31)
    assert row["won_time"].value is None
    # Times are UTC, because Excel has no zones.
    assert row["add_time"].value == right["add_time"].tz_localize(None).floor("s")
    activity = {row["id"].value: row for row in rows(tmp_path / "activities.xlsx")}[call]
    assert activity["duration_hours"].value == 26.5
    assert done["bytes"].tolist() == [Path(path).stat().st_size for path in done["path"]]


def test_text_like_a_formula_is_text(account: sandbox.SandboxAccount, tmp_path: Path) -> None:
    titles = ["=1+1", "+372 555", "-2", "@SUM(A1)", " =1", "＝1", "https://a.example", "{=1}", "7"]
    ids = [account.company_model.add_deal(title) for title in titles]
    account.export(tmp_path, "deals", format="xlsx", refresh=True)
    by_id = {row["id"].value: row["title"] for row in rows(tmp_path / "deals.xlsx")}
    for number, title in zip(ids, titles, strict=True):
        cell = by_id[number]
        assert (cell.value, cell.data_type, cell.hyperlink) == (title, "s", None)
        # So marked, text stays text when somebody edits the cell.
        assert cell.quotePrefix is (title[0] in "=+-@ ＝")


def test_the_same_rows_give_the_same_workbook(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    for folder in ("a", "b"):
        account.export(tmp_path / folder, "deals", format="xlsx")
    assert (tmp_path / "a/deals.xlsx").read_bytes() == (tmp_path / "b/deals.xlsx").read_bytes()
    again = account.export(tmp_path / "a", "deals", format="xlsx", max_rows=10**6)
    assert not again["written"].any()


def test_what_no_sheet_of_excel_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "odd.xlsx"
    table = pa.table(
        {
            "big": pa.array([2**60, 12, None], pa.int64()),
            "odd": pa.array([float("nan"), float("inf"), 1.5]),
            "day": pa.array([datetime.date(1066, 10, 14), datetime.date(2026, 1, 1), None]),
            "long": ["x" * 40_000, "a\x00b\x0bc", "\ud7ff"],
        }
    )
    with path.open("wb") as file:
        formats.write_xlsx("odd", table, file)
    cells = [{name: cell.value for name, cell in row.items()} for row in rows(path)]
    assert cells[0]["big"] == str(2**60)
    assert cells[1]["big"] == 12
    assert [row["odd"] for row in cells] == [None, "inf", 1.5]
    assert cells[0]["day"] == "1066-10-14"
    assert cells[0]["long"] == "x" * 32_767
    assert cells[1]["long"] == "ab c"


def test_one_warning_says_which_texts_are_cut(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    company = account.company_model
    company.add_deal("x" * 32_768)
    company.add_deal("y" * 40_000)
    company.add_deal("z" * 32_767)
    company.add_activity("a" * 50_000)
    account.sync("deals", "activities")
    for _ in range(2):
        with pytest.warns(DataWarning, match="deals: .* cut: 2 of title.\nattrs") as caught:
            done = account.export(tmp_path, "deals", "activities", "stages", format="xlsx")
        assert len([one for one in caught if "cut" in str(one.message)]) == 1
        notes = done.set_index("table")["note"]
        assert "1 of subject" in notes["activities"]
        assert [note.partition(":")[0] for note in done.attrs["notes"]] == ["deals", "activities"]
        assert notes["stages"] == ""
    # The other formats hold all of it.
    assert account.export(tmp_path, "deals", format="csv")["note"].tolist() == [""]


def test_a_table_that_is_too_long_is_refused_with_advice() -> None:
    table = pa.table({"id": pa.nulls(1_048_576, pa.int64())})
    with pytest.raises(ArgumentError, match=r"1,048,576 rows.*Power Query, or format='csv'"):
        formats.check_excel("deals", table)
    formats.check_excel("deals", table.slice(1))
    wide = pa.table({f"c{number}": pa.nulls(1) for number in range(16_385)})
    with pytest.raises(ArgumentError, match="16,385 columns"):
        formats.check_excel("deals", wide)

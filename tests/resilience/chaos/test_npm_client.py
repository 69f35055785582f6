"""npm's `pipedrive`, a client that this project has not written, reads the same rows as pdframe,
cell by cell.

The test installs the client with npm into a temporary folder, once a run: it is no part of this
repository. Without node or npm, or where npm can install it neither from its registry nor from its
own cache, the test is skipped and says which.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pdframe import DataWarning, sandbox
from tests.helpers import true_cells

VERSION = "33.7.0"
SCRIPT = Path(__file__).with_name("npm_client.mjs")
Row = dict[str, Any]
Lists = dict[str, list[Row]]

LISTS = [
    "deals",
    "deal_products",
    "installments",
    "products",
    "activities",
    "persons",
    "organizations",
    "projects",
    "tasks",
    "stages",
    "pipelines",
    "boards",
    "phases",
    "project_templates",
    "users",
]
# Lists by record: the list of the records, the column that names the record, and what orders the
# rows.
OF_RECORDS = {
    "discounts": ("deals", "deal_id", ["id"]),
    "product_variations": ("products", "product_id", ["id"]),
    "deal_followers": ("deals", "deal_id", ["deal_id", "user_id"]),
    "person_followers": ("persons", "person_id", ["person_id", "user_id"]),
    "organization_followers": ("organizations", "org_id", ["org_id", "user_id"]),
    "product_followers": ("products", "product_id", ["product_id", "user_id"]),
    "user_followers": ("users", "followed_user_id", ["followed_user_id", "user_id"]),
    "deal_follower_changes": ("deals", "deal_id", ["deal_id", "time", "follower_user_id"]),
    "person_follower_changes": ("persons", "person_id", ["person_id", "time", "follower_user_id"]),
    "organization_follower_changes": (
        "organizations",
        "org_id",
        ["org_id", "time", "follower_user_id"],
    ),
    "product_follower_changes": (
        "products",
        "product_id",
        ["product_id", "time", "follower_user_id"],
    ),
    "deal_changes": ("deals", "deal_id", ["deal_id", "time", "field_key"]),
    "project_changes": ("projects", "project_id", ["project_id", "time", "field_key"]),
}
# How many deals, persons and so on are asked for the rows of such lists.
RECORDS = 200
FIELD_LISTS = {
    "deals": "deal_fields",
    "persons": "person_fields",
    "organizations": "organization_fields",
    "products": "product_fields",
    "activities": "activity_fields",
    "projects": "project_fields",
}
# pdframe does not ask for these: a company without the marketing app would refuse the request.
NOT_REQUESTED = {"persons": {"marketing_status", "doi_status"}}
# Keys that pdframe turns into columns of other names.
FLATTENED = {"emails": "primary_email", "phones": "primary_phone"}


@pytest.fixture(scope="module")
def account() -> Iterator[sandbox.SandboxAccount]:
    """An account of more than one page in its long lists, with custom fields on activities."""
    switches = sandbox.Switches(activities_have_custom_fields=True)
    with sandbox.connect(
        seed=7,
        deals=1_500,
        company="hostile",
        switches=switches,
        burst=1_000_000,
        daily_tokens=10**9,
        progress=False,
    ) as account:
        yield account


@pytest.fixture(scope="module")
def seen(account: sandbox.SandboxAccount, tmp_path_factory: pytest.TempPathFactory) -> Lists:
    """Every row that the client reads, by list."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("this test needs node and npm")
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text('{"private": true}')
    install = [
        npm,
        "install",
        "--prefer-offline",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        f"pipedrive@{VERSION}",
    ]
    try:
        done = subprocess.run(
            install, cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install pipedrive {VERSION} within 300 s")
    if done.returncode:
        reason = next(
            (line for line in done.stderr.splitlines() if line.strip()), "it gives no reason"
        )
        pytest.skip(
            f"npm cannot install pipedrive {VERSION} from its registry or its cache: {reason[:200]}"
        )
    shutil.copy(SCRIPT, folder)
    command = [node, SCRIPT.name, account.server.url, account.server.token, str(RECORDS)]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lists: Lists = defaultdict(list)
    for line in done.stdout.splitlines():
        name, row = json.loads(line)
        lists[name].append(row)
    assert account.server.crashes == []
    return lists


def frame(account: sandbox.SandboxAccount, name: str, *args: Any) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DataWarning
        )  # options that are deleted while rows hold them
        result: pd.DataFrame = getattr(account, name)(*args, labels=False, names=False)
    return result


def wire_value(row: Row, column: str, table: str, codes: list[str]) -> object:
    """What the client's row holds of a column of the frame; a key that is absent is null."""
    code = next((code for code in codes if column == code or column.startswith(f"{code}_")), None)
    if code is not None:
        return true_cells.custom_value(row, code, column[len(code) + 1 :] or "value")
    return true_cells.wire_value(defaultdict(lambda: None, row), column, table)


def compare(table: str, got: pd.DataFrame, rows: list[Row], codes: list[str]) -> int:
    """Compare a frame with the client's rows in the same order; return the number of cells that
    hold a value.
    """
    assert len(got) == len(rows)
    filled, wrong = 0, []
    for column in got.columns:
        for row, value in zip(rows, got[column], strict=True):
            sent = wire_value(row, column, table, codes)
            shown, wanted = true_cells.cell(value), true_cells.expected(sent, got[column].dtype)
            if shown != wanted:
                wrong.append((row.get("id"), column, shown, sent))
            filled += shown is not None
    assert wrong == [], f"{len(wrong)} cells of {table} differ: {wrong[:5]}"
    return filled


def never_sent(table: str, got: pd.DataFrame, rows: list[Row], codes: list[str]) -> set[str]:
    """Columns of the frame that no row of the client has, custom ones aside."""
    keys = {key for row in rows for key in row}
    flat = true_cells.FLATTENED.get(table)
    known = keys | {name for key, name in FLATTENED.items() if key in keys}
    return {
        column
        for column in got.columns
        if column not in known
        and not column.startswith(tuple(codes) or ("\0",))
        and not (flat and column.startswith(f"{flat}_"))
    }


def lost(table: str, got: pd.DataFrame, rows: list[Row]) -> set[str]:
    """Keys of the client's rows, and parts of custom values, that are no columns of the frame."""
    keys = {key for row in rows for key in row} - {"custom_fields"}
    for row in rows:
        for code, value in (row.get("custom_fields") or {}).items():
            keys |= (
                {code if part == "value" else f"{code}_{part}" for part in value}
                if isinstance(value, dict)
                else {code}
            )
    return keys - set(got.columns)


@pytest.mark.parametrize("table", LISTS)
def test_the_rows_of_a_list(
    account: sandbox.SandboxAccount, seen: Lists, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sorted(seen[table], key=lambda row: row["id"])
    assert rows, f"the client read no {table}"
    fields = seen[FIELD_LISTS[table]] if table in FIELD_LISTS else []
    codes = [field["field_code"] for field in fields if field["is_custom_field"]]
    got = frame(account, table)
    assert got["id"].tolist() == [row["id"] for row in rows]
    assert never_sent(table, got, rows, codes) == NOT_REQUESTED.get(table, set())
    assert lost(table, got, rows) == set()
    filled = compare(table, got, rows, codes)
    with capsys.disabled():
        print(f"\n{table}: {got.size} cells compared, {filled} of them with a value", end="")


@pytest.mark.parametrize("table", OF_RECORDS)
def test_the_rows_of_a_record(
    account: sandbox.SandboxAccount, seen: Lists, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    records, parent, order = OF_RECORDS[table]
    requested = sorted(row["id"] for row in seen[records])[:RECORDS]
    rows = (
        [part for row in seen[table] for part in by_field(row)]
        if table == "project_changes"
        else seen[table]
    )
    rows = sorted(rows, key=lambda row: [row[key] for key in order])
    assert rows, f"the client read no {table}"
    got = frame(account, table, requested).sort_values(order, kind="stable")
    assert set(got[parent]) <= set(requested)
    filled = compare(table, got, rows, [])
    with capsys.disabled():
        print(f"\n{table}: {got.size} cells compared, {filled} of them with a value", end="")


def by_field(row: Row) -> list[Row]:
    """One row a field that a change of a project changed; values that are no text as JSON."""
    shared = {key: value for key, value in row.items() if key not in ("old_values", "new_values")}
    return [
        {
            **shared,
            "field_key": key,
            "old_value": true_cells.as_text(row["old_values"].get(key)),
            "new_value": true_cells.as_text(value),
        }
        for key, value in row["new_values"].items()
    ]


@pytest.mark.parametrize("table", FIELD_LISTS)
def test_the_fields_of_a_table(account: sandbox.SandboxAccount, seen: Lists, table: str) -> None:
    got = account.fields(table)
    got = got[got["subfield"].isna()].drop_duplicates("code").set_index("code")
    sent = {field["field_code"]: field for field in seen[FIELD_LISTS[table]]}
    assert set(sent) <= set(got.index)
    for code, field in sent.items():
        kept = got.loc[code]
        # An empty label leaves the code.
        assert kept["label"] in (field["field_name"], field["field_name"].strip(), code), code
        assert (kept["type"], kept["is_custom"]) == (
            field["field_type"],
            field["is_custom_field"],
        ), code
        assert list(true_cells.cell(kept["options"]) or []) == list(
            true_cells.options_of(field).values()
        ), code

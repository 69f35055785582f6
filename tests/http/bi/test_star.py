"""The star of an account: plain types, names and keys, and the rows and totals of its frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import pdframe
from pdframe import sandbox
from pdframe.bi import star_columns
from pdframe.errors import ArgumentError
from pdframe.sandbox.server import ALL_SCOPES, OAuthClient, Server
from tests.helpers import hostile_checks
from tests.helpers.no_names import no_names_by_default as no_names_by_default
from tests.helpers.readme import ROOT
from tests.helpers.served_lists import connected, deal, field
from tests.helpers.stars import Star, check_plain, check_relationships, star_of

KEYS = {
    "owner_id": ("owner_key", "users"),
    "creator_user_id": ("creator_key", "users"),
    "person_id": ("person_key", "persons"),
    "org_id": ("organization_key", "organizations"),
    "pipeline_id": ("pipeline_key", "pipelines"),
    "stage_id": ("stage_key", "stages"),
    "deal_id": ("deal_key", "deals"),
    "product_id": ("product_key", "products"),
}
OF_FIELDS = {"user": "users", "people": "persons", "org": "organizations"}
"""Tables of the ids in custom fields, by type of field."""
OF_TABLES = {
    "deals": "fact_deals",
    "deal_products": "fact_deal_line_items",
    "installments": "fact_installments",
    "activities": "fact_activities",
    "stage_visits": "fact_stage_visits",
    "persons": "dim_person",
    "organizations": "dim_organization",
    "products": "dim_product",
    "stages": "dim_stage",
}
pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


def frame_of(account: Any, table: str, refresh: bool | None = None) -> pd.DataFrame:
    load = getattr(account, table)
    frame: pd.DataFrame = (
        load(refresh=False) if table == "stage_visits" else load(names=False, refresh=refresh)
    )
    return frame


@pytest.fixture(scope="module", params=["showcase", "hostile"])
def account(request: pytest.FixtureRequest) -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=11, deals=150, company=request.param, burst=100_000, progress=False
    ) as account:
        account.sync()
        yield account


@pytest.fixture(scope="module")
def made(account: sandbox.SandboxAccount) -> Star:
    return star_of(account)


def test_columns_are_plain_and_noted(made: Star) -> None:
    check_plain(made)


def test_the_page_of_the_star_names_every_table(made: Star) -> None:
    page = (ROOT / "docs" / "explanation" / "star-schema.md").read_text()
    named = {
        name
        for line in page.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`((?:fact|dim)_\w+)`", line.split("|")[1])
    }
    assert named == {name for name in made.tables if not name.startswith("bridge_")}
    assert "bridge_deals_label_ids" in made.tables


def test_no_key_is_an_orphan(made: Star) -> None:
    check_relationships(made)


def test_missing_and_dangling_ids_have_their_keys(
    account: sandbox.SandboxAccount, made: Star
) -> None:
    known = {table: set(frame_of(account, table)["id"]) for _, table in KEYS.values()}
    checked = 0
    for table, name in OF_TABLES.items():
        frame, own = frame_of(account, table), made.frame(name)
        extra = 2 if name.startswith("dim_") else 0
        assert len(own) == len(frame) + extra
        for column, (key, target) in KEYS.items():
            if column not in frame.columns:
                continue
            ids = frame[column]
            expected = [-1 if pd.isna(one) else one if one in known[target] else -2 for one in ids]
            assert own[key].iloc[extra:].to_list() == expected
            checked += 1
    assert checked == 22


def test_facts_of_deals_carry_the_keys_of_their_deal(made: Star) -> None:
    deals = made.frame("fact_deals").set_index("deal_key")
    carried = ["owner_key", "organization_key", "person_key", "pipeline_key", "stage_key"]
    own_keys = {
        "fact_deal_line_items": [],
        "fact_installments": [],
        "fact_activities": ["owner_key", "organization_key", "person_key"],
        "fact_stage_visits": ["pipeline_key", "stage_key"],
    }
    for name, own in own_keys.items():
        facts = made.frame(name)
        assert len(facts)
        for key in set(carried) - set(own):
            expected = facts["deal_key"].map(deals[key]).fillna(facts["deal_key"])
            assert facts[key].to_list() == expected.to_list()


def test_dimensions_have_a_row_for_no_record_and_for_an_unknown_one(made: Star) -> None:
    for name in made.tables:
        if not name.startswith("dim_") or name == "dim_date":
            continue
        frame = made.frame(name)
        text = {"dim_deal": "title", "dim_currency": "currency_key"}.get(name, "name")
        assert frame[text].head(2).to_list() == ["(none)", "(unknown)"]
        if name != "dim_currency":
            assert frame.iloc[:2, 0].to_list() == [-1, -2]


def test_the_calendar_has_the_years_of_the_facts(made: Star) -> None:
    days = made.frame("dim_date")["date_key"]
    assert (days.diff().dropna() == pd.Timedelta("1D")).all()
    assert days.iloc[0].strftime("%m-%d") == "01-01"
    assert days.iloc[-1].strftime("%m-%d") == "12-31"
    keys = pd.concat(
        made.frame(one.from_table)[one.from_column]
        for one in made.relationships
        if one.to_table == "dim_date"
    ).dropna()
    assert keys.min().year == days.iloc[0].year
    assert max(keys.max().year, 2026) == days.iloc[-1].year


def test_days_are_of_the_company(account: sandbox.SandboxAccount, made: Star) -> None:
    deals, facts = frame_of(account, "deals"), made.frame("fact_deals")
    added = deals["add_time"].dt.tz_convert(account.tz).dt.tz_localize(None).dt.normalize()
    assert facts["add_date"].to_list() == added.to_list()
    assert facts["add_date_key"].to_list() == added.to_list()
    assert (facts["add_time"] == deals["add_time"]).all()
    # The day of a win is the one that the API says.
    won = deals["local_won_date"]
    assert won.notna().any()
    assert facts["won_date"][won.notna()].to_list() == won.dropna().to_list()


def test_totals_are_those_of_pandas(account: sandbox.SandboxAccount, made: Star) -> None:
    database = made.database()
    deals = frame_of(account, "deals")
    expected = deals.groupby(["currency", "status"], observed=True)["value"].sum().round(2)
    rows = database.execute(
        "select currency_key, status, sum(value) from fact_deals join dim_deal using (deal_key)"
        " group by all order by all"
    ).fetchall()
    actual = {(currency, status): round(value, 2) for currency, status, value in rows}
    assert actual == {key: value for key, value in expected.to_dict().items() if key in actual}
    assert sum(actual.values()) == pytest.approx(deals["value"].sum(), abs=0.01)
    items = frame_of(account, "deal_products")
    assert database.execute(
        "select sum(line_sum), sum(quantity), count(*) from fact_deal_line_items"
    ).fetchone() == pytest.approx((items["sum"].sum(), items["quantity"].sum(), len(items)))


def test_lists_are_bridges_and_joined_texts(account: sandbox.SandboxAccount, made: Star) -> None:
    checked = 0
    for table, dimension, key in (
        ("deals", "dim_deal", "deal_key"),
        ("persons", "dim_person", "person_key"),
        ("organizations", "dim_organization", "organization_key"),
    ):
        frame = frame_of(account, table)
        labels = {
            int(number): list(cell)
            for number, cell in zip(frame["id"], frame["label_ids"], strict=True)
            if isinstance(cell, list | np.ndarray) and len(cell)
        }
        bridge = made.frame(f"bridge_{table}_label_ids")
        actual = {
            int(number): rows.sort_values("position")["value"].to_list()
            for number, rows in bridge.groupby(key)
        }
        assert actual == labels
        texts = made.frame(dimension).set_index(key)["label_ids"].dropna()
        assert texts.to_dict() == {number: "; ".join(cell) for number, cell in labels.items()}
        checked += len(labels)
    assert checked > 20


def test_bridges_of_objects_have_a_column_a_part(
    account: sandbox.SandboxAccount, made: Star
) -> None:
    persons = frame_of(account, "persons")
    rows = [
        (number, place + 1, one["value"], one["primary"], one["label"])
        for number, cell in zip(persons["id"], persons["emails"], strict=True)
        if not isinstance(cell, float) and cell is not pd.NA
        for place, one in enumerate(cell)
    ]
    assert len(rows) > 20
    bridge = made.arrow("bridge_persons_emails")
    names = ("person_key", "position", "value", "is_primary", "label")
    assert bridge.column_names == list(names)
    assert list(zip(*(bridge[name].to_pylist() for name in names), strict=True)) == rows


def test_custom_fields_are_columns_of_the_deal(account: sandbox.SandboxAccount, made: Star) -> None:
    fields = account.fields("deals")
    custom = fields[fields["is_custom"] & fields["column"].notna()]
    notes = {note.code: note for note in made.tables["dim_deal"].columns}
    frame, table = frame_of(account, "deals"), made.frame("dim_deal").iloc[2:]
    assert len(custom) > 30
    referring = 0
    for row in custom.itertuples():
        code = row.code if pd.isna(row.subfield) else f"{row.code}_{row.subfield}"
        note = notes[code]
        assert note.label == row.label
        actual = table[note.column_name].to_list()
        values = frame[row.column]
        if isinstance(values.dtype, pd.ArrowDtype):
            continue
        if row.type in OF_FIELDS:
            known = set(frame_of(account, OF_FIELDS[row.type])["id"])
            values = values.where(values.isna() | values.isin(known), -2).fillna(-1)
            assert note.references
            referring += 1
        # Each cell is null in both or equal in both.
        for one, other in zip(actual, values.astype(object).to_list(), strict=True):
            assert (pd.isna(one) and pd.isna(other)) or one == other, row.column
    assert referring == 3


def test_personal_data_is_left_out(account: sandbox.SandboxAccount, made: Star) -> None:
    other = star_of(account, personal=False)
    check_plain(other)
    check_relationships(other)
    texts = {
        text
        for table in other.tables.values()
        for column in table.table.columns
        if column.type == pa.string()
        for text in pc.unique(pc.drop_null(column)).to_pylist()
    }
    persons, users = frame_of(account, "persons"), frame_of(account, "users")
    organizations, deals = frame_of(account, "organizations"), frame_of(account, "deals")
    public = set(organizations["name"])
    secret: set[str] = set()
    for values in (
        persons["name"],
        persons["primary_email"],
        persons["primary_phone"],
        persons["postal_address"],
        users["name"],
        users["email"],
        organizations["address"],
        deals["title"],
        frame_of(account, "activities")["subject"],
        frame_of(account, "activities")["note"],
    ):
        secret |= {text for text in values.dropna() if len(text) > 5}
    secret |= {
        one["value"]
        for cell in persons["emails"].dropna()
        for one in cell
        if one["value"] is not None
    }
    assert len(secret) > 300
    assert not {text for text in texts & secret if text not in public}
    # Reasons that the company lists stay; what was typed does not.
    reasons = set(other.frame("dim_deal")["lost_reason"].dropna())
    fields = account.fields("deals").set_index("code")
    listed = fields.loc["lost_reason", "options"]
    assert reasons <= {*(listed if isinstance(listed, list | np.ndarray) else ()), "(other)"}
    # The names of the columns that stay are the same.
    for name, table in other.tables.items():
        left = set(table.table.column_names) - set(made.arrow(name).column_names)
        assert not left


def test_dates_outside_the_calendar_keep_their_day(tmp_path: Any) -> None:
    deals = [
        deal(1, expected_close_date="9999-12-31", add_time="2026-02-03T10:00:00Z"),
        deal(2, expected_close_date="0001-01-01", add_time="2026-02-03T10:00:00Z"),
        deal(3, expected_close_date="2026-04-05", add_time="2026-02-03T23:30:00Z"),
    ]
    fields = [field(1, "", "varchar"), field(2, "Причина", "varchar")]
    with connected(tmp_path, {"deals": deals, "dealFields": fields}) as account:
        made = star_of(account)
    check_plain(made)
    check_relationships(made)
    facts = made.arrow("fact_deals")
    assert [str(day) for day in facts["expected_close_date"].to_pylist()] == [
        "9999-12-31",
        "0001-01-01",
        "2026-04-05",
    ]
    keys = facts["expected_close_date_key"].to_pylist()
    assert keys[:2] == [None, None]
    assert str(keys[2]) == "2026-04-05"
    assert len(made.arrow("dim_date")) <= 366 * 21


@pytest.mark.parametrize("month", [0, 13, True, "4"])
def test_a_fiscal_year_begins_in_a_month(account: sandbox.SandboxAccount, month: Any) -> None:
    with pytest.raises(ArgumentError, match="fiscal_start"):
        star_of(account, fiscal_start=month)


def test_long_texts_are_cut_into_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(star_columns, "MAX_CHUNK_BYTES", 64)
    texts = [None if place % 7 == 3 else f"text {place} ä" for place in range(100)]
    column = star_columns.plain(pd.Series(texts, dtype="str"))
    assert column.type == pa.string()
    assert column.num_chunks > 5
    assert column.to_pylist() == texts


def test_nasty_cells_cost_no_table(tmp_path: Path) -> None:
    with hostile_checks.loaded(tmp_path, nasty=True, every=2) as hurt:
        made = star_of(hurt.account, refresh=False)
        check_plain(made)
        check_relationships(made)
        for table, name in OF_TABLES.items():
            frame = frame_of(hurt.account, table, refresh=False)
            if name.startswith("dim_"):
                # No record has the id of a key that the star gives.
                assert len(made.arrow(name)) == 2 + (~frame["id"].isin([-1, -2])).sum()
            else:
                assert len(made.arrow(name)) == len(frame)
        for table in made.tables.values():
            table.table.validate(full=True)


def test_tables_that_the_account_may_not_read_are_empty(tmp_path: Path) -> None:
    app = OAuthClient("app", "app-secret", "grant-1", scopes=ALL_SCOPES - {"users:read"})
    company = sandbox.Company(seed=4, deals=40)
    with Server(company, oauth_clients=[app], plan="Lite", burst=100_000) as server:
        grant = pdframe.OAuth("app", "app-secret", "grant-1", token_url=f"{server.url}/oauth/token")
        with pdframe.connect(
            oauth=grant, base_url=server.url, cache_dir=tmp_path, progress=False
        ) as account:
            made = star_of(account)
            assert len(made.arrow("fact_deals")) == len(account.deals(names=False)) > 20
    check_plain(made)
    check_relationships(made)
    assert len(made.arrow("dim_owner")) == 2
    assert set(made.arrow("fact_deals")["owner_key"].to_pylist()) == {-2}
    assert len(made.arrow("fact_installments")) == 0
    empty = {note.partition(" ")[0] for note in made.notes if "its tables are empty" in note}
    assert empty == {"users", "installments"}

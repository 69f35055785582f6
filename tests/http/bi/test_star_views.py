"""The views and the dbt file of a star: they run as written, and say what pandas says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
import yaml

import pdframe
from pdframe import metrics, sandbox
from pdframe.bi._tables import ColumnNote, Relationship
from pdframe.bi.schema_yml import schema_yml
from pdframe.bi.views import VIEWS, views_of, views_sql
from tests.helpers.scripted_server import Reply, Scripted, Seen, data
from tests.helpers.served_lists import ME, deal
from tests.helpers.stars import Star, star_of

RATES = {"EUR": 1.0, "USD": 0.9, "GBP": 1.15}
NOW = pd.Timestamp("2026-09-07T12:00Z")
"""The companies of the tests are 69 days older than new ones."""
pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


class Viewed(NamedTuple):
    """An account, its star, and a database with its tables and views."""

    account: sandbox.SandboxAccount
    made: Star
    database: duckdb.DuckDBPyConnection

    def rows(self, query: str) -> list[Any]:
        return self.database.execute(query).fetchall()


def notes_of(made: Star) -> dict[str, tuple[ColumnNote, ...]]:
    return {name: table.columns for name, table in made.tables.items()}


def with_views(made: Star) -> duckdb.DuckDBPyConnection:
    database = made.database()
    database.register("meta_export", pa.table({"as_of_date": pa.array([NOW.date()])}))
    database.execute(views_sql(notes_of(made), made.relationships))
    return database


@pytest.fixture(scope="module", params=["showcase", "hostile"])
def viewed(request: pytest.FixtureRequest) -> Iterator[Viewed]:
    with sandbox.connect(
        seed=5, deals=120, company=request.param, burst=100_000, progress=False
    ) as account:
        account.sync()
        for days in (31, 38):  # the last day of a month is one of the syncs
            account.advance(days=days)
            account.deals(refresh=True, names=False)
        account.sync()
        made = star_of(account, rates=RATES)
        yield Viewed(account, made, with_views(made))


def test_every_view_has_a_name_of_its_own_and_rows(viewed: Viewed) -> None:
    made = views_of(notes_of(viewed.made), viewed.made.relationships)
    names = [view.name for view in made]
    assert len(set(names)) == len(names)
    assert {view.name for view in VIEWS} <= set(names)
    assert "v_deals" in names
    for name in names:
        count = viewed.rows(f"select count(*) from {name}")[0][0]
        assert count or name == "v_forecast", name


def test_named_facts_lose_and_double_no_row(viewed: Viewed) -> None:
    for view in views_of(notes_of(viewed.made), viewed.made.relationships):
        fact = view.name.replace("v_", "fact_", 1)
        if fact in viewed.made.tables:
            (count,) = viewed.rows(f"select count(*) from {view.name}")[0]
            assert count == len(viewed.made.arrow(fact)), view.name
    users = viewed.account.users().set_index("id")["name"]
    deals = viewed.account.deals(names=False)
    expected = deals["owner_id"].map(users).fillna("(none)")
    rows = viewed.rows("select owner_name from v_deals order by deal_key")
    assert [name for (name,) in rows] == expected.to_list()


def test_month_ends_are_the_states_of_that_day(viewed: Viewed) -> None:
    history = viewed.account.deal_history()
    days = history["time"].dt.tz_convert(viewed.account.tz).dt.tz_localize(None).dt.normalize()
    ends = viewed.rows("select distinct month_end from v_deals_at_month_end order by 1")
    assert [str(end)[:7] for (end,) in ends] == ["2026-06", "2026-07", "2026-08", "2026-09"]
    for (end,) in ends:
        known = history[days <= pd.Timestamp(end)]
        last = known.drop_duplicates(["deal_id", "column"], keep="last")
        state = last.pivot_table(index="deal_id", columns="column", values="after", aggfunc="last")
        there = state[state.get("is_deleted", pd.Series(index=state.index)) != "true"]
        opened = there[there["status"] == "open"]
        totals = opened["value"].astype("float64").groupby(opened["currency"]).sum().round(2)
        rows = viewed.rows(
            "select currency_key, round(sum(value), 2), count(*) from v_deals_at_month_end"
            f" where status = 'open' and month_end = '{end}' group by all"
        )
        assert {currency: total for currency, total, _ in rows if total is not None} == {
            str(currency): total for currency, total in totals.items()
        }
        assert sum(count for _, _, count in rows) == len(opened)


def test_month_ends_begin_where_every_deal_is_known() -> None:
    """With changelogs of some deals, earlier months would show those alone; with all, they are
    complete: also where a later sync showed a deal that was new.
    """
    with sandbox.connect(seed=5, deals=60, burst=100_000, progress=False) as account:
        account.sync()
        every = account.deals(deleted=True, refresh=False, names=False)
        account.advance(days=31)
        account.company_model.add_deal("New one")
        account.deals(refresh=True, names=False)
        begin, counts = [], []
        old = every.sort_values("add_time")["id"].to_list()
        for ids in ([], old[:5], old[5:]):
            if ids:
                account.deal_changes(ids)
            with with_views(star_of(account, refresh=False)) as database:
                rows = database.execute(
                    "select month_end, count(*) from v_deals_at_month_end group by 1 order by 1"
                ).fetchall()
            begin.append(str(rows[0][0]))
            counts.append({str(end): count for end, count in rows})
    first = every["add_time"].min().tz_convert(account.tz)
    assert begin == ["2026-06-30", "2026-06-30", f"{first + pd.offsets.MonthEnd(0):%Y-%m-%d}"]
    assert counts[0] == counts[1]
    assert counts[0].items() <= counts[2].items()
    assert len(counts[2]) > 12
    created = every["add_time"].dt.tz_convert(account.tz).dt.tz_localize(None)
    for end, count in counts[2].items():
        if end < "2026-06":
            assert count == (created < pd.Timestamp(end) + pd.Timedelta("1D")).sum(), end


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "UTC", "America/Los_Angeles"])
def test_the_month_of_the_export_is_the_companys_wherever_it_is_read(
    tmp_path: Path, zone: str
) -> None:
    """At half past ten in the evening UTC on 30 June it is July in Tallinn."""

    def answer(seen: Seen) -> Reply:
        own = {**ME, "timezone_name": "Europe/Tallinn"}
        rows = [deal(1, currency="EUR", value=7.0, add_time="2026-01-01T00:00:00Z")]
        content = own if seen.path.endswith("/users/me") else []
        if seen.path == "/api/v2/deals" and seen.params.get("status") != "deleted":
            content = rows
        return data(content, date="Tue, 30 Jun 2026 22:30:00 GMT")

    with Scripted.running() as server:
        server.last = answer
        with pdframe.connect(
            base_url=server.url, api_token="k" * 40, cache_dir=tmp_path / "c", progress=False
        ) as account:
            account.export(tmp_path / "star", layout="star", format="duckdb")
    with duckdb.connect(str(tmp_path / "star/star.duckdb"), read_only=True) as database:
        database.execute(f"set TimeZone = '{zone}'")
        ends = database.execute("select distinct month_end from v_deals_at_month_end").fetchall()
        (days,) = database.execute("select as_of_date from meta_export").fetchall()
    assert [str(day) for (day,) in ends] == ["2026-07-31"]
    assert [str(day) for day in days] == ["2026-07-01"]


def test_the_open_pipeline_is_weighted(viewed: Viewed) -> None:
    account = viewed.account
    weighted = metrics.weighted_pipeline(
        account.deals(),
        account.stages(),
        account.pipelines(),
        as_of=NOW,
    )
    expected = weighted.groupby("currency")[["deals", "value", "weighted"]].sum()
    rows = viewed.rows(
        "select currency_key, count(*), sum(value), sum(weighted_value) from v_open_pipeline"
        " group by all"
    )
    actual = {currency: figures for currency, *figures in rows if currency != "(none)"}
    assert set(actual) == set(expected.index)
    for currency, figures in actual.items():
        assert figures == pytest.approx(expected.loc[currency].to_list(), abs=0.01)


def test_wins_by_month_are_those_of_pandas(viewed: Viewed) -> None:
    deals = viewed.account.deals(names=False)
    won = deals[deals["status"] == "won"]
    month = won["local_won_date"].dt.strftime("%Y-%m-01")
    expected = won.groupby([month, won["currency"]])["value"].agg(["size", "sum"]).round(2)
    rows = viewed.rows(
        "select month_start, currency_key, sum(deals), round(sum(value), 2) from v_won_by_month"
        " group by all"
    )
    actual = {(str(month), currency): (count, total) for month, currency, count, total in rows}
    assert len(actual) > 10
    assert actual == {
        key: (row["size"], row["sum"]) for key, row in expected.to_dict("index").items()
    }


def test_created_and_lost_deals_have_a_month(viewed: Viewed) -> None:
    deals = viewed.account.deals(names=False)
    for view, count in (
        ("v_created_by_month", len(deals)),
        ("v_lost_by_month", (deals["status"] == "lost").sum()),
    ):
        assert viewed.rows(f"select sum(deals) from {view}") == [(count,)]


def test_mrr_closes_and_is_converted(viewed: Viewed) -> None:
    assert viewed.rows(
        "select count(*) filter (start_mrr + new_mrr + reactivation_mrr + expansion_mrr"
        " + contraction_mrr + churn_mrr <> end_mrr) from v_mrr_movements"
    ) == [(0,)]
    account = viewed.account
    lines = metrics.mrr_lines(account.deal_products(), account.deals())
    expected = metrics.mrr_schedule(lines, since=None, until="2026-09", rates=RATES)
    rows = viewed.rows("select month, currency_key, mrr from v_mrr_in_one_currency order by 1")
    assert len(rows) > 10
    assert {currency for _, currency, _ in rows} == {"EUR"}
    mrr = {f"{row.month:%Y-%m-%d}": row.mrr for row in expected.itertuples()}
    for month, _, amount in rows:
        assert amount == pytest.approx(mrr[str(month)], abs=0.001)


def test_a_customer_whose_lines_add_up_to_nothing_is_none() -> None:
    view = next(view for view in VIEWS if view.name == "v_mrr_movements")
    with duckdb.connect() as database:
        database.execute(
            "CREATE TABLE fact_mrr_by_month AS SELECT DATE '2026-01-01' AS month, * FROM (VALUES"
            " ('EUR', 'a', 0.0, 100.0, 100.0, 'new'), ('EUR', 'a', 0.0, -100.0, -100.0, 'new'),"
            " ('EUR', 'b', 0.0, 50.0, 50.0, 'new'), ('USD', 'a', 0.0, 7.0, 7.0, 'new'))"
            " AS t(currency_key, customer, previous_mrr, amount, mrr, movement)"
        )
        database.execute(view.statement)
        query = "SELECT currency_key, new_mrr, end_mrr, customers FROM v_mrr_movements ORDER BY 1"
        rows = database.execute(query).fetchall()
    assert rows == [("EUR", 50.0, 50.0, 1), ("USD", 7.0, 7.0, 1)]


def test_mrr_in_a_currency_without_a_rate_gives_no_sum_that_lacks_it() -> None:
    view = next(view for view in VIEWS if view.name == "v_mrr_in_one_currency")
    with duckdb.connect() as database:
        database.execute(
            "CREATE TABLE fact_mrr_by_month AS SELECT *, month AS month_date_key FROM (VALUES"
            " (DATE '2026-01-01', 'EUR', 5.0), (DATE '2026-01-01', 'USD', 10.0),"
            " (DATE '2026-02-01', 'EUR', 5.0), (DATE '2026-02-01', 'JPY', 900.0),"
            " (DATE '2026-03-01', 'EUR', 5.0), (DATE '2026-03-01', 'JPY', 0.0)"
            ") AS t(month, currency_key, mrr);"
            "CREATE TABLE dim_date AS SELECT month AS date_key, last_day(month) AS month_end"
            " FROM (SELECT DISTINCT month FROM fact_mrr_by_month);"
            "CREATE TABLE fact_rates AS SELECT *, NULL::DATE AS rate_date, NULL::DATE AS rate_until"
            " FROM (VALUES ('EUR', 'EUR', 1.0), ('USD', 'EUR', 0.5))"
            " AS t(currency_key, to_currency_key, rate)"
        )
        database.execute(view.statement)
        query = "SELECT month(month), currency_key, mrr FROM v_mrr_in_one_currency ORDER BY 1"
        rows = database.execute(query).fetchall()
    assert rows == [(1, "EUR", 10.0), (2, "EUR", None), (3, "EUR", 5.0)]


def test_views_without_personal_data_read_what_is_there(viewed: Viewed) -> None:
    made = star_of(viewed.account, personal=False)
    database = with_views(made)
    for view in views_of(notes_of(made), made.relationships):
        database.execute(f"create table made_{view.name} as select * from {view.name}")
    columns = [name for name, *_ in database.execute("describe v_deals").fetchall()]
    assert "owner_name" not in columns
    assert "stage_name" in columns


def test_dbt_reads_names_descriptions_and_tests(viewed: Viewed) -> None:
    made = viewed.made
    document = yaml.safe_load(schema_yml(notes_of(made), made.relationships))
    (source,) = document["sources"]
    tables = {table["name"]: table["columns"] for table in source["tables"]}
    assert set(tables) == set(made.tables)
    tested = []
    for name, columns in tables.items():
        assert [column["name"] for column in columns] == made.arrow(name).column_names
        for column, note in zip(columns, made.tables[name].columns, strict=True):
            assert column["description"].startswith(note.meaning[:20].replace("{{", "{ {"))
            for test in column.get("data_tests", []):
                if isinstance(test, dict):
                    to = test["relationships"]
                    table = re.fullmatch(r"source\('pdframe', '(\w+)'\)", to["to"])
                    assert table
                    tested.append((name, column["name"], table[1], to["field"]))
    # Each once, in any order.
    assert sorted(tested) == sorted(
        (one.from_table, one.from_column, one.to_table, one.to_column) for one in made.relationships
    )
    keys = {column["name"]: column for column in tables["dim_owner"]}
    assert keys["owner_key"]["data_tests"] == ["unique", "not_null"]


def test_labels_of_the_crm_hold_no_template() -> None:
    label = 'x: "{{ env_var(1) }}" {% do %} {# no #}\n- name: other\u2028'
    notes = {"dim_deal": (ColumnNote("x_1", "string", label, "1", "Custom field"),)}
    text = schema_yml(notes, [Relationship("dim_deal", "x_1", "dim_deal", "x_1")])
    for sign in ("{{", "}}", "{%", "%}", "{#", "#}"):
        assert sign not in text
    (column,) = yaml.safe_load(text)["sources"][0]["tables"][0]["columns"]
    assert column["description"].replace("{ {", "{{").replace("} }", "}}").replace(
        "{ %", "{%"
    ).replace("% }", "%}").replace("{ #", "{#").replace("# }", "#}") == (
        f"Custom field; label: {label}"
    )

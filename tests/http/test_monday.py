"""What people ask on a Monday, as they type it first: it works, or the answer leads to what does.

Every figure is held against the events of the company.
"""

from __future__ import annotations

import re
import subprocess
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import matplotlib.pyplot as plt
import pandas as pd
import pytest

import pdframe
from pdframe import metrics, plot, sandbox
from pdframe.cli import main
from pdframe.errors import (
    AccessError,
    ArgumentError,
    BudgetError,
    CredentialsError,
    MixedCurrencyError,
    NotCachedError,
    TransportError,
    UnknownNameError,
)
from tests.helpers import true_cells
from tests.helpers.faults_by_path import interrupted

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

TODAY = "2026-06-30"


@pytest.fixture(scope="module")
def account() -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=3, deals=150, company="hostile", burst=100_000, max_age=None, progress=False
    ) as account:
        account.sync()
        account.deal_changes()
        yield account


@pytest.fixture(scope="module")
def fresh() -> Iterator[sandbox.SandboxAccount]:
    """An account of the first day: no changelog is loaded."""
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, max_age=None, progress=False
    ) as account:
        account.sync()
        yield account


@pytest.fixture(scope="module")
def deals(account: sandbox.SandboxAccount) -> pd.DataFrame:
    return account.deals()


@pytest.fixture(scope="module")
def truth(account: sandbox.SandboxAccount) -> dict[str, pd.DataFrame]:
    """What the company's events lead to, a frame a table."""
    state = true_cells.fold(account.company_model.events)
    return {
        name: pd.DataFrame(true_cells.visible(state, name))
        for name in ("deals", "users", "pipelines", "stages")
    }


def named(truth: dict[str, pd.DataFrame], column: str, table: str) -> pd.Series[Any]:
    names = truth[table].set_index("id")["name"]
    result: pd.Series[Any] = truth["deals"][column].map(names)
    return result


def closed_in(truth: dict[str, pd.DataFrame], status: str, since: str, until: str) -> pd.DataFrame:
    """The deals that were won, or lost, on a day from `since` up to `until`, in the company's zone,
    with the name of their owner.
    """
    deals = truth["deals"].assign(owner=named(truth, "owner_id", "users"))
    times = pd.to_datetime(deals[f"{status}_time"], utc=True, format="mixed")
    local = times.dt.tz_convert("Europe/Tallinn").dt.tz_localize(None)
    inside = (local >= since) & (local < until) & (deals["status"] == status)
    return deals[inside & ~deals["is_deleted"].fillna(False).astype(bool)]


# What is this?


def test_what_is_this_and_which_version(capsys: pytest.CaptureFixture[str]) -> None:
    for guess in (["--version"], ["--help"]):
        with pytest.raises(SystemExit) as stopped:
            main(guess)
        assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert f"pdframe {version('pdframe')}" in said
    for command in ("demo", "sync", "status", "estimate", "export", "notebooks"):
        assert re.search(rf"^ +{command}\b", said, re.MULTILINE), command


def test_try_it_and_open_the_notebooks_that_it_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--deals", "20", "--quiet", "--cache-dir", str(tmp_path / "cache")]) == 0
    # The command as it can be typed here: `.venv/bin/pdframe` where that is not on the PATH.
    *command, folder = capsys.readouterr().out.splitlines()[-1].split()
    assert command[-1] == "notebooks"
    subprocess.run([*command, str(tmp_path / folder)], check=True, capture_output=True)
    assert len(list((tmp_path / folder).glob("*.ipynb"))) == 6


def test_a_wrong_token(account: sandbox.SandboxAccount, tmp_path: Path) -> None:
    with (
        pdframe.connect(
            base_url=account.server.url, api_token="0" * 40, cache_dir=tmp_path, progress=False
        ) as wrong,
        pytest.raises(AccessError, match="token") as refused,
    ):
        wrong.deals()
    assert (refused.value.status, refused.value.missing) == (401, "credentials")
    assert "0" * 40 not in str(refused.value)


# Who holds what?


def test_value_of_the_deals_of_each_rep(
    deals: pd.DataFrame, truth: dict[str, pd.DataFrame]
) -> None:
    shown = deals.groupby(["owner_name", "currency"])["value"].sum()
    owners = named(truth, "owner_id", "users")
    expected = truth["deals"].groupby([owners, "currency"])["value"].sum()
    assert shown.round(2).to_dict() == expected.astype(float).round(2).to_dict()


def test_deals_in_each_stage_of_each_pipeline(
    deals: pd.DataFrame, truth: dict[str, pd.DataFrame]
) -> None:
    shown = deals.groupby(["pipeline_name", "stage_name"]).size()
    pipelines, stages = (
        named(truth, "pipeline_id", "pipelines"),
        named(truth, "stage_id", "stages"),
    )
    assert shown.to_dict() == truth["deals"].groupby([pipelines, stages]).size().to_dict()


def test_new_deals_of_each_rep_by_month(
    deals: pd.DataFrame, truth: dict[str, pd.DataFrame]
) -> None:
    """A pivot with `dt.to_period("M")` has the months of UTC; the company lives in Tallinn."""
    table = metrics.sales_by_period(deals, since="2026-01", until="2026-06", by="owner")
    shown = table.groupby(["owner_name", "period"])["created"].sum()
    added = pd.to_datetime(truth["deals"]["add_time"], utc=True, format="mixed")
    months = added.dt.tz_convert("Europe/Tallinn").dt.tz_localize(None).dt.to_period("M")
    recent = months >= pd.Period("2026-01")
    expected = truth["deals"][recent].groupby(
        [named(truth, "owner_id", "users")[recent], months[recent].dt.to_timestamp()]
    )
    assert shown[shown > 0].to_dict() == expected.size().to_dict()


def test_whom_to_call_today(
    account: sandbox.SandboxAccount, truth: dict[str, pd.DataFrame]
) -> None:
    with pytest.raises(ArgumentError, match=r"deal_aging\(account\.deals\(\), account\.stage_vis"):
        metrics.deal_aging(account.deals(), as_of=TODAY)
    aging = metrics.deal_aging(
        account.deals(names=True), account.stage_visits(), account.stages(), as_of=TODAY
    )
    company = truth["deals"].set_index("id")
    assert set(aging["deal_id"]) == set(company.index[company["status"] == "open"])
    owners = named(truth, "owner_id", "users").set_axis(company.index)
    for row in aging.to_dict("records"):
        assert row["owner_name"] == owners[row["deal_id"]]
        assert row["value"] == pytest.approx(float(company["value"][row["deal_id"]]))
        assert row["url"].endswith(f"/deal/{row['deal_id']}")
    assert aging["org_name"].notna().any()


def test_only_the_open_deals(
    account: sandbox.SandboxAccount, truth: dict[str, pd.DataFrame]
) -> None:
    with pytest.raises(ArgumentError) as refused:
        account.deals(status="open")
    assert "deals = account.deals()" in str(refused.value)
    assert "deals[deals['status'] == 'open']" in str(refused.value)
    deals = account.deals()
    shown = deals[deals["status"] == "open"]
    assert len(shown) == (truth["deals"]["status"] == "open").sum() > 0


@pytest.mark.parametrize(
    ("first_guess", "second"),
    [
        ({"since": "2026-01-01"}, "deals[deals['add_time'] >= '2026-01-01']"),
        ({"limit": 10}, "deals.head(10)"),
        ({"filter_id": 12}, "deals[deals['id'].isin([1, 2])]"),
        ({"owner_name": "Mari"}, "deals[deals['owner_name'] == 'Mari']"),
        ({"owner": "Mari"}, "deals[deals['owner_name'] == 'Mari']"),
        ({"owner": 17}, "deals[deals['owner_id'] == 17]"),
        ({"Stage": "Won"}, "deals[deals['stage_name'] == 'Won']"),
        ({"anything": 1}, "deals[deals['id'].isin([1, 2])]"),
    ],
)
def test_a_loader_selects_nothing_and_says_how_pandas_does(
    account: sandbox.SandboxAccount,
    deals: pd.DataFrame,
    first_guess: dict[str, Any],
    second: str,
) -> None:
    with pytest.raises(ArgumentError) as refused:
        account.deals(**first_guess)
    assert second in str(refused.value)
    assert len(eval(second, {"deals": deals})) < len(deals)  # noqa: S307


# Where is my field?


def test_where_is_the_date_on_which_customers_cancel(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(ArgumentError, match=r"account\.fields\(search='cancellation'\)"):
        account.fields("cancellation")
    fields = account.fields(search="cancellation")
    assert set(fields["table"]) == {"deals"}
    assert fields["column"].isin(account.deals().columns).all()


def test_all_fields_of_all_tables(account: sandbox.SandboxAccount) -> None:
    fields = account.fields()
    assert list(fields)[:2] == ["table", "column"]
    for table, part in fields.groupby("table", sort=False):
        pd.testing.assert_frame_equal(
            part.drop(columns="table").reset_index(drop=True), account.fields(str(table))
        )


def test_the_options_of_a_field_are_searched_too(account: sandbox.SandboxAccount) -> None:
    fields = account.fields("deals")
    options = fields.dropna(subset="options")
    word = next(option for cell in options["options"] for option in cell if len(option) > 3)
    assert len(account.fields("deals", search=word.upper())) >= 1
    assert len(account.fields(search="no field is called so")) == 0


def test_a_mistyped_column(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(ArgumentError, match="Did you mean 'Competitor'"):
        account.deals(columns=["id", "Competitors"])
    assert list(account.deals(columns=["id", "Competitor"])) == ["id", "Competitor"]


def test_a_label_that_two_fields_share(
    account: sandbox.SandboxAccount, deals: pd.DataFrame
) -> None:
    both = [column for column in deals if str(column).startswith("Region (")]
    assert len(both) == 2
    for call in (
        lambda: account.deals(columns=["Region"]),
        lambda: metrics.win_rate(deals, since="2026", until="2026", by="Region"),
    ):
        with pytest.raises(ArgumentError) as refused:
            call()
        assert all(column in str(refused.value) for column in both)
    assert len(metrics.win_rate(deals, since="2026", until="2026", by=both[0])) > 0


# How did the quarter go?


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("2026-Q2", "2026-Q2"),
        ("2026-04", "2026-06"),
        (pd.Period("2026Q2"), pd.Period("2026Q2")),
        ("2026-04-01", "2026-07-01"),
    ],
)
def test_win_rate_of_each_rep_this_quarter(
    deals: pd.DataFrame, truth: dict[str, pd.DataFrame], since: Any, until: Any
) -> None:
    rates = metrics.win_rate(deals, since=since, until=until, by="owner")
    won, lost = (
        closed_in(truth, status, "2026-04-01", "2026-07-01")["owner"].value_counts()
        for status in ("won", "lost")
    )
    expected = pd.DataFrame({"won": won, "lost": lost}).fillna(0).astype(int)
    assert len(expected) > 0
    shown = rates.set_index("owner_name")[["won", "lost"]].astype(int)
    assert shown.to_dict("index") == expected.to_dict("index")


def test_win_rate_of_each_rep_and_quarter(
    deals: pd.DataFrame, truth: dict[str, pd.DataFrame]
) -> None:
    with pytest.raises(
        ArgumentError, match=r"win_rate\(\) also needs since, until.*since='2026-Q2'"
    ):
        metrics.win_rate(deals, by="owner_name", freq="Q")
    rates = metrics.win_rate(deals, since="2026-Q1", until="2026-Q2", by="owner_name", freq="Q")
    shown = rates.set_index(["owner_name", "period"])["won"].astype(int)
    won = {
        (owner, pd.Timestamp(since)): count
        for since, until in (("2026-01-01", "2026-04-01"), ("2026-04-01", "2026-07-01"))
        for owner, count in closed_in(truth, "won", since, until)["owner"].value_counts().items()
    }
    assert shown[shown > 0].to_dict() == won


def test_how_long_a_sale_takes(deals: pd.DataFrame, truth: dict[str, pd.DataFrame]) -> None:
    table = metrics.sales_velocity(deals, since="2026-Q2", until="2026-Q2", by="currency")
    won = closed_in(truth, "won", "2026-04-01", "2026-07-01")
    added, closed = (
        pd.to_datetime(won[name], utc=True, format="mixed") for name in ("add_time", "won_time")
    )
    days = ((closed - added) / pd.Timedelta(days=1)).groupby(won["currency"]).mean()
    assert len(days) > 1
    shown = table.set_index("currency")["mean_days"].dropna()
    assert shown.to_dict() == pytest.approx(days.to_dict())


def test_why_deals_are_lost(deals: pd.DataFrame, truth: dict[str, pd.DataFrame]) -> None:
    """`groupby("lost_reason")` counts each spelling apart, and no deal without a reason."""
    table = metrics.lost_reasons(deals, since="2026-01", until="2026-06")
    lost = closed_in(truth, "lost", "2026-01-01", "2026-07-01")
    assert lost["lost_reason"].dropna().str.casefold().nunique() < lost["lost_reason"].nunique()
    counts = table.assign(reason=table["reason"].str.casefold().fillna("(none)"))
    expected = lost["lost_reason"].str.casefold().str.strip().fillna("(none)").value_counts()
    shown = counts.groupby("reason")["deals"].sum()
    assert shown.sum() == len(lost)
    assert sorted(shown) == sorted(expected)


def test_as_of_today(deals: pd.DataFrame) -> None:
    how: Any = {"since": None, "until": None, "basis": "created"}
    expected = metrics.win_rate(deals, **how, as_of=TODAY)
    assert len(expected) == 1
    pd.testing.assert_frame_equal(metrics.win_rate(deals, **how, as_of="today"), expected)
    # A frame that is not an account's, or has lost what an account says of it, has no today.
    deals = deals.copy()
    deals.attrs.clear()
    with pytest.raises(ArgumentError, match=r"does not read the clock: pd\.Timestamp\.now\(\)"):
        metrics.win_rate(deals, **how, as_of="today")


def test_as_it_was_at_the_end_of_may(account: sandbox.SandboxAccount) -> None:
    for period in ("2026-05", pd.Period("2026-05")):
        pd.testing.assert_frame_equal(account.as_of(period), account.as_of("2026-05-31"))


def test_conversion_of_new_business(
    account: sandbox.SandboxAccount, deals: pd.DataFrame, truth: dict[str, pd.DataFrame]
) -> None:
    with pytest.raises(ArgumentError) as refused:
        metrics.funnel(deals)
    second = "funnel(account.stage_visits(), account.stages(), as_of='2026-06-30')"
    assert second in str(refused.value)
    visits, stages = account.stage_visits(), account.stages()
    with pytest.raises(ArgumentError, match="Did you mean 'pipeline_id'"):
        metrics.funnel(visits, stages, as_of=TODAY, pipeline="New business")
    result = metrics.funnel(visits, stages, as_of=TODAY, pipeline_id="New business")
    company = account.company_model.truth
    pipelines = truth["pipelines"].set_index("name")["id"]
    entered = {
        visit.deal_id
        for visit in company.stage_visits()
        if visit.pipeline_id == pipelines["New business"]
    }
    # What the API deleted more than 30 days before the first sync is unknown to it.
    assert result["reached"].max() == len(entered & set(truth["deals"]["id"]))
    with pytest.raises(ArgumentError, match=r"'New busines'.* Did you mean 'New business'"):
        metrics.funnel(visits, stages, as_of=TODAY, pipeline_id="New busines")


def test_the_funnel_of_a_fresh_account(fresh: sandbox.SandboxAccount) -> None:
    deals = fresh.deals()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        funnel = metrics.funnel(
            fresh.stage_visits(), fresh.stages(), as_of=TODAY, pipeline_id="New business"
        )
    assert len(caught) <= 1
    notes = funnel.attrs["notes"]
    cohort = len(deals[deals["pipeline_name"] == "New business"])
    assert funnel["reached"].max() == cohort
    assert funnel["share_reached"].notna().all()
    unknown = int(re.search(r"(\d+) deals, ([\d,]+) tokens: account\.deal_changes", notes[0])[1])
    assert 0 < unknown <= cohort
    assert f"{20 * unknown:,} tokens" in notes[0]


def test_the_funnel_of_each_rep(
    account: sandbox.SandboxAccount, deals: pd.DataFrame, truth: dict[str, pd.DataFrame]
) -> None:
    visits, stages = account.stage_visits(), account.stages()
    arguments: dict[str, Any] = {"as_of": TODAY, "pipeline_id": "New business", "by": "owner"}
    with pytest.raises(ArgumentError, match=r"Pass deals=account\.deals\(\)"):
        metrics.funnel(visits, stages, **arguments)
    funnel = metrics.funnel(visits, stages, deals=deals, **arguments)
    pipelines = truth["pipelines"].set_index("name")["id"]
    entered = {
        visit.deal_id
        for visit in account.company_model.truth.stage_visits()
        if visit.pipeline_id == pipelines["New business"]
    }
    owners = named(truth, "owner_id", "users")[truth["deals"]["id"].isin(entered)]
    first = funnel.groupby("owner_name")["reached"].max()
    assert first.to_dict() == owners.value_counts().to_dict()
    assert len(first) > 3
    ax = plot.funnel(funnel, top=3)
    texts = " ".join(text.get_text() for text in ax.figure.findobj(plt.Text))
    assert f"{len(first) - 3} more" in texts
    plt.close(ax.figure)


def test_the_ten_largest_customers(account: sandbox.SandboxAccount, deals: pd.DataFrame) -> None:
    with pytest.raises(ArgumentError, match=r"top_customers\(metrics\.mrr_lines\(\.\.\.\), as_of="):
        metrics.top_customers(deals)
    named_deals = account.deals(names=True)
    lines = metrics.mrr_lines(
        account.deal_products(), named_deals, cancellations="Cancellation date"
    )
    with pytest.raises(MixedCurrencyError, match=r"lines\[lines\['currency'\] == 'EUR'\]"):
        metrics.top_customers(lines, as_of=TODAY)
    euros = lines[lines["currency"] == "EUR"]
    table = metrics.top_customers(euros, as_of=TODAY)
    day = pd.Timestamp(TODAY).date()
    expected: dict[tuple[str, int], float] = {}
    for one in account.company_model.truth.subscriptions():
        if one.currency == "EUR" and one.start <= day and (one.end is None or one.end > day):
            kind, number = ("person", one.person_id) if one.org_id is None else ("org", one.org_id)
            customer = (kind, int(number or 0))
            expected[customer] = expected.get(customer, 0) + one.monthly
    largest = sorted(expected.values(), reverse=True)[:10]
    assert table["mrr"].sum() == pytest.approx(sum(expected.values()), abs=0.01)
    assert table["mrr"].tolist()[: len(largest)] == pytest.approx(largest, abs=0.01)
    names = set(account.organizations()["name"]) | set(account.persons()["name"])
    assert set(table["customer_name"][: len(largest)].dropna()) <= names
    assert table["customer_name"][: len(largest)].notna().all()


def test_won_by_rep_and_month_in_sql(
    account: sandbox.SandboxAccount, truth: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    account.export(tmp_path, "deals", "users")
    rows = duckdb.sql(
        f"""
        select users.name, date_trunc('month', won_time at time zone 'Europe/Tallinn') as month,
            count(*) as won
        from '{tmp_path}/deals.parquet' as deals
        join '{tmp_path}/users.parquet' as users on users.id = deals.owner_id
        where deals.status = 'won' and won_time >= timestamptz '2026-01-01 00:00:00 Europe/Tallinn'
        group by all
        """
    ).fetchall()
    won = closed_in(truth, "won", "2026-01-01", "2026-07-01")
    times = pd.to_datetime(won["won_time"], utc=True, format="mixed")
    months = times.dt.tz_convert("Europe/Tallinn").dt.strftime("%Y-%m")
    expected = won.groupby([won["owner"], months]).size().to_dict()
    assert {(name, f"{month:%Y-%m}"): count for name, month, count in rows} == expected


def test_recurring_revenue_of_each_rep(
    account: sandbox.SandboxAccount, deals: pd.DataFrame
) -> None:
    with pytest.raises(UnknownNameError, match=r"no metric 'mrr'.*'mrr_lines'"):
        metrics.mrr(deals)
    with pytest.raises(ArgumentError, match=r"mrr_lines\(account\.deal_products\(\)"):
        metrics.mrr_lines()
    lines = metrics.mrr_lines(account.deal_products(), deals, cancellations="Cancellation date")
    by_owner = metrics.mrr_schedule(lines, since="2026-06", until="2026-06", by="owner")
    active = [
        subscription
        for subscription in account.company_model.truth.subscriptions()
        if subscription.start <= pd.Timestamp(TODAY).date()
        and (subscription.end is None or subscription.end > pd.Timestamp(TODAY).date())
    ]
    assert by_owner["mrr"].sum() == pytest.approx(
        float(sum(subscription.monthly for subscription in active)), abs=0.01
    )
    assert set(by_owner["owner_name"]) <= set(account.users()["name"])
    # `until` is exclusive, and a day its first instant: June has begun before today.
    in_words = metrics.mrr_schedule(lines, since="this month", until="today", by="owner")
    assert in_words["mrr"].sum() == pytest.approx(by_owner["mrr"].sum(), abs=0.01)
    assert set(in_words["month"]) == {pd.Timestamp("2026-06-01")}


def test_weighted_value_of_the_pipeline(
    account: sandbox.SandboxAccount, deals: pd.DataFrame, truth: dict[str, pd.DataFrame]
) -> None:
    table = metrics.weighted_pipeline(deals, account.stages(), account.pipelines(), as_of=TODAY)
    open_deals = truth["deals"][truth["deals"]["status"] == "open"]
    stages, pipelines = (truth[name].set_index("id") for name in ("stages", "pipelines"))
    of_stage = open_deals["stage_id"].map(stages["deal_probability"]).astype(float)
    percent = open_deals["probability"].astype(float).fillna(of_stage)
    on = open_deals["pipeline_id"].map(pipelines["is_deal_probability_enabled"]).astype(bool)
    weighted = open_deals["value"].astype(float).fillna(0) * percent.where(on, 100) / 100
    expected = weighted.groupby(open_deals["currency"]).sum()
    assert len(expected) > 1
    shown = table.groupby("currency")["weighted"].sum()
    assert shown.to_dict() == pytest.approx(expected.to_dict())


def test_sales_velocity_of_several_currencies(deals: pd.DataFrame) -> None:
    quarter = {"since": "2026-Q2", "until": "2026-Q2"}
    with pytest.raises(MixedCurrencyError) as refused:
        metrics.sales_velocity(deals, **quarter)
    assert "rates" in str(refused.value)
    assert len(metrics.sales_velocity(deals, **quarter, by="currency")) > 1


def test_what_changed_since_last_monday(account: sandbox.SandboxAccount) -> None:
    changes = account.changes("last Monday")
    monday = pd.Timestamp("2026-06-29", tz="Europe/Tallinn")
    won = {
        event.id
        for event in account.company_model.events
        if event.table == "deals"
        and event.changes.get("status") == "won"
        and event.time >= monday.timestamp()
    }
    assert (changes["time"] >= monday).all()
    assert set(changes.loc[changes["event"] == "won", "deal_id"]) == won
    assert len(account.as_of("last Monday")) > 0


def test_as_it_was_last_week_on_the_first_day(fresh: sandbox.SandboxAccount) -> None:
    """Nothing is invented: the first snapshot is named, and what would load the past."""
    with pytest.raises(NotCachedError) as refused:
        fresh.as_of("last Monday")
    assert "The first snapshot of deals is from 2026-06-30 12:00:00 UTC" in str(refused.value)
    assert "account.deal_changes(), 20 tokens a deal" in str(refused.value)


def test_people_by_e_mail(account: sandbox.SandboxAccount) -> None:
    persons = account.persons()
    company = account.company_model.tables["persons"]
    address = next(
        email["value"] for email in company[int(persons["id"].iloc[0])]["emails"] if email["value"]
    )
    shown = persons[pdframe.has(persons["emails"], address)]
    expected = [
        number
        for number, row in company.items()
        if address in [email["value"] for email in row["emails"]]
    ]
    assert shown["id"].tolist() == sorted(set(expected) & set(persons["id"]))
    assert persons["primary_email"].str.contains("@").sum() > 0


def test_deals_with_one_of_several_options(
    account: sandbox.SandboxAccount, deals: pd.DataFrame
) -> None:
    lists = [column for column in deals if str(deals[column].dtype).startswith("list")]
    column = next(name for name in lists if deals[name].notna().any())
    option = str(next(value[0] for value in deals[column].dropna() if len(value)))
    chosen = deals[pdframe.has(deals[column], option)]
    assert len(chosen) == sum(option in list(cell) for cell in deals[column].dropna()) > 0


def test_a_forecast_of_deals_alone(deals: pd.DataFrame) -> None:
    with pytest.raises(ArgumentError, match=r"Write forecast\(account\.deals\(\), account\.stage"):
        metrics.forecast(deals)


def test_a_chart_that_does_not_exist() -> None:
    with pytest.raises(UnknownNameError, match=r"no chart 'funnels'.*'funnel'"):
        plot.funnels  # noqa: B018


# What can go wrong?


def test_without_any_credentials() -> None:
    with pytest.raises(CredentialsError, match=r"PIPEDRIVE_API_TOKEN.*sandbox\.connect"):
        pdframe.connect()
    with pytest.raises(ArgumentError, match=r"'token'. Did you mean 'api_token'"):
        pdframe.connect("acme", token="0123456789abcdef0123456789abcdef01234567")


def test_a_flag_in_words(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(ArgumentError, match="labels must be True or False, not 'no'"):
        account.deals(labels="no")


def test_a_table_of_another_name(account: sandbox.SandboxAccount) -> None:
    for call in (lambda: account.deal_product(), lambda: account.sync("deal_product")):
        with pytest.raises(ArgumentError, match="Did you mean 'deal_products'"):
            call()
    with pytest.raises(UnknownNameError, match=r"search\(term, 'lead'\)"):
        account.leads()
    with pytest.raises(UnknownNameError, match=r"pdframe\.metrics\.funnel"):
        account.funnel()


def test_the_budget_is_spent() -> None:
    with (
        sandbox.connect(
            seed=3, deals=20, company="hostile", burst=100_000, progress=False, max_tokens=10
        ) as account,
        pytest.raises(BudgetError) as refused,
    ):
        account.deals()
    assert refused.value.resume_at is not None


def test_an_interrupted_load_goes_on_where_it_was(tmp_path: Path) -> None:
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False, cache_dir=tmp_path
    ) as account:
        deals = account.deals()
        with interrupted(account.server, "/changelog", 20):
            account.deal_changes()
        account.server.reset_stats()
        account.deal_changes()
        # Requests that were under way at the interruption may still be answered: each path once.
        paths = {entry.path for entry in account.server.requests}
        assert 0 < len(paths) < len(deals)
        with sandbox.connect(
            seed=3, deals=60, company="hostile", burst=100_000, progress=False
        ) as other:
            pd.testing.assert_frame_equal(account.deal_changes(), other.deal_changes())


def test_without_network_and_with_an_old_cache(tmp_path: Any) -> None:
    with sandbox.connect(
        seed=3, deals=20, company="hostile", burst=100_000, progress=False, cache_dir=tmp_path
    ) as first:
        first.sync()
        first.stage_visits()
        first.deal_changes([1])
        address, token = first.server.url, first.server.token
    with pdframe.connect(
        base_url=address, api_token=token, cache_dir=tmp_path, max_age=0, progress=False
    ) as account:
        calls = {
            "account.deals(refresh=False)": lambda **how: account.deals(**how),
            "account.stage_visits(refresh=False)": lambda **how: account.stage_visits(**how),
            "account.deal_changes(ids, refresh=False)": lambda **how: account.deal_changes(
                [1], **how
            ),
        }
        for call, load in calls.items():
            with pytest.raises(TransportError) as refused:
                load(refresh=True)
            assert f"{call} reads the cached table." in str(refused.value)
            assert str(refused.value).count("refresh=False") == 1
            assert len(load(refresh=False)) > 0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(account.fields("deals", refresh=False)) > 0


def test_a_cache_folder_that_cannot_be_written() -> None:
    for folder in ("/proc/pdframe", "/dev/null/cache"):
        with pytest.raises(pdframe.errors.CacheError, match=r"cannot be written.*No request"):
            pdframe.connect("acme", api_token="0" * 40, cache_dir=folder)


def test_what_a_tab_shows(account: sandbox.SandboxAccount) -> None:
    shown = dir(account)
    assert {"deals", "fields", "sync", "company_model"} <= set(shown)
    assert not [name for name in shown if name.startswith("_")]
    for module in (pdframe, metrics, plot, sandbox):
        assert set(dir(module)) == set(module.__all__)


def test_what_a_notebook_shows_of_a_typo(deals: pd.DataFrame) -> None:
    with pytest.raises(ArgumentError) as refused:
        metrics.win_rate(deals, since="2026", until="2026", by="ownr")
    place, *rest = refused.value._render_traceback_()
    assert 'by="ownr")' in place
    assert len(rest) == 1
    assert rest[0].startswith("ArgumentError: deals has no column 'ownr'. Did you mean 'owner_")


def test_a_dashboard(account: sandbox.SandboxAccount, truth: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'dashboard'"):
        account.dashbord  # noqa: B018
    board = account.dashboard(period="2026-Q2")
    assert board.state.period.text == "2026-04-01 to 2026-06-30"
    # What it shows is what a notebook computes: its code gives the same frame.
    scope: dict[str, Any] = {"account": account}
    exec(board.code, scope)
    won = len(closed_in(truth, "won", "2026-04-01", "2026-07-01"))
    assert scope["sales"]["won"].sum() == won


def test_one_page_for_the_board(
    account: sandbox.SandboxAccount, truth: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match=r"account\.report\('report\.html'"):
        account.report()
    with pytest.raises(ArgumentError, match=r"must end in \.html"):
        account.report(tmp_path / "board.pdf")
    page = account.report(tmp_path / "board.html", period="2026-Q2").read_text("utf-8")
    won = closed_in(truth, "won", "2026-04-01", "2026-07-01")
    euros = won.loc[won["currency"] == "EUR", "value"].sum()
    values = re.findall(r'<dd class="value">([^<]*)', page)
    assert f"{len(won):,}" in values
    assert f"{euros:,.0f}" in values

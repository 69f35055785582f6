"""What people ask on a Monday, as they type it first: it works, or the answer leads to what does.

Every figure is held against the events of the company.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import metrics, plot, sandbox
from pdframe.errors import (
    ArgumentError,
    BudgetError,
    CredentialsError,
    MixedCurrencyError,
    TransportError,
    UnknownNameError,
)
from tests.helpers import true_cells

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


def test_as_of_today(deals: pd.DataFrame) -> None:
    with pytest.raises(ArgumentError, match=r"does not read the clock: pd\.Timestamp\.now\(\)"):
        metrics.win_rate(deals, since=None, until=None, basis="created", as_of="today")
    assert len(metrics.win_rate(deals, since=None, until=None, basis="created", as_of=TODAY)) == 1


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

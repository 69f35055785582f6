"""First guesses of people who read README alone: the answer is the figure, or names the call that
gives it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import fleet, metrics, sandbox
from pdframe.errors import ArgumentError, MixedCurrencyError, UnknownNameError
from tests.helpers import true_cells

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")


@pytest.fixture(scope="module")
def account() -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(seed=3, deals=60, burst=100_000, max_age=None, progress=False) as account:
        account.sync("deals", "stages", "pipelines")
        yield account


@pytest.fixture(scope="module")
def deals(account: sandbox.SandboxAccount) -> pd.DataFrame:
    return account.deals()


@pytest.fixture(scope="module")
def true_deals(account: sandbox.SandboxAccount) -> pd.DataFrame:
    """The deals that the company's events lead to."""
    state = true_cells.fold(account.company_model.events)
    return pd.DataFrame(true_cells.visible(state, "deals"))


def answer(call: str, **names: Any) -> str:
    """What a guess is answered with, where it is refused."""
    with pytest.raises((ArgumentError, UnknownNameError)) as refused:
        eval(call, {"pd": pd, "pdframe": pdframe, "metrics": metrics, **names})  # noqa: S307
    return str(refused.value)


# Lengths of periods in words


@pytest.mark.parametrize(
    ("word", "letter"),
    [
        ("quarter", "Q"),
        ("Quarterly", "Q"),
        ("QE", "Q"),
        ("month", "M"),
        ("m", "M"),
        ("MS", "M"),
        ("week", "W"),
        ("weekly", "W"),
        ("year", "Y"),
        (" annual ", "Y"),
    ],
)
def test_a_length_of_periods_in_words(
    deals: pd.DataFrame, true_deals: pd.DataFrame, word: str, letter: str
) -> None:
    table = metrics.win_rate(deals, since="2025", until="2026-06", freq=word)
    won = true_deals[true_deals["status"] == "won"]
    days = pd.to_datetime(won["local_won_date"])
    days = days[(days >= "2025-01-01") & (days < "2026-07-01")]
    expected = days.dt.to_period("W-SUN" if letter == "W" else letter).dt.start_time.value_counts()
    shown = table.set_index("period")["won"]
    assert shown[shown > 0].to_dict() == expected.to_dict()
    assert len(expected) > 1


def test_a_result_records_the_letter_of_its_periods(deals: pd.DataFrame) -> None:
    """Charts, drill-through and the record of forecasts compare it."""
    by_word = metrics.sales_by_period(deals, since="2025", until="2026-06", freq="quarter")
    assert by_word.attrs["freq"] == "Q"
    assert metrics.schema("weighted_pipeline", freq="week") == metrics.schema(
        "weighted_pipeline", freq="W"
    )


def test_a_forecast_of_a_quarter_in_words(account: sandbox.SandboxAccount) -> None:
    # It is read before amounts are.
    with pytest.raises(MixedCurrencyError):
        account.forecast("2026-Q3", freq="quarter")
    with pytest.raises(ArgumentError, match="freq must be one of 'W', 'M', 'Q', 'Y'"):
        account.forecast("2026-Q3", freq="fortnight")


def test_a_fiscal_quarter_as_pandas_calls_it(deals: pd.DataFrame) -> None:
    with pytest.raises(ArgumentError, match=r"not 'Q-MAR'\. fiscal_start= is the month in which"):
        metrics.sales_by_period(deals, since="2025", until="2026-06", freq="Q-MAR")


# Names on an account


@pytest.mark.parametrize(
    ("name", "leads_to"),
    [
        ("winrate", "Did you mean the metric 'win_rate', which takes frames: pdframe.metrics.win_"),
        ("funel", "pdframe.metrics.funnel(account.stage_visits(), account.stages(), as_of="),
        ("forcast", "Did you mean 'forecast'?"),
        ("mrr_by_month", "metrics.mrr_lines, then metrics.mrr_schedule"),
        ("Leads", "account.search(term, 'lead')"),
        ("ecb_rates", "It is a metric: pdframe.metrics.ecb_rates()."),
        ("RevenuePolicy", "It is a metric: pdframe.metrics.RevenuePolicy."),
        ("schema", "account.fields('deals') lists the columns"),
        ("custom_fields", "fields[fields['is_custom']]"),
        ("teams", "account.users()"),
        ("owners", "account.users() has them."),
        ("open_deals", "deals[deals['status'] == 'open']"),
        ("closed_won", "deals[deals['status'] == 'won']"),
        ("overdue_activities", "activity_summary counts activities"),
        ("deal_product", "Did you mean 'deal_products'"),
    ],
)
def test_a_name_on_an_account(account: sandbox.SandboxAccount, name: str, leads_to: str) -> None:
    said = answer(f"account.{name}", account=account)
    assert leads_to in said
    assert ("takes frames" in said) == (name in ("winrate", "funel"))


@pytest.mark.parametrize(
    ("name", "leads_to"),
    [
        ("churned_customers", "movement 'churn' are the customers who left, by name"),
        ("deals_without_next_activity", "deals['next_activity_id'].isna()"),
        ("overdue_activities", "activity_summary counts activities, done and overdue"),
        ("products_sold", "Line items have it"),
        ("sales_by_product", "Line items have it"),
        ("lead_conversion", "Deals that were leads have source_lead_id"),
        ("overdue_projects", "projects['end_date'] < '2026-06-30'"),
    ],
)
def test_a_name_among_the_metrics(name: str, leads_to: str) -> None:
    assert leads_to in answer(f"metrics.{name}")


@pytest.mark.parametrize(
    ("name", "leads_to"),
    [
        ("conect", "Did you mean 'connect'?"),
        ("win_rate", "It is pdframe.metrics.win_rate."),
        ("deals", "account = pdframe.connect(), then account.deals."),
        ("qqq", "pdframe.connect() and pdframe.sandbox.connect() open an account"),
        ("sandbox.conect", "There is no part of the sandbox 'conect'. Did you mean 'connect'?"),
        ("fleet.snyc", "There is no function for many accounts 'snyc'. Did you mean 'sync'?"),
    ],
)
def test_a_name_of_a_module(name: str, leads_to: str) -> None:
    assert fleet.sync  # imported, so that its own names answer
    assert leads_to in answer(f"pdframe.{name}")
    for module in (pdframe, sandbox, fleet):
        assert not hasattr(module, "_repr_html_")


# Arguments


@pytest.mark.parametrize(
    ("call", "leads_to"),
    [
        ("metrics.win_rate(deals, period='2026-Q2')", "since='2026-Q2', until='2026-Q2'."),
        ("metrics.win_rate(deals, quarter=2)", "since='2026-Q2', until='2026-Q2'."),
        ("metrics.win_rate(deals, since='this month')", "since='this month', until='today'."),
        (
            "metrics.win_rate(deals, since='2026', until='2026', owner='Grace Lee')",
            "Select rows first: deals[deals['owner_name'] == 'Grace Lee'].",
        ),
        (
            "metrics.win_rate(deals, since='2026', until='2026', owner_id='Grace Lee')",
            "Select rows first: deals[deals['owner_name'] == 'Grace Lee'].",
        ),
        (
            "metrics.stage_survival(account.stage_visits(), account.stages(),"
            " as_of='2026-06-30', pipeline_id='New business')",
            "Select rows first: visits[visits['pipeline_id'] == ...].",
        ),
        (
            "metrics.win_rate(deals, since='2026', until='2026', by=deals['owner_name'])",
            "by must be the name of a column, not its values: by='owner_name'.",
        ),
        (
            "account.forecast('this quarter', owner='Grace Lee')",
            "by='owner': then result[result['owner_name'] == 'Grace Lee'].",
        ),
        ("metrics.renewals(lines, as_of='2026-06-30', days=90)", "Write within='90D'"),
        ("metrics.mrr_schedule(lines, since='2026', until='2026', freq='Q')", "one row a month"),
        ("metrics.compare(deals, period='this month')", "Of two periods, compute each"),
        ("metrics.convert(deals, 'EUR')", "Write convert(..., 'EUR', metrics.ecb_rates())."),
        ("metrics.convert(deals, 'EUR', metrics.ecb_rates())", "such as on='local_won_date'"),
        (
            "metrics.funnel(account.stage_visits(), account.stages(), as_of='2026-06-30')",
            "('New business')",
        ),
        ("account.deals(as_of='2026-05-31')", "account.as_of('2026-05-31') returns the deals"),
        ("account.deals(columns='id, title')", "columns=['id', 'title']."),
        ("account.deals(17)", "deals[deals['id'] == 17]. account.deal(17) shows that deal."),
        (
            "account.deals('open')",
            "deals = account.deals(), then deals[deals['status'] == 'open'].",
        ),
        ("account.persons('Grace')", "Write the name of each: refresh=, labels=, names="),
        ("account.report('r.html', owner='Grace Lee')", "account.dashboard() shows those of a"),
        ("account.report('r.html', currency='USD')", "Pass rates=metrics.ecb_rates('USD')."),
        ("pdframe.plot.funnel(deals, figsize=(3, 4))", "plt.subplots(figsize=(8, 4)), then ax=ax."),
        ("account.deal_history(17)", "deal_history[deal_history['deal_id'] == 17]."),
        ("account.deal_history('17')", "deal_history() takes no argument without a name."),
        ("account.deal_products(17)", "deal_products[deal_products['deal_id'] == 17]."),
        ("account.deals(deals['id'].iloc[0])", "shows that deal."),
        (
            "metrics.win_rate(deals, since='2026', until='2026', owner=7)",
            "Select rows first: deals[deals['owner_id'] == 7].",
        ),
        (
            "metrics.win_rate(deals, since='2026', until='2026', stage='Demo')",
            "'stage_name'] == 'Demo']",
        ),
        ("metrics.win_rate(deals, year=2025)", "since='2025', until='2025'."),
        ("metrics.win_rate(deals, since='2026', until='2026', freq='QE-MAR')", "fiscal_start="),
        ("account.sync(tables=['deals'])", "without a name: sync('deals')."),
        ("account.export(deals)", "not DataFrame. It may be the URL of one."),
        ("pdframe.sandbox.connect('acme')", "seed='acme' must be a whole number"),
        ("account.deal()", "Write account.deal(17)."),
        ("account.export()", "Write account.export('bi')."),
        ("account.fields('deals', custom=True)", "fields[fields['is_custom']]"),
        ("account.export('bi', layout='powerbi')", "A star (facts, dimensions, a calendar)"),
        ("account.sync(tables=pd.Series(['deals', 'stages']))", "sync('deals', 'stages')."),
        ("account.sync(tables=deals)", "without a name: sync(...)."),
        ("account.sync(tables=list('abcde'))", "sync('a', 'b', 'c', ...)."),
        ("account.sync(pd.Series(['deals', 'stages']))", "not Series. Pass each name as an"),
        (
            "account.export('bi', pd.Series(['deals', 'stages']))",
            "one by one: account.export(path, 'deals', 'stages').",
        ),
        ("pdframe.sandbox.connect(deal=100)", "no argument 'deal'. Did you mean 'deals'?"),
        ("pdframe.sandbox.connect(max_token=100)", "Did you mean 'max_tokens'"),
        ("pdframe.sandbox.connect(colour=1)", "It takes seed, deals, cache_dir, company,"),
    ],
)
def test_an_argument(
    account: sandbox.SandboxAccount,
    deals: pd.DataFrame,
    call: str,
    leads_to: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = answer(call, account=account, deals=deals, lines=None)
    assert leads_to in said
    # A frame in an argument is not printed.
    assert "\n" not in said
    assert not [*tmp_path.iterdir()]


def test_frames_of_two_accounts(
    account: sandbox.SandboxAccount, deals: pd.DataFrame, tmp_path: Path
) -> None:
    """The figure was that of deals which have the same ids by chance."""
    with sandbox.connect(seed=4, deals=20, burst=100_000, progress=False) as other:
        for call in (
            "metrics.deal_aging(deals, other.stage_visits(), other.stages(), as_of='2026-06-30')",
            "metrics.mrr_lines(other.deal_products(), deals=deals)",
            "metrics.renewals(metrics.mrr_lines(other.deal_products(), other.deals()), deals,"
            " as_of='2026-06-30', within='90D')",
        ):
            said = answer(call, deals=deals, other=other)
            assert "'showcase-seed3-60'" in said
            assert "'showcase-seed4-20'" in said
            assert said.endswith("Pass frames of one account.")
        # A row of a result too.
        row = metrics.win_rate(deals, since="2023", until="2026").iloc[0]
        said = answer("metrics.drill_through(row, other.deals())", row=row, other=other)
        assert said.endswith("Pass frames of one account.")
        # Frames of all accounts have one column more, and belong together.
        both = pd.concat([deals, other.deals()], keys=["north", "south"], names=["account"])
        both = both.reset_index("account").reset_index(drop=True).assign(id=range(len(both)))
        rates = metrics.win_rate(both, since="2023", until="2026", by="account")
        assert rates["account"].tolist() == ["north", "south"]
    # Another cache of the company is no other account.
    with pdframe.connect(
        base_url=account.server.url,
        api_token=account.server.token,
        cache_dir=tmp_path,
        progress=False,
    ) as same:
        stages = same.stages()
    assert len(metrics.deal_aging(deals, account.stage_visits(), stages, as_of="2026-06-30")) > 0


def test_the_selections_that_are_named_select(
    account: sandbox.SandboxAccount, deals: pd.DataFrame, true_deals: pd.DataFrame
) -> None:
    owner = deals["owner_name"].iloc[0]
    said = answer(
        f"metrics.win_rate(deals, since='2024', until='2026', owner={owner!r})", deals=deals
    )
    (selection,) = re.findall(r"Select rows first: (.*)\.$", said)
    chosen = eval(selection, {"deals": deals})  # noqa: S307
    rate = metrics.win_rate(chosen, since="2023", until="2026")
    of_owner = true_deals[true_deals["owner_id"] == deals["owner_id"].iloc[0]]
    closed = of_owner["status"].value_counts()
    assert rate["won"].tolist() == [closed.get("won", 0)]
    assert rate["lost"].tolist() == [closed.get("lost", 0)]
    # Up to now, in words: everything that was won this year.
    year = metrics.sales_by_period(deals, since="this year", until="today", freq="year")
    won = true_deals["local_won_date"].dropna().astype(str)
    assert year["won"].sum() == (won >= "2026").sum() > 0

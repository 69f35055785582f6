"""Calls and names that do not exist are answered with the nearest ones that do."""

from __future__ import annotations

import inspect
import pickle
import re
import traceback
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import Account, metrics, plot, sandbox
from pdframe._advice import nearest
from pdframe.errors import ArgumentError, UnknownNameError
from pdframe.metrics._meant import MEANT
from pdframe.schema import table_named

DEALS = pd.DataFrame({"id": [1], "status": ["won"], "value": [1.0]})


@pytest.mark.parametrize(
    ("wanted", "names", "expected"),
    [
        ("titel", ["title", "value"], ["title"]),
        ("TITLE", ["title", "titles"], ["title"]),
        ("Lost reason", ["lost_reason", "lost_time"], ["lost_reason"]),
        ("Region", ["Region (8fcce3)", "Origin", "Region (1ecf93)"], "suffixes"),
        ("region", ["Region (8fcce3)", "Origin", "Region (1ecf93)"], "suffixes"),
        ("pipeline", ["pipeline_id", "by"], ["pipeline_id"]),
        ("token", ["company", "api_token", "max_age"], ["api_token"]),
        ("owner", ["id", "owner_name", "owner_id"], ["owner_id", "owner_name"]),
        ("mrr", ["funnel", "mrr_lines", "mrr_schedule"], ["mrr_lines", "mrr_schedule"]),
        ("forcast", ["forecast", "forecast_deals"], ["forecast"]),
        ("qqq", ["title", "value"], []),
        ("", ["title"], []),
    ],
)
def test_the_nearest_name(wanted: str, names: list[str], expected: Any) -> None:
    if expected == "suffixes":
        expected = ["Region (8fcce3)", "Region (1ecf93)"]
    assert nearest(wanted, names) == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: metrics.win_rate(DEALS, since="2026", untill="2026"),
            r"win_rate\(\) has no argument 'untill'\. Did you mean 'until'\?",
        ),
        (
            lambda: metrics.funnel(DEALS, DEALS, as_of="2026", pipeline="New business"),
            r"no argument 'pipeline'\. Did you mean 'pipeline_id'\?",
        ),
        (
            lambda: metrics.win_rate(DEALS, since="2026", until="2026", status="open"),
            r"Select rows first: deals\[deals\['status'\] == 'open'\]\.",
        ),
        (
            lambda: metrics.win_rate(deals=DEALS, since="2026", until="2026", value=5),
            r"Select rows first: deals\[deals\['value'\] == 5\]\.",
        ),
        (
            lambda: metrics.retention(DEALS, since="2026", until="2026", qqq=1),
            r"no argument 'qqq'\. It takes lines, since, until, ",
        ),
        (
            lambda: metrics.funnel(DEALS),
            r"funnel\(\) also needs stages, as_of\. Write funnel\(account\.stage_visits\(\),"
            r" account\.stages\(\), as_of='2026-06-30'\)\.",
        ),
        (
            lambda: metrics.win_rate(DEALS, "2026-01-01", "2026-07-01"),
            r"win_rate\(\) takes 1 argument without a name\. Write the name of each: since=,"
            r" until=,",
        ),
        (lambda: plot.funnel(DEALS, axis=None), r"no argument 'axis'\. Did you mean 'ax'\?"),
        (
            lambda: pdframe.connect("acme", token="a secret"),
            r"no argument 'token'\. Did you mean 'api_token' or 'max_tokens'\?",
        ),
    ],
)
def test_a_call_that_does_not_fit_is_answered(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as refused:
        call()
    assert "a secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("churn", "mrr_movements has churn by month; retention"),
        ("churn_rate_by_product", "mrr_movements has churn"),
        ("nrr", "retention has nrr and grr"),
        ("new_customers", "movement 'new' are the new customers"),
        ("arr", "mrr_schedule has mrr, arr"),
        ("ltv", "guesses no lifetime"),
        ("sales_cycle", "sales_velocity has the mean days"),
        ("time_to_close", "sales_velocity has the mean days"),
        ("conversion_rate", "funnel has the conversion of each stage"),
        ("average_deal_size", "average_won_value"),
        ("leaderboard", "is a leaderboard"),
        ("pipeline_created", "created_value by period"),
        ("pipeline_coverage", "attainment has the probability of a quota"),
        ("stuck_deals", "deal_aging has days_in_stage"),
        ("no_next_activity", r"deals\['next_activity_id'\]\.isna"),
        ("average_discount", r"docs/how-to/questions\.md"),
        ("products_together", r"docs/how-to/questions\.md"),
        ("time_in_stage", "stage_velocity has the time"),
        ("calls", "activity_summary counts"),
        ("top_deals", r"deals\.nlargest\(10, 'value'\)"),
        ("largest_open_deals", r"convert\(deals, 'EUR', rates\)"),
        ("largest_customers", "By won value: sales_by_period"),
        ("top_companies_by_value", "By won value: sales_by_period"),
        ("winrate", "Did you mean 'win_rate'"),
        ("xyz", "There are: funnel"),
    ],
)
def test_what_people_call_a_metric_leads_to_it(name: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        getattr(metrics, name)


def test_names_in_the_advice_exist() -> None:
    known = {*metrics.__all__, *plot.__all__}
    for _, sentence in MEANT:
        named = {*re.findall(r"\b[a-z]+_[a-z_]+\b", sentence)}
        columns = {"created_value", "average_won_value", "days_in_stage", "days_idle"}
        columns |= {"next_activity_id", "forecast_deals", "value_in_", "org_name", "won_value"}
        columns |= {"source_lead_id", "end_date"}
        assert named <= known | columns, named - known


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("leaderboard", r"leaderboard=True"),
        ("stage_velocity", "plot.velocity draws it"),
        ("pipeline", "plot.weighted_pipeline"),
        ("sankey", "plot.flow"),
    ],
)
def test_what_people_call_a_chart_leads_to_it(name: str, message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        getattr(plot, name)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: metrics.stage_velocity(None, None, as_of="2026", stage="Demo"),
            r"result\[result\['stage'\] == 'Demo'\]",
        ),
        (
            lambda: metrics.deal_aging(None, None, None, as_of="2026", days=60),
            r"result\[result\['days_in_stage'\] > 60\]",
        ),
        (lambda: metrics.lost_reasons(None, since="2026", until="2026", top=3), r"head\(10\)"),
        (lambda: metrics.top_customers(None, as_of="2026", top=3), "no argument 'top'"),
    ],
)
def test_what_selects_rows_of_a_result_is_answered_with_the_selection(
    call: Callable[[], object], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def test_a_type_error_inside_a_function_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreadable(pd.DataFrame):
        def __getattribute__(self, name: str) -> Any:
            if name == "attrs":
                raise TypeError("a bug of ours")
            return super().__getattribute__(name)

    with pytest.raises(TypeError, match="a bug of ours"):
        metrics.win_rate(Unreadable(), since=None, until=None)


@pytest.mark.parametrize(
    ("read_name", "message"),
    [
        (lambda: metrics.mrr, r"no metric 'mrr'\. Did you mean .*'mrr_lines'"),
        (lambda: metrics.winrate, r"no metric 'winrate'\. Did you mean 'win_rate'\?"),
        (lambda: metrics.qqq, r"no metric 'qqq'\. There are: .*win_rate"),
        (lambda: plot.funnels, r"no chart 'funnels'\. Did you mean 'funnel'\?"),
    ],
)
def test_a_name_that_does_not_exist_is_answered(
    read_name: Callable[[], object], message: str
) -> None:
    with pytest.raises(UnknownNameError, match=message):
        read_name()


def in_groups(said: str) -> set[str]:
    """The names that an error lists in groups: "a, b (of one); c (of another)"."""
    return {
        name.strip() for part in re.findall(r"([a-z_, ]+) \(", said) for name in part.split(",")
    }


@pytest.mark.parametrize("module", [metrics, plot])
def test_a_name_that_is_like_none_is_answered_by_the_main_ones_in_groups(module: Any) -> None:
    with pytest.raises(UnknownNameError) as refused:
        module.qqq  # noqa: B018
    said = str(refused.value)
    assert "(pipeline); " in said
    assert "(revenue); " in said
    assert said.endswith(f"dir({module.__name__}) lists all.")
    names = in_groups(said)
    assert names == {name for group in module._MAIN.values() for name in group}
    assert names <= {*module.__all__}
    assert len(names) <= 25


def test_a_table_that_is_like_none_is_answered_in_short() -> None:
    with pytest.raises(ArgumentError) as refused:
        table_named("qqq")
    said = str(refused.value)
    assert said.startswith("There is no table 'qqq'. Tables: deals, deal_products, ")
    assert "; 13 of single records such as deal_changes; 6 lists of fields such as" in said
    assert "deal_follower_changes" not in said
    with pytest.raises(ArgumentError, match=r"Did you mean 'deal_follower_changes'"):
        table_named("deal_follower_change")


def test_a_table_or_method_of_an_account_that_is_like_none_is_answered_in_groups() -> None:
    with sandbox.connect(seed=3, deals=20, progress=False) as account:
        with pytest.raises(UnknownNameError) as refused:
            account.qqq  # noqa: B018
        said = str(refused.value)
        assert "deals, deal_products, activities" in said
        assert said.endswith("dir(account) lists all.")
        names = in_groups(said)
        assert len(names) == 24
        assert names <= {*dir(account)}
        with pytest.raises(UnknownNameError, match="Did you mean 'deal_products'"):
            account.deal_product  # noqa: B018


def test_names_of_tables_are_given_without_a_keyword() -> None:
    with sandbox.connect(seed=3, deals=20, progress=False) as account:
        for given in (["deals", "stages"], ("deals", "stages")):
            with pytest.raises(
                ArgumentError, match=r"without a name: export\(\.\.\., 'deals', 'stages'\)"
            ):
                account.export("bi", tables=given)  # type: ignore[call-arg]
        with pytest.raises(ArgumentError, match=r"tables without a name: sync\('deals'\)"):
            account.sync(tables="deals")  # type: ignore[call-arg]


def test_a_metric_that_is_tried_on_an_account_is_answered_with_its_call() -> None:
    with sandbox.connect(seed=3, deals=20, progress=False) as account:
        for name, call in (
            ("win_rate", "win_rate(account.deals(), since='2026-Q2', until='2026-Q2')"),
            (
                "deal_aging",
                "deal_aging(account.deals(), account.stage_visits(), account.stages(),"
                " as_of='2026-06-30')",
            ),
        ):
            with pytest.raises(UnknownNameError) as refused:
                getattr(account, name)
            assert str(refused.value).endswith(f" pdframe.metrics.{call}.")


def test_an_unknown_name_is_an_attribute_error_as_python_expects() -> None:
    for module in (metrics, plot):
        assert not hasattr(module, "qqq")
        assert not hasattr(module, "_repr_html_")
    with pytest.raises(ImportError):
        from pdframe.metrics import qqq  # type: ignore[attr-defined]  # noqa: F401


def test_every_public_function_answers_and_keeps_its_signature_and_pickles() -> None:
    for module in (metrics, plot):
        for name in module.__all__:
            function = getattr(module, name)
            if inspect.isclass(function):
                continue
            with pytest.raises(ArgumentError, match="has no argument 'qqqqq'"):
                function(qqqqq=1)
            assert pickle.loads(pickle.dumps(function)) is function  # noqa: S301
            assert function.__doc__
            assert list(inspect.signature(function).parameters)
    for name in dir(Account):
        method = inspect.getattr_static(Account, name)
        if inspect.isfunction(method) and not name.startswith("_"):
            with pytest.raises(ArgumentError, match="has no argument 'qqqqq'"):
                method(None, qqqqq=1)


def test_tab_completion_of_modules_shows_public_names_alone() -> None:
    for module in (pdframe, metrics, plot, sandbox):
        assert sorted(dir(module)) == sorted(module.__all__)


# In IPython


def test_ipython_shows_the_lines_of_the_user_and_the_message() -> None:
    def analysis() -> None:
        metrics.win_rate(DEALS, since="2026", until="2026", by="state")

    with pytest.raises(ArgumentError) as refused:
        analysis()
    shown = "\n".join(refused.value._render_traceback_())
    assert 'metrics.win_rate(DEALS, since="2026", until="2026", by="state")' in shown
    assert "    analysis()" in shown
    assert "Did you mean 'status'?" in shown
    files = {frame.filename for frame in traceback.extract_tb(refused.value.__traceback__)}
    package = str(pdframe.__file__).removesuffix("__init__.py")
    assert any(file.startswith(package) for file in files)
    assert package not in shown


def test_an_ipython_shell_prints_the_cell_and_no_line_of_pdframe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shells = pytest.importorskip("IPython.core.interactiveshell")
    shell = shells.InteractiveShell.instance(colors="nocolor")
    try:
        shell.run_cell("from pdframe import metrics", store_history=True)
        shell.run_cell("x = 1\nmetrics.mrr", store_history=True)
    finally:
        shells.InteractiveShell.clear_instance()
    shown = capsys.readouterr().out
    assert "    metrics.mrr\nUnknownNameError: There is no metric 'mrr'. Did you mean" in shown
    assert "Cell In[2], line 2" in shown
    assert "_advice" not in shown


@pytest.mark.parametrize(
    ("table", "given", "advice"),
    [
        ("deals", {"pipeline": "New business"}, "deals[deals['pipeline_name'] == 'New business']"),
        ("stages", {"pipeline": "New business"}, "stages['pipeline_name'] == 'New business'"),
        ("activities", {"user": "Grace Lee"}, "activities['owner_name'] == 'Grace Lee'"),
        ("persons", {"email": "a@b.example"}, "persons['primary_email'] == 'a@b.example'"),
        ("persons", {"emails": "a@b.example"}, "pdframe.has(persons['emails'], 'a@b.example')"),
        ("deals", {"org": "Spree"}, "account.deals(names=True), then"),
        ("deals", {"organization": "Spree"}, "deals['org_name'] == 'Spree'"),
        ("deals", {"label": "Cold"}, "deals[pdframe.has(deals['label_ids'], 'Cold')]"),
        ("deals", {"Deal type": "Renewal"}, "deals['Deal type'] == 'Renewal'"),
        ("organizations", {"name": "x"}, "organizations['name'] == 'x'"),
        ("deals", {"pipeline": 3}, "deals['pipeline_id'] == 3"),
    ],
)
def test_a_loader_is_answered_with_the_column_that_holds_such_a_value(
    table: str, given: dict[str, object], advice: str
):
    with pytest.raises(ArgumentError, match=re.escape(advice)):
        getattr(pdframe.Account, table)(object.__new__(pdframe.Account), **given)


def test_the_window_of_an_example_is_one_period():
    with pytest.raises(ArgumentError, match="since='2026-Q2', until='2026-Q2'"):
        metrics.sales_by_period(pd.DataFrame())

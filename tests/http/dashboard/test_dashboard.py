"""The dashboard without a browser: what a choice shows, safe text, errors, the static view."""

from __future__ import annotations

import base64
import re
import sys
import threading
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pdframe
import pdframe.dashboard.widgets as module
from pdframe import metrics, sandbox
from pdframe.dashboard._data import Data, collect
from pdframe.dashboard.state import EMPTY, State, filtered, period_of
from pdframe.dashboard.views import VIEWS, view
from pdframe.dashboard.widgets import Dashboard
from pdframe.errors import ArgumentError, BudgetError, DataWarning, TransportError
from pdframe.metrics.forecasting.blend import HazardMethod
from tests.helpers.attacks import ATTACK


class Read(HTMLParser):
    """What a browser makes of HTML: tags with attributes, and texts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def data(hostile: sandbox.SandboxAccount) -> Data:
    return collect(hostile)


@pytest.fixture
def board(data: Data) -> Dashboard:
    return Dashboard(lambda refresh: data, period="2026-Q2")


def control(board: Dashboard, label: str) -> Any:
    """Return the control with a label."""
    every = [board]
    for widget in every:
        every += getattr(widget, "children", ())
        if getattr(widget, "description", None) == label:
            return widget
    raise LookupError(label)


def views(board: Dashboard) -> Any:
    """Return the control of views."""
    return next(one for one in board.children if type(one).__name__ == "ToggleButtons")


def html(board: Dashboard) -> str:
    """Return all HTML that the widgets show."""
    every, texts = [board], []
    for widget in every:
        every += getattr(widget, "children", ())
        if type(widget).__name__ == "HTML":
            texts.append(str(widget.value))
    return "\n".join(texts)


def shown(board: Dashboard) -> list[str]:
    return [text.strip() for text in Read(html(board)).texts if text.strip()]


def figure(board: Dashboard, label: str) -> str:
    texts = shown(board)
    return texts[texts.index(label) + 1]


def test_the_first_view_is_that_of_the_period(board: Dashboard, data: Data) -> None:
    expected = {one.label: one.value for one in view("overview", data, board.state).figures}

    assert board.state.period.text == "2026-04-01 to 2026-06-30"
    for label, value in expected.items():
        assert figure(board, label) == value
    assert "Overview: 2026-04-01 to 2026-06-30, in EUR; compared with" in html(board)


def test_each_control_changes_what_is_shown(board: Dashboard, data: Data) -> None:
    deals = data.deals
    in_period = deals["add_time"].dt.tz_convert(data.tz).between("2026-04-01", "2026-07-01")
    new = deals[in_period & ~deals["is_deleted"].fillna(False).astype(bool)]

    def new_deals() -> int:
        return int(figure(board, "New deals").replace(",", ""))

    assert new_deals() == len(new)
    control(board, "Pipeline").value = 2
    new = new[new["pipeline_id"].eq(2)]
    assert new_deals() == len(new)
    owner = int(new["owner_id"].value_counts().index[0])
    control(board, "Owner").value = owner
    new = new[new["owner_id"].eq(owner)]
    assert 0 < new_deals() == len(new)
    control(board, "Field").value = "Competitor"
    assert new_deals() == len(new)
    control(board, "Value").value = EMPTY
    assert new_deals() == int(new["Competitor"].isna().sum())
    control(board, "Field").value = ""
    assert new_deals() == len(new)
    control(board, "Currency").value = "USD"
    assert "Won, USD" in shown(board)
    control(board, "Period").value = "last year"
    assert board.state.period.text == "2025-01-01 to 2025-12-31"
    assert "2025-01-01 to 2025-12-31" in html(board)


def test_a_quota_belongs_to_the_forecast_alone(board: Dashboard) -> None:
    quota = control(board, "Quota a month")
    assert quota.layout.display == "none"
    views(board).value = "forecast"
    assert quota.layout.display is None
    # 250 deals may be too few for a forecast; the state has the quota anyway.
    quota.value = 20_000
    assert board.state.quota == 20_000
    views(board).value = "overview"
    assert board.state.quota is None


def test_every_view_is_shown_with_its_code(board: Dashboard, data: Data) -> None:
    for key, (title, _) in VIEWS.items():
        views(board).value = key

        assert board.error is None
        assert f"{title}: " in html(board)
        assert board.code == view(key, data, board.state).code
        assert control(board, "Code of this view").value == board.code


def test_only_the_visible_view_is_computed_and_each_once(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []

    def counting(key: str, *given: Any) -> Any:
        computed.append(key)
        return view(key, *given)

    monkeypatch.setattr(module, "view", counting)
    board = Dashboard(lambda refresh: data, period="2026-Q2")
    assert computed == ["overview"]
    views(board).value = "funnel"
    control(board, "Pipeline").value = 2
    assert computed == ["overview", "funnel", "funnel"]
    control(board, "Pipeline").value = ""
    views(board).value = "overview"
    assert computed == ["overview", "funnel", "funnel"]


def test_the_status_line_says_that_it_computes(
    board: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    status = next(
        one for one in board.children if 'role="status"' in str(getattr(one, "value", ""))
    )
    status.observe(lambda change: said.append(change["new"]), "value")

    views(board).value = "velocity"
    assert len(said) == 2
    assert "pd-spinner" in said[0]
    assert "Computing: Velocity" in said[0]
    assert "pd-spinner" not in said[1]
    views(board).value = "overview"
    assert len(said) == 3  # it was drawn before: nothing to wait for


def test_an_error_is_a_panel_and_other_views_still_work(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(key: str, *given: Any) -> Any:
        if key == "funnel":
            raise ZeroDivisionError(ATTACK)
        return view(key, *given)

    monkeypatch.setattr(module, "view", failing)
    board = Dashboard(lambda refresh: data, period="2026-Q2")
    views(board).value = "funnel"

    assert isinstance(board.error, ZeroDivisionError)
    assert "Funnel could not be computed" in html(board)
    assert ATTACK in " ".join(shown(board))
    assert "ZeroDivisionError" in board._repr_mimebundle_()["text/html"]
    assert board.code == ""
    views(board).value = "overview"
    assert board.error is None
    assert "could not" not in html(board)


def test_refresh_shows_what_changed_and_a_failed_one_keeps_the_figures(
    account: sandbox.SandboxAccount,
) -> None:
    board = account.dashboard(period="2026-Q2")
    before = int(figure(board, "Deals open"))
    control(board, "Pipeline").value = 2
    control(board, "Pipeline").value = ""
    account.company_model.add_deal("A deal of today")
    control(board, "Refresh").click()

    assert int(figure(board, "Deals open")) == before + 1
    assert board.error is None
    control(board, "Owner").value = control(board, "Owner").options[1][1]
    chosen = board.state
    account.server.stop()
    control(board, "Refresh").click()
    assert isinstance(board.error, TransportError)
    assert "The refresh failed; the figures are as before." in html(board)
    assert account.server.token not in html(board)
    assert board.state == chosen
    assert "Deals open" in shown(board)


def test_an_interrupted_kernel_leaves_the_figures_and_no_spinner(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Data:
        raise KeyboardInterrupt

    answers = iter([lambda: data, interrupted])
    board = Dashboard(lambda refresh: next(answers)(), period="2026-Q2")
    before = figure(board, "New deals")
    control(board, "Refresh").click()
    said = html(board)
    assert "Interrupted" in said
    assert "pd-spinner" not in said.replace(module.STYLE, "")

    monkeypatch.setattr(module, "view", interrupted)
    views(board).value = "funnel"
    said = html(board)
    assert "Interrupted" in said
    assert "pd-spinner" not in said.replace(module.STYLE, "")
    assert figure(board, "New deals") == before
    assert not control(board, "Refresh").disabled
    monkeypatch.undo()
    views(board).value = "velocity"
    assert "Interrupted" not in html(board)


def test_0_is_a_value_to_choose(data: Data) -> None:
    hours = pd.Series([0.0, 2.0] * len(data.deals))[: len(data.deals)]
    changed = replace(data, deals=data.deals.assign(Hours=hours), custom=["Hours"])
    board = Dashboard(lambda refresh: changed, period="2026-Q2")
    every = figure(board, "New deals")
    control(board, "Field").value = "Hours"
    control(board, "Value").value = 0.0

    assert (board.state.field, board.state.value) == ("Hours", 0)
    assert int(figure(board, "New deals")) < int(every)
    assert "Hours: 0.0" in repr(board)


def test_a_refresh_keeps_the_value_and_moves_the_days(data: Data) -> None:
    current = [data]
    board = Dashboard(lambda refresh: current[0], period="last 30 days")
    control(board, "Field").value = "Deal type"
    control(board, "Value").value = "New business"
    before = board.state
    assert before.period.text == "2026-06-01 to 2026-06-30"
    current[0] = replace(data, now=data.now + pd.Timedelta(2, "D"))
    control(board, "Refresh").click()

    assert (board.state.field, board.state.value) == (before.field, "New business")
    assert board.state.period.text == "2026-06-03 to 2026-07-02"
    # A value that no deal has any more is not chosen any more.
    none = data.deals["Deal type"].where(data.deals["Deal type"] != "New business")
    current[0] = replace(data, deals=data.deals.assign(**{"Deal type": none}))
    control(board, "Refresh").click()
    assert board.state.field is None
    assert board.error is None


def test_text_of_the_account_is_text(board: Dashboard) -> None:
    for key in VIEWS:
        views(board).value = key
        counted = control(board, "Deals of")
        texts = [html(board), board._repr_mimebundle_()["text/html"]]
        for _, place in counted.options[:4]:
            counted.value = place
            texts.append(html(board))
        for text in texts:
            read = Read(text)
            attributes = {name for _, given in read.tags for name in given}
            assert not {name for name in attributes if name.startswith("on")}
            assert not {"script", "iframe", "object", "link"} & {tag for tag, _ in read.tags}
            assert all(
                str(given["src"]).startswith("data:image/png;base64,")
                for tag, given in read.tags
                if tag == "img"
            )


def test_the_deals_of_a_number_have_links_and_titles_as_text(
    board: Dashboard, data: Data, hostile: sandbox.SandboxAccount
) -> None:
    counted = control(board, "Deals of")
    counted.value = dict((text, place) for text, place in counted.options)["New deals"]
    read = Read(html(board))

    links = {given["href"] for tag, given in read.tags if tag == "a"}
    deals = data.deals.set_index("url").loc[sorted(filter(None, links))]
    assert len(deals) == int(figure(board, "New deals"))
    for title in deals["title"].dropna():
        assert title[:100] in "".join(read.texts)
    assert ATTACK in "".join(read.texts)
    assert "counted = metrics.sales_by_period_deals" in board.code


def test_charts_have_twice_the_density_two_themes_and_a_table(board: Dashboard) -> None:
    read = Read(html(board))
    images = [given for tag, given in read.tags if tag == "img"]

    assert [given["class"] for given in images] == ["pd-on-light", "pd-on-dark"] * 2
    assert all(given["alt"] for given in images)
    for given in images:
        picture = base64.b64decode(str(given["src"]).partition(",")[2])
        width = int.from_bytes(picture[16:20], "big")
        assert width >= 2 * 456  # twice what it has on the page
    assert html(board).count("<summary>Table: ") == 2


def test_the_static_view_is_the_last_one_and_needs_nothing(board: Dashboard) -> None:
    views(board).value = "funnel"
    bundle = board._repr_mimebundle_()
    read = Read(bundle["text/html"])

    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "Funnel" in bundle["text/plain"]
    tags = [tag for tag, _ in read.tags]
    assert tags.count("img") == 1
    assert "table" in tags
    assert {given.get("open", "closed") for tag, given in read.tags if tag == "details"} >= {None}
    assert not re.search(r"url\(|@import|https?://(?!127|kaskaad)", bundle["text/html"])


def test_what_is_no_period_is_refused_at_once(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(ArgumentError, match="in the future"):
        account.dashboard(period="2027")
    board = account.dashboard(period=("2026-05-01", "2026-05-15"))
    assert board.state.period.text == "2026-05-01 to 2026-05-14"


def test_amounts_are_in_one_currency_with_rates(account: sandbox.SandboxAccount) -> None:
    board = account.dashboard(period="2026", rates={"EUR": 1, "USD": 0.9, "GBP": 1.15})

    assert [value for _, value in control(board, "Currency").options] == ["EUR"]
    assert "Won, EUR" in shown(board)


def test_cancellations_end_recurring_revenue(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(ArgumentError, match="Cancellation date"):
        account.dashboard(cancellations="Cancelation date")
    board = account.dashboard(cancellations="Cancellation date", period="2026-Q2")
    views(board).value = "revenue"

    assert "mrr_lines(products, deals, cancellations='Cancellation date')" in board.code


def test_an_account_without_deals_has_a_dashboard() -> None:
    with sandbox.connect(seed=1, deals=0, progress=False) as empty:
        board = empty.dashboard()
        for key in VIEWS:
            views(board).value = key
            assert board.error is None


@pytest.mark.parametrize("missing", ["ipywidgets", "matplotlib"])
def test_what_is_not_installed_is_named(
    account: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("pdframe.dashboard.")]:
        if name.rpartition(".")[2] in ("widgets", "pictures"):
            monkeypatch.delitem(sys.modules, name)
            monkeypatch.delattr(name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"needs {missing}.*pdframe\[notebook\]"):
        account.dashboard()
    assert not pd.DataFrame(account.status())["rows"].any()


def test_any_custom_field_can_be_chosen_by_each_of_its_values(board: Dashboard, data: Data) -> None:
    field, value = control(board, "Field"), control(board, "Value")
    chosen = [name for _, name in field.options if name]
    assert len(chosen) > 50
    for name in chosen:
        # Nothing is drawn: only the values of the field are offered.
        field.value = name
        cells = [_items(cell) for cell in data.deals[name]]
        for text, one in value.options[1:]:
            expected = sum(not items if one is EMPTY else one in items for items in cells)
            assert text.endswith(f" ({expected:,})"), name
            state = replace(board.state, field=name, value=one)
            assert len(filtered(data.deals, state)) == expected, (name, one)


def _items(cell: Any) -> list[Any]:
    """Return the values of a cell."""
    every = list(cell) if hasattr(cell, "__iter__") and not isinstance(cell, str) else [cell]
    return [item for item in every if not pd.isna(item)]


def test_the_forecast_finds_what_was_learned_in_the_background(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Dashboard(lambda refresh: data, period="2026-Q2")
    views(plain).value = "forecast"
    fresh = replace(data, computed={}, locks={})
    board = Dashboard(lambda refresh: fresh, period="2026-Q2")
    worker = board.prepare()
    worker.join(60)
    assert not worker.is_alive()
    assert "forecast_deals" in fresh.computed

    def refuse(*_: object) -> None:
        raise AssertionError("learned again")

    monkeypatch.setattr(HazardMethod, "fit", refuse)
    with monkeypatch.context() as without_draws:
        without_draws.setattr("pdframe.dashboard._forecast.forecast_with_draws", refuse)
        views(board).value = "forecast"
    assert board.error is None
    frames = [view("forecast", one, board.state).frames for one in (data, fresh)]
    for name in ("months", "each"):
        pd.testing.assert_frame_equal(frames[0][name], frames[1][name], check_exact=True)
    control(board, "Owner").value = control(board, "Owner").options[1][1]
    assert board.error is None


@pytest.mark.parametrize("ends", ["closed", "refreshed"])
def test_the_background_stops_with_what_it_computes_for(
    data: Data, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    fresh = replace(data, computed={}, locks={})
    later = replace(data, computed={}, locks={})
    board = Dashboard(lambda refresh: later if refresh else fresh)
    begun, ended = threading.Event(), threading.Event()
    fit = HazardMethod.fit

    def waiting(self: HazardMethod, *what: Any) -> Any:
        begun.set()
        ended.wait(60)
        return fit(self, *what)

    monkeypatch.setattr(HazardMethod, "fit", waiting)
    worker = board.prepare()
    assert begun.wait(60)
    if ends == "closed":
        board.close()
    else:
        control(board, "Refresh").click()
    ended.set()
    worker.join(60)
    assert not worker.is_alive()
    assert "forecast_deals" not in fresh.computed


def test_a_dashboard_that_is_shown_prepares_and_a_refused_forecast_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    monkeypatch.setattr(module, "display", lambda *_, **__: None)
    workers: list[threading.Thread] = []
    prepare = Dashboard.prepare

    def kept(self: Dashboard) -> threading.Thread:
        workers.append(prepare(self))
        return workers[-1]

    monkeypatch.setattr(Dashboard, "prepare", kept)
    with sandbox.connect(seed=1, deals=3, progress=False) as account:
        board = account.dashboard()
        assert not workers
        board._ipython_display_()
        (worker,) = workers
        worker.join(60)
        assert not worker.is_alive()
        assert not raised
        views(board).value = "forecast"
        assert board.error is None
        assert "A forecast needs 30 closed deals" in html(board)


def connection(served: sandbox.SandboxAccount, cache: Path) -> dict[str, Any]:
    """How a user connects to a sandbox, with a cache of their own."""
    return {
        "base_url": served.server.url,
        "api_token": served.server.token,
        "cache_dir": cache,
        "progress": False,
    }


def test_a_spent_budget_shows_what_is_cached_how_old_it_is_and_when_it_returns(
    tmp_path: Path,
) -> None:
    with sandbox.connect(seed=7, deals=60, burst=100_000, progress=False) as served:
        how = connection(served, tmp_path)
        with pdframe.connect(**how) as account:
            account.sync()
            count = len(account.deals())
        with pdframe.connect(**how, max_age=0, max_tokens=10) as account:
            with pytest.raises(BudgetError) as caught:
                account.deals()
            until = f"{caught.value.resume_at:%Y-%m-%d %H:%M} UTC"
            board = account.dashboard(period="2026-Q2")
            with pytest.warns(DataWarning, match="The report is not of now") as said:
                page = account.report(tmp_path / "page.html", period="2026-Q2").read_text("utf-8")
            assert len(said) == 1
            for text in (html(board), page, str(board._repr_mimebundle_()["text/html"])):
                assert re.search(r"figures of the cache, \d+ (s|min) old\.", text)
                assert text.count(until) == 1
                assert "max_tokens=10" in text
            views(board).value = "data"
            assert figure(board, "Deals") == f"{count:,}"
            # Who asks for a refresh is told that there is none.
            control(board, "Refresh").click()
            assert isinstance(board.error, BudgetError)
            assert "figures are as before" in html(board)
            for refresh in (True, "full"):
                with pytest.raises(BudgetError):
                    account.report(tmp_path / "page.html", refresh=refresh)
        # Without a cache there is nothing to show.
        with (
            pdframe.connect(**how | {"cache_dir": tmp_path / "new"}, max_tokens=10) as account,
            pytest.raises(BudgetError),
        ):
            account.dashboard()


def test_a_stale_report_is_of_the_time_of_its_cache_and_keeps_no_forecast(tmp_path: Path) -> None:
    with sandbox.connect(seed=7, deals=250, burst=100_000, progress=False) as served:
        how = connection(served, tmp_path)
        file, period = tmp_path / "page.html", {"period": "2026-Q2"}
        with pdframe.connect(**how) as account:
            account.sync()
            account.deals(deleted=True)
        served.advance(days=20)
        with pdframe.connect(**how) as account:
            account.stages(refresh=True)  # this table is of 20 days later
        with pdframe.connect(**how, max_age=0, max_tokens=10) as account:
            with pytest.warns(DataWarning, match="The report is not of now"):
                page = account.report(file, **period).read_text("utf-8")
            assert "As of 2026-06-30 " in page
            assert len(account.track_record(refresh=False)) == 0
        with pdframe.connect(**how) as account:
            page = account.report(file, refresh=True, **period).read_text("utf-8")
            assert "As of 2026-07-20 " in page
            assert set(account.track_record(refresh=False)["as_of"].dt.day) == {20}


def test_what_changed_says_how_its_counts_differ_from_those_of_the_overview() -> None:
    with sandbox.connect(seed=7, deals=250, burst=100_000, progress=False, max_age=None) as account:
        model = account.company_model
        account.sync()
        opened = account.deals()
        ids = opened.loc[opened["status"].eq("open"), "id"].astype(int).tolist()[:4]
        account.advance(days=1)
        for number in ids:
            model.lose_deal(number)
        account.sync()
        account.advance(days=35)
        # After the period one loss is undone, and one deal is deleted; two stand.
        model.reopen_deal(ids[0])
        model.delete_deal(ids[1])
        account.sync()
        data = collect(account)
        state = State(period_of("2026-07", data.now, data.tz), currency="EUR")
        shown = {key: view(key, data, state) for key in ("changes", "overview")}
        events = shown["changes"].frames["events"]
        kept = metrics.sales_by_period(data.deals, since="2026-07", until="2026-07")
        missing = sum(
            int(events["event"].eq(event).sum() - kept[event].sum())
            for event in ("created", "won", "lost")
        )
        new, won = (figure.value for figure in shown["overview"].figures[:2])
        assert (new, won) == (f"{kept['created'].sum():,}", f"{kept['won'].sum():,}")
        assert missing >= 2
        assert any(
            note.startswith(
                f"{missing} of the events created, won and lost are not in the overview"
            )
            for note in shown["changes"].notes
        )

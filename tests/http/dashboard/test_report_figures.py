"""Every key figure of a report equals the company's truth, computed without a frame of pdframe."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from matplotlib.figure import Figure as Canvas
from matplotlib.text import Text

from pdframe import metrics, sandbox
from pdframe.dashboard._data import Data, collect
from pdframe.dashboard._parts import Figure
from pdframe.dashboard.state import State, period_of
from pdframe.dashboard.views import VIEWS, view
from tests.helpers import true_cells

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

TALLINN = ZoneInfo("Europe/Tallinn")
QUARTER = date(2026, 4, 1), date(2026, 7, 1)
BEFORE = date(2026, 1, 1), date(2026, 4, 1)
YEAR = date(2025, 7, 1), date(2026, 7, 1)
PIPELINE = 2
SECONDS_A_DAY = 86_400


class Company:
    """The company's own rows, and what they add up to."""

    def __init__(self, account: sandbox.SandboxAccount) -> None:
        self.truth = account.company_model.truth
        self.now = account.company_model.now
        state = true_cells.fold(account.company_model.events)
        self.deals = true_cells.visible(state, "deals")
        self.stages = {row["id"]: row for row in true_cells.visible(state, "stages")}
        self.pipelines = {row["id"]: row for row in true_cells.visible(state, "pipelines")}
        self.open = [row for row in self.deals if row["status"] == "open"]

    def closed(self, status: str, days: tuple[date, date]) -> list[dict[str, Any]]:
        name = f"local_{status}_date"
        return [
            row
            for row in self.deals
            if row["status"] == status and row[name] and _within(str(row[name])[:10], days)
        ]

    def created(self, days: tuple[date, date]) -> list[dict[str, Any]]:
        return [row for row in self.deals if days[0] <= _day(row["add_time"]) < days[1]]

    def win_rate(self, days: tuple[date, date]) -> float:
        won, lost = (len(self.closed(status, days)) for status in ("won", "lost"))
        return won / (won + lost)

    def days_to_a_win(self, days: tuple[date, date]) -> float:
        taken = [
            (_time(row["won_time"]) - _time(row["add_time"])).total_seconds() / SECONDS_A_DAY
            for row in self.closed("won", days)
        ]
        return statistics.fmean(length for length in taken if length >= 0)

    def value(self, rows: list[dict[str, Any]]) -> float:
        return sum(row["value"] or 0 for row in rows if row["currency"] == "EUR")

    def recurring(self, month: str, currency: str = "EUR") -> tuple[float, int]:
        """Return MRR and number of customers in a currency of a month, of those billed in it."""
        first, after = date.fromisoformat(f"{month}-01"), _next(date.fromisoformat(f"{month}-01"))
        active = [
            one
            for one in self.truth.subscriptions()
            if one.currency == currency
            and one.start < after
            and one.start.replace(day=1) <= first
            and (one.end is None or one.end.replace(day=1) > first)
        ]
        customers = {
            (one.org_id, None if one.org_id else (one.person_id or ("deal", one.deal_id)))
            for one in active
        }
        return sum(one.monthly for one in active), len(customers)

    def entered(self) -> tuple[list[int], list[int]]:
        """Return the deals that entered the pipeline in the year, and those of them that it won."""
        first: dict[int, int] = {}
        last: dict[int, Any] = {}
        for one in self.truth.stage_visits():
            if one.pipeline_id == PIPELINE:
                first[one.deal_id] = min(one.entered_at, first.get(one.deal_id, one.entered_at))
                last[one.deal_id] = one
        since, until = (
            datetime(day.year, day.month, day.day, tzinfo=TALLINN).timestamp() for day in YEAR
        )
        deals = [deal for deal, time in first.items() if since <= time < until]
        return deals, [deal for deal in deals if last[deal].end == "won"]

    def waits(self) -> list[float]:
        """Return the days of each open deal in its stage."""
        return [(self.now - one.entered_at) / SECONDS_A_DAY for one in self._current()]

    def rotten(self) -> int:
        """Count the open deals that were left untouched for as long as their stage allows."""
        updated = {row["id"]: _time(row["update_time"]).timestamp() for row in self.open}
        return sum(
            self.now - max(one.entered_at, updated[one.deal_id])
            >= self.stages[one.stage_id]["days_to_rotten"] * SECONDS_A_DAY
            for one in self._current()
            if self.stages[one.stage_id]["is_deal_rot_enabled"]
        )

    def _current(self) -> list[Any]:
        ids = {row["id"] for row in self.open if row["pipeline_id"] == PIPELINE}
        visits = self.truth.stage_visits()
        return [one for one in visits if one.left_at is None and one.deal_id in ids]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _day(text: str) -> date:
    return _time(text).astimezone(TALLINN).date()


def _within(text: str, days: tuple[date, date]) -> bool:
    return str(days[0]) <= text < str(days[1])


def _next(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


@pytest.fixture(scope="module")
def account() -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=3, deals=150, company="hostile", burst=100_000, max_age=None, progress=False
    ) as account:
        account.sync()
        account.deal_changes()
        yield account


@pytest.fixture(scope="module")
def data(account: sandbox.SandboxAccount) -> Data:
    return collect(account, cancellations="Cancellation date")


@pytest.fixture(scope="module")
def figures(data: Data) -> dict[tuple[str, str], Figure]:
    state = State(period_of("2026-Q2", data.now, data.tz), currency="EUR")
    return {(key, one.label): one for key in VIEWS for one in view(key, data, state).figures}


@pytest.fixture(scope="module")
def company(account: sandbox.SandboxAccount) -> Company:
    return Company(account)


Expected = Callable[[Company], str]

FIGURES: dict[tuple[str, str], Expected] = {
    ("overview", "New deals"): lambda c: f"{len(c.created(QUARTER)):,}",
    ("overview", "Deals won"): lambda c: f"{len(c.closed('won', QUARTER)):,}",
    ("overview", "Won, EUR"): lambda c: f"{c.value(c.closed('won', QUARTER)):,.0f}",
    ("overview", "Win rate"): lambda c: f"{c.win_rate(QUARTER):.0%}",
    ("overview", "Days to a win"): lambda c: f"{c.days_to_a_win(QUARTER):,.0f}",
    ("overview", "Deals open"): lambda c: f"{len(c.open):,}",
    ("overview", "Open, EUR"): lambda c: f"{c.value(c.open):,.0f}",
    ("revenue", "MRR, EUR"): lambda c: f"{c.recurring('2026-06')[0]:,.0f}",
    ("revenue", "ARR, EUR"): lambda c: f"{12 * c.recurring('2026-06')[0]:,.0f}",
    ("revenue", "Customers, EUR"): lambda c: f"{c.recurring('2026-06')[1]:,}",
    ("funnel", "Entered New business"): lambda c: f"{len(c.entered()[0]):,}",
    ("funnel", "Won of them"): lambda c: f"{len(c.entered()[1]):,}",
    ("funnel", "Share won"): lambda c: f"{len(c.entered()[1]) / len(c.entered()[0]):.0%}",
    ("velocity", "Open in New business"): lambda c: f"{len(c.waits()):,}",
    ("velocity", "Median days in their stage"): lambda c: f"{statistics.median(c.waits()):,.0f}",
    ("velocity", "Rotten"): lambda c: f"{c.rotten():,}",
    ("forecast", "Open deals, EUR"): lambda c: (
        f"{sum(row['currency'] == 'EUR' for row in c.open):,}"
    ),
    ("data", "Deals"): lambda c: f"{len(c.deals):,}",
}
OF_THE_CACHE = {"API tokens today", "Oldest table"}


@pytest.mark.every_case
@pytest.mark.parametrize("name", FIGURES)
def test_a_key_figure_is_the_company_s_truth(
    name: tuple[str, str], figures: dict[tuple[str, str], Figure], company: Company
) -> None:
    assert figures[name].value == FIGURES[name](company)


def test_figures_of_the_period_before_are_the_company_s_truth(
    figures: dict[tuple[str, str], Figure], company: Company
) -> None:
    before = {label: one.before for (key, label), one in figures.items() if key == "overview"}
    assert before["New deals"] == f"{len(company.created(BEFORE)):,}"
    assert before["Deals won"] == f"{len(company.closed('won', BEFORE)):,}"
    assert before["Won, EUR"] == f"{company.value(company.closed('won', BEFORE)):,.0f}"
    assert before["Win rate"] == f"{company.win_rate(BEFORE):.0%}"
    shown, shown_before = (
        float(f"{company.win_rate(days):.0%}".removesuffix("%")) for days in (QUARTER, BEFORE)
    )
    assert figures["overview", "Win rate"].change == f"{shown - shown_before:+.0f} points"
    assert before["Days to a win"] == f"{company.days_to_a_win(BEFORE):,.0f}"
    mrr = company.recurring("2026-03")[0]
    assert figures["revenue", "MRR, EUR"].before == f"{mrr:,.0f} in 2026-03"


def others(amounts: dict[str, float]) -> str:
    """Return the note with the amounts of other currencies than EUR."""
    rounded = {one: round(value) for one, value in sorted(amounts.items()) if one != "EUR"}
    return ", ".join(f"{value:,} {one}" for one, value in rounded.items() if value)


def test_figures_of_one_currency_name_the_amounts_of_the_others(
    figures: dict[tuple[str, str], Figure], company: Company, account: sandbox.SandboxAccount
) -> None:
    for label, rows in (("Won, EUR", company.closed("won", QUARTER)), ("Open, EUR", company.open)):
        amounts: dict[str, float] = {}
        for row in rows:
            amounts[row["currency"]] = amounts.get(row["currency"], 0) + (row["value"] or 0)
        assert others(amounts)
        assert figures["overview", label].note == f"besides {others(amounts)}"

    monthly = {one: company.recurring("2026-06", one)[0] for one in ("EUR", "GBP", "USD")}
    assert figures["revenue", "MRR, EUR"].note == f"besides {others(monthly)}"
    yearly = {one: 12 * value for one, value in monthly.items()}
    assert figures["revenue", "ARR, EUR"].note == f"besides {others(yearly)}"

    months = account.forecast("2026-09", by="currency", refresh=False)
    later = months[months["period"] >= "2026-07-01"]
    said = figures["forecast", "Expected 2026-07 to 2026-09, EUR"].note
    assert said.startswith("besides ")
    by_name = {one.split()[1]: one.split()[0] for one in said[len("besides ") :].split(", ")}
    assert set(by_name) == {"GBP", "USD"}
    for one, value in by_name.items():
        mean = later.loc[later["currency"] == one, "mean"].sum()
        assert float(value.replace(",", "")) == pytest.approx(mean, rel=0.02)


def test_converted_figures_have_no_others_beside(data: Data) -> None:
    rates = {"EUR": 1.0, "GBP": 1.17, "USD": 0.92}
    converted = replace(data, rates=rates, cancellations=None, computed={})
    state = State(period_of("2026-Q2", data.now, data.tz), currency="EUR")
    every = {one.label: one for key in VIEWS for one in view(key, converted, state).figures}

    for label in ("Won, EUR", "Open, EUR", "Expected 2026-07 to 2026-09, EUR"):
        assert every[label].note == "", label
    # Counts are of all currencies, and what is missing stands on the card.
    assert {"Open deals", "Customers"} <= set(every)
    for label in ("MRR, EUR", "ARR, EUR", "Customers"):
        assert every[label].note == "no cancellations given"


def test_what_changed_is_counted(
    figures: dict[tuple[str, str], Figure], company: Company, data: Data
) -> None:
    state = State(period_of("2026-Q2", data.now, data.tz), currency="EUR")
    kinds = view("changes", data, state).tables[0].rows
    counted = kinds["Events"].astype(int).groupby(kinds["Event"]).sum()
    assert counted["created"] == len(company.created(QUARTER))
    for status in ("won", "lost"):
        assert counted[status] == len(company.closed(status, QUARTER))
    assert figures["changes", "Events"].value == f"{counted.sum():,}"


def test_the_expected_revenue_is_that_of_the_account_s_forecast(
    figures: dict[tuple[str, str], Figure], account: sandbox.SandboxAccount
) -> None:
    months = account.forecast("2026-09", by="currency", refresh=False)
    later = months[(months["currency"] == "EUR") & (months["period"] >= "2026-07-01")]
    one = figures["forecast", "Expected 2026-07 to 2026-09, EUR"]
    assert float(one.value.replace(",", "")) == pytest.approx(later["mean"].sum(), rel=0.02)


def test_the_range_of_the_expected_revenue_is_that_of_the_sum_of_its_months(
    figures: dict[tuple[str, str], Figure], data: Data
) -> None:
    """It is narrower than the sum of the ranges: months are seldom all bad or all good."""
    frames = data.deals, data.visits, data.stages
    how: dict[str, Any] = {"until": "2026-09", "by": "currency", "as_of": data.now}
    draws = metrics.forecast_draws(*frames, history=data.history, **how)
    own = draws[(draws["currency"] == "EUR") & (draws["period"] >= "2026-07-01")]
    totals = sorted(own.pivot(index="draw", columns="period", values="total").sum(axis=1))
    low, high = totals[999], totals[8999]
    one = figures["forecast", "Expected 2026-07 to 2026-09, EUR"]
    assert one.range == f"P10 {round(low):,} to P90 {round(high):,}"
    assert low < float(one.value.replace(",", "")) < high
    months = metrics.forecast(*frames, history=data.history, **how)
    months = months[(months["currency"] == "EUR") & (months["period"] >= "2026-07-01")]
    assert months["p10"].sum() < low < high < months["p90"].sum()
    assert [one.range for (_, label), one in figures.items() if "Expected" not in label] == [""] * (
        len(figures) - 1
    )


def test_the_chart_of_the_forecast_says_what_its_months_bring_together(data: Data) -> None:
    """That of the first month, nearly over, would say little of the coming ones."""
    state = State(period_of("2026-Q2", data.now, data.tz), currency="EUR")
    (chart,) = view("forecast", data, state).charts
    ax = Canvas().add_subplot()
    chart.draw(ax)
    (said,) = [text for text in map(Text.get_text, ax.figure.findobj(Text)) if "P50 " in text]
    frames = data.deals, data.visits, data.stages
    how: dict[str, Any] = {"until": "2026-09", "by": "currency", "as_of": data.now}
    draws = metrics.forecast_draws(*frames, history=data.history, **how)
    totals = sorted(draws[draws["currency"] == "EUR"].groupby("draw")["total"].sum())

    assert said.startswith("2026-06 to 2026-09: P50 ")
    shown = {
        name: float(number) * {"k": 1e3, "M": 1e6}[unit]
        for name, number, unit in re.findall(r"(P\d0) ([\d.]+)([kM])", said)
    }
    for name, place in (("P10", 999), ("P50", 4999), ("P90", 8999)):
        assert shown[name] == pytest.approx(totals[place], rel=0.005)


def test_no_key_figure_is_left_out(figures: dict[tuple[str, str], Figure]) -> None:
    others = {(key, label) for key, label in figures if (key, label) not in FIGURES}
    assert {label for key, label in others if key == "data"} == OF_THE_CACHE
    assert {label for key, label in others if key in ("overview", "revenue")} == set()
    assert {label for key, label in others if key not in ("data", "overview", "revenue")} == {
        "Events",
        "Deals with events",
        "Expected 2026-07 to 2026-09, EUR",
        "Record of the forecast, EUR",
    }


def test_open_deals_whose_days_in_their_stage_are_unknown_are_counted_on_the_card(
    data: Data,
) -> None:
    """No visit of theirs is known: the chart of days by stage lacks them."""
    state = State(period_of("2026-Q2", data.now, data.tz))

    def card(one: Data) -> Figure:
        return next(figure for figure in view("velocity", one, state).figures)

    assert (card(data).label[:4], card(data).note) == ("Open", "")
    deals = data.deals
    open_there = deals[deals["status"].eq("open") & deals["pipeline_id"].eq(PIPELINE)]["id"]
    visits = data.visits[~data.visits["deal_id"].isin(open_there.iloc[:2])]
    fewer = card(replace(data, visits=visits, computed={}))
    assert (fewer.value, fewer.note) == (card(data).value, "days in the stage unknown: 2")

"""Reports of accounts that are offline, young, months later, in several currencies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pdframe import sandbox
from pdframe.errors import ArgumentError, NotCachedError
from tests.helpers import true_cells

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")

DAYS = 40


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sandbox.SandboxAccount]:
    """An account with a report of 30 June, 40 days ago."""
    folder = tmp_path_factory.mktemp("later")
    with sandbox.connect(
        seed=7, deals=300, cache_dir=folder / "cache", burst=100_000, progress=False
    ) as account:
        first = account.report(folder / "report.html").read_text("utf-8")
        assert "none yet" in first
        assert "no month of an issued forecast is over" in first
        account.report(folder / "report.html", period="2026-Q2")
        record = account.track_record()
        # One a day, however often the page is written.
        assert record["as_of"].nunique() == 1
        account.advance(days=DAYS)
        yield account


def cells(page: str, caption: str) -> list[list[str]]:
    """Return the texts of a table of the page."""
    table = re.search(rf"<caption>{caption}.*?</table>", page, re.DOTALL)
    assert table, caption
    rows = re.findall(r"<tr>(.*?)</tr>", table[0], re.DOTALL)[1:]
    return [re.findall(r"<td[^>]*>(?:<a [^>]*>)?([^<]*)", row) for row in rows]


def test_a_later_report_shows_how_right_the_forecast_was(
    later: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    page = later.report(tmp_path / "report.html", refresh=True).read_text("utf-8")

    rows = true_cells.visible(true_cells.fold(later.company_model.events), "deals")
    won = {
        month: sum(
            row["value"] or 0
            for row in rows
            if row["status"] == "won"
            and row["currency"] == "EUR"
            and str(row["local_won_date"])[:7] == month
        )
        for month in ("2026-06", "2026-07")
    }
    shown = cells(page, "What was forecast of months that are over, EUR")
    assert [row[0] for row in shown] == ["2026-07", "2026-06"]
    within = 0
    for month, issued, low, middle, high, _, actual, inside in shown:
        assert issued == "2026-06-30"
        assert actual == f"{won[month]:,.0f}"
        amounts = [float(text.replace(",", "")) for text in (low, middle, high)]
        assert amounts[0] <= amounts[1] <= amounts[2]
        assert inside == ("yes" if amounts[0] <= round(won[month]) <= amounts[2] else "no")
        # June was forecast on its last day, when nearly all of it was known.
        within += inside == "yes" and month == "2026-07"
    assert f">{within} of 1</dd>" in page


def test_a_cache_without_a_network_is_reported(
    later: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    later.sync()
    before = later.server.stats.requests
    page = later.report(tmp_path / "report.html", refresh=False).read_text("utf-8")

    assert later.server.stats.requests == before
    assert cells(page, "By month, EUR")


def test_an_empty_cache_without_a_network_is_refused(tmp_path: Path) -> None:
    with (
        sandbox.connect(seed=7, deals=30, cache_dir=tmp_path / "empty", progress=False) as empty,
        pytest.raises(NotCachedError),
    ):
        empty.report(tmp_path / "empty.html", refresh=False)
    assert not (tmp_path / "empty.html").exists()


def test_rates_add_up_all_currencies(later: sandbox.SandboxAccount, tmp_path: Path) -> None:
    rates = {"EUR": 1.0, "USD": 0.5, "GBP": 2.0}
    period = "2026-Q2"
    page = later.report(tmp_path / "report.html", period=period, rates=rates, refresh=False)

    rows = true_cells.visible(true_cells.fold(later.company_model.events), "deals")
    won = sum(
        (row["value"] or 0) * rates[row["currency"]]
        for row in rows
        if row["status"] == "won" and "2026-04" <= str(row["local_won_date"])[:7] <= "2026-06"
    )
    figure = re.search(
        r'<dt>Won, EUR.*?<dd class="value">([^<]*)', page.read_text("utf-8"), re.DOTALL
    )
    assert figure
    assert float(figure[1].replace(",", "")) == pytest.approx(won, abs=1)


def test_a_column_that_deals_lack_is_refused(later: sandbox.SandboxAccount, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="Did you mean 'Cancellation date'"):
        later.report(tmp_path / "report.html", cancellations="cancellation", refresh=False)
    assert not list(tmp_path.iterdir())

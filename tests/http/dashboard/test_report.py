"""The report of an account: figures of the company's truth, safe text, nothing from a network."""

from __future__ import annotations

import base64
import re
import stat
import warnings
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pdframe import sandbox
from pdframe.cli import main
from pdframe.dashboard._data import collect
from pdframe.dashboard.state import State, period_of
from pdframe.dashboard.views import VIEWS, view
from pdframe.errors import ArgumentError
from tests.helpers.attacks import ATTACK


class Read(HTMLParser):
    """What a browser makes of a page: tags with attributes, ids, headings, texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def values(self, name: str) -> list[str]:
        return [given[name] or "" for _, given in self.tags if name in given]


@pytest.fixture(scope="module")
def pages(
    hostile: sandbox.SandboxAccount, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("reports")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {
            str(theme): hostile.report(
                folder / f"{theme}.html", period="2026-Q2", theme=theme
            ).read_text("utf-8")
            for theme in (None, "light", "dark")
        }


def test_text_of_the_account_is_text_on_the_page(pages: dict[str, str]) -> None:
    for page in pages.values():
        read = Read(page)

        assert any(ATTACK in text for text in ["".join(read.texts)])
        assert "onerror" not in {name for _, given in read.tags for name in given}
        assert not {"script", "iframe", "object", "embed", "link"} & {tag for tag, _ in read.tags}
        assert all(
            str(given["src"]).startswith("data:") for tag, given in read.tags if tag == "img"
        )
        for address in read.values("src"):
            picture = base64.b64decode(address.partition(",")[2]).decode()
            assert "<script" not in picture
            assert "onerror" not in picture
            assert "<!--" not in picture  # where matplotlib repeats what it draws


def test_a_page_asks_no_network_for_anything(
    pages: dict[str, str], hostile: sandbox.SandboxAccount
) -> None:
    own = urlsplit(hostile.url("deals", 1)).netloc
    for page in pages.values():
        read = Read(page)

        loaded = [*read.values("src"), *read.values("srcset"), *read.values("data")]
        assert loaded
        assert all(address.startswith("data:image/svg+xml;base64,") for address in loaded)
        links = [urlsplit(address) for address in read.values("href")]
        assert {link.netloc for link in links} == {"", own}
        assert all(link.fragment for link in links if not link.netloc)
        style = "".join(re.findall(r"<style>(.*?)</style>", page, re.DOTALL))
        assert not re.search(r"url\(|@import|http", style)
        assert "default-src 'none'" in page


def test_ids_are_unique_and_headings_in_order(pages: dict[str, str]) -> None:
    for page in pages.values():
        read = Read(page)

        assert max(Counter(read.values("id")).values()) == 1
        targets = {address[1:] for address in read.values("href") if address.startswith("#")}
        assert targets == set(read.values("aria-labelledby")) == {*VIEWS, "notes"}
        levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[: len(VIEWS) + 2] == [1, *[2] * (len(VIEWS) + 1)]
        assert set(levels[len(VIEWS) + 2 :]) == {3}  # the notes, by view
        assert all(given.get("alt") for tag, given in read.tags if tag == "img")


def test_a_theme_forces_its_colours_and_none_follows_the_reader(pages: dict[str, str]) -> None:
    assert "prefers-color-scheme" in pages["None"]
    assert "prefers-color-scheme" not in pages["light"]
    assert "prefers-color-scheme" not in pages["dark"]
    # A dark page is light on paper.
    assert pages["None"].count("<img") == pages["dark"].count("<img") >= 10
    assert pages["None"].count("<img") == 2 * pages["light"].count("<img")


def test_every_view_has_a_table_or_says_why_not(hostile: sandbox.SandboxAccount) -> None:
    data = collect(hostile)
    state = State(period_of("2026-Q2", data.now, data.tz), currency="EUR")
    for key in VIEWS:
        one = view(key, data, state)

        assert one.tables or one.notes
        assert not one.code or compile(one.code, key, "exec")


def test_a_report_is_private_and_replaces_the_one_before(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    file.write_text("the one before")

    assert account.report(file) == file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert file.read_text("utf-8").startswith("<!DOCTYPE html>")
    assert account.server.token not in file.read_text("utf-8")


@pytest.mark.parametrize(
    ("path", "how", "said"),
    [
        ("deals.parquet", {}, "must end in .html"),
        ("nowhere/report.html", {}, "has no folder"),
        ("report.html", {"theme": "blue"}, "must be 'light', 'dark' or None"),
        ("report.html", {"period": "2026-08"}, "in the future"),
    ],
)
def test_what_no_report_can_be_made_of_is_refused(
    account: sandbox.SandboxAccount, tmp_path: Path, path: str, how: dict[str, Any], said: str
) -> None:
    with pytest.raises(ArgumentError, match=said):
        account.report(tmp_path / path, **how)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="this system has no /proc")
def test_a_folder_that_takes_no_files_costs_no_request(account: sandbox.SandboxAccount) -> None:
    before = account.server.stats.requests
    with pytest.raises(ArgumentError, match=r"'/proc/report.html' cannot be written: /proc takes"):
        account.report("/proc/report.html")

    assert account.server.stats.requests == before


def test_a_mistyped_period_costs_no_request(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    before = account.server.stats.requests
    for refused in (account.dashboard, lambda **how: account.report(tmp_path / "a.html", **how)):
        with pytest.raises(ArgumentError, match="'last mnth' is not a time"):
            refused(period="last mnth")

    assert account.server.stats.requests == before


@pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
def test_a_report_keeps_its_forecast_after_one_of_groups(tmp_path: Path) -> None:
    with sandbox.connect(seed=4, deals=60, burst=100_000, progress=False) as account:
        account.sync("deals", "deal_products", "stages", "pipelines", "users")
        account.forecast("2026-07", by=["owner_id", "currency"])
        for _ in range(2):
            account.report(tmp_path / "report.html", refresh=False)
        record = account.track_record(refresh=False)

    own = record[record["by"] == "currency"]
    assert len(own)
    assert not own.duplicated(["period", "currency"]).any()


def test_an_account_without_deals_has_a_report(tmp_path: Path) -> None:
    with sandbox.connect(seed=1, deals=0, cache_dir=tmp_path / "cache", progress=False) as empty:
        page = empty.report(tmp_path / "report.html").read_text("utf-8")

    assert Read(page).values("id") == [*VIEWS, "notes"]


def test_the_command_writes_a_report(
    account: sandbox.SandboxAccount,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["report", "deals.csv"]) == 2
    assert main(["report", str(tmp_path / "report.html"), "--period", "last mnth"]) == 2
    monkeypatch.setenv("PIPEDRIVE_BASE_URL", account.server.url)
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", account.server.token)
    monkeypatch.setenv("PDFRAME_CACHE_DIR", str(tmp_path / "cache"))
    capsys.readouterr()
    file = tmp_path / "report.html"
    assert main(["report", str(file), "--period", "2026-Q2", "--quiet"]) == 0

    assert capsys.readouterr().out.strip() == str(file)
    assert "2026-04-01 to 2026-06-30" in file.read_text("utf-8")

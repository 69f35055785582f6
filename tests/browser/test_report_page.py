"""The report opened from disk in Chromium, light and dark, without a network; and printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from pdframe import sandbox
from tests.browser.accessibility import assert_accessible, violations

if TYPE_CHECKING:
    from playwright.sync_api import Page

ATTACK = "<img src=x onerror=\"document.title='attacked'\">"
PAGE_OBJECT = re.compile(rb"/Type\s*/Page\b(?!s)")


@pytest.fixture(scope="module")
def report(browser_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 400 deals, a third of which attack it by their titles."""
    folder = tmp_path_factory.mktemp("report")
    with sandbox.connect(
        seed=4,
        deals=400,
        company="hostile",
        cache_dir=folder / "cache",
        burst=100_000,
        progress=False,
    ) as account:
        for number in account.deals(columns=["id"])["id"]:
            if number % 3 == 0:
                account.company_model.edit_deal(int(number), title=ATTACK)
        return account.report(folder / "report.html", refresh=True)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_shows_all_pictures_without_a_network(
    report: Path, page: Page, pictures: Path, scheme: Literal["light", "dark"]
) -> None:
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.emulate_media(color_scheme=scheme)
    page.goto(report.as_uri())

    widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(widths) >= 10
    assert all(widths)
    shown = page.locator("figure img:visible")
    assert shown.count() == len(widths) / 2
    assert {kind for kind in shown.evaluate_all("all => all.map(one => one.className)")} == {
        f"on-{scheme}"
    }
    pictures.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=pictures / f"report_{scheme}.png", full_page=True)

    assert not messages
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert page.title().startswith("Kaskaad Software OÜ: ")
    assert ATTACK in page.locator("body").inner_text()
    # Nothing is wider than the page, on a narrow one neither.
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_is_accessible(
    report: Path, page: Page, axe: str, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(report.as_uri())
    for summary in page.locator("summary").all():
        summary.click()

    assert_accessible(page, axe)


@pytest.mark.slow
def test_a_grave_violation_is_reported(page: Page, axe: str) -> None:
    page.set_content("<html lang=en><title>T</title><p style='color: #ccc'>faint</p><img src=''>")

    said = [line.split(":")[0] for line in violations(page, axe)]
    assert said == ["serious color-contrast", "critical image-alt"]
    with pytest.raises(AssertionError, match="image-alt"):
        assert_accessible(page, axe)
    assert [line.split(":")[0] for line in violations(page, axe, "p")] == said[:1]


@pytest.mark.slow
def test_a_report_prints_to_two_to_four_pages(report: Path, page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(report.as_uri())
    printed = page.pdf(format="A4", print_background=True)

    assert 2 <= len(PAGE_OBJECT.findall(printed)) <= 4

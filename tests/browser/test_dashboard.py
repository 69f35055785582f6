"""The dashboard in JupyterLab, Notebook 7 and Voilà, and on an exported page."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.browser.accessibility import assert_accessible

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.helpers.notebook_page import App, Lab

SETUP = """import pdframe
account = pdframe.sandbox.connect(
    seed=4, deals=400, company="hostile", burst=100_000, progress=False
)
titles = ["<img src=x onerror=\\"document.title='attacked'\\">", "株式会社山田 見積もり",
          "عرض سعر لشركة النور", "مزيج mixed \\u202e text", "$x^2$ & <b>bold</b>"]
deals = account.deals(columns=["id", "add_time"])
for place, number in enumerate(deals.sort_values("add_time")["id"].tail(60)):
    account.company_model.edit_deal(int(number), title=titles[place % len(titles)])
deals = account.deals(refresh=True, columns=["id"])"""
SHOW = 'account.dashboard(period="2026-Q2")'
ATTACK = "<img src=x onerror=\"document.title='attacked'\">"
LIVE = "div.pdframe-dashboard:not(.pdframe-static)"
VIEWS = (
    "What changed",
    "Funnel",
    "Velocity",
    "Recurring revenue",
    "Forecast",
    "Data",
    "Overview",
)
CDN = "cdn.jsdelivr.net"
"""Where Voilà's own page asks for icons."""
FROM_VOILA = "The getter for the shared module is not a function"
"""What Voilà throws where it loads an extension of a newer JupyterLab, before any cell runs."""


class Board:
    """The dashboard on a page, as a reader uses it."""

    def __init__(self, page: Page, pictures: Path, name: str) -> None:
        self.page, self._pictures, self._name = page, pictures, name
        self.box = page.locator(LIVE).last
        self.box.wait_for()
        self.settle("Overview: ")

    def settle(self, said: str) -> None:
        """Wait until the status line says it."""
        self.box.locator("[role=status]", has_text=said).wait_for()
        self.box.locator(".pd-spinner").wait_for(state="detached")

    def shown(self) -> tuple[str, str]:
        """Return the pictures of the charts, and the texts of figures and tables."""
        charts = self.box.locator(".pd-chart img:visible")
        pictures = charts.evaluate_all("all => all.map(one => one.src).join()")
        return str(pictures), self.box.locator(".pd-view").inner_text()

    def press(self, title: str) -> None:
        self.box.get_by_role("button", name=title, exact=True).click()
        self.settle(f"{title}: ")

    def choose(self, label: str, option: str) -> None:
        """Choose an option of a control."""
        self.box.get_by_label(label, exact=True).select_option(label=option)

    def changes_by(self, label: str, option: str, said: str) -> None:
        """Choose, and expect another chart and other numbers."""
        before = self.shown()
        self.choose(label, option)
        self.settle(said)
        after = self.shown()
        assert (after[0] != before[0]) is True, f"{label}: the same charts"
        assert after[1] != before[1], f"{label}: the same numbers"

    def picture(self, name: str) -> None:
        self._pictures.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_timeout(100)
        self.box.screenshot(path=self._pictures / f"dashboard_{self._name}_{name}.png")


def figure(board: Board, label: str) -> str:
    card = board.box.locator(".pd-figures > div", has=board.page.get_by_text(label, exact=True))
    return card.locator(".pd-value").inner_text()


def option_of(control: Locator, text: str) -> str:
    """Return the option that begins with a text: the number of its deals is after it."""
    options = control.locator("option").all_inner_texts()
    return next(option for option in options if option.startswith(text))


@pytest.mark.slow
@pytest.mark.parametrize(("app", "theme"), [("lab", "Light"), ("notebook", "Dark")])
def test_the_dashboard_in_a_notebook(
    lab: Lab, page: Page, axe: str, pictures: Path, app: App, theme: str
) -> None:
    from tests.helpers.notebook_page import NotebookPage
    from tests.helpers.voila_page import write_notebook

    lab.choose(f"JupyterLab {theme}")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    write_notebook(lab.work / f"{app}.ipynb", [""])
    notebook = NotebookPage(page, lab, pictures, app=app, name=f"{app}.ipynb")
    # Tall: a picture of the dashboard is that of all of it.
    notebook.page.set_viewport_size({"width": 1400, "height": 2200})
    notebook.run(SETUP)
    notebook.run(SHOW)
    board = Board(notebook.page, pictures, f"{app}_{theme.lower()}")
    scheme = "dark" if theme == "Dark" else "light"
    assert board.page.locator(".pdframe-static").last.is_hidden()

    # Every view, with its chart of this theme alone.
    for title in VIEWS:
        board.press(title)
        images = board.box.locator(".pd-chart img:visible")
        classes = images.evaluate_all("all => all.map(one => one.className)")
        assert set(classes) == ({f"pd-on-{scheme}"} if title != "Data" else set())
        assert all(images.evaluate_all("all => all.map(one => one.naturalWidth > 1000)"))
        assert_accessible(board.page, axe, LIVE)
        board.picture(title.replace(" ", "_").lower())

    # Every control.
    board.changes_by("Pipeline", "New business", "New business")
    owner = board.box.get_by_label("Owner", exact=True).locator("option").nth(2).inner_text()
    board.changes_by("Owner", owner, f"New business, {owner}")
    board.changes_by("Owner", "all", "New business, in EUR")
    field = board.box.get_by_label("Field", exact=True)
    board.choose("Field", option_of(field, "Competitor"))
    value = board.box.get_by_label("Value", exact=True)
    value.locator("option", has_text="(empty)").wait_for(state="attached")
    board.changes_by("Value", option_of(value, "(empty)"), "Competitor: (empty)")
    board.changes_by("Currency", "USD", "in USD")
    board.changes_by("Period", "this year", "2026-01-01 to 2026-06-30")

    # The deals of a number: hostile titles are text.
    board.choose("Field", "all")
    board.choose("Pipeline", "all")
    board.choose("Period", "2026-Q2")
    board.settle("Overview: 2026-04-01 to 2026-06-30, in USD")
    board.choose("Deals of", "New deals")
    links = board.box.locator(".pd-list a")
    links.first.wait_for()
    assert links.count() == int(figure(board, "New deals"))
    assert ATTACK in links.all_inner_texts()
    assert board.box.locator(".pd-list img, .pd-list b").count() == 0
    assert_accessible(board.page, axe, LIVE)

    # Copied by keyboard, the code gives the same figures.
    board.box.get_by_role("button", name="Copy as code").press("Enter")
    code = board.box.get_by_label("Code of this view")
    code.click()
    board.page.keyboard.press("Control+a")
    board.page.keyboard.press("Control+c")
    copied = board.page.evaluate("navigator.clipboard.readText()")
    assert copied == code.input_value()
    assert_accessible(board.page, axe, LIVE)
    board.picture("code")
    expected = figure(board, "New deals"), figure(board, "Deals won")
    ran = notebook.run(f"{copied}\nprint('same', sales['created'].sum(), sales['won'].sum())")
    assert f"same {expected[0]} {expected[1]}" in ran.inner_text()

    assert "attacked" not in board.page.title()
    assert not notebook.errors


@pytest.mark.slow
def test_a_new_notebook_of_notebook_7_works_as_the_page_says(
    lab: Lab, page: Page, pictures: Path
) -> None:
    from tests.helpers.notebook_page import ROOT, NotebookPage

    steps = "choose File, Close and Shut Down Notebook, and open it from the list of files."
    assert steps in (ROOT / "docs" / "how-to" / "dashboard.md").read_text("utf-8")
    lab.choose("JupyterLab Light")
    notebook = NotebookPage(page, lab, pictures, app="notebook")
    notebook.close_and_open()
    notebook.run(f"{SETUP.replace('deals=400', 'deals=60')}\n{SHOW}")
    board = Board(notebook.page, pictures, "new_notebook")
    board.press("Funnel")


@pytest.fixture
def voila_page(browser_tools: None, tmp_path: Path) -> Iterator[str]:
    """The address of the dashboard in Voilà."""
    if importlib.util.find_spec("voila") is None:
        pytest.skip("a test in Voilà needs the Python package voila (make browser)")
    from tests.helpers.voila_page import voila

    with voila(tmp_path / "voila", [SETUP, SHOW]) as address:
        yield address


@pytest.mark.slow
def test_the_dashboard_in_voila(voila_page: str, page: Page, axe: str, pictures: Path) -> None:
    messages: list[str] = []
    foreign: set[str] = set()
    page.on("pageerror", lambda error: FROM_VOILA in str(error) or messages.append(str(error)))
    page.on(
        "console",
        lambda text: (
            text.type == "error"
            and CDN not in str(text.location)
            and FROM_VOILA not in text.text
            and messages.append(f"{text.text} {text.location}")
        ),
    )
    page.on("requestfailed", lambda request: foreign.add(urlsplit(request.url).netloc))
    page.goto(voila_page)
    board = Board(page, pictures, "voila")

    board.changes_by("Pipeline", "New business", "New business")
    for title in ("Funnel", "Overview"):
        board.press(title)
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        images = board.box.locator(".pd-chart img:visible")
        classes = images.evaluate_all("all => all.map(one => one.className)")
        assert set(classes) == {f"pd-on-{scheme}"}
        assert_accessible(page, axe, LIVE)
        board.picture(scheme)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    board.picture("narrow")
    assert "attacked" not in page.title()
    assert foreign <= {CDN}
    assert not messages


@pytest.fixture(scope="module")
def exported(browser_tools: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages that nbconvert made of a notebook, with the state of its widgets and without."""
    from tests.helpers.voila_page import private_environment, write_notebook

    folder = tmp_path_factory.mktemp("exported")
    (folder / "home" / "runtime").mkdir(parents=True)

    def nbconvert(*arguments: str) -> None:
        command = [sys.executable, "-m", "nbconvert", *arguments]
        subprocess.run(
            command,
            cwd=folder,
            check=True,
            capture_output=True,
            env=private_environment(folder / "home"),
        )

    write_notebook(folder / "with.ipynb", [SETUP, f"board = {SHOW}", "board"])
    nbconvert("--to", "notebook", "--execute", "--inplace", "with.ipynb")
    notebook = json.loads((folder / "with.ipynb").read_text("utf-8"))
    assert notebook["metadata"].pop("widgets")
    (folder / "without.ipynb").write_text(json.dumps(notebook), "utf-8")
    nbconvert("--to", "html", "with.ipynb", "without.ipynb")
    return {name: folder / f"{name}.html" for name in ("with", "without")}


@pytest.mark.slow
@pytest.mark.parametrize("state", ["with", "without"])
def test_an_exported_notebook_shows_the_last_view_without_a_network(
    exported: dict[str, Path], page: Page, pictures: Path, state: str
) -> None:
    page.goto(exported[state].as_uri())
    board = page.locator(".pdframe-static")

    assert board.locator("img:visible").count() == 2
    widths = board.locator("img:visible").evaluate_all("all => all.map(one => one.naturalWidth)")
    assert all(width > 1000 for width in widths)
    assert board.locator("table:visible").count() >= 2
    assert "Overview: 2026-04-01 to 2026-06-30" in board.inner_text()
    pictures.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=pictures / f"dashboard_exported_{state}.png", full_page=True)
    assert "attacked" not in page.title()

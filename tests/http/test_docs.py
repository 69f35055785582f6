"""The pages of docs/: their code runs as it stands, and they name every public thing."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path
from textwrap import dedent

import pytest

from pdframe import Account, errors, fleet, metrics, plot
from tests.helpers.readme import GALLERY, ROOT, Readme, texts_in

DOCS = ROOT / "docs"
BUILT = {"_build", "generated"}
PAGES = [path for path in sorted(DOCS.rglob("*.md")) if not BUILT & {*path.parts}]
WITH_OWN_TESTS = {GALLERY, DOCS / "how-to" / "funnel.md"}
WITH_CODE = [path for path in PAGES if "```python" in path.read_text("utf-8") and path != GALLERY]


@pytest.mark.parametrize("path", WITH_CODE, ids=lambda path: path.stem)
def test_the_code_of_a_page_prints_what_the_page_shows(path: Path) -> None:
    """Where an output differs and the new one is right: python -m tests.helpers.readme PAGE."""
    check_page(path)


@pytest.mark.exhaustive
def test_the_code_of_the_gallery_draws_its_pictures() -> None:
    """Where a picture differs and the new one is right: make pictures."""
    check_page(GALLERY)


def check_page(path: Path) -> None:
    page = Readme(path).run()
    assert page.blocks == len(re.findall(r"^```python", page.text, re.MULTILINE))
    assert len(page.outputs) == page.text.count("```text")
    for output in page.outputs:
        assert output.shown == dedent(output.printed)
    assert len(page.pictures) == page.text.count(".png)")
    for name, drawn in page.pictures.items():
        assert texts_in(path.parent / name) == drawn.texts, name


def test_the_gallery_shows_every_chart() -> None:
    text = GALLERY.read_text("utf-8")
    code = "".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert {*re.findall(r"plot\.(\w+)\(", code)} == {*plot.__all__}
    shown = {*re.findall(r"\]\(gallery/(.+)\)", text)}
    assert shown == {path.name for path in (DOCS / "gallery").iterdir()}


def test_the_reference_has_a_page_for_every_public_name() -> None:
    listed = {
        name
        for path in (DOCS / "reference").glob("*.md")
        for name in re.findall(r"^   ([\w.]+)$", path.read_text("utf-8"), re.MULTILINE)
    }
    public = {f"Account.{name}" for name in dir(Account) if not name.startswith("_")}
    public |= {f"metrics.{name}" for name in metrics.__all__}
    public |= {f"plot.{name}" for name in plot.__all__}
    public |= {f"fleet.{name}" for name in fleet.__all__}
    assert sorted(public - listed) == []


def test_the_modules_and_functions_that_pages_name_exist() -> None:
    named = {
        name
        for path in PAGES
        for name in re.findall(r"[`<~](pdframe(?:\.\w+)+)[`>]", path.read_text("utf-8"))
    }
    assert len(named) > 20
    for name in sorted(named):
        assert pkgutil.resolve_name(name) is not None


def test_the_page_of_errors_shows_all_of_them() -> None:
    assert "automodule:: pdframe.errors" in (DOCS / "reference" / "errors.md").read_text("utf-8")
    tree = errors.__doc__ or ""
    assert [name for name in errors.__all__ if name not in tree] == []


def test_the_page_of_environment_variables_names_those_that_the_code_reads() -> None:
    read = re.compile(r"\b(?:PIPEDRIVE|PDFRAME)_[A-Z_]+\b")
    code = {
        name
        for path in (ROOT / "pdframe").rglob("*.py")
        for name in read.findall(path.read_text("utf-8"))
    }
    page = (DOCS / "reference" / "environment.md").read_text("utf-8")
    assert code == set(read.findall(page))


def test_each_of_thirty_questions_of_a_newcomer_leads_to_a_page() -> None:
    text = (DOCS / "newcomer-questions.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| .+\? \| \[.+\]\((\S+)\) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 31))
    assert "newcomer-questions.md" in (DOCS / "index.md").read_text("utf-8")

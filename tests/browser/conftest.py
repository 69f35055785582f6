"""JupyterLab on 127.0.0.1 and a page of the system's Chromium, without a network."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.accessibility import axe_script

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.helpers.notebook_page import Lab

SCREENSHOTS_VARIABLE = "PDFRAME_SCREENSHOTS"
# A page may wait for a machine that runs other tests.
PATIENCE_MILLISECONDS = 120_000


def _missing() -> str:
    """Return what a browser test lacks here; nothing, if all is there."""
    for package in ("playwright", "jupyterlab", "notebook"):
        if importlib.util.find_spec(package) is None:
            return f"the Python package {package} (make browser)"
    return "" if _chromium() else "chromium (on Debian: apt install chromium)"


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser_tools() -> None:
    """Skip the test where it cannot drive a browser."""
    missing = _missing()
    if missing:
        pytest.skip(f"a test in a browser needs {missing}")


@pytest.fixture(scope="module")
def lab(browser_tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    from tests.helpers.notebook_page import jupyter_lab

    with jupyter_lab(tmp_path_factory.mktemp("lab")) as started:
        yield started


@pytest.fixture
def page(browser_tools: None) -> Iterator[Page]:
    """An empty page, which reaches 127.0.0.1 alone."""
    from playwright.sync_api import sync_playwright

    from tests.helpers.notebook_page import CHROMIUM_FLAGS

    with sync_playwright() as playwright:
        # Its own loop runs only while a test of this folder does: others start loops.
        browser = playwright.chromium.launch(executable_path=_chromium(), args=CHROMIUM_FLAGS)
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        yield context.new_page()
        browser.close()


@pytest.fixture(scope="session")
def axe(browser_tools: None) -> str:
    """The source of axe-core, which checks that a page is accessible."""
    script = axe_script()
    if script is None:
        pytest.skip("axe-core is missing: the Python package axe-playwright-python (make browser)")
    return script


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """The folder of screenshots, kept where the environment names one."""
    return Path(os.environ.get(SCREENSHOTS_VARIABLE) or tmp_path / "screenshots")

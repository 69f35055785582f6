"""What axe-core finds on a page, from a file of a Python package: no network.

A test takes the fixture `axe` of this folder's conftest, which skips it where the package is
missing, and calls `assert_accessible(page, axe)`, with a CSS selector for a part of the page.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

GRAVE = ("serious", "critical")
PACKAGE = "axe_playwright_python"


def axe_script() -> str | None:
    """Return the source of axe-core; None: its package is not installed."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return (Path(spec.origin).parent / "axe.min.js").read_text("utf-8")


def violations(page: Page, axe: str, within: str | None = None) -> list[str]:
    """Return a line a serious or critical violation and element.

    Parameters
    ----------
    page
        As it is now, in its colour scheme.
    axe
        The source of axe-core.
    within
        CSS selector of the part to check; None: the page.
    """
    page.evaluate(axe)
    result: dict[str, Any] = page.evaluate(
        "within => axe.run(within || document, {resultTypes: ['violations']})", within
    )
    # A run that checks nothing has no violation either.
    assert result["passes"], f"axe checked nothing within {within}"
    return [
        f"{rule['impact']} {rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in result["violations"]
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]


def assert_accessible(page: Page, axe: str, within: str | None = None) -> None:
    """Fail with what axe-core says, if a violation is serious or critical."""
    said = violations(page, axe, within)
    assert not said, "\n".join(said)

"""A fresh notebook in JupyterLab and Notebook 7: connect, deals, a metric, a chart, an export."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.helpers.notebook_page import App, Lab

CELLS = {
    "connect": """import pdframe
# latency: seconds of each request, so that loads take long enough for bars
account = pdframe.sandbox.connect(seed=7, deals=60, latency=0.4)
account""",
    "deals": """deals = account.deals(names=True)
deals[["title", "owner_name", "stage_name", "value", "currency"]].head()""",
    "changes": "account.deal_changes().shape",
    "metric": """from pdframe import metrics, plot
visits, stages = account.stage_visits(), account.stages()
funnel = metrics.funnel(visits, stages, as_of="2026-06-30", pipeline_id=2)
funnel[["stage", "reached", "advanced", "lost", "open", "conversion"]]""",
    "chart": "plot.funnel(funnel)",
    "export": """account.export("export", "deals", "stages")[["table", "rows", "bytes"]]""",
    "account": "account",
}
WITH_TOTAL = re.compile(r"deal_changes: \d+ of \d+ deals, [\d:]+ left, [\d,]+ tokens to go")
NOISE = re.compile(r"stderr|error")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("app", "theme"), [("lab", "Light"), ("lab", "Dark"), ("notebook", "Light")]
)
def test_a_fresh_notebook_is_quiet(
    lab: Lab, page: Page, pictures: Path, app: App, theme: str
) -> None:
    from tests.helpers.notebook_page import NotebookPage

    lab.choose(f"JupyterLab {theme}")
    notebook = NotebookPage(page, lab, pictures, app=app)
    name_of_picture = f"{app}_{theme.lower()}"
    shown = {}
    for number, (name, code) in enumerate(CELLS.items()):
        output = notebook.run(code)
        shown[name] = output.inner_text()
        kinds = output.locator("[data-mime-type]").evaluate_all(
            "every => every.map(one => one.dataset.mimeType)"
        )
        assert not [kind for kind in kinds if NOISE.search(kind)], shown[name]
        if name == "chart":
            assert output.locator("img").evaluate("image => image.naturalWidth") > 500
        notebook.picture(f"{name_of_picture}_{number}_{name}")

    assert "account.deals() loads the deals" in shown["connect"]
    assert "owner_name" in shown["deals"]
    assert "Qualified" in shown["metric"]
    assert "<Axes" not in shown["chart"]
    assert "Kaskaad" in shown["account"]
    assert (lab.work / "export" / "deals.parquet").stat().st_size > 0

    assert any(map(WITH_TOTAL.match, notebook.bars())), notebook.bars()
    assert notebook.page.locator("progress").count() == 0
    assert not notebook.errors

    notebook.reopen()
    notebook.picture(f"{name_of_picture}_reopened")
    assert "widget" not in notebook.page.locator(".jp-Notebook").inner_text()

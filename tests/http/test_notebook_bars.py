"""Progress bars in a notebook: what they show below a cell, and what a saved notebook keeps."""

from __future__ import annotations

from typing import Any

import nbclient
import nbformat

LOADS = """
import pdframe
with pdframe.sandbox.connect(seed=7, deals=20, latency=0.6) as account:
    account.deals()
    account.deal_changes()
"""
TWO_AT_ONCE = """
from pdframe._progress import Bars
bars = Bars(delay=0, interval=0)
with bars("deals") as deals, bars("<b>persons</b>") as persons:
    deals(5)
    persons.expect(4)
    persons(1)
"""


class Recorder(nbclient.NotebookClient):
    """Runs a notebook, and notes every HTML that an output had."""

    markups: list[str]

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """Note the HTML of a message."""
        if msg["msg_type"] in ("display_data", "update_display_data"):
            self.markups.append(msg["content"]["data"].get("text/html", ""))
        return super().process_message(msg, cell, cell_index)


def run(code: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the outputs of a cell at its end, and each HTML that was shown meanwhile."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    client = Recorder(notebook, timeout=300, kernel_name="python3")
    client.markups = []
    client.execute()
    return notebook.cells[0].outputs, client.markups


def test_a_load_shows_bars_with_totals_and_leaves_nothing() -> None:
    outputs, markups = run(LOADS)
    with_total = [text for text in markups if "<progress value=" in text]
    assert any("of 20 deals, " in text and "tokens to go" in text for text in with_total)
    assert markups[-1] == ""
    # One output for all bars of the cell, without a widget, which is gone once the kernel is.
    assert [output["data"] for output in outputs] == [{"text/plain": "", "text/html": ""}]


def test_bars_at_once_share_an_output_and_their_names_are_escaped() -> None:
    outputs, markups = run(TWO_AT_ONCE)
    both = [text for text in markups if text.count("<progress") == 2]
    assert any("deals: 5 rows, 00:0" in text for text in both)
    assert any('<progress value="1" max="4"' in text for text in both)
    assert "&lt;b&gt;persons&lt;/b&gt;: 1 of 4 rows, " in "".join(markups)
    assert "<b>" not in "".join(markups)
    assert len(outputs) == 1

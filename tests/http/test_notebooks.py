"""The committed notebooks give the outputs that they show."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.every_case
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_was_executed_from_its_first_cell_to_its_last(name: str) -> None:
    cells = json.loads((ROOT / "notebooks" / name).read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    kinds = {output["output_type"] for cell in code for output in cell["outputs"]}
    assert kinds <= {"stream", "display_data", "execute_result"}
    assert "execute_result" in kinds


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_gives_its_outputs(name: str) -> None:
    """In a process of its own: the cells of a notebook share a kernel, whatever xdist does."""
    command = [sys.executable, "-m", "pytest", "--nbval", "-p", "no:xdist", "-W", "ignore", "-q"]
    done = subprocess.run(
        [*command, f"notebooks/{name}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]

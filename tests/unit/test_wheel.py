"""What an installed wheel does in an empty folder, without the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hatchling.builders.wheel import WheelBuilder

import pdframe

ROOT = Path(__file__).parents[2]


def test_a_wheel_holds_every_module_and_notebook_and_what_they_read() -> None:
    included = {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    package = ROOT / "pdframe"
    files = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {"pdframe/py.typed", "pdframe/plot/presentation.mplstyle"} < files
    notebooks = {f"pdframe/_notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks
    assert included == files | notebooks


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it; dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-build-isolation", "--no-deps", "--no-index", "-w", str(folder)]
    subprocess.run([*pip, *build, str(ROOT)], check=True)
    (wheel,) = folder.glob("pdframe-*.whl")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    python = str(folder / "env" / "bin" / "python")
    target = ["--python", python, "install", "--no-deps", "--no-index", "--no-warn-script-location"]
    subprocess.run([*pip, *target, "--force-reinstall", str(wheel)], check=True)
    return folder / "env" / "bin"


def said(command: list[str], installed: Path, folder: Path) -> str:
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PDFRAME", "PIPEDRIVE"))
    }
    environment["PATH"] = f"{installed}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_last_line_of_the_demo_works_in_an_empty_folder(
    installed: Path, tmp_path: Path
) -> None:
    where = [str(installed / "python"), "-c", "import pdframe; print(pdframe.__file__)"]
    assert str(installed.parent) in said(where, installed, tmp_path)
    assert said(["pdframe", "--version"], installed, tmp_path) == f"pdframe {pdframe.__version__}\n"
    shown = said(["pdframe", "demo", "--deals", "60", "--quiet"], installed, tmp_path)
    (address,) = re.findall(r"Open in a browser: (file://\S+)", shown)
    page = Path(unquote(urlsplit(address).path))
    assert "Kaskaad" in page.read_text("utf-8")
    command = shown.splitlines()[-1].split()
    assert command[:2] == ["pdframe", "notebooks"]
    before = {path.name for path in tmp_path.iterdir()}
    shown = said(command, installed, tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.name not in before)
    written = sorted(path.name for path in folder.iterdir())
    assert written == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    (opened,) = re.findall(r"jupyter lab (.*)", shown)
    assert (tmp_path / opened).read_bytes() == (ROOT / "notebooks" / written[0]).read_bytes()


DASHBOARD = """
import warnings
warnings.simplefilter("ignore")
import pdframe
with pdframe.sandbox.connect(seed=7, deals=60, burst=100_000, progress=False) as account:
    board = account.dashboard(period="2026-Q2")
    print(board.state.period.text)
    print(account.report("report.html", period="2026-Q2").name)
"""


@pytest.mark.slow
def test_dashboard_and_report_work_from_a_wheel(installed: Path, tmp_path: Path) -> None:
    shown = said([str(installed / "python"), "-c", DASHBOARD], installed, tmp_path)
    assert shown.split("\n") == ["2026-04-01 to 2026-06-30", "report.html", ""]
    assert (tmp_path / "report.html").read_text("utf-8").endswith("</html>\n")


WITHOUT_EXTRAS = """
import sys, warnings
for name in ("matplotlib", "ipywidgets", "IPython", "duckdb", "xlsxwriter", "currency_converter"):
    sys.modules[name] = None
warnings.simplefilter("ignore")
import pdframe
from pdframe import metrics
from pdframe.cli import main

def refused(call):
    try:
        call()
    except (ImportError, pdframe.PdframeError) as error:
        print("refused:", error)
    else:
        print("DONE, but a package is missing")

def plot():
    from pdframe import plot

with pdframe.sandbox.connect(seed=7, deals=60, burst=100_000, progress=False) as account:
    refused(lambda: account.report("report.html"))
    refused(account.dashboard)
    refused(plot)
    refused(lambda: account.export("bi", "stages", format="duckdb"))
    refused(lambda: account.export("bi", "stages", format="xlsx"))
    refused(lambda: metrics.ecb_rates(currencies=["USD"]))
    spent = account.tokens_today
    print(len(account.deals()), len(account.export("bi", "stages")), spent)
    how = {"since": "2026-04", "until": "2026-06", "as_of": "2026-06-30"}
    print(len(metrics.sales_by_period(account.deals(), **how)) > 0)
print(main(["report", "report.html"]))
print(main(["demo", "--deals", "40", "--quiet", "--cache-dir", "demo"]))
"""
EXTRAS = ("plot", "notebook", "plot", "bi", "xlsx", "ecb")


@pytest.mark.slow
def test_without_extras_each_feature_says_what_is_missing(installed: Path, tmp_path: Path) -> None:
    shown = said([str(installed / "python"), "-c", WITHOUT_EXTRAS], installed, tmp_path)
    lines = shown.splitlines()
    assert "DONE, but a package is missing" not in lines
    refusals = [line for line in lines if line.startswith("refused: ")]
    for line, extra in zip(refusals, EXTRAS, strict=True):
        assert re.search(rf"pip install ['\"]pdframe\[{extra}\]", line), line
    rows, files, spent = map(int, lines[len(EXTRAS)].split())
    assert rows > 30
    assert files == 1
    # The refusals came before any request of data.
    assert spent <= 2
    assert lines[len(EXTRAS) + 1] == "True"
    assert lines[len(EXTRAS) + 2] == "2"
    assert 'A report needs matplotlib, which is not installed: pip install "pdframe[plot]"' in shown
    assert lines[-1] == "0"
    assert not (tmp_path / "report.html").exists()

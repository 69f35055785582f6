"""What an installed wheel does in an empty folder, without the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import pdframe

ROOT = Path(__file__).parents[2]


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
    command = shown.splitlines()[-1].split()
    assert command[:2] == ["pdframe", "notebooks"]
    before = {path.name for path in tmp_path.iterdir()}
    shown = said(command, installed, tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.name not in before)
    written = sorted(path.name for path in folder.iterdir())
    assert written == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    (opened,) = re.findall(r"jupyter lab (.*)", shown)
    assert (tmp_path / opened).read_bytes() == (ROOT / "notebooks" / written[0]).read_bytes()

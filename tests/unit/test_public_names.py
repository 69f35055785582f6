"""`dir` shows public names only, and the names that need pandas are imported at first use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import pdframe
from pdframe import sandbox

HEAVY = ("pandas", "pyarrow", "httpx", "numpy", "matplotlib")


def imported_by(code: str) -> set[str]:
    """Return which heavy packages a new Python process imports for this code."""
    shown = f"{code}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", shown], check=True, capture_output=True, text=True, timeout=120
    )
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("package", [pdframe, sandbox])
def test_dir_shows_public_names_only(package: object) -> None:
    assert dir(package) == sorted(package.__all__)  # type: ignore[attr-defined]
    assert not [name for name in dir(package) if name.startswith("_")]
    for name in dir(package):
        assert getattr(package, name) is not None


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'dealz'"):
        pdframe.dealz  # noqa: B018


def test_importing_pdframe_imports_nothing_heavy_until_a_name_needs_it() -> None:
    assert imported_by("import pdframe; dir(pdframe); pdframe.PdframeError") == set()
    assert imported_by("import pdframe; pdframe.connect") == {"pandas", "pyarrow", "httpx", "numpy"}


def test_writing_notebooks_imports_nothing_heavy(tmp_path: Path) -> None:
    arguments = ["notebooks", str(tmp_path)]
    assert imported_by(f"from pdframe.cli import main\nassert main({arguments!r}) == 0") == set()
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["sync", "--help"], ["dance"], ["demo", "--x"]]
)
def test_help_and_mistyped_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import contextlib\nfrom pdframe.cli import main\n"
        f"with contextlib.suppress(SystemExit):\n    main({arguments!r})\n    raise ValueError"
    )
    assert imported_by(code) == set()


def test_a_public_name_is_the_same_object_each_time() -> None:
    assert pdframe.connect is pdframe.connect
    assert pdframe.sandbox is sandbox

"""`pdframe completion` prints a script that completes what the parser takes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pdframe.cli import main

BASH = shutil.which("bash")


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["completion", "bash"]) == 0
    path = tmp_path / "pdframe.bash"
    path.write_text(capsys.readouterr().out)
    return path


def completed(script: Path, folder: Path, *words: str) -> list[str]:
    """Return what bash offers for the last word."""
    line = " ".join(f"'{word}'" for word in words)
    code = (
        f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _pdframe;"
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    run = subprocess.run(
        [str(BASH), "-u", "-c", code], capture_output=True, text=True, cwd=folder, check=True
    )
    assert run.stderr == ""
    return run.stdout.split()


@pytest.mark.skipif(BASH is None, reason="this system has no bash")
def test_bash_completes_commands_options_tables_files_and_choices(
    script: Path, tmp_path: Path
) -> None:
    (tmp_path / "clients.toml").touch()
    (tmp_path / "bi").mkdir()
    assert set(completed(script, tmp_path, "pdframe", "")) >= {"sync", "fleet", "--version"}
    assert completed(script, tmp_path, "pdframe", "sy") == ["sync"]
    assert completed(script, tmp_path, "pdframe", "sync", "--j") == ["--json"]
    assert completed(script, tmp_path, "pdframe", "sync", "deal_p") == ["deal_products"]
    assert completed(script, tmp_path, "pdframe", "export", "bi", "stage_") == ["stage_visits"]
    assert completed(script, tmp_path, "pdframe", "sync", "deals", "stage_") == []
    assert "tasks" not in completed(script, tmp_path, "pdframe", "fields", "")
    assert completed(script, tmp_path, "pdframe", "fleet", "sy") == ["sync"]
    assert completed(script, tmp_path, "pdframe", "fleet", "sync", "cl") == ["clients.toml"]
    assert completed(script, tmp_path, "pdframe", "export", "bi") == ["bi"]
    assert "parquet" in completed(script, tmp_path, "pdframe", "export", "bi", "--format", "")
    assert completed(script, tmp_path, "pdframe", "sync", "--cache-dir", "b") == ["bi"]
    assert completed(script, tmp_path, "pdframe", "fields", "--company", "") == []
    assert completed(script, tmp_path, "pdframe", "report", "cl") == ["clients.toml"]
    assert completed(script, tmp_path, "pdframe", "report", "--th") == ["--theme"]
    assert completed(script, tmp_path, "pdframe", "report", "--theme", "") == ["light", "dark"]
    assert completed(script, tmp_path, "pdframe", "report", "--rates", "") == ["ecb"]
    assert completed(script, tmp_path, "pdframe", "report", "--period", "") == []
    assert completed(script, tmp_path, "pdframe", "dance", "") == []


def test_json_and_zsh(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["shell"] == "zsh"
    assert "bashcompinit" in row["script"]
    with pytest.raises(SystemExit) as stopped:
        main(["completion", "fish"])
    assert stopped.value.code == 2

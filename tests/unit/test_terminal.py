"""What a terminal shows: lines that fit it, numbers to the right, no character that it would
obey.
"""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pdframe._terminal import table_text

FRAME = pd.DataFrame(
    {
        "id": pd.Series([1, 20], dtype="Int64"),
        "title": ["Plain", "見積もり依頼 in a longer title"],
        "value": [1.5, None],
        "when": pd.Series(["2026-06-30 12:00", None], dtype="datetime64[us, UTC]"),
        "labels": [["Hot", "New"], None],
        "code": ["a" * 40, "b" * 40],
    }
)


def test_a_table_as_wide_as_it_is() -> None:
    assert table_text(FRAME, complete=["code"]).split("\n") == [
        "id  title                         value  when              labels    code",
        f" 1  Plain                          1.50  2026-06-30 12:00  Hot, New  {'a' * 40}",
        f"20  見積もり依頼 in a longer ti…                                     {'b' * 40}",
    ]


def test_a_table_in_a_narrow_terminal_cuts_text_and_never_a_number_a_time_or_a_hash() -> None:
    lines = table_text(FRAME, complete=["code"], width=92).split("\n")
    assert lines[1].split() == [
        "1",
        "Plain",
        "1.50",
        "2026-06-30",
        "12:00",
        "Hot,",
        "New",
        "a" * 40,
    ]
    assert lines[2].startswith("20 見積もり依頼 in…")
    for text in lines:
        assert len(text) + sum("぀" <= mark <= "鿿" for mark in text) <= 92


def test_what_a_terminal_would_obey_is_blank() -> None:
    evil = pd.DataFrame([["\x1b[2J", "a\nb", "\u202egpj"]], columns=["x\x1b", "x\x9b", "y"])
    shown = table_text(evil)
    assert shown.count("\n") == 1
    assert shown.replace("\n", "").isprintable()
    assert shown.split("\n")[1].split() == ["[2J", "a", "b", "gpj"]


def test_two_columns_that_are_alike_are_both_shown() -> None:
    assert table_text(pd.DataFrame([["one", "two"]], columns=["x\x00", "x\x01"])).split("\n")[
        1
    ].split() == ["one", "two"]


def run(*arguments: str, cache_dir: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "pdframe", *arguments, "--cache-dir", str(cache_dir)]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, check=False
    )


def test_no_bar_no_control_character_and_no_error_where_the_output_is_piped(tmp_path: Path) -> None:
    done = run("demo", "--deals", "60", cache_dir=tmp_path, PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 0
    assert done.stderr == b""
    assert b"\r" not in done.stdout
    assert b"\x1b" not in done.stdout


def test_a_reader_that_has_enough_ends_the_run_without_a_traceback(tmp_path: Path) -> None:
    command = (
        f"'{sys.executable}' -u -m pdframe demo --deals 60 --cache-dir '{tmp_path}' | head -n 1"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, check=False
    )
    assert done.returncode == 141
    assert done.stdout.startswith(b"A synthetic company")
    assert done.stderr == b""


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_in_a_terminal_every_line_fits(tmp_path: Path, columns: int) -> None:
    pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")
    }
    command = [
        sys.executable,
        "-m",
        "pdframe",
        "demo",
        "--deals",
        "60",
        "--quiet",
        "--cache-dir",
        str(tmp_path),
    ]
    said = b""
    with subprocess.Popen(
        command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    ) as process:
        os.close(theirs)
        # Reading fails once the writer is closed.
        with contextlib.suppress(OSError):
            while part := os.read(ours, 65_536):
                said += part
        assert process.wait() == 0
    os.close(ours)
    lines = [line for line in said.decode().split("\r\n") if str(tmp_path) not in line]
    assert len(lines) > 50
    assert not [line for line in lines if len(line) > columns]

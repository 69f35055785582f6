"""The script of docs/how-to/every-morning.md: killed once in each command, the next run completes.

`kill -9` comes as the command replaces a file: at a table of the sync, at the page of the report,
at a file of the export.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pdframe
from pdframe import sandbox
from tests.helpers.readme import ROOT

PAGE = ROOT / "docs" / "how-to" / "every-morning.md"
COMMAND = """\
#!{python}
import os, signal, sys
sys.path.insert(0, {root!r})
command, _, name = os.environ.get("KILLED", "").partition(":")
replace = os.replace
def replacing(source, target, **how):
    if sys.argv[1] == command and name in os.fspath(target):
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(source, target, **how)
os.replace = replacing
from pdframe.cli import main
sys.exit(main())
"""


SAYS = """\
#!/bin/sh
echo "$@" >>"$HOME/ran"
eval exit "\\${$1:-0}"
"""


def script() -> str:
    """Return the script that the page shows."""
    (shown,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(shown)


class Morning:
    """Runs the script as cron does, in a home of its own."""

    def __init__(self, account: sandbox.SandboxAccount, home: Path) -> None:
        self.folder = home / "pipedrive"
        self._home = home
        (home / "bin").mkdir()
        self.folder.mkdir()
        command = home / "bin" / "pdframe"
        command.write_text(COMMAND.format(python=sys.executable, root=str(ROOT)))
        command.chmod(0o700)
        (self.folder / "every-morning.sh").write_text(script())
        (self.folder / "credentials").write_text(
            f"export PIPEDRIVE_BASE_URL={account.server.url}"
            f" PIPEDRIVE_API_TOKEN={account.server.token} PDFRAME_CACHE_DIR=cache\n"
        )

    def run(self, killed: str = "") -> int:
        """Run the script; return its exit code."""
        variables = {
            "HOME": str(self._home),
            "PATH": f"{self._home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "KILLED": killed,
        }
        return subprocess.run(
            ["sh", str(self.folder / "every-morning.sh")],
            env=variables,
            cwd="/",
            capture_output=True,
            check=False,
            timeout=500,
        ).returncode

    def json(self, command: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads((self.folder / f"{command}.json").read_text())
        return shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "name"), [("sync", "manifest"), ("report", "report.html"), ("export", "bi/deals")]
)
def test_the_next_morning_completes_what_was_killed(
    account: sandbox.SandboxAccount, tmp_path: Path, command: str, name: str
) -> None:
    morning = Morning(account, tmp_path)
    page = morning.folder / "report.html"
    if command != "sync":
        assert morning.run() == 0
        earlier = page.read_bytes()
        account.company_model.win_deal(_open_deal(account))
        account.advance(days=1)

    assert morning.run(f"{command}:{name}") == 1
    assert (morning.folder / f"{command}.json").read_bytes() == b""
    if command == "report":
        assert page.read_bytes() == earlier
        (half,) = morning.folder.glob(".report.html.*")
        # Another process could be writing a younger one.
        long_ago = half.stat().st_mtime - 7200
        os.utime(half, (long_ago, long_ago))

    # What a completed morning leaves behind does no harm to the next: once is enough to see it.
    for _ in range(2 if command == "export" else 1):
        assert morning.run() == 0
        synced, reported, exported = map(morning.json, ("sync", "report", "export"))
        assert {one["exit_code"] for one in (synced, reported, exported)} == {0}
        assert {one["error"] for one in (synced, reported, exported)} == {None}
        rows = {row["table"]: row["rows"] for row in synced["rows"]}
        assert rows["deals"] == len(account.deals(refresh=True, labels=False))
        assert {row["table"]: row["rows"] for row in exported["rows"]}["deals"] == rows["deals"]
        assert reported["totals"]["file"] == str(page)
        assert page.read_text("utf-8").endswith("</html>\n")
        assert page.stat().st_mode & 0o777 == 0o600
        assert pdframe.export_check(morning.folder / "bi")
        # Nothing of the killed command is left over.
        assert {path.name for path in morning.folder.iterdir()} == {
            *("bi", "cache", "credentials", "every-morning.sh", "report.html"),
            *("sync.json", "report.json", "export.json"),
        }


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("codes", "ran", "code"),
    [
        ({}, ["sync", "report", "export"], 0),
        # What was unavailable is no reason not to report and export the rest.
        ({"sync": "3", "export": "3"}, ["sync", "report", "export"], 0),
        ({"sync": "1"}, ["sync"], 1),
        ({"report": "1"}, ["sync", "report", "export"], 1),
        ({"report": "3"}, ["sync", "report", "export"], 1),
        ({"export": "1"}, ["sync", "report", "export"], 1),
    ],
)
def test_the_script_goes_on_where_it_can_and_its_exit_code_tells(
    tmp_path: Path, codes: dict[str, str], ran: list[str], code: int
) -> None:
    """A command that does nothing but end with an exit code stands for pdframe."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "pdframe"
    command.write_text(SAYS)
    command.chmod(0o700)
    folder = tmp_path / "pipedrive"
    folder.mkdir()
    (folder / "credentials").write_text("")
    (folder / "every-morning.sh").write_text(script())
    done = subprocess.run(
        ["sh", str(folder / "every-morning.sh")],
        env={"HOME": str(tmp_path), "PATH": f"{command.parent}:{os.environ['PATH']}", **codes},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (code, "")
    lines = (tmp_path / "ran").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ran
    assert all({"--quiet", "--json"} <= set(line.split()) for line in lines)
    for name in ran:
        assert (folder / f"{name}.json").stat().st_mode & 0o777 == 0o600


def _open_deal(account: sandbox.SandboxAccount) -> int:
    rows = account.company_model.tables["deals"].values()
    return next(
        int(row["id"])
        for row in rows
        if row["status"] == "open" and not row["is_archived"] and not row["is_deleted"]
    )

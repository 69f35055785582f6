"""The command line does what it says and exits 0 only when all of it was done."""

from __future__ import annotations

import re
import signal
import sys
import threading
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from pdframe import sandbox
from pdframe._command_line import typed_command
from pdframe.cli import main
from tests.helpers.faults_by_path import ctrl_c_interrupts
from tests.helpers.proxy import refusing, through_proxy

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(
    account: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> sandbox.SandboxAccount:
    monkeypatch.setenv("PIPEDRIVE_BASE_URL", account.server.url)
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", account.server.token)
    monkeypatch.setenv("PDFRAME_CACHE_DIR", str(tmp_path))
    return account


def test_demo_shows_the_complete_path(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(made_script(tmp_path / "bin")))
    assert main(["demo", "--deals", "1200", "--quiet", "--cache-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    first, second = (
        int(tokens.replace(",", ""))
        for tokens in re.findall(r"requests, ([\d,]+) API tokens", said)
    )
    assert 0 < second < first
    assert "from the cache: 0 tokens" in said
    assert str(tmp_path / "showcase-seed7-1200") in said
    report = tmp_path / "pdframe-demo-report.html"
    assert f"Open in a browser: {report.as_uri()}" in said
    assert report.stat().st_mode & 0o777 == 0o600
    assert "Kaskaad" in report.read_text("utf-8")
    assert said.splitlines()[-1].strip() == "pdframe notebooks pdframe-notebooks"


def made_script(folder: Path) -> Path:
    """Make a folder with a `pdframe` that a shell would run."""
    folder.mkdir(parents=True)
    (folder / "pdframe").touch(0o755)
    return folder


def test_a_command_is_shown_as_a_shell_finds_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scripts = made_script(tmp_path / "of mine" / ".venv" / "bin")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(scripts))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(scripts))
    assert typed_command() == "pdframe"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert typed_command() == "'of mine/.venv/bin/pdframe'"
    monkeypatch.chdir(tmp_path / "of mine")
    assert typed_command() == ".venv/bin/pdframe"
    monkeypatch.chdir(scripts)
    assert typed_command() == "./pdframe"
    monkeypatch.chdir("/")
    (scripts / "pdframe").unlink()
    assert typed_command() == f"{sys.executable} -m pdframe"


def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("usage: pdframe")
    assert "write one HTML page" in err


def test_sync_and_status(
    environment: sandbox.SandboxAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == 0
    assert "Nothing is cached yet" in capsys.readouterr().out
    assert main(["sync", "stages", "pipelines", "--quiet"]) == 0
    assert re.search(r"stages +full +12", capsys.readouterr().out)
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"stages +12", said)
    assert re.search(r"Not cached: deals, .*activity_fields", said)


def test_a_sync_that_finishes_an_interrupted_one_is_a_success(
    environment: sandbox.SandboxAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.server.faults = sandbox.Faults(at={5: "success_false_200"})
    assert main(["sync", "stages", "pipelines", "products", "--quiet"]) == 1
    environment.server.faults = None
    assert main(["sync", "stages", "pipelines", "products", "--quiet"]) == 0


def test_fields(environment: sandbox.SandboxAccount, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fields", "deals"]) == 0
    assert "Deal type" in capsys.readouterr().out


def test_fields_shows_complete_hashes(
    environment: sandbox.SandboxAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fields", "deals"]) == 0
    said = capsys.readouterr().out
    for field in environment.company_model.fields["deal"]:
        assert f" {field['field_code']} " in said


@pytest.mark.parametrize(
    ("command", "option"), [(["demo"], "--deals"), (["fleet", "sync", "x.toml"], "--workers")]
)
@pytest.mark.parametrize("given", ["-5", "many", "2.5"])
def test_what_is_no_number_of_deals_or_workers_is_refused(
    capsys: pytest.CaptureFixture[str], command: list[str], option: str, given: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*command, f"{option}={given}"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith(
        f"error: argument {option}: must be a whole number, 0 or more, not {given!r}."
    )


def test_a_command_that_takes_no_words_asks_for_no_quotes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["status", "deals"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith("error: unrecognized arguments: deals\n")


def test_a_failure_is_one_line_and_not_zero(
    environment: sandbox.SandboxAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.server.faults = sandbox.Faults(at={2: "success_false_200"})
    assert main(["sync", "stages", "--quiet"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pdframe: ResponseError: ")


@pytest.mark.parametrize("command", [["sync"], ["estimate"], ["fields"], ["export", "bi"]])
def test_a_mistyped_table_needs_no_credentials(
    capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main([*command, "dealz"]) == 2
    assert "Did you mean 'deals'" in capsys.readouterr().err


def test_a_label_instead_of_a_table_names_the_table_that_has_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["fields", "Deal type"]) == 2
    assert "Did you mean 'deals'?" in capsys.readouterr().err


def test_an_interrupted_sync_says_that_the_next_one_resumes(
    environment: sandbox.SandboxAccount,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(path: str, params: object) -> None:
        if path.endswith("/stages"):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            environment.server.before_request = None

    environment.server.before_request = interrupt
    with ctrl_c_interrupts():
        assert main(["sync", "pipelines", "stages", "--quiet"]) == 130
    assert "saved pages are kept; the next sync resumes" in capsys.readouterr().err


def test_no_credentials_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sync"]) == 1
    assert "PIPEDRIVE_API_TOKEN" in capsys.readouterr().err


def test_a_table_requested_and_unavailable_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with sandbox.connect(
        seed=3, deals=60, company="hostile", plan="Lite", burst=100_000, progress=False
    ) as account:
        monkeypatch.setenv("PIPEDRIVE_BASE_URL", account.server.url)
        monkeypatch.setenv("PIPEDRIVE_API_TOKEN", account.server.token)
        assert main(["sync", "installments", "--quiet", "--cache-dir", str(tmp_path)]) == 1
        assert main(["sync", "--quiet", "--cache-dir", str(tmp_path)]) == 0


def test_a_table_that_the_user_may_not_see_leaves_a_sync_partly_done_unlike_one_of_another_plan(
    environment: sandbox.SandboxAccount,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with through_proxy(environment.server, refusing("/products")) as origin:
        monkeypatch.setenv("PIPEDRIVE_BASE_URL", origin)
        assert main(["sync", "--quiet"]) == 3
        assert main(["sync", "products", "stages", "--quiet"]) == 3
        assert main(["sync", "products", "--quiet"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"^products +unavailable", said, re.MULTILINE)
    assert re.search(r"^products: .*The user may not see this\.", said, re.MULTILINE)


def test_estimate_asks_nothing(
    environment: sandbox.SandboxAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync", "deals", "--quiet"]) == 0
    requested = environment.server.stats.requests
    assert main(["estimate", "deals", "--full"]) == 0
    said = capsys.readouterr().out
    assert "every page: " in said
    assert "4 requests, 50 API tokens" in said
    assert main(["estimate", "dealz"]) == 2
    assert environment.server.stats.requests == requested


def test_control_characters_from_the_crm_do_not_reach_the_terminal(
    environment: sandbox.SandboxAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.company_model.add_field("deal", "evil \x1b[2J label", "varchar")
    assert main(["fields", "deals"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_an_export_without_a_folder_names_the_folder_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["export"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.endswith("arguments are required: DIR\n")


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["demo"],
        ["notebooks"],
        ["sync"],
        ["status"],
        ["estimate"],
        ["export"],
        ["fields"],
        ["report"],
    ],
)
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    assert "usage: pdframe" in capsys.readouterr().out


def test_notebooks_are_written_once_and_edited_ones_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "of mine"
    assert main(["notebooks", str(folder)]) == 0
    said = capsys.readouterr().out
    sources = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert [path.name for path in sorted(folder.iterdir())] == [path.name for path in sources]
    assert f"jupyter lab '{folder / sources[0].name}'" in said
    assert main(["notebooks", str(folder)]) == 0
    edited, gap = folder / sources[1].name, folder / sources[2].name
    edited.write_text("mine")
    gap.unlink()
    capsys.readouterr()
    assert main(["notebooks", str(folder)]) == 2
    said = capsys.readouterr().err
    assert f"{folder} holds other files named {edited.name}." in said
    assert "--overwrite" in said
    assert edited.read_text() == "mine"
    assert not gap.exists()
    assert main(["notebooks", str(folder), "--overwrite"]) == 0
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == [
        path.read_bytes() for path in sources
    ]


def test_notebooks_need_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["notebooks", str(tmp_path / "file")]) == 2
    assert "cannot be written into" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"pdframe {version('pdframe')}\n"


def test_export_writes_a_file_a_table(
    environment: sandbox.SandboxAccount, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "for bi"
    assert (
        main(["export", str(folder), "stages", "deals", "--quiet", "--format", "csv", "--names"])
        == 0
    )
    said = capsys.readouterr().out
    assert re.search(r"stages +12 +stages\.csv", said)
    assert said.strip().endswith(str(folder))
    assert "owner_name" in (folder / "deals.csv").read_text(encoding="utf-8-sig").partition("\n")[0]
    assert main(["export", str(folder), "--quiet"]) == 0
    assert len(list(folder.glob("*.parquet"))) == 16
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "stages.parquet").write_text("mine")
    assert main(["export", str(tmp_path / "other"), "stages"]) == 2
    assert "which no export of this account wrote" in capsys.readouterr().err


def test_an_export_of_everything_is_partly_done_without_a_permission_and_done_without_a_plan(
    environment: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for status, code in ((403, 3), (402, 0)):
        with through_proxy(environment.server, refusing("/tasks", status=status)) as origin:
            monkeypatch.setenv("PIPEDRIVE_BASE_URL", origin)
            assert main(["export", str(tmp_path / "bi"), "--quiet"]) == code


def test_changes_lists_and_counts_what_happened(
    environment: sandbox.SandboxAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    company = environment.company_model
    assert main(["sync", "deals", "--quiet"]) == 0
    deals = [row for row in company.tables["deals"].values() if row["status"] == "open"]
    deals = [row for row in deals if not row["is_archived"] and not row["is_deleted"]]
    environment.advance(days=0.5)
    won, hostile = deals[0]["id"], deals[1]["id"]
    company.win_deal(won)
    company.edit_deal(hostile, title="\x1b[31m<b>red</b>\u202e")
    company.lose_deal(hostile)
    assert main(["sync", "deals", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["changes", "3", "hours", "ago", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^event +currency +count +deals +value +value_change$", said, re.MULTILINE)
    assert re.search(r"^won +[A-Z]{3} +1 +1 ", said, re.MULTILINE)
    assert re.search(rf"^2026-07-01 0\d:\d\d +won +open +won .* {won} ", said, re.MULTILINE)
    assert re.search(rf"lost .* {hostile} +.\[31m<b>red</b>", said)
    assert not {"\x1b", "\u202e"} & set(said)
    assert "deals since 3 hours ago. Times are Europe/Tallinn." in said


def test_changes_of_nothing_says_so(
    environment: sandbox.SandboxAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sync", "deals", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["changes", "now", "--quiet"]) == 0
    assert capsys.readouterr().out == "Nothing happened to deals since now.\n"


def test_changes_of_a_fresh_account_are_what_is_known_and_say_so(
    environment: sandbox.SandboxAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["changes", "--quiet"]) == 0
    said = capsys.readouterr()
    company = environment.company_model
    week = datetime(2026, 6, 22, 21, tzinfo=UTC)  # midnight in Tallinn, 7 days before
    created = [
        row["id"]
        for row in company.tables["deals"].values()
        if datetime.fromisoformat(row["add_time"]) >= week and not row["is_deleted"]
    ]
    assert created
    events = [line.split() for line in said.out.splitlines()]
    assert sum(" ".join(line[2:3]) == "created" for line in events) == len(created)
    assert "is before the first snapshot of deals" in said.err
    assert "Listed is what is known." in said.err
    # Advice in Python, and attributes of frames, are of no use in a shell.
    assert "account." not in said.err
    assert "attrs" not in said.err


def test_a_mistyped_time_needs_no_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["changes", "last", "Mondy"]) == 2
    assert "Did you mean 'last Monday'?" in capsys.readouterr().err
    assert main(["changes", "yesterday", "--until", "tody"]) == 2
    assert "until='tody' is not a time. Did you mean 'today'?" in capsys.readouterr().err

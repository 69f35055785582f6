"""`--json`: one object on standard output, whatever happens, and an exit code that fits it."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import metrics, sandbox
from pdframe.cli import main
from tests.helpers.faults_by_path import ctrl_c_interrupts
from tests.helpers.proxy import refusing, through_proxy

KEYS = ["command", "exit_code", "rows", "totals", "notes", "error"]


@pytest.fixture
def environment(
    account: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[sandbox.SandboxAccount]:
    monkeypatch.setenv("PIPEDRIVE_BASE_URL", account.server.url)
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", account.server.token)
    monkeypatch.setenv("PDFRAME_CACHE_DIR", str(tmp_path / "cache"))
    return account


class Command:
    """Runs a command with `--json`; keeps what it printed on standard error."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.err = ""

    def __call__(self, *arguments: str) -> dict[str, Any]:
        try:
            code = main([*arguments, "--json"])
        except SystemExit as stopped:
            code = stopped.code
        out, self.err = self._capsys.readouterr()
        return checked(out, code)


def checked(out: str, code: object) -> dict[str, Any]:
    """Return the object of an output that is one line, and whose exit code is the process's."""
    (line,) = out.splitlines()
    assert line.isascii()
    shown: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    assert list(shown) == KEYS
    assert shown["exit_code"] == code
    return shown


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def test_rows_and_totals_are_those_of_the_account(
    environment: sandbox.SandboxAccount, run: Command, tmp_path: Path
) -> None:
    synced = run("sync", "stages", "deals")
    by_table = {row["table"]: row for row in synced["rows"]}
    assert by_table["stages"]["rows"] == 12
    assert by_table["stages"]["mode"] == "full"
    assert by_table["stages"]["missing"] is None
    stats = environment.server.stats
    assert synced["totals"]["tables"] == len(synced["rows"])
    assert synced["error"] is None
    # The account itself is asked for once, at two tokens.
    assert synced["totals"]["requests"] == stats.requests - 1
    assert synced["totals"]["tokens"] == stats.tokens - 2

    status = run("status")
    (stages,) = [row for row in status["rows"] if row["table"] == "stages"]
    assert stages["rows"] == 12
    assert datetime.fromisoformat(stages["synced_at"]).tzinfo == UTC
    assert "activities" in status["totals"]["not_cached"]
    assert Path(status["totals"]["cache"]).is_dir()

    estimate = run("estimate", "stages")
    assert estimate["rows"][0] | {"basis": ""} == {
        "table": "stages", "requests": 1, "tokens": 5, "basis": "",
    }  # fmt: skip
    assert estimate["totals"]["tokens_today"] == stats.tokens

    fields = run("fields", "deals")
    codes = {row["code"] for row in fields["rows"]}
    assert codes >= {field["field_code"] for field in environment.company_model.fields["deal"]}
    assert fields["totals"]["fields"] == len(fields["rows"])

    exported = run("export", str(tmp_path / "bi"), "stages")
    assert exported["rows"][0]["path"] == str(tmp_path / "bi" / "stages.parquet")
    # Tables after an option, too.
    again = run("export", str(tmp_path / "bi2"), "--format", "csv", "stages", "pipelines")
    assert [row["table"] for row in again["rows"]] == ["stages", "pipelines"]
    assert exported["totals"]["rows"] == 12
    assert exported["totals"]["bytes"] == (tmp_path / "bi" / "stages.parquet").stat().st_size

    report = tmp_path / "report.html"
    written = run("report", str(report), "--period", "2026-Q2")
    assert written["rows"] == [{"file": str(report), "bytes": report.stat().st_size}]
    assert written["totals"] == {"file": str(report), "bytes": report.stat().st_size}
    items = re.findall(r"<li>(.*?)</li>", report.read_text("utf-8").partition('id="notes"')[2])
    on_page = {html.unescape(item) for item in items}
    assert "Forecast" in {note.split(": ")[0] for note in written["notes"]}
    assert on_page
    assert on_page <= {note.partition(": ")[2] for note in written["notes"]}
    assert run.err.count("note: ") == len(written["notes"])
    figures = [key_figures(report)]
    in_euros = run("report", str(report), "--period", "2026-Q2", "--rates", "ecb")
    assert in_euros["exit_code"] == 0
    figures.append(key_figures(report))
    assert "EUR" in figures[1]
    assert figures[0] != figures[1]
    in_dollars = run("report", str(report), "--period", "2026-Q2", "--rates", "ecb:USD")
    assert in_dollars["exit_code"] == 0
    assert "Won, USD" in key_figures(report)
    # Of the sums: each win at the rate of its day, and dollars as they are.
    assert f"{won_in_dollars(environment):,.0f}" in key_figures(report)
    wrong = run("report", str(report), "--cancellations", "Cancelation date")
    assert wrong["exit_code"] == 2
    assert "Did you mean 'Cancellation date'?" in wrong["error"]["message"]


def won_in_dollars(account: sandbox.SandboxAccount) -> float:
    """What was won in the second quarter, each win by the last rate up to its day."""
    deals = account.deals(columns=["status", "value", "currency", "local_won_date"])
    won = deals[
        (deals["status"] == "won") & deals["local_won_date"].between("2026-04", "2026-06-30")
    ]
    won = won.sort_values("local_won_date")
    rates = metrics.ecb_rates("USD").sort_values("date")
    priced = pd.merge_asof(won, rates, left_on="local_won_date", right_on="date", by="currency")
    return float((priced["value"] * priced["rate"]).sum())


def key_figures(page: Path) -> str:
    """Return the first figures of a page."""
    return page.read_text("utf-8").partition('<dl class="figures">')[2].partition("</dl>")[0]


def test_changes_are_complete_and_keep_every_character(
    environment: sandbox.SandboxAccount, run: Command
) -> None:
    company = environment.company_model
    run("sync", "deals")
    deals = [row for row in company.tables["deals"].values() if row["status"] == "open"]
    deals = [row for row in deals if not row["is_archived"] and not row["is_deleted"]]
    environment.advance(days=0.5)
    title = "\x1b[31m<b>\u202e Ærlig\n\U0001f600"
    company.edit_deal(deals[0]["id"], title=title)
    company.win_deal(deals[0]["id"])
    run("sync", "deals")
    changes = run("changes", "3", "hours", "ago")
    (won,) = [
        row for row in changes["rows"] if row["deal_id"] == deals[0]["id"] and row["event"] == "won"
    ]
    assert won["title"] == title
    assert changes["totals"]["events"] == len(changes["rows"])
    assert changes["totals"]["tz"] == "Europe/Tallinn"
    counted = sum(row["count"] for row in changes["totals"]["summary"] if row["event"] == "won")
    assert counted == sum(row["event"] == "won" for row in changes["rows"])


def test_demo_and_notebooks_print_one_object_too(run: Command, tmp_path: Path) -> None:
    demo = run("demo", "--deals", "40", "--cache-dir", str(tmp_path / "demo"))
    assert {row["sync"] for row in demo["rows"]} == {"first", "a week later"}
    assert Path(demo["totals"]["report"]).read_text("utf-8").endswith("</html>\n")
    assert demo["totals"]["first_tokens"] > demo["totals"]["second_tokens"] > 0
    notebooks = run("notebooks", str(tmp_path / "notebooks"))
    written = sorted(map(str, (tmp_path / "notebooks").iterdir()))
    assert [row["file"] for row in notebooks["rows"]] == written
    assert notebooks["totals"] == {"files": len(written)}


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (["sync", "dealz"], "ArgumentError", "Did you mean 'deals'"),
        (["export", "bi", "deal_fields"], "ArgumentError", "is metadata and not exported"),
        (["report", "page.pdf"], "ArgumentError", "must end in .html"),
        (["report", "no/page.html"], "ArgumentError", "has no folder"),
        (["report", "page.html", "--period", "2026-Q5"], "ArgumentError", "is not a period"),
        (["report", "page.html", "--theme", "blue"], "UsageError", "invalid choice: 'blue'"),
        (["report"], "UsageError", "the following arguments are required: FILE"),
        (["changes", "last", "Mondy"], "ArgumentError", "Did you mean 'last Monday'"),
        (["sync", "--company", "a b"], "ArgumentError", "The company is its name alone"),
        (["fields"], "UsageError", "the following arguments are required: TABLE"),
        (["dance"], "UsageError", "invalid choice: 'dance'"),
        (["snyc"], "UsageError", "Did you mean 'sync'?"),
        (["export", "bi", "--format", "cvs"], "UsageError", "Did you mean 'csv'?"),
        (["report", "page.html", "--perod", "2026"], "UsageError", "Did you mean '--period'?"),
        (["report", "page.html", "--period", "Q2"], "ArgumentError", "-Q2'?"),
        (["report", "/proc/page.html"], "ArgumentError", "'/proc/page.html'"),
        (["report", "a.html", "--rates", "fed"], "UsageError", "invalid choice: 'fed'"),
        (["report", "a.html", "--rates", "usd"], "UsageError", "Did you mean 'ecb:USD'?"),
        (["help"], "UsageError", "Write pdframe --help."),
        (["forecast"], "UsageError", "account.forecast('this quarter')"),
        (["dashboard"], "UsageError", "account.dashboard()"),
        (["export", "bi", "--format", "excel"], "UsageError", "Did you mean 'xlsx'?"),
        (["export", "bi", "--format", "csv", "dealz"], "ArgumentError", "Did you mean 'deals'?"),
        (["export", "bi", "deals", "--cache-dir", "my", "cache"], "UsageError", '"my cache"'),
        (["report", "a.html", "--rates", "ecb:"], "UsageError", "invalid choice: 'ecb:'"),
        (["report", "a.html", "--rates", "ecb:XXX"], "ArgumentError", "never quoted XXX"),
        (["export", "bi", "--rates", "ecb:usd"], "UsageError", "Write ecb"),
        (
            ["report", "a.html", "--period", "last", "quarter"],
            "UsageError",
            'Quote a value of several words: --period "last quarter"',
        ),
        (
            ["report", "a.html", "--period=last", "quarter"],
            "UsageError",
            'Quote a value of several words: --period "last quarter"',
        ),
        (
            ["report", "--period", "last", "month", "a.html"],
            "UsageError",
            'Quote a value of several words: --period "last quarter"',
        ),
        (["fields", "Deal", "type"], "UsageError", "Quote a value of several words"),
        (["sync", "--token", "0" * 40], "UsageError", "PIPEDRIVE_API_TOKEN"),
        (["--api-token", "0" * 40, "sync"], "UsageError", "PIPEDRIVE_API_TOKEN"),
        (["fleet", f"--api_token={'0' * 40}"], "UsageError", "PIPEDRIVE_API_TOKEN"),
        (["sync", f"PIPEDRIVE_API_TOKEN={'0' * 40}"], "UsageError", "PIPEDRIVE_API_TOKEN"),
        ([], "UsageError", "the following arguments are required: COMMAND"),
    ],
)
def test_a_mistake_of_the_caller_exits_2_before_credentials(
    monkeypatch: pytest.MonkeyPatch, run: Command, arguments: list[str], kind: str, said: str
) -> None:
    if "--company" in arguments:
        monkeypatch.setenv("PIPEDRIVE_API_TOKEN", "0" * 40)
    shown = run(*arguments)
    assert shown["exit_code"] == 2
    assert shown["error"]["type"] == kind
    assert said in shown["error"]["message"]
    assert said in run.err
    assert "0" * 40 not in json.dumps(shown) + run.err


def test_rates_without_their_extra_exit_2_before_credentials(
    monkeypatch: pytest.MonkeyPatch, run: Command
) -> None:
    monkeypatch.setitem(sys.modules, "currency_converter", None)
    shown = run("report", "page.html", "--rates", "ecb")
    assert shown["exit_code"] == 2
    assert 'pip install "pdframe[ecb]"' in shown["error"]["message"]


def test_no_credentials_is_a_failure(run: Command) -> None:
    shown = run("sync")
    assert (shown["exit_code"], shown["error"]["type"]) == (1, "CredentialsError")
    assert shown["rows"] == []


def test_a_failure_says_what_is_kept(environment: sandbox.SandboxAccount, run: Command) -> None:
    environment.server.faults = sandbox.Faults(at={3: "success_false_200"})
    shown = run("sync", "stages", "pipelines")
    assert shown["exit_code"] == 1
    assert shown["error"]["type"] == "ResponseError"
    assert shown["error"]["kept"].startswith("Kept: ")
    assert shown["error"]["resume_at"] is None
    assert shown["error"]["kept"] in run.err


def test_a_table_without_permission_is_partly_done(
    environment: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch, run: Command
) -> None:
    with through_proxy(environment.server, refusing("/products")) as origin:
        monkeypatch.setenv("PIPEDRIVE_BASE_URL", origin)
        shown = run("sync", "products", "stages")
    assert shown["exit_code"] == 3
    assert {row["table"]: row["missing"] for row in shown["rows"]}["products"] == "permission"
    assert shown["error"]["type"] == "AccessError"
    assert shown["error"]["message"].startswith("products: ")


def test_out_of_budget_says_when_to_come_back(
    environment: sandbox.SandboxAccount, run: Command
) -> None:
    environment.server.settings.daily_tokens = 10
    shown = run("sync", "stages", "pipelines", "products")
    assert (shown["exit_code"], shown["error"]["type"]) == (4, "BudgetError")
    resume_at = datetime.fromisoformat(shown["error"]["resume_at"])
    assert resume_at > datetime.now(UTC)
    environment.server.settings.daily_tokens = 100_000
    assert main(["status", "--json"]) == 0


def test_a_report_out_of_budget_is_of_the_cache_and_says_when_to_come_back(
    environment: sandbox.SandboxAccount,
    monkeypatch: pytest.MonkeyPatch,
    run: Command,
    tmp_path: Path,
) -> None:
    assert run("sync")["exit_code"] == 0
    monkeypatch.setattr("pdframe._commands.connect", partial(pdframe.connect, max_age=0))
    environment.server.settings.daily_tokens = 10
    page = tmp_path / "page.html"
    shown = run("report", str(page), "--period", "2026-Q2")
    environment.server.settings.daily_tokens = 100_000
    assert (shown["exit_code"], shown["error"]["type"]) == (4, "BudgetError")
    assert datetime.fromisoformat(shown["error"]["resume_at"]) > datetime.now(UTC)
    assert shown["totals"]["bytes"] == page.stat().st_size
    assert "Not refreshed: figures of the cache, " in page.read_text("utf-8")
    assert run.err.count("Not refreshed: figures of the cache, ") == 1


def test_an_interruption_is_an_object_too(
    environment: sandbox.SandboxAccount, run: Command
) -> None:
    def interrupt(path: str, params: Mapping[str, str]) -> None:
        if path.endswith("/stages"):
            environment.server.before_request = None
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    environment.server.before_request = interrupt
    with ctrl_c_interrupts():
        shown = run("sync", "pipelines", "stages", "--quiet")
    assert (shown["exit_code"], shown["error"]["type"]) == (130, "Interrupted")
    assert "the next sync resumes" in shown["error"]["message"]


def test_an_error_that_nothing_expects_is_an_object_and_a_traceback(
    environment: sandbox.SandboxAccount,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(self: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("pdframe.account.Account.status", fail)
    with pytest.raises(ZeroDivisionError):
        main(["status", "--json"])
    shown = checked(capsys.readouterr().out, 1)
    assert shown["error"]["type"] == "ZeroDivisionError"
    assert "secret" not in json.dumps(shown)


def test_verbose_logs_requests_on_standard_error_without_the_token(
    environment: sandbox.SandboxAccount, run: Command
) -> None:
    assert run("sync", "stages")["exit_code"] == 0
    assert run.err == ""
    assert run("sync", "stages", "-v")["exit_code"] == 0
    assert "/stages" in run.err
    assert "HTTP 200" in run.err
    assert environment.server.token not in run.err


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("how", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(
    "command",
    [("status",), ("completion", "bash"), ("--version",), ("--help",), ("sync", "--help")],
    ids=" ".join,
)
def test_a_full_disk_is_said_in_one_line(
    account: sandbox.SandboxAccount,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    how: tuple[str, ...],
    unbuffered: str,
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    # Without a buffer the text itself fails, not only the flush at the end.
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with full.open("w") as output:
        started = process(account.server, tmp_path, *command, *how, output=output)
        code, _, err = ended(started)
    assert code == 1
    assert err == "pdframe: The output could not be written: No space left on device.\n"


def test_a_closed_output_is_no_error(
    environment: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `pdframe sync >&-` starts it, and many a daemon."""
    for command in (["sync", "stages"], ["status"], ["status", "--json"]):
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, None)
        assert main(command) == 0
        sys.stdout.close()
        sys.stderr.close()


def test_no_file_takes_the_number_of_a_closed_stream() -> None:
    """As a daemon may start it, with nothing open."""
    code = "import os; from pdframe.cli import main; main(['status', '--help'])"
    read, write = os.pipe()
    said = f"os.write({write}, str(os.open(os.devnull, os.O_RDONLY)).encode())"
    program = f"try:\n    {code}\nexcept SystemExit:\n    {said}"
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec {sys.executable} -c "$0" <&- >&- 2>&-', program],
        check=False,
        pass_fds=[write],
    )
    os.close(write)
    with os.fdopen(read) as answer:
        assert int(answer.read()) > 2
    assert done.returncode == 0


def process(
    server: sandbox.Server, cache: Path, *arguments: str, output: Any = subprocess.PIPE
) -> subprocess.Popen[str]:
    """Start a command in a process of its own, as cron does."""
    variables = {
        **os.environ,
        "PIPEDRIVE_BASE_URL": server.url,
        "PIPEDRIVE_API_TOKEN": server.token,
        "PDFRAME_CACHE_DIR": str(cache),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pdframe", *arguments],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
    )


def ended(started: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = started.communicate(timeout=300)
    return started.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
@pytest.mark.every_case
def test_a_cron_line_that_was_killed_completes_the_next_time(
    account: sandbox.SandboxAccount, tmp_path: Path, number: signal.Signals
) -> None:
    server, cache, bi = account.server, tmp_path / "cache", tmp_path / "bi"
    killed: list[subprocess.Popen[str]] = []

    def kill(path: str, params: Mapping[str, str]) -> None:
        if path.endswith("/activities"):
            server.before_request = None
            while not killed:
                time.sleep(0.01)
            killed[0].send_signal(number)
            if number == signal.SIGKILL:
                killed[0].wait()

    server.before_request = kill
    killed.append(process(server, cache, "sync", "--json"))
    code, out, err = ended(killed[0])
    if number == signal.SIGKILL:
        assert (code, out) == (-number, "")
    else:
        shown = checked(out, code)
        assert (code, shown["error"]["type"]) == (130, "Interrupted")
        assert "Traceback" not in err

    for run_number in (1, 2):
        code, out, err = ended(process(server, cache, "sync", "--json"))
        synced = checked(out, code)
        assert (code, err) == (0, ""), err
        tables = {row["table"]: row for row in synced["rows"]}
        code, out, err = ended(process(server, cache, "export", str(bi), "--json"))
        exported = checked(out, code)
        assert code == 0
        rows = {row["table"]: row["rows"] for row in exported["rows"]}
        assert rows["deals"] == tables["deals"]["rows"] == len(account.deals(labels=False)), (
            run_number
        )
        assert all(Path(row["path"]).is_file() for row in exported["rows"])

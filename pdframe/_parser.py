"""The parser of the command line. Imports neither pandas nor pyarrow."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

_EPILOG = """\
environment:
  PIPEDRIVE_COMPANY     the company's name: acme for https://acme.pipedrive.com
  PIPEDRIVE_API_TOKEN   a personal API token
  PIPEDRIVE_BASE_URL    an origin instead of a company
  PDFRAME_CACHE_DIR     folder of the Parquet files

exit codes:
  0    all that was asked for is done
  1    failed
  2    the command line is wrong
  3    partly done: a table or an account is unavailable
  4    out of API tokens: run it again after resume_at, and it resumes
  130  interrupted
"""


_TOKEN = re.compile(r"--?[a-z_-]*(?:token|key)(?:=|$)|PIPEDRIVE_API_TOKEN=", re.IGNORECASE)
"""A word by which a user would pass a token; no command takes one."""


_MEANT = {
    "help": ("sync", "Write pdframe --help."),
    "version": ("sync", "Write pdframe --version."),
    "excel": ("xlsx", "Did you mean 'xlsx'?"),
    "forecast": ("report", "pdframe report has it; in Python: account.forecast('this quarter')."),
    "dashboard": (
        "report",
        "It is a widget of notebooks: account.dashboard(). pdframe report writes a page.",
    ),
    "fetch": ("sync", "Did you mean 'sync'?"),
    "load": ("sync", "Did you mean 'sync'?"),
}
"""What people try, a choice that is there where they may, and what they mean."""

_RATES = re.compile(r"ecb(?::[A-Z]{3})?")


class UsageExit(SystemExit):
    """The command line cannot be parsed; the reason is printed.

    Parameters
    ----------
    message
        The reason.
    """

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print usage and reason as argparse does, and keep the reason."""
        self.print_usage(sys.stderr)
        self._print_message(f"{self.prog}: error: {message}\n", sys.stderr)
        raise UsageExit(message)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print a text; where standard output takes nothing, raise, which argparse does not."""
        if file is not None and file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is no choice, and suggest the nearest one."""
        if action.choices is not None and value not in action.choices:
            names = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                action,
                f"invalid choice: {value!r}.{_meant(str(value), names)} Choose from"
                f" {', '.join(names)}.",
            )


def _rates(given: str) -> str:
    """Check the source of exchange rates, and the common currency after it."""
    if _RATES.fullmatch(given) is None:
        raise argparse.ArgumentTypeError(
            f"invalid choice: {given!r}.{_currency_meant(given)} Write ecb, or with another common"
            " currency than the euro ecb:USD."
        )
    return given


def _currency_meant(given: str) -> str:
    code = given.rpartition(":")[2].upper()
    if not re.fullmatch("[A-Z]{3}", code):
        return ""
    return f" Did you mean {'ecb' if code == 'ECB' else f'ecb:{code}'!r}?"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; raise `UsageExit` where it is wrong.

    Parameters
    ----------
    arguments
        The words after `pdframe`; None: those of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    top = parser()
    if any(_TOKEN.match(word) for word in words):
        # Neither this message nor another one may show the value.
        top.error(
            "the token comes from the environment variable PIPEDRIVE_API_TOKEN, never from the"
            " command line, which other users can read"
        )
    options, unknown = top.parse_known_args(words)
    if options.command is None:
        missing = "the following arguments are required: COMMAND"
        if words:
            top.error(missing)
        top.print_help(sys.stderr)
        raise UsageExit(missing)
    if unknown and _are_tables(top, options, words, unknown):
        options.tables = [*(options.tables or ()), *unknown]
    elif unknown:
        hint = _hint(words, unknown, _actions(top, options.command))
        top.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return options


def _are_tables(
    top: argparse.ArgumentParser,
    options: argparse.Namespace,
    words: Sequence[str],
    unknown: Sequence[str],
) -> bool:
    """Whether arguments after an option are tables, which argparse takes only before it: those
    that cannot be the rest of a value without quotes.
    """
    if not hasattr(options, "tables") or any(word.startswith("-") for word in unknown):
        return False
    before = [word for word in words[: _last(words, unknown[0])] if word.startswith("-")]
    name = before[-1].partition("=")[0] if before else ""
    return any(
        name in action.option_strings and (action.nargs == 0 or action.choices or action.type)
        for action in _actions(top, options.command)
    )


def _last(words: Sequence[str], word: str) -> int:
    """Return the place of the last such word: the earlier ones are values of options."""
    return len(words) - 1 - words[::-1].index(word)


def _actions(top: argparse.ArgumentParser, command: str) -> list[argparse.Action]:
    (commands,) = (
        action for action in top._actions if isinstance(action, argparse._SubParsersAction)
    )
    return list(commands.choices[command]._actions)


def _hint(words: Sequence[str], unknown: Sequence[str], actions: Sequence[argparse.Action]) -> str:
    """Return what a user meant by arguments that no command takes."""
    first = unknown[0]
    options = [name for action in actions for name in action.option_strings]
    if first.startswith("-"):
        meant = _meant(first.partition("=")[0], options)
        return f".{meant}" if meant else ""
    # The words of a value without quotes: --period last quarter.
    place = words.index(first) if first in words else 0
    before = words[max(place - 2, 0) : place]
    if before and before[-1].startswith("--") and "=" in before[-1]:
        before = before[-1].split("=", 1)
    if len(before) == 2 and before[0].startswith("--") and not before[1].startswith("-"):
        value = " ".join([before[1], *unknown])
        return f'. Quote a value of several words: {before[0]} "{value}"'
    # Only a word that may be any: neither one of some choices, nor a command.
    if not any(not action.option_strings and action.choices is None for action in actions):
        return ""
    example = ': --period "last quarter"' if "--period" in options else ""
    return f". Quote a value of several words{example}"


def _meant(given: str, names: Collection[str]) -> str:
    command, instead = _MEANT.get(given.lower(), ("", ""))
    if command in names:
        return f" {instead}"
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    top = _Parser(
        prog="pdframe",
        description="Pipedrive in pandas: typed, labelled, cached tables. Read-only.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    demo = commands.add_parser(
        "demo", help="load, label and cache a synthetic company; needs no account"
    )
    demo.add_argument(
        "--deals",
        type=_count,
        default=2_000,
        metavar="N",
        help="number of deals of the company (default: 2000)",
    )
    demo.add_argument(
        "--seed", type=int, default=7, metavar="N", help="seed of the company (default: 7)"
    )

    notebooks = commands.add_parser(
        "notebooks", help="write the tutorial notebooks into a folder; they need no account"
    )
    notebooks.add_argument(
        "folder", metavar="DIR", help="the folder; files there that differ are never replaced"
    )
    notebooks.add_argument(
        "--overwrite", action="store_true", help="replace files that differ, such as your edits"
    )

    sync = commands.add_parser("sync", help="bring tables up to date")
    sync.add_argument(
        "tables",
        nargs="*",
        default=None,  # else argparse names it among the required arguments
        metavar="TABLE",
        help="names of tables; none: all that do not cost a request a record",
    )
    sync.add_argument(
        "--full", action="store_true", help="reload the tables, which finds every deletion"
    )

    status = commands.add_parser("status", help="list the cached tables and their age")

    estimate = commands.add_parser(
        "estimate", help="estimate the API tokens of a sync, without a request"
    )
    estimate.add_argument("tables", nargs="*", default=None, metavar="TABLE", help="as for sync")
    estimate.add_argument("--full", action="store_true", help="as for sync")

    export = commands.add_parser(
        "export", help="write tables into a folder for BI tools, a file a table"
    )
    export.add_argument(
        "folder",
        metavar="DIR",
        help="the folder or its URL; only files of an earlier export are replaced",
    )
    export.add_argument(
        "tables",
        nargs="*",
        default=None,
        metavar="TABLE",
        help="names of tables; none: every list, and the stage visits",
    )
    export.add_argument(
        "--format",
        choices=["parquet", "csv", "duckdb", "xlsx"],
        default="parquet",
        help="parquet (default); csv, xlsx: for spreadsheets; duckdb: one file with all tables",
    )
    export.add_argument(
        "--layout",
        choices=["tables", "star"],
        default="tables",
        help="tables: as the loaders give them (default); star: facts, dimensions and bridges",
    )
    export.add_argument(
        "--naming",
        choices=["labels", "snake"],
        help="names of columns: labels (default of tables), or snake: for SQL without quotes",
    )
    export.add_argument(
        "--no-personal",
        action="store_true",
        help="leave out names of persons, e-mails, phones, addresses and free text",
    )
    export.add_argument(
        "--fiscal-start",
        type=int,
        default=1,
        metavar="MONTH",
        help="first month of the fiscal year of a star (default: 1)",
    )
    export.add_argument(
        "--names", action="store_true", help="add the names of persons and organizations too"
    )
    export.add_argument(
        "--rates",
        type=_rates,
        metavar="RATES",
        help="ecb: the star has the rates of the European Central Bank, and a forecast in euros;"
        " ecb:USD: in dollars, or any currency",
    )
    export.add_argument(
        "--cancellations",
        metavar="COLUMN",
        help="column of deals with the day on which recurring revenue ended, for the star's MRR",
    )

    fields = commands.add_parser("fields", help="list the labels and hashes of a table's fields")
    fields.add_argument("table", metavar="TABLE")

    changes = commands.add_parser("changes", help="list what happened to deals since a time")
    changes.add_argument(
        "since",
        nargs="*",
        default=None,
        metavar="SINCE",
        help="last Monday, yesterday, 2026-06, 2026-06-30 ... (default: 7 days ago)",
    )
    changes.add_argument(
        "--until",
        metavar="TIME",
        help="where it ends, exclusive: a day's first instant, a month's end (default: now)",
    )
    changes.add_argument(
        "--all", action="store_true", help="list every event, not only the newest 50"
    )

    report = commands.add_parser(
        "report", help="write one HTML page: key figures, charts, changes, forecast; no network"
    )
    report.add_argument("file", metavar="FILE", help="the page, such as report.html; replaced")
    report.add_argument(
        "--period",
        metavar="PERIOD",
        help='2026, 2026-Q2, 2026-06, "last quarter", "last 30 days" ... (default: the last 90'
        " days)",
    )
    report.add_argument(
        "--theme", choices=["light", "dark"], help="colours (default: the reader's setting)"
    )
    report.add_argument(
        "--rates",
        type=_rates,
        metavar="RATES",
        help="ecb: add up all currencies in euros, by the rates of the European Central Bank;"
        " ecb:USD: in dollars, or any currency"
        " (default: counts are of all currencies, charts of the account's)",
    )
    report.add_argument(
        "--cancellations",
        metavar="COLUMN",
        help="column of deals with the day on which recurring revenue ended (default: unknown)",
    )

    fleet = commands.add_parser(
        "fleet", help="sync many accounts, or estimate the cost, from a TOML file"
    )
    fleet.add_argument("action", choices=["sync", "estimate"], help="what to do with each account")
    fleet.add_argument(
        "file",
        metavar="FILE",
        help="TOML: a section [accounts.NAME] an account, with company and api_token_variable (the"
        " name of an environment variable, never a token); optional tables, workers, cache_dir",
    )
    fleet.add_argument(
        "--workers", type=_count, metavar="N", help="accounts at once (default: the file's, else 4)"
    )

    completion = commands.add_parser(
        "completion", help="print a script that completes pdframe in a shell"
    )
    completion.add_argument(
        "shell", choices=["bash", "zsh"], help="bash: source <(pdframe completion bash)"
    )

    connected = (sync, status, estimate, export, fields, changes, report)
    for command in (demo, *connected, fleet):
        command.add_argument(
            "--cache-dir",
            metavar="DIR",
            help="folder of the Parquet files (default: PDFRAME_CACHE_DIR, else cache/)",
        )
        command.add_argument("--quiet", action="store_true", help="no progress bars")
        command.add_argument(
            "-v", "--verbose", action="store_true", help="log every request on standard error"
        )
    for command in connected:
        command.add_argument("--company", help="the company's name (default: PIPEDRIVE_COMPANY)")
    for command in (demo, notebooks, completion, *connected, fleet):
        command.add_argument(
            "--json", action="store_true", help="print one JSON object: rows, totals, error"
        )
    return top


class _Version(argparse.Action):
    """Print the version of the installed distribution, which is read only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"pdframe {version('pdframe')}")
        parser.exit()


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, not {text!r}.")
    return number


__all__ = ["UsageExit", "parse", "parser"]

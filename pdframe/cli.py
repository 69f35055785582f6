"""The command line: `pdframe demo | sync | status | estimate | export | fields`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import pandas as pd

from pdframe._terminal import printable, sentences, table_text, terminal_width
from pdframe.account import Account, connect
from pdframe.cache.store import default_cache_dir
from pdframe.errors import DataWarning, PdframeError
from pdframe.sync import CURRENT_NOTES

_SENTENCE = 80
_WIDE = 110
_EPILOG = """\
environment:
  PIPEDRIVE_COMPANY     the company's name: acme for https://acme.pipedrive.com
  PIPEDRIVE_API_TOKEN   a personal API token
  PIPEDRIVE_BASE_URL    an origin instead of a company
  PDFRAME_CACHE_DIR     where Parquet files are kept

exit code 0 only when everything asked for was done.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        # A label in Cyrillic must not end a run whose output goes to a file of another encoding.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", DataWarning)
            warnings.showwarning = _note
            code = int(options.run(options))
            sys.stdout.flush()
            return code
    except PdframeError as error:
        print(f"pdframe: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pdframe: stopped. Tables that were finished are kept.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read the output has enough of it, as `head` does. Python would complain again when
        # it flushes at its end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as a sentence, without a line of source that nobody at a terminal wrote."""
    print(f"note: {printable(str(message))}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pdframe",
        description="Pipedrive in pandas: typed, labelled, cached tables. It only reads.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo", help="a synthetic company, loaded, labelled and cached; needs no account"
    )
    demo.add_argument(
        "--deals",
        type=_count,
        default=2_000,
        metavar="N",
        help="deals the company has seen (default: 2000)",
    )
    demo.add_argument("--seed", type=int, default=7, metavar="N", help="which company (default: 7)")
    demo.set_defaults(run=_demo)

    sync = commands.add_parser("sync", help="bring tables up to date")
    sync.add_argument(
        "tables",
        nargs="*",
        metavar="TABLE",
        help="names of tables; none: all but those that cost a request a record",
    )
    sync.add_argument(
        "--full", action="store_true", help="reload whole tables, which finds every deletion"
    )
    sync.set_defaults(run=_sync)

    status = commands.add_parser("status", help="what is cached, and how old it is")
    status.set_defaults(run=_status)

    estimate = commands.add_parser(
        "estimate", help="what a sync would cost in API tokens; asks nothing"
    )
    estimate.add_argument("tables", nargs="*", metavar="TABLE", help="as for sync")
    estimate.add_argument("--full", action="store_true", help="as for sync")
    estimate.set_defaults(run=_estimate)

    export = commands.add_parser(
        "export", help="write tables into a folder for BI tools, a file a table"
    )
    export.add_argument(
        "folder",
        metavar="DIR",
        help="the folder; files of an earlier export are replaced, others are never touched",
    )
    export.add_argument(
        "tables",
        nargs="*",
        metavar="TABLE",
        help="names of tables; none: every list, and the stage visits",
    )
    export.add_argument(
        "--format",
        choices=["parquet", "csv"],
        default="parquet",
        help="parquet: exact (default); csv: for spreadsheets",
    )
    export.add_argument(
        "--names", action="store_true", help="add the names behind ids, such as owner_name"
    )
    export.set_defaults(run=_export)

    fields = commands.add_parser("fields", help="which label and which hash belong together")
    fields.add_argument("table", metavar="TABLE")
    fields.set_defaults(run=_fields)

    for command in (demo, sync, status, estimate, export, fields):
        command.add_argument(
            "--cache-dir",
            metavar="DIR",
            help="where Parquet files are kept (default: PDFRAME_CACHE_DIR, else cache/)",
        )
        command.add_argument("--quiet", action="store_true", help="no progress bars")
    for command in (sync, status, estimate, export, fields):
        command.add_argument("--company", help="the company's name (default: PIPEDRIVE_COMPANY)")
    return parser


def _count(text: str) -> int:
    if (number := int(text)) < 0:
        raise ValueError
    return number


def _account(options: argparse.Namespace) -> Account:
    return connect(
        options.company, cache_dir=options.cache_dir, progress=False if options.quiet else None
    )


def _sync(options: argparse.Namespace) -> int:
    with _account(options) as account:
        done = account.sync(*options.tables, full=options.full)
        _show_sync(done)
        print(f"\n{account.cache_path}")
    undone = done[done["mode"].isin(["skipped", "unavailable"]) & ~done["note"].isin(CURRENT_NOTES)]
    # What the plan does not have is no part of everything; asked for by name, it is a failure like
    # any other.
    return int(
        bool((undone["missing"] != "plan").any() or set(undone["table"]) & set(options.tables))
    )


def _estimate(options: argparse.Namespace) -> int:
    with _account(options) as account:
        rows = account.estimate(*options.tables, full=options.full)
        _show(rows, widest=_SENTENCE)
        unknown = ", and what is not known yet" if rows["tokens"].isna().any() else ""
        print(f"\n{_total(rows)}{unknown}; {account.tokens_today:,} spent today")
    return 0


def _status(options: argparse.Namespace) -> int:
    with _account(options) as account:
        kept = account.status()
        cached = kept["rows"].notna()
        if cached.any():
            _show(kept[cached])
            print("\nTimes are UTC.")
            print(sentences(f"Not cached: {', '.join(kept.loc[~cached, 'table'])}."))
        else:
            print(
                "Nothing is cached yet: pdframe sync loads every list, pdframe estimate says what"
                " that costs."
            )
        print(f"\n{account.cache_path}")
    return 0


def _export(options: argparse.Namespace) -> int:
    with _account(options) as account:
        done = account.export(
            options.folder, *options.tables, format=options.format, names=options.names
        )
    files = (done["table"] + f".{options.format}").where(done["path"].notna())
    _show(done.assign(file=files)[["table", "rows", "file", "bytes"]])
    _show_notes(done)
    print(f"\n{Path(options.folder).expanduser().absolute()}")
    return int(bool((done["path"].isna() & (done["missing"] != "plan")).any()))


def _fields(options: argparse.Namespace) -> int:
    with _account(options) as account:
        fields = account.fields(options.table)
    width = terminal_width()
    # A narrow terminal has place for what the command is asked for most: the name of a column, and
    # its hash.
    shown = (
        list(fields)
        if width is None
        else (
            ["column", "code", "type"]
            if width < _WIDE
            else ["column", "label", "code", "type", "options"]
        )
    )
    _show(fields[shown])
    return 0


def _demo(options: argparse.Namespace) -> int:
    from pdframe import sandbox

    cache_dir = Path(options.cache_dir) if options.cache_dir else default_cache_dir()
    reported = (
        f"A synthetic company (seed {options.seed}, {options.deals:,} deals) behind a local server"
        " that behaves as Pipedrive's API does."
    )
    print(sentences(reported))
    account = sandbox.connect(
        seed=options.seed,
        deals=options.deals,
        cache_dir=cache_dir,
        progress=False if options.quiet else None,
    )
    with account, warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always", DataWarning)
        _say("Everything, for the first time:")
        first = account.sync(full=True)
        _show_sync(first)

        _say("Five deals, custom fields by their labels:")
        before = account.tokens_today
        deals = account.deals()
        _show(_interesting(deals, account.fields("deals"), terminal_width() or 120))
        print(
            f"\n{len(deals):,} deals, {len(deals.columns)} columns, from the cache:"
            f" {account.tokens_today - before} tokens."
        )
        for warning in noted:
            print(sentences(f"A warning comes with them: {warning.message}"))

        _say(
            "Seven days pass: deals come, move, are won and lost. A refresh asks for what changed:"
        )
        account.advance(days=7)
        second = account.sync()
        _show_sync(second[second["tokens"] > 0])
        print(
            f"\n{int(second['tokens'].sum()):,} API tokens instead of"
            f" {int(first['tokens'].sum()):,}.\n"
        )
        print(f"Parquet, a folder a table: {account.cache_path}")
        print("Open next:                 notebooks/01_quickstart.ipynb")
        print("                           notebooks/02_the_whole_account.ipynb")
        print("Your own account:          export PIPEDRIVE_COMPANY=acme PIPEDRIVE_API_TOKEN=...")
        print("                           pdframe sync")
    return 0


def _interesting(deals: pd.DataFrame, fields: pd.DataFrame, width: int) -> pd.DataFrame:
    """Five deals and those of their custom columns that have most to show, as many as a terminal of
    that width takes.
    """
    custom = [
        name
        for name in fields.loc[fields["is_custom"], "column"]
        if name in deals and len(name) < 24 and deals[name].notna().any()
    ]
    fullest = (
        deals[custom]
        .notna()
        .sum()
        .sort_values(ascending=False, kind="stable")
        .index[: max(1, min(4, width // 20 - 2))]
    )
    rows = (
        deals.assign(filled=deals[fullest].notna().sum(axis=1))
        .sort_values("filled", ascending=False, kind="stable")
        .head(5)
    )
    return rows[["id", "title", "value", "currency", "status", *fullest]].sort_values("id")


def _say(text: str) -> None:
    print(f"\n{sentences(text)}\n", flush=True)


def _show_sync(rows: pd.DataFrame) -> None:
    _show(rows.drop(columns=["note", "missing"]).rename(columns={"seconds": "s"}))
    _show_notes(rows)
    print(f"\n{_total(rows)}, {rows['seconds'].sum():.1f} s")


def _show_notes(rows: pd.DataFrame) -> None:
    """A line a note, with the tables that it is about."""
    notes = rows[rows["note"].fillna("") != ""]
    if len(notes):
        print()
    for note, tables in notes.groupby("note", sort=False)["table"]:
        print(sentences(f"{', '.join(tables)}: {note}"))


def _total(rows: pd.DataFrame) -> str:
    return f"{int(rows['requests'].sum()):,} requests, {int(rows['tokens'].sum()):,} API tokens"


def _show(frame: pd.DataFrame, **how: int) -> None:
    # A hash is there to be copied.
    print(table_text(frame, width=terminal_width(), complete=["table", "code"], **how))

"""The command line: `pdframe demo | notebooks | sync | status | estimate | export | fields |
changes`.

`--help`, `--version`, `notebooks` and mistyped commands import neither pandas nor pyarrow:
`_commands` does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pdframe.errors import PdframeError

_EPILOG = """\
environment:
  PIPEDRIVE_COMPANY     the company's name: acme for https://acme.pipedrive.com
  PIPEDRIVE_API_TOKEN   a personal API token
  PIPEDRIVE_BASE_URL    an origin instead of a company
  PDFRAME_CACHE_DIR     folder of the Parquet files

The exit code is 0 only if the command did everything.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        # A label in Cyrillic must not end a command whose output goes to a file in another
        # encoding.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        if options.command == "notebooks":
            return _notebooks(options)
        from pdframe import _commands

        return _commands.run(options)
    except PdframeError as error:
        print(f"pdframe: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "pdframe: stopped. Finished tables and saved pages are kept; the next sync resumes.",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        # The reader of the output, such as `head`, has stopped. Python would complain again when it
        # flushes at its end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pdframe",
        description="Pipedrive in pandas: typed, labelled, cached tables. Read-only.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

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
        help="the folder; only files of an earlier export are replaced",
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
        choices=["parquet", "csv"],
        default="parquet",
        help="parquet: exact (default); csv: for spreadsheets",
    )
    export.add_argument(
        "--names", action="store_true", help="add the names of persons and organizations too"
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
    changes.add_argument("--until", metavar="TIME", help="where it ends (default: now)")
    changes.add_argument(
        "--all", action="store_true", help="list every event, not only the newest 50"
    )

    for command in (demo, sync, status, estimate, export, fields, changes):
        command.add_argument(
            "--cache-dir",
            metavar="DIR",
            help="folder of the Parquet files (default: PDFRAME_CACHE_DIR, else cache/)",
        )
        command.add_argument("--quiet", action="store_true", help="no progress bars")
    for command in (sync, status, estimate, export, fields, changes):
        command.add_argument("--company", help="the company's name (default: PIPEDRIVE_COMPANY)")
    return parser


class _Version(argparse.Action):
    """Print the version of the installed distribution, which is read only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"pdframe {version('pdframe')}")
        parser.exit()


def _notebooks(options: argparse.Namespace) -> int:
    from pdframe._notebook_files import write_notebooks

    written = write_notebooks(Path(options.folder).expanduser(), options.overwrite)
    for path in written:
        print(path)
    print(f"\nOpen them: jupyter lab {shlex.quote(str(written[0]))}")
    print('Without Jupyter: pip install jupyterlab "pdframe[notebook,ecb]"')
    return 0


def _count(text: str) -> int:
    if (number := int(text)) < 0:
        raise ValueError
    return number


__all__ = ["main"]

"""The command line: `pdframe demo | notebooks | sync | status | estimate | export | fields |
changes | report | fleet | completion`.

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

from pdframe._command_line import (
    DONE,
    FAILED,
    INTERRUPTED,
    STOPPED,
    USAGE,
    UnwritableError,
    described_error,
    error_code,
    error_object,
    print_object,
    report_error,
    stopped_by_sigterm,
    writing_output,
)
from pdframe._parser import UsageExit, parse, parser
from pdframe.errors import PdframeError

_BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        # A label in Cyrillic must not end a command whose output goes to a file in another
        # encoding.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        options = _parsed(arguments)
        with stopped_by_sigterm():
            return _run(options)
    except BrokenPipeError:
        # The reader of the output, such as `head`, has stopped.
        _drop_output()
        return _BROKEN_PIPE
    except UnwritableError as failure:
        _drop_output()
        print(f"pdframe: The output could not be written: {failure}.", file=sys.stderr)
        return FAILED


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; help and the version are printed, and end the program."""
    try:
        with writing_output():
            return parse(arguments)
    except UsageExit as stopped:
        if "--json" in (sys.argv[1:] if arguments is None else arguments):
            print_object(None, USAGE, error=described_error("UsageError", stopped.message))
        raise
    except SystemExit:
        with writing_output():
            pass  # help and version to the last byte
        raise


def _open_streams() -> None:
    """Open the streams that the caller closed, as `>&-` does: what is printed there is dropped, and
    no file that a command opens takes their place.
    """
    # A file gets the lowest free number, such as that of a closed standard input.
    number = os.open(os.devnull, os.O_RDWR)
    while number <= 2:
        number = os.dup(number)
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))


def _drop_output() -> None:
    """Drop what is not written yet: Python would complain again when it flushes at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(options: argparse.Namespace) -> int:
    """Run a command; report what ends it on standard error, and as JSON where that is wanted."""
    try:
        if options.command == "notebooks":
            return _notebooks(options)
        if options.command == "completion":
            return _completion(options)
        from pdframe import _commands

        return _commands.run(options)
    except PdframeError as failure:
        report_error(failure)
        code, error = error_code(failure), error_object(failure)
    except KeyboardInterrupt:
        print(f"pdframe: {STOPPED}", file=sys.stderr)
        code, error = INTERRUPTED, described_error("Interrupted", STOPPED)
    except (BrokenPipeError, UnwritableError):
        raise
    except Exception as failure:
        # Its text is on standard error alone, as Python prints it.
        if options.json:
            text = "An error that pdframe does not expect: the traceback is on standard error."
            print_object(
                options.command, FAILED, error=described_error(type(failure).__name__, text)
            )
        raise
    if options.json:
        print_object(options.command, code, error=error)
    return code


def _completion(options: argparse.Namespace) -> int:
    from pdframe._completion import completion
    from pdframe.bi.export import EXPORTABLE
    from pdframe.schema import TABLES

    tables = {name: list(TABLES) for name in ("sync", "estimate")}
    with_fields = [name for name, table in TABLES.items() if table.field_list]
    tables |= {"export": list(EXPORTABLE), "fields": with_fields}
    script = completion(options.shell, parser(), tables)
    if options.json:
        print_object("completion", DONE, rows=[{"shell": options.shell, "script": script}])
    else:
        with writing_output():
            print(script)
    return DONE


def _notebooks(options: argparse.Namespace) -> int:
    from pdframe._notebook_files import write_notebooks

    written = write_notebooks(Path(options.folder).expanduser(), options.overwrite)
    if options.json:
        rows = [{"file": str(path)} for path in written]
        print_object("notebooks", DONE, rows=rows, totals={"files": len(rows)})
        return DONE
    for path in written:
        print(path)
    print(f"\nOpen them: jupyter lab {shlex.quote(str(written[0]))}")
    print('Without Jupyter: pip install jupyterlab "pdframe[notebook,ecb]"')
    return DONE


__all__ = ["main"]

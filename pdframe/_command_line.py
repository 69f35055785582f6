"""What every command shares: exit codes, errors as JSON, the one object on standard output. Imports
neither pandas nor pyarrow.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
import sysconfig
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from pdframe.errors import ArgumentError, BudgetError, PdframeError

DONE, FAILED, USAGE, PARTLY_DONE, OUT_OF_BUDGET, INTERRUPTED = 0, 1, 2, 3, 4, 130
"""The exit codes."""
STOPPED = "Stopped. Finished tables and saved pages are kept; the next sync resumes."


class UnwritableError(Exception):
    """Standard output takes nothing, as on a full disk."""


@contextlib.contextmanager
def writing_output() -> Iterator[None]:
    """Write to standard output, to the last byte; raise `UnwritableError` where it takes nothing.
    That its reader has stopped is another matter.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UnwritableError(error.strerror or type(error).__name__) from error


@contextlib.contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Let SIGTERM interrupt the block like Ctrl-C: what it saved is kept, and it says so."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def error_code(error: PdframeError) -> int:
    """Return the exit code of a command that an error ended: a wrong argument is one of usage,
    whenever it is noticed.
    """
    if isinstance(error, ArgumentError):
        return USAGE
    return OUT_OF_BUDGET if isinstance(error, BudgetError) else FAILED


def error_object(error: PdframeError) -> dict[str, Any]:
    """Return an error as JSON shows it: type, message, resume_at, kept."""
    message = str(error.args[0]) if error.args else ""
    return described_error(
        type(error).__name__, message, getattr(error, "resume_at", None), error.kept
    )


def described_error(
    kind: str, message: str, resume_at: datetime | None = None, kept: str = ""
) -> dict[str, Any]:
    """Return an error of this kind as JSON shows it."""
    return {"type": kind, "message": message, "resume_at": time_text(resume_at), "kept": kept}


def time_text(time: datetime | None) -> str | None:
    """Return a time in ISO 8601, in UTC where it has a timezone."""
    if time is None:
        return None
    if time.tzinfo is None:
        return time.isoformat()
    return time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def print_object(
    command: str | None,
    code: int,
    *,
    rows: Sequence[Mapping[str, Any]] = (),
    totals: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    error: Mapping[str, Any] | None = None,
) -> None:
    """Print the result of a command as one JSON object, in ASCII: every encoding keeps all labels.

    An interruption while it prints waits for its end.
    """
    shown = {
        "command": command,
        "exit_code": code,
        "rows": list(rows),
        "totals": dict(totals or {}),
        "notes": list(notes),
        "error": error,
    }
    text = json.dumps(shown, allow_nan=False)
    with _uninterrupted(), writing_output():
        print(text)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def typed_command() -> str:
    """Return how a shell in the working directory runs pdframe: by its name, where PATH has it."""
    if shutil.which("pdframe"):
        return "pdframe"
    script = shutil.which("pdframe", path=sysconfig.get_path("scripts"))
    if script is None:
        return f"{shlex.quote(sys.executable)} -m pdframe"
    path = Path(script)
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return shlex.quote(str(path) if len(path.parts) > 1 else os.path.join(".", path))


def report_error(error: PdframeError) -> None:
    """Print an error in one line on standard error."""
    print(f"pdframe: {type(error).__name__}: {error}", file=sys.stderr)


__all__ = [
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "OUT_OF_BUDGET",
    "PARTLY_DONE",
    "STOPPED",
    "USAGE",
    "UnwritableError",
    "described_error",
    "error_code",
    "error_object",
    "print_object",
    "report_error",
    "stopped_by_sigterm",
    "time_text",
    "typed_command",
    "writing_output",
]

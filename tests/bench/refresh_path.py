"""What an incremental `account.deals(refresh=True)` runs: files and functions of pdframe, in all
threads, the sandbox left out, and the longest of these files.

The fewer there are, the less must be read to understand a refresh.
"""

from __future__ import annotations

import gc
import sys
import threading
import warnings
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pdframe
from pdframe import sandbox
from pdframe.sync import SyncOptions
from tests.bench.table import report

MOST_FILES, MOST_FUNCTIONS, MOST_LINES = 30, 250, 600
ROOT = Path(pdframe.__file__).parent
# Deals count as a long list, and the server is far enough away for threads.
OPTIONS = SyncOptions(reload_rows=0, min_latency_seconds=0.0)


def called() -> Counter[tuple[str, str]]:
    """Return the calls of each function of pdframe, by file and name, during one refresh."""
    calls: Counter[tuple[str, str]] = Counter()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        path = Path(code.co_filename)
        if event != "call" or not path.is_relative_to(ROOT):
            return
        # A comprehension, a lambda and the body of a class are parts of the function around them.
        if path.is_relative_to(ROOT / "sandbox") or code.co_name.startswith("<"):
            return
        calls[str(path.relative_to(ROOT)), code.co_qualname] += 1

    # With the names that `names=None`, the default, adds: those of owners, stages and the like.
    with sandbox.connect(
        seed=7, deals=400, company="hostile", names=None, progress=False, options=OPTIONS
    ) as account:
        account.deals()
        account.advance(days=1)
        gc.collect()  # what others left is not finalized during the refresh
        threading.setprofile(note)  # of threads that begin from now on
        sys.setprofile(note)
        try:
            account.deals(refresh=True)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return calls


def refresh_path() -> None:
    """Report how many files and functions a refresh runs, and the length of the longest file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pdframe.DataWarning)
        calls = called()
    files = {file for file, _ in calls}
    lines = {file: len((ROOT / file).read_text().splitlines()) for file in files}
    longest = max(lines, key=lambda file: lines[file])
    for what, ours, most in (
        ("files that a refresh of deals runs", len(files), MOST_FILES),
        ("functions that a refresh of deals runs", len(calls), MOST_FUNCTIONS),
        (f"lines of the longest of these, {longest}", lines[longest], MOST_LINES),
    ):
        report(what, str(ours), f"<= {most}", ours / most)


if __name__ == "__main__":
    refresh_path()
    if "-v" in sys.argv:
        for (file, name), count in sorted(called().items()):
            print(f"{file:30} {name} ({count:,})")

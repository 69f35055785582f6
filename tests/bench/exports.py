"""A star that is exported again: CPU seconds without changes and a day later, beside those of the
first export, and how many files each of them writes. The refresh of the tables is not counted.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path

import pdframe
from tests.bench.table import report

DEALS = 2_000


def _stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.parquet")}


def exports() -> None:
    """Report the second export, and that of the next day."""
    with (
        pdframe.sandbox.connect(seed=1, deals=DEALS, burst=100_000, progress=False) as account,
        tempfile.TemporaryDirectory() as name,
    ):
        folder = Path(name) / "star"

        def export() -> tuple[float, list[str]]:
            account.sync()
            before, began = _stamps(folder), time.process_time()
            account.export(folder, layout="star")
            spent, after = time.process_time() - began, _stamps(folder)
            return spent, [one for one, stamp in after.items() if before.get(one) != stamp]

        account.sync()  # a load; only the next sync is a refresh, which the history notes
        first, files = export()
        again, changed = export()
        assert not changed, changed
        report(
            f"CPU: star of {DEALS:,} deals again, unchanged / first",
            f"{again:.3f} s, 0 files",
            f"{first:.2f} s, {len(files)} files",
            again / first,
        )
        account.advance(days=1)
        later, changed = export()
        report(
            "CPU: the same a day later / first",
            f"{later:.2f} s, {len(changed)} files",
            f"{first:.2f} s, {len(files)} files",
            later / first,
        )
        print(f"files that changed in a day: {', '.join(sorted(changed))}")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    exports()

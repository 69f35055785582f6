"""A cache as version 0.1.0 wrote it (tests/contract/cache_0_1), and the company's past that it
shows.

The folder was written once, by this file, with the code of version 0.1.0. Never write it again with
later code: it stands for the caches that users have. `live` makes the same past at a new company,
so that a sandbox serves the state in which the cache was left.
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

import pdframe
from pdframe import sandbox
from pdframe.cache.snapshots import SnapshotLog
from pdframe.schema import LISTS
from tests.helpers.cache_files import store_of

FOLDER = Path(__file__).parent.parent / "contract" / "cache_0_1"
EXPECTED = "expected.json.gz"
SEED, DEALS = 5, 24
SNAPSHOTS_MADE = 4
CHANGES_OF = range(1, 11)
"""The deals whose changelogs were loaded."""
AS_OF = ("2026-07-01", "2026-07-12", "2026-07-30")
LAST_DAY = "2026-07-29"
"""The day of the last sync: since then, as_of refuses the days after it."""
DAMAGED = "pipelines"


def live(company: Any, snapshot: Callable[[int], None]) -> None:
    """Let the company live; `snapshot` is called with 1, 2, ... when the cache was brought up to
    date.
    """
    snapshot(1)
    company.advance(days=7)
    deals = [deal for deal in company.tables["deals"] if ("deals", deal) not in company.deleted_at]
    bare = [deal for deal in deals if not company.lines_of(deal)]
    lined = [deal for deal in deals if company.lines_of(deal)]
    company.edit_deal(bare[0], value=4711.5, probability=37)
    company.edit_line(company.lines_of(lined[0])[0]["id"], quantity=3.0)
    snapshot(2)
    company.advance(days=7)
    company.delete_deal(bare[1])
    company.remove_line(company.lines_of(lined[1])[0]["id"])
    snapshot(3)
    company.advance(days=14)
    snapshot(4)


def shown(account: pdframe.Account) -> dict[str, pd.DataFrame]:
    """What the cache shows, without a request: the tables, the kept history, stage visits, the
    past.
    """
    frames = {name: table_of(account, name) for name in (*LISTS, "deal_changes")}
    frames["history"] = plain(SnapshotLog(store_of(account)).rows().to_pandas())
    frames["looks"] = plain(SnapshotLog(store_of(account)).snapshots().to_pandas())
    frames["stage_visits"] = account.stage_visits(refresh=False)
    for when in AS_OF:
        frames[f"as_of {when}"] = shown_at(account, when)
    return frames


def table_of(account: pdframe.Account, name: str) -> pd.DataFrame:
    """A cached table with hashes and ids; lists of fields and changelogs as they are stored."""
    if name.endswith("_fields") or name == "deal_changes":
        return plain(store_of(account).read(name).to_pandas())
    frame: pd.DataFrame = getattr(account, name)(refresh=False, labels=False, names=False)
    return frame


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index(drop=True)


def text(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame as JSON, without nulls: a column that is added later changes nothing."""
    rows = json.loads(
        frame.to_json(orient="records", date_format="iso", date_unit="us", double_precision=12)
    )
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def write() -> None:
    """Write the folder; with the code of version 0.1.0 alone."""
    cache = Path(tempfile.mkdtemp())
    warnings.simplefilter("ignore", pdframe.DataWarning)
    with sandbox.connect(
        seed=SEED,
        deals=DEALS,
        cache_dir=cache,
        company="hostile",
        burst=100_000,
        progress=False,
        max_age=None,
    ) as account:

        def snapshot(number: int) -> None:
            if number == 4:
                part = next((account.cache_path / DAMAGED).glob("*.parquet"))
                part.write_bytes(part.read_bytes()[:-5])
            account.sync(full=number == 3)
            if number == 2:
                account.deal_changes(list(CHANGES_OF))

        live(account.company_model, snapshot)
        expected = {
            "key": account.cache_path.name,
            "status": text(account.status()),
            "frames": {
                name: {
                    "rows": text(frame),
                    "dtypes": {column: str(kind) for column, kind in frame.dtypes.items()},
                }
                for name, frame in shown(account).items()
            },
        }
        shutil.rmtree(FOLDER, ignore_errors=True)
        shutil.copytree(account.cache_path, FOLDER / account.cache_path.name)
    for lock in FOLDER.rglob("*.lock"):
        lock.unlink()
    raw = json.dumps(expected, indent=None, sort_keys=True).encode()
    (FOLDER / EXPECTED).write_bytes(gzip.compress(raw, mtime=0))


if __name__ == "__main__":
    if pdframe.__version__ != "0.1.0":
        sys.exit("The folder stands for caches of version 0.1.0: only that version may write it.")
    write()


def shown_at(account: pdframe.Account, when: str) -> pd.DataFrame:
    """Return the deals as of a day, or of the last one if it is later: nothing changed since."""
    return account.as_of(min(when, LAST_DAY))

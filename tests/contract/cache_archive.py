"""A cache that version 0.1.1 wrote, as an archive, and the life of the company that it shows.

`cache_0_1_1.tar.xz` holds the folder of one account, `cache_0_1_1.json.xz` what the loaders showed
of it. Both were written once, with the code of commit 73f6481, by `python -m
tests.contract.cache_archive write`. Never write them again with later code: they stand for the
caches that users have. A later format gets files of its own.

`live` gives a new company the same past, so that a sandbox serves the state in which the cache was
left. Only public names of pdframe are used.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

import pdframe
from pdframe import sandbox
from pdframe.errors import BudgetError

ARCHIVE = Path(__file__).with_name("cache_0_1_1.tar.xz")
EXPECTED = Path(__file__).with_name("cache_0_1_1.json.xz")
SEED, DEALS = 5, 20
DAYS = 13
"""One sync a day: enough small parts of the kept history for a compaction."""
CHANGES_OF = [2, 3, 5, 8, 19]
"""The deals whose changelogs are loaded, twice: before and after some of them changed."""
FOLLOWERS_OF = [1, 2, 3]
AS_OF = ("2026-07-01", "2026-07-05 12:00", "2026-07-12")
FIELDS_OF = ("activities", "deals", "organizations", "persons", "products", "projects")
RECORDS: dict[str, list[int] | None] = {
    "deal_changes": CHANGES_OF,
    "deal_followers": FOLLOWERS_OF,
    "discounts": None,
    "product_variations": None,
    "project_changes": None,
}
"""The tables that cost a request per record, and the records that were loaded."""


def live(company: sandbox.Company, after_day: Callable[[int], None]) -> None:
    """Give the company its past; `after_day` is called with 0 and then after each day."""
    after_day(0)
    for day in range(1, DAYS + 1):
        company.advance(days=1)
        _write(company, day)
        after_day(day)


def _write(company: sandbox.Company, day: int) -> None:
    """Write what one day brings: edits of deals and line items, moves, deletions of each kind."""
    deals = [row for row in company.tables["deals"].values() if not row["is_deleted"]]
    still_open = [row for row in deals if row["status"] == "open" and not row["is_archived"]]
    lined = [row["id"] for row in deals if not row["is_archived"] and company.lines_of(row["id"])]
    edited = still_open[day % len(still_open)]["id"]
    company.edit_deal(edited, probability=day)
    if not company.lines_of(edited):
        company.edit_deal(edited, value=100.25 * day)
    if lined:
        line = company.lines_of(lined[day % len(lined)])[0]
        company.edit_line(line["id"], quantity=float(day + 1))
    if day == 1:
        company.follow("deal", 2, company.me)
    if day == 2:
        company.move_deal(8, 9)
        company.add_discount(8, 10.0, description="Early bird")
    if day == 3:
        company.win_deal(8)
        # No sync ever sees this deal: the list of deletions alone shows it.
        company.delete_deal(company.add_deal("Deleted within a day"))
    if day == 4:
        company.delete_deal(1)
        company.remove_line(company.lines_of(2)[0]["id"])
    if day == 6:
        company.merge_deals(11, 13)
        company.reopen_deal(8)
    if day == 8:
        company.archive_deal(4)
        company.move_deal(19, 3)
    if day == 10:
        company.delete_deal(10)
        company.edit_deal(3, title='Renamed: ü, 名, "quoted"')


def shown(account: pdframe.Account) -> dict[str, pd.DataFrame]:
    """Read everything that the cache shows, without a request for a table."""
    frames = {}
    for table in account.status().dropna(subset="rows")["table"]:
        if table.endswith("_fields"):
            continue
        ids: dict[str, Any] = {"ids": RECORDS[table]} if RECORDS.get(table) else {}
        frames[table] = getattr(account, table)(**ids, refresh=False, labels=False, names=False)
        frames[f"{table} by labels"] = getattr(account, table)(**ids, refresh=False, names=False)
    for table in FIELDS_OF:
        frames[f"fields of {table}"] = account.fields(table)
    frames["deals with deleted"] = account.deals(deleted=True, refresh=False)
    frames["deal_products with deleted"] = account.deal_products(deleted=True, refresh=False)
    frames["deal_history"] = account.deal_history()
    frames["line_history"] = account.line_history()
    frames["stage_visits"] = account.stage_visits(refresh=False)
    for when in AS_OF:
        frames[f"as_of {when}"] = account.as_of(when)
    return frames


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame as JSON, without nulls."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    plain = json.loads(json.dumps(table.to_pylist(), default=str))
    return [{name: cell for name, cell in row.items() if cell is not None} for row in plain]


def expected() -> dict[str, Any]:
    """Return what the code that wrote the cache showed of it."""
    content: dict[str, Any] = json.loads(lzma.decompress(EXPECTED.read_bytes()))
    return content


def unpack(folder: Path) -> None:
    """Put a copy of the cache into a folder."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")


@contextlib.contextmanager
def account_of(server: sandbox.Server, folder: Path, **options: Any) -> Iterator[pdframe.Account]:
    """Connect to a company over a cache folder; a loader refreshes nothing by itself."""
    given: dict[str, Any] = {"max_age": None, "full_every": None, "progress": False} | options
    with pdframe.connect(
        base_url=server.url, api_token=server.token, cache_dir=folder, **given
    ) as account:
        yield account


def serve(company: sandbox.Company) -> sandbox.Server:
    return sandbox.Server(company, burst=100_000, search_burst=100_000)


def write() -> None:
    """Write both files."""
    company = sandbox.Company(seed=SEED, deals=DEALS)
    warnings.simplefilter("ignore", pdframe.DataWarning)
    with tempfile.TemporaryDirectory() as name, serve(company) as server:
        folder = Path(name)
        with account_of(server, folder) as account:

            def sync(day: int) -> None:
                # Every table at first, in the middle and at the end; what changes daily in between.
                every_table = day in (0, 7, DAYS)
                account.sync(*(() if every_table else ("deals", "deal_products")), full=day == 7)
                if day in (1, 9):
                    for table, ids in RECORDS.items():
                        getattr(account, table)(**({"ids": ids} if ids else {}), refresh=True)

            live(company, sync)
            spent = account.tokens_today
        # A load of every changelog that runs out of tokens: what it finished is cached.
        with account_of(server, folder, max_tokens=spent + 70) as account:
            with contextlib.suppress(BudgetError):
                account.deal_changes()
            frames = {
                table: {
                    "dtypes": {column: str(kind) for column, kind in frame.dtypes.items()},
                    "rows": rows(frame),
                }
                for table, frame in shown(account).items()
            }
            content = {"key": account.cache_path.name, "frames": frames}
            for lock in folder.rglob("*.lock"):
                lock.unlink()
            with tarfile.open(ARCHIVE, "w:xz", preset=9, format=tarfile.PAX_FORMAT) as archive:
                archive.add(account.cache_path, account.cache_path.name, filter=_without_owner)
    EXPECTED.write_bytes(lzma.compress(json.dumps(content, sort_keys=True).encode(), preset=9))


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    if sys.argv[1:] != ["write"] or ARCHIVE.exists():
        sys.exit(__doc__)
    write()

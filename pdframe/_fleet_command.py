"""`pdframe fleet`: many accounts, named in a TOML file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import pandas as pd

from pdframe import fleet
from pdframe._command_line import (
    DONE,
    FAILED,
    OUT_OF_BUDGET,
    PARTLY_DONE,
    described_error,
)
from pdframe._command_output import UNKNOWN_COST, Result, show_table
from pdframe._terminal import sentences
from pdframe.fleet._accounts import checked_workers
from pdframe.fleet._file import read_fleet
from pdframe.schema import table_named

_KEPT = "What the accounts had finished is kept; the next sync resumes."


def run_fleet(options: argparse.Namespace) -> Result:
    """Run `pdframe fleet sync` or `pdframe fleet estimate`."""
    file = read_fleet(options.file, options.cache_dir)
    workers = checked_workers(file.workers if options.workers is None else options.workers)
    for table in file.tables:
        table_named(table)
    progress = False if options.quiet else None
    if options.action == "estimate":
        costs = fleet.estimate(file.accounts, *file.tables, workers=workers, progress=progress)
        return _result(costs, file.tables, "requests")
    done = fleet.sync(file.accounts, *file.tables, workers=workers, progress=progress)
    return _result(done, file.tables, "rows")


def _result(rows: pd.DataFrame, named: Sequence[str], counted: str) -> Result:
    """Sum up rows of accounts and tables: an account with an error is not done."""
    wrong = rows[rows["error"].notna()]
    names = list(dict.fromkeys(rows["account"]))
    failed = list(dict.fromkeys(wrong["account"]))
    totals: dict[str, Any] = {
        "accounts": len(names),
        "done": len(names) - len(failed),
        "failed": failed,
        counted: int(rows[counted].sum()),
        "tokens": int(rows["tokens"].sum()),
    }
    if counted == "requests":
        # As `pdframe estimate`; an account that failed has an error instead.
        totals["unknown"] = int((rows["tokens"].isna() & rows["error"].isna()).sum())

    def show() -> None:
        show_table(_by_account(rows, counted))
        for account, error in zip(wrong["account"], wrong["error"], strict=True):
            print(f"\n{sentences(f'{account}: {error}')}")
        unknown = UNKNOWN_COST if totals.get("unknown") else ""
        print(
            f"\n{totals['done']} of {totals['accounts']} accounts,"
            f" {totals['tokens']:,} API tokens{unknown}"
        )

    done = rows[rows["error"].isna()]
    some_done = bool(done["table"].isin(named).any() if named else len(done))
    code, error = _failure(wrong, failed, names, some_done=some_done)
    return Result(rows, show, totals, code, error)


def _failure(
    wrong: pd.DataFrame, failed: list[str], names: list[str], *, some_done: bool
) -> tuple[int, dict[str, Any] | None]:
    """Return the exit code and the error of the accounts that are not done."""
    if not failed:
        return DONE, None
    kinds = (
        {text.partition(":")[0] for text in wrong["error"]} if wrong["table"].isna().all() else ()
    )
    out_of_budget = set(kinds) == {"BudgetError"}
    code = PARTLY_DONE
    if len(failed) == len(names):
        code = PARTLY_DONE if some_done else OUT_OF_BUDGET if out_of_budget else FAILED
    resume_at = wrong["resume_at"].max() if "resume_at" in wrong else pd.NaT
    texts = [f"{name}: {text}" for name, text in zip(wrong["account"], wrong["error"], strict=True)]
    kind = next(iter(kinds)) if len(kinds) == 1 else "PdframeError"
    when = None if pd.isna(resume_at) else resume_at
    message = f"{len(failed)} of {len(names)} accounts are not done.\n" + "\n".join(texts)
    return code, described_error(kind, message, when, _KEPT)


def _by_account(rows: pd.DataFrame, counted: str) -> pd.DataFrame:
    """Return a row an account, for people."""
    grouped = rows.groupby("account", sort=False)
    columns = {
        "tables": grouped["table"].count(),
        counted: grouped[counted].sum(),
        "tokens": grouped["tokens"].sum(),
    }
    if "seconds" in rows:
        columns["s"] = grouped["seconds"].sum()
    columns["error"] = grouped["error"].first()
    return pd.DataFrame(columns).reset_index()


__all__ = ["run_fleet"]

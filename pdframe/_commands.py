"""The commands of the command line: connect, run, print."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import pandas as pd

from pdframe._relative_times import absolute
from pdframe._terminal import printable, sentences, table_text, terminal_width
from pdframe.account import Account, connect
from pdframe.cache.folder import default_cache_dir
from pdframe.errors import DataWarning
from pdframe.metrics import changes_summary
from pdframe.schema import TABLES, table_named, table_with_fields
from pdframe.sync import CURRENT_NOTES

_SENTENCE = 80
_WIDE = 110
_NEWEST = 50
"""Events that `changes` lists."""


def run(options: argparse.Namespace) -> int:
    """Run the parsed command and return its exit code."""
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "demo": _demo,
        "sync": _sync,
        "status": _status,
        "estimate": _estimate,
        "export": _export,
        "fields": _fields,
        "changes": _changes,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("default", DataWarning)
        warnings.showwarning = _note
        code = commands[options.command](options)
        sys.stdout.flush()
        return code


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as a sentence, without a line of source code."""
    print(f"note: {printable(str(message))}", file=sys.stderr)


def _account(options: argparse.Namespace) -> Account:
    return connect(
        options.company, cache_dir=options.cache_dir, progress=False if options.quiet else None
    )


def _check_names(tables: Sequence[str]) -> None:
    """Refuse a table that does not exist, before credentials are needed."""
    for name in tables:
        table_named(name)


def _sync(options: argparse.Namespace) -> int:
    _check_names(options.tables)
    with _account(options) as account:
        done = account.sync(*options.tables, full=options.full)
        _show_sync(done)
        print(f"\n{account.cache_path}")
    undone = done[done["mode"].isin(["skipped", "unavailable"]) & ~done["note"].isin(CURRENT_NOTES)]
    # A table that the plan lacks fails only if it was named.
    return int(
        bool((undone["missing"] != "plan").any() or set(undone["table"]) & set(options.tables))
    )


def _estimate(options: argparse.Namespace) -> int:
    _check_names(options.tables)
    with _account(options) as account:
        rows = account.estimate(*options.tables, full=options.full)
        _show(rows, widest=_SENTENCE)
        unknown = ", and what is still unknown" if rows["tokens"].isna().any() else ""
        print(f"\n{_total(rows)}{unknown}; {account.tokens_today:,} spent today")
    return 0


def _status(options: argparse.Namespace) -> int:
    with _account(options) as account:
        status = account.status()
        if len(status):
            _show(status)
            print("\nTimes are UTC.")
            others = [name for name in TABLES if name not in set(status["table"])]
            print(sentences(f"Not cached: {', '.join(others)}."))
        else:
            print(
                "Nothing is cached yet: pdframe sync loads every list, pdframe estimate shows the"
                " cost."
            )
        print(f"\n{account.cache_path}")
    return 0


def _export(options: argparse.Namespace) -> int:
    with _account(options) as account:
        done = account.export(
            options.folder, *options.tables, format=options.format, names=options.names or None
        )
    files = (done["table"] + f".{options.format}").where(done["path"].notna())
    _show(done.assign(file=files)[["table", "rows", "file", "bytes"]])
    _show_notes(done)
    print(f"\n{Path(options.folder).expanduser().absolute()}")
    return int(bool((done["path"].isna() & (done["missing"] != "plan")).any()))


def _fields(options: argparse.Namespace) -> int:
    table_with_fields(options.table)
    with _account(options) as account:
        fields = account.fields(options.table)
    width = terminal_width()
    # A narrow terminal shows what most readers need: the name of a column, and its hash.
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


def _changes(options: argparse.Namespace) -> int:
    since = " ".join(options.since or ()) or "7 days ago"
    for name, time in (("since", since), ("until", options.until)):
        # A mistyped time is refused before credentials are needed.
        absolute(time, datetime.now(UTC), "UTC", name)
    with _account(options) as account:
        events = account.changes(since, options.until)
        tz = account.tz
    if events.empty:
        print(sentences(f"Nothing happened to deals since {since}."))
        return 0
    _show(changes_summary(events))
    shown = events if options.all else events.tail(_NEWEST)
    times = shown["time"].dt.tz_convert(tz).dt.tz_localize(None)
    columns = ["event", "before", "after", "value", "currency", "deal_id", "title", "owner_name"]
    print()
    _show(shown[columns].assign(time=times)[["time", *columns]])
    left_out = f"; the newest {len(shown)} are listed" if len(shown) < len(events) else ""
    deals = events["deal_id"].nunique()
    print()
    total = f"{len(events):,} events of {deals:,} deals since {since}{left_out}."
    print(sentences(f"{total} Times are {tz}."))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from pdframe import sandbox

    cache_dir = Path(options.cache_dir) if options.cache_dir else default_cache_dir()
    intro = (
        f"A synthetic company (seed {options.seed}, {options.deals:,} deals) on a local server"
        " that behaves like Pipedrive's API."
    )
    print(sentences(intro))
    account = sandbox.connect(
        seed=options.seed,
        deals=options.deals,
        cache_dir=cache_dir,
        progress=False if options.quiet else None,
    )
    with account, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        _say("The first sync of everything:")
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
        for warning in caught:
            print(sentences(f"Warning: {warning.message}"))

        _say("Seven days pass: deals are added, moved, won and lost. A sync fetches the changes:")
        account.advance(days=7)
        second = account.sync()
        _show_sync(second[second["tokens"] > 0])
        print(
            f"\n{int(second['tokens'].sum()):,} API tokens instead of"
            f" {int(first['tokens'].sum()):,}.\n"
        )
        print(f"Parquet, a folder a table: {account.cache_path}")
        print("Your own account:          export PIPEDRIVE_COMPANY=acme PIPEDRIVE_API_TOKEN=...")
        print("                           pdframe sync")
        print("Five notebooks, one question each:\n")
        print("    pdframe notebooks pdframe-notebooks")
    return 0


def _interesting(deals: pd.DataFrame, fields: pd.DataFrame, width: int) -> pd.DataFrame:
    """Return five deals with the fullest of their custom columns, as many as fit the width."""
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
    """Print a line a note, with the tables it belongs to."""
    notes = rows[rows["note"].fillna("") != ""]
    if len(notes):
        print()
    for note, tables in notes.groupby("note", sort=False)["table"]:
        print(sentences(f"{', '.join(tables)}: {note}"))


def _total(rows: pd.DataFrame) -> str:
    return f"{int(rows['requests'].sum()):,} requests, {int(rows['tokens'].sum()):,} API tokens"


def _show(frame: pd.DataFrame, **how: int) -> None:
    # Hashes are complete, because readers copy them.
    print(table_text(frame, width=terminal_width(), complete=["table", "code"], **how))


__all__ = ["run"]

"""The commands of the command line: connect, run, print."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import pandas as pd

from pdframe._command_line import (
    DONE,
    FAILED,
    OUT_OF_BUDGET,
    PARTLY_DONE,
    error_object,
    print_object,
    typed_command,
    writing_output,
)
from pdframe._command_output import (
    UNKNOWN_COST,
    Result,
    json_rows,
    json_value,
    show_notes,
    show_table,
    unavailable,
)
from pdframe._fleet_command import run_fleet
from pdframe._relative_times import absolute
from pdframe._terminal import printable, sentences, terminal_width
from pdframe._warnings import warn
from pdframe.account import Account, connect
from pdframe.bi._targets import target_of
from pdframe.bi.export import check_choice
from pdframe.cache.folder import default_cache_dir
from pdframe.dashboard.page import check_report, write_report
from pdframe.errors import ArgumentError, BudgetError, DataWarning
from pdframe.metrics import changes_summary, ecb_rates
from pdframe.schema import TABLES, table_named, table_with_fields
from pdframe.sync import CURRENT_NOTES

_SENTENCE = 80
_WIDE = 110
_NEWEST = 50
"""Events that `changes` lists."""


def run(options: argparse.Namespace) -> int:
    """Run the parsed command and return its exit code."""
    commands: dict[str, Callable[[argparse.Namespace], Result]] = {
        "demo": _demo,
        "sync": _sync,
        "status": _status,
        "estimate": _estimate,
        "export": _export,
        "fields": _fields,
        "changes": _changes,
        "report": _report,
        "fleet": run_fleet,
    }
    notes: list[str] = []
    with _noting(notes), _logging(options.verbose):
        result = commands[options.command](options)
        if options.json:
            print_object(
                options.command,
                result.code,
                rows=json_rows(result.rows),
                totals=json_value(result.totals),
                notes=notes,
                error=result.error,
            )
        else:
            with writing_output():
                result.show()
    return result.code


@contextmanager
def _noting(notes: list[str]) -> Iterator[None]:
    """Collect each warning, and print it on standard error as a sentence without a line of source
    code.
    """

    def note(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        # A summary of several notes names an attribute of a frame, which a shell does not have.
        for text in getattr(message, "notes", ()) or (str(message),):
            notes.append(text)
            print(f"note: {printable(text)}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("default", DataWarning)
        warnings.showwarning = note
        yield


@contextmanager
def _logging(is_verbose: bool) -> Iterator[None]:
    """Log every request on standard error for the time of a command."""
    if not is_verbose:
        yield
        return
    logger, handler = logging.getLogger("pdframe"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def _account(options: argparse.Namespace) -> Account:
    return connect(
        options.company, cache_dir=options.cache_dir, progress=False if options.quiet else None
    )


def _check_tables(tables: Sequence[str]) -> None:
    """Refuse a table that does not exist, before credentials are needed."""
    for name in tables:
        table_named(name)


def _sync(options: argparse.Namespace) -> Result:
    _check_tables(options.tables)
    with _account(options) as account:
        done = account.sync(*options.tables, full=options.full)
        cache = str(account.cache_path)
    undone = done["mode"].isin(["skipped", "unavailable"]) & ~done["note"].isin(CURRENT_NOTES)
    # A table that the plan lacks fails only if it was named.
    failed = done[undone & ((done["missing"] != "plan") | done["table"].isin(options.tables))]
    wanted = options.tables or list(done["table"])
    totals = {
        "tables": len(done),
        **{name: int(done[name].sum()) for name in ("added", "changed", "removed")},
        **{name: int(done[name].sum()) for name in ("requests", "tokens")},
        "seconds": round(float(done["seconds"].sum()), 3),
        "cache": cache,
    }

    def show() -> None:
        _show_sync(done)
        print(f"\n{cache}")

    return Result(done, show, totals, _code(list(failed["table"]), wanted), unavailable(failed))


def _code(failed: Collection[str], wanted: Iterable[str]) -> int:
    """Return the exit code where some of the wanted tables are unavailable."""
    if not failed:
        return DONE
    return PARTLY_DONE if set(wanted).difference(failed) else FAILED


def _estimate(options: argparse.Namespace) -> Result:
    _check_tables(options.tables)
    with _account(options) as account:
        rows = account.estimate(*options.tables, full=options.full)
        today = account.tokens_today
    totals = {
        "requests": int(rows["requests"].sum()),
        "tokens": int(rows["tokens"].sum()),
        "unknown": int(rows["tokens"].isna().sum()),
        "tokens_today": today,
    }

    def show() -> None:
        show_table(rows, widest=_SENTENCE)
        unknown = UNKNOWN_COST if totals["unknown"] else ""
        print(f"\n{_total(rows)}{unknown}; {today:,} spent today")

    return Result(rows, show, totals)


def _status(options: argparse.Namespace) -> Result:
    with _account(options) as account:
        status = account.status()
        cache = str(account.cache_path)
    others = [name for name in TABLES if name not in set(status["table"])]
    totals = {
        "tables": len(status),
        "rows": int(status["rows"].sum()),
        "bytes": int(status["bytes"].sum()),
        "not_cached": others,
        "cache": cache,
    }

    def show() -> None:
        if len(status):
            show_table(status)
            print("\nTimes are UTC.")
            print(sentences(f"Not cached: {', '.join(others)}."))
        else:
            print(
                "Nothing is cached yet: pdframe sync loads every list, pdframe estimate shows the"
                " cost."
            )
        print(f"\n{cache}")

    return Result(status, show, totals)


def _export(options: argparse.Namespace) -> Result:
    check_choice(
        options.layout,
        options.format,
        options.naming,
        options.tables,
        options.fiscal_start,
    )
    if options.layout != "star" and (options.rates or options.cancellations):
        raise ArgumentError("--rates and --cancellations are of a star: add --layout star.")
    target = target_of(options.folder)
    if target.is_near:
        target.check()
    folder = target.where
    rates = _rates(options.rates)
    with _account(options) as account:
        done = account.export(
            options.folder,
            *options.tables,
            layout=options.layout,
            format=options.format,
            naming=options.naming,
            names=options.names or None,
            personal=not options.no_personal,
            rates=rates,
            fiscal_start=options.fiscal_start,
            cancellations=options.cancellations,
        )
    # A star has an empty file of what is unavailable; of tables a note may be of cut texts.
    lacks = done["note"] != "" if options.layout == "star" else done["path"].isna()
    failed = done[lacks & (done["missing"] != "plan")]
    totals = {
        "tables": int(done["path"].notna().sum()),
        "rows": int(done["rows"].sum()),
        # All tables of a DuckDB file have its size.
        "bytes": int(done.drop_duplicates("path")["bytes"].sum()),
        "folder": folder,
    }

    def show() -> None:
        files = done["path"].str.rpartition("/")[2].where(done["path"].notna())
        show_table(done.assign(file=files)[["table", "rows", "file", "bytes"]])
        show_notes(done)
        print(f"\n{folder}")

    return Result(
        done, show, totals, _code(list(failed["table"]), list(done["table"])), unavailable(failed)
    )


def _fields(options: argparse.Namespace) -> Result:
    table_with_fields(options.table)
    with _account(options) as account:
        fields = account.fields(options.table)

    def show() -> None:
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
        show_table(fields[shown])

    return Result(fields, show, {"fields": len(fields), "custom": int(fields["is_custom"].sum())})


def _changes(options: argparse.Namespace) -> Result:
    since = " ".join(options.since or ()) or "7 days ago"
    for name, time in (("since", since), ("until", options.until)):
        # A mistyped time is refused before credentials are needed.
        absolute(time, datetime.now(UTC), "UTC", name)
    with _account(options) as account:
        events = account.changes(since, options.until, partly=True)
        tz = account.tz
    summary = changes_summary(events)
    deals = int(events["deal_id"].nunique())
    totals = {
        "events": len(events),
        "deals": deals,
        "since": since,
        "until": options.until,
        "tz": tz,
        "summary": json_rows(summary),
    }

    def show() -> None:
        if events.empty:
            print(sentences(f"Nothing happened to deals since {since}."))
            return
        show_table(summary)
        shown = events if options.all else events.tail(_NEWEST)
        times = shown["time"].dt.tz_convert(tz).dt.tz_localize(None)
        columns = ["event", "before", "after", "value", "currency"]
        columns += ["deal_id", "title", "owner_name"]
        print()
        show_table(shown[columns].assign(time=times)[["time", *columns]])
        left_out = f"; the newest {len(shown)} are listed" if len(shown) < len(events) else ""
        print()
        total = f"{len(events):,} events of {deals:,} deals since {since}{left_out}."
        print(sentences(f"{total} Times are {tz}."))

    return Result(events, show, totals)


def _report(options: argparse.Namespace) -> Result:
    # A mistyped path or period, or a missing extra, is refused before credentials are needed.
    target = _report_file(options.file, options.theme, options.period)
    rates = _rates(options.rates)
    with _account(options) as account:
        _, data, notes = write_report(
            account,
            target,
            period=options.period,
            theme=options.theme,
            rates=rates,
            cancellations=options.cancellations,
        )
    for note in notes:
        warn(note)
    size = target.stat().st_size
    rows = pd.DataFrame({"file": [str(target)], "bytes": [size]})

    def show() -> None:
        print(target)

    code, why = DONE, None
    if data.unanswered is not None:
        warn(data.stale)
        code = OUT_OF_BUDGET if isinstance(data.unanswered, BudgetError) else PARTLY_DONE
        why = error_object(data.unanswered)
    return Result(rows, show, {"file": str(target), "bytes": size}, code, why)


def _rates(given: str | None) -> pd.DataFrame | None:
    """Return the rates that `--rates` names: "ecb", or "ecb:USD" with the common currency."""
    if given is None:
        return None
    return ecb_rates(given.partition(":")[2] or "EUR")


def _report_file(path: str | Path, theme: str | None = None, period: str | None = None) -> Path:
    """Return the file of a report; `ArgumentError` where none can be written or drawn."""
    try:
        return check_report(path, theme, period)
    except ImportError as missing:
        raise ArgumentError(str(missing)) from None


def _demo(options: argparse.Namespace) -> Result:
    from pdframe import sandbox

    def say(text: str) -> None:
        if not options.json:
            print(f"\n{sentences(text)}\n", flush=True)

    def show(text: str | pd.DataFrame) -> None:
        if not options.json:
            print(text) if isinstance(text, str) else show_table(text)

    cache_dir = Path(options.cache_dir) if options.cache_dir else default_cache_dir()
    intro = (
        f"A synthetic company (seed {options.seed}, {options.deals:,} deals) on a local server"
        " that behaves like Pipedrive's API."
    )
    show(sentences(intro))
    account = sandbox.connect(
        seed=options.seed,
        deals=options.deals,
        cache_dir=cache_dir,
        progress=False if options.quiet else None,
    )
    with account, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        say("The first sync of everything:")
        first = account.sync(full=True)
        if not options.json:
            _show_sync(first)

        say("Five deals, custom fields by their labels:")
        before = account.tokens_today
        deals = account.deals()
        show(_interesting(deals, account.fields("deals"), terminal_width() or 120))
        show(
            f"\n{len(deals):,} deals, {len(deals.columns)} columns, from the cache:"
            f" {account.tokens_today - before} tokens."
        )
        for warning in caught:
            show(sentences(f"Warning: {warning.message}"))

        say("Seven days pass: deals are added, moved, won and lost. A sync fetches the changes:")
        account.advance(days=7)
        second = account.sync()
        if not options.json:
            _show_sync(second[second["tokens"] > 0])
        show(f"\n{_tokens(second):,} API tokens instead of {_tokens(first):,}.")
        say("One page for the board: key figures, charts, what changed, a forecast:")
        report = _demo_report(account, cache_dir)
        cache = str(account.cache_path)
    totals = {
        "first_tokens": _tokens(first),
        "second_tokens": _tokens(second),
        "cache": cache,
        "report": None if isinstance(report, str) else str(report),
    }

    def end() -> None:
        command = typed_command()
        print(report if isinstance(report, str) else f"Open in a browser: {report.as_uri()}")
        print(
            f"\nParquet, a folder a table: {cache}\n"
            "Your own account:          export PIPEDRIVE_COMPANY=acme PIPEDRIVE_API_TOKEN=...\n"
            f"                           {command} sync\n"
            "Six notebooks, one question each:\n\n"
            f"    {command} notebooks pdframe-notebooks"
        )

    rows = pd.concat([first.assign(sync="first"), second.assign(sync="a week later")])
    return Result(rows, end, totals)


def _tokens(done: pd.DataFrame) -> int:
    return int(done["tokens"].sum())


def _demo_report(account: Account, folder: Path) -> Path | str:
    """Write the report of the demo into the folder of caches; return why not, if it is not."""
    try:
        file = _report_file(folder.absolute() / "pdframe-demo-report.html")
    except ArgumentError as missing:
        return sentences(str(missing))
    return account.report(file, cancellations="Cancellation date", refresh=False)


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


def _show_sync(rows: pd.DataFrame) -> None:
    show_table(rows.drop(columns=["note", "missing"]).rename(columns={"seconds": "s"}))
    show_notes(rows)
    print(f"\n{_total(rows)}, {rows['seconds'].sum():.1f} s")


def _total(rows: pd.DataFrame) -> str:
    requests, tokens = (int(rows[name].sum()) for name in ("requests", "tokens"))
    return f"{requests:,} request{'' if requests == 1 else 's'}, {tokens:,} API tokens"


__all__ = ["run"]

"""Export an account for BI tools: tables, or a star schema, as a set of files that is replaced as
one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow.fs as pafs

from pdframe._advice import did_you_mean, listed
from pdframe._warnings import warn
from pdframe.bi._inputs import inputs_id, is_fresh
from pdframe.bi._outputs import MAX_ROWS, DuckdbOutput, FilesOutput, Written
from pdframe.bi._targets import OvertakenError, Target, target_of
from pdframe.bi.formats import Format, optional
from pdframe.bi.layout_tables import (
    BY_DEFAULT,
    EXPORTABLE,
    FIELD_LISTS,
    Choice,
    Exporting,
    Refreshed,
    Unavailable,
    layout_tables,
    refresh_all,
    refreshes_all,
)
from pdframe.bi.sets import LISTING, SetWriter, check_place, writing
from pdframe.bi.star import STAR_TABLES, star
from pdframe.bi.star_forecast import FACT_FORECAST
from pdframe.bi.star_source import Starred
from pdframe.cache.server_clock import server_now
from pdframe.errors import ArgumentError, CacheError, PdframeError
from pdframe.loaders.base import check_flag
from pdframe.metrics.currency import RateTable
from pdframe.metrics.revenue.endings import Cancellations
from pdframe.schema import tables_in_short

Layout: TypeAlias = Literal["tables", "star"]
Naming: TypeAlias = Literal["labels", "snake"]
FORMATS: Mapping[str, tuple[str, ...]] = {
    "tables": ("parquet", "csv", "duckdb", "xlsx"),
    "star": ("parquet", "csv", "duckdb"),
}
"""The formats of each layout."""
_OF_FILES = frozenset({"parquet", "csv"})
"""Formats of a star that are a file a table, and texts beside them."""
_PACKAGES = {"duckdb": ("duckdb", "bi"), "xlsx": ("xlsxwriter", "xlsx")}


class Account(Exporting, Starred, Protocol):
    """What an export needs of an account, in either layout."""


@dataclass(frozen=True, slots=True)
class _Options:
    """What is not of the tables alone."""

    rates: Any
    fiscal_start: int
    cancellations: Any
    max_rows: int


@dataclass(frozen=True, slots=True)
class _Last:
    """What the listing knows of the last export of a kind."""

    inputs: str | None
    files: list[str]
    tables: list[Written]
    notes: list[str]

    @classmethod
    def of(cls, listed: Mapping[str, Any]) -> _Last | None:
        """Read it from the listing; None: there is none, or another version wrote it."""
        with contextlib.suppress(KeyError, TypeError):
            tables = [Written.from_listing(row) for row in listed["tables"]]
            return cls(listed["inputs"], [*listed["files"]], tables, [*listed["notes"]])
        return None


def export(
    self: Account,
    path: str | os.PathLike[str] | pafs.FileSystem,
    *tables: str,
    layout: Layout = "tables",
    format: Format = "parquet",
    naming: Naming | None = None,
    names: bool | None = None,
    personal: bool = True,
    rates: RateTable | None = None,
    fiscal_start: int = 1,
    cancellations: Cancellations = None,
    refresh: Literal["full"] | bool | None = None,
    labels: bool = True,
    max_rows: int = MAX_ROWS,
) -> pd.DataFrame:
    """Write tables for BI tools into a folder, a file a table: `deals.parquet`,
    `deal_products.parquet` ...

    The tables are loaded first, as the loaders of the same name load them, and the files replaced
    together at the end: a failed export leaves the last one unchanged, and the next export
    completes one that was killed meanwhile; `pdframe.export_check` says whether the files that are
    there are one set. A file whose content is unchanged is not written again. An export replaces
    files of an earlier one; it never touches a file that no export of this account wrote. A new
    folder is private and ignored by git, like its files: they hold personal data.

    Parameters
    ----------
    path
        The folder; created if it does not exist. Or the URL of one on a file system that pyarrow
        or fsspec reaches (`s3://bucket/bi`), or a `pyarrow.fs.FileSystem`, which needs no
        credentials in a URL. There a file is uploaded under another name first, and
        `meta_files` comes last. Of two exports at once into one place, the one that began to
        write last goes on, and the other stops with a `CacheError`. A file system elsewhere has no
        lock: one request of the other that was on its way meanwhile may still arrive later, and
        `export_check` then says that the files are not one set.
    *tables
        Names of tables, and `stage_visits`; none: every list, and the stage visits. Tables
        that cost a request a record are exported only by name: with every record, followers
        with the records that were loaded before.
    layout
        "tables": the tables as the loaders give them. Days are date32, options text, durations
        hours in a column `<name>_hours` (double), lists stay lists. "star": facts, dimensions
        and bridges that are related by keys, with tables that describe them; without names of
        tables.
    format
        "parquet": pandas, DuckDB, Power BI, Tableau and Spark read it (Tableau no lists: export
        the star). "csv": for spreadsheets, UTF-8 with a byte order mark. Times are UTC to the
        second, durations h:mm:ss, list items joined by "; ", lists of objects JSON; null is
        empty. Text that a spreadsheet would read as a formula (it begins with = + - @, as phone
        numbers do) gets a leading ', because CRM text comes from web forms. Control characters
        other than tab and line breaks are removed (separators of lines or records become a
        space); Parquet keeps them. "duckdb": one file, `tables.duckdb` or `star.duckdb`, needs
        `pdframe[bi]`. "xlsx": a workbook a table, without the star; text stays text, times are
        UTC; needs `pdframe[xlsx]`.
    naming
        "labels" (default of tables): the names of the loaders, none equal to another one but
        for case. "snake" (of the star always): `[a-z][a-z0-9_]{0,59}`, no word that SQL
        reserves; a name that several labels share, that is empty, cut, or not Latin, takes `_`
        and the first digits of its hash.
    names, refresh, labels
        As in `Account`; `names` and `labels` of tables alone.
    personal
        False: leave out names of persons, e-mails, phones, addresses and free text; of changelogs
        the values before and after.
    rates, fiscal_start, cancellations
        Of the star: rates as in `metrics.convert`, the first month of the fiscal year, and from
        which day nothing is owed, as in `metrics.mrr_lines`.
    max_rows
        A table with more rows becomes a folder of the same name with a Parquet or CSV file a
        year of its first date.

    Returns
    -------
    DataFrame
        One row a table: table, rows, path (of its file or folder), bytes (of that file or
        folder), note, missing, written (whether a file was written, or was the same already).
        If no table was named, an unavailable one has neither path nor rows; note says why (or which
        texts of a workbook are cut), missing what the account lacks: "plan", "scope", "permission"
        (null: unknown, or nothing). Its file of an earlier export stays, and note says of when it
        is. A star is replaced whole: a table that needs an unavailable list has a file without
        those rows, its note and missing. `export_check` and `meta_files` repeat such a note.
        `attrs["notes"]` has every note of the set, such as lines without an end.

    Warns
    -----
    DataWarning
        Texts of a workbook are longer than a cell of Excel takes, and are cut; or a star lacks
        something, such as a list, an end of lines or a rate (once, all notes in `attrs["notes"]`).

    Raises
    ------
    ArgumentError
        A table, layout or format does not exist or needs a package, the path is no folder or
        cannot be written, a file there is not from an export of this account, or a table is
        longer than a sheet of Excel.
    CacheError
        The files cannot be written, or another export into the same URL began meanwhile.
    PdframeError
        As from the loaders, such as `NotCachedError` if `refresh=False` and nothing is cached.

    Examples
    --------
    >>> files = account.export("bi", "deals", "stages")
    >>> files[["table", "rows"]]
        table  rows
    0   deals   194
    1  stages    12
    """
    target = target_of(path)
    check_choice(layout, format, naming, tables, fiscal_start)
    _check_options(layout, names, labels, (rates, cancellations), max_rows)
    check_flag("refresh", refresh, None, "full")
    check_flag("labels", labels)
    check_flag("names", names, None)
    check_flag("personal", personal)
    if format in _PACKAGES:
        optional(*_PACKAGES[format])
    choice = Choice(
        STAR_TABLES if layout == "star" else tuple(dict.fromkeys(tables or BY_DEFAULT)),
        by_name=bool(tables),
        refresh=refresh,
        labels=labels,
        names=self._names if names is None else names,
        personal=personal,
        naming=naming or ("labels" if layout == "tables" else "snake"),
        hours=format != "csv",
    )
    options = _Options(rates, fiscal_start, cancellations, max_rows)
    key = self._store.root.name
    target.check()
    # Stars of files share the names of their texts, such as views.sql.
    shares = layout == "star" and format in _OF_FILES
    others = [f"star {one}" for one in _OF_FILES - {format}] if shares else []
    try:
        check_place(target, key, _known_files(layout, format, choice.tables), others)
        target.prepare()
        with writing(target, key, f"{layout} {format}", others) as writer:
            done, notes = _write(self, writer, choice, layout, format, options)
    except OvertakenError as error:
        raise CacheError(_overtaken(target, str(error))) from None
    except OSError as error:
        raise CacheError(
            f"The export to {target.where} could not be written: {_why(error)}. Each file of an"
            " earlier export is complete, old or new; free space or choose another folder, and"
            " export again."
        ) from (error if error.strerror else None)
    except PdframeError as error:
        error.kept = " ".join(filter(None, (error.kept, f"Nothing in {target.where} was changed.")))
        raise
    if layout == "tables":
        notes = [f"{one.table}: {one.note}" for one in done if one.file and one.note]
    # How sure a forecast is stands in `attrs["notes"]` and meta_export: the set lacks nothing.
    lacks = [note for note in notes if not note.startswith(f"{FACT_FORECAST}: ")]
    if lacks:
        more = '\nattrs["notes"] of the result has the others.' if notes[1:] else ""
        warn(lacks[0] + more, notes)
    frame = _done_frame(done, target)
    frame.attrs["notes"] = notes
    return frame


def _write(
    account: Account,
    writer: SetWriter,
    choice: Choice,
    layout: Layout,
    format: Format,
    options: _Options,
) -> tuple[list[Written], list[str]]:
    """Write everything that changed, and return a row a table, and the notes of a star."""
    # A star refreshes each list once by itself, where all are refreshed.
    is_left_to_star = layout == "star" and refreshes_all(account, choice)
    refreshed = (
        Refreshed() if is_left_to_star else refresh_all(account, choice, is_star=layout == "star")
    )
    today = server_now(account._store).astimezone(ZoneInfo(account.tz)).date()
    arguments = {
        "choice": replace(choice, refresh=None),
        "rates": _as_text(options.rates),
        "fiscal_start": options.fiscal_start,
        "cancellations": _as_text(options.cancellations),
        "max_rows": options.max_rows,
        # A star ends with the day.
        "day": today if layout == "star" else None,
    }
    inputs = inputs_id(account, arguments)
    last = _Last.of(writer.last)
    if (
        last is not None
        and last.inputs == inputs
        and not is_left_to_star
        and is_fresh(account, choice, refreshed.fresh)
        and all(writer.is_in_place(name) for name in last.files)
    ):
        return last.tables, last.notes
    writer.begin()
    done: list[Written] = []
    notes: list[str] = []
    with contextlib.ExitStack() as stack:
        output: FilesOutput | DuckdbOutput
        if format == "duckdb":
            output = stack.enter_context(DuckdbOutput.open(writer, f"{layout}.duckdb"))
        else:
            output = FilesOutput(writer, format, options.max_rows)
        if layout == "tables":
            for table in layout_tables(account, choice, refreshed):
                if isinstance(table, Unavailable):
                    note = " ".join(filter(None, (table.note, output.lacks(table))))
                    done.append(Written(table.table, note=note, missing=table.missing))
                else:
                    done.append(output.add(table))
        else:
            content = star(
                account,
                personal=choice.personal,
                rates=options.rates,
                fiscal_start=options.fiscal_start,
                cancellations=options.cancellations,
                refresh=choice.refresh,
            )
            done += [output.add(table) for table in content.tables]
            notes = list(content.notes)
            now = server_now(account._store)
            done += output.describe(
                content, account._store.root.name, now, account.tz, account.currency
            )
        output.finish()
        done = [output.sized(row) for row in done]
        lacks = any(row.file is None or (layout == "star" and row.note) for row in done)
        # A loader may have refreshed a table: then this is not what the rows were made of. And what
        # was unavailable may be cached unchanged when it is available again.
        is_known = not lacks and inputs_id(account, arguments) == inputs
        about = {
            "inputs": inputs if is_known else None,
            "files": sorted(writer.contents),
            "tables": [row.to_listing() for row in done],
            "notes": notes,
            **output.about,
        }
        writer.commit(about, is_complete=layout == "star")
    return done, notes


def check_choice(
    layout: str, format: str, naming: str | None, tables: Sequence[str], fiscal_start: object
) -> None:
    """Raise `ArgumentError` for a layout, format, table or month that does not exist, or does not
    go with the others.
    """
    if layout not in FORMATS:
        raise ArgumentError(
            f"layout must be 'tables' or 'star', not {layout!r}. A star (facts, dimensions, a"
            " calendar) is what Power BI, Tableau and the like work with."
        )
    formats = FORMATS[layout]
    if format not in formats:
        known = f"{', '.join(map(repr, formats[:-1]))} or {formats[-1]!r}"
        of = " of a star" if layout == "star" else ""
        raise ArgumentError(f"format{of} must be {known}, not {format!r}.")
    if naming not in (None, "labels", "snake"):
        raise ArgumentError(f"naming must be 'labels' or 'snake', not {naming!r}.")
    if layout == "star":
        if naming == "labels":
            raise ArgumentError(
                "The columns of a star have snake names; meta_columns has their labels. Leave"
                " naming out, or export layout='tables'."
            )
        if tables:
            raise ArgumentError(
                f"A star is exported as one, without names of tables: leave {tables[0]!r} out, or"
                " export layout='tables'."
            )
    if type(fiscal_start) is not int or not 1 <= fiscal_start <= 12:
        raise ArgumentError(f"fiscal_start must be a month from 1 to 12, not {fiscal_start!r}.")
    if layout == "tables" and fiscal_start != 1:
        raise ArgumentError("A fiscal year is of the star alone: choose layout 'star' too.")
    check_names(tables)


def _check_options(
    layout: str,
    names: object,
    labels: object,
    of_star: Sequence[object],
    max_rows: object,
) -> None:
    if layout == "star":
        if names is not None or labels is not True:
            raise ArgumentError(
                "names and labels are for layout='tables': a star has both, in its dimensions."
            )
    elif any(value is not None for value in of_star):
        raise ArgumentError("rates and cancellations are for layout='star'.")
    if not isinstance(max_rows, int) or max_rows < 1:
        raise ArgumentError(f"max_rows must be a number of rows, 1 or more, not {max_rows!r}.")


def check_names(tables: Sequence[object]) -> None:
    """Raise `ArgumentError` for a table that does not exist, or is not exported."""
    for name in tables:
        if not isinstance(name, str):
            raise ArgumentError(
                f"Name the tables one by one: account.export(path, {listed(name)})."
            )
        if name in FIELD_LISTS:
            raise ArgumentError(
                f"{name!r} is metadata and not exported: account.fields({FIELD_LISTS[name]!r})"
                " returns it."
            )
        if name not in EXPORTABLE:
            hint = did_you_mean(name, EXPORTABLE) or tables_in_short(EXPORTABLE)
            raise ArgumentError(f"There is no table {name!r} to export. {hint}")


def _known_files(layout: str, format: str, tables: Sequence[str]) -> list[str]:
    """Return the files that an export surely writes."""
    if format == "duckdb":
        return [f"{layout}.duckdb"]
    return [f"{name}.{format}" for name in tables] if layout == "tables" else []


def _as_text(argument: Any) -> str | None:
    """Return rates or cancellations as text, for the digest of what an export is computed from."""
    if argument is None:
        return None
    if isinstance(argument, pd.DataFrame | pd.Series):
        return argument.to_csv()
    # What an object of another kind says may be another thing each time.
    return repr(argument) if isinstance(argument, str | dict) else secrets.token_hex()


def _overtaken(target: Target, by: str) -> str:
    began = f"began ({by})" if by else "ended its work"
    return (
        f"Another export to {target.where} {began} while this one ran, so this one stopped: two"
        " at once would mix their files. What is there is the set of the other one;"
        " pdframe.export_check says whether it is complete. Run one export at a time to one place."
    )


def _why(error: OSError) -> str:
    # The messages of remote file systems quote URLs and answers.
    return error.strerror or type(error).__name__


def _done_frame(done: Sequence[Written], target: Target) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "table": pd.Series([one.table for one in done], dtype="str"),
            "rows": pd.Series([one.rows for one in done], dtype="Int64"),
            "path": pd.Series(
                [target.path(one.file) if one.file else None for one in done], dtype="str"
            ),
            "bytes": pd.Series([one.bytes for one in done], dtype="Int64"),
            "note": pd.Series([one.note for one in done], dtype="str"),
            "missing": pd.Series([one.missing for one in done], dtype="str"),
            "written": pd.Series([one.is_written for one in done], dtype="boolean"),
        }
    )


__all__ = [
    "BY_DEFAULT",
    "EXPORTABLE",
    "FIELD_LISTS",
    "FORMATS",
    "LISTING",
    "Format",
    "Layout",
    "Naming",
    "check_choice",
    "check_names",
    "export",
]

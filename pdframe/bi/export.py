"""Export tables for BI: one Parquet or CSV file a table, as the loaders return it, all replaced
together.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pdframe._advice import did_you_mean
from pdframe._files import make_private, write_atomic
from pdframe.errors import AccessError, ArgumentError, CacheError, NotCachedError, PdframeError
from pdframe.fields import fold
from pdframe.loaders.base import Connected, check_flag, chosen_names, name_columns
from pdframe.schema import LISTS, TABLES, tables_in_short
from pdframe.sync import CURRENT_NOTES
from pdframe.sync.fetch_state import load_states

Format: TypeAlias = Literal["parquet", "csv"]
VISITS = "stage_visits"
VISIT_TABLES = ("deals", "stages")
"""The tables that stage visits are computed from."""
FIELD_LISTS = {table.field_list: name for name, table in TABLES.items() if table.field_list}
"""The lists of fields, and the table of each."""
EXPORTABLE = (*(name for name in TABLES if name not in FIELD_LISTS), VISITS)
BY_DEFAULT = (*(name for name in LISTS if name not in FIELD_LISTS), VISITS)
LISTING = "pdframe-export.json"
"""The file that names the account and the exported files of a folder: only these are replaced."""

# Control characters (Unicode category Cc) other than tab and line breaks: separators, and others.
_SEPARATORS = r"[\x0b\x0c\x1c-\x1f\x{85}]"
_CONTROLS = r"[\x00-\x08\x0e-\x1b\x7f-\x{84}\x{86}-\x{9f}]"
# What a spreadsheet reads as a formula, also after white space and in full width.
_FORMULA = r"^\s*[=+\-@＝＋－＠]|^[\t\r\n]"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_JOINT = "; "


@dataclass(frozen=True, slots=True)
class _Done:
    """The export of one table: its file, or the reason why it has none."""

    table: str
    rows: int | None = None
    file: str | None = None
    bytes: int | None = None
    note: str = ""
    missing: str | None = None


def export(
    self: Connected,
    path: str | os.PathLike[str],
    *tables: str,
    format: Format = "parquet",
    refresh: Literal["full"] | bool | None = None,
    labels: bool = True,
    names: bool | None = None,
) -> pd.DataFrame:
    """Write tables into a folder for BI tools, a file a table: `deals.parquet`,
    `deal_products.parquet` ...

    The tables are loaded first, as the loaders of the same name load them, and the files replaced
    together at the end: a failed export leaves the last one unchanged. An export replaces files of
    an earlier one; it never touches a file that no export of this account wrote. A new folder is
    private and ignored by git, like its files: they hold personal data.

    Parameters
    ----------
    path
        The folder; created if it does not exist.
    *tables
        Names of tables, and `stage_visits`; none: every list, and the stage visits. Tables
        that cost a request a record are exported only by name: with every record, followers
        with the records that were loaded before.
    format
        "parquet": exact; pandas, DuckDB, Power BI, Tableau and Spark read it. Categories stay
        categories, lists stay lists; only a table without rows loses the labels of its
        categories. Tools without durations show microseconds. "csv": for spreadsheets, UTF-8
        with a byte order mark. Times are UTC to the second, durations h:mm:ss, list items
        joined by "; ", lists of objects JSON; null is empty. Text that a spreadsheet would
        read as a formula (it begins with = + - @, as phone numbers do) gets a leading ',
        because CRM text comes from web forms. Control characters other than tab and line
        breaks are removed (separators of lines or records become a space); Parquet keeps
        them. No two column names of a file differ only by case.
    refresh, labels, names
        As in `Account`.

    Returns
    -------
    DataFrame
        One row a table: table, rows, path, bytes, note, missing. If no table was named, an
        unavailable one has neither path nor rows; note says why, missing what the account
        lacks: "plan", "scope", "permission" (null: nothing).

    Raises
    ------
    ArgumentError
        A table or format does not exist, the path is no folder or cannot be written, or a file
        there is not from an export of this account.
    CacheError
        The files cannot be written.
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
    _check(path, tables, format)
    check_flag("labels", labels)
    names = chosen_names(names, self._names)
    folder = _Folder(Path(path).expanduser().absolute(), self._store.root.name)
    wanted = tuple(dict.fromkeys(tables or BY_DEFAULT))
    folder.check([f"{table}.{format}" for table in wanted])
    done: list[_Done] = []
    try:
        with folder.staging() as staging:
            fresh = _refresh_once(self, wanted, refresh, names)
            for table in wanted:
                try:
                    frame = _load_table(
                        self, table, False if table in fresh else refresh, labels, names
                    )
                except AccessError as error:
                    if tables or error.status == 401:
                        raise
                    done.append(
                        _Done(table, note=str(error.args[0]), missing=error.missing or None)
                    )
                    continue
                content = _parquet(frame) if format == "parquet" else _csv(frame)
                file = f"{table}.{format}"
                write_atomic(staging / file, content)
                done.append(_Done(table, len(frame), file, len(content)))
            folder.take(staging, [one for one in done if one.file])
    except OSError as error:
        raise CacheError(
            f"The export to {folder.path} could not be written: {error.strerror}. Each file of an"
            " earlier export is complete, old or new; free space or choose another folder, and"
            " export again."
        ) from error
    except PdframeError as error:
        error.kept = " ".join(filter(None, (error.kept, f"Nothing in {folder.path} was changed.")))
        raise
    return _done_frame(done, folder.path)


def _refresh_once(
    account: Connected,
    wanted: Sequence[str],
    refresh: Literal["full"] | bool | None,
    names: bool | None,
) -> frozenset[str]:
    """Refresh the tables of several loaders in one sync, and return those that are now fresh."""
    if not (refresh or (refresh is None and account._max_age == timedelta(0))):
        return frozenset()
    lists = {name for table in wanted for name in (VISIT_TABLES if table == VISITS else (table,))}
    lists |= {
        column.table
        for name in wanted
        if name != VISITS
        for column in name_columns(TABLES[name], names)
    }
    rows = account._syncer.sync(lists, full=refresh == "full", max_age=account._max_age)
    fresh = {
        row.table
        for row in rows
        if row.mode in ("full", "incremental") or row.note in CURRENT_NOTES
    }
    return frozenset(fresh | ({VISITS} if fresh.issuperset(VISIT_TABLES) else set()))


def _load_table(
    account: Connected,
    table: str,
    refresh: Literal["full"] | bool | None,
    labels: bool,
    names: bool | None,
) -> pd.DataFrame:
    load = getattr(account, table)
    frame: pd.DataFrame
    if table == VISITS:
        frame = load(refresh=refresh)
    elif (parent := TABLES[table].parent) is not None and not parent.every:
        ids = load_states(account._store, table)["id"].to_pylist()
        if not ids:
            raise NotCachedError(
                f"Nothing of {table!r} is cached: its rows are loaded by id. Call"
                f" account.{table}(ids) first."
            )
        frame = load(ids, refresh=refresh, labels=labels, names=names)
    else:
        frame = load(refresh=refresh, labels=labels, names=names)
    return frame


class _Folder:
    """A folder of exported files, and the list of the files that exports wrote."""

    def __init__(self, path: Path, account: str) -> None:
        self.path = path
        self._account = account

    def check(self, files: Sequence[str]) -> None:
        """Refuse, before any table is loaded, files that cannot be written or replaced."""
        above = self.path
        while not above.exists() and above != above.parent:
            above = above.parent
        if not above.is_dir():
            raise ArgumentError(
                f"An export needs a folder, and {above} is a file. Pass the path of a folder,"
                " new or not."
            )
        if not os.access(above, os.W_OK | os.X_OK):
            raise ArgumentError(
                f"{above} is not writable. Choose another folder, or change its permissions."
            )
        account, own = self._listed()
        if account not in (None, self._account):
            raise ArgumentError(
                f"{self.path} holds the export of another account, {account}, and this one is"
                f" {self._account}: one would replace the other. Use one folder an account."
            )
        foreign = [file for file in files if file not in own and os.path.lexists(self.path / file)]
        if foreign:
            raise ArgumentError(
                f"{self.path} holds {', '.join(foreign)}, which no export of this account wrote:"
                " nothing was changed. Move it away, or choose another folder."
            )

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """Make a private folder next to the files for the time of the export, and the folder itself
        if it is missing.
        """
        if not self.path.exists():
            make_private(self.path)
            write_atomic(self.path / ".gitignore", b"# Exports of a CRM are personal data.\n*\n")
        staging = Path(tempfile.mkdtemp(prefix=".pdframe-", dir=self.path))
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def take(self, staging: Path, done: Sequence[_Done]) -> None:
        """Replace the files; they are listed first, so that the next export may replace those of a
        crashed one.
        """
        _, own = self._listed()
        now = datetime.now(UTC).replace(microsecond=0).isoformat()
        files = own | {str(one.file): {"rows": one.rows, "exported_at": now} for one in done}
        listing = {"account": self._account, "files": dict(sorted(files.items()))}
        write_atomic(self.path / LISTING, json.dumps(listing, indent=1).encode())
        for one in done:
            (staging / str(one.file)).replace(self.path / str(one.file))

    def _listed(self) -> tuple[str | None, dict[str, Any]]:
        path = self.path / LISTING
        try:
            listing = json.loads(path.read_bytes())
            account, files = listing["account"], listing["files"]
            if isinstance(account, str) and isinstance(files, dict):
                return account, files
        except FileNotFoundError:
            return None, {}
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise ArgumentError(
            f"{path} cannot be read: which files there may be replaced is unknown. Move it away,"
            " or choose another folder."
        )


def _check(path: object, tables: Sequence[str], format: str) -> None:
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"path must be a folder, such as 'bi', not {path!r}.")
    if format not in ("parquet", "csv"):
        raise ArgumentError(f"format must be 'parquet' or 'csv', not {format!r}.")
    check_names(tables)


def check_names(tables: Sequence[str]) -> None:
    """Raise `ArgumentError` for a table that does not exist, or is not exported."""
    for name in tables:
        if name in FIELD_LISTS:
            raise ArgumentError(
                f"{name!r} is metadata and not exported: account.fields({FIELD_LISTS[name]!r})"
                " returns it."
            )
        if name not in EXPORTABLE:
            hint = did_you_mean(str(name), EXPORTABLE) or tables_in_short(EXPORTABLE)
            raise ArgumentError(f"There is no table {name!r} to export. {hint}")


def _arrow(frame: pd.DataFrame) -> pa.Table:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    # pandas cannot parse its own name of a list dtype; "object" makes `read_parquet` work.
    metadata = json.loads(table.schema.metadata[b"pandas"])
    for column in metadata["columns"]:
        if column["numpy_type"].startswith("list<"):
            column["numpy_type"] = "object"
    return table.replace_schema_metadata({b"pandas": json.dumps(metadata).encode()})


def _parquet(frame: pd.DataFrame) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(_arrow(frame), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _csv(frame: pd.DataFrame) -> bytes:
    # Imported here, because most sessions never write CSV.
    import pyarrow.csv as pcsv

    table = _arrow(frame)
    columns = [_for_csv(table.column(place)) for place in range(table.num_columns)]
    header = _header(table.column_names)
    sink = io.BytesIO(_BYTE_ORDER_MARK)
    sink.seek(0, io.SEEK_END)
    pcsv.write_csv(pa.table(columns, names=header), sink)
    return sink.getvalue()


def _for_csv(values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
    elif pa.types.is_list(kind):
        values = pa.chunked_array(
            [pa.array([_joined(cell) for cell in values.to_pylist()], pa.string())]
        )
    elif pa.types.is_duration(kind):
        values = pa.chunked_array(
            [
                pa.array(
                    [_clock(micros) for micros in values.cast(pa.int64()).to_pylist()], pa.string()
                )
            ]
        )
    elif pa.types.is_timestamp(kind):
        # Dates have no timezone, times are UTC.
        return (
            values.cast(pa.date32())
            if kind.tz is None
            else pc.floor_temporal(values, unit="second").cast(pa.timestamp("s"))
        )
    return (
        _harmless(values)
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
        else values
    )


def _header(names: Sequence[str]) -> list[str]:
    """Make column names harmless; if a leading ' makes two names alike, one gets a second one."""
    header: list[str] = _harmless(pa.array(names, pa.string())).to_pylist()
    taken = {fold(name) for name, shown in zip(names, header, strict=True) if name == shown}
    for place, (name, shown) in enumerate(zip(names, header, strict=True)):
        if name != shown:
            while fold(header[place]) in taken:
                header[place] = f"'{header[place]}"
            taken.add(fold(header[place]))
    return header


def _harmless(text: Any) -> Any:
    """Remove control characters from text, and mark what a spreadsheet would read as a formula."""
    text = text.cast(pa.large_string())
    for signs, instead in ((_SEPARATORS, " "), (_CONTROLS, "")):
        if pc.any(pc.match_substring_regex(text, signs)).as_py():
            text = pc.replace_substring_regex(text, signs, instead)
    marked = pc.binary_join_element_wise(
        *(part if part is text else pa.scalar(part, text.type) for part in ("'", text, ""))
    )
    return pc.if_else(pc.match_substring_regex(text, _FORMULA), marked, text)


def _joined(cell: list[Any] | None) -> str | None:
    if cell is None:
        return None
    if any(isinstance(item, dict) for item in cell):
        return json.dumps(cell, ensure_ascii=False)
    return _JOINT.join(str(item) for item in cell if item is not None)


def _clock(micros: int | None) -> str | None:
    if micros is None:
        return None
    minutes, seconds = divmod(micros // 1_000_000, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def _done_frame(done: Sequence[_Done], folder: Path) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "table": pd.Series([one.table for one in done], dtype="str"),
            "rows": pd.Series([one.rows for one in done], dtype="Int64"),
            "path": pd.Series(
                [str(folder / one.file) if one.file else None for one in done], dtype="str"
            ),
            "bytes": pd.Series([one.bytes for one in done], dtype="Int64"),
            "note": pd.Series([one.note for one in done], dtype="str"),
            "missing": pd.Series([one.missing for one in done], dtype="str"),
        }
    )


__all__ = ["BY_DEFAULT", "EXPORTABLE", "FIELD_LISTS", "LISTING", "Format", "check_names", "export"]

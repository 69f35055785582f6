"""Export for BI: tables as loaders give them, a Parquet or CSV file each, replaced together."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pdframe._files import make_private, write_atomic
from pdframe.cache.store import Store
from pdframe.errors import AccessError, ArgumentError, CacheError, NotCachedError, PdframeError
from pdframe.fields import fold
from pdframe.schema import LISTS, TABLES
from pdframe.sync import CURRENT_NOTES, Syncer
from pdframe.sync.fetch_state import load_fetch_states

Format: TypeAlias = Literal["parquet", "csv"]
VISITS = "stage_visits"
RESTS_ON = ("deals", "stages")
"""The tables that stage visits are made of."""
FIELD_LISTS = {table.field_list: name for name, table in TABLES.items() if table.field_list}
"""The lists of fields, and the table of each."""
EXPORTABLE = (*(name for name in TABLES if name not in FIELD_LISTS), VISITS)
BY_DEFAULT = (*(name for name in LISTS if name not in FIELD_LISTS), VISITS)
LISTING = "pdframe-export.json"
"""Names the account and the files that an export wrote into a folder: these alone it replaces."""

# Control characters (Unicode's category Cc) other than tab and line breaks: those that separate,
# and all others.
_SEPARATORS = r"[\x0b\x0c\x1c-\x1f\x{85}]"
_CONTROLS = r"[\x00-\x08\x0e-\x1b\x7f-\x{84}\x{86}-\x{9f}]"
# What a spreadsheet takes for a formula, also behind white space and in full width.
_FORMULA = r"^\s*[=+\-@＝＋－＠]|^[\t\r\n]"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_JOINT = "; "


@dataclass(frozen=True, slots=True)
class _Done:
    """One table of an export: its file, or why it has none."""

    table: str
    rows: int | None = None
    file: str | None = None
    bytes: int | None = None
    note: str = ""
    missing: str | None = None


class Exports(ABC):
    """The part of an account that hands tables to other programs."""

    _max_age: timedelta | None

    @property
    @abstractmethod
    def _store(self) -> Store: ...

    @property
    @abstractmethod
    def _syncer(self) -> Syncer: ...

    def export(
        self,
        path: str | os.PathLike[str],
        *tables: str,
        format: Format = "parquet",
        refresh: Literal["full"] | bool | None = None,
        labels: bool = True,
        names: bool = False,
    ) -> pd.DataFrame:
        """Write tables into a folder for BI tools, a file a table: `deals.parquet`,
        `deal_products.parquet` ...

        All are loaded first, as the loaders of the same name would (what has to be asked anew, once
        for all), and put in place together at the end: an export that fails leaves the last one as
        it was. Files of an earlier export are replaced; a file that no export of this account wrote
        is never touched. A folder that has to be made is private and ignored by git, and so are the
        files: they hold personal data.

        Parameters
        ----------
        path
            The folder; made where it does not exist.
        *tables
            Names of tables, and `stage_visits`; none given: every list, and the stage visits.
            Tables that cost a request a record are exported where they are named: with every
            record, followers with the records that were asked for before.
        format
            "parquet": exact; pandas, DuckDB, Power BI, Tableau and Spark read it. Categories stay
            categories, lists lists; only a table without rows loses the labels of its categories.
            Tools that know no durations see microseconds. "csv": for spreadsheets, UTF-8 with a
            byte order mark. Times are UTC to the second, durations h:mm:ss, list items joined by ";
            ", lists of objects JSON; null is empty. Text that a spreadsheet would take for a
            formula (it begins with = + - @, as phone numbers do) gets a ' in front, for CRM text
            comes from web forms. Control characters other than tab and line breaks are left out
            (those that separate lines or records become a space); Parquet keeps them. No two
            columns of a file have names that differ by case alone.
        refresh, labels, names
            As for the loaders.

        Returns
        -------
        DataFrame
            One row a table: table, rows, path, bytes, note, missing. Where no table was named, one
            that the account cannot have has neither path nor rows; note says why, missing what
            lacks: "plan", "scope", "permission" (null: nothing).

        Raises
        ------
        ArgumentError
            A table or format that does not exist, a path that is no folder or cannot be written, or
            a file there that is not pdframe's.
        CacheError
            The files could not be written.
        PdframeError
            As the loaders, such as `NotCachedError` where `refresh=False` finds nothing.
        """
        _check(path, tables, format)
        folder = _Folder(Path(path).expanduser().absolute(), self._store.root.name)
        wanted = tuple(dict.fromkeys(tables or BY_DEFAULT))
        folder.check([f"{table}.{format}" for table in wanted])
        done: list[_Done] = []
        try:
            with folder.staging() as staging:
                fresh = self._synced(wanted, refresh, names)
                for table in wanted:
                    try:
                        frame = self._exported(
                            table, False if table in fresh else refresh, labels, names
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
                f"The export to {folder.path} could not be written: {error.strerror}. Files of an"
                " earlier export are whole, old or new; free space or give another folder, and"
                " export again."
            ) from error
        except PdframeError as error:
            error.kept = " ".join(
                filter(None, (error.kept, f"In {folder.path} nothing was changed."))
            )
            raise
        return _done_frame(done, folder.path)

    def _synced(
        self, wanted: Sequence[str], refresh: Literal["full"] | bool | None, names: bool
    ) -> frozenset[str]:
        """Bring what every loader would ask for anew up to date once for all, and tell which tables
        the cache now has as of now.
        """
        if not (refresh or (refresh is None and self._max_age == timedelta(0))):
            return frozenset()
        lists = {name for table in wanted for name in (RESTS_ON if table == VISITS else (table,))}
        if names:
            lists |= {column.table for name in tuple(lists) for column in TABLES[name].names}
        rows = self._syncer.sync(lists, full=refresh == "full", max_age=self._max_age)
        fresh = {
            row.table
            for row in rows
            if row.mode in ("full", "incremental") or row.note in CURRENT_NOTES
        }
        return frozenset(fresh | ({VISITS} if fresh.issuperset(RESTS_ON) else set()))

    def _exported(
        self, table: str, refresh: Literal["full"] | bool | None, labels: bool, names: bool
    ) -> pd.DataFrame:
        load = getattr(self, table)
        frame: pd.DataFrame
        if table == VISITS:
            frame = load(refresh=refresh)
        elif (parent := TABLES[table].parent) is not None and not parent.every:
            requested = sorted(load_fetch_states(self._store, table))
            if not requested:
                raise NotCachedError(
                    f"Nothing is cached of {table!r}: its rows are asked for by id. Call"
                    f" account.{table}(ids) first."
                )
            frame = load(requested, refresh=refresh, labels=labels, names=names)
        else:
            frame = load(refresh=refresh, labels=labels, names=names)
        return frame


class _Folder:
    """A folder of exported files, and which of them are an export's own."""

    def __init__(self, path: Path, account: str) -> None:
        self.path = path
        self._account = account

    def check(self, files: Sequence[str]) -> None:
        """Refuse before anything is loaded what could not be written, or is not ours to replace."""
        above = self.path
        while not above.exists() and above != above.parent:
            above = above.parent
        if not above.is_dir():
            raise ArgumentError(
                f"An export goes into a folder, and {above} is a file. Give the path of a folder,"
                " new or not."
            )
        if not os.access(above, os.W_OK | os.X_OK):
            raise ArgumentError(
                f"Nothing can be written to {above}. Give another folder, or the right to write"
                " there."
            )
        account, own = self._listed()
        if account not in (None, self._account):
            raise ArgumentError(
                f"{self.path} holds the export of another account, {account}, and this one is"
                f" {self._account}: one would replace the other. Give each account a folder of its"
                " own."
            )
        foreign = [file for file in files if file not in own and os.path.lexists(self.path / file)]
        if foreign:
            raise ArgumentError(
                f"{self.path} holds {', '.join(foreign)}, which no export of this account wrote:"
                " nothing was changed. Move it away, or give another folder."
            )

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """A private folder beside the files, gone afterwards; the folder itself is made where it is
        missing.
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
        """Put the files in place; listed first, so that one that a crash leaves behind is known as
        ours.
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
            f"{path} cannot be read, so nobody knows which files there may be replaced. Move it"
            " away, or give another folder."
        )


def _check(path: object, tables: Sequence[str], format: str) -> None:
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"path must be a folder, such as 'bi', not {path!r}.")
    if format not in ("parquet", "csv"):
        raise ArgumentError(f"format is 'parquet' or 'csv', not {format!r}.")
    for name in tables:
        if name in FIELD_LISTS:
            raise ArgumentError(
                f"{name!r} is metadata, not exported: account.fields({FIELD_LISTS[name]!r}) is its"
                " frame."
            )
        if name not in EXPORTABLE:
            close = get_close_matches(str(name), EXPORTABLE, n=3)
            hint = (
                f"Did you mean {' or '.join(map(repr, close))}?"
                if close
                else f"Tables: {', '.join(EXPORTABLE)}."
            )
            raise ArgumentError(f"There is no table {name!r} to export. {hint}")


def _arrow(frame: pd.DataFrame) -> pa.Table:
    table = pa.Table.from_pandas(frame, preserve_index=False)
    # pandas cannot read back its own name of a dtype of lists: without it, `read_parquet` gives
    # objects.
    kept = json.loads(table.schema.metadata[b"pandas"])
    for column in kept["columns"]:
        if column["numpy_type"].startswith("list<"):
            column["numpy_type"] = "object"
    return table.replace_schema_metadata({b"pandas": json.dumps(kept).encode()})


def _parquet(frame: pd.DataFrame) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(_arrow(frame), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _csv(frame: pd.DataFrame) -> bytes:
    # Not at the top: most sessions never write CSV, and every one waits for what is imported there.
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
        # A frame's dates have no timezone, its times are UTC.
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
    """Make column names harmless; where a ' in front makes two names alike, one takes more of
    them.
    """
    header: list[str] = _harmless(pa.array(names, pa.string())).to_pylist()
    kept = {fold(name) for name, shown in zip(names, header, strict=True) if name == shown}
    for place, (name, shown) in enumerate(zip(names, header, strict=True)):
        if name != shown:
            while fold(header[place]) in kept:
                header[place] = f"'{header[place]}"
            kept.add(fold(header[place]))
    return header


def _harmless(text: Any) -> Any:
    """Make text without control characters that no spreadsheet takes for a formula."""
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

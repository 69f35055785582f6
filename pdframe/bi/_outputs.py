"""How the tables of a set become files: one a table, parts by year, or one DuckDB file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from pdframe.bi import _meta
from pdframe.bi._tables import BiSet, BiTable, ColumnNote
from pdframe.bi.formats import WRITERS, DuckdbFile, check_excel, content_id, cut_in_excel
from pdframe.bi.layout_tables import Unavailable
from pdframe.bi.schema_yml import schema_yml
from pdframe.bi.sets import META_FILES, NOTE, SetWriter
from pdframe.bi.views import duckdb_sql, views_sql

MAX_ROWS = 5_000_000
"""A table with more rows becomes a folder of parts by year."""


@dataclass(frozen=True, slots=True)
class Written:
    """The export of one table: its file or folder. `note`: why it has none, or what it lacks."""

    table: str
    rows: int | None = None
    file: str | None = None
    bytes: int | None = None
    note: str = ""
    missing: str | None = None
    is_written: bool = False

    def to_listing(self) -> dict[str, Any]:
        """Return the row as the listing keeps it."""
        return {name: value for name, value in asdict(self).items() if name != "is_written"}

    @classmethod
    def from_listing(cls, row: Mapping[str, Any]) -> Written:
        """Return a row of an export that wrote nothing."""
        return cls(**row)


class FilesOutput:
    """A file a table, or a folder of parts."""

    def __init__(self, writer: SetWriter, format: str, max_rows: int) -> None:
        self._writer = writer
        self._format = format
        self._max_rows = max_rows
        self._notes: list[tuple[str, Sequence[ColumnNote]]] = []
        self._schemas: dict[str, pa.Schema] = {}
        self._folders: set[str] = set()
        self.about: dict[str, Any] = {}

    def add(self, table: BiTable) -> Written:
        """Stage the files of a table."""
        self._notes.append((table.name, table.columns))
        row = self._add(table.name, table.table, table.note)
        return replace(row, note=table.note or row.note, missing=table.missing)

    def lacks(self, table: Unavailable) -> str:
        """Note that a table is not of this export; return what that means for its file."""
        file = f"{table.table}.{self._format}"
        if not (names := self._writer.outdate(file, table.note)):
            return ""
        return f"{file} is of the export of {self._writer.listing.files[names[0]]['exported_at']}."

    def _add(self, name: str, rows: pa.Table, lacks: str = "") -> Written:
        self._schemas[name] = rows.schema
        file = f"{name}.{self._format}"
        write = WRITERS[self._format]
        note = ""
        if self._format == "xlsx":
            check_excel(name, rows)
            note = cut_in_excel(rows)
        size, is_written = 0, False
        for part, table in self._parts(file, name, rows):
            content = content_id(table) if self._format == "parquet" else None

            def write_part(
                stream: Any, table: pa.Table = table, content: str | None = content
            ) -> None:
                write(name, table, content or "", stream)

            if part != file:
                self._folders.add(name)
            entry = self._writer.add(part, table.num_rows, content, write_part)
            if lacks:
                entry[NOTE] = lacks
            size += entry["bytes"]
            is_written |= self._writer.is_written(part)
        return Written(name, rows.num_rows, file, size, note, is_written=is_written)

    def _parts(self, file: str, name: str, rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        """Yield the files of a table; the parts of a long one by the year of its first date."""
        if rows.num_rows <= self._max_rows or self._format == "xlsx":
            yield file, rows
            return
        dated = next(
            (
                field.name
                for field in rows.schema
                if pa.types.is_date(field.type) or pa.types.is_timestamp(field.type)
            ),
            None,
        )
        if dated is None:
            for number, start in enumerate(range(0, rows.num_rows, self._max_rows), start=1):
                part = f"{file}/{name}-part{number}.{self._format}"
                yield part, rows.slice(start, self._max_rows)
            return
        years = pc.year(rows[dated])
        for year in sorted(pc.unique(years).to_pylist(), key=lambda year: (year is None, year)):
            mask = pc.is_null(years) if year is None else pc.equal(years, year)
            label = "none" if year is None else f"{year:04}"
            yield f"{file}/{name}-{label}.{self._format}", rows.filter(mask)

    def describe(
        self, content: BiSet, account: str, as_of: datetime, tz: str, currency: str | None
    ) -> list[Written]:
        """Stage the tables that describe the set. Call it once every table was added."""
        writer = self._writer
        done = [
            self._add(_meta.COLUMNS, _meta.columns_table(self._notes)),
            self._add(_meta.RELATIONSHIPS, _meta.relationships_table(content.relationships)),
        ]
        columns = dict(self._notes)
        self._text("views.sql", views_sql(columns, content.relationships))
        self._text("duckdb.sql", duckdb_sql(self._schemas, self._format, self._folders))
        self._text("schema.yml", schema_yml(columns, content.relationships))
        notes = list(content.notes)
        export_id = _meta.export_id(writer.contents, account, tz, currency, notes)
        self.about["export_id"] = export_id
        export_file, files_file = (f"{name}.{self._format}" for name in (_meta.EXPORT, META_FILES))
        if (
            writer.last.get("export_id") == export_id
            and writer.is_in_place(export_file)
            and writer.is_in_place(files_file)
        ):
            # Nothing changed: what describes the set is that of the export that wrote it.
            entries = [writer.keep(name) for name in (export_file, files_file)]
            return [
                *done,
                *(
                    Written(name, entry["rows"], f"{name}.{self._format}", entry["bytes"])
                    for name, entry in zip((_meta.EXPORT, META_FILES), entries, strict=True)
                ),
            ]
        export = _meta.export_table(export_id, account, as_of, tz, currency, notes)
        done.append(self._add(_meta.EXPORT, export))
        done.append(self._add(META_FILES, _meta.files_table(writer.entries)))
        return done

    def _text(self, name: str, text: str) -> None:
        def write(file: IO[bytes]) -> None:
            file.write(text.encode())

        self._writer.add(name, None, None, write)

    def finish(self) -> None:
        """Do nothing: the files are staged."""

    def sized(self, row: Written) -> Written:
        """Return a row as it is."""
        return row


class DuckdbOutput:
    """One DuckDB file with all tables."""

    def __init__(self, writer: SetWriter, file: str, path: Path) -> None:
        self._writer = writer
        self._file = file
        self._path = path
        self._database = DuckdbFile(path)
        self._contents: dict[str, Any] = {}
        self._lacking: list[str] = []
        self._notes: list[tuple[str, Sequence[ColumnNote]]] = []
        self.about: dict[str, Any] = {}
        self._entry: dict[str, Any] = {}

    @classmethod
    @contextlib.contextmanager
    def open(cls, writer: SetWriter, file: str) -> Iterator[DuckdbOutput]:
        """Make the file in a scratch folder; `finish` stages it."""
        with writer.target.scratch() as folder:
            output = cls(writer, file, folder / file)
            try:
                yield output
            finally:
                output._database.close()

    def add(self, table: BiTable) -> Written:
        """Add a table."""
        self._notes.append((table.name, table.columns))
        row = self._add(table.name, table.table)
        if table.note:
            self._contents[table.name][NOTE] = table.note
            self._lacking.append(f"{table.name}: {table.note}")
        return replace(row, note=table.note or row.note, missing=table.missing)

    def lacks(self, table: Unavailable) -> str:
        """Note that the file has no such table."""
        self._lacking.append(f"{table.table} is not in it: {table.note}")
        return ""

    def _add(self, name: str, rows: pa.Table) -> Written:
        self._contents[name] = {"content": content_id(rows), "rows": rows.num_rows}
        self._database.add(name, rows)
        return Written(name, rows.num_rows, self._file)

    def describe(
        self, content: BiSet, account: str, as_of: datetime, tz: str, currency: str | None
    ) -> list[Written]:
        """Add the tables that describe the set. Call it once every table was added."""
        done = [
            self._add(_meta.COLUMNS, _meta.columns_table(self._notes)),
            self._add(_meta.RELATIONSHIPS, _meta.relationships_table(content.relationships)),
        ]
        notes = list(content.notes)
        self.about["export_id"] = self._id(account, tz, currency, notes)
        export = _meta.export_table(self.about["export_id"], account, as_of, tz, currency, notes)
        for name, rows in (
            (META_FILES, _meta.files_table(self._contents)),
            (_meta.EXPORT, export),
        ):
            self._database.add(name, rows)
            done.append(Written(name, rows.num_rows, self._file))
        self._database.run(views_sql(dict(self._notes), content.relationships))
        return done

    def _id(self, *about: Any) -> str:
        contents = {name: entry["content"] for name, entry in self._contents.items()}
        return _meta.export_id(contents, *about)

    def finish(self) -> None:
        """Stage the file, unless one with the same content is in place."""
        self._database.close()
        self.about.setdefault("export_id", self._id())
        is_same = self._writer.last.get("export_id") == self.about["export_id"]
        if is_same and self._writer.is_in_place(self._file):
            self._entry = self._writer.keep(self._file)
        else:
            rows = sum(entry["rows"] for entry in self._contents.values())
            self._entry = self._writer.adopt(self._path, self._file, rows)
        if self._lacking:
            self._entry[NOTE] = " ".join(self._lacking)

    def sized(self, row: Written) -> Written:
        """Return a row with the size of the file."""
        if row.file is None:
            return row
        is_written = self._writer.is_written(self._file)
        return replace(row, bytes=self._entry["bytes"], is_written=is_written)


__all__ = ["MAX_ROWS", "DuckdbOutput", "FilesOutput", "Written"]

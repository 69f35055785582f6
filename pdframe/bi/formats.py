"""One table of a set as a file: Parquet, CSV, or an Excel workbook; many as one DuckDB file."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pdframe.errors import ArgumentError
from pdframe.fields import fold

Format: TypeAlias = Literal["parquet", "csv", "duckdb", "xlsx"]
CONTENT = b"pdframe.content"
"""Key of the id of the content in the metadata of a Parquet file."""
MAX_EXCEL_ROWS = 1_048_576
MAX_EXCEL_COLUMNS = 16_384
MAX_EXCEL_TEXT = 32_767
_ROWS_HASHED_TOGETHER = 65_536
_EXACT_IN_EXCEL = 10**15

# Control characters (Unicode category Cc) other than tab and line breaks: separators, and others.
_SEPARATORS = r"[\x0b\x0c\x1c-\x1f\x{85}]"
_CONTROLS = r"[\x00-\x08\x0e-\x1b\x7f-\x{84}\x{86}-\x{9f}]"
# What a spreadsheet reads as a formula, also after white space and in full width.
_FORMULA = r"^\s*[=+\-@＝＋－＠]|^[\t\r\n]"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_JOINT = "; "


def content_id(table: pa.Table) -> str:
    """Return the id of a table's content: equal for equal names, types and cells, however the rows
    are chunked and whatever writes them.
    """
    digest = hashlib.blake2b(digest_size=16)
    names = [[field.name, str(field.type)] for field in table.schema]
    digest.update(json.dumps(names).encode(errors="surrogatepass"))
    digest.update((table.schema.metadata or {}).get(b"pandas", b""))
    sink = pa.PythonFile(_Hashing(digest), "w")
    bare = table.replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, bare.schema) as stream:
        for start in range(0, bare.num_rows, _ROWS_HASHED_TOGETHER):
            stream.write_table(bare.slice(start, _ROWS_HASHED_TOGETHER).combine_chunks())
    return digest.hexdigest()


class _Hashing:
    """A file of which only the digest is kept."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self._digest = digest
        self._size = 0

    def write(self, content: Any) -> int:
        self._digest.update(content)
        self._size += len(content)
        return len(content)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    @staticmethod
    def writable() -> bool:
        return True

    @staticmethod
    def readable() -> bool:
        return False

    @staticmethod
    def seekable() -> bool:
        return False


def write_parquet(table: pa.Table, content: str, file: IO[bytes]) -> None:
    """Write a table as Parquet, with the id of its content in the metadata."""
    metadata = {**(table.schema.metadata or {}), CONTENT: content.encode()}
    pq.write_table(table.replace_schema_metadata(metadata), file, compression="zstd")


def parquet_footer(file: pa.NativeFile) -> tuple[str | None, int] | None:
    """Return what the footer of a Parquet file says: the id of its content (None: it has none),
    and its rows; None: it cannot be read.
    """
    try:
        footer = pq.read_metadata(file)
    except (pa.ArrowException, OSError):
        return None
    content = (footer.metadata or {}).get(CONTENT)
    return None if content is None else content.decode(errors="replace"), footer.num_rows


def write_csv(table: pa.Table, file: IO[bytes]) -> None:
    """Write a table as CSV for spreadsheets."""
    # Imported here, because most sessions never write CSV.
    import pyarrow.csv as pcsv

    columns = [for_csv(table.column(place)) for place in range(table.num_columns)]
    file.write(_BYTE_ORDER_MARK)
    pcsv.write_csv(pa.table(columns, names=_header(table.column_names)), file)


def for_csv(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as CSV shows it."""
    kind = values.type
    if pa.types.is_list(kind):
        values = pa.chunked_array(
            [pa.array([_joined(cell) for cell in values.to_pylist()], pa.string())]
        )
    elif pa.types.is_duration(kind):
        shown = [_clock(micros) for micros in values.cast(pa.int64()).to_pylist()]
        return pa.chunked_array([pa.array(shown, pa.string())])
    elif pa.types.is_timestamp(kind):
        return pc.floor_temporal(values, unit="second").cast(pa.timestamp("s"))
    return harmless(values) if pa.types.is_string(values.type) else values


def _header(names: Sequence[str]) -> list[str]:
    """Make column names harmless; if a leading ' makes two names alike, one gets a second one."""
    header: list[str] = harmless(pa.array(names, pa.string())).to_pylist()
    taken = {fold(name) for name, shown in zip(names, header, strict=True) if name == shown}
    for place, (name, shown) in enumerate(zip(names, header, strict=True)):
        if name != shown:
            while fold(header[place]) in taken:
                header[place] = f"'{header[place]}"
            taken.add(fold(header[place]))
    return header


def harmless(text: Any) -> Any:
    """Remove control characters from text, and mark what a spreadsheet would read as a formula."""
    text = without_controls(text)
    marked = pc.binary_join_element_wise(
        *(part if part is text else pa.scalar(part, text.type) for part in ("'", text, ""))
    )
    return pc.if_else(pc.match_substring_regex(text, _FORMULA), marked, text)


def without_controls(text: Any) -> Any:
    """Remove control characters from text; separators of lines or records become a space."""
    text = text.cast(pa.large_string())
    for signs, instead in ((_SEPARATORS, " "), (_CONTROLS, "")):
        if pc.any(pc.match_substring_regex(text, signs)).as_py():
            text = pc.replace_substring_regex(text, signs, instead)
    return text


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


def check_excel(name: str, table: pa.Table) -> None:
    """Refuse a table that no sheet of Excel can hold.

    Raises
    ------
    ArgumentError
        It has too many rows or columns.
    """
    if table.num_rows >= MAX_EXCEL_ROWS:
        raise ArgumentError(
            f"{name!r} has {table.num_rows:,} rows, and a sheet of Excel takes"
            f" {MAX_EXCEL_ROWS - 1:,} and a header. Export it with format='parquet' and load it"
            " with Power Query, or format='csv'."
        )
    if table.num_columns > MAX_EXCEL_COLUMNS:
        raise ArgumentError(
            f"{name!r} has {table.num_columns:,} columns, and a sheet of Excel takes"
            f" {MAX_EXCEL_COLUMNS:,}. Export it with format='parquet' or 'csv'."
        )


def cut_in_excel(table: pa.Table) -> str:
    """Return which columns have text that is longer than a cell of Excel takes; nothing, if none.

    Examples
    --------
    >>> import pyarrow as pa
    >>> from pdframe.bi.formats import cut_in_excel
    >>> cut_in_excel(pa.table({"note": ["a" * 40_000, "b"], "id": [1, 2]}))
    'Excel takes 32,767 characters a cell. Longer texts are cut: 1 of note.'
    """
    counts = {}
    for name, values in zip(table.column_names, table.itercolumns(), strict=True):
        shown = for_csv(values) if pa.types.is_list(values.type) else values
        if pa.types.is_string(shown.type) or pa.types.is_large_string(shown.type):
            length = pc.utf8_length(without_controls(shown))
            if count := pc.sum(pc.greater(length, MAX_EXCEL_TEXT)).as_py():
                counts[name] = count
    if not counts:
        return ""
    named = ", ".join(f"{count:,} of {name}" for name, count in counts.items())
    return f"Excel takes {MAX_EXCEL_TEXT:,} characters a cell. Longer texts are cut: {named}."


def write_xlsx(name: str, table: pa.Table, file: IO[bytes]) -> None:
    """Write a table as an Excel workbook of one sheet.

    Text is text, also where it looks like a formula; times are UTC, because Excel has no zones.
    """
    from datetime import UTC, date, datetime

    xlsxwriter = optional("xlsxwriter", "xlsx")
    check_excel(name, table)
    content = io.BytesIO()
    book = xlsxwriter.Workbook(
        content,
        {
            "constant_memory": True,
            "in_memory": False,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        },
    )
    # The same rows give the same bytes.
    book.set_properties({"created": datetime(2020, 1, 1, tzinfo=UTC).replace(tzinfo=None)})
    bold = book.add_format({"bold": True})
    quoted = book.add_format({"quote_prefix": True})
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    time = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    sheet = book.add_worksheet(name[:31])
    sheet.freeze_panes(1, 0)
    for place, label in enumerate(without_controls(pa.array(table.column_names)).to_pylist()):
        sheet.write_string(0, place, label, bold)

    def write_text(row: int, place: int, text: str, is_formula: bool) -> None:
        sheet.write_string(row, place, text[:MAX_EXCEL_TEXT], quoted if is_formula else None)

    def write_number(row: int, place: int, number: float, _: bool) -> None:
        if abs(number) < _EXACT_IN_EXCEL:
            sheet.write_number(row, place, number)
        else:
            sheet.write_string(row, place, str(number))

    def write_day(row: int, place: int, value: date, _: bool) -> None:
        if value.year > 1900:
            sheet.write_datetime(row, place, value, day)
        else:
            sheet.write_string(row, place, value.isoformat())

    def write_time(row: int, place: int, value: datetime, _: bool) -> None:
        if value.year > 1900:
            sheet.write_datetime(row, place, value, time)
        else:
            sheet.write_string(row, place, value.isoformat(" "))

    def write_flag(row: int, place: int, flag: bool, _: bool) -> None:
        sheet.write_boolean(row, place, flag)

    for start, block in _blocks(table):
        cells, marks, writers = [], [], []
        for values in block.itercolumns():
            kind = values.type
            shown = for_csv(values) if pa.types.is_list(kind) else values
            if pa.types.is_timestamp(kind):
                shown = for_csv(values)
            writers.append(
                write_flag if pa.types.is_boolean(kind)
                else write_day if pa.types.is_date(kind)
                else write_time if pa.types.is_timestamp(kind)
                else write_number
                if pa.types.is_integer(kind) or pa.types.is_floating(kind)
                or pa.types.is_decimal(kind)
                else write_text
            )  # fmt: skip
            if writers[-1] is write_text:
                text = without_controls(shown)
                marks.append(pc.match_substring_regex(text, _FORMULA).to_pylist())
                cells.append(text.to_pylist())
            else:
                marks.append(None)
                cells.append(shown.to_pylist())
        # A sheet in constant memory is written row by row.
        for number in range(block.num_rows):
            for place, write in enumerate(writers):
                cell = cells[place][number]
                if cell is not None and cell == cell:
                    mark = marks[place]
                    write(start + number + 1, place, cell, mark is not None and mark[number])
    book.close()
    file.write(content.getbuffer())


def _blocks(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    for start in range(0, table.num_rows, _ROWS_HASHED_TOGETHER):
        yield start, table.slice(start, _ROWS_HASHED_TOGETHER)


class DuckdbFile:
    """A DuckDB file that is filled table by table. Its errors are of the file: `OSError`."""

    def __init__(self, path: Path) -> None:
        self._duckdb = optional("duckdb", "bi")
        with self._reporting():
            self._connection = self._duckdb.connect(str(path))
            # Somebody's own settings must not change what is written.
            self._connection.execute("SET TimeZone = 'UTC'")

    def add(self, name: str, table: pa.Table) -> None:
        """Add a table."""
        with self._reporting():
            self._connection.register("_pdframe_rows", table)
            self._connection.execute(f"CREATE TABLE {quoted(name)} AS SELECT * FROM _pdframe_rows")
            self._connection.unregister("_pdframe_rows")

    def run(self, sql: str) -> None:
        """Run statements, such as those of views."""
        with self._reporting():
            self._connection.execute(sql)

    def close(self) -> None:
        """Write everything into the file, and close it; nothing where it is closed."""
        with self._reporting():
            self._connection.close()

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except self._duckdb.Error as error:
            why = str(error).partition("\n")[0]
            raise OSError(errno.EIO, f"DuckDB: {why}") from error


def quoted(name: str) -> str:
    """Return a name as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def optional(module: str, extra: str) -> Any:
    """Import a package of an extra.

    Raises
    ------
    ArgumentError
        It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ArgumentError(
            f"This format needs the package {module}: pip install 'pdframe[{extra}]'."
        ) from error


WRITERS: Mapping[str, Callable[[str, pa.Table, str, IO[bytes]], None]] = {
    "parquet": lambda name, table, content, file: write_parquet(table, content, file),
    "csv": lambda name, table, content, file: write_csv(table, file),
    "xlsx": lambda name, table, content, file: write_xlsx(name, table, file),
}
"""How a file of one table is written: its name, rows, the id of its content, and the file."""

__all__ = [
    "CONTENT",
    "WRITERS",
    "DuckdbFile",
    "Format",
    "check_excel",
    "content_id",
    "cut_in_excel",
    "for_csv",
    "harmless",
    "optional",
    "parquet_footer",
    "quoted",
    "without_controls",
    "write_csv",
    "write_parquet",
    "write_xlsx",
]

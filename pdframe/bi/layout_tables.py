"""`layout="tables"`: the tables as the loaders give them, in types that BI tools read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pdframe.bi._names import STANDARD_NAMES, is_snake, snake
from pdframe.bi._tables import BiTable
from pdframe.cache.messages import UNANSWERED, suggest_cache
from pdframe.cache.store import Store
from pdframe.errors import AccessError, NotCachedError
from pdframe.fields import Field, custom_fields, fold, name_columns, undeclared_parts
from pdframe.loaders.base import name_columns as name_columns_of
from pdframe.schema import LISTS, TABLES
from pdframe.schema.personal import is_personal
from pdframe.sync import CURRENT_NOTES, Syncer
from pdframe.sync.fetch_state import load_states

VISITS = "stage_visits"
VISIT_TABLES = ("deals", "stages")
"""The tables that stage visits are computed from."""
FIELD_LISTS = {table.field_list: name for name, table in TABLES.items() if table.field_list}
"""The lists of fields, and the table of each."""
EXPORTABLE = (*(name for name in TABLES if name not in FIELD_LISTS), VISITS)
BY_DEFAULT = (*(name for name in LISTS if name not in FIELD_LISTS), VISITS)
HOURS = "_hours"
_MICROSECONDS_PER_HOUR = 3_600_000_000.0
# A column of `string` takes 2 GB in one piece.
_MAX_PIECE_BYTES = 1 << 30


class Exporting(Protocol):
    """What an export needs of an account: its loaders by name, and the cache to refresh first."""

    @property
    def tz(self) -> str:
        """Name of the timezone of the account's user."""

    @property
    def currency(self) -> str | None:
        """The account's default currency."""

    @property
    def _max_age(self) -> timedelta | None: ...

    @property
    def _names(self) -> bool | None: ...

    @property
    def _store(self) -> Store: ...

    @property
    def _syncer(self) -> Syncer: ...


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A table that the account lacks: why, and what is missing ("plan", "scope", "permission")."""

    table: str
    note: str
    missing: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What of the tables is exported, as the arguments of `export` say."""

    tables: tuple[str, ...]
    by_name: bool
    refresh: Literal["full"] | bool | None
    labels: bool
    names: bool | None
    personal: bool
    naming: Literal["labels", "snake"]
    hours: bool = True
    """Whether a duration becomes hours; CSV shows h:mm:ss instead."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The tables that were brought up to date for an export, and those that the API withheld."""

    fresh: frozenset[str] = frozenset()
    withheld: Mapping[str, AccessError] = field(default_factory=dict)


def refresh_all(account: Exporting, choice: Choice, *, is_star: bool) -> Refreshed:
    """Refresh the tables of an export before anything is computed from them.

    Raises
    ------
    AccessError
        A table that was asked for by name is unavailable.
    """
    if choice.refresh is False:
        return Refreshed()
    if refreshes_all(account, choice):
        return Refreshed(refresh_once(account, choice.tables, choice.refresh, choice.names))
    withheld: dict[str, AccessError] = {}
    for name in choice.tables:
        if name != VISITS and TABLES[name].parent is not None:
            continue
        tables = VISIT_TABLES if name == VISITS else (name,)
        try:
            for table in tables:
                account._syncer.refresh_if_stale(table, max_age=account._max_age)
        except AccessError as error:
            if error.status == 401 or choice.by_name:
                raise
            withheld[name] = error
        except UNANSWERED as error:
            suggest_cache(error, account._store, tables, f"account.{name}(refresh=False)")
            raise
    if is_star and "deals" not in withheld:
        # A star knows the deleted deals.
        account._syncer.list_deletions(max_age=account._max_age)
    return Refreshed(frozenset(), withheld)


def layout_tables(
    account: Exporting, choice: Choice, refreshed: Refreshed
) -> Iterator[BiTable | Unavailable]:
    """Load the tables one after another.

    Raises
    ------
    AccessError
        A table that was asked for by name is unavailable.
    """
    for name in choice.tables:
        try:
            if name in refreshed.withheld:
                raise refreshed.withheld[name]
            frame = _load_table(account, name, choice, is_fresh=name in refreshed.fresh)
        except AccessError as error:
            if choice.by_name or error.status == 401:
                raise
            yield Unavailable(name, str(error.args[0]), error.missing or None)
            continue
        yield BiTable(name, _plain_table(account, name, frame, choice), ())


def refreshes_all(account: Exporting, choice: Choice) -> bool:
    """Whether every table is brought up to date now, at any age."""
    is_due = choice.refresh is None and account._max_age == timedelta(0)
    return is_due or bool(choice.refresh)


def refresh_once(
    account: Exporting,
    wanted: Sequence[str],
    refresh: Literal["full"] | bool | None,
    names: bool | None,
) -> frozenset[str]:
    """Refresh the tables of several loaders in one sync, and return those that are now fresh."""
    lists = {name for table in wanted for name in (VISIT_TABLES if table == VISITS else (table,))}
    lists |= {
        column.table
        for name in wanted
        if name != VISITS
        for column in name_columns_of(TABLES[name], names)
    }
    rows = account._syncer.sync(lists, full=refresh == "full", max_age=account._max_age)
    fresh = {
        row.table
        for row in rows
        if row.mode in ("full", "incremental") or row.note in CURRENT_NOTES
    }
    return frozenset(fresh | ({VISITS} if fresh.issuperset(VISIT_TABLES) else set()))


def _load_table(account: Exporting, table: str, choice: Choice, *, is_fresh: bool) -> pd.DataFrame:
    load = getattr(account, table)
    refresh = False if is_fresh else choice.refresh
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
        frame = load(ids, refresh=refresh, labels=choice.labels, names=choice.names)
    else:
        frame = load(refresh=refresh, labels=choice.labels, names=choice.names)
    return frame


def _plain_table(account: Exporting, name: str, frame: pd.DataFrame, choice: Choice) -> pa.Table:
    """Return a loader's frame as an Arrow table, with the columns and names of the choice."""
    customs = {} if name == VISITS else _custom_columns(account, name, choice.labels)
    columns = [str(column) for column in frame]
    if not choice.personal and name != VISITS:
        kinds = {column: field.type for column, (_, field) in customs.items()}
        columns = [
            column for column in columns if not is_personal(TABLES[name], column, kinds.get(column))
        ]
        frame = frame[columns]
    codes = {column: code for column, (code, _) in customs.items()}
    durations = [column for column in columns if choice.hours and frame[column].dtype.kind == "m"]
    return plain(frame, _new_names(columns, codes, durations, choice.naming), choice.hours)


def _custom_columns(account: Exporting, name: str, labels: bool) -> dict[str, tuple[str, Field]]:
    """Return the storage column and the field of each custom column of a frame."""
    table = TABLES[name]
    fields = account._syncer.fields(table)
    stored = account._store.schema(name).names
    shown = name_columns(fields, table.reserved, stored)
    chosen = custom_fields(fields, table.reserved)
    owners = {code: field for field in chosen for code in field.columns}
    by_code = {field.code: field for field in chosen}
    for code, parts in undeclared_parts(stored, chosen).items():
        owners |= dict.fromkeys(parts, by_code[code])
    return {
        (label if labels else code): (code, owners[code])
        for code, label in shown.items()
        if code in owners
    }


def _new_names(
    columns: Sequence[str],
    codes: Mapping[str, str],
    durations: Sequence[str],
    naming: Literal["labels", "snake"],
) -> dict[str, str]:
    """Return the name of each column in the file.

    A duration is in hours, and says so in its name. Standard columns keep their names; a custom
    column that has such a name takes the first digits of its hash.
    """
    names = {name: f"{name}{HOURS}" if name in durations else name for name in columns}
    if naming == "snake":
        standard = [name for name in columns if name in STANDARD_NAMES and name not in codes]
        names |= {name: STANDARD_NAMES[name] for name in standard}
        customs = [name for name in columns if name in codes or not is_snake(names[name])]
        fixed = [name for code, name in names.items() if code not in set(customs)]
        made = snake([(name, codes.get(name, name)) for name in customs], reserved=fixed)
        return names | {name: made[codes.get(name, name)] for name in customs}
    taken = {fold(names[name]) for name in durations}
    for name in columns:
        if name not in durations:
            while fold(names[name]) in taken and name in codes:
                names[name] = f"{names[name]} ({codes[name][:6]})"
    return names


def plain(
    frame: pd.DataFrame, names: Mapping[str, str] | None = None, in_hours: bool = True
) -> pa.Table:
    """Return a frame as an Arrow table of plain types.

    Days become date32, categories and text `string`, durations hours (double) unless they stay
    durations; lists stay.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    metadata = json.loads(table.schema.metadata[b"pandas"])
    # Of the load, not of the content: a file that is otherwise the same is not written again.
    for name in ("today", "account"):
        metadata.get("attributes", {}).pop(name, None)
    columns, shown = [], []
    for place, described in enumerate(metadata["columns"]):
        values = table.column(place)
        kind = values.type
        name = str(table.field(place).name)
        name = (names or {}).get(name, name)
        described |= {"name": name, "field_name": name}
        if pa.types.is_dictionary(kind) or pa.types.is_large_string(kind):
            values = _strings(values)
            described |= {"pandas_type": "unicode", "numpy_type": "str", "metadata": None}
        elif pa.types.is_timestamp(kind) and kind.tz is None:
            values = values.cast(pa.date32(), safe=False)
            described |= {"pandas_type": "date", "numpy_type": "object"}
        elif pa.types.is_duration(kind) and in_hours:
            values = hours(values)
            described |= {"pandas_type": "float64", "numpy_type": "float64"}
        elif pa.types.is_list(kind):
            # pandas cannot parse its own name of a list dtype.
            described["numpy_type"] = "object"
        columns.append(values)
        shown.append(name)
    made = pa.table(columns, names=shown)
    return made.replace_schema_metadata({b"pandas": json.dumps(metadata).encode()})


def hours(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return durations in hours."""
    micros = values.cast(pa.duration("us")).cast(pa.int64()).cast(pa.float64(), safe=False)
    return pc.divide(micros, pa.scalar(_MICROSECONDS_PER_HOUR))


def _strings(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return text as `string`, in pieces that its offsets of 32 bits can number."""
    pieces: list[Any] = []
    for chunk in values.chunks:
        text = chunk.cast(chunk.type.value_type) if pa.types.is_dictionary(chunk.type) else chunk
        rows = max(1, len(text) // (text.nbytes // _MAX_PIECE_BYTES + 1))
        pieces += [text.slice(start, rows).cast(pa.string()) for start in range(0, len(text), rows)]
    return pa.chunked_array(pieces, pa.string())


__all__ = [
    "BY_DEFAULT",
    "EXPORTABLE",
    "FIELD_LISTS",
    "VISITS",
    "Choice",
    "Exporting",
    "Refreshed",
    "Unavailable",
    "hours",
    "layout_tables",
    "plain",
    "refresh_all",
    "refreshes_all",
]

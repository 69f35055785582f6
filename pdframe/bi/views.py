"""SQL views over a star, made of the notes on its columns and of its relationships.

They use what DuckDB, Spark, Hyper and PostgreSQL have in common, and no name needs quotes. A view
is written only where the star has all columns that it reads.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from pdframe.bi._meta import EXPORT
from pdframe.bi._tables import ColumnNote, Relationship
from pdframe.bi.sets import META_FILES

Columns = Mapping[str, Sequence[ColumnNote]]
_NAMING = ("name", "title")
"""Columns that name the row of a dimension."""


class View(NamedTuple):
    """A view over tables of a star.

    Parameters
    ----------
    name, meaning
        Its name, and what it is.
    needs
        Columns that it reads, by table.
    sql
        Its query.
    """

    name: str
    meaning: str
    needs: Mapping[str, Sequence[str]]
    sql: str

    @property
    def statement(self) -> str:
        """The statement that makes it."""
        return f"CREATE OR REPLACE VIEW {self.name} AS\n{self.sql}"


_HEADER = """\
-- Views over the tables of this export.
-- DuckDB: run duckdb.sql first, in the folder of the export; it opens the files as tables.
-- Or export with format="duckdb", which has these views.
"""
_OPENING = """\
-- The files of this export as tables of DuckDB, which is started in its folder; then run views.sql.
"""
_CSV_TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "double": "DOUBLE",
    "bool": "BOOLEAN",
    "date32[day]": "DATE",
    "timestamp[us, tz=UTC]": "TIMESTAMP",
    "decimal128(18, 6)": "DECIMAL(18, 6)",
}
_CSV_FORM = """header = true, delim = ',', quote = '"', escape = '"', nullstr = ''"""

# A deal without a changelog is unknown before the sync that shows it first: before the first sync a
# month would have the deals with a changelog alone. Deals that a later sync shows first are newer.
_MONTH_ENDS = View(
    "v_deals_at_month_end",
    "Each deal as it was at the end of each month since the first sync (in the month of the export:"
    " as it is); of earlier months too, where the changelogs of all deals of the first sync are"
    " loaded. Open pipeline at month ends: sum value where status is open",
    {
        "dim_date": ("month_start", "month_end"),
        "fact_deal_history": (
            *("deal_key", "deal_id", "valid_from", "valid_from_date", "valid_to_date"),
            *("status", "source"),
        ),
    },
    """\
SELECT
    m.month_start, m.month_end, h.deal_key, h.deal_id, h.owner_key, h.organization_key,
    h.person_key, h.pipeline_key, h.stage_key, h.currency_key, h.status, h.value, h.probability,
    h.expected_close_date, h.is_archived
FROM (SELECT DISTINCT month_start, month_end FROM dim_date) m
JOIN fact_deal_history h
    ON h.valid_from_date <= m.month_end
    AND (h.valid_to_date IS NULL OR CAST(h.valid_to_date AS DATE) > m.month_end)
CROSS JOIN (
    SELECT
        MIN(valid_from_date) AS first_row,
        MIN(CASE WHEN source = 'first look' THEN valid_from_date END) AS first_sync,
        MIN(CASE WHEN source = 'first look' AND is_first THEN valid_from_date END) AS unknown_until
    FROM (
        SELECT
            valid_from_date, source,
            valid_from = MIN(valid_from) OVER (PARTITION BY deal_id) AS is_first
        FROM fact_deal_history
    ) r
) b
WHERE NOT h.is_deleted
    AND m.month_end >= CASE
        WHEN b.unknown_until = b.first_sync THEN b.first_sync ELSE b.first_row
    END
    AND m.month_start <= (SELECT MAX(CAST(as_of_date AS DATE)) FROM meta_export)""",
)

_OPEN_PIPELINE = View(
    "v_open_pipeline",
    "Open deals of today with their weighted value: the deal's own probability, else its stage's;"
    " 100 % in a pipeline without probabilities",
    {
        "fact_deals": ("deal_key", "value", "probability", "expected_close_date", "add_date"),
        "dim_deal": ("deal_key", "status"),
        "dim_stage": ("stage_key", "name", "order_nr", "deal_probability"),
        "dim_pipeline": ("pipeline_key", "name", "is_deal_probability_enabled"),
    },
    """\
SELECT
    f.deal_key, f.owner_key, f.organization_key, f.person_key, f.pipeline_key, f.stage_key,
    f.currency_key, p.name AS pipeline_name, s.name AS stage_name, s.order_nr AS stage_order,
    f.value, f.add_date, f.expected_close_date,
    f.value * CASE
        WHEN p.is_deal_probability_enabled = FALSE THEN 1.0
        ELSE COALESCE(f.probability, s.deal_probability, 100.0) / 100.0
    END AS weighted_value
FROM fact_deals f
JOIN dim_deal d ON d.deal_key = f.deal_key
JOIN dim_stage s ON s.stage_key = f.stage_key
JOIN dim_pipeline p ON p.pipeline_key = f.pipeline_key
WHERE d.status = 'open'""",
)

_MRR = View(
    "v_mrr_movements",
    "What moved MRR in each month and currency: end_mrr = start_mrr + the movements, exactly",
    {
        "fact_mrr_by_month": (
            *("month", "currency_key", "customer", "previous_mrr", "amount", "mrr", "movement"),
        )
    },
    """\
SELECT
    month, currency_key, SUM(previous_mrr) AS start_mrr,
    SUM(new_mrr) AS new_mrr,
    SUM(reactivation_mrr) AS reactivation_mrr,
    SUM(expansion_mrr) AS expansion_mrr,
    SUM(contraction_mrr) AS contraction_mrr,
    SUM(churn_mrr) AS churn_mrr,
    SUM(mrr) AS end_mrr,
    COUNT(CASE WHEN mrr > 0 THEN customer END) AS customers
FROM (
    SELECT
        month, currency_key, customer, SUM(previous_mrr) AS previous_mrr, SUM(mrr) AS mrr,
        SUM(CASE WHEN movement = 'new' THEN amount ELSE 0 END) AS new_mrr,
        SUM(CASE WHEN movement = 'reactivation' THEN amount ELSE 0 END) AS reactivation_mrr,
        SUM(CASE WHEN movement = 'expansion' THEN amount ELSE 0 END) AS expansion_mrr,
        SUM(CASE WHEN movement = 'contraction' THEN amount ELSE 0 END) AS contraction_mrr,
        SUM(CASE WHEN movement = 'churn' THEN amount ELSE 0 END) AS churn_mrr
    FROM fact_mrr_by_month
    GROUP BY month, currency_key, customer
) c
GROUP BY month, currency_key""",
)

_MRR_CONVERTED = View(
    "v_mrr_in_one_currency",
    "MRR of each month at the rates of its last day, in the common currency of fact_rates; null:"
    " a currency has no rate on that day",
    {
        "fact_mrr_by_month": ("month", "month_date_key", "currency_key", "mrr"),
        "fact_rates": ("currency_key", "to_currency_key", "rate_date", "rate_until", "rate"),
        "dim_date": ("date_key", "month_end"),
    },
    """\
SELECT
    f.month, t.to_currency_key AS currency_key,
    CASE WHEN COUNT(CASE WHEN f.mrr <> 0 AND r.rate IS NULL THEN 1 END) = 0
        THEN SUM(CASE WHEN f.mrr = 0 THEN 0.0 ELSE CAST(f.mrr AS DOUBLE) * r.rate END)
    END AS mrr
FROM fact_mrr_by_month f
CROSS JOIN (SELECT DISTINCT to_currency_key FROM fact_rates) t
JOIN dim_date d ON d.date_key = f.month_date_key
LEFT JOIN fact_rates r
    ON r.currency_key = f.currency_key
    AND (r.rate_date IS NULL OR CAST(r.rate_date AS DATE) <= d.month_end)
    AND (r.rate_until IS NULL OR CAST(r.rate_until AS DATE) > d.month_end)
GROUP BY f.month, t.to_currency_key""",
)

_ACTIVITIES = View(
    "v_activities_done_by_month",
    "Activities that were marked as done, by month, owner and type",
    {
        "fact_activities": ("owner_key", "type", "marked_as_done_date_key", "done"),
        "dim_date": ("date_key", "month_start"),
    },
    """\
SELECT d.month_start, f.owner_key, f.type, COUNT(*) AS activities
FROM fact_activities f
JOIN dim_date d ON d.date_key = f.marked_as_done_date_key
WHERE f.done
GROUP BY d.month_start, f.owner_key, f.type""",
)


def _by_month(event: str, date: str, condition: str, meaning: str) -> View:
    """Return the view of deals by the month of an event."""
    return View(
        f"v_{event}_by_month",
        meaning,
        {
            "fact_deals": ("deal_key", "value", f"{date}_key", "owner_key", "pipeline_key"),
            "dim_deal": ("deal_key", "status"),
            "dim_date": ("date_key", "month_start"),
        },
        f"""\
SELECT
    c.month_start, f.owner_key, f.pipeline_key, f.currency_key, COUNT(*) AS deals,
    SUM(f.value) AS value
FROM fact_deals f
JOIN dim_deal d ON d.deal_key = f.deal_key
JOIN dim_date c ON c.date_key = f.{date}_key{condition}
GROUP BY c.month_start, f.owner_key, f.pipeline_key, f.currency_key""",
    )


VIEWS = (
    _MONTH_ENDS,
    _OPEN_PIPELINE,
    _by_month("created", "add_date", "", "Deals by the month in which they were created"),
    _by_month("won", "won_date", "\nWHERE d.status = 'won'", "Won deals by the month of their win"),
    _by_month(
        "lost", "lost_date", "\nWHERE d.status = 'lost'", "Lost deals by the month of their loss"
    ),
    _MRR,
    _MRR_CONVERTED,
    _ACTIVITIES,
)


def views_sql(columns: Columns, relationships: Sequence[Relationship]) -> str:
    """Return the text of `views.sql`: a CREATE VIEW statement a view, for DuckDB, Spark and others.

    Parameters
    ----------
    columns
        The notes on the columns of each table: `meta_columns`.
    relationships
        Of the star: `meta_relationships`.

    Returns
    -------
    str
        The statements of `views_of`, each with a comment.
    """
    made = views_of(columns, relationships)
    return "\n".join([_HEADER, *(f"-- {view.meaning}.\n{view.statement};\n" for view in made)])


def duckdb_sql(schemas: Mapping[str, pa.Schema], format: str, folders: Container[str] = ()) -> str:
    """Return the text of `duckdb.sql`: a view a table, which reads its file or its parts.

    Parameters
    ----------
    schemas
        The columns of each table. `meta_export` and `meta_files` are added.
    format
        "parquet" or "csv".
    folders
        The tables that are folders of parts.
    """
    statements = []
    for table in (*schemas, EXPORT, META_FILES):
        files = f"{table}.{format}/*.{format}" if table in folders else f"{table}.{format}"
        source = f"'{files}'"
        if format == "csv":
            # Without types DuckDB reads a column without a value as text.
            types = ", ".join(
                f"'{field.name}': '{_CSV_TYPES[str(field.type)]}'"
                for field in schemas.get(table, ())
            )
            source = f"read_csv('{files}', {_CSV_FORM}, types = {{{types}}})"
        statements.append(f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM {source};")
    return "\n".join([_OPENING, *statements, ""])


def views_of(columns: Columns, relationships: Sequence[Relationship]) -> list[View]:
    """Return the views over a star: first each fact with the names of its keys, then those of
    `VIEWS` whose columns it has. They read the tables of the star and `meta_export`.
    """
    names = {table: {note.column_name for note in notes} for table, notes in columns.items()}
    return [
        *_named_facts(names, relationships),
        *(
            view
            for view in VIEWS
            if all(names.get(table, set()).issuperset(needs) for table, needs in view.needs.items())
        ),
    ]


def _named_facts(
    names: Mapping[str, set[str]], relationships: Sequence[Relationship]
) -> Iterator[View]:
    """Yield a view of each fact: its columns, and the names of the records that it refers to."""
    for fact in names:
        if not fact.startswith("fact_"):
            continue
        selected, joins = ["f.*"], [f"FROM {fact} f"]
        for one in relationships:
            own = names.get(one.to_table, set())
            naming = next((name for name in _NAMING if name in own), None)
            if one.from_table != fact or not one.active or naming is None:
                continue
            what = one.from_column.removesuffix("_key")
            added = f"{what}_{naming}"
            if added in names[fact]:
                continue
            joins.append(
                f"JOIN {one.to_table} {what} ON {what}.{one.to_column} = f.{one.from_column}"
            )
            selected.append(f"{what}.{naming} AS {added}")
            if one.to_table == "dim_deal" and "status" in own and "status" not in names[fact]:
                selected.append(f"{what}.status AS deal_status")
        if len(joins) > 1:
            lines = ",\n    ".join(selected)
            sql = "\n".join([f"SELECT\n    {lines}", *joins])
            meaning = f"{fact} with the names of the records that it refers to"
            yield View(f"v_{fact.removeprefix('fact_')}", meaning, {}, sql)


__all__ = ["VIEWS", "View", "duckdb_sql", "views_of", "views_sql"]

"""The `schema.yml` of a star for dbt: its tables as sources, with descriptions and tests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from pdframe.bi._tables import ColumnNote, Relationship

SOURCE = "pdframe"
"""Name of the source in dbt."""
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""Characters that YAML does not take unescaped, besides those that JSON escapes."""


def schema_yml(
    columns: Mapping[str, Sequence[ColumnNote]], relationships: Sequence[Relationship]
) -> str:
    """Return the text of `schema.yml`.

    Parameters
    ----------
    columns
        The notes on the columns of each table: `meta_columns`.
    relationships
        Of the star: `meta_relationships`.

    Returns
    -------
    str
        YAML: one source, a table each, a column each with its description; keys that others refer
        to are tested to be unique and not null, references to have a row. Texts of the CRM are
        quoted, and hold no template of dbt.
    """
    keys = {(one.to_table, one.to_column) for one in relationships}
    targets = {(one.from_table, one.from_column): one for one in relationships}
    lines = ["version: 2", "", "sources:", f"  - name: {SOURCE}", "    tables:"]
    for table, notes in columns.items():
        lines += [f"      - name: {table}", "        columns:"]
        for note in notes:
            place = (table, note.column_name)
            lines.append(f"          - name: {note.column_name}")
            lines.append(f"            description: {_quoted(_description(note))}")
            lines.append(f"            data_type: {_quoted(note.type)}")
            tests = ["unique", "not_null"] if place in keys else []
            if not tests and place in targets and note.null_means is None:
                tests.append("not_null")
            tested = [f"              - {test}" for test in tests]
            if place in targets:
                one = targets[place]
                tested += [
                    "              - relationships:",
                    f"                  to: source('{SOURCE}', '{one.to_table}')",
                    f"                  field: {one.to_column}",
                ]
            if tested:
                lines += ["            data_tests:", *tested]
    return "\n".join(lines) + "\n"


def _description(note: ColumnNote) -> str:
    parts = [note.meaning]
    if note.label:
        parts.append(f"label: {note.label}")
    if note.unit:
        parts.append(f"unit: {note.unit}")
    if note.null_means:
        parts.append(f"null: {note.null_means}")
    return "; ".join(part for part in parts if part)


def _quoted(text: str) -> str:
    """Return text as a YAML scalar in double quotes; dbt would evaluate {{ }}, {% %} and {# #}."""
    harmless = text
    for signs in ("{{", "}}", "{%", "%}", "{#", "#}"):
        harmless = harmless.replace(signs, f"{signs[0]} {signs[1]}")
    text = json.dumps(harmless, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


__all__ = ["SOURCE", "schema_yml"]

"""Which tables a table rests on, and the order in which they are brought up to date."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pdframe.schema import TABLES


def dependencies(name: str) -> list[str]:
    """The tables that `name` rests on: its field list; for lines the deals (installments: line
    items too); the list that ids come from.
    """
    table = TABLES[name]
    if table.sources[0].batch is not None:
        return ["deal_fields", "deals", *(["deal_products"] if name == "installments" else [])]
    if table.parent is not None:
        return [*dependencies(table.parent.table), table.parent.table] if table.parent.every else []
    if table.sources[0].each is not None:
        return [table.sources[0].each[1]]
    return [table.field_list] if table.field_list else []


def rows_of(name: str) -> list[str]:
    """The tables without whose rows `name` cannot be asked for; without its field list it can."""
    return [need for need in dependencies(name) if TABLES[need].key == ("id",)]


def full_reload_set(names: Iterable[str]) -> set[str]:
    """The tables that a full load of `names` loads anew: also those whose rows tell what to ask
    for.
    """
    return set().union(*([name, *rows_of(name)] for name in names))


def topological_order(names: Iterable[str]) -> Sequence[str]:
    """Tables in an order in which each comes after those it rests on."""
    return sorted(names, key=lambda name: (len(dependencies(name)), list(TABLES).index(name)))

"""Compares a table cell by cell with what the company's events tell of it."""

from __future__ import annotations

import warnings
from typing import Any

import pandas as pd

from pdframe import Account, DataWarning, sandbox
from pdframe.schema import LISTS
from tests.helpers import true_cells
from tests.helpers.oracle import MADE_UP

LOADED = [name for name in LISTS if name not in true_cells.FIELD_LISTS]
ENTITY = {
    "deals": "deal",
    "persons": "person",
    "organizations": "organization",
    "products": "product",
    "projects": "project",
    "activities": "activity",
}
# Never asked for: a company without the marketing app would refuse the whole request.
NOT_REQUESTED = {"marketing_status", "doi_status"}


def frame(account: Account, table: str, **options: Any) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DataWarning
        )  # options that are deleted while rows hold them
        result: pd.DataFrame = getattr(account, table)(**options)
    return result


def columns_of_fields(state: true_cells.State, table: str) -> list[dict[str, Any]]:
    return (
        [field for field in state[f"{ENTITY[table]}_fields"].values() if field["is_custom_field"]]
        if table in ENTITY
        else []
    )


def extra_truth(
    company: sandbox.Company, state: true_cells.State, table: str
) -> dict[int, true_cells.Row]:
    """What the API gives on request: counted from events where they tell it, else what the company
    hands out.
    """
    if table == "deals":
        counted = true_cells.counted(
            state, count_disabled=company.switches.products_count_includes_disabled
        )
        return {
            row: {
                **{k: v for k, v in company.deal_counts(row).items() if k in MADE_UP},
                **counted[row],
            }
            for row in state["deals"]
        }
    if table == "persons":
        return {row: company.person_counts(row) for row in state["persons"]}
    if table == "organizations":
        return {row: company.organization_counts(row) for row in state["organizations"]}
    return {}


def wrong_cells(
    account: Account, company: sandbox.Company, state: true_cells.State, table: str, **options: Any
) -> list[tuple[Any, ...]]:
    """(id, column, what is shown, what is true) of the cells that differ; rows that are missing or
    too many are an error at once.
    """
    got = frame(account, table, labels=False, names=False, **options)
    rows = true_cells.visible(state, table)
    extra = extra_truth(company, state, table)
    assert got["id"].tolist() == [row["id"] for row in rows]
    codes = [field["field_code"] for field in columns_of_fields(state, table)]
    wrong = []
    for column in got.columns:
        code = next(
            (code for code in codes if column == code or column.startswith(f"{code}_")), None
        )
        for row, value in zip(rows, got[column], strict=True):
            if column in NOT_REQUESTED:
                wire = None
            elif code is not None:
                wire = true_cells.custom_value(row, code, column[len(code) + 1 :] or "value")
            elif column in extra.get(row["id"], {}):
                wire = extra[row["id"]][column]
            else:
                wire = true_cells.wire_value(row, column, table)
            shown, wanted = true_cells.cell(value), true_cells.expected(wire, got[column].dtype)
            if table in true_cells.MILLISECONDS and column == "update_time":
                # An event knows its second; the milliseconds are the wire's.
                shown, wanted = shown.replace(microsecond=0), wanted.replace(microsecond=0)
            if shown != wanted:
                wrong.append((row["id"], column, shown, wire))
    return wrong

"""Write what follows from the code: tables with their columns, the command line, the charts, the
tutorials.

`conf.py` calls `write` before Sphinx looks for pages. What is written is ignored by git.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from pdframe import Account, plot, schema
from pdframe.loaders.base import LARGE

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
sys.path.insert(0, str(ROOT))

from tests.helpers.docstrings import example_account, run_example  # noqa: E402

TERMINAL_COLUMNS = "100"
# A table has three short sections, and its columns need the place of their list.
NO_SIDEBAR = ("---", "html_theme.sidebar_secondary.remove: true", "---", "")


def write(docs: Path) -> None:
    """Write every generated page below `docs`, and delete those of an earlier build."""
    pages = docs / "reference" / "generated"
    shutil.rmtree(pages, ignore_errors=True)
    pages.mkdir(parents=True)
    for name, table in schema.TABLES.items():
        (pages / f"table-{name}.md").write_text(table_page(table), encoding="utf-8")
    (pages / "tables.md").write_text(table_index(), encoding="utf-8")
    (pages / "commands.md").write_text(command_page(), encoding="utf-8")
    draw_charts(pages)
    for old in (docs / "tutorials").glob("*.ipynb"):
        old.unlink()
    for notebook in NOTEBOOKS.glob("*.ipynb"):
        shutil.copy(notebook, docs / "tutorials")


def table_index() -> str:
    """Return the list of all tables: what one row is, and what a request costs."""
    rows = [
        (f"[{name}](table-{name}.md)", table.grain, str(len(table.columns)), _costs(table))
        for name, table in schema.TABLES.items()
    ]
    listed = "\n".join(f"table-{name}" for name in schema.TABLES)
    return "\n".join(
        [
            "# Every table",
            "",
            *_markdown(("table", "grain", "standard columns", "tokens a request"), rows),
            "",
            "```{toctree}\n:hidden:\n",
            listed,
            "```",
            "",
        ]
    )


def table_page(table: schema.Table) -> str:
    """Return the page of one table: where its rows come from, and what each column says."""
    described = schema.describe(table)
    lines = [*NO_SIDEBAR, f"# {table.name}", "", f"{_sentence(table.grain)}", ""]
    if callable(getattr(Account, table.name, None)):
        lines += [
            f"Loader: {{py:meth}}`account.{table.name}() <pdframe.Account.{table.name}>`.",
            "",
        ]
    elif table.name.endswith("_fields"):
        lines += ["Metadata: {py:meth}`account.fields() <pdframe.Account.fields>` reads it.", ""]
    lines += ["## Source", ""]
    sources = [
        (f"`/api/{source.api}{source.path}`", str(source.cost), _asks(source))
        for source in table.sources
    ]
    lines += _markdown(("endpoint", "tokens a request", "rows a request"), sources)
    lines += [
        "",
        f"Key: {', '.join(f'`{name}`' for name in table.key)}. {_refresh(table)}",
        "",
        "## Columns",
        "",
    ]
    rows = [
        (f"`{row.column}`", f"`{row.dtype}`", _sentence(str(row.meaning)) + _unit(row.unit))
        for row in described.itertuples(index=False)
    ]
    lines += _markdown(("column", "dtype", "meaning"), rows)
    if table.field_list:
        lines += [
            "",
            "Custom fields follow, a column each, by their labels: see"
            " [custom fields](../frames.md#custom-fields).",
        ]
    if table.names:
        lines += ["", "## Names", "", "They follow the standard columns.", ""]
        names = [
            (
                f"`{one.name}`" + (" (`names=True`)" if one.table in LARGE else ""),
                f"`{one.id}`",
                f"`{one.label}` of [{one.table}](table-{one.table}.md)",
            )
            for one in table.names
        ]
        lines += _markdown(("column", "by", "is"), names)
    return "\n".join([*lines, ""])


def command_page() -> str:
    """Return what `--help` prints, for the command line and for each command."""
    top = _help()
    commands = re.findall(r"^ {4}(\w+) ", top, re.MULTILINE)
    lines = ["# Commands and options", "", "```text", top.rstrip(), "```", ""]
    for command in commands:
        lines += [f"## {command}", "", "```text", _help(command).rstrip(), "```", ""]
    return "\n".join(lines)


def draw_charts(pages: Path) -> None:
    """Draw each chart as the example in its docstring does."""
    with example_account() as account:
        for name in plot.__all__:
            names = run_example(name, inspect.getdoc(getattr(plot, name)) or "", account)
            figure = names["ax"].figure
            figure.savefig(pages / f"chart-{name}.png", dpi=110, bbox_inches="tight")
            plt.close(figure)


def _help(*command: str) -> str:
    environment = {**os.environ, "COLUMNS": TERMINAL_COLUMNS, "NO_COLOR": "1", "PYTHON_COLORS": "0"}
    run = [sys.executable, "-m", "pdframe", *command, "--help"]
    return subprocess.run(run, check=True, capture_output=True, text=True, env=environment).stdout


def _costs(table: schema.Table) -> str:
    return " + ".join(str(source.cost) for source in table.sources)


def _asks(source: schema.Source) -> str:
    if source.batch is not None:
        return f"rows of {source.batch[1]} deals"
    if source.each is not None:
        return f"rows of one of the {source.each[1]}"
    if "{id}" in source.path:
        return "rows of one record"
    return "500" if source.paged else "all"


def _refresh(table: schema.Table) -> str:
    if table.parent is not None:
        return "Opt-in: one request a record, so a sync loads it only where it is named."
    if table.incremental:
        return "A refresh asks for the rows whose `update_time` moved."
    return "A refresh reads the list again: the API does not tell what changed."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _unit(unit: object) -> str:
    return f" Unit: {unit}." if isinstance(unit, str) else ""


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells]

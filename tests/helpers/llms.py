"""Write llms.txt: the public interface in at most 10,000 bytes, for readers with little room.

`python -m tests.helpers.llms` writes it; a test compares it with the interface. Names and
parameters come from the signatures, the rows of a table from its schema, and the other lines from
`LINES`, or, for a name that is not there, from its docstring.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pdframe
from pdframe import Account, errors, fleet, metrics, plot, sandbox, schema
from pdframe._parser import parser
from tests.helpers.readme import ROOT

FILE = ROOT / "llms.txt"
MOST_BYTES = 10_000

EXPLAINED_ONCE = (
    "activities",
    "by",
    "common_sd",
    "deal_products",
    "deals",
    "deleted",
    "draws",
    "fiscal_start",
    "freq",
    "history",
    "method",
    "rates",
    "seed",
    "tz",
)
"""Optional parameters of many metrics, which the file explains once."""
OF_TABLES = {"refresh", "labels", "names", "columns"}
"""Parameters of the methods that load a table."""
OF_OTHERS = {"refresh"}
"""Parameters of the other methods of an account that read tables."""
OF_FORECASTS = {*EXPLAINED_ONCE, *OF_OTHERS}
OF_CHARTS = {"frame", "ax", "title"}
"""Parameters of every chart."""

LINES = {
    # Account
    "Account.as_of": "deal, as it was known then",
    "Account.changes": "deal and event since, say, 'last Monday'",
    "Account.close": "closes the connections, as `with` does",
    "Account.dashboard": "a widget for JupyterLab, Notebook 7, Voilà",
    "Account.deal": "a card of one deal",
    "Account.deal_history": "change of a deal",
    "Account.line_history": "change of a line item: `history` of mrr_lines",
    "Account.estimate": "table: tokens that a sync would cost",
    "Account.export": "table; layout 'tables', 'star'; format 'parquet', 'csv', 'duckdb', 'xlsx'",
    "Account.fields": "field: column, label, code (hash), type, options",
    "Account.forecast": "metrics.forecast (its parameters too), kept as issued",
    "Account.report": "one self-contained HTML page",
    "Account.search": "item, the best first",
    "Account.search_field": "item with a value in one field",
    "Account.stage_visits": "visit of a deal to a stage: `visits` of metrics",
    "Account.status": "cached table: rows, age, bytes, tokens",
    "Account.sync": "table brought up to date: rows, changes, tokens",
    "Account.track_record": "issued forecast and period",
    "Account.url": "the page of a record in Pipedrive",
    "Account.warnings": "table, column and kind of defect",
    # Metrics: what one row of the result is
    "metrics.RevenuePolicy": "choices of recurring revenue",
    "metrics.activity_summary": "group: activities planned, done, overdue",
    "metrics.as_of": "deals and visits as known at a time",
    "metrics.attainment": "group and period",
    "metrics.backtest": "cutoff, method and horizon",
    "metrics.backtest_deals": "cutoff, method, horizon and deal",
    "metrics.billing_schedule": "bill of a line or an installment",
    "metrics.calibration": "bin of probability",
    "metrics.changes": "deal and event",
    "metrics.changes_summary": "event and currency",
    "metrics.committed_mrr": "month and currency",
    "metrics.compare": "method and horizon, against one method",
    "metrics.convert": "the frame's, with amounts in one currency",
    "metrics.data_quality": "check",
    "metrics.deal_aging": "open deal: days in stage, what is usual",
    "metrics.drill_through": "record that a number counts",
    "metrics.ecb_rates": "currency and day: a table for `rates`",
    "metrics.forecast": "period: won revenue, mean and range",
    "metrics.forecast_changes": "currency: why a forecast changed",
    "metrics.forecast_deals": "open deal and horizon: P(won), P(lost), why",
    "metrics.forecast_draws": "period and draw",
    "metrics.funnel": "stage: deals that reached it, conversion",
    "metrics.lost_reasons": "reason, stage and currency",
    "metrics.mrr_customer_months": "month, customer and currency",
    "metrics.mrr_lines": "line item of a won deal: `lines` below",
    "metrics.mrr_movements": "month and currency: new, expansion, churn ...",
    "metrics.mrr_schedule": "month and currency: MRR, ARR, customers, ARPA",
    "metrics.pipeline_movements": "period of expected close and currency",
    "metrics.reconcile": "deal: MRR here and as Pipedrive reports it",
    "metrics.renewals": "line item that ends soon",
    "metrics.retention": "month and currency: NRR, GRR, customers kept",
    "metrics.revenue_cohorts": "cohort, currency and age",
    "metrics.sales_by_period": "period and currency: created, won, lost, open",
    "metrics.sales_velocity": "group: money earned a day",
    "metrics.schema": "Arrow schema of a metric's result, for Spark",
    "metrics.slippage": "group: how far expected closes moved",
    "metrics.stage_moves": "stage and destination",
    "metrics.stage_survival": "stage and days: share that lasts longer",
    "metrics.stage_velocity": "stage: median days and quantiles",
    "metrics.top_customers": "customer: MRR and share",
    "metrics.weighted_pipeline": "period and currency: value, value x probability",
    "metrics.what_if": "period: forecast with and without changes",
    "metrics.win_rate": "group: share won, with its interval",
    # Others
    "connect": "your account",
    "export_check": "whether the files of an export are one set",
    "has": "True where a list column has a value",
    "sandbox.connect": "a synthetic company; `advance(days=)`",
    "fleet.Results": "what `apply` returns",
    "fleet.apply": "result of each account, a process each",
    "fleet.estimate": "account and table",
    "fleet.load": "row of a table, `account` first",
    "fleet.sync": "account and table; a failure is a row",
}


def write() -> None:
    """Write llms.txt."""
    FILE.write_text(text(), encoding="utf-8")
    print(FILE.name)


def text() -> str:
    """Return the whole file."""
    sections = [HEADER, account_section(), metric_section(), chart_section(), rest()]
    return "\n\n".join(section.strip() for section in sections) + "\n"


HEADER = """
# pdframe

> Pipedrive in pandas: a read-only Python toolkit. One line to a labelled, typed, cached DataFrame;
> metrics, charts, forecasts, BI exports.

- `account = pdframe.connect()` reads PIPEDRIVE_COMPANY and PIPEDRIVE_API_TOKEN;
  `pdframe.sandbox.connect()` needs no account.
- An account loads frames; `pdframe.metrics` computes, `pdframe.plot` draws.
- Frames: ids Int64, amounts float64, times datetime64[us, UTC], options as labels, lists as Arrow
  lists. Amounts in several currencies are never added without `rates=metrics.ecb_rates()`.
- `x?` is optional. The text after a name is what one row of the result is.
"""


def account_section() -> str:
    """Describe the methods of an account: tables, then the others, then properties."""
    members = {
        name: inspect.getattr_static(Account, name)
        for name in dir(Account)
        if not name.startswith("_")
    }
    properties = [name for name, member in members.items() if isinstance(member, property)]
    tables = {name: schema.TABLES[name] for name in members if name in schema.TABLES}
    followers = of_followers("_followers", tables)
    followed = of_followers("_follower_changes", tables)
    plain = [name for name in tables if called(members[name], OF_TABLES).endswith("()")]
    lines = [
        f"{called(members[name], OF_TABLES)}: {table.grain.removeprefix('one row per ')}"
        for name, table in tables.items()
        if "_follower" not in name and name not in plain
    ]
    others = [
        f"{called(member, OF_FORECASTS if name == 'forecast' else OF_OTHERS)}"
        f": {line(f'Account.{name}', member)}"
        for name, member in members.items()
        if name not in tables and name not in properties
    ]
    return "\n".join(
        [
            "## Account",
            "",
            *wrapped(
                "Tables; each method also takes refresh?, labels?, names?, columns?. Those with"
                " `ids` cost a request a record."
            ),
            "",
            *listed(lines),
            *listed([f"{', '.join(plain)}: a row a record"]),
            *listed([f"{'|'.join(followed)}_follower_changes(ids): user who began or stopped"]),
            *listed([f"{'|'.join(followers)}_followers(ids): user who follows"]),
            "",
            "Others; those that read tables also take refresh?:",
            "",
            *listed(others),
            *listed([f"Properties: {', '.join(properties)}"]),
        ]
    )


def of_followers(ending: str, tables: Iterable[str]) -> list[str]:
    """Return whose followers have a table with this ending."""
    return [name.removesuffix(ending) for name in tables if name.endswith(ending)]


def metric_section() -> str:
    """Describe the metrics, each with the function that lists the rows it counts."""
    functions = {name: getattr(metrics, name) for name in metrics.__all__}
    twins = {name: name_of_rows(name, functions) for name in functions}
    lines = []
    for name, function in functions.items():
        if name in twins.values():
            continue
        names = f"{name}, {twins[name]}" if twins[name] else name
        call = called(function, EXPLAINED_ONCE, names).replace("*, ", "")
        lines.append(f"{call}: {line(f'metrics.{name}', function)}")
    return "\n".join(
        [
            "## pdframe.metrics",
            "",
            *wrapped(
                "Keywords alone after the frames. `by`: columns to group by, of `deals`. `as_of`,"
                " `since`, `until`: '2026-06-30', '2026-Q2', a Timestamp. `history`:"
                " account.deal_history(). Optional where they apply:"
                f" {', '.join(EXPLAINED_ONCE)}."
            ),
            "",
            *listed(lines),
        ]
    )


def chart_section() -> str:
    """Describe the charts: each is named like the metric that it draws."""
    charts = [
        called(getattr(plot, name), OF_CHARTS).replace("*, ", "").removesuffix("()")
        for name in plot.__all__
    ]
    return "\n".join(
        [
            "## pdframe.plot",
            "",
            *wrapped(
                "Each takes the frame of a metric (`velocity`: stage_velocity, `flow`: stage_moves,"
                " `mrr`: mrr_schedule, `billing`: billing_schedule, `retention_cohorts`:"
                " revenue_cohorts, else of its own name), ax?, title?, and returns the Axes."
            ),
            "",
            *wrapped(", ".join(charts)),
        ]
    )


def rest() -> str:
    """Describe what opens accounts, the fleet, the errors and the command line."""
    opens = {"connect": pdframe.connect, "sandbox.connect": sandbox.connect}
    small = {"has": pdframe.has, "export_check": pdframe.export_check}
    several = {f"fleet.{name}": getattr(fleet, name) for name in fleet.__all__}
    functions: dict[str, Callable[..., Any]] = opens | small | several
    lines = [
        f"{called(function, name=name)}: {line(name, function)}"
        for name, function in functions.items()
    ]
    kinds = [name.removesuffix("Error") for name in errors.__all__ if name.endswith("Error")]
    classes = ["Account", "OAuth", "Tokens", "DataWarning", "PdframeError"]
    classes += [f"sandbox.{name}" for name in sandbox.__all__ if name != "connect"]
    return "\n".join(
        [
            "## pdframe",
            "",
            *listed(lines),
            *listed([f"Classes: {', '.join(classes)}"]),
            *listed([f"errors, each ...Error: {', '.join(kinds)}"]),
            *listed([f"Command line (`--json` for one object): pdframe {', '.join(commands())}"]),
            "",
            "## Pages",
            "",
            *(f"- [{title}]({path})" for title, path in PAGES.items()),
        ]
    )


PAGES = {
    "README": "README.md",
    "Metrics defined": "docs/explanation/metrics.md",
    "Columns, labels, types": "docs/reference/frames.md",
    "Charts with their code": "docs/gallery.md",
    "Answer everyday questions": "docs/how-to/questions.md",
    "Export to BI": "docs/how-to/export-to-bi.md",
    "Many accounts": "docs/how-to/many-accounts.md",
}


def commands() -> list[str]:
    """Return the names of the commands."""
    actions = parser()._actions
    return [name for action in actions for name in action.choices or () if action.dest == "command"]


def name_of_rows(name: str, functions: dict[str, Any]) -> str | None:
    """Return the function that lists what a metric counts; None where there is none."""
    for suffix in ("_deals", "_visits", "_lines", "_activities"):
        for stem in (name, name.removesuffix("s")):
            if stem + suffix in functions and stem + suffix != "forecast_deals":
                if stem + suffix == "backtest_deals":
                    continue
                return stem + suffix
    return None


def called(function: Any, hidden: Iterable[str] = (), name: str | None = None) -> str:
    """Write a call as Python does, but an optional parameter with a question mark.

    Optional parameters of `hidden` are left out.
    """
    parts: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        is_optional = parameter.default is not parameter.empty
        if parameter.name == "self" or (
            parameter.name in hidden and (is_optional or parameter.name == "frame")
        ):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not any(x.startswith("*") for x in parts):
            parts.append("*")
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        parts.append(stars + parameter.name + "?" * is_optional)
    return f"{name or function.__name__}({', '.join(parts)})"


def line(name: str, function: Any) -> str:
    """Return the line of a name: ours, or the first clause of its docstring."""
    if name in LINES:
        return LINES[name]
    summary = " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
    return re.split(r"(?<=\w)[.:;](?:\s|$)", summary)[0]


def listed(lines: list[str]) -> Iterator[str]:
    """Yield the lines as a list, none longer than 100 characters."""
    for one in lines:
        yield from textwrap.wrap(
            f"- {one}", 100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )


def wrapped(one: str) -> list[str]:
    """Return a paragraph in lines of at most 100 characters."""
    return textwrap.wrap(one, 100, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    write()

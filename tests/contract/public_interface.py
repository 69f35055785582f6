"""Collect the public interface of pdframe as text: names, signatures, frames, errors, help texts.

`python -m tests.contract.public_interface write` writes `public_interface.json` beside this file,
without an argument it prints how today's interface differs from it. Only public names are used
here, so the collector survives every move of a module.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import difflib
import functools
import importlib
import inspect
import io
import json
import os
import re
import sys
import tempfile
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pandas as pd

import pdframe
from pdframe import errors, metrics, sandbox
from pdframe.cli import main
from tests.helpers.forecast_frames import past

SNAPSHOT = Path(__file__).with_name("public_interface.json")
MODULES = (
    "pdframe",
    "pdframe.metrics",
    "pdframe.plot",
    "pdframe.fleet",
    "pdframe.sandbox",
    "pdframe.errors",
)
SEED, DEALS = 3, 30
AS_OF = "2026-06-30"
WINDOW: dict[str, Any] = {"since": "2025-07-01", "until": "2026-07-01"}
LATER, LATELY = "2026-08-01", {"since": "2026-07-01", "until": "2026-08-01"}
MADE_ELSEWHERE = {"Account", "SandboxAccount"}
"""Classes whose constructor is not public: `connect` makes them."""
TAKEN_AS_ARGUMENTS = {"OAuth"}
"""Classes that users make and hand over: their methods are called by pdframe alone."""
MOST_CATEGORIES = 8
"""The most categories of a dtype that the snapshot names one by one."""
PACKAGE = Path(pdframe.__file__).parent
VARIABLE = re.compile(r"(?:PIPEDRIVE|PDFRAME)_[A-Z_]+")


# Signatures


class _Annotation(ast.NodeTransformer):
    """Replace aliases by what they stand for, and dotted names by their last part."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self._names = names

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return ast.Name(node.attr)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = self._names.get(node.id)
        if value is None or isinstance(value, type | types.ModuleType | typing.TypeVar):
            return node
        if typing.get_origin(value) is None and not isinstance(value, str):
            return node
        return ast.parse(annotation(value, self._names), mode="eval").body

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return node


def annotation(kind: Any, names: Mapping[str, Any]) -> str:
    """Write a type as text that does not depend on where its classes live or what aliases exist."""
    if isinstance(kind, typing.ForwardRef):
        kind = kind.__forward_arg__
    if isinstance(kind, str):
        tree = _Annotation(names).visit(ast.parse(kind, mode="eval"))
        return ast.unparse(ast.fix_missing_locations(tree))
    if kind is None or kind is type(None):
        return "None"
    if kind is Ellipsis:
        return "..."
    if isinstance(kind, list):
        return f"[{', '.join(annotation(part, names) for part in kind)}]"
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, parts))}]"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(annotation(part, names) for part in parts)
    if origin is not None:
        inside = ", ".join(annotation(part, names) for part in parts)
        return f"{origin.__name__}[{inside}]"
    return getattr(kind, "__name__", str(kind).rpartition(".")[2])


def globals_of(thing: Any) -> Mapping[str, Any]:
    """Return the names that an annotation of a function or class may use."""
    thing = inspect.unwrap(thing)
    if hasattr(thing, "__globals__"):
        names: Mapping[str, Any] = thing.__globals__
        return names
    return vars(sys.modules[thing.__module__])


def signature(function: Callable[..., Any]) -> list[str]:
    """Describe a callable: a line per parameter with Python's own marks, then the result."""
    names = globals_of(function.__init__ if inspect.isclass(function) else function)
    lines, kinds = [], inspect.Parameter
    was_keyword = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        starred = {kinds.VAR_POSITIONAL: "*", kinds.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        is_keyword = parameter.kind is kinds.KEYWORD_ONLY
        if is_keyword and not was_keyword and not any(line.startswith("*") for line in lines):
            lines.append("*")
        was_keyword = is_keyword
        line = starred + parameter.name
        if parameter.annotation is not kinds.empty:
            line += f": {annotation(parameter.annotation, names)}"
        if parameter.default is not kinds.empty:
            line += f" = {parameter.default!r}"
        lines.append(line)
        if parameter.kind is kinds.POSITIONAL_ONLY:
            lines.append("/")
    result = inspect.signature(function).return_annotation
    if result is not inspect.Signature.empty and not inspect.isclass(function):
        lines.append(f"-> {annotation(result, names)}")
    return lines


def members(cls: type) -> dict[str, Any]:
    """Describe the public methods, properties and annotated attributes of a class."""
    described: dict[str, Any] = {}
    for name in sorted(dir(cls)):
        if name.startswith("_"):
            continue
        member = inspect.getattr_static(cls, name)
        if isinstance(member, property):
            kind = inspect.signature(member.fget).return_annotation if member.fget else ""
            names = globals_of(member.fget) if member.fget else {}
            described[name] = f"property: {annotation(kind, names)}"
        elif isinstance(member, classmethod | staticmethod):
            described[name] = [type(member).__name__, *signature(getattr(cls, name))]
        elif callable(member) and not inspect.isclass(member):
            described[name] = signature(member)
    for base in reversed(cls.__mro__):
        for name, kind in inspect.get_annotations(base).items():
            if not name.startswith("_"):
                described[name] = f"attribute: {annotation(kind, globals_of(base))}"
    return described


def describe_class(cls: type) -> dict[str, Any]:
    described: dict[str, Any] = {}
    if cls.__name__ not in MADE_ELSEWHERE:
        described["constructor"] = signature(cls)
    if dataclasses.is_dataclass(cls):
        described["frozen"] = cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    if cls.__name__ in TAKEN_AS_ARGUMENTS:
        return described
    return described | {"members": members(cls)}


def describe_module(name: str) -> dict[str, Any]:
    """Describe what the `__all__` of a module promises."""
    module = importlib.import_module(name)
    described: dict[str, Any] = {}
    for public in sorted(module.__all__):
        thing = getattr(module, public)
        if inspect.ismodule(thing):
            described[public] = "module"
        elif inspect.isclass(thing) and issubclass(thing, Exception):
            described[public] = "see errors"
        elif inspect.isclass(thing):
            described[public] = describe_class(thing)
        elif callable(thing):
            described[public] = signature(thing)
        else:
            described[public] = repr(thing)
    return described


def describe_error(cls: type[Exception]) -> dict[str, Any]:
    """Describe an error: its bases, what it takes, what it carries and how it prints."""
    error = cls("What happened.")
    described: dict[str, Any] = {
        "bases": [base.__name__ for base in cls.__bases__],
        "attributes": {name: repr(value) for name, value in sorted(vars(error).items())},
    }
    if issubclass(cls, errors.PdframeError):
        described["constructor"] = signature(cls)
        described["text"] = str(cls("What happened.", kept="What is kept."))
    return described


# Frames


def columns(frame: Any) -> Any:
    """Describe the columns of a frame or of each frame of a tuple, a line each."""
    if isinstance(frame, tuple):
        return [columns(part) for part in frame]
    return [f"{name}: {dtype_text(kind)}" for name, kind in frame.dtypes.items()]


def dtype_text(kind: Any) -> str:
    if not isinstance(kind, pd.CategoricalDtype):
        return str(kind)
    if len(kind.categories) > MOST_CATEGORIES:
        return f"category of {len(kind.categories)} {kind.categories.dtype}"
    return f"category[{', '.join(map(repr, kind.categories))}]"


def is_loader(method: Any) -> bool:
    return callable(method) and "columns" in inspect.signature(method).parameters


def loader_frames(account: sandbox.SandboxAccount) -> dict[str, pd.DataFrame]:
    """Call every loader of an account, and every other method that returns a frame."""
    deals, frames = account.deals(), {}
    first: dict[str, Any] = {
        name: list(getattr(account, f"{name}s")()["id"].head(3))
        for name in ("person", "organization", "product", "user", "project")
    } | {"deal": list(deals["id"].head(3))}
    for name in sorted(dir(type(account))):
        if name.startswith("_") or not is_loader(method := getattr(account, name)):
            continue
        ids = "ids" in inspect.signature(method).parameters
        given = (
            {"ids": first[name.partition("_")[0] if name != "discounts" else "deal"]} if ids else {}
        )
        frames[name] = method(**given)
        frames[f"{name}(labels=False, names=True)"] = method(**given, labels=False, names=True)
    frames["deals(deleted=True)"] = account.deals(deleted=True)
    frames["deals(archived=False)"] = account.deals(archived=False)
    frames["deals(columns=['title', 'id'])"] = account.deals(columns=["title", "id"])
    frames["deal_products(deleted=True)"] = account.deal_products(deleted=True)
    frames["stage_visits"] = account.stage_visits()
    frames["deal_history"] = account.deal_history()
    frames["line_history"] = account.line_history()
    for table in ("deals", "persons", "organizations", "products", "activities", "projects"):
        frames[f"fields({table!r})"] = account.fields(table)
    frames["search('deal')"] = account.search("deal")
    frames["search('deal', 'deal')"] = account.search("deal", "deal")
    frames["search_field('deal', 'deal', 'title')"] = account.search_field("deal", "deal", "title")
    frames["sync('stages')"] = account.sync("stages")
    frames["estimate('stages')"] = account.estimate("stages")
    frames["status"] = account.status()
    frames["warnings"] = account.warnings()
    with tempfile.TemporaryDirectory() as folder:
        frames["export(folder, 'stages')"] = account.export(folder, "stages")
    if len(deals):
        account.advance(days=1)
        account.deals(refresh=True)
        frames["as_of"] = account.as_of(server_now(account))
        frames["changes"] = account.changes("an hour ago")
        frames |= forecast_frames()
    frames["track_record"] = account.track_record()
    return frames


def forecast_frames() -> dict[str, pd.DataFrame]:
    """Forecast for an account that has enough of a past."""
    rates: dict[str, Any] = {"rates": {"EUR": 1, "USD": 0.9, "GBP": 1.15}, "draws": 10}
    with sandbox.connect(
        seed=SEED, deals=4 * DEALS, company="hostile", burst=100_000, progress=False
    ) as account:
        return {
            "forecast": account.forecast("2026-07", **rates),
            "forecast(by='owner')": account.forecast("2026-07", **rates, by="owner"),
        }


def server_now(account: sandbox.SandboxAccount) -> pd.Timestamp:
    return pd.Timestamp(account.company_model.now, unit="s", tz="UTC")


def metric_frames(given: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Call every metric with the frames of one account; a name is the metric's, then a remark."""
    deals, visits, stages = given["deals"], given["stage_visits"], given["stages"]
    products, installments = given["deal_products"], given["installments"]
    history, pipelines, m = given["deal_history"], given["pipelines"], metrics
    activities = given["activities"]
    contacts = {name: given[name] for name in ("organizations", "persons")}
    rates = {"EUR": 1.0} | dict.fromkeys(deals["currency"].dropna().unique(), 1.5)
    lines, with_names = m.mrr_lines(products, deals), m.mrr_lines(products, deals, **contacts)
    rates |= dict.fromkeys(lines["currency"].dropna().unique(), 1.5) | {"EUR": 1.0}
    by_owner: dict[str, Any] = {"by": "owner_id", "deals": deals}
    owned: dict[str, Any] = {**WINDOW, "by": "owner_id"}
    results = {
        "activity_summary": m.activity_summary(activities, deals, **WINDOW, as_of=AS_OF),
        "activity_summary by": m.activity_summary(
            activities, deals, **owned, as_of=AS_OF, freq="Q"
        ),
        "activity_summary_activities": m.activity_summary_activities(
            activities, **WINDOW, as_of=AS_OF, freq="Q"
        ),
        "as_of": m.as_of(deals, visits, AS_OF, history),
        "billing_schedule": m.billing_schedule(products, installments, deals, **WINDOW),
        "billing_schedule names": m.billing_schedule(
            products, installments, deals, **WINDOW, **contacts
        ),
        "changes": (rows := m.changes(history, deals, **LATELY, stages=stages)),
        "changes_summary": m.changes_summary(rows),
        "changes_summary by": m.changes_summary(rows, by="owner_name"),
        "committed_mrr": m.committed_mrr(lines, as_of=AS_OF),
        "convert": m.convert(deals, "EUR", rates),
        "data_quality": m.data_quality(deals, visits, stages, products, as_of=AS_OF),
        "deal_aging": m.deal_aging(deals, visits, stages, as_of=AS_OF),
        "ecb_rates": m.ecb_rates(currencies=["USD"]),
        "funnel": m.funnel(visits, stages, as_of=AS_OF, pipeline_id=1),
        "funnel by": m.funnel(visits, stages, as_of=AS_OF, pipeline_id=1, **by_owner),
        "funnel horizon": m.funnel(visits, stages, as_of=AS_OF, pipeline_id=1, horizon="90D"),
        "funnel_deals": m.funnel_deals(visits, stages, as_of=AS_OF, pipeline_id=1),
        "lost_reason_deals": m.lost_reason_deals(deals, **WINDOW),
        "lost_reasons": m.lost_reasons(deals, **WINDOW),
        "lost_reasons by": m.lost_reasons(deals, **owned, rates=rates),
        "mrr_customer_months": m.mrr_customer_months(lines, **WINDOW),
        "mrr_customer_months names": m.mrr_customer_months(with_names, **WINDOW),
        "mrr_lines": lines,
        "mrr_lines names": with_names,
        "mrr_lines history": m.mrr_lines(products, deals, history=given["line_history"]),
        "mrr_lines carry": m.mrr_lines(products, deals, carry="owner_id"),
        "mrr_movements": m.mrr_movements(lines, **WINDOW),
        "mrr_movements rates": m.mrr_movements(lines, **WINDOW, rates=rates),
        "mrr_schedule": m.mrr_schedule(lines, **WINDOW),
        "pipeline_movement_deals": m.pipeline_movement_deals(history, deals, **LATELY),
        "pipeline_movements": m.pipeline_movements(history, deals, **LATELY),
        "pipeline_movements by": m.pipeline_movements(history, deals, **LATELY, by="owner_id"),
        "reconcile": m.reconcile(lines, deals, deal_products=products),
        "renewals names": m.renewals(with_names, deals, as_of=AS_OF, within="365D"),
        "renewals": m.renewals(lines, deals, as_of=AS_OF, within="365D"),
        "retention": m.retention(lines, **WINDOW),
        "revenue_cohorts": m.revenue_cohorts(lines, **WINDOW),
        "sales_by_period": m.sales_by_period(deals, **WINDOW),
        "sales_by_period by": m.sales_by_period(deals, **owned, freq="Q", rates=rates),
        "sales_by_period_deals": m.sales_by_period_deals(deals, **WINDOW),
        "sales_velocity": m.sales_velocity(deals, **WINDOW, rates=rates),
        "sales_velocity by": m.sales_velocity(deals, **WINDOW, by=["currency", "owner_id"]),
        "sales_velocity periods": m.sales_velocity(deals, **WINDOW, by="currency", freq="M"),
        "slippage": m.slippage(history, deals, **LATELY),
        "slippage_deals": m.slippage_deals(history, deals, **LATELY),
        "stage_move_visits": m.stage_move_visits(visits, stages, as_of=AS_OF, pipeline_id=1),
        "stage_moves": m.stage_moves(visits, stages, as_of=AS_OF, pipeline_id=1),
        "stage_survival": m.stage_survival(visits, stages, as_of=AS_OF),
        "stage_survival by": m.stage_survival(visits, stages, as_of=AS_OF, **by_owner),
        "stage_velocity": m.stage_velocity(visits, stages, as_of=AS_OF),
        "top_customer_lines": m.top_customer_lines(lines, as_of=AS_OF, rates=rates),
        "top_customers": m.top_customers(lines, as_of=AS_OF, rates=rates),
        "top_customers names": m.top_customers(with_names, as_of=AS_OF, rates=rates),
        "weighted_pipeline": m.weighted_pipeline(deals, stages, pipelines, as_of=LATER),
        "weighted_pipeline_deals": m.weighted_pipeline_deals(deals, stages, pipelines, as_of=LATER),
        "win_rate": m.win_rate(deals, **WINDOW, by="owner_id"),
        "win_rate periods": m.win_rate(deals, **owned, freq="Q"),
        "win_rate created": m.win_rate(deals, **WINDOW, as_of=AS_OF, basis="created"),
    }
    row = pd.DataFrame({"stage_id": pd.array([1], "Int64")})
    return results | metrics_of_a_past() | {"drill_through": m.drill_through(row, visits)}


@functools.cache
def metrics_of_a_past() -> dict[str, Any]:
    """Call the metrics that forecast: an account of a few deals is too young for them."""
    m, results = metrics, dict[str, Any]()
    older, when = past(), {"as_of": AS_OF, "horizons": "60D"}
    results["forecast_deals"] = m.forecast_deals(*older, **when)
    results["forecast_deals by"] = m.forecast_deals(*older, **when, by="owner_id")
    fridays = {"before": "2026-06-19", "after": "2026-06-26", "until": "2026-Q3"}
    results["forecast_changes"] = m.forecast_changes(*older, **fridays)
    results["forecast_change_deals"] = m.forecast_change_deals(*older, **fridays)
    coming = {"as_of": AS_OF, "until": "2026-Q3", "draws": 10, "common_sd": 0.2}
    results["forecast"] = m.forecast(*older, **coming)
    results["forecast by"] = m.forecast(*older, **coming, by=["currency", "owner_id"])
    results["forecast_draws"] = draws = m.forecast_draws(*older, **coming)
    results["attainment"] = m.attainment(draws, 1000.0)
    results["what_if"] = m.what_if(*older, **coming, rate=0.5)
    record = {"cutoffs": "2026-03-31", "methods": "constant", **when}
    results["backtest_deals"] = forecasts = m.backtest_deals(*older, **record)
    results["backtest"] = scores = m.backtest(*older, **record, draws=10)
    results["calibration"] = m.calibration(forecasts)
    results["compare"] = m.compare(scores)
    return results


def frames_of(small: sandbox.SandboxAccount, new: sandbox.SandboxAccount) -> dict[str, Any]:
    """Describe every frame: of an account of a few deals, and of one without any."""
    described: dict[str, Any] = {"account": {}, "metrics": {}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.DataWarning)
        frames = loader_frames(small)
        pairs = [("account", frames, loader_frames(new))]
        no_rows = {name: frame.iloc[:0] for name, frame in frames.items()}
        no_rows["stages"] = frames["stages"]
        pairs.append(("metrics", metric_frames(frames), metric_frames(no_rows)))
    for kind, full, empty in pairs:
        for name, frame in full.items():
            described[kind][name] = columns(frame)
            if name in empty and (lines := columns(empty[name])) != described[kind][name]:
                described[kind][f"{name}, no deals"] = lines
    return described


# Environment and command line


def environment() -> list[str]:
    """List the environment variables that the code names."""
    names = set()
    for file in PACKAGE.rglob("*.py"):
        source = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)) if VARIABLE.search(source) else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                names |= {node.value} if VARIABLE.fullmatch(node.value) else set()
    return sorted(names)


def command_line() -> dict[str, Any]:
    """Describe the command line: options with their defaults, and each help text as it prints."""
    parser = _parser()
    commands = next(
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    described = {"pdframe": {"options": _options(parser), "help": _help()}}
    for name, command in commands.choices.items():
        described[f"pdframe {name}"] = {"options": _options(command), "help": _help(name)}
    return described


def _parser() -> argparse.ArgumentParser:
    """Return the parser that the command line uses, whatever makes it."""
    parsers: list[argparse.ArgumentParser] = []

    def parse(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> typing.NoReturn:
        parsers.append(parser)
        raise SystemExit

    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", parse),
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", parse),
        contextlib.suppress(SystemExit),
    ):
        main([])
    return parsers[0]


def _options(parser: argparse.ArgumentParser) -> list[str]:
    lines = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            continue
        line = ", ".join(action.option_strings) or action.dest
        if action.nargs is not None:
            line += f" nargs={action.nargs!r}"
        if action.choices is not None:
            line += f" choices={list(action.choices)!r}"
        lines.append(f"{line} default={action.default!r}")
    return lines


def _help(*command: str) -> list[str]:
    output = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}),
        contextlib.redirect_stdout(output),
        contextlib.suppress(SystemExit),
    ):
        main([*command, "--help"])
    return output.getvalue().splitlines()


# The snapshot


@contextlib.contextmanager
def accounts() -> Iterator[tuple[sandbox.SandboxAccount, sandbox.SandboxAccount]]:
    """Open an account of a few deals, and a new one that has none."""
    options: dict[str, Any] = {"burst": 100_000, "search_burst": 100_000, "progress": False}
    with (
        sandbox.connect(seed=SEED, deals=DEALS, company="hostile", **options) as small,
        sandbox.connect(seed=SEED, deals=0, company="hostile", **options) as new,
    ):
        yield small, new


def collect(small: sandbox.SandboxAccount, new: sandbox.SandboxAccount) -> dict[str, Any]:
    """Describe the whole public interface."""
    return {
        "modules": {name: describe_module(name) for name in MODULES if name != "pdframe.errors"},
        "errors": {name: describe_error(getattr(errors, name)) for name in sorted(errors.__all__)},
        "environment": environment(),
        "command line": command_line(),
        "frames": frames_of(small, new),
    }


def text(interface: Mapping[str, Any]) -> str:
    return json.dumps(interface, indent=1, ensure_ascii=False) + "\n"


def difference(before: Any, now: Any) -> str:
    """Show what differs, with the path of each part that does; empty where nothing does."""
    return "\n".join(_differences(before, now, ""))


def _differences(before: Any, now: Any, path: str) -> Iterator[str]:
    if before == now:
        return
    if isinstance(before, dict) and isinstance(now, dict):
        for name in [*before, *(name for name in now if name not in before)]:
            yield from _differences(
                before.get(name), now.get(name), f"{path} > {name}" if path else name
            )
        return
    yield f"{path}:"
    old, new = (
        json.dumps(part, indent=1, ensure_ascii=False).splitlines() for part in (before, now)
    )
    yield from (
        f"    {line}" for line in list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]
    )


def run(arguments: list[str]) -> int:
    with accounts() as (small, new):
        interface = collect(small, new)
    if arguments == ["write"]:
        SNAPSHOT.write_text(text(interface), encoding="utf-8")
        return 0
    shown = difference(
        json.loads(SNAPSHOT.read_text(encoding="utf-8")), json.loads(text(interface))
    )
    print(shown or "The public interface is as the snapshot says.")
    return int(bool(shown))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))

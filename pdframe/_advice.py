"""Answer what people mistype: a name, a keyword or a call that does not exist, with the nearest one
that does.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from numbers import Integral
from typing import Any, TypeVar

from pdframe.errors import ArgumentError, UnknownNameError

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Where the arguments of metrics come from, by their names.
SOURCES = {
    "deals": "account.deals()",
    "visits": "account.stage_visits()",
    "stages": "account.stages()",
    "pipelines": "account.pipelines()",
    "history": "account.deal_history()",
    "activities": "account.activities()",
    "draws": "metrics.forecast_draws(...)",
    "forecast_deals": "metrics.forecast_deals(...)",
    "backtest_deals": "metrics.backtest_deals(...)",
    "deal_products": "account.deal_products()",
    "discounts": "account.discounts()",
    "installments": "account.installments()",
    "lines": "metrics.mrr_lines(...)",
    "organizations": "account.organizations()",
    "persons": "account.persons()",
}
_EXAMPLES = SOURCES | {
    "as_of": "'2026-06-30'",
    "when": "'2026-06-30'",
    "since": "'2026-Q2'",
    "until": "'2026-Q3'",
    "within": "'90D'",
    "horizons": "'90D'",
    "ids": "[1, 2]",
    "id": "17",
    "to": "'EUR'",
    "rates": "metrics.ecb_rates()",
}
_PATHS = {"report": "'report.html'", "export": "'bi'"}
# Keywords that people try on a loader, which always loads the table.
_TIMES = frozenset({"since", "until", "after", "before", "start", "end", "date", "freq", "as_of"})
_COUNTS = frozenset({"limit", "n", "top", "head", "rows", "max_rows", "nrows", "size"})
_PERIODS = frozenset({"period", "window", "between", "dates", "month", "quarter", "year"})
_OF_FIGURES = frozenset({"figsize", "size", "width", "height", "dpi", "figure", "fig"})
_FILTERS = frozenset({"filter", "filter_id", "where", "query", "id", "ids"})
# What people call a row's owner, list or address -> the column that such text is compared with, and
# the column that the table must have for it.
_IN_WORDS = {
    "owner": ("owner_name", "owner_id"),
    "user": ("owner_name", "owner_id"),
    "rep": ("owner_name", "owner_id"),
    "pipeline": ("pipeline_name", "pipeline_id"),
    "stage": ("stage_name", "stage_id"),
    "org": ("org_name", "org_id"),
    "organization": ("org_name", "org_id"),
    "company": ("org_name", "org_id"),
    "person": ("person_name", "person_id"),
    "contact": ("person_name", "person_id"),
    "email": ("primary_email", "emails"),
    "phone": ("primary_phone", "phones"),
    "label": ("label_ids", "label_ids"),
}
_LISTS = frozenset({"label_ids", "emails", "phones"})
# Names of these are added with `names=True` alone.
_MORE_NAMES = frozenset({"org_name", "person_name"})
# What people pass to a metric to select rows of its result.
_OF_RESULT = {
    **dict.fromkeys(
        ("days", "min_days", "older_than", "threshold", "min_value"),
        "It has no limit: select rows of the result, such as result[result['days_in_stage'] > 60].",
    ),
    **dict.fromkeys(("limit", "top", "head"), "It has no limit: result.head(10)."),
}
_OF_STAGES = (
    "funnel", "stage_velocity", "stage_survival", "deal_aging", "forecast_deals",
)  # fmt: skip
_OF_CUSTOMERS = ("top_customers", "mrr_customer_months", "renewals", "mrr_lines")
# Of one function alone.
_OF_FUNCTION = {
    **{
        (function, name): f"It computes every {name}: select rows of the result:"
        f" result[result['{column}'] == {{value}}]."
        for name, column, functions in (
            ("stage", "stage", _OF_STAGES),
            ("customer", "customer_name", _OF_CUSTOMERS),
            ("reason", "reason", ("lost_reasons",)),
        )
        for function in functions
    },
    ("deals", "as_of"): "account.as_of({value}) returns the deals as they were then.",
    ("renewals", "days"): "Write within='90D', or within='next quarter'.",
    ("compare", "period"): "It compares methods of forecasts. Of two periods, compute each:"
    " sales_by_period(deals, since='2026-Q1', until='2026-Q1'), and the same of the other.",
    **{
        ("report", name): "It is of all deals: account.dashboard() shows those of a pipeline, owner"
        " or custom field."
        for name in ("owner", "by", "pipeline", "pipeline_id", "deals")
    },
    ("report", "currency"): "Pass rates=metrics.ecb_rates({value}).",
    **{
        ("fields", name): "Select rows: fields = account.fields('deals'), then"
        " fields[fields['is_custom']]."
        for name in ("custom", "is_custom", "custom_only")
    },
    **{
        (name, "freq"): f"It has one row a month: {hint}"
        for name, hint in (
            ("mrr_schedule", "of a quarter, keep its last month."),
            ("mrr_movements", "add the movements of a quarter up."),
        )
    },
    ("top_customers", "by"): "It ranks customers by MRR. By won value:"
    " sales_by_period(account.deals(names=True), since='2026', until='2026', freq='Y',"
    " by='org_name', rates=...).nlargest(10, 'won_value').",
}
_STATUSES = frozenset({"open", "won", "lost", "completed", "canceled"})
# Loaders of what belongs to deals, and their column of deals.
_RECORDS = dict.fromkeys(
    ("deal_history", "stage_visits", "deal_products", "installments"), "deal_id"
)
# Of `difflib`, where 1 is the same.
_TYPO, _ALIKE = 0.8, 0.6
_FEWEST_SIGNS = 3
_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_MOST_NAMES = 3  # in an example of a call


def nearest(wanted: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Return the names that were probably meant, the likeliest first; none where none is near.

    The same name in another case, or with a suffix in parentheses, comes alone: labels that several
    fields share carry such suffixes.
    """
    known = [name for name in dict.fromkeys(names) if isinstance(name, str)]
    folded = {name: _folded(name) for name in known}
    short = _folded(wanted)
    same = [name for name in known if short in (folded[name], _folded(_without_suffix(name)))]
    if same:
        return same
    # A sign too many or too few comes before a longer name that holds the word, and that before a
    # name that only looks alike.
    for cutoff in (_TYPO, _ALIKE):
        close = get_close_matches(short, dict.fromkeys(folded.values()), n=count, cutoff=cutoff)
        if close:
            return [name for fold in close for name in known if folded[name] == fold][:count]
        inside = [
            name
            for name in known
            if min(len(short), len(folded[name])) >= _FEWEST_SIGNS
            and (short in folded[name] or f"_{folded[name]}_" in f"_{short}_")
        ]
        if inside:
            inside.sort(key=lambda name: (not folded[name].startswith(short), len(name)))
            return inside[:count]
    return []


def did_you_mean(wanted: str, names: Iterable[str]) -> str:
    """Return "Did you mean ...?", or nothing where no name is near."""
    close = nearest(wanted, names)
    return f"Did you mean {either(close)}?" if close else ""


def either(names: Collection[str]) -> str:
    """Join names in quotes: 'a', 'b' or 'c'."""
    quoted = [repr(name) for name in names]
    return " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))


def explained(
    function: _Function, *, module: str | None = None, columns: Collection[str] = ()
) -> _Function:
    """Return the function, which answers a call that does not fit it with an `ArgumentError`: the
    nearest argument, or those that are missing.

    Parameters
    ----------
    function
        A loader, metric or chart.
    module
        The public module that has the result under the function's name, so that it pickles.
    columns
        Of the table that a loader returns, to select rows by.
    """
    depth, inner = 1, function
    while hasattr(inner, "__wrapped__"):
        depth, inner = depth + 1, inner.__wrapped__

    @functools.wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        try:
            return function(*args, **given)
        except TypeError as error:
            # Raised by the call, not inside the function.
            if _frames(error) == depth:
                problem = _problem(function, args, given, columns)
                if problem:
                    raise ArgumentError(problem) from None
            raise

    if module is not None:
        call.__module__ = module
    return call  # type: ignore[return-value]


def _frames(error: BaseException) -> int:
    """Return the number of frames that an error has passed."""
    return sum(1 for _ in traceback.walk_tb(error.__traceback__))


def explain_functions(names: dict[str, Any], public: Iterable[str]) -> None:
    """Replace the public functions among the names of a module by `explained` ones."""
    for name in public:
        if inspect.isfunction(names[name]):
            names[name] = explained(names[name], module=names["__name__"])


def explain_methods(cls: type, columns: Mapping[str, Collection[str]]) -> None:
    """Replace the public methods of a class by `explained` ones; `columns` are those of the tables
    that loaders return.
    """
    for name, method in [*vars(cls).items()]:
        if inspect.isfunction(method) and not name.startswith("_"):
            setattr(cls, name, explained(method, columns=columns.get(name, ())))


def unknown_name(
    name: str,
    kind: str,
    public: Iterable[str],
    hints: Mapping[str, str] | None = None,
    *,
    groups: Mapping[str, Sequence[str]],
    every: str,
) -> AttributeError:
    """Return the error for a public name that does not exist.

    Parameters
    ----------
    name
        The name.
    kind
        What has no such name: "metric" says "There is no metric 'x'.".
    public
        The names that exist.
    hints
        Sentences for names that exist elsewhere.
    groups
        The names that most people need, by what they are about: shown where no name is near.
    every
        The code that lists all names.
    """
    if name.startswith("_"):
        return AttributeError(name)
    listed = sorted(public)
    hint = (hints or {}).get(name) or did_you_mean(name, listed)
    if not hint:
        main = "; ".join(f"{', '.join(names)} ({about})" for about, names in groups.items())
        hint = f"There are: {main}. {every} lists all."
    error = UnknownNameError(f"There is no {kind} {name!r}. {hint}")
    error.name = name
    return error


def _problem(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    given: Mapping[str, Any],
    columns: Collection[str],
) -> str | None:
    """Return what is wrong with a call, and what to write instead; None where it fits."""
    parameters = inspect.signature(function).parameters
    own = [name for name in parameters if name != "self"]
    is_method = "self" in parameters
    called = f"{function.__name__}()"
    many = inspect.Parameter.VAR_POSITIONAL
    without = [name for name in given if name in parameters and parameters[name].kind is many]
    if without:
        first = "" if own[0] == without[0] else "..., "
        written = f"{first}{listed(given[without[0]])}"
        return f"{called} takes {without[0]} without a name: {function.__name__}({written})."
    unknown = [name for name in given if name not in parameters]
    if unknown:
        name, value = unknown[0], given[unknown[0]]
        close = nearest(name, own)
        shown = _shown(value)
        if (function.__name__, name) in _OF_FUNCTION:
            hint = _OF_FUNCTION[function.__name__, name].format(value=shown)
        elif not columns and "n" not in own and name in _OF_RESULT:
            hint = _OF_RESULT[name].format(value=shown)
        elif columns and (name in columns or _in_words(name, value, columns)):
            hint = _loader_hint(function.__name__, name, value, columns)
        elif close:
            hint = f"Did you mean {either(close)}?"
        elif columns:
            hint = _loader_hint(function.__name__, name, value, columns)
        elif name in _OF_FIGURES and "ax" in own:
            hint = "Pass axes: figure, ax = plt.subplots(figsize=(8, 4)), then ax=ax."
        elif name in _PERIODS and {"since", "until"} <= {*own}:
            is_year = name == "year" and isinstance(value, int)
            written = repr(str(value)) if is_year else shown
            period = written if is_year or isinstance(value, str) else _EXAMPLES["since"]
            hint = f"Name the period as its first and its last: since={period}, until={period}."
        else:
            hint = _frame_hint(unknown[0], given, args, own)
        return f"{called} has no argument {unknown[0]!r}. {hint}"
    by_place = [
        name
        for name, parameter in parameters.items()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    most = len(by_place) - is_method
    if len(args) - is_method > most:
        named = [name for name in own if name not in by_place]
        rest = f" Write the name of each: {', '.join(f'{name}=' for name in named)}."
        taken = f"{most} argument{'' if most == 1 else 's'}" if most else "no argument"
        if not named:
            rest = ""
        if not most:
            rest = _selected(function.__name__, args[is_method], columns) or rest
        return f"{called} takes {taken} without a name.{rest}"
    filled = {*by_place[: len(args)], *given}
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind not in _ANY_NUMBER
        and name not in filled
    ]
    if missing == ["until"] and "since" in given:
        written = f"since={_shown(given['since'])}, until='today'"
        return f"{called} also needs until. Up to now: {written}."
    if missing:
        return f"{called} also needs {', '.join(missing)}. Write {example_call(function)}."
    return None


def listed(value: Any) -> str:
    """Return the first names in a list of names, or of whatever holds them, as arguments."""
    if isinstance(value, str):
        return repr(value)
    # A frame lists its columns, which are not what was meant.
    names = [] if not isinstance(value, Iterable) or hasattr(value, "columns") else value
    first = [*itertools.islice(names, _MOST_NAMES + 1)]
    if not first or not all(isinstance(name, str) for name in first):
        return "..."
    written = [repr(name) for name in first[:_MOST_NAMES]]
    return ", ".join([*written, *(["..."] if len(first) > _MOST_NAMES else [])])


def _frame_hint(
    name: str, given: Mapping[str, Any], args: tuple[Any, ...], own: Sequence[str]
) -> str:
    """Return how to select rows of a given frame that has such a column, else the arguments."""
    frames = {
        **dict(zip(own, args, strict=False)),
        **{key: value for key, value in given.items() if key in own},
    }
    for frame_name, frame in frames.items():
        if name in getattr(frame, "columns", ()):
            # A name never equals an id. Where the frame has no names, the user fills in the id.
            named = f"{name.removesuffix('_id')}_name"
            by_name = name.endswith("_id") and isinstance(given[name], str)
            if by_name and named in frame.columns:
                return f"Select rows first: {_selection(frame_name, named, given[name])}."
            shown = ... if by_name else given[name]
            return f"Select rows first: {_selection(frame_name, name, shown)}."
        column = _in_words(name, given[name], getattr(frame, "columns", ()))
        if column is not None and column in getattr(frame, "columns", ()):
            return f"Select rows first: {_selection(frame_name, column, given[name])}."
    column, _ = _IN_WORDS.get(_folded(name), (None, ""))
    if column is not None and column.endswith("_name") and "by" in own:
        if not isinstance(given[name], str):
            frame_name = next(iter(frames), "deals")
            column = column.replace("_name", "_id")
            return f"Select rows first: {_selection(frame_name, column, given[name])}."
        group = column.removesuffix("_name")
        selection = _selection("result", column, given[name])
        return f"It computes one row each with by={group!r}: then {selection}."
    return f"It takes {', '.join(own)}."


def _loader_hint(called: str, name: str, value: object, columns: Collection[str]) -> str:
    """Return how to select in pandas what a loader does not select."""
    load = f"It loads the table: {called} = account.{called}()"
    if name in _COUNTS:
        return f"{load}, then {called}.head(10)."
    times = [column for column in ("add_time", "time", "update_time") if column in columns]
    if name in _TIMES and times:
        return f"{load}, then select rows: {called}[{called}[{times[0]!r}] >= '2026-01-01']."
    column = _in_words(name, value, columns)
    if column in _MORE_NAMES:
        load = f"It loads the table: {called} = account.{called}(names=True)"
    elif column is None and name not in _FILTERS:
        # A name with a space or a capital letter is a label of a custom field.
        is_label = " " in name or name != name.lower()
        column = name if is_label else next(iter(nearest(name, columns)), None)
    if column is None:
        return f"{load}, then select rows: {called}[{called}['id'].isin([1, 2])]."
    return f"{load}, then select rows: {_selection(called, column, value)}."


def _in_words(name: str, value: object, columns: Collection[str]) -> str | None:
    """Return the column that holds what such a word means, for a value in words."""
    column, needed = _IN_WORDS.get(_folded(name), (None, ""))
    return column if isinstance(value, str) and needed in columns else None


def _selection(frame: str, column: str, value: object) -> str:
    if column in _LISTS:
        return f"{frame}[pdframe.has({frame}[{column!r}], {_shown(value)})]"
    return f"{frame}[{frame}[{column!r}] == {_shown(value)}]"


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float) and len(repr(value)) < 40 else "..."


def _selected(called: str, value: object, columns: Collection[str]) -> str:
    """Return how to select what belongs to one id or status, which a loader of all does not take;
    empty where the value is neither.
    """
    column, card = _RECORDS.get(called, "id" if "id" in columns else None), ""
    if isinstance(value, str) and value in _STATUSES and "status" in columns:
        column = "status"
    elif isinstance(value, bool) or not isinstance(value, Integral) or column is None:
        return ""
    else:
        value = int(value)
    if column != "status" and called in ("deals", *_RECORDS):
        card = f" account.deal({value}) shows that deal."
    selection = _selection(called, column, value)
    return f" Select rows: {called} = account.{called}(), then {selection}.{card}"


def example_call(function: Callable[..., Any]) -> str:
    """Return a call of a metric, chart or method with every required argument."""
    written, is_method = [], False
    parameters = inspect.signature(function).parameters
    for name, parameter in parameters.items():
        if name == "self":
            is_method = True
        elif parameter.kind in _ANY_NUMBER:
            continue
        elif parameter.default is inspect.Parameter.empty:
            path = _PATHS.get(function.__name__, "...")
            value = path if name == "path" else _EXAMPLES.get(name, "...")
            # A window is one period, a forecast ends in a coming one.
            value = _EXAMPLES["since"] if name == "until" and "since" in parameters else value
            by_name = parameter.kind is inspect.Parameter.KEYWORD_ONLY
            written.append(f"{name}={value}" if by_name else value)
    return f"{'account.' if is_method else ''}{function.__name__}({', '.join(written)})"


def _folded(name: str) -> str:
    return name.strip().casefold().replace(" ", "_")


def _without_suffix(name: str) -> str:
    """Return a label without its last parentheses: "Region" for "Region (8fcce3)"."""
    head, opened, tail = name.rpartition(" (")
    return head if opened and tail.endswith(")") else name


__all__ = [
    "SOURCES",
    "did_you_mean",
    "either",
    "example_call",
    "explain_functions",
    "explain_methods",
    "explained",
    "listed",
    "nearest",
    "unknown_name",
]

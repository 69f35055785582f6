"""The Arrow schema of a metric's result, and by what its input may be split."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from pdframe._advice import unknown_name
from pdframe._warnings import collect_warnings
from pdframe.errors import ArgumentError, InsufficientDataError

if TYPE_CHECKING:
    import pyarrow as pa

_LOOKUPS = frozenset({"stages", "pipelines", "users"})
"""Frames whose rows say which groups there are."""
_FEW_DRAWS = 2
_CONCATENATE, _SUM = "concatenate", "sum"
_BY = "by"


@dataclass(frozen=True, slots=True)
class _Split:
    """By which columns of its input a metric may be split, beside those of `by=`.

    Attributes
    ----------
    columns
        Always.
    ungrouped
        Without `by=`: with it, a group without rows in a part would lose its rows of zeros.
    combine
        How the parts become one result.
    """

    columns: tuple[str, ...] = ()
    ungrouped: tuple[str, ...] = ()
    combine: str = _CONCATENATE

    def by(self, groups: Sequence[str]) -> list[str]:
        """Return the columns, where these are grouped by."""
        more = () if groups else self.ungrouped
        return list(dict.fromkeys([*self.columns, *more, *groups]))

    def frames(self, column: str, arguments: Mapping[str, Any]) -> list[str]:
        """Return the frames that are split by a column: each part has its rows of all of them."""
        of_pipeline = column in (*self.columns, *self.ungrouped)
        unsplit = _LOOKUPS if not of_pipeline else {"deals"} if "visits" in arguments else set()
        names = {
            name
            for name, frame in arguments.items()
            if isinstance(frame, pd.DataFrame) and column in frame and name not in unsplit
        }
        # A visit without its deal would count in the group of deals without a value.
        of_deals = {"visits"} & arguments.keys() if "deals" in names else set()
        return [name for name in arguments if name in names | of_deals]


_SPLITS: Mapping[str, _Split] = {
    "funnel": _Split(("pipeline_id",)),
    "stage_velocity": _Split(ungrouped=("pipeline_id",)),
    "stage_survival": _Split(("pipeline_id",)),
    "sales_velocity": _Split(),
    "win_rate": _Split(),
    "sales_by_period": _Split(),
    "mrr_customer_months": _Split(("customer",)),
    "mrr_schedule": _Split(("customer",), combine=_SUM),
    "mrr_movements": _Split(("customer",), combine=_SUM),
}


def schema(name: str, /, **how: Any) -> pa.Schema:
    """Return the Arrow schema of a metric's result, as engines such as Spark and Dask need it
    before they run anything.

    It is that of a run on frames without rows, or on a tiny company where a metric needs a past.

    Parameters
    ----------
    name
        The metric: "funnel".
    **how
        Its arguments, all optional. A frame that is not given has the standard columns of its
        loader; give those whose columns matter, such as `deals` with custom fields in `by=`. Of a
        frame that is given the columns count, not the rows.

    Returns
    -------
    pyarrow.Schema
        The columns of the result in order. Categories are strings. Its metadata has `split_by`:
        JSON, the columns by any one of which the rows of the input may be split into parts, so that
        the results of the parts are that of the whole, cell by cell; empty: none. `combine` says
        how they become one: "concatenate", or "sum": add up amounts and counts of one key, and
        divide again what is a ratio (`arpa`). `split_frames` names the frames that are split by
        each of these columns; visits that lack it go with their deals (`deal_id`), those of no deal
        with the null ones. A value that only one of them has is a part too, such as a pipeline
        without visits: its rows of zeros are in no other part.

    Raises
    ------
    ArgumentError
        There is no such metric, or an argument is wrong.
    InsufficientDataError
        A frame is given whose rows a forecast needs, and it has too few.

    Examples
    --------
    >>> result = metrics.schema("stage_velocity", by="owner_id")
    >>> result.names[:3], str(result.field("median_days").type)
    (['owner_id', 'pipeline_id', 'stage_id'], 'double')
    >>> result.metadata[b"split_by"]
    b'["owner_id"]'
    """
    import pyarrow as pa

    from pdframe import metrics

    names = [one for one in metrics.__all__ if one not in ("RevenuePolicy", "schema")]
    if name not in names:
        raise unknown_name(
            name, "metric", names, groups=metrics._MAIN, every="dir(pdframe.metrics)"
        )
    metric = getattr(metrics, name)
    with collect_warnings():
        result, arguments = _small_run(metric, how)
    frame = result[0] if isinstance(result, tuple) else result
    fields = [
        pa.field(field.name, _decoded(field.type))
        for field in pa.Schema.from_pandas(frame, preserve_index=False)
    ]
    split, by = _SPLITS.get(name), how.get(_BY)
    groups = [] if by is None else [by] if isinstance(by, str) else list(by)
    columns = split.by(groups) if split else []
    frames = {one: split.frames(one, arguments) for one in columns} if split else {}
    metadata = {
        "split_by": json.dumps(columns),
        "split_frames": json.dumps(frames),
        "combine": split.combine if split else _CONCATENATE,
    }
    return pa.schema(fields, metadata=metadata)


def _small_run(metric: Callable[..., Any], how: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Run a metric on frames without rows; with those of the frames where that is refused. Return
    the result and the arguments.
    """
    try:
        arguments = _arguments(metric, how, with_rows=False)
        return metric(**arguments), arguments
    except (InsufficientDataError, ArgumentError):
        arguments = _arguments(metric, how, with_rows=True)
        return metric(**arguments), arguments


def _arguments(
    metric: Callable[..., Any], how: Mapping[str, Any], *, with_rows: bool
) -> dict[str, Any]:
    """Return the arguments of a small run: those that are given, and one for each that is missing
    and needed.
    """
    from pdframe.metrics._schema_frames import DEFAULTS, standing_frame

    arguments = {
        name: value
        if with_rows or name in _LOOKUPS or not isinstance(value, pd.DataFrame)
        else value.iloc[:0]
        for name, value in how.items()
    }
    parameters = inspect.signature(metric).parameters
    by_deals = how.get(_BY) is not None and "deals" in parameters
    for name, parameter in parameters.items():
        is_needed = parameter.default is parameter.empty or (name == "deals" and by_deals)
        if name in how:
            continue
        if is_needed:
            frame = standing_frame(name, how.get("pipeline_id"), with_past=with_rows)
            if frame is not None:
                arguments[name] = frame
            elif name in DEFAULTS:
                arguments[name] = DEFAULTS[name]
        elif name == "draws":
            arguments[name] = _FEW_DRAWS
    # In the order of the metric, whatever the order in which they are given.
    return {name: arguments[name] for name in parameters if name in arguments} | arguments


def _decoded(kind: Any) -> Any:
    """Return a type as every engine has it: no dictionary, no large string, no null."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _decoded(kind.value_type)
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_null(kind) else kind


__all__ = ["schema"]

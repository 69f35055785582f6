"""What a metric noticed in the data: one warning of two lines a call, and all of it in
`frame.attrs["notes"]`.

A public metric is decorated with `noted`, and warns with `pdframe._warnings.warn` wherever it
notices something. Where one metric calls another, the outer one says everything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

import pandas as pd

from pdframe._warnings import collect_warnings, is_collecting, warn

_LONGEST = 150
"""Characters of a line of the warning."""
P = ParamSpec("P")
Result = TypeVar("Result", pd.DataFrame, tuple[pd.DataFrame, pd.DataFrame])


def noted(metric: Callable[P, Result]) -> Callable[P, Result]:
    """Say what a metric notices in one warning a call, and put all of it into the attributes of its
    result (or both of its results).
    """

    @functools.wraps(metric)
    def call(*args: P.args, **kwargs: P.kwargs) -> Result:
        with collect_warnings() as notes:
            result = metric(*args, **kwargs)
        return note(result, notes, metric.__name__)

    return call


def note(result: Result, notes: Sequence[str], name: str) -> Result:
    """Put the notes of the metric `name` into the attributes of its result, and warn of them."""
    notes = list(dict.fromkeys(notes))
    for frame in (result,) if isinstance(result, pd.DataFrame) else result:
        frame.attrs["notes"] = notes
    if is_collecting():
        for text in notes:
            warn(text)
    elif notes:
        text = notes[0] if notes[0].startswith(name) else f"{name}: {notes[0]}"
        first = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1].rstrip()}…"
        more = f"{len(notes) - 1} more: " if len(notes) > 1 else ""
        warn(f'{first}\n{more}the full text is in .attrs["notes"] of the result.', notes)
    return result


__all__ = ["note", "noted"]

"""The error tree: its shape, its messages, and that errors survive pickling."""

import ast
import pickle
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pdframe import errors

MOMENT = datetime(2026, 7, 1, tzinfo=UTC)
EXAMPLES = [
    errors.PdframeError("It broke.", kept="Nothing is lost."),
    errors.CredentialsError("None."),
    errors.AccessError("No.", status=403, missing="scope", kept="All."),
    errors.BlockedError("Blocked.", until=MOMENT),
    errors.RateLimitError("Too many."),
    errors.BudgetError("Spent.", resume_at=MOMENT, kept="3 pages of deals are kept."),
    errors.TransportError("Lost.", status=502, attempts=6),
    errors.ResponseError("Odd.", status=400),
    errors.CacheError("Broken."),
    errors.NotCachedError("Empty."),
    errors.DamagedError("Torn.", table="deals", kept="All else."),
    errors.NewerCacheError("Newer.", written_by="0.9.1", kept="All."),
    errors.MixedCurrencyError("EUR and USD."),
    errors.InsufficientDataError("3 closed deals."),
    errors.ArgumentError("Wrong."),
    errors.UnknownNameError("There is no metric 'x'."),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling_with_all_they_hold(error):
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(twin) is type(error)
    assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))


def test_every_error_has_an_example_and_a_place_in_the_tree():
    kinds = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PdframeError)
    }
    assert {type(error) for error in EXAMPLES} == kinds
    for name in errors.__all__:
        assert name in errors.__doc__
        assert getattr(errors, name).__module__ == "pdframe.errors"
    assert set(errors.__all__) == {kind.__name__ for kind in kinds} | {"DataWarning"}


def test_the_tree_is_as_drawn():
    assert issubclass(errors.NotCachedError, errors.CacheError)
    assert issubclass(errors.DamagedError, errors.CacheError)
    assert issubclass(errors.ArgumentError, ValueError)
    assert issubclass(errors.DataWarning, UserWarning)
    others = {type(error) for error in EXAMPLES} - {
        errors.PdframeError,
        errors.NotCachedError,
        errors.DamagedError,
        errors.NewerCacheError,
        errors.UnknownNameError,
    }
    assert issubclass(errors.UnknownNameError, errors.ArgumentError)
    assert issubclass(errors.UnknownNameError, AttributeError)
    assert all(errors.PdframeError in kind.__bases__ for kind in others)


def test_what_is_kept_is_part_of_the_message():
    error = errors.BudgetError("The budget is used up.")
    assert (str(error), error.kept, error.resume_at) == ("The budget is used up.", "", None)
    error.kept = "1,500 deals are kept."
    assert str(error) == "The budget is used up. 1,500 deals are kept."


def test_the_module_imports_nothing_of_pdframe():
    tree = ast.parse(Path(errors.__file__).read_text(encoding="utf-8"))
    names = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    assert not any(str(name).startswith("pdframe") for name in names)

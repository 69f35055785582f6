"""A warning names the user's line; where work must not be interrupted, it waits for its end."""

from __future__ import annotations

import threading
import warnings

import pandas as pd
import pytest

from pdframe import metrics
from pdframe._warnings import collect_warnings, deferred_warnings, warn
from pdframe.errors import DataWarning


def test_a_warning_of_a_metric_names_the_users_line() -> None:
    frame = pd.DataFrame({"currency": ["EUR", "USD"], "value": [1.0, 2.0]})
    rates = pd.DataFrame({"date": [pd.Timestamp("2024-01-01")], "currency": ["USD"], "rate": [0.9]})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        metrics.convert(frame, "EUR", rates, on="2024-03-01")
    assert [warning.filename for warning in caught] == [__file__]
    assert [warning.category for warning in caught] == [DataWarning]


def test_collected_warnings_are_not_issued_and_other_threads_are_not_collected() -> None:
    others: list[str] = []

    def other() -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn("from another thread")
        others.extend(str(warning.message) for warning in caught)

    with collect_warnings() as messages:
        warn("first")
        with collect_warnings() as inner:
            warn("inner")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        warn("second")
    assert (messages, inner) == (["first", "second"], ["inner"])
    assert others == ["from another thread"]


def test_deferred_warnings_come_after_the_work_in_order() -> None:
    steps: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with deferred_warnings():
            warn("first")
            with deferred_warnings():
                warn("second")
            steps += [str(warning.message) for warning in caught]
        assert steps == []
    assert [str(warning.message) for warning in caught] == ["first", "second"]
    assert {warning.filename for warning in caught} == {__file__}


def test_where_warnings_are_errors_the_work_is_done_first() -> None:
    done = []

    def work() -> None:
        with deferred_warnings():
            warn("not as it was written")
            done.append(True)

    with pytest.raises(DataWarning, match="not as it was written"):
        work()
    assert done == [True]


def test_work_that_fails_issues_its_warnings_all_the_same() -> None:
    def work() -> None:
        with deferred_warnings():
            warn("a reason")
            raise OSError("the failure")

    with pytest.warns(DataWarning, match="a reason"), pytest.raises(OSError, match="the failure"):
        work()


def test_a_metric_warns_once_in_two_lines_and_keeps_every_note() -> None:
    """Rows of an unknown currency, and rates of a year ago: two facts, one warning."""
    frame = pd.DataFrame({"currency": ["USD", None], "value": [1.0, 2.0]})
    rates = pd.DataFrame({"date": [pd.Timestamp("2024-01-01")], "currency": ["USD"], "rate": [0.9]})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = metrics.convert(frame, "EUR", rates, on="2025-03-01")
    (warning,) = caught
    first, second = str(warning.message).split("\n")
    assert first.startswith("convert: ")
    assert len(first) <= 150
    assert second == '1 more: the full text is in .attrs["notes"] of the result.'
    assert warning.filename == __file__
    notes = result.attrs["notes"]
    assert sorted(note[:10] for note in notes) == ["1 rows hav", "Some rates"]
    assert list(warning.message.notes) == notes  # type: ignore[union-attr]


def test_a_metric_that_notices_nothing_has_no_notes() -> None:
    frame = pd.DataFrame({"currency": ["EUR"], "value": [1.0]})
    assert metrics.convert(frame, "EUR", {"EUR": 1.0}).attrs["notes"] == []

"""Expect what pdframe notices in the data: one short warning a call, which has every note."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from pdframe import DataWarning

MOST_LINES = 2


def notes_of(warning: Warning | str) -> list[str]:
    """The notes of a warning, its own text where it has none."""
    return [*getattr(warning, "notes", ())] or [str(warning)]


def notes_in(caught: Iterable[warnings.WarningMessage]) -> list[str]:
    """The notes of all caught warnings, in their order."""
    return [note for warning in caught for note in notes_of(warning.message)]


@contextmanager
def noticed(*patterns: str, others: str = "") -> Iterator[list[str]]:
    """Expect warnings of the block of at most two lines each: every pattern matches one of their
    notes, and every note matches one of the patterns, or `others`.

    Yields the list of the notes, which is filled at the end of the block.
    """
    notes: list[str] = []
    with pytest.warns(DataWarning) as caught:
        yield notes
    for warning in caught:
        assert len(str(warning.message).splitlines()) <= MOST_LINES
        notes += notes_of(warning.message)
    for pattern in patterns:
        assert any(re.search(pattern, note) for note in notes), f"{pattern!r} is not in {notes}"
    for note in notes:
        allowed = [*patterns, others] if others else patterns
        assert not patterns or any(re.search(pattern, note) for pattern in allowed), note

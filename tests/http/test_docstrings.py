"""Every public function has an example in its docstring, and it gives what the docstring shows."""

from __future__ import annotations

import doctest
import inspect
import os
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from pdframe import sandbox
from tests.helpers.docstrings import example_account, public_objects, run_example

PUBLIC = public_objects()


@pytest.fixture(scope="module")
def account() -> Iterator[sandbox.SandboxAccount]:
    with example_account() as account:
        yield account


def test_every_public_object_has_one_section_of_examples_with_an_output() -> None:
    parser = doctest.DocTestParser()
    for name, public in PUBLIC.items():
        text = inspect.getdoc(public) or ""
        assert text.count("Examples\n--------\n") == 1, name
        assert any(example.want for example in parser.get_examples(text, name)), name


@pytest.mark.parametrize("name", PUBLIC)
def test_the_example_of_a_docstring_gives_what_it_shows(
    name: str, account: sandbox.SandboxAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PDFRAME_CACHE_DIR", os.fspath(tmp_path / "cache"))
    text = inspect.getdoc(PUBLIC[name]) or ""
    with mpl.rc_context():
        run_example(name, text, account)
    plt.close("all")

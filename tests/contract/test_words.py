"""Identifiers contain no retired word, lines end at 100 characters, and dir() is the manual."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

import pdframe
from tests.contract import private_names, words

PACKAGE = Path(pdframe.__file__).parent
PACKAGES = sorted(
    ".".join(file.parent.relative_to(PACKAGE.parent).parts) for file in PACKAGE.rglob("__init__.py")
)


def test_no_identifier_contains_a_retired_word() -> None:
    counts = words.retired_identifiers()
    assert not counts, words.report_words(counts)


def test_no_line_is_over_100_characters() -> None:
    lines = words.long_lines()
    assert not lines, words.report_lines(lines, [])


def test_no_test_names_a_private_attribute_of_an_account_or_its_client() -> None:
    assert {"_client", "_store", "_max_age", "_retries"} <= private_names.private_names()
    assert private_names.uses_in_tests() == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_is_public(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert hasattr(module, name), name
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize(
    "package", ["pdframe", "pdframe.metrics", "pdframe.plot", "pdframe.sandbox"]
)
def test_dir_shows_public_names_alone(package: str) -> None:
    module = importlib.import_module(package)
    shown = {name for name in dir(module) if not name.startswith("_")}
    assert shown == set(module.__all__)


# The checks themselves.


@pytest.mark.parametrize(
    ("identifier", "parts"),
    [
        ("kept_look", ["kept", "look"]),
        ("KeptLook2", ["kept", "look", "2"]),
        ("_LOOKS_MADE", ["looks", "made"]),
        ("HTMLLook", ["html", "look"]),
        ("lookup", ["lookup"]),
    ],
)
def test_identifiers_are_split_into_words(identifier: str, parts: list[str]) -> None:
    assert words.words_of(identifier) == parts


def test_each_kind_of_identifier_is_checked(tmp_path: Path) -> None:
    source = """
from pdframe.aside import mend as repair
class Stay: pass
def read(told, *, held=1):
    found: int = told.looks
    # a comment that is gone
    text = "found by the way"
    frame.assign(gone=text)
    raise FileNotFoundError(not_found, gone)
"""
    (tmp_path / "tests" / "behind").mkdir(parents=True)
    (tmp_path / "tests" / "behind" / "test_anew.py").write_text(source)
    counts = words.retired_identifiers(tmp_path)
    assert {name: sum(by_file.values()) for name, by_file in counts.items()} == {
        "aside": 1,
        "mend": 1,
        "Stay": 1,
        "told": 2,
        "held": 1,
        "found": 1,
        "looks": 1,
        "gone": 1,
        "test_anew": 1,
        "behind": 1,
    }
    assert not words.RETIRED.intersection(words.identifiers("a = 'told'  # held"))


def test_each_kind_of_use_of_a_private_attribute_is_detected() -> None:
    code = """
account._client.get("/deals")
monkeypatch.setattr(account, "_store", other)
self._client = proxy
company._life, row._replace(a=1)
"""
    used = private_names.uses(code, frozenset({"_client", "_store"}))
    assert used == [(2, "_client"), (3, "_store")]


def test_each_kind_of_long_line_is_checked(tmp_path: Path) -> None:
    long = "word " * 21
    (tmp_path / "page.md").write_text(f"short\n{long}\n| {long} |\nhttps://{'x' * 120}\n")
    (tmp_path / "code.py").write_text(f"# {'word ' * 19}end\n# {long}\n")
    cell = {"cell_type": "code", "source": ["short\n", long], "outputs": [long]}
    (tmp_path / "book.ipynb").write_text(json.dumps({"cells": [cell]}))
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "code.py").write_text(f"# {long}\n")
    numbers = {
        name: [number for number, _ in lines] for name, lines in words.long_lines(tmp_path).items()
    }
    assert numbers == {"page.md": [2], "code.py": [2], "book.ipynb": [2]}

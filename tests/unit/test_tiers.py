"""The sample of `make test`: every file, all quick functions, some of the slow ones."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests import mutants
from tests.helpers import slow_tests, tiers

ROOT = Path(__file__).parents[2]


class Case:
    """A collected test, as far as the sample looks at it."""

    def __init__(self, nodeid: str, *marks: str) -> None:
        self.nodeid = nodeid
        self.marks = marks

    def get_closest_marker(self, name: str) -> object | None:
        return name if name in self.marks else None


def names(cases: list[pytest.Item]) -> list[str]:
    return [case.nodeid for case in cases]


def sample(seed: int, *cases: Case) -> list[str]:
    chosen, left_out = tiers.sampled(cases, seed)  # type: ignore[arg-type]
    assert sorted(names(chosen) + names(left_out)) == sorted(case.nodeid for case in cases)
    return names(chosen)


SLOW = """\
# The seconds of each, then of what it shares.
tests/a.py::slow 1.5 2.0
tests/a.py::slower 0.5 2.0
tests/a.py::catches 9.0 0.0
tests/b.py::slow 6.0 0.0
tests/c.py::slow 1.0 3.0
tests/c.py::quickest 2.0 0.0
tests/d.py::slow 11.0 0.0
"""


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "slow.txt").write_text(SLOW)
    (tmp_path / "mutants.txt").write_text("pdframe/x.py\na\nb\ntests/a.py::catches\n")
    monkeypatch.setattr(tiers, "SLOW_TESTS", tmp_path / "slow.txt")
    monkeypatch.setattr(tiers, "MUTANTS", tmp_path / "mutants.txt")
    monkeypatch.setattr(tiers, "SECONDS_OF_SLOW", 10.0)


def test_slow_files_are_drawn_as_many_as_fit_into_the_time(lists: None) -> None:
    """a takes 4 seconds with what its functions share, b 6, c 6, d more than there are."""
    draws = [tiers.drawn(seed) for seed in range(300)]
    kinds = {frozenset(draw) for draw in draws}
    assert kinds == {
        frozenset({"tests/a.py", "tests/b.py"}),
        frozenset({"tests/a.py", "tests/c.py"}),
    }
    assert draws == [tiers.drawn(seed) for seed in range(300)]


def test_slow_functions_of_a_file_run_together_and_quick_ones_always(lists: None) -> None:
    cases = [Case(f"tests/b.py::{name}") for name in ("slow", "quick")]
    runs = [sample(seed, *cases) for seed in range(300)]
    assert all("tests/b.py::quick" in run for run in runs)
    assert 100 < sum("tests/b.py::slow" in run for run in runs) < 200


def test_what_catches_a_mutant_always_runs(lists: None) -> None:
    cases = Case("tests/a.py::quick"), Case("tests/a.py::catches")
    assert all(len(sample(seed, *cases)) == 2 for seed in range(50))


def test_a_file_of_slow_functions_runs_one_case(lists: None) -> None:
    cases = Case("tests/d.py::slow[1]"), Case("tests/d.py::slow[2]")
    assert {tuple(sample(seed, *cases)) for seed in range(50)} == {
        ("tests/d.py::slow[1]",),
        ("tests/d.py::slow[2]",),
    }


def test_it_is_a_case_of_the_function_that_takes_least_with_what_it_needs(lists: None) -> None:
    cases = Case("tests/c.py::slow"), Case("tests/c.py::quickest")
    runs = {tuple(sample(seed, *cases)) for seed in range(50)}
    assert runs == {("tests/c.py::quickest",), ("tests/c.py::slow", "tests/c.py::quickest")}


def test_of_many_cases_two_run_unless_all_are_wanted(lists: None) -> None:
    some = [Case(f"tests/e.py::some[{number}]") for number in range(9)]
    every = [Case(f"tests/f.py::every[{number}]", "every_case") for number in range(9)]
    chosen = sample(5, *some, *every)
    assert sum("some" in name for name in chosen) == 2
    assert sum("every" in name for name in chosen) == 9


def test_each_slow_test_exists() -> None:
    listed = [name.partition("::") for name in tiers.seconds()]
    assert len(listed) > 100
    defined: dict[str, set[str]] = {}
    for file, _, name in listed:
        if file not in defined:
            text = (ROOT / file).read_text("utf-8")
            defined[file] = set(re.findall(r"^ *def (\w+)\(", text, re.MULTILINE))
        assert name.rpartition("::")[2] in defined[file], f"{file} has no {name}"


def test_each_mutant_has_one_place_and_a_test() -> None:
    listed = mutants.read(mutants.LIST.read_text("utf-8"))
    assert len(listed) == 30
    for mutant in listed:
        assert (ROOT / mutant.file).read_text("utf-8").count(mutant.text) == 1, mutant
        file, _, name = mutant.test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text("utf-8"), mutant


def test_each_slow_file_can_be_drawn() -> None:
    files: dict[str, list[tiers.Seconds]] = defaultdict(list)
    for name, taken in tiers.seconds().items():
        files[name.partition("::")[0]].append(taken)
    needed = {
        file: sum(one.own for one in functions) + max(one.shared for one in functions)
        for file, functions in files.items()
    }
    assert {file for file, taken in needed.items() if taken > tiers.SECONDS_OF_SLOW} == set()


def test_the_list_has_what_is_slow_and_what_waits_for_something_slow(
    lists: None, tmp_path: Path
) -> None:
    account, page = ("tests/a.py", "account"), ("tests/a.py", "page")
    listed = slow_tests.slow(
        {"tests/a.py::long": 3.0, "tests/a.py::short": 0.1, "tests/a.py::waits": 0.1},
        {"tests/a.py::long": {page: 0.1}, "tests/a.py::waits": {account: 2.0, page: 0.1}},
    )
    assert listed == {"tests/a.py::long": (3.0, 0.1), "tests/a.py::waits": (0.1, 2.1)}
    # What was not measured remains in the list.
    slow_tests.write(listed, {"tests/a.py", "tests/b.py", "tests/c.py"})
    assert [
        line for line in tiers.SLOW_TESTS.read_text().splitlines() if not line.startswith("#")
    ] == ["tests/a.py::long 3.0 0.1", "tests/a.py::waits 0.1 2.1", "tests/d.py::slow 11.0 0.0"]

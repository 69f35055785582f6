"""The sample of `make test`: every file, all quick functions, some of the slow ones."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.helpers import tiers

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


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "slow.txt").write_text("# slow\ntests/a.py::slow\ntests/a.py::catches\n")
    (tmp_path / "mutants.txt").write_text("pdframe/x.py\na\nb\ntests/a.py::catches\n")
    monkeypatch.setattr(tiers, "SLOW_TESTS", tmp_path / "slow.txt")
    monkeypatch.setattr(tiers, "MUTANTS", tmp_path / "mutants.txt")


def test_a_slow_function_runs_in_a_twelfth_of_the_samples(lists: None) -> None:
    quick, slow = Case("tests/a.py::quick"), Case("tests/a.py::slow")
    runs = [sample(seed, quick, slow) for seed in range(1200)]
    assert all("tests/a.py::quick" in run for run in runs)
    drawn = sum("tests/a.py::slow" in run for run in runs)
    assert 70 <= drawn <= 130  # 100 are expected, 3 standard deviations are 29


def test_what_catches_a_mutant_always_runs(lists: None) -> None:
    cases = Case("tests/a.py::quick"), Case("tests/a.py::catches")
    assert all(len(sample(seed, *cases)) == 2 for seed in range(50))


def test_a_file_of_slow_functions_runs_one_case(lists: None) -> None:
    cases = Case("tests/a.py::slow[1]"), Case("tests/a.py::slow[2]")
    for seed in range(50):
        assert len(sample(seed, *cases)) >= 1


def test_of_many_cases_two_run_unless_all_are_wanted(lists: None) -> None:
    some = [Case(f"tests/b.py::some[{number}]") for number in range(9)]
    every = [Case(f"tests/c.py::every[{number}]", "every_case") for number in range(9)]
    chosen = sample(5, *some, *every)
    assert sum("some" in name for name in chosen) == 2
    assert sum("every" in name for name in chosen) == 9


def test_each_slow_test_exists() -> None:
    listed = [
        line.partition("::")
        for line in tiers.SLOW_TESTS.read_text("utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert listed
    defined: dict[str, set[str]] = {}
    for file, _, name in listed:
        if file not in defined:
            tree = ast.parse((ROOT / file).read_text("utf-8"))
            defined[file] = {
                node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)
            }
        assert name.rpartition("::")[2] in defined[file], f"{file} has no {name}"

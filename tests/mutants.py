"""Break the code in the places that mutants.txt lists, one at a time: `make test` must see each.

    python -m tests.mutants [NUMBER ...]

A block of mutants.txt is four lines: the file, the text to break, what it becomes, and the test
that caught it last. This test runs first, so a mutant costs seconds. If it passes or was renamed,
everything that `make test` runs is run, and the test that fails there is written into the list. The
text must occur once, so that a mutant whose code was rewritten is an error and never passes for
caught. All of it happens in a copy of the tree in a temporary folder, from which the code is
imported.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.helpers import tiers

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("mutants.txt")
COPIED = (
    "pdframe", "tests", "notebooks", "docs", "cache", "pyproject.toml", "requirements.lock",
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "LICENSE", "Makefile",
    "llms.txt",
)  # fmt: skip
PYTEST = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider")
ALL_TESTS = ("-n", "2", "--ignore=tests/resilience/chaos", "tests")
FAILED = re.compile(r"^(?:FAILED|ERROR) (tests/[^\s\[]+)", re.MULTILINE)
PASSED, SOME_FAILED, USAGE_ERROR = 0, 1, 4


@dataclass(frozen=True)
class Mutant:
    """A place to break, and the test that runs first."""

    file: str
    text: str
    becomes: str
    test: str


def read(text: str) -> list[Mutant]:
    """Return the mutants of a list; lines that begin with # are comments."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    blocks = "\n".join(lines).strip().split("\n\n")
    mutants = []
    for block in blocks:
        mutants.append(Mutant(*block.strip("\n").split("\n")))
    return mutants


def remember(mutant: Mutant, test: str) -> None:
    """Write the test that caught a mutant into the list."""
    block = "\n".join((mutant.file, mutant.text, mutant.becomes, ""))
    text = LIST.read_text(encoding="utf-8")
    LIST.write_text(text.replace(block + mutant.test, block + test), encoding="utf-8")


def first_failure(tree: Path, *tests: str) -> str | None:
    """Run tests of a tree in tier `test`, and return the first that fails."""
    environment = os.environ | {
        tiers.TIER_VARIABLE: "test",
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, *PYTEST, f"--basetemp={tree.parent / 'pytest'}", *tests],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    match = FAILED.search(done.stdout)
    if done.returncode == SOME_FAILED and match:
        return match[1]
    if done.returncode == PASSED or (done.returncode == USAGE_ERROR and tests != ALL_TESTS):
        return None
    sys.exit(f"pytest could not run {tests}: {done.stdout[-2_000:]}{done.stderr}")


def caught_by(mutant: Mutant, tree: Path) -> str | None:
    """Break the tree, return the first test that fails, restore the tree."""
    path = tree / mutant.file
    source = path.read_text(encoding="utf-8")
    if source.count(mutant.text) != 1:
        sys.exit(f"{mutant.file}: {mutant.text!r} occurs {source.count(mutant.text)} times.")
    path.write_text(source.replace(mutant.text, mutant.becomes), encoding="utf-8")
    try:
        return first_failure(tree, mutant.test) or first_failure(tree, *ALL_TESTS)
    finally:
        path.write_text(source, encoding="utf-8")


def check_unbroken(tree: Path, *tests: str) -> None:
    """End the run if a test fails without any mutant: it would seem to catch all of them."""
    failed = first_failure(tree, *tests)
    if failed is not None:
        sys.exit(f"{failed} fails on the code as it is. `make test` must be green first.")


def copy(tree: Path) -> None:
    """Copy what the tests need."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "_build")
            shutil.copytree(source, tree / name, ignore=ignored)
        else:
            shutil.copy(source, tree / name)


def main() -> None:
    mutants = read(LIST.read_text(encoding="utf-8"))
    numbers = [int(number) for number in sys.argv[1:]] or range(1, len(mutants) + 1)
    survivors = 0
    print(f"{tiers.SEED_VARIABLE}={tiers.sample_seed()}")
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        copy(tree)
        check_unbroken(tree, *{mutants[number - 1].test for number in numbers})
        for number in numbers:
            mutant, start = mutants[number - 1], time.monotonic()
            test = caught_by(mutant, tree)
            survivors += test is None
            if test is not None and test != mutant.test:
                check_unbroken(tree, test)
                remember(mutant, test)
            seconds = time.monotonic() - start
            place = f"{mutant.file}: {mutant.becomes.strip()}"
            print(f"{number:2} {seconds:4.0f} s  {place}\n{'':10}{test or 'SURVIVED'}", flush=True)
    print(f"{len(numbers) - survivors} of {len(numbers)} caught")
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()

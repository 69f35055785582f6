"""Break the code in the places that mutants.txt lists, one at a time: `make test` must see each.

    python -m tests.mutants [NUMBER ...]

A block of mutants.txt is four lines: the file, the text to break, what it becomes, and the test
files that are run, in tier `test`. The text must occur once, so that a mutant whose code was
rewritten is an error and never passes for caught. The tree is copied to a temporary folder first.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_name("mutants.txt")
COPIED = ("pdframe", "tests", "notebooks", "docs", "cache", "pyproject.toml", "README.md",
          "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile")  # fmt: skip


class Mutant(NamedTuple):
    """A place to break, and the tests that must see it."""

    file: str
    text: str
    becomes: str
    tests: tuple[str, ...]


def read(text: str) -> list[Mutant]:
    """Return the mutants of a list; lines that begin with # are comments."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    blocks = "\n".join(lines).strip().split("\n\n")
    mutants = []
    for block in blocks:
        file, old, new, tests = block.strip("\n").split("\n")
        mutants.append(Mutant(file, old, new, tuple(tests.split())))
    return mutants


def is_caught(mutant: Mutant, tree: Path) -> bool:
    """Run the tests of a mutant on the broken tree, then restore the tree."""
    path = tree / mutant.file
    source = path.read_text(encoding="utf-8")
    if source.count(mutant.text) != 1:
        sys.exit(f"{mutant.file}: {mutant.text!r} occurs {source.count(mutant.text)} times.")
    path.write_text(source.replace(mutant.text, mutant.becomes), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    environment = os.environ | {
        "PDFRAME_TIER": "test",
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(
            [*command, *mutant.tests],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.write_text(source, encoding="utf-8")
    if done.returncode not in (0, 1):
        sys.exit(f"pytest could not run {mutant.tests}: {done.stdout[-2_000:]}{done.stderr}")
    return done.returncode == 1


def main() -> None:
    mutants = read(LIST.read_text(encoding="utf-8"))
    numbers = [int(number) for number in sys.argv[1:]] or range(1, len(mutants) + 1)
    survived = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(
                    source, tree / name, ignore=shutil.ignore_patterns("__pycache__", "_build")
                )
            else:
                shutil.copy(source, tree / name)
        for number in numbers:
            mutant, begin = mutants[number - 1], time.monotonic()
            caught = is_caught(mutant, tree)
            survived += not caught
            verdict = "caught" if caught else "SURVIVED"
            seconds = time.monotonic() - begin
            print(
                f"{number:2} {verdict:8} {seconds:5.1f} s  {mutant.file}: {mutant.becomes.strip()}"
            )
    print(f"{len(numbers) - survived} of {len(numbers)} caught")
    sys.exit(survived > 0)


if __name__ == "__main__":
    main()

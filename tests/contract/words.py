"""Find retired words in identifiers, and lines that are too long.

`python -m tests.contract.words` prints each identifier of pdframe/ and tests/ that contains a
retired word, with its files and how often it occurs there; `--lines` prints how many lines of each
file are longer than 100 characters, and `--lines FILE ...` these lines.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST_LINE = 100
# fmt: off
RETIRED = frozenset({
    "stay", "stays", "stayed", "staying", "told", "held", "found", "asked", "came", "gone",
    "look", "looks", "looked", "looking", "anew", "way", "ways", "mend", "mends", "mended",
    "mending", "whole", "behind", "aside", "abreast",
})
# fmt: on
ALLOWED = {
    "FileNotFoundError": "Python's name",
    "ModuleNotFoundError": "Python's name",
    "PackageNotFoundError": "Python's name, in importlib.metadata",
    "not_found": "HTTP's name of status 404",
    "NOT_FOUND": "the same as a constant",
    "gone": "a column of the kept history and of as_of: cached names stay; only as a keyword",
}
"""Identifiers that may contain a retired word, and why."""
KEYWORDS_ONLY = frozenset({"gone"})
"""Of these, the names that are allowed as keywords of calls alone: `frame.assign(gone=...)`."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def words_of(identifier: str) -> list[str]:
    """Split an identifier at underscores and at changes of case."""
    return [word.lower() for word in _WORD.findall(identifier)]


def is_retired(identifier: str) -> bool:
    return not RETIRED.isdisjoint(words_of(identifier))


def identifiers(source: str) -> Iterator[str]:
    """Yield every identifier of a Python source that is not allowed, as often as it occurs.

    Names are read from the tokens, so that definitions, uses, parameters, attributes and imports
    count alike; texts and comments do not.
    """
    keywords = Counter(
        keyword.arg
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
    )
    names = Counter(
        token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.NAME
    )
    for name, count in names.items():
        if name in KEYWORDS_ONLY:
            yield from [name] * (count - keywords[name])
        elif name not in ALLOWED:
            yield from [name] * count


def retired_identifiers(root: Path = ROOT) -> dict[str, Counter[str]]:
    """Count the identifiers with a retired word, by identifier and file; names of files too."""
    counts: dict[str, Counter[str]] = {}
    for file in files(root, ".py"):
        name = file.relative_to(root).as_posix()
        if name.split("/")[0] not in ("pdframe", "tests"):
            continue
        for identifier in [file.stem, *identifiers(file.read_text(encoding="utf-8"))]:
            if is_retired(identifier):
                counts.setdefault(identifier, Counter())[name] += 1
    for folder in {parent for file in files(root, ".py") for parent in file.parents}:
        if root in folder.parents and is_retired(folder.name):
            counts.setdefault(folder.name, Counter())[f"{folder.relative_to(root)}/"] += 1
    return counts


def long_lines(root: Path = ROOT) -> dict[str, list[tuple[int, str]]]:
    """Return the lines over the limit of each file, with their numbers.

    Of notebooks the lines of their cells count. A line without a space inside, such as an address,
    and a row of a Markdown table cannot be broken and are left out.
    """
    lines: dict[str, list[tuple[int, str]]] = {}
    for file in files(root, ".py", ".md", ".ipynb"):
        for number, line in enumerate(_lines(file), start=1):
            is_row = file.suffix != ".py" and line.startswith("| ") and line.endswith(" |")
            if len(line) > LONGEST_LINE and " " in line.strip() and not is_row:
                lines.setdefault(file.relative_to(root).as_posix(), []).append((number, line))
    return lines


def _lines(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        return [line for cell in cells for line in "".join(cell["source"]).split("\n")]
    return text.split("\n")


def files(root: Path, *suffixes: str) -> Iterator[Path]:
    """Yield the files of the project in order, without those that tools make."""
    for path in sorted(root.iterdir()):
        made = ("__pycache__", "_build", "build", "dist", "generated")
        if path.name.startswith(".") or path.name in made:
            continue
        if path.is_dir():
            yield from files(path, *suffixes)
        elif path.suffix in suffixes:
            yield path


def report_words(counts: dict[str, Counter[str]]) -> str:
    shown = [
        f"{sum(by_file.values()):6} {identifier}  "
        + ", ".join(f"{name} {count}" for name, count in sorted(by_file.items()))
        for identifier, by_file in sorted(
            counts.items(), key=lambda item: (-sum(item[1].values()), item[0])
        )
    ]
    by_word = Counter(word for identifier in counts for word in set(words_of(identifier)) & RETIRED)
    words = ", ".join(f"{word} {count}" for word, count in by_word.most_common())
    total = sum(sum(by_file.values()) for by_file in counts.values())
    return "\n".join([*shown, f"{len(counts)} identifiers, {total} times; {words or 'no word'}"])


def report_lines(lines: dict[str, list[tuple[int, str]]], names: list[str]) -> str:
    if names:
        return "\n".join(
            f"{name}:{number}: {line}" for name in names for number, line in lines.get(name, [])
        )
    shown = [f"{len(each):6} {name}" for name, each in lines.items()]
    total = sum(map(len, lines.values()))
    return "\n".join([*shown, f"{total} lines over {LONGEST_LINE} in {len(lines)} files"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lines", nargs="*", metavar="FILE", help="lines that are too long")
    options = parser.parse_args()
    if options.lines is None:
        print(report_words(retired_identifiers()))
    else:
        print(report_lines(long_lines(), options.lines))

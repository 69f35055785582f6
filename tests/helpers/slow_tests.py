"""Write which test functions take over a second into tests/slow_tests.txt.

PDFRAME_TIER=test python -m pytest -n 2 --junitxml=times.xml --ignore=tests/resilience/chaos tests
python -m tests.helpers.slow_tests times.xml
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree

from tests.helpers import tiers

SECONDS = 1.0
HEAD = f"""\
# Test functions whose cases in tier `test` took over {SECONDS:.0f} second together. It draws a few.
# Written by tests/helpers/slow_tests.py.
"""


def slow(report: ElementTree.Element) -> list[str]:
    """Return the functions of a JUnit report that take longer, by name."""
    seconds: dict[str, float] = defaultdict(float)
    for case in report.iter("testcase"):
        # Cells of a notebook and blocks of a page have names of other forms: `make test` runs them.
        file = case.get("classname", "").replace(".", "/") + ".py"
        if Path(file).is_file():
            function = case.get("name", "").partition("[")[0]
            seconds[f"{file}::{function}"] += float(case.get("time", 0))
    return sorted(name for name, taken in seconds.items() if taken >= SECONDS)


if __name__ == "__main__":
    names = slow(ElementTree.parse(sys.argv[1]).getroot())
    tiers.SLOW_TESTS.write_text(HEAD + "".join(f"{name}\n" for name in names), encoding="utf-8")
    print(f"{len(names)} functions in {tiers.SLOW_TESTS.name}")

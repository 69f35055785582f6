"""Prints one table: what pdframe costs in time, tokens and bytes, each beside something to compare
it with.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable

import pdframe
from tests.bench import (
    dashboard,
    data_quality,
    forecast_accuracy,
    forecast_speed,
    funnel,
    stage_visits,
    velocity,
)
from tests.bench.exports import exports
from tests.bench.ingest import ingest
from tests.bench.lanes import independent_tables, long_lists, side_by_side_requests
from tests.bench.parts import many_parts
from tests.bench.refresh_path import refresh_path
from tests.bench.revenue import revenue
from tests.bench.spark_split import spark_split
from tests.bench.star import stars
from tests.bench.startup import startup
from tests.bench.table import compared, report, seconds

DEALS = 5_000


def python(code: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", code], check=True)


def imports() -> None:
    ours, theirs, ratio = compared(
        python("import pdframe.account"), python("import pandas, pyarrow, httpx")
    )
    report(
        "import pdframe.account / import pandas, pyarrow, httpx",
        f"{ours:.3f} s",
        f"{theirs:.3f} s",
        ratio,
    )


def command_line() -> None:
    ours, theirs, ratio = startup()
    report("CPU: pdframe --help / python -c pass", f"{ours:.3f} s", f"{theirs:.3f} s", ratio)


def tokens() -> None:
    with pdframe.sandbox.connect(
        seed=1, deals=DEALS, company="hostile", burst=100_000, progress=False
    ) as account:
        full = account.sync().set_index("table")
        company = account.company_model
        deals = len(account.deals(refresh=False))
        one_by_one = 10 * deals
        spent = int(full["tokens"][["deals", "deal_products"]].sum())
        report(
            f"tokens: {deals:,} deals with line items / a call a deal",
            f"{spent:,}",
            f"{one_by_one:,}",
            spent / one_by_one,
        )
        for deal in [
            row for row in company.tables["deals"] if not company.tables["deals"][row]["is_deleted"]
        ][: deals // 100]:
            company.edit_deal(deal, title="touched")
        again = account.sync()
        report(
            "tokens: all tables, 1 % of deals changed / first load",
            f"{again['tokens'].sum():,}",
            f"{full['tokens'].sum():,}",
            again["tokens"].sum() / full["tokens"].sum(),
        )
        before = account.tokens_today
        account.deals()
        report("tokens: deals() again within max_age", f"{account.tokens_today - before}", "", None)
    with pdframe.sandbox.connect(
        seed=7, deals=2_000, company="hostile", burst=100_000, progress=False
    ) as account:
        account.sync()
        account.sync()  # reads the lists of deletions
        spent = int(account.sync()["tokens"].sum())
        report(
            "tokens: 2,000 deals, nothing changed, lists within their ages",
            f"{spent}",
            "<= 130",
            spent / 130,
        )


def company() -> None:
    for deals in (2_000, 100_000):
        taken = seconds(lambda deals=deals: pdframe.sandbox.Company(seed=1, deals=deals))
        report(f"seconds: a synthetic company of {deals:,} deals", f"{taken:.1f} s", "", None)


if __name__ == "__main__":
    warnings.simplefilter("ignore", pdframe.DataWarning)
    print(f"{'what':<58} {'pdframe':>16} {'beside':>26} {'ratio':>8}")
    for part in (
        imports,
        command_line,
        tokens,
        ingest,
        long_lists,
        independent_tables,
        side_by_side_requests,
        company,
        stage_visits.measure,
        velocity.measure,
        funnel.measure,
        data_quality.measure,
        revenue,
        stars,
        dashboard.measure,
        exports,
        spark_split,
        many_parts,
        refresh_path,
        forecast_speed.measure,
        forecast_accuracy.measure,
    ):
        part()

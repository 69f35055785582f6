"""Groups by any columns of deals, as an analyst has them: an owner, an option of a custom field, a
cohort month, and several at once.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from pdframe.metrics import funnel, stage_survival, stage_velocity
from tests.helpers.visit_frames import day, known_visits, stages

VISITS = known_visits(
    (1, "A", 0, 10, "advanced"),
    (1, "B", 10, 30, "won"),
    (2, "A", 0, 20, "lost"),
    (3, "A", 40, None, "open"),
    (4, "A", 45, 50, "advanced"),
    (4, "B", 50, None, "open"),
    (5, "A", 60, 61, "deleted"),
)
# The fifth is not in the frame of deals, as where it was deleted.
DEALS = pd.DataFrame(
    {
        "id": pd.array([4, 3, 2, 1], "Int64"),
        "owner_id": pd.array([7, None, 7, 8], "Int64"),
        "Segment $_x_$ (948c29)": pd.Categorical(
            ["Small", "Large", None, "Large"], ["Large", "Medium", "Small"], ordered=True
        ),
        "month": (
            pd.Series(
                pd.to_datetime(["2026-02-01", "2026-02-01", "2026-01-01", "2026-01-01"])
            ).astype("datetime64[us]")
        ),
        "vip": pd.array([True, None, False, False], "boolean"),
    }
)
SEGMENT = "Segment $_x_$ (948c29)"
JAN, FEB = pd.Timestamp("2026-01-01"), pd.Timestamp("2026-02-01")


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        # Keys, and of stage A: reached, advanced; stays, completed.
        ("owner_id", [((7,), 2, 1, 2, 2), ((8,), 1, 1, 1, 1), ((None,), 2, 0, 2, 1)]),
        (SEGMENT, [(("Large",), 2, 1, 2, 1), (("Small",), 1, 1, 1, 1), ((None,), 2, 0, 2, 2)]),
        ("month", [((JAN,), 2, 1, 2, 2), ((FEB,), 2, 1, 2, 1), ((None,), 1, 0, 1, 1)]),
        (["vip"], [((False,), 2, 1, 2, 2), ((True,), 1, 1, 1, 1), ((None,), 2, 0, 2, 1)]),
        (
            ["month", SEGMENT],
            [
                ((JAN, "Large"), 1, 1, 1, 1),
                ((JAN, None), 1, 0, 1, 1),
                ((FEB, "Large"), 1, 0, 1, 0),
                ((FEB, "Small"), 1, 1, 1, 1),
                ((None, None), 1, 0, 1, 1),
            ],
        ),
    ],
)
def test_groups_of_deals(by: Any, expected: list[tuple[Any, ...]]) -> None:
    names = [by] if isinstance(by, str) else by
    tables = (
        (
            funnel(VISITS, stages(), as_of=day(100), pipeline_id=1, by=by, deals=DEALS),
            ["reached", "advanced"],
        ),
        (
            stage_velocity(VISITS, stages(), as_of=day(100), by=by, deals=DEALS),
            ["visits", "completed"],
        ),
    )
    for number, (table, counts) in enumerate(tables):
        assert list(table.columns[: len(names)]) == names
        assert table[names].dtypes.tolist() == DEALS[names].dtypes.tolist()
        first = table[table["stage"] == "A"].astype(object)
        plain = first.where(first.notna(), None)[[*names, *counts]].to_numpy().tolist()
        assert plain == [
            [*keys, *result[2 * number : 2 * number + 2]] for keys, *result in expected
        ]
    curve = stage_survival(VISITS, stages(), as_of=day(100), by=by, deals=DEALS)
    assert curve.groupby(names, dropna=False, observed=True).ngroups == len(expected)

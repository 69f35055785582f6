"""Whether `products_count` counts disabled lines is read off the deals that have some."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pdframe.sync.lines import count_leaves_out


@pytest.mark.parametrize(
    ("deals", "leaves_out"),
    [
        # A deal's count, then its lines: enabled or not.
        ([], False),
        ([(2, [True, True])], False),
        ([(2, [True, False])], False),
        ([(1, [True, False])], True),
        ([(1, [True, False, False]), (3, [True, True, True])], True),
        # A line came between the two looks.
        ([(1, [True, True])], False),
        # One was disabled between the two looks: the others tell, and where they do not, too much is asked for rather than too little.
        ([(1, [True, False]), (1, [False]), (2, [True, True, False])], True),
        ([(1, [True, False]), (1, [False])], True),
        ([(2, [True, False]), (2, [True, False]), (1, [True, False])], False),
    ],
)
def test_the_most_deals_tell(deals: list[tuple[int, list[bool]]], leaves_out: bool) -> None:
    counts = pa.table(
        {"id": pa.array(range(len(deals)), pa.int64()), "products_count": pa.array([count for count, _ in deals], pa.int64())}
    )
    lines = [(deal, enabled) for deal, (_, held) in enumerate(deals) for enabled in held]
    table = pa.table(
        {
            "deal_id": pa.array([deal for deal, _ in lines], pa.int64()),
            "is_enabled": pa.array([enabled for _, enabled in lines], pa.bool_()),
        }
    )
    assert count_leaves_out(counts, table) is leaves_out

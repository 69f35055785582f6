"""Every row of the histories of deals and line items is true, and none is missing: the company's events say so."""

from __future__ import annotations

import os
import random

import changes
import pytest

from pdframe import sandbox

pytestmark = [pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning"), pytest.mark.usefixtures("long_lists")]
# Seeds that found a fault once, then as many more as are wanted.
SEEDS = [2, 6, 22, *range(100, 100 + int(os.environ.get("PDFRAME_HISTORIES", "1")))]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_change_is_told_once_and_as_it_was(seed: int) -> None:
    with sandbox.connect(seed=seed, deals=40, burst=100_000, progress=False) as account:
        company = account.company_model
        changes.live(account, random.Random(seed), steps=10)
        deals, lines = account.deal_history(), account.line_history()
        of_deals, of_lines = changes.of_deals(company), changes.of_lines(company)
    assert changes.faults(deals, "deal_id", of_deals) == []
    assert changes.faults(lines, "id", of_lines) == []
    assert set(deals["source"]) == {"changelog", "snapshots", "first look"}
    for history, key, truth in ((deals, "deal_id", of_deals), (lines, "id", of_lines)):
        known = changes.at_the_end(history, key)
        rows = {row for row, _ in known}
        gone = {row for row in rows if known.get((row, changes.IS_DELETED)) == "true"}
        assert gone == {row for row in rows if changes.at(truth.get((row, changes.IS_DELETED), []), company.now) == "true"}
        # The last look was after the last write: a row that is there ends as it is.
        for (row, column), true in truth.items():
            if row in rows - gone and column != changes.IS_DELETED:
                assert known.get((row, column)) == true[-1][1], (row, column)

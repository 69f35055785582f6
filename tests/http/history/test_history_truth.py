"""Every row of the histories of deals and line items is true, and none is missing: the company's
events say so.
"""

from __future__ import annotations

import os
import random

import pandas as pd
import pytest

from pdframe import metrics, sandbox
from pdframe.errors import NotCachedError
from tests.helpers import random_edits
from tests.helpers.tuning import LONG_LISTS

pytestmark = [
    pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning"),
    pytest.mark.usefixtures("long_lists"),
]
# Seeds that found a fault once, then as many more as are wanted.
SEEDS = [107, 117, *range(200, 200 + int(os.environ.get("PDFRAME_HISTORIES", "0")))]
# Columns that a changelog has from the creation of a deal on; it may lack the first value of
# others.
ALWAYS_REPORTED = ("stage_id", "pipeline_id", "status", "value", "currency")
VALUES = (*ALWAYS_REPORTED, "expected_close_date", "owner_id", "probability")


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_every_change_is_reported_once_and_as_it_was(seed: int) -> None:
    with sandbox.connect(
        seed=seed, deals=40, company="hostile", burst=100_000, progress=False, options=LONG_LISTS
    ) as account:
        company = account.company_model
        witnesses = random_edits.live(account, random.Random(seed), steps=10)
        deals, lines = account.deal_history(), account.line_history()
        of_deals, of_lines = random_edits.of_deals(company), random_edits.of_lines(company)
        compare_past(account, of_deals, witnesses)
    assert random_edits.faults(deals, "deal_id", of_deals) == []
    assert random_edits.faults(lines, "id", of_lines) == []
    assert set(deals["source"]) == {"changelog", "snapshots", "first look"}
    # The last snapshot was after the last write.
    assert random_edits.forgotten(deals, "deal_id", of_deals, company.now) == []
    assert random_edits.forgotten(lines, "id", of_lines, company.now) == []


def test_a_wrong_change_and_a_forgotten_one_are_seen() -> None:
    """The comparison with the events sees what a history must not do."""
    with sandbox.connect(
        seed=5, deals=8, company="hostile", burst=100_000, progress=False, options=LONG_LISTS
    ) as account:
        company = account.company_model
        random_edits.live(account, random.Random(5), steps=3)
        deals, truth = account.deal_history(), random_edits.of_deals(company)
    assert random_edits.faults(deals, "deal_id", truth) == []
    assert random_edits.forgotten(deals, "deal_id", truth, company.now) == []
    last = deals.index[deals["column"] == "value"][-1]
    wrong = deals.copy()
    wrong.loc[last, "after"] = "0.5"
    assert len(random_edits.faults(wrong, "deal_id", truth)) >= 1
    assert len(random_edits.forgotten(deals.drop(last), "deal_id", truth, company.now)) >= 1


def compare_past(
    account: sandbox.SandboxAccount, truth: random_edits.Changes, witnesses: random_edits.Witnesses
) -> None:
    """Compare `as_of` at many times, between and before snapshots too, with what was true and known
    then.
    """
    deals, visits = account.deals(refresh=False, labels=False), account.stage_visits(refresh=False)
    history = account.deal_history()
    begins, ends = witnesses.snapshots[0], account.company_model.now
    times = [
        begins - 400 * 86_400,
        begins - 40 * 86_400,
        *range(begins, ends + 1, max(1, (ends - begins) // 9)),
    ]
    compared = early = 0
    for time in times:
        when = pd.Timestamp(time, unit="s", tz="UTC")
        views = [metrics.as_of(deals, visits, when, history)[0].set_index("id")]
        mixed = metrics.as_of(deals, visits, when, history.sample(frac=1, random_state=time))[
            0
        ].set_index("id")
        pd.testing.assert_frame_equal(mixed, views[0])
        try:
            reported = account.as_of(when).set_index("deal_id")
            for deal, deleted in reported["gone"].items():
                until = witnesses.known_until(deal, time)
                assert until is not None
                assert deleted == (
                    random_edits.at(truth.get((deal, random_edits.IS_DELETED), []), until) == "true"
                ), (deal, when)
            views.append(reported[~reported["gone"]])
        except NotCachedError:
            assert time < begins
            assert not witnesses.read
        for view in views:
            for deal, row in view.iterrows():
                until, created = witnesses.known_until(deal, time), truth[deal, "status"][0][0]
                first = next(snapshot for snapshot in witnesses.snapshots if snapshot >= created)
                for name in VALUES:
                    value = None if pd.isna(row[name]) else row[name]
                    true = None if until is None else random_edits.at(truth[deal, name], until)
                    if isinstance(value, pd.Timestamp):
                        value = value.date().isoformat()
                    # Before the first snapshot, only the columns of every changelog are known, once
                    # a snapshot confirms them.
                    if (
                        value is None
                        and time < first
                        and (name not in ALWAYS_REPORTED or first > witnesses.read.get(deal, -1))
                    ):
                        continue
                    assert (
                        value if isinstance(value, str | None) else random_edits.text(value)
                    ) == true, (deal, name, when)
                    compared += value is not None
                    early += value is not None and time < begins
    assert compared > 1_000
    assert early > 50 or not witnesses.read

"""Once `deal_changes` is loaded, the account's stage visits are the true ones."""

from __future__ import annotations

import pytest

from pdframe import sandbox
from tests.helpers import visits_oracle

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
SWITCHES = {
    "likeliest": sandbox.Switches(),
    "other way": sandbox.Switches(
        archiving_moves_update_time=False,
        reopening_moves_update_time=False,
        stage_change_time_if_never_moved="set",
        changelog_has_creation=True,
        date_ahead_seconds=90,
    ),
}


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES)
def test_a_loaded_changelog_makes_visits_exact(switches: sandbox.Switches) -> None:
    with sandbox.connect(
        seed=3, deals=60, company="hostile", switches=switches, burst=100_000, progress=False
    ) as account:
        account.sync("deals", "stages")
        account.advance(days=30)
        account.sync("deals")
        changes = account.deal_changes()
        visits = account.stage_visits()
        visits_oracle.check_form(visits)
        there = set(account.deals(refresh=False, columns=["id"])["id"])
        assert there > set(changes["deal_id"]) or switches.changelog_has_creation
        exact = visits[visits["deal_id"].isin(there)]
        assert visits_oracle.facts(exact) == [
            tuple(visit)
            for visit in account.company_model.truth.stage_visits()
            if visit.deal_id in there
        ]
        assert (exact["source"] == "changelog").all()
        # Changelogs of deals that disappeared cannot be loaded: their visits are from snapshots.
        assert set(visits["deal_id"]) >= there

"""Once `deal_changes` is loaded, the account's stage visits are the true ones."""

from __future__ import annotations

import stays

from pdframe import sandbox


def test_a_loaded_changelog_makes_visits_exact() -> None:
    with sandbox.connect(seed=3, deals=60, burst=100_000, progress=False) as account:
        account.sync("deals", "stages")
        account.advance(days=30)
        account.sync("deals")
        changes = account.deal_changes()
        visits = account.stage_visits()
        stays.check_form(visits)
        moved = changes["deal_id"][changes["field_key"].isin(["stage_id", "status"])].unique()
        exact = visits[visits["deal_id"].isin(moved)]
        true = [tuple(visit) for visit in account.company_model.truth.stage_visits() if visit.deal_id in set(moved)]
        assert stays.facts(exact) == true
        assert (exact["source"] == "changelog").all()
        assert {row[0] for row in stays.facts(visits)} >= set(account.deals(refresh=False, columns=["id"])["id"])

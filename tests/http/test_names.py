"""`names=True`: names for ids, and what they cost. That they are true is in test_truth."""

from __future__ import annotations

import pandas as pd
import pytest

from pdframe import DataWarning, sandbox
from pdframe.errors import ArgumentError
from tests.helpers.notices import notes_in

# The company deletes options while rows hold them, and loaders say so.
pytestmark = pytest.mark.filterwarnings("ignore:deals, column:pdframe.errors.DataWarning")


def paths(account: sandbox.SandboxAccount) -> list[str]:
    return [entry.template.rpartition("/")[2] for entry in account.server.requests]


def test_only_what_the_columns_need_is_loaded(account: sandbox.SandboxAccount) -> None:
    account.deals()
    account.server.reset_stats()
    frame = account.deals(names=True, columns=["id", "stage_name"])
    assert list(frame.columns) == ["id", "stage_name"]
    assert paths(account) == ["stages"]
    account.deals(names=True, columns=["id", "title"])
    account.deals(names=True, columns=["stage_name"])
    assert paths(account) == ["stages"]


def test_long_lists_are_loaded_once_and_then_taken_at_any_age() -> None:
    with sandbox.connect(
        seed=3,
        deals=60,
        company="hostile",
        burst=100_000,
        progress=False,
        max_age=0,
        metadata_age=0,
    ) as account:
        account.deals(names=True)
        before = paths(account)
        assert (before.count("persons"), before.count("organizations"), before.count("users")) == (
            1,
            1,
            1,
        )
        account.deals(names=True)
        after = paths(account)
        assert (after.count("persons"), after.count("organizations"), after.count("users")) == (
            1,
            1,
            2,
        )


def test_names_are_as_fresh_as_max_age_says(account: sandbox.SandboxAccount) -> None:
    stage = int(account.deals(names=True)["stage_id"].iloc[0])
    account.company_model.edit("stages", stage, name="Renamed")
    account.sync("stages")
    named = account.deals(names=True).set_index("stage_id")["stage_name"]
    assert set(named[[stage]]) == {"Renamed"}


def test_a_name_that_is_not_known_is_null(account: sandbox.SandboxAccount) -> None:
    deals = account.deals(names=True)
    person = int(deals["person_id"].dropna().iloc[0])
    account.company_model.delete("persons", person)
    account.sync("persons", full=True)
    named = account.deals(names=True)
    assert named.loc[named["person_id"] == person, "person_name"].isna().all()
    assert named.loc[named["person_id"].isna(), "person_name"].isna().all()
    assert named["owner_name"].notna().all()


def test_refresh_false_takes_what_is_cached_and_says_what_is_not(
    account: sandbox.SandboxAccount,
) -> None:
    account.deals()
    account.users()
    requested = account.server.stats.requests
    with pytest.warns(DataWarning) as said:
        named = account.deals(
            refresh=False, names=True, columns=["owner_name", "stage_name", "pipeline_name"]
        )
    assert account.server.stats.requests == requested
    assert named["owner_name"].notna().all()
    assert named["stage_name"].isna().all()
    assert str(named["stage_name"].dtype) == "str"
    assert [note.split(":")[0] for note in notes_in(said)] == [
        "pipeline_name is null because table 'pipelines' is unavailable",
        "stage_name is null because table 'stages' is unavailable",
    ]


def test_a_name_column_needs_names(account: sandbox.SandboxAccount) -> None:
    with pytest.raises(ArgumentError, match="'owner_name' needs names=True"):
        account.deals(columns=["id", "owner_name"])
    assert account.server.stats.requests == 0


def test_changes_name_their_fields_and_actors(account: sandbox.SandboxAccount) -> None:
    changes = account.deal_changes(names=True)
    fields = account.fields("deals").drop_duplicates("code").set_index("code")["label"]
    for key, name in zip(changes["field_key"], changes["field_name"], strict=True):
        assert fields.get(key) == name or (key not in fields.index and pd.isna(name))
    users = account.users().set_index("id")["name"]
    assert changes["actor_name"].tolist() == [users[user] for user in changes["actor_user_id"]]

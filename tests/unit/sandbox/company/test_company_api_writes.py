"""What the API lets a program write, and the switches of what it does not document: both settings
of each.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pdframe.sandbox.company import Company, Merge, Switches

CLOSING = (
    "won_time",
    "lost_time",
    "close_time",
    "local_won_date",
    "local_lost_date",
    "local_close_date",
    "lost_reason",
)


def new(**switches: Any) -> Company:
    return Company(seed=1, deals=0, switches=Switches(**switches))


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def wire(t: int) -> str:
    return datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reported(company: Company, deal: int, *keys: str) -> list[tuple[str, str | None, str | None]]:
    """Rows of the changelog: column, old and new value; of these columns alone where any are
    given.
    """
    rows = company.deal_changelog(deal)
    return [
        (r["field_key"], r["old_value"], r["new_value"])
        for r in rows
        if not keys or r["field_key"] in keys
    ]


def known_visits(company: Company, deal: int) -> list[tuple[int, int, int | None, str]]:
    """Stage, pipeline, length in seconds (None: still there) and end of each stay."""
    return [
        (v.stage_id, v.pipeline_id, None if v.left_at is None else v.left_at - v.entered_at, v.end)
        for v in company.truth.stage_visits(deal)
    ]


@pytest.mark.parametrize("before", ["open", "won", "lost"])
@pytest.mark.parametrize("after", ["open", "won", "lost"])
def test_any_status_is_set_from_any_status(before: str, after: str) -> None:
    company = new()
    deal = company.add_deal("Any", stage_id=7)
    company.patch_deal(deal, status=before)
    company.patch_deal(deal, status=after)
    row = company.tables["deals"][deal]
    steps = list(dict.fromkeys([("open", before), (before, after)]))
    assert reported(company, deal, "status") == [
        ("status", old, new) for old, new in steps if old != new
    ]
    assert row["status"] == after
    closed_at = None if after == "open" else row["update_time"]
    assert row["won_time"] == (closed_at if after == "won" else None)
    assert row["lost_time"] == (closed_at if after == "lost" else None)
    assert row["close_time"] == closed_at
    assert [row[f"local_{key}_date"] is None for key in ("won", "lost", "close")] == [
        after != "won",
        after != "lost",
        after == "open",
    ]
    assert [state.status for state in company.truth.deal_states(deal)] == list(
        dict.fromkeys(["open", before])
    ) + [after for _ in range(before != after)]


@pytest.mark.parametrize(("first", "then"), [("lost", "won"), ("won", "lost")])
def test_a_change_between_closed_statuses_is_a_visit_of_no_length(first: str, then: str) -> None:
    company = new()
    deal = company.add_deal("Closed twice", stage_id=7)
    company.now += 99
    company.patch_deal(deal, status=first, lost_reason="Price" if first == "lost" else None)
    company.patch_deal(deal, status=then)
    row = company.tables["deals"][deal]
    assert known_visits(company, deal) == [(7, 2, 100, first), (7, 2, 0, then)]
    assert row["lost_reason"] is None
    won = next(
        event.time
        for event in company.events
        if event.table == "deals" and event.changes.get("status") == "won"
    )
    assert company.deal_counts(deal)["first_won_time"] == wire(won)


def test_the_writes_of_the_app_and_of_the_api_leave_the_same_row() -> None:
    by_app, by_api = new(), new()
    for company in (by_app, by_api):
        deal = company.add_deal("Twin", value=5)
        company.add_line(deal, company.add_product("P", 9), billing_frequency="monthly")
    by_app.lose_deal(deal, "Price")
    by_api.patch_deal(deal, status="lost", lost_reason="Price")
    by_app.reopen_deal(deal)
    by_api.patch_deal(deal, status="open")
    by_app.win_deal(deal)
    by_api.patch_deal(deal, status="won")
    assert by_app.tables["deals"][deal] == by_api.tables["deals"][deal]
    assert reported(by_app, deal) == reported(by_api, deal)


def test_a_closed_deal_moves_by_a_visit_of_no_length() -> None:
    company = new()
    deal = company.add_deal("Moved while closed", stage_id=7)
    company.win_deal(deal)
    company.patch_deal(deal, stage_id=6)
    row = company.tables["deals"][deal]
    assert (row["stage_id"], row["pipeline_id"], row["status"], row["stage_change_time"]) == (
        6,
        1,
        "won",
        row["update_time"],
    )
    assert known_visits(company, deal) == [(7, 2, 1, "won"), (6, 1, 0, "won")]
    company.reopen_deal(deal)
    assert known_visits(company, deal)[2:] == [(6, 1, None, "open")]
    company.win_deal(deal)
    # Reopened and moved by one write: the deal came to the new stage as it was opened.
    company.patch_deal(deal, stage_id=7, status="open")
    assert known_visits(company, deal)[3:] == [(7, 2, None, "open")]


def test_stage_and_status_in_one_write() -> None:
    company = new()
    deal = company.add_deal("At once", stage_id=7)
    company.patch_deal(deal, stage_id=9, status="won")
    assert [key for key, *_ in reported(company, deal)] == [
        "stage_id",
        "status",
        "won_time",
        "close_time",
    ]
    assert len({row["time"] for row in company.deal_changelog(deal)}) == 1
    assert known_visits(company, deal) == [(7, 2, 1, "advanced"), (9, 2, 0, "won")]


def test_times_set_by_hand_are_in_row_and_changelog() -> None:
    company = new()
    deal = company.add_deal("Dated back", stage_id=7)
    row, added = company.tables["deals"][deal], company.tables["deals"][deal]["add_time"]
    company.win_deal(deal)
    clicked = row["won_time"]
    company.patch_deal(deal, won_time="2026-01-31T23:30:00Z", add_time="2025-12-01T08:00:00Z")
    assert [row[key] for key in CLOSING] == [
        "2026-01-31T23:30:00Z",
        None,
        "2026-01-31T23:30:00Z",
        "2026-02-01",
        None,
        "2026-02-01",
        None,
    ]
    assert row["add_time"] == "2025-12-01T08:00:00Z"
    assert row["update_time"] > clicked
    written = [text.replace("T", " ").removesuffix("Z") for text in (clicked, added)]
    assert reported(company, deal)[-3:] == [
        ("won_time", written[0], "2026-01-31 23:30:00"),
        ("close_time", written[0], "2026-01-31 23:30:00"),
        ("add_time", written[1], "2025-12-01 08:00:00"),
    ]
    assert company.deal_counts(deal)["first_won_time"] == clicked
    # The stay is what happened: neither time changes it.
    assert known_visits(company, deal) == [(7, 2, 1, "won")]
    company.patch_deal(
        deal,
        status="lost",
        lost_time="2026-03-01T00:00:00Z",
        close_time="2026-03-02T00:00:00Z",
        lost_reason="Price",
    )
    assert [row[key] for key in ("won_time", "lost_time", "close_time", "local_close_date")] == [
        None,
        "2026-03-01T00:00:00Z",
        "2026-03-02T00:00:00Z",
        "2026-03-02",
    ]


def test_an_import_creates_a_deal_won_long_ago() -> None:
    company = new()
    times = {"add_time": "2020-01-01T00:00:00Z", "won_time": "2020-02-01T00:00:00Z"}
    deal = company.add_deal("Imported", stage_id=7, status="won", **times)
    row = company.tables["deals"][deal]
    assert {key: row[key] for key in times} == times
    assert (row["close_time"], row["local_won_date"], row["lost_time"]) == (
        times["won_time"],
        "2020-02-01",
        None,
    )
    assert reported(company, deal) == []
    assert known_visits(company, deal) == [(7, 2, 31 * 86_400, "won")]
    assert company.deal_counts(deal)["first_won_time"] == times["won_time"]
    assert row["update_time"] > "2026"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"status": "deleted"}, "cannot be 'deleted'"),
        ({"won_time": "2026-01-01T00:00:00Z"}, "won_time cannot be set on a deal that is open"),
        (
            {"status": "lost", "won_time": "2026-01-01T00:00:00Z"},
            "won_time cannot be set on a deal that is lost",
        ),
        ({"close_time": "2026-01-01T00:00:00Z"}, "close_time cannot be set on a deal that is open"),
        (
            {"status": "won", "lost_reason": "Price"},
            "lost_reason cannot be set on a deal that is won",
        ),
        ({"add_time": "2026-01-01 00:00:00"}, "is not a time like"),
        ({"stage_id": 99}, "no row 99"),
    ],
)
def test_what_the_api_refuses_leaves_no_trace(values: dict[str, Any], words: str) -> None:
    company = new()
    deal = company.add_deal("Refused")
    before = (company.version, company.now)
    with pytest.raises(ValueError, match=words):
        company.patch_deal(deal, **values)
    assert (company.version, company.now) == before


@pytest.mark.parametrize("status", ["open", "won", "lost"])
def test_a_deal_of_any_status_is_deleted_and_undeleted(status: str) -> None:
    company = new()
    deal = company.add_deal("Back again", stage_id=7)
    company.patch_deal(deal, status=status)
    company.delete_deal(deal)
    deleted_at = company.now
    company.undelete_deal(deal)
    row = company.tables["deals"][deal]
    assert (row["status"], row["is_deleted"], company.deleted_at) == (status, False, {})
    assert reported(company, deal, "status")[-2:] == [
        ("status", status, "deleted"),
        ("status", "deleted", status),
    ]
    assert [(state.time - deleted_at, state.status) for state in company.truth.deal_states(deal)][
        -2:
    ] == [(0, "deleted"), (1, status)]
    ends = [end for *_, end in known_visits(company, deal)]
    assert ends == (["deleted", "open"] if status == "open" else [status, "deleted", status])
    with pytest.raises(ValueError, match="not deleted"):
        company.undelete_deal(deal)


def test_a_merge_deletes_one_deal_and_fills_the_other() -> None:
    company = new()
    org, person = company.add_organization("Org"), company.add_person("Ann Example")
    code = company.add_field("deal", "Tier", "varchar")
    both = company.add_field("deal", "Source", "varchar")
    deleted = company.add_deal(
        "Twice", stage_id=3, org_id=org, person_id=person, custom_fields={code: "Gold", both: "a"}
    )
    kept = company.add_deal(
        "Once", stage_id=7, person_id=company.add_person("Bob Example"), custom_fields={both: "b"}
    )
    call = company.add_activity("Call", deal_id=deleted)
    for deal, user in ((deleted, 1010), (deleted, 1014), (kept, 1014)):
        company.follow("deal", deal, user)
    company.win_deal(deleted)
    company.merge_deals(deleted, kept)
    merged, row = company.tables["deals"][deleted], company.tables["deals"][kept]
    assert (merged["is_deleted"], merged["status"]) == (True, "won")
    assert merged["update_time"] == row["update_time"]
    assert (row["org_id"], row["person_id"], row["custom_fields"]) == (
        org,
        person + 1,
        {code: "Gold", both: "b"},
    )
    assert company.tables["activities"][call]["deal_id"] == kept
    assert [f["user_id"] for f in company.followers("deal", kept)] == [1014, 1010]
    assert reported(company, deleted)[-1] == ("status", "won", "deleted")
    assert reported(company, kept) == [("org_id", None, str(org)), (code, None, "Gold")]
    assert company.truth.merges() == [Merge(deleted, kept, company.now)]
    with pytest.raises(ValueError, match="deleted"):
        company.merge_deals(kept, deleted)
    with pytest.raises(ValueError, match="into itself"):
        company.merge_deals(kept, kept)


@pytest.mark.parametrize(
    ("switch", "expected"),
    [
        # Seconds from the second in which the row of the deal says that it moved.
        ("together", [("stage_id", 0), ("pipeline_id", 0)]),
        ("pipeline later", [("stage_id", 0), ("pipeline_id", 1)]),
        ("pipeline earlier", [("pipeline_id", -1), ("stage_id", 0)]),
        ("stage only", [("stage_id", 0)]),
        ("pipeline only", [("pipeline_id", 0)]),
    ],
)
@pytest.mark.parametrize("write", ["move_deal", "patch_deal"])
def test_a_move_to_another_pipeline_in_the_changelog(
    switch: str, expected: list[tuple[str, int]], write: str
) -> None:
    company = new(pipeline_move_in_changelog=switch)
    deal = company.add_deal("Across", stage_id=7)
    added = company.now
    getattr(company, write)(deal, stage_id=6)
    company.move_deal(deal, 10)
    moved = company.truth.stage_visits(deal)[0].left_at
    assert moved is not None
    log = company.deal_changelog(deal)
    values = {"stage_id": ("7", "6"), "pipeline_id": ("2", "1")}
    times = [seconds(row["time"]) for row in log]
    assert [
        (row["field_key"], t - moved) for row, t in zip(log[:-1], times, strict=False)
    ] == expected
    assert [(row["old_value"], row["new_value"]) for row in log] == [
        values[key] for key, _ in expected
    ] + [("6", "10")]
    assert times == sorted(times)
    # Rows of one write lie between the write before it and the clock.
    assert added < times[0]
    assert times[-2] < times[-1] <= company.now
    assert [(stage, pipeline, end) for stage, pipeline, _, end in known_visits(company, deal)] == [
        (7, 2, "changed pipeline"),
        (6, 1, "advanced"),
        (10, 1, "open"),
    ]


@pytest.mark.parametrize("in_changelog", [True, False])
@pytest.mark.parametrize("touches", [True, False])
def test_a_stage_moved_in_the_settings_takes_its_deals_along(
    in_changelog: bool, touches: bool
) -> None:
    company = new(moved_stage_in_changelog=in_changelog, moving_stages_moves_update_time=touches)
    here, won, elsewhere = (
        company.add_deal(name, stage_id=stage)
        for name, stage in (("Here", 12), ("Won", 12), ("Elsewhere", 7))
    )
    company.win_deal(won)
    rows = company.tables["deals"]
    before = {deal: rows[deal]["update_time"] for deal in rows}
    company.move_stage(12, 1)
    stage = company.tables["stages"][12]
    assert (stage["pipeline_id"], stage["order_nr"]) == (1, 5)
    assert [rows[deal]["pipeline_id"] for deal in (here, won, elsewhere)] == [1, 1, 2]
    assert [rows[deal]["update_time"] > before[deal] for deal in (here, won, elsewhere)] == [
        touches,
        touches,
        False,
    ]
    assert rows[here]["stage_change_time"] is None
    assert reported(company, here) == ([("pipeline_id", "2", "1")] if in_changelog else [])
    assert [(s, pipeline, end) for s, pipeline, _, end in known_visits(company, here)] == [
        (12, 2, "changed pipeline"),
        (12, 1, "open"),
    ]
    assert [(s, pipeline, end) for s, pipeline, _, end in known_visits(company, won)] == [
        (12, 2, "won"),
        (12, 1, "won"),
    ]
    assert company.truth.deal_states(won)[-1][2:] == ("won", 12, 1)


def test_a_stage_that_cannot_move(small: Company) -> None:
    with pytest.raises(ValueError, match="already"):
        small.move_stage(7, 2)
    small.move_stage(7, 5, order_nr=1)
    small.move_stage(3, 5)
    small.move_stage(12, 5)
    small.move_stage(4, 5)
    with pytest.raises(ValueError, match="only one"):
        small.move_stage(9, 5)
    small.advance(10)


@pytest.mark.parametrize("on", [True, False])
def test_activities_with_and_without_custom_fields(on: bool) -> None:
    company = Company(seed=3, deals=40, switches=Switches(activities_have_custom_fields=on))
    rows = company.tables["activities"].values()
    assert all(("custom_fields" in row) == on for row in rows)
    code = company.add_field("activity", "Outcome", "varchar")
    if not on:
        with pytest.raises(ValueError, match="no column custom_fields"):
            company.add_activity("Call", custom_fields={code: "Good"})
        return
    values = [value for row in rows for value in row["custom_fields"].values()]
    assert len(values) > len(rows) / 2
    assert {type(value) for value in values} == {int, float}
    call = company.add_activity("Call", custom_fields={code: "Good"})
    company.edit_activity(call, custom_fields={code: "Bad"})
    assert company.tables["activities"][call]["custom_fields"] == {code: "Bad"}
    company.edit_activity(call, custom_fields={code: None})
    assert company.tables["activities"][call]["custom_fields"] == {}
    with pytest.raises(ValueError, match="no custom field"):
        company.edit_activity(call, custom_fields={"0" * 40: 1})


def test_custom_fields_of_activities_change_nothing_else() -> None:
    plain, filled = (
        Company(seed=3, deals=40, switches=Switches(activities_have_custom_fields=on))
        for on in (False, True)
    )
    for event, other in zip(plain.events, filled.events, strict=True):
        changes = {
            key: value
            for key, value in other.changes.items()
            if key != "custom_fields" or event.table != "activities"
        }
        assert (event.time, event.table, event.id, event.action, event.changes) == (
            other.time,
            other.table,
            other.id,
            other.action,
            changes,
        )

"""Writes do what they say, switches both ways, and what cannot be is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest

from pdframe.sandbox.company import Company, Switches


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize(
    ("switch", "write"),
    [
        ("archiving_moves_update_time", lambda c, d: c.archive_deal(d)),
        ("deleting_moves_update_time", lambda c, d: c.delete_deal(d)),
        ("reopening_moves_update_time", lambda c, d: c.reopen_deal(d)),
        ("line_edits_move_update_time", lambda c, d: c.add_line(d, c.add_product("P", 5))),
    ],
)
def test_update_time_moves_as_switched(
    switch: str, on: bool, write: Callable[[Company, int], object]
) -> None:
    company = Company(seed=1, deals=0, switches=Switches(**{switch: on}))
    deal = company.add_deal("One")
    company.win_deal(deal)
    before = company.tables["deals"][deal]["update_time"]
    write(company, deal)
    assert (company.tables["deals"][deal]["update_time"] > before) == on


@pytest.mark.parametrize("setting", ["null", "set"])
def test_stage_change_time_of_a_deal_that_never_moved(setting: Literal["null", "set"]) -> None:
    company = Company(seed=1, deals=0, switches=Switches(stage_change_time_if_never_moved=setting))
    deal = company.tables["deals"][company.add_deal("Still")]
    assert deal["stage_change_time"] == (deal["add_time"] if setting == "set" else None)
    company.move_deal(deal["id"], 12)
    assert deal["stage_change_time"] == deal["update_time"] > deal["add_time"]


@pytest.mark.parametrize("everything", [True, False])
def test_products_count_with_and_without_disabled_lines(everything: bool) -> None:
    company = Company(
        seed=1, deals=0, switches=Switches(products_count_includes_disabled=everything)
    )
    deal, product = company.add_deal("Lines"), company.add_product("P", 5)
    company.add_line(deal, product)
    company.add_line(deal, product, is_enabled=False)
    assert company.deal_counts(deal)["products_count"] == (2 if everything else 1)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        # 100 a month for 6 months, 52 a week for 12 weeks, 500 once less 10 %.
        ("twelve-month", {"mrr": 325.33, "arr": 3904, "acv": 1674}),
        ("term", {"mrr": 102, "arr": 1224, "acv": 1674}),
        ("calendar", {"mrr": 308, "arr": 3696, "acv": 4146}),
    ],
)
def test_three_revenue_formulae(
    formula: Literal["twelve-month", "term", "calendar"], expected: dict[str, float]
) -> None:
    company = Company(seed=1, deals=0, switches=Switches(revenue_formula=formula))
    deal = company.add_deal("Money", value=77)
    row = company.tables["deals"][deal]
    product = company.add_product("P", 100)
    assert (row["value"], row["mrr"]) == (77, None)
    company.add_line(
        deal, product, item_price=100, billing_frequency="monthly", billing_frequency_cycles=6
    )
    company.add_line(
        deal, product, item_price=52, billing_frequency="weekly", billing_frequency_cycles=12
    )
    company.add_line(deal, product, item_price=500)
    company.add_line(deal, product, item_price=9_000, is_enabled=False)
    company.add_discount(deal, 10)
    assert {key: row[key] for key in expected} == expected
    assert row["value"] == 100 + 52 + 450
    company.lose_deal(deal, "Price")
    assert [row["mrr"], row["arr"], row["acv"], row["value"]] == [None, None, None, 602]
    company.reopen_deal(deal)
    assert row["mrr"] == expected["mrr"]
    for line in company.lines_of(deal):
        company.remove_line(line["id"])
    assert [row["mrr"], row["value"]] == [None, 602 - 152 - 450]


def test_sums_with_tax_and_discount(small: Company) -> None:
    deal, product = small.add_deal("Sums"), small.add_product("P", 100, tax=20)
    line = small.add_line(deal, product, quantity=2, discount=10)
    rows = small.tables["deal_products"]
    assert rows[line]["sum"] == small.tables["deals"][deal]["value"] == 216
    small.edit_line(line, tax_method="inclusive")
    assert rows[line]["sum"] == 180
    small.edit_line(line, tax_method="none", discount_type="amount", discount=300)
    assert rows[line]["sum"] == 0
    small.edit_line(line, item_price=-50, discount=0)
    assert rows[line]["sum"] == small.tables["deals"][deal]["value"] == -100


def test_reopening_clears_the_close_but_not_the_first_win(small: Company) -> None:
    deal = small.add_deal("Twice")
    small.win_deal(deal)
    row = small.tables["deals"][deal]
    first = row["won_time"]
    small.reopen_deal(deal)
    assert [
        row[k] for k in ("status", "won_time", "close_time", "local_won_date", "local_close_date")
    ] == ["open", None, None, None, None]
    small.win_deal(deal)
    assert row["won_time"] > first == small.deal_counts(deal)["first_won_time"]


def test_each_write_ticks_and_a_shared_second_does_not(small: Company) -> None:
    start = small.now
    small.add_deal("a")
    assert small.now == start + 1
    with small.same_second() as second:
        ids = [small.add_deal("b"), small.add_deal("c")]
        small.win_deal(ids[0])
    assert second == small.now == start + 2
    many = [small.add_deal(str(i)) for i in range(401)]
    small.bulk_edit(many, owner_id=1010)
    assert len({small.tables["deals"][i]["update_time"] for i in many}) == 1
    with small.same_second(), pytest.raises(ValueError, match="second"):
        small.advance(1)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda c, d: (c.delete_deal(d), c.move_deal(d, 3)), "deleted"),
        (lambda c, d: (c.delete_deal(d), c.delete_deal(d)), "deleted"),
        (lambda c, d: (c.delete_deal(d), c.add_line(d, 1)), "deleted"),
        (lambda c, d: (c.win_deal(d), c.move_deal(d, 3)), "won"),
        (lambda c, d: (c.lose_deal(d), c.win_deal(d)), "lost"),
        (lambda c, d: c.reopen_deal(d), "open already"),
        (lambda c, d: c.unarchive_deal(d), "not archived"),
        (lambda c, d: (c.archive_deal(d), c.archive_deal(d)), "archived already"),
        (lambda c, d: c.move_deal(d, 7), "already"),
        (lambda c, d: c.move_deal(d, 99), "no row 99"),
        (lambda c, d: c.move_deal(999_999, 3), "no row 999999"),
        (lambda c, d: c.edit_deal(d, status="won"), "cannot be set"),
        (lambda c, d: c.edit_deal(d, lost_reason="x"), "only a lost deal"),
        (lambda c, d: c.edit_deal(d, person_id=10**9), "persons"),
        (lambda c, d: c.edit_deal(d, custom_fields={"0" * 40: 1}), "no custom field"),
        (lambda c, d: (c.add_line(d, 1), c.edit_deal(d, value=1)), "line items"),
        (lambda c, d: (c.add_line(d, 1), c.edit_deal(d, currency="USD")), "line items"),
        (
            lambda c, d: c.add_line(
                d, 1, billing_frequency="weekly", billing_frequency_cycles=None
            ),
            "needs cycles",
        ),
        (
            lambda c, d: c.add_line(d, 1, billing_frequency="one-time", billing_frequency_cycles=2),
            "no cycles",
        ),
        (
            lambda c, d: c.add_line(
                d, 1, billing_frequency="monthly", billing_frequency_cycles=209
            ),
            "1 to 208",
        ),
        (lambda c, d: c.add_line(d, 1, billing_frequency="daily"), "none of"),
        (lambda c, d: c.add_line(d, 1, discount=101), "at most 100"),
        (lambda c, d: c.set_installments(d, [(5, "2026-08-01", "x")]), "one-time"),
        (
            lambda c, d: (c.add_line(d, 1), c.set_installments(d, [(5, "2026-08-01", "x")])),
            "recurring",
        ),
        (
            lambda c, d: (
                c.add_line(d, 23),
                c.set_installments(d, [(5, "2026-08-01", "x")]),
                c.add_line(d, 1),
            ),
            "recurring",
        ),
        (
            lambda c, d: (
                c.set_installments(d, []),
                c.remove_line(c.add_line(d, 23)),
                c.remove_line(1_000_000),
            ),
            "no row",
        ),
        (lambda c, d: c.add_field("deal", "x", "int"), "cannot be of type"),
        (lambda c, d: c.rename_field("deal", "title", "x"), "standard field"),
        (lambda c, d: c.add_option("deal", "title", "x"), "standard field"),
        (lambda c, d: c.edit("deals", d, nonsense=1), "cannot be set"),
        (lambda c, d: c.edit("nonsense", 1, a=1), "no table"),
        (lambda c, d: c.delete("stages", 7), "in it"),
        (lambda c, d: c.follow("deal", d, 5), "users"),
        (lambda c, d: c.advance(-1), "back"),
        (lambda c, d: Company(deals=-1), "-1 deals"),
    ],
)
def test_impossible_values_are_refused(
    small: Company, write: Callable[[Company, int], object], words: str
) -> None:
    deal = small.add_deal("Victim", stage_id=7)
    with pytest.raises(ValueError, match=words):
        write(small, deal)


def test_fields_and_options_change_while_rows_hold_on(small: Company) -> None:
    code = small.add_field("deal", "Tier", "enum", ["Gold", "Silver"])
    gold, silver = (o["id"] for o in small.field("deal", code)["options"])
    deal = small.add_deal("Held", custom_fields={code: gold})
    small.rename_option("deal", code, silver, "Bronze")
    bronze = small.add_option("deal", code, "Bronze")
    small.remove_option("deal", code, gold)
    assert small.field("deal", code)["options"] == [
        {"id": silver, "label": "Bronze"},
        {"id": bronze, "label": "Bronze"},
    ]
    assert small.tables["deals"][deal]["custom_fields"] == {code: gold}
    money = small.add_field("deal", "Limit", "monetary")
    small.rename_field("deal", money, "Ceiling")
    assert [s["field_name"] for s in small.field("deal", money)["subfields"]] == [
        "Amount of Ceiling",
        "Currency of Ceiling",
    ]
    small.drop_field("deal", code)
    with pytest.raises(ValueError, match="no field"):
        small.field("deal", code)


def test_followers_and_their_changes(small: Company) -> None:
    deal = small.add_deal("Watched")
    small.follow("deal", deal, 1010)
    small.follow("deal", deal, 1014)
    small.unfollow("deal", deal, 1010)
    assert [f["user_id"] for f in small.followers("deal", deal)] == [1014]
    changes = [(c["action"], c["follower_user_id"]) for c in small.follower_changes("deal", deal)]
    assert changes == [
        ("added", 1010),
        ("added", 1014),
        ("removed", 1010),
    ]
    assert small.deal_counts(deal)["followers_count"] == 1


def test_counts_follow_the_records(small: Company) -> None:
    org, other = small.add_organization("Org"), small.add_organization("Other")
    person = small.add_person("Ann Example", org_id=org)
    deal = small.add_deal("Counted", person_id=person, org_id=org)
    first = small.add_activity("Call", deal_id=deal, person_id=person, due_date="2026-07-02")
    second = small.add_activity("Meet", deal_id=deal, due_date="2026-07-01")
    done = small.add_activity("Mail", deal_id=deal, done=True)
    counts = small.deal_counts(deal)
    assert (
        counts["activities_count"],
        counts["undone_activities_count"],
        counts["next_activity_id"],
        counts["last_activity_id"],
    ) == (
        3,
        2,
        second,
        done,
    )
    small.delete_activity(second)
    assert small.deal_counts(deal)["next_activity_id"] == first
    small.win_deal(deal)
    assert (
        small.person_counts(person)["won_deals_count"]
        == small.organization_counts(org)["closed_deals_count"]
        == 1
    )
    small.edit_deal(deal, org_id=other)
    assert (
        small.organization_counts(org)["won_deals_count"],
        small.organization_counts(org)["related_won_deals_count"],
    ) == (0, 1)
    small.edit("persons", person, org_id=other)
    assert (
        small.organization_counts(org)["people_count"],
        small.organization_counts(other)["people_count"],
    ) == (0, 1)


def test_projects_keep_their_changes(small: Company) -> None:
    project = small.add_project("Build", 2)
    small.edit("projects", project, phase_id=5)
    small.edit("projects", project, status="completed")
    small.archive_project(project)
    log = small.project_changelog(project)
    assert [row["new_values"].keys() for row in log] == [{"phase_id"}, {"status"}, {"archive_time"}]
    assert (log[0]["old_values"], log[0]["new_values"]) == ({"phase_id": 2}, {"phase_id": 5})
    task = small.add_task("Do it", project)
    small.edit("tasks", task, is_done=True)
    assert (
        small.tables["tasks"][task]["marked_as_done_time"]
        == small.tables["tasks"][task]["update_time"]
    )
    with pytest.raises(ValueError, match="not on board"):
        small.edit_project(project, phase_id=2, board_id=9)


def test_hiding_is_of_one_row_and_leaves_it_as_it_was(small: Company) -> None:
    before = dict(small.tables["deals"][1])
    small.hide("deals", 1)
    assert small.hidden == {("deals", 1)}
    assert small.tables["deals"][1] == before

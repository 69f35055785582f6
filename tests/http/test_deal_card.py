"""One deal as a card: what the loaders have of it, what it costs, and what no text of it may do."""

from __future__ import annotations

import unicodedata
import warnings
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pdframe import DataWarning, sandbox
from pdframe.bi.deal_card import Part
from pdframe.errors import ArgumentError, NotCachedError, ResponseError

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*options that are not defined:pdframe.errors.DataWarning"
)
TAGS = {
    "div", "h3", "a", "table", "tr", "th", "td", "h4", "thead", "tbody", "p",
}  # fmt: skip
STYLE = ("style", "text-align: left; padding-right: 1em")
HOSTILE = "<script>alert('1')</script>\"><img src=x onerror=alert(2)>&amp;\x1b[31m\u202eevil\n"


class Page(HTMLParser):
    """The tags, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page_of(card: Any) -> Page:
    page = Page(card._repr_html_())
    assert {*page.tags} <= TAGS
    attributes = [pair for pair in page.attributes if pair != STYLE]
    assert attributes == [("href", card.url)]
    return page


def controls(text: str) -> set[str]:
    """Characters that control a terminal or the direction of text, line ends left out."""
    return {mark for mark in text if unicodedata.category(mark) in ("Cc", "Cf")} - {"\n"}


def paths(account: sandbox.SandboxAccount) -> list[str]:
    return [entry.path for entry in account.server.requests]


def lists_of(account: sandbox.SandboxAccount, name: str, deal: int) -> pd.DataFrame:
    frame = getattr(account, name)(refresh=False, names=True)
    return frame[frame["deal_id"] == deal].reset_index(drop=True)


def test_the_parts_are_what_the_loaders_have(account: sandbox.SandboxAccount) -> None:
    account.sync()
    account.server.reset_stats()
    deals = account.deals(refresh=False, names=True)
    visits = account.stage_visits(refresh=False)
    for place in (0, 20, len(deals) - 1):
        number = int(deals["id"].iloc[place])
        card = account.deal(number)
        assert card.id == number
        assert card.url == account.url("deals", number)
        row = deals.iloc[[place]].reset_index(drop=True)[list(card.frame)]
        pd.testing.assert_frame_equal(card.frame, row, check_categorical=False)
        items = lists_of(account, "deal_products", number)
        pd.testing.assert_frame_equal(card.line_items.frame, items[list(card.line_items.frame)])
        done = lists_of(account, "activities", number)
        assert sorted(card.activities.frame["id"]) == sorted(done["id"])
        own = visits[visits["deal_id"] == number].reset_index(drop=True)
        pd.testing.assert_frame_equal(card.visits.frame[list(own)], own)
        names = account.stages(refresh=False).set_index("id")["name"]
        assert card.visits.frame["stage_name"].to_list() == names[own["stage_id"]].to_list()
        assert (card.visits.frame["days"] >= 0).all()
    assert not account.server.requests


def test_the_cache_costs_nothing_and_the_deal_alone_one_token(
    account: sandbox.SandboxAccount,
) -> None:
    account.sync()
    number = int(account.deals(refresh=False)["id"].iloc[3])
    before = account.tokens_today
    account.server.reset_stats()
    account.deal(number)
    account.deal(number, refresh=False)
    assert account.tokens_today == before
    account.company_model.edit_deal(number, title="New title")
    assert account.deal(number).frame["title"].iloc[0] != "New title"
    card = account.deal(number, refresh=True)
    assert card.frame["title"].iloc[0] == "New title"
    assert account.tokens_today - before == 1
    assert paths(account) == [f"/api/v2/deals/{number}"]
    # Its columns are those of the list, the optional ones included.
    kept = account.deal(number)
    assert list(card.frame) == list(kept.frame)
    same = [name for name in card.frame if name not in ("title", "update_time")]
    pd.testing.assert_frame_equal(card.frame[same], kept.frame[same], check_categorical=False)
    assert "It has changed since: account.sync() brings all of it up to date." in card.note
    assert "It has changed" not in kept.note
    account.sync("deals")
    assert "It has changed" not in account.deal(number, refresh=True).note


def test_a_deal_that_the_cache_lacks_is_requested_alone(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    number = next(row["id"] for row in company.tables["deals"].values() if not row["is_deleted"])
    with pytest.raises(NotCachedError, match=rf"account\.deal\({number}, refresh=True\)"):
        account.deal(number, refresh=False)
    card = account.deal(number)
    assert paths(account) == ["/api/v1/users/me", f"/api/v2/deals/{number}"]
    assert card.frame["title"].iloc[0] == company.row("deals", number)["title"]
    for part in (card.visits, card.line_items, card.activities):
        assert len(part) == 0
        assert "not cached: account.sync() loads them." in repr(part)
    assert "id" in card.line_items.frame
    assert "stage_name" in card.visits.frame
    assert not len(card.changes)
    assert "nothing else is cached" in card.note
    page_of(card)
    # A new deal that no sync has seen yet.
    account.sync("deals", "stages", "deal_products")
    new = company.add_deal("Just in")
    assert account.deal(new).frame["title"].iloc[0] == "Just in"
    assert "It has changed since" in account.deal(new).note


@pytest.mark.parametrize("kind", ["deleted", "archived", "hidden"])
def test_a_deal_in_no_list_is_a_card_as_well(account: sandbox.SandboxAccount, kind: str) -> None:
    company = account.company_model
    account.sync()
    number = next(
        row["id"]
        for row in company.tables["deals"].values()
        if not row["is_deleted"] and company.lines_of(row["id"]) and not row["is_archived"]
    )
    lines = len(account.deal(number).line_items)
    assert lines
    {"deleted": company.delete_deal, "archived": company.archive_deal}.get(
        kind, lambda deal: company.hide("deals", deal)
    )(number)
    account.sync("deals", "deal_products", full=True)
    card = account.deal(number)
    assert len(card.line_items) == lines
    assert card.changes.frame["event"].iloc[-1] == ("archived" if kind == "archived" else "deleted")
    text = repr(card)
    if kind == "archived":
        assert "(archived)" in text
        assert account.deal(number, refresh=True).frame["is_archived"].iloc[0]
    else:
        assert dict(card.facts)["status"] == "deleted"
        with pytest.raises(ArgumentError, match=f"The API has no deal {number}"):
            account.deal(number, refresh=True)


@pytest.mark.parametrize("moves", [True, False])
def test_a_time_that_only_has_bounds_is_not_shown_as_exact(moves: bool) -> None:
    switches = sandbox.Switches(deleting_moves_update_time=moves)
    with sandbox.connect(
        seed=7, deals=60, progress=False, burst=100_000, switches=switches
    ) as account:
        account.sync()
        deals = account.deals(refresh=False, archived=False)
        number = int(deals.loc[deals["status"] == "open", "id"].iloc[0])
        account.advance(days=1)
        account.company_model.delete_deal(number)
        account.advance(days=2)
        account.sync("deals")
        card = account.deal(number)
        visit, deleted = card.visits.frame.iloc[-1], card.changes.frame.iloc[-1]
        assert (visit["end"], deleted["event"]) == ("deleted", "deleted")
        # Snapshots alone show the end of the visit; `update_time` tells the deletion.
        assert pd.notna(visit["left_after"])
        assert pd.isna(deleted["time_after"]) == moves

        def shown(time: pd.Timestamp) -> str:
            return f"{time.tz_convert(account.tz):%Y-%m-%d %H:%M}"

        for text in (repr(card), " ".join(page_of(card).texts)):
            assert f"by {shown(visit['left_at'])}" in text
            assert f"about {visit['days']:,.2f}" in text
            assert shown(visit["entered_at"]) in text
            assert f"by {shown(visit['entered_at'])}" not in text
        deletion = shown(deleted["time"]) if moves else f"by {shown(deleted['time'])}"
        assert dict(card.facts)["deleted"] == deletion
        assert f"  {deletion}  deleted" in repr(card.changes)
        assert ("by: " in repr(card.changes)) != moves


def test_changes_without_a_changelog_are_unknown_and_not_none(
    account: sandbox.SandboxAccount,
) -> None:
    account.sync()
    number = int(account.deals(refresh=False)["id"].iloc[0])
    note = f"account.deal_changes([{number}]) loads it: 20 tokens."
    seen = repr(account.deal(number).changes)
    assert note in seen
    spent = account.tokens_today
    account.deal_changes([number])
    assert account.tokens_today - spent == 20
    assert "changelog" not in repr(account.deal(number).changes)
    # A deal that no sync has seen.
    new = account.company_model.add_deal("Just in")
    empty = account.deal(new).changes
    assert repr(empty).splitlines()[0] == "Changes (unknown)"
    assert f"deal_changes([{new}])" in repr(empty)
    assert len(empty) == 0


def test_a_deal_that_is_requested_warns_of_what_does_not_fit(
    account: sandbox.SandboxAccount,
) -> None:
    account.sync()
    number = int(account.deals(refresh=False, archived=False)["id"].iloc[0])
    noticed = account.warnings()
    account.company_model.tables["deals"][number]["probability"] = "high"
    account.deal(number)
    with pytest.warns(DataWarning, match="column 'probability': 1 value does not fit"):
        card = account.deal(number, refresh=True)
    assert pd.isna(card.frame["probability"].iloc[0])
    # The facts are those of the table of deals.
    assert account.warnings().equals(noticed)


def test_the_changes_show_what_was_undone(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    account.sync()
    number = next(
        row["id"]
        for row in company.tables["deals"].values()
        if row["status"] == "open" and not row["is_deleted"] and not row["is_archived"]
    )
    company.win_deal(number)
    account.sync("deals")
    company.reopen_deal(number)
    account.sync("deals")
    account.deal_changes([number])
    events = account.deal(number).changes.frame
    assert events["event"].iloc[0] == "created"
    assert events["event"].to_list()[-2:] == ["won", "reopened"]
    assert events["url"].iloc[0] == account.url("deals", number)
    listed = account.changes(events["time"].iloc[-2])
    assert listed.loc[listed["deal_id"] == number, "event"].to_list() == ["reopened"]


def test_hostile_texts_are_shown_and_do_nothing(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    row = next(
        row
        for row in company.tables["deals"].values()
        if row["status"] == "open" and not row["is_deleted"] and company.lines_of(row["id"])
    )
    number = row["id"]
    company.edit_deal(number, title=HOSTILE)
    company.lose_deal(number, HOSTILE)
    line = company.lines_of(number)[0]
    for table, id_ in (
        ("stages", row["stage_id"]),
        ("pipelines", row["pipeline_id"]),
        ("users", row["owner_id"]),
        ("organizations", row["org_id"]),
        ("persons", row["person_id"]),
    ):
        if id_ is not None:
            company.tables[table][id_]["name"] = HOSTILE
    company.tables["deal_products"][line["id"]]["name"] = HOSTILE
    company.add_activity(HOSTILE, deal_id=number)
    for field in company.fields["deal"]:
        if field["is_custom_field"]:
            field["field_name"] = f"{HOSTILE}{field['field_name']}"
    account.sync()
    for card in (account.deal(number), account.deal(number, refresh=True)):
        page = page_of(card)
        shown = " ".join(page.texts)
        clean = "".join(mark if mark.isprintable() else " " for mark in HOSTILE)
        # In the head, four names, the reason, a line item, an activity: in full or cut.
        assert shown.count(clean[:40]) >= 6
        assert f"Deal {number}: {clean}" in shown
        for text in (repr(card), card._repr_html_(), *map(repr, (card.visits, card.activities))):
            assert not controls(text)
        assert "<script" not in card._repr_html_()
        assert "onerror=alert(2)>" not in card._repr_html_()


def test_every_deal_of_the_hostile_company_is_a_card(account: sandbox.SandboxAccount) -> None:
    account.sync()
    account.advance(days=3)
    account.sync()
    for number in account.deals(deleted=True)["id"]:
        card = account.deal(number, refresh=False)
        page = page_of(card)
        title = card.frame["title"].iloc[0]
        if isinstance(title, str):
            clean = "".join(mark if mark.isprintable() else " " for mark in title)
            assert f"Deal {number}: {clean}" in "".join(page.texts)
        assert not controls(repr(card))
        assert repr(card).splitlines()[1] == card.url


def test_a_long_part_shows_its_newest_rows(account: sandbox.SandboxAccount) -> None:
    company = account.company_model
    account.sync()
    number = int(account.deals(refresh=False)["id"].iloc[0])
    had = len(account.deal(number).activities)
    for day in range(1, 21):
        company.add_activity(f"Call {day}", deal_id=number, due_date=f"2031-01-{day:02d}")
    account.sync("activities")
    part = account.deal(number).activities
    assert len(part) == had + 20
    assert len(part.frame) == had + 20
    text = repr(part)
    assert f"Activities ({had + 20})" in text
    assert "Call 20" in text
    assert "Call 8" not in text
    assert ".frame has all" in text


@pytest.mark.parametrize("form", ["{}", "{}/", " {}?tab=notes#x", "{}/activities"])
def test_the_address_of_a_deal_is_its_card(account: sandbox.SandboxAccount, form: str) -> None:
    account.sync("deals")
    address = form.format(account.url("deals", 2))
    before = account.server.stats.requests
    for given in (address, address.replace("https://", "").upper().replace("/DEAL/", "/deal/")):
        card = account.deal(given)
        assert (card.id, card.frame["id"].tolist()) == (2, [2])
    assert account.deal("2").id == 2
    assert account.server.stats.requests == before


def test_the_title_of_a_deal_leads_to_its_search(account: sandbox.SandboxAccount) -> None:
    deals = account.deals()
    deal = deals[deals["title"].str.len().between(5, 40)].iloc[0]
    with pytest.raises(ArgumentError) as refused:
        account.deal(deal["title"])
    call = str(refused.value).partition("title: ")[2].removesuffix(".")
    items = eval(call, {"account": account})  # noqa: S307
    assert deal["id"] in items["id"].tolist()


@pytest.mark.parametrize(
    ("number", "how", "message"),
    [
        ("two", {}, "id must be the id of a deal, such as 17, not 'two'"),
        (" Big deal ", {}, r"Find it by its title: account\.search\('Big deal', 'deal'\)"),
        (
            "https://acme.pipedrive.com/person/12",
            {},
            r"is the page of a person, not of a deal\. .*deals\[deals\['person_id'\] == 12\]",
        ),
        ("https://acme.pipedrive.com/organization/7/x", {}, r"deals\['org_id'\] == 7\]"),
        ("acme.pipedrive.com/product/3", {}, r"page of a product.*lines\['product_id'\] == 3\]"),
        ("https://acme.pipedrive.com/projects/9", {}, r"projects\['id'\] == 9\]"),
        ("https://acme.pipedrive.com/board/12", {}, r"Find it by its title: account\.search"),
        ("https://[acme/deal/12", {}, "id must be the id of a deal"),
        ("https://other.pipedrive.com/deal/2", {}, r"page of 'other\.pipedrive\.com', and this"),
        ("", {}, "not ''"),
        ("0", {}, "not '0'"),
        (True, {}, "not True"),
        (0, {}, "not 0"),
        (-3, {}, "not -3"),
        (1.5, {}, r"not 1\.5"),
        (None, {}, "not None"),
        (2, {"refresh": "full"}, "refresh must be None, True or False, not 'full'"),
        (2**70, {}, "id must be"),
        (999_999, {}, "The API has no deal 999999"),
        (999_999, {"refresh": True}, "deleted, merged into another, or never existed"),
    ],
)
def test_a_wrong_argument_is_an_error(
    account: sandbox.SandboxAccount, number: Any, how: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        account.deal(number, **how)


def test_ids_of_frames_are_ids(account: sandbox.SandboxAccount) -> None:
    deals = account.deals()
    number = deals["id"].iloc[0]
    assert account.deal(np.int64(number)).id == account.deal(deals.loc[0, "id"]).id == number


def test_another_record_in_the_answer_is_refused(
    account: sandbox.SandboxAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.deals()
    first, second = account.deals()["id"].head(2)
    row = account.company_model.tables["deals"]
    monkeypatch.setitem(row, first, {**row[second]})
    with pytest.raises(ResponseError, match=f"The answer for deal {first} is another record"):
        account.deal(first, refresh=True)


def test_a_deal_as_it_is_now_says_nothing_of_lists_that_are_not_cached(
    account: sandbox.SandboxAccount,
) -> None:
    number = int(account.deals()["id"].iloc[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert account.deal(number, refresh=True).frame["org_name"].isna().all()


def test_activities_without_a_day_are_not_the_newest(account: sandbox.SandboxAccount) -> None:
    account.sync()
    number = int(account.deals(refresh=False)["id"].iloc[0])
    for day in range(1, 4):
        account.company_model.add_activity(f"Undated {day}", deal_id=number, due_date=None)
    for day in range(1, 13):
        account.company_model.add_activity(f"Call {day}", deal_id=number, due_date="2031-01-01")
    account.sync("activities")
    shown = repr(account.deal(number).activities)
    assert "Undated" not in shown
    assert [shown.count(f"Call {day}") > 0 for day in range(1, 13)] == [True] * 12


@pytest.mark.parametrize("tz", ["Europe/Tallinn", "America/New_York"])
def test_the_first_and_the_last_time_that_can_be_written_are_shown(tz: str) -> None:
    for time, day in (("0001-01-01 00:00:00", "1-01-01"), ("9999-12-31 23:59:59", "9999-12-31")):
        row = pd.DataFrame({"won_time": pd.Series([time]).astype("datetime64[us, UTC]")})
        assert day in repr(Part("Wins", row, ["won_time"], "", tz))


@pytest.mark.parametrize(
    "address",
    [
        "https://other.pipedrive.com/deal/2?api_token=SECRET",
        "https://me:SECRET@other.pipedrive.com/deal/2#SECRET",
        "https://a.pipedrive.com/v1/deals/2?api_token=SECRET",
        "a.pipedrive.com/v1/deals/2?API_TOKEN=SECRET",
    ],
)
def test_the_error_of_an_address_holds_no_credential(
    account: sandbox.SandboxAccount, address: str
) -> None:
    with pytest.raises(ArgumentError, match=r"pipedrive\.com/") as refused:
        account.deal(address)
    assert "SECRET" not in str(refused.value)

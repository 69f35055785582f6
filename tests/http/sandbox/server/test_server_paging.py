"""Walks: what a cursor promises, and how it is refused."""

import base64
import json

import pytest

from pdframe.sandbox.company import Company, Switches
from tests.helpers.server_wire import fetch, get, ids, pages, walk


def alive(company, table, archived=None):
    return [
        row
        for i, row in company.tables[table].items()
        if (table, i) not in company.deleted_at
        and not row.get("is_deleted")
        and (table, i) not in company.hidden
        and (
            archived is None or bool(row.get("is_archived") or row.get("archive_time")) is archived
        )
    ]


@pytest.mark.parametrize("limit", [1, 7, 100, 400, 401, 500])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_401_deals_of_one_second_are_walked_once_each(serve, limit, direction):
    company = Company(seed=1, deals=0)
    with company.same_second():
        made = [company.add_deal(f"Deal {n}") for n in range(401)]
    server = serve(company)
    if limit == 1:
        made = made[:40]
    result = pages(
        server,
        "deals",
        limit=limit,
        sort_by="update_time",
        sort_direction=direction,
        **({"ids": ",".join(map(str, made))} if limit == 1 else {}),
    )
    expected = made if direction == "asc" else made[::-1]
    assert [i for page in result for i in ids(page)] == expected
    assert all(len(page) == limit for page in result[:-1])
    assert result[-1], "the last page is never empty"


@pytest.mark.parametrize(
    ("path", "table", "archived", "fields"),
    [
        ("deals", "deals", False, ("id", "update_time", "add_time")),
        ("deals/archived", "deals", True, ("id", "update_time", "add_time")),
        ("activities", "activities", None, ("id", "update_time", "add_time", "due_date")),
        ("persons", "persons", None, ("id", "update_time", "add_time")),
        ("organizations", "organizations", None, ("id", "update_time", "add_time")),
        ("products", "products", None, ("id", "name", "add_time", "update_time")),
        ("stages", "stages", None, ("id", "update_time", "add_time", "order_nr")),
        ("pipelines", "pipelines", None, ("id", "update_time", "add_time")),
    ],
)
def test_every_sorting_walks_every_row_once_in_order(
    company, server, path, table, archived, fields
):
    expected = alive(company, table, archived)
    assert expected
    for field in fields:
        for direction in ("asc", "desc"):
            rows = walk(server, path, sort_by=field, sort_direction=direction, limit=61)
            assert sorted(ids(rows)) == sorted(ids(expected))
            keys = [(row.get(field) is not None, row.get(field), row["id"]) for row in rows]
            assert keys == sorted(keys, reverse=direction == "desc")
        assert get(server, path, sort_by="nothing").status == 400
    assert get(server, path, sort_direction="up").status == 400


@pytest.mark.parametrize(
    "path",
    [
        "projects",
        "projects/archived",
        "projectTemplates",
        "tasks",
        "dealFields",
        "personFields",
        "activityFields",
    ],
)
def test_lists_without_sorting_page_to_the_end(company, server, path):
    rows = walk(server, path, limit=3)
    key = "field_code" if path.endswith("Fields") else "id"
    assert [row[key] for row in rows] == [row[key] for row in walk(server, path)]
    assert len({row[key] for row in rows}) == len(rows) > 0


def test_edits_between_pages_neither_repeat_nor_skip_a_row_sorted_by_id(serve, new_company):
    made = [new_company.add_deal(f"Deal {n}") for n in range(30)]
    server = serve(new_company)
    seen, cursor = [], None
    while True:
        reply = get(server, "deals", limit=4, **({"cursor": cursor} if cursor else {}))
        seen += ids(reply.data)
        cursor = reply.cursor
        if not cursor:
            break
        new_company.edit_deal(made[len(seen) % 30], title=f"Changed at {len(seen)}")
    assert seen == made


def test_an_edited_deal_moves_to_the_end_of_a_walk_by_update_time(serve, new_company):
    made = [new_company.add_deal(f"Deal {n}") for n in range(6)]
    server = serve(new_company)
    first = get(server, "deals", limit=3, sort_by="update_time")
    new_company.edit_deal(made[0], title="Again")
    rest = get(server, "deals", limit=500, sort_by="update_time", cursor=first.cursor)
    assert ids(first.data) + ids(rest.data) == [*made, made[0]]


def test_a_row_deleted_between_pages_does_not_lose_its_neighbours(serve, new_company):
    made = [new_company.add_deal(f"Deal {n}") for n in range(6)]
    server = serve(new_company)
    first = get(server, "deals", limit=3)
    new_company.delete_deal(made[2])
    new_company.delete_deal(made[3])
    assert ids(get(server, "deals", limit=3, cursor=first.cursor).data) == made[4:]


@pytest.mark.parametrize("limit", ["0", "-1", "501", "x", "1e2", "9" * 400, "١٠"])
def test_wrong_limits_are_refused(server, limit):
    assert get(server, "deals", limit=limit).status == 400


def test_the_default_page_has_100_rows(company, server):
    assert len(get(server, "deals").data) == 100
    assert len(get(server, "deals", limit="").data) == 100


def test_broken_and_foreign_cursors_are_refused(server):
    cursor = get(server, "deals", limit=2).cursor
    mark = json.loads(base64.urlsafe_b64decode(cursor + "=="))
    forged = [
        {**mark, "fieldValue": "text"},
        {**mark, "fieldValue": {}},
        {**mark, "id": [1]},
        {**mark, "at": None},
        {},
        [],
        7,
        None,
    ]
    texts = [
        "%%%not-a-cursor",
        "x",
        "ÿ",
        cursor[:-6],
        *(base64.urlsafe_b64encode(json.dumps(f).encode()).decode() for f in forged),
    ]
    for text in [*texts, base64.b64encode(b"[" * 5_000).decode()]:
        assert get(server, "deals", cursor=text).status == 400, text
    assert get(server, "persons", cursor=cursor).status == 400
    assert get(server, "deals", cursor=cursor, sort_by="update_time").status == 400
    assert get(server, "deals", cursor=cursor, sort_direction="desc").status == 400
    changes = get(server, "dealFields", limit=1).cursor
    assert get(server, "personFields", cursor=changes).status == 400


def test_cursors_expire_on_demand_and_by_their_lifetime(serve, new_company):
    for n in range(3):
        new_company.add_deal(f"Deal {n}")
    server = serve(new_company)
    cursor = get(server, "deals", limit=1).cursor
    assert get(server, "deals", cursor=cursor).status == 200
    server.expire_cursors()
    assert get(server, "deals", cursor=cursor).status == 400
    assert get(server, "deals", cursor=get(server, "deals", limit=1).cursor).status == 200

    hasty = Company(seed=1, deals=0, switches=Switches(cursor_lifetime=-1.0))
    for n in range(3):
        hasty.add_deal(f"Deal {n}")
    server = serve(hasty)
    assert get(server, "deals", cursor=get(server, "deals", limit=1).cursor).status == 400


def test_boards_phases_discounts_and_permitted_users_do_not_page(company, server):
    boards = get(server, "boards")
    assert len(boards.data) == len(company.tables["boards"])
    board = boards.data[0]["id"]
    assert {row["board_id"] for row in get(server, "phases", board_id=board).data} == {board}
    assert get(server, "phases").status == 400
    assert get(server, "phases", board_id=999_999).status == 404
    project = get(server, "projects", limit=1).data[0]["id"]
    assert set(get(server, f"projects/{project}/permittedUsers").data) <= set(
        company.tables["users"]
    )
    deal = next(iter(company.tables["discounts"].values()))["deal_id"]
    rows = get(server, f"deals/{deal}/discounts").data
    assert {row["deal_id"] for row in rows} == {deal}
    for path in (
        "boards",
        "phases",
        f"deals/{deal}/discounts",
        f"projects/{project}/permittedUsers",
    ):
        assert get(server, path, limit=1, board_id=board).status == 400


def test_line_items_and_installments_page_in_both_spellings_of_deal_ids(company, server):
    for path, table in (
        ("deals/products", "deal_products"),
        ("deals/installments", "installments"),
    ):
        visible = {row["id"] for row in alive(company, "deals")}
        parts = [row for row in company.tables[table].values() if row["deal_id"] in visible]
        assert parts
        deals = sorted({row["deal_id"] for row in parts})[:100]
        expected = [row["id"] for row in parts if row["deal_id"] in deals]
        comma = ",".join(map(str, deals))
        assert ids(walk(server, path, deal_ids=comma, limit=5)) == expected
        repeated = fetch(
            server, f"/api/v2/{path}", [("deal_ids", i) for i in deals] + [("limit", 500)]
        )
        assert ids(repeated.data) == expected[:500]
        down = walk(server, path, deal_ids=comma, limit=5, sort_by="deal_id", sort_direction="desc")
        assert [row["deal_id"] for row in down] == sorted(
            (row["deal_id"] for row in down), reverse=True
        )
        for bad in (
            {},
            {"deal_ids": ""},
            {"deal_ids": "1,x"},
            {"deal_ids": ",".join(map(str, range(1, 102)))},
        ):
            assert get(server, path, **bad).status == 400
        assert get(server, path, deal_ids="999999999").data == []
    assert get(server, "deals/installments", deal_ids="1", sort_by="order_nr").status == 400


def test_one_deals_line_items(company, server):
    row = next(
        r
        for r in company.tables["deal_products"].values()
        if r["deal_id"] in {d["id"] for d in alive(company, "deals")}
    )
    result = walk(server, f"deals/{row['deal_id']}/products", limit=1)
    assert ids(result) == [
        r["id"] for r in company.tables["deal_products"].values() if r["deal_id"] == row["deal_id"]
    ]


def test_changelogs_are_newest_first_and_new_rows_do_not_shift_pages(serve, new_company):
    deal = new_company.add_deal("Deal 0")
    for n in range(1, 8):
        new_company.edit_deal(deal, title=f"Deal {n}")
    server = serve(new_company)
    first = get(server, f"/api/v1/deals/{deal}/changelog", limit=3)
    assert [row["new_value"] for row in first.data] == ["Deal 7", "Deal 6", "Deal 5"]
    new_company.edit_deal(deal, title="Deal 8")
    second = get(server, f"/api/v1/deals/{deal}/changelog", limit=3, cursor=first.cursor)
    assert [row["new_value"] for row in second.data] == ["Deal 4", "Deal 3", "Deal 2"]
    full = walk(server, f"/api/v1/deals/{deal}/changelog", limit=2)
    assert [row["time"] for row in full] == sorted((row["time"] for row in full), reverse=True)
    assert get(server, f"/api/v1/deals/{deal}/changelog", limit=3, cursor="x").status == 400


def test_project_changes_and_followers(company, server):
    project = next(i for i in ids(walk(server, "projects")) if company.project_changelog(i))
    rows = walk(server, f"projects/{project}/changelog", limit=1)
    assert rows == company.project_changelog(project)[::-1]
    for path, entity in (
        ("deals", "deal"),
        ("persons", "person"),
        ("organizations", "organization"),
        ("products", "product"),
    ):
        followed = next(i for i in ids(walk(server, path)) if company.followers(entity, i))
        assert walk(server, f"{path}/{followed}/followers", limit=1) == company.followers(
            entity, followed
        )
        assert walk(
            server, f"{path}/{followed}/followers/changelog", limit=1
        ) == company.follower_changes(entity, followed)
        assert get(server, f"{path}/999999999/followers").status == 404
    assert get(server, f"users/{company.me}/followers").data == company.followers(
        "user", company.me
    )

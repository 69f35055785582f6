"""Pages by cursor: complete lists, or an error."""

import pytest

from pdframe.api.pagination import MAX_EMPTY_PAGES, MAX_REPEATED_PAGES, paginate
from pdframe.errors import AccessError, ArgumentError, ResponseError
from tests.helpers.scripted_server import Reply, data, fail


def rows_of(pages):
    return [row["id"] for page in pages for row in page.rows]


def test_every_page_is_fetched_with_all_filters(server, client):
    server.replies = [data([{"id": 1}], "c1"), data([{"id": 2}], "c/2+="), data([{"id": 3}])]
    assert rows_of(
        paginate(client, "/deals", {"status": "open", "updated_since": None}, cost=10)
    ) == [
        1,
        2,
        3,
    ]
    assert [seen.params for seen in server.seen] == [
        {"status": "open", "limit": "500"},
        {"status": "open", "limit": "500", "cursor": "c1"},
        {"status": "open", "limit": "500", "cursor": "c/2+="},
    ]
    assert client.budget.tokens_today == 30


def test_a_walk_goes_on_from_a_cursor(server, client):
    server.replies = [data([{"id": 9}])]
    pages = list(paginate(client, "/users", None, cost=20, api="v1", limit=100, start="c7"))
    assert rows_of(pages) == [9]
    assert server.seen[0].path == "/api/v1/users"
    assert server.seen[0].params == {"limit": "100", "cursor": "c7"}


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b',"additional_data":null',
        b',"additional_data":{}',
        b',"additional_data":{"next_cursor":""}',
        b',"additional_data":[]',
    ],
)
def test_a_missing_cursor_ends_the_walk(server, client, tail):
    server.replies = [Reply(200, b'{"success":true,"data":[{"id":1}]' + tail + b"}")]
    assert rows_of(paginate(client, "/deals", {}, cost=10)) == [1]


@pytest.mark.parametrize(
    "tail",
    [
        b'"c1"',
        b"[1]",
        b'{"next_cursor":7}',
        b'{"more_items_in_collection":true}',
        b'{"next_cursor":null,"pagination":{"start":0,"limit":500,'
        b'"more_items_in_collection":true,"next_start":500}}',
    ],
)
def test_an_answer_that_does_not_say_where_the_rest_is_is_no_last_page(server, client, tail):
    server.replies = [
        Reply(200, b'{"success":true,"data":[{"id":1}],"additional_data":' + tail + b"}")
    ]
    with pytest.raises(ResponseError, match="None of it is used"):
        list(paginate(client, "/deals", {}, cost=10))


def test_null_data_is_a_page_without_rows(server, client):
    server.replies = [Reply(200, b'{"success":true,"data":null}')]
    assert rows_of(paginate(client, "/deals", {}, cost=10)) == []


def test_pages_without_rows_are_followed(server, client):
    server.replies = [data([{"id": 1}], "c1"), data([], "c2"), data([], "c3"), data([{"id": 2}])]
    assert rows_of(paginate(client, "/deals", {}, cost=10)) == [1, 2]


def test_pages_without_rows_have_an_end(server, client):
    server.last = lambda seen: data([], f"c{len(server.seen)}")
    with pytest.raises(ResponseError, match="without rows"):
        list(paginate(client, "/deals", {}, cost=10))
    assert len(server.seen) == MAX_EMPTY_PAGES + 1


@pytest.mark.parametrize("cursors", [["a", "a"], ["a", "b", "a"], ["a", "b", "c", "b"]])
def test_a_cursor_that_comes_back_is_an_error(server, client, cursors):
    server.replies = [data([{"id": number}], cursor) for number, cursor in enumerate(cursors)]
    with pytest.raises(ResponseError, match="same cursor twice"):
        list(paginate(client, "/deals", {}, cost=10))
    assert len(server.seen) == len(cursors)


def test_the_cursor_it_started_from_must_not_come_back(server, client):
    server.replies = [data([{"id": 1}], "c7")]
    with pytest.raises(ResponseError, match="same cursor twice"):
        list(paginate(client, "/deals", {}, cost=10, start="c7"))


def test_data_that_is_no_list_is_an_error(server, client):
    server.replies = [Reply(200, b'{"success":true,"data":{"id":1}}')]
    with pytest.raises(ResponseError, match="list of rows"):
        list(paginate(client, "/deals", {}, cost=10))


def test_an_error_in_the_middle_is_an_error_of_the_walk(server, client):
    server.replies = [data([{"id": 1}], "c1"), fail(403, "Forbidden")]
    pages = paginate(client, "/deals", {}, cost=10)
    assert next(pages).next_cursor == "c1"
    with pytest.raises(AccessError):
        next(pages)


@pytest.mark.parametrize("name", ["limit", "cursor"])
def test_limit_and_cursor_are_set_by_the_pagination_alone(client, name):
    with pytest.raises(ArgumentError, match="start="):
        list(paginate(client, "/deals", {name: 1}, cost=10))


@pytest.mark.parametrize(
    "cursor",
    ["c" * 10_000_000, "é" * 9_000, "c" * 17_000],
    ids=["10 MB", "long when quoted", "too long"],
)
def test_a_cursor_that_no_request_can_carry_is_the_server_s_fault(server, client, cursor):
    server.replies = [data([{"id": 1}], cursor)]
    with pytest.raises(ResponseError, match=f"a cursor of {len(cursor):,} characters"):
        list(paginate(client, "/deals", {}, cost=10))
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "cursor",
    [
        "\r\nx-api-token: other",
        "\x00",
        "\x7f",
        "\u2028",
        "%0d%0a",
        "a b",
        "../../users/me?x=",
        "?&=#",
        "c" * 16_000,
    ],
)
def test_a_cursor_comes_back_as_it_was_given(server, client, cursor):
    server.replies = [data([{"id": 1}], cursor), data([{"id": 2}])]
    assert rows_of(paginate(client, "/deals", {}, cost=10)) == [1, 2]
    assert (server.seen[1].path, server.seen[1].params["cursor"]) == ("/api/v2/deals", cursor)


REPEATED = {
    "one row": lambda number: [{"id": 1}],
    "no id": lambda number: [{"time": "2026-01-01", "field_key": "value"}],
    "three pages in turn": lambda number: [
        {"id": number % 3, "update_time": "2026-01-01T00:00:00Z"}
    ],
    "forty pages in turn": lambda number: [
        {"id": number % 40 * 2 + part, "name": "x"} for part in (0, 1)
    ],
    "in another order": lambda number: [{"id": (number + part) % 3} for part in range(3)],
    "between pages without rows": lambda number: [{"id": 1}] if number % 2 else [],
    "items": lambda number: {"items": [{"result_score": 1, "item": {"id": 3}}]},
}


@pytest.mark.parametrize("kind", REPEATED)
def test_a_list_that_brings_the_same_rows_with_new_cursors_ends(server, client, kind):
    server.last = lambda seen: data(REPEATED[kind](len(server.seen)), f"c{len(server.seen)}")
    with pytest.raises(
        ResponseError,
        match=r"pages that repeat rows of earlier pages, each with a new cursor.*load it again",
    ):
        list(paginate(client, "/deals", {}, cost=10))
    new = {"three pages in turn": 3, "forty pages in turn": 40}.get(kind, 1)
    assert len(server.seen) <= 2 * (new + MAX_REPEATED_PAGES)


def test_rows_that_are_edited_meanwhile_are_new_ones(server, client):
    """An update in a list by `update_time` moves a row to its end: it comes again, and that is no
    repetition.
    """
    pages = [
        data([{"id": 1, "update_time": f"2026-01-01T00:00:{number:02}Z"}], f"c{number}")
        for number in range(30)
    ]
    server.replies = [*pages, data([{"id": 2}])]
    assert rows_of(paginate(client, "/deals", {}, cost=10)) == [1] * 30 + [2]


def test_a_few_pages_that_bring_nothing_new_are_passed_over(server, client):
    again = [data([{"id": 1}], f"c{number}") for number in range(MAX_REPEATED_PAGES)]
    server.replies = [
        *again,
        data([{"id": 2}], "d"),
        *[data([{"id": 2}], f"e{n}") for n in range(MAX_REPEATED_PAGES - 1)],
        data([{"id": 3}]),
    ]
    assert set(rows_of(paginate(client, "/deals", {}, cost=10))) == {1, 2, 3}

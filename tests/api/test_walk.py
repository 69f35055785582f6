"""Cursor walks: whole lists, or an error."""

import pytest
from scripted import Reply, data, fail

from pdframe.api.walk import MOST_EMPTY_PAGES, walk
from pdframe.errors import AccessError, ArgumentError, ResponseError


def rows_of(pages):
    return [row["id"] for page in pages for row in page.rows]


def test_every_page_is_asked_with_all_filters(server, client):
    server.replies = [data([{"id": 1}], "c1"), data([{"id": 2}], "c/2+="), data([{"id": 3}])]
    assert rows_of(walk(client, "/deals", {"status": "open", "updated_since": None}, cost=10)) == [1, 2, 3]
    assert [seen.params for seen in server.seen] == [
        {"status": "open", "limit": "500"},
        {"status": "open", "limit": "500", "cursor": "c1"},
        {"status": "open", "limit": "500", "cursor": "c/2+="},
    ]
    assert client.ledger.tokens_today == 30


def test_a_walk_goes_on_from_a_cursor(server, client):
    server.replies = [data([{"id": 9}])]
    pages = list(walk(client, "/users", None, cost=20, api="v1", limit=100, start="c7"))
    assert rows_of(pages) == [9]
    assert server.seen[0].path == "/api/v1/users"
    assert server.seen[0].params == {"limit": "100", "cursor": "c7"}


@pytest.mark.parametrize(
    "tail", [b"", b',"additional_data":null', b',"additional_data":{}', b',"additional_data":{"next_cursor":""}', b',"additional_data":[]']
)
def test_a_missing_cursor_ends_the_walk(server, client, tail):
    server.replies = [Reply(200, b'{"success":true,"data":[{"id":1}]' + tail + b"}")]
    assert rows_of(walk(client, "/deals", {}, cost=10)) == [1]


@pytest.mark.parametrize(
    "tail",
    [
        b'"c1"',
        b"[1]",
        b'{"next_cursor":7}',
        b'{"more_items_in_collection":true}',
        b'{"next_cursor":null,"pagination":{"start":0,"limit":500,"more_items_in_collection":true,"next_start":500}}',
    ],
)
def test_an_answer_that_does_not_say_where_the_rest_is_is_no_last_page(server, client, tail):
    server.replies = [Reply(200, b'{"success":true,"data":[{"id":1}],"additional_data":' + tail + b"}")]
    with pytest.raises(ResponseError, match="Nothing of it is used"):
        list(walk(client, "/deals", {}, cost=10))


def test_null_data_is_a_page_without_rows(server, client):
    server.replies = [Reply(200, b'{"success":true,"data":null}')]
    assert rows_of(walk(client, "/deals", {}, cost=10)) == []


def test_pages_without_rows_are_followed(server, client):
    server.replies = [data([{"id": 1}], "c1"), data([], "c2"), data([], "c3"), data([{"id": 2}])]
    assert rows_of(walk(client, "/deals", {}, cost=10)) == [1, 2]


def test_pages_without_rows_have_an_end(server, client):
    server.last = lambda seen: data([], f"c{len(server.seen)}")
    with pytest.raises(ResponseError, match="without rows"):
        list(walk(client, "/deals", {}, cost=10))
    assert len(server.seen) == MOST_EMPTY_PAGES + 1


@pytest.mark.parametrize("cursors", [["a", "a"], ["a", "b", "a"], ["a", "b", "c", "b"]])
def test_a_cursor_that_comes_back_is_an_error(server, client, cursors):
    server.replies = [data([{"id": number}], cursor) for number, cursor in enumerate(cursors)]
    with pytest.raises(ResponseError, match="same cursor twice"):
        list(walk(client, "/deals", {}, cost=10))
    assert len(server.seen) == len(cursors)


def test_the_cursor_it_started_from_must_not_come_back(server, client):
    server.replies = [data([{"id": 1}], "c7")]
    with pytest.raises(ResponseError, match="same cursor twice"):
        list(walk(client, "/deals", {}, cost=10, start="c7"))


def test_data_that_is_no_list_is_an_error(server, client):
    server.replies = [Reply(200, b'{"success":true,"data":{"id":1}}')]
    with pytest.raises(ResponseError, match="list of rows"):
        list(walk(client, "/deals", {}, cost=10))


def test_an_error_in_the_middle_is_an_error_of_the_walk(server, client):
    server.replies = [data([{"id": 1}], "c1"), fail(403, "Forbidden")]
    pages = walk(client, "/deals", {}, cost=10)
    assert next(pages).next_cursor == "c1"
    with pytest.raises(AccessError):
        next(pages)


@pytest.mark.parametrize("name", ["limit", "cursor"])
def test_limit_and_cursor_are_the_walk_s_own(client, name):
    with pytest.raises(ArgumentError, match="start="):
        list(walk(client, "/deals", {name: 1}, cost=10))

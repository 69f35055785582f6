"""What the client makes of answers: data, retries, or a typed error with the way out."""

import asyncio
import copy
import gzip
import json
import pickle
import threading
from datetime import UTC, datetime

import httpx
import pytest

from pdframe import errors
from pdframe.api.client import Client
from pdframe.api.credentials import ApiToken
from pdframe.api.limits import RateLimiter, TokenBudget
from pdframe.frames import to_arrow
from pdframe.schema import TABLES
from tests.helpers.scripted_server import FakeTime, Reply, data, fail, html, zipped


def test_a_page_is_rows_cursor_time_and_size(server, client, token):
    server.replies = [data([{"id": 1}], "next")]
    page = client.get_json(
        "/deals", {"limit": 500, "cursor": None, "ids": [1, 2], "flag": True}, cost=10
    )
    assert (page.rows, page.next_cursor, page.tokens) == ([{"id": 1}], "next", 10)
    assert page.server_time == datetime(2026, 6, 30, 12, tzinfo=UTC)
    assert page.size == len(
        json.dumps(
            {"success": True, "data": [{"id": 1}], "additional_data": {"next_cursor": "next"}}
        )
    )
    seen = server.seen[0]
    assert (seen.method, seen.path) == ("GET", "/api/v2/deals")
    assert seen.params == {"limit": "500", "ids": "1,2", "flag": "true"}
    headers = {name.lower(): value for name, value in seen.headers.items()}
    assert headers["x-api-token"] == token
    assert headers["accept-encoding"] == "gzip"
    assert headers["user-agent"].startswith("pdframe")


def test_an_answer_is_bytes_and_payload_without_showing_either(server, client):
    server.replies = [data([{"name": "Ada"}], x_request_id="r1")]
    answer = client.get("/users", cost=20, api="v1")
    assert server.seen[0].path == "/api/v1/users"
    assert json.loads(answer.body) == answer.payload
    assert (answer.status, answer.tokens, answer.headers["x-request-id"]) == (200, 20, "r1")
    assert "Ada" not in repr(answer)


def test_null_data_is_a_list_without_rows(server, client):
    server.replies = [Reply(200, b'{"success":true,"data":null,"additional_data":null}')]
    page = client.get_json("/users", cost=20, api="v1")
    assert (page.rows, page.next_cursor) == ([], None)


def test_items_of_a_search_are_rows(server, client):
    server.replies = [
        Reply(200, b'{"success":true,"data":{"items":[{"item":{"id":1}}],"related_items":[]}}')
    ]
    assert client.get_json("/itemSearch", {"term": "x"}, cost=20).rows == [{"item": {"id": 1}}]


@pytest.mark.parametrize(
    "body", [b'{"data":{"id":1}}', b'{"data":7}', b'{"data":[1,2]}', b'{"data":[null]}']
)
def test_rows_are_objects_or_an_error(server, client, body):
    server.replies = [Reply(200, body)]
    page = client.get_json("/deals", cost=10)
    with pytest.raises(errors.ResponseError, match="list of rows"):
        _ = page.rows


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"[]", "no object"),
        (b"null", "no object"),
        (b'{"success":true}', "without data"),
        (b'{"data":[],"additional_data":{"next_cursor":7}}', "cursor that is no text"),
        (
            b'{"success":false,"error":"Something\\nbroke","data":[{"id":1}]}',
            r'success: false \("Something broke"\)',
        ),
        (b"<html><title>Log in</title></html>", r'web page \("Log in"\)'),
        (b"  \n<!doctype html>", "web page instead"),
    ],
)
def test_a_200_that_cannot_be_used_is_an_error_at_once(server, client, body, match):
    server.replies = [Reply(200, body)]
    with pytest.raises(errors.ResponseError, match=match) as caught:
        client.get_json("/deals", cost=10)
    assert caught.value.status == 200
    assert len(server.seen) == 1
    assert client.budget.tokens_today == 10


def test_html_is_known_by_its_content_type(server, client):
    server.replies = [Reply(200, b"please log in", {"content-type": "Text/HTML; charset=utf-8"})]
    with pytest.raises(errors.ResponseError, match="web page"):
        client.get("/deals", cost=10)


@pytest.mark.parametrize(
    ("reply", "kind", "match", "missing"),
    [
        (
            fail(401, "unauthorized access"),
            errors.AccessError,
            "PIPEDRIVE_API_TOKEN",
            "credentials",
        ),
        (html(401), errors.AccessError, "PIPEDRIVE_API_TOKEN", "credentials"),
        (fail(402, "Payment required"), errors.AccessError, "plan", "plan"),
        (fail(403, "Scope and URL mismatch"), errors.AccessError, "scope", "scope"),
        (fail(403, "This feature is not in your plan"), errors.AccessError, "plan", "plan"),
        (fail(403, "Forbidden"), errors.AccessError, "permission", "permission"),
        (
            fail(400, "Invalid cursor"),
            errors.ResponseError,
            r"HTTP 400 \(\"Invalid cursor\"\)",
            None,
        ),
        (fail(404, "Entity was not found"), errors.ResponseError, "Check the id", None),
        (html(404), errors.ResponseError, "base_url", None),
        (fail(405, "no"), errors.ResponseError, "HTTP 405", None),
        (fail(418, "teapot"), errors.ResponseError, "HTTP 418", None),
        (Reply(204), errors.ResponseError, "HTTP 204", None),
    ],
)
def test_a_refusal_is_a_typed_error_and_never_retried(server, client, reply, kind, match, missing):
    server.replies = [reply]
    with pytest.raises(kind, match=match) as caught:
        client.get("/deals/17/discounts", cost=10)
    assert type(caught.value) is kind
    assert caught.value.status == reply.status
    assert "/api/v2/deals/{id}/discounts" in str(caught.value)
    if missing:
        assert caught.value.missing == missing
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("reply", "tokens"),
    [
        (fail(400), 10),
        (fail(404), 10),
        (fail(402), 10),
        (fail(403), 10),
        (fail(401), 0),
        (html(403), 0),
    ],
)
def test_what_the_server_does_not_charge_is_not_counted(server, client, reply, tokens):
    server.replies = [reply]
    with client.budget.track("deals") as spent, pytest.raises(errors.PdframeError):
        client.get("/deals", cost=10)
    assert client.budget.tokens_today == tokens
    assert (spent.requests, spent.tokens) == (1, tokens)


# Retries


@pytest.mark.parametrize(
    "bad",
    [
        html(502),
        html(503),
        fail(500, "oops"),
        Reply(drop="before"),
        Reply(200, data([1]).body, drop="within"),
        Reply(200, data([1]).body[:-9]),
        Reply(200, b""),
        zipped(data([1]), cut=1),
        zipped(data([1]), cut=20),
        Reply(200, b"no gzip at all", {"content-encoding": "gzip"}),
    ],
    ids=[
        "502",
        "503",
        "500",
        "drop",
        "truncated",
        "cut JSON",
        "empty",
        "gzip trailer cut",
        "gzip cut",
        "broken gzip",
    ],
)
def test_what_passes_by_itself_is_fetched_again(server, client, time, bad):
    server.replies = [data([]), bad, bad, zipped(data([{"id": 1}]))]
    client.get_json("/deals", cost=10)
    assert client.get_json("/deals", cost=10).rows == [{"id": 1}]
    assert len(server.seen) == 4
    assert len(time.naps) == 2
    assert time.naps[0] <= 0.5
    assert time.naps[1] <= 1.0


def test_chunked_answers_that_end_early_are_fetched_again(server, client):
    server.replies = [
        Reply(200, b'b\r\n{"data":[]}', {"transfer-encoding": "chunked"}, drop="within"),
        data([]),
    ]
    assert client.get_json("/deals", cost=10).rows == []
    assert len(server.seen) == 2


def test_waits_are_random_below_a_doubling_bound(server, make_client):
    first, last = [], []
    for _ in range(20):
        time = FakeTime()
        client = make_client(sleep=time.sleep, retries=4, clock=time.clock)
        server.replies = [data([])]
        server.last = html(502)
        client.get("/deals", cost=10)
        with pytest.raises(errors.TransportError):
            client.get("/deals", cost=10)
        assert all(0 <= nap <= bound for nap, bound in zip(time.naps, (0.5, 1, 2, 4), strict=True))
        first.append(time.naps[0])
        last.append(time.naps[-1])
    assert max(first) - min(first) > 0.1
    assert max(last) > 1.0
    assert min(last) < 3.0


def test_a_server_that_never_recovers_is_an_error_within_the_bound(server, make_client, time):
    client = make_client(retries=5)
    server.last = fail(500, "still broken")
    with pytest.raises(
        errors.TransportError, match=r"6 attempts over \d+ s, last HTTP 500 \(\"still broken\"\)"
    ) as caught:
        client.get("/deals", cost=10)
    assert (caught.value.status, caught.value.attempts) == (500, 6)
    assert len(server.seen) == 6
    assert sum(time.naps) <= 0.5 + 1 + 2 + 4 + 8
    assert client.budget.tokens_today == 0


def test_bodies_that_are_always_cut_are_an_error(server, client):
    server.last = Reply(200, data([1]).body, drop="within")
    with pytest.raises(errors.TransportError, match="no complete answer in 6 attempts") as caught:
        client.get("/deals", cost=10)
    assert (caught.value.status, len(server.seen)) == (None, 6)
    server.last = Reply(200, b'{"success": tr')
    with pytest.raises(errors.TransportError, match="no complete JSON") as caught:
        client.get("/deals", cost=10)
    assert (caught.value.status, len(server.seen)) == (200, 12)


def test_no_retry_starts_when_patience_is_over(server, make_client, time):
    client = make_client(retries=1000)
    server.last = fail(503, "maintenance", retry_after=25)
    with pytest.raises(errors.TransportError):
        client.get("/deals", cost=10)
    assert sum(time.naps) <= 300
    assert len(server.seen) <= 13


def test_a_host_that_was_never_reached_is_soon_given_up(server, make_client, time):
    origin = server.url
    server.shutdown()  # else its thread may still accept the first connection
    server.server_close()
    client = make_client(origin=origin)
    with pytest.raises(
        errors.TransportError, match=r"could not be reached in 3 attempts .*base_url"
    ) as caught:
        client.get("/deals", cost=10)
    assert caught.value.attempts == 3
    assert sum(time.naps) <= 1.5
    assert client.budget.tokens_today == 0


def test_a_dripping_answer_ends(server, make_client):
    ticks = iter(range(0, 10**6, 50))
    client = make_client(clock=lambda: float(next(ticks)), retries=1)
    server.last = data([{"id": 1}] * 50_000)
    with pytest.raises(errors.TransportError, match="not complete after 120 s"):
        client.get("/deals", cost=10)


def test_a_slow_server_times_out(server, make_client):
    stop = threading.Event()
    client = make_client(timeout=0.1, retries=1)
    server.last = Reply(200, pause=stop)
    with pytest.raises(errors.TransportError, match="no answer in time"):
        client.get("/deals", cost=10)
    stop.set()
    assert len(server.seen) == 2


# Limits


@pytest.mark.parametrize(
    ("headers", "lowest"),
    [
        ({}, 2),
        ({"x_ratelimit_reset": 1}, 1),
        ({"retry_after": 3}, 3),
        ({"retry_after": 0}, 1),
        ({"retry_after": "garbage"}, 2),
    ],
)
def test_a_burst_429_waits_as_requested_and_goes_on(server, client, time, headers, lowest):
    server.replies = [fail(429, "request over limit", **headers), data([{"id": 1}])]
    assert client.get_json("/deals", cost=10).rows == [{"id": 1}]
    assert len(server.seen) == 2
    assert lowest <= time.naps[0] <= lowest + 0.5
    assert client.budget.tokens_today == 10


def test_a_retry_after_may_be_a_date(server, client, time):
    server.replies = [
        fail(429, "request over limit", retry_after="Tue, 30 Jun 2026 12:00:04 GMT"),
        data([]),
    ]
    client.get("/deals", cost=10)
    assert 4 <= time.naps[0] <= 4.5


def test_a_burst_that_never_ends_is_an_error_after_bounded_retries(server, client):
    server.replies = [data([])]
    server.last = fail(429, "request over limit")
    client.get("/deals", cost=10)
    with pytest.raises(errors.RateLimitError, match="6 attempts"):
        client.get("/deals", cost=10)
    assert len(server.seen) == 7


def test_one_429_holds_every_thread(server, make_client, time):
    window = RateLimiter(clock=time.clock, sleep=time.sleep)
    first, second = make_client(window=window, retries=0), make_client(window=window)
    server.replies = [fail(429, "request over limit", retry_after=5)]
    with pytest.raises(errors.RateLimitError):
        first.get("/deals", cost=10)
    before = time.now
    server.replies = [data([])]
    second.get("/deals", cost=10)
    assert time.now - before >= 5


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("reply", "resume_at"),
    [
        (
            fail(429, "daily request budget exceeded", retry_after=3939),
            datetime(2026, 6, 30, 13, 5, 39, tzinfo=UTC),
        ),
        (
            fail(429, "request over limit", retry_after=3939),
            datetime(2026, 6, 30, 13, 5, 39, tzinfo=UTC),
        ),
        (fail(429, "request over limit", x_daily_ratelimit_token_remaining=0), None),
        (fail(429, "Daily request budget exceeded"), None),
        (fail(429, "daily", retry_after=99999999999999999999), None),
    ],
)
def test_a_daily_429_stops_at_once_and_says_when_to_continue(
    server, client, time, reply, resume_at
):
    server.replies = [reply]
    with pytest.raises(errors.BudgetError, match="daily budget") as caught:
        client.get("/deals", cost=10)
    assert caught.value.resume_at == resume_at
    assert ("13:05 UTC" in str(caught.value)) is (resume_at is not None)
    assert (len(server.seen), time.naps) == (1, [])
    assert client.budget.tokens_today == 0


def test_the_html_403_is_never_retried_and_closes_the_client(server, client, time):
    server.last = html(403, "Attention Required! | Cloudflare")
    with pytest.raises(errors.BlockedError, match="Cloudflare") as caught:
        client.get("/deals", cost=10)
    assert caught.value.until == datetime(2026, 6, 30, 12, 10, tzinfo=UTC)
    with pytest.raises(errors.BlockedError, match="12:10 UTC"):
        client.get("/persons", cost=10)
    assert (len(server.seen), time.naps) == (1, [])
    time.now += 601
    server.last = data([])
    assert client.get_json("/persons", cost=10).rows == []


def test_the_ceiling_stops_before_the_request(server, make_client, time):
    client = make_client(budget=TokenBudget(max_tokens=25, clock=time.clock))
    server.last = data([])
    client.get("/deals", cost=10)
    client.get("/deals", cost=10)
    with pytest.raises(errors.BudgetError, match="max_tokens=25") as caught:
        client.get("/deals", cost=10)
    assert caught.value.resume_at == datetime(2026, 7, 1, tzinfo=UTC)
    assert len(server.seen) == 2
    client.get("/stages", cost=5)


def test_the_account_s_own_budget_is_learnt(server, client):
    server.replies = [
        data([], x_daily_ratelimit_token_limit=30000, x_daily_ratelimit_token_remaining=29990)
    ]
    client.get("/deals", cost=10)
    assert (client.budget.daily_limit, client.budget.daily_remaining) == (30000, 29990)


def test_the_burst_limit_is_learnt_from_headers(server, client):
    server.replies = [
        data([], x_ratelimit_limit=120, x_ratelimit_remaining=119, x_ratelimit_reset=2)
    ]
    client.get("/deals", cost=10)
    assert client.window.limit == 120


# Security


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(server, other_server, client, status):
    server.replies = [Reply(status, b"", {"location": f"{other_server.url}/api/v2/deals"})]
    with pytest.raises(errors.ResponseError, match="redirect") as caught:
        client.get("/deals", cost=10)
    assert caught.value.status == status
    assert (len(server.seen), len(other_server.seen)) == (1, 0)


@pytest.mark.parametrize(
    "location",
    [
        "javascript:alert(1)",
        "http://xn--zzzz/",
        "http://[::1",
        "http://a:99999999/",
        "http://exa mple/",
        "\xff",
        "http://" + "a" * 70_000,
    ],
)
def test_a_redirect_to_what_is_no_url_is_a_redirect(server, client, location):
    server.last = Reply(302, b"", {"location": location})
    with pytest.raises(errors.ResponseError, match="redirect"):
        client.get("/deals", cost=10)
    assert len(server.seen) == 1


ODD_HEADERS = {
    "date": [
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 -2300",
        "Mon, 01 Jan 0100 00:00:00 +2300",
        "1" * 5_000,
    ],
    "retry-after": ["-1", "9" * 50, "Fri, 31 Dec 9999 23:59:59 GMT", "\xb2", "inf"],
    "x-ratelimit-limit": ["-1", "0", "9" * 50, "\xb2", "1, 2"],
    "x-ratelimit-remaining": ["-5", "9" * 11],
    "x-ratelimit-reset": ["9" * 11, "-1", "nan"],
    "x-daily-ratelimit-token-remaining": ["\xb2", "9" * 50],
    "content-type": ["", "\xff\xfe", ";;;", "application/json; charset=utf-99", "a" * 60_000],
    "content-encoding": ["br", "gzip, gzip", "\xff"],
    "set-cookie": [
        "a=b; expires=Mon, 99 Jan 99999 00:00:00 GMT; max-age=9" + "9" * 30,
        "a=b; Max-Age=1e400",
        ";;=;",
        "a=\xff; domain=.",
    ],
}


@pytest.mark.parametrize("status", [200, 401, 403, 429, 500])
def test_odd_headers_are_never_the_caller_s_fault(server, make_client, status):
    for name, values in ODD_HEADERS.items():
        for value in values:
            server.last = Reply(
                status, data([{"id": 1}]).body, {"content-type": "application/json"} | {name: value}
            )
            try:
                assert make_client(retries=1).get_json("/deals", cost=10).rows == [{"id": 1}]
            except errors.PdframeError as error:
                refused = error
            else:
                continue
            assert not isinstance(refused, errors.ArgumentError), (name, value)
            assert str(refused).isprintable()


def test_a_byte_order_mark_before_json_is_passed_over(server, client):
    page = data([{"id": 1, "name": "Ägäis"}])
    server.replies = [Reply(200, b"\xef\xbb\xbf" + page.body, page.headers)]
    assert client.get_json("/deals", cost=10).rows == [{"id": 1, "name": "Ägäis"}]


@pytest.mark.parametrize(
    "deep",
    [
        b"[" * 5_000 + b"]" * 5_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'[{"a":[' * 2_000 + b"]}]" * 2_000,
    ],
)
def test_a_value_nested_beyond_all_reason_costs_no_other(server, client, deep):
    rows = (
        rb'{"id": 1, "name": "a [\"[ b"}, {"id": 2, "deep": %s, "name": "]}"}, {"id": 3, "name":'
        rb' "\\"}' % deep
    )
    server.replies = [
        Reply(200, b'{"success": true, "data": [%s], "additional_data": null}' % rows)
    ]
    first, second, third = client.get_json("/deals", cost=10).rows
    assert (first, third) == ({"id": 1, "name": 'a ["[ b'}, {"id": 3, "name": "\\"})
    assert (second["id"], second["name"]) == (2, "]}")
    assert second["deep"] is not None


def test_cookies_are_not_kept(server, client):
    server.replies = [data([], set_cookie="session=1; Path=/"), data([])]
    client.get("/deals", cost=10)
    client.get("/deals", cost=10)
    assert "cookie" not in {name.lower() for name in server.seen[1].headers}


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY", "http_proxy"])
def test_this_machine_is_fetched_without_a_proxy(
    server, other_server, make_client, monkeypatch, variable
):
    monkeypatch.setenv(variable, other_server.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.replies = [data([])]
    make_client().get("/deals", cost=10)
    assert other_server.seen == []


def test_company_networks_reach_pipedrive_through_their_proxy(
    other_server, make_client, monkeypatch
):
    connects = []
    other_server.RequestHandlerClass = type(
        "Proxy",
        (other_server.RequestHandlerClass,),
        {
            "do_CONNECT": lambda self: (
                connects.append(dict(self.headers.items())),
                self.send_error(407),
            )
        },
    )
    monkeypatch.setenv("HTTPS_PROXY", other_server.url)
    client = make_client(origin="https://acme.pipedrive.com", retries=0)
    with pytest.raises(errors.TransportError, match="407"):
        client.get("/deals", cost=10)
    assert len(connects) == 1
    assert not {name.lower() for name in connects[0]} & {"x-api-token", "authorization"}


def test_netrc_is_never_read(server, make_client, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server.replies = [data([])]
    make_client().get("/deals", cost=10)
    assert "authorization" not in {name.lower() for name in server.seen[0].headers}


def test_unusable_proxy_settings_are_an_argument_error(make_client, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "gopher://user:hunter2@proxy")
    with pytest.raises(errors.ArgumentError, match="HTTPS_PROXY") as caught:
        make_client()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "deals",
        "",
        "/",
        "//evil.example/x",
        "/deals/../users",
        "/deals?x=1",
        "/deals#x",
        "/de als",
        "/deals/\n",
        "/a/./b",
        "/deals/",
    ],
)
def test_a_path_remains_below_the_api(server, client, path):
    with pytest.raises(errors.ArgumentError):
        client.get(path, cost=10)
    assert server.seen == []


def test_an_unknown_api_is_refused(client):
    with pytest.raises(errors.ArgumentError):
        client.get("/deals", cost=10, api="../v2")


def test_texts_of_the_server_are_one_short_line_without_control_characters(server, client):
    server.replies = [fail(400, "bad\r\nvalue \x1b[31mred\x07 \u202e" + "x" * 10_000)]
    with pytest.raises(errors.ResponseError) as caught:
        client.get("/deals", cost=10)
    message = str(caught.value)
    assert "\\x1b[31mred\\x07 \\u202ex" in message
    assert message.isprintable()
    assert len(message) < 400


def test_a_client_is_neither_pickled_nor_copied(client, token):
    for act in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="credentials"):
            act(client)
    assert token not in repr(client)
    assert "127.0.0.1" in repr(client)


def test_requests_over_https_go_to_the_company(make_client):
    requested = []

    def answer(request):
        requested.append(str(request.url))
        return httpx.Response(200, content=iter([b'{"success":true,"data":[]}']))

    client = make_client(origin="https://acme.pipedrive.com", transport=httpx.MockTransport(answer))
    client.get("/deals", {"limit": 500}, cost=10)
    assert requested == ["https://acme.pipedrive.com/api/v2/deals?limit=500"]


# Surroundings


def test_it_works_inside_a_running_event_loop(server, client):
    server.replies = [data([{"id": 1}])]

    async def cell():
        return client.get_json("/deals", cost=10).rows

    assert asyncio.run(cell()) == [{"id": 1}]


def test_connections_are_kept_alive(server, make_client):
    ports = []
    server.RequestHandlerClass = type(
        "Counting",
        (server.RequestHandlerClass,),
        {
            "setup": lambda self: (
                ports.append(self.client_address),
                super(type(self), self).setup(),
            )[1]
        },
    )
    server.last = data([])
    client = make_client()
    for _ in range(5):
        client.get("/deals", cost=10)
    assert len(ports) == 1


def test_a_connection_that_the_server_has_closed_is_replaced(server, client):
    server.replies = [data([], connection="close"), data([{"id": 1}])]
    client.get("/deals", cost=10)
    assert client.get_json("/deals", cost=10).rows == [{"id": 1}]


def test_threads_share_a_client(server, client):
    server.last = data([{"id": 1}])
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(client.get_json("/deals", cost=10).rows))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[{"id": 1}]] * 12
    assert client.budget.tokens_today == 120


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (rb'"cut \ud83d emoji"', "cut \ufffd emoji"),
        (rb'"whole \ud83d\ude00 emoji"', "whole \U0001f600 emoji"),
        (b'"latin \xe9"', "latin \ufffd"),
        (b"NaN", None),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_wild_values_never_cost_a_page(server, client, text, value):
    server.replies = [Reply(200, b'{"success":true,"data":[{"id":1,"title":' + text + b"}]}")]
    title = client.get_json("/deals", cost=10).rows[0]["title"]
    assert title == pytest.approx(value) if isinstance(value, int) else title == value


def test_an_unreadable_date_is_no_server_time(server, client):
    server.replies = [data([], date="yesterday")]
    assert client.get_json("/deals", cost=10).server_time is None


def test_gzip_is_taken_off(server, client):
    rows = [{"id": number} for number in range(500)]
    server.replies = [zipped(data(rows))]
    page = client.get_json("/deals", cost=10)
    assert page.rows == rows
    assert page.size > len(gzip.compress(data(rows).body))


def test_defaults_need_nothing(server):
    server.replies = [data([])]
    with Client(server.url, ApiToken("t")) as client:
        assert client.get_json("/deals", cost=10).rows == []
        assert client.budget.tokens_today == 10


@pytest.mark.parametrize("term", ["x" * 70_000, "half \ud83d"])
def test_what_no_url_can_hold_is_refused_before_it_is_sent(server, client, term):
    with pytest.raises(errors.ArgumentError, match="too long, or holds half of a character"):
        client.get("/itemSearch", {"term": term}, cost=20)
    assert server.seen == []
    assert client.budget.tokens_today == 0


def test_a_number_beyond_all_reason_costs_no_page(server, client):
    body = b'{"success":true,"data":[{"id":1,"value":' + b"9" * 5_000 + b',"title":"kept"}]}'
    server.replies = [Reply(200, body, {"content-type": "application/json"})]
    rows = client.get_json("/deals", cost=10).rows
    arrow, problems = to_arrow(rows, TABLES["deals"])
    assert arrow.select(["id", "title", "value"]).to_pylist() == [
        {"id": 1, "title": "kept", "value": None}
    ]
    assert problems.cells["value"] == (1, "inf")


@pytest.mark.parametrize(
    "shown",
    [
        "{}",
        "%31%32%33:app/x%2By%3D",
        "123%3Aapp%2fx%2by%3d",
        "123:app&#47;x&#x2b;y&equals;",
        "123:app\\/x+y=",
        "{} and 123%3Aapp/x%2By=",
    ],
)
def test_a_credential_that_comes_back_encoded_is_struck_out(server, make_client, shown):
    secret = "123:app/x+y="
    server.last = html(404, f"no token {shown.format(secret)} here")
    with pytest.raises(errors.ResponseError) as caught:
        make_client(ApiToken(secret)).get("/deals", cost=10)
    assert str(caught.value).count("<secret>") == (2 if "and" in shown else 1)
    assert "app" not in str(caught.value)


def test_percent_signs_that_hide_nothing_remain(server, client):
    server.last = fail(400, "100%25 of &amp; nothing")
    with pytest.raises(errors.ResponseError, match=r'"100%25 of &amp; nothing"'):
        client.get("/deals", cost=10)


def test_an_account_that_is_closed_in_progress_says_so(server, client):
    def answer(seen):
        client.close()
        return fail(500)

    server.last = answer
    with pytest.raises((errors.TransportError, errors.ArgumentError), match="closed"):
        client.get("/deals", cost=10)

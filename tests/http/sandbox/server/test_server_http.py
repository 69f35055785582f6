"""The wire itself: keep-alive, gzip, dates, garbage, starting and stopping."""

import gc
import gzip
import http.client
import json
import socket
import threading
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pytest

from pdframe.sandbox.company import Company, Switches
from pdframe.sandbox.server import Server
from tests.helpers.server_wire import get, walk


def connect(server):
    return http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)


def raw(server, data):
    """Send bytes, return all that comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", urlsplit(server.url).port), timeout=10) as link:
        link.sendall(data)
        link.shutdown(socket.SHUT_WR)
        out = b""
        while part := link.recv(65_536):
            out += part
        return out


def test_one_connection_serves_many_requests(server):
    connection = connect(server)
    connection.connect()
    link = connection.sock
    for _ in range(20):
        connection.request("GET", "/api/v2/deals?limit=3", headers={"x-api-token": server.token})
        assert len(json.load(connection.getresponse())["data"]) == 3
        assert connection.sock is link
    for path in ("/api/v2/deals?limit=x", "/api/v2/nothing", "/api/v2/deals?api_token=1"):
        connection.request("GET", path, headers={"x-api-token": server.token})
        assert connection.getresponse().read()
        assert connection.sock is link
    connection.close()


def test_small_answers_on_a_kept_connection_are_not_delayed(server):
    connection = connect(server)
    began = time.monotonic()
    for _ in range(50):
        connection.request("GET", "/api/v2/pipelines/1", headers={"x-api-token": server.token})
        connection.getresponse().read()
    assert time.monotonic() - began < 1.5
    connection.close()


def test_gzip_where_it_is_accepted(server):
    plain = get(server, "deals")
    assert plain.headers["content-encoding"] is None
    connection = connect(server)
    connection.request(
        "GET",
        "/api/v2/deals",
        headers={"x-api-token": server.token, "accept-encoding": "gzip, deflate"},
    )
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.headers["content-encoding"] == "gzip"
    assert len(body) < len(plain.body) / 4
    assert json.loads(gzip.decompress(body))["data"] == plain.data


def test_the_date_is_the_companys_clock(serve, new_company):
    server = serve(new_company)
    assert (
        parsedate_to_datetime(get(server, "deals").headers["date"]).timestamp() == new_company.now
    )
    new_company.add_deal("Deal")
    reply = get(server, "deals")
    assert parsedate_to_datetime(reply.headers["date"]).timestamp() == new_company.now
    assert len(reply.headers.get_all("date")) == 1
    ahead = Company(seed=1, deals=0, switches=Switches(date_ahead_seconds=90))
    assert (
        parsedate_to_datetime(get(serve(ahead), "deals").headers["date"]).timestamp()
        == ahead.now + 90
    )


def test_texts_travel_as_utf_8(serve, new_company):
    new_company.add_deal("Käse 🧀 „groß“ \ud83d")
    data = get(serve(new_company), "deals").data
    assert data[0]["title"] == "Käse 🧀 „groß“ ?"


@pytest.mark.parametrize(
    "target",
    [
        "/api/v2/deals?limit=%zz",
        "/api/v2/deals?%ff=%fe",
        "/api/v2/deals/%ff%00",
        "/api/v2/dealFields/%2e%2e%2f",
        "/api/v2/deals?" + "a=1&" * 5_000,
        "/api/v2/deals?cursor=" + "A" * 50_000,
        "/api/v2/deals?ids=" + "1," * 20_000,
        "/api/v2/deals?deal_ids=1&deal_ids=2&limit=1&limit=2",
        "/api/v2/deals;jsessionid=1",
        "/api/v2/deals/" + "9" * 5_000,
    ],
)
def test_garbage_in_the_target_is_a_short_refusal(server, target):
    answer = raw(
        server,
        f"GET {target} HTTP/1.1\r\nHost: x\r\nx-api-token: {server.token}\r\nConnection:"
        " close\r\n\r\n".encode(),
    )
    assert int(answer.split(b" ")[1]) in (400, 404)
    assert len(answer) < 2_000


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /api/v2/deals HTTP/1.1\r\n" + b"x: y\r\n" * 300 + b"\r\n",
        b"POST /oauth/token HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"POST /oauth/token HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /oauth/token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /oauth/token HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc",
    ],
)
def test_garbage_on_the_socket_is_survived(server, data):
    assert len(raw(server, data)) < 2_000
    assert get(server, "deals", limit=1).status == 200


def test_a_caller_that_hangs_up_early_is_survived(server):
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port), timeout=10) as link:
            link.sendall(
                "GET /api/v2/deals?limit=500 HTTP/1.1\r\nHost: x\r\nx-api-token:"
                f" {server.token}\r\n\r\n".encode()
            )
    assert get(server, "deals", limit=1).status == 200


def test_many_callers_at_once_see_complete_rows_while_the_company_writes(serve):
    company = Company(seed=1, deals=150)
    server = serve(company)
    expected = {row["id"] for row in walk(server, "deals")}
    result, failures = [], []

    def call():
        try:
            for _ in range(5):
                result.append({row["id"] for row in walk(server, "deals", limit=40)})
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(40):
        company.edit_deal(min(expected), title=f"Edit {n}")
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(ids == expected for ids in result)


def test_latency_holds_answers_back(serve, new_company):
    server = serve(new_company, latency=0.2)
    began = time.monotonic()
    get(server, "deals")
    assert time.monotonic() - began >= 0.2
    server.settings.latency = 0.0


def test_start_and_stop(new_company):
    server = Server(new_company)
    assert server.url == ""
    with server as running:
        assert running is server is server.start()
        port = urlsplit(server.url).port
        connection = connect(server)
        connection.request("GET", "/api/v2/deals", headers={"x-api-token": server.token})
        assert connection.getresponse().read()
    assert connection.sock.recv(1) == b""
    connection.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    server.stop()
    assert server.token not in repr(server)


def test_a_forgotten_server_stops_by_itself(new_company):
    port = urlsplit(Server(new_company).start().url).port
    gc.collect()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=2).close()


def test_servers_have_ports_and_tokens_of_their_own(serve, new_company):
    one, two = serve(new_company), serve(new_company)
    assert one.url != two.url
    assert one.token != two.token
    assert get(two, "deals", headers={"x-api-token": one.token}).status == 401
    assert serve(new_company, token="mine").token == "mine"


def test_a_value_error_of_the_companys_is_a_crash_and_not_the_callers_mistake(
    new_company, monkeypatch
):
    def broken(deal_id):
        raise ValueError(f"deals has no row {deal_id}.")

    deal = new_company.add_deal("One")
    monkeypatch.setattr(new_company, "deal_changelog", broken)
    with Server(new_company) as server:
        answer = get(server, f"/api/v1/deals/{deal}/changelog")
        assert answer.status == 500
        assert len(server.crashes) == 1
        # It reached its operation and was charged: the log says so.
        assert [(r.status, r.tokens, r.template) for r in server.requests] == [
            (500, 20, "/api/v1/deals/{id}/changelog")
        ]

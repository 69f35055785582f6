"""Faults: each kind does what its name says, to the request that was asked for."""

import http.client
import time
import urllib.error
import zlib

import pytest

from pdframe.sandbox.server import KINDS, Faults
from tests.helpers.server_wire import get


@pytest.fixture
def server(serve, new_company):
    for n in range(30):
        new_company.add_deal(f"Deal {n}")
    return serve(new_company)


def test_html_of_proxies(server):
    for kind, status in (("html_502", 502), ("html_503", 503), ("html_403", 403)):
        server.faults = Faults(at={1: kind})
        reply = get(server, "deals")
        assert reply.status == status
        assert reply.headers["content-type"].startswith("text/html")
        assert get(server, "deals").status == 200


def test_a_dropped_connection_has_no_answer(server):
    server.faults = Faults(at={1: "drop"})
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError, urllib.error.URLError)):
        get(server, "deals")
    assert get(server, "deals").status == 200
    assert [entry.status for entry in server.requests] == [0, 200]
    assert server.requests[0].tokens == 0


def test_a_truncated_answer_is_shorter_than_it_says(server):
    server.faults = Faults(at={1: "truncate"})
    with pytest.raises(http.client.IncompleteRead):
        get(server, "deals")


def test_a_cut_gzip_stream_ends_early(server):
    server.faults = Faults(at={1: "cut_gzip"})
    with pytest.raises((EOFError, zlib.error)):
        get(server, "deals", headers={"x-api-token": server.token, "accept-encoding": "gzip"})
    server.faults = Faults(at={1: "cut_gzip"})
    with pytest.raises(http.client.IncompleteRead):
        get(server, "deals")


def test_429_with_and_without_retry_after(server):
    server.faults = Faults(at={1: "rate_429", 2: "rate_429_retry_after"})
    plain, timed = get(server, "deals"), get(server, "deals")
    assert (plain.status, plain.headers["retry-after"]) == (429, None)
    assert (timed.status, timed.headers["retry-after"]) == (429, "1")
    assert plain.json["error"] == "request over limit"


def test_success_false_with_200(server):
    server.faults = Faults(at={1: "success_false_200"})
    reply = get(server, "deals")
    assert (reply.status, reply.json["success"]) == (200, False)


def test_a_redirect_to_another_host_is_seen_if_followed(server):
    server.faults = Faults(at={1: "redirect"})
    reply = get(server, "deals")
    assert reply.status == 302
    assert reply.headers["location"] == server.url.replace("127.0.0.1", "localhost") + "/redirected"


def test_a_slow_answer_is_late_and_complete(server):
    server.faults = Faults(at={1: "slow"}, slow_seconds=0.3)
    began = time.monotonic()
    assert get(server, "deals").status == 200
    assert time.monotonic() - began >= 0.3


def test_rates_are_reproducible_and_counted_from_the_start(server):
    def outcomes(seed):
        faults = Faults(rate=0.5, seed=seed)
        return [faults.next() for _ in range(200)]

    assert outcomes(1) == outcomes(1) != outcomes(2)
    assert 60 < sum(kind is not None for kind in outcomes(1)) < 140
    assert set(outcomes(1)) == {*KINDS, None}
    server.faults = Faults(at={3: "html_502"})
    assert [get(server, "stages").status for _ in range(4)] == [200, 200, 502, 200]
    server.faults = None
    assert get(server, "stages").status == 200


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="no fault banana"):
        Faults(kinds=("banana",))

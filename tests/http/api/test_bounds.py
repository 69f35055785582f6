"""The bound on an answer covers all of the exchange: status line, interim answers, headers and
body.
"""

import time as real_time

import pytest

from pdframe import errors
from pdframe.api.client import Client
from pdframe.api.credentials import ApiToken
from pdframe.api.limits import ExchangeLimits, RateLimiter
from tests.helpers.raw_server import RawServer, answer
from tests.helpers.scripted_server import FakeTime

TOKEN = "0123456789abcdef0123456789abcdef01234567"
# Far below the timeout of a read, so that only the bound can end an answer.
BOUND = 0.4


SMALL = ExchangeLimits(seconds=BOUND)


def ask(server, **options):
    """One request, and the seconds that it took."""
    time = FakeTime()
    window = RateLimiter(clock=time.clock, sleep=time.sleep)
    began = real_time.monotonic()
    with Client(
        server.url,
        ApiToken(TOKEN),
        window=window,
        sleep=time.sleep,
        **{"retries": 0, "timeout": 30} | options,
    ) as client:
        try:
            return client.get_json("/deals", cost=10).rows
        except errors.PdframeError as error:
            assert real_time.monotonic() - began < 20  # the timeout of one read is 30 s
            return error


def drip(*pieces, again=b"", every=0.05):
    """Write pieces, then one more again and again, without end."""

    def talk(connection, number):
        for piece in pieces:
            connection.sendall(piece)
        while not server_of[0].stopping.wait(every):
            connection.sendall(again)

    server_of = [None]
    talk.server_of = server_of
    return talk


@pytest.mark.parametrize(
    ("pieces", "again"),
    [
        ((), b"HTTP/1.1 100 Continue\r\n\r\n"),
        ((), b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n"),
        ((b"HTTP/1.1 200 OK\r\n",), b"x-more: and more\r\n"),
        ((), b"H"),
        ((b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-long: ",), b"x"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n",), b" "),
        ((b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",), b"1\r\n \r\n"),
        ((b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",), b"x-trailer: 1\r\n"),
        (
            (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n\x1f\x8b\x08\x08\0\0\0\0\0\xff",),
            b"name without end",
        ),
    ],
    ids=[
        "100",
        "103",
        "headers",
        "status line",
        "one header",
        "body",
        "chunks",
        "trailers",
        "gzip name",
    ],
)
def test_an_endless_slow_answer_ends_at_the_bound(pieces, again):
    talk = drip(*pieces, again=again)
    with RawServer.running(talk) as server:
        talk.server_of[0] = server
        error = ask(server, limits=SMALL)
    assert isinstance(error, errors.TransportError)
    # A status line that is none may be refused before.
    assert "not complete after" in str(error) or (again == b"H" and "broken answer" in str(error))


def test_a_server_that_says_nothing_ends_at_the_bound():
    with RawServer.running(lambda connection, number: server.stopping.wait(20)) as server:
        assert "not complete after" in str(ask(server, limits=SMALL))


def test_the_bound_holds_on_a_connection_that_is_used_again():
    def talk(connection, number):
        if number == 1:
            connection.sendall(answer([{"id": 1}]))
            return True
        while not server.stopping.wait(0.05):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return False

    with (
        RawServer.running(talk) as server,
        Client(server.url, ApiToken(TOKEN), retries=0, limits=SMALL) as client,
    ):
        assert client.get_json("/deals", cost=10).rows == [{"id": 1}]
        with pytest.raises(errors.TransportError, match="not complete after"):
            client.get_json("/deals", cost=10)
        assert len(server.threads) == 1  # it was one connection


@pytest.mark.parametrize(
    "piece",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nlink: <" + b"x" * 900 + b">\r\n\r\n",
    ],
)
def test_endless_fast_interim_answers_are_bounded_in_bytes(piece):
    sent = []

    def talk(connection, number):
        while not server.stopping.is_set():
            connection.sendall(piece * 40)
            sent.append(len(piece) * 40)

    with RawServer.running(talk) as server:
        error = ask(server, retries=5)
        assert isinstance(error, errors.TransportError)
        assert "headers or interim answers of more than 1,048,576 bytes" in str(error)
        assert len(server.requests) == 1  # the same would come again
    assert sum(sent) < 30 * 1024 * 1024  # buffers of the system included


def test_endless_fast_headers_are_bounded():
    def talk(connection, number):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not server.stopping.is_set():
            connection.sendall(b"x-more: and more\r\n" * 50)

    with RawServer.running(talk) as server:
        assert isinstance(ask(server), errors.TransportError)


def test_a_body_without_end_is_bounded_in_bytes():
    limits = ExchangeLimits(head_bytes=100_000, body_bytes=100_000)

    def talk(connection, number):
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n\x1f\x8b\x08\x08\0\0\0\0\0\xff"
        )
        while not server.stopping.is_set():
            connection.sendall(
                b"the name of a file that never ends" * 100
            )  # of which nothing is ever inflated

    with RawServer.running(talk) as server:
        assert "an answer of more than 100,000 bytes" in str(ask(server, limits=limits))


def test_a_few_interim_answers_are_passed_over():
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    with RawServer.running(
        lambda connection, number: connection.sendall(head + answer([{"id": 7}]))
    ) as server:
        assert ask(server) == [{"id": 7}]


def test_a_proxy_that_answers_for_ever_ends_at_the_bound(monkeypatch):
    def talk(connection, number):
        while not server.stopping.wait(0.05):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    with RawServer.running(talk) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        server_at_pipedrive = type("Server", (), {"url": "https://acme.pipedrive.com"})
        error = ask(server_at_pipedrive, limits=SMALL)
        assert "not complete after" in str(error)
        assert server.requests[0].startswith(b"CONNECT acme.pipedrive.com:443")
        assert TOKEN.encode() not in b"".join(server.requests)


def test_a_handshake_that_never_ends_is_bounded(monkeypatch):
    """TLS: bytes of a handshake are not an answer; the timeout to connect bounds these."""

    def talk(connection, number):
        connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        server.stopping.wait(20)

    with RawServer.running(talk) as server:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        server_at_pipedrive = type("Server", (), {"url": "https://acme.pipedrive.com"})
        assert isinstance(
            ask(server_at_pipedrive, limits=SMALL, timeout=0.3), errors.TransportError
        )


@pytest.mark.parametrize("part", [1.0, 0.6, 0.1])
def test_bytes_after_an_answer_are_never_the_next_one_s(part):
    """Two answers at once, of which one was asked for: the other, or a part of it, must not be
    taken for the next.
    """

    def talk(connection, number):
        extra = answer([{"id": 666, "name": "x" * 500}])
        at = int(part * len(extra))
        if number == 2:
            connection.sendall(extra[at:])
        connection.sendall(answer([{"id": number}]) + (extra[:at] if number == 1 else b""))
        return True

    with (
        RawServer.running(talk) as server,
        Client(server.url, ApiToken(TOKEN), retries=3, sleep=lambda seconds: None) as client,
    ):
        got = [client.get_json("/deals", cost=10).rows[0]["id"] for _ in range(3)]
        assert 666 not in got
        assert got == sorted(got)
        # The connection that is out of step is not used again; where its rest arrives before the
        # next request, the next connection receives the second half and is given up, too.
        assert len(server.threads) in (2, 3)

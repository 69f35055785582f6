"""Tokens and OAuth grants: renewed in time, once, and never shown."""

import base64
import copy
import json
import logging
import pickle
import threading
import traceback
from datetime import UTC, datetime
from urllib.parse import parse_qs

import httpx
import pytest

from pdframe import errors
from pdframe.api.client import Client
from pdframe.api.credentials import ApiToken, OAuth, Tokens
from tests.helpers.scripted_server import Reply, data, fail, grant, html

SECRETS = ("client-5ecret", "refresh-5ecret", "access-5ecret", "refresh-2-5ecret")


@pytest.fixture
def oauth(server):
    return OAuth("app-id", "client-5ecret", "refresh-5ecret", token_url=f"{server.url}/oauth/token")


def fresh(expires_in=3600, number=""):
    return grant(f"access{number}-5ecret", f"refresh-2{number}-5ecret", expires_in)


def posts(server):
    return [seen for seen in server.seen if seen.method == "POST"]


def bearer(seen):
    return {name.lower(): value for name, value in seen.headers.items()}.get("authorization")


# API token


@pytest.mark.parametrize(
    "bad",
    [
        "hunter2 ",
        "\nhunter2",
        "hun ter2",
        "hunter2\x00",
        "hünter2",
        "hunter2\r\nx: y",
        "\u200bhunter2",
    ],
)
def test_a_malformed_token_is_refused_and_not_shown(bad):
    with pytest.raises(errors.CredentialsError, match="not shown") as caught:
        ApiToken(bad)
    assert "ter2" not in str(caught.value)
    assert caught.value.__context__ is None
    innermost = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)][-1]
    assert innermost.f_code.co_name == "_checked"
    assert "ter2" not in repr(innermost.f_locals)


@pytest.mark.parametrize("bad", ["", None, 7, b"hunter2"])
def test_a_token_is_a_text(bad):
    with pytest.raises(errors.CredentialsError, match="API token"):
        ApiToken(bad)


@pytest.mark.parametrize(
    "arguments",
    [
        ("", "b", "c"),
        ("a", "", "c"),
        ("a", "b", ""),
        ("a", "b", "c d"),
        ("a", "b", "c", "not callable"),
        (None, "b", "c"),
    ],
)
def test_a_malformed_grant_is_refused(arguments):
    with pytest.raises(errors.CredentialsError):
        OAuth(*arguments)


@pytest.mark.parametrize(
    "url",
    [
        "http://oauth.pipedrive.com/oauth/token",
        "ftp://x",
        "",
        "https://",
        "https://[",
        "https://me:x@oauth.pipedrive.com/",
    ],
)
def test_tokens_are_renewed_over_https_alone(url):
    with pytest.raises(errors.CredentialsError, match="https"):
        OAuth("a", "b", "c", token_url=url)


# OAuth


def test_the_first_request_renews_the_grant_and_calls_on_refresh(server, make_client, time):
    reported = []
    oauth = OAuth(
        "app-id",
        "client-5ecret",
        "refresh-5ecret",
        reported.append,
        token_url=f"{server.url}/oauth/token",
    )
    server.replies = [fresh(), data([{"id": 1}]), data([])]
    client = make_client(oauth)
    assert client.get_json("/deals", cost=10).rows == [{"id": 1}]
    client.get("/deals", cost=10)
    post = server.seen[0]
    assert (post.method, post.path) == ("POST", "/oauth/token")
    assert bearer(post) == "Basic " + base64.b64encode(b"app-id:client-5ecret").decode()
    assert parse_qs(post.body.decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["refresh-5ecret"],
    }
    assert [bearer(seen) for seen in server.seen[1:]] == ["Bearer access-5ecret"] * 2
    assert client.budget.tokens_today == 20
    (tokens,) = reported
    assert isinstance(tokens, Tokens)
    assert (tokens.refresh_token, tokens.access_token, tokens.api_domain) == (
        "refresh-2-5ecret",
        "access-5ecret",
        None,
    )
    assert tokens.expires_at == datetime(2026, 6, 30, 13, tzinfo=UTC)


def test_the_access_token_is_renewed_before_it_expires(server, make_client, oauth, time):
    client = make_client(oauth)
    server.replies = [fresh(3600), data([]), data([]), fresh(3600, "-b"), data([])]
    client.get("/deals", cost=10)
    time.now += 3600 - 121
    client.get("/deals", cost=10)
    assert len(posts(server)) == 1
    time.now += 2
    client.get("/deals", cost=10)
    assert len(posts(server)) == 2
    assert parse_qs(posts(server)[1].body.decode())["refresh_token"] == ["refresh-2-5ecret"]
    assert bearer(server.seen[-1]) == "Bearer access-b-5ecret"


def test_a_short_life_is_used_for_nine_tenths(server, make_client, oauth, time):
    client = make_client(oauth)
    server.replies = [fresh(10), data([]), data([]), fresh(10), data([])]
    client.get("/deals", cost=10)
    time.now += 8.9
    client.get("/deals", cost=10)
    assert len(posts(server)) == 1
    time.now += 0.2
    client.get("/deals", cost=10)
    assert len(posts(server)) == 2


def test_a_401_renews_once_and_goes_on(server, make_client, oauth):
    client = make_client(oauth)
    server.replies = [
        fresh(),
        fail(401, "unauthorized access"),
        fresh(3600, "-b"),
        data([{"id": 1}]),
    ]
    assert client.get_json("/deals", cost=10).rows == [{"id": 1}]
    assert bearer(server.seen[-1]) == "Bearer access-b-5ecret"
    assert client.budget.tokens_today == 10


def test_a_second_401_is_an_error(server, make_client, oauth):
    client = make_client(oauth)
    server.replies = [fresh(), fail(401), fresh(3600, "-b"), fail(401, "unauthorized access")]
    with pytest.raises(errors.AccessError, match="app is still installed"):
        client.get("/deals", cost=10)
    assert len(server.seen) == 4


@pytest.mark.parametrize(
    ("reply", "match"),
    [
        (Reply(400, b'{"error":"invalid_grant"}'), "authorize the app again"),
        (Reply(401, b'{"error":"invalid_client"}'), "client id and secret"),
        (Reply(401, b"nope"), "client id and secret"),
        (Reply(302, b"", {"location": "https://evil.example/"}), "HTTP 302"),
        (html(200), "HTTP 200 without an access token"),
        (grant(access=None), "access token"),
        (grant(access="two words"), "not shown"),
        (grant(expires_in="soon"), "lifetime"),
        (grant(expires_in=-1), "lifetime"),
        (grant(expires_in=True), "lifetime"),
        (Reply(200, b"[]"), "without an access token"),
    ],
)
def test_a_grant_that_cannot_be_renewed_says_the_remedy(server, make_client, oauth, reply, match):
    server.last = reply
    with pytest.raises(errors.CredentialsError, match=match):
        make_client(oauth).get("/deals", cost=10)
    assert len(server.seen) == 1


def test_a_token_endpoint_that_fails_once_is_called_again(server, make_client, oauth, time):
    server.replies = [html(502), Reply(drop="before"), fresh(), data([])]
    make_client(oauth).get("/deals", cost=10)
    assert len(posts(server)) == 3
    assert len(time.naps) == 2


def test_a_token_endpoint_that_remains_down_is_a_transport_error(server, make_client, oauth):
    server.last = html(503)
    with pytest.raises(errors.TransportError, match="3 attempts: HTTP 503"):
        make_client(oauth).get("/deals", cost=10)
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    "domain",
    ["https://acme.pipedrive.com", "https://ACME.pipedrive.com/", "https://a.eu.pipedrive.com:443"],
)
def test_the_grant_names_the_company(make_client, domain):
    requested = []

    def answer(request):
        requested.append((str(request.url), request.headers.get("authorization", "")))
        return httpx.Response(
            200,
            content=iter(
                [(grant(api_domain=domain) if request.method == "POST" else data([{"id": 1}])).body]
            ),
        )

    grants = OAuth("client", "client-5ecret", "refresh-1-5ecret")
    client = make_client(grants, origin=None, transport=httpx.MockTransport(answer))
    assert client.origin is None
    assert client.get_json("/deals", cost=10).rows == [{"id": 1}]
    origin = domain.lower().removesuffix("/").removesuffix(":443")
    assert client.origin == origin
    assert requested[1] == (f"{origin}/api/v2/deals", "Bearer access-1")


@pytest.mark.parametrize("domain", [None, "", 7])
def test_without_a_company_anywhere_it_asks_for_one(server, make_client, oauth, domain):
    server.replies = [grant(api_domain=domain)]
    with pytest.raises(
        errors.ResponseError,
        match=r"does not name the company's API domain.*Give the company's name",
    ):
        make_client(oauth, origin=None).get("/deals", cost=10)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "domain",
    [
        "{other}",
        "http://evil.example",
        "https://evil.example",
        "http://acme.pipedrive.com",
        "https://evilpipedrive.com",
        "https://pipedrive.com",
        "https://.pipedrive.com",
        "https://acme.pipedrive.com.evil.example",
        "https://acme.pipedrive.com@evil.example",
        "https://evil.example\\@acme.pipedrive.com",
        "https://user:password@acme.pipedrive.com",
        "https://acme.pipedrive.com/path",
        "https://acme.pipedrive.com:99999",
        "https://[::1].pipedrive.com",
        "nonsense",
        "x" * 100_000,
    ],
)
def test_an_api_domain_that_is_none_of_pipedrive_s_gets_no_token(
    server, other_server, make_client, oauth, domain
):
    server.replies = [grant(api_domain=domain.replace("{other}", other_server.url))]
    with pytest.raises(errors.ResponseError, match="was not sent there") as caught:
        make_client(oauth, origin=None).get("/deals", cost=10)
    assert len(str(caught.value)) < 400
    assert (len(server.seen), other_server.seen) == (1, [])  # the renewal alone


@pytest.mark.parametrize("seconds", ["1" + "0" * 300, "9" * 4_000, "1e400", "1e308"])
def test_a_life_beyond_all_reason_is_a_long_one(server, make_client, oauth, seconds):
    fields = (
        b'{"access_token": "access-1", "refresh_token": "refresh-2", "expires_in": %s}'
        % seconds.encode()
    )
    server.replies = [Reply(200, fields), data([{"id": 1}])]
    assert make_client(oauth).get_json("/deals", cost=10).rows == [{"id": 1}]


def test_a_given_origin_remains(server, other_server, make_client, oauth):
    server.replies = [grant(api_domain=other_server.url), data([])]
    make_client(oauth).get("/deals", cost=10)
    assert other_server.seen == []


@pytest.mark.parametrize("expired", [True, False], ids=["no token yet", "401 for all"])
def test_threads_renew_once(server, make_client, oauth, expired):
    client = make_client(oauth)
    if not expired:
        server.replies = [fresh(), data([])]
        client.get("/deals", cost=10)
    gate = threading.Barrier(8)

    def play(seen):
        if seen.method == "POST":
            return fresh(3600, "-b")
        if bearer(seen) == "Bearer access-5ecret":
            gate.wait(5)  # all eight hold the old token when it is refused
            return fail(401)
        return data([{"id": 1}])

    server.last = play
    renewals, results = len(posts(server)), []
    threads = [
        threading.Thread(target=lambda: results.append(client.get_json("/deals", cost=10).rows))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [[{"id": 1}]] * 8
    assert len(posts(server)) == renewals + 1


def test_what_on_refresh_raises_reaches_the_caller_and_loses_nothing(server, make_client):
    def broken(tokens):
        raise KeyError("disk full")

    client = make_client(
        OAuth("a", "client-5ecret", "refresh-5ecret", broken, token_url=f"{server.url}/oauth/token")
    )
    server.replies = [fresh(), data([])]
    with pytest.raises(KeyError, match="disk full"):
        client.get("/deals", cost=10)
    client.get("/deals", cost=10)
    assert len(posts(server)) == 1


def test_an_answer_without_a_new_refresh_token_keeps_the_old(server, make_client, oauth, time):
    server.replies = [grant(refresh=None, expires_in=60), data([]), grant(), data([])]
    client = make_client(oauth)
    client.get("/deals", cost=10)
    time.now += 60
    client.get("/deals", cost=10)
    assert parse_qs(posts(server)[1].body.decode())["refresh_token"] == ["refresh-5ecret"]


# Never shown


def sealed(token):
    oauth = OAuth("app-id", token, token, token_url="https://oauth.pipedrive.com/oauth/token")
    return [
        ApiToken(token),
        oauth,
        Tokens(token, token, datetime(2026, 1, 1, tzinfo=UTC), None),
        ApiToken(token).prepare(lambda *post: (500, None), 0.0),
        Client("http://127.0.0.1:1", ApiToken(token)),
    ]


def test_no_dump_shows_a_secret(token):
    for thing in sealed(token):
        shown = [repr(thing), str(thing), f"{thing}", f"{thing!r:>10}", ascii(thing)]
        shown.append(repr(getattr(thing, "__dict__", {})))
        names = [
            name
            for name in dir(thing)
            if not name.startswith("__")
            and not (isinstance(thing, Tokens) and not name.startswith("_"))
        ]
        shown += [repr(getattr(thing, name)) for name in names]
        shown.append(json.dumps(thing, default=str))
        assert not any(token in text for text in shown)
        with pytest.raises(TypeError):
            pickle.dumps(thing)
        if isinstance(thing, Client):
            thing.close()


def test_a_copy_of_credentials_is_the_same(token):
    credentials = ApiToken(token)
    assert copy.copy(credentials) is credentials
    assert copy.deepcopy({"credentials": credentials})["credentials"] is credentials


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 418, 429, 500])
def test_a_token_that_the_server_echoes_is_struck_out(server, make_client, token, status):
    body = {
        "success": False,
        "error": f"token {token} / {token.upper()} is bad",
        "error_info": token,
    }
    server.last = Reply(
        status,
        json.dumps(body).encode(),
        {"content-type": "application/json", "location": f"https://x/?t={token}"},
    )
    client = make_client(retries=1)
    with pytest.raises(errors.PdframeError) as caught:
        client.get("/deals", cost=10)
    assert token not in str(caught.value).lower()
    assert token.encode() not in pickle.dumps(caught.value)
    if status != 429:
        assert "<secret>" in str(caught.value) or status == 401


FAILURES = [
    fail(401),
    fail(403, "no"),
    html(403),
    fail(429, "daily", retry_after=9999),
    fail(429),
    html(502),
    html(200),
    Reply(drop="before"),
    Reply(200, b'{"data": []}', drop="within"),
    Reply(200, b"broken", {"content-encoding": "gzip"}),
    Reply(200, b'{"da'),
    Reply(302, b"", {"location": "https://x/"}),
]


@pytest.mark.parametrize("reply", FAILURES)
@pytest.mark.parametrize("kind", ["token", "oauth"])
def test_tracebacks_with_variables_and_logs_show_no_secret(
    server, make_client, oauth, token, caplog, reply, kind
):
    caplog.set_level(logging.DEBUG)
    for name in ("pdframe", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    if kind == "oauth":
        server.replies = [fresh()]
    server.last = reply
    client = make_client(oauth if kind == "oauth" else None, retries=1)
    with pytest.raises(errors.PdframeError) as caught:
        client.get("/deals", {"limit": 1}, cost=10)
    error = caught.value
    assert error.__context__ is None
    frames = traceback.TracebackException(
        type(error), error, error.__traceback__.tb_next, capture_locals=True
    )
    seen = "".join(frames.format()) + "\n".join(
        record.getMessage() + repr(record.__dict__) for record in caplog.records
    )
    assert {record.name.split(".")[0] for record in caplog.records} >= {"pdframe", "httpcore"}
    basic = base64.b64encode(b"app-id:client-5ecret").decode()
    for secret in (*SECRETS, token, basic):
        assert secret not in seen


def test_a_dead_grant_shows_no_secret_in_its_traceback(server, make_client, oauth):
    server.last = Reply(
        400, b'{"error":"invalid_grant","error_description":"refresh-5ecret is dead"}'
    )
    with pytest.raises(errors.CredentialsError) as caught:
        make_client(oauth).get("/deals", cost=10)
    frames = traceback.TracebackException(
        type(caught.value), caught.value, caught.value.__traceback__.tb_next, capture_locals=True
    )
    text = "".join(line for line in frames.format())
    assert "client-5ecret" not in text
    assert "Basic" not in text

"""Who may ask: tokens, OAuth, scopes, methods, paths."""

import base64
import json
from urllib.parse import urlencode

import pytest

from pdframe.sandbox.server import ALL_SCOPES, OAuthClient
from tests.helpers.server_wire import fetch, get

APP = OAuthClient("app", "hush", "refresh-1")


def refresh(server, token="refresh-1", client="app", secret="hush", **form):
    basic = base64.b64encode(f"{client}:{secret}".encode()).decode()
    body = urlencode({"grant_type": "refresh_token", "refresh_token": token, **form}).encode()
    return fetch(
        server,
        "/oauth/token",
        method="POST",
        body=body,
        headers={"authorization": f"Basic {basic}"},
    )


def bearer(reply):
    return {"authorization": "Bearer " + reply.json["access_token"]}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-token": "wrong"},
        {"x-api-token": "fälsch"},
        {"authorization": "Bearer x"},
        {"authorization": "Basic x"},
    ],
)
def test_no_or_wrong_credentials(server, headers):
    reply = get(
        server, "deals", headers={k: v.encode().decode("latin-1") for k, v in headers.items()}
    )
    assert reply.status == 401
    assert (reply.json["success"], reply.json["error"], reply.json["errorCode"]) == (
        False,
        "unauthorized access",
        401,
    )


def test_a_token_in_the_query_is_refused_even_beside_a_good_header(server):
    assert get(server, "deals", api_token=server.token).status == 401
    assert get(server, "deals", headers={}, api_token=server.token).status == 401


def test_a_token_in_the_query_is_accepted_where_switched_on(serve, new_company):
    server = serve(new_company, query_token=True, oauth_clients=[APP])
    deal = new_company.add_deal("Asked for")
    assert [
        row["id"] for row in get(server, "deals", headers={}, api_token=server.token, limit=5).data
    ] == [deal]
    assert get(server, "/api/v1/users/me", headers={}, api_token=server.token).status == 200
    assert get(server, "deals", api_token=server.token).status == 200
    assert get(server, "deals").status == 200
    assert get(server, "deals", headers=bearer(refresh(server))).status == 200
    assert get(server, "deals", headers={}, api_token="wrong").status == 401
    assert get(server, "deals", headers={}, api_token="").status == 401
    assert fetch(server, "/api/v2/deals?api_token=%FF%F0", headers={}).status == 401
    assert (
        get(server, "deals", headers={"x-api-token": "wrong"}, api_token=server.token).status == 401
    )
    assert get(server, "deals", api_token="wrong").status == 401
    assert (
        fetch(server, "/api/v2/deals", [("api_token", server.token)] * 2, headers={}).status == 401
    )
    assert get(server, "deals", headers={}, access_token=server.token).status == 401
    assert all("api_token" not in entry.params for entry in server.requests)


def test_what_is_not_there(server):
    reply = get(server, "deals/999999999")
    assert reply.status == 404
    assert reply.json["error"] == "Entity was not found"
    assert reply.json["data"] is None
    assert get(server, "nothingHere").status == 404
    assert get(server, "/api/v3/deals").status == 404
    assert get(server, "/").status == 404
    assert get(server, "deals/abc").status == 400
    deal = get(server, "deals", limit=1).data[0]["id"]
    assert (
        get(server, f"deals/{deal}/convert/status/35b0d604-eb0d-42d0-be11-eac8832051f0").status
        == 404
    )
    assert get(server, "leads/adf21080-0e10-11eb-879b-05d71fb426ec/convert/status/1").status == 404
    assert get(server, f"persons/{get(server, 'persons').data[0]['id']}/picture").status == 404
    assert get(server, f"products/{get(server, 'products').data[0]['id']}/images").status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "BREW"])
def test_anything_but_get_is_405(server, method):
    for path in ("/api/v2/deals", "/api/v2/deals/1", "/oauth/tokens"):
        reply = fetch(
            server, path, method=method, body=b"{}" if method in ("POST", "PUT", "PATCH") else None
        )
        assert reply.status == 405
        assert reply.headers["allow"] == "GET"
    assert get(server, "/oauth/token").status == 404


def test_oauth_refresh_gives_a_working_token(serve, new_company):
    server = serve(new_company, oauth_clients=[APP])
    reply = refresh(server)
    assert reply.status == 200
    assert reply.json["api_domain"] == server.url
    assert reply.json["token_type"] == "Bearer"
    assert reply.json["expires_in"] == 3600
    assert set(reply.json["scope"].split()) == ALL_SCOPES
    first = bearer(reply)
    assert get(server, "deals", headers=first).status == 200
    second = bearer(refresh(server, reply.json["refresh_token"]))
    assert second != first
    assert get(server, "deals", headers=second).status == 200
    assert "refresh-1" not in repr(APP) + repr(server.requests)
    assert server.stats.by_path["/oauth/token"] == (2, 0)


def test_used_refresh_tokens_are_dead_unless_rotation_is_off(serve, new_company):
    server = serve(new_company, oauth_clients=[APP])
    refresh(server)
    again = refresh(server)
    assert (again.status, again.json["error"]) == (400, "invalid_grant")
    steady = serve(new_company, oauth_clients=[APP], rotate_refresh_tokens=False)
    assert (
        refresh(steady).json["refresh_token"]
        == refresh(steady).json["refresh_token"]
        == "refresh-1"
    )


def test_wrong_grants(serve, new_company):
    server = serve(new_company, oauth_clients=[APP])
    assert refresh(server, secret="no").status == 401
    assert refresh(server, client="who").status == 401
    assert (
        fetch(
            server, "/oauth/token", method="POST", body=b"x", headers={"authorization": "Basic %%%"}
        ).status
        == 401
    )
    assert refresh(server, grant_type="password").json["error"] == "unsupported_grant_type"
    assert refresh(server, "stale").json["error"] == "invalid_grant"
    server.revoke_oauth()
    assert refresh(server).json["error"] == "invalid_grant"


def test_access_tokens_end(serve, new_company):
    server = serve(new_company, oauth_clients=[APP])
    reply = refresh(server)
    server.expire_access_tokens()
    assert get(server, "deals", headers=bearer(reply)).status == 401
    assert (
        get(server, "deals", headers=bearer(refresh(server, reply.json["refresh_token"]))).status
        == 200
    )
    short = serve(new_company, oauth_clients=[APP], access_token_seconds=0)
    assert get(short, "deals", headers=bearer(refresh(short))).status == 401


def test_missing_scopes(serve, new_company):
    apps = [
        OAuthClient("plain", "s", "r1", ALL_SCOPES - {"admin"}),
        OAuthClient("narrow", "s", "r2", frozenset({"base", "deals:read"})),
    ]
    server = serve(new_company, oauth_clients=apps)
    plain = bearer(refresh(server, "r1", "plain", "s"))
    narrow = bearer(refresh(server, "r2", "narrow", "s"))
    refusal = get(server, "activityFields", headers=plain)
    assert (refusal.status, refusal.json["error"]) == (403, "Scope and URL mismatch")
    assert get(server, "activities", headers=plain).status == 200
    assert get(server, "dealFields", headers=plain).status == 200
    assert get(server, "deals", headers=narrow).status == 200
    for path in ("activities", "persons", "products", "/api/v1/users"):
        assert get(server, path, headers=narrow).status == 403
    assert get(server, "/api/v1/users/me", headers=narrow).status == 200
    assert get(server, "nothingHere", headers=narrow).status == 403
    assert get(server, "activityFields").status == 200


def test_error_bodies_are_short_json(server):
    reply = get(server, "deals", sort_by="x" * 20_000)
    assert reply.status == 400
    assert len(reply.body) < 500
    assert json.loads(reply.body)["success"] is False

"""The burst window, the daily budget and what comes of ignoring them."""

import pytest

from pdframe.sandbox.server import Server
from pdframe.sandbox.server.limits import Limits
from pdframe.sandbox.server.settings import Settings
from tests.helpers.server_wire import get


def test_the_burst_window_refuses_and_says_so(serve, new_company):
    server = serve(new_company, burst=5)
    replies = [get(server, "stages") for _ in range(6)]
    assert [reply.status for reply in replies] == [200] * 5 + [429]
    assert [int(reply.headers["x-ratelimit-remaining"]) for reply in replies] == [4, 3, 2, 1, 0, 0]
    over = replies[-1]
    assert over.json["error"] == "request over limit"
    assert (over.json["success"], over.json["errorCode"]) == (False, 429)
    assert over.headers["x-ratelimit-limit"] == "5"
    assert over.headers["x-ratelimit-reset"] == "2"
    assert over.headers["retry-after"] is None
    assert server.stats.tokens == 25
    assert server.stats.fullest_window == 6
    server.settings.burst_retry_after = True
    assert get(server, "stages").headers["retry-after"] == "2"


def test_the_window_rolls(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    limits = Limits(Settings(burst=2))

    def admitted():
        return limits.admit("token", oauth=False, search=False)[1] is None

    assert [admitted(), admitted(), admitted()] == [True, True, False]
    now[0] += 1.9
    assert not admitted()
    now[0] += 0.2
    assert [admitted(), admitted(), admitted()] == [True, True, False]
    assert limits.admit("another token", oauth=False, search=False)[1] is None


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("plan", "token", "oauth"),
    [("Lite", 20, 80), ("Growth", 40, 160), ("Premium", 100, 400), ("Ultimate", 120, 480)],
)
def test_plans_have_their_own_windows(plan, token, oauth):
    limits = Limits(Settings(plan=plan))
    assert ("x-ratelimit-limit", str(token)) in limits.admit("a", oauth=False, search=False)[0]
    assert ("x-ratelimit-limit", str(oauth)) in limits.admit("b", oauth=True, search=False)[0]
    assert ("x-ratelimit-limit", "10") in limits.admit("b", oauth=True, search=True)[0]


def test_searches_have_a_window_of_ten(serve, new_company):
    server = serve(new_company, burst=None, search_burst=10)
    statuses = [get(server, "deals/search", term="abc").status for _ in range(11)]
    assert statuses == [200] * 10 + [429]
    assert get(server, "stages").status == 200


def test_the_daily_budget_ends_and_refills(serve, new_company):
    server = serve(new_company, daily_tokens=25)
    assert [get(server, "deals").status for _ in range(3)] == [200, 200, 429]
    over = get(server, "deals")
    assert over.json["error"] == "daily request budget exceeded"
    assert over.headers["x-daily-ratelimit-token-limit"] == "25"
    assert over.headers["x-daily-ratelimit-token-remaining"] == "5"
    assert 0 < int(over.headers["retry-after"]) <= 86_400
    assert get(server, "stages").status == 200
    assert server.remaining_tokens == 0
    server.new_day()
    assert get(server, "deals").status == 200
    server.settings.daily_tokens, server.settings.daily_retry_after = 0, False
    assert get(server, "deals").headers["retry-after"] is None


def test_the_budget_follows_plan_and_seats(company):
    assert Server(company).settings.daily_tokens == 30_000 * 2 * 12
    assert Server(company, plan="Ultimate", seats=3).settings.daily_tokens == 30_000 * 7 * 3
    assert Server(company, daily_tokens=5).settings.daily_tokens == 5
    with pytest.raises(ValueError, match="no plan 'Gold'"):
        Server(company, plan="Gold")


def test_daily_headers_can_be_missing(serve, new_company):
    server = serve(new_company, daily_headers=False)
    headers = get(server, "deals").headers
    assert "x-ratelimit-remaining" in headers
    assert not [name for name in headers if name.lower().startswith("x-daily")]


def test_requests_after_many_429s_are_answered_with_the_html_403(serve, new_company):
    server = serve(new_company, daily_tokens=0, block_after=3)
    assert [get(server, "deals").status for _ in range(3)] == [429] * 3
    blocked = get(server, "deals")
    assert blocked.status == 403
    assert blocked.headers["content-type"].startswith("text/html")
    assert b"<html" in blocked.body.lower()
    server.settings.daily_tokens = 100
    assert get(server, "deals").status == 403
    server.unblock()
    assert get(server, "deals").status == 200

    patient = serve(new_company, daily_tokens=0, block_after=None)
    assert {get(patient, "deals").status for _ in range(60)} == {429}

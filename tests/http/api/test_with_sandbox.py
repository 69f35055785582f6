"""The client against the sandbox's server: real limits, real budgets, faults in the midst of
walks.
"""

import threading

import pytest

from pdframe import errors
from pdframe.api.client import Client
from pdframe.api.credentials import ApiToken, OAuth
from pdframe.api.limits import RateLimiter
from pdframe.api.pagination import paginate
from pdframe.sandbox.company import Company
from pdframe.sandbox.server import Faults, Server
from pdframe.sandbox.server.auth import OAuthClient
from tests.helpers.scripted_server import FakeTime

PASSING = (
    "html_502",
    "html_503",
    "drop",
    "truncate",
    "cut_gzip",
    "rate_429",
    "rate_429_retry_after",
)
PAID_OR_FREE = tuple(kind for kind in PASSING if kind != "drop")


@pytest.fixture(scope="module")
def company():
    return Company(seed=3, deals=400)


def patient(server, **options):
    """Return a client that waits on a fake clock, before a server whose window never fills."""
    time = FakeTime()
    window = RateLimiter(limit=100_000, clock=time.clock, sleep=time.sleep)
    return Client(
        server.url,
        ApiToken(server.token),
        window=window,
        clock=time.clock,
        sleep=time.sleep,
        **options,
    )


def deals(client, limit=10):
    return [
        row["id"]
        for page in paginate(client, "/deals", {"sort_by": "id"}, cost=10, limit=limit)
        for row in page.rows
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_walk_among_faults_is_the_same_walk(company, seed):
    with Server(company, burst=100_000) as server, patient(server) as client:
        full = deals(client)
        server.reset_stats()
        before = client.budget.tokens_today
        server.faults = Faults(rate=0.2, seed=seed, kinds=PAID_OR_FREE)
        assert deals(client) == full
        assert len(full) == len(set(full)) > 300
        assert server.stats.requests > len(full) / 10 + 3
        assert client.budget.tokens_today - before == server.stats.tokens
        server.reset_stats()
        before = client.budget.tokens_today
        server.faults = Faults(rate=0.2, seed=seed, kinds=PASSING)
        assert deals(client) == full
        assert client.budget.tokens_today - before >= server.stats.tokens
        assert server.crashes == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("html_403", errors.BlockedError),
        ("success_false_200", errors.ResponseError),
        ("redirect", errors.ResponseError),
    ],
)
def test_an_answer_that_is_refused_ends_the_pagination(company, fault, kind):
    with (
        Server(company, burst=100_000, faults=Faults(at={3: fault})) as server,
        patient(server) as client,
    ):
        with pytest.raises(kind):
            deals(client)
        assert server.stats.requests == 3
        assert server.stats.tokens == client.budget.tokens_today
        assert not any("redirected" in entry.path for entry in server.requests)


def test_the_daily_budget_ends_the_walk(company):
    with Server(company, burst=100_000, daily_tokens=35) as server, patient(server) as client:
        with pytest.raises(errors.BudgetError) as caught:
            deals(client)
        assert caught.value.resume_at is not None
        assert (server.stats.tokens, client.budget.tokens_today) == (30, 30)


def test_a_wrong_token_is_an_access_error(company):
    with Server(company) as server, Client(server.url, ApiToken("wrong")) as client:
        with pytest.raises(errors.AccessError, match="PIPEDRIVE_API_TOKEN"):
            client.get("/deals", cost=10)
        assert client.budget.tokens_today == 0


@pytest.mark.parametrize("workers", [1, 6])
def test_the_smallest_plan_is_used_to_the_full_and_never_overrun(company, workers):
    with (
        Server(company, plan="Lite") as server,
        Client(server.url, ApiToken(server.token)) as client,
    ):

        def work():
            for _ in range(48 // workers):
                client.get("/stages", cost=5)

        threads = [threading.Thread(target=work) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.stats.statuses == {200: 48}
        assert server.stats.fullest_window == 20


def test_two_clients_of_one_token_share_its_limits(company):
    with Server(company, plan="Lite") as server:
        clients = [Client(server.url, ApiToken(server.token)) for _ in range(2)]
        threads = [
            threading.Thread(
                target=lambda client=client: [client.get("/stages", cost=5) for _ in range(20)]
            )
            for client in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()
        assert server.stats.statuses[200] == 40
        assert server.stats.statuses.get(429, 0) <= 4


def test_searches_remain_in_their_own_window(company):
    with (
        Server(company, plan="Ultimate") as server,
        Client(server.url, ApiToken(server.token)) as client,
    ):
        for _ in range(12):
            client.get_json("/deals/search", {"term": "renewal", "limit": 10}, cost=20)
        assert server.stats.statuses == {200: 12}


def test_oauth_lives_through_expiry_and_ends_with_the_grant(company):
    reported = []
    app = OAuthClient("app-id", "app-secret", "first-refresh")
    with Server(company, oauth_clients=[app]) as server:
        oauth = OAuth(
            "app-id",
            "app-secret",
            "first-refresh",
            reported.append,
            token_url=f"{server.url}/oauth/token",
        )
        # The answer's api_domain is this server, no host of Pipedrive's: the user says that it is
        # right.
        with Client(server.url, oauth) as client:
            assert client.get_json("/stages", cost=5).rows
            assert client.origin == server.url
            server.expire_access_tokens()
            assert client.get_json("/stages", cost=5).rows
            assert len(reported) == 2
            assert reported[0].refresh_token != reported[1].refresh_token
            server.revoke_oauth()
            with pytest.raises(errors.CredentialsError, match="authorize the app again"):
                client.get("/stages", cost=5)

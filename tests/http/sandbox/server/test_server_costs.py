"""Tokens: every operation of the specification, at the specification's cost."""

import json
from pathlib import Path

from pdframe.sandbox.company import Company
from pdframe.sandbox.server.routes import operations
from tests.helpers.server_wire import get

DIGEST = Path(__file__).parents[3] / "contract" / "spec_digest.json"
V1 = {
    "users": 20,
    "users/me": 2,
    "deals/{id}/changelog": 20,
    "deals/{id}/flow": 40,
    "currencies": 20,
    "activityTypes": 20,
    "leadLabels": 10,
    "leads": 20,
    "leads/archived": 40,
}
FILLED = {
    "{id}": "1",
    "{field_code}": "title",
    "{conversion_id}": "35b0d604-eb0d-42d0-be11-eac8832051f0",
}


def spec():
    """Return the v2 operations of the specification that read, by path."""
    declared = json.loads(DIGEST.read_text(encoding="utf-8"))["v2"]
    return {path: entry for path, entry in declared.items() if "get" in entry["cost"]}


def served():
    return {op.template: op for op in operations()}


def test_every_get_of_the_specification_is_served_with_its_parameters():
    table = served()
    for path, declared in spec().items():
        operation = table[f"/api/v2{path}"]
        assert operation.cost == declared["cost"]["get"], path
        query = {
            name: parameter.get("required", False)
            for name, parameter in declared["parameters"].items()
            if parameter["in"] == "query"
        }
        assert {name: param.required for name, param in operation.params.items()} == query, path
    v2 = {template for template in table if template.startswith("/api/v2")}
    assert v2 == {f"/api/v2{path}" for path in spec()}


def test_v1_costs():
    assert {
        t.removeprefix("/api/v1/"): op.cost
        for t, op in served().items()
        if t.startswith("/api/v1/")
    } == V1


def test_each_request_costs_its_operations_tokens_whatever_the_answer(serve):
    server = serve(Company(seed=1, deals=40))
    for template, operation in served().items():
        path = template
        for name, value in FILLED.items():
            path = path.replace(name, value)
        server.reset_stats()
        before = server.remaining_tokens
        reply = get(server, path)
        assert reply.status in (200, 400, 404), template
        assert before - server.remaining_tokens == operation.cost
        assert server.stats.tokens == operation.cost
        assert server.stats.by_path == {template: (1, operation.cost)}
        assert int(reply.headers["x-daily-ratelimit-token-remaining"]) == server.remaining_tokens
        assert server.stats.statuses == {reply.status: 1}


def test_the_page_size_does_not_change_the_cost(serve, new_company):
    server = serve(new_company)
    for limit in (1, 500):
        server.reset_stats()
        get(server, "deals", limit=limit)
        assert server.stats.tokens == 10


def test_the_log_names_paths_and_parameters_but_no_credential(serve, new_company):
    server = serve(new_company)
    get(server, "deals", limit=5, status="open")
    get(server, "deals", api_token=server.token)
    get(server, "nothing/here")
    first, second, third = server.requests
    assert (first.method, first.path, dict(first.params), first.status, first.tokens) == (
        "GET",
        "/api/v2/deals",
        {"limit": "5", "status": "open"},
        200,
        10,
    )
    assert (second.status, second.tokens) == (401, 0)
    assert (third.status, third.tokens, third.template) == (404, 0, "")
    assert server.token not in repr(server.requests) + repr(server.stats) + repr(server)
    server.reset_stats()
    assert server.requests == []
    assert server.stats.requests == server.stats.fullest_window == 0

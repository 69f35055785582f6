"""The sandbox and pdframe's requests conform to Pipedrive's specification.

Two checkers know nothing of the sandbox: ours uses the digest in this folder and runs in every
clone, the other needs the folder `../shared` with the specification and runs where it is.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, Literal, get_args

import pytest

import pdframe
from pdframe import sandbox
from pdframe.sandbox import Company, Market, Server, Switches
from pdframe.sandbox.company.switches import PipelineMove
from tests.contract import spec_digest
from tests.contract.conformance import KNOWN, Answer, Conformance, Report, conformance

SHARED = Path(__file__).resolve().parents[3] / "shared"
CHECKER = SHARED / "checks" / "conform.py"
DIGEST = spec_digest.load()
NO_BURST: dict[str, Any] = {"burst": 1_000_000, "search_burst": 1_000_000}
Texts = Literal["hostile", "showcase"]
TEXTS = pytest.mark.parametrize("texts", get_args(Texts))


def conforms(company: Company, **settings: Any) -> Report:
    """Run both checkers on a server of the company: no check fails, the server does not crash."""
    with Server(company, **NO_BURST, **settings) as server:
        undeclared = settings.get("undeclared_params", "refused")
        report = conformance(server.url, server.token, undeclared=undeclared)
        assert report.failures == []
        assert server.crashes == []
        if CHECKER.exists():
            arguments = ["--base-url", server.url, "--api-token", server.token]
            command = [sys.executable, str(CHECKER), *arguments]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            assert server.crashes == []
            assert done.returncode == 0, done.stdout + done.stderr
            assert done.stdout.rstrip().endswith(" 0 failed"), done.stdout
    return report


@TEXTS
def test_the_sandbox_serves_every_read_of_the_specification(texts: Texts) -> None:
    report = conforms(Company(seed=1, deals=120, texts=texts))
    reads = {
        f"{version} {path}"
        for version in ("v1", "v2")
        for path, described in DIGEST[version].items()
        if "response" in described
    }
    assert report.served == reads
    assert report.known == KNOWN.keys(), "a known difference is no longer there"
    assert report.checks > 2_500


@TEXTS
def test_every_request_of_pdframe_is_declared(texts: Texts) -> None:
    """Load every table, refresh after a week, search: paths, parameters and values are known."""
    warnings.simplefilter("ignore", pdframe.DataWarning)
    with sandbox.connect(
        seed=3, deals=40, company=texts, progress=False, max_age=0, **NO_BURST
    ) as account:
        account.sync(full=True)
        account.advance(days=7)
        account.sync()
        ids = list(account.deals()["id"].head(3))
        for table in ("deal_changes", "deal_followers", "deal_follower_changes", "discounts"):
            getattr(account, table)(ids)
        account.project_changes()
        account.product_variations()
        account.deals(deleted=True)
        account.search("deal")
        account.search("deal", "deal", status="open", exact=True, fields="title")
        account.search_field("deal", "deal", "title", match="beginning")
        requests = account.server.requests
    served = set()
    for request in requests:
        assert request.method == "GET"
        _, _, version, path = request.template.split("/", 3)
        parameters = DIGEST[version][f"/{path}"]["parameters"]
        served.add(f"/{path}")
        for name, value in request.params.items():
            assert parameters[name]["in"] == "query", (path, name)
            allowed = parameters[name].get("enum")
            assert not allowed or set(value.split(",")) <= set(allowed), (path, name, value)
        needed = {name for name, each in parameters.items() if each.get("required")}
        assert {name for name in needed if parameters[name]["in"] == "query"} <= {*request.params}
        assert request.tokens in (0, DIGEST[version][f"/{path}"]["cost"]["get"])
    assert len(served) > 30


def test_the_digest_is_of_the_specification_beside_this_checkout() -> None:
    if not (SHARED / "spec").exists():
        pytest.skip("the specification (../shared/spec) is not beside this checkout")
    for name, digest in DIGEST["sha256"].items():
        content = (SHARED / "spec" / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest, f"{name}: write the digest again"
    assert spec_digest.DIGEST.stat().st_size < 400_000


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "deals"), [(7, 2_000), *((seed, 400) for seed in range(1, 6))])
@TEXTS
def test_the_sandbox_conforms_to_the_specification(seed: int, deals: int, texts: Texts) -> None:
    conforms(Company(seed=seed, deals=deals, texts=texts))


@pytest.mark.slow
@pytest.mark.parametrize(
    "in_changelog", [move for move in get_args(PipelineMove) if move != "together"]
)
def test_the_sandbox_conforms_with_every_switch_turned(in_changelog: PipelineMove) -> None:
    """All switches at another setting than their default, after every write that the API allows."""
    switches = Switches(
        archiving_moves_update_time=False,
        deleting_moves_update_time=False,
        reopening_moves_update_time=False,
        line_edits_move_update_time=False,
        stage_change_time_if_never_moved="set",
        changelog_has_creation=True,
        products_count_includes_disabled=False,
        revenue_formula="calendar",
        pipeline_move_in_changelog=in_changelog,
        moved_stage_in_changelog=False,
        moving_stages_moves_update_time=False,
        activities_have_custom_fields=True,
        date_ahead_seconds=2,
        cursor_lifetime=3_600,
    )
    company = Company(seed=1, deals=200, switches=switches)
    write_as_a_program_may(company)
    conforms(company, query_token=True, undeclared_params="ignored", daily_headers=False)


@TEXTS
def test_the_sandbox_conforms_with_a_market(texts: Texts) -> None:
    """Every setting of the market on."""
    market = Market(
        shock_sd=0.8,
        rep_shock_sd=0.3,
        quarter_end_rush=3,
        poisson_arrivals=True,
        informative_close_dates=True,
        close_date_sd=0.3,
        slipping_close_dates=True,
        capacity=6,
        losses_by_age=0.5,
        break_at=date(2026, 1, 1),
        break_factor=0.6,
        rep_leaves=((date(2026, 6, 1), 1014),),
        bulk_import=(date(2026, 7, 6), 30),
        bulk_close=date(2026, 7, 7),
    )
    settings = {field.name for field in fields(Market)}
    off = {name for name in settings if getattr(market, name) == getattr(Market(), name)}
    assert off == set()
    company = Company(seed=1, deals=120, market=market, texts=texts)
    company.advance(30)
    conforms(company)


@pytest.mark.slow
def test_the_sandbox_conforms_after_every_write_of_the_api() -> None:
    """All switches at their default, after the same writes."""
    company = Company(seed=1, deals=200)
    write_as_a_program_may(company)
    conforms(company)


def write_as_a_program_may(company: Company) -> None:
    """Set status and times by hand, move a deal to another pipeline, merge two, move a stage."""
    deals = [
        row
        for row in company.tables["deals"].values()
        if not row["is_deleted"] and not row["is_archived"]
    ]
    stages = company.tables["stages"].values()
    won, lost, opened = (
        [row["id"] for row in deals if row["status"] == status]
        for status in ("won", "lost", "open")
    )
    company.patch_deal(lost[0], status="won", won_time="2026-02-03T10:00:00Z")
    company.patch_deal(
        won[0], status="lost", lost_time="2026-02-04T10:00:00Z", lost_reason="Set by hand"
    )
    company.patch_deal(won[1], won_time="2025-12-31T23:59:59Z", add_time="2020-01-01T00:00:00Z")
    company.patch_deal(won[2], status="open")
    company.merge_deals(opened[0], opened[1])
    row = company.tables["deals"][opened[2]]
    elsewhere = next(
        stage["id"]
        for stage in stages
        if stage["pipeline_id"] != row["pipeline_id"] and not stage["is_deleted"]
    )
    company.move_deal(opened[2], elsewhere)
    stage = company.tables["stages"][row["stage_id"]]
    other = next(
        p["id"]
        for p in company.tables["pipelines"].values()
        if p["id"] != stage["pipeline_id"] and not p["is_deleted"]
    )
    company.move_stage(stage["id"], other)
    company.advance(days=7)


# Each check fails on a server that breaks its rule.

SOME = ("/dealFields", "/deals", "/deals/search", "/deals/products", "/deals/{id}", "/stages")
Ask = Callable[..., Answer]


@dataclass
class Broken(Conformance):
    """Checks of a server whose answers are spoilt on the way; `spoil` gets the request too."""

    spoil: Callable[..., Answer] = lambda ask, path, params, how: ask(path, params, **how)

    def get(self, path: str, params: Any = None, **how: Any) -> Answer:
        return self.spoil(super().get, path, dict(params or {}), how)


def rows_spoilt(path: str, change: Callable[[dict[str, Any]], object]) -> Callable[..., Answer]:
    """Change every row of the answers of one path."""

    def spoil(ask: Ask, called: str, params: dict[str, Any], how: dict[str, Any]) -> Answer:
        answer = ask(called, params, **how)
        if called == path and answer.status == 200:
            for row in answer.body["data"]:
                change(row)
        return answer

    return spoil


def without(*names: str) -> Callable[..., Answer]:
    """Ignore some parameters."""

    def spoil(ask: Ask, called: str, params: dict[str, Any], how: dict[str, Any]) -> Answer:
        return ask(called, {key: params[key] for key in params if key not in names}, **how)

    return spoil


def always(status: int, *paths: str, method: str = "GET") -> Callable[..., Answer]:
    """Answer some paths with a status."""

    def spoil(ask: Ask, called: str, params: dict[str, Any], how: dict[str, Any]) -> Answer:
        if called in paths and how.get("method", "GET") == method:
            return Answer(status, {"success": status == 200, "data": []}, None)
        return ask(called, params, **how)

    return spoil


def refused_values(ask: Ask, called: str, params: dict[str, Any], how: dict[str, Any]) -> Answer:
    """Refuse a value that is declared."""
    if params.get("sort_by") == "update_time":
        return Answer(400, {"success": False, "error": "no such field"}, None)
    return ask(called, params, **how)


def any_token(ask: Ask, called: str, params: dict[str, Any], how: dict[str, Any]) -> Answer:
    return ask(called, params, **{key: how[key] for key in how if key != "token"})


def cheaper(ask: Ask, called: str, params: dict[str, Any], how: dict[str, Any]) -> Answer:
    answer = ask(called, params, **how)
    return Answer(answer.status, answer.body, answer.remaining and answer.remaining // 2)


def unsuccessful(ask: Ask, called: str, params: dict[str, Any], how: dict[str, Any]) -> Answer:
    answer = ask(called, params, **how)
    if called == "v2/stages" and answer.status == 200:
        answer.body["success"] = False
    return answer


def default_board(ask: Ask, called: str, params: dict[str, Any], how: dict[str, Any]) -> Answer:
    """Answer a request that lacks what it requires."""
    if called == "v2/deals/products":
        params.setdefault("deal_ids", "1")
    return ask(called, params, **how)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(Company(seed=1, deals=60), **NO_BURST) as server:
        yield server


def failures(server: Server, spoil: Callable[..., Answer] | None = None) -> list[str]:
    """Check a few operations of a server, its answers spoilt or not."""
    some = {path: DIGEST["v2"][path] for path in SOME}
    settings: dict[str, Any] = {"digest": {"v1": {}, "v2": some}} | (
        {"spoil": spoil} if spoil else {}
    )
    return Broken(server.url, server.token, **settings).run().failures


def test_a_sound_server_passes_the_same_checks(server: Server) -> None:
    assert failures(server) == []


@pytest.mark.parametrize(
    ("spoil", "failure"),
    [
        (
            rows_spoilt("v2/deals", lambda row: row.update(hue="red")),
            "v2 /deals data[]: undeclared hue",
        ),
        (
            rows_spoilt("v2/deals", lambda row: row.pop("currency")),
            "v2 /deals: no row has currency",
        ),
        (
            rows_spoilt("v2/deals", lambda row: row.update(owner_id=str(row["owner_id"]))),
            "v2 /deals data[].owner_id: str instead of integer",
        ),
        (
            rows_spoilt("v2/dealFields", lambda row: row.pop("field_type")),
            "v2 /dealFields data[]: lacks field_type",
        ),
        (unsuccessful, "v2 /stages: success is not true"),
        (cheaper, "v2 /deals: costs 5 tokens instead of 10"),
        (always(404, "v2/stages"), "v2 /stages: status 404"),
        (always(200, "v2/webhooks"), "v2 /webhooks: status 200"),
        (always(200, "v1/deals"), "v1 /deals: status 200"),
        (always(200, "v2/stages", method="POST"), "POST v2 /stages: status 200"),
        (without("not_declared_at_all"), "v2 /deals: takes an undeclared parameter"),
        (without("limit"), "v2 /deals with limit=1: more rows than the limit"),
        (without("limit"), "v2 /deals with limit=501: status 200"),
        (without("status"), "v2 /deals with status=not-in-the-list: status 200"),
        (without("include_fields"), "v2 /deals with include_fields=products_count: no row has"),
        (without("cursor"), "v2 /deals: the second page repeats the first"),
        (without("cursor"), "v2 /deals: a broken cursor has 200"),
        (refused_values, "v2 /deals with sort_by=update_time: 400"),
        (default_board, "v2 /deals/products without deal_ids: status 200"),
        (any_token, "v2 /deals: a wrong token has 200"),
    ],
)
def test_a_broken_server_fails(server: Server, spoil: Callable[..., Answer], failure: str) -> None:
    shown = failures(server, spoil)
    assert any(each.startswith(failure) for each in shown), shown


def test_a_server_that_refuses_what_it_should_ignore_fails(server: Server) -> None:
    some = {"v1": {}, "v2": {"/stages": DIGEST["v2"]["/stages"]}}
    report = conformance(server.url, server.token, undeclared="ignored", digest=some)
    assert report.failures == ["v2 /stages: does not ignore an undeclared parameter"]

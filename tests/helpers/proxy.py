"""A proxy between an account and the sandbox's server that alters answers: for values and refusals
that a synthetic company does not have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import httpx

import pdframe
from pdframe import sandbox
from pdframe.sandbox.server import Server
from tests.helpers.scripted_server import Reply, Scripted, fail

Alter: TypeAlias = Callable[[str, Mapping[str, str], Any], Reply | None]
"""Gets path ("/deals"), parameters and decoded answer; changes the answer, or returns another."""


@contextmanager
def through_proxy(server: Server, alter: Alter) -> Iterator[str]:
    """Pass requests on to a server, and its answers through `alter`; yield the proxy's origin."""
    with httpx.Client(base_url=server.url, trust_env=False) as client, Scripted.running() as proxy:

        def forward(seen: Any) -> Reply:
            passed = {
                name: value
                for name, value in seen.headers.items()
                if name.lower() not in ("host", "connection", "accept-encoding")
            }
            answer = client.get(seen.path, params=seen.params, headers=passed)
            content = answer.json()
            other = alter(seen.path.partition("/api/")[2][2:], seen.params, content)
            if other is not None:
                return other
            headers = {
                name: value
                for name, value in answer.headers.items()
                if name.lower() not in ("content-length", "content-encoding", "transfer-encoding")
            }
            return Reply(answer.status_code, json.dumps(content).encode(), headers)

        proxy.last = forward
        yield proxy.url


@contextmanager
def altered(
    account: sandbox.SandboxAccount, alter: Alter, **options: Any
) -> Iterator[pdframe.Account]:
    """Connect to the company and the cache of an account again, through a proxy."""
    with (
        through_proxy(account.server, alter) as origin,
        pdframe.connect(
            base_url=origin,
            api_token=account.server.token,
            cache_dir=account.cache_path.parent,
            progress=False,
            **options,
        ) as other,
    ):
        yield other


def refusing(*paths: str, status: int = 403) -> Alter:
    """Refuse the lists at these paths: the user lacks a permission, or with 402 the plan."""

    def refuse(path: str, params: Mapping[str, str], content: Any) -> Reply | None:
        return fail(status, "The user may not see this.") if path in paths else None

    return refuse

"""Custom fields that rows hold before the list of fields declares them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from pdframe import sandbox


@contextmanager
def undeclared(
    account: sandbox.SandboxAccount, entity: str, codes: Iterable[str]
) -> Iterator[None]:
    """Leave fields out of the list of fields, not out of the rows, while the block runs."""
    company, server = account.company_model, account.server
    every, hidden = company.fields[entity], set(codes)
    others = [field for field in every if field["field_code"] not in hidden]
    lists = 0

    def hide(path: str, params: Mapping[str, str]) -> None:
        nonlocal lists
        is_list = path.endswith(f"/{entity}Fields")
        lists += is_list
        company.fields[entity] = others if is_list else every

    server.before_request = hide
    try:
        yield
    finally:
        server.before_request, company.fields[entity] = None, every
    assert lists

"""Compare the public interface with its snapshot, and show what each environment variable does.

Where a change is intended, `python -m tests.contract.public_interface write` renews the snapshot;
the change stands in CHANGELOG then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import pdframe
from pdframe import errors, metrics, sandbox
from tests.contract import public_interface

SNAPSHOT: dict[str, Any] = json.loads(public_interface.SNAPSHOT.read_text(encoding="utf-8"))
TOKEN = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def accounts() -> Iterator[tuple[sandbox.SandboxAccount, sandbox.SandboxAccount]]:
    with public_interface.accounts() as both:
        yield both


@pytest.fixture(scope="module")
def interface(accounts: tuple[sandbox.SandboxAccount, sandbox.SandboxAccount]) -> dict[str, Any]:
    collected: dict[str, Any] = json.loads(
        public_interface.text(public_interface.collect(*accounts))
    )
    return collected


@pytest.mark.parametrize("part", SNAPSHOT)
def test_the_interface_is_as_the_snapshot_says(interface: dict[str, Any], part: str) -> None:
    shown = public_interface.difference(SNAPSHOT[part], interface[part])
    assert not shown, f"The public interface changed:\n{shown}"


def test_the_snapshot_covers_every_part(interface: dict[str, Any]) -> None:
    assert list(interface) == list(SNAPSHOT)
    named = {name.split()[0] for name in SNAPSHOT["frames"]["metrics"]}
    assert named == set(metrics.__all__) - {"RevenuePolicy", "schema"}
    methods = SNAPSHOT["modules"]["pdframe"]["Account"]["members"]
    framed = {name for name, lines in methods.items() if lines[-1] == "-> DataFrame"}
    assert framed == {
        name.partition("(")[0].partition(",")[0] for name in SNAPSHOT["frames"]["account"]
    }


def test_a_frame_without_rows_has_the_columns_of_a_frame_with_rows() -> None:
    """Only categories may differ, which come from the fields and rows of an account."""
    for frames in SNAPSHOT["frames"].values():
        for name, lines in frames.items():
            if name.endswith(", no deals"):
                full = frames[name.removesuffix(", no deals")]
                assert len(full) == len(lines), name
                for one, other in zip(full, lines, strict=True):
                    assert one == other or ": category" in one, name
                    assert one.partition(": category")[0] == other.partition(": category")[0], name


def test_a_difference_is_shown_with_its_path() -> None:
    before = {"modules": {"pdframe": {"connect": ["company: str", "-> Account"]}}, "removed": 1}
    now = {"modules": {"pdframe": {"connect": ["company: int", "-> Account"]}}, "new": 2}
    shown = public_interface.difference(before, now)
    assert "modules > pdframe > connect:" in shown
    assert '- "company: str",' in shown
    assert '+ "company: int",' in shown
    assert "removed:" in shown
    assert "new:" in shown
    assert public_interface.difference(before, before) == ""


def test_annotations_do_not_depend_on_modules_or_aliases() -> None:
    assert public_interface.annotation(pd.DataFrame | None, {}) == "DataFrame | None"
    assert public_interface.annotation("pd.DataFrame | None", {"pd": pd}) == "DataFrame | None"
    assert (
        public_interface.annotation("Names | None", {"Names": "int | list[str]"})
        == "int | list[str] | None"
    )
    assert public_interface.annotation(dict[str, pd.Timestamp], {}) == "dict[str, Timestamp]"


# Environment variables: each has an effect, in a process that has no other.


@pytest.fixture
def server(accounts: tuple[sandbox.SandboxAccount, sandbox.SandboxAccount]) -> Any:
    return accounts[0].server


def test_every_variable_that_the_code_names_is_tested_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    for name in SNAPSHOT["environment"]:
        assert f'setenv("{name}"' in source, name


def test_origin_token_and_cache_folder_are_taken_from_the_environment(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEDRIVE_BASE_URL", server.url)
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", server.token)
    monkeypatch.setenv("PDFRAME_CACHE_DIR", str(tmp_path / "here"))
    with pdframe.connect(progress=False) as account:
        assert len(account.users()) > 0
        assert account.cache_path.parent == tmp_path / "here"


def test_the_company_is_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", TOKEN)
    with pytest.raises(errors.PdframeError):
        pdframe.connect(cache_dir=tmp_path)
    monkeypatch.setenv("PIPEDRIVE_COMPANY", "acme/deals")
    with pytest.raises(errors.ArgumentError, match="company"):
        pdframe.connect(cache_dir=tmp_path)
    monkeypatch.setenv("PIPEDRIVE_COMPANY", "acme")
    pdframe.connect(cache_dir=tmp_path).close()


def test_arguments_come_before_the_environment(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPEDRIVE_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", TOKEN)
    monkeypatch.setenv("PDFRAME_CACHE_DIR", str(tmp_path / "elsewhere"))
    given: dict[str, Any] = {"base_url": server.url, "api_token": server.token}
    with pdframe.connect(**given, cache_dir=tmp_path / "here", progress=False) as account:
        assert len(account.stages()) > 0
        assert account.cache_path.parent == tmp_path / "here"
    assert not (tmp_path / "elsewhere").exists()

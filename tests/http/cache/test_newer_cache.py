"""A cache that a newer pdframe wrote is refused by name: no file is changed, and nothing is asked
of the API.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pdframe
from pdframe import cli, sandbox
from pdframe._files import seal
from pdframe.cache.known_accounts import Accounts
from pdframe.cache.store import MANIFEST
from pdframe.errors import CacheError, DamagedError, NewerCacheError
from pdframe.sandbox.server import Server
from tests.helpers import crash
from tests.helpers.cache_files import files, folder, store_of, write_part

pytestmark = pytest.mark.filterwarnings("ignore:.*not defined:pdframe.errors.DataWarning")

WORLD_TABLES = ("deals", "deal_products", "stages", "deal_changes")
KEPT = ("history", "history.looks", "line_history", "line_history.looks", "deals.deleted")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with crash.server_of(sandbox.Company(seed=3, deals=20)) as server:
        yield server


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of today's version."""
    cache = tmp_path_factory.mktemp("world") / "cache"
    with connect(server, cache) as account:
        account.sync(*WORLD_TABLES)
        account.deals(deleted=True)
    return cache


@pytest.fixture
def cache(world: Path, tmp_path: Path) -> Path:
    shutil.copytree(world, tmp_path / "cache")
    return tmp_path / "cache"


def connect(server: Server, cache: Path) -> pdframe.Account:
    return crash.connect(server.url, server.token, cache, max_age="1h")


def newer(path: Path, **content: Any) -> None:
    """Write a file again as a newer version would: another format, unknown keys, its own
    checksum.
    """
    now = (
        {name: value for name, value in json.loads(path.read_bytes()).items() if name != "crc32"}
        if path.exists()
        else {}
    )
    path.write_bytes(
        seal({**now, "format": 3, "written_by": "0.9.1", "layout": {"deep": [1]}, **content})
    )


ENTRIES: dict[str, Callable[[pdframe.Account], object]] = {
    "sync": lambda account: account.sync(),
    "sync of one table": lambda account: account.sync("stages", full=True),
    "loader": lambda account: account.deals(),
    "refresh": lambda account: account.stages(refresh=True),
    "offline": lambda account: account.deals(refresh=False),
    "records": lambda account: account.deal_changes([1, 2]),
    "estimate": lambda account: account.estimate(),
    "status": lambda account: account.status(),
    "fields": lambda account: account.fields("deals"),
    "stage_visits": lambda account: account.stage_visits(refresh=False),
    "as_of": lambda account: account.as_of("2026-06-30"),
    "path": lambda account: account.cache_path,
    "export": lambda account: account.export(account.cache_path.parent.parent / "export"),
}


@pytest.mark.parametrize(
    "which",
    [
        "every manifest",
        "kept history alone",
        "line history alone",
        "deleted deals alone",
        "ledger",
        "accounts",
    ],
)
def test_it_is_refused_at_every_entry(
    which: str,
    cache: Path,
    server: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = folder(cache)
    chosen = {
        "every manifest": sorted(root.glob(f"*/{MANIFEST}")),
        "kept history alone": [root / "history" / MANIFEST],
        "line history alone": [root / "line_history.looks" / MANIFEST],
        "deleted deals alone": [root / "deals.deleted" / MANIFEST],
        "ledger": [root / "ledger.json"],
        "accounts": [cache / "accounts.json"],
    }[which]
    for path in chosen:
        newer(path)
    before, (requested, tokens) = files(cache), (server.stats.requests, server.stats.tokens)
    for name, entry in ENTRIES.items():
        with connect(server, cache) as account:
            with pytest.raises(
                NewerCacheError, match=r"pdframe 0\.9\.1 wrote the cached file .*Update pdframe"
            ) as caught:
                entry(account)
            assert caught.value.written_by == "0.9.1", name
            repr(account)
            account._repr_html_()
            assert account.tokens_today == 0
        assert files(cache) == before, name
    monkeypatch.setenv("PIPEDRIVE_API_TOKEN", server.token)
    monkeypatch.setenv("PIPEDRIVE_BASE_URL", server.url)
    for command in (
        ["sync"],
        ["status"],
        ["estimate"],
        ["fields", "deals"],
        ["export", str(cache.parent / "export")],
    ):
        assert cli.main([*command, "--cache-dir", str(cache), "--quiet"]) == 1
        assert "NewerCacheError: pdframe 0.9.1 wrote" in capsys.readouterr().err
    assert files(cache) == before
    assert (server.stats.requests, server.stats.tokens) == (requested, tokens)


def test_an_upgrade_in_the_middle_of_a_session_is_refused_too(cache: Path, server: Server) -> None:
    """Another process with a newer version writes the cache while this one has it open."""
    with connect(server, cache) as account:
        account.deals()
        for table in KEPT:
            newer(account.cache_path / table / MANIFEST)
        before, requested = files(cache), server.stats.requests
        for entry in (
            lambda: account.sync(),
            lambda: account.deals(refresh=True),
            lambda: account.as_of("2026-06-30"),
        ):
            with pytest.raises(NewerCacheError):
                entry()
        account.deals(refresh=False)
        # Where the budget is newer, no request is counted in it, and none is sent.
        newer(account.cache_path / "ledger.json")
        budget = files(cache)
        with pytest.raises(NewerCacheError):
            account.search("Anna")
        assert server.stats.requests == requested
        assert files(cache) == budget
        assert {name: reported for name, reported in budget.items() if "ledger" not in name} == {
            name: reported for name, reported in before.items() if "ledger" not in name
        }


def test_the_version_is_reported_where_the_file_says_it_and_only_then(
    cache: Path, server: Server
) -> None:
    path = folder(cache) / "stages" / MANIFEST
    for version in (None, 7, "0.9\x1b[31m", "9" * 50):
        newer(path, written_by=version)
        with (
            connect(server, cache) as account,
            pytest.raises(
                NewerCacheError, match=r"^A newer version of pdframe wrote .*in format 3"
            ) as caught,
        ):
            account.stages()
        assert caught.value.written_by is None
    # A checksum that this version does not know is no damage either.
    path.write_text(json.dumps({"format": 7, "written_by": "2.0", "sha256": "abc", "parts": {}}))
    with (
        connect(server, cache) as account,
        pytest.raises(NewerCacheError, match=r"pdframe 2\.0 wrote .*format 7"),
    ):
        account.stages()


def test_today_s_manifest_says_who_wrote_it(cache: Path) -> None:
    for path in folder(cache).glob(f"*/{MANIFEST}"):
        assert json.loads(path.read_bytes())["written_by"] == pdframe.__version__


@pytest.mark.parametrize("name", ["manifest", "ledger", "accounts"])
def test_a_number_that_was_changed_is_damage_as_before(
    name: str, cache: Path, server: Server
) -> None:
    """The checksum of the rest proves that this version wrote it."""
    root = folder(cache)
    path = {
        "manifest": root / "stages" / MANIFEST,
        "ledger": root / "ledger.json",
        "accounts": cache / "accounts.json",
    }[name]
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps({**content, "format": 3}))
    with connect(server, cache) as account:
        if name == "manifest":
            with pytest.raises(DamagedError, match="full=True"):
                account.stages(refresh=False)
            with pytest.warns(pdframe.DataWarning, match="files of 'stages' are deleted"):
                account.stages()
        elif name == "accounts":
            assert Accounts(cache).get("digest") is None
        assert len(account.deals(refresh=False)) > 0


def of_another_codec(path: Path) -> None:
    """Change the codec in the description of the file (ZSTD is 6) to one that is not built in (LZO
    is 3).
    """
    raw = bytearray(path.read_bytes())
    length = int.from_bytes(raw[-8:-4], "little")
    start = len(raw) - 8 - length
    # Thrift: the path of the column is a list of one text, then the codec as a number of its own
    # field.
    place = raw.index(b"\x19\x18\x02id\x15\x0c", start) + 6
    raw[place] = 3 * 2
    path.write_bytes(raw)


@pytest.mark.parametrize("how", ["codec", "another form"])
def test_a_part_that_pyarrow_cannot_read_and_that_is_as_it_was_written_is_no_damage(
    how: str, cache: Path, server: Server
) -> None:
    import zlib

    root = folder(cache)
    path = root / "stages" / MANIFEST
    manifest = {
        name: value for name, value in json.loads(path.read_bytes()).items() if name != "crc32"
    }
    part = root / "stages" / manifest["parts"][0]["file"]
    if how == "codec":
        of_another_codec(part)
        with pytest.raises(OSError, match="LZO"):
            pq.ParquetFile(part).read(["id"])
    else:
        part.write_bytes(b"NEW1" + bytes(100) + b"NEW1")
    manifest["parts"][0] |= {"bytes": part.stat().st_size, "crc32": zlib.crc32(part.read_bytes())}
    path.write_bytes(seal(manifest))
    before = files(root / "stages")
    with connect(server, cache) as account:
        for entry in (
            lambda: account.stages(),
            lambda: account.stages(refresh=False),
            lambda: account.stages(refresh=True),
        ):
            with pytest.raises(
                NewerCacheError, match=r"is as it was written, and pyarrow .* cannot read it"
            ):
                entry()
        assert files(root / "stages") == before


def test_a_kept_history_with_columns_that_this_version_does_not_know_is_read_and_keeps_them(
    cache: Path, server: Server
) -> None:
    root = folder(cache)
    with connect(server, cache) as account:
        store = store_of(account)
        rows = store.read("history")
        manifest = store.manifest("history")
        more = rows.append_column("mood", pa.array(["fine"] * rows.num_rows))
        store.replace(manifest, more)
        server.company.add_deal("One more")  # type: ignore[attr-defined]
        account.sync("deals")
        kept = store.read("history")
        assert kept.slice(0, rows.num_rows).equals(more)
        assert kept["mood"].null_count == kept.num_rows - rows.num_rows > 0
    assert not list(root.glob("*.aside-*"))


@pytest.mark.parametrize(
    ("kept", "column"),
    [("history", "stage_id"), ("deals.deleted", "stage_id"), ("deals.deleted", "seen_at")],
)
def test_kept_rows_whose_columns_have_other_types_are_refused_as_they_are(
    kept: str, column: str, cache: Path, server: Server
) -> None:
    root = folder(cache)
    with connect(server, cache) as account:
        store = store_of(account)
        manifest, rows = store.manifest(kept), store.read(kept)
        place = rows.column_names.index(column)
        other = rows.set_column(place, column, rows[column].cast(pa.string()))
        part = write_part(root / kept, "part-000099.parquet", other)
        store.publish(replace(manifest, parts=(part,), next_part=100))
        before = {table: files(root / table) for table in KEPT}
        readers = {
            "history": [
                lambda: account.as_of("2026-06-30"),
                lambda: account.stage_visits(refresh=False),
            ],
            "deals.deleted": [
                lambda: account.deals(deleted=True),
                lambda: account.deals(deleted=True, refresh=False),
            ],
        }
        for entry in (
            *readers[kept],
            lambda: account.sync("deals"),
            lambda: account.sync("deals", full=True),
        ):
            with pytest.raises(NewerCacheError, match=rf"{kept}.*{column}"):
                entry()
        assert {table: files(root / table) for table in KEPT} == before
        assert not list(root.glob("*.aside-*"))
        assert isinstance(NewerCacheError("x"), CacheError)

"""What the folder of a cache can be beside a folder that can be written: links that lead nowhere,
files, folders without rights.

Each is named as what it is, nothing is moved, and nothing is loaded again for it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import pdframe
from pdframe import sandbox
from pdframe.cache.folder import default_cache_dir
from pdframe.errors import ArgumentError, CacheError, DamagedError
from pdframe.sandbox.server import Server
from tests.helpers import crash
from tests.helpers.cache_files import files, folder

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*not defined:pdframe.errors.DataWarning"),
    pytest.mark.skipif(
        not hasattr(os, "symlink") or os.name == "nt", reason="needs links and rights of POSIX"
    ),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with crash.server_of(sandbox.Company(seed=3, deals=20)) as server:
        yield server


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("world") / "cache"
    with connect(server, cache) as account:
        account.sync("deals", "stages")
    return cache


@pytest.fixture
def cache(world: Path, tmp_path: Path) -> Path:
    shutil.copytree(world, tmp_path / "cache")
    return tmp_path / "cache"


def connect(server: Server, cache: Path) -> pdframe.Account:
    return crash.connect(server.url, server.token, cache, max_age="1h")


def into_link(path: Path, *, circle: bool) -> None:
    """Put a link in the place of a file or folder, to where nothing is, or to itself."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(path if circle else path.parent / "gone" / "away")


@pytest.mark.parametrize("circle", [False, True], ids=["dangling", "circle"])
@pytest.mark.parametrize(
    "place",
    [
        "stages",
        "stages/manifest.json",
        "stages/part",
        "history",
        "ledger.json",
        "accounts.json",
        ".",
        "root",
    ],
)
def test_a_link_that_leads_nowhere_is_named(
    place: str, circle: bool, cache: Path, server: Server
) -> None:
    root = folder(cache)
    path = {"accounts.json": cache / "accounts.json", ".": root, "root": cache}.get(
        place, root / place
    )
    if place == "stages/part":
        path = next((root / "stages").glob("part-*"))
    into_link(path, circle=circle)
    requested = server.stats.requests
    # The count of tokens belongs to the account's folder.
    above = root if place == "ledger.json" else cache
    reported = str(path.relative_to(above)) if path != cache else "cache"
    with (
        pytest.raises(CacheError, match="is a link to") as caught,
        connect(server, cache) as account,
    ):
        account.as_of("2026-06-30") if place == "history" else account.stages()
    assert not isinstance(caught.value, DamagedError)
    message = str(caught.value)
    assert f"{reported!r} in the cache folder {above} is a link to {os.readlink(path)!r}" in message
    assert ("leads in a circle" if circle else "is not there") in message
    assert "delete the link" in message
    if place not in ("ledger.json", "accounts.json", ".", "root"):
        # Neither quarantined nor loaded again by a refresh.
        with pytest.raises(CacheError, match="is a link to"), connect(server, cache) as account:
            account.sync("deals") if place == "history" else account.stages(refresh=True)
        assert not list(root.glob("*.aside-*"))
    assert os.path.islink(path)
    if place != "history":
        assert server.stats.requests == requested


def test_links_that_lead_somewhere_are_as_good_as_what_they_lead_to(
    cache: Path, tmp_path: Path, server: Server
) -> None:
    stages = folder(cache) / "stages"
    stages.rename(tmp_path / "elsewhere")
    stages.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(cache)
    with connect(server, tmp_path / "link") as account:
        rows = account.stages(refresh=False)
        assert account.stages(refresh="full").equals(rows)
    assert os.path.islink(stages)


def test_a_part_that_is_a_folder_is_damage_and_is_loaded_again(cache: Path, server: Server) -> None:
    part = next((folder(cache) / "stages").glob("part-*"))
    part.unlink()
    part.mkdir()
    with connect(server, cache) as account:
        with pytest.raises(DamagedError, match="Is a directory"):
            account.stages(refresh=False)
        with pytest.warns(pdframe.DataWarning, match="quarantined as stages.aside-1"):
            assert len(account.stages()) > 0


@pytest.mark.parametrize(
    "content",
    [
        "é".encode("latin-1"),
        b'{"format": 2, "table": "\xff\xfe"}',
        b"\xff\xfe{\x00",
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_manifest_of_another_encoding_is_damage(
    content: bytes, cache: Path, server: Server
) -> None:
    (folder(cache) / "stages" / "manifest.json").write_bytes(content)
    with connect(server, cache) as account:
        with pytest.raises(DamagedError, match="full=True"):
            account.stages(refresh=False)
        assert len(account.deals(refresh=False)) > 0


@pytest.mark.parametrize("place", ["cache", "cache/deeper", "account", "accounts.json"])
def test_a_file_where_a_folder_must_be_and_vice_versa(
    place: str, cache: Path, tmp_path: Path, server: Server
) -> None:
    requested = server.stats.requests
    if place.startswith("cache"):
        (tmp_path / "file").write_text("no folder")
        where = tmp_path / "file" / "deeper" if place != "cache" else tmp_path / "file"
    else:
        where, hit = cache, folder(cache) if place == "account" else cache / "accounts.json"
        shutil.rmtree(hit) if hit.is_dir() else hit.unlink()
        hit.write_text("no folder") if place == "account" else hit.mkdir()
    with (
        pytest.raises(CacheError, match=r"not a folder|Not a directory|Is a directory"),
        connect(server, where) as account,
    ):
        account.stages()
    assert server.stats.requests == requested


@pytest.mark.parametrize("given", ["a\0b", "~nobody-of-this-name/cache", 7])
def test_what_is_no_path_is_an_argument_error(given: object, server: Server) -> None:
    with pytest.raises(ArgumentError, match="cache_dir must be the path of a folder"):
        pdframe.connect(
            base_url=server.url,
            api_token=server.token,
            cache_dir=given,  # type: ignore[arg-type]
        )


ROOT = str(Path(pdframe.__file__).parent.parent)
AS_ANOTHER = """
import json, os, sys
import httpx
import pdframe
from pdframe.cache.folder import default_cache_dir
url, token, own, shared = sys.argv[1:]
results, cache = {}, own
def tell(name, work):
    try:
        results[name] = work()
    except Exception as error:
        results[name] = [type(error).__name__, str(error)]
def account():
    return pdframe.connect(
        base_url=url, api_token=token, cache_dir=cache, max_age=None, progress=False
    )
def look():
    tell("connect", lambda: account() is not None)
    tell("offline", lambda: len(account().deals(refresh=False)))
    tell("within max_age", lambda: len(account().stages()))
    tell("visits", lambda: len(account().stage_visits(refresh=False)))
    tell("as_of", lambda: len(account().as_of("2026-06-30")))
    tell("status", lambda: int(account().status()["rows"].notna().sum()))
    tell("estimate", lambda: len(account().estimate()))
    tell("repr", lambda: "deals" in repr(account()))
    tell("sync", lambda: len(account().sync()))
    tell("refresh", lambda: len(account().stages(refresh=True)))
# In a copy of its own first: modules are imported here that another user may have no right to read.
look()
assert not [value for value in results.values() if isinstance(value, list)], results
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
cache = shared
def ask(*args, **options):
    raise AssertionError("asked")
httpx.Client.send = ask
look()
print(json.dumps(results))
"""


def as_another(server: Server, world: Path, cache: Path) -> dict[str, object]:
    """What a user sees who owns nothing of it; the tests may run as one who can write
    everything.
    """
    own = Path(tempfile.mkdtemp()) / "own"
    shutil.copytree(world, own)
    code = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        AS_ANOTHER,
        server.url,
        server.token,
        str(own),
        str(cache),
    ]
    done = subprocess.run(
        code,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd="/",
        env=os.environ | {"PYTHONPATH": ROOT},
    )
    shutil.rmtree(own.parent)
    assert done.returncode == 0, done.stderr
    reported: dict[str, object] = json.loads(done.stdout)
    return reported


@pytest.fixture
def shared(world: Path) -> Iterator[Path]:
    """A cache that others can read and no user can write.

    It is in no folder of pytest's: a session that starts at the same time closes these to others.
    """
    parent = Path(tempfile.mkdtemp())
    cache = parent / "cache"
    shutil.copytree(world, cache)
    parent.chmod(0o755)
    for path in (cache, *cache.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield cache
    for path in (cache, *cache.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    shutil.rmtree(parent)


def test_a_cache_that_cannot_be_written_can_be_read(
    shared: Path, world: Path, server: Server
) -> None:
    before = files(shared)
    reported = as_another(server, world, shared)
    with_deals = reported["offline"]
    assert isinstance(with_deals, int)
    assert with_deals > 10
    assert reported["connect"] is reported["repr"] is True
    for name in ("within max_age", "visits", "as_of", "status", "estimate"):
        assert isinstance(reported[name], int), reported[name]
        assert reported[name] > 0
    for name in ("sync", "refresh"):
        kind, message = reported[name]  # type: ignore[misc]
        assert kind == "CacheError"
        assert "cannot be locked" in message
        assert "refresh=False" in message
    assert files(shared) == before


@pytest.mark.parametrize("place", ["cache", "account", "table", "above"])
def test_a_folder_without_rights_is_a_typed_error_that_names_it(
    place: str, shared: Path, world: Path, server: Server
) -> None:
    root = folder(shared)
    hit = {"cache": shared, "account": root, "table": root / "deals", "above": shared.parent}[place]
    mode = hit.stat().st_mode
    hit.chmod(0o000)
    try:
        reported = as_another(server, world, shared)
    finally:
        hit.chmod(mode)
    kind, message = reported["offline"]  # type: ignore[misc]
    assert kind == "CacheError", message
    assert str(hit if place != "above" else shared.parent) in message
    assert all(
        value[0] in ("CacheError", "NotCachedError")
        for value in reported.values()
        if isinstance(value, list)
    ), str(reported)
    assert not list(root.glob("*.aside-*"))


def test_the_default_folder_is_detected_below_folders_that_cannot_be_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", refused)
    assert default_cache_dir(tmp_path) == tmp_path.resolve() / "cache"

"""Exports to an S3 of this machine: the set of a folder, the list of its files last, and an upload
that is killed leaves the old set valid.

The server is moto, in an environment of its own (`make engines`): its client of AWS does not go
with the locked versions of pdframe's.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

import pdframe
from pdframe import sandbox
from pdframe.bi._targets import RemoteFolder
from pdframe.errors import CacheError
from tests.helpers import tiers
from tests.helpers.engines import export_and_die, free_port, moto_python

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
SECRET = "hunter2secretkey"
TABLES = ("deals", "persons", "stages")


class Bucket:
    """A bucket of a server, and what it holds."""

    def __init__(self, address: str, name: str) -> None:
        self.system = pafs.S3FileSystem(
            access_key="user",
            secret_key=SECRET,
            endpoint_override=address,
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )
        self.system.create_dir(name)
        self._name = name
        self.url = (
            f"s3://user:{SECRET}@{name}/bi?endpoint_override={address}&scheme=http&region=us-east-1"
        )

    def contents(self, folder: str = "bi") -> dict[str, bytes]:
        listed = self.system.get_file_info(pafs.FileSelector(f"{self._name}/{folder}", True, True))
        contents = {}
        for info in listed:
            if info.type == pafs.FileType.File:
                with self.system.open_input_file(info.path) as file:
                    contents[info.path.removeprefix(f"{self._name}/{folder}/")] = file.read()
        return contents

    def times(self) -> dict[str, int]:
        """Return when each file got its content."""
        listed = self.system.get_file_info(pafs.FileSelector(f"{self._name}/bi"))
        return {info.base_name: info.mtime_ns for info in listed}


def puts(log: Path, bucket: str) -> list[str]:
    """Return the files of tables that the server was given, in that order, in their own place."""
    named = re.findall(rf'"(?:\x1b\[\d+m)*PUT /{bucket}/bi/([a-z_]+\.parquet) ', log.read_text())
    return list(named)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of the server."""
    return tmp_path_factory.mktemp("moto") / "log"


@pytest.fixture(scope="module")
def address(log: Path) -> Iterator[str]:
    """The address of a server that moto runs."""
    command = [moto_python(), "-m", "moto.server", "-H", "127.0.0.1"]
    port = free_port()
    with log.open("w") as lines:
        server = subprocess.Popen([*command, "-p", str(port)], stdout=lines, stderr=lines)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/").close()
                break
            assert server.poll() is None, "moto has ended"
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def loaded() -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=3, deals=40, company="hostile", burst=100_000, progress=False
    ) as account:
        account.sync()
        yield account


def in_folder(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def data(contents: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files that are the set: not its listing, journal or staging."""
    return {
        name: content
        for name, content in contents.items()
        if not name.startswith((".pdframe", "pdframe-", ".git"))
    }


def test_a_star_is_that_of_a_folder_and_its_list_of_files_is_last(
    loaded: sandbox.SandboxAccount, address: str, log: Path, tmp_path: Path
) -> None:
    bucket = Bucket(address, "star")
    loaded.export(tmp_path / "star", layout="star")
    done = loaded.export(bucket.url, layout="star")
    assert SECRET not in str(done.to_dict())
    assert done["path"][0].startswith("s3://star/bi/")
    remote, local = data(bucket.contents()), data(in_folder(tmp_path / "star"))
    assert len(local) > 30
    assert remote.keys() == local.keys()
    # Each export has an id of its own.
    other = {name for name in local if remote[name] != local[name]}
    assert other == {"meta_export.parquet", "meta_files.parquet"}
    assert not [name for name in bucket.contents() if name.startswith(".pdframe-")]
    assert len(puts(log, "star")) > 30
    assert puts(log, "star")[-1] == "meta_files.parquet"
    assert pdframe.export_check(bucket.url)
    assert SECRET not in repr(pdframe.export_check(bucket.url))
    before = bucket.times()
    assert not loaded.export(bucket.url, layout="star")["written"].any()
    assert bucket.times() == before


def test_parts_and_a_file_system_that_holds_the_credentials(
    loaded: sandbox.SandboxAccount, address: str, tmp_path: Path
) -> None:
    bucket = Bucket(address, "parts")
    system = pafs.SubTreeFileSystem("parts/bi", bucket.system)
    for most in (20, 10**6, 20):
        loaded.export(tmp_path / "local", *TABLES, max_rows=most)
        loaded.export(system, *TABLES, max_rows=most)
        assert data(bucket.contents()) == data(in_folder(tmp_path / "local"))
        assert pdframe.export_check(system)


def test_a_killed_upload_leaves_the_old_set_and_the_next_completes(
    loaded: sandbox.SandboxAccount, address: str
) -> None:
    bucket = Bucket(address, "killed")
    loaded.export(bucket.url, *TABLES, names=False)
    old = data(bucket.contents())
    target = Bucket(address, "complete")
    loaded.export(target.url, *TABLES, names=True)
    new = data(target.contents())
    assert old != new
    server = loaded.server
    context = multiprocessing.get_context("spawn")
    uploads = len([name for name in new if old.get(name) != new[name]])
    # The claim, the uploads, the listing and the journal come before that; then files are moved.
    for step in tiers.places(range(uploads + 5), 4):
        loaded.export(bucket.url, *TABLES, names=False)
        assert data(bucket.contents()) == old
        dying = context.Process(
            target=export_and_die,
            args=(server.url, server.token, loaded.cache_path.parent, bucket.url, TABLES, step),
        )
        dying.start()
        dying.join()
        assert dying.exitcode == -signal.SIGKILL, step
        present = data(bucket.contents())
        if step <= uploads + 1:
            assert present == old, step
        assert bool(pdframe.export_check(bucket.url)) is (present in (old, new)), step
        loaded.export(bucket.url, *TABLES, names=True)
        assert data(bucket.contents()) == new
        check = pdframe.export_check(bucket.url)
        assert check
        assert check.note == ""
        left = [name for name in bucket.contents() if ".pdframe-" in name or "journal" in name]
        assert not left, step


def test_an_export_that_another_one_overtakes_stops(
    loaded: sandbox.SandboxAccount, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each change of the first export, the second begins and ends."""
    how: dict[str, dict[str, Any]] = {
        "old": {"names": False},
        "first": {"names": True, "max_rows": 20},
        "second": {"names": True},
    }
    sets = {}
    for name, arguments in how.items():
        bucket = Bucket(address, f"once-{name}")
        loaded.export(bucket.url, *TABLES, **arguments)
        sets[name] = data(bucket.contents())
    assert sets["first"] != sets["second"] != sets["old"]
    bucket = Bucket(address, "at-once")
    left = 0

    def interrupted(change: Any) -> Any:
        def changing(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == -1:
                loaded.export(bucket.url, *TABLES, **how["second"])
            return change(*args, **options)

        return changing

    for name in ("create", "move", "delete"):
        monkeypatch.setattr(RemoteFolder, name, interrupted(getattr(RemoteFolder, name)))

    def first(step: int) -> bool:
        """Export until the second overtakes it before a change; return whether it was stopped."""
        nonlocal left
        left = 10**6
        loaded.export(bucket.url, *TABLES, **how["old"])
        left = step
        try:
            loaded.export(bucket.url, *TABLES, **how["first"])
        except CacheError as error:
            messages.append(str(error))
            return True
        return False

    messages: list[str] = []
    first(10**6)
    changes = 10**6 - left
    stopped = []
    for step in tiers.places(range(0, changes, 3), 4):
        stopped.append(first(step))
        # Before its claim it was not overtaken: it began last.
        assert stopped[-1] is (step > 0), step
        assert data(bucket.contents()) == sets["second" if step else "first"], step
        assert pdframe.export_check(bucket.url)
        assert not [name for name in bucket.contents() if ".pdframe" in name or "journal" in name]
    assert any(stopped)
    assert all("so this one stopped" in message for message in messages)

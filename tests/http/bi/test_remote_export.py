"""Exports to file systems of pyarrow: the same set as in a folder, the file that names all others
last, and a killed upload leaves the old set.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

import pdframe
from pdframe import sandbox
from pdframe.errors import ArgumentError, CacheError
from tests.helpers import tiers
from tests.helpers.object_store import Store, failing

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
TABLES = ("deals", "persons", "stages")
SECRET = "hunter2-secret"


def dying(folder: Path, after: int) -> Store:
    """A store that fails from its `after`-th change on."""
    return Store(folder, failing(after, f"403 of https://user:{SECRET}@store"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".parquet", ".sql", ".yml", ".csv")
        and ".pdframe-" not in str(path.relative_to(folder))
    }  # fmt: skip


@pytest.fixture(scope="module")
def loaded() -> Iterator[sandbox.SandboxAccount]:
    with sandbox.connect(
        seed=3, deals=40, company="hostile", burst=100_000, progress=False
    ) as account:
        account.sync()
        yield account


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_a_file_system_gets_the_set_of_a_folder(
    loaded: sandbox.SandboxAccount, tmp_path: Path, format: Any
) -> None:
    loaded.export(tmp_path / "local", *TABLES, format=format, max_rows=20)
    store = Store(tmp_path / "remote")
    done = loaded.export(store.system(), *TABLES, format=format, max_rows=20)
    assert contents(tmp_path / "remote") == contents(tmp_path / "local")
    assert done["path"][0] == f"py::store://deals.{format}"
    assert pdframe.export_check(store.system())
    store.changes.clear()
    assert not loaded.export(store.system(), *TABLES, format=format, max_rows=20)["written"].any()
    assert store.changes == []
    # From parts to files, and back.
    for most in (10**6, 20):
        loaded.export(tmp_path / "local", *TABLES, format=format, max_rows=most)
        loaded.export(store.system(), *TABLES, format=format, max_rows=most)
        assert contents(tmp_path / "remote") == contents(tmp_path / "local")
        assert pdframe.export_check(store.system())


def test_a_star_on_a_file_system_ends_with_the_list_of_its_files(
    loaded: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    store = Store(tmp_path / "remote")
    loaded.export(store.system(), layout="star")
    copies = [change for change in store.changes if change.startswith("copy")]
    assert copies[-1] == "copy meta_files.parquet"
    assert len(copies) > 30
    assert pdframe.export_check(store.system())
    loaded.export(store.system(), layout="star", format="duckdb")
    assert (tmp_path / "remote/star.duckdb").stat().st_size > 100_000


def test_a_killed_upload_leaves_the_old_set_and_the_next_export_completes(
    loaded: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    loaded.export(Store(tmp_path / "old").system(), *TABLES, names=False)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    full = Store(tmp_path / "new")
    loaded.export(full.system(), *TABLES, names=True)
    old, new = contents(tmp_path / "old"), contents(tmp_path / "new")
    assert old != new
    uploads = sum(change.startswith("write") for change in full.changes)
    for step in tiers.places(range(len(full.changes)), 6):
        shutil.copytree(tmp_path / "old", tmp_path / str(step))
        with contextlib.suppress(CacheError):
            loaded.export(dying(tmp_path / str(step), step).system(), *TABLES, names=True)
        present = contents(tmp_path / str(step))
        if step < uploads:
            assert present == old
        store = Store(tmp_path / str(step))
        assert bool(pdframe.export_check(store.system())) is (present in (old, new)), step
        loaded.export(store.system(), *TABLES, names=True)
        assert contents(tmp_path / str(step)) == new
        check = pdframe.export_check(store.system())
        assert check
        assert check.note == ""
        left = [path.name for path in (tmp_path / str(step)).iterdir()]
        assert not [name for name in left if name.startswith(".pdframe") or "journal" in name]


def test_no_message_shows_a_credential(loaded: sandbox.SandboxAccount, tmp_path: Path) -> None:
    store = dying(tmp_path / "remote", 0)
    with pytest.raises(CacheError) as failed:
        loaded.export(store.system(), *TABLES)
    assert SECRET not in str(failed.value)
    assert failed.value.__cause__ is None

    def answer(kind: str, what: str) -> None:
        raise OSError(f"403 of https://user:{SECRET}@store: {kind} {what}")

    # A place that is named like a file is looked at first.
    named = pafs.SubTreeFileSystem("crm.db", Store(tmp_path / "other", answer).system())
    with pytest.raises(CacheError) as failed:
        loaded.export(named, *TABLES)
    assert SECRET not in str(failed.value)
    assert failed.value.__cause__ is None
    with pytest.raises(ArgumentError) as refused:
        loaded.export(f"nowhere://user:{SECRET}@host/bi?key={SECRET}", *TABLES)
    assert SECRET not in str(refused.value)
    with pytest.raises(ArgumentError) as refused:
        loaded.export(f"nowhere://{SECRET}@host/bi", *TABLES)
    assert SECRET not in str(refused.value)
    with pytest.raises(ArgumentError, match="nowhere://host/a@b"):
        loaded.export("nowhere://host/a@b", *TABLES)
    assert refused.value.__suppress_context__
    assert "nowhere://host/bi" in str(refused.value)


@pytest.mark.parametrize("sign", "/?#[@:")
@pytest.mark.parametrize("scheme", ["s3", "nowhere"])
def test_a_password_with_a_sign_of_urls_is_in_no_message(scheme: str, sign: str) -> None:
    """Secret keys of AWS often have a slash."""
    with pytest.raises(ArgumentError, match="Nothing installed writes to") as refused:
        pdframe.export_check(f"{scheme}://AKIAUSER:hunter2{sign}secret{sign}@bucket/bi?x={SECRET}")
    assert "hunter2" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_url_of_a_local_folder_is_that_folder(
    loaded: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    done = loaded.export((tmp_path / "a b").as_uri(), "stages")
    assert done["path"][0] == str(tmp_path / "a b" / "stages.parquet")
    assert (tmp_path / "a b").stat().st_mode & 0o777 == 0o700
    assert pdframe.export_check((tmp_path / "a b").as_uri())


def test_a_file_system_of_this_machine_has_private_files_and_a_lock(
    loaded: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    above = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    system = pafs.SubTreeFileSystem("clients/bi", above)
    done = loaded.export(system, "stages")
    folder = tmp_path / "clients" / "bi"
    assert done["path"][0] == str(folder / "stages.parquet")
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert {folder.stat().st_mode & 0o777, folder.parent.stat().st_mode & 0o777} == {0o700}
    assert pdframe.export_check(system)
    with pytest.raises(ArgumentError, match="without a folder"):
        loaded.export(pafs.LocalFileSystem(), "stages")


def test_a_new_folder_with_the_name_of_a_file_is_refused(
    loaded: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    store = Store(tmp_path / "remote")
    system = pafs.SubTreeFileSystem("bi/crm.db", store.system())
    with pytest.raises(ArgumentError, match=r"'crm\.db' is named like a file.*format='duckdb'"):
        loaded.export(system, "stages")
    assert store.changes == []
    (tmp_path / "remote" / "bi" / "crm.db").mkdir(parents=True)
    loaded.export(system, "stages")
    assert pdframe.export_check(system)


def test_a_local_url_of_fsspec_has_private_files(
    loaded: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed (make engines)")
    loaded.export(f"local://{tmp_path}/bi", "stages")
    assert (tmp_path / "bi" / "stages.parquet").stat().st_mode & 0o777 == 0o600

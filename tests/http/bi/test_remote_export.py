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

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
TABLES = ("deals", "persons", "stages")
SECRET = "hunter2-secret"


class Store(pafs.FileSystemHandler):
    """An object store on this disk, that fails from its `after`-th change on."""

    def __init__(self, folder: Path, after: int = 10**9) -> None:
        folder.mkdir(exist_ok=True)
        self._files = pafs.SubTreeFileSystem(str(folder), pafs.LocalFileSystem())
        self._left = after
        self.changes: list[str] = []

    def system(self) -> pafs.PyFileSystem:
        return pafs.PyFileSystem(self)

    def _change(self, what: str, path: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise OSError(f"403 of https://user:{SECRET}@store")
        self.changes.append(f"{what} {path}")

    def get_type_name(self) -> str:
        return "store"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> Any:
        return self._files.get_file_info(paths)

    def get_file_info_selector(self, selector: pafs.FileSelector) -> Any:
        return self._files.get_file_info(selector)

    def create_dir(self, path: str, recursive: bool) -> None:
        self._files.create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        self._change("delete", path)
        self._files.delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        raise NotImplementedError

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError

    def delete_file(self, path: str) -> None:
        self._change("delete", path)
        self._files.delete_file(path)

    def move(self, src: str, dest: str) -> None:
        raise NotImplementedError  # of an object store it is no single step

    def copy_file(self, src: str, dest: str) -> None:
        self._change("copy", dest)
        self._files.copy_file(src, dest)

    def open_input_stream(self, path: str) -> Any:
        return self._files.open_input_stream(path)

    def open_input_file(self, path: str) -> Any:
        return self._files.open_input_file(path)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        self._change("write", path)
        return self._files.open_output_stream(path)

    def open_append_stream(self, path: str, metadata: Any) -> Any:
        raise NotImplementedError


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
        dying = Store(tmp_path / str(step), step)
        with contextlib.suppress(CacheError):
            loaded.export(dying.system(), *TABLES, names=True)
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
    store = Store(tmp_path / "remote", 0)
    with pytest.raises(CacheError) as failed:
        loaded.export(store.system(), *TABLES)
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


def test_a_local_url_of_fsspec_has_private_files(
    loaded: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed (make engines)")
    loaded.export(f"local://{tmp_path}/bi", "stages")
    assert (tmp_path / "bi" / "stages.parquet").stat().st_mode & 0o777 == 0o600

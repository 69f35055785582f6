"""The files of an export are replaced as one set: whenever one is killed, the next completes it,
and `export_check` says meanwhile what is mixed. What did not change is not written.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import pdframe
from pdframe import sandbox
from pdframe.bi import export as export_module
from pdframe.bi import formats, sets
from pdframe.errors import ArgumentError, CacheError
from tests.helpers import crash, tiers
from tests.helpers.dead_disk import DeadDisk

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
TABLES = ("deals", "persons", "stages")


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of each file: a file that is replaced has others."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def contents(folder: Path) -> dict[str, bytes]:
    """The exported files: what a BI tool may read."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith((".", "pdframe-"))
        and not any(part.startswith(".pdframe-") for part in path.relative_to(folder).parts)
    }  # fmt: skip


def leftovers(folder: Path) -> list[str]:
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.name.startswith(".pdframe") or path.name == "pdframe-journal.json"
    )


# What did not change


@pytest.mark.parametrize("format", ["parquet", "csv", "duckdb"])
def test_a_second_export_writes_nothing(
    account: sandbox.SandboxAccount, tmp_path: Path, format: Any
) -> None:
    first = account.export(tmp_path, *TABLES, format=format)
    assert first["written"].all()
    before = stamps(tmp_path)
    # With other arguments nothing is known beforehand, and every table is computed.
    for how in ({}, {"refresh": False}, {"refresh": True}, {"max_rows": 10**6}):
        again = account.export(tmp_path, *TABLES, format=format, **how)
        assert stamps(tmp_path).keys() == before.keys()
        changed = {name for name, stamp in stamps(tmp_path).items() if stamp != before[name]}
        assert changed <= {"pdframe-export.json"}, how
        assert not again["written"].any()
        columns = [name for name in first if name != "written"]
        pd.testing.assert_frame_equal(again[columns], first[columns])
    # The same arguments touch not even the list of files.
    before = stamps(tmp_path)
    account.export(tmp_path, *TABLES, format=format, max_rows=10**6)
    assert stamps(tmp_path) == before


def test_only_what_changed_is_written(account: sandbox.SandboxAccount, tmp_path: Path) -> None:
    account.export(tmp_path, *TABLES)
    before = stamps(tmp_path)
    deal = account.company_model.add_deal("New one")
    done = account.export(tmp_path, *TABLES, refresh=True).set_index("table")
    assert done["written"].to_dict() == {"deals": True, "persons": False, "stages": False}
    after = stamps(tmp_path)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"deals.parquet", "pdframe-export.json"}
    assert deal in pd.read_parquet(tmp_path / "deals.parquet")["id"].tolist()


def test_a_file_that_somebody_changed_is_written_again(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    for format in ("parquet", "csv"):
        account.export(tmp_path, *TABLES, format=format)
        right = contents(tmp_path)
        path = tmp_path / f"stages.{format}"
        for damage in (None, b"x" * 100):
            path.unlink() if damage is None else path.write_bytes(damage)
            assert not pdframe.export_check(tmp_path)
            done = account.export(tmp_path, *TABLES, format=format).set_index("table")
            assert done["written"].to_dict() == {"deals": False, "persons": False, "stages": True}
            assert contents(tmp_path) == right
            assert pdframe.export_check(tmp_path)


@pytest.mark.parametrize("is_as_long", [False, True])
def test_a_parquet_file_that_was_rewritten_with_its_metadata_is_written_again(
    account: sandbox.SandboxAccount, tmp_path: Path, is_as_long: bool
) -> None:
    """Tools keep the metadata of a file, and so the id of a content that is no longer there."""
    account.export(tmp_path, *TABLES)
    path, listing = tmp_path / "deals.parquet", tmp_path / "pdframe-export.json"
    right = contents(tmp_path)
    rows = pq.read_table(path)
    pq.write_table(rows.slice(0, 3), path)
    assert pq.read_schema(path).metadata[b"pdframe.content"]
    if is_as_long:  # only the rows tell it
        known = json.loads(listing.read_text())
        known["files"]["deals.parquet"]["bytes"] = path.stat().st_size
        listing.write_text(json.dumps(known))
    check = pdframe.export_check(tmp_path)
    assert not check
    assert check.files.set_index("file").loc["deals.parquet", "state"] == "changed"
    for refresh in (None, False):  # the second one finds it in place
        done = account.export(tmp_path, *TABLES, refresh=refresh).set_index("table")
        assert done.loc["deals", "written"] == (refresh is None)
        assert contents(tmp_path) == right
        assert pdframe.export_check(tmp_path)


def test_a_parquet_file_of_as_many_other_rows_is_written_again(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.export(tmp_path, *TABLES)
    right = contents(tmp_path)
    rows = pq.read_table(tmp_path / "deals.parquet")
    pq.write_table(rows.take([0] * len(rows)), tmp_path / "deals.parquet")
    assert not pdframe.export_check(tmp_path)
    account.export(tmp_path, *TABLES)
    assert contents(tmp_path) == right


def test_a_parquet_file_with_one_other_byte_is_written_again(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    """Its size and its footer are as they were."""
    account.export(tmp_path, *TABLES)
    path, right = tmp_path / "deals.parquet", contents(tmp_path)
    damaged, footer = bytearray(path.read_bytes()), pq.read_metadata(path)
    assert len(damaged) - footer.serialized_size > 100
    damaged[100] ^= 1
    path.write_bytes(damaged)
    assert pq.read_metadata(path).equals(footer)
    check = pdframe.export_check(tmp_path)
    assert not check
    assert check.files.set_index("file").loc["deals.parquet", "state"] == "changed"
    account.export(tmp_path, *TABLES)
    assert contents(tmp_path) == right
    assert pdframe.export_check(tmp_path)


def test_a_parquet_file_carries_the_id_that_the_list_names(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.export(tmp_path, *TABLES)
    listed = json.loads((tmp_path / "pdframe-export.json").read_text())["files"]
    for name in TABLES:
        metadata = pq.read_schema(tmp_path / f"{name}.parquet").metadata
        content = listed[f"{name}.parquet"]["content"]
        assert metadata[b"pdframe.content"].decode() == content
        assert len(content) == 32


# Killed


@pytest.fixture(scope="module")
def material(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[sandbox.SandboxAccount, Path]]:
    """An account, and a folder with an export of its earlier state; the cache has the later one."""
    folder = tmp_path_factory.mktemp("old")
    with sandbox.connect(
        seed=3, deals=60, company="hostile", burst=100_000, progress=False
    ) as account:
        account.export(folder / "parquet", *TABLES)
        account.export(folder / "duckdb", *TABLES, format="duckdb")
        account.company_model.add_deal("New one")
        account.company_model.add_person("New one")
        account.sync("deals", "persons")
        yield account, folder


def steps(run: Callable[[int], bool], count: int) -> None:
    """Run `run(k)` for every k until it was not stopped; in tier `test` for a sample of them."""
    for step in tiers.places(range(count), 8):
        assert run(step), step
    assert not run(count)


KINDS = {"one file a table": {}, "from files to parts": {"max_rows": 25}}


@pytest.mark.every_case
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_change_of_a_file_the_next_export_gives_one_set(
    material: tuple[sandbox.SandboxAccount, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    account, start = material
    how: dict[str, Any] = {"refresh": False, **KINDS[kind]}
    shutil.copytree(start / "parquet", tmp_path / "new")
    disk = DeadDisk(10**6)
    with monkeypatch.context() as patch:
        disk.insert(patch)
        account.export(tmp_path / "new", *TABLES, **how)
    old, new = contents(start / "parquet"), contents(tmp_path / "new")
    assert old != new
    seen = set()

    def run(step: int) -> bool:
        folder = tmp_path / str(step)
        shutil.copytree(start / "parquet", folder)
        dying = DeadDisk(step)
        with monkeypatch.context() as patch:
            dying.insert(patch)
            # The last changes delete what is not needed any more, and may fail.
            with contextlib.suppress(CacheError):
                account.export(folder, *TABLES, **how)
        present = contents(folder)
        check = pdframe.export_check(folder)
        is_mixed = present not in (old, new)
        assert bool(check) is not is_mixed, (check, disk.changes[step - 1 :][:2])
        if is_mixed:
            assert "was interrupted" in check.note
            assert "was interrupted" in repr(check)
        states = dict(zip(check.files["file"], check.files["state"], strict=True))
        for name, state in states.items():
            right = {"old": old, "new": new, "in place": present}[state]
            assert present.get(name) == right.get(name), (name, state)
        seen.add("mixed" if is_mixed else "old" if present == old else "new")
        account.export(folder, *TABLES, **how)
        assert contents(folder) == new
        assert leftovers(folder) == []
        check = pdframe.export_check(folder)
        assert check
        assert check.note == ""
        assert set(check.files["state"]) == {"in place"}
        shutil.rmtree(folder)
        return dying.is_dead

    steps(run, len(disk.changes))
    assert seen == {"old", "mixed", "new"} or tiers.TIER == "test"


def test_killed_at_any_change_a_duckdb_file_is_the_old_or_the_new_one(
    material: tuple[sandbox.SandboxAccount, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    duckdb = pytest.importorskip("duckdb")
    account, start = material
    disk = DeadDisk(10**6)
    shutil.copytree(start / "duckdb", tmp_path / "new")
    with monkeypatch.context() as patch:
        disk.insert(patch)
        account.export(tmp_path / "new", *TABLES, format="duckdb", refresh=False)

    def rows(folder: Path) -> tuple[int, ...]:
        with duckdb.connect(str(folder / "tables.duckdb"), read_only=True) as connection:
            return tuple(
                connection.execute(f"select count(*) from {name}").fetchone()[0] for name in TABLES
            )

    old, new = rows(start / "duckdb"), rows(tmp_path / "new")
    assert new == (old[0] + 1, old[1] + 1, old[2])

    def run(step: int) -> bool:
        folder = tmp_path / str(step)
        shutil.copytree(start / "duckdb", folder)
        dying = DeadDisk(step)
        with monkeypatch.context() as patch:
            dying.insert(patch)
            with contextlib.suppress(CacheError):
                account.export(folder, *TABLES, format="duckdb", refresh=False)
        assert rows(folder) in (old, new)
        assert pdframe.export_check(folder)
        account.export(folder, *TABLES, format="duckdb", refresh=False)
        assert rows(folder) == new
        assert leftovers(folder) == []
        return dying.is_dead

    steps(run, len(disk.changes))


def test_what_somebody_wrote_into_a_duckdb_file_and_left_in_its_log_is_replaced(
    material: tuple[sandbox.SandboxAccount, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that dies leaves `tables.duckdb.wal`, and no other file opens beside it."""
    duckdb = pytest.importorskip("duckdb")
    account, start = material
    changed = tmp_path / "changed"
    shutil.copytree(start / "duckdb", changed)
    subprocess.run([sys.executable, "-c", _WRITE_AND_DIE, changed / "tables.duckdb"], check=True)
    log = changed / "tables.duckdb.wal"
    assert log.stat().st_size
    check = pdframe.export_check(changed)
    assert check.files["state"].tolist() == ["changed"]
    disk = DeadDisk(10**6)
    shutil.copytree(changed, tmp_path / "new")
    with monkeypatch.context() as patch:
        disk.insert(patch)
        done = account.export(tmp_path / "new", *TABLES, format="duckdb", refresh=False)
    assert done["written"].all()

    def run(step: int) -> bool:
        folder = tmp_path / str(step)
        shutil.copytree(changed, folder)
        dying = DeadDisk(step)
        with monkeypatch.context() as patch:
            dying.insert(patch)
            with contextlib.suppress(CacheError):
                account.export(folder, *TABLES, format="duckdb", refresh=False)
        for is_over in (False, True):
            if is_over:
                account.export(folder, *TABLES, format="duckdb", refresh=False)
                assert leftovers(folder) == []
                assert not (folder / log.name).exists()
            # At any moment it opens, with the old rows or the new ones.
            with duckdb.connect(str(folder / "tables.duckdb"), read_only=True) as connection:
                tables = {name for (name,) in connection.execute("show tables").fetchall()}
                assert tables.issuperset(TABLES)
                assert not is_over or "mine" not in tables
        assert pdframe.export_check(folder)
        return dying.is_dead

    steps(run, len(disk.changes))


_WRITE_AND_DIE = """
import os, sys, duckdb
connection = duckdb.connect(sys.argv[1])
connection.execute("create table mine as select 1 as x")
connection.execute("delete from deals")
os._exit(0)
"""


def test_the_log_of_an_unchanged_duckdb_file_is_replaced_too(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    duckdb = pytest.importorskip("duckdb")
    account.export(tmp_path, *TABLES, format="duckdb")
    path = tmp_path / "tables.duckdb"
    subprocess.run([sys.executable, "-c", _WRITE_AND_DIE, path], check=True)
    done = account.export(tmp_path, *TABLES, format="duckdb")
    assert done["written"].all()
    with duckdb.connect(str(path), read_only=True) as connection:
        (count,) = connection.execute("select count(*) from deals").fetchone()
    assert count == len(account.deals())


def test_an_error_of_duckdb_is_one_of_the_files(
    account: sandbox.SandboxAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.export(tmp_path, "stages", format="duckdb")
    before = (tmp_path / "tables.duckdb").read_bytes()
    monkeypatch.setattr(formats, "quoted", lambda name: "no name at all")
    with pytest.raises(CacheError, match=r"could not be written: DuckDB: .*complete, old or new"):
        account.export(tmp_path, "stages", "pipelines", format="duckdb")
    assert (tmp_path / "tables.duckdb").read_bytes() == before
    assert leftovers(tmp_path) == []


def _export_and_die(url: str, token: str, cache: Path, folder: Path, step: int) -> None:
    """Export, and be killed before the file system is changed for the `step`-th time; run in a
    process of its own.
    """
    crash.without_fsync()
    with crash.connect(url, token, cache) as account:
        account.status()
        crash.die_at(step)
        account.export(folder, "stages", "pipelines", refresh=False)


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_what_the_next_export_completes(tmp_path: Path) -> None:
    company = sandbox.Company(seed=3, deals=20)
    with crash.server_of(company) as server:
        with crash.connect(server.url, server.token, tmp_path / "cache") as account:
            account.export(tmp_path / "right", "stages", "pipelines")
        right, killed = contents(tmp_path / "right"), 0
        for step in (1, 3, 5, 7, 9, 11, 13):
            folder = tmp_path / str(step)
            arguments = (server.url, server.token, tmp_path / "cache", folder, step)
            killed += crash.killed(_export_and_die, *arguments)
            with crash.connect(server.url, server.token, tmp_path / "cache") as account:
                account.export(folder, "stages", "pipelines")
            assert contents(folder) == right
            assert leftovers(folder) == []
        assert killed >= 5


def test_another_account_does_not_take_over_an_interrupted_export(
    material: tuple[sandbox.SandboxAccount, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first export of a folder: its journal is there, and no list of files yet."""
    account, _ = material
    with sandbox.connect(
        seed=4, deals=0, company="hostile", burst=100_000, progress=False
    ) as other:
        with monkeypatch.context() as patch:
            patch.setattr(sets, "apply", stopped)
            with pytest.raises(KeyboardInterrupt):
                account.export(tmp_path, "stages", refresh=False)
        assert [name for name in leftovers(tmp_path) if name == sets.JOURNAL]
        with pytest.raises(ArgumentError, match="holds the export of another account"):
            other.export(tmp_path, "pipelines")
        account.export(tmp_path, "stages", refresh=False)
        assert pdframe.export_check(tmp_path).account == account.cache_path.name
        assert not (tmp_path / "pipelines.parquet").exists()


def test_another_account_that_waited_for_an_export_does_not_replace_it(
    material: tuple[sandbox.SandboxAccount, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both began while the folder was empty."""
    account, _ = material
    with sandbox.connect(
        seed=4, deals=0, company="hostile", burst=100_000, progress=False
    ) as other:

        @contextlib.contextmanager
        def waiting(*arguments: Any) -> Iterator[sets.SetWriter]:
            patch.undo()
            account.export(tmp_path, "stages", refresh=False)
            with sets.writing(*arguments) as writer:
                yield writer

        with monkeypatch.context() as patch:
            patch.setattr(export_module, "writing", waiting)
            with pytest.raises(ArgumentError, match="holds the export of another account"):
                other.export(tmp_path, "stages")
        assert pdframe.export_check(tmp_path).account == account.cache_path.name
        assert len(pd.read_parquet(tmp_path / "stages.parquet")) == len(account.stages())


def stopped(*_: Any) -> None:
    raise KeyboardInterrupt


# What is no export's own


def test_a_folder_with_a_similar_name_as_a_staging_folder_is_never_touched(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    for name in (".pdframe-mine", ".pdframe-settings"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text("mine")
    account.export(tmp_path, "stages")
    assert leftovers(tmp_path) == [".pdframe-mine", ".pdframe-settings"]
    assert (tmp_path / ".pdframe-settings" / "notes.txt").read_text() == "mine"


def test_a_foreign_file_in_a_folder_of_parts_is_refused_before_anything_changes(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    """The file of one part cannot take the place of such a folder."""
    account.export(tmp_path, "stages", max_rows=5)
    before = contents(tmp_path)
    foreign = tmp_path / "stages.parquet" / "_SUCCESS"
    foreign.touch()
    with pytest.raises(ArgumentError, match=r"holds stages\.parquet/_SUCCESS, which no export"):
        account.export(tmp_path, "stages")
    assert leftovers(tmp_path) == []
    foreign.unlink()
    assert contents(tmp_path) == before
    account.export(tmp_path, "stages")
    path = tmp_path / "stages.parquet"
    assert path.is_file()
    path.unlink()
    path.mkdir()
    with pytest.raises(ArgumentError, match=r"holds stages\.parquet, which no export"):
        account.export(tmp_path, "stages")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "known", [{"files": 1}, {"tables": [{"table": "stages", "later": 1}]}, {"tables": None}]
)
def test_a_list_of_files_of_another_version_is_read_as_far_as_it_is_known(
    account: sandbox.SandboxAccount, tmp_path: Path, known: dict[str, Any]
) -> None:
    for _ in range(2):  # the second one knows what it was computed from
        account.export(tmp_path, "stages")
    path = tmp_path / "pdframe-export.json"
    listing = json.loads(path.read_text())
    assert listing["sets"]["tables parquet"]["inputs"]
    right = json.loads(path.read_text())
    listing["sets"]["tables parquet"] |= known
    path.write_text(json.dumps(listing))
    assert account.export(tmp_path, "stages")["written"].tolist() == [False]
    assert json.loads(path.read_text()) == right


# What export_check says


def test_no_export_is_no_set(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    with pytest.raises(ArgumentError, match="holds no export"):
        pdframe.export_check(tmp_path / "a file")
    with pytest.raises(ArgumentError, match="holds no export"):
        pdframe.export_check(tmp_path)


def test_a_damaged_journal_is_said_and_removed(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.export(tmp_path, "stages")
    (tmp_path / "pdframe-journal.json").write_text('{"moves": []}')
    check = pdframe.export_check(tmp_path)
    assert "damaged journal" in check.note
    account.export(tmp_path, "stages")
    assert leftovers(tmp_path) == []


def test_a_set_says_what_is_missing_and_what_was_changed(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    account.export(tmp_path, *TABLES)
    (tmp_path / "stages.parquet").unlink()
    shutil.copy(tmp_path / "deals.parquet", tmp_path / "persons.parquet")
    check = pdframe.export_check(tmp_path)
    assert not check
    assert check.files.set_index("file")["state"].to_dict() == {
        "deals.parquet": "in place",
        "persons.parquet": "changed",
        "stages.parquet": "missing",
    }
    assert "1 file is missing" in check.note
    assert account.cache_path.name in repr(check)
    assert "<table" in check._repr_html_()


def test_an_export_of_an_earlier_version_is_a_set(
    account: sandbox.SandboxAccount, tmp_path: Path
) -> None:
    """Its list had no ids of content."""
    account.export(tmp_path, "stages")
    path = tmp_path / "pdframe-export.json"
    listing = json.loads(path.read_text())
    entry = listing["files"]["stages.parquet"]
    files = {"stages.parquet": {name: entry[name] for name in ("rows", "exported_at")}}
    path.write_text(json.dumps({"account": listing["account"], "files": files}))
    assert pdframe.export_check(tmp_path)
    done = account.export(tmp_path, "stages")
    assert done["written"].tolist() == [True]
    assert pdframe.export_check(tmp_path)


# Parts


@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_a_long_table_is_a_folder_of_parts_by_year(
    account: sandbox.SandboxAccount, tmp_path: Path, format: Any
) -> None:
    account.export(tmp_path, *TABLES, format=format)
    done = account.export(tmp_path, *TABLES, format=format, max_rows=25).set_index("table")
    assert (tmp_path / f"stages.{format}").is_file()
    folder = tmp_path / f"deals.{format}"
    deals = account.deals()
    years = deals["add_time"].dt.year
    assert sorted(path.name for path in folder.iterdir()) == [
        f"deals-{year}.{format}" for year in sorted(years.unique())
    ]
    assert done.loc["deals", "path"] == str(folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert done.loc["deals", ["rows", "bytes"]].tolist() == [len(deals), size]
    if format == "parquet":
        read = pd.read_parquet(folder)
        assert sorted(read["id"]) == deals["id"].tolist()
        for year in years.unique():
            part = pd.read_parquet(folder / f"deals-{year}.parquet")
            assert part["id"].tolist() == deals.loc[years == year, "id"].tolist()
    assert pdframe.export_check(tmp_path)
    # A change of one year writes one part.
    before = stamps(tmp_path)
    account.company_model.edit_deal(int(deals["id"].iloc[-1]), title="Renamed")
    account.export(tmp_path, *TABLES, format=format, max_rows=25, refresh=True)
    after = stamps(tmp_path)
    changed = {name for name in after if after[name] != before[name]}
    year = years.iloc[-1]
    assert changed == {f"deals.{format}/deals-{year}.{format}", "pdframe-export.json"}
    # And back to one file.
    account.export(tmp_path, *TABLES, format=format)
    assert (tmp_path / f"deals.{format}").is_file()
    assert pdframe.export_check(tmp_path)

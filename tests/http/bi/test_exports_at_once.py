"""Two exports at once into a place without a lock: the one that began last goes on, and the other
stops. One set remains, or `export_check` says that the files are not one.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

import pdframe
from pdframe import sandbox
from pdframe.errors import CacheError
from tests.helpers import tiers
from tests.helpers.object_store import CHANGE, Store, Turns

pytestmark = pytest.mark.filterwarnings("ignore::pdframe.errors.DataWarning")
TABLES = ("deals", "stages")
# The first replaces a file by a folder of parts, which the second replaces by a file.
HOW: dict[str, dict[str, Any]] = {
    "first": {"names": False, "max_rows": 25},
    "second": {"names": True},
}
SEEDS = 30


class Place:
    """A folder, or a folder in memory of fsspec, that a store makes requests to."""

    def __init__(self, folder: Path, *, in_memory: bool = False) -> None:
        self._folder = folder
        self._in_memory = in_memory
        if in_memory:
            memory = pytest.importorskip(
                "fsspec.implementations.memory", reason="fsspec is not installed (make engines)"
            )
            self._files: Any = memory.MemoryFileSystem()

    def fill(self, folder: Path) -> None:
        """Take the files of a folder."""
        if self._in_memory:
            if self._files.exists("/bi"):
                self._files.rm("/bi", recursive=True)
            self._files.put(f"{folder}/", "/bi/", recursive=True)
        else:
            shutil.rmtree(self._folder, ignore_errors=True)
            shutil.copytree(folder, self._folder)

    def system(self, before: Any = None) -> pafs.FileSystem:
        if not self._in_memory:
            return Store(self._folder, before).system()
        files = pafs.PyFileSystem(pafs.FSSpecHandler(self._files))
        return pafs.SubTreeFileSystem("/bi", Store(files, before).system())

    def every(self) -> dict[str, bytes]:
        if self._in_memory:
            names = self._files.find("/bi")
            return {name.removeprefix("/bi/"): self._files.cat_file(name) for name in names}
        return {
            path.relative_to(self._folder).as_posix(): path.read_bytes()
            for path in self._folder.rglob("*")
            if path.is_file()
        }

    def contents(self) -> dict[str, bytes]:
        """What a BI tool reads."""
        every = self.every().items()
        return {name: content for name, content in every if not name.startswith((".", "pdframe-"))}


class Material:
    """An account, the files of its earlier state, and what each export makes of them."""

    def __init__(self, account: sandbox.SandboxAccount, folder: Path) -> None:
        self.account, self.old = account, folder / "old"
        account.export(Store(self.old).system(), *TABLES, names=True)
        account.company_model.add_deal("New one")
        account.sync("deals")
        self.sets = {}
        for name in HOW:
            place = Place(folder / name)
            place.fill(self.old)
            self.export(name, place)
            self.sets[name] = place.contents()
        place.fill(self.old)
        self.sets["old"] = place.contents()
        assert len({tuple(sorted(files.items())) for files in self.sets.values()}) == 3

    def export(self, name: str, place: Place, before: Any = None) -> CacheError | None:
        """Export; return the error of one that stopped."""
        try:
            self.account.export(place.system(before), *TABLES, refresh=False, **HOW[name])
        except CacheError as error:
            return error
        return None

    def is_one_set(self, place: Place) -> bool:
        """Whether the files are one set, as `export_check` says too."""
        check = pdframe.export_check(place.system())
        present = place.contents()
        assert not check or present in self.sets.values(), check
        assert check or check.note
        return bool(check)

    def check_the_next(self, place: Place) -> None:
        """Check that the next export makes one set of whatever is there."""
        assert self.export("second", place) is None
        assert place.contents() == self.sets["second"]
        assert self.is_one_set(place)
        left = [name for name in place.every() if name.startswith(".pdframe") or "journal" in name]
        assert not left


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Material]:
    with sandbox.connect(
        seed=3, deals=40, company="hostile", burst=100_000, progress=False
    ) as account:
        account.sync()
        yield Material(account, tmp_path_factory.mktemp("material"))


@pytest.mark.parametrize("in_memory", [False, True])
def test_an_export_that_another_one_overtakes_stops(
    material: Material, tmp_path: Path, in_memory: bool
) -> None:
    """At each request of the first, the second begins and ends before it is carried out."""
    place = Place(tmp_path / "bi", in_memory=in_memory)
    requests: list[tuple[str, str]] = []
    place.fill(material.old)
    material.export("first", place, lambda *request: requests.append(request))
    claim = next(n for n, (_, what) in enumerate(requests) if what.startswith("write"))
    # Then its set was complete, and the other has replaced it.
    last = re.compile(r"delete .*pdframe-journal\.json")
    done = next(n for n, (_, what) in enumerate(requests) if last.fullmatch(what))
    stopped = 0
    for step in tiers.places(range(0, len(requests), 3 if in_memory else 1), 8):
        place.fill(material.old)
        number = 0

        def before(*_: str, step: int = step) -> None:
            nonlocal number
            number += 1
            if number == step + 1:
                assert material.export("second", place) is None

        error = material.export("first", place, before)
        kind, what = requests[step]
        is_one_set = material.is_one_set(place)
        # A request that was on its way arrives. What was uploaded is gone: nothing is copied.
        is_late = kind == CHANGE and what.startswith("delete")
        assert is_one_set or is_late, what
        if error is None:
            assert step <= claim or step >= done, what
        else:
            stopped += 1
            assert "so this one stopped: two at once would mix their files" in str(error)
            assert not is_one_set or place.contents() == material.sets["second"], what
        material.check_the_next(place)
    assert stopped


@pytest.mark.parametrize("in_memory", [False, True])
def test_two_exports_whose_requests_alternate(
    material: Material, tmp_path: Path, in_memory: bool
) -> None:
    place = Place(tmp_path / "bi", in_memory=in_memory)
    outcomes = set()
    for seed in tiers.places(range(SEEDS), 8):
        place.fill(material.old)
        turns = Turns([*HOW], seed, (0.5, 0.8, 0.95)[seed % 3])

        def run(name: str, turns: Turns = turns) -> CacheError | None:
            try:
                return material.export(name, place, lambda *_: turns.take(name))
            finally:
                turns.leave(name)

        with ThreadPoolExecutor(len(HOW)) as pool:
            errors = [*pool.map(run, HOW)]
        done = [error for error in errors if error is None]
        assert done, errors
        is_one_set = material.is_one_set(place)
        outcomes.add((len(done), is_one_set))
        material.check_the_next(place)
    assert (1, True) in outcomes
    assert outcomes <= {(1, True), (2, True), (1, False)}


def test_an_export_without_changes_does_not_stop_one_that_is_loading(
    material: Material, tmp_path: Path
) -> None:
    place = Place(tmp_path / "bi")
    place.fill(material.old)
    assert material.export("second", place) is None
    begun = []

    def before(kind: str, what: str) -> None:
        if kind == CHANGE and not begun:
            begun.append(what)

    assert material.export("second", place, before) is None
    assert not begun


def test_an_export_without_changes_lets_one_go_on_that_writes(
    material: Material, tmp_path: Path
) -> None:
    """At each request of the other until its set is decided, one comes that has nothing to do."""
    place = Place(tmp_path / "bi")
    place.fill(material.old)
    assert material.export("second", place) is None
    shutil.copytree(tmp_path / "bi", tmp_path / "second")
    requests: list[tuple[str, str]] = []
    assert material.export("first", place, lambda *one: requests.append(one)) is None
    last = re.compile(r"copy .*pdframe-journal\.json")
    decided = next(n for n, (_, what) in enumerate(requests) if last.fullmatch(what))
    for step in tiers.places(range(decided), 8):
        place.fill(tmp_path / "second")
        number, changes = 0, list[str]()

        def note(kind: str, what: str, changes: list[str] = changes) -> None:
            if kind == CHANGE:
                changes.append(what)

        def before(*_: str, step: int = step, note: Any = note) -> None:
            nonlocal number
            number += 1
            if number == step + 1:
                assert material.export("second", place, note) is None

        assert material.export("first", place, before) is None, requests[step]
        assert not changes, requests[step]
        assert place.contents() == material.sets["first"]


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("claimed", "is_left"),
    [("an hour ago", True), ("two days ago", False), ("for this set", False), ("no more", False)],
)
def test_what_a_killed_export_uploaded_is_deleted_after_a_day(
    material: Material, tmp_path: Path, claimed: str, is_left: bool
) -> None:
    """By the next export that has nothing to write, too. One whose set is in place was killed."""
    place = Place(tmp_path / "bi")
    place.fill(material.old)
    assert material.export("second", place) is None
    uploaded = tmp_path / "bi" / ".pdframe-0a1b2c3d" / "deals.parquet"
    uploaded.parent.mkdir()
    uploaded.write_bytes(b"half")
    listing = json.loads((tmp_path / "bi" / "pdframe-export.json").read_text())
    ago = {"an hour ago": timedelta(hours=1), "two days ago": timedelta(days=2)}
    if claimed != "no more":
        since = (
            (datetime.now(UTC) - ago[claimed]).isoformat(timespec="seconds")
            if claimed in ago
            else listing["files"]["deals.parquet"]["exported_at"]
        )
        claim = json.dumps({"export": "0", "host": "other", "since": since})
        (tmp_path / "bi" / ".pdframe.lock").write_text(claim)
    assert material.export("second", place) is None
    assert uploaded.exists() == is_left
    assert place.contents() == material.sets["second"]


def test_a_claim_of_a_killed_export_keeps_no_one_out(material: Material, tmp_path: Path) -> None:
    place = Place(tmp_path / "bi")
    place.fill(material.old)
    (tmp_path / "bi" / ".pdframe.lock").write_text("{not json")
    assert material.export("first", place) is None
    assert place.contents() == material.sets["first"]
    assert not [name for name in place.every() if name.startswith(".pdframe")]

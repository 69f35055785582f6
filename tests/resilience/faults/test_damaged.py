"""Files of the cache that were flipped, cut, emptied or put there by others: each is found out,
deleted and loaded again, or quarantined, or said.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pdframe
from pdframe import sandbox
from pdframe.cache.snapshots import SnapshotLog
from pdframe.errors import CacheError, DamagedError, ResponseError
from pdframe.sandbox.server import Faults
from tests.helpers import crash
from tests.helpers.cache_files import store_of
from tests.helpers.scale import examples

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*not defined:pdframe.errors.DataWarning"),
]

TABLES = ("deals", "deal_products", "stages", "discounts")
# Stands for a file of nothing but brackets.
DEEP = b"[[["
EXAMPLES = examples(12)


class World:
    """A cached company, what it must read like, and what a walk that was interrupted left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = crash.server_of(sandbox.Company(seed=3, deals=100)).start()
        with self.connect(folder / "whole") as account:
            account.sync(*TABLES)
            self.rows, self.log = (
                crash.cached(account, TABLES),
                SnapshotLog(store_of(account)).rows(),
            )
            # Pages are saved by a reload that fails on its way.
            self.server.faults = Faults(at={6: "success_false_200"})
            with pytest.raises(ResponseError, match="Pages of deals are saved"):
                account.deals(refresh="full")
            self.server.faults = None
            self.key = account.cache_path.name
        self.files = sorted(
            path.relative_to(folder / "whole")
            for path in (folder / "whole").rglob("*")
            if path.suffix in (".json", ".parquet", ".arrow")
        )

    def connect(self, cache_dir: Path) -> pdframe.Account:
        return crash.connect(
            self.server.url,
            self.server.token,
            cache_dir,
            max_age="1h",
            options=crash.SHORT_PAGES,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        world = World(tmp_path_factory.mktemp("damaged"))
        yield world
        world.server.stop()


@st.composite
def damages(draw: st.DrawFn) -> tuple[str, float, bytes]:
    """How a file is damaged, where in it, and with which bytes."""
    return (
        draw(st.sampled_from(["flip", "cut", "replace", "insert", "foreign", "gone", "swap"])),
        draw(st.floats(0, 1)),
        draw(
            st.binary(min_size=1, max_size=6)
            | st.sampled_from([DEEP, b"{}", b"null", b"PAR1", b"9", b"1", b"\x00"])
        ),
    )


def damage(path: Path, how: str, where: float, what: bytes, others: list[Path]) -> bool:
    """Damage a file; False where that left it as it was."""
    raw = path.read_bytes()
    place = min(int(where * len(raw)), len(raw) - 1)
    after = {
        "flip": raw[:place] + bytes([raw[place] ^ (what[0] or 1)]) + raw[place + 1 :],
        "cut": raw[:place],
        "replace": raw[:place] + what + raw[place + len(what) :],
        "insert": raw[:place] + what + raw[place:],
        "foreign": what.replace(DEEP, b"[" * 100_000),
        "gone": b"",
        "swap": others[int(where * (len(others) - 1))].read_bytes(),
    }[how]
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(after)
    return how == "gone" or after != raw


def read(account: pdframe.Account, table: str) -> pa.Table:
    getattr(account, table)(refresh=False, columns=["id"])
    return store_of(account).read(table)


@EXAMPLES
@given(st.integers(0, 999), damages())
def test_a_damaged_file_is_detected_and_loaded_again(
    world: World, tmp_path: Path, file: int, how: tuple[str, float, bytes]
) -> None:
    cache = tmp_path / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    shutil.copytree(world.folder / "whole", cache)
    hit = world.files[file % len(world.files)]
    same_kind = [cache / other for other in world.files if other.suffix == hit.suffix]
    damage(cache / hit, *how, same_kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pdframe.DataWarning)
        with world.connect(cache) as account:
            assert account.cache_path.name == world.key
            for table in TABLES:
                with contextlib.suppress(CacheError):
                    assert read(account, table).equals(world.rows[table]), table
            history = SnapshotLog(store_of(account))
            with contextlib.suppress(CacheError):
                assert history.rows().equals(world.log)
            for table in TABLES:
                getattr(account, table)()
                assert read(account, table).equals(world.rows[table]), table
            account.sync(*TABLES)
            # A reload goes on from the saved pages only where they are what was written.
            account.deals(refresh="full")
            assert read(account, "deals").equals(world.rows["deals"])
            # The kept history goes on, or what is left of it is quarantined and the deals as
            # they are begin a new one.
            if not history.rows().equals(world.log):
                assert hit.parent.name.startswith("history")
                assert (account.cache_path / "history.aside-1").is_dir()
            assert history.rows()["deal_id"].equals(world.log["deal_id"])


@pytest.mark.parametrize("table", ["deals", "stages", "deal_fields", "deal_products"])
@pytest.mark.parametrize("file", ["manifest.json", "part"])
def test_a_loader_that_meets_damage_loads_again_and_says_so(
    world: World, tmp_path: Path, table: str, file: str
) -> None:
    shutil.copytree(world.folder / "whole", tmp_path / "cache")
    asking = table.removesuffix("_fields") + "s" if table.endswith("_fields") else table
    with world.connect(tmp_path / "cache") as account:
        path = next((account.cache_path / table).glob(f"{file}*"))
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(DamagedError, match=f"{table}.*account.sync\\('{table}', full=True\\)"):
            getattr(account, asking)(refresh=False)
        with pytest.warns(
            pdframe.DataWarning,
            match=rf"files of '{table}' are deleted, and its next load requests what the API has",
        ):
            getattr(account, asking)()
        assert not list(account.cache_path.glob("*.aside-*"))
        before = world.server.stats.requests
        getattr(account, asking)()
        assert world.server.stats.requests == before
        for name in TABLES:
            assert read(account, name).equals(world.rows[name])


def test_an_unreadable_file_is_not_taken_for_damaged(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world.folder / "whole", tmp_path / "cache")
    with world.connect(tmp_path / "cache") as account:
        reading = Path.read_bytes

        def refused(path: Path) -> bytes:
            if path.parent.name in ("history", "deals"):
                raise PermissionError(13, "Permission denied")
            return reading(path)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", refused)
            with pytest.raises(CacheError, match="Permission denied"):
                account.deals()
            with pytest.raises(CacheError, match="Permission denied"):
                account.sync("deals", full=True)
        assert not list(account.cache_path.glob("*.aside-*"))
        assert account.deals(refresh=False)["id"].tolist() == world.rows["deals"]["id"].to_pylist()


def test_saved_pages_that_were_changed_are_requested_again(world: World, tmp_path: Path) -> None:
    saved = [path for path in world.files if "pending" in path.parts]
    assert len(saved) > 2
    for number, hit in enumerate(saved):
        shutil.copytree(world.folder / "whole", tmp_path / str(number))
        path = tmp_path / str(number) / hit
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.write_bytes(raw)
        with world.connect(tmp_path / str(number)) as account:
            with pytest.warns(
                pdframe.DataWarning, match="saved pages of 'deals' are not as they were written"
            ):
                account.deals(refresh="full")
            assert read(account, "deals").equals(world.rows["deals"])


def test_a_saved_page_in_the_place_of_another_is_detected(world: World, tmp_path: Path) -> None:
    """Each of them is whole: only together do they show that rows are missing."""
    shutil.copytree(world.folder / "whole", tmp_path / "cache")
    first, second, *_ = sorted(
        (tmp_path / "cache" / world.key / "deals" / "pending").glob("page-*")
    )
    shutil.copy(first, second)
    with world.connect(tmp_path / "cache") as account:
        with pytest.warns(
            pdframe.DataWarning, match="saved pages of 'deals' are not as they were written"
        ):
            account.deals(refresh="full")
        assert read(account, "deals").equals(world.rows["deals"])

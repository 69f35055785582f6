"""The garbage collector stands still while JSON is read, and is afterwards as it was."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from pdframe.frames import PageReader
from pdframe.frames.convert import uncollected
from pdframe.schema import TABLES


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = gc.isenabled()
    yield
    (gc.enable if before else gc.disable)()


@pytest.mark.parametrize("on", [True, False])
def test_it_is_afterwards_as_it_was(on: bool) -> None:
    (gc.enable if on else gc.disable)()
    with uncollected():
        assert not gc.isenabled()
        with uncollected():
            pass
        assert not gc.isenabled()
    assert gc.isenabled() is on
    with pytest.raises(ValueError, match="made up"), uncollected():
        raise ValueError("made up")
    assert gc.isenabled() is on


def test_collection_is_off_until_the_last_thread_has_finished() -> None:
    gc.enable()
    inside, leave = threading.Event(), threading.Event()

    def one_visit() -> None:
        with uncollected():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=one_visit)
    thread.start()
    assert inside.wait(10)
    with uncollected():
        pass
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_pages_are_read_without_it() -> None:
    gc.enable()
    reader = PageReader(TABLES["stages"])
    rows = [{"id": number, "name": [["deep"]]} for number in range(20_000)]
    before = [one["collections"] for one in gc.get_stats()]
    reader.typed(rows)
    after = [one["collections"] for one in gc.get_stats()]
    # One may run on entering, one on leaving.
    assert sum(after) - sum(before) <= 6
    assert gc.isenabled()

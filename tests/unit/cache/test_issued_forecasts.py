"""The log of issued forecasts: appended atomically, private, never replaced, never guessed."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pdframe.cache.issued_forecasts import IssuedForecasts
from pdframe.cache.quarantine import IRREPLACEABLE
from pdframe.cache.store import Store
from pdframe.errors import DamagedError, DataWarning, NewerCacheError
from pdframe.frames import storage_schema
from pdframe.schema.forecasts import ISSUED_FORECASTS
from pdframe.sync.repair import KEPT_FOR_GOOD

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "cache", "acme-user1")
    made.open()
    return made


def rows(*p50: float, **more: Any) -> pa.Table:
    schema = storage_schema(ISSUED_FORECASTS)
    named = pa.schema([field for field in schema if field.name != "issue"])
    content = [
        {"as_of": NOW, "period": date(2026, 7, 1), "currency": "EUR", "p50": value} for value in p50
    ]
    table = pa.Table.from_pylist(content, named)
    for name, column in more.items():
        table = table.append_column(name, column)
    return table


def test_forecasts_are_numbered_and_appended(store: Store) -> None:
    log = IssuedForecasts(store)
    assert log.rows().num_rows == 0
    assert [log.append(rows(1.0, 2.0), now=NOW), log.append(rows(3.0), now=NOW)] == [1, 2]
    kept = IssuedForecasts(store).rows()
    assert kept["issue"].to_pylist() == [1, 1, 2]
    assert kept["p50"].to_pylist() == [1.0, 2.0, 3.0]
    assert kept["period"].to_pylist() == [date(2026, 7, 1)] * 3


def test_many_forecasts_are_in_few_files(store: Store) -> None:
    log = IssuedForecasts(store)
    for value in range(120):
        log.append(rows(float(value)), now=NOW)
    assert log.rows()["p50"].to_pylist() == [float(value) for value in range(120)]
    assert len([*(store.root / "forecasts").glob("part-*.parquet")]) < 80


def test_forecasts_of_several_threads_get_numbers_of_their_own(store: Store) -> None:
    def append(value: float) -> int:
        return IssuedForecasts(store).append(rows(value, value), now=NOW)

    with ThreadPoolExecutor(4) as pool:
        numbers = [*pool.map(append, map(float, range(12)))]
    assert sorted(numbers) == [*range(1, 13)]
    kept = IssuedForecasts(store).rows()
    pairs = zip(kept["issue"].to_pylist(), kept["p50"].to_pylist(), strict=True)
    assert {*pairs} == {*zip(numbers, map(float, range(12)), strict=True)}


def test_its_files_are_for_this_user_alone(store: Store) -> None:
    IssuedForecasts(store).append(rows(1.0), now=NOW)
    folder = store.root / "forecasts"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_columns_of_a_newer_version_are_kept(store: Store) -> None:
    log = IssuedForecasts(store)
    log.append(rows(1.0), now=NOW)
    manifest = store.manifest("forecasts")
    assert manifest is not None
    added = log.rows().append_column("mood", pa.array(["sunny"]))
    store.append(manifest, added, synced_at=NOW)
    for value in range(2, 80):
        log.append(rows(float(value)), now=NOW)
    assert log.rows()["mood"].to_pylist()[:3] == [None, "sunny", None]
    changed = log.rows().slice(0, 1)
    place = changed.column_names.index("p50")
    manifest = store.manifest("forecasts")
    assert manifest is not None
    store.append(manifest, changed.set_column(place, "p50", pa.array(["high"])), synced_at=NOW)
    with pytest.raises(NewerCacheError, match="Nothing in the cache was changed"):
        log.rows()
    with pytest.raises(NewerCacheError):
        log.append(rows(1.0), now=NOW)


def test_a_damaged_log_is_an_error_and_the_next_forecast_quarantines_it(store: Store) -> None:
    log = IssuedForecasts(store)
    log.append(rows(1.0), now=NOW)
    part = next(path for path in (store.root / "forecasts").glob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:-7])
    with pytest.raises(DamagedError, match=r"which cannot be made again\. Restore the file"):
        log.rows()
    with pytest.warns(DataWarning, match=r"quarantined as forecasts\.aside-1"):
        assert log.append(rows(5.0), now=NOW) == 1
    assert log.rows()["p50"].to_pylist() == [5.0]
    assert (store.root / "forecasts.aside-1" / part.name).exists()


def test_no_sync_deletes_it() -> None:
    assert ISSUED_FORECASTS.name in IRREPLACEABLE
    assert ISSUED_FORECASTS.name in KEPT_FOR_GOOD

"""The cache keeps what it was given, privately and whole, and says so where it cannot."""

import os
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pdframe._files import make_private, seal, unseal
from pdframe.cache.folder import check_writable, default_cache_dir, readable_key
from pdframe.cache.known_accounts import Accounts
from pdframe.cache.parts import Stored, open_part
from pdframe.cache.store import MANIFEST, Manifest, Store
from pdframe.errors import CacheError, DamagedError, NotCachedError

NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
ROWS = pa.table(
    {
        "id": pa.array([1, 2, 3]),
        "title": pa.array(["a", None, "ü 🚀"]),
        "tags": pa.array([[1], [], None], pa.list_(pa.int64())),
    }
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "cache", "acme-user1")
    store.open()
    return store


@pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="for glibc alone"
)
def test_a_cache_takes_memory_from_the_c_library_unless_the_user_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, chosen = pa.default_memory_pool(), pa.mimalloc_memory_pool()
    try:
        for name, expected in (("mimalloc", "mimalloc"), (None, "system")):
            pa.set_memory_pool(chosen)
            if name is None:
                monkeypatch.delenv("ARROW_DEFAULT_MEMORY_POOL", raising=False)
            else:
                monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", name)
            Store(tmp_path, "acme-user1").open()
            assert pa.default_memory_pool().backend_name == expected
    finally:
        pa.set_memory_pool(before)


def new(table: str = "deals") -> Manifest:
    return Manifest(table, (), 0, NOW, NOW, state={"/deals": "2026-06-30T11:00:00Z"})


def test_what_is_kept_comes_back_with_its_types(store: Store) -> None:
    written = store.replace(new(), ROWS)
    assert store.read("deals").equals(ROWS)
    assert store.manifest("deals") == written
    assert (written.rows, written.state["/deals"], written.full_at) == (
        3,
        "2026-06-30T11:00:00Z",
        NOW,
    )


def test_a_table_that_is_replaced_again_and_again_while_it_is_read_is_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.replace(new(), ROWS)
    left = [1, 2, 3]

    def replaced_meanwhile(*arguments: Any) -> object:
        if left:
            store.replace(replace(store.manifest("deals") or new()), ROWS.slice(0, left.pop()))
        return open_part(*arguments)

    monkeypatch.setattr("pdframe.cache.store.open_part", replaced_meanwhile)
    assert store.read("deals").num_rows == 1


def test_only_the_columns_requested_are_read(store: Store) -> None:
    store.replace(new(), ROWS)
    assert store.read("deals", ["title", "id"]).column_names == ["title", "id"]


def test_a_replaced_table_leaves_no_old_part_after(store: Store) -> None:
    first = store.replace(new(), ROWS)
    store.replace(replace(first), ROWS.slice(0, 1))
    assert store.read("deals").num_rows == 1
    assert [path.name for path in (store.root / "deals").glob("*.parquet")] == [
        "part-000002.parquet"
    ]


def test_zero_rows_keep_their_columns(store: Store) -> None:
    store.replace(new(), ROWS.slice(0, 0))
    assert store.read("deals").schema.equals(ROWS.schema)


def test_files_are_for_this_user_alone_and_ignored_by_git(store: Store) -> None:
    store.replace(new(), ROWS)
    paths = [path for path in store.cache_dir.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (store.root, store.root / "deals")} == {
        0o700
    }
    assert (store.cache_dir / ".gitignore").read_text().endswith("*\n")


def test_the_folders_above_a_new_one_are_for_this_user_alone_too(store: Store) -> None:
    make_private(store.root / "stages" / "pending")
    assert stat.S_IMODE((store.root / "stages").stat().st_mode) == 0o700


def test_nothing_cached_says_how_to_load(store: Store) -> None:
    with pytest.raises(NotCachedError, match=r"account\.sync\('deals'\)"):
        store.read("deals")


@pytest.mark.parametrize("damage", ["half", "flipped", "gone", "foreign"])
def test_a_damaged_part_is_an_error_with_the_remedy(store: Store, damage: str) -> None:
    part = store.root / "deals" / store.replace(new(), ROWS).parts[0].file
    raw = part.read_bytes()
    if damage == "gone":
        part.unlink()
    else:
        flipped = bytes([*raw[:40], raw[40] ^ 1, *raw[41:]])
        part.write_bytes(
            {
                "half": raw[: len(raw) // 2],
                "flipped": flipped,
                "foreign": b"PAR1" + b"x" * (len(raw) - 4),
            }[damage]
        )
    with pytest.raises(CacheError, match=r"cannot be trusted.*account\.sync\('deals', full=True\)"):
        store.read("deals")


@pytest.mark.parametrize("file", ["part-000001.parquet", "manifest.json"])
def test_a_flipped_bit_anywhere_is_detected(store: Store, file: str) -> None:
    store.replace(new(), ROWS)
    path = store.root / "deals" / file
    raw = path.read_bytes()
    for place in range(len(raw)):
        path.write_bytes(bytes([*raw[:place], raw[place] ^ 1 << place % 8, *raw[place + 1 :]]))
        if file == MANIFEST and raw[place : place + 1].isspace():
            continue  # between the values of JSON, no byte means anything
        with pytest.raises(DamagedError):
            store.read("deals")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"format": 99}',
        '{"format": 1, "table": "persons"}',
        "\x00\xff",
        "[" * 100_000,
    ],
    ids=lambda text: repr(text[:40]),
)
def test_a_damaged_manifest_is_an_error_with_the_remedy(store: Store, content: str) -> None:
    store.replace(new(), ROWS)
    (store.root / "deals" / "manifest.json").write_text(content)
    with pytest.raises(CacheError, match="full=True"):
        store.manifest("deals")


def test_a_manifest_cannot_point_outside_its_folder(store: Store) -> None:
    store.replace(new(), ROWS)
    path = store.root / "deals" / "manifest.json"
    manifest = unseal(path.read_bytes())
    manifest["parts"][0]["file"] = "../../secret.parquet"
    path.write_bytes(seal(manifest))
    with pytest.raises(CacheError):
        store.read("deals")


def test_a_failed_write_leaves_the_old_table(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.replace(new(), ROWS)

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(
        CacheError, match=r"No space left on device.*What was cached before is kept"
    ):
        store.replace(new(), ROWS.slice(0, 1))
    monkeypatch.undo()
    assert store.read("deals").equals(ROWS)
    assert not list((store.root / "deals").glob(".*"))


def test_a_cache_folder_that_is_a_file_is_refused_before_anything_is_fetched(
    tmp_path: Path,
) -> None:
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(CacheError, match=r"cannot be written.*PDFRAME_CACHE_DIR"):
        check_writable(tmp_path / "cache" / "deeper")


def test_the_cache_folder_of_the_nearest_parent_is_detected(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    deep = tmp_path / "notebooks" / "deep"
    deep.mkdir(parents=True)
    assert default_cache_dir(deep) == (tmp_path / "cache").resolve()
    (deep / "cache").mkdir()
    assert default_cache_dir(deep) == (deep / "cache").resolve()


def test_account_names_are_readable_and_never_meet() -> None:
    assert readable_key("acme", "user12") == "acme-user12"
    assert readable_key("a/b", "user1") != readable_key("a_b", "user1")
    assert "/" not in readable_key("../../etc", "user1")


def test_what_a_killed_process_left_is_swept_and_nothing_else(store: Store) -> None:
    store.replace(new(), ROWS)
    folder = store.root / "deals"
    names = (
        ".part-000002.parquet.abc.tmp",
        ".manifest.json.abc.tmp",
        "kept.tmp",
        ".DS_Store",
        ".young.tmp",
    )
    left = [folder / name for name in names] + [
        store.cache_dir / ".accounts.json.abc.tmp",
        folder / "pending" / ".walk.json.abc.tmp",
    ]
    (folder / "pending").mkdir()
    for path in left:
        path.write_bytes(b"half")
        if path.name != ".young.tmp":
            os.utime(path, (0, 0))
    Store(store.cache_dir, "acme-user1").open()
    assert {path.name for path in left if path.exists()} == {"kept.tmp", ".DS_Store", ".young.tmp"}
    assert store.read("deals").equals(ROWS)


def test_a_killed_write_leaves_a_file_that_is_known_as_temporary(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def killed(source: Path, target: Path) -> None:
        seen.append(source)
        raise OSError(5, "killed")

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(CacheError):
        store.replace(new(), ROWS)
    assert [(path.name[0], path.suffix) for path in seen] == [(".", ".tmp")]


def test_of_one_account_a_few_credentials_are_remembered(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    accounts.put("theirs", {"key": "acme-user2"})
    for session in range(50):
        accounts.put(f"session {session}", {"key": "sandbox-seed7-2000-user1003"})
    accounts.put("session 49", {"key": "sandbox-seed7-2000-user1003", "name": "Ada"})
    kept = unseal(accounts.path.read_bytes())
    assert list(kept) == ["theirs", *(f"session {session}" for session in range(42, 50))]
    assert accounts.get("session 49") == {"key": "sandbox-seed7-2000-user1003", "name": "Ada"}


def test_accounts_are_remembered_and_a_damaged_list_is_forgotten(tmp_path: Path) -> None:
    accounts = Accounts(tmp_path)
    accounts.put("digest", {"key": "acme-user1", "name": "Ada"})
    assert accounts.get("digest") == {"key": "acme-user1", "name": "Ada"}
    assert accounts.get("other") is None
    accounts.path.write_bytes(accounts.path.read_bytes().replace(b"user1", b"user2"))
    assert accounts.get("digest") is None
    accounts.path.write_text("{")
    assert accounts.get("digest") is None


def test_columns_are_read_ahead_in_order_and_the_first_one_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.replace(new(), ROWS)
    stored, read, real = store.open_table("deals"), [], Stored.read

    def record(self: Stored, columns: Any = None) -> pa.Table:
        read.append(columns)
        return real(self, columns)

    monkeypatch.setattr(Stored, "read", record)
    for name in ("id", "title", "tags", "id"):
        assert stored[name].equals(ROWS[name])
    assert read == [["id"], ["title", "tags"], ["id"]]


def test_a_column_without_values_is_not_read_and_one_with_any_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = pa.struct([("name", pa.string()), ("number", pa.int64())])
    first = pa.table(
        {
            "id": pa.array([1, 2]),
            "records": pa.array([None, None], pa.list_(record)),
            "empty lists": pa.array([[], []], pa.list_(pa.int64())),
            "never": pa.array([None, None], pa.int64()),
            "later": pa.array([None, None], pa.string()),
            "first": pa.array([None, 7.5]),
        }
    )
    second = pa.table(
        {
            "id": pa.array([3, 4, 5]),
            "records": pa.array([None, [{"name": "a", "number": 1}], None], pa.list_(record)),
            "empty lists": pa.array([None, [], None], pa.list_(pa.int64())),
            "never": pa.array([None] * 3, pa.int64()),
            "later": pa.array([None, None, "x"]),
            "first": pa.array([None] * 3, pa.float64()),
            "new": pa.array([None] * 3, pa.timestamp("us", "UTC")),
        }
    )
    manifest = store.append(
        store.begun("deals", first.schema.empty_table(), NOW), first, synced_at=NOW
    )
    store.append(manifest, second, synced_at=NOW)
    stored, read, real = store.open_table("deals"), set(), Stored.read

    def note(self: Stored, columns: Any = None) -> pa.Table:
        read.update(columns)
        return real(self, columns)

    monkeypatch.setattr(Stored, "read", note)
    monkeypatch.setattr("pdframe.cache.parts.MIN_ROWS_OF_A_FILE", 1)
    expected = pa.concat_tables([first, second], promote_options="default")
    for name in expected.column_names:
        column = stored[name]
        assert column.to_pylist() == expected[name].to_pylist(), name
        assert column.type == expected[name].type, name
    assert read == {"id", "records", "empty lists", "later", "first"}
    # Alone, a column is read: the question takes longer.
    assert stored["never"].null_count == 5
    assert "never" in read

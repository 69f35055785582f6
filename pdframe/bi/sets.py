"""Replace a set of files as one: staging, a journal, then renames.

An export writes its files into a staging folder beside the old ones. When all of them are there,
it writes a journal: what is renamed, what is deleted, and the listing of the set as it will be.
From then on the new set is decided. Files are renamed one after another, the listing too, and the
journal and the staging folder are deleted.

An export that is killed before its journal is written leaves the old set, and a staging folder. One
that is killed after it leaves a mixture, and a journal: the next export completes the renames
before it does anything else. `check` says which of these a folder is in.

One export writes at a time. In a folder of this machine others wait; elsewhere the one that began
last goes on and the others stop (`RemoteFolder`).

The listing, `pdframe-export.json`, names the account, every file that exports wrote, and the id of
its content. A Parquet file carries the same id in its metadata, and the listing has the digest of
its bytes too; for other files the digest is the id. A file whose content is unchanged is not
written again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pdframe._files import seal, unseal
from pdframe.bi._targets import LOCK, STAGING, Target
from pdframe.bi.formats import parquet_footer
from pdframe.errors import ArgumentError

if TYPE_CHECKING:
    from _typeshed import SupportsRead

LISTING = "pdframe-export.json"
"""The file that names the account and the exported files of a folder: only these are replaced."""
JOURNAL = "pdframe-journal.json"
"""The file that says how an interrupted export is completed."""
META_FILES = "meta_files"
NOTE = "note"
"""Key of what a file of the set lacks, in its entry of the listing."""
DIGEST = "digest"
"""Key of the digest of a file's bytes."""
DUCKDB_ENDING = ".duckdb"
WAL_ENDING = ".wal"
"""DuckDB adds it to the name of a file: changes that are not in the file yet."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What exports wrote into a place.

    Parameters
    ----------
    account
        Key of the account; None: no export wrote there.
    files
        File to what is known of it: rows, exported_at, bytes, content (its id), digest (of its
        bytes), set, and what it lacks (note).
    sets
        Layout and format to what is known of the last such export.
    """

    account: str | None = None
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the listing as it is written."""
        return {
            "account": self.account,
            "files": dict(sorted(self.files.items())),
            "sets": dict(sorted(self.sets.items())),
        }


@dataclass(frozen=True, slots=True)
class Journal:
    """How an export is completed once its files are staged."""

    staging: str
    moves: Sequence[tuple[str, str]]
    delete_first: Sequence[str]
    delete_last: Sequence[str]
    listing: Listing

    def to_json(self) -> dict[str, Any]:
        """Return the journal as it is written."""
        return {
            "staging": self.staging,
            "moves": [list(move) for move in self.moves],
            "delete_first": list(self.delete_first),
            "delete_last": list(self.delete_last),
            "listing": self.listing.to_json(),
        }


def read_listing(target: Target) -> Listing:
    """Return what exports wrote into a place.

    Raises
    ------
    ArgumentError
        The listing is damaged: what may be replaced is unknown.
    """
    raw = target.read(LISTING)
    if raw is None:
        return Listing()
    with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
        return _listing_of(json.loads(raw))
    raise ArgumentError(
        f"{target.path(LISTING)} cannot be read: which files there may be replaced is unknown. Move"
        " it away, or choose another folder."
    )


def _listing_of(content: Mapping[str, Any]) -> Listing:
    account, files = content["account"], content["files"]
    sets = content.get("sets", {})
    if not (isinstance(account, str) and isinstance(files, dict) and isinstance(sets, dict)):
        raise ValueError("not a listing")
    if not all(isinstance(entry, dict) for entry in (*files.values(), *sets.values())):
        raise ValueError("not a listing")
    return Listing(account, files, sets)


def refuse_foreign(target: Target, listing: Listing, names: Sequence[str]) -> None:
    """Raise `ArgumentError` where a file that no export wrote has one of these names."""
    # A table may be one file, or a folder of parts.
    own = {part for name in listing.files for part in (name, name.partition("/")[0])}
    foreign = [
        part
        for name in names
        for part in dict.fromkeys((name.partition("/")[0], name))
        if part not in own and target.exists(part)
    ]
    if foreign:
        raise _foreign(target, foreign)


def _foreign(target: Target, names: Sequence[str]) -> ArgumentError:
    return ArgumentError(
        f"{target.where} holds {', '.join(names)}, which no export of this account wrote:"
        " nothing was changed. Move it away, or choose another folder."
    )


def refuse_beside(target: Target, listing: Listing, others: Sequence[str]) -> None:
    """Raise `ArgumentError` where an export of one of these kinds is, such as "star csv"."""
    for kind in others:
        if any(entry.get("set") == kind for entry in listing.files.values()):
            layout, _, format = kind.partition(" ")
            raise ArgumentError(
                f"{target.where} holds a {layout} with format={format!r}, and one of another format"
                " has texts of the same names (views.sql, duckdb.sql, schema.yml): nothing was"
                " changed. Use one folder a format, or delete this folder first."
            )


def check_place(
    target: Target, account: str, names: Sequence[str], others: Sequence[str] = ()
) -> None:
    """Refuse, before any table is loaded, a place that holds what would be lost.

    Raises
    ------
    ArgumentError
        It holds the export of another account, or one of the kinds `others`, or foreign files of
        these names.
    """
    journal = read_journal(target)
    # What an interrupted export wrote is that account's, also before its listing is there.
    listing = journal.listing if journal is not None else read_listing(target)
    refuse_other_account(target, listing, account)
    refuse_beside(target, listing, others)
    refuse_foreign(target, listing, names)


def refuse_other_account(target: Target, listing: Listing, account: str) -> None:
    """Raise `ArgumentError` where the export of another account is."""
    if listing.account not in (None, account):
        raise ArgumentError(
            f"{target.where} holds the export of another account, {listing.account}, and this one"
            f" is {account}: one would replace the other. Use one folder an account."
        )


def read_journal(target: Target) -> Journal | None:
    """Return the journal of an export that was interrupted; None: there is none.

    A journal that is not what was written decides nothing, and counts as none.
    """
    raw = target.read(JOURNAL)
    if raw is None:
        return None
    try:
        content = unseal(raw)
        return Journal(
            content["staging"],
            [(source, to) for source, to in content["moves"]],
            content["delete_first"],
            content["delete_last"],
            _listing_of(content["listing"]),
        )
    except (ValueError, KeyError, TypeError):
        return None


def is_listed_content(target: Target, name: str, entry: Mapping[str, Any]) -> bool:
    """Whether a file is there with the bytes that a listing gives it. What a listing of an earlier
    version does not say is not compared. Of a Parquet file far away only the footer is read.
    """
    if name.endswith(DUCKDB_ENDING) and target.is_file(f"{name}{WAL_ENDING}"):
        return False
    file = target.open(name)
    if file is None:
        return False
    with file:
        if entry.get("bytes") not in (None, file.size()):
            return False
        if name.endswith(".parquet"):
            # Whoever rewrites a Parquet file may keep its metadata, the id among them.
            content, rows = parquet_footer(file) or (None, None)
            if content != entry.get("content") or rows != entry.get("rows", rows):
                return False
            if not target.is_near or DIGEST not in entry:
                return True
            file.seek(0)
        listed: str | None = entry.get(DIGEST, entry.get("content"))
        return _digest_of(file) == listed


def _digest_of(file: SupportsRead[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def complete(target: Target) -> None:
    """Complete an export that was interrupted after its journal was written, and delete what killed
    exports left. The caller holds the lock of the target, or its claim.
    """
    journal = read_journal(target)
    if journal is not None:
        apply(target, journal)
    stagings = target.stagings()
    # After they were listed: an export that began later has none among these.
    target.check_claim()
    for staging in stagings:
        target.delete_tree(staging)
    # Damaged, or of an export that was overtaken in that moment: its files are deleted.
    if target.exists(JOURNAL):
        target.delete(JOURNAL)


def apply(target: Target, journal: Journal) -> None:
    """Do what is left of a journal. Whenever it is interrupted, it can be done again."""
    # A name that was a file may be a folder of parts by now, and the other way round.
    for name in journal.delete_first:
        if target.is_file(name):
            target.delete(name)
    for source, to in journal.moves:
        if target.is_file(source):
            target.move(source, to)
    for name in journal.delete_last:
        if target.is_file(name):
            target.delete(name)
    target.settle()
    target.delete(JOURNAL)
    target.delete_tree(journal.staging)


class SetWriter:
    """Write the files of one export, and put them in place together at the end."""

    def __init__(self, target: Target, account: str, kind: str, others: Sequence[str]) -> None:
        self.target = target
        self.listing = Listing()
        self._account = account
        self._kind = kind
        self._others = others
        self._has_begun = False
        self._staging = f"{STAGING}{secrets.token_hex(4)}"
        self._entries: dict[str, dict[str, Any]] = {}
        self._moves: list[tuple[str, str]] = []
        self._outdated: dict[str, str] = {}
        self._is_decided = False
        self._now = datetime.now(UTC).replace(microsecond=0).isoformat()

    def read(self) -> None:
        """Read what is there, and refuse what would be lost. The export that this one waited for
        may be another account's.
        """
        self.listing = read_listing(self.target)
        refuse_other_account(self.target, self.listing, self._account)
        refuse_beside(self.target, self.listing, self._others)

    def begin(self) -> None:
        """Claim the place, complete an interrupted export, and read what is there; once."""
        if self._has_begun:
            return
        if not self.target.is_near:
            # No file that is there has this time: it tells whether the set of a claim is in place.
            taken = {one.get("exported_at") for one in read_listing(self.target).files.values()}
            while self._now in taken:
                later = datetime.fromisoformat(self._now) + timedelta(seconds=1)
                self._now = later.isoformat()
        self.target.claim(self._now)
        complete(self.target)
        self.read()
        self._has_begun = True

    @property
    def last(self) -> Mapping[str, Any]:
        """What the listing knows of the last export of this kind."""
        return self.listing.sets.get(self._kind, {})

    @property
    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        """What the listing will know of each file so far."""
        return self._entries

    @property
    def contents(self) -> dict[str, str]:
        """The id of the content of each file so far."""
        return {name: entry["content"] for name, entry in self._entries.items()}

    def is_in_place(self, name: str, content: str | None = None) -> bool:
        """Whether the file that is there has this content, or the one that was written last."""
        entry = self.listing.files.get(name, {})
        listed = entry.get("content")
        # A file of an earlier version, whose bytes are not listed, is written once more.
        if self.target.is_near and DIGEST not in entry:
            return False
        return (
            listed is not None
            and (content is None or listed == content)
            and is_listed_content(self.target, name, entry)
        )

    def refuse_foreign(self, names: Sequence[str]) -> None:
        """Raise `ArgumentError` where a file that no export wrote has one of these names."""
        refuse_foreign(self.target, self.listing, names)
        # A file takes the place of a folder of parts, where that has nothing else in it.
        for name in names:
            entries = self.target.entries(name)
            if entries is not None:
                refuse_foreign(self.target, self.listing, [f"{name}/{entry}" for entry in entries])
                if name in self.listing.files:
                    raise _foreign(self.target, [name])

    def add(
        self,
        name: str,
        rows: int | None,
        content: str | None,
        write: Callable[[IO[bytes]], None],
    ) -> dict[str, Any]:
        """Stage a file, unless the same content is in place; return its entry in the listing.

        Parameters
        ----------
        name, rows
            The file, and its rows (None: it has none, such as a text).
        content
            The id of its content that the file carries; None: the digest of its bytes.
        write
            Writes the file.
        """
        if content is not None and self.is_in_place(name, content):
            return self.keep(name)
        self.refuse_foreign([name])
        staged = f"{self._staging}/{name}"
        digest = hashlib.blake2b(digest_size=16)
        with self.target.create(staged) as file:
            counted = _Counted(file, digest)
            write(counted)  # type: ignore[arg-type]
        if self.is_in_place(name, content or digest.hexdigest()):
            self.target.delete(staged)
            return self.keep(name)
        return self._staged(staged, name, rows, counted.size, digest.hexdigest(), content)

    def adopt(self, path: Path, name: str, rows: int | None) -> dict[str, Any]:
        """Stage a file of this machine."""
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = _digest_of(file)
        staged = f"{self._staging}/{name}"
        self.refuse_foreign([name])
        self.target.adopt(path, staged)
        return self._staged(staged, name, rows, size, digest)

    def keep(self, name: str) -> dict[str, Any]:
        """Leave a file of the last export as it is."""
        entry = {**self.listing.files[name], "set": self._kind}
        # Of the export before; what the file lacks now, its writer says again.
        entry.pop(NOTE, None)
        self._entries[name] = entry
        return entry

    def outdate(self, name: str, why: str) -> list[str]:
        """Say of the files that an earlier export made of a table, and that stay, why they are not
        of this one. Return them.
        """
        names = [one for one in self.listing.files if one == name or one.startswith(f"{name}/")]
        self._outdated |= dict.fromkeys(names, f"Of an earlier export: {why}")
        return names

    def _staged(
        self,
        staged: str,
        name: str,
        rows: int | None,
        size: int,
        digest: str,
        content: str | None = None,
    ) -> dict[str, Any]:
        self._moves.append((staged, name))
        self._entries[name] = {
            "rows": rows,
            "exported_at": self._now,
            "bytes": size,
            "content": content or digest,
            DIGEST: digest,
            "set": self._kind,
        }
        return self._entries[name]

    def is_written(self, name: str) -> bool:
        """Whether a file is staged, not left as it is."""
        return any(to == name for _, to in self._moves)

    def commit(self, about: Mapping[str, Any], *, is_complete: bool) -> None:
        """Put the staged files in place.

        Parameters
        ----------
        about
            What the listing shall know of this export.
        is_complete
            Whether files of earlier exports of this kind that are not among these are deleted.
        """
        old = self.listing.files
        others = [name for name in old if name not in self._entries]
        replaced = [name for name in others if any(_conflict(name, new) for new in self._entries)]
        obsolete = [
            name
            for name in others
            if is_complete and old[name].get("set") == self._kind and name not in replaced
        ]
        kept = {name: old[name] for name in others if name not in {*replaced, *obsolete}}
        for name in kept.keys() & self._outdated.keys():
            kept[name] = {**kept[name], NOTE: self._outdated[name]}
        listing = Listing(
            self._account,
            {**kept, **self._entries},
            {**self.listing.sets, self._kind: dict(about)},
        )
        if not self._moves and not replaced and not obsolete and listing == self.listing:
            return
        # Written in the staging folder: what a kill leaves of them is deleted with it.
        staged = f"{self._staging}/{LISTING}"
        with self.target.create(staged) as file:
            file.write(json.dumps(listing.to_json(), indent=1).encode())
        # The files that name all others come last.
        last = [move for move in self._moves if Path(move[1]).name.startswith(META_FILES)]
        moves = [*(move for move in self._moves if move not in last), (staged, LISTING), *last]
        # What somebody changed in the old DuckDB file: no other file can be opened beside it.
        logs = [f"{to}{WAL_ENDING}" for _, to in moves if to.endswith(DUCKDB_ENDING)]
        journal = Journal(self._staging, moves, [*replaced, *logs], obsolete, listing)
        with self.target.create(f"{self._staging}/{JOURNAL}") as file:
            file.write(seal(journal.to_json()))
        self.target.move(f"{self._staging}/{JOURNAL}", JOURNAL)
        self.target.settle()
        self._is_decided = True
        apply(self.target, journal)

    def abandon(self) -> None:
        """Delete what was staged, unless a journal needs it."""
        if not self._is_decided:
            self.target.delete_tree(self._staging)


def _conflict(old: str, new: str) -> bool:
    """Whether one name is a folder of the other, or both are files of one table: it is one file or
    a folder of parts.
    """
    return (
        old.startswith(f"{new}/")
        or new.startswith(f"{old}/")
        or ("/" in old and old.partition("/")[0] == new.partition("/")[0])
    )


class _Counted(io.RawIOBase):
    """A file that is written in order, and counts its size and digest."""

    def __init__(self, file: IO[bytes], digest: Any) -> None:
        super().__init__()
        self._file = file
        self._digest = digest
        self.size = 0

    def write(self, content: Any) -> int:
        self._file.write(content)
        self._digest.update(content)
        self.size += len(content)
        return len(content)

    def tell(self) -> int:
        return self.size

    def writable(self) -> bool:
        return True


def _was_killed(target: Target) -> bool:
    """Whether an export was killed there, as far as that shows: one that claimed the place lately,
    and has put no file in place yet, may be running.
    """
    if target.exists(JOURNAL):
        return True
    if not (target.exists(LOCK) or target.stagings()):
        return False
    since = target.claimed_since()
    # The listing has its files: it only had to delete what it staged.
    entries = () if since is None else read_listing(target).files.values()
    return since is None or any(entry.get("exported_at") == since for entry in entries)


@contextlib.contextmanager
def writing(
    target: Target, account: str, kind: str, others: Sequence[str] = ()
) -> Iterator[SetWriter]:
    """Write one export, an interrupted one is completed first; nothing changes unless the block
    calls `commit`.

    Others wait where the place has a lock. Elsewhere they stop once this one begins, which the
    block does before it adds files. What a killed export left is cleaned up first, even where
    nothing has changed. An export that may be running continues where nothing has changed: it
    decides what the set is.

    Parameters
    ----------
    target, account, kind
        The place, the key of the account, and layout and format: "star csv".
    others
        Kinds that cannot be beside this one.
    """
    with target.locked():
        writer = SetWriter(target, account, kind, others)
        try:
            if target.is_near or _was_killed(target):
                writer.begin()
            else:
                writer.read()
            yield writer
        except BaseException:
            writer.abandon()
            raise


__all__ = [
    "JOURNAL",
    "LISTING",
    "META_FILES",
    "NOTE",
    "Journal",
    "Listing",
    "SetWriter",
    "check_place",
    "complete",
    "is_listed_content",
    "read_journal",
    "read_listing",
    "refuse_beside",
    "writing",
]

"""Say whether the files of an export are one set."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow.fs as pafs

from pdframe._terminal import printable
from pdframe.bi._targets import Target, target_of
from pdframe.bi.sets import JOURNAL, NOTE, Journal, is_listed_content, read_journal, read_listing
from pdframe.errors import ArgumentError

SAME, OLD, NEW, MISSING, OTHER = "in place", "old", "new", "missing", "changed"


@dataclass(frozen=True, slots=True, repr=False)
class ExportCheck:
    """Whether the files of an export are one set.

    Parameters
    ----------
    is_one_set
        Whether every file is there with the content that one export gave it. Also the value of
        the object as a condition.
    account
        Key of the account whose export it is.
    note
        What is wrong and what to do, and what files of the set lack; empty: nothing.
    files
        One row a file: file, state, rows, exported_at, note. The state is "in place"; of an
        export that was interrupted "old" (of the earlier one) or "new"; "missing", or "changed" by
        something else than an export. The note says what the file lacks, or why it is still of an
        earlier export: a list was unavailable.
    """

    is_one_set: bool
    account: str
    note: str
    files: pd.DataFrame

    def __bool__(self) -> bool:
        return self.is_one_set

    def __repr__(self) -> str:
        kind = "one set" if self.is_one_set else "not one set"
        head = f"<export of {printable(self.account)}: {len(self.files)} files, {kind}"
        return f"{head}. {printable(self.note)}>" if self.note else f"{head}>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>{self.files.to_html(max_rows=30)}"


def export_check(path: str | os.PathLike[str] | pafs.FileSystem) -> ExportCheck:
    """Say whether the files in a folder are one set: all of one export, none old, lost or changed.

    An export replaces its files one after another once all of them are written. One that is killed
    in that moment leaves a mixture, which the next export completes. Files that no export wrote do
    not count. Tables that were exported by several calls are one set too: each of them is what the
    last export of it wrote. All bytes of a folder are read; of Parquet files elsewhere the size and
    the footer.

    Parameters
    ----------
    path
        The folder, URL or file system that was exported to.

    Returns
    -------
    ExportCheck
        True as a condition where the files are one set; `note` says what is wrong, `files` has one
        row a file: file, state ("in place", "old", "new", "missing", "changed"), rows,
        exported_at (UTC), note (what the file lacks; empty: nothing).

    Raises
    ------
    ArgumentError
        There is no export, or its list of files is damaged.

    Examples
    --------
    >>> files = account.export("bi", "deals", "stages")
    >>> check = pdframe.export_check("bi")
    >>> bool(check), check.files["state"].tolist()
    (True, ['in place', 'in place'])
    """
    target = target_of(path)
    listing, journal = read_listing(target), read_journal(target)
    if listing.account is None and journal is None:
        raise ArgumentError(f"{target.where} holds no export: account.export(path) writes one.")
    known = {**listing.files, **(journal.listing.files if journal is not None else {})}
    states = {name: _state(target, name, known[name], journal) for name in sorted(known)}
    seen = set(states.values())
    files = [
        name
        for name, state in states.items()
        if not (state == NEW and journal is not None and name in _deleted(journal))
    ]
    return ExportCheck(
        seen <= {SAME, OLD} or seen <= {SAME, NEW},
        str((journal.listing if journal is not None else listing).account),
        _note(
            target,
            journal,
            [states[name] for name in files],
            {name: known[name][NOTE] for name in files if known[name].get(NOTE)},
        ),
        pd.DataFrame(
            {
                "file": pd.Series(files, dtype="str"),
                "state": pd.Series([states[name] for name in files], dtype="str"),
                "rows": pd.Series([known[name].get("rows") for name in files], dtype="Int64"),
                "exported_at": pd.to_datetime(
                    pd.Series([known[name].get("exported_at") for name in files], dtype="str"),
                    utc=True,
                ).dt.as_unit("us"),
                "note": pd.Series([known[name].get(NOTE) or "" for name in files], dtype="str"),
            }
        ),
    )


def _deleted(journal: Journal) -> tuple[str, ...]:
    return (*journal.delete_first, *journal.delete_last)


def _state(target: Target, name: str, entry: Mapping[str, Any], journal: Journal | None) -> str:
    """Return the state of one file; where an export was interrupted, by what it still had to do."""
    if journal is not None and name in _deleted(journal):
        return OLD if target.is_file(name) else NEW
    staged = {to: source for source, to in journal.moves} if journal is not None else {}
    # A version that knew no ids of content listed the file: it is there, and nothing else is known.
    is_unknown = entry.get("content") is None and target.exists(name)
    if is_unknown or is_listed_content(target, name, entry):
        return NEW if name in staged else SAME
    if name in staged and target.is_file(staged[name]):
        return OLD
    return OTHER if target.exists(name) else MISSING


def _note(
    target: Target, journal: Journal | None, states: Sequence[str], lacking: Mapping[str, str]
) -> str:
    parts = []
    if journal is not None:
        old, new = states.count(OLD), states.count(NEW)
        parts.append(
            f"An export was interrupted: {new} of its files are in place, {old} are still those of"
            " the export before. The next export completes it."
        )
    elif target.exists(JOURNAL):
        parts.append("An interrupted export left a damaged journal. Export again.")
    for state, words in ((MISSING, "missing"), (OTHER, "not what an export wrote")):
        if count := states.count(state):
            verb = "file is" if count == 1 else "files are"
            parts.append(f"{count} {verb} {words}. Export again.")
    parts += [f"{name}: {note}" for name, note in lacking.items()]
    return " ".join(parts)


__all__ = ["ExportCheck", "export_check"]

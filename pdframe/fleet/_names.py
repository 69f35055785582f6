"""Which folder of a cache belongs to which account of a fleet: `fleet.json` beside the folders.

A name belongs to the folder that it opened last. Where its token becomes another user's, it opens
another folder, and the one that it had is a former one: its rows are not counted beside the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from pdframe._files import locked_file, refuse_newer, seal, unseal, write_atomic
from pdframe._warnings import warn
from pdframe.errors import CacheError

_FILE, _LOCK = "fleet.json", ".fleet.lock"
_FORMAT = 1


def names_by_folder(cache_dir: Path) -> dict[str, str]:
    """Return the name of each account folder that a fleet has synced; a damaged file names none.

    Raises
    ------
    CacheError
        The file cannot be read, or a newer version of pdframe wrote it.
    """
    return _read(cache_dir)["folders"]


def former_folders(cache_dir: Path) -> dict[str, str]:
    """Return the account folders that a name had before it opened another one, and that name.

    Raises
    ------
    CacheError
        As `names_by_folder`.
    """
    return _read(cache_dir)["former"]


def _read(cache_dir: Path) -> dict[str, dict[str, str]]:
    path = cache_dir / _FILE
    content: dict[str, object] = {}
    try:
        raw = path.read_bytes()
        refuse_newer(path, raw, _FORMAT)
        with contextlib.suppress(ValueError):
            content = unseal(raw)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise CacheError(f"{path} cannot be read: {error.strerror}. Make it readable.") from error
    return {key: _texts(content.get(key)) for key in ("folders", "former")}


def _texts(content: object) -> dict[str, str]:
    if not isinstance(content, dict):
        return {}
    return {str(folder): str(name) for folder, name in content.items()}


def note_names(cache_dir: Path, names: Mapping[str, str]) -> None:
    """Keep the names of account folders. A name belongs to the folder that it was given last.

    Where that fails, as in a cache that is read alone, a warning says so: the work is done.
    """
    try:
        if names.items() <= names_by_folder(cache_dir).items():
            return
        with locked_file(cache_dir / _LOCK):
            before = _read(cache_dir)
            named = before["folders"]
            kept = {folder: name for folder, name in named.items() if name not in names.values()}
            former = {
                folder: name
                for folder, name in (before["former"] | named).items()
                if folder not in names and (folder in before["former"] or folder not in kept)
            }
            now = {"folders": kept | dict(names), "former": former}
            if now != before:
                write_atomic(cache_dir / _FILE, seal(now))
    except (OSError, CacheError) as error:
        why = error if isinstance(error, CacheError) else f"{error.strerror}."
        warn(
            f"{cache_dir / _FILE} could not be written: {why} fleet.load shows these accounts by"
            " the names of their folders."
        )


__all__ = ["former_folders", "names_by_folder", "note_names"]

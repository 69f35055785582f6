"""Which folder of a cache belongs to which account of a fleet: `fleet.json` beside the folders."""

from __future__ import annotations

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
    path = cache_dir / _FILE
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CacheError(f"{path} cannot be read: {error.strerror}. Make it readable.") from error
    refuse_newer(path, raw, _FORMAT)
    try:
        folders = unseal(raw).get("folders")
    except ValueError:
        return {}
    if not isinstance(folders, dict):
        return {}
    return {str(folder): str(name) for folder, name in folders.items()}


def note_names(cache_dir: Path, names: Mapping[str, str]) -> None:
    """Keep the names of account folders. A name belongs to the folder that it was given last.

    Where that fails, as in a cache that is read alone, a warning says so: the work is done.
    """
    try:
        if names.items() <= names_by_folder(cache_dir).items():
            return
        with locked_file(cache_dir / _LOCK):
            before = names_by_folder(cache_dir)
            kept = {folder: name for folder, name in before.items() if name not in names.values()}
            if (now := kept | dict(names)) != before:
                write_atomic(cache_dir / _FILE, seal({"folders": now}))
    except (OSError, CacheError) as error:
        why = error if isinstance(error, CacheError) else f"{error.strerror}."
        warn(
            f"{cache_dir / _FILE} could not be written: {why} fleet.load shows these accounts by"
            " the names of their folders."
        )


__all__ = ["names_by_folder", "note_names"]

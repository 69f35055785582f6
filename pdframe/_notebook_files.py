"""Write the notebooks that a wheel carries into a folder."""

from __future__ import annotations

from pathlib import Path

from pdframe.errors import ArgumentError

__all__ = ["write_notebooks"]

_HERE = Path(__file__).parent


def write_notebooks(folder: Path, overwrite: bool = False) -> list[Path]:
    """Write every notebook into the folder, which is made if it does not exist.

    Parameters
    ----------
    folder
        Where to.
    overwrite
        Whether to replace files of these names that differ from the notebooks.

    Returns
    -------
    list of Path
        The notebooks in the folder, in reading order.

    Raises
    ------
    ArgumentError
        A file differs, such as a notebook that was edited or run, and `overwrite` is False: nothing
        was written.
    """
    contents = {folder / path.name: path.read_bytes() for path in _sources()}
    other = [
        path
        for path, content in contents.items()
        if path.exists() and (not path.is_file() or path.read_bytes() != content)
    ]
    if other and not overwrite:
        raise ArgumentError(
            f"Nothing was written: {folder} holds other files named"
            f" {', '.join(path.name for path in other)}. Take another folder, or --overwrite to"
            " replace them."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in contents.items():
            path.write_bytes(content)
    except OSError as error:
        raise ArgumentError(f"The notebooks cannot be written into {folder}: {error}.") from error
    return list(contents)


def _sources() -> list[Path]:
    """Return the notebooks of the wheel, else of the checkout."""
    for place in (_HERE / "_notebooks", _HERE.parent / "notebooks"):
        if notebooks := sorted(place.glob("*.ipynb")):
            return notebooks
    raise ArgumentError("This installation has no notebooks: install pdframe from its wheel.")

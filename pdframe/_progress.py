"""Progress bars in notebooks and terminals. A forked process shows none, because tqdm's lock may be
locked there forever.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Bars:
    """Shows a bar a table.

    Parameters
    ----------
    wanted
        None: in a terminal or a notebook. False: never. True: always, on standard error.
    """

    def __init__(self, wanted: bool | None = None) -> None:
        self._shown = _has_viewer() if wanted is None else wanted
        self._process = os.getpid()

    @contextmanager
    def __call__(self, title: str) -> Iterator[Callable[[int], None]]:
        """Show a bar for the time of the block, and yield the function that counts rows."""
        if not self._shown or os.getpid() != self._process:
            yield lambda rows: None
            return
        # Imported here, because tqdm is slow to import and most scripts show no bar.
        from tqdm.auto import tqdm

        with tqdm(desc=title, unit=" rows", leave=False, delay=0.2) as bar:

            def tick(rows: int) -> None:
                bar.update(rows)

            yield tick


def _has_viewer() -> bool:
    ipython = sys.modules.get("IPython")
    in_notebook = (
        ipython is not None and type(ipython.get_ipython()).__name__ == "ZMQInteractiveShell"
    )
    return in_notebook or (sys.stderr is not None and sys.stderr.isatty())


__all__ = [
    "Bars",
]

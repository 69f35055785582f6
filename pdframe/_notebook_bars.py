"""Progress bars below a cell of a notebook, as HTML that is replaced in place.

A widget of ipywidgets is gone with its kernel: a notebook that is opened again, or converted, shows
an error in its place. This shows nothing there.
"""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any

from IPython.core.getipython import get_ipython
from IPython.display import display
from tqdm import tqdm

_BAR = "<bar/>"
_STYLE = 'style="font-size: 90%"'


class CellOutput:
    """One output of the cell that runs, with a line a bar; empty where no bar is open."""

    def __init__(self) -> None:
        self._cell = -1
        self._handle: Any = None
        self._lines: dict[int, tuple[str, str]] = {}

    def show(self, bar: int, text: str, markup: str) -> None:
        """Draw the line of a bar, as text and as HTML."""
        self._lines[bar] = text, markup
        self._draw()

    def remove(self, bar: int) -> None:
        """Remove the line of a bar."""
        if self._lines.pop(bar, None) is not None:
            self._draw()

    def _draw(self) -> None:
        texts, markups = zip(*self._lines.values(), strict=True) if self._lines else ((), ())
        data = {"text/plain": "\n".join(texts), "text/html": "".join(markups)}
        shell = get_ipython()
        cell = shell.execution_count if shell is not None else 0
        if self._handle is None or cell != self._cell:
            self._cell = cell
            self._handle = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(data, raw=True)


class NotebookBar(tqdm):  # type: ignore[type-arg]
    """A bar of tqdm that draws itself into the output of a cell."""

    def __init__(self, output: CellOutput, **options: Any) -> None:
        self._output = output
        super().__init__(file=io.StringIO(), **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draw the bar; an empty `msg` removes it."""
        if msg == "":
            self._output.remove(id(self))
            return
        state = dict(self.format_dict)
        state["bar_format"] = state["bar_format"].replace("{bar}", _BAR)
        parts = re.split(rf" *\|?{_BAR}\|? *", self.format_meter(**state))
        value = f' value="{self.n}" max="{self.total}"' if self.n and self.total else ""
        bar = f'<progress{value} style="width: 10em; vertical-align: middle"></progress>'
        self._output.show(
            id(self), str(self), f"<div {_STYLE}>{bar} {escape(', '.join(parts))}</div>"
        )


__all__ = ["CellOutput", "NotebookBar"]

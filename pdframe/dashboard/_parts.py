"""The parts of a view: figures, charts and tables; text of the account is escaped here."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pandas as pd

from pdframe._terminal import printable
from pdframe._warnings import collect_warnings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "LONG",
    "Chart",
    "Counted",
    "Figure",
    "Table",
    "View",
    "amount",
    "besides",
    "change",
    "count",
    "days",
    "escaped",
    "lines",
    "share",
    "table",
    "trend_line",
    "unbroken",
]

NONE = "–"
_WIDEST = 120
"""Characters of a cell."""
LONG = 36
"""Characters of a cell that is broken into lines."""
_DATE = re.compile(r"\b\d{4}-\d\d(?:-\d\d)?\b")


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure, and what it was in the period before.

    Attributes
    ----------
    label, value, before
        Texts; before is empty where there is nothing to compare with.
    change
        The difference, as text, empty where it is unknown.
    note
        What the value leaves out.
    trend
        Its values by month, the newest last; empty: none is drawn.
    range
        What 8 of 10 outcomes are between; empty: the value is known.
    """

    label: str
    value: str
    before: str = ""
    change: str = ""
    note: str = ""
    trend: tuple[float, ...] = ()
    range: str = ""

    @property
    def signed_change(self) -> str:
        """The change, with the minus sign of print."""
        return self.change.replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart that is not drawn yet.

    Attributes
    ----------
    title
        What it shows.
    draw
        Draws on an Axes; a chart of `pdframe.plot`.
    height
        Of the picture, in inches; it is 7.2 wide.
    table
        The caption of the view's table that has its numbers.
    """

    title: str
    draw: Callable[[Axes], object]
    height: float = 3.4
    table: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as texts.

    Attributes
    ----------
    caption
        What a row is.
    rows
        Texts, with the names of columns that a reader sees.
    numbers
        The columns that are aligned at the right.
    links
        An address a row, for its first column; empty: none.
    left_out
        How many more rows there are.
    """

    caption: str
    rows: pd.DataFrame
    numbers: frozenset[str] = frozenset()
    links: tuple[str, ...] = ()
    left_out: int = 0

    def html(self) -> str:
        """Return the table as HTML, all text escaped."""
        head = "".join(
            f'<th scope="col"{self._kind(name)}>{escaped(name)}</th>' for name in self.rows.columns
        )
        body = "".join(
            f"<tr>{self._cells(number, row)}</tr>"
            for number, row in enumerate(self.rows.itertuples(index=False, name=None))
        )
        more = f"; {self.left_out:,} more" if self.left_out else ""
        return (
            f"<table><caption>{escaped(self.caption)}{more}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _cells(self, number: int, row: tuple[Any, ...]) -> str:
        cells = []
        for place, (name, cell) in enumerate(zip(self.rows.columns, row, strict=True)):
            text = escaped(_shortened(cell))
            address = self.links[number] if self.links and not place else ""
            if _is_page(address):
                text = f'<a href="{escaped(address)}" rel="noreferrer">{text or NONE}</a>'
            kind = ' class="long"' if len(cell) > LONG else self._kind(name)
            cells.append(f"<td{kind}>{text}</td>")
        return "".join(cells)

    def _kind(self, name: str) -> str:
        return ' class="number"' if name in self.numbers else ""


@dataclass(frozen=True, slots=True)
class Counted:
    """The deals that a number counts.

    Attributes
    ----------
    label
        The number, and what it counts.
    deals
        Computes them: one row a deal, or a deal and event, with `deal_id`.
    code
        The line that does the same, after the code of the view.
    """

    label: str
    deals: Callable[[], pd.DataFrame]
    code: str

    def rows(self) -> pd.DataFrame:
        """Compute the rows; a view notes what the data warns of."""
        with collect_warnings():
            return self.deals()


@dataclass(frozen=True, slots=True)
class View:
    """A view: what it says of the deals that a reader chose.

    Attributes
    ----------
    key
        Its name in addresses of the page.
    title
        Its heading.
    figures, charts, tables
        Its parts.
    notes
        What its figures leave out or cannot know.
    code
        A script that reproduces its frames, on `account`.
    frames
        The frames that charts and tables show, by the names that they have in `code`.
    counted
        The deals that its numbers count.
    """

    key: str
    title: str
    figures: tuple[Figure, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    code: str = ""
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    counted: tuple[Counted, ...] = ()


@dataclass(frozen=True, slots=True)
class _Column:
    label: str
    text: Callable[[Any], str] = field(default=lambda cell: words(cell))
    is_number: bool = False


def table(
    caption: str,
    frame: pd.DataFrame,
    columns: Mapping[str, str | tuple[str, Callable[[Any], str]]],
    *,
    most: int = 12,
    links: pd.Series[Any] | None = None,
) -> Table:
    """Make a table of some columns of a frame.

    Parameters
    ----------
    caption
        What a row is.
    frame
        The rows.
    columns
        Column -> its heading, of a number with the function that writes it.
    most
        How many rows are shown.
    links
        Addresses, a row each.
    """
    shown = frame.head(most)
    chosen = {
        name: _Column(how) if isinstance(how, str) else _Column(how[0], how[1], is_number=True)
        for name, how in columns.items()
        # A column without any value has nothing to compare.
        if name in frame.columns and (shown[name].notna().any() or shown.empty)
    }
    rows = pd.DataFrame(
        {how.label: [how.text(cell) for cell in shown[name]] for name, how in chosen.items()},
        dtype=object,
    )
    return Table(
        caption,
        rows,
        frozenset(how.label for how in chosen.values() if how.is_number),
        () if links is None else tuple(words(link) for link in links.head(most)),
        max(len(frame) - most, 0),
    )


def escaped(text: object) -> str:
    """Return text that is safe between tags and in a quoted attribute."""
    return html.escape(printable(str(text)), quote=True)


def unbroken(text: str) -> str:
    """Return text as `escaped` does; no line ends within a date or a month."""
    return _DATE.sub(r'<span class="date">\g<0></span>', escaped(text))


def lines(text: str) -> str:
    """Return text of several lines, safe as `escaped` text is."""
    return "\n".join(map(escaped, text.split("\n")))


def words(cell: Any) -> str:
    """Return any cell as text; empty where it is null."""
    if isinstance(cell, str):
        return cell
    if hasattr(cell, "__iter__"):
        return ", ".join(map(words, cell))
    if pd.isna(cell):
        return ""
    if isinstance(cell, pd.Timestamp):
        return f"{cell:%Y-%m-%d}" if cell.tzinfo is None else f"{cell:%Y-%m-%d %H:%M}"
    return str(cell)


def count(number: Any) -> str:
    """Return a whole number as text."""
    return NONE if pd.isna(number) else f"{int(number):,}"


def amount(number: Any) -> str:
    """Return money without its currency, rounded to whole units."""
    return NONE if pd.isna(number) else f"{round(float(number)):,}"


def besides(amounts: pd.Series[Any], currency: str | None) -> str:
    """Return the amounts of other currencies, as the note of a figure of one.

    Parameters
    ----------
    amounts
        Amounts by currency; those that round to 0 are left out.
    currency
        That of the figure.
    """
    others = [
        f"{amount(value)} {one}"
        for one, value in amounts.set_axis(amounts.index.astype("str").fillna(NONE)).items()
        if one != currency and pd.notna(value) and round(float(value))
    ]
    return f"besides {', '.join(others)}" if others else ""


def change(new: float, old: float) -> str:
    """Return the growth from the old number to the new one in percent; empty where that was 0."""
    return f"{round(100 * (new - old) / abs(old)):+,d}%" if old else ""


def share(number: Any) -> str:
    """Return a share of 1 in percent."""
    return NONE if pd.isna(number) else f"{float(number):.0%}"


def days(number: Any) -> str:
    """Return a number of days."""
    return NONE if pd.isna(number) else f"{float(number):,.0f}"


def trend_line(values: Sequence[float]) -> str:
    """Return a line through values, from 0 or the lowest negative value, as SVG without an id;
    empty where there are fewer than two.
    """
    if len(values) < 2:
        return ""
    low, high = min(0.0, *values), max(0.0, *values)
    step, scale = 62 / (len(values) - 1), 18 / ((high - low) or 1)
    points = " ".join(
        f"{1 + step * place:.1f},{19 - scale * (value - low):.1f}"
        for place, value in enumerate(values)
    )
    return (
        '<svg aria-hidden="true" viewBox="0 0 64 20"><polyline fill="none" stroke="currentColor"'
        f' stroke-width="1.5" stroke-linejoin="round" points="{points}"/></svg>'
    )


def _shortened(cell: str) -> str:
    if len(cell) <= _WIDEST:
        return cell
    cut = cell[: _WIDEST - 1]
    return f"{cut.rpartition(' ')[0] or cut} …"


def _is_page(address: str) -> bool:
    """Whether an address is that of a page: nothing that a browser runs."""
    return urlsplit(address).scheme in ("http", "https")

"""The report: one HTML page of all views that needs no network. A method of `Account`."""

from __future__ import annotations

import base64
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from glob import escape
from importlib import import_module
from pathlib import Path
from string import Template
from typing import Any, Literal, TypeAlias

from pdframe._files import TEMPORARY, write_atomic
from pdframe._warnings import collect_warnings, warn
from pdframe.dashboard._data import Data, Reporting, collect
from pdframe.dashboard._forecast import keep_common_sd, until_month
from pdframe.dashboard._parts import (
    LONG,
    Chart,
    Figure,
    Table,
    View,
    escaped,
    lines,
    trend_line,
    unbroken,
)
from pdframe.dashboard._record import of_all_deals
from pdframe.dashboard.state import State, check_period, period_of
from pdframe.dashboard.views import VIEWS, main_currency, view
from pdframe.errors import ArgumentError, PdframeError
from pdframe.metrics.currency import RateTable

__all__ = ["check_report", "page", "report", "write_report"]

_Refresh: TypeAlias = Literal["full"] | bool | None
Theme: TypeAlias = Literal["light", "dark"]
_ENDINGS = (".html", ".htm")
_THEMES: tuple[Theme, ...] = ("light", "dark")

_NARROW = 74
"""Characters of a row of a table that stands beside another part."""
_READ = ("deals", "deal_products", "deal_changes", "deal_fields", "stages", "pipelines", "users")
"""The tables that a report reads."""
_LEFTOVER_SECONDS = 3600
"""Age of an unfinished page that no process writes any more."""
_PADDING = 2
"""Characters between two columns."""
_COLORS = {
    "light": "--paper: #ffffff; --ink: #1d2125; --faint: #596069; --line: #d5d9de;"
    " --link: #0b57a4; color-scheme: light;",
    "dark": "--paper: #16191d; --ink: #e8e8e8; --faint: #a5adb8; --line: #3b424b;"
    " --link: #7db8f5; color-scheme: dark;",
}
_STYLE = """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: break-word; }
a, summary { color: var(--link); }
h1 { font-size: 1.7rem; margin: 0; }
h2 { font-size: 1.25rem; margin: 2rem 0 .6rem; border-top: 1px solid var(--line);
  padding-top: .8rem; }
h3 { font-size: 1rem; margin: .8rem 0 .2rem; }
header p { margin: .3rem 0; }
header p, .faint, caption { color: var(--faint); }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none; padding: 0; }
.figures { display: flex; flex-flow: row wrap; gap: .6rem; margin: 0; padding: 0; }
.figures > div { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .7rem;
  flex: 1 1 13rem; max-width: 25rem; }
.figures dt { color: var(--faint); font-size: .85rem; }
.figures dd { margin: 0; }
.value { font-size: 1.45rem; font-weight: 600; }
.figures dt { display: flex; justify-content: space-between; column-gap: .5rem; }
.figures svg { width: 3rem; height: 1.15rem; flex: none; color: var(--ink); }
.change, .note { font-size: .8rem; }
.change b { font-weight: 600; }
.note { color: var(--faint); }
.date { white-space: nowrap; }
.parts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr));
  gap: .6rem 1.6rem; margin-top: 1rem; }
.wide { grid-column: 1 / -1; }
figure { margin: 0; overflow-x: auto; }
figure img { width: 100%; height: auto; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
caption { text-align: left; padding: .3rem 0; }
th, td { text-align: left; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; }
td.long { white-space: normal; min-width: 16rem; max-width: 30rem; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { overflow-x: auto; border: 1px solid var(--line); padding: .6rem; font-size: .8rem; }
summary { cursor: pointer; margin-top: .5rem; }
.notes { font-size: .9rem; margin: .2rem 0; padding-left: 1.2rem; }
figure img { display: none; }
@media screen and (max-width: 40rem) { body { padding: 1rem; } figure img { min-width: 32rem; }
  .figures > div { flex-basis: 9rem; } }
"""
_PRINT = """
@page { size: A4; margin: 11mm; }
@media print {
  html { font-size: 9px; }
  body { max-width: none; padding: 0; }
  nav, details { display: none; }
  h2 { margin: .9rem 0 .4rem; padding-top: .5rem; }
  .figures { gap: .4rem; } .figures > div { flex-basis: 11.5rem; max-width: 27rem; }
  .parts { grid-template-columns: 1fr 1fr; gap: .4rem 1.2rem; margin-top: .5rem; }
  th, td { padding: .1rem .5rem .1rem 0; line-height: 1.3; white-space: normal; }
  td.long { min-width: 0; } td.number { white-space: nowrap; }
  figure, .table { overflow: visible; }
  figure, tr, li, .figures > div { break-inside: avoid; }
  h2, h3, .figures, caption { break-after: avoid; }
  .all-notes { columns: 2; column-gap: 1.2rem; }
  .all-notes h3 { margin: .3rem 0 .1rem; }
  .notes { font-size: .8rem; line-height: 1.25; }
  a { color: inherit; text-decoration: none; }
}
"""
_PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title: sales report, $period</title>
<style>$style</style>
</head>
<body>
<header>
<h1>$title</h1>
<p>Sales report, $period, compared with $before. As of $now ($tz).</p>
$stale</header>
<nav aria-label="Parts of the report"><ul>$links</ul></nav>
<main>
$views
</main>
</body>
</html>
"""
)
_VIEW = Template(
    """<section aria-labelledby="$key">
<h2 id="$key">$title</h2>
$parts
</section>
"""
)
_FIGURE = Template('<div><dt>$label$trend</dt><dd class="value">$value</dd>$more</div>')
_CHART = Template('<figure role="group" aria-label="$title" tabindex="0">$pictures</figure>')
_TABLE = Template('<div class="$kind" role="region" aria-label="$label" tabindex="0">$table</div>')
_DETAILS = Template("<details><summary>$summary</summary>$content</details>")
_NOTES = "notes", "Notes"
"""Id and heading of what the figures leave out, of all views, at the end of the page."""


def report(
    self: Reporting,
    path: str | os.PathLike[str],
    *,
    period: Any = None,
    theme: Theme | None = None,
    rates: RateTable | None = None,
    cancellations: str | None = None,
    refresh: _Refresh = None,
) -> Path:
    """Write a report of the account: one HTML page that needs no network.

    It shows key figures of the period against the period before, sales by month, what changed, the
    funnel and velocity of the pipeline with the most deals, recurring revenue, the forecast of the
    coming months with its record, and what is wrong in the data. It prints to a few pages.

    The first report of a day keeps its forecast, as `account.forecast` does: once a month of it is
    over, reports show how right it was.

    Parameters
    ----------
    path
        The file, which ends in .html; it is readable by this user alone, and an earlier report
        there is replaced.
    period
        A year, quarter or month ("2026", "2026-Q2", "2026-06", a `pd.Period`), "this month", "last
        quarter", "last 30 days", or a pair of days (since, until); of one that is not over, the
        days until today are compared with as many of the period before. None: the last 90 days.
    theme
        "light", "dark", or None: the reader's own setting.
    rates
        As in `metrics.forecast`: amounts of all currencies in one. None: counts are of all
        currencies, and charts and the forecast show the account's currency.
    cancellations
        The column of deals, such as "Cancellation date", that holds the day on which recurring
        revenue ended. None: line items without an end count forever, and a note says so.
    refresh
        As in `deals`, for all tables that it reads. None: where the API does not answer or the
        day's tokens are spent, the figures are those of the cache, and the page says how old they
        are and why.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ArgumentError
        `path` does not end in .html, its folder is missing or cannot be written, `period` is none
        or in the future, or there is no such `theme` or column `cancellations`.
    ImportError
        matplotlib is not installed.
    PdframeError
        As in `deals`, `stages` and `pipelines`. A view whose figures are refused says why instead.

    Warns
    -----
    DataWarning
        The API did not answer, so the figures are those of the cache.

    Examples
    --------
    >>> file = account.report("report.html", period="2026-Q2")
    >>> print(file.name, file.read_text()[:15])
    report.html <!DOCTYPE html>
    """
    file, data, _ = write_report(
        self,
        path,
        period=period,
        theme=theme,
        rates=rates,
        cancellations=cancellations,
        refresh=refresh,
    )
    if data.stale:
        warn(f"The report is not of now. {data.stale}")
    return file


def write_report(
    account: Reporting,
    path: str | os.PathLike[str],
    *,
    period: Any = None,
    theme: Theme | None = None,
    rates: RateTable | None = None,
    cancellations: str | None = None,
    refresh: _Refresh = None,
) -> tuple[Path, Data, list[str]]:
    """Write a report as `report` does; return the file, its frames and the notes of the page."""
    target = check_report(path, theme, period)
    data = collect(account, refresh=refresh, rates=rates, cancellations=cancellations)
    state = State(period_of(period, data.now, data.tz), currency=main_currency(data))
    _issue_forecast(account, data)
    content, notes = page(data, state, theme)
    _delete_leftovers(target)
    try:
        write_atomic(target, content.encode("utf-8", "replace"))
    except OSError as error:
        raise ArgumentError(f"{target} cannot be written: {error.strerror}.") from None
    return target, data, notes


def _delete_leftovers(target: Path) -> None:
    """Delete what killed reports left of this page; a younger file may be one being written."""
    for path in target.parent.glob(f".{escape(target.name)}.*{TEMPORARY}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                path.unlink()


def _issue_forecast(account: Reporting, data: Data) -> None:
    """Keep the forecast of today, if none is kept yet; the view says why one is refused.

    The record is of what was known on the day: a report of the cache issues nothing.
    """
    if data.unanswered is not None:
        return
    today = data.now.tz_convert(data.tz).date()
    if data.record is not None:
        issued = data.record[of_all_deals(data.record)]
        days = issued["as_of"].dt.tz_convert(data.tz).dt.date
        if days.eq(today).any():
            return
    by = "currency" if data.rates is None else None
    with collect_warnings(), suppress(PdframeError):
        months = account.forecast(until_month(data), by=by, rates=data.rates, refresh=False)
        keep_common_sd(data, months)


def check_report(
    path: str | os.PathLike[str], theme: str | None = None, period: Any = None
) -> Path:
    """Return where a report is written; `ArgumentError` where it cannot be.

    Raises
    ------
    ImportError
        Charts cannot be drawn.
    """
    target = Path(path).expanduser().absolute()
    if target.suffix.lower() not in _ENDINGS:
        raise ArgumentError(f"path={str(path)!r} must end in .html: a report replaces the file.")
    if not target.parent.is_dir() or target.is_dir():
        what = "is a folder" if target.is_dir() else f"has no folder {target.parent}: create it"
        raise ArgumentError(f"path={str(path)!r} {what}.")
    try:
        # Permissions do not say whether a file system takes files.
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise ArgumentError(
            f"path={str(path)!r} cannot be written: {target.parent} takes no files"
            f" ({error.strerror}). Nothing was requested."
        ) from None
    if theme is not None and theme not in _THEMES:
        raise ArgumentError(f"theme={theme!r} must be 'light', 'dark' or None.")
    check_period(period)
    try:
        import_module("pdframe.dashboard.pictures")
    except ImportError as missing:
        raise ImportError(
            f"A report needs {missing.name}, which is not installed: pip install"
            ' "pdframe[plot]". Nothing was requested.'
        ) from None
    return target


def page(data: Data, state: State, theme: Theme | None = None) -> tuple[str, list[str]]:
    """Return the page of all views, and its notes, each with the title of its view."""
    every = [_in_short(view(key, data, state)) for key in VIEWS]
    every[0] = replace(every[0], figures=(*every[0].figures, *_main_figures(every[1:])))
    parts = [_Part(one, theme) for one in every]
    notes = {part.view.title: part.notes for part in parts if part.has_content}
    sections = [_section(part.view.key, part.view.title, part.html()) for part in parts]
    sections.append(_section(*_NOTES, _notes(notes)))
    headings = [*((part.view.key, part.view.title) for part in parts), _NOTES]
    now = data.now.tz_convert(data.tz)
    shown = _PAGE.substitute(
        title=escaped(data.company),
        style=_style(theme),
        period=state.period.text,
        before=state.period.before_text,
        now=f"{now:%Y-%m-%d %H:%M}",
        tz=escaped(data.tz),
        stale=f'<p role="note"><b>{escaped(data.stale)}</b></p>\n' if data.stale else "",
        links="".join(f'<li><a href="#{key}">{escaped(title)}</a></li>' for key, title in headings),
        views="\n".join(sections),
    )
    return shown, _titled(parts)


def _titled(parts: Iterable[_Part]) -> list[str]:
    """Return the notes of all views with the title of the first that has it, each once."""
    titles: dict[str, str] = {}
    for part in parts:
        for note in part.notes:
            titles.setdefault(note, part.view.title)
    return [f"{title}: {note}" for note, title in titles.items()]


def _in_short(one: View) -> View:
    """Return a view without what a page of a few sheets has no room for."""
    if one.key == "velocity":
        # The deals that wait longest are in its table.
        return replace(one, charts=one.charts[:1])
    if one.key == "changes" and one.tables:
        by_kind, *others = one.tables
        return replace(one, tables=(_cut(by_kind, 15), *(_cut(rows, 8) for rows in others)))
    if one.key == "data" and one.tables:
        cached, *others = one.tables
        is_read = cached.rows["Table"].isin(_READ)
        rows = cached.rows[is_read].reset_index(drop=True)
        left_out = cached.left_out + len(cached.rows) - len(rows)
        return replace(one, tables=(replace(cached, rows=rows, left_out=left_out), *others))
    return one


def _cut(rows: Table, most: int) -> Table:
    """Return the first rows of a table."""
    left_out = rows.left_out + max(len(rows.rows) - most, 0)
    return replace(rows, rows=rows.rows.head(most), links=rows.links[:most], left_out=left_out)


def _main_figures(views: Iterable[View]) -> Iterator[Figure]:
    """Return the first key figure of the views that look beyond the period's sales."""
    for one in views:
        if one.key in ("revenue", "forecast"):
            yield from one.figures[:1]


def _style(theme: Theme | None) -> str:
    """Return the style sheet. On paper, the page is light."""
    light = f":root {{ {_COLORS['light']} }} .on-light {{ display: block !important; }}"
    dark = f":root {{ {_COLORS['dark']} }} .on-dark {{ display: block !important; }}"
    media = {
        None: f"@media print, (prefers-color-scheme: light) {{ {light} }}"
        f"@media screen and (prefers-color-scheme: dark) {{ {dark} }}",
        "light": light,
        "dark": f"@media print {{ {light} }} @media screen {{ {dark} }}",
    }
    return f"{media[theme]}{_STYLE}{_PRINT}"


def _section(key: str, title: str, parts: str) -> str:
    return _VIEW.substitute(key=key, title=escaped(title), parts=parts)


class _Part:
    """A view on the page: its charts are drawn at once, and its notes stand at the end of it."""

    def __init__(self, view: View, theme: Theme | None) -> None:
        self.view = view
        self._charts, refused = _drawn(view, theme)
        self.notes = [*view.notes, *refused]

    @property
    def has_content(self) -> bool:
        """Whether there is more than notes."""
        return bool(self.view.figures or self._charts or any(len(t.rows) for t in self.view.tables))

    def html(self) -> str:
        """Return what stands under the heading."""
        one = self.view
        if not self.has_content:
            return "".join(f'<p class="faint">{escaped(note)}</p>' for note in self.notes)
        lists = []
        if one.figures:
            lists.append(f'<dl class="figures">{"".join(map(_figure, one.figures))}</dl>')
        cells = [*self._charts, *(_table(table) for table in one.tables if len(table.rows))]
        if cells:
            lists.append(f'<div class="parts">{"".join(cells)}</div>')
        if one.code:
            lists.append(
                _DETAILS.substitute(summary="Code", content=f"<pre>{lines(one.code)}</pre>")
            )
        return "\n".join(lists)


def _notes(by_title: Mapping[str, Sequence[str]]) -> str:
    """Return the notes of all views, each once."""
    shown: set[str] = set()
    parts = []
    for title, notes in by_title.items():
        items = "".join(f"<li>{escaped(note)}</li>" for note in notes if note not in shown)
        shown.update(notes)
        if items:
            parts.append(f'<h3>{escaped(title)}</h3><ul class="notes">{items}</ul>')
    every = f'<div class="all-notes">{"".join(parts)}</div>' if parts else ""
    return every or '<p class="faint">None: no figure leaves anything out.</p>'


def _table(rows: Table) -> str:
    width = sum(_width([name, *rows.rows[name]]) for name in rows.rows.columns)
    kind = "table" if width <= _NARROW else "table wide"
    return _TABLE.substitute(kind=kind, label=escaped(rows.caption), table=rows.html())


def _width(cells: Iterable[str]) -> int:
    """Return the characters that a column is wide; longer cells are broken into lines."""
    return _PADDING + min(max(map(len, cells)), LONG)


def _figure(figure: Figure) -> str:
    change = escaped(figure.signed_change)
    said = (figure.range, figure.note)
    more = "".join(f'<dd class="note">{unbroken(text)}</dd>' for text in said if text)
    if figure.before:
        before = f"from {unbroken(figure.before)}"
        more += f'<dd class="change">{f"<b>{change}</b> " if change else ""}{before}</dd>'
    return _FIGURE.substitute(
        label=escaped(figure.label),
        trend=trend_line(figure.trend),
        value=unbroken(figure.value),
        more=more,
    )


def _drawn(one: View, theme: Theme | None) -> tuple[list[str], list[str]]:
    """Return the charts of a view as HTML, and why others are refused."""
    drawn, refused = [], []
    for chart in one.charts:
        try:
            with collect_warnings():
                drawn.append(_chart(chart, theme))
        except PdframeError as error:
            refused.append(f"{chart.title}: {error}")
    return drawn, refused


def _chart(chart: Chart, theme: Theme | None) -> str:
    from pdframe.dashboard.pictures import svg

    # A page that is dark on the screen is light on paper.
    themes: tuple[Theme, ...] = ("light",) if theme == "light" else ("light", "dark")
    alt = escaped(chart.title)
    pictures = "".join(
        f'<img class="on-{one}" alt="{alt}" src="{_address(svg(chart, one))}">' for one in themes
    )
    return _CHART.substitute(pictures=pictures, title=alt)


def _address(picture: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(picture).decode('ascii')}"

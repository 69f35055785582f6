"""The report: one HTML page of all views that needs no network. A method of `Account`."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any, Literal, TypeAlias

from pdframe._files import write_atomic
from pdframe._warnings import collect_warnings
from pdframe.dashboard._data import Data, Reporting, collect
from pdframe.dashboard._parts import Chart, Figure, Table, View, escaped, lines
from pdframe.dashboard.state import State, period_of
from pdframe.dashboard.views import VIEWS, main_currency, view
from pdframe.errors import ArgumentError, PdframeError
from pdframe.metrics.currency import RateTable

__all__ = ["check_report", "page", "report"]

_Refresh: TypeAlias = Literal["full"] | bool | None
Theme: TypeAlias = Literal["light", "dark"]
_ENDINGS = (".html", ".htm")
_THEMES: tuple[Theme, ...] = ("light", "dark")

_NARROW = 15
"""Width of a table that stands beside another part: a column of texts counts 3, of numbers 2."""
_COLORS = {
    "light": "--paper: #ffffff; --ink: #1d2125; --faint: #596069; --line: #d5d9de;"
    " --link: #0b57a4; color-scheme: light;",
    "dark": "--paper: #16191d; --ink: #e8e8e8; --faint: #a5adb8; --line: #3b424b;"
    " --link: #7db8f5; color-scheme: dark;",
}
_STYLE = """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem; background: var(--paper);
  color: var(--ink); font: 16px/1.45 system-ui, sans-serif; overflow-wrap: break-word; }
a { color: var(--link); }
h1 { font-size: 1.7rem; margin: 0; }
h2 { font-size: 1.25rem; margin: 2rem 0 .6rem; border-top: 1px solid var(--line);
  padding-top: .8rem; }
header p, .note, .before, caption, figcaption { color: var(--faint); }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none; padding: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: .6rem; margin: 0; padding: 0; }
.figures > div { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .7rem; }
.figures dt { color: var(--faint); font-size: .85rem; }
.figures dd { margin: 0; }
.value { font-size: 1.45rem; font-weight: 600; }
.before { font-size: .8rem; }
.parts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr));
  gap: .6rem 1.6rem; margin-top: 1rem; }
.wide { grid-column: 1 / -1; }
figure { margin: 0; }
figure img { width: 100%; height: auto; display: block; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .85rem; }
caption { text-align: left; padding: .3rem 0; }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; max-width: 26rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { overflow-x: auto; border: 1px solid var(--line); padding: .6rem; font-size: .8rem; }
summary { cursor: pointer; color: var(--link); margin-top: .5rem; }
.on-dark { display: none; }
"""
_ON_DARK = ".on-dark { display: block; } .on-light { display: none; }"
_PRINT = """
@page { size: A4; margin: 11mm; }
@media print {
  body { max-width: none; padding: 0; font-size: 9.5px; }
  nav, details, .code { display: none; }
  h1 { font-size: 17px; } h2 { font-size: 13px; margin: 7px 0 3px; padding-top: 4px; }
  .figures { grid-template-columns: repeat(7, 1fr); gap: 4px; }
  .figures > div { padding: 2px 5px; } .value { font-size: 14px; }
  .parts { grid-template-columns: 1fr 1fr; gap: 4px 12px; margin-top: 4px; }
  table { font-size: 8px; } th, td { padding: 1px 5px 1px 0; line-height: 1.25; }
  .table { overflow: visible; }
  figure, tr, .figures > div { break-inside: avoid; } h2 { break-after: avoid; }
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
<title>$title</title>
<style>$style</style>
</head>
<body>
<header>
<h1>$title</h1>
<p>$period, compared with $before. As of $now ($tz).</p>
</header>
<nav aria-label="Views"><ul>$links</ul></nav>
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
_FIGURE = Template(
    '<div><dt>$label</dt><dd class="value">$value</dd><dd class="before">$before</dd></div>'
)
_CHART = Template("<figure>$pictures<figcaption>$title</figcaption></figure>")
_TABLE = Template('<div class="$kind" role="region" aria-label="$label" tabindex="0">$table</div>')
_DETAILS = Template("<details><summary>$summary</summary>$content</details>")


def report(
    self: Reporting,
    path: str | os.PathLike[str],
    *,
    period: Any = None,
    theme: Theme | None = None,
    rates: RateTable | None = None,
    refresh: _Refresh = None,
) -> Path:
    """Write a report of the account: one HTML page that needs no network.

    It shows key figures of the period against the period before, sales by month, what changed, the
    funnel and velocity of the pipeline with the most deals, recurring revenue, the forecast of the
    coming months with its record, and what is wrong in the data. It prints to a few pages.

    Parameters
    ----------
    path
        The file, which ends in .html; it is readable by this user alone, and an earlier report
        there is replaced.
    period
        A year, quarter or month ("2026", "2026-Q2", "2026-06", a `pd.Period`), "this month", "last
        quarter", or a pair of days (since, until); of one that is not over, the days until today
        are compared with as many of the period before. None: the last 90 days.
    theme
        "light", "dark", or None: the reader's own setting.
    rates
        As in `metrics.forecast`: amounts of all currencies in one. None: counts are of all
        currencies, and charts and the forecast show the account's currency.
    refresh
        As in `deals`, for all tables that it reads.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ArgumentError
        `path` does not end in .html or its folder is missing, `period` is none or in the future, or
        there is no such `theme`.
    ImportError
        matplotlib is not installed.
    PdframeError
        As in `deals`, `stages` and `pipelines`. A view whose figures are refused says why instead.

    Examples
    --------
    >>> file = account.report("report.html", period="2026-Q2")
    >>> print(file.name, file.read_text()[:15])
    report.html <!DOCTYPE html>
    """
    target = check_report(path, theme)
    from pdframe.dashboard import pictures as _pictures  # noqa: F401  # before any request

    data = collect(self, refresh=refresh, rates=rates)
    state = State(period_of(period, data.now, data.tz), currency=main_currency(data))
    content = page(data, state, theme)
    try:
        write_atomic(target, content.encode("utf-8", "replace"))
    except OSError as error:
        raise ArgumentError(f"{target} cannot be written: {error.strerror}.") from None
    return target


def check_report(path: str | os.PathLike[str], theme: str | None = None) -> Path:
    """Return where a report is written; `ArgumentError` where it cannot be."""
    target = Path(path).expanduser().absolute()
    if target.suffix.lower() not in _ENDINGS:
        raise ArgumentError(f"path={str(path)!r} must end in .html: a report replaces the file.")
    if not target.parent.is_dir() or target.is_dir():
        what = "is a folder" if target.is_dir() else f"has no folder {target.parent}: create it"
        raise ArgumentError(f"path={str(path)!r} {what}.")
    if theme is not None and theme not in _THEMES:
        raise ArgumentError(f"theme={theme!r} must be 'light', 'dark' or None.")
    return target


def page(data: Data, state: State, theme: Theme | None = None) -> str:
    """Return the page of all views."""
    every = [view(key, data, state) for key in VIEWS]
    now = data.now.tz_convert(data.tz)
    return _PAGE.substitute(
        title=escaped(data.company),
        style=_style(theme),
        period=state.period.text,
        before=state.period.before_text,
        now=f"{now:%Y-%m-%d %H:%M}",
        tz=escaped(data.tz),
        links="".join(f'<li><a href="#{one.key}">{escaped(one.title)}</a></li>' for one in every),
        views="\n".join(_view(one, theme) for one in every),
    )


def _style(theme: Theme | None) -> str:
    if theme is not None:
        return f":root {{ {_COLORS[theme]} }}{_STYLE}{_PRINT}"
    dark = f":root {{ {_COLORS['dark']} }} {_ON_DARK}"
    # On paper, the light one.
    media = f"@media screen and (prefers-color-scheme: dark) {{ {dark} }}"
    return f":root {{ {_COLORS['light']} }}{_STYLE}{media}{_PRINT}"


def _view(one: View, theme: Theme | None) -> str:
    return _VIEW.substitute(
        key=one.key, title=escaped(one.title), parts="\n".join(_parts(one, theme))
    )


def _parts(one: View, theme: Theme | None) -> Iterator[str]:
    if one.figures:
        yield f'<dl class="figures">{"".join(map(_figure, one.figures))}</dl>'
    drawn, refused = _drawn(one, theme)
    cells = [*drawn, *(_table(table) for table in one.tables if len(table.rows))]
    if cells:
        yield f'<div class="parts">{"".join(cells)}</div>'
    notes = [*one.notes, *refused]
    if not one.figures and not one.tables:
        yield "".join(f'<p class="note">{escaped(note)}</p>' for note in notes)
    elif notes:
        items = "".join(f"<li>{escaped(note)}</li>" for note in notes)
        yield _DETAILS.substitute(summary=f"Notes ({len(notes)})", content=f"<ul>{items}</ul>")
    if one.code:
        yield _DETAILS.substitute(summary="Code", content=f"<pre>{lines(one.code)}</pre>")


def _table(rows: Table) -> str:
    texts = len(rows.rows.columns) - len(rows.numbers)
    kind = "table" if 3 * texts + 2 * len(rows.numbers) <= _NARROW else "table wide"
    return _TABLE.substitute(kind=kind, label=escaped(rows.caption), table=rows.html())


def _figure(figure: Figure) -> str:
    before = f"before: {figure.before}" if figure.before else ""
    said = ", ".join(filter(None, (figure.change, before, figure.note)))
    return _FIGURE.substitute(
        label=escaped(figure.label), value=escaped(figure.value), before=escaped(said)
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

    themes: tuple[tuple[Theme, str], ...] = (
        (("light", ' class="on-light"'), ("dark", ' class="on-dark"'))
        if theme is None
        else ((theme, ""),)
    )
    alt = escaped(chart.title)
    pictures = "".join(
        f'<img{kind} alt="{alt}" src="{_address(svg(chart, one))}">' for one, kind in themes
    )
    return _CHART.substitute(pictures=pictures, title=escaped(chart.title))


def _address(picture: bytes) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(picture).decode('ascii')}"
